//! Pods to nodes, nodes for pods: carries out what the scheduler and the provisioner say ([`super::cluster`]).

use super::books::Lot;
use super::cluster::cluster_autoscaler::{ClusterAutoscaler, Step};
use super::cluster::config::{BilledFrom, Expander, ProvisionerSpec};
use super::cluster::karpenter::{self, Karpenter};
use super::cluster::{NodeOrder, NodeState};
use super::replica::State;
use super::run::{Event, Run};
use crate::kernel::queue::Rank;
use crate::kernel::{NodeId, ReplicaId, SimDuration, SimTime};
use crate::outcome::{Account, Phase};

/// How a pool that failed is backed off from where nothing else is said: the cluster-autoscaler's first wait, its longest, and
/// when it forgets.
const BACK_OFF: [SimDuration; 3] =
    [SimDuration::from_secs(300), SimDuration::from_secs(1_800), SimDuration::from_secs(3 * 3_600)];

/// The provisioner of a run, and its turns.
#[derive(Debug, Default)]
pub(super) struct Provisioning {
    cluster_autoscaler: ClusterAutoscaler,
    karpenter: Karpenter,
    /// When it has its turn, and the generation of that event; older ones are stale.
    turn: (Option<SimTime>, u32),
    /// Pods and placeholders that have been seen without a node, so that new ones are told from old ones.
    seen: (u32, u32),
}

