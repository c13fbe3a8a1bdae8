//! Numbers as logs and events print them.

use super::patterns::Unit;

/// A Go or Rust duration in seconds: `40.3s`, `1m2.5s`, `796ms`, `1h0m0s`, `55.2µs`.
/// None if the text is not one, or is negative.
pub fn go_duration_s(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(0.0);
    }
    let (mut total, mut parts) = (0.0, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        let tail = &rest[digits..];
        let units = [
            ("ms", 1e-3),
            ("µs", 1e-6),
            ("μs", 1e-6),
            ("us", 1e-6),
            ("ns", 1e-9),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ];
        let (unit, seconds) = units.into_iter().find(|(unit, _)| tail.starts_with(unit))?;
        total += value * seconds;
        parts += 1;
        rest = &tail[unit.len()..];
    }
    (parts > 0 && total.is_finite()).then_some(total)
}

/// `00:12`, `1:02:03` in seconds.
fn clock_s(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    for part in text.split(':') {
        seconds = seconds * 60.0 + part.parse::<u32>().map(f64::from).ok()?;
    }
    Some(seconds)
}

/// The number a log's text stands for, in s, bytes or pieces. None if it is none, or not finite.
pub(super) fn number(unit: Unit, text: &str) -> Option<f64> {
    let plain = |text: &str| text.trim().replace(',', "").parse::<f64>().ok();
    let value = match unit {
        Unit::Seconds | Unit::Count => plain(text),
        Unit::Go => go_duration_s(text),
        Unit::Clock => clock_s(text),
        Unit::Mebibytes => plain(text).map(|v| v * f64::from(1_u32 << 20)),
        Unit::Gibibytes => plain(text).map(|v| v * f64::from(1_u32 << 30)),
        Unit::Binary => {
            let (value, unit) = text.trim().split_once(' ')?;
            let scale = match unit.trim() {
                "KiB" => 1_u32 << 10,
                "MiB" => 1 << 20,
                "GiB" => 1 << 30,
                _ => return None,
            };
            plain(value).map(|v| v * f64::from(scale))
        }
    };
    value.filter(|v| v.is_finite() && *v >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_and_rust() {
        let check = |text: &str, expected: Option<f64>| {
            let found = go_duration_s(text);
            let near = found.zip(expected).is_some_and(|(a, b)| (a - b).abs() < 1e-12 * b.max(1.0));
            assert!(near || found == expected, "{text}: {found:?}");
        };
        check("40.3s", Some(40.3));
        check("1m2.5s", Some(62.5));
        check("796ms", Some(0.796));
        check("1h0m0.25s", Some(3600.25));
        check("55.201097835s", Some(55.201_097_835));
        check("12µs", Some(12e-6));
        check("0", Some(0.0));
        check("", None);
        check("s", None);
        check("12", None);
        check("1m-2s", None);
        check("5 s", None);
    }

    #[test]
    fn figures_of_logs() {
        let check = |unit, text: &str, expected| assert_eq!(number(unit, text), expected, "{text}");
        check(Unit::Count, "1,563,739", Some(1_563_739.0));
        check(Unit::Clock, "00:12", Some(12.0));
        check(Unit::Clock, "1:02:03", Some(3723.0));
        check(Unit::Clock, "?", None);
        check(Unit::Gibibytes, "1.5", Some(1_610_612_736.0));
        check(Unit::Mebibytes, "48.5", Some(50_855_936.0));
        check(Unit::Binary, "64.00 MiB", Some(67_108_864.0));
        check(Unit::Binary, "64.00 blocks", None);
        check(Unit::Seconds, "-1", None);
        check(Unit::Seconds, "inf", None);
    }
}
