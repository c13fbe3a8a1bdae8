//! Schedules against the clock, against KEDA's cron trigger, and against themselves.

use std::collections::BTreeMap;

use super::*;
use crate::policy::api::Autoscaler;
use crate::policy::fixture::World;
use crate::policy::keda::cron::CronTrigger;

fn second(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().expect(text).as_second()
}

fn setting(start: &str) -> Setting {
    Setting { start_ms: Some(second(start) * 1000), ..Setting::default() }
}

fn spec(json: &str) -> ScheduleSpec {
    let document = crate::yaml::Document::parse("schedule", json).expect(json);
    crate::yaml::read(&document).expect(json)
}

fn schedule(json: &str, start: &str) -> ScheduleOver {
    let (spec, setting) = (spec(json), setting(start));
    assert_eq!(PolicySpec::Schedule(Box::new(spec.clone())).check(&setting), vec![], "{json}");
    build(&spec, &setting)
}

/// Follows the policy's own timer for so long: each time it orders something, when and what.
fn orders(policy: &mut ScheduleOver, start: &str, hours: u64) -> Vec<(String, u32, &'static str)> {
    let (mut found, mut replicas) = (Vec::new(), policy.initial().0);
    while let Some(at) = policy.timer().filter(|at| *at < SimTime::from_secs(hours * 3600)) {
        let mut world = World::ready(0, replicas);
        world.now = at;
        if let Some((of, decision)) = policy.timed(&world.view()) {
            assert_eq!(of, "schedule");
            replicas = decision.replicas;
            let clock = second(start) + (at.as_nanos() / 1_000_000_000) as i64;
            let text = jiff::Timestamp::from_second(clock).expect("within range").to_string();
            found.push((text, replicas, decision.why.rule));
        }
        assert!(policy.timer().is_none_or(|next| next > at), "its timer goes on");
    }
    found
}

fn check(json: &str, start: &str, hours: u64, expected: &[(&str, u32, &str)]) {
    let found = orders(&mut schedule(json, start), start, hours);
    let found: Vec<_> = found.iter().map(|(at, replicas, rule)| (at.as_str(), *replicas, *rule)).collect();
    assert_eq!(found, expected, "{json}");
}

const MARKET: &str = r#"{"timezone": "America/New_York", "replicas": 2, "windows": {
    "open": {"start": "30 9 * * 1-5", "end": "0 16 * * 1-5", "floor": 6}}}"#;

#[test]
fn windows_open_at_their_start_and_are_closed_at_their_end() {
    // Monday; New York is five hours behind until 8 March.
    check(
        MARKET,
        "2026-03-02T12:00:00Z",
        24,
        &[
            ("2026-03-02T12:00:00Z", 2, "ScheduleBase"),
            ("2026-03-02T14:30:00Z", 6, "ScheduleFloor"),
            ("2026-03-02T21:00:00Z", 2, "ScheduleBase"),
        ],
    );
    // It starts within a window, and at its ends.
    let first = |start: &str| schedule(MARKET, start).initial().0;
    assert_eq!(first("2026-03-02T14:29:59Z"), 2);
    assert_eq!(first("2026-03-02T14:30:00Z"), 6);
    assert_eq!(first("2026-03-02T20:59:59Z"), 6);
    assert_eq!(first("2026-03-02T21:00:00Z"), 2);
}

#[test]
fn windows_follow_the_local_clock_when_it_changes() {
    // The clock is put forward on Sunday, 8 March, and back on 1 November: 9:30 is an hour earlier, then later in UTC.
    let opens = |start: &str| -> Vec<String> {
        let found = orders(&mut schedule(MARKET, start), start, 4 * 24);
        found.into_iter().filter(|(_, replicas, _)| *replicas == 6).map(|(at, ..)| at).collect()
    };
    assert_eq!(opens("2026-03-06T00:00:00Z"), ["2026-03-06T14:30:00Z", "2026-03-09T13:30:00Z"]);
    assert_eq!(opens("2026-10-30T00:00:00Z"), ["2026-10-30T13:30:00Z", "2026-11-02T14:30:00Z"]);
    // A window over the change is an hour shorter.
    let night = r#"{"timezone": "Europe/Berlin", "replicas": 1, "windows": {
        "night": {"start": "0 1 * * *", "end": "0 5 * * *", "exact": 3}}}"#;
    check(
        night,
        "2026-03-28T12:00:00Z",
        24,
        &[
            ("2026-03-28T12:00:00Z", 1, "ScheduleBase"),
            ("2026-03-29T00:00:00Z", 3, "ScheduleExact"),
            ("2026-03-29T03:00:00Z", 1, "ScheduleBase"),
        ],
    );
}

