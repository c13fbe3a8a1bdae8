//! Manifests in, and what then stands in the scenario.

use std::fs;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::scenario::spec::ScenarioSpec;
use crate::yaml::{find_code, read};

/// What became of a scenario with manifests.
struct Inlined {
    /// The whole tree.
    tree: Value,
    /// `CODE FILE:LINE:COLUMN MESSAGE`.
    faults: Vec<String>,
    notes: Vec<String>,
    found: Found,
}

fn line(diagnostic: &Diagnostic) -> String {
    let Diagnostic { code, message, place, .. } = diagnostic;
    let place = place.as_ref().expect("a manifest's diagnostics have a place");
    let file = FilePath::new(&place.file).file_name().expect("it is a file").to_string_lossy();
    format!("{code} {file}:{}:{} {message}", place.line, place.column)
}

fn inlined(scenario: &str, files: &[(&str, &str)]) -> Inlined {
    let directory = tempfile::tempdir().expect("there is a place for files");
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect("a fresh directory takes files");
    }
    let mut document = Document::parse("s.yaml", scenario).expect(scenario);
    let found = inline(&mut document, directory.path());
    Inlined {
        tree: read(&document).expect(scenario),
        faults: found.faults.iter().map(line).collect(),
        notes: found.notes.iter().map(line).collect(),
        found,
    }
}

/// What an `m.yaml` leaves at a place of the scenario, which writes `own` there besides; it must be right.
fn taken(at: &str, own: &str, manifest: &str) -> (Value, Vec<String>) {
    let (_, slot) = at.rsplit_once('/').expect("paths begin with a slash");
    let mut scenario = format!("{{ {slot}: {{ manifest: m.yaml, {own} }} }}");
    for key in at.trim_start_matches('/').rsplit('/').skip(1) {
        scenario = format!("{{ {key}: {scenario} }}");
    }
    let inlined = inlined(&scenario, &[("m.yaml", manifest)]);
    assert_eq!(inlined.faults, [""; 0], "{manifest}");
    (inlined.tree.pointer(at).expect("it stays").clone(), inlined.notes)
}

/// What is wrong with an `m.yaml` there.
fn wrong(at: &str, manifest: &str) -> Inlined {
    let mut scenario = "{ manifest: m.yaml }".to_owned();
    for key in at.trim_start_matches('/').rsplit('/') {
        scenario = format!("{{ {key}: {scenario} }}");
    }
    let inlined = inlined(&scenario, &[("m.yaml", manifest)]);
    assert!(!inlined.faults.is_empty(), "{manifest}");
    inlined
}

const HPA: &str = "/policies/p/hpa";
const KEDA: &str = "/policies/p/keda";
const KNATIVE: &str = "/policies/p/knative";
const REPLICA: &str = "/replica";
const ADAPTER: &str = "/telemetry/adapter";

fn hpa(version: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: autoscaling/{version}\nkind: HorizontalPodAutoscaler\nmetadata: {{ name: {name} }}\nspec: {{ scaleTargetRef: {{ kind: Deployment, name: d }}, {spec} }}\n"
    )
}

#[test]
fn an_hpas_spec_is_the_policy() {
    let target = json!({"kind": "Deployment", "name": "d"});
    let (own, notes) = taken(HPA, "", &hpa("v2", "a", "minReplicas: 2, maxReplicas: 9, behavior: {}"));
    assert_eq!(own, json!({"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 9, "behavior": {}}));
    assert_eq!(notes, [""; 0]);
    let behavior = "behavior: { scaleUp: { tolerance: 0.1 }, scaleDown: { stabilizationWindowSeconds: 60, selectPolicy: Min } }";
    let (own, _) = taken(
        HPA,
        "maxReplicas: 3, behavior: { scaleDown: { stabilizationWindowSeconds: 900 } }",
        &hpa("v2", "a", &format!("maxReplicas: 9, {behavior}")),
    );
    assert_eq!(own["maxReplicas"], 3);
    let merged = json!({"scaleUp": {"tolerance": 0.1},
        "scaleDown": {"stabilizationWindowSeconds": 900, "selectPolicy": "Min"}});
    assert_eq!(own["behavior"], merged, "what the scenario writes stays, the rest comes in");
    let (own, _) =
        taken("/policies/p/warmPool/over/warmPool/over/hpa", "", &hpa("v2", "a", "maxReplicas: 9"));
    assert_eq!(own["maxReplicas"], 9);
    for within in [
        "warmPool/over/predictive/over",
        "schedule/over",
        "guard/over",
        "shadow/run",
        "shadow/candidate",
        "max/of/a",
        "min/of/a",
        "max/of/a/guard/over",
    ] {
        let (own, _) = taken(&format!("/policies/p/{within}/hpa"), "", &hpa("v2", "a", "maxReplicas: 9"));
        assert_eq!(own["maxReplicas"], 9, "{within}");
    }
}

#[test]
fn older_versions_of_an_hpa_are_converted_or_refused() {
    let (own, _) = taken(HPA, "", &hpa("v1", "a", "maxReplicas: 9, targetCPUUtilizationPercentage: 70"));
    let target = json!({"type": "Utilization", "averageUtilization": 70});
    assert_eq!(own["metrics"], json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
    let refused = |version: &str, spec: &str, expected: &str| {
        let found = wrong(HPA, &hpa(version, "a", spec));
        assert_eq!(found.faults, [expected]);
        found.found.faults[0].help.join(" ")
    };
    for version in ["v2beta2", "v2beta1"] {
        let message = format!("E0408 m.yaml:1:13 HorizontalPodAutoscaler of version {version} is not read");
        assert!(
            refused(version, "maxReplicas: 9", &message).contains("kubectl get hpa.v2.autoscaling a -o yaml")
        );
    }
    refused("v2", "minReplicas: 1", "E0202 m.yaml:4:1 missing field `maxReplicas`");
    refused("v1", "maxReplicas: 9, metrics: []", "E0201 m.yaml:4:72 unknown field `metrics`");
    refused(
        "v1",
        "maxReplicas: 9, targetCPUUtilizationPercentage: many",
        "E0204 m.yaml:4:104 expected a whole number",
    );
    let annotated = hpa("v1", "a", "maxReplicas: 9")
        .replace("name: a", "name: a, annotations: { autoscaling.alpha.kubernetes.io/metrics: \"[]\" }");
    let found = wrong(HPA, &annotated);
    assert!(found.faults[0].contains("keeps its metrics in annotations"), "{:?}", found.faults);
}

#[test]
fn objects_are_found_in_any_file_kubectl_prints() {
    let item = |name: &str| {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name, "namespace": format!("of-{name}"), "uid": "1", "resourceVersion": "7",
                "managedFields": [{"fieldsV1": {"f:spec": {}}}], "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": name}, "maxReplicas": 5},
            "status": {"currentReplicas": 1}})
    };
    let other = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"x": 1}});
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""},
        "items": [other, item("a"), item("b")]});
    // The items of a list of one kind need not say it again.
    let mut bare = item("a");
    bare.as_object_mut().expect("it is one").retain(|key, _| key != "kind" && key != "apiVersion");
    let typed =
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscalerList", "items": [bare]});
    let documents = format!("---\n{other}\n---\n# nothing\n---\n{}\n---\n", item("a"));
    let check = |own: &str, text: &str, expected: &str| {
        let (own, _) = taken(HPA, own, text);
        assert_eq!(own["scaleTargetRef"]["name"], expected, "{text}");
        assert!(own.get("object").is_none() && own.get("manifest").is_none(), "{own}");
    };
    let pretty = serde_json::to_string_pretty(&list).expect("it is JSON");
    for name in ["b", "HorizontalPodAutoscaler/b", "horizontalpodautoscaler/b", "of-b/b"] {
        check(&format!("object: {name}"), &pretty, "b");
    }
    check("", &typed.to_string(), "a");
    check("", &documents, "a");
    let found = wrong(HPA, &list.to_string());
    assert_eq!(found.faults, ["E0407 s.yaml:1:37 `m.yaml` holds 2 objects that could be meant"]);
    assert_eq!(found.found.faults[0].help, ["add `object: NAME`: one of a, b"]);
    let asked = |object: &str| {
        let scenario = format!("policies: {{ p: {{ hpa: {{ manifest: m.yaml, object: {object} }} }} }}");
        let found = inlined(&scenario, &[("m.yaml", &pretty)]);
        (found.faults.join(" "), found.found.faults[0].label.clone())
    };
    assert_eq!(asked("c").0, "E0407 s.yaml:1:51 `m.yaml` holds no such object `c`");
    assert_eq!(asked("bb").1, "did you mean `b`?");
    let twice = json!({"kind": "List", "apiVersion": "v1", "items": [item("a"), item("a")]}).to_string();
    let scenario = "policies: { p: { hpa: { manifest: m.yaml, object: a } } }";
    let found = inlined(scenario, &[("m.yaml", &twice)]);
    assert_eq!(found.faults, ["E0407 s.yaml:1:51 `m.yaml` holds 2 objects `a`"]);
}

