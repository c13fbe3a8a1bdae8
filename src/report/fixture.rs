//! Runs built by hand, for the tests of floors 4 and 5.

use crate::experiment::{Coverage, ExperimentOutcome, Gate, PolicyOutcome, Warning};
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::outcome::breach::{Capacity, RequestRecord, Slo};
use crate::outcome::timeline::Point;
use crate::outcome::{
    Account, BreachOutcome, Breaches, Cause, Counts, DecisionRecord, Latencies, Latency, Ledger, Phase,
    PhaseSpan, PoolBill, RunOutcome, StartRecord, StartResult, Steps, Timeline,
};
use crate::policy::Reason;

const SEC: u64 = 1_000_000_000;
const HOUR: u128 = 3600 * SEC as u128;

fn latency(values: &[(u64, u64)], infinite: u64) -> Latency {
    let mut latency = Latency::default();
    for (millis, count) in values {
        latency.record_n(millis * 1_000_000, *count);
    }
    (0..infinite).for_each(|_| latency.record_infinite());
    latency
}

/// A start ordered at `secs`, with the given ms in each phase.
pub fn start(replica: u32, secs: u64, phases: &[(Phase, u64)]) -> StartRecord {
    let mut at = SimTime::from_secs(secs);
    let spans = phases.iter().map(|(phase, millis)| {
        let from = at;
        at += SimDuration::from_millis(*millis);
        let waits = matches!(phase, Phase::Pending | Phase::Probing);
        let waiting = if waits { at.since(from) } else { SimDuration::ZERO };
        PhaseSpan { phase: *phase, from, to: at, waiting }
    });
    let phases = spans.collect();
    StartRecord {
        unscheduled: None,
        replica: ReplicaId(replica),
        ordered: SimTime::from_secs(secs),
        decided: Some(SimTime::from_secs(secs.saturating_sub(1))),
        phases,
        restarts: 0,
        result: StartResult::Ready,
        again: false,
    }
}

/// A request that waited for a replica whose weights were loading.
pub fn late_request() -> RequestRecord {
    let at = |millis: u64| SimTime::ZERO + SimDuration::from_millis(millis);
    RequestRecord {
        id: 417,
        arrival: at(600_000),
        prompt_tokens: 1024,
        output_tokens: 129,
        routed: Some((ReplicaId(3), at(603_900))),
        scheduled: Some(at(604_000)),
        first_token: Some(at(604_810)),
        end: at(608_778),
        preemptions: 1,
        penalty: SimDuration::ZERO,
        breach: Some((BreachOutcome::Late, Cause::StartUp(Phase::Loading))),
        waited_for: Some(ReplicaId(3)),
        on_arrival: Capacity { serving: 2, held: 0, starting: 2, ordered: 4, maximum: Some(8) },
        capacity: Capacity { serving: 2, held: 0, starting: 2, ordered: 4, maximum: Some(8) },
    }
}

/// A request that the gateway refused.
pub fn rejected_request() -> RequestRecord {
    let at = SimTime::from_secs(700);
    RequestRecord {
        id: 523,
        arrival: at,
        prompt_tokens: 90_000,
        output_tokens: 10,
        routed: None,
        scheduled: None,
        first_token: None,
        end: at,
        preemptions: 0,
        penalty: SimDuration::ZERO,
        breach: Some((BreachOutcome::Rejected, Cause::AtMaximum)),
        waited_for: None,
        on_arrival: Capacity { serving: 8, held: 0, starting: 0, ordered: 8, maximum: Some(8) },
        capacity: Capacity { serving: 8, held: 0, starting: 0, ordered: 8, maximum: Some(8) },
    }
}

fn breaches() -> Breaches {
    let mut breaches = Breaches { total: 25, by_outcome: [20, 1, 4, 0], ..Breaches::default() };
    for (cause, count, secs) in [
        (Cause::StartUp(Phase::Loading), 15, 20),
        (Cause::StartUp(Phase::WarmingUp), 6, 31),
        (Cause::NotOrdered, 3, 9),
        (Cause::AtMaximum, 1, 30),
    ] {
        breaches.by_cause[cause.index()] = count;
        breaches.time_by_cause[cause.index()] = SimDuration::from_secs(secs);
    }
    let span = |from, to| (SimTime::from_secs(from), SimTime::from_secs(to));
    breaches.intervals = vec![span(600, 660), span(700, 730)];
    breaches.bands = vec![
        (SimTime::from_secs(600), SimTime::from_secs(609), Cause::NotOrdered),
        (SimTime::from_secs(609), SimTime::from_secs(629), Cause::StartUp(Phase::Loading)),
        (SimTime::from_secs(629), SimTime::from_secs(660), Cause::StartUp(Phase::WarmingUp)),
        (SimTime::from_secs(700), SimTime::from_secs(730), Cause::AtMaximum),
    ];
    breaches.first = vec![late_request(), rejected_request()];
    breaches
}

