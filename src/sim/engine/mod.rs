//! Serving engines: what happens to requests inside one replica.
//!
//! An engine is sans-IO: it owns no queue of events and no random state of the run. The
//! loop tells it the time, it tells the loop when its next turn is due, and whatever
//! becomes a fact leaves through a [`Sink`].
//!
//! `continuous` and `stepped` are the same engine twice: one jumps from change to change
//! with closed sums, the other takes every step and is its oracle.

mod clock;
mod continuous;
mod cooled;
mod kv;
mod peaks;
mod stepped;
mod workers;

#[cfg(test)]
mod oracle_tests;

use std::sync::Arc;

pub use clock::Clock;
pub use continuous::Continuous;
pub use cooled::Cooled;
pub use stepped::Stepped;
pub use workers::{Workers, WorkersParams};

use crate::kernel::{SimDuration, SimTime};
use crate::profile::StepCost;

/// Tokens in a KV block (vLLM's default).
pub const BLOCK_TOKENS: u64 = 16;

/// The slot of a keep-warm request, which nobody waits for. There is at most one in an engine.
pub const KEEP_WARM: u32 = u32::MAX;

/// A request as an engine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Whose it is: the loop's slot, returned in facts.
    pub slot: u32,
    /// Prompt length, tokens, at least 1.
    pub prompt_tokens: u32,
    /// Output length, tokens, at least 1.
    pub output_tokens: u32,
    /// Service time, for engines that have one.
    pub service: SimDuration,
}

/// An engine's own handle of a job, valid until the job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub u32);

/// What a step cost, for the distributions of token latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeRun {
    /// Time of the first step, fs.
    pub first_fs: u64,
    /// Change from each step to the next, fs.
    pub rise_fs: i64,
    /// Steps.
    pub steps: u64,
    /// Sequences that got a token in each.
    pub batch: u32,
    /// Of these, keep-warm requests.
    pub unasked: u32,
}

/// Where an engine's facts go.
pub trait Sink {
    /// The engine takes the request up for the first time.
    fn scheduled(&mut self, slot: u32, at: SimTime);
    /// Its first token leaves.
    fn first_token(&mut self, slot: u32, at: SimTime);
    /// Its last token leaves; `gap_max_ns` is its largest inter-token latency if those are tracked.
    fn finished(&mut self, slot: u32, at: SimTime, gap_max_ns: u64);
    /// It is preempted and will be computed again.
    fn preempted(&mut self, slot: u32, at: SimTime);
    /// Inter-token latencies of `run.batch` sequences over consecutive steps.
    fn decoded(&mut self, run: DecodeRun);
    /// A token of the request left after a preemption, this long after the one before.
    fn gap(&mut self, slot: u32, gap: SimDuration);
    /// Prompt tokens were prefilled.
    fn prefilled(&mut self, tokens: u64);
    /// Steps were taken, some of them costed by extrapolation.
    fn stepped(&mut self, steps: u64, extrapolated: u64);
    /// A replica that nothing had warmed made every request in it wait.
    fn stalled(&mut self, penalty: SimDuration);
}

/// What an exporter reads off an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Sequences in the batch.
    pub running: u32,
    /// Requests waiting.
    pub waiting: u32,
    /// KV blocks in use.
    pub blocks_used: u64,
    /// KV blocks there are; 0 for an engine without a cache.
    pub blocks_total: u64,
}

/// Settings of a batching engine, shared by all replicas of a run.
#[derive(Clone, Debug)]
pub struct BatchParams {
    /// Cost of each step.
    pub cost: Arc<StepCost>,
    /// Token budget of a step; at least `max_num_seqs`.
    pub max_num_batched_tokens: u32,
    /// Most sequences in a batch.
    pub max_num_seqs: u32,
    /// KV blocks.
    pub kv_blocks: u64,
    /// Longest prompt plus output, tokens.
    pub max_model_len: u32,
    /// Extra time of the step that starts the 1st, 2nd, .. request of a replica that was not warmed, fs.
    pub penalties_fs: Arc<[u64]>,
    /// Whether each request's largest inter-token latency is needed.
    pub track_gaps: bool,
}

impl BatchParams {
    /// Whether a request of that length can ever run.
    pub fn fits(&self, prompt_tokens: u32, output_tokens: u32) -> bool {
        let tokens = u64::from(prompt_tokens) + u64::from(output_tokens);
        tokens <= u64::from(self.max_model_len) && kv::blocks(tokens) <= self.kv_blocks
    }
}

/// The engine of one replica.
#[derive(Clone, Debug)]
pub enum Engine {
    /// Continuous batching, fast-forward.
    Continuous(Box<Continuous>),
    /// Continuous batching, step by step.
    Stepped(Box<Stepped>),
    /// Workers behind a queue.
    Workers(Box<Workers>),
}

macro_rules! each {
    ($self:expr, $engine:ident => $body:expr) => {
        match $self {
            Engine::Continuous($engine) => $body,
            Engine::Stepped($engine) => $body,
            Engine::Workers($engine) => $body,
        }
    };
}

impl Engine {
    /// Takes a request; `None` if its queue is full.
    pub fn submit(&mut self, now: SimTime, job: Job) -> Option<Ticket> {
        each!(self, e => e.submit(now, job))
    }

    /// It has gone cold: its next requests take longer by the curve, the first by its first entry.
    pub fn cool(&mut self, curve: &Arc<[SimDuration]>) {
        each!(self, e => e.cooled.again(curve));
    }

    /// Gives a request up; it leaves no further facts.
    pub fn abort(&mut self, now: SimTime, ticket: Ticket) {
        each!(self, e => e.abort(now, ticket));
    }

    /// When it must be called next; `None` while it has nothing to do.
    pub fn next_turn(&self) -> Option<SimTime> {
        each!(self, e => e.next_turn())
    }

    /// Its turn: ends what ends at `now` and begins what can begin.
    pub fn turn(&mut self, now: SimTime, sink: &mut impl Sink) {
        each!(self, e => e.turn(now, sink));
    }

    /// Brings facts up to `now` without changing what happens; call it before reading counters.
    pub fn settle(&mut self, now: SimTime, sink: &mut impl Sink) {
        each!(self, e => e.settle(now, sink));
    }

    /// What an exporter reads; exact after [`Engine::settle`].
    pub fn gauges(&self) -> Gauges {
        each!(self, e => e.gauges())
    }

    /// Time until `now` in which a step was running.
    pub fn busy(&self, now: SimTime) -> SimDuration {
        each!(self, e => e.busy(now))
    }
}
