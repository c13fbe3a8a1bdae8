//! A classic model server: c workers, each with one request at a time, behind a bounded
//! first-come-first-served queue.
//!
//! The answer is one piece: the first token is the last. A replica that nothing warmed, or
//! that has gone cold, pays for its first requests by blocking every worker, as a graph
//! compile does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::{Cooled, Gauges, Job, Sink, Ticket};
use crate::kernel::{SimDuration, SimTime};

/// Settings of the workers, shared by all replicas of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkersParams {
    /// Workers of a replica.
    pub workers: u32,
    /// Most requests that wait.
    pub queue_limit: Option<u32>,
    /// Extra time of the 1st, 2nd, .. request of a replica that was not warmed; nobody starts meanwhile.
    pub penalties: Arc<[SimDuration]>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    ticket: u32,
    job: Job,
}

/// The workers of one replica.
#[derive(Clone, Debug)]
pub struct Workers {
    params: Arc<WorkersParams>,
    waiting: VecDeque<Waiting>,
    /// Requests in service by (end, ticket), with their slot.
    serving: BinaryHeap<Reverse<(SimTime, u32, u32)>>,
    /// Waiting requests cannot start before this.
    stalled_until: SimTime,
    /// A turn asked for by an arrival that finds a worker free.
    start_at: Option<SimTime>,
    tickets: u32,
    started: usize,
    pub(super) cooled: Cooled,
    busy_since: SimTime,
    busy: SimDuration,
}

impl Workers {
    /// Idle workers.
    pub fn new(params: Arc<WorkersParams>) -> Self {
        Self {
            params,
            waiting: VecDeque::new(),
            serving: BinaryHeap::new(),
            stalled_until: SimTime::ZERO,
            start_at: None,
            tickets: 0,
            started: 0,
            cooled: Cooled::default(),
            busy_since: SimTime::ZERO,
            busy: SimDuration::ZERO,
        }
    }

    fn has_free_worker(&self) -> bool {
        (self.serving.len() as u32) < self.params.workers
    }

    /// See [`super::Engine::submit`]; refuses beyond the queue limit.
    pub fn submit(&mut self, now: SimTime, job: Job) -> Option<Ticket> {
        let free = (self.params.workers as usize).saturating_sub(self.serving.len());
        let room = self.params.queue_limit.is_none_or(|limit| self.waiting.len() < limit as usize + free);
        if !room {
            return None;
        }
        let ticket = self.tickets;
        self.tickets += 1;
        self.waiting.push_back(Waiting { ticket, job });
        if self.has_free_worker() {
            self.start_at = Some(self.stalled_until.max(now));
        }
        Some(Ticket(ticket))
    }

    /// See [`super::Engine::abort`]; a request in service frees its worker at once.
    pub fn abort(&mut self, now: SimTime, ticket: Ticket) {
        self.waiting.retain(|w| w.ticket != ticket.0);
        let before = self.serving.len();
        self.serving.retain(|Reverse((_, t, _))| *t != ticket.0);
        if self.serving.len() < before {
            if self.serving.is_empty() {
                self.busy += now.since(self.busy_since);
            }
            self.start_at = Some(self.stalled_until.max(now));
        }
    }

    /// See [`super::Engine::next_turn`].
    pub fn next_turn(&self) -> Option<SimTime> {
        let end = self.serving.peek().map(|Reverse((at, _, _))| *at);
        match (end, self.start_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// See [`super::Engine::turn`].
    pub fn turn(&mut self, now: SimTime, sink: &mut impl Sink) {
        while let Some(&Reverse((end, _, slot))) = self.serving.peek() {
            if end > now {
                break;
            }
            self.serving.pop();
            sink.first_token(slot, now);
            sink.finished(slot, now, 0);
            if self.serving.is_empty() {
                self.busy += now.since(self.busy_since);
            }
        }
        self.start_at = None;
        while self.has_free_worker() && !self.waiting.is_empty() {
            if self.stalled_until > now {
                self.start_at = Some(self.stalled_until);
                return;
            }
            let Some(Waiting { ticket, job }) = self.waiting.pop_front() else { return };
            sink.scheduled(job.slot, now);
            sink.prefilled(u64::from(job.prompt_tokens));
            sink.stepped(1, 0);
            let not_warmed = self.params.penalties.get(self.started).copied().unwrap_or_default();
            let penalty = not_warmed.max(self.cooled.take());
            self.started += 1;
            if !penalty.is_zero() {
                self.stalled_until = now + penalty;
                sink.stalled(penalty);
            }
            if self.serving.is_empty() {
                self.busy_since = now;
            }
            self.serving.push(Reverse((now + penalty + job.service, ticket, job.slot)));
        }
    }

    /// See [`super::Engine::settle`]: nothing is ever behind.
    pub fn settle(&mut self, _: SimTime, _: &mut impl Sink) {}

    /// See [`super::Engine::gauges`].
    pub fn gauges(&self) -> Gauges {
        Gauges {
            running: self.serving.len() as u32,
            waiting: self.waiting.len() as u32,
            blocks_used: 0,
            blocks_total: 0,
        }
    }

    /// See [`super::Engine::busy`].
    pub fn busy(&self, now: SimTime) -> SimDuration {
        if self.serving.is_empty() { self.busy } else { self.busy + now.since(self.busy_since) }
    }
}
