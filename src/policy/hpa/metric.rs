//! `spec.metrics`: which samples a metric reads, which calculation its target calls for,
//! and how its failures are named.

use super::cluster::Cluster;
use super::conditions::ConditionReason;
use super::replica_calculator::{Calculator, UsageProposal, resource_values};
use super::status::MetricStatus;
use super::types::{MetricError, Milli};
use crate::policy::ResourceRead;

/// Which field of a target is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetType {
    /// Percent of the request.
    Utilization,
    /// A value of the whole.
    Value,
    /// A value per replica.
    AverageValue,
    /// Anything else.
    Unknown,
}

/// The target of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// `type`.
    pub kind: TargetType,
    /// `value`.
    pub value: Option<Milli>,
    /// `averageValue`.
    pub average_value: Option<Milli>,
    /// `averageUtilization`, percent.
    pub average_utilization: Option<i32>,
}

/// A metric of an HPA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// A resource of whole pods.
    Resource {
        /// `cpu` or `memory`.
        name: String,
        /// Target.
        target: Target,
    },
    /// A resource of one container of each pod.
    ContainerResource {
        /// `cpu` or `memory`.
        name: String,
        /// The container.
        container: String,
        /// Target.
        target: Target,
    },
    /// A custom metric of each pod.
    Pods {
        /// Metric name.
        name: String,
        /// Its label selector in string form.
        selector: String,
        /// Target.
        target: Target,
    },
    /// A custom metric of one object.
    Object {
        /// Metric name.
        name: String,
        /// Its label selector in string form.
        selector: String,
        /// Kind of the object, for messages.
        kind: String,
        /// Target.
        target: Target,
    },
    /// A metric from outside the cluster.
    External {
        /// Metric name.
        name: String,
        /// Its label selector in string form, for messages.
        selector: String,
        /// Target.
        target: Target,
    },
    /// A type this API does not have.
    Unknown(String),
}

/// What a metric proposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricProposal {
    /// Replicas.
    pub replicas: i32,
    /// Its name in messages.
    pub name: String,
    /// What the status shows of it.
    pub status: MetricStatus,
}

/// `spec.replicas` and `status.replicas` of a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleCounts {
    /// `spec.replicas`.
    pub spec: i32,
    /// `status.replicas`.
    pub status: i32,
}

impl Metric {
    /// The name of its type.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Resource { .. } => "Resource",
            Self::ContainerResource { .. } => "ContainerResource",
            Self::Pods { .. } => "Pods",
            Self::Object { .. } => "Object",
            Self::External { .. } => "External",
            Self::Unknown(name) => name,
        }
    }

    /// The metric's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Resource { name, .. }
            | Self::ContainerResource { name, .. }
            | Self::Pods { name, .. }
            | Self::Object { name, .. }
            | Self::External { name, .. }
            | Self::Unknown(name) => name,
        }
    }

    /// The container it reads, if it reads one.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::ContainerResource { container, .. } => Some(container),
            _ => None,
        }
    }

    /// What of a pod's CPU and memory it reads.
    pub fn resource(&self) -> Option<ResourceRead> {
        match self {
            Self::Resource { name, target } | Self::ContainerResource { name, target, .. } => {
                // As in the calculation, a value given beside a utilisation wins.
                Some(ResourceRead { is_memory: name == "memory", of_request: target.average_value.is_none() })
            }
            _ => None,
        }
    }

    /// Whether it says something while no pod runs.
    pub fn is_object_or_external(&self) -> bool {
        matches!(self, Self::Object { .. } | Self::External { .. })
    }

    /// The reason of `ScalingActive` when it fails.
    pub fn failure_reason(&self) -> ConditionReason {
        match self {
            Self::Resource { .. } => ConditionReason::FailedGetResourceMetric,
            Self::ContainerResource { .. } => ConditionReason::FailedGetContainerResourceMetric,
            Self::Pods { .. } => ConditionReason::FailedGetPodsMetric,
            Self::Object { .. } => ConditionReason::FailedGetObjectMetric,
            Self::External { .. } => ConditionReason::FailedGetExternalMetric,
            Self::Unknown(_) => ConditionReason::InvalidMetricSourceType,
        }
    }

    /// Its proposal.
    pub fn evaluate(
        &self,
        calculator: &Calculator<'_>,
        scale: ScaleCounts,
        cluster: &dyn Cluster,
    ) -> Result<MetricProposal, MetricError> {
        match self {
            Self::Resource { name, target } => {
                resource_proposal(name, None, *target, calculator, scale, cluster)
            }
            Self::ContainerResource { name, container, target } => {
                resource_proposal(name, Some(container), *target, calculator, scale, cluster)
            }
            Self::Pods { name, target, .. } => {
                let target = target.average_value.ok_or_else(|| invalid_target("pods"))?;
                let samples = cluster.pods_samples(self)?;
                if samples.is_empty() {
                    return Err(MetricError::new(format!(
                        "unable to get metric {name}: no metrics returned from custom metrics API"
                    )));
                }
                let proposal = calculator.average(scale.spec, target, &samples, "")?;
                Ok(value_proposal(proposal, format!("pods metric {name}")))
            }
            Self::Object { name, kind, target, .. } => {
                let usage = || cluster.object_value(self);
                object_proposal(name, kind, *target, calculator, scale, usage)
            }
            Self::External { name, selector, target } => {
                let series = || cluster.external_values(self);
                external_proposal(name, selector, *target, calculator, scale, series)
            }
            Self::Unknown(name) => Err(MetricError::new(format!("unknown metric source type \"{name}\""))),
        }
    }
}

