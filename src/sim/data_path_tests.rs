//! What a policy puts between the gateway and the pods: limits, queues, a proxy that holds, meters.

use std::sync::Arc;

use proptest::prelude::*;

use super::config::*;
use super::engine::WorkersParams;
use super::faults::FaultSpec;
use super::tests::{batch_engine, check_laws, constant, packed, result, secs, simulation};
use super::{EngineParams, Simulation};
use crate::kernel::{Distribution, SimDuration, SimTime};
use crate::outcome::{Counts, Phase, RunOutcome};
use crate::policy::api::{Balancing, DataPath, Path, PodLimit};
use crate::policy::meter::Meter;
use crate::policy::{Autoscaler, Decision, Loop, Reason, View};

/// Orders replicas and paths turn by turn, the last for ever, and checks what it is shown.
#[derive(Clone)]
struct Script {
    data_path: DataPath,
    orders: Vec<(u32, Path)>,
    period: SimDuration,
    turn: usize,
    proxy: Meter,
    /// How often it was told that a request came by way of an idle proxy.
    entered: u64,
}

impl Script {
    fn boxed(data_path: DataPath, orders: &[(u32, Path)], period: SimDuration) -> Box<dyn Autoscaler> {
        let (proxy, entered) = (Meter::default(), 0);
        Box::new(Self { data_path, orders: orders.to_vec(), period, turn: 0, proxy, entered })
    }

    /// Requests are in one place each, and meters agree with places.
    fn check(&mut self, view: &View<'_>) {
        let in_pods: u32 = view.pods.iter().map(|pod| pod.meter.in_flight).sum();
        let by_proxy: u32 = view.pods.iter().map(|pod| pod.meter.proxied_in_flight).sum();
        let gateway = &view.gateway;
        // An engine drops what was given up at the end of its step, and counts it until then.
        assert!(gateway.running + gateway.waiting >= u64::from(in_pods), "{view:?}");
        for pod in view.pods {
            let meter = &pod.meter;
            assert!(meter.proxied_ns <= meter.concurrency_ns && meter.proxied_requests <= meter.requests);
            if let Some(limit) = self.data_path.pod_limit {
                assert!(meter.in_flight <= limit.concurrency + limit.queue, "{pod:?}");
            }
        }
        if let Some(limit) = self.data_path.hold_limit {
            assert!(gateway.held <= u64::from(limit));
        }
        if self.data_path.is_metered {
            let proxy = &gateway.meter;
            assert_eq!(u64::from(proxy.in_flight), gateway.held + u64::from(by_proxy), "{view:?}");
            assert!(
                proxy.requests >= self.proxy.requests && proxy.concurrency_ns >= self.proxy.concurrency_ns
            );
            assert_eq!(self.entered > 0, proxy.requests > 0, "the first one is told of");
            assert!(self.entered <= proxy.requests);
            self.proxy = *proxy;
        } else {
            assert_eq!((gateway.meter.requests, by_proxy, self.entered), (0, 0, 0));
        }
    }
}

impl Autoscaler for Script {
    fn loops(&self) -> Vec<Loop> {
        vec![Loop { name: "script", period: self.period, phase: Some(SimDuration::ZERO) }]
    }
    fn decide(&mut self, _: usize, view: &View<'_>) -> Option<Decision> {
        self.check(view);
        let (replicas, path) = self.orders[self.turn.min(self.orders.len() - 1)];
        self.turn += 1;
        let why = Reason::new("Script", "");
        Some(Decision { replicas, spare: 0, path, why })
    }
    fn initial(&self) -> (u32, u32) {
        (self.orders[0].0, 0)
    }
    fn maximum(&self) -> Option<u32> {
        Some(u32::MAX)
    }
    fn data_path(&self) -> DataPath {
        self.data_path.clone()
    }
    fn proxy_entered(&mut self, _: SimTime) {
        self.entered += 1;
    }
}

fn path() -> impl Strategy<Value = Path> {
    prop_oneof![Just(Path::Direct), Just(Path::Proxied)]
}

