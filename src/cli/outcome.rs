//! What the commands about a past run share: its outcome.json, and which policy and replication of it is meant.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use crate::report::Document;
use crate::report::document::{PolicyDoc, RunDoc};
use crate::yaml::Diagnostic;

pub(super) fn read(path: &Path) -> Result<Document, Vec<Diagnostic>> {
    let path = file(path);
    let unreadable = |error| {
        let shown = path.display().to_string();
        let fault = Diagnostic::in_file("E0401", &shown, format!("cannot read it: {error}"));
        vec![fault.helped("name the outcome.json that `thawline simulate` wrote, or its directory")]
    };
    File::open(&path).map_err(Into::into).and_then(Document::read).map_err(unreadable)
}

/// The file that is meant by the output directory of a run.
pub(super) fn file(path: &Path) -> Cow<'_, Path> {
    if path.is_dir() { path.join("outcome.json").into() } else { path.into() }
}

/// The policy of that name.
pub(super) fn policy<'a>(document: &'a Document, name: &str) -> Result<&'a PolicyDoc, Vec<Diagnostic>> {
    document.policy(name).ok_or_else(|| {
        let names: Vec<&str> = document.policies.iter().map(|policy| policy.name.as_str()).collect();
        let fault = Diagnostic::error("E0404", format!("the outcome has no policy `{name}`"));
        vec![fault.helped(format!("one of {}", names.join(", ")))]
    })
}

/// That replication of a policy.
pub(super) fn run(policy: &PolicyDoc, replication: u32) -> Result<&RunDoc, Vec<Diagnostic>> {
    policy.runs.iter().find(|run| run.replication == replication as usize).ok_or_else(|| {
        let last = policy.runs.len().saturating_sub(1);
        none(format!("the outcome has no replication {replication}: they are numbered from 0 to {last}"))
    })
}

/// It does not exist.
pub(super) fn none(message: String) -> Vec<Diagnostic> {
    vec![Diagnostic::error("E0404", message)]
}
