//! What idleness does to a replica: its engine goes cold, and keep-warm requests keep it from that.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Simulation;
use super::engine::{Job, KEEP_WARM};
use super::replica::{Serving, State};
use super::requests::InFlight;
use super::run::{Event, Run};
use super::sleep::Rest;
use crate::kernel::queue::Rank;
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::workload::Request;

/// A ready replica that serves nothing for a while goes cold: clocks fall, caches and pages are lost, and its next requests pay
/// for it, as those of a replica that nothing warmed do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CoolingSpec {
    /// How long its engine must have had nothing to do.
    pub after: SimDuration,
    /// What the first request after that takes longer. Default: the profile's `firstRequests`, for the first, the second, ..
    #[serde(default)]
    pub penalty: Option<SimDuration>,
}

/// Synthetic requests that keep an idle replica warm. Each goes straight into the engine: it takes real time there, shares
/// steps or workers with what users send meanwhile, and shows in the engine's own metrics and in GPU and CPU utilisation. The gateway, a
/// proxy of the policy and the queue-proxy do not see it, and no latency, count or SLO of the reports holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KeepWarmSpec {
    /// How long a replica must have served no user before it gets its first one.
    pub idle_threshold: SimDuration,
    /// From one to the next, while no user's request comes.
    pub period: SimDuration,
    /// Length of its prompt.
    pub prompt_tokens: u32,
    /// Length of its answer.
    pub output_tokens: u32,
    /// With a `workers` engine: how long a worker is at it. Default: the median of the engine's service time.
    pub service: Option<SimDuration>,
}

impl Default for KeepWarmSpec {
    fn default() -> Self {
        Self {
            idle_threshold: SimDuration::from_secs(60),
            period: SimDuration::from_secs(30),
            prompt_tokens: 8,
            output_tokens: 1,
            service: None,
        }
    }
}

/// When an engine goes cold, and what that costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cooling {
    /// Time without work.
    pub after: SimDuration,
    /// Extra time of the first request after that, the second, ..
    pub curve: Arc<[SimDuration]>,
}

/// The keep-warm requests of every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepWarm {
    /// Time without a user's request before the first.
    pub idle_threshold: SimDuration,
    /// From one to the next.
    pub period: SimDuration,
    /// Length of its prompt, at least 1.
    pub prompt_tokens: u32,
    /// Length of its answer, at least 1.
    pub output_tokens: u32,
    /// Time of a worker.
    pub service: SimDuration,
}

/// What a replica has had to do of late.
#[derive(Clone, Debug)]
pub struct Warmth {
    /// When its engine last ran out of work. Counts only while it has none.
    idle_since: SimTime,
    /// When it last ran out of work that had users' requests in it.
    unused_since: SimTime,
    /// Whether it has had a user's request since it last ran out of work.
    used: bool,
    /// The keep-warm request that is in it.
    synthetic: Option<InFlight>,
    /// Since when that one has been alone in it.
    alone_since: Option<SimTime>,
    /// How long keep-warm requests were alone in it, not yet booked.
    alone: SimDuration,
    /// When the last of them came.
    last: Option<SimTime>,
    /// Whether the next one's event is in the queue.
    scheduled: bool,
}

impl Warmth {
    /// Of an engine that is warm now.
    pub fn new(now: SimTime) -> Self {
        Self {
            idle_since: now,
            unused_since: now,
            used: false,
            synthetic: None,
            alone_since: None,
            alone: SimDuration::ZERO,
            last: None,
            scheduled: false,
        }
    }

    /// The keep-warm request in the engine.
    pub fn synthetic(&mut self) -> &mut InFlight {
        self.synthetic
            .as_mut()
            .expect("an engine tells only of what was given to it, and of that only until it ends")
    }

    /// The keep-warm request is answered.
    pub fn synthetic_ended(&mut self, at: SimTime) {
        self.end_alone(at);
        self.synthetic = None;
    }

    /// Whether a keep-warm request is in the engine.
    pub fn has_synthetic(&self) -> bool {
        self.synthetic.is_some()
    }

    /// A user's request comes into the engine.
    pub fn user_comes(&mut self, now: SimTime) {
        self.used = true;
        self.end_alone(now);
    }

    /// The replica is as warm as one that has just worked.
    pub fn warmed(&mut self, now: SimTime) {
        (self.idle_since, self.unused_since) = (now, now);
    }

