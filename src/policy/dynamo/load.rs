//! Steps of one worker by what the workers do now (`core/load_scaling.py`, aggregated mode).

use super::regression::{Regression, Worker};
use super::throughput::{Capabilities, Sla};

/// KV usages of the easy modes between which nothing changes: (up above, down below).
const THROUGHPUT: (f64, f64) = (1.0, 0.6);
const LATENCY: (f64, f64) = (0.4, 0.1);

/// The easy modes: usage of the KV cache, what waits counted in. Any worker above takes one more, all below one fewer.
pub fn easy(workers: &[Worker], max_kv_tokens: u64, is_latency: bool, min_endpoint: u32) -> Option<u32> {
    let n = u32::try_from(workers.len()).ok().filter(|n| *n > 0)?;
    let (up, down) = if is_latency { LATENCY } else { THROUGHPUT };
    let mut usages =
        workers.iter().map(|own| (own.decode_kv + own.queued_kv + own.queued_prefill) / max_kv_tokens as f64);
    if usages.clone().any(|usage| usage > up) {
        return Some(n + 1);
    }
    (n > 1 && usages.all(|usage| usage < down)).then(|| (n - 1).max(min_endpoint))
}

/// What one of the two latencies asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wish {
    /// Workers; `None` for no change.
    workers: Option<u32>,
    /// The highest estimate, ms.
    worst_ms: f64,
}

/// What the estimates of both latencies ask for together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// Workers.
    pub workers: u32,
    /// The highest estimate of the time to first token, ms.
    pub ttft_ms: f64,
    /// The highest estimate of the time between tokens, ms.
    pub itl_ms: f64,
}

/// Targets and limits of the estimates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The targets.
    pub sla: Sla,
    /// The engine's limits.
    pub engine: Capabilities,
    /// `load_scaling_down_sensitivity` as a share.
    pub sensitivity: f64,
    /// `min_endpoint`.
    pub min_endpoint: u32,
}

/// By regression: one more when all workers are estimated above a target, one fewer when each could carry its part of one that
/// is gone. `None` while the model of the engine is not ready.
pub fn by_sla(workers: &[Worker], model: &Regression, bounds: &Bounds) -> Option<Asked> {
    let n = u32::try_from(workers.len()).ok().filter(|n| *n > 0)?;
    let (prefill, decode) = (ttft(workers, n, model, bounds)?, itl(workers, n, model, bounds)?);
    let wished = match (prefill.workers, decode.workers) {
        (Some(p), _) if p > n => p,
        (_, Some(d)) if d > n => d,
        (None, Some(d)) => d,
        (Some(p), Some(d)) if p < n && d < n => p.max(d),
        _ => n,
    };
    Some(Asked { workers: wished, ttft_ms: prefill.worst_ms, itl_ms: decode.worst_ms })
}

/// What one fewer would leave each with.
fn consolidation(n: u32) -> f64 {
    if n > 1 { f64::from(n) / f64::from(n - 1) } else { 1.0 }
}

/// `refused` are consolidations that no estimate allows; they count as a wish for what there is, and not as none.
fn wish(
    estimates: &[f64],
    target_ms: f64,
    n: u32,
    can_shrink: bool,
    refused: bool,
    min_endpoint: u32,
) -> Wish {
    let workers = if estimates.iter().all(|ms| *ms > target_ms) {
        Some(n + 1)
    } else if n > 1 && can_shrink {
        Some((n - 1).max(min_endpoint))
    } else {
        refused.then_some(n)
    };
    Wish { workers, worst_ms: estimates.iter().copied().fold(0.0, f64::max) }
}

fn ttft(workers: &[Worker], n: u32, model: &Regression, bounds: &Bounds) -> Option<Wish> {
    let (budget, share) = (bounds.engine.max_num_batched_tokens, consolidation(n));
    let mut estimates = Vec::with_capacity(workers.len());
    let mut refused = false;
    for own in workers {
        estimates.push(model.next_ttft(own.queued_prefill, budget, own.decode_kv)? * 1000.0);
        let kv = (own.decode_kv * share).trunc();
        // Its own prefill a request pays however many workers there are; only the queue's part has to fit.
        let alone = model.next_ttft(0.0, budget, kv)? * 1000.0;
        let after = model.next_ttft((own.queued_prefill * share).trunc(), budget, kv)? * 1000.0;
        let room = (bounds.sla.ttft_ms - alone) * bounds.sensitivity;
        refused |= room <= 0.0 || after - alone >= room;
    }
    refused &= n > 1;
    Some(wish(&estimates, bounds.sla.ttft_ms, n, !refused, refused, bounds.min_endpoint))
}

