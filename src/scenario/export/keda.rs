//! KEDA's ScaledObject, or the HTTP add-on's HTTPScaledObject.

use serde_json::{Map, Value, json};

use super::beside::{self, Beside};
use super::{Exported, Names, object, spec_value};
use crate::policy::keda::KedaSpec;

pub(super) fn export(spec: &KedaSpec, names: &Names, exported: &mut Exported) -> Beside {
    let (kind, api, mut own) = match (&spec.scaled_object, &spec.http_scaled_object) {
        (Some(own), _) => ("ScaledObject", "keda.sh/v1alpha1", spec_value(own)),
        (None, Some(own)) => ("HTTPScaledObject", "http.keda.sh/v1alpha1", spec_value(own)),
        (None, None) => unreachable!("a policy without either was refused as it was read"),
    };
    without_defaults(&mut own);
    if let Some(Value::Object(target)) = own.get_mut("scaleTargetRef") {
        // Beside the name, there is the service of the HTTP add-on, or a container's.
        let mut whole: Map<String, Value> =
            names.target.fields().map(|(key, value)| (key.to_owned(), value.into())).collect();
        for (key, value) in std::mem::take(target) {
            whole.entry(key).or_insert(value);
        }
        *target = whole;
    }
    let mut metadata = names.metadata();
    if !spec.annotations.is_empty() {
        metadata.insert("annotations".to_owned(), json!(spec.annotations));
    }
    exported.objects.push(object(api, kind, metadata, ("spec", Value::Object(own))));
    exported.needs.push(match kind {
        "ScaledObject" => "KEDA 2".to_owned(),
        _ => "KEDA 2 and its HTTP add-on, whose interceptors every request must go by".to_owned(),
    });
    let with_credentials = spec
        .scaled_object
        .iter()
        .flat_map(|own| &own.triggers)
        .filter_map(|own| own.authentication_ref.as_ref());
    for reference in with_credentials {
        let kind = reference.kind.as_deref().unwrap_or("TriggerAuthentication");
        exported.needs.push(format!("{kind} `{}`, which the scenario does not read", reference.name));
    }
    let mut beside = Beside::new();
    let left_out = &mut exported.left_out;
    let value = |map: Value| map.as_object().is_some_and(|map| !map.is_empty()).then_some(map);
    let phase = spec.phase.map(|phase| json!(phase));
    beside::simulated(
        "phase",
        phase,
        "when the object is created, which is when you apply it",
        &mut beside,
        left_out,
    );
    beside::simulated(
        "queues",
        value(json!(spec.queues)),
        "what stands for the queues in a run, where requests are the messages",
        &mut beside,
        left_out,
    );
    beside::simulated(
        "external",
        value(json!(spec.external)),
        "what your own scalers answer in a run",
        &mut beside,
        left_out,
    );
    beside::controller(&spec.controller, &mut beside, left_out);
    beside
}

/// Fields that a scenario always has and an object only where they are not upstream's default.
fn without_defaults(spec: &mut Map<String, Value>) {
    let mut drop_if = |fields: &[&str], key: &str, default: &Value| {
        let found = fields.iter().try_fold(&mut *spec, |map, field| map.get_mut(*field)?.as_object_mut());
        if let Some(map) = found.filter(|map| map.get(key) == Some(default)) {
            map.shift_remove(key);
        }
    };
    drop_if(&["advanced"], "restoreToOriginalReplicaCount", &Value::Bool(false));
    drop_if(&["fallback"], "behavior", &Value::from("static"));
    for trigger in spec.get_mut("triggers").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(map) =
            trigger.as_object_mut().filter(|map| map.get("useCachedMetrics") == Some(&Value::Bool(false)))
        {
            map.shift_remove("useCachedMetrics");
        }
    }
}
