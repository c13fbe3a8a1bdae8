//! KEDA in whole runs, to the second: what wakes a service up, what sends it to sleep, and what its users see of it.
//! A start takes 71 s (image 40 s, weights 25 s, warm-up 6 s) and a probe's second at most.

use std::path::PathBuf;

use thawline::kernel::{SimDuration, SimTime};
use thawline::outcome::RunOutcome;
use thawline::scenario;
use thawline::sim;

/// A run of the policy `keda` over a workload, with `service` seconds a request on four workers.
struct Case {
    workload: &'static str,
    service: &'static str,
    /// Lines beside the others.
    more: &'static str,
    policy: String,
}

impl Case {
    fn text(&self) -> String {
        format!(
            "name: keda\nprofile: profiles/small-7b-worked-example.yaml\n\
             workload: {{ {}, lengths: {{ constant: {{ promptTokens: 1, outputTokens: 1 }} }} }}\n\
             engine: {{ workers: {{ workers: 4, service: {} }} }}\n\
             gateway: {{ requestTimeout: 1h }}\n\
             replica: {{ readiness: {{ period: 1s }} }}\n\
             cluster: {{ controlPlane: {{ watchDelay: 0s, apiCall: 0s }}, \
             pools: {{ gpus: {{ gpusPerNode: 10, minNodes: 1, maxNodes: 1 }} }} }}\n\
             telemetry: {{ scrapeInterval: 5s, scrapePhase: 1s, exporter: vllm }}\n\
             {}\nreplications: 1\npolicies:\n  keda:\n    keda: {}\n",
            self.workload, self.service, self.more, self.policy
        )
    }

    fn run(&self) -> RunOutcome {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let text = self.text();
        let scenario =
            scenario::parse("keda.yaml", &text, &[], root).unwrap_or_else(|f| panic!("{f:?}\n{text}"));
        let resolved = scenario::resolve(&scenario, false).unwrap_or_else(|f| panic!("{f:?}\n{text}"));
        let policy = resolved.policies["keda"].build(&resolved.simulation.setting);
        sim::run(&resolved.simulation, policy, 0, None).expect("a workload in memory does not fail").0
    }
}

fn scaled_object(triggers: &str, more: &str) -> String {
    format!(
        "{{ scaledObject: {{ scaleTargetRef: {{ name: vllm }}, triggers: [{triggers}]{more} }}, controller: {{ phase: 7s }} }}"
    )
}

fn prometheus(query: &str, threshold: u32, more: &str) -> String {
    format!(
        "{{ type: prometheus, metadata: {{ serverAddress: 'http://p', query: '{query}', threshold: '{threshold}' }}{more} }}"
    )
}

fn at(seconds: f64) -> SimTime {
    SimTime::ZERO + SimDuration::from_secs_f64(seconds).expect("a short time")
}

/// (seconds, loop, from, to, rule) of the decisions that changed something.
fn changes(outcome: &RunOutcome) -> Vec<(f64, &str, u32, u32, &str)> {
    let changed = outcome.decisions.iter().filter(|d| d.from != d.to);
    changed.map(|d| (d.at.as_secs_f64(), d.of, d.from, d.to, d.why.rule)).collect()
}

/// Requests from 40 s to 100 s, one a second, the last at 100 s: 61 in 20 minutes.
const VISIT: &str = "spike: { baseRate: 0, peakRate: 1, from: 40s, for: 1m, spacing: even }, duration: 20m";

#[test]
fn a_poll_wakes_and_zero_comes_330_seconds_after_the_last_active_one() {
    let case = Case {
        workload: VISIT,
        service: "100ms",
        more: "initial: { replicas: 0 }",
        policy: scaled_object(&prometheus("gateway_queue_length", 100, ""), ""),
    };
    let outcome = case.run();
    // The scrape at 56 s sees what is held since 40 s, and the poll at 60 s reads it.
    assert_eq!(outcome.starts[0].ordered, at(60.0));
    let ready = 60.0 + outcome.starts[0].duration().expect("it became ready").as_secs_f64();
    assert!((131.0..=132.0).contains(&ready), "{ready}");
    // The poll at 120 s is the last to find anything held: 300 s after it are not strictly past at 420 s.
    let expected = [(60.0, "keda", 0, 1, "ScaleFromZero"), (450.0, "keda", 1, 0, "ScalerNotActive")];
    assert_eq!(changes(&outcome), expected);
    assert_eq!((outcome.counts.finished, outcome.counts.arrived), (61, 61));
}

#[test]
fn an_idle_service_goes_at_its_second_poll() {
    let case = Case {
        workload: "spike: { baseRate: 0, peakRate: 1, from: 19m, for: 30s, spacing: even }, duration: 20m",
        service: "100ms",
        more: "",
        policy: scaled_object(
            &prometheus("gateway_requests_in_flight", 100, ""),
            ", initialCooldownPeriod: 45",
        ),
    };
    let outcome = case.run();
    assert_eq!(changes(&outcome)[0], (60.0, "keda", 1, 0, "ScalerNotActive"));
}

