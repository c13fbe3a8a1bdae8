//! A warm pool of nodes: pods of the lowest priority that hold them until a replica needs one.

use serde_json::{Map, Value, json};

use super::{Names, object};
use crate::scenario::Resolved;

/// What placeholders take for granted.
pub(super) const NEEDS: &str = "a provisioner that orders nodes for pending pods of priority -10 (cluster-autoscaler's cutoff, \
                                Karpenter has none), and replicas whose pods need no tolerations: add those they have to \
                                the placeholders";

/// A priority below every pod that says nothing of it, and as low as cluster-autoscaler orders nodes for.
const PRIORITY: i32 = -10;

/// The class and the pods.
pub(super) fn objects(spare: u32, resolved: &Resolved, names: &Names) -> Vec<Value> {
    let name = format!("{}-placeholder", names.name);
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": { "name": name },
        "value": PRIORITY,
        "preemptionPolicy": "Never",
        "description": "Holds nodes that replicas may take at any time",
    });
    let gpus = resolved.simulation.replica.gpus.to_string();
    let mut pod = json!({
        "priorityClassName": name,
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "name": "pause",
            "image": "registry.k8s.io/pause:3.10",
            "resources": { "limits": { "nvidia.com/gpu": gpus } },
        }],
    });
    let selector = &resolved.spec.replica.node_selector;
    if !selector.is_empty() {
        pod["nodeSelector"] = json!(selector);
    }
    let labels = json!({ "app.kubernetes.io/name": name });
    let mut metadata: Map<String, Value> = names.metadata();
    metadata.insert("name".to_owned(), Value::from(name.as_str()));
    let spec = json!({
        "replicas": spare,
        "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": pod },
    });
    vec![class, object("apps/v1", "Deployment", metadata, ("spec", spec))]
}
