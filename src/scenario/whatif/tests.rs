//! Each mitigation in a scenario where it applies: what it writes, and that this changes what it is written to.

use std::fs;

use serde_json::Value;

use super::*;
use crate::yaml::{Path as At, Step};

const BASE: &str = "
name: base
profile: l40s-llama3.1-8b-vllm
workload: { constant: { rate: 1 }, duration: 20m, lengths: { constant: { promptTokens: 9, outputTokens: 9 } } }
replica: { image: { layers: [10G] }, weights: { size: 16G } }
cluster: { pools: { gpu: { gpusPerNode: 1, maxNodes: 8, provision: 60s } } }
slo: { ttft: 10s }
policies:
  p:
    hpa:
      minReplicas: 2
      maxReplicas: 4
      metrics:
        - type: Pods
          pods: { metric: { name: vllm:num_requests_running }, target: { type: AverageValue, averageValue: 10 } }
";

/// The base with assignments, and each mitigation tried on it.
fn trials(sets: &[&str]) -> Trials {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("base.yaml");
    fs::write(&file, BASE).unwrap();
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let all = named(&[], &[]).unwrap();
    Trials::prepare(&file, &sets, "p", &all, &[]).unwrap_or_else(|faults| panic!("{sets:?}: {faults:#?}"))
}

/// What stands at a path, if anything does.
fn at<'a>(value: &'a Value, path: &At) -> Option<&'a Value> {
    path.steps().iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key.as_str()),
        Step::Index(index) => value.get(*index),
    })
}

/// What a policy is written as in `policies.p=`.
fn policy(kind: &str) -> String {
    format!("policies.p={kind}")
}

const WITHOUT: [&str; 2] = ["replica.image=null", "replica.weights=null"];
const KEDA: &str = "{ keda: { scaledObject: { scaleTargetRef: { name: m }, minReplicaCount: 1, maxReplicaCount: 4, \
    triggers: [{ type: prometheus, metadata: { serverAddress: s, query: 'sum(vllm:num_requests_running)', threshold: '10' } }] } } }";
const POOL: &str = "{ warmPool: { spare: 1, over: { fixed: { replicas: 2 } } } }";

