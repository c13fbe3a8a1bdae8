//! A ScaledObject's `spec` as its manifest writes it.
//!
//! After kedacore/keda `apis/keda/v1alpha1/scaledobject_types.go` and `withtriggers_types.go`
//! (8b4f083c). `validate.rs` says what is wrong with one, `triggers.rs` reads the triggers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::hpa::spec::BehaviorSpec;

/// `pollingInterval` where none is given, s.
pub const POLLING_INTERVAL_S: i32 = 30;
/// `cooldownPeriod` where none is given, s.
pub const COOLDOWN_PERIOD_S: i32 = 300;
/// `maxReplicaCount` where none is given.
pub const MAX_REPLICA_COUNT: i32 = 100;

/// A ScaledObject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaledObjectSpec {
    /// What is scaled.
    pub scale_target_ref: ScaleTarget,
    /// Seconds between two polls of the operator. Default: 30. The HPA reads its metrics on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polling_interval: Option<i32>,
    /// Seconds from the last active poll until the target may sleep. Default: 300. It does not
    /// delay any other way down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_period: Option<i32>,
    /// The same from the object's creation, as long as nothing was active yet. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_cooldown_period: Option<i32>,
    /// Replicas to sleep at, fewer than the minimum. Default: 0, if the minimum is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_replica_count: Option<i32>,
    /// Fewest replicas. Default: 0. The HPA has at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replica_count: Option<i32>,
    /// Most replicas. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replica_count: Option<i32>,
    /// What stands in for a metric that cannot be read. Default: nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<FallbackSpec>,
    /// Settings of the HPA, and the formula.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advanced: Option<AdvancedSpec>,
    /// What is scaled on.
    pub triggers: Vec<TriggerSpec>,
}

/// What is scaled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleTarget {
    /// Its API group and version. Default: `apps/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Its kind. Default: `Deployment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
    /// A container whose environment triggers may refer to; it changes nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_source_container_name: Option<String>,
}

/// What stands in for a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FallbackSpec {
    /// Failures in a row, beyond which it stands in.
    pub failure_threshold: i32,
    /// Replicas it asks for.
    pub replicas: i32,
    /// Which replicas it asks for. Default: `static`, those above.
    #[serde(default)]
    pub behavior: FallbackBehavior,
}

/// Which replicas a fallback asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FallbackBehavior {
    /// Those of the fallback.
    #[default]
    Static,
    /// As many as there are.
    CurrentReplicas,
    /// The more of both.
    CurrentReplicasIfHigher,
    /// The fewer of both.
    CurrentReplicasIfLower,
    /// None: a failing trigger is nil in the formula.
    ScalingModifiers,
}

/// Settings of the HPA, and the formula.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdvancedSpec {
    /// Give the target back its replicas when the object is deleted; it changes nothing in a run.
    #[serde(default)]
    pub restore_to_original_replica_count: bool,
    /// The HPA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizontal_pod_autoscaler_config: Option<HpaConfigSpec>,
    /// One metric of all triggers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_modifiers: Option<ScalingModifiersSpec>,
}

/// The HPA's settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HpaConfigSpec {
    /// Its name. Default: `keda-hpa-` and the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its behavior, taken over as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<BehaviorSpec>,
}

/// One metric of all triggers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingModifiersSpec {
    /// The formula, over the triggers' names.
    pub formula: String,
    /// Its target, more than 0. Fallback works with whole numbers only.
    pub target: String,
    /// What its value must be above to count as active. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_target: Option<String>,
    /// Kind of its target. Default: `AverageValue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_type: Option<MetricType>,
}

/// Kinds of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricType {
    /// Per replica.
    AverageValue,
    /// Of the whole.
    Value,
    /// Percent of the request, for `cpu` and `memory`.
    Utilization,
}

/// A trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TriggerSpec {
    /// Its kind: `prometheus`, `cron`, `cpu`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name in the formula.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The HPA reads the value of the last poll and not a new one. Default: false.
    #[serde(default)]
    pub use_cached_metrics: bool,
    /// Its settings.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Credentials; they change nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_ref: Option<AuthenticationRef>,
    /// Kind of its target. Default: `AverageValue`, and `Utilization` of `cpu` and `memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_type: Option<MetricType>,
}

impl TriggerSpec {
    /// Whether it becomes a resource metric of the HPA.
    pub fn is_resource(&self) -> bool {
        matches!(self.kind.as_str(), "cpu" | "memory")
    }
}

/// A reference to a TriggerAuthentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthenticationRef {
    /// Its name.
    pub name: String,
    /// Its kind. Default: `TriggerAuthentication`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}
