//! Replicas of several pods on as many nodes, as a LeaderWorkerSet makes them.
//!
//! kubernetes-sigs/lws (`pkg/controllers`): the leaders are the pods of a StatefulSet with `podManagementPolicy: Parallel`,
//! each with a StatefulSet of workers. A group's name is its index: removals take the highest, and a name is free again once all of
//! its pods are gone. Pods are bound one by one (no gang scheduling), and those that have a node hold its GPUs while they wait for the
//! others. Where a container of a group exits the whole group is deleted and made anew (`RecreateGroupOnPodRestart`).

use super::books::Lot;
use super::replica::{Replica, State};
use super::run::Run;
use super::storage::Want;
use super::{ReplicaParams, replica::Work};
use crate::kernel::{NodeId, ReplicaId, SimDuration};
use crate::outcome::{Account, Phase, StartResult};

impl ReplicaParams {
    /// GPUs of each of its pods.
    pub fn gpus_per_pod(&self) -> u32 {
        self.gpus / self.group_size.max(1)
    }

    /// Whether it is a group of several pods.
    pub fn is_group(&self) -> bool {
        self.group_size > 1
    }
}

impl Run<'_> {
    /// Pods of a replica that have no node.
    pub(super) fn missing_pods(&self, id: ReplicaId) -> u32 {
        self.sim.replica.group_size - self.replicas[id.index()].nodes.len() as u32
    }

    /// Pods of replicas.
    pub(super) fn pods_of(&self, replicas: &[ReplicaId]) -> u32 {
        replicas.iter().map(|id| self.missing_pods(*id)).sum()
    }

    /// Binds a pod of a replica; `false` if there is no room for it.
    pub(super) fn bind_pod(&mut self, id: ReplicaId) -> bool {
        let now = self.now;
        let version = self.replicas[id.index()].version;
        let Some(node) = self.cluster.bind(now, self.storage.as_ref(), version) else { return false };
        let lot = self.lot(node);
        let replica = &mut self.replicas[id.index()];
        replica.nodes.push(node);
        // The leader is the first: its kubelet probes.
        replica.bound_at = replica.bound_at.or(Some(now));
        self.books.leave(now, Account::Unallocated, lot);
        if let Some(phase @ (Phase::Pending | Phase::Provisioning)) = replica.phase() {
            self.books.enter(now, replica.start_account(phase), lot);
        }
        if let Some(storage) = &mut self.storage {
            storage.pod_came(node);
            if storage.fetches_with_pull() {
                storage.prepare(now, node, Want::Weights, version);
            }
            if self.sim.replica.is_group() {
                // Its kubelet waits for no other.
                storage.prepare(now, node, Want::Image, version);
            }
            self.watch_storage();
        }
        true
    }

    /// GPUs that a replica holds on all of its nodes.
    pub(super) fn lot_of(&self, id: ReplicaId) -> Lot {
        let nodes = self.replicas[id.index()].nodes.iter();
        nodes.map(|node| self.lot(*node)).fold(Lot::default(), std::ops::Add::add)
    }

    /// GPUs that a pod of a replica holds on a node.
    pub(super) fn lot(&self, node: NodeId) -> Lot {
        Lot::new(self.sim.replica.gpus_per_pod(), self.cluster.price_of(node))
    }

    /// All GPUs of a node.
    pub(super) fn lot_of_node(&self, node: NodeId) -> Lot {
        Lot::new(self.cluster.gpus_of(node), self.cluster.price_of(node))
    }

    /// The lowest index that no group has, one that is being deleted included.
    pub(super) fn free_index(&self) -> u32 {
        let mut taken: Vec<u32> = self.live.iter().map(|id| self.replicas[id.index()].index).collect();
        taken.sort_unstable();
        taken.iter().zip(0..).find(|(taken, index)| **taken != *index).map_or(taken.len() as u32, |(_, i)| i)
    }

    /// How many replicas are missing of those that are wanted, and how many are too many.
    pub(super) fn apart(&self, active: &[ReplicaId], wanted: usize) -> (usize, usize) {
        if !self.sim.replica.is_group() {
            return (wanted.saturating_sub(active.len()), active.len().saturating_sub(wanted));
        }
        let is_wanted = |id: &&ReplicaId| (self.replicas[id.index()].index as usize) < wanted;
        let named = self.live.iter().filter(is_wanted).count();
        let kept = active.iter().filter(is_wanted).count();
        (wanted - named, active.len() - kept)
    }

    /// The groups with the highest indices.
    pub(super) fn highest_groups(&self, active: &[ReplicaId], count: usize) -> Vec<ReplicaId> {
        let mut groups = active.to_vec();
        groups.sort_by_key(|id| std::cmp::Reverse(self.replicas[id.index()].index));
        groups.truncate(count);
        groups
    }

    /// A container of a group exits: all of its pods are deleted, and others are made.
    pub(super) fn recreate(&mut self, id: ReplicaId) {
        match self.replicas[id.index()].state {
            State::Starting(_) => {
                self.leave_start(id, StartResult::Recreated);
                self.replicas[id.index()].state = State::Gone;
                self.gone(id);
            }
            State::Ready(_, in_rotation) => {
                self.cut_off(id);
                if in_rotation {
                    self.remove_endpoint(id);
                }
                let replica = &mut self.replicas[id.index()];
                replica.unready_at = Some(self.now);
                replica.state = State::Gone;
                self.gone(id);
                self.readiness_changed();
            }
            State::Draining(_) | State::Lost(_) | State::Gone => {}
        }
    }

    /// Whether all pods of a replica have what they waited for, now that one of them has.
    pub(super) fn all_have(&mut self, id: ReplicaId) -> bool {
        let State::Starting(starting) = &mut self.replicas[id.index()].state else { return true };
        starting.awaits = starting.awaits.saturating_sub(1);
        starting.awaits == 0
    }
}

impl Replica {
    /// The node of its leader.
    pub fn node(&self) -> Option<NodeId> {
        self.nodes.first().copied()
    }
}

/// A stage takes a group as long as the slowest of its pods.
pub(super) fn slowest(times: impl Iterator<Item = SimDuration>) -> Work {
    Work::For(times.max().unwrap_or_default())
}
