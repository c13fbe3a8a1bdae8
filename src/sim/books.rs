//! The books: GPU counts by account, integrated over time until the trace ends.

use std::collections::VecDeque;

use crate::kernel::{SimDuration, SimTime};
use crate::outcome::{Account, Ledger};

/// Window of the arrivals that `needed` is computed from.
const NEEDED_WINDOW: SimDuration = SimDuration::from_secs(60);

/// GPUs that change accounts together: how many, and what they cost in an hour, millionths of a dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lot {
    /// GPUs.
    pub gpus: u32,
    /// The sum of their prices.
    pub rate: u128,
}

impl Lot {
    /// So many GPUs at `price` millionths of a dollar an hour each.
    pub fn new(gpus: u32, price: u64) -> Self {
        Self { gpus, rate: u128::from(gpus) * u128::from(price) }
    }
}

impl std::ops::Add for Lot {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { gpus: self.gpus + other.gpus, rate: self.rate + other.rate }
    }
}

/// GPUs by account, and their integrals.
#[derive(Clone, Debug, Default)]
pub struct Books {
    gpus: [u64; Account::ALL.len()],
    gpu_ns: [u128; Account::ALL.len()],
    /// GPUs times the price of each, and their integrals.
    rates: [u128; Account::ALL.len()],
    cost: [u128; Account::ALL.len()],
    replicas: u64,
    replica_ns: u128,
    /// Busy GPU-nanoseconds, to be moved from idle to busy at the close, and what they cost.
    busy_gpu_ns: u128,
    busy_cost: u128,
    /// GPU-nanoseconds that keep-warm requests had to themselves.
    keep_warm_gpu_ns: u128,
    keep_warm_cost: u128,
    last: SimTime,
    closed: bool,
}

impl Books {
    /// Integrates up to `now`.
    fn advance(&mut self, now: SimTime) {
        let dt = u128::from(now.since(self.last).as_nanos());
        self.last = now;
        if self.closed || dt == 0 {
            return;
        }
        for (sum, gpus) in self.gpu_ns.iter_mut().zip(self.gpus) {
            *sum += u128::from(gpus) * dt;
        }
        for (sum, rate) in self.cost.iter_mut().zip(self.rates) {
            *sum += rate * dt;
        }
        self.replica_ns += u128::from(self.replicas) * dt;
    }

    /// GPUs enter an account.
    pub fn enter(&mut self, now: SimTime, account: Account, lot: Lot) {
        self.advance(now);
        self.gpus[account.index()] += u64::from(lot.gpus);
        self.rates[account.index()] += lot.rate;
    }

    /// GPUs leave an account.
    pub fn leave(&mut self, now: SimTime, account: Account, lot: Lot) {
        self.advance(now);
        self.gpus[account.index()] -= u64::from(lot.gpus);
        self.rates[account.index()] -= lot.rate;
    }

    /// The number of replicas that exist changes.
    pub fn set_replicas(&mut self, now: SimTime, replicas: u64) {
        self.advance(now);
        self.replicas = replicas;
    }

    /// A serving replica was busy that long. Serving GPUs are booked as idle until then.
    pub fn busy(&mut self, busy: SimDuration, lot: Lot) {
        if !self.closed {
            self.busy_gpu_ns += u128::from(busy.as_nanos()) * u128::from(lot.gpus);
            self.busy_cost += u128::from(busy.as_nanos()) * lot.rate;
        }
    }

    /// Keep-warm requests had a replica in rotation to themselves that long, which is part of its busy time.
    pub fn keep_warm(&mut self, alone: SimDuration, lot: Lot) {
        if !self.closed {
            self.keep_warm_gpu_ns += u128::from(alone.as_nanos()) * u128::from(lot.gpus);
            self.keep_warm_cost += u128::from(alone.as_nanos()) * lot.rate;
        }
    }

    /// The trace ends: nothing is booked after `now`.
    pub fn close(&mut self, now: SimTime) {
        self.advance(now);
        self.closed = true;
    }

    /// Whether the trace has ended.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes the integrals into a ledger.
    pub fn write(&self, ledger: &mut Ledger) {
        ledger.gpu_ns = self.gpu_ns;
        ledger.gpu_ns[Account::ServingIdle.index()] -= self.busy_gpu_ns;
        ledger.gpu_ns[Account::ServingBusy.index()] += self.busy_gpu_ns;
        ledger.cost = self.cost;
        ledger.cost[Account::ServingIdle.index()] -= self.busy_cost;
        ledger.cost[Account::ServingBusy.index()] += self.busy_cost;
        ledger.replica_ns = self.replica_ns;
        ledger.keep_warm_gpu_ns = self.keep_warm_gpu_ns;
        ledger.keep_warm_cost = self.keep_warm_cost;
    }
}

