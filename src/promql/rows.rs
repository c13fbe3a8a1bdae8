//! What was scraped of one target: a table of samples, a row a scrape and a column a series.

use std::ops::Range;

use super::symbol::Labels;

/// One sample of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it was scraped, ms since the start of the simulation; Prometheus has ms.
    pub at: i64,
    /// Its value.
    pub value: f64,
}

/// The NaN that marks a series as gone (model/value/value.go `StaleNaN`).
pub(super) const STALE: u64 = 0x7ff0_0000_0000_0002;

impl Point {
    /// Whether it is a stale marker and no value.
    pub(super) fn is_stale(self) -> bool {
        self.value.to_bits() == STALE
    }
}

/// The NaN in place of a sample that a series does not have, where others of its target have one.
pub(super) const ABSENT: u64 = 0x7ff0_0000_0000_0003;

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
pub(super) struct Target {
    /// Those that stand on each series.
    labels: Labels,
    /// `up` first.
    columns: Vec<Column>,
    /// Of each row, ms, rising.
    times: Vec<i64>,
    /// Row after row, each as long as there are columns.
    values: Vec<f64>,
    /// Leading rows that are forgotten and not yet taken out: that is done for many at a time.
    forgotten: usize,
}

impl Target {
    /// A target that exports nothing yet; these labels will stand on each of its series.
    pub(super) fn new(labels: Labels) -> Self {
        Self { labels, ..Self::default() }
    }

    /// The time of each row that is not forgotten, ms.
    fn times(&self) -> &[i64] {
        &self.times[self.forgotten..]
    }

    fn values(&self) -> &[f64] {
        &self.values[self.forgotten * self.columns.len()..]
    }

    /// Writes a row, one value a column (columns without one have no sample), and forgets the rows before
    /// `oldest`. Writes nothing where there is a row of that time or a later one.
    pub(super) fn row(&mut self, at: i64, oldest: i64, write: impl FnOnce(&mut Vec<f64>)) -> bool {
        if self.times.last().is_some_and(|last| *last >= at) {
            return false;
        }
        while self.times().first().is_some_and(|time| *time < oldest) {
            self.forgotten += 1;
        }
        // At least as many go as stay, so that each value moves at most once a row.
        if self.forgotten > self.times.len() / 2 {
            self.take_out_forgotten();
        }
        let width = self.columns.len();
        self.times.push(at);
        let (earlier, start) = (self.values.len().checked_sub(width), self.values.len());
        write(&mut self.values);
        debug_assert!(
            self.values.len() - start <= width,
            "a row has no more values than its target has series"
        );
        self.values.resize(start + width, f64::from_bits(ABSENT));
        let (before, row) = self.values.split_at(start);
        let before = earlier.map_or(&[][..], |earlier| &before[earlier..]);
        for (index, (column, value)) in self.columns.iter_mut().zip(row).enumerate() {
            let rose = before.get(index).map_or(!value.is_nan(), |before| value >= before);
            if !rose {
                column.fell = Some(at);
            }
        }
        true
    }

    /// Gives a series its sample of the newest row, where that row is of this time and the series has none.
    pub(super) fn complete(&mut self, at: i64, column: usize, value: f64) -> bool {
        let cell = (self.values.len() + column).checked_sub(self.columns.len());
        let Some(cell) = cell.and_then(|cell| self.values.get_mut(cell)) else { return false };
        let free = self.times.last() == Some(&at) && cell.to_bits() == ABSENT;
        if free {
            *cell = value;
        }
        free
    }

    /// The time of the newest row, ms.
    pub(super) fn newest(&self) -> Option<i64> {
        self.times.last().copied()
    }

    /// How many samples there are, all series together.
    pub(super) fn samples(&self) -> usize {
        self.values().iter().filter(|value| value.to_bits() != ABSENT).count()
    }

    /// How many there is room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.times.capacity() + self.values.capacity()
    }

    fn take_out_forgotten(&mut self) {
        self.values.drain(..self.forgotten * self.columns.len());
        self.times.drain(..self.forgotten);
        self.forgotten = 0;
    }

    /// The labels that stand on each series.
    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// How many series there are.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// One of its series.
    pub(super) fn series(&self, column: usize) -> Series<'_> {
        Series { target: self, column }
    }

    /// One more column: absent from the rows there are.
    pub(super) fn widen(&mut self, labels: Labels) {
        self.take_out_forgotten();
        let old = std::mem::take(&mut self.values);
        let mut old = old.into_iter();
        for _ in 0..self.times.len() {
            self.values.extend(old.by_ref().take(self.columns.len()));
            self.values.push(f64::from_bits(ABSENT));
        }
        self.columns.push(Column { labels, fell: self.newest() });
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

    fn point(self, row: usize) -> Option<Point> {
        let value = self.target.values()[row * self.target.columns.len() + self.column];
        (value.to_bits() != ABSENT).then(|| Point { at: self.target.times()[row], value })
    }

    /// Whether both are of one target, and so have their rows in common.
    pub(super) fn is_beside(self, other: Self) -> bool {
        std::ptr::eq(self.target, other.target)
    }

    /// The newest sample at or before an instant; it may be a stale marker.
    pub(super) fn newest(self, at: i64) -> Option<Point> {
        (0..self.end(at)).rev().find_map(|row| self.point(row))
    }

    /// The rows from `first` to `last`, both included, ms. Costs as much as there are of them, however many the
    /// target has.
    pub(super) fn rows(self, first: i64, last: i64) -> Range<usize> {
        let end = self.end(last);
        self.start(first, end)..end
    }

    /// The samples of some rows, without stale markers, into `points`.
    pub(super) fn points(self, rows: Range<usize>, points: &mut Vec<Point>) {
        points.clear();
        points.extend(rows.filter_map(|row| self.point(row)).filter(|point| !point.is_stale()));
    }

    /// The first and the last sample of some rows, and how many there are, where there are two or more and each
    /// is at least as high as the one before: what a counter of one process does, and then a rate needs no
    /// more.
    pub(super) fn rise(self, rows: Range<usize>) -> Option<(Point, Point, usize)> {
        if rows.len() < 2 {
            return None;
        }
        let oldest = self.point(rows.start)?;
        let fell = self.target.columns[self.column].fell;
        (fell.is_none_or(|fell| fell < oldest.at)).then_some((oldest, self.point(rows.end - 1)?, rows.len()))
    }

    /// How many rows there are at or before an instant: nearly always all of them.
    fn end(self, at: i64) -> usize {
        let times = self.target.times();
        match times.last() {
            Some(last) if *last > at => times.partition_point(|time| *time <= at),
            _ => times.len(),
        }
    }

    /// The first of the rows before row `end` that is not earlier than an instant, sought from the end in
    /// growing steps: windows are short and samples many.
    fn start(self, first: i64, end: usize) -> usize {
        let times = &self.target.times()[..end];
        let (mut low, mut high, mut step) = (end, end, 8);
        while low > 0 && times[low - 1] >= first {
            high = low;
            low = low.saturating_sub(step);
            step *= 2;
        }
        low + times[low..high].partition_point(|time| *time < first)
    }
}
