//! Max, min, guard and shadow: laws over random wishes, and pencil and paper.

use proptest::prelude::*;

use super::api::{Autoscaler, DataPath, Decision, Loop, Path, Reason, View};
use super::combine::{Combined, Extreme};
use super::fixture::World;
use super::layer::{Demand, Rule};
use super::{PolicySpec, Setting, combine, guard};
use crate::kernel::{SimDuration, SimTime};

fn spec(json: &str) -> PolicySpec {
    let document = crate::yaml::Document::parse("policy", json).expect(json);
    crate::yaml::read(&document).expect(json)
}

fn combined(json: &str, which: Extreme) -> Combined {
    let PolicySpec::Max(spec) = spec(json) else { panic!("{json}") };
    combine::build(&spec, which, &Setting::default())
}

const TWO: &str = r#"{"max": {"of": {"low": {"fixed": {"replicas": 2}},
    "high": {"warmPool": {"spare": 3, "over": {"fixed": {"replicas": 5}}}}}}}"#;

#[test]
fn the_highest_and_the_lowest_are_settled_count_by_count() {
    let check = |which: Extreme, initial: (u32, u32), maximum: u32, said: &[(u32, u32, &str)]| {
        let mut policy = combined(TWO, which);
        assert_eq!((policy.initial(), policy.maximum()), (initial, Some(maximum)));
        assert_eq!(policy.loops().iter().map(|l| l.name).collect::<Vec<_>>(), ["fixed", "fixed"]);
        // The first member speaks, then the second, at 4 replicas.
        for (which, (replicas, spare, detail)) in said.iter().enumerate() {
            let decision = policy.decide(which, &World::ready(0, 4).view()).expect("it has something to say");
            let found = (decision.replicas, decision.spare, decision.why.detail.as_str());
            assert_eq!(found, (*replicas, *spare, *detail));
        }
        assert_eq!(policy.decide(0, &World::ready(0, 2).view()), None, "silence below is silence here");
    };
    let untold = "the policy below leaves the scale alone";
    check(
        Extreme::Max,
        (5, 3),
        5,
        &[
            (4, 3, &format!("`high` settles it, of low 2, high 4 +3: {untold}")),
            (5, 3, "`high` settles it, of low 2, high 5 +3: 5 replicas; 3 warm to spare"),
        ],
    );
    check(
        Extreme::Min,
        (2, 0),
        2,
        &[
            (2, 0, "`low` settles it, of low 2, high 4 +3: 2 replicas"),
            (2, 0, "`low` settles it, of low 2, high 5 +3: 2 replicas"),
        ],
    );
}

/// Wishes (replicas, spare) of some members.
fn wishes() -> impl Strategy<Value = Vec<(u32, u32)>> {
    proptest::collection::vec((0u32..50, 0u32..9), 2..6)
}

fn demands(wishes: &[(u32, u32)]) -> Vec<Demand> {
    let demand = |(replicas, spare): &(u32, u32)| Demand {
        decision: Decision {
            replicas: *replicas,
            spare: *spare,
            path: Path::Direct,
            why: Reason::new("R", "d"),
        },
        has_path: false,
    };
    wishes.iter().map(demand).collect()
}

fn rule_of(count: usize, which: Extreme) -> combine::ExtremeRule {
    combine::ExtremeRule::new(which, (0..count).map(|index| format!("p{index}")).collect())
}

