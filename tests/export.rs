//! What is exported reads back as the same policy and decides the same, and what cannot be made real is refused.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{expect, names, write_small};
use serde_json::{Value, json};
use thawline::scenario::export::{Exported, Kind, Wanted, export};
use thawline::scenario::{self, Resolved, Scenario};

const PROMETHEUS: &str = "http://prometheus:9090";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn load(path: &Path, sets: &[String]) -> (Scenario, Resolved) {
    let scenario = scenario::load(path, sets).unwrap_or_else(|faults| panic!("{sets:?}: {faults:#?}"));
    let resolved =
        scenario::resolve(&scenario, false).unwrap_or_else(|faults| panic!("{sets:?}: {faults:#?}"));
    (scenario, resolved)
}

/// `FILE` in what reads a policy back is the name of a file.
fn with_file(value: &Value, file: &Path) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), with_file(value, file))).collect(),
        Value::String(text) if text == "FILE" => Value::from(file.display().to_string()),
        other => other.clone(),
    }
}

/// The policy that is exported, with what the export says it has added.
fn expected(resolved: &Resolved, policy: &str, exported: &Exported) -> Value {
    let mut value = json!(resolved.policies[policy]);
    let mut inner = &mut value;
    loop {
        let (kind, below) = inner.as_object_mut().unwrap().iter_mut().next().unwrap();
        let kind = kind.clone();
        inner = below;
        match kind.as_str() {
            "warmPool" => inner = &mut inner["over"],
            _ => break,
        }
    }
    let object = &exported.objects[0];
    if object["kind"] == "HorizontalPodAutoscaler" {
        let target = &object["spec"]["scaleTargetRef"];
        let own = inner.as_object_mut().unwrap();
        let own = own.entry("scaleTargetRef").or_insert_with(|| target.clone());
        own.as_object_mut().unwrap().entry("apiVersion").or_insert_with(|| target["apiVersion"].clone());
    } else {
        let own = inner.as_object_mut().unwrap();
        own.entry("name").or_insert_with(|| object["metadata"]["name"].clone());
    }
    value
}

#[test]
fn every_policy_of_the_shipped_scenarios_reads_back_or_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for file in names(&root().join("scenarios"))
        .iter()
        .filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "yaml"))
    {
        let path = root().join("scenarios").join(file);
        let (scenario, resolved) = load(&path, &[]);
        for policy in resolved.policies.keys() {
            let wanted = Wanted { policy: Some(policy), prometheus: PROMETHEUS, ..Wanted::default() };
            let exported = match export(&scenario, &resolved, &wanted) {
                Ok(exported) => exported,
                Err(faults) => {
                    assert!(faults.iter().all(|f| f.code == "E0801" && !f.help.is_empty()), "{faults:#?}");
                    let place = faults[0].place.as_ref().expect("it is in the scenario");
                    assert!(place.line > 1, "{faults:#?}");
                    *kinds.entry(format!("no {}", resolved.policies[policy].kind())).or_default() += 1;
                    continue;
                }
            };
            let objects = scratch.path().join(format!("{file}-{policy}.yaml"));
            fs::write(&objects, exported.to_yaml()).unwrap();
            let back = json!({ policy.as_str(): with_file(&exported.read_back, &objects) });
            let mut sets = vec![format!("policies={back}"), "gates=[]".to_owned()];
            if exported
                .objects
                .iter()
                .any(|object| object["kind"] == "ConfigMap" && object["data"]["config.yaml"].is_string())
            {
                sets.push(format!("telemetry.adapter={}", json!({ "manifest": objects })));
            }
            let (_, again) = load(&path, &sets);
            let kind = resolved.policies[policy].kind();
            if kind != "schedule" {
                assert_eq!(
                    json!(again.policies[policy]),
                    expected(&resolved, policy, &exported),
                    "{file}: {policy}"
                );
                assert_eq!(again.simulation.setting.adapter, resolved.simulation.setting.adapter, "{file}");
            }
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
    }
    let count = |kind: &str| kinds.get(kind).copied().unwrap_or(0);
    assert!(
        count("hpa") > 10 && count("keda") >= 6 && count("knative") >= 4 && count("schedule") == 2,
        "{kinds:?}"
    );
    assert!(count("no warmPool") > 5 && count("no fixed") > 3 && count("no schedule") == 2, "{kinds:?}");
    assert_eq!(count("no hpa") + count("no keda") + count("no knative"), 0, "{kinds:?}");
}

