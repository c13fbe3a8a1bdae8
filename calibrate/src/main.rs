//! `thawline-calibrate`: the host side of Thawline, which writes and checks profiles.
//!
//! It shares nothing with the simulator but profiles.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use thawline::profile::Profile;
use thawline::yaml::{Diagnostic, Style, render};

/// Measures what a GPU replica needs to become useful.
#[derive(Parser)]
#[command(name = "thawline-calibrate", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look into profiles.
    Profile {
        #[command(subcommand)]
        command: ProfileCommand,
    },
}

#[derive(Subcommand)]
enum ProfileCommand {
    /// Report all that is wrong with a profile: exit code 0 if it can be used, 2 if not.
    Check {
        /// The profile's YAML file.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let Command::Profile { command: ProfileCommand::Check { file } } = Cli::parse().command;
    check(&file)
}

fn check(file: &std::path::Path) -> ExitCode {
    let name = file.display().to_string();
    let unreadable = |why: String| vec![Diagnostic::in_file("E0401", &name, why)];
    let read = std::fs::read(file).map_err(|e| unreadable(format!("cannot read the profile: {e}")));
    let text = read.and_then(|bytes| {
        String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            vec![Diagnostic::in_file("E0101", &name, format!("byte {at} is not UTF-8 text"))]
        })
    });
    match text.and_then(|text| Profile::from_yaml(&name, &text)) {
        Ok((profile, warnings)) => {
            say(&warnings);
            anstream::println!("{}: {} ({})", name, profile.label(), profile.trust());
            ExitCode::SUCCESS
        }
        Err(faults) => {
            say(&faults);
            ExitCode::from(2)
        }
    }
}

/// Renders diagnostics to stderr; the stream drops the colours where nobody would see them.
fn say(diagnostics: &[Diagnostic]) {
    anstream::eprint!("{}", render(diagnostics, Style::Coloured));
}
