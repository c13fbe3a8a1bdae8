//! `thawline-calibrate fit` as people run it: what it writes, checks and refuses.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod common;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use common::{Server, calibration_run};
use thawline::profile::Profile;
use thawline_calibrate::raw::{RawFile, Record};

const TRUTH: &str = "
schemaVersion: 1
name: truth
description: what the simulated engine takes
model: a model
engine: { name: an engine, version: 1 }
gpu: { name: a GPU, count: 1, memory: 80G }
startUp:
  - { stage: weightLoad, time: { value: 5s, provenance: assumed, note: a test } }
stepTime:
  decode:
    fit: { value: { baseMs: 8, perSequenceUs: 400, perKvTokenNs: 200 }, provenance: assumed, note: a test }
  prefill:
    maxPlanes: { value: { planes: [{ baseMs: 8, perTokenUs: 90, perWorkNs: 10 }] }, provenance: assumed, note: a test }
";

fn write_raw(path: &Path, file: &RawFile) {
    let head = Record::Header(Box::new(file.header.clone()));
    let line = |record: &Record| serde_json::to_string(record).unwrap() + "\n";
    let text: String = std::iter::once(&head).chain(&file.records).map(line).collect();
    std::fs::write(path, text).unwrap();
}

/// A folder with a raw file in it.
fn raw() -> (tempfile::TempDir, PathBuf) {
    let truth = Profile::from_yaml("truth.yaml", TRUTH).unwrap().0;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw.jsonl");
    write_raw(&path, &calibration_run(&Server::new(&truth, 8, 2048), &[1, 4, 8], 3));
    (folder, path)
}

/// Runs `fit` in a folder: exit code, stdout, stderr.
fn fit(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("thawline-calibrate").unwrap();
    let output = command.current_dir(folder).arg("fit").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

const START: [&str; 2] = ["--assume-start-up", "90s"];

#[test]
fn a_profile_is_written_and_holds_what_the_raw_file_gives() {
    let (folder, _) = raw();
    let run = |more: &[&str]| fit(folder.path(), &[&["a.raw.jsonl"], &START[..], more].concat());
    let (code, shown, err) = run(&["--out", "out.yaml"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for part in
        ["derived   8.0", "decode step: mean", "bias at B <= 8", "incomplete:", "start-up: nothing known of"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let text = std::fs::read_to_string(folder.path().join("out.yaml")).unwrap();
    assert!(text.contains("#   thawline-calibrate fit a.raw.jsonl --assume-start-up 1m30s\n"), "{text}");

    let (code, shown, _) = run(&["--check", "out.yaml"]);
    assert_eq!((code, shown.as_str()), (0, "out.yaml: what the raw samples give, within 1e-9\n"));
    // Another figure is found, and named.
    let at = text.find("perSequenceUs: ").unwrap() + "perSequenceUs: ".len();
    std::fs::write(folder.path().join("other.yaml"), format!("{}9{}", &text[..at], &text[at..])).unwrap();
    let (code, shown, _) = run(&["--check", "other.yaml"]);
    assert_eq!(code, 1);
    assert!(
        shown.contains("1 fields differ") && shown.contains("stepTime.decode.fit.value.perSequenceUs"),
        "{shown}"
    );

    // A second time it is there already.
    let (code, _, err) = run(&["--out", "out.yaml"]);
    assert_eq!(code, 2);
    assert!(err.contains("E0402") && err.contains("--force"), "{err}");
    assert_eq!(run(&["--out", "out.yaml", "--force"]).0, 0);
    assert_eq!(std::fs::read_to_string(folder.path().join("out.yaml")).unwrap(), text);
}

#[test]
fn what_cannot_be_used_ends_in_2() {
    let (folder, path) = raw();
    let check = |arguments: &[&str], expected: &[&str]| {
        let (code, shown, err) = fit(folder.path(), arguments);
        assert_eq!((code, shown.as_str()), (2, ""), "{arguments:?}: {err}");
        for part in expected {
            assert!(err.contains(part), "{part}: {err}");
        }
    };
    check(&["a.raw.jsonl"], &["E0707", "how long a start takes", "--assume-start-up 90s"]);
    check(&["none.raw.jsonl"], &["E0401"]);
    check(&["a.raw.jsonl", "--assume-start-up", "90s", "--check", "none.yaml"], &["E0401", "none.yaml"]);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(folder.path().join("broken.raw.jsonl"), text.replacen("\"request\"", "\"guess\"", 1))
        .unwrap();
    check(&["broken.raw.jsonl"], &["E0706", "broken.raw.jsonl:"]);
}

#[test]
fn a_torn_file_is_fitted_and_says_so() {
    let (folder, path) = raw();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 9);
    std::fs::write(&path, bytes).unwrap();
    let (code, shown, err) = fit(folder.path(), &["a.raw.jsonl", START[0], START[1]]);
    assert_eq!(code, 0, "{err}");
    assert!(shown.contains("torn: raw file of a-test: its last line was cut off"), "{shown}");
}