proptest! {
    #[test]
    fn max_is_never_below_any_member_and_min_never_above(wishes in wishes()) {
        let view = World::ready(0, 1);
        let most = rule_of(wishes.len(), Extreme::Max).settle(&demands(&wishes), &view.view());
        let least = rule_of(wishes.len(), Extreme::Min).settle(&demands(&wishes), &view.view());
        for (replicas, spare) in &wishes {
            prop_assert!(most.replicas >= *replicas && most.spare >= *spare);
            prop_assert!(least.replicas <= *replicas && least.spare <= *spare);
        }
        prop_assert!(wishes.iter().any(|(replicas, _)| *replicas == most.replicas));
        prop_assert!(wishes.iter().any(|(replicas, _)| *replicas == least.replicas));
        prop_assert!(wishes.iter().any(|(_, spare)| *spare == most.spare));
    }

    /// Wishes at random seconds, and the guard's own turns between them: in no window are there more changes than the limits let
    /// through, and none comes too soon after another.
    #[test]
    fn a_guard_never_exceeds_its_limits(
        wishes in proptest::collection::vec((1u64..90, 0u32..40), 1..60),
        (up, up_period, up_hold) in (0u32..5, 1u64..200, 0u64..60),
        (down, down_period, down_hold) in (0u32..5, 1u64..200, 0u64..60),
        (floor, more) in (0u32..4, 0u32..30),
        first in 0u32..40,
    ) {
        let json = format!(
            r#"{{"guard": {{"floor": {floor}, "ceiling": {},
                "up": {{"replicas": {up}, "period": "{up_period}s", "hold": "{up_hold}s"}},
                "down": {{"replicas": {down}, "period": "{down_period}s", "hold": "{down_hold}s"}},
                "over": {{"fixed": {{"replicas": 1}}}}}}}}"#,
            floor + more
        );
        let PolicySpec::Guard(spec) = spec(&json) else { panic!("{json}") };
        let mut rule = guard::rule(&spec);
        let mut orders: Vec<(u64, u32)> = vec![(0, first.clamp(floor, floor + more))];
        let mut turn = |rule: &mut guard::GuardRule, s: u64, wish: u32| {
            let replicas = orders.last().expect("the first").1;
            let mut world = World::ready(s, replicas);
            world.now = SimTime::from_secs(s);
            let decision = rule.settle(&demands(&[(wish, 0)]), &world.view());
            orders.push((s, decision.replicas));
        };
        let (mut now, mut wish) = (0, first);
        for (wait, next) in wishes {
            while let Some(at) = rule.timer().filter(|at| *at < SimTime::from_secs(now + wait)) {
                turn(&mut rule, at.as_nanos() / 1_000_000_000, wish);
                prop_assert!(rule.timer().is_none_or(|next| next > at), "its timer goes on");
            }
            now += wait;
            wish = next;
            turn(&mut rule, now, wish);
        }
        let changes: Vec<(u64, i64)> =
            orders.windows(2).map(|o| (o[1].0, i64::from(o[1].1) - i64::from(o[0].1))).filter(|c| c.1 != 0).collect();
        for (_, replicas) in &orders {
            prop_assert!((floor..=floor + more).contains(replicas));
        }
        for (begin, _) in &changes {
            let within = |period: u64| changes.iter().filter(move |c| c.0 >= *begin && c.0 < begin + period);
            let ups: i64 = within(up_period).map(|c| c.1.max(0)).sum();
            let downs: i64 = within(down_period).map(|c| (-c.1).max(0)).sum();
            prop_assert!(ups <= i64::from(up) && downs <= i64::from(down), "{:?}", changes);
        }
        for pair in changes.windows(2) {
            let hold = if pair[1].1 > 0 { up_hold } else { down_hold };
            prop_assert!(pair[1].0 - pair[0].0 >= hold, "{:?}", changes);
        }
    }
}

