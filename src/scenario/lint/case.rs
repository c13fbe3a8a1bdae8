//! A scenario as rules look at it: autoscalers freed of what wraps them, their queries compiled.

use std::borrow::Cow;

use super::figures::Figures;
use crate::policy::adapter::{self, Api};
use crate::policy::hpa::spec::{BehaviorSpec, ControllerSpec, HpaSpec, RulesSpec, TargetSpec};
use crate::policy::keda::annotations::Annotations as KedaAnnotations;
use crate::policy::keda::http_scaled_object::HttpScaledObjectSpec;
use crate::policy::keda::spec::ScaledObjectSpec;
use crate::policy::keda::triggers::{ExternalTrigger, Source as TriggerSource, Trigger};
use crate::policy::keda::validate::{ScaledObject, hpa_max, hpa_min};
use crate::policy::knative::revision::Revision;
use crate::policy::warm_pool::SpareLevel;
use crate::policy::{KedaSpec, KnativeSpec, PolicySpec, Setting};
use crate::promql::catalogue::{Metric, Quantity};
use crate::promql::{Query, Selector};
use crate::scenario::{Scenario, ScenarioSpec};
use crate::sim::Simulation;
use crate::yaml::Path;

/// What a scenario was resolved to, as far as rules need it.
pub(in crate::scenario) struct World<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// What it was resolved to.
    pub simulation: &'a Simulation,
}

/// What rules look at.
pub(super) struct Case<'a> {
    /// The scenario as it is written.
    pub spec: &'a ScenarioSpec,
    /// Estimates to hold settings against.
    pub figures: Figures,
    /// The policies that scale, seen through those that they are below of.
    pub scalers: Vec<Scaler<'a>>,
}

impl<'a> Case<'a> {
    /// Of a scenario.
    pub fn new(world: &World<'a>) -> Self {
        let spec = &world.scenario.spec;
        let figures = Figures::new(world.simulation);
        let root = Path::keys(["policies"]);
        let scalers = spec.policies.iter().flat_map(|(name, policy)| {
            Scaler::within(name, &root.key(name), policy, 0, &world.simulation.setting)
        });
        Self { spec, figures, scalers: scalers.collect() }
    }
}

/// An autoscaler.
pub(super) struct Scaler<'a> {
    /// The policy's name.
    pub name: &'a str,
    /// Where its own spec stands.
    pub at: Path,
    /// What it is.
    pub kind: Kind<'a>,
    /// Warm replicas to spare over what it asks for.
    pub spare: u32,
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas; `None` without a limit.
    pub max: Option<u32>,
    /// Where the most replicas stand, or would.
    pub max_at: Path,
    /// The queries it scales on.
    pub signals: Vec<Signal>,
}