/// Four GPU-hours at $3.60: half of them needed, 116 s of start-up, 500 s of draining.
fn ledger() -> Ledger {
    let mut ledger = Ledger {
        billed_gpu_ns: 4 * HOUR,
        gpus_per_replica: 1,
        needed_replica_ns: Some(2.0 * HOUR as f64),
        replica_ns: 7 * HOUR / 2,
        cold_starts: 3,
        start_up_ns: 3 * 38_600_000_000,
        ..Ledger::default()
    };
    for (account, millis) in [
        (Account::ServingBusy, 9_000_000),
        (Account::ServingIdle, 2_000_000),
        (Account::Held, 400_000),
        (Account::StartUp(Phase::Starting), 3 * 800),
        (Account::StartUp(Phase::Loading), 3 * 21_700),
        (Account::StartUp(Phase::WarmingUp), 3 * 14_900),
        (Account::StartUp(Phase::Probing), 3 * 1_200),
        (Account::Draining, 500_000),
    ] {
        ledger.gpu_ns[account.index()] = millis * 1_000_000;
    }
    ledger.gpu_ns[Account::Unallocated.index()] = ledger.billed_gpu_ns - ledger.total();
    price(&mut ledger, 3_600_000);
    ledger
}

/// Has all GPU-nanoseconds of a ledger cost so much an hour, millionths of a US dollar.
pub fn price(ledger: &mut Ledger, micro_usd_per_gpu_hour: u64) {
    ledger.cost = ledger.gpu_ns.map(|gpu_ns| gpu_ns * u128::from(micro_usd_per_gpu_hour));
    ledger.pools = vec![PoolBill {
        name: "gpu".to_owned(),
        price_micro_usd_per_gpu_hour: micro_usd_per_gpu_hour,
        billed_gpu_ns: ledger.billed_gpu_ns,
    }];
}

fn timeline() -> Timeline {
    let point = |arrived, serving, loading, ordered| {
        let mut replicas = [0; Phase::ALL.len()];
        replicas[Phase::Serving as usize] = serving;
        replicas[Phase::Loading as usize] = loading;
        Point { arrived, finished: arrived, replicas, nodes: 1, ordered, ..Point::default() }
    };
    let points = vec![point(200, 2, 0, 2), point(400, 2, 2, 4), point(250, 4, 0, 4), point(150, 3, 0, 3)];
    let mut timeline = Timeline { step: SimDuration::from_secs(900), points, ..Timeline::default() };
    for (secs, millis) in [(10, 90), (610, 4810), (1000, 95)] {
        timeline.note_ttft(SimTime::from_secs(secs), SimDuration::from_millis(millis));
    }
    timeline
}

fn starts() -> Vec<StartRecord> {
    let phases = [
        (Phase::Pending, 400),
        (Phase::Starting, 800),
        (Phase::Loading, 21_700),
        (Phase::WarmingUp, 14_900),
        (Phase::Probing, 1_200),
    ];
    let mut cancelled = start(5, 900, &phases[..2]);
    cancelled.result = StartResult::Cancelled;
    vec![start(2, 590, &phases), start(3, 591, &phases), cancelled]
}

/// Replication `number`, from 1, of a policy that breaches: each a little slower than the one before.
pub fn run(number: u64) -> RunOutcome {
    let later = (number - 1) * 100;
    let spread = |finite: u64| [(91, 600), (400, 380), (finite + later, 15)];
    let decision = DecisionRecord {
        at: SimTime::from_secs(590),
        of: "hpa",
        from: 2,
        to: 4,
        spare: 0,
        why: Reason {
            conditions: "AbleToScale=True/SucceededRescale events=SuccessfulRescale".to_owned(),
            ..Reason::new("ScaleUpLimit", "waiting 12 against 4: 6, at most 4")
        },
    };
    RunOutcome {
        trace_end: SimDuration::from_secs(3600),
        run_end: SimDuration::from_secs(3612),
        counts: Counts {
            arrived: 1000,
            finished: 995,
            rejected: 1,
            timed_out: 4,
            prompt_tokens: 1_000_000,
            output_tokens: 200_000,
            preemptions: 2,
            ..Counts::default()
        },
        latency: Latencies {
            ttft: latency(&spread(4810), 5),
            tpot: latency(&[(29, 900), (31, 80), (32, 15)], 0),
            itl: latency(&[(29, 190_000), (48, 9_000)], 0),
            e2e: latency(&spread(9120), 5),
            queue_wait: latency(&[(0, 600), (210, 380), (4000, 15)], 5),
        },
        breaches: Some(breaches()),
        ledger: ledger(),
        timeline: timeline(),
        starts: starts(),
        decisions: vec![decision],
        would_be: Vec::new(),
        steps: Steps { total: 100_000, extrapolated: 3_100 },
        facts_digest: format!("{number:064x}"),
    }
}

