//! Machines that vanish without a notice, and what Kubernetes makes of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::queue::Rank;
use crate::kernel::{NodeId, ReplicaId, SimDuration};
use crate::outcome::StartResult;
use crate::sim::replica::{Lost, State};
use crate::sim::run::{Event, Run};

/// Machines that vanish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeLossSpec {
    /// When, from the start of the run. What runs on the machines is gone at once, and so is their bill.
    pub at: SimDuration,
    /// How many nodes: which ones is drawn among those that take pods.
    #[serde(default = "super::one")]
    pub nodes: u32,
    /// Until the nodes are found NotReady (`--node-monitor-grace-period`; 40 s before Kubernetes 1.32). So long requests are
    /// routed to their pods, and no answer comes.
    #[serde(default = "fifty_seconds")]
    pub not_ready_after: SimDuration,
    /// From there until their pods are deleted and replaced (the toleration `node.kubernetes.io/unreachable`). Sooner where
    /// somebody deletes the node of a machine that is no more.
    #[serde(default = "five_minutes")]
    pub evict_after: SimDuration,
}

fn fifty_seconds() -> SimDuration {
    SimDuration::from_secs(50)
}

fn five_minutes() -> SimDuration {
    SimDuration::from_secs(300)
}

impl Run<'_> {
    /// Machines vanish.
    pub(super) fn lose_machines(&mut self, nodes: Vec<NodeId>, loss: &NodeLossSpec) {
        // All of them before any pod ends: what waits for a node must not come to one that is gone.
        for id in &nodes {
            self.cluster.cordon(*id, self.now);
        }
        for id in nodes {
            for replica in self.on_node(id) {
                self.lose(replica);
            }
            let pods = self.on_node(id).len() as u32;
            self.machine_gone(id, pods);
            let not_ready = self.now.saturating_add(loss.not_ready_after);
            self.queue.push(not_ready, Rank::Phase, id.0, 4, Event::NotReady(id));
            let evicted = not_ready.saturating_add(loss.evict_after);
            self.queue.push(evicted, Rank::Phase, id.0, 5, Event::Evict(id));
        }
        // Nodes that wait for room in the pool come in their place.
        self.place();
    }

    /// A replica's machine is gone. A pod that was being deleted is gone with it; any other stays, as far as anybody knows.
    fn lose(&mut self, id: ReplicaId) {
        let lost = match &self.replicas[id.index()].state {
            State::Starting(_) => {
                self.leave_start(id, StartResult::NodeLost);
                Lost { ready: self.replicas[id.index()].exposed.is_some(), spare: false }
            }
            State::Ready(_, in_rotation) => {
                let spare = !*in_rotation;
                self.cut_off(id);
                Lost { ready: true, spare }
            }
            State::Draining(_) => return self.grace_over(id),
            State::Lost(_) | State::Gone => return,
        };
        self.replicas[id.index()].state = State::Lost(lost);
    }

    /// A node is found not to answer: its pods are not ready, and leave the endpoints.
    pub(in crate::sim) fn not_ready(&mut self, id: NodeId) {
        for replica in self.on_node(id) {
            let now = self.now;
            let State::Lost(lost) = &mut self.replicas[replica.index()].state else { continue };
            if std::mem::take(&mut lost.ready) {
                self.replicas[replica.index()].unready_at = Some(now);
                self.remove_endpoint(replica);
            }
        }
        self.policy.pods_changed(self.now);
        self.readiness_changed();
        // A spare steps in.
        self.replace_pods();
        self.set_timer();
    }

    /// The pods of a node that does not answer are deleted.
    pub(in crate::sim) fn evict(&mut self, id: NodeId) {
        for replica in self.on_node(id) {
            self.remove(replica);
        }
        self.replace_pods();
    }

    /// A pod on a machine that is gone is deleted: nobody is there to drain it, and it holds nothing.
    pub(in crate::sim) fn forget_lost(&mut self, id: ReplicaId) {
        let replica = &mut self.replicas[id.index()];
        replica.state = State::Gone;
        replica.nodes.clear();
        self.remove_endpoint(id);
        self.gone(id);
    }
}
