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

/// One scraped endpoint of a [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetId(usize);

/// One series of a [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesId {
    slot: u32,
    /// Which of the series that had this slot one after the other.
    tenancy: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    pub(super) labels: Labels,
    points: VecDeque<Point>,
    tenancy: u32,
}

impl Series {
    /// The newest sample at or before an instant.
    pub(super) fn newest(&self, at: i64) -> Option<Point> {
        self.end(at).checked_sub(1).map(|index| self.points[index])
    }

    /// How many samples there are at or before an instant: nearly always all of them.
    fn end(&self, at: i64) -> usize {
        match self.points.back() {
            Some(last) if last.at > at => self.points.partition_point(|point| point.at <= at),
            _ => self.points.len(),
        }
    }

    /// The samples from `first` to `last`, both included, without stale markers, into `points`. Costs as much
    /// as there are of them, however many the series has.
    pub(super) fn between(&self, first: i64, last: i64, points: &mut Vec<Point>) {
        points.clear();
        let end = self.end(last);
        let held = self.points.range(self.start(first, end)..end);
        points.extend(held.filter(|point| !point.is_stale()));
    }

    /// The first of the samples before index `end` that is not earlier than an instant, sought from the end
    /// in growing steps: windows are short and samples many.
    fn start(&self, first: i64, end: usize) -> usize {
        let (mut low, mut high, mut step) = (end, end, 8);
        while low > 0 && self.points[low - 1].at >= first {
            high = low;
            low = low.saturating_sub(step);
            step *= 2;
        }
        while low < high {
            let middle = low.midpoint(high);
            if self.points[middle].at < first {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[derive(Clone, Debug)]
struct Target {
    labels: Vec<(String, String)>,
    /// `up` first.
    series: Vec<SeriesId>,
}

/// The series of one simulated Prometheus server.
#[derive(Clone, Debug)]
pub struct Store {
    settings: Settings,
    symbols: Symbols,
    /// ms.
    retention: i64,
    slots: Vec<Series>,
    free: Vec<u32>,
    /// Slots by metric name, in order of creation.
    by_name: IndexMap<Symbol, Vec<u32>, FxBuildHasher>,
    targets: Vec<Option<Target>>,
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
            slots: Vec::new(),
            free: Vec::new(),
            by_name: IndexMap::default(),
            targets: Vec::new(),
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
        let id = TargetId(self.targets.len());
        self.targets.push(Some(Target { labels, series: Vec::new() }));
        self.add_series(id, "up", &[]);
        id
    }

    /// A new series of a target. A label that the target has too becomes `exported_<label>`, as
    /// without `honor_labels` (scrape/scrape.go `mutateSampleLabels`).
    pub fn add_series(&mut self, target: TargetId, name: &str, labels: &[(&str, &str)]) -> SeriesId {
        let entry = self.targets.get(target.0).and_then(Option::as_ref);
        let own = entry.expect("series are added to targets that live").labels.clone();
        let mut set = Labels::default();
        let mut put = |set: &mut Labels, name: &str, value: &str| {
            let (name, value) = (self.symbols.intern(name), self.symbols.intern(value));
            set.set(name, value);
        };
        put(&mut set, "__name__", name);
        for (name, value) in &own {
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
        let id = self.slot(set);
        let target = self.targets[target.0].as_mut().expect("it was found above");
        target.series.push(id);
        id
    }

    fn slot(&mut self, labels: Labels) -> SeriesId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Series::default());
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 series")
        });
        self.by_name.entry(labels.get(Symbol::NAME)).or_default().push(slot);
        let series = &mut self.slots[slot as usize];
        series.labels = labels;
        SeriesId { slot, tenancy: series.tenancy }
    }

    /// Appends a sample. Returns `false`, and keeps nothing, where the series has a sample at that time or a
    /// later one (tsdb/head_append.go `ErrOutOfOrderSample`), or has ended.
    pub fn append(&mut self, id: SeriesId, at: SimTime, value: f64) -> bool {
        self.push(id, millis(at), value)
    }

