//! The whole measurement, in order: what only fresh processes pay, copies and storage, weights
//! end to end, then the steps of a loaded model. Each part goes on where a killed run stopped.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thawline::kernel::Bytes;
use thawline::profile::schema::{EngineVersion, Gpu};

use super::backend::{Backend, Device};
use super::fresh::{self, Launcher, Probe, WarmUp};
use super::log::Log;
use super::measure::Bench;
use super::points::Extent;
use super::progress::Progress;
use super::sample::Effort;
use super::shape::Shape;
use super::weights::WeightFiles;
use super::{Kind, storage, transfer};
use crate::raw::{self, Header, MemorySample, RAW_VERSION, Record};
use crate::{Result, fault};

/// Share of the memory kept free for activations, graphs and the context.
const RESERVE_SHARE: f64 = 0.05;
/// Largest KV cache on a CPU: more would only be slow.
const CPU_CACHE_TOKENS: u64 = 16_384;
/// Smaller caches that are tried where memory does not suffice.
const LOAD_ATTEMPTS: u32 = 4;

/// What to measure, and with what.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kind of device.
    pub kind: Kind,
    /// Its number.
    pub device: u32,
    /// One GPU's share of the model.
    pub shape: Shape,
    /// Less than a minute instead of less than five.
    pub quick: bool,
    /// Share of the memory that an engine would use.
    pub utilization: f64,
    /// Weight files to load; without them, files with random values are written.
    pub model_dir: Option<PathBuf>,
    /// Where these are written.
    pub work_dir: PathBuf,
    /// Most bytes of weights written and loaded.
    pub weight_bytes: u64,
    /// Name of the profile; made of the model and the device where there is none.
    pub name: Option<String>,
    /// How the program runs itself again.
    pub launcher: Launcher,
}

/// The device: it is opened to learn its name, and closed again, so that it is free for
/// the processes that come first.
///
/// # Errors
/// E0701 if there is no such device.
pub fn identify(options: &Options) -> Result<Device> {
    Ok(options.kind.open(options.device)?.device().clone())
}

/// The header of a measurement.
pub fn header(options: &Options, device: &Device) -> Header {
    let Options { shape, kind, .. } = options;
    let precision = if *kind == Kind::Cpu { "F32" } else { "BF16" };
    let mut settings = serde_json::Map::new();
    let mut set = |key: &str, value: serde_json::Value| settings.insert(key.to_owned(), value);
    set("backend", kind.name().into());
    set("quick", options.quick.into());
    set("utilization", options.utilization.into());
    set("weightBytes", options.weight_bytes.into());
    set("modelFiles", options.model_dir.is_some().into());
    set("rooflineSource", device.roofline_source.clone().into());
    set("shape", serde_json::to_value(shape).expect("a shape holds nothing that JSON cannot"));
    let name = options.name.clone().unwrap_or_else(|| slug(&format!("{}-{}", shape.name, device.name)));
    Header {
        raw_version: RAW_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        kind: raw::Kind::Gpu,
        created: jiff::Timestamp::now(),
        name,
        source: format!("thawline-calibrate gpu --backend {}, own kernels on {}", kind.name(), device.name),
        model: Some(format!("{} {precision}", shape.name)),
        engine: Some(EngineVersion {
            name: "thawline-calibrate".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }),
        host: Some(super::cpu::host()),
        gpu: Some(Gpu {
            name: device.name.clone(),
            count: shape.tensor_parallel,
            memory: Bytes(device.memory),
        }),
        driver: device.driver.clone(),
        settings,
    }
}

