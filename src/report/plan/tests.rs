//! The policy that a plan prints, and what is said of how it fared.

use std::path::PathBuf;

use super::*;
use crate::experiment::sizing;
use crate::kernel::Quantity;
use crate::policy::PolicySpec;
use crate::report::fixture;
use crate::scenario;

const SCENARIO: &str = "
name: p
profile: l40s-llama3.1-8b-vllm
workload: { poisson: { rate: 1 }, duration: 20m, lengths: { constant: { promptTokens: 10, outputTokens: 10 } } }
cluster: { pools: { gpus: { gpusPerNode: 1, maxNodes: 20 } } }
slo: { ttft: 2s }
policies:
";

fn figures(spare: u32) -> Figures {
    Figures {
        min_replicas: 2,
        max_replicas: 5,
        spare,
        capacity_per_s: 1.0629,
        hold: SimDuration::from_secs(600),
    }
}

/// Pastes policies into a scenario, which must then be one without faults.
fn pasted(policies: &str) -> Vec<(String, PolicySpec)> {
    let text = format!("{SCENARIO}{policies}");
    let read = scenario::parse("p.yaml", &text, &[], PathBuf::new())
        .and_then(|read| scenario::resolve(&read, false));
    let resolved = read.unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
    assert_eq!(resolved.notes, [], "{text}");
    resolved.policies.into_iter().collect()
}

#[test]
fn the_policy_can_be_pasted_and_is_what_is_tried() {
    let printed = pasted(&figures(3).policy());
    let [(name, PolicySpec::WarmPool(pool))] = &printed[..] else { panic!("{printed:?}") };
    assert_eq!((name.as_str(), pool.spare), ("plan", Some(3)));
    let PolicySpec::Hpa(hpa) = &pool.over else { panic!("{:?}", pool.over) };
    assert_eq!((hpa.min_replicas, hpa.max_replicas), (Some(2), 5));
    let external = hpa.metrics[0].external.as_ref().expect("it scales on an external metric");
    assert_eq!(external.metric.name, "gateway_requests_per_second");
    assert_eq!(external.target.average_value, Some(Quantity::from_milli(1062)));
    let down = hpa.behavior.as_ref().and_then(|own| own.scale_down.as_ref()).expect("it has a window");
    assert_eq!(down.stabilization_window_seconds, Some(600));

    let tried = pasted(&figures(3).policies());
    assert_eq!(tried.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), NAMES);
    assert_eq!(tried[1], printed[0]);
    assert_eq!(tried[2].1, pool.over);
    assert!(matches!(tried[0].1, PolicySpec::Fixed(fixed) if fixed.replicas == 5));
}

#[test]
fn a_plan_without_spares_is_an_hpa_and_has_nothing_beside_it() {
    let tried = pasted(&figures(0).policies());
    assert_eq!(tried.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), NAMES[..2]);
    assert!(matches!(tried[1].1, PolicySpec::Hpa(_)));
}

fn tried(name: &'static str, breach: f64, monthly_usd: f64) -> Tried {
    let estimate = |mean| Some(Estimate { mean, interval: None, count: 1 });
    Tried {
        name,
        replicas: 1.0,
        expected_usd: 1000.0,
        expected_late: 0.0,
        expected_late_for: SimDuration::ZERO,
        breach: estimate(breach),
        breach_secs: estimate(0.0),
        monthly_usd: estimate(monthly_usd),
        causes: vec![(Cause::NotOrdered, 3), (Cause::NoNode, 1)],
    }
}

