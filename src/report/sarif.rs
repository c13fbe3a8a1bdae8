//! SARIF 2.1.0, which GitHub's code scanning and many editors read.

use serde_json::{Map, Value, json};

use super::code_quality::relative;
use crate::yaml::{Diagnostic, Severity, find_code};

/// Diagnostics as a SARIF log.
pub fn write(diagnostics: &[Diagnostic]) -> String {
    let mut codes: Vec<&'static str> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let results: Vec<Value> = diagnostics.iter().map(|diagnostic| result(diagnostic, &codes)).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "thawline",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| rule(code)).collect::<Vec<Value>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&log).expect("its keys are texts") + "\n"
}

fn rule(code: &str) -> Value {
    let known = find_code(code);
    let title = known.map_or("", |known| known.title);
    let text = known.map_or("", |known| known.explanation);
    json!({
        "id": code,
        "shortDescription": { "text": title },
        "fullDescription": { "text": text },
        "help": { "text": format!("{text}\n\n`thawline explain {code}` prints this page.") },
    })
}

/// A note on a manifest is nobody's fault.
fn level(diagnostic: &Diagnostic) -> &'static str {
    match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning
            if find_code(diagnostic.code).is_some_and(super::super::yaml::codes::Code::is_note) =>
        {
            "note"
        }
        Severity::Warning => "warning",
    }
}

fn result(diagnostic: &Diagnostic, codes: &[&'static str]) -> Value {
    let mut text = diagnostic.message.clone();
    for more in std::iter::once(&diagnostic.label).chain(&diagnostic.help).filter(|more| !more.is_empty()) {
        text.push_str("; ");
        text.push_str(more);
    }
    let mut result = Map::new();
    result.insert("ruleId".to_owned(), diagnostic.code.into());
    result.insert("ruleIndex".to_owned(), codes.iter().position(|code| *code == diagnostic.code).into());
    result.insert("level".to_owned(), level(diagnostic).into());
    result.insert("message".to_owned(), json!({ "text": text }));
    if let Some(place) = &diagnostic.place {
        let mut physical = json!({ "artifactLocation": { "uri": uri(&place.file) } });
        // Line 0 is a whole file.
        if place.line > 0 {
            physical["region"] = json!({
                "startLine": place.line,
                "startColumn": place.column,
                "endColumn": place.column + place.len,
            });
        }
        result.insert("locations".to_owned(), json!([{ "physicalLocation": physical }]));
    }
    result.into()
}

/// A path as a reference that is relative wherever the path is.
fn uri(path: &str) -> String {
    let path = relative(path);
    let mut out = String::from(if path.starts_with('/') { "file://" } else { "" });
    for (index, byte) in path.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte);
        // A colon in the first part would make a scheme of it.
        if plain || byte == b':' && path[..index].contains('/') {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_point_at_rules_and_places() {
        let faults = [
            Diagnostic::at("E0301", "./a b.yaml", 3, 5, 4, "x: 150%", "150% is too much")
                .labelled("here")
                .helped("write 1%"),
            Diagnostic::in_file("E0401", "t.yaml", "it does not exist"),
            Diagnostic::warning("W0107", "beyond"),
            Diagnostic::warning("W0203", "taken"),
            Diagnostic::error("E0301", "again"),
        ];
        let log: Value = serde_json::from_str(&write(&faults)).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let rules: Vec<&Value> = run["tool"]["driver"]["rules"].as_array().unwrap().iter().collect();
        assert_eq!(rules.len(), 4);
        assert!(rules.iter().all(|rule| !rule["shortDescription"]["text"].as_str().unwrap().is_empty()));
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 5);
        for result in results {
            let index = result["ruleIndex"].as_u64().unwrap() as usize;
            assert_eq!(rules[index]["id"], result["ruleId"]);
        }
        assert_eq!(results[0]["message"]["text"], "150% is too much; here; write 1%");
        let place = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b.yaml");
        assert_eq!(place["region"], json!({ "startLine": 3, "startColumn": 5, "endColumn": 9 }));
        assert!(results[1]["locations"][0]["physicalLocation"].get("region").is_none());
        assert!(results[2].get("locations").is_none());
        let levels: Vec<&str> = results.iter().map(|result| result["level"].as_str().unwrap()).collect();
        assert_eq!(levels, ["error", "error", "warning", "note", "error"]);
    }

    #[test]
    fn uris_are_relative_where_paths_are() {
        let check = |path: &str, expected: &str| assert_eq!(uri(path), expected);
        check("scenarios/a.yaml", "scenarios/a.yaml");
        check("./a.yaml", "a.yaml");
        check("..\\a#1.yaml", "../a%231.yaml");
        check("/abs/ä.yaml", "file:///abs/%C3%A4.yaml");
        check("a:b.yaml", "a%3Ab.yaml");
    }
}