/// What an autoscaler is.
pub(super) enum Kind<'a> {
    /// An HPA.
    Hpa(&'a HpaSpec),
    /// A ScaledObject.
    Keda(Box<Keda<'a>>),
    /// A Knative revision.
    Knative(&'a KnativeSpec, Box<Revision>),
}

/// A ScaledObject, or an HTTPScaledObject by the ScaledObject that the HTTP add-on makes of it.
pub(super) struct Keda<'a> {
    /// The policy.
    pub policy: &'a KedaSpec,
    /// The ScaledObject's `spec` as it is written, or made.
    pub spec: Cow<'a, ScaledObjectSpec>,
    /// The HTTPScaledObject's `spec`, if it is one.
    pub http: Option<&'a HttpScaledObjectSpec>,
    /// The ScaledObject as KEDA reads it.
    pub object: ScaledObject,
    /// Where the `spec` stands that is written.
    pub at: Path,
}

impl<'a> Keda<'a> {
    /// Of a policy at a path; `None` of one that its own check refuses.
    fn new(policy: &'a KedaSpec, at: &Path) -> Option<Self> {
        let (spec, http) = match (&policy.scaled_object, &policy.http_scaled_object) {
            (Some(spec), _) => (Cow::Borrowed(spec), None),
            (None, Some(http)) => (Cow::Owned(http.scaled_object("")), Some(http)),
            (None, None) => return None,
        };
        let annotations = KedaAnnotations::from_map(&policy.annotations).ok()?;
        let object = ScaledObject::new(&spec, &annotations).ok()?;
        let at = at.key(if http.is_some() { "httpScaledObject" } else { "scaledObject" });
        Some(Self { policy, spec, http, object, at })
    }

    /// Where a field of the ScaledObject stands: in an HTTPScaledObject under its own name.
    pub fn field_at(&self, field: &str) -> Path {
        let own = match field {
            _ if self.http.is_none() => return self.at.key(field),
            "cooldownPeriod" => "scaledownPeriod",
            "minReplicaCount" => return self.at.key("replicas").key("min"),
            "maxReplicaCount" => return self.at.key("replicas").key("max"),
            other => other,
        };
        self.at.key(own)
    }

    /// Whether it may put its target to sleep, below the HPA's minimum.
    pub fn sleeps(&self) -> bool {
        let wanted =
            self.spec.idle_replica_count.is_some() || self.object.rules.min_replicas.unwrap_or(0) == 0;
        wanted && !self.only_resources()
    }

    /// Whether all triggers are CPU or memory.
    pub fn only_resources(&self) -> bool {
        self.object.triggers.iter().all(|trigger| matches!(trigger, Trigger::Resource(_)))
    }

    /// The external triggers with their positions.
    pub fn external(&self) -> impl Iterator<Item = (usize, &ExternalTrigger)> {
        self.object.triggers.iter().enumerate().filter_map(|(index, trigger)| match trigger {
            Trigger::External(own) => Some((index, &**own)),
            Trigger::Resource(_) => None,
        })
    }

    /// Where a trigger stands.
    pub fn trigger_at(&self, index: usize) -> Path {
        self.at.key("triggers").index(index)
    }

    /// Time between two polls of the operator, s.
    pub fn polling_s(&self) -> f64 {
        self.object.polling_interval as f64 / 1e9
    }
}

/// The HPA's side of an autoscaler: an HPA's own, or that of a ScaledObject's.
pub(super) struct Controller<'a> {
    /// `behavior`.
    pub behavior: Option<&'a BehaviorSpec>,
    /// Where it stands, or would.
    pub behavior_at: Path,
    /// Flags of the controller.
    pub flags: &'a ControllerSpec,
}

impl<'a> Controller<'a> {
    /// The rules upwards.
    pub fn up(&self) -> Option<&'a RulesSpec> {
        self.behavior.and_then(|behavior| behavior.scale_up.as_ref())
    }

    /// Changes of the ratio upwards that are ignored, a fraction.
    pub fn tolerance_up(&self) -> f64 {
        let own = self.up().and_then(|rules| rules.tolerance);
        let heeded = own.filter(|_| self.flags.gates().configurable_tolerance);
        heeded.map_or(self.flags.tolerance, crate::kernel::Quantity::as_f64)
    }

    /// The rules downwards.
    pub fn down(&self) -> Option<&'a RulesSpec> {
        self.behavior.and_then(|behavior| behavior.scale_down.as_ref())
    }
}

impl<'a> Scaler<'a> {
    /// Those of a policy: itself, or the ones within it. None of those that do not scale, that are watched only, that others cap
    /// (`min`), or that their own check refuses.
    fn within(name: &'a str, at: &Path, policy: &'a PolicySpec, spare: u32, setting: &Setting) -> Vec<Self> {
        let at = at.key(policy.kind());
        let below = |policy, spare, key: &str| Self::within(name, &at.key(key), policy, spare, setting);
        let own = match policy {
            // Rules about what is scaled on know objects of Kubernetes, KEDA and Knative.
            PolicySpec::Fixed(_)
            | PolicySpec::Min(_)
            | PolicySpec::Ray(_)
            | PolicySpec::Aibrix(_)
            | PolicySpec::Wva(_)
            | PolicySpec::Dynamo(_)
            | PolicySpec::Slo(_) => None,
            PolicySpec::WarmPool(pool) => {
                // Held nodes give way to replicas: they need no room of their own.
                let is_replica = pool.level == SpareLevel::Loaded;
                let spares =
                    |max: Option<u32>| if is_replica { pool.most_spares(max.unwrap_or(0)) } else { 0 };
                let spared = |scaler: Self| Self { spare: scaler.spare + spares(scaler.max), ..scaler };
                return below(&pool.over, spare, "over").into_iter().map(spared).collect();
            }
            PolicySpec::Predictive(spec) => {
                return spec.over.iter().flat_map(|policy| below(policy, spare, "over")).collect();
            }
            PolicySpec::Schedule(spec) => {
                return spec.over.iter().flat_map(|policy| below(policy, spare, "over")).collect();
            }
            PolicySpec::Guard(spec) => {
                let capped = |scaler: Self| Self {
                    max: scaler.max.into_iter().chain(spec.ceiling).min(),
                    min: scaler.min.max(spec.floor.unwrap_or(0)),
                    ..scaler
                };
                return below(&spec.over, spare, "over").into_iter().map(capped).collect();
            }
            PolicySpec::Shadow(spec) => return below(&spec.run, spare, "run"),
            PolicySpec::Max(spec) => {
                let member = |(key, policy): (&'a String, &'a PolicySpec)| {
                    Self::within(name, &at.key("of").key(key), policy, spare, setting)
                };
                return spec.of.iter().flat_map(member).collect();
            }
            PolicySpec::Hpa(spec) => Some(Self::of_hpa(spec, at, setting)),
            PolicySpec::Keda(policy) => Self::of_keda(policy, at, setting),
            PolicySpec::Knative(spec) => Self::of_knative(spec, at),
        };
        own.into_iter().map(|own| Self { name, spare, ..own }).collect()
    }

