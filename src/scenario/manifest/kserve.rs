//! KServe's InferenceService, which Knative serves: its predictor's scaling as the annotations that KServe makes of it.
//!
//! After kserve/kserve `pkg/controller/v1beta1/inferenceservice/reconcilers/knative/ksvc_reconciler.go` (aaac4e29).

use super::fields::table_of;
use super::inlay::Inlay;
use super::knative;
use super::walk::{Warn, walk};
use crate::yaml::Path;

const MODE: &str = "serving.kserve.io/deploymentMode";
const CLASS: &str = "serving.kserve.io/autoscalerClass";

/// Fields of a predictor, and the annotations that KServe gives its Knative Service for them.
const ANNOTATIONS: [(&str, &str); 4] = [
    ("minReplicas", "autoscaling.knative.dev/min-scale"),
    ("maxReplicas", "autoscaling.knative.dev/max-scale"),
    ("scaleTarget", "autoscaling.knative.dev/target"),
    ("scaleMetric", "autoscaling.knative.dev/metric"),
];

pub(super) fn fill(inlay: &mut Inlay<'_>) {
    walk(&inlay.object, &inlay.object.path, table_of("InferenceService"), Warn::No, inlay.found);
    let predictor = inlay.path("spec.predictor");
    if !inlay.has(&predictor) {
        let spec = inlay.path("spec");
        return inlay.require(&spec, "predictor");
    }
    if !inlay.demand_version("v1beta1", "write it as version v1beta1") || !is_of_knative(inlay, &predictor) {
        return;
    }
    let at = inlay.at.clone();
    let name = inlay.path("metadata.name");
    inlay.take(&name, &at.key("name"));
    // What the predictor says wins over annotations: KServe writes it over them.
    let annotations = at.key("annotations");
    for (field, annotation) in ANNOTATIONS {
        let path = predictor.key(field);
        let value = inlay.text(&path).map(str::to_owned);
        match value {
            // 0 is KServe's "no maximum", and no annotation.
            Some(value) if field == "maxReplicas" && value == "0" => {}
            Some(value) => {
                let quoted = serde_json::Value::from(value).to_string();
                inlay.make(&path, &annotations.key(annotation), &quoted);
            }
            // An InferenceService keeps one replica unless it says otherwise.
            None if field == "minReplicas" => inlay.make(&predictor, &annotations.key(annotation), "\"1\""),
            None => {}
        }
    }
    for path in [predictor.key("annotations"), inlay.path("metadata.annotations")] {
        knative::take_scaling(inlay, &path);
    }
    inlay.take(&predictor.key("containerConcurrency"), &at.key("containerConcurrency"));
    inlay.take(&predictor.key("timeout"), &at.key("timeoutSeconds"));
}

/// Whether Knative scales it, and not an HPA or KEDA over a Deployment.
fn is_of_knative(inlay: &mut Inlay<'_>, predictor: &Path) -> bool {
    let annotations = inlay.path("metadata.annotations");
    let known = inlay.found.faults.len();
    // What KServe has decided is in the status; what it was asked for, in the annotation.
    for path in [inlay.path("status.deploymentMode"), annotations.key(MODE)] {
        if let Some(mode) = inlay.text(&path).filter(|mode| !matches!(*mode, "Serverless" | "Knative")) {
            let message = format!("with the mode {mode}, KServe scales a Deployment and not by Knative");
            let help = "write `hpa: { manifest: .. }` with the HPA, or `keda: { manifest: .. }` with the ScaledObject, that KServe makes of it";
            inlay.fault("E0408", &path, message, help);
            return false;
        }
    }
    if let Some(class) = inlay.text(&annotations.key(CLASS)) {
        let help = match class {
            "keda" => "write `keda: { manifest: .. }` with the ScaledObject that KServe makes of it",
            "hpa" => "write `hpa: { manifest: .. }` with the HPA that KServe makes of it",
            _ => "write the policy that scales its Deployment",
        };
        let message = format!("with the autoscaler class {class}, KServe does not scale by Knative");
        inlay.fault("E0408", &annotations.key(CLASS), message, help);
    }
    let auto = predictor.key("autoScaling");
    if inlay.has(&auto) {
        let help = "write `keda: { manifest: .. }` with the ScaledObject that KServe makes of it";
        inlay.fault_at_key("E0408", &auto, "`autoScaling` is for Deployments, not for Knative", help);
    }
    let metric = predictor.key("scaleMetric");
    if let Some(resource) = inlay.text(&metric).filter(|metric| matches!(*metric, "cpu" | "memory")) {
        let message = format!("Knative does not scale on {resource}");
        let help =
            "write `hpa: { manifest: .. }` with the HPA that KServe makes of it, or concurrency or rps";
        inlay.fault("E0408", &metric, message, help);
    }
    inlay.found.faults.len() == known
}
