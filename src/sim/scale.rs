//! From a written scale to pods: when the controllers hear of it, and what they do then.
//!
//! The Deployment controller gives each ReplicaSet its size (`deployment.rs`); without a rolling update there is one, of the
//! size that is ordered. Its controller does as Kubernetes 1.36 does it (`pkg/controller/replicaset/replica_set.go` `manageReplicas`, `slowStartBatch`): a sync
//! creates or deletes at most 500 pods, creations 1, 2, 4, .. at a time, each batch once the one before has been
//! answered, deletions all at once. Until all of it is done the controller does not look at the scale again, and
//! then it goes by the newest one it has heard of.

use super::config::ControlPlaneSpec;
use super::deployment::{Deployment, RollingUpdate};
use super::replica::State;
use super::replica_set::{Gates, Pod, deletion_order_among};
use super::run::{Event, Run};
use super::sleep::Rest;
use crate::kernel::queue::Rank;
use crate::kernel::{ReplicaId, SimTime};
use crate::outcome::{DecisionRecord, Phase};
use crate::policy::Decision;

/// Most pods that one sync creates or deletes (`BurstReplicas`).
const BURST_REPLICAS: usize = 500;

/// An order: replicas in rotation, and spares beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub replicas: u32,
    pub spare: u32,
    /// When the policy wrote it.
    pub written: SimTime,
}

/// The controllers between the scale and the pods.
#[derive(Debug)]
pub(super) struct Controller {
    /// The newest order they have heard of.
    heard: Order,
    /// The order acted on last.
    acted_on: Order,
    /// The ReplicaSets by version.
    pub deployment: Deployment,
    /// What each ReplicaSet's controller waits for.
    calls: Vec<Calls>,
    /// Orders written so far.
    written: u32,
    /// Pods there were when all that was ordered had been done.
    fulfilled: u32,
    /// When the order was written that pods are created for; `None` while they stand in for pods that went, or for an older version.
    decided: Option<SimTime>,
    /// When the Deployment's controller hears of its pods.
    pub looks_at: Option<SimTime>,
}

/// Calls that are not answered yet.
#[derive(Debug)]
enum Calls {
    None,
    /// This batch of creations, and what is left of the sync with it.
    Create {
        batch: usize,
        left: usize,
    },
    Delete(Vec<ReplicaId>),
}

impl Order {
    /// All pods.
    fn pods(self) -> u32 {
        self.replicas.saturating_add(self.spare)
    }
}

impl Controller {
    /// One that has done what there was to do.
    pub fn new(order: Order) -> Self {
        Self {
            heard: order,
            acted_on: order,
            deployment: Deployment::new(order.pods()),
            calls: vec![Calls::None],
            written: 0,
            fulfilled: order.pods(),
            decided: None,
            looks_at: None,
        }
    }

    /// When the order was written that pods are created for now.
    pub fn decided(&self) -> Option<SimTime> {
        self.decided
    }

    /// A new template is written.
    pub fn roll_out(&mut self, strategy: RollingUpdate) {
        self.deployment.roll_out(strategy);
        self.calls.push(Calls::None);
    }

    /// Replicas that belong in rotation. Without spares all do, however many are to be deleted; what a rolling update has beyond
    /// the order is no spare.
    pub fn in_rotation(&self) -> u32 {
        let Order { replicas, spare, .. } = self.acted_on;
        if spare == 0 {
            return u32::MAX;
        }
        let beyond = if self.calls.len() > 1 {
            self.deployment.total().saturating_sub(self.acted_on.pods())
        } else {
            0
        };
        replicas.saturating_add(beyond)
    }
}

