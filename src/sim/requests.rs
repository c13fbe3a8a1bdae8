//! Requests in flight: a slab whose slots are reused, so that memory follows what is in
//! the system and not the length of the trace.

use std::collections::VecDeque;

use super::engine::Ticket;
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::workload::Request;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the gateway, being routed.
    Gateway,
    /// Held at the gateway because nothing is in rotation.
    Held,
    /// At a replica, held back by its queue-proxy.
    Queued(ReplicaId),
    /// In a replica.
    Replica(ReplicaId, Ticket),
    /// At a replica that was told to stop, or whose container is gone, while requests were still routed to it.
    Refused(ReplicaId),
    /// On its way to a machine that is no more: nothing answers, and nothing refuses.
    Unanswered(ReplicaId),
    /// Ended; the slot is free.
    Ended,
}

/// A request in flight.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    /// Its number in order of arrival.
    pub id: u64,
    /// What was asked.
    pub request: Request,
    /// Where it is.
    pub place: Place,
    /// When the gateway forwarded it.
    pub routed: SimTime,
    /// When the engine first scheduled it.
    pub scheduled: Option<SimTime>,
    /// When its first token left.
    pub first_token: Option<SimTime>,
    /// Stalls of its replica that were past when it came.
    pub stalled_base: SimDuration,
    /// How often it was preempted.
    pub preemptions: u32,
    /// It came by way of the policy's proxy.
    pub proxied: bool,
}

/// The slab.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    slots: Vec<InFlight>,
    free: Vec<u32>,
    /// What must happen by a time, of each kind of limit in the order of the deadlines: (deadline, slot, id).
    deadlines: [VecDeque<(SimTime, u32, u64)>; Limit::COUNT],
}

/// What has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// All of a request, from its arrival.
    Request,
    /// The time from a request's way to a pod until its first token.
    Header,
    /// The time until a machine must have answered at all.
    Connect,
}

impl Limit {
    const COUNT: usize = 3;
    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [Self::Request, Self::Header, Self::Connect];
}

impl InFlight {
    /// One that has just arrived.
    pub fn new(id: u64, request: Request) -> Self {
        Self {
            id,
            request,
            place: Place::Gateway,
            routed: request.arrival,
            scheduled: None,
            first_token: None,
            stalled_base: SimDuration::ZERO,
            preemptions: 0,
            proxied: false,
        }
    }
}

impl Requests {
    /// Takes a request in.
    pub fn insert(&mut self, id: u64, request: Request) -> u32 {
        let new = InFlight::new(id, request);
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = new;
            slot
        } else {
            self.slots.push(new);
            self.slots.len() as u32 - 1
        }
    }

    /// Frees a slot and returns what was in it.
    pub fn remove(&mut self, slot: u32) -> InFlight {
        let ended = self.slots[slot as usize];
        self.slots[slot as usize].place = Place::Ended;
        self.free.push(slot);
        ended
    }

    /// The request in a slot.
    pub fn get_mut(&mut self, slot: u32) -> &mut InFlight {
        &mut self.slots[slot as usize]
    }

    /// The request in a slot.
    pub fn get(&self, slot: u32) -> &InFlight {
        &self.slots[slot as usize]
    }

    /// How many are in flight.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether none is in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Slots in use whose request is in `replica`: those held back in front of it, so that none of them takes the
    /// place of one that ends, then the others, each in order of arrival. A scan: for drains only.
    pub fn in_replica(&self, replica: ReplicaId) -> Vec<u32> {
        let here = |s: &u32| match self.slots[*s as usize].place {
            Place::Replica(r, _) | Place::Queued(r) => r == replica,
            _ => false,
        };
        let mut slots: Vec<u32> = (0..self.slots.len() as u32).filter(here).collect();
        slots.sort_unstable_by_key(|s| {
            let flight = &self.slots[*s as usize];
            (matches!(flight.place, Place::Replica(..)), flight.id)
        });
        slots
    }

    /// All slots in use, in order of arrival.
    pub fn all(&self) -> Vec<u32> {
        let used = |s: &u32| self.slots[*s as usize].place != Place::Ended;
        let mut slots: Vec<u32> = (0..self.slots.len() as u32).filter(used).collect();
        slots.sort_unstable_by_key(|s| self.slots[*s as usize].id);
        slots
    }

    /// Gives a request a deadline, no earlier than all before it of that kind.
    pub fn add_deadline(&mut self, limit: Limit, at: SimTime, slot: u32) {
        self.drop_ended(limit);
        self.deadlines[limit as usize].push_back((at, slot, self.slots[slot as usize].id));
    }

    /// The next request whose deadline has passed.
    pub fn expired(&mut self, limit: Limit, now: SimTime) -> Option<u32> {
        self.drop_ended(limit);
        let &(at, slot, _) = self.deadlines[limit as usize].front()?;
        if at > now {
            return None;
        }
        self.deadlines[limit as usize].pop_front();
        Some(slot)
    }

    /// The first deadline of a request still in flight.
    pub fn next_deadline(&mut self, limit: Limit) -> Option<SimTime> {
        self.drop_ended(limit);
        self.deadlines[limit as usize].front().map(|(at, _, _)| *at)
    }

    fn drop_ended(&mut self, limit: Limit) {
        while let Some(&(_, slot, id)) = self.deadlines[limit as usize].front() {
            let held = &self.slots[slot as usize];
            // A first token that is known ends its own limit; of the newest the loop may not know yet.
            let is_over = limit == Limit::Header && held.first_token.is_some();
            if held.place != Place::Ended && held.id == id && !is_over {
                break;
            }
            self.deadlines[limit as usize].pop_front();
        }
    }
}
