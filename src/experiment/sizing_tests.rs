//! Closed forms on loads made by hand, and the worst rise against every pair.

use proptest::prelude::*;

use super::*;

fn secs(secs: u64) -> SimDuration {
    SimDuration::from_secs(secs)
}

fn at(secs: u64) -> SimTime {
    SimTime::from_secs(secs)
}

/// Stretches of (seconds, requests/s).
fn load(stretches: &[(u64, u64)]) -> Load {
    let counts = stretches.iter().flat_map(|(secs, rate)| vec![rate * 10; (secs / 10) as usize]);
    Load::new(counts.collect()).expect("it is long enough")
}

/// One request a second, a dollar an hour.
const PLAIN: Replica =
    Replica { capacity_per_s: 1.0, usd_per_hour: 1.0, patience: SimDuration::from_secs(20) };

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} and not {expected}");
}

#[test]
fn needs_are_rounded_up_to_one_at_least() {
    let check = |per_s: f64, capacity_per_s: f64, expected: u32| {
        let replica = Replica { capacity_per_s, ..PLAIN };
        assert_eq!(replica.need(per_s).replicas, expected, "{per_s} / {capacity_per_s}");
    };
    check(0.0, 1.0, 1);
    check(1.0, 1.0, 1);
    check(1.01, 1.0, 2);
    // Thirty times a tenth is a little more than three in floating point.
    check(0.1 * 30.0, 0.1, 30);
    check(7.3, 1.06, 7);
    near(PLAIN.monthly_usd(2.0), 1460.0);
}

#[test]
fn orders_are_held_for_a_start_within_what_an_hpa_does() {
    for (start, expected) in [(10, 300), (300, 300), (301, 360), (571, 600), (9000, 3600)] {
        assert_eq!(hold(secs(start)), secs(expected), "{start} s");
    }
}

/// One a second, three for ten minutes, one again: 1.1 on average.
#[test]
fn a_step() {
    let load = load(&[(6000, 1), (600, 3), (5400, 1)]);
    let steady = steady(&load, &PLAIN);
    near(steady.mean.per_s, 1.1);
    assert_eq!((steady.mean.replicas, steady.peak.replicas), (2, 3));
    assert_eq!(steady.peak_at, at(6060), "the first whole minute of it");
    let rates: Vec<f64> = steady.quantiles.iter().map(|(_, need)| need.per_s).collect();
    assert_eq!(rates, [1.0, 1.0, 2.0, 3.0], "55 of 1195 minutes are of three a second, 10 rise or fall");
    let found = for_start(&load, &PLAIN, &steady, secs(300));
    let rise = found.rise.expect("it rises");
    assert_eq!((rise.from, rise.to), (at(6000), at(6060)));
    near(rise.per_s(), 2.0);
    // Two replicas carry half of the minute's rise.
    let above = found.above.expect("two do not serve three");
    assert_eq!((above.from, above.to, above.from_per_s), (at(6030), at(6060), 2.0));
    assert_eq!((found.spare, found.hold), (1, secs(300)));
    // The minute that is over 40 s after the step needs three, and gets the third 300 s later. One a second piles up until then, and no
    // less as long as three come: who comes after t waits t/2, or, from the first that the third replica helps on, 340/3 s.
    let pile = found.without.expect("it piles up");
    assert_eq!((pile.from, pile.to, pile.replicas, pile.come), (at(6000), at(6340), 2, 1020));
    near(pile.waiting, 340.0);
    near(pile.longest_wait.as_secs_f64(), (340.0e9_f64 / 3.0).round() / 1e9);
    // Over 20 s wait those who come after 40 s, until 140 s after the step back, when 280 of 340 are served besides those who come.
    assert_eq!((pile.late, pile.late_for), (3 * 560 + 130, secs(690)));
    // With a spare only those wait who come before three are ordered.
    let pile = found.with_spares.expect("the order comes after the load");
    assert_eq!((pile.to, pile.replicas), (at(6040), 2));
    near(pile.waiting, 40.0);
    near(pile.longest_wait.as_secs_f64(), (40.0e9_f64 / 3.0).round() / 1e9);
    assert_eq!(pile.late, 0);
    // Three are needed while a minute's rate is above 2, in 59 windows, and are held for 30 more.
    near(found.ordered, 2.0 + 89.0 / 1200.0);
    near(found.monthly_usd, 730.0 * (found.ordered + 1.0));
}

/// A tenth of a request more each ten seconds.
#[test]
fn a_ramp() {
    let load = Load::new((0..600).collect()).expect("it is long enough");
    let replica = Replica { capacity_per_s: 2.5, ..PLAIN };
    let steady = steady(&load, &replica);
    near(steady.mean.per_s, 29.95);
    near(steady.peak.per_s, 59.65);
    assert_eq!((steady.mean.replicas, steady.peak.replicas), (12, 24));
    for (start, rise_per_s, spare) in [(600, 6.0, 3), (300, 3.0, 2), (5, 0.1, 1)] {
        let found = for_start(&load, &replica, &steady, secs(start));
        near(found.rise.expect("it rises").per_s(), rise_per_s);
        near(found.above.expect("it rises above the mean").per_s(), rise_per_s);
        near(found.quotient, rise_per_s / 2.5);
        assert_eq!(found.spare, spare, "{start} s");
    }
}

