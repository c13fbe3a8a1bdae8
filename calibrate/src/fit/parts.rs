//! What one raw file contributes to a profile, each figure with its origin.

use thawline::kernel::SimDuration;
use thawline::profile::image::ImageSpec;
use thawline::profile::memory::MemorySpec;
use thawline::profile::schema::{
    DecodeSpec, FitErrors, HostOverhead, LinearCurve, PrefillSpec, StartUpStage, Validation,
};
use thawline::profile::{Date, Provenance, Sourced};

use crate::raw::{Flag, Header, MixedSample};

/// Where and when figures were measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    source: String,
    /// The day of the measurement, UTC.
    pub date: Date,
}

impl Origin {
    /// Of a raw file.
    pub fn of(header: &Header) -> Self {
        let day = header.created.to_zoned(jiff::tz::TimeZone::UTC).date();
        Self { source: header.source.clone(), date: day.into() }
    }

    /// The same with more detail on where a figure was read.
    pub fn with(&self, detail: &str) -> Self {
        let source =
            if detail.is_empty() { self.source.clone() } else { format!("{}: {detail}", self.source) };
        Self { source, date: self.date }
    }

    /// A measured value.
    pub fn measured<T>(&self, value: T, note: Option<String>) -> Sourced<T> {
        self.sourced(value, Provenance::Measured, note)
    }

    /// A value computed from measured ones; the note says how.
    pub fn derived<T>(&self, value: T, note: String) -> Sourced<T> {
        self.sourced(value, Provenance::Derived, Some(note))
    }

    fn sourced<T>(&self, value: T, provenance: Provenance, note: Option<String>) -> Sourced<T> {
        Sourced { value, provenance, source: Some(self.source.clone()), date: Some(self.date), note }
    }

    #[cfg(test)]
    pub fn of_test() -> Self {
        Self { source: "a test".to_owned(), date: "2026-11-22".parse().unwrap() }
    }
}

/// A value that nobody measured; the note says why it is plausible.
pub fn assumed<T>(value: T, note: &str) -> Sourced<T> {
    Sourced { value, provenance: Provenance::Assumed, source: None, date: None, note: Some(note.to_owned()) }
}

/// How good a fit is.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// `decode step`, `prefill step`.
    pub what: &'static str,
    /// Cross-validated errors; none with too few points to hold any out.
    pub errors: Option<FitErrors>,
    /// Points fitted.
    pub points: usize,
    /// What was left out and why; empty if nothing.
    pub dropped: String,
    /// Mean signed relative error by region, with the points there.
    pub bias: Vec<(&'static str, f64, usize)>,
}

impl Quality {
    /// With the bias of each region that has points; `region_of` gives a point's region.
    pub fn new<P>(
        what: &'static str,
        errors: Option<FitErrors>,
        points: &[P],
        held_out: &[f64],
        regions: &[&'static str],
        region_of: impl Fn(&P) -> usize,
    ) -> Self {
        let bias_of = |index: usize| {
            let errors: Vec<f64> =
                points.iter().zip(held_out).filter(|(p, _)| region_of(p) == index).map(|(_, e)| *e).collect();
            let mean = errors.iter().sum::<f64>() / errors.len() as f64;
            (!errors.is_empty()).then_some((regions[index], mean, errors.len()))
        };
        let bias = (0..regions.len()).filter_map(bias_of).collect();
        Self { what, errors, points: points.len(), dropped: String::new(), bias }
    }
}

/// What one raw file contributes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// Decode time, with the largest batch size and KV tokens behind it.
    pub decode: Option<(DecodeSpec, u32, u64)>,
    /// Prefill time, with the most new tokens behind it.
    pub prefill: Option<(PrefillSpec, u64)>,
    /// The linear layers.
    pub linear_layers: Option<Sourced<LinearCurve>>,
    /// Time of the host.
    pub host: Option<HostOverhead>,
    /// Penalty of the first requests.
    pub first_requests: Option<Sourced<Vec<SimDuration>>>,
    /// Start-up stages.
    pub start_up: Vec<StartUpStage>,
    /// Memory.
    pub memory: Option<MemorySpec>,
    /// The container image and how fast it is pulled.
    pub image: Option<ImageSpec>,
    /// Comparisons of a fitted model with what it was fitted to.
    pub validation: Vec<Validation>,
    /// Mixed steps, to compare the whole with.
    pub mixed: Vec<MixedSample>,
    /// How good the fits are.
    pub quality: Vec<Quality>,
    /// What must not be overlooked.
    pub flags: Vec<Flag>,
    /// What could not be determined, and other remarks.
    pub notes: Vec<String>,
}

impl Part {
    /// Adds a flag.
    pub fn flag(&mut self, flag: &str, message: impl Into<String>) {
        self.flags.push(Flag { flag: flag.to_owned(), message: message.into() });
    }

    /// Adds a remark.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// Seconds as a duration, to the µs; none if negative, not finite or too long.
pub fn secs(seconds: f64) -> Option<SimDuration> {
    SimDuration::from_secs_f64((seconds * 1e6).round() / 1e6).filter(|_| seconds >= 0.0)
}
