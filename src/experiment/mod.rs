//! Floor 4: many runs, and what they amount to: statistics, metrics, gates, the matrix of
//! policies and replications.
//!
//! It knows no file and lays nothing out: `report` does that, from an [`ExperimentOutcome`].

pub mod compare;
pub mod fail_on;
#[cfg(test)]
mod fixture;
pub mod foresight;
pub mod gate;
pub mod matrix;
pub mod metric;
pub mod sizing;
pub mod statistics;
pub mod welch;
pub mod whatif;

pub use compare::{Finding, Sides, Standing};
pub use fail_on::{FailOn, FailOnError, Margin, Rule};
pub use foresight::Foresight;
pub use gate::{Comparison, Gate, GateError, GateStatus};
pub use matrix::{Matrix, MatrixError};
pub use metric::{METRICS, Metric};
pub use statistics::{Coverage, Estimate};

use crate::kernel::SimDuration;
use crate::outcome::RunOutcome;
use crate::outcome::breach::Slo;

/// All runs of a scenario, with what a report needs to know about where they came from.
#[derive(Clone, Debug)]
pub struct ExperimentOutcome {
    /// What was run.
    pub header: Header,
    /// What must hold, in the order of the scenario.
    pub gates: Vec<Gate>,
    /// Whether a gate whose interval straddles its limit counts as held.
    pub lenient: bool,
    /// The runs of each policy, in the order of the scenario.
    pub policies: Vec<PolicyOutcome>,
    /// What knowing the future would bring, where that was asked for.
    pub foresight: Option<Foresight>,
    /// The scenario as it was run, every default written out.
    pub resolved: serde_json::Value,
}

/// The runs of one policy.
#[derive(Clone, Debug)]
pub struct PolicyOutcome {
    /// Its name in the scenario.
    pub name: String,
    /// One for each replication, in their order.
    pub runs: Vec<RunOutcome>,
}

/// Facts about the scenario that no run can tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Name of the scenario.
    pub scenario: String,
    /// The profile: name, digest, where it comes from (`h200-llama31-8b@3f9c1e (measured 2026-11-20)`).
    pub profile: String,
    /// The model and what it runs on (`llama-3.1-8b on 1×H200`).
    pub model: String,
    /// The workload in words, transforms included.
    pub workload: String,
    /// The scenario's seed.
    pub seed: u64,
    /// Replications of each policy.
    pub replications: u32,
    /// Span of the trace.
    pub span: SimDuration,
    /// Requests of the trace (of its first replication, where they differ).
    pub requests: u64,
    /// What an interval over replications covers.
    pub coverage: Coverage,
    /// Capacity of a replica within the SLO, requests/s; `None` without an SLO.
    pub capacity: Option<f64>,
    /// The limits of a request; all absent means there is no SLO.
    pub slo: Slo,
    /// What the reader must know before believing a figure.
    pub warnings: Vec<Warning>,
    /// The figures of the profile, with where each comes from.
    pub profile_figures: Vec<Figure>,
    /// The price of each pool's GPUs, with where it comes from.
    pub prices: Vec<Figure>,
    /// The command that runs it again, with the bare name of the scenario's file.
    pub command: String,
}

/// A figure that results rest on.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// It, as people write it.
    pub value: String,
    /// `measured`, `published`, `derived`, `assumed`, `given`; empty for what needs none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provenance: String,
    /// When, as 2026-11-22; empty if nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub date: String,
    /// Where; empty if nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// Something the reader must know.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Warning {
    /// Its documented code, such as `W0107`.
    pub code: String,
    /// What is the matter.
    pub message: String,
    /// Where, as `FILE:LINE` with the file relative to the scenario; absent if no text is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// The limits an SLO sets, by the name of the latency they limit.
pub fn slo_limits(slo: &Slo) -> Vec<(&'static str, SimDuration)> {
    [
        ("ttft", slo.ttft),
        ("tpot", slo.tpot),
        ("itl", slo.itl),
        ("e2e", slo.e2e),
        ("queueWait", slo.queue_wait),
    ]
    .into_iter()
    .filter_map(|(name, limit)| limit.map(|l| (name, l)))
    .collect()
}
