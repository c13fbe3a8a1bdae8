//! What each pod is meant to carry.
//!
//! After knative/serving `pkg/reconciler/autoscaling/resources/target.go` (98e5ef90).

use super::config::{AutoscalerConfig, TARGET_MIN};

/// The metric a revision is scaled on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScalingMetric {
    /// Requests in flight.
    #[default]
    Concurrency,
    /// Requests per second.
    Rps,
}

/// What a revision says about its target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TargetInput {
    /// The metric.
    pub metric: ScalingMetric,
    /// `containerConcurrency` of the revision; 0 is without limit.
    pub container_concurrency: i64,
    /// `target`, per pod.
    pub target: Option<f64>,
    /// `target-utilization-percentage`.
    pub utilization_percentage: Option<f64>,
}

/// What a pod carries of the metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Aimed for: it sets the number of pods.
    pub target: f64,
    /// At most: it sets the burst capacity.
    pub total: f64,
}

/// The target of a revision.
pub fn resolve(input: &TargetInput, config: &AutoscalerConfig) -> Target {
    let limit = input.container_concurrency as f64;
    let (mut total, mut utilization) = match input.metric {
        ScalingMetric::Rps => (config.rps_target_default, config.target_utilization),
        ScalingMetric::Concurrency => {
            let total = if limit == 0.0 { config.container_concurrency_target_default } else { limit };
            (total, config.container_concurrency_target_fraction)
        }
    };
    if let Some(annotated) = input.target {
        // No more than the queue-proxy lets through at a time.
        let limited = input.metric == ScalingMetric::Concurrency && limit != 0.0;
        total = if limited { annotated.min(limit) } else { annotated };
    }
    if let Some(percentage) = input.utilization_percentage {
        utilization = percentage / 100.0;
    }
    Target { target: (total * utilization).max(TARGET_MIN), total }
}
