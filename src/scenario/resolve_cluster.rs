//! Node pools of a scenario: what each costs, which of them replicas may run on, and what does not fit together.

use super::ScenarioSpec;
use super::check_cluster::{more_pods, pod};
use super::resolve::Resolver;
use crate::policy::Setting;
use crate::profile::Profile;
use crate::sim::cluster::config::{PoolSpec, ProvisionerSpec};
use crate::sim::cluster::{ModelAffinity, Plan, PoolPlan};
use crate::sim::config::ReadyAfter;

/// Labels that nodes have without anybody writing them.
const ZONE: &str = "topology.kubernetes.io/zone";
const CAPACITY_TYPE: &str = "karpenter.sh/capacity-type";
const POOL: &str = "karpenter.sh/nodepool";

impl Resolver<'_> {
    /// The plan of the nodes; faults where it makes no sense.
    pub(super) fn cluster(&mut self, profile: &Profile, gpus: u32) -> Plan {
        let spec = self.spec().clone();
        let pools: Vec<PoolPlan> =
            spec.cluster.pools.iter().map(|(name, pool)| self.pool(&spec, profile, name, pool)).collect();
        self.selector(&spec, &pools);
        self.size(&spec, profile, &pools, gpus);
        self.group_of_pods(&pools, gpus);
        self.provisioner(&spec);
        let place = |name: &String| spec.cluster.pools.get_index_of(name);
        let all = 0..spec.cluster.pools.len();
        let quotas = spec.cluster.quotas.iter().map(|quota| {
            let pools: Vec<usize> = quota.pools.iter().filter_map(place).collect();
            (quota.gpus, if quota.pools.is_empty() { all.clone().collect() } else { pools })
        });
        let quotas = quotas.collect();
        if spec.replica.model_affinity != ModelAffinity::None && spec.replica.weights.is_none() {
            let message =
                "`modelAffinity` counts only with `replica.weights`, which the scenario does not have";
            let help = "write `replica.weights`, or leave `modelAffinity` out";
            self.fault("E0317", &["replica", "modelAffinity"], message, help);
        }
        Plan {
            pools,
            quotas,
            scheduler: spec.cluster.scheduler,
            model_affinity: spec.replica.model_affinity,
            provisioner: spec.cluster.provisioner,
            placeholders: spec.cluster.placeholders.replicas,
            safe_to_evict: spec.replica.safe_to_evict,
        }
    }

    fn pool(&mut self, spec: &ScenarioSpec, profile: &Profile, name: &str, pool: &PoolSpec) -> PoolPlan {
        let at = ["cluster", "pools", name];
        let price = pool.price_per_gpu_hour.or(profile.price_per_gpu_hour.as_ref().map(|p| p.value));
        if price.is_none() {
            let message = "neither the pool nor the profile has a price";
            self.fault("E0312", &at, message, "write e.g. `pricePerGpuHour: $3.60`");
        }
        if let Some(gpu) = pool.gpu.as_ref().filter(|gpu| **gpu != profile.gpu.name) {
            let message =
                format!("its GPU is {gpu}, and profile {} was made on {}", profile.name, profile.gpu.name);
            let help =
                "a profile holds on its own GPU only: leave the pool out, or take a profile of that GPU";
            self.fault("E0304", &[&at[..], &["gpu"]].concat(), message, help);
        }
        let mut plan = PoolPlan::new(name, pool.clone(), price.map_or(0, |price| price.micro_usd));
        let zones: Vec<String> = plan.zones().into_iter().map(str::to_owned).collect();
        plan.takes.retain(|zone| {
            let has = |(key, value): (&String, &String)| match key.as_str() {
                ZONE => zones[*zone as usize] == *value,
                CAPACITY_TYPE => pool.capacity_type.label() == value,
                POOL => name == value,
                other => pool.labels.get(other) == Some(value),
            };
            spec.replica.node_selector.iter().all(has)
        });
        plan
    }

    fn selector(&mut self, spec: &ScenarioSpec, pools: &[PoolPlan]) {
        if spec.replica.node_selector.is_empty() || pools.iter().any(|pool| !pool.takes.is_empty()) {
            return;
        }
        let message = "no pool has all of these labels: replicas would wait for ever";
        let help = format!(
            "write them under a pool's `labels`; `{ZONE}`, `{CAPACITY_TYPE}` and `{POOL}` are there by themselves"
        );
        self.fault("E0304", &["replica", "nodeSelector"], message, &help);
    }

    /// A replica must fit some node.
    fn size(&mut self, spec: &ScenarioSpec, profile: &Profile, pools: &[PoolPlan], gpus: u32) {
        let eligible = pools.iter().filter(|pool| !pool.takes.is_empty());
        let Some(largest) = eligible.max_by_key(|pool| pool.spec.gpus_per_node) else { return };
        let group = spec.replica.group_size.max(1);
        if gpus / group <= largest.spec.gpus_per_node || largest.spec.gpus_per_node == 0 {
            return;
        }
        let most = largest.spec.gpus_per_node;
        let of_all = pools.iter().map(|pool| pool.spec.gpus_per_node).max().unwrap_or(0);
        if spec.replica.gpus.is_some() && gpus / group > of_all {
            // No pool at all: that has been said.
        } else if spec.replica.gpus.is_some() {
            let message = format!("{} fits no node of {most}", pod(group, gpus));
            self.fault("E0304", &["replica", "gpus"], message, &more_pods(gpus, most));
        } else {
            let message =
                format!("a replica of profile {} holds {gpus} GPUs and fits no node of {most}", profile.name);
            let keys = ["cluster", "pools", &largest.name, "gpusPerNode"];
            self.fault("E0304", &keys, message, &more_pods(gpus, most));
        }
    }

    /// What a provisioner does not read must not be written.
    fn provisioner(&mut self, spec: &ScenarioSpec) {
        for (name, pool) in &spec.cluster.pools {
            let at = |field: &'static str| ["cluster", "pools", name.as_str(), field];
            match &spec.cluster.provisioner {
                ProvisionerSpec::None if pool.max_nodes > pool.min_nodes => {
                    let message = format!(
                        "without a provisioner nobody orders nodes: the pool stays at its minNodes of {}",
                        pool.min_nodes
                    );
                    let help = "write the same minNodes and maxNodes, or a provisioner";
                    self.fault("E0305", &at("maxNodes"), message, help);
                }
                ProvisionerSpec::Karpenter(_) if pool.scale_down_unneeded.is_some() => {
                    let message = "Karpenter does not wait for `scaleDownUnneeded`";
                    self.fault("E0317", &at("scaleDownUnneeded"), message, "write its `consolidateAfter`");
                }
                _ => {}
            }
        }
    }

    /// The replicas a run starts with must fit the pools, beside the placeholders.
    pub(super) fn room_at_the_start(&mut self, cluster: &Plan, gpus: u32, setting: &Setting) {
        let group = self.spec().replica.group_size.max(1);
        let room = u64::from(cluster.room(gpus / group) / group);
        let given = self.spec().initial.replicas;
        let policies = self.spec().policies.clone();
        let pools = &cluster.pools;
        let Some(last) = pools.iter().rfind(|pool| !pool.takes.is_empty()).or(pools.last()) else { return };
        for (name, policy) in &policies {
            if !policy.check(setting).is_empty() {
                continue;
            }
            let (replicas, spare) = policy.build(setting).initial();
            if spare > 0 && self.spec().replica.readiness.after == ReadyAfter::Process {
                let message = format!(
                    "`{name}` keeps spares, and readiness after `process` does not tell when they are loaded"
                );
                let help = "write `after: warmUp`, or a policy without spares";
                self.fault("E0318", &["replica", "readiness", "after"], message, help);
            }
            let needed = u64::from(given.unwrap_or(replicas)) + u64::from(spare);
            // Where nothing fits at all, that has been said.
            if needed > room && room > 0 {
                let where_ = if pools.len() == 1 {
                    format!("pool `{}` has", last.name)
                } else {
                    "the pools have".to_owned()
                };
                let message = format!("`{name}` starts with {needed} replicas, and {where_} room for {room}");
                let help = "raise maxNodes, or start with fewer replicas";
                self.fault("E0304", &["cluster", "pools", &last.name, "maxNodes"], message, help);
            }
        }
    }
}
