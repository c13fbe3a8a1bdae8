//! Metric windows: a ring of buckets, each a sum, and its plain or weighted average.
//!
//! After knative/serving `pkg/autoscaler/aggregation/bucketing.go` (98e5ef90). Values that fall
//! into one bucket add up, because each of a revision's pods and activators reports its part.

use crate::policy::hpa::types::Nanos;

/// Decimals of a plain average.
const PRECISION: f64 = 1e6;
/// The sum of weights of a weighted average is at least this.
const WEIGHT_PRECISION: f64 = 0.9999;
/// The lowest weight of the newest bucket.
const MIN_EXPONENT: f64 = 0.2;

/// The weight of the newest bucket of so many; each older one weighs as much of what is left.
pub fn smoothing_coefficient(buckets: f64) -> f64 {
    (1.0 - libm::pow(1.0 - WEIGHT_PRECISION, 1.0 / buckets)).max(MIN_EXPONENT)
}

/// How the buckets of a window are averaged (`metric-aggregation-algorithm`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// All alike.
    #[default]
    Linear,
    /// Newer ones weigh more.
    WeightedExponential,
}

/// A metric over a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    sums: Vec<f64>,
    /// Bucket of the first write of those that count; a window of silence begins anew.
    first_write: Option<Nanos>,
    /// Bucket of the last write.
    last_write: Option<Nanos>,
    granularity: Nanos,
    window: Nanos,
    /// Sum over all buckets, also those that no longer count.
    total: f64,
    aggregation: Aggregation,
}

fn count(window: Nanos, granularity: Nanos) -> usize {
    ((window as f64 / granularity as f64).ceil() as usize).max(1)
}

impl Buckets {
    /// An empty window. Both lengths are whole seconds of at least 1 s.
    pub fn new(window: Nanos, granularity: Nanos, aggregation: Aggregation) -> Self {
        let granularity = granularity.max(1);
        Self {
            sums: vec![0.0; count(window, granularity)],
            first_write: None,
            last_write: None,
            granularity,
            window,
            total: 0.0,
            aggregation,
        }
    }

    fn truncate(&self, at: Nanos) -> Nanos {
        at - at.rem_euclid(self.granularity)
    }

    /// The bucket's running number; its place in the ring is this modulo their number.
    fn number(&self, at: Nanos) -> i64 {
        at.div_euclid(self.granularity)
    }

    fn place(&self, number: i64) -> usize {
        number.rem_euclid(self.sums.len() as i64) as usize
    }

    /// Adds to the bucket of an instant. Gaps shorter than the window count as 0, a longer one
    /// starts afresh; what is a window older than the newest is left out.
    pub fn record(&mut self, now: Nanos, value: f64) {
        let bucket = self.truncate(now);
        let number = self.number(now);
        if self.last_write != Some(bucket) {
            if self.last_write.is_some_and(|last| bucket.saturating_add(self.window) <= last) {
                return;
            }
            if self.first_write.is_none_or(|first| first > bucket) {
                self.first_write = Some(bucket);
            }
            match self.last_write {
                Some(last) if bucket <= last => {}
                Some(last) if bucket - last < self.window => {
                    for skipped in self.number(last) + 1..=number {
                        let place = self.place(skipped);
                        self.total -= self.sums[place];
                        self.sums[place] = 0.0;
                    }
                    self.last_write = Some(bucket);
                }
                _ => {
                    self.first_write = Some(bucket);
                    self.sums.fill(0.0);
                    self.total = 0.0;
                    self.last_write = Some(bucket);
                }
            }
        }
        let place = self.place(number);
        self.sums[place] += value;
        self.total += value;
    }

    /// Whether nothing was recorded for longer than the window: there is nothing to decide on.
    pub fn is_empty(&self, now: Nanos) -> bool {
        let now = self.truncate(now);
        self.last_write.is_none_or(|last| now.saturating_sub(last) > self.window)
    }

    /// The average over the window as of an instant; 0 without data.
    pub fn average(&self, now: Nanos) -> f64 {
        let now = self.truncate(now);
        let (Some(first), Some(last)) = (self.first_write, self.last_write) else { return 0.0 };
        match self.aggregation {
            Aggregation::Linear => self.plain(now, first, last),
            Aggregation::WeightedExponential => self.weighted(now, last),
        }
    }

    /// Silence at the end shortens the window; so does a first write inside it.
    fn plain(&self, now: Nanos, first: Nanos, last: Nanos) -> f64 {
        let silence = now - last;
        if silence > 0 && silence >= self.window {
            return 0.0;
        }
        let mut sum = self.total;
        let mut silent = 0;
        if silence > 0 {
            let (from, to) = (self.number(last), self.number(now));
            for number in from + 1..=to {
                sum -= self.sums[self.place(number)];
            }
            silent = to - from;
        }
        let written = ((last - first) / self.granularity) as f64 + 1.0;
        let valid = written.min((self.sums.len() as i64 - silent) as f64);
        (sum / valid * PRECISION).round() / PRECISION
    }

    fn weighted(&self, now: Nanos, last: Nanos) -> f64 {
        if now.saturating_sub(last) > self.window {
            return 0.0;
        }
        let coefficient = smoothing_coefficient(self.sums.len() as f64);
        let mut weight = coefficient;
        let mut counted = self.sums.len() as i64;
        if now > last {
            let silent = (now - last) / self.granularity;
            weight *= libm::pow(1.0 - coefficient, silent as f64);
            counted -= silent;
        }
        let newest = self.number(last);
        let mut average = 0.0;
        for age in 0..counted {
            average += self.sums[self.place(newest - age)] * weight;
            weight *= 1.0 - coefficient;
        }
        average
    }

    /// Changes the window, as an update of the revision or the ConfigMap does; keeps what fits.
    pub fn resize(&mut self, window: Nanos, now: Nanos) {
        if window == self.window {
            return;
        }
        let mut sums = vec![0.0; count(window, self.granularity)];
        let mut total = 0.0;
        match self.last_write {
            Some(last) if self.truncate(now) - last <= self.window => {
                let newest = self.number(last);
                for age in 0..sums.len().min(self.sums.len()) as i64 {
                    let value = self.sums[self.place(newest - age)];
                    let place = (newest - age).rem_euclid(sums.len() as i64) as usize;
                    sums[place] = value;
                    total += value;
                }
                // The earliest instant that data may be known of; upstream does not look whether it is.
                self.first_write = Some(last - (self.sums.len() as i64 - 1) * self.granularity);
            }
            _ => self.first_write = None,
        }
        self.window = window;
        self.sums = sums;
        self.total = total;
    }
}
