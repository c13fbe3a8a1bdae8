//! What goes wrong in a run because the scenario says so.

use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cluster::Plan;
use super::run::{Event, Run};
use crate::kernel::queue::Rank;
use crate::kernel::rng::Purpose;
use crate::kernel::{SimDuration, SimTime};

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FaultSpec {
    /// The cloud takes spot nodes back. They take no more pods and their pods are deleted, as a termination handler does;
    /// when the notice is over the machines are gone, and whatever still ran on them.
    SpotReclaim(SpotReclaimSpec),
    /// No node is to be had. Orders meanwhile fail, and after each failure the pool is left alone for 5 minutes, then 10, 20 and 30, as
    /// cluster-autoscaler backs off from a node group (Karpenter: for 3 minutes each time); nodes that were ordered before come.
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
    /// Of which pools. Default: all whose `capacityType` is `spot`.
    #[serde(default)]
    pub pools: Vec<String>,
}

/// An interval without capacity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NoCapacitySpec {
    /// When it begins, from the start of the run.
    pub from: SimDuration,
    /// How long it lasts.
    pub lasts: SimDuration,
    /// Of which pools. Default: all.
    #[serde(default)]
    pub pools: Vec<String>,
    /// In which of their zones. Default: all.
    #[serde(default)]
    pub zones: Vec<String>,
}

fn one() -> u32 {
    1
}

fn two_minutes() -> SimDuration {
    SimDuration::from_secs(120)
}

/// When no node is to be had, and where.
#[derive(Clone, Debug, Default)]
pub struct Shortages {
    list: Vec<Shortage>,
}

#[derive(Clone, Debug)]
struct Shortage {
    from: SimTime,
    to: SimTime,
    /// The pools' places; `None`: all.
    pools: Option<Vec<usize>>,
    /// Names of zones; none: all.
    zones: Vec<String>,
}

impl Shortages {
    /// Of a scenario's faults.
    pub fn new(faults: &[FaultSpec], cluster: &Plan) -> Self {
        let shortage = |fault: &FaultSpec| match fault {
            FaultSpec::NoCapacity(NoCapacitySpec { from, lasts, pools, zones }) => {
                let from = SimTime::ZERO + *from;
                let place = |name: &String| cluster.pools.iter().position(|pool| pool.name == *name);
                Some(Shortage {
                    from,
                    to: from.saturating_add(*lasts),
                    pools: (!pools.is_empty()).then(|| pools.iter().filter_map(place).collect()),
                    zones: zones.clone(),
                })
            }
            FaultSpec::SpotReclaim(_) => None,
        };
        Self { list: faults.iter().filter_map(shortage).collect() }
    }

    /// Whether nodes of a pool are to be had in a zone now.
    pub fn has(&self, now: SimTime, pool: usize, zone: &str) -> bool {
        !self.list.iter().any(|shortage| {
            (shortage.from..shortage.to).contains(&now)
                && shortage.pools.as_ref().is_none_or(|pools| pools.contains(&pool))
                && (shortage.zones.is_empty() || shortage.zones.iter().any(|name| name == zone))
        })
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
        let mut nodes = self.cluster.reclaimable(&reclaim.pools);
        let mut taken = Vec::new();
        while taken.len() < reclaim.nodes as usize && !nodes.is_empty() {
            taken.push(nodes.swap_remove(rng.random_range(0..nodes.len())));
        }
        // All of them before any pod goes: what waits for a node must not come to one that is about to go.
        for id in &taken {
            self.cluster.cordon(*id, self.now);
        }
        for id in taken {
            let over = self.now.saturating_add(reclaim.notice);
            self.queue.push(over, Rank::Phase, id.0, 3, Event::NodeLost(id));
            for replica in self.on_node(id) {
                self.remove(replica);
            }
        }
        self.replace_pods();
        self.place();
    }
}
