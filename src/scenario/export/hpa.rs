//! A HorizontalPodAutoscaler of `autoscaling/v2`, and the rules of prometheus-adapter that answer for its metrics.

use serde_json::Value;

use super::beside::{self, Beside};
use super::{Exported, Names, adapter, object, spec_value};
use crate::kernel::Quantity;
use crate::policy::hpa::spec::{BehaviorSpec, HpaSpec};
use crate::policy::{PolicySpec, Setting};

pub(super) fn export(spec: &HpaSpec, names: &Names, setting: &Setting, exported: &mut Exported) -> Beside {
    let mut own = spec_value(spec);
    for key in ["manifest", "object", "controller", "scaleTargetRef"] {
        own.shift_remove(key);
    }
    own.shift_insert(0, "scaleTargetRef".to_owned(), names.target.value());
    // `metrics: []` says nothing, and `behavior: {}` does.
    let body = ("spec", Value::Object(own));
    exported.objects.push(object("autoscaling/v2", "HorizontalPodAutoscaler", names.metadata(), body));
    needs(spec, exported);
    adapter::export(&PolicySpec::Hpa(Box::new(spec.clone())), setting, exported);
    let mut beside = Beside::new();
    beside::controller(&spec.controller, &mut beside, &mut exported.left_out);
    beside
}

/// Gates that must be on where the cluster's release has them off.
fn needs(spec: &HpaSpec, exported: &mut Exported) {
    if spec.min_replicas == Some(0) {
        exported
            .needs
            .push("minReplicas 0: the feature gate HPAScaleToZero (on since Kubernetes 1.37)".to_owned());
    }
    let has_tolerance = |behavior: &BehaviorSpec| {
        let both = [&behavior.scale_up, &behavior.scale_down];
        both.into_iter().flatten().any(|rules| rules.tolerance.is_some_and(|t| t >= Quantity::default()))
    };
    if spec.behavior.as_ref().is_some_and(has_tolerance) {
        let gate = "tolerance: the feature gate HPAConfigurableTolerance (on since Kubernetes 1.35)";
        exported.needs.push(gate.to_owned());
    }
}
