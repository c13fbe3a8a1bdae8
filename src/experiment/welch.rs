//! Student's t for a difference of two sides, and Holm's correction for many of them.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// An estimate with what a test of it needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// The estimate.
    pub estimate: f64,
    /// Its standard error; 0 where the values do not scatter at all.
    pub standard_error: f64,
    /// Degrees of freedom of its t distribution; with unequal variances no whole number.
    pub degrees_of_freedom: f64,
}

/// Mean and variance of a sample; `None` for fewer than two values.
fn moments(values: &[f64]) -> Option<(f64, f64)> {
    let first = *values.first()?;
    let count = values.len();
    // Equal values do not scatter; summing and dividing them could invent some.
    if count > 1 && values.iter().all(|value| value.to_bits() == first.to_bits()) {
        return Some((first, 0.0));
    }
    let mean = values.iter().sum::<f64>() / count as f64;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (count > 1).then(|| (mean, squares / (count - 1) as f64))
}

/// `new - weight * base`, pair by pair. `None` for fewer than two pairs, or sides of different lengths.
pub fn paired(base: &[f64], new: &[f64], weight: f64) -> Option<Contrast> {
    if base.len() != new.len() {
        return None;
    }
    let differences: Vec<f64> = base.iter().zip(new).map(|(base, new)| less(*new, weight * base)).collect();
    let (estimate, variance) = moments(&differences)?;
    let count = differences.len() as f64;
    let standard_error = (variance / count).sqrt();
    Some(Contrast { estimate, standard_error, degrees_of_freedom: count - 1.0 })
}

/// `new - weight * base` of two independent samples with unequal variances: Welch's t, with the degrees of freedom of Welch and
/// Satterthwaite. `None` where a side has fewer than two values.
pub fn welch(base: &[f64], new: &[f64], weight: f64) -> Option<Contrast> {
    let ((base_mean, base_variance), (new_mean, new_variance)) = (moments(base)?, moments(new)?);
    let of_base = weight * weight * base_variance / base.len() as f64;
    let of_new = new_variance / new.len() as f64;
    let squared = of_base + of_new;
    let parts = of_base * of_base / (base.len() - 1) as f64 + of_new * of_new / (new.len() - 1) as f64;
    let pooled = (base.len() + new.len() - 2) as f64;
    let degrees_of_freedom =
        if parts > 0.0 { (squared * squared / parts).clamp(1.0, pooled) } else { pooled };
    let estimate = less(new_mean, weight * base_mean);
    Some(Contrast { estimate, standard_error: squared.sqrt(), degrees_of_freedom })
}

/// `a - b`, and nothing where only the last digits of both differ: rounding is no change.
pub fn less(a: f64, b: f64) -> f64 {
    let difference = a - b;
    if difference.abs() <= 1e-9 * a.abs().max(b.abs()) { 0.0 } else { difference }
}

impl Contrast {
    /// The p-value of "no difference".
    pub fn two_sided(&self) -> f64 {
        rounded(2.0 * self.tail(self.estimate.abs())).min(1.0)
    }

    /// The p-value of "not above `limit`": small where it is above.
    pub fn above(&self, limit: f64) -> f64 {
        rounded(self.tail(self.estimate - limit))
    }

    /// How likely an estimate this far above is by chance.
    fn tail(&self, above: f64) -> f64 {
        if self.standard_error <= 0.0 {
            // Without scatter there is no chance in it; nothing at all is as likely above as below.
            return if above > 0.0 {
                0.0
            } else if above < 0.0 {
                1.0
            } else {
                0.5
            };
        }
        self.distribution().sf(above / self.standard_error)
    }

    /// The interval that covers all but `level`.
    pub fn interval(&self, level: f64) -> (f64, f64) {
        let half_width = if self.standard_error > 0.0 {
            // Rounded, so that the last digits of a platform's `ln` and `exp` reach no file.
            let t = self.distribution().inverse_cdf(1.0 - level / 2.0);
            (t * 1e6).round() / 1e6 * self.standard_error
        } else {
            0.0
        };
        (self.estimate - half_width, self.estimate + half_width)
    }

    fn distribution(&self) -> StudentsT {
        StudentsT::new(0.0, 1.0, self.degrees_of_freedom).expect("there is at least one degree of freedom")
    }
}

/// A p-value without the last digits of a platform's arithmetic.
pub(super) fn rounded(p: f64) -> f64 {
    (p.clamp(0.0, 1.0) * 1e9).round() / 1e9
}

