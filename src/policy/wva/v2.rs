//! The token-based analyzer (`internal/engines/analyzers/saturation_v2`) and the optimizer that goes by cost
//! (`internal/engines/pipeline/cost_aware_optimizer.go`).

use std::collections::VecDeque;

/// Observations that the average of a bucket holds (`RollingAverageWindowSize`).
pub const HISTORY: usize = 10;
/// Mean output lengths, tokens, below which an observation belongs to the first and to the second bucket.
const BUCKETS: [f64; 2] = [100.0, 500.0];

/// Thresholds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// `kvCacheThreshold`, a share of the KV cache.
    pub kv_cache: f64,
    /// `queueLengthThreshold`, requests.
    pub queue_length: f64,
    /// `scaleUpThreshold`: the utilisation that is grown to.
    pub scale_up: f64,
    /// `scaleDownBoundary`: the utilisation that is shrunk to.
    pub scale_down: f64,
}

/// The engine's arguments that bound what it computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arguments {
    /// `--max-num-batched-tokens`.
    pub max_num_batched_tokens: u32,
    /// `--max-num-seqs`.
    pub max_num_seqs: u32,
}

/// What a replica reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replica {
    /// Its KV cache, tokens.
    pub kv_tokens: i64,
    /// Of these, tokens in use.
    pub in_use: i64,
    /// Requests that wait in it.
    pub queue: i64,
    /// Mean prompt of its requests, tokens; 0 where it is not known.
    pub avg_input: f64,
    /// Mean output of its requests, tokens; 0 where it is not known.
    pub avg_output: f64,
}

/// What compute bounded saturated replicas to, by the length of outputs, tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History([VecDeque<f64>; 3]);

impl History {
    fn bucket(&mut self, avg_output: f64) -> &mut VecDeque<f64> {
        &mut self.0[BUCKETS.iter().filter(|bound| avg_output >= **bound).count()]
    }

    /// What a replica can hold, tokens: what fits the KV cache, or what it can compute if that is less.
    pub fn capacity(
        &mut self,
        replica: &Replica,
        thresholds: &Thresholds,
        arguments: Option<Arguments>,
    ) -> i64 {
        let of_memory = (replica.kv_tokens as f64 * thresholds.kv_cache) as i64;
        of_memory.min(self.of_compute(replica, thresholds, arguments).unwrap_or(of_memory))
    }

    /// What is in use while requests wait; else what it was on average when they did; else what the arguments allow.
    fn of_compute(
        &mut self,
        replica: &Replica,
        thresholds: &Thresholds,
        arguments: Option<Arguments>,
    ) -> Option<i64> {
        let bucket = self.bucket(replica.avg_output);
        if replica.queue >= thresholds.queue_length as i64 && replica.in_use > 0 {
            bucket.push_back(replica.in_use as f64);
            if bucket.len() > HISTORY {
                bucket.pop_front();
            }
            return Some(replica.in_use);
        }
        if !bucket.is_empty() {
            return Some((bucket.iter().sum::<f64>() / bucket.len() as f64) as i64);
        }
        arguments.and_then(|own| derived(own, replica.avg_input, replica.avg_output))
    }
}

/// The tokens that a replica holds when it admits as fast as it finishes: `N = min(B*O/(I+O), S)` sequences of `I + O/2`.
pub fn derived(arguments: Arguments, avg_input: f64, avg_output: f64) -> Option<i64> {
    if avg_output <= 0.0 {
        return None;
    }
    let batched = f64::from(arguments.max_num_batched_tokens) * avg_output / (avg_input + avg_output);
    let tokens = batched.min(f64::from(arguments.max_num_seqs)) * (avg_input + avg_output / 2.0);
    Some(tokens as i64).filter(|tokens| *tokens > 0)
}

/// Tokens that a replica's requests need, those that wait with their prompts.
pub fn demand(replica: &Replica) -> i64 {
    replica.in_use + replica.queue * (replica.avg_input.max(0.0) as i64)
}

