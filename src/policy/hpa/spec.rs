//! The HPA as a scenario writes it: the fields of an `autoscaling/v2` `spec` under their
//! own names, and the controller's flags beside them.
//!
//! Doc comments here are the manual. `resolve` turns a spec into the plain structs that
//! the decision works on; `validate.rs` says what is wrong with one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::version::{FeatureGatesSpec, KubernetesVersion};
use crate::kernel::{Quantity, SimDuration};

/// A HorizontalPodAutoscaler, as the controllers of Kubernetes 1.33 to 1.37 decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HpaSpec {
    /// A file with a HorizontalPodAutoscaler, in the place of what would be written here; what is written here stays. Relative to the
    /// scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Which object of the file, where it holds several: `NAME` or `KIND/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What it scales. A run has one workload, which is it; its pods are named after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_target_ref: Option<ObjectReference>,
    /// Fewest replicas. Default: 1. Zero needs an Object or External metric to wake up again, and
    /// the feature gate `HPAScaleToZero`.
    #[serde(default)]
    pub min_replicas: Option<i32>,
    /// Most replicas.
    pub max_replicas: i32,
    /// What to scale on; the highest proposal wins. Default: 80 % of the CPU request.
    #[serde(default)]
    pub metrics: Vec<MetricSpec>,
    /// Rate limits and windows. Absent, at most twice the replicas (or 4) are added at a time
    /// and the controller's downscale window holds; present, even empty, upstream's defaults
    /// of each field apply instead.
    #[serde(default)]
    pub behavior: Option<BehaviorSpec>,
    /// Flags of the controller; they are the cluster's, not the object's.
    #[serde(default)]
    pub controller: ControllerSpec,
}

impl HpaSpec {
    /// One that somebody else adds the metrics to.
    pub fn without_metrics(
        min_replicas: i32,
        max_replicas: i32,
        behavior: Option<BehaviorSpec>,
        controller: ControllerSpec,
    ) -> Self {
        Self {
            manifest: None,
            object: None,
            scale_target_ref: None,
            min_replicas: Some(min_replicas),
            max_replicas,
            metrics: Vec::new(),
            behavior,
            controller,
        }
    }
}

/// One metric; `type` names which of the other fields is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricSpec {
    /// Which kind of metric.
    #[serde(rename = "type")]
    pub kind: MetricSourceType,
    /// For `Resource`: CPU or memory of whole pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceSource>,
    /// For `ContainerResource`: CPU or memory of one container of each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_resource: Option<ContainerResourceSource>,
    /// For `Pods`: a series that every replica exports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsSource>,
    /// For `Object`: a series of the gateway, or the sum of one over the replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectSource>,
    /// For `External`: a series of the gateway, or one of the replicas (one value each).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalSource>,
}

/// Kinds of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricSourceType {
    /// A resource of whole pods.
    Resource,
    /// A resource of one container.
    ContainerResource,
    /// A custom metric of each pod.
    Pods,
    /// A custom metric of one object.
    Object,
    /// A metric from outside the cluster.
    External,
}

impl MetricSourceType {
    /// The name of its field in a metric.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::ContainerResource => "containerResource",
            Self::Pods => "pods",
            Self::Object => "object",
            Self::External => "external",
        }
    }
}

/// A resource of whole pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceSource {
    /// Its name: `cpu` or `memory`.
    pub name: String,
    /// Target: `averageUtilization` or `averageValue`.
    pub target: TargetSpec,
}

/// A resource of one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerResourceSource {
    /// Its name: `cpu` or `memory`.
    pub name: String,
    /// The container. A simulated replica is one container, of whatever name is given here.
    pub container: String,
    /// Target: `averageUtilization` or `averageValue`.
    pub target: TargetSpec,
}

/// A metric by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricIdentifier {
    /// Name of the series.
    pub name: String,
    /// Labels that the series must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// A label selector of a Kubernetes object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelRequirement {
    /// The label.
    pub key: String,
    /// What must hold.
    pub operator: LabelOperator,
    /// Values, for `In` and `NotIn`.
    #[serde(default)]
    pub values: Vec<String>,
}

/// Operators of label requirements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// One of the values.
    In,
    /// None of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// A series of every replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodsSource {
    /// Which. `telemetry.adapter` says what serves it.
    pub metric: MetricIdentifier,
    /// Target: `averageValue`.
    pub target: TargetSpec,
}

/// A series of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectSource {
    /// The object; its kind appears in messages.
    pub described_object: ObjectReference,
    /// Which series.
    pub metric: MetricIdentifier,
    /// Target: `value` or `averageValue`.
    pub target: TargetSpec,
}

