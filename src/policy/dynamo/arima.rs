//! What stands for upstream's `pmdarima.auto_arima`: an autoregression of up to two lags over differences.
//!
//! As upstream's, the order is chosen once, at the first forecast, and the coefficients follow every point from then on. The
//! number of differences is chosen by the KPSS test at 5 %, the number of lags by Akaike's criterion. Unlike upstream's there are no
//! moving-average terms, and least squares stand for the maximum likelihood of a state-space model: forecasts of a series that
//! needs neither agree, others come near.

use super::regression::solve;

/// Most lags.
const LAGS_MAX: usize = 2;
/// Most differences (`max_d`).
const DIFFERENCES_MAX: usize = 2;
/// The KPSS statistic of a level beyond which a series is not stationary at 5 %.
const KPSS_CRITICAL: f64 = 0.463;

/// The order of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Lags.
    pub p: usize,
    /// Differences.
    pub d: usize,
}

/// A fitted model, and what its next forecast needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    order: Order,
    moments: Moments,
    /// The newest values, and the newest values of their differences, oldest first.
    values: Vec<f64>,
    differences: Vec<f64>,
}

/// Sums over rows (1, lag 1, lag 2 -> value).
#[derive(Clone, Debug, Default, PartialEq)]
struct Moments {
    xx: [[f64; LAGS_MAX + 1]; LAGS_MAX + 1],
    xy: [f64; LAGS_MAX + 1],
}

impl Moments {
    fn add(&mut self, row: [f64; LAGS_MAX + 1], y: f64) {
        for (i, a) in row.iter().enumerate() {
            self.xy[i] += a * y;
            for (j, b) in row.iter().enumerate() {
                self.xx[i][j] += a * b;
            }
        }
    }

    /// Coefficients of the order's terms; those it lacks are 0. Of a series that does not tell the lags apart, the mean alone.
    fn coefficients(&self, order: Order) -> [f64; LAGS_MAX + 1] {
        let terms = |p: usize| (usize::from(order.d > 0)..=p).collect::<Vec<_>>();
        for p in (0..=order.p).rev() {
            let terms = terms(p);
            let matrix = terms.iter().map(|i| terms.iter().map(|j| self.xx[*i][*j]).collect()).collect();
            let right = terms.iter().map(|i| self.xy[*i]).collect();
            if let Some(found) = solve(matrix, right) {
                let mut all = [0.0; LAGS_MAX + 1];
                for (term, value) in terms.into_iter().zip(found) {
                    all[term] = value;
                }
                return all;
            }
        }
        [0.0; LAGS_MAX + 1]
    }
}

