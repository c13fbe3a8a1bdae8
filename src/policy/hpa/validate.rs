//! What is wrong with an HPA: upstream's validation, and names that the simulator lacks.
//!
//! After Kubernetes' `pkg/apis/autoscaling/validation`. Types and unknown fields are the
//! reader's to refuse; here are the rules between values.

use super::spec::{
    BehaviorSpec, HpaSpec, LabelSelector, MetricIdentifier, MetricSourceType, MetricSpec, RulesSpec,
    TargetKind, TargetSpec,
};
use crate::kernel::Quantity;
use crate::policy::{Fault, Setting, adapter};

/// Longest `stabilizationWindowSeconds`.
const LONGEST_WINDOW_S: i32 = 3600;
/// Longest `periodSeconds`.
const LONGEST_PERIOD_S: i32 = 1800;

/// Collects faults below a path.
struct Findings {
    faults: Vec<Fault>,
}

impl Findings {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push((path.into(), message.into(), help.into()));
    }
}

/// Everything that is wrong with a spec; paths are relative to it.
pub fn validate(spec: &HpaSpec, setting: &Setting) -> Vec<Fault> {
    let mut findings = Findings { faults: Vec::new() };
    replicas(spec, &mut findings);
    for (index, metric) in spec.metrics.iter().enumerate() {
        let path = format!("metrics[{index}]");
        if let Some((api, asked, below)) = metric.asks() {
            let path = format!("{path}.{below}");
            let served = adapter::serve(setting, api, &asked.name, &asked.conditions(), &path);
            findings.faults.extend(served.err().unwrap_or_default());
        }
        metric_source(metric, &path, &mut findings);
    }
    one_container(spec, &mut findings);
    if let Some(behavior) = &spec.behavior {
        behavior_rules(behavior, &mut findings);
    }
    controller(spec, &mut findings);
    findings.faults
}

fn replicas(spec: &HpaSpec, findings: &mut Findings) {
    if spec.max_replicas < 1 {
        findings.add(
            "maxReplicas",
            format!("maxReplicas is {}, which leaves no replica", spec.max_replicas),
            "write at least 1",
        );
    }
    let Some(min) = spec.min_replicas else { return };
    if min < 0 {
        findings.add("minReplicas", format!("minReplicas is {min}"), "write 0 or more");
    }
    if min > spec.max_replicas {
        findings.add(
            "minReplicas",
            format!("minReplicas {min} is above maxReplicas {}", spec.max_replicas),
            "lower minReplicas or raise maxReplicas",
        );
    }
    let can_wake =
        spec.metrics.iter().any(|m| matches!(m.kind, MetricSourceType::Object | MetricSourceType::External));
    if min == 0 && !spec.controller.gates().scale_to_zero {
        let version = spec.controller.kubernetes_version;
        findings.add(
            "minReplicas",
            format!("minReplicas 0 needs the feature gate HPAScaleToZero, which is off in this Kubernetes {version}"),
            "write minReplicas: 1, or switch it on: controller: {featureGates: {HPAScaleToZero: true}}",
        );
    }
    if min == 0 && !can_wake {
        findings.add(
            "minReplicas",
            "minReplicas 0 without an Object or External metric: nothing could wake it up",
            "add an External metric such as gateway_queue_length, or write minReplicas: 1",
        );
    }
}

fn metric_source(metric: &MetricSpec, path: &str, findings: &mut Findings) {
    let given = [
        (MetricSourceType::Resource, metric.resource.is_some()),
        (MetricSourceType::ContainerResource, metric.container_resource.is_some()),
        (MetricSourceType::Pods, metric.pods.is_some()),
        (MetricSourceType::Object, metric.object.is_some()),
        (MetricSourceType::External, metric.external.is_some()),
    ];
    let field = metric.kind.field();
    for (kind, is_given) in given {
        if kind == metric.kind && !is_given {
            findings.add(
                format!("{path}.type"),
                format!("type {:?} without `{field}`", metric.kind),
                format!("add `{field}:` beside it, or name the type of what is given"),
            );
        } else if kind != metric.kind && is_given {
            findings.add(
                format!("{path}.{}", kind.field()),
                format!("`{}` does not belong to type {:?}", kind.field(), metric.kind),
                format!("remove it, or write type: {kind:?}"),
            );
        }
    }
    sources(metric, path, findings);
}