    fn end_alone(&mut self, now: SimTime) {
        if let Some(since) = self.alone_since.take() {
            self.alone += now.since(since);
        }
    }

    /// How long keep-warm requests were alone in the engine since this was last asked; of one that is in it the rest does not
    /// count.
    pub fn take_alone(&mut self, now: SimTime) -> SimDuration {
        self.end_alone(now);
        std::mem::take(&mut self.alone)
    }

    /// The engine has run out of work.
    fn idle(&mut self, now: SimTime) {
        self.idle_since = now;
        if std::mem::take(&mut self.used) {
            self.unused_since = now;
        }
    }

    /// When the next keep-warm request is due, if no user's comes before.
    fn due(&self, plan: &KeepWarm) -> SimTime {
        match self.last.filter(|last| *last >= self.unused_since) {
            Some(last) => last.saturating_add(plan.period),
            None => self.unused_since.saturating_add(plan.idle_threshold),
        }
    }
}

/// Has an engine that is about to get work go cold, if it has rested for too long.
pub(super) fn cool_down(sim: &Simulation, now: SimTime, serving: &mut Serving) {
    let Some(cooling) = &sim.replica.cooling else { return };
    if serving.engine.next_turn().is_none() && now.since(serving.warmth.idle_since) >= cooling.after {
        serving.engine.cool(&cooling.curve);
    }
}

impl Run<'_> {
    /// An engine has had its turn: if it has no work left, its rest begins.
    #[inline]
    pub(super) fn mind_rest(&mut self, id: ReplicaId) {
        if !self.minds_rest {
            return;
        }
        let now = self.now;
        let Some(serving) = self.replicas[id.index()].serving() else { return };
        if serving.engine.next_turn().is_none() {
            serving.warmth.idle(now);
            self.lie_down(id);
            self.watch_warmth(id);
        }
    }

    /// Puts a replica's next keep-warm request into the queue, if it needs one and has none there.
    pub(super) fn watch_warmth(&mut self, id: ReplicaId) {
        let Some(plan) = &self.sim.replica.keep_warm else { return };
        let State::Ready(serving, _) = &mut self.replicas[id.index()].state else { return };
        if serving.warmth.scheduled || serving.rest != Rest::Awake {
            return;
        }
        serving.warmth.scheduled = true;
        let at = serving.warmth.due(plan).max(self.now);
        // After the arrivals of the instant: whoever has a user's request needs none.
        self.queue.push(at, Rank::Wake, id.0, u32::MAX, Event::KeepWarm(id));
    }

    /// A keep-warm request is due, unless the replica has had something else to do.
    pub(super) fn keep_warm(&mut self, id: ReplicaId) {
        let (sim, now) = (self.sim, self.now);
        let Some(plan) = &sim.replica.keep_warm else { return };
        let State::Ready(serving, _) = &mut self.replicas[id.index()].state else { return };
        serving.warmth.scheduled = false;
        // One that works, or sleeps, is looked at again when it has ended.
        if serving.engine.next_turn().is_some() || serving.rest != Rest::Awake {
            return;
        }
        if serving.warmth.due(plan) > now {
            return self.watch_warmth(id);
        }
        cool_down(sim, now, serving);
        let KeepWarm { prompt_tokens, output_tokens, service, .. } = *plan;
        let job = Job { slot: KEEP_WARM, prompt_tokens, output_tokens, service };
        // An idle engine has room.
        if serving.engine.submit(now, job).is_some() {
            serving.exporter.arrived += 1;
            let request = Request { arrival: now, prompt_tokens, output_tokens };
            serving.warmth.synthetic = Some(InFlight::new(u64::MAX, request));
            serving.warmth.alone_since = Some(now);
            serving.warmth.last = Some(now);
            self.plan_turn(id);
        }
    }

    /// Books how long keep-warm requests had the engine of a replica in rotation to themselves. What a spare does is no busy time.
    pub(super) fn book_keep_warm(&mut self, id: ReplicaId) {
        let now = self.now;
        let lot = self.lot_of(id);
        if let State::Ready(serving, in_rotation) = &mut self.replicas[id.index()].state {
            let alone = serving.warmth.take_alone(now);
            if *in_rotation {
                self.books.keep_warm(alone, lot);
            }
        }
    }
}
