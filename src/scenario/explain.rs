//! The scenario's JSON Schema, and the manual page of one of its fields.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::spec::ScenarioSpec;
use crate::yaml::suggest;

/// The JSON Schema of a scenario.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(ScenarioSpec).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), "Thawline scenario".into());
    }
    schema
}

/// The same for editors: what must be written need not be where a `manifest` stands.
pub fn editor_schema() -> Value {
    let mut schema = schema();
    let definitions = schema.get_mut("$defs").and_then(Value::as_object_mut);
    for definition in definitions.into_iter().flat_map(|definitions| definitions.values_mut()) {
        let takes_manifest = definition.pointer("/properties/manifest").is_some();
        let Some(object) = definition.as_object_mut().filter(|_| takes_manifest) else { continue };
        if let Some(required) = object.remove("required") {
            object
                .insert("anyOf".to_owned(), json!([{ "required": ["manifest"] }, { "required": required }]));
        }
    }
    schema
}

/// The manual page of a field such as `cluster.pools.NAME.maxNodes`. The error names what there is.
///
/// Names that are the user's own (of pools and policies) may be left out.
pub fn explain_field(path: &str) -> Result<String, String> {
    let schema = schema();
    let page = Page { schema: &schema };
    let keys: Vec<&str> = path.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect();
    match page.walk(page.follow(&schema), true, &keys, 0) {
        Ok((at, required)) => Ok(page.text(path, at, required)),
        Err((_, why)) => Err(why),
    }
}

/// A field or a choice of a section.
struct Part<'a> {
    name: &'a str,
    field: &'a Value,
    /// Whether it must be written.
    required: bool,
    /// Its documentation.
    text: &'a str,
}

struct Page<'a> {
    schema: &'a Value,
}

