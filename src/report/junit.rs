//! JUnit XML, which most CI systems show: a suite is a scenario, a case is a gate under a policy, or a judged metric against the
//! baseline.
//!
//! Written by hand: it is a handful of elements, and crates that write it bring a clock and random ids along.

use std::fmt::Write as _;

use super::comparison::Comparison;
use super::comparison_text::{Words, margins, regression};
use super::{Summary, format};
use crate::experiment::GateStatus;

/// One case.
struct Case {
    class: String,
    name: String,
    /// Kind, message and details.
    failure: Option<(&'static str, String, String)>,
}

/// The report.
pub fn write(summary: &Summary, comparison: Option<&Comparison>) -> String {
    let scenario = &summary.experiment.header.scenario;
    let mut suites = vec![(scenario.clone(), gates(summary))];
    if let Some(comparison) = comparison {
        suites.push((format!("{scenario} against the baseline"), against(scenario, comparison)));
    }
    let failed = |cases: &[Case]| cases.iter().filter(|case| case.failure.is_some()).count();
    let tests: usize = suites.iter().map(|(_, cases)| cases.len()).sum();
    let failures: usize = suites.iter().map(|(_, cases)| failed(cases)).sum();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    _ = writeln!(
        out,
        "<testsuites name=\"thawline\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">"
    );
    for (name, cases) in &suites {
        _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"0\">",
            escaped(name),
            cases.len(),
            failed(cases)
        );
        for case in cases {
            one(&mut out, case);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn one(out: &mut String, case: &Case) {
    _ = write!(out, "    <testcase classname=\"{}\" name=\"{}\"", escaped(&case.class), escaped(&case.name));
    match &case.failure {
        None => out.push_str("/>\n"),
        Some((kind, message, details)) => {
            _ = write!(
                out,
                ">\n      <failure type=\"{kind}\" message=\"{}\">{}</failure>\n    </testcase>\n",
                escaped(message),
                escaped(details)
            );
        }
    }
}

/// Each gate under each policy it binds.
fn gates(summary: &Summary) -> Vec<Case> {
    let scenario = &summary.experiment.header.scenario;
    let mut cases = Vec::new();
    for (index, policy) in summary.policies.iter().enumerate() {
        for row in summary.gates.iter().filter(|row| row.cells[index].bound) {
            let cell = &row.cells[index];
            let failure = cell.fails(summary.experiment.lenient).then(|| {
                let value = format::gate_value(&row.gate, cell.estimate.as_ref());
                let how = match cell.status {
                    GateStatus::Straddles => "the interval lies on both sides of the limit",
                    GateStatus::Absent => "there is no such figure",
                    GateStatus::Pass | GateStatus::Fail => "it does not hold",
                };
                let message = format!("{} is {value}, gate {}: {how}", row.gate.metric.name, row.gate);
                ("gate", message, summary.verdict_text.clone())
            });
            cases.push(Case {
                class: format!("{scenario}.{}", policy.name),
                name: row.gate.to_string(),
                failure,
            });
        }
    }
    cases
}

/// Each judged metric against the baseline, and drift.
fn against(scenario: &str, comparison: &Comparison) -> Vec<Case> {
    let mut cases = Vec::new();
    for policy in &comparison.policies {
        for line in policy.lines.iter().filter(|line| line.finding.judged) {
            let failure = line.finding.regressed.then(|| {
                let words = Words::of(line);
                let details = format!("{}\n{}", words.change_with_interval(), policy.reasons(10));
                ("regression", regression(policy, line), details)
            });
            let name = format!("{} no more than {} worse", line.metric.name, margins(line));
            cases.push(Case { class: format!("{scenario}.{}.baseline", policy.new), name, failure });
        }
    }
    if let Some(drifts) = &comparison.drifts {
        let failure = (!drifts.is_empty()).then(|| {
            let all: Vec<String> = drifts.iter().map(super::drift::Drift::text).collect();
            ("drift", format!("{} differences from the baseline", drifts.len()), all.join("\n"))
        });
        cases.push(Case { class: format!("{scenario}.baseline"), name: "no drift".to_owned(), failure });
    }
    cases
}

/// A text in an attribute or between tags. XML 1.0 has no way to write most control characters: they are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::comparison::Options;
    use crate::report::{Baseline, fixture};

    #[test]
    fn suites_cases_and_failures() {
        let summary = Summary::new(fixture::experiment());
        let text = write(&summary, None);
        let gates = summary.gates_total();
        let failed = summary.gates_failed();
        assert!(failed > 0 && failed < gates);
        assert!(
            text.contains(&format!(
                "<testsuite name=\"evening-spike\" tests=\"{gates}\" failures=\"{failed}\""
            ))
        );
        assert_eq!(text.matches("<testcase ").count(), gates);
        assert_eq!(text.matches("<failure type=\"gate\"").count(), failed);
        assert!(text.contains("name=\"ttft.p99 &lt; 2s\""), "{text}");
    }

    #[test]
    fn regressions_and_drift_are_cases() {
        let summary = Summary::new(fixture::experiment());
        let new = Baseline::from(&summary);
        let mut base = new.clone();
        for run in &mut base.policies[1].runs {
            let metrics = &mut run.metrics;
            metrics["cost.total"].0 = metrics["cost.total"].0.map(|cost| cost / 2.0);
        }
        let options = Options { drift: true, rules: vec![], ..Options::default() };
        let text = write(&summary, Some(&Comparison::new(("a", "b"), &base, &new, &options)));
        assert!(
            text.contains("<failure type=\"drift\" message=\"3 differences from the baseline\">"),
            "{text}"
        );
        let options = Options::default();
        let text = write(&summary, Some(&Comparison::new(("a", "b"), &base, &new, &options)));
        assert_eq!(text.matches("<failure type=\"regression\"").count(), 1, "{text}");
        assert!(
            text.contains("warm-pool cost.total") && text.contains("+100.0% [+100.0%, +100.0%]"),
            "{text}"
        );
    }

    #[test]
    fn no_text_breaks_the_file() {
        assert_eq!(
            escaped("a<b>&\"c\"\u{1b}[31m\u{0}\n"),
            "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}[31m\u{fffd}&#10;"
        );
    }
}
