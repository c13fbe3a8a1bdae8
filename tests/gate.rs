//! The gate from outside: `compare`, `--baseline` and what they write; and that a change that changes nothing passes it.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{SMALL, expect, write_small};
use serde_json::Value;
use thawline::experiment::{ExperimentOutcome, FailOn, Matrix, PolicyOutcome, Rule, Standing};
use thawline::report::comparison::{Comparison, Options};
use thawline::report::{Baseline, Summary};
use thawline::{scenario, sim};

/// The scenario of the fixtures, in a directory of its own.
fn spike() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["spike.yaml", "hpa.yaml"] {
        fs::copy(here.join("tests/fixtures/gate").join(file), root.path().join(file)).unwrap();
    }
    fs::copy(here.join("scenarios/profiles/two-to-six.yaml"), root.path().join("two-to-six.yaml")).unwrap();
    root
}

fn worsen(root: &Path) {
    let worse = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gate/hpa-worse.yaml");
    fs::copy(worse, root.join("hpa.yaml")).unwrap();
}

#[test]
fn a_worsened_manifest_fails_the_gate_and_is_named() {
    let root = spike();
    let at = root.path();
    expect(at, &["simulate", "spike.yaml", "--write-baseline", "base.json"], 0);
    // The same again: nothing regresses, nothing drifts.
    let (same, _) = expect(at, &["simulate", "spike.yaml", "--baseline", "base.json"], 0);
    assert!(same.contains("verdict: no regression in the 3 figures judged (0 worse, 0 better of"), "{same}");
    let drift = ["simulate", "spike.yaml", "--baseline", "base.json", "--fail-on", "drift"];
    assert!(expect(at, &drift, 0).0.contains("no drift"));
    worsen(at);
    let run = [
        "simulate",
        "spike.yaml",
        "--baseline",
        "base.json",
        "--junit",
        "junit.xml",
        "--code-quality",
        "quality.json",
    ];
    let (text, _) = expect(at, &run, 1);
    // Metric, amount, interval and the changed field, on one line; and it is the last.
    let last = text.lines().last().unwrap();
    let parts = ["verdict: 1 regression: hpa e2e.p99 ", "s -> ", "% [+", "%], more than 1% and 1ms worse"];
    assert!(parts.iter().all(|part| last.contains(part)), "{last}");
    assert!(last.contains("because hpa: behavior.scaleUp.stabilizationWindowSeconds 0 -> 180"), "{last}");
    let line = text.lines().find(|line| line.contains("✗ e2e.p99")).unwrap();
    assert!(line.contains("regression: more than 1% and 1ms") && line.contains('['), "{line}");
    assert_eq!(expect(at, &[&run[..], &["--exit-zero"]].concat(), 0).0.lines().last().unwrap(), last);
    // What it wrote says the same.
    let comparison: Value = json(&at.join("reports/spike/comparison.json"));
    let failed: Vec<&Value> = comparison["policies"][0]["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["regressed"] == true)
        .collect();
    assert_eq!((failed.len(), &failed[0]["metric"]), (1, &"e2e.p99".into()));
    assert_eq!(comparison["policies"][0]["differences"].as_array().unwrap().len(), 1);
    assert!(read(&at.join("reports/spike/comparison.md")).contains("| ✗ e2e.p99 |"));
    let junit = read(&at.join("junit.xml"));
    assert!(junit.contains("<failure type=\"regression\" message=\"hpa e2e.p99 "), "{junit}");
    let issues = json(&at.join("quality.json"));
    assert_eq!((issues[0]["check_name"].as_str(), issues.as_array().unwrap().len()), (Some("E0902"), 1));
    assert_eq!(issues[0]["location"], serde_json::json!({ "path": "spike.yaml", "lines": { "begin": 18 } }));
    // A wider margin lets it pass; the drift is named with its figures.
    let lenient = ["simulate", "spike.yaml", "--baseline", "base.json", "--fail-on", "e2e.p99:1000%"];
    expect(at, &lenient, 0);
    let (drifted, _) = expect(at, &drift, 1);
    assert!(
        drifted.contains("drift hpa/0 e2e.p99  ") && drifted.contains("drift hpa/0 facts  "),
        "{drifted}"
    );
    assert!(!drifted.contains("drift fixed"), "{drifted}");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&read(path)).unwrap()
}

