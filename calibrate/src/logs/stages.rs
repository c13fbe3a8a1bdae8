//! From known lines to stages: durations that a line states win over differences of stamps,
//! the slowest process counts, and no second counts twice.

use std::collections::{BTreeMap, BTreeSet};

use thawline::profile::schema::Stage;

use super::patterns::{Engine, Kind, Repeat, Scope, StageRow, TABLE};
use super::reader::{Hit, Start};
use super::stamp::Clock;
use crate::raw::{MemorySample, StageSample};

/// The note of a start whose log begins after the process.
pub const NO_PROCESS_START: &str =
    "the log does not say when the process began: the time before its first line is missing";

/// What the parts of one fact of one process are.
type Parts<'h> = BTreeMap<&'h str, f64>;

/// The facts of one start.
#[derive(Default)]
struct Facts {
    /// s; the slowest process.
    durations: BTreeMap<&'static str, (f64, &'static str)>,
    /// s on the clock of the log.
    marks: BTreeMap<&'static str, (f64, &'static str)>,
}

/// The stages of one start. `first` is the time of its first line; `with_process` says that
/// the log begins with the process itself.
pub(super) fn start(
    engine: &'static Engine,
    hits: &[Hit],
    clock: Clock,
    first: Option<f64>,
    with_process: bool,
    run: u32,
) -> Start {
    let mut facts = facts(hits, clock);
    let ready = facts.marks.get("ready").copied();
    let process = with_process && matches!(clock, Clock::Received | Clock::Elapsed);
    if process {
        facts.marks.insert("start", (0.0, "process start"));
    }
    if let Some(first) = first {
        facts.marks.insert("first", (first, "first line"));
    }
    let mut start = Start {
        ready: hits.iter().any(|h| TABLE.patterns[h.pattern].kind == Kind::Ready),
        ..Start::default()
    };
    let bytes = weights(&Bytes::of(hits), world(hits)).map(|b| b as u64);
    let mut done: BTreeMap<&str, f64> = BTreeMap::new();
    for row in TABLE.stages.iter().filter(|row| row.engines.contains(&engine.name)) {
        let known =
            |name: &String| facts.durations.contains_key(&**name) || facts.marks.contains_key(&**name);
        if row.unless.iter().any(known) || !row.needs.iter().all(known) {
            continue;
        }
        let Some((seconds, says)) = time(row, &facts) else { continue };
        let less: f64 = row.less.iter().filter_map(|label| done.get(&**label)).sum();
        let seconds = seconds - less;
        if seconds <= 0.0 {
            continue;
        }
        *done.entry(&row.label).or_default() += seconds;
        start.stages.push(StageSample {
            stage: row.stage,
            label: Some(row.label.clone()),
            cache: None,
            run,
            seconds,
            bytes: if row.bytes { bytes } else { None },
            source: format!("{} log: {says}", engine.name),
        });
    }
    if !start.ready {
        start.notes.push("the log ends before the engine is ready".to_owned());
    }
    if with_process && !process {
        start.notes.push(NO_PROCESS_START.to_owned());
    }
    let origin = facts.marks.get("start").or_else(|| facts.marks.get("first"));
    let Some((total, (_, says))) = ready.zip(origin).map(|((to, _), (from, says))| (to - from, (from, says)))
    else {
        return start;
    };
    start.seconds = (total >= 0.0).then_some(total);
    add_rest(engine, &mut start, total, clock, says, run);
    start
}

/// What no stage explains is a stage too, so that the stages add up to the whole start.
fn add_rest(engine: &Engine, start: &mut Start, total: f64, clock: Clock, says: &str, run: u32) {
    let explained: f64 = start.stages.iter().map(|s| s.seconds).sum();
    let rest = total - explained;
    // Two stamps, each cut off at the clock's resolution.
    let blur = 2.0 * clock.resolution();
    if rest > 1e-9 {
        start.stages.push(StageSample {
            stage: Stage::RuntimeInit,
            label: Some("rest, not split".to_owned()),
            cache: None,
            run,
            seconds: rest,
            bytes: None,
            source: format!("{} log: from {says} to ready, less the other stages", engine.name),
        });
    } else if rest < -blur {
        let what =
            format!("the stages add up to {explained:.1} s, and the start took {total:.1} s: some overlap");
        start.notes.push(what);
    }
}

