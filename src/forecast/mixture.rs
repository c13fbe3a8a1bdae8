//! Several models, of which the one that was best of late speaks.

use super::Forecaster;
use super::ring::Ring;

/// Follows the leader: for each horizon apart, the member whose errors were smallest of late, in absolute value and with
/// weights that halve with their age. Of equals, the first.
pub struct Mixture {
    members: Vec<Member>,
    /// Horizons at which the members are compared, ascending: 1, 2, 4, .. and the largest that is asked for.
    horizons: Vec<u32>,
    /// What a step leaves of an error's weight.
    decay: f64,
}

struct Member {
    model: Box<dyn Forecaster>,
    /// What it expects of each step up to the largest horizon.
    ahead: Vec<f64>,
    /// By horizon: forecasts whose time has not come.
    pending: Vec<Ring>,
    /// By horizon: the weighted sum of absolute errors. All members have the same weights, so sums compare as means do.
    loss: Vec<f64>,
}

impl Mixture {
    /// Of members, for forecasts of up to so many steps; errors count half after `half_life` steps.
    pub fn new(members: Vec<Box<dyn Forecaster>>, steps_max: u32, half_life: f64) -> Self {
        let mut horizons: Vec<u32> = std::iter::successors(Some(1_u32), |step| step.checked_mul(2))
            .take_while(|s| *s < steps_max)
            .collect();
        horizons.push(steps_max.max(1));
        let of = |model| Member {
            model,
            ahead: Vec::new(),
            pending: horizons.iter().map(|steps| Ring::new(*steps)).collect(),
            loss: vec![0.0; horizons.len()],
        };
        Self { members: members.into_iter().map(of).collect(), decay: libm::exp2(-1.0 / half_life), horizons }
    }

    /// The member that speaks for a horizon: the leader at the next one that is compared.
    fn leader(&self, steps: u32) -> Option<&Member> {
        let index = self.horizons.partition_point(|own| *own < steps).min(self.horizons.len() - 1);
        self.members.iter().min_by(|a, b| a.loss[index].total_cmp(&b.loss[index]))
    }
}

impl Forecaster for Mixture {
    fn observe(&mut self, value: f64) {
        let steps_max = self.horizons.last().copied().unwrap_or(1);
        for member in &mut self.members {
            member.model.observe(value);
            member.model.path(steps_max, &mut member.ahead);
            for (index, steps) in self.horizons.iter().enumerate() {
                let pending = &mut member.pending[index];
                if let Some(forecast) = pending.due() {
                    member.loss[index] = self.decay * member.loss[index] + (value - forecast).abs();
                }
                pending.push(member.ahead[*steps as usize - 1]);
            }
        }
    }

    fn forecast(&self, steps: u32) -> f64 {
        let of = |member: &Member| match member.ahead.get(steps.max(1) as usize - 1) {
            Some(known) => *known,
            None => member.model.forecast(steps),
        };
        self.leader(steps).map_or(0.0, of)
    }

    fn model(&self, steps: u32) -> &'static str {
        self.leader(steps).map_or("mixture", |member| member.model.model(steps))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;
    use crate::forecast::{LastValue, MovingAverage, SeasonalNaive};

    fn mixture(half_life: f64) -> Mixture {
        let members: Vec<Box<dyn Forecaster>> = vec![
            Box::new(LastValue::default()),
            Box::new(SeasonalNaive::new(4)),
            Box::new(MovingAverage::new(8)),
        ];
        Mixture::new(members, 3, half_life)
    }

    #[test]
    fn the_best_of_late_speaks() {
        let mut model = mixture(4.0);
        assert_eq!((model.forecast(1), model.model(1)), (0.0, "lastValue"));
        let season = |t: usize| [10.0, 0.0, 20.0, 5.0][t % 4];
        (0..40).for_each(|t| model.observe(season(t)));
        // Five steps are more than it was made for: it answers all the same.
        for steps in [1, 2, 3, 5] {
            assert_eq!(model.model(steps), "seasonalNaive");
            assert_eq!(model.forecast(steps), season(39 + steps as usize));
        }
        // A level that stays: the season is still remembered for four steps, and forgotten soon.
        (0..12).for_each(|_| model.observe(50.0));
        assert_eq!((model.forecast(1), model.model(1)), (50.0, "lastValue"));
    }

    #[test]
    fn horizons_are_judged_apart() {
        // A sawtooth of period 3: one step ahead the last value is off by 1 or 2, three steps ahead it is exact.
        let mut model = mixture(8.0);
        (0..60).for_each(|t| model.observe(f64::from(t % 3)));
        assert_eq!(model.model(3), "lastValue");
        assert_eq!(model.model(1), "movingAverage");
        assert_eq!(model.horizons, [1, 2, 3]);
    }

    #[test]
    fn losses_are_the_discounted_errors() {
        let mut model = mixture(1.0);
        for value in [1.0, 4.0, 4.0, 2.0] {
            model.observe(value);
        }
        // Of the last value one step ahead: 3, 0, 2, each half as heavy as the one after it.
        assert_eq!(model.members[0].loss[0], 0.75 + 0.0 + 2.0);
    }
}