#[test]
fn compare_takes_outcomes_baselines_and_policies() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path();
    write_small(at, "");
    let set = ["--set", "policies.one.fixed.replicas=2", "--set", "name=bigger"];
    expect(at, &["simulate", "small.yaml", "--write-baseline", "small.json"], 0);
    expect(
        at,
        &[&["simulate", "small.yaml", "--seed", "8", "--write-baseline", "other.json"], &set[..]].concat(),
        0,
    );
    expect(at, &[&["simulate", "small.yaml", "--out", "bigger"], &set[..]].concat(), 0);
    let compare = |arguments: &[&str], code: i32| {
        let (stdout, stderr) = expect(at, &[&["compare"], arguments].concat(), code);
        format!("{stdout}{stderr}")
    };
    let check = |arguments: &[&str], code: i32, parts: &[&str]| {
        let text = compare(arguments, code);
        assert!(parts.iter().all(|part| text.contains(part)), "{arguments:?} lacks one of {parts:?}\n{text}");
        assert!(!text.contains("NaN"), "{text}");
    };
    let why = "one: replicas  1 -> 2      (the only difference between the two resolved scenarios)";
    let paired = "(paired on 2 common seeds, 95 % interval)";
    let outcome = "bigger/outcome.json";
    check(
        &["--base", "small.json", outcome, "--level", "50%", "--exit-zero"],
        0,
        &[why, "paired on 2 common seeds, 50 %"],
    );
    check(&["--base", "small.json", outcome, "--exit-zero"], 0, &[paired, "✗ cost.total", "verdict: "]);
    // Seeds that differ are never paired.
    check(
        &["--base", "small.json", "other.json", "--exit-zero"],
        0,
        &["not paired: seeds 7 and 8", "Welch's t", "seed  7 -> 8"],
    );
    let two = ["--base", "small.json", "--base-policy", "one", "--policy", "hpa"];
    check(&[&two[..], &["--exit-zero"]].concat(), 0, &["one -> hpa", "kind of policy  fixed -> hpa", paired]);
    check(
        &["--base", "small.json", outcome, "--metrics", "utilisation,coldStarts", "--exit-zero"],
        0,
        &["utilisation"],
    );
    let markdown = compare(&["--base", "small.json", outcome, "--format", "markdown", "--exit-zero"], 0);
    assert!(markdown.contains("| one | base | new | change | interval | |\n|---|"), "{markdown}");
    let text =
        compare(&["--base", "small.json", outcome, "--format", "json", "--metrics", "all", "--exit-zero"], 0);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&document["paired"], &document["baseRuns"]), (&true.into(), &2.into()));
    assert!(document["policies"][0]["metrics"].as_array().unwrap().len() > 40);
    // What is wrong is said at once, and ends in 2.
    check(&["--base", "small.json"], 2, &["E0905", "--base-policy A --policy B"]);
    check(&["--base", "small.json", "--policy", "one"], 2, &["E0905", "compared with itself"]);
    let directory = Path::new(outcome).parent().unwrap().to_str().unwrap();
    let (by_file, by_directory) = (["--base", "small.json", outcome], ["--base", "small.json", directory]);
    assert_eq!(compare(&by_file, 1), compare(&by_directory, 1));
    check(
        &["--base", "small.json", "--policy", "x", "--base-policy", "y"],
        2,
        &["no policy `x`", "no policy `y`", "2 errors"],
    );
    check(
        &["--base", "none.json", "small.yaml", "--fail-on", "ttft.p9"],
        2,
        &["none.json", "small.yaml", "did you mean `ttft.p9", "3 errors"],
    );
    check(&["--base", "small.json", outcome, "--level", "0"], 2, &["a share above 0"]);
    let mut unlike = json(&at.join("small.json"));
    unlike["policies"][0]["name"] = "three".into();
    unlike["policies"][1]["name"] = "four".into();
    fs::write(at.join("unlike.json"), unlike.to_string()).unwrap();
    check(&["--base", "small.json", "unlike.json"], 2, &["E0905", "one, hpa", "three, four"]);
    unlike["policies"][1]["name"] = "hpa".into();
    unlike["policies"][1]["runs"][1]["metrics"]["ttft.p99"] = "infinite".into();
    fs::write(at.join("unlike.json"), unlike.to_string()).unwrap();
    let said = [
        "three: is not in the baseline",
        "one: is in the baseline only",
        "infinite in 0 of 2 -> 1 of 2 runs",
        ">timeout",
    ];
    check(&["--base", "small.json", "unlike.json"], 1, &said);
}

