//! A series of values at even steps.

use crate::kernel::SimDuration;

/// Values at even steps, without the time they began at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// From one value to the next.
    pub step: SimDuration,
    /// What each step has; `None` where nobody knows.
    pub values: Vec<Option<f64>>,
}

impl Series {
    /// How long it is.
    pub fn span(&self) -> SimDuration {
        SimDuration::from_nanos(self.step.as_nanos().saturating_mul(self.values.len() as u64))
    }

    /// The same at another step, which begins where this one does: each of its values is the mean of what it covers, weighted by time;
    /// what nobody knows does not count, and where nobody knows half of it or more there is no value. An incomplete last step is
    /// left out.
    pub fn resampled(&self, step: SimDuration) -> Self {
        let (own, new) = (u128::from(self.step.as_nanos()), u128::from(step.as_nanos()));
        if own == new || own == 0 || new == 0 {
            return Self { step, values: if own == new { self.values.clone() } else { Vec::new() } };
        }
        let count = own * self.values.len() as u128 / new;
        let value = |index: u128| {
            let (from, to) = (index * new, (index + 1) * new);
            let (mut sum, mut known) = (0.0, 0);
            for at in from / own..to.div_ceil(own) {
                if let Some(Some(value)) = self.values.get(at as usize) {
                    let covered = to.min((at + 1) * own) - from.max(at * own);
                    sum += value * covered as f64;
                    known += covered;
                }
            }
            (2 * known > new).then(|| sum / known as f64)
        };
        Self { step, values: (0..count).map(value).collect() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;

    fn series(step_s: u64, values: &[Option<f64>]) -> Series {
        Series { step: SimDuration::from_secs(step_s), values: values.to_vec() }
    }

    #[test]
    fn other_steps_are_means_over_time() {
        let own = series(2, &[Some(1.0), Some(3.0), None, Some(7.0), Some(9.0)]);
        let check = |step_s: u64, expected: &[Option<f64>]| {
            assert_eq!(own.resampled(SimDuration::from_secs(step_s)), series(step_s, expected), "{step_s} s");
        };
        check(2, &own.values);
        // Half of the second is not known, which is too much.
        check(4, &[Some(2.0), None]);
        check(1, &[1.0, 1.0, 3.0, 3.0, -1.0, -1.0, 7.0, 7.0, 9.0, 9.0].map(|v| (v > 0.0).then_some(v)));
        check(3, &[Some(5.0 / 3.0), None, Some(7.0 + 2.0 / 3.0)]);
        check(6, &[Some(2.0)]);
        check(60, &[]);
        assert_eq!(own.span(), SimDuration::from_secs(10));
    }
}
