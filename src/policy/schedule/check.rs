//! What is wrong with a schedule: what cannot be read, windows that never open, and windows that contradict each other.

use std::collections::BTreeSet;

use jiff::civil::Date;

use super::calendar::Standing;
use super::{ScheduleSpec, Window, WindowSpec, shown};
use crate::policy::cron::{self, Schedule, ScheduleError};
use crate::policy::{Fault, Setting};

/// How far from the start contradictions are looked for, s: what comes once a year comes once in it.
const HORIZON_S: i64 = 366 * 86_400;
/// Most changes that are followed while looking for them: one every 17 minutes for as long.
const MOST_CHANGES: usize = 31_000;

/// A date, `2026-12-25`, and nothing but a date.
pub(super) fn date(text: &str) -> Option<Date> {
    let plain = text.len() == 10 && text.is_ascii();
    plain.then(|| text.parse().ok()).flatten()
}

/// Collects faults below a path.
struct Findings {
    faults: Vec<Fault>,
    at: String,
}

impl Findings {
    fn add(&mut self, field: &str, message: impl Into<String>, help: impl Into<String>) {
        let path = match (self.at.as_str(), field) {
            ("", field) => field.to_owned(),
            (at, "") => at.to_owned(),
            (at, field) => format!("{at}.{field}"),
        };
        self.faults.push((path, message.into(), help.into()));
    }
}

impl ScheduleSpec {
    /// Everything that is wrong with it but for the policy below; paths are relative to it.
    pub(in crate::policy) fn check_windows(&self, setting: &Setting) -> Vec<Fault> {
        let mut findings = Findings { faults: Vec::new(), at: String::new() };
        match (&self.replicas, &self.over) {
            (Some(_), Some(_)) => findings.add(
                "replicas",
                "`replicas` and `over` both say how many there are outside of windows",
                "leave one of them out",
            ),
            (None, None) => findings.add(
                "",
                "nothing says how many replicas there are outside of windows",
                "write `replicas: 2`, or the policy below: `over: { hpa: .. }`",
            ),
            _ => {}
        }
        if self.windows.is_empty() {
            findings.add("windows", "a schedule without a window", "write one, or use its policy alone");
        }
        if let Err(error) = cron::time_zone(&self.timezone) {
            findings.add("timezone", error.to_string(), "");
        }
        if setting.start_ms.is_none() {
            let message = "a schedule, and nothing says what time it is at the start";
            findings.add("windows", message, "set `startTime: 2026-03-02T08:00:00Z` in the scenario");
        }
        for (name, window) in &self.windows {
            findings.at = format!("windows.{name}");
            window.check(&mut findings);
        }
        if findings.faults.is_empty()
            && let Some(start_ms) = setting.start_ms
        {
            self.never(start_ms.div_euclid(1000), &mut findings);
            self.contradictions(start_ms.div_euclid(1000), &mut findings);
        }
        findings.faults
    }

    /// Windows that never open, or never close.
    fn never(&self, from: i64, findings: &mut Findings) {
        for (name, window) in &self.windows {
            findings.at = format!("windows.{name}");
            let Some(mut calendar) = window.calendar(self, from) else { continue };
            if calendar.at(from) != Standing::Open && !calendar.opens_after(from) {
                let dates = if window.only_on.is_empty() { "" } else { " on a date of `onlyOn`" };
                let message = format!("`{name}` never opens{dates} from the start of the run on");
                findings.add("start", message, "write when the window opens, e.g. `30 9 * * 1-5`");
            } else if calendar.opens_after(from) && calendar.first(from).is_none() {
                let message = format!("`{name}` opens and never closes");
                findings.add("end", message, "write when the window closes, e.g. `0 16 * * 1-5`");
            }
        }
    }