#[test]
fn each_mitigation_writes_what_it_says() {
    let mut seen: Vec<&str> = Vec::new();
    let mut check = |name: &'static str, fixture: &[&str], expected: &[&str]| {
        seen.push(name);
        let trials = trials(fixture);
        let why = || trials.untried.iter().find(|own| own.mitigation.name == name).map(|own| own.why.clone());
        let variant = trials.variants.iter().find(|own| own.mitigation.name == name);
        let variant = variant.unwrap_or_else(|| panic!("{name} {fixture:?}: {:?}", why()));
        assert_eq!(variant.sets, expected, "{name} {fixture:?}");
        let (before, after) = (trials.base.to_value(), variant.resolved.to_value());
        let differs = |set: &String| {
            let path = At::parse(set.split_once('=').unwrap().0).unwrap();
            at(&before, &path) != at(&after, &path)
        };
        assert!(variant.sets.iter().any(differs), "{name}: {:?} changes nothing", variant.sets);
    };
    let present = "cluster.pools.gpu.weightsPresent=true";
    let image = "cluster.pools.gpu.imagePresent=true";
    check("weights-on-node", &[], &[present]);
    check("weights-on-node", &WITHOUT, &["replica.weights={ size: 16060M }", present]);
    check("weights-prefetched", &[], &["cluster.pools.gpu.prefetch=[weights]"]);
    check(
        "weights-prefetched",
        &["cluster.pools.gpu.prefetch=[image]"],
        &["cluster.pools.gpu.prefetch=[image, weights]"],
    );
    check("weights-streamed", &[], &["replica.weights.streaming=true"]);
    check("weights-from-peers", &[], &["cluster.modelStore.peerToPeer=true"]);
    check("weights-affinity", &[], &["replica.modelAffinity=preferred"]);
    check("image-on-node", &[], &[image]);
    check("image-on-node", &WITHOUT, &["replica.image={ layers: [1G] }", image]);
    check("image-lazy", &[], &["replica.image.lazy={ first: 1G }"]);
    check("image-from-peers", &[], &["cluster.registry.peerToPeer=true"]);
    check("compile-cache", &[], &["replica.compileCache={ filled: true }"]);
    check("compile-cache", &["replica.compileCache={}"], &["replica.compileCache.filled=true"]);
    let h200 = ["profile=h200-llama3.1-70b-fp8-vllm", "replica={}"];
    check("warm-up-halved", &h200, &["replica.compileCache={ filled: true, warmUp: 1m12.5s }"]);
    check("ready-before-warm-up", &[], &["replica.readiness.after=weights"]);
    check("ready-after-warm-up", &["replica.readiness.after=weights"], &["replica.readiness.after=warmUp"]);
    check("probe-faster", &[], &["replica.readiness.period=1s"]);
    check("node-held", &[], &["cluster.placeholders.replicas=1"]);
    check("nodes-doubled", &["policies.p.hpa.maxReplicas=9"], &["cluster.pools.gpu.maxNodes=16"]);
    check("spare", &[&policy("{ fixed: { replicas: 2 } }")], &[&policy(POOL)]);
    check("spare", &[&policy(POOL)], &["policies.p.warmPool.spare=2"]);
    check("spares-in-rotation", &[&policy(POOL)], &["policies.p.warmPool.inRotation=true"]);
    let rotating = [policy(POOL), "policies.p.warmPool.inRotation=true".to_owned()];
    check(
        "spares-aside",
        &rotating.each_ref().map(String::as_str),
        &["policies.p.warmPool.inRotation=false"],
    );
    check("spares-asleep", &[&policy(POOL)], &["policies.p.warmPool.sleep={ level: inHostRam }"]);
    let asleep = [policy(POOL), "policies.p.warmPool.sleep={ level: inHostRam }".to_owned()];
    check("spares-awake", &asleep.each_ref().map(String::as_str), &["policies.p.warmPool.sleep=null"]);
    check("minimum-raised", &[], &["policies.p.hpa.minReplicas=3"]);
    check("minimum-raised", &[&policy(KEDA)], &["policies.p.keda.scaledObject.minReplicaCount=2"]);
    check("minimum-raised", &[&policy(POOL)], &["policies.p.warmPool.over.fixed.replicas=3"]);
    check(
        "minimum-raised",
        &[&policy("{ knative: { annotations: { autoscaling.knative.dev/minScale: '1' } } }")],
        &["policies.p.knative.annotations[\"autoscaling.knative.dev/minScale\"]=\"2\""],
    );
    check("minimum-lowered", &[], &["policies.p.hpa.minReplicas=1"]);
    check("maximum-raised", &[], &["policies.p.hpa.maxReplicas=5"]);
    check(
        "maximum-doubled",
        &["policies.p.hpa.maxReplicas=5", "cluster.provisioner=none", "cluster.pools.gpu.minNodes=8"],
        &["policies.p.hpa.maxReplicas=10", "cluster.pools.gpu.maxNodes=10", "cluster.pools.gpu.minNodes=10"],
    );
    check("scrape-5s", &["telemetry.delay=30s"], &["telemetry.scrapeInterval=5s", "telemetry.delay=0s"]);
    check("loop-5s", &[], &["policies.p.hpa.controller.syncPeriod=5s"]);
    check(
        "loop-5s",
        &[&policy(KEDA)],
        &["policies.p.keda.controller.syncPeriod=5s", "policies.p.keda.scaledObject.pollingInterval=5"],
    );
    check("target-lower", &[], &["policies.p.hpa.metrics[0].pods.target.averageValue=\"8\""]);
    check(
        "target-lower",
        &[&policy(KEDA)],
        &["policies.p.keda.scaledObject.triggers[0].metadata.threshold=\"8\""],
    );
    let no_limit = "policies=[{ type: Pods, value: 1000, periodSeconds: 15 }]";
    check("up-at-once", &[], &[&format!("policies.p.hpa.behavior.scaleUp.{no_limit}")]);
    check("down-later", &[], &["policies.p.hpa.controller.downscaleStabilization=10m"]);
    check(
        "down-later",
        &["policies.p.hpa.behavior={ scaleDown: { stabilizationWindowSeconds: 120 } }"],
        &["policies.p.hpa.behavior.scaleDown.stabilizationWindowSeconds=240"],
    );
    check("keep-warm", &["replica.cooling={ after: 1m }"], &["replica.keepWarm={}"]);
    check("drain-longer", &[], &["replica.terminationGracePeriod=5m"]);
    let with_image =
        "cluster.pools.gpu={ gpusPerNode: 1, maxNodes: 8, imagePresent: true, prefetch: [weights] }";
    check(
        "no-weights-on-node",
        &[with_image],
        &["cluster.pools.gpu.prefetch=[]", "replica.weights.kept=false"],
    );
    check("no-image-on-node", &[with_image], &["cluster.pools.gpu.imagePresent=false"]);
    check("no-compile-cache", &["replica.compileCache={}"], &["replica.compileCache=null"]);
    check("no-weights-affinity", &["replica.modelAffinity=preferred"], &["replica.modelAffinity=none"]);
    check("no-node-held", &["cluster.placeholders.replicas=2"], &["cluster.placeholders.replicas=0"]);
    check("no-warm-pool", &[&policy(POOL)], &[&policy("{ fixed: { replicas: 2 } }")]);
    check(
        "no-warm-pool",
        &[&policy(
            "{ guard: { ceiling: 3, over: { warmPool: { spare: 1, over: { fixed: { replicas: 2 } } } } } }",
        )],
        &["policies.p.guard.over={ fixed: { replicas: 2 } }"],
    );
    check(
        "no-forecast",
        &[&policy(
            "{ predictive: { capacity: 5, lead: 1m, maxReplicas: 4, over: { fixed: { replicas: 2 } } } }",
        )],
        &[&policy("{ fixed: { replicas: 2 } }")],
    );
    check(
        "no-keep-warm",
        &["replica.cooling={ after: 1m }", "replica.keepWarm={}"],
        &["replica.keepWarm=null"],
    );
    let untested: Vec<&str> =
        MITIGATIONS.iter().map(|own| own.name).filter(|name| !seen.contains(name)).collect();
    assert!(untested.is_empty(), "no fixture for {untested:?}");
}

