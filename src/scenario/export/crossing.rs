//! A policy as objects of another kind, where these decide the same, and why elsewhere not.

use std::collections::BTreeMap;

use super::names::own_kind;
use super::{Kind, Refusal, Wanted};
use crate::kernel::Quantity;
use crate::policy::hpa::spec::ObjectReference;
use crate::policy::hpa::spec::{
    ContainerResourceSource, ExternalSource, HpaSpec, MetricSourceType, MetricSpec, ResourceSource,
    TargetKind, TargetSpec,
};
use crate::policy::keda::KedaSpec;
use crate::policy::keda::spec::{
    AdvancedSpec, HpaConfigSpec, MetricType, ScaleTarget, ScaledObjectSpec, TriggerSpec,
};
use crate::policy::keda::validate::{hpa_max, hpa_min};
use crate::policy::{PolicySpec, Setting, adapter};

/// A policy that is objects of the kind that is wanted.
#[derive(Debug)]
pub(super) struct Real {
    pub policy: PolicySpec,
    /// In what it differs from the one it was made of.
    pub differs: Vec<String>,
}

/// The policy in the kind that is wanted.
pub(super) fn cross(policy: &PolicySpec, wanted: &Wanted<'_>, setting: &Setting) -> Result<Real, Refusal> {
    let own = own_kind(policy);
    let kind = wanted.kind.or(own);
    let real = match (policy, kind) {
        (_, kind) if kind == own => Real { policy: policy.clone(), differs: Vec::new() },
        (PolicySpec::Hpa(spec), Some(Kind::Keda)) => to_keda(spec, wanted.prometheus, setting)?,
        (PolicySpec::Keda(spec), Some(Kind::Hpa)) => to_hpa(spec)?,
        (_, Some(kind)) => {
            let own = own.map_or("this", Kind::word);
            return Err(Refusal::new(
                "",
                format!(
                    "no {kind} object decides as {an} {own} policy does",
                    an = if own == "hpa" { "an" } else { "a" }
                ),
                match (own, kind) {
                    ("knative", _) => {
                        "Knative's own autoscaler (KPA) counts requests in its queue-proxies: `--as knative`"
                            .to_owned()
                    }
                    _ => format!(
                        "Knative's autoscaler (KPA) counts requests and goes by no metric: `--as {own}`, or simulate a knative policy"
                    ),
                },
            ));
        }
        (_, None) => unreachable!("layers come off until a policy has a kind"),
    };
    // What was made is held against the same rules as what is read.
    if let Some((path, message, help)) = real.policy.check(setting).into_iter().next() {
        return Err(Refusal::new("", format!("as {}, `{path}`: {message}", real.policy.kind()), help));
    }
    Ok(real)
}

