//! `thawline-calibrate profile check` from outside.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

use assert_cmd::Command;

fn check(file: &str) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("thawline-calibrate").unwrap();
    let output = command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["profile", "check", file])
        .output();
    let output = output.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_sound_profile_is_named_with_its_digest() {
    let (code, stdout, stderr) = check("profiles/small-7b-worked-example.yaml");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("small-7b-worked-example@"), "{stdout}");
    assert!(stdout.contains("assumed"), "{stdout}");
}

#[test]
fn a_broken_profile_shows_every_fault_and_exits_2() {
    let (code, stdout, stderr) = check("calibrate/tests/broken.yaml");
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    for expected in ["broken.yaml:5", "no GPU", "startUp", "no stages"] {
        assert!(stderr.contains(expected), "`{expected}` is missing from:\n{stderr}");
    }
}

#[test]
fn a_missing_file_exits_2() {
    let (code, _, stderr) = check("profiles/no-such-file.yaml");
    assert_eq!(code, Some(2));
    assert!(stderr.contains("cannot read the profile"), "{stderr}");
}

#[test]
fn it_says_its_version() {
    let mut command = Command::cargo_bin("thawline-calibrate").unwrap();
    command.arg("--version").assert().success().stdout(concat!(
        "thawline-calibrate ",
        env!("CARGO_PKG_VERSION"),
        "\n"
    ));
}
