//! Continuous batching, fast-forward.
//!
//! While nobody joins or leaves a batch, decode steps follow each other with times that
//! rise by the same amount, so any number of them has a closed sum. The engine therefore
//! plans a *leap*: as many steps as certainly change nothing, ended by the next finish,
//! the next knot of the cost table, the exhaustion of KV blocks, or an arrival that could
//! be admitted. A sequence is touched when it joins and when it leaves.
//!
//! Scheduling is vLLM V1's, first come first served: every decoding sequence gets a
//! token; the prefill that is under way gets what is left of the token budget; then
//! waiting requests are admitted while budget, batch size and KV blocks last. When
//! blocks run out the most recently admitted sequence is preempted, to be computed
//! again, and nothing is admitted in that step. `stepped` says the same plainly.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::clock::{Clock, ceil_ns};
use super::kv::{Residues, blocks};
use super::peaks::Peaks;
use super::{BatchParams, Cooled, DecodeRun, Gauges, Job, KEEP_WARM, Sink, Ticket};
use crate::kernel::{SimDuration, SimTime};
use crate::profile::step_time::FS_PER_NS;

/// A leap never sums to more than this many fs (an hour), so that sums stay within `i64`.
const LEAP_FS_MAX: u64 = 3_600_000_000_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Prefilling,
    Decoding,
    Free,
}

/// One request in the engine.
#[derive(Clone, Debug)]
struct Seq {
    slot: u32,
    state: State,
    aborted: bool,
    /// It has been scheduled before (and so has paid its share of the penalties).
    started: bool,
    prompt: u32,
    output: u32,
    /// Output tokens so far; while decoding, as of `join_step`.
    generated: u32,
    /// Tokens to prefill before it decodes: the prompt, and after a preemption what was generated too.
    target: u32,
    /// Tokens prefilled; while decoding, equal to `target`.
    computed: u32,
    /// Steps the engine had taken when it began to decode.
    join_step: u64,
    /// Order of admission; the largest is preempted first.
    order: u64,
    /// When its last token left, if it was preempted since.
    last_token: Clock,
    /// Largest gap so far that `Peaks` does not know.
    gap_max_ns: u64,
}

/// What the engine is doing until its next turn.
#[derive(Clone, Copy, Debug)]
enum Plan {
    Idle,
    /// `steps` decode steps of `first_fs`, `first_fs + rise_fs`, ..
    Leap {
        first_fs: u64,
        rise_fs: i64,
        steps: u64,
        extrapolated: bool,
    },
    /// One step with prefill chunks in it.
    Mixed {
        step_fs: u64,
        extrapolated: bool,
    },
}

/// The fast engine.
#[derive(Clone, Debug)]
pub struct Continuous {
    params: Arc<BatchParams>,
    seqs: Vec<Seq>,
    free_seqs: Vec<u32>,
    waiting: VecDeque<u32>,
    /// The one sequence whose prefill is under way; always the last admitted.
    prefilling: Option<u32>,
    /// Prefill chunks of the step that is running.
    chunks: Vec<(u32, u32)>,
    /// Decoding sequences by (step after which they end, order of admission).
    finishes: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// Sequences that leave at the next boundary because they were given up.
    aborting: Vec<u32>,
    /// Decoding sequences.
    batch: u32,
    /// Of these, keep-warm requests.
    unasked: u32,
    /// KV tokens the next decode step reads.
    kv: u64,
    residues: Residues,
    free_blocks: u64,
    /// Steps taken.
    step: u64,
    /// When the running step or leap began.
    clock: Clock,
    plan: Plan,
    turn_at: Option<SimTime>,
    admitted: u64,
    started: usize,
    pub(super) cooled: Cooled,
    peaks: Peaks,
    busy_since: SimTime,
    busy: SimDuration,
}

impl Continuous {
    /// An engine with nothing in it.
    pub fn new(params: Arc<BatchParams>) -> Self {
        Self {
            free_blocks: params.kv_blocks,
            params,
            seqs: Vec::new(),
            free_seqs: Vec::new(),
            waiting: VecDeque::new(),
            prefilling: None,
            chunks: Vec::new(),
            finishes: BinaryHeap::new(),
            aborting: Vec::new(),
            batch: 0,
            unasked: 0,
            kv: 0,
            residues: Residues::default(),
            step: 0,
            clock: Clock::default(),
            plan: Plan::Idle,
            turn_at: None,
            admitted: 0,
            started: 0,
            cooled: Cooled::default(),
            peaks: Peaks::default(),
            busy_since: SimTime::ZERO,
            busy: SimDuration::ZERO,
        }
    }

