//! Rolling updates from template to pods, against pencil and paper.

use proptest::prelude::*;

use super::Simulation;
use super::deployment::IntOrPercent::{self, Int, Percent};
use super::fault_tests::single;
use super::rollout::{Failure, RolloutSpec};
use super::scale_tests::timed;
use super::storage::{ImagePlan, Plan, Source};
use super::tests::{check_laws, result, secs};
use crate::kernel::SimDuration;
use crate::outcome::{Phase, RunOutcome, StartRecord, StartResult};

fn rollout(at: u64, max_surge: IntOrPercent, max_unavailable: IntOrPercent) -> RolloutSpec {
    RolloutSpec {
        image: None,
        at: secs(at),
        max_surge,
        max_unavailable,
        min_ready: SimDuration::ZERO,
        fails: None,
        rollback_after: None,
    }
}

/// A replica a node, as many nodes as it takes, starts of 16 s; a timeline to the second.
fn rolling(rollouts: Vec<RolloutSpec>) -> Simulation {
    let mut sim = single(Vec::new());
    sim.rollouts = rollouts;
    sim.telemetry.timeline_step = secs(1);
    sim
}

fn run(sim: &Simulation, replicas: u32) -> RunOutcome {
    let outcome = result(sim, timed((replicas, 0), &[]), 0);
    check_laws(&outcome);
    outcome
}

/// When pods were created, s, and how many.
fn created(outcome: &RunOutcome) -> Vec<(f64, usize)> {
    let mut times: Vec<_> = outcome.starts.iter().map(|start| start.ordered).collect();
    times.sort_unstable();
    times.chunk_by(|a, b| a == b).map(|pods| (pods[0].as_secs_f64(), pods.len())).collect()
}

/// Fewest replicas in rotation, and most that were there and not being deleted.
fn extremes(outcome: &RunOutcome) -> (u32, u32) {
    let points = &outcome.timeline.points;
    let there = |replicas: &[u32]| replicas.iter().sum::<u32>() - replicas[Phase::Draining as usize];
    let least = points.iter().map(|point| point.replicas[Phase::Serving as usize]).min().unwrap();
    (least, points.iter().map(|point| there(&point.replicas)).max().unwrap())
}

#[test]
fn pods_are_replaced_step_by_step() {
    let check = |replicas, surge, unavailable, steps: &[(f64, usize)], least_and_most| {
        let outcome = run(&rolling(vec![rollout(10, surge, unavailable)]), replicas);
        assert_eq!(created(&outcome), steps, "{surge} {unavailable}");
        assert_eq!(extremes(&outcome), least_and_most, "{surge} {unavailable}");
        // The last step may be too late for the end of the run.
        let is_late = |start: &StartRecord| start.ordered.as_nanos() > 43_000_000_000;
        assert!(outcome.starts.iter().all(|start| start.result == StartResult::Ready || is_late(start)));
        assert_eq!(outcome.counts.finished, 60, "nothing is lost");
    };
    check(4, Percent(25), Percent(25), &[(10.0, 2), (26.0, 2)], (3, 5));
    check(4, Percent(25), Int(0), &[(10.0, 1), (26.0, 1), (42.0, 1), (58.0, 1)], (4, 5));
    check(4, Int(0), Percent(50), &[(10.0, 2), (26.0, 2)], (2, 4));
    check(4, Percent(100), Int(0), &[(10.0, 4)], (4, 8));
    check(1, Percent(25), Percent(25), &[(10.0, 1)], (1, 2));
}

#[test]
fn a_pod_counts_once_it_is_ready_for_long_enough() {
    let slow = RolloutSpec { min_ready: secs(5), ..rollout(10, Percent(25), Percent(25)) };
    let outcome = run(&rolling(vec![slow]), 4);
    assert_eq!(created(&outcome), [(10.0, 2), (31.0, 2)]);
}

#[test]
fn controllers_take_their_time() {
    let mut sim = rolling(vec![rollout(10, Percent(25), Percent(25))]);
    sim.control_plane.watch_delay = secs(2);
    sim.control_plane.api_call = secs(1);
    // Heard at 12 s and created a call later each, ready at 29 and 30 s. The first one lets an old one go, and the next come.
    let outcome = run(&sim, 4);
    assert_eq!(created(&outcome), [(13.0, 1), (14.0, 1), (32.0, 1), (33.0, 1)]);
    assert_eq!(extremes(&outcome), (3, 5));
}

#[test]
fn surge_needs_room() {
    let mut sim = rolling(vec![rollout(10, Int(1), Int(0))]);
    sim.cluster.pools[0].spec.max_nodes = 4;
    let outcome = run(&sim, 4);
    assert_eq!((created(&outcome), extremes(&outcome)), (vec![(10.0, 1)], (4, 5)));
    assert_eq!(outcome.starts[0].result, StartResult::Unfinished, "it waits for a node for ever");
    sim.rollouts[0].max_unavailable = Int(1);
    let outcome = run(&sim, 4);
    // One old pod goes and makes room, and the surge waits for the next one.
    assert_eq!(outcome.starts.iter().filter(|start| start.result == StartResult::Ready).count(), 3);
}

