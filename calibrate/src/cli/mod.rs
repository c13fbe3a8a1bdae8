//! The command line, and the only code that prints or exits. One file a command.

mod console;
mod files;
mod fit;
mod gpu;
mod import;
mod profile;
mod progress;
mod pull;
mod server;
mod trace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::Result;

/// Measures what a GPU replica needs to become useful.
#[derive(Parser)]
#[command(name = "thawline-calibrate", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Pull(pull::PullArgs),
    /// Turn raw samples into a profile, or check a profile against them.
    Fit(fit::FitArgs),
    Import(Box<import::ImportArgs>),
    /// Measure a model's steps and start-up on this host's GPU, with our own kernels.
    Gpu(gpu::GpuArgs),
    /// A probe in a process of its own.
    #[command(hide = true)]
    GpuFirstUse(gpu::FirstUseArgs),
    /// Look into profiles.
    Profile {
        #[command(subcommand)]
        command: profile::ProfileCommand,
    },
    /// Measure an OpenAI-compatible server: its starts, prefill, decode, and behaviour under load.
    Server(Box<server::ServerArgs>),
    /// Write a measured series as a trace that `thawline simulate` replays.
    Trace(trace::TraceArgs),
}

/// How the program ends; faults end it with 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// It did what was asked.
    Success,
    /// It ran, and what it checked does not hold.
    Failed,
}

/// What a command answers.
type Answer = Result<Exit>;

/// Parses the command line, runs the command, and says how it ended.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        // Help and version are asked for and end in 0; wrong usage ends in 2.
        Err(error) => error.exit(),
    };
    let answer = match &cli.command {
        Command::Pull(args) => pull::run(args),
        Command::Fit(args) => fit::run(args),
        Command::Import(args) => import::run(args),
        Command::Gpu(args) => gpu::run(args),
        Command::GpuFirstUse(args) => gpu::first_use(args),
        Command::Profile { command } => profile::run(command),
        Command::Server(arguments) => server::run_server(arguments),
        Command::Trace(arguments) => trace::run(arguments),
    };
    match answer {
        Ok(Exit::Success) => ExitCode::SUCCESS,
        Ok(Exit::Failed) => ExitCode::from(1),
        Err(faults) => {
            console::report(&faults);
            ExitCode::from(2)
        }
    }
}
