use proptest::prelude::*;

use super::*;
use crate::kernel::Bytes;
use crate::profile::image::{Compression, ImageLayer, PullModel};

pub(super) const MB: u64 = 1_000_000;

pub(super) fn at(secs: u64) -> SimTime {
    SimTime::from_secs(secs)
}

pub(super) fn image(layers: &[(u64, u64)]) -> ImagePlan {
    ImagePlan {
        layers: layers.iter().map(|(mb, secs)| (mb * MB, SimDuration::from_secs(*secs))).collect(),
        connections: 3,
        manifest: SimDuration::ZERO,
        per_request: SimDuration::ZERO,
        ..ImagePlan::default()
    }
}

pub(super) fn weights(mb: u64) -> WeightsPlan {
    WeightsPlan { bytes: mb * MB, connections: 1, with_pull: false, kept: true, streaming: false }
}

fn from(rate: u64) -> Source {
    Source { rate: Some(rate * MB), ..Source::default() }
}

/// Some nodes of one pool.
pub(super) fn fresh(plan: Plan) -> Storage {
    let mut storage = Storage::new(plan);
    (0..25).for_each(|node| storage.add_node(NodeId(node), 0));
    storage
}

fn nodes(rate: Option<u64>, image_present: bool) -> Vec<NodePlan> {
    vec![NodePlan { rate, present: Wares { image: image_present, weights: false }, ..NodePlan::default() }]
}

pub(super) fn play(storage: &mut Storage) -> Vec<(u64, Want, u32)> {
    let mut served = Vec::new();
    while let Some(now) = storage.next_event() {
        let got = storage.advance(now);
        served
            .extend(got.into_iter().map(|(want, replica)| (now.as_nanos() / 1_000_000_000, want, replica.0)));
    }
    served
}

#[test]
fn a_node_pulls_once_for_all_its_pods_and_unpacks_in_order() {
    // 100 MB/s for both layers: 50 each. The second is there at 4 s and waits for the first: 8 s, and then 1 and 2 s.
    let plan = Plan { image: Some(image(&[(600, 1), (200, 2)])), registry: from(100), ..Plan::default() };
    let mut storage = fresh(plan);
    let node = NodeId(0);
    assert!(!storage.want(at(0), node, Want::Image, ReplicaId(0), 0));
    storage.advance(at(1));
    assert!(!storage.want(at(1), node, Want::Image, ReplicaId(1), 0));
    assert_eq!(play(&mut storage), [(11, Want::Image, 0), (11, Want::Image, 1)]);
    assert!(storage.want(at(12), node, Want::Image, ReplicaId(2), 0));
}

#[test]
fn nodes_share_the_registry_and_have_their_own_interfaces() {
    let plan = Plan {
        image: Some(image(&[(600, 0)])),
        registry: from(100),
        nodes: nodes(Some(60 * MB), false),
        ..Plan::default()
    };
    let mut storage = fresh(plan.clone());
    storage.want(at(0), NodeId(0), Want::Image, ReplicaId(0), 0);
    assert_eq!(play(&mut storage), [(10, Want::Image, 0)], "its interface is the limit");
    let mut storage = fresh(plan);
    (0..20).for_each(|i| assert!(!storage.want(at(0), NodeId(i), Want::Image, ReplicaId(i), 0)));
    assert!(play(&mut storage).iter().all(|(at, ..)| *at == 120), "twenty share the registry");
}

#[test]
fn pull_and_weights_share_the_interface() {
    let plan = Plan {
        image: Some(image(&[(600, 0)])),
        weights: Some(WeightsPlan { with_pull: true, ..weights(300) }),
        nodes: nodes(Some(100 * MB), false),
        ..Plan::default()
    };
    let mut storage = fresh(plan);
    assert!(storage.fetches_with_pull());
    storage.prepare(at(0), NodeId(0), Want::Weights, 0);
    storage.want(at(0), NodeId(0), Want::Image, ReplicaId(0), 0);
    storage.want(at(0), NodeId(0), Want::Weights, ReplicaId(0), 0);
    // 50 MB/s each: the weights at 6 s; of the image 300 MB are left, at 100 MB/s.
    assert_eq!(play(&mut storage), [(6, Want::Weights, 0), (9, Want::Image, 0)]);
}

#[test]
fn who_is_gone_is_not_served_and_its_pull_goes_on() {
    let plan = Plan { image: Some(image(&[(600, 0)])), registry: from(100), ..Plan::default() };
    let mut storage = fresh(plan);
    storage.want(at(0), NodeId(0), Want::Image, ReplicaId(0), 0);
    storage.forget(NodeId(0), ReplicaId(0));
    assert_eq!(play(&mut storage), []);
    assert!(storage.want(at(7), NodeId(0), Want::Image, ReplicaId(1), 0));
}

