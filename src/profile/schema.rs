//! The profile file: what one model on one kind of replica needs in time, memory and money.
//!
//! These structs are the YAML; their doc comments are its manual. `calibrate` writes the
//! same file that people write by hand, so raw grids, fits and their errors have a place.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::ImageSpec;
use super::memory::MemorySpec;
use super::sourced::{Date, Sourced};
use crate::kernel::{Bytes, Distribution, Price, Quantity, SimDuration};
use crate::outcome::Phase;

/// The only version of the schema there is.
pub const SCHEMA_VERSION: u32 = 1;

/// A replica profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// Version of this format: 1.
    pub schema_version: u32,
    /// Short name, lower case with dashes; the file's name without `.yaml`.
    pub name: String,
    /// One or two sentences: what it describes, and how far to trust it.
    pub description: String,
    /// The model, with its precision.
    pub model: String,
    /// The serving engine.
    pub engine: EngineVersion,
    /// The kind of machine: instance type, CPU, storage. Never a host's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The GPUs of one replica.
    pub gpu: Gpu,
    /// GPU driver version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Start-up stages in order, from the pod's placement on a node to a warm replica.
    pub start_up: Vec<StartUpStage>,
    /// The container image and how fast a node pulls it: what `imagePull` is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSpec>,
    /// Extra time of the 1st, 2nd, .. request of a replica that nothing warmed. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_requests: Option<Sourced<Vec<SimDuration>>>,
    /// How long a warm replica takes to fall asleep and to wake up, by where its weights are meanwhile. Default: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<SleepLevels>,
    /// Time of engine steps; the `continuous` engine needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_time: Option<StepTimeSpec>,
    /// Time the host adds outside the GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_overhead: Option<HostOverhead>,
    /// GPU memory; the `continuous` engine needs it unless the scenario gives `kvCacheTokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySpec>,
    /// CPU use of the pod. Without it, CPU metrics are an error, never 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuUse>,
    /// Price of one GPU for one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_gpu_hour: Option<Sourced<Price>>,
    /// How well the step times reproduce what they were fitted to or compared with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<Validation>,
}

/// A serving engine and its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EngineVersion {
    /// vLLM, SGLang, TensorRT-LLM, ...
    pub name: String,
    /// Its version; `unknown` where the source does not say.
    pub version: String,
}

/// The GPUs of one replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gpu {
    /// Model name, e.g. `H100 SXM`.
    pub name: String,
    /// GPUs a replica holds.
    pub count: u32,
    /// Memory of each.
    pub memory: Bytes,
}

/// One stage of a start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartUpStage {
    /// Which stage; several entries of one stage add up.
    pub stage: Stage,
    /// What it is, where a stage has several entries: `graph capture`. `download` of a `weightLoad` is the way from their
    /// store to the node, which a scenario's `replica.weights` takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How long it takes.
    pub time: Sourced<Distribution>,
    /// How long it takes where an earlier start has filled the compile cache (a scenario's `replica.compileCache`). Default: the
    /// cache changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<Sourced<Distribution>>,
}

impl StartUpStage {
    /// Whether it brings the weights to the node.
    pub fn is_download(&self) -> bool {
        self.stage == Stage::WeightLoad && self.label.as_deref() == Some("download")
    }
}

/// A stage of a start, in the order they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Image pull and unpack.
    ImagePull,
    /// Container start.
    ContainerStart,
    /// Runtime and engine start: imports, CUDA context, process group.
    RuntimeInit,
    /// Weights to host and GPU memory, a download included.
    WeightLoad,
    /// Compile, autotune, memory profiling, graph capture, first pass.
    WarmUp,
}

impl Stage {
    /// The replica phase this stage is part of.
    pub const fn phase(self) -> Phase {
        match self {
            Self::ImagePull => Phase::Pulling,
            Self::ContainerStart | Self::RuntimeInit => Phase::Starting,
            Self::WeightLoad => Phase::Loading,
            Self::WarmUp => Phase::WarmingUp,
        }
    }

