//! Bad input of every kind, through the program: it ends with 2, says everything that is wrong with
//! its place and the mend, and leaves nothing behind.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use common::{SMALL, expect, names, thawline, write_small};

/// Simulates the small scenario with assignments, expects exit code 2 and nothing new in the directory.
fn refused(directory: &Path, sets: &[&str]) -> String {
    let before = names(directory);
    let mut arguments = vec!["simulate", "small.yaml"];
    for set in sets {
        arguments.extend(["--set", set]);
    }
    let (stdout, stderr) = expect(directory, &arguments, 2);
    assert_eq!(stdout, "");
    assert_eq!(names(directory), before, "something was left behind");
    stderr
}

fn csv(rows: impl IntoIterator<Item = String>) -> String {
    let rows: Vec<String> = rows.into_iter().collect();
    format!("t,prompt,output\n{}\n", rows.join("\n"))
}

const CSV: &str = "workload={ csv: { file: t.csv, columns: { arrival: t, promptTokens: prompt, outputTokens: output }, time: { unit: s } } }";

#[test]
fn traces_at_fault_are_shown_row_and_column() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    let check = |trace: &str, expected: &[&str]| {
        fs::write(root.path().join("t.csv"), trace).unwrap();
        let stderr = refused(root.path(), &[CSV]);
        for words in expected {
            assert!(stderr.contains(words), "{words}\n{stderr}");
        }
    };
    // The first row of data is line 2.
    let row = |n: u32| match n {
        7_430 => "743.0,12x,5".to_owned(),
        7_500 => "750.0,12,-5".to_owned(),
        8_000 => "1.0,12,5".to_owned(),
        _ => format!("{}.{},12,5", n / 10, n % 10),
    };
    check(
        &csv((0..9_000).map(row)),
        &[
            "t.csv:7432:7\n",
            "7432 | 743.0,12x,5\n",
            "^^^",
            "t.csv:7502:10\n",
            "error[E0602]",
            "t.csv:8002:1\n",
            "3 errors",
        ],
    );
    check("", &["error[E060", "t.csv"]);
    check("t,prompt,output\n", &["error[E0603]: the trace is empty"]);
    check("t,prompts,output\n1,2,3\n", &["error[E0605]", "`prompt`", "t.csv:1:"]);
    check("t,prompt,output\n1,2\n", &["t.csv:2:"]);
    check(
        "t,prompt,output,prompt\n1,2,3,4\n",
        &["error[E0605]", "the column `prompt` stands twice", "t.csv:1:17\n", "rename or remove one"],
    );
    check(
        "t,prompt,output\n1,2,3\n2,1,024,3\n3,1,2,\n",
        &["error[E0601]", "has 4 fields, and the header names 3", "t.csv:3:9\n", "t.csv:4:", "in quotes"],
    );
    check("t;prompt;output\n1;2;3\n", &["error[E0604]", "separator of this file is `;`", "by commas"]);
    check("t\tprompt\toutput\n1\t2\t3\n", &["separator of this file is a tab", "t.csv:1:2\n"]);
    let twice = CSV.replace("outputTokens: output", "outputTokens: prompt");
    let stderr = refused(root.path(), &[&twice]);
    let words = "the column `prompt` is named for promptTokens and outputTokens";
    assert!(stderr.contains("error[E0311]") && stderr.contains(words), "{stderr}");
    // A comma within quotes moves nothing.
    fs::write(root.path().join("t.csv"), "t,prompt,output,note\n1,2,3,\"a,b\"\n9,2,3,\n").unwrap();
    expect(root.path(), &["validate", "small.yaml", "--set", CSV], 0);
    fs::remove_file(root.path().join("t.csv")).unwrap();
    let stderr = refused(root.path(), &[CSV]);
    assert!(stderr.contains("error[E0401]") && stderr.contains("t.csv"), "{stderr}");
    assert!(stderr.contains("paths are relative to the scenario"), "{stderr}");
}