/// Replication `number` of a policy that holds the SLO, for more money.
pub fn good_run(number: u64) -> RunOutcome {
    let mut run = run(number);
    run.counts = Counts { finished: 1000, rejected: 0, timed_out: 0, ..run.counts };
    run.latency.ttft = latency(&[(88, 900), (740 + number * 3, 100)], 0);
    run.latency.e2e = latency(&[(4000, 900), (5740, 100)], 0);
    run.latency.queue_wait = latency(&[(0, 1000)], 0);
    run.breaches = Some(Breaches::default());
    run.ledger.billed_gpu_ns += HOUR;
    run.ledger.gpu_ns[Account::Held.index()] += HOUR;
    run.ledger.replica_ns += HOUR;
    run.ledger.cold_starts = 0;
    let unallocated = Account::Unallocated.index();
    run.ledger.gpu_ns[unallocated] += run.ledger.start_up_gpu_ns();
    for account in Account::ALL.into_iter().filter(|a| matches!(a, Account::StartUp(_))) {
        run.ledger.gpu_ns[account.index()] = 0;
    }
    run.ledger.start_up_ns = 0;
    price(&mut run.ledger, 3_600_000);
    run.starts.clear();
    run.facts_digest = format!("{:064x}", number + 1000);
    run
}

/// Gates from their texts.
pub fn gates(texts: &[&str]) -> Vec<Gate> {
    texts.iter().map(|text| Gate::parse(text).unwrap()).collect()
}

fn figure(name: &str, value: &str, provenance: &str) -> crate::experiment::Figure {
    let words = |text: &str| text.to_owned();
    crate::experiment::Figure {
        name: words(name),
        value: words(value),
        provenance: words(provenance),
        date: words("2026-11-20"),
        source: words("a test"),
    }
}

/// Two policies, three replications, three gates.
pub fn experiment() -> ExperimentOutcome {
    let policy = |name: &str, run: fn(u64) -> RunOutcome| PolicyOutcome {
        name: name.to_owned(),
        runs: (1..=3).map(run).collect(),
    };
    let warning = Warning {
        code: "W0107".to_owned(),
        message: "3.1% of decode steps ran beyond the measured batch size (64); these are extrapolated"
            .to_owned(),
        place: None,
        help: Some("re-run calibrate with --batch 128, or cap engine.maxNumSeqs at 64".to_owned()),
    };
    ExperimentOutcome {
        foresight: None,
        resolved: serde_json::json!({ "name": "evening-spike", "seed": 7 }),
        header: crate::experiment::Header {
            scenario: "evening-spike".to_owned(),
            profile: "h200-llama31-8b@3f9c1e (measured 2026-11-20)".to_owned(),
            model: "llama-3.1-8b on 1×H200".to_owned(),
            workload: "Azure conv ×8 superposed, CV 1.09 -> 1.02".to_owned(),
            seed: 7,
            replications: 3,
            span: SimDuration::from_secs(3600),
            requests: 1000,
            coverage: Coverage::InfrastructureOnly,
            capacity: Some(2.31),
            slo: Slo {
                ttft: Some(SimDuration::from_secs(2)),
                tpot: Some(SimDuration::from_millis(60)),
                ..Slo::default()
            },
            warnings: vec![warning],
            profile_figures: vec![figure("weight load", "21.7s", "measured")],
            prices: vec![figure("h200", "$3.60", "given")],
            command: "thawline simulate evening-spike.yaml".to_owned(),
        },
        gates: gates(&["ttft.p99 < 2s", "slo.breach < 1%", "cost.total < $60"]),
        lenient: false,
        policies: vec![policy("hpa", run), policy("warm-pool", good_run)],
    }
}