#[test]
fn files_without_what_is_wanted_are_said_to_be() {
    let check = |at: &str, text: &str, expected: &str, help: &str| {
        let found = wrong(at, text);
        assert_eq!(found.faults.len(), 1, "{text}: {:?}", found.faults);
        assert!(found.faults[0].contains(expected), "{text}: {:?}", found.faults);
        let helps = found.found.faults[0].help.join(" | ");
        assert!(helps.contains(help), "{text}: {helps}");
    };
    let scaled = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: { name: so }\nspec: {}\n";
    check(
        HPA,
        scaled,
        "E0407 s.yaml:1:37 `m.yaml` holds no HorizontalPodAutoscaler",
        "it holds ScaledObject `so` (keda.sh/v1alpha1) | for a `ScaledObject` write `keda: { manifest: .. }`",
    );
    check(
        KEDA,
        &hpa("v2", "a", ""),
        "no ScaledObject or HTTPScaledObject",
        "for an `HorizontalPodAutoscaler`",
    );
    check(HPA, "", "E0407", "no object at all");
    check(HPA, "---\n---\n", "E0407", "no object at all");
    check(HPA, "3\n", "E0407 m.yaml:1:1 this is no Kubernetes object", "kubectl get");
    check(HPA, "[1, 2]\n", "E0407 m.yaml:1:1", "");
    check(HPA, "spec: {}\n", "it has no `apiVersion` and `kind`", "");
    check(HPA, "kind: List\napiVersion: v1\nitems: 3\n", "E0204 m.yaml:3:8 expected a list", "");
    check(HPA, "kind: List\napiVersion: v1\nitems:\n", "E0407", "no object at all");
    check(HPA, &scaled.replace("ScaledObject", "HorizontalPodAutoscalr"), "E0407", "did you mean");
    check(
        KNATIVE,
        "apiVersion: v1\nkind: Service\nmetadata: { name: s }\n",
        "no Service of serving.knative.dev",
        "Service `s` (v1)",
    );
    check(ADAPTER, "", "E0407", "no object at all");
    // A list within a list within a list.
    let nested = "{kind: List, apiVersion: v1, items: [{kind: List, apiVersion: v1, items: [{kind: Pod}]}]}";
    check(HPA, nested, "E0407 m.yaml", "");
    let found = inlined("policies: { p: { hpa: { object: x } } }\nreplica: { container: c }\n", &[]);
    assert_eq!(
        found.faults,
        ["E0202 s.yaml:1:25 `object` without `manifest`", "E0202 s.yaml:2:12 `container` without `manifest`"]
    );
}

