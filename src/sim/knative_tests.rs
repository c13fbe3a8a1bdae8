//! Knative's autoscaler in the whole simulation: when it does what, against upstream's documented times.
//!
//! Phases of the loops are drawn, so that times are intervals; each law is checked over several seeds.

use std::sync::Arc;

use super::cluster;
use super::config::InitialState;
use super::engine::WorkersParams;
use super::tests::{PRICE, check_laws, constant, pool, result, secs, simulation};
use super::{EngineParams, Simulation};
use crate::kernel::{SimDuration, SimTime};
use crate::outcome::{Counts, DecisionRecord, Phase, RunOutcome};
use crate::policy::KnativeSpec;
use crate::policy::knative::Knative;
use crate::workload::Request;
use crate::workload::request::Packed;

/// A run of requests: from, to (s), how many a second.
pub(super) type Load = (f64, f64, f64);

/// Requests that take so long each, on pods that need `start_s` to start.
pub(super) fn world(loads: &[Load], span_s: u64, service: SimDuration, start_s: u64) -> Simulation {
    let mut arrivals: Vec<SimTime> = Vec::new();
    for &(from, to, per_s) in loads {
        let count = ((to - from) * per_s).round() as u64;
        arrivals.extend((0..count).map(|i| SimTime::from_nanos(((from + i as f64 / per_s) * 1e9) as u64)));
    }
    arrivals.sort_unstable();
    let request = |arrival| Request { arrival, prompt_tokens: 1, output_tokens: 1 };
    let requests = arrivals.into_iter().map(request).collect();
    let engine = EngineParams::Workers {
        workers: WorkersParams { workers: 100_000, queue_limit: None, penalties: Arc::new([]) },
        service: crate::kernel::Distribution::Constant(service),
    };
    let mut sim = simulation(engine, Arc::new(Packed { requests, span: secs(span_s) }), 1);
    sim.gateway.request_timeout = SimDuration::ZERO;
    sim.replica.per_request = SimDuration::ZERO;
    sim.replica.stages = vec![(Phase::Loading, constant(start_s))];
    sim.cluster = cluster::Plan::of(pool(8, 32), PRICE);
    sim.cluster.pools[0].spec.provision = constant(0);
    sim.cluster.pools[0].spec.setup = constant(0);
    sim
}

/// Runs under a service with these annotations (without their domain).
fn run(sim: &Simulation, seed: u64, annotations: &[(&str, &str)]) -> RunOutcome {
    run_with(sim, seed, annotations, "{}")
}

fn run_with(sim: &Simulation, seed: u64, annotations: &[(&str, &str)], rest: &str) -> RunOutcome {
    let mut spec: KnativeSpec = serde_json::from_str(rest).expect(rest);
    for (key, value) in annotations {
        spec.annotations.insert(format!("autoscaling.knative.dev/{key}"), (*value).to_owned());
    }
    assert_eq!(spec.check(), vec![]);
    let sim = Simulation { seed, ..sim.clone() };
    let outcome = result(&sim, Box::new(Knative::new(&spec)), 0);
    check_laws(&outcome);
    outcome
}

fn at(decision: &DecisionRecord) -> f64 {
    decision.at.as_nanos() as f64 / 1e9
}

/// (rule, from, to) of the decisions that changed the scale.
fn changes(outcome: &RunOutcome) -> Vec<(&'static str, u32, u32)> {
    outcome.decisions.iter().filter(|d| d.from != d.to).map(|d| (d.why.rule, d.from, d.to)).collect()
}

/// When the first decision by a rule was made, from an instant on.
pub(super) fn first(outcome: &RunOutcome, rule: &str, from: f64) -> f64 {
    let found = outcome.decisions.iter().find(|d| d.why.rule == rule && at(d) >= from);
    found.map_or_else(|| panic!("no {rule} from {from} on: {:#?}", outcome.decisions), at)
}

pub(super) fn within(what: &str, value: f64, from: f64, to: f64) {
    assert!((from..=to).contains(&value), "{what}: {value} is not in {from} to {to}");
}

const MS: SimDuration = SimDuration::from_millis(1);

