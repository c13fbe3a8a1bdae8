//! Files of cases, the layout of all vectors but the HPA's: `{schema, kind, description, source, cases}`.
//! A case holds its expectations beside its input; one function a kind checks it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{keda, knative, llm_scalers};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    schema: String,
    kind: String,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "source")]
    _source: String,
    cases: Vec<Map<String, Value>>,
}

/// Runs every case of a file; returns their number and what fails.
pub fn run(file: Value) -> Result<(usize, Vec<String>), String> {
    let file: CaseFile = serde_json::from_value(file).map_err(|e| e.to_string())?;
    let check = match file.schema.as_str() {
        "kpa-vectors/1" => knative::check,
        "keda-vectors/1" => keda::check,
        "llm-scaler-vectors/1" => llm_scalers::check,
        other => return Err(format!("schema {other} is not known")),
    };
    let count = file.cases.len();
    let mut faults = Vec::new();
    for mut case in file.cases {
        let id = case.remove("id").unwrap_or_default();
        for about in ["origin", "upstream", "note"] {
            case.remove(about);
        }
        let kind = match case.remove("kind") {
            Some(Value::String(kind)) => kind,
            _ => file.kind.clone(),
        };
        if let Err(fault) = check(&kind, Value::Object(case)) {
            faults.push(format!("{id}: {fault}"));
        }
    }
    Ok((count, faults))
}

/// Reads a case or a part of one; what it does not know is an error.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("cannot be read: {error}"))
}

/// Seconds as ns.
pub fn seconds(value: f64) -> i64 {
    (value * 1e9).round() as i64
}

/// Equal, or a fault that names what differs.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, got: &T) -> Result<(), String> {
    if expected == got { Ok(()) } else { Err(format!("{what}: expected {expected:?}, got {got:?}")) }
}

/// Within a tolerance, or a fault that names what differs.
pub fn near(what: &str, expected: f64, got: f64, tolerance: f64) -> Result<(), String> {
    // Not `>`: that would let a NaN pass.
    if (expected - got).abs() <= tolerance {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected}, got {got}"))
    }
}
