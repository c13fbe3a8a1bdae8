//! Random worlds in which everything goes wrong at once keep the laws.

use proptest::prelude::*;

use super::config::{InitialState, ReadyAfter};
use super::deployment::IntOrPercent;
use super::faults::{
    FaultSpec, GpuErrorSpec, Metrics, MetricsOutageSpec, NoCapacitySpec, NodeLossSpec, PodCrashSpec,
    SpotReclaimSpec,
};
use super::rollout::{Failure, RolloutSpec};
use super::tests::{Script, batch_engine, check_laws, packed, result, secs, simulation};
use super::warmth::KeepWarm;
use crate::kernel::SimDuration;
use crate::outcome::{RunOutcome, StartResult};

pub(super) fn fault() -> impl Strategy<Value = FaultSpec> {
    (0u64..150, 1u32..3, 0u64..40, 0u64..40, 0u8..6).prop_map(|(at, count, first, second, kind)| {
        let (at, first, second) = (secs(at), secs(first), secs(second));
        match kind {
            0 => {
                FaultSpec::SpotReclaim(SpotReclaimSpec { at, nodes: count, notice: first, pools: Vec::new() })
            }
            1 => FaultSpec::NoCapacity(NoCapacitySpec {
                from: at,
                lasts: first,
                pools: Vec::new(),
                zones: Vec::new(),
            }),
            2 => FaultSpec::NodeLoss(NodeLossSpec {
                at,
                nodes: count,
                not_ready_after: first,
                evict_after: second,
            }),
            3 => FaultSpec::PodCrash(PodCrashSpec { at, replicas: count }),
            4 => FaultSpec::GpuError(GpuErrorSpec { at, replicas: count, drained_after: first }),
            _ => {
                let what = [Metrics::Prometheus, Metrics::MetricsServer, Metrics::Both][count as usize];
                FaultSpec::MetricsOutage(MetricsOutageSpec { from: at, lasts: first, what })
            }
        }
    })
}

fn rollout() -> impl Strategy<Value = RolloutSpec> {
    let share =
        || prop_oneof![(0u32..4).prop_map(IntOrPercent::Int), (0u32..101).prop_map(IntOrPercent::Percent)];
    let fails = prop::option::of(prop_oneof![Just(Failure::Crash), Just(Failure::NeverReady)]);
    (1u64..60, share(), share(), 0u64..10, fails, prop::option::of(1u64..40)).prop_map(
        |(at, max_surge, max_unavailable, min_ready, fails, rollback)| RolloutSpec {
            image: None,
            at: secs(at),
            max_surge,
            max_unavailable,
            min_ready: secs(min_ready),
            fails,
            rollback_after: rollback.map(secs),
        },
    )
}

/// Every start ends once, and a replica has no two at a time; one after a crash comes after a start that became ready, or after
/// none.
fn check_starts(outcome: &RunOutcome) {
    for pair in outcome.starts.windows(2).filter(|pair| pair[0].replica == pair[1].replica) {
        assert_eq!(pair[0].result, StartResult::Ready, "{pair:?}");
        assert!(pair[1].again && pair[1].ordered >= pair[0].ordered, "{pair:?}");
    }
    let cold = outcome.starts.iter().filter(|start| !start.again);
    assert!(cold.clone().count() as u64 >= outcome.ledger.cold_starts, "each replica has its record");
    for start in &outcome.starts {
        assert!(!start.again || start.restarts > 0, "{start:?}");
        assert!(
            start.phases.iter().all(|span| span.from < span.to && span.from >= start.ordered),
            "{start:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn any_misfortune_keeps_the_laws_and_steps_like_the_oracle(
        gaps in prop::collection::vec((prop_oneof![0u64..400, 1_000u64..30_000], 1u32..700, 1u32..160), 1..80),
        orders in prop::collection::vec((0u32..6, 0u32..2), 1..6),
        period_s in 5u64..40,
        seed in 0u64..4,
        cold: bool,
        delays_ms in prop_oneof![Just((0u64, 0u64)), (1u64..5_000, 1u64..2_000)],
        removal_ms in prop_oneof![Just(0u64), 1u64..30_000],
        pre_stop_ms in prop_oneof![Just(0u64), 1u64..=5_000],
        connect_s in 0u64..30,
        faults in prop::collection::vec(fault(), 0..6),
        rollouts in prop::collection::vec(rollout(), 0..3),
        process: bool,
        keep_warm in prop::option::of((0u64..9_000, 1u64..6_000, 1u32..300, 1u32..50)),
    ) {
        let mut sim = simulation(batch_engine(false), packed(&gaps, 20), seed);
        sim.faults = faults;
        let mut at = SimDuration::ZERO;
        sim.rollouts = rollouts;
        for rollout in &mut sim.rollouts {
            rollout.at += at;
            at = rollout.at + rollout.rollback_after.unwrap_or(SimDuration::ZERO);
        }
        sim.gateway.connect_timeout = secs(connect_s);
        sim.control_plane.watch_delay = SimDuration::from_millis(delays_ms.0);
        sim.control_plane.api_call = SimDuration::from_millis(delays_ms.1);
        sim.replica.endpoint_removal_delay = SimDuration::from_millis(removal_ms);
        sim.replica.pre_stop = SimDuration::from_millis(pre_stop_ms);
        let mut orders = orders;
        if process {
            sim.replica.readiness.after = ReadyAfter::Process;
            for (_, spare) in &mut orders {
                *spare = 0;
            }
        }
        let ms = SimDuration::from_millis;
        sim.replica.keep_warm = keep_warm.map(|(threshold_ms, period_ms, prompt_tokens, output_tokens)| KeepWarm {
            idle_threshold: ms(threshold_ms),
            period: ms(period_ms),
            prompt_tokens,
            output_tokens,
            service: SimDuration::ZERO,
        });
        if cold {
            sim.initial.state = InitialState::Cold;
        }
        let policy = || Script::boxed(&orders, secs(period_s));
        let fast = result(&sim, policy(), 0);
        check_laws(&fast);
        check_starts(&fast);
        sim.engine = batch_engine(true);
        let slow = result(&sim, policy(), 0);
        prop_assert_eq!(&fast.counts, &slow.counts);
        prop_assert_eq!(&fast.breaches, &slow.breaches);
        prop_assert_eq!(&fast.steps, &slow.steps);
        prop_assert_eq!(&fast.ledger, &slow.ledger);
        prop_assert_eq!(&fast.starts, &slow.starts);
        prop_assert_eq!(&fast.timeline, &slow.timeline);
        prop_assert_eq!(&fast.facts_digest, &slow.facts_digest);
    }
}
