//! The settings of images and weights, as a scenario writes them; doc comments are the manual.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::{Bytes, SimDuration};

/// The image of a replica. With it a node pulls the image layer by layer, once for all its pods, over links that pulls
/// share; the profile's `imagePull` no longer counts. `{}` takes all of it from the profile's `image`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ImageSpec {
    /// Size of each layer in the registry, in the order of the manifest (`docker manifest inspect`). Default: the
    /// profile's.
    pub layers: Vec<Bytes>,
    /// Layers downloaded at a time (`max_concurrent_downloads`). Default: the profile's, else containerd's 3.
    pub connections: Option<u32>,
    /// How fast a node decompresses and writes a layer, bytes of the registry's size a second; one layer after the
    /// other. Default: the profile's rates; with `layers` of your own it is never the limit.
    pub unpack_bandwidth: Option<Bytes>,
    /// Bytes that it takes of a node's `imageStore` when unpacked. Default: the profile's; with `layers` of your own their sum.
    pub unpacked: Option<Bytes>,
    /// Pulled while its container runs (SOCI, stargz). Default: all of it comes first.
    pub lazy: Option<LazySpec>,
}

/// An image that is pulled while its container runs. Nothing is unpacked then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LazySpec {
    /// Bytes that must be there before the container runs; the rest comes while it does, and takes its share of the links.
    pub first: Bytes,
    /// How much longer the runtime takes to start while not all of the image is there: what it touches is fetched one piece at a time.
    #[serde(default)]
    pub first_touch: SimDuration,
}

/// The weights of a replica. With it a node fetches them over links that fetches share, and keeps them for its next pod;
/// the profile's `weightLoad` comes after that, from the node's copy to the GPU, less what it labels `download`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WeightsSpec {
    /// Their size.
    pub size: Bytes,
    /// Connections that fetch at a time, each an equal part.
    #[serde(default = "one")]
    pub connections: u32,
    /// When a node begins to fetch.
    #[serde(default)]
    pub fetch: Fetch,
    /// Whether a node keeps them for its next pod. Without it every start fetches anew.
    #[serde(default = "yes")]
    pub kept: bool,
    /// Whether the loader streams them into the GPU as they come (Run:ai Model Streamer, fastsafetensors): loading takes as long as the longer of
    /// fetching and the profile's `weightLoad`, and not both.
    #[serde(default)]
    pub streaming: bool,
}

fn nothing() -> Bytes {
    Bytes(0)
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

/// When a node begins to fetch weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Fetch {
    /// When the engine wants them: the image is there, the runtime is up.
    #[default]
    ByEngine,
    /// When the pod comes to the node, beside the image.
    WithPull,
}

/// A registry or a model store: what everything that comes from it shares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StoreSpec {
    /// All that comes from it, bytes/s. Default: never the limit.
    pub bandwidth: Option<Bytes>,
    /// One connection to it, bytes/s. Default: never the limit.
    pub connection_bandwidth: Option<Bytes>,
    /// A pull-through cache in the cluster: what has come from the store once comes from there, all of it at that many bytes/s. Default: there is
    /// none.
    pub cache_bandwidth: Option<Bytes>,
    /// Whether a node takes from another one what that has (Spegel, Dragonfly), over the interfaces of both.
    pub peer_to_peer: bool,
    /// When it is slow or down.
    pub disturbances: Vec<DisturbanceSpec>,
}

/// An interval in which a store is slow or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DisturbanceSpec {
    /// When it begins, from the start of the run.
    pub from: SimDuration,
    /// How long it lasts.
    pub lasts: SimDuration,
    /// All that comes from the store meanwhile, bytes/s; `0` is an outage, in which fetches stand still.
    #[serde(default = "nothing")]
    pub bandwidth: Bytes,
    /// Of the registry: whether it refuses meanwhile, instead of being slow. Pulls are cut, and tried again after 10 s, 20 s, .. 5 min
    /// (`ImagePullBackOff`); layers that are there stay.
    #[serde(default)]
    pub refuses: bool,
}