/// Holm's step-down correction: what each p-value counts for among all of them. Those at or below a level are rejected at it, and
/// the chance of even one false rejection is not above it, however the tests depend on each other.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut highest: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        highest = highest.max((p_values.len() - rank) as f64 * p_values[index]).min(1.0);
        adjusted[index] = highest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::paired_difference;
    use proptest::prelude::*;

    fn near(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance, "{a} and not {b}");
    }

    #[test]
    fn holm_by_hand() {
        let check = |p_values: &[f64], expected: &[f64]| {
            let adjusted = holm(p_values);
            assert_eq!(adjusted.len(), expected.len());
            for (a, b) in adjusted.iter().zip(expected) {
                near(*a, *b, 1e-12);
            }
        };
        check(&[], &[]);
        check(&[0.04], &[0.04]);
        // Sorted 0.005, 0.01, 0.03, 0.04; times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, and none below one before it.
        check(&[0.01, 0.04, 0.03, 0.005], &[0.03, 0.06, 0.06, 0.02]);
        // The first that is not rejected stops all after it: 0.02 alone would pass.
        check(&[0.03, 0.02, 0.02], &[0.06, 0.06, 0.06]);
        check(&[0.4, 0.9], &[0.8, 0.9]);
        check(&[0.6, 0.7], &[1.0, 1.0]);
        check(&[0.0, 0.0, 1.0], &[0.0, 0.0, 1.0]);
    }

    /// The three examples that encyclopaedias print with their t, degrees of freedom and p-value.
    #[test]
    fn welch_as_it_is_printed() {
        let check = |base: &[f64], new: &[f64], t: f64, freedom: f64, p: f64| {
            let found = welch(base, new, 1.0).unwrap();
            near(-found.estimate / found.standard_error, t, 0.005);
            near(found.degrees_of_freedom, freedom, 0.05);
            near(found.two_sided(), p, 0.0006);
        };
        let a1 = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4];
        let a2 = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4];
        check(&a1, &a2, -2.46, 25.0, 0.021);
        let b1 = [17.2, 20.9, 22.6, 18.1, 21.7, 21.4, 23.5, 24.2, 14.7, 21.8];
        let b2 = [
            21.5, 22.8, 21.0, 23.0, 21.6, 23.6, 22.5, 20.7, 23.4, 21.8, 20.7, 21.7, 21.5, 22.5, 23.6, 21.5,
            22.5, 23.5, 21.5, 21.8,
        ];
        check(&b1, &b2, -1.57, 9.9, 0.149);
        let c1 = [19.8, 20.4, 19.6, 17.8, 18.5, 18.9, 18.3, 18.9, 19.5, 22.0];
        let c2 = [
            28.2, 26.6, 20.1, 23.3, 25.2, 22.1, 17.7, 27.6, 20.6, 13.7, 23.2, 17.5, 20.6, 18.0, 23.9, 21.6,
            24.3, 20.4, 24.0, 13.2,
        ];
        check(&c1, &c2, -2.22, 24.5, 0.036);
    }

    #[test]
    fn tables_of_t() {
        let check = |freedom: f64, t: f64, p: f64| {
            let contrast = Contrast { estimate: t, standard_error: 1.0, degrees_of_freedom: freedom };
            // Half a unit of the table's last digit of t is up to 6e-5 of p.
            near(contrast.two_sided(), p, 6e-5);
            near(contrast.above(0.0), p / 2.0, 3e-5);
        };
        check(1.0, 12.706, 0.05);
        check(4.0, 2.776, 0.05);
        check(10.0, 3.169, 0.01);
        check(30.0, 2.042, 0.05);
    }

    #[test]
    #[allow(clippy::float_cmp)] // 0 and 1 exactly.
    fn no_scatter_and_too_few() {
        assert_eq!(welch(&[1.0], &[1.0, 2.0], 1.0), None);
        assert_eq!(paired(&[1.0], &[2.0], 1.0), None);
        assert_eq!(paired(&[1.0, 2.0], &[2.0], 1.0), None);
        let same = welch(&[0.1, 0.1], &[0.1, 0.1, 0.1], 1.0).unwrap();
        assert_eq!((same.estimate, same.two_sided(), same.interval(0.05)), (0.0, 1.0, (0.0, 0.0)));
        let shifted = paired(&[1.0, 2.0], &[2.0, 3.0], 1.0).unwrap();
        assert_eq!((shifted.two_sided(), shifted.above(0.5), shifted.above(1.5)), (0.0, 0.0, 1.0));
        // Rounding is no change.
        assert_eq!(paired(&[0.1 + 0.2, 1.0], &[0.3, 1.0], 1.0).unwrap().two_sided(), 1.0);
    }

    #[test]
    fn pairs_are_those_of_the_estimates() {
        let (base, new) = ([10.0, 21.0, 29.5, 33.0], [11.5, 21.5, 31.0, 36.0]);
        let (contrast, estimate) =
            (paired(&base, &new, 1.0).unwrap(), paired_difference(&base, &new).unwrap());
        near(contrast.estimate, estimate.mean, 1e-12);
        let ((low, high), (from, to)) = (contrast.interval(0.05), estimate.interval.unwrap());
        near(low, from, 1e-9);
        near(high, to, 1e-9);
    }

    proptest! {
        #[test]
        fn tests_are_numbers_and_symmetric(
            base in proptest::collection::vec(-1e6f64..1e6, 2..12),
            new in proptest::collection::vec(-1e6f64..1e6, 2..12),
        ) {
            let (there, back) = (welch(&base, &new, 1.0).unwrap(), welch(&new, &base, 1.0).unwrap());
            prop_assert!((there.estimate + back.estimate).abs() < 1e-6);
            prop_assert!((0.0..=1.0).contains(&there.two_sided()));
            prop_assert!((there.two_sided() - back.two_sided()).abs() < 1e-6);
            let (low, high) = there.interval(0.05);
            prop_assert!(low <= there.estimate && there.estimate <= high);
        }

        #[test]
        fn holm_keeps_the_order_and_is_between_one_and_all(p in proptest::collection::vec(0.0f64..=1.0, 1..20)) {
            let adjusted = holm(&p);
            for (a, raw) in adjusted.iter().zip(&p) {
                prop_assert!(*raw <= *a && *a <= (raw * p.len() as f64).min(1.0) + 1e-12 || *a <= 1.0 && a >= raw);
            }
            for (i, j) in (0..p.len()).flat_map(|i| (0..p.len()).map(move |j| (i, j))) {
                prop_assert!(p[i] > p[j] || adjusted[i] <= adjusted[j]);
            }
        }
    }
}
