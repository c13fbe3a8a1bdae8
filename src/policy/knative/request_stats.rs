//! How a queue-proxy and an activator measure: concurrency averaged over time, and counts.
//!
//! After knative.dev/networking `pkg/http/stats/request.go` and knative/serving
//! `pkg/activator/handler/concurrency_reporter.go`.

use super::collector::Stat;
use crate::policy::hpa::types::Nanos;

/// Something that happens to a request at a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEvent {
    /// It comes.
    In,
    /// It is done.
    Out,
    /// It comes by way of an activator.
    ProxiedIn,
    /// It came by way of an activator and is done.
    ProxiedOut,
}

/// A meter; a pod's queue-proxy holds one.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestStats {
    concurrency: f64,
    proxied_concurrency: f64,
    last_change: Nanos,
    seconds: f64,
    /// Sums since the last report; the averages are concurrency times seconds until then.
    sums: Stat,
}

impl RequestStats {
    /// A meter that begins at an instant.
    pub fn new(now: Nanos) -> Self {
        Self {
            concurrency: 0.0,
            proxied_concurrency: 0.0,
            last_change: now,
            seconds: 0.0,
            sums: Stat::default(),
        }
    }

    fn advance(&mut self, now: Nanos) {
        let passed = now.saturating_sub(self.last_change);
        if passed > 0 {
            let seconds = passed as f64 / super::SECOND as f64;
            self.seconds += seconds;
            self.sums.average_concurrency += self.concurrency * seconds;
            self.sums.average_proxied_concurrency += self.proxied_concurrency * seconds;
            self.last_change = now;
        }
    }

    /// Takes in an event.
    pub fn handle(&mut self, event: RequestEvent, now: Nanos) {
        self.advance(now);
        match event {
            RequestEvent::In | RequestEvent::ProxiedIn => {
                if event == RequestEvent::ProxiedIn {
                    self.proxied_concurrency += 1.0;
                    self.sums.proxied_request_count += 1.0;
                }
                self.concurrency += 1.0;
                self.sums.request_count += 1.0;
            }
            RequestEvent::Out | RequestEvent::ProxiedOut => {
                if event == RequestEvent::ProxiedOut {
                    self.proxied_concurrency -= 1.0;
                }
                self.concurrency -= 1.0;
            }
        }
    }

    /// The statistic since the last report.
    pub fn report(&mut self, now: Nanos) -> Stat {
        self.advance(now);
        let mut report = std::mem::take(&mut self.sums);
        let seconds = std::mem::take(&mut self.seconds);
        if seconds > 0.0 {
            report.average_concurrency /= seconds;
            report.average_proxied_concurrency /= seconds;
        }
        report
    }
}

/// An activator's meter of one revision. It reports a first request at once, for the autoscaler
/// to wake the revision, and takes it off the next report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActivatorStats {
    /// The meter, and what was reported of it ahead; `None` while nothing happens.
    running: Option<(RequestStats, f64)>,
}

impl ActivatorStats {
    /// A request comes; returns the statistic to send at once, if it is the first.
    pub fn request_in(&mut self, now: Nanos) -> Option<Stat> {
        if let Some((stats, _)) = &mut self.running {
            stats.handle(RequestEvent::In, now);
            return None;
        }
        let mut stats = RequestStats::new(now);
        stats.handle(RequestEvent::In, now);
        self.running = Some((stats, 1.0));
        Some(Stat { average_concurrency: 1.0, request_count: 1.0, ..Stat::default() })
    }

    /// A request is done.
    pub fn request_out(&mut self, now: Nanos) {
        if let Some((stats, _)) = &mut self.running {
            stats.handle(RequestEvent::Out, now);
        }
    }

    /// The statistic to send each second; `None` while nothing happens.
    pub fn report(&mut self, now: Nanos) -> Option<Stat> {
        let (stats, ahead) = self.running.as_mut()?;
        let mut report = stats.report(now);
        let ahead = std::mem::take(ahead);
        if report.average_concurrency == 0.0 {
            self.running = None;
        }
        report.average_concurrency = (report.average_concurrency - ahead).max(0.0);
        report.request_count -= ahead;
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::super::SECOND;
    use super::*;

    #[test]
    fn concurrency_is_averaged_over_time() {
        let mut stats = RequestStats::new(0);
        stats.handle(RequestEvent::In, 0);
        stats.handle(RequestEvent::ProxiedIn, SECOND / 2);
        stats.handle(RequestEvent::Out, SECOND / 2);
        let expected = Stat {
            average_concurrency: 1.0,
            average_proxied_concurrency: 0.5,
            request_count: 2.0,
            proxied_request_count: 1.0,
        };
        assert_eq!(stats.report(SECOND), expected);
        stats.handle(RequestEvent::ProxiedOut, 2 * SECOND);
        let expected = Stat { average_concurrency: 0.5, average_proxied_concurrency: 0.5, ..Stat::default() };
        assert_eq!(stats.report(3 * SECOND), expected);
        assert_eq!(stats.report(3 * SECOND), Stat::default());
    }

    #[test]
    fn a_first_request_is_reported_once() {
        let mut activator = ActivatorStats::default();
        assert_eq!(activator.report(0), None);
        let first = activator.request_in(SECOND).expect("it is the first");
        assert_eq!((first.average_concurrency, first.request_count), (1.0, 1.0));
        assert_eq!(activator.request_in(SECOND), None);
        let report = activator.report(2 * SECOND).expect("two are in flight");
        assert_eq!((report.average_concurrency, report.request_count), (1.0, 1.0));
        activator.request_out(2 * SECOND);
        activator.request_out(2 * SECOND);
        assert_eq!(activator.report(3 * SECOND), Some(Stat::default()));
        assert_eq!(activator.report(4 * SECOND), None);
        assert!(activator.request_in(4 * SECOND).is_some(), "it is a first one again");
    }
}
