//! `thawline whatif` from outside: that its rows are runs like any others, that known answers come out, and what it refuses.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::expect;
use serde_json::Value;
use thawline::scenario::whatif::{Trials, named, policies};
use thawline::scenario::{load, resolve};
use thawline::sim;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scenarios() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("scenarios")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    files
}

fn whatif(directory: &Path, file: &str, more: &[&str]) -> Value {
    let arguments = [&["whatif", file, "--format", "json"], more].concat();
    serde_json::from_str(&expect(directory, &arguments, 0).0).unwrap()
}

fn row<'a>(found: &'a Value, name: &str) -> &'a Value {
    let rows = found["rows"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name}: {found}"))
}

/// A step that comes to stay. A replica serves two a second, and the weights take a minute of its start, the image two.
const STEP: &str = "\
name: step
profile: small-7b-worked-example
workload:
  spike: { baseRate: 1, peakRate: 5, from: 10m, for: 20m }
  duration: 30m
  lengths: { constant: { promptTokens: 10, outputTokens: 10 } }
engine: { workers: { workers: 1, service: 500ms } }
replica: { readiness: { period: 1s } }
cluster: { pools: { gpus: { gpusPerNode: 1, maxNodes: 8, pricePerGpuHour: $1 } } }
slo: { e2e: 20s }
policies:
  mine:
    hpa:
      minReplicas: 1
      maxReplicas: 5
      metrics:
        - type: External
          external: { metric: { name: gateway_requests_per_second }, target: { type: AverageValue, averageValue: 1 } }
  other: { fixed: { replicas: 3 } }
gates: [ slo.breach < 1% ]
replications: 3
";

fn write(directory: &Path) {
    fs::write(directory.join("step.yaml"), STEP).unwrap();
}

#[test]
fn every_scenario_can_be_asked() {
    for file in scenarios() {
        let names = policies(&file, &[]).unwrap();
        let all = named(&[], &[]).unwrap();
        // Policies of a scenario share all but themselves: the last is as good as any.
        let policy = names.last().unwrap();
        let trials = Trials::prepare(&file, &[], policy, &all, &[]).unwrap();
        assert_eq!(trials.variants.len() + trials.untried.len(), all.len(), "{}", file.display());
        assert!(trials.variants.len() > 4, "{}: {:?}", file.display(), trials.untried);
        assert!(
            trials.untried.iter().all(|own| !own.why.is_empty()),
            "{}: {:?}",
            file.display(),
            trials.untried
        );
    }
}

#[test]
fn a_row_is_the_run_of_its_assignments() {
    let check = |file: &str, policy: &str, names: &[&str]| {
        let file = root().join("scenarios").join(file);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let trials = Trials::prepare(&file, &[], policy, &named(&names, &[]).unwrap(), &[]).unwrap();
        assert_eq!(trials.variants.len(), names.len(), "{:?}", trials.untried);
        for variant in &trials.variants {
            // As `simulate --set` reads it: with all policies, and the traffic read anew.
            let plain = resolve(&load(&file, &variant.sets).unwrap(), false).unwrap();
            let digest = |resolved: &thawline::scenario::Resolved| {
                let running = resolved.policies[policy].build(&resolved.simulation.setting);
                sim::run(&resolved.simulation, running, 1, None).unwrap().0.facts_digest
            };
            assert_eq!(digest(&plain), digest(&variant.resolved), "{policy} {:?}", variant.sets);
        }
    };
    check("quickstart.yaml", "hpa", &["spare", "image-on-node", "scrape-5s", "up-at-once"]);
    check("keep-warm.yaml", "spare", &["no-warm-pool", "keep-warm", "weights-on-node"]);
    check("hpa-vs-keda.yaml", "eks", &["spare", "target-lower", "down-later", "maximum-raised"]);
    check("scale-to-zero.yaml", "knative", &["minimum-raised", "target-lower"]);
}

