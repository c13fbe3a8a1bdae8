//! The HorizontalPodAutoscaler that a ScaledObject owns.
//!
//! After kedacore/keda `controllers/keda/hpa.go` (8b4f083c). Its reconcile is `policy::hpa`'s.

use super::executor::Pause;
use super::modifiers::COMPOSITE_METRIC;
use super::quantity::target_milli;
use super::spec::ScaledObjectSpec;
use super::triggers::{ResourceTarget, Trigger};
use super::validate::{ScaledObject, hpa_max, hpa_min};
use crate::policy::hpa::metric::{Metric, Target, TargetType};
use crate::policy::hpa::reconcile::Spec;
use crate::policy::hpa::spec::{BehaviorSpec, ControllerSpec, HpaSpec, RulesSpec, SelectPolicySpec};

/// The label that KEDA selects an object's metrics by.
pub const SELECTOR_LABEL: &str = "scaledobject.keda.sh/name";

/// The name of the HPA of a ScaledObject.
pub fn hpa_name(object_name: &str, spec: &ScaledObjectSpec) -> String {
    let config = spec.advanced.as_ref().and_then(|own| own.horizontal_pod_autoscaler_config.as_ref());
    config.and_then(|own| own.name.clone()).unwrap_or_else(|| format!("keda-hpa-{object_name}"))
}

/// The HPA of a ScaledObject; `None` while it is paused, when KEDA deletes it. An external scaler
/// tells its target itself: set its trigger's `threshold` first, or it is left out.
pub fn derive(object_name: &str, spec: &ScaledObjectSpec, object: &ScaledObject) -> Option<Spec> {
    if object.rules.pause.all {
        return None;
    }
    let config = spec.advanced.as_ref().and_then(|own| own.horizontal_pod_autoscaler_config.as_ref());
    let behavior = paused(config.and_then(|own| own.behavior.clone()), object.rules.pause);
    let (min, max) = (hpa_min(spec.min_replica_count), hpa_max(spec.max_replica_count));
    let bounds = HpaSpec::without_metrics(min, max, behavior, ControllerSpec::default());
    Some(Spec { metrics: metrics(object_name, object), ..bounds.resolve() })
}

/// `paused-scale-in` and `-out` forbid the HPA that direction.
fn paused(behavior: Option<BehaviorSpec>, pause: Pause) -> Option<BehaviorSpec> {
    if !pause.scale_in && !pause.scale_out {
        return behavior;
    }
    let disabled = |rules: Option<RulesSpec>| {
        Some(RulesSpec { select_policy: Some(SelectPolicySpec::Disabled), ..rules.unwrap_or_default() })
    };
    let mut behavior = behavior.unwrap_or_default();
    if pause.scale_in {
        behavior.scale_down = disabled(behavior.scale_down);
    }
    if pause.scale_out {
        behavior.scale_up = disabled(behavior.scale_up);
    }
    Some(behavior)
}

/// Sorted by kind as upstream does: container resources, external metrics, resources.
fn metrics(object_name: &str, object: &ScaledObject) -> Vec<Metric> {
    let selector = format!("{SELECTOR_LABEL}={object_name}");
    let external = |name: String, target: f64, of_the_whole: bool| {
        let milli = Some(target_milli(target));
        let target = Target {
            kind: if of_the_whole { TargetType::Value } else { TargetType::AverageValue },
            value: milli.filter(|_| of_the_whole),
            average_value: milli.filter(|_| !of_the_whole),
            average_utilization: None,
        };
        Metric::External { name, selector: selector.clone(), target }
    };
    let (mut containers, mut externals, mut resources) = (Vec::new(), Vec::new(), Vec::new());
    for trigger in &object.triggers {
        match trigger {
            Trigger::External(own) => {
                let threshold = own.threshold.filter(|_| object.modifiers.is_none());
                externals.extend(threshold.map(|t| external(own.metric_name.clone(), t, own.of_the_whole)));
            }
            Trigger::Resource(own) => {
                let target = resource_target(own.target);
                let name = own.resource.clone();
                match own.container.clone() {
                    Some(container) => {
                        containers.push(Metric::ContainerResource { name, container, target });
                    }
                    None => resources.push(Metric::Resource { name, target }),
                }
            }
        }
    }
    let any_external = object.triggers.iter().any(|trigger| matches!(trigger, Trigger::External(_)));
    if let Some(own) = object.modifiers.as_ref().filter(|_| any_external) {
        // Validation made sure that it is a number.
        let target = own.target.parse().unwrap_or(1.0);
        externals.push(external(COMPOSITE_METRIC.to_owned(), target, own.of_the_whole));
    }
    containers.into_iter().chain(externals).chain(resources).collect()
}

