//! `report.html`: the whole answer in one file. It opens from disk without a network, prints, and says everything without script;
//! with script, the time axis can be zoomed and read, and a cold start replayed.
//!
//! The page is a template (`page.html`) that escapes whatever is put into it; charts are those of [`chart`](super::chart); figures are
//! those of the [`Summary`], laid out once more. What scripts need beside it is one JSON text.

mod data;

use std::io::{self, Write};

use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

use super::chart::canvas::{escaped, shortened};
use super::chart::{Chart, ChartError};
use super::document::PolicyDoc;
use super::table::{self, Line, Mark, Row};
use super::{Document, Report, Summary, foresight, format};
use crate::experiment::Metric;
use crate::experiment::metric::Unit;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
const PLOT_STYLE: &str = include_str!("assets/uPlot.min.css");
const PLOT_SCRIPT: &str = include_str!("assets/uPlot.iife.min.js");

/// Decisions of a policy that the page shows; `decisions.csv` has all.
const DECISIONS_MOST: usize = 150;

/// The page.
pub struct Html;

impl Report for Html {
    fn name(&self) -> &'static str {
        "html"
    }

    fn file(&self) -> Option<&'static str> {
        Some("report.html")
    }

    fn write(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        let document = Document::from(summary);
        let text = page(summary, &document).map_err(io::Error::other)?;
        out.write_all(text.as_bytes())
    }
}

/// Why the page cannot be made.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error(transparent)]
    Chart(#[from] ChartError),
    #[error("the report's template: {0}")]
    Template(#[from] minijinja::Error),
    #[error("the report's data: {0}")]
    Data(#[from] serde_json::Error),
}

/// A table of the page.
#[derive(Serialize)]
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<TableCell>>,
}

#[derive(Serialize)]
struct TableCell {
    mark: &'static str,
    class: &'static str,
    text: String,
}

impl TableCell {
    fn plain(text: impl Into<String>) -> Self {
        Self { mark: "", class: "", text: text.into() }
    }
}

/// What the page says of one policy.
#[derive(Serialize)]
struct PolicyPart {
    name: String,
    timeline: Option<String>,
    starts: Option<String>,
    decisions: Vec<DecisionRow>,
    decisions_left: usize,
    decisions_total: usize,
    equation: Vec<(String, String)>,
}

#[derive(Serialize)]
struct DecisionRow {
    at: String,
    of: String,
    change: String,
    rule: String,
    detail: String,
}

fn page(summary: &Summary, document: &Document) -> Result<String, PageError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("page.html", PAGE)?;
    let policies: Vec<&PolicyDoc> = document.policies.iter().collect();
    let whole = |chart: Chart| chart.draw(document, &policies).map(|canvas| canvas.svg(false)).transpose();
    let header = &summary.experiment.header;
    let limits: Vec<String> = document.slo.iter().map(|(name, limit)| format!("{name} {limit}")).collect();
    let names: Vec<String> = policies.iter().map(|policy| policy.name.clone()).collect();
    let parts: Result<Vec<PolicyPart>, PageError> = summary
        .policies
        .iter()
        .zip(&policies)
        .map(|(summary, policy)| part(document, summary, policy))
        .collect();
    let safe = |text: &str| Value::from_safe_string(text.to_owned());
    let page = context! {
        style => safe(STYLE), plot_style => safe(PLOT_STYLE), script => safe(SCRIPT), plot_script => safe(PLOT_SCRIPT),
        data => safe(&data::text(document)?),
        scenario => &header.scenario, verdict => Value::from_safe_string(with_code(&summary.verdict_text)), gates_text => summary.gates_text(),
        failed => summary.gates_failed() > 0, has_gates => !summary.gates.is_empty(),
        profile => &header.profile, model => &header.model, workload => &header.workload, version => env!("CARGO_PKG_VERSION"),
        seed => header.seed, replications => header.replications, digest => digest(document),
        span => format::span(header.span), requests => format::whole(header.requests), slo => limits.join(", "),
        capacity => header.capacity.map(|capacity| format!("{capacity:.2} requests/s")),
        intervals => header.coverage.label(), command => &header.command,
        gates => value(table_of("gate", &names, &table::gates(summary))), results => value(table_of("result", &names, &table::results(summary))),
        gates_chart => safe_svg(whole(Chart::Gates)?), frontier => safe_svg(whole(Chart::Frontier)?),
        latency => safe_svg(whole(Chart::Latency)?), money => safe_svg(whole(Chart::Money)?),
        cold_starts => value(lines(&table::cold_starts(summary))), breaches => value(lines(&table::breaches(summary))),
        costs => value(lines(&table::costs(summary))), foresight => value(lines(&foresight::lines(summary))),
        ledger => value(ledger(summary, &names)), rates => value(rates(summary, &names)), parts => value(parts?),
        warnings => value(&header.warnings), figures => value(&header.profile_figures), prices => value(&header.prices),
        extrapolated => value(extrapolated(summary, &names)),
        resolved => crate::yaml::write(&document.resolved, None),
    };
    Ok(environment.get_template("page.html")?.render(page)?)
}

