//! The `workload` section of a scenario.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::SimDuration;

use super::arrivals::{
    ConstantRateSpec, DiurnalSpec, OnOffSpec, PiecewiseSpec, PoissonSpec, RenewalSpec, SpikeSpec,
};
use super::azure::AzureSpec;
use super::csv::CsvSpec;
use super::jsonl::JsonlSpec;
use super::lengths::LengthsSpec;
use super::mooncake::MooncakeSpec;
use super::prometheus::PrometheusSpec;

/// Where the requests come from: exactly one source, and what is done to it.
///
/// Transforms apply in this order, whatever order they are written in: `window`, `rateScale`, `repeat`, `resample`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadSpec {
    /// Source: an Azure LLM inference trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureSpec>,
    /// Source: a Mooncake trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mooncake: Option<MooncakeSpec>,
    /// Source: a CSV file of any columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvSpec>,
    /// Source: a file of one JSON object a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jsonl: Option<JsonlSpec>,
    /// Source: request rates and token counts out of Prometheus, turned into a likely traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSpec>,
    /// Source: requests at fixed intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant: Option<ConstantRateSpec>,
    /// Source: a Poisson process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poisson: Option<PoissonSpec>,
    /// Source: a renewal process with Gamma-distributed gaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gamma: Option<RenewalSpec>,
    /// Source: a renewal process with Weibull-distributed gaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weibull: Option<RenewalSpec>,
    /// Source: bursts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_off: Option<OnOffSpec>,
    /// Source: a rate given piece by piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub piecewise: Option<PiecewiseSpec>,
    /// Source: a daily cycle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diurnal: Option<DiurnalSpec>,
    /// Source: a step up and down again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spike: Option<SpikeSpec>,
    /// Source: workloads one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concatenate: Option<Vec<WorkloadSpec>>,
    /// Lengths of synthetic requests; needed with a synthetic source, and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<LengthsSpec>,
    /// How long a synthetic source lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<SimDuration>,
    /// Requests of a synthetic source; with `duration` too, whichever ends first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Only this part of it, counted from its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowSpec>,
    /// More or less of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_scale: Option<RateScaleSpec>,
    /// It so many times in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
    /// Each replication from random blocks of a trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resample: Option<ResampleSpec>,
}

/// A part of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WindowSpec {
    /// Its beginning.
    #[serde(default)]
    pub from: SimDuration,
    /// Its end. Default: the end of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<SimDuration>,
}

/// More or less traffic out of the same workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RateScaleSpec {
    /// Keeps each request with this probability, below 1.
    Thin(f64),
    /// Lays this many copies over each other, rotated against each other by seeded offsets. It lowers burstiness: the
    /// CV before and after is reported.
    Superpose(u32),
    /// Divides all times by this: keeps the shape and shortens the span.
    Compress(f64),
}

/// Each replication from random blocks of a trace (block bootstrap), so that intervals cover the traffic too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResampleSpec {
    /// Length of a block: longer than the bursts of the trace.
    pub block: SimDuration,
}

impl WorkloadSpec {
    /// An Azure trace as it is.
    pub fn azure(file: impl Into<String>) -> Self {
        Self { azure: Some(AzureSpec { file: file.into() }), ..Self::default() }
    }

    /// A Mooncake trace as it is.
    pub fn mooncake(file: impl Into<String>) -> Self {
        Self { mooncake: Some(MooncakeSpec { file: file.into() }), ..Self::default() }
    }
}
