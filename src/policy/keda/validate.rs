//! A ScaledObject's rules: upstream's validation, its bounds, and the object read as a whole.
//!
//! After kedacore/keda `apis/keda/v1alpha1/scaledobject_{types,webhook}.go` (8b4f083c).

use std::collections::BTreeSet;

use super::annotations::Annotations;
use super::executor::ScaleRules;
use super::fallback::{Behavior, Fallback};
use super::formula::Formula;
use super::modifiers::ScalingModifiers;
use super::spec::{
    COOLDOWN_PERIOD_S, FallbackBehavior, FallbackSpec, MAX_REPLICA_COUNT, MetricType, POLLING_INTERVAL_S,
    ScaledObjectSpec, ScalingModifiersSpec,
};
use super::triggers::Trigger;
use crate::policy::Fault;
use crate::policy::hpa::types::Nanos;

const SECOND: Nanos = 1_000_000_000;

/// `minReplicas` of the HPA: at least 1, because KEDA itself sees to the rest.
pub fn hpa_min(min: Option<i32>) -> i32 {
    min.filter(|min| *min > 0).unwrap_or(1)
}

/// `maxReplicas` of the HPA.
pub fn hpa_max(max: Option<i32>) -> i32 {
    max.unwrap_or(MAX_REPLICA_COUNT)
}

/// What is wrong with the bounds. An absent minimum counts as 0 here and one of 0 as 1.
pub fn bounds_fault(min: Option<i32>, max: Option<i32>, idle: Option<i32>) -> Option<Fault> {
    let least = min.map_or(0, |min| hpa_min(Some(min)));
    let most = hpa_max(max);
    if least > most {
        let message = format!("a minimum of {least} above the maximum of {most}");
        let help = "lower minReplicaCount or raise maxReplicaCount";
        return Some(("minReplicaCount".to_owned(), message, help.to_owned()));
    }
    let idle = idle.filter(|idle| *idle >= least)?;
    let message = format!("{idle} idle replicas are not fewer than the minimum of {least}");
    Some(("idleReplicaCount".to_owned(), message, "write 0, and a minReplicaCount of at least 1".to_owned()))
}

/// A ScaledObject that nothing is wrong with.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaledObject {
    /// Time between two polls.
    pub polling_interval: Nanos,
    /// What the executor goes by.
    pub rules: ScaleRules,
    /// The fallback.
    pub fallback: Option<Fallback>,
    /// The formula.
    pub modifiers: Option<ScalingModifiers>,
    /// The triggers, in order.
    pub triggers: Vec<Trigger>,
}

impl ScaledObject {
    /// Reads a spec and the annotations of its object.
    ///
    /// # Errors
    /// Every fault, with its path in the spec.
    pub fn new(spec: &ScaledObjectSpec, annotations: &Annotations) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        faults.extend(bounds_fault(spec.min_replica_count, spec.max_replica_count, spec.idle_replica_count));
        let polling = seconds(spec.polling_interval, POLLING_INTERVAL_S, 1, "pollingInterval", &mut faults);
        let cooldown = seconds(spec.cooldown_period, COOLDOWN_PERIOD_S, 0, "cooldownPeriod", &mut faults);
        let initial = spec.initial_cooldown_period;
        let initial_cooldown = seconds(initial, 0, 0, "initialCooldownPeriod", &mut faults);
        for (path, count) in [
            ("minReplicaCount", spec.min_replica_count),
            ("maxReplicaCount", spec.max_replica_count),
            ("idleReplicaCount", spec.idle_replica_count),
        ] {
            if let Some(count) = count.filter(|count| *count < 0) {
                faults.push((path.to_owned(), format!("{count} replicas"), "write 0 or more".to_owned()));
            }
        }
        let mut triggers = Vec::new();
        for (index, trigger) in spec.triggers.iter().enumerate() {
            match trigger.read(index) {
                Ok(trigger) => triggers.push(trigger),
                Err(wrong) => faults.extend(
                    wrong.into_iter().map(|(path, m, h)| (format!("triggers[{index}].{path}"), m, h)),
                ),
            }
        }
        if spec.triggers.is_empty() {
            let message = "no trigger: there is nothing to scale on".to_owned();
            faults.push(("triggers".to_owned(), message, "write at least one".to_owned()));
        }
        trigger_names(spec, &mut faults);
        let modifiers_spec = spec.advanced.as_ref().and_then(|advanced| advanced.scaling_modifiers.as_ref());
        let modifiers = modifiers_spec.and_then(|own| modifiers(own, spec, &mut faults));
        let fallback = spec.fallback.as_ref().map(fallback);
        check_fallback(spec, &triggers, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let rules = ScaleRules {
            min_replicas: spec.min_replica_count,
            idle_replicas: spec.idle_replica_count,
            fallback_replicas: fallback.map(|fallback| fallback.replicas),
            cooldown,
            initial_cooldown,
            pause: annotations.pause,
            force_activation: annotations.force_activation,
        };
        Ok(Self { polling_interval: polling, rules, fallback, modifiers, triggers })
    }

    /// What a poll finds of all triggers: each external one's activity, or `None` if it failed without a
    /// fallback. (`pkg/scaling/scale_handler.go`) Resource triggers alone keep the target awake; beside
    /// external ones they do not count. With a formula, `composite_active` counts instead.
    pub fn activity(&self, external: &[Option<bool>], composite_active: Option<bool>) -> (bool, bool) {
        let error = external.contains(&None);
        if self.modifiers.is_some() {
            return (!error && composite_active.unwrap_or(false), error || composite_active.is_none());
        }
        let only_resources = self.triggers.iter().all(|trigger| matches!(trigger, Trigger::Resource(_)));
        if only_resources {
            return (!error, error);
        }
        (external.contains(&Some(true)), error)
    }
}

