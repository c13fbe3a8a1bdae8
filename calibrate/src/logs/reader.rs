//! Takes a log line by line, and says at the end what it told.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::{Map, Value};
use thawline::profile::schema::EngineVersion;

use super::patterns::{Kind, Match, Origin, TABLE, Unit};
use super::stages;
use super::stamp::{CLOCKS, Clock, Stamps};
use super::units::number;
use crate::raw::{MemorySample, StageSample};

/// Longer lines are read no further, bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// What a log told.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The engine; its version is `unknown` where the log does not say.
    pub engine: EngineVersion,
    /// The model, as the log names it, without its folders.
    pub model: Option<String>,
    /// The engine's settings, e.g. `maxNumSeqs`, `maxNumBatchedTokens`, `tensorParallel`.
    pub settings: Map<String, Value>,
    /// Memory of the replica, all its GPUs together.
    pub memory: Option<MemorySample>,
    /// The starts in the log, in order; at least one.
    pub starts: Vec<Start>,
}

/// One start in a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Start {
    /// Whether it got ready.
    pub ready: bool,
    /// From the process's start (else from the first line) to ready, s, where both are known.
    pub seconds: Option<f64>,
    /// Its stages, in order. `run` is the place of the start in the log; no cache state.
    pub stages: Vec<StageSample>,
    /// What a reader of the stages should know: what is missing, and why.
    pub notes: Vec<String>,
}

/// A line that a pattern knew.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    /// Its pattern's place in the table.
    pub(super) pattern: usize,
    /// The process that printed it.
    pub(super) process: String,
    /// The named part.
    pub(super) part: Option<String>,
    /// The captured text.
    pub(super) text: String,
    /// The captured text as a number of the pattern's unit.
    pub(super) number: Option<f64>,
    /// When it was printed, on every clock known by then.
    pub(super) at: [Option<f64>; CLOCKS],
}

/// Reads one log: push its lines, then [`Reader::finish`].
#[derive(Clone, Debug, Default)]
pub struct Reader {
    stamps: Stamps,
    /// The last time seen on each clock.
    now: [Option<f64>; CLOCKS],
    /// The first time seen on each clock, and when that line was received.
    first: [Option<f64>; CLOCKS],
    first_received: [Option<f64>; CLOCKS],
    hits: Vec<Hit>,
    /// Engines whose own lines were seen.
    engines: Vec<usize>,
}

impl Reader {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a line. `received` is the time since the process was started, if the caller
    /// started it; then it is the clock of all differences. Bars that a carriage return
    /// overwrites, and several lines at once, are taken apart.
    pub fn push(&mut self, received: Option<Duration>, text: &str) {
        for line in text.split(['\r', '\n']).filter(|line| !line.is_empty()) {
            let line = cut(line);
            let line = if line.contains('\x1b') { ANSI.replace_all(line, "") } else { Cow::Borrowed(line) };
            self.push_line(received, without_collector(&line));
        }
    }

    fn push_line(&mut self, received: Option<Duration>, line: &str) {
        let mut stamps = self.stamps.read(line.as_bytes());
        stamps[Clock::Received as usize] = received.map(|r| r.as_secs_f64());
        for clock in 0..CLOCKS {
            if let Some(at) = stamps[clock] {
                self.now[clock] = Some(at);
                if self.first[clock].is_none() {
                    self.first[clock] = Some(at);
                    self.first_received[clock] = stamps[Clock::Received as usize];
                }
            }
        }
        let mut process = None;
        for found in TABLE.matches(line.as_bytes()) {
            let (index, pattern, regex) = match found {
                Match::Engine(engine) => {
                    if !self.engines.contains(&engine) {
                        self.engines.push(engine);
                    }
                    continue;
                }
                Match::Pattern(index, pattern, regex) => (index, pattern, regex),
            };
            let Some(groups) = regex.captures(line.as_bytes()) else { continue };
            let part = groups.name("part").map(|m| String::from_utf8_lossy(m.as_bytes()).into_owned());
            let text =
                (pattern.group..groups.len()).find_map(|g| groups.get(g)).map_or(&b""[..], |m| m.as_bytes());
            let text = String::from_utf8_lossy(text).into_owned();
            let number = pattern.unit.and_then(|unit: Unit| number(unit, &text));
            if pattern.unit.is_some() && number.is_none() {
                continue;
            }
            let process = process.get_or_insert_with(|| process_of(line)).clone();
            self.hits.push(Hit { pattern: index, process, part, text, number, at: self.now });
        }
    }