#[test]
fn a_bad_file_is_said_once_and_not_its_consequences() {
    let policies = "policies: { p: { hpa: { manifest: m.yaml } }, q: { hpa: { manifest: m.yaml } } }\n";
    let check = |bytes: Option<&[u8]>, expected: &[&str]| {
        let directory = tempfile::tempdir().expect("there is a place for files");
        if let Some(bytes) = bytes {
            fs::write(directory.path().join("m.yaml"), bytes).expect("it takes files");
        } else {
            fs::create_dir(directory.path().join("m.yaml")).expect("it takes directories");
        }
        let mut document = Document::parse("s.yaml", policies).expect(policies);
        let found = inline(&mut document, directory.path());
        let faults: Vec<String> = found.faults.iter().map(line).collect();
        assert_eq!(faults, expected);
        let faults = read::<ScenarioSpec>(&document).expect_err("the rest of the scenario is missing");
        assert!(faults.iter().all(|fault| !fault.message.contains("maxReplicas")), "{faults:?}");
    };
    check(Some(b"a: [\n"), &["E0102 m.yaml:1:4 this is not YAML: unclosed bracket '['"]);
    check(Some(b"\xff\xfe"), &["E0101 m.yaml:1:1 the file is not UTF-8 text: byte 0xff"]);
    let directory = "cannot read the manifest `m.yaml`: it is a directory";
    check(None, &[&format!("E0401 s.yaml:1:35 {directory}"), &format!("E0401 s.yaml:1:69 {directory}")]);
    check(
        Some(b"{kind: HorizontalPodAutoscaler, apiVersion: autoscaling/v2, kind: x, spec: {maxReplicas: 1, scaleTargetRef: {}}}"),
        &["E0103 m.yaml:1:61 the key `kind` is written twice"],
    );
}

