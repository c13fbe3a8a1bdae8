//! Which pool new nodes come from.

use std::cmp::Reverse;

use rand::RngExt;

use super::config::{Expander, ProvisionerSpec};
use super::{Cluster, ModelAffinity};
use crate::kernel::rng::Purpose;
use crate::kernel::{NodeId, SimTime};
use crate::outcome::Unscheduled;

/// Nodes of a pool for waiting pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The pool's place.
    pub pool: usize,
    /// How many nodes.
    pub nodes: u32,
    /// How many of the pods get room on them.
    pub pods: u32,
}

impl Cluster {
    /// What each pool that is not backed off from could do for so many waiting pods.
    pub fn choices(&self, waiting: u32, now: SimTime) -> Vec<Choice> {
        let pools = (0..self.plan.pools.len()).filter(|pool| waiting > 0 && !self.is_backed_off(*pool, now));
        let choice = |pool: usize| {
            let per_node = self.per_node(pool);
            if per_node == 0 {
                return None;
            }
            let nodes = waiting.div_ceil(per_node).min(self.room(pool));
            (nodes > 0).then(|| Choice { pool, nodes, pods: waiting.min(nodes * per_node) })
        };
        pools.filter_map(choice).collect()
    }

    /// Whether a node for another replica could be ordered now from some pool: there is room, and it is not backed off from.
    pub fn can_be_ordered(&self, now: SimTime) -> bool {
        !matches!(self.plan.provisioner, ProvisionerSpec::None) && !self.choices(1, now).is_empty()
    }

    /// Why pods have no node now, and none is on its way for them.
    pub fn why_unscheduled(&self, now: SimTime) -> Unscheduled {
        let gpus = self.gpus_per_replica;
        let has_room = |id: &NodeId| self.takes(*id) && self.node(*id).free_gpus >= gpus;
        if self.plan.model_affinity == ModelAffinity::Required && self.there.iter().any(has_room) {
            return Unscheduled::NoModel;
        }
        if matches!(self.plan.provisioner, ProvisionerSpec::None) {
            return Unscheduled::NoProvisioner;
        }
        if !self.choices(1, now).is_empty() {
            return Unscheduled::NotSeen;
        }
        let pools = (0..self.plan.pools.len()).filter(|pool| self.per_node(*pool) > 0);
        let mut why = Unscheduled::MaxNodes;
        for pool in pools.filter(|pool| self.count(*pool) < self.plan.pools[*pool].spec.max_nodes) {
            if self.room(pool) > 0 {
                return Unscheduled::NoCapacity;
            }
            why = Unscheduled::Quota;
        }
        why
    }

    /// The choice that an expander makes; of equals the pool that is written first. `nth` numbers the draws.
    pub fn expand(&self, expander: Expander, choices: &[Choice], nth: u64) -> Option<Choice> {
        let gpus = |choice: &Choice| {
            u64::from(choice.nodes) * u64::from(self.plan.pools[choice.pool].spec.gpus_per_node)
        };
        let mut choices = choices.iter().copied();
        match expander {
            Expander::Random => {
                let all: Vec<Choice> = choices.collect();
                let mut rng = self.streams.stream(Purpose::Expander, nth);
                (!all.is_empty()).then(|| all[rng.random_range(0..all.len())])
            }
            Expander::MostPods => choices.min_by_key(|choice| Reverse(choice.pods)),
            Expander::Priority => choices.min_by_key(|c| Reverse(self.plan.pools[c.pool].spec.priority)),
            Expander::LeastWaste => choices.min_by(|a, b| {
                // Shares of GPUs in use, as fractions: the larger one first.
                let used = |choice: &Choice| u64::from(choice.pods) * u64::from(self.gpus_per_replica);
                (u128::from(used(b)) * u128::from(gpus(a))).cmp(&(u128::from(used(a)) * u128::from(gpus(b))))
            }),
            Expander::Price => {
                let first = choices.next()?;
                Some(choices.fold(first, |best, next| if self.is_cheaper(next, best) { next } else { best }))
            }
        }
    }

    /// Whether a pod costs less with one choice than with another.
    fn is_cheaper(&self, a: Choice, b: Choice) -> bool {
        let price = |choice: Choice| {
            let pool = &self.plan.pools[choice.pool];
            u128::from(choice.nodes) * u128::from(pool.spec.gpus_per_node) * u128::from(pool.price_micro_usd)
        };
        price(a) * u128::from(b.pods) < price(b) * u128::from(a.pods)
    }

    /// The highest priority first, of equals the cheapest: Karpenter's order.
    pub fn by_weight_and_price(&self, choices: &[Choice]) -> Option<Choice> {
        let weight = |choice: &Choice| self.plan.pools[choice.pool].spec.priority;
        let highest = choices.iter().map(weight).max()?;
        let of_weight: Vec<Choice> = choices.iter().copied().filter(|c| weight(c) == highest).collect();
        self.expand(Expander::Price, &of_weight, 0)
    }
}
