//! KEDA's turns on worlds made by hand: what it reads, decides and logs.

use serde_json::{Value, json};

use super::*;
use crate::policy::fixture::{World, usage};

const HPA: usize = 1;

/// A policy of a ScaledObject with these triggers, and what else is written in its `spec` and beside it.
fn keda(triggers: &Value, changes: &Value, beside: &Value) -> Keda {
    let spec = spec(triggers, changes, beside);
    let setting = Setting { start_ms: Some(1_774_742_400_000), ..Setting::default() };
    assert_eq!(spec.check(&setting), vec![]);
    Keda::new(&spec, &setting)
}

fn spec(triggers: &Value, changes: &Value, beside: &Value) -> KedaSpec {
    let mut object = json!({"scaleTargetRef": {"name": "vllm"}, "triggers": triggers});
    extend(&mut object, changes);
    let mut spec = json!({"scaledObject": object});
    extend(&mut spec, beside);
    serde_json::from_value(spec).expect("the types are right")
}

fn extend(object: &mut Value, changes: &Value) {
    let fields = object.as_object_mut().expect("it is one");
    fields.extend(changes.as_object().expect("changes are one").clone());
}

fn prometheus(query: &str, more: &Value) -> Value {
    let metadata = json!({"serverAddress": "http://p:9090", "query": query, "threshold": "5"});
    let mut trigger = json!({"type": "prometheus", "metadata": metadata});
    extend(&mut trigger, more);
    trigger
}

/// So many pods at an instant, with a queue of that length at the gateway as Prometheus last saw it.
fn queue(now_s: u64, replicas: u32, length: f64) -> World {
    World::ready(now_s, replicas).with_gateway("gateway_queue_length", length)
}

/// Two pods, each of which tells a queue length, whatever is ordered.
fn two_series(now_s: u64, replicas: u32) -> World {
    let world = World::ready(now_s, 2);
    let name = "vllm:num_requests_waiting";
    let world = world.with_sample(0, name, now_s, 3.0).with_sample(1, name, now_s, 4.0);
    World { replicas, ..world }
}

fn turn(keda: &mut Keda, which: usize, world: &World) -> (u32, &'static str, String) {
    let decision = keda.decide(which, &world.view()).expect("it always answers");
    (decision.replicas, decision.why.rule, decision.why.detail)
}

fn short(keda: &mut Keda, which: usize, world: &World) -> (u32, &'static str) {
    let (replicas, rule, _) = turn(keda, which, world);
    (replicas, rule)
}

#[test]
fn a_poll_wakes_the_target_and_sends_it_to_sleep() {
    let triggers = json!([prometheus("gateway_queue_length", &json!({}))]);
    let mut own = keda(&triggers, &json!({}), &json!({}));
    let loops = own.loops();
    assert_eq!(
        (loops[0].name, loops[0].period, loops[0].phase),
        ("keda", SimDuration::from_secs(30), Some(SimDuration::ZERO))
    );
    assert_eq!((loops[1].name, loops.len()), ("hpa", 2));
    assert_eq!((own.initial(), own.maximum(), own.workload()), ((1, 0), Some(100), Some("vllm")));
    for (now_s, replicas, length, expected, detail) in [
        (
            0,
            1,
            0.0,
            (1, "ScalerCooldown"),
            "s0-prometheus 0 against 5, not active; never active, created 0s ago, initial cooldown 0s",
        ),
        (
            30,
            1,
            0.0,
            (0, "ScalerNotActive"),
            "s0-prometheus 0 against 5, not active; never active, created 30s ago, initial cooldown 0s",
        ),
        (60, 0, 0.0, (0, "NoChange"), "s0-prometheus 0 against 5, not active"),
        (90, 0, 7.0, (1, "ScaleFromZero"), "s0-prometheus 7 against 5, active"),
        (120, 2, 7.0, (2, "ScalerActive"), "s0-prometheus 7 against 5, active"),
        (
            150,
            2,
            0.0,
            (2, "ScalerCooldown"),
            "s0-prometheus 0 against 5, not active; last active 30s ago, cooldown 5m",
        ),
        (
            420,
            2,
            0.0,
            (2, "ScalerCooldown"),
            "s0-prometheus 0 against 5, not active; last active 5m ago, cooldown 5m",
        ),
        (
            450,
            2,
            0.0,
            (0, "ScalerNotActive"),
            "s0-prometheus 0 against 5, not active; last active 5m30s ago, cooldown 5m",
        ),
    ] {
        let (to, rule, text) = turn(&mut own, POLL, &queue(now_s, replicas, length));
        assert_eq!((to, rule, text.as_str()), (expected.0, expected.1, detail), "{now_s}");
    }
}

