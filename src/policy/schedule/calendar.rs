//! When the windows of a rule open and close, second by second.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::policy::cron::Schedule;

/// Longest time before the start in which a window's last end is looked for, s: six years, as long as cron schedules are followed.
const LOOK_BACK_S: i64 = 6 * 366 * 86_400;
/// The first look back, s; each further one is twice as long.
const FIRST_LOOK_S: i64 = 3600;

/// On which dates windows open, in the zone of their start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Days {
    /// On all.
    All,
    /// On all but these.
    Except(BTreeSet<Date>),
    /// On these.
    Only(BTreeSet<Date>),
}

impl Days {
    /// The first date from this one on, this one included, on which windows may open.
    fn from(&self, date: Date) -> Option<Date> {
        match self {
            Self::All => Some(date),
            Self::Except(dates) => {
                let mut at = date;
                while dates.contains(&at) {
                    at = at.tomorrow().ok()?;
                }
                Some(at)
            }
            Self::Only(dates) => dates.range(date..).next().copied(),
        }
    }
}

/// Where a rule stands at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No window is open, and none opens within its lead.
    Closed,
    /// No window is open, and one opens within its lead.
    Leading,
    /// A window is open.
    Open,
}

/// The windows of a rule. A window opens at an instant of `start` and is closed from the first instant of `end` after that on.
#[derive(Clone, Debug)]
pub struct Calendar {
    start: Schedule,
    end: Schedule,
    zone: TimeZone,
    days: Days,
    /// How long before it opens a window leads, s.
    lead_s: i64,
    /// The next opening, s since 1970.
    opens: Option<i64>,
    /// When the last window that opened closes.
    closes: Option<i64>,
}

impl Calendar {
    /// The windows as they stand from an instant on, s since 1970.
    pub fn new(
        (start, end): (Schedule, Schedule),
        zone: TimeZone,
        days: Days,
        lead_s: i64,
        from: i64,
    ) -> Self {
        let mut calendar = Self { start, end, zone, days, lead_s, opens: None, closes: None };
        // What opened before the last end is closed.
        let mut look = FIRST_LOOK_S;
        while look < LOOK_BACK_S
            && calendar.end.next(from - look, &calendar.zone).is_none_or(|end| end > from)
        {
            look *= 2;
        }
        calendar.opens = calendar.opening(from - look);
        calendar
    }

    /// The first window that opens after an instant: when, and when it closes. `None` if none does for as long as cron
    /// schedules are followed, or if it never closes.
    pub fn first(&self, after: i64) -> Option<(i64, i64)> {
        let opens = self.opening(after)?;
        Some((opens, self.end.next(opens, &self.zone)?))
    }

    /// Whether some window opens after an instant.
    pub fn opens_after(&self, after: i64) -> bool {
        self.opening(after).is_some()
    }

    /// The first opening strictly after an instant.
    fn opening(&self, mut after: i64) -> Option<i64> {
        let zone = self.start.zone(&self.zone);
        loop {
            let start = self.start.next(after, &self.zone)?;
            let date = zone.to_datetime(Timestamp::from_second(start).ok()?).date();
            let allowed = self.days.from(date)?;
            if allowed == date {
                return Some(start);
            }
            // On to the date that is allowed, whose first instant may be an opening.
            after = allowed.to_zoned(zone.clone()).ok()?.timestamp().as_second() - 1;
        }
    }

    /// Where the rule stands at an instant, s since 1970. Instants must not run back.
    pub fn at(&mut self, now: i64) -> Standing {
        while let Some(opens) = self.opens.filter(|opens| *opens <= now) {
            let closes = self.end.next(opens, &self.zone).unwrap_or(i64::MAX);
            self.closes = Some(closes);
            // What starts while a window is open changes nothing: it ends with it.
            self.opens = self.opening(opens.max(closes.saturating_sub(1)));
        }
        if self.closes.is_some_and(|closes| closes > now) {
            Standing::Open
        } else if self.opens.is_some_and(|opens| opens.saturating_sub(self.lead_s) <= now) {
            Standing::Leading
        } else {
            Standing::Closed
        }
    }

    /// The next instant after `now` at which it may stand otherwise; `now` is the instant that [`Calendar::at`] was asked last.
    pub fn next_change(&self, now: i64) -> Option<i64> {
        let lead = self.opens.map(|opens| opens.saturating_sub(self.lead_s));
        [self.closes, lead, self.opens].into_iter().flatten().filter(|at| *at > now).min()
    }
}
