//! Why a request breached: the first cause that matches, in the order of
//! [`Cause`](crate::outcome::Cause); and what was missing at each instant of the time in breach.

use super::replica::{Replica, State};
use super::requests::{InFlight, Place};
use super::run::Run;
use super::standing::StandingLog;
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::outcome::breach::RequestRecord;
use crate::outcome::recorder::{Ended, Miss};
use crate::outcome::{BreachOutcome, Cause, Phase};

impl Run<'_> {
    /// Decides whether an ended request breached the SLO, and if so why.
    pub(super) fn judge(&mut self, flight: &InFlight, ended: &Ended) {
        let miss = self.sim.slo.and_then(|slo| ended.miss(&slo));
        let penalty = self.penalty(flight);
        let blamed = miss.map(|miss| {
            let outcome = ended.dropped.unwrap_or(BreachOutcome::Late);
            let (cause, waited_for) = self.cause(flight, outcome, &miss, penalty);
            (miss, outcome, cause, waited_for)
        });
        if blamed.is_none() && self.watched != Some(flight.id) {
            return;
        }
        if let Some((miss, _, cause, waited_for)) = blamed {
            self.split_time(&miss, cause, waited_for);
        }
        let capacity = |at: SimTime| self.standing.at(at).0.map(|standing| standing.capacity);
        let record = || RequestRecord {
            id: flight.id,
            arrival: flight.request.arrival,
            prompt_tokens: flight.request.prompt_tokens,
            output_tokens: flight.request.output_tokens,
            routed: match flight.place {
                Place::Replica(id, _) | Place::Refused(id) | Place::Unanswered(id) => {
                    Some((id, flight.routed))
                }
                _ => None,
            },
            scheduled: ended.scheduled,
            first_token: ended.first_token,
            end: ended.end,
            preemptions: flight.preemptions,
            penalty,
            breach: blamed.map(|(_, outcome, cause, _)| (outcome, cause)),
            waited_for: blamed.and_then(|(.., waited_for)| waited_for),
            on_arrival: capacity(flight.request.arrival).unwrap_or_default(),
            capacity: capacity(self.now).unwrap_or_default(),
        };
        if self.watched == Some(flight.id) {
            self.record = Some(record());
        }
        if let Some((miss, outcome, cause, _)) = blamed {
            self.recorder.breached(outcome, cause, &miss, record);
        }
    }

    /// Splits the time that this breach adds to the time in breach.
    fn split_time(&mut self, miss: &Miss, cause: Cause, waited_for: Option<ReplicaId>) {
        let replica = waited_for.map(|id| &self.replicas[id.index()]);
        let missing = Missing { log: &self.standing, replica, now: self.now, cause };
        // Another limit, broken after that wait: what would have helped then may be another replica.
        let then = miss.later.map(|(from, to)| self.absent(from, to));
        let (cause, waited_for) = then.unwrap_or((Cause::Saturation, None));
        let replica = waited_for.map(|id| &self.replicas[id.index()]);
        let after = Missing { replica, cause, ..missing };
        let breaches = &mut self.recorder.breaches;
        for (missing, (from, to)) in
            [(&missing, (miss.from, miss.to))].into_iter().chain(miss.later.map(|later| (&after, later)))
        {
            for (from, to) in breaches.uncovered(from, to) {
                missing.split(from, to, |cause, from, to| breaches.add_band(from, to, cause));
            }
        }
    }

    /// How long it was delayed because nothing had warmed its replica.
    fn penalty(&mut self, flight: &InFlight) -> SimDuration {
        let Place::Replica(id, _) = flight.place else { return SimDuration::ZERO };
        let stalled = self.replicas[id.index()].serving().map(|s| s.stalls.total());
        stalled.map_or(SimDuration::ZERO, |s| s.saturating_sub(flight.stalled_base))
    }

    fn cause(
        &self,
        flight: &InFlight,
        outcome: BreachOutcome,
        miss: &Miss,
        penalty: SimDuration,
    ) -> (Cause, Option<ReplicaId>) {
        let request = &flight.request;
        if outcome == BreachOutcome::Rejected
            && !self.sim.engine.fits(request.prompt_tokens, request.output_tokens)
        {
            return (Cause::TooLong, None);
        }
        // It came to a replica that counted as ready, and was not up.
        if let Place::Refused(id) = flight.place
            && let replica = &self.replicas[id.index()]
            && replica.exposed.is_some()
            && let State::Starting(starting) = &replica.state
        {
            return (Cause::StartUp(starting.phase), Some(id));
        }
        let is_cut = matches!(flight.place, Place::Refused(_) | Place::Unanswered(_));
        if outcome == BreachOutcome::Killed || is_cut {
            return (Cause::Drain, None);
        }
        if !penalty.is_zero() && penalty >= miss.by {
            return (Cause::NotWarmed, None);
        }
        let (from, to) = (flight.request.arrival, miss.wait_end);
        // A spare that wakes up brings its weights back.
        if let Some(id) = self.woke_in(from, to) {
            return (Cause::StartUp(Phase::Loading), Some(id));
        }
        self.absent(from, to)
    }

    /// What stood in the way of a replica that would have helped from `from` to `to`, and that replica, if it was on its way.
    fn absent(&self, from: SimTime, to: SimTime) -> (Cause, Option<ReplicaId>) {
        let Some(id) = self.waited_for(from, to) else {
            return (lacking(&self.standing, to).0, None);
        };
        let cause = match self.longest_phase(id, from, to) {
            Phase::Pending => pending(&self.standing, from.max(self.replicas[id.index()].created)).0,
            phase => Cause::StartUp(phase),
        };
        (cause, Some(id))
    }

    /// The replica on its way that would have helped first: the one that became ready first
    /// after `from`, else the most advanced one now. A replica that no node has room for is not on its way.
    fn waited_for(&self, from: SimTime, to: SimTime) -> Option<ReplicaId> {
        let next = self.ready_log.partition_point(|(at, _)| *at <= from);
        if let Some(&(_, id)) = self.ready_log.get(next)
            && self.replicas[id.index()].created <= to
        {
            return Some(id);
        }
        let advance = |id: &&ReplicaId| match &self.replicas[id.index()].state {
            State::Starting(s) => (s.phase, std::cmp::Reverse(s.since)),
            _ => (Phase::Pending, std::cmp::Reverse(SimTime::MAX)),
        };
        let coming = self.starting.iter().filter(|id| {
            let replica = &self.replicas[id.index()];
            replica.created <= to && replica.phase() != Some(Phase::Pending)
        });
        coming.max_by_key(advance).copied()
    }

    /// The start-up phase of a replica that covers most of [from, to]; of equals, the one at `from`.
    fn longest_phase(&self, id: ReplicaId, from: SimTime, to: SimTime) -> Phase {
        let spans = self.replicas[id.index()].spans(self.now);
        let covered = spans.map(|span| {
            let overlap = span.to.min(to).since(span.from.max(from));
            let at_start = span.from <= from && from < span.to;
            ((overlap, at_start), span.phase)
        });
        covered.max_by_key(|(key, _)| *key).map_or(Phase::Probing, |(_, phase)| phase)
    }
}

