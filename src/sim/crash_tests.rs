//! Machines that vanish, containers that exit, GPUs that fail and metrics that are out, against pencil and paper.

use super::Simulation;
use super::fault_tests::single;
use super::faults::{
    FaultSpec, GpuErrorSpec, Metrics, MetricsOutageSpec, NodeLossSpec, PodCrashSpec, SpotReclaimSpec,
};
use super::scale_tests::timed;
use super::tests::{check_laws, constant, result, secs};
use crate::kernel::SimDuration;
use crate::outcome::{Account, Cause, Phase, RunOutcome, StartResult};
use crate::policy::api::Path;
use crate::policy::{Autoscaler, Decision, Loop, Reason, View};
use crate::promql::{Answer, Query};

fn loss(at: u64, nodes: u32, not_ready_after: u64, evict_after: u64) -> FaultSpec {
    FaultSpec::NodeLoss(NodeLossSpec {
        at: secs(at),
        nodes,
        not_ready_after: secs(not_ready_after),
        evict_after: secs(evict_after),
    })
}

fn crash(at: u64, replicas: u32) -> FaultSpec {
    FaultSpec::PodCrash(PodCrashSpec { at: secs(at), replicas })
}

fn gpu_error(at: u64, drained_after: u64) -> FaultSpec {
    FaultSpec::GpuError(GpuErrorSpec { at: secs(at), replicas: 1, drained_after: secs(drained_after) })
}

/// Of each start: when it began and how long it took, s, how often its container started again, whether it is one after a crash,
/// and how it ended.
fn starts(outcome: &RunOutcome) -> Vec<(f64, f64, u32, bool, StartResult)> {
    let mut starts: Vec<_> = outcome
        .starts
        .iter()
        .map(|start| {
            let end = start.phases.last().map_or(start.ordered, |phase| phase.to);
            let took = end.since(start.ordered).as_secs_f64();
            (start.ordered.as_secs_f64(), took, start.restarts, start.again, start.result)
        })
        .collect();
    starts.sort_by(|a, b| a.0.total_cmp(&b.0));
    starts
}

fn run(sim: &Simulation, replicas: u32) -> RunOutcome {
    let outcome = result(sim, timed((replicas, 0), &[]), 0);
    check_laws(&outcome);
    outcome
}

fn held_gpu_s(outcome: &RunOutcome) -> u128 {
    outcome.ledger.account(Account::Held) / 1_000_000_000
}

#[test]
fn a_lost_node_gets_requests_until_it_is_not_ready_and_is_replaced_when_it_is_evicted() {
    let outcome = run(&single(vec![loss(20, 1, 10, 5)]), 2);
    assert_eq!(starts(&outcome), [(35.0, 16.0, 0, false, StartResult::Ready)]);
    // Ten requests come from 20.25 to 29.25 s, and every other one goes where nobody answers.
    assert_eq!((outcome.counts.rejected, outcome.counts.killed), (5, 0));
    let breaches = outcome.breaches.as_ref().unwrap();
    assert_eq!(breaches.by_cause[Cause::Drain.index()], 5);
    // Each is refused when its connection is given up: 5 s after it came.
    let first = &breaches.first[0];
    assert_eq!(first.end.since(first.arrival), secs(5));
    // One machine is there all the time, one until it is lost, and one from when its pod is evicted.
    assert_eq!(outcome.ledger.billed_gpu_ns, 2 * (59_250 + 20_000 + 24_250) * 1_000_000);
    let serving: Vec<u32> =
        outcome.timeline.points.iter().map(|point| point.replicas[Phase::Serving as usize]).collect();
    assert_eq!(serving, [2, 1, 1, 2], "at 15, 30, 45 s and the end");
}

