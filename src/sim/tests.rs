//! The whole simulation against laws it must keep: conservation, the bill, queueing theory.

use std::sync::Arc;

use rayon::prelude::*;

use super::cluster;
use super::cluster::config::{CapacityType, PoolSpec};
use super::config::*;
use super::engine::{BatchParams, WorkersParams};
use super::{EngineParams, ReplicaParams, Simulation, run};
use crate::kernel::rng::Purpose;
use crate::kernel::{Distribution, SimDuration, SimTime, Streams, dist};
use crate::outcome::breach::Slo;
use crate::outcome::{Account, Phase, RunOutcome};
use crate::policy::api::{Path, PodResources, SleepTimes};
use crate::policy::{Autoscaler, Decision, Loop, Reason, Setting, View};
use crate::profile::StepCost;
use crate::promql::Query;
use crate::workload::request::Packed;
use crate::workload::{Request, Source};

pub(super) fn secs(s: u64) -> SimDuration {
    SimDuration::from_secs(s)
}

pub(super) fn constant(s: u64) -> Distribution {
    Distribution::Constant(secs(s))
}

/// Orders what a script says, turn by turn, round and round.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) orders: Vec<(u32, u32)>,
    pub(super) period: SimDuration,
    pub(super) turn: usize,
    pub(super) sleep: Option<SleepTimes>,
    /// It reads nothing of them; they make Prometheus scrape.
    pub(super) queries: Vec<Query>,
}

impl Script {
    pub(super) fn boxed(orders: &[(u32, u32)], period: SimDuration) -> Box<Self> {
        let queries =
            ["{__name__=~\"vllm:.+\"}", "gateway_queue_length"].map(|text| Query::compile(text).unwrap());
        let orders = orders.to_vec();
        Box::new(Self { orders, period, turn: 0, sleep: None, queries: queries.into() })
    }
}

impl Autoscaler for Script {
    fn loops(&self) -> Vec<Loop> {
        vec![Loop { name: "script", period: self.period, phase: None }]
    }
    fn decide(&mut self, _: usize, _: &View<'_>) -> Option<Decision> {
        self.turn += 1;
        let (replicas, spare) = self.orders[self.turn % self.orders.len()];
        Some(Decision { replicas, spare, path: Path::Direct, why: Reason::new("Script", "") })
    }
    fn queries(&self) -> Vec<&Query> {
        self.queries.iter().collect()
    }
    fn sleep(&self) -> Option<SleepTimes> {
        self.sleep.clone()
    }
    fn initial(&self) -> (u32, u32) {
        self.orders[0]
    }
    fn maximum(&self) -> Option<u32> {
        self.orders.iter().map(|o| o.0).max()
    }
}

/// Of a GPU-hour, millionths of a dollar.
pub(super) const PRICE: u64 = 3_600_000;

pub(super) fn pool(gpus_per_node: u32, max_nodes: u32) -> PoolSpec {
    PoolSpec {
        provision: constant(40),
        setup: constant(7),
        scale_down_unneeded: Some(secs(60)),
        capacity_type: CapacityType::Spot,
        ..PoolSpec::plain(gpus_per_node, max_nodes)
    }
}

pub(super) fn batch_engine(exact_steps: bool) -> EngineParams {
    let cost = StepCost::affine(
        [8_000_000_000_001, 90_000_000_017, 61_003],
        [4_000_000_000_000, 18_000_000_000, 1_200_000],
        16,
    );
    let batch = BatchParams {
        cost: Arc::new(cost),
        max_num_batched_tokens: 256,
        max_num_seqs: 16,
        kv_blocks: 90,
        max_model_len: u32::MAX,
        penalties_fs: Arc::new([700_000_000_000_000, 90_000_000_000_000]),
        track_gaps: true,
    };
    EngineParams::Continuous { batch, exact_steps }
}

