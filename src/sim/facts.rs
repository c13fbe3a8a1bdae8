//! Where an engine's facts go: exporter, recorder and the request they are about.

use super::engine::{DecodeRun, KEEP_WARM, Sink};
use super::replica::Stalls;
use super::requests::{InFlight, Requests};
use super::telemetry::{Exporter, for_each_bucket};
use super::warmth::Warmth;
use crate::kernel::{SimDuration, SimTime};
use crate::outcome::recorder::Recorder;

/// A request that left its engine in full.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// Its slot.
    pub slot: u32,
    /// When.
    pub at: SimTime,
    /// Its largest inter-token latency, if tracked.
    pub gap_max: SimDuration,
}

/// The sink of one replica's turn.
pub struct Facts<'a> {
    pub(super) requests: &'a mut Requests,
    pub(super) recorder: &'a mut Recorder,
    pub(super) exporter: &'a mut Exporter,
    pub(super) now: SimTime,
    pub(super) stalls: &'a mut Stalls,
    pub(super) warmth: &'a mut Warmth,
    /// Requests that ended, for the loop to close once the turn is over.
    pub(super) finished: &'a mut Vec<Finished>,
}

/// What a fact is about: a request, or the keep-warm request of the replica.
fn about<'a>(requests: &'a mut Requests, warmth: &'a mut Warmth, slot: u32) -> &'a mut InFlight {
    if slot == KEEP_WARM { warmth.synthetic() } else { requests.get_mut(slot) }
}

impl Sink for Facts<'_> {
    fn scheduled(&mut self, slot: u32, at: SimTime) {
        let request = about(self.requests, self.warmth, slot);
        request.scheduled = Some(at);
        if let Some(queue_time) = &mut self.exporter.queue_time {
            queue_time.observe(at.since(request.routed).as_nanos());
        }
    }

    fn first_token(&mut self, slot: u32, at: SimTime) {
        let request = about(self.requests, self.warmth, slot);
        request.first_token = Some(at);
        self.exporter.generation_tokens += 1;
        if let Some(ttft) = &mut self.exporter.ttft {
            ttft.observe(at.since(request.routed).as_nanos());
        }
    }

    fn finished(&mut self, slot: u32, at: SimTime, gap_max_ns: u64) {
        let request = about(self.requests, self.warmth, slot);
        self.exporter.finished += 1;
        if let Some(e2e) = &mut self.exporter.e2e {
            e2e.observe(at.since(request.routed).as_nanos());
        }
        if let Some(lengths) = &mut self.exporter.prompt_length {
            lengths.observe(u64::from(request.request.prompt_tokens));
        }
        if let Some(lengths) = &mut self.exporter.output_length {
            lengths.observe(u64::from(request.request.output_tokens));
        }
        if slot == KEEP_WARM {
            return self.warmth.synthetic_ended(at);
        }
        self.finished.push(Finished { slot, at, gap_max: SimDuration::from_nanos(gap_max_ns) });
    }

    fn preempted(&mut self, slot: u32, at: SimTime) {
        self.exporter.preemptions += 1;
        if slot == KEEP_WARM {
            return;
        }
        let request = self.requests.get_mut(slot);
        request.preemptions += 1;
        self.recorder.counts.preemptions += 1;
        self.recorder.digest.add(5, request.id, at);
    }

    fn decoded(&mut self, run: DecodeRun) {
        self.exporter.decoded(&run);
        if run.batch == run.unasked {
            return;
        }
        let run = DecodeRun { batch: run.batch - run.unasked, ..run };
        let itl = &mut self.recorder.latency.itl;
        // The histogram cannot tell bucket ends while it records: two passes over a handful of buckets.
        let mut stretches = smallvec::SmallVec::<[(u64, u64); 8]>::new();
        for_each_bucket(&run, |nanos| itl.bucket_end(nanos), |nanos, count| stretches.push((nanos, count)));
        for (nanos, count) in stretches {
            itl.record_n(nanos, count);
        }
    }

    fn gap(&mut self, slot: u32, gap: SimDuration) {
        self.exporter.generation_tokens += 1;
        if let Some(itl) = &mut self.exporter.itl {
            itl.observe(gap.as_nanos());
        }
        if slot != KEEP_WARM {
            self.recorder.latency.itl.record(gap);
        }
    }

    fn prefilled(&mut self, tokens: u64) {
        self.exporter.prompt_tokens += tokens;
    }

    fn stepped(&mut self, steps: u64, extrapolated: u64) {
        self.recorder.steps.total += steps;
        self.recorder.steps.extrapolated += extrapolated;
    }

    fn stalled(&mut self, penalty: SimDuration) {
        self.stalls.add(self.now, penalty);
    }
}
