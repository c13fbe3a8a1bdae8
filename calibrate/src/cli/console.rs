//! Printing: colours only where a terminal takes them, and no panic when a pipe closes.

use std::io::Write;

use thawline::yaml::{Style, render};

use crate::Fault;

/// Prints to stdout. A reader that has gone away is no fault of ours.
pub(super) fn print(text: &str) {
    let _ = anstream::stdout().write_all(text.as_bytes());
}

/// Prints a line to stderr: what goes on while somebody waits.
pub(super) fn remark(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Prints faults and warnings to stderr.
pub(super) fn report(faults: &[Fault]) {
    let _ = anstream::stderr().write_all(render(faults, Style::Coloured).as_bytes());
}

/// Prints what is going on to stderr.
pub(super) fn note(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}
