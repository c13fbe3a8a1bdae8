//! A ScaledObject's rules: upstream's validation, its bounds, and the object read as a whole.
//!
//! After kedacore/keda `apis/keda/v1alpha1/scaledobject_{types,webhook}.go` (8b4f083c).

use std::collections::BTreeSet;

use super::annotations::Annotations;
use super::executor::ScaleRules;
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
    pub fallback: Option<FallbackSpec>,
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
                faults.push((path.to_owned(), format!("`{path}` is {count}"), "write 0 or more".to_owned()));
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
        check_fallback(spec, &triggers, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let rules = ScaleRules {
            min_replicas: spec.min_replica_count,
            idle_replicas: spec.idle_replica_count,
            fallback_replicas: spec.fallback.map(|fallback| fallback.replicas),
            cooldown,
            initial_cooldown,
            pause: annotations.pause,
            force_activation: annotations.force_activation,
        };
        Ok(Self { polling_interval: polling, rules, fallback: spec.fallback, modifiers, triggers })
    }

    /// What a poll finds: whether the object is active, and whether anything failed. Of each external
    /// trigger comes its activity, `None` if it failed; one that falls back is active.
    /// (`pkg/scaling/scale_handler.go`) Resource triggers alone keep the target awake; beside
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
        faults.push((path.to_owned(), format!("`{path}` is {value} s"), format!("write at least {least}")));
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
        if trigger.name.as_deref().is_none_or(str::is_empty) && !trigger.is_resource() {
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
        |name: &str| spec.triggers.iter().any(|t| t.name.as_deref() == Some(name) && !t.is_resource());
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(spec: Value) -> Result<ScaledObject, Vec<String>> {
        let spec: ScaledObjectSpec = serde_json::from_value(spec).expect("the types are right");
        ScaledObject::new(&spec, &Annotations::default())
            .map_err(|faults| faults.into_iter().map(|(path, ..)| path).collect())
    }

    fn prometheus() -> Value {
        let metadata = json!({"serverAddress": "http://p", "query": "sum(q)", "threshold": "5"});
        json!({"type": "prometheus", "name": "queue", "metadata": metadata})
    }

    fn object(changes: &Value) -> Value {
        let mut spec = json!({"scaleTargetRef": {"name": "vllm"}, "triggers": [prometheus()]});
        let fields = spec.as_object_mut().expect("it is one");
        fields.extend(changes.as_object().expect("changes are one").clone());
        spec
    }

    #[test]
    fn defaults_are_upstreams() {
        let own = read(object(&json!({}))).expect("nothing is wrong");
        assert_eq!((own.polling_interval, own.rules.cooldown), (30 * SECOND, 300 * SECOND));
        assert_eq!((own.rules.initial_cooldown, own.rules.min_replicas), (0, None));
        assert_eq!((own.fallback, own.modifiers), (None, None));
        let own = read(object(&json!({"fallback": {"failureThreshold": 3, "replicas": 2}}))).expect("valid");
        let expected = FallbackSpec { failure_threshold: 3, replicas: 2, behavior: FallbackBehavior::Static };
        assert_eq!((own.fallback, own.rules.fallback_replicas), (Some(expected), Some(2)));
    }

    #[test]
    fn rules_between_values_are_checked() {
        let modifiers = |changes: Value| {
            let mut own = json!({"formula": "queue + 1", "target": "2"});
            own.as_object_mut().expect("it is one").extend(changes.as_object().expect("it is one").clone());
            object(&json!({"advanced": {"scalingModifiers": own}}))
        };
        let cpu = json!({"type": "cpu", "metadata": {"value": "60"}});
        let fallback = json!({"failureThreshold": 3, "replicas": 2});
        for (spec, path) in [
            (object(&json!({"minReplicaCount": 5, "maxReplicaCount": 4})), "minReplicaCount"),
            (object(&json!({"minReplicaCount": 2, "idleReplicaCount": 2})), "idleReplicaCount"),
            (object(&json!({"pollingInterval": 0})), "pollingInterval"),
            (object(&json!({"cooldownPeriod": -1})), "cooldownPeriod"),
            (object(&json!({"triggers": []})), "triggers"),
            (object(&json!({"triggers": [prometheus(), prometheus()]})), "triggers[1].name"),
            (object(&json!({"triggers": [{"type": "prometeus"}]})), "triggers[0].type"),
            (object(&json!({"triggers": [cpu], "fallback": fallback})), "fallback"),
            (
                object(
                    &json!({"fallback": {"failureThreshold": 3, "replicas": 2, "behavior": "scalingModifiers"}}),
                ),
                "fallback.behavior",
            ),
            (modifiers(json!({"target": "0"})), "advanced.scalingModifiers.target"),
            (modifiers(json!({"activationTarget": "x"})), "advanced.scalingModifiers.activationTarget"),
            (modifiers(json!({"formula": "queue +"})), "advanced.scalingModifiers.formula"),
            (modifiers(json!({"formula": "waiting"})), "advanced.scalingModifiers.formula"),
        ] {
            assert_eq!(read(spec.clone()), Err(vec![path.to_owned()]), "{spec}");
        }
        assert!(read(modifiers(json!({}))).is_ok());
    }

    #[test]
    fn triggers_are_active_together() {
        let cpu = json!({"type": "cpu", "metadata": {"value": "60"}});
        let mixed = read(object(&json!({"triggers": [prometheus(), cpu]}))).expect("valid");
        assert_eq!(mixed.activity(&[Some(false)], None), (false, false));
        assert_eq!(mixed.activity(&[Some(true)], None), (true, false));
        assert_eq!(mixed.activity(&[None], None), (false, true));
        let cpu_only = read(object(&json!({"triggers": [cpu]}))).expect("valid");
        assert_eq!(cpu_only.activity(&[], None), (true, false));
        let advanced = json!({"scalingModifiers": {"formula": "queue", "target": "2"}});
        let formula = read(object(&json!({"advanced": advanced}))).expect("valid");
        assert_eq!(formula.activity(&[Some(true)], Some(false)), (false, false));
        assert_eq!(formula.activity(&[Some(false)], Some(true)), (true, false));
        assert_eq!(formula.activity(&[Some(true)], None), (false, true));
    }
}
