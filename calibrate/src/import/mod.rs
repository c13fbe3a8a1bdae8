//! Import: from logs, events and results that others left to raw records of our own.
//!
//! A file is known by what it holds, never by its name. What it lacks is said, not made up.
//! `read` takes one file; `merge` puts all of them together.

mod json;
mod kubernetes;
mod loads;
mod merge;
mod requests;
mod serving;
mod steps;

use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use self::json::Json;
use crate::logs::{self, Found, Reader};
use crate::raw::Record;
use crate::{Fault, Result, fault};

pub use merge::{Merged, merge};

/// What the files themselves do not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Requests of a batch, for results that leave it out.
    pub batch_size: Option<u32>,
    /// Prompt tokens, for results that leave them out.
    pub input_len: Option<u64>,
    /// Generated tokens, for results that leave them out.
    pub output_len: Option<u64>,
    /// The container of a pod to look at.
    pub container: Option<String>,
}

/// What a reader of a file saw in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Something it can use.
    Found(String),
    /// Something it lacks.
    Missing(String),
}

/// What one file, or one run in it, gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The file's name, without folders.
    pub file: String,
    /// What it was taken for.
    pub format: String,
    /// What was found in it and what was missing, each once.
    pub seen: Vec<Seen>,
    model: Option<String>,
    settings: Map<String, Value>,
    /// Records; series and runs count from 0.
    records: Vec<Record>,
    log: Option<Box<Found>>,
    /// Pods and events.
    objects: Vec<Value>,
}

impl Piece {
    fn new(format: impl Into<String>) -> Self {
        Self {
            file: String::new(),
            format: format.into(),
            seen: Vec::new(),
            model: None,
            settings: Map::new(),
            records: Vec::new(),
            log: None,
            objects: Vec::new(),
        }
    }

    fn seen(&mut self, seen: Seen) {
        if !self.seen.contains(&seen) {
            self.seen.push(seen);
        }
    }

    fn next_series(&self) -> u32 {
        self.records.iter().filter(|r| matches!(r, Record::Series(_))).count() as u32
    }
}

/// Larger files, unpacked, are refused.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// Every format there is, each with the lines or keys it is known by.
pub fn formats() -> Vec<(String, String)> {
    let logs = logs::formats().into_iter().map(|format| {
        let mut lines: Vec<&str> = format.lines.iter().map(|(says, _)| *says).collect();
        lines.dedup();
        (format!("{} log", format.engine), lines.join(", "))
    });
    let rest = [
        ("Kubernetes", "`kubectl get events,pods -o json`, together or apart"),
        ("vLLM bench serve", "--save-result, better with --save-detailed: completed, ttfts, itls"),
        (
            steps::LATENCY,
            "--output-json: avg_latency, latencies; with --batch-size, --input-len, --output-len",
        ),
        (steps::THROUGHPUT, "--output-json: elapsed_time, num_requests; with --input-len, --output-len"),
        (steps::STARTUP, "--output-json: cold_startup_times, warm_startup_times"),
        ("SGLang bench_serving", "--output-file, better with --output-details: completed, ttfts, itls"),
        (steps::ONE_BATCH, "--result-filename: batch_size, prefill_latency, median_decode_latency"),
        (loads::GUIDELLM, "benchmarks.json: benchmarks[].metrics, benchmarks[].requests"),
        (
            loads::AIPERF,
            "profile_export.jsonl: metadata, metrics; profile_export_aiperf.json and GenAI-Perf's: request_latency",
        ),
        (
            loads::INFERENCE_PERF,
            "per_request_lifecycle_metrics.json: start_time, info; summary_.. and stage_..: load_summary, successes",
        ),
        (steps::LLAMA, "--output-format jsonl: pp, tg, pl, t_pp, t_tg"),
    ];
    logs.chain(rest.map(|(name, keys)| (name.to_owned(), keys.to_owned()))).collect()
}

/// Reads one file, gzipped or not. `name` is how the user named it.
///
/// # Errors
/// A format nobody knows, a broken file (every broken line of it), or flags it needs.
pub fn read(name: &str, bytes: &[u8], options: &Options) -> Result<Vec<Piece>> {
    let unpacked;
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut all = Vec::new();
        let read = MultiGzDecoder::new(bytes).take(FILE_BYTES_MAX + 1).read_to_end(&mut all);
        read.map_err(|e| vec![Fault::in_file("E0705", name, format!("cannot be unpacked: {e}"))])?;
        unpacked = all;
        &unpacked[..]
    } else {
        bytes
    };
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(vec![Fault::in_file("E0705", name, "is larger than 2 GiB")]);
    }
    let text = String::from_utf8_lossy(bytes);
    let mut pieces = match json::parse(name, &text) {
        Some(Ok(json)) => read_json(name, json, options)?,
        // A log may hold lines of JSON, or begin like one.
        Some(Err(faults)) => vec![read_log(name, text.lines()).map_err(|_| faults)?],
        None => vec![read_log(name, text.lines())?],
    };
    for piece in &mut pieces {
        piece.file = base_name(name);
    }
    Ok(pieces)
}

/// `1 pod`, `2 pods`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The last part of a path or of a model's name: nothing of anybody's folders.
fn base_name(path: &str) -> String {
    path.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(path).to_owned()
}

