//! Exporters, scrapes, and what of them a policy can read by when.
//!
//! Telemetry stands between the world and the policy. An exporter holds what the real
//! engine would publish; a scrape copies it at an interval; a reader sees the newest
//! scrape that is old enough to have reached it.

use std::collections::VecDeque;

use super::engine::{DecodeRun, Gauges};
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::policy::api::{GatewaySample, PodSample, Series};
use crate::profile::step_time::FS_PER_NS;

/// A Prometheus histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct PromHistogram {
    /// Upper bounds, ns, increasing; `+Inf` is implied.
    bounds: &'static [u64],
    /// Count of each bucket, not cumulative; the last is `+Inf`.
    counts: Vec<u64>,
    sum_fs: u128,
}

macro_rules! bounds_ms {
    ($($ms:literal),* $(,)?) => { &[$($ms * 1_000_000),*] };
}

/// vLLM's buckets (`vllm/v1/metrics/loggers.py`), in ms.
const TTFT_BOUNDS: &[u64] = bounds_ms![
    1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 20_000, 40_000, 80_000,
    160_000, 640_000, 2_560_000
];
const ITL_BOUNDS: &[u64] = bounds_ms![
    10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 20_000, 40_000,
    80_000
];
const REQUEST_BOUNDS: &[u64] = bounds_ms![
    300, 500, 800, 1_000, 1_500, 2_000, 2_500, 5_000, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000, 60_000,
    120_000, 240_000, 480_000, 960_000, 1_920_000, 7_680_000
];

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

    /// (upper bound in ns, cumulative count) as Prometheus exposes it; the last is `+Inf` as `u64::MAX`.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let bounds = self.bounds.iter().copied().chain([u64::MAX]);
        bounds.zip(&self.counts).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((bound, *sum))
        })
    }

    /// `_count`.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// `_sum`, s.
    pub fn sum_secs(&self) -> f64 {
        self.sum_fs as f64 / 1e15
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

/// What one replica's engine publishes.
#[derive(Clone, Debug)]
pub struct Exporter {
    /// `vllm:prompt_tokens_total`.
    pub prompt_tokens: u64,
    /// `vllm:generation_tokens_total`.
    pub generation_tokens: u64,
    /// `vllm:request_success_total`.
    pub finished: u64,
    /// `vllm:num_preemptions_total`.
    pub preemptions: u64,
    /// `vllm:time_to_first_token_seconds`: from arrival at the engine.
    pub ttft: PromHistogram,
    /// `vllm:inter_token_latency_seconds`.
    pub itl: PromHistogram,
    /// `vllm:e2e_request_latency_seconds`.
    pub e2e: PromHistogram,
    /// `vllm:request_queue_time_seconds`.
    pub queue_time: PromHistogram,
    last: Reading,
}

/// What a scrape keeps of the one before it.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    at: SimTime,
    busy: SimDuration,
    values: [f64; Series::COUNT],
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
    fn milli(self, busy_share: f64) -> i64 {
        let cores = self.idle_cores + (self.busy_cores - self.idle_cores) * busy_share;
        (cores * 1000.0).ceil() as i64
    }

    /// What the kubelet reports of a container whose engine does not answer yet. How much CPU loading
    /// takes is not in a profile: it counts as idle.
    pub fn loading(self, now: SimTime, window: SimDuration) -> PodSample {
        let values = [0.0; Series::COUNT];
        let cpu_milli = Some(self.milli(0.0));
        PodSample { at: now, window, values, rates: values, cpu_milli, engine_up: false }
    }
}

impl Exporter {
    /// The exporter of an engine that has just started at `now`.
    pub fn new(now: SimTime) -> Self {
        Self {
            prompt_tokens: 0,
            generation_tokens: 0,
            finished: 0,
            preemptions: 0,
            ttft: PromHistogram::new(TTFT_BOUNDS),
            itl: PromHistogram::new(ITL_BOUNDS),
            e2e: PromHistogram::new(REQUEST_BOUNDS),
            queue_time: PromHistogram::new(REQUEST_BOUNDS),
            last: Reading { at: now, ..Reading::default() },
        }
    }

    /// Tokens of a run of steps.
    pub fn decoded(&mut self, run: &DecodeRun) {
        self.generation_tokens += run.steps * u64::from(run.batch);
        self.itl.observe_run(run);
    }

