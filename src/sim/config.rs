//! The settings of the simulated world, as a scenario writes them.
//!
//! These are the scenario's own sections: doc comments are the manual that
//! `thawline explain` prints, and `docs/defaults.md` says where each default comes from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cluster::ModelAffinity;
use super::compile_cache::CompileCacheSpec;
use super::storage::config::{ImageSpec, WeightsSpec};
use super::warmth::{CoolingSpec, KeepWarmSpec};
use crate::kernel::{Bytes, Distribution, SimDuration};
use crate::policy::adapter::AdapterSpec;
use crate::promql::catalogue::Exporter;

/// The serving engine of every replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EngineSpec {
    /// Iteration-level batching as vLLM V1 does it: chunked prefill shares steps with decode.
    Continuous(ContinuousSpec),
    /// A classic model server: workers that serve one request each, behind a bounded queue.
    Workers(WorkersSpec),
}

/// Iteration-level (continuous) batching.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContinuousSpec {
    /// Token budget of one step (`--max-num-batched-tokens`). Default: vLLM's for the profile's GPU.
    #[serde(default)]
    pub max_num_batched_tokens: Option<u32>,
    /// Most sequences in a batch (`--max-num-seqs`). Default: vLLM's for the profile's GPU.
    #[serde(default)]
    pub max_num_seqs: Option<u32>,
    /// Longest prompt plus output, tokens (`--max-model-len`). Default: what fits the KV cache.
    #[serde(default)]
    pub max_model_len: Option<u32>,
    /// KV cache, tokens. Default: from the profile's memory section.
    #[serde(default)]
    pub kv_cache_tokens: Option<u64>,
    /// Share of GPU memory the engine may use (`--gpu-memory-utilization`). Default: 0.92, vLLM's.
    #[serde(default)]
    pub gpu_memory_utilization: Option<f64>,
}

/// A pool of workers behind a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkersSpec {
    /// Workers of a replica; each serves one request at a time.
    pub workers: u32,
    /// Service time of one request; whatever its tokens.
    pub service: Distribution,
    /// Most requests that wait in a replica; more are refused. Default: no limit.
    #[serde(default)]
    pub queue_limit: Option<u32>,
}

/// The gateway in front of the replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewaySpec {
    /// How a replica is chosen. A policy with a proxy of its own (Knative's activator) chooses in its own way while
    /// that is in the path.
    pub router: RouterKind,
    /// Most requests held while nothing is ready; more are refused. Default: no limit.
    pub queue_limit: Option<u32>,
    /// A request not answered in full by then is given up. `0s` waits for ever.
    pub request_timeout: SimDuration,
    /// How long a connection to a machine that is no more is waited for, before the request is refused; it counts with a
    /// `nodeLoss`.
    pub connect_timeout: SimDuration,
}

impl Default for GatewaySpec {
    fn default() -> Self {
        Self {
            router: RouterKind::LeastOutstanding,
            queue_limit: None,
            request_timeout: SimDuration::from_secs(300),
            connect_timeout: SimDuration::from_secs(5),
        }
    }
}

/// How the gateway chooses among ready replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RouterKind {
    /// The one with the fewest requests not yet ended; ties go round.
    #[default]
    LeastOutstanding,
    /// Each in turn.
    RoundRobin,
    /// The less loaded of two drawn at random.
    PowerOfTwo,
}

