//! Node pools, and what orders and removes their nodes, as a scenario writes them. Doc comments are the manual that
//! `thawline explain` prints.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::{Bytes, Distribution, Price, Quantity, SimDuration};

/// A node pool: machines of one kind, at one price (node group, NodePool, managed instance group).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolSpec {
    /// The GPU of its nodes, as the profile names it. Default: the profile's; another one cannot run the profile.
    #[serde(default)]
    pub gpu: Option<String>,
    /// GPUs of a node.
    pub gpus_per_node: u32,
    /// Nodes that are always there.
    #[serde(default)]
    pub min_nodes: u32,
    /// Most nodes.
    pub max_nodes: u32,
    /// Price of a GPU-hour, US dollars. Default: the profile's, with its source and date.
    #[serde(default)]
    pub price_per_gpu_hour: Option<Price>,
    /// Whether the cloud may take its nodes back (label `karpenter.sh/capacity-type`).
    #[serde(default)]
    pub capacity_type: CapacityType,
    /// Its zones; new nodes go where the pool has fewest (label `topology.kubernetes.io/zone`). Default: one, without a name.
    #[serde(default)]
    pub zones: Vec<String>,
    /// Labels of its nodes, which `replica.nodeSelector` selects by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Pools of a higher priority are ordered from first: by the expander `priority`, and as Karpenter's `weight`.
    #[serde(default)]
    pub priority: u32,
    /// Rate of a node's network interface, bytes/s, which what it pulls and fetches shares. Default: never the limit.
    #[serde(default)]
    pub node_bandwidth: Option<Bytes>,
    /// Whether nodes come with the image (`replica.image`): baked in, or a disk attached.
    #[serde(default)]
    pub image_present: bool,
    /// Whether nodes come with the weights (`replica.weights`).
    #[serde(default)]
    pub weights_present: bool,
    /// What nodes fetch as soon as they take pods, before any pod asks (a DaemonSet or a job that distributes it).
    #[serde(default)]
    pub prefetch: Vec<Prefetch>,
    /// Rate at which weights are read from a node's disk, bytes/s, which the loads of its replicas share. Loading takes as long as the longer of that and
    /// the profile's `weightLoad`. Default: never the limit.
    #[serde(default)]
    pub disk_bandwidth: Option<Bytes>,
    /// Memory of a node that keeps weights once they were read or fetched, so that they are not read again. Default: none.
    #[serde(default)]
    pub page_cache: Option<Bytes>,
    /// Disk of a node for weights. Default: no limit.
    #[serde(default)]
    pub model_cache: Option<Bytes>,
    /// Disk of a node for unpacked images, which the kubelet keeps under 80 % of with those not in use. Default: no limit.
    #[serde(default)]
    pub image_store: Option<Bytes>,
    /// Bytes an hour that other workloads bring into each of a node's caches: what has not been used since as much came as has room is gone
    /// (least recently used first). Default: none.
    #[serde(default)]
    pub cache_turnover: Option<Bytes>,
    /// From the order of a node until its machine has booted.
    #[serde(default = "no_time")]
    pub provision: Distribution,
    /// From boot until the node takes pods: driver, device plugin.
    #[serde(default = "no_time")]
    pub setup: Distribution,
    /// An empty node above `minNodes` is removed after this long. Default: the cluster autoscaler's 10 minutes, or its
    /// `scaleDownUnneededTime`.
    #[serde(default)]
    pub scale_down_unneeded: Option<SimDuration>,
    /// When the bill of a node starts.
    #[serde(default)]
    pub billed_from: BilledFrom,
}

fn no_time() -> Distribution {
    Distribution::Constant(SimDuration::ZERO)
}

