//! The Deployment controller against upstream's own cases and its promises.

use super::*;
use proptest::prelude::*;

use IntOrPercent::{Int, Percent};

/// A Deployment whose sets, oldest first, were written when `desired` was ordered; the last one is the new one.
fn deployment(sizes: &[u32], desired: u32, surge: IntOrPercent, unavailable: IntOrPercent) -> Deployment {
    let mut made = Deployment::new(0);
    made.strategy = RollingUpdate { max_surge: surge, max_unavailable: unavailable };
    let maximum = desired + made.strategy.fenceposts(desired).0;
    made.sets = sizes.iter().map(|size| ReplicaSet { replicas: *size, desired, maximum }).collect();
    made.new = sizes.len() - 1;
    made
}

fn sizes(deployment: &Deployment) -> Vec<u32> {
    deployment.sets.iter().map(|set| set.replicas).collect()
}

/// (from, to, sizes before, sizes after) of `TestScale` in pkg/controller/deployment/sync_test.go (003e8629), the newest set last;
/// where the test has no new set an empty one stands there.
type Scaled<'a> = (u32, u32, &'a [u32], &'a [u32]);

#[test]
fn a_changed_order_is_spread_as_upstream_spreads_it() {
    let cases: [Scaled<'_>; 11] = [
        (10, 12, &[10], &[12]),
        (10, 5, &[10], &[5]),
        (5, 10, &[3, 2], &[6, 4]),
        (5, 3, &[3, 2], &[2, 1]),
        (9, 4, &[1, 8], &[0, 4]),
        (7, 10, &[2, 3, 2], &[3, 4, 3]),
        (13, 8, &[3, 8, 2], &[2, 5, 1]),
        (3, 4, &[1, 1, 1], &[1, 1, 2]),
        (3, 2, &[1, 1, 1], &[0, 1, 1]),
        (4, 5, &[2, 2, 0], &[2, 3, 0]),
        (6, 0, &[1, 2, 3], &[0, 0, 0]),
    ];
    for (from, to, before, after) in cases {
        let mut made = deployment(before, from, Int(0), Int(0));
        made.scale(to, &|_, _| 0);
        assert_eq!(sizes(&made), after, "{from} -> {to} of {before:?}");
    }
    let mut surging = deployment(&[6, 6], 10, Int(2), Int(0));
    surging.scale(20, &|_, _| 0);
    assert_eq!(sizes(&surging), [11, 11]);
    let mut both = deployment(&[8, 5], 10, Int(3), Int(0));
    both.strategy.max_surge = Int(6);
    both.scale(50, &|_, _| 0);
    assert_eq!(sizes(&both), [34, 22]);
    let mut template = deployment(&[3, 7, 0], 10, Int(0), Int(0));
    template.scale(14, &|_, _| 0);
    assert_eq!(sizes(&template), [4, 10, 0]);
    let mut broken = deployment(&[1, 2], 2, Int(1), Int(1));
    broken.scale(2, &|_, _| 0);
    assert_eq!(
        sizes(&broken),
        [1, 2],
        "a saturated new set without a pod that is available takes no old pod away"
    );
    let mut from_nothing = deployment(&[0, 0, 0], 6, Int(0), Int(0));
    from_nothing.sync(6, &[0, 0, 0]);
    assert_eq!(sizes(&from_nothing), [0, 0, 6]);
}

#[test]
fn surge_rounds_up_and_unavailable_down_and_one_of_them_is_something() {
    // (surge, unavailable, desired) -> fence posts; the first six are upstream's examples.
    let cases = [
        (Percent(0), Percent(1), 2, (0, 1)),
        (Percent(0), Percent(1), 1, (0, 1)),
        (Percent(1), Percent(25), 2, (1, 0)),
        (Percent(1), Percent(25), 1, (1, 0)),
        (Percent(1), Percent(0), 2, (1, 0)),
        (Percent(25), Percent(25), 4, (1, 1)),
        (Percent(25), Percent(25), 10, (3, 2)),
        (Int(3), Int(9), 4, (3, 4)),
        (Percent(100), Percent(100), 0, (0, 0)),
        (Percent(200), Int(0), u32::MAX, (u32::MAX, 0)),
    ];
    for (max_surge, max_unavailable, desired, expected) in cases {
        let strategy = RollingUpdate { max_surge, max_unavailable };
        assert_eq!(strategy.fenceposts(desired), expected, "{strategy:?} of {desired}");
    }
}

