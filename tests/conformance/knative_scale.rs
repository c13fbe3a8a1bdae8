//! Knative's `scale_sequences`: ticks of one decider, one after another.

use serde::Deserialize;
use serde_json::Value;
use thawline::policy::knative::collector::Observed;
use thawline::policy::knative::decider::{Decider, DeciderSpec};

use crate::cases::{read, same, seconds};
use crate::knative::metric;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecVector {
    scaling_metric: String,
    target_value: f64,
    total_value: f64,
    target_burst_capacity: f64,
    panic_threshold: f64,
    max_scale_up_rate: f64,
    max_scale_down_rate: f64,
    stable_window_s: f64,
    scale_down_delay_s: f64,
    reachable: bool,
    activation_scale: i32,
}

impl SpecVector {
    fn spec(&self) -> Result<DeciderSpec, String> {
        Ok(DeciderSpec {
            scaling_metric: metric(&self.scaling_metric)?,
            max_scale_up_rate: self.max_scale_up_rate,
            max_scale_down_rate: self.max_scale_down_rate,
            target_value: self.target_value,
            total_value: self.total_value,
            target_burst_capacity: self.target_burst_capacity,
            activator_capacity: 100.0,
            panic_threshold: self.panic_threshold,
            stable_window: seconds(self.stable_window_s),
            scale_down_delay: seconds(self.scale_down_delay_s),
            initial_scale: 1,
            activation_scale: self.activation_scale,
            reachable: self.reachable,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preset {
    panic_time_s: Option<f64>,
    max_panic_pods: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Initial {
    panicking: bool,
    max_panic_pods: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    t_s: f64,
    ready_pods: i32,
    stable: f64,
    panic: f64,
    #[serde(default)]
    metric_error: bool,
    #[serde(default)]
    ready_error: bool,
    #[serde(default)]
    spec_update: serde_json::Map<String, Value>,
    expect: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    spec: serde_json::Map<String, Value>,
    ready_pods_at_creation: i32,
    #[serde(default)]
    ready_error_at_creation: bool,
    preset: Option<Preset>,
    expect_initial: Option<Initial>,
    steps: Vec<Step>,
}

pub fn sequence(case: Sequence) -> Result<(), String> {
    let mut fields = case.spec;
    let spec = read::<SpecVector>(Value::Object(fields.clone()))?.spec()?;
    let ready = (!case.ready_error_at_creation).then_some(case.ready_pods_at_creation);
    let mut decider = Decider::new(spec, ready, 0);
    if let Some(preset) = case.preset {
        decider.panic_time = preset.panic_time_s.map(seconds);
        decider.max_panic_pods = preset.max_panic_pods;
    }
    if let Some(initial) = case.expect_initial {
        same("panicking at first", &initial.panicking, &decider.panic_time.is_some())?;
        same("max_panic_pods at first", &initial.max_panic_pods, &decider.max_panic_pods)?;
    }
    for (index, step) in case.steps.into_iter().enumerate() {
        if !step.spec_update.is_empty() {
            fields.extend(step.spec_update.clone());
            decider.spec = read::<SpecVector>(Value::Object(fields.clone()))?.spec()?;
        }
        check(&mut decider, &step).map_err(|fault| format!("step {index} at {} s: {fault}", step.t_s))?;
    }
    Ok(())
}

fn check(decider: &mut Decider, step: &Step) -> Result<(), String> {
    let ready = (!step.ready_error).then_some(step.ready_pods);
    let observed = (!step.metric_error).then_some(Observed { stable: step.stable, panic: step.panic });
    let result = decider.scale(ready, observed, seconds(step.t_s)).map(|(result, _)| result);
    for (key, expected) in &step.expect {
        let number = expected.as_i64().or(expected.as_f64().map(|value| value as i64));
        match key.as_str() {
            "valid" => same(key, expected, &result.is_some().into())?,
            "desired" => same(key, &number, &Some(result.map_or(0, |r| i64::from(r.desired))))?,
            "ebc" => {
                // Upstream's own tests allow for 1 either way.
                let got = result.map_or(0, |r| i64::from(r.excess_burst_capacity));
                if number.is_none_or(|expected| (expected - got).abs() > 1) {
                    return Err(format!("ebc: expected {expected}, got {got}"));
                }
            }
            "panic_time_s" => same(key, &expected.as_f64().map(seconds), &decider.panic_time)?,
            "max_panic_pods" => same(key, &number, &Some(i64::from(decider.max_panic_pods)))?,
            other => return Err(format!("unknown expectation {other}")),
        }
    }
    Ok(())
}
