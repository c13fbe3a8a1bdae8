//! `thawline profile`: what profiles hold, and how far each figure is to be trusted.

use std::path::Path;

use super::args::{ProfileArgs, ProfileCommand};
use super::{Answer, Exit, console};
use crate::profile::page::table;
use crate::profile::sourced::Date;
use crate::profile::{Profile, SHIPPED};
use crate::scenario::read_profile;
use crate::yaml::Diagnostic;

pub(super) fn run(args: &ProfileArgs) -> Answer {
    let today = Date::from(jiff::Zoned::now().date());
    match &args.command {
        ProfileCommand::List => list(),
        ProfileCommand::Show { profile } => {
            let (profile, warnings) = read(profile)?;
            console::print(&profile.page(today));
            console::report(&warnings);
        }
        ProfileCommand::Check { file } => {
            let (profile, warnings) = read(&file.to_string_lossy())?;
            console::print(&format!("{}: no faults ({})\n", profile.label(), profile.trust()));
            console::report(&warnings);
        }
    }
    Ok(Exit::Success)
}

fn read(named: &str) -> Result<(Profile, Vec<Diagnostic>), Vec<Diagnostic>> {
    read_profile(named, Path::new(""), |message| Diagnostic::error("E0401", message))
}

fn list() {
    let rows = SHIPPED.iter().map(|shipped| {
        let profile = shipped.profile();
        vec![
            shipped.name.to_owned(),
            profile.model.clone(),
            format!("{} x {}", profile.gpu.count, profile.gpu.name),
            format!("{:.0}s", profile.cold_start_median().as_secs_f64()),
            profile.trust().to_string(),
        ]
    });
    console::print(&table(&["NAME", "MODEL", "GPUS", "COLD START", "FIGURES"], rows, &[3]));
    console::print("\n`thawline profile show NAME` shows each figure with its source and age.\n");
}
