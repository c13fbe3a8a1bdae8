//! `docs/reference/scenario.md` and `docs/reference/policies.md`: the schema of a scenario, section by section.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const SCENARIO: &str = "# Fields of a scenario

Every field, with its type, its default and what it is; `thawline explain FIELD.PATH` prints the same. Kinds of policies have a
[page of their own](policies.md), and [defaults](../defaults.md) says where each default comes from. Editors take the
[JSON Schema](../scenario.schema.json). This page is written from the doc comments of the code; a test keeps it so.

Keys are camelCase, and unknown ones are errors. `NAME` is a name of your own, `[]` an entry of a list. A dash is a field that may be
left out and then is not there; what that means stands beside it. Where a section takes a `manifest`, what is required may be in the manifest instead.
";

const POLICIES: &str = "# Policies

The kinds of policies, each with its fields: `policies: { my-name: { KIND: { .. } } }`. How they decide is on the pages about
[KEDA](../keda.md), [Knative](../knative.md), [autoscalers of LLM platforms](../llm-autoscalers.md), [forecasting](../forecasting.md),
[policies over policies](../composition.md) and [`slo`](../policies.md#slo); that of the HorizontalPodAutoscaler is Kubernetes' own documentation.
`thawline explain policies.KIND` prints the same. This page is written from the doc comments of the code; a test keeps it so.

Types and defaults are written as in the [fields of a scenario](scenario.md). Where a section takes a `manifest`, what is required may be in the
manifest instead.
";

/// Forms of a value that the page explains once, each with what is called so.
const FORMS: [(&str, &str); 6] = [
    ("Duration", "duration"),
    ("Distribution", "distribution"),
    ("Bytes", "bytes"),
    ("Price", "price"),
    ("Quantity", "quantity"),
    ("IntOrPercent", "number or share"),
];

/// A page under way.
struct Page {
    schema: Value,
    out: String,
    /// Where a definition has its section: the path of its heading.
    sections: BTreeMap<String, String>,
    /// What another page has, and where.
    elsewhere: BTreeMap<String, String>,
    /// The page that has the forms of values; empty for this one.
    forms: &'static str,
    written: BTreeSet<String>,
}

pub fn scenario() -> String {
    let mut page = Page::new(SCENARIO, "");
    page.elsewhere.insert("PolicySpec".to_owned(), "policies.md".to_owned());
    let schema = page.schema.clone();
    page.plan("", &schema);
    page.table(&schema);
    page.forms();
    page.below("", &schema);
    page.out
}

pub fn policies() -> String {
    let mut page = Page::new(POLICIES, "scenario.md");
    page.elsewhere.insert("PolicySpec".to_owned(), "#policies".to_owned());
    let policy = page.schema["$defs"]["PolicySpec"].clone();
    page.plan("", &policy);
    page.choices(&policy);
    page.below("", &policy);
    page.out
}

impl Page {
    fn new(head: &str, forms: &'static str) -> Self {
        Self {
            schema: thawline::scenario::schema(),
            out: head.to_owned(),
            sections: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            forms,
            written: BTreeSet::new(),
        }
    }

    fn definition(&self, name: &str) -> &Value {
        &self.schema["$defs"][name]
    }

    /// What may stand below a node, each with its path: fields and choices that have fields themselves.
    fn children(&self, path: &str, node: &Value) -> Vec<(String, String)> {
        let mut children = Vec::new();
        let mut fields: Vec<(&String, &Value)> = Vec::new();
        for part in std::iter::once(node).chain(alternatives(node)) {
            fields.extend(part["properties"].as_object().into_iter().flatten());
            // `text or mapping`: the mapping's fields are this section's.
            if let Some(name) = reference(part).filter(|_| part != node) {
                let within = self.definition(name)["properties"].as_object();
                fields.extend(within.into_iter().flatten());
            }
        }
        for (name, field) in fields {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let (suffix, target) = within(field);
            if let Some(target) = target.filter(|target| self.has_section(target)) {
                children.push((format!("{path}{suffix}"), target));
            }
        }
        children
    }

    /// Whether a definition is a section, and not a word or a form of a value.
    fn has_section(&self, name: &str) -> bool {
        let node = self.definition(name);
        let form = FORMS.iter().any(|(known, _)| *known == name);
        let mapping = |node: &Value| node["properties"].is_object();
        let mixed = alternatives(node).any(|option| mapping(option) || reference(option).is_some());
        !form && !self.elsewhere.contains_key(name) && (mapping(node) || mixed)
    }

    /// Finds out where each definition has its section: at the first path that leads there.
    fn plan(&mut self, path: &str, node: &Value) {
        for (path, name) in self.children(path, node) {
            if self.sections.contains_key(&name) {
                continue;
            }
            self.sections.insert(name.clone(), path.clone());
            let node = self.definition(&name).clone();
            self.plan(&path, &node);
        }
    }

    /// The sections below a node.
    fn below(&mut self, path: &str, node: &Value) {
        for (path, name) in self.children(path, node) {
            if self.sections.get(&name) != Some(&path) || !self.written.insert(name.clone()) {
                continue;
            }
            let node = self.definition(&name).clone();
            let level = if path.contains('.') { "###" } else { "##" };
            self.out += &format!("\n{level} {path}\n\n{}\n", prose(&node));
            self.table(&node);
            self.choices(&node);
            self.below(&path, &node);
        }
    }

    fn table(&mut self, node: &Value) {
        let mixed = alternatives(node).find_map(reference);
        let node = mixed.map_or(node, |name| self.definition(name)).clone();
        let Some(fields) = node["properties"].as_object() else { return };
        let required: Vec<&str> = strings(&node["required"]);
        self.out += "\n| field | type | default | what it is |\n|---|---|---|---|\n";
        let mut words = String::new();
        for (name, field) in fields {
            let default = default(field, required.contains(&name.as_str()));
            let text = self.described(field);
            self.out += &format!("| `{name}` | {} | {default} | {} |\n", self.kind(field), cell(&text));
            words += &self.words(name, field);
        }
        self.out += &words;
    }

    /// The choices of a node that is one, and the words among them.
    fn choices(&mut self, node: &Value) {
        let options: Vec<Value> = node["oneOf"].as_array().cloned().unwrap_or_default();
        if options.is_empty() {
            return;
        }
        self.out += "\nOne of:\n\n| choice | with | what it is |\n|---|---|---|\n";
        for option in &options {
            let mut text = cell(&prose(option));
            let (name, with) = if let Some(word) = option["const"].as_str() {
                (word.to_owned(), "–".to_owned())
            } else {
                let (name, field) = option["properties"].as_object().unwrap().iter().next().unwrap();
                if text.is_empty() {
                    text = cell(&self.described(field));
                }
                (name.clone(), self.kind(field))
            };
            self.out += &format!("| `{name}` | {with} | {text} |\n");
        }
    }

    fn forms(&mut self) {
        self.out += "\n## Forms of values\n\n";
        for (name, called) in FORMS {
            let node = self.definition(name).clone();
            let mut text = prose(&node);
            if !text.ends_with('.') {
                text.push('.');
            }
            let first = text.chars().next().unwrap().to_uppercase().to_string();
            self.out +=
                &format!("- *{called}*: {first}{}\n", &text[text.chars().next().unwrap().len_utf8()..]);
        }
        self.out += "\nA *distribution* that is no plain duration is a mapping:\n";
        let node = self.definition("Written").clone();
        self.table(&node);
    }

    /// The words that a field takes, where they are documented.
    fn words(&self, name: &str, field: &Value) -> String {
        let (_, Some(target)) = within(field) else { return String::new() };
        let options: Vec<&Value> = alternatives(self.definition(&target)).collect();
        if options.is_empty() || !options.iter().all(|option| option["const"].is_string()) {
            return String::new();
        }
        let lines = options.iter().map(|option| {
            let text = cell(&prose(option));
            format!(
                "- `{}`{}{text}\n",
                option["const"].as_str().unwrap(),
                if text.is_empty() { "" } else { ": " }
            )
        });
        format!("\n`{name}` is one of\n\n{}", lines.collect::<String>())
    }

    fn described(&self, field: &Value) -> String {
        let own = prose(field);
        match within(field).1 {
            Some(target) if own.is_empty() => prose(self.definition(&target)),
            _ => own,
        }
    }

    /// What is written for a value, with a link to where that is described.
    fn kind(&self, field: &Value) -> String {
        if field["items"].is_object() {
            return format!("list of {}", self.kind(&field["items"]));
        }
        if field["additionalProperties"].is_object() {
            return format!("`NAME:` {}", self.kind(&field["additionalProperties"]));
        }
        let (_, Some(target)) = within(field) else { return plain(field) };
        if let Some((_, called)) = FORMS.iter().find(|(known, _)| *known == target) {
            return format!("[{called}]({}#forms-of-values)", self.forms);
        }
        if let Some(page) = self.elsewhere.get(&target) {
            return format!("[policy]({page})");
        }
        let node = self.definition(&target);
        if let Some(section) = self.sections.get(&target) {
            let called = match node["oneOf"].is_array() {
                true => "choice",
                false if alternatives(node).next().is_some() => "text or mapping",
                false => "mapping",
            };
            return format!("[{called}](#{})", anchor(section));
        }
        if node["oneOf"].is_array() { "word".to_owned() } else { plain(node) }
    }
}

/// What a field leads to: what its path gets behind it, and the name of the definition.
fn within(field: &Value) -> (&'static str, Option<String>) {
    if let Some(name) = reference(field) {
        return ("", Some(name.to_owned()));
    }
    let items = reference(&field["items"]).map(|name| ("[]", name));
    let values = reference(&field["additionalProperties"]).map(|name| (".NAME", name));
    if let Some((suffix, name)) = items.or(values) {
        return (suffix, Some(name.to_owned()));
    }
    let real: Vec<&Value> = alternatives(field).filter(|option| option["type"] != "null").collect();
    match real.as_slice() {
        [one] => within(one),
        _ => ("", None),
    }
}

fn reference(node: &Value) -> Option<&str> {
    node["$ref"].as_str().and_then(|path| path.rsplit('/').next())
}

fn alternatives(node: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf"].into_iter().flat_map(|key| node[key].as_array().into_iter().flatten())
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn plain(node: &Value) -> String {
    let mut kinds: Vec<&str> = strings(&node["type"]);
    kinds.extend(node["type"].as_str());
    kinds.retain(|kind| *kind != "null");
    let names = kinds.into_iter().map(|kind| match kind {
        "object" => "mapping",
        "array" => "list",
        "string" => "text",
        "integer" => "whole number",
        "boolean" => "`true` or `false`",
        other => other,
    });
    names.collect::<Vec<_>>().join(" or ")
}

fn default(field: &Value, required: bool) -> String {
    match &field["default"] {
        _ if required => "required".to_owned(),
        Value::Null => "–".to_owned(),
        Value::Object(fields) if fields.is_empty() => "`{}`".to_owned(),
        Value::Object(_) => "its fields'".to_owned(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// A doc comment as Markdown: its lines are those of a source, its paragraphs stay.
fn prose(node: &Value) -> String {
    let text = node["description"].as_str().unwrap_or_default();
    let paragraphs: Vec<String> = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
    paragraphs.join("\n\n")
}

fn cell(text: &str) -> String {
    text.replace("\n\n", " ").replace('|', "\\|")
}

fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        .collect::<String>()
        .to_lowercase()
}