#[test]
fn the_http_add_on_wakes_within_the_second_and_holds_what_came() {
    let http = |more: &str| {
        format!(
            "{{ httpScaledObject: {{ scaleTargetRef: {{ name: vllm, service: vllm, port: 80 }}, \
             replicas: {{ max: 3 }}, scaledownPeriod: 60{more} }}, controller: {{ phase: 7s }} }}"
        )
    };
    let case = |more: &str, service| {
        Case { workload: VISIT, service, more: "initial: { replicas: 0 }", policy: http(more) }.run()
    };
    let outcome = case("", "100ms");
    // The first request comes at 40 s, or a fraction of its second later.
    let woken = outcome.starts[0].ordered.as_secs_f64();
    assert!((40.0..41.1).contains(&woken), "{woken}");
    assert_eq!((outcome.counts.finished, outcome.counts.arrived), (61, 61));
    // All is done at 111.x s; the last message is less than a second older; 60 s after it are over at the poll of 180 s.
    let expected = [(woken, "keda", 0, 1, "ScaleFromZero"), (180.0, "keda", 1, 0, "ScalerNotActive")];
    assert_eq!(changes(&outcome), expected);

    // With a rate, the window of a minute keeps it awake as well: the last request came at 100 s.
    let rate = case(", scalingMetric: { requestRate: { targetValue: 5 } }", "100ms");
    assert_eq!(changes(&rate)[1], (225.0, "keda", 1, 0, "ScalerNotActive"));

    // Held no longer than 30 s, those of the first 42 s are lost: the replica is there after 72 s.
    let given_up = case(", timeouts: { conditionWait: 30s }", "100ms");
    assert!((40..=43).contains(&given_up.counts.timed_out), "{:?}", given_up.counts);
    assert_eq!(given_up.counts.timed_out + given_up.counts.finished, 61);
    let failover =
        case(", coldStartTimeoutFailoverRef: { service: other, port: 80, timeoutSeconds: 60 }", "100ms");
    assert!((10..=13).contains(&failover.counts.timed_out), "{:?}", failover.counts);

    // An answer that takes longer to begin than the interceptor waits for its headers is cut off.
    let cut = case(", timeouts: { responseHeader: 2s }", "3s");
    assert_eq!((cut.counts.finished, cut.counts.timed_out), (0, 61));
    let kept = case(", timeouts: { responseHeader: 4s }", "3s");
    // All were held until it was there: four are answered in 3 s, the next four would be after 6 s.
    assert_eq!((kept.counts.finished, kept.counts.timed_out), (4, 57));
}

#[test]
fn cached_metrics_make_the_polling_interval_the_hpas() {
    let run = |more: &str| {
        let trigger = prometheus("gateway_requests_per_second", 2, more);
        Case {
            workload: "spike: { baseRate: 1, peakRate: 6, from: 122s, for: 5m, spacing: even }, duration: 8m",
            service: "100ms",
            more: "",
            policy: scaled_object(&trigger, ", minReplicaCount: 1, pollingInterval: 120"),
        }
        .run()
    };
    // Reconciles at 7 s and every 15.01 s on; the one at 127.08 s reads the scrape of 126 s itself.
    let live = run("");
    let (when, of, from, to, _) = changes(&live)[0];
    assert_eq!((of, from, to), ("hpa", 1, 3));
    assert!((127.0..128.0).contains(&when), "{when}");
    // The poll of 240 s is the first after the rise.
    let cached = run(", useCachedMetrics: true");
    let (when, of, from, to, _) = changes(&cached)[0];
    assert_eq!((of, from, to), ("hpa", 1, 3));
    assert!((240.0..256.0).contains(&when), "{when}");
}

#[test]
fn an_unsummed_query_fails_at_two_pods_and_the_fallback_holds() {
    // One replica of four workers serves 4 requests/s; 6 come.
    let run = |query: &str| {
        let trigger = prometheus(query, 5, "");
        Case {
            workload: "constant: { rate: 6 }, duration: 15m",
            service: "1s",
            more: "",
            policy: scaled_object(
                &trigger,
                ", minReplicaCount: 1, maxReplicaCount: 6, fallback: { failureThreshold: 3, replicas: 2 }, \
                 advanced: { horizontalPodAutoscalerConfig: { behavior: { scaleUp: { policies: [\
                 { type: Pods, value: 1, periodSeconds: 120 }] } } } }",
            ),
        }
        .run()
    };
    let most = |outcome: &RunOutcome| outcome.decisions.iter().map(|d| d.to).max();
    let summed = run("sum(vllm:num_requests_waiting)");
    assert!(most(&summed) > Some(2), "{:?}", changes(&summed));
    let outcome = run("vllm:num_requests_waiting");
    // It stops where the second pod answers, and the fallback keeps it there.
    let (first, of, from, to, _) = changes(&outcome)[0];
    assert_eq!((of, from, to), ("hpa", 1, 2));
    let failed = outcome.decisions.iter().find(|d| d.of == "hpa" && d.why.rule == "FailedGetExternalMetric");
    let failed = failed.expect("the HPA lost its metric");
    let second = first + outcome.starts[0].duration().expect("it became ready").as_secs_f64();
    assert!(failed.at.as_secs_f64() > second, "{failed:?}");
    assert!(failed.why.detail.contains("multiple elements; failure 1 of 3"), "{}", failed.why.detail);
    let fallback =
        outcome.decisions.iter().find(|d| d.at > failed.at && d.of == "hpa").expect("it comes back");
    assert!(fallback.why.detail.contains("failure 4, beyond 3: fallback to 10"), "{}", fallback.why.detail);
    // Two polls and two reads of the HPA take no more than a minute.
    assert!(fallback.at.since(failed.at) < SimDuration::from_secs(60), "{fallback:?}");
    assert_eq!(most(&outcome), Some(2));
}

