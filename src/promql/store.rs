//! What a Prometheus server holds: series of scraped samples, no longer than a query looks back.
//!
//! A *target* is one scraped endpoint; its labels stand on every series it exports. Series end with a
//! *stale marker*: from then on they are gone for queries, without waiting for the lookback to pass
//! (scrape/scrape.go, storage/interface.go, model/value/value.go; v3).

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

pub use super::rows::Point;
use super::rows::{ABSENT, STALE, Series, Target};
use super::symbol::{Labels, Symbol, Symbols};
use crate::kernel::{SimDuration, SimTime};

/// What a server decides about every query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// `--query.lookback-delta`: how old the sample may be that an instant selector answers with.
    pub lookback: SimDuration,
    /// Which release it is.
    pub release: Release,
    /// Unix time at the start of the simulation, ms; `time()`, `timestamp()` and `hour()` count from it.
    pub epoch_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lookback: SimDuration::from_secs(300), release: Release::V3, epoch_ms: 0 }
    }
}

impl Settings {
    /// The whole second of the wall clock at or before an instant: what KEDA asks for, whose requests name
    /// their time without fractions (pkg/scalers/prometheus_scaler.go `ExecutePromQuery`).
    pub fn whole_second(&self, now: SimTime) -> SimTime {
        const SECOND: u64 = 1_000_000_000;
        let started = self.epoch_ms.rem_euclid(1000) as u64 * 1_000_000;
        now.saturating_sub(SimDuration::from_nanos((started + now.as_nanos() % SECOND) % SECOND))
    }
}

/// A release, where the rules of windows differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Release {
    /// Prometheus 2, from 2.52 on: windows hold the sample at their very start.
    V2,
    /// Prometheus 3: they do not; `rate(x[1m])` of a 15 s scrape sees four samples and not five.
    #[default]
    V3,
}

/// One scraped endpoint of a [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetId(u32);

/// One series of a [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesId {
    target: u32,
    column: u32,
}

/// The series of one simulated Prometheus server.
#[derive(Clone, Debug)]
pub struct Store {
    settings: Settings,
    symbols: Symbols,
    /// ms.
    retention: i64,
    /// By id; those that are forgotten leave nothing but their place.
    targets: Vec<Option<Box<Target>>>,
    /// Series by metric name, in order of creation.
    by_name: IndexMap<Symbol, Vec<SeriesId>, FxBuildHasher>,
    /// Targets that have ended and still hold samples.
    ending: Vec<TargetId>,
}

pub(super) fn millis(time: SimTime) -> i64 {
    (time.as_nanos() / 1_000_000) as i64
}

pub(super) fn millis_of(duration: SimDuration) -> i64 {
    (duration.as_nanos() / 1_000_000) as i64
}

impl Store {
    /// An empty store whose queries look back no further than `retention`
    /// ([`Query::reach`](super::Query::reach) of the one that looks furthest).
    pub fn new(settings: Settings, retention: SimDuration) -> Self {
        Self {
            settings,
            symbols: Symbols::default(),
            retention: millis_of(retention),
            targets: Vec::new(),
            by_name: IndexMap::default(),
            ending: Vec::new(),
        }
    }

    /// What the server decides about every query.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A new target with the labels that service discovery gives it (`job`, `instance`, `pod`, `namespace`),
    /// and its series `up`.
    pub fn add_target(&mut self, labels: &[(&str, &str)]) -> TargetId {
        let mut own = Labels::default();
        for (name, value) in labels {
            own.set(self.symbols.intern(name), self.symbols.intern(value));
        }
        let id = TargetId(u32::try_from(self.targets.len()).expect("fewer than 2^32 targets"));
        self.targets.push(Some(Box::new(Target::new(own))));
        self.add_series(id, "up", &[]);
        id
    }

    /// A new series of a target. A label that the target has too becomes `exported_<label>`, as
    /// without `honor_labels` (scrape/scrape.go `mutateSampleLabels`).
    pub fn add_series(&mut self, target: TargetId, name: &str, labels: &[(&str, &str)]) -> SeriesId {
        let entry = self.targets[target.0 as usize].as_mut().expect("series are added to targets that live");
        let mut set = entry.labels().clone();
        set.set(Symbol::NAME, self.symbols.intern(name));
        for (name, value) in labels {
            let mut free = self.symbols.intern(name);
            if entry.labels().get(free) != Symbol::EMPTY {
                let mut text = (*name).to_owned();
                while entry.labels().get(free) != Symbol::EMPTY
                    || labels.iter().any(|(other, _)| *other == text)
                {
                    text.insert_str(0, "exported_");
                    free = self.symbols.intern(&text);
                }
            }
            set.set(free, self.symbols.intern(value));
        }
        let id = SeriesId { target: target.0, column: entry.width() as u32 };
        entry.widen(set);
        self.by_name.entry(self.symbols.intern(name)).or_default().push(id);
        id
    }

