//! Which pods count: ready, unready, missing a sample, or ignored.
//!
//! After `groupPods` of Kubernetes' `replica_calculator.go` (1.33 to 1.37).

use std::collections::BTreeSet;

use super::types::{Nanos, Pod, PodPhase, Readiness, ReadyStatus, Sample, Samples};

/// The pods of a workload by how they count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodGroups {
    /// How many count in full.
    pub ready_count: usize,
    /// Not usable yet: they count as zero when scaling up.
    pub unready: BTreeSet<String>,
    /// Without a sample: they count against the direction of the change.
    pub missing: BTreeSet<String>,
    /// Going or failed: they do not count.
    pub ignored: BTreeSet<String>,
}

/// Sorts the pods. The order of the tests matters: a missing sample is seen before
/// readiness, and readiness only concerns `cpu`, because a starting process burns CPU that
/// says nothing about load.
pub fn group_pods(
    pods: &[&Pod],
    samples: &Samples,
    resource: &str,
    readiness: Readiness,
    now: Nanos,
) -> PodGroups {
    let mut groups = PodGroups::default();
    for pod in pods {
        if pod.deleting || pod.phase == PodPhase::Failed {
            groups.ignored.insert(pod.name.clone());
        } else if pod.phase == PodPhase::Pending {
            groups.unready.insert(pod.name.clone());
        } else {
            match samples.get(&pod.name) {
                None => {
                    groups.missing.insert(pod.name.clone());
                }
                Some(sample) if resource == "cpu" && is_cpu_unready(pod, sample, readiness, now) => {
                    groups.unready.insert(pod.name.clone());
                }
                Some(_) => groups.ready_count += 1,
            }
        }
    }
    groups
}

fn is_cpu_unready(pod: &Pod, sample: &Sample, readiness: Readiness, now: Nanos) -> bool {
    let (Some(ready), Some(started)) = (pod.ready, pod.started) else {
        return true;
    };
    let is_false = ready.status == ReadyStatus::False;
    if started.saturating_add(readiness.cpu_initialization_period) > now {
        // Young: the sample must lie wholly after the pod became ready.
        is_false || sample.at < ready.changed.saturating_add(sample.window)
    } else {
        // Old: a pod that was ready once and no longer is keeps counting.
        is_false && started.saturating_add(readiness.initial_readiness_delay) > ready.changed
    }
}
