//! What was a season ago.

use std::collections::VecDeque;

use super::Forecaster;

/// Expects what the same step of the last season had; the last value until a season is over.
#[derive(Clone, Debug)]
pub struct SeasonalNaive {
    season: usize,
    values: VecDeque<f64>,
}

impl SeasonalNaive {
    /// With a season of so many steps, 1 at least.
    pub fn new(season: usize) -> Self {
        Self { season: season.max(1), values: VecDeque::new() }
    }
}

impl Forecaster for SeasonalNaive {
    fn observe(&mut self, value: f64) {
        if self.values.len() == self.season {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    fn forecast(&self, steps: u32) -> f64 {
        if self.values.len() < self.season {
            return self.values.back().copied().unwrap_or(0.0);
        }
        self.values[(steps.max(1) as usize - 1) % self.season]
    }

    fn model(&self, _steps: u32) -> &'static str {
        "seasonalNaive"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;

    #[test]
    fn it_expects_what_was_a_season_ago() {
        let mut model = SeasonalNaive::new(3);
        for value in [1.0, 2.0] {
            model.observe(value);
        }
        assert_eq!(model.forecast(1), 2.0, "no season is over yet");
        for value in [3.0, 4.0] {
            model.observe(value);
        }
        let ahead: Vec<f64> = (1..=5).map(|steps| model.forecast(steps)).collect();
        assert_eq!(ahead, [2.0, 3.0, 4.0, 2.0, 3.0]);
    }
}
