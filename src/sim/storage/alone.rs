//! How long a fetch would take if the node and the links had nothing else to do and nothing disturbed them: what is longer is waiting.

use super::{NodePlan, Plan, Pulled, Source, Storage, Want};
use crate::kernel::{NodeId, ReplicaId, SimDuration, SimTime};

/// For a fresh node; of an image's layers those in `downloaded` are there.
pub(super) fn takes(
    plan: &Plan,
    node: NodePlan,
    want: Want,
    version: u32,
    downloaded: Option<&[bool]>,
) -> SimDuration {
    let undisturbed =
        |source: &Source| Source { changes: Vec::new(), failing: Vec::new(), peers: false, ..source.clone() };
    let plan = Plan {
        registry: undisturbed(&plan.registry),
        model_store: undisturbed(&plan.model_store),
        nodes: vec![node],
        ..plan.clone()
    };
    let mut storage = Storage::new(plan);
    storage.reckons = false;
    storage.add_node(NodeId(0), 0);
    let mut end = SimTime::ZERO;
    if !storage.want(SimTime::ZERO, NodeId(0), want, ReplicaId(0), version) {
        if let Some(downloaded) = downloaded {
            storage.has_layers(Pulled { node: NodeId(0), version }, downloaded);
        }
        while let Some(now) = storage.next_event() {
            end = now;
            // What comes in the background comes after that.
            if !storage.advance(now).is_empty() {
                break;
            }
        }
    }
    end.since(SimTime::ZERO)
}

impl Storage {
    /// When a node began to fetch this, if it does, and when it would have it, were it alone.
    pub fn under_way(&self, id: NodeId, want: Want, version: u32) -> Option<(SimTime, SimTime)> {
        let copies = &self.nodes[id.index()].copies;
        match want {
            Want::Image => self.pull_of(Pulled { node: id, version }).under_way(),
            Want::Weights | Want::Stream if copies.is_fetching() => Some(copies.fetch),
            Want::Read | Want::Stream => Some(copies.read),
            Want::Weights => None,
            // Whatever a runtime touches is fetched for it: it does not wait for others.
            Want::Touch => Some((SimTime::MAX, SimTime::MAX)),
        }
    }
}
