//! KEDA as a policy: the operator's loop and the HPA it owns.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::spec::ScaledObjectSpec;
use crate::policy::api::{Autoscaler, Decision, Loop, View};
use crate::policy::hpa::spec::ControllerSpec;
use crate::policy::{Fault, ResourceRead, Setting};

/// KEDA: a ScaledObject, or the HTTP add-on's HTTPScaledObject, and the HPA it owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KedaSpec {
    /// A file with a ScaledObject or an HTTPScaledObject, in the place of what would be written here; what is written here stays. Relative to the
    /// scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Which object of the file, where it holds several: `NAME` or `KIND/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// `metadata.name` of the object. Default: `scaledobject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `metadata.annotations` of the object; those of `autoscaling.keda.sh/` count.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// `spec` of a ScaledObject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaled_object: Option<ScaledObjectSpec>,
    /// Flags of the HPA's controller; they are the cluster's, not the object's.
    #[serde(default)]
    pub controller: ControllerSpec,
}

impl KedaSpec {
    /// Everything that is wrong with it; paths are relative to it.
    pub fn check(&self, _setting: &Setting) -> Vec<Fault> {
        Vec::new()
    }

    /// What of a pod's CPU and memory it reads.
    pub fn resources(&self) -> Vec<ResourceRead> {
        Vec::new()
    }
}

/// A running KEDA.
#[derive(Debug)]
pub struct Keda;

impl Keda {
    /// From a spec that nothing is wrong with.
    pub fn new(_spec: &KedaSpec, _setting: &Setting) -> Self {
        Self
    }
}

impl Autoscaler for Keda {
    fn loops(&self) -> Vec<Loop> {
        Vec::new()
    }
    fn decide(&mut self, _which: usize, _view: &View<'_>) -> Option<Decision> {
        None
    }
    fn initial(&self) -> (u32, u32) {
        (1, 0)
    }
    fn maximum(&self) -> Option<u32> {
        None
    }
}
