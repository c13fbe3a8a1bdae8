//! All pieces as the records of one raw file: runs and series numbered through, a pod's time
//! to ready split by the log of its engine, every record after the file it comes from.

use serde_json::{Map, Value};
use thawline::profile::schema::EngineVersion;

use super::kubernetes::{self, BOOT, PodStart};
use super::{Options, Piece, steps};
use crate::logs::{NO_PROCESS_START, Start};
use crate::raw::{Flag, Load, Record, Source, StageSample};
use crate::{Fault, Result};

/// What all files say together.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The records, without a header and an end.
    pub records: Vec<Record>,
    /// The engine, if a log names it.
    pub engine: Option<EngineVersion>,
    /// The model, if a file names it.
    pub model: Option<String>,
    /// GPUs of the pod, if a pod names them.
    pub gpus: Option<u64>,
    /// Settings of the engine and of the load tools; of two, the first file's.
    pub settings: Map<String, Value>,
}

/// Stamps of a cluster are cut to 1 s, at both ends, s.
const BLUR_S: f64 = 2.0;

/// Puts the pieces together, in their order; pods and logs first.
///
/// # Errors
/// Logs of different engines, no pod with the container asked for, or nothing to keep.
pub fn merge(pieces: &[Piece], options: &Options) -> Result<Merged> {
    let mut faults = Vec::new();
    let logs: Vec<&Piece> = pieces.iter().filter(|p| p.log.is_some()).collect();
    let engines: Vec<&EngineVersion> = logs.iter().filter_map(|p| Some(&p.log.as_ref()?.engine)).collect();
    if let Some(other) = engines.iter().find(|e| e.name != engines[0].name) {
        let message =
            format!("there are logs of {} and of {}: import them apart", engines[0].name, other.name);
        faults.push(Fault::error("E0706", message));
    }
    let objects: Vec<&Value> = pieces.iter().flat_map(|p| &p.objects).collect();
    let pods = kubernetes::starts(&objects, options.container.as_deref()).unwrap_or_else(|why| {
        faults.push(Fault::error("E0705", why));
        Vec::new()
    });
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut merged = Merged {
        records: Vec::new(),
        engine: engines.iter().find(|e| e.version != "unknown").or(engines.first()).map(|&e| e.clone()),
        model: pieces.iter().find_map(|p| p.model.clone()),
        gpus: pods.iter().find_map(|p| p.gpus),
        settings: Map::new(),
    };
    for (key, value) in pieces.iter().flat_map(|p| &p.settings) {
        merged.settings.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let boots = pods.iter().flat_map(|pod| &pod.stages).any(|s| s.label.as_deref() == Some(BOOT));
    let next_run = starts(&mut merged.records, pieces, &logs, pods);
    others(&mut merged.records, pieces, next_run, boots || !logs.is_empty());
    if merged.records.iter().all(|r| matches!(r, Record::Source(_) | Record::Flag(_))) {
        let message = "the files hold nothing that was measured";
        return Err(vec![Fault::error("E0707", message)]);
    }
    Ok(merged)
}

fn source<'p>(pieces: impl Iterator<Item = &'p Piece>) -> Record {
    let (mut files, mut formats): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for piece in pieces {
        files.push(&piece.file);
        formats.push(&piece.format);
    }
    files.dedup();
    formats.dedup();
    Record::Source(Source { file: files.join(", "), format: formats.join(", ") })
}

