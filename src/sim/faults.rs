//! What goes wrong in a run because the scenario says so.

use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::replica::State;
use super::run::{Event, Run};
use crate::kernel::queue::Rank;
use crate::kernel::rng::Purpose;
use crate::kernel::{NodeId, ReplicaId, SimDuration, SimTime};
use crate::outcome::Account;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FaultSpec {
    /// The cloud takes spot nodes back. They take no more pods and their pods are deleted, as a termination handler does;
    /// when the notice is over the machines are gone, and whatever still ran on them.
    SpotReclaim(SpotReclaimSpec),
    /// No node is to be had. Orders meanwhile fail, and after each failure nobody orders for 5 minutes, then 10, 20 and 30, as
    /// cluster-autoscaler backs off from a node group; nodes that were ordered before come.
    NoCapacity(NoCapacitySpec),
}

/// Spot nodes that are taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpotReclaimSpec {
    /// When the notice comes, from the start of the run.
    pub at: SimDuration,
    /// How many nodes: which ones is drawn among those that take pods.
    #[serde(default = "one")]
    pub nodes: u32,
    /// From the notice to the end of the machines.
    #[serde(default = "two_minutes")]
    pub notice: SimDuration,
}

/// An interval without capacity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NoCapacitySpec {
    /// When it begins, from the start of the run.
    pub from: SimDuration,
    /// How long it lasts.
    pub lasts: SimDuration,
}

fn one() -> u32 {
    1
}

fn two_minutes() -> SimDuration {
    SimDuration::from_secs(120)
}

/// When no node is to be had, and how the autoscaler of the nodes takes it (cluster-autoscaler
/// `--initial-node-group-backoff-duration` and `--max-node-group-backoff-duration`).
#[derive(Clone, Debug, Default)]
pub struct Scarcity {
    /// Intervals without capacity: from, to.
    intervals: Vec<(SimTime, SimTime)>,
    /// The length of the last back-off; zero after an order that went through.
    last: SimDuration,
    /// Until when nobody orders.
    until: SimTime,
}

/// The first back-off from a node group.
const BACK_OFF: SimDuration = SimDuration::from_secs(300);
/// The longest one.
const BACK_OFF_MAX: SimDuration = SimDuration::from_secs(1_800);

impl Scarcity {
    /// Of a scenario's faults.
    pub fn new(faults: &[FaultSpec]) -> Self {
        let interval = |fault: &FaultSpec| match fault {
            FaultSpec::NoCapacity(NoCapacitySpec { from, lasts }) => {
                let from = SimTime::ZERO + *from;
                Some((from, from.saturating_add(*lasts)))
            }
            FaultSpec::SpotReclaim(_) => None,
        };
        Self { intervals: faults.iter().filter_map(interval).collect(), ..Self::default() }
    }

    /// Somebody wants to order a node. `Err` says when to ask again.
    pub fn ask(&mut self, now: SimTime) -> Result<(), SimTime> {
        if now < self.until {
            return Err(self.until);
        }
        if !self.intervals.iter().any(|(from, to)| (*from..*to).contains(&now)) {
            self.last = SimDuration::ZERO;
            return Ok(());
        }
        let doubled = SimDuration::from_nanos(self.last.as_nanos().saturating_mul(2));
        self.last = doubled.clamp(BACK_OFF, BACK_OFF_MAX);
        self.until = now.saturating_add(self.last);
        Err(self.until)
    }
}

impl Run<'_> {
    /// Puts the faults in place.
    pub(super) fn schedule_faults(&mut self) {
        for (index, fault) in self.sim.faults.iter().enumerate() {
            if let FaultSpec::SpotReclaim(reclaim) = fault {
                let at = SimTime::ZERO + reclaim.at;
                self.queue.push(at, Rank::Phase, u32::MAX - 2, index as u32, Event::Fault(index));
            }
        }
    }

    /// A fault's time has come.
    pub(super) fn fault(&mut self, index: usize) {
        let FaultSpec::SpotReclaim(reclaim) = &self.sim.faults[index] else { return };
        let mut rng = self.streams.stream(Purpose::Faults, index as u64);
        let mut nodes = self.cluster.taking_pods();
        let mut taken = Vec::new();
        while taken.len() < reclaim.nodes as usize && !nodes.is_empty() {
            taken.push(nodes.swap_remove(rng.random_range(0..nodes.len())));
        }
        // All of them before any pod goes: what waits for a node must not come to one that is about to go.
        for id in &taken {
            self.cluster.cordon(*id);
        }
        for id in taken {
            let over = self.now.saturating_add(reclaim.notice);
            self.queue.push(over, Rank::Phase, id.0, 3, Event::NodeLost(id));
            for replica in self.on_node(id) {
                self.remove(replica);
            }
        }
        self.replace_pods();
    }

    /// A node's machine is gone, and what still ran on it.
    pub(super) fn node_lost(&mut self, id: NodeId) {
        for replica in self.on_node(id) {
            match self.replicas[replica.index()].state {
                State::Draining(_) => self.grace_over(replica),
                _ => self.remove(replica),
            }
        }
        if self.cluster.lose(id, self.now) {
            self.books.leave(self.now, Account::Unallocated, self.cluster.gpus_per_node());
            if let Some(storage) = &mut self.storage {
                storage.node_gone(self.now, id);
            }
            self.watch_storage();
        }
        self.replace_pods();
    }

    fn on_node(&self, id: NodeId) -> Vec<ReplicaId> {
        self.live.iter().copied().filter(|replica| self.replicas[replica.index()].node == Some(id)).collect()
    }
}
