//! A profiling sweep of an engine: steps over what prefills and what decodes, each along its whole range. Dynamo takes one on the
//! hardware or with a simulator of it; here it is asked of the profile's own step times.

use std::sync::Arc;

use crate::policy::engine_facts::SweptStep;
use crate::profile::step_time::StepCost;

/// Points along each axis.
const POINTS: u64 = 8;
/// Mean context of the sequences, tokens: the prompt and half the output that Dynamo's planner assumes before it sees any
/// (`isl` 3000, `osl` 150; `config/defaults.py`).
const CONTEXT: u64 = 3075;
/// Femtoseconds in a second.
const FS_PER_S: f64 = 1e15;

/// The steps of a sweep of an engine with this KV cache, token budget and most sequences.
pub(super) fn sweep(cost: &StepCost, kv_tokens: u64, budget: u32, max_num_seqs: u32) -> Arc<[SweptStep]> {
    let points = (1..=POINTS).flat_map(|kv| (0..POINTS).map(move |prefill| (kv, prefill)));
    let step = |(kv, prefill): (u64, u64)| {
        let decode_kv = (kv_tokens * kv / POINTS).max(1);
        let batch = (decode_kv / CONTEXT).clamp(1, u64::from(max_num_seqs)) as u32;
        let prefill_tokens = u64::from(budget.saturating_sub(batch)) * prefill / (POINTS - 1);
        let time_fs = if prefill_tokens == 0 {
            cost.decode_cell(batch, decode_kv).time_fs(decode_kv)
        } else {
            // One chunk without context: twice its attention work is its square.
            cost.mixed_fs(batch, decode_kv, prefill_tokens, prefill_tokens * prefill_tokens).0
        };
        SweptStep { prefill_tokens, decode_kv, time_s: time_fs as f64 / FS_PER_S }
    };
    points.map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_covers_the_cache_and_the_budget() {
        // 5 ms + 1 us a KV token + 20 us a prompt token.
        let cost = StepCost::affine([5_000_000_000_000, 0, 1_000_000_000], [0, 20_000_000_000, 0], 64);
        let found = sweep(&cost, 80_000, 2048, 64);
        assert_eq!(found.len(), 64);
        let at = |index: usize| (found[index].decode_kv, found[index].prefill_tokens);
        // 10000 KV tokens are three sequences, 80000 are 26.
        assert_eq!([at(0), at(7), at(63)], [(10_000, 0), (10_000, 2045), (80_000, 2022)]);
        for step in found.iter() {
            let expected = 0.005 + 1e-6 * step.decode_kv as f64 + 2e-5 * step.prefill_tokens as f64;
            assert!((step.time_s - expected).abs() < 1e-12, "{step:?}");
        }
    }
}