/// A variant of a model: one Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Cost of a replica.
    pub cost: f64,
    /// Replicas there are.
    pub current: u32,
    /// Of these, not ready.
    pub pending: u32,
    /// What one of them holds, tokens; 0 where it is not known.
    pub per_replica: f64,
    /// What their requests need, tokens.
    pub demand: f64,
}

/// The middle of several capacities, tokens; of an even number the mean of the two, towards zero.
pub fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    let n = values.len();
    match n {
        0 => None,
        _ if n.is_multiple_of(2) => Some(i64::midpoint(values[n / 2 - 1], values[n / 2])),
        _ => Some(values[n / 2]),
    }
}

/// What a model lacks and what it could spare, tokens; one of them at least is 0, unless the thresholds overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signals {
    /// Capacity beyond what there is and is pending.
    pub required: f64,
    /// Capacity that the ready replicas could do without.
    pub spare: f64,
}

/// Holds demand against supply. `queued` are tokens of requests that wait before the replicas.
pub fn analyze(variants: &[Variant], queued: f64, thresholds: &Thresholds) -> Signals {
    let (mut supply, mut coming, mut needed) = (0.0, 0.0, queued);
    for own in variants {
        let ready = f64::from(own.current.saturating_sub(own.pending));
        supply += ready * own.per_replica;
        coming += (ready + f64::from(own.pending)) * own.per_replica;
        needed += own.demand;
    }
    Signals {
        required: (needed / thresholds.scale_up - coming).max(0.0),
        spare: (supply - needed / thresholds.scale_down).max(0.0),
    }
}