impl PoolSpec {
    /// A pool of so many nodes that are there at once and empty, for nothing.
    pub fn plain(gpus_per_node: u32, max_nodes: u32) -> Self {
        Self {
            gpu: None,
            gpus_per_node,
            min_nodes: 0,
            max_nodes,
            price_per_gpu_hour: None,
            capacity_type: CapacityType::default(),
            zones: Vec::new(),
            labels: BTreeMap::new(),
            priority: 0,
            node_bandwidth: None,
            image_present: false,
            weights_present: false,
            prefetch: Vec::new(),
            disk_bandwidth: None,
            page_cache: None,
            model_cache: None,
            image_store: None,
            cache_turnover: None,
            provision: no_time(),
            setup: no_time(),
            scale_down_unneeded: None,
            billed_from: BilledFrom::default(),
        }
    }
}

/// What nodes fetch beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Prefetch {
    /// `replica.image`.
    Image,
    /// `replica.weights`.
    Weights,
}

/// Whether the cloud may take nodes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CapacityType {
    /// It does not.
    #[default]
    OnDemand,
    /// It may: `spotReclaim` takes these.
    Spot,
}

impl CapacityType {
    /// As the label `karpenter.sh/capacity-type` has it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
        }
    }
}

/// When the bill of a node starts. It ends with the node's deletion, and in any case with the trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BilledFrom {
    /// When it is asked for.
    Request,
    /// When its machine has booted: after `provision`.
    #[default]
    Boot,
    /// When it takes pods.
    Ready,
}

/// GPUs that some pools may have together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuotaSpec {
    /// The most GPUs of their nodes at a time, ordered ones included.
    pub gpus: u32,
    /// The pools. Default: all.
    #[serde(default)]
    pub pools: Vec<String>,
}

/// How pods are given to nodes (kube-scheduler).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SchedulerSpec {
    /// Whether nodes fill up or share the load (`NodeResourcesFit`'s `scoringStrategy`, on GPUs).
    pub scoring_strategy: ScoringStrategy,
    /// Whether nodes that have the image are preferred (`ImageLocality`); it counts with `replica.image`.
    pub image_locality: bool,
}

impl Default for SchedulerSpec {
    fn default() -> Self {
        Self { scoring_strategy: ScoringStrategy::default(), image_locality: true }
    }
}

/// Which nodes score higher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ScoringStrategy {
    /// The fuller: pods are packed, and nodes become empty.
    #[default]
    MostAllocated,
    /// The emptier: pods are spread.
    LeastAllocated,
}

/// Pods that hold nodes for those to come and give way to them at once: of a lower priority, each as large as a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceholderSpec {
    /// How many.
    pub replicas: u32,
}

/// What orders nodes when pods wait, and removes those that nobody needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProvisionerSpec {
    /// Nobody: each pool has its `minNodes`, whatever waits.
    None,
    /// No loop of its own: nodes are ordered the instant that pods wait, from the pool where they are cheapest, and removed when they have been empty for
    /// `scaleDownUnneeded`. What any provisioner can do at best.
    #[default]
    AtOnce,
    /// Kubernetes' cluster-autoscaler, its flags under their names.
    ClusterAutoscaler(ClusterAutoscalerSpec),
    /// Karpenter.
    Karpenter(KarpenterSpec),
}

/// The cluster-autoscaler's flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterAutoscalerSpec {
    /// `--scan-interval`: time between two looks at the cluster.
    pub scan_interval: SimDuration,
    /// Time of the first. Default: drawn within the interval.
    pub scan_phase: Option<SimDuration>,
    /// `--frequent-loops-enabled`: a pod that finds no node has it look at once, and so does a look that changed something.
    pub frequent_loops_enabled: bool,
    /// `--expander`: which pool is ordered from, where several would do.
    pub expander: Expander,
    /// `--new-pod-scale-up-delay`: younger pods are not looked at.
    pub new_pod_scale_up_delay: SimDuration,
    /// `--max-node-provision-time`: a node that does not take pods by then is given up, and its pool backed off from.
    pub max_node_provision_time: SimDuration,
    /// `--initial-node-group-backoff-duration`: how long a pool that failed is not ordered from; it doubles with each failure.
    pub initial_node_group_backoff_duration: SimDuration,
    /// `--max-node-group-backoff-duration`.
    pub max_node_group_backoff_duration: SimDuration,
    /// `--node-group-backoff-reset-timeout`: after so long without a failure a pool starts anew.
    pub node_group_backoff_reset_timeout: SimDuration,
    /// `--scale-down-enabled`.
    pub scale_down_enabled: bool,
    /// `--scale-down-unneeded-time`: how long a node must have been unneeded.
    pub scale_down_unneeded_time: SimDuration,
    /// `--scale-down-gpu-utilization-threshold`: a node whose pods hold a smaller share of its GPUs is unneeded, if they find room elsewhere.
    pub scale_down_gpu_utilization_threshold: Quantity,
    /// `--scale-down-delay-after-add`: no node is removed so long after one was ordered.
    pub scale_down_delay_after_add: SimDuration,
    /// `--scale-down-delay-after-delete`: nor so long after one was removed.
    pub scale_down_delay_after_delete: SimDuration,
    /// `--max-scale-down-parallelism`: most empty nodes removed at a time. Of others, one at a time.
    pub max_scale_down_parallelism: u32,
}

