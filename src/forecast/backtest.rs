//! How a model would have done: a backtest with a rolling origin.
//!
//! The model is told the series value by value, as it would have been on line; after each value it forecasts every horizon, and each
//! forecast is scored when its time has come. It never sees what is ahead of it.

use std::collections::VecDeque;

use super::{Forecaster, Intervals, Series};

/// What is forecast and scored.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Horizons, steps.
    pub horizons: &'a [u32],
    /// Quantiles in (0, 1), ascending, two at least: the first and the last bound the interval whose coverage is counted.
    pub quantiles: &'a [f64],
    /// Values that are only learned from; what is forecast from there on counts.
    pub warm_up: usize,
    /// Steps of a season, for the scale of MASE; 1 where there is none.
    pub season: usize,
    /// Nothing is expected below zero.
    pub is_load: bool,
    /// The horizon of which every forecast is kept, for a picture.
    pub fan: Option<u32>,
}

/// How good the forecasts of a horizon were.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Forecasts that were scored.
    pub count: u64,
    /// Mean absolute error, in the unit of the series.
    pub mae: f64,
    /// The same over what seasonal naive was off by in the warm-up, one step ahead (Hyndman and Koehler 2006); `None` where
    /// it was never off.
    pub mase: Option<f64>,
    /// Mean pinball loss over all quantiles (Koenker and Bassett 1978), in the unit of the series.
    pub pinball: f64,
    /// Share of values between the first quantile and the last.
    pub coverage: f64,
}

/// The score of one horizon.
#[derive(Clone, Debug, PartialEq)]
pub struct HorizonScore {
    /// Steps ahead.
    pub steps: u32,
    /// How good; `None` where nothing could be scored.
    pub score: Option<Score>,
}

/// Forecasts of one horizon: (index of the value they are of, forecast, first quantile, last quantile).
pub type Fan = Vec<(usize, f64, f64, f64)>;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backtest {
    /// One for each horizon, in order.
    pub scores: Vec<HorizonScore>,
    /// The forecasts that were to be kept.
    pub fan: Fan,
}

/// A forecast whose time has not come.
struct Pending {
    point: f64,
    quantiles: Vec<f64>,
}

#[derive(Default)]
struct Sums {
    count: u64,
    absolute: f64,
    pinball: f64,
    covered: u64,
}

/// Runs a model over a series. `progress` is told how many values are done.
pub fn backtest(
    series: &Series,
    model: Box<dyn Forecaster>,
    plan: &Plan<'_>,
    mut progress: impl FnMut(usize),
) -> Backtest {
    let mut intervals = Intervals::new(model, plan.horizons, plan.is_load);
    let mut queues: Vec<VecDeque<Option<Pending>>> = plan.horizons.iter().map(|_| VecDeque::new()).collect();
    let mut sums: Vec<Sums> = plan.horizons.iter().map(|_| Sums::default()).collect();
    let mut fan = Fan::new();
    for (index, value) in series.values.iter().enumerate() {
        for ((queue, sums), steps) in queues.iter_mut().zip(&mut sums).zip(plan.horizons) {
            if queue.len() < *steps as usize {
                continue;
            }
            let Some(Some(forecast)) = queue.pop_front() else { continue };
            let (low, high) = bounds(&forecast);
            if plan.fan == Some(*steps) {
                fan.push((index, forecast.point, low, high));
            }
            let Some(value) = *value else { continue };
            sums.count += 1;
            sums.absolute += (value - forecast.point).abs();
            sums.covered += u64::from((low..=high).contains(&value));
            let losses = forecast.quantiles.iter().zip(plan.quantiles);
            sums.pinball += losses.map(|(own, p)| pinball(*p, value - own)).sum::<f64>();
        }
        intervals.observe(*value);
        let counts = index + 1 >= plan.warm_up;
        for (queue, steps) in queues.iter_mut().zip(plan.horizons) {
            let point = intervals.forecast(*steps);
            let of = |p: &f64| intervals.quantile_of(*steps, point, *p);
            queue.push_back(
                counts.then(|| Pending { point, quantiles: plan.quantiles.iter().map(of).collect() }),
            );
        }
        progress(index + 1);
    }
    let scale = naive_error(&series.values[..plan.warm_up.min(series.values.len())], plan.season);
    let score = |sums: &Sums| -> Option<Score> {
        let count = (sums.count > 0).then_some(sums.count as f64)?;
        let mae = sums.absolute / count;
        Some(Score {
            count: sums.count,
            mae,
            mase: scale.filter(|scale| *scale > 0.0).map(|scale| mae / scale),
            pinball: sums.pinball / count / plan.quantiles.len() as f64,
            coverage: sums.covered as f64 / count,
        })
    };
    let scores = plan.horizons.iter().zip(&sums);
    Backtest {
        scores: scores.map(|(steps, sums)| HorizonScore { steps: *steps, score: score(sums) }).collect(),
        fan,
    }
}