fn sources(metric: &MetricSpec, path: &str, findings: &mut Findings) {
    if let Some(source) = &metric.resource {
        resource_name(&source.name, &format!("{path}.resource.name"), findings);
        resource_target(&source.target, &format!("{path}.resource.target"), findings);
    }
    if let Some(source) = &metric.container_resource {
        let path = format!("{path}.containerResource");
        resource_name(&source.name, &format!("{path}.name"), findings);
        if source.container.is_empty() {
            findings.add(format!("{path}.container"), "the container has no name", "name the container");
        }
        resource_target(&source.target, &format!("{path}.target"), findings);
    }
    if let Some(source) = &metric.pods {
        let path = format!("{path}.pods");
        selector(&source.metric, &path, findings);
        let path = format!("{path}.target");
        values(&source.target, &path, findings);
        if source.target.average_value.is_none() {
            findings.add(
                path,
                "a Pods metric needs a value per replica",
                "write {type: AverageValue, averageValue: ..}",
            );
        }
    }
    if let Some(source) = &metric.object {
        let path = format!("{path}.object");
        selector(&source.metric, &path, findings);
        for (field, text) in
            [("kind", &source.described_object.kind), ("name", &source.described_object.name)]
        {
            if text.is_empty() {
                let path = format!("{path}.describedObject.{field}");
                findings.add(path, format!("the object has no {field}"), "name the object that is described");
            }
        }
        value_target(&source.target, &format!("{path}.target"), false, findings);
    }
    if let Some(source) = &metric.external {
        let path = format!("{path}.external");
        selector(&source.metric, &path, findings);
        value_target(&source.target, &format!("{path}.target"), true, findings);
    }
}

fn selector(metric: &MetricIdentifier, path: &str, findings: &mut Findings) {
    let faults = metric.selector.iter().flat_map(LabelSelector::check);
    findings.faults.extend(faults.map(|(below, m, h)| (format!("{path}.metric.selector.{below}"), m, h)));
}

fn resource_name(name: &str, path: &str, findings: &mut Findings) {
    if !matches!(name, "cpu" | "memory") {
        findings.add(
            path,
            format!("resource `{name}` is not simulated"),
            "write cpu or memory; for GPUs scale on vllm:kv_cache_usage_perc or DCGM_FI_DEV_GPU_UTIL (type Pods)",
        );
    }
}

fn resource_target(target: &TargetSpec, path: &str, findings: &mut Findings) {
    values(target, path, findings);
    if target.average_utilization.is_some() == target.average_value.is_some() {
        findings.add(
            path,
            "a resource needs exactly one of averageUtilization and averageValue",
            "write {type: Utilization, averageUtilization: 60}",
        );
    }
    if target.value.is_some() {
        let help = "write averageUtilization or averageValue";
        findings.add(format!("{path}.value"), "a resource has no target of the whole", help);
    }
}

fn value_target(target: &TargetSpec, path: &str, exactly_one: bool, findings: &mut Findings) {
    values(target, path, findings);
    let (value, average) = (target.value.is_some(), target.average_value.is_some());
    if !value && !average {
        findings.add(path, "neither value nor averageValue is given", "give one of them");
    } else if exactly_one && value && average {
        findings.add(path, "both value and averageValue are given", "give exactly one of them");
    } else if !exactly_one {
        let is_met = match target.kind {
            TargetKind::Value => value,
            TargetKind::AverageValue => average,
            TargetKind::Utilization => false,
        };
        if !is_met {
            let message = format!("type {:?} does not name the field that is given", target.kind);
            findings.add(
                format!("{path}.type"),
                message,
                "write Value with value, AverageValue with averageValue",
            );
        }
    }
}

