//! `thawline validate`: every check of a scenario, and no run.

use std::fmt::Write as _;

use super::args::{ValidateArgs, ValidateFormat};
use super::{Answer, Exit, console};
use crate::report::{code_quality, sarif};
use crate::scenario::{self, Scenario};
use crate::yaml::{Diagnostic, Severity, find_code};

pub(super) fn run(args: &ValidateArgs) -> Answer {
    let checked = scenario::load(&args.scenario, &args.sets).and_then(|scenario| {
        let notes = scenario::resolve(&scenario, false)?.notes;
        Ok((scenario, notes))
    });
    let (scenario, found) = match checked {
        Ok((scenario, notes)) => (Some(scenario), notes),
        Err(faults) => (None, faults),
    };
    // Notes on manifests are nobody's fault: there is nothing to mend.
    let is_trap = |note: &Diagnostic| find_code(note.code).is_none_or(|code| !code.is_note());
    let refused = scenario.is_none() || args.strict && found.iter().any(is_trap);
    let exit = if refused { Exit::CouldNotRun } else { Exit::Success };
    match args.format {
        ValidateFormat::Text => {
            // The answer prints faults.
            let Some(scenario) = scenario else { return Err(found) };
            console::report(&found);
            console::print(&passed(&scenario, found.len()));
            return Ok(exit);
        }
        ValidateFormat::Json => {
            let json = serde_json::to_string_pretty(&found).expect("diagnostics have text keys only");
            console::print(&format!("{json}\n"));
        }
        ValidateFormat::Github => {
            let lines: String = found.iter().map(|fault| github(fault) + "\n").collect();
            console::print(&lines);
        }
        ValidateFormat::Gitlab => console::print(&code_quality::write(&found)),
        ValidateFormat::Sarif => console::print(&sarif::write(&found)),
    }
    Ok(exit)
}

fn passed(scenario: &Scenario, warnings: usize) -> String {
    let (policies, gates) = (scenario.spec.policies.len(), scenario.spec.gates.len());
    let of = |count: usize, one: &str, several: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {several}"),
    };
    let warnings = match warnings {
        0 => String::new(),
        count => format!(", {}", of(count, "warning", "warnings")),
    };
    let (policies, gates) = (of(policies, "policy", "policies"), of(gates, "gate", "gates"));
    format!("{}: no faults{warnings} ({policies}, {gates})\n", scenario.spec.name)
}

/// A workflow command, as GitHub Actions reads it from a step's output.
pub(super) fn github(diagnostic: &Diagnostic) -> String {
    let kind = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut properties = String::new();
    if let Some(place) = &diagnostic.place {
        _ = write!(properties, "file={},", property(&place.file));
        if place.line > 0 {
            let end = place.column + place.len.max(1) - 1;
            _ = write!(properties, "line={},col={},endColumn={end},", place.line, place.column);
        }
    }
    let mut message = diagnostic.message.clone();
    for more in std::iter::once(&diagnostic.label).chain(&diagnostic.help).filter(|more| !more.is_empty()) {
        message.push('\n');
        message.push_str(more);
    }
    format!("::{kind} {properties}title={}::{}", property(diagnostic.code), data(&message))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn github_commands_are_escaped() {
        let fault = Diagnostic::at("E0301", "a,b.yaml", 3, 5, 4, "x: 150%", "150% is too much")
            .labelled("here")
            .helped("write 1%");
        assert_eq!(
            github(&fault),
            "::error file=a%2Cb.yaml,line=3,col=5,endColumn=8,title=E0301::150%25 is too much%0Ahere%0Awrite 1%25"
        );
        let bare = Diagnostic::warning("W0107", "beyond");
        assert_eq!(github(&bare), "::warning title=W0107::beyond");
    }
}
