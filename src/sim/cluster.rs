//! The node pool: nodes that are ordered, boot, take pods, and are given back when empty.

use rand::rngs::ChaCha8Rng;

use super::config::{BilledFrom, PoolSpec};
use super::faults::Scarcity;
use crate::kernel::{NodeId, SimTime, Streams, rng::Purpose};

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Ordered; the machine is not there yet.
    Ordered,
    /// Booted; driver and device plugin are being set up.
    Booted,
    /// Takes pods.
    Ready,
    /// Takes no more: it is about to go.
    Cordoned,
    /// Deleted.
    Gone,
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it is in its life.
    pub state: NodeState,
    /// GPUs not bound to a replica.
    pub free_gpus: u32,
    /// When its bill began, once it has.
    pub billed_since: Option<SimTime>,
    /// Bumped whenever it stops being empty, so that an older removal is ignored.
    pub generation: u32,
}

/// When an ordered node gets where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeOrder {
    /// Which.
    pub node: NodeId,
    /// When it will have booted.
    pub boots: SimTime,
    /// When it will take pods.
    pub ready: SimTime,
}

/// The one pool of nodes.
#[derive(Clone, Debug)]
pub struct Cluster {
    spec: PoolSpec,
    gpus_per_replica: u32,
    nodes: Vec<Node>,
    streams: Streams,
    billed_gpu_ns: u128,
    scarcity: Scarcity,
}

impl Cluster {
    /// A pool with `nodes` nodes ready and billed from the start.
    pub fn new(
        spec: PoolSpec,
        gpus_per_replica: u32,
        nodes: u32,
        streams: Streams,
        scarcity: Scarcity,
    ) -> Self {
        let free_gpus = spec.gpus_per_node;
        let node =
            Node { state: NodeState::Ready, free_gpus, billed_since: Some(SimTime::ZERO), generation: 0 };
        Self {
            nodes: vec![node; nodes as usize],
            spec,
            gpus_per_replica,
            streams,
            billed_gpu_ns: 0,
            scarcity,
        }
    }

    /// The node with that id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// GPUs of a node.
    pub fn gpus_per_node(&self) -> u32 {
        self.spec.gpus_per_node
    }

    /// When the bill of a node starts.
    pub fn billed_from(&self) -> BilledFrom {
        self.spec.billed_from
    }

    /// Nodes that exist or are on their way.
    pub fn count(&self) -> u32 {
        self.nodes.iter().filter(|n| n.state != NodeState::Gone).count() as u32
    }

    /// Nodes that are billed.
    pub fn billed_count(&self) -> u32 {
        self.nodes.iter().filter(|n| n.state != NodeState::Gone && n.billed_since.is_some()).count() as u32
    }

    /// Binds a replica's GPUs on the fullest node that has room; ties go to the oldest.
    pub fn bind(&mut self) -> Option<NodeId> {
        let gpus = self.gpus_per_replica;
        let fits =
            self.nodes.iter().enumerate().filter(|(_, n)| n.state == NodeState::Ready && n.free_gpus >= gpus);
        let (index, _) = fits.min_by_key(|(index, n)| (n.free_gpus, *index))?;
        let node = &mut self.nodes[index];
        node.free_gpus -= gpus;
        node.generation += 1;
        Some(NodeId(index as u32))
    }

    /// Gives a replica's GPUs back. If that empties a node that may go, says when it should.
    pub fn unbind(&mut self, id: NodeId, now: SimTime) -> Option<(SimTime, u32)> {
        let node = &mut self.nodes[id.index()];
        node.free_gpus += self.gpus_per_replica;
        self.removal(id, now)
    }

    /// When an empty node should go, with its generation; `None` while it is not empty.
    pub fn removal(&self, id: NodeId, now: SimTime) -> Option<(SimTime, u32)> {
        let node = self.node(id);
        let empty = node.state == NodeState::Ready && node.free_gpus == self.spec.gpus_per_node;
        empty.then(|| (now.saturating_add(self.spec.scale_down_unneeded), node.generation))
    }

