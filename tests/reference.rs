//! The pages of `docs/reference/` are what the code says of itself: fields and policies from the schema of a scenario,
//! metrics from their table, the command line from its grammar. `THAWLINE_BLESS=1` writes them anew.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

#[path = "reference/command_line.rs"]
mod command_line;
#[path = "reference/fields.rs"]
mod fields;
#[path = "reference/metrics.rs"]
mod metrics;

use std::fs;
use std::path::Path;

fn current(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name);
    if std::env::var_os("THAWLINE_BLESS").is_some() {
        fs::write(&path, page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "run the tests with THAWLINE_BLESS=1 to write docs/reference/{name}");
}

#[test]
fn fields_are_current() {
    current("scenario.md", &fields::scenario());
}

#[test]
fn policies_are_current() {
    current("policies.md", &fields::policies());
}

#[test]
fn metrics_are_current() {
    current("metrics.md", &metrics::page());
}

#[test]
fn the_command_line_is_current() {
    current("cli.md", &command_line::page());
}

/// Every definition of the schema stands on one of the pages.
#[test]
fn nothing_is_left_out() {
    let schema = thawline::scenario::schema();
    let pages = format!("{}{}", fields::scenario(), fields::policies());
    let mut missing = Vec::new();
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        for field in definition["properties"].as_object().into_iter().flat_map(|fields| fields.keys()) {
            if !pages.contains(&format!("| `{field}` |")) {
                missing.push(format!("{name}.{field}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}
