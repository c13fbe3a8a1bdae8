//! An autoregression with seasonal terms, by recursive least squares.
//!
//! `y[t] = c + sum of a_i y[t-i], i = 1..p, + sum of b_j y[t-s-j], j = 0..p`: the lags that the multiplicative seasonal
//! autoregression `(1 - a(B)) (1 - b B^s)` has, without its products (Box, Jenkins and Reinsel, 9.2), so that it is linear.
//! Its least squares are kept as a triangle that each value is rotated into (Gentleman 1974, algorithm AS 75): nothing is
//! refitted, and every value counts the same.

use super::Forecaster;

/// Weight of the prior that all coefficients are 0, in values scaled to 1: it decides only what the data leave open.
const RIDGE: f64 = 1e-6;

/// A running autoregression. It says the last value until it has seen twice as many equations as it has coefficients.
#[derive(Clone, Debug)]
pub struct Ar {
    /// Lags that it looks at, ascending.
    lags: Vec<usize>,
    /// The newest values, the newest last: as many as the largest lag at least, and twice as many at most.
    values: Vec<f64>,
    /// Values are taken relative to this, and in this unit: squares of large numbers would drown their differences.
    scale: Option<(f64, f64)>,
    /// The triangle with its right-hand side, row by row.
    rows: Vec<Vec<f64>>,
    equations: usize,
    /// The constant, then one for each lag.
    coefficients: Vec<f64>,
    row: Vec<f64>,
    range: (f64, f64),
}

impl Ar {
    /// With so many lags, and as many about a season ago; 1 lag at least, and fewer than a season.
    pub fn new(lags: usize, season: Option<usize>) -> Self {
        let near = 1..=lags.max(1);
        let far = season.into_iter().flat_map(|season| season..=season + lags.max(1));
        let mut all: Vec<usize> = near.chain(far).collect();
        all.sort_unstable();
        all.dedup();
        let width = all.len() + 1;
        let rows = (0..width).map(|row| {
            let mut cells = vec![0.0; width + 1];
            cells[row] = RIDGE;
            cells
        });
        Self {
            rows: rows.collect(),
            lags: all,
            values: Vec::new(),
            scale: None,
            equations: 0,
            coefficients: vec![0.0; width],
            row: Vec::new(),
            range: (f64::INFINITY, f64::NEG_INFINITY),
        }
    }

    fn lag_max(&self) -> usize {
        self.lags.last().copied().unwrap_or(1)
    }

    /// The constant and the coefficients of the lags, in the units of the series.
    pub fn coefficients(&self) -> (f64, Vec<(usize, f64)>) {
        let (centre, unit) = self.scale.unwrap_or((0.0, 1.0));
        let of_lags: Vec<(usize, f64)> =
            self.lags.iter().copied().zip(self.coefficients[1..].iter().copied()).collect();
        let sum: f64 = of_lags.iter().map(|(_, a)| a).sum();
        (self.coefficients[0] * unit + centre * (1.0 - sum), of_lags)
    }

    /// Rotates an equation into the triangle (Givens), and solves it.
    fn learn(&mut self, value: f64, (centre, unit): (f64, f64)) {
        let newest = self.values.len();
        self.row.clear();
        self.row.push(1.0);
        let values = &self.values;
        self.row.extend(self.lags.iter().map(|lag| (values[newest - lag] - centre) / unit));
        self.row.push((value - centre) / unit);
        for (index, own) in self.rows.iter_mut().enumerate() {
            let (a, b) = (own[index], self.row[index]);
            if b == 0.0 {
                continue;
            }
            let radius = (a * a + b * b).sqrt();
            let (c, s) = (a / radius, b / radius);
            // By index: this is the innermost loop of all, and builds that do not optimise much run it as it stands.
            let (mine, new) = (&mut own[index..], &mut self.row[index..]);
            for at in 0..mine.len() {
                (mine[at], new[at]) = (c * mine[at] + s * new[at], c * new[at] - s * mine[at]);
            }
        }
        self.equations += 1;
        let width = self.rows.len();
        for index in (0..width).rev() {
            let own = &self.rows[index];
            let mut known = 0.0;
            for (at, coefficient) in self.coefficients.iter().enumerate().skip(index + 1) {
                known += own[at] * coefficient;
            }
            self.coefficients[index] = (own[width] - known) / own[index];
        }
    }

    /// Forecasts step by step, each out of those before. None leaves what was seen by more than its whole range: a fit may
    /// have a root outside of the unit circle, and nothing grows without end.
    fn recursion(&self, steps: u32, mut each: impl FnMut(f64)) {
        let last = self.values.last().copied().unwrap_or(0.0);
        let (Some((centre, unit)), true) = (self.scale, self.equations >= 2 * self.rows.len()) else {
            (0..steps).for_each(|_| each(last));
            return;
        };
        let (low, high) = self.range;
        let margin = high - low;
        let mut ahead: Vec<f64> = Vec::with_capacity(steps as usize);
        for step in 0..steps as usize {
            let mut sum = self.coefficients[0];
            for (lag, coefficient) in self.lags.iter().zip(&self.coefficients[1..]) {
                let value = match step.checked_sub(*lag) {
                    Some(own) => ahead[own],
                    None => self.values[self.values.len() + step - lag],
                };
                sum += coefficient * (value - centre) / unit;
            }
            let value = (centre + unit * sum).clamp(low - margin, high + margin);
            ahead.push(value);
            each(value);
        }
    }
}

