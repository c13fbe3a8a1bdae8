//! `thawline plan` from outside: what it sizes, that its policy can be pasted, and what it refuses.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod common;

use std::fs;
use std::path::Path;

use common::expect;
use serde_json::Value;

/// A request in ten seconds, and for ten minutes two a second. A replica serves one in two seconds at most, and starts in 73 s.
const SPIKE: &str = "\
name: spike
profile: small-7b-worked-example
workload:
  spike: { baseRate: 0.1, peakRate: 2, from: 30m, for: 10m, spacing: even }
  duration: 1h
  lengths: { constant: { promptTokens: 10, outputTokens: 10 } }
engine: { workers: { workers: 1, service: 2s } }
replica: { readiness: { period: 1s } }
cluster: { pools: { gpus: { gpusPerNode: 1, minNodes: 9, maxNodes: 9, pricePerGpuHour: $1 } } }
slo: { e2e: 40s }
policies:
  mine: { fixed: { replicas: 1 } }
replications: 2
";

fn write(directory: &Path, text: &str) {
    fs::write(directory.join("spike.yaml"), text).unwrap();
}

fn planned(directory: &Path, more: &[&str], code: i32) -> Value {
    let (stdout, _) = expect(directory, &[&["plan", "spike.yaml", "--format", "json"], more].concat(), code);
    serde_json::from_str(&stdout).unwrap()
}

#[test]
fn a_spike_is_sized_and_the_plan_holds() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), SPIKE);
    let found = planned(root.path(), &[], 0);
    let figure = |pointer: &str| found.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let near = |pointer: &str, expected: f64| {
        assert!((figure(pointer) - expected).abs() < 1e-9, "{pointer}: {}", figure(pointer));
    };
    let capacity = figure("/capacityPerS");
    assert!((0.42..0.5).contains(&capacity), "a request in two seconds at most: {capacity}");
    // 300 requests in 50 minutes and 1,200 in ten: one replica serves the mean, and the rise comes at once.
    near("/load/requests", 1500.0);
    near("/load/mean/perS", 1500.0 / 3600.0);
    near("/load/peak/perS", 2.0);
    near("/starts/p90/rise/fromPerS", 0.1);
    near("/starts/p90/carried/fromPerS", capacity);
    near("/starts/p90/quotient", (2.0 - capacity) / capacity);
    assert_eq!(found["plan"]["minReplicas"], 1);
    assert_eq!(found["plan"]["spare"], 4);
    assert_eq!(found["plan"]["maxReplicas"], 5);
    near("/tried/0/computed/monthlyUsd", 5.0 * 730.0);
    let tried = |index: usize, what: &str| found["tried"][index]["simulated"][what].clone();
    assert_eq!([0, 1, 2].map(|index| tried(index, "holds")), [true, true, false], "{found}");
    assert_eq!(found["plan"]["holds"], true);
    // Four serve two a second; of three the queue would be 300 after ten minutes, 200 s long.
    near("/fewestFixed/replicas", 4.0);
}

#[test]
fn bytes_do_not_depend_on_jobs_and_the_policy_can_be_pasted() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), SPIKE);
    let text = |jobs: &str| expect(root.path(), &["plan", "spike.yaml", "--jobs", jobs], 0).0;
    let printed = text("1");
    assert_eq!(printed, text("8"));
    assert!(printed.contains("\nThe plan holds: "), "{printed}");
    let policies = &printed[printed.find("\npolicies:\n").unwrap()..];
    let own = SPIKE.find("policies:").unwrap();
    write(root.path(), &format!("{}gates: [ slo.breach < 5% ]{policies}", &SPIKE[..own]));
    let (_, stderr) = expect(root.path(), &["simulate", "spike.yaml"], 0);
    assert_eq!(stderr, "");
}

#[test]
fn a_plan_that_does_not_hold_fails_and_says_why() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), SPIKE);
    // The HPA hears of the spike minutes after it began, and what was saved up by then outlasts the spares.
    let (stdout, _) = expect(root.path(), &["plan", "spike.yaml", "--set", "telemetry.scrapeInterval=4m"], 1);
    assert!(stdout.contains("\nThe plan does not hold: "), "{stdout}");
    assert!(stdout.contains(" What led is `image pull`, with "), "{stdout}");
}

#[test]
fn a_plan_is_not_judged_by_the_adapter_of_the_scenario() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), SPIKE);
    let plain = planned(root.path(), &[], 0);
    let rule = "{ seriesQuery: \"vllm:num_requests_waiting\", metricsQuery: \"sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\", resources: { overrides: { namespace: { resource: namespace }, pod: { resource: pod } } } }";
    let adapter = format!("telemetry.adapter={{ rules: [{rule}] }}");
    let with = planned(root.path(), &["--set", &adapter], 0);
    assert_eq!(with["tried"], plain["tried"]);
}

#[test]
fn what_cannot_be_sized_is_refused() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), SPIKE);
    let check = |set: &[&str], code: &str, message: &str| {
        let sets = set.iter().flat_map(|set| ["--set", *set]);
        let arguments: Vec<&str> = ["plan", "spike.yaml"].into_iter().chain(sets).collect();
        let (stdout, stderr) = expect(root.path(), &arguments, 2);
        assert_eq!(stdout, "");
        assert!(stderr.contains(&format!("error[{code}]: ")) && stderr.contains(message), "{stderr}");
        assert!(stderr.contains("help: "), "{stderr}");
        stderr
    };
    let poisson = "workload={ poisson: { rate: 1 }, duration: 1m, lengths: { constant: { promptTokens: 1, outputTokens: 1 } } }";
    check(&["slo=null"], "E0316", "there is none");
    check(&["slo.e2e=1s"], "E0316", "it has no capacity");
    check(&[poisson], "E0608", "the traffic lasts 1m, and a cold start 1m13s");
    let late = "workload.spike={ baseRate: 0, peakRate: 2, from: 3601s, for: 3s, spacing: even }";
    check(&["workload.duration=3605s", late], "E0608", "no request comes before 1h");
    let pool = "cluster.pools.gpus={ gpusPerNode: 1, minNodes: 5, maxNodes: 5 }";
    let small =
        check(&[pool], "E0608", "5 replicas at its peak and 4 spares, 9 together, and the pools hold 5");
    assert!(small.contains("`--set cluster.pools.gpus.maxNodes=9`"), "{small}");
    let both = check(&[poisson, "slo=null"], "E0608", "error[E0316]");
    assert!(both.contains("2 errors"), "{both}");
    expect(root.path(), &["plan", "nothing.yaml"], 2);
    assert!(
        expect(root.path(), &["plan", "--help"], 0).0.contains("thawline plan scenarios/quickstart.yaml")
    );
}
