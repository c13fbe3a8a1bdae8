//! A scenario's HPA -> the plain structs that the decision works on, defaults filled in.

use super::behavior::{Behavior, PolicyType, Rules, RulesInput, ScalingPolicy, SelectPolicy};
use super::enqueue::{ObjectEvent, enqueue};
use super::metric::{Metric, Target, TargetType};
use super::reconcile::{ControllerConfig, Spec};
use super::spec::{
    ControllerSpec, HpaSpec, LabelOperator, LabelSelector, MetricIdentifier, MetricSpec, RulesSpec,
    ScalingPolicyKind, SelectPolicySpec, TargetKind, TargetSpec,
};
use super::types::{Nanos, Readiness};
use crate::kernel::{Quantity, SimDuration};
use crate::policy::ResourceRead;
use crate::policy::adapter::Api;

/// Upstream's default metric: this percentage of the CPU request.
const DEFAULT_CPU_UTILIZATION: i32 = 80;

impl HpaSpec {
    /// The spec as the controller sees it.
    pub fn resolve(&self) -> Spec {
        let metrics = if self.metrics.is_empty() {
            let target = Target {
                kind: TargetType::Utilization,
                value: None,
                average_value: None,
                average_utilization: Some(DEFAULT_CPU_UTILIZATION),
            };
            vec![Metric::Resource { name: "cpu".to_owned(), target }]
        } else {
            self.metrics.iter().map(MetricSpec::resolve).collect()
        };
        let behavior = self.behavior.as_ref().map(|behavior| Behavior {
            scale_up: Rules::scale_up(behavior.scale_up.as_ref().map(RulesSpec::input).as_ref()),
            scale_down: Rules::scale_down(behavior.scale_down.as_ref().map(RulesSpec::input).as_ref()),
        });
        Spec { min_replicas: self.min_replicas, max_replicas: self.max_replicas, metrics, behavior }
    }

    /// What of a pod's CPU and memory it reads.
    pub fn resources(&self) -> Vec<ResourceRead> {
        self.resolve().metrics.iter().filter_map(Metric::resource).collect()
    }

    /// The tolerances in `behavior` that Kubernetes drops, because the gate
    /// `HPAConfigurableTolerance` is off: paths relative to the spec.
    pub fn dropped_tolerances(&self) -> Vec<&'static str> {
        if self.controller.gates().configurable_tolerance {
            return Vec::new();
        }
        let behavior = self.behavior.as_ref();
        let has_tolerance = |rules: Option<&RulesSpec>| rules.is_some_and(|rules| rules.tolerance.is_some());
        [
            ("behavior.scaleUp.tolerance", behavior.and_then(|b| b.scale_up.as_ref())),
            ("behavior.scaleDown.tolerance", behavior.and_then(|b| b.scale_down.as_ref())),
        ]
        .into_iter()
        .filter_map(|(path, rules)| has_tolerance(rules).then_some(path))
        .collect()
    }
}

impl MetricSpec {
    fn resolve(&self) -> Metric {
        if let Some(source) = &self.resource {
            return Metric::Resource { name: source.name.clone(), target: source.target.resolve() };
        }
        if let Some(source) = &self.container_resource {
            let (name, container) = (source.name.clone(), source.container.clone());
            return Metric::ContainerResource { name, container, target: source.target.resolve() };
        }
        if let Some(source) = &self.pods {
            let (name, selector) = (source.metric.name.clone(), source.metric.selector_text());
            return Metric::Pods { name, selector, target: source.target.resolve() };
        }
        if let Some(source) = &self.object {
            let (name, selector) = (source.metric.name.clone(), source.metric.selector_text());
            let kind = source.described_object.kind.clone();
            return Metric::Object { name, selector, kind, target: source.target.resolve() };
        }
        if let Some(source) = &self.external {
            let (name, selector) = (source.metric.name.clone(), source.metric.selector_text());
            return Metric::External { name, selector, target: source.target.resolve() };
        }
        // Validation refuses a metric without its source; the controller fails it by name.
        Metric::Unknown(format!("{:?} without `{}`", self.kind, self.kind.field()))
    }
}

impl MetricSpec {
    /// What of the adapter it asks, if it does: the API, the metric, and the path of its name below it.
    pub fn asks(&self) -> Option<(Api, &MetricIdentifier, &'static str)> {
        if let Some(source) = &self.pods {
            return Some((Api::Pods, &source.metric, "pods.metric.name"));
        }
        if let Some(source) = &self.object {
            return Some((Api::Object, &source.metric, "object.metric.name"));
        }
        self.external.as_ref().map(|source| (Api::External, &source.metric, "external.metric.name"))
    }
}

impl MetricIdentifier {
    /// Its labels as PromQL writes conditions.
    pub fn conditions(&self) -> String {
        let Some(selector) = &self.selector else { return String::new() };
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let either = |values: &[String]| {
            quoted(&values.iter().map(|value| regex::escape(value)).collect::<Vec<_>>().join("|"))
        };
        let labels = selector.match_labels.iter().map(|(key, value)| format!("{key}={}", quoted(value)));
        let requirements = selector.match_expressions.iter().map(|requirement| {
            let key = &requirement.key;
            match requirement.operator {
                LabelOperator::In => format!("{key}=~{}", either(&requirement.values)),
                LabelOperator::NotIn => format!("{key}!~{}", either(&requirement.values)),
                LabelOperator::Exists => format!("{key}!=\"\""),
                LabelOperator::DoesNotExist => format!("{key}=\"\""),
            }
        });
        labels.chain(requirements).collect::<Vec<_>>().join(",")
    }