fn invalid_target(source: &str) -> MetricError {
    MetricError::new(format!("invalid {source} metric source: no target the type can use is set"))
}

fn value_proposal(proposal: UsageProposal, name: String) -> MetricProposal {
    MetricProposal { replicas: proposal.replicas, name, status: MetricStatus::Value(proposal.usage) }
}

fn resource_proposal(
    resource: &str,
    container: Option<&str>,
    target: Target,
    calculator: &Calculator<'_>,
    scale: ScaleCounts,
    cluster: &dyn Cluster,
) -> Result<MetricProposal, MetricError> {
    let of = if container.is_some() { "container resource" } else { "resource" };
    let samples = || resource_values(&cluster.resource_samples(resource)?, resource, container);
    if let Some(target) = target.average_value {
        let proposal = calculator.average(scale.spec, target, &samples()?, resource)?;
        return Ok(value_proposal(proposal, format!("{resource} {of}")));
    }
    let Some(percent) = target.average_utilization else {
        return Err(invalid_target(of));
    };
    let proposal = calculator.utilization(scale.spec, percent, &samples()?, resource, container)?;
    Ok(MetricProposal {
        replicas: proposal.replicas,
        name: format!("{resource} {of} utilization (percentage of request)"),
        status: MetricStatus::Utilization {
            percent: proposal.percent,
            average_value: proposal.average_value,
        },
    })
}

fn object_proposal(
    name: &str,
    kind: &str,
    target: Target,
    calculator: &Calculator<'_>,
    scale: ScaleCounts,
    usage: impl Fn() -> Result<Milli, MetricError>,
) -> Result<MetricProposal, MetricError> {
    match target {
        Target { kind: TargetType::Value, value: Some(target), .. } => {
            let proposal = calculator.object_value(scale.spec, target, usage()?)?;
            Ok(value_proposal(proposal, format!("{kind} metric {name}")))
        }
        Target { kind: TargetType::AverageValue, average_value: Some(target), .. } => {
            let proposal = calculator.object_average_value(scale.status, target, usage()?);
            // Upstream calls this one external.
            Ok(value_proposal(proposal, format!("external metric {name}(nil)")))
        }
        _ => Err(invalid_target("object")),
    }
}

fn external_proposal(
    name: &str,
    selector: &str,
    target: Target,
    calculator: &Calculator<'_>,
    scale: ScaleCounts,
    values: impl Fn() -> Result<Vec<Milli>, MetricError>,
) -> Result<MetricProposal, MetricError> {
    let series = || {
        let series = values()?;
        if series.is_empty() {
            return Err(MetricError::new(format!(
                "unable to get external metric {name}: no metrics returned from external metrics API"
            )));
        }
        Ok(series)
    };
    let proposal = if let Some(target) = target.average_value {
        calculator.external_average_value(scale.status, target, &series()?)
    } else if let Some(target) = target.value {
        calculator.external_value(scale.spec, target, &series()?)?
    } else {
        return Err(invalid_target("external"));
    };
    Ok(value_proposal(proposal, format!("external metric {name}({selector})")))
}
