//! A Knative service as a scenario writes it, and everything that can be wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::activator::REQUEST_TIMEOUT;
use super::annotations::{self, Annotations};
use super::config::{self, AutoscalerConfig};
use super::revision::{Reachability, Revision};
use crate::kernel::SimDuration;
use crate::policy::{Fault, closest};
use crate::yaml::Path;

/// Annotations of this domain are the KPA's.
const DOMAIN: &str = "autoscaling.knative.dev/";

/// Knative Serving's pod autoscaler (KPA), with its activator and queue-proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KnativeSpec {
    /// A file with Knative's Service, Configuration, Revision or PodAutoscaler, or KServe's InferenceService, in the place
    /// of what would be written here; what is written here stays. Relative to the scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Which object of the file, where it holds several: `NAME` or `KIND/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// A file with the ConfigMap `config-autoscaler`, where the other one does not hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_manifest: Option<String>,
    /// Name of the service; its pods are named after it. Default: `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Annotations of the revision (`spec.template.metadata.annotations`); those of `autoscaling.knative.dev/` and
    /// `serving.knative.dev/progress-deadline` count.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// `containerConcurrency`: requests that a pod lets through at a time; 0 is without limit. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_concurrency: Option<i64>,
    /// `timeoutSeconds` of a request; 0 is the default. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i64>,
    /// `data` of the ConfigMap `config-autoscaler`: the cluster's defaults.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

