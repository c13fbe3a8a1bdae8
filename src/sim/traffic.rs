//! Requests through the gateway: arrival, routing, waiting, and every way to end.

use super::engine::{Engine, Job};
use super::facts::{Facts, Finished};
use super::requests::{InFlight, Place};
use super::run::{Event, Run};
use crate::kernel::queue::Rank;
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::outcome::BreachOutcome;
use crate::outcome::recorder::Ended;
use crate::workload::Request;

impl Run<'_> {
    pub(super) fn arrive(&mut self, request: Request) {
        let id = self.arrivals;
        self.arrivals += 1;
        self.recorder.counts.arrived += 1;
        if let Some(needed) = &mut self.needed {
            needed.arrived(self.now);
        }
        let slot = self.requests.insert(id, request);
        if !self.sim.engine.fits(request.prompt_tokens, request.output_tokens) {
            self.recorder.counts.too_long += 1;
            self.drop_request(slot, BreachOutcome::Rejected);
            return;
        }
        let timeout = self.sim.gateway.request_timeout;
        if !timeout.is_zero() {
            let deadline = self.now.saturating_add(timeout);
            self.requests.add_deadline(deadline, slot);
            self.arm_deadline();
        }
        self.route(slot);
    }

    /// Keeps exactly one deadline event in the queue while any request has a deadline.
    fn arm_deadline(&mut self) {
        if !self.deadline_pending
            && let Some(at) = self.requests.next_deadline()
        {
            self.deadline_pending = true;
            self.queue.push(at, Rank::Deadline, 0, 0, Event::Deadline);
        }
    }

    pub(super) fn deadline(&mut self) {
        self.deadline_pending = false;
        while let Some(slot) = self.requests.expired(self.now) {
            self.drop_request(slot, BreachOutcome::TimedOut);
        }
        self.arm_deadline();
    }

    /// Sends a request to a replica in rotation, or holds it.
    fn route(&mut self, slot: u32) {
        if let Some(replica) = self.router.pick() {
            self.submit(slot, replica);
            return;
        }
        let full = self.sim.gateway.queue_limit.is_some_and(|limit| self.held_count >= limit);
        if full {
            self.drop_request(slot, BreachOutcome::Rejected);
            return;
        }
        let request = self.requests.get_mut(slot);
        request.place = Place::Held;
        self.held.push_back((slot, request.id));
        self.held_count += 1;
    }

    /// Sends on what was held, in order of arrival. Called when a replica enters rotation.
    pub(super) fn release_held(&mut self) {
        while !self.router.is_empty() {
            let Some((slot, id)) = self.held.pop_front() else { return };
            let held = self.requests.get_mut(slot);
            if held.id != id || held.place != Place::Held {
                continue;
            }
            held.place = Place::Gateway;
            self.held_count -= 1;
            self.route(slot);
        }
    }

    fn submit(&mut self, slot: u32, replica: ReplicaId) {
        let now = self.now;
        let InFlight { id, request, .. } = *self.requests.get(slot);
        let job = Job {
            slot,
            prompt_tokens: request.prompt_tokens,
            output_tokens: request.output_tokens,
            service: self.sim.engine.service(&self.streams, id),
        };
        let Some(serving) = self.replicas[replica.index()].accepting() else {
            self.refuse(slot, replica);
            return;
        };
        let stalled_base = serving.stalls.past(now, || serving.engine.gauges().waiting);
        let Some(ticket) = serving.engine.submit(now, job) else {
            self.router.ended(replica);
            self.drop_request(slot, BreachOutcome::Rejected);
            return;
        };
        serving.outstanding += 1;
        self.in_replicas += 1;
        let held = self.requests.get_mut(slot);
        held.place = Place::Replica(replica, ticket);
        held.routed = now;
        held.stalled_base = stalled_base;
        self.plan_turn(replica);
    }

    /// The endpoints still name a replica that was told to stop: the connection is refused. Nothing tries another.
    fn refuse(&mut self, slot: u32, replica: ReplicaId) {
        self.router.ended(replica);
        let request = self.requests.get_mut(slot);
        request.place = Place::Refused(replica);
        request.routed = self.now;
        self.drop_request(slot, BreachOutcome::Rejected);
    }

    /// Puts the replica's next turn into the queue unless it is there already.
    pub(super) fn plan_turn(&mut self, id: ReplicaId) {
        let now = self.now;
        let Some(serving) = self.replicas[id.index()].serving() else { return };
        let at = serving.engine.next_turn();
        if at == serving.turn_at {
            return;
        }
        serving.turn_at = at;
        serving.turn = serving.turn.wrapping_add(1);
        if let Some(at) = at {
            let rank = if at == now { Rank::Wake } else { Rank::Completion };
            self.queue.push(at, rank, id.0, serving.turn, Event::Turn(id, serving.turn));
        }
    }

    pub(super) fn turn(&mut self, id: ReplicaId, turn: u32) {
        let now = self.now;
        let Some(serving) = self.replicas[id.index()].serving() else { return };
        if serving.turn != turn {
            return;
        }
        serving.turn_at = None;
        self.with_engine(id, |engine, facts| engine.turn(now, facts));
        self.plan_turn(id);
        self.end_finished();
        self.retire_if_drained(id);
    }

    /// Brings an engine's facts up to now.
    pub(super) fn settle(&mut self, id: ReplicaId) {
        let now = self.now;
        self.with_engine(id, |engine, facts| engine.settle(now, facts));
    }

    /// Lets a replica's engine, if it has one, work with the sink its facts go to.
    fn with_engine(&mut self, id: ReplicaId, work: impl FnOnce(&mut Engine, &mut Facts<'_>)) {
        let Some(serving) = self.replicas[id.index()].serving() else { return };
        let mut facts = Facts {
            requests: &mut self.requests,
            recorder: &mut self.recorder,
            exporter: &mut serving.exporter,
            now: self.now,
            stalls: &mut serving.stalls,
            finished: &mut self.finished,
        };
        work(&mut serving.engine, &mut facts);
    }

    /// Closes the requests that engines have finished since the last call.
    fn end_finished(&mut self) {
        let mut finished = std::mem::take(&mut self.finished);
        for Finished { slot, at, gap_max } in finished.drain(..) {
            self.end_request(slot, at, gap_max, None);
        }
        self.finished = finished;
    }

    /// Ends a request that will not be answered.
    pub(super) fn drop_request(&mut self, slot: u32, how: BreachOutcome) {
        let now = self.now;
        let place = self.requests.get(slot).place;
        match place {
            Place::Held => self.held_count -= 1,
            Place::Replica(id, ticket) => {
                // An engine that is about to vanish has steps behind it that nobody has counted yet.
                self.settle(id);
                if let Some(serving) = self.replicas[id.index()].serving() {
                    serving.engine.abort(now, ticket);
                }
                self.plan_turn(id);
            }
            Place::Gateway | Place::Refused(_) | Place::Ended => {}
        }
        self.end_request(slot, now, SimDuration::ZERO, Some(how));
        if let Place::Replica(id, _) = place {
            self.retire_if_drained(id);
        }
    }

    fn end_request(&mut self, slot: u32, at: SimTime, gap_max: SimDuration, dropped: Option<BreachOutcome>) {
        let flight = self.requests.remove(slot);
        let host = self.sim.replica.per_request;
        let ended = Ended {
            arrival: flight.request.arrival,
            output_tokens: flight.request.output_tokens,
            prompt_tokens: flight.request.prompt_tokens,
            scheduled: flight.scheduled,
            first_token: flight.first_token.map(|t| t + host),
            end: if dropped.is_some() { at } else { at + host },
            gap_max,
            dropped,
        };
        if flight.id >= self.sim.measure_from {
            self.recorder.ended(flight.id, &ended);
            self.judge(&flight, &ended);
        }
        if let Place::Replica(id, _) = flight.place {
            self.in_replicas -= 1;
            self.router.ended(id);
            if let Some(serving) = self.replicas[id.index()].serving() {
                serving.outstanding -= 1;
            }
        }
    }

    /// Nobody waits any longer: whoever is left was never served.
    pub(super) fn give_up(&mut self) {
        for slot in self.requests.all() {
            self.drop_request(slot, BreachOutcome::TimedOut);
        }
    }
}
