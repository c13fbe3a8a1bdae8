//! `import`: raw samples from logs, events and results of others.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};
use thawline::kernel::Bytes;
use thawline::profile::schema::{EngineVersion, Gpu};

use super::fit::FitArgs;
use super::{Answer, Exit, console};
use crate::import::{Merged, Options, Piece, Seen, formats, merge, read};
use crate::raw::{Done, Header, Kind, RAW_VERSION, RawWriter, Record};
use crate::{Fault, Result, fault};

const EXAMPLES: &str = "\
Examples:
  kubectl get events,pods -o json > pods.json
  kubectl logs POD --timestamps > engine.log
  thawline-calibrate import pods.json engine.log bench.json --raw l40s-llama.raw.jsonl \\
    --model 'Llama-3-8B BF16' --gpu L40S --gpu-count 1 --gpu-memory 48Gi
  thawline-calibrate import latency.json --batch-size 8 --input-len 512 --output-len 128
  thawline-calibrate import --list";

/// Read what others already logged: engine logs, Kubernetes events and pods, load tools' results.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ImportArgs {
    /// Logs, `kubectl get events,pods -o json`, results; gzipped or not. Known by what they hold.
    #[arg(required_unless_present = "list", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The raw file to write. Default: the profile's name with `.raw.jsonl`.
    #[arg(long, value_name = "OUT")]
    raw: Option<PathBuf>,
    /// Fit the profile at once and write it here.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Name of the profile to be: lower case with dashes.
    #[arg(long, default_value = "imported")]
    name: String,
    /// The model, with its precision; the files often tell the model alone.
    #[arg(long)]
    model: Option<String>,
    /// The engine and its version, where no log tells: `vLLM 0.19.0`.
    #[arg(long)]
    engine: Option<String>,
    /// The GPU: `H100 SXM`.
    #[arg(long, requires = "gpu_memory")]
    gpu: Option<String>,
    /// GPUs of a replica. Default: what a pod asks for, else 1.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    gpu_count: Option<u32>,
    /// Memory of each GPU: `80Gi`.
    #[arg(long, requires = "gpu")]
    gpu_memory: Option<Bytes>,
    /// The container to look at. Default: the one that asks for a GPU.
    #[arg(long)]
    container: Option<String>,
    /// Requests of a batch, for results that leave it out.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    /// Prompt tokens of a request, for results that leave them out.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    input_len: Option<u64>,
    /// Generated tokens of a request, for results that leave them out.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    output_len: Option<u64>,
    /// Say which formats are read and what each is known by.
    #[arg(long)]
    list: bool,
}

pub(super) fn run(args: &ImportArgs) -> Answer {
    if args.list {
        let lines = formats().into_iter().map(|(name, keys)| format!("{name}\n    {keys}\n"));
        console::print(&lines.collect::<String>());
        return Ok(Exit::Success);
    }
    let began = std::time::Instant::now();
    let raw = args.raw.clone().unwrap_or_else(|| PathBuf::from(format!("{}.raw.jsonl", args.name)));
    if raw.exists() {
        let message = format!("{}: the file exists already", raw.display());
        return Err(vec![Fault::error("E0706", message).helped("give another --raw, or remove the file")]);
    }
    let options = Options {
        batch_size: args.batch_size,
        input_len: args.input_len,
        output_len: args.output_len,
        container: args.container.clone(),
    };
    let pieces = read_all(&args.files, &options)?;
    console::print(&table(&pieces));
    let merged = merge(&pieces, &options)?;
    let header = header(args, &pieces, &merged);
    write(&raw, &header, &merged.records, began.elapsed().as_secs_f64())?;
    console::print(&format!("\n{}: {} records\n", raw.display(), merged.records.len()));
    if let Some(out) = &args.out {
        return super::fit::run(&FitArgs::of(&raw, out));
    }
    console::print(&format!("next: thawline-calibrate fit {} --out {}.yaml\n", raw.display(), args.name));
    Ok(Exit::Success)
}

/// Reads every file, so that all faults of all files are told at once.
fn read_all(files: &[PathBuf], options: &Options) -> Result<Vec<Piece>> {
    let (mut pieces, mut faults) = (Vec::new(), Vec::new());
    for path in files {
        let name = path.display().to_string();
        let bytes = std::fs::read(path)
            .map_err(|e| vec![Fault::in_file("E0401", &name, format!("cannot be read: {e}"))]);
        match bytes.and_then(|bytes| read(&name, &bytes, options)) {
            Ok(found) => pieces.extend(found),
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(pieces) } else { Err(faults) }
}

/// What each file was taken for, what was found in it, and what was missing.
fn table(pieces: &[Piece]) -> String {
    let width = pieces.iter().map(|p| p.file.chars().count()).max().unwrap_or(0);
    let list = |piece: &Piece, found: bool| {
        let words = piece.seen.iter().filter_map(|seen| match seen {
            Seen::Found(what) if found => Some(what.as_str()),
            Seen::Missing(what) if !found => Some(what.as_str()),
            _ => None,
        });
        words.collect::<Vec<_>>().join("; ")
    };
    let mut text = String::new();
    for piece in pieces {
        text += &format!("{:width$}  {}\n", piece.file, piece.format);
        for (word, found) in [("found", true), ("missing", false)] {
            let list = list(piece, found);
            if !list.is_empty() {
                text += &format!("{:width$}  {word:7}  {list}\n", "");
            }
        }
    }
    text
}

fn header(args: &ImportArgs, pieces: &[Piece], merged: &Merged) -> Header {
    let engine = args.engine.as_deref().map(|text| {
        let (name, version) = text.trim().rsplit_once(' ').unwrap_or((text.trim(), "unknown"));
        EngineVersion { name: name.to_owned(), version: version.to_owned() }
    });
    let gpus = merged.gpus.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    let count = args.gpu_count.or(gpus).unwrap_or(1);
    let gpu = args.gpu.clone().zip(args.gpu_memory).map(|(name, memory)| Gpu { name, count, memory });
    let mut formats: Vec<&str> = pieces.iter().map(|p| p.format.as_str()).collect();
    formats.sort_unstable();
    formats.dedup();
    let mut settings = Map::new();
    let files: Vec<Value> = pieces.iter().map(|p| p.file.clone().into()).collect();
    settings.insert("files".to_owned(), files.into());
    settings.extend(merged.settings.clone());
    Header {
        raw_version: RAW_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        kind: Kind::Import,
        created: jiff::Timestamp::now(),
        name: args.name.clone(),
        source: format!("imported: {}", formats.join(", ")),
        model: args.model.clone().or_else(|| merged.model.clone()),
        engine: engine.or_else(|| merged.engine.clone()),
        host: None,
        gpu,
        driver: None,
        settings,
    }
}

/// Writes the file whole beside its place, then moves it there: a kill leaves no half of it.
fn write(raw: &Path, header: &Header, records: &[Record], seconds: f64) -> Result<()> {
    let failed = |e: std::io::Error| fault("E0402", format!("cannot write {}: {e}", raw.display()));
    let folder = raw.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let beside = tempfile::tempdir_in(folder).map_err(failed)?;
    let staged = beside.path().join("staged.raw.jsonl");
    let mut writer = RawWriter::start_or_resume(&staged, header)?;
    for record in records {
        writer.push(record)?;
    }
    writer.push(&Record::Done(Done { seconds }))?;
    std::fs::rename(&staged, raw).map_err(failed)
}
