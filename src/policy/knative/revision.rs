//! A revision's settings: its annotations over the cluster's configuration.
//!
//! After knative/serving `pkg/reconciler/autoscaling/kpa/resources/decider.go`,
//! `pkg/reconciler/autoscaling/resources/metric.go` and `pkg/apis/autoscaling/v1alpha1/pa_lifecycle.go` (98e5ef90).

use super::annotations::Annotations;
use super::apply::{ScaleBounds, ScaleToZero};
use super::collector::{Collector, panic_window};
use super::config::{AutoscalerConfig, is_unlimited};
use super::decider::DeciderSpec;
use super::target::{self, TargetInput};
use crate::policy::hpa::types::Nanos;

/// Whether a route leads to a revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reachability {
    /// It is not known yet; treated as reachable.
    #[default]
    Unknown,
    /// One does.
    Reachable,
    /// None does: the minimum no longer holds and pods may go all at once.
    Unreachable,
}

/// The scale a revision begins with; the annotation may only say 0 where the cluster allows it.
pub fn initial_scale(annotation: Option<i32>, config: &AutoscalerConfig) -> i32 {
    match annotation {
        Some(scale) if scale != 0 || config.allow_zero_initial_scale => scale,
        _ => config.initial_scale,
    }
}

/// A revision as its autoscaler knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Its own settings.
    pub annotations: Annotations,
    /// The cluster's.
    pub config: AutoscalerConfig,
    /// `containerConcurrency`; 0 is without limit.
    pub container_concurrency: i64,
    /// Whether a route leads there.
    pub reachability: Reachability,
}

impl Revision {
    /// The stable window.
    pub fn stable_window(&self) -> Nanos {
        self.annotations.window.unwrap_or(self.config.stable_window)
    }

    /// The panic window.
    pub fn panic_window(&self) -> Nanos {
        let own = self.annotations.panic_window_percentage;
        panic_window(self.stable_window(), own.unwrap_or(self.config.panic_window_percentage))
    }

    /// The burst capacity to be held, requests.
    pub fn target_burst_capacity(&self) -> f64 {
        self.annotations.target_burst_capacity.unwrap_or(self.config.target_burst_capacity)
    }

    /// Empty metric windows for it.
    pub fn collector(&self) -> Collector {
        Collector::new(self.stable_window(), self.panic_window(), self.annotations.aggregation)
    }

    /// What its decider goes by.
    pub fn decider(&self) -> DeciderSpec {
        let own = &self.annotations;
        let target = target::resolve(
            &TargetInput {
                metric: own.metric,
                container_concurrency: self.container_concurrency,
                target: own.target,
                utilization_percentage: own.target_utilization_percentage,
            },
            &self.config,
        );
        let threshold = own.panic_threshold_percentage.unwrap_or(self.config.panic_threshold_percentage);
        DeciderSpec {
            scaling_metric: own.metric,
            max_scale_up_rate: self.config.max_scale_up_rate,
            max_scale_down_rate: self.config.max_scale_down_rate,
            target_value: target.target,
            total_value: target.total,
            target_burst_capacity: self.target_burst_capacity(),
            activator_capacity: self.config.activator_capacity,
            panic_threshold: threshold / 100.0,
            stable_window: self.stable_window(),
            scale_down_delay: own.scale_down_delay.unwrap_or(self.config.scale_down_delay),
            initial_scale: initial_scale(own.initial_scale, &self.config),
            activation_scale: own.activation_scale.unwrap_or(0),
            reachable: self.reachability != Reachability::Unreachable,
        }
    }

    /// Between which scales it is held.
    pub fn bounds(&self) -> ScaleBounds {
        let min = match self.reachability {
            Reachability::Unreachable => 0,
            _ => self.annotations.min_scale.unwrap_or(self.config.min_scale),
        };
        ScaleBounds {
            min,
            max: self.annotations.max_scale.unwrap_or(self.config.max_scale),
            initial: initial_scale(self.annotations.initial_scale, &self.config),
        }
    }

    /// How long the last pod stays at least; one that no route leads to need not wait for a request.
    fn pod_retention_period(&self) -> Nanos {
        if self.reachability == Reachability::Unreachable {
            return 0;
        }
        let own = self.annotations.pod_retention_period;
        own.unwrap_or(self.config.scale_to_zero_pod_retention_period)
    }

    /// How it is put to sleep.
    pub fn scale_to_zero(&self) -> ScaleToZero {
        ScaleToZero {
            enabled: self.config.enable_scale_to_zero,
            stable_window: self.stable_window(),
            grace_period: self.config.scale_to_zero_grace_period,
            pod_retention_period: self.pod_retention_period(),
            progress_deadline: self.annotations.progress_deadline(),
            always_proxied: is_unlimited(self.target_burst_capacity()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SECOND;
    use super::*;

    #[test]
    fn annotations_override_the_configuration() {
        let mut revision = Revision {
            annotations: Annotations::default(),
            config: AutoscalerConfig { min_scale: 2, ..AutoscalerConfig::default() },
            container_concurrency: 8,
            reachability: Reachability::Reachable,
        };
        let spec = revision.decider();
        assert_eq!((spec.target_value, spec.total_value, spec.panic_threshold), (5.6, 8.0, 2.0));
        assert_eq!(revision.panic_window(), 6 * SECOND);
        assert_eq!(revision.bounds(), ScaleBounds { min: 2, max: 0, initial: 1 });
        assert!(!revision.scale_to_zero().always_proxied);

        revision.annotations = Annotations {
            target: Some(4.0),
            target_utilization_percentage: Some(50.0),
            target_burst_capacity: Some(-1.0),
            window: Some(120 * SECOND),
            panic_threshold_percentage: Some(150.0),
            max_scale: Some(9),
            initial_scale: Some(3),
            pod_retention_period: Some(SECOND),
            ..Annotations::default()
        };
        revision.reachability = Reachability::Unreachable;
        let spec = revision.decider();
        assert_eq!((spec.target_value, spec.total_value, spec.panic_threshold), (2.0, 4.0, 1.5));
        assert!(!spec.reachable);
        assert_eq!(revision.panic_window(), 12 * SECOND);
        assert_eq!(revision.bounds(), ScaleBounds { min: 0, max: 9, initial: 3 });
        let sleep = revision.scale_to_zero();
        assert!(sleep.always_proxied);
        assert_eq!((sleep.pod_retention_period, sleep.stable_window), (0, 120 * SECOND));
        revision.reachability = Reachability::Unknown;
        assert_eq!(revision.scale_to_zero().pod_retention_period, SECOND);
    }
}
