//! Images and weights on their way to nodes, and what nodes have of them.
//!
//! A node pulls an image once, however many of its pods wait for it, and goes on when they are gone, as a kubelet does.
//! A pull: the manifest; layers in its order, a few at a time, each over the registry's link and the node's; one after
//! the other, as each is there, they are decompressed and written (`profile::image` has the same as a formula).
//! Weights come over the model store's link and the node's, in as many connections as the loader opens. Whatever crosses
//! a link at the same time shares it.

pub mod config;
pub mod links;

use std::collections::BTreeSet;

use super::replica::Work;
use crate::kernel::{NodeId, ReplicaId, SimDuration, SimTime};
use crate::outcome::Phase;
use links::{LinkId, Links, NANOBYTES};

/// What the nodes of a run fetch, from where, and over what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The image; `None`: its pull is a stage of the profile.
    pub image: Option<ImagePlan>,
    /// The weights; `None`: fetching them is part of the profile's weight load.
    pub weights: Option<WeightsPlan>,
    /// Where images come from.
    pub registry: Source,
    /// Where weights come from.
    pub model_store: Source,
    /// Rate of a node's network interface, bytes/s; `None` where it is never the limit.
    pub node_rate: Option<u64>,
    /// Whether every node has the image from the start.
    pub image_present: bool,
    /// Whether every node has the weights from the start.
    pub weights_present: bool,
}

impl Plan {
    /// Whether there is anything to simulate.
    pub fn is_needed(&self) -> bool {
        self.image.is_some() || self.weights.is_some()
    }

    /// Puts what is fetched into the stages of a start, in order: the image in the place of its pull, the weights
    /// before they are loaded.
    pub(super) fn put_fetches(&self, stages: &mut Vec<(Phase, Work)>) {
        if self.image.is_some() {
            stages.retain(|(phase, _)| *phase != Phase::Pulling);
            stages.insert(0, (Phase::Pulling, Work::Fetch(Want::Image)));
        }
        if self.weights.is_some() {
            let load = stages.iter().position(|(phase, _)| *phase >= Phase::Loading).unwrap_or(stages.len());
            stages.insert(load, (Phase::Loading, Work::Fetch(Want::Weights)));
        }
    }
}

/// An image and how a node pulls it.
#[derive(Clone, Debug, PartialEq)]
pub struct ImagePlan {
    /// Of each layer, in the order of the manifest: its bytes in the registry, and the time to decompress and write it.
    pub layers: Vec<(u64, SimDuration)>,
    /// Layers downloaded at a time.
    pub connections: u32,
    /// Until the manifest is there.
    pub manifest: SimDuration,
    /// From asking for a layer to its first byte.
    pub per_request: SimDuration,
}

/// A model's weights and how a node fetches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightsPlan {
    /// Bytes.
    pub bytes: u64,
    /// Connections at a time, each with an equal part.
    pub connections: u32,
    /// Whether they are asked for when a pod comes to its node, beside the image, and not when its engine wants them.
    pub with_pull: bool,
    /// Whether a node keeps them for its next pod.
    pub kept: bool,
}

/// A registry or a model store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Rate of all that comes from it, bytes/s; `None` where it is never the limit.
    pub rate: Option<u64>,
    /// Rate of one connection, bytes/s.
    pub connection: Option<u64>,
    /// Rates from instants on, in their order: it is slow, down, back.
    pub changes: Vec<(SimTime, u64)>,
}

/// What a pod waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Its image.
    Image,
    /// Its model's weights.
    Weights,
}

/// What a transfer is of.
#[derive(Clone, Copy, Debug)]
enum Piece {
    Layer(NodeId, u32),
    Weights(NodeId),
}

/// What happens at an instant that is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The first byte of a layer comes.
    Layer(NodeId, u32),
    /// The manifest is there.
    Manifest(NodeId),
    /// A layer is decompressed and written.
    Unpacked(NodeId),
    /// A link changes its rate.
    Rate(LinkId, u64),
}

/// A node's copy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Presence {
    Absent,
    Fetching,
    Present,
}

#[derive(Clone, Debug)]
struct NodeStore {
    link: Option<LinkId>,
    image: Presence,
    /// Of the pull under way: layers asked for, and which are there.
    asked: u32,
    downloaded: Vec<bool>,
    unpacked: u32,
    unpacking: bool,
    weights: Presence,
    /// Connections that still fetch.
    fetching: u32,
    /// Who waits, in the order of asking.
    waiting: Vec<(Want, ReplicaId)>,
}

