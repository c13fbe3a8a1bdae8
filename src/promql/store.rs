//! What a Prometheus server holds: series of scraped samples, no longer than a query looks back.
//!
//! A *target* is one scraped endpoint; its labels stand on every series it exports. Series end with a
//! *stale marker*: from then on they are gone for queries, without waiting for the lookback to pass
//! (scrape/scrape.go, storage/interface.go, model/value/value.go; v3).

use std::collections::VecDeque;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

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

/// One sample of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it was scraped, ms since the start of the simulation; Prometheus has ms.
    pub at: i64,
    /// Its value.
    pub value: f64,
}

/// The NaN that marks a series as gone (model/value/value.go `StaleNaN`).
const STALE: u64 = 0x7ff0_0000_0000_0002;

impl Point {
    /// Whether it is a stale marker and no value.
    pub(super) fn is_stale(self) -> bool {
        self.value.to_bits() == STALE
    }
}

/// The NaN in place of a sample that a series does not have, where others of its target have one.
const ABSENT: u64 = 0x7ff0_0000_0000_0003;

/// One scraped endpoint of a [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetId(u32);

/// One series of a [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesId {
    target: u32,
    column: u32,
}

/// A series of a target: one column of its rows.
#[derive(Clone, Debug)]
struct Column {
    labels: Labels,
    /// When the newest sample was scraped that is not known to be as high as the one before it; markers and
    /// gaps count.
    fell: Option<i64>,
}

/// A target and what was scraped of it. The series of a target have their times in common, so a scrape is a
/// row: it costs little more than its values.
#[derive(Clone, Debug, Default)]
struct Target {
    labels: Vec<(String, String)>,
    /// `up` first.
    columns: Vec<Column>,
    /// Of each row, ms, rising.
    times: VecDeque<i64>,
    /// Row after row, each as long as there are columns.
    values: VecDeque<f64>,
}

impl Target {
    /// Begins a row, unless there is one of that time or a later one, and forgets those that end before `oldest`.
    fn begin(&mut self, at: i64, oldest: i64) -> bool {
        if self.times.back().is_some_and(|last| *last >= at) {
            return false;
        }
        // The oldest goes before the newest comes, so that rings in their steady state never grow.
        while self.times.front().is_some_and(|time| *time < oldest) {
            self.times.pop_front();
            self.values.drain(..self.columns.len());
        }
        self.times.push_back(at);
        true
    }

    /// Writes the values of the row just begun, one a column; columns without one have no sample.
    fn fill(&mut self, at: i64, values: impl IntoIterator<Item = f64>) {
        let before = self.values.len().checked_sub(self.columns.len());
        let mut values = values.into_iter();
        for (index, column) in self.columns.iter_mut().enumerate() {
            let value = values.next().unwrap_or(f64::from_bits(ABSENT));
            let rose = before.map_or(!value.is_nan(), |before| value >= self.values[before + index]);
            if !rose {
                column.fell = Some(at);
            }
            self.values.push_back(value);
        }
        debug_assert!(values.next().is_none(), "a scrape has no more samples than its target has series");
    }

    fn row(&mut self, at: i64, oldest: i64, values: impl IntoIterator<Item = f64>) -> bool {
        let begun = self.begin(at, oldest);
        if begun {
            self.fill(at, values);
        }
        begun
    }

    /// One more column: absent from the rows there are.
    fn widen(&mut self, labels: Labels) {
        let old = std::mem::take(&mut self.values);
        let mut old = old.into_iter();
        for _ in 0..self.times.len() {
            self.values.extend(old.by_ref().take(self.columns.len()));
            self.values.push_back(f64::from_bits(ABSENT));
        }
        self.columns.push(Column { labels, fell: self.times.back().copied() });
    }
}

/// A series as queries see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series<'a> {
    target: &'a Target,
    column: usize,
}

