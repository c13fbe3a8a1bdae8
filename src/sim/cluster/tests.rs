//! Scheduler, expanders and zones, each by itself.

use super::config::{Expander, PoolSpec, ScoringStrategy};
use super::{Choice, Cluster, ModelAffinity, Plan, PoolPlan};
use crate::kernel::{NodeId, ReplicaId, SimDuration, SimTime, Streams};
use crate::sim::cluster_tests::{none_from, pool};
use crate::sim::faults::Shortages;
use crate::sim::storage::{self, ImagePlan, Storage, Want, WeightsPlan};
use crate::sim::tests::PRICE;

fn nodes(plan: Plan, replicas: u32) -> Cluster {
    Cluster::new(plan, 2, replicas, Streams::new(1, 0), Shortages::default())
}

#[test]
fn pods_are_packed_or_spread() {
    let bound = |scoring_strategy: ScoringStrategy| -> Vec<u32> {
        let mut plan = Plan::of(PoolSpec { min_nodes: 3, ..pool(4, 3) }, PRICE);
        plan.scheduler.scoring_strategy = scoring_strategy;
        let mut cluster = nodes(plan, 0);
        (0..6).map(|_| cluster.bind(SimTime::ZERO, None, 0).unwrap().0).collect()
    };
    // How many go to which node, whichever is drawn first.
    let counts = |bound: &[u32]| {
        let mut counts = [0, 0, 0];
        for id in bound {
            counts[*id as usize] += 1;
        }
        counts.sort_unstable();
        counts
    };
    assert_eq!(counts(&bound(ScoringStrategy::MostAllocated)), [0, 2, 4]);
    assert_eq!(counts(&bound(ScoringStrategy::LeastAllocated)), [2, 2, 2]);
    assert_eq!(counts(&bound(ScoringStrategy::LeastAllocated)[..3]), [1, 1, 1]);
}

#[test]
fn pods_go_where_image_and_weights_are() {
    // Three nodes of four replicas; node 2 has the image, node 1 the weights.
    let store = || {
        let mut storage = Storage::new(storage::Plan {
            image: Some(ImagePlan {
                layers: vec![(3 << 30, SimDuration::ZERO)],
                connections: 1,
                manifest: SimDuration::ZERO,
                per_request: SimDuration::ZERO,
                ..ImagePlan::default()
            }),
            weights: Some(WeightsPlan {
                bytes: 1,
                connections: 1,
                with_pull: false,
                kept: true,
                streaming: false,
            }),
            ..storage::Plan::default()
        });
        (0..3).for_each(|id| storage.add_node(NodeId(id), 0));
        storage.want(SimTime::ZERO, NodeId(2), Want::Image, ReplicaId(0), 0);
        storage.want(SimTime::ZERO, NodeId(1), Want::Weights, ReplicaId(1), 0);
        while let Some(at) = storage.next_event() {
            storage.advance(at);
        }
        storage
    };
    let bound = |affinity: ModelAffinity, image_locality: bool| -> Vec<Option<u32>> {
        let mut plan = Plan::of(PoolSpec { min_nodes: 3, ..pool(2, 3) }, PRICE);
        plan.model_affinity = affinity;
        plan.scheduler.image_locality = image_locality;
        let mut cluster = nodes(plan, 0);
        (0..4).map(|_| cluster.bind(SimTime::ZERO, Some(&store()), 0).map(|id| id.0)).collect()
    };
    // Without preferences they are packed on one that is drawn; with them nothing is left to chance.
    assert!(bound(ModelAffinity::None, false).chunks(2).all(|pair| pair[0] == pair[1]));
    // 3 GiB on one node of three count as 1 GiB, which is more than a full score takes.
    assert_eq!(bound(ModelAffinity::None, true)[..2], [Some(2), Some(2)]);
    // An affinity weighs twice as much.
    assert_eq!(bound(ModelAffinity::Preferred, true), [Some(1), Some(1), Some(2), Some(2)]);
    assert_eq!(bound(ModelAffinity::Required, true), [Some(1), Some(1), None, None]);
}

