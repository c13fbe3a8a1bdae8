use super::*;
use crate::policy::fixture::World;

const KV: &str = "vllm:kv_cache_usage_perc";
const QUEUE: &str = "vllm:num_requests_waiting";

fn wva(json: &str, setting: &Setting) -> Wva {
    let spec: WvaSpec = serde_json::from_str(json).expect(json);
    assert_eq!(spec.check(setting), vec![], "{json}");
    Wva::new(&spec, setting)
}

fn engine() -> EngineFacts {
    EngineFacts {
        kv_cache_tokens: 100_000,
        max_num_batched_tokens: 2048,
        max_num_seqs: 8,
        gpus: 1,
        sweep: std::sync::Arc::new([]),
    }
}

/// So many ready replicas with (KV usage, waiting) each.
fn world(now_s: u64, loads: &[(f64, f64)]) -> World {
    let world = World::ready(now_s, loads.len() as u32);
    (0..).zip(loads).fold(world, |world, (pod, (kv, queue))| {
        world.with_sample(pod, KV, now_s, *kv).with_sample(pod, QUEUE, now_s, *queue)
    })
}

fn turn(policy: &mut Wva, which: usize, world: &World) -> Option<(u32, &'static str, String)> {
    policy.decide(which, &world.view()).map(|d| (d.replicas, d.why.rule, d.why.detail))
}

