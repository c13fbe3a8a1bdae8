//! Means and intervals over replications.
//!
//! Each figure is computed for every run and only then averaged: percentiles of several
//! runs are never pooled and sold as those of one. Intervals are Student's t at 95 %.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// What an interval over replications covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// One replication: there is no interval.
    None,
    /// Replications redraw start-up times, loop phases and routing; the trace stays as it is.
    InfrastructureOnly,
    /// Replications also redraw the traffic: synthetic arrivals, or resampled blocks of a trace.
    TrafficAndInfrastructure,
}

impl Coverage {
    /// The words reports use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none, one replication",
            Self::InfrastructureOnly => "infrastructure only, traffic fixed",
            Self::TrafficAndInfrastructure => "traffic and infrastructure",
        }
    }

    /// What the intervals of a scenario cover.
    pub const fn of(replications: u32, traffic_redrawn: bool) -> Self {
        match (replications, traffic_redrawn) {
            (0 | 1, _) => Self::None,
            (_, false) => Self::InfrastructureOnly,
            (_, true) => Self::TrafficAndInfrastructure,
        }
    }
}

/// A mean over replications with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean; +infinity if any member is.
    pub mean: f64,
    /// The 95 % interval; absent for fewer than two values and where the mean is infinite.
    pub interval: Option<(f64, f64)>,
    /// How many values it rests on.
    pub count: usize,
}

