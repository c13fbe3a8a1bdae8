//! Policies over policies in whole runs: a shadow changes nothing, held nodes are what they cost.

use super::Simulation;
use super::cluster::Plan;
use super::cluster::config::ProvisionerSpec;
use super::cluster_tests::pool;
use super::scale_tests::world;
use super::tests::{PRICE, batch_engine, check_laws, packed, result, secs, simulation};
use crate::kernel::SimTime;
use crate::outcome::{Account, Phase, RunOutcome};
use crate::policy::{Autoscaler, PolicySpec, Setting};

/// A policy as a scenario writes it; the run starts 3.5 s before 8 o'clock.
fn policy(json: &str) -> Box<dyn Autoscaler> {
    let document = crate::yaml::Document::parse("policy", json).unwrap();
    let spec: PolicySpec = crate::yaml::read(&document).unwrap();
    let eight = "2026-03-02T08:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let setting = Setting { start_ms: Some(eight - 3_500), ..Setting::default() };
    assert_eq!(spec.check(&setting), vec![], "{json}");
    spec.build(&setting)
}

fn hpa(metric: &str, target: u32) -> String {
    format!(
        r#"{{"hpa": {{"minReplicas": 1, "maxReplicas": 6, "metrics": [{{"type": "Pods", "pods": {{
            "metric": {{"name": "{metric}"}}, "target": {{"type": "AverageValue", "averageValue": {target}}}}}}}]}}}}"#
    )
}

fn busy() -> Simulation {
    let gaps: Vec<_> = (0..600).map(|i| (30 + i * 7 % 200, 100 + (i as u32 * 37) % 400, 40)).collect();
    let mut sim = simulation(batch_engine(false), packed(&gaps, 60), 7);
    sim.cluster = Plan::of(pool(2, 4), PRICE);
    sim
}

/// Everything of a run but what was only watched.
fn facts(outcome: &RunOutcome) -> String {
    let RunOutcome {
        trace_end,
        run_end,
        counts,
        ledger,
        timeline,
        starts,
        decisions,
        steps,
        facts_digest,
        ..
    } = outcome;
    format!(
        "{trace_end:?} {run_end:?} {counts:?} {ledger:?} {timeline:?} {starts:?} {decisions:?} {steps:?} {facts_digest}"
    )
}

#[test]
fn a_shadow_changes_nothing_of_the_run() {
    let sim = busy();
    let candidates = [
        hpa("vllm:num_requests_running", 1),
        r#"{"keda": {"scaledObject": {"scaleTargetRef": {"name": "replica"}, "maxReplicaCount": 5, "triggers":
            [{"type": "cron", "metadata": {"start": "1 8 * * *", "end": "2 8 * * *", "timezone": "Etc/UTC", "desiredReplicas": "4"}}]}}}"#
            .to_owned(),
        r#"{"schedule": {"timezone": "Etc/UTC", "replicas": 1, "windows":
            {"w": {"start": "0 8 * * *", "end": "1 8 * * *", "exact": 5}}}}"#
            .to_owned(),
        r#"{"warmPool": {"spare": 2, "whileActive": true, "sleep": {"level": "inHostRam", "wake": "3s"},
            "over": {"fixed": {"replicas": 3}}}}"#
            .to_owned(),
    ];
    for run in [hpa("vllm:num_requests_waiting", 2), r#"{"fixed": {"replicas": 2}}"#.to_owned()] {
        let alone = result(&sim, policy(&run), 0);
        check_laws(&alone);
        assert_eq!(alone.would_be, vec![]);
        for candidate in &candidates {
            let shadow = format!(r#"{{"shadow": {{"run": {run}, "candidate": {candidate}}}}}"#);
            let watched = result(&sim, policy(&shadow), 0);
            assert_eq!(facts(&watched), facts(&alone), "{shadow}");
            assert!(watched.would_be.iter().any(|record| record.from != record.to), "{shadow}");
        }
    }
}

#[test]
fn a_shadow_logs_what_the_other_would_have_ordered() {
    let json = r#"{"shadow": {"run": {"fixed": {"replicas": 2}}, "candidate":
        {"warmPool": {"spare": 1, "over": {"schedule": {"timezone": "Etc/UTC", "replicas": 3, "windows":
        {"w": {"start": "0 8 * * *", "end": "1 8 * * *", "exact": 5}}}}}}}}"#;
    let outcome = result(&world(1), policy(json), 0);
    let records: Vec<_> =
        outcome.would_be.iter().map(|r| (r.at, r.of, r.from, r.to, r.spare, r.why.rule)).collect();
    let at = |millis: u64| SimTime::from_nanos(millis * 1_000_000);
    assert_eq!(
        records,
        [(at(0), "schedule", 2, 3, 1, "ScheduleBase"), (at(3_500), "schedule", 2, 5, 1, "ScheduleExact"),]
    );
    assert_eq!(outcome.decisions, vec![]);
}