/// Pods and engine starts. Answers the first free run.
fn starts(records: &mut Vec<Record>, pieces: &[Piece], logs: &[&Piece], mut pods: Vec<PodStart>) -> u32 {
    let mut of_logs: Vec<(&Piece, &Start)> = Vec::new();
    for piece in logs {
        of_logs.extend(piece.log.iter().flat_map(|log| &log.starts).map(|start| (*piece, start)));
    }
    let paired = split_boots(&mut pods, &of_logs);
    let mut run = 0;
    if !pods.is_empty() {
        records.push(source(pieces.iter().filter(|p| !p.objects.is_empty())));
    }
    for pod in pods {
        records.extend(pod.records(run));
        run += 1;
    }
    let mut own_run = if paired { 0 } else { run };
    let mut last_file = None;
    for (piece, start) in of_logs {
        if last_file.replace(&piece.file) != Some(&piece.file) {
            records.push(source(std::iter::once(piece)));
            records.extend(piece.log.iter().filter_map(|log| log.memory.clone()).map(Record::Memory));
        }
        records.extend(start.stages.iter().map(|s| Record::Stage(StageSample { run: own_run, ..s.clone() })));
        let notes = start.notes.iter().filter(|note| !paired || *note != NO_PROCESS_START);
        records.extend(notes.map(|note| flag("logIncomplete", note.clone())));
        own_run += 1;
    }
    run.max(own_run)
}

fn flag(word: &str, message: String) -> Record {
    Record::Flag(Flag { flag: word.to_owned(), message })
}

/// Replaces the pods' time to ready by what the logs split it into. Answers whether each
/// pod has a log of its own: as many of both, in order of time.
fn split_boots(pods: &mut [PodStart], logs: &[(&Piece, &Start)]) -> bool {
    let ready: Vec<f64> = logs.iter().filter_map(|(_, start)| start.seconds).collect();
    let boots = |pod: &PodStart| pod.stages.iter().position(|s| s.label.as_deref() == Some(BOOT));
    if ready.is_empty() || pods.is_empty() {
        return false;
    }
    let fits = |pod: &PodStart, seconds: &f64| {
        boots(pod).is_some_and(|at| pod.stages[at].seconds - seconds > -BLUR_S)
    };
    let pods_as_logs = ready.len() == logs.len() && pods.len() == logs.len();
    let paired = pods_as_logs && pods.iter().zip(&ready).all(|(pod, seconds)| fits(pod, seconds));
    for (at, pod) in pods.iter_mut().enumerate() {
        let Some(boot) = boots(pod) else { continue };
        let before = pod.stages[boot].seconds - ready.get(at).copied().unwrap_or(0.0);
        if paired && before > 0.0 {
            let stage = &mut pod.stages[boot];
            stage.seconds = before;
            stage.label = Some("container start to first log line".to_owned());
            stage.source += ", less the start in the log";
        } else {
            pod.stages.remove(boot);
        }
        if !paired {
            let why =
                if pods_as_logs { "a log's start is longer" } else { "the logs cannot be told apart by pod" };
            let message = format!(
                "a pod's time to ready is left out: logs split it, but {why}; the time before their first line is missing"
            );
            pod.flags.push(Flag { flag: "bootReplaced".to_owned(), message });
        }
    }
    paired
}

/// The benchmark results, their runs and series numbered on. `started`: pods or logs tell how
/// long a start takes.
fn others(records: &mut Vec<Record>, pieces: &[Piece], mut run: u32, started: bool) {
    let mut next_series = 0;
    for piece in pieces.iter().filter(|p| !p.records.is_empty()) {
        records.push(source(std::iter::once(piece)));
        if started && piece.format == steps::STARTUP {
            let message =
                "its start-up times are left out: logs or pods tell the same, and they would count twice";
            records.push(flag("startUpLeftOut", message.to_owned()));
            continue;
        }
        let (first_run, first_series) = (run, next_series);
        for record in &piece.records {
            let mut record = record.clone();
            match &mut record {
                Record::Stage(stage) => {
                    stage.run += first_run;
                    run = run.max(stage.run + 1);
                }
                Record::Series(series) => {
                    series.series += first_series;
                    next_series = series.series + 1;
                    if let Load::First { run: of } = &mut series.load {
                        *of += first_run;
                    }
                }
                Record::Request(request) => request.series += first_series,
                _ => {}
            }
            records.push(record);
        }
    }
}