/// What a guard orders at each of these instants, of these wishes, beginning with so many replicas: (s, wish) to (replicas, rule).
fn guarded(limits: &str, first: u32, wishes: &[(u64, u32)]) -> Vec<(u64, u32, &'static str)> {
    let json = format!(r#"{{"guard": {{{limits}, "over": {{"fixed": {{"replicas": 1}}}}}}}}"#);
    let PolicySpec::Guard(spec) = spec(&json) else { panic!("{json}") };
    let (mut rule, mut replicas, mut wish, mut found) = (guard::rule(&spec), first, first, Vec::new());
    let mut turn = |rule: &mut guard::GuardRule, at: SimTime, wish: u32| {
        let mut world = World::ready(0, replicas);
        world.now = at;
        let decision = rule.settle(&demands(&[(wish, 0)]), &world.view());
        if decision.replicas != replicas {
            found.push((at.as_nanos() / 1_000_000_000, decision.replicas, decision.why.rule));
        }
        replicas = decision.replicas;
    };
    for (at, next) in wishes {
        let at = SimTime::from_secs(*at);
        while let Some(own) = rule.timer().filter(|own| *own < at) {
            turn(&mut rule, own, wish);
        }
        wish = *next;
        turn(&mut rule, at, wish);
    }
    found
}

#[test]
fn a_guard_goes_on_in_its_own_time() {
    let up = r#""up": {"replicas": 2, "period": "60s"}"#;
    // Two at once, two a minute later, the last one another minute later; down at once.
    let expected = [(10, 3, "GuardUp"), (70, 5, "GuardUp"), (130, 6, "R"), (200, 1, "R")];
    assert_eq!(guarded(up, 1, &[(10, 6), (200, 1), (300, 1)]), expected);
    // What is no longer wanted is not ordered.
    assert_eq!(guarded(up, 1, &[(10, 6), (40, 3), (300, 3)]), [(10, 3, "GuardUp")]);
    let hold = r#""down": {"hold": "5m"}"#;
    assert_eq!(guarded(hold, 2, &[(10, 4), (20, 1), (600, 1)]), [(10, 4, "R"), (310, 1, "R")]);
    let never = r#""down": {"replicas": 0, "period": "1m"}"#;
    assert_eq!(guarded(never, 4, &[(10, 1), (9_000, 1)]), []);
    // Bounds come first, and count.
    let bounds = r#""floor": 3, "ceiling": 5, "up": {"replicas": 2, "period": "60s"}"#;
    let expected = [(10, 3, "GuardHold"), (70, 5, "GuardCeiling"), (100, 3, "GuardFloor")];
    let found = guarded(bounds, 1, &[(10, 9), (100, 0)]);
    assert_eq!(found[1..], expected[1..]);
    assert_eq!((found[0].0, found[0].1), (10, 3));
}

/// A policy that notes what it is asked, for what is handed on.
struct Probe {
    name: &'static str,
    data_path: DataPath,
    timer: Option<SimTime>,
    wish: Option<u32>,
    seen: Vec<String>,
}

impl Autoscaler for Probe {
    fn loops(&self) -> Vec<Loop> {
        let of = |period| Loop { name: self.name, period: SimDuration::from_secs(period), phase: None };
        vec![of(5), of(7)]
    }
    fn decide(&mut self, which: usize, view: &View<'_>) -> Option<Decision> {
        self.seen.push(format!("{which}:{}", view.spec_replicas));
        let why = Reason::new("Probe", self.seen.join(" "));
        self.wish.map(|replicas| Decision { replicas, spare: 0, path: Path::Proxied, why })
    }
    fn initial(&self) -> (u32, u32) {
        (1, 0)
    }
    fn maximum(&self) -> Option<u32> {
        self.wish
    }
    fn data_path(&self) -> DataPath {
        self.data_path.clone()
    }
    fn reads_usage(&self) -> bool {
        self.name == "b"
    }
    fn timer(&self) -> Option<SimTime> {
        self.timer
    }
    fn timed(&mut self, view: &View<'_>) -> Option<(&'static str, Decision)> {
        self.timer = None;
        self.decide(9, view).map(|decision| ("own", decision))
    }
    fn request_held(&mut self, now: SimTime) {
        self.seen.push("held".to_owned());
        self.timer = Some(now);
    }
    fn proxy_entered(&mut self, _now: SimTime) {
        self.seen.push("entered".to_owned());
    }
    fn pods_changed(&mut self, _now: SimTime) {
        self.seen.push("pods".to_owned());
    }
}

fn probe(name: &'static str, wish: Option<u32>, data_path: DataPath) -> (String, Box<dyn Autoscaler>) {
    (name.to_owned(), Box::new(Probe { name, data_path, timer: None, wish, seen: Vec::new() }))
}

#[test]
fn whatever_a_policy_has_is_handed_on() {
    let metered = DataPath { is_metered: true, ..DataPath::default() };
    let names = ["a", "b"].map(str::to_owned).to_vec();
    let rule = combine::ExtremeRule::new(Extreme::Max, names);
    let members = [probe("a", Some(6), DataPath::default()), probe("b", Some(4), metered.clone())];
    let mut policy = super::layer::Layered::new(rule, members);
    let loops: Vec<_> =
        policy.loops().iter().map(|l| (l.name, l.period.as_nanos() / 1_000_000_000)).collect();
    assert_eq!(loops, [("a", 5), ("a", 7), ("b", 5), ("b", 7)]);
    assert_eq!((policy.data_path(), policy.reads_usage(), policy.timer()), (metered, true, None));
    // The third loop is the first of the second member; the way of requests is that of whoever has one.
    let world = World::ready(3, 4);
    let decision = policy.decide(2, &world.view()).expect("it speaks");
    assert_eq!((decision.replicas, decision.path), (4, Path::Proxied));
    policy.request_held(SimTime::from_secs(3));
    policy.proxy_entered(SimTime::from_secs(3));
    policy.pods_changed(SimTime::from_secs(3));
    assert_eq!(policy.timer(), Some(SimTime::from_secs(3)));
    let (of, decision) = policy.timed(&world.view()).expect("both speak");
    assert_eq!((of, policy.timer()), ("own", None));
    assert_eq!(decision.why.detail, "`a` settles it, of a 6, b 4: held entered pods 9:4");
}

#[test]
fn what_does_not_go_together_is_refused() {
    let check = |json: &str, expected: &[(&str, &str)]| {
        let found = spec(json).check(&Setting::default());
        let found: Vec<_> =
            found.iter().map(|(path, message, _)| (path.as_str(), message.as_str())).collect();
        assert_eq!(found, expected, "{json}");
    };
    let (fixed, knative) = (r#"{"fixed": {"replicas": 1}}"#, r#"{"knative": {}}"#);
    let max = |members: &[&str]| {
        let members: Vec<String> =
            members.iter().enumerate().map(|(index, member)| format!(r#""p{index}": {member}"#)).collect();
        format!(r#"{{"max": {{"of": {{{}}}}}}}"#, members.join(", "))
    };
    check(&max(&[]), &[("max.of", "no policy to choose from")]);
    check(&max(&[fixed]), &[("max.of", "one policy to choose from")]);
    check(&max(&[fixed, knative]), &[]);
    check(
        &max(&[knative, fixed, knative]),
        &[("max.of.p2", "`of.p0` puts a proxy before the pods already, and requests go by one")],
    );
    check(
        &max(&[fixed, r#"{"fixed": {"replicas": 0}}"#]),
        &[("max.of.p1.fixed.replicas", "0 replicas serve nothing")],
    );
    let pool = |more: &str| format!(r#"{{"warmPool": {{"spare": 1{more}, "over": {fixed}}}}}"#);
    let asleep = pool(r#", "sleep": {"level": "inHostRam", "wake": "3s"}"#);
    check(&max(&[&pool(""), &pool("")]), &[]);
    check(
        &max(&[&pool(""), &asleep]),
        &[("max.of", "warm pools side by side, some of whose spares sleep, are not modelled")],
    );
    let over = format!(r#"{{"warmPool": {{"spare": 1, "over": {}}}}}"#, max(&[fixed, &asleep]));
    check(&over, &[("warmPool.over", "spares over spares, some of them asleep, are not modelled")]);
    let keda = |name: &str| {
        format!(
            r#"{{"keda": {{"scaledObject": {{"scaleTargetRef": {{"name": "{name}"}}, "triggers":
        [{{"type": "prometheus", "metadata": {{"serverAddress": "http://p", "query": "sum(vllm:num_requests_waiting)", "threshold": "5"}}}}]}}}}}}"#
        )
    };
    check(
        &max(&[&keda("a"), &keda("b"), &keda("a")]),
        &[("max.of.p1", "`of.p1` scales `b`, and `of.p0` scales `a`")],
    );
    let shadow =
        |run: &str, candidate: &str| format!(r#"{{"shadow": {{"run": {run}, "candidate": {candidate}}}}}"#);
    check(&shadow(knative, fixed), &[]);
    check(
        &shadow(fixed, knative),
        &[(
            "shadow.candidate",
            "a policy that puts a proxy before the pods cannot be watched: no request goes by it",
        )],
    );
    check(&shadow(&pool(""), &asleep), &[]);
    let guard = |limits: &str| format!(r#"{{"guard": {{{limits}"over": {fixed}}}}}"#);
    check(&guard(""), &[("guard", "a guard without a limit")]);
    check(&guard(r#""floor": 4, "ceiling": 3, "#), &[("guard.ceiling", "at least 4 and at most 3 replicas")]);
    check(
        &guard(r#""up": {"replicas": 1}, "down": {"period": "1m"}, "#),
        &[
            ("guard.up.replicas", "so many replicas in how long?"),
            ("guard.down.period", "how many replicas in a period?"),
        ],
    );
    check(
        &guard(r#""up": {}, "down": {"replicas": 1, "period": "0s"}, "#),
        &[("guard.up", "a limit that limits nothing"), ("guard.down.period", "a period of no time")],
    );
}
