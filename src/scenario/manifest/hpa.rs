//! A HorizontalPodAutoscaler: `spec` is the policy's own, of `autoscaling/v2`.

use super::fields::{HPA_V1, OBJECT};
use super::inlay::Inlay;
use super::walk::{Warn, walk};

/// Where `autoscaling/v1` keeps what it has no fields for, `kubernetes/pkg/apis/autoscaling/annotations.go`.
const V1_ANNOTATIONS: [&str; 2] =
    ["autoscaling.alpha.kubernetes.io/metrics", "autoscaling.alpha.kubernetes.io/behavior"];

pub(super) fn fill(inlay: &mut Inlay<'_>) {
    walk(&inlay.object, &inlay.object.path, OBJECT, Warn::Yes, inlay.found);
    let spec = inlay.path("spec");
    if !inlay.has(&spec) {
        let root = inlay.object.path.clone();
        return inlay.require(&root, "spec");
    }
    let newest = format!("get it with `kubectl get hpa.v2.autoscaling {} -o yaml`", inlay.object.name);
    match inlay.object.version() {
        "v2" => {}
        "v1" => return from_v1(inlay, &newest),
        _ => {
            inlay.demand_version("v2", &newest);
            return;
        }
    }
    bounds(inlay);
    for field in inlay.keys(&spec) {
        let at = inlay.at.key(field);
        inlay.take(&spec.key(field), &at);
    }
}

/// What the API server demands and a policy that is written in a scenario need not have.
fn bounds(inlay: &mut Inlay<'_>) {
    let spec = inlay.path("spec");
    if !inlay.scenario.contains(&inlay.at.key("maxReplicas")) {
        inlay.require(&spec, "maxReplicas");
    }
    if !inlay.scenario.contains(&inlay.at.key("scaleTargetRef")) {
        inlay.require(&spec, "scaleTargetRef");
    }
}

/// Version 1 knows nothing but CPU; the rest of a newer object is in annotations, which nobody should have to read.
fn from_v1(inlay: &mut Inlay<'_>, newest: &str) {
    let annotations = inlay.path("metadata.annotations");
    for key in V1_ANNOTATIONS {
        if inlay.has(&annotations.key(key)) {
            let message = "version v1 of this HorizontalPodAutoscaler keeps its metrics in annotations";
            return inlay.fault_at_key("E0408", &annotations.key(key), message, newest);
        }
    }
    let spec = inlay.path("spec");
    walk(&inlay.object, &spec, HPA_V1, Warn::Yes, inlay.found);
    bounds(inlay);
    for field in ["scaleTargetRef", "minReplicas", "maxReplicas"] {
        let at = inlay.at.key(field);
        inlay.take(&spec.key(field), &at);
    }
    let percent = spec.key("targetCPUUtilizationPercentage");
    if !inlay.has(&percent) {
        return;
    }
    match inlay.text(&percent).and_then(|text| text.parse::<i32>().ok()) {
        Some(value) => {
            let target = format!("{{ type: Utilization, averageUtilization: {value} }}");
            let metrics = format!("[{{ type: Resource, resource: {{ name: cpu, target: {target} }} }}]");
            let at = inlay.at.key("metrics");
            inlay.make(&percent, &at, &metrics);
        }
        None => inlay.fault("E0204", &percent, "expected a whole number", "write e.g. 80"),
    }
}
