//! A replica: from its creation through its start-up phases to serving, draining, gone; and back, when its container exits.
//!
//! Only a replica that is ready or draining holds an engine: a request cannot be given
//! to one that is still loading, because there is nothing to give it to.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::engine::Engine;
use super::replica_set::{Pod, PodPhase};
use super::sleep::Rest;
use super::storage::Want;
use super::telemetry::Exporter;
use super::warmth::Warmth;
use crate::kernel::{NodeId, ReplicaId, SimDuration, SimTime};
use crate::outcome::{Account, Phase, PhaseSpan, Unscheduled};
use crate::policy::meter::Meter;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// What a stage of a start is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It takes that long.
    For(SimDuration),
    /// It takes until the node has this.
    Fetch(Want),
    /// It takes that long, and until this is there.
    Beside(Want, SimDuration),
    /// The kubelet waits that long before it starts the container again.
    BackOff(SimDuration),
    /// It depends on the compile cache.
    Compile {
        /// With nothing in it.
        compiled: SimDuration,
        /// With the cache filled.
        cached: SimDuration,
    },
}

impl Work {
    /// How long it takes of itself.
    pub fn time(self) -> SimDuration {
        match self {
            Self::For(time) | Self::Beside(_, time) | Self::BackOff(time) => time,
            Self::Compile { compiled, .. } => compiled,
            Self::Fetch(_) => SimDuration::ZERO,
        }
    }
}

/// A replica on its way.
#[derive(Clone, Debug)]
pub struct Starting {
    /// Phase it is in.
    pub phase: Phase,
    /// Since when.
    pub since: SimTime,
    /// From when on it only waits in it.
    pub waits_from: SimTime,
    /// Why it was pending, if it was.
    pub unscheduled: Option<Unscheduled>,
    /// Stages it still has to go through, the next one last.
    pub stages: Vec<(Phase, Work)>,
    /// When the stage it is in ends at the earliest, although what it waits for may be there before.
    pub not_before: Option<SimTime>,
    /// When its container started, once it has.
    pub container_started: Option<SimTime>,
    /// Its pods that wait for what the stage fetches.
    pub awaits: u32,
}

/// A replica whose machine is gone while its pod is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// It was ready, and nobody has noticed.
    pub ready: bool,
    /// It was held out of rotation.
    pub spare: bool,
}

impl Starting {
    /// The phase it is in, up to an instant.
    pub fn span(&self, to: SimTime) -> PhaseSpan {
        let waiting = to.since(self.waits_from.max(self.since));
        PhaseSpan { phase: self.phase, from: self.since, to, waiting }
    }
}

/// The penalties of a replica that nothing had warmed, or that had gone cold.
///
/// A stall delays whoever is there, and whoever comes before the queue behind it is gone: in a
/// queue that is never empty every later start is late by the whole stall, and in one that would
/// have been empty without it the whole wait is due to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalls {
    /// All of them, whether over or not.
    total: SimDuration,
    /// Those of them that nobody waits for any more.
    past: SimDuration,
    /// When the last of them is over.
    until: SimTime,
}

impl Stalls {
    /// Books a penalty that begins now.
    pub fn add(&mut self, now: SimTime, penalty: SimDuration) {
        self.total += penalty;
        self.until = self.until.max(now) + penalty;
    }

    /// Those that do not delay a request that comes now; `waiting` tells how many wait before it.
    pub fn past(&mut self, now: SimTime, waiting: impl FnOnce() -> u32) -> SimDuration {
        if self.past < self.total && self.until <= now && waiting() == 0 {
            self.past = self.total;
        }
        self.past
    }

    /// All of them, whether over or not.
    pub fn total(&self) -> SimDuration {
        self.total
    }
}

/// A replica with an engine.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Its engine.
    pub engine: Engine,
    /// What it publishes.
    pub exporter: Box<Exporter>,
    /// Requests given to it and not yet ended, those in front of it included.
    pub outstanding: u32,
    /// Requests that its queue-proxy holds back, in order of arrival: (slot, id); some may have ended.
    pub queued: VecDeque<(u32, u64)>,
    /// How many of these have not ended.
    pub queued_count: u32,
    /// What its queue-proxy counts.
    pub meter: Meter,
    /// What its requests had to wait for because it was not warm.
    pub stalls: Stalls,
    /// What it has had to do of late.
    pub warmth: Warmth,
    /// Whether it sleeps, which only a spare does.
    pub rest: Rest,
    /// Times of its sleep drawn so far.
    pub sleep_draws: u32,
    /// Engine busy time when it last entered rotation.
    pub busy_base: SimDuration,
    /// Generation of its next turn; older turns are stale.
    pub turn: u32,
    /// The turn that is in the queue.
    pub turn_at: Option<SimTime>,
}

impl Serving {
    /// Whether it is a spare that was claimed and is not awake yet.
    pub fn is_waking(&self) -> bool {
        matches!(self.rest, Rest::Waking { .. })
    }

    /// Requests that its queue-proxy has let through.
    pub fn working(&self) -> u32 {
        self.outstanding - self.queued_count
    }
}

/// Where a replica is in its life.
#[derive(Clone, Debug)]
pub enum State {
    /// On its way.
    Starting(Starting),
    /// Warm; in rotation or held.
    Ready(Box<Serving>, /** In rotation. */ bool),
    /// Deleted; finishing what it has. One that was deleted on its way has no engine.
    Draining(Option<Box<Serving>>),
    /// Not deleted, on a machine that is no more.
    Lost(Lost),
    /// No more.
    Gone,
}

/// Where a start began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// When.
    pub at: SimTime,
    /// Phases before it.
    pub phases: usize,
    /// Restarts before it.
    pub restarts: u32,
}

