//! WVA as a scenario writes it, and everything that can be wrong with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::v1;
use super::v2;
use crate::kernel::SimDuration;
use crate::policy::hpa::metric::{Metric, Target, TargetType};
use crate::policy::hpa::reconcile::Spec;
use crate::policy::hpa::spec::{
    BehaviorSpec, ControllerSpec, HpaSpec, RulesSpec, ScalingPolicyKind, ScalingPolicySpec,
};
use crate::policy::hpa::validate::validate;
use crate::policy::{Fault, Setting, scraped::reads_vllm};

/// The metric that WVA emits and the HPA follows.
pub const METRIC: &str = "wva_desired_replicas";
/// `analyzerName` of the token-based analyzer.
const V2_NAME: &str = "saturation";

/// llm-d's workload-variant-autoscaler, and the HPA that follows it. A run has one workload, which is the model's one variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WvaSpec {
    /// Name of the variant's Deployment; its pods are named after it. Default: `decode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which analyzer: absent for the one by percentages (V1), `saturation` for the one by tokens (V2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analyzer_name: Option<String>,
    /// A replica is saturated from this share of its KV cache on. Default: 0.8.
    pub kv_cache_threshold: f64,
    /// A replica is saturated from this many waiting requests on. Default: 5.
    pub queue_length_threshold: f64,
    /// V1: one replica more when the mean spare share of the KV cache is below it. Default: 0.1.
    pub kv_spare_trigger: f64,
    /// V1: one replica more when the mean spare queue is below it, requests. Default: 3.
    pub queue_spare_trigger: f64,
    /// V2: utilisation that is grown to. Default: 0.85.
    pub scale_up_threshold: f64,
    /// V2: utilisation that is shrunk to. Default: 0.7.
    pub scale_down_boundary: f64,
    /// Whether the model may go to no replica. Default: false. `hpa.minReplicas` must then be 0.
    pub enable_scale_to_zero: bool,
    /// How long without a request before it goes to none. Default: 10 min.
    pub retention_period: SimDuration,
    /// From one optimisation to the next (`GLOBAL_OPT_INTERVAL`). Default: 1 min.
    pub interval: SimDuration,
    /// Time of the first optimisation. Default: drawn within the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<SimDuration>,
    /// The HPA that follows.
    pub hpa: FollowerSpec,
}

impl Default for WvaSpec {
    fn default() -> Self {
        Self {
            name: None,
            analyzer_name: None,
            kv_cache_threshold: 0.8,
            queue_length_threshold: 5.0,
            kv_spare_trigger: 0.1,
            queue_spare_trigger: 3.0,
            scale_up_threshold: 0.85,
            scale_down_boundary: 0.7,
            enable_scale_to_zero: false,
            retention_period: SimDuration::from_secs(600),
            interval: SimDuration::from_secs(60),
            phase: None,
            hpa: FollowerSpec::default(),
        }
    }
}

/// The HPA that follows WVA, as its chart makes it: External metric `wva_desired_replicas`, AverageValue 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FollowerSpec {
    /// Fewest replicas. Default: 1.
    pub min_replicas: u32,
    /// Most replicas. Default: 10.
    pub max_replicas: u32,
    /// Rate limits and windows. Default: the chart's, both ways a window of 240 s and 10 pods in 150 s; what is written here
    /// stands in place of all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<BehaviorSpec>,
    /// Flags of the HPA's controller; they are the cluster's, not the object's.
    pub controller: ControllerSpec,
}

impl Default for FollowerSpec {
    fn default() -> Self {
        Self { min_replicas: 1, max_replicas: 10, behavior: None, controller: ControllerSpec::default() }
    }
}

fn chart_behavior() -> BehaviorSpec {
    let policy = ScalingPolicySpec { kind: ScalingPolicyKind::Pods, value: 10, period_seconds: 150 };
    let rules = RulesSpec {
        stabilization_window_seconds: Some(240),
        policies: Some(vec![policy]),
        ..RulesSpec::default()
    };
    BehaviorSpec { scale_up: Some(rules.clone()), scale_down: Some(rules) }
}

