//! The objects that HPA vectors share, and their translation into the policy's types.

use std::collections::BTreeMap;

use serde::Deserialize;
use thawline::policy::hpa::behavior::{
    PolicyType, Rules, RulesInput, ScaleEvent, ScalingPolicy, SelectPolicy,
};
use thawline::policy::hpa::stabilize::Recommendation;
use thawline::policy::hpa::types::{
    Container, InitContainer, Milli, Nanos, Pod, PodPhase, Readiness, ReadyCondition, ReadyStatus,
    ResourceSample, Resources, Sample, Samples,
};
use thawline::policy::hpa::version::KubernetesVersion;

/// The frozen instant of every vector; "long ago" (10^9 s) still lies after zero.
pub const NOW: Nanos = 2_000_000_000_000_000_000;

/// The release whose controller the vectors describe.
pub const VERSION: KubernetesVersion = KubernetesVersion::V1_37;

/// Seconds to ns.
pub fn seconds(seconds: f64) -> Nanos {
    (seconds * 1e9).round() as Nanos
}

/// The instant that many seconds before now.
pub fn ago(age_s: f64) -> Nanos {
    NOW - seconds(age_s)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerVector {
    name: String,
    requests: Resources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitContainerVector {
    name: String,
    restart_policy_always: bool,
    requests: Resources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodVector {
    name: String,
    phase: Option<String>,
    ready: Option<String>,
    start_age_s: Option<f64>,
    ready_transition_age_s: Option<f64>,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    containers: Vec<ContainerVector>,
    #[serde(default)]
    init_containers: Vec<InitContainerVector>,
    pod_level_requests: Option<Resources>,
}

impl PodVector {
    pub fn pod(self) -> Result<Pod, String> {
        let phase = match self.phase.as_deref() {
            None | Some("Running") => PodPhase::Running,
            Some("Pending") => PodPhase::Pending,
            Some("Succeeded") => PodPhase::Succeeded,
            Some("Failed") => PodPhase::Failed,
            Some(other) => return Err(format!("unknown phase {other}")),
        };
        let status = match self.ready.as_deref() {
            None => None,
            Some("True") => Some(ReadyStatus::True),
            Some("False") => Some(ReadyStatus::False),
            Some("Unknown") => Some(ReadyStatus::Unknown),
            Some(other) => return Err(format!("unknown readiness {other}")),
        };
        let ready = match (status, self.ready_transition_age_s) {
            (Some(status), Some(age)) => Some(ReadyCondition { status, changed: ago(age) }),
            (Some(_), None) => return Err("a Ready condition without a transition".to_owned()),
            (None, _) => None,
        };
        let container = |c: ContainerVector| Container { name: c.name, requests: c.requests };
        Ok(Pod {
            name: self.name,
            labels: self.labels,
            phase,
            ready,
            started: self.start_age_s.map(ago),
            deleting: self.deleted,
            containers: self.containers.into_iter().map(container).collect(),
            init_containers: self
                .init_containers
                .into_iter()
                .map(|c| InitContainer {
                    container: Container { name: c.name, requests: c.requests },
                    restart_always: c.restart_policy_always,
                })
                .collect(),
            pod_requests: self.pod_level_requests,
        })
    }
}

pub fn pods(vectors: Vec<PodVector>) -> Result<Vec<Pod>, String> {
    vectors.into_iter().map(PodVector::pod).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContainerUsage {
    name: String,
    usage: Resources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceVector {
    pod: String,
    timestamp_age_s: f64,
    window_s: f64,
    containers: Vec<ContainerUsage>,
}

impl ResourceVector {
    pub fn sample(self) -> ResourceSample {
        ResourceSample {
            pod: self.pod,
            at: ago(self.timestamp_age_s),
            window: seconds(self.window_s),
            containers: self.containers.into_iter().map(|c| (c.name, c.usage)).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleVector {
    pod: String,
    timestamp_age_s: f64,
    window_s: f64,
    value: Milli,
}

pub fn samples(vectors: Vec<SampleVector>) -> Samples {
    vectors
        .into_iter()
        .map(|v| {
            let sample = Sample { value: v.value, at: ago(v.timestamp_age_s), window: seconds(v.window_s) };
            (v.pod, sample)
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadinessVector {
    cpu_initialization_period_s: f64,
    initial_readiness_delay_s: f64,
}

impl ReadinessVector {
    pub fn readiness(&self) -> Readiness {
        readiness(self.cpu_initialization_period_s, self.initial_readiness_delay_s)
    }
}

pub fn readiness(cpu_initialization_period_s: f64, initial_readiness_delay_s: f64) -> Readiness {
    Readiness {
        cpu_initialization_period: seconds(cpu_initialization_period_s),
        initial_readiness_delay: seconds(initial_readiness_delay_s),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyVector {
    #[serde(rename = "type")]
    kind: String,
    value: i32,
    period_s: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesVector {
    stabilization_window_s: Option<f64>,
    select_policy: Option<String>,
    policies: Option<Vec<PolicyVector>>,
    tolerance: Option<f64>,
}

impl RulesVector {
    pub fn input(self) -> Result<RulesInput, String> {
        let select_policy = match self.select_policy.as_deref() {
            None => None,
            Some("Max") => Some(SelectPolicy::Max),
            Some("Min") => Some(SelectPolicy::Min),
            Some("Disabled") => Some(SelectPolicy::Disabled),
            Some(other) => return Err(format!("unknown select policy {other}")),
        };
        let policy = |policy: PolicyVector| {
            let kind = match policy.kind.as_str() {
                "Pods" => PolicyType::Pods,
                "Percent" => PolicyType::Percent,
                other => return Err(format!("unknown policy type {other}")),
            };
            Ok(ScalingPolicy { kind, value: policy.value, period: seconds(policy.period_s) })
        };
        let policies = self.policies.map(|list| list.into_iter().map(policy).collect()).transpose()?;
        Ok(RulesInput {
            stabilization_window: self.stabilization_window_s.map(seconds),
            select_policy,
            policies,
            tolerance: self.tolerance,
        })
    }

    /// Rules that are complete already.
    pub fn complete(self) -> Result<Rules, String> {
        let input = self.input()?;
        Ok(Rules {
            stabilization_window: input.stabilization_window,
            select_policy: input.select_policy.ok_or("complete rules lack select_policy")?,
            policies: input.policies.ok_or("complete rules lack policies")?,
            tolerance: input.tolerance,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventVector {
    replica_change: i32,
    age_s: f64,
    #[serde(default)]
    outdated: bool,
}

pub fn events(vectors: Vec<EventVector>) -> Vec<ScaleEvent> {
    let event =
        |e: EventVector| ScaleEvent { change: e.replica_change, at: ago(e.age_s), outdated: e.outdated };
    vectors.into_iter().map(event).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecommendationVector {
    replicas: i32,
    age_s: f64,
}

pub fn recommendations(vectors: Vec<RecommendationVector>) -> Vec<Recommendation> {
    vectors.into_iter().map(|r| Recommendation { replicas: r.replicas, at: ago(r.age_s) }).collect()
}