#[test]
fn a_scaled_object_and_its_annotations_are_the_policy() {
    let manifest = |annotation: &str, metadata: &str| {
        format!(
            "apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {{ name: auth }}
spec: {{}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: so
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {{}}
    {annotation}
spec:
  scaleTargetRef: {{ name: d }}
  triggers:
    - type: prometheus
      authenticationRef: {{ name: auth }}
      metadata: {{ {metadata} }}
"
        )
    };
    let (own, notes) = taken(
        KEDA,
        "scaledObject: { pollingInterval: 5 }",
        &manifest("autoscaling.keda.sh/paused-replicas: \"0\"", "threshold: \"5\""),
    );
    assert_eq!(own["name"], "so");
    assert_eq!(own["annotations"], json!({"autoscaling.keda.sh/paused-replicas": "0"}));
    assert_eq!(own["scaledObject"]["pollingInterval"], 5);
    assert_eq!(own["scaledObject"]["triggers"][0]["metadata"]["threshold"], "5");
    assert_eq!(
        notes,
        [
            "W0202 m.yaml:2:1 TriggerAuthentication `auth`: credentials are ignored: every trigger of a run is answered",
            "W0202 m.yaml:18:7 credentials are ignored: every trigger of a run is answered",
        ]
    );
    let check = |annotation: &str, metadata: &str, expected: &str| {
        assert_eq!(wrong(KEDA, &manifest(annotation, metadata)).faults, [expected]);
    };
    check(
        "autoscaling.keda.sh/pause: \"true\"",
        "",
        "E0201 m.yaml:13:5 unknown annotation `autoscaling.keda.sh/pause`",
    );
    check("a: 1", "", "E0204 m.yaml:13:8 expected text, found `1`");
    check("a: {}", "", "E0204 m.yaml:13:8 expected text");
    check("a: b", "threshold: 5", "E0204 m.yaml:19:30 expected text, found `5`");
    check("a: b", "x: [1]", "E0204 m.yaml:19:22 expected text");
    let http = "apiVersion: http.keda.sh/v1alpha1\nkind: HTTPScaledObject\nmetadata: { name: h }\nspec: { replicas: { min: 0 } }\n";
    let (own, _) = taken(KEDA, "", http);
    assert_eq!(own, json!({"name": "h", "httpScaledObject": {"replicas": {"min": 0}}}));
    let found = wrong(KEDA, &http.replace("v1alpha1", "v1beta1"));
    assert_eq!(found.faults, ["E0408 m.yaml:1:13 HTTPScaledObject of version v1beta1 is not read"]);
}

#[test]
fn a_revision_is_scaled_by_its_annotations() {
    let service = |metadata: &str, annotations: &str, spec: &str| {
        format!(
            "apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{ name: s, {metadata} }}
spec:
  template:
    metadata: {{ annotations: {{ sidecar.istio.io/inject: \"true\", {annotations} }} }}
    spec: {{ containerConcurrency: 4, timeoutSeconds: 60, containers: [{{ image: x }}], {spec} }}
"
        )
    };
    let (own, notes) = taken(
        KNATIVE,
        "annotations: { autoscaling.knative.dev/target: \"9\" }",
        &service(
            "annotations: { serving.knative.dev/creator: x }",
            "autoscaling.knative.dev/minScale: \"1\", autoscaling.knative.dev/target: \"2\", serving.knative.dev/progress-deadline: 20m",
            "nodeSelector: { a: b }",
        ),
    );
    assert_eq!(
        own,
        json!({"name": "s", "containerConcurrency": 4, "timeoutSeconds": 60, "annotations": {
            "autoscaling.knative.dev/target": "9", "autoscaling.knative.dev/minScale": "1",
            "serving.knative.dev/progress-deadline": "20m"}})
    );
    assert_eq!(notes, [""; 0], "a pod's fields are the replica's business");
    let check = |text: String, expected: &str| {
        let found = wrong(KNATIVE, &text);
        assert_eq!(found.faults.len(), 1, "{:?}", found.faults);
        assert!(found.faults[0].contains(expected), "{:?}", found.faults);
    };
    let class = "autoscaling.knative.dev/class: hpa.autoscaling.knative.dev";
    check(service("", class, ""), "E0408 m.yaml:6:96 Knative leaves this revision to an HPA");
    check(service("", "autoscaling.knative.dev/maxscal: \"1\"", ""), "E0201");
    check(service("annotations: { autoscaling.knative.dev/min-scale: \"1\" }", "", ""), "E0409 m.yaml:3:37");
    check(service("", "", "containrConcurrency: 1"), "E0201");
    check(service("", "autoscaling.knative.dev/min-scale: 1", ""), "E0204");
    check(service("", "", "").replace("/v1\n", "/v1beta1\n"), "E0408");
    check(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nspec: {}\n".to_owned(),
        "missing field `template`",
    );
    let split = service("", "", "")
        + "  traffic: [{ percent: 90, revisionName: a }, { percent: 10, latestRevision: true }, { percent: 0, tag: x }]\n";
    assert_eq!(taken(KNATIVE, "", &split).1.len(), 1);
    let revision = "apiVersion: serving.knative.dev/v1\nkind: Revision\nmetadata: { name: r, annotations: { autoscaling.knative.dev/metric: rps } }\nspec: { containers: [], idleTimeoutSeconds: 3 }\n";
    let (own, notes) = taken(KNATIVE, "", revision);
    assert_eq!(own, json!({"name": "r", "annotations": {"autoscaling.knative.dev/metric": "rps"}}));
    assert!(notes.len() == 1 && notes[0].contains("`idleTimeoutSeconds` is not modelled"), "{notes:?}");
    let autoscaler = "apiVersion: autoscaling.internal.knative.dev/v1alpha1\nkind: PodAutoscaler\nmetadata: { name: p }\nspec: { containerConcurrency: 2, scaleTargetRef: {}, reachability: Reachable }\n";
    assert_eq!(taken(KNATIVE, "", autoscaler).0, json!({"name": "p", "containerConcurrency": 2}));
}

#[test]
fn the_clusters_configuration_comes_from_the_same_file_or_another() {
    let revision = "apiVersion: serving.knative.dev/v1\nkind: Revision\nmetadata: { name: r }\nspec: {}\n";
    let config = |name: &str, data: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ {data} }}\n")
    };
    let both = format!(
        "{revision}---\n{}---\n{}",
        config("other", "a: b"),
        config("config-autoscaler", "_example: x, stable-window: 30s")
    );
    let (own, _) = taken(KNATIVE, "", &both);
    assert_eq!(own["config"], json!({"stable-window": "30s"}));
    let scenario = "policies: { p: { knative: { manifest: m.yaml, configManifest: c.yaml } } }";
    let check = |text: &str, expected: Result<Value, &str>| {
        let found = inlined(scenario, &[("m.yaml", revision), ("c.yaml", text)]);
        match expected {
            Ok(config) => {
                assert_eq!(found.faults, [""; 0]);
                let own = &found.tree["policies"]["p"]["knative"];
                assert_eq!((&own["config"], own.get("configManifest")), (&config, None));
            }
            Err(words) => assert!(found.faults[0].contains(words), "{words}: {:?}", found.faults),
        }
    };
    check(&config("my-config", "max-scale: \"3\""), Ok(json!({"max-scale": "3"})));
    check(&config("x", "max-scal: \"3\""), Err("E0201 c.yaml:4:9 unknown key `max-scal`"));
    check(&config("x", "max-scale: 3"), Err("E0204 c.yaml:4:20"));
    check(revision, Err("holds no ConfigMap"));
    check(&format!("{}---\n{}", config("a", ""), config("b", "")), Err("holds 2 objects"));
    let found = inlined(
        "policies: { p: { knative: { configManifest: c.yaml } } }",
        &[("c.yaml", &config("x", "min-scale: \"1\""))],
    );
    assert_eq!(found.tree["policies"]["p"]["knative"]["config"]["min-scale"], "1");
}

#[test]
fn an_inference_service_is_scaled_as_kserve_has_it() {
    let service = |annotations: &str, predictor: &str| {
        format!(
            "apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{ name: llm, annotations: {{ {annotations} }} }}
spec:
  predictor: {{ {predictor} model: {{ modelFormat: {{ name: huggingface }}, resources: {{}} }} }}
"
        )
    };
    let check = |annotations: &str, predictor: &str, expected: Value| {
        let (own, _) = taken(KNATIVE, "", &service(annotations, predictor));
        let short =
            |(key, value): (&String, &Value)| (key.replace("autoscaling.knative.dev/", ""), value.clone());
        let own: Value = own["annotations"].as_object().expect("there are some").iter().map(short).collect();
        assert_eq!(own, expected);
    };
    check("", "", json!({"min-scale": "1"}));
    check(
        "serving.kserve.io/deploymentMode: Serverless, autoscaling.knative.dev/target: \"3\", autoscaling.knative.dev/window: 30s",
        "minReplicas: 0, maxReplicas: 5, scaleTarget: 8, scaleMetric: concurrency,",
        json!({"min-scale": "0", "max-scale": "5", "target": "8", "metric": "concurrency", "window": "30s"}),
    );
    check(
        "",
        "maxReplicas: 0, annotations: { autoscaling.knative.dev/metric: rps },",
        json!({"min-scale": "1", "metric": "rps"}),
    );
    let (own, _) = taken(KNATIVE, "", &service("", "containerConcurrency: 4, timeout: 90,"));
    assert_eq!((&own["containerConcurrency"], &own["timeoutSeconds"]), (&json!(4), &json!(90)));
    let refused = |annotations: &str, predictor: &str, message: &str, help: &str| {
        let found = wrong(KNATIVE, &service(annotations, predictor));
        assert!(
            found.faults[0].starts_with("E0408") && found.faults[0].contains(message),
            "{:?}",
            found.faults
        );
        assert!(found.found.faults[0].help[0].contains(help), "{:?}", found.found.faults);
    };
    refused("serving.kserve.io/deploymentMode: RawDeployment", "", "with the mode RawDeployment", "`hpa: {");
    refused("serving.kserve.io/autoscalerClass: keda", "", "class keda", "`keda: {");
    refused("serving.kserve.io/autoscalerClass: external", "", "class external", "the policy that");
    refused("", "scaleMetric: cpu,", "does not scale on cpu", "`hpa: {");
    refused("", "autoScaling: { metrics: [] },", "`autoScaling` is for Deployments", "`keda: {");
    let status = service("", "") + "status: { deploymentMode: Standard }\n";
    assert!(wrong(KNATIVE, &status).faults[0].contains("with the mode Standard"));
}

fn deployment(pod: &str, container: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{ name: d }}
spec:
  template:
    spec:
      {pod}
      containers:
        - name: c
          {container}
"
    )
}

/// A Deployment whose container has the readiness probe that it should have.
fn probed(pod: &str, container: &str) -> String {
    deployment(pod, &format!("readinessProbe: {{ httpGet: {{ port: 80 }} }}\n          {container}"))
}

