//! Figures that rules compare settings with. All are estimates from the profile and the workload, on the side that
//! warns less; messages say what they are made of.

use crate::kernel::{Distribution, SimDuration, Streams};
use crate::outcome::Phase;
use crate::profile::step_time::FS_PER_NS;
use crate::sim::config::ReadyAfter;
use crate::sim::engine::{BLOCK_TOKENS, BatchParams};
use crate::sim::{EngineParams, Simulation, storage};
use crate::workload::{self, TraceStats};

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// Half of the time it is quicker.
    pub median: SimDuration,
    /// 19 times of 20 it is quicker.
    pub p95: SimDuration,
}

impl Times {
    /// Of stages one after another: medians add up, and independent stages are rarely all slow at once, so that
    /// what their 95th percentiles are above adds up as squares do.
    fn of_stages<'a>(stages: impl Iterator<Item = &'a Distribution>) -> Self {
        let (mut median, mut squares) = (SimDuration::ZERO, 0.0);
        for stage in stages {
            median += stage.median();
            squares += stage.quantile(0.95).saturating_sub(stage.median()).as_secs_f64().powi(2);
        }
        let above = SimDuration::from_secs_f64(squares.sqrt()).unwrap_or(SimDuration::ZERO);
        Self { median, p95: median + above }
    }
}

/// From a pod's placement on a node until requests are routed to it.
fn cold_start(simulation: &Simulation) -> Times {
    let readiness = &simulation.replica.readiness;
    let probed = |phase| readiness.after != ReadyAfter::Weights || phase != Phase::WarmingUp;
    let is_pull = |phase| phase == Phase::Pulling;
    let (image, weights) = storage::alone(&simulation.storage, first_pool(simulation));
    let fetched = [(Phase::Pulling, image), (Phase::Loading, weights)];
    let fetched = fetched.map(|(phase, time)| (phase, Distribution::Constant(time)));
    let drawn = simulation.first_start();
    let stages = || drawn.iter().chain(&fetched).filter(|(phase, _)| probed(*phase));
    let pull = Times::of_stages(stages().filter(|(phase, _)| is_pull(*phase)).map(|(_, time)| time));
    let start = Times::of_stages(stages().filter(|(phase, _)| !is_pull(*phase)).map(|(_, time)| time));
    // The probe is half a period late on average, and a whole one at worst.
    let half = SimDuration::from_nanos(readiness.period.as_nanos() / 2);
    let probe = readiness.endpoint_delay;
    let above = |times: Times| times.p95.saturating_sub(times.median).as_secs_f64().powi(2);
    let above = SimDuration::from_secs_f64((above(pull) + above(start)).sqrt()).unwrap_or(SimDuration::ZERO);
    let median = pull.median + start.median.max(readiness.initial_delay);
    Times { median: median + half + probe, p95: median + above + readiness.period + probe }
}

/// Figures of a scenario.
pub(super) struct Figures {
    /// From a pod's placement on a node until requests are routed to it.
    pub cold_start: Times,
    /// From a node's order until it takes pods; nothing where no node can be added.
    pub node: Times,
    /// What the server needs from its container's start until the probe can pass, median.
    pub container: SimDuration,
    /// Warm-up that readiness does not wait for, median.
    pub unwaited: SimDuration,
    /// Replicas that the pools hold.
    pub room: u32,
    /// The most replicas that a node holds.
    pub per_node: u32,
    /// The traffic.
    pub traffic: TraceStats,
    engine: EngineParams,
}

/// The pool that a first replica would come to: the first that takes replicas.
fn first_pool(simulation: &Simulation) -> usize {
    simulation.cluster.pools.iter().position(|pool| !pool.takes.is_empty()).unwrap_or(0)
}

impl Figures {
    /// Of a scenario.
    pub fn new(simulation: &Simulation) -> Self {
        let (cluster, readiness) = (&simulation.cluster, &simulation.replica.readiness);
        let gpus = simulation.replica.gpus_per_pod();
        let drawn = simulation.first_start();
        let medians = |keep: fn(Phase) -> bool| -> SimDuration {
            let stages = drawn.iter().filter(|(phase, _)| keep(*phase));
            stages.map(|(_, time)| time.median()).sum()
        };
        let warm_up: SimDuration = medians(|phase| phase == Phase::WarmingUp);
        let started: SimDuration = medians(|phase| !matches!(phase, Phase::Pulling | Phase::WarmingUp))
            + storage::alone(&simulation.storage, first_pool(simulation)).1;
        let waits = readiness.after != ReadyAfter::Weights;
        let pool = &cluster.pools[first_pool(simulation)].spec;
        let grows = pool.min_nodes < pool.max_nodes;
        Self {
            cold_start: cold_start(simulation),
            node: Times::of_stages([&pool.provision, &pool.setup].into_iter().filter(|_| grows)),
            container: if waits { started + warm_up } else { started },
            unwaited: if waits { SimDuration::ZERO } else { warm_up },
            room: cluster.room(gpus) / simulation.replica.group_size,
            per_node: cluster.pools.iter().map(|pool| pool.per_node(gpus)).max().unwrap_or(0),
            traffic: workload::stats(&*simulation.source, &Streams::new(simulation.seed, 0)),
            engine: simulation.engine.clone(),
        }
    }

