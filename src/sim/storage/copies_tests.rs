//! What nodes keep, share and fetch beforehand, against pencil and paper.

use super::tests::{MB, at, fresh, image, play, weights};
use super::*;

/// Nodes of one pool.
fn of(node: NodePlan) -> Vec<NodePlan> {
    vec![node]
}

fn from(rate: u64) -> Source {
    Source { rate: Some(rate * MB), ..Source::default() }
}

fn want(storage: &mut Storage, secs: u64, node: u32, want: Want, replica: u32) -> bool {
    // Whatever happens before that has happened.
    while storage.next_event().is_some_and(|next| next <= at(secs)) {
        let next = storage.next_event().unwrap();
        assert!(storage.advance(next).is_empty(), "nobody waits");
    }
    storage.want(at(secs), NodeId(node), want, ReplicaId(replica), 0)
}

#[test]
fn loads_share_the_disk_unless_memory_keeps_what_one_has_read() {
    let reads = |page_cache: u64| {
        let node = NodePlan {
            disk_rate: Some(100 * MB),
            page_cache,
            present: Wares::WEIGHTS,
            ..NodePlan::default()
        };
        let plan = Plan { weights: Some(weights(600)), nodes: of(node), ..Plan::default() };
        let mut storage = fresh(plan);
        for replica in 0..3 {
            assert!(!want(&mut storage, 0, 0, Want::Read, replica));
        }
        let ends: Vec<u64> = play(&mut storage).into_iter().map(|(at, ..)| at).collect();
        (ends, want(&mut storage, 100, 0, Want::Read, 3))
    };
    assert_eq!(reads(0), (vec![18; 3], false), "three read all of it each");
    assert_eq!(reads(599 * MB), (vec![18; 3], false), "it does not fit");
    assert_eq!(reads(600 * MB), (vec![6; 3], true), "one reads for all, and the fourth finds it in memory");
}

#[test]
fn what_was_fetched_is_in_memory_too() {
    let node = NodePlan { disk_rate: Some(MB), page_cache: 900 * MB, ..NodePlan::default() };
    let plan =
        Plan { weights: Some(weights(600)), model_store: from(100), nodes: of(node), ..Plan::default() };
    let mut storage = fresh(plan);
    assert!(!want(&mut storage, 0, 0, Want::Weights, 0));
    assert_eq!(play(&mut storage), [(6, Want::Weights, 0)]);
    assert!(want(&mut storage, 7, 0, Want::Read, 0));
}

#[test]
fn caches_lose_what_was_not_used_while_others_filled_them() {
    // 600 MB of weights in caches of 1,000 and 700 MB, into which others bring 3,600 MB an hour: 1 MB a second.
    let node = NodePlan {
        model_cache: Some(1_000 * MB),
        page_cache: 700 * MB,
        disk_rate: Some(100 * MB),
        turnover_per_hour: 3_600 * MB,
        present: Wares::WEIGHTS,
        ..NodePlan::default()
    };
    let plan =
        Plan { weights: Some(weights(600)), model_store: from(50), nodes: of(node), ..Plan::default() };
    let mut storage = fresh(plan);
    assert!(storage.holds(at(400), NodeId(0), Want::Weights, 0));
    assert!(!storage.holds(at(401), NodeId(0), Want::Weights, 0));
    // Used at 300 s, so it is there until 700 s; read until 306 s, so it is in memory until 406 s.
    assert!(want(&mut storage, 300, 0, Want::Weights, 0));
    assert!(!want(&mut storage, 300, 0, Want::Read, 0));
    assert_eq!(play(&mut storage), [(306, Want::Read, 0)]);
    assert!(want(&mut storage, 400, 0, Want::Read, 1));
    assert!(!want(&mut storage, 502, 0, Want::Read, 2), "read at 400 s, in memory until 500 s");
    assert_eq!(play(&mut storage), [(508, Want::Read, 2)]);
    assert!(storage.holds(at(700), NodeId(0), Want::Weights, 0));
    assert!(!want(&mut storage, 701, 0, Want::Weights, 3), "on disk until 700 s");
    assert_eq!(play(&mut storage), [(713, Want::Weights, 3)]);
    assert!(storage.holds(at(1_113), NodeId(0), Want::Weights, 0));
}

#[test]
fn the_kubelet_collects_images_that_no_pod_uses() {
    // 80 % of 2,000 MB less 600 MB are 1,000 MB: at 1 MB a second a thousand seconds after the last pod left.
    let node = NodePlan {
        image_store: Some(2_000 * MB),
        turnover_per_hour: 3_600 * MB,
        present: Wares::IMAGE,
        ..NodePlan::default()
    };
    let pulled = ImagePlan { unpacked: 600 * MB, ..image(&[(300, 0)]) };
    let plan = Plan { image: Some(pulled), registry: from(100), nodes: of(node), ..Plan::default() };
    let mut storage = fresh(plan);
    storage.pod_came(NodeId(0));
    assert!(storage.holds(at(5_000), NodeId(0), Want::Image, 0), "in use");
    storage.pod_left(at(5_000), NodeId(0));
    assert!(storage.holds(at(6_000), NodeId(0), Want::Image, 0));
    assert!(!storage.holds(at(6_001), NodeId(0), Want::Image, 0));
    assert!(!want(&mut storage, 6_001, 0, Want::Image, 0));
    assert_eq!(play(&mut storage), [(6_004, Want::Image, 0)]);
}