/// The replicas to ask for, variant by variant: more of the one that costs least by its capacity, fewer of the dearest.
pub fn targets(signals: Signals, variants: &[Variant]) -> Vec<u32> {
    let mut targets: Vec<u32> = variants.iter().map(|own| own.current).collect();
    let mut order: Vec<usize> =
        (0..variants.len()).filter(|index| variants[*index].per_replica > 0.0).collect();
    if signals.required > 0.0 {
        let price = |index: &usize| variants[*index].cost / variants[*index].per_replica;
        order.sort_by(|a, b| price(a).total_cmp(&price(b)));
        if let Some(index) = order.first() {
            let more = (signals.required / variants[*index].per_replica).ceil();
            targets[*index] = targets[*index].saturating_add(more as u32);
        }
    } else if signals.spare > 0.0 {
        let cost = |index: usize| variants[index].cost;
        order.sort_by(|a, b| cost(*b).total_cmp(&cost(*a)));
        let cheapest = (0..variants.len()).min_by(|a, b| cost(*a).total_cmp(&cost(*b)));
        let mut left = signals.spare;
        for index in order {
            let others = targets.iter().enumerate().any(|(other, count)| other != index && *count > 0);
            let least = u32::from(Some(index) == cheapest && !others);
            let most = targets[index].saturating_sub(least);
            let fewer = ((left / variants[index].per_replica).floor() as u32).min(most);
            targets[index] -= fewer;
            left -= f64::from(fewer) * variants[index].per_replica;
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Thresholds =
        Thresholds { kv_cache: 0.8, queue_length: 5.0, scale_up: 0.85, scale_down: 0.7 };
    const ARGUMENTS: Option<Arguments> = Some(Arguments { max_num_batched_tokens: 2048, max_num_seqs: 256 });

    fn replica(in_use: i64, queue: i64, avg_output: f64) -> Replica {
        Replica { kv_tokens: 100_000, in_use, queue, avg_input: 300.5, avg_output }
    }

    #[test]
    fn capacity_is_observed_then_remembered_then_derived() {
        let mut own = History::default();
        let mut at = |in_use, queue, output, arguments| {
            own.capacity(&replica(in_use, queue, output), &DEFAULT, arguments)
        };
        // Nothing is known: the KV cache.
        assert_eq!(at(1_000, 0, 0.0, ARGUMENTS), 80_000);
        assert_eq!(at(1_000, 0, 200.0, None), 80_000);
        // 2048 * 200 / 500.5 is 818 sequences, of which 256 may run, of 400.5 tokens.
        assert_eq!(at(1_000, 0, 200.0, ARGUMENTS), 80_000);
        assert_eq!(at(1_000, 0, 20.0, ARGUMENTS), 39_681);
        // Requests wait, so what is in use is all there can be, and is remembered for outputs of that length.
        assert_eq!(at(50_000, 5, 200.0, ARGUMENTS), 50_000);
        assert_eq!(at(60_000, 9, 499.0, ARGUMENTS), 60_000);
        assert_eq!(at(10_000, 4, 100.0, ARGUMENTS), 55_000);
        assert_eq!(at(10_000, 4, 500.0, None), 80_000);
        // Never more than the KV cache allows.
        assert_eq!(at(95_000, 7, 200.0, ARGUMENTS), 80_000);
    }

    #[test]
    fn the_memory_is_of_ten_observations() {
        let mut own = History::default();
        for in_use in 1..=12 {
            own.capacity(&replica(in_use * 1_000, 5, 50.0), &DEFAULT, None);
        }
        // The mean of 3000 to 12000.
        assert_eq!(own.capacity(&replica(1, 0, 50.0), &DEFAULT, None), 7_500);
    }

    #[test]
    fn demand_counts_what_waits_by_whole_tokens() {
        assert_eq!(demand(&replica(1_000, 3, 10.0)), 1_900);
        assert_eq!(
            [vec![], vec![5], vec![9, 1, 5], vec![4, 1]].map(median),
            [None, Some(5), Some(5), Some(2)]
        );
    }

    fn variant(name: &str, cost: f64, current: u32, pending: u32, per_replica: f64, demand: f64) -> Variant {
        Variant { name: name.to_owned(), cost, current, pending, per_replica, demand }
    }

    #[test]
    fn supply_on_its_way_counts_upwards_only() {
        let check = |own: Variant, queued, expected| {
            let signals = analyze(std::slice::from_ref(&own), queued, &DEFAULT);
            assert_eq!(targets(signals, &[own]), [expected]);
        };
        // 1000 / 0.85 over 500 is 2.35 replicas.
        check(variant("a", 1.0, 2, 0, 500.0, 1_000.0), 0.0, 3);
        check(variant("a", 1.0, 3, 1, 500.0, 1_000.0), 0.0, 3);
        check(variant("a", 1.0, 2, 0, 500.0, 800.0), 1_000.0, 5);
        // 4 * 500 - 690 / 0.7 is a little more than 1000: two fewer.
        check(variant("a", 1.0, 4, 0, 500.0, 690.0), 0.0, 2);
        check(variant("a", 1.0, 4, 2, 500.0, 690.0), 0.0, 4);
        check(variant("a", 1.0, 4, 0, 500.0, 0.0), 0.0, 1);
        check(variant("a", 1.0, 4, 0, 0.0, 700.0), 0.0, 4);
    }

    #[test]
    fn cost_chooses_the_variant() {
        let variants = [variant("dear", 20.0, 2, 0, 1_000.0, 0.0), variant("cheap", 5.0, 1, 0, 200.0, 0.0)];
        // 20 for 1000 is less than 5 for 200.
        assert_eq!(targets(Signals { required: 1_500.0, spare: 0.0 }, &variants), [4, 1]);
        // 2150 spare: both of the dear ones, and of the cheap one, now the last, nothing.
        assert_eq!(targets(Signals { required: 0.0, spare: 2_200.0 }, &variants), [0, 1]);
        // 900 spare is less than a dear one; a cheap one goes, as the others hold the model up.
        assert_eq!(targets(Signals { required: 0.0, spare: 900.0 }, &variants), [2, 0]);
        assert_eq!(targets(Signals::default(), &variants), [2, 1]);
    }
}