#[test]
fn a_lead_orders_before_the_window_opens_and_takes_nothing_away() {
    let json = r#"{"timezone": "Etc/UTC", "replicas": 4, "windows": {
        "night": {"start": "0 20 * * *", "end": "0 8 * * *", "ceiling": 1},
        "day": {"start": "0 8 * * *", "end": "0 20 * * *", "floor": 6, "leadTime": "10m"},
        "batch": {"start": "0 22 * * *", "end": "0 23 * * *", "exact": 2, "leadTime": "299500ms"}}}"#;
    check(
        json,
        "2026-03-02T07:00:00Z",
        17,
        &[
            ("2026-03-02T07:00:00Z", 1, "ScheduleCeiling"),
            ("2026-03-02T07:50:00Z", 6, "ScheduleLead"),
            ("2026-03-02T20:00:00Z", 1, "ScheduleCeiling"),
            ("2026-03-02T21:55:00Z", 2, "ScheduleLead"),
            ("2026-03-02T23:00:00Z", 1, "ScheduleCeiling"),
        ],
    );
    // An exact count that is lower waits for its window.
    let lower = r#"{"timezone": "Etc/UTC", "replicas": 4, "windows": {
        "low": {"start": "0 8 * * *", "end": "0 9 * * *", "exact": 1, "leadTime": "10m"}}}"#;
    check(
        lower,
        "2026-03-02T07:30:00Z",
        1,
        &[("2026-03-02T07:30:00Z", 4, "ScheduleBase"), ("2026-03-02T08:00:00Z", 1, "ScheduleExact")],
    );
}