    /// See [`super::Engine::submit`]; never refuses.
    pub fn submit(&mut self, now: SimTime, job: Job) -> Option<Ticket> {
        let seq = Seq {
            slot: job.slot,
            state: State::Waiting,
            aborted: false,
            started: false,
            prompt: job.prompt_tokens,
            output: job.output_tokens,
            generated: 0,
            target: job.prompt_tokens,
            computed: 0,
            join_step: 0,
            order: 0,
            last_token: Clock::default(),
            gap_max_ns: 0,
        };
        let id = if let Some(id) = self.free_seqs.pop() {
            self.seqs[id as usize] = seq;
            id
        } else {
            self.seqs.push(seq);
            self.seqs.len() as u32 - 1
        };
        // Behind others, or beyond the batch size, it can change nothing before the next finish.
        let admissible = self.waiting.is_empty() && self.batch < self.params.max_num_seqs;
        self.waiting.push_back(id);
        match self.plan {
            Plan::Idle => self.turn_at = Some(self.turn_at.unwrap_or(now)),
            Plan::Leap { .. } if admissible => self.cut(now),
            _ => {}
        }
        Some(Ticket(id))
    }

    /// See [`super::Engine::abort`].
    pub fn abort(&mut self, now: SimTime, ticket: Ticket) {
        let id = ticket.0;
        if self.seqs[id as usize].state == State::Waiting {
            self.waiting.retain(|&w| w != id);
            self.release(id);
        } else {
            self.seqs[id as usize].aborted = true;
            self.aborting.push(id);
        }
        if matches!(self.plan, Plan::Leap { .. }) {
            self.cut(now);
        }
    }

    /// See [`super::Engine::next_turn`].
    pub fn next_turn(&self) -> Option<SimTime> {
        self.turn_at
    }

    /// See [`super::Engine::turn`].
    pub fn turn(&mut self, now: SimTime, sink: &mut impl Sink) {
        match self.plan {
            Plan::Idle => {
                self.clock = Clock::at(now);
                self.busy_since = now;
            }
            Plan::Leap { steps, .. } => self.take_steps(steps, sink),
            Plan::Mixed { step_fs, extrapolated } => self.take_mixed(step_fs, extrapolated, sink),
        }
        self.end_finished(sink);
        if !self.chunks.is_empty() {
            self.end_chunks(sink);
        }
        self.drop_aborted();
        self.plan_next(sink);
    }

    /// See [`super::Engine::settle`].
    pub fn settle(&mut self, now: SimTime, sink: &mut impl Sink) {
        let Plan::Leap { steps, .. } = self.plan else { return };
        // The last step ends with a turn, never here.
        let done = self.steps_done(now).min(steps - 1);
        if done > 0 {
            self.take_steps(done, sink);
            let need = self.residues.need(self.step);
            self.free_blocks -= need;
        }
    }

    /// See [`super::Engine::gauges`].
    pub fn gauges(&self) -> Gauges {
        let chunks = self.chunks.len() as u32;
        Gauges {
            running: self.batch + chunks,
            waiting: self.waiting.len() as u32,
            blocks_used: self.params.kv_blocks - self.free_blocks,
            blocks_total: self.params.kv_blocks,
        }
    }

    /// See [`super::Engine::busy`].
    pub fn busy(&self, now: SimTime) -> SimDuration {
        match self.plan {
            Plan::Idle => self.busy,
            _ => self.busy + now.since(self.busy_since),
        }
    }

    /// Whole steps of the leap that have ended by `now`.
    fn steps_done(&self, now: SimTime) -> u64 {
        let Plan::Leap { first_fs, rise_fs, steps, .. } = self.plan else { return 0 };
        let Some(elapsed) = self.clock.fs_until(now) else { return 0 };
        let mut done = estimate_steps(first_fs, rise_fs, elapsed).min(steps);
        while done > 0 && leap_fs(first_fs, rise_fs, done) > elapsed {
            done -= 1;
        }
        while done < steps && leap_fs(first_fs, rise_fs, done + 1) <= elapsed {
            done += 1;
        }
        done
    }

    /// Ends the leap with the step that is running at `now`.
    fn cut(&mut self, now: SimTime) {
        let done = self.steps_done(now);
        if let Plan::Leap { first_fs, rise_fs, steps, .. } = &mut self.plan {
            *steps = (done + 1).min(*steps);
            self.turn_at = Some(self.clock.plus(leap_fs(*first_fs, *rise_fs, *steps)).ceil());
        }
    }

