//! Exporters: what the real engine would publish.
//!
//! Telemetry stands between the world and the policy. `prometheus.rs` scrapes what is here, and
//! `metrics_server.rs` reads containers; a policy sees only what either has got by then.

use super::engine::DecodeRun;
use crate::profile::step_time::FS_PER_NS;

/// A Prometheus histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct PromHistogram {
    /// Upper bounds, ns or tokens, increasing; `+Inf` is implied.
    bounds: &'static [u64],
    /// Count of each bucket, not cumulative; the last is `+Inf`.
    counts: Vec<u64>,
    sum_fs: u128,
}

macro_rules! bounds_ms {
    ($($ms:literal),* $(,)?) => { &[$($ms * 1_000_000),*] };
}

/// vLLM's buckets (`vllm/v1/metrics/loggers.py`), in ms.
pub(super) const TTFT_BOUNDS: &[u64] = bounds_ms![
    1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 20_000, 40_000, 80_000,
    160_000, 640_000, 2_560_000
];
pub(super) const ITL_BOUNDS: &[u64] = bounds_ms![
    10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 20_000, 40_000,
    80_000
];
pub(super) const REQUEST_BOUNDS: &[u64] = bounds_ms![
    300, 500, 800, 1_000, 1_500, 2_000, 2_500, 5_000, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000, 60_000,
    120_000, 240_000, 480_000, 960_000, 1_920_000, 7_680_000
];

/// vLLM's buckets of lengths, tokens: 1, 2, 5 times powers of ten (`build_1_2_5_buckets`).
pub(super) const LENGTH_BOUNDS: &[u64] =
    &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000];

impl PromHistogram {
    fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum_fs: 0 }
    }

    /// Observes one value.
    pub fn observe(&mut self, nanos: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < nanos);
        self.counts[bucket] += 1;
        self.sum_fs += u128::from(nanos) * u128::from(FS_PER_NS);
    }

    fn observe_run(&mut self, run: &DecodeRun) {
        let Self { bounds, counts, sum_fs } = self;
        for_each_bucket(
            run,
            |nanos| bounds.get(bounds.partition_point(|b| *b < nanos)).map_or(u64::MAX, |b| b + 1),
            |nanos, count| counts[bounds.partition_point(|b| *b < nanos)] += count,
        );
        let pairs = run.steps * (run.steps - 1) / 2;
        let fs =
            i128::from(run.first_fs) * i128::from(run.steps) + i128::from(run.rise_fs) * i128::from(pairs);
        *sum_fs += fs as u128 * u128::from(run.batch);
    }

    /// The cumulative count of each bucket, as Prometheus exposes it; the last is `+Inf`.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> + '_ {
        self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }

    /// `_count`.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// `_sum`, in the unit of what is observed: ns or tokens.
    pub fn sum(&self) -> f64 {
        self.sum_fs as f64 / FS_PER_NS as f64
    }

    /// Upper bounds, in the unit of what is observed; `+Inf` is implied.
    pub fn bounds(&self) -> &'static [u64] {
        self.bounds
    }
}

/// Splits a run of decode steps into stretches that fall into one bucket.
///
/// `bucket_end(ns)` is the first value past the bucket of `ns`; `record(ns, count)` gets a
/// value of the stretch and how many tokens it has.
pub fn for_each_bucket(run: &DecodeRun, bucket_end: impl Fn(u64) -> u64, mut record: impl FnMut(u64, u64)) {
    let (batch, rise) = (u64::from(run.batch), run.rise_fs);
    let mut index = 0;
    while index < run.steps {
        let fs = (run.first_fs as i64 + rise * index as i64) as u64;
        let nanos = fs.div_ceil(FS_PER_NS);
        let left = run.steps - index;
        let steps = match rise {
            0 => left,
            // Falling times are rare (a noisy measured grid): step by step.
            r if r < 0 => 1,
            r => {
                let last_fs = (bucket_end(nanos) - 1).min(i64::MAX as u64 / FS_PER_NS) * FS_PER_NS;
                (last_fs.saturating_sub(fs) / r as u64 + 1).min(left)
            }
        };
        record(nanos, steps * batch);
        index += steps;
    }
}

