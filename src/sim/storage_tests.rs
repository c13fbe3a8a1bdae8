//! Starts that pull images and fetch weights, against pencil and paper.

use super::Simulation;
use super::config::InitialState;
use super::scale_tests::{timed, world};
use super::storage::{ImagePlan, NodePlan, Plan, Source, Wares, WeightsPlan};
use super::tests::{check_laws, constant, result, secs};
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::outcome::{Cause, Phase, RunOutcome, StartRecord, StartResult};

const MB: u64 = 1_000_000;

/// One layer of 600 MB; a registry of 100 MB/s; nodes of two replicas, at once. Loading takes 3 s.
fn pulling() -> Simulation {
    let mut sim = world(1);
    sim.replica.stages = vec![(Phase::Pulling, constant(50)), (Phase::Loading, constant(3))];
    sim.storage = Plan {
        image: Some(ImagePlan {
            layers: vec![(600 * MB, SimDuration::ZERO)],
            connections: 3,
            manifest: SimDuration::ZERO,
            per_request: SimDuration::ZERO,
            ..ImagePlan::default()
        }),
        registry: Source { rate: Some(100 * MB), ..Source::default() },
        ..Plan::default()
    };
    sim
}

fn spent(start: &StartRecord, phase: Phase) -> u64 {
    start
        .phases
        .iter()
        .filter(|span| span.phase == phase)
        .map(|span| span.to.since(span.from).as_nanos())
        .sum::<u64>()
        / 1_000_000
}

/// How long each start pulled, ms.
fn pulls(outcome: &RunOutcome) -> Vec<u64> {
    outcome.starts.iter().map(|start| spent(start, Phase::Pulling)).collect()
}

/// How long each start waited in a phase, ms.
fn waits(outcome: &RunOutcome, phase: Phase) -> Vec<u64> {
    let of = |start: &StartRecord| {
        let spans = start.phases.iter().filter(|span| span.phase == phase);
        spans.map(|span| span.waiting.as_nanos()).sum::<u64>() / 1_000_000
    };
    outcome.starts.iter().map(of).collect()
}

#[test]
fn a_herd_shares_the_registry() {
    for (replicas, expected) in [(3, 6_000), (9, 24_000), (17, 48_000)] {
        // One is there from the start, and has a node with room for a second that finds the image there.
        let outcome = result(&pulling(), timed((1, 0), &[(2, replicas, 0)]), 0);
        check_laws(&outcome);
        let mut pulls = pulls(&outcome);
        assert_eq!(pulls.remove(0), 0, "the first comes to the node that has it");
        assert!(pulls.iter().all(|pull| *pull == expected), "{replicas}: {pulls:?}");
        // Alone each would have taken 6 s.
        let waits = waits(&outcome, Phase::Pulling);
        assert!(waits[1..].iter().all(|wait| *wait == expected - 6_000), "{replicas}: {waits:?}");
    }
}

#[test]
fn a_node_forgets_the_image_with_its_end_and_a_pod_does_not() {
    let mut sim = pulling();
    // One replica a node. The second pulls from 2.5 s on; it is gone at 20.5 s, and its node at 25.5 s. The next one
    // pulls anew; the one soon after that has its node.
    sim.cluster.pools[0].spec.gpus_per_node = 2;
    sim.cluster.pools[0].spec.scale_down_unneeded = Some(secs(5));
    let orders = [(2, 2, 0), (20, 1, 0), (30, 2, 0), (42, 1, 0), (44, 2, 0)];
    let outcome = result(&sim, timed((1, 0), &orders), 0);
    check_laws(&outcome);
    assert_eq!(pulls(&outcome), [6_000, 6_000, 0]);
    assert!(outcome.starts.iter().all(|start| start.result == StartResult::Ready));
}

#[test]
fn a_pull_outlives_its_pod() {
    let mut sim = pulling();
    sim.initial.replicas = Some(2);
    // Cancelled after 3 s of 6; the next pod on that node comes 2 s later and waits for the last one.
    let outcome = result(&sim, timed((2, 0), &[(2, 3, 0), (5, 2, 0), (7, 3, 0)]), 0);
    check_laws(&outcome);
    assert_eq!(pulls(&outcome), [3_000, 1_000]);
    // What is left of a pull that began for another pod is all waiting.
    assert_eq!(waits(&outcome, Phase::Pulling), [0, 1_000]);
    assert_eq!(outcome.starts[0].result, StartResult::Cancelled);
}

#[test]
fn weights_wait_for_the_engine_or_come_beside_the_image() {
    let loads = |with_pull: bool, kept: bool| {
        let mut sim = pulling();
        sim.storage.weights =
            Some(WeightsPlan { bytes: 300 * MB, connections: 2, with_pull, kept, streaming: false });
        sim.storage.nodes = vec![NodePlan { rate: Some(100 * MB), ..NodePlan::default() }];
        let outcome = result(&sim, timed((2, 0), &[(2, 3, 0), (30, 4, 0)]), 0);
        check_laws(&outcome);
        // Beside its own weights an image is slower than alone; and nothing else is.
        let slower = if with_pull { 3_000 } else { 0 };
        assert_eq!(waits(&outcome, Phase::Pulling), [slower, 0]);
        assert_eq!(waits(&outcome, Phase::Loading), [0, 0]);
        let starts = outcome.starts.iter();
        starts.map(|start| (spent(start, Phase::Pulling), spent(start, Phase::Loading))).collect::<Vec<_>>()
    };
    // 6 s of image, then 3 s of weights and 3 s of load; the second pod of the node has both.
    assert_eq!(loads(false, true), [(6_000, 6_000), (0, 3_000)]);
    assert_eq!(loads(false, false), [(6_000, 6_000), (0, 6_000)]);
    // Beside each other: three connections of 33 MB/s, so that the weights are there at 4.5 s, and of the image 450 MB
    // are left.
    assert_eq!(loads(true, true), [(9_000, 3_000), (0, 3_000)]);
}

