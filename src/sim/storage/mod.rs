//! Images and weights on their way to nodes, and what nodes have of them.
//!
//! A node pulls an image once, however many of its pods wait for it, and goes on when they are gone, as a kubelet does (`pull`).
//! Weights come over the model store's link and the node's, in as many connections as the loader opens, and are read from the node's
//! copy (`weights`). Whatever crosses a link at the same time shares it ([`links`]).

pub mod config;
pub mod links;

mod alone;
mod plan;
mod pull;
mod weights;

use std::collections::BTreeSet;

use crate::kernel::{NodeId, ReplicaId, SimDuration, SimTime};
use links::{LinkId, Links};
pub use plan::{ImagePlan, LazyPlan, NodePlan, Plan, Source, Wares, WeightsPlan};
use pull::Pull;
use weights::Copies;

/// What a pod waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Its image.
    Image,
    /// Its model's weights, on the node or on their way to the GPU.
    Weights,
    /// The weights read from the node's copy.
    Read,
    /// The weights on their way to the GPU, from wherever they are.
    Stream,
    /// What its runtime touches first of an image that is not there yet.
    Touch,
}

/// What a transfer is of, and from which node it comes, if from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Layer(Pulled, u32, Option<NodeId>),
    /// Of a lazily pulled image, what the container needs at first.
    First(Pulled, Option<NodeId>),
    /// The rest of it.
    Rest(Pulled, Option<NodeId>),
    Weights(NodeId, Option<NodeId>),
    /// From the node's own disk, for one replica or for all that wait.
    Read(NodeId, Option<ReplicaId>),
}

impl Piece {
    /// Where it goes.
    fn to(self) -> NodeId {
        match self {
            Self::Layer(pulled, ..) | Self::First(pulled, _) | Self::Rest(pulled, _) => pulled.node,
            Self::Weights(id, _) | Self::Read(id, _) => id,
        }
    }

    /// The node it comes from.
    fn from(self) -> Option<NodeId> {
        match self {
            Self::Layer(_, _, from) | Self::First(_, from) | Self::Rest(_, from) | Self::Weights(_, from) => {
                from
            }
            Self::Read(..) => None,
        }
    }
}

/// A version of the image, on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pulled {
    node: NodeId,
    version: u32,
}

/// What happens at an instant that is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The first byte of a layer comes.
    Layer(Pulled, u32),
    /// The manifest is there.
    Manifest(Pulled),
    /// A layer is decompressed and written.
    Unpacked(Pulled),
    /// A link changes its rate.
    Rate(LinkId, u64),
    /// The registry begins to refuse.
    Refuse,
    /// A pull that failed is tried again.
    Retry(Pulled),
    /// A runtime has what it touched first.
    Touched(NodeId, ReplicaId),
}

impl Timer {
    fn of(self) -> Option<NodeId> {
        match self {
            Self::Layer(pulled, _)
            | Self::Manifest(pulled)
            | Self::Unpacked(pulled)
            | Self::Retry(pulled) => Some(pulled.node),
            Self::Touched(id, _) => Some(id),
            Self::Rate(..) | Self::Refuse => None,
        }
    }
}

/// What a node has, and what is on its way to it.
#[derive(Clone, Debug)]
struct NodeStore {
    plan: NodePlan,
    /// Its network interface, inwards and outwards, and its disk.
    inwards: Option<LinkId>,
    outwards: Option<LinkId>,
    disk: Option<LinkId>,
    is_gone: bool,
    /// Pods on it, which use the image; and when the last one left.
    pods: u32,
    image_used: SimTime,
    /// By version of the image.
    pulls: Vec<Pull>,
    copies: Copies,
    /// Who waits, for which version, in the order of asking.
    waiting: Vec<(Want, ReplicaId, u32)>,
}

/// A source of images or weights, and its links.
#[derive(Clone, Copy, Debug, Default)]
struct Store {
    link: Option<LinkId>,
    cache: Option<LinkId>,
}

/// How long an image and the weights take to a fresh node of a pool that has its sources to itself, one after the other; nothing where they
/// are there, or not simulated. Disturbances are left out.
pub fn alone(plan: &Plan, pool: usize) -> (SimDuration, SimDuration) {
    let node = plan.nodes.get(pool).copied().unwrap_or_default();
    (alone::takes(plan, node, Want::Image, 0, None), alone::takes(plan, node, Want::Weights, 0, None))
}

/// Images and weights of a run.
#[derive(Clone, Debug)]
pub struct Storage {
    plan: Plan,
    links: Links<Piece>,
    registry: Store,
    model_store: Store,
    nodes: Vec<NodeStore>,
    timers: BTreeSet<(SimTime, Timer)>,
    /// Layers, and the weights, that the caches of the cluster have.
    cached_layers: BTreeSet<(u32, u32)>,
    cached_weights: bool,
    /// Who has got what since it was last asked.
    served: Vec<(Want, ReplicaId)>,
    /// Whether it reckons how long each fetch would take alone.
    reckons: bool,
}

