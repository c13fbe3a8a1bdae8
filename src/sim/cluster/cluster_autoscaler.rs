//! Kubernetes' cluster-autoscaler: what one look at the cluster leads to.
//!
//! Release 1.34 (`core/static_autoscaler.go`, `core/scaledown/unneeded/nodes.go`, `loop/trigger.go`). Of a node it knows its GPUs only, which
//! is what its utilisation of a GPU node is, too (`simulator/utilization/info.go`). Whether pods find room elsewhere is judged
//! for each node by itself; deletion takes effect at once.

use super::config::ClusterAutoscalerSpec;
use super::{Choice, Cluster, NodeState};
use crate::kernel::{NodeId, SimDuration, SimTime};

/// What it remembers.
#[derive(Clone, Debug, Default)]
pub struct ClusterAutoscaler {
    last_add: Option<SimTime>,
    last_delete: Option<SimTime>,
    orders: u64,
}

/// What a look leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nodes are ordered.
    Order(Choice),
    /// Nodes that took too long are given up.
    GiveUp(Vec<NodeId>),
    /// Empty nodes are removed.
    Remove(Vec<NodeId>),
    /// A node is drained, to be removed when it is empty.
    Drain(NodeId),
}

impl ClusterAutoscaler {
    /// The next thing to do now, `waiting` pods being without a node; `None`: nothing until the next look. To be asked again
    /// after each step: a productive iteration is followed by another at once.
    pub fn look(
        &mut self,
        spec: &ClusterAutoscalerSpec,
        cluster: &mut Cluster,
        waiting: u32,
        now: SimTime,
    ) -> Option<Step> {
        let late: Vec<NodeId> =
            cluster.coming().filter(|id| is_late(cluster, *id, spec.max_node_provision_time, now)).collect();
        if !late.is_empty() {
            return Some(Step::GiveUp(late));
        }
        let beyond = waiting.saturating_sub(cluster.room_on_the_way());
        let choices = cluster.choices(beyond, now);
        if let Some(choice) = cluster.expand(spec.expander, &choices, self.orders) {
            self.orders += 1;
            return Some(Step::Order(choice));
        }
        if !spec.scale_down_enabled {
            return None;
        }
        let unneeded = mark_unneeded(spec, cluster, now);
        let over = |last: Option<SimTime>, wait: SimDuration| {
            last.is_none_or(|last| last.saturating_add(wait) <= now)
        };
        let cooled = over(self.last_add, spec.scale_down_delay_after_add)
            && over(self.last_delete, spec.scale_down_delay_after_delete);
        if !cooled {
            return None;
        }
        let step = scale_down(spec, cluster, &unneeded, now)?;
        self.last_delete = Some(now);
        Some(step)
    }

    /// An order went through.
    pub fn added(&mut self, now: SimTime) {
        self.last_add = Some(now);
    }
}

/// Whether a node on its way should be given up.
pub(super) fn is_late(cluster: &Cluster, id: NodeId, most: SimDuration, now: SimTime) -> bool {
    cluster.node(id).ordered.saturating_add(most) < now
}

/// Notes since when each node has been unneeded; gives those that are.
fn mark_unneeded(spec: &ClusterAutoscalerSpec, cluster: &mut Cluster, now: SimTime) -> Vec<NodeId> {
    let threshold = spec.scale_down_gpu_utilization_threshold.milli().unwrap_or(i64::MAX).max(0) as u64;
    let is_unneeded = |id: NodeId| {
        let used = u64::from(cluster.gpus_of(id) - cluster.node(id).free_gpus);
        let below = used * 1000 < threshold.saturating_mul(u64::from(cluster.gpus_of(id)));
        let state = cluster.node(id).state == NodeState::Ready;
        // An empty node is below any threshold but 0.
        state && (below || used == 0) && (cluster.is_empty(id) || cluster.finds_room_elsewhere(id))
    };
    let unneeded: Vec<NodeId> = cluster.there().iter().copied().filter(|id| is_unneeded(*id)).collect();
    for id in cluster.there.clone() {
        let node = &mut cluster.nodes[id.index()];
        node.unneeded_since = unneeded.contains(&id).then(|| node.unneeded_since.unwrap_or(now));
    }
    unneeded
}

fn scale_down(
    spec: &ClusterAutoscalerSpec,
    cluster: &Cluster,
    unneeded: &[NodeId],
    now: SimTime,
) -> Option<Step> {
    let long_enough = |id: &NodeId| {
        let time = cluster.pool_of(*id).spec.scale_down_unneeded.unwrap_or(spec.scale_down_unneeded_time);
        // Strictly, as upstream has it.
        cluster.node(*id).unneeded_since.is_some_and(|since| since.saturating_add(time) < now)
    };
    let mut left: Vec<u32> = (0..cluster.plan.pools.len())
        .map(|pool| cluster.count(pool).saturating_sub(cluster.plan.pools[pool].spec.min_nodes))
        .collect();
    let mut go = |id: &NodeId| {
        let left = &mut left[cluster.node(*id).pool];
        let may = *left > 0;
        *left -= u32::from(may);
        may
    };
    let ripe: Vec<NodeId> = unneeded.iter().copied().filter(long_enough).collect();
    let empty = ripe.iter().copied().filter(|id| cluster.is_empty(*id)).filter(&mut go);
    let empty: Vec<NodeId> = empty.take(spec.max_scale_down_parallelism as usize).collect();
    if !empty.is_empty() {
        return Some(Step::Remove(empty));
    }
    if cluster.there().iter().any(|id| cluster.node(*id).state == NodeState::Drained) {
        return None;
    }
    ripe.into_iter().find(&mut go).map(Step::Drain)
}

impl Cluster {
    /// Whether the pods of a node may go and would find room on the other nodes that take pods.
    pub fn finds_room_elsewhere(&self, id: NodeId) -> bool {
        let pods = (self.gpus_of(id) - self.node(id).free_gpus) / self.gpus_per_replica.max(1);
        let replicas = pods - self.node(id).placeholders;
        (self.plan.safe_to_evict || replicas == 0) && pods <= self.room_without(id)
    }
}
