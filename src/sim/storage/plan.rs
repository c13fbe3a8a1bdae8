//! What nodes fetch, from where, and what they keep: a resolved scenario's images and weights.

use super::Want;
use crate::kernel::{SimDuration, SimTime};
use crate::outcome::Phase;
use crate::sim::replica::Work;

/// What the nodes of a run fetch, from where, and over what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The image; `None`: its pull is a stage of the profile.
    pub image: Option<ImagePlan>,
    /// The images of later versions, in the order of the rollouts that bring them; `None`: the one before stays.
    pub later_images: Vec<Option<ImagePlan>>,
    /// Whether a kubelet pulls one image after the other (`serializeImagePulls`).
    pub serial_pulls: bool,
    /// The weights; `None`: fetching them is part of the profile's weight load.
    pub weights: Option<WeightsPlan>,
    /// Where images come from.
    pub registry: Source,
    /// Where weights come from.
    pub model_store: Source,
    /// The nodes, by pool; of those that are not here nothing is known.
    pub nodes: Vec<NodePlan>,
}

/// The image and the weights, each or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wares {
    /// The image.
    pub image: bool,
    /// The weights.
    pub weights: bool,
}

impl Wares {
    /// Neither.
    pub const NONE: Self = Self { image: false, weights: false };
    /// The image alone.
    pub const IMAGE: Self = Self { image: true, weights: false };
    /// The weights alone.
    pub const WEIGHTS: Self = Self { image: false, weights: true };
}

/// What the nodes of a pool come with, and what they can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodePlan {
    /// Rate of the network interface, bytes/s each way; `None` where it is never the limit.
    pub rate: Option<u64>,
    /// What they have from the start.
    pub present: Wares,
    /// What they fetch as soon as they take pods.
    pub prefetch: Wares,
    /// Rate at which weights are read from the node's disk, bytes/s; `None` where it is never the limit.
    pub disk_rate: Option<u64>,
    /// Bytes of weights that memory keeps after they were read; 0: none.
    pub page_cache: u64,
    /// Bytes for weights on disk; `None`: no limit.
    pub model_cache: Option<u64>,
    /// Bytes for unpacked images; `None`: no limit.
    pub image_store: Option<u64>,
    /// Bytes an hour that others bring into each of these, which push out what has not been used since.
    pub turnover_per_hour: u64,
}

impl NodePlan {
    /// Whether something of so many bytes, last used then, has been pushed out of a cache by now.
    pub(super) fn is_evicted(&self, capacity: u64, bytes: u64, used: SimTime, now: SimTime) -> bool {
        let others =
            u128::from(self.turnover_per_hour) * u128::from(now.since(used).as_nanos()) / 3_600_000_000_000;
        others + u128::from(bytes) > u128::from(capacity)
    }
}

impl Plan {
    /// Whether there is anything to simulate.
    pub fn is_needed(&self) -> bool {
        self.image.is_some() || self.weights.is_some()
    }

    /// The image of a version.
    pub(super) fn image_of(&self, version: u32) -> Option<&ImagePlan> {
        self.image_at(version).1
    }

    /// The version that a version has its image from, and that image.
    pub(super) fn image_at(&self, version: u32) -> (u32, Option<&ImagePlan>) {
        let later = (1..=version).rev().find_map(|version| {
            let image = self.later_images.get(version as usize - 1)?.as_ref()?;
            Some((version, Some(image)))
        });
        later.unwrap_or((0, self.image.as_ref()))
    }

    /// Puts what is fetched into the stages of a start, in order: the image in the place of its pull, the weights
    /// before they are loaded, or beside that.
    pub(in crate::sim) fn put_fetches(&self, stages: &mut Vec<(Phase, Work)>) {
        if let Some(image) = &self.image {
            stages.retain(|(phase, _)| *phase != Phase::Pulling);
            stages.insert(0, (Phase::Pulling, Work::Fetch(Want::Image)));
            if image.lazy.is_some() {
                stages.insert(1, (Phase::Starting, Work::Fetch(Want::Touch)));
            }
        }
        let Some(weights) = &self.weights else { return };
        let load = stages.iter().position(|(phase, _)| *phase >= Phase::Loading).unwrap_or(stages.len());
        let own = stages.get(load).copied().filter(|(phase, _)| *phase == Phase::Loading);
        let time = own.map_or(SimDuration::ZERO, |(_, work)| work.time());
        if own.is_some() {
            stages.remove(load);
        }
        if weights.streaming {
            stages.insert(load, (Phase::Loading, Work::Beside(Want::Stream, time)));
        } else {
            stages.insert(load, (Phase::Loading, Work::Beside(Want::Read, time)));
            stages.insert(load, (Phase::Loading, Work::Fetch(Want::Weights)));
        }
    }
}

/// An image and how a node pulls it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImagePlan {
    /// Of each layer, in the order of the manifest: its bytes in the registry, and the time to decompress and write it.
    pub layers: Vec<(u64, SimDuration)>,
    /// Layers downloaded at a time.
    pub connections: u32,
    /// Until the manifest is there.
    pub manifest: SimDuration,
    /// From asking for a layer to its first byte.
    pub per_request: SimDuration,
    /// Of a later version: how many of the first layers are those of version 0.
    pub shared: u32,
    /// Bytes that it takes of a node's image store.
    pub unpacked: u64,
    /// Whether the container runs before all of it is there.
    pub lazy: Option<LazyPlan>,
}

impl ImagePlan {
    /// Bytes in the registry.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|(bytes, _)| *bytes).fold(0, u64::saturating_add)
    }
}

/// An image that is pulled while its container runs (SOCI, stargz).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LazyPlan {
    /// Bytes that must be there before the container runs.
    pub first: u64,
    /// How much longer the runtime takes to start, as long as not all of it is there.
    pub first_touch: SimDuration,
}

/// A model's weights and how a node fetches them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeightsPlan {
    /// Bytes.
    pub bytes: u64,
    /// Connections at a time, each with an equal part.
    pub connections: u32,
    /// Whether they are asked for when a pod comes to its node, beside the image, and not when its engine wants them.
    pub with_pull: bool,
    /// Whether a node keeps them on its disk for its next pod.
    pub kept: bool,
    /// Whether they go to the GPU as they come.
    pub streaming: bool,
}

/// A registry or a model store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Rate of all that comes from it, bytes/s; `None` where it is never the limit.
    pub rate: Option<u64>,
    /// Rate of one connection, bytes/s.
    pub connection: Option<u64>,
    /// Rates from instants on, in their order: it is slow, down, back.
    pub changes: Vec<(SimTime, u64)>,
    /// Intervals in which whoever asks is refused, and what is on its way is cut.
    pub failing: Vec<(SimTime, SimTime)>,
    /// Rate of a cache in the cluster that keeps what came from it once, bytes/s; `None`: there is none.
    pub cache: Option<u64>,
    /// Whether nodes give each other what they have.
    pub peers: bool,
}

impl Source {
    /// Whether it refuses now; if so, until when.
    pub(super) fn fails(&self, now: SimTime) -> bool {
        self.failing.iter().any(|(from, to)| (*from..*to).contains(&now))
    }
}
