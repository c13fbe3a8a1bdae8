//! Tests of what a store keeps and forgets.

use super::*;
use crate::promql::Query;
use crate::promql::fixture::shown;

fn secs(secs: u64) -> SimTime {
    SimTime::from_secs(secs)
}

fn new_store() -> Store {
    Store::new(Settings::default(), SimDuration::from_secs(300))
}

fn ask(store: &Store, query: &str, at: u64) -> Vec<String> {
    shown(&Query::compile(query).unwrap().evaluate(store, secs(at)).unwrap())
}

#[test]
fn a_targets_labels_stand_on_its_series() {
    let mut store = new_store();
    let target = store.add_target(&[("job", "vllm"), ("pod", "p0")]);
    let id = store.add_series(target, "a", &[("pod", "own"), ("le", "1")]);
    store.append(id, secs(1), 2.0);
    assert_eq!(ask(&store, "a", 1), ["a{exported_pod=own,job=vllm,le=1,pod=p0} 2"]);
}

#[test]
fn samples_come_in_order_or_not_at_all() {
    let mut store = new_store();
    let target = store.add_target(&[]);
    let id = store.add_series(target, "a", &[]);
    assert!(store.append(id, secs(15), 1.0));
    assert!(!store.append(id, secs(15), 2.0), "a second sample of one instant");
    assert!(!store.append(id, secs(14), 2.0), "an earlier one");
    assert_eq!(ask(&store, "a", 20), ["a{} 1"]);
}

#[test]
fn memory_is_bounded_by_the_retention() {
    let mut store = new_store();
    let target = store.add_target(&[]);
    let id = store.add_series(target, "a", &[]);
    let capacity = |store: &Store| {
        let targets = store.targets.iter().flatten();
        targets.map(|target| target.capacity()).sum::<usize>()
    };
    (0..100).for_each(|step| assert!(store.append(id, secs(step * 15), 0.0)));
    let steady = capacity(&store);
    (100..10_000).for_each(|step| assert!(store.append(id, secs(step * 15), 0.0)));
    assert_eq!(store.samples(), 21, "5 min of 15 s and both ends");
    assert_eq!(capacity(&store), steady);
}

#[test]
fn up_says_how_scrapes_went_and_a_failed_one_ends_the_series() {
    let mut store = new_store();
    let target = store.add_target(&[("pod", "p0")]);
    store.add_series(target, "a", &[]);
    store.scrape(target, secs(0), [7.0]);
    assert_eq!(
        (ask(&store, "up", 10), ask(&store, "a", 10)),
        (vec!["up{pod=p0} 1".to_owned()], vec!["a{pod=p0} 7".to_owned()])
    );
    store.scrape_failed(target, secs(15));
    assert_eq!((ask(&store, "up", 15), ask(&store, "a", 15)), (vec!["up{pod=p0} 0".to_owned()], vec![]));
    assert_eq!(ask(&store, "a", 14), ["a{pod=p0} 7"], "before the marker it was there");
    store.scrape(target, secs(30), [8.0]);
    assert_eq!(ask(&store, "a", 30), ["a{pod=p0} 8"]);
    assert_eq!(ask(&store, "count_over_time(a[1m])", 30), ["{pod=p0} 2"], "markers are no samples");
}

#[test]
fn an_ended_target_is_gone_at_once_and_forgotten_later() {
    let mut store = new_store();
    let [gone, kept] = ["p0", "p1"].map(|pod| store.add_target(&[("pod", pod)]));
    let [a, b] = [gone, kept].map(|target| store.add_series(target, "a", &[]));
    for at in [0, 15] {
        store.append(a, secs(at), 1.0);
        store.append(b, secs(at), 2.0);
    }
    store.end_target(gone, secs(30));
    assert_eq!(ask(&store, "a", 29), ["a{pod=p0} 1", "a{pod=p1} 2"]);
    assert_eq!(ask(&store, "a", 30), ["a{pod=p1} 2"]);
    assert_eq!(
        ask(&store, "sum_over_time(a[1m])", 40),
        ["{pod=p0} 2", "{pod=p1} 4"],
        "windows still hold it"
    );
    store.forget(secs(330));
    assert_eq!(store.len(), 4, "a window of the whole retention can still see it");
    store.forget(secs(331));
    assert_eq!(store.len(), 2, "`a` and `up` of the other");
    assert_eq!(ask(&store, "a offset 5m", 316), ["a{pod=p1} 2"]);

    // Whoever still has the old ids writes nothing.
    let again = store.add_target(&[("pod", "p2")]);
    let c = store.add_series(again, "c", &[]);
    assert_eq!(store.len(), 4);
    assert!(!store.append(a, secs(400), 9.0));
    assert!(store.append(c, secs(400), 3.0));
    assert_eq!((ask(&store, "c", 400), ask(&store, "a", 400)), (vec!["c{pod=p2} 3".to_owned()], vec![]));
}

