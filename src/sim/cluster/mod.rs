//! Nodes: ordered, booted, taking pods, drained, given back. Which pod goes where, which pool a node comes from, and what
//! each pool's bill is.
//!
//! Plain state: the loops of what orders and removes nodes are in [`cluster_autoscaler`] and [`karpenter`], pure functions of
//! it; `sim/nodes.rs` carries out what they say.

pub mod cluster_autoscaler;
pub mod config;
pub mod karpenter;

mod census;
mod expander;
mod placeholders;
mod plan;
mod scheduler;

use rand::rngs::ChaCha8Rng;

use super::faults::Shortages;
use crate::kernel::{NodeId, SimDuration, SimTime, Streams, rng::Purpose};
use config::BilledFrom;
pub use expander::Choice;
pub use placeholders::Held;
pub use plan::{Plan, PoolPlan};
pub use scheduler::ModelAffinity;

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Ordered; the machine is not there yet.
    Ordered,
    /// Booted; driver and device plugin are being set up.
    Booted,
    /// Takes pods.
    Ready,
    /// Takes no more: the cloud is about to take it back.
    Cordoned,
    /// Takes no more: it goes as soon as it is empty.
    Drained,
    /// Deleted.
    Gone,
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it is in its life.
    pub state: NodeState,
    /// Its pool, and the zone of it.
    pub pool: usize,
    /// Its zone, of its pool's.
    pub zone: u32,
    /// GPUs not bound to a replica or a placeholder.
    pub free_gpus: u32,
    /// Placeholders on it.
    pub placeholders: u32,
    /// When it was ordered.
    pub ordered: SimTime,
    /// When its bill began, once it has.
    pub billed_since: Option<SimTime>,
    /// When a pod came to it or left it last.
    pub pods_changed: SimTime,
    /// Since when it has been unneeded in the eyes of the cluster-autoscaler.
    pub unneeded_since: Option<SimTime>,
    /// Bumped whenever a pod comes or goes, so that an older removal is ignored.
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

/// A pool's standing with whoever orders from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackOff {
    /// The length of the last; zero once a node came.
    last: SimDuration,
    /// Until when nobody orders.
    until: SimTime,
}

/// All nodes.
#[derive(Clone, Debug)]
pub struct Cluster {
    plan: Plan,
    gpus_per_replica: u32,
    nodes: Vec<Node>,
    /// Those that are not gone, oldest first.
    there: Vec<NodeId>,
    /// Placeholders without a node.
    placeholders_waiting: u32,
    held: Held,
    /// Pods bound so far.
    bound: u64,
    streams: Streams,
    /// GPU-nanoseconds billed so far, by pool.
    billed_gpu_ns: Vec<u128>,
    shortages: Shortages,
    back_offs: Vec<BackOff>,
}

impl Cluster {
    /// Pools with their least nodes, and as many more as the replicas at the start and the placeholders need: ready, and billed
    /// from the start. Pools fill up in the order in which they are written.
    pub fn new(
        plan: Plan,
        gpus_per_replica: u32,
        replicas: u32,
        streams: Streams,
        shortages: Shortages,
    ) -> Self {
        let pools = plan.pools.len();
        let mut cluster = Self {
            gpus_per_replica,
            nodes: Vec::new(),
            there: Vec::new(),
            placeholders_waiting: plan.placeholders,
            held: Held::default(),
            bound: 0,
            streams,
            billed_gpu_ns: vec![0; pools],
            shortages,
            back_offs: vec![BackOff::default(); pools],
            plan,
        };
        let mut needed = replicas.saturating_add(cluster.plan.placeholders);
        for pool in 0..pools {
            let at_least = cluster.plan.pools[pool].spec.min_nodes;
            (0..at_least).for_each(|_| cluster.add_ready(pool));
            needed = needed.saturating_sub(at_least.saturating_mul(cluster.per_node(pool)));
        }
        for pool in 0..pools {
            while needed > 0 && cluster.per_node(pool) > 0 && cluster.room(pool) > 0 {
                cluster.add_ready(pool);
                needed = needed.saturating_sub(cluster.per_node(pool));
            }
        }
        // Whoever starts with more replicas than there is room for gets it: a scenario that does is refused before.
        let first = (0..pools).find(|pool| cluster.per_node(*pool) > 0);
        while let Some(pool) = first.filter(|_| needed > cluster.plan.placeholders) {
            cluster.add_ready(pool);
            needed = needed.saturating_sub(cluster.per_node(pool));
        }
        cluster
    }

    fn add_ready(&mut self, pool: usize) {
        let zone = self.emptiest_zone(pool, |_| true).unwrap_or(0);
        self.add(pool, zone, NodeState::Ready, SimTime::ZERO, Some(SimTime::ZERO));
    }

