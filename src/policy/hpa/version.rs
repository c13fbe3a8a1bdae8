//! What differs between the HPA controllers of Kubernetes 1.33 to 1.37: this file is the one table.
//!
//! Each rule is a function of the version that names the change upstream; the stages of the
//! feature gates are those of `pkg/features/kube_features.go`. A release is taken as it was
//! first published: a fix that a later patch release brought back is not there yet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reconcile::Gates;
use super::spec::ControllerSpec;
use crate::policy::Fault;

/// A minor release of Kubernetes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum KubernetesVersion {
    /// 1.33.
    #[serde(rename = "1.33")]
    V1_33,
    /// 1.34.
    #[serde(rename = "1.34")]
    V1_34,
    /// 1.35.
    #[serde(rename = "1.35")]
    V1_35,
    /// 1.36.
    #[serde(rename = "1.36")]
    V1_36,
    /// 1.37.
    #[serde(rename = "1.37")]
    #[default]
    V1_37,
}

/// When a workload at zero replicas is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroRule {
    /// Whenever `minReplicas` is 0, whoever took it there.
    MinReplicas,
    /// If this HPA took it there itself, which its condition `ScaledToZero` remembers.
    Condition,
}

impl KubernetesVersion {
    /// All of them, oldest first.
    pub const ALL: [Self; 5] = [Self::V1_33, Self::V1_34, Self::V1_35, Self::V1_36, Self::V1_37];

    /// The number after `1.`.
    pub const fn minor(self) -> u32 {
        match self {
            Self::V1_33 => 33,
            Self::V1_34 => 34,
            Self::V1_35 => 35,
            Self::V1_36 => 36,
            Self::V1_37 => 37,
        }
    }

    const fn is_at_least(self, minor: u32) -> bool {
        self.minor() >= minor
    }

    /// When zero replicas are left again. Until 1.35 the controller asked for `minReplicas: 0`
    /// alone; 1.36 introduced the condition `ScaledToZero` (KEP-2021, PR 135118,
    /// `horizontal.go`).
    pub const fn zero_rule(self) -> ZeroRule {
        if self.is_at_least(36) { ZeroRule::Condition } else { ZeroRule::MinReplicas }
    }

    /// Whether a new HPA, or one whose spec changed, is reconciled at once and not one sync
    /// period later: since 1.37 (PR 138294, `enqueueHPA` and `updateHPA` of `horizontal.go`).
    pub const fn reconciles_new_objects_at_once(self) -> bool {
        self.is_at_least(37)
    }

    /// Whether a conflicting write of the scale is tried again: since 1.34 (PR 132007,
    /// `horizontal.go`). Before, the first conflict ended the reconcile.
    pub const fn retries_conflicts(self) -> bool {
        self.is_at_least(34)
    }

    /// Whether the status writes a memory average in whole bytes with binary suffixes and not
    /// in thousandths of a byte: since 1.34 (PR 132351, `buildQuantity` of `horizontal.go`).
    pub const fn writes_memory_in_bytes(self) -> bool {
        self.is_at_least(34)
    }

    /// Whether utilisation is measured against requests of the pod as a whole where there are
    /// some and the gate `PodLevelResources` is on: since 1.34 (PR 132430,
    /// `calculateRequests` of `replica_calculator.go`).
    pub const fn reads_pod_level_requests(self) -> bool {
        self.is_at_least(34)
    }

    /// Whether a `ContainerResource` metric fails if a pod lacks its container: since 1.35
    /// (PR 133415, `replica_calculator.go`). Before, that pod's request counted as 0. That
    /// its first release is 1.35 is inferred from the time of the change.
    pub const fn misses_absent_containers(self) -> bool {
        self.is_at_least(35)
    }

    /// Whether more replicas than 32 bits hold are cut to the most they hold where an External
    /// metric has a value per replica: since 1.34 (PR 127050, `replica_calculator.go`).
    pub const fn caps_external_average(self) -> bool {
        self.is_at_least(34)
    }

    /// The same for an Object or External metric with a value of the whole: since 1.35
    /// (PR 126979, `replica_calculator.go`).
    pub const fn caps_values(self) -> bool {
        self.is_at_least(35)
    }
}

impl std::fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "1.{}", self.minor())
    }
}

