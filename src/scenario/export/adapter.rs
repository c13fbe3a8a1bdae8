//! The rules of prometheus-adapter that answer for an HPA's metrics, as its ConfigMap.

use serde_json::{Map, Value, json};

use super::{Exported, object, spec_value};
use crate::policy::hpa::spec::MetricSourceType;
use crate::policy::{PolicySpec, Setting};
use crate::yaml;

/// The ConfigMap of prometheus-adapter, as its chart has it.
const NAME: &str = "prometheus-adapter";

/// Adds the ConfigMap, if the policy asks for metrics that it serves and the scenario has rules of it.
pub(super) fn export(policy: &PolicySpec, setting: &Setting, exported: &mut Exported) {
    let PolicySpec::Hpa(spec) = policy else { return };
    let asked: Vec<&str> = spec
        .metrics
        .iter()
        .filter_map(|metric| match metric.kind {
            MetricSourceType::Pods => metric.pods.as_ref().map(|own| own.metric.name.as_str()),
            MetricSourceType::Object => metric.object.as_ref().map(|own| own.metric.name.as_str()),
            MetricSourceType::External => metric.external.as_ref().map(|own| own.metric.name.as_str()),
            MetricSourceType::Resource | MetricSourceType::ContainerResource => None,
        })
        .collect();
    if asked.is_empty() {
        return;
    }
    let metrics = asked.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let Some(adapter) =
        setting.adapter.as_ref().filter(|own| !own.rules.is_empty() || !own.external_rules.is_empty())
    else {
        exported.needs.push(format!(
            "something that serves {metrics} to the HPA, prometheus-adapter for one: the scenario has no rules of it \
             (`telemetry.adapter`), so every series was served under its own name, a counter as its rate over 5 minutes"
        ));
        return;
    };
    let mut own = spec_value(adapter);
    own.retain(|key, _| key == "rules" || key == "externalRules");
    let mut config = Value::Object(own);
    without_blanks(&mut config);
    let data = json!({ "config.yaml": yaml::write(&config, None) });
    let metadata = Map::from_iter([("name".to_owned(), Value::from(NAME))]);
    exported.objects.push(object("v1", "ConfigMap", metadata, ("data", data)));
    exported.needs.push(format!(
        "prometheus-adapter, whose whole configuration the ConfigMap `{NAME}` is; it serves {metrics}. Apply it in the \
         adapter's own namespace, under the name that the adapter mounts"
    ));
}

/// Every default of the adapter's configuration is a text or a mapping of nothing.
fn without_blanks(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(without_blanks);
            map.retain(|_, value| {
                let is_blank =
                    value.as_str().is_some_and(str::is_empty) || value.as_object().is_some_and(Map::is_empty);
                !is_blank
            });
        }
        Value::Array(list) => list.iter_mut().for_each(without_blanks),
        _ => {}
    }
}