    /// Requests that a replica works on at the same time; the others wait in it.
    pub fn at_work(&self) -> u32 {
        match &self.engine {
            EngineParams::Continuous { batch, .. } => batch.max_num_seqs,
            EngineParams::Workers { workers, .. } => workers.workers,
        }
    }

    /// The batching engine.
    fn batch(&self) -> Option<&BatchParams> {
        match &self.engine {
            EngineParams::Continuous { batch, .. } => Some(batch),
            EngineParams::Workers { .. } => None,
        }
    }

    /// The largest batch of mean requests: as many as the settings allow and the KV cache holds.
    pub fn batch_max(&self) -> Option<u32> {
        let batch = self.batch()?;
        let tokens = self.traffic.prompt_tokens.mean + self.traffic.output_tokens.mean;
        let held = (batch.kv_blocks * BLOCK_TOKENS) as f64 / tokens.max(1.0);
        Some(batch.max_num_seqs.min(held as u32).max(1))
    }

    /// Time between two tokens in a batch of mean requests, halfway through their answers: decoding alone, without
    /// the prefill that shares the steps of a busy replica.
    pub fn token_time(&self, sequences: u32) -> Option<SimDuration> {
        let batch = self.batch()?;
        let context = self.traffic.prompt_tokens.mean + self.traffic.output_tokens.mean / 2.0;
        let kv = (f64::from(sequences) * context) as u64;
        let kv = kv.min(batch.kv_blocks * BLOCK_TOKENS);
        let cell = batch.cost.decode_cell(sequences.clamp(1, batch.max_num_seqs), kv);
        Some(SimDuration::from_nanos(cell.time_fs(kv) / FS_PER_NS))
    }

    /// The largest batch whose tokens are no slower than `limit`; at least 1.
    pub fn batch_within(&self, limit: SimDuration) -> Option<u32> {
        let all = 1..=self.batch_max()?;
        let quick = all.take_while(|batch| self.token_time(*batch).is_some_and(|time| time <= limit));
        Some(quick.last().unwrap_or(1))
    }

    /// The batch of each of `replicas` that the busiest minute would settle at if it lasted.
    pub fn batch_at_peak(&self, replicas: u32) -> Option<u32> {
        let most = self.batch_max()?;
        let rate = self.traffic.rate_peak_1min / f64::from(replicas.max(1));
        let tokens = self.traffic.output_tokens.mean;
        // Little's law: so many are in the batch as arrive while one is answered.
        let keeps_up = |batch: &u32| {
            let answer = self.token_time(*batch).map_or(0.0, SimDuration::as_secs_f64) * tokens;
            f64::from(*batch) >= rate * answer
        };
        Some((1..most).find(keeps_up).unwrap_or(most))
    }

    /// What 1 answer in 100 takes longer than, once it has begun, and how that was estimated.
    pub fn long_answer(&self, replicas: u32) -> Option<(SimDuration, String)> {
        if let EngineParams::Workers { service, .. } = &self.engine {
            return Some((service.quantile(0.99), "the 99th percentile of the service time".to_owned()));
        }
        let batch = self.batch_at_peak(replicas)?;
        let (time, tokens) = (self.token_time(batch)?, self.traffic.output_tokens.p99);
        let whole = SimDuration::from_nanos(time.as_nanos().saturating_mul(u64::from(tokens)));
        let how = format!(
            "{tokens} tokens (99th percentile) at {:.0} ms in a batch of {batch}",
            time.as_millis_f64()
        );
        Some((whole, how))
    }
}

/// A duration in whole seconds, as messages show an estimate.
pub(super) fn whole(duration: SimDuration) -> SimDuration {
    const SECOND: u64 = 1_000_000_000;
    if duration.as_nanos() < 10 * SECOND {
        // Tenths, where seconds would say too little.
        return SimDuration::from_nanos(duration.as_nanos().div_ceil(SECOND / 10) * (SECOND / 10));
    }
    SimDuration::from_nanos(duration.as_nanos().div_ceil(SECOND) * SECOND)
}

/// A duration in whole minutes, as messages advise it.
pub(super) fn minutes(duration: SimDuration) -> SimDuration {
    SimDuration::from_secs(duration.as_nanos().div_ceil(60_000_000_000) * 60)
}
