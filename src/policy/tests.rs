//! What all policies have in common: their texts, and what is found wrong with them.

use super::*;

/// Read as a scenario is; JSON is YAML.
fn spec(json: &str) -> PolicySpec {
    let document = crate::yaml::Document::parse("policy", json).expect(json);
    crate::yaml::read(&document).expect(json)
}

/// Paths of the faults, in order; and every fault says how to mend it.
fn paths(json: &str) -> Vec<String> {
    let faults = spec(json).check(&Setting::default());
    assert!(faults.iter().all(|(_, message, help)| !message.is_empty() && !help.is_empty()), "{json}");
    faults.into_iter().map(|(path, ..)| path).collect()
}

fn metric(metric: &str) -> String {
    format!(r#"{{"hpa": {{"maxReplicas": 4, "metrics": [{metric}]}}}}"#)
}

#[test]
fn specs_round_trip_as_they_are_written() {
    for json in [
        r#"{"fixed": {"replicas": 4}}"#,
        r#"{"warmPool": {"spare": 2, "over": {"hpa": {"maxReplicas": 4, "metrics": [{"type": "Pods",
            "pods": {"metric": {"name": "vllm:num_requests_waiting", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "AverageValue", "averageValue": 5}}}],
            "behavior": {"scaleUp": {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}],
            "selectPolicy": "Min", "tolerance": "0.05"}}, "controller": {"phase": "5s"}}}}}"#,
    ] {
        let first = spec(json);
        assert_eq!(first.check(&Setting::default()), vec![], "{json}");
        let written = serde_json::to_string(&first).expect("specs can be written");
        assert_eq!(spec(&written), first, "{json}");
    }
    assert!(serde_json::from_str::<PolicySpec>(r#"{"fixed": {"replica": 4}}"#).is_err());
    assert!(serde_json::from_str::<PolicySpec>(r#"{"hpa": {"maxReplicas": 4, "minReplica": 1}}"#).is_err());
}

#[test]
fn kinds_are_the_tags() {
    let kinds = [
        r#"{"fixed": {"replicas": 1}}"#,
        r#"{"hpa": {"maxReplicas": 1}}"#,
        r#"{"keda": {}}"#,
        r#"{"knative": {}}"#,
        r#"{"ray": {}}"#,
        r#"{"aibrix": {"scalingStrategy": "APA", "maxReplicas": 1, "metricsSources": []}}"#,
        r#"{"wva": {}}"#,
        r#"{"dynamo": {}}"#,
        r#"{"warmPool": {"spare": 1, "over": {"fixed": {"replicas": 1}}}}"#,
        r#"{"predictive": {"maxReplicas": 1}}"#,
        r#"{"slo": {"maxReplicas": 1}}"#,
        r#"{"schedule": {"timezone": "Etc/UTC", "replicas": 1, "windows": {}}}"#,
        r#"{"max": {"of": {}}}"#,
        r#"{"min": {"of": {}}}"#,
        r#"{"guard": {"ceiling": 1, "over": {"fixed": {"replicas": 1}}}}"#,
        r#"{"shadow": {"run": {"fixed": {"replicas": 1}}, "candidate": {"fixed": {"replicas": 2}}}}"#,
    ];
    assert_eq!(kinds.map(|json| spec(json).kind()), PolicySpec::KINDS);
}

#[test]
fn counts_are_checked() {
    let check = |json: &str, expected: &[&str]| assert_eq!(paths(json), expected, "{json}");
    check(r#"{"fixed": {"replicas": 0}}"#, &["fixed.replicas"]);
    check(r#"{"hpa": {"maxReplicas": 0}}"#, &["hpa.maxReplicas"]);
    check(r#"{"hpa": {"maxReplicas": 2, "minReplicas": 3}}"#, &["hpa.minReplicas"]);
    check(r#"{"hpa": {"maxReplicas": 2, "minReplicas": 0}}"#, &["hpa.minReplicas"]);
    check(r#"{"hpa": {"maxReplicas": 2, "minReplicas": -1}}"#, &["hpa.minReplicas"]);
    check(
        r#"{"warmPool": {"spare": 0, "over": {"hpa": {"maxReplicas": 0}}}}"#,
        &["warmPool.spare", "warmPool.over.hpa.maxReplicas"],
    );
    let asleep = |more: &str, over: &str| {
        format!(
            r#"{{"warmPool": {{"spare": 1, "sleep": {{"level": "inHostRam", "wake": "3s"}}{more}, "over": {over}}}}}"#
        )
    };
    let fixed = r#"{"fixed": {"replicas": 1}}"#;
    let plain = r#"{"warmPool": {"spare": 1, "over": {"fixed": {"replicas": 1}}}}"#;
    check(&asleep("", fixed), &[]);
    check(&asleep(r#", "inRotation": true"#, fixed), &["warmPool.sleep"]);
    check(&asleep("", plain), &["warmPool.sleep"]);
    let below = plain.replace(fixed, &asleep("", fixed));
    check(&below, &["warmPool.over.warmPool.sleep"]);
    let rotating =
        |over: &str| format!(r#"{{"warmPool": {{"spare": 1, "inRotation": true, "over": {over}}}}}"#);
    check(&rotating(r#"{"ray": {}}"#), &[]);
    check(&rotating(r#"{"wva": {}}"#), &["warmPool.inRotation"]);
    check(&rotating(r#"{"warmPool": {"spare": 1, "over": {"wva": {}}}}"#), &["warmPool.inRotation"]);
    check(
        r#"{"hpa": {"maxReplicas": 2, "controller": {"syncPeriod": "0s", "tolerance": -1.0}}}"#,
        &["hpa.controller.syncPeriod", "hpa.controller.tolerance"],
    );
    check(
        r#"{"hpa": {"maxReplicas": 2, "controller": {"phase": "5s", "createdAtStart": true,
            "featureGates": {"HPAConfigurableTolerance": false}}}}"#,
        &["hpa.controller.featureGates.HPAConfigurableTolerance", "hpa.controller.phase"],
    );
}

#[test]
fn the_controller_is_checked() {
    let check = |controller: &str, expected: &[&str]| {
        let json = format!(
            r#"{{"hpa": {{"minReplicas": 0, "maxReplicas": 2, "controller": {{{controller}}}, "metrics": [{{"type": "External",
                "external": {{"metric": {{"name": "gateway_queue_length", "selector": {{"matchLabels": {{"app": "a b"}}}}}},
                "target": {{"type": "Value", "value": "5"}}}}}}]}}}}"#
        );
        let selector = "hpa.metrics[0].external.metric.selector.matchLabels";
        let expected: Vec<&str> = expected.iter().copied().chain([selector]).collect();
        assert_eq!(paths(&json), expected, "{controller}");
    };
    check("", &[]);
    check(r#""kubernetesVersion": "1.36""#, &["hpa.minReplicas"]);
    check(r#""kubernetesVersion": "1.36", "featureGates": {"HPAScaleToZero": true}"#, &[]);
    check(r#""featureGates": {"HPAScaleToZero": false}"#, &["hpa.minReplicas"]);
}

#[test]
fn metrics_are_checked() {
    let check = |text: &str, expected: &[&str]| {
        let expected: Vec<String> = expected.iter().map(|p| format!("hpa.metrics[0].{p}")).collect();
        assert_eq!(paths(&metric(text)), expected, "{text}");
    };
    let target = r#""target": {"type": "AverageValue", "averageValue": "5"}"#;
    check(r#"{"type": "Pods"}"#, &["type"]);
    check(&format!(r#"{{"type": "Pods", "resource": {{"name": "cpu", {target}}}}}"#), &["resource", "type"]);
    check(
        &format!(r#"{{"type": "Resource", "resource": {{"name": "nvidia.com/gpu", {target}}}}}"#),
        &["resource.name"],
    );
    check(
        r#"{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}"#,
        &["resource.target"],
    );
    check(
        r#"{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization",
            "averageUtilization": 0}}}"#,
        &["resource.target.averageUtilization"],
    );
    check(
        r#"{"type": "Pods", "pods": {"metric": {"name": "vllm:num_requests_running"},
            "target": {"type": "Value", "value": "-1"}}}"#,
        &["pods.target.value", "pods.target"],
    );
    check(
        &format!(r#"{{"type": "Pods", "pods": {{"metric": {{"name": "gateway_queue_length"}}, {target}}}}}"#),
        &["pods.metric.name"],
    );
    check(
        r#"{"type": "External", "external": {"metric": {"name": "gateway_queue_length"},
            "target": {"type": "Value", "value": "5", "averageValue": "5"}}}"#,
        &["external.target"],
    );
    check(
        r#"{"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "llm"},
            "metric": {"name": "gateway_queue_length"}, "target": {"type": "Value", "averageValue": "5"}}}"#,
        &["object.target.type"],
    );
}

#[test]
fn behavior_is_checked() {
    let json = r#"{"hpa": {"maxReplicas": 4, "behavior": {
        "scaleUp": {"stabilizationWindowSeconds": 3601, "policies": [], "tolerance": "-0.1"},
        "scaleDown": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]}}}}"#;
    assert_eq!(
        paths(json),
        [
            "hpa.behavior.scaleUp.stabilizationWindowSeconds",
            "hpa.behavior.scaleUp.tolerance",
            "hpa.behavior.scaleUp.policies",
            "hpa.behavior.scaleDown.policies[0].value",
            "hpa.behavior.scaleDown.policies[0].periodSeconds",
        ]
    );
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let check = |name: &str, expected: Option<&str>| {
        let text = format!(
            r#"{{"type": "Pods", "pods": {{"metric": {{"name": "{name}"}},
                "target": {{"type": "AverageValue", "averageValue": "5"}}}}}}"#
        );
        let faults = spec(&metric(&text)).check(&Setting::default());
        assert_eq!(faults.len(), 1, "{name}");
        let help = &faults[0].2;
        match expected {
            Some(near) => assert!(help.starts_with(&format!("did you mean `{near}`?")), "{help}"),
            None => assert!(help.starts_with("one of "), "{help}"),
        }
    };
    check("vllm:num_request_waiting", Some("vllm:num_requests_waiting"));
    check("vllm_num_requests_running", Some("vllm:num_requests_running"));
    check("DCGM_FI_DEV_GPU_UTILIZATION", Some("DCGM_FI_DEV_GPU_UTIL"));
    check("temperature", None);
}

#[test]
fn resources_are_seen_through_a_warm_pool() {
    let check = |json: &str, expected: &[(bool, bool)]| {
        let reads: Vec<_> = spec(json).resources().into_iter().map(|r| (r.is_memory, r.of_request)).collect();
        assert_eq!(reads, expected, "{json}");
    };
    check(r#"{"fixed": {"replicas": 1}}"#, &[]);
    check(r#"{"warmPool": {"spare": 1, "over": {"hpa": {"maxReplicas": 4}}}}"#, &[(false, true)]);
    let resource = |name: &str, target: &str| {
        metric(&format!(r#"{{"type": "Resource", "resource": {{"name": "{name}", "target": {target}}}}}"#))
    };
    check(&resource("cpu", r#"{"type": "AverageValue", "averageValue": "2"}"#), &[(false, false)]);
    check(&resource("memory", r#"{"type": "Utilization", "averageUtilization": 60}"#), &[(true, true)]);
    check(
        &metric(
            r#"{"type": "Pods", "pods": {"metric": {"name": "vllm:num_requests_running"},
                "target": {"type": "AverageValue", "averageValue": "5"}}}"#,
        ),
        &[],
    );
}
