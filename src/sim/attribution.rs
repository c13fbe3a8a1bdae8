//! Why a request breached: the first cause that matches, in the order of
//! [`Cause`](crate::outcome::Cause).

use super::replica::State;
use super::requests::{InFlight, Place};
use super::run::Run;
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::outcome::breach::{Capacity, RequestRecord};
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
        let capacity = Capacity {
            serving: self.by_phase[Phase::Serving as usize],
            starting: self.starting.len() as u32,
            ordered: self.ordered,
            // A policy without a limit says the most there is.
            maximum: self.policy.maximum().filter(|most| *most < u32::MAX),
        };
        let record = || RequestRecord {
            id: flight.id,
            arrival: flight.request.arrival,
            prompt_tokens: flight.request.prompt_tokens,
            output_tokens: flight.request.output_tokens,
            routed: match flight.place {
                Place::Replica(id, _) | Place::Refused(id) => Some((id, flight.routed)),
                _ => None,
            },
            scheduled: ended.scheduled,
            first_token: ended.first_token,
            end: ended.end,
            preemptions: flight.preemptions,
            penalty,
            breach: blamed.map(|(_, outcome, cause, _)| (outcome, cause)),
            waited_for: blamed.and_then(|(.., waited_for)| waited_for),
            capacity,
        };
        if self.watched == Some(flight.id) {
            self.record = Some(record());
        }
        if let Some((miss, outcome, cause, _)) = blamed {
            self.recorder.breached(outcome, cause, &miss, record);
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
        if outcome == BreachOutcome::Killed || matches!(flight.place, Place::Refused(_)) {
            return (Cause::Drain, None);
        }
        if !penalty.is_zero() && penalty >= miss.by {
            return (Cause::NotWarmed, None);
        }
        let (from, to) = (flight.request.arrival, miss.wait_end);
        if let Some(id) = self.waited_for(from, to) {
            return (Cause::StartUp(self.longest_phase(id, from, to)), Some(id));
        }
        let Some(maximum) = self.policy.maximum() else { return (Cause::Saturation, None) };
        let no_node = self.by_phase[Phase::Pending as usize] > 0;
        if self.ordered >= maximum || no_node { (Cause::AtMaximum, None) } else { (Cause::NotOrdered, None) }
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
