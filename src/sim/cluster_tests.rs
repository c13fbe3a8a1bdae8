//! Pools, provisioners, placeholders and the scheduler, against pencil and paper.

use super::Simulation;
use super::cluster::config::{
    BilledFrom, CapacityType, ClusterAutoscalerSpec, ConsolidationPolicy, Expander, KarpenterSpec, PoolSpec,
    ProvisionerSpec,
};
use super::cluster::{Plan, PoolPlan};
use super::faults::{FaultSpec, NoCapacitySpec, NodeLossSpec};
use super::scale_tests::{timed, world};
use super::storage::{self, ImagePlan, NodePlan, Wares};
use super::tests::{PRICE, check_laws, constant, packed, result, secs};
use crate::kernel::SimDuration;
use crate::outcome::{Phase, RunOutcome, StartResult, Unscheduled};

/// A pool whose nodes hold so many replicas (of two GPUs each) and take 40 s to boot and 7 s to be set up.
pub(super) fn pool(replicas: u32, max_nodes: u32) -> PoolSpec {
    PoolSpec { provision: constant(40), setup: constant(7), ..PoolSpec::plain(2 * replicas, max_nodes) }
}

/// A pool a replica a node, ten minutes of trace; starts take 16 s once they have a node.
fn cluster(provisioner: ProvisionerSpec) -> Simulation {
    let mut sim = world(1);
    sim.source = packed(&[(0, 1, 1)], 2_400);
    sim.cluster = Plan::of(pool(1, 20), PRICE);
    sim.cluster.provisioner = provisioner;
    sim
}

fn autoscaler(change: impl Fn(&mut ClusterAutoscalerSpec)) -> ProvisionerSpec {
    let mut spec = ClusterAutoscalerSpec { scan_phase: Some(secs(0)), ..ClusterAutoscalerSpec::default() };
    change(&mut spec);
    ProvisionerSpec::ClusterAutoscaler(spec)
}

/// How long each start waited for its node, ms.
fn waits(outcome: &RunOutcome) -> Vec<u64> {
    let wait = |start: &crate::outcome::StartRecord| {
        let wait = start.time_in(Phase::Pending) + start.time_in(Phase::Provisioning);
        wait.as_nanos() / 1_000_000
    };
    outcome.starts.iter().map(wait).collect()
}

/// How long the nodes of each pool were billed, in ms of one node of one replica.
fn billed(outcome: &RunOutcome) -> Vec<u64> {
    let pools = outcome.ledger.pools.iter();
    pools.map(|pool| u64::try_from(pool.billed_gpu_ns / 2_000_000).unwrap()).collect()
}

pub(super) fn none_from(from: u64, lasts: u64, pools: &[&str], zones: &[&str]) -> FaultSpec {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    FaultSpec::NoCapacity(NoCapacitySpec {
        from: secs(from),
        lasts: secs(lasts),
        pools: names(pools),
        zones: names(zones),
    })
}

#[test]
fn the_cluster_autoscaler_looks_when_a_pod_finds_no_node_or_at_its_interval() {
    for (frequent, delay, expected) in
        [(true, 0, 47_000), (false, 0, 53_500), (true, 3, 50_000), (false, 12, 63_500)]
    {
        let provisioner = autoscaler(|spec| {
            spec.frequent_loops_enabled = frequent;
            spec.new_pod_scale_up_delay = secs(delay);
        });
        // The pod comes at 3.5 s; looks are at 0 s, 10 s, 20 s.
        let outcome = result(&cluster(provisioner), timed((1, 0), &[(3, 2, 0)]), 0);
        check_laws(&outcome);
        assert_eq!(waits(&outcome), [expected], "frequent {frequent}, delay {delay} s");
    }
}

#[test]
fn the_cluster_autoscaler_orders_no_more_than_is_short() {
    // Three pods at 3.5 s, two more at 5.5 s: nodes of two replicas on the way have room for one of these.
    let mut sim = cluster(autoscaler(|_| {}));
    sim.cluster.pools[0] = PoolPlan::new("pool", pool(2, 20), PRICE);
    let outcome = result(&sim, timed((2, 0), &[(3, 5, 0), (5, 7, 0)]), 0);
    check_laws(&outcome);
    assert_eq!(waits(&outcome), [47_000, 47_000, 47_000, 45_000, 47_000]);
    // Nobody removes them: 1 + 2 + 1 nodes of two until the end at 2,400 s, the new ones from their boot on.
    let node = 2 * 2_400_000;
    assert_eq!(billed(&outcome), [node + 2 * (node - 2 * 43_500) + node - 2 * 45_500]);
}

