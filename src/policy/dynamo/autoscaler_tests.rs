use super::*;
use crate::policy::engine_facts::{EngineFacts, SweptStep};
use crate::policy::fixture::{World, pod};

/// An engine whose steps take 5 ms + 1 us a KV token + 20 us a prompt token, on one GPU.
pub(in crate::policy::dynamo) fn engine() -> EngineFacts {
    let points = (1..=8).flat_map(|kv| (0..8).map(move |prefill| (kv * 10_000, prefill * 290)));
    let step = |(decode_kv, prefill_tokens): (u64, u64)| {
        let time_s = 0.005 + 1e-6 * decode_kv as f64 + 2e-5 * prefill_tokens as f64;
        SweptStep { prefill_tokens, decode_kv, time_s }
    };
    EngineFacts {
        kv_cache_tokens: 80_000,
        max_num_batched_tokens: 2048,
        max_num_seqs: 64,
        gpus: 1,
        sweep: points.map(step).collect(),
    }
}

pub(in crate::policy::dynamo) fn setting() -> Setting {
    Setting { engine: Some(engine()), ..Setting::default() }
}

fn dynamo(json: &str) -> Dynamo {
    let spec: DynamoSpec = serde_json::from_str(json).expect(json);
    assert_eq!(spec.check(&setting()), vec![], "{json}");
    Dynamo::new(&spec, &setting())
}

/// So many ready workers with (KV usage, waiting) each, after a minute of prompts of 1000 tokens.
fn world(now_s: u64, loads: &[(f64, f64)]) -> World {
    let mut world = World::ready(now_s, loads.len() as u32);
    for (index, (usage, waiting)) in (0..).zip(loads) {
        let name = crate::policy::api::pod_name("vllm", ReplicaId(index));
        let target = world.store.add_target(&[("pod", name.as_str())]);
        let mut counters = Vec::new();
        for (series, per_s) in [
            ("vllm:request_prompt_tokens_sum", 2000.0),
            ("vllm:request_prompt_tokens_count", 2.0),
            ("vllm:request_generation_tokens_sum", 200.0),
            ("vllm:request_generation_tokens_count", 2.0),
            ("vllm:prompt_tokens_total", 2000.0),
            ("vllm:inter_token_latency_seconds_sum", 4.5),
            ("vllm:inter_token_latency_seconds_count", 100.0),
        ] {
            counters.push((world.store.add_series(target, series, &[]), per_s));
        }
        let gauges = [
            ("vllm:kv_cache_usage_perc", *usage),
            ("vllm:num_requests_waiting", *waiting),
            ("vllm:num_requests_running", 10.0),
        ]
        .map(|(series, value)| (world.store.add_series(target, series, &[]), value));
        for at in (now_s.saturating_sub(180)..=now_s).step_by(15) {
            let at = SimTime::from_secs(at);
            for (series, per_s) in &counters {
                world.store.append(*series, at, per_s * at.as_secs_f64());
            }
            for (series, value) in &gauges {
                world.store.append(*series, at, *value);
            }
        }
    }
    world
}

fn turn(policy: &mut Dynamo, which: usize, world: &World) -> Option<(u32, &'static str, String)> {
    policy.decide(which, &world.view()).map(|d| (d.replicas, d.why.rule, d.why.detail))
}

