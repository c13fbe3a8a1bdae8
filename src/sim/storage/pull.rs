//! Pulls of the image: the manifest; layers in its order, a few at a time, each over the registry's link and the node's; one after
//! the other, as each is there, they are decompressed and written (`profile::image` has the same as a formula). Or lazily: first what
//! the container needs, then, while it runs, the rest.

use super::{Piece, Storage, Timer, Want};
use crate::kernel::{NodeId, ReplicaId, SimDuration, SimTime};
use crate::sim::storage::links::NANOBYTES;

/// The kubelet's back-off between two pulls that failed: from here on doubling (`ImagePullBackOff`).
const BACK_OFF: SimDuration = SimDuration::from_secs(10);
/// Its longest.
const BACK_OFF_MAX: SimDuration = SimDuration::from_secs(300);

/// How far the image is on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Pulling,
    /// Refused; it is tried again.
    BackingOff,
    /// The container runs; the rest of a lazily pulled image is on its way.
    Running,
    Present,
}

/// A node's pull.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    state: State,
    /// Layers asked for, and which are there.
    asked: u32,
    downloaded: Vec<bool>,
    unpacked: u32,
    unpacking: bool,
    /// Refusals in a row.
    failures: u32,
}

impl Pull {
    pub(super) fn new(is_there: bool) -> Self {
        Self {
            state: if is_there { State::Present } else { State::Absent },
            asked: 0,
            downloaded: Vec::new(),
            unpacked: 0,
            unpacking: false,
            failures: 0,
        }
    }

    /// Whether a container of it runs.
    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Running | State::Present)
    }
}

impl Storage {
    /// Whether a node has the whole image, and it has not been pushed out of the image store.
    pub(super) fn has_image(&self, now: SimTime, id: NodeId) -> bool {
        let node = &self.nodes[id.index()];
        let Some(image) = &self.plan.image else { return true };
        // The kubelet collects unused images down to 80 % of the disk (`imageGCLowThresholdPercent`), those unused longest first.
        let keeps = |capacity: u64| {
            let low = u64::try_from(u128::from(capacity) * 80 / 100).unwrap_or(u64::MAX);
            !node.plan.is_evicted(low, image.unpacked, node.image_used, now)
        };
        node.pull.state == State::Present && (node.pods > 0 || node.plan.image_store.is_none_or(keeps))
    }

    pub(super) fn begin_pull(&mut self, now: SimTime, id: NodeId) {
        if self.nodes[id.index()].pull.state == State::Present && !self.has_image(now, id) {
            self.node(id).pull = Pull::new(false);
        }
        if self.plan.image.is_none() || self.nodes[id.index()].pull.state != State::Absent {
            return;
        }
        let layers = self.plan.image.as_ref().map_or(0, |image| image.layers.len());
        self.node(id).pull =
            Pull { state: State::Pulling, downloaded: vec![false; layers], ..Pull::new(false) };
        self.ask_for_manifest(now, id);
    }

    pub(super) fn ask_for_manifest(&mut self, now: SimTime, id: NodeId) {
        let Some(image) = &self.plan.image else { return };
        let there = now.saturating_add(image.manifest);
        self.node(id).pull.state = State::Pulling;
        if self.is_refused(now, id, None) {
            return self.back_off(now, id);
        }
        self.timers.insert((there, Timer::Manifest(id)));
    }

    pub(super) fn manifest(&mut self, now: SimTime, id: NodeId) {
        if self.plan.image.as_ref().is_some_and(|image| image.lazy.is_some()) {
            let amount = self.plan.image.as_ref().and_then(|image| image.lazy).map_or(0, |lazy| lazy.first);
            let amount = u128::from(amount) * NANOBYTES;
            return self.transfer_of_image(now, id, |from| Piece::First(id, from), None, amount);
        }
        self.ask_for_layers(now, id);
        self.unpack(now, id);
    }

    pub(super) fn begin_layer(&mut self, now: SimTime, id: NodeId, layer: u32) {
        let Some(image) = &self.plan.image else { return };
        let amount = u128::from(image.layers[layer as usize].0) * NANOBYTES;
        if self.is_refused(now, id, Some(layer)) {
            return self.back_off(now, id);
        }
        self.transfer_of_image(now, id, |from| Piece::Layer(id, layer, from), Some(layer), amount);
    }

    /// Whether the registry refuses, and neither a peer nor the cache of the cluster has what is asked for.
    fn is_refused(&self, now: SimTime, id: NodeId, layer: Option<u32>) -> bool {
        let is_cached = layer.is_some_and(|layer| self.cached_layers.contains(&layer));
        let cached =
            self.registry.cache.is_some() && (is_cached || layer.is_none() && !self.cached_layers.is_empty());
        self.plan.registry.fails(now) && !cached && self.peer(now, id, Want::Image).is_none()
    }

