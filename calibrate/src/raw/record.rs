//! The records of a raw file. The first line is a [`Header`], the last of a complete file a [`Done`].

use serde::{Deserialize, Serialize};
use thawline::profile::schema::{EngineVersion, Gpu, Stage};

/// The only version of the raw format there is.
pub const RAW_VERSION: u32 = 1;

/// One line of a raw file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    /// What was measured, with what, when: always the first line.
    Header(Box<Header>),
    /// One start-up stage of one start.
    Stage(StageSample),
    /// Steps that only decode.
    Decode(DecodeSample),
    /// Steps that only prefill.
    Prefill(PrefillSample),
    /// The linear layers alone, over the tokens of a step.
    Linear(LinearSample),
    /// Decode attention alone.
    DecodeAttention(DecodeSample),
    /// Prefill attention alone.
    PrefillAttention(PrefillSample),
    /// Steps that decode some sequences and prefill others.
    Mixed(MixedSample),
    /// Capture of one CUDA graph.
    GraphCapture(GraphCaptureSample),
    /// The first passes of a fresh process, in order.
    WarmUp(WarmUpSample),
    /// Bytes moved from one place to another.
    Transfer(TransferSample),
    /// The start of a series of requests.
    Series(Series),
    /// One request against a server.
    Request(RequestSample),
    /// One layer of an image pull.
    Layer(LayerSample),
    /// One whole image pull.
    Pull(PullSample),
    /// Means of a load tool's run that kept no single requests.
    Benchmark(BenchmarkSample),
    /// Memory of a replica, as an engine's log or a model's shape gives it.
    Memory(MemorySample),
    /// Which file of another tool the records after it come from.
    Source(Source),
    /// Clocks, power, temperature and throttling of the device.
    Device(DeviceReading),
    /// Something a reader must know before trusting the figures.
    Flag(Flag),
    /// How long the measurement had taken by then, for a run that resumes it.
    Elapsed(Done),
    /// The measurement ran to its end.
    Done(Done),
}

/// Which way of calibrating wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// `gpu`: our own kernels on a device.
    Gpu,
    /// `server`: requests against a running engine.
    Server,
    /// `pull`: an image pull.
    Pull,
    /// `import`: logs, events and results of others.
    Import,
}

/// What was measured, with what, and when. Fields that a source cannot know stay out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// [`RAW_VERSION`].
    pub raw_version: u32,
    /// Version of thawline-calibrate.
    pub tool_version: String,
    /// Which way of calibrating.
    pub kind: Kind,
    /// When it began, UTC, RFC 3339. Its date becomes the date of every figure.
    pub created: jiff::Timestamp,
    /// Name of the profile to be: lower case with dashes.
    pub name: String,
    /// How it was measured, in a few words: becomes the `source` of every figure.
    pub source: String,
    /// The model, with its precision: `Llama-3-8B BF16`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineVersion>,
    /// The kind of machine: instance type, CPU, storage. Never a host's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The GPUs of a replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
    /// GPU driver version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The plan's own settings (`--quick`, shape, engine flags), for people and for resuming:
    /// a file is only continued by a run with the same ones.
    #[serde(default)]
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// State of the caches before a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cache {
    /// Page cache, compile cache or image store held nothing of it.
    Cold,
    /// They held all of it.
    Warm,
}

/// One start-up stage of one start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageSample {
    /// Which stage.
    pub stage: Stage,
    /// What it is, where a stage has several parts: `graph capture`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// State of the caches, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// Which start it belongs to, from 0.
    pub run: u32,
    /// s.
    pub seconds: f64,
    /// Bytes it moved, where its time goes with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Where the figure was read: `vLLM log: Loading weights took`.
    pub source: String,
}

/// How a step was launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Launch {
    /// Kernel by kernel.
    Eager,
    /// As a captured graph.
    Graph,
}

/// Repeated timings of one point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timing {
    /// Every sample, µs, in the order taken.
    pub samples_us: Vec<f64>,
    /// Time the roofline allows, µs, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roofline_us: Option<f64>,
    /// How it was launched, where that makes a difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<Launch>,
    /// Whether it was taken again at the end, to see drift.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeat: bool,
}

/// Decode of `batch` sequences that read `kv_tokens` KV tokens together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecodeSample {
    /// B.
    pub batch: u32,
    /// K, over the whole batch.
    pub kv_tokens: u64,
    /// The timings.
    pub timing: Timing,
}

/// Prefill of one chunk of `tokens` after `context` tokens already in the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrefillSample {
    /// P.
    pub tokens: u64,
    /// Tokens already in the cache.
    pub context: u64,
    /// The timings.
    pub timing: Timing,
}

/// The linear layers over `tokens` rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinearSample {
    /// Rows: B + P.
    pub tokens: u64,
    /// The timings.
    pub timing: Timing,
}

/// One step that decodes and prefills.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MixedSample {
    /// B.
    pub batch: u32,
    /// K.
    pub kv_tokens: u64,
    /// P, of one chunk.
    pub tokens: u64,
    /// Tokens of that chunk's sequence already in the cache.
    pub context: u64,
    /// The timings.
    pub timing: Timing,
}

/// Capture of the graph of one batch size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GraphCaptureSample {
    /// B.
    pub batch: u32,
    /// Capture and instantiation, µs.
    pub capture_us: f64,
    /// First launch after it, µs.
    pub first_launch_us: f64,
}

