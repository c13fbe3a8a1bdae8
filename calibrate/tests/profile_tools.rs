//! `thawline-calibrate profile show|diff|merge` from outside, on the profiles that are shipped.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

use std::path::Path;

use assert_cmd::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Exit code, stdout and stderr of `profile` with these arguments, run at the repository's root.
fn profile(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("thawline-calibrate").unwrap();
    let output = command.current_dir(ROOT).arg("profile").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing from:\n{text}");
    }
}

/// A copy of a shipped profile with some text replaced.
fn changed(folder: &Path, name: &str, replacements: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(format!("{ROOT}/profiles/{name}.yaml")).unwrap();
    for (from, to) in replacements {
        assert!(text.contains(from), "{name} holds `{from}`");
        text = text.replacen(from, to, 1);
    }
    let path = folder.join("changed.yaml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn show_prints_the_page_and_draws_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let [svg, png] = ["a.svg", "a.png"].map(|name| folder.path().join(name).display().to_string());
    let arguments = ["show", "l40s-llama3.1-8b-vllm", "--svg", &svg, "--png", &png];
    let (code, stdout, stderr) = profile(&arguments);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_contains(
        &stdout,
        &["l40s-llama3.1-8b-vllm@", "PROVENANCE", "weight load (download)", "SOURCES\n[1]", "drawn: "],
    );
    let drawn = std::fs::read_to_string(&svg).unwrap();
    assert_contains(&drawn, &["<svg", "weight load: download", "published", "KV tokens read by the step"]);
    assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
    // The same page as the simulator's, and the same bytes again over the old ones.
    let file = profile(&["show", "profiles/l40s-llama3.1-8b-vllm.yaml"]);
    assert!(stdout.starts_with(&file.1), "{}", file.1);
    assert_eq!(profile(&arguments).0, Some(0));
    assert_eq!(std::fs::read_to_string(&svg).unwrap(), drawn);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside the pictures");

    let (_, stdout, _) = profile(&["show", "small-7b-worked-example"]);
    assert_contains(&stdout, &["figures are assumed: nobody measured them"]);
    for (arguments, expected) in [
        (vec!["show", "no-such-profile"], "cannot read the profile"),
        (vec!["show", "small-7b-worked-example", "--png", "x.gif"], "does not end in .png"),
        (vec!["show", "small-7b-worked-example", "--raw", "no-such.jsonl"], "cannot read no-such.jsonl"),
    ] {
        let (code, stdout, stderr) = profile(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stdout}");
        assert_contains(&stderr, &[expected]);
    }
}

#[test]
fn diff_ends_with_1_if_there_are_differences() {
    let folder = tempfile::tempdir().unwrap();
    let name = "a10g-llama3-8b-vllm";
    let (code, stdout, stderr) = profile(&["diff", name, &format!("profiles/{name}.yaml")]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_contains(&stdout, &["do not differ"]);
    let other = changed(
        folder.path(),
        name,
        &[("perSequenceUs: 100", "perSequenceUs: 125"), ("count: 1", "count: 2")],
    );
    let (code, stdout, _) = profile(&["diff", name, &other]);
    assert_eq!(code, Some(1));
    assert_contains(
        &stdout,
        &["gpu.count", "perSequenceUs", "+25.0 %", "+100.0 %", "assumed", "2 fields differ"],
    );
    let (code, stdout, stderr) = profile(&["diff", "no-such-a", "no-such-b"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert_contains(&stderr, &["no-such-a", "no-such-b"]);
}

#[test]
fn merge_takes_the_better_figure_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let name = "l40s-llama3.1-8b-vllm";
    let measured = "value: 3s\n      provenance: measured\n      source: a test\n      date: 2026-11-22";
    let other = changed(folder.path(), name, &[("value: 2s\n      provenance: assumed", measured)]);
    let out = folder.path().join("merged.yaml").display().to_string();
    let arguments = ["merge", name, &other, "--out", &out, "--name", "both"];
    let (code, stdout, stderr) = profile(&arguments);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert_contains(&stdout, &["startUp[container start]", "written: ", "1 measured"]);
    let (code, checked, stderr) = profile(&["check", &out]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_contains(&checked, &["both@"]);
    let (code, stdout, _) = profile(&["diff", name, &out]);
    assert_eq!(code, Some(1));
    assert_contains(&stdout, &["startUp[container start]", "assumed -> measured", "1 fields differ"]);

    let before = std::fs::read(&out).unwrap();
    let (code, _, stderr) = profile(&arguments);
    assert_eq!(code, Some(2));
    assert_contains(&stderr, &["is there already", "--force"]);
    assert_eq!(std::fs::read(&out).unwrap(), before);
    assert_eq!(profile(&[&arguments[..], &["--force"]].concat()).0, Some(0));
    assert_eq!(std::fs::read(&out).unwrap(), before);
}

#[test]
fn merge_refuses_other_models_and_results_that_make_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("merged.yaml").display().to_string();
    let pair = ["merge", "l40s-llama3.1-8b-vllm", "a10g-llama3-8b-vllm", "--out", &out];
    let (code, _, stderr) = profile(&pair);
    assert_eq!(code, Some(2));
    assert_contains(&stderr, &["of model Llama-3.1-8B BF16", "of GPUs 1 x L40S", "--force"]);
    assert!(!Path::new(&out).exists());
    let (code, _, stderr) = profile(&[&pair[..], &["--force"]].concat());
    assert_eq!(code, Some(0));
    assert_contains(&stderr, &["warning", "of model Llama-3.1-8B BF16"]);
    std::fs::remove_file(&out).unwrap();

    let (code, _, stderr) =
        profile(&[&["merge", pair[1], pair[1], "--out", &out], &["--name", "Not A Name"][..]].concat());
    assert_eq!(code, Some(2));
    assert_contains(&stderr, &["E0502", "`Not A Name` is not a profile name"]);
    assert!(!Path::new(&out).exists());
    assert_eq!(profile(&["merge", pair[1], "--out", &out]).0, Some(2), "one profile is none to merge");
}
