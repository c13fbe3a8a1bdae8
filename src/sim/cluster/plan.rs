//! What a scenario says of its nodes, resolved.

use super::ModelAffinity;
use super::config::{PoolSpec, ProvisionerSpec, SchedulerSpec};

/// The pools of a run, and who gives pods to their nodes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The pools, as written.
    pub pools: Vec<PoolPlan>,
    /// GPUs that pools may have together: the most, and the pools' places in `pools`.
    pub quotas: Vec<(u32, Vec<usize>)>,
    /// How a node is chosen.
    pub scheduler: SchedulerSpec,
    /// Whether pods go where the weights are.
    pub model_affinity: ModelAffinity,
    /// Who orders and removes nodes.
    pub provisioner: ProvisionerSpec,
    /// Pods that only hold room, each as large as a replica.
    pub placeholders: u32,
    /// Whether nodes may be emptied by taking a replica off them.
    pub safe_to_evict: bool,
}

/// A pool of a run.
#[derive(Clone, Debug)]
pub struct PoolPlan {
    /// Its name.
    pub name: String,
    /// As written.
    pub spec: PoolSpec,
    /// Price of a GPU-hour, millionths of a US dollar.
    pub price_micro_usd: u64,
    /// Its zones whose nodes take replicas, by their places in [`PoolPlan::zones`]; none if the selector leaves it out.
    pub takes: Vec<u32>,
}

impl PoolPlan {
    /// A pool that takes replicas in all of its zones.
    pub fn new(name: impl Into<String>, spec: PoolSpec, price_micro_usd: u64) -> Self {
        let mut plan = Self { name: name.into(), spec, price_micro_usd, takes: Vec::new() };
        plan.takes = (0..plan.zones().len() as u32).collect();
        plan
    }

    /// Its zones; one without a name where none are written.
    pub fn zones(&self) -> Vec<&str> {
        if self.spec.zones.is_empty() {
            vec![""]
        } else {
            self.spec.zones.iter().map(String::as_str).collect()
        }
    }

    /// Replicas of so many GPUs that one of its nodes holds; none if none may run there.
    pub fn per_node(&self, gpus_per_replica: u32) -> u32 {
        if self.takes.is_empty() { 0 } else { self.spec.gpus_per_node / gpus_per_replica.max(1) }
    }
}

impl Plan {
    /// One pool, and nodes ordered the instant that pods wait.
    pub fn of(spec: PoolSpec, price_micro_usd: u64) -> Self {
        Self {
            pools: vec![PoolPlan::new("pool", spec, price_micro_usd)],
            quotas: Vec::new(),
            scheduler: SchedulerSpec::default(),
            model_affinity: ModelAffinity::None,
            provisioner: ProvisionerSpec::default(),
            placeholders: 0,
            safe_to_evict: true,
        }
    }

    /// Replicas that all pools hold at most, quotas left out.
    pub fn room(&self, gpus_per_replica: u32) -> u32 {
        let room = |pool: &PoolPlan| pool.spec.max_nodes.saturating_mul(pool.per_node(gpus_per_replica));
        self.pools.iter().map(room).fold(0, u32::saturating_add)
    }
}
