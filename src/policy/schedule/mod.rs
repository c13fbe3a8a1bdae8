//! A schedule: floors, ceilings and exact counts by the clock and the calendar, alone or over another policy.

mod calendar;
mod check;
#[cfg(test)]
mod tests;

use indexmap::IndexMap;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::calendar::{Calendar, Days, Standing};
use super::api::{Decision, Path, Reason, View};
use super::cron::{self, Schedule};
use super::layer::{Demand, Layered, Rule};
use super::{PolicySpec, Setting};
use crate::kernel::{SimDuration, SimTime};

/// So many replicas at such times: windows between two cron schedules, each with a floor, a ceiling or an exact count.
/// Of the windows that are open, the highest floor and the lowest ceiling count; an exact count stands in place of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleSpec {
    /// The IANA time zone that windows are read in: `America/New_York`, `Etc/UTC`.
    pub timezone: String,
    /// Replicas while no window says otherwise; what windows bound. Without it, `over` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The policy below, in place of `replicas`: a floor raises its decision, a ceiling caps it, an exact count replaces it. It sees
    /// the replicas there are, as a controller would whose bounds somebody else moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<PolicySpec>,
    /// The windows, by a name each that the decision log shows.
    pub windows: IndexMap<String, WindowSpec>,
}

/// A rule of a schedule: windows that open and close by two cron schedules. A window opens at an instant of `start` and is open
/// until the first instant of `end` after it, at which it is closed. Cron is read as KEDA's cron trigger reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WindowSpec {
    /// When windows open: minute, hour, day of month, month, day of week.
    pub start: String,
    /// When they close; the instant itself is outside.
    pub end: String,
    /// The time zone of `start`, `end` and the dates. Default: the schedule's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// At least so many replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<u32>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<u32>,
    /// So many, whatever the policy below, floors and ceilings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<u32>,
    /// How long before a window opens its floor or exact count is ordered, so that it serves when the window opens: as long as a
    /// start takes. Until then it only adds replicas, whatever ceiling or exact count is still in force. Whole seconds,
    /// rounded up. Default: none.
    #[serde(default)]
    pub lead_time: SimDuration,
    /// Dates on which no window opens: holidays, `2026-12-25`. A window that opened on the day before stays open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except_on: Vec<String>,
    /// The only dates on which windows open: half days, a launch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_on: Vec<String>,
}

/// A rule that is read.
struct Window {
    name: String,
    floor: Option<u32>,
    ceiling: Option<u32>,
    exact: Option<u32>,
    calendar: Calendar,
}

impl WindowSpec {
    fn zone_name<'a>(&'a self, schedule: &'a ScheduleSpec) -> &'a str {
        self.timezone.as_deref().unwrap_or(&schedule.timezone)
    }

    fn lead_s(&self) -> i64 {
        i64::try_from(self.lead_time.as_nanos().div_ceil(1_000_000_000)).unwrap_or(i64::MAX)
    }

    /// Its windows from an instant on, s since 1970; `None` where something of it cannot be read.
    fn calendar(&self, schedule: &ScheduleSpec, from: i64) -> Option<Calendar> {
        let zone = cron::time_zone(self.zone_name(schedule)).ok()?;
        let (start, end) = (Schedule::parse(&self.start).ok()?, Schedule::parse(&self.end).ok()?);
        let dates = |texts: &[String]| texts.iter().map(|text| check::date(text)).collect::<Option<_>>();
        let days = match (&self.except_on[..], &self.only_on[..]) {
            ([], []) => Days::All,
            (except, []) => Days::Except(dates(except)?),
            ([], only) => Days::Only(dates(only)?),
            _ => return None,
        };
        Some(Calendar::new((start, end), zone, days, self.lead_s(), from))
    }
}

impl ScheduleSpec {
    fn windows(&self, from: i64) -> Vec<Window> {
        let window = |(name, spec): (&String, &WindowSpec)| {
            let &WindowSpec { floor, ceiling, exact, .. } = spec;
            let calendar = spec.calendar(self, from)?;
            Some(Window { name: name.clone(), floor, ceiling, exact, calendar })
        };
        self.windows.iter().filter_map(window).collect()
    }

    /// Most replicas that a window asks for.
    fn most(&self) -> Option<u32> {
        self.windows.values().flat_map(|window| [window.floor, window.exact]).flatten().max()
    }
}

/// A count and the window that says it.
type Bound<'a> = Option<(u32, &'a str)>;

/// What the windows say at an instant.
#[derive(Debug, PartialEq, Eq)]
struct Bounds<'a> {
    floor: Bound<'a>,
    ceiling: Bound<'a>,
    exact: Bound<'a>,
    /// The most that a window wants which opens within its lead.
    lead: Bound<'a>,
}

