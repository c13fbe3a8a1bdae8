//! KEDA vectors: one function a kind.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use thawline::policy::keda::cron::CronTrigger;
use thawline::policy::keda::executor::{Pause, Poll, Ready, ScaleRules, decide};
use thawline::policy::keda::fallback::{Context, MetricTarget, ModifiersTarget, Reading, read_with_fallback};
use thawline::policy::keda::formula::{Formula, Triggers};
use thawline::policy::keda::modifiers::ScalingModifiers;
use thawline::policy::keda::prometheus::{Answer, value};
use thawline::policy::keda::quantity::{is_active, metric_milli};
use thawline::policy::keda::spec::{FallbackBehavior, FallbackSpec};
use thawline::policy::keda::validate::{bounds_fault, hpa_max, hpa_min};

use crate::cases::{near, read, same, seconds};

/// Checks one case of a kind.
pub fn check(kind: &str, case: Value) -> Result<(), String> {
    match kind {
        "executor" => executor(&read(case)?),
        "executor_timelines" => timeline(&read(case)?),
        "fallback" => fallback(&read(case)?),
        "scaling_modifiers" => modifiers(read(case)?),
        "cron_metadata" => cron_metadata(&read(case)?),
        "cron_activity" => cron_activity(read(case)?),
        "bounds" => bounds(&read(case)?),
        "hpa_bounds" => hpa_bounds(&read(case)?),
        "prometheus_result" => prometheus(&read(case)?),
        "activation" => activation(&read(case)?),
        "quantity_milli" => quantity(&read(case)?),
        other => Err(format!("unknown kind {other}")),
    }
}

/// A case: what goes in and what comes out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<I, E> {
    input: I,
    expect: E,
}

