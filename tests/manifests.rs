//! Manifests through the program: the shipped ones run, what a run keeps of them, and what it says about them.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod common;

use std::fs;
use std::path::Path;

use common::{expect, write_small};
use serde_json::Value;

/// A directory with the small scenario, as much of it as manifests leave, and the shipped manifests.
fn prepared(more: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), more);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/manifests");
    fs::create_dir(root.path().join("manifests")).unwrap();
    for entry in fs::read_dir(shipped).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, root.path().join("manifests").join(path.file_name().unwrap())).unwrap();
    }
    root
}

const REPLICA: &str = "replica={ manifest: manifests/deployment.yaml }";
const HPA: &str = "policies={ hpa: { hpa: { manifest: manifests/hpa.yaml } } }";

fn read(root: &Path, file: &str) -> String {
    fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn a_run_keeps_what_its_manifests_said() {
    let root = prepared("");
    let sets = ["--set", REPLICA, "--set", HPA, "--set", "engine=~", "--set", "replications=1"];
    let late = ["--set", "policies.hpa.hpa.metrics[0].pods.target.averageValue=2"];
    let arguments = [&["simulate", "small.yaml", "--out", "first"][..], &sets, &late].concat();
    let (stdout, stderr) = expect(root.path(), &arguments, 0);
    assert!(!stdout.contains("nodeSelector"), "what has a place is shown with it, once:\n{stdout}");
    assert!(stderr.contains("warning[W0201]: `nodeSelector` is not modelled"), "{stderr}");
    assert!(stderr.contains("--> manifests/deployment.yaml:"), "{stderr}");
    let resolved = read(root.path(), "first/resolved.yaml");
    let header = "# Written out from manifests/hpa.yaml, manifests/deployment.yaml.\n";
    for line in [
        header,
        "terminationGracePeriod: 2m\n",
        "preStop: 10s\n",
        "maxNumSeqs: 16\n",
        "averageValue: \"2\"\n",
    ] {
        assert!(resolved.contains(line), "{line}\n{resolved}");
    }
    assert!(!resolved.contains("manifest:"), "{resolved}");
    let outcome: Value = serde_json::from_str(&read(root.path(), "first/outcome.json")).unwrap();
    let notes = outcome["warnings"].as_array().unwrap().iter();
    let notes = notes.filter(|warning| warning["code"].as_str().unwrap().starts_with("W02"));
    let places: Vec<&str> = notes.map(|warning| warning["place"].as_str().unwrap()).collect();
    let of_deployment = |place: &&str| place.starts_with("manifests/deployment.yaml:");
    assert!(places.len() > 2 && places.iter().all(of_deployment), "{places:?}");
    assert!(read(root.path(), "first/summary.md").contains("> **W0201**: manifests/deployment.yaml:"));
    // The resolved scenario needs no manifest and says the same, without a warning.
    fs::remove_dir_all(root.path().join("manifests")).unwrap();
    fs::write(root.path().join("again.yaml"), &resolved).unwrap();
    let (_, stderr) = expect(root.path(), &["simulate", "again.yaml", "--out", "second"], 0);
    assert!(!stderr.contains("[W02"), "{stderr}");
    assert_eq!(read(root.path(), "first/facts.digest"), read(root.path(), "second/facts.digest"));
}

#[test]
fn a_manifest_runs_as_the_same_text_in_the_scenario_does() {
    let root = prepared("");
    let text = read(root.path(), "manifests/hpa.yaml");
    let spec = text.split_once("\nspec:\n").unwrap().1;
    let inline = format!(
        "policies:\n  hpa:\n    hpa:\n{}",
        spec.lines().map(|line| format!("    {line}\n")).collect::<String>()
    );
    let small = read(root.path(), "small.yaml");
    let (before, rest) = small.split_once("policies:\n").unwrap();
    let after = &rest[rest.find("replications").unwrap()..];
    fs::write(root.path().join("inline.yaml"), format!("{before}{inline}{after}")).unwrap();
    expect(root.path(), &["simulate", "inline.yaml", "--out", "inline"], 0);
    expect(root.path(), &["simulate", "small.yaml", "--set", HPA, "--out", "manifest"], 0);
    let digest = |out: &str| read(root.path(), &format!("{out}/facts.digest"));
    assert_eq!(digest("inline"), digest("manifest"));
}

#[test]
fn validate_tells_warnings_in_every_format() {
    let root = prepared("");
    let sets = ["--set", REPLICA, "--set", HPA];
    let validate = |format: &str| {
        expect(root.path(), &[&["validate", "small.yaml", "--format", format][..], &sets].concat(), 0)
    };
    let (stdout, stderr) = validate("text");
    assert!(
        stdout.starts_with("small: no faults, ") && stdout.contains(" warnings (1 policy, 0 gates)"),
        "{stdout}"
    );
    assert!(stderr.contains("23 |       nodeSelector:\n") && !stderr.contains("errors"), "{stderr}");
    let (stdout, stderr) = validate("json");
    let found: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    assert!(stderr.is_empty() && found.iter().all(|one| one["severity"] == "warning"), "{stdout}");
    assert_eq!(found[0]["place"]["file"], "manifests/deployment.yaml");
    let (stdout, _) = validate("github");
    assert!(stdout.starts_with("::warning file=manifests/deployment.yaml,line=23,col=7,"), "{stdout}");
    // A manifest that runs in production has nothing to mend; a trap in it has.
    let strict = |policies: &str, code: i32| {
        let arguments = ["validate", "small.yaml", "--strict", "--set", REPLICA, "--set", policies];
        expect(root.path(), &arguments, code)
    };
    strict("policies={ fixed: { fixed: { replicas: 1 } } }", 0);
    let (_, stderr) = strict("policies={ keda: { keda: { manifest: manifests/eks-scaledobject.yaml } } }", 2);
    assert!(
        stderr.contains("warning[W03") && stderr.contains("--> manifests/eks-scaledobject.yaml:"),
        "{stderr}"
    );
    let fixed = ["--set", "policies={ fixed: { fixed: { replicas: 1 } } }"];
    let arguments = [&["validate", "small.yaml", "--format", "json"][..], &fixed].concat();
    let (stdout, _) = expect(root.path(), &arguments, 0);
    assert_eq!(stdout, "[]\n");
}
