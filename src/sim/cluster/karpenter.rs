//! Karpenter: when a batch of waiting pods is complete, and which nodes its disruption loop takes away.
//!
//! kubernetes-sigs/karpenter at 22664681 (`pkg/controllers/provisioning/batcher.go`, `pkg/controllers/disruption`). Not modelled: a node replaced by a
//! cheaper one, several nodes consolidated into one, other budgets than one share, drift.

use super::cluster_autoscaler::is_late;
use super::config::{ConsolidationPolicy, KarpenterSpec};
use super::{Cluster, NodeState};
use crate::kernel::{NodeId, SimDuration, SimTime};

/// Time between two passes of the disruption loop.
pub const POLL: SimDuration = SimDuration::from_secs(10);
/// From a decision until it is checked again and carried out.
pub const VALIDATION: SimDuration = SimDuration::from_secs(15);
/// How long an offering without capacity is left alone.
pub const UNAVAILABLE: SimDuration = SimDuration::from_secs(180);
/// Time until pods that got nothing are looked at again.
pub const REQUEUE: SimDuration = SimDuration::from_secs(10);

/// What it remembers.
#[derive(Clone, Debug, Default)]
pub struct Karpenter {
    /// The open batch: when its first pod came, and its last.
    batch: Option<(SimTime, SimTime)>,
    /// Nodes to be taken away once validated, with their generations.
    pub validating: Vec<(NodeId, u32)>,
}

impl Karpenter {
    /// A pod has come that no node has room for. Gives when the batch is complete, as it looks now.
    pub fn pod_waits(&mut self, spec: &KarpenterSpec, now: SimTime) -> SimTime {
        let first = self.batch.map_or(now, |(first, _)| first);
        self.batch = Some((first, now));
        now.saturating_add(spec.batch_idle_duration).min(first.saturating_add(spec.batch_max_duration))
    }

    /// The batch is complete.
    pub fn close_batch(&mut self) {
        self.batch = None;
    }

    /// Nodes that have come too late.
    pub fn late(&self, spec: &KarpenterSpec, cluster: &Cluster, now: SimTime) -> Vec<NodeId> {
        cluster.coming().filter(|id| is_late(cluster, *id, spec.registration_timeout, now)).collect()
    }

    /// Nodes that have expired: they are drained whatever the budget says.
    pub fn expired(&self, spec: &KarpenterSpec, cluster: &Cluster, now: SimTime) -> Vec<NodeId> {
        let expired = |id: &NodeId| {
            let node = cluster.node(*id);
            node.state == NodeState::Ready && node.ordered.saturating_add(spec.expire_after) <= now
        };
        cluster.there().iter().copied().filter(expired).collect()
    }

    /// The nodes that a pass of the disruption loop picks: all empty ones that the budget lets go, else one whose pods find room on
    /// others, the one with fewest pods.
    pub fn pick(&self, spec: &KarpenterSpec, cluster: &Cluster, now: SimTime) -> Vec<NodeId> {
        let quiet = |id: &NodeId| {
            let node = cluster.node(*id);
            node.state == NodeState::Ready && node.pods_changed.saturating_add(spec.consolidate_after) <= now
        };
        let mut allowed: Vec<u32> =
            (0..cluster.plan().pools.len()).map(|pool| budget(spec, cluster, pool)).collect();
        let mut go = |id: &NodeId| {
            let allowed = &mut allowed[cluster.node(*id).pool];
            let may = *allowed > 0;
            *allowed -= u32::from(may);
            may
        };
        let candidates: Vec<NodeId> = cluster.there().iter().copied().filter(quiet).collect();
        let empty = candidates.iter().copied().filter(|id| cluster.is_empty(*id)).filter(&mut go);
        let empty: Vec<NodeId> = empty.collect();
        if !empty.is_empty() || spec.consolidation_policy == ConsolidationPolicy::WhenEmpty {
            return empty;
        }
        let used = |id: &NodeId| cluster.gpus_of(*id) - cluster.node(*id).free_gpus;
        let mut others: Vec<NodeId> = candidates;
        others.retain(|id| cluster.finds_room_elsewhere(*id));
        others.sort_by_key(|id| (used(id), *id));
        others.into_iter().find(&mut go).into_iter().collect()
    }
}

/// Nodes of a pool that may still be taken away now, without going below its least.
fn budget(spec: &KarpenterSpec, cluster: &Cluster, pool: usize) -> u32 {
    let in_state = |states: &[NodeState]| {
        let is = |id: &&NodeId| cluster.node(**id).pool == pool && states.contains(&cluster.node(**id).state);
        cluster.there().iter().filter(is).count() as u32
    };
    let going = in_state(&[NodeState::Cordoned, NodeState::Drained]);
    let all = in_state(&[NodeState::Ready]) + going;
    let share = (u64::from(all) * u64::from(spec.budget_percent)).div_ceil(100) as u32;
    let spare = cluster.count(pool).saturating_sub(cluster.plan().pools[pool].spec.min_nodes);
    share.saturating_sub(going).min(spare)
}