fn difference(values: &[f64]) -> Vec<f64> {
    values.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// The KPSS statistic of a level, with a lag of `3 * sqrt(n) / 13`.
fn kpss(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let residuals: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let lag = (3.0 * n.sqrt() / 13.0) as usize;
    let product = |shift: usize| residuals.iter().zip(&residuals[shift..]).map(|(a, b)| a * b).sum::<f64>();
    let weighted = (1..=lag).map(|j| (1.0 - j as f64 / (lag as f64 + 1.0)) * product(j)).sum::<f64>();
    let variance = (product(0) + 2.0 * weighted) / n;
    let mut sum = 0.0;
    let squares: f64 = residuals
        .iter()
        .map(|residual| {
            sum += residual;
            sum * sum
        })
        .sum();
    if variance > 0.0 { squares / (n * n * variance) } else { 0.0 }
}

fn row(values: &[f64], at: usize) -> [f64; LAGS_MAX + 1] {
    let lag = |by: usize| at.checked_sub(by).map_or(0.0, |before| values[before]);
    [1.0, lag(1), lag(2)]
}

fn choose_lags(values: &[f64], d: usize) -> usize {
    let most = LAGS_MAX.min(values.len().saturating_sub(2) / 2);
    let rows = most..values.len();
    let n = rows.len() as f64;
    let scale = values.iter().map(|value| value * value).sum::<f64>() / values.len().max(1) as f64;
    let mut moments = Moments::default();
    rows.clone().for_each(|at| moments.add(row(values, at), values[at]));
    let criterion = |p: usize| {
        let own = moments.coefficients(Order { p, d });
        let error = |at: usize| values[at] - row(values, at).iter().zip(own).map(|(x, b)| x * b).sum::<f64>();
        let squares: f64 = rows.clone().map(|at| error(at) * error(at)).sum();
        let terms = p + usize::from(d == 0);
        // An exact fit would have a criterion of minus infinity.
        n * libm::log((squares / n).max(scale * 1e-12).max(f64::MIN_POSITIVE)) + 2.0 * terms as f64
    };
    (0..=most).min_by(|a, b| criterion(*a).total_cmp(&criterion(*b))).unwrap_or(0)
}

impl Model {
    /// Chooses an order for a series of at least three values, and fits it.
    pub fn fit(series: &[f64]) -> Self {
        let (mut d, mut values) = (0, series.to_vec());
        while d < DIFFERENCES_MAX && values.len() > 3 && kpss(&values) > KPSS_CRITICAL {
            (d, values) = (d + 1, difference(&values));
        }
        let order = Order { p: choose_lags(&values, d), d };
        let mut model =
            Self { order, moments: Moments::default(), values: Vec::new(), differences: Vec::new() };
        for value in series {
            model.update(*value);
        }
        model
    }

    /// Its order.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Takes in the next value.
    pub fn update(&mut self, value: f64) {
        keep(&mut self.values, value, DIFFERENCES_MAX + 1);
        if self.values.len() <= self.order.d {
            return;
        }
        let mut newest = self.values.clone();
        for _ in 0..self.order.d {
            newest = difference(&newest);
        }
        let Some(next) = newest.last().copied() else { return };
        if self.differences.len() >= self.order.p {
            let row = row(&self.differences, self.differences.len());
            self.moments.add(row, next);
        }
        keep(&mut self.differences, next, LAGS_MAX);
    }

    /// The next value as it is expected.
    pub fn forecast(&self) -> f64 {
        let row = row(&self.differences, self.differences.len());
        let own = self.moments.coefficients(self.order);
        let step: f64 = row.iter().zip(own).map(|(x, b)| x * b).sum();
        match (self.order.d, &self.values[..]) {
            (0, _) => step,
            (1, [.., last]) => last + step,
            (_, [.., before, last]) => 2.0 * last - before + step,
            _ => self.values.last().copied().unwrap_or(0.0),
        }
    }
}

/// Appends a value and keeps so many.
fn keep(values: &mut Vec<f64>, value: f64, most: usize) {
    if values.len() == most {
        values.remove(0);
    }
    values.push(value);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{found} and not {expected}");
    }

    #[test]
    fn an_autoregression_is_found_again() {
        // x_t = 10 + 0.5 x_{t-1}. Its differences halve as well, so that the forecast is exact whatever their number.
        let mut series = vec![0.0];
        (1..9).for_each(|t| series.push(10.0 + 0.5 * series[t - 1]));
        let model = Model::fit(&series);
        assert_eq!(model.order().p, 1);
        near(model.forecast(), 10.0 + 0.5 * series[8]);
    }

    #[test]
    fn closed_forms() {
        // An alternation: x_t = 30 - x_{t-1}.
        let alternating: Vec<f64> = (0..9).map(|t| if t % 2 == 0 { 10.0 } else { 20.0 }).collect();
        let model = Model::fit(&alternating);
        assert_eq!(model.order(), Order { p: 1, d: 0 });
        near(model.forecast(), 20.0);
        // A straight line is not stationary; of its differences, all the same, one lag with factor 1 goes on.
        let line: Vec<f64> = (0..20).map(|t| 5.0 + 3.0 * f64::from(t)).collect();
        let model = Model::fit(&line);
        assert_eq!(model.order(), Order { p: 1, d: 1 });
        near(model.forecast(), 65.0);
        // Every triple of low and high comes twice, so no lag tells anything: the mean.
        let level: Vec<f64> =
            "000101110001011100".chars().map(|c| if c == '1' { 9.0 } else { 5.0 }).collect();
        let model = Model::fit(&level);
        assert_eq!(model.order(), Order { p: 0, d: 0 });
        near(model.forecast(), 5.0 + 4.0 * 8.0 / 18.0);
    }

    #[test]
    fn updates_are_a_fit_over_all() {
        let series = [4.0, 7.0, 5.0, 9.0, 6.0, 8.0, 7.0, 10.0, 6.0, 9.0];
        let mut model = Model::fit(&series[..6]);
        let order = model.order();
        for value in &series[6..] {
            model.update(*value);
        }
        let mut whole =
            Model { order, moments: Moments::default(), values: Vec::new(), differences: Vec::new() };
        for value in series {
            whole.update(value);
        }
        assert_eq!(model, whole);
    }

    #[test]
    fn stationarity_is_tested() {
        let line: Vec<f64> = (0..20).map(f64::from).collect();
        assert!(kpss(&line) > KPSS_CRITICAL);
        // By hand: residuals 1, -1, -1, 1, so sums 1, 0, -1, 0, and 2 / (16 * 1).
        assert!((kpss(&[3.0, 1.0, 1.0, 3.0]) - 0.125).abs() < 1e-12);
        assert_eq!(kpss(&[5.0; 8]), 0.0);
    }
}