#[test]
fn a_deployment_says_what_a_replica_is() {
    let check = |manifest: String, expected: Value| {
        let (own, notes) = taken(REPLICA, "", &manifest);
        assert_eq!(own, expected, "{manifest}");
        assert_eq!(notes, [""; 0], "{manifest}");
    };
    check(probed("", ""), json!({}));
    check(probed("terminationGracePeriodSeconds: 600", ""), json!({"terminationGracePeriod": "600s"}));
    check(probed("", "resources: { limits: { nvidia.com/gpu: \"2\" } }"), json!({"gpus": 2}));
    check(
        probed(
            "",
            "resources: { requests: { cpu: 500m, memory: 16Gi, amd.com/gpu: 1 }, limits: { cpu: 9 } }",
        ),
        json!({"gpus": 1, "cpuRequest": "500m", "memoryRequest": "16Gi"}),
    );
    check(probed("", "resources: { limits: { cpu: 9 } }"), json!({"cpuRequest": 9}));
    check(
        probed(
            "resources: { requests: { cpu: 3 } }",
            "resources: { requests: { cpu: 9, hugepages-2Mi: 1Gi } }",
        ),
        json!({"cpuRequest": 3}),
    );
    check(
        deployment("", "readinessProbe: { initialDelaySeconds: 5, periodSeconds: 2, successThreshold: 1 }"),
        json!({"readiness": {"initialDelay": "5s", "period": "2s", "successThreshold": 1}}),
    );
    check(deployment("", "readinessProbe: { periodSeconds: 0 }"), json!({}));
    check(
        deployment("", "readinessProbe: { successThreshold: 2 }"),
        json!({"readiness": {"successThreshold": 2}}),
    );
    check(
        probed("", "startupProbe: { initialDelaySeconds: 30, failureThreshold: 60 }"),
        json!({"startupProbe": {"initialDelay": "30s", "period": "10s", "failureThreshold": 60}}),
    );
    check(
        probed("", "livenessProbe: { periodSeconds: 20 }"),
        json!({"livenessProbe": {"initialDelay": "0s", "period": "20s", "failureThreshold": 3}}),
    );
    check(
        deployment("", "startupProbe: { periodSeconds: 5 }"),
        json!({
            "readiness": {"period": "5s"},
            "startupProbe": {"initialDelay": "0s", "period": "5s", "failureThreshold": 3}
        }),
    );
    for hook in [
        "{ sleep: { seconds: 15 } }",
        "{ exec: { command: [sleep, \"15\"] } }",
        "{ exec: { command: [/bin/sh, -c, sleep 15s] } }",
        "{ exec: { command: [bash, -c, /bin/sleep 15] } }",
    ] {
        check(probed("", &format!("lifecycle: {{ preStop: {hook} }}")), json!({"preStop": "15s"}));
    }
    let found = inlined(
        "replica: { manifest: m.yaml, gpus: 4 }\ninitial: { state: cold }\n",
        &[(
            "m.yaml",
            &probed("", "resources: { limits: { nvidia.com/gpu: 2 } }")
                .replace("spec:\n  t", "spec:\n  replicas: 3\n  t"),
        )],
    );
    assert_eq!(found.tree, json!({"replica": {"gpus": 4}, "initial": {"state": "cold", "replicas": 3}}));
}

#[test]
fn what_a_run_does_without_is_named() {
    let check = |manifest: &str, expected: &[&str]| {
        let (_, notes) = taken(REPLICA, "", manifest);
        assert_eq!(notes.len(), expected.len(), "{notes:?}");
        for (note, words) in notes.iter().zip(expected) {
            assert!(note.starts_with("W0201") && note.contains(words), "{words}: {note}");
        }
    };
    check(
        &probed(
            "nodeSelector: { a: b }\n      affinity: {}\n      tolerations: []\n      priorityClassName: p",
            "",
        ),
        &["m.yaml:7:7 `nodeSelector` is not modelled: every replica runs", "`priorityClassName`"],
    );
    check(&probed("schedulerName: default-scheduler\n      dnsPolicy: ClusterFirst", ""), &[]);
    check(&probed("schedulerName: volcano", ""), &["`schedulerName`"]);
    check(&deployment("", ""), &[]);
    check(
        &probed(
            "",
            "startupProbe: { initialDelaySeconds: 30, failureThreshold: 60 }\n          livenessProbe: {}",
        ),
        &[],
    );
    check(
        &probed("", "lifecycle: { postStart: { exec: {} }, preStop: { exec: { command: [x] } } }"),
        &["`postStart`", "this `preStop`"],
    );
    check(&probed("", "lifecycle: { preStop: { httpGet: { port: 80 } } }"), &["`httpGet`"]);
    check(&probed("", "resources: { limits: { nvidia.com/mig-1g.10gb: 1 } }"), &["`nvidia.com/mig-1g.10gb`"]);
    check(
        &probed(
            "",
            "resources: { requests: { cpu: 1 }, limits: { nvidia.com/gpu: 1 } }\n        - name: side",
        ),
        &["m.yaml:12:11 a sum of cpu requests is not modelled"],
    );
    let stateful = probed("", "").replace("Deployment", "StatefulSet");
    check(&stateful, &["m.yaml:2:1 that a StatefulSet starts"]);
    check(&stateful.replace("  template", "  podManagementPolicy: Parallel\n  template"), &[]);
}

#[test]
fn a_container_without_a_probe_is_ready_when_it_runs() {
    let (own, _) = taken(REPLICA, "", &deployment("", ""));
    assert_eq!(own["readiness"], json!({"after": "process"}));
    let (own, _) = taken(REPLICA, "readiness: { after: warmUp }", &deployment("", ""));
    assert_eq!(own["readiness"], json!({"after": "warmUp"}), "what is written beside stays");
    let startup = deployment("", "startupProbe: { periodSeconds: 7 }");
    assert_eq!(taken(REPLICA, "", &startup).0["readiness"], json!({"period": "7s"}));
}

