//! The HTTP add-on: what its interceptors count, and what its scaler makes of it.
//!
//! After kedacore/http-add-on `pkg/queue`, `scaler` and `interceptor` (59b2f6a1). Holding requests
//! until there is an endpoint is the gateway's business; the times it goes by are here. `interceptor.rs`
//! says when the counts are read and when KEDA hears of them.

use crate::policy::hpa::types::Nanos;
use crate::policy::knative::buckets::{Aggregation, Buckets};

const SECOND: Nanos = 1_000_000_000;

/// Time between two reads of the interceptors' counts by the scaler.
pub const QUEUE_TICK: Nanos = SECOND / 2;
/// Time between two messages of activity to KEDA, which then scales from 0 at once.
pub const ACTIVITY_PERIOD: Nanos = SECOND / 5;
/// Time an attempt to reach the service may take, after which the next is made.
pub const CONNECT_TIMEOUT: Nanos = SECOND / 2;
/// Time for the headers of an answer.
pub const RESPONSE_HEADER_TIMEOUT: Nanos = 300 * SECOND;
/// Time after which a request goes to the cold-start fallback service, if there is one.
pub const FALLBACK_TIMEOUT: Nanos = 30 * SECOND;
/// `pollingInterval` of the ScaledObject that the add-on makes, s.
pub const POLLING_INTERVAL_S: i32 = 15;
/// Default `scaledownPeriod`, which becomes the `cooldownPeriod`, s.
pub const SCALEDOWN_PERIOD_S: i32 = 300;
/// Default target of either metric.
pub const DEFAULT_TARGET: f64 = 100.0;

/// What a HTTPScaledObject scales on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HttpMetric {
    /// Requests in flight, held ones included.
    Concurrency {
        /// `targetValue`, per replica.
        target: f64,
    },
    /// Requests per second.
    RequestRate {
        /// `targetValue`, per replica.
        target: f64,
        /// `window` they are averaged over.
        window: Nanos,
        /// `granularity`: the length of a bucket.
        granularity: Nanos,
    },
}

impl Default for HttpMetric {
    fn default() -> Self {
        Self::Concurrency { target: DEFAULT_TARGET }
    }
}

impl HttpMetric {
    /// The request rate with upstream's window of a minute in buckets of a second.
    pub const fn request_rate(target: f64) -> Self {
        Self::RequestRate { target, window: 60 * SECOND, granularity: SECOND }
    }

    /// The target, per replica.
    pub const fn target(self) -> f64 {
        match self {
            Self::Concurrency { target } | Self::RequestRate { target, .. } => target,
        }
    }
}

/// What the scaler knows of one route: what it read of the interceptors' counts.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteCounts {
    concurrency: u64,
    rate: Option<Rate>,
}

/// Requests in buckets of time.
#[derive(Clone, Debug, PartialEq)]
struct Rate {
    buckets: Buckets,
    window: Nanos,
    granularity: Nanos,
    arrived: u64,
    read_at: Option<Nanos>,
}

impl RouteCounts {
    /// Counts for a metric.
    pub fn new(metric: HttpMetric) -> Self {
        let rate = match metric {
            HttpMetric::Concurrency { .. } => None,
            HttpMetric::RequestRate { window, granularity, .. } => {
                let buckets = Buckets::new(window, granularity, Aggregation::Linear);
                Some(Rate { buckets, window, granularity, arrived: 0, read_at: None })
            }
        };
        Self { concurrency: 0, rate }
    }

    /// Reads the interceptors: requests in flight, held ones included, and those that came since the start.
    pub fn read(&mut self, now: Nanos, in_flight: u64, arrived: u64) {
        self.concurrency = in_flight;
        if let Some(rate) = &mut self.rate {
            rate.read(now, arrived);
        }
    }

    /// The value of the metric as last read: requests in flight, or requests per bucket, rounded up.
    pub fn value(&self, now: Nanos) -> u64 {
        match &self.rate {
            None => self.concurrency,
            Some(rate) => rate.buckets.average(now).ceil() as u64,
        }
    }

    /// Whether the route is active: it wakes the target and keeps it awake. With a request rate, a request that
    /// is still held a window after it came no longer counts.
    pub fn is_active(&self, now: Nanos) -> bool {
        self.value(now) > 0
    }
}

impl Rate {
    fn read(&mut self, now: Nanos, arrived: u64) {
        // The scaler records every read, and so it never starts afresh: where reads were left out because
        // nothing came, the window is full of zeros all the same.
        if self.read_at.is_some_and(|at| now - at >= self.window) {
            self.buckets.record(now - self.window + self.granularity, 0.0);
        }
        self.buckets.record(now, arrived.saturating_sub(self.arrived) as f64);
        (self.arrived, self.read_at) = (arrived, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrency_is_what_was_in_flight_at_the_last_read() {
        let mut counts = RouteCounts::new(HttpMetric::default());
        assert!(!counts.is_active(0));
        counts.read(SECOND, 2, 7);
        assert_eq!((counts.value(SECOND), counts.is_active(9 * SECOND)), (2, true));
        counts.read(10 * SECOND, 0, 9);
        assert!(!counts.is_active(10 * SECOND));
    }

    #[test]
    fn a_rate_counts_arrivals_of_the_window_and_not_what_is_held() {
        let mut counts = RouteCounts::new(HttpMetric::request_rate(100.0));
        let mut at = |half_seconds: Nanos, in_flight, arrived| {
            let now = half_seconds * SECOND / 2;
            counts.read(now, in_flight, arrived);
            counts.value(now)
        };
        // 5 requests within the first second, then in two, then in three.
        assert_eq!([at(0, 0, 0), at(1, 1, 5), at(2, 1, 5), at(4, 1, 5)], [0, 5, 3, 2]);
        // Within the window they count, if less and less; a request that is held does not.
        assert_eq!([at(118, 1, 5), at(119, 1, 5), at(120, 1, 5)], [1, 1, 0]);
        // After an hour without a read the window is full of silence, so that 61 requests are 2 a second.
        assert_eq!([at(7_200, 0, 66), at(7_202, 0, 66)], [2, 2]);
    }
}