    /// Its labels as upstream prints them in messages.
    fn selector_text(&self) -> String {
        self.selector.as_ref().map_or_else(|| "nil".to_owned(), LabelSelector::text)
    }
}

impl TargetSpec {
    fn resolve(&self) -> Target {
        Target {
            kind: match self.kind {
                TargetKind::Utilization => TargetType::Utilization,
                TargetKind::Value => TargetType::Value,
                TargetKind::AverageValue => TargetType::AverageValue,
            },
            value: self.value.and_then(Quantity::milli),
            average_value: self.average_value.and_then(Quantity::milli),
            average_utilization: self.average_utilization,
        }
    }
}

impl RulesSpec {
    fn input(&self) -> RulesInput {
        let policies = self.policies.as_ref().map(|policies| {
            policies
                .iter()
                .map(|policy| ScalingPolicy {
                    kind: match policy.kind {
                        ScalingPolicyKind::Pods => PolicyType::Pods,
                        ScalingPolicyKind::Percent => PolicyType::Percent,
                    },
                    value: policy.value,
                    period: seconds(policy.period_seconds),
                })
                .collect()
        });
        RulesInput {
            stabilization_window: self.stabilization_window_seconds.map(seconds),
            select_policy: self.select_policy.map(|select| match select {
                SelectPolicySpec::Max => SelectPolicy::Max,
                SelectPolicySpec::Min => SelectPolicy::Min,
                SelectPolicySpec::Disabled => SelectPolicy::Disabled,
            }),
            policies,
            tolerance: self.tolerance.map(fraction),
        }
    }
}

impl ControllerSpec {
    /// The controller's version, flags and gates.
    pub fn resolve(&self) -> ControllerConfig {
        ControllerConfig {
            version: self.kubernetes_version,
            tolerance: self.tolerance,
            downscale_stabilization: nanos(self.downscale_stabilization),
            readiness: Readiness {
                cpu_initialization_period: nanos(self.cpu_initialization_period),
                initial_readiness_delay: nanos(self.initial_readiness_delay),
            },
            gates: self.gates(),
        }
    }

    /// When the first reconcile comes; `None` draws it within the period.
    pub fn first_reconcile(&self) -> Option<SimDuration> {
        if !self.created_at_start {
            return self.phase;
        }
        let queued = enqueue(ObjectEvent::Add, self.kubernetes_version);
        Some(if queued.immediate { SimDuration::ZERO } else { self.sync_period })
    }

    /// From one reconcile to the next: the key is queued again when the reconcile has ended.
    pub fn period(&self) -> SimDuration {
        SimDuration::from_nanos(
            self.sync_period.as_nanos().saturating_add(self.reconcile_duration.as_nanos()),
        )
    }
}

fn seconds(seconds: i32) -> Nanos {
    Nanos::from(seconds) * 1_000_000_000
}

fn nanos(duration: SimDuration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

/// A quantity as upstream's double: its shortest decimal mantissa times a power of ten, so
/// 0.35 is 35 * 10^-2 and not the double nearest to 0.35.
fn fraction(quantity: Quantity) -> f64 {
    let mut mantissa = (quantity.as_f64() * 1e9).round();
    let mut exponent = -9;
    while exponent < 0 && mantissa % 10.0 == 0.0 {
        mantissa /= 10.0;
        exponent += 1;
    }
    let power: f64 = match exponent {
        0 => 1.0,
        -1 => 1e-1,
        -2 => 1e-2,
        -3 => 1e-3,
        -4 => 1e-4,
        -5 => 1e-5,
        -6 => 1e-6,
        -7 => 1e-7,
        -8 => 1e-8,
        _ => 1e-9,
    };
    mantissa * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_mantissa_times_power() {
        let check = |text: &str, expected: f64| {
            let quantity: Quantity = text.parse().expect(text);
            assert_eq!(fraction(quantity).to_bits(), expected.to_bits(), "{text}");
        };
        check("0", 0.0);
        check("0.1", 0.1);
        check("100m", 0.1);
        check("50m", 0.05);
        check("0.35", 35.0 * 1e-2);
        check("2", 2.0);
    }

    #[test]
    fn absent_metrics_and_behavior_have_upstreams_meaning() {
        let spec: HpaSpec = serde_json::from_str(r#"{"maxReplicas": 4, "behavior": {}}"#).expect("a spec");
        let resolved = spec.resolve();
        assert!(matches!(
            &resolved.metrics[..],
            [Metric::Resource { name, target }] if name == "cpu" && target.average_utilization == Some(80)
        ));
        let behavior = resolved.behavior.expect("an empty behavior is not an absent one");
        assert_eq!(behavior.scale_up.policies.len(), 2);
        assert_eq!(behavior.scale_down.stabilization_window, None);
        let bare: HpaSpec = serde_json::from_str(r#"{"maxReplicas": 4}"#).expect("a spec");
        assert_eq!(bare.resolve().behavior, None);
    }
}