impl Default for ClusterAutoscalerSpec {
    fn default() -> Self {
        let minutes = |minutes: u64| SimDuration::from_secs(60 * minutes);
        Self {
            scan_interval: SimDuration::from_secs(10),
            scan_phase: None,
            frequent_loops_enabled: true,
            expander: Expander::default(),
            new_pod_scale_up_delay: SimDuration::ZERO,
            max_node_provision_time: minutes(15),
            initial_node_group_backoff_duration: minutes(5),
            max_node_group_backoff_duration: minutes(30),
            node_group_backoff_reset_timeout: minutes(180),
            scale_down_enabled: true,
            scale_down_unneeded_time: minutes(10),
            scale_down_gpu_utilization_threshold: Quantity::from_milli(500),
            scale_down_delay_after_add: minutes(10),
            scale_down_delay_after_delete: SimDuration::ZERO,
            max_scale_down_parallelism: 10,
        }
    }
}

/// Which of several pools is ordered from. Of equals the first as written; upstream draws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Expander {
    /// Where the smallest share of the new GPUs stays unused.
    #[default]
    LeastWaste,
    /// Where most of the waiting pods get a node.
    MostPods,
    /// Where a pod costs least.
    Price,
    /// The pool of the highest `priority`.
    Priority,
    /// Any.
    Random,
}

/// Karpenter's settings, of its NodePools and of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KarpenterSpec {
    /// `BATCH_IDLE_DURATION`: nodes are ordered when no further pod has come for so long ..
    pub batch_idle_duration: SimDuration,
    /// `BATCH_MAX_DURATION`: .. or the first one has waited for so long.
    pub batch_max_duration: SimDuration,
    /// A node that does not take pods by then is given up and another one ordered (15 minutes in its source).
    pub registration_timeout: SimDuration,
    /// `spec.disruption.consolidationPolicy`: which nodes go.
    pub consolidation_policy: ConsolidationPolicy,
    /// `spec.disruption.consolidateAfter`: how long no pod has come to a node or left it, before it may go.
    pub consolidate_after: SimDuration,
    /// `spec.disruption.budgets`: how many of a pool's nodes may be going or not ready at a time, of hundred; rounded up.
    pub budget_percent: u32,
    /// `spec.template.spec.expireAfter`: a node of that age is drained and goes.
    pub expire_after: SimDuration,
}

impl Default for KarpenterSpec {
    fn default() -> Self {
        Self {
            batch_idle_duration: SimDuration::from_secs(1),
            batch_max_duration: SimDuration::from_secs(10),
            registration_timeout: SimDuration::from_secs(900),
            consolidation_policy: ConsolidationPolicy::default(),
            consolidate_after: SimDuration::ZERO,
            budget_percent: 10,
            expire_after: SimDuration::from_secs(720 * 3600),
        }
    }
}

/// Which nodes Karpenter removes of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ConsolidationPolicy {
    /// Empty ones, and those whose pods find room on others.
    #[default]
    WhenEmptyOrUnderutilized,
    /// Empty ones.
    WhenEmpty,
}
