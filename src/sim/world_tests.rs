//! Random worlds against the laws, and against the stepped engine: everything at once.

use std::sync::Arc;

use proptest::prelude::*;

use super::Simulation;
use super::cluster::config::{
    BilledFrom, CapacityType, ClusterAutoscalerSpec, KarpenterSpec, PoolSpec, ProvisionerSpec,
};
use super::cluster::{ModelAffinity, PoolPlan};
use super::compile_cache::{CacheAt, CachePlan};
use super::config::*;
use super::faults::{FaultSpec, NoCapacitySpec, PodCrashSpec, SpotReclaimSpec};
use super::storage::{self as store, ImagePlan, LazyPlan, NodePlan, Plan, Wares, WeightsPlan};
use super::tests::{
    PRICE, Script, batch_engine, check_laws, constant, packed, pool, result, secs, simulation,
};
use super::warmth::{Cooling, KeepWarm};
use crate::kernel::{Quantity, SimDuration, SimTime};
use crate::policy::api::SleepTimes;

/// Pools, provisioner, placeholders and affinity.
#[derive(Clone, Debug)]
struct Nodes {
    provisioner: ProvisionerSpec,
    second: Option<(u32, u32, u64)>,
    placeholders: u32,
    affinity: ModelAffinity,
    safe_to_evict: bool,
    quota: Option<u32>,
}

fn provisioner() -> impl Strategy<Value = ProvisionerSpec> {
    let autoscaler = (1u64..20, any::<bool>(), 30u64..200, 1u64..60, 0i64..1000).prop_map(
        |(scan_s, frequent_loops_enabled, provision_s, unneeded_s, milli)| {
            ProvisionerSpec::ClusterAutoscaler(ClusterAutoscalerSpec {
                scan_interval: secs(scan_s),
                frequent_loops_enabled,
                max_node_provision_time: secs(provision_s),
                initial_node_group_backoff_duration: secs(unneeded_s),
                scale_down_unneeded_time: secs(unneeded_s),
                scale_down_delay_after_add: secs(unneeded_s / 2),
                scale_down_gpu_utilization_threshold: Quantity::from_milli(milli),
                ..ClusterAutoscalerSpec::default()
            })
        },
    );
    let karpenter = (0u64..5, 5u64..20, 0u64..60, 10u32..=100, 60u64..600).prop_map(
        |(idle_s, max_s, after_s, budget_percent, expire_s)| {
            ProvisionerSpec::Karpenter(KarpenterSpec {
                batch_idle_duration: secs(idle_s),
                batch_max_duration: secs(max_s),
                consolidate_after: secs(after_s),
                budget_percent,
                expire_after: secs(expire_s),
                registration_timeout: secs(30 + after_s),
                ..KarpenterSpec::default()
            })
        },
    );
    prop_oneof![3 => Just(ProvisionerSpec::AtOnce), 1 => Just(ProvisionerSpec::None), 3 => autoscaler, 3 => karpenter]
}

fn nodes() -> impl Strategy<Value = Nodes> {
    let affinity = prop_oneof![
        3 => Just(ModelAffinity::None), 1 => Just(ModelAffinity::Preferred), 1 => Just(ModelAffinity::Required)
    ];
    let second = prop::option::of((2u32..9, 1u32..4, 1u64..9));
    (provisioner(), second, 0u32..3, affinity, any::<bool>(), prop::option::of(4u32..20)).prop_map(
        |(provisioner, second, placeholders, affinity, safe_to_evict, quota)| Nodes {
            provisioner,
            second,
            placeholders,
            affinity,
            safe_to_evict,
            quota,
        },
    )
}

