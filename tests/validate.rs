//! `thawline validate` on scenarios that are at fault: each `tests/bad/*.yaml` prints what lies
//! in the `.stderr` beside it, ends with 2 and writes nothing. `THAWLINE_BLESS=1` writes the
//! expectations anew.

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;

const BAD: &str = "tests/bad";

fn thawline(arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("thawline").expect("the binary is built with its tests");
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("what is printed is UTF-8")
}

#[test]
fn bad_scenarios_say_what_is_wrong() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = fs::read_dir(root.join(BAD))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    names.sort();
    assert!(names.len() >= 15, "{names:?}");
    let mut differing = Vec::new();
    for name in &names {
        let output = thawline(&["validate", &format!("{BAD}/{name}")]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(output.stdout.is_empty(), "{name}");
        let expectation = root.join(BAD).join(name.replace(".yaml", ".stderr"));
        if std::env::var_os("THAWLINE_BLESS").is_some() {
            fs::write(&expectation, &output.stderr).unwrap();
        }
        let expected = fs::read_to_string(&expectation).unwrap_or_default();
        let found = text(&output.stderr);
        if found != expected {
            differing.push(format!("{name}: expected\n{expected}\nfound\n{found}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn warnings_fail_only_where_they_are_asked_to() {
    let (warned, clean) = ("scenarios/nine-am-spike.yaml", "scenarios/quickstart.yaml");
    let check = |arguments: &[&str], code: i32, stdout: &str, stderr: &str| {
        let output = thawline(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
        assert!(out.contains(stdout) && err.contains(stderr), "{arguments:?}\n{out}\n{err}");
        assert_eq!(stderr.is_empty(), err.is_empty(), "{arguments:?}\n{err}");
    };
    let warning = "warning[W0363]: the readiness probe passes before the warm-up, which takes 6s\n";
    check(&["validate", warned], 0, "nine-am-spike: no faults, 1 warning", warning);
    check(&["validate", warned, "--strict"], 2, "nine-am-spike: no faults, 1 warning", warning);
    check(&["validate", warned, "--strict", "--format", "github"], 2, "::warning file=scenarios/nine-am", "");
    check(&["validate", warned, "--strict", "--format", "json"], 2, "\"code\": \"W0363\"", "");
    check(&["validate", warned, "--format", "json"], 0, "\"code\": \"W0363\"", "");
    check(&["validate", clean, "--strict"], 0, "quickstart: no faults (", "");
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("deep.yaml");
    for open in ["[", "{a: ", "- "] {
        fs::write(&file, open.repeat(20_000)).unwrap();
        let output = thawline(&["validate", file.to_str().unwrap()]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{open}: {stderr}");
        assert!(stderr.contains("error[E0104]"), "{open}: {stderr}");
    }
}

#[test]
fn faults_come_in_other_formats() {
    let file = "tests/bad/two-sections.yaml";
    let output = thawline(&["validate", file, "--format", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let faults: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let codes: Vec<&str> = faults.iter().map(|fault| fault["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["E0205", "E0201"]);
    assert_eq!(faults[0]["place"]["line"], 6);
    let output = thawline(&["validate", file, "--format", "github"]);
    let lines = text(&output.stdout);
    assert_eq!(output.status.code(), Some(2));
    assert!(lines.starts_with("::error file=tests/bad/two-sections.yaml,line=6,col=19,"), "{lines}");
    assert_eq!(lines.lines().count(), 2);
}

#[test]
fn missing_files_and_wrong_usage_end_in_2() {
    for arguments in
        [&["validate", "no-such.yaml"][..], &["validate", "tests"], &["validate"], &["frobnicate"]]
    {
        let output = thawline(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn set_mends_and_breaks() {
    let file = "tests/bad/bad-duration.yaml";
    let mend = ["replica={}", "telemetry={}", "slo.ttft=2s"];
    let mut arguments = vec!["validate", file];
    for assignment in &mend {
        arguments.extend(["--set", assignment]);
    }
    let output = thawline(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    arguments.extend(["--set", "telemetry.scrapeIntervall=5s"]);
    let output = thawline(&arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--> --set:1:1"), "{}", text(&output.stderr));
}

#[test]
fn explain_schema_and_completions_print() {
    let check = |arguments: &[&str], expected: &str| {
        let output = thawline(arguments);
        let stdout = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(stdout.contains(expected), "{arguments:?}: {stdout}");
    };
    check(&["explain", "E0203"], "unknown choice");
    check(&["explain", "telemetry.scrapeInterval"], "default: 15s");
    check(&["explain", "policies.mine.hpa.maxReplicas"], "required");
    check(&["schema"], "\"$schema\"");
    check(&["completions", "bash"], "complete -F _thawline");
    check(&["--help"], "Exit codes:");
    let output = thawline(&["explain", "telemetry.scrapeIntervall"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean `scrapeInterval`?"));
    assert_eq!(thawline(&["explain", "E9999"]).status.code(), Some(2));
}
