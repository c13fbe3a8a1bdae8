use super::*;
use crate::forecast::Series;
use crate::kernel::{Distribution, Quantiles};
use crate::policy::fixture::World;
use crate::policy::{Fault, PolicySpec, ReplicaModel};
use std::sync::Arc;

fn secs(secs: u64) -> SimDuration {
    SimDuration::from_secs(secs)
}

fn spec(json: &str) -> PredictiveSpec {
    let text = format!("{{\"predictive\": {json}}}");
    match serde_json::from_str(&text) {
        Ok(PolicySpec::Predictive(spec)) => *spec,
        other => panic!("{text}: {other:?}"),
    }
}

/// A policy with round figures: a replica serves 2 requests/s.
fn policy(more: &str) -> Predictive {
    let spec = spec(&format!(r#"{{"maxReplicas": 20, "capacity": 2, "quantile": 0.5{more}}}"#));
    assert_eq!(spec.check(&Setting::default()), vec![]);
    Predictive::new(&spec, &Setting::default())
}

/// Turns of the policy's own loop, a minute apart, at each of which so many requests have arrived in all.
fn turns(policy: &mut Predictive, arrived: impl IntoIterator<Item = u64>) -> Vec<(u32, &'static str)> {
    let mut replicas = policy.initial().0;
    let mut said = Vec::new();
    for (index, arrived) in arrived.into_iter().enumerate() {
        let mut world = World::ready(60 * (index as u64 + 1), replicas);
        world.gateway.arrived = arrived;
        let decision = policy.decide(0, &world.view()).expect("it always answers");
        replicas = decision.replicas;
        said.push((replicas, decision.why.rule));
    }
    said
}

/// On a ramp, each further replica is ordered in the turn that is exactly `lead` before the first step that needs it.
#[test]
fn a_ramp_is_ordered_for_exactly_a_lead_ahead() {
    const MINUTES: u64 = 200;
    // 6 k + 3 requests in minute k, which is a rate of (6 k + 3) / 60.
    let in_minute = |k: u64| 6 * k + 3;
    let needed = |k: u64| ((in_minute(k) as f64 / 60.0) / 2.0).ceil() as u32;
    for lead_min in [1, 5, 17] {
        let mut policy = policy(&format!(
            r#", "lead": "{lead_min}m", "forecaster": {{"holtWinters": {{"damped": false}}}}"#
        ));
        let mut sum = 0;
        let arrived = (0..MINUTES).map(|k| {
            sum += in_minute(k);
            sum
        });
        let said = turns(&mut policy, arrived);
        // The line is known once two blocks of eight values are seen, and the errors from before are a minority some time later.
        for (turn, (replicas, _)) in said.iter().enumerate().skip(60) {
            // The turn after minute `turn` orders for the minute that begins `lead` later.
            let served_from = turn as u64 + 1 + lead_min;
            assert_eq!(*replicas, needed(served_from).min(20), "{lead_min} min ahead, turn {turn}");
        }
        let orders = said.iter().filter(|(_, rule)| *rule == "ForecastScaleUp").count();
        assert!(orders >= 5, "{said:?}");
    }
}

#[test]
fn replicas_stay_that_are_needed_before_an_order_would_serve() {
    // A day of eight minutes: busy for two, quiet for six. An order takes three minutes.
    let day = |k: u64| if k % 8 < 2 { 600 } else { 60 };
    let mut policy =
        policy(r#", "lead": "3m", "forecaster": {"seasonalNaive": {"season": "8m"}}, "minReplicas": 1"#);
    let mut sum = 0;
    let arrived = (0..40).map(|k| {
        sum += day(k);
        sum
    });
    let said: Vec<u32> = turns(&mut policy, arrived).into_iter().map(|(replicas, _)| replicas).collect();
    // After minute k, minute k + 4 is ordered for, and minutes k + 1 to k + 4 are kept for: 10 requests/s are five replicas.
    for k in 16..40_u64 {
        let busy = (k + 1..=k + 4).any(|minute| minute % 8 < 2);
        assert_eq!(said[k as usize], if busy { 5 } else { 1 }, "after minute {k}: {said:?}");
    }
}

#[test]
fn the_window_is_of_the_steps_that_an_order_serves_first() {
    let window = |lead: &str| {
        spec(&format!(r#"{{"maxReplicas": 1, "lead": "{lead}"}}"#)).window(lead.parse().unwrap())
    };
    assert_eq!(window("0s"), (1, 1));
    assert_eq!(window("30s"), (1, 2));
    assert_eq!(window("1m"), (2, 2));
    assert_eq!(window("9m30s"), (10, 11));
    assert_eq!(window("9999h"), (1001, 1001));
}

#[test]
fn the_larger_count_holds_and_fewer_only_if_both_allow_it() {
    let fixed = |replicas: u32| {
        format!(
            r#", "lead": "1m", "forecaster": "lastValue", "over": {{"fixed": {{"replicas": {replicas}}}}}"#
        )
    };
    let mut policy = policy(&fixed(3));
    assert_eq!((policy.initial(), policy.maximum()), ((3, 0), Some(20)));
    let names: Vec<&str> = policy.loops().iter().map(|own| own.name).collect();
    assert_eq!(names, ["predictive", "fixed"]);
    let mut world = World::ready(60, 3);
    // 10 requests/s: five replicas, whatever the other says.
    world.gateway.arrived = 600;
    let decision = policy.decide(0, &world.view()).unwrap();
    assert_eq!((decision.replicas, decision.why.rule), (5, "ForecastScaleUp"));
    world.replicas = 5;
    let decision = policy.decide(1, &world.view()).unwrap();
    assert_eq!((decision.replicas, decision.why.rule), (5, "ForecastKept"));
    assert!(decision.why.detail.ends_with("; beside it 3: 3 replicas"), "{}", decision.why.detail);
    // 2 requests/s: one replica; the other keeps three.
    world.now = SimTime::from_secs(120);
    world.gateway.arrived = 720;
    let decision = policy.decide(0, &world.view()).unwrap();
    assert_eq!((decision.replicas, decision.why.rule), (3, "Fixed"));
    assert_eq!(
        decision.why.detail,
        "from 1m to 2m ahead 2.000 requests/s (lastValue), 2.000 at 0.5, of no errors yet; 2.000 a replica: 1; beside it 3: 3 replicas"
    );
}

#[test]
fn alone_it_takes_away_what_no_step_ahead_needs() {
    let mut policy = policy(r#", "lead": "2m", "forecaster": "lastValue""#);
    assert_eq!(policy.loops().len(), 1);
    let said = turns(&mut policy, [1200, 2400, 2460, 2520]);
    assert_eq!(
        said,
        [(10, "ForecastScaleUp"), (10, "ForecastKept"), (1, "ForecastScaleDown"), (1, "ForecastKept")]
    );
}

#[test]
fn the_margin_is_the_quantile_of_its_own_errors() {
    let orders = |quantile: f64| {
        let spec = spec(&format!(
            r#"{{"maxReplicas": 99, "capacity": 1, "quantile": {quantile}, "lead": "1m", "forecaster": {{"movingAverage": {{"window": "20m"}}}}}}"#
        ));
        let mut policy = Predictive::new(&spec, &Setting::default());
        // 10 or 20 requests/s in turn: the mean is 15, and what comes is 5 below or above it.
        let mut sum = 0;
        let arrived = (0..200).map(|k| {
            sum += if k % 2 == 0 { 600 } else { 1200 };
            sum
        });
        turns(&mut policy, arrived).last().unwrap().0
    };
    assert_eq!((orders(0.3), orders(0.9)), (10, 20));
}

#[test]
fn a_history_is_learned_before_the_run() {
    // A day of four minutes, 1 to 4 requests/s, in rows of two minutes with counts.
    let rows = |values: &[f64]| Series { step: secs(120), values: values.iter().map(|v| Some(*v)).collect() };
    let mut setting = Setting::default();
    setting.histories.insert("h.csv".to_owned(), Arc::new(rows(&[1200.0, 4800.0, 1200.0, 4800.0])));
    let own = spec(
        r#"{"maxReplicas": 99, "capacity": 1, "quantile": 0.5, "lead": "1m", "forecaster": {"seasonalNaive": {"season": "4m"}},
            "history": {"file": "h.csv", "values": "perRow", "scale": 0.1}}"#,
    );
    assert_eq!(own.check(&setting), vec![]);
    // 1 request/s in the first half of a day, 4 in the second: the minute after next is still of the first half.
    let policy = Predictive::new(&own, &setting);
    assert_eq!(policy.initial(), (1, 0));
    // Two minutes ahead it is of the second.
    let later = PredictiveSpec { lead: Some(secs(120)), ..own.clone() };
    assert_eq!(Predictive::new(&later, &setting).initial(), (4, 0));
    let check = |change: &dyn Fn(&mut PredictiveSpec), expected: &str| {
        let mut spec = own.clone();
        change(&mut spec);
        let faults = spec.check(&setting);
        assert_eq!(faults.iter().map(|fault| fault.0.as_str()).collect::<Vec<_>>(), [expected], "{faults:?}");
    };
    check(&|spec| spec.history.as_mut().unwrap().scale = -1.0, "history.scale");
    let longer = |spec: &mut PredictiveSpec| {
        spec.forecaster = None;
        spec.season = Some(secs(3600));
    };
    check(&longer, "season");
    check(
        &|spec| (spec.step, spec.forecaster) = (secs(480), Some(crate::forecast::ForecasterSpec::LastValue)),
        "history",
    );
}

#[test]
fn what_nobody_gives_comes_from_the_replica() {
    let own = spec(r#"{"maxReplicas": 9}"#);
    let start = Quantiles::of(&Distribution::Constant(secs(200)));
    let start_with_node = Quantiles::of(&Distribution::Constant(secs(290)));
    let replica = ReplicaModel { capacity_per_s: Some(2.5), start, start_with_node };
    let setting = Setting { replica, ..Setting::default() };
    let lead = |spec: &PredictiveSpec| spec.lead_in(&setting);
    assert_eq!(lead(&own), secs(290));
    assert_eq!(lead(&PredictiveSpec { lead_includes_node: false, ..own.clone() }), secs(200));
    assert_eq!(lead(&PredictiveSpec { lead: Some(secs(7)), ..own.clone() }), secs(7));
    let policy = Predictive::new(&own, &setting);
    assert_eq!((policy.capacity, policy.window), (2.5, (5, 6)));
    let read = |spec: &PredictiveSpec| (spec.reads_replica().capacity, spec.reads_replica().start);
    assert_eq!(read(&own), (true, true));
    assert_eq!(read(&PredictiveSpec { capacity: Some(1.0), ..own.clone() }), (false, true));
    let pool = r#"{"warmPool": {"spare": 1, "over": {"predictive": {"maxReplicas": 9, "lead": "1m"}}}}"#;
    let pool: PolicySpec = serde_json::from_str(pool).unwrap();
    assert!(pool.reads_replica().capacity && !pool.reads_replica().start);
}

#[test]
fn faults_are_named_with_their_paths() {
    let check = |json: &str, expected: &[&str]| {
        let faults: Vec<Fault> = spec(json).check(&Setting::default());
        assert!(faults.iter().all(|(_, message, help)| !message.is_empty() && !help.is_empty()));
        assert_eq!(faults.iter().map(|fault| fault.0.as_str()).collect::<Vec<_>>(), expected, "{json}");
    };
    check(r#"{"maxReplicas": 4}"#, &[]);
    check(r#"{"maxReplicas": 4, "minReplicas": 0, "over": {"fixed": {"replicas": 1}}}"#, &[]);
    check(r#"{"maxReplicas": 0}"#, &["maxReplicas"]);
    check(r#"{"maxReplicas": 4, "minReplicas": 5}"#, &["minReplicas"]);
    check(r#"{"maxReplicas": 4, "minReplicas": 0}"#, &["minReplicas"]);
    check(r#"{"maxReplicas": 4, "quantile": 1, "capacity": 0}"#, &["quantile", "capacity"]);
    check(r#"{"maxReplicas": 4, "lead": "5m", "leadQuantile": 0.9}"#, &["leadQuantile"]);
    check(r#"{"maxReplicas": 4, "leadQuantile": 1.5}"#, &["leadQuantile"]);
    check(r#"{"maxReplicas": 4, "lead": "24h", "step": "1s"}"#, &["lead"]);
    check(r#"{"maxReplicas": 4, "step": "1ms", "season": "24h"}"#, &["step"]);
    check(r#"{"maxReplicas": 4, "season": "90s"}"#, &["season"]);
    check(r#"{"maxReplicas": 4, "season": "24h", "forecaster": "lastValue"}"#, &["season"]);
    check(r#"{"maxReplicas": 4, "forecaster": {"ar": {"lags": 0}}}"#, &["forecaster.ar.lags"]);
    check(r#"{"maxReplicas": 4, "over": {"predictive": {"maxReplicas": 4}}}"#, &["over.predictive"]);
}
