//! What the decision log says of a reconcile: the figures, the conditions, the events.

use super::metric::{Metric, Target, TargetType};
use super::proposals::MetricResult;
use super::reconcile::{Reconciled, Spec};
use super::status::{MetricStatus, Status, status_quantity};
use super::types::Milli;
use super::version::{KubernetesVersion, ZeroRule};

/// The conditions as they stand, and the events of a reconcile, on one line.
pub fn conditions(status: &Status, events: &[&'static str]) -> String {
    let mut words: Vec<String> = status.conditions.as_slice().iter().map(ToString::to_string).collect();
    if !events.is_empty() {
        words.push(format!("events={}", events.join(",")));
    }
    words.join(" ")
}

/// The figures of a reconcile on one line: of each metric its value, target and proposal.
pub fn detail(spec: &Spec, version: KubernetesVersion, done: &Reconciled, status_replicas: u32) -> String {
    if !done.metrics.is_empty() {
        let of = |result: &MetricResult| metric_detail(spec, version, result, status_replicas);
        return done.metrics.iter().map(of).collect::<Vec<_>>().join("; ");
    }
    match (&done.error, version.zero_rule()) {
        (Some(error), _) => error.clone(),
        (None, _) if !done.reason.is_empty() => done.reason.clone(),
        (None, ZeroRule::Condition) => "at zero, and not by this autoscaler's order".to_owned(),
        (None, ZeroRule::MinReplicas) => "at zero, which minReplicas does not allow".to_owned(),
    }
}

fn metric_detail(
    spec: &Spec,
    version: KubernetesVersion,
    result: &MetricResult,
    status_replicas: u32,
) -> String {
    let metric = &spec.metrics[result.index];
    let label = label(metric);
    match &result.proposal {
        Err(error) => format!("{label}: {error}"),
        Ok(proposal) => {
            let value = match proposal.status {
                MetricStatus::Utilization { percent, .. } => format!("{percent}%"),
                MetricStatus::Value(_) if status_replicas == 0 && is_mean_of_a_whole(metric) => {
                    "without a mean (0 replicas)".to_owned()
                }
                MetricStatus::Value(milli) => quantity(metric, version, milli),
            };
            let target = target_text(metric, version);
            format!("{label} {value} against {target}: {} replicas", proposal.replicas)
        }
    }
}

fn label(metric: &Metric) -> &str {
    match metric {
        Metric::Resource { name, .. }
        | Metric::ContainerResource { name, .. }
        | Metric::Pods { name, .. }
        | Metric::Object { name, .. }
        | Metric::External { name, .. }
        | Metric::Unknown(name) => name,
    }
}

/// Whether its value is one number divided by the replicas.
fn is_mean_of_a_whole(metric: &Metric) -> bool {
    match metric {
        Metric::Object { target, .. } => target.kind == TargetType::AverageValue,
        Metric::External { target, .. } => target.average_value.is_some(),
        _ => false,
    }
}

/// The field of the target that the calculation read.
fn target_text(metric: &Metric, version: KubernetesVersion) -> String {
    let of = |milli| quantity(metric, version, milli);
    let average = |target: &Target| target.average_value.map(|v| format!("{} a replica", of(v)));
    let value = |target: &Target| target.value.map(of);
    match metric {
        Metric::Object { target, .. } if target.kind == TargetType::Value => value(target),
        Metric::Resource { target, .. }
        | Metric::ContainerResource { target, .. }
        | Metric::Pods { target, .. }
        | Metric::Object { target, .. }
        | Metric::External { target, .. } => average(target)
            .or_else(|| target.average_utilization.map(|percent| format!("{percent}%")))
            .or_else(|| value(target)),
        Metric::Unknown(_) => None,
    }
    .unwrap_or_else(|| "no target".to_owned())
}

/// Memory as the status writes it, anything else as a decimal number.
fn quantity(metric: &Metric, version: KubernetesVersion, milli: Milli) -> String {
    match metric {
        Metric::Resource { name, .. } | Metric::ContainerResource { name, .. } if name == "memory" => {
            status_quantity(name, milli, version).to_string()
        }
        _ => decimal(milli),
    }
}

/// Thousandths as a decimal number without trailing zeros.
pub(in crate::policy) fn decimal(milli: Milli) -> String {
    let text = format!("{}.{:03}", milli.unsigned_abs() / 1000, milli.unsigned_abs() % 1000);
    let sign = if milli < 0 { "-" } else { "" };
    format!("{sign}{}", text.trim_end_matches('0').trim_end_matches('.'))
}