#[test]
fn full_caches_take_one_more_and_empty_ones_one_fewer() {
    let mut policy = dynamo("{}");
    assert_eq!(policy.loops().iter().map(|l| l.name).collect::<Vec<_>>(), ["load"]);
    // 70 % of 80000 tokens, and 30 requests of 1000.
    let detail = "KV caches 70.0% to 107.5% full with what waits: 3 workers".to_owned();
    assert_eq!(
        turn(&mut policy, LOAD, &world(300, &[(0.7, 0.0), (0.7, 30.0)])),
        Some((3, "scale_up", detail))
    );
    assert_eq!(turn(&mut policy, LOAD, &world(305, &[(0.7, 0.0), (0.7, 20.0)])), None);
    let down = turn(&mut policy, LOAD, &world(310, &[(0.5, 0.0), (0.1, 0.0)])).map(|t| (t.0, t.1));
    assert_eq!(down, Some((1, "scale_down")));
    assert_eq!(turn(&mut policy, LOAD, &world(315, &[(0.5, 0.0)])), None);
    let mut latency = dynamo(r#"{"optimization_target": "latency"}"#);
    assert_eq!(turn(&mut latency, LOAD, &world(300, &[(0.5, 0.0)])).map(|t| t.0), Some(2));
}

#[test]
fn while_workers_start_or_are_silent_it_only_observes() {
    let mut policy = dynamo("{}");
    let mut starting = world(300, &[(1.0, 30.0)]);
    starting.replicas = 2;
    starting.pods.push(pod(1));
    starting.pods[1].ready = false;
    assert_eq!(turn(&mut policy, LOAD, &starting), None);
    let mut silent = world(300, &[(1.0, 30.0)]);
    silent.replicas = 2;
    silent.pods.push(pod(1));
    assert_eq!(turn(&mut policy, LOAD, &silent), None);
    assert_eq!(turn(&mut policy, LOAD, &World::ready(300, 0)), None);
}

#[test]
fn the_budget_bounds_it() {
    let mut policy = dynamo(r#"{"max_gpu_budget": 5, "decode_engine_num_gpu": 2}"#);
    assert_eq!(policy.maximum(), Some(2));
    assert_eq!(turn(&mut policy, LOAD, &world(300, &[(1.0, 30.0)])).map(|t| t.0), Some(2));
    assert_eq!(turn(&mut policy, LOAD, &world(300, &[(1.0, 30.0); 2])), None);
    assert_eq!(dynamo(r#"{"max_gpu_budget": -1, "min_endpoint": 3}"#).maximum(), Some(u32::MAX));
    assert_eq!(dynamo(r#"{"min_endpoint": 3}"#).initial(), (3, 0));
}

#[test]
fn a_forecast_is_divided_by_what_a_worker_serves() {
    let mut policy = dynamo(
        r#"{"optimization_target": "sla", "itl": 30.1, "ttft": 100000.0, "load_predictor": "constant"}"#,
    );
    assert_eq!(policy.loops().iter().map(|l| l.name).collect::<Vec<_>>(), ["load", "throughput"]);
    let mut traffic = world(360, &[(0.5, 0.0)]);
    traffic.now = SimTime::from_secs(180);
    assert_eq!(turn(&mut policy, 1, &traffic), None);
    // 5 + 1.05 b + 0.2 b is 30 ms at a batch of 20: 20 / (100 * 0.03) = 6.667 requests/s, and 19 are forecast.
    traffic.now = SimTime::from_secs(360);
    traffic.gateway.arrived = 19 * 180;
    let (replicas, rule, detail) = turn(&mut policy, 1, &traffic).expect("it is ready");
    assert_eq!((replicas, rule), (3, "scale"), "{detail}");
    assert!(detail.starts_with("19.000 requests/s of 1000+100 tokens forecast, 6.667 a worker"), "{detail}");
    // Without load scaling, a look changes nothing.
    assert_eq!(turn(&mut policy, LOAD, &traffic), None);
}

#[test]
fn with_load_scaling_a_forecast_is_the_least() {
    let mut policy = dynamo(
        r#"{"optimization_target": "sla", "itl": 100.0, "ttft": 100000.0, "load_predictor": "constant",
            "enable_load_scaling": true}"#,
    );
    let mut traffic = world(360, &[(0.1, 0.0); 3]);
    traffic.now = SimTime::from_secs(180);
    turn(&mut policy, 1, &traffic);
    traffic.now = SimTime::from_secs(360);
    // A batch of 64 takes 85 ms: 7.53 requests/s.
    traffic.gateway.arrived = 14 * 180;
    let bound = turn(&mut policy, 1, &traffic).map(|t| (t.0, t.1));
    assert_eq!((bound, policy.lower_bound), (Some((3, "set_lower_bound")), 2));
    let (replicas, rule, detail) = turn(&mut policy, LOAD, &traffic).expect("three are too many");
    assert_eq!((replicas, rule), (2, "scale_down"), "{detail}");
    assert_eq!(turn(&mut policy, LOAD, &world(360, &[(0.1, 0.0); 2])), None);
    // Below the least, it goes up whatever the latencies are.
    let up = turn(&mut policy, LOAD, &world(360, &[(0.1, 0.0)])).map(|t| (t.0, t.1));
    assert_eq!(up, Some((2, "scale_up")));
}

#[test]
fn latencies_above_their_targets_take_one_more() {
    let json = r#"{"optimization_target": "sla", "itl": 40.0, "enable_throughput_scaling": false,
        "enable_load_scaling": true, "load_min_observations": 2}"#;
    let mut policy = dynamo(json);
    assert_eq!(policy.loops().iter().map(|l| l.name).collect::<Vec<_>>(), ["load"]);
    assert_eq!(turn(&mut policy, LOAD, &world(300, &[(0.5, 0.0)])), None);
    // Steps of 45 ms were seen, whatever is in the cache: the plane is flat at 45 ms.
    let (replicas, rule, detail) = turn(&mut policy, LOAD, &world(315, &[(0.6, 0.0)])).expect("it is ready");
    assert_eq!((replicas, rule), (2, "scale_up"), "{detail}");
    assert_eq!(detail, "TTFT up to 45 ms against 500, ITL up to 45.0 ms against 40: 2 workers");
}