#[test]
fn nodes_fetch_beforehand_what_their_pool_says() {
    let node = NodePlan { prefetch: Wares { image: true, weights: true }, ..NodePlan::default() };
    let plan = Plan {
        image: Some(image(&[(600, 0)])),
        weights: Some(weights(900)),
        registry: from(100),
        model_store: from(100),
        nodes: of(node),
        ..Plan::default()
    };
    let mut storage = fresh(plan);
    storage.node_up(at(0), NodeId(0));
    assert!(!want(&mut storage, 4, 0, Want::Image, 0), "two seconds are left of six");
    assert_eq!(storage.next_event(), Some(at(6)));
    storage.advance(at(6));
    assert!(want(&mut storage, 9, 0, Want::Weights, 0));
}

#[test]
fn a_pull_through_cache_takes_the_load_off_the_registry() {
    let registry = Source { cache: Some(600 * MB), ..from(100) };
    let plan = Plan { image: Some(image(&[(600, 0)])), registry, ..Plan::default() };
    let mut storage = fresh(plan);
    assert!(!want(&mut storage, 0, 0, Want::Image, 0));
    assert!(!want(&mut storage, 0, 1, Want::Image, 1), "two at once: the cache does not have it yet");
    assert_eq!(play(&mut storage), [(12, Want::Image, 0), (12, Want::Image, 1)]);
    for node in 2..5 {
        assert!(!want(&mut storage, 20, node, Want::Image, node));
    }
    assert_eq!(play(&mut storage), [(23, Want::Image, 2), (23, Want::Image, 3), (23, Want::Image, 4)]);
}

#[test]
fn nodes_give_each_other_what_they_have() {
    let node = NodePlan { rate: Some(100 * MB), ..NodePlan::default() };
    let model_store = Source { peers: true, ..from(10) };
    let plan = Plan { weights: Some(weights(600)), model_store, nodes: of(node), ..Plan::default() };
    let mut storage = fresh(plan);
    storage.fill(NodeId(0));
    // Both from the one that has it, so that they share its interface; then each has a giver of its own.
    assert!(!want(&mut storage, 0, 1, Want::Weights, 1));
    assert!(!want(&mut storage, 0, 2, Want::Weights, 2));
    assert_eq!(play(&mut storage), [(12, Want::Weights, 1), (12, Want::Weights, 2)]);
    for node in 3..6 {
        assert!(!want(&mut storage, 20, node, Want::Weights, node));
    }
    assert!(play(&mut storage).iter().all(|(at, ..)| *at == 26), "three givers for three");
    // Two thirds have come when the giver goes: the rest comes from another.
    assert!(!want(&mut storage, 30, 6, Want::Weights, 6));
    assert!(storage.advance(at(34)).is_empty());
    storage.node_gone(at(34), NodeId(0));
    assert_eq!(play(&mut storage), [(36, Want::Weights, 6)]);
}

#[test]
fn without_a_peer_left_the_rest_comes_from_the_store() {
    let node = NodePlan { rate: Some(100 * MB), ..NodePlan::default() };
    let model_store = Source { peers: true, ..from(10) };
    let plan = Plan { weights: Some(weights(600)), model_store, nodes: of(node), ..Plan::default() };
    let mut storage = fresh(plan);
    storage.fill(NodeId(0));
    assert!(!want(&mut storage, 0, 1, Want::Weights, 1));
    assert!(storage.advance(at(4)).is_empty());
    storage.node_gone(at(4), NodeId(0));
    assert_eq!(play(&mut storage), [(24, Want::Weights, 1)], "200 MB at 10 MB a second");
}

#[test]
fn a_registry_that_refuses_is_asked_again_with_a_growing_pause() {
    // Two layers, one after the other, of 3 s each. Refused from 4 s to 60 s: the second layer is cut after a second.
    let pulled = ImagePlan { connections: 1, ..image(&[(300, 0), (300, 0)]) };
    let registry = Source { failing: vec![(at(4), at(60))], ..from(100) };
    let plan = Plan { image: Some(pulled), registry, ..Plan::default() };
    let mut storage = fresh(plan.clone());
    assert!(!want(&mut storage, 0, 0, Want::Image, 0));
    // Asked again at 14, 34 and 74 s; the first layer has stayed.
    assert_eq!(play(&mut storage), [(77, Want::Image, 0)]);
    let mut storage = fresh(plan);
    assert!(!want(&mut storage, 30, 1, Want::Image, 1));
    assert_eq!(play(&mut storage), [(66, Want::Image, 1)], "refused at 30, 40 s; at 60 s it is not");
}