#[test]
fn the_hpa_reads_triggers_itself_and_the_operator_leaves_the_count_to_it() {
    let triggers = json!([prometheus("gateway_queue_length", &json!({}))]);
    let mut own = keda(&triggers, &json!({"minReplicaCount": 1, "maxReplicaCount": 10}), &json!({}));
    let (to, rule, detail) = turn(&mut own, HPA, &queue(15, 2, 31.0));
    // Without `behavior` at most four at a time from two.
    assert_eq!(
        (to, rule, detail.as_str()),
        (4, "ScaleUpLimit", "s0-prometheus 15.5 against 5 a replica: 7 replicas")
    );
    assert_eq!(short(&mut own, POLL, &queue(30, 4, 31.0)), (4, "ScalerActive"));
    assert_eq!(short(&mut own, HPA, &queue(30, 12, 31.0)), (10, "TooManyReplicas"));
}

#[test]
fn cached_metrics_are_those_of_the_last_poll() {
    for (cached, [expected, last]) in [(true, [2, 4]), (false, [4, 1])] {
        let trigger = prometheus("gateway_queue_length", &json!({"useCachedMetrics": cached}));
        let changes = json!({"advanced": {"horizontalPodAutoscalerConfig": {"behavior": {}}}});
        let mut own = keda(&json!([trigger]), &changes, &json!({}));
        assert_eq!(short(&mut own, HPA, &queue(15, 1, 7.0)).0, 2, "before the first poll it is asked");
        turn(&mut own, POLL, &queue(30, 1, 6.0));
        assert_eq!(short(&mut own, HPA, &queue(31, 1, 19.0)).0, expected, "{cached}");
        turn(&mut own, POLL, &queue(60, 1, 16.0));
        assert_eq!(short(&mut own, HPA, &queue(61, 1, 2.0)).0, last, "{cached}");
    }
}

#[test]
fn failures_count_on_polls_and_on_reads_of_the_hpa_but_not_at_zero() {
    let query = "vllm:num_requests_waiting";
    let fallback = json!({"fallback": {"failureThreshold": 3, "replicas": 6}});
    let mut own = keda(&json!([prometheus(query, &json!({}))]), &fallback, &json!({}));
    let failed = "prometheus query returned multiple elements; failure";
    let mut at = |which, now_s, replicas| turn(&mut own, which, &two_series(now_s, replicas));
    for (which, now_s, replicas, expected, says) in [
        (POLL, 0, 0, (0, "Fallback"), format!("{failed} 1 of 3")),
        (HPA, 5, 0, (0, "ScalingDisabled"), "at zero".to_owned()),
        (POLL, 30, 0, (0, "Fallback"), format!("{failed} 2 of 3")),
        (HPA, 35, 2, (2, "FailedGetExternalMetric"), format!("{failed} 3 of 3")),
        // Beyond the threshold the trigger counts as active, and asks for 6 replicas.
        (POLL, 60, 0, (1, "ScaleFromZero"), format!("{failed} 4, beyond 3: fallback to 30")),
        (HPA, 65, 2, (4, "ScaleUpLimit"), format!("{failed} 5, beyond 3: fallback to 30")),
        // Out of bounds nothing is read.
        (HPA, 80, 101, (100, "TooManyReplicas"), "above Spec.MaxReplicas".to_owned()),
        (POLL, 90, 4, (4, "ScalerActive"), format!("{failed} 6, beyond 3")),
    ] {
        let (to, rule, detail) = at(which, now_s, replicas);
        assert_eq!((to, rule), expected, "{now_s}: {detail}");
        assert!(detail.contains(&says), "{now_s}: {detail}");
    }
    // One answer that is one number ends it.
    let one = World::ready(120, 1).with_sample(0, query, 120, 2.0);
    assert_eq!(turn(&mut own, POLL, &one).2, "s0-prometheus 2 against 5, active");
    assert!(turn(&mut own, POLL, &two_series(150, 2)).2.contains("failure 1 of 3"));
}

