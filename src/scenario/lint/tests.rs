//! Each rule on what it warns of, and on what is like it and right.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Case, RULES, World, findings};
use crate::scenario::{Scenario, parse, resolve};
use crate::yaml::{CODES, Severity};

/// A replica takes 167 s to start and runs 16 requests at a time. Nothing to warn of.
const BASE: &str = "
name: base
profile: a10g-llama3-8b-vllm
startTime: 2024-01-01T00:00:00Z
workload:
  constant: { rate: 1 }
  duration: 5m
  lengths: { constant: { promptTokens: 500, outputTokens: 200 } }
engine: { continuous: { maxNumSeqs: 16 } }
cluster: { pools: { gpu: { gpusPerNode: 1, minNodes: 8, maxNodes: 8, pricePerGpuHour: $1 } } }
replica: { cpuRequest: 4 }
policies: { p: { fixed: { replicas: 1 } } }
";

fn scenario(sets: &[&str]) -> Scenario {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    parse("base.yaml", BASE, &sets, PathBuf::new()).unwrap_or_else(|faults| panic!("{sets:?}: {faults:#?}"))
}

/// (code, path) of everything that is found.
fn found(sets: &[&str]) -> Vec<(&'static str, String)> {
    let scenario = scenario(sets);
    let resolved = resolve(&scenario, false).unwrap_or_else(|faults| panic!("{sets:?}: {faults:#?}"));
    let world = World { scenario: &scenario, simulation: &resolved.simulation };
    let found = findings(&Case::new(&world));
    for (code, finding) in &found {
        for text in [&finding.message, &finding.why, &finding.mend] {
            assert!(!text.is_empty() && !text.ends_with('.') && !text.contains("  "), "{code}: {text}");
        }
    }
    found.into_iter().map(|(code, finding)| (code, finding.path.to_string())).collect()
}

/// What is found of a policy, written over the base; expectations are `CODE path below policies.p`.
#[track_caller]
fn check(policy: &str, sets: &[&str], expected: &[&str]) {
    let policy = format!("policies.p={policy}");
    let all: Vec<&str> = std::iter::once(policy.as_str()).chain(sets.iter().copied()).collect();
    let found = found(&all);
    let short: Vec<String> = found
        .iter()
        .map(|(code, path)| format!("{code} {}", path.strip_prefix("policies.p.").unwrap_or(path)))
        .collect();
    assert_eq!(short, expected, "{all:?}");
}

/// A ScaledObject of one replica to four, with fields and triggers.
fn keda(fields: &str, triggers: &str) -> String {
    format!(
        "{{ keda: {{ scaledObject: {{ scaleTargetRef: {{ name: llm }}, minReplicaCount: 1, maxReplicaCount: 4, \
         {fields} triggers: [{triggers}] }} }} }}"
    )
}

/// The same, of none to four.
fn sleepy(fields: &str, triggers: &str) -> String {
    keda(fields, triggers).replace("minReplicaCount: 1", "minReplicaCount: 0")
}

fn prometheus(query: &str, threshold: &str) -> String {
    trigger(query, &format!("threshold: \"{threshold}\""))
}

fn trigger(query: &str, rest: &str) -> String {
    format!("{{ type: prometheus, metadata: {{ serverAddress: http://p, query: '{query}', {rest} }} }}")
}

fn cron(start: &str, end: &str, replicas: u32) -> String {
    format!(
        "{{ type: cron, metadata: {{ timezone: Etc/UTC, start: '{start}', end: '{end}', \
         desiredReplicas: \"{replicas}\" }} }}"
    )
}

/// An HPA of one replica to four on one metric.
fn hpa(metric: &str, rest: &str) -> String {
    format!("{{ hpa: {{ minReplicas: 1, maxReplicas: 4, metrics: [{metric}] {rest} }} }}")
}

fn pods(name: &str, target: &str) -> String {
    format!(
        "{{ type: Pods, pods: {{ metric: {{ name: '{name}' }}, target: {{ type: AverageValue, averageValue: {target} }} }} }}"
    )
}

fn external(name: &str, target: &str) -> String {
    format!("{{ type: External, external: {{ metric: {{ name: '{name}' }}, target: {{ {target} }} }} }}")
}

/// A Knative service of one pod to four, with annotations and other fields.
fn knative(annotations: &str, rest: &str) -> String {
    let own = "autoscaling.knative.dev";
    let pairs = [("min-scale", "1"), ("max-scale", "4"), ("window", "180s"), ("target", "10")];
    let defaults: String = pairs
        .into_iter()
        .filter(|(key, _)| !annotations.contains(&format!("{key}:")))
        .map(|(key, value)| format!("{own}/{key}: \"{value}\", "))
        .collect();
    let annotations = annotations.replace('~', &format!("{own}/"));
    format!("{{ knative: {{ annotations: {{ {defaults} {annotations} }} {rest} }} }}")
}

const SUM: &str = "sum(vllm:num_requests_waiting)";
const HELD: &str = "sum(gateway_queue_length)";

#[test]
fn the_bases_are_clean() {
    check("{ fixed: { replicas: 1 } }", &[], &[]);
    check(&keda("", &prometheus(SUM, "5")), &[], &[]);
    check(&sleepy("", &prometheus(HELD, "5")), &[], &[]);
    check(&hpa(&pods("vllm:num_requests_waiting", "5"), ""), &[], &[]);
    check(&knative("", ""), &[], &[]);
}

