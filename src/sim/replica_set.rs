//! Which pods a ReplicaSet deletes when it has too many: the order of Kubernetes' ReplicaSet controller
//! (1.36, `pkg/controller/controller_utils.go` `ActivePodsWithRanks`, `pkg/controller/replicaset/replica_set.go`
//! `getPodsRankedByRelatedPodsOnSameNode`). A pure function of what the API server knows about the pods.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::kernel::{NodeId, SimTime};

/// `status.phase`, in the order in which pods go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodPhase {
    /// No container runs yet.
    Pending,
    /// The node does not answer.
    Unknown,
    /// A container runs, or ran.
    Running,
}

/// An active pod of a ReplicaSet: neither terminating nor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod<U> {
    /// `metadata.uid`.
    pub uid: U,
    /// `spec.nodeName`.
    pub node: Option<NodeId>,
    /// `status.phase`.
    pub phase: PodPhase,
    /// The `Ready` condition is true.
    pub ready: bool,
    /// Its `lastTransitionTime`; `None` is upstream's zero time.
    pub ready_at: Option<SimTime>,
    /// The annotation `controller.kubernetes.io/pod-deletion-cost`; 0 where there is none.
    pub deletion_cost: i32,
    /// Restarts of the container that restarted most.
    pub restarts: u32,
    /// `metadata.creationTimestamp`; `None` is upstream's zero time.
    pub created_at: Option<SimTime>,
}

/// The feature gates that the order depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    /// `PodDeletionCost`: the annotation counts.
    pub pod_deletion_cost: bool,
    /// `LogarithmicScaleDown`: ages count by their power of two, and within one the UID decides.
    pub logarithmic_scale_down: bool,
}

impl Default for Gates {
    /// As Kubernetes ships them: on.
    fn default() -> Self {
        Self { pod_deletion_cost: true, logarithmic_scale_down: true }
    }
}

/// Indices of the pods in the order in which they go, first ones first. (Where all of them go upstream does not sort.)
/// The related pods of upstream's rank are these pods: of a Deployment that is not being rolled out, one ReplicaSet
/// has them all.
pub fn deletion_order<U: Ord>(pods: &[Pod<U>], now: SimTime, gates: Gates) -> Vec<usize> {
    deletion_order_among(pods, pods.iter().map(|pod| pod.node), now, gates)
}

/// The same, with the nodes of all related pods, these included: those of all ReplicaSets of their Deployment.
pub fn deletion_order_among<U: Ord>(
    pods: &[Pod<U>],
    related: impl Iterator<Item = Option<NodeId>>,
    now: SimTime,
    gates: Gates,
) -> Vec<usize> {
    let mut on_node: BTreeMap<Option<NodeId>, u32> = BTreeMap::new();
    for node in related {
        *on_node.entry(node).or_default() += 1;
    }
    let mut order: Vec<usize> = Vec::with_capacity(pods.len());
    for (index, pod) in pods.iter().enumerate() {
        // By insertion and not by `sort_by`, which may panic: upstream's comparison is not transitive where of three
        // pods of one age two became ready at the same time.
        let goes_before = |placed: &usize| {
            let rank = (on_node[&pods[*placed].node], on_node[&pod.node]);
            compare(&pods[*placed], pod, rank, now, gates) != Ordering::Greater
        };
        order.insert(order.partition_point(goes_before), index);
    }
    order
}

/// `Less` if `a` goes before `b`; `rank` is how many pods each has on its node, itself included.
fn compare<U: Ord>(a: &Pod<U>, b: &Pod<U>, rank: (u32, u32), now: SimTime, gates: Gates) -> Ordering {
    let cost = |pod: &Pod<U>| if gates.pod_deletion_cost { pod.deletion_cost } else { 0 };
    let age = |times: (Option<SimTime>, Option<SimTime>)| {
        by_age(times, now, gates.logarithmic_scale_down, || a.uid.cmp(&b.uid))
    };
    let ready = || if a.ready && b.ready { age((a.ready_at, b.ready_at)) } else { Ordering::Equal };
    a.node
        .is_some()
        .cmp(&b.node.is_some())
        .then(a.phase.cmp(&b.phase))
        .then(a.ready.cmp(&b.ready))
        .then(cost(a).cmp(&cost(b)))
        .then(rank.1.cmp(&rank.0))
        .then_with(ready)
        .then(b.restarts.cmp(&a.restarts))
        .then_with(|| age((a.created_at, b.created_at)))
        // Upstream leaves the rest to the order of its cache, which is none: the UID is as good.
        .then_with(|| a.uid.cmp(&b.uid))
}