/// How far a feature has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Off unless switched on.
    Alpha,
    /// On unless switched off.
    Beta,
    /// On, and the gate is locked.
    Stable,
}

/// A feature gate that the HPA's controller or its validation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// `HPAScaleToZero`.
    ScaleToZero,
    /// `HPAConfigurableTolerance`.
    ConfigurableTolerance,
    /// `PodLevelResources`.
    PodLevelResources,
}

impl Gate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ScaleToZero, Self::ConfigurableTolerance, Self::PodLevelResources];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScaleToZero => "HPAScaleToZero",
            Self::ConfigurableTolerance => "HPAConfigurableTolerance",
            Self::PodLevelResources => "PodLevelResources",
        }
    }

    /// Its stages, each with the minor release it began with. All three features are on by
    /// default from their beta on.
    const fn history(self) -> &'static [(u32, Stage)] {
        match self {
            // KEP-2021.
            Self::ScaleToZero => &[(16, Stage::Alpha), (37, Stage::Beta)],
            // KEP-4951.
            Self::ConfigurableTolerance => &[(33, Stage::Alpha), (35, Stage::Beta), (37, Stage::Stable)],
            // KEP-2837. That it did not become stable up to 1.37 is general knowledge.
            Self::PodLevelResources => &[(32, Stage::Alpha), (34, Stage::Beta)],
        }
    }

    /// Its stage in a minor release; `None` if that release does not have it.
    pub fn stage(self, minor: u32) -> Option<Stage> {
        self.history().iter().rev().find(|(since, _)| *since <= minor).map(|(_, stage)| *stage)
    }

    /// Whether it is on in a version, as set or by default. A locked gate is on whatever is set.
    pub fn is_on(self, version: KubernetesVersion, set: Option<bool>) -> bool {
        match self.stage(version.minor()) {
            None => false,
            Some(Stage::Alpha) => set.unwrap_or(false),
            Some(Stage::Beta) => set.unwrap_or(true),
            Some(Stage::Stable) => true,
        }
    }

    /// What is wrong with setting it in a minor release: (what, how to mend it).
    fn fault(self, minor: u32, set: bool) -> Option<(String, String)> {
        let name = self.name();
        let since = self.history()[0].0;
        match self.stage(minor) {
            None => Some((
                format!("Kubernetes 1.{minor} has no feature gate {name}"),
                format!("remove it: the gate came with 1.{since}"),
            )),
            Some(Stage::Stable) if !set => Some((
                format!("{name} is stable in Kubernetes 1.{minor} and cannot be switched off"),
                "remove it, or write an earlier kubernetesVersion".to_owned(),
            )),
            Some(_) => None,
        }
    }
}

/// Feature gates of the cluster. One that is not given stands as the version has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureGatesSpec {
    /// `minReplicas: 0`. Default: off up to 1.36, on in 1.37.
    #[serde(rename = "HPAScaleToZero")]
    pub hpa_scale_to_zero: Option<bool>,
    /// `tolerance` in `behavior`. Default: off up to 1.34, on from 1.35, locked on in 1.37.
    #[serde(rename = "HPAConfigurableTolerance")]
    pub hpa_configurable_tolerance: Option<bool>,
    /// Requests of the pod as a whole. Default: off in 1.33, on from 1.34.
    #[serde(rename = "PodLevelResources")]
    pub pod_level_resources: Option<bool>,
}

impl FeatureGatesSpec {
    /// What is set of a gate.
    pub const fn get(&self, gate: Gate) -> Option<bool> {
        match gate {
            Gate::ScaleToZero => self.hpa_scale_to_zero,
            Gate::ConfigurableTolerance => self.hpa_configurable_tolerance,
            Gate::PodLevelResources => self.pod_level_resources,
        }
    }
}

impl ControllerSpec {
    /// The gates that are on.
    pub fn gates(&self) -> Gates {
        let is_on = |gate: Gate| gate.is_on(self.kubernetes_version, self.feature_gates.get(gate));
        Gates {
            scale_to_zero: is_on(Gate::ScaleToZero),
            configurable_tolerance: is_on(Gate::ConfigurableTolerance),
            pod_level_resources: is_on(Gate::PodLevelResources),
        }
    }

