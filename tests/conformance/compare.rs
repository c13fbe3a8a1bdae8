//! Expected against actual: every key that is expected, and no key that is not known.

use serde_json::{Map, Value};

use crate::Answer;

/// Lists whose order says nothing.
const SETS: [&str; 3] = ["unready", "missing", "ignored"];

/// Compares every expected key.
pub fn compare(expected: &Map<String, Value>, answer: &Answer) -> Result<(), String> {
    let wants_error = expected.get("error_contains").or_else(|| expected.get("error"));
    if let Some(wanted) = wants_error {
        let wanted = wanted.as_str().ok_or("an expected error is not a string")?;
        let exact = expected.contains_key("error");
        return match answer {
            Err(error) if exact && error == wanted => Ok(()),
            Err(error) if !exact && error.contains(wanted) => Ok(()),
            Err(error) => Err(format!("expected the error {wanted:?}, got {error:?}")),
            Ok(actual) => Err(format!("expected the error {wanted:?}, got {actual:?}")),
        };
    }
    let actual = answer.as_ref().map_err(|error| format!("unexpected error {error:?}"))?;
    let mut faults = Vec::new();
    for (key, wanted) in expected {
        match actual.get(key) {
            None => faults.push(format!("`{key}` is not known here (expected {wanted})")),
            Some(got) if SETS.contains(&key.as_str()) && same(&sorted(wanted), &sorted(got)) => {}
            Some(Value::Object(got)) if wanted.as_object().is_some_and(|w| w.len() != got.len()) => {
                faults.push(format!("`{key}` expected {wanted}, got {got:?}"));
            }
            Some(got) if same(wanted, got) => {}
            Some(got) => faults.push(format!("`{key}` expected {wanted}, got {got}")),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Equal; a list's objects may leave out keys; a whole double equals the integer.
fn same(wanted: &Value, got: &Value) -> bool {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            wanted.iter().all(|(key, value)| got.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Array(wanted), Value::Array(got)) => {
            wanted.len() == got.len() && wanted.iter().zip(got).all(|(a, b)| same(a, b))
        }
        (Value::Number(wanted), Value::Number(got)) if wanted.is_f64() || got.is_f64() => {
            wanted.as_f64() == got.as_f64()
        }
        (wanted, got) => wanted == got,
    }
}

fn sorted(list: &Value) -> Value {
    let mut list = list.clone();
    if let Value::Array(items) = &mut list {
        items.sort_by_key(Value::to_string);
    }
    list
}
