//! From a written scale to pods and from a deletion to the last request, against pencil and paper.

use std::sync::Arc;

use super::cluster;
use super::config::{ControlPlaneSpec, RouterKind};
use super::engine::WorkersParams;
use super::tests::{PRICE, batch_engine, check_laws, constant, packed, pool, result, secs, simulation};
use super::{EngineParams, Simulation};
use crate::kernel::{SimDuration, SimTime};
use crate::outcome::{Account, BreachOutcome, Cause, Phase, RunOutcome, StartRecord, StartResult};
use crate::policy::api::Path;
use crate::policy::{Autoscaler, Decision, Loop, Reason, View};

/// Orders (replicas, spare) at given seconds, and logs what it sees each second.
struct Timed {
    orders: Vec<(u64, u32, u32)>,
    start: (u32, u32),
    turn: u64,
}

impl Autoscaler for Timed {
    fn loops(&self) -> Vec<Loop> {
        // Half a second beside everything else, so that nothing depends on ties.
        vec![Loop { name: "timed", period: secs(1), phase: Some(SimDuration::from_millis(500)) }]
    }
    fn decide(&mut self, _: usize, view: &View<'_>) -> Option<Decision> {
        let now = self.turn;
        self.turn += 1;
        let last = self.orders.iter().rev().find(|order| order.0 <= now);
        let (replicas, spare) = last.map_or(self.start, |order| (order.1, order.2));
        // Another rule each time: every turn is logged.
        let rule = if self.turn.is_multiple_of(2) { "even" } else { "odd" };
        let detail = format!("{}/{}", view.status_replicas, view.spec_replicas);
        Some(Decision { replicas, spare, path: Path::Direct, why: Reason::new(rule, detail) })
    }
    fn initial(&self) -> (u32, u32) {
        self.start
    }
    fn maximum(&self) -> Option<u32> {
        None
    }
}

pub(super) fn timed(start: (u32, u32), orders: &[(u64, u32, u32)]) -> Box<dyn Autoscaler> {
    Box::new(Timed { orders: orders.to_vec(), start, turn: 0 })
}

/// `rate` requests a second for a minute, the first a quarter of a second after the start; each takes a replica's
/// one worker 100 ms. Starts take 16 s.
pub(super) fn world(per_second: u64) -> Simulation {
    let gap = 1_000 / per_second;
    let gaps: Vec<_> = (0..60 * per_second).map(|i| (if i == 0 { 250 } else { gap }, 1, 1)).collect();
    let engine = EngineParams::Workers {
        workers: WorkersParams { workers: 1, queue_limit: None, penalties: Arc::new([]) },
        service: crate::kernel::Distribution::Constant(SimDuration::from_millis(100)),
    };
    let mut sim = simulation(engine, packed(&gaps, 0), 1);
    sim.gateway.router = RouterKind::RoundRobin;
    sim.replica.stages = vec![(Phase::Pulling, constant(2)), (Phase::Loading, constant(14))];
    sim.replica.readiness.period = secs(1);
    sim.replica.termination_grace_period = secs(30);
    sim.cluster = cluster::Plan::of(pool(4, 40), PRICE);
    sim.cluster.pools[0].spec.provision = constant(0);
    sim.cluster.pools[0].spec.setup = constant(0);
    sim
}

fn delays(watch_s: u64, call_s: u64) -> ControlPlaneSpec {
    ControlPlaneSpec { watch_delay: secs(watch_s), api_call: secs(call_s) }
}

/// How many pods were created when, s.
fn created(outcome: &RunOutcome) -> Vec<(f64, usize)> {
    let mut times: Vec<SimTime> = outcome.starts.iter().map(|start| start.ordered).collect();
    times.sort_unstable();
    times.chunk_by(|a, b| a == b).map(|pods| (pods[0].as_secs_f64(), pods.len())).collect()
}

