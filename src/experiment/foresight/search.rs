//! The search for a cheap plan: from what the traffic needs by its capacity, scaled until the plan holds, then by taking replicas away where
//! it still holds and costs less: from long stretches first, then from short ones.
//!
//! Every plan is run in the simulator. The search draws nothing and stops after a fixed number of runs, so that its result is the same
//! on any machine; it is no proof that there is nothing cheaper.

use super::plan::{Plan, Planned};
use super::share;
use crate::kernel::{SimDuration, SimTime, Streams};
use crate::sim::{self, Simulation};

/// The most slots of a plan, and the shortest.
const SLOTS: u64 = 96;
const SHORTEST: SimDuration = SimDuration::from_secs(30);
/// Window of the rates that the first plan is made of.
const WINDOW: SimDuration = SimDuration::from_secs(60);
/// What the first plan has of the replicas that its rates need; what each next one has more until one holds.
const FIRST: f64 = 0.7;
const RISE: f64 = 1.15;
/// How long before a slot its replicas are ordered, in typical starts: tried one after the other.
const AHEAD: [f64; 4] = [1.2, 1.6, 0.8, 0.5];

/// A search in one replication.
pub struct Search<'a> {
    sim: &'a Simulation,
    replication: u32,
    breach_share: f64,
    /// Runs left.
    left: u32,
    slot: SimDuration,
    /// The highest rate of any window that touches a slot, requests/s.
    rates: Vec<f64>,
    most: u32,
}

impl<'a> Search<'a> {
    /// In a replication of a simulation, for a plan by which no more than a share of the requests breaches.
    ///
    /// # Errors
    /// What stopped the traffic, if anything did.
    pub fn new(sim: &'a Simulation, replication: u32, breach_share: f64, plans: u32) -> Result<Self, String> {
        let streams = Streams::new(sim.seed, u64::from(replication));
        let last = sim.source.requests(&streams).last().map_or(SimTime::ZERO, |request| request.arrival);
        if let Some(failure) = sim.source.failure() {
            return Err(failure);
        }
        let span = sim.source.span().unwrap_or(last.since(SimTime::ZERO));
        let slot = SimDuration::from_nanos(span.as_nanos().div_ceil(SLOTS)).max(SHORTEST);
        let slots = span.as_nanos().div_ceil(slot.as_nanos().max(1)).max(1) as usize;
        let group = sim.replica.group_size.max(1);
        let most = sim.cluster.room(sim.replica.gpus_per_pod()) / group;
        let mut search = Self {
            sim,
            replication,
            breach_share,
            left: plans,
            slot,
            rates: vec![0.0; slots],
            most: most.max(1),
        };
        search.measure(&streams);
        Ok(search)
    }

    /// With slots of a length of its own; for tests that try every plan.
    #[cfg(test)]
    pub fn with_slot(mut self, slot: SimDuration) -> Self {
        let span = self.slot.as_nanos() * self.rates.len() as u64;
        self.slot = slot;
        self.rates = vec![0.0; span.div_ceil(slot.as_nanos()) as usize];
        self.measure(&Streams::new(self.sim.seed, u64::from(self.replication)));
        self
    }

    fn measure(&mut self, streams: &Streams) {
        let mut window = (0u64, 0u64);
        for request in self.sim.source.requests(streams) {
            let at = request.arrival.as_nanos();
            if at / WINDOW.as_nanos() != window.0 {
                window = (at / WINDOW.as_nanos(), 0);
            }
            window.1 += 1;
            let rate = window.1 as f64 / WINDOW.as_secs_f64();
            let slot = ((at / self.slot.as_nanos()) as usize).min(self.rates.len() - 1);
            self.rates[slot] = self.rates[slot].max(rate);
        }
    }

    /// The plan that has `factor` of what the rates need.
    fn by_rates(&self, factor: f64, capacity: f64, ahead: SimDuration) -> Plan {
        let needed = |rate: &f64| ((rate / capacity * factor).ceil() as u32).clamp(1, self.most);
        Plan { slot: self.slot, replicas: self.rates.iter().map(needed).collect(), ahead }
    }

