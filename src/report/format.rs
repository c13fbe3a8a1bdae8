//! How figures are written for people: three digits, one unit a row, never a false zero.

use crate::experiment::metric::Unit;
use crate::experiment::{Estimate, Gate};
use crate::kernel::SimDuration;

/// What stands for a latency that was never reached.
pub const NEVER: &str = ">timeout";
/// What stands for a figure that does not exist.
pub const NONE: &str = "–";

/// A way to write a number: scaled, rounded, between two signs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Style {
    scale: f64,
    decimals: usize,
    prefix: &'static str,
    suffix: &'static str,
}

impl Style {
    fn write(self, value: f64) -> String {
        let digits = format!("{:.*}", self.decimals, (value * self.scale).abs());
        let zero = digits.bytes().all(|b| matches!(b, b'0' | b'.'));
        let sign = if value < 0.0 && !zero { "-" } else { "" };
        format!("{sign}{}{}{}", self.prefix, grouped(&digits), self.suffix)
    }

    fn bare(self) -> Self {
        Self { prefix: "", suffix: "", ..self }
    }
}

/// Digits with a comma after each thousand.
fn grouped(digits: &str) -> String {
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let mut out = String::with_capacity(digits.len() + whole.len() / 3);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A whole number with a comma after each thousand.
pub fn whole(value: u64) -> String {
    grouped(&value.to_string())
}

/// How a value of that unit is written; `like` fixes the scale of seconds.
fn style(unit: Unit, value: f64, like: Option<f64>) -> Style {
    let (scale, prefix, suffix) = match unit {
        // No time at all is `0s` on any scale.
        Unit::Seconds if value != 0.0 && like.unwrap_or(value).abs() < 1.0 => (1e3, "", "ms"),
        Unit::Seconds => (1.0, "", "s"),
        Unit::Share => (100.0, "", "%"),
        Unit::Usd => (1.0, "$", ""),
        Unit::Count | Unit::GpuHours => (1.0, "", ""),
    };
    let shown = (value * scale).abs();
    let decimals = match (unit, suffix) {
        (_, "ms") => usize::from(shown < 9.95),
        (Unit::Seconds, _) if shown >= 99.95 || shown == 0.0 => 0,
        (Unit::Seconds, _) => 1 + usize::from(shown < 9.995) + usize::from(shown < 0.0995),
        (Unit::Share, _) if shown >= 9.95 || shown == 0.0 => 0,
        (Unit::Share, _) => 1 + usize::from(shown < 0.995),
        (Unit::Usd, _) if shown >= 9_999.5 => 0,
        (Unit::Usd, _) => 2 + 2 * usize::from(shown < 0.995 && shown > 0.0),
        (Unit::GpuHours, _) => 1,
        (Unit::Count, _) => usize::from(shown.fract() != 0.0 && shown < 99.95),
    };
    Style { scale, decimals, prefix, suffix }
}

/// A value of that unit, in the scale that suits it.
pub fn value(unit: Unit, value: f64) -> String {
    if value.is_finite() { style(unit, value, None).write(value) } else { NEVER.to_owned() }
}

/// Two values side by side, in one scale, with as many digits as it takes to tell them apart.
pub fn both(unit: Unit, base: Option<f64>, new: Option<f64>) -> (String, String) {
    let (Some(from), Some(to)) = (base.filter(|v| v.is_finite()), new.filter(|v| v.is_finite())) else {
        return (maybe(unit, base), maybe(unit, new));
    };
    let larger = from.abs().max(to.abs());
    let pair = |more: usize| {
        let write = |number: f64| {
            let style = style(unit, number, Some(larger));
            Style { decimals: style.decimals + more, ..style }.write(number)
        };
        (write(from), write(to))
    };
    let differ = (from - to).abs() > 1e-9 * larger;
    (0..=3).map(pair).find(|(from, to)| !differ || from != to).unwrap_or_else(|| pair(3))
}

/// A value that may be absent.
pub fn maybe(unit: Unit, figure: Option<f64>) -> String {
    figure.map_or_else(|| NONE.to_owned(), |v| value(unit, v))
}

/// Mean and interval, in one scale: `4.81s [4.52, 5.13]`. The interval is left out where its ends
/// read like the mean. `like` fixes the scale of seconds: a gate's limit.
pub fn estimate(unit: Unit, figure: Option<&Estimate>, like: Option<f64>) -> String {
    let Some(figure) = figure else { return NONE.to_owned() };
    if !figure.mean.is_finite() {
        return NEVER.to_owned();
    }
    let style = style(unit, figure.mean, like);
    let mean = style.write(figure.mean);
    match figure.interval.map(|(low, high)| (style.bare().write(low), style.bare().write(high))) {
        Some((low, high)) if low != high => format!("{mean} [{low}, {high}]"),
        _ => mean,
    }
}

/// A difference with the half of its interval: `-1.79s ±0.14`, `+$2,624`, `-1.5pp ±0.2` in percentage points. `like` fixes how
/// money is rounded: the amount that it is a difference of. Of one that is not told from nothing only the interval is written.
pub fn difference(unit: Unit, figure: &Estimate, is_detected: bool, like: Option<f64>) -> String {
    let half = figure.interval.map_or(0.0, |(low, high)| (high - low) / 2.0);
    if !figure.mean.is_finite() || !half.is_finite() {
        let words = if figure.mean > 0.0 { "never, now" } else { "no longer never" };
        return if is_detected { words.to_owned() } else { "·".to_owned() };
    }
    let scale = match unit {
        Unit::Usd => like.unwrap_or(figure.mean).abs().max(figure.mean.abs()),
        _ if is_detected => figure.mean,
        _ => half,
    };
    let suffix = |style: Style| if unit == Unit::Share { Style { suffix: "pp", ..style } } else { style };
    let style = suffix(style(unit, scale, None));
    let spread = style.bare().write(half);
    let is_exact = spread.bytes().all(|b| matches!(b, b'0' | b'.'));
    match (is_detected, is_exact) {
        (false, true) => "·".to_owned(),
        (false, false) => format!("· ±{}", style.write(half)),
        (true, _) => {
            let sign = if figure.mean > 0.0 { "+" } else { "" };
            let mean = style.write(figure.mean);
            if is_exact { format!("{sign}{mean}") } else { format!("{sign}{mean} ±{spread}") }
        }
    }
}

/// Half of the interval of a figure, in its own scale: `±0.14`; nothing where it reads as none.
pub fn spread(unit: Unit, figure: &Estimate) -> String {
    let Some((low, high)) = figure.interval.filter(|_| figure.mean.is_finite()) else { return String::new() };
    let half = style(unit, figure.mean, None).bare().write((high - low) / 2.0);
    if half.bytes().all(|b| matches!(b, b'0' | b'.')) { String::new() } else { format!("±{half}") }
}

/// What a gate's policy has, in the scale of the gate's limit.
pub fn gate_value(gate: &Gate, figure: Option<&Estimate>) -> String {
    estimate(gate.metric.unit, figure, Some(gate.limit))
}

/// A round number as short as it can be: `2.5`, `1,000`.
pub fn plain(value: f64) -> String {
    let digits = format!("{:.4}", value.abs());
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{}{}", if value < 0.0 { "-" } else { "" }, grouped(digits))
}

/// Tenths of a percent: `61.3%`.
pub fn tenths(share: u64) -> String {
    format!("{}.{}%", share / 10, share % 10)
}

/// Cents: `$46.08`.
pub fn cents(amount: u64) -> String {
    format!("${}.{:02}", whole(amount / 100), amount % 100)
}

/// Cents from 10,000 dollars on as whole dollars, below with their cents.
pub fn month(amount_cents: u64) -> String {
    if amount_cents < 1_000_000 { cents(amount_cents) } else { value(Unit::Usd, amount_cents as f64 / 100.0) }
}

/// A span in the words of a header: `58 min`, `24 h`.
pub fn span(span: SimDuration) -> String {
    let secs = span.as_secs_f64();
    let number = |n: f64| if (n - n.round()).abs() < 0.05 { format!("{n:.0}") } else { format!("{n:.1}") };
    match secs {
        s if s < 120.0 => format!("{} s", number(s)),
        s if s < 7200.0 => format!("{} min", number(s / 60.0)),
        s => format!("{} h", number(s / 3600.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let check =
            |unit: Unit, number: f64, expected: &str| assert_eq!(value(unit, number), expected, "{number}");
        check(Unit::Seconds, 4.812, "4.81s");
        check(Unit::Seconds, 0.0921, "92ms");
        check(Unit::Seconds, 0.0092, "9.2ms");
        check(Unit::Seconds, 0.0, "0s");
        check(Unit::Seconds, 38.21, "38.2s");
        check(Unit::Seconds, 9.999, "10.0s");
        check(Unit::Seconds, 1234.5, "1,234s");
        check(Unit::Seconds, f64::INFINITY, ">timeout");
        check(Unit::Share, 0.034, "3.4%");
        check(Unit::Share, 0.0006, "0.06%");
        check(Unit::Share, 0.61, "61%");
        check(Unit::Share, 0.0, "0%");
        check(Unit::Usd, 46.08, "$46.08");
        check(Unit::Usd, 0.0123, "$0.0123");
        check(Unit::Usd, 34_786.4, "$34,786");
        check(Unit::Count, 14.0, "14");
        check(Unit::Count, 14.26, "14.3");
        check(Unit::GpuHours, 12.84, "12.8");
    }

    #[test]
    fn two_values_are_told_apart() {
        let check = |unit: Unit, base: f64, new: f64, expected: (&str, &str)| {
            let (from, to) = both(unit, Some(base), Some(new));
            assert_eq!((from.as_str(), to.as_str()), expected);
        };
        check(Unit::Seconds, 3.9, 4.81, ("3.90s", "4.81s"));
        check(Unit::Seconds, 0.0308, 0.0310, ("30.8ms", "31.0ms"));
        check(Unit::Seconds, 0.98, 1.2, ("0.98s", "1.20s"));
        check(Unit::Usd, 50.75, 50.75, ("$50.75", "$50.75"));
        check(Unit::Usd, 50.75, f64::INFINITY, ("$50.75", ">timeout"));
        assert_eq!(both(Unit::Count, None, Some(3.0)), ("–".to_owned(), "3".to_owned()));
    }

    #[test]
    fn estimates_keep_one_scale() {
        let check =
            |unit: Unit, mean: f64, interval: Option<(f64, f64)>, like: Option<f64>, expected: &str| {
                assert_eq!(estimate(unit, Some(&Estimate { mean, interval, count: 5 }), like), expected);
            };
        check(Unit::Seconds, 4.81, Some((4.52, 5.13)), Some(2.0), "4.81s [4.52, 5.13]");
        check(Unit::Seconds, 0.74, Some((0.71, 0.77)), Some(2.0), "0.74s [0.71, 0.77]");
        check(Unit::Seconds, 1.2, None, Some(0.5), "1,200ms");
        check(Unit::Share, 0.034, Some((0.031, 0.037)), None, "3.4% [3.1, 3.7]");
        check(Unit::Usd, 46.08, Some((46.08, 46.081)), None, "$46.08");
        check(Unit::Seconds, f64::INFINITY, None, None, ">timeout");
        assert_eq!(estimate(Unit::Usd, None, None), "–");
    }

    #[test]
    fn differences_are_signed_and_carry_half_their_interval() {
        let check = |unit: Unit, mean: f64, half: f64, is_detected: bool, expected: &str| {
            let figure = Estimate { mean, interval: Some((mean - half, mean + half)), count: 5 };
            assert_eq!(difference(unit, &figure, is_detected, Some(34_786.0)), expected);
        };
        check(Unit::Seconds, -1.79, 0.14, true, "-1.79s ±0.14");
        check(Unit::Seconds, -0.0123, 0.001, true, "-12ms ±1");
        check(Unit::Seconds, 0.01, 0.5, false, "· ±500ms");
        check(Unit::Seconds, 0.0, 0.0, false, "·");
        check(Unit::Share, -0.015, 0.002, true, "-1.5pp ±0.2");
        check(Unit::Usd, 2624.4, 0.0, true, "+$2,624");
        check(Unit::Usd, -546.4, 12.6, true, "-$546 ±13");
        check(Unit::Seconds, f64::NEG_INFINITY, 0.0, true, "no longer never");
        check(Unit::Seconds, f64::INFINITY, 0.0, true, "never, now");
        let one = Estimate { mean: -0.5, interval: None, count: 1 };
        assert_eq!(difference(Unit::Count, &one, true, None), "-0.5");
    }

    #[test]
    fn money_and_spans() {
        assert_eq!(cents(123_456), "$1,234.56");
        assert_eq!(month(3_478_649), "$34,786");
        assert_eq!(month(99_905), "$999.05");
        assert_eq!(tenths(613), "61.3%");
        let check = |secs: u64, expected: &str| assert_eq!(span(SimDuration::from_secs(secs)), expected);
        check(58 * 60, "58 min");
        check(59 * 60 + 1, "59 min");
        check(86_400, "24 h");
        check(90, "90 s");
    }
}
