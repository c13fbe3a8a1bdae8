//! HPA vectors that run whole reconciles.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use thawline::policy::hpa::behavior::{Behavior, Rules};
use thawline::policy::hpa::cluster::{Cluster, Scale, ScaleReadError, ScaleWriteError};
use thawline::policy::hpa::conditions::{Condition, ConditionReason, ConditionType, Conditions};
use thawline::policy::hpa::metric::{Metric, Target, TargetType};
use thawline::policy::hpa::reconcile::{
    Action, ControllerConfig, Gates, Memory, Reconciled, Spec, reconcile,
};
use thawline::policy::hpa::selector::Selector;
use thawline::policy::hpa::status::{MetricStatus, Status};
use thawline::policy::hpa::types::{MetricError, Milli, Pod, ResourceSample, Samples};

use crate::Answer;
use crate::hpa::object;
use crate::hpa_types::{
    EventVector, NOW, PodVector, RecommendationVector, ResourceVector, RulesVector, SampleVector, VERSION,
    ago, events, pods, readiness, recommendations, samples, seconds,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GatesVector {
    #[serde(rename = "HPAScaleToZero")]
    scale_to_zero: bool,
    #[serde(rename = "HPAConfigurableTolerance")]
    configurable_tolerance: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigVector {
    cpu_initialization_period_s: f64,
    initial_readiness_delay_s: f64,
    tolerance: f64,
    downscale_stabilization_s: f64,
    feature_gates: GatesVector,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectVector {
    #[serde(rename = "api_version")]
    _api_version: String,
    kind: String,
    #[serde(rename = "name")]
    _name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetVector {
    #[serde(rename = "type")]
    kind: String,
    value: Option<Milli>,
    average_value: Option<Milli>,
    average_utilization: Option<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricVector {
    #[serde(rename = "type")]
    kind: String,
    target: Option<TargetVector>,
    resource: Option<String>,
    container: Option<String>,
    metric: Option<String>,
    object: Option<ObjectVector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BehaviorVector {
    scale_up: Option<RulesVector>,
    scale_down: Option<RulesVector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HpaVector {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "namespace")]
    _namespace: String,
    #[serde(rename = "target_kind")]
    _target_kind: String,
    min_replicas: Option<i32>,
    max_replicas: i32,
    metrics: Vec<MetricVector>,
    behavior: Option<BehaviorVector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusVector {
    current_replicas: i32,
    desired_replicas: i32,
    last_scale_age_s: Option<f64>,
    conditions: Vec<(String, String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScaleVector {
    spec_replicas: i32,
    status_replicas: i32,
    selector: String,
    get_error: bool,
    update_errors: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answers<T> {
    error: bool,
    #[serde(alias = "value", alias = "values")]
    items: T,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SamplesVector {
    resource: Answers<Vec<ResourceVector>>,
    pods: Answers<Vec<SampleVector>>,
    object: Answers<Option<Milli>>,
    external: Answers<Vec<Milli>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RivalVector {
    #[serde(rename = "name")]
    _name: String,
    match_labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HorizontalVector {
    config: ConfigVector,
    hpa: HpaVector,
    hpa_status: StatusVector,
    scale: ScaleVector,
    pods: Vec<PodVector>,
    metric_samples: SamplesVector,
    recommendations: Option<Vec<RecommendationVector>>,
    scale_up_events: Vec<EventVector>,
    scale_down_events: Vec<EventVector>,
    other_hpas: Vec<RivalVector>,
    reconcile_count: u32,
}

/// The cluster of a vector.
struct VectorCluster {
    scale: Option<Scale>,
    writes: std::vec::IntoIter<ScaleWriteError>,
    attempts: u32,
    pods: Vec<Pod>,
    rivals: Vec<Selector>,
    resource: Option<Vec<ResourceSample>>,
    custom: Option<Samples>,
    object: Option<Milli>,
    external: Option<Vec<Milli>>,
    reads: Cell<u32>,
}

fn api<T: Clone>(answer: Option<&T>) -> Result<T, MetricError> {
    answer.cloned().ok_or_else(|| MetricError::new("the metrics API failed"))
}

impl Cluster for VectorCluster {
    fn scale(&self) -> Result<Scale, ScaleReadError> {
        self.reads.set(self.reads.get() + 1);
        self.scale.clone().ok_or(ScaleReadError)
    }
    fn set_replicas(&mut self, replicas: i32) -> Result<(), ScaleWriteError> {
        self.attempts += 1;
        if let Some(error) = self.writes.next() {
            return Err(error);
        }
        if let Some(scale) = &mut self.scale {
            scale.spec_replicas = replicas;
        }
        Ok(())
    }
    fn pods(&self) -> &[Pod] {
        &self.pods
    }
    fn rivals(&self) -> &[Selector] {
        &self.rivals
    }
    fn resource_samples(&self, _: &str) -> Result<Vec<ResourceSample>, MetricError> {
        api(self.resource.as_ref())
    }
    fn pods_samples(&self, _: &Metric) -> Result<Samples, MetricError> {
        api(self.custom.as_ref())
    }
    fn object_value(&self, _: &Metric) -> Result<Milli, MetricError> {
        api(self.object.as_ref())
    }
    fn external_values(&self, _: &Metric) -> Result<Vec<Milli>, MetricError> {
        api(self.external.as_ref())
    }
}

fn metric(vector: MetricVector) -> Result<Metric, String> {
    let target = match vector.target {
        None => {
            Target { kind: TargetType::Unknown, value: None, average_value: None, average_utilization: None }
        }
        Some(target) => Target {
            kind: match target.kind.as_str() {
                "Utilization" => TargetType::Utilization,
                "Value" => TargetType::Value,
                "AverageValue" => TargetType::AverageValue,
                "" => TargetType::Unknown,
                other => return Err(format!("unknown target type {other}")),
            },
            value: target.value,
            average_value: target.average_value,
            average_utilization: target.average_utilization,
        },
    };
    let resource = || vector.resource.clone().ok_or("the resource is missing");
    let name = || vector.metric.clone().ok_or("the metric is missing");
    Ok(match vector.kind.as_str() {
        "Resource" => Metric::Resource { name: resource()?, target },
        "ContainerResource" => Metric::ContainerResource {
            name: resource()?,
            container: vector.container.clone().ok_or("the container is missing")?,
            target,
        },
        "Pods" => Metric::Pods { name: name()?, selector: String::new(), target },
        "Object" => Metric::Object {
            selector: String::new(),
            name: name()?,
            kind: vector.object.as_ref().ok_or("the object is missing")?.kind.clone(),
            target,
        },
        "External" => Metric::External { name: name()?, selector: "nil".to_owned(), target },
        other => Metric::Unknown(other.to_owned()),
    })
}

fn conditions(vectors: &[(String, String, String)]) -> Result<Conditions, String> {
    let condition = |(kind, status, reason): &(String, String, String)| {
        Ok(Condition {
            kind: ConditionType::from_word(kind).ok_or_else(|| format!("unknown condition {kind}"))?,
            is_true: match status.as_str() {
                "True" => true,
                "False" => false,
                other => return Err(format!("unknown condition status {other}")),
            },
            reason: ConditionReason::from_word(reason).ok_or_else(|| format!("unknown reason {reason}"))?,
        })
    };
    vectors.iter().map(condition).collect::<Result<_, _>>().map(Conditions::new)
}

fn spec(hpa: HpaVector) -> Result<Spec, String> {
    let behavior = match hpa.behavior {
        None => None,
        Some(behavior) => {
            let up = behavior.scale_up.map(RulesVector::input).transpose()?;
            let down = behavior.scale_down.map(RulesVector::input).transpose()?;
            Some(Behavior {
                scale_up: Rules::scale_up(up.as_ref()),
                scale_down: Rules::scale_down(down.as_ref()),
            })
        }
    };
    Ok(Spec {
        min_replicas: hpa.min_replicas,
        max_replicas: hpa.max_replicas,
        metrics: hpa.metrics.into_iter().map(metric).collect::<Result<_, _>>()?,
        behavior,
    })
}

fn cluster(
    scale: ScaleVector,
    pod_vectors: Vec<PodVector>,
    given: SamplesVector,
    rivals: &[RivalVector],
) -> Result<VectorCluster, String> {
    let write_error = |error: &String| match error.as_str() {
        "conflict" => Ok(ScaleWriteError::Conflict),
        "other" => Ok(ScaleWriteError::Other),
        unknown => Err(format!("unknown update error {unknown}")),
    };
    let writes: Vec<ScaleWriteError> =
        scale.update_errors.iter().map(write_error).collect::<Result<_, _>>()?;
    Ok(VectorCluster {
        scale: (!scale.get_error).then_some(Scale {
            spec_replicas: scale.spec_replicas,
            status_replicas: scale.status_replicas,
            selector: scale.selector,
        }),
        writes: writes.into_iter(),
        attempts: 0,
        pods: pods(pod_vectors)?,
        rivals: rivals.iter().map(|rival| Selector::from_labels(&rival.match_labels)).collect(),
        resource: (!given.resource.error)
            .then(|| given.resource.items.into_iter().map(ResourceVector::sample).collect()),
        custom: (!given.pods.error).then(|| samples(given.pods.items)),
        object: given.object.items.filter(|_| !given.object.error),
        external: (!given.external.error).then_some(given.external.items),
        reads: Cell::new(0),
    })
}

pub fn horizontal(vector: HorizontalVector) -> Result<Answer, String> {
    if vector.reconcile_count == 0 {
        return Err("reconcile_count is 0".to_owned());
    }
    let spec = spec(vector.hpa)?;
    let config = ControllerConfig {
        version: VERSION,
        tolerance: vector.config.tolerance,
        downscale_stabilization: seconds(vector.config.downscale_stabilization_s),
        readiness: readiness(
            vector.config.cpu_initialization_period_s,
            vector.config.initial_readiness_delay_s,
        ),
        gates: Gates {
            scale_to_zero: vector.config.feature_gates.scale_to_zero,
            configurable_tolerance: vector.config.feature_gates.configurable_tolerance,
            pod_level_resources: true,
        },
    };
    let mut memory = Memory {
        recommendations: vector.recommendations.map(recommendations),
        ups: events(vector.scale_up_events),
        downs: events(vector.scale_down_events),
    };
    let mut status = Status {
        current_replicas: vector.hpa_status.current_replicas,
        desired_replicas: vector.hpa_status.desired_replicas,
        current_metrics: Vec::new(),
        last_scale_time: vector.hpa_status.last_scale_age_s.map(ago),
        conditions: conditions(&vector.hpa_status.conditions)?,
    };
    let mut cluster = cluster(vector.scale, vector.pods, vector.metric_samples, &vector.other_hpas)?;
    let mut runs = Vec::new();
    for _ in 0..vector.reconcile_count {
        runs.push(reconcile(&spec, &config, &mut memory, &mut status, &mut cluster, NOW));
    }
    Ok(Ok(results(&spec, &runs, &status, &memory, &cluster)))
}

fn action_word(action: Action) -> &'static str {
    match action {
        Action::ScaleUp => "scale_up",
        Action::ScaleDown => "scale_down",
        Action::None => "none",
    }
}

fn results(
    spec: &Spec,
    runs: &[Reconciled],
    status: &Status,
    memory: &Memory,
    cluster: &VectorCluster,
) -> serde_json::Map<String, Value> {
    let last = runs.last().expect("at least one reconcile ran");
    let condition_list: Vec<Value> = status
        .conditions
        .as_slice()
        .iter()
        .map(|c| json!([c.kind.as_str(), if c.is_true { "True" } else { "False" }, c.reason.as_str()]))
        .collect();
    let metric_results: Vec<Value> = last
        .metrics
        .iter()
        .map(|m| {
            let error_class = match (&m.proposal, m.is_spec_error) {
                (Ok(_), _) => "none",
                (Err(_), true) => "spec",
                (Err(_), false) => "internal",
            };
            let kind = spec.metrics[m.index].type_name();
            json!({ "type": kind, "action": action_word(m.action), "error_class": error_class })
        })
        .collect();
    let changes = |log: &[thawline::policy::hpa::behavior::ScaleEvent]| -> Vec<i32> {
        log.iter().map(|e| e.change).collect()
    };
    let recommendations: Option<Vec<i32>> =
        memory.recommendations.as_ref().map(|log| log.iter().map(|r| r.replicas).collect());
    let mut out = object(json!({
        "desired_replicas": status.desired_replicas,
        "scale_updated": runs.iter().any(|run| run.rescaled),
        "scale_update_attempts": cluster.attempts,
        "conditions": condition_list,
        "action": action_word(last.action),
        "error_class": if last.error.is_some() { "internal" } else { "none" },
        "metric_results": metric_results,
        "any_event": runs.iter().any(|run| !run.events.is_empty()),
        "status_write": runs.iter().any(|run| run.status_written),
        "recommendations_after": recommendations,
        "scale_up_events_after": changes(&memory.ups),
        "scale_down_events_after": changes(&memory.downs),
    }));
    let cpu = spec
        .metrics
        .iter()
        .position(|m| matches!(m, Metric::Resource { name, .. } if name == "cpu"))
        .and_then(|index| status.current_metrics.get(index).copied().flatten());
    if let Some(MetricStatus::Utilization { percent, average_value }) = cpu {
        out.insert("cpu_utilization_percent".to_owned(), percent.into());
        out.insert("cpu_average_value_milli".to_owned(), average_value.into());
    } else if let Some(MetricStatus::Value(value)) = cpu {
        out.insert("cpu_average_value_milli".to_owned(), value.into());
    }
    out
}
