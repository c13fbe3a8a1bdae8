//! Nodes that are taken back and nodes that are not to be had, against pencil and paper.

use super::Simulation;
use super::faults::{FaultSpec, NoCapacitySpec, SpotReclaimSpec};
use super::scale_tests::{timed, world};
use super::storage::{ImagePlan, Plan};
use super::tests::{check_laws, constant, packed, result, secs};
use crate::kernel::SimDuration;
use crate::outcome::{Account, Cause, Phase, RunOutcome, StartResult};

fn reclaim(at: u64, nodes: u32, notice: u64) -> FaultSpec {
    FaultSpec::SpotReclaim(SpotReclaimSpec { at: secs(at), nodes, notice: secs(notice), pools: Vec::new() })
}

fn none_from(from: u64, lasts: u64) -> FaultSpec {
    FaultSpec::NoCapacity(NoCapacitySpec {
        from: secs(from),
        lasts: secs(lasts),
        pools: Vec::new(),
        zones: Vec::new(),
    })
}

/// One replica a node, one a request a second; a start takes 16 s on a node that is there at once.
pub(super) fn single(faults: Vec<FaultSpec>) -> Simulation {
    let mut sim = world(1);
    sim.cluster.pools[0].spec.gpus_per_node = 2;
    sim.faults = faults;
    sim
}

fn ordered_and_took(outcome: &RunOutcome) -> Vec<(u64, u64)> {
    let start = |start: &crate::outcome::StartRecord| {
        assert_eq!(start.result, StartResult::Ready);
        (start.ordered.as_nanos() / 1_000_000_000, start.duration().unwrap().as_nanos() / 1_000_000_000)
    };
    outcome.starts.iter().map(start).collect()
}

#[test]
fn a_reclaimed_node_is_drained_replaced_and_gone_after_its_notice() {
    let outcome = result(&single(vec![reclaim(20, 1, 30)]), timed((2, 0), &[]), 0);
    check_laws(&outcome);
    assert_eq!(ordered_and_took(&outcome), [(20, 16)], "its pod is replaced at once");
    assert_eq!(outcome.starts[0].decided, None, "and nobody decided that");
    assert_eq!(outcome.counts.killed, 0, "answers take 100 ms and the grace period is 30 s");
    // The trace ends at 59.25 s: one node is there all the time, the other until 50 s, the third from 20 s on.
    assert_eq!(outcome.ledger.billed_gpu_ns, 2 * (59_250 + 50_000 + 39_250) * 1_000_000);
}

#[test]
fn what_outlasts_the_notice_is_cut() {
    let mut sim = single(vec![reclaim(20, 2, 1)]);
    let super::EngineParams::Workers { service, .. } = &mut sim.engine else { unreachable!() };
    // Both replicas are always busy: two requests are at work when the notice comes, and take another 1 to 3 s.
    *service = constant(4);
    let outcome = result(&sim, timed((2, 0), &[]), 0);
    check_laws(&outcome);
    assert!(outcome.counts.killed >= 1, "{:?}", outcome.counts);
    assert_eq!(ordered_and_took(&outcome).len(), 2);
    let idle = outcome.ledger.account(Account::ServingIdle);
    assert!(idle > 0);
}

#[test]
fn a_reclaim_of_more_than_there_are_takes_all() {
    let outcome = result(&single(vec![reclaim(20, 9, 5), reclaim(22, 1, 5)]), timed((2, 0), &[]), 0);
    check_laws(&outcome);
    // The two new nodes take pods at 20 s; the second reclaim takes one of them.
    assert_eq!(outcome.starts.iter().filter(|start| start.result == StartResult::Cancelled).count(), 1);
    assert_eq!(outcome.starts.iter().filter(|start| start.result == StartResult::Ready).count(), 2);
}

#[test]
fn the_image_is_lost_with_the_node() {
    let mut sim = single(vec![reclaim(20, 2, 5)]);
    sim.storage = Plan {
        image: Some(ImagePlan {
            layers: vec![(1, secs(7))],
            connections: 1,
            manifest: SimDuration::ZERO,
            per_request: SimDuration::ZERO,
            ..ImagePlan::default()
        }),
        ..Plan::default()
    };
    let outcome = result(&sim, timed((2, 0), &[]), 0);
    check_laws(&outcome);
    let pulled = |start: &crate::outcome::StartRecord| start.time_in(Phase::Pulling) >= secs(7);
    assert_eq!(outcome.starts.iter().filter(|start| pulled(start)).count(), 2);
}

#[test]
fn nodes_that_are_not_to_be_had_are_asked_for_with_a_growing_pause() {
    // Each replica has a node of its own; there is none from 10 s to 1,010 s.
    let mut sim = single(vec![none_from(10, 1_000)]);
    sim.source = packed(&[(0, 1, 1)], 4_000);
    let outcome = result(&sim, timed((1, 0), &[(20, 2, 0)]), 0);
    check_laws(&outcome);
    let start = &outcome.starts[0];
    // Asked at 20 s, at 320 s, at 920 s, and, although there are nodes from 1,010 s on, at 2,120 s.
    assert_eq!(start.time_in(Phase::Pending), secs(2_100));
    assert_eq!(start.unscheduled, Some(crate::outcome::Unscheduled::NoCapacity));
    assert_eq!(start.result, StartResult::Ready);
}

#[test]
fn a_pod_waits_for_the_shortage_and_the_rest_of_the_pause() {
    let mut sim = single(vec![none_from(2, 10)]);
    let gaps: Vec<_> = (0..400).map(|_| (1_000, 1, 1)).collect();
    sim.source = super::tests::packed(&gaps, 0);
    let outcome = result(&sim, timed((1, 0), &[(5, 2, 0)]), 0);
    check_laws(&outcome);
    // Asked at 5.5 s, and again 300 s later; then 16 s.
    assert_eq!(ordered_and_took(&outcome), [(5, 316)]);
    assert_eq!(outcome.starts[0].time_in(Phase::Pending), secs(300));
    assert_eq!(outcome.starts[0].waiting(), secs(300));
}

#[test]
fn time_without_a_node_is_a_cause_of_its_own() {
    let mut sim = single(vec![none_from(0, 100)]);
    sim.initial.state = super::config::InitialState::Cold;
    sim.gateway.request_timeout = secs(20);
    let outcome = result(&sim, timed((1, 0), &[]), 0);
    check_laws(&outcome);
    let breaches = outcome.breaches.expect("an SLO was given");
    assert_eq!(breaches.by_cause[Cause::NoNode.index()], breaches.total);
    // A request a second from 0.25 s on, each with 1 s and given up after 20 s: from 1.25 s to 79.25 s.
    assert_eq!(breaches.time_by_cause[Cause::NoNode.index()], SimDuration::from_millis(78_000));
}