#[test]
fn weights_that_come_while_the_runtime_starts_are_there_when_it_wants_them() {
    for (start_s, expected) in [(1, 5_000), (3, 3_000), (10, 3_000)] {
        let mut sim = pulling();
        sim.replica.stages.insert(1, (Phase::Starting, constant(start_s)));
        sim.storage.nodes =
            vec![NodePlan { rate: Some(100 * MB), present: Wares::IMAGE, ..NodePlan::default() }];
        sim.storage.weights = Some(WeightsPlan {
            bytes: 300 * MB,
            connections: 2,
            with_pull: true,
            kept: true,
            streaming: false,
        });
        let outcome = result(&sim, timed((2, 0), &[(2, 3, 0)]), 0);
        check_laws(&outcome);
        assert_eq!(spent(&outcome.starts[0], Phase::Loading), expected, "3 s of fetch beside {start_s} s");
    }
}

#[test]
fn breaches_name_the_pull_that_was_waited_for() {
    let mut sim = pulling();
    sim.initial.state = InitialState::Cold;
    sim.storage.registry.changes = vec![(SimTime::from_secs(1), 0), (SimTime::from_secs(9), 100 * MB)];
    let outcome = result(&sim, timed((1, 0), &[]), 0);
    check_laws(&outcome);
    assert_eq!(pulls(&outcome), [14_000], "6 s, and 8 of the outage");
    assert_eq!(waits(&outcome, Phase::Pulling), [8_000]);
    assert_eq!(outcome.starts[0].replica, ReplicaId(0));
    let breaches = outcome.breaches.expect("an SLO was given");
    let by = |phase| breaches.by_cause[Cause::StartUp(phase).index()];
    // A request a second from 0.25 s on: up to 10.25 s most of the wait is the pull, up to 16.25 s the 3 s of loading.
    assert_eq!((by(Phase::Pulling), by(Phase::Loading)), (11, 6));
    // In breach from 1.25 s on: the pull ends at 14 s, the load at 17 s. What the queue then takes falls to the causes of those
    // who wait in it: ten a second and 5 ms on the host, first the eleven, then the six, then one that came after.
    let time = |phase| breaches.time_by_cause[Cause::StartUp(phase).index()].as_nanos() / 1_000_000;
    assert_eq!((time(Phase::Pulling), time(Phase::Loading)), (12_750 + 1_105, 3_000 + 600));
    assert_eq!(breaches.time_by_cause[Cause::Saturation.index()], SimDuration::from_millis(100));
    assert_eq!(breaches.duration(), SimDuration::from_millis(17_555));
}

#[test]
fn a_disturbance_that_is_over_before_anybody_pulls_changes_nothing() {
    let mut sim = pulling();
    sim.storage.registry.changes = vec![(SimTime::from_secs(2), 0), (SimTime::from_secs(9), 100 * MB)];
    let outcome = result(&sim, timed((2, 0), &[(20, 3, 0)]), 0);
    check_laws(&outcome);
    assert_eq!(pulls(&outcome), [6_000]);
}

#[test]
fn nodes_that_come_with_it_pull_nothing() {
    let mut sim = pulling();
    sim.storage.nodes = vec![NodePlan { present: Wares::IMAGE, ..NodePlan::default() }];
    let outcome = result(&sim, timed((1, 0), &[(2, 9, 0)]), 0);
    check_laws(&outcome);
    assert_eq!(pulls(&outcome), [0; 8]);
    // In a world where nothing has to be waited for but the probe, every start is work up to it.
    assert!(outcome.starts.iter().all(|start| start.waiting() == start.time_in(Phase::Probing)));
}

#[test]
fn a_load_takes_as_long_as_the_longer_of_reading_and_loading() {
    // 3 s of load of its own beside a read of 300 MB.
    for (disk_mb, expected) in [(50, 6_000), (100, 3_000), (300, 3_000)] {
        let mut sim = pulling();
        sim.storage.image = None;
        sim.replica.stages = vec![(Phase::Loading, constant(3))];
        sim.storage.weights =
            Some(WeightsPlan { bytes: 300 * MB, connections: 1, kept: true, ..WeightsPlan::default() });
        let node = NodePlan { disk_rate: Some(disk_mb * MB), present: Wares::WEIGHTS, ..NodePlan::default() };
        sim.storage.nodes = vec![node];
        let outcome = result(&sim, timed((2, 0), &[(2, 3, 0)]), 0);
        check_laws(&outcome);
        assert_eq!(spent(&outcome.starts[0], Phase::Loading), expected, "{disk_mb} MB/s");
    }
}

#[test]
fn streamed_weights_are_loaded_while_they_come() {
    for (streaming, expected) in [(false, 6_000), (true, 3_000)] {
        let mut sim = pulling();
        sim.storage.image = None;
        sim.replica.stages = vec![(Phase::Loading, constant(3))];
        let weights = WeightsPlan { bytes: 300 * MB, connections: 1, streaming, ..WeightsPlan::default() };
        sim.storage.weights = Some(weights);
        sim.storage.model_store = Source { rate: Some(100 * MB), ..Source::default() };
        let outcome = result(&sim, timed((2, 0), &[(2, 3, 0)]), 0);
        check_laws(&outcome);
        assert_eq!(spent(&outcome.starts[0], Phase::Loading), expected);
        // Loads, or fetches, the second time as the first: nothing is kept.
    }
}