impl Run<'_> {
    fn control_plane(&self) -> &ControlPlaneSpec {
        &self.sim.control_plane
    }

    /// A policy writes the scale.
    pub(super) fn apply(&mut self, of: &'static str, decision: Decision) {
        let Decision { replicas, spare, path, why } = decision;
        let changed = replicas != self.ordered || spare != self.spare;
        let last = self.decisions.iter().rev().find(|d| d.of == of);
        let is_news = |d: &DecisionRecord| (d.why.rule, &d.why.conditions) != (why.rule, &why.conditions);
        if changed || path != self.path || last.is_none_or(is_news) {
            let record = DecisionRecord { at: self.now, of, from: self.ordered, to: replicas, spare, why };
            self.decisions.push(record);
        }
        if path != self.path {
            self.path = path;
            self.release_held();
        }
        if !changed {
            return;
        }
        self.ordered = replicas;
        self.spare = spare;
        self.note_standing();
        let order = Order { replicas, spare, written: self.now };
        let delay = self.control_plane().watch_delay;
        if delay.is_zero() {
            self.hear(order);
        } else {
            self.controller.written = self.controller.written.wrapping_add(1);
            let at = self.now.saturating_add(delay);
            self.queue.push(at, Rank::Phase, u32::MAX, self.controller.written, Event::Hear(order));
        }
    }

    /// The controllers hear of an order.
    pub(super) fn hear(&mut self, order: Order) {
        self.controller.heard = order;
        self.sync();
    }

    /// The Deployment's controller gives each ReplicaSet its size, and each ReplicaSet's controller compares what is there with
    /// that, and acts on it unless it is busy.
    pub(super) fn sync(&mut self) {
        let is_rolling = self.controller.calls.len() > 1;
        let available = if is_rolling { self.available() } else { Vec::new() };
        let pods = self.controller.heard.pods();
        self.controller.deployment.sync(pods, &available);
        for version in 0..self.controller.calls.len() {
            self.sync_set(version);
        }
    }

    fn sync_set(&mut self, version: usize) {
        while matches!(self.controller.calls[version], Calls::None) {
            self.controller.acted_on = self.controller.heard;
            let there = self.active(version);
            let wanted = self.controller.deployment.replicas(version) as usize;
            let (missing, many) = self.apart(&there, wanted);
            if missing == 0 && many == 0 {
                self.controller.fulfilled = self.controller.acted_on.pods();
                return self.fill_rotation();
            }
            self.controller.calls[version] = if many == 0 {
                // A spare that waits need not wait for its successor.
                self.fill_rotation();
                let order = self.controller.acted_on;
                let is_news = order.pods() > self.controller.fulfilled;
                self.controller.decided = is_news.then_some(order.written);
                Calls::Create { batch: 1, left: missing.min(BURST_REPLICAS) }
            } else {
                Calls::Delete(self.to_delete(&there, many.min(BURST_REPLICAS)))
            };
            if !self.control_plane().api_call.is_zero() {
                return self.await_calls(version);
            }
            while !matches!(self.controller.calls[version], Calls::None) {
                self.answer(version);
            }
        }
    }

    /// Pods went that nobody has taken away: the controllers make others.
    pub(super) fn replace_pods(&mut self) {
        self.sync();
    }

    fn await_calls(&mut self, version: usize) {
        let at = self.now.saturating_add(self.control_plane().api_call);
        self.queue.push(at, Rank::Phase, u32::MAX - 1, version as u32, Event::Answered(version));
    }

    /// The calls that were out for a ReplicaSet are answered.
    pub(super) fn answered(&mut self, version: usize) {
        self.answer(version);
        if matches!(self.controller.calls[version], Calls::None) {
            self.sync();
        } else {
            self.await_calls(version);
        }
    }

    /// Does what the calls that are out ask for, and sends the next batch.
    fn answer(&mut self, version: usize) {
        match std::mem::replace(&mut self.controller.calls[version], Calls::None) {
            Calls::None => {}
            Calls::Create { batch, left } => {
                self.create(batch as u32, version as u32);
                let left = left - batch;
                if left > 0 {
                    self.controller.calls[version] = Calls::Create { batch: left.min(2 * batch), left };
                }
            }
            Calls::Delete(replicas) => {
                for id in replicas {
                    self.remove(id);
                }
            }
        }
    }

    /// Replicas of a version that are not being deleted, in order of creation.
    fn active(&self, version: usize) -> Vec<ReplicaId> {
        self.all_active().filter(|id| self.replicas[id.index()].version as usize == version).collect()
    }

    fn all_active(&self) -> impl Iterator<Item = ReplicaId> {
        let stays = |id: &&ReplicaId| !matches!(self.replicas[id.index()].state, State::Draining(_));
        self.live.iter().filter(stays).copied()
    }

    /// Which of the active replicas go, first ones first.
    ///
    /// Spares are a notion of this program: ready pods of a Deployment of the pool's own, which lends them to the
    /// workload. They go before any replica in rotation or on its way there, being what there is too much of; within each group pods
    /// go as upstream sorts. The rank counts both groups, since a pod that changes sides stays on its node.
    fn to_delete(&self, active: &[ReplicaId], count: usize) -> Vec<ReplicaId> {
        if count == active.len() {
            return active.to_vec();
        }
        if self.sim.replica.is_group() {
            return self.highest_groups(active, count);
        }
        let pods: Vec<Pod<u64>> = active.iter().map(|id| self.replicas[id.index()].pod()).collect();
        // The pods of all ReplicaSets of the Deployment are related.
        let related = self.all_active().map(|id| self.replicas[id.index()].node());
        let order = deletion_order_among(&pods, related, self.now, Gates::default());
        let mut order: Vec<ReplicaId> = order.into_iter().map(|index| active[index]).collect();
        let is_taken = |id: &ReplicaId| self.replicas[id.index()].is_in_rotation() || self.is_waking(*id);
        order.sort_by_key(is_taken);
        order.truncate(count);
        order
    }

    /// Has as many ready replicas in rotation as belong there.
    fn fill_rotation(&mut self) {
        let wanted = self.controller.in_rotation();
        let mut ready: Vec<ReplicaId> = self.all_active().collect();
        ready.retain(|id| matches!(self.replicas[id.index()].state, State::Ready(..)));
        // Those that are awake first; those that were claimed before are on their way.
        ready.sort_by_key(|id| self.rest_of(*id) != Some(Rest::Awake));
        let mut there = self.in_rotation();
        there += ready.iter().filter(|id| self.is_waking(**id)).count() as u32;
        for id in &ready {
            let is_taken = self.replicas[id.index()].is_in_rotation() || self.is_waking(*id);
            if there < wanted && !is_taken {
                self.claim(*id);
                there += 1;
            }
        }
        ready.sort_unstable();
        let mut serving = self.in_rotation();
        for id in ready.iter().rev() {
            if serving > wanted && self.replicas[id.index()].is_in_rotation() {
                self.rotate(*id, false);
                serving -= 1;
            }
        }
        self.release_held();
    }

    /// Replicas in rotation, as far as anybody knows: those on a machine whose loss is not noticed yet are.
    pub(super) fn in_rotation(&self) -> u32 {
        let is_lost = |id: &&ReplicaId| {
            let replica = &self.replicas[id.index()];
            matches!(replica.state, State::Lost(_)) && replica.is_in_rotation()
        };
        let lost = if self.sim.faults.is_empty() { 0 } else { self.live.iter().filter(is_lost).count() };
        self.by_phase[Phase::Serving as usize] + lost as u32
    }
}