pub(super) fn simulation(engine: EngineParams, source: Arc<dyn Source>, seed: u64) -> Simulation {
    Simulation {
        storage: super::storage::Plan::default(),
        compile_cache: None,
        faults: Vec::new(),
        rollouts: Vec::new(),
        seed,
        source,
        engine,
        replica: ReplicaParams {
            group_size: 1,
            gpus: 2,
            requests: PodResources::default(),
            memory_usage: None,
            cpu: None,
            stages: vec![
                (Phase::Pulling, Distribution::LogNormal { median: secs(10), p95: secs(25) }),
                (Phase::Loading, constant(12)),
                (Phase::WarmingUp, constant(4)),
            ],
            startup_probe: None,
            liveness_probe: None,
            readiness: ReadinessSpec { period: secs(3), ..ReadinessSpec::default() },
            termination_grace_period: secs(5),
            endpoint_removal_delay: SimDuration::ZERO,
            pre_stop: SimDuration::ZERO,
            per_request: SimDuration::from_millis(5),
            cooling: None,
            keep_warm: None,
        },
        gateway: GatewaySpec { request_timeout: secs(20), ..GatewaySpec::default() },
        control_plane: ControlPlaneSpec { watch_delay: SimDuration::ZERO, api_call: SimDuration::ZERO },
        cluster: cluster::Plan::of(pool(4, 3), PRICE),
        initial: InitialSpec { replicas: None, state: InitialState::Warm },
        telemetry: TelemetrySpec::default(),
        setting: Arc::new(Setting::default()),
        slo: Some(Slo { ttft: Some(secs(1)), ..Slo::default() }),
        capacity_per_s: Some(0.5),
        measure_from: 0,
    }
}

pub(super) fn result(sim: &Simulation, policy: Box<dyn Autoscaler>, replication: u32) -> RunOutcome {
    run(sim, policy, replication, None).expect("a workload in memory does not fail").0
}

/// Laws every outcome keeps.
pub(super) fn check_laws(outcome: &RunOutcome) {
    let counts = &outcome.counts;
    let ended = counts.finished + counts.rejected + counts.timed_out + counts.killed;
    assert_eq!(counts.arrived, ended, "every request ends exactly once");
    assert_eq!(outcome.ledger.total(), outcome.ledger.billed_gpu_ns, "the accounts are the bill");
    let ledger = &outcome.ledger;
    assert!(ledger.keep_warm_gpu_ns <= ledger.account(Account::ServingBusy), "keep-warm time is busy time");
    assert_eq!(
        outcome.ledger.cost.iter().sum::<u128>(),
        outcome.ledger.billed_cost(),
        "at each pool's price"
    );
    for latency in [&outcome.latency.ttft, &outcome.latency.e2e] {
        assert_eq!(latency.count(), counts.arrived);
        assert_eq!(latency.infinite(), ended - counts.finished);
    }
    let breaches = outcome.breaches.as_ref().expect("an SLO was given");
    assert_eq!(breaches.by_cause.iter().sum::<u64>(), breaches.total);
    assert_eq!(breaches.time_by_cause.into_iter().sum::<SimDuration>(), breaches.duration());
    assert_eq!(breaches.by_outcome.iter().sum::<u64>(), breaches.total);
    assert!(breaches.total >= ended - counts.finished, "what is dropped is a breach");
    let arrived: u32 = outcome.timeline.points.iter().map(|p| p.arrived).sum();
    assert_eq!(u64::from(arrived), counts.arrived);
    let needed = outcome.ledger.needed_replica_ns.expect("a capacity was given") * 2.0;
    assert!(needed <= outcome.ledger.ready_gpu_ns() as f64 + 1.0, "needed never exceeds what is ready");
    for start in &outcome.starts {
        assert!(start.phases.windows(2).all(|w| w[0].to == w[1].from), "phases follow each other");
        assert!(start.phases.iter().all(|p| p.waiting + p.working() == p.length()), "{start:?}");
    }
}

pub(super) fn packed(gaps: &[(u64, u32, u32)], tail_s: u64) -> Arc<dyn Source> {
    let mut at = SimTime::ZERO;
    let requests: Vec<_> = gaps
        .iter()
        .map(|&(gap_ms, prompt_tokens, output_tokens)| {
            at += SimDuration::from_millis(gap_ms);
            Request { arrival: at, prompt_tokens, output_tokens }
        })
        .collect();
    Arc::new(Packed { requests, span: at.since(SimTime::ZERO) + secs(tail_s) })
}

#[test]
fn prices_scale_cost_and_nothing_else() {
    let gaps: Vec<_> = (0..80).map(|i| (300 + i * 7 % 900, 100 + (i as u32 * 37) % 500, 20)).collect();
    let mut sim = simulation(batch_engine(false), packed(&gaps, 10), 1);
    let base = result(&sim, Script::boxed(&[(1, 1), (3, 0), (2, 1)], secs(15)), 0);
    sim.cluster.pools[0].price_micro_usd *= 2;
    let dear = result(&sim, Script::boxed(&[(1, 1), (3, 0), (2, 1)], secs(15)), 0);
    assert_eq!(base.facts_digest, dear.facts_digest);
    assert!((dear.ledger.cost_total() - 2.0 * base.ledger.cost_total()).abs() < 1e-9);
    assert!(base.ledger.cost_total() > 0.0);
}

