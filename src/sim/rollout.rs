//! Rolling updates of a run: when templates change, and what the Deployment controller is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::deployment::{IntOrPercent, RollingUpdate};
use super::replica::State;
use super::run::{Event, Run};
use crate::kernel::queue::Rank;
use crate::kernel::{Bytes, ReplicaId, SimDuration, SimTime};

/// A new version is rolled out: the pods of the Deployment are replaced step by step (`strategy.rollingUpdate`). Their starts are
/// drawn like others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutSpec {
    /// When the template is written, from the start of the run.
    pub at: SimDuration,
    /// Pods beyond the order at a time; a share is rounded up.
    #[serde(default = "quarter")]
    pub max_surge: IntOrPercent,
    /// Pods that may be missing of the order; a share is rounded down. Where both come to nothing, one may be missing.
    #[serde(default = "quarter")]
    pub max_unavailable: IntOrPercent,
    /// How long a pod must be ready before it counts as available (`minReadySeconds`).
    #[serde(default)]
    pub min_ready: SimDuration,
    /// The image of the new version, if it is another one. Default: `replica.image` stays.
    #[serde(default)]
    pub image: Option<RolloutImageSpec>,
    /// What is wrong with the new version. Default: nothing.
    #[serde(default)]
    pub fails: Option<Failure>,
    /// From `at` until the template before is written again (`kubectl rollout undo`), which is a rolling update, too.
    /// `progressDeadlineSeconds` alone rolls nothing back. Default: it stays.
    #[serde(default)]
    pub rollback_after: Option<SimDuration>,
}

/// The image of a new version, as far as it differs from `replica.image`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutImageSpec {
    /// How many of its first layers are those of `replica.image`: nodes that have that one do not pull them again.
    #[serde(default)]
    pub shared_layers: u32,
    /// Size of each further layer in the registry.
    pub layers: Vec<Bytes>,
}

fn quarter() -> IntOrPercent {
    IntOrPercent::Percent(25)
}

impl RolloutSpec {
    /// How far it goes at a time.
    pub fn strategy(&self) -> RollingUpdate {
        RollingUpdate { max_surge: self.max_surge, max_unavailable: self.max_unavailable }
    }
}

/// What is wrong with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    /// Its container exits as soon as it runs, before it loads weights; the kubelet starts it again and again.
    Crash,
    /// It starts, and its readiness probe never passes.
    NeverReady,
}

impl Run<'_> {
    /// Puts the rolling updates in place. The controller hears of a template as it does of a scale.
    pub(super) fn schedule_rollouts(&mut self) {
        let hears = |at: SimTime| at.saturating_add(self.sim.control_plane.watch_delay);
        for (index, rollout) in self.sim.rollouts.iter().enumerate() {
            let at = SimTime::ZERO + rollout.at;
            let key = 2 * index as u32;
            self.queue.push(hears(at), Rank::Phase, u32::MAX - 4, key, Event::RollOut(index));
            if let Some(after) = rollout.rollback_after {
                let at = hears(at.saturating_add(after));
                self.queue.push(at, Rank::Phase, u32::MAX - 4, key + 1, Event::RollBack);
            }
        }
    }

    /// The controller hears of a new template.
    pub(super) fn roll_out(&mut self, index: usize) {
        self.controller.roll_out(self.sim.rollouts[index].strategy());
        self.sync();
    }

    /// The controller hears that the template is the one before again.
    pub(super) fn roll_back(&mut self) {
        self.controller.deployment.roll_back();
        self.sync();
    }

    /// What is wrong with a replica's version.
    pub(super) fn failure(&self, id: ReplicaId) -> Option<Failure> {
        let replica = &self.replicas[id.index()];
        if replica.gpu_failed {
            return Some(Failure::Crash);
        }
        // Version 0 is there from the start; each template makes one more.
        self.sim.rollouts.get((replica.version as usize).checked_sub(1)?)?.fails
    }

    /// How long a pod must be ready before it is available: of the template written last.
    fn min_ready(&self) -> SimDuration {
        let newest = self.controller.deployment.versions().checked_sub(2);
        newest.map_or(SimDuration::ZERO, |index| self.sim.rollouts[index].min_ready)
    }

    /// Available pods of each version.
    pub(super) fn available(&self) -> Vec<u32> {
        let mut available = vec![0; self.controller.deployment.versions()];
        let min_ready = self.min_ready();
        for id in &self.live {
            let replica = &self.replicas[id.index()];
            let since = match &replica.state {
                State::Ready(..) => replica.ready_at,
                State::Lost(lost) if lost.ready => replica.ready_at.max(replica.exposed),
                State::Starting(_) => replica.exposed,
                _ => None,
            };
            // What was there from the start has been ready for long.
            let is_long =
                |since: SimTime| since == SimTime::ZERO || since.saturating_add(min_ready) <= self.now;
            let is_available = since.is_some_and(is_long);
            available[replica.version as usize] += u32::from(is_available);
        }
        available
    }

    /// Pods became ready, or are no longer: in a rolling update its controller hears of it, and of those that are ready for long
    /// enough.
    pub(super) fn readiness_changed(&mut self) {
        if !self.controller.deployment.is_rolling() {
            return;
        }
        let heard = self.now.saturating_add(self.sim.control_plane.watch_delay);
        let min_ready = self.min_ready();
        self.look_at(heard);
        if !min_ready.is_zero() {
            self.look_at(heard.saturating_add(min_ready));
        }
    }

    /// Has the Deployment's controller look at its pods.
    pub(super) fn look_at(&mut self, at: SimTime) {
        if self.controller.looks_at != Some(at) {
            self.controller.looks_at = Some(at);
            self.queue.push(at, Rank::Phase, u32::MAX - 5, 0, Event::LookAtPods);
        }
    }
}
