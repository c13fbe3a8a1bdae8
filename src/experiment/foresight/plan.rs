//! A plan: how many replicas are wanted when, and the policy that orders them in time.

use crate::kernel::{SimDuration, SimTime};
use crate::policy::api::Path;
use crate::policy::{Autoscaler, Decision, Loop, Reason, View};

/// How many replicas are wanted in each of equal slots from the start on, and how long before each they are ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Length of a slot.
    pub slot: SimDuration,
    /// Replicas by slot.
    pub replicas: Vec<u32>,
    /// What is wanted more is ordered so long before.
    pub ahead: SimDuration,
}

impl Plan {
    fn begins(&self, slot: usize) -> SimTime {
        SimTime::ZERO + SimDuration::from_nanos(self.slot.as_nanos().saturating_mul(slot as u64))
    }

    /// The orders: when, and how many replicas. At each instant as many are ordered as any slot wants that begins within the time that
    /// orders run ahead, or lasts.
    pub fn orders(&self) -> Vec<(SimTime, u32)> {
        let slots = 0..self.replicas.len();
        let mut instants: Vec<SimTime> = slots
            .clone()
            .flat_map(|slot| [self.begins(slot), self.begins(slot).saturating_sub(self.ahead)])
            .collect();
        instants.sort_unstable();
        instants.dedup();
        let mut orders: Vec<(SimTime, u32)> = Vec::new();
        for at in instants {
            let until = at.saturating_add(self.ahead);
            let first = slots.clone().find(|slot| self.begins(slot + 1) > at);
            let wanted = first.into_iter().flat_map(|first| first..self.replicas.len());
            let wanted =
                wanted.take_while(|slot| self.begins(*slot) <= until).map(|slot| self.replicas[slot]);
            let replicas = wanted.max().unwrap_or(0);
            if orders.last().is_none_or(|(_, last)| *last != replicas) {
                orders.push((at, replicas));
            }
        }
        orders
    }
}

/// The policy that orders what a plan says.
pub struct Planned {
    orders: Vec<(SimTime, u32)>,
    next: usize,
}

impl Planned {
    /// Of a plan.
    pub fn new(plan: &Plan) -> Self {
        Self { orders: plan.orders(), next: 0 }
    }
}

impl Autoscaler for Planned {
    fn loops(&self) -> Vec<Loop> {
        Vec::new()
    }

    fn decide(&mut self, _: usize, _: &View<'_>) -> Option<Decision> {
        None
    }

    fn initial(&self) -> (u32, u32) {
        (self.orders.first().map_or(0, |(_, replicas)| *replicas), 0)
    }

    fn maximum(&self) -> Option<u32> {
        self.orders.iter().map(|(_, replicas)| *replicas).max()
    }

    fn timer(&self) -> Option<SimTime> {
        self.orders.get(self.next).map(|(at, _)| *at)
    }

    fn timed(&mut self, _: &View<'_>) -> Option<(&'static str, Decision)> {
        let (_, replicas) = *self.orders.get(self.next)?;
        self.next += 1;
        let why = Reason::new("Planned", "as the future wants it");
        Some(("plan", Decision { replicas, spare: 0, path: Path::Direct, why }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_ordered_ahead_and_given_back_in_time() {
        let secs = SimDuration::from_secs;
        let orders = |replicas: &[u32], ahead_s: u64| {
            let plan = Plan { slot: secs(60), replicas: replicas.to_vec(), ahead: secs(ahead_s) };
            let orders = plan.orders().into_iter();
            orders.map(|(at, n)| (at.as_nanos() / 1_000_000_000, n)).collect::<Vec<_>>()
        };
        assert_eq!(orders(&[1, 1, 3, 2], 0), [(0, 1), (120, 3), (180, 2)]);
        assert_eq!(orders(&[1, 1, 3, 2], 40), [(0, 1), (80, 3), (180, 2)]);
        // A dip that is shorter than a start is none.
        assert_eq!(orders(&[3, 1, 3], 60), [(0, 3)]);
        assert_eq!(orders(&[3, 1, 3], 40), [(0, 3), (60, 1), (80, 3)]);
        // What is wanted at once is there from the start.
        assert_eq!(orders(&[0, 2], 90), [(0, 2)]);
        assert_eq!(orders(&[], 90), []);
    }
}
