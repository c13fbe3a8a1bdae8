//! A comparison for programs (JSON) and for pull requests (Markdown).

use std::io::{self, Write};

use serde::Serialize;

use super::comparison::{Comparison, Line};
use super::comparison_text::{Words, margins, mark, verdict};
use super::difference::Difference;
use super::document::Figure;
use super::drift::Drift;
use super::markdown::escaped;
use crate::experiment::Standing;
use crate::experiment::compare::Basis;

/// The version of the JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// How many differences and drifts a pull request shows.
const LISTED_MAX: usize = 10;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ComparisonDoc<'a> {
    schema_version: u32,
    base: &'a str,
    new: &'a str,
    paired: bool,
    base_runs: usize,
    new_runs: usize,
    level: f64,
    failed: bool,
    verdict: String,
    policies: Vec<PolicyDoc<'a>>,
    added: &'a [String],
    vanished: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    drifts: Option<&'a [Drift]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyDoc<'a> {
    base: &'a str,
    new: &'a str,
    metrics: Vec<LineDoc>,
    differences: &'a [Difference],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LineDoc {
    metric: &'static str,
    unit: &'static str,
    base: Figure,
    new: Figure,
    difference: Figure,
    interval: Option<(f64, f64)>,
    relative: Figure,
    relative_interval: Option<(f64, f64)>,
    basis: Basis,
    standing: Standing,
    p: Option<f64>,
    judged: bool,
    regressed: bool,
    regression_p: Option<f64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    margins: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

impl From<&Line> for LineDoc {
    fn from(line: &Line) -> Self {
        let finding = &line.finding;
        let relative = |amount: f64| finding.relative(amount);
        Self {
            metric: line.metric.name,
            unit: line.metric.unit.label(),
            base: Figure(finding.base),
            new: Figure(finding.new),
            difference: Figure(finding.difference),
            interval: finding.interval,
            relative: Figure(finding.difference.and_then(relative)),
            relative_interval: finding
                .interval
                .and_then(|(low, high)| Some((relative(low)?, relative(high)?))),
            basis: finding.basis,
            standing: finding.standing,
            p: finding.p,
            judged: finding.judged,
            regressed: finding.regressed,
            regression_p: finding.regression_p,
            margins: margins(line),
            note: line.note(),
        }
    }
}

/// The comparison as JSON.
pub fn json(comparison: &Comparison) -> String {
    let policy = |policy| {
        let of: &super::comparison::PolicyComparison = policy;
        PolicyDoc {
            base: &of.base,
            new: &of.new,
            metrics: of.lines.iter().map(LineDoc::from).collect(),
            differences: &of.differences,
        }
    };
    let document = ComparisonDoc {
        schema_version: SCHEMA_VERSION,
        base: &comparison.base,
        new: &comparison.new,
        paired: comparison.paired,
        base_runs: comparison.runs.0,
        new_runs: comparison.runs.1,
        level: comparison.level,
        failed: comparison.fails(),
        verdict: verdict(comparison),
        policies: comparison.policies.iter().map(policy).collect(),
        added: &comparison.added,
        vanished: &comparison.vanished,
        drifts: comparison.drifts.as_deref(),
    };
    serde_json::to_string_pretty(&document).expect("its keys are texts") + "\n"
}

/// The comparison as Markdown.
pub fn markdown(comparison: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    let failed = if comparison.fails() { "✗" } else { "✓" };
    writeln!(out, "### {failed} Compared with {}\n", escaped(&comparison.base))?;
    writeln!(out, "**Verdict:** {}\n", escaped(&verdict(comparison)))?;
    writeln!(out, "✗ worse · ✓ better · · no change detected ({})\n", escaped(&comparison.basis()))?;
    for policy in &comparison.policies {
        writeln!(
            out,
            "| {} | base | new | change | interval | |\n|---|---|---|---|---|---|",
            escaped(&policy.name())
        )?;
        for line in &policy.lines {
            let words = Words::of(line);
            let interval = words.interval.as_ref().map(|(low, high)| format!("[{low}, {high}]"));
            let note = match (line.finding.regressed, line.note()) {
                (true, note) => format!("**regression** {note}"),
                (false, note) => note,
            };
            writeln!(
                out,
                "| {} {} | {} | {} | {} | {} | {} |",
                mark(line.finding.standing),
                line.metric.name,
                escaped(&words.base),
                escaped(&words.new),
                words.change,
                escaped(&interval.unwrap_or_default()),
                note.trim_end()
            )?;
        }
        writeln!(out)?;
        if !policy.differences.is_empty() {
            let word = if policy.is_changed() { "because" } else { "although" };
            writeln!(out, "{word} {}\n", escaped(&policy.reasons(LISTED_MAX)))?;
        }
    }
    for name in &comparison.added {
        writeln!(out, "- {}: is not in the baseline; not compared", escaped(name))?;
    }
    for name in &comparison.vanished {
        writeln!(out, "- {}: is in the baseline only; not compared", escaped(name))?;
    }
    for drift in comparison.drifts.iter().flatten().take(LISTED_MAX) {
        writeln!(out, "- drift: {}", escaped(&drift.text()))?;
    }
    writeln!(out)
}