#[test]
fn pods_are_created_in_batches_that_double() {
    let batches = |watch_s, call_s, orders: &[(u64, u32, u32)]| {
        let mut sim = world(1);
        sim.control_plane = delays(watch_s, call_s);
        let outcome = result(&sim, timed((1, 0), orders), 0);
        check_laws(&outcome);
        // Each pod knows the order it was made for, also after 500 of them.
        let wanted_at = |start: &StartRecord| {
            let decided = start.decided.expect("no pod went");
            orders.iter().any(|order| SimTime::from_secs(order.0) + SimDuration::from_millis(500) == decided)
        };
        assert!(outcome.starts.iter().all(wanted_at), "{:?}", outcome.starts);
        created(&outcome)
    };
    // Without delays all of them at the instant of the decision.
    assert_eq!(batches(0, 0, &[(3, 11, 0)]), [(3.5, 10)]);
    assert_eq!(batches(2, 0, &[(3, 11, 0)]), [(5.5, 10)]);
    assert_eq!(batches(0, 1, &[(3, 11, 0)]), [(4.5, 1), (5.5, 2), (6.5, 4), (7.5, 3)]);
    assert_eq!(batches(2, 1, &[(3, 5, 0)]), [(6.5, 1), (7.5, 2), (8.5, 1)]);
    // What is written while a sync is going on waits for its end: 1 and 2 and then 1 and 1, not 4.
    assert_eq!(batches(0, 1, &[(3, 4, 0), (4, 6, 0)]), [(4.5, 1), (5.5, 2), (6.5, 1), (7.5, 1)]);
    // 500 a sync: 1 + 2 + .. + 128 + 245, then from 1 again.
    let mut expected: Vec<(f64, usize)> = (0..8).map(|i| (4.5 + f64::from(i), 1 << i)).collect();
    expected.push((12.5, 245));
    expected.extend((0..6).map(|i| (13.5 + f64::from(i), 1 << i)));
    expected.push((19.5, 37));
    assert_eq!(batches(0, 1, &[(3, 601, 0)]), expected);
    assert_eq!(batches(0, 0, &[(3, 601, 0)]), [(3.5, 600)]);
}

#[test]
fn the_autoscaler_sees_what_exists_and_the_newest_order_wins() {
    let mut sim = world(1);
    sim.control_plane = delays(1, 2);
    // Eight more are heard of at 4.5 s and made by 12.5 s, although two are wanted from 6.5 s on.
    let outcome = result(&sim, timed((1, 0), &[(3, 9, 0), (6, 2, 0)]), 0);
    check_laws(&outcome);
    assert_eq!(created(&outcome), [(6.5, 1), (8.5, 2), (10.5, 4), (12.5, 1)]);
    let seen: Vec<&str> = outcome.decisions[..17].iter().map(|d| d.why.detail.as_str()).collect();
    let expected = [
        "1/1", "1/1", "1/1", "1/1", "1/9", "1/9", "2/9", "2/2", "4/2", "4/2", "8/2", "8/2", "9/2", "9/2",
        "2/2", "2/2", "2/2",
    ];
    assert_eq!(seen, expected);
    // The seven deleted ones were all still on their way.
    let cancelled = outcome.starts.iter().filter(|start| start.result == StartResult::Cancelled).count();
    assert_eq!((cancelled, outcome.counts.finished), (7, 60));
}

