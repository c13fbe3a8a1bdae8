//! Holt and Winters: a level, a trend and a season, each smoothed exponentially.
//!
//! Formulas: Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, 8.2 and 8.3; damping after
//! Gardner and McKenzie (1985).

use super::Forecaster;
use super::minimise::minimise;

/// How the season goes into the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seasonality {
    /// There is none.
    None,
    /// It is added.
    Additive,
    /// It multiplies.
    Multiplicative,
}

/// The smoothing parameters, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Smoothing {
    /// Of the level.
    pub alpha: f64,
    /// Of the trend (FPP's beta star).
    pub beta: f64,
    /// Of the season.
    pub gamma: f64,
    /// What a step leaves of the trend; 1 does not damp.
    pub phi: f64,
}

/// Parameters before the first fit: slow ones, which do little harm.
const FIRST: Smoothing = Smoothing { alpha: 0.3, beta: 0.05, gamma: 0.1, phi: 0.98 };
/// Bounds of the damping in a fit (FPP 8.2: a smaller one is hardly a trend, a larger one hardly damped).
const PHI_RANGE: (f64, f64) = (0.8, 0.98);
/// Seasons that a fit looks back on; what is older is forgotten.
const SEASONS_KEPT: usize = 4;
/// What stands in for a season where there is none: the level and the trend begin with two blocks of this many values.
const BLOCK: usize = 8;
/// Values that it looks back on at least: four short seasons are soon seen, and say little.
const KEPT_LEAST: usize = 512;

/// A running model. It says the last value until two seasons are over.
#[derive(Clone, Debug)]
pub struct HoltWinters {
    seasonality: Seasonality,
    is_damped: bool,
    /// Steps of a season, or of a block.
    block: usize,
    /// Those that are not fitted.
    given: Option<Smoothing>,
    smoothing: Smoothing,
    /// The newest values, for fits.
    kept: Vec<f64>,
    seen: usize,
    /// Fits when so many were seen.
    next_fit: usize,
    state: Option<State>,
}

/// Where the smoothing is.
#[derive(Clone, Debug, Default)]
struct State {
    level: f64,
    trend: f64,
    /// Season by phase; [`State::phase`] is that of the next value.
    season: Vec<f64>,
    phase: usize,
}

impl HoltWinters {
    /// With a season of so many steps, at least 2 unless there is none. The parameters are fitted unless given.
    pub fn new(seasonality: Seasonality, season: usize, is_damped: bool, given: Option<Smoothing>) -> Self {
        let block = if seasonality == Seasonality::None { BLOCK } else { season.max(2) };
        let mut smoothing = given.unwrap_or(FIRST);
        if !is_damped {
            smoothing.phi = 1.0;
        }
        Self {
            seasonality,
            is_damped,
            block,
            given,
            smoothing,
            kept: Vec::new(),
            seen: 0,
            next_fit: 3 * block,
            state: None,
        }
    }

    /// The parameters in force.
    pub fn smoothing(&self) -> Smoothing {
        self.smoothing
    }

    fn kept_max(&self) -> usize {
        (SEASONS_KEPT * self.block).max(KEPT_LEAST)
    }

    /// The state before the first of `values`, out of the first two blocks: the trend between their means, the level that goes
    /// with it, the season as the mean of both without these. Exact where the series is.
    fn begin(&self, values: &[f64], into: &mut State) {
        let m = self.block;
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (first, second) = (mean(&values[..m]), mean(&values[m..2 * m]));
        into.trend = (second - first) / m as f64;
        into.level = first - into.trend * (m as f64 + 1.0) / 2.0;
        into.phase = 0;
        into.season.clear();
        if self.seasonality == Seasonality::None {
            return;
        }
        let line = |t: usize| into.level + into.trend * (t as f64 + 1.0);
        for phase in 0..m {
            let of = |t: usize| match self.seasonality {
                Seasonality::Multiplicative => ratio(values[t], line(t)),
                Seasonality::Additive | Seasonality::None => values[t] - line(t),
            };
            into.season.push(f64::midpoint(of(phase), of(phase + m)));
        }
    }

    /// One value further; answers how far off the forecast was.
    fn step(&self, state: &mut State, by: Smoothing, value: f64) -> f64 {
        let Smoothing { alpha, beta, gamma, phi } = by;
        let trend = phi * state.trend;
        let expected = state.level + trend;
        let has_season = self.seasonality != Seasonality::None;
        let season = if has_season { state.season[state.phase] } else { 0.0 };
        let (forecast, deseasoned, seen) = match self.seasonality {
            Seasonality::None => (expected, value, 0.0),
            Seasonality::Additive => (expected + season, value - season, value - expected),
            Seasonality::Multiplicative => {
                // A season that has shrunk to nothing says nothing of the level.
                let deseasoned = if season > TINY { value / season } else { expected };
                (expected * season, deseasoned, ratio(value, expected))
            }
        };
        let level = alpha * deseasoned + (1.0 - alpha) * expected;
        state.trend = beta * (level - state.level) + (1.0 - beta) * trend;
        state.level = level;
        if has_season {
            state.season[state.phase] = gamma * seen + (1.0 - gamma) * season;
            state.phase = if state.phase + 1 == self.block { 0 } else { state.phase + 1 };
        }
        value - forecast
    }

