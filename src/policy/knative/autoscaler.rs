//! Knative's pod autoscaler as a policy: scrapes, ticks, reconciles, and the activator's pokes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::Fault;
use crate::policy::api::{Autoscaler, Decision, Loop, View};

/// Knative Serving's pod autoscaler (KPA), with its activator and queue-proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KnativeSpec {
    /// A file with Knative's Service, Configuration, Revision or PodAutoscaler, or KServe's InferenceService, in the place of what would be written here; what is written here stays. Relative to the
    /// scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Which object of the file, where it holds several: `NAME` or `KIND/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// A file with the ConfigMap `config-autoscaler`, where the other one does not hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_manifest: Option<String>,
    /// Name of the service. Default: `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Annotations of the revision; those of `autoscaling.knative.dev/` count.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// `containerConcurrency`: requests that a pod lets through at a time; 0 is without limit. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_concurrency: Option<i64>,
    /// `timeoutSeconds` of a request. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i64>,
    /// `data` of the ConfigMap `config-autoscaler`: the cluster's defaults.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

impl KnativeSpec {
    /// Everything that is wrong with it; paths are relative to it.
    pub fn check(&self) -> Vec<Fault> {
        Vec::new()
    }
}

/// A running KPA.
#[derive(Debug)]
pub struct Knative;

impl Knative {
    /// From a spec that nothing is wrong with.
    pub fn new(_spec: &KnativeSpec) -> Self {
        Self
    }
}

impl Autoscaler for Knative {
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
