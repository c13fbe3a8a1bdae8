//! Vectors of Ray Serve, AIBrix and WVA: one function a kind, each calling what the policies themselves call.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use thawline::policy::aibrix::rule::{KpaInputs, Limits, apa, kpa};
use thawline::policy::ray::rule::{Counter, Inputs};
use thawline::policy::ray::spec::AutoscalingConfig;
use thawline::policy::wva::v1::{Replica, Thresholds, Variant, analyze, targets};

use crate::cases::{read, same};

/// Checks one case of a kind; `None` if the kind is not one of these.
pub fn check(kind: &str, case: Value) -> Option<Result<(), String>> {
    Some(match kind {
        "ray_serve" => read(case).and_then(|case| ray(&case)),
        "aibrix_apa" => read(case).and_then(|case| aibrix_apa(&case)),
        "aibrix_kpa" => read(case).and_then(|case| aibrix_kpa(&case)),
        "wva_v1_analysis" => read(case).and_then(|case| wva_analysis(&case)),
        "wva_v1_targets" => read(case).and_then(wva_targets),
        _ => return None,
    })
}

/// A case: what goes in and what comes out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<I, E> {
    input: I,
    expect: E,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RayCase {
    input: RayInput,
    expect_target_after_each_tick: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RayInput {
    start_target: u32,
    min: u32,
    max: u32,
    target_ongoing_requests: f64,
    up_factor: f64,
    down_factor: f64,
    upscale_delay_s: f64,
    downscale_delay_s: f64,
    downscale_to_zero_delay_s: Option<f64>,
    ticks: Vec<RayTick>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RayTick {
    running: u32,
    total: f64,
}

/// Ticked one by one, and by passing over the ticks that do not act.
fn ray(case: &RayCase) -> Result<(), String> {
    let input = &case.input;
    let rules = AutoscalingConfig {
        min_replicas: input.min,
        max_replicas: input.max,
        target_ongoing_requests: input.target_ongoing_requests,
        upscaling_factor: input.up_factor,
        downscaling_factor: input.down_factor,
        upscale_delay_s: input.upscale_delay_s,
        downscale_delay_s: input.downscale_delay_s,
        downscale_to_zero_delay_s: input.downscale_to_zero_delay_s,
        ..AutoscalingConfig::default()
    }
    .rules();
    let (mut counter, mut jumper) = (Counter::default(), Counter::default());
    let (mut target, mut found) = (input.start_target, Vec::new());
    for tick in &input.ticks {
        let inputs = Inputs { running: tick.running, total: tick.total, target };
        let acts = jumper.acts_in(&rules, inputs) == Some(1);
        target = counter.tick(&rules, inputs);
        if acts {
            same("target of the tick that acts", &jumper.tick(&rules, inputs), &target)?;
        } else {
            jumper.skip(&rules, inputs, 1);
            same("target of a tick that does not act", &inputs.target, &target)?;
        }
        same("counter", &counter, &jumper)?;
        found.push(target);
    }
    same("targets", &case.expect_target_after_each_tick, &found)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApaInput {
    current: u32,
    target: f64,
    use_per_pod: f64,
    max_up: f64,
    max_down: f64,
    up_tolerance: f64,
    down_tolerance: f64,
}

fn aibrix_apa(case: &Case<ApaInput, u32>) -> Result<(), String> {
    let ApaInput { current, target, use_per_pod, max_up, max_down, up_tolerance, down_tolerance } =
        case.input;
    let limits = Limits { max_up, max_down, up_tolerance, down_tolerance };
    same("replicas", &case.expect, &apa(current, use_per_pod, target, &limits))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KpaInput {
    current: u32,
    target: f64,
    stable: f64,
    panic: f64,
    max_up: f64,
    max_down: f64,
    up_tolerance: f64,
    down_tolerance: f64,
    activation_scale: u32,
    in_panic: bool,
    max_panic_pods: u32,
}

fn aibrix_kpa(case: &Case<KpaInput, u32>) -> Result<(), String> {
    let input = &case.input;
    let limits = Limits {
        max_up: input.max_up,
        max_down: input.max_down,
        up_tolerance: input.up_tolerance,
        down_tolerance: input.down_tolerance,
    };
    let inputs = KpaInputs {
        current: input.current,
        stable: input.stable,
        panic: input.panic,
        target: input.target,
        activation_scale: input.activation_scale,
        in_panic: input.in_panic,
        max_panic_pods: input.max_panic_pods,
    };
    same("replicas", &case.expect, &kpa(&inputs, &limits))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnalysisInput {
    config: Config,
    replicas: Vec<ReplicaVector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    kv_cache_threshold: f64,
    queue_length_threshold: f64,
    kv_spare_trigger: f64,
    queue_spare_trigger: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicaVector {
    kv: f64,
    queue: f64,
}

/// What upstream's test asserts of an analysis.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnalysisExpectation {
    non_saturated: Option<u32>,
    scale_up: Option<bool>,
    scale_down_safe: Option<bool>,
}

fn wva_analysis(case: &Case<AnalysisInput, AnalysisExpectation>) -> Result<(), String> {
    let config = &case.input.config;
    let thresholds = Thresholds {
        kv_cache: config.kv_cache_threshold,
        queue_length: config.queue_length_threshold,
        kv_spare: config.kv_spare_trigger,
        queue_spare: config.queue_spare_trigger,
    };
    let replicas: Vec<Replica> =
        case.input.replicas.iter().map(|own| Replica { kv: own.kv, queue: own.queue }).collect();
    let found = analyze(&replicas, &thresholds);
    let expected = &case.expect;
    if expected.non_saturated.is_none() && expected.scale_up.is_none() && expected.scale_down_safe.is_none() {
        return Err("nothing is expected".to_owned());
    }
    expected.non_saturated.map_or(Ok(()), |wanted| same("non_saturated", &wanted, &found.non_saturated))?;
    expected.scale_up.map_or(Ok(()), |wanted| same("scale_up", &wanted, &found.scale_up))?;
    expected.scale_down_safe.map_or(Ok(()), |wanted| same("scale_down_safe", &wanted, &found.scale_down_safe))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetsInput {
    scale_up: bool,
    scale_down_safe: bool,
    variants: Vec<VariantVector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantVector {
    name: String,
    cost: f64,
    current: u32,
    desired: u32,
    reporting: u32,
    pending: u32,
}

fn wva_targets(case: Case<TargetsInput, BTreeMap<String, u32>>) -> Result<(), String> {
    let TargetsInput { scale_up, scale_down_safe, variants } = case.input;
    let variants: Vec<Variant> = variants
        .into_iter()
        .map(|own| Variant {
            name: own.name,
            cost: own.cost,
            current: own.current,
            desired: own.desired,
            reporting: own.reporting,
            pending: own.pending,
        })
        .collect();
    let found = targets(scale_up, scale_down_safe, &variants);
    let found: BTreeMap<String, u32> = variants.into_iter().map(|own| own.name).zip(found).collect();
    same("targets", &case.expect, &found)
}
