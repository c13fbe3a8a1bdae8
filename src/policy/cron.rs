//! Cron schedules as the library that KEDA uses reads them, and when they are next due: for KEDA's cron trigger and for `schedule`.
//!
//! After robfig/cron v3 `parser.go` and `spec.go`, and Go's `time.Date` where a local time exists
//! twice or not at all. Not a crate: they differ in what a step does to a star, in names,
//! and at changes of the clock.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Why a schedule or a time zone cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields.
    #[error("expected 5 fields, found {0}: minute hour day-of-month month day-of-week")]
    Fields(usize),
    /// An expression that is none.
    #[error("`{0}` is not a number, a name, a range or a step")]
    Expression(String),
    /// An expression beyond what its field allows.
    #[error("`{expression}` is outside of {low} to {high}")]
    Range {
        /// The expression.
        expression: String,
        /// Lowest value of the field.
        low: u32,
        /// Highest value of the field.
        high: u32,
    },
    /// A time zone that is not in the database.
    #[error("`{0}` is not an IANA time zone; write e.g. Etc/UTC, Europe/Berlin")]
    Zone(String),
}

/// A field of a schedule: the values it allows, and whether it was written as a star.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    values: u64,
    star: bool,
}

impl Field {
    fn allows(self, value: u32) -> bool {
        value < 64 && self.values & (1 << value) != 0
    }
}

/// What a field may hold.
struct Bounds {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MINUTE: Bounds = Bounds { low: 0, high: 59, names: &[] };
const HOUR: Bounds = Bounds { low: 0, high: 23, names: &[] };
const DAY_OF_MONTH: Bounds = Bounds { low: 1, high: 31, names: &[] };
const MONTH: Bounds = Bounds {
    low: 1,
    high: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const DAY_OF_WEEK: Bounds =
    Bounds { low: 0, high: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Bounds {
    fn field(&self, text: &str) -> Result<Field, ScheduleError> {
        let mut field = Field { values: 0, star: false };
        for expression in text.split(',').filter(|part| !part.is_empty()) {
            let part = self.expression(expression)?;
            field.values |= part.values;
            field.star |= part.star;
        }
        Ok(field)
    }

    /// `*`, `?`, a value or a range, each with an optional step.
    fn expression(&self, expression: &str) -> Result<Field, ScheduleError> {
        let bad = || ScheduleError::Expression(expression.to_owned());
        let mut parts = expression.split('/');
        let (range, step_text) = (parts.next().unwrap_or_default(), parts.next());
        let mut ends = range.split('-');
        let (first, second) = (ends.next().unwrap_or_default(), ends.next());
        if parts.next().is_some() || ends.next().is_some() {
            return Err(bad());
        }
        let (low, mut high, mut star) = match (first, second) {
            ("*" | "?", _) => (self.low, self.high, true),
            (value, None) => {
                let value = self.value(value).ok_or_else(bad)?;
                (value, value, false)
            }
            (from, Some(to)) => (self.value(from).ok_or_else(bad)?, self.value(to).ok_or_else(bad)?, false),
        };
        let mut step = 1;
        if let Some(text) = step_text {
            step = number(text).filter(|step| *step > 0).ok_or_else(bad)?;
            // `N/step` goes on to the end of the field.
            if second.is_none() {
                high = self.high;
            }
            // `*/2` is no star: it restricts the day like any other list.
            star &= step <= 1;
        }
        if low < self.low || high > self.high || low > high {
            let expression = expression.to_owned();
            return Err(ScheduleError::Range { expression, low: self.low, high: self.high });
        }
        let values = (low..=high).step_by(step as usize).fold(0, |bits, value| bits | 1 << value);
        Ok(Field { values, star })
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        named.map(|index| index as u32 + self.low).or_else(|| number(text))
    }
}

/// A whole number as Go's `strconv.Atoi` reads it, unless it is negative.
fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

/// The time zone of an IANA name, from the database that is part of this program: results do not
/// depend on the machine's.
pub fn time_zone(name: &str) -> Result<TimeZone, ScheduleError> {
    let zone = TimeZoneDatabase::bundled().get(name).ok();
    // Names are looked up without regard to case here and with it upstream.
    zone.filter(|zone| zone.iana_name() == Some(name)).ok_or_else(|| ScheduleError::Zone(name.to_owned()))
}

/// A schedule: minute, hour, day of month, month, day of week.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    minute: Field,
    hour: Field,
    day_of_month: Field,
    month: Field,
    day_of_week: Field,
    /// `TZ=` before the fields; it overrides the trigger's.
    zone: Option<TimeZone>,
}

impl Schedule {
    /// Reads a schedule of five fields.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let (mut fields_text, mut zone) = (text, None);
        if let Some(rest) = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) {
            let (name, fields) = rest.split_once(' ').ok_or(ScheduleError::Fields(0))?;
            zone = Some(time_zone(name)?);
            fields_text = fields;
        }
        let fields: Vec<&str> = fields_text.split_whitespace().collect();
        let [minute, hour, day_of_month, month, day_of_week] = fields[..] else {
            return Err(ScheduleError::Fields(fields.len()));
        };
        Ok(Self {
            minute: MINUTE.field(minute)?,
            hour: HOUR.field(hour)?,
            day_of_month: DAY_OF_MONTH.field(day_of_month)?,
            month: MONTH.field(month)?,
            day_of_week: DAY_OF_WEEK.field(day_of_week)?,
            zone,
        })
    }