    /// The engine the lines so far belong to.
    pub fn engine(&self) -> Option<&'static str> {
        self.engines.iter().min().map(|&at| TABLE.engines[at].name.as_str())
    }

    /// Whether the engine has said that it is ready.
    pub fn is_ready(&self) -> bool {
        let Some(engine) = self.engine() else { return false };
        self.hits.iter().any(|hit| {
            let pattern = &TABLE.patterns[hit.pattern];
            pattern.kind == Kind::Ready && pattern.engines.iter().any(|e| e == engine)
        })
    }

    /// What the log told; none if it is the log of no engine in the table.
    pub fn finish(mut self) -> Option<Found> {
        let engine = &TABLE.engines[*self.engines.iter().min()?];
        let own = |hit: &Hit| TABLE.patterns[hit.pattern].engines.contains(&engine.name);
        self.hits.retain(own);
        let clock = self.clock(engine.stamp);
        let first = self.first_line(clock, engine.stamp);

        let text_of = |kind| {
            let of_kind = |hit: &&Hit| TABLE.patterns[hit.pattern].kind == kind && !hit.text.is_empty();
            self.hits.iter().find(of_kind).map(|hit| hit.text.clone())
        };
        let version = text_of(Kind::Version).unwrap_or_else(|| "unknown".to_owned());
        let base = |path: String| path.rsplit(['/', '\\']).find(|s| !s.is_empty()).map(str::to_owned);
        let mut settings = Map::new();
        for hit in &self.hits {
            let pattern = &TABLE.patterns[hit.pattern];
            if pattern.kind == Kind::Setting && !settings.contains_key(&pattern.fact) {
                settings.insert(pattern.fact.clone(), setting(&hit.text));
            }
        }
        let runs = split_runs(&self.hits);
        let starts = runs.iter().enumerate().map(|(run, hits)| {
            // Only the first start began with the process that the caller started.
            let begins_with_process = run == 0 && engine.origin == Origin::First;
            let begin = hits.iter().find(|h| TABLE.patterns[h.pattern].kind == Kind::Begin).or(hits.first());
            let first = if begins_with_process { first } else { begin.and_then(|h| h.at[clock as usize]) };
            stages::start(engine, hits, clock, first, begins_with_process, run as u32)
        });
        Some(Found {
            engine: EngineVersion { name: engine.name.clone(), version },
            model: text_of(Kind::Model).and_then(base),
            memory: runs.iter().find_map(|hits| stages::memory(engine, hits)),
            starts: starts.collect(),
            settings,
        })
    }

    /// Receive times win, then stamps that some collector put before every line, then the engine's.
    fn clock(&self, own: Clock) -> Clock {
        let known = |clock: Clock| self.hits.iter().all(|hit| hit.at[clock as usize].is_some());
        let stamped = |clock: Clock| !self.hits.is_empty() && known(clock);
        [Clock::Received, Clock::Iso].into_iter().find(|&clock| stamped(clock)).unwrap_or(own)
    }

    /// When the engine's first line was printed: one with its stamp, or one that a pattern knows.
    fn first_line(&self, clock: Clock, own: Clock) -> Option<f64> {
        let hit = self.hits.first().and_then(|hit| hit.at[clock as usize]);
        let stamped = match clock {
            Clock::Received => self.first_received[own as usize],
            clock => self.first[clock as usize],
        };
        match (hit, stamped) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// Splits hits where a start begins after another got ready.
fn split_runs(hits: &[Hit]) -> Vec<&[Hit]> {
    let (mut runs, mut from, mut ready) = (Vec::new(), 0, false);
    for (at, hit) in hits.iter().enumerate() {
        match TABLE.patterns[hit.pattern].kind {
            Kind::Ready => ready = true,
            Kind::Begin if ready => {
                runs.push(&hits[from..at]);
                (from, ready) = (at, false);
            }
            _ => {}
        }
    }
    runs.push(&hits[from..]);
    runs
}

fn setting(text: &str) -> Value {
    let integer = text.parse::<i64>().map(Value::from);
    let number = || text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number);
    match text {
        "True" => true.into(),
        "False" => false.into(),
        _ => integer.ok().or_else(number).unwrap_or_else(|| text.into()),
    }
}

static ANSI: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("\x1b\\[[0-9;]*[A-Za-z]").expect("a constant, covered by a test"));

/// Which process a line is of, as engines with several write it.
static PROCESS: LazyLock<Regex> = LazyLock::new(|| {
    let forms = r"^(?:\([^()]{1,60}\) )*\(([^()]{1,60}pid=\d+)\)|^\[[^\]]* ((?:DP|TP|PP|EP)\d[^\]]*)\]|\brank=(\d+)|\[RANK (\d+)\]|\[rank(\d+)\]";
    Regex::new(forms).expect("a constant, covered by a test")
});

fn process_of(line: &str) -> String {
    let groups = PROCESS.captures(line);
    let text = groups.as_ref().and_then(|groups| groups.iter().skip(1).flatten().next());
    text.map_or_else(String::new, |m| m.as_str().to_owned())
}

/// The line without the name that `docker compose logs` writes before it: `vllm-1  | `.
fn without_collector(line: &str) -> &str {
    let Some((name, rest)) = line.split_once("| ") else { return line };
    let word = name.trim_end();
    let is_name = !word.is_empty()
        && word.len() < name.len()
        && word.len() <= 64
        && !word.contains(char::is_whitespace);
    if is_name { rest } else { line }
}

/// The line, or as much of it as is read.
fn cut(line: &str) -> &str {
    let mut end = line.len().min(LINE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}