#[test]
fn placeholders_get_no_more_nodes_than_there_may_be() {
    let started = |replicas: u32, placeholders: u32| {
        let plan = Plan { placeholders, ..Plan::of(pool(2, 3), PRICE) };
        let mut cluster = nodes(plan, replicas);
        cluster.bind_placeholders(SimTime::ZERO);
        (cluster.count(0), cluster.placeholders_waiting())
    };
    assert_eq!(started(1, 2), (2, 0));
    assert_eq!(started(1, 10), (3, 4));
    assert_eq!(started(9, 10), (5, 0), "nine replicas are there, whatever maxNodes says, and not bound yet");
}

#[test]
fn expanders_choose_by_what_they_are_named_for() {
    let plan = Plan {
        pools: vec![
            PoolPlan::new("eights", pool(8, 9), 5),
            PoolPlan::new("ones", PoolSpec { priority: 3, ..pool(1, 2) }, 6),
            PoolPlan::new("twos", pool(2, 9), 4),
        ],
        ..Plan::of(pool(1, 1), 1)
    };
    let cluster = nodes(plan, 0);
    let chosen = |expander: Expander, waiting: u32| {
        let choices = cluster.choices(waiting, SimTime::ZERO);
        let choice = cluster.expand(expander, &choices, 0).unwrap();
        (choice.pool, choice.nodes, choice.pods)
    };
    assert_eq!(chosen(Expander::LeastWaste, 5), (1, 2, 2), "none of its GPUs is left over, if it has few");
    assert_eq!(chosen(Expander::LeastWaste, 8), (0, 1, 8), "of equals the first");
    assert_eq!(chosen(Expander::MostPods, 20), (0, 3, 20));
    assert_eq!(chosen(Expander::Priority, 5), (1, 2, 2));
    assert_eq!(chosen(Expander::Price, 5), (2, 3, 5), "24 GPU-dollars for 5 pods, against 80 and 12 for 2");
    assert_eq!(chosen(Expander::Price, 16), (2, 8, 16));
    let choices = cluster.choices(5, SimTime::ZERO);
    assert_eq!(choices[0], Choice { pool: 0, nodes: 1, pods: 5 });
    let drawn: std::collections::BTreeSet<usize> =
        (0..40).map(|nth| cluster.expand(Expander::Random, &choices, nth).unwrap().pool).collect();
    assert_eq!(drawn.len(), 3);
    assert_eq!(
        cluster.by_weight_and_price(&choices).unwrap().pool,
        1,
        "Karpenter goes by weight, then by price"
    );
}

#[test]
fn nodes_share_the_zones_that_have_capacity() {
    let zones = ["a", "b", "c"].map(str::to_owned).to_vec();
    let plan = Plan::of(PoolSpec { zones, ..pool(1, 9) }, PRICE);
    let in_zones = |shortages: Shortages, takes: &[u32]| -> Vec<u32> {
        let mut plan = plan.clone();
        plan.pools[0].takes = takes.to_vec();
        let mut cluster = Cluster::new(plan, 2, 0, Streams::new(1, 0), shortages);
        let orders = cluster.order(0, 5, SimTime::from_secs(10)).unwrap_or_default();
        orders.iter().map(|order| cluster.node(order.node).zone).collect()
    };
    let short = |zones: &[&str]| Shortages::new(&[none_from(5, 10, &[], zones)], &plan);
    assert_eq!(in_zones(Shortages::default(), &[0, 1, 2]), [0, 1, 2, 0, 1]);
    assert_eq!(in_zones(short(&["b"]), &[0, 1, 2]), [0, 2, 0, 2, 0]);
    assert_eq!(in_zones(short(&["b"]), &[1, 2]), [2; 5], "and the selector leaves the first out");
    assert!(in_zones(short(&["b"]), &[1]).is_empty());
    assert!(in_zones(short(&[]), &[0, 1, 2]).is_empty());
}
