//! Numbers of tokens over time, as Prometheus answers with them, step by step.

use std::collections::BTreeMap;

use rand::rngs::ChaCha8Rng;
use serde::Deserialize;

use crate::kernel::dist::uniform;

use super::lengths::LognormalTokens;

/// CV of the lengths where only their mean is known; an assumption, said in a warning.
pub(super) const ASSUMED_LENGTH_CV: f64 = 1.0;

/// One series of an answer.
#[derive(Deserialize)]
pub(super) struct Series {
    #[serde(default)]
    pub metric: BTreeMap<String, String>,
    #[serde(default)]
    pub values: Vec<(f64, String)>,
}

/// Samples by time in ms.
pub(super) type Samples = BTreeMap<i64, f64>;

/// The sum of series, sample by sample; what is not a number is left out.
pub(super) fn total(series: &[Series]) -> Samples {
    let mut sum = Samples::new();
    for (at, text) in series.iter().flat_map(|s| &s.values) {
        if let Some(value) = text.parse::<f64>().ok().filter(|v| v.is_finite()) {
            *sum.entry((at * 1e3).round() as i64).or_default() += value;
        }
    }
    sum
}

/// The steps of the request rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub first: i64,
    pub step_ms: i64,
    pub steps: usize,
}

impl Grid {
    pub fn index(self, at_ms: i64) -> Option<usize> {
        let since = at_ms.checked_sub(self.first)?;
        usize::try_from(since.saturating_add(self.step_ms / 2).div_euclid(self.step_ms))
            .ok()
            .filter(|index| *index < self.steps)
    }
}

pub(super) fn mean_tokens(means: &Samples, grid: Grid) -> Option<Tokens> {
    let mut by_step = vec![None; grid.steps];
    for (at, mean) in means {
        if let Some(slot) = grid.index(*at).and_then(|index| by_step.get_mut(index)) {
            *slot = (1.0..=1e8).contains(mean).then_some(*mean);
        }
    }
    let known: Vec<f64> = by_step.iter().flatten().copied().collect();
    if known.is_empty() {
        return None;
    }
    let overall = known.iter().sum::<f64>() / known.len() as f64;
    let lognormal =
        |mean: &Option<f64>| LognormalTokens::with_mean(mean.unwrap_or(overall), ASSUMED_LENGTH_CV);
    Some(Tokens::Means(by_step.iter().map(lognormal).collect()))
}

/// The histograms of the steps, and the share of requests beyond the largest bucket.
pub(super) fn bucket_tokens(series: &[Series], grid: Grid) -> Option<(Tokens, f64)> {
    let mut by_bound: Vec<(f64, Vec<&Series>)> = Vec::new();
    for one in series {
        let bound: f64 = one.metric.get("le")?.parse().ok().filter(|b: &f64| !b.is_nan())?;
        match by_bound.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
            Some((_, list)) => list.push(one),
            None => by_bound.push((bound, vec![one])),
        }
    }
    by_bound.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bounds: Vec<f64> = by_bound.iter().map(|(bound, _)| *bound).collect();
    let largest = bounds.iter().rposition(|b| b.is_finite())?;
    let width = bounds.len();
    // Cumulated counts, row by row; the last row sums all steps, for steps of which nothing is known.
    let mut cumulated = vec![0.0; width * (grid.steps + 1)];
    for (column, (_, list)) in by_bound.iter().enumerate() {
        for (at, value) in list.iter().flat_map(|s| &s.values) {
            let value = value.parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0);
            if let (Some(row), Some(value)) = (grid.index((at * 1e3).round() as i64), value) {
                cumulated[row * width + column] += value;
                cumulated[grid.steps * width + column] += value;
            }
        }
    }
    for row in cumulated.chunks_mut(width) {
        // Scrapes of several targets can leave a bucket below the one before it.
        for column in 1..width {
            row[column] = row[column].max(row[column - 1]);
        }
    }
    let overall = &cumulated[grid.steps * width..];
    let all = overall[width - 1];
    let beyond = 1.0 - overall[largest] / all;
    (all > 0.0).then_some((Tokens::Buckets { bounds, cumulated }, beyond))
}

/// A number of tokens, by step.
#[derive(Debug)]
pub(super) enum Tokens {
    Constant(u32),
    Means(Vec<LognormalTokens>),
    Buckets { bounds: Vec<f64>, cumulated: Vec<f64> },
}

impl Tokens {
    pub fn sample(&self, step: usize, rng: &mut ChaCha8Rng) -> u32 {
        match self {
            Self::Constant(count) => *count,
            Self::Means(means) => means[step.min(means.len() - 1)].sample(rng),
            Self::Buckets { bounds, cumulated } => {
                let width = bounds.len();
                let rows = cumulated.len() / width;
                let row = |index: usize| &cumulated[index * width..(index + 1) * width];
                let mut counts = row(step.min(rows - 1));
                if counts[width - 1] <= 0.0 {
                    counts = row(rows - 1);
                }
                bucket_value(bounds, counts, uniform(rng))
            }
        }
    }
}

/// The quantile of a histogram, in a straight line within a bucket as `histogram_quantile` does it.
fn bucket_value(bounds: &[f64], cumulated: &[f64], p: f64) -> u32 {
    let rank = p * cumulated[cumulated.len() - 1];
    let index = cumulated.partition_point(|c| *c < rank).min(bounds.len() - 1);
    let (below, low) = if index == 0 { (0.0, 0.0) } else { (cumulated[index - 1], bounds[index - 1]) };
    let high = bounds[index];
    let value = if high.is_finite() {
        let share = if cumulated[index] > below { (rank - below) / (cumulated[index] - below) } else { 1.0 };
        low + (high - low) * share
    } else {
        low
    };
    value.ceil().max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_quantiles_are_interpolated() {
        let check = |p: f64, expected: u32| {
            let bounds = [100.0, 200.0, f64::INFINITY];
            assert_eq!(bucket_value(&bounds, &[4.0, 8.0, 10.0], p), expected, "{p}");
        };
        check(0.0, 1);
        check(0.2, 50);
        check(0.6, 150);
        check(0.95, 200);
    }

    #[test]
    fn samples_fall_on_the_nearest_step() {
        let grid = Grid { first: 1000, step_ms: 100, steps: 3 };
        let check = |at, expected| assert_eq!(grid.index(at), expected, "{at}");
        check(1000, Some(0));
        check(1149, Some(1));
        check(1250, None);
        check(949, None);
        check(i64::MIN, None);
    }
}
