//! The scenario file, section by section. Doc comments are the manual that
//! `thawline explain` prints.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kernel::SimDuration;
use crate::outcome::breach::Slo;
use crate::policy::PolicySpec;
use crate::sim::cluster::config::{PlaceholderSpec, PoolSpec, ProvisionerSpec, QuotaSpec, SchedulerSpec};
use crate::sim::config::{
    ControlPlaneSpec, EngineSpec, GatewaySpec, InitialSpec, InitialState, ReplicaSpec, TelemetrySpec,
};
use crate::sim::faults::FaultSpec;
use crate::sim::rollout::RolloutSpec;
use crate::sim::storage::config::StoreSpec;
use crate::workload::WorkloadSpec;

/// A scenario: traffic, a cluster, and the policies to compare on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScenarioSpec {
    /// Names the scenario and its directory of results: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Profile of the model on its GPU: a file, relative to the scenario, or the name of a shipped profile.
    pub profile: String,
    /// Where the requests come from.
    pub workload: WorkloadSpec,
    /// The wall clock at the first instant, as RFC 3339 writes it: `2023-11-16T18:15:46Z`. Policies that go by the
    /// calendar need it. Default: the clock is not known.
    #[serde(default)]
    pub start_time: Option<StartTime>,
    /// The machines.
    pub cluster: ClusterSpec,
    /// Engine of every replica. Default: continuous batching as the profile has it.
    #[serde(default)]
    pub engine: Option<EngineSpec>,
    /// The gateway in front of the replicas.
    #[serde(default)]
    pub gateway: GatewaySpec,
    /// The pod of a replica.
    #[serde(default)]
    pub replica: ReplicaSpec,
    /// How metrics travel from replicas to policies.
    #[serde(default)]
    pub telemetry: TelemetrySpec,
    /// Replicas that are there at the start.
    #[serde(default = "as_the_policy_starts")]
    pub initial: InitialSpec,
    /// What goes wrong: nodes taken back, lost or not to be had, containers that crash, GPUs that fail, metrics that are out.
    /// Default: nothing does.
    #[serde(default)]
    pub faults: Vec<FaultSpec>,
    /// New versions that are rolled out, in the order of their times. Default: none.
    #[serde(default)]
    pub rollouts: Vec<RolloutSpec>,
    /// What counts as a breach, per request. Default: nothing does.
    #[serde(default)]
    pub slo: Option<SloSpec>,
    /// The policies to compare: left a name of your own, right the kind.
    pub policies: IndexMap<String, PolicySpec>,
    /// What must hold for the run to succeed. Default: nothing must.
    #[serde(default)]
    pub gates: Vec<GateSpec>,
    /// Hold the policies against perfect foresight: the cheapest plan that can be found knowing the future, and what no schedule can
    /// undercut. Needs `slo`; how much may breach is the gate on `slo.breach`, else 1 %. Default: not done, it takes many runs more.
    #[serde(default)]
    pub foresight: Option<ForesightSpec>,
    /// Runs of each policy, each with other random draws; all policies see the same ones.
    #[serde(default = "five")]
    pub replications: u32,
    /// Seed of all random draws.
    #[serde(default = "seven")]
    pub seed: u64,
}

fn as_the_policy_starts() -> InitialSpec {
    InitialSpec { replicas: None, state: InitialState::default() }
}

fn yes() -> bool {
    true
}

fn five() -> u32 {
    5
}

fn seven() -> u64 {
    7
}

/// The search for what knowing the future would bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ForesightSpec {
    /// Plans that are run in each replication, at most. More find cheaper ones.
    pub plans: u32,
}

impl Default for ForesightSpec {
    fn default() -> Self {
        Self { plans: 200 }
    }
}

/// An instant of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct StartTime(pub jiff::Timestamp);

impl Serialize for StartTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StartTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |_| {
            serde::de::Error::custom(format!(
                "`{text}` is no instant; write e.g. 2023-11-16T18:15:46Z, with its offset from UTC"
            ))
        };
        text.parse().map(Self).map_err(wrong)
    }
}

