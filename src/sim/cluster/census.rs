//! Which nodes there are of a kind, and the room on them.

use super::config::CapacityType;
use super::{Cluster, NodeState};
use crate::kernel::NodeId;

impl Cluster {
    /// Nodes on their way.
    pub fn coming(&self) -> impl Iterator<Item = NodeId> + '_ {
        let coming = |id: &NodeId| matches!(self.node(*id).state, NodeState::Ordered | NodeState::Booted);
        self.there.iter().copied().filter(coming)
    }

    /// Replicas that the nodes on their way have room for.
    pub fn room_on_the_way(&self) -> u32 {
        self.coming().map(|id| self.per_node(self.node(id).pool)).sum()
    }

    /// Replicas that nodes have room for now, placeholders counted as room if they may be pushed aside; one node left out.
    pub fn room_without(&self, left_out: NodeId) -> u32 {
        let room = |id: &NodeId| {
            let takes = self.takes(*id) && *id != left_out;
            if takes { self.node(*id).free_gpus / self.gpus_per_replica.max(1) } else { 0 }
        };
        self.there.iter().map(room).sum()
    }

    /// Nodes that take pods, in order of their orders.
    pub fn taking_pods(&self) -> Vec<NodeId> {
        self.there.iter().copied().filter(|id| self.node(*id).state == NodeState::Ready).collect()
    }

    /// Nodes that take pods and that the cloud may take back, in order of their orders; of some pools only, unless none are named.
    pub fn reclaimable(&self, pools: &[String]) -> Vec<NodeId> {
        let may_go = |id: &NodeId| {
            let pool = self.pool_of(*id);
            let named = pools.is_empty() || pools.contains(&pool.name);
            pool.spec.capacity_type == CapacityType::Spot && named && self.node(*id).state == NodeState::Ready
        };
        self.there.iter().copied().filter(may_go).collect()
    }
}
