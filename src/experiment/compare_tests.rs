//! Comparisons of metrics by hand-made values.

use proptest::prelude::*;

use super::*;
use crate::experiment::fail_on::{FailOn, Rule};

const INF: Option<f64> = Some(f64::INFINITY);

fn metric(name: &str) -> &'static Metric {
    Metric::find(name).unwrap()
}

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

fn rule(text: &str) -> Rule {
    match FailOn::parse(text).unwrap() {
        FailOn::Metric(rule) => rule,
        FailOn::Drift => panic!("{text}"),
    }
}

/// One metric by itself, judged by a rule.
fn judged(text: &str, base: &[Option<f64>], new: &[Option<f64>], paired: bool) -> Finding {
    let rule = rule(text);
    let (base, new) = (base.to_vec(), new.to_vec());
    let sides = Sides { metric: rule.metric, base, new, paired, margins: Some(&rule.margins) };
    compare(&[sides], 0.05)[0]
}

#[test]
fn margins_are_tested_and_not_only_passed() {
    let base = some(&[1.00, 1.02, 0.98, 1.01, 0.99]);
    let by = |factor: f64| base.iter().map(|value| value.map(|v| v * factor)).collect::<Vec<_>>();
    let check = |rule: &str, factor: f64, standing: Standing, regressed: bool| {
        let finding = judged(rule, &base, &by(factor), true);
        assert_eq!(
            (finding.standing, finding.regressed),
            (standing, regressed),
            "{rule} {factor} {finding:?}"
        );
    };
    check("ttft.p99:5%", 1.2, Standing::Worse, true);
    check("ttft.p99:5%", 1.03, Standing::Worse, false);
    check("ttft.p99:5%", 0.8, Standing::Better, false);
    check("ttft.p99:5%", 1.0, Standing::Unchanged, false);
    check("ttft.p99:5%,500ms", 1.2, Standing::Worse, false);
    check("ttft.p99:5%,100ms", 1.2, Standing::Worse, true);
    check("ttft.p99:300ms", 1.2, Standing::Worse, false);
    // Where more is better, less is worse.
    check("utilisation:5%", 0.8, Standing::Worse, true);
    check("utilisation:5%", 0.97, Standing::Worse, false);
    check("utilisation:5%", 1.2, Standing::Better, false);
    // A clear estimate beyond the margin whose noise reaches below it: no claim.
    let noisy = judged("ttft.p99:5%", &base, &some(&[1.0, 1.3, 0.9, 1.4, 1.0]), false);
    assert_eq!((noisy.standing, noisy.regressed, noisy.basis), (Standing::Unchanged, false, Basis::Welch));
}

#[test]
fn pairs_see_what_independent_runs_do_not() {
    let base = some(&[1.0, 2.0, 3.0, 4.0, 5.0]);
    let new = some(&[1.31, 2.29, 3.30, 4.28, 5.32]);
    assert!(judged("ttft.p99", &base, &new, true).regressed);
    assert!(!judged("ttft.p99", &base, &new, false).regressed);
}

#[test]
fn one_run_is_judged_by_thresholds() {
    let check = |rule: &str, base: f64, new: f64, standing: Standing, regressed: bool| {
        let finding = judged(rule, &[Some(base)], &[Some(new)], true);
        assert_eq!((finding.basis, finding.interval, finding.p), (Basis::Single, None, None));
        assert_eq!((finding.standing, finding.regressed), (standing, regressed), "{rule} {base} {new}");
    };
    check("ttft.p99", 1.0, 1.2, Standing::Worse, true);
    check("ttft.p99", 1.0, 1.005, Standing::Unchanged, false);
    check("ttft.p99", 0.010, 0.0105, Standing::Unchanged, false);
    check("ttft.p99:50%", 1.0, 1.2, Standing::Worse, false);
    check("ttft.p99", 1.0, 0.8, Standing::Better, false);
    check("cost.total", 46.08, 46.085, Standing::Unchanged, false);
    check("cost.total:$2", 46.08, 49.0, Standing::Worse, true);
    check("slo.breach:0.5pp", 0.0, 0.004, Standing::Worse, false);
    check("slo.breach:0.5pp", 0.0, 0.006, Standing::Worse, true);
}

