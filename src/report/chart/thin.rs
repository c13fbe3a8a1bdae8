//! Fewer points, and every peak still there: a pixel shows the highest of the values it stands for.

use serde::Serialize;

use crate::report::document_timeline::{NEVER_NS, TimelineDoc};

/// A timeline to be drawn, a column a series. Counts are of a bucket's busiest step, a rate; states are of the step with most replicas.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Thinned {
    /// End of each bucket, s.
    pub at: Vec<f64>,
    /// Arrivals a second.
    pub arrivals: Vec<f64>,
    /// Replicas by phase, in the phases' order: (phase, counts).
    pub replicas: Vec<(String, Vec<u32>)>,
    /// `spec.replicas`.
    pub ordered: Vec<u32>,
    /// Requests that wait at the gateway.
    pub held: Vec<u32>,
    /// Requests in the replicas.
    pub in_replicas: Vec<u32>,
    /// 99th percentile of the time to first token, s; `null` without arrivals.
    pub ttft_p99: Vec<Option<f64>>,
    /// Breaching requests, summed.
    pub breached: Vec<u32>,
    /// US dollars an hour.
    pub rate: Vec<f64>,
    /// Whether a first token never came; `ttft_p99` is then the worst that did come, or nothing.
    pub never: Vec<bool>,
}

impl Thinned {
    /// At most `most` buckets of a timeline that ends at `end_ns`.
    pub fn of(timeline: &TimelineDoc, end_ns: u64, most: usize) -> Self {
        // A step that begins at the end has no length: what it counts belongs to the one before.
        let begun = end_ns.div_ceil(timeline.step_ns.max(1)) as usize;
        let all = timeline.arrived.len();
        let steps = all.min(begun);
        let width = steps.div_ceil(most.max(1)).max(1);
        let mut thin = Self {
            replicas: timeline.replicas.keys().map(|phase| (phase.clone(), Vec::new())).collect(),
            ..Self::default()
        };
        let mut from = 0;
        while from < steps {
            let to = (from + width).min(steps);
            let bucket = from..to;
            let total = |index: &usize| timeline.replicas.values().map(|counts| counts[*index]).sum::<u32>();
            // Of equals the last: states are those at the end.
            let fullest = bucket.clone().max_by_key(total).unwrap_or(from);
            let most = |column: &[u32]| bucket.clone().map(|i| column[i]).max().unwrap_or(0);
            let end = (timeline.step_ns.saturating_mul(to as u64)).min(end_ns);
            thin.at.push(end as f64 / 1e9);
            let rates = bucket.clone().map(|index| arrival_rate(timeline, index, steps, end_ns));
            thin.arrivals.push(rates.fold(0.0, f64::max));
            for ((_, counts), column) in thin.replicas.iter_mut().zip(timeline.replicas.values()) {
                counts.push(column[fullest]);
            }
            thin.ordered.push(most(&timeline.ordered));
            thin.held.push(most(&timeline.held_requests));
            thin.in_replicas.push(most(&timeline.in_replicas));
            let worst = bucket.clone().filter_map(|i| timeline.ttft_p99_ns[i]);
            thin.never.push(worst.clone().any(|ns| ns == NEVER_NS));
            thin.ttft_p99.push(worst.filter(|ns| *ns != NEVER_NS).max().map(|ns| ns as f64 / 1e9));
            let counted = if to == steps { from..all } else { bucket.clone() };
            thin.breached.push(counted.map(|i| timeline.breached[i]).sum());
            thin.rate.push(bucket.map(|i| timeline.rate_micro_usd[i]).max().unwrap_or(0) as f64 / 1e6);
            from = to;
        }
        thin
    }
}

/// Arrivals a second of a step. The last one may be cut short: it is divided by the time it has, and where that is less than half a
/// step, in which one arrival would be a peak, seen together with the step before.
fn arrival_rate(timeline: &TimelineDoc, index: usize, steps: usize, end_ns: u64) -> f64 {
    let step_ns = timeline.step_ns;
    let arrived = |index: usize| f64::from(timeline.arrived[index]);
    let length = step_ns.min(end_ns.saturating_sub(step_ns.saturating_mul(index as u64)));
    let (count, length) = if index + 1 == steps && index > 0 && length < step_ns / 2 {
        (arrived(index) + arrived(index - 1), length + step_ns)
    } else {
        (arrived(index), length)
    };
    if length == 0 { 0.0 } else { count / (length as f64 / 1e9) }
}