impl Nodes {
    fn put_into(&self, sim: &mut Simulation) {
        if let Some((gpus, max_nodes, price)) = self.second {
            let capacity_type = if price % 2 == 0 { CapacityType::Spot } else { CapacityType::OnDemand };
            let zones = vec!["a".to_owned(), "b".to_owned()];
            let spec = PoolSpec { capacity_type, zones, min_nodes: 1, ..pool(gpus, max_nodes) };
            sim.cluster.pools.push(PoolPlan::new("second", spec, PRICE * price));
        }
        sim.cluster.provisioner = self.provisioner.clone();
        sim.cluster.placeholders = self.placeholders;
        // Without weights to hold nothing could ever be bound.
        sim.cluster.model_affinity = self.affinity;
        sim.cluster.safe_to_evict = self.safe_to_evict;
        let all: Vec<usize> = (0..sim.cluster.pools.len()).collect();
        sim.cluster.quotas = self.quota.map(|gpus| (gpus, all)).into_iter().collect();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]
    #[test]
    fn any_world_keeps_the_laws_and_steps_like_the_oracle(
        gaps in prop::collection::vec((prop_oneof![0u64..400, 1_000u64..30_000], 1u32..700, 1u32..160), 1..120),
        orders in prop::collection::vec((0u32..6, 0u32..3), 1..6),
        period_s in 5u64..40,
        tail_s in 0u64..50,
        seed in 0u64..4,
        after in prop_oneof![
            3 => Just(ReadyAfter::WarmUp), 2 => Just(ReadyAfter::Weights), 1 => Just(ReadyAfter::Process)
        ],
        cold: bool,
        watch_ms in prop_oneof![Just(0u64), 1u64..20_000],
        call_ms in prop_oneof![Just(0u64), 1u64..4_000],
        removal_ms in prop_oneof![Just(0u64), 1u64..8_000],
        pre_stop_ms in prop_oneof![Just(0u64), 1u64..=5_000],
        router in prop_oneof![
            Just(RouterKind::LeastOutstanding), Just(RouterKind::RoundRobin), Just(RouterKind::PowerOfTwo)
        ],
        queue_limit in prop::option::of(0u32..10),
        billed_from in prop_oneof![Just(BilledFrom::Request), Just(BilledFrom::Boot), Just(BilledFrom::Ready)],
        reclaims in prop::collection::vec((0u64..200, 1u32..3, 0u64..40), 0..3),
        shortage in prop::option::of((0u64..100, 1u64..60)),
        liveness in prop::option::of((0u64..12, 1u64..9, 1u32..4)),
        fetches in prop::option::of((1u32..3, 0u64..4, any::<bool>(), any::<bool>(), 0u64..30)),
        cooling in prop::option::of((0u64..15, 0u64..3_000)),
        keep_warm in prop::option::of((0u64..9_000, 1u64..6_000, 1u32..300, 1u32..50)),
        sleep in prop::option::of((0u64..9, 0u64..9)),
        cache in prop::option::of((any::<bool>(), any::<bool>(), 0u64..4)),
        nodes in nodes(),
        crash in prop::option::of(0u64..100),
        group_size in prop_oneof![3 => Just(1u32), 1 => 2u32..4],
    ) {
        let mut sim = simulation(batch_engine(false), packed(&gaps, tail_s), seed);
        let reclaims = reclaims.into_iter().map(|(at_s, nodes, notice_s)| {
            FaultSpec::SpotReclaim(SpotReclaimSpec { at: secs(at_s), nodes, notice: secs(notice_s), pools: Vec::new() })
        });
        let shortage = shortage.map(|(from_s, lasts_s)| {
            FaultSpec::NoCapacity(NoCapacitySpec { from: secs(from_s), lasts: secs(lasts_s), pools: Vec::new(), zones: Vec::new() })
        });
        sim.faults = reclaims.chain(shortage).collect();
        sim.replica.liveness_probe = liveness.map(|(delay_s, period_s, failure_threshold)| ProbeSpec {
            initial_delay: secs(delay_s),
            period: secs(period_s),
            failure_threshold,
        });
        if let Some((connections, layers, with_pull, kept, down_s)) = fetches {
            let at = |s: u64| SimTime::from_secs(s);
            sim.storage = Plan {
                image: Some(ImagePlan {
                    layers: (0..layers).map(|i| (100 * (i + 1), secs(i))).collect(),
                    connections,
                    manifest: secs(1),
                    per_request: SimDuration::from_millis(100),
                    shared: 0,
                    unpacked: 1_000,
                    lazy: (layers == 3).then_some(LazyPlan { first: 50, first_touch: secs(5) }),
                }),
                weights: Some(WeightsPlan { bytes: 101, connections, with_pull, kept, streaming: down_s % 3 == 0 }),
                registry: store::Source { rate: Some(70), connection: Some(40), changes: vec![(at(down_s), 0), (at(down_s + 9), 70)], failing: vec![(at(down_s + 20), at(down_s + 40))], peers: kept, ..store::Source::default() },
                model_store: store::Source {
                    rate: Some(30),
                    cache: Some(40).filter(|_| kept),
                    peers: with_pull,
                    ..store::Source::default()
                },
                nodes: vec![NodePlan {
                    rate: Some(50),
                    disk_rate: Some(60),
                    page_cache: if with_pull { 200 } else { 0 },
                    model_cache: Some(300),
                    image_store: Some(3_000),
                    turnover_per_hour: 10_000,
                    prefetch: Wares { image: kept, weights: with_pull },
                    ..NodePlan::default()
                }],
                ..Plan::default()
            };
        }
        nodes.put_into(&mut sim);
        if group_size > 1 {
            // Each pod fills a node of the first pool, and no node of the second holds two.
            sim.replica.group_size = group_size;
            sim.replica.gpus = 4 * group_size;
            sim.cluster.pools[0].spec.max_nodes *= group_size;
            sim.faults.extend(crash.map(|at_s| FaultSpec::PodCrash(PodCrashSpec { at: secs(at_s), replicas: 2 })));
            if let Some(second) = sim.cluster.pools.get_mut(1) {
                second.spec.gpus_per_node = second.spec.gpus_per_node.min(7);
            }
        }
        sim.gateway.router = router;
        sim.gateway.queue_limit = queue_limit;
        for pool in &mut sim.cluster.pools {
            pool.spec.billed_from = billed_from;
        }
        sim.control_plane.watch_delay = SimDuration::from_millis(watch_ms);
        sim.control_plane.api_call = SimDuration::from_millis(call_ms);
        sim.replica.endpoint_removal_delay = SimDuration::from_millis(removal_ms);
        sim.replica.pre_stop = SimDuration::from_millis(pre_stop_ms);
        sim.replica.readiness.after = after;
        let spares = u32::from(after != ReadyAfter::Process);
        let orders: Vec<_> = orders.into_iter().map(|(replicas, spare)| (replicas, spare * spares)).collect();
        if cold {
            sim.initial.state = InitialState::Cold;
        }
        let ms = SimDuration::from_millis;
        sim.replica.cooling = cooling.map(|(after_s, penalty_ms)| Cooling {
            after: secs(after_s),
            curve: Arc::new([ms(penalty_ms), ms(penalty_ms / 3)]),
        });
        sim.replica.keep_warm = keep_warm.map(|(threshold_ms, period_ms, prompt_tokens, output_tokens)| KeepWarm {
            idle_threshold: ms(threshold_ms),
            period: ms(period_ms),
            prompt_tokens,
            output_tokens,
            service: SimDuration::ZERO,
        });
        sim.compile_cache = cache.map(|(shared, filled, cached_s)| CachePlan {
            at: if shared { CacheAt::Shared } else { CacheAt::Node },
            filled,
            cached: vec![None, None, Some(constant(cached_s))],
        });
        let sleep = sleep.map(|(fall, wake)| SleepTimes { fall_asleep: constant(fall), wake: constant(wake) });
        let policy = || Box::new(Script { sleep: sleep.clone(), ..*Script::boxed(&orders, secs(period_s)) });
        let fast = result(&sim, policy(), 0);
        check_laws(&fast);
        sim.engine = batch_engine(true);
        let slow = result(&sim, policy(), 0);
        prop_assert_eq!(&fast.counts, &slow.counts);
        prop_assert_eq!(&fast.breaches, &slow.breaches);
        prop_assert_eq!(&fast.latency, &slow.latency);
        prop_assert_eq!(&fast.steps, &slow.steps);
        prop_assert_eq!(&fast.ledger, &slow.ledger);
        prop_assert_eq!(&fast.timeline, &slow.timeline);
        prop_assert_eq!(&fast.facts_digest, &slow.facts_digest);
        let again = result(&sim, policy(), 0);
        prop_assert_eq!(&slow.facts_digest, &again.facts_digest);
    }
}