/// A stage's time and what it was read from.
fn time(row: &StageRow, facts: &Facts) -> Option<(f64, String)> {
    for sum in &row.seconds {
        let known: Vec<_> = sum.split('+').filter_map(|name| facts.durations.get(name)).collect();
        if !known.is_empty() {
            let says: Vec<&str> = known.iter().map(|(_, says)| *says).collect();
            return Some((known.iter().map(|(seconds, _)| seconds).sum(), says.join(" + ")));
        }
    }
    let mark = |names: &[String]| names.iter().find_map(|name| facts.marks.get(&**name));
    let ((from, from_says), (to, to_says)) = mark(&row.from).zip(mark(&row.to))?;
    Some((to - from, format!("from {from_says} to {to_says}")))
}

fn facts(hits: &[Hit], clock: Clock) -> Facts {
    let mut facts = Facts::default();
    let mut durations: BTreeMap<(&'static str, &str), (Parts<'_>, &'static str)> = BTreeMap::new();
    for hit in hits {
        let pattern = &TABLE.patterns[hit.pattern];
        match (pattern.kind, hit.number, hit.at[clock as usize]) {
            (Kind::Duration, Some(seconds), _) => {
                let key = (pattern.fact.as_str(), hit.process.as_str());
                let (parts, _) = durations.entry(key).or_insert((BTreeMap::new(), &pattern.says));
                keep(parts, hit, pattern.repeat, seconds);
            }
            (Kind::Mark | Kind::Ready | Kind::Begin, _, Some(at)) => {
                let mark = facts.marks.entry(&pattern.fact).or_insert((at, &pattern.says));
                if pattern.repeat == Repeat::Last {
                    mark.0 = mark.0.max(at);
                }
            }
            _ => {}
        }
    }
    for ((fact, _), (parts, says)) in durations {
        let seconds: f64 = parts.values().sum();
        let slowest = facts.durations.entry(fact).or_insert((seconds, says));
        slowest.0 = slowest.0.max(seconds);
    }
    facts
}

/// Of each part the last counts; lines without a part add up, unless the last counts.
fn keep<'h>(parts: &mut Parts<'h>, hit: &'h Hit, repeat: Repeat, value: f64) {
    let part = hit.part.as_deref().unwrap_or_default();
    let kept = parts.entry(part).or_insert(0.0);
    let adds = repeat == Repeat::Default && hit.part.is_none();
    *kept = if adds { *kept + value } else { value };
}

/// Figures of memory: fact, then process.
#[derive(Default)]
struct Bytes<'h> {
    by_process: BTreeMap<&'static str, BTreeMap<&'h str, Parts<'h>>>,
    replica: BTreeMap<&'static str, bool>,
    says: BTreeMap<&'static str, &'static str>,
}

impl<'h> Bytes<'h> {
    fn of(hits: &'h [Hit]) -> Self {
        let mut found = Self::default();
        for hit in hits {
            let pattern = &TABLE.patterns[hit.pattern];
            let (Kind::Bytes | Kind::Tokens, Some(value)) = (pattern.kind, hit.number) else { continue };
            let processes = found.by_process.entry(&pattern.fact).or_default();
            keep(processes.entry(&hit.process).or_default(), hit, pattern.repeat, value);
            found.replica.insert(&pattern.fact, pattern.scope == Scope::Replica);
            found.says.insert(&pattern.fact, &pattern.says);
        }
        found
    }

    /// The figure of each process that printed it.
    fn values(&self, fact: &str) -> impl Iterator<Item = f64> {
        self.by_process.get(fact).into_iter().flat_map(BTreeMap::values).map(|parts| parts.values().sum())
    }