#[test]
fn holidays_are_dates_of_the_zone() {
    // New Year is a Thursday: no window on it, and only on it.
    let json = |days: &str| {
        format!(
            r#"{{"timezone": "Asia/Tokyo", "replicas": 1, "windows": {{
                "w": {{"start": "0 9 * * *", "end": "0 15 * * *", "floor": 5, {days}}}}}}}"#
        )
    };
    let opens = |days: &str| -> Vec<String> {
        let start = "2025-12-31T12:00:00Z";
        let found = orders(&mut schedule(&json(days), start), start, 3 * 24);
        found.into_iter().filter(|(_, replicas, _)| *replicas == 5).map(|(at, ..)| at).collect()
    };
    assert_eq!(opens(r#""exceptOn": ["2026-01-01"]"#), ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]);
    assert_eq!(opens(r#""exceptOn": ["2026-01-02", "2026-01-01"]"#), ["2026-01-03T00:00:00Z"]);
    assert_eq!(opens(r#""onlyOn": ["2026-01-02"]"#), ["2026-01-02T00:00:00Z"]);
    // The date is that of the opening: at midnight UTC it is 9 in the morning of the same date there, and the window of
    // the evening before goes on into a holiday.
    let night = r#"{"timezone": "America/New_York", "replicas": 1, "windows": {
        "night": {"start": "0 20 * * *", "end": "0 6 * * *", "floor": 5, "exceptOn": ["2026-12-25"]}}}"#;
    check(
        night,
        "2026-12-24T12:00:00Z",
        48,
        &[
            ("2026-12-24T12:00:00Z", 1, "ScheduleBase"),
            ("2026-12-25T01:00:00Z", 5, "ScheduleFloor"),
            ("2026-12-25T11:00:00Z", 1, "ScheduleBase"),
        ],
    );
}

#[test]
fn of_open_windows_the_highest_floor_and_the_lowest_ceiling_count_and_an_exact_count_replaces_both() {
    let always = |counts: &str| {
        let windows: Vec<String> = counts
            .split(' ')
            .enumerate()
            .map(|(index, count)| {
                let (key, count) = count.split_once('=').expect("a count");
                format!(r#""w{index}": {{"start": "0 0 * * *", "end": "0 0 * * *", "{key}": {count}}}"#)
            })
            .collect();
        format!(r#"{{"timezone": "Etc/UTC", "replicas": 4, "windows": {{{}}}}}"#, windows.join(", "))
    };
    let check = |counts: &str, expected: u32, rule: &str, by: &str| {
        let mut policy = schedule(&always(counts), "2026-03-02T07:00:00Z");
        assert_eq!(policy.initial(), (expected, 0), "{counts}");
        let (_, decision) = policy.timed(&World::ready(0, 4).view()).expect("it begins");
        assert_eq!((decision.replicas, decision.why.rule), (expected, rule), "{counts}");
        assert!(decision.why.detail.starts_with(by), "{counts}: {}", decision.why.detail);
    };
    check("floor=3", 4, "ScheduleBase", "4 replicas");
    check("floor=5 floor=7 floor=6", 7, "ScheduleFloor", "7 by `w1`; without it 4: 4 replicas");
    check("ceiling=3 ceiling=2", 2, "ScheduleCeiling", "2 by `w1`");
    check("floor=2 ceiling=3", 3, "ScheduleCeiling", "3 by `w1`");
    check("floor=7 ceiling=7", 7, "ScheduleFloor", "7 by `w0`");
    check("floor=6 exact=1 exact=1", 1, "ScheduleExact", "1 by `w1`");
    check("exact=0", 0, "ScheduleExact", "0 by `w0`");
}

#[test]
fn over_a_policy_windows_bound_what_it_says() {
    let json = r#"{"timezone": "Etc/UTC", "over": {"fixed": {"replicas": 4}}, "windows": {
        "day": {"start": "0 8 * * *", "end": "0 9 * * *", "floor": 6}}}"#;
    let mut policy = schedule(json, "2026-03-02T07:00:00Z");
    assert_eq!((policy.initial(), policy.maximum()), ((4, 0), Some(6)));
    assert_eq!(policy.loops().iter().map(|l| l.name).collect::<Vec<_>>(), ["fixed"]);
    let mut at =
        |s: u64, replicas: u32| policy.decide(0, &World::ready(s, replicas).view()).map(|d| d.replicas);
    // Silence below is silence here.
    assert_eq!(at(0, 4), None);
    assert_eq!(at(15, 4), None);
    assert_eq!(at(3599, 4), None);
    assert_eq!(at(3600, 4), Some(6));
    assert_eq!(at(3615, 6), Some(6));
    assert_eq!(at(7199, 6), Some(6));
    assert_eq!(at(7200, 6), Some(4));
}

#[test]
fn a_policy_that_was_switched_off_for_a_while_comes_back() {
    let json = r#"{"timezone": "Etc/UTC", "over": {"hpa": {"minReplicas": 2, "maxReplicas": 9, "metrics": [{"type": "External",
        "external": {"metric": {"name": "gateway_queue_length"}, "target": {"type": "AverageValue", "averageValue": 1}}}]}},
        "windows": {"night": {"start": "0 20 * * *", "end": "0 6 * * *", "exact": 0}}}"#;
    let mut policy = schedule(json, "2026-03-02T19:00:00Z");
    let mut at = |s: u64, replicas: u32| {
        let world = World::ready(s, replicas).with_gateway("gateway_queue_length", 3.0);
        policy.decide(0, &world.view()).map(|d| (d.replicas, d.why.rule))
    };
    assert_eq!(at(60, 2).map(|(replicas, _)| replicas), Some(3));
    assert_eq!(at(3_600, 3), Some((0, "ScheduleExact")));
    // An HPA that sees none ordered takes itself for switched off; this one is shown the three that it wants.
    assert_eq!(at(3_615, 0), Some((0, "ScheduleExact")));
    assert_eq!(at(11 * 3_600, 0).map(|(replicas, _)| replicas), Some(3));
}

