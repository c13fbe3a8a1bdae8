//! Reads points in time as traces write them, exactly, into nanoseconds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Seconds since 1970 of which traces of services are: the years from 2001 to 2099.
const DATES: std::ops::Range<i128> = 978_307_200..4_102_444_800;
/// Mean rate of requests that no trace of one service has, requests/s.
const RATE_MAX: f64 = 5_000.0;

/// How a trace writes its arrival times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TimeUnit {
    /// Seconds since any origin, with or without a fraction.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
    /// RFC 3339: `2023-11-16T18:17:03.97Z`. A space for the `T`, any number of fraction digits, and no zone (UTC) are
    /// accepted too.
    Rfc3339,
}

impl TimeUnit {
    /// Reads a time into ns since the trace's own origin; `None` if the text is no such time.
    /// Digits finer than a nanosecond are dropped.
    pub(super) fn parse(self, text: &[u8]) -> Option<i128> {
        match self {
            Self::S => decimal(text, 9),
            Self::Ms => decimal(text, 6),
            Self::Us => decimal(text, 3),
            Self::Ns => decimal(text, 0),
            Self::Rfc3339 => rfc3339(text),
        }
    }

    /// A nanosecond's multiple that one of its numbers stands for; none of dates.
    fn nanos(self) -> Option<i128> {
        match self {
            Self::S => Some(1_000_000_000),
            Self::Ms => Some(1_000_000),
            Self::Us => Some(1_000),
            Self::Ns => Some(1),
            Self::Rfc3339 => None,
        }
    }

    /// How a scenario writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::S => "s",
            Self::Ms => "ms",
            Self::Us => "us",
            Self::Ns => "ns",
            Self::Rfc3339 => "rfc3339",
        }
    }

    /// The unit in which a trace's first time, read by this unit into ns, would be a date of our days, where it is none
    /// by this one. `rate` is the mean rate by this unit, requests/s: a trace whose times count from its own start may
    /// begin with any small number, and then only a rate that no service has tells that the unit is wrong.
    pub(super) fn likelier(self, first: i128, rate: f64) -> Option<Self> {
        let own = self.nanos()?;
        let is_date = |nanos: i128| DATES.contains(&(nanos / 1_000_000_000));
        let others = [Self::S, Self::Ms, Self::Us, Self::Ns].into_iter().filter(|other| *other != self);
        let fits =
            |other: &Self| other.nanos().is_some_and(|unit| is_date((first / own).saturating_mul(unit)));
        let likelier = others.into_iter().find(fits)?;
        let is_far = first >= 86_400 * 1_000_000_000 || rate > RATE_MAX;
        (!is_date(first) && is_far).then_some(likelier)
    }

    /// What such a time looks like, for help texts.
    pub(super) fn example(self) -> &'static str {
        match self {
            Self::S => "12.5 (time.unit is s)",
            Self::Ms => "12500 (time.unit is ms)",
            Self::Us => "12500000 (time.unit is us)",
            Self::Ns => "12500000000 (time.unit is ns)",
            Self::Rfc3339 => "2023-11-16T18:17:03.9799600Z",
        }
    }
}

/// Reads a decimal number times `10^shift`, truncated to a whole number.
pub(super) fn decimal(text: &[u8], shift: i32) -> Option<i128> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    let (mantissa, exponent) = match rest.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => {
            let digits = std::str::from_utf8(&rest[at + 1..]).ok()?;
            (&rest[..at], digits.parse::<i16>().ok()?)
        }
        None => (rest, 0),
    };
    let mut value: i128 = 0;
    let mut scale = shift + i32::from(exponent);
    let (mut digits, mut fraction) = (0, false);
    for byte in mantissa {
        match byte {
            b'.' if !fraction => fraction = true,
            b'0'..=b'9' => {
                digits += 1;
                if fraction && scale <= 0 && exponent == 0 {
                    continue; // finer than a whole unit
                }
                value = value.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                scale -= i32::from(fraction);
            }
            _ => return None,
        }
    }
    if digits == 0 {
        return None;
    }
    let power = 10i128.checked_pow(scale.unsigned_abs());
    let value = match (scale >= 0, power) {
        (_, _) if value == 0 => 0,
        (true, power) => value.checked_mul(power?)?,
        (false, Some(power)) => value / power,
        (false, None) => 0,
    };
    Some(if negative { -value } else { value })
}

