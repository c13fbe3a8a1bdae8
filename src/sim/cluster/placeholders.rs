//! Placeholders: pods of a low priority that hold nodes for replicas to come, and what holding them costs.

use super::Cluster;
use crate::kernel::{NodeId, SimTime};

/// What placeholders hold, and its integral over time. Their nodes are billed all the while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    gpus: u64,
    /// GPUs times the price of each.
    rate: u128,
    /// GPU-nanoseconds that placeholders held.
    pub gpu_ns: u128,
    /// The same, each times the price of its GPU-hour in millionths of a US dollar.
    pub cost: u128,
    last: SimTime,
}

impl Held {
    fn advance(&mut self, now: SimTime) {
        let dt = u128::from(now.since(self.last).as_nanos());
        self.last = now;
        self.gpu_ns += u128::from(self.gpus) * dt;
        self.cost += self.rate * dt;
    }
}

impl Cluster {
    /// Binds waiting placeholders to what room is left.
    pub fn bind_placeholders(&mut self, now: SimTime) {
        let gpus = self.gpus_per_replica;
        while self.placeholders_waiting > 0 {
            let Some(id) = self.best(now, None, |node| node.free_gpus >= gpus) else { return };
            self.placeholders_waiting -= 1;
            self.nodes[id.index()].placeholders += 1;
            self.occupy(id, now);
            self.held.advance(now);
            self.held.gpus += u64::from(gpus);
            self.held.rate += u128::from(gpus) * u128::from(self.price_of(id));
        }
    }

    /// Takes a placeholder off its node.
    pub(super) fn take_placeholder(&mut self, id: NodeId, now: SimTime) {
        let gpus = self.gpus_per_replica;
        self.nodes[id.index()].placeholders -= 1;
        self.vacate(id, now);
        self.held.advance(now);
        self.held.gpus -= u64::from(gpus);
        self.held.rate -= u128::from(gpus) * u128::from(self.price_of(id));
    }

    /// A node loses its placeholders, which wait for another.
    pub(super) fn evict_placeholders(&mut self, id: NodeId, now: SimTime) {
        while self.nodes[id.index()].placeholders > 0 {
            self.take_placeholder(id, now);
            self.placeholders_waiting += 1;
        }
    }

    /// There are to be so many placeholders. Those too many go: ones that wait first, then those of the newest nodes. Gives the
    /// nodes that lost one.
    pub fn set_placeholders(&mut self, wanted: u32, now: SimTime) -> Vec<NodeId> {
        let bound: u32 = self.there.iter().map(|id| self.node(*id).placeholders).sum();
        self.placeholders_waiting = wanted.saturating_sub(bound);
        let mut too_many = bound.saturating_sub(wanted);
        let mut lost = Vec::new();
        for id in self.there.clone().into_iter().rev() {
            let here = self.node(id).placeholders.min(too_many);
            (0..here).for_each(|_| self.take_placeholder(id, now));
            too_many -= here;
            if here > 0 {
                lost.push(id);
            }
        }
        lost
    }

    /// What placeholders held until the end of the trace.
    pub fn close_held(&mut self, end: SimTime) -> Held {
        self.held.advance(end);
        self.held
    }
}
