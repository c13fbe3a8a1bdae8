//! The exponentially weighted moving average (simple exponential smoothing).

use super::Forecaster;

/// Expects an average that forgets.
#[derive(Clone, Copy, Debug)]
pub struct Ewma {
    alpha: f64,
    level: Option<f64>,
}

impl Ewma {
    /// With a weight of the newest value in (0, 1].
    pub fn new(alpha: f64) -> Self {
        Self { alpha, level: None }
    }

    /// With a weight that has halved after so many steps: `1 - 2^(-1/steps)`.
    pub fn of_half_life(steps: f64) -> Self {
        Self::new(1.0 - libm::exp2(-1.0 / steps))
    }
}

impl Forecaster for Ewma {
    fn observe(&mut self, value: f64) {
        let level = self.level.unwrap_or(value);
        self.level = Some(level + self.alpha * (value - level));
    }

    fn forecast(&self, _steps: u32) -> f64 {
        self.level.unwrap_or(0.0)
    }

    fn model(&self, _steps: u32) -> &'static str {
        "ewma"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;

    #[test]
    fn weights_halve_with_the_half_life() {
        let mut model = Ewma::new(0.5);
        for (value, expected) in [(8.0, 8.0), (0.0, 4.0), (2.0, 3.0)] {
            model.observe(value);
            assert_eq!(model.forecast(1), expected);
        }
        // A step from 0 to 1 is half done after a half-life.
        let mut model = Ewma::of_half_life(6.0);
        model.observe(0.0);
        (0..6).for_each(|_| model.observe(1.0));
        assert!((model.forecast(1) - 0.5).abs() < 1e-12, "{}", model.forecast(1));
    }
}