#[test]
fn regular_windows_are_those_of_kedas_cron_trigger() {
    let cases = [
        ("0 8 * * 1-5", "0 18 * * 1-5", "Europe/Berlin"),
        ("30 9 * * 1-5", "0 16 * * 1-5", "America/New_York"),
        ("0 22 * * *", "0 6 * * *", "Asia/Kolkata"),
        ("0 0 1 * *", "0 0 3 * *", "Etc/UTC"),
        ("*/20 * * * *", "10-59/20 * * * *", "Australia/Lord_Howe"),
    ];
    for (start, end, zone) in cases {
        let metadata = [("start", start), ("end", end), ("timezone", zone), ("desiredReplicas", "5")];
        let metadata: BTreeMap<String, String> =
            metadata.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let trigger = CronTrigger::from_metadata(&metadata).expect("a trigger");
        let json = format!(
            r#"{{"timezone": "{zone}", "replicas": 1,
                "windows": {{"w": {{"start": "{start}", "end": "{end}", "floor": 5}}}}}}"#
        );
        // Over both changes of the clock of 2026.
        for begin in
            ["2026-03-05T00:00:00Z", "2026-03-27T00:00:00Z", "2026-10-23T00:00:00Z", "2026-10-30T00:00:00Z"]
        {
            let begin = second(begin);
            let mut calendar = spec(&json).windows(begin).remove(0).calendar;
            for minute in 0..3 * 24 * 60 {
                for now in [begin + minute * 60 - 1, begin + minute * 60] {
                    // Both read the hour that comes twice as the library does, which has it twice.
                    let is_open = calendar.at(now.max(begin)) == Standing::Open;
                    assert_eq!(is_open, trigger.is_active(now.max(begin)), "{start} {zone} {now}");
                }
            }
        }
    }
}