/// The pod of a replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReplicaSpec {
    /// A file with the Deployment, or another object that makes the pods, in the place of what would be written here; what is written here stays. Relative to the
    /// scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Which object of the file, where it holds several: `NAME` or `KIND/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The container that serves the model, where several of the manifest's could.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// GPUs a replica holds. Default: the profile's.
    pub gpus: Option<u32>,
    /// Pods of a replica (`leaderWorkerTemplate.size` of a LeaderWorkerSet), for a model that no node is large enough for. Its GPUs are
    /// divided among them, each fills a node, and the replica starts when the last of them is up.
    pub group_size: u32,
    /// CPU request, cores: what CPU utilisation is a percentage of.
    pub cpu_request: Option<crate::kernel::Quantity>,
    /// Memory request, bytes: what memory utilisation is a percentage of.
    pub memory_request: Option<crate::kernel::Quantity>,
    /// Memory that a replica's containers use, bytes; an engine allocates it at its start and keeps it. Autoscalers on memory need it.
    pub memory_usage: Option<crate::kernel::Quantity>,
    /// Its image, to be pulled layer by layer. Default: the profile's `imagePull` is drawn, whatever the node has.
    pub image: Option<ImageSpec>,
    /// Its weights, to be fetched. Default: the profile's `weightLoad` is drawn, a download included.
    pub weights: Option<WeightsSpec>,
    /// Labels that a node must have (`nodeSelector`): a pool's own, `topology.kubernetes.io/zone`, `karpenter.sh/capacity-type`.
    pub node_selector: BTreeMap<String, String>,
    /// Whether it goes to nodes that hold its weights (`replica.weights`).
    pub model_affinity: ModelAffinity,
    /// Whether a provisioner may take it off a node that it wants to remove (annotation
    /// `cluster-autoscaler.kubernetes.io/safe-to-evict`, `karpenter.sh/do-not-disrupt`).
    pub safe_to_evict: bool,
    /// A cache of what its engine compiles. Default: every start compiles.
    pub compile_cache: Option<CompileCacheSpec>,
    /// When it goes cold for want of work. Default: never.
    pub cooling: Option<CoolingSpec>,
    /// Synthetic requests that keep it warm. Default: none.
    pub keep_warm: Option<KeepWarmSpec>,
    /// When the replica counts as ready.
    pub readiness: ReadinessSpec,
    /// Probes the server before the readiness probe does, and has a container that fails it for too long killed and
    /// started anew. Default: none.
    pub startup_probe: Option<ProbeSpec>,
    /// Has a container that fails it for too long killed and started anew; from the start of the container, unless there is a
    /// startup probe. Default: none.
    pub liveness_probe: Option<ProbeSpec>,
    /// How long a draining replica may finish what it has (`terminationGracePeriodSeconds`).
    pub termination_grace_period: SimDuration,
    /// From a replica's deletion until nothing is routed to it any more (endpoint propagation).
    pub endpoint_removal_delay: SimDuration,
    /// Sleep before the replica is told to stop (`lifecycle.preStop.sleep`); part of the grace period.
    /// Until it is over the replica takes requests, from then on it refuses them.
    pub pre_stop: SimDuration,
}

impl Default for ReplicaSpec {
    fn default() -> Self {
        Self {
            manifest: None,
            object: None,
            container: None,
            gpus: None,
            group_size: 1,
            cpu_request: None,
            memory_request: None,
            memory_usage: None,
            image: None,
            weights: None,
            node_selector: BTreeMap::new(),
            model_affinity: ModelAffinity::default(),
            safe_to_evict: true,
            compile_cache: None,
            cooling: None,
            keep_warm: None,
            readiness: ReadinessSpec::default(),
            startup_probe: None,
            liveness_probe: None,
            termination_grace_period: SimDuration::from_secs(30),
            endpoint_removal_delay: SimDuration::ZERO,
            pre_stop: SimDuration::ZERO,
        }
    }
}

/// The readiness probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReadinessSpec {
    /// What the probe waits for.
    pub after: ReadyAfter,
    /// `initialDelaySeconds`, from the start of the container.
    pub initial_delay: SimDuration,
    /// `periodSeconds`.
    pub period: SimDuration,
    /// `successThreshold`: so many probes in a row must pass.
    pub success_threshold: u32,
    /// From a passed probe to the first routed request (endpoint propagation).
    pub endpoint_delay: SimDuration,
}

impl Default for ReadinessSpec {
    fn default() -> Self {
        Self {
            after: ReadyAfter::WarmUp,
            initial_delay: SimDuration::ZERO,
            period: SimDuration::from_secs(10),
            success_threshold: 1,
            endpoint_delay: SimDuration::ZERO,
        }
    }
}

/// A startup or liveness probe. It passes when the server answers: when the readiness probe could.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProbeSpec {
    /// `initialDelaySeconds`, from the start of the container.
    pub initial_delay: SimDuration,
    /// `periodSeconds`.
    pub period: SimDuration,
    /// `failureThreshold`: so many failures in a row end the container.
    pub failure_threshold: u32,
}

impl Default for ProbeSpec {
    fn default() -> Self {
        Self { initial_delay: SimDuration::ZERO, period: SimDuration::from_secs(10), failure_threshold: 3 }
    }
}

impl ProbeSpec {
    /// How long a server may take from the start of its container at least, before it is killed: a probe that comes just after
    /// the initial delay, and the periods between the failures.
    pub fn patience(&self) -> SimDuration {
        let between = u64::from(self.failure_threshold.saturating_sub(1));
        self.initial_delay + SimDuration::from_nanos(self.period.as_nanos().saturating_mul(between))
    }
}