impl<'a> Page<'a> {
    fn target(&self, at: &'a Value) -> Option<&'a Value> {
        let reference = at.get("$ref")?.as_str()?;
        self.schema.pointer(reference.strip_prefix('#')?)
    }

    /// Follows references and steps over "or null".
    fn follow(&self, at: &'a Value) -> &'a Value {
        let mut at = at;
        // References of a schema do not form a ring without a step between them; 16 is plenty.
        for _ in 0..16 {
            let options = at.get("anyOf").and_then(Value::as_array);
            let real = options.and_then(|options| {
                let mut real = options.iter().filter(|option| option.get("type") != Some(&"null".into()));
                real.next().filter(|_| options.len() == 2)
            });
            match self.target(at).or(real.filter(|real| real.get("$ref").is_some())) {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    }

    /// Fields and choices of a section.
    fn parts(&self, at: &'a Value) -> Vec<Part<'a>> {
        let at = self.follow(at);
        let required: Vec<&str> = at
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut parts = Vec::new();
        for (name, field) in at.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let text = self.described(field);
            parts.push(Part { name, field, required: required.contains(&name.as_str()), text });
        }
        for choice in self.choices(at) {
            for (name, field) in choice.get("properties").and_then(Value::as_object).into_iter().flatten() {
                // A choice's own words stand beside it, not within.
                let text = choice.get("description").and_then(Value::as_str).unwrap_or(self.described(field));
                parts.push(Part { name, field, required: false, text });
            }
        }
        parts
    }

    fn choices(&self, at: &'a Value) -> Vec<&'a Value> {
        let options = at.get("oneOf").or_else(|| at.get("anyOf")).and_then(Value::as_array);
        options.into_iter().flatten().map(|option| self.follow(option)).collect()
    }

    /// The field at the end of keys, of which `done` are walked already; the error is how many led somewhere, and why
    /// the next does not.
    fn walk(
        &self,
        at: &'a Value,
        required: bool,
        keys: &[&str],
        done: usize,
    ) -> Result<(&'a Value, bool), (usize, String)> {
        let Some(key) = keys.get(done) else { return Ok((at, required)) };
        let mut furthest = (done, self.no_such(at, key, &keys[..done].join(".")));
        for (next, required) in self.steps(at, key) {
            match self.walk(next, required, keys, done + 1) {
                Ok(found) => return Ok(found),
                // Of two that lead equally far, the later takes the key for a name and knows the fields below it.
                Err(error) if error.0 >= furthest.0 => furthest = error,
                Err(_) => {}
            }
        }
        Err(furthest)
    }

    /// Where one key may lead; a name of the user's own, or a list position, may stand between.
    fn steps(&self, at: &'a Value, key: &str) -> Vec<(&'a Value, bool)> {
        let found = self.parts(at).into_iter().find(|part| part.name == key);
        if let Some(part) = found {
            return vec![(part.field, part.required)];
        }
        let at = self.follow(at);
        if let Some(values) = at.get("additionalProperties").filter(|values| values.is_object()) {
            // `cluster.pools.maxNodes` and `cluster.pools.h200.maxNodes` alike; and a pool may be called `gpu`, a
            // policy `hpa`, as fields below them are.
            let within = self.parts(values).into_iter().find(|part| part.name == key);
            let within = within.map(|part| (part.field, part.required));
            return within.into_iter().chain([(values, true)]).collect();
        }
        self.step_into_items(at, key).into_iter().collect()
    }

    fn step_into_items(&self, at: &'a Value, key: &str) -> Option<(&'a Value, bool)> {
        let items = at.get("items")?;
        self.parts(items).into_iter().find(|part| part.name == key).map(|part| (part.field, part.required))
    }

    fn no_such(&self, at: &'a Value, key: &str, parent: &str) -> String {
        let names: Vec<&str> = self.parts(at).into_iter().map(|part| part.name).collect();
        let place = if parent.is_empty() { "a scenario".to_owned() } else { format!("`{parent}`") };
        let mut message = format!("{place} has no field `{key}`");
        if let Some(meant) = suggest(key, names.iter().copied()) {
            let _ = write!(message, "; did you mean `{meant}`?");
        }
        if !names.is_empty() {
            let _ = write!(message, "\none of {}", names.join(", "));
        }
        message
    }

    fn text(&self, path: &str, field: &'a Value, required: bool) -> String {
        let target = self.follow(field);
        let mut out = format!("{path}\n");
        let mut describe = |value: &Value| {
            if let Some(text) = value.get("description").and_then(Value::as_str) {
                let _ = write!(out, "\n{text}\n");
            }
        };
        describe(field);
        if field.get("description") != target.get("description") {
            describe(target);
        }
        let kind = self.kind(field);
        if !kind.is_empty() {
            let _ = write!(out, "\ntype: {kind}\n");
        }
        match field.get("default") {
            Some(Value::Object(_)) => out.push_str("default: every field's own default\n"),
            Some(Value::Null) | None if !required => out.push_str("optional\n"),
            Some(default) => {
                let _ =
                    writeln!(out, "default: {}", default.as_str().map_or(default.to_string(), str::to_owned));
            }
            None => out.push_str("required\n"),
        }
        self.list_parts(target, &mut out);
        out
    }

    fn list_parts(&self, target: &'a Value, out: &mut String) {
        let parts = self.parts(target);
        let words = self.words(target);
        // A mapping by names of the user's own, or a list, shows what stands in it.
        let values = target.get("additionalProperties").filter(|values| values.is_object());
        let within = values.or(target.get("items"));
        let is_choice = within.is_some_and(|within| self.follow(within).get("oneOf").is_some());
        let below = match within {
            Some(within) if parts.is_empty() => self.parts(within),
            _ => parts,
        };
        if !below.is_empty() || !words.is_empty() {
            out.push('\n');
        }
        for (name, text) in words {
            let _ = writeln!(out, "  {name:<22} {}", first_sentence(text));
        }
        for Part { name, required, text, field } in below {
            let mark = if required { " (required)" } else { "" };
            let _ = writeln!(out, "  {name:<22} {}{mark}", first_sentence(text));
            let fields: Vec<&str> = self.parts(field).into_iter().map(|part| part.name).collect();
            if is_choice && !fields.is_empty() {
                let _ = writeln!(out, "  {:<22} with {}", "", fields.join(", "));
            }
        }
    }

    fn described(&self, field: &'a Value) -> &'a str {
        let text = field.get("description").or_else(|| self.follow(field).get("description"));
        text.and_then(Value::as_str).unwrap_or_default()
    }

    /// Choices that are bare words, with their description.
    fn words(&self, at: &'a Value) -> Vec<(&'a str, &'a str)> {
        let mut words: Vec<(&str, &str)> = Vec::new();
        for choice in std::iter::once(at).chain(self.choices(at)) {
            let text = choice.get("description").and_then(Value::as_str).unwrap_or_default();
            words.extend(choice.get("const").and_then(Value::as_str).map(|word| (word, text)));
            let listed = choice.get("enum").and_then(Value::as_array);
            words.extend(listed.into_iter().flatten().filter_map(Value::as_str).map(|word| (word, "")));
        }
        words
    }

    fn kind(&self, field: &'a Value) -> String {
        let target = self.follow(field);
        let named = [field, target].into_iter().find_map(|value| value.get("type"));
        let mut kinds: Vec<&str> = match named {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ if target.get("oneOf").is_some() => vec!["choice"],
            _ => Vec::new(),
        };
        kinds.retain(|kind| *kind != "null");
        let plain = kinds.into_iter().map(|kind| match kind {
            "object" => "mapping",
            "array" => "list",
            "string" => "text",
            "integer" => "whole number",
            other => other,
        });
        plain.collect::<Vec<_>>().join(" or ")
    }
}

/// The first sentence of a text, on one line.
fn first_sentence(text: &str) -> String {
    let line = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let mut ends = line.match_indices(". ").map(|(at, _)| at);
    match ends.find(|at| line[at + 2..].starts_with(char::is_uppercase)) {
        Some(end) => line[..=end].to_owned(),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_explained() {
        let page = explain_field("cluster.pools.h200.maxNodes").unwrap();
        assert!(page.contains("Most nodes.") && page.contains("required"), "{page}");
        assert!(explain_field("cluster.pools.maxNodes").unwrap().contains("Most nodes."));
        let interval = explain_field("telemetry.scrapeInterval").unwrap();
        assert!(
            interval.contains("Time between Prometheus's scrapes.") && interval.contains("default: 15s"),
            "{interval}"
        );
        let scale = explain_field("workload.rateScale").unwrap();
        assert!(scale.contains("Keeps each request"), "{scale}");
        let router = explain_field("gateway.router").unwrap();
        assert!(router.contains("leastOutstanding") && router.contains("roundRobin"), "{router}");
        let seed = explain_field("seed").unwrap();
        assert!(seed.contains("default: 7"), "{seed}");
        assert!(explain_field("engine.continuous.maxNumSeqs").unwrap().contains("--max-num-seqs"));
        assert!(explain_field("policies.mine.fixed.replicas").unwrap().contains("whole number"));
        assert!(explain_field("policies.hpa.hpa.maxReplicas").unwrap().contains("whole number"));
        assert!(explain_field("policies.hpa.maxReplicas").unwrap().contains("whole number"));
        assert!(explain_field("cluster.pools.gpu.maxNodes").unwrap().contains("Most nodes."));
        let error = explain_field("cluster.pools.gpu.maxNods").unwrap_err();
        assert!(error.contains("did you mean `maxNodes`?"), "{error}");
        assert!(explain_field("gates[0].for").unwrap().contains("policies it binds"));
        let faults = explain_field("faults").unwrap();
        assert!(
            faults.contains("nodeLoss") && faults.contains("with at, nodes, notReadyAfter, evictAfter"),
            "{faults}"
        );
        assert!(explain_field("rollouts").unwrap().contains("maxUnavailable"));
        assert!(explain_field("rollouts.fails").unwrap().contains("neverReady"));
    }

    #[test]
    fn a_manifest_stands_in_for_what_is_required() {
        let page = explain_field("policies.mine.hpa.manifest").unwrap();
        assert!(
            page.contains("A file with a HorizontalPodAutoscaler") && page.contains("optional"),
            "{page}"
        );
        assert!(explain_field("replica.container").unwrap().contains("The container that serves"));
        let schema = editor_schema();
        let hpa = &schema["$defs"]["HpaSpec"];
        assert!(hpa.get("required").is_none());
        assert_eq!(hpa["anyOf"], json!([{ "required": ["manifest"] }, { "required": ["maxReplicas"] }]));
    }

    #[test]
    fn unknown_fields_are_refused_with_what_there_is() {
        let error = explain_field("telemetry.scrapeIntervall").unwrap_err();
        assert!(
            error.contains("did you mean `scrapeInterval`?") && error.contains("timelineStep"),
            "{error}"
        );
        assert!(explain_field("").is_err());
        assert!(explain_field("name.x").is_err());
    }

    #[test]
    fn every_field_is_documented() {
        fn walk(schema: &Value, at: &Value, path: &str, bare: &mut Vec<String>) {
            let parts = Page { schema }.parts(at);
            bare.extend(
                parts.iter().filter(|part| part.text.is_empty()).map(|part| format!("{path}.{}", part.name)),
            );
        }
        let schema = schema();
        let mut bare = Vec::new();
        walk(&schema, &schema, "", &mut bare);
        for (name, part) in schema["$defs"].as_object().unwrap() {
            walk(&schema, part, name, &mut bare);
        }
        assert!(bare.is_empty(), "no doc comment: {bare:?}");
    }
}