#[test]
fn times_that_look_like_another_unit_are_warned_of() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    let stderr = |trace: &str| {
        fs::write(root.path().join("t.csv"), trace).unwrap();
        let (stdout, stderr) = expect(root.path(), &["validate", "small.yaml", "--set", CSV], 0);
        stdout + &stderr
    };
    let warned = stderr("t,prompt,output\n1770000000000,12,5\n1770000001000,12,5\n");
    assert!(warned.contains("warning[W0112]") && warned.contains("unit: ms"), "{warned}");
    for right in ["1770000000,12,5\n1770000001,12,5", "0,12,5\n1,12,5"] {
        let said = stderr(&format!("t,prompt,output\n{right}\n"));
        assert!(!said.contains("W0112") && !said.contains("one instant"), "{said}");
    }
    let one = stderr("t,prompt,output\n0,12,5\n");
    assert!(one.contains("is of one instant"), "{one}");
}

#[test]
fn nothing_is_taken_away_by_an_empty_value() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    for set in ["slo.ttft=", "gates= "] {
        let stderr = refused(root.path(), &[set]);
        assert!(
            stderr.contains("error[E0207]: nothing is given for") && stderr.contains("=null"),
            "{stderr}"
        );
    }
    expect(root.path(), &["validate", "small.yaml", "--set", "gates=[]", "--set", "foresight=null"], 0);
}

#[test]
fn a_gate_for_no_policy_is_refused() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    let stderr = refused(root.path(), &["gates=[{ gate: ttft.p99 < 2s, for: [] }]"]);
    assert!(stderr.contains("error[E0302]: `for` names no policy"), "{stderr}");
}

#[test]
fn a_model_that_does_not_fit_comes_with_the_arithmetic() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    let stderr = refused(root.path(), &["engine={ continuous: { gpuMemoryUtilization: 0.3 } }"]);
    for words in ["error[E0501]", "does not fit", "short by", "weights", "x 0.3 =", "\nhelp: "] {
        assert!(stderr.contains(words), "{words}\n{stderr}");
    }
}

#[test]
fn values_without_sense_are_refused_where_they_stand() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    let check = |set: &str, code: &str| {
        let stderr = refused(root.path(), &[set]);
        let pointed = stderr.contains("--> --set:1:") || stderr.contains("--> small.yaml:");
        assert!(stderr.contains(code) && pointed && stderr.contains('^'), "{set}: {stderr}");
    };
    check("telemetry.scrapeInterval=0s", "E0306");
    check("telemetry.timelineStep=0s", "E0306");
    check("telemetry.timelineStep=1ns", "E0315");
    check("replica.readiness.period=0s", "E0306");
    check("replications=0", "E0306");
    check("replications=4294967295", "E0315");
    check("policies={}", "E0308");
    check("policies.one.fixed.replicas=0", "E0310");
    check("policies.hpa.hpa.controller.syncPeriod=0s", "E0310");
    check("engine={ workers: { workers: 0, service: 80ms } }", "E0306");
    check("engine.continuous.kvCacheTokens=0", "E0306");
    check("engine.continuous.maxModelLen=0", "E0306");
    check("engine.continuous.maxNumBatchedTokens=0", "E0305");
    check("cluster.pools.gpu.gpusPerNode=0", "E0306");
    check("cluster.pools.gpu.maxNodes=4294967295", "E0315");
    check("initial.replicas=4294967295", "E0304");
    check("workload.poisson.rate=0", "E0311");
    check("workload.duration=0s", "E0311");
    check("workload.rateScale={ superpose: 0 }", "E0311");
    check("slo={}", "E0309");
    check("gates=[ ttft.p99 < banana ]", "E0301");
    check("profile=no-such-profile", "E0401");
    let cpu = "policies.hpa.hpa.metrics=[{ type: Resource, resource: { name: cpu, target: { type: AverageValue, averageValue: 2 } } }]";
    let stderr = refused(root.path(), &["profile=h200-llama3.1-70b-fp8-vllm", cpu]);
    assert!(stderr.contains("error[E0313]") && stderr.contains("has no CPU model"), "{stderr}");
}

