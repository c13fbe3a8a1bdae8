//! The program from outside: exit codes, what it prints, what it writes, and that the same
//! scenario gives the same bytes.

mod common;

use std::fs;
use std::path::Path;

use common::{expect, names, write_small};
use serde_json::Value;

const FILES: [&str; 10] = [
    "decisions.csv",
    "decisions.txt",
    "facts.digest",
    "outcome.json",
    "report.html",
    "resolved.yaml",
    "runs.csv",
    "starts.csv",
    "summary.md",
    "timeline.csv",
];

fn read(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

#[test]
fn exit_codes_tell_how_the_gates_fared() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    let check = |gate: &str, more: &[&str], code: i32| {
        let set = format!("gates=[{gate}]");
        let mut arguments = vec!["simulate", "small.yaml", "--set", &set, "--set", "replications=1"];
        arguments.extend(more);
        expect(root.path(), &arguments, code).0
    };
    assert!(check("", &[], 0).contains("no gates: this run cannot fail"));
    check("requests.arrived > 1", &[], 0);
    let failed = check("ttft.p99 < 1ms", &[], 1);
    assert!(failed.contains("2 of 2 gates failed"), "{failed}");
    check("ttft.p99 < 1ms", &["--exit-zero"], 0);
    check("{ gate: ttft.p99 < 1ms, for: [one] }", &[], 1);
    check("ttft.p99 > 2 bananas", &[], 2);
    expect(root.path(), &["simulate"], 2);
    expect(root.path(), &["--version"], 0);
}

#[test]
fn json_on_stdout_is_the_file() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "gates: [ ttft.p99 < 1ms ]\n");
    let simulate = ["simulate", "small.yaml", "--format", "json"];
    // A start takes nine minutes, and the HPA's window five.
    let (_, warned) = expect(root.path(), &simulate, 1);
    assert!(warned.starts_with("warning[W0340]") && warned.matches("warning[").count() == 1, "{warned}");
    let patient = "policies.hpa.hpa.controller.downscaleStabilization=10m";
    let (stdout, stderr) = expect(root.path(), &[&simulate[..], &["--set", patient]].concat(), 1);
    assert_eq!(stderr, "");
    let out = root.path().join("reports/small");
    assert_eq!(stdout, read(&out, "outcome.json"));
    let outcome = json(&stdout);
    assert_eq!(outcome["scenario"], "small");
    assert_eq!(outcome["gatesFailed"], 2, "one under each policy");
    assert_eq!(outcome["policies"].as_array().unwrap().len(), 2);
    assert_eq!(names(&out), FILES);
}

#[test]
fn bytes_do_not_depend_on_jobs_or_the_place() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("elsewhere")).unwrap();
    write_small(root.path(), "");
    write_small(&root.path().join("elsewhere"), "");
    let run = |scenario: &str, out: &str, more: &[&str]| {
        let mut arguments = vec!["simulate", scenario, "--out", out];
        arguments.extend(more);
        expect(root.path(), &arguments, 0);
    };
    run("small.yaml", "a", &["--jobs", "1"]);
    run("small.yaml", "b", &["--jobs", "8"]);
    run("elsewhere/small.yaml", "c", &["--seed", "7"]);
    run("small.yaml", "d", &["--seed", "8"]);
    for file in FILES {
        let first = read(&root.path().join("a"), file);
        assert!(!first.is_empty(), "{file}");
        assert_eq!(first, read(&root.path().join("b"), file), "{file} under --jobs 8");
        // What --seed wrote is no default any more, and resolved.yaml says so.
        if file != "resolved.yaml" {
            assert_eq!(first, read(&root.path().join("c"), file), "{file} elsewhere");
        }
        assert!(!first.contains(&root.path().display().to_string()), "{file} holds a path");
    }
    let digests = |out: &str| read(&root.path().join(out), "facts.digest");
    assert_ne!(digests("a"), digests("d"), "another seed is another run");
    assert_eq!(digests("a").lines().count(), 4);
}

#[test]
fn steps_taken_one_by_one_give_the_same_facts() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    expect(root.path(), &["simulate", "small.yaml", "--out", "fast"], 0);
    expect(root.path(), &["simulate", "small.yaml", "--out", "exact", "--exact-steps"], 0);
    let (fast, exact) = (root.path().join("fast"), root.path().join("exact"));
    for file in ["facts.digest", "runs.csv", "outcome.json"] {
        assert_eq!(read(&fast, file), read(&exact, file), "{file}");
    }
    // The scenario is worth it: there are preemptions, and prompts longer than a step's budget.
    let run = &json(&read(&fast, "outcome.json"))["policies"][0]["runs"][0];
    assert!(run["counts"]["preemptions"].as_u64().unwrap() > 0, "{}", run["counts"]);
    let mean_prompt =
        run["counts"]["promptTokens"].as_u64().unwrap() / run["counts"]["finished"].as_u64().unwrap();
    assert!(mean_prompt > 2 * 256, "{mean_prompt}");
}

