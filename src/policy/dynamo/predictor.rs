//! What the next interval brings, one series at a time (`core/load/predictors.py`).

use super::arima::Model;

/// Points from which an ARIMA model is fitted; below, the last value stands.
const POINTS_MIN: usize = 5;

/// A forecast of the next value of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictor {
    method: Method,
    log1p: bool,
    seen_nonzero: bool,
    last: f64,
}

/// How.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// The last value.
    Constant,
    /// See [`super::arima`].
    Arima(Arima),
    /// A Kalman filter of a local linear trend.
    Kalman(Kalman),
}

impl Predictor {
    /// One without a value yet. `log1p` forecasts the logarithms.
    pub fn new(method: Method, log1p: bool) -> Self {
        Self { method, log1p, seen_nonzero: false, last: 0.0 }
    }

    /// The value of an interval. What is no number is nothing, and nothing does not count before the first something.
    pub fn add(&mut self, value: f64) {
        let value = if value.is_finite() { value } else { 0.0 };
        if value == 0.0 && !self.seen_nonzero {
            return;
        }
        self.seen_nonzero = true;
        self.last = value;
        match &mut self.method {
            Method::Constant => {}
            Method::Arima(own) => own.add(value.max(0.0)),
            Method::Kalman(own) => own.add(if self.log1p { libm::log1p(value.max(0.0)) } else { value }),
        }
    }

    /// The next value as it is expected. It is never below 0, but for a Kalman filter without logarithms.
    pub fn predict(&mut self) -> f64 {
        match &mut self.method {
            Method::Constant => self.last,
            Method::Arima(own) => own.predict(self.log1p),
            Method::Kalman(own) => match own.predict() {
                None => self.last,
                Some(value) if self.log1p => libm::expm1(value).max(0.0),
                Some(value) => value,
            },
        }
    }
}

/// An ARIMA model, once there is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arima {
    raw: Vec<f64>,
    /// The model, and whether it is one of the logarithms.
    model: Option<(Model, bool)>,
    /// How many of the points it has taken in.
    taken: usize,
}

impl Arima {
    fn add(&mut self, value: f64) {
        self.raw.push(value);
    }

    fn predict(&mut self, log1p: bool) -> f64 {
        let last = self.raw.last().copied().unwrap_or(0.0);
        let all_same = self.model.is_none() && self.raw.iter().all(|value| value.to_bits() == last.to_bits());
        if self.raw.len() < POINTS_MIN || all_same {
            return last;
        }
        let (model, logarithms) = self.model.get_or_insert_with(|| {
            self.taken = self.raw.len();
            fit(&self.raw, log1p)
        });
        for value in &self.raw[self.taken..] {
            model.update(if *logarithms { libm::log1p(*value) } else { *value });
        }
        self.taken = self.raw.len();
        let forecast = model.forecast();
        if *logarithms { libm::expm1(forecast).max(0.0) } else { forecast.max(0.0) }
    }
}

/// A model of the series, or of its logarithms if the former found nothing but a level (order (0,d,0)).
fn fit(raw: &[f64], log1p: bool) -> (Model, bool) {
    if !log1p {
        let model = Model::fit(raw);
        if model.order().p > 0 {
            return (model, false);
        }
    }
    let logarithms: Vec<f64> = raw.iter().map(|value| libm::log1p(*value)).collect();
    (Model::fit(&logarithms), true)
}

/// A Kalman filter over level and trend: `x' = [[1,1],[0,1]] x`, of which the level is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Kalman {
    state: Option<[f64; 2]>,
    covariance: [[f64; 2]; 2],
    /// Process noise of level and trend.
    noise: [f64; 2],
    /// Measurement noise.
    measured: f64,
    /// The state is already that of the next interval.
    predicted: bool,
}

impl Kalman {
    /// One with `kalman_q_level`, `kalman_q_trend`, `kalman_r`.
    pub fn new(q_level: f64, q_trend: f64, r: f64) -> Self {
        Self {
            state: None,
            covariance: [[1000.0, 0.0], [0.0, 1000.0]],
            noise: [q_level.max(1e-12), q_trend.max(1e-12)],
            measured: r.max(1e-9),
            predicted: false,
        }
    }

    fn advance(&mut self) {
        let Some([level, trend]) = &mut self.state else { return };
        *level += *trend;
        let [[a, b], [c, d]] = self.covariance;
        self.covariance = [[a + b + c + d + self.noise[0], b + d], [c + d, d + self.noise[1]]];
        self.predicted = true;
    }

