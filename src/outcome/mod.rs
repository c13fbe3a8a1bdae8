//! Floor 2: what happened in a run, as plain data.
//!
//! Everything a report says is computed from a [`RunOutcome`]; nothing here knows how a
//! run came about.

pub mod breach;
pub mod latency;
pub mod ledger;
pub mod recorder;
pub mod sketch;
pub mod timeline;

pub use breach::{BreachOutcome, Breaches, Cause};
pub use latency::{Latencies, Latency};
pub use ledger::{Account, Ledger, PoolBill};
pub use timeline::{DecisionRecord, PhaseSpan, StartRecord, StartResult, Timeline, Unscheduled};

use crate::kernel::SimDuration;

/// The phases of a replica's life. The first six are start-up phases, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[repr(usize)]
pub enum Phase {
    /// Created; no node has room yet and none is on its way for it.
    Pending,
    /// Waiting for a node that is being provisioned.
    Provisioning,
    /// Image pull.
    Pulling,
    /// Container and runtime start.
    Starting,
    /// Weights on their way into GPU memory.
    Loading,
    /// Compile, autotune, graph capture, first pass.
    WarmingUp,
    /// Waiting for the readiness probe and the endpoint update.
    Probing,
    /// In rotation.
    Serving,
    /// Warm and out of rotation, awake or asleep.
    Held,
    /// Deleted, finishing what it has.
    Draining,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Provisioning,
        Self::Pulling,
        Self::Starting,
        Self::Loading,
        Self::WarmingUp,
        Self::Probing,
        Self::Serving,
        Self::Held,
        Self::Draining,
    ];

    /// Whether a replica in this phase was never ready yet.
    pub const fn is_start_up(self) -> bool {
        (self as usize) < Self::Serving as usize
    }

    /// The words reports use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Provisioning => "node provisioning",
            Self::Pulling => "image pull",
            Self::Starting => "container start",
            Self::Loading => "weights loading",
            Self::WarmingUp => "warming up",
            Self::Probing => "readiness probe",
            Self::Serving => "serving",
            Self::Held => "held",
            Self::Draining => "draining",
        }
    }
}

/// How every request ended. `arrived` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Requests that reached the gateway.
    pub arrived: u64,
    /// Answered in full.
    pub finished: u64,
    /// Refused: the gateway's or the replica's queue was full, the replica was stopping or gone, or no replica could
    /// ever hold the request.
    pub rejected: u64,
    /// Given up at the gateway's timeout.
    pub timed_out: u64,
    /// Cut by a drain that outran its grace period, or by a fault.
    pub killed: u64,
    /// Prompt tokens of finished requests.
    pub prompt_tokens: u64,
    /// Output tokens of finished requests.
    pub output_tokens: u64,
    /// Preemptions by recompute.
    pub preemptions: u64,
    /// Rejected because prompt and output exceed the context or KV capacity; part of `rejected`.
    pub too_long: u64,
}

/// Engine steps, and how many of them lay beyond what the profile measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Steps {
    /// All steps.
    pub total: u64,
    /// Steps costed by extrapolation.
    pub extrapolated: u64,
}

/// Everything one run (one policy, one replication) produced.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// The last arrival or the end of the workload's window: where money stops.
    pub trace_end: SimDuration,
    /// When the last request ended.
    pub run_end: SimDuration,
    /// How requests ended.
    pub counts: Counts,
    /// Latency distributions.
    pub latency: Latencies,
    /// SLO breaches; `None` without an SLO.
    pub breaches: Option<Breaches>,
    /// Where every billed GPU-nanosecond went.
    pub ledger: Ledger,
    /// Replicas, queue and traffic over time.
    pub timeline: Timeline,
    /// Each start of a replica.
    pub starts: Vec<StartRecord>,
    /// Each decision that changed something, and each whose rule or conditions differ from those before.
    pub decisions: Vec<DecisionRecord>,
    /// What policies that are only watched would have decided, recorded alike: replicas that were ordered, and those they would
    /// have ordered.
    pub would_be: Vec<DecisionRecord>,
    /// Engine steps.
    pub steps: Steps,
    /// SHA-256 over the run's facts in their order, hexadecimal.
    pub facts_digest: String,
}
