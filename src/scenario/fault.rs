//! Faults that other floors found, as diagnostics that point into the scenario or its files.

use crate::workload::{Fault, FaultKind};
use crate::yaml::{Diagnostic, Document, Path, Place};

/// A path below another, as the floors that know no document write it: `metrics[0].type`.
pub(super) fn below(path: &Path, field: &str) -> Path {
    match Path::parse(field) {
        Ok(inner) => path.join(&inner),
        Err(_) => path.clone(),
    }
}

/// The scenario's own faults first, then those of its manifests, file by file, then those of `--set`; each in the
/// order of its text.
pub(super) fn in_order(mut faults: Vec<Diagnostic>, scenario: &str) -> Vec<Diagnostic> {
    let mut files: Vec<String> = vec![scenario.to_owned()];
    for place in faults.iter().filter_map(|fault| fault.place.as_ref()) {
        if !files.contains(&place.file) {
            files.push(place.file.clone());
        }
    }
    faults.sort_by_key(|fault| {
        fault.place.as_ref().map(|place| {
            let file = files.iter().position(|file| *file == place.file);
            (place.file.starts_with("--"), file, place.line, place.column)
        })
    });
    faults
}

/// What [`crate::workload::load`] found wrong with a workload, in the scenario's text if there is one.
pub fn workload_diagnostics(document: Option<&Document>, faults: &[Fault]) -> Vec<Diagnostic> {
    let section = Path::keys(["workload"]);
    faults.iter().map(|fault| file_diagnostic(document, &section, fault)).collect()
}

/// A fault of a file that a field below `section` names.
pub(super) fn file_diagnostic(document: Option<&Document>, section: &Path, fault: &Fault) -> Diagnostic {
    let code = match fault.kind {
        FaultKind::Spec => "E0311",
        FaultKind::File => "E0401",
        FaultKind::Value => "E0601",
        FaultKind::Order => "E0602",
        FaultKind::Empty => "E0603",
        FaultKind::Format => "E0604",
        FaultKind::Column => "E0605",
        FaultKind::More => "E0606",
    };
    let path = below(section, &fault.field);
    let found = match (&fault.file, fault.line) {
        // A file that cannot be opened is best shown where the scenario names it.
        (Some(file), Some(line)) => {
            let (column, len, text) = match &fault.excerpt {
                Some(excerpt) => (excerpt.offset + 1, excerpt.width, excerpt.text.as_str()),
                None => (fault.column.unwrap_or(1) as usize, 0, ""),
            };
            let place = Place {
                file: file.display().to_string(),
                line: line as usize,
                column,
                len,
                line_text: text.to_owned(),
            };
            Diagnostic::error(code, fault.message.as_str()).placed(place)
        }
        (Some(file), None) if fault.kind != FaultKind::File || document.is_none() => {
            Diagnostic::in_file(code, &file.display().to_string(), fault.message.as_str())
        }
        _ => match document {
            Some(document) => document.fault(code, &path, fault.message.as_str()),
            None => Diagnostic::error(code, fault.message.as_str()),
        },
    };
    Diagnostic { help: fault.help.clone().into_iter().collect(), ..found }
}