#[test]
fn a_start_that_is_ready_before_the_controller_acts_serves() {
    // Ordered at 1.5 s, heard of and created at 11.5 s, ready at 27.5 s. Taken back at 16.5 s, which is heard of at 26.5 s.
    let mut sim = world(2);
    sim.control_plane = delays(10, 0);
    let outcome = result(&sim, timed((1, 0), &[(1, 2, 0), (16, 1, 0)]), 0);
    let [start] = outcome.starts.as_slice() else { panic!("{:?}", outcome.starts) };
    assert_eq!((start.ordered, start.result), (SimTime::from_nanos(11_500_000_000), StartResult::Cancelled));
    let outcome = result(&sim, timed((1, 0), &[(1, 2, 0), (25, 1, 0)]), 0);
    assert_eq!(outcome.starts[0].result, StartResult::Ready);
    let held: u32 = outcome.timeline.points.iter().map(|p| p.replicas[Phase::Held as usize]).sum();
    assert_eq!(held, 0, "nobody ordered a spare");
    let serving: Vec<u32> =
        outcome.timeline.points.iter().map(|p| p.replicas[Phase::Serving as usize]).collect();
    assert_eq!(serving[1], 2, "at 30 s, although one was ordered at 25.5 s: {serving:?}");
}

#[test]
fn doubled_up_pods_go_first() {
    // Three replicas on nodes for two: the pair loses one, and both nodes stay.
    let mut sim = world(1);
    sim.cluster.pools[0].spec.scale_down_unneeded = Some(secs(5));
    let outcome = result(&sim, timed((3, 0), &[(3, 2, 0)]), 0);
    check_laws(&outcome);
    let nodes = |outcome: &RunOutcome| -> Vec<u32> {
        // The last point is taken once the bill is closed.
        let points = outcome.timeline.points.split_last().expect("a minute has points").1;
        points.iter().map(|point| point.nodes).collect()
    };
    assert_eq!(nodes(&outcome), [2, 2, 2]);
    // The pair is of one age and the single one is not ready: then that goes.
    let outcome = result(&sim, timed((2, 0), &[(3, 3, 0), (8, 2, 0)]), 0);
    assert_eq!(outcome.starts[0].result, StartResult::Cancelled);
    assert_eq!(nodes(&outcome), [1, 1, 1]);
}

#[test]
fn the_way_out_takes_requests_until_the_stop_and_refuses_them_after_it() {
    // One of two replicas is deleted at 10.5 s. Of 4 requests/s it gets 2.
    let check = |removal_s: u64, pre_stop_s: u64, refused: u64, draining_s: f64| {
        let mut sim = world(4);
        sim.replica.endpoint_removal_delay = secs(removal_s);
        sim.replica.pre_stop = secs(pre_stop_s);
        let outcome = result(&sim, timed((2, 0), &[(10, 1, 0)]), 0);
        check_laws(&outcome);
        let what = format!("removal {removal_s} s, preStop {pre_stop_s} s");
        assert_eq!((outcome.counts.rejected, outcome.counts.killed), (refused, 0), "{what}");
        assert_eq!(outcome.counts.finished, 240 - refused, "{what}");
        let breaches = outcome.breaches.as_ref().expect("an SLO was given");
        assert_eq!(breaches.by_cause[Cause::Drain.index()], refused, "{what}");
        let stop = 10.5 + pre_stop_s as f64;
        for record in breaches.first.iter().filter(|r| r.breach.is_some_and(|b| b.1 == Cause::Drain)) {
            assert_eq!(record.breach, Some((BreachOutcome::Rejected, Cause::Drain)), "{what}");
            let (_, routed) = record.routed.expect("it was routed to the replica that refused it");
            assert_eq!((routed, record.end), (record.arrival, record.arrival), "{what}");
            assert!((stop..10.5 + removal_s as f64).contains(&routed.as_secs_f64()), "{what}: {routed:?}");
        }
        // It holds its two GPUs until it is told to stop, whatever it still gets.
        let gpu_s = outcome.ledger.account(Account::Draining) as f64 / 1e9;
        assert!((gpu_s - 2.0 * draining_s).abs() < 0.3, "{what}: {gpu_s} GPU-s of draining");
    };
    check(0, 0, 0, 0.0);
    check(0, 6, 0, 6.0);
    check(4, 0, 8, 0.0);
    check(4, 1, 6, 1.0);
    check(4, 4, 0, 4.0);
    check(4, 9, 0, 9.0);
    check(29, 30, 0, 30.0);
}

