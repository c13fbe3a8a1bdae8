//! Containers that exit, and the kubelet that starts them again.

use super::replica::{Start, Starting, State, Work};
use super::rollout::Failure;
use super::run::Run;
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::outcome::{BreachOutcome, Phase};

/// The kubelet's back-off between two starts of a container: none before the first restart, then from here on doubling.
const BACK_OFF: SimDuration = SimDuration::from_secs(10);
/// Its longest. A container that has run for twice as long begins anew with it (client-go `util/flowcontrol/backoff.go`
/// `hasExpired`).
const BACK_OFF_MAX: SimDuration = SimDuration::from_secs(300);

impl Run<'_> {
    /// A replica's container exits, with what is in it; the kubelet starts another, unless the pod is deleted.
    pub(super) fn container_exits(&mut self, id: ReplicaId) {
        if self.sim.replica.is_group() {
            return self.recreate(id);
        }
        match &self.replicas[id.index()].state {
            State::Starting(_) => {}
            State::Ready(_, in_rotation) => {
                let in_rotation = *in_rotation;
                self.cut_off(id);
                if in_rotation {
                    self.remove_endpoint(id);
                }
                self.fall_back(id);
            }
            State::Draining(_) => return self.grace_over(id),
            State::Lost(_) | State::Gone => return,
        }
        self.start_again(id);
        self.readiness_changed();
    }

    /// A ready replica's engine is gone at once. Its endpoint stays for the moment, with nothing behind it.
    pub(super) fn cut_off(&mut self, id: ReplicaId) {
        let State::Ready(_, in_rotation) = self.replicas[id.index()].state else { return };
        // Out of the endpoints first: what ends here must not make room for what would end here, too.
        let is_endpoint = self.router.has(id);
        if is_endpoint {
            self.router.remove(id);
        }
        for slot in self.requests.in_replica(id) {
            self.drop_request(slot, BreachOutcome::Killed);
        }
        // A keep-warm request that is cut has steps that nobody has counted yet.
        self.settle(id);
        self.count_ready(id, in_rotation, false);
        if is_endpoint {
            self.router.add(id, 0);
        }
        self.prometheus.engine_gone(id);
        self.metrics_server.forget(id);
        let now = self.now;
        let replica = &mut self.replicas[id.index()];
        replica.outlived =
            replica.serving().map(|serving| (serving.meter.at(now), serving.turn.wrapping_add(1)));
    }

    /// A replica that was ready is on its way again, from the start of its container.
    fn fall_back(&mut self, id: ReplicaId) {
        let now = self.now;
        let lot = self.lot_of(id);
        let phase = Phase::Starting;
        let replica = &mut self.replicas[id.index()];
        replica.unready_at = Some(now);
        replica.start = Start { at: now, phases: replica.phases.len(), restarts: replica.restarts };
        let container_started = replica.container_started;
        replica.state = State::Starting(Starting {
            phase,
            since: now,
            waits_from: SimTime::MAX,
            unscheduled: None,
            stages: Vec::new(),
            not_before: None,
            container_started,
            awaits: 0,
        });
        self.by_phase[phase as usize] += 1;
        self.books.enter(now, replica.start_account(phase), lot);
        // In order of creation, as all of them.
        let at = self.starting.partition_point(|other| *other < id);
        self.starting.insert(at, id);
    }

    /// Whether the container of a start exits now, because of its version or its GPU: as soon as it would do more than start.
    pub(super) fn exits_early(&self, id: ReplicaId) -> bool {
        let State::Starting(starting) = &self.replicas[id.index()].state else { return false };
        let next = starting.stages.last().map(|(phase, _)| *phase);
        let is_up = !matches!(next, Some(Phase::Pulling | Phase::Starting));
        is_up && self.failure(id) == Some(Failure::Crash)
    }

    /// The container of a start has exited: it starts again from the beginning, with the image that is there.
    pub(super) fn start_again(&mut self, id: ReplicaId) {
        if self.sim.replica.is_group() {
            return self.recreate(id);
        }
        self.unexpose(id);
        let mut stages = self.stages_of(id);
        stages.retain(|(phase, _)| *phase != Phase::Pulling);
        let now = self.now;
        let replica = &mut self.replicas[id.index()];
        let State::Starting(starting) = &mut replica.state else { return };
        if replica.container_started.is_some_and(|at| now.since(at) > BACK_OFF_MAX * 2) {
            replica.failures = 0;
        }
        if replica.failures > 0 {
            let doublings = (replica.failures - 1).min(16);
            let wait = SimDuration::from_nanos(BACK_OFF.as_nanos() << doublings).min(BACK_OFF_MAX);
            stages.push((Phase::Starting, Work::BackOff(wait)));
        }
        replica.failures += 1;
        replica.restarts += 1;
        replica.container_started = None;
        starting.stages = stages;
        starting.not_before = None;
        starting.container_started = None;
        if let Some(storage) = &mut self.storage {
            replica.nodes.iter().for_each(|node| storage.forget(*node, id));
        }
        self.next_stage(id);
    }
}
