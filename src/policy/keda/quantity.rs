//! How KEDA writes a metric's value, and when it counts as active.
//!
//! After kedacore/keda `pkg/scalers/scaler.go` (8b4f083c).

use crate::policy::hpa::types::Milli;

/// A scaler's value in thousandths, rounded to them; what is negative or no number is 0.
pub fn metric_milli(value: f64) -> Milli {
    if !value.is_finite() || value < 0.0 {
        return 0;
    }
    // By way of decimals, because a product with 1000 would round a second time.
    let digits: String = format!("{value:.3}").chars().filter(|c| *c != '.').collect();
    digits.parse().unwrap_or(Milli::MAX)
}

/// A target in thousandths: cut off and not rounded.
pub fn target_milli(value: f64) -> Milli {
    truncated(value * 1000.0)
}

/// A double cut off to an integer as Go does on amd64: what does not fit is the lowest number.
pub fn truncated(value: f64) -> i64 {
    let fits = value >= -(2f64.powi(63)) && value < 2f64.powi(63);
    if fits { value as i64 } else { i64::MIN }
}

/// Whether a trigger of this value is active: above the activation threshold, not at it.
pub fn is_active(value: f64, activation: f64) -> bool {
    value > activation
}
