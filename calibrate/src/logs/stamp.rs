//! Stamps of log lines: seven clocks, each in seconds of its own.

use std::sync::LazyLock;

use jiff::civil;
use regex::bytes::{Captures, Regex, RegexBuilder};
use serde::Deserialize;

/// A clock that lines are stamped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Clock {
    /// RFC 3339 at the head of a line: TGI, and any log of `kubectl logs --timestamps`.
    Iso,
    /// `INFO 11-28 11:45:51`: vLLM. No year.
    MonthDay,
    /// `[2025-11-10 19:59:08 TP0]`: SGLang.
    Bracket,
    /// `I0410 16:58:08.485508`: Triton. No year.
    Glog,
    /// `[11/28/2025-11:45:51]`: TensorRT-LLM.
    Trt,
    /// `time=2025-03-05T06:58:54.116Z`: Ollama.
    Logfmt,
    /// `0.02.498.112`, minutes, seconds, ms and µs since the process began: llama.cpp.
    Elapsed,
    /// When whoever started the process received the line.
    Received,
}

/// Clocks there are.
pub(super) const CLOCKS: usize = 8;

impl Clock {
    /// The smallest difference it shows, s.
    pub(super) fn resolution(self) -> f64 {
        match self {
            Self::MonthDay | Self::Bracket | Self::Trt => 1.0,
            Self::Logfmt | Self::Iso => 1e-3,
            Self::Glog | Self::Elapsed | Self::Received => 1e-6,
        }
    }
}

/// Reads stamps; remembers what a clock without a year needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Stamps {
    last: [Option<f64>; CLOCKS],
    /// 29 February was seen: what follows is a day later than in other years.
    leap: bool,
    /// Years that ended between two lines.
    years: f64,
}

const DAY_S: f64 = 86_400.0;
const YEAR_S: f64 = 365.0 * DAY_S;

static FORMS: LazyLock<[(Clock, Regex); 7]> = LazyLock::new(|| {
    let time = r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?P<f>[.,]\d{1,9})?";
    let date = r"(?P<Y>\d{4})-(?P<M>\d\d)-(?P<D>\d\d)";
    let zone = r"(?P<z>Z|[+-]\d\d:?\d\d)";
    let compile =
        |regex: String| RegexBuilder::new(&regex).unicode(false).build().expect("a test compiles the stamps");
    [
        (Clock::Iso, compile(format!(r"^\s*{date}T{time}{zone}(?:\s|$)"))),
        (
            Clock::MonthDay,
            compile(format!(
                r"(?:^|\s)(?:INFO|WARNING|DEBUG|ERROR|CRITICAL) (?P<M>\d\d)-(?P<D>\d\d) {time}\s"
            )),
        ),
        (Clock::Bracket, compile(format!(r"(?:^|\s)\[{date} {time}(?: [^\]]{{1,40}})?\]"))),
        (Clock::Glog, compile(format!(r"(?:^|\s)[IWEF](?P<M>\d\d)(?P<D>\d\d) {time}\s"))),
        (Clock::Trt, compile(format!(r"(?:^|\s)\[(?P<M>\d\d)/(?P<D>\d\d)/(?P<Y>\d{{4}})-{time}\]"))),
        (Clock::Logfmt, compile(format!(r"(?:^|\s)time={date}T{time}{zone}(?:\s|$)"))),
        (
            Clock::Elapsed,
            compile(r"^(?P<m>\d{1,6})\.(?P<s>\d\d)\.(?P<ms>\d{3})\.(?P<us>\d{3}) [DIWE] ".to_owned()),
        ),
    ]
});

impl Stamps {
    /// The stamps of a line, s on each clock's own scale. Received stays empty.
    pub(super) fn read(&mut self, line: &[u8]) -> [Option<f64>; CLOCKS] {
        let mut found = [None; CLOCKS];
        // Stamps stand at the head; a message that quotes one is no clock.
        let head = &line[..line.len().min(200)];
        for (clock, form) in FORMS.iter() {
            let seconds = form.captures(head).and_then(|groups| self.seconds(*clock, &groups));
            if let Some(seconds) = seconds {
                found[*clock as usize] = Some(seconds);
                self.last[*clock as usize] = Some(seconds);
            }
        }
        found
    }

    fn seconds(&mut self, clock: Clock, groups: &Captures<'_>) -> Option<f64> {
        let text = |name: &str| groups.name(name).and_then(|m| std::str::from_utf8(m.as_bytes()).ok());
        let number = |name: &str| text(name).and_then(|t| t.parse::<f64>().ok());
        if clock == Clock::Elapsed {
            let rest = number("ms")? / 1e3 + number("us")? / 1e6;
            return Some(number("m")? * 60.0 + number("s")? + rest);
        }
        let fraction = text("f").and_then(|t| format!("0.{}", &t[1..]).parse::<f64>().ok()).unwrap_or(0.0);
        let of_day = number("h")? * 3600.0 + number("m")? * 60.0 + number("s")? + fraction;
        let (month, day) = (number("M")? as i8, number("D")? as i8);
        let Some(year) = number("Y") else { return self.without_year(clock, month, day, of_day) };
        let date = civil::Date::new(year as i16, month, day).ok()?;
        let days = (date - civil::date(2000, 1, 1)).get_days();
        Some(f64::from(days) * DAY_S + of_day - text("z").map_or(0.0, offset_s))
    }

