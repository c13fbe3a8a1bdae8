//! `profile`: looks into profile files.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use thawline::profile::Profile;

use super::{Answer, Exit, console};
use crate::Fault;

#[derive(Subcommand)]
pub(super) enum ProfileCommand {
    /// Report all that is wrong with a profile: exit code 0 if it can be used, 2 if not.
    Check {
        /// The profile's YAML file.
        file: PathBuf,
    },
}

pub(super) fn run(command: &ProfileCommand) -> Answer {
    match command {
        ProfileCommand::Check { file } => {
            let (profile, warnings) = read(file)?;
            console::report(&warnings);
            console::print(&format!("{}: {} ({})\n", file.display(), profile.label(), profile.trust()));
        }
    }
    Ok(Exit::Success)
}

/// Reads and checks a profile; the second value holds warnings.
fn read(file: &Path) -> Result<(Profile, Vec<Fault>), Vec<Fault>> {
    let name = file.display().to_string();
    let unreadable = |e| vec![Fault::in_file("E0401", &name, format!("cannot read the profile: {e}"))];
    let bytes = std::fs::read(file).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        vec![Fault::in_file("E0101", &name, format!("byte {at} is not UTF-8 text"))]
    })?;
    Profile::from_yaml(&name, &text)
}
