//! What a forecast is off by: intervals out of a model's own last errors.
//!
//! Split conformal prediction (Vovk, Gammerman and Shafer 2005; Lei et al. 2018) on line: for each horizon the last errors
//! are kept, scaled by what was expected, and a quantile of the next value is the forecast and the quantile of these. If errors are
//! exchangeable, the next value lies at or below the k-th smallest of n errors with probability k / (n + 1), whatever their
//! distribution is.

use super::Forecaster;
use super::ring::Ring;

/// Errors kept for each horizon.
const KEPT: u32 = 500;

/// The last errors of a horizon.
#[derive(Clone, Debug)]
pub struct Errors {
    /// In order of time.
    newest: Ring,
    /// The same, ascending.
    sorted: Vec<f64>,
}

impl Default for Errors {
    fn default() -> Self {
        Self { newest: Ring::new(KEPT), sorted: Vec::new() }
    }
}

impl Errors {
    /// One more; beyond the number that is kept the oldest is forgotten.
    pub fn push(&mut self, error: f64) {
        if let Some(oldest) = self.newest.due() {
            let at = self.sorted.partition_point(|own| own.total_cmp(&oldest).is_lt());
            self.sorted.remove(at);
        }
        self.newest.push(error);
        let at = self.sorted.partition_point(|own| own.total_cmp(&error).is_lt());
        self.sorted.insert(at, error);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The quantile at `p`: above the median the `ceil((n + 1) p)`-th smallest, below it the `floor((n + 1) p)`-th, so that what lies
    /// inside is never promised too often. Where n is too small for that it is the largest or the smallest. `None` without errors.
    pub fn quantile(&self, p: f64) -> Option<f64> {
        let rank = (self.sorted.len() + 1) as f64 * p;
        // A product such as 20 x 0.95 may come out a hair above 19.
        let rank = if p >= 0.5 { (rank - 1e-9).ceil() } else { (rank + 1e-9).floor() };
        let last = self.sorted.len().checked_sub(1)?;
        Some(self.sorted[(rank.max(1.0) as usize - 1).min(last)])
    }
}

/// A model with the errors it made at some horizons.
pub struct Intervals {
    model: Box<dyn Forecaster>,
    horizons: Vec<Horizon>,
    /// Nothing expected or promised is below zero: the series is of a load.
    is_load: bool,
}

struct Horizon {
    steps: u32,
    /// Forecasts whose time has not come.
    pending: Ring,
    errors: Errors,
}

impl Intervals {
    /// Over a model, for these horizons in steps. With `is_load`, nothing is expected below zero.
    pub fn new(model: Box<dyn Forecaster>, horizons: &[u32], is_load: bool) -> Self {
        let horizon = |steps: &u32| Horizon {
            steps: (*steps).max(1),
            pending: Ring::new(*steps),
            errors: Errors::default(),
        };
        Self { model, horizons: horizons.iter().map(horizon).collect(), is_load }
    }

    /// The next value; `None` where it is not known. The model is then told what it expected, so that its season goes on, and
    /// nothing is learned of its errors.
    pub fn observe(&mut self, value: Option<f64>) {
        let told = value.unwrap_or_else(|| self.forecast(1));
        self.model.observe(told);
        for index in 0..self.horizons.len() {
            let own = &mut self.horizons[index];
            if let (Some(forecast), Some(value)) = (own.pending.due(), value) {
                own.errors.push((value - forecast) / scale(forecast));
            }
            let forecast = self.forecast(self.horizons[index].steps);
            self.horizons[index].pending.push(forecast);
        }
    }

    /// What is expected so many steps ahead.
    pub fn forecast(&self, steps: u32) -> f64 {
        self.floored(self.model.forecast(steps))
    }

    /// What is expected in each of the next steps.
    pub fn path(&self, steps: u32, into: &mut Vec<f64>) {
        self.model.path(steps, into);
        for value in into {
            *value = self.floored(*value);
        }
    }

    /// The model that a forecast of so many steps comes from.
    pub fn model(&self, steps: u32) -> &'static str {
        self.model.model(steps)
    }

    /// The quantile at `p` of the value `steps` ahead, where `expected` is the forecast. It goes by the errors of that horizon, or
    /// of the next longer one that they are kept of; without any, it is the forecast.
    pub fn quantile_of(&self, steps: u32, expected: f64, p: f64) -> f64 {
        let longer = self.horizons.iter().filter(|own| own.steps >= steps).min_by_key(|own| own.steps);
        let own = longer.or_else(|| self.horizons.iter().max_by_key(|own| own.steps));
        let error = own.and_then(|own| own.errors.quantile(p)).unwrap_or(0.0);
        self.floored(expected + error * scale(expected))
    }

    /// The quantile at `p` of the value `steps` ahead.
    pub fn quantile(&self, steps: u32, p: f64) -> f64 {
        self.quantile_of(steps, self.forecast(steps), p)
    }

    /// Errors known of a horizon.
    pub fn errors(&self, steps: u32) -> usize {
        self.horizons.iter().find(|own| own.steps == steps).map_or(0, |own| own.errors.len())
    }

    fn floored(&self, value: f64) -> f64 {
        if self.is_load { value.max(0.0) } else { value }
    }
}

