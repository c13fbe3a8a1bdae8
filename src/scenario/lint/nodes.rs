//! Rules about nodes, and what orders and removes them.

use super::case::Case;
use super::figures::whole;
use super::finding::Finding;
use crate::sim::cluster::config::{ConsolidationPolicy, ProvisionerSpec};
use crate::yaml::Path;

/// W0370: a provisioner that takes replicas off nodes to save these.
pub(super) fn moved_replicas(case: &Case<'_>) -> Vec<Finding> {
    let at = Path::keys(["cluster", "provisioner"]);
    let figures = &case.figures;
    // With one node there is none to move to.
    if !case.spec.replica.safe_to_evict || figures.room <= figures.per_node {
        return Vec::new();
    }
    let (name, at, mend) = match &case.spec.cluster.provisioner {
        ProvisionerSpec::ClusterAutoscaler(flags) => {
            let threshold = flags.scale_down_gpu_utilization_threshold.as_f64();
            let hardly_used = f64::from(figures.per_node) * threshold > 1.0;
            if !flags.scale_down_enabled || !hardly_used {
                return Vec::new();
            }
            let mend = "write `replica.safeToEvict: false` (annotation cluster-autoscaler.kubernetes.io/safe-to-evict), or scaleDownGpuUtilizationThreshold: 0";
            ("the cluster autoscaler", at.key("clusterAutoscaler"), mend)
        }
        ProvisionerSpec::Karpenter(settings) => {
            let policy = settings.consolidation_policy;
            if policy == ConsolidationPolicy::WhenEmpty || settings.budget_percent == 0 {
                return Vec::new();
            }
            let mend = "write `replica.safeToEvict: false` (annotation karpenter.sh/do-not-disrupt), or consolidationPolicy: whenEmpty";
            ("Karpenter", at.key("karpenter"), mend)
        }
        ProvisionerSpec::None | ProvisionerSpec::AtOnce => return Vec::new(),
    };
    let start = whole(figures.cold_start.median);
    vec![Finding::new(
        at,
        format!(
            "{name} takes replicas off nodes that are hardly used, and each is missing for {start}, its start"
        ),
        "it counts GPUs and not requests: a replica that serves is deleted to save a node, and its successor starts from nothing",
        mend,
    )]
}
