//! The mean of the last values.

use std::collections::VecDeque;

use super::Forecaster;

/// Expects the mean of a window.
#[derive(Clone, Debug)]
pub struct MovingAverage {
    window: usize,
    values: VecDeque<f64>,
}

impl MovingAverage {
    /// Over so many steps, 1 at least.
    pub fn new(window: usize) -> Self {
        let window = window.max(1);
        Self { window, values: VecDeque::with_capacity(window) }
    }
}

impl Forecaster for MovingAverage {
    fn observe(&mut self, value: f64) {
        if self.values.len() == self.window {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// Summed anew each time: a running sum would drift.
    fn forecast(&self, _steps: u32) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len().max(1) as f64
    }

    fn path(&self, steps: u32, into: &mut Vec<f64>) {
        into.clear();
        into.resize(steps as usize, self.forecast(1));
    }

    fn model(&self, _steps: u32) -> &'static str {
        "movingAverage"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;

    #[test]
    fn it_expects_the_mean_of_its_window() {
        let mut model = MovingAverage::new(3);
        let check = |model: &MovingAverage, expected: f64| assert_eq!(model.forecast(2), expected);
        check(&model, 0.0);
        for (value, expected) in [(3.0, 3.0), (5.0, 4.0), (10.0, 6.0), (0.0, 5.0)] {
            model.observe(value);
            check(&model, expected);
        }
        let mut path = Vec::new();
        model.path(2, &mut path);
        assert_eq!(path, [5.0, 5.0]);
    }
}
