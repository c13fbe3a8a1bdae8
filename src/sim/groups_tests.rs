//! Replicas of several pods, against pencil and paper.

use rand::RngExt;

use super::Simulation;
use super::config::ProbeSpec;
use super::faults::{FaultSpec, PodCrashSpec, SpotReclaimSpec};
use super::scale_tests::{timed, world};
use super::storage::{ImagePlan, NodePlan, Plan, Source};
use super::tests::{check_laws, constant, result, secs};
use crate::kernel::rng::Purpose;
use crate::kernel::{Distribution, SimDuration, SimTime, Streams};
use crate::outcome::{Account, Phase, RunOutcome, StartRecord, StartResult};

/// Groups of so many pods, each fills a node of 4 GPUs. Starts take 16 s.
fn grouped(size: u32) -> Simulation {
    let mut sim = world(1);
    sim.replica.group_size = size;
    sim.replica.gpus = 4 * size;
    sim
}

/// (replica, phase, from, to, of that waiting) of every phase, s.
fn phases(outcome: &RunOutcome) -> Vec<(u32, Phase, f64, f64, f64)> {
    let of = |start: &StartRecord| {
        let id = start.replica.0;
        let spans = start.phases.clone();
        spans
            .into_iter()
            .map(move |s| (id, s.phase, s.from.as_secs_f64(), s.to.as_secs_f64(), s.waiting.as_secs_f64()))
    };
    outcome.starts.iter().flat_map(of).collect()
}

fn gpu_s(outcome: &RunOutcome, account: Account) -> f64 {
    outcome.ledger.account(account) as f64 / 1e9
}

#[test]
fn a_group_starts_when_the_last_of_its_pods_has_a_node() {
    let mut sim = grouped(2);
    // Three nodes are there, two of them taken: one pod has a node at once, and holds it until the other's comes.
    sim.cluster.pools[0].spec.min_nodes = 3;
    sim.cluster.pools[0].spec.provision = constant(10);
    let outcome = result(&sim, timed((1, 0), &[(2, 2, 0)]), 0);
    check_laws(&outcome);
    let expected = [
        (1, Phase::Provisioning, 2.5, 12.5, 0.0),
        (1, Phase::Pulling, 12.5, 14.5, 0.0),
        (1, Phase::Loading, 14.5, 28.5, 0.0),
    ];
    assert_eq!(phases(&outcome), expected);
    assert!((gpu_s(&outcome, Account::StartUp(Phase::Provisioning)) - 4.0 * 10.0).abs() < 1e-6);
    assert!((gpu_s(&outcome, Account::StartUp(Phase::Loading)) - 8.0 * 14.0).abs() < 1e-6);
    let serving = gpu_s(&outcome, Account::ServingIdle) + gpu_s(&outcome, Account::ServingBusy);
    let end = outcome.trace_end.as_secs_f64();
    assert!((serving - 8.0 * (end + end - 28.5)).abs() < 1e-6, "{serving} of {end}");
}

#[test]
fn each_pod_pulls_for_itself_from_when_it_has_a_node() {
    let mut sim = grouped(2);
    sim.cluster.pools[0].spec.min_nodes = 3;
    sim.cluster.pools[0].spec.provision = constant(4);
    sim.replica.stages = vec![(Phase::Pulling, constant(50)), (Phase::Loading, constant(3))];
    sim.storage = Plan {
        image: Some(ImagePlan {
            layers: vec![(600_000_000, SimDuration::ZERO)],
            connections: 3,
            manifest: SimDuration::ZERO,
            per_request: SimDuration::ZERO,
            ..ImagePlan::default()
        }),
        registry: Source { rate: Some(100_000_000), ..Source::default() },
        nodes: vec![NodePlan::default()],
        ..Plan::default()
    };
    let outcome = result(&sim, timed((1, 0), &[(2, 2, 0)]), 0);
    check_laws(&outcome);
    // The leader has 400 MB when the worker begins. Both at 50 MB/s until the leader is through, 4 s later; the worker has
    // 200 MB by then and needs 4 s more. Alone it would have needed 6 s.
    let expected = [
        (1, Phase::Provisioning, 2.5, 6.5, 0.0),
        (1, Phase::Pulling, 6.5, 14.5, 2.0),
        (1, Phase::Loading, 14.5, 17.5, 0.0),
    ];
    assert_eq!(phases(&outcome), expected);
}

#[test]
fn a_stage_takes_as_long_as_the_slowest_pod() {
    let stage = Distribution::LogNormal { median: secs(10), p95: secs(25) };
    for size in [1, 2, 5] {
        let mut sim = grouped(size);
        sim.replica.stages = vec![(Phase::Pulling, stage.clone()), (Phase::Loading, stage.clone())];
        let outcome = result(&sim, timed((1, 0), &[(2, 2, 0)]), 0);
        check_laws(&outcome);
        let mut rng = Streams::new(sim.seed, 0).stream(Purpose::ColdStart, 1);
        let mut slowest = || (0..size).map(|_| stage.sample(&mut rng)).max().unwrap();
        let expected = [slowest(), slowest()];
        let took: Vec<SimDuration> = outcome.starts[0].phases.iter().map(|s| s.to.since(s.from)).collect();
        assert_eq!(took[..2], expected, "{size}");
    }
}