#[test]
fn a_leader_worker_set_is_a_replica_of_several_pods() {
    let pod = |gpus: u32| {
        format!(
            "{{ spec: {{ containers: [{{ name: vllm, readinessProbe: {{}}, resources: {{ limits: {{ nvidia.com/gpu: {gpus} }} }} }}] }} }}"
        )
    };
    let set = |template: &str| {
        format!(
            "apiVersion: leaderworkerset.x-k8s.io/v1\nkind: LeaderWorkerSet\nmetadata: {{ name: m }}\nspec:\n  replicas: 2\n  leaderWorkerTemplate: {{ {template} }}\n"
        )
    };
    let worker = format!("workerTemplate: {}", pod(8));
    let (own, _) = taken(REPLICA, "", &set(&format!("size: 4, {worker}")));
    assert_eq!((&own["gpus"], &own["groupSize"]), (&json!(32), &json!(4)));
    let (own, _) = taken(REPLICA, "", &set(&worker));
    assert_eq!((&own["gpus"], own.get("groupSize")), (&json!(8), None));
    let (own, _) = taken(REPLICA, "", &set(&format!("size: 2, leaderTemplate: {}, {worker}", pod(8))));
    assert_eq!((&own["gpus"], &own["groupSize"]), (&json!(16), &json!(2)));
    let unlike = set(&format!("size: 2, leaderTemplate: {}, {worker}, restartPolicy: None", pod(4)));
    let notes = taken(REPLICA, "", &unlike).1;
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("`restartPolicy`") && notes[1].contains("other GPUs"), "{notes:?}");
}

#[test]
fn the_container_that_serves_is_found_or_asked_for() {
    let two = |first: &str, second: &str| {
        probed(
            "",
            &format!(
                "{first}\n        - name: b\n          {second}\n          readinessProbe: {{ periodSeconds: 3 }}"
            ),
        )
    };
    let gpu = "resources: { limits: { nvidia.com/gpu: 1 } }";
    let (own, _) = taken(REPLICA, "", &two("", gpu));
    assert_eq!(own, json!({"gpus": 1, "readiness": {"period": "3s"}}));
    let (own, _) = taken(REPLICA, "container: b", &two(gpu, gpu));
    assert_eq!(own, json!({"gpus": 2, "readiness": {"period": "3s"}}), "a pod holds the GPUs of all");
    for manifest in [two("", ""), two(gpu, gpu)] {
        let found = wrong(REPLICA, &manifest);
        assert_eq!(found.faults, ["E0407 m.yaml:8:7 which of these containers serves the model?"]);
        assert!(found.found.faults[0].help[0].ends_with("one of c, b"));
    }
    let found = inlined("replica: { manifest: m.yaml, container: bb }", &[("m.yaml", &two("", ""))]);
    assert_eq!(found.faults, ["E0407 s.yaml:1:41 Deployment `d` has no container `bb`"]);
    assert_eq!(found.found.faults[0].label, "did you mean `b`?");
    // Sidecars count, other containers that only start first do not.
    let init = "initContainers: [{ name: x, restartPolicy: Always, resources: { requests: { cpu: 500m, memory: 1Gi } } }, { name: y, resources: { requests: { cpu: 9, memory: 9 } } }]";
    let (own, _) = taken(REPLICA, "", &probed(init, "resources: { requests: { cpu: 1, memory: 2Gi } }"));
    assert_eq!(own, json!({"cpuRequest": "1500m", "memoryRequest": 3_221_225_472u64}));
}

#[test]
fn faults_of_a_deployment_are_placed() {
    let check = |manifest: String, expected: &[&str]| {
        let found = wrong(REPLICA, &manifest);
        assert_eq!(found.faults.len(), expected.len(), "{:?}", found.faults);
        for (fault, words) in found.faults.iter().zip(expected) {
            assert!(fault.contains(words), "{words}: {fault}");
        }
    };
    check(
        probed("nodeSelectr: {}\n      hostPid: true", "imagee: x"),
        &["E0201 m.yaml:7:7 unknown field `nodeSelectr`", "`hostPid`", "`imagee`"],
    );
    check(
        probed("terminationGracePeriodSeconds: 10m", ""),
        &["E0204 m.yaml:7:38 expected a whole number of seconds"],
    );
    check(
        probed("", "resources: { limits: { nvidia.com/gpu: 1.5, cpu: lots, memory: -1 } }"),
        &["a part of a GPU", "E0205", "a negative quantity"],
    );
    check(probed("", "resources: { limits: { gpus: 1 } }"), &["unknown resource `gpus`"]);
    check(probed("", "resources: 3"), &["E0204 m.yaml:11:22 expected a mapping"]);
    check(deployment("", "readinessProbe: { periodSeconds: -3 }"), &["E0204"]);
    check(
        "apiVersion: apps/v1\nkind: Deployment\nspec: { template: { spec: {} } }\n".to_owned(),
        &["missing field `containers`"],
    );
    check(
        "apiVersion: apps/v1\nkind: Deployment\nspec: { template: { } }\n".to_owned(),
        &["E0202 m.yaml:3:9 missing field `spec`"],
    );
    check("apiVersion: apps/v1\nkind: Deployment\n".to_owned(), &["missing field `spec`"]);
    check(probed("", "").replace("apps/v1", "apps/v1beta2"), &["E0408"]);
    check(
        "apiVersion: apps/v1\nkind: Deployment\nspec: { template: { spec: { containers: { a: b } } } }\n"
            .to_owned(),
        &["expected a list"],
    );
}

#[test]
fn other_objects_have_pods_as_well() {
    let knative = "apiVersion: serving.knative.dev/v1\nkind: Service\nspec: { template: { spec: { timeoutSeconds: 90, containers: [{ image: x, resources: { limits: { nvidia.com/gpu: 1 } } }] } } }\n";
    let (own, notes) = taken(REPLICA, "", knative);
    assert_eq!(own, json!({"gpus": 1, "terminationGracePeriod": "90s"}));
    assert_eq!(notes, [""; 0], "Knative probes by itself");
    let inference = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nspec: { predictor: { model: { modelFormat: { name: huggingface }, args: [--max-model-len=4k], resources: { limits: { nvidia.com/gpu: 2 } } } } }\n";
    let found = inlined("replica: { manifest: m.yaml }", &[("m.yaml", inference)]);
    assert_eq!(found.faults, [""; 0]);
    assert_eq!(found.tree, json!({"replica": {"gpus": 2}, "engine": {"continuous": {"maxModelLen": 4000}}}));
    let pod = "apiVersion: v1\nkind: Pod\nspec: { containers: [{ name: c, readinessProbe: { periodSeconds: 7 } }] }\n";
    assert_eq!(taken(REPLICA, "", pod).0, json!({"readiness": {"period": "7s"}}));
}

