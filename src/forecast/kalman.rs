//! The Kalman filter of a local linear trend, as the NVIDIA Dynamo planner has it
//! (`components/src/dynamo/planner/core/load/predictors.py`, `KalmanPredictor`).

use super::Forecaster;

/// A level and a trend that both wander, seen through noise.
///
/// State `x = [level, trend]`, `F = [[1, 1], [0, 1]]`, `H = [1, 0]`. It begins at the first value that is not zero, with no
/// trend and `P = 1000 I`; values before are left out, as Dynamo leaves out the idle time before the first traffic.
#[derive(Clone, Copy, Debug)]
pub struct KalmanTrend {
    level_variance: f64,
    trend_variance: f64,
    noise_variance: f64,
    state: Option<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    level: f64,
    trend: f64,
    /// The covariance, which is symmetric: [level, both, trend].
    p: [f64; 3],
}

/// Variance of level and trend before anything is known.
const FIRST_VARIANCE: f64 = 1000.0;

impl KalmanTrend {
    /// With the variances of what level and trend wander by in a step, and of the noise.
    pub fn new(level_variance: f64, trend_variance: f64, noise_variance: f64) -> Self {
        Self { level_variance, trend_variance, noise_variance, state: None }
    }

    /// A prediction, then the update with what came.
    fn step(&self, state: State, value: f64) -> State {
        let State { level, trend, p: [pl, pb, pt] } = state;
        let level = level + trend;
        // P = F P F' + Q
        let (pl, pb, pt) = (pl + 2.0 * pb + pt + self.level_variance, pb + pt, pt + self.trend_variance);
        let innovation = value - level;
        let s = pl + self.noise_variance;
        let (gain_level, gain_trend) = (pl / s, pb / s);
        State {
            level: level + gain_level * innovation,
            trend: trend + gain_trend * innovation,
            p: [(1.0 - gain_level) * pl, (1.0 - gain_level) * pb, pt - gain_trend * pb],
        }
    }
}

impl Forecaster for KalmanTrend {
    fn observe(&mut self, value: f64) {
        self.state = match self.state {
            Some(state) => Some(self.step(state, value)),
            None if value == 0.0 => None,
            None => Some(State { level: value, trend: 0.0, p: [FIRST_VARIANCE, 0.0, FIRST_VARIANCE] }),
        };
    }

    fn forecast(&self, steps: u32) -> f64 {
        self.state.map_or(0.0, |state| state.level + f64::from(steps) * state.trend)
    }

    fn model(&self, _steps: u32) -> &'static str {
        "kalmanTrend"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Matrix = [[f64; 2]; 2];

    fn product(a: Matrix, b: Matrix) -> Matrix {
        let cell = |i: usize, j: usize| a[i][0] * b[0][j] + a[i][1] * b[1][j];
        [[cell(0, 0), cell(0, 1)], [cell(1, 0), cell(1, 1)]]
    }

    fn sum(a: Matrix, b: Matrix) -> Matrix {
        [[a[0][0] + b[0][0], a[0][1] + b[0][1]], [a[1][0] + b[1][0], a[1][1] + b[1][1]]]
    }

    /// The filter as textbooks write it, all in matrices; the covariance by Joseph's form.
    fn plain(values: &[f64], q: (f64, f64), r: f64) -> ([f64; 2], f64) {
        const F: Matrix = [[1.0, 1.0], [0.0, 1.0]];
        const F_TRANSPOSED: Matrix = [[1.0, 0.0], [1.0, 1.0]];
        let mut x = [values[0], 0.0];
        let mut p = [[1000.0, 0.0], [0.0, 1000.0]];
        for value in &values[1..] {
            x = [F[0][0] * x[0] + F[0][1] * x[1], F[1][0] * x[0] + F[1][1] * x[1]];
            p = sum(product(product(F, p), F_TRANSPOSED), [[q.0, 0.0], [0.0, q.1]]);
            let s = p[0][0] + r;
            let k = [p[0][0] / s, p[1][0] / s];
            let y = value - x[0];
            x = [x[0] + k[0] * y, x[1] + k[1] * y];
            let i_kh = [[1.0 - k[0], 0.0], [-k[1], 1.0]];
            let transposed = [[i_kh[0][0], i_kh[1][0]], [i_kh[0][1], i_kh[1][1]]];
            let noise = [[k[0] * r * k[0], k[0] * r * k[1]], [k[1] * r * k[0], k[1] * r * k[1]]];
            p = sum(product(product(i_kh, p), transposed), noise);
        }
        (x, p[0][0])
    }

    #[test]
    fn it_is_the_filter_of_the_textbooks() {
        let values: Vec<f64> = (0..200).map(|t| 50.0 + f64::from(t) * 0.3 + f64::from(t * 37 % 11)).collect();
        for (q, r) in [((1.0, 0.1), 10.0), ((0.0, 0.0), 1.0), ((5.0, 2.0), 0.5)] {
            for length in [1, 2, 5, 50, 200] {
                let mut model = KalmanTrend::new(q.0, q.1, r);
                // Leading zeros are as if they had not been.
                for value in [0.0, 0.0].iter().chain(&values[..length]) {
                    model.observe(*value);
                }
                let (x, p) = plain(&values[..length], q, r);
                for steps in [1, 7] {
                    let expected = x[0] + f64::from(steps) * x[1];
                    let found = model.forecast(steps);
                    assert!((found - expected).abs() < 1e-9 * expected.abs(), "{length}: {found} {expected}");
                }
                let own = model.state.expect("it has begun").p[0];
                assert!((own - p).abs() < 1e-7 * p, "{length}: {own} {p}");
            }
        }
    }
}