#[test]
fn empty_nodes_go_when_they_were_unneeded_for_long_enough_and_nothing_was_added() {
    let gone_at = |after_add: u64, unneeded: u64| {
        let sim = cluster(autoscaler(|spec| {
            spec.scale_down_delay_after_add = secs(after_add);
            spec.scale_down_unneeded_time = secs(unneeded);
            spec.frequent_loops_enabled = false;
        }));
        // The second replica comes at 3.5 s, its node is ordered at 10 s, and it goes at 200.5 s.
        let outcome = result(&sim, timed((1, 0), &[(3, 2, 0), (200, 1, 0)]), 0);
        check_laws(&outcome);
        // Billed from its boot at 50 s on.
        (billed(&outcome)[0] - 2_400_000 + 50_000) / 1_000
    };
    // Unneeded from the look at 210 s on; strictly longer than 60 s it has been at 280 s.
    assert_eq!(gone_at(10, 60), 280);
    assert_eq!(gone_at(10, 65), 280);
    assert_eq!(gone_at(10, 0), 220);
    // An order at 10 s holds all removals until 610 s.
    assert_eq!(gone_at(600, 60), 610);
}

#[test]
fn a_node_that_is_hardly_used_is_drained_if_its_pods_find_room() {
    let starts = |safe_to_evict: bool, threshold: i64| {
        let mut sim = cluster(autoscaler(|spec| {
            spec.scale_down_delay_after_add = secs(0);
            spec.scale_down_unneeded_time = secs(60);
            spec.scale_down_gpu_utilization_threshold = crate::kernel::Quantity::from_milli(threshold);
        }));
        // Two nodes of four: one full, one with a single pod. Then one goes from the full node, and there is room.
        sim.cluster.pools[0] = PoolPlan::new("pool", pool(4, 20), PRICE);
        sim.cluster.safe_to_evict = safe_to_evict;
        let outcome = result(&sim, timed((5, 0), &[(100, 4, 0)]), 0);
        check_laws(&outcome);
        (outcome.starts.len(), billed(&outcome)[0])
    };
    let nodes = |n: u64| n * 4 * 2_400_000;
    // The ReplicaSet takes one of the four that share a node, so that 3 and 1 are left; the one is evicted, and started anew beside the three.
    let (evicted, bill) = starts(true, 500);
    assert_eq!(evicted, 1);
    assert!(bill < nodes(2) && bill > nodes(1), "{bill}");
    assert_eq!(starts(false, 500), (0, nodes(2)), "it must not be evicted");
    assert_eq!(starts(true, 250), (0, nodes(2)), "a quarter is not below a quarter");
}

#[test]
fn a_node_that_does_not_come_is_given_up_and_its_pool_left_alone() {
    let mut sim = cluster(autoscaler(|spec| {
        spec.frequent_loops_enabled = false;
        spec.max_node_provision_time = secs(100);
        spec.expander = Expander::Priority;
    }));
    let slow = PoolSpec { provision: constant(5_000), priority: 9, ..pool(1, 20) };
    sim.cluster.pools.insert(0, PoolPlan::new("slow", slow, PRICE));
    sim.cluster.pools[1].spec.min_nodes = 1;
    let outcome = result(&sim, timed((1, 0), &[(3, 2, 0)]), 0);
    check_laws(&outcome);
    // Ordered at 10 s, given up by the first look after 110 s, and in the same look ordered from the other pool.
    assert_eq!(waits(&outcome), [116_500 + 47_000]);
    assert_eq!(billed(&outcome), [0, 2_400_000 + 2_400_000 - 120_000 - 40_000]);
}