    fn push(&mut self, id: SeriesId, at: i64, value: f64) -> bool {
        let series = &mut self.slots[id.slot as usize];
        if series.tenancy != id.tenancy || series.points.back().is_some_and(|last| last.at >= at) {
            return false;
        }
        // The oldest goes before the newest comes, so that a ring in its steady state never grows.
        let oldest = at - self.retention;
        while series.points.front().is_some_and(|point| point.at < oldest) {
            series.points.pop_front();
        }
        series.points.push_back(Point { at, value });
        true
    }

    /// Records that a scrape succeeded: `up` is 1. Its samples are the caller's to append.
    pub fn scrape_succeeded(&mut self, target: TargetId, at: SimTime) {
        if let Some(up) = self.series_of(target).first().copied() {
            self.append(up, at, 1.0);
        }
    }

    /// Records that a scrape failed: `up` is 0 and every other series of the target is stale
    /// (scrape/scrape.go `scrapeAndReport`).
    pub fn scrape_failed(&mut self, target: TargetId, at: SimTime) {
        let series = self.series_of(target).to_vec();
        for (index, id) in series.into_iter().enumerate() {
            self.push(id, millis(at), if index == 0 { 0.0 } else { f64::from_bits(STALE) });
        }
    }

    /// Marks one series stale: a scrape that succeeded no longer has it.
    pub fn mark_stale(&mut self, id: SeriesId, at: SimTime) {
        self.push(id, millis(at), f64::from_bits(STALE));
    }

    /// Ends a target: all its series, `up` too, become stale at `at`.
    ///
    /// Upstream does so late: the marker carries the time at which the next scrape was due, but is written
    /// a whole interval and a tenth after that, in case the target comes back (scrape/scrape.go
    /// `endOfRunStaleness`). Until then queries still see the last values.
    pub fn end_target(&mut self, target: TargetId, at: SimTime) {
        for id in self.series_of(target).to_vec() {
            self.push(id, millis(at), f64::from_bits(STALE));
        }
        if !self.ending.contains(&target) {
            self.ending.push(target);
        }
    }

    /// Forgets ended targets whose samples no query can reach any more. Call it once a scrape cycle.
    pub fn forget(&mut self, now: SimTime) {
        let oldest = millis(now) - self.retention;
        let mut ending = std::mem::take(&mut self.ending);
        ending.retain(|target| {
            let mut series = self.series_of(*target).iter().map(|id| &self.slots[id.slot as usize]);
            let reachable = series.any(|series| series.points.back().is_some_and(|last| last.at >= oldest));
            if !reachable {
                let gone = self.targets.get_mut(target.0).and_then(Option::take);
                gone.into_iter().flat_map(|target| target.series).for_each(|id| self.release(id));
            }
            reachable
        });
        self.ending = ending;
    }

    fn release(&mut self, id: SeriesId) {
        let series = &mut self.slots[id.slot as usize];
        let name = series.labels.get(Symbol::NAME);
        *series = Series { tenancy: series.tenancy.wrapping_add(1), ..Series::default() };
        if let Some(slots) = self.by_name.get_mut(&name) {
            slots.retain(|slot| *slot != id.slot);
        }
        self.free.push(id.slot);
    }

    fn series_of(&self, target: TargetId) -> &[SeriesId] {
        self.targets.get(target.0).and_then(Option::as_ref).map_or(&[], |target| &target.series)
    }

    /// Samples held, all series together.
    pub fn samples(&self) -> usize {
        self.slots.iter().map(|series| series.points.len()).sum()
    }

    /// Series held.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether it holds no series.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// The series of a metric's name, in order of creation; of every name where none is given.
    pub(super) fn named(&self, name: Option<&str>) -> impl Iterator<Item = &Series> {
        let lists = match name {
            None => 0..self.by_name.len(),
            Some(name) => {
                let found = self.symbols.find(name).and_then(|symbol| self.by_name.get_index_of(&symbol));
                found.map_or(0..0, |index| index..index + 1)
            }
        };
        let slots =
            self.by_name.as_slice().get_range(lists).into_iter().flat_map(indexmap::map::Slice::values);
        slots.flatten().map(|slot| &self.slots[*slot as usize])
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
