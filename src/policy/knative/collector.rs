//! The statistics of a revision, gathered into its stable and its panic window.
//!
//! After knative/serving `pkg/autoscaler/metrics/collector.go` (98e5ef90).

use super::BUCKET;
use super::buckets::{Aggregation, Buckets};
use super::target::ScalingMetric;
use crate::kernel::SimDuration;
use crate::policy::hpa::types::Nanos;
use crate::policy::meter::Meter;

/// What a pod's queue-proxy, or an activator, reports of its last second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stat {
    /// Requests in flight, averaged over the time.
    pub average_concurrency: f64,
    /// Those of them that came by way of an activator, which reports them as well.
    pub average_proxied_concurrency: f64,
    /// Requests that came.
    pub request_count: f64,
    /// Those of them that came by way of an activator.
    pub proxied_request_count: f64,
}

impl Stat {
    /// What a proxy reports of the time between two readings of its meter.
    pub fn between(before: &Meter, after: &Meter, time: SimDuration) -> Self {
        let nanos = time.as_nanos() as f64;
        let mean = |integral: u128| if nanos > 0.0 { integral as f64 / nanos } else { 0.0 };
        Self {
            average_concurrency: mean(after.concurrency_ns - before.concurrency_ns),
            average_proxied_concurrency: mean(after.proxied_ns - before.proxied_ns),
            request_count: (after.requests - before.requests) as f64,
            proxied_request_count: (after.proxied_requests - before.proxied_requests) as f64,
        }
    }
}

/// Averages of one metric over both windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// Over the stable window; the whole revision's.
    pub stable: f64,
    /// Over the panic window; the whole revision's.
    pub panic: f64,
}

/// Length of the panic window, ns: a share of the stable one, in whole seconds, at least one.
/// (`pkg/reconciler/autoscaling/resources/metric.go`)
pub fn panic_window(stable: Nanos, percentage: f64) -> Nanos {
    let exact = (stable as f64 * percentage / 100.0) as Nanos;
    let rounded = (exact + BUCKET / 2) / BUCKET * BUCKET;
    rounded.max(BUCKET)
}

/// A metric in both windows.
#[derive(Clone, Debug, PartialEq)]
struct Pair {
    stable: Buckets,
    panic: Buckets,
}

impl Pair {
    fn new(stable: Nanos, panic: Nanos, aggregation: Aggregation) -> Self {
        Self {
            stable: Buckets::new(stable, BUCKET, aggregation),
            panic: Buckets::new(panic, BUCKET, aggregation),
        }
    }

    fn record(&mut self, now: Nanos, value: f64) {
        self.stable.record(now, value);
        self.panic.record(now, value);
    }

    fn observe(&self, now: Nanos) -> Option<Observed> {
        (!self.stable.is_empty(now))
            .then(|| Observed { stable: self.stable.average(now), panic: self.panic.average(now) })
    }
}

/// The windows of a revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Collector {
    concurrency: Pair,
    rps: Pair,
}

impl Collector {
    /// Empty windows.
    pub fn new(stable_window: Nanos, panic_window: Nanos, aggregation: Aggregation) -> Self {
        Self {
            concurrency: Pair::new(stable_window, panic_window, aggregation),
            rps: Pair::new(stable_window, panic_window, aggregation),
        }
    }

    /// Takes in a statistic as of the instant it arrives. Proxied requests are left out: their activator counts them.
    pub fn record(&mut self, now: Nanos, stat: &Stat) {
        self.concurrency.record(now, stat.average_concurrency - stat.average_proxied_concurrency);
        self.rps.record(now, stat.request_count - stat.proxied_request_count);
    }

    /// The averages as of an instant; `None` if there is no data to decide on.
    pub fn observe(&self, metric: ScalingMetric, now: Nanos) -> Option<Observed> {
        match metric {
            ScalingMetric::Concurrency => self.concurrency.observe(now),
            ScalingMetric::Rps => self.rps.observe(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SECOND;
    use super::*;
    use crate::kernel::SimTime;

    #[test]
    fn concurrency_is_averaged_over_the_time_between_readings() {
        let at = |tenths: u64| SimTime::ZERO + SimDuration::from_millis(100 * tenths);
        let mut meter = Meter::new(at(0));
        let start = meter;
        meter.enter(at(0), false);
        meter.enter(at(5), true);
        meter.leave(at(5), false);
        let first = meter.at(at(10));
        let expected = Stat {
            average_concurrency: 1.0,
            average_proxied_concurrency: 0.5,
            request_count: 2.0,
            proxied_request_count: 1.0,
        };
        let second = SimDuration::from_secs(1);
        assert_eq!(Stat::between(&start, &first, second), expected);
        meter.leave(at(20), true);
        let then = meter.at(at(30));
        let expected = Stat { average_concurrency: 0.5, average_proxied_concurrency: 0.5, ..Stat::default() };
        assert_eq!(Stat::between(&first, &then, SimDuration::from_secs(2)), expected);
        assert_eq!(Stat::between(&then, &then, SimDuration::ZERO), Stat::default());
    }

    #[test]
    fn proxied_requests_count_once() {
        let mut collector = Collector::new(60 * SECOND, 6 * SECOND, Aggregation::Linear);
        let now = 100 * SECOND;
        assert_eq!(collector.observe(ScalingMetric::Concurrency, now), None);
        let activator = Stat { average_concurrency: 3.0, request_count: 5.0, ..Stat::default() };
        let pods = Stat { average_proxied_concurrency: 3.0, proxied_request_count: 5.0, ..activator };
        collector.record(now, &activator);
        collector.record(now, &pods);
        let seen = |metric| collector.observe(metric, now).map(|o| (o.stable, o.panic));
        assert_eq!(seen(ScalingMetric::Concurrency), Some((3.0, 3.0)));
        assert_eq!(seen(ScalingMetric::Rps), Some((5.0, 5.0)));
        assert_eq!(collector.observe(ScalingMetric::Rps, now + 61 * SECOND), None);
    }
}