/// The machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSpec {
    /// Node pools by name.
    pub pools: IndexMap<String, PoolSpec>,
    /// GPUs that pools may have together. Default: no limit but each pool's own.
    #[serde(default)]
    pub quotas: Vec<QuotaSpec>,
    /// What orders nodes and removes them: `none`, `atOnce`, `clusterAutoscaler: {}`, `karpenter: {}`.
    #[serde(default)]
    pub provisioner: ProvisionerSpec,
    /// Which node a pod goes to.
    #[serde(default)]
    pub scheduler: SchedulerSpec,
    /// Pods that hold nodes for replicas to come.
    #[serde(default)]
    pub placeholders: PlaceholderSpec,
    /// Whether a kubelet pulls one image after the other (`serializeImagePulls`); it counts where a rollout brings another one.
    #[serde(default = "yes")]
    pub serialize_image_pulls: bool,
    /// Where images come from; it counts with `replica.image`.
    #[serde(default)]
    pub registry: StoreSpec,
    /// Where weights come from: object store, file system; it counts with `replica.weights`.
    #[serde(default)]
    pub model_store: StoreSpec,
    /// How long Kubernetes takes from a changed scale to its pods.
    #[serde(default)]
    pub control_plane: ControlPlaneSpec,
}

/// The limits of a request: one that exceeds any of them is a breach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SloSpec {
    /// Time to first token.
    #[serde(default)]
    pub ttft: Option<SimDuration>,
    /// Time per output token after the first, a request's mean.
    #[serde(default)]
    pub tpot: Option<SimDuration>,
    /// Time between two tokens; the request's longest counts.
    #[serde(default)]
    pub itl: Option<SimDuration>,
    /// From arrival to the last token.
    #[serde(default)]
    pub e2e: Option<SimDuration>,
    /// From arrival until an engine first works on the request.
    #[serde(default)]
    pub queue_wait: Option<SimDuration>,
}

impl SloSpec {
    /// The limits with the names they are written under.
    pub fn limits(&self) -> [(&'static str, Option<SimDuration>); 5] {
        [
            ("ttft", self.ttft),
            ("tpot", self.tpot),
            ("itl", self.itl),
            ("e2e", self.e2e),
            ("queueWait", self.queue_wait),
        ]
    }
}

impl From<SloSpec> for Slo {
    fn from(spec: SloSpec) -> Self {
        Self { ttft: spec.ttft, tpot: spec.tpot, itl: spec.itl, e2e: spec.e2e, queue_wait: spec.queue_wait }
    }
}

/// A gate as it is written: `ttft.p99 < 2s`, or `{ gate: ttft.p99 < 2s, for: [hpa] }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSpec {
    /// `METRIC SIGN LIMIT`.
    pub gate: String,
    /// The policies it binds, by their names in the scenario; empty binds all.
    pub policies: Vec<String>,
}

/// The longer form of a gate.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BoundGate {
    /// `METRIC SIGN LIMIT`, such as `ttft.p99 < 2s`.
    gate: String,
    /// The policies it binds, by their names in the scenario.
    #[serde(rename = "for")]
    policies: Vec<String>,
}

impl<'de> Deserialize<'de> for GateSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = GateSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a gate such as `ttft.p99 < 2s`, or { gate, for }")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<GateSpec, E> {
                Ok(GateSpec { gate: text.to_owned(), policies: Vec::new() })
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<GateSpec, A::Error> {
                let bound = BoundGate::deserialize(MapAccessDeserializer::new(map))?;
                Ok(GateSpec { gate: bound.gate, policies: bound.policies })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Serialize for GateSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.policies.is_empty() {
            return serializer.serialize_str(&self.gate);
        }
        BoundGate { gate: self.gate.clone(), policies: self.policies.clone() }.serialize(serializer)
    }
}

impl JsonSchema for GateSpec {
    fn schema_name() -> Cow<'static, str> {
        "GateSpec".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let bound = generator.subschema_for::<BoundGate>();
        schemars::json_schema!({
            "description": "What must hold: `ttft.p99 < 2s`, or `{ gate: ttft.p99 < 2s, for: [hpa] }` for some policies only.",
            "anyOf": [{ "type": "string" }, bound]
        })
    }
}
