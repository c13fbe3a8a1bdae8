//! From a written scale to pods: when the ReplicaSet controller hears of it, and what it does then.
//!
//! As Kubernetes 1.36 does it (`pkg/controller/replicaset/replica_set.go` `manageReplicas`, `slowStartBatch`): a sync
//! creates or deletes at most 500 pods, creations 1, 2, 4, .. at a time, each batch once the one before has been
//! answered, deletions all at once. Until all of it is done the controller does not look at the scale again, and
//! then it goes by the newest one it has heard of.

use super::config::ControlPlaneSpec;
use super::replica::State;
use super::replica_set::{Gates, Pod, deletion_order};
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

/// The controller between the scale and the pods.
#[derive(Debug)]
pub(super) struct Controller {
    /// The newest order it has heard of.
    heard: Order,
    /// The order it acted on last.
    acted_on: Order,
    /// What it waits for.
    calls: Calls,
    /// Orders written so far.
    written: u32,
    /// Pods there were when it had last done what there was to do.
    fulfilled: usize,
    /// When the order was written that it creates pods for; `None` while they stand in for pods that went.
    decided: Option<SimTime>,
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

impl Controller {
    /// One that has done what there was to do.
    pub fn new(order: Order) -> Self {
        let fulfilled = order.replicas as usize + order.spare as usize;
        Self { heard: order, acted_on: order, calls: Calls::None, written: 0, fulfilled, decided: None }
    }

    /// When the order was written that pods are created for now.
    pub fn decided(&self) -> Option<SimTime> {
        self.decided
    }

    /// Replicas that belong in rotation.
    pub fn in_rotation(&self) -> u32 {
        self.acted_on.replicas
    }

    /// How many replicas there may be before one on its way is a spare.
    pub fn before_spares(&self) -> u32 {
        // Without spares all are the workload's, however many are still to be deleted.
        if self.acted_on.spare == 0 { u32::MAX } else { self.acted_on.replicas }
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

    /// The controller hears of an order.
    pub(super) fn hear(&mut self, order: Order) {
        self.controller.heard = order;
        self.sync();
    }

    /// The controller compares what is there with what it has heard, and acts on it unless it is busy.
    fn sync(&mut self) {
        while matches!(self.controller.calls, Calls::None) {
            let order = self.controller.heard;
            self.controller.acted_on = order;
            let there = self.active();
            let wanted = order.replicas as usize + order.spare as usize;
            if there.len() == wanted {
                self.controller.fulfilled = wanted;
                return self.fill_rotation();
            }
            self.controller.calls = if there.len() < wanted {
                // A spare that waits need not wait for its successor.
                self.fill_rotation();
                let is_news = wanted > self.controller.fulfilled;
                self.controller.decided = is_news.then_some(order.written);
                Calls::Create { batch: 1, left: (wanted - there.len()).min(BURST_REPLICAS) }
            } else {
                Calls::Delete(self.to_delete(&there, (there.len() - wanted).min(BURST_REPLICAS)))
            };
            if !self.control_plane().api_call.is_zero() {
                return self.await_calls();
            }
            while !matches!(self.controller.calls, Calls::None) {
                self.answer();
            }
        }
    }

    /// Pods went that nobody has taken away: the controller makes others.
    pub(super) fn replace_pods(&mut self) {
        self.sync();
    }

    fn await_calls(&mut self) {
        let at = self.now.saturating_add(self.control_plane().api_call);
        self.queue.push(at, Rank::Phase, u32::MAX - 1, 0, Event::Answered);
    }

    /// The calls that were out are answered.
    pub(super) fn answered(&mut self) {
        self.answer();
        if matches!(self.controller.calls, Calls::None) {
            self.sync();
        } else {
            self.await_calls();
        }
    }

    /// Does what the calls that are out ask for, and sends the next batch.
    fn answer(&mut self) {
        match std::mem::replace(&mut self.controller.calls, Calls::None) {
            Calls::None => {}
            Calls::Create { batch, left } => {
                self.create(batch as u32);
                let left = left - batch;
                if left > 0 {
                    self.controller.calls = Calls::Create { batch: left.min(2 * batch), left };
                }
            }
            Calls::Delete(replicas) => {
                for id in replicas {
                    self.remove(id);
                }
            }
        }
    }

    /// Replicas that are not being deleted, in order of creation.
    fn active(&self) -> Vec<ReplicaId> {
        let stays = |id: &&ReplicaId| !matches!(self.replicas[id.index()].state, State::Draining(_));
        self.live.iter().filter(stays).copied().collect()
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
        let pods: Vec<Pod<u64>> = active.iter().map(|id| self.replicas[id.index()].pod()).collect();
        let order = deletion_order(&pods, self.now, Gates::default());
        let mut order: Vec<ReplicaId> = order.into_iter().map(|index| active[index]).collect();
        let is_taken =
            |id: &ReplicaId| self.replicas[id.index()].phase() == Some(Phase::Serving) || self.is_waking(*id);
        order.sort_by_key(is_taken);
        order.truncate(count);
        order
    }

    /// Has as many ready replicas in rotation as belong there.
    fn fill_rotation(&mut self) {
        let wanted = self.controller.in_rotation();
        let mut ready = self.active();
        ready.retain(|id| matches!(self.replicas[id.index()].state, State::Ready(..)));
        let in_rotation =
            |run: &Self, id: ReplicaId| run.replicas[id.index()].phase() == Some(Phase::Serving);
        // Those that are awake first; those that were claimed before are on their way.
        ready.sort_by_key(|id| self.rest_of(*id) != Some(Rest::Awake));
        let mut there = self.by_phase[Phase::Serving as usize];
        there += ready.iter().filter(|id| self.is_waking(**id)).count() as u32;
        for id in &ready {
            if there < wanted && !in_rotation(self, *id) && !self.is_waking(*id) {
                self.claim(*id);
                there += 1;
            }
        }
        ready.sort_unstable();
        for id in ready.iter().rev() {
            if self.by_phase[Phase::Serving as usize] > wanted && in_rotation(self, *id) {
                self.rotate(*id, false);
            }
        }
        self.release_held();
    }
}