/// What stood in the way of more replicas at an instant, and until when.
fn lacking(log: &StandingLog, at: SimTime) -> (Cause, SimTime) {
    let (standing, until) = log.at(at);
    (standing.map_or(Cause::Saturation, |standing| standing.lacking), until)
}

/// Why a replica was pending at an instant, and until when.
fn pending(log: &StandingLog, at: SimTime) -> (Cause, SimTime) {
    match lacking(log, at) {
        (Cause::NoNode, until) => (Cause::NoNode, until),
        (_, until) => (Cause::StartUp(Phase::Pending), until),
    }
}

/// What was missing while a request was in breach.
struct Missing<'a> {
    log: &'a StandingLog,
    /// The replica it waited for.
    replica: Option<&'a Replica>,
    now: SimTime,
    /// The request's cause.
    cause: Cause,
}

impl Missing<'_> {
    /// Splits [from, to] by what was missing at each instant. Until the replica that the request waited for was created: what
    /// stood in the way of one; then the phase of its start; then the request's own cause. The parts add up to the whole.
    fn split(&self, from: SimTime, to: SimTime, mut add: impl FnMut(Cause, SimTime, SimTime)) {
        let created = match (self.replica, self.cause) {
            (Some(replica), _) => replica.created,
            // No replica would have changed that.
            (None, Cause::TooLong | Cause::Drain | Cause::NotWarmed) => from,
            (None, _) => to,
        };
        let mut at = self.walk(from, to.min(created), lacking, &mut add);
        for span in self.replica.iter().flat_map(|replica| replica.spans(self.now)) {
            let end = span.to.min(to);
            if end <= at {
                continue;
            }
            if span.phase == Phase::Pending {
                at = self.walk(at, end, pending, &mut add);
            } else {
                add(Cause::StartUp(span.phase), at, end);
                at = end;
            }
        }
        if at < to {
            add(self.cause, at, to);
        }
    }

    /// Adds what the log says of [from, to]; gives where it ended.
    fn walk(
        &self,
        from: SimTime,
        to: SimTime,
        what: fn(&StandingLog, SimTime) -> (Cause, SimTime),
        add: &mut impl FnMut(Cause, SimTime, SimTime),
    ) -> SimTime {
        let mut at = from;
        while at < to {
            let (cause, until) = what(self.log, at);
            let end = until.min(to);
            add(cause, at, end);
            at = end;
        }
        at
    }
}

#[cfg(test)]
#[path = "attribution_tests.rs"]
mod tests;
