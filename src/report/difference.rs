//! What two resolved scenarios differ in: the leaves, with where they lie.

use serde::Serialize;
use serde_json::Value;

use super::baseline::Baseline;
use crate::yaml::Path;

/// One leaf that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Where: below its policy as `hpa: behavior.scaleDown.stabilizationWindowSeconds`, else from the root of the scenario.
    pub path: String,
    /// In the base; absent if it is not set there.
    pub base: Option<Value>,
    /// In the new side, likewise.
    pub new: Option<Value>,
}

/// Longest value that is shown whole, characters.
const SHOWN_MAX: usize = 48;

/// What stands for a field that is not set.
const UNSET: &str = "unset";

impl Difference {
    /// `stabilizationWindowSeconds  300 -> 60`.
    pub fn text(&self) -> String {
        format!("{}  {} -> {}", plain(&self.path), shown(self.base.as_ref()), shown(self.new.as_ref()))
    }
}

/// A value on one line, cut if it is long.
fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None => UNSET.to_owned(),
        Some(Value::String(text)) if !text.is_empty() => plain(text),
        Some(value) => plain(&value.to_string()),
    };
    if text.chars().count() <= SHOWN_MAX {
        return text;
    }
    let kept: String = text.chars().take(SHOWN_MAX - 1).collect();
    format!("{kept}…")
}

/// A text of a file without what would act on a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// What differs between a policy of one side and a policy of the other: first in the policy itself, then in what it lives in.
/// The name of the scenario and its other policies are no reasons.
pub fn differences(base: &Baseline, of_base: &str, new: &Baseline, of_new: &str) -> Vec<Difference> {
    let mut found = Vec::new();
    policy(&mut found, base, of_base, new, of_new);
    let mut add = |path: &str, base: Value, new: Value| {
        if base != new {
            found.push(Difference { path: path.to_owned(), base: Some(base), new: Some(new) });
        }
    };
    // What no field of the scenario shows: a profile or a trace whose content changed.
    add("profile", base.profile.as_str().into(), new.profile.as_str().into());
    add("traffic", base.workload.as_str().into(), new.workload.as_str().into());
    if base.seed == new.seed {
        add("requests of the traffic", base.requests.into(), new.requests.into());
    }
    let skip = |key: &str| matches!(key, "name" | "policies");
    let empty = serde_json::Map::new();
    let of = |side: &Baseline| side.resolved.as_object().unwrap_or(&empty).clone();
    let (mut base, mut new) = (of(base), of(new));
    base.retain(|key, _| !skip(key));
    new.retain(|key, _| !skip(key));
    leaves(&mut found, &Path::root(), Some(&base.into()), Some(&new.into()), "");
    found
}

fn policy(found: &mut Vec<Difference>, base: &Baseline, of_base: &str, new: &Baseline, of_new: &str) {
    let section =
        |side: &Baseline, name: &str| side.resolved.get("policies").and_then(|all| all.get(name)).cloned();
    let (from, to) = (section(base, of_base), section(new, of_new));
    let kind = |section: &Option<Value>| -> Option<(String, Value)> {
        let map = section.as_ref()?.as_object()?;
        let (kind, settings) = map.iter().next().filter(|_| map.len() == 1)?;
        Some((kind.clone(), settings.clone()))
    };
    let prefix = format!("{of_new}: ");
    match (kind(&from), kind(&to)) {
        (Some((a, base)), Some((b, new))) if a == b => {
            leaves(found, &Path::root(), Some(&base), Some(&new), &prefix);
        }
        // Settings of different kinds of policy have nothing to do with each other.
        (Some((a, _)), Some((b, _))) => found.push(Difference {
            path: "kind of policy".to_owned(),
            base: Some(a.into()),
            new: Some(b.into()),
        }),
        _ => leaves(found, &Path::root(), from.as_ref(), to.as_ref(), &prefix),
    }
}

fn leaves(found: &mut Vec<Difference>, at: &Path, base: Option<&Value>, new: Option<&Value>, prefix: &str) {
    match (base, new) {
        (Some(base), Some(new)) if base == new => {}
        (Some(Value::Object(base)), Some(Value::Object(new))) => {
            let added = new.keys().filter(|key| !base.contains_key(*key));
            for key in base.keys().chain(added) {
                leaves(found, &at.key(key.as_str()), base.get(key), new.get(key), prefix);
            }
        }
        (Some(Value::Array(base)), Some(Value::Array(new))) => {
            for index in 0..base.len().max(new.len()) {
                leaves(found, &at.index(index), base.get(index), new.get(index), prefix);
            }
        }
        (None, None) => {}
        (base, new) => found.push(Difference {
            path: format!("{prefix}{at}").trim_end().to_owned(),
            base: base.cloned(),
            new: new.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Summary, fixture};
    use serde_json::json;

    fn side(resolved: Value) -> Baseline {
        Baseline { resolved, ..Baseline::from(&Summary::new(fixture::experiment())) }
    }

    fn texts(base: &Baseline, of_base: &str, new: &Baseline, of_new: &str) -> Vec<String> {
        differences(base, of_base, new, of_new).iter().map(Difference::text).collect()
    }

    #[test]
    fn leaves_of_the_policy_and_of_its_world() {
        let scenario = |name: &str, window: u32, target: u32, nodes: u32| {
            side(json!({
                "name": name,
                "seed": 7,
                "cluster": { "pools": { "gpu": { "maxNodes": nodes } } },
                "policies": {
                    "hpa": { "hpa": { "behavior": { "scaleDown": { "stabilizationWindowSeconds": window } } } },
                    "keda": { "keda": { "triggers": [{ "threshold": target }] } },
                },
            }))
        };
        let base = scenario("a", 300, 4, 2);
        let check = |new: &Baseline, of: (&str, &str), expected: &[&str]| {
            assert_eq!(texts(&base, of.0, new, of.1), expected);
        };
        let window = "hpa: behavior.scaleDown.stabilizationWindowSeconds  300 -> 60";
        check(&scenario("b", 300, 4, 2), ("hpa", "hpa"), &[]);
        check(&scenario("b", 60, 4, 2), ("hpa", "hpa"), &[window]);
        // Another policy's change is not the reason.
        check(&scenario("b", 60, 4, 2), ("keda", "keda"), &[]);
        check(&scenario("b", 60, 5, 2), ("keda", "keda"), &["keda: triggers[0].threshold  4 -> 5"]);
        check(&scenario("b", 60, 4, 3), ("hpa", "hpa"), &[window, "cluster.pools.gpu.maxNodes  2 -> 3"]);
        check(&base, ("hpa", "keda"), &["kind of policy  hpa -> keda"]);
    }

    #[test]
    fn unset_fields_long_values_and_other_contents() {
        let base =
            side(json!({ "policies": { "a": { "fixed": { "replicas": 1 } } }, "slo": { "ttft": "2s" } }));
        let long = "x".repeat(80);
        let mut new = side(json!({
            "policies": { "a": { "fixed": { "replicas": 1, "why": long, "list": [] } } }
        }));
        new.profile = "other@1".to_owned();
        let found = texts(&base, "a", &new, "a");
        assert_eq!(found[0], format!("a: why  unset -> {}…", "x".repeat(47)));
        assert_eq!(found[1], "a: list  unset -> []");
        assert_eq!(found[2], "profile  h200-llama31-8b@3f9c1e (measured 2026-11-20) -> other@1");
        assert_eq!(found[3], "slo  {\"ttft\":\"2s\"} -> unset");
        assert_eq!(found.len(), 4);
        assert_eq!(plain("a\u{1b}[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
    }
}
