//! The least that any schedule can cost which keeps the SLO: a fluid relaxation.
//!
//! No starts, no queues, no limits, nothing idle: each request takes the least GPU time that its tokens can take in any step
//! ([`crate::profile::step_time::bound`]), on the cheapest GPU. Requests that the gate lets breach need not be served at all, and the dearest of
//! them are left out; what may be done after the trace ends, when money stops, is left out too. What remains is under the bill of
//! every policy, and may be far under it: batches are rarely full, and GPUs come whole.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{EngineParams, Simulation};
use crate::kernel::{SimDuration, SimTime, Streams};
use crate::profile::step_time::FS_PER_NS;
use crate::profile::step_time::bound::{Bound, Tokens};
use crate::workload::Request;

/// Tokens of a KV block.
const BLOCK: u64 = 16;

/// What a request must have had done to it when the trace ends, so as not to breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Prefill,
    All,
}

/// The least that serving a replication of the traffic can cost, US dollars, if at most `breach_share` of its requests breach.
///
/// # Errors
/// What stopped the traffic, if anything did.
pub fn least_cost_usd(sim: &Simulation, replication: u32, breach_share: f64) -> Result<f64, String> {
    let fluid = Fluid::new(sim, replication)?;
    let gpu_fs = fluid.least_gpu_fs(breach_share);
    let takes = sim.cluster.pools.iter().filter(|pool| !pool.takes.is_empty());
    let price = takes.map(|pool| pool.price_micro_usd).min().unwrap_or(0);
    // A GPU-hour is 3.6e18 fs, a dollar a million micro-dollars.
    Ok(gpu_fs / 3.6e18 * price as f64 / 1e6)
}

/// One replication's traffic as a fluid.
struct Fluid<'a> {
    sim: &'a Simulation,
    streams: Streams,
    /// When money stops.
    end: SimTime,
    arrived: u64,
    /// Of all that is due, with a batching engine.
    bound: Bound,
}

impl<'a> Fluid<'a> {
    fn new(sim: &'a Simulation, replication: u32) -> Result<Self, String> {
        let streams = Streams::new(sim.seed, u64::from(replication));
        let mut fluid = Self { sim, streams, end: SimTime::ZERO, arrived: 0, bound: Bound::default() };
        let mut last = SimTime::ZERO;
        for request in sim.source.requests(&streams) {
            fluid.arrived += 1;
            last = request.arrival;
        }
        if let Some(failure) = sim.source.failure() {
            return Err(failure);
        }
        fluid.end = sim.source.span().map_or(last, |span| SimTime::ZERO + span);
        if let EngineParams::Continuous { batch, .. } = &sim.engine {
            let due = sim.source.requests(&streams).map(|request| fluid.tokens(&request));
            let all = due.fold(Tokens::default(), std::ops::Add::add);
            let most_read = batch.kv_blocks.saturating_mul(BLOCK);
            let budget = u64::from(batch.max_num_batched_tokens);
            fluid.bound = batch.cost.bound(all, batch.max_num_seqs, most_read, budget);
        }
        Ok(fluid)
    }

    /// The least GPU time of all requests but the dearest that may breach, fs.
    fn least_gpu_fs(&self, breach_share: f64) -> f64 {
        let may_breach = (breach_share.clamp(0.0, 1.0) * self.arrived as f64).floor() as usize;
        // The dearest so far, the cheapest of them on top.
        let mut dearest: BinaryHeap<Reverse<u64>> = BinaryHeap::with_capacity(may_breach + 1);
        let mut sum = 0u128;
        for (id, request) in self.sim.source.requests(&self.streams).enumerate() {
            // Whole, so that the order is one and the same everywhere; downwards.
            let fs = self.least_fs(id as u64, &request) as u64;
            sum += u128::from(fs);
            dearest.push(Reverse(fs));
            if dearest.len() > may_breach {
                dearest.pop();
            }
        }
        let left_out: u128 = dearest.into_iter().map(|Reverse(fs)| u128::from(fs)).sum();
        (sum - left_out) as f64 * f64::from(self.sim.replica.gpus)
    }

    /// The least time of one replica that a request takes, fs.
    fn least_fs(&self, id: u64, request: &Request) -> f64 {
        match &self.sim.engine {
            EngineParams::Continuous { .. } => self.bound.of(self.tokens(request)),
            EngineParams::Workers { workers, .. } => {
                if self.due(request) != Due::All {
                    return 0.0;
                }
                let service = self.sim.engine.service(&self.streams, id);
                service.as_nanos() as f64 * FS_PER_NS as f64 / f64::from(workers.workers.max(1))
            }
        }
    }

    /// What must be done for a request while it is paid for.
    fn tokens(&self, request: &Request) -> Tokens {
        let all = Tokens::of_request(request.prompt_tokens, request.output_tokens);
        match self.due(request) {
            Due::All => all,
            Due::Prefill => all.prefill_only(),
            Due::Nothing => Tokens::default(),
        }
    }