#[test]
fn a_marker_that_comes_too_late_is_ignored() {
    let mut store = new_store();
    let target = store.add_target(&[]);
    let id = store.add_series(target, "a", &[]);
    store.append(id, secs(30), 1.0);
    store.mark_stale(id, secs(15));
    assert_eq!(ask(&store, "a", 30), ["a{} 1"]);
}

#[test]
fn whole_seconds_are_those_of_the_wall_clock() {
    let check = |epoch_ms: i64, now_ms: u64, expected_ms: u64| {
        let at = |ms: u64| SimTime::from_nanos(ms * 1_000_000);
        let settings = Settings { epoch_ms, ..Settings::default() };
        assert_eq!(settings.whole_second(at(now_ms)), at(expected_ms), "{epoch_ms} {now_ms}");
    };
    check(0, 15_999, 15_000);
    check(0, 16_000, 16_000);
    check(1_700_000_000_300, 15_500, 14_700);
    check(1_700_000_000_300, 15_700, 15_700);
    check(300, 200, 0);
}

#[test]
fn windows_hold_what_lies_in_them() {
    let mut store = new_store();
    let target = store.add_target(&[]);
    store.add_series(target, "a", &[]);
    let mut found = Vec::new();
    for count in 0..40 {
        let series = store.named(Some("a")).next().unwrap();
        for first in -1..45 {
            for last in first - 2..45 {
                series.points(series.rows(first, last), &mut found);
                let expected: Vec<i64> = (0..count).filter(|at| (first..=last).contains(at)).collect();
                let found: Vec<i64> = found.iter().map(|point| point.at).collect();
                assert_eq!(found, expected, "{count} samples, {first} to {last}");
            }
        }
        store.scrape(target, SimTime::from_nanos(count as u64 * 1_000_000), [0.0]);
    }
}

#[test]
fn series_of_one_target_may_come_late_and_have_gaps() {
    let mut store = new_store();
    let target = store.add_target(&[]);
    let a = store.add_series(target, "a", &[]);
    assert!(store.append(a, secs(0), 1.0) && store.append(a, secs(15), 2.0));
    let b = store.add_series(target, "b", &[]);
    assert!(store.append(b, secs(15), 7.0), "its cell of the newest row is free");
    assert!(store.append(b, secs(30), 8.0));
    assert_eq!(
        (ask(&store, "a", 30), ask(&store, "b", 30)),
        (vec!["a{} 2".to_owned()], vec!["b{} 8".to_owned()])
    );
    assert_eq!(ask(&store, "b", 14), Vec::<String>::new());
    assert_eq!(ask(&store, "count_over_time(a[1m])", 30), ["{} 2"]);
    assert_eq!(ask(&store, "count_over_time(b[1m])", 30), ["{} 2"]);
    assert_eq!(ask(&store, "up", 30), Vec::<String>::new(), "nobody scraped");
}

proptest::proptest! {
    /// What is known of a series that never fell is what its samples say, markers, gaps and NaN or not.
    #[test]
    fn a_rise_is_what_the_samples_say(
        cells in proptest::collection::vec((0u8..12, 0u8..4), 0..30),
        first in -2i64..30,
        length in 0i64..30,
    ) {
        let mut store = new_store();
        let target = store.add_target(&[]);
        let (a, b) = (store.add_series(target, "a", &[]), store.add_series(target, "b", &[]));
        let mut level = 0.0;
        for (at, (kind, step)) in cells.iter().enumerate() {
            let time = SimTime::from_nanos(at as u64 * 1_000_000);
            level += f64::from(*step);
            match kind {
                0 => store.mark_stale(a, time),
                1 => assert!(store.append(b, time, 0.0)),
                2 => store.scrape_failed(target, time),
                3 => store.scrape(target, time, [f64::NAN, 0.0]),
                4 => {
                    level = 0.0;
                    store.scrape(target, time, [level, 0.0]);
                }
                _ => store.scrape(target, time, [level, 0.0]),
            }
        }
        let series = store.named(Some("a")).next().unwrap();
        let mut points = Vec::new();
        let rows = series.rows(first, first + length);
        series.points(rows.clone(), &mut points);
        if let Some((oldest, newest, count)) = series.rise(rows.clone()) {
            proptest::prop_assert_eq!(points.first(), Some(&oldest));
            proptest::prop_assert_eq!(points.last(), Some(&newest));
            proptest::prop_assert_eq!(points.len(), count);
            proptest::prop_assert!(points.windows(2).all(|pair| pair[0].value <= pair[1].value));
        }
        // And it is known wherever nothing but scrapes that rise came before.
        if points.len() >= 2 && cells.iter().all(|(kind, _)| *kind > 4) {
            proptest::prop_assert!(series.rise(rows).is_some());
        }
    }
}
