//! How many requests a worker serves within the targets (`perf_model/agg.py` `find_best_engine_agg_rps`), and how many workers
//! that makes (`core/throughput_scaling.py`).

use super::regression::{Regression, Sample};
use crate::policy::engine_facts::EngineFacts;

/// The targets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sla {
    /// Time to first token, ms.
    pub ttft_ms: f64,
    /// Time between two tokens, ms.
    pub itl_ms: f64,
}

/// The engine's limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capabilities {
    /// Token budget of a step.
    pub max_num_batched_tokens: u32,
    /// Most sequences.
    pub max_num_seqs: u32,
    /// KV cache, tokens.
    pub max_kv_tokens: u64,
}

impl Capabilities {
    /// Those of an engine.
    pub fn of(engine: &EngineFacts) -> Self {
        Self {
            max_num_batched_tokens: engine.max_num_batched_tokens,
            max_num_seqs: engine.max_num_seqs,
            max_kv_tokens: engine.kv_cache_tokens,
        }
    }
}

/// What a worker serves at its best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// Requests/s.
    pub per_s: f64,
    /// Time to first token then, ms.
    pub ttft_ms: f64,
    /// Time between two tokens then, ms.
    pub itl_ms: f64,
}

/// The largest batch within both targets and the requests/s it finishes, by Little's law: batch / (output * step). Where not
/// even a batch of one is within them, that one. `None` while the model of the engine is not ready.
pub fn best_rps(model: &Regression, isl: f64, osl: f64, engine: &Capabilities, sla: Sla) -> Option<Best> {
    // Negated, so that what is no number is caught, too.
    if !(isl > 0.0 && osl > 0.0) {
        return None;
    }
    let budget = f64::from(engine.max_num_batched_tokens);
    let context = isl + osl / 2.0;
    let of_kv = (engine.max_kv_tokens as f64 / context.max(1.0)).floor().max(1.0);
    let most = of_kv.min(f64::from(engine.max_num_seqs)).min(budget - 1.0).max(1.0);
    // Beyond, prompts come faster than the rest of the budget prefills them.
    let balanced = (budget - isl / osl).floor().max(1.0);
    let mut best: Option<Best> = None;
    for batch in 1..=most.min(balanced) as u32 {
        let batch = f64::from(batch);
        let (kv, prefill) = (batch * context, (batch * isl / osl.max(1.0)).min(budget));
        let step = model.step(prefill, kv)?;
        let ttft = model.next_ttft(prefill.trunc(), engine.max_num_batched_tokens, kv.trunc())?;
        let found = Best { per_s: batch / (osl * step), ttft_ms: ttft * 1000.0, itl_ms: step * 1000.0 };
        if found.itl_ms > sla.itl_ms || found.ttft_ms > sla.ttft_ms {
            return Some(best.unwrap_or(found));
        }
        best = Some(found);
    }
    best
}

/// Workers for a demand, requests/s.
pub fn workers(demand_per_s: f64, best: Best, min_endpoint: u32) -> u32 {
    ((demand_per_s / best.per_s).ceil().max(0.0) as u32).max(min_endpoint)
}

/// The engine's sweep as samples of its steps.
pub fn samples(engine: &EngineFacts) -> impl Iterator<Item = Sample> + '_ {
    engine.sweep.iter().map(|step| ([step.prefill_tokens as f64, step.decode_kv as f64], step.time_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::dynamo::autoscaler::tests::engine;

    fn model() -> Regression {
        let mut model = Regression::new(64, 5, 4);
        model.bootstrap(samples(&engine()));
        model
    }

    const LOOSE: Sla = Sla { ttft_ms: 1e9, itl_ms: 1e9 };

    /// A step by the engine's own formula, ms.
    fn step_ms(batch: f64, isl: f64, osl: f64) -> f64 {
        5.0 + 0.001 * batch * (isl + osl / 2.0) + 0.02 * (batch * isl / osl).min(2048.0)
    }

    #[test]
    fn the_sweep_tells_the_plane_of_an_affine_engine() {
        let found = model().step(100.0, 20_000.0).expect("it is fitted");
        assert!((found - 0.027).abs() < 1e-9, "{found}");
    }

    #[test]
    fn each_limit_bounds_the_batch() {
        let check = |isl: f64, osl: f64, sla: Sla, seqs: u32, expected_batch: f64| {
            let own = Capabilities { max_num_seqs: seqs, ..Capabilities::of(&engine()) };
            let best = best_rps(&model(), isl, osl, &own, sla).expect("it is ready");
            let expected = expected_batch / (osl * step_ms(expected_batch, isl, osl) / 1000.0);
            assert!(
                (best.per_s - expected).abs() < 1e-6 * expected,
                "{isl} {osl} {sla:?}: {best:?} and not {expected}"
            );
        };
        // The KV cache: 80000 / 1050 is 76; then the sequences.
        check(1000.0, 100.0, LOOSE, 1000, 76.0);
        check(1000.0, 100.0, LOOSE, 64, 64.0);
        // 5 + 1.05 b + 0.2 b <= 30.1: 20.
        check(1000.0, 100.0, Sla { itl_ms: 30.1, ..LOOSE }, 64, 20.0);
        // A batch of one already takes 6.25 ms.
        check(1000.0, 100.0, Sla { itl_ms: 6.0, ..LOOSE }, 64, 1.0);
        // The time to first token: without requests seen it is that of a step with the prompts of one.
        check(1000.0, 100.0, Sla { ttft_ms: 17.6, ..LOOSE }, 64, 10.0);
        // Each token of output brings a prompt of 2030 tokens: 18 tokens of the budget are left to decode.
        check(2030.0, 1.0, LOOSE, 64, 18.0);
    }

    #[test]
    fn workers_cover_the_demand() {
        let best = Best { per_s: 2.5, ttft_ms: 0.0, itl_ms: 0.0 };
        assert_eq!([0.0, 2.5, 2.6, 12.0].map(|demand| workers(demand, best, 1)), [1, 1, 2, 5]);
        assert_eq!((workers(-3.0, best, 2), workers(1e12, best, 1)), (2, u32::MAX));
        assert_eq!(best_rps(&model(), 0.0, 1.0, &Capabilities::of(&engine()), LOOSE), None);
        assert_eq!(best_rps(&Regression::new(64, 5, 4), 1.0, 1.0, &Capabilities::of(&engine()), LOOSE), None);
    }
}