#[test]
fn faults_of_scenario_profile_and_trace_come_together() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    fs::write(root.path().join("p.yaml"), "schemaVersion: 1\nname: p\n").unwrap();
    fs::write(root.path().join("t.csv"), "t,prompt,output\n1,2,x\n").unwrap();
    let stderr =
        refused(root.path(), &["telemetry.scrapeInterval=0s", "profile=p.yaml", CSV, "replications=0"]);
    for words in ["scrapeInterval", "p.yaml:1:", "t.csv:2:5", "`replications` must not be zero"] {
        assert!(stderr.contains(words), "{words}\n{stderr}");
    }
}

#[test]
fn an_output_directory_that_cannot_be_is_found_before_the_runs() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    fs::write(root.path().join("file"), "in the way").unwrap();
    let before = names(root.path());
    let (stdout, stderr) = expect(root.path(), &["simulate", "small.yaml", "--out", "file/below"], 2);
    assert!(stdout.is_empty() && stderr.contains("error[E0402]"), "{stderr}");
    assert!(stderr.contains("--out DIR"), "{stderr}");
    assert_eq!(names(root.path()), before);
    // What was there stays as it was.
    let out = root.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::create_dir(out.join("runs.csv")).unwrap();
    fs::write(out.join("outcome.json"), "old").unwrap();
    expect(root.path(), &["simulate", "small.yaml", "--out", "out"], 2);
    assert_eq!(fs::read(out.join("outcome.json")).unwrap(), b"old");
    assert_eq!(names(&out), ["outcome.json", "runs.csv"]);
}

/// Bytes without any order, the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn noise_and_deep_nesting_are_errors_and_no_crash() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    let azure = "workload={ azure: { file: noise } }";
    let mooncake = "workload={ mooncake: { file: noise } }";
    let deep = |open: &str| open.repeat(20_000).into_bytes();
    let ascii = |seed| noise(seed, 3_000).iter().map(|byte| byte % 96 + 31).collect::<Vec<u8>>();
    let gzip = [&[0x1f, 0x8b, 8, 0][..], &noise(9, 500)].concat();
    let inputs =
        [noise(1, 5_000), noise(2, 1), ascii(3), gzip, deep("["), deep("{a: "), deep("- "), vec![0; 4_096]];
    for (index, bytes) in inputs.iter().enumerate() {
        fs::write(root.path().join("noise"), bytes).unwrap();
        for sets in [&["profile=noise"][..], &[azure], &[mooncake]] {
            let stderr = refused(root.path(), sets);
            assert!(stderr.contains("error[E"), "input {index}, {sets:?}: {stderr}");
        }
        let before = names(root.path());
        for arguments in [
            &["simulate", "noise"][..],
            &["validate", "noise"],
            &["profile", "check", "noise"],
            &["trace", "stats", "noise"],
            &["init", "--trace", "noise"],
            &["init", "--profile", "noise"],
            &["explain-request", "noise", "1"],
        ] {
            let (stdout, stderr) = expect(root.path(), arguments, 2);
            assert!(
                stdout.is_empty() && stderr.contains("error[E"),
                "input {index}, {arguments:?}: {stderr}"
            );
        }
        assert_eq!(names(root.path()), before);
    }
}

/// Every prefix of a scenario, and every line left out: an answer, and never a panic.
#[test]
fn parts_of_a_scenario_are_answered() {
    let root = tempfile::tempdir().unwrap();
    let lines: Vec<&str> = SMALL.lines().collect();
    for left_out in 0..lines.len() {
        let mut text = String::new();
        for (index, line) in lines.iter().enumerate() {
            if index != left_out {
                _ = writeln!(text, "{line}");
            }
        }
        for text in [text, lines[..left_out].join("\n")] {
            fs::write(root.path().join("part.yaml"), &text).unwrap();
            let output = thawline(root.path(), &["validate", "part.yaml"]);
            let code = output.status.code();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(matches!(code, Some(0 | 2)) && !stderr.contains("panicked"), "{text}\n{stderr}");
            assert_eq!(code == Some(2), stderr.contains("error[E"), "{stderr}");
        }
    }
}
