//! The plain data that the HPA arithmetic works on, in upstream's number types:
//! `i64` milli-values, `i32` replica counts, `f64` ratios, times in ns.
//!
//! Nothing here knows the simulator; the adaptor translates a view into these, and the
//! conformance vectors are read into the same structs.

use std::collections::BTreeMap;

/// An instant or a length of time, ns. Signed, because "long ago" lies before a run's start.
pub type Nanos = i64;

/// A metric value in thousandths of its unit (a byte is 1000).
pub type Milli = i64;

/// Milli-values by resource name (`cpu`, `memory`).
pub type Resources = BTreeMap<String, Milli>;

/// Milli-values by pod name: what the ratio functions take.
pub type PodValues = BTreeMap<String, Milli>;

/// Samples by pod name.
pub type Samples = BTreeMap<String, Sample>;

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    /// Not all containers run yet.
    Pending,
    /// Its containers run.
    Running,
    /// They ended, all with success.
    Succeeded,
    /// They ended, some with failure.
    Failed,
}

/// Status of a pod's `Ready` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyStatus {
    /// Ready.
    True,
    /// Not ready.
    False,
    /// The node does not report.
    Unknown,
}

/// A pod's `Ready` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyCondition {
    /// Its status.
    pub status: ReadyStatus,
    /// `lastTransitionTime`.
    pub changed: Nanos,
}

/// A container and what it requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// `resources.requests`.
    pub requests: Resources,
}

/// An init container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitContainer {
    /// Its name and requests.
    pub container: Container,
    /// `restartPolicy: Always`: it keeps running beside the others (a sidecar).
    pub restart_always: bool,
}

/// A pod as the API server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `status.phase`.
    pub phase: PodPhase,
    /// The `Ready` condition, if there is one.
    pub ready: Option<ReadyCondition>,
    /// `status.startTime`.
    pub started: Option<Nanos>,
    /// It has a deletion timestamp.
    pub deleting: bool,
    /// `spec.containers`.
    pub containers: Vec<Container>,
    /// `spec.initContainers`.
    pub init_containers: Vec<InitContainer>,
    /// `spec.resources.requests`: requests of the pod as a whole.
    pub pod_requests: Option<Resources>,
}

impl Pod {
    /// Running and ready: what value targets multiply their ratio by.
    pub fn is_running_and_ready(&self) -> bool {
        self.phase == PodPhase::Running && self.ready.is_some_and(|r| r.status == ReadyStatus::True)
    }
}

/// One metric of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The value.
    pub value: Milli,
    /// When it was taken (the end of its window).
    pub at: Nanos,
    /// The window it covers.
    pub window: Nanos,
}

/// What the resource metrics API returns for one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceSample {
    /// The pod.
    pub pod: String,
    /// When it was taken.
    pub at: Nanos,
    /// The window it covers.
    pub window: Nanos,
    /// Usage of each container: (name, usage).
    pub containers: Vec<(String, Resources)>,
}

/// Changes of the ratio that leave the scale alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// Below 1, a fraction.
    pub down: f64,
    /// Above 1, a fraction.
    pub up: f64,
}

impl Tolerances {
    /// Whether a ratio is close enough to 1 to do nothing; both ends belong to it.
    pub fn is_within(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}

/// How long a young pod's CPU samples are distrusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`.
    pub cpu_initialization_period: Nanos,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`.
    pub initial_readiness_delay: Nanos,
}

/// `int32(..)` of a double as Go compiles it on amd64: beyond 32 bits, and of NaN, the smallest
/// number. (On arm64 it saturates, which upstream means to do everywhere: PR 141397, after 1.37.)
pub fn int32(value: f64) -> i32 {
    let whole = value.trunc();
    if whole >= f64::from(i32::MIN) && whole <= f64::from(i32::MAX) { whole as i32 } else { i32::MIN }
}

/// Why a metric yields no proposal; the text is upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MetricError(pub String);

impl MetricError {
    /// From its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