    /// Over all GPUs: the sum of what each printed, or as often the largest as there are GPUs
    /// where not every process prints.
    fn total(&self, fact: &str, world: f64) -> Option<f64> {
        let values: Vec<f64> = self.values(fact).collect();
        let largest = values.iter().copied().reduce(f64::max)?;
        Some(if self.replica.get(fact) == Some(&true) {
            largest
        } else if values.len() as f64 >= world {
            values.iter().sum()
        } else {
            largest * world
        })
    }

    fn smallest(&self, fact: &str) -> Option<f64> {
        self.values(fact).reduce(f64::min)
    }

    fn largest(&self, fact: &str) -> Option<f64> {
        self.values(fact).reduce(f64::max)
    }
}

/// GPUs of the replica, as far as the log tells.
fn world(hits: &[Hit]) -> f64 {
    let size = |name: &str| {
        let of = |h: &&Hit| TABLE.patterns[h.pattern].fact == name;
        hits.iter().find(of).and_then(|h| h.text.parse::<f64>().ok()).unwrap_or(1.0)
    };
    let printed: BTreeSet<&str> = hits
        .iter()
        .filter(|h| TABLE.patterns[h.pattern].fact == "weightsBytes")
        .map(|h| &*h.process)
        .collect();
    (size("tensorParallel") * size("pipelineParallel")).max(printed.len() as f64).clamp(1.0, 4096.0)
}

fn weights(bytes: &Bytes<'_>, world: f64) -> Option<f64> {
    ["weightsBytes", "fileBytes", "bufferBytes", "checkpointBytes"]
        .iter()
        .find_map(|fact| bytes.total(fact, world))
}

/// The memory of the replica; none if the log tells nothing of it.
pub(super) fn memory(engine: &Engine, hits: &[Hit]) -> Option<MemorySample> {
    let bytes = Bytes::of(hits);
    let world = world(hits);
    let whole = |value: f64| value.round() as u64;
    let blocks = || {
        // V0 of vLLM prints blocks; a block's tokens follow from the concurrency it prints.
        let (blocks, tokens) = (bytes.smallest("kvBlocks")?, bytes.largest("concurrencyTokens")?);
        let block = (bytes.largest("concurrency")? * tokens / blocks).round();
        (block >= 1.0 && block.is_finite()).then_some(blocks * block)
    };
    let cells = || Some(bytes.smallest("kvCells")? * bytes.smallest("kvStreams").unwrap_or(1.0));
    let tokens = bytes.smallest("kvTokens").or_else(blocks).or_else(cells);
    let key_value =
        bytes.total("kvKeyBytes", world).zip(bytes.total("kvValueBytes", world)).map(|(k, v)| k + v);
    let kv_bytes = bytes.total("kvBytes", world).or(key_value);
    let reserves = ["reserveNonTorch", "reserveActivations", "reserveGraphs", "computeBytes"];
    // Graphs alone are not the reserve: the activations beside them are unknown.
    let has_reserve = ["reserveActivations", "computeBytes"].iter().any(|fact| bytes.largest(fact).is_some());
    let reserve: f64 = reserves.iter().filter_map(|fact| bytes.largest(fact)).sum();
    let sample = MemorySample {
        weights_bytes: weights(&bytes, world).map(whole),
        kv_bytes_per_token: kv_bytes.zip(tokens).filter(|(_, t)| *t > 0.0).map(|(b, t)| b / t),
        kv_cache_tokens: tokens.map(whole),
        kv_cache_bytes: kv_bytes.map(whole),
        reserve_per_gpu_bytes: has_reserve.then(|| whole(reserve)),
        source: String::new(),
    };
    let says: BTreeSet<&str> = bytes.says.values().copied().collect();
    let says: Vec<&str> = says.into_iter().collect();
    (!says.is_empty())
        .then(|| MemorySample { source: format!("{} log: {}", engine.name, says.join(", ")), ..sample })
}
