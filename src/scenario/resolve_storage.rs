//! Images and weights of a scenario: what nodes fetch, from where, and how fast.

use super::ScenarioSpec;
use super::resolve::Resolver;
use crate::kernel::{Bytes, Distribution, SimDuration, SimTime};
use crate::outcome::Phase;
use crate::profile::Profile;
use crate::profile::schema::{Stage, StartUpStage};
use crate::sim::cluster::config::{PoolSpec, Prefetch};
use crate::sim::rollout::RolloutImageSpec;
use crate::sim::storage::config::{Fetch, ImageSpec, StoreSpec, WeightsSpec};
use crate::sim::storage::{ImagePlan, LazyPlan, NodePlan, Plan, Source, Wares, WeightsPlan};
use crate::yaml::Path;

/// containerd's `max_concurrent_downloads`.
const CONNECTIONS: u32 = 3;

/// Shares of a link are whole bytes a second: on slower ones the rounding would show.
const SLOWEST: Bytes = Bytes(1_000_000);

/// Each connection is a transfer of its own.
const MOST_CONNECTIONS: u32 = 1_024;

impl Resolver<'_> {
    /// The plan of what nodes fetch; faults where it makes no sense.
    pub(super) fn storage(&mut self, profile: &Profile) -> Plan {
        let spec = self.spec().clone();
        let image = spec.replica.image.as_ref().and_then(|image| self.image(image, profile));
        let weights = spec.replica.weights.as_ref().map(|weights| self.weights(weights));
        let pools = spec.cluster.pools.iter().map(|(name, pool)| self.node_plan(&spec, name, pool));
        let nodes: Vec<NodePlan> = pools.collect();
        self.room_for(&spec, image.as_ref(), weights.as_ref());
        let later_images = self.later_images(&spec, image.as_ref());
        let used = [
            ("registry", spec.replica.image.is_some(), "replica.image"),
            ("modelStore", spec.replica.weights.is_some(), "replica.weights"),
        ];
        for ((field, used, needs), store) in
            used.into_iter().zip([&spec.cluster.registry, &spec.cluster.model_store])
        {
            if !used && *store != StoreSpec::default() {
                let message =
                    format!("`{field}` counts only with `{needs}`, which the scenario does not have");
                self.fault(
                    "E0317",
                    &["cluster", field],
                    message,
                    &format!("write `{needs}`, or leave `{field}` out"),
                );
            }
        }
        Plan {
            image,
            later_images,
            serial_pulls: spec.cluster.serialize_image_pulls,
            weights,
            registry: self.source("registry", &spec.cluster.registry),
            model_store: self.source("modelStore", &spec.cluster.model_store),
            nodes,
        }
    }

    fn node_plan(&mut self, spec: &ScenarioSpec, pool_name: &str, pool: &PoolSpec) -> NodePlan {
        let at_pool = ["cluster", "pools", pool_name];
        self.bandwidth(&[&at_pool[..], &["nodeBandwidth"]].concat(), pool.node_bandwidth);
        let (no_image, no_weights) = (spec.replica.image.is_none(), spec.replica.weights.is_none());
        for (field, set, needs) in [
            ("imagePresent", pool.image_present && no_image, "replica.image"),
            ("weightsPresent", pool.weights_present && no_weights, "replica.weights"),
            ("imageStore", pool.image_store.is_some() && no_image, "replica.image"),
            ("diskBandwidth", pool.disk_bandwidth.is_some() && no_weights, "replica.weights"),
            ("pageCache", pool.page_cache.is_some() && no_weights, "replica.weights"),
            ("modelCache", pool.model_cache.is_some() && no_weights, "replica.weights"),
            ("prefetch", pool.prefetch.contains(&Prefetch::Image) && no_image, "replica.image"),
            ("prefetch", pool.prefetch.contains(&Prefetch::Weights) && no_weights, "replica.weights"),
        ] {
            if set {
                let message =
                    format!("`{field}` counts only with `{needs}`, which the scenario does not have");
                let help = format!("write `{needs}`, or leave `{field}` out");
                self.fault("E0317", &[&at_pool[..], &[field]].concat(), message, &help);
            }
        }
        self.bandwidth(&[&at_pool[..], &["diskBandwidth"]].concat(), pool.disk_bandwidth);
        let prefetches = |what| pool.prefetch.contains(&what);
        NodePlan {
            rate: pool.node_bandwidth.map(|rate| rate.0),
            present: Wares { image: pool.image_present, weights: pool.weights_present },
            prefetch: Wares { image: prefetches(Prefetch::Image), weights: prefetches(Prefetch::Weights) },
            disk_rate: pool.disk_bandwidth.map(|rate| rate.0),
            page_cache: pool.page_cache.map_or(0, |size| size.0),
            model_cache: pool.model_cache.map(|size| size.0),
            image_store: pool.image_store.map(|size| size.0),
            turnover_per_hour: pool.cache_turnover.map_or(0, |size| size.0),
        }
    }

    fn image(&mut self, spec: &ImageSpec, profile: &Profile) -> Option<ImagePlan> {
        let at = |field: &'static str| ["replica", "image", field];
        self.bandwidth(&at("unpackBandwidth"), spec.unpack_bandwidth);
        if spec.connections == Some(0) {
            self.fault("E0306", &at("connections"), "`connections` must not be zero", "");
        }
        if spec.layers.iter().any(|layer| layer.0 == 0) {
            self.fault("E0306", &at("layers"), "a layer must not be empty", "leave empty layers out");
        }
        let own = profile.image.as_ref();
        let model = own.map(|image| &image.pull.value);
        let unpack = |bytes: u64| spec.unpack_bandwidth.map(|rate| unpack_time(bytes, Some(rate)));
        let layers: Vec<(u64, SimDuration)> = if spec.layers.is_empty() {
            let Some(own) = own else {
                let message =
                    format!("profile {} does not know its image, and `layers` are not given", profile.name);
                let help = "write `layers: [5.2G, 3.1G, ..]` as `docker manifest inspect` lists them, or measure the pull";
                self.fault("E0316", &["replica", "image"], message, help);
                return None;
            };
            let of_profile = |layer| {
                SimDuration::from_secs_f64(own.pull.value.unpack_s(layer)).unwrap_or(SimDuration::MAX)
            };
            let layers = own.layers.value.iter();
            layers
                .map(|layer| {
                    (layer.compressed.0, unpack(layer.compressed.0).unwrap_or_else(|| of_profile(layer)))
                })
                .collect()
        } else {
            spec.layers.iter().map(|layer| (layer.0, unpack(layer.0).unwrap_or(SimDuration::ZERO))).collect()
        };
        let unpacked = match own.filter(|_| spec.layers.is_empty()) {
            Some(own) => {
                own.layers.value.iter().map(|layer| layer.uncompressed.0).fold(0, u64::saturating_add)
            }
            None => layers.iter().map(|(bytes, _)| *bytes).fold(0, u64::saturating_add),
        };
        let bytes = layers.iter().map(|(bytes, _)| *bytes).fold(0, u64::saturating_add);
        if let Some(lazy) = spec.lazy.filter(|lazy| lazy.first.0 >= bytes) {
            let message =
                format!("{} bytes come before the container runs, and the image has {bytes}", lazy.first.0);
            let help = "write what a start reads of the image, or leave `lazy` out";
            self.fault("E0305", &["replica", "image", "lazy", "first"], message, help);
        }
        if spec.lazy.is_some() && spec.unpack_bandwidth.is_some() {
            let message = "nothing is unpacked of an image that is pulled lazily";
            self.fault("E0317", &at("unpackBandwidth"), message, "leave `unpackBandwidth` or `lazy` out");
        }
        Some(ImagePlan {
            layers,
            shared: 0,
            unpacked: spec.unpacked.map_or(unpacked, |size| size.0),
            lazy: spec.lazy.map(|lazy| LazyPlan { first: lazy.first.0, first_touch: lazy.first_touch }),
            connections: spec.connections.or(model.map(|model| model.connections)).unwrap_or(CONNECTIONS),
            manifest: model.map_or(SimDuration::ZERO, |model| model.manifest),
            per_request: model.map_or(SimDuration::ZERO, |model| model.per_request),
        })
    }

    fn weights(&mut self, spec: &WeightsSpec) -> WeightsPlan {
        for (field, zero) in [("size", spec.size.0 == 0), ("connections", spec.connections == 0)] {
            if zero {
                self.fault(
                    "E0306",
                    &["replica", "weights", field],
                    format!("`{field}` must not be zero"),
                    "",
                );
            }
        }
        if spec.connections > MOST_CONNECTIONS {
            let message = format!("{} connections are beyond the most, {MOST_CONNECTIONS}", spec.connections);
            let help = "streaming loaders open 8 to 64";
            self.fault("E0315", &["replica", "weights", "connections"], message, help);
        }
        WeightsPlan {
            bytes: spec.size.0,
            connections: spec.connections,
            with_pull: spec.fetch == Fetch::WithPull,
            kept: spec.kept,
            streaming: spec.streaming,
        }
    }

    /// The images that rollouts bring.
    fn later_images(&mut self, spec: &ScenarioSpec, image: Option<&ImagePlan>) -> Vec<Option<ImagePlan>> {
        if spec.rollouts.iter().all(|rollout| rollout.image.is_none()) && !spec.cluster.serialize_image_pulls
        {
            let message = "nodes pull one image only: no rollout brings another one";
            let help = "write a rollout's `image`, or leave `serializeImagePulls` out";
            self.fault("E0317", &["cluster", "serializeImagePulls"], message, help);
        }
        let mut images = Vec::with_capacity(spec.rollouts.len());
        for (index, rollout) in spec.rollouts.iter().enumerate() {
            let at = Path::keys(["rollouts"]).index(index).key("image");
            let later = rollout.image.as_ref().and_then(|later| self.later_image(&at, later, spec, image));
            images.push(later);
        }
        images
    }

    fn later_image(
        &mut self,
        at: &Path,
        later: &RolloutImageSpec,
        spec: &ScenarioSpec,
        image: Option<&ImagePlan>,
    ) -> Option<ImagePlan> {
        let document = &self.scenario.document;
        let Some(image) = image else {
            // Where the image itself is at fault, that has been said.
            if spec.replica.image.is_none() {
                let message =
                    "a rollout's `image` counts only with `replica.image`, which the scenario does not have";
                let fault = document.fault("E0317", at, message);
                self.faults.push(fault.helped("write `replica.image`, or leave `image` out"));
            }
            return None;
        };
        if later.shared_layers as usize > image.layers.len() {
            let message = format!(
                "{} layers are shared, and `replica.image` has {}",
                later.shared_layers,
                image.layers.len()
            );
            self.faults.push(document.fault("E0305", &at.key("sharedLayers"), message));
            return None;
        }
        if let Some(layer) = later.layers.iter().position(|layer| layer.0 == 0) {
            let fault = document.fault("E0306", &at.key("layers").index(layer), "a layer must not be empty");
            self.faults.push(fault.helped("leave empty layers out"));
        }
        let rate = spec.replica.image.as_ref().and_then(|image| image.unpack_bandwidth);
        let own = later.layers.iter().map(|layer| (layer.0, unpack_time(layer.0, rate)));
        let layers: Vec<(u64, SimDuration)> =
            image.layers[..later.shared_layers as usize].iter().copied().chain(own).collect();
        let bytes = layers.iter().map(|(bytes, _)| *bytes).fold(0, u64::saturating_add);
        // What unpacking makes of a byte is taken from the first image.
        let grown = u128::from(bytes) * u128::from(image.unpacked) / u128::from(image.bytes().max(1));
        let unpacked = u64::try_from(grown).unwrap_or(u64::MAX);
        Some(ImagePlan { layers, shared: later.shared_layers, unpacked, ..image.clone() })
    }

    /// What nodes are to hold must fit them.
    fn room_for(&mut self, spec: &ScenarioSpec, image: Option<&ImagePlan>, weights: Option<&WeightsPlan>) {
        for (name, pool) in &spec.cluster.pools {
            let at = |field: &'static str| ["cluster", "pools", name.as_str(), field];
            let needed = image.map_or(0, |image| image.unpacked);
            if let Some(store) = pool.image_store.filter(|store| needed > store.0) {
                let message =
                    format!("the image takes {needed} bytes, and the nodes have {} for images", store.0);
                self.fault(
                    "E0304",
                    &at("imageStore"),
                    message,
                    "pods would wait for ever: give the nodes a larger disk",
                );
            }
            let needed = weights.filter(|weights| weights.kept).map_or(0, |weights| weights.bytes);
            if let Some(cache) = pool.model_cache.filter(|cache| needed > cache.0) {
                let message =
                    format!("the weights are {needed} bytes, and the nodes have {} for weights", cache.0);
                let help = "give the nodes a larger disk, or do not keep them: `replica.weights.kept: false`";
                self.fault("E0304", &at("modelCache"), message, help);
            }
            let unbounded =
                pool.image_store.is_none() && pool.model_cache.is_none() && pool.page_cache.is_none();
            if pool.cache_turnover.is_some() && unbounded {
                let message = "`cacheTurnover` pushes out of caches that have a size, and none has";
                self.fault(
                    "E0317",
                    &at("cacheTurnover"),
                    message,
                    "write `modelCache`, `pageCache` or `imageStore`",
                );
            }
        }
    }

    fn source(&mut self, name: &'static str, spec: &StoreSpec) -> Source {
        self.bandwidth(&["cluster", name, "bandwidth"], spec.bandwidth);
        self.bandwidth(&["cluster", name, "connectionBandwidth"], spec.connection_bandwidth);
        self.bandwidth(&["cluster", name, "cacheBandwidth"], spec.cache_bandwidth);
        let (mut changes, mut failing) = (Vec::new(), Vec::new());
        let mut over = SimTime::ZERO;
        let slow = spec.disturbances.iter().any(|disturbance| !disturbance.refuses);
        if spec.bandwidth.is_none() && slow {
            let message =
                format!("a disturbance of `{name}` ends with its usual `bandwidth`, which is not given");
            self.fault(
                "E0317",
                &["cluster", name, "disturbances"],
                message,
                "write the bandwidth, e.g. `bandwidth: 5G`",
            );
        }
        for disturbance in &spec.disturbances {
            let from = SimTime::ZERO + disturbance.from;
            if from < over || disturbance.lasts.is_zero() {
                let message = format!(
                    "the disturbance from {} begins before the last one ends, or takes no time",
                    disturbance.from
                );
                self.fault("E0305", &["cluster", name, "disturbances"], message, "write them in their order");
            }
            if disturbance.refuses && name != "registry" {
                let message = "only the registry can refuse: a loader whose store does ends its container, which is not modelled";
                self.fault(
                    "E0317",
                    &["cluster", name, "disturbances"],
                    message,
                    "write `bandwidth: 0`: fetches stand still",
                );
            }
            if disturbance.refuses && disturbance.bandwidth.0 > 0 {
                let message = "a store that refuses has no bandwidth";
                self.fault(
                    "E0305",
                    &["cluster", name, "disturbances"],
                    message,
                    "leave `bandwidth` or `refuses` out",
                );
            } else if disturbance.bandwidth.0 > 0 {
                self.bandwidth(&["cluster", name, "disturbances"], Some(disturbance.bandwidth));
            }
            over = from.saturating_add(disturbance.lasts);
            if disturbance.refuses {
                failing.push((from, over));
                continue;
            }
            changes.push((from, disturbance.bandwidth.0));
            changes.extend(spec.bandwidth.map(|usual| (over, usual.0)));
        }
        Source {
            rate: spec.bandwidth.map(|rate| rate.0),
            connection: spec.connection_bandwidth.map(|rate| rate.0),
            changes,
            failing,
            cache: spec.cache_bandwidth.map(|rate| rate.0),
            peers: spec.peer_to_peer,
        }
    }

    fn bandwidth(&mut self, keys: &[&str], rate: Option<Bytes>) {
        match rate {
            Some(Bytes(0)) => {
                let help = "leave it out where it is never the limit";
                self.fault("E0306", keys, "a bandwidth must not be zero: nothing would ever arrive", help);
            }
            Some(rate) if rate < SLOWEST => {
                let message = format!("a bandwidth of {rate} bytes/s is below the least, {SLOWEST}");
                self.fault("E0315", keys, message, "bandwidths are bytes a second: 10 Gbit/s are 1.25G");
            }
            _ => {}
        }
    }
}

/// How long a node decompresses and writes a layer.
fn unpack_time(bytes: u64, rate: Option<Bytes>) -> SimDuration {
    let ns = |rate: Bytes| (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate.0.max(1)));
    rate.map_or(SimDuration::ZERO, |rate| {
        SimDuration::from_nanos(u64::try_from(ns(rate)).unwrap_or(u64::MAX))
    })
}

/// The stages of a start that take the profile's time; what the scenario has pulled and fetched is not among them.
pub(super) fn drawn<'a>(profile: &'a Profile, spec: &ScenarioSpec) -> Vec<&'a StartUpStage> {
    let fetched = |stage: &&StartUpStage| {
        (spec.replica.image.is_some() && stage.stage == Stage::ImagePull)
            || (spec.replica.weights.is_some() && stage.is_download())
    };
    profile.start_up.iter().filter(|stage| !fetched(stage)).collect()
}

/// The same as the simulation takes them.
pub(super) fn stages(profile: &Profile, spec: &ScenarioSpec) -> Vec<(Phase, Distribution)> {
    let stages = drawn(profile, spec).into_iter();
    stages.map(|stage| (stage.stage.phase(), stage.time.value.clone())).collect()
}
