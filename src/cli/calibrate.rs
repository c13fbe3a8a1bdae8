//! `thawline calibrate`: hands over to `thawline-calibrate`, as git and cargo do, so that
//! nobody needs CUDA code to simulate.

use std::path::PathBuf;
use std::process::Command;

use super::args::CalibrateArgs;
use super::{Answer, Exit};
use crate::yaml::Diagnostic;

const PROGRAM: &str = if cfg!(windows) { "thawline-calibrate.exe" } else { "thawline-calibrate" };

pub(super) fn run(args: &CalibrateArgs) -> Answer {
    let Some(program) = find() else {
        let fault = Diagnostic::error("E0403", "thawline-calibrate is neither beside thawline nor on PATH")
            .helped("build it on the GPU host: cargo build --release -p thawline-calibrate");
        return Err(vec![fault]);
    };
    let status = Command::new(&program).args(&args.arguments).status().map_err(|error| {
        vec![Diagnostic::in_file("E0403", &program.display().to_string(), format!("cannot run it: {error}"))]
    })?;
    // Without a code it was killed by a signal.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2);
    Ok(Exit::Code(code))
}

/// The program beside this one, else the first on PATH.
fn find() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(|dir| dir.join(PROGRAM)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|dir| dir.join(PROGRAM)))
        .find(|program| program.is_file())
}