#[test]
fn manifests_stay_where_they_are() {
    let file = root().join("scenarios/hpa-vs-keda.yaml");
    let sets_of = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let spare = named(&["spare".to_owned()], &[]).unwrap();
        Trials::prepare(&file, &sets, "hpa", &spare, &[]).unwrap().variants.remove(0).sets
    };
    let by_name = "policies.hpa={ warmPool: { spare: 1, over: { hpa: { manifest: manifests/hpa.yaml } } } }";
    assert_eq!(sets_of(&[]), [by_name]);
    // What is set within what a manifest brings has no place but in the whole of it.
    let written_out = sets_of(&["policies.hpa.hpa.metrics[0].pods.target.averageValue=7"]);
    assert!(
        written_out[0].contains("averageValue: 7") && !written_out[0].contains("manifest"),
        "{written_out:?}"
    );
}

#[test]
fn as_it_is_is_what_simulate_says() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path());
    let metrics = ["ttft.p99", "slo.breach", "cost.monthly", "cost.buffer", "coldStarts.median"];
    let found = whatif(
        directory.path(),
        "step.yaml",
        &["--policy", "mine", "--only", "image-on-node", "--metrics", &metrics.join(",")],
    );
    let (simulated, _) =
        expect(directory.path(), &["simulate", "step.yaml", "--format", "json", "--exit-zero"], 0);
    let simulated: Value = serde_json::from_str(&simulated).unwrap();
    let own = &simulated["policies"][0];
    assert_eq!(own["name"], "mine");
    for (index, metric) in metrics.iter().enumerate() {
        let expected = &own["summary"]["metrics"][metric];
        assert!(expected["mean"].is_number(), "{metric}: {expected}");
        assert_eq!(found["base"]["figures"][index]["value"]["mean"], expected["mean"], "{metric}");
    }
}

#[test]
fn what_is_known_comes_out() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path());
    let ask = |more: &[&str]| whatif(directory.path(), "step.yaml", &[&["--policy", "mine"], more].concat());
    // The profile's start is 40 s of image, 25 s of weights and 6 s of warm-up: without the image it is 40 s shorter, and no luck is in it.
    let found = ask(&["--metrics", "coldStarts.median", "--only", "image-on-node,warm-up-halved"]);
    let difference = |found: &Value, name: &str, what: &str| {
        row(found, name)["figures"][0]["difference"][what].as_f64().unwrap_or(f64::NAN)
    };
    for what in ["mean", "low", "high"] {
        let found = difference(&found, "image-on-node", what);
        assert!((found + 40.0).abs() < 1.01, "{what}: {found}");
    }
    let halved = difference(&found, "warm-up-halved", "mean");
    assert!((-4.0..=-2.0).contains(&halved), "{halved}");
    // Nodes come at once: to hold one brings nothing, and there is no need to try it. If it is done all the same, no request is the
    // sooner served, and the node is paid for.
    let not_tried = ask(&["--only", "node-held"]);
    assert_eq!(not_tried["notTried"][0]["why"], "nodes come at once");
    let plain = ask(&["--only", "probe-faster,drain-longer"]);
    let held = ask(&["--only", "drain-longer", "--set", "cluster.placeholders.replicas=1"]);
    for index in [0, 1] {
        assert_eq!(plain["base"]["figures"][index], held["base"]["figures"][index]);
    }
    let cost = |found: &Value| found["base"]["figures"][2]["value"]["mean"].as_f64().unwrap();
    assert!(cost(&held) > cost(&plain) + 500.0, "{} {}", cost(&held), cost(&plain));
    // A drain is never cut here: more grace for it is no change at all.
    let drained = &row(&plain, "drain-longer")["figures"][1];
    assert_eq!(drained["effect"], "undetected");
    assert_eq!(drained["difference"]["mean"], 0.0);
}