/// How long an image and the weights take to a fresh node that has its sources to itself, one after the other; nothing where they
/// are there, or not simulated. Disturbances are left out.
pub fn alone(plan: &Plan) -> (SimDuration, SimDuration) {
    let undisturbed = |source: &Source| Source { changes: Vec::new(), ..source.clone() };
    let (registry, model_store) = (undisturbed(&plan.registry), undisturbed(&plan.model_store));
    let time = |want: Want| {
        let plan = Plan { registry: registry.clone(), model_store: model_store.clone(), ..plan.clone() };
        let mut storage = Storage::new(plan);
        let mut end = SimTime::ZERO;
        if !storage.want(SimTime::ZERO, NodeId(0), want, ReplicaId(0)) {
            while let Some(now) = storage.next_event() {
                storage.advance(now);
                end = now;
            }
        }
        end.since(SimTime::ZERO)
    };
    (time(Want::Image), time(Want::Weights))
}

/// Images and weights of a run.
#[derive(Clone, Debug)]
pub struct Storage {
    plan: Plan,
    links: Links<Piece>,
    registry: Option<LinkId>,
    model_store: Option<LinkId>,
    nodes: Vec<NodeStore>,
    timers: BTreeSet<(SimTime, Timer)>,
    /// Who has got what since it was last asked.
    served: Vec<(Want, ReplicaId)>,
}

impl Storage {
    /// Nothing is anywhere yet.
    pub fn new(plan: Plan) -> Self {
        let mut links = Links::default();
        let mut timers = BTreeSet::new();
        let mut link = |source: &Source| {
            let link = source.rate.map(|rate| links.add(rate))?;
            timers.extend(source.changes.iter().map(|(at, rate)| (*at, Timer::Rate(link, *rate))));
            Some(link)
        };
        let (registry, model_store) = (link(&plan.registry), link(&plan.model_store));
        Self { plan, links, registry, model_store, nodes: Vec::new(), timers, served: Vec::new() }
    }

    /// The node's place, made at its first use; nodes are numbered from 0.
    fn node(&mut self, id: NodeId) -> &mut NodeStore {
        while self.nodes.len() <= id.index() {
            let present = |yes: bool| if yes { Presence::Present } else { Presence::Absent };
            self.nodes.push(NodeStore {
                link: self.plan.node_rate.map(|rate| self.links.add(rate)),
                image: present(self.plan.image_present || self.plan.image.is_none()),
                asked: 0,
                downloaded: Vec::new(),
                unpacked: 0,
                unpacking: false,
                weights: present(self.plan.weights_present || self.plan.weights.is_none()),
                fetching: 0,
                waiting: Vec::new(),
            });
        }
        &mut self.nodes[id.index()]
    }

    /// A node has everything: a replica runs on it when the run begins.
    pub fn fill(&mut self, id: NodeId) {
        let kept = self.plan.weights.is_none_or(|weights| weights.kept);
        let node = self.node(id);
        node.image = Presence::Present;
        if kept {
            node.weights = Presence::Present;
        }
    }

    /// Whether weights are asked for when a pod comes to its node.
    pub fn fetches_with_pull(&self) -> bool {
        self.plan.weights.is_some_and(|weights| weights.with_pull)
    }

    /// Has a node begin to fetch, unless it does or has it.
    pub fn prepare(&mut self, now: SimTime, id: NodeId, want: Want) {
        let node = self.node(id);
        match want {
            Want::Image if node.image == Presence::Absent => {
                node.image = Presence::Fetching;
                (node.asked, node.unpacked, node.unpacking) = (0, 0, false);
                let Some(image) = &self.plan.image else { return };
                let manifest = now.saturating_add(image.manifest);
                self.nodes[id.index()].downloaded = vec![false; image.layers.len()];
                self.timers.insert((manifest, Timer::Manifest(id)));
            }
            Want::Weights if node.weights == Presence::Absent => {
                let link = node.link;
                let Some(weights) = self.plan.weights else { return };
                let connections = u64::from(weights.connections.max(1));
                let node = self.node(id);
                (node.weights, node.fetching) = (Presence::Fetching, connections as u32);
                let over: Vec<LinkId> = self.model_store.into_iter().chain(link).collect();
                for part in 0..connections {
                    // Parts differ by a byte where they must.
                    let bytes = weights.bytes / connections + u64::from(part < weights.bytes % connections);
                    let limit = self.plan.model_store.connection;
                    self.links.begin(now, Piece::Weights(id), &over, limit, u128::from(bytes) * NANOBYTES);
                }
            }
            _ => {}
        }
    }

    /// A pod on a node wants something. `true`: it is there; else the pod is told when it is ([`Storage::advance`]).
    pub fn want(&mut self, now: SimTime, id: NodeId, want: Want, replica: ReplicaId) -> bool {
        self.prepare(now, id, want);
        let node = self.node(id);
        let copy = if want == Want::Image { &node.image } else { &node.weights };
        if *copy != Presence::Present {
            node.waiting.push((want, replica));
            return false;
        }
        if want == Want::Weights && self.plan.weights.is_some_and(|weights| !weights.kept) {
            self.node(id).weights = Presence::Absent;
        }
        true
    }