    /// A point of the line with its season.
    fn seasoned(&self, state: &State, steps: u32, line: f64) -> f64 {
        let phase = (state.phase + steps.max(1) as usize - 1) % self.block;
        match self.seasonality {
            Seasonality::None => line,
            Seasonality::Additive => line + state.season[phase],
            Seasonality::Multiplicative => line * state.season[phase],
        }
    }

    /// Fits the parameters to the values kept, and begins anew with them: least squares of one step ahead.
    fn fit(&mut self) {
        let Smoothing { alpha, beta, gamma, phi } = self.smoothing;
        let phi_range = if self.is_damped { PHI_RANGE } else { (1.0, 1.0) };
        let has_season = self.seasonality != Seasonality::None;
        let gamma_range = (0.0, f64::from(u8::from(has_season)));
        let mut at = [alpha, beta, gamma.min(gamma_range.1), phi];
        let mut state = State::default();
        minimise(&mut at, &[(0.0, 1.0), (0.0, 1.0), gamma_range, phi_range], |&[alpha, beta, gamma, phi]| {
            self.begin(&self.kept, &mut state);
            let by = Smoothing { alpha, beta, gamma, phi };
            let mut squares = 0.0;
            for value in &self.kept {
                let error = self.step(&mut state, by, *value);
                squares += error * error;
            }
            squares
        });
        let [alpha, beta, gamma, phi] = at;
        self.smoothing = Smoothing { alpha, beta, gamma, phi };
        self.restart();
    }

    /// Runs through the values kept.
    fn restart(&mut self) {
        let mut state = self.state.take().unwrap_or_default();
        self.begin(&self.kept, &mut state);
        for value in &self.kept {
            self.step(&mut state, self.smoothing, *value);
        }
        self.state = Some(state);
    }
}

/// Below this a level counts as none, and no ratio to it is taken.
const TINY: f64 = 1e-9;

fn ratio(value: f64, level: f64) -> f64 {
    if level > TINY { value / level } else { 1.0 }
}

impl Forecaster for HoltWinters {
    fn observe(&mut self, value: f64) {
        self.seen += 1;
        self.kept.push(value);
        // In bulk: to move all of it for each value would cost the length of it.
        if self.kept.len() > self.kept_max() + self.block {
            self.kept.drain(..self.block);
        }
        if let Some(mut state) = self.state.take() {
            self.step(&mut state, self.smoothing, value);
            self.state = Some(state);
        }
        if self.seen == 2 * self.block {
            self.restart();
        } else if self.seen == self.next_fit {
            self.next_fit *= 2;
            if self.given.is_none() {
                self.fit();
            }
        }
    }

    fn forecast(&self, steps: u32) -> f64 {
        let Some(state) = &self.state else { return self.kept.last().copied().unwrap_or(0.0) };
        let phi = self.smoothing.phi;
        // phi + phi^2 + .. + phi^steps
        let damped = if self.is_damped && phi < 1.0 {
            phi * (1.0 - libm::pow(phi, f64::from(steps))) / (1.0 - phi)
        } else {
            f64::from(steps)
        };
        self.seasoned(state, steps, state.level + damped * state.trend)
    }

    /// The same sums, each from the one before.
    fn path(&self, steps: u32, into: &mut Vec<f64>) {
        into.clear();
        let Some(state) = &self.state else {
            into.resize(steps as usize, self.forecast(1));
            return;
        };
        let (mut power, mut damped) = (1.0, 0.0);
        into.extend((1..=steps).map(|step| {
            power *= self.smoothing.phi;
            damped += power;
            self.seasoned(state, step, state.level + damped * state.trend)
        }));
    }

    fn model(&self, _steps: u32) -> &'static str {
        "holtWinters"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;

    const SEASON: [f64; 6] = [-3.0, 1.5, 4.0, 2.5, -1.0, -4.0];

    /// Largest error of forecasts 1 to 9 steps ahead once two seasons are over.
    fn worst(model: &mut HoltWinters, series: impl Fn(usize) -> f64) -> f64 {
        let mut worst = 0.0_f64;
        for t in 0..120 {
            model.observe(series(t));
            if t + 1 >= 2 * model.block {
                for steps in 1..=9 {
                    worst = worst.max((model.forecast(steps as u32) - series(t + steps)).abs());
                }
            }
        }
        worst
    }

