//! Caches of what engines compile at their starts, and which nodes have one that is filled.

use std::collections::BTreeSet;

use rand::rngs::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Simulation;
use super::replica::Work;
use crate::kernel::{Distribution, NodeId};
use crate::outcome::Phase;

/// A cache of what the engine compiles at its start (vLLM's `VLLM_CACHE_ROOT`, TensorRT's engines). The first start compiles and
/// fills it, later ones read it: the stages that the profile gives a `cached` time for then take that. `{}` is a directory of the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CompileCacheSpec {
    /// Where it lies.
    pub at: CacheAt,
    /// Whether it is filled before the run: by an image or a disk that nodes come with, or on the volume by an earlier run.
    pub filled: bool,
    /// What the whole warm-up takes with the cache filled. Default: stage by stage, the profile's `cached` times.
    pub warm_up: Option<Distribution>,
}

/// Where a compile cache lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CacheAt {
    /// On each node (`hostPath`), and lost with it: the first start on a node compiles.
    #[default]
    Node,
    /// On one volume that all nodes mount: the first start of all compiles.
    Shared,
}

/// The compile cache of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct CachePlan {
    /// Where it lies.
    pub at: CacheAt,
    /// Whether it is filled before the run.
    pub filled: bool,
    /// Of each start-up stage, in the order of [`ReplicaParams::stages`](super::ReplicaParams::stages): what it takes with the
    /// cache filled; `None` where the cache changes nothing.
    pub cached: Vec<Option<Distribution>>,
}

impl CachePlan {
    /// Draws what the stages of a start take with the cache filled. They were drawn without it before, in the same order, so
    /// that a cache changes no other draw.
    pub(super) fn put_hits(&self, stages: &mut [(Phase, Work)], rng: &mut ChaCha8Rng) {
        for ((_, work), cached) in stages.iter_mut().zip(&self.cached) {
            if let (Work::For(compiled), Some(cached)) = (*work, cached) {
                *work = Work::Compile { compiled, cached: cached.sample(rng) };
            }
        }
    }
}

impl Simulation {
    /// The start-up stages as a first start takes them: with the compile cache filled if it is so before the run.
    pub fn first_start(&self) -> Vec<(Phase, Distribution)> {
        let mut stages = self.replica.stages.clone();
        if let Some(plan) = self.compile_cache.as_ref().filter(|plan| plan.filled) {
            for ((_, time), cached) in stages.iter_mut().zip(&plan.cached) {
                if let Some(cached) = cached {
                    time.clone_from(cached);
                }
            }
        }
        stages
    }
}

/// Which nodes find a filled cache.
#[derive(Clone, Debug)]
pub(super) struct CompileCache {
    at: CacheAt,
    everywhere: bool,
    nodes: BTreeSet<NodeId>,
}

impl CompileCache {
    pub fn new(plan: &CachePlan) -> Self {
        Self { at: plan.at, everywhere: plan.filled, nodes: BTreeSet::new() }
    }

    fn is_filled(&self, node: NodeId) -> bool {
        self.everywhere || self.nodes.contains(&node)
    }

    /// A start on a node has compiled all that there is to compile.
    pub fn fill(&mut self, node: NodeId) {
        match self.at {
            CacheAt::Node => _ = self.nodes.insert(node),
            CacheAt::Shared => self.everywhere = true,
        }
    }

    /// A node is gone, with what was on it.
    pub fn node_gone(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// The next stage of a start, as long as it takes on its nodes; `left` are those after it. The cache is filled as soon as the last
    /// stage that it shortens is over: whoever compiles meanwhile does it, too.
    pub fn next(
        &mut self,
        nodes: &[NodeId],
        stage: Option<(Phase, Work)>,
        left: &[(Phase, Work)],
    ) -> Option<(Phase, Work)> {
        let time = |work: Work| match work {
            // Its pods start together: one that compiles keeps the others waiting.
            Work::Compile { cached, .. } if nodes.iter().all(|node| self.is_filled(*node)) => {
                Work::For(cached)
            }
            Work::Compile { compiled, .. } => Work::For(compiled),
            other => other,
        };
        let compiles = |(_, work): &(Phase, Work)| matches!(work, Work::Compile { .. });
        let found = stage.map(|(phase, work)| (phase, time(work)));
        if !stage.iter().chain(left).any(compiles) {
            for node in nodes {
                self.fill(*node);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::SimDuration;

    const COMPILE: Work =
        Work::Compile { compiled: SimDuration::from_secs(42), cached: SimDuration::from_secs(13) };
    const STAGE: Option<(Phase, Work)> = Some((Phase::WarmingUp, COMPILE));

    fn cache(at: CacheAt, filled: bool) -> CompileCache {
        CompileCache::new(&CachePlan { at, filled, cached: Vec::new() })
    }

    /// Seconds of the stage.
    fn takes(cache: &mut CompileCache, node: u32) -> u64 {
        match cache.next(&[NodeId(node)], STAGE, &[]) {
            Some((Phase::WarmingUp, Work::For(time))) => time.as_nanos() / 1_000_000_000,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_node_has_its_own_cache_and_loses_it() {
        let mut cache = cache(CacheAt::Node, false);
        assert_eq!([takes(&mut cache, 0), takes(&mut cache, 0)], [42, 42], "two at once both compile");
        assert_eq!(cache.next(&[NodeId(0)], None, &[]), None);
        assert_eq!([takes(&mut cache, 0), takes(&mut cache, 1)], [13, 42]);
        cache.node_gone(NodeId(0));
        assert_eq!(takes(&mut cache, 0), 42);
    }

    #[test]
    fn a_shared_one_is_filled_once() {
        let mut cache = cache(CacheAt::Shared, false);
        assert_eq!(takes(&mut cache, 0), 42);
        // Not before the last stage that it shortens is over.
        let pull = Some((Phase::Pulling, Work::For(SimDuration::ZERO)));
        cache.next(&[NodeId(0)], pull, &[(Phase::WarmingUp, COMPILE)]);
        assert_eq!(takes(&mut cache, 0), 42);
        cache.next(&[NodeId(0)], Some((Phase::WarmingUp, Work::For(SimDuration::ZERO))), &[]);
        cache.node_gone(NodeId(0));
        assert_eq!([takes(&mut cache, 0), takes(&mut cache, 7)], [13, 13]);
    }

    #[test]
    fn a_filled_one_is_filled_for_nodes_to_come() {
        assert_eq!(takes(&mut cache(CacheAt::Node, true), 9), 13);
        assert_eq!(takes(&mut cache(CacheAt::Shared, true), 9), 13);
    }
}
