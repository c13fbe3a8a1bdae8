//! Comparing a profile with its refit, field by field.

use serde_json::Value;
use thawline::profile::Profile;

/// Numbers may differ by this share of the larger.
pub const TOLERANCE: f64 = 1e-9;

/// What differs between a profile as it is written and as it is fitted, a line for each field.
pub fn differences(written: &Profile, fitted: &Profile) -> Vec<String> {
    let json = |profile| serde_json::to_value(profile).unwrap_or(Value::Null);
    let mut found = Vec::new();
    walk("", Some(&json(written)), Some(&json(fitted)), &mut found);
    found
}

fn walk(path: &str, written: Option<&Value>, fitted: Option<&Value>, found: &mut Vec<String>) {
    let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (written, fitted) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                walk(&inner(key), a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for i in 0..a.len().max(b.len()) {
                walk(&format!("{path}[{i}]"), a.get(i), b.get(i), found);
            }
        }
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            let (x, y) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            // Written so that what is no number differs.
            let same = (x - y).abs() <= TOLERANCE * x.abs().max(y.abs());
            if !same {
                found.push(format!("{path}: {a} is written, {b} is fitted"));
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), short);
            found.push(format!("{path}: {} is written, {} is fitted", text(a), text(b)));
        }
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{} ..", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_difference_is_named() {
        let check = |a: Value, b: Value, expected: &[&str]| {
            let mut found = Vec::new();
            walk("", Some(&a), Some(&b), &mut found);
            assert_eq!(found, expected);
        };
        check(json!({"a": 1.0, "b": [1, "x"]}), json!({"a": 1.000_000_000_1, "b": [1, "x"]}), &[]);
        check(json!({"a": 1.0}), json!({"a": 1.000_001}), &["a: 1.0 is written, 1.000001 is fitted"]);
        check(json!({"a": 0}), json!({"a": 0.0}), &[]);
        check(json!({"a": {"b": "x"}}), json!({"a": {}}), &["a.b: \"x\" is written, nothing is fitted"]);
        check(json!([1]), json!([1, 2]), &["[1]: nothing is written, 2 is fitted"]);
        check(
            json!({"a": "x"}),
            json!({"a": "y", "c": 1}),
            &["a: \"x\" is written, \"y\" is fitted", "c: nothing is written, 1 is fitted"],
        );
    }
}