    /// Takes the first `taken` steps of the leap: they end, and later ones have begun if there are any.
    fn take_steps(&mut self, taken: u64, sink: &mut impl Sink) {
        let Plan::Leap { first_fs, rise_fs, steps, extrapolated } = &mut self.plan else { return };
        let (batch, unasked) = (self.batch, self.unasked);
        sink.decoded(DecodeRun { first_fs: *first_fs, rise_fs: *rise_fs, steps: taken, batch, unasked });
        sink.stepped(taken, if *extrapolated { taken } else { 0 });
        self.clock = self.clock.plus(leap_fs(*first_fs, *rise_fs, taken));
        let last_fs = step_fs(*first_fs, *rise_fs, taken - 1);
        let longest = ceil_ns(last_fs.max(*first_fs));
        *first_fs = step_fs(*first_fs, *rise_fs, taken);
        *steps -= taken;
        // The first step's blocks were taken when it began.
        self.free_blocks -= self.residues.need_over(self.step + 1, taken - 1);
        self.step += taken;
        self.kv += u64::from(self.batch) * taken;
        self.note_peak(longest);
    }

    fn take_mixed(&mut self, step_fs: u64, extrapolated: bool, sink: &mut impl Sink) {
        if self.batch > 0 {
            let (batch, unasked) = (self.batch, self.unasked);
            sink.decoded(DecodeRun { first_fs: step_fs, rise_fs: 0, steps: 1, batch, unasked });
        }
        sink.stepped(1, u64::from(extrapolated));
        self.clock = self.clock.plus(step_fs);
        self.step += 1;
        self.kv += u64::from(self.batch);
        self.note_peak(ceil_ns(step_fs));
    }

    fn note_peak(&mut self, ns: u64) {
        const KEPT: usize = 1024;
        if !self.params.track_gaps {
            return;
        }
        self.peaks.push(self.step, ns);
        if self.peaks.len() > KEPT {
            let decoding = self.seqs.iter().filter(|s| s.state == State::Decoding);
            let oldest = decoding.map(|s| s.join_step).min().unwrap_or(self.step);
            self.peaks.forget(oldest);
        }
    }

    /// Decoding sequences whose last token left at this boundary.
    fn end_finished(&mut self, sink: &mut impl Sink) {
        let now = self.clock.ceil();
        while let Some(&Reverse((finish, _, id))) = self.finishes.peek() {
            if finish > self.step {
                break;
            }
            self.finishes.pop();
            self.leave_batch(id);
            let seq = &self.seqs[id as usize];
            if !seq.aborted {
                let gap_max_ns = self.gap_max_ns(seq);
                sink.finished(seq.slot, now, gap_max_ns);
            }
            self.release(id);
        }
    }

    /// Prefill chunks that ended at this boundary.
    fn end_chunks(&mut self, sink: &mut impl Sink) {
        let now = self.clock.ceil();
        self.prefilling = None;
        let mut chunks = std::mem::take(&mut self.chunks);
        for (id, chunk) in chunks.drain(..) {
            sink.prefilled(u64::from(chunk));
            let (step, clock) = (self.step, self.clock);
            let seq = &mut self.seqs[id as usize];
            seq.computed += chunk;
            if seq.computed < seq.target {
                self.prefilling = Some(id);
                continue;
            }
            if seq.generated == 0 {
                if !seq.aborted {
                    sink.first_token(seq.slot, now);
                }
            } else {
                let gap = clock.since(seq.last_token);
                seq.gap_max_ns = seq.gap_max_ns.max(gap.as_nanos());
                sink.gap(seq.slot, gap);
            }
            seq.generated += 1;
            if seq.generated == seq.output {
                if !seq.aborted {
                    sink.finished(seq.slot, now, seq.gap_max_ns);
                }
                self.free_blocks += blocks(u64::from(seq.target));
                self.release(id);
                continue;
            }
            seq.state = State::Decoding;
            seq.join_step = step;
            let computed = u64::from(seq.target);
            let finish = step + u64::from(seq.output - seq.generated);
            self.finishes.push(Reverse((finish, seq.order, id)));
            self.batch += 1;
            self.unasked += u32::from(seq.slot == KEEP_WARM);
            self.kv += computed + 1;
            self.residues.join(computed, step);
        }
        self.chunks = chunks;
    }

    /// Sequences given up during the step that just ended.
    fn drop_aborted(&mut self) {
        while let Some(id) = self.aborting.pop() {
            match self.seqs[id as usize].state {
                State::Decoding => {
                    self.finishes.retain(|Reverse((_, _, other))| *other != id);
                    self.leave_batch(id);
                }
                State::Prefilling => {
                    self.prefilling = None;
                    self.free_blocks += blocks(u64::from(self.seqs[id as usize].computed));
                }
                // It ended with that very step.
                State::Waiting | State::Free => continue,
            }
            self.release(id);
        }
    }

