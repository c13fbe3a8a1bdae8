//! Requests through the gateway: arrival, routing, waiting, and every way to end.

use super::engine::{Engine, Job};
use super::facts::{Facts, Finished};
use super::replica::State;
use super::requests::{InFlight, Limit, Place};
use super::run::{Event, Run};
use super::warmth::cool_down;
use crate::kernel::queue::Rank;
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::outcome::BreachOutcome;
use crate::outcome::recorder::Ended;
use crate::policy::api::Path;
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
        if let Some(timeout) = self.request_timeout() {
            let deadline = self.now.saturating_add(timeout);
            self.add_deadline(Limit::Request, deadline, slot);
        }
        self.route(slot);
    }

    /// The longest time of a request: the gateway's or that of the policy's components, whichever is over first.
    fn request_timeout(&self) -> Option<SimDuration> {
        let gateway = Some(self.sim.gateway.request_timeout).filter(|timeout| !timeout.is_zero());
        [gateway, self.data_path.request_timeout].into_iter().flatten().min()
    }

    fn add_deadline(&mut self, limit: Limit, at: SimTime, slot: u32) {
        self.requests.add_deadline(limit, at, slot);
        self.arm_deadline(limit);
    }

    /// Keeps exactly one deadline event of a kind in the queue while any request has such a deadline.
    fn arm_deadline(&mut self, limit: Limit) {
        if !self.deadline_pending[limit as usize]
            && let Some(at) = self.requests.next_deadline(limit)
        {
            self.deadline_pending[limit as usize] = true;
            self.queue.push(at, Rank::Deadline, limit as u32 * 2, 0, Event::Deadline(limit));
        }
    }

    pub(super) fn deadline(&mut self, limit: Limit) {
        self.deadline_pending[limit as usize] = false;
        while let Some(slot) = self.requests.expired(limit, self.now) {
            match limit {
                Limit::Header if self.has_answered(slot) => {}
                Limit::Request | Limit::Header => self.drop_request(slot, BreachOutcome::TimedOut),
                Limit::Connect => self.drop_request(slot, BreachOutcome::Rejected),
            }
        }
        self.arm_deadline(limit);
    }

    /// Whether a request's first token has left, as of now.
    fn has_answered(&mut self, slot: u32) -> bool {
        if let Place::Replica(id, _) = self.requests.get(slot).place {
            self.settle(id);
        }
        self.requests.get(slot).first_token.is_some()
    }

    /// Sends a request to a replica in rotation, or holds it.
    fn route(&mut self, slot: u32) {
        // What the proxy has taken in stays with it, whatever the path has become since.
        let path = if self.requests.get(slot).proxied { Path::Proxied } else { self.path };
        let picked = self.router.pick(path);
        // What finds no pod is held by the proxy, whatever the path.
        if path == Path::Proxied || picked.is_none() {
            self.enter_proxy(slot);
        }
        if let Some(replica) = picked {
            self.submit(slot, replica);
            return;
        }
        let limit = self.data_path.hold_limit.or(self.sim.gateway.queue_limit);
        if limit.is_some_and(|limit| self.held_count >= limit) {
            self.drop_request(slot, BreachOutcome::Rejected);
            return;
        }
        let request = self.requests.get_mut(slot);
        request.place = Place::Held;
        self.held.push_back((slot, request.id));
        self.held_count += 1;
        self.arm_hold();
        self.policy.request_held(self.now);
        self.set_timer();
    }

    /// Counts a request that comes by way of the policy's proxy.
    fn enter_proxy(&mut self, slot: u32) {
        let now = self.now;
        let request = self.requests.get_mut(slot);
        if !self.data_path.is_metered || request.proxied {
            return;
        }
        request.proxied = true;
        self.proxy_meter.enter(now, false);
        if self.proxy_meter.in_flight == 1 {
            self.policy.proxy_entered(now);
            self.set_timer();
        }
    }

    /// The way that held requests take.
    fn held_path(&self) -> Path {
        if self.data_path.is_metered { Path::Proxied } else { self.path }
    }

    /// Keeps one event in the queue for the oldest held request, where there is a limit to holding.
    fn arm_hold(&mut self) {
        let Some(timeout) = self.data_path.hold_timeout.filter(|_| !self.hold_pending) else { return };
        self.drop_ended_held();
        if let Some(&(slot, _)) = self.held.front() {
            self.hold_pending = true;
            let at = self.requests.get(slot).request.arrival.saturating_add(timeout);
            self.queue.push(at.max(self.now), Rank::Deadline, 1, 0, Event::HoldOver);
        }
    }

    fn drop_ended_held(&mut self) {
        while let Some(&(slot, id)) = self.held.front() {
            let held = self.requests.get(slot);
            if held.id == id && held.place == Place::Held {
                break;
            }
            self.held.pop_front();
        }
    }

    pub(super) fn hold_over(&mut self) {
        self.hold_pending = false;
        let Some(timeout) = self.data_path.hold_timeout else { return };
        loop {
            self.drop_ended_held();
            let Some(&(slot, _)) = self.held.front() else { break };
            if self.requests.get(slot).request.arrival.saturating_add(timeout) > self.now {
                break;
            }
            self.held.pop_front();
            self.drop_request(slot, BreachOutcome::TimedOut);
        }
        self.arm_hold();
    }

    /// Sends on what was held, in order of arrival. Called when a replica enters rotation or has room again.
    pub(super) fn release_held(&mut self) {
        while self.router.has_room(self.held_path()) {
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

    /// Hands a request to a replica, whose queue-proxy may hold it back or refuse it.
    fn submit(&mut self, slot: u32, replica: ReplicaId) {
        let (now, id, proxied) = {
            let flight = self.requests.get(slot);
            (self.now, flight.id, flight.proxied)
        };
        let Some(serving) = self.replicas[replica.index()].accepting() else {
            self.turn_away(slot, replica);
            return;
        };
        // The queue-proxy counts what comes, whether it is refused or not.
        serving.meter.enter(now, proxied);
        let limit = self.data_path.pod_limit;
        if let Some(limit) = limit.filter(|limit| serving.working() >= limit.concurrency) {
            if serving.queued_count >= limit.queue {
                self.refuse(slot, replica);
                return;
            }
            serving.queued.push_back((slot, id));
            serving.queued_count += 1;
            self.requests.get_mut(slot).place = Place::Queued(replica);
        } else if !self.begin(slot, replica) {
            self.refuse(slot, replica);
            return;
        }
        let serving = self.replicas[replica.index()].serving().expect("it has just taken a request");
        serving.outstanding += 1;
        self.in_replicas += 1;
        if let Some(timeout) = self.data_path.header_timeout {
            self.add_deadline(Limit::Header, now.saturating_add(timeout), slot);
        }
    }

    /// A replica that was chosen for a request does not take it.
    fn refuse(&mut self, slot: u32, replica: ReplicaId) {
        let (now, proxied) = (self.now, self.requests.get(slot).proxied);
        if let Some(serving) = self.replicas[replica.index()].serving() {
            serving.meter.leave(now, proxied);
        }
        self.router.ended(replica);
        self.drop_request(slot, BreachOutcome::Rejected);
    }

    /// Gives a request to a replica's engine; `false` if that refuses it.
    fn begin(&mut self, slot: u32, replica: ReplicaId) -> bool {
        let now = self.now;
        let InFlight { id, request, .. } = *self.requests.get(slot);
        let job = Job {
            slot,
            prompt_tokens: request.prompt_tokens,
            output_tokens: request.output_tokens,
            service: self.sim.engine.service(&self.streams, id),
        };
        let serving =
            self.replicas[replica.index()].serving().expect("a replica that takes requests has an engine");
        let stalled_base = serving.stalls.past(now, || serving.engine.gauges().waiting);
        cool_down(self.sim, now, serving);
        let Some(ticket) = serving.engine.submit(now, job) else { return false };
        serving.warmth.user_comes(now);
        serving.exporter.arrived += 1;
        let held = self.requests.get_mut(slot);
        held.place = Place::Replica(replica, ticket);
        held.routed = now;
        held.stalled_base = stalled_base;
        self.plan_turn(replica);
        true
    }

    /// Lets the next request through that a replica's queue-proxy holds back.
    fn let_through(&mut self, replica: ReplicaId) {
        loop {
            let Some(serving) = self.replicas[replica.index()].serving() else { return };
            let Some((slot, id)) = serving.queued.pop_front() else { return };
            let flight = self.requests.get(slot);
            if flight.id != id || flight.place != Place::Queued(replica) {
                continue;
            }
            if self.begin(slot, replica) {
                if let Some(serving) = self.replicas[replica.index()].serving() {
                    serving.queued_count -= 1;
                }
                return;
            }
            self.drop_request(slot, BreachOutcome::Rejected);
        }
    }

    /// The endpoints still name a replica that was told to stop, or whose container is gone: the connection is refused.
    /// Nothing tries another. Where the machine is gone nobody refuses it either, and the gateway waits for a while.
    fn turn_away(&mut self, slot: u32, replica: ReplicaId) {
        if matches!(self.replicas[replica.index()].state, State::Lost(_)) {
            let request = self.requests.get_mut(slot);
            request.place = Place::Unanswered(replica);
            request.routed = self.now;
            self.in_replicas += 1;
            let over = self.now.saturating_add(self.sim.gateway.connect_timeout);
            self.add_deadline(Limit::Connect, over, slot);
            return;
        }
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
        self.mind_rest(id);
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
            warmth: &mut serving.warmth,
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
            Place::Queued(id) => {
                if let Some(serving) = self.replicas[id.index()].serving() {
                    serving.queued_count -= 1;
                }
            }
            Place::Replica(id, ticket) => {
                // An engine that is about to vanish has steps behind it that nobody has counted yet.
                self.settle(id);
                if let Some(serving) = self.replicas[id.index()].serving() {
                    serving.engine.abort(now, ticket);
                }
                self.plan_turn(id);
            }
            Place::Gateway | Place::Refused(_) | Place::Unanswered(_) | Place::Ended => {}
        }
        self.end_request(slot, now, SimDuration::ZERO, Some(how));
        if let Place::Replica(id, _) | Place::Queued(id) = place {
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
            let ttft = ended.ttft().filter(|_| dropped.is_none());
            self.timeline.note_ttft(ended.arrival, ttft.unwrap_or(SimDuration::MAX));
            self.judge(&flight, &ended);
        }
        let now = self.now;
        if flight.proxied {
            self.proxy_meter.leave(now, false);
        }
        let (Place::Replica(id, _) | Place::Queued(id) | Place::Unanswered(id)) = flight.place else {
            return;
        };
        self.in_replicas -= 1;
        self.router.ended(id);
        let is_in = !matches!(flight.place, Place::Unanswered(_));
        if let Some(serving) = self.replicas[id.index()].serving().filter(|_| is_in) {
            serving.outstanding -= 1;
            serving.meter.leave(now, flight.proxied);
        }
        if self.data_path.pod_limit.is_some() {
            if matches!(flight.place, Place::Replica(..)) {
                self.let_through(id);
            }
            if self.held_count > 0 {
                self.release_held();
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
