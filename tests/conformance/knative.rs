//! Knative vectors: one function a kind.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use thawline::policy::knative::activator::num_activators;
use thawline::policy::knative::annotations::Annotations;
use thawline::policy::knative::apply::{Situation, apply};
use thawline::policy::knative::buckets::{Aggregation, Buckets, smoothing_coefficient};
use thawline::policy::knative::collector::panic_window;
use thawline::policy::knative::config::AutoscalerConfig;
use thawline::policy::knative::max_window::{MaxWindow, TimeWindow};
use thawline::policy::knative::revision::{Reachability, Revision, initial_scale};
use thawline::policy::knative::sample::sample_size;
use thawline::policy::knative::status::{Active, SksMode, active_condition, sks_mode};
use thawline::policy::knative::target::{ScalingMetric, TargetInput, resolve};

use crate::cases::{near, read, same, seconds};
use crate::knative_scale;

/// Checks one case of a kind.
pub fn check(kind: &str, case: Value) -> Result<(), String> {
    match kind {
        "scale_sequences" => knative_scale::sequence(read(case)?),
        "target_resolution" => target(&read(case)?),
        "timed" => buckets(read(case)?, Aggregation::Linear),
        "weighted" => buckets(read(case)?, Aggregation::WeightedExponential),
        "smoothing" => smoothing(&read(case)?),
        "max_window" => max_window(&read(case)?),
        "time_window" => time_window(&read(case)?),
        "kpa_apply" => kpa_apply(&read(case)?),
        "config" => config(read(case)?),
        _ => misc(kind, read(case)?),
    }
}

