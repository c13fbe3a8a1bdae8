//! A server that runs already, well-behaved and not.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::mock::{Behaviour, Fault, Mock};
use assert_cmd::Command;
use serde_json::json;
use thawline_calibrate::raw::{self, Load, RawFile, Record, RequestSample};
use thawline_calibrate::server::past::series_of;

/// A plan of a second or two.
const QUICK: &[&str] = &[
    "--first-requests",
    "3",
    "--prompt-tokens",
    "16,64",
    "--repeats",
    "10",
    "--prompt-output-tokens",
    "4",
    "--clients",
    "1,3",
    "--requests-per-client",
    "10",
    "--load-prompt-tokens",
    "8..40",
    "--load-output-tokens",
    "3..8",
    "--duration",
    "0.5",
    "--rate-share",
    "0.5",
];

pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program in a folder of its own, where it leaves `x.raw.jsonl`.
pub fn calibrate(folder: &Path, url: &str, more: &[&str]) -> Run {
    let mut command = Command::cargo_bin("thawline-calibrate").unwrap();
    let output = command
        .current_dir(folder)
        .args(["server", "--url", url, "--name", "x"])
        .args(QUICK)
        .args(more)
        .timeout(Duration::from_mins(2))
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

pub fn raw_of(folder: &Path) -> RawFile {
    raw::read(&folder.join("x.raw.jsonl")).unwrap()
}

pub fn series(file: &RawFile) -> Vec<(Load, Vec<RequestSample>)> {
    series_of(&file.records).into_iter().map(|(series, samples)| (series.load, samples)).collect()
}

fn flags(file: &RawFile) -> Vec<&str> {
    let flags = file.records.iter().filter_map(|record| match record {
        Record::Flag(flag) if flag.flag != "clientLag" => Some(flag.flag.as_str()),
        _ => None,
    });
    flags.collect()
}

/// Runs against a server that behaves so; the run, what it left, and what it asked.
fn against(behaviour: Behaviour, more: &[&str]) -> (Run, RawFile, Mock) {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::start(behaviour);
    let run = calibrate(folder.path(), &mock.url, more);
    assert!(folder.path().join("x.raw.jsonl").exists(), "{}", run.stderr);
    (run, raw_of(folder.path()), mock)
}

#[test]
fn a_whole_plan_is_measured_and_every_request_kept() {
    let (run, file, mock) = against(Behaviour::default(), &["--seed", "7"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(file.is_complete());
    assert_eq!(file.header.model.as_deref(), Some("mock-1b"));
    assert_eq!(file.header.settings["seed"], 7);
    let all = series(&file);
    let loads: Vec<Load> = all.iter().map(|(load, _)| *load).collect();
    assert!(
        matches!(
            loads[..],
            [Load::Prompts, Load::Closed { clients: 1 }, Load::Closed { clients: 3 }, Load::Poisson { .. }]
        ),
        "{loads:?}"
    );
    assert_eq!(all[0].1.len(), 20);
    assert_eq!(all[2].1.len(), 30);
    for sample in all.iter().flat_map(|(_, samples)| samples) {
        assert_eq!(sample.error, None);
        assert_eq!(sample.cached_tokens, Some(0));
        assert_eq!(sample.events_ns.len() as u64, sample.output_tokens.unwrap());
        assert!(sample.events_ns.is_sorted());
        assert!(sample.due_ns <= sample.sent_ns && sample.sent_ns < sample.events_ns[0], "{sample:?}");
        assert!(sample.events_ns.last() <= sample.done_ns.as_ref(), "{sample:?}");
    }
    // The mock makes two tokens of a word: after three answers the lengths are as asked.
    for sample in &all[0].1 {
        assert!([16, 64].contains(&sample.prompt_tokens.unwrap()), "{sample:?}");
    }
    assert_eq!(flags(&file), [""; 0]);
    let asked = mock.asked.lock().unwrap();
    let mut starts: Vec<String> = asked
        .iter()
        .map(|(_, body)| body["prompt"].as_str().unwrap().split(' ').next().unwrap().to_owned())
        .collect();
    let number = starts.len();
    starts.sort_unstable();
    starts.dedup();
    assert_eq!(starts.len(), number, "prompts must differ from their first token on");
    let body = &asked[0].1;
    for (field, value) in [
        ("ignore_eos", json!(true)),
        ("cache_prompt", json!(false)),
        ("temperature", json!(0)),
        ("stream", json!(true)),
    ] {
        assert_eq!(body[field], value);
    }
    assert_eq!(body["model"], "/models/mock-1b");
}

#[test]
fn times_are_those_of_the_events() {
    let token = Duration::from_millis(20);
    let (run, file, _) = against(Behaviour { token, ..Behaviour::default() }, &["--only", "prompts"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for sample in &series(&file)[0].1 {
        // The server sleeps before each token: a sleep may be late and is never early.
        for (index, event) in (1..).zip(&sample.events_ns) {
            assert!(event - sample.sent_ns >= index * 20_000_000, "{sample:?}");
        }
        assert!(sample.done_ns >= sample.events_ns.last().copied());
    }
}

#[test]
fn servers_that_count_several_tokens_an_event_are_measured_by_usage() {
    let behaviour = Behaviour { tokens_per_event: 3, ..Behaviour::default() };
    let (run, file, _) = against(behaviour, &["--only", "prompts"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for sample in &series(&file)[0].1 {
        assert_eq!((sample.output_tokens, sample.events_ns.len()), (Some(4), 2));
    }
}

#[test]
fn odd_servers_are_measured_and_flagged() {
    let check = |behaviour: Behaviour, more: &[&str], flag: &str, said: &str| {
        let more = [&["--only", "prompts"], more].concat();
        let (run, file, mock) = against(behaviour.clone(), &more);
        assert_eq!(run.code, Some(0), "{behaviour:?}: {}", run.stderr);
        assert!(flags(&file).contains(&flag), "{behaviour:?}: {:?}", flags(&file));
        assert!(run.stdout.contains(said), "{behaviour:?}: {}", run.stdout);
        mock
    };
    let behaviour = Behaviour { refused: vec!["cache_prompt", "min_tokens"], ..Behaviour::default() };
    let mock = check(behaviour, &[], "fieldRefused", "`cache_prompt`");
    // The first question finds out, one field at a time; no other is refused.
    assert_eq!(mock.asked.lock().unwrap().len(), 20 + 3 + 2);
    let behaviour = Behaviour { refused: vec!["ignore_eos"], names_refused: false, ..Behaviour::default() };
    check(behaviour, &[], "fieldRefused", "`ignore_eos`");
    check(Behaviour { cached_tokens: 8, ..Behaviour::default() }, &[], "prefixCache", "20 of 20 prompts");
    check(
        Behaviour { output_tokens_max: 2, ..Behaviour::default() },
        &[],
        "shortAnswers",
        "20 of 20 answers",
    );
    let no_usage = Behaviour { usage: false, ..Behaviour::default() };
    check(no_usage, &["--count-events"], "countedEvents", "counted by events");
}

#[test]
fn without_completions_the_chat_endpoint_is_used() {
    let (run, file, mock) = against(
        Behaviour { missing: vec!["/v1/completions"], ..Behaviour::default() },
        &["--only", "prompts"],
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(series(&file)[0].1.iter().all(|sample| sample.error.is_none()));
    let asked = mock.asked.lock().unwrap();
    assert_eq!(asked[0].0, "/v1/completions");
    assert!(asked[1..].iter().all(|(path, _)| path == "/v1/chat/completions"));
    drop(asked);
    let (run, _, mock) = against(Behaviour::default(), &["--only", "prompts", "--chat"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(mock.asked.lock().unwrap().iter().all(|(path, _)| path == "/v1/chat/completions"));
}

#[test]
fn without_health_the_model_list_says_whether_it_is_there() {
    let (run, _, _) =
        against(Behaviour { missing: vec!["/health"], ..Behaviour::default() }, &["--only", "prompts"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

#[test]
fn what_engines_say_of_themselves_becomes_identity_and_settings() {
    let check = |pages: Vec<(&'static str, serde_json::Value)>,
                 engine: (&str, &str),
                 limits: [Option<u64>; 3]| {
        let (run, file, _) = against(Behaviour { pages, ..Behaviour::default() }, &["--only", "none"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let found = file.header.engine.unwrap();
        assert_eq!((found.name.as_str(), found.version.as_str()), engine);
        let settings = &file.header.settings;
        let number = |key: &str| settings.get(key).and_then(serde_json::Value::as_u64);
        assert_eq!([number("maxNumSeqs"), number("maxNumBatchedTokens"), number("kvCacheTokens")], limits);
    };
    let props =
        json!({"total_slots": 8, "default_generation_settings": {"n_ctx": 2048}, "build_info": "b1-2"});
    check(vec![("/props", props)], ("llama.cpp", "b1-2"), [Some(8), None, Some(16384)]);
    let info = json!({"version": "0.5.23", "max_running_requests": 48, "chunked_prefill_size": 8192,
        "max_total_num_tokens": 400_000});
    check(vec![("/get_server_info", info)], ("SGLang", "0.5.23"), [Some(48), Some(8192), Some(400_000)]);
    let info = json!({"model_id": "m", "version": "3.0", "max_batch_total_tokens": 9000});
    check(vec![("/info", info)], ("TGI", "3.0"), [None, None, Some(9000)]);
    let models = json!({"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]});
    let pages = vec![("/v1/models", models), ("/version", json!({"version": "0.33.0"}))];
    check(pages, ("vLLM", "0.33.0"), [None; 3]);
    check(vec![], ("mock", "unknown"), [None; 3]);
}

#[test]
fn requests_that_fail_stop_the_run_and_are_kept() {
    // The three first questions succeed; then everything fails.
    let check = |fault: Fault, expected: &str| {
        let behaviour = Behaviour { fault, fault_from: 10, ..Behaviour::default() };
        let (run, file, _) = against(behaviour, &["--only", "prompts", "--stall-timeout", "0.5"]);
        assert_eq!(run.code, Some(2), "{fault:?}: {}", run.stderr);
        assert!(run.stderr.contains("E0703") && run.stderr.contains(expected), "{fault:?}: {}", run.stderr);
        assert!(!file.is_complete());
        let samples = &series(&file)[0].1;
        let (failed, sound): (Vec<_>, Vec<_>) = samples.iter().partition(|sample| sample.error.is_some());
        // The second failure stops it.
        assert_eq!(sound.len(), 7, "{fault:?}");
        assert_eq!(failed.len(), 2, "{fault:?}: {failed:?}");
        assert!(failed[0].error.as_ref().unwrap().contains(expected), "{fault:?}: {failed:?}");
        assert!(failed.iter().all(|sample| sample.done_ns.is_none()));
    };
    check(Fault::Status, "HTTP 500: out of memory");
    check(Fault::Stop, "the stream stopped after 1 events");
    check(Fault::NoStream, "the answer is no event stream but application/json");
    check(Fault::Garbage, "the stream holds something that is not JSON: <html>");
    check(Fault::ErrorEvent, "the server reports: the engine has died");
    check(Fault::Hang, "the stream stopped after 1 events: timeout");
    check(Fault::SlowHeaders, "timeout");
}

#[test]
fn a_server_without_counts_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::start(Behaviour { usage: false, ..Behaviour::default() });
    let run = calibrate(folder.path(), &mock.url, &[]);
    assert_eq!(run.code, Some(2));
    for expected in ["E0703", "`usage` is missing", "--count-events"] {
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
}

#[test]
fn an_address_where_nobody_answers_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = calibrate(folder.path(), "http://127.0.0.1:9", &[]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("E0702") && run.stderr.contains("--launch"), "{}", run.stderr);
    assert!(!folder.path().join("x.raw.jsonl").exists());
}

#[test]
fn a_poisson_run_alone_needs_a_rate() {
    let (run, file, _) = against(Behaviour::default(), &["--only", "poisson"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("--rate"), "{}", run.stderr);
    assert!(!file.is_complete());
    let (run, file, _) = against(Behaviour::default(), &["--only", "poisson", "--rate", "20,40"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let rates: Vec<Load> = series(&file).iter().map(|(load, _)| *load).collect();
    assert_eq!(rates, [Load::Poisson { per_second: 20.0 }, Load::Poisson { per_second: 40.0 }]);
}

#[test]
fn a_killed_run_goes_on_and_a_finished_one_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("x.raw.jsonl");
    let mock = Mock::start(Behaviour::default());
    let run = calibrate(folder.path(), &mock.url, &["--only", "prompts,closed"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let whole = std::fs::read_to_string(&raw).unwrap();

    let refused = calibrate(folder.path(), &mock.url, &["--only", "prompts,closed"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("complete measurement already"), "{}", refused.stderr);

    // Cut in the middle of the second series, in the middle of a line.
    let cut = whole.find(r#""request":{"series":1,"request":5"#).unwrap() + 40;
    std::fs::write(&raw, &whole[..cut]).unwrap();
    let refused = calibrate(folder.path(), &mock.url, &["--only", "closed"]);
    assert!(refused.stderr.contains("other settings"), "{}", refused.stderr);
    let before = mock.asked.lock().unwrap().len();
    let run = calibrate(folder.path(), &mock.url, &["--only", "prompts,closed"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    // Three questions, and the two series with one and three clients; no prompt series again.
    assert_eq!(mock.asked.lock().unwrap().len() - before, 3 + 10 + 30);
    let file = raw_of(folder.path());
    assert!(file.is_complete());
    let counts: Vec<(Load, usize)> =
        series(&file).iter().map(|(load, samples)| (*load, samples.len())).collect();
    let (one, three) = (Load::Closed { clients: 1 }, Load::Closed { clients: 3 });
    assert_eq!(counts, [(Load::Prompts, 20), (one, 5), (one, 10), (three, 30)]);
}

#[test]
fn a_time_budget_ends_the_run_in_order() {
    let token = Duration::from_millis(10);
    let began = Instant::now();
    let (run, file, _) = against(Behaviour { token, ..Behaviour::default() }, &["--time-budget", "1"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(file.is_complete());
    assert_eq!(flags(&file), ["timeBudget"]);
    assert!(series(&file).len() < 4);
}

#[test]
fn a_series_becomes_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::start(Behaviour::default());
    let run = calibrate(folder.path(), &mock.url, &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let trace = |more: &[&str]| {
        let mut command = Command::cargo_bin("thawline-calibrate").unwrap();
        let output =
            command.current_dir(folder.path()).args(["trace", "x.raw.jsonl"]).args(more).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, stdout, stderr) = trace(&[]);
    assert_eq!(code, Some(0), "{stderr}");
    let all = series(&raw_of(folder.path()));
    assert_eq!(stdout.lines().count(), 1 + all[3].1.len());
    assert_eq!(stdout.lines().next(), Some("TIMESTAMP,ContextTokens,GeneratedTokens"));
    let (_, closed, _) = trace(&["--series", "2"]);
    assert_eq!(closed.lines().count(), 31);
    let (code, _, stderr) = trace(&["--series", "9"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("no series 9") && stderr.contains("--series 2: 3 clients"), "{stderr}");
    // The simulator takes it.
    let path = folder.path().join("x.csv");
    std::fs::write(&path, stdout).unwrap();
    let spec = thawline::workload::WorkloadSpec::azure("x.csv");
    let workload = thawline::workload::load(&spec, folder.path(), 1).unwrap();
    let expected = thawline::workload::RequestCount::Exact(all[3].1.len() as u64);
    assert_eq!(workload.requests, expected);
}