impl KnativeSpec {
    /// Everything that is wrong with it; paths are relative to it.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = self.unknown_keys();
        let below = |field: &'static str| {
            move |(key, message, help): Fault| (Path::keys([field, key.as_str()]).to_string(), message, help)
        };
        // With a faulty configuration the annotations are held against the defaults.
        let config = AutoscalerConfig::from_data(&self.config).unwrap_or_else(|found| {
            faults.extend(found.into_iter().map(below("config")));
            AutoscalerConfig::default()
        });
        if let Err(found) = Annotations::from_map(&self.annotations, &config) {
            faults.extend(found.into_iter().map(below("annotations")).map(|fault| self.place_class(fault)));
        }
        for (field, value, help) in [
            ("containerConcurrency", self.container_concurrency, "write 0 (no limit) or more"),
            ("timeoutSeconds", self.timeout_seconds, "write 0 (the default, 300) or more"),
        ] {
            if let Some(value) = value.filter(|value| u32::try_from(*value).is_err()) {
                faults.push((field.to_owned(), format!("{value} is out of range"), help.to_owned()));
            }
        }
        faults
    }

    /// The class may be the cluster's and not the revision's.
    fn place_class(&self, (path, message, help): Fault) -> Fault {
        let class = Path::keys(["annotations", annotations::CLASS[0]]).to_string();
        if path != class || self.annotations.contains_key(annotations::CLASS[0]) {
            return (path, message, help);
        }
        (Path::keys(["config", "pod-autoscaler-class"]).to_string(), message, help)
    }

    /// Keys that nobody reads: a typing error would go unnoticed in a cluster.
    fn unknown_keys(&self) -> Vec<Fault> {
        let known =
            annotations::KEYS.iter().flat_map(|keys| keys.iter()).filter_map(|k| k.strip_prefix(DOMAIN));
        let unknown = |field: &str, kind: &str, domain: &str, name: &str, known: &BTreeSet<&str>| {
            let all = || known.iter().copied().collect::<Vec<_>>().join(", ");
            let help = closest(name, known.iter().copied()).map_or_else(
                || format!("leave it out; known are {}", all()),
                |near| format!("did you mean `{domain}{near}`?"),
            );
            let key = format!("{domain}{name}");
            (Path::keys([field, key.as_str()]).to_string(), format!("unknown {kind} `{key}`"), help)
        };
        let annotations: BTreeSet<&str> = known.collect();
        let keys = BTreeSet::from(config::KEYS);
        let foreign = self.annotations.keys().filter_map(|key| key.strip_prefix(DOMAIN));
        let foreign = foreign
            .filter(|name| !annotations.contains(name))
            .map(|name| unknown("annotations", "annotation", DOMAIN, name, &annotations));
        let strange = self.config.keys().filter(|key| *key != "_example" && !keys.contains(key.as_str()));
        let strange = strange.map(|key| unknown("config", "key of config-autoscaler", "", key, &keys));
        foreign.chain(strange).collect()
    }

    /// Most requests that a pod lets through at a time; 0 is without limit.
    pub fn concurrency(&self) -> u32 {
        self.container_concurrency.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(0)
    }

    /// Longest time of a request.
    pub fn timeout(&self) -> SimDuration {
        let given = self.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        given.filter(|seconds| *seconds > 0).map_or(REQUEST_TIMEOUT, SimDuration::from_secs)
    }

    /// The revision of a spec that nothing is wrong with; what is wrong falls back to the defaults.
    pub fn revision(&self) -> Revision {
        let config = AutoscalerConfig::from_data(&self.config).unwrap_or_default();
        let annotations = Annotations::from_map(&self.annotations, &config).unwrap_or_default();
        Revision {
            annotations,
            config,
            container_concurrency: i64::from(self.concurrency()),
            reachability: Reachability::Reachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> KnativeSpec {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn every_fault_has_its_place_and_a_mend() {
        let faults = spec(
            r#"{"annotations": {
                "autoscaling.knative.dev/target": "0",
                "autoscaling.knative.dev/minscale": "1",
                "autoscaling.knative.dev/colour": "red",
                "serving.knative.dev/creator": "me"},
                "config": {"stable-window": "1s", "stable-windows": "60s", "_example": "text"},
                "containerConcurrency": -1, "timeoutSeconds": -5}"#,
        )
        .check();
        let shown: Vec<(&str, &str)> = faults.iter().map(|(p, _, h)| (p.as_str(), h.as_str())).collect();
        let known = shown[0].1;
        assert!(known.contains("known are activation-scale, "), "{known}");
        assert_eq!(
            shown[1..],
            [
                (
                    r#"annotations["autoscaling.knative.dev/minscale"]"#,
                    "did you mean `autoscaling.knative.dev/min-scale`?"
                ),
                ("config.stable-windows", "did you mean `stable-window`?"),
                ("config.stable-window", "write 6s to 1h, in whole seconds"),
                (r#"annotations["autoscaling.knative.dev/target"]"#, "write at least 0.01"),
                ("containerConcurrency", "write 0 (no limit) or more"),
                ("timeoutSeconds", "write 0 (the default, 300) or more"),
            ]
        );
        assert_eq!(shown[0].0, r#"annotations["autoscaling.knative.dev/colour"]"#);
        assert!(faults.iter().all(|(path, ..)| Path::parse(path).is_ok()));
    }

    #[test]
    fn the_class_is_blamed_where_it_stands() {
        let of_cluster =
            spec(r#"{"config": {"pod-autoscaler-class": "hpa.autoscaling.knative.dev"}}"#).check();
        let of_revision =
            spec(r#"{"annotations": {"autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev"}}"#)
                .check();
        assert_eq!((of_cluster.len(), of_revision.len()), (1, 1));
        assert_eq!(of_cluster[0].0, "config.pod-autoscaler-class");
        assert_eq!(of_revision[0].0, r#"annotations["autoscaling.knative.dev/class"]"#);
        assert!(of_revision[0].2.contains("HPA"), "{of_revision:?}");
    }

    #[test]
    fn absent_fields_are_upstreams_defaults() {
        let spec = spec("{}");
        assert_eq!(spec.check(), vec![]);
        assert_eq!((spec.concurrency(), spec.timeout()), (0, SimDuration::from_secs(300)));
        assert_eq!(spec.revision().config, AutoscalerConfig::default());
    }
}