fn itl(workers: &[Worker], n: u32, model: &Regression, bounds: &Bounds) -> Option<Wish> {
    let share = consolidation(n);
    let mut estimates = Vec::with_capacity(workers.len());
    let mut refused = false;
    for own in workers {
        estimates.push(model.next_itl(own.decode_kv + own.queued_kv)? * 1000.0);
        let kv = ((own.decode_kv + own.queued_kv + own.queued_prefill) * share).trunc();
        refused |= kv >= bounds.engine.max_kv_tokens as f64
            || model.next_itl(kv)? * 1000.0 >= bounds.sla.itl_ms * bounds.sensitivity;
    }
    refused &= n > 1;
    Some(wish(&estimates, bounds.sla.itl_ms, n, !refused, refused, bounds.min_endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(decode_kv: f64, queued_prefill: f64) -> Worker {
        Worker { decode_kv, queued_prefill, ..Worker::default() }
    }

    #[test]
    fn easy_modes_go_by_the_fullest_and_by_all() {
        let check = |usages: &[(f64, f64)], is_latency, expected| {
            let workers: Vec<Worker> = usages.iter().map(|(kv, queued)| busy(*kv, *queued)).collect();
            assert_eq!(easy(&workers, 100, is_latency, 1), expected, "{usages:?} {is_latency}");
        };
        check(&[(100.0, 0.0), (10.0, 0.0)], false, None);
        check(&[(90.0, 11.0), (10.0, 0.0)], false, Some(3));
        check(&[(59.0, 0.0), (10.0, 0.0)], false, Some(1));
        check(&[(60.0, 0.0), (10.0, 0.0)], false, None);
        check(&[(59.0, 0.0)], false, None);
        check(&[(41.0, 0.0)], true, Some(2));
        check(&[(40.0, 0.0), (5.0, 0.0)], true, None);
        check(&[(9.0, 0.0), (5.0, 4.0)], true, Some(1));
        check(&[], true, None);
        assert_eq!(easy(&[busy(0.0, 0.0); 2], 100, true, 2), Some(2));
    }

    /// Steps of 5 ms + 1 us a KV token + 20 us a prompt token; prompts of 1000 tokens, sequences of 1000.
    fn model() -> Regression {
        let mut model = Regression::new(64, 5, 4);
        let points =
            (0..4).flat_map(|i| (0..4).map(move |j| [f64::from(i) * 500.0, f64::from(j) * 20_000.0]));
        model.bootstrap(points.map(|[p, k]| ([p, k], 0.005 + 2e-5 * p + 1e-6 * k)));
        model.observe(&[Worker {
            prefill_tokens: 100.0,
            decode_kv: 9e3,
            decoding: 9.0,
            mean_prompt: 1e3,
            ..Worker::default()
        }]);
        model
    }

    fn bounds(ttft_ms: f64, itl_ms: f64) -> Bounds {
        let engine = Capabilities { max_num_batched_tokens: 2000, max_num_seqs: 64, max_kv_tokens: 60_000 };
        Bounds { sla: Sla { ttft_ms, itl_ms }, engine, sensitivity: 0.8, min_endpoint: 1 }
    }

    fn asked(workers: &[Worker], ttft_ms: f64, itl_ms: f64) -> u32 {
        by_sla(workers, &model(), &bounds(ttft_ms, itl_ms)).expect("it is ready").workers
    }

    #[test]
    fn one_more_when_all_are_above_a_target() {
        // 5000 tokens wait: 6000 in three steps of 2000 tokens are 3 * (5 + 40 + 10) = 165 ms.
        let (late, idle) = (busy(10_000.0, 5_000.0), busy(10_000.0, 0.0));
        let found = by_sla(&[late; 2], &model(), &bounds(160.0, 1e9)).expect("it is ready");
        assert!((found.ttft_ms - 165.0).abs() < 1e-6, "{found:?}");
        assert_eq!(found.workers, 3);
        assert_eq!(asked(&[late, idle], 160.0, 1e9), 2);
        // A step: 5 + 100 * 0.02 + (30000 + 1000) / 1000 = 38 ms.
        assert_eq!(asked(&[busy(30_000.0, 0.0)], 1e9, 37.0), 2);
        assert_eq!(asked(&[busy(30_000.0, 0.0)], 1e9, 39.0), 1);
    }

    #[test]
    fn one_fewer_when_each_can_carry_its_part() {
        let idle = [busy(10_000.0, 0.0); 2];
        // After: 20000 + 1000 KV tokens, so 5 + 2 + 21 = 28 ms, against 0.8 of the target.
        assert_eq!(asked(&idle, 1e9, 36.0), 1);
        assert_eq!(asked(&idle, 1e9, 34.0), 2);
        // A prompt of its own takes 5 + 20 + 20 = 45 ms: no room is left below that.
        assert_eq!(asked(&idle, 46.0, 1e9), 1);
        assert_eq!(asked(&idle, 44.0, 1e9), 2);
        // Neither with a cache that would overflow, nor with a queue that would be too long.
        assert_eq!(asked(&[busy(30_000.0, 0.0); 2], 1e9, 1e9), 2);
        assert_eq!(asked(&[busy(29_999.0, 0.0); 2], 1e9, 1e9), 1);
        // 2 * 2000 waiting are two steps more: 2 * (5 + 40 + 20) = 130 ms, against 0.8 * (T - 45).
        assert_eq!(asked(&[busy(10_000.0, 2_000.0); 2], 210.0, 1e9), 1);
        assert_eq!(asked(&[busy(10_000.0, 2_000.0); 2], 207.0, 1e9), 2);
    }

    #[test]
    fn a_model_that_is_not_ready_asks_for_nothing() {
        assert_eq!(by_sla(&[busy(1.0, 1.0)], &Regression::new(64, 5, 4), &bounds(1.0, 1.0)), None);
        assert_eq!(by_sla(&[], &model(), &bounds(1.0, 1.0)), None);
    }
}
