//! The worked examples of the documentation, pinned: what `scenarios/nine-am-spike.yaml` and
//! `scenarios/spike-two-to-six.yaml` tell is what they do, and the quickstart teaches what it says.

use std::path::Path;

use thawline::kernel::{SimDuration, SimTime};
use thawline::outcome::{Cause, Phase, PhaseSpan, RunOutcome, StartResult};
use thawline::scenario::{self, Resolved};
use thawline::sim;

fn resolved(scenario: &str, sets: &[&str]) -> Resolved {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(scenario);
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    let scenario = scenario::load(&path, &sets).unwrap_or_else(|faults| panic!("{faults:?}"));
    scenario::resolve(&scenario, false).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn run(resolved: &Resolved, policy: &str, replication: u32) -> RunOutcome {
    let policy = resolved.policies[policy].build(&resolved.simulation.setting);
    sim::run(&resolved.simulation, policy, replication, None).expect("a workload in memory does not fail").0
}

fn at(secs: u64) -> SimTime {
    SimTime::ZERO + SimDuration::from_secs(secs)
}

/// Breaches of a run, and how many of them took 1.2 s or more.
fn breaches(run: &RunOutcome) -> (u64, usize) {
    let breaches = run.breaches.as_ref().expect("the scenario has an SLO");
    assert_eq!(breaches.total as usize, breaches.first.len(), "all of them are kept");
    let slow = |took: SimDuration| took >= SimDuration::from_millis(1200);
    (breaches.total, breaches.first.iter().filter(|r| slow(r.end.since(r.arrival))).count())
}

#[test]
fn at_nine_a_replica_that_nothing_warmed_breaches_its_first_requests() {
    let resolved = resolved("nine-am-spike.yaml", &[]);
    let outcome = run(&resolved, "hpa", 0);
    let (total, slow) = breaches(&outcome);
    // 6 s at 4 requests/s are 24; the last of them wait for less than 1.2 s.
    assert!((17..=23).contains(&slow), "{slow} of {total} took 1.2 s or more");
    let breaches = outcome.breaches.as_ref().unwrap();
    assert_eq!(breaches.by_cause[Cause::NotWarmed.index()], total);
    // All on the new replica, the first one after the full compile.
    let [start] = outcome.starts.as_slice() else { panic!("{:?}", outcome.starts) };
    assert_eq!(start.duration(), Some(SimDuration::from_secs(65)));
    assert!(breaches.first.iter().all(|r| r.routed.unwrap().0 == start.replica));
    let first = &breaches.first[0];
    assert_eq!(first.end.since(first.arrival), SimDuration::from_millis(6080));
    // It received 4 requests/s: between two of its breaching requests lies a quarter of a second.
    let gaps = breaches.first.windows(2).map(|pair| pair[1].arrival.since(pair[0].arrival));
    assert!(gaps.into_iter().all(|gap| gap == SimDuration::from_millis(250)));
}

#[test]
fn at_nine_warm_spares_and_a_probe_that_waits_leave_no_breach() {
    for (after, policy) in [("weights", "warm-pool"), ("warmUp", "warm-pool"), ("warmUp", "hpa")] {
        let resolved = resolved("nine-am-spike.yaml", &[&format!("replica.readiness.after={after}")]);
        let outcome = run(&resolved, policy, 0);
        assert_eq!(breaches(&outcome), (0, 0), "{after}, {policy}");
        // Not for want of a spike: the second replica was ordered all the same.
        assert!(outcome.decisions.iter().any(|d| (d.from, d.to) == (1, 2)), "{after}, {policy}");
        assert_eq!(outcome.counts.finished, 2160);
    }
}

#[test]
fn two_to_six_is_decided_at_once_and_there_after_90_seconds() {
    let outcome = run(&resolved("spike-two-to-six.yaml", &[]), "hpa", 0);
    let decision = &outcome.decisions[0];
    assert_eq!((decision.at, decision.from, decision.to), (at(5), 2, 6));
    let span = |phase, from, to| PhaseSpan { phase, from: at(from), to: at(to), waiting: SimDuration::ZERO };
    let expected = [
        span(Phase::Pulling, 5, 10),
        span(Phase::Starting, 10, 20),
        span(Phase::Starting, 20, 30),
        span(Phase::Loading, 30, 80),
        span(Phase::WarmingUp, 80, 90),
    ];
    assert_eq!(outcome.starts.len(), 4);
    for start in &outcome.starts {
        assert_eq!((start.ordered, start.result), (at(5), StartResult::Ready));
        assert_eq!(start.phases, expected);
    }
    // Steps of 15 s: at 60 s four load and two serve, at 90 s six serve.
    let replicas =
        |secs: usize, phase: Phase| outcome.timeline.points[secs / 15 - 1].replicas[phase as usize];
    assert_eq!((replicas(60, Phase::Loading), replicas(60, Phase::Serving)), (4, 2));
    assert_eq!(replicas(75, Phase::Serving), 2);
    assert_eq!(replicas(105, Phase::Serving), 6);
    // 8 more arrive each second than two replicas can serve.
    let queued = outcome.timeline.points[4].in_replicas;
    assert!((590..=610).contains(&queued), "{queued} at 75 s");
}

#[test]
fn without_behavior_the_legacy_cap_allows_four() {
    let resolved = resolved("spike-two-to-six.yaml", &["policies.hpa.hpa.behavior=null"]);
    let outcome = run(&resolved, "hpa", 0);
    let decision = &outcome.decisions[0];
    assert_eq!((decision.at, decision.from, decision.to), (at(5), 2, 4));
}

#[test]
fn the_quickstart_teaches_what_it_says() {
    let mut resolved = resolved("quickstart.yaml", &[]);
    resolved.measure_capacity().unwrap();
    let capacity = resolved.simulation.capacity_per_s.unwrap();
    let mean = |policy: &str, of: fn(&RunOutcome) -> f64| {
        let runs: Vec<f64> = (0..5).map(|r| of(&run(&resolved, policy, r))).collect();
        runs.iter().sum::<f64>() / 5.0
    };
    let share = |run: &RunOutcome| {
        run.breaches.as_ref().expect("the scenario has an SLO").total as f64 / run.counts.arrived as f64
    };
    let cost = |run: &RunOutcome| run.ledger.cost_total();
    assert!(mean("fixed", share) < 0.01);
    assert!(mean("hpa", share) > 0.1);
    assert!(mean("warm-pool", share) < 0.01);
    assert!(mean("warm-pool", cost) < mean("hpa", cost).min(mean("fixed", cost)));

    // The need, as domain terms define it but not cut to the replicas there are: over full minutes.
    let outcome = run(&resolved, "hpa", 0);
    let points = &outcome.timeline.points[..outcome.timeline.points.len() - 1];
    assert_eq!(outcome.timeline.step, SimDuration::from_secs(15));
    let needed = |four: &[thawline::outcome::timeline::Point]| {
        four.iter().map(|p| f64::from(p.arrived)).sum::<f64>() / 60.0 / capacity
    };
    let needs: Vec<f64> = points.windows(4).map(needed).collect();
    let (least, most) =
        (needs.iter().copied().fold(f64::MAX, f64::min), needs.iter().copied().fold(0.0, f64::max));
    assert!((2.0..3.2).contains(&least) && (6.8..8.5).contains(&most), "{least} to {most}");
    let serving = |p: &thawline::outcome::timeline::Point| p.replicas[Phase::Serving as usize];
    let (fewest, largest) =
        (points.iter().map(serving).min().unwrap(), points.iter().map(serving).max().unwrap());
    assert!(fewest <= 3 && largest >= 8, "{fewest} to {largest} serving under hpa");
}
