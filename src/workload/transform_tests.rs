//! Transforms keep counts, order and lengths as they are defined to.

use super::*;
use proptest::prelude::*;

fn packed(times: &[u64]) -> Packed {
    let mut times = times.to_vec();
    times.sort_unstable();
    let requests: Vec<Request> = times
        .iter()
        .enumerate()
        .map(|(n, t)| Request {
            arrival: SimTime::from_nanos(*t),
            prompt_tokens: n as u32 + 1,
            output_tokens: 1,
        })
        .collect();
    Packed { span: SimDuration::from_nanos(times.last().copied().unwrap_or(0)), requests }
}

fn source(times: &[u64]) -> Arc<dyn Source> {
    Arc::new(packed(times))
}

fn times(source: &dyn Source) -> Vec<u64> {
    source.requests(&Streams::new(7, 0)).map(|r| r.arrival.as_nanos()).collect()
}

fn prompts(source: &dyn Source) -> Vec<u32> {
    let mut all: Vec<u32> = source.requests(&Streams::new(7, 0)).map(|r| r.prompt_tokens).collect();
    all.sort_unstable();
    all
}

const fn ns(nanos: u64) -> SimDuration {
    SimDuration::from_nanos(nanos)
}

#[test]
fn windows_count_from_their_beginning() {
    let check = |from, span, expected: &[u64]| {
        let window = Window { inner: source(&[0, 10, 20, 30]), from: ns(from), span: ns(span) };
        assert_eq!(times(&window), expected, "{from} {span}");
    };
    check(0, 20, &[0, 10]);
    check(10, 15, &[0, 10]);
    check(5, 100, &[5, 15, 25]);
    check(31, 10, &[]);
}

#[test]
fn compression_divides_times() {
    let compress = Compress { inner: source(&[0, 10, 25]), factor: 2.5 };
    assert_eq!(times(&compress), [0, 4, 10]);
    assert_eq!(compress.span(), Some(ns(10)));
}

#[test]
fn turns_and_parts_follow_each_other() {
    let repeat = Concatenate::repeat(source(&[0, 10]), ns(20), 3);
    assert_eq!(times(&repeat), [0, 10, 20, 30, 40, 50]);
    assert_eq!(repeat.span(), Some(ns(50)));
    let parts = Concatenate { parts: vec![(source(&[5]), ns(7)), (source(&[0, 1]), ns(2))] };
    assert_eq!(times(&parts), [5, 7, 8]);
}

#[test]
fn the_first_copy_of_a_superposition_is_not_rotated() {
    let one = Superpose { inner: source(&[0, 3, 9]), period: ns(12), copies: 1, entity: 0 };
    assert_eq!(times(&one), [0, 3, 9]);
}

#[test]
fn resampled_traffic_changes_with_the_replication_only() {
    let trace = packed(&(0..1000).map(|n| n * 7 % 5000).collect::<Vec<_>>());
    let resample = Resample { trace, period: ns(5000), block: ns(300) };
    let pass = |replication| resample.requests(&Streams::new(7, replication)).collect::<Vec<_>>();
    assert_eq!(pass(0), pass(0));
    assert_ne!(pass(0), pass(1));
}

#[test]
fn resampling_keeps_the_mean_rate() {
    // All requests lie in a tenth of the ring; edges must not be rarer than the middle.
    let trace = packed(&(0..100).collect::<Vec<_>>());
    let resample = Resample { trace, period: ns(1000), block: ns(130) };
    let total: usize = (0..4000).map(|r| resample.requests(&Streams::new(7, r)).count()).sum();
    let mean = total as f64 / 4000.0;
    assert!((mean - 100.0).abs() < 4.0, "{mean}");
}

proptest! {
    #[test]
    fn superposed_copies_keep_every_request_and_the_order(
        arrivals in proptest::collection::vec(0u64..1000, 0..40), copies in 1u32..9,
    ) {
        let inner = source(&arrivals);
        let superposed = Superpose { inner: inner.clone(), period: ns(1000), copies, entity: 3 };
        let out = times(&superposed);
        prop_assert_eq!(out.len(), arrivals.len() * copies as usize);
        prop_assert!(out.is_sorted() && out.iter().all(|t| *t < 1000));
        let mut expected: Vec<u32> = prompts(inner.as_ref()).repeat(copies as usize);
        expected.sort_unstable();
        prop_assert_eq!(prompts(&superposed), expected);
    }

    #[test]
    fn thinning_keeps_a_share_of_the_requests_as_they_were(keep in 0.05f64..0.95) {
        let inner = source(&(0..4000).collect::<Vec<_>>());
        let thin = Thin { inner, keep, entity: 0 };
        let out = times(&thin);
        prop_assert!(out.is_sorted());
        let sigma = (4000.0 * keep * (1.0 - keep)).sqrt();
        prop_assert!((out.len() as f64 - 4000.0 * keep).abs() < 6.0 * sigma);
    }

    #[test]
    fn every_other_transform_keeps_the_order(
        arrivals in proptest::collection::vec(0u64..1000, 1..40), factor in 0.1f64..10.0, block in 1u64..1500, turns in 1u32..5,
    ) {
        let inner = source(&arrivals);
        let compress = times(&Compress { inner: inner.clone(), factor });
        prop_assert!(compress.is_sorted() && compress.len() == arrivals.len());
        let repeat = times(&Concatenate::repeat(inner, ns(1000), turns));
        prop_assert!(repeat.is_sorted() && repeat.len() == arrivals.len() * turns as usize);
        let resample = Resample { trace: packed(&arrivals), period: ns(1000), block: ns(block.min(1000)) };
        let resample = times(&resample);
        prop_assert!(resample.is_sorted() && resample.iter().all(|t| *t < 1000));
    }
}