    /// A stamp without a year: a leap day counts once seen, and a year ends where months jump back.
    fn without_year(&mut self, clock: Clock, month: i8, day: i8, of_day: f64) -> Option<f64> {
        let leap_day = (month, day) == (2, 29);
        self.leap |= leap_day;
        let date = civil::Date::new(if leap_day { 2024 } else { 2023 }, month, day).ok()?;
        let mut days = f64::from(date.day_of_year() - 1);
        if self.leap && month > 2 {
            days += 1.0;
        }
        let seconds = days * DAY_S + of_day + self.years * YEAR_S;
        let ended = self.last[clock as usize].is_some_and(|last| seconds < last - YEAR_S / 2.0);
        if !ended {
            return Some(seconds);
        }
        self.years += 1.0;
        Some(seconds + YEAR_S)
    }
}

/// `Z`, `+02:00`, `-0530` in seconds east of UTC.
fn offset_s(zone: &str) -> f64 {
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let number = |range| digits.get(range).and_then(|t: &str| t.parse::<f64>().ok()).unwrap_or(0.0);
    let seconds = number(0..2) * 3600.0 + number(2..4) * 60.0;
    if zone.starts_with('-') { -seconds } else { seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(clock: Clock, lines: [&str; 2], expected: f64) {
        let mut stamps = Stamps::default();
        let [from, to] = lines.map(|line| {
            let found = stamps.read(line.as_bytes());
            found[clock as usize].unwrap_or_else(|| panic!("no {clock:?} stamp in `{line}`"))
        });
        assert!((to - from - expected).abs() < 1e-6, "{lines:?}: {}", to - from);
    }

    #[test]
    fn every_clock_counts_seconds() {
        check(
            Clock::MonthDay,
            ["INFO 11-28 11:45:51 [x.py:1] a", "(W pid=1) INFO 11-28 11:46:01 [x.py:1] b"],
            10.0,
        );
        check(Clock::Bracket, ["[2025-11-10 19:59:08] a", "[2025-11-10 20:00:08 TP1] b"], 60.0);
        check(
            Clock::Glog,
            ["I0410 16:58:08.485508 1 a.cc:1] x", "I0410 16:58:09.485783 1 a.cc:2] y"],
            1.000_275,
        );
        check(
            Clock::Trt,
            ["[11/28/2025-11:45:51] [TRT-LLM] [I] a", "[11/28/2025-11:45:59] [TRT-LLM] [I] b"],
            8.0,
        );
        check(
            Clock::Logfmt,
            ["time=2025-03-05T06:58:54.116Z level=INFO", "time=2025-03-05T08:58:55.116+02:00 level=INFO"],
            1.0,
        );
        check(
            Clock::Iso,
            ["2024-12-11T18:26:33.308202Z  INFO a", "2024-12-11T18:26:36.179734Z  INFO b"],
            2.871_532,
        );
        check(Clock::Elapsed, ["0.00.012.806 I a: b", "1.02.512.806 I a: b"], 62.5);
    }

    #[test]
    fn midnight_years_and_leap_days_pass() {
        check(Clock::MonthDay, ["INFO 11-28 23:59:50 [x] a", "INFO 11-29 00:00:05 [x] b"], 15.0);
        check(Clock::MonthDay, ["INFO 12-31 23:59:50 [x] a", "INFO 01-01 00:00:05 [x] b"], 15.0);
        check(Clock::Glog, ["I1231 23:59:59.500000 1 a] x", "I0101 00:00:00.250000 1 a] y"], 0.75);
        check(Clock::MonthDay, ["INFO 02-28 23:59:50 [x] a", "INFO 03-01 00:00:05 [x] b"], 15.0);
        check(Clock::MonthDay, ["INFO 02-28 23:59:50 [x] a", "INFO 02-29 00:00:05 [x] b"], 15.0);
        check(Clock::MonthDay, ["INFO 02-29 23:59:50 [x] a", "INFO 03-01 00:00:05 [x] b"], 15.0);
        check(Clock::Bracket, ["[2024-12-31 23:59:50] a", "[2025-01-01 00:00:05] b"], 15.0);
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for line in
            ["", "INFO 13-45 11:45:51 [x] a", "[2025-02-30 19:59:08] a", "INFO:     Application startup"]
        {
            assert_eq!(Stamps::default().read(line.as_bytes()), [None; CLOCKS], "{line}");
        }
    }
}