/// A reference to an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectReference {
    /// Its API group and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A series from outside the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalSource {
    /// Which.
    pub metric: MetricIdentifier,
    /// Target: `value` or `averageValue`.
    pub target: TargetSpec,
}

/// The target of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSpec {
    /// Which of the other fields is meant.
    #[serde(rename = "type")]
    pub kind: TargetKind,
    /// A value of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Quantity>,
    /// A value per replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_value: Option<Quantity>,
    /// Percent of the request, mean over the replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_utilization: Option<i32>,
}

/// Kinds of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// `averageUtilization`.
    Utilization,
    /// `value`.
    Value,
    /// `averageValue`.
    AverageValue,
}

/// Rate limits and windows of both directions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BehaviorSpec {
    /// Upwards. Default: no window; 4 pods or 100 % in 15 s, whichever is more.
    #[serde(default)]
    pub scale_up: Option<RulesSpec>,
    /// Downwards. Default: the controller's downscale window; 100 % in 15 s.
    #[serde(default)]
    pub scale_down: Option<RulesSpec>,
}

/// Rules of one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RulesSpec {
    /// How far back recommendations hold a new one, 0 to 3600 s.
    #[serde(default)]
    pub stabilization_window_seconds: Option<i32>,
    /// Which of several policies binds. Default: `Max`, the biggest change.
    #[serde(default)]
    pub select_policy: Option<SelectPolicySpec>,
    /// Rate limits; a list given here replaces the default whole.
    #[serde(default)]
    pub policies: Option<Vec<ScalingPolicySpec>>,
    /// Changes of the ratio that are ignored, a fraction. Default: the controller's. Kubernetes
    /// drops it where the feature gate `HPAConfigurableTolerance` is off.
    #[serde(default)]
    pub tolerance: Option<Quantity>,
}

/// Which of several policies binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectPolicySpec {
    /// The one that allows the biggest change.
    Max,
    /// The one that allows the smallest change.
    Min,
    /// No change in this direction.
    Disabled,
}

/// One rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingPolicySpec {
    /// What the value counts.
    #[serde(rename = "type")]
    pub kind: ScalingPolicyKind,
    /// How much may change within a period.
    pub value: i32,
    /// The period, 1 to 1800 s.
    pub period_seconds: i32,
}

/// What a rate limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScalingPolicyKind {
    /// Pods.
    Pods,
    /// Percent of the replicas at the start of the period.
    Percent,
}

/// The controller: its version, and its flags (`--horizontal-pod-autoscaler-*` of kube-controller-manager).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ControllerSpec {
    /// Release of Kubernetes whose controller decides: `"1.33"` to `"1.37"`. Default: `"1.37"`.
    pub kubernetes_version: KubernetesVersion,
    /// Feature gates. Default: as the version has them.
    pub feature_gates: FeatureGatesSpec,
    /// From the end of one reconcile to the next. Default: 15 s.
    pub sync_period: SimDuration,
    /// How long a reconcile itself takes. It makes the period a little longer than the sync
    /// period, so that, as in reality, a recommendation 20 periods old is older than 5 minutes
    /// and ticks drift against scrapes. Default: 10 ms (assumed, not measured).
    pub reconcile_duration: SimDuration,
    /// How far back recommendations hold a lower one. Default: 5 min.
    pub downscale_stabilization: SimDuration,
    /// Changes of the ratio that are ignored, a fraction. Default: 0.1.
    pub tolerance: f64,
    /// How long a young pod's CPU samples are distrusted. Default: 5 min.
    pub cpu_initialization_period: SimDuration,
    /// Within this of its start, a pod that turned unready counts as never ready. Default: 30 s.
    pub initial_readiness_delay: SimDuration,
    /// Time of the first reconcile. Default: drawn within the period.
    pub phase: Option<SimDuration>,
    /// The HPA is created as the run begins, so that its first reconcile comes at once (1.37) or
    /// one sync period later (before). Default: false, it was there long before, and `phase` holds.
    pub created_at_start: bool,
}

impl Default for ControllerSpec {
    fn default() -> Self {
        Self {
            kubernetes_version: KubernetesVersion::default(),
            feature_gates: FeatureGatesSpec::default(),
            sync_period: SimDuration::from_secs(15),
            reconcile_duration: SimDuration::from_millis(10),
            downscale_stabilization: SimDuration::from_secs(300),
            tolerance: 0.1,
            cpu_initialization_period: SimDuration::from_secs(300),
            initial_readiness_delay: SimDuration::from_secs(30),
            phase: None,
            created_at_start: false,
        }
    }
}
