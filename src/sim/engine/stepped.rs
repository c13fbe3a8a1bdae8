//! Continuous batching, one step at a time: the oracle of [`super::continuous`].
//!
//! Plain on purpose. Every step walks the running list in order of admission, asks for
//! blocks, costs the step from the table, and adds it to the clock. Nothing here uses the
//! closed sums, the residue counters or the finish heap of the fast engine.

use std::collections::VecDeque;
use std::sync::Arc;

use super::clock::Clock;
use super::{BLOCK_TOKENS, BatchParams, Cooled, DecodeRun, Gauges, Job, KEEP_WARM, Sink, Ticket};
use crate::kernel::{SimDuration, SimTime};

#[derive(Clone, Debug)]
struct Seq {
    ticket: u32,
    slot: u32,
    aborted: bool,
    /// All that was known when it was admitted is in the cache.
    decodes: bool,
    started: bool,
    prompt: u32,
    output: u32,
    generated: u32,
    /// Tokens in the KV cache.
    computed: u32,
    /// Blocks held.
    blocks: u64,
    /// Tokens this step computes.
    scheduled: u32,
    last_token: Option<Clock>,
    gap_max_ns: u64,
}

impl Seq {
    /// Tokens that must be computed before the next one can be sampled.
    fn known(&self) -> u32 {
        self.prompt + self.generated
    }
}

/// The step-by-step engine.
#[derive(Clone, Debug)]
pub struct Stepped {
    params: Arc<BatchParams>,
    waiting: VecDeque<Seq>,
    /// In order of admission.
    running: Vec<Seq>,
    free_blocks: u64,
    clock: Clock,
    /// Length of the step that is running, fs, and whether it was extrapolated.
    current: Option<(u64, bool)>,
    turn_at: Option<SimTime>,
    tickets: u32,
    started: usize,
    pub(super) cooled: Cooled,
    busy_since: SimTime,
    busy: SimDuration,
}

impl Stepped {
    /// An engine with nothing in it.
    pub fn new(params: Arc<BatchParams>) -> Self {
        Self {
            free_blocks: params.kv_blocks,
            params,
            waiting: VecDeque::new(),
            running: Vec::new(),
            clock: Clock::default(),
            current: None,
            turn_at: None,
            tickets: 0,
            started: 0,
            cooled: Cooled::default(),
            busy_since: SimTime::ZERO,
            busy: SimDuration::ZERO,
        }
    }

    /// See [`super::Engine::submit`]; never refuses.
    pub fn submit(&mut self, now: SimTime, job: Job) -> Option<Ticket> {
        let ticket = self.tickets;
        self.tickets += 1;
        self.waiting.push_back(Seq {
            ticket,
            slot: job.slot,
            aborted: false,
            decodes: false,
            started: false,
            prompt: job.prompt_tokens,
            output: job.output_tokens,
            generated: 0,
            computed: 0,
            blocks: 0,
            scheduled: 0,
            last_token: None,
            gap_max_ns: 0,
        });
        if self.turn_at.is_none() {
            self.turn_at = Some(now);
        }
        Some(Ticket(ticket))
    }

    /// See [`super::Engine::abort`].
    pub fn abort(&mut self, _: SimTime, ticket: Ticket) {
        self.waiting.retain(|s| s.ticket != ticket.0);
        for seq in &mut self.running {
            seq.aborted |= seq.ticket == ticket.0;
        }
    }

    /// See [`super::Engine::next_turn`].
    pub fn next_turn(&self) -> Option<SimTime> {
        self.turn_at
    }

    /// See [`super::Engine::turn`].
    pub fn turn(&mut self, now: SimTime, sink: &mut impl Sink) {
        if let Some((step_fs, extrapolated)) = self.current.take() {
            self.clock = self.clock.plus(step_fs);
            self.end_step(step_fs, extrapolated, sink);
        } else {
            self.clock = Clock::at(now);
            self.busy_since = now;
        }
        let free_blocks = &mut self.free_blocks;
        self.running.retain(|s| {
            *free_blocks += if s.aborted { s.blocks } else { 0 };
            !s.aborted
        });
        self.begin_step(sink);
    }

    /// See [`super::Engine::settle`]: every step is settled at its end.
    pub fn settle(&mut self, _: SimTime, _: &mut impl Sink) {}

    /// See [`super::Engine::gauges`].
    pub fn gauges(&self) -> Gauges {
        Gauges {
            running: self.running.len() as u32,
            waiting: self.waiting.len() as u32,
            blocks_used: self.params.kv_blocks - self.free_blocks,
            blocks_total: self.params.kv_blocks,
        }
    }

    /// See [`super::Engine::busy`].
    pub fn busy(&self, now: SimTime) -> SimDuration {
        if self.current.is_some() { self.busy + now.since(self.busy_since) } else { self.busy }
    }

