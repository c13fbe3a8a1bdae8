//! What a policy sees and what it may say.
//!
//! A policy has no clock, no randomness, no I/O and no access to the cluster. It is
//! handed a [`View`]: what its real controller could have read by then, and answers a
//! [`Decision`]. That gap between view and truth is the subject of this tool.

use super::meter::Meter;
use crate::kernel::{Distribution, ReplicaId, SimDuration, SimTime};
use crate::promql::{Answer, Query, QueryError, Store};

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
    /// The way requests take from now on.
    pub path: Path,
    /// Why.
    pub why: Reason,
}

/// The way of requests from the gateway to the pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// To a pod in rotation.
    #[default]
    Direct,
    /// By way of the policy's own proxy (Knative's activator), which holds what finds no pod with room.
    Proxied,
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

/// A decision that nobody follows: what a policy that is only watched would have said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WouldBe {
    /// Name of the loop that came to it.
    pub of: &'static str,
    /// Replicas that were ordered at that time.
    pub from: u32,
    /// Replicas it would have ordered.
    pub replicas: u32,
    /// Spares it would have ordered.
    pub spare: u32,
    /// Why.
    pub why: Reason,
}

/// What a policy's own components put between the gateway and the pods. The default puts nothing there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataPath {
    /// What a pod lets through at a time, and how many wait in front of it.
    pub pod_limit: Option<PodLimit>,
    /// Most requests held while no pod has room; the next is refused. `None` leaves the gateway's limit.
    pub hold_limit: Option<u32>,
    /// Longest time a request is held before it is given up. `None` is as long as the request may take.
    pub hold_timeout: Option<SimDuration>,
    /// Longest time from a request's way to a pod until its first token, with which the answer's headers come.
    /// `None` sets no limit.
    pub header_timeout: Option<SimDuration>,
    /// Longest time of a request, where the gateway's is not shorter.
    pub request_timeout: Option<SimDuration>,
    /// How the proxy picks a pod, on [`Path::Proxied`].
    pub balancing: Balancing,
    /// Whether requests begin on [`Path::Proxied`].
    pub begins_proxied: bool,
    /// Time between two probes by which the proxy finds a pod that has just become ready, in place of the
    /// readiness probe's period and the propagation of endpoints.
    pub probe_period: Option<SimDuration>,
    /// Requests are counted at each pod and at the proxy: [`PodView::meter`], [`GatewayView::meter`].
    pub is_metered: bool,
}

/// What a pod lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodLimit {
    /// Requests at a time.
    pub concurrency: u32,
    /// Requests that wait in front of the pod; the next is refused.
    pub queue: u32,
}

/// How a proxy picks among the pods with room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balancing {
    /// The less loaded of two drawn at random.
    #[default]
    RandomChoiceOfTwo,
    /// The first that has room.
    FirstAvailable,
    /// In turn, passing over those without room.
    RoundRobin,
}

/// How long spares take that sleep while nobody needs them.
#[derive(Clone, Debug, PartialEq)]
pub struct SleepTimes {
    /// From the end of the last request of a replica that leaves rotation, or from when a new spare is ready.
    pub fall_asleep: Distribution,
    /// From the claim of one that sleeps until it serves.
    pub wake: Distribution,
}

/// An autoscaling policy.
pub trait Autoscaler: Send {
    /// Its control loops. Called once, before the run.
    fn loops(&self) -> Vec<Loop>;