/// The sizes of old and new set at each step of an update in which every new pod becomes available at once.
fn steps(desired: u32, surge: IntOrPercent, unavailable: IntOrPercent) -> Vec<(u32, u32)> {
    let mut made = Deployment::new(desired);
    made.roll_out(RollingUpdate { max_surge: surge, max_unavailable: unavailable });
    let mut steps = Vec::new();
    let mut new = 0;
    while made.is_rolling() {
        made.sync(desired, &[made.replicas(0), new]);
        steps.push((made.replicas(0), made.replicas(1)));
        new = made.replicas(1);
        assert!(steps.len() < 100, "it stalls: {steps:?}");
    }
    steps
}

#[test]
fn an_update_goes_step_by_step() {
    assert_eq!(steps(4, Percent(25), Percent(25)), [(3, 2), (1, 4), (0, 4)]);
    assert_eq!(steps(4, Int(0), Percent(25)), [(3, 1), (2, 2), (1, 3), (0, 4)]);
    assert_eq!(steps(4, Percent(25), Int(0)), [(4, 1), (3, 2), (2, 3), (1, 4), (0, 4)]);
    assert_eq!(steps(1, Percent(25), Percent(25)), [(1, 1), (0, 1)]);
    assert_eq!(steps(2, Int(0), Int(2)), [(0, 2)]);
    assert_eq!(steps(0, Percent(25), Percent(25)), []);
}

/// The example in the comments of `reconcileOldReplicaSets`: ten replicas, two may be missing, three too many.
#[test]
fn a_broken_update_is_stuck_until_it_is_rolled_back() {
    let mut made = Deployment::new(10);
    made.roll_out(RollingUpdate { max_surge: Int(3), max_unavailable: Int(2) });
    made.sync(10, &[10, 0]);
    assert_eq!(sizes(&made), [8, 5]);
    made.sync(10, &[7, 0]);
    assert_eq!(sizes(&made), [8, 5], "an old pod that is missing is not given up");
    made.roll_back();
    made.sync(10, &[7, 0]);
    assert_eq!(sizes(&made), [10, 1], "four of the broken ones go, and then the good ones have room");
    made.sync(10, &[10, 0]);
    assert_eq!(sizes(&made), [10, 0]);
    made.roll_out(RollingUpdate { max_surge: Int(1), max_unavailable: Int(0) });
    made.sync(10, &[10, 0, 0]);
    assert_eq!(sizes(&made), [10, 0, 1]);
}

#[test]
fn numbers_and_shares_are_read_and_written() {
    let read = |json: &str| serde_json::from_str::<IntOrPercent>(json).map_err(|error| error.to_string());
    assert_eq!(read("2"), Ok(Int(2)));
    assert_eq!(read("\"25%\""), Ok(Percent(25)));
    assert_eq!(read("\"3\""), Ok(Int(3)));
    for wrong in ["\"x%\"", "\"+5%\"", "-1", "2.5", "\"-5%\"", "5000000000"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    for value in [Int(2), Percent(25)] {
        let json = serde_json::to_string(&value).unwrap();
        assert_eq!(read(&json), Ok(value), "{json}");
    }
}

proptest! {
    /// Whatever is available and however orders change: never too many pods; while the order stands, no available pod is taken
    /// away that is needed; with everything available an update ends.
    #[test]
    fn an_update_keeps_its_promises(
        start in 1u32..30,
        turns in prop::collection::vec((1u32..30, any::<bool>(), 0u32..100, 0u32..100), 1..12),
        surge in prop_oneof![(0u32..5).prop_map(Int), (0u32..100).prop_map(Percent)],
        unavailable in prop_oneof![(0u32..5).prop_map(Int), (0u32..100).prop_map(Percent)],
    ) {
        let strategy = RollingUpdate { max_surge: surge, max_unavailable: unavailable };
        let mut made = Deployment::new(start);
        made.roll_out(strategy);
        for (desired, back, old, new) in turns {
            if back {
                made.roll_back();
            }
            let share = |made: &Deployment, set: usize, percent: u32| made.replicas(set) * percent / 100;
            let available = [share(&made, 0, old), share(&made, 1, new)];
            made.sync(desired, &available);
            let (surge, unavailable) = strategy.fenceposts(desired);
            prop_assert!(made.total() <= desired + surge, "{made:?}");
            // A changed order may take any pods away; from here on it is the same.
            let available = [share(&made, 0, new), share(&made, 1, old)];
            made.sync(desired, &available);
            prop_assert!(made.total() <= desired + surge, "{made:?}");
            let left: u32 = (0..2).map(|set| available[set].min(made.replicas(set))).sum();
            let promised = (available[0] + available[1]).min(desired - unavailable);
            prop_assert!(left >= promised, "{left} of {available:?}: {made:?}");
        }
        let desired = 7;
        for _ in 0..100 {
            let all = [made.replicas(0), made.replicas(1)];
            made.sync(desired, &all);
        }
        prop_assert!(!made.is_rolling() && made.total() == desired, "{made:?}");
    }
}