/// The first passes of a fresh process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WarmUpSample {
    /// `decode` or `prefill`, with its size: `decode 1x512`.
    pub pass: String,
    /// µs of pass 1, 2, ..
    pub samples_us: Vec<f64>,
}

/// Bytes moved, several times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransferSample {
    /// What: `storage read, O_DIRECT`, `host to device, pinned`, `weight load, double-buffered`.
    pub what: String,
    /// State of the page cache, where it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// Share of the file that was in the page cache just before, by mincore; 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_share: Option<f64>,
    /// Type of the file system the file lies on: `ext4`, `overlay`, `nfs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_system: Option<String>,
    /// Bytes of one sample.
    pub bytes: u64,
    /// Threads that moved them.
    pub threads: u32,
    /// Bytes of one operation.
    pub block_bytes: u64,
    /// s of each sample.
    pub seconds: Vec<f64>,
}

/// A series of requests and what it is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Series {
    /// Its number, from 0.
    pub series: u32,
    /// What it varies.
    pub load: Load,
}

/// How requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Load {
    /// The first requests of a fresh server, one after the other.
    First {
        /// Which start of the server, from 0.
        run: u32,
    },
    /// One at a time, over prompt lengths.
    Prompts,
    /// `clients` at a time, each sending the next when the last one ends.
    Closed {
        /// Clients.
        clients: u32,
    },
    /// At random times, whatever the server does.
    Poisson {
        /// Requests a second.
        per_second: f64,
    },
}

/// One streaming request, all times in ns since the series began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestSample {
    /// The series it belongs to.
    pub series: u32,
    /// Its number in the series, in the order sent.
    pub request: u32,
    /// When it should have been sent; later than that is the client's own lag.
    pub due_ns: u64,
    /// When its first byte was sent.
    pub sent_ns: u64,
    /// When its last event arrived; of one that failed, when it ended, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_ns: Option<u64>,
    /// Arrival of each event that carried text. One event may hold several tokens or none.
    pub events_ns: Vec<u64>,
    /// Prompt tokens, from `usage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Of these, tokens that came from the prefix cache, where the server says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// Generated tokens, from `usage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// What went wrong, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One layer of one pull; times in ns since the pull began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerSample {
    /// The pull it belongs to.
    pub pull: u32,
    /// Its place in the manifest, from 0.
    pub layer: u32,
    /// Media type.
    pub media_type: String,
    /// Bytes as stored in the registry.
    pub compressed_bytes: u64,
    /// Bytes of the tar.
    pub raw_bytes: u64,
    /// Entries of the tar.
    pub files: u64,
    /// The download: asked, first byte of the answer, last byte. None where a layout was read instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_ns: Option<[u64; 3]>,
    /// Time of hashing alone, ns.
    pub verify_ns: u64,
    /// Time of decompression alone, ns.
    pub decompress_ns: u64,
    /// Decompress and unpack to disk: begin and end.
    pub unpack_ns: [u64; 2],
}

/// One whole pull.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PullSample {
    /// Its number, from 0.
    pub pull: u32,
    /// Parallel downloads; 0 where a layout was read.
    pub connections: u32,
    /// Until the manifest was there (authentication included), ns.
    pub manifest_ns: u64,
    /// The whole pull, ns.
    pub total_ns: u64,
}

/// Means of a load tool's run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BenchmarkSample {
    /// The tool and the file's own name of the run.
    pub tool: String,
    /// Mean prompt tokens.
    pub prompt_tokens: f64,
    /// Mean generated tokens.
    pub output_tokens: f64,
    /// Mean requests in flight.
    pub concurrency: f64,
    /// TTFT, ms: the median where the tool gives it, else the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<f64>,
    /// ITL, ms: the median where the tool gives it, else the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itl_ms: Option<f64>,
    /// A whole request, ms: where the tool tells nothing finer, the time of the whole batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// Requests behind it.
    pub requests: u64,
}

/// A file of another tool: the records after this one, up to the next, come from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// Its name, without folders; several where records come from several files together.
    pub file: String,
    /// What it was taken for: `vLLM log`, `GuideLLM`.
    pub format: String,
}

/// Memory of a replica, bytes over all its GPUs. A source tells what it knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemorySample {
    /// Weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_bytes: Option<u64>,
    /// KV cache of one token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_bytes_per_token: Option<f64>,
    /// KV cache in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache_tokens: Option<u64>,
    /// KV cache in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache_bytes: Option<u64>,
    /// Activations, graphs and context, on each GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve_per_gpu_bytes: Option<u64>,
    /// Where it was read.
    pub source: String,
}

/// State of the device at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceReading {
    /// When: `before decode`, `at the end`.
    pub when: String,
    /// MHz.
    pub sm_clock_mhz: Option<u32>,
    /// MHz.
    pub memory_clock_mhz: Option<u32>,
    /// °C.
    pub temperature_c: Option<u32>,
    /// W.
    pub power_w: Option<f64>,
    /// Reasons for lower clocks that were active, other than being idle.
    pub throttle: Vec<String>,
}

/// Something a reader must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Flag {
    /// A short stable word: `attentionKernelSlow`, `drift`, `throttled`, `belowRoofline`.
    pub flag: String,
    /// The whole sentence.
    pub message: String,
}

/// Time spent on a measurement; as [`Record::Done`], the end of a complete file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Done {
    /// Wall time of the measurement, s, resumed parts added up.
    pub seconds: f64,
}