#[test]
fn without_a_fallback_an_error_leaves_the_count() {
    let mut own = keda(&json!([prometheus("vllm:num_requests_waiting", &json!({}))]), &json!({}), &json!({}));
    let (to, rule, detail) = turn(&mut own, POLL, &two_series(600, 2));
    let error = "s0-prometheus: prometheus query returned multiple elements";
    assert_eq!((to, rule, detail.as_str()), (2, "TriggerError", error));
    let (to, rule, detail) = turn(&mut own, HPA, &two_series(600, 2));
    assert_eq!((to, rule), (2, "FailedGetExternalMetric"));
    let hpa = "s0-prometheus: unable to get external metric s0-prometheus: prometheus query returned multiple elements";
    assert_eq!(detail, hpa);
}

#[test]
fn a_formula_makes_one_metric_of_all() {
    let triggers = json!([
        prometheus("gateway_queue_length", &json!({"name": "held"})),
        prometheus("vllm:num_requests_waiting", &json!({"name": "waiting"})),
    ]);
    let modifiers = |more: &Value| {
        let mut own = json!({"formula": "held + waiting", "target": "4"});
        extend(&mut own, more);
        json!({"advanced": {"scalingModifiers": own}, "minReplicaCount": 0})
    };
    let world = |now_s, pods: u32| {
        let world = queue(now_s, pods, 2.0);
        (0..pods).fold(world, |world, pod| world.with_sample(pod, "vllm:num_requests_waiting", now_s, 7.0))
    };
    let mut own = keda(&triggers, &modifiers(&json!({})), &json!({}));
    let (to, rule, detail) = turn(&mut own, HPA, &world(15, 1));
    assert_eq!((to, rule), (3, "DesiredWithinRange"));
    let figures = "s0-prometheus 2 against 5, active; s1-prometheus 7 against 5, active";
    assert_eq!(detail, format!("composite-metric 9 against 4 a replica: 3 replicas; {figures}"));
    let poll = turn(&mut own, POLL, &world(30, 1)).2;
    assert_eq!(poll, format!("{figures}; composite-metric 9, active"));
    // Two pods are two series: no composite metric, and so nothing is active.
    assert_eq!(short(&mut own, POLL, &world(60, 2)), (2, "TriggerError"));
    assert_eq!(short(&mut own, HPA, &world(60, 2)), (2, "FailedGetExternalMetric"));
    // Its activation is the formula's, strictly above, whatever the triggers' own.
    let mut own = keda(&triggers, &modifiers(&json!({"activationTarget": "9"})), &json!({}));
    assert_eq!(short(&mut own, POLL, &world(30, 1)), (0, "ScalerNotActive"));
    // Beyond the threshold a failing trigger is nil.
    let fallback = json!({"failureThreshold": 0, "replicas": 3, "behavior": "scalingModifiers"});
    let mut changes = modifiers(&json!({"formula": "held + (waiting ?? 10)"}));
    extend(&mut changes, &json!({"fallback": fallback}));
    let mut own = keda(&triggers, &changes, &json!({}));
    let (to, _, detail) = turn(&mut own, HPA, &world(60, 2));
    assert_eq!(to, 3);
    assert!(detail.contains("composite-metric 6 against 4 a replica: 3 replicas"), "{detail}");
    assert!(detail.contains("failure 1, beyond 0: nil in the formula"), "{detail}");
}