#[test]
fn a_pool_without_capacity_gives_way_to_the_next_and_is_left_alone() {
    let pools = |provisioner: ProvisionerSpec| {
        let mut sim = cluster(provisioner);
        let spot = PoolSpec { capacity_type: CapacityType::Spot, min_nodes: 1, ..pool(1, 20) };
        sim.cluster.pools.insert(0, PoolPlan::new("spot", spot, PRICE / 4));
        sim.faults = vec![none_from(0, 200, &["spot"], &[])];
        // At 3.5 s there is none; at 250.5 s there is, and cluster-autoscaler is still backed off until 303.5 s.
        let outcome = result(&sim, timed((1, 0), &[(3, 2, 0), (250, 3, 0), (400, 4, 0)]), 0);
        check_laws(&outcome);
        let boots = |at: u64| 2_400_000 - at - 40_000;
        let (spot, on_demand) = (billed(&outcome)[0], billed(&outcome)[1]);
        let cost = outcome.ledger.cost_total();
        let expected = (spot as f64 / 4.0 + on_demand as f64) / 3.6e6 * 2.0 * 3.6;
        assert!((cost - expected).abs() < 1e-6, "each at its own price: {cost} {expected}");
        (waits(&outcome), spot, on_demand, boots)
    };
    let (waited, spot, on_demand, boots) = pools(autoscaler(|spec| spec.expander = Expander::Price));
    assert_eq!(waited, [47_000; 3]);
    assert_eq!((spot, on_demand), (2_400_000 + boots(400_500), boots(3_500) + boots(250_500)));
    let (waited, spot, on_demand, boots) = pools(ProvisionerSpec::AtOnce);
    assert_eq!(waited, [47_000; 3]);
    assert_eq!((spot, on_demand), (2_400_000 + boots(400_500), boots(3_500) + boots(250_500)));
    // Karpenter tries again after three minutes: at 250.5 s there is a spot node.
    let karpenter = ProvisionerSpec::Karpenter(KarpenterSpec {
        consolidate_after: secs(9_000),
        ..KarpenterSpec::default()
    });
    let (waited, spot, on_demand, boots) = pools(karpenter);
    assert_eq!(waited, [48_000; 3]);
    assert_eq!((spot, on_demand), (2_400_000 + boots(251_500) + boots(401_500), boots(4_500)));
}

#[test]
fn karpenter_orders_for_a_batch_that_ends_after_a_pause_or_ten_seconds() {
    let quiet = KarpenterSpec { consolidate_after: secs(9_000), ..KarpenterSpec::default() };
    let sim = cluster(ProvisionerSpec::Karpenter(quiet));
    let batch = |orders: &[(u64, u32, u32)]| {
        let outcome = result(&sim, timed((1, 0), orders), 0);
        check_laws(&outcome);
        waits(&outcome)
    };
    assert_eq!(batch(&[(3, 2, 0)]), [48_000]);
    // A pod a second, exactly at the end of the pause: a new pod comes after the batch was closed.
    assert_eq!(batch(&[(3, 2, 0), (6, 3, 0)]), [48_000, 48_000]);
    let patient = KarpenterSpec { batch_idle_duration: secs(2), ..quiet_spec() };
    let sim = cluster(ProvisionerSpec::Karpenter(patient));
    let orders: Vec<(u64, u32, u32)> = (0..12).map(|i| (3 + i, 2 + i as u32, 0)).collect();
    let outcome = result(&sim, timed((1, 0), &orders), 0);
    check_laws(&outcome);
    // Pods at 3.5, 4.5, .., 14.5 s: the batch ends at 13.5 s, with those that came by then; the last ends by its pause at 16.5 s.
    let expected: Vec<u64> = (0..11).map(|i| 57_000 - 1_000 * i).chain([49_000]).collect();
    let waited = waits(&outcome);
    assert_eq!(waited[..10], expected[..10]);
    assert!(waited[10] == 47_000 || waited[10] == 49_000 + 1_000, "the one at the very end: {waited:?}");
    assert_eq!(waited[11], 49_000);
}

fn quiet_spec() -> KarpenterSpec {
    KarpenterSpec { consolidate_after: secs(9_000), ..KarpenterSpec::default() }
}