#[test]
fn what_a_pre_stop_let_in_is_killed_at_the_end_of_the_grace_period() {
    // Answers take 20 s and the grace period is 15 s: who came up to 10 s after the deletion is cut.
    let mut sim = world(4);
    sim.engine = EngineParams::Workers {
        workers: WorkersParams { workers: 200, queue_limit: None, penalties: Arc::new([]) },
        service: constant(20),
    };
    sim.gateway.request_timeout = SimDuration::ZERO;
    sim.replica.termination_grace_period = secs(15);
    sim.replica.endpoint_removal_delay = secs(10);
    sim.replica.pre_stop = secs(12);
    let outcome = result(&sim, timed((2, 0), &[(30, 1, 0)]), 0);
    check_laws(&outcome);
    // The deletion is at 30.5 s, the kill at 45.5 s: of what came after 25.5 s until 40.5 s, half was there.
    assert_eq!((outcome.counts.killed, outcome.counts.rejected), (30, 0));
    let draining = outcome.ledger.account(Account::Draining) as f64 / 1e9;
    assert!((draining - 2.0 * 15.0).abs() < 1e-6, "{draining}");
    let cut = outcome.breaches.expect("an SLO was given").by_cause[Cause::Drain.index()];
    assert_eq!(cut, 30);
}

#[test]
fn both_engines_agree_on_requests_that_a_drain_refuses_and_cuts() {
    let gaps: Vec<_> = (0..600).map(|i| (90 + i * 7 % 60, 40, 250)).collect();
    let outcome = |exact_steps: bool| {
        let mut sim = simulation(batch_engine(exact_steps), packed(&gaps, 0), 1);
        sim.gateway.router = RouterKind::RoundRobin;
        sim.control_plane = delays(1, 1);
        sim.replica.endpoint_removal_delay = secs(6);
        sim.replica.pre_stop = secs(4);
        result(&sim, timed((4, 0), &[(8, 1, 0), (12, 5, 0), (40, 2, 0)]), 0)
    };
    let (fast, slow) = (outcome(false), outcome(true));
    check_laws(&fast);
    assert!(fast.counts.rejected > 10 && fast.counts.killed > 10, "{:?}", fast.counts);
    assert_eq!(fast.facts_digest, slow.facts_digest);
    assert_eq!((fast.counts, fast.breaches), (slow.counts, slow.breaches));
    assert_eq!((fast.ledger, fast.timeline, fast.starts), (slow.ledger, slow.timeline, slow.starts));
}

#[test]
fn a_start_that_is_cancelled_runs_its_pre_stop_once_its_container_runs() {
    for (cancelled_at, pre_stop_s, draining_s) in [(4, 6, 0.0), (8, 6, 6.0), (8, 0, 0.0)] {
        let mut sim = world(1);
        sim.replica.pre_stop = secs(pre_stop_s);
        // Ordered at 3.5 s, its container starts at 5.5 s.
        let outcome = result(&sim, timed((1, 0), &[(3, 2, 0), (cancelled_at, 1, 0)]), 0);
        check_laws(&outcome);
        assert_eq!(outcome.starts[0].result, StartResult::Cancelled);
        let gpu_s = outcome.ledger.account(Account::Draining) as f64 / 1e9;
        assert!((gpu_s - 2.0 * draining_s).abs() < 1e-6, "{cancelled_at}, {pre_stop_s}: {gpu_s}");
    }
}

#[test]
fn spares_go_before_replicas_in_rotation() {
    let sim = world(4);
    let outcome = result(&sim, timed((3, 2), &[(10, 3, 0)]), 0);
    check_laws(&outcome);
    let serving = |point: &crate::outcome::timeline::Point| point.replicas[Phase::Serving as usize];
    assert!(outcome.timeline.points.iter().all(|point| serving(point) == 3));
    assert_eq!(outcome.ledger.account(Account::Draining), 0, "spares have nothing to finish");
}
