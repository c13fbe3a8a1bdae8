//! What of a policy stands beside its object: flags of controllers, and what only a simulation has.

use serde_json::{Map, Value};

use super::LeftOut;
use crate::policy::hpa::spec::ControllerSpec;

/// What a scenario writes beside `manifest`.
pub(super) type Beside = Map<String, Value>;

/// What each setting of the HPA's controller is, in a cluster.
fn of_controller(key: &str) -> &'static str {
    match key {
        "kubernetesVersion" => "the cluster's release",
        "featureGates" => "--feature-gates of kube-apiserver and kube-controller-manager",
        "syncPeriod" => "--horizontal-pod-autoscaler-sync-period of kube-controller-manager",
        "downscaleStabilization" => {
            "--horizontal-pod-autoscaler-downscale-stabilization of kube-controller-manager"
        }
        "tolerance" => "--horizontal-pod-autoscaler-tolerance of kube-controller-manager",
        "cpuInitializationPeriod" => {
            "--horizontal-pod-autoscaler-cpu-initialization-period of kube-controller-manager"
        }
        "initialReadinessDelay" => {
            "--horizontal-pod-autoscaler-initial-readiness-delay of kube-controller-manager"
        }
        "reconcileDuration" => "how long a reconcile takes, which nothing sets",
        "phase" => "when the first reconcile comes, which a cluster leaves to chance",
        _ => "when the object was created, which is when you apply it",
    }
}

/// The controller's settings that are not upstream's defaults.
pub(super) fn controller(spec: &ControllerSpec, beside: &mut Beside, left_out: &mut Vec<LeftOut>) {
    let own = super::spec_value(spec);
    let default = super::spec_value(&ControllerSpec::default());
    let set: Map<String, Value> =
        own.into_iter().filter(|(key, value)| default.get(key) != Some(value)).collect();
    for (key, value) in &set {
        left_out.push(LeftOut {
            path: format!("controller.{key}"),
            value: value.clone(),
            why: of_controller(key).to_owned(),
        });
    }
    if !set.is_empty() {
        beside.insert("controller".to_owned(), set.into());
    }
}

/// Something that only a simulation has.
pub(super) fn simulated(
    key: &str,
    value: Option<Value>,
    why: &str,
    beside: &mut Beside,
    left_out: &mut Vec<LeftOut>,
) {
    let Some(value) = value else { return };
    left_out.push(LeftOut { path: key.to_owned(), value: value.clone(), why: why.to_owned() });
    beside.insert(key.to_owned(), value);
}
