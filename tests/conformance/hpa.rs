//! HPA vectors, except whole reconciles: one function a schema.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use thawline::policy::hpa::behavior::{
    Behavior, History, PolicyType, Rules, SelectPolicy, replica_change, store_event,
};
use thawline::policy::hpa::enqueue::{ObjectEvent, enqueue};
use thawline::policy::hpa::group_pods::group_pods;
use thawline::policy::hpa::replica_calculator::{Calculator, resource_values};
use thawline::policy::hpa::requests::{RequestRules, calculate_requests};
use thawline::policy::hpa::stabilize::{Windows, clamp_legacy, stabilize, stabilize_legacy};
use thawline::policy::hpa::status::{StatusQuantity, status_quantity};
use thawline::policy::hpa::types::{Milli, Pod, PodValues, Tolerances};
use thawline::policy::hpa::utilization::{metric_usage, resource_utilization};

use crate::Answer;
use crate::hpa_reconcile::horizontal;
use crate::hpa_types::{
    EventVector, NOW, PodVector, ReadinessVector, RecommendationVector, ResourceVector, RulesVector,
    SampleVector, VERSION, events, pods, recommendations, samples, seconds,
};

/// Runs one vector of a schema. `Err` is a fault of the vector, not of the code under test.
pub fn run(suite: &str, vector: Value) -> Result<Answer, String> {
    match suite {
        "replica_calculator" => replica_calculator(read(vector)?),
        "horizontal" => horizontal(read(vector)?),
        "behavior_rate" => behavior_rate(read(vector)?),
        "stabilization" => stabilization(read(vector)?),
        "scale_events" => scale_events(read(vector)?),
        "convert_rules" => convert_rules(&read(vector)?),
        "group_pods" => groups(read(vector)?),
        "calculate_requests" => requests(read(vector)?),
        "utilization" => utilization(&read(vector)?),
        "behavior_defaults" => behavior_defaults(read(vector)?),
        "status_quantity" => quantity(&read(vector)?),
        "enqueue" => enqueued(&read(vector)?),
        other => Err(format!("unknown schema {other}")),
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("cannot be read: {error}"))
}

/// The results as a map.
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => unreachable!("results are objects: {other}"),
    }
}

/// An answer without an error, in the shape every runner returns.
#[allow(clippy::unnecessary_wraps)]
fn ok(value: Value) -> Result<Answer, String> {
    Ok(Ok(object(value)))
}

