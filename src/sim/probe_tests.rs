//! What startup and liveness probes do to starts, against pencil and paper.

use super::Simulation;
use super::config::{ProbeSpec, ReadyAfter};
use super::scale_tests::{timed, world};
use super::tests::{check_laws, result, secs};
use crate::outcome::{Cause, Phase, RunOutcome, StartResult};

/// Starts of 2 s of pull and 14 s of loading; a second replica is ordered at 2.5 s, so that its container starts at 4.5 s and
/// its server answers at 18.5 s. Probers tick from 2.5 s on.
fn start(change: impl Fn(&mut Simulation)) -> RunOutcome {
    let mut sim = world(1);
    change(&mut sim);
    let outcome = result(&sim, timed((1, 0), &[(2, 2, 0)]), 0);
    check_laws(&outcome);
    outcome
}

fn probe(initial_delay: u64, period: u64, failure_threshold: u32) -> ProbeSpec {
    ProbeSpec { initial_delay: secs(initial_delay), period: secs(period), failure_threshold }
}

/// When the start was ready, s since its order, and how often its container was killed.
fn ready(outcome: &RunOutcome) -> (Option<f64>, u32) {
    let start = &outcome.starts[0];
    let secs = start.duration().filter(|_| start.result == StartResult::Ready);
    (secs.map(crate::kernel::SimDuration::as_secs_f64), start.restarts)
}

#[test]
fn a_slow_start_is_killed_by_its_liveness_probe_and_a_quick_one_is_not() {
    let with =
        |liveness: Option<ProbeSpec>| ready(&start(|sim| sim.replica.liveness_probe.clone_from(&liveness)));
    assert_eq!(with(None), (Some(16.0), 0));
    // Ticks at 5.5, 8.5, .. s: the fifth failure is at 17.5 s, the sixth would be at 20.5 s.
    assert_eq!(with(Some(probe(0, 3, 6))), (Some(16.0), 0));
    // Killed at 17.5 s, and started again at once: ticks from 17.5 to 29.5 s, and the server would be up at 31.5 s. Started at
    // 39.5 s: ticks from 41.5 to 53.5 s, when it answers.
    assert_eq!(with(Some(probe(0, 3, 5))), (Some(51.0), 2));
    // The third container waited for 10 s of back-off, and for its probe from 52.5 s, when its server answered, to 53.5 s.
    let killed = start(|sim| sim.replica.liveness_probe = Some(probe(0, 3, 5)));
    assert_eq!(killed.starts[0].waiting(), secs(10));
    // A delay puts the first tick off: from 14.5 s on, 14.5 and 17.5 s; the third would be at 20.5 s.
    assert_eq!(with(Some(probe(10, 3, 3))), (Some(16.0), 0));
    // Killed at 17.5 s; the next time the ticks fall better: 29.5 and 32.5 s, and the server is up at 31.5 s.
    assert_eq!(with(Some(probe(10, 3, 2))), (Some(29.0), 1));
    // At the very instant of the last probe the server answers: ticks at 18.5 s.
    assert_eq!(with(Some(probe(0, 16, 1))), (Some(16.0), 0));
}

#[test]
fn a_startup_probe_protects_from_the_liveness_probe_and_delays_readiness() {
    let with = |startup: Option<ProbeSpec>, initial_delay| {
        ready(&start(|sim| {
            sim.replica.startup_probe.clone_from(&startup);
            sim.replica.liveness_probe = Some(probe(0, 1, 1));
            sim.replica.readiness.initial_delay = secs(initial_delay);
        }))
    };
    // Ticks 2.5 s + 5 k: the server is found up at 22.5 s, and is ready at once.
    assert_eq!(with(Some(probe(0, 5, 30)), 0), (Some(20.0), 0));
    // Unless the readiness probe has a delay of its own: 4.5 + 25 s.
    assert_eq!(with(Some(probe(0, 5, 30)), 25), (Some(27.0), 0));
    let (secs, restarts) = with(Some(probe(0, 5, 2)), 0);
    assert_eq!((secs, restarts > 0), (None, true));
}

