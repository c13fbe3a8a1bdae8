//! The bounds against every plan there is, on small traffic.

use super::*;
use crate::kernel::{SimDuration, SimTime};

use crate::experiment::fixture::small;

/// Every plan of so many slots with up to `most` replicas.
fn all_plans(slots: usize, most: u32) -> Vec<Vec<u32>> {
    (0..slots).fold(vec![Vec::new()], |plans, _| {
        let more = |plan: Vec<u32>| (0..=most).map(move |n| plan.iter().copied().chain([n]).collect());
        plans.into_iter().flat_map(more).collect()
    })
}

#[test]
fn the_best_of_all_small_plans_lies_between_the_bounds() {
    for seed in 1..=4 {
        let (sim, slot) = small(seed);
        let breach_share = 0.05;
        let search = Search::new(&sim, 0, breach_share, 400).unwrap().with_slot(slot);
        let (found, upper) = search.run(&|| ()).unwrap().expect("three replicas are enough");
        let lower = fluid::least_cost_usd(&sim, 0, breach_share).unwrap();
        let mut best = f64::INFINITY;
        for replicas in all_plans(found.replicas.len(), 3) {
            let plan = Plan { slot, replicas, ahead: found.ahead };
            let (outcome, _) = crate::sim::run(&sim, Box::new(Planned::new(&plan)), 0, None).unwrap();
            if share(&outcome) <= breach_share {
                best = best.min(outcome.ledger.cost_total());
            }
        }
        assert!(lower <= best && best <= upper, "{seed}: {lower} {best} {upper}");
        assert!(upper <= best * 1.15, "{seed}: the search is far from the best: {best} {upper}");
        assert!(lower > 0.0);
    }
}

#[test]
fn the_same_search_finds_the_same_plan_and_no_more_runs_than_allowed() {
    let (sim, _) = small(1);
    let runs = std::sync::atomic::AtomicU32::new(0);
    let count = || _ = runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let find = |jobs| Foresight::find(&sim, &[], 3, 0.05, 25, jobs, &count).unwrap();
    let first = find(1);
    assert_eq!(first, find(2));
    assert!(runs.into_inner() <= 2 * 3 * 25);
    assert_eq!(first.upper_usd.len(), 3);
    let over = first.upper_usd.iter().zip(&first.lower_usd);
    assert!(over.clone().all(|(upper, lower)| upper.is_some_and(|upper| upper >= *lower)), "{first:?}");
}

#[test]
fn a_policy_that_does_better_is_the_upper_bound() {
    let (sim, slot) = small(2);
    let planned = |replicas: &[u32]| {
        let plan = Plan { slot, replicas: replicas.to_vec(), ahead: SimDuration::from_secs(60) };
        crate::sim::run(&sim, Box::new(Planned::new(&plan)), 0, None).unwrap().0
    };
    let policy =
        |name: &str, replicas: &[u32]| PolicyOutcome { name: name.to_owned(), runs: vec![planned(replicas)] };
    let (plenty, none) = (policy("plenty", &[3; 4]), policy("none", &[0; 4]));
    // No plan is tried: only the policy is known.
    let policies = [plenty.clone(), none.clone()];
    let foresight = Foresight::find(&sim, &policies, 1, 0.05, 0, 1, &|| ()).unwrap();
    assert_eq!(foresight.upper_usd, [Some(plenty.runs[0].ledger.cost_total())]);
    assert_eq!(foresight.above(&plenty).map(|above| above.mean), Some(0.0));
    assert_eq!(foresight.above(&none), None, "it does not hold");
    assert_eq!(foresight.found, [None]);
    let better = Foresight::find(&sim, &policies, 1, 0.05, 40, 1, &|| ()).unwrap();
    assert!(better.above(&plenty).unwrap().mean > 0.0);
    assert!(better.found[0].as_ref().unwrap().orders()[0].0 == SimTime::ZERO);
}

#[test]
fn traffic_with_silence_that_nothing_can_serve_is_given_up() {
    let (mut sim, _) = small(3);
    // Three at once in a slot, after ten minutes of nothing; no replica serves one within the SLO.
    let at = |s: u64| crate::workload::Request {
        arrival: SimTime::from_secs(s),
        prompt_tokens: 1,
        output_tokens: 1,
    };
    let requests = vec![at(600), at(600), at(600)];
    let span = SimDuration::from_secs(1200);
    sim.source = std::sync::Arc::new(crate::workload::request::Packed { requests, span });
    sim.slo =
        Some(crate::outcome::breach::Slo { e2e: Some(SimDuration::from_secs(1)), ..Default::default() });
    let found = Search::new(&sim, 0, 0.01, 1_000).unwrap().run(&|| ()).unwrap();
    assert_eq!(found, None);
}