impl Run<'_> {
    /// Binds waiting replicas to nodes with room, oldest first, and has nodes ordered for the rest.
    pub(super) fn place(&mut self) {
        for id in self.unbound() {
            while self.missing_pods(id) > 0 && self.bind_pod(id) {}
            if self.missing_pods(id) > 0 {
                break;
            }
            self.next_stage(id);
        }
        self.cluster.bind_placeholders(self.now);
        self.want_nodes();
        self.tell_waiting();
    }

    /// Replicas with a pod that has no node.
    fn unbound(&self) -> Vec<ReplicaId> {
        self.starting.iter().copied().filter(|id| self.missing_pods(*id) > 0).collect()
    }

    /// Waiting pods are on their way once a node is that has room for them.
    fn tell_waiting(&mut self) {
        let room = self.cluster.room_on_the_way();
        let why = self.cluster.why_unscheduled(self.now);
        let mut pods = 0;
        for id in self.unbound() {
            pods += self.missing_pods(id);
            let phase = if pods <= room { Phase::Provisioning } else { Phase::Pending };
            if let State::Starting(starting) = &mut self.replicas[id.index()].state
                && phase == Phase::Pending
            {
                starting.unscheduled = Some(why);
            }
            if self.replicas[id.index()].phase() != Some(phase) {
                let waits_from = if phase == Phase::Pending { self.now } else { SimTime::MAX };
                self.enter(id, phase, waits_from);
            }
        }
    }

    /// Pods that wait, placeholders among them.
    fn waiting(&self) -> u32 {
        self.pods_of(&self.unbound()) + self.cluster.placeholders_waiting()
    }

    /// Tells the provisioner of pods that wait.
    fn want_nodes(&mut self) {
        self.keep_least();
        let newest = self.unbound().last().map_or(0, |id| id.0 + 1);
        let placeholders = self.cluster.placeholders_waiting();
        let is_news = newest > self.provisioning.seen.0 || placeholders > self.provisioning.seen.1;
        self.provisioning.seen = (self.provisioning.seen.0.max(newest), placeholders);
        match &self.sim.cluster.provisioner {
            ProvisionerSpec::None => {}
            ProvisionerSpec::AtOnce => self.order_at_once(),
            ProvisionerSpec::ClusterAutoscaler(spec) => {
                if is_news && spec.frequent_loops_enabled {
                    self.set_turn(self.now.saturating_add(spec.new_pod_scale_up_delay));
                }
            }
            ProvisionerSpec::Karpenter(spec) => {
                if is_news && self.waiting() > self.cluster.room_on_the_way() {
                    let complete = self.provisioning.karpenter.pod_waits(spec, self.now);
                    self.provisioning.turn.0 = None;
                    self.set_turn(complete);
                }
            }
        }
    }

    /// Orders back up to `minNodes` where nodes were lost: the cloud's group of machines keeps its size, whoever else orders.
    fn keep_least(&mut self) {
        for (pool, plan) in self.sim.cluster.pools.iter().enumerate() {
            let is_ours = plan.spec.min_nodes > 0 && plan.per_node(self.sim.replica.gpus_per_pod()) > 0;
            if !is_ours || self.cluster.is_backed_off(pool, self.now) {
                continue;
            }
            let short = plan.spec.min_nodes.saturating_sub(self.cluster.count(pool));
            match self.cluster.order(pool, short, self.now) {
                Some(orders) => self.await_nodes(pool, orders),
                None => self.order_later(pool),
            }
        }
    }

    /// A pool had no node: it is asked again when the back-off is over.
    fn order_later(&mut self, pool: usize) {
        let again = self.cluster.back_off(pool, self.now, BACK_OFF);
        self.queue.push(again, Rank::Phase, u32::MAX - 3, pool as u32, Event::OrderAgain);
    }

    /// Has the provisioner's turn come up, unless an earlier one does.
    fn set_turn(&mut self, at: SimTime) {
        if self.provisioning.turn.0.is_some_and(|turn| turn <= at) {
            return;
        }
        let generation = self.provisioning.turn.1.wrapping_add(1);
        self.provisioning.turn = (Some(at), generation);
        self.queue.push(at, Rank::Phase, u32::MAX - 8, generation, Event::Provision(generation));
    }

    /// The first turns of the provisioner's loops.
    pub(super) fn start_provisioner(&mut self) {
        match &self.sim.cluster.provisioner {
            ProvisionerSpec::ClusterAutoscaler(spec) => {
                let first = self.phase(spec.scan_phase, spec.scan_interval, u64::from(u32::MAX) - 2);
                self.set_turn(first);
            }
            ProvisionerSpec::Karpenter(_) => {
                let first = self.phase(None, karpenter::POLL, u64::from(u32::MAX) - 2);
                self.queue.push(first, Rank::Phase, u32::MAX - 9, 0, Event::Disrupt);
            }
            ProvisionerSpec::None | ProvisionerSpec::AtOnce => {}
        }
    }

    /// The provisioner has its turn.
    pub(super) fn provision(&mut self, generation: u32) {
        if self.provisioning.turn.1 != generation {
            return;
        }
        self.provisioning.turn.0 = None;
        let sim = self.sim;
        match &sim.cluster.provisioner {
            ProvisionerSpec::ClusterAutoscaler(spec) => {
                self.look(spec);
                self.set_turn(self.now.saturating_add(spec.scan_interval));
            }
            ProvisionerSpec::Karpenter(_) => self.order_batch(),
            ProvisionerSpec::None | ProvisionerSpec::AtOnce => {}
        }
        self.tell_waiting();
    }

    /// Orders the cheapest nodes for all that wait; where none is to be had, asks again when the back-off is over.
    fn order_at_once(&mut self) {
        while let Some(choice) = {
            let beyond = self.waiting().saturating_sub(self.cluster.room_on_the_way());
            self.cluster.expand(Expander::Price, &self.cluster.choices(beyond, self.now), 0)
        } {
            if let Some(orders) = self.cluster.order(choice.pool, choice.nodes, self.now) {
                self.await_nodes(choice.pool, orders);
            } else {
                self.order_later(choice.pool);
            }
        }
    }

    fn look(&mut self, spec: &super::cluster::config::ClusterAutoscalerSpec) {
        let ripe = |run: &Self| {
            let old_enough = |id: &ReplicaId| {
                run.replicas[id.index()].created.saturating_add(spec.new_pod_scale_up_delay) <= run.now
            };
            let old: Vec<ReplicaId> = run.unbound().into_iter().filter(old_enough).collect();
            run.pods_of(&old) + run.cluster.placeholders_waiting()
        };
        let back_off = [
            spec.initial_node_group_backoff_duration,
            spec.max_node_group_backoff_duration,
            spec.node_group_backoff_reset_timeout,
        ];
        loop {
            let waiting = ripe(self);
            let (now, cluster) = (self.now, &mut self.cluster);
            match self.provisioning.cluster_autoscaler.look(spec, cluster, waiting, now) {
                None => return,
                Some(Step::Order(choice)) => {
                    if let Some(orders) = self.cluster.order(choice.pool, choice.nodes, now) {
                        self.provisioning.cluster_autoscaler.added(now);
                        self.await_nodes(choice.pool, orders);
                    } else {
                        self.cluster.back_off(choice.pool, now, back_off);
                    }
                }
                Some(Step::GiveUp(nodes)) => {
                    for id in nodes {
                        let pool = self.cluster.node(id).pool;
                        self.node_ends(id);
                        if !self.cluster.is_backed_off(pool, now) {
                            self.cluster.back_off(pool, now, back_off);
                        }
                    }
                }
                Some(Step::Remove(nodes)) => {
                    for id in nodes {
                        self.node_ends(id);
                    }
                }
                Some(Step::Drain(id)) => self.take_away(id),
            }
        }
    }

    /// Karpenter's batch is complete: nodes for all of it.
    fn order_batch(&mut self) {
        self.provisioning.karpenter.close_batch();
        let short = |run: &Self| run.waiting().saturating_sub(run.cluster.room_on_the_way());
        while let Some(choice) = {
            let choices = self.cluster.choices(short(self), self.now);
            self.cluster.by_weight_and_price(&choices)
        } {
            if let Some(orders) = self.cluster.order(choice.pool, choice.nodes, self.now) {
                self.await_nodes(choice.pool, orders);
            } else {
                let wait = karpenter::UNAVAILABLE;
                self.cluster.back_off(choice.pool, self.now, [wait, wait, SimDuration::ZERO]);
            }
        }
        if short(self) > 0 {
            self.set_turn(self.now.saturating_add(karpenter::REQUEUE));
        }
    }

    /// A pass of Karpenter's disruption loop: what was picked in the last one and is still so goes, and others are picked.
    pub(super) fn disrupt(&mut self) {
        let ProvisionerSpec::Karpenter(spec) = &self.sim.cluster.provisioner else { return };
        let now = self.now;
        let picked = std::mem::take(&mut self.provisioning.karpenter.validating);
        let checked = !picked.is_empty();
        let still = |run: &Self, (id, generation): (NodeId, u32)| {
            let node = run.cluster.node(id);
            node.state == NodeState::Ready && node.generation == generation
        };
        let may_go = |run: &Self, id: NodeId| {
            let (empty, pool) = (run.cluster.is_empty(id), run.cluster.node(id).pool);
            run.cluster.may_shrink(pool) && (empty || run.cluster.finds_room_elsewhere(id))
        };
        for (id, generation) in picked {
            if still(self, (id, generation)) && may_go(self, id) {
                self.take_away(id);
            }
        }
        let late = self.provisioning.karpenter.late(spec, &self.cluster, now);
        let gave_up = !late.is_empty();
        for id in late {
            self.node_ends(id);
        }
        for id in self.provisioning.karpenter.expired(spec, &self.cluster, now) {
            self.take_away(id);
        }
        let mut next = karpenter::POLL;
        if !checked {
            let picked = self.provisioning.karpenter.pick(spec, &self.cluster, now);
            if !picked.is_empty() {
                next = karpenter::VALIDATION;
            }
            let with_generation = |id: NodeId| (id, self.cluster.node(id).generation);
            self.provisioning.karpenter.validating = picked.into_iter().map(with_generation).collect();
        }
        if gave_up {
            self.set_turn(now);
        }
        if self.trace_end.is_none() {
            self.queue.push(now.saturating_add(next), Rank::Phase, u32::MAX - 9, 0, Event::Disrupt);
        }
    }

    fn await_nodes(&mut self, pool: usize, orders: Vec<NodeOrder>) {
        for order in orders {
            if self.cluster.billed_from(order.node) == BilledFrom::Request {
                self.book_provisioning(order.node);
            }
            if let Some(storage) = &mut self.storage {
                storage.add_node(order.node, pool);
            }
            self.queue.push(order.boots, Rank::Phase, order.node.0, 0, Event::NodeBooted(order.node));
            self.queue.push(order.ready, Rank::Phase, order.node.0, 1, Event::NodeUp(order.node));
        }
    }

    /// A node that is billed before it takes pods belongs to the starts it was ordered for.
    fn book_provisioning(&mut self, id: NodeId) {
        let lot = self.lot_of_node(id);
        self.books.enter(self.now, Account::StartUp(Phase::Provisioning), lot);
    }

    pub(super) fn node_booted(&mut self, id: NodeId) {
        if self.cluster.node(id).state != NodeState::Ordered {
            return;
        }
        self.cluster.booted(id, self.now);
        if self.cluster.billed_from(id) == BilledFrom::Boot {
            self.book_provisioning(id);
        }
    }

    pub(super) fn node_up(&mut self, id: NodeId) {
        if self.cluster.node(id).state != NodeState::Booted {
            return;
        }
        self.cluster.ready(id, self.now);
        // An order alone is no sign: only a node that came is.
        self.cluster.recovered(self.cluster.node(id).pool);
        let lot = self.lot_of_node(id);
        if self.cluster.billed_from(id) != BilledFrom::Ready {
            self.books.leave(self.now, Account::StartUp(Phase::Provisioning), lot);
        }
        self.books.enter(self.now, Account::Unallocated, lot);
        if let Some(storage) = &mut self.storage {
            storage.node_up(self.now, id);
            self.watch_storage();
        }
        self.place();
        self.watch_empty(id);
    }

    /// A pod has left a node.
    pub(super) fn left_node(&mut self, replica: ReplicaId, id: NodeId) {
        // A GPU that has failed takes no other pod: its device plugin reports it unhealthy.
        if !self.replicas[replica.index()].gpu_failed {
            self.cluster.vacate(id, self.now);
        }
        if let Some(storage) = &mut self.storage {
            storage.pod_left(self.now, id);
        }
        self.place();
        if self.cluster.node(id).state == NodeState::Drained && self.cluster.is_empty(id) {
            return self.node_ends(id);
        }
        self.watch_empty(id);
    }

    /// Without a loop that looks for them, empty nodes go by themselves.
    pub(super) fn watch_empty(&mut self, id: NodeId) {
        if !matches!(self.sim.cluster.provisioner, ProvisionerSpec::AtOnce) {
            return;
        }
        if let Some((at, generation)) = self.cluster.removal(id, self.now) {
            self.queue.push(at, Rank::Phase, id.0, 2, Event::NodeIdle(id, generation));
        }
    }

    pub(super) fn node_idle(&mut self, id: NodeId, generation: u32) {
        let node = self.cluster.node(id);
        let is_idle =
            node.state == NodeState::Ready && node.generation == generation && self.cluster.is_empty(id);
        if is_idle && self.cluster.may_shrink(node.pool) {
            self.node_ends(id);
        }
    }

    /// A node takes no more pods and loses those it has; when it is empty it goes.
    fn take_away(&mut self, id: NodeId) {
        self.cluster.drain(id, self.now);
        for replica in self.on_node(id) {
            self.remove(replica);
        }
        if self.cluster.node(id).state == NodeState::Drained && self.cluster.is_empty(id) {
            self.node_ends(id);
        }
        self.replace_pods();
    }

    /// A node without replicas is deleted, on its way or there.
    pub(super) fn node_ends(&mut self, id: NodeId) {
        self.machine_gone(id, 0);
    }

    /// A machine is gone: its bill ends, and with it goes what it had. `pods` replicas are on it still, and their GPUs are in no
    /// account any more.
    pub(super) fn machine_gone(&mut self, id: NodeId, pods: u32) {
        let node = self.cluster.node(id);
        let (state, is_billed) = (node.state, node.billed_since.is_some());
        if !self.cluster.lose(id, self.now) {
            return;
        }
        let is_coming = matches!(state, NodeState::Ordered | NodeState::Booted);
        let account = if is_coming { Account::StartUp(Phase::Provisioning) } else { Account::Unallocated };
        if is_billed {
            let left = self.cluster.gpus_of(id) - pods * self.sim.replica.gpus_per_pod();
            self.books.leave(self.now, account, Lot::new(left, self.cluster.price_of(id)));
        }
        self.forget_node(id);
        self.want_nodes();
        self.tell_waiting();
    }

    /// Replicas that have a pod on a node.
    pub(super) fn on_node(&self, id: NodeId) -> Vec<ReplicaId> {
        self.live
            .iter()
            .copied()
            .filter(|replica| self.replicas[replica.index()].nodes.contains(&id))
            .collect()
    }

    /// A node's machine is gone, and what still ran on it.
    pub(super) fn node_lost(&mut self, id: NodeId) {
        if self.cluster.node(id).state == NodeState::Gone {
            return;
        }
        for replica in self.on_node(id) {
            match self.replicas[replica.index()].state {
                State::Draining(_) => self.grace_over(replica),
                _ => self.remove(replica),
            }
        }
        self.machine_gone(id, 0);
        self.replace_pods();
    }
}
