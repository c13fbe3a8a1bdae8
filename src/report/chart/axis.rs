//! Axes: values to pixels, and the values worth a label.

use super::canvas::{Anchor, Canvas, GRID, QUIET};
use crate::experiment::metric::Unit;
use crate::report::format;

/// How an axis spreads its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm; values below the low end are at it.
    Log,
}

/// Values to pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Values from `low` to `high` on pixels `from` to `to`.
    pub fn linear((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { scale: Scale::Linear, low, high, from, to }
    }

    /// The same, by logarithm; both ends are positive.
    pub fn log((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        let low = low.max(1e-12);
        let high = if high > low { high } else { low * 10.0 };
        Self { scale: Scale::Log, low, high, from, to }
    }

    /// The pixel of a value, within the axis.
    pub fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Whether a value lies beyond the high end.
    pub fn is_beyond(&self, value: f64) -> bool {
        value > self.high
    }

    /// Round values, about so many.
    pub fn ticks(&self, about: usize) -> Vec<f64> {
        match self.scale {
            Scale::Linear => linear_ticks(self.low, self.high, about),
            Scale::Log => log_ticks(self.low, self.high, about),
        }
    }

    /// Horizontal lines at round values with their labels on the left of `x`, which run to `right`.
    pub fn rungs(&self, canvas: &mut Canvas, (x, right): (f64, f64), about: usize, unit: Unit) {
        for tick in self.ticks(about) {
            let y = self.at(tick);
            canvas.line(vec![(x, y), (right, y)], GRID, 1);
            canvas.text((x - 6.0, y), label(unit, tick), 10.0, QUIET, Anchor::End);
        }
    }
}

/// A round value of that unit as a label: without the zeros that tables need.
pub fn label(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Seconds if value >= 1.0 => format!("{}s", format::plain(value)),
        Unit::Seconds if value > 0.0 => format!("{}ms", format::plain(value * 1e3)),
        Unit::Seconds => "0".to_owned(),
        Unit::Share => format!("{}%", format::plain(value * 100.0)),
        Unit::Usd => format!("${}", format::plain(value)),
        Unit::Count | Unit::GpuHours => format::plain(value),
    }
}

fn linear_ticks(low: f64, high: f64, about: usize) -> Vec<f64> {
    let rough = (high - low) / about.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.999).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

fn log_ticks(low: f64, high: f64, about: usize) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let all = |mantissas: &[f64]| -> Vec<f64> {
        let ticks = (first..=last).flat_map(|e| mantissas.iter().map(move |m| m * 10f64.powi(e)));
        ticks.filter(|t| *t >= low * 0.999 && *t <= high * 1.001).collect()
    };
    let fine = all(&[1.0, 2.0, 5.0]);
    if fine.len() > about + 2 {
        return all(&[1.0]);
    }
    if fine.len() >= 2 {
        return fine;
    }
    // One label says nothing of the distances: a short stretch of the axis is nearly even.
    let even =
        linear_ticks(low, high, about.min(4)).into_iter().filter(|tick| *tick > 0.0).collect::<Vec<_>>();
    if even.len() > fine.len() { even } else { fine }
}

/// Steps of time that people count in, s.
const TIME_STEPS: [f64; 21] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
    10_800.0, 21_600.0, 43_200.0, 86_400.0,
];

/// Instants worth a label from `low` to `high` seconds, with their labels.
pub fn time_ticks(low: f64, high: f64, about: usize) -> Vec<(f64, String)> {
    let rough = (high - low) / about.max(1) as f64;
    let days = (rough / 86_400.0).ceil().max(1.0) * 86_400.0;
    let step = TIME_STEPS.into_iter().find(|step| *step >= rough).unwrap_or(days);
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|n| n as f64 * step).map(|at| (at, clock(at, step))).collect()
}

/// `0:05`, `2h`, `2h30`, `3d`; seconds only where the step has any.
fn clock(at: f64, step: f64) -> String {
    let whole = at.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if step < 1.0 {
        format!("{at:.1}s")
    } else if step < 60.0 {
        if hours > 0 {
            format!("{hours}:{minutes:02}:{seconds:02}")
        } else {
            format!("{minutes}:{seconds:02}")
        }
    } else if step < 3600.0 {
        if hours > 0 { format!("{hours}h{minutes:02}") } else { format!("{minutes} min") }
    } else if step < 86_400.0 || !whole.is_multiple_of(86_400) {
        if hours >= 48 { format!("{}d {}h", hours / 24, hours % 24) } else { format!("{hours}h") }
    } else {
        format!("{}d", whole / 86_400)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp)] // Whole pixels.
    fn values_to_pixels() {
        let linear = Axis::linear((0.0, 10.0), (100.0, 0.0));
        assert_eq!([0.0, 5.0, 10.0, 99.0].map(|v| linear.at(v)), [100.0, 50.0, 0.0, 0.0]);
        let log = Axis::log((0.01, 100.0), (0.0, 400.0));
        assert!((log.at(1.0) - 200.0).abs() < 1e-9);
        assert_eq!(log.at(0.0), 0.0);
        // An empty range is none to divide by.
        assert_eq!(Axis::linear((3.0, 3.0), (0.0, 10.0)).at(3.0), 0.0);
    }

    #[test]
    #[allow(clippy::float_cmp)] // Round values.
    fn round_values() {
        assert_eq!(linear_ticks(0.0, 100.0, 4), [0.0, 50.0, 100.0]);
        assert_eq!(linear_ticks(0.0, 7.0, 4), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(log_ticks(0.02, 30.0, 10).len(), 10);
        assert_eq!(log_ticks(60.0, 180.0, 6), [100.0, 150.0]);
        let labels = |low, high| time_ticks(low, high, 6).into_iter().map(|(_, l)| l).collect::<Vec<_>>();
        assert_eq!(labels(0.0, 3500.0), ["0 min", "10 min", "20 min", "30 min", "40 min", "50 min"]);
        assert_eq!(labels(0.0, 86_400.0), ["0h", "6h", "12h", "18h", "24h"]);
        assert_eq!(labels(0.0, 7.0 * 86_400.0), ["0d", "2d", "4d", "6d"]);
        assert_eq!(labels(0.0, 60.0), ["0:00", "0:10", "0:20", "0:30", "0:40", "0:50", "1:00"]);
        assert_eq!(label(Unit::Seconds, 0.05), "50ms");
        assert_eq!(label(Unit::Usd, 2.5), "$2.5");
        assert_eq!(label(Unit::Share, 0.01), "1%");
    }
}