#[test]
fn the_last_pod_goes_after_the_stable_window_and_what_the_activator_needs() {
    // One request a second; the last ends at 101 s.
    let sim = world(&[(0.0, 100.0, 1.0)], 300, MS * 1000, 10);
    for seed in 0..12 {
        // By default the activator stands in the path of so few pods, and has for long.
        let outcome = run(&sim, seed, &[]);
        assert_eq!(changes(&outcome), [("ScaledToZero", 1, 0)]);
        within("in the path", first(&outcome, "ScaledToZero", 0.0) - 101.0, 59.0, 65.0);
        // Always in the path: it need not even be probed.
        let outcome = run(&sim, seed, &[("target-burst-capacity", "-1")]);
        within("always in the path", first(&outcome, "ScaledToZero", 0.0) - 101.0, 59.0, 65.0);
        // Put in the path at the end of the window: it must stand there for the grace period.
        let outcome = run(&sim, seed, &[("target-burst-capacity", "0")]);
        assert_eq!(changes(&outcome), [("ScaledToZero", 1, 0)]);
        let (idle, gone) = (first(&outcome, "ActivatorProbe", 0.0), first(&outcome, "ScaledToZero", 0.0));
        within("idle", idle - 101.0, 59.0, 63.0);
        within("put in the path", gone - 101.0, 88.0, 95.0);
        // Conditions know whole seconds: up to one of them of the period is not waited for.
        within("the grace period", gone - idle, 29.0, 31.0);
        // The last pod is kept on top.
        let retention = [("scale-to-zero-pod-retention-period", "2m")];
        within("kept", first(&run(&sim, seed, &retention), "ScaledToZero", 0.0) - 101.0, 178.0, 184.0);
        // Or the shortest window there is.
        let outcome = run(&sim, seed, &[("window", "6s")]);
        within("a short window", first(&outcome, "ScaledToZero", 0.0) - 101.0, 5.0, 10.0);
        // Not scaled to zero at all.
        for never in [run(&sim, seed, &[("min-scale", "1")]), {
            run_with(&sim, seed, &[], r#"{"config": {"enable-scale-to-zero": "false"}}"#)
        }] {
            assert_eq!(changes(&never), []);
        }
    }
}

#[test]
fn a_revision_is_active_for_a_stable_window_at_least() {
    // It begins with one pod and never gets a request.
    let sim = world(&[(290.0, 291.0, 1.0)], 300, MS * 10, 10);
    for seed in 0..4 {
        let outcome = run(&sim, seed, &[]);
        within("never used", first(&outcome, "ScaledToZero", 0.0), 60.0, 63.0);
        within("held until then", first(&outcome, "StableWindow", 0.0), 0.0, 4.0);
    }
}

#[test]
fn a_first_request_wakes_a_revision_at_once() {
    let sim = {
        let mut sim = world(&[(100.37, 100.5, 10.0)], 300, MS * 500, 20);
        sim.initial.replicas = Some(0);
        sim
    };
    for seed in 0..8 {
        let outcome = run(&sim, seed, &[]);
        assert_eq!(changes(&outcome), [("Poke", 0, 1), ("ScaledToZero", 1, 0)]);
        assert_eq!((outcome.decisions[1].of, at(&outcome.decisions[1])), ("poke", 100.37), "without a tick");
        // 20 s of start, a probe within 200 ms, half a second of service.
        let e2e = outcome.latency.e2e.quantile(1.0).expect("it was served").as_secs_f64();
        within("the first request", e2e, 20.5, 20.71);
        assert_eq!(outcome.counts.finished, 1);
        // With an activation scale more pods come than are asked for.
        let outcome = run(&sim, seed, &[("activation-scale", "3")]);
        assert_eq!(changes(&outcome)[0], ("Poke", 0, 3));
    }
}

#[test]
fn a_request_that_finds_the_last_pod_keeps_it() {
    // Wanted are 0 pods from some 60 s on; the grace period ends at some 91 s. A request at 80 s finds the pod.
    let sim = world(&[(0.0, 1.0, 1.0), (80.25, 81.0, 1.0)], 250, MS * 100, 10);
    for seed in 0..4 {
        let outcome = run(&sim, seed, &[("target-burst-capacity", "0")]);
        let gone = first(&outcome, "ScaledToZero", 0.0);
        within("gone", gone, 80.25 + 88.0, 80.25 + 95.0);
        let longest = outcome.latency.e2e.quantile(1.0).expect("both were served").as_secs_f64();
        within("longest", longest, 0.09, 0.11);
        assert!(
            outcome.decisions.iter().any(|d| d.of == "poke" && d.at == SimTime::from_nanos(80_250_000_000)),
            "{:#?}",
            outcome.decisions
        );
    }
}

#[test]
fn panic_begins_within_two_ticks_and_holds_for_a_stable_window() {
    // One request in flight; from 200 s on a thousand for ten seconds, at 70 a pod.
    let sim = world(&[(0.0, 400.0, 1.0), (200.0, 201.0, 1000.0)], 400, MS * 1000, 30);
    let mut burst = sim.clone();
    burst.engine = EngineParams::Workers {
        workers: WorkersParams { workers: 100_000, queue_limit: None, penalties: Arc::new([]) },
        service: constant(10),
    };
    for seed in 0..8 {
        let outcome = run(&burst, seed, &[]);
        let panicked = first(&outcome, "Panic", 100.0);
        within("panic", panicked, 200.0, 204.0);
        // Ten seconds of a thousand requests over six seconds: fifteen pods at the peak.
        let peak = outcome.decisions.iter().map(|d| d.to).max().unwrap_or(0);
        within("peak", f64::from(peak), 13.0, 15.0);
        let lower =
            outcome.decisions.iter().find(|d| d.to < d.from && at(d) > 200.0).expect("it scales down");
        // The panic window still holds a bucket over the threshold up to six seconds after the last request.
        within("down again", at(lower), 211.0 + 60.0, 217.0 + 64.0);
        assert!(
            outcome.decisions.iter().all(|d| d.why.rule != "Panic" || d.to >= d.from),
            "never down in panic"
        );
    }
}

#[test]
fn rates_limit_ready_pods_and_not_ordered_ones() {
    // 700 in flight want ten pods; twice the ready ones are allowed, and a pod takes 30 s to be ready.
    let sim = world(&[(0.0, 200.0, 700.0)], 200, MS * 1000, 30);
    for seed in 0..4 {
        let outcome = run_with(&sim, seed, &[], r#"{"config": {"max-scale-up-rate": "2"}}"#);
        let ups: Vec<(f64, u32)> =
            outcome.decisions.iter().filter(|d| d.to > d.from).map(|d| (at(d), d.to)).collect();
        let scales: Vec<u32> = ups.iter().map(|(_, to)| *to).collect();
        assert_eq!(scales[..3], [2, 4, 8], "{ups:?}");
        assert!((10..=12).contains(&scales[3]), "{ups:?}");
        for (pair, start) in ups.windows(2).zip([29.999; 3]) {
            within("a step", pair[1].0 - pair[0].0, start, start + 2.4);
        }
        assert!(outcome.decisions.iter().any(|d| d.why.rule == "ScaleUpRate"));
    }
}

#[test]
fn pods_are_at_most_halved_at_each_tick() {
    // It begins in panic with sixteen pods, and holds them for a stable window.
    let mut sim = world(&[(0.0, 300.0, 1.0)], 300, MS * 10, 10);
    sim.initial.replicas = Some(16);
    for seed in 0..4 {
        let outcome = run(&sim, seed, &[]);
        let downs: Vec<(f64, u32)> =
            outcome.decisions.iter().filter(|d| d.to < d.from).map(|d| (at(d), d.to)).collect();
        assert_eq!(downs.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [8, 4, 2, 1], "{downs:?}");
        within("the first step", downs[0].0, 60.0, 64.0);
        assert!(downs.windows(2).all(|pair| (pair[1].0 - pair[0].0 - 2.0).abs() < 1e-6), "{downs:?}");
        assert_eq!(outcome.decisions.iter().find(|d| d.to < d.from).expect("one").why.rule, "ScaleDownRate");
        let slower = run(&sim, seed, &[("scale-down-delay", "40s")]);
        let first = slower.decisions.iter().find(|d| d.to < d.from).expect("it scales down");
        within("delayed", at(first) - downs[0].0, 36.0, 40.0);
        assert!(slower.decisions.iter().any(|d| d.why.rule == "ScaleDownDelay"), "{:#?}", slower.decisions);
    }
}

#[test]
fn an_initial_scale_holds_until_it_was_reached() {
    let mut sim = world(&[(0.0, 200.0, 1.0)], 200, MS * 10, 40);
    sim.initial.state = InitialState::Cold;
    for seed in 0..4 {
        let outcome = run(&sim, seed, &[("initial-scale", "3")]);
        assert_eq!(outcome.timeline.points[0].ordered, 3);
        let down = outcome.decisions.iter().find(|d| d.to < d.from).expect("it scales down");
        // Ready after 40 s; of three, one is enough, and no panic holds the others: they are new.
        within("held", at(down), 40.0, 44.0);
        assert_eq!((down.from, down.to), (3, 1));
    }
}

#[test]
fn what_does_not_become_ready_in_time_is_given_up() {
    // Thirty seconds are granted beyond the deadline. A later request tries again, with the next tick: the decider has
    // never known a scale of 0 that it could be poked at.
    let mut sim = world(&[(200.1, 201.0, 1.0)], 400, MS * 10, 1_000);
    sim.initial.state = InitialState::Cold;
    let deadline =
        r#"{"annotations": {"serving.knative.dev/progress-deadline": "60s"}, "timeoutSeconds": 60}"#;
    for seed in 0..4 {
        let outcome = run_with(&sim, seed, &[], deadline);
        assert_eq!(changes(&outcome)[..2], [("ActivationTimeout", 1, 0), ("Stable", 0, 1)]);
        within("given up", first(&outcome, "ActivationTimeout", 0.0), 90.0, 91.0);
        assert_eq!(outcome.counts.timed_out, 1);
    }
}

#[test]
fn bounds_hold() {
    let sim = world(&[(0.0, 100.0, 700.0)], 300, MS * 1000, 10);
    let outcome = run(&sim, 1, &[("min-scale", "2"), ("max-scale", "4"), ("target-burst-capacity", "0")]);
    let ordered = outcome.timeline.points.iter().map(|p| p.ordered);
    assert_eq!((ordered.clone().min(), ordered.max()), (Some(2), Some(4)));
    let rules: Vec<&str> = outcome.decisions.iter().map(|d| d.why.rule).collect();
    assert!(rules.contains(&"MaxScale") && rules.contains(&"MinScale"), "{rules:?}");
}

#[test]
fn a_pod_works_on_no_more_than_its_limit() {
    // Eight at once on one pod that works on one at a time. The engine itself would take them all.
    let sim = world(&[(10.0, 10.008, 1000.0)], 60, MS * 1000, 1_000);
    let limit = r#"{"containerConcurrency": 1}"#;
    let longest =
        |outcome: &RunOutcome| outcome.latency.e2e.quantile(1.0).expect("they were served").as_secs_f64();
    for capacity in ["-1", "0"] {
        let annotations = [("target-burst-capacity", capacity), ("max-scale", "1")];
        let outcome = run_with(&sim, 1, &annotations, limit);
        assert_eq!(outcome.counts.finished, 8);
        within("one after the other", longest(&outcome), 7.9, 8.01);
    }
    // Without a limit they are all done within a second.
    within("all at once", longest(&run(&sim, 1, &[("max-scale", "1")])), 0.99, 1.01);
}

#[test]
fn requests_beyond_the_queue_are_refused() {
    let counts = |outcome: &RunOutcome| {
        let Counts { finished, rejected, .. } = outcome.counts;
        (finished, rejected)
    };
    // Thirty at once: straight to the pod, its queue-proxy works on two, holds twenty and refuses the rest.
    let sim = world(&[(10.0, 10.03, 1000.0)], 60, MS * 1000, 1_000);
    let direct = [("target-burst-capacity", "0"), ("max-scale", "1")];
    let limit = r#"{"containerConcurrency": 2}"#;
    assert_eq!(counts(&run_with(&sim, 1, &direct, limit)), (22, 8));
    // By the activator they wait there.
    let proxied = [("target-burst-capacity", "-1"), ("max-scale", "1")];
    assert_eq!(counts(&run_with(&sim, 1, &proxied, limit)), (30, 0));
    // Which holds ten thousand: one at work, and one of 10,002 is refused.
    let sim = world(&[(10.0, 10.10002, 100_000.0)], 60, MS * 1, 1_000);
    let one = r#"{"containerConcurrency": 1, "timeoutSeconds": 1000}"#;
    let (finished, rejected) = counts(&run_with(&sim, 1, &proxied, one));
    assert_eq!(finished + rejected, 10_002);
    // Some hundred are served while the others still come.
    assert_eq!(rejected, 0);
    let sim = world(&[(10.0, 10.10002, 100_000.0)], 60, MS * 1000, 1_000);
    let (_, rejected) = counts(&run_with(&sim, 1, &proxied, r#"{"containerConcurrency": 1}"#));
    assert_eq!(rejected, 1);
}

#[test]
fn burst_capacity_puts_the_activator_in_the_path_and_takes_it_out() {
    // Four pods of 100 each, kept: with 211 to spare, a load of up to 189 goes straight to the pods.
    let loads = [(0.0, 100.0, 50.0), (100.0, 200.0, 250.0), (200.0, 300.0, 50.0)];
    let mut sim = world(&loads, 300, MS * 1000, 10);
    sim.initial.replicas = Some(4);
    let kept = |capacity: &'static str| {
        [("min-scale", "4"), ("max-scale", "4"), ("target-burst-capacity", capacity)]
    };
    let modes = |outcome: &RunOutcome| -> Vec<(&'static str, f64)> {
        let mode = |d: &&DecisionRecord| d.why.rule.ends_with("Mode");
        outcome.decisions.iter().filter(mode).map(|d| (d.why.rule, at(d))).collect()
    };
    for seed in 0..4 {
        let outcome = run(&sim, seed, &kept("211"));
        let found = modes(&outcome);
        let names: Vec<&str> = found.iter().map(|(rule, _)| *rule).collect();
        assert_eq!(names, ["ServeMode", "ProxyMode", "ServeMode"], "{found:?}");
        within("out of the path", found[0].1, 0.0, 4.0);
        // The panic window's mean passes 189 some five seconds into the second load, and falls below as late.
        within("in the path", found[1].1, 103.0, 108.0);
        within("out of it again", found[2].1, 201.0, 206.0);
        let all =
            |outcome: &RunOutcome, by: &str| outcome.decisions.iter().all(|d| d.why.detail.contains(by));
        let always = run(&sim, seed, &kept("-1"));
        assert!(modes(&always).is_empty() && all(&always, "by the activator"));
        let never = run(&sim, seed, &kept("0"));
        assert!(modes(&never).is_empty() && all(&never, "straight to the pods"));
    }
}

#[test]
fn requests_by_the_activator_count_once() {
    // A hundred in flight, of which the activator and the pods both know.
    let sim = world(&[(0.0, 300.0, 100.0)], 300, MS * 1000, 1);
    for capacity in ["-1", "0"] {
        let outcome = run(
            &sim,
            1,
            &[
                ("target-burst-capacity", capacity),
                ("target-utilization-percentage", "100"),
                ("target", "30"),
            ],
        );
        let last = outcome.timeline.points.iter().rev().nth(2).expect("some points");
        // 100 / 30: four pods.
        assert_eq!(last.ordered, 4, "{capacity}: {:#?}", outcome.decisions);
    }
    // And in requests per second.
    let rps = [("metric", "rps"), ("target", "50"), ("target-utilization-percentage", "100")];
    let outcome = run(&sim, 1, &rps);
    let last = outcome.timeline.points.iter().rev().nth(2).expect("some points");
    within("pods", f64::from(last.ordered), 2.0, 3.0);
}

#[test]
fn a_sample_of_many_pods_sees_the_load_of_all() {
    // 40 pods' worth of load: 12 of 40 pods are scraped.
    let sim = world(&[(0.0, 400.0, 2_800.0)], 400, MS * 1000, 5);
    let outcome = run(&sim, 3, &[("target-burst-capacity", "0"), ("window", "30s")]);
    let late = outcome.timeline.points.iter().filter(|p| p.ordered > 0).skip(20);
    let ordered: Vec<u32> = late.map(|p| p.ordered).collect();
    assert!(ordered.len() > 3 && ordered.iter().all(|n| (39..=43).contains(n)), "{ordered:?}");
}

#[test]
fn the_same_run_is_the_same() {
    let sim = world(&[(0.0, 60.0, 30.0), (20.0, 21.0, 400.0), (150.0, 160.0, 9.0)], 300, MS * 2000, 8);
    let runs: Vec<RunOutcome> =
        (0..2).map(|_| run_with(&sim, 5, &[("target", "7")], r#"{"containerConcurrency": 9}"#)).collect();
    assert_eq!(runs[0].facts_digest, runs[1].facts_digest);
    assert_eq!(runs[0].decisions, runs[1].decisions);
    assert!(changes(&runs[0]).len() > 6, "too calm: {:?}", changes(&runs[0]));
    let other = run_with(&sim, 6, &[("target", "7")], r#"{"containerConcurrency": 9}"#);
    assert_ne!(runs[0].decisions, other.decisions, "phases are drawn");
}
