//! GPUs that fail beyond repair.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::queue::Rank;
use crate::kernel::{NodeId, ReplicaId, SimDuration};
use crate::sim::cluster::NodeState;
use crate::sim::run::{Event, Run};

/// GPUs that fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuErrorSpec {
    /// When, from the start of the run.
    pub at: SimDuration,
    /// How many replicas lose a GPU: which ones is drawn among those whose container runs, ready or not.
    #[serde(default = "super::one")]
    pub replicas: u32,
    /// Until their nodes are cordoned and drained, as a node repair or somebody on call does it. Each machine is given back when
    /// the grace period of its pods is over.
    #[serde(default = "ten_minutes")]
    pub drained_after: SimDuration,
}

fn ten_minutes() -> SimDuration {
    SimDuration::from_secs(600)
}

impl Run<'_> {
    /// A GPU of each of these replicas fails, and with it the container.
    pub(super) fn fail_gpus(&mut self, replicas: Vec<ReplicaId>, error: &GpuErrorSpec) {
        let mut nodes: Vec<NodeId> = Vec::new();
        for id in replicas {
            let replica = &mut self.replicas[id.index()];
            replica.gpu_failed = true;
            nodes.extend(replica.nodes.iter());
            self.container_exits(id);
        }
        nodes.sort_unstable();
        nodes.dedup();
        let at = self.now.saturating_add(error.drained_after);
        for id in nodes {
            self.queue.push(at, Rank::Phase, id.0, 6, Event::DrainNode(id));
        }
    }

    /// A node with failed GPUs is drained.
    pub(in crate::sim) fn drain_node(&mut self, id: NodeId) {
        if self.cluster.node(id).state != NodeState::Ready {
            return;
        }
        self.cluster.cordon(id, self.now);
        self.empty(id, self.sim.replica.termination_grace_period);
        self.replace_pods();
    }
}
