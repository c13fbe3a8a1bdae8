//! A server that is started. The launched command is a shell script
//! that opens a gate of the mock server when it would listen, and shuts it when it ends.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::mock::{Behaviour, Mock};
use thawline::profile::schema::Stage;
use thawline_calibrate::raw::{self, Cache, Load, Record};
use thawline_calibrate::server::past::series_of;

/// What the script writes on its way: the lines of a llama.cpp start, from a recorded log.
const LINES: [&str; 4] = [
    "0.00.004.596 I srv    load_model: loading model 'm.gguf'",
    "0.00.122.400 I llama_context: constructing llama_context",
    "0.00.266.155 I cmn  common_init_: warming up the model with an empty run - please wait ...",
    "0.00.322.779 I srv    load_model: initializing, n_slots = 8, n_ctx_slot = 2048, kv_unified = 'false'",
];

/// A script that takes 0.1 s for each stage, then serves until it is told to end or `then` does.
fn script(then: &str) -> String {
    let lines: String = LINES.iter().map(|line| format!("echo \"{line}\" >&2; sleep 0.1; ")).collect();
    format!(
        "trap 'rm -f up; exit 0' TERM; echo $$ > pid; {lines} touch up; \
        echo '0.00.325.726 I srv  llama_server: listening on http://127.0.0.1'; {then}"
    )
}

/// Serves for ever.
const FOREVER: &str = "while :; do sleep 0.02; done";

fn command(folder: &Path, url: &str, launch: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thawline-calibrate"));
    command
        .current_dir(folder)
        .args(["server", "--url", url, "--name", "x", "--launch", launch, "--first-requests", "3"])
        .args(["--prompt-tokens", "16,64", "--repeats", "10", "--only", "prompts"])
        .args(more);
    command
}

fn run(folder: &Path, url: &str, launch: &str, more: &[&str]) -> (Option<i32>, String) {
    let output = command(folder, url, launch, more).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A mock behind a gate in this folder.
fn gated(folder: &Path) -> Mock {
    Mock::start(Behaviour { gate: Some(folder.join("up")), ..Behaviour::default() })
}

/// Whether the script that wrote its number still runs; a zombie does not.
fn is_running(folder: &Path) -> bool {
    let pid = std::fs::read_to_string(folder.join("pid")).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

#[test]
fn every_start_is_split_into_stages_and_its_first_requests_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mock = gated(folder.path());
    std::fs::write(folder.path().join("weights"), vec![1; 1 << 20]).unwrap();
    let more = ["--weights", "weights", "--cold", "1", "--warm", "2", "--log", "log"];
    let (code, stderr) = run(folder.path(), &mock.url, &script(FOREVER), &more);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!is_running(folder.path()));
    let file = raw::read(&folder.path().join("x.raw.jsonl")).unwrap();
    assert!(file.is_complete());
    for start in 0..3 {
        let stages: Vec<_> = file
            .records
            .iter()
            .filter_map(|record| if let Record::Stage(stage) = record { Some(stage) } else { None })
            .filter(|stage| stage.run == start)
            .collect();
        let cache = if start == 0 { Cache::Cold } else { Cache::Warm };
        assert!(stages.iter().all(|stage| stage.cache == Some(cache)), "{stages:?}");
        let total: f64 = stages.iter().map(|stage| stage.seconds).sum();
        assert!(total > 0.4, "{stages:?}");
        let load = stages.iter().find(|stage| stage.stage == Stage::WeightLoad).unwrap();
        assert!(load.seconds >= 0.09, "{stages:?}");
        assert_eq!(load.bytes, Some(1 << 20));
        let log = std::fs::read_to_string(folder.path().join(format!("log.{start}"))).unwrap();
        assert!(log.contains("constructing llama_context"), "{log}");
    }
    let loads: Vec<(Load, usize)> =
        series_of(&file.records).iter().map(|(series, samples)| (series.load, samples.len())).collect();
    let first = |run| (Load::First { run }, 3);
    assert_eq!(loads, [first(0), first(1), first(2), (Load::Prompts, 20)]);
    assert_eq!(file.header.settings["maxNumSeqs"], 8);
    assert!(!file.header.settings["launch"].as_str().unwrap().contains(folder.path().to_str().unwrap()));
}