#[test]
fn vllms_arguments_are_the_engines() {
    let engine = |own: &str, container: &str| {
        let found = inlined(
            &format!("replica: {{ manifest: m.yaml }}\n{own}"),
            &[("m.yaml", &probed("", container))],
        );
        (found.tree["engine"].clone(), found.tree["replica"]["gpus"].clone(), found.faults, found.notes)
    };
    let check = |own: &str, container: &str, expected: Value| {
        let (engine, _, faults, _) = engine(own, container);
        assert_eq!(faults, [""; 0], "{container}");
        assert_eq!(engine, expected, "{container}");
    };
    let seqs = json!({"continuous": {"maxNumSeqs": 16}});
    for container in [
        "args: [--max-num-seqs=16]\n          image: vllm/vllm-openai",
        "args: [--max_num_seqs, \"16\"]\n          image: r/VLLM:1",
        "command: [vllm, serve, m, --max-num-seqs, \"9\", --max-num-seqs, \"16\"]",
        "command: [python3, -m, vllm.entrypoints.openai.api_server]\n          args: [--max-num-seqs=16]",
        "command: [/bin/sh, -c]\n          args: [\"exec vllm serve m \\\\\\n --max-num-seqs 16 --port 8000\"]",
        "command: [/bin/bash, -lc, \"vllm serve 'm' --max-num-seqs=\\\"16\\\"; sleep 1\"]",
        "command: [vllm, serve, --max-num-seqs=$(SEQS)]\n          env: [{ name: SEQS, value: \"16\" }]",
        "command: [sh, -c, \"vllm serve --max-num-seqs ${SEQS}\"]\n          env: [{ name: A, value: b }, { name: SEQS, value: \"16\" }]",
    ] {
        check("", container, seqs.clone());
    }
    check("", "args: [--max-num-seqs=16]\n          image: lmsysorg/sglang", Value::Null);
    check(
        "",
        "args: [--max-model-len=auto, --max-num-batched-tokens=8K, --gpu-memory-utilization, \"0.85\"]\n          image: vllm",
        json!({"continuous": {"maxNumBatchedTokens": 8192, "gpuMemoryUtilization": 0.85}}),
    );
    let vllm = "args: [--max-num-seqs=16, --max-model-len=8k]\n          image: vllm";
    check("engine: continuous\n", vllm, json!({"continuous": {"maxNumSeqs": 16, "maxModelLen": 8000}}));
    check(
        "engine: { continuous: { maxNumSeqs: 4 } }\n",
        vllm,
        json!({"continuous": {"maxNumSeqs": 4, "maxModelLen": 8000}}),
    );
    check(
        "engine: { workers: { workers: 1, service: 1s } }\n",
        vllm,
        json!({"workers": {"workers": 1, "service": "1s"}}),
    );
    let (.., notes) = engine("engine: { continuous: { maxNumSeqs: 4 } }\n", vllm);
    assert_eq!(
        notes,
        [
            "W0203 m.yaml:11:18 taken from vLLM's arguments into `engine.continuous`: `maxModelLen: 8000`",
            "W0203 m.yaml:11:18 vLLM's `--max-num-seqs 16` give way to what the scenario's `engine` says",
        ]
    );
    let (_, gpus, ..) = engine("", "args: [-tp, \"2\", --pipeline-parallel-size=3]\n          image: vllm");
    assert_eq!(gpus, 6);
    let both = "args: [-tp=2]\n          image: vllm\n          resources: { limits: { nvidia.com/gpu: 4 } }";
    assert_eq!(engine("", both).1, 4, "what the container holds is held");
    let (_, _, _, notes) =
        engine("", "args: [--enforce-eager, --quantization=fp8, --dtype=auto]\n          image: vllm");
    assert!(
        notes.len() == 1 && notes[0].contains("`--enforce-eager`, `--quantization` is not modelled"),
        "{notes:?}"
    );
    let (_, _, _, notes) = engine("", "args: [--max-num-seqs=$(UNSET)]\n          image: vllm");
    assert!(notes.len() == 1 && notes[0].contains("the value of `--max-num-seqs`"), "{notes:?}");
    let (_, _, faults, _) =
        engine("", "args: [--max-num-seqs=lots, --gpu-memory-utilization, x]\n          image: vllm");
    assert_eq!(
        faults,
        [
            "E0205 m.yaml:11:18 `lots` is no value for `--max-num-seqs`",
            "E0205 m.yaml:11:39 `x` is no value for `--gpu-memory-utilization`",
        ]
    );
}

#[test]
fn the_adapters_rules_come_in_every_form_they_have() {
    let rules = "rules:\n  - seriesQuery: a\nexternalRules:\n  - seriesQuery: b\n";
    let expected = json!({"rules": [{"seriesQuery": "a"}], "externalRules": [{"seriesQuery": "b"}]});
    let block: String = rules.lines().map(|line| format!("    {line}\n")).collect();
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: adapter }}\ndata:\n  config.yaml: |\n{block}"
    );
    let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: other }\ndata: { a: b }\n---\n";
    let json_map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"config.yml": rules}}).to_string();
    for text in [&map, &format!("{other}{map}"), &json_map, rules, &format!("resourceRules: {{}}\n{rules}")] {
        assert_eq!(taken(ADAPTER, "", text), (expected.clone(), Vec::new()), "{text}");
    }
    let values = "replicas: 2\nrules: { default: false, custom: [{ seriesQuery: a }], external: [{ seriesQuery: b }], resource: {} }\n";
    assert_eq!(taken(ADAPTER, "", values), (expected.clone(), Vec::new()));
    let indented: String = values.lines().map(|line| format!("  {line}\n")).collect();
    assert_eq!(taken(ADAPTER, "", &format!("prometheus-adapter:\n{indented}")).0, expected);
    let (own, notes) = taken(ADAPTER, "", "rules: { custom: [] }");
    assert_eq!(own, json!({"rules": []}));
    assert!(notes[0].contains("the chart's set of default rules"), "{notes:?}");
    assert_eq!(
        taken(ADAPTER, "", "externalRules: [{ seriesQuery: b }]").0,
        json!({"externalRules": [{"seriesQuery": "b"}]})
    );
    assert_eq!(
        taken(ADAPTER, "", "rules: []").0,
        json!({"rules": []}),
        "no rule is no rule, not the default"
    );
    let check = |text: &str, expected: &str| {
        let found = wrong(ADAPTER, text);
        assert!(found.faults[0].contains(expected), "{:?}", found.faults);
    };
    check(&map.replace("seriesQuery: a", "seriesQuery: [a"), "E0102 m.yaml:8:");
    check(&map.replace("externalRules", "externalRule"), "E0201 m.yaml:8:5 unknown field `externalRule`");
    check(&map.replace("      - seriesQuery: a", "      x: 1\n      x: 2"), "E0103 m.yaml:8:7");
    check("rules: { existing: my-rules }", "E0408 m.yaml:1:20 the rules are in the ConfigMap `my-rules`");
    check("rules: { customs: [] }", "E0201");
    check("image: x", "E0407 m.yaml:1:1 `m.yaml` holds no rules");
    check(other, "E0407 m.yaml:4:1 ConfigMap `other` holds no `config.yaml`");
    check(&json_map.replace("- seriesQuery: a", "- [seriesQuery: a"), "in line 4 of this text");
}

