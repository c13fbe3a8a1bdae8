//! `summary.md`: for pull requests and job summaries. It ends with a marker comment, by which
//! an action finds its own comment again.

use std::io::{self, Write};

use super::table::{self, Line, Row};
use super::{Report, Summary, foresight, format};
use crate::experiment::slo_limits;
use crate::outcome::RunOutcome;

/// The Markdown report.
pub struct Markdown;

/// Text that a table cell or a sentence shows as it is.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '\\' | '[' | ']' | '~' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

fn table(out: &mut dyn Write, title: &str, summary: &Summary, rows: &[Row]) -> io::Result<()> {
    let names: Vec<String> = summary.policies.iter().map(|policy| escaped(&policy.name)).collect();
    writeln!(out, "| {title} | {} |", names.join(" | "))?;
    writeln!(out, "|---|{}", "---|".repeat(names.len()))?;
    for row in rows {
        let cells = row.cells.iter().map(|cell| {
            let mark = cell.mark.map_or_else(String::new, |m| format!("{} ", escaped(m.sign())));
            format!("{mark}{}", escaped(&cell.text))
        });
        let label: Vec<&str> = row.label.split_whitespace().collect();
        writeln!(out, "| {} | {} |", escaped(&label.join(" ")), cells.collect::<Vec<_>>().join(" | "))?;
    }
    writeln!(out)
}

fn lines(out: &mut dyn Write, lines: &[Line]) -> io::Result<()> {
    for line in lines {
        let parts: Vec<String> = line.parts.iter().map(|part| escaped(part)).collect();
        let label = line.label.trim_start();
        let indent = if label == line.label { "" } else { "  " };
        writeln!(out, "{indent}- {}: {}", escaped(label), parts.join(" · "))?;
    }
    if lines.is_empty() { Ok(()) } else { writeln!(out) }
}

fn ledger(out: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    writeln!(out, "<details><summary>Ledger: where every billed GPU-second went</summary>\n")?;
    let names: Vec<String> = summary.policies.iter().map(|policy| escaped(&policy.name)).collect();
    writeln!(out, "| account | {} |", names.join(" | "))?;
    writeln!(out, "|---|{}", "---|".repeat(names.len()))?;
    let accounts = summary.policies.first().map_or(0, |policy| policy.money.accounts.len());
    for index in 0..accounts {
        let line = |p: &super::summary::PolicySummary| p.money.accounts[index].part.clone();
        let parts: Vec<_> = summary.policies.iter().map(line).collect();
        if parts.iter().any(|part| part.usd > 0.0) {
            let cells: Vec<String> = parts
                .iter()
                .map(|part| format!("{} ({})", format::cents(part.cents), format::tenths(part.share_tenths)))
                .collect();
            writeln!(out, "| {} | {} |", escaped(&parts[0].label), cells.join(" | "))?;
        }
    }
    let bills: Vec<String> =
        summary.policies.iter().map(|p| format!("**{}**", format::cents(p.money.total_cents))).collect();
    writeln!(out, "| **bill** | {} |\n\n</details>\n", bills.join(" | "))
}

/// The prices the runs were billed at, each once.
fn prices(summary: &Summary) -> String {
    let runs = summary.experiment.policies.iter().flat_map(|policy| &policy.runs);
    let of_pools =
        |run: &RunOutcome| run.ledger.pools.iter().map(|pool| pool.price_micro_usd_per_gpu_hour).collect();
    let mut prices: Vec<u64> = runs.flat_map::<Vec<u64>, _>(of_pools).collect();
    prices.sort_unstable();
    prices.dedup();
    let shown: Vec<String> =
        prices.into_iter().map(|micro_usd| crate::kernel::Price { micro_usd }.to_string()).collect();
    shown.join(", ")
}

impl Report for Markdown {
    fn name(&self) -> &'static str {
        "markdown"
    }

    fn file(&self) -> Option<&'static str> {
        Some("summary.md")
    }

    fn write(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        let header = &summary.experiment.header;
        // Without gates the verdict says so, once.
        let gates_text =
            if summary.gates.is_empty() { String::new() } else { format!(": {}", summary.gates_text()) };
        writeln!(out, "## {}{gates_text}\n", escaped(&header.scenario))?;
        writeln!(out, "**Verdict:** {}\n", escaped(&summary.verdict_text))?;
        let gates = table::gates(summary);
        if !gates.is_empty() {
            table(out, "gate", summary, &gates)?;
        }
        table(out, "result", summary, &table::results(summary))?;
        lines(out, &table::cold_starts(summary))?;
        lines(out, &table::breaches(summary))?;
        lines(out, &table::costs(summary))?;
        lines(out, &foresight::lines(summary))?;
        ledger(out, summary)?;
        for warning in &header.warnings {
            let place = warning.place.as_ref().map(|place| format!("{}: ", escaped(place)));
            let place = place.unwrap_or_default();
            writeln!(out, "> **{}**: {place}{}", escaped(&warning.code), escaped(&warning.message))?;
            if let Some(help) = &warning.help {
                writeln!(out, "> {}", escaped(help))?;
            }
            writeln!(out)?;
        }
        let limits = slo_limits(&header.slo);
        let limits: Vec<String> = limits.iter().map(|(name, limit)| format!("{name} {limit}")).collect();
        let slo = if limits.is_empty() { "no SLO".to_owned() } else { format!("SLO {}", limits.join(", ")) };
        let capacity = header.capacity.map(|c| format!(", capacity of a replica {c:.2} requests/s"));
        writeln!(
            out,
            "{}, profile {}. {}, {} requests ({}). {slo}{}. {} a GPU-hour. Seed {}, replications {}; intervals at 95 %: {}.\n",
            escaped(&header.model),
            escaped(&header.profile),
            format::span(header.span),
            format::whole(header.requests),
            escaped(&header.workload),
            capacity.unwrap_or_default(),
            prices(summary),
            header.seed,
            header.replications,
            header.coverage.label(),
        )?;
        // A comment ends at the first `-->`, so the name must not hold one.
        writeln!(
            out,
            "<!-- thawline: {} -->",
            header.scenario.replace("--", "- -").replace(['<', '>', '\n'], " ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn written(scenario: &str) -> String {
        let mut experiment = fixture::experiment();
        experiment.header.scenario = scenario.to_owned();
        let mut bytes = Vec::new();
        Markdown.write(&Summary::new(experiment), &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_whole() {
        insta::assert_snapshot!(written("evening-spike"));
    }

    #[test]
    fn that_there_are_no_gates_is_said_once() {
        let mut experiment = fixture::experiment();
        experiment.gates.clear();
        let mut bytes = Vec::new();
        Markdown.write(&Summary::new(experiment), &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("## evening-spike\n"), "{text}");
        assert_eq!(text.matches("no gates").count(), 1, "{text}");
    }

    #[test]
    fn names_cannot_break_out() {
        let text = written("a|b --> <script>");
        assert!(text.starts_with("## a\\|b --&gt; &lt;script&gt;: "), "{text}");
        assert!(!text.contains("<script>"));
        assert_eq!(text.matches("-->").count(), 1);
        assert!(text.ends_with("-->\n"));
    }
}