    fn add(&mut self, value: f64) {
        if self.state.is_none() {
            self.state = Some([value, 0.0]);
            return;
        }
        if !self.predicted {
            self.advance();
        }
        self.predicted = false;
        let Some(state) = &mut self.state else { return };
        let [[a, b], [c, d]] = self.covariance;
        let sum = a + self.measured;
        let (gain, off) = ([a / sum, c / sum], value - state[0]);
        *state = [state[0] + gain[0] * off, state[1] + gain[1] * off];
        self.covariance = [[(1.0 - gain[0]) * a, (1.0 - gain[0]) * b], [c - gain[1] * a, d - gain[1] * b]];
    }

    /// The level of the next interval; asked again before a value comes, the same.
    fn predict(&mut self) -> Option<f64> {
        if !self.predicted {
            self.advance();
        }
        self.state.map(|[level, _]| level)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} and not {expected}");
    }

    fn after(mut own: Predictor, values: &[f64]) -> f64 {
        for value in values {
            own.add(*value);
        }
        own.predict()
    }

    #[test]
    fn constant_is_the_last_value() {
        let constant = || Predictor::new(Method::Constant, false);
        assert_eq!(after(constant(), &[]), 0.0);
        assert_eq!(after(constant(), &[0.0, 0.0, 3.0, 5.0]), 5.0);
        assert_eq!(after(constant(), &[3.0, f64::NAN]), 0.0);
    }

    #[test]
    fn a_kalman_filter_by_hand() {
        let kalman = || Predictor::new(Method::Kalman(Kalman::new(1.0, 0.1, 10.0)), false);
        assert_eq!(after(kalman(), &[]), 0.0);
        assert_eq!(after(kalman(), &[7.0]), 7.0);
        // From x = [10, 0] and P = 1000 I: P' = [[2001, 1000], [1000, 1000.1]], K = [2001, 1000] / 2011, y = 4.
        let (level, trend) = (10.0 + 4.0 * 2001.0 / 2011.0, 4.0 * 1000.0 / 2011.0);
        near(after(kalman(), &[10.0, 14.0]), level + trend);
        // Asking twice does not go on.
        let mut own = kalman();
        own.add(10.0);
        own.add(14.0);
        let first = own.predict();
        assert_eq!(own.predict(), first);
        // Asked or not in between, the next forecast is the same.
        own.add(12.0);
        near(own.predict(), after(kalman(), &[10.0, 14.0, 12.0]));
    }

    #[test]
    fn a_kalman_filter_of_a_falling_line_goes_below_zero_but_for_logarithms() {
        let line: Vec<f64> = (0..30).map(|t| f64::from(29 - t) * 10.0 + 5.0).collect();
        let raw = Predictor::new(Method::Kalman(Kalman::new(1.0, 0.1, 10.0)), false);
        assert!(after(raw, &line) < 0.0);
        let logarithms = Predictor::new(Method::Kalman(Kalman::new(1.0, 0.1, 10.0)), true);
        assert!(after(logarithms, &line) >= 0.0);
    }

    #[test]
    fn arima_waits_for_five_points_that_differ() {
        let arima = || Predictor::new(Method::Arima(Arima::default()), false);
        assert_eq!(after(arima(), &[0.0, 10.0, 20.0, 10.0, 20.0]), 20.0);
        assert_eq!(after(arima(), &[8.0; 50]), 8.0);
        let alternating: Vec<f64> = (0..9).map(|t| if t % 2 == 0 { 10.0 } else { 20.0 }).collect();
        near(after(arima(), &alternating), 20.0);
    }

    #[test]
    fn a_level_is_fitted_to_logarithms() {
        // Spikes without a pattern over the lags: the order is (0,0,0), and the forecast the geometric mean of 1 + x, less 1.
        let series = [1.0, 1.0, 900.0, 1.0, 1.0, 1.0, 1.0, 700.0, 1.0, 1.0, 1.0, 1.0];
        let (model, logarithms) = fit(&series, false);
        assert!(logarithms);
        assert_eq!(model.order().p, 0);
        let mean = series.iter().map(|value| libm::log1p(*value)).sum::<f64>() / series.len() as f64;
        near(after(Predictor::new(Method::Arima(Arima::default()), false), &series), libm::expm1(mean));
    }
}