#[test]
fn a_broken_version_gets_no_further_and_is_rolled_back() {
    for fails in [Failure::Crash, Failure::NeverReady] {
        let broken = RolloutSpec {
            fails: Some(fails),
            rollback_after: Some(secs(25)),
            ..rollout(10, Percent(25), Percent(25))
        };
        let outcome = run(&rolling(vec![broken.clone()]), 4);
        // Two broken ones until 35 s; then the third old one that went comes back.
        assert_eq!(created(&outcome), [(10.0, 2), (35.0, 1)], "{fails:?}");
        assert_eq!(extremes(&outcome), (3, 5), "{fails:?}");
        let (broken_ones, good): (Vec<_>, Vec<_>) =
            outcome.starts.iter().partition(|start| start.ordered.as_nanos() < 20_000_000_000);
        assert!(good.iter().all(|start| start.result == StartResult::Ready), "{fails:?}");
        for start in broken_ones {
            assert_eq!(start.result, StartResult::Cancelled, "{fails:?}");
            // Its container runs from 12 s on, exits at once, again, and at 22 s.
            let expected = if fails == Failure::Crash { (3, 0) } else { (0, 9) };
            let probing = start.time_in(Phase::Probing).as_nanos() / 1_000_000_000;
            assert_eq!((start.restarts, probing), expected, "{fails:?}");
        }
        // The next version is a good one: its four, and the one that came back.
        let outcome = run(&rolling(vec![broken, rollout(38, Percent(100), Int(0))]), 4);
        assert_eq!(outcome.starts.iter().filter(|start| start.result == StartResult::Ready).count(), 5);
    }
}

#[test]
fn a_changed_order_is_spread_over_both_versions() {
    let sim = rolling(vec![rollout(10, Percent(25), Percent(25))]);
    let outcome = result(&sim, timed((4, 0), &[(12, 8, 0)]), 0);
    check_laws(&outcome);
    // At 12.5 s three old ones and two new ones become six and four, so five more.
    assert_eq!(created(&outcome)[..2], [(10.0, 2), (12.5, 5)]);
    assert_eq!(extremes(&outcome).1, 10);
    assert_eq!(outcome.timeline.points.last().unwrap().replicas[Phase::Serving as usize], 8);
}

#[test]
fn spares_are_pods_of_the_same_deployment() {
    let sim = rolling(vec![rollout(10, Percent(25), Percent(25))]);
    let outcome = result(&sim, timed((2, 1), &[]), 0);
    check_laws(&outcome);
    assert_eq!(created(&outcome), [(10.0, 1), (26.0, 1), (42.0, 1)]);
    assert_eq!(extremes(&outcome), (2, 4));
    let last = outcome.timeline.points.last().unwrap().replicas;
    assert_eq!((last[Phase::Serving as usize], last[Phase::Held as usize]), (2, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// Without a fault and with an order that stands, no update, broken and rolled back or not, has more pods than the order and the
    /// surge, or fewer in rotation than the order less what may be missing.
    #[test]
    fn an_update_keeps_its_bounds(
        replicas in 1u32..7,
        surge in prop_oneof![(0u32..4).prop_map(Int), (0u32..101).prop_map(Percent)],
        unavailable in prop_oneof![(0u32..4).prop_map(Int), (0u32..101).prop_map(Percent)],
        min_ready in 0u64..4,
        fails in prop::option::of(prop_oneof![Just(Failure::Crash), Just(Failure::NeverReady)]),
        rollback in prop::option::of(1u64..30),
        nodes in 1u32..12,
        watch_ms in 0u64..3_000,
        call_ms in 0u64..2_000,
    ) {
        let update = RolloutSpec {
            min_ready: secs(min_ready),
            fails,
            rollback_after: rollback.map(secs),
            ..rollout(5, surge, unavailable)
        };
        let (surge, unavailable) = update.strategy().fenceposts(replicas);
        let mut sim = rolling(vec![update]);
        sim.cluster.pools[0].spec.max_nodes = nodes.max(replicas);
        sim.control_plane.watch_delay = SimDuration::from_millis(watch_ms);
        // A ReplicaSet that is creating pods goes on until it is done, whatever its new size is.
        let call_ms = if rollback.is_some() { 0 } else { call_ms };
        sim.control_plane.api_call = SimDuration::from_millis(call_ms);
        let outcome = run(&sim, replicas);
        let (least, most) = extremes(&outcome);
        prop_assert!(least >= replicas - unavailable, "{least} of {replicas} less {unavailable}");
        prop_assert!(most <= replicas + surge, "{most} of {replicas} and {surge}");
        prop_assert_eq!(outcome.counts.killed, 0);
    }
}

#[test]
fn a_new_version_pulls_the_layers_that_its_nodes_lack() {
    // Nodes of two replicas, so that the new pods find nodes that have the old image: 6 s of layers, of which 4 s are shared.
    let mut sim = rolling(vec![rollout(10, Int(1), Int(0))]);
    sim.cluster.pools[0].spec.gpus_per_node = 4;
    let pulled = |layers: &[u64], shared| ImagePlan {
        layers: layers.iter().map(|layer| (*layer, SimDuration::ZERO)).collect(),
        connections: 1,
        shared,
        ..ImagePlan::default()
    };
    sim.storage = Plan {
        image: Some(pulled(&[400, 200], 0)),
        later_images: vec![Some(pulled(&[400, 300], 1))],
        registry: Source { rate: Some(100), ..Source::default() },
        ..Plan::default()
    };
    let outcome = run(&sim, 1);
    assert_eq!(outcome.starts.len(), 1);
    assert_eq!(outcome.starts[0].time_in(Phase::Pulling), secs(3));
    sim.storage.later_images = vec![None];
    assert_eq!(run(&sim, 1).starts[0].time_in(Phase::Pulling), secs(0), "the image stays");
}
