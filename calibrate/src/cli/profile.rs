//! `profile`: looks into profile files, compares them, and makes one of several.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use thawline::profile::page::table;
use thawline::profile::show::Row;
use thawline::profile::sourced::Date;
use thawline::profile::{Fault as ProfileFault, Profile, Severity};

use super::files::{read_profile, write, write_text};
use super::{Answer, Exit, console};
use crate::profiles::diff::{Difference, diff};
use crate::profiles::merge::merge;
use crate::{Fault, Result, plot, raw};

#[derive(Subcommand)]
pub(super) enum ProfileCommand {
    /// Show every figure with its source and age, and draw them.
    Show(ShowArgs),
    /// Report all that is wrong with a profile: exit code 0 if it can be used, 2 if not.
    Check {
        /// The profile's YAML file, or the name of a shipped one.
        file: String,
    },
    /// Show in what two profiles differ: exit code 0 if in nothing, 1 if in something.
    ///
    /// Names, descriptions, sources, dates and notes are not compared. In a table the change
    /// shown is the largest one.
    #[command(after_help = "Examples:
  thawline-calibrate profile diff old.yaml new.yaml
  thawline-calibrate profile diff l40s-llama3.1-8b-vllm mine.yaml")]
    Diff {
        /// A file, or the name of a shipped profile.
        a: String,
        /// Another.
        b: String,
    },
    /// Make one profile of several, each figure from the one that knows it best.
    Merge(MergeArgs),
}

#[derive(Args)]
#[command(after_help = "Examples:
  thawline-calibrate profile show l40s-llama3.1-8b-vllm --png l40s.png
  thawline-calibrate profile show mine.yaml --raw mine.raw.jsonl --svg mine.svg")]