/// The digests of the runs of a policy of the small scenario.
fn digests(directory: &Path, out: &str, sets: &[String]) -> Vec<String> {
    let mut arguments = vec!["simulate", "small.yaml", "--exit-zero", "--out", out];
    for set in sets {
        arguments.extend(["--set", set.as_str()]);
    }
    expect(directory, &arguments, 0);
    let text = fs::read_to_string(directory.join(out).join("facts.digest")).unwrap();
    text.lines().map(str::to_owned).collect()
}

const HPA: &str = "{ p: { hpa: { minReplicas: 2, maxReplicas: 4, metrics: [{ type: External, external: { \
                   metric: { name: gateway_requests_in_flight }, target: { type: AverageValue, averageValue: 2500m } } }], \
                   behavior: { scaleDown: { stabilizationWindowSeconds: 30 } }, controller: { phase: 3s, syncPeriod: 10s } } } }";

#[test]
fn what_is_read_back_runs_to_the_same_facts() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    let check = |name: &str, policies: &str, back: &str, more: &[&str]| {
        let own = format!("policies={policies}");
        let file = format!("{name}.yaml");
        let (stdout, _) = expect(
            root.path(),
            &[&["export", "small.yaml", "--set", &own, "--out", &file], more].concat(),
            0,
        );
        assert_eq!(stdout, format!("wrote {file}\n"));
        let text = fs::read_to_string(root.path().join(&file)).unwrap();
        assert!(text.contains(&back.replace("FILE_", "FILE")), "{text}");
        let read = format!("policies={{ p: {} }}", back.replace("FILE", &file));
        assert_eq!(
            digests(root.path(), &format!("{name}-own"), &[own]),
            digests(root.path(), &format!("{name}-back"), &[read]),
            "{text}"
        );
        text
    };
    check("hpa", HPA, "{ hpa: { manifest: FILE, controller: { syncPeriod: 10s, phase: 3s } } }", &[]);
    // The HPA that KEDA owns decides as the other one does.
    let text = check(
        "crossed",
        HPA,
        "{ keda: { manifest: FILE, controller: { syncPeriod: 10s, phase: 3s } } }",
        &["--as", "keda", "--prometheus", "http://p.monitoring:9090"],
    );
    for words in ["query: sum(gateway_requests_in_flight)", "threshold: \"2.5\"", "//p.monitoring:9090"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    check(
        "http",
        "{ p: { keda: { httpScaledObject: { scaleTargetRef: { name: a, service: a, port: 80 }, replicas: { max: 3 }, \
         scalingMetric: { concurrency: { targetValue: 4 } } } } } }",
        "{ keda: { manifest: FILE } }",
        &[],
    );
    check(
        "knative",
        "{ p: { knative: { annotations: { autoscaling.knative.dev/target: '4' }, containerConcurrency: 8, \
         config: { stable-window: 30s } } } }",
        "{ knative: { manifest: FILE } }",
        &[],
    );
}

/// Exports a policy of the small scenario with these sets.
fn exported(directory: &Path, sets: &[&str], more: &[&str], code: i32) -> String {
    let mut arguments = vec!["export", "small.yaml"];
    for set in sets {
        arguments.extend(["--set", *set]);
    }
    arguments.extend(more);
    let (stdout, stderr) = expect(directory, &arguments, code);
    if code == 0 { stdout } else { stderr }
}

