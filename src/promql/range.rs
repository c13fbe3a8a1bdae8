//! Functions over the samples of a window: `rate` and its kin, `*_over_time`, regressions
//! (promql/functions.go, Prometheus v3).

use super::float;
use super::function::RangeFunction;
use super::rows::Point;
use super::store::Release;

/// The window a range selector asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Its start, ms; whether a sample there counts is up to the release.
    pub(super) start: i64,
    /// Its end, ms: the instant of the query less the selector's offset.
    pub(super) end: i64,
    /// The instant of the query, ms.
    pub(super) now: i64,
    pub(super) release: Release,
}

impl Window {
    /// The time of the first sample that counts, ms.
    pub(super) fn first(&self) -> i64 {
        self.start + i64::from(self.release == Release::V3)
    }

    fn secs(&self) -> f64 {
        (self.end - self.start) as f64 / 1000.0
    }
}

impl RangeFunction {
    /// [`RangeFunction::apply`] where the samples are known never to fall, from their first, their last and how
    /// many there are; `None` where the function needs to see them all.
    pub(super) fn of_rise(self, rise: Option<(Point, Point, usize)>, window: &Window) -> Option<f64> {
        let (first, last, count) = rise?;
        let per_second = match self {
            Self::Rate => true,
            Self::Increase => false,
            _ => return None,
        };
        Some(extended(last.value - first.value, (first, last), count, window, true, per_second))
    }

    /// The value over the samples of a window, of which there is at least one; `None` where the function
    /// needs more. `parameter` is the quantile, or the seconds ahead.
    pub(super) fn apply(self, points: &[Point], window: &Window, parameter: f64) -> Option<f64> {
        let values = || points.iter().map(|point| point.value);
        let (first, last) = (points.first()?, points.last()?);
        Some(match self {
            Self::Rate => extrapolated(points, window, true, true)?,
            Self::Increase => extrapolated(points, window, true, false)?,
            Self::Delta => extrapolated(points, window, false, false)?,
            Self::Irate => {
                let (change, secs) = last_change(points, true)?;
                change / secs
            }
            Self::Idelta => last_change(points, false)?.0,
            Self::Deriv => float::regression(at_least_two(points)?, first.at).0,
            Self::PredictLinear => {
                let (slope, value) = float::regression(at_least_two(points)?, window.now);
                slope * parameter + value
            }
            Self::Resets => pairs(points).filter(|(a, b)| b < a).count() as f64,
            #[expect(clippy::float_cmp, reason = "upstream asks whether the value changed")]
            Self::Changes => {
                pairs(points).filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64
            }
            Self::AvgOverTime => float::mean(values()),
            Self::MinOverTime => float::least(values()),
            Self::MaxOverTime => float::greatest(values()),
            Self::SumOverTime => float::sum(values()),
            Self::CountOverTime => points.len() as f64,
            Self::LastOverTime => last.value,
            Self::PresentOverTime => 1.0,
            Self::StdvarOverTime => float::variance(values()),
            Self::StddevOverTime => float::variance(values()).sqrt(),
            Self::QuantileOverTime => float::quantile(parameter, &mut values().collect::<Vec<_>>()),
        })
    }
}

fn pairs(points: &[Point]) -> impl Iterator<Item = (f64, f64)> + '_ {
    points.windows(2).map(|pair| (pair[0].value, pair[1].value))
}

fn at_least_two(points: &[Point]) -> Option<&[Point]> {
    (points.len() >= 2).then_some(points)
}

/// The change between the last two samples and the seconds between them (`instantValue`). A counter that
/// fell began anew: its change is what it has counted since.
fn last_change(points: &[Point], counter: bool) -> Option<(f64, f64)> {
    let [.., before, last] = points else { return None };
    let change = if counter && last.value < before.value { last.value } else { last.value - before.value };
    Some((change, (last.at - before.at) as f64 / 1000.0))
}

/// The change over a window, extended to its edges where the samples suggest that the series reaches them
/// (`extrapolatedRate`).
fn extrapolated(points: &[Point], window: &Window, counter: bool, per_second: bool) -> Option<f64> {
    let [first, .., last] = points else { return None };
    let mut change = last.value - first.value;
    for (before, _) in pairs(points).filter(|(before, after)| counter && after < before) {
        change += before;
    }
    Some(extended(change, (*first, *last), points.len(), window, counter, per_second))
}

/// A change between the first and the last of `count` samples, extended to the edges of the window.
fn extended(
    change: f64,
    (first, last): (Point, Point),
    count: usize,
    window: &Window,
    counter: bool,
    per_second: bool,
) -> f64 {
    let secs = |from: i64, to: i64| (to - from) as f64 / 1000.0;
    let mut to_start = secs(window.start, first.at);
    let mut to_end = secs(last.at, window.end);
    let sampled = secs(first.at, last.at);
    let between = sampled / (count - 1) as f64;
    // A gap up to a tenth longer than the usual one is no gap: the series goes on to the edge. A longer one
    // is where it began or ended, on average half a usual gap away.
    let threshold = between * 1.1;
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    // A counter that rises cannot have been below zero (since 2.52 this comes after the threshold).
    if counter && change > 0.0 && first.value >= 0.0 {
        to_start = to_start.min(sampled * (first.value / change));
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= window.secs();
    }
    change * factor
}

#[cfg(test)]
#[path = "range_tests.rs"]
mod tests;