/// Reads `YYYY-MM-DD[T ]HH:MM:SS[.fraction][Z|+HH:MM|-HH:MM|+HHMM]` into ns since 1970 UTC.
fn rfc3339(text: &[u8]) -> Option<i128> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        text.get(range)?
            .iter()
            .try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
    };
    let mark = |at: usize, allowed: &[u8]| text.get(at).is_some_and(|b| allowed.contains(b)).then_some(());
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    mark(4, b"-").and(mark(7, b"-")).and(mark(10, b"T t")).and(mark(13, b":")).and(mark(16, b":"))?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if !(1..=month_days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = &text[19..];
    let mut nanos = 0;
    if let [b'.' | b',', tail @ ..] = rest {
        let digits = tail.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        for place in 0..9 {
            nanos =
                nanos * 10 + tail.get(place).filter(|_| place < digits).map_or(0, |b| i128::from(b - b'0'));
        }
        rest = &tail[digits..];
    }
    let zone = match rest {
        b"" | b"Z" | b"z" | b" UTC" => 0,
        [sign @ (b'+' | b'-'), a, b, d, e] | [sign @ (b'+' | b'-'), a, b, b':', d, e] => {
            let digit = |b: &u8| b.is_ascii_digit().then(|| i64::from(b - b'0'));
            let (hours, minutes) = (digit(a)? * 10 + digit(b)?, digit(d)? * 10 + digit(e)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    // Days since 1970-01-01 in the proleptic Gregorian calendar, counting years from March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era_days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
    let days = era_days + (153 * m + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - zone * 60;
    Some(i128::from(seconds) * 1_000_000_000 + nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read_exactly() {
        let check = |text: &str, unit: TimeUnit, expected: Option<i128>| {
            assert_eq!(unit.parse(text.as_bytes()), expected, "{text} {unit:?}");
        };
        check("1.5", TimeUnit::S, Some(1_500_000_000));
        check("1700000000.1234567", TimeUnit::S, Some(1_700_000_000_123_456_700));
        check("0.1234567891", TimeUnit::S, Some(123_456_789));
        check("-2", TimeUnit::Ms, Some(-2_000_000));
        check("6011", TimeUnit::Ms, Some(6_011_000_000));
        check("7.9", TimeUnit::Ns, Some(7));
        check("1.7e9", TimeUnit::S, Some(1_700_000_000_000_000_000));
        check("25e-1", TimeUnit::Us, Some(2_500));
        check(".5", TimeUnit::Us, Some(500));
        check("1e-4000", TimeUnit::S, Some(0));
        for bad in ["", ".", "-", "1.2.3", "12x", "NaN", "inf", "1e", "1e99", "0x10", " 1"] {
            check(bad, TimeUnit::S, None);
        }
    }

    #[test]
    fn a_date_in_another_unit_is_told() {
        let check = |text: &str, unit: TimeUnit, rate: f64, expected: Option<TimeUnit>| {
            let first = unit.parse(text.as_bytes()).unwrap();
            assert_eq!(unit.likelier(first, rate), expected, "{text} {unit:?}");
        };
        check("1.77e12", TimeUnit::S, 0.001, Some(TimeUnit::Ms));
        check("1.77e15", TimeUnit::S, 0.001, Some(TimeUnit::Us));
        check("1.77e18", TimeUnit::S, 0.001, Some(TimeUnit::Ns));
        check("1770000000.5", TimeUnit::S, 5.0, None);
        check("1.77e9", TimeUnit::Ms, 5_000.0, Some(TimeUnit::S));
        check("1.77e9", TimeUnit::Us, 5e6, Some(TimeUnit::S));
        check("1.77e12", TimeUnit::Us, 5.0, Some(TimeUnit::Ms));
        check("1.77e18", TimeUnit::Ns, 5.0, None);
        // Times that count from the trace's own start.
        check("0", TimeUnit::S, 5.0, None);
        check("1.77e9", TimeUnit::Ns, 5.0, None);
        check("1.77e9", TimeUnit::Us, 5.0, None);
        assert_eq!(TimeUnit::Rfc3339.likelier(0, 5.0), None);
    }

    #[test]
    fn timestamps_are_read_as_the_azure_traces_write_them() {
        let check = |text: &str, expected: Option<i128>| {
            assert_eq!(TimeUnit::Rfc3339.parse(text.as_bytes()), expected, "{text}");
        };
        let base = 1_700_158_623_000_000_000; // 2023-11-16T18:17:03Z
        check("2023-11-16 18:17:03.9799600", Some(base + 979_960_000));
        check("2023-11-16 18:17:03", Some(base));
        check("2023-11-16 18:17:03+00:00", Some(base));
        check("2023-11-16T20:17:03.5+02:00", Some(base + 500_000_000));
        check("2023-11-16T20:17:03+0200", Some(base));
        check("2023-11-16T18:17:03.1234567899Z", Some(base + 123_456_789));
        check("1970-01-01T00:00:00Z", Some(0));
        check("2000-02-29T00:00:00Z", Some(951_782_400_000_000_000));
        for bad in [
            "2023-02-29 00:00:00",
            "2023-13-01 00:00:00",
            "2023-11-16",
            "2023-11-16 18:17",
            "2023-11-16 18:17:03.",
            "2023-11-16 18:17:03+2",
            "2023-11-16 25:00:00",
            "x023-11-16 18:17:03",
            "2023-11-16 18:17:03Zz",
        ] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn times_agree_with_an_independent_reader(nanos in -2_000_000_000_000_000_000i64..8_000_000_000_000_000_000) {
            let stamp = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap();
            prop_assert_eq!(TimeUnit::Rfc3339.parse(stamp.to_string().as_bytes()), Some(i128::from(nanos)));
            prop_assert_eq!(TimeUnit::Ns.parse(nanos.to_string().as_bytes()), Some(i128::from(nanos)));
        }

        #[test]
        fn no_bytes_make_the_readers_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            for unit in [TimeUnit::S, TimeUnit::Ns, TimeUnit::Rfc3339] {
                let _ = unit.parse(&text);
            }
        }

        #[test]
        fn nothing_shaped_like_a_time_makes_the_reader_panic(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}[.0-9+:Z-]{0,14}") {
            let _ = TimeUnit::Rfc3339.parse(text.as_bytes());
        }
    }
}