    /// What of it is due by the end of the trace. One that can never run is rejected, whatever there is.
    fn due(&self, request: &Request) -> Due {
        if !self.sim.engine.fits(request.prompt_tokens, request.output_tokens) {
            return Due::Nothing;
        }
        let slo = self.sim.slo.unwrap_or_default();
        let timeout = Some(self.sim.gateway.request_timeout).filter(|timeout| !timeout.is_zero());
        let first = [slo.ttft, slo.e2e, timeout].into_iter().flatten().min();
        let tokens = u64::from(request.output_tokens.saturating_sub(1));
        let over = |each: SimDuration| SimDuration::from_nanos(each.as_nanos().saturating_mul(tokens));
        let rest = [slo.tpot, slo.itl].into_iter().flatten().min().map(over);
        let streamed = slo
            .ttft
            .zip(rest)
            .map(|(first, rest)| SimDuration::from_nanos(first.as_nanos().saturating_add(rest.as_nanos())));
        let all = [streamed, slo.e2e, timeout].into_iter().flatten().min();
        let is_due = |within: Option<SimDuration>| {
            within.is_some_and(|within| request.arrival.saturating_add(within) <= self.end)
        };
        match (is_due(all), is_due(first)) {
            (true, _) => Due::All,
            (false, true) => Due::Prefill,
            (false, false) => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::config::{InitialState, ReadyAfter};
    use super::super::engine::WorkersParams;
    use super::super::tests::{Script, batch_engine, packed, pool, result, secs, simulation};
    use super::*;
    use crate::kernel::Distribution;
    use std::sync::Arc;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
        #[test]
        fn no_schedule_costs_less(
            gaps in prop::collection::vec((prop_oneof![0u64..300, 1_000u64..9_000], 1u32..700, 1u32..160), 1..120),
            orders in prop::collection::vec((0u32..6, 0u32..2), 1..6),
            period_s in 5u64..40,
            tail_s in 0u64..50,
            seed in 0u64..4,
            cold: bool,
            workers in prop::option::of((1u32..4, 50u64..900)),
            e2e_s in prop::option::of(1u64..40),
            exact: bool,
        ) {
            let mut sim = simulation(batch_engine(exact), packed(&gaps, tail_s), seed);
            if let Some((workers, ms)) = workers {
                sim.engine = EngineParams::Workers {
                    workers: WorkersParams { workers, queue_limit: None, penalties: Arc::new([]) },
                    service: Distribution::Exponential { mean: SimDuration::from_millis(ms) },
                };
            }
            sim.slo.as_mut().unwrap().e2e = e2e_s.map(secs);
            sim.replica.readiness.after = if cold { ReadyAfter::Weights } else { ReadyAfter::WarmUp };
            sim.initial.state = if cold { InitialState::Cold } else { InitialState::Warm };
            sim.cluster.pools[0].spec = pool(4, 3);
            let outcome = result(&sim, Script::boxed(&orders, secs(period_s)), 0);
            let breaches = outcome.breaches.as_ref().expect("an SLO was given").total;
            // As many as it breached, and not one less for the rounding of the share.
            let share = (breaches as f64 + 0.5) / outcome.counts.arrived as f64;
            let least = least_cost_usd(&sim, 0, share).expect("in memory");
            prop_assert!(least <= outcome.ledger.cost_total(), "{least} {}", outcome.ledger.cost_total());
            let all = least_cost_usd(&sim, 0, 0.0).expect("in memory");
            prop_assert!(least <= all && (share < 1.0 || least == 0.0));
        }
    }

    #[test]
    fn workers_are_counted_by_their_service_times() {
        let gaps: Vec<_> = (0..100).map(|_| (1_000, 1, 1)).collect();
        let mut sim = simulation(batch_engine(false), packed(&gaps, 60), 1);
        sim.engine = EngineParams::Workers {
            workers: WorkersParams { workers: 4, queue_limit: None, penalties: Arc::new([]) },
            service: Distribution::Constant(secs(2)),
        };
        sim.slo.as_mut().unwrap().e2e = Some(secs(10));
        // 100 requests of 2 s, a quarter of a replica of 2 GPUs each, at $3.60 an hour: 100 GPU-seconds.
        let least = |share: f64| least_cost_usd(&sim, 0, share).unwrap();
        assert!((least(0.0) - 0.1).abs() < 1e-12, "{}", least(0.0));
        assert!((least(0.1) - 0.09).abs() < 1e-12);
        // Only those that must have ended when money stops: the last 10 s of the traffic may end after it.
        let mut short = sim.clone();
        short.source = packed(&gaps, 0);
        assert!((least_cost_usd(&short, 0, 0.0).unwrap() - 0.09).abs() < 1e-12);
        // Without a limit on the end, and a timeout as the only one.
        short.slo.as_mut().unwrap().e2e = None;
        assert!((least_cost_usd(&short, 0, 0.0).unwrap() - 0.08).abs() < 1e-12);
    }
}