#[test]
fn the_resolved_scenario_is_the_scenario() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    let sets = ["--set", "policies.one.fixed.replicas=2", "--set", "gateway={ router: powerOfTwo }"];
    let mut arguments = vec!["simulate", "small.yaml", "--out", "first"];
    arguments.extend(sets);
    expect(root.path(), &arguments, 0);
    let resolved = read(&root.path().join("first"), "resolved.yaml");
    assert!(resolved.contains("scrapeInterval: 15s # default"), "{resolved}");
    assert!(!resolved.contains("replicas: 2 # default"), "{resolved}");
    fs::write(root.path().join("again.yaml"), &resolved).unwrap();
    expect(root.path(), &["simulate", "again.yaml", "--out", "second"], 0);
    let digest = |out: &str| read(&root.path().join(out), "facts.digest");
    assert_eq!(digest("first"), digest("second"));
}

#[test]
fn what_init_writes_runs() {
    let root = tempfile::tempdir().unwrap();
    let trace = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/traces/azure_llm_2023_conv.csv");
    let rows: Vec<String> = fs::read_to_string(trace).unwrap().lines().take(300).map(str::to_owned).collect();
    fs::create_dir(root.path().join("my traces")).unwrap();
    fs::write(root.path().join("my traces/t #1.csv"), rows.join("\n")).unwrap();
    fs::create_dir(root.path().join("deep")).unwrap();
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/l40s-llama3.1-8b-vllm.yaml");
    fs::copy(profile, root.path().join("my.yaml")).unwrap();
    let check = |out: &str, more: &[&str]| {
        let mut arguments = vec!["init", "--out", out];
        arguments.extend(more);
        let (stdout, _) = expect(root.path(), &arguments, 0);
        assert!(stdout.contains(out), "{stdout}");
        expect(root.path(), &["validate", out], 0);
        let simulate = ["simulate", out, "--set", "replications=1", "--exit-zero"];
        let (stdout, _) = expect(root.path(), &simulate, 0);
        assert!(stdout.contains("verdict: "), "{stdout}");
        // It overwrites nothing.
        let written = read(root.path(), out);
        let (_, stderr) = expect(root.path(), &arguments, 2);
        assert!(stderr.contains("error[E0406]"), "{stderr}");
        assert_eq!(read(root.path(), out), written);
        written
    };
    let synthetic = check("plain.yaml", &[]);
    assert!(synthetic.contains("poisson") && synthetic.lines().filter(|l| l.contains('#')).count() > 10);
    let traced = check("deep/traced.yaml", &["--trace", "my traces/t #1.csv", "--profile", "my.yaml"]);
    assert!(
        traced.contains("\"../my traces/t #1.csv\"") && traced.contains("profile: ../my.yaml"),
        "{traced}"
    );
    check("workers.yaml", &["--profile", "small-7b-worked-example"]);
    expect(root.path(), &["init", "--out", "x.yaml", "--profile", "no-such"], 2);
    expect(root.path(), &["init", "--out", "x.yaml", "--trace", "plain.yaml"], 2);
    expect(root.path(), &["init", "--out", "no/such/x.yaml"], 2);
    assert!(!root.path().join("x.yaml").exists() && !root.path().join("no").exists());
}

#[test]
fn a_request_is_explained_kept_or_not() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    let simulate = ["simulate", "small.yaml", "--set", "slo.ttft=4s"];
    expect(root.path(), &simulate, 0);
    let outcome = json(&read(&root.path().join("reports/small"), "outcome.json"));
    let run = &outcome["policies"][0]["runs"][1];
    let kept = run["breaches"]["first"][0]["id"].as_u64().expect("some request breached").to_string();
    let explain = |id: &str, more: &[&str], code: i32| {
        let mut arguments = vec!["explain-request", "reports/small/outcome.json", id];
        arguments.extend(more);
        let (stdout, stderr) = expect(root.path(), &arguments, code);
        if code == 0 { stdout } else { stderr }
    };
    let chain = explain(&kept, &["--policy", "one", "--replication", "1"], 0);
    assert!(chain.contains("verdict     late; cause:"), "{chain}");
    // Simulated again with the chains taken out, it is the same text.
    let emptied = {
        let mut outcome = outcome.clone();
        for policy in outcome["policies"].as_array_mut().unwrap() {
            for run in policy["runs"].as_array_mut().unwrap() {
                run["breaches"]["first"] = Value::Array(Vec::new());
            }
        }
        outcome.to_string()
    };
    fs::write(root.path().join("reports/small/outcome.json"), emptied).unwrap();
    assert_eq!(explain(&kept, &["--policy", "one", "--replication", "1"], 0), chain);
    let first = explain("0", &[], 0);
    assert!(first.starts_with("request 0 · one · replication 0"), "{first}");
    assert!(first.contains("it kept the SLO") && first.contains("(SLO ttft 4s, tpot 200ms)"), "{first}");
    // What does not exist.
    assert!(explain("99999", &[], 2).contains("has no request 99999"));
    assert!(explain("0", &["--policy", "two"], 2).contains("one of one, hpa"));
    assert!(explain("0", &["--replication", "2"], 2).contains("no replication 2"));
    // The scenario without what was set is another one.
    let changed = explain("0", &["--scenario", "small.yaml"], 2);
    assert!(changed.contains("error[E0405]"), "{changed}");
    assert_eq!(explain("0", &["--scenario", "small.yaml", "--set", "slo.ttft=4s"], 0), first);
    fs::remove_file(root.path().join("small.yaml")).unwrap();
    assert!(explain("0", &[], 2).contains("--scenario FILE"));
    expect(root.path(), &["explain-request", "nothing.json", "0"], 2);
}

