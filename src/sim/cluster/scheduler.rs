//! Which node a pod goes to: filter and score, as kube-scheduler does with its plug-ins for GPUs, images and labels.

use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::ScoringStrategy;
use super::{Cluster, Node};
use crate::kernel::rng::Purpose;
use crate::kernel::{NodeId, SimTime};
use crate::sim::storage::{Storage, Want};

/// Whether pods go to nodes that hold the weights (node affinity to a label that says so).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ModelAffinity {
    /// Wherever there is room.
    #[default]
    None,
    /// Rather there (`preferredDuringSchedulingIgnoredDuringExecution`).
    Preferred,
    /// Only there (`requiredDuringSchedulingIgnoredDuringExecution`): a pod waits until some node holds them and has room.
    Required,
}

/// Weights of the plug-ins (`NodeResourcesFit` 1, `ImageLocality` 1, `NodeAffinity` 2), as kube-scheduler has them.
const AFFINITY_WEIGHT: u64 = 2;

/// `ImageLocality`: images below this share of their bytes a node count for nothing, those above the most count in full.
const IMAGE_LEAST: u64 = 23 << 20;
const IMAGE_MOST: u64 = 1000 << 20;

impl Cluster {
    /// Binds a replica of a version to the best node that has room; placeholders give way where no other has. Of equals one is drawn.
    pub fn bind(&mut self, now: SimTime, storage: Option<&Storage>, version: u32) -> Option<NodeId> {
        let gpus = self.gpus_per_replica;
        if let Some(id) = self.best(now, storage.map(|s| (s, version)), |node| node.free_gpus >= gpus) {
            self.occupy(id, now);
            return Some(id);
        }
        // As preemption does: the node where the fewest have to go, and all placeholders are one replica large.
        let id = self.best(now, storage.map(|s| (s, version)), |node| node.placeholders > 0)?;
        self.take_placeholder(id, now);
        self.placeholders_waiting += 1;
        self.occupy(id, now);
        Some(id)
    }

    pub(super) fn best(
        &self,
        now: SimTime,
        storage: Option<(&Storage, u32)>,
        has_room: impl Fn(&Node) -> bool,
    ) -> Option<NodeId> {
        let holds = |id: NodeId, want| {
            storage.is_some_and(|(storage, version)| storage.holds(now, id, want, version))
        };
        // Placeholders need no weights.
        let required = self.plan.model_affinity == ModelAffinity::Required && storage.is_some();
        let fits = |id: &NodeId| {
            self.takes(*id) && has_room(self.node(*id)) && (!required || holds(*id, Want::Weights))
        };
        let image = self.image_score(now, storage);
        let score = |id: NodeId| {
            let (gpus, free) = (u64::from(self.gpus_of(id).max(1)), u64::from(self.node(id).free_gpus));
            let left = free.saturating_sub(u64::from(self.gpus_per_replica));
            let resources = match self.plan.scheduler.scoring_strategy {
                ScoringStrategy::MostAllocated => (gpus - left) * 100 / gpus,
                ScoringStrategy::LeastAllocated => left * 100 / gpus,
            };
            let image = if holds(id, Want::Image) { image } else { 0 };
            let prefers = self.plan.model_affinity == ModelAffinity::Preferred;
            let affinity = if prefers && holds(id, Want::Weights) { 100 } else { 0 };
            resources + image + AFFINITY_WEIGHT * affinity
        };
        let scored: Vec<(u64, NodeId)> =
            self.there.iter().copied().filter(fits).map(|id| (score(id), id)).collect();
        let highest = scored.iter().map(|(score, _)| *score).max()?;
        let best: Vec<NodeId> =
            scored.into_iter().filter(|(score, _)| *score == highest).map(|(_, id)| id).collect();
        // Upstream draws among equals (`selectHost`), and what it draws decides where copies of images and weights come to lie.
        let mut rng = self.streams.stream(Purpose::Scheduler, self.bound);
        Some(if best.len() == 1 { best[0] } else { best[rng.random_range(0..best.len())] })
    }

    /// What a node scores that has the image (`ImageLocality`): its size, scaled by the share of nodes that have it.
    fn image_score(&self, now: SimTime, storage: Option<(&Storage, u32)>) -> u64 {
        let Some((storage, version)) = storage.filter(|_| self.plan.scheduler.image_locality) else {
            return 0;
        };
        let nodes = self.there.len().max(1) as u64;
        let with =
            self.there.iter().filter(|id| storage.holds(now, **id, Want::Image, version)).count() as u64;
        let scaled = u128::from(storage.image_bytes(version)) * u128::from(with) / u128::from(nodes);
        let scaled = u64::try_from(scaled).unwrap_or(u64::MAX).clamp(IMAGE_LEAST, IMAGE_MOST);
        100 * (scaled - IMAGE_LEAST) / (IMAGE_MOST - IMAGE_LEAST)
    }
}