fn unknown(name: &str) -> Vec<Fault> {
    let formats: Vec<String> = formats().into_iter().map(|(format, _)| format).collect();
    let message = format!("the file is none of the formats that are read: {}", formats.join(", "));
    let help = "`thawline-calibrate import --list` says what each is known by";
    vec![Fault::in_file("E0705", name, message).helped(help)]
}

fn read_log<'l>(name: &str, lines: impl Iterator<Item = &'l str>) -> Result<Piece> {
    let mut reader = Reader::new();
    lines.for_each(|line| reader.push(None, line));
    let Some(found) = reader.finish() else { return Err(unknown(name)) };
    let mut piece = Piece::new(format!("{} log", found.engine.name));
    let stages: usize = found.starts.iter().map(|s| s.stages.len()).sum();
    if stages > 0 {
        piece.seen(Seen::Found(format!(
            "{} of {}",
            counted(stages, "stage"),
            counted(found.starts.len(), "start")
        )));
    }
    if let Some(memory) = &found.memory {
        let known = [
            ("weights", memory.weights_bytes.is_some()),
            ("KV cache in bytes", memory.kv_cache_bytes.is_some()),
            ("KV cache in tokens", memory.kv_cache_tokens.is_some()),
            ("reserve", memory.reserve_per_gpu_bytes.is_some()),
        ];
        for (what, known) in known {
            piece.seen(if known { Seen::Found(what.to_owned()) } else { Seen::Missing(what.to_owned()) });
        }
    } else {
        piece.seen(Seen::Missing("memory".to_owned()));
    }
    if !found.settings.is_empty() {
        piece.seen(Seen::Found(counted(found.settings.len(), "setting")));
    }
    for note in found.starts.iter().flat_map(|s| &s.notes) {
        piece.seen(Seen::Missing(note.clone()));
    }
    piece.model.clone_from(&found.model);
    piece.settings.clone_from(&found.settings);
    piece.log = Some(Box::new(found));
    Ok(piece)
}

fn read_json(name: &str, json: Json, options: &Options) -> Result<Vec<Piece>> {
    let documents = match json {
        Json::Document(value) => vec![(1, value)],
        Json::Lines(lines) => lines,
    };
    let all = |is: fn(&Value) -> bool| documents.iter().all(|(_, value)| is(value));
    let values: Vec<&Value> = documents.iter().map(|(_, value)| value).collect();
    let wrong = |why: String| vec![Fault::in_file("E0705", name, why)];
    // Docker keeps a log as JSON lines.
    if all(|v| json::text(v, "/log").is_some() && json::text(v, "/time").is_some()) {
        let line = |v: &&Value| {
            format!(
                "{} {}",
                json::text(v, "/time").unwrap_or_default(),
                json::text(v, "/log").unwrap_or_default()
            )
        };
        let lines: Vec<String> = values.iter().map(line).collect();
        return read_log(name, lines.iter().map(String::as_str)).map(|piece| vec![piece]);
    }
    let together = [
        (steps::is_llama as fn(&Value) -> bool, steps::llama as fn(&[&Value]) -> Result<Piece, String>),
        (steps::is_one_batch, steps::one_batch),
        (loads::is_aiperf_line, loads::aiperf_lines),
    ];
    if let Some((_, read)) = together.into_iter().find(|(is, _)| all(*is)) {
        return read(&values).map(|piece| vec![piece]).map_err(wrong);
    }
    let (mut pieces, mut faults) = (Vec::new(), Vec::new());
    for (line, value) in &documents {
        let at = if documents.len() == 1 { String::new() } else { format!("line {line}: ") };
        match read_document(value, options) {
            Some(Ok(piece)) => pieces.push(piece),
            Some(Err(why)) => faults.extend(wrong(format!("{at}{why}"))),
            None if documents.len() == 1 => return Err(unknown(name)),
            None => faults.extend(fault("E0705", format!("{name}: {at}known to no format that is read"))),
        }
    }
    faults.truncate(20);
    if faults.is_empty() { Ok(pieces) } else { Err(faults) }
}

fn read_document(value: &Value, options: &Options) -> Option<Result<Piece, String>> {
    if kubernetes::detect(value) {
        return Some(Ok(cluster(value)));
    }
    if let Some(tool) = serving::detect(value) {
        return Some(serving::read(tool, value));
    }
    let known = [
        (loads::is_guidellm as fn(&Value) -> bool, loads::guidellm as fn(&Value) -> Result<Piece, String>),
        (loads::is_inference_perf, loads::inference_perf),
        (loads::is_inference_perf_requests, loads::inference_perf_requests),
        (loads::is_aiperf, loads::aiperf),
        (steps::is_startup, steps::startup),
    ];
    if let Some((_, read)) = known.into_iter().find(|(is, _)| is(value)) {
        return Some(read(value));
    }
    if steps::is_latency(value) {
        return Some(steps::latency(value, options));
    }
    steps::is_throughput(value).then(|| steps::throughput(value, options))
}

fn cluster(value: &Value) -> Piece {
    let mut piece = Piece::new("Kubernetes");
    piece.objects = kubernetes::objects(value).into_iter().cloned().collect();
    let pods = piece.objects.iter().filter(|o| kubernetes::is_pod(o)).count();
    let events = piece.objects.len() - pods;
    piece.seen(if pods > 0 { Seen::Found(counted(pods, "pod")) } else { Seen::Missing("pods".to_owned()) });
    let events_seen = counted(events, "event");
    piece.seen(if events > 0 {
        Seen::Found(events_seen)
    } else {
        Seen::Missing("events: image pulls".to_owned())
    });
    piece
}
