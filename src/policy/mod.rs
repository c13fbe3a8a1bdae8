//! Floor 2: autoscaling policies: what each sees, and the one thing it may answer.
//!
//! A new policy is one file (a spec struct whose doc comments are its manual, a state
//! struct, `impl Autoscaler`) and one arm in each function of [`PolicySpec`].

pub mod adapter;
pub mod aibrix;
pub mod api;
pub mod dynamo;
pub mod engine_facts;
pub mod fixed;
#[cfg(test)]
pub(crate) mod fixture;
pub mod hpa;
pub mod keda;
pub mod knative;
pub mod meter;
pub mod predictive;
pub mod ray;
mod scraped;
pub mod setting;
pub mod warm_pool;
pub mod wva;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use aibrix::AibrixSpec;
pub use api::{Autoscaler, Decision, Loop, Reason, View};
pub use dynamo::DynamoSpec;
pub use fixed::FixedSpec;
pub use hpa::HpaSpec;
pub use keda::KedaSpec;
pub use knative::KnativeSpec;
pub use predictive::PredictiveSpec;
pub use ray::RaySpec;
pub use setting::{ReplicaModel, Setting};
pub use warm_pool::WarmPoolSpec;
pub use wva::WvaSpec;

/// Something wrong with a policy: (path below it, what, how to mend it).
pub type Fault = (String, String, String);

/// An autoscaling policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PolicySpec {
    /// A fixed number of replicas.
    Fixed(FixedSpec),
    /// A HorizontalPodAutoscaler (autoscaling/v2).
    Hpa(Box<HpaSpec>),
    /// KEDA: a ScaledObject, or the HTTP add-on's HTTPScaledObject, and the HPA it owns.
    Keda(Box<KedaSpec>),
    /// Knative Serving's pod autoscaler (KPA), with its activator and queue-proxy.
    Knative(Box<KnativeSpec>),
    /// Ray Serve's autoscaling on ongoing requests, with its router.
    Ray(Box<RaySpec>),
    /// AIBrix's PodAutoscaler, APA or KPA.
    Aibrix(Box<AibrixSpec>),
    /// llm-d's workload-variant-autoscaler, and the HPA that follows it.
    Wva(Box<WvaSpec>),
    /// NVIDIA Dynamo's planner, for aggregated serving.
    Dynamo(Box<DynamoSpec>),
    /// Warm replicas to spare, over another policy.
    WarmPool(Box<WarmPoolSpec>),
    /// As many as the load will need that is forecast for when they are there, beside another policy.
    Predictive(Box<PredictiveSpec>),
}

