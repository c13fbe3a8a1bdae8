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

/// In canonical form, as `kubectl` prints it.
impl std::fmt::Display for StatusQuantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scaled = |mut number: i64, base: i64, suffixes: &'static [&'static str]| {
            let mut suffix = 0;
            while number != 0 && number % base == 0 && suffix + 1 < suffixes.len() {
                number /= base;
                suffix += 1;
            }
            (number, if number == 0 { "" } else { suffixes[suffix] })
        };
        let (number, suffix) = match *self {
            // Upstream writes small numbers of bytes with decimal suffixes.
            Self::WholeBinary(bytes) if bytes.unsigned_abs() < 1024 => scaled(bytes, 1000, &["", "k"]),
            Self::WholeBinary(bytes) => scaled(bytes, 1024, &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]),
            Self::MilliDecimal(milli) => scaled(milli, 1000, &["m", "", "k", "M", "G", "T", "P"]),
        };
        write!(f, "{number}{suffix}")
    }
}

/// How a release writes a raw average: later ones memory in whole bytes, truncated.
pub fn status_quantity(resource: &str, raw: Milli, version: KubernetesVersion) -> StatusQuantity {
    if resource == "memory" && version.writes_memory_in_bytes() {
        StatusQuantity::WholeBinary(raw / 1000)
    } else {
        StatusQuantity::MilliDecimal(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_in_canonical_form() {
        let check = |resource: &str, raw: Milli, before: &str, since: &str| {
            let written = |version| status_quantity(resource, raw, version).to_string();
            assert_eq!(written(KubernetesVersion::V1_33), before, "{resource} {raw}");
            assert_eq!(written(KubernetesVersion::V1_34), since, "{resource} {raw}");
        };
        // The figure of upstream's issue 130584.
        check("memory", 171_502_796_800, "171502796800m", "171502796");
        check("memory", 1_536 * 1024 * 1000, "1572864", "1536Ki");
        check("memory", 2 << 30, "2147483648m", "2147483");
        check("memory", (2 << 30) * 1000, "2147483648", "2Gi");
        check("memory", 1_000_000, "1k", "1k");
        check("memory", 999, "999m", "0");
        check("cpu", 250, "250m", "250m");
        check("cpu", 2_000, "2", "2");
        check("", 3_000_000, "3k", "3k");
        check("", -1_500, "-1500m", "-1500m");
        check("", 0, "0", "0");
    }
}