fn values(target: &TargetSpec, path: &str, findings: &mut Findings) {
    for (field, quantity) in [("value", target.value), ("averageValue", target.average_value)] {
        let Some(quantity) = quantity else { continue };
        match quantity.milli() {
            Some(milli) if milli > 0 => {}
            Some(_) => findings.add(
                format!("{path}.{field}"),
                format!("{field} is {quantity}"),
                "write a positive quantity",
            ),
            None => findings.add(
                format!("{path}.{field}"),
                format!("{field} is beyond the controller's range of 64 bits"),
                "write at most 9223372036854775",
            ),
        }
    }
    if let Some(percent) = target.average_utilization
        && percent < 1
    {
        let path = format!("{path}.averageUtilization");
        findings.add(path, format!("averageUtilization is {percent} %"), "write at least 1");
    }
}

/// A simulated pod is one container, so two names cannot both be it.
fn one_container(spec: &HpaSpec, findings: &mut Findings) {
    let mut first: Option<&str> = None;
    for (index, metric) in spec.metrics.iter().enumerate() {
        let Some(source) = &metric.container_resource else { continue };
        match first {
            None => first = Some(&source.container),
            Some(name) if name != source.container => findings.add(
                format!("metrics[{index}].containerResource.container"),
                format!(
                    "container `{}` beside `{name}`: a simulated replica is one container",
                    source.container
                ),
                "keep the metric of the serving container",
            ),
            Some(_) => {}
        }
    }
}

fn behavior_rules(behavior: &BehaviorSpec, findings: &mut Findings) {
    for (field, rules) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
        if let Some(rules) = rules {
            direction_rules(rules, &format!("behavior.{field}"), findings);
        }
    }
}

fn direction_rules(rules: &RulesSpec, path: &str, findings: &mut Findings) {
    if let Some(window) = rules.stabilization_window_seconds
        && !(0..=LONGEST_WINDOW_S).contains(&window)
    {
        let path = format!("{path}.stabilizationWindowSeconds");
        let message = format!("a stabilisation window of {window} s");
        findings.add(path, message, format!("write 0 to {LONGEST_WINDOW_S}"));
    }
    if rules.tolerance.is_some_and(|t| t < Quantity::default()) {
        findings.add(format!("{path}.tolerance"), "a negative tolerance", "write 0 or more, e.g. 0.05");
    }
    let Some(policies) = &rules.policies else { return };
    if policies.is_empty() {
        let help = "leave `policies` out for upstream's defaults, or select Disabled to forbid changes";
        findings.add(format!("{path}.policies"), "an empty list of policies", help);
    }
    for (index, policy) in policies.iter().enumerate() {
        let path = format!("{path}.policies[{index}]");
        if policy.value < 1 {
            let message = format!("a policy of {} allows nothing", policy.value);
            let help = "write at least 1, or selectPolicy: Disabled to forbid changes";
            findings.add(format!("{path}.value"), message, help);
        }
        if !(1..=LONGEST_PERIOD_S).contains(&policy.period_seconds) {
            let message = format!("a period of {} s", policy.period_seconds);
            findings.add(format!("{path}.periodSeconds"), message, format!("write 1 to {LONGEST_PERIOD_S}"));
        }
    }
}

fn controller(spec: &HpaSpec, findings: &mut Findings) {
    let controller = &spec.controller;
    findings
        .faults
        .extend(controller.check_gates().into_iter().map(|(p, m, h)| (format!("controller.{p}"), m, h)));
    if controller.created_at_start && controller.phase.is_some() {
        findings.add(
            "controller.phase",
            "the first reconcile is settled twice: by `phase` and by `createdAtStart`",
            "remove one of them",
        );
    }
    if controller.sync_period.is_zero() {
        findings.add("controller.syncPeriod", "a sync period of 0", "write e.g. 15s");
    }
    if !(controller.tolerance.is_finite() && controller.tolerance >= 0.0) {
        let message = format!("a tolerance of {}", controller.tolerance);
        findings.add("controller.tolerance", message, "write a fraction of 0 or more, e.g. 0.1");
    }
}
