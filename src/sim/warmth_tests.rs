//! Compile caches, engines that go cold, keep-warm requests and spares that sleep, against pencil and paper.

use super::Simulation;
use super::compile_cache::{CacheAt, CachePlan};
use super::config::InitialState;
use super::scale_tests::{timed, world};
use super::tests::{batch_engine, check_laws, constant, packed, result, secs};
use super::warmth::{Cooling, KeepWarm};
use crate::kernel::{SimDuration, SimTime};
use crate::outcome::{Account, Cause, Phase, RunOutcome};
use crate::policy::api::{Path, SleepTimes};
use crate::policy::{Autoscaler, Decision, Loop, Reason, View};
use crate::promql::{Answer, Query};

fn ms(millis: u64) -> SimDuration {
    SimDuration::from_millis(millis)
}

/// One replica of two GPUs with one worker that takes 100 ms; requests at these seconds, a minute of nothing after them. Requests
/// breach after 1 s.
fn requests_at(seconds: &[u64]) -> Simulation {
    let mut last = 0;
    let gaps: Vec<_> =
        seconds.iter().map(|at| ((at - std::mem::replace(&mut last, *at)) * 1_000, 1, 1)).collect();
    Simulation { source: packed(&gaps, 60), ..world(1) }
}

fn cooling(after: u64, penalty_ms: &[u64]) -> Cooling {
    Cooling { after: secs(after), curve: penalty_ms.iter().copied().map(ms).collect() }
}

fn keep_warm(threshold: u64, period: u64, service: SimDuration) -> KeepWarm {
    KeepWarm {
        idle_threshold: secs(threshold),
        period: secs(period),
        prompt_tokens: 3,
        output_tokens: 2,
        service,
    }
}

fn alone(sim: &Simulation) -> RunOutcome {
    let outcome = result(sim, timed((1, 0), &[]), 0);
    check_laws(&outcome);
    outcome
}

fn by_cause(outcome: &RunOutcome, cause: Cause) -> u64 {
    outcome.breaches.as_ref().expect("there is an SLO").by_cause[cause.index()]
}

/// Milliseconds of time that keep-warm requests had to themselves, on two GPUs.
fn keep_warm_ms(outcome: &RunOutcome) -> u128 {
    outcome.ledger.keep_warm_gpu_ns / 2_000_000
}

#[test]
fn an_engine_that_rests_too_long_goes_cold() {
    let breaches = |after: u64, at: &[u64], penalty_ms: &[u64]| {
        let mut sim = requests_at(at);
        sim.replica.cooling = Some(cooling(after, penalty_ms));
        let outcome = alone(&sim);
        let (all, cold) = (outcome.breaches.as_ref().unwrap().total, by_cause(&outcome, Cause::NotWarmed));
        assert_eq!(all, cold, "nothing else breaches");
        cold
    };
    // Answered at 10.1 s, 75.1 s or 77.1 s, and so on: rests of 10, 64.9, 62.9 and 7.9 s.
    assert_eq!(breaches(60, &[10, 75, 140, 150], &[2_000]), 2);
    assert_eq!(breaches(65, &[10, 75, 140, 150], &[2_000]), 0);
    // The rest is over at the instant of a request that comes after exactly that long.
    assert_eq!(breaches(10, &[10, 20], &[2_000]), 1);
    assert_eq!(breaches(10, &[10, 23], &[2_000]), 2);
    // A curve goes on with the second request after a rest, and begins anew with the next rest.
    assert_eq!(breaches(60, &[10, 75, 80, 150, 152, 155], &[2_000, 1_500]), 4);
}

#[test]
fn a_batch_pays_with_the_step_that_starts_the_request() {
    let run = |cold: Option<Cooling>, exact_steps: bool| {
        let mut sim = requests_at(&[10, 75, 76]);
        sim.engine = batch_engine(exact_steps);
        sim.replica.cooling = cold;
        alone(&sim).latency.ttft.quantile(1.0).expect("requests were served").as_nanos()
    };
    let (warm, cold) = (run(None, false), run(Some(cooling(60, &[2_000])), false));
    assert!((cold - warm).abs_diff(2_000_000_000) < cold / 500, "{warm} {cold}");
    assert_eq!(cold, run(Some(cooling(60, &[2_000])), true));
}