#[test]
fn names_and_targets() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    let shipped = self::root().join("scenarios/manifests");
    fs::copy(shipped.join("deployment.yaml"), root.path().join("deployment.yaml")).unwrap();
    fs::copy(shipped.join("adapter-configmap.yaml"), root.path().join("adapter.yaml")).unwrap();
    let check = |sets: &[&str], more: &[&str], words: &[&str]| {
        let text = exported(root.path(), sets, &[&["--policy", "hpa"], more].concat(), 0);
        for words in words {
            assert!(text.contains(words), "{words}\n{text}");
        }
    };
    check(&[], &[], &["kind: Deployment\n    name: small\n", "name: small\nspec:", "by the scenario's name"]);
    let replica = "replica={ manifest: deployment.yaml }";
    check(
        &[replica, "engine=~"],
        &[],
        &["kind: Deployment\n    name: vllm\n", "in the scenario's manifests"],
    );
    check(&[], &["--target", "statefulset/llm"], &["kind: StatefulSet\n    name: llm\n", "name: llm\nspec:"]);
    check(
        &[],
        &["--target", "llm", "--name", "of-llm", "--namespace", "ml"],
        &["  name: of-llm\n  namespace: ml\nspec:", "name: llm\n"],
    );
    let group = ["replica.gpus=2", "replica.groupSize=2", "cluster.pools.gpu.maxNodes=8"];
    check(&group, &[], &["apiVersion: leaderworkerset.x-k8s.io/v1\n    kind: LeaderWorkerSet\n"]);
    // The rules that answer for the metric come with it.
    let served = "policies.hpa.hpa.metrics[0].pods.metric.name=vllm_num_requests_waiting";
    check(
        &["telemetry.adapter={ manifest: adapter.yaml }", served],
        &[],
        &["kind: ConfigMap\n", "  config.yaml: |\n    rules:\n      - seriesQuery:", "    externalRules:\n"],
    );
    for (more, words) in [
        (&["--name", "My_HPA"][..], "`--name my-hpa`"),
        (&["--namespace", "a.b"], "`--namespace a-b`"),
        (&["--target=-x-", "--name", "UP"], "2 errors"),
        (&["--target", "deploymnt/x"], "did you mean `--target deployment/x`?"),
        (&["--set", "name=Small_1"], "`--target small-1`"),
    ] {
        let text = exported(root.path(), &[], &[&["--policy", "hpa"], more].concat(), 2);
        assert!(text.contains("E0802") && text.contains(words), "{more:?}: {text}");
    }
    for (more, words) in [(&[][..], "--policy NAME"), (&["--policy", "hp"], "did you mean `hpa`?")] {
        let text = exported(root.path(), &[], more, 2);
        assert!(text.contains("E0803") && text.contains(words) && text.contains("one of one, hpa"), "{text}");
    }
    let text = exported(root.path(), &[], &["--policy", "hpa", "--out", "no/such/x.yaml"], 2);
    assert!(text.contains("E0402"), "{text}");
}