/// One replica (one pod).
#[derive(Clone, Debug)]
pub struct Replica {
    /// Which.
    pub id: ReplicaId,
    /// Its pod's `metadata.uid`: random, and the same under every policy.
    pub uid: u64,
    /// Version of its pod's template; that of its ReplicaSet.
    pub version: u32,
    /// When its pod was created.
    pub created: SimTime,
    /// When the order was written that it was created for, if it was for one.
    pub decided: Option<SimTime>,
    /// Where its GPUs are: the nodes of its pods, its leader's first.
    pub nodes: SmallVec<[NodeId; 1]>,
    /// Of a group, the index that it is named by.
    pub index: u32,
    /// When the kubelet took it up.
    pub bound_at: Option<SimTime>,
    /// When its container started.
    pub container_started: Option<SimTime>,
    /// When it became ready last.
    pub ready_at: Option<SimTime>,
    /// When it became ready for the first time.
    pub first_ready: Option<SimTime>,
    /// Since when its pod has counted as ready although its server was not up, if it has.
    pub exposed: Option<SimTime>,
    /// When it was ready no longer.
    pub unready_at: Option<SimTime>,
    /// Start-up phases behind it, of all its starts.
    pub phases: Vec<PhaseSpan>,
    /// Its start: the first one, or the one after the container of a ready replica exited.
    pub start: Start,
    /// Whether it went through a start (and was not simply there at time 0).
    pub cold: bool,
    /// Its containers were told to stop (`SIGTERM`), or are gone: it takes no request any more.
    pub stopping: bool,
    /// How often its container started again.
    pub restarts: u32,
    /// How often of late: each time the kubelet waits longer.
    pub failures: u32,
    /// Its GPU has failed: no container starts on it.
    pub gpu_failed: bool,
    /// What outlives its container: the count of its queue-proxy, and the generation of its last turn.
    pub outlived: Option<(Meter, u32)>,
    /// Bumped whenever it comes into the endpoints: older events that take it out are stale.
    pub endpoint: u32,
    /// Bumped with each phase: older phase events are stale.
    pub generation: u32,
    /// Where it is in its life.
    pub state: State,
}

impl Replica {
    /// The phase it is in; `None` once it is gone.
    pub fn phase(&self) -> Option<Phase> {
        match &self.state {
            State::Starting(s) => Some(s.phase),
            State::Ready(_, true) => Some(Phase::Serving),
            State::Ready(_, false) => Some(Phase::Held),
            State::Draining(_) => Some(Phase::Draining),
            State::Lost(_) | State::Gone => None,
        }
    }

    /// Whether it is in rotation, as far as anybody knows.
    pub fn is_in_rotation(&self) -> bool {
        match &self.state {
            State::Ready(_, in_rotation) => *in_rotation,
            State::Lost(lost) => lost.ready && !lost.spare,
            State::Starting(_) | State::Draining(_) | State::Gone => false,
        }
    }

    /// Whether its pod counts as ready.
    pub fn is_ready(&self) -> bool {
        match &self.state {
            State::Ready(serving, _) => !serving.is_waking(),
            State::Starting(_) => self.exposed.is_some(),
            State::Lost(lost) => lost.ready,
            State::Draining(_) | State::Gone => false,
        }
    }

    /// Whether a container of its has run: its pod is `Running`, also while the kubelet waits to start it again.
    pub fn has_run(&self) -> bool {
        self.container_started.is_some() || self.restarts > 0
    }

    /// The account of its GPUs in a start-up phase: that of a replica that was ready before is no start-up. Pods that have a node wait
    /// for one for the others of their group.
    pub fn start_account(&self, phase: Phase) -> Account {
        match phase {
            _ if self.ready_at.is_some() => Account::Held,
            Phase::Pending => Account::StartUp(Phase::Provisioning),
            phase => Account::StartUp(phase),
        }
    }

    /// Its engine and exporter, if it has them.
    pub fn serving(&mut self) -> Option<&mut Serving> {
        match &mut self.state {
            State::Ready(s, _) | State::Draining(Some(s)) => Some(s),
            _ => None,
        }
    }

    /// Its engine, unless it refuses requests.
    pub fn accepting(&mut self) -> Option<&mut Serving> {
        if self.stopping { None } else { self.serving() }
    }

    /// Start-up phases up to `now`, the running one included.
    pub fn spans(&self, now: SimTime) -> impl Iterator<Item = PhaseSpan> + '_ {
        let running = match &self.state {
            State::Starting(s) => Some(s.span(now)),
            _ => None,
        };
        self.phases.iter().copied().chain(running)
    }

    /// Those of its first start.
    pub fn cold_spans(&self, now: SimTime) -> impl Iterator<Item = PhaseSpan> + '_ {
        self.spans(now).filter(|span| self.first_ready.is_none_or(|ready| span.from < ready))
    }

    /// Its pod as the ReplicaSet controller sees it. Times of the Kubernetes API have whole seconds
    /// (`metav1.Time`). No template has the deletion-cost annotation.
    pub fn pod(&self) -> Pod<u64> {
        let second = |at: SimTime| SimTime::from_nanos(at.as_nanos() / NANOS_PER_SEC * NANOS_PER_SEC);
        Pod {
            uid: self.uid,
            node: self.node(),
            phase: if self.has_run() { PodPhase::Running } else { PodPhase::Pending },
            ready: self.is_ready(),
            ready_at: self.ready_at.max(self.exposed).map(second),
            deletion_cost: 0,
            restarts: self.restarts,
            created_at: Some(second(self.created)),
        }
    }
}
