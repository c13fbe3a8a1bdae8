//! `fit`: from raw samples to a profile. It alone draws conclusions, from nothing but the bytes
//! of the raw files: the same bytes give the same profile.

mod compare;
mod cross;
mod decode;
mod gpu;
mod grid;
mod memory;
mod nnls;
mod parts;
mod points;
mod prefill;
pub mod pull;
mod report;
mod server;
mod stages;
mod streams;
mod whole;

pub use compare::{TOLERANCE, differences};
pub use parts::Quality;
pub use report::FitReport;

use thawline::kernel::SimDuration;
use thawline::profile::Profile;
use thawline::profile::schema::Gpu;

use crate::raw::{Cache, RawFile, Record};
use crate::{Result, fault};
use parts::{Origin, Part};

/// Mean held-out error above which a fit is refused.
pub const MAPE_MAX: f64 = 0.10;

/// What a fit may be told beyond its raw files.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Name of the profile, instead of the raw file's.
    pub name: Option<String>,
    /// State of the caches whose start-up times are taken; the other's where there are no such.
    pub cache: Cache,
    /// Write a profile whose fits miss by more than 10 %.
    pub allow_poor_fit: bool,
    /// The model, where no raw file names it.
    pub model: Option<String>,
    /// The GPUs of a replica, where no raw file names them.
    pub gpu: Option<Gpu>,
    /// How long a start takes, assumed where nothing was measured of it.
    pub start_up: Option<SimDuration>,
}

impl Default for Options {
    fn default() -> Self {
        Self { name: None, cache: Cache::Cold, allow_poor_fit: false, model: None, gpu: None, start_up: None }
    }
}

/// A profile and what is to be said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The profile; its own check finds no error in it.
    pub profile: Profile,
    /// How good it is and what it lacks.
    pub report: FitReport,
}

/// Fits raw files into one profile. For each part of it the first file that determines it wins.
///
/// # Errors
/// E0707 if something needed cannot be determined, with the command that measures it; E0708 if a
/// fit misses held-out points by more than 10 % on average and that is not allowed.
pub fn fit(files: &[RawFile], options: &Options) -> Result<Fitted> {
    if files.is_empty() {
        return Err(fault("E0707", "there is no raw file to fit"));
    }
    let parts: Vec<Part> = files.iter().map(|file| part(file, options)).collect();
    whole::compose(files, parts, options)
}

/// What one file contributes.
fn part(file: &RawFile, options: &Options) -> Part {
    let origin = Origin::of(&file.header);
    let records = &file.records;
    let mut part = Part::default();
    // Resumed runs and attempts write the same flag again.
    for flag in records.iter().filter_map(|r| if let Record::Flag(flag) = r { Some(flag) } else { None }) {
        if !part.flags.contains(flag) {
            part.flags.push(flag.clone());
        }
    }
    if file.torn_bytes > 0 {
        part.flag(
            "torn",
            format!("raw file of {}: its last line was cut off and is left out", file.header.name),
        );
    }
    if !file.is_complete() {
        part.flag(
            "incomplete",
            format!("raw file of {}: the measurement did not run to its end", file.header.name),
        );
    }
    let throttled = records.iter().rev().find_map(|r| match r {
        Record::Device(reading) if !reading.throttle.is_empty() => Some(reading),
        _ => None,
    });
    if let Some(reading) = throttled {
        part.flag("throttled", format!("{}: {}", reading.when, reading.throttle.join(", ")));
    }
    macro_rules! pick {
        ($kind:ident) => {
            records
                .iter()
                .filter_map(|r| if let Record::$kind(s) = r { Some(s) } else { None })
                .collect::<Vec<_>>()
        };
    }
    gpu::decode(&pick!(Decode), &origin, &mut part);
    gpu::prefill(&pick!(Prefill), &origin, &mut part);
    gpu::linear(&pick!(Linear), &pick!(PrefillAttention), &origin, &mut part);
    if part.decode.is_none() {
        server::fit(&file.header, records, &origin, &mut part);
    }
    let samples = pick!(Memory);
    memory::memory(&file.header, &samples, &origin, &mut part);
    // The GPUs of a replica load their shares at the same time.
    let gpus = file.header.gpu.as_ref().map_or(1, |gpu| u64::from(gpu.count.max(1)));
    let share = samples.iter().find_map(|s| s.weights_bytes).map(|bytes| bytes.div_ceil(gpus));
    gpu::start_up(records, share, options.cache, &origin, &mut part);
    let stages = stages::stages(&pick!(Stage), options.cache, &origin, &mut part.notes);
    part.start_up.extend(stages);
    pull::contribute(records, &origin, &mut part);
    part.mixed = pick!(Mixed).into_iter().cloned().collect();
    part
}