#[test]
fn idle_replicas_stand_beside_the_minimum() {
    let triggers = json!([prometheus("gateway_queue_length", &json!({}))]);
    let changes = json!({"minReplicaCount": 3, "idleReplicaCount": 1, "cooldownPeriod": 60});
    let mut own = keda(&triggers, &changes, &json!({}));
    assert_eq!(own.initial(), (3, 0));
    for (now_s, replicas, length, expected) in [
        (0, 3, 9.0, (3, "ScalerActive")),
        (60, 3, 0.0, (3, "ScalerCooldown")),
        (90, 3, 0.0, (1, "ScalerNotActive")),
        (120, 1, 0.0, (1, "NoChange")),
        (150, 1, 9.0, (3, "ScaleFromZero")),
    ] {
        assert_eq!(short(&mut own, POLL, &queue(now_s, replicas, length)), expected, "{now_s}");
    }
    // The HPA, whose minimum is 3, would end the sleep at its next turn: upstream warns of any idle count but 0.
    assert_eq!(short(&mut own, HPA, &queue(100, 1, 0.0)), (3, "TooFewReplicas"));
}

#[test]
fn annotations_pause_all_or_one_way() {
    let triggers = json!([prometheus("gateway_queue_length", &json!({}))]);
    let with = |key: &str, value: &str| {
        let key = format!("autoscaling.keda.sh/{key}");
        let behavior = json!({"scaleDown": {"stabilizationWindowSeconds": 0}});
        let changes = json!({"advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}}});
        keda(&triggers, &changes, &json!({"annotations": {key: value}}))
    };
    for (key, value, initial, maximum, to) in
        [("paused", "true", 1, None, 4), ("paused-replicas", "2", 2, Some(2), 2)]
    {
        let mut own = with(key, value);
        assert_eq!((own.loops(), own.initial(), own.maximum()), (vec![], (initial, 0), maximum), "{key}");
        assert_eq!(own.timer(), Some(SimTime::ZERO));
        let (of, decision) = own.timed(&queue(0, 4, 9.0).view()).expect("it sets the count once");
        assert_eq!((of, decision.replicas, decision.why.rule), ("keda", to, "Paused"), "{key}");
        assert_eq!(own.timer(), None);
        assert!(own.timed(&queue(9, 4, 9.0).view()).is_none());
    }
    let mut own = with("paused-scale-in", "true");
    assert_eq!(short(&mut own, POLL, &queue(900, 4, 0.0)), (4, "ScaleInPaused"));
    assert_eq!(short(&mut own, HPA, &queue(900, 4, 0.0)), (4, "ScaleDownLimit"));
    assert_eq!(short(&mut own, POLL, &queue(930, 0, 9.0)), (1, "ScaleFromZero"));
    let mut own = with("paused-scale-out", "true");
    assert_eq!(short(&mut own, POLL, &queue(900, 0, 9.0)), (0, "ScaleOutPaused"));
    assert_eq!(short(&mut own, HPA, &queue(900, 2, 90.0)), (2, "ScaleUpLimit"));
    assert_eq!(short(&mut own, POLL, &queue(930, 2, 0.0)), (0, "ScalerNotActive"));
    let mut own = with("force-activation", "true");
    assert_eq!(short(&mut own, POLL, &queue(900, 1, 0.0)), (1, "ScalerActive"));
    assert_eq!(short(&mut own, POLL, &queue(930, 0, 0.0)), (1, "ScaleFromZero"));
}

#[test]
fn cron_goes_by_the_wall_clock_of_its_zone() {
    // The run starts at 2026-03-29T00:00:00Z, when Berlin is an hour ahead, and two from 01:00Z on.
    let cron = |start: &str, end: &str, zone: &str| {
        let metadata = json!({"timezone": zone, "start": start, "end": end, "desiredReplicas": "3"});
        keda(&json!([{"type": "cron", "metadata": metadata}]), &json!({}), &json!({}))
    };
    let active =
        |own: &mut Keda, minute: u64| turn(own, POLL, &World::ready(minute * 60, 1)).2.contains(", active");
    let mut berlin = cron("0 4 * * *", "0 6 * * *", "Europe/Berlin");
    // 04:00 in summer is 02:00Z, and 06:00 is 04:00Z.
    for (minute, expected) in [(0, false), (119, false), (120, true), (239, true), (240, false)] {
        assert_eq!(active(&mut berlin, minute), expected, "{minute}");
    }
    // The day after, 24 hours later; before the change, 04:00 was 03:00Z.
    assert!(active(&mut berlin, 24 * 60 + 120));
    let mut utc = cron("0 4 * * *", "0 6 * * *", "Etc/UTC");
    assert_eq!(
        [120, 239, 240, 359, 360].map(|minute| active(&mut utc, minute)),
        [false, false, true, true, false]
    );
    let (to, _, detail) = turn(&mut utc, HPA, &World::ready(240 * 60, 1));
    let name = "s0-cron-Etc-UTC-04xxx-06xxx";
    assert_eq!((to, detail), (3, format!("{name} 3 against 1 a replica: 3 replicas")));
}

#[test]
fn queues_are_the_gateways_requests() {
    let world = |now_s: u64, arrived: u64| {
        let mut world = World::ready(now_s, 2);
        (world.gateway.held, world.gateway.waiting, world.gateway.running) = (20, 10, 4);
        world.gateway.arrived = arrived;
        world
    };
    let rabbit = |more: Value| {
        let mut metadata = json!({"queueName": "q", "value": "10"});
        extend(&mut metadata, &more);
        ("rabbitmq", metadata)
    };
    for ((kind, metadata), beside, value) in [
        (
            ("kafka", json!({"topic": "t", "consumerGroup": "g"})),
            json!({"queues": {"t": {"partitions": 2}}}),
            20,
        ),
        (
            ("kafka", json!({"topic": "t", "consumerGroup": "g"})),
            json!({"queues": {"t": {"partitions": 9}}}),
            30,
        ),
        (
            ("kafka", json!({"consumerGroup": "g", "allowIdleConsumers": "true"})),
            json!({"queues": {"g": {"reads": "inFlight"}}}),
            34,
        ),
        (("aws-sqs-queue", json!({"queueURL": "https://sqs/0/q"})), json!({}), 34),
        (
            ("aws-sqs-queue", json!({"queueURL": "https://sqs/0/q", "scaleOnInFlight": "false"})),
            json!({"queues": {"q": {"reads": "held"}}}),
            20,
        ),
        (rabbit(json!({"mode": "QueueLength"})), json!({}), 30),
        (rabbit(json!({"mode": "QueueLength", "protocol": "http"})), json!({}), 34),
        (
            rabbit(json!({"mode": "QueueLength", "host": "https://r", "excludeUnacknowledged": "true"})),
            json!({}),
            30,
        ),
        // Since the start, 90 came in 30 s, and 60 of them no longer wait.
        (rabbit(json!({"mode": "MessageRate"})), json!({}), 3),
        (rabbit(json!({"mode": "DeliverGetRate"})), json!({}), 2),
        (("redis", json!({"listName": "l"})), json!({}), 30),
        (("redis-streams", json!({"stream": "s"})), json!({}), 34),
        (("redis-streams", json!({"stream": "s", "consumerGroup": "g"})), json!({}), 4),
        (("redis-streams", json!({"stream": "s", "consumerGroup": "g", "lagCount": "5"})), json!({}), 30),
        (
            ("external", json!({"scalerAddress": "queue.prod:9090"})),
            json!({"external": {"queue.prod": {"reads": "waiting", "target": 5}}}),
            30,
        ),
        (
            ("external", json!({"scalerAddress": "keda-add-ons-http-external-scaler.keda:9090"})),
            json!({}),
            34,
        ),
    ] {
        let mut own = keda(&json!([{"type": kind, "metadata": metadata}]), &json!({}), &beside);
        let (_, _, detail) = turn(&mut own, POLL, &world(30, 90));
        let figures = format!(" {value} against ");
        assert!(detail.contains(&figures), "{metadata}: {detail}");
    }
    // Rates are those since the read before, by whomever.
    let (kind, metadata) = rabbit(json!({"mode": "MessageRate"}));
    let mut own = keda(&json!([{"type": kind, "metadata": metadata}]), &json!({}), &json!({}));
    turn(&mut own, POLL, &world(30, 90));
    assert!(turn(&mut own, HPA, &world(40, 150)).2.starts_with("s0-rabbitmq-q 3 against 10 a replica"));
    assert!(
        turn(&mut own, POLL, &world(60, 150)).2.contains(" 0 against 10, active"),
        "its messages wait on"
    );
}

#[test]
fn cpu_alone_never_sleeps() {
    let cpu = json!([{"type": "cpu", "metadata": {"value": "50"}}]);
    let mut own = keda(&cpu, &json!({}), &json!({}));
    assert!(own.reads_usage());
    let (to, rule, detail) = turn(&mut own, POLL, &World::ready(900, 1));
    assert_eq!((to, rule, detail.as_str()), (1, "ScalerActive", "cpu and memory keep it awake"));
    let mut world = World::ready(900, 2);
    world.pods.iter_mut().for_each(|pod| pod.usage = Some(usage(895, 3_000, 1 << 30)));
    assert_eq!(short(&mut own, HPA, &world), (3, "DesiredWithinRange"));
    // Beside another trigger it does not count.
    let both = json!([cpu[0], prometheus("gateway_queue_length", &json!({}))]);
    let mut own = keda(&both, &json!({}), &json!({}));
    assert_eq!(short(&mut own, POLL, &queue(900, 1, 0.0)), (0, "ScalerNotActive"));
    let spec = spec(&both, &json!({}), &json!({}));
    assert_eq!(spec.resources(), [ResourceRead { is_memory: false, of_request: true }]);
}

#[test]
fn the_add_on_wakes_the_target_at_once_and_holds_requests() {
    let http = json!({"scaleTargetRef": {"name": "vllm", "service": "vllm", "port": 80}, "replicas": {"max": 4},
        "scalingMetric": {"concurrency": {"targetValue": 10}}, "scaledownPeriod": 30,
        "coldStartTimeoutFailoverRef": {"service": "other", "port": 80}});
    let spec: KedaSpec =
        serde_json::from_value(json!({"httpScaledObject": http})).expect("the types are right");
    assert_eq!(spec.check(&Setting::default()), vec![]);
    let mut own = Keda::new(&spec, &Setting::default());
    assert_eq!(own.loops()[0].period, SimDuration::from_secs(15));
    assert_eq!(own.data_path().hold_timeout, Some(SimDuration::from_secs(30)));
    let ms = |millis: u64| SimTime::ZERO + SimDuration::from_millis(millis);
    let world = |millis: u64, replicas: u32, in_flight: u64| {
        let mut world = World::ready(0, replicas);
        (world.now, world.gateway.held) = (ms(millis), in_flight);
        world
    };
    // The first read finds nothing, and at zero nobody reads on.
    assert!(own.timed(&world(0, 0, 0).view()).is_none());
    assert_eq!(own.timer(), None);
    own.request_held(ms(20_130));
    assert_eq!(own.timer(), Some(ms(20_500)));
    assert!(own.timed(&world(20_500, 0, 3).view()).is_none());
    assert_eq!(own.timer(), Some(ms(20_600)));
    let (of, decision) = own.timed(&world(20_600, 0, 3).view()).expect("KEDA hears of it");
    assert_eq!((of, decision.replicas, decision.why.rule), ("keda", 1, "ScaleFromZero"));
    assert_eq!(decision.why.detail, "pushed: 3 at the interceptors, active");
    // The HPA reads the same counts, as of the scaler's last read.
    own.timed(&world(21_000, 1, 25).view());
    assert_eq!(
        turn(&mut own, HPA, &world(21_100, 1, 44)).2,
        "s0-external-push 25 against 10 a replica: 3 replicas"
    );
    // The last message is sent before the read that finds nothing: 30 s after it are over at 54 s, not at 45 s.
    for (millis, in_flight) in [(23_000, 1), (23_500, 0), (24_000, 0)] {
        own.timed(&world(millis, 1, in_flight).view());
    }
    let says = "s0-external-push 0 against 10, not active; last active 21.6s ago, cooldown 30s";
    assert_eq!(turn(&mut own, POLL, &world(45_000, 1, 0)), (1, "ScalerCooldown", says.to_owned()));
    assert_eq!(short(&mut own, POLL, &world(60_000, 1, 0)), (0, "ScalerNotActive"));
}
