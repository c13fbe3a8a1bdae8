//! The last value: the naive forecast, and the one to beat.

use super::Forecaster;

/// Expects that nothing changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastValue {
    last: f64,
}

impl Forecaster for LastValue {
    fn observe(&mut self, value: f64) {
        self.last = value;
    }

    fn forecast(&self, _steps: u32) -> f64 {
        self.last
    }

    fn model(&self, _steps: u32) -> &'static str {
        "lastValue"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;

    #[test]
    fn it_expects_what_was() {
        let mut model = LastValue::default();
        assert_eq!(model.forecast(1), 0.0);
        for value in [3.0, 7.0] {
            model.observe(value);
        }
        let mut path = vec![9.0];
        model.path(3, &mut path);
        assert_eq!((model.forecast(9), path), (7.0, vec![7.0; 3]));
    }
}