    /// Gates that are set as the version does not allow. Paths are relative to the controller's section.
    pub fn check_gates(&self) -> Vec<Fault> {
        let fault = |gate: Gate| {
            let (message, help) =
                gate.fault(self.kubernetes_version.minor(), self.feature_gates.get(gate)?)?;
            Some((format!("featureGates.{}", gate.name()), message, help))
        };
        Gate::ALL.into_iter().filter_map(fault).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller(json: &str) -> ControllerSpec {
        let document = crate::yaml::Document::parse("controller", json).expect(json);
        crate::yaml::read(&document).expect(json)
    }

    #[test]
    fn versions_are_written_with_or_without_quotes_and_nothing_else_is_one() {
        let check = |text: &str, expected: KubernetesVersion| {
            assert_eq!(controller(text).kubernetes_version, expected, "{text}");
        };
        check("{}", KubernetesVersion::V1_37);
        check("kubernetesVersion: 1.35", KubernetesVersion::V1_35);
        check("kubernetesVersion: \"1.33\"", KubernetesVersion::V1_33);
        for version in KubernetesVersion::ALL {
            check(&format!("{{kubernetesVersion: '{version}'}}"), version);
        }
        for wrong in ["1.32", "1.38", "v1.35", "1.35.2", "135"] {
            let text = format!("kubernetesVersion: {wrong}");
            let document = crate::yaml::Document::parse("controller", &text).expect("it is YAML");
            let faults = crate::yaml::read::<ControllerSpec>(&document).expect_err(wrong);
            let shown = format!("{faults:?}");
            assert!(KubernetesVersion::ALL.iter().all(|v| shown.contains(&v.to_string())), "{shown}");
        }
    }

    #[test]
    fn gates_stand_as_each_version_has_them() {
        // HPAScaleToZero, HPAConfigurableTolerance, PodLevelResources.
        let expected = [
            (KubernetesVersion::V1_33, [false, false, false]),
            (KubernetesVersion::V1_34, [false, false, true]),
            (KubernetesVersion::V1_35, [false, true, true]),
            (KubernetesVersion::V1_36, [false, true, true]),
            (KubernetesVersion::V1_37, [true, true, true]),
        ];
        for (version, gates) in expected {
            let spec = ControllerSpec { kubernetes_version: version, ..ControllerSpec::default() };
            let on = spec.gates();
            let on = [on.scale_to_zero, on.configurable_tolerance, on.pod_level_resources];
            assert_eq!(on, gates, "{version}");
            assert_eq!(spec.check_gates(), vec![], "{version}");
        }
    }

    #[test]
    fn gates_override_the_version_unless_they_are_locked() {
        let gates = |text: &str| {
            let on = controller(text).gates();
            [on.scale_to_zero, on.configurable_tolerance, on.pod_level_resources]
        };
        let set =
            "featureGates: {HPAScaleToZero: true, HPAConfigurableTolerance: true, PodLevelResources: true}";
        assert_eq!(gates(&format!("{{kubernetesVersion: 1.33, {set}}}")), [true; 3]);
        let unset = set.replace("true", "false");
        assert_eq!(gates(&format!("{{kubernetesVersion: 1.36, {unset}}}")), [false; 3]);
        assert_eq!(controller(&format!("{{kubernetesVersion: 1.36, {unset}}}")).check_gates(), vec![]);
        let locked = controller(&format!("{{kubernetesVersion: 1.37, {unset}}}"));
        let on = locked.gates();
        assert_eq!((on.scale_to_zero, on.configurable_tolerance), (false, true));
        let faults = locked.check_gates();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].0, "featureGates.HPAConfigurableTolerance");
        assert!(faults[0].1.contains("stable in Kubernetes 1.37"), "{}", faults[0].1);
    }

    #[test]
    fn a_gate_has_no_stage_before_it_came() {
        assert_eq!(Gate::ConfigurableTolerance.stage(32), None);
        assert_eq!(Gate::ConfigurableTolerance.stage(33), Some(Stage::Alpha));
        assert_eq!(Gate::PodLevelResources.stage(31), None);
        assert_eq!(Gate::ScaleToZero.stage(36), Some(Stage::Alpha));
        let (message, help) = Gate::ConfigurableTolerance.fault(32, true).expect("there is no such gate");
        assert_eq!(message, "Kubernetes 1.32 has no feature gate HPAConfigurableTolerance");
        assert_eq!(help, "remove it: the gate came with 1.33");
    }
}