impl Forecaster for Ar {
    fn observe(&mut self, value: f64) {
        let lag_max = self.lag_max();
        if self.values.len() >= lag_max {
            let scale = *self.scale.get_or_insert_with(|| {
                let mean = self.values.iter().sum::<f64>() / lag_max as f64;
                let spread = self.values.iter().map(|v| (v - mean).abs()).sum::<f64>() / lag_max as f64;
                (mean, if spread > 0.0 { spread } else { 1.0 })
            });
            self.learn(value, scale);
        }
        self.values.push(value);
        // In bulk: to move all of them for each value would cost the length of a season.
        if self.values.len() >= 2 * lag_max {
            self.values.drain(..lag_max);
        }
        self.range = (self.range.0.min(value), self.range.1.max(value));
    }

    fn forecast(&self, steps: u32) -> f64 {
        let mut last = 0.0;
        self.recursion(steps.max(1), |value| last = value);
        last
    }

    fn path(&self, steps: u32, into: &mut Vec<f64>) {
        into.clear();
        self.recursion(steps, |value| into.push(value));
    }

    fn model(&self, _steps: u32) -> &'static str {
        "ar"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;
    use crate::kernel::Streams;
    use crate::kernel::dist::normal;
    use crate::kernel::rng::Purpose;

    #[test]
    fn coefficients_are_recovered() {
        // Noise too small to matter excites all lags.
        let mut rng = Streams::new(1, 0).stream(Purpose::Arrivals, 0);
        let (c, near, season, far) = (2.0, [0.5, -0.3], 12, 0.6);
        let mut y: Vec<f64> = (0..14).map(|t| 10.0 + f64::from(t * 7 % 5)).collect();
        for t in 14..3000 {
            let noise = 0.01 * normal(&mut rng);
            y.push(c + near[0] * y[t - 1] + near[1] * y[t - 2] + far * y[t - season] + noise);
        }
        let mut model = Ar::new(2, Some(season));
        for value in &y {
            model.observe(*value);
        }
        let (constant, found) = model.coefficients();
        let expected = [(1, 0.5), (2, -0.3), (12, 0.6), (13, 0.0), (14, 0.0)];
        for ((lag, a), (expected_lag, b)) in found.iter().zip(expected) {
            assert_eq!(*lag, expected_lag);
            // The standard error is below 1 / sqrt(3000) = 0.018.
            assert!((a - b).abs() < 0.07, "lag {lag}: {a} and not {b}");
        }
        let sum: f64 = found.iter().map(|(_, a)| a).sum();
        let mean = constant / (1.0 - sum);
        assert!((mean - c / (1.0 - 0.8)).abs() < 0.01, "{mean}");
    }

    /// Least squares by the normal equations and Gauss: another way to the same.
    fn plain(y: &[f64], lags: &[usize]) -> Vec<f64> {
        let width = lags.len() + 1;
        let mut a = vec![vec![0.0; width + 1]; width];
        for t in lags[lags.len() - 1]..y.len() {
            let x: Vec<f64> = std::iter::once(1.0).chain(lags.iter().map(|lag| y[t - lag])).collect();
            for i in 0..width {
                for j in 0..width {
                    a[i][j] += x[i] * x[j];
                }
                a[i][width] += x[i] * y[t];
            }
        }
        for i in 0..width {
            let pivot = (i..width).max_by(|p, q| a[*p][i].abs().total_cmp(&a[*q][i].abs())).unwrap();
            a.swap(i, pivot);
            let row = a[i].clone();
            for (_, other) in a.iter_mut().enumerate().filter(|(other, _)| *other != i) {
                let factor = other[i] / row[i];
                for (cell, own) in other[i..].iter_mut().zip(&row[i..]) {
                    *cell -= factor * own;
                }
            }
        }
        (0..width).map(|i| a[i][width] / a[i][i]).collect()
    }

    #[test]
    fn it_is_ordinary_least_squares_and_forecasts_by_recursion() {
        let mut rng = Streams::new(2, 0).stream(Purpose::Arrivals, 0);
        let y: Vec<f64> = (0..400).map(|t| 50.0 + f64::from(t % 7) * 3.0 + normal(&mut rng)).collect();
        let mut model = Ar::new(3, Some(7));
        for value in &y {
            model.observe(*value);
        }
        let expected = plain(&y, &[1, 2, 3, 7, 8, 9, 10]);
        let (constant, found) = model.coefficients();
        assert!(
            (constant - expected[0]).abs() < 1e-4 * expected[0].abs().max(1.0),
            "{constant} {expected:?}"
        );
        for ((lag, a), b) in found.iter().zip(&expected[1..]) {
            assert!((a - b).abs() < 1e-6, "lag {lag}: {a} {b}");
        }
        let mut longer = y.clone();
        for _ in 0..20 {
            let next = longer.len();
            let sum: f64 = found.iter().map(|(lag, a)| a * longer[next - lag]).sum();
            longer.push(constant + sum);
        }
        let mut path = Vec::new();
        model.path(20, &mut path);
        for (step, value) in path.iter().enumerate() {
            assert!((value - longer[400 + step]).abs() < 1e-6, "{step}");
            assert_eq!(*value, model.forecast(step as u32 + 1), "{step}");
        }
    }

    #[test]
    fn a_constant_stays_and_growth_has_an_end() {
        let mut flat = Ar::new(3, Some(10));
        (0..100).for_each(|_| flat.observe(5.0));
        assert!((flat.forecast(50) - 5.0).abs() < 1e-9);
        let mut doubling = Ar::new(1, None);
        (0..10).for_each(|t| doubling.observe(f64::from(1 << t)));
        // 512 was the largest, 1 the smallest.
        assert_eq!(doubling.forecast(40), 512.0 + 511.0);
    }
}