impl<'a> Series<'a> {
    pub(super) fn labels(self) -> &'a Labels {
        &self.target.columns[self.column].labels
    }

    fn value(self, row: usize) -> f64 {
        self.target.values[row * self.target.columns.len() + self.column]
    }

    fn point(self, row: usize) -> Option<Point> {
        let point = Point { at: self.target.times[row], value: self.value(row) };
        (point.value.to_bits() != ABSENT).then_some(point)
    }

    /// The newest sample at or before an instant; it may be a stale marker.
    pub(super) fn newest(self, at: i64) -> Option<Point> {
        (0..self.end(at)).rev().find_map(|row| self.point(row))
    }

    /// How many rows there are at or before an instant: nearly always all of them.
    fn end(self, at: i64) -> usize {
        let times = &self.target.times;
        match times.back() {
            Some(last) if *last > at => times.partition_point(|time| *time <= at),
            _ => times.len(),
        }
    }

    /// The samples from `first` to `last`, both included, without stale markers, into `points`. Costs as much
    /// as there are of them, however many the series has.
    pub(super) fn between(self, first: i64, last: i64, points: &mut Vec<Point>) {
        points.clear();
        let end = self.end(last);
        let held = (self.start(first, end)..end).filter_map(|row| self.point(row));
        points.extend(held.filter(|point| !point.is_stale()));
    }

    /// The first and the last of the samples from `first` to `last`, and how many there are, where there are
    /// two or more and each is at least as high as the one before: what a counter of one process does, and
    /// then a rate needs no more.
    pub(super) fn rise(self, first: i64, last: i64) -> Option<(Point, Point, usize)> {
        let end = self.end(last);
        let start = self.start(first, end);
        if end < start + 2 {
            return None;
        }
        let oldest = self.point(start)?;
        let fell = self.target.columns[self.column].fell;
        (fell.is_none_or(|fell| fell < oldest.at)).then_some((oldest, self.point(end - 1)?, end - start))
    }

    /// The first of the rows before row `end` that is not earlier than an instant, sought from the end in
    /// growing steps: windows are short and samples many.
    fn start(self, first: i64, end: usize) -> usize {
        let times = &self.target.times;
        let (mut low, mut high, mut step) = (end, end, 8);
        while low > 0 && times[low - 1] >= first {
            high = low;
            low = low.saturating_sub(step);
            step *= 2;
        }
        while low < high {
            let middle = low.midpoint(high);
            if times[middle] < first {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
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
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let id = TargetId(u32::try_from(self.targets.len()).expect("fewer than 2^32 targets"));
        self.targets.push(Some(Box::new(Target { labels, ..Target::default() })));
        self.add_series(id, "up", &[]);
        id
    }

    /// A new series of a target. A label that the target has too becomes `exported_<label>`, as
    /// without `honor_labels` (scrape/scrape.go `mutateSampleLabels`).
    pub fn add_series(&mut self, target: TargetId, name: &str, labels: &[(&str, &str)]) -> SeriesId {
        let entry = self.targets[target.0 as usize].as_mut().expect("series are added to targets that live");
        let own = &entry.labels;
        let mut set = Labels::default();
        let mut put = |set: &mut Labels, name: &str, value: &str| {
            let (name, value) = (self.symbols.intern(name), self.symbols.intern(value));
            set.set(name, value);
        };
        put(&mut set, "__name__", name);
        for (name, value) in own {
            put(&mut set, name, value);
        }
        for (name, value) in labels {
            let mut free = (*name).to_owned();
            let taken = |free: &str| {
                own.iter().any(|(own, _)| own == free)
                    || labels.iter().any(|(other, _)| other != name && *other == free)
            };
            while taken(&free) {
                free.insert_str(0, "exported_");
            }
            put(&mut set, &free, value);
        }
        let id = SeriesId { target: target.0, column: entry.columns.len() as u32 };
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
        let gaps = std::iter::repeat_n(f64::from_bits(ABSENT), column);
        if target.row(at, oldest, gaps.chain([value])) {
            return true;
        }
        let cell = target.values.len() - target.columns.len() + column;
        let free = target.times.back() == Some(&at) && target.values[cell].to_bits() == ABSENT;
        if free {
            target.values[cell] = value;
        }
        free
    }

    /// Appends a scrape that succeeded: `up` is 1, and the other series have these values, in the order in which
    /// they were added. Keeps nothing where the target has been scraped at that time or later, or has ended.
    pub fn scrape(&mut self, target: TargetId, at: SimTime, values: impl IntoIterator<Item = f64>) {
        self.row(target, at, [1.0].into_iter().chain(values));
    }

    /// Records that a scrape failed: `up` is 0 and every other series of the target is stale
    /// (scrape/scrape.go `scrapeAndReport`).
    pub fn scrape_failed(&mut self, target: TargetId, at: SimTime) {
        let stale = std::iter::repeat_n(f64::from_bits(STALE), self.width(target).saturating_sub(1));
        self.row(target, at, [0.0].into_iter().chain(stale));
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
        let stale = std::iter::repeat_n(f64::from_bits(STALE), self.width(target));
        self.row(target, at, stale);
        if !self.ending.contains(&target) {
            self.ending.push(target);
        }
    }

    fn row(&mut self, target: TargetId, at: SimTime, values: impl IntoIterator<Item = f64>) {
        let (at, oldest) = (millis(at), millis(at) - self.retention);
        if let Some(target) = self.targets.get_mut(target.0 as usize).and_then(Option::as_deref_mut) {
            target.row(at, oldest, values);
        }
    }

    fn width(&self, target: TargetId) -> usize {
        self.target(target.0).map_or(0, |target| target.columns.len())
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
            let reachable = |target: &Target| target.times.back().is_some_and(|last| *last >= oldest);
            if place.as_deref().is_some_and(reachable) {
                return true;
            }
            for column in place.take().iter().flat_map(|target| &target.columns) {
                if let Some(series) = by_name.get_mut(&column.labels.get(Symbol::NAME)) {
                    series.retain(|series| series.target != id.0);
                }
            }
            false
        });
    }

    /// Samples held, all series together.
    pub fn samples(&self) -> usize {
        let values = self.targets.iter().flatten().flat_map(|target| &target.values);
        values.filter(|value| value.to_bits() != ABSENT).count()
    }

    /// Series held.
    pub fn len(&self) -> usize {
        self.targets.iter().flatten().map(|target| target.columns.len()).sum()
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
        series
            .flatten()
            .filter_map(|id| Some(Series { target: self.target(id.target)?, column: id.column as usize }))
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