    /// What a plan costs, US dollars, if it holds.
    fn cost(&mut self, plan: &Plan, progress: &(impl Fn() + Sync)) -> Result<Option<f64>, String> {
        self.left = self.left.saturating_sub(1);
        let (outcome, _) = sim::run(self.sim, Box::new(Planned::new(plan)), self.replication, None)?;
        progress();
        Ok((share(&outcome) <= self.breach_share).then(|| outcome.ledger.cost_total()))
    }

    /// The cheapest plan that was found, and what it costs, US dollars.
    ///
    /// # Errors
    /// As [`sim::run()`].
    pub fn run(mut self, progress: &(impl Fn() + Sync)) -> Result<Option<(Plan, f64)>, String> {
        let Some(capacity) = self.sim.capacity_per_s.filter(|capacity| *capacity > 0.0) else {
            return Ok(None);
        };
        let Some(first) = self.first(capacity, progress)? else { return Ok(None) };
        let mut best = self.ahead(first, progress)?;
        let mut length = self.rates.len();
        while length > 0 && self.left > 0 {
            let mut is_better = false;
            let mut from = 0;
            while from < self.rates.len() && self.left > 0 {
                let to = (from + length).min(self.rates.len());
                if let Some(less) = less(&best.0, from..to) {
                    match self.cost(&less, progress)? {
                        Some(usd) if usd < best.1 => {
                            best = (less, usd);
                            is_better = true;
                            // The same stretch may spare another.
                            continue;
                        }
                        _ => {}
                    }
                }
                from = to;
            }
            if !is_better || length > 1 {
                length /= 2;
            }
        }
        Ok(Some(best))
    }

    /// The first plan that holds: the rates' need, and more of it until it does.
    fn first(&mut self, capacity: f64, progress: &(impl Fn() + Sync)) -> Result<Option<(Plan, f64)>, String> {
        let ahead = self.start(AHEAD[0]);
        let mut factor = FIRST;
        let mut before: Option<Plan> = None;
        while self.left > 0 {
            let mut plan = self.by_rates(factor, capacity, ahead);
            // Where a busy slot has all that there is, the quiet ones before it may have to help.
            let busy = plan.replicas.iter().zip(&self.rates).filter(|(_, rate)| **rate > 0.0);
            let is_full = busy.into_iter().all(|(replicas, _)| *replicas == self.most);
            if is_full {
                plan.replicas.fill(self.most);
            }
            if before.as_ref() != Some(&plan)
                && let Some(usd) = self.cost(&plan, progress)?
            {
                return Ok(Some((plan, usd)));
            }
            if is_full {
                return Ok(None);
            }
            before = Some(plan);
            factor *= RISE;
        }
        Ok(None)
    }

    /// The same plan ordered earlier or later.
    fn ahead(
        &mut self,
        (plan, usd): (Plan, f64),
        progress: &(impl Fn() + Sync),
    ) -> Result<(Plan, f64), String> {
        let mut best = (plan, usd);
        for starts in &AHEAD[1..] {
            let other = Plan { ahead: self.start(*starts), ..best.0.clone() };
            if self.left > 0
                && let Some(usd) = self.cost(&other, progress)?.filter(|usd| *usd < best.1)
            {
                best = (other, usd);
            }
        }
        Ok(best)
    }

    /// So many typical starts.
    fn start(&self, starts: f64) -> SimDuration {
        SimDuration::from_secs_f64(self.sim.typical_start().as_secs_f64() * starts)
            .unwrap_or(SimDuration::MAX)
    }
}

/// A plan with one replica less in some slots; `None` if there is none to take.
fn less(plan: &Plan, slots: std::ops::Range<usize>) -> Option<Plan> {
    let mut less = plan.clone();
    let stretch = &mut less.replicas[slots];
    if stretch.iter().all(|replicas| *replicas == 0) {
        return None;
    }
    for replicas in stretch {
        *replicas = replicas.saturating_sub(1);
    }
    Some(less)
}
