//! A Knative Service with the annotations that scale it, and the cluster's `config-autoscaler`.

use serde_json::{Map, Value, json};

use super::beside::Beside;
use super::{Exported, Names, object};
use crate::policy::knative::KnativeSpec;

/// The namespace of Knative's own configuration.
const SYSTEM: &str = "knative-serving";

pub(super) fn export(spec: &KnativeSpec, names: &Names, exported: &mut Exported) -> Beside {
    let mut template = Map::new();
    if !spec.annotations.is_empty() {
        template.insert("metadata".to_owned(), json!({ "annotations": spec.annotations }));
    }
    let revision =
        [("containerConcurrency", spec.container_concurrency), ("timeoutSeconds", spec.timeout_seconds)];
    let revision: Map<String, Value> =
        revision.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))).collect();
    if !revision.is_empty() {
        template.insert("spec".to_owned(), revision.into());
    }
    let body = ("spec", json!({ "template": template }));
    exported.objects.push(object("serving.knative.dev/v1", "Service", names.metadata(), body));
    exported.needs.push(format!(
        "Knative Serving, and the containers of the Service: a policy knows none. Over the Service `{name}` that runs, \
         `kubectl apply --server-side -f FILE` changes nothing but what stands here; a new one needs \
         `spec.template.spec.containers`",
        name = names.name
    ));
    if !spec.config.is_empty() {
        let metadata = [("name", "config-autoscaler"), ("namespace", SYSTEM)];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), Value::from(value)));
        exported.objects.push(object(
            "v1",
            "ConfigMap",
            Map::from_iter(metadata),
            ("data", json!(spec.config)),
        ));
        exported.needs.push(
            "care: the ConfigMap `config-autoscaler` holds for every revision of the cluster, and `kubectl apply \
             --server-side` leaves its other keys alone"
                .to_owned(),
        );
    }
    Beside::new()
}