#[test]
fn gates_are_judged_for_each_row_and_the_verdict_says_which_hold() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path());
    let found = whatif(directory.path(), "step.yaml", &["--policy", "mine"]);
    // Its mean misses the limit, its interval lies on both sides of it: that does not hold.
    assert_eq!(found["base"]["gates"][0], "straddles", "{found}");
    assert_eq!(found["base"]["holds"], false, "{found}");
    let rows = found["rows"].as_array().unwrap();
    let holding: Vec<&Value> =
        rows.iter().filter(|row| row["holds"] == true).map(|row| &row["name"]).collect();
    assert!(!holding.is_empty(), "{found}");
    let told = found["verdict"]["hold"].as_array().unwrap();
    assert!(told.len() == holding.len() && told.iter().all(|name| holding.contains(&name)), "{found}");
    // Those that spare most come first.
    let breach = |row: &Value| row["figures"][1]["difference"]["mean"].as_f64().unwrap();
    let detected: Vec<f64> =
        rows.iter().filter(|row| row["figures"][1]["effect"] == "better").map(breach).collect();
    assert!(detected.is_sorted() && detected[0] < 0.0, "{detected:?}");
    let lines = found["verdict"]["lines"].as_array().unwrap();
    let last = lines.last().unwrap().as_str().unwrap();
    assert!(last.starts_with("verdict: the gate holds with "), "{last}");
    // Gates that bind another policy are none of this one's.
    let unbound = whatif(
        directory.path(),
        "step.yaml",
        &["--policy", "mine", "--only", "spare", "--set", "gates=[{ gate: slo.breach < 1%, for: [other] }]"],
    );
    assert_eq!(unbound["gates"], serde_json::json!([]));
}

#[test]
fn bytes_do_not_depend_on_jobs_and_rows_can_be_copied() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path());
    let text = |jobs: &str| {
        let arguments = ["whatif", "step.yaml", "--policy", "mine", "--verbose", "--jobs", jobs];
        expect(directory.path(), &arguments, 0).0
    };
    let printed = text("1");
    assert_eq!(printed, text("8"));
    assert!(!printed.contains('\u{1b}'), "colours are for terminals");
    assert!(printed.lines().all(|line| line == line.trim_end()), "{printed}");
    assert!(printed.contains("\n  as it is  "), "{printed}");
    assert!(printed.contains("--set policies.mine.hpa.maxReplicas=6"), "{printed}");
    assert!(printed.contains("not tried: "), "{printed}");
    let (markdown, _) =
        expect(directory.path(), &["whatif", "step.yaml", "--policy", "mine", "--format", "markdown"], 0);
    assert!(
        markdown.contains("| as it is |") && markdown.contains("\n|---|---|---|---|---|\n"),
        "{markdown}"
    );
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path());
    let check = |more: &[&str], code: &str, message: &str| {
        let (stdout, stderr) = expect(directory.path(), &[&["whatif", "step.yaml"], more].concat(), 2);
        assert_eq!(stdout, "");
        assert!(stderr.contains(&format!("error[{code}]: ")) && stderr.contains(message), "{stderr}");
    };
    check(&[], "E0203", "write `--policy NAME`, one of mine, other");
    check(&["--policy", "mien"], "E0203", "did you mean `mine`?");
    check(&["--policy", "mine", "--only", "sparse"], "E0203", "did you mean `spare`?");
    check(&["--policy", "mine", "--metrics", "ttft.p98"], "E0203", "did you mean `ttft.p9");
    check(&["--policy", "mine", "--skip", "x", "--metrics", "banana"], "E0203", "2 errors");
    check(&["--policy", "mine", "--set", "policies.mine.hpa.maxReplicas=0"], "E0310", "maxReplicas");
    let one =
        whatif(directory.path(), "step.yaml", &["--set", "policies={ only: { fixed: { replicas: 3 } } }"]);
    assert_eq!(one["policy"], "only");
}

/// The page shows what the program prints.
#[test]
fn the_example_of_the_page_is_real() {
    let page = fs::read_to_string(root().join("docs/whatif.md")).unwrap();
    let (_, after) = page.split_once("$ thawline ").unwrap();
    let (command, printed) = after.split_once('\n').unwrap();
    let (printed, _) = printed.split_once("\n```").unwrap();
    let arguments: Vec<&str> = command.split(' ').collect();
    let (stdout, _) = expect(root(), &arguments, 0);
    assert_eq!(stdout.trim_end(), printed.trim_end(), "docs/whatif.md shows something else");
}
