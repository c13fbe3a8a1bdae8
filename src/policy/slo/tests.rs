//! What it orders, against pencil and paper.

use super::*;
use crate::forecast::{EwmaSpec, ForecasterSpec};
use crate::kernel::{Distribution, Quantiles};
use crate::policy::fixture::World;

fn secs(s: u64) -> SimDuration {
    SimDuration::from_secs(s)
}

/// Starts of two minutes, a minute of it for the node; a replica serves 2 requests/s. It expects what came last.
fn setting() -> Setting {
    let of = |s: u64| Quantiles::of(&Distribution::Constant(secs(s)));
    let replica = ReplicaModel { capacity_per_s: Some(2.0), start: of(60), start_with_node: of(120) };
    Setting { replica, ..Setting::default() }
}

fn policy(more: &str) -> SloPolicy {
    let text = format!(r#"{{"maxReplicas": 20, "forecaster": "lastValue"{more}}}"#);
    let spec: SloPolicySpec = serde_json::from_str(&text).expect(&text);
    assert_eq!(spec.check(), [], "{text}");
    SloPolicy::new(&spec, &setting())
}

/// A turn: at which second, how many replicas are ready, what arrived in all, what runs, what waits.
fn turn(policy: &mut SloPolicy, at_s: u64, ready: u32, arrived: u64, running: u64, waiting: u64) -> Decision {
    let mut world = World::ready(at_s, ready);
    world.gateway.arrived = arrived;
    world.gateway.running = running;
    world.gateway.waiting = waiting;
    policy.decide(0, &world.view()).expect("it always decides")
}

#[test]
fn a_load_is_sized_by_what_a_replica_serves() {
    // 30 s steps: 300 requests are 10 a second, five replicas.
    for (arrived, expected) in [(300, 5), (301, 6), (0, 1), (9_000, 20)] {
        let decision = turn(&mut policy(""), 30, 20, arrived, 0, 0);
        assert!(decision.why.detail.ends_with(&format!(": {expected} to 20")), "{}", decision.why.detail);
        // Who does not know yet how wrong forecasts are takes nothing away.
        assert_eq!(decision.replicas, 20);
    }
}

#[test]
fn a_queue_that_will_have_built_up_is_ordered_for() {
    // 4 requests/s and one replica of 2: in the 4 steps until an order serves 60 more wait after each; 240 in a minute are 4/s more.
    let decision = turn(&mut policy(r#", "correct": false"#), 30, 1, 120, 2, 0);
    assert_eq!(decision.replicas, 4, "{}", decision.why.detail);
    // 60 wait already: 5/s more.
    let decision = turn(&mut policy(r#", "correct": false"#), 30, 1, 120, 2, 60);
    assert_eq!(decision.replicas, 5, "{}", decision.why.detail);
    // Twice as long to work it off.
    let decision = turn(&mut policy(r#", "correct": false, "workOff": "2m""#), 30, 1, 120, 2, 0);
    assert_eq!(decision.replicas, 3, "{}", decision.why.detail);
}

#[test]
fn what_is_on_its_way_counts_from_when_it_serves() {
    // 4 requests/s, one replica of 2, and another on its way that was bound 35 s ago: a step more until it serves.
    let mut world = World::ready(100, 2);
    world.gateway.arrived = 120;
    world.gateway.running = 2;
    let pod = &mut world.pods[1];
    (pod.ready, pod.created, pod.started) = (false, SimTime::from_secs(10), Some(SimTime::from_secs(65)));
    let own = policy(r#", "correct": false"#);
    assert_eq!(own.until_ready(world.now, &world.pods[1]), secs(25));
    let mut with = policy(r#", "correct": false"#);
    let decision = with.decide(0, &world.view()).unwrap();
    // One step of 60 more, and then as many as are served.
    assert!(decision.why.detail.contains("60 queued then with 2 replicas"), "{}", decision.why.detail);
    assert_eq!(decision.replicas, 3);
    // Without a node it takes a node's time more, less what it has waited: 120 - 90 s.
    world.pods[1].started = None;
    assert_eq!(own.until_ready(world.now, &world.pods[1]), secs(30));
    // One that is late may come any moment.
    world.pods[1].created = SimTime::ZERO;
    world.now = SimTime::from_secs(500);
    assert_eq!(own.until_ready(world.now, &world.pods[1]), SimDuration::ZERO);
}

#[test]
fn nothing_goes_that_is_needed_within_two_starts() {
    // A daily pattern in small: seasonal naive over 8 steps, of which one is busy.
    let text = r#"{"maxReplicas": 20, "step": "60s", "forecaster": {"seasonalNaive": {"season": "8m"}}, "quantile": 0.5, "correct": false}"#;
    let spec: SloPolicySpec = serde_json::from_str(text).unwrap();
    let mut policy = SloPolicy::new(&spec, &setting());
    let mut arrived = 0;
    let mut replicas = 1;
    let mut ordered = Vec::new();
    for step in 1..=26u64 {
        // The 7th of each eight has 10 requests/s, the others 2.
        arrived += if step % 8 == 7 { 600 } else { 120 };
        let mut world = World::ready(step * 60, replicas);
        world.gateway.arrived = arrived;
        replicas = policy.decide(0, &world.view()).unwrap().replicas;
        ordered.push(replicas);
    }
    // An order takes 2 steps, and is for the third: what step 23 needs is ordered after step 20, and is given back when it has not been
    // needed for as long.
    assert_eq!(ordered[16..26], [1, 1, 1, 5, 5, 5, 5, 5, 1, 1]);
}

#[test]
fn full_replicas_show_what_they_serve() {
    let mut own = policy("");
    // Two replicas, 20 in flight and as many waiting all the time; 90 end in each step: 1.5 a second each, and not 2.
    let mut arrived = 0;
    for step in 1..=60 {
        arrived += 90;
        turn(&mut own, step * 30, 2, arrived, 20, 20);
    }
    assert!((own.per_replica() - 1.5).abs() < 0.01, "{}", own.per_replica());
    // Nobody waits, and 1.8 a second end in each.
    for step in 61..=120 {
        arrived += 108;
        turn(&mut own, step * 30, 2, arrived, 20, 0);
    }
    assert!((own.per_replica() - 1.8).abs() < 1e-9, "{}", own.per_replica());
    // What idle replicas serve says nothing.
    for step in 121..=150 {
        arrived += 3;
        turn(&mut own, step * 30, 2, arrived, 0, 0);
    }
    assert!((own.per_replica() - 1.8).abs() < 1e-9, "{}", own.per_replica());
    // More than the model says is no more: that nobody waits does not say that the SLO holds. And it goes no lower than half.
    for step in 151..=180 {
        arrived += 240;
        turn(&mut own, step * 30, 2, arrived, 20, 0);
    }
    assert!((own.per_replica() - 2.0).abs() < 1e-9, "{}", own.per_replica());
    for step in 181..=400 {
        arrived += 1;
        turn(&mut own, step * 30, 2, arrived, 20, 200);
    }
    assert!((own.per_replica() - 1.0).abs() < 1e-6, "{}", own.per_replica());
    let mut not = policy(r#", "correct": false"#);
    turn(&mut not, 30, 2, 90, 20, 20);
    turn(&mut not, 60, 2, 180, 20, 20);
    assert!((not.per_replica() - 2.0).abs() < f64::EPSILON);
}

#[test]
fn what_nobody_gives_comes_from_the_replica() {
    let own = policy("");
    assert_eq!((own.ahead, own.bounds), (4, (1, 20)));
    assert_eq!(policy(r#", "lead": "45s""#).ahead, 2);
    assert!((policy(r#", "capacity": 7"#).per_replica() - 7.0).abs() < f64::EPSILON);
    assert_eq!((own.initial(), own.maximum()), ((1, 0), Some(20)));
}

#[test]
fn faults_are_named_with_their_paths() {
    let check = |text: &str, expected: &[&str]| {
        let spec: SloPolicySpec = serde_json::from_str(text).expect(text);
        let faults = spec.check();
        assert!(faults.iter().all(|(_, message, help)| !message.is_empty() && !help.is_empty()));
        assert_eq!(faults.iter().map(|fault| fault.0.as_str()).collect::<Vec<_>>(), expected, "{text}");
    };
    check(r#"{"maxReplicas": 4, "season": "24h"}"#, &[]);
    check(r#"{"maxReplicas": 0}"#, &["maxReplicas"]);
    check(r#"{"maxReplicas": 2, "minReplicas": 3}"#, &["minReplicas"]);
    check(r#"{"maxReplicas": 2, "minReplicas": 0}"#, &["minReplicas"]);
    check(r#"{"maxReplicas": 2, "step": "10ms"}"#, &["step"]);
    check(r#"{"maxReplicas": 2, "lead": "100h"}"#, &["lead"]);
    check(
        r#"{"maxReplicas": 2, "quantile": 1.0, "capacity": -1.0, "workOff": "0s"}"#,
        &["quantile", "capacity", "workOff"],
    );
    check(r#"{"maxReplicas": 2, "season": "61s"}"#, &["season"]);
    check(r#"{"maxReplicas": 2, "season": "1h", "forecaster": "lastValue"}"#, &["season"]);
    let ewma = ForecasterSpec::Ewma(EwmaSpec { half_life: SimDuration::ZERO });
    let spec =
        SloPolicySpec { forecaster: Some(ewma), ..serde_json::from_str(r#"{"maxReplicas": 2}"#).unwrap() };
    assert!(spec.check()[0].0.starts_with("forecaster.ewma"), "{:?}", spec.check());
}
