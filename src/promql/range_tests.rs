//! Tests of functions over windows, against upstream's rules and its own test scripts.

use proptest::prelude::*;

use super::*;

fn window(start: i64, end: i64, release: Release) -> Window {
    Window { start: start * 1000, end: end * 1000, now: end * 1000, release }
}

fn points(samples: &[(i64, f64)]) -> Vec<Point> {
    samples.iter().map(|(secs, value)| Point { at: secs * 1000, value: *value }).collect()
}

#[track_caller]
fn check(function: RangeFunction, samples: &[(i64, f64)], (start, end): (i64, i64), expected: Option<f64>) {
    let found = function.apply(&points(samples), &window(start, end, Release::V3), 60.0);
    let same = match (found, expected) {
        (Some(found), Some(expected)) => {
            (found - expected).abs() <= 1e-12 * expected.abs().max(1.0)
                || (found.is_nan() && expected.is_nan())
        }
        (found, expected) => found == expected,
    };
    assert!(same, "{function:?} of {samples:?} in ({start}, {end}]: {found:?}, not {expected:?}");
}

#[test]
fn rates_are_extrapolated_as_upstream_does() {
    use RangeFunction::{Delta, Increase, Rate};
    // Samples to both edges: as they are.
    check(Increase, &[(0, 100.0), (15, 115.0), (30, 130.0), (45, 145.0), (60, 160.0)], (0, 60), Some(60.0));
    // Three gaps of 15 s in a minute; both edges are within 1.1 gaps, so the rate is that of the samples.
    check(Increase, &[(10, 100.0), (25, 115.0), (40, 130.0), (55, 145.0)], (0, 60), Some(60.0));
    check(Rate, &[(10, 100.0), (25, 115.0), (40, 130.0), (55, 145.0)], (0, 60), Some(1.0));
    // The first sample is 30 s in: the series began there, half a gap earlier.
    check(Increase, &[(30, 100.0), (45, 115.0), (60, 130.0)], (0, 60), Some(37.5));
    // The last one is 30 s old: it ended half a gap later.
    check(Increase, &[(0, 100.0), (15, 115.0), (30, 130.0)], (0, 60), Some(37.5));
    // A counter that was 5 cannot have been below 0: it began 5 s before its first sample and not 15 s.
    check(Increase, &[(15, 5.0), (30, 20.0), (45, 35.0), (60, 50.0)], (0, 60), Some(50.0));
    // One that starts at 0 starts at its first sample.
    check(Increase, &[(15, 0.0), (30, 15.0), (45, 30.0), (60, 45.0)], (0, 60), Some(45.0));
    // A gauge may have been below 0.
    check(Delta, &[(15, 5.0), (30, 20.0), (45, 35.0), (60, 50.0)], (0, 60), Some(60.0));
    check(Delta, &[(15, 50.0), (30, 20.0), (45, 35.0), (60, 5.0)], (0, 60), Some(-60.0));
    // A fall is a restart from 0: 10 + 5 + 10.
    check(Increase, &[(0, 100.0), (20, 110.0), (40, 5.0), (60, 15.0)], (0, 60), Some(25.0));
    // A counter that stands still.
    check(Rate, &[(15, 7.0), (30, 7.0), (45, 7.0), (60, 7.0)], (0, 60), Some(0.0));
    check(Rate, &[(30, 7.0)], (0, 60), None);
    // The window starts 40 s before the first sample and zero lies 10 s before it, but half a gap is 7.5 s.
    check(Increase, &[(40, 10.0), (55, 25.0), (70, 40.0)], (0, 70), Some(37.5));
    // A gap exactly 1.1 times as long is too long.
    check(Delta, &[(11, 0.0), (21, 10.0)], (0, 21), Some(15.0));
}

#[test]
fn only_v2_counts_the_sample_at_the_very_start() {
    let (v2, v3) = (window(0, 60, Release::V2), window(0, 60, Release::V3));
    assert_eq!((v2.first(), v3.first()), (0, 1));
}

#[test]
fn the_last_two_samples() {
    use RangeFunction::{Idelta, Irate};
    check(Irate, &[(0, 0.0), (15, 100.0), (30, 130.0)], (0, 60), Some(2.0));
    check(Irate, &[(15, 100.0), (30, 45.0)], (0, 60), Some(3.0));
    check(Idelta, &[(15, 100.0), (30, 45.0)], (0, 60), Some(-55.0));
    check(Irate, &[(15, 100.0)], (0, 60), None);
}

