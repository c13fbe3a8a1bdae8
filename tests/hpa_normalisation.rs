//! The HPA's normalisation (stabilisation, rate limits, bounds, its logs) against a literal
//! transcription of the rules, over random histories of reconciles.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

#[path = "hpa_normalisation/literal.rs"]
mod literal;

use std::collections::BTreeMap;

use literal::{Given, Literal, Select};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use thawline::policy::hpa::behavior::{Behavior, PolicyType, Rules, ScaleEvent, ScalingPolicy, SelectPolicy};
use thawline::policy::hpa::cluster::{Cluster, Scale, ScaleReadError, ScaleWriteError};
use thawline::policy::hpa::metric::{Metric, Target, TargetType};
use thawline::policy::hpa::reconcile::{ControllerConfig, Gates, Memory, Spec, reconcile};
use thawline::policy::hpa::selector::Selector;
use thawline::policy::hpa::status::Status;
use thawline::policy::hpa::types::{MetricError, Milli, Pod, Readiness, ResourceSample, Samples};
use thawline::policy::hpa::version::KubernetesVersion;

const SECOND: i64 = 1_000_000_000;

/// One reconcile of a history.
#[derive(Clone, Debug)]
struct Step {
    /// Time since the one before.
    wait: i64,
    proposal: i32,
    /// Somebody else sets the scale before it.
    meddled: Option<i32>,
    /// Which of the history's bounds and behaviors stand, modulo their number.
    bounds: usize,
    behavior: usize,
    write_fails: bool,
}

#[derive(Clone, Debug)]
struct History {
    flag: i64,
    zero_by_condition: bool,
    replicas: i32,
    bounds: Vec<(i32, i32)>,
    behaviors: Vec<Option<literal::Behavior>>,
    steps: Vec<Step>,
}

impl History {
    /// What the reconcile of a step is given, with a scale of `current`.
    fn given(&self, step: &Step, now: i64, current: i32) -> Given {
        let (min, max) = self.bounds[step.bounds % self.bounds.len()];
        Given {
            now,
            current: i64::from(current),
            proposal: i64::from(step.proposal),
            min: i64::from(min),
            max: i64::from(max),
            behavior: self.behaviors[step.behavior % self.behaviors.len()].clone(),
            flag: self.flag,
            zero_by_condition: self.zero_by_condition,
            write_fails: step.write_fails,
        }
    }
}

/// Windows, periods and waits are of one grid, so that ages meet them exactly.
fn on_grid() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => Just(15 * SECOND),
        4 => Just(30 * SECOND),
        3 => Just(60 * SECOND),
        1 => Just(0),
        1 => Just(SECOND),
        1 => Just(300 * SECOND),
        1 => Just(3600 * SECOND),
    ]
}

fn waits() -> impl Strategy<Value = i64> {
    let nudge = prop_oneof![12 => Just(0_i64), 1 => Just(1), 1 => Just(-1)];
    let wait = prop_oneof![10 => Just(15 * SECOND), 1 => Just(0), 5 => on_grid(), 2 => 0..400 * SECOND];
    (wait, nudge).prop_map(|(wait, nudge): (i64, i64)| (wait + nudge).max(0))
}

fn direction(has_window: bool) -> impl Strategy<Value = literal::Direction> {
    let value = prop_oneof![
        8 => 1_i64..12,
        6 => prop::sample::select(vec![10_i64, 20, 33, 50, 90, 99, 100, 110, 200]),
        1 => Just(i64::from(i32::MAX)),
    ];
    let period = on_grid().prop_map(|period| period.clamp(SECOND, 1800 * SECOND));
    let policies = prop::collection::vec((any::<bool>(), value, period), 1..4);
    let select = prop_oneof![4 => Just(Select::Max), 2 => Just(Select::Min), 1 => Just(Select::Disabled)];
    let window =
        if has_window { on_grid().prop_map(Some).boxed() } else { prop::option::of(on_grid()).boxed() };
    (window, select, policies).prop_map(|(window, select, policies)| literal::Direction {
        window,
        select,
        policies,
    })
}