    /// Plans the step or leap that begins now.
    fn plan_next(&mut self, sink: &mut impl Sink) {
        let now = self.clock.ceil();
        loop {
            let mut preempted = self.make_room_for_decode(sink);
            let mut budget = self.params.max_num_batched_tokens - self.batch;
            preempted |= !self.continue_prefill(&mut budget, sink);
            let penalty_fs = if preempted { 0 } else { self.admit(budget, sink) };
            if !self.chunks.is_empty() {
                self.plan_mixed(penalty_fs);
            } else if self.batch > 0 {
                self.plan_leap(preempted);
            } else if self.waiting.is_empty() {
                if !matches!(self.plan, Plan::Idle) {
                    self.busy += now.since(self.busy_since);
                }
                self.plan = Plan::Idle;
                self.turn_at = None;
            } else {
                // Whatever could not go on was preempted, so everything is free now.
                assert!(preempted, "a request that fits the cache can always be scheduled alone");
                continue;
            }
            return;
        }
    }

    /// Takes the blocks that decoding sequences need for this step. Returns whether any was preempted for it.
    fn make_room_for_decode(&mut self, sink: &mut impl Sink) -> bool {
        let mut preempted = false;
        loop {
            let need = self.residues.need(self.step);
            if need <= self.free_blocks {
                self.free_blocks -= need;
                return preempted;
            }
            preempted = true;
            let victim = self.prefilling.take().or_else(|| {
                let last = self.finishes.iter().max_by_key(|Reverse((_, order, _))| *order);
                last.map(|Reverse((_, _, id))| *id)
            });
            let id = victim.expect("blocks are needed only by sequences that run");
            self.preempt(id, sink);
        }
    }

    fn preempt(&mut self, id: u32, sink: &mut impl Sink) {
        let now = self.clock.ceil();
        if self.seqs[id as usize].state == State::Decoding {
            self.finishes.retain(|Reverse((_, _, other))| *other != id);
            let gap_max_ns = self.gap_max_ns(&self.seqs[id as usize]);
            let generated = self.generated(&self.seqs[id as usize]);
            self.leave_batch(id);
            let seq = &mut self.seqs[id as usize];
            seq.gap_max_ns = gap_max_ns;
            seq.generated = generated;
            seq.last_token = self.clock;
        } else {
            self.free_blocks += blocks(u64::from(self.seqs[id as usize].computed));
        }
        let seq = &mut self.seqs[id as usize];
        seq.state = State::Waiting;
        seq.computed = 0;
        seq.target = seq.prompt + seq.generated;
        sink.preempted(seq.slot, now);
        self.waiting.push_front(id);
    }

    /// Gives the prefill under way its chunk. Returns false if it had to be preempted for want of blocks.
    fn continue_prefill(&mut self, budget: &mut u32, sink: &mut impl Sink) -> bool {
        let Some(id) = self.prefilling else { return true };
        let seq = &self.seqs[id as usize];
        let chunk = (seq.target - seq.computed).min(*budget);
        let (held, computed) = (u64::from(seq.computed), u64::from(seq.computed + chunk));
        let need = blocks(computed) - blocks(held);
        if need > self.free_blocks {
            self.prefilling = None;
            self.preempt(id, sink);
            return false;
        }
        self.free_blocks -= need;
        self.chunks.push((id, chunk));
        *budget -= chunk;
        true
    }

    /// Admits waiting requests; returns the penalty of this step, not warmed or gone cold, fs.
    fn admit(&mut self, mut budget: u32, sink: &mut impl Sink) -> u64 {
        let now = self.clock.ceil();
        let mut penalty_fs = 0;
        while budget > 0 && self.batch + (self.chunks.len() as u32) < self.params.max_num_seqs {
            let Some(&id) = self.waiting.front() else { break };
            let seq = &mut self.seqs[id as usize];
            let chunk = seq.target.min(budget);
            let need = blocks(u64::from(chunk));
            if need > self.free_blocks {
                break;
            }
            self.waiting.pop_front();
            self.free_blocks -= need;
            budget -= chunk;
            seq.state = State::Prefilling;
            seq.order = self.admitted;
            self.admitted += 1;
            if !seq.started {
                seq.started = true;
                sink.scheduled(seq.slot, now);
                let not_warmed = self.params.penalties_fs.get(self.started).copied().unwrap_or(0);
                let cold = self.cooled.take().as_nanos().saturating_mul(FS_PER_NS);
                penalty_fs = penalty_fs.max(not_warmed).max(cold);
                self.started += 1;
            }
            self.chunks.push((id, chunk));
        }
        if penalty_fs > 0 {
            sink.stalled(SimDuration::from_nanos(ceil_ns(penalty_fs)));
        }
        penalty_fs
    }

