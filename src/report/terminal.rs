//! What `simulate` prints: what was run, gates, results, where time and money went, and the
//! verdict as the last line.
//!
//! Colour is written only when asked for; who prints strips it where the terminal has none.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::table::{self, Line, Mark, Row};
use super::{Report, Summary, foresight, format};
use crate::experiment::slo_limits;

/// The text report, with what only the caller knows.
#[derive(Clone, Debug)]
pub struct Terminal {
    /// Columns to keep within; a table too wide for it is continued below.
    pub width: usize,
    /// Whether to write ANSI colours.
    pub colour: bool,
    /// How long the runs took.
    pub elapsed: Option<Duration>,
    /// What was written and where, such as `reports/evening-spike/outcome.json and 7 more`.
    pub wrote: Option<String>,
}

const HEADING: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const UNSETTLED: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().dimmed();

/// The space between two columns.
const GAP: usize = 3;

impl Terminal {
    /// Without colour, 120 columns, nothing that depends on the machine.
    pub const PLAIN: Self = Self { width: 120, colour: false, elapsed: None, wrote: None };

    fn paint(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn header(&self, summary: &Summary) -> Vec<Vec<String>> {
        let header = &summary.experiment.header;
        let counted = |n: u64, one: &str, many: &str| {
            format!("{} {}", format::whole(n), if n == 1 { one } else { many })
        };
        let policies = summary.policies.len() as u64;
        let replications = u64::from(header.replications);
        let mut runs = counted(policies * replications, "run", "runs");
        if let Some(elapsed) = self.elapsed {
            runs = format!("{runs} in {:.1} s", elapsed.as_secs_f64());
        }
        let limits = slo_limits(&header.slo);
        let slo = if limits.is_empty() {
            vec!["no SLO: nothing breaches, and the bill has no steady/buffer split".to_owned()]
        } else {
            let limits: Vec<String> = limits.iter().map(|(name, limit)| format!("{name} {limit}")).collect();
            let capacity = header.capacity.map(|c| format!("a replica serves {c:.2} requests/s within it"));
            [format!("slo {}", limits.join(", "))].into_iter().chain(capacity).collect()
        };
        let requests = counted(header.requests, "request", "requests");
        vec![
            vec![
                self.paint(HEADING, &header.scenario),
                header.model.clone(),
                format!("profile {}", header.profile),
                format!("{}, {requests} ({})", format::span(header.span), header.workload),
            ],
            vec![
                format!(
                    "{} × {}, seed {}",
                    counted(policies, "policy", "policies"),
                    counted(replications, "replication", "replications"),
                    header.seed
                ),
                runs,
                format!("intervals: {}", header.coverage.label()),
            ],
            slo,
        ]
    }

    fn table(&self, out: &mut dyn Write, title: &str, rows: &[Row], layout: &Layout) -> io::Result<()> {
        for block in &layout.blocks {
            let mut line = self.paint(HEADING, &pad(title, layout.label));
            for policy in block.clone() {
                line.push_str("  ");
                line.push_str(
                    &self.paint(HEADING, &pad(&layout.names[policy], layout.columns[policy] + GAP)),
                );
            }
            writeln!(out, "{}", trimmed(&line))?;
            for row in rows {
                let mut line = pad(&format!("  {}", row.label), layout.label);
                for policy in block.clone() {
                    let cell = &row.cells[policy];
                    let mark =
                        cell.mark.map_or_else(|| " ".to_owned(), |m| self.paint(mark_style(m), m.sign()));
                    line += &mark;
                    line.push(' ');
                    line += &pad(&cell.text, layout.columns[policy] + GAP);
                }
                writeln!(out, "{}", trimmed(&line))?;
            }
        }
        Ok(())
    }

    fn lines(&self, out: &mut dyn Write, lines: &[Line], indent: usize) -> io::Result<()> {
        for line in lines {
            let label = if line.label.starts_with(' ') { QUIET } else { HEADING };
            let first = self.paint(label, &pad(&line.label, indent));
            let first = if line.label.chars().count() < indent { first } else { format!("{first}  ") };
            writeln!(out, "{}", trimmed(&wrapped(&first, &line.parts, indent, self.width)))?;
        }
        Ok(())
    }
}

const fn mark_style(mark: Mark) -> Style {
    match mark {
        Mark::Good => GOOD,
        Mark::Bad => BAD,
        Mark::Unsettled => UNSETTLED,
        Mark::Unbound => QUIET,
    }
}

impl Report for Terminal {
    fn name(&self) -> &'static str {
        "text"
    }

