//! `thawline schema`: the JSON Schema of a scenario.

use super::{Answer, Exit, console};
use crate::scenario;

pub(super) fn run() -> Answer {
    let schema =
        serde_json::to_string_pretty(&scenario::editor_schema()).expect("a schema has text keys only");
    console::print(&format!("{schema}\n"));
    Ok(Exit::Success)
}
