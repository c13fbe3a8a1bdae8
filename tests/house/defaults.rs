//! `docs/defaults.md` names every default, and tells the truth about it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::read;

const PAGE: &str = "docs/defaults.md";

/// The rows of the table under a heading, cell by cell.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = read(PAGE);
    let section = page.split("\n## ").find(|part| part.starts_with(heading)).expect(heading);
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = lines.map(cells).collect();
    assert!(rows.len() > 5, "{heading}: {rows:?}");
    rows
}

/// `a.{b,c}` to `a.b` and `a.c`.
fn spread(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (names, after) = rest.split_once('}').unwrap();
    names.split(',').map(|name| format!("{before}{name}{after}")).collect()
}

/// Every field of the scenario that has a default, each type at the first place it appears.
/// Sections, whose default is that of their fields, are left out.
fn fields_with_defaults() -> BTreeMap<String, Value> {
    let schema = thawline::scenario::schema();
    let definitions = &schema["$defs"];
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut queue = VecDeque::from([(String::new(), &schema)]);
    while let Some((path, node)) = queue.pop_front() {
        if let Some(name) = node["$ref"].as_str().and_then(|reference| reference.rsplit('/').next())
            && seen.insert(name)
        {
            queue.push_back((path.clone(), &definitions[name]));
        }
        for either in ["anyOf", "oneOf", "allOf"] {
            let members = node[either].as_array().into_iter().flatten();
            queue.extend(members.map(|member| (path.clone(), member)));
        }
        let required: Vec<&Value> = node["required"].as_array().into_iter().flatten().collect();
        for (name, field) in node["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let default = field.get("default").unwrap_or(&Value::Null);
            if !required.contains(&&Value::from(name.as_str())) && !default.is_object() {
                found.insert(path.clone(), default.clone());
            }
            queue.push_back((path, field));
        }
        if node["additionalProperties"].is_object() {
            queue.push_back((format!("{path}.NAME"), &node["additionalProperties"]));
        }
        if node["items"].is_object() {
            queue.push_back((format!("{path}[]"), &node["items"]));
        }
    }
    assert!(found.len() > 80, "{found:?}");
    found
}

#[test]
fn every_field_with_a_default_is_documented_as_it_is() {
    let mut actual = fields_with_defaults();
    let mut wrong = Vec::new();
    for row in rows("Fields of a scenario") {
        let [field, default, from] = &row[..] else { panic!("{row:?}") };
        assert!(!from.is_empty(), "{field} comes from nowhere");
        for path in spread(field.trim_matches('`')) {
            let shown = match actual.remove(&path) {
                None => "no such field".to_owned(),
                Some(Value::Null) => "–".to_owned(),
                Some(Value::String(text)) => format!("`{text}`"),
                Some(value) => format!("`{value}`"),
            };
            if shown != *default {
                wrong.push(format!("{path}: documented {default}, in the schema {shown}"));
            }
        }
    }
    wrong.extend(
        actual.iter().map(|(path, default)| format!("{path}: not documented, in the schema {default}")),
    );
    assert!(wrong.is_empty(), "{PAGE}:\n{}", wrong.join("\n"));
}

#[test]
fn constants_are_documented_as_they_are() {
    for row in rows("Constants") {
        let [what, value, place, _] = &row[..] else { panic!("{row:?}") };
        let [file, name] = place.split(' ').map(|part| part.trim_matches('`')).collect::<Vec<_>>()[..] else {
            panic!("{what}: {place}")
        };
        let source = read(file);
        let line = source.lines().find(|line| line.contains(&format!("const {name}: ")));
        let line = line.unwrap_or_else(|| panic!("{what}: no `{name}` in {file}"));
        let literal = line.split_once(" = ").unwrap().1.trim_end_matches(';');
        assert_eq!(shown(literal), value.replace(',', ""), "{what}");
    }
}

/// A literal as the page shows it: `SimDuration::from_secs(2 * 30)` as `60 s`.
fn shown(literal: &str) -> String {
    let seconds = literal.strip_prefix("SimDuration::from_secs(").and_then(|rest| rest.strip_suffix(')'));
    let product = |text: &str| -> Option<u64> {
        text.split('*').map(|factor| factor.trim().replace('_', "").parse::<u64>().ok()).product()
    };
    match (seconds.and_then(product), product(literal)) {
        (Some(seconds), _) => format!("{seconds} s"),
        (None, Some(number)) => number.to_string(),
        (None, None) => literal.replace('_', ""),
    }
}

#[test]
fn batch_budgets_are_documented_as_they_are() {
    let rows = rows("Computed defaults");
    let budget = |gib: u64, name: &str| {
        let memory = thawline::kernel::Bytes(gib << 30);
        let gpu = thawline::profile::schema::Gpu { name: name.to_owned(), count: 1, memory };
        let (tokens, sequences) = thawline::profile::memory::default_budget(&gpu);
        format!("{tokens}, {sequences}")
    };
    assert_eq!(rows[0][1], budget(70, "H100"));
    assert_eq!(rows[1][1], budget(69, "L40S"));
    assert_eq!(rows[1][1], budget(80, "A100 SXM"));
}