/// Paths and messages of the faults.
fn faults(json: &str, setting: &Setting) -> Vec<(String, String)> {
    let found = PolicySpec::Schedule(Box::new(spec(json))).check(setting);
    found.into_iter().map(|(path, message, _)| (path, message)).collect()
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let check = |json: &str, expected: &[(&str, &str)]| {
        let found = faults(json, &setting("2026-03-02T07:00:00Z"));
        let found: Vec<_> = found.iter().map(|(path, message)| (path.as_str(), message.as_str())).collect();
        assert_eq!(found, expected, "{json}");
    };
    let window = |text: &str| {
        format!(
            r#"{{"timezone": "Etc/UTC", "replicas": 1, "windows": {{"w": {{"start": "0 8 * * *", "end": "0 9 * * *", {text}}}}}}}"#
        )
    };
    check(&window(r#""floor": 2"#), &[]);
    check(
        &window(r#""leadTime": "1m""#),
        &[
            ("schedule.windows.w", "a window that says nothing of replicas"),
            (
                "schedule.windows.w.leadTime",
                "a lead orders what a window will need, and a ceiling needs nothing",
            ),
        ],
    );
    check(
        &window(r#""floor": 3, "ceiling": 2"#),
        &[("schedule.windows.w.ceiling", "at least 3 and at most 2 replicas")],
    );
    check(&window(r#""floor": 0"#), &[("schedule.windows.w.floor", "a floor of 0 raises nothing")]);
    check(
        &window(r#""exact": 3, "ceiling": 4"#),
        &[("schedule.windows.w.exact", "an exact count beside a floor or a ceiling of the same window")],
    );
    check(
        &window(r#""floor": 2, "exceptOn": ["2026-02-30", "2026-12-25"], "onlyOn": ["Xmas"]"#),
        &[
            ("schedule.windows.w.exceptOn[0]", "`2026-02-30` is not a date"),
            ("schedule.windows.w.onlyOn[0]", "`Xmas` is not a date"),
            (
                "schedule.windows.w.exceptOn",
                "`exceptOn` beside `onlyOn`: windows open on the dates of `onlyOn` alone",
            ),
        ],
    );
    check(
        r#"{"timezone": "America/NewYork", "replicas": 1, "over": {"fixed": {"replicas": 0}}, "windows": {
            "w": {"start": "0 25 * * *", "end": "0 9 * *", "timezone": "Mars", "floor": 2}}}"#,
        &[
            ("schedule.replicas", "`replicas` and `over` both say how many there are outside of windows"),
            (
                "schedule.timezone",
                "`America/NewYork` is not an IANA time zone; write e.g. Etc/UTC, Europe/Berlin",
            ),
            ("schedule.windows.w.start", "`25` is outside of 0 to 23"),
            (
                "schedule.windows.w.end",
                "expected 5 fields, found 4: minute hour day-of-month month day-of-week",
            ),
            (
                "schedule.windows.w.timezone",
                "`Mars` is not an IANA time zone; write e.g. Etc/UTC, Europe/Berlin",
            ),
            ("schedule.over.fixed.replicas", "0 replicas serve nothing"),
        ],
    );
    check(
        r#"{"timezone": "Etc/UTC", "windows": {}}"#,
        &[
            ("schedule", "nothing says how many replicas there are outside of windows"),
            ("schedule.windows", "a schedule without a window"),
        ],
    );
    let unknown = faults(&window(r#""floor": 2"#), &Setting::default());
    assert_eq!(
        unknown,
        [(
            "schedule.windows".to_owned(),
            "a schedule, and nothing says what time it is at the start".to_owned()
        )]
    );
}

#[test]
fn windows_that_never_open_or_close_are_refused() {
    let check = |start: &str, end: &str, more: &str, expected: &[(&str, &str)]| {
        let json = format!(
            r#"{{"timezone": "Etc/UTC", "replicas": 1, "windows": {{"w": {{"start": "{start}", "end": "{end}", "floor": 2{more}}}}}}}"#
        );
        let found = faults(&json, &setting("2026-03-02T08:30:00Z"));
        let found: Vec<_> = found.iter().map(|(path, message)| (path.as_str(), message.as_str())).collect();
        assert_eq!(found, expected, "{start} {end} {more}");
    };
    check(
        "0 0 31 2 *",
        "0 9 * * *",
        "",
        &[("schedule.windows.w.start", "`w` never opens from the start of the run on")],
    );
    check("0 8 * * *", "0 9 31 2 *", "", &[("schedule.windows.w.end", "`w` opens and never closes")]);
    let never = "`w` never opens on a date of `onlyOn` from the start of the run on";
    check(
        "0 8 * * 1-5",
        "0 9 * * *",
        r#", "onlyOn": ["2026-03-07", "2026-03-01"]"#,
        &[("schedule.windows.w.start", never)],
    );
    // The last window is open as the run starts.
    check("0 8 * * 1-5", "0 9 * * *", r#", "onlyOn": ["2026-03-02"]"#, &[]);
    check("0 8 * * 1-5", "0 9 * * *", r#", "onlyOn": ["2026-03-07", "2026-03-09"]"#, &[]);
}

#[test]
fn contradictions_are_found_and_their_first_instant_is_named() {
    let two = |a: &str, b: &str| {
        format!(
            r#"{{"timezone": "America/New_York", "replicas": 1, "windows": {{"a": {{{a}}}, "b": {{{b}}}}}}}"#
        )
    };
    let check = |a: &str, b: &str, expected: &[(&str, &str)]| {
        let found = faults(&two(a, b), &setting("2026-03-02T12:00:00Z"));
        let found: Vec<_> = found.iter().map(|(path, message)| (path.as_str(), message.as_str())).collect();
        assert_eq!(found, expected, "{a} {b}");
    };
    let day = |count: &str| format!(r#""start": "0 8 * * *", "end": "0 18 * * *", {count}"#);
    check(
        &day(r#""exact": 3"#),
        &day(r#""exact": 4"#),
        &[(
            "schedule.windows.b.exact",
            "`a` and `b` are both open at 2026-03-02T08:00:00-05:00[America/New_York]: exactly 3 and exactly 4 replicas",
        )],
    );
    check(&day(r#""exact": 3"#), &day(r#""exact": 3"#), &[]);
    check(&day(r#""exact": 3"#), &day(r#""floor": 4"#), &[]);
    check(
        &day(r#""floor": 5"#),
        &day(r#""ceiling": 4"#),
        &[(
            "schedule.windows.b.ceiling",
            "`a` and `b` are both open at 2026-03-02T08:00:00-05:00[America/New_York]: at least 5 and at most 4 replicas",
        )],
    );
    check(
        &day(r#""ceiling": 4"#),
        &day(r#""floor": 5"#),
        &[(
            "schedule.windows.b.floor",
            "`a` and `b` are both open at 2026-03-02T08:00:00-05:00[America/New_York]: at least 5 and at most 4 replicas",
        )],
    );
    check(&day(r#""floor": 4"#), &day(r#""ceiling": 4"#), &[]);
    // One ends as the other begins; with a lead that is so still.
    let night = r#""start": "0 18 * * *", "end": "0 8 * * *", "exact": 9, "leadTime": "1h""#;
    check(&day(r#""exact": 3"#), night, &[]);
    // Once a year, on a date; and not with the date taken out.
    let holiday = r#""start": "0 0 25 12 *", "end": "0 0 26 12 *", "exact": 1"#;
    check(
        &day(r#""exact": 3"#),
        holiday,
        &[(
            "schedule.windows.b.exact",
            "`a` and `b` are both open at 2026-12-25T08:00:00-05:00[America/New_York]: exactly 3 and exactly 1 replicas",
        )],
    );
    check(&day(r#""exact": 3, "exceptOn": ["2026-12-25"]"#), holiday, &[]);
    // In summer only do these meet, which begins on the day before.
    let a = r#""start": "0 1 * * *", "end": "59 1 * * *", "exact": 2"#;
    let b = r#""start": "0 5 * * *", "end": "30 5 * * *", "exact": 4, "timezone": "Etc/UTC""#;
    check(
        a,
        b,
        &[(
            "schedule.windows.b.exact",
            "`a` and `b` are both open at 2026-03-09T05:00:00+00:00[Etc/UTC]: exactly 2 and exactly 4 replicas",
        )],
    );
}

/// The local date and the minute of an instant, in a zone.
fn local(second: i64, zone: &TimeZone) -> jiff::civil::DateTime {
    zone.to_datetime(jiff::Timestamp::from_second(second).expect("within range"))
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    /// Against every minute of a few days over the change of the clock: a window is open if some start on a date that will do
    /// came before, and no end since; it leads if such a start comes within the lead.
    #[test]
    fn windows_are_those_of_every_minute(
        starts in proptest::collection::vec((0u32..24, 0u32..3), 1..4),
        ends in proptest::collection::vec((0u32..24, 0u32..3), 1..4),
        days in 0usize..3,
        marked in proptest::collection::btree_set(26i8..31, 1..4),
        lead_minutes in 0i64..300,
        begin_minute in 0i64..1_440,
    ) {
        let cron = |times: &[(u32, u32)]| {
            let of = |part: fn(&(u32, u32)) -> u32| times.iter().map(|time| part(time).to_string()).collect::<Vec<_>>().join(",");
            format!("{} {} * * *", of(|(_, third)| third * 20), of(|(hour, _)| *hour))
        };
        let (start, end) = (cron(&starts), cron(&ends));
        let zone = cron::time_zone("Europe/Berlin").expect("it is in the database");
        let dates: std::collections::BTreeSet<_> = marked.iter().map(|day| jiff::civil::date(2026, 3, *day)).collect();
        let days = [Days::All, Days::Except(dates.clone()), Days::Only(dates)][days].clone();
        let will_do = |second: i64| match &days {
            Days::All => true,
            Days::Except(dates) => !dates.contains(&local(second, &zone).date()),
            Days::Only(dates) => dates.contains(&local(second, &zone).date()),
        };
        // Berlin puts the clock forward on the 29th.
        let first = second("2026-03-26T00:00:00Z");
        let minutes: Vec<i64> = (0..6 * 1_440).map(|minute| first + minute * 60).collect();
        let due = |text: &str| -> Vec<bool> {
            let schedule = Schedule::parse(text).expect("five fields");
            let mut next = schedule.next(first - 1, &zone);
            let mut is_due = |at: &i64| {
                let is_due = next == Some(*at);
                next = if is_due { schedule.next(*at, &zone) } else { next };
                is_due
            };
            minutes.iter().map(&mut is_due).collect()
        };
        let (is_start, is_end) = (due(&start), due(&end));
        let begin = 1_440 + begin_minute;
        let schedules = (Schedule::parse(&start).expect("five fields"), Schedule::parse(&end).expect("five fields"));
        let mut calendar =
            Calendar::new(schedules, zone.clone(), days.clone(), lead_minutes * 60, first + begin * 60);
        let mut change = None;
        let mut before = None;
        let starts = |at: usize| is_start[at] && will_do(minutes[at]);
        let mut is_open = false;
        for index in 0..5 * 1_440 {
            is_open = starts(index) || (is_open && !is_end[index]);
            if (index as i64) < begin {
                continue;
            }
            let leads = (index + 1..=index + lead_minutes as usize).any(starts);
            let expected = match (is_open, leads) {
                (true, _) => Standing::Open,
                (false, true) => Standing::Leading,
                (false, false) => Standing::Closed,
            };
            let now = minutes[index];
            let found = calendar.at(now);
            proptest::prop_assert_eq!(found, expected, "{} to {} at {}", start, end, local(now, &zone));
            // It changes at no other instant than it says.
            proptest::prop_assert!(before.is_none_or(|before| before == found) || change == Some(now));
            if change.is_none_or(|at| at <= now) {
                change = calendar.next_change(now);
            }
            before = Some(found);
        }
    }
}
