//! What an HPA reports of itself.

use super::conditions::Conditions;
use super::types::{Milli, Nanos};
use super::version::KubernetesVersion;

/// The current value of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricStatus {
    /// Of a utilisation target.
    Utilization {
        /// Percent of the requests.
        percent: i32,
        /// Mean usage, milli-units.
        average_value: Milli,
    },
    /// Of any other target: the value, milli-units.
    Value(Milli),
}

/// `status` of an HPA.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// `currentReplicas`.
    pub current_replicas: i32,
    /// `desiredReplicas`.
    pub desired_replicas: i32,
    /// `currentMetrics`, in the order of `spec.metrics`; `None` for one that failed.
    pub current_metrics: Vec<Option<MetricStatus>>,
    /// `lastScaleTime`; informational, no decision reads it.
    pub last_scale_time: Option<Nanos>,
    /// `conditions`.
    pub conditions: Conditions,
}

/// A quantity as the status writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusQuantity {
    /// Whole units, binary suffixes: memory.
    WholeBinary(i64),
    /// Thousandths, decimal suffixes: everything else.
    MilliDecimal(Milli),
}

/// How a release writes a raw average: later ones memory in whole bytes, truncated.
pub fn status_quantity(resource: &str, raw: Milli, version: KubernetesVersion) -> StatusQuantity {
    if resource == "memory" && version.writes_memory_in_bytes() {
        StatusQuantity::WholeBinary(raw / 1000)
    } else {
        StatusQuantity::MilliDecimal(raw)
    }
}