impl PolicySpec {
    /// The kinds there are, as a scenario names them.
    pub const KINDS: [&'static str; 10] =
        ["fixed", "hpa", "keda", "knative", "ray", "aibrix", "wva", "dynamo", "warmPool", "predictive"];

    /// Its kind, as a scenario names it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Fixed(_) => "fixed",
            Self::Hpa(_) => "hpa",
            Self::Keda(_) => "keda",
            Self::Knative(_) => "knative",
            Self::Ray(_) => "ray",
            Self::Aibrix(_) => "aibrix",
            Self::Wva(_) => "wva",
            Self::Dynamo(_) => "dynamo",
            Self::WarmPool(_) => "warmPool",
            Self::Predictive(_) => "predictive",
        }
    }

    /// A running policy of this spec, which [`PolicySpec::check`] found nothing wrong with.
    pub fn build(&self, setting: &Setting) -> Box<dyn Autoscaler> {
        match self {
            Self::Fixed(spec) => Box::new(fixed::Fixed::new(*spec)),
            Self::Hpa(spec) => Box::new(hpa::Hpa::new(spec, setting)),
            Self::Keda(spec) => Box::new(keda::Keda::new(spec, setting)),
            Self::Knative(spec) => Box::new(knative::Knative::new(spec)),
            Self::Ray(spec) => Box::new(ray::Ray::new(spec)),
            Self::Aibrix(spec) => Box::new(aibrix::Aibrix::new(spec, setting)),
            Self::Wva(spec) => Box::new(wva::Wva::new(spec, setting)),
            Self::Dynamo(spec) => Box::new(dynamo::Dynamo::new(spec, setting)),
            Self::WarmPool(spec) => Box::new(warm_pool::WarmPool::new(spec, setting)),
            Self::Predictive(spec) => Box::new(predictive::Predictive::new(spec, setting)),
        }
    }

    /// Everything that is wrong with it. Paths begin with its kind: `hpa.metrics[0].type`.
    pub fn check(&self, setting: &Setting) -> Vec<Fault> {
        let faults = match self {
            Self::Fixed(spec) if spec.replicas == 0 => vec![(
                "replicas".to_owned(),
                "0 replicas serve nothing".to_owned(),
                "write at least 1".to_owned(),
            )],
            Self::Fixed(_) => Vec::new(),
            Self::Hpa(spec) => hpa::validate::validate(spec, setting),
            Self::Keda(spec) => spec.check(setting),
            Self::Knative(spec) => spec.check(),
            Self::Ray(spec) => spec.check(),
            Self::Aibrix(spec) => spec.check(setting),
            Self::Wva(spec) => spec.check(setting),
            Self::Dynamo(spec) => spec.check(setting),
            Self::WarmPool(spec) => {
                let mut faults = Vec::new();
                if spec.spare == 0 {
                    let (message, help) =
                        ("a warm pool without a spare", "write at least 1, or use its policy alone");
                    faults.push(("spare".to_owned(), message.to_owned(), help.to_owned()));
                }
                faults.extend(spec.check_sleep());
                faults.extend(
                    spec.over.check(setting).into_iter().map(|(p, m, h)| (format!("over.{p}"), m, h)),
                );
                faults
            }
            Self::Predictive(spec) => spec.check(setting),
        };
        faults.into_iter().map(|(p, m, h)| (format!("{}.{p}", self.kind()), m, h)).collect()
    }

    /// What of a pod's CPU and memory it reads: the profile or the scenario must then know it.
    pub fn resources(&self) -> Vec<ResourceRead> {
        match self {
            Self::Fixed(_)
            | Self::Knative(_)
            | Self::Ray(_)
            | Self::Aibrix(_)
            | Self::Wva(_)
            | Self::Dynamo(_) => Vec::new(),
            Self::Hpa(spec) => spec.resources(),
            Self::Keda(spec) => spec.resources(),
            Self::WarmPool(spec) => spec.over.resources(),
            Self::Predictive(spec) => spec.over.as_ref().map(Self::resources).unwrap_or_default(),
        }
    }

    /// The policy below it, in its field `over`.
    pub fn below(&self) -> Option<&Self> {
        match self {
            Self::Fixed(_) | Self::Hpa(_) | Self::Keda(_) | Self::Knative(_) => None,
            Self::WarmPool(spec) => Some(&spec.over),
            Self::Predictive(spec) => spec.over.as_ref(),
        }
    }

    /// What of [`Setting::replica`] it reads, the policies below it included.
    pub fn reads_replica(&self) -> ReplicaRead {
        let below = self.below().map(Self::reads_replica).unwrap_or_default();
        let own = match self {
            Self::Predictive(spec) => spec.reads_replica(),
            Self::Fixed(_) | Self::Hpa(_) | Self::Keda(_) | Self::Knative(_) | Self::WarmPool(_) => {
                ReplicaRead::default()
            }
        };
        ReplicaRead { capacity: own.capacity || below.capacity, start: own.start || below.start }
    }
}

/// What a policy reads of [`Setting::replica`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaRead {
    /// What a replica can serve.
    pub capacity: bool,
    /// How long it takes to come.
    pub start: bool,
}

/// What a policy reads of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceRead {
    /// Memory, and not CPU.
    pub is_memory: bool,
    /// As a share of the request.
    pub of_request: bool,
}