pub(super) struct ShowArgs {
    /// A file, or the name of a shipped profile.
    file: String,
    /// Draw it to this file: the start as a waterfall, decode and prefill as curves.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// The same as PNG.
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Draw these raw samples as crosses over the curves.
    #[arg(long, value_name = "FILE")]
    raw: Vec<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "\
Rules:
  A figure is taken with its source, date and note. Measured comes before published, published before
  derived, derived before assumed; then the newer date; then the profile named first.
  Name, model, engine and GPUs are those of the first; other models or GPUs are refused without --force.
  Start-up stages are matched by stage and label. Where profiles part a stage differently, the parts of
  one are taken together. So are decode with its linear layers, prefill, the image, and the CPU.
  Validations are all kept. The result is checked before it is written.

Examples:
  thawline-calibrate profile merge gpu.yaml server.yaml pull.yaml --out mine.yaml
  thawline-calibrate profile merge mine.yaml l40s-llama3.1-8b-vllm --out complete.yaml")]
pub(super) struct MergeArgs {
    /// Files, or names of shipped profiles; at least two.
    #[arg(required = true, num_args = 2..)]
    profiles: Vec<String>,
    /// The profile to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Its name [default: that of the first].
    #[arg(long)]
    name: Option<String>,
    /// Replace the file if it is there, and merge even profiles of different models or GPUs.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(command: &ProfileCommand) -> Answer {
    match command {
        ProfileCommand::Show(args) => show(args),
        ProfileCommand::Check { file } => {
            let (profile, warnings) = read_profile(file)?;
            console::report(&warnings);
            console::print(&format!("{file}: {} ({})\n", profile.label(), profile.trust()));
            Ok(Exit::Success)
        }
        ProfileCommand::Diff { a, b } => {
            let [a, b] = two(a, b)?;
            let found = diff(&a, &b);
            console::print(&differences(&a, &b, &found));
            Ok(if found.is_empty() { Exit::Success } else { Exit::Failed })
        }
        ProfileCommand::Merge(args) => merge_files(args),
    }
}

fn show(args: &ShowArgs) -> Answer {
    let (profile, warnings) = read_profile(&args.file)?;
    let (mut samples, mut faults) = (Vec::new(), Vec::new());
    for path in &args.raw {
        match raw::read(path) {
            Ok(file) => samples.extend(file.records),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let today = Date::from(jiff::Zoned::now().date());
    console::print(&profile.page(today));
    console::report(&warnings);
    if let Some(path) = &args.svg {
        write_text(path, true, &plot::svg(&profile, &samples)?)?;
        console::print(&format!("\ndrawn: {}\n", path.display()));
    }
    if let Some(path) = &args.png {
        drawable(path)?;
        write(path, true, |staged| plot::png(&profile, &samples, staged))?;
        console::print(&format!("\ndrawn: {}\n", path.display()));
    }
    Ok(Exit::Success)
}

/// The picture's format goes by its file's ending.
fn drawable(path: &Path) -> Result<()> {
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
        return Ok(());
    }
    let why = format!("{} does not end in .png", path.display());
    Err(vec![Fault::error("E0402", why)])
}

/// Both profiles, or the faults of both.
fn two(a: &str, b: &str) -> Result<[Profile; 2]> {
    match (read_profile(a), read_profile(b)) {
        (Ok((a, _)), Ok((b, _))) => Ok([a, b]),
        (a, b) => Err([a.err(), b.err()].into_iter().flatten().flatten().collect()),
    }
}

fn differences(a: &Profile, b: &Profile, found: &[Difference]) -> String {
    let [a, b] = [a.label(), b.label()];
    if found.is_empty() {
        return format!("{a} and {b} do not differ\n");
    }
    let rows = found.iter().map(|difference| {
        let value = |i: usize| difference.values[i].clone().unwrap_or_else(|| "-".to_owned());
        let change = difference.change.map_or_else(String::new, |c| format!("{:+.1} %", c * 100.0));
        let provenance = match difference.provenance.each_ref().map(Option::as_deref) {
            [Some(a), Some(b)] if a == b => a.to_owned(),
            [None, None] => String::new(),
            [a, b] => format!("{} -> {}", a.unwrap_or("-"), b.unwrap_or("-")),
        };
        vec![difference.field.clone(), value(0), value(1), change, provenance]
    });
    let rows = table(&["FIELD", "A", "B", "CHANGE", "PROVENANCE"], rows, &[3]);
    format!("A: {a}\nB: {b}\n\n{rows}\n{} fields differ\n", found.len())
}

fn merge_files(args: &MergeArgs) -> Answer {
    let (mut profiles, mut faults) = (Vec::new(), Vec::new());
    for named in &args.profiles {
        match read_profile(named) {
            Ok((profile, _)) => profiles.push(profile),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut merged = merge(&profiles, args.force)?;
    if let Some(name) = &args.name {
        merged.profile.name.clone_from(name);
    }
    let found: Vec<Fault> = merged.profile.check().iter().map(of_profile).collect();
    if found.iter().any(|fault| fault.severity == thawline::yaml::Severity::Error) {
        return Err(found);
    }
    console::report(&merged.warnings);
    let names: Vec<String> = profiles.iter().map(Profile::label).collect();
    let value = serde_json::to_value(&merged.profile).unwrap_or_default();
    let head = format!("# Merged from {}.\n", names.join(", "));
    write_text(&args.out, args.force, &(head + &thawline::yaml::write(&value, None)))?;
    let figures: Vec<Row<'_>> = merged.profile.rows();
    let rows = merged.chosen.iter().map(|(field, i)| vec![field.clone(), names[*i].clone()]);
    console::print(&table(&["FIELD", "FROM"], rows, &[]));
    let known = figures.iter().filter(|row| row.origin.is_some()).count();
    let trust = merged.profile.trust();
    console::print(&format!("\nwritten: {} ({known} figures: {trust})\n", args.out.display()));
    Ok(Exit::Success)
}

/// A fault of a profile that is not in a file yet.
fn of_profile(fault: &ProfileFault) -> Fault {
    let message = format!("{}: {}", fault.path, fault.message);
    match fault.severity {
        Severity::Error => Fault::error("E0502", message),
        Severity::Warning => Fault::warning("W0101", message),
    }
    .helped(fault.help.clone())
}
