//! Spares that sleep: they give their GPU memory up while nobody needs them, and take a while to wake.
//!
//! A sleeping spare is held like any other. What differs is its way into rotation: once claimed it wakes up, and serves when
//! it is awake. One that has left rotation lies down when its last request has ended.

use super::replica::{Serving, State};
use super::run::{Event, Run};
use crate::kernel::queue::Rank;
use crate::kernel::rng::Purpose;
use crate::kernel::{Distribution, ReplicaId, SimDuration, SimTime};
use crate::outcome::Phase;

/// Whether a replica sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It does not.
    Awake,
    /// It does, or will by then.
    Asleep {
        /// When it has fallen asleep, and could be woken.
        from: SimTime,
    },
    /// It was claimed and is waking up.
    Waking {
        /// Since when.
        since: SimTime,
    },
}

/// A spare that woke up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wake {
    /// When it was claimed.
    pub from: SimTime,
    /// When it was awake.
    pub to: SimTime,
    /// Which.
    pub id: ReplicaId,
}

impl Run<'_> {
    /// The next draw of a replica's times of falling asleep and waking up, the same under every policy.
    fn sleep_time(&mut self, id: ReplicaId, of: &Distribution) -> SimDuration {
        let Some(serving) = self.replicas[id.index()].serving() else { return SimDuration::ZERO };
        let draw = u64::from(id.0) << 32 | u64::from(serving.sleep_draws);
        serving.sleep_draws = serving.sleep_draws.wrapping_add(1);
        of.sample(&mut self.streams.stream(Purpose::Sleep, draw))
    }

    /// Whether a replica with an engine sleeps.
    pub(super) fn rest_of(&self, id: ReplicaId) -> Option<Rest> {
        if let State::Ready(serving, _) = &self.replicas[id.index()].state {
            Some(serving.rest)
        } else {
            None
        }
    }

    /// Whether a spare was claimed and is not awake yet.
    pub(super) fn is_waking(&self, id: ReplicaId) -> bool {
        matches!(&self.replicas[id.index()].state, State::Ready(serving, _) if serving.is_waking())
    }

    /// Whether a replica has nothing to do where spares sleep.
    fn may_lie_down(&self, id: ReplicaId) -> bool {
        let idle = |serving: &Serving| {
            serving.rest == Rest::Awake && serving.outstanding == 0 && serving.engine.next_turn().is_none()
        };
        matches!(&self.replicas[id.index()].state, State::Ready(serving, false) if idle(serving))
    }

    /// Has a spare without work fall asleep, where spares sleep.
    pub(super) fn lie_down(&mut self, id: ReplicaId) {
        if self.sleep.is_none() || !self.may_lie_down(id) {
            return;
        }
        let Some(times) = self.sleep.clone() else { return };
        let from = self.now.saturating_add(self.sleep_time(id, &times.fall_asleep));
        self.set_rest(id, Rest::Asleep { from });
    }

    /// A spare that was there when the run began has been asleep for long.
    pub(super) fn sleep_from_the_start(&mut self, id: ReplicaId) {
        if self.sleep.is_some() {
            self.set_rest(id, Rest::Asleep { from: self.now });
        }
    }

    fn set_rest(&mut self, id: ReplicaId, rest: Rest) {
        if let Some(serving) = self.replicas[id.index()].serving() {
            serving.rest = rest;
        }
    }

    /// Takes a spare for the rotation: at once, or when it is awake.
    pub(super) fn claim(&mut self, id: ReplicaId) {
        let now = self.now;
        let State::Ready(serving, false) = &self.replicas[id.index()].state else { return };
        let asleep = match serving.rest {
            Rest::Awake => return self.rotate(id, true),
            Rest::Waking { .. } => return,
            Rest::Asleep { from } => from.max(now),
        };
        let Some(times) = self.sleep.clone() else { return };
        let to = asleep.saturating_add(self.sleep_time(id, &times.wake));
        self.set_rest(id, Rest::Waking { since: now });
        self.queue.push(to, Rank::Phase, id.0, u32::MAX - 3, Event::Awake(id));
    }

    /// A spare has woken up. If nobody needs it any more, it lies down again.
    pub(super) fn awake(&mut self, id: ReplicaId) {
        let now = self.now;
        let State::Ready(serving, false) = &mut self.replicas[id.index()].state else { return };
        let Rest::Waking { since } = serving.rest else { return };
        self.wakes.push(Wake { from: since, to: now, id });
        serving.rest = Rest::Awake;
        serving.warmth.warmed(now);
        if self.by_phase[Phase::Serving as usize] < self.controller.in_rotation() {
            self.rotate(id, true);
            self.watch_warmth(id);
            self.release_held();
            self.set_timer();
        } else {
            self.lie_down(id);
        }
    }

    /// The spare that was awake first after `from`, if it was waking up for half of [from, to] or more.
    pub(super) fn woke_in(&self, from: SimTime, to: SimTime) -> Option<ReplicaId> {
        let wake = self.wakes.get(self.wakes.partition_point(|wake| wake.to <= from))?;
        let (began, ended) = (wake.from.max(from), wake.to.min(to));
        (began < ended && ended.since(began) * 2 >= to.since(from)).then_some(wake.id)
    }
}