    #[test]
    fn an_exact_series_is_forecast_without_error() {
        let line = |t: usize| 20.0 + 0.75 * t as f64;
        let check = |seasonality, series: &dyn Fn(usize) -> f64| {
            let mut model = HoltWinters::new(seasonality, 6, false, None);
            let off = worst(&mut model, series);
            assert!(off < 1e-9, "{seasonality:?}: {off}, {:?}", model.smoothing());
        };
        check(Seasonality::None, &line);
        check(Seasonality::Additive, &|t| line(t) + SEASON[t % 6]);
        check(Seasonality::Additive, &|t| 10.0 + SEASON[t % 6]);
        check(Seasonality::Multiplicative, &|t| 12.0 * (1.0 + SEASON[t % 6] / 10.0));
        check(Seasonality::Multiplicative, &|_| 0.0);
    }

    #[test]
    fn a_path_is_its_forecasts() {
        for (is_damped, seasonality) in [(true, Seasonality::Additive), (false, Seasonality::Multiplicative)]
        {
            let mut model = HoltWinters::new(seasonality, 6, is_damped, None);
            let mut path = Vec::new();
            for t in 0..50 {
                model.observe(30.0 + f64::from(t * 29 % 13) + SEASON[t as usize % 6]);
                model.path(20, &mut path);
                for (step, value) in (1..).zip(&path) {
                    assert!((model.forecast(step) - value).abs() < 1e-9, "{t} {step}");
                }
            }
        }
    }

    #[test]
    fn one_step_is_the_recursion_of_the_book() {
        // FPP 8.3 written out with l, b, s as lists over time.
        let by = Smoothing { alpha: 0.4, beta: 0.2, gamma: 0.3, phi: 0.9 };
        let y = |t: usize| 30.0 + f64::from((t * 29 % 13) as u32) + SEASON[t % 6];
        for seasonality in [Seasonality::Additive, Seasonality::Multiplicative] {
            let mut model = HoltWinters::new(seasonality, 6, true, Some(by));
            (0..12).for_each(|t| model.observe(y(t)));
            // Values of the first two seasons set the beginning; it is the recursion that is compared.
            let mut begun = State::default();
            model.begin(&(0..12).map(y).collect::<Vec<f64>>(), &mut begun);
            let (mut l, mut b, mut s) = (vec![begun.level], vec![begun.trend], begun.season);
            for t in 0..40 {
                let (l0, b0, s0) = (l[t], b[t], s[t]);
                let additive = seasonality == Seasonality::Additive;
                let level = if additive { y(t) - s0 } else { y(t) / s0 };
                l.push(by.alpha * level + (1.0 - by.alpha) * (l0 + by.phi * b0));
                b.push(by.beta * (l[t + 1] - l0) + (1.0 - by.beta) * by.phi * b0);
                let seen = if additive { y(t) - l0 - by.phi * b0 } else { y(t) / (l0 + by.phi * b0) };
                s.push(by.gamma * seen + (1.0 - by.gamma) * s0);
                if t >= 12 {
                    model.observe(y(t));
                    let line = l[t + 1] + (by.phi + by.phi * by.phi) * b[t + 1];
                    let season = s[t + 2];
                    let expected = if additive { line + season } else { line * season };
                    assert!((model.forecast(2) - expected).abs() < 1e-9, "{seasonality:?} {t}");
                }
            }
        }
    }

    #[test]
    fn fits_are_rare_and_memory_is_bounded() {
        let mut model = HoltWinters::new(Seasonality::Additive, 10, true, None);
        let mut fits = Vec::new();
        for t in 0..1000_usize {
            let before = model.next_fit;
            model.observe(f64::from((t * 31 % 17) as u32) + SEASON[t % 6]);
            if model.next_fit != before {
                fits.push(t + 1);
            }
            assert!(model.kept.len() <= KEPT_LEAST + 10, "{}", model.kept.len());
        }
        assert_eq!(fits, [30, 60, 120, 240, 480, 960]);
    }

    #[test]
    fn a_fit_follows_a_level_that_jumps_and_ignores_noise() {
        let alternating = |t: usize| if t.is_multiple_of(2) { 9.0 } else { 11.0 };
        let mut noisy = HoltWinters::new(Seasonality::None, 0, true, None);
        (0..400).for_each(|t| noisy.observe(alternating(t * 7 / 3)));
        assert!(noisy.smoothing().alpha < 0.2, "{:?}", noisy.smoothing());
        let mut walk = HoltWinters::new(Seasonality::None, 0, true, None);
        // Steps up and down that last: only the newest value says where it is.
        (0..400).for_each(|t: usize| walk.observe(f64::from((t / 25 * 7 % 5) as u32) * 10.0));
        assert!(walk.smoothing().alpha > 0.8, "{:?}", walk.smoothing());
    }
}