#[test]
fn a_registry_that_is_down_holds_pulls_until_it_is_back() {
    let changes = vec![(at(2), 0), (at(10), 50 * MB)];
    let registry = Source { changes, ..from(100) };
    let mut storage = fresh(Plan { image: Some(image(&[(600, 0)])), registry, ..Plan::default() });
    storage.want(at(0), NodeId(0), Want::Image, ReplicaId(0), 0);
    assert_eq!(play(&mut storage), [(18, Want::Image, 0)]);
}

#[test]
fn weights_that_are_not_kept_are_fetched_for_each_pod() {
    let plan = |kept| Plan {
        weights: Some(WeightsPlan { kept, connections: 4, ..weights(100) }),
        model_store: Source { connection: Some(5 * MB), ..from(100) },
        ..Plan::default()
    };
    for (kept, expected) in [(true, true), (false, false)] {
        let mut storage = fresh(plan(kept));
        assert!(!storage.want(at(0), NodeId(0), Want::Weights, ReplicaId(0), 0));
        assert_eq!(play(&mut storage), [(5, Want::Weights, 0)], "four connections of 5 MB/s");
        assert_eq!(storage.want(at(9), NodeId(0), Want::Weights, ReplicaId(1), 0), expected);
    }
}

#[test]
fn what_is_there_beforehand_is_not_fetched() {
    let plan = Plan {
        image: Some(image(&[(600, 0)])),
        weights: Some(weights(100)),
        nodes: nodes(None, true),
        ..Plan::default()
    };
    let mut storage = fresh(plan);
    assert!(storage.want(at(0), NodeId(3), Want::Image, ReplicaId(0), 0));
    assert!(!storage.want(at(0), NodeId(3), Want::Weights, ReplicaId(0), 0));
    storage.fill(NodeId(4));
    assert!(storage.want(at(0), NodeId(4), Want::Weights, ReplicaId(1), 0));
}

#[test]
fn alone_is_one_start_on_a_fresh_node() {
    let plan = Plan {
        image: Some(image(&[(600, 1)])),
        weights: Some(WeightsPlan { with_pull: true, ..weights(300) }),
        registry: Source { changes: vec![(at(1), 0)], ..from(100) },
        model_store: from(50),
        ..Plan::default()
    };
    let secs = SimDuration::from_secs;
    assert_eq!(alone(&plan, 0), (secs(7), secs(6)));
    assert_eq!(alone(&Plan { nodes: nodes(None, true), ..plan }, 0), (secs(0), secs(6)));
    assert_eq!(alone(&Plan::default(), 0), (secs(0), secs(0)));
}

proptest! {
    /// Alone on its node and its registry, a pull takes what the profile's formula says.
    #[test]
    fn a_pull_alone_is_the_formula(
        sizes in proptest::collection::vec((0u64..5_000, 0u64..3_000), 0..9),
        connections in 1u32..5,
        rates in (proptest::option::of(1u64..900), proptest::option::of(1u64..400)),
        latencies in (0u64..3_000, 0u64..900),
    ) {
        let (link, connection) = rates;
        let rate = |mb: Option<u64>| mb.map(|mb| Bytes(mb * MB));
        let model = PullModel {
            connections,
            manifest: SimDuration::from_millis(latencies.0),
            per_request: SimDuration::from_millis(latencies.1),
            link_bytes_per_second: rate(link),
            connection_bytes_per_second: rate(connection),
            gzip_bytes_per_second: None,
            zstd_bytes_per_second: None,
            write_bytes_per_second: Some(Bytes(MB)),
            per_file: SimDuration::ZERO,
            per_layer: SimDuration::ZERO,
        };
        // Written at 1 MB/s, so that a layer's size unpacked is its unpacking in seconds.
        let layers: Vec<ImageLayer> = sizes.iter().map(|(mb, ms)| ImageLayer {
            compression: Compression::None,
            compressed: Bytes(mb * MB),
            uncompressed: Bytes(ms * MB / 1000),
            files: 0,
        }).collect();
        let expected = model.predict(&layers).last().map_or(model.manifest.as_secs_f64(), |layer| layer.unpacked_s);
        let plan = Plan {
            image: Some(ImagePlan {
                layers: sizes.iter().map(|(mb, ms)| (mb * MB, SimDuration::from_millis(*ms))).collect(),
                connections,
                manifest: model.manifest,
                per_request: model.per_request,
                ..ImagePlan::default()
            }),
            registry: Source { rate: link.map(|mb| mb * MB), connection: connection.map(|mb| mb * MB), ..Source::default() },
            ..Plan::default()
        };
        let mut storage = fresh(plan);
        storage.want(SimTime::ZERO, NodeId(0), Want::Image, ReplicaId(0), 0);
        let mut end = None;
        while let Some(now) = storage.next_event() {
            if !storage.advance(now).is_empty() {
                end = Some(now);
            }
        }
        let end = end.unwrap().as_nanos() as f64 / 1e9;
        // Shares are whole bytes/s and ends whole ns.
        prop_assert!((end - expected).abs() <= 1e-6 * expected.max(1.0), "{end} s, by the formula {expected} s");
    }
}
