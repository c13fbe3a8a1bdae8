//! Ratios of usage to target, with upstream's truncations.
//!
//! After Kubernetes' `metrics/utilization.go`: whole percents and averages are truncated
//! integers *before* the ratio is formed, so 99.9 % counts as 99 %.

use super::types::{MetricError, Milli, PodValues};

/// Utilisation of a resource over the pods that have a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Utilization {
    /// Utilisation over target.
    pub ratio: f64,
    /// Utilisation, whole percent of the requests.
    pub percent: i32,
    /// Mean usage, milli-units.
    pub average_value: Milli,
}

/// Usage of a metric over its target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Mean over target.
    pub ratio: f64,
    /// Mean value, milli-units.
    pub average_value: Milli,
}

/// Utilisation against a target percentage. Values of pods without a request have no influence.
pub fn resource_utilization(
    values: &PodValues,
    requests: &PodValues,
    target_percent: i32,
) -> Result<Utilization, MetricError> {
    let (mut total, mut requested, mut count) = (0_i64, 0_i64, 0_i64);
    for (pod, value) in values {
        if let Some(request) = requests.get(pod) {
            total = total.wrapping_add(*value);
            requested = requested.wrapping_add(*request);
            count += 1;
        }
    }
    if requested == 0 {
        return Err(MetricError::new("no metrics returned matched known pods"));
    }
    let percent = total.wrapping_mul(100).wrapping_div(requested) as i32;
    Ok(Utilization {
        ratio: f64::from(percent) / f64::from(target_percent),
        percent,
        average_value: total / count,
    })
}

/// Mean value against a target value, milli-units. `values` is not empty.
pub fn metric_usage(values: &PodValues, target: Milli) -> Usage {
    let total = values.values().fold(0_i64, |sum, value| sum.wrapping_add(*value));
    let average_value = total.checked_div(values.len() as i64).unwrap_or(0);
    Usage { ratio: average_value as f64 / target as f64, average_value }
}
