//! Floor 6: the command line, and the only code that prints or exits.
//!
//! One file a command. A command answers with an [`Exit`], or with the diagnostics that
//! kept it from running.

// Every command has the same signature, those that cannot fail as well.
#![allow(clippy::unnecessary_wraps)]

pub mod args;
mod baseline;
mod calibrate;
mod ci;
mod compare;
mod completions;
mod console;
mod explain;
mod explain_request;
mod explain_start;
mod export;
mod forecast;
mod init;
mod outcome;
mod plan;
mod plot;
mod profile;
mod schema;
mod simulate;
mod trace;
mod validate;
mod whatif;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::yaml::Diagnostic;
use args::{Args, Command};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It ran, and nothing failed.
    Success,
    /// It ran; a gate failed or something regressed.
    Failed,
    /// It could not run: usage, scenario, profile, trace, disk.
    CouldNotRun,
    /// What another program said that was run in its place.
    Code(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::CouldNotRun => Self::from(2),
            Exit::Code(code) => Self::from(code),
        }
    }
}

/// What a command answers.
pub type Answer = Result<Exit, Vec<Diagnostic>>;

/// Parses the command line, runs the command, and says how it ended.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        // Help and version are asked for and end in 0; wrong usage ends in 2.
        Err(error) => error.exit(),
    };
    let answer = match &args.command {
        Command::Init(args) => init::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Whatif(args) => whatif::run(args),
        Command::Validate(args) => validate::run(args),
        Command::Explain(args) => explain::run(args),
        Command::ExplainRequest(args) => explain_request::run(args),
        Command::ExplainStart(args) => explain_start::run(args),
        Command::Plot(args) => plot::run(args),
        Command::Export(args) => export::run(args),
        Command::Schema => schema::run(),
        Command::Trace(args) => trace::run(args),
        Command::Forecast(args) => forecast::run(args),
        Command::Profile(args) => profile::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Calibrate(args) => calibrate::run(args),
    };
    let unwritten = console::finish();
    // Whoever reads the exit code must not take half an answer for a whole one.
    let answer = answer.and_then(|exit| unwritten.map_or(Ok(exit), |fault| Err(vec![fault])));
    match answer {
        Ok(exit) => exit.into(),
        Err(diagnostics) => {
            console::report(&diagnostics);
            Exit::CouldNotRun.into()
        }
    }
}
