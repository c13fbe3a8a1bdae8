//! Sums, quantiles and regressions over samples, with upstream's arithmetic: compensated sums where it
//! compensates, the same order of operations.

use super::store::Point;

/// One step of Kahan's summation in Neumaier's form (util/kahansum `Inc`): (sum, compensation).
pub(super) fn kahan(increment: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + increment;
    let compensation = if total.is_infinite() {
        0.0
    } else if sum.abs() >= increment.abs() {
        compensation + ((sum - total) + increment)
    } else {
        compensation + ((increment - total) + sum)
    };
    (total, compensation)
}

/// A sum (promql/functions.go `funcSumOverTime`).
pub(super) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, compensation) = values.fold((0.0, 0.0), |(sum, c), value| kahan(value, sum, c));
    if sum.is_infinite() { sum } else { sum + compensation }
}

/// A mean that goes over to an incremental one where the sum overflows (promql/functions.go
/// `funcAvgOverTime`, promql/engine.go `AVG`). NaN without values.
pub(super) fn mean(mut values: impl Iterator<Item = f64>) -> f64 {
    let Some(first) = values.next() else { return f64::NAN };
    let (mut sum, mut count) = (first, 1.0);
    let (mut mean, mut compensation) = (0.0, 0.0);
    let mut incremental = false;
    for value in values {
        count += 1.0;
        if !incremental {
            let (next, next_compensation) = kahan(value, sum, compensation);
            if !next.is_infinite() {
                (sum, compensation) = (next, next_compensation);
                continue;
            }
            incremental = true;
            mean = sum / (count - 1.0);
            compensation /= count - 1.0;
        }
        let kept = (count - 1.0) / count;
        (mean, compensation) = kahan(value / count, kept * mean, kept * compensation);
    }
    if incremental { mean + compensation } else { sum / count + compensation / count }
}

/// The greatest value; NaN only where all are (promql/functions.go `funcMaxOverTime`).
pub(super) fn greatest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NAN, |held, value| if value > held || held.is_nan() { value } else { held })
}

/// The least value; NaN only where all are.
pub(super) fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NAN, |held, value| if value < held || held.is_nan() { value } else { held })
}

/// The population variance (promql/functions.go `varianceOverTime`).
pub(super) fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let mut count = 0.0;
    let (mut mean, mut mean_c, mut square, mut square_c) = (0.0, 0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - (mean + mean_c);
        (mean, mean_c) = kahan(delta / count, mean, mean_c);
        (square, square_c) = kahan(delta * (value - (mean + mean_c)), square, square_c);
    }
    (square + square_c) / count
}

/// The quantile of values, which it sorts, NaN first; between two of them, their weighted mean
/// (promql/quantile.go `quantile`).
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| (!a.is_nan()).cmp(&!b.is_nan()).then(a.total_cmp(b)));
    let last = (values.len() - 1) as f64;
    let rank = q * last;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(last);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// Slope per second and value at `origin` (ms) of the least-squares line (promql/functions.go
/// `linearRegression`). `points` has at least two.
pub(super) fn regression(points: &[Point], origin: i64) -> (f64, f64) {
    let first = points.first().map_or(f64::NAN, |point| point.value);
    #[expect(clippy::float_cmp, reason = "upstream asks whether the value ever changed")]
    if points.iter().skip(1).all(|point| point.value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let n = points.len() as f64;
    let total = |term: &dyn Fn(f64, f64) -> f64| {
        let terms = points.iter().map(|point| term((point.at - origin) as f64 / 1e3, point.value));
        let (sum, compensation) = terms.fold((0.0, 0.0), |(sum, c), value| kahan(value, sum, c));
        sum + compensation
    };
    let (x, y) = (total(&|x, _| x), total(&|_, y| y));
    let covariance = total(&|x, y| x * y) - x * y / n;
    let slope = covariance / (total(&|x, _| x * x) - x * x / n);
    (slope, y / n - slope * x / n)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "what is exact is claimed to be")]
    use super::*;

    #[test]
    fn sums_compensate() {
        // promql/promqltest/testdata/aggregators.test: `sum` and `avg` of 1, 1e100, 1, -1e100.
        let values = [1.0, 1e100, 1.0, -1e100];
        assert!((sum(values.into_iter()) - 2.0).abs() < 1e-12);
        assert!((mean(values.into_iter()) - 0.5).abs() < 1e-12);
        assert!(sum([f64::INFINITY, 1.0].into_iter()).is_infinite());
        assert!(sum([f64::INFINITY, f64::NEG_INFINITY].into_iter()).is_nan());
    }

    #[test]
    fn a_mean_survives_the_overflow_of_its_sum() {
        let near = f64::MAX * 0.9;
        assert!((mean([near, near, near].into_iter()) / near - 1.0).abs() < 1e-12);
        assert!(mean(std::iter::empty()).is_nan());
    }

    #[test]
    fn extremes_pass_over_nan() {
        assert_eq!(greatest([f64::NAN, 1.0, 3.0, f64::NAN].into_iter()), 3.0);
        assert_eq!(least([2.0, f64::NAN, 1.0].into_iter()), 1.0);
        assert!(greatest([f64::NAN].into_iter()).is_nan());
    }

    #[test]
    fn quantiles_interpolate() {
        let check = |q: f64, expected: f64| {
            assert!((quantile(q, &mut [3.0, 1.0, 2.0, 4.0]) - expected).abs() < 1e-12, "{q}");
        };
        check(0.0, 1.0);
        check(0.5, 2.5);
        check(0.9, 3.7);
        check(1.0, 4.0);
        assert_eq!(quantile(-0.1, &mut [1.0]), f64::NEG_INFINITY);
        assert_eq!(quantile(1.1, &mut [1.0]), f64::INFINITY);
        assert!(quantile(f64::NAN, &mut [1.0]).is_nan() && quantile(0.5, &mut []).is_nan());
        // A NaN of either sign sorts before every number.
        assert_eq!(quantile(1.0, &mut [-f64::NAN, 5.0, f64::NAN]), 5.0);
    }

    #[test]
    fn variance_is_that_of_the_population() {
        assert!((variance([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter()) - 4.0).abs() < 1e-12);
    }

    #[test]
    fn a_line_is_found_again() {
        let points: Vec<Point> =
            (0..5).map(|i| Point { at: i * 15_000, value: 2.0 * (i * 15) as f64 + 7.0 }).collect();
        let (slope, value) = regression(&points, 60_000);
        assert!((slope - 2.0).abs() < 1e-12 && (value - 127.0).abs() < 1e-9);
        let flat = [Point { at: 0, value: 3.0 }, Point { at: 1, value: 3.0 }];
        assert_eq!(regression(&flat, 0), (0.0, 3.0));
    }
}