    fn plan_mixed(&mut self, penalty_fs: u64) {
        let (mut tokens, mut work_twice) = (0, 0);
        for &(id, chunk) in &self.chunks {
            let context = u64::from(self.seqs[id as usize].computed);
            let chunk = u64::from(chunk);
            tokens += chunk;
            work_twice += chunk * (2 * context + chunk);
        }
        let (step_fs, extrapolated) = self.params.cost.mixed_fs(self.batch, self.kv, tokens, work_twice);
        let step_fs = step_fs + penalty_fs;
        self.plan = Plan::Mixed { step_fs, extrapolated };
        self.turn_at = Some(self.clock.plus(step_fs).ceil());
    }

    fn plan_leap(&mut self, preempted: bool) {
        let cell = *self.params.cost.decode_cell(self.batch, self.kv);
        let batch = u64::from(self.batch);
        let first_fs = cell.time_fs(self.kv);
        let rise_fs = cell.slope_fs * batch as i64;
        let &Reverse((finish, _, _)) = self.finishes.peek().expect("a batch has a first finish");
        let mut steps = finish - self.step;
        // Preempted in this step means no admission in it; the next step may admit.
        if preempted {
            steps = 1;
        }
        steps = steps.min((cell.kv_to - self.kv).div_ceil(batch));
        if rise_fs < 0 {
            // The floor of 1 ns in `time_fs` is not linear: stop before it.
            let above = first_fs.saturating_sub(FS_PER_NS);
            steps = steps.min(above / rise_fs.unsigned_abs() + 1).min((LEAP_FS_MAX / first_fs).max(1));
        }
        steps = steps.min(estimate_steps(first_fs, rise_fs, LEAP_FS_MAX).max(1));
        // This step's blocks are taken already; those of the following ones are still to be had.
        steps = 1 + self.residues.steps_within(self.step + 1, self.free_blocks, steps - 1);
        self.plan = Plan::Leap { first_fs, rise_fs, steps, extrapolated: cell.extrapolated };
        self.turn_at = Some(self.clock.plus(leap_fs(first_fs, rise_fs, steps)).ceil());
    }

    /// Output tokens of a decoding sequence so far.
    fn generated(&self, seq: &Seq) -> u32 {
        seq.generated + (self.step - seq.join_step) as u32
    }

    fn gap_max_ns(&self, seq: &Seq) -> u64 {
        if self.params.track_gaps { seq.gap_max_ns.max(self.peaks.since(seq.join_step)) } else { 0 }
    }

    /// Takes a decoding sequence out of the batch and frees its blocks.
    fn leave_batch(&mut self, id: u32) {
        let seq = &self.seqs[id as usize];
        let computed = u64::from(seq.target) + (self.step - seq.join_step);
        self.batch -= 1;
        self.unasked -= u32::from(seq.slot == KEEP_WARM);
        self.kv -= computed + 1;
        self.residues.leave(computed, self.step);
        self.free_blocks += blocks(computed);
    }

    fn release(&mut self, id: u32) {
        self.seqs[id as usize].state = State::Free;
        self.free_seqs.push(id);
    }
}

/// Time of step `index` of a leap, fs.
fn step_fs(first_fs: u64, rise_fs: i64, index: u64) -> u64 {
    (first_fs as i64 + rise_fs * index as i64) as u64
}

/// Time of the first `steps` steps of a leap, fs: `k*first + rise*k(k-1)/2`.
fn leap_fs(first_fs: u64, rise_fs: i64, steps: u64) -> u64 {
    let pairs = (steps * (steps.saturating_sub(1)) / 2) as i64;
    (first_fs as i64 * steps as i64 + rise_fs * pairs) as u64
}

/// About how many steps fit into `fs`: the root of the closed sum, to be corrected by whole numbers.
fn estimate_steps(first_fs: u64, rise_fs: i64, fs: u64) -> u64 {
    let (first, rise, total) = (first_fs as f64, rise_fs as f64, fs as f64);
    if rise_fs == 0 {
        return (total / first) as u64;
    }
    // k*first + rise*k(k-1)/2 = total
    let half = first - rise / 2.0;
    let root = half * half + 2.0 * rise * total;
    if root <= 0.0 { u64::MAX >> 1 } else { (2.0 * total / (half + root.sqrt())) as u64 }
}