/// The integral of needed(t) = min(arrivals of the trailing 60 s / 60 / capacity, ready replicas).
///
/// Kept in whole numbers: arrival-nanoseconds while the arrivals are the smaller term,
/// replica-nanoseconds while the replicas are.
#[derive(Clone, Debug)]
pub struct Needed {
    /// Capacity of a replica times the window: arrivals in the window that keep one replica busy.
    arrivals_per_replica: f64,
    window: VecDeque<SimTime>,
    ready: u64,
    /// `ready` in arrivals of the window.
    ready_arrivals: f64,
    arrival_ns: u128,
    replica_ns: u128,
    last: SimTime,
    closed: bool,
}

impl Needed {
    /// For replicas that can each serve `capacity` requests/s within the SLO.
    pub fn new(capacity: f64) -> Self {
        Self {
            arrivals_per_replica: capacity * NEEDED_WINDOW.as_secs_f64(),
            window: VecDeque::new(),
            ready: 0,
            ready_arrivals: 0.0,
            arrival_ns: 0,
            replica_ns: 0,
            last: SimTime::ZERO,
            closed: false,
        }
    }

    fn integrate(&mut self, now: SimTime) {
        let dt = u128::from(now.since(self.last).as_nanos());
        self.last = now;
        if (self.window.len() as f64) < self.ready_arrivals {
            self.arrival_ns += self.window.len() as u128 * dt;
        } else {
            self.replica_ns += u128::from(self.ready) * dt;
        }
    }

    fn advance(&mut self, now: SimTime) {
        while let Some(&oldest) = self.window.front() {
            let expires = oldest + NEEDED_WINDOW;
            if expires > now {
                break;
            }
            self.integrate(expires);
            self.window.pop_front();
        }
        self.integrate(now);
    }

    /// A request arrives.
    pub fn arrived(&mut self, now: SimTime) {
        if !self.closed {
            self.advance(now);
            self.window.push_back(now);
        }
    }

    /// The number of serving and held replicas changes.
    pub fn set_ready(&mut self, now: SimTime, ready: u32) {
        if !self.closed {
            self.advance(now);
            self.ready = u64::from(ready);
            self.ready_arrivals = f64::from(ready) * self.arrivals_per_replica;
        }
    }

    /// The trace ends; returns the integral, replica-nanoseconds.
    pub fn close(&mut self, now: SimTime) -> f64 {
        if !self.closed {
            self.advance(now);
            self.closed = true;
            self.window = VecDeque::new();
        }
        self.arrival_ns as f64 / self.arrivals_per_replica + self.replica_ns as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(secs: u64) -> SimTime {
        SimTime::from_secs(secs)
    }

    #[test]
    fn needed_is_the_smaller_of_traffic_and_replicas() {
        // 0.1 requests/s a replica: 6 arrivals in the window keep one busy.
        let mut needed = Needed::new(0.1);
        needed.set_ready(s(0), 1);
        (0..3).for_each(|_| needed.arrived(s(10)));
        (0..6).for_each(|_| needed.arrived(s(40)));
        // 10..40: 3 arrivals = 0.5; 40..70: 9 arrivals, capped at 1; 70..100: 6 = 1; then 0.
        let expected = 30.0 * 0.5 + 30.0 + 30.0;
        assert!((needed.close(s(200)) / 1e9 - expected).abs() < 1e-9);
    }

    #[test]
    fn books_stop_at_the_end_of_the_trace() {
        let mut books = Books::default();
        books.enter(s(0), Account::Unallocated, Lot::new(8, 10));
        books.leave(s(10), Account::Unallocated, Lot::new(2, 10));
        books.enter(s(10), Account::ServingIdle, Lot::new(2, 10));
        books.busy(SimDuration::from_secs(4), Lot::new(2, 10));
        books.close(s(20));
        books.leave(s(30), Account::ServingIdle, Lot::new(2, 10));
        let mut ledger = Ledger::default();
        books.write(&mut ledger);
        let secs = |a| ledger.account(a) / 1_000_000_000;
        assert_eq!(secs(Account::Unallocated), 80 + 60);
        assert_eq!(secs(Account::ServingIdle), 20 - 8);
        assert_eq!(secs(Account::ServingBusy), 8);
        assert_eq!(ledger.total() / 1_000_000_000, 8 * 20);
        assert_eq!(ledger.cost, ledger.gpu_ns.map(|gpu_ns| gpu_ns * 10));
    }
}