/// Wants one replica, and says what a script says, turn by turn.
struct Talker {
    lines: Vec<(&'static str, &'static str)>,
    turn: usize,
}

impl Autoscaler for Talker {
    fn loops(&self) -> Vec<Loop> {
        vec![Loop { name: "talker", period: secs(10), phase: Some(secs(10)) }]
    }
    fn decide(&mut self, _: usize, _: &View<'_>) -> Option<Decision> {
        let (rule, conditions) = *self.lines.get(self.turn).or(self.lines.last())?;
        self.turn += 1;
        let why = Reason { conditions: conditions.to_owned(), ..Reason::new(rule, self.turn.to_string()) };
        Some(Decision { replicas: 1, spare: 0, path: Path::Direct, why })
    }
    fn initial(&self) -> (u32, u32) {
        (1, 0)
    }
    fn maximum(&self) -> Option<u32> {
        Some(1)
    }
}

#[test]
fn decisions_are_logged_when_rule_or_conditions_change() {
    let sim = simulation(batch_engine(false), packed(&[(1000, 10, 1)], 80), 1);
    let lines = vec![("A", ""), ("A", ""), ("A", "x"), ("A", "x"), ("B", "x"), ("B", "y"), ("B", "y")];
    let outcome = result(&sim, Box::new(Talker { lines, turn: 0 }), 0);
    let logged: Vec<_> =
        outcome.decisions.iter().map(|d| (d.at.as_nanos() / 1_000_000_000, d.why.rule)).collect();
    assert_eq!(logged, [(10, "A"), (30, "A"), (50, "B"), (60, "B")]);
}

/// Poisson arrivals at a rate, for `count` requests.
struct Poisson {
    rate_per_s: f64,
    count: u64,
}

impl Source for Poisson {
    fn requests<'a>(&'a self, streams: &Streams) -> Box<dyn Iterator<Item = Request> + Send + 'a> {
        let mut rng = streams.stream(Purpose::Arrivals, 0);
        let mut at = 0.0;
        Box::new((0..self.count).map(move |_| {
            at += dist::exponential(&mut rng) / self.rate_per_s;
            let arrival = SimTime::ZERO + SimDuration::from_secs_f64(at).expect("a short run");
            Request { arrival, prompt_tokens: 1, output_tokens: 1 }
        }))
    }
    fn span(&self) -> Option<SimDuration> {
        None
    }
}

