//! What probes make of a start: when it counts as ready, and when its container is killed (pkg/kubelet/prober/worker.go).

use super::config::{ProbeSpec, ReadyAfter};
use super::replica::State;
use super::run::{Event, Run};
use crate::kernel::queue::Rank;
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::outcome::Phase;

/// The first probe at or after an instant. A prober ticks from when the kubelet takes a pod up, whether its container runs or
/// not; at the first of its ticks none runs yet, however quick its start (`worker.run` probes before its ticker's first tick).
fn tick_from(taken_up: SimTime, period: SimDuration, at: SimTime) -> SimTime {
    let ticks = at.since(taken_up).as_nanos().div_ceil(period.as_nanos().max(1)).max(1);
    taken_up.saturating_add(SimDuration::from_nanos(ticks.saturating_mul(period.as_nanos())))
}

impl Run<'_> {
    /// The probe that a slow start has to fear. A liveness probe waits for the startup probe, if there is one.
    fn killing_probe(&self) -> Option<&ProbeSpec> {
        let replica = &self.sim.replica;
        replica.startup_probe.as_ref().or(replica.liveness_probe.as_ref())
    }

    /// A container has started: says when it will be killed unless its server answers by then.
    pub(super) fn watch_start(&mut self, id: ReplicaId) {
        let Some(probe) = self.killing_probe() else { return };
        let replica = &self.replicas[id.index()];
        let taken_up = replica.bound_at.unwrap_or(self.now);
        let first = tick_from(taken_up, probe.period, self.now.saturating_add(probe.initial_delay));
        let failures = u64::from(probe.failure_threshold.saturating_sub(1));
        let last =
            first.saturating_add(SimDuration::from_nanos(probe.period.as_nanos().saturating_mul(failures)));
        let restarts = replica.restarts;
        // A server that is up at the instant of the last probe passes it.
        self.queue.push(last, Rank::Deadline, id.0, u32::MAX - restarts, Event::ProbeFailed(id, restarts));
    }

    /// A container has failed its probe for too long: it starts again, with the image that is there.
    pub(super) fn probe_failed(&mut self, id: ReplicaId, restarts: u32) {
        let replica = &self.replicas[id.index()];
        let State::Starting(starting) = &replica.state else { return };
        if replica.restarts != restarts || starting.phase == Phase::Probing {
            return;
        }
        self.start_again(id);
    }

    /// A container has started: where readiness asks for its process only, says when requests are routed to it, whatever its server
    /// does. A startup probe, and a proxy that looks for pods itself, ask the server.
    pub(super) fn watch_process(&mut self, id: ReplicaId) {
        let asks = self.sim.replica.startup_probe.is_some() || self.data_path.probe_period.is_some();
        if self.sim.replica.readiness.after != ReadyAfter::Process || asks {
            return;
        }
        let at = self.now.saturating_add(self.probe_wait(id, self.now));
        let restarts = self.replicas[id.index()].restarts;
        self.queue.push(at, Rank::Phase, id.0, u32::MAX / 2 - restarts, Event::ProcessUp(id, restarts));
    }

    /// A replica's process is up, and its pod is ready.
    pub(super) fn process_up(&mut self, id: ReplicaId, restarts: u32) {
        let replica = &mut self.replicas[id.index()];
        if replica.restarts != restarts || !matches!(replica.state, State::Starting(_)) {
            return;
        }
        replica.exposed = Some(self.now);
        self.add_endpoint(id, 0);
        self.policy.pods_changed(self.now);
        self.release_held();
        self.set_timer();
        self.readiness_changed();
    }

    /// A replica that counted as ready before it was up does so no longer.
    pub(super) fn unexpose(&mut self, id: ReplicaId) {
        let replica = &mut self.replicas[id.index()];
        if replica.exposed.take().is_some() {
            replica.unready_at = Some(self.now);
            self.remove_endpoint(id);
            self.policy.pods_changed(self.now);
        }
    }

    /// From now, when the server answers, until its replica is ready and requests are routed to it.
    pub(super) fn probe_wait(&self, id: ReplicaId, container_started: SimTime) -> SimDuration {
        let readiness = &self.sim.replica.readiness;
        let now = self.now;
        if self.replicas[id.index()].exposed.is_some() {
            return SimDuration::ZERO;
        }
        if let Some(period) = self.data_path.probe_period {
            return first_pass(now, container_started, period).since(now);
        }
        let first = container_started + readiness.initial_delay;
        let passes = match &self.sim.replica.startup_probe {
            None => first_pass(now, first, readiness.period),
            // The readiness probe runs as soon as the startup probe has passed.
            Some(startup) => {
                let taken_up = self.replicas[id.index()].bound_at.unwrap_or(container_started);
                let from = now.max(container_started.saturating_add(startup.initial_delay));
                tick_from(taken_up, startup.period, from).max(first)
            }
        };
        let more = u64::from(readiness.success_threshold.saturating_sub(1));
        let more = SimDuration::from_nanos(readiness.period.as_nanos().saturating_mul(more));
        passes.since(now) + more + readiness.endpoint_delay
    }
}

/// The first probe that passes, of those at `first` and every `period` after it.
fn first_pass(now: SimTime, first: SimTime, period: SimDuration) -> SimTime {
    let period = period.as_nanos();
    if now <= first || period == 0 {
        return first.max(now);
    }
    first + SimDuration::from_nanos(now.since(first).as_nanos().div_ceil(period) * period)
}