pub fn metric(name: &str) -> Result<ScalingMetric, String> {
    match name {
        "concurrency" => Ok(ScalingMetric::Concurrency),
        "rps" => Ok(ScalingMetric::Rps),
        other => Err(format!("unknown metric {other}")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetCase {
    input: TargetVector,
    expect: TargetExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetVector {
    metric: String,
    container_concurrency: i64,
    cc_target_fraction: f64,
    target_utilization: f64,
    cc_target_default: f64,
    rps_target_default: f64,
    target_annotation: Option<f64>,
    tu_annotation_pct: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetExpectation {
    target: f64,
    total: f64,
}

fn target(case: &TargetCase) -> Result<(), String> {
    let vector = &case.input;
    let config = AutoscalerConfig {
        container_concurrency_target_fraction: vector.cc_target_fraction,
        target_utilization: vector.target_utilization,
        container_concurrency_target_default: vector.cc_target_default,
        rps_target_default: vector.rps_target_default,
        ..AutoscalerConfig::default()
    };
    let input = TargetInput {
        metric: metric(&vector.metric)?,
        container_concurrency: vector.container_concurrency,
        target: vector.target_annotation,
        utilization_percentage: vector.tu_annotation_pct,
    };
    let resolved = resolve(&input, &config);
    near("target", case.expect.target, resolved.target, 1e-9)?;
    near("total", case.expect.total, resolved.total, 1e-9)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BucketCase {
    window_s: f64,
    granularity_s: f64,
    tolerance: f64,
    ops: Vec<BucketOperation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BucketOperation {
    op: String,
    t_s: f64,
    value: Option<f64>,
    window_s: Option<f64>,
    expect: Option<f64>,
}

fn buckets(case: BucketCase, aggregation: Aggregation) -> Result<(), String> {
    let mut buckets = Buckets::new(seconds(case.window_s), seconds(case.granularity_s), aggregation);
    for (index, operation) in case.ops.into_iter().enumerate() {
        let at = seconds(operation.t_s);
        match operation.op.as_str() {
            "record" => buckets.record(at, operation.value.ok_or("a record without a value")?),
            "resize" => buckets.resize(seconds(operation.window_s.ok_or("a resize without a window")?), at),
            "average" => {
                let expected = operation.expect.ok_or("an average without an expectation")?;
                let what = format!("operation {index} at {}", operation.t_s);
                near(&what, expected, buckets.average(at), case.tolerance)?;
            }
            other => return Err(format!("unknown operation {other}")),
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SmoothingCase {
    num_buckets: f64,
    tolerance: f64,
    expect: f64,
}

fn smoothing(case: &SmoothingCase) -> Result<(), String> {
    near("coefficient", case.expect, smoothing_coefficient(case.num_buckets), case.tolerance)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaxWindowCase {
    size: i64,
    records: Vec<SlotRecord>,
    expect_current_after_each: Vec<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotRecord {
    index: i64,
    value: i32,
}

fn max_window(case: &MaxWindowCase) -> Result<(), String> {
    let mut window = MaxWindow::new(case.size);
    let after = |record: &SlotRecord| {
        window.record(record.index, record.value);
        window.current()
    };
    let currents: Vec<i32> = case.records.iter().map(after).collect();
    same("current after each", &case.expect_current_after_each, &currents)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeWindowCase {
    duration_s: f64,
    granularity_s: f64,
    records: Vec<TimeRecord>,
    expect_current: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeRecord {
    t_s: f64,
    value: i32,
}

fn time_window(case: &TimeWindowCase) -> Result<(), String> {
    let mut window = TimeWindow::new(seconds(case.duration_s), seconds(case.granularity_s));
    for record in &case.records {
        window.record(seconds(record.t_s), record.value);
    }
    same("current", &case.expect_current, &window.current())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplyCase {
    input: ApplyVector,
    expect: ApplyExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)]
struct ApplyVector {
    current_replicas: i32,
    desired: i32,
    min_scale: i32,
    max_scale: i32,
    initial_scale: i32,
    scale_target_initialized: bool,
    reachability: String,
    enable_scale_to_zero: bool,
    stable_window_s: f64,
    grace_s: f64,
    retention_s: f64,
    progress_deadline_s: f64,
    tbc: f64,
    active_status: String,
    status_for_s: f64,
    sks_mode: String,
    sks_proxy_for_s: f64,
    activator_probe_ok: bool,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct ApplyExpectation {
    desired: i32,
    applied: bool,
    requeues: usize,
    async_probes: usize,
}

fn active(name: &str) -> Result<Active, String> {
    match name {
        "active" => Ok(Active::Active),
        "inactive" => Ok(Active::Inactive),
        "activating" => Ok(Active::Activating),
        other => Err(format!("unknown status {other}")),
    }
}

fn kpa_apply(case: &ApplyCase) -> Result<(), String> {
    let vector = &case.input;
    let now = seconds(1e6);
    let reachability = match vector.reachability.as_str() {
        "unreachable" => Reachability::Unreachable,
        "reachable" => Reachability::Reachable,
        "unknown" => Reachability::Unknown,
        other => return Err(format!("unknown reachability {other}")),
    };
    let annotations = Annotations {
        progress_deadline: Some(seconds(vector.progress_deadline_s)),
        window: Some(seconds(vector.stable_window_s)),
        pod_retention_period: Some(seconds(vector.retention_s)),
        min_scale: Some(vector.min_scale),
        max_scale: Some(vector.max_scale),
        target_burst_capacity: Some(vector.tbc),
        ..Annotations::default()
    };
    let config = AutoscalerConfig {
        enable_scale_to_zero: vector.enable_scale_to_zero,
        scale_to_zero_grace_period: seconds(vector.grace_s),
        initial_scale: vector.initial_scale,
        ..AutoscalerConfig::default()
    };
    let revision = Revision { annotations, config, container_concurrency: 0, reachability };
    let mode = match vector.sks_mode.as_str() {
        "serve" => SksMode::Serve,
        "proxy" => SksMode::Proxy,
        other => return Err(format!("unknown mode {other}")),
    };
    let situation = Situation {
        current: vector.current_replicas,
        active: active(&vector.active_status)?,
        active_since: now - seconds(vector.status_for_s),
        initialized: vector.scale_target_initialized,
        mode,
        proxied_since: Some(now - seconds(vector.sks_proxy_for_s)),
        activator_answers: vector.activator_probe_ok,
    };
    let applied = apply(vector.desired, revision.bounds(), &revision.scale_to_zero(), &situation, now);
    let got = ApplyExpectation {
        desired: applied.want,
        applied: applied.write,
        requeues: usize::from(applied.requeue_after.is_some()),
        async_probes: usize::from(applied.probe),
    };
    same("applied", &case.expect, &got)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigCase {
    input: BTreeMap<String, String>,
    expect: ConfigExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigExpectation {
    valid: bool,
    #[serde(default)]
    effective: Map<String, Value>,
}

fn config(case: ConfigCase) -> Result<(), String> {
    let config = match AutoscalerConfig::from_data(&case.input) {
        Ok(config) => config,
        Err(faults) if case.expect.valid => return Err(format!("expected it to be valid, got {faults:?}")),
        Err(_) => return Ok(()),
    };
    same("valid", &case.expect.valid, &true)?;
    for (key, expected) in case.expect.effective {
        if let Some(expected) = expected.as_bool() {
            let got = match key.as_str() {
                "enable-scale-to-zero" => config.enable_scale_to_zero,
                "allow-zero-initial-scale" => config.allow_zero_initial_scale,
                other => return Err(format!("unknown key {other}")),
            };
            same(&key, &expected, &got)?;
        } else {
            let expected = expected.as_f64().ok_or("neither a number nor a boolean")?;
            near(&key, expected, number(&config, &key)?, 1e-9)?;
        }
    }
    Ok(())
}

fn number(config: &AutoscalerConfig, key: &str) -> Result<f64, String> {
    let in_seconds = |nanos: i64| nanos as f64 / 1e9;
    Ok(match key {
        "max-scale-up-rate" => config.max_scale_up_rate,
        "max-scale-down-rate" => config.max_scale_down_rate,
        "container-concurrency-target-fraction" => config.container_concurrency_target_fraction,
        "container-concurrency-target-default" => config.container_concurrency_target_default,
        "requests-per-second-target-default" => config.rps_target_default,
        "target-burst-capacity" => config.target_burst_capacity,
        "activator-capacity" => config.activator_capacity,
        "panic-window-percentage" => config.panic_window_percentage,
        "panic-threshold-percentage" => config.panic_threshold_percentage,
        "stable-window_s" => in_seconds(config.stable_window),
        "scale-down-delay_s" => in_seconds(config.scale_down_delay),
        "scale-to-zero-grace-period_s" => in_seconds(config.scale_to_zero_grace_period),
        "scale-to-zero-pod-retention-period_s" => in_seconds(config.scale_to_zero_pod_retention_period),
        "initial-scale" => f64::from(config.initial_scale),
        "min-scale" => f64::from(config.min_scale),
        "max-scale" => f64::from(config.max_scale),
        "max-scale-limit" => f64::from(config.max_scale_limit),
        other => return Err(format!("unknown key {other}")),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MiscCase {
    input: Value,
    expect: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PanicWindow {
    stable_window_s: f64,
    panic_window_percentage: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InitialScaleVector {
    config_initial_scale: i32,
    annotation: Option<i32>,
    allow_zero_initial_scale: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumActivators {
    ready_pods: i32,
    total_value: f64,
    target_burst_capacity: f64,
    activator_capacity: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Population {
    population: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActiveCondition {
    want: i32,
    ready: i32,
    min_ready: i32,
    status: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mode {
    want: i32,
    ebc: i32,
    pa_inactive: bool,
}

fn misc(kind: &str, case: MiscCase) -> Result<(), String> {
    let got: Value = match kind {
        "panic_window" => {
            let v: PanicWindow = read(case.input)?;
            (panic_window(seconds(v.stable_window_s), v.panic_window_percentage) / 1_000_000_000).into()
        }
        "initial_scale" => {
            let v: InitialScaleVector = read(case.input)?;
            let config = AutoscalerConfig {
                initial_scale: v.config_initial_scale,
                allow_zero_initial_scale: v.allow_zero_initial_scale,
                ..AutoscalerConfig::default()
            };
            initial_scale(v.annotation, &config).into()
        }
        "num_activators" => {
            let v: NumActivators = read(case.input)?;
            num_activators(v.ready_pods, v.total_value, v.target_burst_capacity, v.activator_capacity).into()
        }
        "sample_size" => sample_size(read::<Population>(case.input)?.population).into(),
        "active_condition" => {
            let v: ActiveCondition = read(case.input)?;
            match active_condition(v.want, v.ready, v.min_ready, active(&v.status)?) {
                Active::Active => "active".into(),
                Active::Inactive => "inactive".into(),
                Active::Activating => "activating".into(),
            }
        }
        "sks_mode" => {
            let v: Mode = read(case.input)?;
            match sks_mode(v.want, v.ebc, v.pa_inactive) {
                SksMode::Serve => "serve".into(),
                SksMode::Proxy => "proxy".into(),
            }
        }
        other => return Err(format!("unknown kind {other}")),
    };
    same(kind, &case.expect, &got)
}
