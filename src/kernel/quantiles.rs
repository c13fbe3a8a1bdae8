//! Quantiles of a sum of independent durations, without a random number.

use super::dist::Distribution;
use super::time::SimDuration;

/// Values that stand for a distribution.
const POINTS: usize = 100;

/// A distribution as equally likely values, ascending; empty is no time at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quantiles(Vec<SimDuration>);

impl Quantiles {
    /// Of one duration.
    pub fn of(distribution: &Distribution) -> Self {
        if let Distribution::Constant(time) = distribution {
            return Self(vec![*time]);
        }
        let middle = |index: usize| distribution.quantile((index as f64 + 0.5) / POINTS as f64);
        Self((0..POINTS).map(middle).collect())
    }

    /// Of a time that is anywhere in a period.
    pub fn within(period: SimDuration) -> Self {
        let middle = |index: u64| (2 * index + 1) * period.as_nanos() / (2 * POINTS as u64);
        Self((0..POINTS as u64).map(|index| SimDuration::from_nanos(middle(index))).collect())
    }

    /// Of durations one after another, independent of each other. The sums of all pairs of values are cut into equally
    /// likely parts, of which each is stood for by its middle.
    pub fn then(&self, next: &Self) -> Self {
        if self.0.is_empty() || next.0.is_empty() {
            return Self(if self.0.is_empty() { next.0.clone() } else { self.0.clone() });
        }
        let pairs =
            self.0.iter().flat_map(|a| next.0.iter().map(move |b| a.as_nanos().saturating_add(b.as_nanos())));
        let mut sums: Vec<u64> = pairs.collect();
        sums.sort_unstable();
        if sums.len() > POINTS {
            let middle = |index: usize| sums[(2 * index + 1) * sums.len() / (2 * POINTS)];
            sums = (0..POINTS).map(middle).collect();
        }
        Self(sums.into_iter().map(SimDuration::from_nanos).collect())
    }

    /// The same, but never less than so much.
    pub fn at_least(mut self, least: SimDuration) -> Self {
        if self.0.is_empty() {
            self.0.push(least);
        }
        for time in &mut self.0 {
            *time = (*time).max(least);
        }
        self
    }

    /// The quantile at `p` in (0, 1): between two values on a straight line.
    pub fn at(&self, p: f64) -> SimDuration {
        let Some(last) = self.0.len().checked_sub(1) else { return SimDuration::ZERO };
        let position = (p * self.0.len() as f64 - 0.5).clamp(0.0, last as f64);
        let (low, high) = (self.0[position as usize], self.0[(position as usize + 1).min(last)]);
        let share = position - position.floor();
        low + SimDuration::from_nanos(((high - low).as_nanos() as f64 * share) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> SimDuration {
        SimDuration::from_secs(secs)
    }

    #[test]
    fn sums_have_the_quantiles_of_their_closed_forms() {
        let close = |found: SimDuration, expected_s: f64, within: f64| {
            let found = found.as_secs_f64();
            assert!((found / expected_s - 1.0).abs() < within, "{found} s and not {expected_s} s");
        };
        let constant = |s: u64| Quantiles::of(&Distribution::Constant(secs(s)));
        assert_eq!(constant(3).then(&constant(4)).at(0.9), secs(7));
        assert_eq!(Quantiles::default().then(&constant(4)).then(&Quantiles::default()).at(0.1), secs(4));
        // Two exponentials are an Erlang of two stages: 1 - e^-x (1 + x) = 0.5 and 0.9 at these.
        let exponential = Quantiles::of(&Distribution::Exponential { mean: secs(100) });
        let two = exponential.then(&exponential);
        close(two.at(0.5), 167.835, 0.01);
        close(two.at(0.9), 388.972, 0.015);
        // Two uniform ones are a triangle: 1 - (2 - x)^2 / 2 = 0.9 at 2 - sqrt(0.2).
        let uniform = Quantiles::within(secs(100));
        close(uniform.at(0.5), 50.0, 0.015);
        close(uniform.then(&uniform).at(0.9), 100.0 * (2.0 - 0.2_f64.sqrt()), 0.01);
        // Ten of them are nearly normal: 500 and 1.2816 times the root of 10 / 12 hundreds above.
        let ten = (0..10).fold(Quantiles::default(), |sum, _| sum.then(&uniform));
        close(ten.at(0.5), 500.0, 0.01);
        close(ten.at(0.9), 500.0 + 128.16 * (10.0_f64 / 12.0).sqrt(), 0.015);
    }

    #[test]
    fn nothing_is_below_what_is_least() {
        let waits = Quantiles::within(secs(100)).at_least(secs(40));
        assert_eq!((waits.at(0.1), waits.at(0.3), waits.at(0.6)), (secs(40), secs(40), secs(60)));
        assert_eq!(Quantiles::default().at_least(secs(5)).at(0.5), secs(5));
        assert_eq!(Quantiles::default().at(0.5), SimDuration::ZERO);
    }
}
