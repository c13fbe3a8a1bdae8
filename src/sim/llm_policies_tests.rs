//! Autoscalers of LLM platforms in the whole simulation: when they do what, over several seeds, since their phases are drawn.

use super::Simulation;
use super::knative_tests::{first, within, world};
use super::tests::{check_laws, result};
use crate::kernel::SimDuration;
use crate::outcome::RunOutcome;
use crate::policy::{PolicySpec, Setting};

/// Runs a policy; `replicas` is what there is at the start.
fn run(sim: &Simulation, seed: u64, json: &str, replicas: Option<u32>) -> RunOutcome {
    let spec: PolicySpec = serde_json::from_str(json).expect(json);
    assert_eq!(spec.check(&Setting::default()), vec![], "{json}");
    let mut sim = Simulation { seed, ..sim.clone() };
    sim.initial.replicas = replicas;
    let outcome = result(&sim, spec.build(&Setting::default()), 0);
    check_laws(&outcome);
    outcome
}

const SECOND: SimDuration = SimDuration::from_secs(1);

#[test]
fn ray_wakes_at_the_next_tick_and_sleeps_after_its_delay() {
    // One request, at 50.03 s; a replica needs 10 s.
    let sim = world(&[(50.03, 51.03, 1.0)], 300, SECOND, 10);
    let json = r#"{"ray": {"autoscaling_config": {"min_replicas": 0, "max_replicas": 4, "downscale_to_zero_delay_s": 20.0}}}"#;
    for seed in 0..8 {
        let outcome = run(&sim, seed, json, Some(0));
        let woken = first(&outcome, "ColdStart", 0.0);
        within("a tick", woken - 50.03, 0.0, 0.1001);
        let ended = woken + 11.0;
        // Until the mean of 30 s is nothing, a report more, and the delay: the last 0.1 s is the tick itself.
        within("asleep", first(&outcome, "Downscale", 0.0) - ended, 50.0, 74.0);
        assert_eq!(
            (outcome.counts.finished, outcome.decisions.iter().filter(|d| d.from != d.to).count()),
            (1, 2)
        );
    }
}

#[test]
fn rays_router_keeps_replicas_to_their_limit() {
    // Twelve requests at once, of 10 s each, on one replica that works on five.
    let sim = world(&[(5.0, 5.012, 1000.0)], 100, SECOND * 10, 10);
    let outcome = run(&sim, 1, r#"{"ray": {}}"#, None);
    assert_eq!((outcome.counts.finished, outcome.counts.rejected), (12, 0));
    assert!(outcome.decisions.iter().all(|d| d.from == d.to), "one replica is the most");
    within(
        "three rounds of five",
        outcome.latency.e2e.quantile(1.0).expect("they ended").as_secs_f64(),
        29.9,
        30.1,
    );
    let outcome = run(&sim, 1, r#"{"ray": {"max_queued_requests": 3}}"#, None);
    assert_eq!((outcome.counts.finished, outcome.counts.rejected), (8, 4));
}

#[test]
fn ray_acts_half_a_minute_after_a_report_of_the_rise() {
    // Nine and a half requests in the system from 101 s on.
    let sim = world(&[(100.0, 400.0, 9.5)], 400, SECOND, 10);
    let json = r#"{"ray": {"max_ongoing_requests": 100, "autoscaling_config": {"max_replicas": 8}}}"#;
    for seed in 0..8 {
        let outcome = run(&sim, seed, json, None);
        // A report that tells of more than two on average comes 6 to 16 s after the rise, and the 301st tick acts.
        within("the first step", first(&outcome, "Upscale", 0.0) - 100.0, 36.0, 50.0);
        let last = outcome.decisions.iter().rfind(|d| d.from != d.to).map(|d| d.to);
        assert_eq!(last, Some(5), "two each");
    }
}

#[test]
fn wva_wakes_a_model_within_a_tenth_of_a_second() {
    let sim = world(&[(50.03, 51.03, 1.0)], 300, SECOND, 10);
    let json = r#"{"wva": {"enableScaleToZero": true, "retentionPeriod": "2m", "hpa": {"minReplicas": 0}}}"#;
    for seed in 0..4 {
        let outcome = run(&sim, seed, json, Some(0));
        within("a poll", first(&outcome, "ScaleFromZero", 0.0) - 50.03, 0.0, 0.1001);
        assert_eq!(outcome.counts.finished, 1);
    }
}

#[test]
fn decisions_of_aibrix_are_ten_seconds_apart() {
    let sim = world(&[(0.0, 300.0, 20.0)], 300, SECOND, 30);
    let json = r#"{"aibrix": {"scalingStrategy": "APA", "maxReplicas": 8,
        "metricsSources": [{"targetMetric": "vllm:num_requests_running", "targetValue": "4"}]}}"#;
    for seed in 0..4 {
        let outcome = run(&sim, seed, json, None);
        let ups: Vec<(u32, u32)> = outcome.decisions.iter().take(3).map(|d| (d.from, d.to)).collect();
        // Doubled every 10 s, because the one that serves stays full while the others start.
        assert_eq!(ups, [(1, 2), (2, 4), (4, 8)]);
        let at: Vec<f64> = outcome.decisions.iter().take(3).map(|d| d.at.as_nanos() as f64 / 1e9).collect();
        within("a period", at[1] - at[0], 9.999, 10.001);
        within("a period", at[2] - at[1], 9.999, 10.001);
    }
}
