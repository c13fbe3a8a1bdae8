//! What CI systems are told: lines that GitHub shows beside the scenario, and its summary of the step. The only place that
//! reads their environment.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use super::args::SimulateFormat;
use super::{console, validate};
use crate::experiment::GateStatus;
use crate::report::markdown::Markdown;
use crate::report::{Comparison, Report, Summary, comparison_text, format};
use crate::scenario::Scenario;
use crate::yaml::{Diagnostic, Path, Severity};

/// The file to which a step of a GitHub workflow adds what its page shows.
pub(super) struct StepSummary {
    path: PathBuf,
    file: File,
}

/// Opens it, where the environment names one.
pub(super) fn step_summary() -> Result<Option<StepSummary>, Diagnostic> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(path);
    match OpenOptions::new().append(true).create(true).open(&path) {
        Ok(file) => Ok(Some(StepSummary { path, file })),
        Err(error) => {
            let message = format!("cannot append to $GITHUB_STEP_SUMMARY, {}: {error}", path.display());
            Err(Diagnostic::error("E0402", message)
                .helped("unset the variable if this is no GitHub workflow"))
        }
    }
}

impl StepSummary {
    /// Adds to it.
    pub fn append(&mut self, markdown: &str) -> Result<(), Vec<Diagnostic>> {
        // One write, so that steps that run at the same time do not mix.
        self.file.write_all(format!("{markdown}\n").as_bytes()).map_err(|error| {
            let message = format!("cannot append to $GITHUB_STEP_SUMMARY, {}: {error}", self.path.display());
            vec![Diagnostic::error("E0402", message)]
        })
    }
}

/// The comparison and the summary; the marker of the summary comes last.
pub(super) fn markdown(summary: &Summary, comparison: &[u8]) -> String {
    let mut text = comparison.to_vec();
    Markdown.write(summary, &mut text).expect("memory takes what is written to it");
    String::from_utf8_lossy(&text).into_owned()
}

/// Every failed gate, regression and drift as a diagnostic at its line of the scenario; warnings where nothing can fail.
pub(super) fn failures(
    scenario: &Scenario,
    summary: &Summary,
    comparison: Option<&Comparison>,
    exit_zero: bool,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (index, row) in summary.gates.iter().enumerate() {
        for (policy, cell) in summary.policies.iter().zip(&row.cells) {
            let straddles = cell.status == GateStatus::Straddles;
            if !cell.bound || !cell.fails(false) {
                continue;
            }
            let value = format::gate_value(&row.gate, cell.estimate.as_ref());
            let how = if straddles { "is not settled" } else { "does not hold" };
            let message = format!("{}: gate `{}` {how}: {value}", policy.name, row.gate);
            let fault = at_gate(scenario, index, "E0901", message);
            let fault = fault.labelled(format!("{} {how} under {}", row.gate.metric.name, policy.name));
            let severity =
                if straddles && summary.experiment.lenient { Severity::Warning } else { fault.severity };
            found.push(Diagnostic { severity, ..fault });
        }
    }
    for (policy, line) in comparison.iter().flat_map(|comparison| comparison.regressions()) {
        let message = format!("regression: {}", comparison_text::regression(policy, line));
        let gate = summary
            .gates
            .iter()
            .position(|row| row.gate.metric == line.metric && row.gate.binds(&policy.new));
        let fault = match gate {
            Some(index) => at_gate(scenario, index, "E0902", message),
            None => at_policy(scenario, &policy.new, "E0902", message),
        };
        let fault = fault.labelled(format!("{} became worse under {}", line.metric.name, policy.new));
        found.push(fault.helped(format!("changed: {}", policy.reasons(3))));
    }
    if let Some(drifts) =
        comparison.and_then(|comparison| comparison.drifts.as_ref()).filter(|d| !d.is_empty())
    {
        let name = scenario.document.name();
        let message =
            format!("drift from the baseline: {} differences, first {}", drifts.len(), drifts[0].text());
        found.push(Diagnostic::in_file("E0903", name, message));
    }
    if exit_zero {
        for fault in &mut found {
            fault.severity = Severity::Warning;
        }
    }
    found
}

/// A fault at a gate, or at the scenario where the gate was written on the command line.
fn at_gate(scenario: &Scenario, index: usize, code: &'static str, message: String) -> Diagnostic {
    let gate = Path::keys(["gates"]).index(index);
    let text = if scenario.document.contains(&gate.key("gate")) { gate.key("gate") } else { gate };
    in_a_file(scenario, scenario.document.fault(code, &text, message))
}

fn at_policy(scenario: &Scenario, policy: &str, code: &'static str, message: String) -> Diagnostic {
    let path = Path::keys(["policies", policy]);
    in_a_file(scenario, scenario.document.fault_at_key(code, &path, message))
}

fn in_a_file(scenario: &Scenario, fault: Diagnostic) -> Diagnostic {
    if fault.place.as_ref().is_some_and(|place| place.file != "--set") {
        return fault;
    }
    Diagnostic::in_file(fault.code, scenario.document.name(), fault.message)
}

/// On GitHub, a line for each that is shown beside the scenario. After JSON they go to stderr, which GitHub reads, too.
pub(super) fn annotate(failures: &[Diagnostic], format: SimulateFormat) {
    if std::env::var_os("GITHUB_ACTIONS").is_none_or(|value| value != "true") {
        return;
    }
    let lines: String = failures.iter().map(|fault| validate::github(fault) + "\n").collect();
    match format {
        SimulateFormat::Text => console::print(&lines),
        SimulateFormat::Json => console::say(&lines),
    }
}