fn value(of: impl Serialize) -> Value {
    Value::from(Serde(of))
}

/// A sentence as HTML: what stands between backticks is code.
fn with_code(text: &str) -> String {
    let pieces: Vec<String> = text.split('`').map(escaped).collect();
    // A backtick without a second one is one.
    let paired = pieces.len() - usize::from(pieces.len().is_multiple_of(2));
    let mut out = String::new();
    for (index, piece) in pieces[..paired].iter().enumerate() {
        let (open, close) = if index % 2 == 1 { ("<code>", "</code>") } else { ("", "") };
        out.extend([open, piece, close]);
    }
    for piece in &pieces[paired..] {
        out.extend(["`", piece]);
    }
    out
}

fn safe_svg(svg: Option<String>) -> Option<Value> {
    svg.map(Value::from_safe_string)
}

/// One digest of the facts of all runs, short: two reports with the same one tell of the same runs.
fn digest(document: &Document) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(document.digest()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn table_of(first: &str, names: &[String], rows: &[Row]) -> Table {
    let head = std::iter::once(first.to_owned()).chain(names.iter().cloned()).collect();
    let row = |row: &Row| {
        let label = row.label.split_whitespace().collect::<Vec<_>>().join(" ");
        let cells = row.cells.iter().map(|cell| TableCell {
            mark: cell.mark.map_or("", Mark::sign),
            class: cell.mark.map_or("", class),
            text: cell.text.clone(),
        });
        std::iter::once(TableCell::plain(label)).chain(cells).collect()
    };
    Table { head, rows: rows.iter().map(row).collect() }
}

const fn class(mark: Mark) -> &'static str {
    match mark {
        Mark::Good => "good",
        Mark::Bad => "bad",
        Mark::Unsettled => "unsettled",
        Mark::Unbound => "unbound",
    }
}

fn lines(lines: &[Line]) -> Vec<(String, Vec<String>)> {
    lines.iter().map(|line| (line.label.trim().to_owned(), line.parts.clone())).collect()
}

/// Every account that costs anything, and the bill, which they add up to.
fn ledger(summary: &Summary, names: &[String]) -> Table {
    let accounts = summary.policies.first().map_or(0, |policy| policy.money.accounts.len());
    let mut rows = Vec::new();
    for index in 0..accounts {
        let parts: Vec<_> =
            summary.policies.iter().map(|policy| &policy.money.accounts[index].part).collect();
        if parts.iter().any(|part| part.usd > 0.0) {
            let cell = |part: &&super::money::Part| {
                TableCell::plain(format!(
                    "{} ({})",
                    format::cents(part.cents),
                    format::tenths(part.share_tenths)
                ))
            };
            let label = TableCell::plain(parts[0].label.clone());
            rows.push(std::iter::once(label).chain(parts.iter().map(cell)).collect());
        }
    }
    let bills =
        summary.policies.iter().map(|policy| TableCell::plain(format::cents(policy.money.total_cents)));
    rows.push(std::iter::once(TableCell::plain("bill, the sum")).chain(bills).collect());
    let head = std::iter::once("account".to_owned()).chain(names.iter().cloned()).collect();
    Table { head, rows }
}

