//! Replicas and nodes through their lives: ordered, bound, loaded, ready, drained, gone.

use std::collections::VecDeque;

use rand::Rng;
use smallvec::SmallVec;

use super::config::ReadyAfter;
use super::engine::Engine;
use super::fetching::fetched;
use super::groups::slowest;
use super::replica::{Replica, Serving, Stalls, Start, Starting, State, Work};
use super::rollout::Failure;
use super::run::{Event, Run};
use super::sleep::Rest;
use super::telemetry::Exporter;
use super::warmth::Warmth;
use crate::kernel::queue::Rank;
use crate::kernel::rng::Purpose;
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::outcome::{Account, BreachOutcome, Phase, PhaseSpan, StartRecord, StartResult};
use crate::policy::meter::Meter;

impl Run<'_> {
    /// Orders `count` replicas of a version, to be started from nothing.
    pub(super) fn create(&mut self, count: u32, version: u32) {
        for _ in 0..count {
            let id = ReplicaId(self.replicas.len() as u32);
            let stages = self.stages_of(id);
            let starting = Starting {
                phase: Phase::Pending,
                since: self.now,
                waits_from: self.now,
                unscheduled: None,
                stages,
                not_before: None,
                container_started: None,
                awaits: 0,
            };
            self.add(id, version, true, State::Starting(starting));
            self.by_phase[Phase::Pending as usize] += 1;
            self.starting.push(id);
        }
        self.place();
        self.note_standing();
    }

    /// The stages of a replica's start, the next one last: the k-th replica of a run draws the same start under every policy.
    pub(super) fn stages_of(&self, id: ReplicaId) -> Vec<(Phase, Work)> {
        let mut rng = self.streams.stream(Purpose::ColdStart, u64::from(id.0));
        let drawn = self.sim.replica.stages.iter();
        let pods = self.sim.replica.group_size;
        let mut stages: Vec<_> =
            drawn.map(|(phase, time)| (*phase, slowest((0..pods).map(|_| time.sample(&mut rng))))).collect();
        if let Some(cache) = &self.sim.compile_cache {
            cache.put_hits(&mut stages, &mut rng);
        }
        let warms_up = self.sim.replica.readiness.after != ReadyAfter::Weights;
        stages.retain(|(phase, _)| warms_up || *phase != Phase::WarmingUp);
        self.sim.storage.put_fetches(&mut stages);
        stages.reverse();
        stages
    }

    /// A replica that is there and warm when the run starts.
    pub(super) fn create_warm(&mut self, in_rotation: bool) {
        let id = ReplicaId(self.replicas.len() as u32);
        self.add(id, 0, false, State::Gone);
        for _ in 0..self.sim.replica.group_size {
            let node = self.cluster.bind(self.now, None, 0);
            let node = node.expect("a run starts with nodes for its first replicas");
            self.books.leave(self.now, Account::Unallocated, self.lot(node));
            self.fill_node(node);
            self.replicas[id.index()].nodes.push(node);
        }
        let replica = &mut self.replicas[id.index()];
        replica.bound_at = Some(SimTime::ZERO);
        replica.container_started = Some(SimTime::ZERO);
        self.serve(id, in_rotation, true);
        if !in_rotation {
            self.sleep_from_the_start(id);
        }
    }

    fn add(&mut self, id: ReplicaId, version: u32, cold: bool, state: State) {
        let uid = self.streams.stream(Purpose::PodUid, u64::from(id.0)).next_u64();
        let index = if self.sim.replica.is_group() { self.free_index() } else { 0 };
        self.replicas.push(Replica {
            id,
            uid,
            version,
            created: self.now,
            decided: self.controller.decided(),
            nodes: SmallVec::new(),
            index,
            bound_at: None,
            container_started: None,
            ready_at: None,
            first_ready: None,
            exposed: None,
            unready_at: None,
            phases: Vec::new(),
            start: Start { at: self.now, phases: 0, restarts: 0 },
            cold,
            stopping: false,
            restarts: 0,
            failures: 0,
            gpu_failed: false,
            outlived: None,
            endpoint: 0,
            generation: 0,
            state,
        });
        self.live.push(id);
        self.books.set_replicas(self.now, self.live.len() as u64);
    }

    /// Ends the phase a starting replica is in and begins another, in which it only waits from some instant on; GPUs follow.
    pub(super) fn enter(&mut self, id: ReplicaId, phase: Phase, waits_from: SimTime) {
        let now = self.now;
        let lot = self.lot_of(id);
        let replica = &mut self.replicas[id.index()];
        replica.generation += 1;
        let State::Starting(starting) = &mut replica.state else { return };
        let before = starting.phase;
        if starting.since < now {
            replica.phases.push(starting.span(now));
        }
        starting.phase = phase;
        starting.since = now;
        starting.waits_from = waits_from;
        self.by_phase[before as usize] -= 1;
        self.by_phase[phase as usize] += 1;
        self.books.leave(now, replica.start_account(before), lot);
        self.books.enter(now, replica.start_account(phase), lot);
        if before == Phase::Pending || phase == Phase::Pending {
            self.note_standing();
        }
    }

    /// Begins the next stage of a start, or the wait for the readiness probe.
    pub(super) fn next_stage(&mut self, id: ReplicaId) {
        if self.exits_early(id) {
            return self.start_again(id);
        }
        let now = self.now;
        let replica = &mut self.replicas[id.index()];
        let State::Starting(starting) = &mut replica.state else { return };
        // What was waited for is there; the stage may take longer of itself.
        let rest = starting.not_before.take().filter(|until| *until > now);
        let mut stage = match rest {
            Some(until) => Some((starting.phase, Work::For(until.since(now)))),
            None => fetched(&mut self.storage, now, &replica.nodes, (id, replica.version), starting),
        };
        if let Some((_, Work::Beside(_, time))) = stage {
            starting.not_before = Some(now.saturating_add(time));
        }
        if let Some(cache) = &mut self.compile_cache {
            stage = cache.next(&replica.nodes, stage, &starting.stages);
        }
        let in_container =
            stage.is_none_or(|(phase, work)| phase != Phase::Pulling && !matches!(work, Work::BackOff(_)));
        let starts = in_container && starting.container_started.is_none();
        if starts {
            starting.container_started = Some(now);
            replica.container_started = Some(now);
        }
        let container_started = starting.container_started.unwrap_or(now);
        if starts {
            self.watch_start(id);
            self.watch_process(id);
        }
        let (phase, work) =
            stage.unwrap_or_else(|| (Phase::Probing, Work::For(self.probe_wait(id, container_started))));
        if rest.is_none() {
            self.enter(id, phase, self.waits_from(id, phase, work));
        }
        if phase == Phase::Probing && self.failure(id) == Some(Failure::NeverReady) {
            return;
        }
        let (Work::For(time) | Work::BackOff(time)) = work else { return self.watch_storage() };
        let generation = self.replicas[id.index()].generation;
        self.queue.push(now + time, Rank::Phase, id.0, generation, Event::PhaseDone(id, generation));
    }

    pub(super) fn phase_done(&mut self, id: ReplicaId, generation: u32) {
        let replica = &self.replicas[id.index()];
        if replica.generation != generation {
            return;
        }
        match replica.phase() {
            Some(Phase::Probing) => self.become_ready(id),
            Some(phase) if phase.is_start_up() => self.next_stage(id),
            _ => {}
        }
    }

    fn become_ready(&mut self, id: ReplicaId) {
        self.leave_start(id, StartResult::Ready);
        let in_rotation = self.in_rotation() < self.controller.in_rotation();
        let warmed = self.sim.replica.readiness.after != ReadyAfter::Weights;
        self.ready_log.push((self.now, id));
        self.serve(id, in_rotation, warmed);
        self.release_held();
        self.set_timer();
        self.readiness_changed();
    }

    /// Gives a replica its engine and puts it into rotation, or aside.
    fn serve(&mut self, id: ReplicaId, in_rotation: bool, warmed: bool) {
        let engine: Engine = self.factory.engine(warmed);
        let outlived = self.replicas[id.index()].outlived;
        let (meter, turn) = outlived.unwrap_or_else(|| (Meter::new(self.now), 0));
        let serving = Serving {
            engine,
            exporter: Box::new(Exporter::new(self.prometheus.histograms())),
            outstanding: 0,
            queued: VecDeque::new(),
            queued_count: 0,
            meter,
            stalls: Stalls::default(),
            warmth: Warmth::new(self.now),
            rest: Rest::Awake,
            sleep_draws: 0,
            busy_base: SimDuration::ZERO,
            turn,
            turn_at: None,
        };
        let replica = &mut self.replicas[id.index()];
        replica.ready_at = replica.exposed.or(Some(self.now));
        replica.first_ready = replica.first_ready.or(Some(self.now));
        replica.state = State::Ready(Box::new(serving), in_rotation);
        self.count_ready(id, in_rotation, true);
        if in_rotation {
            self.add_endpoint(id, 0);
        }
        self.lie_down(id);
        self.watch_warmth(id);
    }

    /// Deletes a replica: a ready one drains, and so does a start whose container has a `preStop` to run first;
    /// any other start is cancelled on the spot.
    pub(super) fn remove(&mut self, id: ReplicaId) {
        let replica = &mut self.replicas[id.index()];
        match &replica.state {
            State::Starting(_) => {
                let runs = replica.container_started.is_some();
                self.leave_start(id, StartResult::Cancelled);
                if runs && !self.sim.replica.pre_stop.is_zero() {
                    self.drain(id);
                } else {
                    self.replicas[id.index()].state = State::Gone;
                    self.gone(id);
                }
            }
            State::Ready(_, in_rotation) => {
                let in_rotation = *in_rotation;
                self.count_ready(id, in_rotation, false);
                if in_rotation {
                    self.remove_endpoint(id);
                }
                self.drain(id);
            }
            State::Lost(_) => self.forget_lost(id),
            State::Draining(_) | State::Gone => {}
        }
    }

    /// A pod gets its deletion timestamp: `preStop`, then `SIGTERM`, at the end of the grace period `SIGKILL`.
    fn drain(&mut self, id: ReplicaId) {
        let replica = &mut self.replicas[id.index()];
        replica.state = match std::mem::replace(&mut replica.state, State::Gone) {
            State::Ready(serving, _) => State::Draining(Some(serving)),
            _ => State::Draining(None),
        };
        self.by_phase[Phase::Draining as usize] += 1;
        let lot = self.lot_of(id);
        self.books.enter(self.now, Account::Draining, lot);
        let over = self.now.saturating_add(self.sim.replica.termination_grace_period);
        self.queue.push(over, Rank::Phase, id.0, u32::MAX, Event::GraceOver(id));
        if self.sim.replica.pre_stop.is_zero() {
            self.stop(id);
        } else {
            let at = self.now.saturating_add(self.sim.replica.pre_stop);
            self.queue.push(at, Rank::Phase, id.0, u32::MAX - 1, Event::Stop(id));
        }
    }

    /// A replica is told to stop: it finishes what it has and takes no more.
    pub(super) fn stop(&mut self, id: ReplicaId) {
        self.replicas[id.index()].stopping = true;
        self.retire_if_drained(id);
    }

    pub(super) fn retire_if_drained(&mut self, id: ReplicaId) {
        let replica = &self.replicas[id.index()];
        let State::Draining(serving) = &replica.state else { return };
        if replica.stopping && serving.as_ref().is_none_or(|serving| serving.outstanding == 0) {
            // A keep-warm request that it leaves behind has steps that nobody has counted yet.
            self.settle(id);
            self.replicas[id.index()].state = State::Gone;
            self.by_phase[Phase::Draining as usize] -= 1;
            let lot = self.lot_of(id);
            self.books.leave(self.now, Account::Draining, lot);
            self.gone(id);
        }
    }

    pub(super) fn grace_over(&mut self, id: ReplicaId) {
        if matches!(self.replicas[id.index()].state, State::Draining(_)) {
            for slot in self.requests.in_replica(id) {
                self.drop_request(slot, BreachOutcome::Killed);
            }
            // Without a request left it is gone, even if its `preStop` would sleep on.
            self.stop(id);
        }
    }

    /// A replica is no more: its GPUs are free.
    pub(super) fn gone(&mut self, id: ReplicaId) {
        let now = self.now;
        self.live.retain(|live| *live != id);
        self.prometheus.pod_gone(now, &self.replicas[id.index()]);
        self.books.set_replicas(now, self.live.len() as u64);
        let nodes = std::mem::take(&mut self.replicas[id.index()].nodes);
        for node in &nodes {
            self.books.enter(now, Account::Unallocated, self.lot(*node));
        }
        for node in nodes {
            self.left_node(id, node);
        }
        if self.sim.replica.is_group() {
            // Its name is free again.
            self.look_at(self.now);
        }
    }

    /// Ends a start: its last phase, its books, its record.
    pub(super) fn leave_start(&mut self, id: ReplicaId, result: StartResult) {
        let now = self.now;
        let lot = self.lot_of(id);
        let replica = &mut self.replicas[id.index()];
        replica.generation += 1;
        let State::Starting(starting) = &replica.state else { return };
        let phase = starting.phase;
        if starting.since < now {
            replica.phases.push(starting.span(now));
        }
        if !matches!(result, StartResult::Ready | StartResult::NodeLost) {
            self.unexpose(id);
        }
        let replica = &self.replicas[id.index()];
        self.books.leave(now, replica.start_account(phase), lot);
        if let Some(storage) = &mut self.storage {
            for node in &replica.nodes {
                storage.forget(*node, id);
            }
        }
        self.by_phase[phase as usize] -= 1;
        self.starting.retain(|s| *s != id);
        let phases = replica.phases[replica.start.phases..].to_vec();
        self.note_standing();
        self.starts.push(self.start_record(id, phases, result));
    }

    /// Writes the record of a start that the end of the run cut short.
    pub(super) fn record_start(&mut self, id: ReplicaId, result: StartResult) {
        let replica = &self.replicas[id.index()];
        let phases = replica.spans(self.now).skip(replica.start.phases).filter(|s| s.from < s.to).collect();
        self.starts.push(self.start_record(id, phases, result));
    }

    fn start_record(&self, id: ReplicaId, phases: Vec<PhaseSpan>, result: StartResult) -> StartRecord {
        let replica = &self.replicas[id.index()];
        let was_pending = phases.iter().any(|span| span.phase == Phase::Pending);
        let unscheduled = match &replica.state {
            State::Starting(starting) if was_pending => starting.unscheduled,
            _ => None,
        };
        StartRecord {
            replica: id,
            ordered: replica.start.at,
            decided: replica.decided,
            unscheduled,
            phases,
            again: replica.ready_at.is_some(),
            restarts: replica.restarts - replica.start.restarts,
            result,
        }
    }
}