    /// Begins a transfer of the image, or of a layer of it.
    pub(super) fn transfer_of_image(
        &mut self,
        now: SimTime,
        id: NodeId,
        piece: impl Fn(Option<NodeId>) -> Piece,
        layer: Option<u32>,
        amount: u128,
    ) {
        let from = self.peer(now, id, Want::Image);
        let is_cached = layer.is_some_and(|layer| self.cached_layers.contains(&layer));
        let over = self.way(self.registry, id, from, is_cached);
        let limit = self.plan.registry.connection.filter(|_| from.is_none());
        self.links.begin(now, piece(from), &over, limit, amount);
    }

    pub(super) fn layer_arrived(&mut self, now: SimTime, id: NodeId, layer: u32, from: Option<NodeId>) {
        if from.is_none() && self.plan.registry.cache.is_some() {
            self.cached_layers.insert(layer);
        }
        self.node(id).pull.downloaded[layer as usize] = true;
        self.ask_for_layers(now, id);
        self.unpack(now, id);
    }

    /// What a lazily pulled image needs at first is there.
    pub(super) fn first_arrived(&mut self, now: SimTime, id: NodeId) {
        self.node(id).pull.state = State::Running;
        self.serve(id, Want::Image);
        let Some(image) = &self.plan.image else { return };
        let rest = image.bytes().saturating_sub(image.lazy.map_or(0, |lazy| lazy.first));
        self.transfer_of_image(now, id, |from| Piece::Rest(id, from), None, u128::from(rest) * NANOBYTES);
    }

    pub(super) fn rest_arrived(&mut self, id: NodeId) {
        self.node(id).pull.state = State::Present;
    }

    /// A runtime starts: of an image that is not all there it waits for what it touches first.
    pub(super) fn touch(&mut self, now: SimTime, id: NodeId, replica: ReplicaId) -> bool {
        let lazy = self.plan.image.as_ref().and_then(|image| image.lazy);
        let Some(lazy) = lazy.filter(|_| self.nodes[id.index()].pull.state == State::Running) else {
            return true;
        };
        self.timers.insert((now.saturating_add(lazy.first_touch), Timer::Touched(id, replica)));
        false
    }

    /// The registry refuses: what comes from it is cut.
    pub(super) fn refuse(&mut self, now: SimTime) {
        let of_registry = |piece: &Piece| matches!(piece, Piece::Layer(_, _, None) | Piece::First(_, None));
        let cut = self.links.take_if(now, of_registry);
        let mut nodes: Vec<NodeId> = cut.into_iter().map(|(piece, _)| piece.to()).collect();
        nodes.dedup();
        for id in nodes {
            if self.nodes[id.index()].pull.state == State::Pulling {
                self.back_off(now, id);
            }
        }
    }

    /// A pull failed: layers that are there stay, the others are asked for again after a while.
    fn back_off(&mut self, now: SimTime, id: NodeId) {
        self.timers
            .retain(|(_, timer)| !matches!(timer, Timer::Layer(of, _) | Timer::Manifest(of) if *of == id));
        self.links.take_if(
            now,
            |piece| matches!(piece, Piece::Layer(to, _, None) | Piece::First(to, None) if *to == id),
        );
        let pull = &mut self.node(id).pull;
        let wait = SimDuration::from_nanos(BACK_OFF.as_nanos() << pull.failures.min(16)).min(BACK_OFF_MAX);
        pull.failures += 1;
        pull.state = State::BackingOff;
        pull.asked = pull.downloaded.iter().take_while(|there| **there).count() as u32;
        self.timers.insert((now.saturating_add(wait), Timer::Retry(id)));
    }

    /// Asks for as many further layers as there are connections free.
    fn ask_for_layers(&mut self, now: SimTime, id: NodeId) {
        let Some(image) = &self.plan.image else { return };
        let pull = &mut self.nodes[id.index()].pull;
        if pull.state != State::Pulling {
            return;
        }
        let there = |pull: &Pull| {
            let asked = pull.downloaded.iter().take(pull.asked as usize);
            asked.filter(|there| **there).count() as u32
        };
        while pull.asked < image.layers.len() as u32 && pull.asked - there(pull) < image.connections.max(1) {
            if !pull.downloaded[pull.asked as usize] {
                let first_byte = now.saturating_add(image.per_request);
                self.timers.insert((first_byte, Timer::Layer(id, pull.asked)));
            }
            pull.asked += 1;
        }
    }

    pub(super) fn unpacked(&mut self, now: SimTime, id: NodeId) {
        let pull = &mut self.node(id).pull;
        (pull.unpacked, pull.unpacking) = (pull.unpacked + 1, false);
        self.unpack(now, id);
    }

    /// Takes up the next layer, if it is there; after the last one the image is.
    fn unpack(&mut self, now: SimTime, id: NodeId) {
        let Some(image) = &self.plan.image else { return };
        let node = &mut self.nodes[id.index()];
        if node.pull.unpacking {
            return;
        }
        let next = node.pull.unpacked as usize;
        match node.pull.downloaded.get(next) {
            None => {
                node.pull.state = State::Present;
                node.image_used = now;
                self.serve(id, Want::Image);
            }
            Some(true) => {
                node.pull.unpacking = true;
                self.timers.insert((now.saturating_add(image.layers[next].1), Timer::Unpacked(id)));
            }
            Some(false) => {}
        }
    }
}