/// What an error is measured in: counts scatter by the root of what is expected, as Poisson's do, so that what is learned at
/// night holds at noon (normalised conformal prediction). Below 1 nothing gets finer.
fn scale(expected: f64) -> f64 {
    expected.abs().max(1.0).sqrt()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;
    use crate::forecast::{LastValue, MovingAverage};
    use crate::kernel::Streams;
    use crate::kernel::dist::{exponential, normal};
    use crate::kernel::rng::Purpose;
    use statrs::distribution::{Binomial, DiscreteCDF};

    #[test]
    fn quantiles_are_order_statistics() {
        let mut errors = Errors::default();
        assert_eq!((errors.quantile(0.5), errors.len()), (None, 0));
        // 1 to 19 in some order: n + 1 = 20.
        (1..=19).for_each(|n| errors.push(f64::from(n * 7 % 20)));
        let check = |p: f64, expected: f64| assert_eq!(errors.quantile(p), Some(expected), "{p}");
        check(0.5, 10.0);
        check(0.9, 18.0);
        check(0.91, 19.0);
        check(0.95, 19.0);
        check(0.99, 19.0);
        check(0.1, 2.0);
        check(0.09, 1.0);
        check(0.01, 1.0);
    }

    #[test]
    fn the_oldest_errors_are_forgotten() {
        let mut errors = Errors::default();
        (0..2 * KEPT).for_each(|n| errors.push(f64::from(n)));
        assert_eq!(errors.len(), KEPT as usize);
        assert_eq!(errors.quantile(0.001), Some(f64::from(KEPT)));
        assert!(errors.sorted.is_sorted());
    }

    /// On exchangeable errors each quantile covers with its exact probability k / (n + 1), whatever the distribution: trials
    /// that share no draw are binomial, and counts outside of an interval of 1 - 1e-6 are a fault.
    #[test]
    fn exchangeable_noise_is_covered_as_often_as_promised() {
        const TRIALS: u64 = 4_000;
        const N: usize = 39;
        let check = |name: &str, draw: &dyn Fn(&mut rand::rngs::ChaCha8Rng) -> f64| {
            let mut rng = Streams::new(7, 0).stream(Purpose::Arrivals, 0);
            // 40 p is whole or not: the promise is the rank over 40.
            let levels =
                [(0.05, 2.0), (0.1, 4.0), (0.33, 13.0), (0.5, 20.0), (0.8, 32.0), (0.88, 36.0), (0.95, 38.0)];
            let mut covered = [0_u64; 7];
            for _ in 0..TRIALS {
                // Nothing is expected: a window of values that are zero, and errors about it.
                let mut intervals = Intervals::new(Box::new(Zero), &[1], false);
                intervals.observe(Some(0.0));
                (0..N).for_each(|_| intervals.observe(Some(draw(&mut rng))));
                let next = draw(&mut rng);
                for (count, (p, _)) in covered.iter_mut().zip(&levels) {
                    *count += u64::from(next <= intervals.quantile(1, *p));
                }
            }
            for (count, (p, rank)) in covered.iter().zip(&levels) {
                let promised = Binomial::new(rank / (N as f64 + 1.0), TRIALS).unwrap();
                let (low, high) = (promised.inverse_cdf(5e-7), promised.inverse_cdf(1.0 - 5e-7));
                assert!((low..=high).contains(count), "{name} at {p}: {count} not in {low}..={high}");
            }
        };
        check("normal", &|rng| normal(rng));
        check("exponential", &|rng| exponential(rng));
    }

    /// A model that expects nothing.
    struct Zero;

    impl Forecaster for Zero {
        fn observe(&mut self, _: f64) {}
        fn forecast(&self, _: u32) -> f64 {
            0.0
        }
        fn model(&self, _: u32) -> &'static str {
            "zero"
        }
    }

    #[test]
    fn errors_belong_to_their_horizon_and_scale_with_what_is_expected() {
        let mut intervals = Intervals::new(Box::new(LastValue::default()), &[1, 3], true);
        // 4, 8, 12, ..: off by 4 one step ahead and by 12 three steps ahead, in units of the root of the last value.
        (1..=10).for_each(|n| intervals.observe(Some(4.0 * f64::from(n))));
        assert_eq!((intervals.errors(1), intervals.errors(3), intervals.errors(2)), (9, 7, 0));
        let expected = |steps: f64| 40.0 + 4.0 * steps / 4.0_f64.sqrt() * 40.0_f64.sqrt();
        assert!((intervals.quantile(1, 0.99) - expected(1.0)).abs() < 1e-9);
        // Of two steps nothing is known: the next longer horizon stands in.
        assert!((intervals.quantile(2, 0.99) - expected(3.0)).abs() < 1e-9);
        assert!((intervals.quantile(9, 0.99) - expected(3.0)).abs() < 1e-9);
    }

    #[test]
    fn a_gap_is_told_as_it_was_expected_and_teaches_nothing() {
        let mut intervals = Intervals::new(Box::new(MovingAverage::new(2)), &[1], true);
        for value in [Some(2.0), Some(4.0), None, Some(9.0)] {
            intervals.observe(value);
        }
        // The gap counts as 3; the window holds 3 and 9.
        assert_eq!((intervals.forecast(1), intervals.errors(1)), (6.0, 2));
        let mut falling = Intervals::new(Box::new(Zero), &[1], true);
        for value in [0.0, -3.0] {
            falling.observe(Some(value));
        }
        assert_eq!(falling.quantile(1, 0.1), 0.0, "no load is below zero");
    }
}
