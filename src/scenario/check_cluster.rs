//! What pools, quotas and provisioners must be beyond their form.

use super::check::Checker;
use crate::sim::cluster::config::{CapacityType, PoolSpec, ProvisionerSpec};
use crate::yaml::Path;

/// Each replica takes memory; more GPUs than the largest clusters have are a slip of the finger.
const MOST_GPUS: u64 = 1_000_000;

/// What must fit a node.
pub(super) fn pod(group_size: u32, gpus: u32) -> String {
    match group_size {
        0 | 1 => format!("a replica of {gpus} GPUs"),
        size => format!("a pod of {} GPUs, one of {size},", gpus / size),
    }
}

/// How a replica comes to fit nodes that are too small for it.
pub(super) fn more_pods(gpus: u32, most: u32) -> String {
    let size = gpus.div_ceil(most.max(1));
    format!("write `replica.groupSize: {size}`, if it is a LeaderWorkerSet of {size} pods, or larger nodes")
}

impl Checker<'_> {
    pub(super) fn cluster(&mut self) {
        let spec = &self.scenario.spec;
        let at = Path::keys(["cluster", "pools"]);
        if spec.cluster.pools.is_empty() {
            self.fault("E0303", &at, "there is no pool for replicas to run on", "");
        }
        for (name, pool) in &spec.cluster.pools {
            self.pool(&at.key(name), pool);
        }
        let at = Path::keys(["replica", "gpus"]);
        let most = spec.cluster.pools.values().map(|pool| pool.gpus_per_node).max().unwrap_or(0);
        match spec.replica.gpus {
            Some(0) => self.zero(&at, "gpus"),
            Some(gpus) if gpus / spec.replica.group_size.max(1) > most && most > 0 => {
                let message = format!("{} fits no node of {most}", pod(spec.replica.group_size, gpus));
                self.fault("E0304", &at, message, &more_pods(gpus, most));
            }
            _ => {}
        }
        for (index, quota) in spec.cluster.quotas.iter().enumerate() {
            let at = Path::keys(["cluster", "quotas"]).index(index);
            if quota.gpus == 0 {
                self.zero(&at.key("gpus"), "gpus");
            }
            self.pools_exist(&at.key("pools"), &quota.pools);
            let least = spec
                .cluster
                .pools
                .iter()
                .filter(|(name, _)| quota.pools.is_empty() || quota.pools.contains(name));
            let least: u64 =
                least.map(|(_, pool)| u64::from(pool.min_nodes) * u64::from(pool.gpus_per_node)).sum();
            if least > u64::from(quota.gpus) && quota.gpus > 0 {
                let message =
                    format!("the minNodes of its pools have {least} GPUs, more than its {}", quota.gpus);
                self.fault("E0305", &at.key("gpus"), message, "raise the quota, or lower minNodes");
            }
        }
        let placeholders = u64::from(spec.cluster.placeholders.replicas);
        if placeholders > MOST_GPUS {
            let message = format!("{placeholders} placeholders are beyond the most, {MOST_GPUS}");
            self.fault("E0315", &Path::keys(["cluster", "placeholders", "replicas"]), message, "");
        }
        self.provisioner();
    }

    fn pool(&mut self, at: &Path, pool: &PoolSpec) {
        if pool.gpus_per_node == 0 {
            self.zero(&at.key("gpusPerNode"), "gpusPerNode");
        }
        let gpus = u64::from(pool.gpus_per_node) * u64::from(pool.max_nodes);
        if gpus > MOST_GPUS {
            let message = format!("a pool of {gpus} GPUs is beyond the largest, {MOST_GPUS}");
            self.fault("E0315", &at.key("maxNodes"), message, "");
        }
        if pool.max_nodes == 0 {
            self.zero(&at.key("maxNodes"), "maxNodes");
        } else if pool.max_nodes < pool.min_nodes {
            let message = format!("maxNodes {} is below minNodes {}", pool.max_nodes, pool.min_nodes);
            self.fault("E0305", &at.key("maxNodes"), message, "");
        }
        for (index, zone) in pool.zones.iter().enumerate() {
            if zone.trim().is_empty() || pool.zones[..index].contains(zone) {
                let message = format!("`{}` is no name of a zone, or was there before", zone.escape_debug());
                self.fault("E0307", &at.key("zones").index(index), message, "name each zone once");
            }
        }
    }

    fn provisioner(&mut self) {
        let at = Path::keys(["cluster", "provisioner"]);
        match &self.scenario.spec.cluster.provisioner {
            ProvisionerSpec::ClusterAutoscaler(flags) => {
                let at = at.key("clusterAutoscaler");
                if flags.max_scale_down_parallelism == 0 {
                    self.zero(&at.key("maxScaleDownParallelism"), "maxScaleDownParallelism");
                }
                let threshold = flags.scale_down_gpu_utilization_threshold.milli();
                if threshold.is_none_or(|milli| !(0..=1000).contains(&milli)) {
                    let message = "a utilisation is a share from 0 to 1";
                    self.fault(
                        "E0315",
                        &at.key("scaleDownGpuUtilizationThreshold"),
                        message,
                        "write e.g. 0.5",
                    );
                }
                let (first, most) =
                    (flags.initial_node_group_backoff_duration, flags.max_node_group_backoff_duration);
                if first > most {
                    let message = format!("the first back-off, {first}, is longer than the longest, {most}");
                    self.fault("E0305", &at.key("initialNodeGroupBackoffDuration"), message, "");
                }
            }
            ProvisionerSpec::Karpenter(settings) => {
                let at = at.key("karpenter");
                if settings.budget_percent > 100 {
                    let message = format!("a budget of {}% is more than all nodes", settings.budget_percent);
                    self.fault("E0315", &at.key("budgetPercent"), message, "write 0 to 100");
                }
                if settings.batch_idle_duration > settings.batch_max_duration {
                    let message =
                        "`batchIdleDuration` is longer than `batchMaxDuration`, which ends every batch";
                    self.fault("E0305", &at.key("batchIdleDuration"), message, "");
                }
                if settings.expire_after.is_zero() {
                    self.zero(&at.key("expireAfter"), "expireAfter");
                }
            }
            ProvisionerSpec::None | ProvisionerSpec::AtOnce => {}
        }
    }

    /// Names must be of pools there are.
    pub(super) fn pools_exist(&mut self, at: &Path, names: &[String]) {
        let pools: Vec<&str> = self.scenario.spec.cluster.pools.keys().map(String::as_str).collect();
        self.names_exist(at, names, "pool", &pools);
    }

    /// Names must be of zones that some pool has.
    pub(super) fn zones_exist(&mut self, at: &Path, names: &[String]) {
        let pools = self.scenario.spec.cluster.pools.values();
        let mut zones: Vec<&str> = pools.flat_map(|pool| &pool.zones).map(String::as_str).collect();
        zones.retain(|zone| !zone.trim().is_empty());
        zones.sort_unstable();
        zones.dedup();
        self.names_exist(at, names, "zone", &zones);
    }

    fn names_exist(&mut self, at: &Path, names: &[String], kind: &str, there: &[&str]) {
        for (index, name) in names.iter().enumerate().filter(|(_, name)| !there.contains(&name.as_str())) {
            let message = format!("the cluster has no {kind} `{}`", name.escape_debug());
            let fault = self.scenario.document.fault("E0302", &at.index(index), message);
            let fault = fault.suggesting(name, there.iter().copied());
            let help = if there.is_empty() {
                format!("no pool names a {kind}")
            } else {
                format!("one of {}", there.join(", "))
            };
            self.add(fault.helped(help));
        }
    }

    /// The cloud takes back spot nodes only.
    pub(super) fn has_spot(&mut self, at: &Path, named: &[String]) {
        let mut pools = self.scenario.spec.cluster.pools.iter();
        let is_spot = |(name, pool): (&String, &PoolSpec)| {
            (named.is_empty() || named.contains(name)) && pool.capacity_type == CapacityType::Spot
        };
        if !pools.any(is_spot) {
            let message = "none of these pools is of spot nodes, and the cloud takes no others back";
            self.fault(
                "E0317",
                at,
                message,
                "write `capacityType: spot` in the pool that may lose its nodes",
            );
        }
    }
}