fn data_path() -> impl Strategy<Value = DataPath> {
    let balancing = prop_oneof![
        Just(Balancing::RandomChoiceOfTwo),
        Just(Balancing::FirstAvailable),
        Just(Balancing::RoundRobin)
    ];
    let seconds = |from: u64, to: u64| prop::option::of((from..to).prop_map(secs));
    let limit =
        prop::option::of((1u32..5, 0u32..6).prop_map(|(concurrency, queue)| PodLimit { concurrency, queue }));
    (
        limit,
        prop::option::of(0u32..12),
        seconds(1, 30),
        seconds(1, 20),
        seconds(5, 60),
        balancing,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(pod_limit, hold_limit, hold_timeout, header, request_timeout, balancing, proxied, metered)| {
                DataPath {
                    pod_limit,
                    hold_limit,
                    hold_timeout,
                    header_timeout: header,
                    request_timeout,
                    balancing,
                    begins_proxied: proxied,
                    probe_period: None,
                    is_metered: metered,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn any_data_path_keeps_the_laws_and_steps_like_the_oracle(
        gaps in prop::collection::vec((prop_oneof![0u64..400, 1_000u64..30_000], 1u32..700, 1u32..160), 1..120),
        orders in prop::collection::vec((0u32..5, path()), 1..40),
        data_path in data_path(),
        period_s in 2u64..30,
        seed in 0u64..4,
        faults in prop::collection::vec(super::chaos_tests::fault(), 0..4),
    ) {
        let mut sim = simulation(batch_engine(false), packed(&gaps, 30), seed);
        // What goes where a machine was is in no pod's meter.
        sim.faults = faults.into_iter().filter(|fault| !matches!(fault, FaultSpec::NodeLoss(_))).collect();
        let policy = || Script::boxed(data_path.clone(), &orders, secs(period_s));
        let fast = result(&sim, policy(), 0);
        check_laws(&fast);
        sim.engine = batch_engine(true);
        let slow = result(&sim, policy(), 0);
        prop_assert_eq!(&fast.counts, &slow.counts);
        prop_assert_eq!(&fast.ledger, &slow.ledger);
        prop_assert_eq!(&fast.timeline, &slow.timeline);
        prop_assert_eq!(&fast.facts_digest, &slow.facts_digest);
    }
}

/// A service of so many seconds without queue or limit of its own, and requests at these times, ms.
fn service(seconds: u64, at_ms: &[u64]) -> Simulation {
    let engine = EngineParams::Workers {
        workers: WorkersParams { workers: 64, queue_limit: None, penalties: Arc::new([]) },
        service: constant(seconds),
    };
    let mut last = 0;
    let gaps: Vec<(u64, u32, u32)> =
        at_ms.iter().map(|at| (at - std::mem::replace(&mut last, *at), 1, 1)).collect();
    let mut sim = simulation(engine, packed(&gaps, 60), 1);
    sim.gateway.request_timeout = SimDuration::ZERO;
    sim.replica.per_request = SimDuration::ZERO;
    sim
}

fn limited(concurrency: u32, queue: u32) -> DataPath {
    let pod_limit = Some(PodLimit { concurrency, queue });
    DataPath { pod_limit, is_metered: true, ..DataPath::default() }
}

/// (finished, rejected, timed out, killed).
fn ended(counts: &Counts) -> (u64, u64, u64, u64) {
    (counts.finished, counts.rejected, counts.timed_out, counts.killed)
}

fn longest(outcome: &RunOutcome) -> f64 {
    outcome.latency.e2e.quantile(1.0).expect("there were requests").as_secs_f64()
}

#[test]
fn a_queue_proxy_lets_through_so_many_at_a_time_and_refuses_what_it_cannot_hold() {
    for (concurrency, queue, requests, finished, longest_s) in
        [(1, 10, 5, 5, 5.0), (1, 2, 5, 3, 3.0), (2, 3, 9, 5, 3.0), (4, 0, 9, 4, 1.0)]
    {
        let sim = service(1, &vec![1_000; requests]);
        let policy = Script::boxed(limited(concurrency, queue), &[(1, Path::Direct)], secs(1));
        let outcome = result(&sim, policy, 0);
        check_laws(&outcome);
        let case = format!("{concurrency} at a time, {queue} held");
        assert_eq!(ended(&outcome.counts), (finished, requests as u64 - finished, 0, 0), "{case}");
        // What is refused counts as never answered: the longest of the others lies just below.
        let last =
            outcome.latency.e2e.quantile(finished as f64 / requests as f64 - 1e-9).expect("some finished");
        assert!((last.as_secs_f64() - longest_s).abs() < 0.01, "{case}: {last}");
    }
}

#[test]
fn a_proxy_holds_what_finds_no_room_up_to_its_limit() {
    let sim = service(1, &[1_000; 8]);
    let data_path = DataPath { hold_limit: Some(3), begins_proxied: true, ..limited(1, 10) };
    let outcome = result(&sim, Script::boxed(data_path, &[(2, Path::Proxied)], secs(1)), 0);
    // Two at work, three held, three refused: queue-proxies never hold what comes by way of the proxy.
    assert_eq!(ended(&outcome.counts), (5, 3, 0, 0));
}

#[test]
fn what_a_proxy_holds_stays_with_it_when_it_leaves_the_path() {
    // Ten requests, one a second. From 2 s on new ones go straight to the pod, whose queue holds one.
    let sim = service(1, &[500; 10]);
    let data_path = DataPath { begins_proxied: true, ..limited(1, 1) };
    let orders = [(1, Path::Proxied), (1, Path::Proxied), (1, Path::Direct)];
    let outcome = result(&sim, Script::boxed(data_path.clone(), &orders, secs(1)), 0);
    assert_eq!(ended(&outcome.counts), (10, 0, 0, 0));
    assert!((longest(&outcome) - 10.0).abs() < 0.01);

    // One that comes meanwhile takes its place in the pod's queue, and the next finds it full.
    let sim = service(1, &[500, 500, 500, 2_100, 2_200]);
    let outcome = result(&sim, Script::boxed(data_path, &orders, secs(1)), 0);
    assert_eq!(ended(&outcome.counts), (4, 1, 0, 0));
}

#[test]
fn what_a_queue_proxy_holds_drains_or_is_killed_with_its_pod() {
    let orders = [(1, Path::Direct), (0, Path::Direct)];
    for (grace_s, expected) in [(5, (1, 0, 0, 3)), (60, (4, 0, 0, 0))] {
        let mut sim = service(4, &[500; 4]);
        sim.replica.termination_grace_period = secs(grace_s);
        let outcome = result(&sim, Script::boxed(limited(1, 10), &orders, secs(1)), 0);
        check_laws(&outcome);
        assert_eq!(ended(&outcome.counts), expected, "{grace_s} s");
    }
}

#[test]
fn the_shorter_timeout_holds() {
    for (gateway_s, own_s, longest_s) in [(0, Some(7), 7), (5, Some(7), 5), (9, Some(7), 7), (9, None, 9)] {
        let mut sim = service(1_000, &[1_000]);
        sim.gateway.request_timeout = secs(gateway_s);
        let data_path = DataPath { request_timeout: own_s.map(secs), ..DataPath::default() };
        let outcome = result(&sim, Script::boxed(data_path, &[(1, Path::Direct)], secs(500)), 0);
        assert_eq!(ended(&outcome.counts), (0, 0, 1, 0));
        // The trace ends at 61 s, and the run with it.
        let breach = outcome.breaches.as_ref().and_then(|b| b.first.first()).expect("it breached");
        assert_eq!(breach.end.as_nanos(), (1 + longest_s) * 1_000_000_000, "{gateway_s} {own_s:?}");
    }
}

#[test]
fn a_proxy_finds_a_new_pod_by_its_own_probes() {
    for (probe_period, longest_s) in [(Some(SimDuration::from_millis(200)), 0.15), (None, 47.95)] {
        let mut sim = service(1, &[1_000]);
        sim.initial.state = InitialState::Cold;
        sim.replica.stages = vec![(Phase::Loading, Distribution::Constant(SimDuration::from_millis(12_050)))];
        sim.replica.readiness.period = secs(60);
        let data_path = DataPath { probe_period, ..DataPath::default() };
        let outcome = result(&sim, Script::boxed(data_path, &[(1, Path::Direct)], secs(500)), 0);
        let probing = outcome.starts[0].phases.iter().filter(|span| span.phase == Phase::Probing);
        let probing: f64 = probing.map(|span| span.to.since(span.from).as_secs_f64()).sum();
        assert!((probing - longest_s).abs() < 1e-6, "{probe_period:?}: {probing}");
    }
}
