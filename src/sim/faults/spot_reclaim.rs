//! Spot nodes that are taken back with a notice.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::queue::Rank;
use crate::kernel::{NodeId, SimDuration};
use crate::sim::run::{Event, Run};

/// Spot nodes that are taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpotReclaimSpec {
    /// When the notice comes, from the start of the run.
    pub at: SimDuration,
    /// How many nodes: which ones is drawn among those that take pods.
    #[serde(default = "super::one")]
    pub nodes: u32,
    /// From the notice to the end of the machines.
    #[serde(default = "two_minutes")]
    pub notice: SimDuration,
    /// Of which pools. Default: all whose `capacityType` is `spot`.
    #[serde(default)]
    pub pools: Vec<String>,
}

fn two_minutes() -> SimDuration {
    SimDuration::from_secs(120)
}

impl Run<'_> {
    /// Nodes get their notice.
    pub(super) fn reclaim(&mut self, nodes: Vec<NodeId>, reclaim: &SpotReclaimSpec) {
        // All of them before any pod goes: what waits for a node must not come to one that is about to go.
        for id in &nodes {
            self.cluster.cordon(*id, self.now);
        }
        for id in nodes {
            self.empty(id, reclaim.notice);
        }
    }

    /// A cordoned node's pods are deleted, and its machine is gone a while later.
    pub(super) fn empty(&mut self, id: NodeId, until_gone: SimDuration) {
        let gone = self.now.saturating_add(until_gone);
        self.queue.push(gone, Rank::Phase, id.0, 3, Event::NodeLost(id));
        for replica in self.on_node(id) {
            self.remove(replica);
        }
    }
}