#[test]
fn a_run_killed_between_starts_measures_only_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let mock = gated(folder.path());
    let (code, stderr) = run(folder.path(), &mock.url, &script(FOREVER), &["--warm", "2"]);
    assert_eq!(code, Some(0), "{stderr}");
    let raw = folder.path().join("x.raw.jsonl");
    let whole = std::fs::read_to_string(&raw).unwrap();
    let cut = whole.find("\"run\":1").unwrap();
    std::fs::write(&raw, &whole[..cut]).unwrap();
    let (code, stderr) = run(folder.path(), &mock.url, &script(FOREVER), &["--warm", "2"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!stderr.contains("start 0") && stderr.contains("start 1"), "{stderr}");
    let file = raw::read(&raw).unwrap();
    let count = |load| series_of(&file.records).iter().filter(|(series, _)| series.load == load).count();
    assert_eq!([Load::First { run: 0 }, Load::First { run: 1 }, Load::Prompts].map(count), [1, 1, 1]);
}

#[test]
fn servers_that_do_not_come_up_are_shown_with_their_last_lines() {
    let check = |launch: &str, more: &[&str], expected: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mock = gated(folder.path());
        let began = Instant::now();
        let (code, stderr) = run(folder.path(), &mock.url, launch, more);
        assert_eq!(code, Some(2), "{stderr}");
        for expected in [&["E0702"], expected].concat() {
            assert!(stderr.contains(expected), "`{expected}` is missing from:\n{stderr}");
        }
        assert!(began.elapsed() < Duration::from_secs(20));
        assert!(!folder.path().join("x.raw.jsonl").exists());
        assert!(!folder.path().join("pid").exists() || !is_running(folder.path()));
    };
    check(
        "echo loading; echo 'CUDA out of memory' >&2; exit 3",
        &[],
        &["died while it started", "exit code 3", "loading", "CUDA out of memory"],
    );
    check("no-such-server --port 1", &[], &["exit code 127", "no-such-server"]);
    check("kill -SEGV $$", &[], &["signal 11 ended it", "wrote nothing"]);
    check(
        "echo $$ > pid; echo still loading; sleep 100",
        &["--start-timeout", "0.5"],
        &["not healthy within", "still loading"],
    );
}

#[test]
fn a_server_that_is_there_already_is_not_measured_as_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::start(Behaviour::default());
    let (code, stderr) = run(folder.path(), &mock.url, "sleep 100", &[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("E0702") && stderr.contains("answers at the address already"), "{stderr}");
}

#[test]
fn a_server_that_dies_under_load_is_shown_with_its_last_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mock = gated(folder.path());
    let dies = "sleep 0.7; rm up; echo 'Segmentation fault in attention'; exit 139";
    let mut process = Command::new(env!("CARGO_BIN_EXE_thawline-calibrate"));
    process.current_dir(folder.path()).args([
        "server",
        "--url",
        &mock.url,
        "--name",
        "x",
        "--launch",
        &script(dies),
    ]);
    process.args(["--warm", "1", "--only", "closed", "--clients", "1", "--requests-per-client", "100000"]);
    let output = process.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for expected in ["E0703", "the server is gone", "exit code 139", "Segmentation fault in attention"] {
        assert!(stderr.contains(expected), "`{expected}` is missing from:\n{stderr}");
    }
    let file = raw::read(&folder.path().join("x.raw.jsonl")).unwrap();
    assert!(!file.is_complete());
    assert!(file.records.iter().any(|r| matches!(r, Record::Request(sample) if sample.error.is_none())));
}

#[test]
fn the_server_ends_with_the_program_whatever_ends_that() {
    for signal in ["INT", "KILL"] {
        let folder = tempfile::tempdir().unwrap();
        let mock = gated(folder.path());
        let mut process = command(folder.path(), &mock.url, &script(FOREVER), &[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let wait = |what: &str, done: &dyn Fn() -> bool| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while !done() {
                assert!(Instant::now() < deadline, "{signal}: {what}");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        wait("the server comes up", &|| folder.path().join("up").exists());
        let status =
            Command::new("sh").args(["-c", &format!("kill -{signal} {}", process.id())]).status().unwrap();
        assert!(status.success());
        process.wait().unwrap();
        wait("the server ends", &|| !is_running(folder.path()));
    }
}

#[test]
fn a_cold_start_needs_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let mock = gated(folder.path());
    let (code, stderr) = run(folder.path(), &mock.url, &script(FOREVER), &["--cold", "1"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--weights DIR"), "{stderr}");
    let (_, stderr) = run(folder.path(), &mock.url, &script(FOREVER), &["--weights", "/nowhere/model"]);
    assert!(stderr.contains("E0401") && stderr.contains("/nowhere/model"), "{stderr}");
}