    /// Appends one sample. Returns `false`, and keeps nothing, where the series has a sample at that time or its
    /// target a later one (tsdb/head_append.go `ErrOutOfOrderSample`), or has ended.
    pub fn append(&mut self, id: SeriesId, at: SimTime, value: f64) -> bool {
        let (at, oldest) = (millis(at), millis(at) - self.retention);
        let column = id.column as usize;
        let Some(target) = self.targets.get_mut(id.target as usize).and_then(Option::as_deref_mut) else {
            return false;
        };
        let alone = |row: &mut Vec<f64>| {
            row.resize(row.len() + column, f64::from_bits(ABSENT));
            row.push(value);
        };
        target.row(at, oldest, alone) || target.complete(at, column, value)
    }

    /// Appends a scrape that succeeded: `up` is 1, and the other series have these values, in the order in which
    /// they were added. Keeps nothing where the target has been scraped at that time or later, or has ended.
    pub fn scrape(&mut self, target: TargetId, at: SimTime, values: impl IntoIterator<Item = f64>) {
        self.row(target, at, |row, _| {
            row.push(1.0);
            row.extend(values);
        });
    }

    /// Records that a scrape failed: `up` is 0 and every other series of the target is stale
    /// (scrape/scrape.go `scrapeAndReport`).
    pub fn scrape_failed(&mut self, target: TargetId, at: SimTime) {
        self.row(target, at, |row, width| {
            row.push(0.0);
            row.resize(row.len() + width - 1, f64::from_bits(STALE));
        });
    }

    /// Marks one series stale: a scrape that succeeded no longer has it.
    pub fn mark_stale(&mut self, id: SeriesId, at: SimTime) {
        self.append(id, at, f64::from_bits(STALE));
    }

    /// Ends a target: all its series, `up` too, become stale at `at`.
    ///
    /// Upstream does so late: the marker carries the time at which the next scrape was due, but is written
    /// a whole interval and a tenth after that, in case the target comes back (scrape/scrape.go
    /// `endOfRunStaleness`). Until then queries still see the last values.
    pub fn end_target(&mut self, target: TargetId, at: SimTime) {
        self.row(target, at, |row, width| row.resize(row.len() + width, f64::from_bits(STALE)));
        if !self.ending.contains(&target) {
            self.ending.push(target);
        }
    }

    /// Writes a row of a target that lives; `write` gets the number of its columns too.
    fn row(&mut self, target: TargetId, at: SimTime, write: impl FnOnce(&mut Vec<f64>, usize)) {
        let (at, oldest) = (millis(at), millis(at) - self.retention);
        if let Some(target) = self.targets.get_mut(target.0 as usize).and_then(Option::as_deref_mut) {
            let width = target.width();
            target.row(at, oldest, |row| write(row, width));
        }
    }

    fn target(&self, index: u32) -> Option<&Target> {
        self.targets.get(index as usize).and_then(Option::as_deref)
    }

    /// Forgets ended targets whose samples no query can reach any more. Call it once a scrape cycle.
    pub fn forget(&mut self, now: SimTime) {
        let oldest = millis(now) - self.retention;
        let (targets, by_name) = (&mut self.targets, &mut self.by_name);
        self.ending.retain(|id| {
            let place = &mut targets[id.0 as usize];
            let reachable = |target: &Target| target.newest().is_some_and(|newest| newest >= oldest);
            if place.as_deref().is_some_and(reachable) {
                return true;
            }
            let Some(target) = place.take() else { return false };
            for column in 0..target.width() {
                if let Some(series) = by_name.get_mut(&target.series(column).labels().get(Symbol::NAME)) {
                    series.retain(|series| series.target != id.0);
                }
            }
            false
        });
    }

    /// Samples held, all series together.
    pub fn samples(&self) -> usize {
        self.targets.iter().flatten().map(|target| target.samples()).sum()
    }

    /// Series held.
    pub fn len(&self) -> usize {
        self.targets.iter().flatten().map(|target| target.width()).sum()
    }

    /// Whether it holds no series.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// The series of a metric's name, in order of creation; of every name where none is given.
    pub(super) fn named(&self, name: Option<&str>) -> impl Iterator<Item = Series<'_>> {
        let lists = match name {
            None => 0..self.by_name.len(),
            Some(name) => {
                let found = self.symbols.find(name).and_then(|symbol| self.by_name.get_index_of(&symbol));
                found.map_or(0..0, |index| index..index + 1)
            }
        };
        let series =
            self.by_name.as_slice().get_range(lists).into_iter().flat_map(indexmap::map::Slice::values);
        series.flatten().filter_map(|id| Some(self.target(id.target)?.series(id.column as usize)))
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