impl Storage {
    /// Nothing is anywhere yet.
    pub fn new(plan: Plan) -> Self {
        let mut links = Links::default();
        let mut timers = BTreeSet::new();
        let mut store = |source: &Source| {
            let link = source.rate.map(|rate| links.add(rate));
            let changes = source.changes.iter();
            timers.extend(changes.filter_map(|(at, rate)| Some((*at, Timer::Rate(link?, *rate)))));
            Store { link, cache: source.cache.map(|rate| links.add(rate)) }
        };
        let (registry, model_store) = (store(&plan.registry), store(&plan.model_store));
        timers.extend(plan.registry.failing.iter().map(|(from, _)| (*from, Timer::Refuse)));
        Self {
            plan,
            links,
            registry,
            model_store,
            nodes: Vec::new(),
            timers,
            cached_layers: BTreeSet::new(),
            cached_weights: false,
            served: Vec::new(),
            reckons: true,
        }
    }

    /// There is a node, of a pool; nodes are added in the order of their numbers, from 0.
    pub fn add_node(&mut self, id: NodeId, pool: usize) {
        debug_assert_eq!(id.index(), self.nodes.len());
        let plan = self.plan.nodes.get(pool).copied().unwrap_or_default();
        let peers = self.plan.registry.peers || self.plan.model_store.peers;
        let mut link = |rate: Option<u64>| rate.map(|rate| self.links.add(rate));
        self.nodes.push(NodeStore {
            inwards: link(plan.rate),
            outwards: link(plan.rate.filter(|_| peers)),
            disk: link(plan.disk_rate),
            plan,
            is_gone: false,
            pods: 0,
            image_used: SimTime::ZERO,
            pulls: self.new_pulls(plan.present.image),
            copies: Copies::new(plan.present.weights || self.plan.weights.is_none()),
            waiting: Vec::new(),
        });
    }

    fn node(&mut self, id: NodeId) -> &mut NodeStore {
        &mut self.nodes[id.index()]
    }

    /// A node takes pods: what its pool fetches beforehand begins to come.
    pub fn node_up(&mut self, now: SimTime, id: NodeId) {
        let plan = self.nodes[id.index()].plan;
        let beforehand = [(plan.prefetch.image, Want::Image), (plan.prefetch.weights, Want::Weights)];
        for (_, want) in beforehand.into_iter().filter(|(does, _)| *does) {
            self.prepare(now, id, want, 0);
        }
    }

    /// Whether a node has a version of the image, or the weights, for the next pod that wants it.
    pub fn holds(&self, now: SimTime, id: NodeId, want: Want, version: u32) -> bool {
        match want {
            Want::Image | Want::Touch => self.has_image(now, Pulled { node: id, version }),
            Want::Weights | Want::Read | Want::Stream => self.has_weights(now, id),
        }
    }

    /// Bytes of a version of the image in the registry.
    pub fn image_bytes(&self, version: u32) -> u64 {
        self.plan.image_of(version).map_or(0, ImagePlan::bytes)
    }

    /// A node has everything: a replica runs on it when the run begins.
    pub fn fill(&mut self, id: NodeId) {
        let kept = self.plan.weights.is_none_or(|weights| weights.kept);
        let node = self.node(id);
        node.pulls[0] = Pull::new(true);
        node.copies.fill(kept);
    }

    /// A pod comes to a node.
    pub fn pod_came(&mut self, id: NodeId) {
        self.node(id).pods += 1;
    }

    /// A pod leaves a node: it uses the image no longer.
    pub fn pod_left(&mut self, now: SimTime, id: NodeId) {
        let node = self.node(id);
        node.pods = node.pods.saturating_sub(1);
        node.image_used = now;
    }

    /// Whether weights are asked for when a pod comes to its node.
    pub fn fetches_with_pull(&self) -> bool {
        self.plan.weights.is_some_and(|weights| weights.with_pull)
    }

    /// Has a node begin to fetch, unless it does or has it.
    pub fn prepare(&mut self, now: SimTime, id: NodeId, want: Want, version: u32) {
        match want {
            Want::Image => self.begin_pull(now, Pulled { node: id, version }),
            Want::Weights | Want::Stream => self.begin_fetch(now, id),
            Want::Read | Want::Touch => {}
        }
    }

    /// A pod of a version on a node wants something. `true`: it is there; else the pod is told when it is ([`Storage::advance`]).
    pub fn want(&mut self, now: SimTime, id: NodeId, want: Want, replica: ReplicaId, version: u32) -> bool {
        self.prepare(now, id, want, version);
        let there = match want {
            Want::Image => self.pull_of(Pulled { node: id, version }).runs(),
            Want::Weights => self.take_weights(now, id),
            Want::Read => self.begin_read(now, id, replica),
            Want::Stream => self.take_weights(now, id) && self.begin_read(now, id, replica),
            Want::Touch => self.touch(now, Pulled { node: id, version }, replica),
        };
        if !there {
            self.node(id).waiting.push((want, replica, version));
        }
        there
    }