#[test]
fn queries_that_keda_cannot_read() {
    let bare = prometheus("vllm:num_requests_waiting", "5");
    check(&keda("", &bare), &[], &["W0301 keda.scaledObject.triggers[0].metadata.query"]);
    let rate = prometheus("sum by (pod) (rate(vllm:request_success_total[1m]))", "5");
    check(&keda("", &rate), &[], &["W0301 keda.scaledObject.triggers[0].metadata.query"]);
    // One model, one gateway, one replica.
    check(&keda("", &prometheus("sum by (model_name) (vllm:num_requests_waiting)", "5")), &[], &[]);
    check(&keda("", &prometheus("gateway_queue_length", "5")), &[], &[]);
    check(&keda("", &bare).replace("maxReplicaCount: 4", "maxReplicaCount: 1"), &[], &[]);

    let scalar = prometheus("scalar(sum(vllm:num_requests_waiting))", "5");
    check(&keda("", &scalar), &[], &["W0302 keda.scaledObject.triggers[0].metadata.query"]);
    check(&keda("", &prometheus("vector(3)", "5")), &[], &[]);
}

#[test]
fn sleep_of_what_never_sleeps() {
    let own = prometheus(SUM, "5");
    check(&keda("cooldownPeriod: 360,", &own), &[], &["W0303 keda.scaledObject.cooldownPeriod"]);
    check(&sleepy("cooldownPeriod: 360,", &prometheus(HELD, "5")), &[], &[]);
    check(&keda("cooldownPeriod: 360, idleReplicaCount: 0,", &prometheus(HELD, "5")), &[], &[]);
    let activated = trigger(SUM, r#"threshold: "5", activationThreshold: "1""#);
    check(&keda("", &activated), &[], &["W0303 keda.scaledObject.triggers[0].metadata.activationThreshold"]);
    check(&keda("", &trigger(SUM, r#"threshold: "5", activationThreshold: "0""#)), &[], &[]);

    check(&keda("pollingInterval: 5,", &own), &[], &["W0305 keda.scaledObject.pollingInterval"]);
    check(&keda("pollingInterval: 30,", &own), &[], &[]);
    check(&sleepy("pollingInterval: 5,", &prometheus(HELD, "5")), &[], &[]);
    let cached = own.replace("{ type: prometheus", "{ type: prometheus, useCachedMetrics: true");
    check(&keda("pollingInterval: 15,", &cached), &[], &[]);
    check(&keda("", &cached), &[], &["W0306 keda.scaledObject.triggers[0].useCachedMetrics"]);
}

#[test]
fn going_to_sleep_and_waking_up() {
    let held = prometheus(HELD, "5");
    check(&sleepy("cooldownPeriod: 120,", &held), &[], &["W0304 keda.scaledObject.cooldownPeriod"]);
    check(&sleepy("cooldownPeriod: 180,", &held), &[], &[]);

    let cpu = r#"{ type: cpu, metadata: { value: "60" } }"#;
    let cpu_at = "W0326 keda.scaledObject.triggers[0].type";
    check(&sleepy("", cpu), &[], &["W0313 keda.scaledObject.minReplicaCount", cpu_at]);
    check(&keda("", cpu), &[], &[cpu_at]);
    check(&sleepy("", &format!("{cpu}, {held}")), &[], &[cpu_at]);

    let lone = trigger(HELD, r#"threshold: "5", activationThreshold: "1""#);
    let activation = "W0314 keda.scaledObject.triggers[0].metadata.activationThreshold";
    check(&sleepy("", &lone), &[], &[activation]);
    check(&sleepy("", &trigger(HELD, r#"threshold: "5", activationThreshold: "0.5""#)), &[], &[]);
    let arrivals = "sum(rate(gateway_requests_total[1m]))";
    let above = trigger(arrivals, r#"threshold: "2", activationThreshold: "3""#);
    check(&sleepy("", &above), &[], &[activation]);
    check(&sleepy("", &trigger(arrivals, r#"threshold: "5", activationThreshold: "1""#)), &[], &[]);

    let idle = keda("idleReplicaCount: 1,", &held).replace("minReplicaCount: 1", "minReplicaCount: 2");
    check(&idle, &[], &["W0315 keda.scaledObject.idleReplicaCount"]);

    let asleep = ["W0320 keda.scaledObject.triggers[0].metadata.query"];
    check(&sleepy("", &prometheus(SUM, "5")), &[], &asleep);
    check(&sleepy("", &format!("{}, {held}", prometheus(SUM, "5"))), &[], &[]);
    check(&sleepy("", &prometheus(&format!("{SUM} or vector(1)"), "5")), &[], &[]);
    check(&sleepy("", &format!("{}, {}", prometheus(SUM, "5"), cron("0 8 * * *", "0 9 * * *", 2))), &[], &[]);
}

#[test]
fn paused_objects() {
    let paused = |annotation: &str| {
        let own = format!("{{ keda: {{ annotations: {{ {annotation} }}, scaledObject:");
        keda("", &prometheus(SUM, "5")).replace("{ keda: { scaledObject:", &own)
    };
    check(&paused(r#"autoscaling.keda.sh/paused: "false""#), &[], &[]);
    for (name, value) in
        [("paused", "true"), ("paused", "no"), ("paused-replicas", "2"), ("paused-scale-in", "true")]
    {
        let annotation = format!("autoscaling.keda.sh/{name}: \"{value}\"");
        let expected = format!("W0316 keda.annotations[\"autoscaling.keda.sh/{name}\"]");
        check(&paused(&annotation), &[], &[&expected]);
    }
}

#[test]
fn cron_windows() {
    let at = "W0307 keda.scaledObject.triggers[0].metadata.end";
    check(&keda("", &cron("0 0 * * *", "59 23 * * *", 3)), &[], &[at]);
    check(&keda("", &cron("0 8 * * 1-5", "59 17 * * 1-5", 3)), &[], &[]);
    let two = |end: &str| {
        keda("", &format!("{}, {}", cron("0 8 * * *", end, 3), cron("0 12 * * *", "0 18 * * *", 4)))
    };
    check(&two("59 11 * * *"), &[], &[at]);
    check(&two("0 12 * * *"), &[], &[]);
    check(&two("30 12 * * *"), &[], &[]);

    let replicas = "W0308 keda.scaledObject.triggers[0].metadata.desiredReplicas";
    check(&keda("", &cron("0 8 * * *", "0 9 * * *", 5)), &[], &[replicas]);
    check(&keda("", &cron("0 8 * * *", "0 9 * * *", 1)), &[], &[replicas]);
    check(&sleepy("", &cron("0 8 * * *", "0 9 * * *", 1)), &[], &[]);
}

#[test]
fn fallbacks() {
    let own = trigger(SUM, r#"threshold: "5", ignoreNullValues: "false""#);
    let fallback = |text: &str| format!("fallback: {{ failureThreshold: 3, {text} }},");
    let replicas = "keda.scaledObject.fallback.replicas";
    check(&keda(&fallback("replicas: 2, behavior: currentReplicasIfHigher"), &own), &[], &[]);
    check(&keda(&fallback("replicas: 4"), &own), &[], &[]);
    check(&keda(&fallback("replicas: 5"), &own), &[], &[&format!("W0310 {replicas}")]);
    check(&keda(&fallback("replicas: 2"), &own), &[], &[&format!("W0311 {replicas}")]);
    check(
        &keda(&fallback("replicas: 4"), &prometheus(SUM, "5")),
        &[],
        &["W0312 keda.scaledObject.triggers[0].metadata.ignoreNullValues"],
    );
    check(&keda(&fallback("replicas: 4"), &prometheus(HELD, "5")), &[], &[]);

    let formula = |target: &str| {
        let advanced = format!("advanced: {{ scalingModifiers: {{ formula: a, target: \"{target}\" }} }},");
        let named = own.replace("{ type: prometheus", "{ type: prometheus, name: a");
        keda(&format!("{advanced} {}", fallback("replicas: 4")), &named)
    };
    check(&formula("5"), &[], &[]);
    check(&formula("2.5"), &[], &["W0309 keda.scaledObject.advanced.scalingModifiers.target"]);
}

#[test]
fn totals_and_means() {
    let query = "keda.scaledObject.triggers[0].metadata.query";
    let p95 = "histogram_quantile(0.95, sum by (le) (rate(vllm:e2e_request_latency_seconds_bucket[1m])))";
    for text in [
        p95,
        "avg(vllm:num_requests_running)",
        "sum(rate(vllm:e2e_request_latency_seconds_sum[1m])) / sum(rate(vllm:e2e_request_latency_seconds_count[1m]))",
    ] {
        check(&keda("", &prometheus(text, "5")), &[], &[&format!("W0321 {query}")]);
        let whole =
            prometheus(text, "5").replace("{ type: prometheus", "{ type: prometheus, metricType: Value");
        check(&keda("", &whole), &[], &[]);
    }
    for text in [
        // Little's law, a rate, a mean of one series.
        "sum(rate(vllm:e2e_request_latency_seconds_sum[1m]))",
        "sum(rate(vllm:e2e_request_latency_seconds_count[1m]))",
        "max(gateway_queue_length)",
    ] {
        check(&keda("", &prometheus(text, "5")), &[], &[]);
    }
    // In an HPA by way of an adapter's rule.
    let rule = "telemetry.adapter={ externalRules: [{ seriesQuery: 'vllm:num_requests_running', metricsQuery: \
                'avg(<<.Series>>{<<.LabelMatchers>>})' }] }";
    let metric = |target: &str| hpa(&external("vllm:num_requests_running", target), "");
    let name = "hpa.metrics[0].external.metric.name";
    check(&metric("type: AverageValue, averageValue: 5"), &[rule], &[&format!("W0321 {name}")]);
    check(&metric("type: Value, value: 5"), &[rule], &[]);

    let target = "W0322 hpa.metrics[0].external.target.value";
    check(&metric("type: Value, value: 5"), &[], &[target]);
    check(&metric("type: AverageValue, averageValue: 5"), &[], &[]);
    check(&hpa(&external("gateway_requests_per_second", "type: Value, value: 5"), ""), &[], &[target]);
    // A queue falls as replicas are added.
    check(&hpa(&external("gateway_queue_length", "type: Value, value: 5"), ""), &[], &[]);

    let raw = |text: &str| keda("", &prometheus(text, "5"));
    check(&raw("sum(vllm:request_success_total)"), &[], &[&format!("W0323 {query}")]);
    check(&raw("sum(vllm:e2e_request_latency_seconds_count)"), &[], &[&format!("W0323 {query}")]);
    check(&raw("sum(vllm:request_success_total - vllm:request_success_total offset 1m)"), &[], &[]);
    check(&raw("count(vllm:request_success_total)"), &[], &[]);
}

#[test]
fn metrics_that_say_little() {
    let average = "W0324 hpa.metrics[0].pods.target.averageValue";
    check(&hpa(&pods("vllm:kv_cache_usage_perc", "80"), ""), &[], &[average]);
    check(&hpa(&pods("vllm:kv_cache_usage_perc", "800m"), ""), &[], &[]);
    check(&hpa(&pods("vllm:num_requests_running", "15"), ""), &[], &[average]);
    check(&hpa(&pods("vllm:num_requests_running", "12"), ""), &[], &[]);
    let threshold = "W0324 keda.scaledObject.triggers[0].metadata.threshold";
    check(&keda("", &prometheus("sum(vllm:kv_cache_usage_perc)", "80")), &[], &[threshold]);
    check(&keda("", &prometheus("100 * sum(vllm:kv_cache_usage_perc)", "80")), &[], &[]);

    check(&hpa(&pods("DCGM_FI_DEV_GPU_UTIL", "70"), ""), &[], &["W0325 hpa.metrics[0].pods.metric.name"]);
    check(
        &keda("", &prometheus("sum(DCGM_FI_DEV_GPU_UTIL)", "70")),
        &[],
        &["W0325 keda.scaledObject.triggers[0].metadata.query"],
    );

    let cpu =
        "{ type: Resource, resource: { name: cpu, target: { type: Utilization, averageUtilization: 60 } } }";
    check(&hpa(cpu, ""), &[], &["W0326 hpa.metrics[0].resource.name"]);
    check(&hpa("", ""), &[], &["W0326 hpa"]);

    check(
        &hpa(&pods("vllm:gpu_cache_usage_perc", "800m"), ""),
        &[],
        &["W0328 hpa.metrics[0].pods.metric.name"],
    );
    check(
        &keda("", &prometheus("sum(vllm:gpu_cache_usage_perc)", "0.8")),
        &[],
        &["W0328 keda.scaledObject.triggers[0].metadata.query"],
    );
}

#[test]
fn queues_that_stay_empty() {
    let waiting = hpa(&pods("vllm:num_requests_waiting", "5"), "");
    let name = ["W0327 hpa.metrics[0].pods.metric.name"];
    let (slo, wide) = ("slo={ tpot: 40ms }", "engine.continuous.maxNumSeqs=256");
    let busy = "workload.constant.rate=20";
    check(&waiting, &[slo, wide, busy], &name);
    // A small batch, little traffic, no limit on tokens, another metric beside it.
    check(&waiting, &[slo, busy, "slo.tpot=60ms"], &[]);
    check(&waiting, &[slo, wide], &[]);
    check(&waiting, &["slo={ ttft: 2s }", wide, busy], &[]);
    let both =
        format!("{}, {}", pods("vllm:num_requests_waiting", "5"), pods("vllm:num_requests_running", "12"));
    check(&hpa(&both, ""), &[slo, wide, busy], &[]);
}

#[test]
fn what_a_replica_carries() {
    let target = "W0332 knative.annotations[\"autoscaling.knative.dev/target\"]";
    check(&knative("~target: \"40\"", ""), &[], &[target]);
    check(&knative("~target: \"40\"", ", containerConcurrency: 16"), &[], &[]);
    check(&knative("~metric: rps, ~target: \"40\"", ""), &[], &[]);
    // Within the SLO, a batch of fewer.
    check(&knative("", ""), &["slo={ tpot: 33ms }"], &[target]);

    let slow = "slo={ tpot: 33ms }";
    let average = "W0332 hpa.metrics[0].external.target.averageValue";
    let in_flight = |target: u32| {
        hpa(
            &external("gateway_requests_in_flight", &format!("type: AverageValue, averageValue: {target}")),
            "",
        )
    };
    check(&in_flight(20), &[], &[average]);
    check(&in_flight(16), &[], &[]);
    check(&in_flight(16), &[slow], &[average]);
    let running = hpa(&pods("vllm:num_requests_running", "12"), "");
    check(&running, &[slow], &["W0332 hpa.metrics[0].pods.target.averageValue"]);
    check(&running, &["slo={ tpot: 60ms }"], &[]);
}

#[test]
fn http_scaled_objects() {
    let http = |fields: &str| {
        format!(
            "{{ keda: {{ httpScaledObject: {{ scaleTargetRef: {{ name: llm, service: llm, port: 80 }}, {fields} }} }} }}"
        )
    };
    let clean = "replicas: { max: 4 }, scalingMetric: { concurrency: { targetValue: 12 } }";
    check(&http(clean), &[], &[]);
    check(
        &http(&clean.replace("targetValue: 12", "targetValue: 100")),
        &[],
        &["W0332 keda.httpScaledObject.scalingMetric.concurrency.targetValue"],
    );
    check(&http("replicas: { max: 4 }"), &[], &["W0332 keda.httpScaledObject.targetPendingRequests"]);
    check(&http("replicas: { max: 4 }, scalingMetric: { requestRate: { targetValue: 100 } }"), &[], &[]);
    check(&http(&clean.replace("max: 4", "max: 9")), &[], &["W0360 keda.httpScaledObject.replicas.max"]);
    let with = |more: &str| http(&format!("{clean}, {more}"));
    check(&with("scaledownPeriod: 60"), &[], &["W0304 keda.httpScaledObject.scaledownPeriod"]);
    check(
        &with("scaledownPeriod: 60").replace("max: 4", "min: 1, max: 4"),
        &[],
        &["W0303 keda.httpScaledObject.scaledownPeriod"],
    );
    check(
        &with("timeouts: { conditionWait: 20s }"),
        &[],
        &["W0362 keda.httpScaledObject.timeouts.conditionWait"],
    );
    check(&with("timeouts: { conditionWait: 5m }"), &[], &[]);
    check(&with("timeouts: { conditionWait: 20s }").replace("max: 4", "min: 1, max: 4"), &[], &[]);
    let failover = "coldStartTimeoutFailoverRef: { service: other, port: 80 }";
    check(&with(failover), &[], &["W0362 keda.httpScaledObject.coldStartTimeoutFailoverRef.timeoutSeconds"]);
    check(&with(&failover.replace("80", "80, timeoutSeconds: 200")), &[], &[]);
}

#[test]
fn old_samples() {
    let rate = keda("", &prometheus("sum(rate(vllm:request_success_total[20s]))", "5"));
    check(&rate, &[], &["W0329 keda.scaledObject.triggers[0].metadata.query"]);
    check(&rate, &["telemetry.scrapeInterval=10s"], &[]);
    let mean = keda("", &prometheus("sum(avg_over_time(vllm:num_requests_waiting[20s]))", "5"));
    check(&mean, &[], &[]);
    check(
        &mean,
        &["telemetry.scrapeInterval=30s"],
        &["W0329 keda.scaledObject.triggers[0].metadata.query", "W0330 telemetry.scrapeInterval"],
    );

    let waiting = hpa(&pods("vllm:num_requests_waiting", "5"), "");
    check(&waiting, &["telemetry.scrapeInterval=30s"], &["W0330 telemetry.scrapeInterval"]);
    check(&waiting, &["telemetry.delay=20s"], &["W0330 telemetry.delay"]);
    check(&knative("", ""), &["telemetry.scrapeInterval=30s"], &[]);
    check(&waiting, &["telemetry.lookback=10s"], &["W0331 telemetry.lookback"]);
    check("{ fixed: { replicas: 1 } }", &["telemetry.lookback=10s"], &[]);
}

#[test]
fn behavior() {
    let waiting = pods("vllm:num_requests_waiting", "5");
    let down = |rules: &str| hpa(&waiting, &format!(", behavior: {{ scaleDown: {{ {rules} }} }}"));
    let window = "W0340 hpa.behavior.scaleDown.stabilizationWindowSeconds";
    check(&down("stabilizationWindowSeconds: 60"), &[], &[window]);
    check(&down("stabilizationWindowSeconds: 170"), &[], &[]);
    check(&down("stabilizationWindowSeconds: 0, selectPolicy: Disabled"), &[], &[]);
    // The default of 300 s is too short for a larger model.
    check(&down(""), &["profile=l40s-llama3.1-8b-vllm"], &[window]);
    let config = "advanced: { horizontalPodAutoscalerConfig: { behavior: { scaleDown: { \
                  stabilizationWindowSeconds: 60 } } } },";
    check(
        &keda(config, &prometheus(SUM, "5")),
        &[],
        &[
            "W0340 keda.scaledObject.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.stabilizationWindowSeconds",
        ],
    );

    let up = |rules: &str| hpa(&waiting, &format!(", behavior: {{ scaleUp: {{ {rules} }} }}"));
    check(
        &up("policies: [{ type: Pods, value: 1, periodSeconds: 120 }]"),
        &[],
        &["W0341 hpa.behavior.scaleUp"],
    );
    check(&up("policies: [{ type: Pods, value: 2, periodSeconds: 60 }]"), &[], &[]);
    check(&up(""), &[], &[]);

    let tolerant = up("tolerance: 20m");
    let (old, gate) = (
        "policies.p.hpa.controller.kubernetesVersion=\"1.34\"",
        "policies.p.hpa.controller.featureGates.HPAConfigurableTolerance=true",
    );
    check(&tolerant, &[], &[]);
    check(&tolerant, &[old], &["W0342 hpa.behavior.scaleUp.tolerance"]);
    check(&tolerant, &[old, gate], &[]);
    // At the end of what a replica can show, it makes the difference.
    let full = hpa(&pods("vllm:num_requests_running", "15"), ", behavior: { scaleUp: { tolerance: 20m } }");
    check(&full, &[], &[]);
    check(
        &full,
        &[old],
        &["W0324 hpa.metrics[0].pods.target.averageValue", "W0342 hpa.behavior.scaleUp.tolerance"],
    );
}

#[test]
fn knative_revisions() {
    let idle = "knative.annotations[\"autoscaling.knative.dev/scale-to-zero-pod-retention-period\"]";
    check(
        &knative("~min-scale: \"0\", ~window: 60s", ""),
        &[],
        &["W0351 knative", "W0352 knative.annotations[\"autoscaling.knative.dev/window\"]"],
    );
    check(&knative("~min-scale: \"0\", ~scale-to-zero-pod-retention-period: 5m", ""), &[], &[]);
    check(
        &knative("~min-scale: \"0\", ~window: 100s, ~scale-to-zero-pod-retention-period: 10s", ""),
        &[],
        &[&format!("W0351 {idle}"), "W0352 knative.annotations[\"autoscaling.knative.dev/window\"]"],
    );
    check(&knative("~window: 60s, ~max-scale: \"1\"", ""), &[], &[]);

    let burst = "~target-burst-capacity: \"0\"";
    let burst_at = "W0353 knative.annotations[\"autoscaling.knative.dev/target-burst-capacity\"]";
    check(&knative(burst, ", containerConcurrency: 12"), &[], &[burst_at]);
    check(&knative(burst, ""), &[], &[]);

    let deadline = "W0354 knative.annotations[\"serving.knative.dev/progress-deadline\"]";
    check(&knative("serving.knative.dev/progress-deadline: 120s", ""), &[], &[deadline]);
    check(&knative("serving.knative.dev/progress-deadline: 240s", ""), &[], &[]);
    let node = "cluster.pools.gpu={ gpusPerNode: 1, maxNodes: 8, provision: 12m, pricePerGpuHour: $1 }";
    check(&knative("", ""), &[node], &[deadline]);
}

#[test]
fn pods_and_their_room() {
    let waiting = hpa(&pods("vllm:num_requests_waiting", "5"), "");
    check(
        &waiting,
        &["cluster.pools.gpu.maxNodes=3", "cluster.pools.gpu.minNodes=3"],
        &["W0360 hpa.maxReplicas"],
    );
    check(
        &format!("{{ warmPool: {{ spare: 5, over: {waiting} }} }}"),
        &[],
        &["W0360 warmPool.over.hpa.maxReplicas"],
    );
    check(&format!("{{ warmPool: {{ spare: 4, over: {waiting} }} }}"), &[], &[]);
    // Held nodes give way; a fraction counts as it is at the most; what a guard or `min` caps does not ask for more.
    check(&format!("{{ warmPool: {{ spare: 5, level: node, over: {waiting} }} }}"), &[], &[]);
    check(
        &format!("{{ warmPool: {{ fraction: 1.1, over: {waiting} }} }}"),
        &[],
        &["W0360 warmPool.over.hpa.maxReplicas"],
    );
    let few = ["cluster.pools.gpu.maxNodes=3", "cluster.pools.gpu.minNodes=3"];
    check(&format!("{{ guard: {{ ceiling: 3, over: {waiting} }} }}"), &few, &[]);
    check(
        &format!("{{ guard: {{ floor: 1, over: {waiting} }} }}"),
        &few,
        &["W0360 guard.over.hpa.maxReplicas"],
    );
    let two = format!("{{ of: {{ a: {{ fixed: {{ replicas: 1 }} }}, b: {waiting} }} }}");
    check(&format!("{{ min: {two} }}"), &few, &[]);
    check(&format!("{{ max: {two} }}"), &few, &["W0360 max.of.b.hpa.maxReplicas"]);
    check(
        &format!("{{ shadow: {{ run: {{ fixed: {{ replicas: 1 }} }}, candidate: {waiting} }} }}"),
        &few,
        &[],
    );
    let unbound = keda("", &prometheus(SUM, "5")).replace("maxReplicaCount: 4,", "");
    check(&unbound, &[], &["W0360 keda.scaledObject.maxReplicaCount"]);
    check(
        &knative("~max-scale: \"0\"", ""),
        &[],
        &["W0360 knative.annotations[\"autoscaling.knative.dev/max-scale\"]"],
    );

    check(&waiting, &["initial.replicas=5"], &["W0361 initial.replicas"]);
    check(&waiting, &["initial.replicas=4"], &[]);
    check(&waiting, &["initial.replicas=0"], &["W0361 initial.replicas"]);
    check(&sleepy("", &prometheus(HELD, "5")), &["initial.replicas=0"], &[]);

    let timeout = "gateway.requestTimeout=2m";
    check(&sleepy("", &prometheus(HELD, "5")), &[timeout], &["W0362 gateway.requestTimeout"]);
    check(&sleepy("", &prometheus(HELD, "5")), &["gateway.requestTimeout=0s"], &[]);
    check(&keda("", &prometheus(SUM, "5")), &[timeout], &[]);
    let zero = "~min-scale: \"0\"";
    check(&knative(zero, ", timeoutSeconds: 60"), &[], &["W0362 knative.timeoutSeconds"]);

    check(&waiting, &["replica.readiness.after=weights"], &["W0363 replica.readiness.after"]);
    check("{ fixed: { replicas: 1 } }", &["replica.readiness.after=weights"], &[]);
    let process = "replica.readiness.after=process";
    check(&waiting, &[process], &["W0371 replica.readiness.after"]);
    check(&waiting, &[process, "replica.startupProbe.failureThreshold=900"], &[]);
    check("{ fixed: { replicas: 1 } }", &[process], &[]);

    let grace = "W0364 replica.terminationGracePeriod";
    check(&waiting, &["replica.terminationGracePeriod=5s"], &[grace]);
    check(&waiting, &["workload.lengths.constant.outputTokens=2000"], &[grace]);
    check(
        &waiting,
        &["workload.lengths.constant.outputTokens=2000", "replica.terminationGracePeriod=3m"],
        &[],
    );
    check("{ fixed: { replicas: 1 } }", &["replica.terminationGracePeriod=5s"], &[]);

    check(
        &waiting,
        &["replica.readiness.initialDelay=5m"],
        &["W0340 hpa.behavior.scaleDown.stabilizationWindowSeconds", "W0365 replica.readiness.initialDelay"],
    );
    check(&waiting, &["replica.readiness.initialDelay=1m"], &[]);

    // What is fetched counts as long as it takes alone: 600 s of weights.
    check(
        &waiting,
        &["replica.weights={ size: 600M }", "cluster.modelStore={ bandwidth: 1M }"],
        &["W0340 hpa.behavior.scaleDown.stabilizationWindowSeconds"],
    );
    let liveness = "replica.livenessProbe={ failureThreshold: 3 }";
    check(&waiting, &[liveness], &["W0367 replica.livenessProbe"]);
    check(&waiting, &["replica.startupProbe={ failureThreshold: 3 }"], &["W0367 replica.startupProbe"]);
    check(&waiting, &[liveness, "replica.startupProbe={ failureThreshold: 90 }"], &[]);

    let removal = "replica.endpointRemovalDelay=5s";
    check(&waiting, &[removal], &["W0366 replica.preStop"]);
    check(&waiting, &[removal, "replica.preStop=5s"], &[]);
}

#[test]
fn keep_warm_requests() {
    let waiting = hpa(&pods("vllm:num_requests_waiting", "5"), "");
    let keep_warm = "replica.keepWarm={}";
    check(&waiting, &[keep_warm], &["W0368 replica.keepWarm"]);
    let cooling = |after: &str| format!("replica.cooling={{ after: {after}, penalty: 1s }}");
    check(&waiting, &[keep_warm, &cooling("61s")], &[]);
    check(&waiting, &[keep_warm, &cooling("60s")], &["W0368 replica.keepWarm.idleThreshold"]);
    let late = ["W0368 replica.keepWarm.idleThreshold", "W0368 replica.keepWarm.period"];
    check(&waiting, &[keep_warm, &cooling("30s")], &late);
    let fed = "sum(rate(vllm:request_success_total[2m]))";
    let kept = |query: &str, activation: &str| {
        // Something in front of the pods wakes it up; what keeps it awake is the other.
        let own = trigger(query, &format!("threshold: \"5\"{activation}"));
        sleepy("", &format!("{}, {own}", prometheus(HELD, "5")))
    };
    let warm = [keep_warm, &cooling("2m")];
    check(&kept(fed, ""), &warm, &["W0369 keda.scaledObject.triggers[1].metadata.query"]);
    check(&kept(fed, ", activationThreshold: \"1\""), &warm, &[]);
    check(&kept(fed, ""), &[], &[]);
    check(&kept("sum(vllm:num_requests_running)", ""), &warm, &[]);
    check(&kept(fed, "").replace("minReplicaCount: 0", "minReplicaCount: 1"), &warm, &[]);
}

#[test]
fn replicas_that_provisioners_move() {
    let waiting = hpa(&pods("vllm:num_requests_waiting", "5"), "");
    let karpenter = |settings: &str| format!("cluster.provisioner={{ karpenter: {{ {settings} }} }}");
    let autoscaler = |flags: &str| format!("cluster.provisioner={{ clusterAutoscaler: {{ {flags} }} }}");
    let nodes = "cluster.pools.gpu={ gpusPerNode: 4, maxNodes: 8, pricePerGpuHour: $1 }";
    let single = "cluster.pools.gpu={ gpusPerNode: 1, maxNodes: 8, pricePerGpuHour: $1 }";
    let of = |kind: &str| format!("W0370 cluster.provisioner.{kind}");
    check(&waiting, &[nodes, &karpenter("")], &[&of("karpenter")]);
    check(&waiting, &[nodes, &karpenter("consolidationPolicy: whenEmpty")], &[]);
    check(&waiting, &[nodes, &karpenter("budgetPercent: 0")], &[]);
    check(&waiting, &[nodes, &karpenter(""), "replica.safeToEvict=false"], &[]);
    check(&waiting, &[nodes, &autoscaler("")], &[&of("clusterAutoscaler")]);
    check(&waiting, &[nodes, &autoscaler("scaleDownEnabled: false")], &[]);
    check(&waiting, &[nodes, &autoscaler("scaleDownGpuUtilizationThreshold: 0.25")], &[]);
    // A node of one replica is in use or empty.
    check(&waiting, &[single, &autoscaler("")], &[]);
    check(&waiting, &[nodes], &[]);
}

#[test]
fn each_rule_has_a_page_and_each_page_a_rule() {
    let rules: Vec<&str> = RULES.iter().map(|(code, _)| *code).collect();
    assert!(rules.is_sorted_by(|a, b| a < b), "each rule once, in order");
    let pages: Vec<&str> = CODES.iter().filter(|code| code.is_lint()).map(|code| code.code).collect();
    assert_eq!(rules, pages);
}

#[test]
fn each_rule_is_tested() {
    let text = include_str!("tests.rs");
    let tested: BTreeSet<&str> = text.match_indices("W03").map(|(at, _)| &text[at..at + 5]).collect();
    for (code, _) in RULES {
        assert!(tested.contains(code), "{code} has no test");
    }
}

#[test]
fn a_default_of_a_section_that_is_not_there_has_no_line() {
    let policy = format!("policies.p={}", sleepy("", &prometheus(HELD, "5")));
    let place = |sets: &[&str]| {
        let notes = resolve(&scenario(sets), false).map(|resolved| resolved.notes).unwrap_or_default();
        let [note] = &notes[..] else { panic!("{notes:#?}") };
        assert_eq!(note.code, "W0362");
        note.place.as_ref().map(|place| (place.file.clone(), place.line))
    };
    let slow = "profile=l40s-llama3.1-8b-vllm";
    let policy = policy.replace(
        "maxReplicaCount: 4,",
        "maxReplicaCount: 4, cooldownPeriod: 1800, advanced: { \
        horizontalPodAutoscalerConfig: { behavior: { scaleDown: { stabilizationWindowSeconds: 1800 } } } },",
    );
    assert_eq!(place(&[&policy, slow]), Some(("base.yaml".to_owned(), 0)));
    assert_eq!(place(&[&policy, slow, "gateway.requestTimeout=1m"]), Some(("--set".to_owned(), 1)));
}

#[test]
fn what_policies_share_is_said_once_and_in_the_order_of_the_text() {
    let text = BASE.replace(
        "policies: { p: { fixed: { replicas: 1 } } }",
        "policies:\n  a: { hpa: &a { maxReplicas: 9, metrics: [{ type: Pods, pods: { metric: { name: \
         DCGM_FI_DEV_GPU_UTIL }, target: { type: AverageValue, averageValue: 50 } } }] } }\n  \
         b: { warmPool: { spare: 1, over: { hpa: *a } } }\ntelemetry: { scrapeInterval: 1m }\n",
    );
    let scenario = parse("base.yaml", &text, &[], PathBuf::new()).expect("it is one");
    let resolved = resolve(&scenario, false).map(|resolved| resolved.notes).unwrap_or_default();
    let shown: Vec<_> = resolved
        .iter()
        .map(|note| {
            (
                note.severity,
                note.code,
                note.place.as_ref().map(|place| (place.line, place.len)),
                note.help.len(),
            )
        })
        .collect();
    let warning = |code, line, len| (Severity::Warning, code, Some((line, len)), 2);
    assert_eq!(shown, [warning("W0360", 13, 1), warning("W0325", 13, 20), warning("W0330", 15, 2)]);
}

#[test]
fn schedules_and_what_they_order() {
    let schedule = |rest: &str, window: &str| {
        format!(
            "{{ schedule: {{ timezone: Etc/UTC, {rest}, windows: {{ w: {{ start: 0 9 * * *, end: 0 10 * * *, {window} }} }} }} }}"
        )
    };
    let lead = ["W0380 schedule.windows.w.leadTime"];
    let check_alone =
        |window: &str, expected: &[&str]| check(&schedule("replicas: 2", window), &[], expected);
    // A start takes 167 s.
    check_alone("floor: 4", &lead);
    check_alone("exact: 4, leadTime: 166s", &lead);
    check_alone("floor: 4, leadTime: 3m", &[]);
    check_alone("floor: 2", &[]);
    check_alone("exact: 1", &[]);
    check_alone("ceiling: 1", &[]);
    check_alone("floor: 9, leadTime: 3m", &["W0381 schedule.windows.w.floor"]);
    check_alone("exact: 9", &["W0380 schedule.windows.w.leadTime", "W0381 schedule.windows.w.exact"]);
    // Over a policy, nobody knows how many there are.
    check(&schedule("over: { fixed: { replicas: 2 } }", "floor: 2"), &[], &lead);
    let late = schedule("replicas: 2", "floor: 4");
    check(&format!("{{ warmPool: {{ spare: 2, over: {late} }} }}"), &[], &[]);
    let max = format!("{{ max: {{ of: {{ a.b: {{ fixed: {{ replicas: 1 }} }}, c: {late} }} }} }}");
    check(&max, &[], &["W0380 max.of.c.schedule.windows.w.leadTime"]);
    check(&format!("{{ shadow: {{ run: {{ fixed: {{ replicas: 1 }} }}, candidate: {late} }} }}"), &[], &[]);
}

#[test]
fn an_hpa_at_zero_stays_there() {
    let message = |policy: &str| {
        let scenario = scenario(&[&format!("policies.p={policy}"), "initial.replicas=0"]);
        let resolved = resolve(&scenario, false).unwrap();
        let world = World { scenario: &scenario, simulation: &resolved.simulation };
        let found = findings(&Case::new(&world)).into_iter().find(|(code, _)| *code == "W0361");
        found.map(|(_, finding)| format!("{}; {}", finding.message, finding.why)).unwrap_or_default()
    };
    let off = message(&hpa(&pods("vllm:num_requests_waiting", "5"), ""));
    assert!(
        off.contains("off at 0") && off.contains("ScalingDisabled") && !off.contains("corrects"),
        "{off}"
    );
    // KEDA sees to its minimum itself.
    let corrected = message(&keda("", &prometheus(SUM, "5")));
    assert!(corrected.contains("corrects that"), "{corrected}");
}

#[test]
fn settings_of_triggers_that_are_slips() {
    let slip = |more: &str| {
        let metadata = format!("serverAddress: http://p, query: \"{SUM}\", threshold: \"5\", {more}");
        keda("", &format!("{{ type: prometheus, metadata: {{ {metadata} }} }}"))
    };
    let at = |key: &str| format!("W0317 keda.scaledObject.triggers[0].metadata.{key}");
    check(&slip("ignoreNulValues: \"false\""), &[], &[&at("ignoreNulValues")]);
    check(&slip("activationTreshold: \"1\""), &[], &[&at("activationTreshold")]);
    // What is not modelled is no slip, nor is what is like nothing.
    check(&slip("unsafeSsl: \"true\", authModes: basic, ofTomorrow: \"1\""), &[], &[]);
}

#[test]
fn gates_that_nothing_depends_on() {
    let fixed = "{ fixed: { replicas: 1 } }";
    let gates = |gate: &str, expected: &[&str]| {
        check(fixed, &["slo={ e2e: 20s }", &format!("gates=[{gate}]")], expected);
    };
    for gate in
        ["slo.breach < 1", "slo.breach <= 100%", "slo.breach > 1", "ttft.p99 < 0s", "cost.total >= $0"]
    {
        gates(&format!("\"{gate}\""), &["W0390 gates[0]"]);
    }
    gates("{ gate: slo.breach < 1, for: [p] }", &["W0390 gates[0].gate"]);
    for gate in [
        "slo.breach < 1%",
        "slo.breach <= 0",
        "requests.finished >= 1",
        "coldStarts > 0",
        "utilisation < 99%",
    ] {
        gates(&format!("\"{gate}\""), &[]);
    }
}