fn resource_target(target: ResourceTarget) -> Target {
    let (kind, average_value, average_utilization) = match target {
        ResourceTarget::Utilization(percent) => (TargetType::Utilization, None, Some(percent)),
        ResourceTarget::AverageValue(quantity) => (TargetType::AverageValue, quantity.milli(), None),
    };
    Target { kind, value: None, average_value, average_utilization }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::hpa::behavior::SelectPolicy;
    use crate::policy::keda::annotations::Annotations;
    use serde_json::{Value, json};

    fn derived(changes: &Value, annotations: &[(&str, &str)]) -> Option<Spec> {
        let prometheus = json!({"serverAddress": "s", "query": "q", "threshold": "0.25"});
        let cpu = json!({"value": "60"});
        let mut spec = json!({"scaleTargetRef": {"name": "vllm"}, "triggers": [
            {"type": "cpu", "metadata": cpu},
            {"type": "prometheus", "name": "waiting", "metadata": prometheus},
            {"type": "prometheus", "name": "running", "metricType": "Value", "metadata": prometheus},
        ]});
        spec.as_object_mut().expect("it is one").extend(changes.as_object().expect("it is one").clone());
        let spec: ScaledObjectSpec = serde_json::from_value(spec).expect("the types are right");
        let annotations = annotations
            .iter()
            .map(|(key, value)| (format!("autoscaling.keda.sh/{key}"), (*value).to_owned()))
            .collect();
        let annotations = Annotations::from_map(&annotations).expect("they are right");
        let object = ScaledObject::new(&spec, &annotations).expect("nothing is wrong");
        assert_eq!(hpa_name("own", &spec), "keda-hpa-own");
        derive("own", &spec, &object)
    }

    fn names(spec: &Spec) -> Vec<String> {
        let name = |metric: &Metric| match metric {
            Metric::External { name, selector, target } => {
                assert_eq!(selector, "scaledobject.keda.sh/name=own");
                format!("{name} {:?} {:?}", target.value, target.average_value)
            }
            Metric::Resource { name, target } => format!("{name} {:?}", target.average_utilization),
            other => panic!("{other:?}"),
        };
        spec.metrics.iter().map(name).collect()
    }

    #[test]
    fn it_has_the_triggers_as_metrics() {
        let spec = derived(&json!({}), &[]).expect("it is not paused");
        assert_eq!((spec.min_replicas, spec.max_replicas, &spec.behavior), (Some(1), 100, &None));
        let expected = ["s1-prometheus None Some(250)", "s2-prometheus Some(250) None", "cpu Some(60)"];
        assert_eq!(names(&spec), expected);
        let spec =
            derived(&json!({"minReplicaCount": 2, "maxReplicaCount": 5}), &[]).expect("it is not paused");
        assert_eq!((spec.min_replicas, spec.max_replicas), (Some(2), 5));
    }

    #[test]
    fn a_formula_takes_the_place_of_external_metrics() {
        let own = json!({"formula": "waiting + running", "target": "2.5"});
        let spec = derived(&json!({"advanced": {"scalingModifiers": own}}), &[]).expect("it is not paused");
        assert_eq!(names(&spec), ["composite-metric None Some(2500)", "cpu Some(60)"]);
    }

    #[test]
    fn pauses_reach_it() {
        assert_eq!(derived(&json!({}), &[("paused", "true")]), None);
        assert_eq!(derived(&json!({}), &[("paused-replicas", "3")]), None);
        let config = json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}});
        let advanced = json!({"advanced": {"horizontalPodAutoscalerConfig": config}});
        let spec = derived(&advanced, &[("paused-scale-in", "true")]).expect("it stays");
        let behavior = spec.behavior.expect("it has one");
        assert_eq!(behavior.scale_down.select_policy, SelectPolicy::Disabled);
        assert_eq!(behavior.scale_down.stabilization_window, Some(60_000_000_000));
        assert_eq!(behavior.scale_up.select_policy, SelectPolicy::Max);
    }
}