/// The name most like a mistyped one, if any is near enough to be meant.
pub fn closest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR: f64 = 0.7;
    names
        .map(|name| (strsim::normalized_damerau_levenshtein(typed, name), name))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read as a scenario is; JSON is YAML.
    fn spec(json: &str) -> PolicySpec {
        let document = crate::yaml::Document::parse("policy", json).expect(json);
        crate::yaml::read(&document).expect(json)
    }

    /// Paths of the faults, in order; and every fault says how to mend it.
    fn paths(json: &str) -> Vec<String> {
        let faults = spec(json).check(&Setting::default());
        assert!(faults.iter().all(|(_, message, help)| !message.is_empty() && !help.is_empty()), "{json}");
        faults.into_iter().map(|(path, ..)| path).collect()
    }

    fn metric(metric: &str) -> String {
        format!(r#"{{"hpa": {{"maxReplicas": 4, "metrics": [{metric}]}}}}"#)
    }

    #[test]
    fn specs_round_trip_as_they_are_written() {
        for json in [
            r#"{"fixed": {"replicas": 4}}"#,
            r#"{"warmPool": {"spare": 2, "over": {"hpa": {"maxReplicas": 4, "metrics": [{"type": "Pods",
                "pods": {"metric": {"name": "vllm:num_requests_waiting", "selector": {"matchLabels": {"a": "b"}}},
                "target": {"type": "AverageValue", "averageValue": 5}}}],
                "behavior": {"scaleUp": {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}],
                "selectPolicy": "Min", "tolerance": "0.05"}}, "controller": {"phase": "5s"}}}}}"#,
        ] {
            let first = spec(json);
            assert_eq!(first.check(&Setting::default()), vec![], "{json}");
            let written = serde_json::to_string(&first).expect("specs can be written");
            assert_eq!(spec(&written), first, "{json}");
        }
        assert!(serde_json::from_str::<PolicySpec>(r#"{"fixed": {"replica": 4}}"#).is_err());
        assert!(
            serde_json::from_str::<PolicySpec>(r#"{"hpa": {"maxReplicas": 4, "minReplica": 1}}"#).is_err()
        );
    }

    #[test]
    fn kinds_are_the_tags() {
        let kinds = [
            r#"{"fixed": {"replicas": 1}}"#,
            r#"{"hpa": {"maxReplicas": 1}}"#,
            r#"{"keda": {}}"#,
            r#"{"knative": {}}"#,
            r#"{"ray": {}}"#,
            r#"{"aibrix": {"scalingStrategy": "APA", "maxReplicas": 1, "metricsSources": []}}"#,
            r#"{"wva": {}}"#,
            r#"{"dynamo": {}}"#,
            r#"{"warmPool": {"spare": 1, "over": {"fixed": {"replicas": 1}}}}"#,
            r#"{"predictive": {"maxReplicas": 1}}"#,
        ];
        assert_eq!(kinds.map(|json| spec(json).kind()), PolicySpec::KINDS);
    }

    #[test]
    fn counts_are_checked() {
        let check = |json: &str, expected: &[&str]| assert_eq!(paths(json), expected, "{json}");
        check(r#"{"fixed": {"replicas": 0}}"#, &["fixed.replicas"]);
        check(r#"{"hpa": {"maxReplicas": 0}}"#, &["hpa.maxReplicas"]);
        check(r#"{"hpa": {"maxReplicas": 2, "minReplicas": 3}}"#, &["hpa.minReplicas"]);
        check(r#"{"hpa": {"maxReplicas": 2, "minReplicas": 0}}"#, &["hpa.minReplicas"]);
        check(r#"{"hpa": {"maxReplicas": 2, "minReplicas": -1}}"#, &["hpa.minReplicas"]);
        check(
            r#"{"warmPool": {"spare": 0, "over": {"hpa": {"maxReplicas": 0}}}}"#,
            &["warmPool.spare", "warmPool.over.hpa.maxReplicas"],
        );
        let asleep = |more: &str, over: &str| {
            format!(
                r#"{{"warmPool": {{"spare": 1, "sleep": {{"level": "inHostRam", "wake": "3s"}}{more}, "over": {over}}}}}"#
            )
        };
        let fixed = r#"{"fixed": {"replicas": 1}}"#;
        let plain = r#"{"warmPool": {"spare": 1, "over": {"fixed": {"replicas": 1}}}}"#;
        check(&asleep("", fixed), &[]);
        check(&asleep(r#", "inRotation": true"#, fixed), &["warmPool.sleep"]);
        check(&asleep("", plain), &["warmPool.sleep"]);
        let below = plain.replace(fixed, &asleep("", fixed));
        check(&below, &["warmPool.over.warmPool.sleep"]);
        check(
            r#"{"hpa": {"maxReplicas": 2, "controller": {"syncPeriod": "0s", "tolerance": -1.0}}}"#,
            &["hpa.controller.syncPeriod", "hpa.controller.tolerance"],
        );
        check(
            r#"{"hpa": {"maxReplicas": 2, "controller": {"phase": "5s", "createdAtStart": true,
                "featureGates": {"HPAConfigurableTolerance": false}}}}"#,
            &["hpa.controller.featureGates.HPAConfigurableTolerance", "hpa.controller.phase"],
        );
    }

    #[test]
    fn the_controller_is_checked() {
        let check = |controller: &str, expected: &[&str]| {
            let json = format!(
                r#"{{"hpa": {{"minReplicas": 0, "maxReplicas": 2, "controller": {{{controller}}}, "metrics": [{{"type": "External",
                    "external": {{"metric": {{"name": "gateway_queue_length", "selector": {{"matchLabels": {{"app": "a b"}}}}}},
                    "target": {{"type": "Value", "value": "5"}}}}}}]}}}}"#
            );
            let selector = "hpa.metrics[0].external.metric.selector.matchLabels";
            let expected: Vec<&str> = expected.iter().copied().chain([selector]).collect();
            assert_eq!(paths(&json), expected, "{controller}");
        };
        check("", &[]);
        check(r#""kubernetesVersion": "1.36""#, &["hpa.minReplicas"]);
        check(r#""kubernetesVersion": "1.36", "featureGates": {"HPAScaleToZero": true}"#, &[]);
        check(r#""featureGates": {"HPAScaleToZero": false}"#, &["hpa.minReplicas"]);
    }

    #[test]
    fn metrics_are_checked() {
        let check = |text: &str, expected: &[&str]| {
            let expected: Vec<String> = expected.iter().map(|p| format!("hpa.metrics[0].{p}")).collect();
            assert_eq!(paths(&metric(text)), expected, "{text}");
        };
        let target = r#""target": {"type": "AverageValue", "averageValue": "5"}"#;
        check(r#"{"type": "Pods"}"#, &["type"]);
        check(
            &format!(r#"{{"type": "Pods", "resource": {{"name": "cpu", {target}}}}}"#),
            &["resource", "type"],
        );
        check(
            &format!(r#"{{"type": "Resource", "resource": {{"name": "nvidia.com/gpu", {target}}}}}"#),
            &["resource.name"],
        );
        check(
            r#"{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}"#,
            &["resource.target"],
        );
        check(
            r#"{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization",
                "averageUtilization": 0}}}"#,
            &["resource.target.averageUtilization"],
        );
        check(
            r#"{"type": "Pods", "pods": {"metric": {"name": "vllm:num_requests_running"},
                "target": {"type": "Value", "value": "-1"}}}"#,
            &["pods.target.value", "pods.target"],
        );
        check(
            &format!(
                r#"{{"type": "Pods", "pods": {{"metric": {{"name": "gateway_queue_length"}}, {target}}}}}"#
            ),
            &["pods.metric.name"],
        );
        check(
            r#"{"type": "External", "external": {"metric": {"name": "gateway_queue_length"},
                "target": {"type": "Value", "value": "5", "averageValue": "5"}}}"#,
            &["external.target"],
        );
        check(
            r#"{"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "llm"},
                "metric": {"name": "gateway_queue_length"}, "target": {"type": "Value", "averageValue": "5"}}}"#,
            &["object.target.type"],
        );
    }

    #[test]
    fn behavior_is_checked() {
        let json = r#"{"hpa": {"maxReplicas": 4, "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 3601, "policies": [], "tolerance": "-0.1"},
            "scaleDown": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]}}}}"#;
        assert_eq!(
            paths(json),
            [
                "hpa.behavior.scaleUp.stabilizationWindowSeconds",
                "hpa.behavior.scaleUp.tolerance",
                "hpa.behavior.scaleUp.policies",
                "hpa.behavior.scaleDown.policies[0].value",
                "hpa.behavior.scaleDown.policies[0].periodSeconds",
            ]
        );
    }

    #[test]
    fn unknown_names_are_answered_with_the_nearest() {
        let check = |name: &str, expected: Option<&str>| {
            let text = format!(
                r#"{{"type": "Pods", "pods": {{"metric": {{"name": "{name}"}},
                    "target": {{"type": "AverageValue", "averageValue": "5"}}}}}}"#
            );
            let faults = spec(&metric(&text)).check(&Setting::default());
            assert_eq!(faults.len(), 1, "{name}");
            let help = &faults[0].2;
            match expected {
                Some(near) => assert!(help.starts_with(&format!("did you mean `{near}`?")), "{help}"),
                None => assert!(help.starts_with("one of "), "{help}"),
            }
        };
        check("vllm:num_request_waiting", Some("vllm:num_requests_waiting"));
        check("vllm_num_requests_running", Some("vllm:num_requests_running"));
        check("DCGM_FI_DEV_GPU_UTILIZATION", Some("DCGM_FI_DEV_GPU_UTIL"));
        check("temperature", None);
    }

    #[test]
    fn resources_are_seen_through_a_warm_pool() {
        let check = |json: &str, expected: &[(bool, bool)]| {
            let reads: Vec<_> =
                spec(json).resources().into_iter().map(|r| (r.is_memory, r.of_request)).collect();
            assert_eq!(reads, expected, "{json}");
        };
        check(r#"{"fixed": {"replicas": 1}}"#, &[]);
        check(r#"{"warmPool": {"spare": 1, "over": {"hpa": {"maxReplicas": 4}}}}"#, &[(false, true)]);
        let resource = |name: &str, target: &str| {
            metric(&format!(
                r#"{{"type": "Resource", "resource": {{"name": "{name}", "target": {target}}}}}"#
            ))
        };
        check(&resource("cpu", r#"{"type": "AverageValue", "averageValue": "2"}"#), &[(false, false)]);
        check(&resource("memory", r#"{"type": "Utilization", "averageUtilization": 60}"#), &[(true, true)]);
        check(
            &metric(
                r#"{"type": "Pods", "pods": {"metric": {"name": "vllm:num_requests_running"},
                    "target": {"type": "AverageValue", "averageValue": "5"}}}"#,
            ),
            &[],
        );
    }
}