#[test]
fn of_a_lazily_pulled_image_the_container_waits_for_the_first_bytes_only() {
    let lazy = LazyPlan { first: 100 * MB, first_touch: SimDuration::from_secs(4) };
    let pulled = ImagePlan { lazy: Some(lazy), ..image(&[(300, 9), (700, 9)]) };
    let plan = Plan { image: Some(pulled), registry: from(100), ..Plan::default() };
    let mut storage = fresh(plan);
    assert!(!want(&mut storage, 0, 0, Want::Image, 0));
    assert!(storage.advance(at(0)).is_empty(), "the manifest");
    assert_eq!(storage.next_event(), Some(at(1)));
    assert_eq!(storage.advance(at(1)), [(Want::Image, ReplicaId(0))]);
    assert!(!storage.want(at(1), NodeId(0), Want::Touch, ReplicaId(0), 0));
    assert_eq!(storage.next_event(), Some(at(5)));
    assert_eq!(storage.advance(at(5)), [(Want::Touch, ReplicaId(0))]);
    assert!(!storage.holds(at(9), NodeId(0), Want::Image, 0), "the rest takes until 10 s");
    assert_eq!(storage.next_event(), Some(at(10)));
    storage.advance(at(10));
    assert!(storage.holds(at(10), NodeId(0), Want::Image, 0));
    assert!(storage.want(at(10), NodeId(0), Want::Touch, ReplicaId(1), 0));
}

#[test]
fn streamed_weights_come_from_wherever_they_are() {
    let node = NodePlan { disk_rate: Some(200 * MB), ..NodePlan::default() };
    let streamed = WeightsPlan { streaming: true, ..weights(600) };
    let plan = Plan { weights: Some(streamed), model_store: from(100), nodes: of(node), ..Plan::default() };
    let mut storage = fresh(plan);
    assert!(!want(&mut storage, 0, 0, Want::Stream, 0));
    assert_eq!(play(&mut storage), [(6, Want::Stream, 0)], "from the store, and to the disk");
    assert!(!want(&mut storage, 10, 0, Want::Stream, 1));
    assert_eq!(play(&mut storage), [(13, Want::Stream, 1)], "from the disk");
}

/// Version 1 has the first layer of version 0 and one of its own.
fn two_versions() -> Plan {
    let later = ImagePlan { shared: 1, ..image(&[(600, 1), (200, 1)]) };
    Plan {
        image: Some(image(&[(600, 1), (400, 1)])),
        later_images: vec![None, Some(later)],
        registry: from(100),
        serial_pulls: true,
        ..Plan::default()
    }
}

#[test]
fn a_new_version_pulls_what_it_does_not_share() {
    let mut storage = fresh(two_versions());
    storage.fill(NodeId(0));
    assert!(storage.want(at(0), NodeId(0), Want::Image, ReplicaId(0), 1), "a rollout that changes no image");
    assert!(!storage.holds(at(0), NodeId(0), Want::Image, 2));
    assert!(!storage.want(at(0), NodeId(0), Want::Image, ReplicaId(1), 2));
    assert!(!storage.want(at(0), NodeId(1), Want::Image, ReplicaId(2), 2));
    // Node 0: 200 MB beside the others' 800, three at a time: 4 to 6 s, and a second. Node 1: all of it.
    let served = play(&mut storage);
    assert_eq!(served.iter().map(|served| served.2).collect::<Vec<_>>(), [1, 2]);
    assert!(served[0].0 < served[1].0 && served[1].0 == 12, "{served:?}");
    // Back to version 0: on node 1 its own layer is missing.
    assert!(!storage.want(at(20), NodeId(1), Want::Image, ReplicaId(3), 0));
    assert_eq!(play(&mut storage), [(25, Want::Image, 3)]);
}

#[test]
fn a_kubelet_pulls_one_image_after_the_other_unless_told_otherwise() {
    let ends = |serial_pulls: bool| -> Vec<u64> {
        let mut plan = Plan { serial_pulls, ..two_versions() };
        plan.later_images[1].as_mut().unwrap().shared = 0;
        let mut storage = fresh(plan);
        assert!(!storage.want(at(0), NodeId(0), Want::Image, ReplicaId(0), 0));
        assert!(!storage.want(at(0), NodeId(0), Want::Image, ReplicaId(1), 2));
        play(&mut storage).into_iter().map(|(at, ..)| at).collect()
    };
    // 1,000 MB, whose larger layer is the last to come and the first to be unpacked; then 800 MB and the same.
    assert_eq!(ends(true), [12, 22]);
    // Four layers share the registry: the last two end at 18 s, and each image has two seconds to unpack.
    assert_eq!(ends(false), [20, 20]);
}
