//! Printing: colours only where a terminal takes them, no panic when a pipe closes, and no success where what was
//! asked for could not be written.

use std::io::{Error, ErrorKind, Write};
use std::sync::Mutex;

use crate::yaml::{Diagnostic, Severity, Style, render};

/// Why stdout did not take what was printed: commands go on, and [`finish`] tells of it.
static FAILED: Mutex<Option<Error>> = Mutex::new(None);

/// Prints to stdout. A reader that has gone away is no fault of ours.
pub(super) fn print(text: &str) {
    let mut stdout = anstream::stdout();
    note(stdout.write_all(text.as_bytes()));
}

fn note(written: Result<(), Error>) {
    if let Err(error) = written.and_then(|()| std::io::stdout().flush())
        && let Ok(mut failed) = FAILED.lock()
    {
        failed.get_or_insert(error);
    }
}

/// What kept stdout from taking all that was printed; a pipe that its reader closed is none.
pub(super) fn finish() -> Option<Diagnostic> {
    unwritten(&FAILED.lock().ok()?.take()?)
}

fn unwritten(error: &Error) -> Option<Diagnostic> {
    if error.kind() == ErrorKind::BrokenPipe {
        return None;
    }
    let fault = Diagnostic::error("E0402", format!("cannot write to stdout: {error}"));
    Some(
        fault.helped(
            "what was printed is not complete: make room for it, or send it elsewhere, and run it again",
        ),
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_no_fault_and_a_full_disk_is() {
        assert_eq!(unwritten(&Error::from(ErrorKind::BrokenPipe)), None);
        let fault = unwritten(&Error::from(ErrorKind::StorageFull)).expect("it is one");
        assert_eq!(fault.code, "E0402");
        assert!(fault.message.contains("stdout"), "{}", fault.message);
    }
}