    fn file(&self) -> Option<&'static str> {
        None
    }

    fn write(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        for parts in self.header(summary) {
            writeln!(out, "{}", wrapped("", &parts, 2, self.width))?;
        }
        let (gates, results) = (table::gates(summary), table::results(summary));
        let layout = Layout::new(summary, &[&gates, &results], self.width);
        if !gates.is_empty() {
            writeln!(out)?;
            self.table(out, "GATES", &gates, &layout)?;
            if gates.iter().flat_map(|row| &row.cells).any(|cell| cell.mark == Some(Mark::Unbound)) {
                writeln!(out, "{}", self.paint(QUIET, "  · the gate does not bind this policy"))?;
            }
        }
        writeln!(out)?;
        self.table(out, "RESULTS", &results, &layout)?;
        writeln!(out)?;
        let sections = [
            table::cold_starts(summary),
            table::breaches(summary),
            table::costs(summary),
            foresight::lines(summary),
        ];
        let longest = sections.iter().flatten().map(|line| line.label.chars().count()).max().unwrap_or(0);
        for section in &sections {
            self.lines(out, section, (longest + 2).min(36))?;
        }
        writeln!(out)?;
        // Those of a place were shown with it before the runs began.
        let bare = summary.experiment.header.warnings.iter().filter(|warning| warning.place.is_none());
        for warning in bare {
            let code = self.paint(UNSETTLED.bold(), &format!("warning[{}]", warning.code));
            writeln!(out, "{code}: {}", warning.message)?;
            if let Some(help) = &warning.help {
                writeln!(out, "  help: {help}")?;
            }
        }
        match &self.wrote {
            Some(wrote) => writeln!(out, "wrote {wrote} · {}", summary.gates_text())?,
            None => writeln!(out, "{}", summary.gates_text())?,
        }
        writeln!(out, "{} {}", self.paint(HEADING, "verdict:"), summary.verdict_text)
    }
}

/// Where the columns of both tables stand.
struct Layout {
    /// Width of the label column.
    label: usize,
    /// Names of the policies.
    names: Vec<String>,
    /// Width of each policy's column, its mark left out.
    columns: Vec<usize>,
    /// Which policies stand side by side.
    blocks: Vec<std::ops::Range<usize>>,
}

impl Layout {
    fn new(summary: &Summary, tables: &[&[Row]], width: usize) -> Self {
        let names: Vec<String> = summary.policies.iter().map(|policy| policy.name.clone()).collect();
        let rows = || tables.iter().copied().flatten();
        let label = rows().map(|row| row.label.chars().count() + 2 + GAP).max().unwrap_or(0);
        let widest = |policy: usize| {
            let cells = rows().map(|row| row.cells[policy].text.chars().count());
            cells.chain([names[policy].chars().count()]).max().unwrap_or(0)
        };
        let columns: Vec<usize> = (0..names.len()).map(widest).collect();
        let mut blocks: Vec<std::ops::Range<usize>> = Vec::new();
        let mut used = 0;
        for (policy, column) in columns.iter().enumerate() {
            // A column takes its mark and a space, and a gap unless it is the last of its line.
            let needed = column + 2;
            match blocks.last_mut() {
                Some(block) if used + GAP + needed <= width => {
                    block.end = policy + 1;
                    used += GAP + needed;
                }
                _ => {
                    blocks.push(policy..policy + 1);
                    used = label + needed;
                }
            }
        }
        Self { label, names, columns, blocks }
    }
}