    /// A pod waits no longer. What it asked for comes all the same.
    pub fn forget(&mut self, id: NodeId, replica: ReplicaId) {
        self.node(id).waiting.retain(|(_, waiting, _)| *waiting != replica);
        self.served.retain(|(_, served)| *served != replica);
    }

    /// A node is no more, and with it what it has and what is on its way to it. What came from it comes from elsewhere, from where it was.
    pub fn node_gone(&mut self, now: SimTime, id: NodeId) {
        self.node(id).is_gone = true;
        let cut = self.links.take_if(now, |piece| piece.to() == id || piece.from() == Some(id));
        self.timers.retain(|(_, timer)| timer.of() != Some(id));
        for (piece, left) in cut.into_iter().filter(|(piece, _)| piece.to() != id) {
            self.resume(now, piece, left);
        }
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
            Timer::Manifest(pulled) => self.manifest(now, pulled),
            Timer::Layer(pulled, layer) => self.begin_layer(now, pulled, layer),
            Timer::Unpacked(pulled) => self.unpacked(now, pulled),
            Timer::Rate(link, rate) => self.links.set_rate(now, link, rate),
            Timer::Refuse => self.refuse(now),
            Timer::Retry(pulled) => self.ask_for_manifest(now, pulled),
            Timer::Touched(id, replica) => self.serve_one(id, Want::Touch, replica),
        }
    }

    fn arrived(&mut self, now: SimTime, piece: Piece) {
        match piece {
            Piece::Layer(pulled, layer, from) => self.layer_arrived(now, pulled, layer, from),
            Piece::First(pulled, _) => self.first_arrived(now, pulled),
            Piece::Rest(pulled, _) => self.rest_arrived(now, pulled),
            Piece::Weights(id, from) => self.weights_arrived(now, id, from),
            Piece::Read(id, replica) => self.read(now, id, replica),
        }
    }

    /// Goes on with a transfer whose source is gone.
    fn resume(&mut self, now: SimTime, piece: Piece, left: u128) {
        let to = piece.to();
        match piece {
            Piece::Weights(..) => {
                let from = self.peer(now, to, Want::Weights, 0);
                self.fetch(now, to, from, left);
            }
            Piece::Layer(pulled, ..) | Piece::First(pulled, _) | Piece::Rest(pulled, _) => {
                self.transfer_of_image(now, pulled, piece, left);
            }
            Piece::Read(..) => {}
        }
    }

    /// The node that gives another one what it wants: of those that have it the one that gives to fewest, of equals the oldest.
    fn peer(&self, now: SimTime, to: NodeId, want: Want, version: u32) -> Option<NodeId> {
        let source = if want == Want::Image { &self.plan.registry } else { &self.plan.model_store };
        if !source.peers {
            return None;
        }
        let ids = (0..self.nodes.len() as u32).map(NodeId);
        let can = ids
            .filter(|id| *id != to && !self.nodes[id.index()].is_gone && self.holds(now, *id, want, version));
        can.min_by_key(|id| (self.links.count(|piece| piece.from() == Some(*id)), *id))
    }

    /// The links of a transfer to a node: from a peer, from the cache of the cluster, or from the source and into the cache.
    fn way(&self, store: Store, to: NodeId, from: Option<NodeId>, is_cached: bool) -> Vec<LinkId> {
        let outwards = from.and_then(|from| self.nodes[from.index()].outwards);
        let source = store.link.filter(|_| from.is_none() && !(is_cached && store.cache.is_some()));
        let cache = store.cache.filter(|_| from.is_none());
        [outwards, source, cache, self.nodes[to.index()].inwards].into_iter().flatten().collect()
    }

    /// Tells those who wait, of one version or of all, that it is there; gives how many.
    fn serve(&mut self, id: NodeId, want: Want, version: Option<u32>) -> usize {
        let node = &mut self.nodes[id.index()];
        let before = self.served.len();
        let served = &mut self.served;
        node.waiting.retain(|(wanted, replica, of)| {
            let is_served = *wanted == want && version.is_none_or(|version| version == *of);
            if is_served {
                served.push((want, *replica));
            }
            !is_served
        });
        self.served.len() - before
    }

    /// Tells one of them.
    fn serve_one(&mut self, id: NodeId, want: Want, replica: ReplicaId) {
        let node = &mut self.nodes[id.index()];
        let before = node.waiting.len();
        node.waiting.retain(|(wanted, waiting, _)| (*wanted, *waiting) != (want, replica));
        if node.waiting.len() < before {
            self.served.push((want, replica));
        }
    }
}

#[cfg(test)]
mod copies_tests;
#[cfg(test)]
mod tests;