    /// The words shown.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ImagePull => "image pull",
            Self::ContainerStart => "container start",
            Self::RuntimeInit => "runtime init",
            Self::WeightLoad => "weight load",
            Self::WarmUp => "warm-up",
        }
    }
}

/// Where the weights of a sleeping replica are. Its GPU memory is free, its process goes on, its compiled code stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SleepLevels {
    /// In the host's memory (vLLM's sleep level 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_host_ram: Option<LevelTimes>,
    /// Nowhere: they are read again (vLLM's sleep level 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discarded: Option<LevelTimes>,
    /// In a snapshot of the whole process, which is restored (CRIU with cuda-checkpoint).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<LevelTimes>,
}

impl SleepLevels {
    /// Each level with its name.
    pub fn named(&self) -> [(&'static str, Option<&LevelTimes>); 3] {
        [
            ("inHostRam", self.in_host_ram.as_ref()),
            ("discarded", self.discarded.as_ref()),
            ("snapshot", self.snapshot.as_ref()),
        ]
    }
}

/// What sleeping takes at one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LevelTimes {
    /// Until it serves again.
    pub wake: Sourced<Distribution>,
    /// Until its memory is free. Default: as long as waking up, which is what published figures show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fall_asleep: Option<Sourced<Distribution>>,
}

/// Time of engine steps. The axes: B decoding sequences, K KV tokens they read,
/// P new prefill tokens, A prefill attention work (the sum of `n * (context + n/2)` over chunks).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepTimeSpec {
    /// Steps that only decode.
    pub decode: DecodeSpec,
    /// Steps that only prefill.
    pub prefill: PrefillSpec,
    /// Time of the linear layers. With it, mixed steps follow the sum rule
    /// `G(B+P) + attention`; without it, `decode + prefill - prefill(->0)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear_layers: Option<Sourced<LinearCurve>>,
    /// How far the figures behind fitted forms reach; a step beyond is counted as extrapolated.
    /// A grid's own ends count for the grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<MeasuredRange>,
}

/// Decode time. The grid is simulated where there is one, and the fit otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecodeSpec {
    /// A fitted form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<Sourced<DecodeFit>>,
    /// A measured grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<Sourced<DecodeGrid>>,
}

/// `base + perSequence * B + perKvToken * K`; the slope over B may change at hinges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecodeFit {
    /// ms.
    pub base_ms: f64,
    /// µs for each sequence, up to the first hinge.
    pub per_sequence_us: f64,
    /// ns for each KV token read.
    pub per_kv_token_ns: f64,
    /// Where the cost of a sequence changes, batch sizes increasing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hinges: Vec<Hinge>,
    /// Cross-validated errors of the fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<FitErrors>,
}

/// A change of slope over the batch size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hinge {
    /// Sequences beyond this many cost ..
    pub above_batch: u32,
    /// .. this many µs each.
    pub per_sequence_us: f64,
}

/// Measured decode time, interpolated in both directions and continued at its last slopes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecodeGrid {
    /// Batch size of each row, increasing.
    pub batches: Vec<u32>,
    /// KV tokens read (over the whole batch) of each column, increasing; at least two.
    pub kv_tokens: Vec<u64>,
    /// Median step time, µs, a row for each batch size.
    pub times_us: Vec<Vec<f64>>,
    /// Measured time over the roofline's, in the shape of `timesUs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roofline_ratios: Vec<Vec<f64>>,
}

/// Prefill time. The grid is simulated where there is one, and the planes otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrefillSpec {
    /// The largest of several planes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_planes: Option<Sourced<PrefillFit>>,
    /// A measured grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<Sourced<PrefillTimes>>,
}

/// The largest of several planes over P and A.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrefillFit {
    /// At least one.
    pub planes: Vec<PlaneSpec>,
    /// Cross-validated errors of the fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<FitErrors>,
}