    /// One scrape.
    pub fn scrape(
        &mut self,
        now: SimTime,
        gauges: Gauges,
        busy: SimDuration,
        cpu: Option<CpuModel>,
    ) -> PodSample {
        let window = now.since(self.last.at);
        let secs = window.as_secs_f64();
        let busy_share = if secs > 0.0 { (busy - self.last.busy).as_secs_f64() / secs } else { 0.0 };
        let mut values = [0.0; Series::COUNT];
        let mut set = |series: Series, value: f64| values[series as usize] = value;
        set(Series::RequestsRunning, f64::from(gauges.running));
        set(Series::RequestsWaiting, f64::from(gauges.waiting));
        set(Series::KvCacheUsage, gauges.blocks_used as f64 / gauges.blocks_total.max(1) as f64);
        set(Series::PromptTokens, self.prompt_tokens as f64);
        set(Series::GenerationTokens, self.generation_tokens as f64);
        set(Series::RequestSuccess, self.finished as f64);
        set(Series::Preemptions, self.preemptions as f64);
        set(Series::GpuUtilization, busy_share * 100.0);
        let mut rates = values;
        for series in Series::ALL.iter().filter(|s| s.is_counter()) {
            let index = *series as usize;
            let rise = values[index] - self.last.values[index];
            rates[index] = if secs > 0.0 { rise / secs } else { 0.0 };
        }
        self.last = Reading { at: now, busy, values };
        let cpu_milli = cpu.map(|c| c.milli(busy_share));
        PodSample { at: now, window, values, rates, cpu_milli, engine_up: true }
    }
}

/// All samples of one scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// When.
    pub at: SimTime,
    /// By replica, in order of id.
    pub pods: Vec<(ReplicaId, PodSample)>,
    /// The gateway's.
    pub gateway: GatewaySample,
}

impl Scrape {
    /// A replica's sample.
    pub fn pod(&self, id: ReplicaId) -> Option<&PodSample> {
        let index = self.pods.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.pods[index].1)
    }
}

/// Scrapes on their way to the reader, oldest first.
#[derive(Clone, Debug)]
pub struct Pipeline {
    delay: SimDuration,
    scrapes: VecDeque<Scrape>,
}

impl Pipeline {
    /// A pipeline that takes `delay` from scrape to reader.
    pub fn new(delay: SimDuration) -> Self {
        Self { delay, scrapes: VecDeque::new() }
    }

    /// A new scrape enters.
    pub fn push(&mut self, scrape: Scrape) {
        self.scrapes.push_back(scrape);
    }

    /// The newest scrape that is readable at `now`; older ones are forgotten.
    pub fn read(&mut self, now: SimTime) -> Option<&Scrape> {
        let readable = self.scrapes.iter().take_while(|s| s.at.saturating_add(self.delay) <= now).count();
        self.scrapes.drain(..readable.saturating_sub(1));
        self.scrapes.front().filter(|_| readable > 0)
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
            let run = DecodeRun { first_fs, rise_fs, steps, batch };
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

    #[test]
    fn a_reader_sees_the_newest_scrape_that_has_reached_it() {
        let gateway =
            GatewaySample { at: SimTime::ZERO, queue_length: 0.0, in_flight: 0.0, requests_per_second: 0.0 };
        let mut pipeline = Pipeline::new(SimDuration::from_secs(10));
        for secs in [15, 30, 45] {
            let at = SimTime::from_secs(secs);
            pipeline.push(Scrape { at, pods: Vec::new(), gateway: gateway.clone() });
        }
        let mut check = |now: u64, expected: Option<u64>| {
            let read = pipeline.read(SimTime::from_secs(now)).map(|s| s.at);
            assert_eq!(read, expected.map(SimTime::from_secs), "{now}");
        };
        check(24, None);
        check(25, Some(15));
        check(39, Some(15));
        check(60, Some(45));
    }

    #[test]
    fn rates_and_utilisation_are_over_the_scrape_window() {
        let secs = SimDuration::from_secs;
        let mut exporter = Exporter::new(SimTime::ZERO);
        let cpu = Some(CpuModel { idle_cores: 0.5, busy_cores: 2.5 });
        exporter.generation_tokens = 300;
        exporter.scrape(SimTime::from_secs(15), Gauges::default(), secs(15), cpu);
        exporter.generation_tokens = 450;
        let sample = exporter.scrape(SimTime::from_secs(30), Gauges::default(), secs(18), cpu);
        assert!((sample.metric(Series::GenerationTokens).unwrap() - 10.0).abs() < 1e-12);
        assert!((sample.metric(Series::GpuUtilization).unwrap() - 20.0).abs() < 1e-12);
        assert_eq!(sample.cpu_milli, Some(900));
    }
}