/// Bands of (from, to, cause) in s, at most `most`: those nearer than a pixel become one, of the cause that lasted longest.
pub fn bands(all: &[(u64, u64, String)], end_ns: u64, most: usize) -> Vec<(f64, f64, &str)> {
    let pixel = end_ns / most.max(1) as u64;
    let mut merged: Vec<(u64, u64, &str, u64)> = Vec::new();
    for (from, to, cause) in all {
        let length = to - from;
        match merged.last_mut() {
            Some(last) if all.len() > most && (to - last.0 <= pixel) => {
                last.1 = *to;
                if length > last.3 {
                    (last.2, last.3) = (cause, length);
                }
            }
            _ => merged.push((*from, *to, cause, length)),
        }
    }
    merged.into_iter().map(|(from, to, cause, _)| (from as f64 / 1e9, to as f64 / 1e9, cause)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp)] // Whole counts.
    fn peaks_stay() {
        let steps = 10_000;
        let peak =
            |at: usize, height: u32| (0..steps).map(|i| if i == at { height } else { 1 }).collect::<Vec<_>>();
        let timeline = TimelineDoc {
            step_ns: 1_000_000_000,
            arrived: peak(3333, 70),
            finished: vec![0; steps],
            breached: vec![1; steps],
            held_requests: peak(7, 500),
            in_replicas: peak(9_999, 12),
            replicas: [("serving".to_owned(), peak(5001, 9)), ("held".to_owned(), vec![0; steps])]
                .into_iter()
                .collect(),
            ordered: vec![2; steps],
            rate_micro_usd: vec![3_600_000; steps],
            ttft_p50_ns: vec![None; steps],
            ttft_p99_ns: (0..steps).map(|i| (i == 5).then_some(2_000_000_000)).collect(),
        };
        let thin = Thinned::of(&timeline, 9_999_500_000_000, 700);
        assert!(thin.at.len() <= 700, "{}", thin.at.len());
        assert_eq!(thin.at.last(), Some(&9_999.5));
        assert_eq!(thin.arrivals.iter().copied().fold(0.0, f64::max), 70.0);
        assert_eq!(thin.held.iter().max(), Some(&500));
        assert_eq!(thin.in_replicas.last(), Some(&12));
        assert_eq!(thin.replicas[0].1.iter().max(), Some(&9));
        assert_eq!(thin.breached.iter().sum::<u32>(), 10_000);
        assert_eq!(thin.ttft_p99.iter().flatten().collect::<Vec<_>>(), [&2.0]);
    }

    #[test]
    #[allow(clippy::float_cmp)] // Few digits.
    fn the_last_step_is_as_long_as_it_is() {
        let timeline = |arrived: &[u32]| TimelineDoc {
            step_ns: 10_000_000_000,
            arrived: arrived.to_vec(),
            breached: vec![1; arrived.len()],
            held_requests: vec![0; arrived.len()],
            in_replicas: vec![0; arrived.len()],
            ordered: vec![0; arrived.len()],
            rate_micro_usd: vec![0; arrived.len()],
            ttft_p99_ns: vec![None; arrived.len()],
            ..TimelineDoc::default()
        };
        let thin = |arrived: &[u32], end_s: u64| Thinned::of(&timeline(arrived), end_s * 1_000_000_000, 100);
        // Of no length: not drawn, and its breaches are kept.
        let whole = thin(&[20, 20, 0], 20);
        assert_eq!(
            (whole.at, whole.arrivals, whole.breached),
            (vec![10.0, 20.0], vec![2.0, 2.0], vec![1, 2])
        );
        let part = thin(&[20, 20, 10], 25);
        assert_eq!((part.at, part.arrivals), (vec![10.0, 20.0, 25.0], vec![2.0; 3]));
        // One arrival in a sliver of a step is no peak.
        let sliver = thin(&[20, 20, 2], 21);
        assert_eq!((sliver.at, sliver.arrivals), (vec![10.0, 20.0, 21.0], vec![2.0; 3]));
        assert_eq!(thin(&[20], 0).at, Vec::<f64>::new());
    }

    #[test]
    fn bands_nearer_than_a_pixel_are_one() {
        let band = |from: u64, to: u64, cause: &str| (from, to, cause.to_owned());
        let all = [band(0, 10, "a"), band(20, 100, "b"), band(5_000, 5_001, "c"), band(9_000, 10_000, "d")];
        assert_eq!(bands(&all, 10_000, 4).len(), 4, "few enough as they are");
        let few: Vec<&str> = bands(&all, 10_000, 3).into_iter().map(|(.., cause)| cause).collect();
        assert_eq!(few, ["b", "c", "d"]);
    }
}