impl FollowerSpec {
    fn object(&self) -> HpaSpec {
        let count = |replicas: u32| i32::try_from(replicas).unwrap_or(i32::MAX);
        let behavior = self.behavior.clone().unwrap_or_else(chart_behavior);
        let (min, max) = (count(self.min_replicas), count(self.max_replicas));
        HpaSpec::without_metrics(min, max, Some(behavior), self.controller.clone())
    }

    /// The HPA as its controller sees it.
    pub fn resolve(&self) -> Spec {
        let target = Target {
            kind: TargetType::AverageValue,
            value: None,
            average_value: Some(1000),
            average_utilization: None,
        };
        let metric = Metric::External { name: METRIC.to_owned(), selector: "nil".to_owned(), target };
        Spec { metrics: vec![metric], ..self.object().resolve() }
    }

    fn check(&self, setting: &Setting) -> Vec<Fault> {
        // What wakes it from 0 is its metric, which the HPA's own check does not see.
        let mut object = self.object();
        object.min_replicas = object.min_replicas.map(|min| min.max(1));
        let mut faults = validate(&object, setting);
        if self.min_replicas == 0 && !self.controller.gates().scale_to_zero {
            let message = "minReplicas 0 needs the feature gate HPAScaleToZero, which is off".to_owned();
            let help =
                "write minReplicas: 1, or controller: {featureGates: {HPAScaleToZero: true}}".to_owned();
            faults.push(("minReplicas".to_owned(), message, help));
        }
        faults
    }
}

impl WvaSpec {
    /// Whether the analyzer goes by tokens.
    pub fn is_v2(&self) -> bool {
        self.analyzer_name.as_deref() == Some(V2_NAME)
    }

    /// V1's thresholds.
    pub fn v1(&self) -> v1::Thresholds {
        v1::Thresholds {
            kv_cache: self.kv_cache_threshold,
            queue_length: self.queue_length_threshold,
            kv_spare: self.kv_spare_trigger,
            queue_spare: self.queue_spare_trigger,
        }
    }

    /// V2's thresholds.
    pub fn v2(&self) -> v2::Thresholds {
        v2::Thresholds {
            kv_cache: self.kv_cache_threshold,
            queue_length: self.queue_length_threshold,
            scale_up: self.scale_up_threshold,
            scale_down: self.scale_down_boundary,
        }
    }