    fn end_step(&mut self, step_fs: u64, extrapolated: bool, sink: &mut impl Sink) {
        let now = self.clock.ceil();
        sink.stepped(1, u64::from(extrapolated));
        for seq in &mut self.running {
            let was_prefill = !seq.decodes;
            seq.computed += seq.scheduled;
            if was_prefill {
                sink.prefilled(u64::from(seq.scheduled));
                if seq.computed < seq.known() {
                    continue;
                }
            }
            seq.decodes = true;
            match seq.last_token {
                None if seq.aborted => {}
                None => sink.first_token(seq.slot, now),
                Some(last) => {
                    let gap = self.clock.since(last);
                    seq.gap_max_ns = seq.gap_max_ns.max(gap.as_nanos());
                    if was_prefill {
                        sink.gap(seq.slot, gap);
                    } else {
                        let unasked = u32::from(seq.slot == KEEP_WARM);
                        sink.decoded(DecodeRun {
                            first_fs: step_fs,
                            rise_fs: 0,
                            steps: 1,
                            batch: 1,
                            unasked,
                        });
                    }
                }
            }
            seq.generated += 1;
            seq.last_token = Some(self.clock);
            if seq.generated == seq.output && !seq.aborted {
                let gap_max_ns = if self.params.track_gaps { seq.gap_max_ns } else { 0 };
                sink.finished(seq.slot, now, gap_max_ns);
            }
        }
        let free_blocks = &mut self.free_blocks;
        self.running.retain(|s| {
            let ended = s.generated == s.output;
            *free_blocks += if ended { s.blocks } else { 0 };
            !ended
        });
    }

    fn begin_step(&mut self, sink: &mut impl Sink) {
        let now = self.clock.ceil();
        loop {
            let mut budget = self.params.max_num_batched_tokens;
            let preempted = self.schedule_running(&mut budget, sink);
            let penalty_fs = if preempted { 0 } else { self.admit(&mut budget, sink) };
            if self.running.is_empty() {
                if !self.waiting.is_empty() {
                    assert!(preempted, "a request that fits the cache can always be scheduled alone");
                    continue;
                }
                self.busy += now.since(self.busy_since);
                self.turn_at = None;
                return;
            }
            let (step_fs, extrapolated) = self.cost();
            self.current = Some((step_fs + penalty_fs, extrapolated));
            self.turn_at = Some(self.clock.plus(step_fs + penalty_fs).ceil());
            return;
        }
    }

    /// Gives each running sequence its tokens and blocks, in order; returns whether any was preempted.
    fn schedule_running(&mut self, budget: &mut u32, sink: &mut impl Sink) -> bool {
        let mut preempted = false;
        let mut index = 0;
        while index < self.running.len() {
            let seq = &self.running[index];
            let tokens = (seq.known() - seq.computed).min(*budget);
            let held = seq.blocks;
            let wanted = u64::from(seq.computed + tokens).div_ceil(BLOCK_TOKENS);
            while wanted - held > self.free_blocks && index < self.running.len() {
                let mut victim = self.running.pop().expect("the sequence in hand is still there");
                self.free_blocks += victim.blocks;
                victim.blocks = 0;
                victim.computed = 0;
                victim.decodes = false;
                sink.preempted(victim.slot, self.clock.ceil());
                self.waiting.push_front(victim);
                preempted = true;
            }
            if index == self.running.len() {
                break;
            }
            self.free_blocks -= wanted - held;
            *budget -= tokens;
            let seq = &mut self.running[index];
            seq.blocks = wanted;
            seq.scheduled = tokens;
            index += 1;
        }
        preempted
    }

    fn admit(&mut self, budget: &mut u32, sink: &mut impl Sink) -> u64 {
        let mut penalty_fs = 0;
        while *budget > 0 && (self.running.len() as u32) < self.params.max_num_seqs {
            let Some(seq) = self.waiting.front() else { break };
            let tokens = seq.known().min(*budget);
            let wanted = u64::from(tokens).div_ceil(BLOCK_TOKENS);
            if wanted > self.free_blocks {
                break;
            }
            let mut seq = self.waiting.pop_front().expect("the front was just read");
            self.free_blocks -= wanted;
            *budget -= tokens;
            seq.blocks = wanted;
            seq.scheduled = tokens;
            if !seq.started {
                seq.started = true;
                sink.scheduled(seq.slot, self.clock.ceil());
                let not_warmed = self.params.penalties_fs.get(self.started).copied().unwrap_or(0);
                let cold = self.cooled.take().as_nanos().saturating_mul(1_000_000);
                penalty_fs = penalty_fs.max(not_warmed).max(cold);
                self.started += 1;
            }
            self.running.push(seq);
        }
        if penalty_fs > 0 {
            sink.stalled(SimDuration::from_nanos(penalty_fs.div_ceil(1_000_000)));
        }
        penalty_fs
    }

    /// Cost of the step as scheduled, fs.
    fn cost(&self) -> (u64, bool) {
        let (mut batch, mut kv, mut tokens, mut work_twice) = (0, 0, 0, 0);
        for seq in &self.running {
            let (computed, new) = (u64::from(seq.computed), u64::from(seq.scheduled));
            if seq.decodes {
                batch += 1;
                kv += computed + 1;
            } else {
                tokens += new;
                work_twice += new * (2 * computed + new);
            }
        }
        if tokens == 0 {
            let cell = self.params.cost.decode_cell(batch, kv);
            (cell.time_fs(kv), cell.extrapolated)
        } else {
            self.params.cost.mixed_fs(batch, kv, tokens, work_twice)
        }
    }
}