#[test]
fn starts_are_drawn() {
    let root = tempfile::tempdir().unwrap();
    let short = "replica: { readiness: { period: 20s }, weights: { size: 1G }, image: { layers: [ 2G ] } }\n";
    write_small(root.path(), short);
    let sets = ["--set", "workload.duration=10m", "--set", "policies.hpa.hpa.minReplicas=1"];
    expect(root.path(), &[&["simulate", "small.yaml"][..], &sets].concat(), 0);
    let explain = |more: &[&str], code: i32| {
        let mut arguments = vec!["explain-start", "reports/small/outcome.json"];
        arguments.extend(more);
        let (stdout, stderr) = expect(root.path(), &arguments, code);
        if code == 0 { stdout } else { stderr }
    };
    let drawn = explain(&["--policy", "hpa", "--width", "80"], 0);
    assert!(drawn.contains("hpa · replication 0 · the slowest of ") && drawn.contains('█'), "{drawn}");
    assert!(drawn.contains('░') && drawn.lines().skip(2).all(|l| l.chars().count() <= 80), "{drawn}");
    assert!(explain(&[], 0).starts_with("one · replication 0: no replica was started\n"));
    let starts = read(&root.path().join("reports/small"), "starts.csv");
    let replica = starts.lines().find_map(|line| line.strip_prefix("hpa,1,")?.split(',').next()).unwrap();
    let one = explain(&["--policy", "hpa", "--replication", "1", "--replica", replica], 0);
    assert!(one.starts_with(&format!("replica-{replica} · hpa · replication 1\n")), "{one}");
    assert!(explain(&["--policy", "hpa", "--replica", "999"], 2).contains("replica-999 did not start"));
    assert!(explain(&["--policy", "two"], 2).contains("one of one, hpa"));
    assert!(explain(&["--replication", "7"], 2).contains("no replication 7"));
    expect(root.path(), &["explain-start", "nothing.json"], 2);
    // The directory of a run stands for its outcome.
    let by_directory = ["explain-start", "reports/small", "--policy", "hpa", "--width", "80"];
    assert_eq!(expect(root.path(), &by_directory, 0).0, drawn);
    let (_, stderr) = expect(root.path(), &["plot", ".", "timeline", "--out", "a.svg"], 2);
    assert!(stderr.contains("./outcome.json") && stderr.contains("or its directory"), "{stderr}");
}

#[test]
fn profiles_and_traces_are_described() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (list, _) = expect(root, &["profile", "list"], 0);
    assert!(list.contains("h200-llama3.1-70b-fp8-vllm  ") && list.lines().count() >= 8, "{list}");
    let (shown, _) = expect(root, &["profile", "show", "a10g-llama3-8b-vllm"], 0);
    for words in ["weight load", "published", "SOURCES\n[1]", "NOTES\n"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 120), "{shown}");
    let (file, _) = expect(root, &["profile", "show", "profiles/a10g-llama3-8b-vllm.yaml"], 0);
    assert_eq!(file, shown);
    let (checked, _) = expect(root, &["profile", "check", "profiles/a10g-llama3-8b-vllm.yaml"], 0);
    assert!(checked.contains("no faults"), "{checked}");
    let (_, stderr) = expect(root, &["profile", "show", "a10g-llama3-8b-vlm"], 2);
    assert!(stderr.contains("error[E0401]"), "{stderr}");
    let (stats, _) = expect(root, &["trace", "stats", "scenarios/traces/azure_llm_2023_conv.csv"], 0);
    let words: Vec<&str> = stats.split_whitespace().collect();
    for figure in ["19,366", "58.4", "5.53/s", "16/s", "8.45/s", "1.53", "1.09", "16.13", "1,020", "14,050"] {
        assert!(words.contains(&figure), "{figure}: {stats}");
    }
    let (_, stderr) = expect(root, &["trace", "stats", "Cargo.toml"], 2);
    assert!(stderr.contains("docs/your-own-trace.md") && stderr.contains("jsonl"), "{stderr}");
    let (metrics, _) = expect(root, &["explain", "metrics"], 0);
    assert!(metrics.contains("ttft.p99  ") && metrics.contains("cost.perMillionTokens"), "{metrics}");
    assert!(expect(root, &["explain", "slo.breach"], 0).0.contains("less is better"));
}

#[cfg(target_os = "linux")]
#[test]
fn what_stdout_does_not_take_is_no_success() {
    let root = tempfile::tempdir().unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("thawline"));
    let output = command.args(["schema"]).current_dir(root.path()).stdout(full).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("error[E0402]: cannot write to stdout"), "{stderr}");
    // A reader that goes away has seen enough.
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("thawline"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.args(["schema"]).current_dir(root.path()).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}
