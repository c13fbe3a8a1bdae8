//! `thawline completions`: a script for a shell.

use clap::CommandFactory;

use super::args::{Args, CompletionsArgs};
use super::{Answer, Exit, console};

pub(super) fn run(args: &CompletionsArgs) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "thawline", &mut script);
    console::print(&String::from_utf8_lossy(&script));
    Ok(Exit::Success)
}
