//! Conformance vectors: the decision code against upstream's own cases and derived ones.
//!
//! One trial a vector file, which prints how many of its vectors pass. A file of `vectors` is the HPA's: its
//! `file` field (or a vector's `suite`) names the schema. One of `cases` names its `schema` and `kind`.
//! `THAWLINE_CONFORMANCE_DIR` names a further directory of the same layout. A file, call or key that this
//! harness does not know is a failure, not a skip.

mod cases;
mod compare;
mod hpa;
mod hpa_reconcile;
mod hpa_types;
mod keda;
mod knative;
mod knative_scale;
mod llm_policies;
mod llm_scalers;

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

/// What a vector's call returned: named results, or the text of its error.
type Answer = Result<serde_json::Map<String, Value>, String>;

/// What the names of trials over a further directory begin with.
const FURTHER: &str = "further/";

fn main() {
    let arguments = Arguments::from_args();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut trials = trials_of(&own, "");
    if let Some(further) = std::env::var_os("THAWLINE_CONFORMANCE_DIR") {
        trials.extend(trials_of(Path::new(&further), FURTHER));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// One trial for each vector file below a directory, sorted by path.
fn trials_of(root: &Path, prefix: &str) -> Vec<Trial> {
    let mut files = Vec::new();
    if let Err(error) = collect_json(root, &mut files) {
        let (name, message) = (format!("{prefix}{}", root.display()), error.to_string());
        return vec![Trial::test(name, move || Err(Failed::from(message)))];
    }
    files.sort();
    if files.is_empty() {
        let name = format!("{prefix}{}", root.display());
        return vec![Trial::test(name, || Err(Failed::from("no vector file in there")))];
    }
    files.into_iter().map(|file| trial(root, prefix, file)).collect()
}

fn collect_json(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_json(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    Ok(())
}

fn trial(root: &Path, prefix: &str, file: PathBuf) -> Trial {
    let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
    let name = match vector_count(&file) {
        Some(count) => format!("{prefix}{shown} ({count} vectors)"),
        None => format!("{prefix}{shown}"),
    };
    // Lines are of the directory that was asked for, in its own paths.
    let asked = std::env::var_os("THAWLINE_CONFORMANCE_DIR").is_none() || prefix == FURTHER;
    Trial::test(name, move || report(asked.then_some(&shown), run_file(&file)?).map_err(Failed::from))
}

fn vector_count(file: &Path) -> Option<usize> {
    let text = std::fs::read_to_string(file).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    Some(value.get("vectors").or_else(|| value.get("cases"))?.as_array()?.len())
}

/// Prints how many vectors of a file pass, if it is to be shown, and answers what fails.
fn report(shown: Option<&String>, (count, faults): (usize, Vec<String>)) -> Result<(), String> {
    if let Some(shown) = shown {
        println!("{shown} {}/{count}", count - faults.len());
    }
    match faults.len() {
        0 if count > 0 => Ok(()),
        0 => Err("it holds no vector".to_owned()),
        failed => Err(format!("{failed} of {count} vectors fail:\n{}", faults.join("\n"))),
    }
}

/// A vector file.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorFile {
    file: String,
    schema_version: u32,
    #[serde(rename = "description")]
    _description: String,
    vectors: Vec<serde_json::Map<String, Value>>,
}

/// How many vectors a file holds, and what fails.
fn run_file(path: &Path) -> Result<(usize, Vec<String>), String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let value: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    if value.get("cases").is_some() {
        return cases::run(value);
    }
    let file: VectorFile = serde_json::from_value(value).map_err(|e| e.to_string())?;
    if file.schema_version != 1 {
        return Err(format!("schema version {} is not known", file.schema_version));
    }
    let count = file.vectors.len();
    let mut faults = Vec::new();
    for vector in file.vectors {
        let id = vector.get("id").and_then(Value::as_str).unwrap_or("a vector without id").to_owned();
        if let Err(fault) = run_vector(&file.file, vector) {
            faults.push(format!("{id}: {fault}"));
        }
    }
    Ok((count, faults))
}

fn run_vector(file: &str, mut vector: serde_json::Map<String, Value>) -> Result<(), String> {
    for about in ["id", "source", "note"] {
        vector.remove(about);
    }
    let suite = match vector.remove("suite") {
        Some(suite) => suite.as_str().ok_or("`suite` is not a string")?.to_owned(),
        None => file.to_owned(),
    };
    let expected = match vector.remove("expected") {
        Some(Value::Object(expected)) if !expected.is_empty() => expected,
        _ => return Err("`expected` is missing or empty".to_owned()),
    };
    let answer = hpa::run(&suite, Value::Object(vector))?;
    compare::compare(&expected, &answer)
}