#[test]
fn karpenter_takes_empty_nodes_within_its_budget() {
    // Ten replicas, a node each; at 100.5 s eight go.
    let billed_with = |spec: KarpenterSpec| {
        let outcome = result(&cluster(ProvisionerSpec::Karpenter(spec)), timed((10, 0), &[(100, 2, 0)]), 0);
        check_laws(&outcome);
        billed(&outcome)[0]
    };
    let all = billed_with(KarpenterSpec { budget_percent: 100, ..KarpenterSpec::default() });
    // All eight at once, 15 s after the pass that found them empty, at most 10 s after they were.
    let gone = (all - 2 * 2_400_000) / 8;
    assert!((115_500..=125_500).contains(&gone), "{gone}");
    // One in ten: one a pass of 25 s.
    let slow = billed_with(KarpenterSpec::default());
    let later: u64 = (0..8).map(|i| 25_000 * i).sum();
    assert_eq!(slow, all + later);
    let never = billed_with(KarpenterSpec { budget_percent: 0, ..KarpenterSpec::default() });
    assert_eq!(never, 10 * 2_400_000);
    // Of empty ones only: else the two that are in use would go first, their pods finding room on the empty ones.
    let after = billed_with(KarpenterSpec {
        consolidate_after: secs(300),
        budget_percent: 100,
        consolidation_policy: ConsolidationPolicy::WhenEmpty,
        ..KarpenterSpec::default()
    });
    assert_eq!(after, all + 8 * 300_000);
}

#[test]
fn karpenter_moves_pods_off_nodes_that_are_hardly_used() {
    let run = |consolidation_policy: ConsolidationPolicy| {
        let spec = KarpenterSpec { consolidation_policy, ..KarpenterSpec::default() };
        let mut sim = cluster(ProvisionerSpec::Karpenter(spec));
        sim.cluster.pools[0] = PoolPlan::new("pool", pool(4, 20), PRICE);
        // 4 + 1, then 3 + 1.
        let outcome = result(&sim, timed((5, 0), &[(100, 4, 0)]), 0);
        check_laws(&outcome);
        outcome.starts.len()
    };
    assert_eq!(run(ConsolidationPolicy::WhenEmpty), 0);
    assert_eq!(run(ConsolidationPolicy::WhenEmptyOrUnderutilized), 1);
}

#[test]
fn nodes_that_expire_are_replaced() {
    let spec = KarpenterSpec { expire_after: secs(600), ..quiet_spec() };
    let outcome = result(&cluster(ProvisionerSpec::Karpenter(spec)), timed((2, 0), &[]), 0);
    check_laws(&outcome);
    // Both go within 10 s of 600 s, and their successors, ordered then, 600 s after that, three times in 2,400 s.
    assert_eq!(outcome.starts.len(), 2 * 3);
    assert!(outcome.starts.iter().all(|start| start.result != StartResult::Cancelled));
}

#[test]
fn without_a_provisioner_pods_wait() {
    let mut sim = cluster(ProvisionerSpec::None);
    sim.cluster.pools[0].spec.min_nodes = 2;
    let outcome = result(&sim, timed((1, 0), &[(3, 4, 0)]), 0);
    check_laws(&outcome);
    assert_eq!(outcome.starts.iter().filter(|start| start.result == StartResult::Ready).count(), 1);
    assert_eq!(outcome.starts.iter().filter(|start| start.time_in(Phase::Pending) > secs(2_000)).count(), 2);
    assert_eq!(billed(&outcome), [2 * 2_400_000]);
    let why = outcome.starts.iter().map(|start| start.unscheduled);
    assert_eq!(
        why.collect::<Vec<_>>(),
        [None, Some(Unscheduled::NoProvisioner), Some(Unscheduled::NoProvisioner)]
    );
}

#[test]
fn a_pool_that_lost_a_node_is_ordered_back_to_its_least() {
    for provisioner in [ProvisionerSpec::None, ProvisionerSpec::AtOnce, autoscaler(|_| {})] {
        let mut sim = cluster(provisioner);
        (sim.cluster.pools[0].spec.min_nodes, sim.cluster.pools[0].spec.max_nodes) = (2, 2);
        sim.faults = vec![FaultSpec::NodeLoss(NodeLossSpec {
            at: secs(100),
            nodes: 1,
            not_ready_after: secs(50),
            evict_after: secs(300),
        })];
        let outcome = result(&sim, timed((1, 0), &[]), 0);
        check_laws(&outcome);
        // One until 100 s, another from the boot of its successor at 140 s on.
        assert_eq!(billed(&outcome), [2_400_000 + 100_000 + 2_400_000 - 140_000]);
    }
}