    /// A pod waits no longer. What it asked for comes all the same.
    pub fn forget(&mut self, id: NodeId, replica: ReplicaId) {
        self.node(id).waiting.retain(|(_, waiting)| *waiting != replica);
        self.served.retain(|(_, served)| *served != replica);
    }

    /// A node is no more, and with it what it has and what is on its way to it.
    pub fn node_gone(&mut self, now: SimTime, id: NodeId) {
        self.links
            .cancel_if(now, |piece| matches!(piece, Piece::Layer(of, _) | Piece::Weights(of) if *of == id));
        self.timers.retain(|(_, timer)| match timer {
            Timer::Layer(of, _) | Timer::Manifest(of) | Timer::Unpacked(of) => *of != id,
            Timer::Rate(..) => true,
        });
    }

    /// When something happens next.
    pub fn next_event(&mut self) -> Option<SimTime> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.links.next_end()).min()
    }

    /// Everything that happens up to now; gives who has what they wanted, in the order of asking.
    pub fn advance(&mut self, now: SimTime) -> Vec<(Want, ReplicaId)> {
        loop {
            let mut moved = false;
            while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
                self.timers.remove(&(at, timer));
                self.timed(at, timer);
                moved = true;
            }
            for (_, piece) in self.links.ended(now) {
                self.arrived(now, piece);
                moved = true;
            }
            if !moved {
                return std::mem::take(&mut self.served);
            }
        }
    }

    fn timed(&mut self, now: SimTime, timer: Timer) {
        match timer {
            Timer::Manifest(id) => {
                self.ask_for_layers(now, id);
                self.unpack(now, id);
            }
            Timer::Layer(id, layer) => {
                let Some(image) = &self.plan.image else { return };
                let over: Vec<LinkId> =
                    self.registry.into_iter().chain(self.nodes[id.index()].link).collect();
                let amount = u128::from(image.layers[layer as usize].0) * NANOBYTES;
                self.links.begin(now, Piece::Layer(id, layer), &over, self.plan.registry.connection, amount);
            }
            Timer::Unpacked(id) => {
                let node = &mut self.nodes[id.index()];
                (node.unpacked, node.unpacking) = (node.unpacked + 1, false);
                self.unpack(now, id);
            }
            Timer::Rate(link, rate) => self.links.set_rate(now, link, rate),
        }
    }

    fn arrived(&mut self, now: SimTime, piece: Piece) {
        match piece {
            Piece::Layer(id, layer) => {
                self.nodes[id.index()].downloaded[layer as usize] = true;
                self.ask_for_layers(now, id);
                self.unpack(now, id);
            }
            Piece::Weights(id) => {
                let kept = self.plan.weights.is_some_and(|weights| weights.kept);
                let node = &mut self.nodes[id.index()];
                node.fetching -= 1;
                if node.fetching == 0 {
                    node.weights = Presence::Present;
                    let served = self.serve(id, Want::Weights);
                    // Without a copy of the node's own they are in the engine that asked.
                    if !kept && served > 0 {
                        self.nodes[id.index()].weights = Presence::Absent;
                    }
                }
            }
        }
    }

    /// Asks for as many further layers as there are connections free.
    fn ask_for_layers(&mut self, now: SimTime, id: NodeId) {
        let Some(image) = &self.plan.image else { return };
        let node = &mut self.nodes[id.index()];
        let there = node.downloaded.iter().filter(|there| **there).count() as u32;
        while node.asked < image.layers.len() as u32 && node.asked - there < image.connections.max(1) {
            let first_byte = now.saturating_add(image.per_request);
            self.timers.insert((first_byte, Timer::Layer(id, node.asked)));
            node.asked += 1;
        }
    }

    /// Takes up the next layer, if it is there; after the last one the image is.
    fn unpack(&mut self, now: SimTime, id: NodeId) {
        let Some(image) = &self.plan.image else { return };
        let node = &mut self.nodes[id.index()];
        if node.unpacking {
            return;
        }
        let next = node.unpacked as usize;
        match node.downloaded.get(next) {
            None => {
                node.image = Presence::Present;
                self.serve(id, Want::Image);
            }
            Some(true) => {
                node.unpacking = true;
                self.timers.insert((now.saturating_add(image.layers[next].1), Timer::Unpacked(id)));
            }
            Some(false) => {}
        }
    }

    /// Tells those who wait that it is there; gives how many.
    fn serve(&mut self, id: NodeId, want: Want) -> usize {
        let node = &mut self.nodes[id.index()];
        let before = self.served.len();
        self.served.extend(node.waiting.iter().filter(|(wanted, _)| *wanted == want));
        node.waiting.retain(|(wanted, _)| *wanted != want);
        self.served.len() - before
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