#[test]
fn so_many_probes_in_a_row_must_pass() {
    let with = |threshold| {
        ready(&start(|sim| {
            sim.replica.readiness.period = secs(2);
            sim.replica.readiness.success_threshold = threshold;
        }))
    };
    assert_eq!(with(1), (Some(16.0), 0));
    assert_eq!(with(3), (Some(20.0), 0));
}

#[test]
fn back_off_doubles_and_is_part_of_the_container_start() {
    // 2 s of patience: killed at 6.5 s, 8.5 s, then after 10, 20 and 40 s of waiting and 2 s each.
    let outcome = start(|sim| sim.replica.liveness_probe = Some(probe(0, 2, 2)));
    let start = &outcome.starts[0];
    let spans: Vec<(Phase, f64)> =
        start.phases.iter().map(|span| (span.phase, span.to.since(span.from).as_secs_f64())).collect();
    let expected = [
        (Phase::Pulling, 2.0),
        (Phase::Loading, 2.0),
        (Phase::Loading, 2.0),
        (Phase::Starting, 10.0),
        (Phase::Loading, 2.0),
        (Phase::Starting, 20.0),
        (Phase::Loading, 2.0),
    ];
    assert_eq!(spans[..expected.len()], expected, "{spans:?}");
}

#[test]
fn a_process_that_runs_is_sent_requests_that_it_refuses() {
    // Every second request goes to it from when its container runs, 4.5 s, until its server is up, 18.5 s.
    let with = |change: &dyn Fn(&mut Simulation)| {
        let outcome = start(|sim| {
            sim.replica.readiness.after = ReadyAfter::Process;
            change(sim);
        });
        assert_eq!(outcome.starts[0].result, StartResult::Ready);
        let breaches = outcome.breaches.as_ref().expect("an SLO was given");
        let refused = breaches.by_cause[Cause::StartUp(Phase::Loading).index()];
        assert_eq!(outcome.counts.rejected, refused);
        let took = outcome.starts[0].duration().expect("it ended").as_secs_f64();
        (outcome.counts.rejected, took)
    };
    assert_eq!(with(&|_| {}), (7, 16.0));
    assert_eq!(with(&|sim| sim.replica.readiness.initial_delay = secs(6)), (4, 16.0));
    // Two probes must pass, a period apart; and then the news must travel.
    let slow = |sim: &mut Simulation| {
        sim.replica.readiness.period = secs(5);
        sim.replica.readiness.success_threshold = 2;
        sim.replica.readiness.endpoint_delay = secs(2);
    };
    assert_eq!(with(&slow), (4, 16.0));
    // A startup probe asks the server, at its own ticks from 2.5 s on.
    assert_eq!(with(&|sim| sim.replica.startup_probe = Some(probe(0, 4, 9))), (0, 16.0));
    // It runs from 4.5 to 8.5 and to 12.5 s, from 22.5 to 26.5 s and from 46.5 to 50.5 s, and is out of the endpoints between.
    let killed = start(|sim| {
        sim.replica.readiness.after = ReadyAfter::Process;
        sim.replica.liveness_probe = Some(probe(0, 2, 3));
    });
    assert_eq!((killed.counts.rejected, killed.starts[0].restarts), (8, 4));
}

#[test]
fn a_start_that_is_cancelled_leaves_the_endpoints() {
    let mut sim = world(1);
    sim.replica.readiness.after = ReadyAfter::Process;
    // Two from 4.5 s on; the start is cancelled at 10.5 s.
    let outcome = result(&sim, timed((1, 0), &[(2, 2, 0), (10, 1, 0)]), 0);
    check_laws(&outcome);
    assert_eq!((outcome.counts.rejected, outcome.starts[0].result), (3, StartResult::Cancelled));
}