impl<'a> Bounds<'a> {
    fn of(windows: &'a mut [Window], now: i64) -> Self {
        let mut bounds = Self { floor: None, ceiling: None, exact: None, lead: None };
        let higher = |a: Bound<'a>, count: Option<u32>, name: &'a str| match (a, count) {
            (Some((most, _)), Some(count)) if most >= count => a,
            (_, Some(count)) => Some((count, name)),
            (_, None) => a,
        };
        for Window { name, floor, ceiling, exact, calendar } in windows {
            match calendar.at(now) {
                Standing::Closed => {}
                Standing::Leading => bounds.lead = higher(bounds.lead, exact.or(*floor), name),
                Standing::Open => {
                    bounds.exact = higher(bounds.exact, *exact, name);
                    bounds.floor = higher(bounds.floor, *floor, name);
                    if let Some(count) = *ceiling
                        && bounds.ceiling.is_none_or(|(least, _)| count < least)
                    {
                        bounds.ceiling = Some((count, name));
                    }
                }
            }
        }
        bounds
    }

    /// The count that becomes of one, and the rule and the window that made it so.
    fn settle(&self, below: u32) -> (u32, Option<(&'static str, &'a str)>) {
        let mut settled = (below, None);
        if let Some((count, name)) = self.floor.filter(|(count, _)| *count > settled.0) {
            settled = (count, Some(("ScheduleFloor", name)));
        }
        if let Some((count, name)) = self.ceiling.filter(|(count, _)| *count < settled.0) {
            settled = (count, Some(("ScheduleCeiling", name)));
        }
        if let Some((count, name)) = self.exact {
            settled = (count, Some(("ScheduleExact", name)));
        }
        if let Some((count, name)) = self.lead.filter(|(count, _)| *count > settled.0) {
            settled = (count, Some(("ScheduleLead", name)));
        }
        settled
    }
}

/// A running schedule's rule.
pub struct ScheduleRule {
    /// Replicas outside of windows, where no policy is below.
    base: Option<u32>,
    windows: Vec<Window>,
    most: Option<u32>,
    start_ms: i64,
    /// When the next window opens, leads or closes.
    next: Option<SimTime>,
}

/// A running schedule.
pub type ScheduleOver = Layered<ScheduleRule>;

impl ScheduleRule {
    /// The instant in whole seconds since 1970.
    fn second(&self, now: SimTime) -> i64 {
        let passed = i64::try_from(now.as_nanos() / 1_000_000).unwrap_or(i64::MAX);
        self.start_ms.saturating_add(passed).div_euclid(1000)
    }

    /// A second since 1970, which is not before the start, as an instant of the run.
    fn instant(&self, second: i64) -> SimTime {
        let millis = second.saturating_mul(1000).saturating_sub(self.start_ms);
        SimTime::from_nanos(u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000))
    }
}

/// From a spec that nothing is wrong with.
pub fn build(spec: &ScheduleSpec, setting: &Setting) -> ScheduleOver {
    let start_ms = setting.start_ms.unwrap_or(0);
    let rule = ScheduleRule {
        base: spec.replicas,
        windows: spec.windows(start_ms.div_euclid(1000)),
        most: spec.most(),
        start_ms,
        next: Some(SimTime::ZERO),
    };
    let over = spec.over.iter().map(|over| ("over".to_owned(), over.build(setting)));
    Layered::new(rule, over)
}

impl Rule for ScheduleRule {
    fn name(&self) -> &'static str {
        "schedule"
    }

    fn settle(&mut self, demands: &[Demand], view: &View<'_>) -> Decision {
        let now = self.second(view.now);
        let base = || {
            let replicas = self.base.unwrap_or(0);
            let why = Reason::new("ScheduleBase", format!("{replicas} replicas"));
            Decision { replicas, spare: 0, path: Path::Direct, why }
        };
        let mut decision = demands.first().map_or_else(base, |demand| demand.decision.clone());
        let below = decision.replicas;
        let bounds = Bounds::of(&mut self.windows, now);
        let (replicas, settled) = bounds.settle(below);
        if let Some((rule, name)) = settled {
            decision.why.rule = rule;
            decision.why.detail =
                format!("{replicas} by `{name}`; without it {below}: {}", decision.why.detail);
        }
        decision.replicas = replicas;
        let next = self.windows.iter().filter_map(|window| window.calendar.next_change(now)).min();
        self.next = next.map(|second| self.instant(second));
        decision
    }

    fn initial(&self, members: &[(u32, u32)]) -> (u32, u32) {
        let (below, spare) = members.first().copied().unwrap_or((self.base.unwrap_or(0), 0));
        let mut windows: Vec<Window> = self
            .windows
            .iter()
            .map(|window| Window { name: window.name.clone(), calendar: window.calendar.clone(), ..*window })
            .collect();
        let (replicas, _) = Bounds::of(&mut windows, self.second(SimTime::ZERO)).settle(below);
        (replicas, spare)
    }

    /// A ceiling holds in its windows only, so it is no bound of the whole.
    fn maximum(&self, members: &[Option<u32>]) -> Option<u32> {
        let below = members.first().copied().unwrap_or(self.base);
        below.max(self.most)
    }

    fn timer(&self) -> Option<SimTime> {
        self.next
    }

    fn speaks_first(&self) -> bool {
        self.base.is_some()
    }
}

/// The zone of a window, to show instants in.
fn shown(second: i64, zone: &TimeZone) -> String {
    let at = jiff::Timestamp::from_second(second).map(|at| at.to_zoned(zone.clone()));
    at.map_or_else(|_| second.to_string(), |at| at.to_string())
}
