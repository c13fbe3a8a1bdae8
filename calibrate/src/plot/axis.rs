//! Axes that people can read: round steps, `1k` and `2.5M`, logarithmic where it helps.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// One axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

/// Beyond this ratio of the largest to the smallest value an axis is logarithmic.
const LOG_FROM: f64 = 30.0;

impl Axis {
    /// From 0 to a little more than the largest value.
    pub(super) fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let high = values.filter(|v| v.is_finite()).fold(0.0, f64::max);
        Self { low: 0.0, high: if high > 0.0 { high * 1.05 } else { 1.0 }, log: false }
    }

    /// Logarithmic if the values lie far apart, else from 0.
    pub(super) fn over(values: impl Iterator<Item = f64> + Clone) -> Self {
        let positive = values.clone().filter(|v| v.is_finite() && *v > 0.0);
        let low = positive.clone().fold(f64::INFINITY, f64::min);
        let high = positive.fold(0.0, f64::max);
        if high > 0.0 && high / low >= LOG_FROM {
            Self { low: low / 1.25, high: high * 1.25, log: true }
        } else {
            Self::from_zero(values)
        }
    }

    /// Values to draw a curve through, `steps` apart as the eye sees them.
    pub(super) fn samples(&self, low: f64, high: f64, steps: u32) -> Vec<f64> {
        let share = |i: u32| f64::from(i) / f64::from(steps);
        let at = |i: u32| {
            if self.log { low * (high / low).powf(share(i)) } else { low + (high - low) * share(i) }
        };
        (0..=steps).map(at).collect()
    }

    /// Where the marks stand: 1, 2 and 5 times a power of ten.
    fn marks(&self, most: usize) -> Vec<f64> {
        if self.log {
            let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            let at = |factors: &[f64]| -> Vec<f64> {
                let all = decades.clone().flat_map(|d| factors.iter().map(move |f| f * 10_f64.powi(d)));
                all.filter(|v| (self.low..=self.high).contains(v)).collect()
            };
            let fine = at(&[1.0, 2.0, 5.0]);
            return if fine.len() <= most { fine } else { at(&[1.0]) };
        }
        let rough = (self.high - self.low) / most.max(1) as f64;
        let decade = 10_f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|f| f * decade).into_iter().find(|s| *s >= rough).unwrap_or(rough);
        (0..=(self.high / step) as u32).map(|i| f64::from(i) * step).collect()
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        let (from, to) = (f64::from(limit.0), f64::from(limit.1));
        (from + (to - from) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        self.marks(hint.bold_points())
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        short(*value)
    }
}

/// A number in a few characters: `0.25`, `12`, `4k`, `1.5M`.
pub(super) fn short(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // Three digits tell marks apart; trailing zeros tell nothing.
    let digits = match scaled.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        let check = |axis: Axis, most: usize, expected: &[&str]| {
            let marks: Vec<String> = axis.marks(most).into_iter().map(short).collect();
            assert_eq!(marks, expected, "{axis:?}");
        };
        let values = |low: f64, high: f64| [low, high].into_iter();
        check(Axis::from_zero(values(3.0, 100.0)), 6, &["0", "20", "40", "60", "80", "100"]);
        check(Axis::from_zero(values(0.0, 0.011)), 4, &["0", "0.005", "0.01"]);
        check(Axis::over(values(50.0, 100.0)), 5, &["0", "50", "100"]);
        check(Axis::over(values(100.0, 4_000.0)), 9, &["100", "200", "500", "1k", "2k", "5k"]);
        check(Axis::over(values(1e3, 4e6)), 6, &["1k", "10k", "100k", "1M"]);
        check(Axis::from_zero(std::iter::empty()), 2, &["0", "0.5", "1"]);
    }

    #[test]
    fn values_land_where_they_belong() {
        let axis = Axis { low: 1.0, high: 100.0, log: true };
        assert_eq!([1.0, 10.0, 100.0, 0.0].map(|v| axis.map(&v, (0, 200))), [0, 100, 200, 0]);
        let axis = Axis { low: 0.0, high: 10.0, log: false };
        assert_eq!([0.0, 5.0, 10.0].map(|v| axis.map(&v, (100, 0))), [100, 50, 0]);
        assert_eq!(axis.samples(0.0, 4.0, 2), [0.0, 2.0, 4.0]);
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (0.004, "0.004"),
            (0.25, "0.25"),
            (12.0, "12"),
            (4_000.0, "4k"),
            (1.5e6, "1.5M"),
            (131_072.0, "131k"),
        ] {
            assert_eq!(short(value), expected);
        }
    }
}