#[test]
fn tables_name_each_field_once_and_each_warning_is_documented() {
    for kind in [
        "Deployment",
        "StatefulSet",
        "LeaderWorkerSet",
        "Pod",
        "Service",
        "Revision",
        "PodAutoscaler",
        "InferenceService",
        "ConfigMap",
    ] {
        no_double(fields::table_of(kind));
    }
    let page = include_str!("../../../docs/manifests.md");
    let unmodelled = fields::unmodelled();
    assert!(unmodelled.len() > 15, "{unmodelled:?}");
    for (name, _) in unmodelled {
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/manifests.md does not say that `{name}` is not modelled"
        );
    }
}

fn no_double(table: walk::Table) {
    let mut names: Vec<&str> =
        table.iter().copied().flatten().flat_map(|(names, _)| names.iter().copied()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "{names:?}");
    for (_, field) in table.iter().copied().flatten() {
        if let walk::Field::In(inner) | walk::Field::Each(inner) = field {
            no_double(inner);
        }
    }
}

/// The shipped manifests, each with the place it is for.
const SHIPPED: [(&str, &str, &str); 11] = [
    ("summed", KEDA, include_str!("../../../scenarios/manifests/production-stack-summed.yaml")),
    ("gateway", KEDA, include_str!("../../../scenarios/manifests/gateway-scaledobject.yaml")),
    ("patient", KNATIVE, include_str!("../../../scenarios/manifests/knative-patient.yaml")),
    ("hpa", HPA, include_str!("../../../scenarios/manifests/hpa.yaml")),
    (
        "production-stack",
        KEDA,
        include_str!("../../../scenarios/manifests/production-stack-scaledobject.yaml"),
    ),
    ("eks", KEDA, include_str!("../../../scenarios/manifests/eks-scaledobject.yaml")),
    ("http", KEDA, include_str!("../../../scenarios/manifests/httpscaledobject.yaml")),
    ("knative", KNATIVE, include_str!("../../../scenarios/manifests/knative-service.yaml")),
    ("deployment", REPLICA, include_str!("../../../scenarios/manifests/deployment.yaml")),
    ("knative as pods", REPLICA, include_str!("../../../scenarios/manifests/knative-service.yaml")),
    ("adapter", ADAPTER, include_str!("../../../scenarios/manifests/adapter-configmap.yaml")),
];

#[test]
fn shipped_manifests_are_taken() {
    for (name, at, text) in SHIPPED {
        let (own, _) = taken(at, "", text);
        assert!(own.as_object().is_some_and(|own| !own.is_empty()), "{name}: {own}");
    }
}

/// A text with one thing changed.
fn mutated(text: &str, what: usize, at: usize, with: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let line = at % lines.len();
    let word = |line: &str| line.split(": ").nth(1).map(str::to_owned);
    let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    match what % 7 {
        0 => drop(changed.remove(line)),
        1 => changed.insert(line, changed[line].clone()),
        2 => changed[line] = changed[line].replacen(' ', "", 1),
        3 => changed[line] = format!("{}{with}", changed[line]),
        4 => {
            if let Some(word) = word(lines[line]) {
                changed[line] = changed[line].replace(&word, with);
            }
        }
        5 => changed.truncate(line),
        _ => {
            let at = text.char_indices().nth(at % text.chars().count()).map_or(0, |(at, _)| at);
            return format!("{}{with}{}", &text[..at], &text[at..]);
        }
    }
    changed.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_mutated_manifest_is_taken_or_refused_and_never_a_crash(
        which in 0usize..SHIPPED.len(),
        changes in prop::collection::vec((0usize..7, 0usize..4_000, "[ a-z0-9:{}\\[\\],\"'|>&*!\\-$\\n]{0,6}|-1|~|\\[\\]|\\{\\}|99999999999"), 1..4),
    ) {
        let (_, at, text) = SHIPPED[which];
        let mut text = text.to_owned();
        for (what, at, with) in changes {
            text = mutated(&text, what, at, &with);
            prop_assume!(!text.trim().is_empty());
        }
        let mut scenario = "{ manifest: m.yaml }".to_owned();
        for key in at.trim_start_matches('/').rsplit('/') {
            scenario = format!("{{ {key}: {scenario} }}");
        }
        let directory = tempfile::tempdir().expect("there is a place for files");
        fs::write(directory.path().join("m.yaml"), &text).expect("it takes files");
        let mut document = Document::parse("s.yaml", &scenario).expect("it is YAML");
        let found = inline(&mut document, directory.path());
        for diagnostic in found.faults.iter().chain(&found.notes) {
            prop_assert!(find_code(diagnostic.code).is_some(), "{diagnostic:?}");
            prop_assert!(!diagnostic.message.is_empty() && diagnostic.place.is_some(), "{diagnostic:?}");
        }
        // Whatever was taken is read or refused as any scenario is.
        prop_assert!(read::<ScenarioSpec>(&document).is_err(), "a scenario has more than this");
    }
}