    /// One turn of the loop with that index. `None` leaves the scale alone.
    fn decide(&mut self, which: usize, view: &View<'_>) -> Option<Decision>;

    /// Where the run starts if the scenario does not say: (replicas, spare).
    fn initial(&self) -> (u32, u32);

    /// The most replicas it can ask for in rotation, `u32::MAX` if there is no limit; `None` if it never asks for more
    /// than it has.
    fn maximum(&self) -> Option<u32>;

    /// The queries it will ask of Prometheus, so that what they read is scraped. Called once, before the run.
    fn queries(&self) -> Vec<&Query> {
        Vec::new()
    }

    /// Whether it reads [`PodView::usage`].
    fn reads_usage(&self) -> bool {
        false
    }

    /// The name of the workload it scales, where it says so; pods are named after it.
    fn workload(&self) -> Option<&str> {
        None
    }

    /// What it puts between the gateway and the pods. Called once, before the run.
    fn data_path(&self) -> DataPath {
        DataPath::default()
    }

    /// How its spares sleep; `None` where they wait awake. Called once, before the run.
    fn sleep(&self) -> Option<SleepTimes> {
        None
    }

    /// When it wants a turn besides those of its loops; asked after each call of a method that may change it.
    fn timer(&self) -> Option<SimTime> {
        None
    }

    /// The turn its timer asked for, and what it is called in the decision log.
    fn timed(&mut self, _view: &View<'_>) -> Option<(&'static str, Decision)> {
        None
    }

    /// A request is held at the gateway because no pod is ready for it. It may set the timer.
    fn request_held(&mut self, _now: SimTime) {}

    /// A request comes by way of the policy's metered proxy, and none was in flight there. It may set the timer.
    fn proxy_entered(&mut self, _now: SimTime) {}

    /// A pod came into rotation or left it. It may set the timer.
    fn pods_changed(&mut self, _now: SimTime) {}

    /// Nodes that it wants held for replicas to come, by a placeholder each, beside those of the scenario. Asked before the run and
    /// after each turn.
    fn placeholders(&self) -> u32 {
        0
    }

    /// What a policy that it only watches would have decided since it was asked last; asked after each turn.
    fn would_be(&mut self) -> Vec<WouldBe> {
        Vec::new()
    }
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
    pub pods: &'a [PodView],
    /// What the pods' names begin with.
    pub workload: &'a str,
    /// The Prometheus server.
    pub prometheus: PrometheusView<'a>,
    /// The gateway, as it is.
    pub gateway: GatewayView,
}

/// The name of a workload's pod.
pub fn pod_name(workload: &str, id: ReplicaId) -> String {
    format!("{workload}-{}", id.0)
}

impl View<'_> {
    /// Pods that are ready and not terminating.
    pub fn ready(&self) -> u32 {
        self.pods.iter().filter(|pod| pod.ready && !pod.deleting).count() as u32
    }
}

/// A Prometheus server as of an instant.
#[derive(Clone, Copy, Debug)]
pub struct PrometheusView<'a> {
    /// What it holds.
    pub store: &'a Store,
    /// The newest instant of which an answer can tell by now: the adapter's delay ago.
    pub at: SimTime,
    /// It does not answer at all.
    pub is_out: bool,
}

impl PrometheusView<'_> {
    /// The answer to an instant query.
    ///
    /// # Errors
    /// Those of [`Query::evaluate`], and that the server is out.
    pub fn answer(&self, query: &Query) -> Result<Answer, QueryError> {
        self.evaluate(query, self.at)
    }

    /// The answer to an instant query as KEDA asks it, of the whole second before.
    ///
    /// # Errors
    /// Those of [`Query::evaluate`], and that the server is out.
    pub fn answer_of_second(&self, query: &Query) -> Result<Answer, QueryError> {
        self.evaluate(query, self.store.settings().whole_second(self.at))
    }

    fn evaluate(&self, query: &Query, at: SimTime) -> Result<Answer, QueryError> {
        if self.is_out { Err(QueryError::Unavailable) } else { query.evaluate(self.store, at) }
    }
}

/// The gateway, and all of the workload's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatewayView {
    /// Requests held because no pod was ready or had room.
    pub held: u64,
    /// Requests in pods that no engine works on yet.
    pub waiting: u64,
    /// Requests that engines work on.
    pub running: u64,
    /// Requests that arrived since the start.
    pub arrived: u64,
    /// What the proxy counted, if the data path is metered.
    pub meter: Meter,
}

impl GatewayView {
    /// Requests in the system.
    pub fn in_flight(&self) -> u64 {
        self.held + self.waiting + self.running
    }
}

/// A pod as the Kubernetes API and the metrics server show it.
#[derive(Clone, Debug)]
pub struct PodView {
    /// Which replica it is.
    pub id: ReplicaId,
    /// `metadata.creationTimestamp`.
    pub created: SimTime,
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
    /// What it asks for.
    pub requests: PodResources,
    /// Its newest sample of the metrics server.
    pub usage: Option<UsageSample>,
    /// What its queue-proxy counted, if the data path is metered.
    pub meter: Meter,
}

/// CPU and memory of a pod; `None` where the scenario or profile says nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodResources {
    /// Milli-cores.
    pub cpu_milli: Option<i64>,
    /// Bytes.
    pub memory_bytes: Option<i64>,
}

/// What the metrics server knows of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageSample {
    /// When it was taken (the end of the window).
    pub at: SimTime,
    /// Time between the two readings that CPU usage is the difference of.
    pub window: SimDuration,
    /// Usage.
    pub used: PodResources,
}