#[test]
fn windows_scale_the_run_to_the_millisecond_and_their_lead_has_replicas_ready() {
    let run = |lead: &str| {
        let json = format!(
            r#"{{"schedule": {{"timezone": "Etc/UTC", "replicas": 1, "windows":
                {{"w": {{"start": "0 8 * * *", "end": "1 8 * * *", "floor": 3, "leadTime": "{lead}"}}}}}}}}"#
        );
        let mut sim = world(1);
        sim.telemetry.timeline_step = secs(1);
        let outcome = result(&sim, policy(&json), 0);
        check_laws(&outcome);
        let ordered: Vec<u64> =
            outcome.starts.iter().map(|start| start.ordered.as_nanos() / 1_000_000).collect();
        let ready = outcome.timeline.points.iter().position(|p| p.replicas[Phase::Serving as usize] == 3);
        (ordered, ready.map(|index| index + 1))
    };
    // A start takes 16 s and the rest of a second until the probe.
    assert_eq!(run("0s"), (vec![3_500; 2], Some(20)));
    assert_eq!(run("2s"), (vec![1_500; 2], Some(18)));
    // One that has begun already.
    assert_eq!(run("1h"), (vec![], Some(1)));
}

/// A revision, an HTTPScaledObject, a ScaledObject and HPAs: with proxies, timers, zero, usage and two loops.
fn leaves() -> Vec<String> {
    let keda = r#"{"scaleTargetRef": {"name": "replica"}, "minReplicaCount": 0, "maxReplicaCount": 4, "cooldownPeriod": 20,
        "pollingInterval": 5, "triggers": [{"type": "prometheus", "metadata": {"serverAddress": "http://p",
        "query": "sum(gateway_queue_length) + sum(vllm:num_requests_running or vector(0))", "threshold": "4"}}]}"#;
    let http = r#"{"scaleTargetRef": {"name": "replica", "service": "s", "port": 8000}, "replicas": {"min": 0, "max": 4},
        "scaledownPeriod": 20, "scalingMetric": {"concurrency": {"targetValue": 4}}}"#;
    vec![
        hpa("vllm:num_requests_running", 2).replace(
            r#""metrics""#,
            r#""behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}, "metrics""#,
        ),
        format!(r#"{{"keda": {{"scaledObject": {keda}}}}}"#),
        format!(r#"{{"keda": {{"httpScaledObject": {http}}}}}"#),
        r#"{"knative": {"name": "replica", "annotations": {"autoscaling.knative.dev/target": "4",
            "autoscaling.knative.dev/window": "12s", "autoscaling.knative.dev/max-scale": "4"}}}"#
            .to_owned(),
    ]
}

/// Bursts with rests between them, so that what can sleep does.
fn bursts() -> Simulation {
    let gaps: Vec<_> = (0..800)
        .map(|i| (if i % 200 == 199 { 90_000 } else { 20 + i * 7 % 300 }, 100 + (i as u32 * 37) % 400, 60))
        .collect();
    let mut sim = simulation(batch_engine(false), packed(&gaps, 60), 7);
    sim.cluster = Plan::of(pool(2, 4), PRICE);
    sim
}