/// Upstream's default, s.
const COOLDOWN_S: f64 = 300.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)]
struct ExecutorInput {
    current_replicas: i32,
    min_replicas: Option<i32>,
    idle_replicas: Option<i32>,
    fallback_replicas: Option<i32>,
    is_active: bool,
    is_error: bool,
    force_activation: bool,
    paused: bool,
    paused_scale_in: bool,
    paused_scale_out: bool,
    cooldown_s: Option<f64>,
    initial_cooldown_s: Option<f64>,
    last_active_age_s: Option<f64>,
    object_age_s: f64,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct ExecutorExpectation {
    action: String,
    replicas: i32,
    updates_last_active: bool,
    active: String,
    ready: String,
}

fn executor(case: &Case<ExecutorInput, ExecutorExpectation>) -> Result<(), String> {
    let input = &case.input;
    let now = seconds(2e9);
    let rules = ScaleRules {
        min_replicas: input.min_replicas,
        idle_replicas: input.idle_replicas,
        fallback_replicas: input.fallback_replicas,
        cooldown: seconds(input.cooldown_s.unwrap_or(COOLDOWN_S)),
        initial_cooldown: seconds(input.initial_cooldown_s.unwrap_or(0.0)),
        pause: Pause {
            all: input.paused,
            scale_in: input.paused_scale_in,
            scale_out: input.paused_scale_out,
        },
        force_activation: input.force_activation,
    };
    let poll = Poll {
        current: input.current_replicas,
        active: input.is_active,
        error: input.is_error,
        last_active: input.last_active_age_s.map(|age| now - seconds(age)),
        created: now - seconds(input.object_age_s),
        now,
    };
    let decided = decide(&rules, &poll);
    let got = ExecutorExpectation {
        action: if decided.replicas.is_some() { "scale" } else { "none" }.to_owned(),
        replicas: decided.replicas.unwrap_or(input.current_replicas),
        updates_last_active: decided.updates_last_active,
        active: decided.active.map_or("unset".to_owned(), |active| active.to_string()),
        ready: match decided.ready {
            Ready::True => "true",
            Ready::False => "false",
            Ready::Unknown => "unknown",
        }
        .to_owned(),
    };
    same("decision", &case.expect, &got)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Timeline {
    start_replicas: i32,
    min_replicas: Option<i32>,
    idle_replicas: Option<i32>,
    fallback_replicas: Option<i32>,
    cooldown_s: Option<f64>,
    initial_cooldown_s: Option<f64>,
    polls: Vec<TimelinePoll>,
    expect_replicas_after_each_poll: Vec<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimelinePoll {
    t_s: f64,
    active: bool,
    #[serde(default)]
    error: bool,
    set_replicas: Option<i32>,
}

fn timeline(case: &Timeline) -> Result<(), String> {
    let rules = ScaleRules {
        min_replicas: case.min_replicas,
        idle_replicas: case.idle_replicas,
        fallback_replicas: case.fallback_replicas,
        cooldown: seconds(case.cooldown_s.unwrap_or(COOLDOWN_S)),
        initial_cooldown: seconds(case.initial_cooldown_s.unwrap_or(0.0)),
        pause: Pause::default(),
        force_activation: false,
    };
    let (mut current, mut last_active) = (case.start_replicas, None);
    let after = |poll: &TimelinePoll| {
        current = poll.set_replicas.unwrap_or(current);
        let now = seconds(poll.t_s);
        let (active, error) = (poll.active, poll.error);
        let decided = decide(&rules, &Poll { current, active, error, last_active, created: 0, now });
        current = decided.replicas.unwrap_or(current);
        if decided.updates_last_active {
            last_active = Some(now);
        }
        current
    };
    let replicas: Vec<i32> = case.polls.iter().map(after).collect();
    same("replicas after each poll", &case.expect_replicas_after_each_poll, &replicas)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FallbackVector {
    failure_threshold: i32,
    replicas: i32,
    behavior: String,
}

impl FallbackVector {
    fn fallback(&self) -> Result<FallbackSpec, String> {
        // Upstream's structs have the empty string where nothing was written.
        let behavior = match self.behavior.as_str() {
            "" => FallbackBehavior::default(),
            name => serde_json::from_value(name.into()).map_err(|error| error.to_string())?,
        };
        Ok(FallbackSpec { failure_threshold: self.failure_threshold, replicas: self.replicas, behavior })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModifiersVector {
    target: String,
    metric_type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FallbackInput {
    fallback: Option<FallbackVector>,
    prior_failures: i32,
    error: bool,
    value: f64,
    target_type: String,
    target: f64,
    current_replicas: i32,
    ready_replicas: i32,
    modifiers: Option<ModifiersVector>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct FallbackExpectation {
    result: String,
    value_milli: Option<i64>,
    failures: i32,
    fallback_active: bool,
}

fn of_the_whole(metric_type: &str) -> Result<bool, String> {
    match metric_type {
        "Value" => Ok(true),
        "AverageValue" | "" => Ok(false),
        other => Err(format!("unknown metric type {other}")),
    }
}

fn fallback(case: &Case<FallbackInput, FallbackExpectation>) -> Result<(), String> {
    let input = &case.input;
    let modifiers = match &input.modifiers {
        Some(own) => {
            Some(ModifiersTarget { target: &own.target, of_the_whole: of_the_whole(&own.metric_type)? })
        }
        None => None,
    };
    let context = Context {
        fallback: input.fallback.as_ref().map(FallbackVector::fallback).transpose()?,
        modifiers,
        target: MetricTarget { of_the_whole: of_the_whole(&input.target_type)?, value: input.target },
        current: input.current_replicas,
        ready: input.ready_replicas,
    };
    let mut failures = input.prior_failures;
    let metric = (!input.error).then(|| metric_milli(input.value));
    let (result, value_milli, fallback_active) = match read_with_fallback(&context, metric, &mut failures) {
        Reading::Value(value) => ("value", Some(value), false),
        Reading::Fallback(value) => ("value", Some(value), true),
        Reading::Nil => ("nil_placeholder", None, false),
        Reading::Error => ("error", None, false),
    };
    let got = FallbackExpectation { result: result.to_owned(), value_milli, failures, fallback_active };
    same("reading", &case.expect, &got)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FormulaInput {
    formula: String,
    trigger_values: Triggers,
    target: String,
    activation_target: Option<String>,
    fallback: Option<FallbackVector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FormulaExpectation {
    value_milli: Option<i64>,
    active: Option<bool>,
    #[serde(default)]
    error: bool,
}

fn modifiers(case: Case<FormulaInput, FormulaExpectation>) -> Result<(), String> {
    let input = case.input;
    let activation = input.activation_target.filter(|text| !text.is_empty());
    let activation = activation.map_or(Ok(0.0), |text| text.parse::<f64>().map_err(|e| e.to_string()))?;
    let fallback = input.fallback.map(|vector| vector.fallback()).transpose()?;
    let composite = Formula::parse(&input.formula).map_err(|e| e.to_string()).and_then(|formula| {
        let own = ScalingModifiers {
            formula,
            target: input.target,
            activation_target: activation,
            of_the_whole: false,
        };
        let value = own.composite(&input.trigger_values, fallback).map_err(|e| e.to_string())?;
        Ok((value, own.is_active(value)))
    });
    match composite {
        Ok((value, active)) => {
            same("error", &case.expect.error, &false)?;
            same("value_milli", &case.expect.value_milli, &Some(value))?;
            same("active", &case.expect.active, &Some(active))
        }
        Err(error) if !case.expect.error => Err(format!("unexpected error: {error}")),
        Err(_) => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Validity {
    valid: bool,
}

fn cron_metadata(case: &Case<BTreeMap<String, String>, Validity>) -> Result<(), String> {
    let trigger = CronTrigger::from_metadata(&case.input);
    same("valid", &case.expect.valid, &trigger.is_ok()).map_err(|fault| format!("{fault}: {trigger:?}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CronExpectation {
    active: bool,
    metric_milli: i64,
}

fn cron_activity(case: Case<BTreeMap<String, String>, CronExpectation>) -> Result<(), String> {
    let mut metadata = case.input;
    let at = metadata.remove("at_utc").ok_or("at_utc is missing")?;
    let at = at.parse::<jiff::Timestamp>().map_err(|error| error.to_string())?.as_second();
    let trigger = CronTrigger::from_metadata(&metadata).map_err(|faults| format!("{faults:?}"))?;
    same("active", &case.expect.active, &trigger.is_active(at))?;
    same("metric_milli", &case.expect.metric_milli, &metric_milli(trigger.value(at)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoundsInput {
    min: Option<i32>,
    max: Option<i32>,
    #[serde(default)]
    idle: Option<i32>,
}

fn bounds(case: &Case<BoundsInput, Validity>) -> Result<(), String> {
    let fault = bounds_fault(case.input.min, case.input.max, case.input.idle);
    same("valid", &case.expect.valid, &fault.is_none())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HpaBounds {
    hpa_min: i32,
    hpa_max: i32,
}

fn hpa_bounds(case: &Case<BoundsInput, HpaBounds>) -> Result<(), String> {
    same("hpa_min", &case.expect.hpa_min, &hpa_min(case.input.min))?;
    same("hpa_max", &case.expect.hpa_max, &hpa_max(case.input.max))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrometheusInput {
    result: String,
    sample: Option<String>,
    ignore_null_values: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrometheusExpectation {
    value: Option<f64>,
    #[serde(default)]
    error: bool,
}

fn prometheus(case: &Case<PrometheusInput, PrometheusExpectation>) -> Result<(), String> {
    let answer = match case.input.result.as_str() {
        "empty" => Answer::Empty,
        "value_empty" => Answer::EmptyValue,
        "value_short" => Answer::ShortValue,
        "multiple" => Answer::Several,
        "http_error" => Answer::Failed("an error".to_owned()),
        "scalar" => {
            let sample = case.input.sample.as_deref().ok_or("a scalar without a sample")?;
            Answer::Value(sample.parse().map_err(|_| format!("sample {sample} is no number"))?)
        }
        other => return Err(format!("unknown result {other}")),
    };
    match (value(answer, case.input.ignore_null_values), case.expect.value) {
        (Ok(got), Some(expected)) if !case.expect.error => near("value", expected, got, 0.0),
        (Err(_), None) if case.expect.error => Ok(()),
        (got, expected) => Err(format!("expected {expected:?}, got {got:?}")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActivationInput {
    value: f64,
    activation_threshold: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Activity {
    active: bool,
}

fn activation(case: &Case<ActivationInput, Activity>) -> Result<(), String> {
    same("active", &case.expect.active, &is_active(case.input.value, case.input.activation_threshold))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuantityInput {
    /// A number, or one that JSON has no notation for, as text.
    value: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MilliExpectation {
    milli: i64,
}

fn quantity(case: &Case<QuantityInput, MilliExpectation>) -> Result<(), String> {
    let number = &case.input.value;
    let value = number.as_f64().or_else(|| number.as_str()?.parse().ok()).ok_or("value is no number")?;
    same("milli", &case.expect.milli, &metric_milli(value))
}