#[test]
fn placeholders_give_way_at_once_and_have_the_next_node_ordered() {
    let mut sim = cluster(ProvisionerSpec::AtOnce);
    sim.cluster.placeholders = 2;
    let outcome = result(&sim, timed((1, 0), &[(3, 4, 0)]), 0);
    check_laws(&outcome);
    // Two find the nodes that were held; the third waits for one like before.
    assert_eq!(waits(&outcome), [0, 0, 47_000]);
    // 1 + 2 nodes from the start, and three ordered at 3.5 s: for the third pod and the two placeholders.
    assert_eq!(billed(&outcome), [3 * 2_400_000 + 3 * (2_400_000 - 43_500)]);
}

#[test]
fn quotas_bound_pools_together() {
    let mut sim = cluster(ProvisionerSpec::AtOnce);
    sim.cluster.pools.push(PoolPlan::new("other", pool(1, 20), PRICE / 2));
    sim.cluster.quotas = vec![(8, vec![0, 1]), (4, vec![1])];
    let outcome = result(&sim, timed((1, 0), &[(3, 9, 0)]), 0);
    check_laws(&outcome);
    // One node of two GPUs is there; the cheaper pool may have two more, and then one is left.
    let ready = outcome.starts.iter().filter(|start| start.result == StartResult::Ready).count();
    assert_eq!(ready, 3);
    let why = |why| outcome.starts.iter().filter(|start| start.unscheduled == Some(why)).count();
    assert_eq!(why(Unscheduled::Quota), 5);
    assert_eq!(billed(&outcome), [2_400_000 + 2_400_000 - 43_500, 2 * (2_400_000 - 43_500)]);
}

#[test]
fn nodes_bring_what_their_pool_brings_and_are_billed_as_it_is() {
    let mut sim = cluster(ProvisionerSpec::AtOnce);
    sim.cluster.pools[0].spec.max_nodes = 1;
    let baked = PoolSpec { billed_from: BilledFrom::Request, ..pool(1, 9) };
    sim.cluster.pools.push(PoolPlan::new("baked", baked, PRICE));
    sim.storage = storage::Plan {
        image: Some(ImagePlan {
            layers: vec![(1, secs(30))],
            connections: 1,
            manifest: SimDuration::ZERO,
            per_request: SimDuration::ZERO,
            ..ImagePlan::default()
        }),
        nodes: vec![NodePlan::default(), NodePlan { present: Wares::IMAGE, ..NodePlan::default() }],
        ..storage::Plan::default()
    };
    let outcome = result(&sim, timed((0, 0), &[(3, 2, 0)]), 0);
    check_laws(&outcome);
    assert_eq!(waits(&outcome), [47_000; 2]);
    let pull = |start: &crate::outcome::StartRecord| start.time_in(Phase::Pulling).as_nanos() / 1_000_000;
    let pulls: Vec<_> = outcome.starts.iter().map(pull).collect();
    assert_eq!(pulls, [30_000, 0]);
    assert_eq!(billed(&outcome), [2_400_000 - 43_500, 2_400_000 - 3_500]);
}

#[test]
fn a_pool_whose_nodes_never_come_is_left_alone_for_longer_each_time() {
    let mut sim = cluster(autoscaler(|spec| {
        spec.frequent_loops_enabled = false;
        spec.max_node_provision_time = secs(100);
    }));
    sim.cluster.pools[0].spec =
        PoolSpec { provision: constant(50_000), billed_from: BilledFrom::Request, ..pool(1, 20) };
    let outcome = result(&sim, timed((1, 0), &[(3, 2, 0)]), 0);
    check_laws(&outcome);
    // Ordered at 10, 420 and 1,130 s. Each is given up by the first look after 100 s, and the pool is left alone for 300, 600 and
    // 1,200 s: an order that nothing came of does not count as one that went through.
    let phases = &outcome.starts[0].phases;
    assert_eq!(phases.iter().filter(|span| span.phase == Phase::Provisioning).count(), 3);
    assert_eq!(billed(&outcome), [2_400_000 + 3 * 110_000]);
}