    /// The zone it is read in: its own, if it has one, or the one that is given.
    pub fn zone<'a>(&'a self, zone: &'a TimeZone) -> &'a TimeZone {
        self.zone.as_ref().unwrap_or(zone)
    }

    /// Days match if both fields do; of two that are both restricted, one is enough.
    fn day_matches(&self, at: DateTime) -> bool {
        let of_month = self.day_of_month.allows(at.day() as u32);
        let of_week = self.day_of_week.allows(at.weekday().to_sunday_zero_offset() as u32);
        if self.day_of_month.star || self.day_of_week.star {
            of_month && of_week
        } else {
            of_month || of_week
        }
    }

    /// The first instant strictly after one, both in seconds since 1970; `None` if there is none
    /// within five years. It is searched month by month, day by day and so on, as upstream does,
    /// because that decides what happens where the clock is put forward or back.
    pub fn next(&self, after: i64, zone: &TimeZone) -> Option<i64> {
        let mut clock = Clock { at: after.checked_add(1)?, zone: self.zone(zone) };
        let last_year = clock.local()?.year() + 5;
        // Smaller fields are set to their start once a greater one was moved.
        let mut moved = false;
        'wrap: loop {
            if clock.local()?.year() > last_year {
                return None;
            }
            while !self.month.allows(clock.local()?.month() as u32) {
                if !moved {
                    moved = true;
                    clock.set(clock.local()?.date().first_of_month(), 0)?;
                }
                clock.add_month()?;
                if clock.local()?.month() == 1 {
                    continue 'wrap;
                }
            }
            while !self.day_matches(clock.local()?) {
                if !moved {
                    moved = true;
                    clock.set(clock.local()?.date(), 0)?;
                }
                clock.add_day()?;
                if clock.local()?.day() == 1 {
                    continue 'wrap;
                }
            }
            while !self.hour.allows(clock.local()?.hour() as u32) {
                if !moved {
                    moved = true;
                    let local = clock.local()?;
                    clock.set(local.date(), local.hour())?;
                }
                clock.at += HOUR_S;
                if clock.local()?.hour() == 0 {
                    continue 'wrap;
                }
            }
            while !self.minute.allows(clock.local()?.minute() as u32) {
                if !moved {
                    moved = true;
                    clock.at -= clock.at.rem_euclid(MINUTE_S);
                }
                clock.at += MINUTE_S;
                if clock.local()?.minute() == 0 {
                    continue 'wrap;
                }
            }
            // The seconds are a field as well, which allows 0 only.
            if clock.local()?.second() == 0 {
                return Some(clock.at);
            }
            moved = true;
            clock.at += MINUTE_S - i64::from(clock.local()?.second());
        }
    }
}

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 3600;

/// An instant and the zone it is looked at in.
struct Clock<'a> {
    /// Seconds since 1970.
    at: i64,
    zone: &'a TimeZone,
}