fn unknown_call(call: &str) -> Result<Answer, String> {
    Err(format!("unknown call {call}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToleranceVector {
    scale_down: f64,
    scale_up: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CalculatorVector {
    call: String,
    config: ReadinessVector,
    tolerance: ToleranceVector,
    current_replicas: i32,
    target: Milli,
    #[serde(default)]
    pods: Vec<PodVector>,
    metrics: Value,
    resource: Option<String>,
    container: Option<String>,
}

fn replica_calculator(vector: CalculatorVector) -> Result<Answer, String> {
    let pods = pods(vector.pods)?;
    let pods: Vec<&Pod> = pods.iter().collect();
    let calculator = Calculator {
        pods: &pods,
        tolerances: Tolerances { down: vector.tolerance.scale_down, up: vector.tolerance.scale_up },
        readiness: vector.config.readiness(),
        pod_level_resources: true,
        version: VERSION,
        now: NOW,
    };
    let (current, target, container) = (vector.current_replicas, vector.target, vector.container.as_deref());
    let resource = vector.resource.as_deref().unwrap_or("");
    let usage = match vector.call.as_str() {
        "resource_utilization" => {
            let items: Vec<ResourceVector> = read(vector.metrics)?;
            let items: Vec<_> = items.into_iter().map(ResourceVector::sample).collect();
            let percent = i32::try_from(target).map_err(|e| e.to_string())?;
            let answer = resource_values(&items, resource, container)
                .and_then(|samples| calculator.utilization(current, percent, &samples, resource, container));
            return Ok(answer.map_err(|e| e.to_string()).map(|p| {
                object(json!({
                    "replicas": p.replicas,
                    "utilization_percent": p.percent,
                    "average_value_milli": p.average_value,
                }))
            }));
        }
        "resource_average_value" => {
            let items: Vec<ResourceVector> = read(vector.metrics)?;
            let items: Vec<_> = items.into_iter().map(ResourceVector::sample).collect();
            resource_values(&items, resource, container)
                .and_then(|samples| calculator.average(current, target, &samples, resource))
        }
        "pods_average_value" => {
            let vectors: Vec<SampleVector> = read(vector.metrics)?;
            calculator.average(current, target, &samples(vectors), "")
        }
        "object_value" => calculator.object_value(current, target, read(vector.metrics)?),
        "object_average_value" => Ok(calculator.object_average_value(current, target, read(vector.metrics)?)),
        "external_value" => {
            let series: Vec<Milli> = read(vector.metrics)?;
            calculator.external_value(current, target, &series)
        }
        "external_average_value" => {
            let series: Vec<Milli> = read(vector.metrics)?;
            Ok(calculator.external_average_value(current, target, &series))
        }
        other => return unknown_call(other),
    };
    Ok(usage
        .map_err(|e| e.to_string())
        .map(|p| object(json!({ "replicas": p.replicas, "usage_milli": p.usage }))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateVector {
    call: String,
    current_replicas: i32,
    #[serde(default)]
    desired_replicas: i32,
    #[serde(default)]
    min_replicas: i32,
    #[serde(default)]
    max_replicas: i32,
    scale_up: Option<RulesVector>,
    scale_down: Option<RulesVector>,
    #[serde(default)]
    scale_up_events: Vec<EventVector>,
    #[serde(default)]
    scale_down_events: Vec<EventVector>,
}

fn behavior_rate(vector: RateVector) -> Result<Answer, String> {
    let rules = |rules: Option<RulesVector>, direction: &str| {
        rules.ok_or_else(|| format!("rules {direction} are missing"))?.complete()
    };
    let (ups, downs) = (events(vector.scale_up_events), events(vector.scale_down_events));
    let history = History { ups: &ups, downs: &downs, now: NOW };
    let current = vector.current_replicas;
    match vector.call.as_str() {
        "rate_limited_clamp" => {
            let behavior = Behavior {
                scale_up: rules(vector.scale_up, "up")?,
                scale_down: rules(vector.scale_down, "down")?,
            };
            let (desired, min, max) = (vector.desired_replicas, vector.min_replicas, vector.max_replicas);
            let (replicas, reason) = history.clamp(&behavior, current, desired, min, max);
            ok(json!({ "replicas": replicas, "reason": reason.as_str() }))
        }
        "scale_up_limit" => {
            ok(json!({ "limit": history.scale_up_limit(current, &rules(vector.scale_up, "up")?) }))
        }
        "scale_down_limit" => {
            ok(json!({ "limit": history.scale_down_limit(current, &rules(vector.scale_down, "down")?) }))
        }
        other => unknown_call(other),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StabilizationVector {
    call: String,
    #[serde(default)]
    downscale_stabilization_s: f64,
    #[serde(default)]
    scale_up_window_s: f64,
    #[serde(default)]
    scale_down_window_s: f64,
    #[serde(default)]
    current_replicas: i32,
    recommendations: Vec<RecommendationVector>,
    desired_replicas: i32,
}

fn stabilization(vector: StabilizationVector) -> Result<Answer, String> {
    let mut log = recommendations(vector.recommendations);
    let desired = vector.desired_replicas;
    let (replicas, reason) = match vector.call.as_str() {
        "legacy_downscale_stabilization" => {
            let window = seconds(vector.downscale_stabilization_s);
            (stabilize_legacy(&mut log, desired, window, NOW), None)
        }
        "behavior_stabilization" => {
            let windows =
                Windows { up: seconds(vector.scale_up_window_s), down: seconds(vector.scale_down_window_s) };
            let (replicas, reason) = stabilize(&mut log, vector.current_replicas, desired, windows, NOW);
            (replicas, Some(reason.as_str()))
        }
        other => return unknown_call(other),
    };
    let values: Vec<i32> = log.iter().map(|entry| entry.replicas).collect();
    ok(json!({ "replicas": replicas, "reason": reason, "log_length": values.len(), "log": values }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreVector {
    prev_replicas: i32,
    new_replicas: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsVector {
    direction: String,
    rules: Option<RulesVector>,
    previous_events: Vec<EventVector>,
    sum_period_s: f64,
    store: StoreVector,
}

fn scale_events(vector: EventsVector) -> Result<Answer, String> {
    let (prev, new) = (vector.store.prev_replicas, vector.store.new_replicas);
    let goes_up = match vector.direction.as_str() {
        "up" => true,
        "down" => false,
        other => return Err(format!("unknown direction {other}")),
    };
    if (new > prev) != goes_up {
        return Err(format!("{prev} -> {new} is not {}", vector.direction));
    }
    let mut log = events(vector.previous_events);
    let sum = replica_change(&log, seconds(vector.sum_period_s), NOW);
    let rules = vector.rules.map(RulesVector::complete).transpose()?;
    store_event(&mut log, rules.as_ref(), new - prev, NOW);
    let after: Vec<Value> =
        log.iter().map(|e| json!({ "replica_change": e.change, "outdated": e.outdated })).collect();
    ok(json!({ "sum_before_store": sum, "events_after": after }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)]
struct ConvertVector {
    current_replicas: i32,
    desired_replicas: i32,
    min_replicas: i32,
    max_replicas: i32,
}

fn convert_rules(v: &ConvertVector) -> Result<Answer, String> {
    let (replicas, reason) =
        clamp_legacy(v.current_replicas, v.desired_replicas, v.min_replicas, v.max_replicas);
    ok(json!({ "replicas": replicas, "reason": reason.as_str() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupVector {
    config: ReadinessVector,
    resource: String,
    pods: Vec<PodVector>,
    metrics: Vec<SampleVector>,
}

fn groups(vector: GroupVector) -> Result<Answer, String> {
    let pods = pods(vector.pods)?;
    let pods: Vec<&Pod> = pods.iter().collect();
    let groups =
        group_pods(&pods, &samples(vector.metrics), &vector.resource, vector.config.readiness(), NOW);
    ok(json!({
        "ready_pod_count": groups.ready_count,
        "unready": groups.unready,
        "missing": groups.missing,
        "ignored": groups.ignored,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestsVector {
    resource: String,
    container: Option<String>,
    pod_level_resources_enabled: bool,
    pods: Vec<PodVector>,
}

fn requests(vector: RequestsVector) -> Result<Answer, String> {
    let pods = pods(vector.pods)?;
    let pods: Vec<&Pod> = pods.iter().collect();
    let rules = RequestRules {
        pod_level: vector.pod_level_resources_enabled && VERSION.reads_pod_level_requests(),
        misses_absent_containers: VERSION.misses_absent_containers(),
    };
    let answer = calculate_requests(&pods, &vector.resource, vector.container.as_deref(), rules);
    Ok(answer.map(|requests| object(json!({ "requests": requests }))).map_err(|e| e.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UtilizationVector {
    call: String,
    metrics: PodValues,
    #[serde(default)]
    requests: BTreeMap<String, Milli>,
    target_percent: Option<i32>,
    target_milli: Option<Milli>,
}

fn utilization(vector: &UtilizationVector) -> Result<Answer, String> {
    match vector.call.as_str() {
        "resource_utilization_ratio" => {
            let target = vector.target_percent.ok_or("target_percent is missing")?;
            let answer = resource_utilization(&vector.metrics, &vector.requests, target);
            Ok(answer.map_err(|e| e.to_string()).map(|u| {
                object(json!({
                    "ratio": u.ratio,
                    "utilization_percent": u.percent,
                    "average_value_milli": u.average_value,
                }))
            }))
        }
        "metric_usage_ratio" => {
            let usage = metric_usage(&vector.metrics, vector.target_milli.ok_or("target_milli is missing")?);
            ok(json!({ "ratio": usage.ratio, "usage_milli": usage.average_value }))
        }
        other => unknown_call(other),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefaultsVector {
    direction: String,
    input: Option<RulesVector>,
}

fn behavior_defaults(vector: DefaultsVector) -> Result<Answer, String> {
    let input = vector.input.map(RulesVector::input).transpose()?;
    let rules = match vector.direction.as_str() {
        "scale_up" => Rules::scale_up(input.as_ref()),
        "scale_down" => Rules::scale_down(input.as_ref()),
        other => return Err(format!("unknown direction {other}")),
    };
    let whole_seconds = |nanos: i64| nanos / 1_000_000_000;
    let policies: Vec<Value> = rules
        .policies
        .iter()
        .map(|p| {
            let kind = if p.kind == PolicyType::Pods { "Pods" } else { "Percent" };
            json!({ "type": kind, "value": p.value, "period_s": whole_seconds(p.period) })
        })
        .collect();
    let select = match rules.select_policy {
        SelectPolicy::Max => "Max",
        SelectPolicy::Min => "Min",
        SelectPolicy::Disabled => "Disabled",
    };
    ok(json!({
        "policies": policies,
        "stabilization_window_s": rules.stabilization_window.map(whole_seconds),
        "select_policy": select,
        "tolerance": rules.tolerance,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuantityVector {
    resource: String,
    raw_milli: Milli,
}

fn quantity(vector: &QuantityVector) -> Result<Answer, String> {
    let (unit, value, format) = match status_quantity(&vector.resource, vector.raw_milli, VERSION) {
        StatusQuantity::WholeBinary(value) => ("whole", value, "BinarySI"),
        StatusQuantity::MilliDecimal(value) => ("milli", value, "DecimalSI"),
    };
    ok(json!({ "unit": unit, "value": value, "format": format }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnqueueVector {
    event: String,
    hpa_generation_gate: Option<bool>,
    old_generation: Option<i64>,
    new_generation: Option<i64>,
    tombstone: Option<String>,
}

fn enqueued(vector: &EnqueueVector) -> Result<Answer, String> {
    let known = |which: &str, generation: Option<i64>| {
        generation.filter(|_| vector.tombstone.as_deref() != Some(which))
    };
    let event = match vector.event.as_str() {
        "add" => ObjectEvent::Add,
        "update" => ObjectEvent::Update {
            old_generation: known("old", vector.old_generation),
            new_generation: known("new", vector.new_generation),
            generation_gate: vector.hpa_generation_gate.ok_or("hpa_generation_gate is missing")?,
        },
        other => return Err(format!("unknown event {other}")),
    };
    let queued = enqueue(event, VERSION);
    ok(json!({
        "immediate": queued.immediate,
        "rate_limited": queued.rate_limited,
        "selector_registered_before_enqueue": queued.selector_registered_before_enqueue,
    }))
}