/// Mean wait in the queue over 30 replications, s: (mean, standard error).
fn mean_wait(workers: u32, service: Distribution, utilisation: f64, seed: u64) -> (f64, f64) {
    // Waits correlate over 1/(1 - utilisation)^2 requests: the busier, the longer a run must be.
    // With more workers waiting is rarer, and with random service longer: both are noisier.
    let noise = if matches!(service, Distribution::Constant(_)) { 1 } else { 3 };
    let count = if utilisation > 0.8 { 170_000 * noise } else { 30_000 * u64::from(workers) };
    let rate_per_s = utilisation * f64::from(workers);
    let engine = EngineParams::Workers {
        workers: WorkersParams { workers, queue_limit: None, penalties: Arc::new([]) },
        service,
    };
    let mut sim = simulation(engine, Arc::new(Poisson { rate_per_s, count }), seed);
    sim.gateway.request_timeout = SimDuration::ZERO;
    sim.replica.per_request = SimDuration::ZERO;
    sim.measure_from = count / 10;
    let means: Vec<f64> = (0..30)
        .into_par_iter()
        .map(|r| {
            let outcome = result(&sim, Script::boxed(&[(1, 0)], secs(1_000_000)), r);
            outcome.latency.queue_wait.mean_secs().expect("requests were served")
        })
        .collect();
    let n = means.len() as f64;
    let mean = means.iter().sum::<f64>() / n;
    let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// Erlang's C: the chance that an arrival waits in M/M/c.
fn erlang_c(servers: u32, utilisation: f64) -> f64 {
    let load = utilisation * f64::from(servers);
    let mut blocking = 1.0;
    for k in 1..=servers {
        blocking = load * blocking / (f64::from(k) + load * blocking);
    }
    blocking / (1.0 - utilisation * (1.0 - blocking))
}

#[test]
fn queueing_theory_holds() {
    let second = || Distribution::Exponential { mean: secs(1) };
    let check = |name: &str, workers: u32, service: Distribution, rho: f64, expected: f64| {
        for seed in [1, 2, 3] {
            let (mean, error) = mean_wait(workers, service.clone(), rho, seed);
            let allowed = (0.01 * expected).max(3.0 * error);
            let half_width = 2.045 * error;
            assert!(
                half_width < 0.02 * expected,
                "{name} {rho} seed {seed}: +- {half_width} is too wide to tell"
            );
            assert!(
                (mean - expected).abs() <= allowed,
                "{name} {rho} seed {seed}: {mean} +- {error}, theory {expected}"
            );
        }
    };
    for rho in [0.3, 0.7, 0.9] {
        check("M/M/1", 1, second(), rho, rho / (1.0 - rho));
        check("M/D/1", 1, constant(1), rho, rho / (2.0 * (1.0 - rho)));
        check("M/M/4", 4, second(), rho, erlang_c(4, rho) / (4.0 * (1.0 - rho)));
    }
}

#[test]
fn a_replica_without_load_is_idle_and_the_rest_unallocated() {
    let sim = simulation(batch_engine(false), packed(&[(50_000, 10, 1)], 50), 1);
    let outcome = result(&sim, Script::boxed(&[(1, 0)], secs(1000)), 0);
    let gpu_s = |a: Account| outcome.ledger.account(a) as f64 / 1e9;
    assert!((gpu_s(Account::Unallocated) - 200.0).abs() < 1e-6);
    assert!(gpu_s(Account::ServingBusy) > 0.0 && gpu_s(Account::ServingBusy) < 0.1);
    assert_eq!(outcome.ledger.billed_gpu_ns, 400_000_000_000);
}

#[test]
fn littles_law_holds() {
    // Requests in the system, sampled by the timeline, against arrivals times time in the system.
    let (workers, utilisation, count) = (2, 0.7, 60_000);
    let rate_per_s = utilisation * f64::from(workers);
    let engine = EngineParams::Workers {
        workers: WorkersParams { workers, queue_limit: None, penalties: Arc::new([]) },
        service: Distribution::Exponential { mean: secs(1) },
    };
    let mut sim = simulation(engine, Arc::new(Poisson { rate_per_s, count }), 5);
    sim.gateway.request_timeout = SimDuration::ZERO;
    sim.replica.per_request = SimDuration::ZERO;
    let ratios: Vec<f64> = (0..30)
        .into_par_iter()
        .map(|r| {
            let outcome = result(&sim, Script::boxed(&[(1, 0)], secs(1_000_000)), r);
            let points = &outcome.timeline.points;
            let in_system =
                points.iter().map(|p| f64::from(p.in_replicas)).sum::<f64>() / points.len() as f64;
            let arrivals_per_s = outcome.counts.arrived as f64 / outcome.trace_end.as_secs_f64();
            in_system / (arrivals_per_s * outcome.latency.e2e.mean_secs().expect("requests were served"))
        })
        .collect();
    let mean = ratios.iter().sum::<f64>() / 30.0;
    let error = (ratios.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 29.0 / 30.0).sqrt();
    assert!(error < 0.01, "too wide to tell: {error}");
    assert!((mean - 1.0).abs() < 3.0 * error, "L / (lambda W) = {mean} +- {error}");
}

#[test]
fn a_single_worker_is_busy_for_its_share() {
    let engine = EngineParams::Workers {
        workers: WorkersParams { workers: 1, queue_limit: None, penalties: Arc::new([]) },
        service: constant(1),
    };
    let sim = simulation(engine, Arc::new(Poisson { rate_per_s: 0.6, count: 100_000 }), 3);
    let outcome = result(&sim, Script::boxed(&[(1, 0)], secs(1_000_000)), 0);
    let serving = outcome.ledger.ready_gpu_ns() as f64;
    let busy = outcome.ledger.account(Account::ServingBusy) as f64 / serving;
    let offered = outcome.counts.finished as f64 / outcome.trace_end.as_secs_f64();
    assert!((busy - offered).abs() < 1e-3, "busy {busy}, offered {offered}");
}
