//! The HTTP add-on: what its interceptors count, and what its scaler makes of it.
//!
//! After kedacore/http-add-on `pkg/queue`, `scaler` and `interceptor` (59b2f6a1). Holding requests
//! until there is an endpoint is the gateway's business; the times it goes by are here.

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

/// What an interceptor counts of one route.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteCounts {
    concurrency: i64,
    requests: Option<Buckets>,
}

impl RouteCounts {
    /// Counts for a metric.
    pub fn new(metric: HttpMetric) -> Self {
        let requests = match metric {
            HttpMetric::Concurrency { .. } => None,
            HttpMetric::RequestRate { window, granularity, .. } => {
                Some(Buckets::new(window, granularity, Aggregation::Linear))
            }
        };
        Self { concurrency: 0, requests }
    }

    /// A request comes.
    pub fn request_in(&mut self, now: Nanos) {
        self.concurrency += 1;
        if let Some(requests) = &mut self.requests {
            requests.record(now, 1.0);
        }
    }

    /// A request is done.
    pub fn request_out(&mut self) {
        self.concurrency = (self.concurrency - 1).max(0);
    }

    /// The value of the metric: requests in flight, or requests per bucket, rounded up.
    pub fn value(&self, now: Nanos) -> i64 {
        match &self.requests {
            None => self.concurrency,
            Some(requests) => requests.average(now).ceil() as i64,
        }
    }

    /// Whether the route is active: it wakes the target. Held requests count in either metric.
    pub fn is_active(&self, now: Nanos) -> bool {
        self.concurrency > 0 || self.value(now) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_counts_what_it_scales_on() {
        let mut counts = RouteCounts::new(HttpMetric::default());
        assert!(!counts.is_active(0));
        counts.request_in(0);
        counts.request_in(SECOND);
        counts.request_out();
        assert_eq!(counts.value(SECOND), 1);
        counts.request_out();
        assert!(!counts.is_active(SECOND));

        let mut counts = RouteCounts::new(HttpMetric::request_rate(100.0));
        for request in 0..5 {
            counts.request_in(request * SECOND / 2);
            counts.request_out();
        }
        // 5 requests in the 3 seconds since the first.
        assert_eq!(counts.value(2 * SECOND), 2);
        assert!(counts.is_active(2 * SECOND));
        assert!(!counts.is_active(100 * SECOND));
    }
}
