//! How one point is timed: warm-ups, enough samples, and a second try where they scatter.

use std::time::{Duration, Instant};

use super::backend::Backend;
use crate::Result;

/// Share of the median that the median absolute deviation may reach.
pub const SCATTER_MAX: f64 = 0.05;

/// How much time a point is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Untimed passes before the samples; at least 3.
    pub warm_ups: u32,
    /// Samples, unless `budget` is used up before.
    pub samples: usize,
    /// Time for the samples of a point; [`Effort::LEAST`] are taken whatever it costs.
    pub budget: Duration,
    /// A sample lasts at least this long: short passes are run several times in a row.
    pub sample_least: Duration,
}

impl Effort {
    /// The reference's: 20 samples or 150 ms.
    pub const FULL: Self = Self {
        warm_ups: 3,
        samples: 20,
        budget: Duration::from_millis(150),
        sample_least: Duration::from_millis(2),
    };
    /// For `--quick`.
    pub const QUICK: Self = Self { samples: 10, budget: Duration::from_millis(60), ..Self::FULL };
    /// Samples that even a slow point gets.
    pub const LEAST: usize = 3;
}

/// The samples of a point and how far they scatter.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// µs of one pass, in the order taken.
    pub us: Vec<f64>,
    /// Median absolute deviation over the median.
    pub scatter: f64,
}

impl Samples {
    fn of(us: Vec<f64>) -> Self {
        let scatter = scatter(&us);
        Self { us, scatter }
    }

    /// Whether they scatter too much to be trusted.
    pub fn is_noisy(&self) -> bool {
        self.scatter > SCATTER_MAX
    }
}

/// Times what was prepared. Samples that scatter are taken once more, and the calmer ones kept.
///
/// # Errors
/// Whatever the device reports.
pub fn take(backend: &mut dyn Backend, effort: &Effort) -> Result<Samples> {
    let first = attempt(backend, effort)?;
    if !first.is_noisy() {
        return Ok(first);
    }
    let second = attempt(backend, effort)?;
    Ok(if second.scatter < first.scatter { second } else { first })
}

fn attempt(backend: &mut dyn Backend, effort: &Effort) -> Result<Samples> {
    let mut warm_us = f64::INFINITY;
    for _ in 0..effort.warm_ups {
        warm_us = warm_us.min(backend.time(1)?);
    }
    let least_us = effort.sample_least.as_secs_f64() * 1e6;
    let passes = (least_us / warm_us.max(1.0)).ceil().clamp(1.0, 1000.0) as u32;
    let (began, mut us) = (Instant::now(), Vec::with_capacity(effort.samples));
    while us.len() < effort.samples && (us.len() < Effort::LEAST || began.elapsed() < effort.budget) {
        us.push(backend.time(passes)?);
    }
    Ok(Samples::of(us))
}

/// The median; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Median absolute deviation over the median.
pub fn scatter(us: &[f64]) -> f64 {
    let middle = median(us);
    median(&us.iter().map(|t| (t - middle).abs()).collect::<Vec<_>>()) / middle
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;
    use crate::gpu::fake::Fake;

    #[test]
    fn a_median_is_robust() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        assert_eq!(scatter(&[10.0, 10.0, 11.0, 9.0, 90.0]), 0.1);
    }

    #[test]
    fn short_passes_are_run_in_a_row() {
        let mut backend = Fake::default();
        backend.times.push_back(40.0);
        let samples = take(&mut backend, &Effort::FULL).unwrap();
        assert_eq!((samples.us.len(), samples.is_noisy()), (20, false));
        assert_eq!(backend.passes[..4], [1, 1, 1, 50]);
    }

    #[test]
    fn scattered_samples_are_taken_once_more_and_the_calmer_ones_kept() {
        let noisy = |i: usize| if i.is_multiple_of(2) { 4000.0 } else { 6000.0 };
        let mut backend = Fake::default();
        backend.times.extend((0..23).map(noisy));
        backend.times.extend(std::iter::repeat_n(5000.0, 23));
        let samples = take(&mut backend, &Effort::FULL).unwrap();
        assert_eq!((backend.passes.len(), samples.scatter), (46, 0.0));

        let mut backend = Fake::default();
        backend.times.extend((0..46).map(noisy));
        let samples = take(&mut backend, &Effort::FULL).unwrap();
        assert_eq!((backend.passes.len(), samples.is_noisy()), (46, true));
    }

    #[test]
    fn a_slow_point_gets_few_samples() {
        let mut backend = Fake { really: true, ..Fake::default() };
        backend.times.push_back(30_000.0);
        let effort = Effort { budget: Duration::from_millis(20), ..Effort::FULL };
        assert_eq!(take(&mut backend, &effort).unwrap().us.len(), Effort::LEAST);
    }
}