fn histories() -> impl Strategy<Value = History> {
    let behavior = prop::option::weighted(
        0.8,
        (direction(true), direction(false)).prop_map(|(up, down)| literal::Behavior { up, down }),
    );
    let bounds = (prop_oneof![2 => 0_i32..2, 3 => 1..6], 0_i32..120)
        .prop_map(|(min, more)| (min, (min + more).max(1)));
    let step = (
        waits(),
        prop_oneof![5 => 0_i32..12, 3 => 0..130, 2 => Just(0), 1 => Just(100)],
        prop::option::weighted(0.05, 0_i32..130),
        prop_oneof![7 => Just(0_usize), 1 => 1..3_usize],
        prop_oneof![12 => Just(0_usize), 1 => 1..3_usize],
        prop::bool::weighted(0.05),
    )
        .prop_map(|(wait, proposal, meddled, bounds, behavior, write_fails)| Step {
            wait,
            proposal,
            meddled,
            bounds,
            behavior,
            write_fails,
        });
    (
        on_grid(),
        any::<bool>(),
        0_i32..20,
        prop::collection::vec(bounds, 1..4),
        prop::collection::vec(behavior, 1..4),
        prop::collection::vec(step, 1..90),
    )
        .prop_map(|(flag, zero_by_condition, replicas, bounds, behaviors, steps)| History {
            flag,
            zero_by_condition,
            replicas,
            bounds,
            behaviors,
            steps,
        })
}

/// A scale, and one external series worth as many replicas as are proposed.
struct Stub {
    replicas: i32,
    proposal: i32,
    write_fails: bool,
}

impl Cluster for Stub {
    fn scale(&self) -> Result<Scale, ScaleReadError> {
        let selector = "app=llm".to_owned();
        Ok(Scale { spec_replicas: self.replicas, status_replicas: self.replicas, selector })
    }
    fn set_replicas(&mut self, replicas: i32) -> Result<(), ScaleWriteError> {
        if self.write_fails {
            return Err(ScaleWriteError::Other);
        }
        self.replicas = replicas;
        Ok(())
    }
    fn pods(&self) -> &[Pod] {
        &[]
    }
    fn rivals(&self) -> &[Selector] {
        &[]
    }
    fn resource_samples(&self, _: &str) -> Result<Vec<ResourceSample>, MetricError> {
        Err(MetricError::new("none"))
    }
    fn pods_samples(&self, _: &Metric) -> Result<Samples, MetricError> {
        Err(MetricError::new("none"))
    }
    fn object_value(&self, _: &Metric) -> Result<Milli, MetricError> {
        Err(MetricError::new("none"))
    }
    fn external_values(&self, _: &Metric) -> Result<Vec<Milli>, MetricError> {
        Ok(vec![i64::from(self.proposal) * 1000])
    }
}

fn rules(direction: &literal::Direction) -> Rules {
    let policy = |(is_percent, value, period): &literal::Policy| ScalingPolicy {
        kind: if *is_percent { PolicyType::Percent } else { PolicyType::Pods },
        value: i32::try_from(*value).unwrap(),
        period: *period,
    };
    Rules {
        stabilization_window: direction.window,
        select_policy: match direction.select {
            Select::Max => SelectPolicy::Max,
            Select::Min => SelectPolicy::Min,
            Select::Disabled => SelectPolicy::Disabled,
        },
        policies: direction.policies.iter().map(policy).collect(),
        tolerance: None,
    }
}

/// What the code under test is given for the same reconcile. Without a tolerance, the target of
/// one a replica makes the series' value the proposal.
fn spec_and_config(given: &Given) -> (Spec, ControllerConfig) {
    let target = Target {
        kind: TargetType::AverageValue,
        value: None,
        average_value: Some(1000),
        average_utilization: None,
    };
    let spec = Spec {
        min_replicas: Some(i32::try_from(given.min).unwrap()),
        max_replicas: i32::try_from(given.max).unwrap(),
        metrics: vec![Metric::External { name: "proposal".to_owned(), selector: String::new(), target }],
        behavior: given
            .behavior
            .as_ref()
            .map(|b| Behavior { scale_up: rules(&b.up), scale_down: rules(&b.down) }),
    };
    let config = ControllerConfig {
        version: if given.zero_by_condition { KubernetesVersion::V1_37 } else { KubernetesVersion::V1_35 },
        tolerance: 0.0,
        downscale_stabilization: given.flag,
        readiness: Readiness { cpu_initialization_period: 0, initial_readiness_delay: 0 },
        gates: Gates { scale_to_zero: true, configurable_tolerance: true, pod_level_resources: true },
    };
    (spec, config)
}

fn events(log: &[ScaleEvent]) -> Vec<(i64, i64, bool)> {
    log.iter().map(|event| (i64::from(event.change), event.at, event.outdated)).collect()
}