    fn of_hpa(spec: &'a HpaSpec, at: Path, setting: &Setting) -> Self {
        Self {
            name: "",
            kind: Kind::Hpa(spec),
            spare: 0,
            min: count(spec.min_replicas.unwrap_or(1)),
            max: Some(count(spec.max_replicas)),
            max_at: at.key("maxReplicas"),
            signals: hpa_signals(spec, &at, setting),
            at,
        }
    }

    fn of_keda(policy: &'a KedaSpec, at: Path, setting: &Setting) -> Option<Self> {
        let keda = Box::new(Keda::new(policy, &at)?);
        let spec = &*keda.spec;
        let floor = spec.idle_replica_count.unwrap_or_else(|| spec.min_replica_count.unwrap_or(0));
        let min = count(if keda.sleeps() { floor } else { hpa_min(spec.min_replica_count) });
        let max_at = keda.field_at("maxReplicaCount");
        let max = Some(count(hpa_max(spec.max_replica_count)));
        let signals = keda_signals(&keda, setting);
        Some(Self { name: "", kind: Kind::Keda(keda), spare: 0, min, max, max_at, signals, at })
    }

    fn of_knative(spec: &'a KnativeSpec, at: Path) -> Option<Self> {
        let revision = Some(spec.revision()).filter(|_| spec.check().is_empty())?;
        let bounds = revision.bounds();
        Some(Self {
            name: "",
            spare: 0,
            min: count(bounds.min).max(u32::from(!revision.config.enable_scale_to_zero)),
            max: Some(count(bounds.max)).filter(|max| *max > 0),
            max_at: annotation(&at, spec, &["max-scale", "maxScale"]),
            signals: Vec::new(),
            kind: Kind::Knative(spec, Box::new(revision)),
            at,
        })
    }

    /// Whether it may go to zero.
    pub fn sleeps(&self) -> bool {
        self.min == 0
    }

    /// Whether there may be several replicas.
    pub fn is_plural(&self) -> bool {
        self.max.is_none_or(|max| max > 1)
    }

    /// The ScaledObject, if it is one.
    pub fn keda(&self) -> Option<&Keda<'a>> {
        if let Kind::Keda(keda) = &self.kind { Some(keda) } else { None }
    }

    /// The HPA that it is or owns.
    pub fn controller(&self) -> Option<Controller<'_>> {
        match &self.kind {
            Kind::Hpa(spec) => Some(Controller {
                behavior: spec.behavior.as_ref(),
                behavior_at: self.at.key("behavior"),
                flags: &spec.controller,
            }),
            Kind::Keda(keda) => {
                let advanced = keda.spec.advanced.as_ref();
                let config = advanced.and_then(|own| own.horizontal_pod_autoscaler_config.as_ref());
                Some(Controller {
                    behavior: config.and_then(|own| own.behavior.as_ref()),
                    behavior_at: keda
                        .field_at("advanced")
                        .key("horizontalPodAutoscalerConfig")
                        .key("behavior"),
                    flags: &keda.policy.controller,
                })
            }
            Kind::Knative(..) => None,
        }
    }
}

fn count(replicas: i32) -> u32 {
    u32::try_from(replicas).unwrap_or(0)
}

/// Where an annotation of a revision stands under the first of its names that is written, or would.
pub(super) fn annotation(at: &Path, spec: &KnativeSpec, names: &[&str]) -> Path {
    let full = |name: &&str| format!("autoscaling.knative.dev/{name}");
    let written = names.iter().map(full).find(|name| spec.annotations.contains_key(name));
    written.map_or_else(|| at.clone(), |name| at.key("annotations").key(name))
}

