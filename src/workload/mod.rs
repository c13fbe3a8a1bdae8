//! Floor 2: requests, and where they come from.
//!
//! [`load`] turns the `workload` section of a scenario into a [`Source`]: a file is read and
//! checked once, then shared by all runs. A new trace format is one file with `impl
//! TraceFormat`, a new arrival process one struct with `impl ArrivalSpec`; each has one field in
//! [`WorkloadSpec`] and one arm in the registry below. Nothing here prints, and nothing knows
//! what is done with the requests.

mod arrivals;
mod azure;
mod clock;
mod csv;
mod fault;
mod file;
mod input;
mod jsonl;
mod lengths;
mod load;
mod mooncake;
mod prometheus;
mod rate;
pub mod request;
mod reshape;
mod rows;
mod series;
mod spec;
mod stats;
mod synthetic;
mod token_series;
mod transform;

use std::sync::Arc;

pub use arrivals::{
    ConstantRateSpec, DiurnalSpec, OnOffSpec, PiecewiseSpec, PoissonSpec, RateStepSpec, RenewalSpec, Spacing,
    SpikeSpec,
};
pub use azure::AzureSpec;
pub use clock::TimeUnit;
pub use csv::{ColumnsSpec, CsvSpec, TimeSpec};
pub use fault::{Excerpt, Fault, FaultKind};
pub use file::guess;
pub use jsonl::JsonlSpec;
pub use lengths::{
    ConstantLengthsSpec, LengthSampler, LengthsSpec, LognormalLengthsSpec, LognormalTokensSpec,
};
pub use load::{LoadedWorkload, RequestCount, load};
pub use mooncake::MooncakeSpec;
pub use prometheus::{PrometheusSpec, TokenSeriesSpec};
pub use request::{Packed, Request, Source};
pub use series::{Rates, SeriesFile, SeriesFormat, rates, read_series};
pub use spec::{RateScaleSpec, ResampleSpec, WindowSpec, WorkloadSpec};
pub use stats::{TokenStats, TraceStats, stats};

use arrivals::{ArrivalSpec, Gamma, Weibull};
use rows::TraceFormat;

/// A source a workload names.
enum Kind<'a> {
    /// A trace file.
    Trace(Arc<dyn TraceFormat>),
    /// Answers of Prometheus.
    Prometheus(&'a PrometheusSpec),
    /// A synthetic process.
    Synthetic(Box<dyn ArrivalSpec + 'a>),
    /// Workloads one after another.
    Concatenate(&'a [WorkloadSpec]),
}

/// The registry: every source that `spec` names, by its key.
fn sources(spec: &WorkloadSpec) -> Vec<(&'static str, Kind<'_>)> {
    fn trace<F: TraceFormat + Clone + 'static>(format: Option<&F>) -> Option<Kind<'_>> {
        format.map(|f| Kind::Trace(Arc::new(f.clone())))
    }
    fn synthetic<'a, S: ArrivalSpec + 'a>(process: Option<S>) -> Option<Kind<'a>> {
        process.map(|p| Kind::Synthetic(Box::new(p)))
    }
    let registry = [
        ("azure", trace(spec.azure.as_ref())),
        ("mooncake", trace(spec.mooncake.as_ref())),
        ("csv", trace(spec.csv.as_ref())),
        ("jsonl", trace(spec.jsonl.as_ref())),
        ("prometheus", spec.prometheus.as_ref().map(Kind::Prometheus)),
        ("constant", synthetic(spec.constant.clone())),
        ("poisson", synthetic(spec.poisson.clone())),
        ("gamma", synthetic(spec.gamma.as_ref().map(Gamma))),
        ("weibull", synthetic(spec.weibull.as_ref().map(Weibull))),
        ("onOff", synthetic(spec.on_off.clone())),
        ("piecewise", synthetic(spec.piecewise.clone())),
        ("diurnal", synthetic(spec.diurnal.clone())),
        ("spike", synthetic(spec.spike.clone())),
        ("concatenate", spec.concatenate.as_deref().map(Kind::Concatenate)),
    ];
    registry.into_iter().filter_map(|(name, kind)| kind.map(|kind| (name, kind))).collect()
}

/// The keys of all sources, for help texts.
const SOURCE_KEYS: &str = "azure, mooncake, csv, jsonl, prometheus, constant, poisson, gamma, weibull, onOff, \
                           piecewise, diurnal, spike, concatenate";