    /// Everything that is wrong with it; paths are relative to it.
    pub fn check(&self, setting: &Setting) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut add = |path: &str, message: String, help: &str| {
            faults.push((path.to_owned(), message, help.to_owned()));
        };
        if let Some(name) = self.analyzer_name.as_deref().filter(|name| *name != V2_NAME) {
            let help = "write saturation for the one by tokens (V2), or leave it out for the one by percentages (V1)";
            add("analyzerName", format!("there is no analyzer `{name}`"), help);
        }
        // A range holds no NaN.
        for (path, value) in [
            ("kvCacheThreshold", self.kv_cache_threshold),
            ("scaleUpThreshold", self.scale_up_threshold),
            ("scaleDownBoundary", self.scale_down_boundary),
        ] {
            if !(f64::MIN_POSITIVE..=1.0).contains(&value) {
                add(path, format!("{path} is {value}"), "write a share: above 0, at most 1");
            }
        }
        if !(1.0..=1e9).contains(&self.queue_length_threshold) {
            let message = format!("queueLengthThreshold is {}", self.queue_length_threshold);
            add("queueLengthThreshold", message, "write requests: 1 or more");
        }
        if !(0.0..self.kv_cache_threshold).contains(&self.kv_spare_trigger) {
            let message = format!(
                "kvSpareTrigger {} is not below kvCacheThreshold {}: it would always be pulled",
                self.kv_spare_trigger, self.kv_cache_threshold
            );
            add("kvSpareTrigger", message, "write a share from 0 up to below the threshold");
        }
        if !(0.0..self.queue_length_threshold).contains(&self.queue_spare_trigger) {
            let message = format!(
                "queueSpareTrigger {} is not below queueLengthThreshold {}: it would always be pulled",
                self.queue_spare_trigger, self.queue_length_threshold
            );
            add("queueSpareTrigger", message, "write requests from 0 up to below the threshold");
        }
        if self.scale_down_boundary >= self.scale_up_threshold {
            let message = format!(
                "scaleDownBoundary {} is not below scaleUpThreshold {}: it would grow and shrink in turn",
                self.scale_down_boundary, self.scale_up_threshold
            );
            add("scaleDownBoundary", message, "lower it, or raise scaleUpThreshold");
        }
        for (path, time) in [("interval", self.interval), ("retentionPeriod", self.retention_period)] {
            if time < SimDuration::from_secs(1) {
                add(path, format!("{path} is {time}"), "write at least 1s");
            }
        }
        if self.enable_scale_to_zero != (self.hpa.min_replicas == 0) {
            let (message, help) = if self.enable_scale_to_zero {
                ("enableScaleToZero, and an HPA that keeps a replica", "write hpa: { minReplicas: 0 }")
            } else {
                (
                    "an HPA that may go to 0, and enableScaleToZero is off",
                    "write enableScaleToZero: true, or minReplicas: 1",
                )
            };
            add("hpa.minReplicas", message.to_owned(), help);
        }
        if self.is_v2() && setting.engine.is_none() {
            let message = "the analyzer by tokens reads the KV cache of a batching engine, which this scenario does not run";
            add(
                "analyzerName",
                message.to_owned(),
                "use an engine: { continuous: .. }, or leave out analyzerName",
            );
        }
        if let Some(fault) = reads_vllm(setting, "analyzerName") {
            faults.push(fault);
        } else {
            faults.extend(super::autoscaler::Queries::new(self, setting).err().unwrap_or_default());
        }
        faults.extend(self.hpa.check(setting).into_iter().map(|(p, m, h)| (format!("hpa.{p}"), m, h)));
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(json: &str) -> Vec<String> {
        let spec: WvaSpec = serde_json::from_str(json).expect(json);
        let faults = spec.check(&Setting::default());
        assert!(faults.iter().all(|(_, message, help)| !message.is_empty() && !help.is_empty()), "{json}");
        faults.into_iter().map(|(path, ..)| path).collect()
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let check = |json: &str, expected: &[&str]| assert_eq!(paths(json), expected, "{json}");
        check("{}", &[]);
        check(r#"{"enableScaleToZero": true, "hpa": {"minReplicas": 0}}"#, &[]);
        check(r#"{"enableScaleToZero": true}"#, &["hpa.minReplicas"]);
        check(r#"{"hpa": {"minReplicas": 0}}"#, &["hpa.minReplicas"]);
        check(
            r#"{"analyzerName": "v2", "kvCacheThreshold": 1.5, "queueLengthThreshold": 0, "kvSpareTrigger": 2,
                "queueSpareTrigger": -1, "scaleUpThreshold": 0, "scaleDownBoundary": 0.7, "interval": "0s",
                "retentionPeriod": "0s", "hpa": {"minReplicas": 3, "maxReplicas": 2, "behavior": {"scaleUp":
                {"stabilizationWindowSeconds": 9999}}, "controller": {"syncPeriod": "0s"}}}"#,
            &[
                "analyzerName",
                "kvCacheThreshold",
                "scaleUpThreshold",
                "queueLengthThreshold",
                "kvSpareTrigger",
                "queueSpareTrigger",
                "scaleDownBoundary",
                "interval",
                "retentionPeriod",
                "hpa.minReplicas",
                "hpa.behavior.scaleUp.stabilizationWindowSeconds",
                "hpa.controller.syncPeriod",
            ],
        );
        check(r#"{"analyzerName": "saturation"}"#, &["analyzerName"]);
        let nan =
            WvaSpec { kv_cache_threshold: f64::NAN, queue_spare_trigger: f64::NAN, ..WvaSpec::default() };
        assert_eq!(nan.check(&Setting::default()).len(), 3);
    }

    #[test]
    fn the_chart_gives_the_hpa_its_windows() {
        let spec = FollowerSpec::default().resolve();
        let behavior = spec.behavior.expect("it has one");
        for rules in [behavior.scale_up, behavior.scale_down] {
            assert_eq!(rules.stabilization_window, Some(240_000_000_000));
            assert_eq!(
                rules.policies.iter().map(|p| (p.value, p.period)).collect::<Vec<_>>(),
                [(10, 150_000_000_000)]
            );
        }
        assert_eq!((spec.min_replicas, spec.max_replicas, spec.metrics.len()), (Some(1), 10, 1));
    }
}
