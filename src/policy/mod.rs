//! Floor 2: autoscaling policies: what each sees, and the one thing it may answer.
//!
//! A new policy is one file (a spec struct whose doc comments are its manual, a state
//! struct, `impl Autoscaler`) and one arm in each function of [`PolicySpec`].

pub mod adapter;
pub mod aibrix;
pub mod api;
pub mod combine;
pub mod cron;
pub mod dynamo;
pub mod engine_facts;
pub mod fixed;
#[cfg(test)]
pub(crate) mod fixture;
pub mod guard;
pub mod hpa;
pub mod keda;
pub mod knative;
pub mod layer;
pub mod meter;
mod nesting;
pub mod predictive;
pub mod ray;
pub mod rise;
pub mod schedule;
mod scraped;
pub mod setting;
pub mod shadow;
pub mod slo;
pub mod warm_pool;
pub mod wva;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use aibrix::AibrixSpec;
pub use api::{Autoscaler, Decision, Loop, Reason, View};
pub use combine::CombineSpec;
use combine::Extreme;
pub use dynamo::DynamoSpec;
pub use fixed::FixedSpec;
pub use guard::GuardSpec;
pub use hpa::HpaSpec;
pub use keda::KedaSpec;
pub use knative::KnativeSpec;
pub use predictive::{HistorySpec, PredictiveSpec};
pub use ray::RaySpec;
pub use schedule::ScheduleSpec;
pub use setting::{ReplicaModel, Setting};
pub use shadow::ShadowSpec;
pub use slo::SloPolicySpec;
pub use warm_pool::WarmPoolSpec;
pub use wva::WvaSpec;

/// Something wrong with a policy: (path below it, what, how to mend it).
pub type Fault = (String, String, String);

/// An autoscaling policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PolicySpec {
    /// A fixed number of replicas.
    Fixed(FixedSpec),
    /// A HorizontalPodAutoscaler (autoscaling/v2).
    Hpa(Box<HpaSpec>),
    /// KEDA: a ScaledObject, or the HTTP add-on's HTTPScaledObject, and the HPA it owns.
    Keda(Box<KedaSpec>),
    /// Knative Serving's pod autoscaler (KPA), with its activator and queue-proxy.
    Knative(Box<KnativeSpec>),
    /// Ray Serve's autoscaling on ongoing requests, with its router.
    Ray(Box<RaySpec>),
    /// AIBrix's PodAutoscaler, APA or KPA.
    Aibrix(Box<AibrixSpec>),
    /// llm-d's workload-variant-autoscaler, and the HPA that follows it.
    Wva(Box<WvaSpec>),
    /// NVIDIA Dynamo's planner, for aggregated serving.
    Dynamo(Box<DynamoSpec>),
    /// Warm replicas to spare, over another policy.
    WarmPool(Box<WarmPoolSpec>),
    /// As many as the load will need that is forecast for when they are there, beside another policy.
    Predictive(Box<PredictiveSpec>),
    /// As few as keep the SLO over the time that a new one takes to come.
    Slo(Box<SloPolicySpec>),
    /// So many replicas at such times, alone or over another policy.
    Schedule(Box<ScheduleSpec>),
    /// The most of what several policies want.
    Max(Box<CombineSpec>),
    /// The least of what several policies want.
    Min(Box<CombineSpec>),
    /// Limits on what another policy may do.
    Guard(Box<GuardSpec>),
    /// A policy, and another that is only watched.
    Shadow(Box<ShadowSpec>),
}

impl PolicySpec {
    /// The kinds there are, as a scenario names them.
    pub const KINDS: [&'static str; 16] = [
        "fixed",
        "hpa",
        "keda",
        "knative",
        "ray",
        "aibrix",
        "wva",
        "dynamo",
        "warmPool",
        "predictive",
        "slo",
        "schedule",
        "max",
        "min",
        "guard",
        "shadow",
    ];