/// Which histograms an exporter keeps: observing is on the hot path, and what nobody reads need not be.
#[expect(clippy::struct_excessive_bools, reason = "six histograms, each kept or not")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histograms {
    /// From arrival at the engine to the first token.
    pub ttft: bool,
    /// Between two tokens.
    pub itl: bool,
    /// From arrival at the engine to the last token.
    pub e2e: bool,
    /// From arrival at the engine to the first step.
    pub queue_time: bool,
    /// Tokens of prompts.
    pub prompt_length: bool,
    /// Tokens of answers.
    pub output_length: bool,
}

/// What one replica's engine publishes.
#[derive(Clone, Debug)]
pub struct Exporter {
    /// Prompt tokens prefilled.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub generation_tokens: u64,
    /// Requests taken.
    pub arrived: u64,
    /// Requests finished.
    pub finished: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// From arrival at the engine to the first token, ns.
    pub ttft: Option<PromHistogram>,
    /// Between two tokens, ns.
    pub itl: Option<PromHistogram>,
    /// From arrival at the engine to the last token, ns.
    pub e2e: Option<PromHistogram>,
    /// From arrival at the engine to the first step, ns.
    pub queue_time: Option<PromHistogram>,
    /// Tokens of prompts.
    pub prompt_length: Option<PromHistogram>,
    /// Tokens of answers.
    pub output_length: Option<PromHistogram>,
}

/// CPU use of a replica's pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuModel {
    /// Cores while no step runs.
    pub idle_cores: f64,
    /// Cores while a step runs.
    pub busy_cores: f64,
}

impl CpuModel {
    /// Milli-cores, rounded up, at a share of time in which a step runs.
    pub fn milli(self, busy_share: f64) -> i64 {
        let cores = self.idle_cores + (self.busy_cores - self.idle_cores) * busy_share;
        (cores * 1000.0).ceil() as i64
    }
}

impl Exporter {
    /// The exporter of an engine that has just started.
    pub fn new(kept: Histograms) -> Self {
        let histogram = |kept: bool, bounds| kept.then(|| PromHistogram::new(bounds));
        Self {
            prompt_tokens: 0,
            generation_tokens: 0,
            arrived: 0,
            finished: 0,
            preemptions: 0,
            ttft: histogram(kept.ttft, TTFT_BOUNDS),
            itl: histogram(kept.itl, ITL_BOUNDS),
            e2e: histogram(kept.e2e, REQUEST_BOUNDS),
            queue_time: histogram(kept.queue_time, REQUEST_BOUNDS),
            prompt_length: histogram(kept.prompt_length, LENGTH_BOUNDS),
            output_length: histogram(kept.output_length, LENGTH_BOUNDS),
        }
    }

    /// Tokens of a run of steps.
    pub fn decoded(&mut self, run: &DecodeRun) {
        self.generation_tokens += run.steps * u64::from(run.batch);
        if let Some(itl) = &mut self.itl {
            itl.observe_run(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn runs_fall_into_the_buckets_of_their_steps(
            first_fs in 1_000_000u64..200_000_000_000, rise_fs in -10_000i64..300_000_000, steps in 1u64..300, batch in 1u32..5
        ) {
            let run = DecodeRun { first_fs, rise_fs, steps, batch, unasked: 0 };
            let mut bulk = PromHistogram::new(ITL_BOUNDS);
            bulk.observe_run(&run);
            let mut single = PromHistogram::new(ITL_BOUNDS);
            let mut by_bucket: BTreeMap<u64, u64> = BTreeMap::new();
            let end = |ns: u64| (ns / 1_000 + 1) * 1_000;
            for i in 0..steps {
                let ns = ((first_fs as i64 + rise_fs * i as i64) as u64).div_ceil(FS_PER_NS);
                (0..batch).for_each(|_| single.observe(ns));
                *by_bucket.entry(end(ns)).or_default() += u64::from(batch);
            }
            prop_assert_eq!(&bulk.counts, &single.counts);
            let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
            for_each_bucket(&run, end, |ns, count| *seen.entry(end(ns)).or_default() += count);
            prop_assert_eq!(seen, by_bucket);
        }
    }
}