#[test]
fn keep_warm_requests_keep_it_warm_and_take_their_time() {
    let mut sim = requests_at(&[10, 75, 140, 150]);
    sim.replica.cooling = Some(cooling(60, &[2_000]));
    sim.replica.keep_warm = Some(keep_warm(20, 20, ms(50)));
    let outcome = alone(&sim);
    assert_eq!((outcome.breaches.as_ref().unwrap().total, outcome.counts.arrived), (0, 4));
    // At 30.1, 50.1, 70.1; 95.1, 115.1, 135.1; 170.1, 190.1 s.
    assert_eq!(keep_warm_ms(&outcome), 8 * 50);
    assert_eq!(outcome.ledger.account(Account::ServingBusy) / 2_000_000, 8 * 50 + 4 * 100);
    // Its length has the user wait, who is alone with it from then on: 30.1 to 32 s, and 3.1 s of waiting.
    let mut sim = requests_at(&[10, 32]);
    sim.replica.keep_warm = Some(keep_warm(20, 1_000, ms(5_000)));
    let outcome = alone(&sim);
    assert_eq!((outcome.breaches.as_ref().unwrap().total, keep_warm_ms(&outcome)), (1, 1_900 + 5_000));
    assert_eq!(outcome.latency.e2e.count(), 2);
}

#[test]
fn what_comes_too_late_pays_the_penalty_itself() {
    let mut sim = requests_at(&[10, 200]);
    sim.replica.cooling = Some(cooling(60, &[2_000]));
    sim.replica.keep_warm = Some(keep_warm(100, 40, ms(50)));
    let outcome = alone(&sim);
    // At 110.1 s it is cold; at 150.1 and 190.1 s it is not.
    assert_eq!(outcome.breaches.as_ref().unwrap().total, 0);
    assert_eq!(keep_warm_ms(&outcome), 2_050 + 50 + 50);
}

#[test]
fn a_replica_that_goes_leaves_its_keep_warm_request_behind() {
    let mut sim = requests_at(&[10]);
    sim.replica.keep_warm = Some(keep_warm(20, 1_000, secs(60)));
    // The one that nobody used gets its own at 20 s, and is at it when the trace ends at 70 s. The other gets it at 30.1 s and is told
    // to go at 40.5 s.
    let outcome = result(&sim, timed((2, 0), &[(40, 1, 0)]), 0);
    check_laws(&outcome);
    assert_eq!(keep_warm_ms(&outcome), 50_000 + 10_400);
    assert_eq!(outcome.ledger.account(Account::Draining), 0, "nobody waits for it");
}

/// Reads the engine's own metrics and the gateway's each second.
struct Reader {
    queries: Vec<Query>,
    odd: bool,
}

impl Autoscaler for Reader {
    fn loops(&self) -> Vec<Loop> {
        vec![Loop { name: "reader", period: secs(1), phase: Some(ms(500)) }]
    }
    fn decide(&mut self, _: usize, view: &View<'_>) -> Option<Decision> {
        let value = |query| match view.prometheus.answer(query) {
            Ok(Answer::Vector(samples)) => samples.first().map_or(0.0, |sample| sample.value),
            other => panic!("{other:?}"),
        };
        let values: Vec<f64> = self.queries.iter().map(value).collect();
        self.odd = !self.odd;
        let why = Reason::new(
            if self.odd { "odd" } else { "even" },
            format!("{values:?} {}", view.gateway.in_flight()),
        );
        Some(Decision { replicas: 1, spare: 0, path: Path::Direct, why })
    }
    fn queries(&self) -> Vec<&Query> {
        self.queries.iter().collect()
    }
    fn initial(&self) -> (u32, u32) {
        (1, 0)
    }
    fn maximum(&self) -> Option<u32> {
        None
    }
}