    /// Windows that are open at the same time and cannot both be followed.
    fn contradictions(&self, from: i64, findings: &mut Findings) {
        let mut windows = self.windows(from);
        let count = windows.len();
        let pairs = (0..count).flat_map(|b| (0..b).map(move |a| (a, b)));
        let mut left: Vec<(usize, usize)> =
            pairs.filter(|(a, b)| contradict(&windows[*a], &windows[*b]).is_some()).collect();
        let concerned: BTreeSet<usize> = left.iter().flat_map(|(a, b)| [*a, *b]).collect();
        let mut now = from;
        for _ in 0..MOST_CHANGES {
            if left.is_empty() {
                return;
            }
            let open: Vec<bool> = windows
                .iter_mut()
                .enumerate()
                .map(|(index, window)| {
                    concerned.contains(&index) && window.calendar.at(now) == Standing::Open
                })
                .collect();
            left.retain(|&(a, b)| {
                if !(open[a] && open[b]) {
                    return true;
                }
                let Some((field, what)) = contradict(&windows[a], &windows[b]) else { return false };
                let (first, second) = (&windows[a].name, &windows[b].name);
                findings.at = format!("windows.{second}");
                let zone = cron::time_zone(self.windows[b].zone_name(self)).ok();
                let at = zone.map_or_else(|| now.to_string(), |zone| shown(now, &zone));
                findings.add(
                    field,
                    format!("`{first}` and `{second}` are both open at {at}: {what}"),
                    "let one close before the other opens, or keep the date apart: `exceptOn`, `onlyOn`",
                );
                false
            });
            let next = concerned.iter().filter_map(|index| windows[*index].calendar.next_change(now)).min();
            match next.filter(|next| next - from <= HORIZON_S) {
                Some(next) => now = next,
                None => return,
            }
        }
    }
}

/// Why two windows cannot both be followed: at which field of the second, and what.
fn contradict(a: &Window, b: &Window) -> Option<(&'static str, String)> {
    match (a.exact, b.exact) {
        (Some(a), Some(b)) if a != b => {
            return Some(("exact", format!("exactly {a} and exactly {b} replicas")));
        }
        _ => {}
    }
    let crossed = |floor: Option<u32>, ceiling: Option<u32>| {
        let (floor, ceiling) = (floor?, ceiling?);
        (floor > ceiling).then(|| format!("at least {floor} and at most {ceiling} replicas"))
    };
    let low = crossed(b.floor, a.ceiling).map(|what| ("floor", what));
    low.or_else(|| crossed(a.floor, b.ceiling).map(|what| ("ceiling", what)))
}

impl WindowSpec {
    fn check(&self, findings: &mut Findings) {
        let fields = |error: &ScheduleError| match error {
            ScheduleError::Zone(_) => "",
            _ => "write five fields, e.g. `30 9 * * 1-5`",
        };
        for (key, text) in [("start", &self.start), ("end", &self.end)] {
            if let Err(error) = Schedule::parse(text) {
                findings.add(key, error.to_string(), fields(&error));
            }
        }
        if let Some(Err(error)) = self.timezone.as_deref().map(cron::time_zone) {
            findings.add("timezone", error.to_string(), "");
        }
        self.check_counts(findings);
        for (key, dates) in [("exceptOn", &self.except_on), ("onlyOn", &self.only_on)] {
            for (index, text) in dates.iter().enumerate().filter(|(_, text)| date(text).is_none()) {
                let message = format!("`{text}` is not a date");
                findings.add(&format!("{key}[{index}]"), message, "write e.g. 2026-12-25");
            }
        }
        if !self.except_on.is_empty() && !self.only_on.is_empty() {
            let message = "`exceptOn` beside `onlyOn`: windows open on the dates of `onlyOn` alone";
            findings.add("exceptOn", message, "leave one of them out");
        }
    }

    fn check_counts(&self, findings: &mut Findings) {
        match (self.floor, self.ceiling, self.exact) {
            (None, None, None) => findings.add(
                "",
                "a window that says nothing of replicas",
                "write `floor: 6`, `ceiling: 2` or `exact: 4`",
            ),
            (None, None, Some(_)) => {}
            (_, _, Some(_)) => findings.add(
                "exact",
                "an exact count beside a floor or a ceiling of the same window",
                "leave the bounds out: they would never be looked at",
            ),
            (Some(floor), Some(ceiling), None) if floor > ceiling => findings.add(
                "ceiling",
                format!("at least {floor} and at most {ceiling} replicas"),
                "write a ceiling that is not below the floor",
            ),
            _ => {}
        }
        if self.floor == Some(0) {
            findings.add("floor", "a floor of 0 raises nothing", "write at least 1, or leave it out");
        }
        if !self.lead_time.is_zero() && self.floor.is_none() && self.exact.is_none() {
            let message = "a lead orders what a window will need, and a ceiling needs nothing";
            findings.add("leadTime", message, "leave it out");
        }
    }
}
