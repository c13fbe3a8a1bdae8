//! Warm pools against pencil and paper.

use super::*;
use crate::policy::api::{Autoscaler, GatewayView, Path, Reason};
use crate::policy::fixture::World;

fn spec(json: &str) -> WarmPoolSpec {
    let json = format!(r#"{{{json}, "over": {{"fixed": {{"replicas": 3}}}}}}"#);
    let document = crate::yaml::Document::parse("pool", &json).expect(&json);
    crate::yaml::read(&document).expect(&json)
}

fn pool(json: &str) -> WarmPool {
    build(&spec(json), &Setting::default())
}

/// What it orders beside so many replicas: (replicas, spare).
fn counts(pool: &mut WarmPool, replicas: u32) -> Option<(u32, u32)> {
    pool.decide(0, &World::ready(0, replicas).view()).map(|d| (d.replicas, d.spare))
}

const ASIDE: &str = r#""spare": 2"#;
const IN_ROTATION: &str = r#""spare": 2, "inRotation": true"#;

#[test]
fn spares_wait_beside_the_replicas() {
    let mut pool = pool(ASIDE);
    assert_eq!((pool.initial(), pool.maximum()), ((3, 2), Some(3)));
    assert_eq!(counts(&mut pool, 1), Some((3, 2)));
    assert_eq!(counts(&mut pool, 3), None);
    assert_eq!(counts(&mut pool, 4), Some((3, 2)));
}

#[test]
fn spares_in_rotation_are_replicas() {
    let mut pool = pool(IN_ROTATION);
    assert_eq!((pool.initial(), pool.maximum()), ((5, 0), Some(5)));
    assert_eq!(counts(&mut pool, 3), Some((5, 0)));
    assert_eq!(counts(&mut pool, 5), None);
}

#[test]
fn spares_are_ordered_even_if_the_policy_below_is_content() {
    assert_eq!(counts(&mut pool(ASIDE), 3), Some((3, 2)));
    assert_eq!(counts(&mut pool(IN_ROTATION), 5), Some((5, 0)));
}

#[test]
fn loops_and_reasons_are_those_below() {
    let mut own = pool(ASIDE);
    assert_eq!(own.loops().iter().map(|l| l.name).collect::<Vec<_>>(), ["fixed"]);
    let why = own.decide(0, &World::ready(0, 1).view()).expect("too few").why;
    assert_eq!((why.rule, why.detail.as_str()), ("Fixed", "3 replicas; 2 warm to spare"));
    let why = pool(ASIDE).decide(0, &World::ready(0, 3).view()).expect("its first word").why;
    let expected = ("WarmPool", "the policy below leaves the scale alone; 2 warm to spare");
    assert_eq!((why.rule, why.detail.as_str()), expected);
}

/// A pool's rule as if the policy below had asked for so many.
fn settle(rule: &mut WarmPoolRule, world: &World, replicas: u32) -> Decision {
    let why = Reason { conditions: "AbleToScale=True/ReadyForNewScale".to_owned(), ..Reason::new("R", "d") };
    let decision = Decision { replicas, spare: 1, path: Path::Proxied, why };
    rule.settle(&[Demand { decision, has_path: true }], &world.view())
}

fn rule(json: &str) -> WarmPoolRule {
    let spec = spec(json);
    let rises = spec.worst_rise.map(|rise| Rises::new(rise.lead_in(&Setting::default()), rise.look_back));
    WarmPoolRule { spec, sleep: None, rises, spares: 0, is_active: false, last_busy: None, wakes: None }
}

#[test]
fn what_the_policy_below_says_is_handed_on() {
    let decision = settle(&mut rule(ASIDE), &World::ready(0, 3), 4);
    assert_eq!((decision.replicas, decision.spare, decision.path), (4, 3, Path::Proxied));
    assert_eq!(decision.why.rule, "R");
    assert_eq!(decision.why.conditions, "AbleToScale=True/ReadyForNewScale");
}

#[test]
fn something_is_never_shown_as_nothing() {
    let mut rule = rule(IN_ROTATION);
    rule.spares = 2;
    let shown: Vec<u32> = [0, 1, 2, 3].into_iter().map(|n| rule.without_spares(n)).collect();
    assert_eq!(shown, [0, 1, 1, 1]);
}

#[test]
fn a_fraction_of_the_replicas_is_rounded_up() {
    let check = |json: &str, expected: &[(u32, u32)]| {
        let mut rule = rule(json);
        let found: Vec<_> = expected
            .iter()
            .map(|(replicas, _)| (*replicas, settle(&mut rule, &World::ready(0, 1), *replicas).spare - 1))
            .collect();
        assert_eq!(found, expected, "{json}");
    };
    check(r#""fraction": 0.25"#, &[(0, 0), (1, 1), (4, 1), (5, 2), (8, 2), (9, 3)]);
    // Exact: in binary, 0.1 x 30 is more than 3.
    check(r#""fraction": 0.1"#, &[(10, 1), (30, 3), (31, 4)]);
    check(r#""fraction": 2"#, &[(3, 6)]);
    check(r#""fraction": 0.25, "spare": 2"#, &[(0, 2), (8, 2), (9, 3)]);
    // In rotation, the policy below never sees the spares that are in force.
    let mut in_rotation = self::rule(r#""fraction": 0.5, "inRotation": true"#);
    assert_eq!(settle(&mut in_rotation, &World::ready(0, 1), 4).replicas, 6);
    assert_eq!(in_rotation.seen(&World::ready(0, 6).view()).spec_replicas, 4);
    assert_eq!(settle(&mut in_rotation, &World::ready(0, 6), 5).replicas, 8);
    assert_eq!(in_rotation.seen(&World::ready(0, 8).view()).spec_replicas, 5);
    assert_eq!(in_rotation.maximum(&[Some(10)]), Some(15));
}

#[test]
fn spares_follow_the_worst_rise_of_what_is_wanted_below() {
    let mut rule = rule(r#""worstRise": {"lead": "3m", "lookBack": "10m"}, "spare": 1"#);
    let mut at = |s: u64, replicas: u32| settle(&mut rule, &World::ready(s, 1), replicas).spare - 1;
    assert_eq!(at(0, 2), 1);
    assert_eq!(at(60, 3), 1);
    assert_eq!(at(120, 5), 3);
    assert_eq!(at(300, 9), 4);
    // The orders of the first minutes leave the look-back, the last rise stays.
    assert_eq!(at(720, 9), 4);
    assert_eq!(at(899, 9), 4);
    assert_eq!(at(900, 9), 1);
}

#[test]
fn spares_while_active_come_with_the_requests_and_go_with_them() {
    let mut own = pool(r#""spare": 2, "whileActive": true, "scaledownWindow": "0s""#);
    let loops: Vec<_> = own.loops().iter().map(|l| (l.name, l.period)).collect();
    assert_eq!(loops[1], ("warmPool", SimDuration::from_secs(2)));
    assert_eq!(own.initial(), (3, 0));
    let mut world = World::ready(0, 3);
    let orders =
        |own: &mut WarmPool, world: &World| own.decide(1, &world.view()).map(|d| (d.replicas, d.spare));
    assert_eq!(orders(&mut own, &world), Some((3, 0)));
    assert_eq!(orders(&mut own, &world), None);
    for gateway in [
        GatewayView { held: 1, ..GatewayView::default() },
        GatewayView { waiting: 1, ..GatewayView::default() },
        GatewayView { running: 1, ..GatewayView::default() },
    ] {
        world.gateway = gateway;
        assert_eq!(orders(&mut own, &world), Some((3, 2)), "{gateway:?}");
        assert_eq!(orders(&mut own, &world), None);
        world.gateway = GatewayView { arrived: 7, ..GatewayView::default() };
        assert_eq!(orders(&mut own, &world), Some((3, 0)));
    }
    // A held request is looked at at once, and not again while there are spares.
    own.request_held(SimTime::from_secs(9));
    assert_eq!(own.timer(), Some(SimTime::from_secs(9)));
    (world.now, world.gateway.held) = (SimTime::from_secs(9), 1);
    let (of, decision) = own.timed(&world.view()).expect("it changes");
    assert_eq!((of, decision.spare, own.timer()), ("warmPool", 2, None));
    own.request_held(SimTime::from_secs(10));
    assert_eq!(own.timer(), None);
}

#[test]
fn spares_stay_for_a_while_after_the_last_request() {
    let spares = |more: &str, at: &[(u64, u64)]| -> Vec<u32> {
        let mut own = pool(&format!(r#""spare": 2, "whileActive": true{more}"#));
        let (mut found, mut spare) = (Vec::new(), 0);
        for (s, running) in at {
            let mut world = World::ready(*s, 3);
            world.gateway.running = *running;
            spare = own.decide(1, &world.view()).map_or(spare, |decision| decision.spare);
            found.push(spare);
        }
        found
    };
    assert_eq!(spares("", &[(0, 0), (2, 1), (4, 0), (61, 0), (62, 0), (64, 1)]), [0, 2, 2, 2, 0, 2]);
    let window = r#", "scaledownWindow": "5s""#;
    assert_eq!(spares(window, &[(0, 3), (4, 1), (8, 0), (9, 0), (10, 0)]), [2, 2, 2, 0, 0]);
}

#[test]
fn held_nodes_are_placeholders_and_no_replicas() {
    for level in ["node", "image"] {
        let mut own = pool(&format!(r#""spare": 2, "level": "{level}""#));
        assert_eq!((own.initial(), own.placeholders(), own.maximum()), ((3, 0), 2, Some(3)));
        let decision = own.decide(0, &World::ready(0, 4).view()).expect("too many");
        assert_eq!((decision.replicas, decision.spare, own.placeholders()), (3, 0, 2));
        assert_eq!(decision.why.detail, "3 replicas; 2 nodes held");
    }
    assert_eq!(pool(r#""fraction": 0.5, "level": "node""#).placeholders(), 2);
    assert_eq!(pool(r#""spare": 2"#).placeholders(), 0);
}

#[test]
fn what_makes_no_pool_is_refused() {
    let check = |json: &str, expected: &[&str]| {
        let faults = PolicySpec::WarmPool(Box::new(spec(json))).check(&Setting::default());
        let paths: Vec<&str> = faults.iter().map(|(path, ..)| path.as_str()).collect();
        assert_eq!(paths, expected, "{json}");
        assert!(faults.iter().all(|(_, message, help)| !message.is_empty() && !help.is_empty()), "{json}");
    };
    check(r#""inRotation": true"#, &["warmPool"]);
    check(r#""spare": 0"#, &["warmPool.spare"]);
    check(r#""spare": 0, "fraction": 0.5"#, &[]);
    check(r#""spare": 1, "scaledownWindow": "1m""#, &["warmPool.scaledownWindow"]);
    check(r#""fraction": 0"#, &["warmPool.fraction"]);
    check(r#""fraction": 101"#, &["warmPool.fraction"]);
    check(r#""spare": 1, "level": "node", "inRotation": true"#, &["warmPool.inRotation"]);
    check(r#""spare": 1, "level": "image", "sleep": {"level": "inHostRam"}"#, &["warmPool.sleep"]);
    check(r#""worstRise": {"lead": "0s"}"#, &["warmPool.worstRise.lead"]);
    check(r#""worstRise": {"lead": "3m", "lookBack": "2m"}"#, &["warmPool.worstRise.lookBack"]);
}