/// One a second for ten minutes, then three; starts take 5 minutes.
fn of(tried: Vec<Tried>, check: impl Fn(&Plan<'_>)) {
    let header = fixture::experiment().header;
    let load = Load::new([vec![10; 60], vec![30; 20]].concat()).expect("it is long enough");
    let replica = Replica { capacity_per_s: 1.0, usd_per_hour: 1.0, patience: SimDuration::ZERO };
    let steady = sizing::steady(&load, &replica);
    let start = SimDuration::from_secs(300);
    let found = sizing::for_start(&load, &replica, &steady, start);
    check(&Plan {
        header: &header,
        load: &load,
        replica,
        gpus: (1, "gpus", 1.0),
        breach_share: 0.01,
        start: (start, start),
        start_with_node: (start, start),
        steady: &steady,
        starts: [found; 3],
        figures: Figures::new(&steady, &replica, &found),
        tried,
        fewest: Some((2, 0.004)),
        warnings: Vec::new(),
    });
}

#[test]
fn the_verdict_says_by_how_much_and_why() {
    // As dear as what it is held against.
    of(vec![tried(NAMES[0], 0.0, 2000.0), tried(NAMES[1], 0.0, 2000.0)], |plan| {
        let text = plan.verdict();
        let expected = "It costs $2,000.00 a month, as much as 3 replicas all the time, and +100% on what was computed.\n";
        assert!(text.ends_with(expected), "{text}");
    });
    let check = |plan: f64, fixed: f64, holds: bool, expected: &str| {
        let all =
            vec![tried(NAMES[0], fixed, 2000.0), tried(NAMES[1], plan, 1500.0), tried(NAMES[2], 0.2, 800.0)];
        of(all, |plan| {
            assert_eq!(plan.holds(), holds);
            assert_eq!(plan.verdict().trim_end(), expected);
        });
    };
    let rest = "It costs $1,500.00 a month, 25% less than 3 replicas all the time, and +50% on what was computed. \
                Without spares it does not hold: 20.00% breach, for $800.00 a month.";
    check(0.01, 0.0, true, &format!("The plan holds: 1.00% of the requests breach, and 1.00% may. {rest}"));
    let not = "The plan does not hold: 1.04% of the requests breach, and 1.00% may: 0.04 points too many. \
               What led is `not ordered yet`, with 75% of the breaches.";
    check(0.0104, 0.0, false, &format!("{not} {rest}"));
    let neither = "With 3 replicas all the time 2.00% breach: it is not for the starts alone.";
    check(0.0104, 0.02, false, &format!("{not} {neither} {rest}"));
}

#[test]
fn text_and_json_say_the_same() {
    of(vec![tried(NAMES[0], 0.0, 2000.0), tried(NAMES[1], 0.0, 1500.0)], |plan| {
        let text = plan.text();
        for line in [
            "minReplicas = 2   the mean, 1.500, rounded up",
            "spare = 1         the rise to be carried, 1.000, rounded up",
            "maxReplicas = 3   the busiest minute, 3.000, rounded up",
            "to be carried    2.000 requests/s at 10m30s to 3.000 at 11m: 1.000",
            "without spares   600 requests come from 10m to 13m20s, 400 are served meanwhile, 200 wait behind 2 replicas;",
        ] {
            assert!(text.lines().any(|own| own.trim_end() == line), "{line}\n{text}");
        }
        let fewest = "Fewest that hold all the time, simulated: 2 replicas, 0.40% breach, $1,460.00 a month; 1.500 requests/s each in the \
                      busiest minute.\nThat is 1.5 times c,";
        assert!(text.contains(fewest), "{text}");
        assert!(text.ends_with(&plan.figures.policy()), "{text}");
        let json = plan.json();
        assert_eq!(json["plan"]["spare"], 1);
        assert_eq!(json["plan"]["holds"], true);
        assert_eq!(json["starts"]["p90"]["withoutSpares"]["waiting"], 200.0);
        assert_eq!(json["starts"]["p90"]["carried"]["fromS"], 630.0);
        assert_eq!(json["load"]["requests"], 1200);
        assert_eq!(json["fewestFixed"]["replicas"], 2);
        assert_eq!(json["tried"].as_array().map(Vec::len), Some(2));
        assert_eq!(json["plan"]["verdict"], plan.verdict().trim_end());
    });
}
