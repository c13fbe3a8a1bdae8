//! Laws that hold whatever the figures are: how a run changes when its scenario changes in a way
//! whose effect is known. And the digests of the shipped scenarios: a change of results is seen.
//! `THAWLINE_BLESS=1` writes `tests/digests.txt` anew.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use thawline::experiment::Matrix;
use thawline::kernel::{Distribution, SimDuration};
use thawline::outcome::{Latency, RunOutcome};
use thawline::profile::StepCost;
use thawline::scenario::{self, Resolved};
use thawline::sim::{self, EngineParams};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn resolve(scenario: &scenario::Scenario) -> Resolved {
    scenario::resolve(scenario, false).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// Bursts over an HPA and a warm pool, with every time of it given in `unit`s (milliseconds at least).
fn bursts(unit: u64) -> Resolved {
    let s = |secs: u64| format!("{}ms", secs * unit * 1000);
    let hpa = format!(
        "{{ minReplicas: 1, maxReplicas: 6, metrics: [{{ type: Pods, pods: {{ metric: {{ name: 'vllm:num_requests_waiting' }}, \
         target: {{ type: AverageValue, averageValue: 1 }} }} }}], \
         behavior: {{ scaleUp: {{ policies: [{{ type: Pods, value: 2, periodSeconds: {} }}] }}, \
         scaleDown: {{ stabilizationWindowSeconds: {}, policies: [{{ type: Pods, value: 1, periodSeconds: {} }}] }} }}, \
         controller: {{ phase: {}, syncPeriod: {}, reconcileDuration: 0s, downscaleStabilization: {} }} }}",
        60 * unit,
        120 * unit,
        60 * unit,
        s(5),
        s(15),
        s(120),
    );
    let text = format!(
        "name: law\nprofile: benches/8b.yaml\n\
         workload: {{ constant: {{ rate: 1 }}, duration: 1s, lengths: {{ constant: {{ promptTokens: 1, outputTokens: 1 }} }} }}\n\
         engine: {{ continuous: {{ maxNumBatchedTokens: 2048, maxNumSeqs: 8, kvCacheTokens: 40000 }} }}\n\
         gateway: {{ requestTimeout: {} }}\n\
         replica: {{ readiness: {{ period: {} }}, terminationGracePeriod: {} }}\n\
         telemetry: {{ scrapeInterval: {}, scrapePhase: {}, timelineStep: {} }}\n\
         cluster: {{ controlPlane: {{ watchDelay: {}, apiCall: {} }}, pools: {{ gpus: {{ gpusPerNode: 1, maxNodes: 10, pricePerGpuHour: $2, provision: {}, scaleDownUnneeded: {} }} }} }}\n\
         slo: {{ ttft: {} }}\n\
         policies: {{ hpa: {{ hpa: {hpa} }}, pool: {{ warmPool: {{ spare: 1, over: {{ hpa: {hpa} }} }} }} }}\n",
        s(60),
        s(10),
        s(30),
        s(15),
        s(4),
        s(15),
        s(1),
        s(1),
        s(20),
        s(300),
        s(2),
    );
    let mut resolved =
        resolve(&scenario::parse("law.yaml", &text, &[], root()).unwrap_or_else(|f| panic!("{f:?}")));
    let EngineParams::Continuous { batch, .. } = &mut resolved.simulation.engine else {
        panic!("as written")
    };
    let fs = |nanos: u64| (nanos * unit * 1_000_000) as i64;
    let decode = [fs(5_640_000), fs(300_000), fs(46)];
    batch.cost = Arc::new(StepCost::affine(decode, [fs(5_640_000), fs(32_500), fs(2)], 8));
    for (_, time) in &mut resolved.simulation.replica.stages {
        *time = Distribution::Constant(SimDuration::from_secs(45) * unit);
    }
    resolved.simulation.source = Arc::new(traffic(unit));
    resolved
}

/// 20 minutes of requests whose rate rises threefold and falls again, twice.
fn traffic(unit: u64) -> thawline::workload::Packed {
    let mut requests = Vec::new();
    let mut at = thawline::kernel::SimTime::ZERO;
    let span = SimDuration::from_secs(1200) * unit;
    for index in 0_u64.. {
        let minute = at.as_nanos() / unit / 60_000_000_000;
        // A gap of 100 ms to 300 ms, unlike its neighbours.
        let base = if minute % 10 >= 5 { 60_000_000 } else { 250_000_000 };
        at += SimDuration::from_nanos((base + index * 7_919_113 % 50_000_000) * unit);
        if at.since(thawline::kernel::SimTime::ZERO) >= span {
            break;
        }
        let prompt_tokens = 100 + (index * 379 % 1500) as u32;
        let output_tokens = 20 + (index * 97 % 250) as u32;
        requests.push(thawline::workload::Request { arrival: at, prompt_tokens, output_tokens });
    }
    thawline::workload::Packed { requests, span }
}

fn run(resolved: &Resolved, policy: &str, replication: u32) -> RunOutcome {
    sim::run(
        &resolved.simulation,
        resolved.policies[policy].build(&resolved.simulation.setting),
        replication,
        None,
    )
    .expect("its workload is in memory or shipped")
    .0
}

fn breached(run: &RunOutcome) -> u64 {
    run.breaches.as_ref().expect("there is an SLO").total
}

#[test]
fn with_every_time_doubled_everything_takes_twice_as_long() {
    let (once, twice) = (bursts(1), bursts(2));
    for policy in ["hpa", "pool"] {
        let (a, b) = (run(&once, policy, 0), run(&twice, policy, 0));
        assert!(
            a.decisions.len() > 4 && a.starts.len() > 2 && breached(&a) > 100,
            "{policy}: too calm a law"
        );
        assert_eq!(a.counts, b.counts, "{policy}");
        assert_eq!(a.steps, b.steps, "{policy}");
        assert_eq!(a.breaches.as_ref().unwrap().by_cause, b.breaches.as_ref().unwrap().by_cause, "{policy}");
        let in_breach = |run: &RunOutcome, by: u64| {
            run.breaches.as_ref().expect("there is an SLO").time_by_cause.map(|time| time * by)
        };
        assert_eq!(in_breach(&a, 2), in_breach(&b, 1), "{policy}");
        assert_eq!(a.run_end * 2, b.run_end, "{policy}");
        let decided = |run: &RunOutcome, by: u64| -> Vec<(u64, u32, u32)> {
            run.decisions.iter().map(|d| (d.at.as_nanos() * by, d.from, d.to)).collect()
        };
        assert_eq!(decided(&a, 2), decided(&b, 1), "{policy}");
        let gpu_ns = |run: &RunOutcome, by: u128| run.ledger.gpu_ns.map(|ns| ns * by);
        assert_eq!(gpu_ns(&a, 2), gpu_ns(&b, 1), "{policy}");
        let latencies = |run: &RunOutcome| -> Vec<Latency> {
            let l = &run.latency;
            vec![l.ttft.clone(), l.tpot.clone(), l.itl.clone(), l.e2e.clone(), l.queue_wait.clone()]
        };
        for (one, two) in latencies(&a).iter().zip(latencies(&b)) {
            assert_eq!((one.count(), one.infinite()), (two.count(), two.infinite()), "{policy}");
            for q in [0.1, 0.5, 0.9, 0.99, 1.0] {
                let (one, two) = (one.quantile(q).unwrap(), two.quantile(q).unwrap());
                if one == SimDuration::MAX {
                    assert_eq!(two, one, "{policy} at {q}");
                    continue;
                }
                // Each is within a thousandth of the truth.
                let (one, two) = (one.as_nanos(), two.as_nanos());
                assert!((2 * one).abs_diff(two) <= two / 450, "{policy} at {q}: {one} {two}");
            }
        }
    }
}

#[test]
fn a_doubled_price_doubles_the_bill_and_nothing_else() {
    let cheap = bursts(1);
    let mut dear = bursts(1);
    dear.simulation.cluster.pools[0].price_micro_usd *= 2;
    for policy in ["hpa", "pool"] {
        let (mut a, b) = (run(&cheap, policy, 0), run(&dear, policy, 0));
        assert!((2.0 * a.ledger.cost_total() - b.ledger.cost_total()).abs() < 1e-9, "{policy}");
        assert!(a.ledger.cost_total() > 0.1, "{policy}");
        assert_eq!(a.facts_digest, b.facts_digest, "{policy}");
        // The timeline has the bill of each step.
        for point in &mut a.timeline.points {
            point.rate_micro_usd *= 2;
        }
        assert_eq!((a.breaches, a.timeline, a.starts), (b.breaches, b.timeline, b.starts), "{policy}");
    }
}

#[test]
fn without_a_cold_start_no_policy_does_worse() {
    let cold = bursts(1);
    let mut instant = bursts(1);
    for (_, time) in &mut instant.simulation.replica.stages {
        *time = Distribution::Constant(SimDuration::ZERO);
    }
    instant.simulation.cluster.pools[0].spec.provision = Distribution::Constant(SimDuration::ZERO);
    for policy in ["hpa", "pool"] {
        let mean = |resolved: &Resolved| (0..5).map(|r| breached(&run(resolved, policy, r))).sum::<u64>() / 5;
        assert!(mean(&instant) < mean(&cold), "{policy}: {} {}", mean(&instant), mean(&cold));
    }
}

/// Facts of a scenario, run with so many threads: a line a policy and replication.
fn digests(name: &str, resolved: &Resolved, jobs: usize) -> String {
    let matrix =
        Matrix { policies: resolved.policies.len(), replications: resolved.header.replications, jobs };
    let one = |policy: usize, replication: u32| {
        let policy = resolved
            .policies
            .get_index(policy)
            .expect("within the matrix")
            .1
            .build(&resolved.simulation.setting);
        sim::run(&resolved.simulation, policy, replication, None).map(|(outcome, _)| outcome)
    };
    let mut lines = String::new();
    for (policy, runs) in
        resolved.policies.keys().zip(matrix.run(one, |_| ()).expect("every workload is there"))
    {
        for (replication, run) in runs.iter().enumerate() {
            if let Some(breaches) = &run.breaches {
                let parts: SimDuration = breaches.time_by_cause.into_iter().sum();
                assert_eq!(parts, breaches.duration(), "{name} {policy} {replication}");
            }
            writeln!(lines, "{name} {policy} {replication} {}", run.facts_digest).expect("a string takes it");
        }
    }
    lines
}

#[test]
fn neither_the_order_of_policies_nor_the_threads_matter() {
    let forward = bursts(1);
    let mut backward = bursts(1);
    backward.policies.reverse();
    let sorted = |text: &str| -> Vec<String> {
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    let alone = digests("law", &forward, 1);
    assert_eq!(alone.lines().count(), 10);
    assert_eq!(alone, digests("law", &forward, 8));
    assert_ne!(alone, digests("law", &backward, 8));
    assert_eq!(sorted(&alone), sorted(&digests("law", &backward, 8)));
}

#[test]
fn shipped_scenarios_give_the_facts_they_gave() {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(root().join("scenarios")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    assert!(paths.len() >= 3, "{paths:?}");
    let mut found = String::new();
    for path in &paths {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("names are UTF-8");
        let scenario = scenario::load(path, &[]).unwrap_or_else(|faults| panic!("{faults:?}"));
        found += &digests(name, &resolve(&scenario), 0);
    }
    let pinned = root().join("tests/digests.txt");
    if std::env::var_os("THAWLINE_BLESS").is_some() {
        std::fs::write(&pinned, &found).unwrap();
    }
    assert_eq!(
        found,
        std::fs::read_to_string(&pinned).unwrap_or_default(),
        "THAWLINE_BLESS=1 if they must change"
    );
}
