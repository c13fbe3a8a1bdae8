//! Weights: fetched to a node in as many connections as the loader opens, and read from the node's copy, once for all that wait where
//! memory keeps what was read. Copies are pushed out by what others bring, least recently used first.

use super::links::NANOBYTES;
use super::{NodePlan, Piece, Storage, Want, Wares, alone};
use crate::kernel::{NodeId, ReplicaId, SimDuration, SimTime};

/// What a node has of the weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copies {
    /// On disk, and when they were last used.
    disk: Option<SimTime>,
    /// In memory, likewise.
    memory: Option<SimTime>,
    /// Connections that still fetch.
    fetching: u32,
    /// Whether they are being read into memory for all that wait.
    reading: bool,
    /// There for one start only: they are not kept.
    passing: bool,
    /// When they were fetched, and read, last: since when, and until when, were it alone.
    pub(super) fetch: (SimTime, SimTime),
    pub(super) read: (SimTime, SimTime),
}

impl Copies {
    pub(super) fn new(is_there: bool) -> Self {
        let disk = is_there.then_some(SimTime::ZERO);
        let never = (SimTime::ZERO, SimTime::ZERO);
        Self { disk, memory: None, fetching: 0, reading: false, passing: false, fetch: never, read: never }
    }

    /// Whether they are on their way to the node.
    pub(super) fn is_fetching(&self) -> bool {
        self.fetching > 0
    }

    /// A replica runs here when the run begins: it has read them.
    pub(super) fn fill(&mut self, kept: bool) {
        self.disk = kept.then_some(SimTime::ZERO);
        self.memory = Some(SimTime::ZERO);
    }
}

impl Storage {
    fn bytes(&self) -> u64 {
        self.plan.weights.map_or(0, |weights| weights.bytes)
    }

    fn on_disk(&self, now: SimTime, id: NodeId) -> bool {
        let node = &self.nodes[id.index()];
        let keeps = |used: SimTime| {
            node.plan
                .model_cache
                .is_none_or(|capacity| !node.plan.is_evicted(capacity, self.bytes(), used, now))
        };
        node.copies.disk.is_some_and(keeps)
    }

    fn in_memory(&self, now: SimTime, id: NodeId) -> bool {
        let node = &self.nodes[id.index()];
        let keeps = |used: SimTime| !node.plan.is_evicted(node.plan.page_cache, self.bytes(), used, now);
        node.copies.memory.is_some_and(keeps)
    }

    /// Whether a node has them, on disk or in memory.
    pub(super) fn has_weights(&self, now: SimTime, id: NodeId) -> bool {
        self.plan.weights.is_none() || self.on_disk(now, id) || self.in_memory(now, id)
    }

    pub(super) fn begin_fetch(&mut self, now: SimTime, id: NodeId) {
        let Some(weights) = self.plan.weights else { return };
        let copies = self.nodes[id.index()].copies;
        if self.has_weights(now, id) || copies.fetching > 0 || copies.passing {
            return;
        }
        let connections = u64::from(weights.connections.max(1));
        if self.reckons {
            let node = NodePlan { present: Wares::NONE, ..self.nodes[id.index()].plan };
            let takes = alone::takes(&self.plan, node, Want::Weights, 0, None);
            self.node(id).copies.fetch = (now, now.saturating_add(takes));
        }
        let copies = &mut self.node(id).copies;
        (copies.disk, copies.memory, copies.fetching) = (None, None, connections as u32);
        let from = self.peer(now, id, Want::Weights, 0);
        for part in 0..connections {
            // Parts differ by a byte where they must.
            let bytes = weights.bytes / connections + u64::from(part < weights.bytes % connections);
            self.fetch(now, id, from, u128::from(bytes) * NANOBYTES);
        }
    }

    /// One connection's part.
    pub(super) fn fetch(&mut self, now: SimTime, id: NodeId, from: Option<NodeId>, amount: u128) {
        let over = self.way(self.model_store, id, from, self.cached_weights);
        let limit = self.plan.model_store.connection.filter(|_| from.is_none());
        self.links.begin(now, Piece::Weights(id, from), &over, limit, amount);
    }

    pub(super) fn weights_arrived(&mut self, now: SimTime, id: NodeId, from: Option<NodeId>) {
        let Some(weights) = self.plan.weights else { return };
        let keeps_in_memory = self.nodes[id.index()].plan.page_cache >= weights.bytes;
        let copies = &mut self.node(id).copies;
        copies.fetching -= 1;
        if copies.fetching > 0 {
            return;
        }
        copies.disk = weights.kept.then_some(now);
        copies.memory = keeps_in_memory.then_some(now);
        // Without a copy of the node's own they are in the engine that asked, or come to.
        copies.passing = !weights.kept && !keeps_in_memory;
        if from.is_none() && self.plan.model_store.cache.is_some() {
            self.cached_weights = true;
        }
        if self.serve(id, Want::Weights, None) + self.serve(id, Want::Stream, None) > 0 {
            self.node(id).copies.passing = false;
        }
    }

    /// A start wants them. What is not kept is there for one.
    pub(super) fn take_weights(&mut self, now: SimTime, id: NodeId) -> bool {
        let passes = std::mem::take(&mut self.node(id).copies.passing);
        if self.on_disk(now, id) {
            self.node(id).copies.disk = Some(now);
        }
        passes || self.has_weights(now, id)
    }

    /// A start reads them. `true`: nothing is to be read, or no disk is the limit.
    pub(super) fn begin_read(&mut self, now: SimTime, id: NodeId, replica: ReplicaId) -> bool {
        let node = &self.nodes[id.index()];
        let Some(disk) = node.disk else { return true };
        if self.in_memory(now, id) {
            self.node(id).copies.memory = Some(now);
            return true;
        }
        if !self.on_disk(now, id) {
            return true;
        }
        let shared = node.plan.page_cache >= self.bytes();
        if !(shared && node.copies.reading) {
            let ns =
                u128::from(self.bytes()) * NANOBYTES / u128::from(node.plan.disk_rate.unwrap_or(1).max(1));
            let alone = now.saturating_add(SimDuration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)));
            self.node(id).copies.reading = shared;
            self.node(id).copies.read = (now, alone);
            let amount = u128::from(self.bytes()) * NANOBYTES;
            self.links.begin(now, Piece::Read(id, (!shared).then_some(replica)), &[disk], None, amount);
        }
        false
    }

    /// They have been read.
    pub(super) fn read(&mut self, now: SimTime, id: NodeId, replica: Option<ReplicaId>) {
        if let Some(replica) = replica {
            self.serve_one(id, Want::Read, replica);
            self.serve_one(id, Want::Stream, replica);
            return;
        }
        let copies = &mut self.node(id).copies;
        (copies.reading, copies.memory) = (false, Some(now));
        self.serve(id, Want::Read, None);
        self.serve(id, Want::Stream, None);
    }
}
