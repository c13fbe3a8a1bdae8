//! Printing: colours only where a terminal takes them, and no panic when a pipe closes.

use std::io::Write;

use crate::yaml::{Diagnostic, Severity, Style, render};

/// Prints to stdout. A reader that has gone away is no fault of ours.
pub(super) fn print(text: &str) {
    let _ = anstream::stdout().write_all(text.as_bytes());
}

/// Prints to stderr what people want to know and what programs that read stdout do not.
pub(super) fn say(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// Prints diagnostics to stderr, and their number if there are several.
pub(super) fn report(diagnostics: &[Diagnostic]) {
    let mut text = render(diagnostics, Style::Coloured);
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    if errors > 1 {
        text = format!("{text}\n{errors} errors; `thawline explain CODE` says more\n");
    }
    let _ = anstream::stderr().write_all(text.as_bytes());
}