#[test]
fn what_no_object_makes_real_is_refused_with_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "startTime: 2026-03-02T09:00:00Z\n");
    let hpa = "{ hpa: { minReplicas: 1, maxReplicas: 4, metrics: [{ type: Pods, pods: { metric: { name: 'vllm:num_requests_waiting' }, \
               target: { type: AverageValue, averageValue: 2 } } }] } }";
    let day = "start: 0 9 * * *, end: 0 17 * * *";
    let schedule = |more: &str| format!("{{ schedule: {{ timezone: Etc/UTC, {more} }} }}");
    for (policy, more, words) in [
        (hpa.to_owned(), &["--as", "keda"][..], "averaged over the pods"),
        (hpa.to_owned(), &["--as", "knative"], "goes by no metric"),
        ("{ fixed: { replicas: 3 } }".to_owned(), &[], "--replicas=3"),
        (format!("{{ warmPool: {{ spare: 1, over: {hpa} }} }}"), &[], "level: node"),
        (
            format!("{{ warmPool: {{ fraction: 0.5, level: node, over: {hpa} }} }}"),
            &[],
            "changes with the load",
        ),
        (format!("{{ guard: {{ ceiling: 3, over: {hpa} }} }}"), &[], "maxReplicas"),
        (
            format!("{{ max: {{ of: {{ a: {hpa}, b: {{ fixed: {{ replicas: 1 }} }} }} }} }}"),
            &[],
            "overrule each other",
        ),
        (schedule(&format!("replicas: 0, windows: {{ a: {{ {day}, floor: 2 }} }}")), &[], "`replicas: 1`"),
        (
            schedule(&format!("replicas: 2, windows: {{ a: {{ {day}, ceiling: 1 }} }}")),
            &[],
            "no trigger lowers",
        ),
        (schedule(&format!("replicas: 2, windows: {{ a: {{ {day}, exact: 1 }} }}")), &[], "write floors"),
        (
            schedule(&format!("over: {hpa}, windows: {{ a: {{ {day}, floor: 2 }} }}")),
            &[],
            "cron trigger beside",
        ),
        ("{ slo: { maxReplicas: 3, lead: 10s } }".to_owned(), &[], "no controller of Kubernetes"),
        (
            "{ shadow: { run: { fixed: { replicas: 1 } }, candidate: { fixed: { replicas: 2 } } } }"
                .to_owned(),
            &[],
            "kubectl scale",
        ),
        ("{ knative: {} }".to_owned(), &["--as", "hpa"], "--as knative"),
    ] {
        let set = format!("policies={{ p: {policy} }}");
        let text = exported(root.path(), &[&set], more, 2);
        assert!(text.contains("error[E0801]") && text.contains(words), "{policy}: {text}");
    }
}

#[test]
fn layers_that_can_be_made_real() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "startTime: 2026-03-02T09:00:00Z\n");
    let check = |policy: &str, words: &[&str]| {
        let set = format!("policies={{ p: {policy} }}");
        expect(root.path(), &["export", "small.yaml", "--set", &set, "--out", "p.yaml"], 0);
        let text = fs::read_to_string(root.path().join("p.yaml")).unwrap();
        for words in words {
            assert!(text.contains(words), "{words}\n{text}");
        }
        // It reads back, and runs.
        let back =
            text.lines().find_map(|line| line.strip_prefix("# A scenario reads it back with: ")).unwrap();
        let back = format!("policies={{ p: {} }}", back.replace("FILE", "p.yaml"));
        let arguments = ["simulate", "small.yaml", "--exit-zero", "--set", &back, "--set", "replications=1"];
        expect(root.path(), &arguments, 0);
    };
    let hpa = HPA.strip_prefix("{ p: ").unwrap().strip_suffix(" }").unwrap();
    check(
        &format!("{{ warmPool: {{ spare: 2, level: node, over: {hpa} }} }}"),
        &["kind: PriorityClass", "value: -10", "replicas: 2", "nvidia.com/gpu: \"1\"", "warmPool: {"],
    );
    check(
        &format!("{{ shadow: {{ run: {hpa}, candidate: {{ fixed: {{ replicas: 2 }} }} }} }}"),
        &["shadow.candidate: fixed", "kind: HorizontalPodAutoscaler"],
    );
    check(
        "{ schedule: { timezone: Europe/Berlin, replicas: 1, windows: { a: { start: 0 9 * * *, end: 0 17 * * *, floor: 3 }, \
         b: { start: 0 12 * * *, end: 0 13 * * *, timezone: Etc/UTC, floor: 2 } } } }",
        &["desiredReplicas: \"3\"", "timezone: Etc/UTC", "maxReplicaCount: 3", "15 s late"],
    );
}

#[test]
fn kinds_have_the_words_of_the_command_line() {
    for kind in [Kind::Hpa, Kind::Keda, Kind::Knative] {
        let (help, _) = expect(&root(), &["export", "--help"], 0);
        assert!(help.contains(&format!("- {kind}")), "{kind}: {help}");
    }
}
