//! What a policy sees and what it may say.
//!
//! A policy has no clock, no randomness, no I/O and no access to the cluster. It is
//! handed a [`View`]: what its real controller could have scraped, as late as it would
//! have, and answers a [`Decision`]. That gap between view and truth is the subject of
//! this tool.

use crate::kernel::{ReplicaId, SimDuration, SimTime};

/// A control loop of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// Name, for the decision log.
    pub name: &'static str,
    /// Time from one decision to the next.
    pub period: SimDuration,
    /// Time of the first decision; `None` draws it uniformly within the period.
    pub phase: Option<SimDuration>,
}

/// How many replicas a policy wants, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Replicas in rotation (`spec.replicas` of the workload).
    pub replicas: u32,
    /// Warm replicas out of rotation beside them.
    pub spare: u32,
    /// Why.
    pub why: Reason,
}

/// Why a policy decided as it did; data, so that a report can show and count it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// The rule that settled it, in upstream's words (`ScaleUpLimit`, `DesiredWithinRange`).
    pub rule: &'static str,
    /// The figures that led there, one line.
    pub detail: String,
    /// Conditions of the autoscaler's object and the events it emitted, as `Type=Status/Reason`, one
    /// line; empty where there is no such object.
    pub conditions: String,
}

impl Reason {
    /// A rule and its figures, without conditions.
    pub fn new(rule: &'static str, detail: impl Into<String>) -> Self {
        Self { rule, detail: detail.into(), conditions: String::new() }
    }
}

/// An autoscaling policy.
pub trait Autoscaler: Send {
    /// Its control loops. Called once, before the run.
    fn loops(&self) -> Vec<Loop>;

    /// One turn of the loop with that index. `None` leaves the scale alone.
    fn decide(&mut self, which: usize, view: &View<'_>) -> Option<Decision>;

    /// Where the run starts if the scenario does not say: (replicas, spare).
    fn initial(&self) -> (u32, u32);

    /// The most replicas it can ask for in rotation; `None` if it never asks for more than it has.
    fn maximum(&self) -> Option<u32>;
}

/// What a controller can know at an instant.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The controller's clock.
    pub now: SimTime,
    /// `scale.spec.replicas`: the last order, without spares.
    pub spec_replicas: u32,
    /// `scale.status.replicas`: pods that exist in rotation or on the way there, terminating ones not counted.
    pub status_replicas: u32,
    /// The workload's pods, spares left out, in order of creation, terminating ones included.
    pub pods: &'a [PodView<'a>],
    /// The gateway's metrics as last scraped; `None` before the first scrape is readable.
    pub gateway: Option<&'a GatewaySample>,
}

/// A pod as the Kubernetes API and the metrics pipeline show it.
#[derive(Clone, Debug)]
pub struct PodView<'a> {
    /// Which replica it is.
    pub id: ReplicaId,
    /// `status.phase` is `Running`; otherwise `Pending`.
    pub running: bool,
    /// `status.startTime`: when the kubelet took it up.
    pub started: Option<SimTime>,
    /// The `Ready` condition.
    pub ready: bool,
    /// `lastTransitionTime` of the `Ready` condition.
    pub ready_changed: SimTime,
    /// It has a deletion timestamp.
    pub deleting: bool,
    /// CPU request, milli-cores; `None` if the scenario gives none.
    pub cpu_request_milli: Option<i64>,
    /// The last sample that is readable by now.
    pub sample: Option<&'a PodSample>,
}

/// One scrape of one pod's exporter.
#[derive(Clone, Debug, PartialEq)]
pub struct PodSample {
    /// When it was scraped.
    pub at: SimTime,
    /// Time since the scrape before: the window of rates and CPU usage.
    pub window: SimDuration,
    /// Values of each [`Series`]; counters as they stand.
    pub values: [f64; Series::COUNT],
    /// Increase per second of each counter over `window`; gauges repeat their value.
    pub rates: [f64; Series::COUNT],
    /// CPU usage over `window`, milli-cores; `None` where the profile has no CPU model.
    pub cpu_milli: Option<i64>,
    /// Whether the engine answered; while it loads, only the container's CPU is known.
    pub engine_up: bool,
}

impl PodSample {
    /// What an adapter rule for the series would return: a gauge's value, a counter's rate per second;
    /// nothing while the engine does not answer.
    pub fn metric(&self, series: Series) -> Option<f64> {
        self.engine_up.then(|| self.rates[series as usize])
    }
}

/// One scrape of the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewaySample {
    /// When it was scraped.
    pub at: SimTime,
    /// Requests held because nothing was ready.
    pub queue_length: f64,
    /// Requests forwarded and not yet ended, and those held.
    pub in_flight: f64,
    /// Arrivals per second since the scrape before.
    pub requests_per_second: f64,
}

macro_rules! series {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $counter:literal;)*) => {
        /// A series that a replica exports, under the name its real engine gives it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Series { $($(#[$doc])* $variant,)* }

        impl Series {
            /// All of them, in the order of their values in a [`PodSample`].
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The Prometheus name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether it only ever counts up.
            pub const fn is_counter(self) -> bool {
                match self { $(Self::$variant => $counter,)* }
            }

            /// The series of that Prometheus name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|s| s.name() == name)
            }
        }
    };
}

series! {
    /// Sequences in the running batch.
    RequestsRunning = "vllm:num_requests_running", false;
    /// Requests waiting in the engine.
    RequestsWaiting = "vllm:num_requests_waiting", false;
    /// Share of KV blocks in use, 0 to 1.
    KvCacheUsage = "vllm:kv_cache_usage_perc", false;
    /// Prefilled prompt tokens.
    PromptTokens = "vllm:prompt_tokens_total", true;
    /// Generated tokens.
    GenerationTokens = "vllm:generation_tokens_total", true;
    /// Finished requests.
    RequestSuccess = "vllm:request_success_total", true;
    /// Preemptions.
    Preemptions = "vllm:num_preemptions_total", true;
    /// Share of the window in which a step was running, percent.
    GpuUtilization = "DCGM_FI_DEV_GPU_UTIL", false;
}

/// A series that the gateway exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GatewaySeries {
    /// Requests held because nothing was ready.
    QueueLength,
    /// Requests in the system.
    InFlight,
    /// Arrivals per second.
    RequestsPerSecond,
}

impl GatewaySeries {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::QueueLength, Self::InFlight, Self::RequestsPerSecond];

    /// The name an autoscaler refers to it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueLength => "gateway_queue_length",
            Self::InFlight => "gateway_requests_in_flight",
            Self::RequestsPerSecond => "gateway_requests_per_second",
        }
    }

    /// The series of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Its value in a sample.
    pub fn value(self, sample: &GatewaySample) -> f64 {
        match self {
            Self::QueueLength => sample.queue_length,
            Self::InFlight => sample.in_flight,
            Self::RequestsPerSecond => sample.requests_per_second,
        }
    }
}