#[test]
fn what_is_infinite_or_absent_is_judged_and_said() {
    use Standing::{Unchanged, Worse};
    let check =
        |base: &[Option<f64>], new: &[Option<f64>], paired: bool, standing: Standing, regressed: bool| {
            let finding = judged("ttft.p99:5%", base, new, paired);
            assert_eq!(
                (finding.standing, finding.regressed),
                (standing, regressed),
                "{base:?} {new:?} {finding:?}"
            );
            let back = judged("ttft.p99:5%", new, base, paired);
            let mirrored = match standing {
                Standing::Worse => Standing::Better,
                Standing::Better => Standing::Worse,
                other => other,
            };
            assert_eq!(back.standing, mirrored, "swapped {base:?} {new:?}");
        };
    let (one, two) = (Some(1.0), Some(2.0));
    check(&[one, two], &[INF, INF], false, Worse, true);
    check(&[one, two], &[INF, INF], true, Worse, true);
    check(&[one], &[INF], true, Worse, true);
    // With the same random numbers a single one is the change's doing; with others it may be chance.
    check(&[one, one, two], &[one, one, INF], true, Worse, true);
    check(&[one, one, two], &[one, one, INF], false, Unchanged, false);
    check(&[one, INF, two], &[INF, one, two], true, Unchanged, false);
    check(&[INF, INF], &[INF, INF], true, Unchanged, false);
    check(&[INF, INF], &[INF, INF], false, Unchanged, false);
    check(&[None, None], &[None, None], true, Unchanged, false);
    check(&[None, None], &[one, two], true, Worse, true);
    check(&[None, None], &[Some(0.0), Some(0.0)], true, Unchanged, false);
    check(&[], &[], true, Unchanged, false);
    check(&[None, one], &[one, None], true, Unchanged, false);
    // Six of six against none of six is no chance (1 in 924), four of six against one is (about 1 in 4).
    let often = |infinite: usize| (0..6).map(|i| if i < infinite { INF } else { one }).collect::<Vec<_>>();
    check(&often(0), &often(5), false, Worse, true);
    check(&often(1), &often(3), false, Unchanged, false);
    let found = judged("ttft.p99:5%", &often(0), &often(5), false);
    assert_eq!((found.basis, found.new_runs.infinite, found.base_runs.runs), (Basis::Counts, 5, 6));
    // Equal where both are infinite: the others decide.
    let (base, new) = ([INF, one, Some(1.1), Some(0.9)], [INF, two, Some(2.2), Some(1.8)]);
    check(&base, &new, true, Worse, true);
}

#[test]
fn many_are_corrected_together() {
    // Each by itself would be found at 5 %; among twenty it may be chance.
    let (base, new) = (some(&[1.0, 1.1, 0.9, 1.05]), some(&[1.16, 1.30, 1.02, 1.10]));
    let rule = rule("ttft.p99:0%");
    let sides = |base: &[Option<f64>], new: &[Option<f64>]| Sides {
        metric: rule.metric,
        base: base.to_vec(),
        new: new.to_vec(),
        paired: true,
        margins: Some(&rule.margins),
    };
    let alone = compare(&[sides(&base, &new)], 0.05);
    assert!(alone[0].regressed && alone[0].standing == Standing::Worse, "{alone:?}");
    let mut many = vec![sides(&base, &new)];
    many.extend((0..19).map(|_| sides(&base, &base)));
    let found = compare(&many, 0.05);
    assert!(found.iter().all(|finding| !finding.regressed && finding.standing == Standing::Unchanged));
}

#[test]
fn neither_side_better_is_no_regression() {
    let metric = metric("requests.arrived");
    let margins = [Margin::Relative(0.0)];
    let sides = Sides {
        metric,
        base: some(&[1.0, 2.0]),
        new: some(&[11.0, 12.0]),
        paired: true,
        margins: Some(&margins),
    };
    let found = compare(&[sides], 0.05)[0];
    assert_eq!((found.standing, found.judged, found.regressed), (Standing::Different, false, false));
}

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        6 => (0.0f64..100.0).prop_map(Some),
        1 => Just(Some(0.0)),
        1 => Just(None),
        1 => Just(INF),
        1 => Just(Some(f64::NAN)),
    ]
}

proptest! {
    #[test]
    fn no_finding_is_nan_and_swapping_swaps_it(
        base in proptest::collection::vec(value(), 0..8),
        new in proptest::collection::vec(value(), 0..8),
        paired: bool,
        higher: bool,
    ) {
        let paired = paired && base.len() == new.len();
        let name = if higher { "utilisation:5%" } else { "ttft.p99:5%" };
        let (there, back) = (judged(name, &base, &new, paired), judged(name, &new, &base, paired));
        for finding in [&there, &back] {
            let (low, high) = finding.interval.unwrap_or((0.0, 0.0));
            let shown = [finding.base, finding.new, finding.difference, finding.p, finding.regression_p];
            prop_assert!(shown.into_iter().flatten().chain([low, high]).all(|number| !number.is_nan()));
            prop_assert!(finding.difference.and_then(|d| finding.relative(d)).is_none_or(|share| !share.is_nan()));
            prop_assert!(!finding.regressed || finding.standing == Standing::Worse);
        }
        prop_assert!(!(there.regressed && back.regressed));
        if !there.regressed && !back.regressed {
            let swapped = match there.standing {
                Standing::Worse => Standing::Better,
                Standing::Better => Standing::Worse,
                other => other,
            };
            prop_assert_eq!(back.standing, swapped);
        }
    }
}