/// Runs a history through both and compares all they say and remember after each step.
fn compare(history: &History) -> Result<(), TestCaseError> {
    let mut literal = Literal::default();
    let (mut memory, mut status) = (Memory::default(), Status::default());
    let mut cluster = Stub { replicas: history.replicas, proposal: 0, write_fails: false };
    let mut now = 1_000 * SECOND;
    for (index, step) in history.steps.iter().enumerate() {
        now += step.wait;
        cluster.replicas = step.meddled.unwrap_or(cluster.replicas);
        (cluster.proposal, cluster.write_fails) = (step.proposal, step.write_fails);
        let given = history.given(step, now, cluster.replicas);
        let (spec, config) = spec_and_config(&given);
        let found = reconcile(&spec, &config, &mut memory, &mut status, &mut cluster, now);
        let expected = literal.reconcile(&given);

        let found = literal::Done {
            replicas: i64::from(found.replicas),
            wrote: found.rescaled,
            rule: found.rule.as_str(),
            events: found.events,
        };
        prop_assert_eq!(&found, &expected, "step {}, given {:?}", index, given);
        prop_assert_eq!(i64::from(cluster.replicas), expected.replicas, "step {}", index);
        let conditions: Vec<_> = status
            .conditions
            .as_slice()
            .iter()
            .map(|c| (c.kind.as_str(), c.is_true, c.reason.as_str()))
            .collect();
        prop_assert_eq!(&conditions, &literal.conditions, "step {}", index);
        let recommendations: Option<Vec<_>> = memory
            .recommendations
            .as_ref()
            .map(|log| log.iter().map(|r| (i64::from(r.replicas), r.at)).collect());
        prop_assert_eq!(&recommendations, &literal.recommendations, "step {}", index);
        prop_assert_eq!(&events(&memory.ups), &literal.ups, "step {}", index);
        prop_assert_eq!(&events(&memory.downs), &literal.downs, "step {}", index);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]
    #[test]
    fn any_history_is_normalised_to_the_letter(history in histories()) {
        compare(&history)?;
    }
}

/// The comparison is worth what its histories reach: each rule, and ages equal to a window or period.
#[test]
fn the_histories_reach_every_rule_and_every_edge() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..600 {
        let history = histories().new_tree(&mut runner).unwrap().current();
        let mut literal = Literal::default();
        let (mut now, mut current) = (1_000 * SECOND, history.replicas);
        for step in &history.steps {
            now += step.wait;
            current = step.meddled.unwrap_or(current);
            let given = history.given(step, now, current);
            let mut note = |what| *seen.entry(what).or_default() += 1;
            let logged = literal.recommendations.clone().unwrap_or_default();
            let ages: Vec<i64> = logged.iter().map(|(_, at)| now - at).collect();
            let stored = literal.ups.len() + literal.downs.len();
            if let Some(behavior) = &given.behavior {
                let windows = [behavior.up.window, behavior.down.window];
                for window in windows.into_iter().flatten().filter(|window| ages.contains(window)) {
                    note(if window == 0 { "an age of a window of 0" } else { "an age of a window" });
                }
                for (up, log) in [(&behavior.up, &literal.ups), (&behavior.down, &literal.downs)] {
                    let is_at_edge = |age| up.policies.iter().any(|policy| policy.2 == age);
                    if log.iter().any(|event| is_at_edge(now - event.1)) {
                        note("an age of a period");
                    }
                }
            } else if ages.contains(&given.flag) {
                note("an age of the flag");
            }
            let done = literal.reconcile(&given);
            note(done.rule);
            if given.current == 0 && done.wrote && done.replicas == given.min {
                note("raised from zero to min");
            }
            literal.conditions.iter().for_each(|condition| note(condition.2));
            if logged.len() > 1 && literal.recommendations.as_ref().unwrap().len() == logged.len() {
                note("a recommendation over an old one");
            }
            if done.wrote && given.behavior.is_some() && literal.ups.len() + literal.downs.len() == stored {
                note("an event over an old one");
            }
            current = i32::try_from(done.replicas).unwrap();
        }
    }
    let wanted = [
        "an age of a window",
        "an age of a window of 0",
        "an age of a period",
        "an age of the flag",
        "a recommendation over an old one",
        "an event over an old one",
        "ReadyForNewScale",
        "ScaleUpStabilized",
        "ScaleDownStabilized",
        "SucceededRescale",
        "FailedUpdateScale",
        "ScalingDisabled",
        "DesiredWithinRange",
        "TooFewReplicas",
        "TooManyReplicas",
        "ScaleUpLimit",
        "ScaleDownLimit",
        "ScaledToZero",
        "NotScaledToZero",
        "raised from zero to min",
    ];
    let rare: Vec<_> = wanted.iter().filter(|what| seen.get(*what).is_none_or(|count| *count < 10)).collect();
    assert!(rare.is_empty(), "{rare:?} of {seen:?}");
}