/// The text, filled with spaces on the right.
fn pad(text: &str, width: usize) -> String {
    format!("{text:width$}")
}

/// Without spaces at the end, also in front of a closing colour.
fn trimmed(line: &str) -> &str {
    line.trim_end()
}

/// Length without colours.
pub(super) fn shown(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

/// The parts joined by dots, broken between parts where the line would outgrow the width.
pub(super) fn wrapped(first: &str, parts: &[String], indent: usize, width: usize) -> String {
    let mut out = first.to_owned();
    let mut used = shown(first);
    for (index, part) in parts.iter().enumerate() {
        let length = shown(part);
        if index > 0 && used + 3 + length > width {
            out.push_str(" ·\n");
            out.push_str(&" ".repeat(indent));
            used = indent;
        } else if index > 0 {
            out.push_str(" · ");
            used += 3;
        }
        out.push_str(part);
        used += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{ExperimentOutcome, PolicyOutcome};
    use crate::report::fixture;

    fn printed(terminal: &Terminal, experiment: ExperimentOutcome) -> String {
        let mut bytes = Vec::new();
        terminal.write(&Summary::new(experiment), &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn two_policies() {
        let terminal = Terminal {
            elapsed: Some(Duration::from_millis(1730)),
            wrote: Some("reports/evening-spike/outcome.json and 7 more".to_owned()),
            ..Terminal::PLAIN
        };
        insta::assert_snapshot!(printed(&terminal, fixture::experiment()));
    }

    #[test]
    fn one_run_without_slo_or_gates() {
        let mut experiment = fixture::experiment();
        experiment.header.slo = crate::outcome::breach::Slo::default();
        experiment.header.capacity = None;
        experiment.header.replications = 1;
        experiment.header.coverage = crate::experiment::Coverage::None;
        experiment.header.warnings.clear();
        experiment.gates.clear();
        experiment.policies.truncate(1);
        experiment.policies[0].runs.truncate(1);
        experiment.policies[0].runs[0].breaches = None;
        experiment.policies[0].runs[0].ledger.needed_replica_ns = None;
        insta::assert_snapshot!(printed(&Terminal::PLAIN, experiment));
    }

    fn many() -> ExperimentOutcome {
        let mut experiment = fixture::experiment();
        for index in 3..=7 {
            let run = if index % 2 == 0 { fixture::run } else { fixture::good_run };
            let runs = (1..=3).map(run).collect();
            experiment.policies.push(PolicyOutcome { name: format!("policy-number-{index}"), runs });
        }
        experiment.gates[2].policies = Some(vec!["warm-pool".to_owned()]);
        experiment
    }

    #[test]
    fn many_policies_in_eighty_columns() {
        insta::assert_snapshot!(printed(&Terminal { width: 80, ..Terminal::PLAIN }, many()));
    }

    #[test]
    fn tables_keep_to_the_width() {
        for width in [80, 100, 120] {
            let text = printed(&Terminal { width, ..Terminal::PLAIN }, many());
            let (tables, _) = text.split_once("\nGATES").unwrap().1.split_once("\nCOLD START").unwrap();
            assert!(tables.lines().all(|line| line.chars().count() <= width), "{width}\n{tables}");
            assert_eq!(tables.matches("policy-number-7").count(), 2, "once in each table");
        }
    }

    #[test]
    fn colour_only_when_asked() {
        let plain = printed(&Terminal::PLAIN, many());
        let coloured = printed(&Terminal { colour: true, ..Terminal::PLAIN }, many());
        assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        let trim = |text: &str| text.lines().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>();
        assert_eq!(trim(&stripped), trim(&plain));
    }

    #[test]
    fn the_verdict_comes_last() {
        for experiment in [fixture::experiment(), many()] {
            let text = printed(&Terminal::PLAIN, experiment);
            assert!(text.lines().last().unwrap().starts_with("verdict: "));
        }
    }
}
