use proptest::prelude::*;

use super::super::EngineParams;
use super::super::config::InitialState;
use super::super::replica::{Replica, Start};
use super::super::standing::Standing;
use super::super::tests::{Script, batch_engine, packed, result, simulation};
use super::*;
use crate::outcome::PhaseSpan;
use crate::outcome::breach::Capacity;

fn at(nanos: u64) -> SimTime {
    SimTime::from_nanos(nanos)
}

fn log(notes: &[(u64, Cause)]) -> StandingLog {
    let mut log = StandingLog::default();
    for (nanos, lacking) in notes {
        log.note(at(*nanos), Standing { capacity: Capacity::default(), lacking: *lacking });
    }
    log
}

/// A replica created at `created` that spent so many ns in each phase and then became ready.
fn replica(created: u64, phases: &[(Phase, u64)]) -> Replica {
    let mut to = at(created);
    let spans = phases.iter().filter(|(_, nanos)| *nanos > 0).map(|(phase, nanos)| {
        let from = to;
        to += SimDuration::from_nanos(*nanos);
        PhaseSpan { phase: *phase, from, to, waiting: SimDuration::ZERO }
    });
    Replica {
        id: ReplicaId(0),
        uid: 0,
        version: 0,
        created: at(created),
        decided: None,
        nodes: smallvec::SmallVec::new(),
        index: 0,
        bound_at: None,
        container_started: None,
        ready_at: None,
        first_ready: None,
        exposed: None,
        unready_at: None,
        start: Start { at: at(created), phases: 0, restarts: 0 },
        failures: 0,
        gpu_failed: false,
        outlived: None,
        endpoint: 0,
        phases: spans.collect(),
        cold: true,
        stopping: false,
        restarts: 0,
        generation: 0,
        state: State::Gone,
    }
}

/// What [`Missing::split`] says of [from, to], one part a line.
fn split(missing: &Missing<'_>, from: u64, to: u64) -> Vec<(Cause, u64)> {
    let mut parts = Vec::new();
    missing.split(at(from), at(to), |cause, from, to| parts.push((cause, to.since(from).as_nanos())));
    parts
}

#[test]
fn a_wait_falls_to_what_was_missing() {
    use Cause::{AtMaximum, Drain, NoNode, NotOrdered, Saturation, StartUp};
    let log = log(&[(0, NotOrdered), (10, AtMaximum), (20, NoNode), (40, NotOrdered)]);
    let start = replica(
        20,
        &[(Phase::Pending, 15), (Phase::Provisioning, 10), (Phase::Pulling, 5), (Phase::Probing, 2)],
    );
    let check = |replica, cause, (from, to), expected: &[(Cause, u64)]| {
        let missing = Missing { log: &log, replica, now: at(100), cause };
        assert_eq!(split(&missing, from, to), expected, "{cause:?} from {from} to {to}");
    };
    let own = StartUp(Phase::Provisioning);
    let whole = [
        (NotOrdered, 5),
        (AtMaximum, 10),
        (NoNode, 15),
        (StartUp(Phase::Provisioning), 10),
        (StartUp(Phase::Pulling), 5),
        (StartUp(Phase::Probing), 2),
        // Ready, and still a queue: the request's own cause.
        (own, 8),
    ];
    check(Some(&start), own, (5, 60), &whole);
    check(Some(&start), own, (22, 30), &[(NoNode, 8)]);
    check(Some(&start), own, (55, 60), &[(own, 5)]);
    check(Some(&start), own, (47, 49), &[(StartUp(Phase::Pulling), 2)]);
    // Without a replica, what stood in the way of one; or nothing that a replica would have changed.
    check(None, NotOrdered, (5, 45), &[(NotOrdered, 5), (AtMaximum, 10), (NoNode, 20), (NotOrdered, 5)]);
    check(None, Drain, (5, 45), &[(Drain, 40)]);
    check(None, Cause::NotWarmed, (5, 45), &[(Cause::NotWarmed, 40)]);
    check(None, Saturation, (30, 30), &[]);
    // Pending although a node was to be had is no lack of nodes.
    let pending = replica(40, &[(Phase::Pending, 7)]);
    check(Some(&pending), own, (38, 50), &[(NoNode, 2), (StartUp(Phase::Pending), 7), (own, 3)]);
}

#[test]
fn what_no_replica_takes_is_its_own_cause() {
    let gaps = [(1_000, 200, 40), (1_000, 900, 40), (1_000, 300, 40), (30_000, 700, 200)];
    let mut sim = simulation(batch_engine(false), packed(&gaps, 10), 1);
    let EngineParams::Continuous { batch, .. } = &mut sim.engine else { panic!("it batches") };
    batch.max_model_len = 800;
    // Nothing is ready, all is on its way: that is what the others wait for.
    sim.initial.state = InitialState::Cold;
    let outcome = result(&sim, Script::boxed(&[(1, 0)], SimDuration::from_secs(1_000)), 0);
    assert_eq!(outcome.counts.too_long, 2);
    let breaches = outcome.breaches.expect("there is an SLO");
    assert_eq!(breaches.by_cause[Cause::TooLong.index()], 2, "{breaches:?}");
    assert_eq!(breaches.time_by_cause[Cause::TooLong.index()], SimDuration::ZERO);
}

proptest! {
    /// The parts are the whole, and each instant falls to what was missing then.
    #[test]
    fn parts_add_up_and_each_instant_has_its_cause(
        notes in prop::collection::btree_map(0u64..60, 0usize..4, 0..8),
        start in prop::option::of((0u64..60, [0u64..15, 0u64..15, 0u64..15])),
        (from, length) in (0u64..60, 1u64..60),
        own in 0usize..Cause::ALL.len(),
    ) {
        let lacks = [Cause::NoNode, Cause::AtMaximum, Cause::NotOrdered, Cause::Saturation];
        let notes: Vec<_> = notes.into_iter().map(|(nanos, which)| (nanos, lacks[which])).collect();
        let log = log(&notes);
        let stages = [Phase::Pending, Phase::Pulling, Phase::Loading];
        let start = start.map(|(created, nanos)| (created, stages.into_iter().zip(nanos).collect::<Vec<_>>()));
        let start = start.map(|(created, phases)| replica(created, &phases));
        let cause = Cause::ALL[own];
        let missing = Missing { log: &log, replica: start.as_ref(), now: at(200), cause };
        let parts = split(&missing, from, from + length);
        prop_assert_eq!(parts.iter().map(|(_, nanos)| nanos).sum::<u64>(), length);
        let lacking = |nanos: u64| {
            notes.iter().rev().find(|(since, _)| *since <= nanos).map_or(Cause::Saturation, |(_, lack)| *lack)
        };
        let expected = |nanos: u64| match &start {
            None if matches!(cause, Cause::TooLong | Cause::Drain | Cause::NotWarmed) => cause,
            None => lacking(nanos),
            Some(start) if at(nanos) < start.created => lacking(nanos),
            Some(start) => match start.phases.iter().find(|s| s.from <= at(nanos) && at(nanos) < s.to) {
                None => cause,
                Some(span) if span.phase == Phase::Pending && lacking(nanos) == Cause::NoNode => Cause::NoNode,
                Some(span) => Cause::StartUp(span.phase),
            },
        };
        let each = parts.iter().flat_map(|(cause, nanos)| std::iter::repeat_n(*cause, *nanos as usize));
        for (nanos, found) in (from..).zip(each) {
            prop_assert_eq!(found, expected(nanos), "at {}", nanos);
        }
    }
}
