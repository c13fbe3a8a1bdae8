//! Floor 2: forecasts of a series, one value a step: models, what they are off by, and how they would have done.
//!
//! A model is one file with `impl Forecaster` and one arm in each function of [`ForecasterSpec`]. Everything is on line: a
//! value costs a model a bounded amount of work and no memory, except at its rare refits. Nothing here knows what the series
//! is of, who asks, or what is done with the answer.

mod ar;
mod average;
mod backtest;
mod conformal;
mod ewma;
mod holt_winters;
mod kalman;
mod last_value;
mod minimise;
mod mixture;
mod ring;
mod seasonal_naive;
mod series;
mod spec;

pub use ar::Ar;
pub use average::MovingAverage;
pub use backtest::{Backtest, Fan, HorizonScore, Plan, Score, backtest};
pub use conformal::{Errors, Intervals};
pub use ewma::Ewma;
pub use holt_winters::{HoltWinters, Seasonality, Smoothing};
pub use kalman::KalmanTrend;
pub use last_value::LastValue;
pub use mixture::Mixture;
pub use seasonal_naive::SeasonalNaive;
pub use series::Series;
pub use spec::{
    ArSpec, EwmaSpec, ForecasterSpec, HoltWintersSpec, KalmanTrendSpec, MixtureSpec, MovingAverageSpec,
    SeasonalNaiveSpec,
};

/// Something wrong with a forecaster's settings: (path below them, what, how to mend it).
pub type Fault = (String, String, String);

/// A model that is told a series value by value.
pub trait Forecaster: Send {
    /// The series' next value.
    fn observe(&mut self, value: f64);

    /// What it expects `steps` after the last value, 1 being the next; 0 before the first value.
    fn forecast(&self, steps: u32) -> f64;

    /// The forecasts of the next `steps` steps, in order, in place of what `into` held.
    fn path(&self, steps: u32, into: &mut Vec<f64>) {
        into.clear();
        into.extend((1..=steps).map(|step| self.forecast(step)));
    }

    /// The model that a forecast of so many steps comes from.
    fn model(&self, steps: u32) -> &'static str;
}
