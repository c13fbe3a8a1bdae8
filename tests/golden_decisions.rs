//! The decision logs of scenarios that show how an autoscaler decides, against the ones kept in `tests/golden/`.
//!
//! `THAWLINE_BLESS=1` writes them anew: read the difference before you commit it. A log is what `decisions.txt` says of one
//! replication, so that a person can follow it line by line.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

use std::path::Path;

use assert_cmd::Command;

fn check(scenario: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let scenario_file = root.join("scenarios").join(format!("{scenario}.yaml"));
    Command::cargo_bin("thawline")
        .unwrap()
        .args(["simulate", "--exit-zero", "--set", "replications=1", "--out"])
        .args([out.path(), &scenario_file])
        .assert()
        .success();
    let log = std::fs::read_to_string(out.path().join("decisions.txt")).unwrap();
    assert!(log.lines().count() > 10, "hardly anything was decided:\n{log}");
    let kept = root.join("tests/golden").join(format!("{scenario}.txt"));
    if std::env::var_os("THAWLINE_BLESS").is_some() {
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        std::fs::write(&kept, &log).unwrap();
    }
    let expected = std::fs::read_to_string(&kept).unwrap_or_default();
    let differs = log.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
    let first = differs.map_or("one log is longer than the other".to_owned(), |line| {
        let at = |text: &str| text.lines().nth(line).unwrap_or_default().to_owned();
        format!("line {}:\n  kept  {}\n  found {}", line + 1, at(&expected), at(&log))
    });
    assert!(log == expected, "{scenario}: {first}\nTHAWLINE_BLESS=1 if it must change");
}

#[test]
fn hpa_vs_keda() {
    check("hpa-vs-keda");
}

#[test]
fn scale_to_zero() {
    check("scale-to-zero");
}

#[test]
fn knative_panic() {
    check("knative-panic");
}

#[test]
fn llm_autoscalers() {
    check("llm-autoscalers");
}

#[test]
fn rolling_update() {
    check("rolling-update");
}