fn bounds(forecast: &Pending) -> (f64, f64) {
    let of = |own: Option<&f64>| own.copied().unwrap_or(forecast.point);
    (of(forecast.quantiles.first()), of(forecast.quantiles.last()))
}

/// The loss of a quantile at `p` that is `off` below what came.
fn pinball(p: f64, off: f64) -> f64 {
    (p * off).max((p - 1.0) * off)
}

/// What seasonal naive is off by on average, one step ahead.
fn naive_error(values: &[Option<f64>], season: usize) -> Option<f64> {
    let pairs = values.iter().zip(values.iter().skip(season));
    let off: Vec<f64> = pairs.filter_map(|(before, value)| Some(((*value)? - (*before)?).abs())).collect();
    (!off.is_empty()).then(|| off.iter().sum::<f64>() / off.len() as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;
    use crate::forecast::{LastValue, SeasonalNaive};
    use crate::kernel::SimDuration;

    fn series(values: &[f64]) -> Series {
        let values = values.iter().map(|value| value.is_finite().then_some(*value)).collect();
        Series { step: SimDuration::from_secs(1), values }
    }

    fn plan(horizons: &[u32]) -> Plan<'_> {
        Plan { horizons, quantiles: &[0.1, 0.5, 0.9], warm_up: 4, season: 1, is_load: true, fan: None }
    }

    #[test]
    fn scores_are_those_of_pencil_and_paper() {
        let own = series(&[2.0, 4.0, 6.0, 8.0, 10.0, 13.0, 13.0]);
        let plan = Plan { fan: Some(1), ..plan(&[1, 2]) };
        let mut told = Vec::new();
        let found = backtest(&own, Box::new(LastValue::default()), &plan, |done| told.push(done));
        assert_eq!(told, [1, 2, 3, 4, 5, 6, 7]);
        let [one, two] = &found.scores[..] else { panic!("two horizons") };
        let (one, two) = (one.score.as_ref().unwrap(), two.score.as_ref().unwrap());
        // From 8, 10 and 13: off by 2, 3 and 0; naive was off by 2 in the warm-up.
        assert_eq!((one.count, one.mae, one.mase), (3, 5.0 / 3.0, Some(5.0 / 6.0)));
        // From 8 and 10, two ahead: off by 5 and 3.
        assert_eq!((two.count, two.mae), (2, 4.0));
        let kept: Vec<(usize, f64)> = found.fan.iter().map(|(index, point, ..)| (*index, *point)).collect();
        assert_eq!(kept, [(4, 8.0), (5, 10.0), (6, 13.0)]);
        // Errors before 8 was forecast from: 2 / sqrt(2), 2 / sqrt(4), 2 / sqrt(6); all quantiles but the lowest above the forecast.
        let (_, _, low, high) = found.fan[0];
        assert!((low - (8.0 + 2.0 / 6.0_f64.sqrt() * 8.0_f64.sqrt())).abs() < 1e-12, "{low}");
        assert!((high - (8.0 + 2.0 / 2.0_f64.sqrt() * 8.0_f64.sqrt())).abs() < 1e-12, "{high}");
    }

    #[test]
    fn pinball_weighs_what_is_above_by_p_and_below_by_the_rest() {
        let check = |p: f64, off: f64, expected: f64| assert!((pinball(p, off) - expected).abs() < 1e-12);
        check(0.9, 10.0, 9.0);
        check(0.9, -10.0, 1.0);
        check(0.5, -4.0, 2.0);
        check(0.1, 0.0, 0.0);
    }

    #[test]
    fn gaps_are_neither_scored_nor_learned_from() {
        let own = series(&[1.0, 2.0, 1.0, 2.0, f64::NAN, 2.0, 1.0, f64::NAN]);
        let plan = Plan { season: 2, ..plan(&[1]) };
        let found = backtest(&own, Box::new(SeasonalNaive::new(2)), &plan, |_| ());
        let score = found.scores[0].score.as_ref().unwrap();
        assert_eq!((score.count, score.mae, score.mase, score.coverage), (2, 0.0, None, 1.0));
    }

    #[test]
    fn a_horizon_beyond_the_end_has_no_score() {
        let found = backtest(&series(&[1.0; 6]), Box::new(LastValue::default()), &plan(&[3]), |_| ());
        assert_eq!(found.scores, [HorizonScore { steps: 3, score: None }]);
    }
}