impl Clock<'_> {
    fn offset(&self, at: i64) -> Option<i64> {
        let at = Timestamp::from_second(at).ok()?;
        Some(i64::from(self.zone.to_offset(at).seconds()))
    }

    fn local(&self) -> Option<DateTime> {
        Timestamp::from_second(self.at).ok().map(|at| self.zone.to_datetime(at))
    }

    /// Sets the local time to a full hour as Go's `time.Date` does: where it exists twice or not at
    /// all, with one of both offsets.
    fn set(&mut self, date: Date, hour: i8) -> Option<()> {
        let local = date.at(hour, 0, 0, 0);
        let seconds = TimeZone::UTC.to_timestamp(local).ok()?.as_second();
        let guess = seconds - self.offset(seconds)?;
        self.at = seconds - self.offset(guess)?;
        Some(())
    }

    fn add_month(&mut self) -> Option<()> {
        let local = self.local()?;
        let date = local.date();
        let (year, month) =
            if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
        self.set(Date::new(year, month, 1).ok()?, local.hour())
    }

    /// The next day at midnight, or at the hour that the clock skips midnight to.
    fn add_day(&mut self) -> Option<()> {
        let local = self.local()?;
        self.set(local.date().tomorrow().ok()?, local.hour())?;
        let hour = i64::from(self.local()?.hour());
        if hour > 12 {
            self.at += (24 - hour) * HOUR_S;
        } else {
            self.at -= hour * HOUR_S;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> i64 {
        text.parse::<Timestamp>().expect(text).as_second()
    }

    #[test]
    fn schedules_are_due_when_they_say() {
        let check = |schedule: &str, zone: &str, after: &str, expected: Option<&str>| {
            let zone = time_zone(zone).expect(zone);
            let next = Schedule::parse(schedule).expect(schedule).next(instant(after), &zone);
            assert_eq!(next, expected.map(instant), "{schedule} after {after}");
        };
        check("0 8 * * 1-5", "Etc/UTC", "2026-07-03T08:00:00Z", Some("2026-07-06T08:00:00Z"));
        check("0 8 * * 1-5", "Etc/UTC", "2026-07-03T07:59:59Z", Some("2026-07-03T08:00:00Z"));
        check("*/15 * * * *", "Etc/UTC", "2026-12-31T23:59:30Z", Some("2027-01-01T00:00:00Z"));
        check("0 0 29 2 *", "Etc/UTC", "2025-01-01T00:00:00Z", Some("2028-02-29T00:00:00Z"));
        check("0 0 31 2 *", "Etc/UTC", "2025-01-01T00:00:00Z", None);
        // One of both restricted days is enough, unless the other is a star.
        check("0 0 13 * Fri", "Etc/UTC", "2026-07-01T00:00:00Z", Some("2026-07-03T00:00:00Z"));
        check("0 0 13 * *", "Etc/UTC", "2026-07-01T00:00:00Z", Some("2026-07-13T00:00:00Z"));
        check("TZ=Asia/Kolkata 30 9 * * *", "Etc/UTC", "2026-07-01T00:00:00Z", Some("2026-07-01T04:00:00Z"));
        check("30 9 * * *", "Asia/Kolkata", "2026-07-01T04:00:00Z", Some("2026-07-02T04:00:00Z"));
    }

    #[test]
    fn clocks_are_put_forward_and_back() {
        // Expected: robfig/cron v3's documented behaviour, spec_test.go "Daylight savings time".
        let zone = time_zone("America/New_York").expect("it is in the database");
        let check = |schedule: &str, after: &str, expected: &str| {
            let next = Schedule::parse(schedule).expect(schedule).next(instant(after), &zone);
            assert_eq!(next, Some(instant(expected)), "{schedule} after {after}");
        };
        // 2:30 does not exist on 2012-03-11: it is due the day after.
        check("30 2 11 Mar ?", "2012-03-11T05:00:00Z", "2013-03-11T06:30:00Z");
        // Hourly goes on through the gap, and through the hour that comes twice.
        check("0 * * * *", "2012-03-11T05:00:00Z", "2012-03-11T06:00:00Z");
        check("0 * * * *", "2012-03-11T06:00:00Z", "2012-03-11T07:00:00Z");
        check("0 * * * *", "2012-11-04T05:00:00Z", "2012-11-04T06:00:00Z");
        // 1:00 comes twice on 2012-11-04, and it is due both times.
        check("0 1 * * ?", "2012-11-04T04:00:00Z", "2012-11-04T05:00:00Z");
        check("0 1 * * ?", "2012-11-04T05:00:00Z", "2012-11-04T06:00:00Z");
        // 2:00 and 3:00 come once.
        check("0 2 * * ?", "2012-11-04T04:00:00Z", "2012-11-04T07:00:00Z");
        check("0 3 * * ?", "2012-11-04T04:00:00Z", "2012-11-04T08:00:00Z");
        check("0 0 * * ?", "2012-11-04T04:00:00Z", "2012-11-05T05:00:00Z");
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * 0 *",
            "* * * * 7",
            "-30 * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "1/2/3 * * * *",
            "1-2-3 * * * *",
            "a * * * *",
            "* * * * Monday",
            "1.5 * * * *",
            "@hourly",
            "TZ=Nowhere/Else * * * * *",
            "TZ=UTC",
        ] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
        for zone in ["", "Mars/Olympus", "etc/utc", "Local", "../etc/passwd"] {
            assert!(time_zone(zone).is_err(), "{zone}");
        }
    }

    proptest::proptest! {
        /// Against every minute of the two months after, in a zone without changes of the clock.
        #[test]
        fn the_next_instant_is_the_first_that_matches(
            fields in proptest::array::uniform5("\\*|[0-9]|1[0-2]|\\*/[1-7]|[1-3]-[4-6]|[2-4]/3"),
            after in 1_700_000_000i64..1_900_000_000,
        ) {
            let text = fields.join(" ");
            let (Ok(schedule), zone) = (Schedule::parse(&text), TimeZone::UTC) else { return Ok(()) };
            let matches = |at: i64| {
                let local = zone.to_datetime(Timestamp::from_second(at).expect("within range"));
                schedule.minute.allows(local.minute() as u32)
                    && schedule.hour.allows(local.hour() as u32)
                    && schedule.month.allows(local.month() as u32)
                    && schedule.day_matches(local)
            };
            let first_minute = after - after.rem_euclid(MINUTE_S) + MINUTE_S;
            let mut minutes = (0..60 * 24 * 60).map(|minute| first_minute + minute * MINUTE_S);
            let next = schedule.next(after, &zone);
            match minutes.find(|at| matches(*at)) {
                Some(expected) => proptest::prop_assert_eq!(next, Some(expected), "{} after {}", text, after),
                None => proptest::prop_assert!(next.is_none_or(|at| at > after + 60 * 86_400 && matches(at))),
            }
        }
    }
}