fn seconds(value: Option<i32>, default: i32, least: i32, path: &str, faults: &mut Vec<Fault>) -> Nanos {
    let value = value.unwrap_or(default);
    if value < least {
        faults.push((path.to_owned(), format!("{value} s"), format!("write at least {least}")));
    }
    Nanos::from(value) * SECOND
}

/// Names are the formula's; no two triggers may share one.
fn trigger_names(spec: &ScaledObjectSpec, faults: &mut Vec<Fault>) {
    let mut names = BTreeSet::new();
    for (index, trigger) in spec.triggers.iter().enumerate() {
        if let Some(name) = trigger.name.as_deref().filter(|name| !name.is_empty())
            && !names.insert(name)
        {
            let message = format!("two triggers have the name `{name}`");
            faults.push((format!("triggers[{index}].name"), message, "give each its own".to_owned()));
        }
    }
}

fn modifiers(
    own: &ScalingModifiersSpec,
    spec: &ScaledObjectSpec,
    faults: &mut Vec<Fault>,
) -> Option<ScalingModifiers> {
    const PATH: &str = "advanced.scalingModifiers";
    let known = faults.len();
    let positive = own.target.parse::<f64>().is_ok_and(|target| target > 0.0 && target.is_finite());
    if !positive {
        let message = format!("a target of `{}`", own.target);
        faults.push((format!("{PATH}.target"), message, "write a number above 0 in quotes".to_owned()));
    }
    let activation = own.activation_target.as_deref().filter(|text| !text.is_empty()).unwrap_or("0");
    let activation_target = activation.parse::<f64>().ok().filter(|value| value.is_finite());
    if activation_target.is_none() {
        let message = format!("an activation target of `{activation}`");
        faults.push((format!("{PATH}.activationTarget"), message, "write a number in quotes".to_owned()));
    }
    if own.metric_type == Some(MetricType::Utilization) {
        let message = "Utilization is for cpu and memory".to_owned();
        faults.push((format!("{PATH}.metricType"), message, "write AverageValue or Value".to_owned()));
    }
    for (index, trigger) in spec.triggers.iter().enumerate() {
        if trigger.name.as_deref().is_none_or(str::is_empty) && !is_resource(&trigger.kind) {
            let message = "a formula needs every trigger's name".to_owned();
            faults.push((format!("triggers[{index}].name"), message, "give it one".to_owned()));
        }
    }
    let formula = match Formula::parse(&own.formula) {
        Ok(formula) => formula,
        Err(error) => {
            let help = "see expr-lang's operators and functions of numbers".to_owned();
            faults.push((format!("{PATH}.formula"), error.to_string(), help));
            return None;
        }
    };
    let named =
        |name: &str| spec.triggers.iter().any(|t| t.name.as_deref() == Some(name) && !is_resource(&t.kind));
    for (name, column) in formula.names().into_iter().filter(|(name, _)| !named(name)) {
        let message = format!("column {column}: no trigger has the name `{name}`");
        let help = "name an external trigger; cpu and memory have no value here".to_owned();
        faults.push((format!("{PATH}.formula"), message, help));
    }
    (faults.len() == known).then(|| ScalingModifiers {
        formula,
        target: own.target.clone(),
        activation_target: activation_target.unwrap_or(0.0),
        of_the_whole: own.metric_type == Some(MetricType::Value),
    })
}

fn is_resource(kind: &str) -> bool {
    matches!(kind, "cpu" | "memory")
}

fn fallback(spec: &FallbackSpec) -> Fallback {
    Fallback {
        failure_threshold: spec.failure_threshold,
        replicas: spec.replicas,
        behavior: match spec.behavior {
            FallbackBehavior::Static => Behavior::Static,
            FallbackBehavior::CurrentReplicas => Behavior::CurrentReplicas,
            FallbackBehavior::CurrentReplicasIfHigher => Behavior::CurrentReplicasIfHigher,
            FallbackBehavior::CurrentReplicasIfLower => Behavior::CurrentReplicasIfLower,
            FallbackBehavior::ScalingModifiers => Behavior::ScalingModifiers,
        },
    }
}

/// A fallback that could never stand in is refused as upstream's webhook refuses it.
fn check_fallback(spec: &ScaledObjectSpec, triggers: &[Trigger], faults: &mut Vec<Fault>) {
    let Some(fallback) = &spec.fallback else { return };
    if fallback.failure_threshold < 0 || fallback.replicas < 0 {
        let message = "a negative threshold or number of replicas turns the fallback off".to_owned();
        faults.push(("fallback".to_owned(), message, "write 0 or more".to_owned()));
    }
    let external = triggers.iter().any(|trigger| matches!(trigger, Trigger::External(_)));
    if !external && triggers.len() == spec.triggers.len() && !triggers.is_empty() {
        let message = "cpu and memory have no fallback".to_owned();
        faults.push(("fallback".to_owned(), message, "leave it out, or add another trigger".to_owned()));
    }
    let formula = spec.advanced.as_ref().is_some_and(|advanced| advanced.scaling_modifiers.is_some());
    if fallback.behavior == FallbackBehavior::ScalingModifiers && !formula {
        let message = "the behavior scalingModifiers without scaling modifiers".to_owned();
        faults.push(("fallback.behavior".to_owned(), message, "write a formula, or static".to_owned()));
    }
}