    /// Orders as many nodes as `waiting` replicas need beyond those on their way, up to the maximum. `Err`: none is to be had
    /// now; it says when to ask again.
    pub fn order(&mut self, waiting: u32, now: SimTime) -> Result<Vec<NodeOrder>, SimTime> {
        let per_node = self.spec.gpus_per_node / self.gpus_per_replica.max(1);
        let coming =
            self.nodes.iter().filter(|n| matches!(n.state, NodeState::Ordered | NodeState::Booted)).count();
        let needed = waiting.div_ceil(per_node.max(1)).saturating_sub(coming as u32);
        let room = self.spec.max_nodes.saturating_sub(self.count());
        let count = needed.min(room);
        if count > 0 {
            self.scarcity.ask(now)?;
        }
        Ok((0..count).map(|_| self.order_one(now)).collect())
    }

    fn order_one(&mut self, now: SimTime) -> NodeOrder {
        let node = NodeId(self.nodes.len() as u32);
        let mut rng: ChaCha8Rng = self.streams.stream(Purpose::Provision, u64::from(node.0));
        let boots = now + self.spec.provision.sample(&mut rng);
        let ready = boots + self.spec.setup.sample(&mut rng);
        let billed_since = (self.spec.billed_from == BilledFrom::Request).then_some(now);
        self.nodes.push(Node {
            state: NodeState::Ordered,
            free_gpus: self.spec.gpus_per_node,
            billed_since,
            generation: 0,
        });
        NodeOrder { node, boots, ready }
    }

    /// A node has booted.
    pub fn booted(&mut self, id: NodeId, now: SimTime) {
        let from_boot = self.spec.billed_from == BilledFrom::Boot;
        let node = &mut self.nodes[id.index()];
        node.state = NodeState::Booted;
        if from_boot {
            node.billed_since = Some(now);
        }
    }

    /// A node takes pods.
    pub fn ready(&mut self, id: NodeId, now: SimTime) {
        let node = &mut self.nodes[id.index()];
        node.state = NodeState::Ready;
        node.billed_since = node.billed_since.or(Some(now));
    }

    /// Replicas that the nodes on their way have room for.
    pub fn room_on_the_way(&self) -> usize {
        let coming = self.nodes.iter().filter(|n| matches!(n.state, NodeState::Ordered | NodeState::Booted));
        coming.count() * (self.spec.gpus_per_node / self.gpus_per_replica.max(1)) as usize
    }

    /// Nodes that take pods, in order of their orders.
    pub fn taking_pods(&self) -> Vec<NodeId> {
        let ready = self.nodes.iter().enumerate().filter(|(_, node)| node.state == NodeState::Ready);
        ready.map(|(index, _)| NodeId(index as u32)).collect()
    }

    /// A node takes no more pods.
    pub fn cordon(&mut self, id: NodeId) {
        self.nodes[id.index()].state = NodeState::Cordoned;
    }

    /// A node's machine is gone, with nothing on it any more; `false` if it was gone already.
    pub fn lose(&mut self, id: NodeId, now: SimTime) -> bool {
        let was_there = self.node(id).state != NodeState::Gone;
        if was_there {
            self.bill(id, now);
            self.nodes[id.index()].state = NodeState::Gone;
        }
        was_there
    }

    /// Removes an empty node if it is still the empty one it was, and the pool may shrink.
    pub fn remove(&mut self, id: NodeId, generation: u32, now: SimTime) -> bool {
        let node = self.node(id);
        let idle = node.state == NodeState::Ready
            && node.generation == generation
            && node.free_gpus == self.spec.gpus_per_node;
        if !idle || self.count() <= self.spec.min_nodes {
            return false;
        }
        self.bill(id, now);
        self.nodes[id.index()].state = NodeState::Gone;
        true
    }

    fn bill(&mut self, id: NodeId, until: SimTime) {
        let node = &mut self.nodes[id.index()];
        if let Some(since) = node.billed_since.take() {
            let gpus = u128::from(self.spec.gpus_per_node);
            self.billed_gpu_ns += gpus * u128::from(until.since(since).as_nanos());
        }
    }

    /// Closes the bill at the end of the trace: GPU-nanoseconds of all billed nodes.
    pub fn close_bill(&mut self, end: SimTime) -> u128 {
        for index in 0..self.nodes.len() {
            self.bill(NodeId(index as u32), end);
        }
        self.billed_gpu_ns
    }
}

/// Nodes that must be there at the start to hold `replicas`.
pub fn initial_nodes(spec: &PoolSpec, gpus_per_replica: u32, replicas: u32) -> u32 {
    let per_node = (spec.gpus_per_node / gpus_per_replica.max(1)).max(1);
    replicas.div_ceil(per_node).max(spec.min_nodes)
}
