//! `fit`: turns raw files into a profile, or checks that a profile is what they give.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use thawline::kernel::{Bytes, SimDuration};
use thawline::profile::Profile;
use thawline::profile::schema::Gpu;

use super::files::{read_profile, write_text};
use super::{Answer, Exit, console};
use crate::fit::{Fitted, Options, TOLERANCE, differences, fit};
use crate::raw::{self, Cache};

const EXAMPLES: &str = "Examples:
  thawline-calibrate fit h200.raw.jsonl --out h200.yaml
  thawline-calibrate fit server.raw.jsonl pull.raw.jsonl --name my-model --cache warm --out my-model.yaml
  thawline-calibrate fit profiles/X.raw.jsonl --check profiles/X.yaml";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FitArgs {
    /// Raw files; for each part of the profile the first one that determines it wins.
    #[arg(required = true, value_name = "RAW")]
    raw: Vec<PathBuf>,
    /// Write the profile here. Without it, figures are only shown.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    out: Option<PathBuf>,
    /// Compare with this profile instead: exit code 1 if any number differs by more than 1e-9.
    #[arg(long, value_name = "PROFILE")]
    check: Option<PathBuf>,
    /// Name of the profile. Default: that of the first raw file.
    #[arg(long)]
    name: Option<String>,
    /// Start-up times with cold or warm caches.
    #[arg(long, value_enum, default_value_t = CacheArg::Cold)]
    cache: CacheArg,
    /// The model with its precision, where the raw files do not name it.
    #[arg(long)]
    model: Option<String>,
    /// Model name of the GPU, where the raw files do not name it.
    #[arg(long, requires = "gpu_memory")]
    gpu: Option<String>,
    /// GPUs of one replica.
    #[arg(long, default_value_t = 1, requires = "gpu")]
    gpus: u32,
    /// Memory of each GPU, e.g. 80G.
    #[arg(long, requires = "gpu", value_parser = parse::<Bytes>)]
    gpu_memory: Option<Bytes>,
    /// How long a start takes, if nothing was measured of it; the profile calls it assumed.
    #[arg(long, value_name = "TIME", value_parser = parse::<SimDuration>)]
    assume_start_up: Option<SimDuration>,
    /// Accept fits that miss held-out points by more than 10 % on average.
    #[arg(long)]
    allow_poor_fit: bool,
    /// Replace the file of --out if it is there.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CacheArg {
    /// Nothing is in the page cache, compile cache or image store.
    Cold,
    /// All of it is.
    Warm,
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e: T::Err| e.to_string())
}

impl FitArgs {
    fn options(&self) -> Options {
        let gpu = self.gpu.clone().zip(self.gpu_memory);
        Options {
            name: self.name.clone(),
            cache: if self.cache == CacheArg::Cold { Cache::Cold } else { Cache::Warm },
            allow_poor_fit: self.allow_poor_fit,
            model: self.model.clone(),
            gpu: gpu.map(|(name, memory)| Gpu { name, count: self.gpus, memory }),
            start_up: self.assume_start_up,
        }
    }

    /// The command that makes this profile again, and checks it.
    fn command(&self) -> String {
        let file_name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut words = vec!["thawline-calibrate".to_owned(), "fit".to_owned()];
        words.extend(self.raw.iter().map(file_name));
        let mut option = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
                words.push(flag.to_owned());
                words.push(if plain { value } else { format!("'{}'", value.replace('\'', "'\\''")) });
            }
        };
        option("--name", self.name.clone());
        option("--cache", (self.cache == CacheArg::Warm).then(|| "warm".to_owned()));
        option("--model", self.model.clone());
        option("--gpu", self.gpu.clone());
        option("--gpus", (self.gpus != 1).then(|| self.gpus.to_string()));
        option("--gpu-memory", self.gpu_memory.map(|m| m.to_string()));
        option("--assume-start-up", self.assume_start_up.map(|t| t.to_string()));
        if self.allow_poor_fit {
            words.push("--allow-poor-fit".to_owned());
        }
        words.join(" ")
    }
}

pub(super) fn run(args: &FitArgs) -> Answer {
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for path in &args.raw {
        match raw::read(path) {
            Ok(file) => files.push(file),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let fitted = fit(&files, &args.options())?;
    if let Some(path) = &args.check {
        return check(path, &fitted);
    }
    console::print(&fitted.report.text(&fitted.profile));
    if let Some(out) = &args.out {
        write_text(out, args.force, &text(&fitted.profile, &args.command()))?;
        console::print(&format!("\nwritten: {}\n", out.display()));
    }
    Ok(Exit::Success)
}

/// The profile's file: where it comes from, then the profile.
fn text(profile: &Profile, command: &str) -> String {
    let value = serde_json::to_value(profile).unwrap_or_default();
    let yaml = thawline::yaml::write(&value, None);
    format!("# Made from raw samples; do not edit, fit again:\n#   {command}\n{yaml}")
}

fn check(path: &Path, fitted: &Fitted) -> Answer {
    let name = path.display().to_string();
    let (written, _) = read_profile(&name)?;
    let found = differences(&written, &fitted.profile);
    if found.is_empty() {
        console::print(&format!("{name}: what the raw samples give, within {TOLERANCE:e}\n"));
        return Ok(Exit::Success);
    }
    let lines: String = found.iter().map(|line| format!("  {line}\n")).collect();
    console::print(&format!("{name}: {} fields differ from what the raw samples give\n{lines}", found.len()));
    Ok(Exit::Failed)
}