#[test]
fn a_baseline_that_cannot_be_used_is_found_before_the_run() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path();
    write_small(at, "");
    fs::write(at.join("old.json"), r#"{ "schemaVersion": 1 }"#).unwrap();
    let check = |arguments: &[&str], parts: &[&str]| {
        let (stdout, stderr) = expect(at, &[&["simulate", "small.yaml"], arguments].concat(), 2);
        assert!(
            stdout.is_empty() && parts.iter().all(|part| stderr.contains(part)),
            "{arguments:?}: {stderr}"
        );
        assert!(!at.join("reports").exists(), "{arguments:?}");
    };
    check(&["--baseline", "none.json"], &["E0401", "none.json"]);
    check(&["--baseline", "old.json"], &["schema version is 1"]);
    check(
        &["--baseline", "small.yaml", "--fail-on", "x:y", "--fail-on", "ttft.p99:z"],
        &["3 errors", "E0904", "E0401"],
    );
    check(&["--fail-on", "ttft.p99"], &["--baseline"]);
    check(&["--write-baseline", "missing/base.json"], &["E0402", "missing/base.json"]);
    check(&["--junit", "."], &["E0402", "it is no file"]);
    let without = format!(
        "{{{}}}",
        r#""schemaVersion": 2, "scenario": "a", "profile": "", "workload": "", "seed": 7, "replications": 1,
        "spanNs": 1, "requests": 1, "resolved": {}, "policies": [{ "name": "three", "runs": [] }]"#
    );
    fs::write(at.join("without.json"), without).unwrap();
    check(&["--baseline", "without.json"], &["E0905", "the base has three", "one, hpa"]);
}

#[test]
fn github_is_told_where_a_gate_failed() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "gates:\n  - requests.arrived > 1\n  - { gate: ttft.p99 < 1ms, for: [one] }\n");
    let run = |more: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("thawline").unwrap();
        command.current_dir(root.path()).args(["simulate", "small.yaml"]).args(more);
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", root.path().join("step.md"));
        let output = command.output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let line = SMALL.lines().count() + 3;
    let (stdout, _) = run(&[]);
    let expected = format!("::error file=small.yaml,line={line},");
    assert!(
        stdout.contains(&expected) && stdout.contains("gate `ttft.p99 < 1ms` is not settled"),
        "{stdout}"
    );
    assert_eq!(stdout.matches("::error").count(), 1);
    let (stdout, stderr) = run(&["--format", "json", "--exit-zero"]);
    serde_json::from_str::<Value>(&stdout).unwrap();
    assert!(stderr.contains("::warning file=small.yaml") && !stderr.contains("::error"), "{stderr}");
    // Both runs have added theirs, each with its marker at the end.
    let step = read(&root.path().join("step.md"));
    assert_eq!(step.matches("<!-- thawline: small -->").count(), 2);
}

#[test]
fn validate_speaks_sarif_and_gitlab() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = "tests/bad/two-sections.yaml";
    let (stdout, _) = expect(here, &["validate", file, "--format", "sarif"], 2);
    let log: Value = serde_json::from_str(&stdout).unwrap();
    let run = &log["runs"][0];
    assert_eq!(run["results"].as_array().unwrap().len(), 2);
    assert_eq!(run["results"][0]["ruleId"], "E0205");
    let place = &run["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!((&place["artifactLocation"]["uri"], &place["region"]["startLine"]), (&file.into(), &6.into()));
    let (stdout, _) = expect(here, &["validate", file, "--format", "gitlab"], 2);
    let issues: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&issues[0]["check_name"], &issues[0]["location"]["lines"]["begin"]),
        (&"E0205".into(), &6.into())
    );
}

