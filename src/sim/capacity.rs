//! Capacity of a replica: the highest Poisson rate of this workload's mix that one warm
//! replica serves within the SLO.

use std::sync::Arc;

use super::cluster::Plan;
use super::cluster::config::{BilledFrom, PoolSpec};
use super::config::{GatewaySpec, InitialSpec, InitialState, TelemetrySpec};
use super::{ReplicaParams, Simulation, run};
use crate::kernel::rng::Purpose;
use crate::kernel::{SimDuration, SimTime, Streams, dist};
use crate::outcome::RunOutcome;
use crate::policy::{Autoscaler, Decision, Loop, View};
use crate::workload::{Request, Source};

/// Requests of one trial.
const REQUESTS: u64 = 20_000;
/// Of those, the first that do not count.
const WARM_UP: u64 = REQUESTS / 10;
/// The search stops when the bracket is this narrow, relative to its upper end.
const PRECISION: f64 = 0.01;
/// A rate beyond which no replica is worth searching, requests/s.
const RATE_MAX: f64 = 1e6;

/// Poisson arrivals whose lengths are resampled from the whole workload.
struct Mix {
    rate_per_s: f64,
    lengths: Arc<[(u32, u32)]>,
}

impl Source for Mix {
    fn requests<'a>(&'a self, streams: &Streams) -> Box<dyn Iterator<Item = Request> + Send + 'a> {
        // One stream a purpose: the same lengths and the same unit gaps at every rate.
        let mut gaps = streams.stream(Purpose::Capacity, 0);
        let mut draws = streams.stream(Purpose::Capacity, 1);
        let mut at = 0.0;
        Box::new((0..REQUESTS).map(move |_| {
            at += dist::exponential(&mut gaps) / self.rate_per_s;
            let index = (dist::uniform(&mut draws) * self.lengths.len() as f64) as usize;
            let (prompt_tokens, output_tokens) = self.lengths[index.min(self.lengths.len() - 1)];
            let arrival = SimTime::ZERO + SimDuration::from_secs_f64(at).unwrap_or(SimDuration::MAX);
            Request { arrival, prompt_tokens, output_tokens }
        }))
    }

    fn span(&self) -> Option<SimDuration> {
        None
    }
}

/// One replica, for ever.
struct One;

impl Autoscaler for One {
    fn loops(&self) -> Vec<Loop> {
        Vec::new()
    }
    fn decide(&mut self, _: usize, _: &View<'_>) -> Option<Decision> {
        None
    }
    fn initial(&self) -> (u32, u32) {
        (1, 0)
    }
    fn maximum(&self) -> Option<u32> {
        None
    }
}

/// The search's result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Requests/s.
    pub per_s: f64,
    /// Breach share at that rate.
    pub breach_share: f64,
}

/// Searches the capacity of a replica of `sim` for requests of `lengths`, with at most
/// `breach_share_max` of them over the SLO; `None` if even the slowest trickle breaches, or there is no SLO.
///
/// # Errors
/// As [`run()`].
pub fn search(
    sim: &Simulation,
    lengths: &Arc<[(u32, u32)]>,
    breach_share_max: f64,
) -> Result<Option<Capacity>, String> {
    if sim.slo.is_none() || lengths.is_empty() {
        return Ok(None);
    }
    let trial = |rate_per_s: f64| -> Result<Option<Capacity>, String> {
        let outcome = trial(sim, rate_per_s, lengths)?;
        let share = breach_share(&outcome);
        let keeps_up =
            sim.slo.is_some_and(|s| s.ttft.or(s.e2e).or(s.queue_wait).is_some()) || keeps_up(&outcome);
        Ok((share <= breach_share_max && keeps_up)
            .then_some(Capacity { per_s: rate_per_s, breach_share: share }))
    };
    // Bracket in steps of four, then bisect.
    let mut low = None;
    let mut high = 1.0 / 64.0;
    while high < RATE_MAX {
        match trial(high)? {
            Some(held) => low = Some(held),
            None => break,
        }
        high *= 4.0;
    }
    let Some(mut low) = low else { return Ok(None) };
    while high - low.per_s > PRECISION * high {
        let middle = f64::midpoint(low.per_s, high);
        match trial(middle)? {
            Some(held) => low = held,
            None => high = middle,
        }
    }
    Ok(Some(low))
}

fn breach_share(outcome: &RunOutcome) -> f64 {
    let breaches = outcome.breaches.as_ref().map_or(0, |b| b.total);
    breaches as f64 / (REQUESTS - WARM_UP) as f64
}

/// Limits on token times alone do not bound a queue: then the replica must at least keep up with the arrivals.
fn keeps_up(outcome: &RunOutcome) -> bool {
    let (arrivals, all) = (outcome.trace_end.as_secs_f64(), outcome.run_end.as_secs_f64());
    let longest = outcome.latency.e2e.quantile(0.5).map_or(0.0, SimDuration::as_secs_f64);
    all - arrivals <= 0.05 * arrivals + 4.0 * longest.min(arrivals)
}

fn trial(sim: &Simulation, rate_per_s: f64, lengths: &Arc<[(u32, u32)]>) -> Result<RunOutcome, String> {
    let gpus = sim.replica.gpus;
    let pool = PoolSpec {
        min_nodes: 1,
        scale_down_unneeded: Some(SimDuration::MAX),
        billed_from: BilledFrom::Ready,
        ..PoolSpec::plain(gpus, 1)
    };
    // Scrapes change nothing here: one a day.
    let day = SimDuration::from_secs(86_400);
    let one = Simulation {
        storage: super::storage::Plan::default(),
        compile_cache: None,
        faults: Vec::new(),
        // What it serves while it is warm: a trickle must not let it go cold.
        replica: ReplicaParams { group_size: 1, cooling: None, keep_warm: None, ..sim.replica.clone() },
        rollouts: Vec::new(),
        source: Arc::new(Mix { rate_per_s, lengths: Arc::clone(lengths) }),
        gateway: GatewaySpec { request_timeout: SimDuration::ZERO, ..sim.gateway.clone() },
        cluster: Plan::of(pool, 0),
        initial: InitialSpec { replicas: Some(1), state: InitialState::Warm },
        telemetry: TelemetrySpec { scrape_interval: day, timeline_step: day, ..sim.telemetry.clone() },
        capacity_per_s: None,
        measure_from: WARM_UP,
        ..sim.clone()
    };
    run(&one, Box::new(One), 0, None).map(|(outcome, _)| outcome)
}