/// One a second, and ten for twenty seconds: four on average over that minute.
#[test]
fn a_spike_that_is_over_before_a_replica_comes() {
    let load = load(&[(1800, 1), (20, 10), (1780, 1)]);
    let steady = steady(&load, &PLAIN);
    assert_eq!((steady.mean.replicas, steady.peak.replicas), (2, 4));
    let found = for_start(&load, &PLAIN, &steady, secs(600));
    let rise = found.rise.expect("it rises");
    assert_eq!((rise.from, rise.to, rise.from_per_s, rise.to_per_s), (at(1800), at(1820), 1.0, 4.0));
    assert_eq!(found.spare, 2);
    // Eight a second more than two replicas serve, for 20 s; they take 80 s for the last of these, without help. One a second is left
    // to shorten the queue: over 20 s wait those who come until 120 s after it.
    let pile = found.without.expect("it piles up");
    assert_eq!((pile.from, pile.to, pile.come), (at(1800), at(1820), 200));
    near(pile.waiting, 160.0);
    assert_eq!((pile.longest_wait, pile.late, pile.late_for), (secs(80), 200 + 110, secs(130)));
}

#[test]
fn a_fixed_fleet_is_behind_by_what_it_cannot_serve() {
    let load = load(&[(100, 1), (100, 3), (400, 1)]);
    assert_eq!(behind(&load, &PLAIN, 3), None);
    let pile = behind(&load, &PLAIN, 2).expect("two do not serve three");
    assert_eq!((pile.from, pile.to, pile.come), (at(100), at(200), 300));
    near(pile.waiting, 100.0);
    assert_eq!(pile.longest_wait, secs(50));
    // One that never catches up: the last waits for 500 others to be served, after the trace.
    let pile = behind(&load, &Replica { capacity_per_s: 0.5, ..PLAIN }, 1).expect("it is far behind");
    near(pile.waiting, 500.0);
    assert_eq!(pile.longest_wait, secs(1000));
}

#[test]
fn a_load_that_never_rises_needs_no_spares() {
    let falling = Load::new((0..60).rev().collect()).expect("it is long enough");
    let steady = steady(&falling, &PLAIN);
    let found = for_start(&falling, &PLAIN, &steady, secs(600));
    assert_eq!((found.rise, found.above, found.spare), (None, None, 0));
    let level = load(&[(600, 2)]);
    let found = for_start(&level, &PLAIN, &super::steady(&level, &PLAIN), secs(60));
    assert_eq!((found.rise, found.spare, found.ordered), (None, 0, 2.0));
    assert_eq!(Load::new(vec![1; 5]), None, "less than a minute");
    assert_eq!(level.requests(), 1200);
}

proptest! {
    #[test]
    fn the_worst_rise_is_that_of_the_worst_pair(
        counts in prop::collection::vec(0_u64..200, 6..80),
        lag in 1_usize..30,
        floor in 0.0..12.0_f64,
    ) {
        let load = Load::new(counts).expect("it is long enough");
        let rates: Vec<f64> = load.minutes().iter().map(|rate| rate.max(floor)).collect();
        let pairs = (0..rates.len()).flat_map(|from| (from..rates.len().min(from + lag + 1)).map(move |to| (from, to)));
        let worst = pairs.map(|(from, to)| rates[to] - rates[from]).fold(0.0, f64::max);
        let found = load.worst_rise(lag, floor);
        prop_assert_eq!(found.map_or(0.0, |rise| rise.per_s()).to_bits(), worst.to_bits());
        if let Some(rise) = found {
            let window = |over: SimTime| (over.as_nanos() / STEP.as_nanos()) as usize - WINDOW_STEPS;
            prop_assert_eq!(rise.from_per_s.to_bits(), rates[window(rise.from)].to_bits());
            prop_assert_eq!(rise.to_per_s.to_bits(), rates[window(rise.to)].to_bits());
            prop_assert!(rise.from < rise.to && window(rise.to) - window(rise.from) <= lag);
        }
    }

    /// Whatever was there a start ago, and the spares, are enough; and no more are warm than the peak needs.
    #[test]
    fn spares_cover_every_rise(
        counts in prop::collection::vec(0_u64..200, 6..80),
        start in 1_u64..400,
        capacity_per_s in 0.2..8.0_f64,
    ) {
        let load = Load::new(counts).expect("it is long enough");
        let replica = Replica { capacity_per_s, ..PLAIN };
        let steady = steady(&load, &replica);
        let found = for_start(&load, &replica, &steady, secs(start));
        let needs: Vec<u32> = load.minutes().iter().map(|rate| replica.need(*rate).replicas).collect();
        let lag = start.div_ceil(10) as usize;
        for (to, needed) in needs.iter().enumerate() {
            for there in &needs[to.saturating_sub(lag)..=to] {
                prop_assert!(*needed <= (*there).max(steady.mean.replicas) + found.spare);
            }
        }
        // A trace of less than two minutes may have more on average than in any minute.
        let most = steady.peak.replicas.max(steady.mean.replicas);
        prop_assert!(steady.mean.replicas + found.spare <= most);
        prop_assert!(found.ordered >= f64::from(steady.mean.replicas) - 1e-9);
        prop_assert!(found.ordered <= f64::from(most) + 1e-9);
    }
}