#[test]
fn lines_are_followed() {
    use RangeFunction::{Deriv, PredictLinear};
    let line = [(0, 10.0), (15, 25.0), (30, 40.0), (45, 55.0)];
    check(Deriv, &line, (0, 60), Some(1.0));
    // 60 s after the instant of the query, which is 15 s after the last sample.
    check(PredictLinear, &line, (0, 60), Some(130.0));
    check(PredictLinear, &[(0, 1.0)], (0, 60), None);
    check(Deriv, &[(0, 3.0), (15, 3.0)], (0, 60), Some(0.0));
}

#[test]
fn values_over_time() {
    let samples = [(0, 3.0), (15, 1.0), (30, f64::NAN), (45, 5.0), (60, 5.0)];
    let whole = [(0, 3.0), (15, 1.0), (30, 2.0), (45, 6.0)];
    for (function, expected) in [
        (RangeFunction::MinOverTime, 1.0),
        (RangeFunction::MaxOverTime, 5.0),
        (RangeFunction::SumOverTime, f64::NAN),
        (RangeFunction::CountOverTime, 5.0),
        (RangeFunction::LastOverTime, 5.0),
        (RangeFunction::PresentOverTime, 1.0),
        (RangeFunction::Resets, 1.0),
        (RangeFunction::Changes, 3.0),
    ] {
        check(function, &samples, (0, 60), Some(expected));
    }
    for (function, expected) in [
        (RangeFunction::AvgOverTime, 3.0),
        (RangeFunction::SumOverTime, 12.0),
        (RangeFunction::StdvarOverTime, 3.5),
        (RangeFunction::StddevOverTime, 3.5_f64.sqrt()),
    ] {
        check(function, &whole, (0, 60), Some(expected));
    }
    let median = RangeFunction::QuantileOverTime.apply(&points(&whole), &window(0, 60, Release::V3), 0.5);
    assert_eq!(median, Some(2.5));
    check(RangeFunction::CountOverTime, &[], (0, 60), None);
}

proptest! {
    #[test]
    fn the_rate_of_a_line_is_its_slope(
        slope in 0.001..1000.0_f64,
        interval in 1..60_i64,
        phase in 0..60_i64,
        count in 2..50_i64,
    ) {
        // A window that a regular counter fills, however its samples lie in it; high enough not to meet zero.
        let phase = phase % interval;
        let start = 1_000_000.0;
        let samples: Vec<Point> = (0..count)
            .map(|i| Point { at: (phase + i * interval) * 1000, value: start + slope * (i * interval) as f64 })
            .collect();
        let end = (count - 1) * interval + phase;
        let found = RangeFunction::Rate.apply(&samples, &window(0, end, Release::V3), 0.0).unwrap();
        prop_assert!((found / slope - 1.0).abs() < 1e-5, "{found} {slope}");
    }

    #[test]
    fn an_increase_is_never_negative_and_survives_restarts(
        steps in prop::collection::vec((1..100_i64, prop_oneof![Just(-1.0), 0.0..1e6_f64]), 2..40),
    ) {
        let (mut at, mut value) = (0, 0.0);
        let samples: Vec<Point> = steps
            .iter()
            .map(|(gap, step)| {
                at += gap * 1000;
                value = if *step < 0.0 { 0.0 } else { value + step };
                Point { at, value }
            })
            .collect();
        let window = Window { start: 0, end: at, now: at, release: Release::V3 };
        let found = RangeFunction::Increase.apply(&samples, &window, 0.0).unwrap();
        prop_assert!(found >= 0.0 && found.is_finite(), "{found}");
    }

    #[test]
    fn quantiles_lie_between_the_extremes(
        q in 0.0..=1.0_f64,
        values in prop::collection::vec(-1e9..1e9_f64, 1..40),
    ) {
        let samples: Vec<Point> = values.iter().map(|value| Point { at: 0, value: *value }).collect();
        let window = window(0, 60, Release::V3);
        let found = RangeFunction::QuantileOverTime.apply(&samples, &window, q).unwrap();
        let [low, high] = [RangeFunction::MinOverTime, RangeFunction::MaxOverTime]
            .map(|function| function.apply(&samples, &window, 0.0).unwrap());
        prop_assert!(found >= low - 1e-6 && found <= high + 1e-6, "{low} {found} {high}");
    }
}