/// How a value becomes replicas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Against {
    /// Divided by a target per replica: an external or object metric's `AverageValue`.
    PerReplica(f64),
    /// Its ratio to a target multiplies the replicas: `Value`.
    Whole(f64),
    /// The mean over the pods, by its ratio to a target: a Pods metric.
    EachPod(f64),
    /// It goes into a formula.
    Formula,
}

impl Against {
    /// The target.
    pub fn target(self) -> Option<f64> {
        match self {
            Self::PerReplica(target) | Self::Whole(target) | Self::EachPod(target) => Some(target),
            Self::Formula => None,
        }
    }
}

/// A query that an autoscaler scales on.
pub(super) struct Signal {
    /// Where its text, or the name of its metric, stands.
    pub at: Path,
    /// Where its target stands.
    pub target_at: Path,
    /// The query.
    pub query: Query,
    /// Whether the text at `at` is the query's own, and not a name that an adapter serves it under.
    pub is_text: bool,
    /// How its value becomes replicas.
    pub against: Against,
    /// The trigger's position, of KEDA's.
    pub trigger: Option<usize>,
}

impl Signal {
    /// The metrics that it reads.
    pub fn metrics(&self) -> impl Iterator<Item = (&Selector, &'static Metric)> {
        self.query.reads().iter().filter_map(|read| Some((read, metric_of(read)?)))
    }

    /// The quantity it measures, if it is one.
    pub fn quantity(&self) -> Option<Quantity> {
        let values = self.query.values();
        let first = values.first().and_then(|read| metric_of(read)?.quantity)?;
        let alike = values.iter().all(|read| metric_of(read).and_then(|m| m.quantity) == Some(first));
        alike.then_some(first)
    }

    /// Whether all that it reads is published by the pods that are scaled, and by nothing else.
    pub fn is_of_pods(&self) -> bool {
        let reads = self.query.reads();
        !reads.is_empty() && reads.iter().all(|read| metric_of(read).is_some_and(|m| m.exporter.is_of_pods()))
    }
}

/// The metric that a selector reads.
pub(super) fn metric_of(read: &Selector) -> Option<&'static Metric> {
    read.name.as_deref().and_then(Metric::of_series)
}

fn keda_signals(keda: &Keda<'_>, setting: &Setting) -> Vec<Signal> {
    let formula = keda.object.modifiers.is_some();
    let of_trigger = |(index, trigger): (usize, &ExternalTrigger)| {
        let TriggerSource::Prometheus { query, .. } = &trigger.source else { return None };
        let at = keda.trigger_at(index).key("metadata");
        let threshold = trigger.threshold?;
        Some(Signal {
            at: at.key("query"),
            target_at: at.key("threshold"),
            query: setting.query(query, "").ok()?,
            is_text: true,
            against: match (formula, trigger.of_the_whole) {
                (true, _) => Against::Formula,
                (false, true) => Against::Whole(threshold),
                (false, false) => Against::PerReplica(threshold),
            },
            trigger: Some(index),
        })
    };
    keda.external().filter_map(of_trigger).collect()
}

fn hpa_signals(spec: &HpaSpec, at: &Path, setting: &Setting) -> Vec<Signal> {
    let of_metric = |(index, metric): (usize, &crate::policy::hpa::spec::MetricSpec)| {
        let (api, asked, below) = metric.asks()?;
        let served = adapter::serve(setting, api, &asked.name, &asked.conditions(), "").ok()?;
        let target = [
            metric.pods.as_ref().map(|source| &source.target),
            metric.object.as_ref().map(|source| &source.target),
            metric.external.as_ref().map(|source| &source.target),
        ];
        let at = at.key("metrics").index(index);
        let mut name_at = at.clone();
        let mut source_at = at;
        for (depth, step) in below.split('.').enumerate() {
            name_at = name_at.key(step);
            if depth == 0 {
                source_at = name_at.clone();
            }
        }
        let (field, against) = against(api, target.into_iter().flatten().next()?)?;
        Some(Signal {
            at: name_at,
            target_at: source_at.key("target").key(field),
            query: served.query,
            is_text: false,
            against,
            trigger: None,
        })
    };
    spec.metrics.iter().enumerate().filter_map(of_metric).collect()
}

fn against(api: Api, target: &TargetSpec) -> Option<(&'static str, Against)> {
    let number = |quantity: Option<crate::kernel::Quantity>| quantity.map(crate::kernel::Quantity::as_f64);
    if let Some(average) = number(target.average_value) {
        let how = if api == Api::Pods { Against::EachPod(average) } else { Against::PerReplica(average) };
        return Some(("averageValue", how));
    }
    number(target.value).map(|value| ("value", Against::Whole(value)))
}