#[test]
fn what_runs_on_a_lost_node_is_gone_at_once() {
    let mut sim = single(vec![loss(20, 9, 10, 5)]);
    let super::EngineParams::Workers { service, .. } = &mut sim.engine else { unreachable!() };
    *service = constant(4);
    let outcome = result(&sim, timed((2, 0), &[(18, 3, 0)]), 0);
    check_laws(&outcome);
    assert!(outcome.counts.killed >= 2, "{:?}", outcome.counts);
    let all = starts(&outcome);
    // The third one was 1.5 s old; all three are replaced.
    assert_eq!(all[0], (18.5, 1.5, 0, false, StartResult::NodeLost));
    assert_eq!(
        all[1..].iter().filter(|start| **start == (35.0, 16.0, 0, false, StartResult::Ready)).count(),
        3
    );
    // A node that is drained for its notice when it vanishes, and one that is lost twice, end once.
    let reclaim = FaultSpec::SpotReclaim(SpotReclaimSpec {
        at: secs(19),
        nodes: 1,
        notice: secs(30),
        pools: Vec::new(),
    });
    run(&single(vec![reclaim, loss(20, 9, 1, 1), loss(20, 9, 10, 5), gpu_error(20, 5)]), 2);
}

#[test]
fn a_spare_steps_in_when_the_loss_is_noticed() {
    let mut sim = single(vec![loss(20, 1, 15, 300)]);
    // Which node is lost is drawn: one in rotation, or the spare's.
    let at_30_s: Vec<u32> = (0..8)
        .map(|seed| {
            sim.seed = seed;
            let outcome = result(&sim, timed((2, 1), &[]), 0);
            check_laws(&outcome);
            assert!(outcome.starts.is_empty(), "nothing is evicted before the end");
            let serving = |index: usize| outcome.timeline.points[index].replicas[Phase::Serving as usize];
            assert_eq!((serving(0), serving(2)), (2, 2), "at 15 and 45 s");
            serving(1)
        })
        .collect();
    assert!(at_30_s.contains(&1) && at_30_s.contains(&2), "{at_30_s:?}");
}

#[test]
fn a_crashed_container_starts_again_on_its_node() {
    let outcome = run(&single(vec![crash(20, 1)]), 2);
    // Without the pull, at once.
    assert_eq!(starts(&outcome), [(20.0, 14.0, 1, true, StartResult::Ready)]);
    assert_eq!((outcome.counts.rejected, outcome.counts.killed, outcome.counts.finished), (0, 0, 60));
    // It was ready before: what it holds meanwhile is no start-up.
    assert_eq!((held_gpu_s(&outcome), outcome.ledger.start_up_gpu_ns()), (28, 0));
    assert_eq!((outcome.ledger.cold_starts, outcome.ledger.start_up_ns), (0, 0));
    assert_eq!(outcome.ledger.billed_gpu_ns, 4 * 59_250 * 1_000_000);
}

#[test]
fn requests_in_a_crashed_container_are_cut_and_its_endpoint_lingers() {
    let mut sim = single(vec![crash(20, 1)]);
    sim.replica.endpoint_removal_delay = secs(4);
    let super::EngineParams::Workers { service, .. } = &mut sim.engine else { unreachable!() };
    *service = constant(2);
    let outcome = run(&sim, 1);
    // It is always busy: one is at work and the rest waits in it; the four that come while the endpoint is there are refused.
    assert!(outcome.counts.killed > 1, "{:?}", outcome.counts);
    assert_eq!(outcome.counts.rejected, 4);
    // The endpoint is there still when the container serves again, and stays.
    sim.replica.endpoint_removal_delay = secs(20);
    let outcome = run(&sim, 1);
    assert_eq!(outcome.counts.rejected, 14, "{:?}", outcome.counts);
    assert!(outcome.counts.finished > 12, "{:?}", outcome.counts);
}

#[test]
fn the_kubelet_waits_longer_each_time_and_a_start_can_crash_too() {
    let outcome = run(&single(vec![crash(20, 1), crash(40, 1)]), 1);
    let expected = [(20.0, 14.0, 1, true, StartResult::Ready), (40.0, 24.0, 1, true, StartResult::Ready)];
    assert_eq!(starts(&outcome), expected);
    // Created at 2.5 s, its container runs from 4.5 s on; at 3 s it has none that could exit.
    let start = |at: u64| {
        let outcome = result(&single(vec![crash(at, 2)]), timed((1, 0), &[(2, 2, 0)]), 0);
        check_laws(&outcome);
        *starts(&outcome).iter().find(|start| start.0 > 2.0 && !start.3).unwrap()
    };
    assert_eq!(start(3), (2.5, 16.0, 0, false, StartResult::Ready));
    assert_eq!(start(10), (2.5, 21.5, 1, false, StartResult::Ready));
}

