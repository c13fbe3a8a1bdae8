//! The points that step times are fitted to, and the statistics of repeated timings.

use crate::raw::Timing;

/// Time of a step that decodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecodePoint {
    /// B.
    pub batch: u32,
    /// K, over the whole batch.
    pub kv_tokens: f64,
    /// µs.
    pub us: f64,
}

/// Time of a step that prefills one chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrefillPoint {
    /// New tokens.
    pub tokens: f64,
    /// Tokens already in the cache.
    pub context: f64,
    /// µs.
    pub us: f64,
}

impl PrefillPoint {
    /// A: attention work.
    pub fn work(&self) -> f64 {
        self.tokens * (self.context + self.tokens / 2.0)
    }
}

/// Repeated timings in three numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Median.
    pub median: f64,
    /// Median absolute deviation from it.
    pub mad: f64,
    /// Timings.
    pub n: usize,
}

impl Spread {
    /// Of some values; none of none, and none where the median is not positive and finite.
    pub fn of(values: &[f64]) -> Option<Self> {
        let median = quantile(values, 0.5)?;
        let deviations: Vec<f64> = values.iter().map(|v| (v - median).abs()).collect();
        let sound = median.is_finite() && median > 0.0;
        sound.then_some(Self { median, mad: quantile(&deviations, 0.5)?, n: values.len() })
    }

    /// Of the samples of a point.
    pub fn of_timing(timing: &Timing) -> Option<Self> {
        Self::of(&timing.samples_us)
    }

    /// Whether the timings scatter too much to be one figure: by more than 5 %.
    pub fn is_noisy(&self) -> bool {
        self.mad > 0.05 * self.median
    }
}

/// The quantile at `p`, linear between neighbours; none of no values.
pub fn quantile(values: &[f64], p: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = p * sorted.len().checked_sub(1)? as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    Some(sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64))
}

/// Six significant digits: what a measurement can bear, and what people can read.
pub fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let check = |values: &[f64], p, expected| assert_eq!(quantile(values, p), expected, "{values:?} {p}");
        check(&[], 0.5, None);
        check(&[3.0], 0.95, Some(3.0));
        check(&[4.0, 1.0, 2.0], 0.5, Some(2.0));
        check(&[1.0, 2.0, 3.0, 4.0], 0.5, Some(2.5));
        check(&[0.0, 100.0], 0.95, Some(95.0));
    }

    #[test]
    fn spreads() {
        let spread = Spread::of(&[10.0, 10.2, 9.9, 50.0, 10.0]).unwrap();
        assert_eq!((spread.median, spread.n), (10.0, 5));
        assert!((spread.mad - 0.1).abs() < 1e-9 && !spread.is_noisy());
        assert!(Spread::of(&[10.0, 12.0, 9.0, 11.0]).unwrap().is_noisy());
        assert_eq!(Spread::of(&[0.0, 0.0]), None);
    }

    #[test]
    fn six_digits_remain() {
        for (value, expected) in [(1.234_567_8, 1.234_57), (0.0, 0.0), (123_456_789.0, 123_457_000.0)] {
            assert_eq!(rounded(value).to_bits(), f64::to_bits(expected));
        }
    }
}