/// What a passed readiness probe means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ReadyAfter {
    /// Its process runs: there is no readiness probe, or one that does not ask the server. Requests are routed to a replica that still
    /// loads, and are refused.
    Process,
    /// Weights are loaded; nothing has warmed the replica, so its first requests pay for it.
    Weights,
    /// Weights are loaded and the warm-up has run.
    #[default]
    WarmUp,
}

/// The Kubernetes control plane between an autoscaler and its pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ControlPlaneSpec {
    /// From a written scale until the ReplicaSet controller acts on it: two watches, the Deployment's and the
    /// ReplicaSet's.
    pub watch_delay: SimDuration,
    /// One call that creates or deletes a pod. Pods are created 1, 2, 4, .. at a time (slow start), each batch a
    /// call long; deletions go out all at once.
    pub api_call: SimDuration,
}

impl Default for ControlPlaneSpec {
    fn default() -> Self {
        Self { watch_delay: SimDuration::from_millis(100), api_call: SimDuration::from_millis(20) }
    }
}

/// Replicas that are there at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InitialSpec {
    /// How many. Default: what the policy starts with.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// In which state.
    #[serde(default)]
    pub state: InitialState,
}

/// State of the replicas that are there at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum InitialState {
    /// Ready and warm.
    #[default]
    Warm,
    /// Just created: they go through every start-up stage.
    Cold,
}

/// How metrics travel from replicas to policies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TelemetrySpec {
    /// Time between Prometheus's scrapes.
    pub scrape_interval: SimDuration,
    /// Time of the first scrape. Default: drawn within the interval.
    pub scrape_phase: Option<SimDuration>,
    /// How old the newest scrape is at least that an answer of Prometheus can tell of (adapter, cache).
    pub delay: SimDuration,
    /// How far back an instant query looks for a sample (`--query.lookback-delta`).
    pub lookback: SimDuration,
    /// The release of Prometheus; ranges of 2 hold one sample more.
    pub prometheus: PrometheusRelease,
    /// Time between the metrics server's readings of CPU and memory (`--metric-resolution`).
    pub metrics_server_resolution: SimDuration,
    /// Whose metrics the engine publishes. Default: those of the profile's engine.
    pub exporter: Option<EngineExporter>,
    /// Labels of the workload's series, such as `namespace` and `job`. A label that is not here gets the value that
    /// a query asks for by equality.
    pub labels: BTreeMap<String, String>,
    /// prometheus-adapter's rules, which serve an HPA's Pods, Object and External metrics. Default: each series under
    /// its own name, counters as their rate over five minutes.
    pub adapter: Option<AdapterSpec>,
    /// Step of the timeline that reports draw.
    pub timeline_step: SimDuration,
}

impl Default for TelemetrySpec {
    fn default() -> Self {
        Self {
            scrape_interval: SimDuration::from_secs(15),
            scrape_phase: None,
            delay: SimDuration::ZERO,
            lookback: SimDuration::from_secs(300),
            prometheus: PrometheusRelease::default(),
            metrics_server_resolution: SimDuration::from_secs(15),
            exporter: None,
            labels: BTreeMap::new(),
            adapter: None,
            timeline_step: SimDuration::from_secs(15),
        }
    }
}

/// A release of Prometheus, where the rules of windows differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PrometheusRelease {
    /// Prometheus 2, from 2.52 on.
    V2,
    /// Prometheus 3.
    #[default]
    V3,
}

/// Whose metrics an engine publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EngineExporter {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Text Generation Inference.
    Tgi,
    /// Triton Inference Server.
    Triton,
    /// llama.cpp's server.
    LlamaCpp,
}

impl EngineExporter {
    /// The one of an engine as profiles name it.
    pub fn of_engine(name: &str) -> Option<Self> {
        let plain: String = name.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
        Some(match plain.as_str() {
            "vllm" => Self::Vllm,
            "sglang" => Self::Sglang,
            "tgi" | "textgenerationinference" => Self::Tgi,
            "triton" | "tensorrtllm" | "tritoninferenceserver" => Self::Triton,
            "llamacpp" | "llamaserver" => Self::LlamaCpp,
            _ => return None,
        })
    }

    /// Its metrics.
    pub const fn exporter(self) -> Exporter {
        match self {
            Self::Vllm => Exporter::Vllm,
            Self::Sglang => Exporter::Sglang,
            Self::Tgi => Exporter::Tgi,
            Self::Triton => Exporter::Triton,
            Self::LlamaCpp => Exporter::LlamaCpp,
        }
    }
}

/// What an engine's memory holds: kept beside [`EngineSpec`] once the profile's memory is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvMemory {
    /// KV cache, tokens.
    pub tokens: u64,
    /// Bytes of KV cache a token takes; for display.
    pub bytes_per_token: Bytes,
}
