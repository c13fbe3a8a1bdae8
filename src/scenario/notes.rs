//! Notes: warnings about what a scenario's texts say, with their places.
//!
//! The command line shows them as it shows faults; results keep a line of each.

use std::path::Path;

use super::Scenario;
use super::fault::in_order;
use super::lint::{World, lint};
use crate::experiment::Warning;
use crate::sim::Simulation;
use crate::yaml::Diagnostic;

/// All of a scenario that nothing is wrong with: what was said when it was read, and its lints.
pub(super) fn notes(scenario: &Scenario, simulation: &Simulation) -> Vec<Diagnostic> {
    let mut notes = scenario.notes.clone();
    notes.extend(lint(&World { scenario, simulation }));
    in_order(notes, scenario.document.name())
}

/// A note as results keep it. `directory` is the scenario's: results do not depend on where that lies.
pub(super) fn warning(note: &Diagnostic, directory: &Path) -> Warning {
    let place = note.place.as_ref().map(|place| {
        let file = Path::new(&place.file);
        let file = file.strip_prefix(directory).unwrap_or(file).display();
        // Line 0 is a whole file.
        if place.line == 0 { file.to_string() } else { format!("{file}:{}", place.line) }
    });
    let help = (!note.help.is_empty()).then(|| note.help.join("; "));
    Warning { code: note.code.to_owned(), message: note.message.clone(), place, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_a_line_of_each() {
        let check = |note: Diagnostic, place: Option<&str>, help: Option<&str>| {
            let warning = warning(&note, Path::new("scenarios"));
            assert_eq!((warning.code.as_str(), warning.message.as_str()), ("W0108", "said"));
            assert_eq!((warning.place.as_deref(), warning.help.as_deref()), (place, help));
        };
        let at = |file: &str| Diagnostic {
            severity: crate::yaml::Severity::Warning,
            ..Diagnostic::at("W0108", file, 3, 5, 2, "x: y", "said")
        };
        check(at("scenarios/manifests/hpa.yaml"), Some("manifests/hpa.yaml:3"), None);
        check(
            at("elsewhere/hpa.yaml").helped("do a").helped("or b"),
            Some("elsewhere/hpa.yaml:3"),
            Some("do a; or b"),
        );
        check(Diagnostic::warning("W0108", "said"), None, None);
        check(Diagnostic::in_file("W0108", "scenarios/a.yaml", "said"), Some("a.yaml"), None);
    }
}