#[test]
fn what_is_emitted_reaches_the_scale_by_an_hpa_four_minutes_later() {
    let mut policy = wva(r#"{"hpa": {"controller": {"phase": "0s"}}}"#, &Setting::default());
    assert_eq!(policy.loops().iter().map(|l| l.name).collect::<Vec<_>>(), ["wva", "hpa"]);
    assert_eq!(
        turn(&mut policy, 1, &world(0, &[(0.2, 0.0)])).map(|t| (t.0, t.1)),
        Some((1, "FailedGetExternalMetric"))
    );
    let quiet = turn(&mut policy, OPTIMISE, &world(10, &[(0.2, 0.0)]));
    let detail = "wva_desired_replicas nothing to 1: 1 of 1 replicas report, 1 not saturated, spare 0.600 of the KV cache and 5.0 in the queue";
    assert_eq!(quiet, Some((1, "Steady", detail.to_owned())));
    assert_eq!(turn(&mut policy, 1, &world(15, &[(0.2, 0.0)])).map(|t| t.0), Some(1));
    // Saturated: one more is wanted, and the scale stays until the window has passed.
    assert_eq!(
        turn(&mut policy, OPTIMISE, &world(70, &[(0.9, 9.0)])).map(|t| (t.0, t.1)),
        Some((1, "ScaleUp"))
    );
    let mut scaled_at = None;
    for now_s in (75..400).step_by(15) {
        let (replicas, ..) =
            turn(&mut policy, 1, &world(now_s, &[(0.9, 9.0)])).expect("an HPA always answers");
        if replicas == 2 {
            scaled_at = scaled_at.or(Some(now_s));
        }
    }
    // The last recommendation of 1 was made at 15 s, and 255 s is the first reconcile that does not see it.
    assert_eq!(scaled_at, Some(255));
    // What was asked for is not there yet: everything is frozen.
    assert_eq!(turn(&mut policy, OPTIMISE, &world(400, &[(0.9, 9.0)])), None);
    assert_eq!(policy.desired, Some(2));
}

#[test]
fn a_pending_replica_freezes_the_model() {
    let mut policy = wva("{}", &Setting::default());
    let mut cold = world(60, &[(0.9, 9.0), (0.9, 9.0)]);
    cold.pods.push(crate::policy::fixture::pod(2));
    cold.pods[2].ready = false;
    cold.replicas = 3;
    assert_eq!(turn(&mut policy, OPTIMISE, &cold).map(|t| t.1), Some("InTransition"));
    assert_eq!(policy.desired, Some(3));
    let all = world(120, &[(0.9, 9.0); 3]);
    assert_eq!(turn(&mut policy, OPTIMISE, &all).map(|t| t.1), Some("ScaleUp"));
    assert_eq!(policy.desired, Some(4));
}

#[test]
fn one_goes_when_the_rest_can_carry_it() {
    let mut policy = wva("{}", &Setting::default());
    assert_eq!(turn(&mut policy, OPTIMISE, &world(60, &[(0.1, 0.0); 4])).map(|t| t.1), Some("ScaleDown"));
    assert_eq!(policy.desired, Some(3));
    let mut policy = wva("{}", &Setting::default());
    assert_eq!(turn(&mut policy, OPTIMISE, &world(60, &[(0.5, 1.0); 2])).map(|t| t.1), Some("Steady"));
    // Without a metric nothing changes.
    assert_eq!(turn(&mut policy, OPTIMISE, &World::ready(120, 2)), None);
}

#[test]
fn tokens_are_held_against_capacity() {
    let setting = Setting { engine: Some(engine()), ..Setting::default() };
    let mut policy = wva(r#"{"analyzerName": "saturation"}"#, &setting);
    // 2 * 80000 tokens of capacity and 2 * 79000 in use: 158000 / 0.85 - 160000 is a third of a replica.
    assert_eq!(turn(&mut policy, OPTIMISE, &world(60, &[(0.79, 0.0); 2])).map(|t| t.1), Some("ScaleUp"));
    assert_eq!(policy.desired, Some(3));
    // Not frozen: a pending replica counts as capacity on its way, and no more is asked for.
    let mut cold = world(120, &[(0.79, 0.0); 2]);
    cold.pods.push(crate::policy::fixture::pod(2));
    cold.pods[2].ready = false;
    cold.replicas = 3;
    assert_eq!(turn(&mut policy, OPTIMISE, &cold), None);
    // 40000 tokens on 4: 320000 - 40000 / 0.7 is three replicas.
    let (_, rule, detail) = turn(&mut policy, OPTIMISE, &world(180, &[(0.1, 0.0); 4])).expect("it changes");
    assert_eq!((rule, policy.desired), ("ScaleDown", Some(1)), "{detail}");
    assert!(
        detail
            .ends_with("40000 tokens in replicas and 0 before them, 80000 a replica, 4 ready and 0 pending"),
        "{detail}"
    );
}

#[test]
fn a_model_sleeps_after_the_retention_period_and_wakes_at_a_request() {
    let mut policy = wva(
        r#"{"enableScaleToZero": true, "retentionPeriod": "2m", "hpa": {"minReplicas": 0}}"#,
        &Setting::default(),
    );
    assert_eq!(policy.initial(), (1, 0));
    let mut idle = world(100, &[(0.0, 0.0)]);
    idle.gateway.arrived = 7;
    assert_eq!(turn(&mut policy, OPTIMISE, &idle).map(|t| t.1), Some("Steady"));
    idle.now = SimTime::from_secs(160);
    idle.gateway.running = 1;
    assert_eq!(turn(&mut policy, OPTIMISE, &idle), None);
    // The last request was seen at 160 s.
    idle.gateway.running = 0;
    for (now_s, emitted) in [(220, None), (279, None), (280, Some("ScaleToZero"))] {
        idle.now = SimTime::from_secs(now_s);
        assert_eq!(turn(&mut policy, OPTIMISE, &idle).map(|t| t.1), emitted, "{now_s}");
    }
    assert_eq!(policy.desired, Some(0));
    let mut asleep = World::ready(700, 0);
    asleep.gateway.arrived = 7;
    assert_eq!(turn(&mut policy, OPTIMISE, &asleep).map(|t| t.1), None);
    asleep.gateway.held = 1;
    asleep.now = SimTime::from_nanos(700_130_000_000);
    policy.request_held(asleep.now);
    assert_eq!(policy.timer(), Some(SimTime::from_nanos(700_200_000_000)));
    let (of, decision) = policy.timed(&asleep.view()).expect("a request waits");
    assert_eq!((of, decision.replicas, decision.why.rule), ("from-zero", 1, "ScaleFromZero"));
    assert_eq!((policy.timer(), policy.desired), (None, Some(1)));
}
