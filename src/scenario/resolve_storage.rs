//! Images and weights of a scenario: what nodes fetch, from where, and how fast.

use super::ScenarioSpec;
use super::resolve::Resolver;
use crate::kernel::{Bytes, Distribution, SimDuration, SimTime};
use crate::outcome::Phase;
use crate::profile::Profile;
use crate::profile::schema::{Stage, StartUpStage};
use crate::sim::config::PoolSpec;
use crate::sim::storage::config::{Fetch, ImageSpec, StoreSpec, WeightsSpec};
use crate::sim::storage::{ImagePlan, Plan, Source, WeightsPlan};

/// containerd's `max_concurrent_downloads`.
const CONNECTIONS: u32 = 3;

/// Shares of a link are whole bytes a second: on slower ones the rounding would show.
const SLOWEST: Bytes = Bytes(1_000_000);

/// Each connection is a transfer of its own.
const MOST_CONNECTIONS: u32 = 1_024;

impl Resolver<'_> {
    /// The plan of what nodes fetch; faults where it makes no sense.
    pub(super) fn storage(&mut self, profile: &Profile, pool_name: &str, pool: &PoolSpec) -> Plan {
        let spec = self.spec().clone();
        let image = spec.replica.image.as_ref().and_then(|image| self.image(image, profile));
        let weights = spec.replica.weights.as_ref().map(|weights| self.weights(weights));
        let at_pool = ["cluster", "pools", pool_name];
        self.bandwidth(&[&at_pool[..], &["nodeBandwidth"]].concat(), pool.node_bandwidth);
        for (field, set, needs) in [
            ("imagePresent", pool.image_present && spec.replica.image.is_none(), "replica.image"),
            ("weightsPresent", pool.weights_present && spec.replica.weights.is_none(), "replica.weights"),
        ] {
            if set {
                let message =
                    format!("`{field}` counts only with `{needs}`, which the scenario does not have");
                let help = format!("write `{needs}`, or leave `{field}` out");
                self.fault("E0317", &[&at_pool[..], &[field]].concat(), message, &help);
            }
        }
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
            // What a node comes with does not go with a pod.
            weights: weights
                .map(|weights| WeightsPlan { kept: weights.kept || pool.weights_present, ..weights }),
            registry: self.source("registry", &spec.cluster.registry),
            model_store: self.source("modelStore", &spec.cluster.model_store),
            node_rate: pool.node_bandwidth.map(|rate| rate.0),
            image_present: pool.image_present,
            weights_present: pool.weights_present,
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
        let unpack = |bytes: u64| {
            let ns = |rate: Bytes| (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate.0.max(1)));
            spec.unpack_bandwidth
                .map(|rate| SimDuration::from_nanos(u64::try_from(ns(rate)).unwrap_or(u64::MAX)))
        };
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
        Some(ImagePlan {
            layers,
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
        }
    }

    fn source(&mut self, name: &'static str, spec: &StoreSpec) -> Source {
        self.bandwidth(&["cluster", name, "bandwidth"], spec.bandwidth);
        self.bandwidth(&["cluster", name, "connectionBandwidth"], spec.connection_bandwidth);
        let mut changes = Vec::new();
        let mut over = SimTime::ZERO;
        if let (None, false) = (spec.bandwidth, spec.disturbances.is_empty()) {
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
            if disturbance.bandwidth.0 > 0 {
                self.bandwidth(&["cluster", name, "disturbances"], Some(disturbance.bandwidth));
            }
            over = from.saturating_add(disturbance.lasts);
            changes.push((from, disturbance.bandwidth.0));
            changes.extend(spec.bandwidth.map(|usual| (over, usual.0)));
        }
        Source {
            rate: spec.bandwidth.map(|rate| rate.0),
            connection: spec.connection_bandwidth.map(|rate| rate.0),
            changes,
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

/// The stages of a start that take the profile's time; what the scenario has pulled and fetched is not among them.
pub(super) fn stages(profile: &Profile, spec: &ScenarioSpec) -> Vec<(Phase, Distribution)> {
    let fetched = |stage: &&StartUpStage| {
        (spec.replica.image.is_some() && stage.stage == Stage::ImagePull)
            || (spec.replica.weights.is_some() && stage.is_download())
    };
    let drawn = profile.start_up.iter().filter(|stage| !fetched(stage));
    drawn.map(|stage| (stage.stage.phase(), stage.time.value.clone())).collect()
}