/// `base + perToken * P + perWork * A`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaneSpec {
    /// ms.
    pub base_ms: f64,
    /// µs for each new token.
    pub per_token_us: f64,
    /// ns for each unit of attention work. Default: 0.
    #[serde(default)]
    pub per_work_ns: f64,
}

/// Measured prefill time of one chunk, interpolated in both directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrefillTimes {
    /// New tokens of each row, increasing; at least two.
    pub tokens: Vec<u64>,
    /// Tokens already in the cache of each column, increasing; at least one.
    pub contexts: Vec<u64>,
    /// Median time, µs, a row for each number of tokens.
    pub times_us: Vec<Vec<f64>>,
    /// Measured time over the roofline's, in the shape of `timesUs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roofline_ratios: Vec<Vec<f64>>,
}

/// Time of the linear layers over the tokens of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinearCurve {
    /// Tokens of each point, increasing; at least two.
    pub tokens: Vec<u64>,
    /// Median time of each point, µs.
    pub times_us: Vec<f64>,
    /// Prefill attention, ns for each unit of attention work.
    pub attention_per_work_ns: f64,
}

/// The largest values behind the fitted forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeasuredRange {
    /// Sequences in a batch.
    pub batch: u32,
    /// KV tokens read by a step.
    pub kv_tokens: u64,
    /// New tokens in a step.
    pub prefill_tokens: u64,
}

/// Time the host adds outside the GPU. A GPU probe cannot see it; a run against a server can.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostOverhead {
    /// From a request's arrival at the server until the engine can schedule it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_request: Option<Sourced<SimDuration>>,
    /// Added to every step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_step: Option<Sourced<SimDuration>>,
    /// Added to each token's way out. The tokens of a step leave together, so it is paid once a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_token: Option<Sourced<SimDuration>>,
}

/// CPU use of the pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CpuUse {
    /// Cores used while the engine has nothing to do.
    pub idle_cores: Sourced<Quantity>,
    /// Cores used while it runs steps.
    pub busy_cores: Sourced<Quantity>,
}

/// Relative errors of a fit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FitErrors {
    /// Mean absolute percentage error, 0.05 for 5 %.
    pub mape: f64,
    /// 95th percentile of the absolute relative error.
    pub p95: f64,
    /// Largest absolute relative error.
    pub max: f64,
    /// Points compared.
    pub points: u32,
}

/// One comparison of the profile with figures of a real system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Validation {
    /// What was compared: `mean TTFT`, `mean TPOT`.
    pub quantity: String,
    /// With what: the workload and the source.
    pub against: String,
    /// When.
    pub date: Date,
    /// The relative errors.
    pub errors: FitErrors,
}

impl Profile {
    /// The start-up stages as the simulator takes them: phase and time, in order.
    pub fn stages(&self) -> impl Iterator<Item = (Phase, &Distribution)> {
        self.start_up.iter().map(|s| (s.stage.phase(), &s.time.value))
    }

    /// Host time from a request's arrival until the engine can schedule it.
    pub fn per_request(&self) -> SimDuration {
        let sourced = self.host_overhead.as_ref().and_then(|h| h.per_request.as_ref());
        sourced.map_or(SimDuration::ZERO, |s| s.value)
    }

    /// Host time added to every step: per step, and per token as the tokens of a step leave together.
    pub fn per_step(&self) -> SimDuration {
        let of = |s: Option<&Sourced<SimDuration>>| s.map_or(SimDuration::ZERO, |s| s.value);
        self.host_overhead
            .as_ref()
            .map_or(SimDuration::ZERO, |h| of(h.per_step.as_ref()) + of(h.per_token.as_ref()))
    }

    /// Extra times of the first requests of a replica that nothing warmed.
    pub fn penalties(&self) -> &[SimDuration] {
        self.first_requests.as_ref().map_or(&[], |s| &s.value)
    }
}