impl Estimate {
    /// The mean of the values and its interval; `None` without values, or if one is not a number.
    pub fn of(values: &[f64]) -> Option<Self> {
        let first = *values.first()?;
        if values.iter().any(|v| v.is_nan()) {
            return None;
        }
        let count = values.len();
        if values.iter().any(|v| v.is_infinite()) {
            let mean: f64 = values.iter().sum();
            return (!mean.is_nan()).then_some(Self { mean, interval: None, count });
        }
        // Equal values have no spread; summing and dividing them could invent one.
        if values.iter().all(|v| v.to_bits() == first.to_bits()) {
            return Some(Self { mean: first, interval: (count > 1).then_some((first, first)), count });
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        let standard_error = (squares / (count - 1) as f64 / count as f64).sqrt();
        let half_width = t_975(count - 1) * standard_error;
        Some(Self { mean, interval: Some((mean - half_width, mean + half_width)), count })
    }

    /// The estimate with its interval cut to what the figure can be at all.
    #[must_use]
    pub fn within(self, low: f64, high: f64) -> Self {
        let interval = self.interval.map(|(from, to)| (from.clamp(low, high), to.clamp(low, high)));
        Self { interval, ..self }
    }
}

/// The estimate of `other - base`, replication by replication: with common random numbers the
/// pairs share their luck, and the interval shrinks to what the policies differ in.
///
/// `None` if the lengths differ, there are no pairs, or a pair is infinite on both sides.
pub fn paired_difference(base: &[f64], other: &[f64]) -> Option<Estimate> {
    if base.len() != other.len() {
        return None;
    }
    let differences: Vec<f64> = base.iter().zip(other).map(|(b, o)| o - b).collect();
    Estimate::of(&differences)
}

/// The median; `None` without values. Of an even count, the mean of the middle two.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The 97.5 % point of Student's t.
fn t_975(degrees_of_freedom: usize) -> f64 {
    let t = StudentsT::new(0.0, 1.0, degrees_of_freedom as f64)
        .expect("there are at least two values, so at least one degree of freedom");
    // Rounded, so that the last digits of a platform's `ln` and `exp` reach no file.
    (t.inverse_cdf(0.975) * 1e6).round() / 1e6
}

/// Splits `units` in proportion to the weights by the method of largest remainders: the parts are
/// whole, off by less than one, and sum to `units` exactly. All zero if no weight is positive.
pub fn apportion(weights: &[f64], units: u64) -> Vec<u64> {
    let total: f64 = weights.iter().map(|w| w.max(0.0)).sum();
    if total <= 0.0 || !total.is_finite() {
        return vec![0; weights.len()];
    }
    let exact: Vec<f64> = weights.iter().map(|w| w.max(0.0) / total * units as f64).collect();
    let mut parts: Vec<u64> = exact.iter().map(|e| e.floor() as u64).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by(|a, b| (exact[*b] - exact[*b].floor()).total_cmp(&(exact[*a] - exact[*a].floor())));
    // Only positive weights may round up, and rounding can leave the floors one above the units.
    let mut missing = units.saturating_sub(parts.iter().sum());
    for index in order.iter().copied().filter(|i| exact[*i] > 0.0).cycle() {
        if missing == 0 {
            break;
        }
        parts[index] += 1;
        missing -= 1;
    }
    let mut excess = parts.iter().sum::<u64>().saturating_sub(units);
    for part in parts.iter_mut().rev() {
        let cut = excess.min(*part);
        *part -= cut;
        excess -= cut;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_t_table_is_the_printed_one() {
        // Two-sided 95 % points as any statistics textbook tabulates them.
        for (df, expected) in [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (19, 2.093), (120, 1.980)] {
            assert!((t_975(df) - expected).abs() < 5e-4, "{df}: {}", t_975(df));
        }
    }

    #[test]
    fn estimates() {
        let check = |values: &[f64], expected: Option<(f64, Option<(f64, f64)>)>| {
            let estimate = Estimate::of(values);
            match (estimate, expected) {
                (None, None) => {}
                (Some(e), Some((mean, interval))) => {
                    assert!(
                        e.mean.total_cmp(&mean).is_eq() || (e.mean - mean).abs() < 1e-9,
                        "{values:?}: {e:?}"
                    );
                    match (e.interval, interval) {
                        (None, None) => {}
                        (Some((a, b)), Some((c, d))) => {
                            assert!((a - c).abs() < 1e-4 && (b - d).abs() < 1e-4, "{values:?}: {e:?}");
                        }
                        other => panic!("{values:?}: {other:?}"),
                    }
                }
                other => panic!("{values:?}: {other:?}"),
            }
        };
        check(&[], None);
        check(&[f64::NAN], None);
        check(&[3.0], Some((3.0, None)));
        check(&[0.1, 0.1, 0.1], Some((0.1, Some((0.1, 0.1)))));
        // Standard error 1/sqrt(3), t = 4.302653.
        check(&[1.0, 2.0, 3.0], Some((2.0, Some((2.0 - 2.484_138, 2.0 + 2.484_138)))));
        check(&[1.0, f64::INFINITY], Some((f64::INFINITY, None)));
        check(&[f64::INFINITY, f64::NEG_INFINITY], None);
    }

    #[test]
    fn pairs_share_their_luck() {
        let base = [10.0, 20.0, 30.0];
        let other = [11.0, 21.0, 31.0];
        let difference = paired_difference(&base, &other).unwrap();
        assert_eq!(difference, Estimate { mean: 1.0, interval: Some((1.0, 1.0)), count: 3 });
        assert_eq!(paired_difference(&base, &other[..2]), None);
        assert_eq!(paired_difference(&[f64::INFINITY], &[f64::INFINITY]), None);
        assert!(paired_difference(&[1.0], &[f64::INFINITY]).unwrap().mean.is_infinite());
    }

    #[test]
    fn medians() {
        for (values, expected) in [
            (&[][..], None),
            (&[3.0][..], Some(3.0)),
            (&[4.0, 1.0][..], Some(2.5)),
            (&[9.0, 1.0, 5.0][..], Some(5.0)),
        ] {
            assert_eq!(median(values), expected);
        }
    }

    #[test]
    fn parts() {
        for (weights, units, expected) in [
            (&[1.0, 1.0, 1.0][..], 1000, &[334, 333, 333][..]),
            (&[0.0, 1.0][..], 1000, &[0, 1000][..]),
            (&[0.0, 0.0][..], 1000, &[0, 0][..]),
            (&[][..], 1000, &[][..]),
            (&[-1e-9, 2.0, 1.0][..], 3, &[0, 2, 1][..]),
        ] {
            assert_eq!(apportion(weights, units), expected, "{weights:?}");
        }
    }

    proptest! {
        #[test]
        fn parts_sum_and_stay_close(
            weights in proptest::collection::vec(0.0f64..1e15, 1..12), units in 0u64..10_000_000
        ) {
            let total: f64 = weights.iter().sum();
            prop_assume!(total > 0.0);
            let parts = apportion(&weights, units);
            prop_assert_eq!(parts.iter().sum::<u64>(), units);
            for (part, weight) in parts.iter().zip(&weights) {
                prop_assert!((*part as f64 - weight / total * units as f64).abs() < 1.001);
            }
        }

        #[test]
        fn the_mean_lies_in_its_interval(values in proptest::collection::vec(-1e6f64..1e6, 2..30)) {
            let estimate = Estimate::of(&values).unwrap();
            let (low, high) = estimate.interval.unwrap();
            prop_assert!(low <= estimate.mean && estimate.mean <= high);
        }
    }
}