/// An HPA as the HPA that KEDA owns, with triggers in the place of its metrics.
fn to_keda(spec: &HpaSpec, prometheus: &str, setting: &Setting) -> Result<Real, Refusal> {
    let min = spec.min_replicas.unwrap_or(1);
    if min == 0 {
        return Err(Refusal::new(
            "minReplicas",
            "an HPA wakes a workload at zero by its metric, and KEDA by its triggers' activity, which is another rule",
            "`--as hpa`, or write a keda policy with `minReplicaCount: 0` and simulate that",
        ));
    }
    if spec.metrics.is_empty() {
        let why = "an HPA without metrics scales on 80 % of the CPU request; a ScaledObject needs a trigger";
        return Err(Refusal::new("", why, "write the metric: `metrics: [{ type: Resource, .. }]`"));
    }
    let mut triggers = Vec::new();
    let mut asks = false;
    for (index, metric) in spec.metrics.iter().enumerate() {
        let path = format!("metrics[{index}]");
        let trigger = match metric.kind {
            MetricSourceType::Resource => {
                metric.resource.as_ref().map(|own| resource(&own.name, None, &own.target))
            }
            MetricSourceType::ContainerResource => metric
                .container_resource
                .as_ref()
                .map(|own| resource(&own.name, Some(&own.container), &own.target)),
            MetricSourceType::External => {
                asks = true;
                metric.external.as_ref().map(|own| query(metric, own, prometheus, setting))
            }
            MetricSourceType::Pods => {
                return Err(Refusal::new(
                    path,
                    "a Pods metric is averaged over the pods that report it, and a trigger's over all there are: they differ \
                 whenever a pod starts",
                    "`--as hpa`; or write the metric with type External, the sum over the pods, and simulate that",
                ));
            }
            MetricSourceType::Object => {
                return Err(Refusal::new(
                    path,
                    "KEDA has no metrics of objects",
                    "`--as hpa`; or write the metric with type External, and simulate that",
                ));
            }
        };
        triggers.extend(trigger);
    }
    let config = HpaConfigSpec { name: None, behavior: spec.behavior.clone() };
    let advanced = AdvancedSpec { horizontal_pod_autoscaler_config: Some(config), ..AdvancedSpec::default() };
    let target = spec.scale_target_ref.as_ref();
    let object = ScaledObjectSpec {
        scale_target_ref: ScaleTarget {
            api_version: target.and_then(|own| own.api_version.clone()),
            kind: target.map(|own| own.kind.clone()),
            name: target.map(|own| own.name.clone()).unwrap_or_default(),
            env_source_container_name: None,
        },
        polling_interval: None,
        cooldown_period: None,
        initial_cooldown_period: None,
        idle_replica_count: None,
        min_replica_count: Some(min),
        max_replica_count: Some(spec.max_replicas),
        fallback: None,
        advanced: spec.behavior.is_some().then_some(advanced),
        triggers,
    };
    let policy = KedaSpec {
        manifest: None,
        object: None,
        name: None,
        annotations: BTreeMap::new(),
        scaled_object: Some(object),
        http_scaled_object: None,
        queues: BTreeMap::new(),
        external: BTreeMap::new(),
        phase: None,
        controller: spec.controller.clone(),
    };
    let differs = asks.then(|| {
        "KEDA asks Prometheus itself, at each look of its HPA, and rounds the sum to thousandths; an adapter rounds each \
         series"
            .to_owned()
    });
    Ok(Real { policy: PolicySpec::Keda(Box::new(policy)), differs: differs.into_iter().collect() })
}

/// A trigger on CPU or memory, which becomes the metric that it was made of.
fn resource(name: &str, container: Option<&str>, target: &TargetSpec) -> TriggerSpec {
    let (value, metric_type) = match target.average_utilization {
        Some(percent) => (percent.to_string(), MetricType::Utilization),
        None => (target.average_value.unwrap_or_default().to_string(), MetricType::AverageValue),
    };
    let mut metadata = BTreeMap::from([("value".to_owned(), value)]);
    metadata.extend(container.map(|own| ("containerName".to_owned(), own.to_owned())));
    trigger(name, metadata, Some(metric_type))
}

/// A trigger that asks what the adapter asks. Nothing to find is an error in both.
fn query(metric: &MetricSpec, own: &ExternalSource, prometheus: &str, setting: &Setting) -> TriggerSpec {
    let asked = metric
        .asks()
        .and_then(|(api, asked, _)| adapter::serve(setting, api, &asked.name, &asked.conditions(), "").ok());
    // What nothing serves was refused as the scenario was read.
    let text = asked.map(|served| served.query.text().to_owned()).unwrap_or_default();
    // The HPA adds series up, and a trigger's query must answer with one.
    let text = format!("sum({})", text.replace("{}", ""));
    let of_whole = own.target.value.is_some();
    let threshold = own.target.value.or(own.target.average_value).unwrap_or_default();
    let metadata = [
        ("serverAddress", prometheus.to_owned()),
        ("query", text),
        ("threshold", decimal(threshold)),
        ("ignoreNullValues", "false".to_owned()),
    ];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
    trigger("prometheus", metadata, of_whole.then_some(MetricType::Value))
}