    /// Its kind, as a scenario names it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Fixed(_) => "fixed",
            Self::Hpa(_) => "hpa",
            Self::Keda(_) => "keda",
            Self::Knative(_) => "knative",
            Self::Ray(_) => "ray",
            Self::Aibrix(_) => "aibrix",
            Self::Wva(_) => "wva",
            Self::Dynamo(_) => "dynamo",
            Self::WarmPool(_) => "warmPool",
            Self::Predictive(_) => "predictive",
            Self::Slo(_) => "slo",
            Self::Schedule(_) => "schedule",
            Self::Max(_) => "max",
            Self::Min(_) => "min",
            Self::Guard(_) => "guard",
            Self::Shadow(_) => "shadow",
        }
    }

    /// A running policy of this spec, which [`PolicySpec::check`] found nothing wrong with.
    pub fn build(&self, setting: &Setting) -> Box<dyn Autoscaler> {
        match self {
            Self::Fixed(spec) => Box::new(fixed::Fixed::new(*spec)),
            Self::Hpa(spec) => Box::new(hpa::Hpa::new(spec, setting)),
            Self::Keda(spec) => Box::new(keda::Keda::new(spec, setting)),
            Self::Knative(spec) => Box::new(knative::Knative::new(spec)),
            Self::Ray(spec) => Box::new(ray::Ray::new(spec)),
            Self::Aibrix(spec) => Box::new(aibrix::Aibrix::new(spec, setting)),
            Self::Wva(spec) => Box::new(wva::Wva::new(spec, setting)),
            Self::Dynamo(spec) => Box::new(dynamo::Dynamo::new(spec, setting)),
            Self::WarmPool(spec) => Box::new(warm_pool::build(spec, setting)),
            Self::Predictive(spec) => Box::new(predictive::Predictive::new(spec, setting)),
            Self::Slo(spec) => Box::new(slo::SloPolicy::new(spec, setting)),
            Self::Schedule(spec) => Box::new(schedule::build(spec, setting)),
            Self::Max(spec) => Box::new(combine::build(spec, Extreme::Max, setting)),
            Self::Min(spec) => Box::new(combine::build(spec, Extreme::Min, setting)),
            Self::Guard(spec) => Box::new(guard::build(spec, setting)),
            Self::Shadow(spec) => Box::new(shadow::Shadow::new(spec, setting)),
        }
    }

    /// Everything that is wrong with it. Paths begin with its kind: `hpa.metrics[0].type`.
    pub fn check(&self, setting: &Setting) -> Vec<Fault> {
        let mut faults = match self {
            Self::Fixed(spec) if spec.replicas == 0 => vec![(
                "replicas".to_owned(),
                "0 replicas serve nothing".to_owned(),
                "write at least 1".to_owned(),
            )],
            Self::Fixed(_) | Self::Shadow(_) => Vec::new(),
            Self::Hpa(spec) => hpa::validate::validate(spec, setting),
            Self::Keda(spec) => spec.check(setting),
            Self::Knative(spec) => spec.check(),
            Self::Ray(spec) => spec.check(),
            Self::Aibrix(spec) => spec.check(setting),
            Self::Wva(spec) => spec.check(setting),
            Self::Dynamo(spec) => spec.check(setting),
            Self::WarmPool(spec) => spec.check_spares(),
            Self::Predictive(spec) => spec.check(setting),
            Self::Slo(spec) => spec.check(),
            Self::Schedule(spec) => spec.check_windows(setting),
            Self::Max(spec) | Self::Min(spec) => spec.check_members(),
            Self::Guard(spec) => spec.check_limits(),
        };
        let own = faults.len();
        for (path, policy) in self.below() {
            faults.extend(policy.check(setting).into_iter().map(|(p, m, h)| (format!("{path}.{p}"), m, h)));
        }
        if faults.len() == own {
            faults.extend(self.check_together(setting));
        }
        let kind = self.kind();
        let placed = |p: String| if p.is_empty() { kind.to_owned() } else { format!("{kind}.{p}") };
        faults.into_iter().map(|(p, m, h)| (placed(p), m, h)).collect()
    }

    /// What of a pod's CPU and memory it reads: the profile or the scenario must then know it.
    pub fn resources(&self) -> Vec<ResourceRead> {
        match self {
            Self::Hpa(spec) => spec.resources(),
            Self::Keda(spec) => spec.resources(),
            other => other.below().into_iter().flat_map(|(_, policy)| policy.resources()).collect(),
        }
    }

    /// What of [`Setting::replica`] it reads, the policies below it included.
    pub fn reads_replica(&self) -> ReplicaRead {
        let own = match self {
            Self::Predictive(spec) => spec.reads_replica(),
            Self::Slo(spec) => spec.reads_replica(),
            Self::WarmPool(spec) => ReplicaRead {
                start: spec.worst_rise.is_some_and(|rise| rise.lead.is_none()),
                ..ReplicaRead::default()
            },
            _ => ReplicaRead::default(),
        };
        let below = self.below().into_iter().map(|(_, policy)| policy.reads_replica());
        below.fold(own, |all, one| ReplicaRead {
            capacity: all.capacity || one.capacity,
            start: all.start || one.start,
        })
    }
}

/// What a policy reads of [`Setting::replica`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaRead {
    /// What a replica can serve.
    pub capacity: bool,
    /// How long it takes to come.
    pub start: bool,
}

/// What a policy reads of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceRead {
    /// Memory, and not CPU.
    pub is_memory: bool,
    /// As a share of the request.
    pub of_request: bool,
}

/// The name most like a mistyped one, if any is near enough to be meant.
pub fn closest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR: f64 = 0.7;
    names
        .map(|name| (strsim::normalized_damerau_levenshtein(typed, name), name))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod combine_tests;

#[cfg(test)]
mod tests;
