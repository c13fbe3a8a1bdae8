//! How an activator reports a revision's requests.
//!
//! After knative/serving `pkg/activator/handler/concurrency_reporter.go` (98e5ef90). One meter stands for all
//! activators; upstream each has its own and reports its own first request.

use super::collector::Stat;
use crate::kernel::SimTime;
use crate::policy::meter::Meter;

/// What an activator remembers of a revision between two reports. It reports a first request at once, for the
/// autoscaler to wake the revision, and takes it off the next report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActivatorStats {
    /// The meter as of the last report.
    last: Meter,
    /// Since when the next report counts, and what was reported of it ahead; `None` while nothing happens.
    running: Option<(SimTime, f64)>,
}

impl ActivatorStats {
    /// A request comes while none is in flight; returns the statistic to send at once, if it is the first.
    pub fn request_in(&mut self, now: SimTime) -> Option<Stat> {
        if self.running.is_some() {
            return None;
        }
        self.running = Some((now, 1.0));
        Some(Stat { average_concurrency: 1.0, request_count: 1.0, ..Stat::default() })
    }

    /// The statistic to send each second; `None` while nothing happens.
    pub fn report(&mut self, now: SimTime, meter: &Meter) -> Option<Stat> {
        let (since, ahead) = self.running?;
        let mut report = Stat::between(&self.last, meter, now.since(since));
        self.last = *meter;
        self.running = (report.average_concurrency > 0.0).then_some((now, 0.0));
        // A part of a second may have seen less than the one request that was reported of it.
        report.average_concurrency = (report.average_concurrency - ahead).max(0.0);
        report.request_count -= ahead;
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_request_is_reported_once() {
        let at = SimTime::from_secs;
        let (mut activator, mut meter) = (ActivatorStats::default(), Meter::default());
        assert_eq!(activator.report(at(0), &meter), None);
        meter.enter(at(1), false);
        let first = activator.request_in(at(1)).expect("it is the first");
        assert_eq!((first.average_concurrency, first.request_count), (1.0, 1.0));
        meter.enter(at(1), false);
        assert_eq!(activator.request_in(at(1)), None);
        let report = activator.report(at(2), &meter.at(at(2))).expect("two are in flight");
        assert_eq!((report.average_concurrency, report.request_count), (1.0, 1.0));
        let report = activator.report(at(3), &meter.at(at(3))).expect("two are in flight");
        assert_eq!((report.average_concurrency, report.request_count), (2.0, 0.0));
        meter.leave(at(3), false);
        meter.leave(at(3), false);
        assert_eq!(activator.report(at(4), &meter.at(at(4))), Some(Stat::default()));
        assert_eq!(activator.report(at(5), &meter.at(at(5))), None);
        assert!(activator.request_in(at(6)).is_some(), "it is a first one again");
    }

    #[test]
    fn the_first_report_is_of_the_time_since_the_first_request() {
        let at = |tenths: u64| SimTime::from_nanos(tenths * 100_000_000);
        let (mut activator, mut meter) = (ActivatorStats::default(), Meter::default());
        for _ in 0..3 {
            meter.enter(at(15), false);
        }
        activator.request_in(at(15)).expect("it is the first");
        let report = activator.report(at(20), &meter.at(at(20))).expect("three are in flight");
        assert_eq!((report.average_concurrency, report.request_count), (2.0, 2.0));
    }
}