/// The order of two pods by two of their times: zero times first, then the younger.
fn by_age(
    (a, b): (Option<SimTime>, Option<SimTime>),
    now: SimTime,
    logarithmic: bool,
    by_uid: impl FnOnce() -> Ordering,
) -> Ordering {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) if a != b => (a, b),
        (a, b) => return a.is_some().cmp(&b.is_some()),
    };
    if !logarithmic {
        return b.cmp(&a);
    }
    // An age of nothing is younger than one of 1 ns.
    let magnitude = |t: SimTime| now.since(t).as_nanos().checked_ilog2();
    magnitude(a).cmp(&magnitude(b)).then_with(by_uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A ready pod alone on its node, created and ready so many seconds ago.
    fn pod(uid: &'static str, age_s: u64) -> Pod<&'static str> {
        let at = Some(SimTime::from_secs(100_000 - age_s));
        Pod {
            uid,
            node: Some(NodeId(uid.bytes().map(u32::from).sum())),
            phase: PodPhase::Running,
            ready: true,
            ready_at: at,
            deletion_cost: 0,
            restarts: 0,
            created_at: at,
        }
    }

    fn order(pods: &[Pod<&'static str>], gates: Gates) -> Vec<&'static str> {
        deletion_order(pods, SimTime::from_secs(100_000), gates).into_iter().map(|i| pods[i].uid).collect()
    }

    #[test]
    fn each_rule_outranks_those_after_it() {
        // What a pod goes for is in its name; rules further down would have it go later.
        let base = || pod("z", 30_000);
        let starting = || Pod { ready: false, ready_at: None, ..base() };
        let list = [
            Pod { uid: "unassigned", node: None, phase: PodPhase::Running, ..base() },
            Pod { uid: "pending", phase: PodPhase::Pending, deletion_cost: 9, ..starting() },
            Pod { uid: "unknown", phase: PodPhase::Unknown, deletion_cost: 9, ..starting() },
            Pod { uid: "not ready", deletion_cost: 9, ..starting() },
            Pod { uid: "cheap", deletion_cost: -1, node: Some(NodeId(9)), ..base() },
            Pod { uid: "doubled up", node: Some(NodeId(1)), ..base() },
            Pod { uid: "double", node: Some(NodeId(1)), ready_at: Some(SimTime::ZERO), ..base() },
            Pod { uid: "ready at no time", ready_at: None, node: Some(NodeId(2)), ..base() },
            Pod { uid: "ready late", ready_at: pod("", 10).ready_at, node: Some(NodeId(3)), ..base() },
            Pod {
                uid: "restarted",
                restarts: 1,
                created_at: Some(SimTime::ZERO),
                node: Some(NodeId(4)),
                ..base()
            },
            Pod { uid: "created at no time", created_at: None, node: Some(NodeId(5)), ..base() },
            Pod { uid: "created late", created_at: pod("", 10).created_at, node: Some(NodeId(6)), ..base() },
            Pod { uid: "a", node: Some(NodeId(7)), ..base() },
            Pod { uid: "dear", deletion_cost: 1, restarts: 5, node: Some(NodeId(8)), ..pod("", 1) },
        ];
        let expected: Vec<_> = list.iter().map(|pod| pod.uid).collect();
        assert_eq!(order(&list, Gates::default()), expected);
        let mut backwards = list.clone();
        backwards.reverse();
        assert_eq!(order(&backwards, Gates::default()), expected);
    }

    #[test]
    fn ages_count_by_their_power_of_two_and_then_the_uid_does() {
        // 2^36 ns are 68.7 s, 2^37 ns are 137.4 s: 70 s and 130 s are of one age, 60 s and 140 s are of others.
        let list = [pod("a", 140), pod("d", 70), pod("c", 130), pod("b", 60), pod("e", 0)];
        assert_eq!(order(&list, Gates::default()), ["e", "b", "c", "d", "a"]);
        let plain = Gates { logarithmic_scale_down: false, ..Gates::default() };
        assert_eq!(order(&list, plain), ["e", "b", "d", "c", "a"]);
    }

    #[test]
    fn the_annotation_counts_only_behind_its_gate() {
        let list = [Pod { deletion_cost: 5, ..pod("a", 1) }, pod("b", 10_000)];
        assert_eq!(order(&list, Gates::default()), ["b", "a"]);
        assert_eq!(order(&list, Gates { pod_deletion_cost: false, ..Gates::default() }), ["a", "b"]);
    }

    proptest! {
        /// Upstream's comparison is no order where two of three pods of one age have equal times: still, all
        /// of them come out, and the rules that nothing can contradict hold.
        #[test]
        fn any_pods_come_out_once_each(
            drawn in prop::collection::vec((0u8..3, any::<bool>(), 0u64..4, 0u32..2, 0u64..4, 0u8..9), 0..40)
        ) {
            let pods: Vec<Pod<(u8, usize)>> = drawn
                .iter()
                .enumerate()
                .map(|(index, &(node, ready, ready_s, restarts, created_s, uid))| Pod {
                    uid: (uid, index),
                    node: (node > 0).then_some(NodeId(u32::from(node))),
                    phase: PodPhase::Running,
                    ready,
                    ready_at: Some(SimTime::from_secs(ready_s)).filter(|_| ready),
                    deletion_cost: 0,
                    restarts,
                    created_at: Some(SimTime::from_secs(created_s)),
                })
                .collect();
            let order = deletion_order(&pods, SimTime::from_secs(5), Gates::default());
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert!(sorted.into_iter().eq(0..pods.len()));
            let key = |index: &usize| (pods[*index].node.is_some(), pods[*index].ready);
            prop_assert!(order.is_sorted_by_key(key));
        }
    }
}
