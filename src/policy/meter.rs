//! Counting requests where a proxy sees them: in flight over time, and how many came.

use crate::kernel::SimTime;

/// What a proxy counted since its start. Differences of two readings give the mean concurrency and
/// the rate between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Requests in flight times ns.
    pub concurrency_ns: u128,
    /// Of these, the part of requests that came by way of another proxy.
    pub proxied_ns: u128,
    /// Requests that came.
    pub requests: u64,
    /// Of these, those by way of another proxy.
    pub proxied_requests: u64,
    /// Requests in flight.
    pub in_flight: u32,
    /// Of these, those by way of another proxy.
    pub proxied_in_flight: u32,
    /// Until when both integrals go.
    until: SimTime,
}

impl Meter {
    /// A meter that begins at an instant.
    pub fn new(now: SimTime) -> Self {
        Self { until: now, ..Self::default() }
    }

    /// The same, with the integrals brought up to an instant.
    #[must_use]
    pub fn at(mut self, now: SimTime) -> Self {
        self.advance(now);
        self
    }

    fn advance(&mut self, now: SimTime) {
        let passed = u128::from(now.since(self.until).as_nanos());
        self.concurrency_ns += u128::from(self.in_flight) * passed;
        self.proxied_ns += u128::from(self.proxied_in_flight) * passed;
        self.until = now;
    }

    /// A request comes.
    pub fn enter(&mut self, now: SimTime, proxied: bool) {
        self.advance(now);
        self.in_flight += 1;
        self.requests += 1;
        self.proxied_in_flight += u32::from(proxied);
        self.proxied_requests += u64::from(proxied);
    }

    /// A request is done.
    pub fn leave(&mut self, now: SimTime, proxied: bool) {
        self.advance(now);
        self.in_flight -= 1;
        self.proxied_in_flight -= u32::from(proxied);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrency_is_integrated_over_time() {
        let at = SimTime::from_secs;
        let mut meter = Meter::new(at(1));
        meter.enter(at(2), false);
        meter.enter(at(3), true);
        meter.leave(at(5), false);
        let read = meter.at(at(9));
        assert_eq!((read.concurrency_ns, read.proxied_ns), (9_000_000_000, 6_000_000_000));
        assert_eq!((read.requests, read.proxied_requests), (2, 1));
        assert_eq!((read.in_flight, read.proxied_in_flight), (1, 1));
        assert_eq!(read.at(at(9)), read);
    }
}
