//! Quantiles of classic histograms: series of cumulative counts with an upper bound each, `le`
//! (promql/quantile.go `BucketQuantile`, promql/functions.go `funcHistogramQuantile`; Prometheus v3).

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::evaluate::{Element, Vector};
use super::symbol::{Labels, Scope, Symbol};

/// Counts that differ by less are the same count, rounded.
const TOLERANCE: f64 = 1e-12;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// The quantile of each histogram among the series; series without a bound that can be read are passed over.
pub(super) fn quantiles(q: f64, vector: Vector, scope: &Scope<'_>) -> Vector {
    let mut histograms: IndexMap<Labels, Vec<Bucket>, FxBuildHasher> = IndexMap::default();
    for mut element in vector {
        let Ok(bound) = scope.text(element.labels.get(Symbol::LE)).parse::<f64>() else { continue };
        element.labels.remove(Symbol::LE);
        element.labels.remove(Symbol::NAME);
        histograms.entry(element.labels).or_default().push(Bucket { bound, count: element.value });
    }
    let values = histograms.into_iter();
    values.map(|(labels, buckets)| Element { labels, value: quantile(q, buckets) }).collect()
}

/// The quantile of one histogram, linear within a bucket. Of its last bucket, which has no end, the start.
fn quantile(q: f64, mut buckets: Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    if buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
        return f64::NAN;
    }
    merge_equal_bounds(&mut buckets);
    let last = buckets.len() - 1;
    make_monotonic(&mut buckets);
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 || observations.is_nan() {
        return f64::NAN;
    }
    let mut rank = q * observations;
    let index = buckets[..last].partition_point(|bucket| bucket.count < rank);
    if index == last {
        return buckets[last - 1].bound;
    }
    let Bucket { bound: end, mut count } = buckets[index];
    if index == 0 && end <= 0.0 {
        return end;
    }
    let mut start = 0.0;
    if index > 0 {
        let below = buckets[index - 1];
        start = below.bound;
        count -= below.count;
        rank -= below.count;
    }
    start + (end - start) * (rank / count)
}

/// Buckets of one bound (`0.5` and `5e-1`) are one bucket.
fn merge_equal_bounds(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, kept| {
        let same = next.bound.total_cmp(&kept.bound).is_eq();
        if same {
            kept.count += next.count;
        }
        same
    });
}

/// Cumulative counts never fall: a fall, or a change that is rounding, is undone.
fn make_monotonic(buckets: &mut [Bucket]) {
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count < before || almost_equal(before, bucket.count) {
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
}

/// util/almost `Equal`.
fn almost_equal(a: f64, b: f64) -> bool {
    #[expect(clippy::float_cmp, reason = "the quick way for what is equal, infinities too")]
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "what is exact is claimed to be")]
    use super::*;

    fn of(q: f64, buckets: &[(f64, f64)]) -> f64 {
        quantile(q, buckets.iter().map(|(bound, count)| Bucket { bound: *bound, count: *count }).collect())
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn quantiles_follow_upstream() {
        // promql/promqltest/testdata/histograms.test: `testhistogram` of two shapes.
        let positive = [(0.1, 5.0), (0.2, 7.0), (1e0, 11.0), (INF, 12.0)];
        let negative = [(-0.2, 1.0), (-0.1, 2.0), (0.3, 2.0), (INF, 3.0)];
        let check = |q: f64, buckets: &[(f64, f64)], expected: f64| {
            let found = of(q, buckets);
            let same = found == expected
                || (found - expected).abs() < 1e-12
                || (found.is_nan() && expected.is_nan());
            assert!(same, "{q} of {buckets:?}: {found}, not {expected}");
        };
        check(0.0, &positive, 0.0);
        check(0.25, &positive, 0.06);
        check(0.5, &positive, 0.15);
        check(0.75, &positive, 0.6);
        check(1.0, &positive, 1.0);
        check(0.0, &negative, -0.2);
        check(1.0 / 3.0, &negative, -0.2);
        check(0.5, &negative, -0.15);
        check(1.0, &negative, 0.3);
        check(-0.1, &positive, f64::NEG_INFINITY);
        check(1.01, &positive, INF);
        check(f64::NAN, &positive, f64::NAN);
    }

    #[test]
    fn histograms_without_an_answer() {
        assert!(of(0.5, &[(1.0, 1.0), (2.0, 2.0)]).is_nan(), "no +Inf");
        assert!(of(0.5, &[(INF, 3.0)]).is_nan(), "+Inf alone");
        assert!(of(0.5, &[(1.0, 0.0), (INF, 0.0)]).is_nan(), "nothing observed");
        assert!(of(0.5, &[(1.0, 0.0), (INF, f64::NAN)]).is_nan());
    }

    #[test]
    fn falls_are_undone_and_equal_bounds_are_one() {
        let repaired = of(0.5, &[(1.0, 4.0), (2.0, 3.0), (4.0, 8.0), (INF, 8.0)]);
        assert_eq!(repaired, of(0.5, &[(1.0, 4.0), (2.0, 4.0), (4.0, 8.0), (INF, 8.0)]));
        let merged = of(0.5, &[(1.0, 1.0), (1.0, 3.0), (INF, 8.0)]);
        assert_eq!(merged, of(0.5, &[(1.0, 4.0), (INF, 8.0)]));
        let rounded = of(0.99, &[(1.0, 100.0), (2.0, 100.0 + 1e-11), (INF, 100.0)]);
        assert_eq!(rounded, of(0.99, &[(1.0, 100.0), (2.0, 100.0), (INF, 100.0)]));
    }
}