/// What a million tokens, a request, and a month cost.
fn rates(summary: &Summary, names: &[String]) -> Table {
    let row = |label: &str, metric: &str| {
        let unit = Metric::find(metric).map_or(Unit::Usd, |metric| metric.unit);
        let cells = summary
            .policies
            .iter()
            .map(|policy| TableCell::plain(format::estimate(unit, policy.metric(metric).as_ref(), None)));
        std::iter::once(TableCell::plain(label)).chain(cells).collect()
    };
    let head = std::iter::once("cost".to_owned()).chain(names.iter().cloned()).collect();
    let rows = vec![
        row("of the run", "cost.total"),
        row("a month, if this period repeated", "cost.monthly"),
        row("per million tokens", "cost.perMillionTokens"),
        row("per request", "cost.perRequest"),
    ];
    Table { head, rows }
}

fn extrapolated(summary: &Summary, names: &[String]) -> Vec<(String, String)> {
    let share = |policy: &super::PolicySummary| format::maybe(Unit::Share, policy.mean("steps.extrapolated"));
    names.iter().cloned().zip(summary.policies.iter().map(share)).collect()
}

fn part(
    document: &Document,
    summary: &super::PolicySummary,
    policy: &PolicyDoc,
) -> Result<PolicyPart, PageError> {
    let svg = |chart: Chart| chart.draw(document, &[policy]).map(|canvas| canvas.svg(false)).transpose();
    let all = policy.runs.first().map_or(&[][..], |run| &run.decisions);
    // What changed something comes first where there is no room for all.
    let mut kept: Vec<usize> =
        (0..all.len()).filter(|i| all[*i].from != all[*i].to).take(DECISIONS_MOST).collect();
    let rest = (0..all.len()).filter(|i| all[*i].from == all[*i].to);
    kept.extend(rest.take(DECISIONS_MOST - kept.len()));
    kept.sort_unstable();
    let row = |index: &usize| {
        let decision = &all[*index];
        let spare = if decision.spare > 0 { format!(" +{}", decision.spare) } else { String::new() };
        DecisionRow {
            at: super::request::clock(crate::kernel::SimTime::from_nanos(decision.at)),
            of: decision.of.clone(),
            change: format!("{} → {}{spare}", decision.from, decision.to),
            rule: decision.rule.clone(),
            detail: shortened(&decision.detail, 400),
        }
    };
    Ok(PolicyPart {
        name: policy.name.clone(),
        timeline: svg(Chart::Timeline)?,
        starts: svg(Chart::ColdStarts)?,
        decisions: kept.iter().map(row).collect(),
        decisions_left: all.len() - kept.len(),
        decisions_total: all.len(),
        equation: summary.money.equation.map_or_else(Vec::new, |equation| equation_lines(&equation)),
    })
}

/// The three terms as people write them.
fn equation_lines(equation: &super::money::Equation) -> Vec<(String, String)> {
    // All with their cents: amounts that are added up are written alike.
    let month = |usd: f64| format::cents((usd * 100.0).round().max(0.0) as u64);
    let price = format::value(Unit::Usd, equation.price_usd_per_hour);
    let buffer = equation.buffer_replicas;
    let mut lines = vec![
        (
            format!("average concurrent replicas {:.2} × {price}/h × 730 h", equation.replicas),
            month(equation.replicas_usd()),
        ),
        (
            format!(
                "scale-up events {} a month × model load time {:.1} s × {price}/h",
                format::whole(equation.starts_per_month.round().max(0.0) as u64),
                equation.load_secs
            ),
            month(equation.starts_usd()),
        ),
    ];
    if let Some(buffer) = buffer {
        let words = format!("over-provisioning buffer {buffer:.2} × {price}/h × 730 h");
        lines.push((words, month(equation.buffer_usd())));
    }
    lines.push(("the sum, an approximation".to_owned(), month(equation.total_usd())));
    lines
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