fn trigger(kind: &str, metadata: BTreeMap<String, String>, metric_type: Option<MetricType>) -> TriggerSpec {
    let (name, authentication_ref) = (None, None);
    TriggerSpec {
        kind: kind.to_owned(),
        name,
        use_cached_metrics: false,
        metadata,
        authentication_ref,
        metric_type,
    }
}

/// A quantity as a decimal number of thousandths, which is as fine as an HPA goes.
fn decimal(quantity: Quantity) -> String {
    let milli = quantity.milli().unwrap_or(i64::MAX);
    let text = format!("{}.{:03}", milli / 1000, milli % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The HPA of a ScaledObject that does no more than own it.
fn to_hpa(spec: &KedaSpec) -> Result<Real, Refusal> {
    const INSTEAD: &str = "`--as keda`";
    let Some(own) = &spec.scaled_object else {
        let why = "an HTTPScaledObject counts requests in its interceptors, and an HPA does not";
        return Err(Refusal::new("httpScaledObject", why, INSTEAD));
    };
    let refuse = |path: &str, why: &str| Err(Refusal::new(path, why, INSTEAD));
    if own.min_replica_count.is_none_or(|min| min <= 0) || own.idle_replica_count.is_some() {
        return refuse(
            "scaledObject.minReplicaCount",
            "KEDA puts the workload to sleep, and an HPA does not",
        );
    }
    if !spec.annotations.is_empty() {
        return refuse("annotations", "they hold KEDA back, and say nothing to an HPA");
    }
    let advanced = own.advanced.as_ref();
    if own.fallback.is_some() || advanced.is_some_and(|own| own.scaling_modifiers.is_some()) {
        let path = if own.fallback.is_some() {
            "scaledObject.fallback"
        } else {
            "scaledObject.advanced.scalingModifiers"
        };
        return refuse(path, "KEDA computes the metric itself, and an HPA does not");
    }
    let mut metrics = Vec::new();
    for (index, trigger) in own.triggers.iter().enumerate() {
        if !trigger.is_resource() {
            return Err(Refusal::new(
                format!("scaledObject.triggers[{index}]"),
                format!("the trigger `{}` is answered by KEDA's own metrics server", trigger.kind),
                "`--as keda`; or write an hpa policy with a metric of type External, and simulate that",
            ));
        }
        metrics.push(resource_metric(trigger));
    }
    let config = advanced.and_then(|own| own.horizontal_pod_autoscaler_config.as_ref());
    let behavior = config.and_then(|own| own.behavior.clone());
    let (min, max) = (hpa_min(own.min_replica_count), hpa_max(own.max_replica_count));
    let target = &own.scale_target_ref;
    let policy = HpaSpec {
        scale_target_ref: Some(ObjectReference {
            api_version: target.api_version.clone(),
            kind: target.kind.clone().unwrap_or_else(|| "Deployment".to_owned()),
            name: target.name.clone(),
        }),
        metrics,
        ..HpaSpec::without_metrics(min, max, behavior, spec.controller.clone())
    };
    Ok(Real { policy: PolicySpec::Hpa(Box::new(policy)), differs: Vec::new() })
}

fn resource_metric(trigger: &TriggerSpec) -> MetricSpec {
    let text = trigger.metadata.get("value").map(String::as_str).unwrap_or_default();
    let is_share = trigger.metric_type != Some(MetricType::AverageValue);
    let target = TargetSpec {
        kind: if is_share { TargetKind::Utilization } else { TargetKind::AverageValue },
        value: None,
        average_value: if is_share { None } else { text.parse().ok() },
        average_utilization: if is_share { text.parse().ok() } else { None },
    };
    let (name, container) = (trigger.kind.clone(), trigger.metadata.get("containerName").cloned());
    let none = MetricSpec {
        kind: MetricSourceType::Resource,
        resource: None,
        container_resource: None,
        pods: None,
        object: None,
        external: None,
    };
    match container {
        Some(container) => MetricSpec {
            kind: MetricSourceType::ContainerResource,
            container_resource: Some(ContainerResourceSource { name, container, target }),
            ..none
        },
        None => MetricSpec { resource: Some(ResourceSource { name, target }), ..none },
    }
}