#[test]
fn a_container_on_a_failed_gpu_dies_until_its_node_is_drained() {
    let mut sim = single(vec![gpu_error(20, 15)]);
    sim.replica.termination_grace_period = secs(5);
    let outcome = run(&sim, 2);
    // It exits at 20, at once again, at 30, and would at 50 s; the node is drained at 35 s and given back at 40 s.
    let expected =
        [(20.0, 15.0, 3, true, StartResult::Cancelled), (35.0, 16.0, 0, false, StartResult::Ready)];
    assert_eq!(starts(&outcome), expected);
    assert_eq!(outcome.ledger.billed_gpu_ns, 2 * (59_250 + 40_000 + 24_250) * 1_000_000);
    // A GPU that has failed takes no other pod: with a second pair of GPUs on each node, the next one goes there.
    sim.cluster.pools[0].spec.gpus_per_node = 4;
    sim.faults = vec![gpu_error(20, 300)];
    let nodes = |orders: &[(u64, u32, u32)]| {
        let outcome = result(&sim, timed((1, 0), orders), 0);
        check_laws(&outcome);
        outcome.timeline.points.iter().map(|point| point.nodes).max().unwrap()
    };
    assert_eq!(nodes(&[(30, 0, 0), (32, 1, 0)]), 1);
    assert_eq!(nodes(&[(30, 0, 0), (32, 2, 0)]), 2);
}

/// Asks a query and reads usage each second.
struct Asker(Query);

impl Autoscaler for Asker {
    fn loops(&self) -> Vec<Loop> {
        vec![Loop { name: "asker", period: secs(1), phase: Some(SimDuration::from_millis(500)) }]
    }
    fn decide(&mut self, _: usize, view: &View<'_>) -> Option<Decision> {
        let answer = match view.prometheus.answer(&self.0) {
            Ok(Answer::Vector(samples)) => samples.first().map_or(0.0, |sample| sample.value).to_string(),
            Ok(Answer::Scalar(value)) => value.to_string(),
            Err(error) => error.to_string(),
        };
        let usage = view.pods.iter().filter(|pod| pod.usage.is_some()).count();
        let secs = view.now.as_nanos() / 1_000_000_000;
        let rule = if secs.is_multiple_of(2) { "even" } else { "odd" };
        let why = Reason::new(rule, format!("{answer}/{usage}"));
        Some(Decision { replicas: 1, spare: 0, path: Path::Direct, why })
    }
    fn queries(&self) -> Vec<&Query> {
        vec![&self.0]
    }
    fn reads_usage(&self) -> bool {
        true
    }
    fn initial(&self) -> (u32, u32) {
        (1, 0)
    }
    fn maximum(&self) -> Option<u32> {
        None
    }
}

#[test]
fn metrics_that_are_out_answer_with_an_error_and_leave_a_hole() {
    let details = |what: Metrics| -> Vec<String> {
        let outage = MetricsOutageSpec { from: secs(18), lasts: secs(22), what };
        let mut sim = single(vec![FaultSpec::MetricsOutage(outage)]);
        // Both are read at 5, 20, 35 and 50 s.
        sim.telemetry.scrape_phase = Some(secs(5));
        let query = Query::compile("count_over_time(gateway_queue_length[1m])").unwrap();
        let outcome = result(&sim, Box::new(Asker(query)), 0);
        check_laws(&outcome);
        // At 10.5, 19.5, 39.5, 40.5 and 50.5 s.
        [10, 19, 39, 40, 50].map(|at| outcome.decisions[at].why.detail.clone()).into()
    };
    assert_eq!(
        details(Metrics::Prometheus),
        ["1/0", "connect: connection refused/0", "connect: connection refused/1", "1/1", "2/1"]
    );
    // Of CPU the container's first sample comes with its second reading: after the outage.
    assert_eq!(details(Metrics::MetricsServer), ["1/0", "1/0", "3/0", "3/0", "4/1"]);
    assert_eq!(details(Metrics::Both)[1..3], ["connect: connection refused/0"; 2].map(str::to_owned));
}