/// Lower case, everything but letters, digits and dots as single dashes.
fn slug(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// Measures everything into a raw file.
///
/// # Errors
/// E0701 without a device, E0706 for a raw file of something else, E0709 if the device breaks;
/// what was measured before is in the raw file.
pub fn measure(options: &Options, device: &Device, raw_file: &Path, progress: &dyn Progress) -> Result<Log> {
    let began = Instant::now();
    let mut log = Log::open(raw_file, &header(options, device))?;
    if !log.records().is_empty() {
        let text = format!("going on after {} records of an unfinished run", log.records().len());
        progress.note(&text);
    }
    remarks(options, device, &mut log)?;
    first_use(options, &mut log, progress)?;
    let mut backend = options.kind.open(options.device)?;
    files(options, backend.as_mut(), &mut log, progress)?;
    let tokens = load(options, backend.as_mut(), &mut log, progress)?;
    progress.phase("kernels compared with plain computations", 0);
    for flag in backend.verify()? {
        log.flag(&flag.flag, flag.message)?;
    }
    let whole = match options.kind {
        Kind::Cuda => Extent::gpu(options.quick),
        Kind::Cpu => Extent::cpu(options.quick),
    };
    let mut extent = whole.clone().fitting(tokens);
    if extent.batches.len() < whole.batches.len() {
        let most = extent.batches.last().copied().unwrap_or(1);
        let text = format!("the KV cache of {tokens} tokens is too small for batches above {most}");
        log.flag("batchesLeftOut", text)?;
    }
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    // What came before may have taken longer than planned; the steps get what is left.
    let left = total(options.quick).saturating_sub(began.elapsed());
    extent.limit = left.max(extent.limit / 2);
    let mut bench = Bench { backend: backend.as_mut(), shape: &options.shape, effort };
    for phase in extent.phases(tokens) {
        bench.run(&phase, &mut log, progress)?;
    }
    log.finish()?;
    Ok(log)
}

/// Time the whole measurement is to take.
const fn total(quick: bool) -> Duration {
    if quick { Duration::from_secs(50) } else { Duration::from_secs(270) }
}

/// What the reader must know of every measurement of this kind.
fn remarks(options: &Options, device: &Device, log: &mut Log) -> Result<()> {
    let shape = &options.shape;
    let gpus = u64::from(shape.tensor_parallel);
    let memory = Record::Memory(MemorySample {
        weights_bytes: Some(shape.weight_bytes() * gpus),
        kv_bytes_per_token: Some((shape.kv_bytes_per_token() * gpus) as f64),
        source: format!("the shape of {}, bf16", shape.name),
        ..MemorySample::default()
    });
    if !log.has(|r| *r == memory) {
        log.push(memory)?;
    }
    if options.kind == Kind::Cpu {
        let text = format!("measured in f32 on one thread of {}; these are no times of a GPU", device.name);
        log.flag("cpuBackend", text)?;
    }
    if gpus > 1 {
        let text = format!("one of {gpus} shards was measured alone: no all-reduce is in its times");
        log.flag("shardAlone", text)?;
    }
    let upper = "prefill attention is a chain of general matrix products: an upper bound of fused kernels";
    if options.kind == Kind::Cuda { log.flag("prefillAttentionUpperBound", upper) } else { Ok(()) }
}

fn first_use(options: &Options, log: &mut Log, progress: &dyn Progress) -> Result<()> {
    let Options { launcher, quick, .. } = options;
    let tokens = if options.kind == Kind::Cpu { 64 } else { 512 };
    let curve = |batch, context, prefill| {
        Probe::WarmUp(Box::new(WarmUp { shape: options.shape.clone(), batch, context, prefill }))
    };
    let parts = [Probe::Context, Probe::Compile, Probe::Blas];
    let limit = Duration::from_secs(if *quick { 8 } else { 40 });
    fresh::run(launcher, &parts, if *quick { 2 } else { 5 }, limit, log, progress)?;
    let curves = [curve(1, tokens, 0), curve(0, 0, tokens)];
    fresh::run(launcher, &curves, if *quick { 1 } else { 2 }, limit, log, progress)
}

/// Copies, storage, and weights end to end. A fault here leaves the steps still to be measured.
fn files(options: &Options, backend: &mut dyn Backend, log: &mut Log, progress: &dyn Progress) -> Result<()> {
    let (samples, bytes) = match (options.kind, options.quick) {
        (Kind::Cpu, _) => (3, 4 << 20),
        (Kind::Cuda, true) => (3, 256 << 20),
        (Kind::Cuda, false) => (5, 1 << 30),
    };
    let copied = transfer::copies(bytes, samples, backend, log, progress);
    keep_on("copies", copied, log)?;
    let is_load = |r: &&Record| matches!(r, Record::Transfer(t) if t.what.starts_with("weight load"));
    if log.records().iter().filter(is_load).count() >= transfer::LOADS {
        return Ok(());
    }
    let limit = Duration::from_secs(if options.quick { 8 } else { 45 });
    let loaded = with_files(options, progress, |files| {
        let (largest, bytes) = files
            .files
            .iter()
            .max_by_key(|(_, bytes)| *bytes)
            .ok_or_else(|| fault("E0709", "there are no weight files"))?;
        let samples = if options.quick { 1 } else { 2 };
        storage::run(largest, (*bytes).min(options.weight_bytes), samples, limit, log, progress)?;
        transfer::load_weights(files, options.weight_bytes, backend, limit, log, progress)
    });
    keep_on("storage and weight load", loaded, log)
}

/// Hands out the weight files, written for the occasion if there is no model's directory.
fn with_files(
    options: &Options,
    progress: &dyn Progress,
    work: impl FnOnce(&WeightFiles) -> Result<()>,
) -> Result<()> {
    if let Some(folder) = &options.model_dir {
        return work(&WeightFiles::of_directory(folder)?);
    }
    let bytes = options.shape.weight_bytes().min(options.weight_bytes);
    progress.phase(&format!("writing {:.2} GB of random weights", bytes as f64 / 1e9), 0);
    let folder = tempfile::Builder::new().prefix("thawline-weights-").tempdir_in(&options.work_dir);
    let folder = folder.map_err(|e| fault("E0709", format!("cannot write to the work directory: {e}")))?;
    let files = WeightFiles::write(folder.path(), &options.shape, bytes)?;
    work(&files)
}

/// A probe that failed is flagged; only a raw file that cannot be written ends the run.
fn keep_on(what: &str, result: Result<()>, log: &mut Log) -> Result<()> {
    let Err(faults) = result else { return Ok(()) };
    let why: Vec<String> = faults.into_iter().map(|f| f.message).collect();
    log.flag("probeFailed", format!("{what}: {}", why.join("; ")))
}

/// Loads the model with as large a KV cache as an engine would have; the tokens it holds.
fn load(options: &Options, backend: &mut dyn Backend, log: &mut Log, progress: &dyn Progress) -> Result<u64> {
    let mut tokens = cache_tokens(options, backend.device())?;
    progress.phase(&format!("loading {} with room for {tokens} KV tokens", options.shape.name), 0);
    for attempt in 1.. {
        match backend.load(&options.shape, tokens) {
            Ok(()) => break,
            Err(faults) if attempt == LOAD_ATTEMPTS => return Err(faults),
            Err(faults) => {
                let smaller = tokens * 3 / 4;
                let text =
                    format!("{tokens} KV tokens did not fit ({}), {smaller} are tried", faults[0].message);
                log.flag("kvCacheSmaller", text)?;
                tokens = smaller;
            }
        }
    }
    Ok(tokens)
}

/// `(memory * utilization - weights - reserve) / bytes of a token`.
fn cache_tokens(options: &Options, device: &Device) -> Result<u64> {
    let Options { shape, utilization, .. } = options;
    if options.kind == Kind::Cpu {
        return Ok(CPU_CACHE_TOKENS);
    }
    let memory = device.memory as f64;
    let left = memory * utilization - shape.weight_bytes() as f64 - memory * RESERVE_SHARE;
    let tokens = (left / shape.kv_bytes_per_token() as f64).floor();
    if tokens < 4096.0 {
        let gb = |bytes: f64| bytes / 1e9;
        let text = format!(
            "{} does not fit {}: {:.1} GB x {utilization} less {:.1} GB of weights and {:.1} GB of reserve leave \
             no KV cache of 4096 tokens",
            shape.name,
            device.name,
            gb(memory),
            gb(shape.weight_bytes() as f64),
            gb(memory * RESERVE_SHARE),
        );
        let mut faults = fault("E0709", text);
        faults[0].help.push("split it with --tensor-parallel, or measure a smaller --shape".to_owned());
        return Err(faults);
    }
    Ok(tokens as u64)
}