#[test]
fn engine_metrics_show_keep_warm_requests_and_the_gateway_does_not() {
    let texts = [
        "vllm:num_requests_running",
        "vllm:request_success_total",
        "vllm:generation_tokens_total",
        "vllm:e2e_request_latency_seconds_sum",
        "gateway_requests_in_flight",
        "gateway_requests_total",
    ];
    let queries = texts.map(|text| Query::compile(text).unwrap()).into();
    let mut sim = requests_at(&[10, 60]);
    sim.telemetry.scrape_interval = secs(1);
    sim.telemetry.scrape_phase = Some(SimDuration::ZERO);
    sim.replica.keep_warm = Some(keep_warm(20, 20, secs(3)));
    let outcome = result(&sim, Box::new(Reader { queries, odd: false }), 0);
    let at = |second: u64| {
        let time = SimTime::from_secs(second) + ms(500);
        outcome.decisions.iter().find(|d| d.at == time).map(|d| d.why.detail.as_str()).unwrap()
    };
    assert_eq!(at(20), "[0.0, 1.0, 1.0, 0.1, 0.0, 1.0] 0");
    // From 30.1 to 33.1 s.
    assert_eq!(at(31), "[1.0, 1.0, 1.0, 0.1, 0.0, 1.0] 0");
    assert_eq!(at(34), "[0.0, 2.0, 2.0, 3.1, 0.0, 1.0] 0");
    assert_eq!(at(54), "[0.0, 3.0, 3.0, 6.1, 0.0, 1.0] 0");
}

/// Orders of `timed`, with spares that sleep.
struct Sleeping(Box<dyn Autoscaler>, SleepTimes);

impl Autoscaler for Sleeping {
    fn loops(&self) -> Vec<Loop> {
        self.0.loops()
    }
    fn decide(&mut self, which: usize, view: &View<'_>) -> Option<Decision> {
        self.0.decide(which, view)
    }
    fn initial(&self) -> (u32, u32) {
        self.0.initial()
    }
    fn maximum(&self) -> Option<u32> {
        None
    }
    fn sleep(&self) -> Option<SleepTimes> {
        Some(self.1.clone())
    }
}

/// Spares that take 4 s to fall asleep and 3 s to wake up.
fn asleep(start: (u32, u32), orders: &[(u64, u32, u32)]) -> RunOutcome {
    let mut sim = world(1);
    sim.telemetry.timeline_step = secs(1);
    let times = SleepTimes { fall_asleep: constant(4), wake: constant(3) };
    let outcome = result(&sim, Box::new(Sleeping(timed(start, orders), times)), 0);
    check_laws(&outcome);
    outcome
}

/// Replicas in rotation at these seconds.
fn serving_at<const N: usize>(outcome: &RunOutcome, seconds: [usize; N]) -> [u32; N] {
    seconds.map(|second| outcome.timeline.points[second - 1].replicas[Phase::Serving as usize])
}

#[test]
fn a_claimed_spare_serves_when_it_is_awake() {
    // Claimed at 5.5 s.
    let outcome = asleep((1, 1), &[(5, 2, 0)]);
    assert_eq!(serving_at(&outcome, [5, 6, 8, 9, 59]), [1, 1, 1, 2, 2]);
    assert_eq!(outcome.ledger.account(Account::Held) / 2, 8_500_000_000, "asleep and waking it is held");
    assert!(outcome.starts.is_empty());
    // A spare that is claimed while it falls asleep wakes up after that: out at 5.5 s, asleep at 9.5 s.
    let outcome = asleep((2, 0), &[(5, 1, 1), (6, 2, 0)]);
    assert_eq!(serving_at(&outcome, [5, 6, 7, 12, 13]), [2, 1, 1, 1, 2]);
    // One that nobody needs any more lies down again, and takes its time once more: awake at 8.5 s, asleep at 12.5 s.
    let outcome = asleep((1, 1), &[(5, 2, 0), (7, 1, 1), (10, 2, 0)]);
    assert_eq!(serving_at(&outcome, [6, 8, 9, 15, 16]), [1, 1, 1, 1, 2]);
    // Claimed once, however often it is looked at: one of two spares wakes up.
    let outcome = asleep((1, 2), &[(5, 2, 1), (6, 2, 2)]);
    assert_eq!(serving_at(&outcome, [8, 9, 20]), [1, 2, 2]);
    // A replica that starts goes into rotation if it is wanted, else to sleep: ordered at 5.5 s, ready at 21.5 s, asleep at 25.5 s.
    let outcome = asleep((1, 0), &[(5, 1, 1), (23, 2, 0)]);
    assert_eq!(serving_at(&outcome, [22, 24, 28, 29]), [1, 1, 1, 2]);
}

#[test]
fn of_two_spares_the_one_that_sleeps_goes() {
    // Claimed at 5.5 s, and one too many at 6.5 s: whichever was claimed serves at 8.5 s.
    let outcome = asleep((1, 2), &[(5, 2, 1), (6, 2, 0)]);
    assert_eq!(serving_at(&outcome, [8, 9, 20]), [1, 2, 2]);
    assert_eq!(outcome.timeline.points[8].replicas[Phase::Held as usize], 0);
}