#[test]
fn the_highest_go_first_and_a_name_is_free_only_when_its_pods_are_gone() {
    let mut sim = grouped(2);
    // A drain of 30 s: nothing is in flight, but it sleeps.
    sim.replica.pre_stop = secs(30);
    // The third group goes at 2.5 s and is gone at 32.5 s; wanted again at 5.5 s, it is made then.
    let outcome = result(&sim, timed((3, 0), &[(2, 2, 0), (5, 3, 0)]), 0);
    check_laws(&outcome);
    let made: Vec<_> = outcome.starts.iter().map(|start| start.ordered.as_secs_f64()).collect();
    assert_eq!(made, [32.5]);
    // A pod of a Deployment has another name.
    let mut sim = grouped(1);
    sim.replica.pre_stop = secs(30);
    let outcome = result(&sim, timed((3, 0), &[(2, 2, 0), (5, 3, 0)]), 0);
    assert_eq!(outcome.starts[0].ordered, SimTime::from_nanos(5_500_000_000));
}

#[test]
fn a_start_is_kept_where_its_index_is_wanted() {
    // One of three groups is made anew at 10 s; at 12.5 s only the first is wanted. A ReplicaSet would always cancel the start.
    let mut kept = 0;
    for seed in 1..10 {
        let mut sim = grouped(2);
        sim.seed = seed;
        sim.faults = vec![FaultSpec::PodCrash(PodCrashSpec { at: secs(10), replicas: 1 })];
        let outcome = result(&sim, timed((3, 0), &[(12, 1, 0)]), 0);
        check_laws(&outcome);
        let crashed = Streams::new(seed, 0).stream(Purpose::Faults, 0).random_range(0..3usize);
        let expected = if crashed == 0 { StartResult::Ready } else { StartResult::Cancelled };
        let results: Vec<_> = outcome.starts.iter().map(|start| start.result).collect();
        assert_eq!(results, [expected], "{seed}");
        kept += u32::from(crashed == 0);
    }
    assert!((1..9).contains(&kept), "both happen: {kept}");
}

#[test]
fn a_crash_makes_the_whole_group_anew() {
    let mut sim = grouped(3);
    sim.faults = vec![FaultSpec::PodCrash(PodCrashSpec { at: secs(10), replicas: 1 })];
    let outcome = result(&sim, timed((2, 0), &[]), 0);
    check_laws(&outcome);
    // Not the same pods with other containers: others, which pull again. The nodes are those that came free.
    let expected = [(2, Phase::Pulling, 10.0, 12.0, 0.0), (2, Phase::Loading, 12.0, 26.0, 0.0)];
    assert_eq!(phases(&outcome)[..2], expected);
    assert_eq!(outcome.starts[0].restarts, 0);
    assert_eq!(outcome.starts.len(), 1);
}

#[test]
fn a_probe_that_kills_a_slow_starter_kills_its_group() {
    let mut sim = grouped(2);
    sim.replica.liveness_probe =
        Some(ProbeSpec { initial_delay: secs(4), period: secs(2), failure_threshold: 3 });
    let outcome = result(&sim, timed((1, 0), &[(2, 2, 0)]), 0);
    check_laws(&outcome);
    // Its container starts at 4.5 s and is killed at the third failure, 8 s later; so is the next.
    let starts: Vec<_> = outcome.starts.iter().map(|s| (s.ordered.as_secs_f64(), s.result)).collect();
    let again = |at: f64| (at, StartResult::Recreated);
    assert_eq!(starts[..3], [again(2.5), again(12.5), again(22.5)], "{starts:?}");
    assert!(outcome.starts.iter().all(|start| start.restarts == 0));
}

#[test]
fn a_group_that_is_killed_at_once_is_not_made_anew_in_the_same_instant() {
    // Nothing takes any time: the image is there, and so is the node. The kubelet's first look finds no container yet, the
    // second kills it; without that the run would never leave the instant.
    let mut sim = grouped(2);
    sim.replica.stages = vec![(Phase::Loading, constant(20))];
    sim.replica.liveness_probe =
        Some(ProbeSpec { initial_delay: secs(0), period: secs(5), failure_threshold: 1 });
    let outcome = result(&sim, timed((1, 0), &[(2, 2, 0)]), 0);
    check_laws(&outcome);
    let starts: Vec<_> = outcome.starts.iter().map(|s| (s.ordered.as_secs_f64(), s.result)).collect();
    let again = |at: f64| (at, StartResult::Recreated);
    assert_eq!(starts[..3], [again(2.5), again(7.5), again(12.5)], "{starts:?}");
}

#[test]
fn a_reclaimed_node_takes_its_group_with_it() {
    let mut sim = grouped(2);
    let reclaim = SpotReclaimSpec { at: secs(10), nodes: 1, notice: secs(30), pools: Vec::new() };
    sim.faults = vec![FaultSpec::SpotReclaim(reclaim)];
    let outcome = result(&sim, timed((1, 0), &[]), 0);
    check_laws(&outcome);
    // One node is left and one is new.
    let expected = [(1, Phase::Pulling, 10.0, 12.0, 0.0), (1, Phase::Loading, 12.0, 26.0, 0.0)];
    assert_eq!(phases(&outcome), expected);
    assert_eq!(outcome.counts.killed, 0, "it drains within the notice");
}

#[test]
fn many_groups_come_and_go_at_once() {
    let mut sim = grouped(2);
    sim.cluster.pools[0].spec.max_nodes = 2_000;
    let outcome = result(&sim, timed((1, 0), &[(2, 600, 0), (30, 1, 0), (40, 300, 0), (41, 1, 0)]), 0);
    check_laws(&outcome);
    assert_eq!(outcome.starts.len(), 599 + 299);
    let cancelled = outcome.starts.iter().filter(|start| start.result == StartResult::Cancelled).count();
    assert_eq!(cancelled, 299);
}