#[test]
fn a_cron_window_follows_its_time_zone_over_a_change_of_the_clock() {
    // Berlin puts its clocks from 2:00 to 3:00 at 01:00Z, half an hour into the run: 4:00 is at 02:00Z and 5:00 at 03:00Z.
    let cron = "{ type: cron, metadata: { timezone: Europe/Berlin, start: '0 4 * * *', end: '0 5 * * *', \
                desiredReplicas: '3' } }";
    let case = Case {
        workload: "constant: { rate: 0.01 }, duration: 3h",
        service: "100ms",
        more: "startTime: 2026-03-29T00:30:00Z",
        policy: scaled_object(cron, ""),
    };
    let outcome = case.run();
    let found: Vec<_> =
        changes(&outcome).into_iter().map(|(when, of, from, to, _)| (when.floor(), of, from, to)).collect();
    // The instant of the start belongs to the window, that of the end does not; the last active poll is at 8,970 s.
    let (up, down) = (found[2].0, found[3].0);
    let expected = [
        (30.0, "keda", 1, 0),
        (5_400.0, "keda", 0, 1),
        (up, "hpa", 1, 3),
        (down, "hpa", 3, 1),
        (9_300.0, "keda", 1, 0),
    ];
    assert_eq!(found, expected);
    // The HPA follows within its period, and 5 min after the last turn that wanted three.
    assert!((5_400.0..5_416.0).contains(&up) && (9_285.0..9_300.0).contains(&down), "{found:?}");
}

#[test]
fn a_queue_wakes_scales_and_empties() {
    // A visit of 20 requests/s for a minute: 1,201 messages, of which a replica takes four at a time.
    let run = |trigger: &str, beside: &str| {
        let policy = scaled_object(trigger, ", maxReplicaCount: 8, cooldownPeriod: 60");
        Case {
            workload: "spike: { baseRate: 0, peakRate: 20, from: 40s, for: 1m, spacing: even }, duration: 30m",
            service: "1s",
            more: "initial: { replicas: 0 }",
            policy: format!("{}{beside} }}", policy.strip_suffix(" }").expect("it is a map")),
        }
        .run()
    };
    for (trigger, beside, most) in [
        ("{ type: rabbitmq, metadata: { queueName: q, mode: QueueLength, value: '100' } }", "", 8),
        ("{ type: aws-sqs-queue, metadata: { queueURL: 'https://sqs/q', queueLength: '100' } }", "", 8),
        (
            "{ type: kafka, metadata: { topic: t, consumerGroup: g, lagThreshold: '100' } }",
            // Three partitions, and yet four replicas: upstream's bound divides whole numbers, and 399 / 100 is 3.
            ", queues: { t: { partitions: 3 } }",
            4,
        ),
    ] {
        let outcome = run(trigger, beside);
        let found = changes(&outcome);
        assert_eq!(found[0], (60.0, "keda", 0, 1, "ScaleFromZero"), "{trigger}");
        assert_eq!(found.iter().map(|change| change.3).max(), Some(most), "{trigger}: {found:?}");
        let last = found[found.len() - 1];
        assert_eq!((last.1, last.3, last.4), ("keda", 0, "ScalerNotActive"), "{trigger}");
        assert_eq!(outcome.counts.finished, 1201, "{trigger}");
    }
}

#[test]
fn paused_replicas_stand_whatever_comes() {
    let case = |count: u32, more| {
        let object = scaled_object(&prometheus("gateway_requests_in_flight", 1, ""), "");
        let policy = format!(
            "{}, annotations: {{ autoscaling.keda.sh/paused-replicas: '{count}' }} }}",
            object.strip_suffix(" }").expect("it is a map")
        );
        Case { workload: VISIT, service: "10s", more, policy }.run()
    };
    let outcome = case(2, "");
    assert_eq!(changes(&outcome), []);
    assert_eq!(outcome.decisions.len(), 1);
    assert_eq!(outcome.decisions[0].why.detail, "paused at 2 replicas; no polls, no HPA");
    assert_eq!(outcome.starts.len(), 0);
    // From another count the target is set once.
    let outcome = case(2, "initial: { replicas: 1 }");
    assert_eq!(changes(&outcome), [(0.0, "keda", 1, 2, "Paused")]);
}