    fn add(
        &mut self,
        pool: usize,
        zone: u32,
        state: NodeState,
        now: SimTime,
        billed_since: Option<SimTime>,
    ) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Node {
            state,
            pool,
            zone,
            free_gpus: self.plan.pools[pool].spec.gpus_per_node,
            placeholders: 0,
            ordered: now,
            billed_since,
            pods_changed: now,
            unneeded_since: None,
            generation: 0,
        });
        self.there.push(id);
        id
    }

    /// What it was made from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The node with that id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The pool of a node.
    pub fn pool_of(&self, id: NodeId) -> &PoolPlan {
        &self.plan.pools[self.node(id).pool]
    }

    /// Nodes that are not gone, oldest first.
    pub fn there(&self) -> &[NodeId] {
        &self.there
    }

    /// GPUs of a node.
    pub fn gpus_of(&self, id: NodeId) -> u32 {
        self.pool_of(id).spec.gpus_per_node
    }

    /// Price of a GPU-hour of a node, millionths of a US dollar.
    pub fn price_of(&self, id: NodeId) -> u64 {
        self.pool_of(id).price_micro_usd
    }

    fn per_node(&self, pool: usize) -> u32 {
        self.plan.pools[pool].per_node(self.gpus_per_replica)
    }

    /// When the bill of a node starts.
    pub fn billed_from(&self, id: NodeId) -> BilledFrom {
        self.pool_of(id).spec.billed_from
    }

    /// Nodes of a pool that exist or are on their way.
    pub fn count(&self, pool: usize) -> u32 {
        self.there.iter().filter(|id| self.node(**id).pool == pool).count() as u32
    }

    /// Nodes that are billed.
    pub fn billed_count(&self) -> u32 {
        self.there.iter().filter(|id| self.node(**id).billed_since.is_some()).count() as u32
    }

    /// What the nodes that are billed cost an hour, millionths of a US dollar.
    pub fn billed_rate(&self) -> u64 {
        let billed = self.there.iter().filter(|id| self.node(**id).billed_since.is_some());
        let rate = |id: &NodeId| {
            let pool = self.pool_of(*id);
            u64::from(pool.spec.gpus_per_node) * pool.price_micro_usd
        };
        billed.map(rate).sum()
    }

    /// Nodes that may still be ordered from a pool: its own limit, and those it shares.
    pub fn room(&self, pool: usize) -> u32 {
        let own = self.plan.pools[pool].spec.max_nodes.saturating_sub(self.count(pool));
        let per_node = self.plan.pools[pool].spec.gpus_per_node.max(1);
        let gpus = |pools: &[usize]| -> u32 {
            let of = |pool: &usize| self.count(*pool) * self.plan.pools[*pool].spec.gpus_per_node;
            pools.iter().map(of).sum()
        };
        let shared = self.plan.quotas.iter().filter(|(_, pools)| pools.contains(&pool));
        shared.map(|(most, pools)| most.saturating_sub(gpus(pools)) / per_node).fold(own, u32::min)
    }

    /// Whether nothing is on it.
    pub fn is_empty(&self, id: NodeId) -> bool {
        self.node(id).free_gpus == self.gpus_of(id)
    }

    /// The zone of a pool with fewest nodes, of those that will do; of equals the first.
    fn emptiest_zone(&self, pool: usize, will_do: impl Fn(u32) -> bool) -> Option<u32> {
        let nodes = |zone: u32| {
            self.there
                .iter()
                .filter(|id| (self.node(**id).pool, self.node(**id).zone) == (pool, zone))
                .count()
        };
        let zones = 0..self.plan.pools[pool].zones().len() as u32;
        zones.filter(|zone| will_do(*zone)).min_by_key(|zone| nodes(*zone))
    }

    /// Takes a replica's GPUs, or a placeholder's.
    fn occupy(&mut self, id: NodeId, now: SimTime) {
        let gpus = self.gpus_per_replica;
        self.bound += 1;
        let node = &mut self.nodes[id.index()];
        node.free_gpus -= gpus;
        node.generation += 1;
        node.pods_changed = now;
    }

    /// Gives a replica's GPUs back, or a placeholder's.
    pub fn vacate(&mut self, id: NodeId, now: SimTime) {
        let gpus = self.gpus_per_replica;
        let node = &mut self.nodes[id.index()];
        node.free_gpus += gpus;
        node.generation += 1;
        node.pods_changed = now;
    }

    /// When an empty node should go if nothing comes to it, with its generation; `None` while it is not empty.
    pub fn removal(&self, id: NodeId, now: SimTime) -> Option<(SimTime, u32)> {
        let node = self.node(id);
        let wait = self.pool_of(id).spec.scale_down_unneeded.unwrap_or(SimDuration::from_secs(600));
        let empty = node.state == NodeState::Ready && self.is_empty(id);
        empty.then(|| (now.saturating_add(wait), node.generation))
    }

    /// Orders nodes from a pool, as many as are given or as there is room for. `None`: none is to be had.
    pub fn order(&mut self, pool: usize, count: u32, now: SimTime) -> Option<Vec<NodeOrder>> {
        let count = count.min(self.room(pool));
        let mut orders = Vec::new();
        for _ in 0..count {
            let takes = &self.plan.pools[pool].takes;
            let zones = self.plan.pools[pool].zones();
            let is_to_be_had =
                |zone: u32| takes.contains(&zone) && self.shortages.has(now, pool, zones[zone as usize]);
            match self.emptiest_zone(pool, is_to_be_had) {
                Some(zone) => orders.push(self.order_one(pool, zone, now)),
                None if orders.is_empty() => return None,
                None => break,
            }
        }
        Some(orders)
    }

    fn order_one(&mut self, pool: usize, zone: u32, now: SimTime) -> NodeOrder {
        let spec = &self.plan.pools[pool].spec;
        let mut rng: ChaCha8Rng = self.streams.stream(Purpose::Provision, self.nodes.len() as u64);
        let boots = now + spec.provision.sample(&mut rng);
        let ready = boots + spec.setup.sample(&mut rng);
        let billed_since = (spec.billed_from == BilledFrom::Request).then_some(now);
        let node = self.add(pool, zone, NodeState::Ordered, now, billed_since);
        NodeOrder { node, boots, ready }
    }

    /// Whether a pool is being backed off from.
    pub fn is_backed_off(&self, pool: usize, now: SimTime) -> bool {
        now < self.back_offs[pool].until
    }

    /// An order from a pool failed. The next waits for `first`, or for twice as long as after the failure before, up to `most`;
    /// a failure more than `reset` ago is forgotten. Gives the instant.
    pub fn back_off(&mut self, pool: usize, now: SimTime, [first, most, reset]: [SimDuration; 3]) -> SimTime {
        let back_off = &mut self.back_offs[pool];
        if now.since(back_off.until.min(now)) > reset {
            back_off.last = SimDuration::ZERO;
        }
        let doubled = SimDuration::from_nanos(back_off.last.as_nanos().saturating_mul(2));
        back_off.last = doubled.clamp(first, most.max(first));
        back_off.until = now.saturating_add(back_off.last);
        back_off.until
    }

    /// A node of a pool has come: what failed before is over.
    pub fn recovered(&mut self, pool: usize) {
        self.back_offs[pool].last = SimDuration::ZERO;
    }

    /// The first instant at which a pool is no longer backed off from, of those that are now.
    pub fn back_offs_end(&self, now: SimTime) -> Option<SimTime> {
        self.back_offs.iter().map(|back_off| back_off.until).filter(|until| *until > now).min()
    }

    /// A node has booted.
    pub fn booted(&mut self, id: NodeId, now: SimTime) {
        let from_boot = self.billed_from(id) == BilledFrom::Boot;
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
        node.pods_changed = now;
        node.billed_since = node.billed_since.or(Some(now));
    }

    /// Whether a node takes replicas now, if there is room.
    fn takes(&self, id: NodeId) -> bool {
        let node = self.node(id);
        node.state == NodeState::Ready && self.plan.pools[node.pool].takes.contains(&node.zone)
    }

    /// Placeholders that have no node.
    pub fn placeholders_waiting(&self) -> u32 {
        self.placeholders_waiting
    }

    /// A node takes no more pods, and loses its placeholders: the cloud takes it back.
    pub fn cordon(&mut self, id: NodeId, now: SimTime) {
        self.close(id, now, NodeState::Cordoned);
    }

    /// The same, and it goes once it is empty.
    pub fn drain(&mut self, id: NodeId, now: SimTime) {
        self.close(id, now, NodeState::Drained);
    }

    fn close(&mut self, id: NodeId, now: SimTime, state: NodeState) {
        self.evict_placeholders(id, now);
        self.nodes[id.index()].state = state;
    }

    /// A node's machine is gone, with nothing on it any more; `false` if it was gone already.
    pub fn lose(&mut self, id: NodeId, now: SimTime) -> bool {
        let was_there = self.node(id).state != NodeState::Gone;
        if was_there {
            self.evict_placeholders(id, now);
            self.bill(id, now);
            self.nodes[id.index()].state = NodeState::Gone;
            self.there.retain(|there| *there != id);
        }
        was_there
    }

    /// Whether a pool has more nodes than it must have.
    pub fn may_shrink(&self, pool: usize) -> bool {
        self.count(pool) > self.plan.pools[pool].spec.min_nodes
    }

    fn bill(&mut self, id: NodeId, until: SimTime) {
        let gpus = u128::from(self.gpus_of(id));
        let node = &mut self.nodes[id.index()];
        if let Some(since) = node.billed_since.take() {
            self.billed_gpu_ns[node.pool] += gpus * u128::from(until.since(since).as_nanos());
        }
    }

    /// Closes the bill at the end of the trace: GPU-nanoseconds of all billed nodes, by pool.
    pub fn close_bill(&mut self, end: SimTime) -> Vec<u128> {
        for id in self.there.clone() {
            self.bill(id, end);
        }
        self.billed_gpu_ns.clone()
    }
}

#[cfg(test)]
mod tests;