/// A minute of Poisson traffic that two replicas are barely enough for, and an HPA that has to see that.
const NOISY: &str = "\
name: noisy
profile: two-to-six.yaml
workload:
  poisson: { rate: 8 }
  duration: 90s
  lengths: { constant: { promptTokens: 200, outputTokens: 50 } }
engine: { workers: { workers: 4, service: 800ms } }
cluster: { pools: { gpus: { gpusPerNode: 1, minNodes: 2, maxNodes: 8, provision: { median: 5s, p95: 20s } } } }
slo: { e2e: 1s }
policies:
  fixed: { fixed: { replicas: 2 } }
  hpa:
    hpa:
      minReplicas: 2
      maxReplicas: 6
      metrics:
        - type: External
          external:
            metric: { name: gateway_requests_per_second }
            target: { type: AverageValue, averageValue: 4 }
replications: 5
";

fn simulated(seed: u64, sets: &[&str]) -> Baseline {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios/profiles");
    let mut assignments = vec![format!("seed={seed}")];
    assignments.extend(sets.iter().map(|set| (*set).to_owned()));
    let scenario = scenario::parse("noisy.yaml", NOISY, &assignments, directory).unwrap();
    let resolved = scenario::resolve(&scenario, false).unwrap();
    let specs: Vec<_> = resolved.policies.values().collect();
    let matrix = Matrix { policies: specs.len(), replications: resolved.header.replications, jobs: 0 };
    let one = |policy: usize, replication: u32| {
        let running = specs[policy].build(&resolved.simulation.setting);
        sim::run(&resolved.simulation, running, replication, None).map(|(outcome, _)| outcome)
    };
    let runs = matrix.run(one, |_| ()).unwrap();
    let named = resolved.policies.keys().cloned().zip(runs);
    let policies = named.map(|(name, runs)| PolicyOutcome { name, runs }).collect();
    let as_run = resolved.to_value();
    Baseline::from(&Summary::new(ExperimentOutcome {
        header: resolved.header,
        gates: resolved.gates,
        lenient: false,
        policies,
        foresight: None,
        resolved: as_run,
    }))
}

/// Rules without any margin: the hardest there are for what only looks like a change.
fn strict() -> Vec<Rule> {
    let texts = [
        "ttft.p50:0%",
        "ttft.p99:0%",
        "e2e.mean:0%",
        "slo.breach:0%",
        "cost.total:0%",
        "coldStarts:0%",
        "utilisation:0%",
    ];
    let rule = |text: &str| match FailOn::parse(text).unwrap() {
        FailOn::Metric(rule) => rule,
        FailOn::Drift => panic!("{text}"),
    };
    texts.into_iter().map(rule).collect()
}

#[test]
fn a_change_of_nothing_rarely_fails_and_a_real_one_does() {
    let options = Options { rules: strict(), ..Options::default() };
    let (mut failed, mut marked, mut scattered) = (0, 0, 0);
    for trial in 0..200 {
        let (base, new) = (simulated(2 * trial, &[]), simulated(2 * trial + 1, &[]));
        let comparison = Comparison::new(("base", "new"), &base, &new, &options);
        assert!(!comparison.paired, "disjoint seeds share nothing");
        failed += usize::from(comparison.fails());
        let is_marked = comparison.lines().any(|line| line.finding.standing != Standing::Unchanged);
        marked += usize::from(is_marked);
        scattered += usize::from(
            comparison.judged() >= 10 && comparison.lines().any(|l| l.finding.difference != Some(0.0)),
        );
    }
    assert_eq!(scattered, 200, "there is noise, and much that is judged");
    // At 5 % ten are expected, and more than 17 in 1 % of all times.
    assert!(failed <= 17, "{failed} of 200 failed");
    assert!(marked <= 17, "{marked} of 200 were marked");
    // The same machinery sees what is there.
    let slower = ["engine={ workers: { workers: 4, service: 1100ms } }"];
    let seen = (0..10).filter(|trial| {
        let (base, new) = (simulated(1000 + 2 * trial, &[]), simulated(1001 + 2 * trial, &slower));
        Comparison::new(("base", "new"), &base, &new, &options).fails()
    });
    assert_eq!(seen.count(), 10);
    println!("{failed} of 200 failed, {marked} were marked");
}