#[test]
fn what_bounds_nothing_changes_nothing() {
    let sim = bursts();
    for leaf in leaves() {
        let alone = result(&sim, policy(&leaf), 0);
        check_laws(&alone);
        let scaled = alone.decisions.iter().filter(|record| record.from != record.to).count();
        assert!(scaled > 2, "hardly anything is decided: {leaf} {:?}", alone.decisions);
        let window = r#"{"w": {"start": "0 20 * * *", "end": "0 21 * * *", "exact": 1}}"#;
        for wrapped in [
            format!(
                r#"{{"guard": {{"ceiling": 90, "up": {{"replicas": 90, "period": "1s"}}, "over": {leaf}}}}}"#
            ),
            format!(r#"{{"schedule": {{"timezone": "Etc/UTC", "windows": {window}, "over": {leaf}}}}}"#),
            format!(r#"{{"shadow": {{"run": {leaf}, "candidate": {{"fixed": {{"replicas": 3}}}}}}}}"#),
        ] {
            assert_eq!(facts(&result(&sim, policy(&wrapped), 0)), facts(&alone), "{wrapped}");
        }
        // The lower of it and of what is always more. Reasons say who settled what.
        let most = r#"{"schedule": {"timezone": "Etc/UTC", "replicas": 90, "windows":
            {"w": {"start": "0 20 * * *", "end": "0 21 * * *", "exact": 91}}}}"#;
        let least = format!(r#"{{"min": {{"of": {{"own": {leaf}, "most": {most}}}}}}}"#);
        assert_eq!(result(&sim, policy(&least), 0).facts_digest, alone.facts_digest, "{least}");
    }
}

/// A pool of one replica a node, 40 minutes, a single request.
fn nodes() -> Simulation {
    let mut sim = world(1);
    sim.source = packed(&[(0, 1, 1)], 2_400);
    sim.cluster = Plan::of(pool(1, 20), PRICE);
    sim.cluster.provisioner = ProvisionerSpec::AtOnce;
    sim
}

#[test]
fn a_claimed_spare_serves_at_once_and_its_successor_is_ordered_at_once() {
    let json = r#"{"warmPool": {"spare": 2, "over": {"schedule": {"timezone": "Etc/UTC", "replicas": 1, "windows":
        {"w": {"start": "0 8 * * *", "end": "0 9 * * *", "exact": 2}}}}}}"#;
    let mut sim = world(1);
    sim.telemetry.timeline_step = secs(1);
    let outcome = result(&sim, policy(json), 0);
    check_laws(&outcome);
    let at = |phase: Phase, seconds: [usize; 4]| {
        seconds.map(|s| outcome.timeline.points[s - 1].replicas[phase as usize])
    };
    assert_eq!(at(Phase::Serving, [3, 4, 19, 20]), [1, 2, 2, 2]);
    assert_eq!(at(Phase::Held, [3, 4, 19, 20]), [2, 1, 1, 2]);
    let [start] = &outcome.starts[..] else { panic!("one successor: {:?}", outcome.starts) };
    assert_eq!(start.ordered.as_nanos(), 3_500_000_000);
    // What is held is charged: two spares, one from the claim until its successor is ready, two again.
    let millis = |at: SimTime| at.as_nanos() / 1_000_000;
    let ready = millis(start.phases.last().unwrap().to);
    let end = millis(SimTime::ZERO + outcome.trace_end);
    let held = 2 * 3_500 + (ready - 3_500) + 2 * (end - ready);
    assert_eq!(of_replica(outcome.ledger.account(Account::Held)), held);
    assert_eq!(outcome.ledger.placeholder_gpu_ns, 0);
}

/// In ms of one replica.
fn of_replica(gpu_ns: u128) -> u64 {
    u64::try_from(gpu_ns / 2_000_000).unwrap()
}

#[test]
fn held_nodes_are_taken_at_once_and_held_again() {
    let json = r#"{"warmPool": {"spare": 2, "level": "node", "over": {"schedule": {"timezone": "Etc/UTC", "replicas": 1,
        "windows": {"w": {"start": "0 8 * * *", "end": "0 9 * * *", "exact": 4}}}}}}"#;
    let outcome = result(&nodes(), policy(json), 0);
    check_laws(&outcome);
    let waits: Vec<u64> = outcome
        .starts
        .iter()
        .map(|start| {
            (start.time_in(Phase::Pending) + start.time_in(Phase::Provisioning)).as_nanos() / 1_000_000
        })
        .collect();
    // At 3.5 s, two find the nodes that were held; the third waits for one, and so do the placeholders.
    assert_eq!(waits, [0, 0, 47_000]);
    assert_eq!(of_replica(outcome.ledger.billed_gpu_ns), 3 * 2_400_000 + 3 * (2_400_000 - 43_500));
    // Two nodes until 3.5 s, and two from 50.5 s on; their setup from 43.5 s on is of no placeholder.
    let held = 2 * 3_500 + 2 * (2_400_000 - 50_500);
    assert_eq!(of_replica(outcome.ledger.placeholder_gpu_ns), held);
    assert!((outcome.ledger.placeholder_usd() - held as f64 / 3.6e6 * 2.0 * 3.6).abs() < 1e-9);
    assert_eq!(outcome.decisions.last().unwrap().spare, 0);
}

#[test]
fn nodes_that_are_held_no_longer_go() {
    let json = r#"{"warmPool": {"fraction": 1, "level": "node", "over": {"schedule": {"timezone": "Etc/UTC", "replicas": 4,
        "windows": {"w": {"start": "0 8 * * *", "end": "0 9 * * *", "exact": 1}}}}}}"#;
    let mut sim = nodes();
    sim.cluster.pools[0].spec.scale_down_unneeded = Some(secs(100));
    let outcome = result(&sim, policy(json), 0);
    check_laws(&outcome);
    // Eight nodes; from 3.5 s on one replica and one placeholder, and the others go 100 s later.
    assert_eq!(of_replica(outcome.ledger.billed_gpu_ns), 2 * 2_400_000 + 6 * 103_500);
    assert_eq!(of_replica(outcome.ledger.placeholder_gpu_ns), 4 * 3_500 + (2_400_000 - 3_500));
}