#[test]
fn what_does_not_apply_says_why() {
    let check = |name: &str, fixture: &[&str], expected: &str| {
        let trials = trials(fixture);
        let found = trials.untried.iter().find(|own| own.mitigation.name == name);
        let found = found.unwrap_or_else(|| panic!("{name} was tried: {fixture:?}"));
        assert!(found.why.contains(expected), "{name}: {}", found.why);
    };
    check("weights-on-node", &["cluster.pools.gpu.weightsPresent=true"], "nodes come with the weights");
    check("weights-on-node", &["profile=h200-llama3.1-70b-fp8-vllm", "replica={}"], "labelled `download`");
    check("image-on-node", &["cluster.pools.gpu.imagePresent=true"], "nodes come with the image");
    check("node-held", &["cluster.pools.gpu.provision=0s"], "nodes come at once");
    check("node-held", &["cluster.pools.gpu.minNodes=8"], "all the time");
    check("node-held", &["cluster.provisioner=none", "cluster.pools.gpu.minNodes=8"], "nobody orders nodes");
    check("nodes-doubled", &[], "the policy asks for 4 replicas at most, and the pools hold 8");
    check("maximum-raised", &["policies.p.hpa.maxReplicas=20"], "the pools hold 8 replicas");
    check("minimum-lowered", &["policies.p.hpa.minReplicas=1"], "the minimum is 1");
    check("scrape-5s", &[&policy("{ fixed: { replicas: 1 } }")], "no metric that is scraped");
    check("drain-longer", &[&policy("{ fixed: { replicas: 1 } }")], "nothing is ever drained");
    check("keep-warm", &[], "nothing goes cold");
    // What the scenario then refuses: a minimum above the maximum.
    check(
        "minimum-raised",
        &["policies.p.hpa.minReplicas=4"],
        "minReplicas 5 is above maxReplicas 4 (E0310)",
    );
}

#[test]
fn traffic_and_capacity_are_read_once() {
    let trials = trials(&[&policy("{ slo: { maxReplicas: 4, lead: 1m } }")]);
    let capacity = trials.base.simulation.capacity_per_s;
    assert!(capacity.is_some(), "the policy reads it");
    for variant in &trials.variants {
        let simulation = &variant.resolved.simulation;
        assert_eq!(simulation.capacity_per_s, capacity, "{}", variant.mitigation.name);
        assert_eq!(simulation.setting.replica.capacity_per_s, capacity, "{}", variant.mitigation.name);
        assert!(
            std::sync::Arc::ptr_eq(&simulation.source, &trials.variants[0].resolved.simulation.source),
            "{}",
            variant.mitigation.name
        );
    }
}

#[test]
fn names_are_unique_and_unknown_ones_are_refused() {
    for (index, own) in MITIGATIONS.iter().enumerate() {
        assert!(MITIGATIONS[..index].iter().all(|other| other.name != own.name), "{} twice", own.name);
        assert!(
            own.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{}",
            own.name
        );
    }
    let words = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let chosen = named(&words(&["spare", "node-held"]), &words(&["spare"])).unwrap();
    assert_eq!(chosen.iter().map(|own| own.name).collect::<Vec<_>>(), ["node-held"]);
    let faults = named(&words(&["sparse"]), &words(&["banana"])).unwrap_err();
    let help = |index: usize| faults[index].help.iter().map(ToString::to_string).collect::<String>();
    assert_eq!(faults.len(), 2);
    assert!(help(0).contains("did you mean `spare`?"), "{:?}", faults[0]);
    assert!(help(1).contains("one of weights-on-node, "), "{:?}", faults[1]);
}