#[test]
fn a_sleeping_spare_can_be_deleted() {
    let outcome = asleep((1, 2), &[(5, 2, 1), (7, 1, 0)]);
    assert_eq!(serving_at(&outcome, [6, 8, 9, 20]), [1, 1, 1, 1]);
    let nobody = outcome.timeline.points[19].replicas[Phase::Held as usize];
    assert_eq!(nobody, 0);
}

#[test]
fn waiting_for_a_spare_that_wakes_up_is_waiting_for_weights() {
    // One that sleeps is claimed at 5.5 s and serves at 8.5 s. Requests at 0.25 + k s breach up to k = 8, and that wake is half of the
    // wait of those with k = 3 to 7.
    let outcome = asleep((0, 1), &[(5, 1, 0)]);
    assert_eq!(outcome.breaches.as_ref().unwrap().total, 9);
    assert_eq!(by_cause(&outcome, Cause::StartUp(Phase::Loading)), 5);
    assert_eq!(by_cause(&outcome, Cause::Saturation), 4);
}

/// Seconds from the order of each start until it was ready. Two replicas fit a node; a start pulls 2 s, loads 14 s, and compiles 30 s
/// or reads for 5 s.
fn starts_with(cache: Option<(CacheAt, bool)>, state: InitialState, orders: &[(u64, u32, u32)]) -> Vec<u64> {
    let mut sim = world(1);
    sim.initial.state = state;
    sim.replica.stages.push((Phase::WarmingUp, constant(30)));
    sim.compile_cache =
        cache.map(|(at, filled)| CachePlan { at, filled, cached: vec![None, None, Some(constant(5))] });
    let outcome = result(&sim, timed((1, 0), orders), 0);
    check_laws(&outcome);
    outcome.starts.iter().filter_map(|start| Some(start.duration()?.as_nanos() / 1_000_000_000)).collect()
}

#[test]
fn the_first_start_compiles_and_later_ones_do_not() {
    let (warm, cold) = (InitialState::Warm, InitialState::Cold);
    // The replica that was there has filled the cache of its node, and that of all if it is shared. The third is on a node of its own.
    assert_eq!(starts_with(None, warm, &[(2, 3, 0)]), [46, 46]);
    assert_eq!(starts_with(Some((CacheAt::Node, false)), warm, &[(2, 3, 0)]), [21, 46]);
    assert_eq!(starts_with(Some((CacheAt::Shared, false)), warm, &[(2, 3, 0)]), [21, 21]);
    assert_eq!(starts_with(Some((CacheAt::Node, true)), cold, &[(2, 3, 0)]), [21, 21, 21]);
    // Compiled at 46 s: who gets so far before, compiles, too.
    assert_eq!(starts_with(Some((CacheAt::Shared, false)), cold, &[(2, 2, 0)]), [46, 46]);
    assert_eq!(starts_with(Some((CacheAt::Shared, false)), cold, &[(32, 2, 0)]), [46, 21]);
    assert_eq!(starts_with(Some((CacheAt::Node, false)), cold, &[(32, 3, 0)]), [46, 21]);
}

#[test]
fn a_cache_changes_no_other_draw() {
    let pulls = |cache: Option<CachePlan>| {
        let mut sim = Simulation { compile_cache: cache, ..world(1) };
        sim.replica.stages[0].1 = crate::kernel::Distribution::Exponential { mean: secs(3) };
        sim.replica.stages.push((Phase::WarmingUp, constant(5)));
        let outcome = result(&sim, timed((1, 0), &[(2, 4, 0)]), 0);
        outcome.starts.iter().map(|start| start.time_in(Phase::Pulling)).collect::<Vec<_>>()
    };
    let random = crate::kernel::Distribution::Exponential { mean: secs(1) };
    let plan = CachePlan { at: CacheAt::Shared, filled: true, cached: vec![None, None, Some(random)] };
    assert_eq!(pulls(None), pulls(Some(plan)));
}

#[test]
fn a_replica_at_rest_gets_one_a_period() {
    let mut sim = requests_at(&[100_000]);
    sim.replica.keep_warm = Some(keep_warm(60, 30, ms(50)));
    // From 60 s on, every 30 s, up to the user's request at 100,000 s. The trace ends 60 s later.
    assert_eq!(keep_warm_ms(&alone(&sim)), 3_332 * 50);
}
