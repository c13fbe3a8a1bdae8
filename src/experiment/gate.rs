//! Gates: what must hold for a run of the tool to succeed, such as `ttft.p99 < 2s`.
//!
//! A gate binds every policy, or those it names. It is judged on the mean over replications
//! and on its interval: an interval on both sides of the limit settles nothing, and counts
//! as failed unless the caller is lenient.

use std::fmt;
use std::ops::Range;

use super::metric::{METRICS, Metric, Unit};
use super::statistics::Estimate;
use crate::kernel::units::{Price, parse_duration};

/// How the value must stand to the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

impl Comparison {
    /// Two-character signs first: `<` is a prefix of `<=`.
    const ALL: [Self; 4] = [Self::AtMost, Self::AtLeast, Self::Below, Self::Above];

    /// The sign.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }

    /// Whether the value stands so to the limit.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
        }
    }
}

/// One gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// What it binds.
    pub metric: &'static Metric,
    /// How the value must stand to the limit.
    pub comparison: Comparison,
    /// The limit, in the metric's unit (s, share, US dollars, ..).
    pub limit: f64,
    /// The limit as it was written.
    pub limit_text: String,
    /// The policies it binds; `None` binds all.
    pub policies: Option<Vec<String>>,
}

/// Why a gate could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GateError {
    /// The bytes of the text that are wrong; empty at its end where something is missing.
    pub at: Range<usize>,
    /// What is wrong with them.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// What became of a gate under a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GateStatus {
    /// The mean and its whole interval hold it.
    Pass,
    /// The mean and its whole interval miss it.
    Fail,
    /// The interval lies on both sides of the limit.
    Straddles,
    /// There is no such figure: nothing shows that it holds, so it counts as failed.
    Absent,
}

impl GateStatus {
    /// Whether it counts as held.
    pub const fn is_held(self, lenient: bool) -> bool {
        match self {
            Self::Pass => true,
            Self::Straddles => lenient,
            Self::Fail | Self::Absent => false,
        }
    }

    /// The mark in tables.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Pass => "✓",
            Self::Fail | Self::Absent => "✗",
            Self::Straddles => "~",
        }
    }
}

impl Gate {
    /// Reads `METRIC SIGN LIMIT`. It binds all policies until [`Gate::policies`] says otherwise.
    pub fn parse(text: &str) -> Result<Self, GateError> {
        let start = text.len() - text.trim_start().len();
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
        let name_end = text[start..].find(|c: char| !is_name(c)).map_or(text.len(), |n| start + n);
        let name = &text[start..name_end];
        let missing = |at: usize, message: &str| GateError {
            at: at..at,
            message: message.to_owned(),
            help: Some("write e.g. `ttft.p99 < 2s`, `slo.breach < 1%` or `cost.total < $60`".to_owned()),
        };
        if name.is_empty() {
            return Err(missing(start, "a gate starts with the name of a metric"));
        }
        let metric = Metric::find(name).ok_or_else(|| unknown_metric(name, start..name_end))?;
        let sign_start = name_end + text[name_end..].len() - text[name_end..].trim_start().len();
        let rest = &text[sign_start..];
        let Some(comparison) = Comparison::ALL.into_iter().find(|c| rest.starts_with(c.sign())) else {
            let found = rest.find(char::is_whitespace).unwrap_or(rest.len());
            return Err(GateError {
                at: sign_start..sign_start + found,
                message: format!("after `{name}` comes one of < <= > >="),
                help: Some(format!("write e.g. `{name} < {}`", example_limit(metric.unit))),
            });
        };
        let after_sign = sign_start + comparison.sign().len();
        let limit_text = text[after_sign..].trim();
        let limit_start = after_sign + text[after_sign..].len() - text[after_sign..].trim_start().len();
        if limit_text.is_empty() {
            return Err(missing(text.len(), "the limit is missing"));
        }
        let at = limit_start..limit_start + limit_text.len();
        let limit = parse_limit(metric.unit, limit_text).map_err(|why| GateError {
            at,
            message: format!("`{limit_text}` is no limit for `{name}`{why}"),
            help: Some(format!("write {}", metric.unit.example())),
        })?;
        Ok(Self { metric, comparison, limit, limit_text: limit_text.to_owned(), policies: None })
    }

    /// Whether it binds the policy of that name.
    pub fn binds(&self, policy: &str) -> bool {
        self.policies.as_ref().is_none_or(|names| names.iter().any(|n| n == policy))
    }

    /// Judges an estimate of its metric.
    pub fn judge(&self, estimate: Option<&Estimate>) -> GateStatus {
        let Some(estimate) = estimate else { return GateStatus::Absent };
        let holds = |value: f64| self.comparison.holds(value, self.limit);
        let (low, high) = estimate.interval.unwrap_or((estimate.mean, estimate.mean));
        match (holds(low), holds(high)) {
            (true, true) => GateStatus::Pass,
            (false, false) => GateStatus::Fail,
            _ => GateStatus::Straddles,
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.metric.name, self.comparison.sign(), self.limit_text)
    }
}

const fn example_limit(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "2s",
        Unit::Share => "1%",
        Unit::Usd => "$60",
        Unit::Count => "12",
        Unit::GpuHours => "12.5",
    }
}

fn unknown_metric(name: &str, at: Range<usize>) -> GateError {
    let families = || {
        let mut families: Vec<&str> = METRICS.iter().map(|m| family(m.name)).collect();
        families.dedup();
        format!("metrics are of: {} (`thawline explain metrics`)", families.join(", "))
    };
    let help = Metric::nearest(name).map_or_else(families, |nearest| format!("did you mean `{nearest}`?"));
    GateError { at, message: format!("unknown metric `{name}`"), help: Some(help) }
}

fn family(name: &str) -> &str {
    name.split_once('.').map_or(name, |(family, _)| family)
}

/// The limit in the metric's unit; the error is empty or a reason that starts with a colon.
pub(super) fn parse_limit(unit: Unit, text: &str) -> Result<f64, String> {
    let number = |digits: &str| {
        let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        digits.parse::<f64>().ok().filter(|n| plain && n.is_finite()).ok_or_else(String::new)
    };
    match unit {
        Unit::Seconds => parse_duration(text).map(|nanos| nanos as f64 / 1e9).map_err(|_| String::new()),
        Unit::Share => {
            let share = match text.strip_suffix('%') {
                Some(percent) => number(percent.trim_end())? / 100.0,
                None => number(text)?,
            };
            if share > 1.0 { Err(": it is more than everything".to_owned()) } else { Ok(share) }
        }
        Unit::Usd => text.parse::<Price>().map(Price::as_f64).map_err(|_| String::new()),
        Unit::Count | Unit::GpuHours => number(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gates_are_read() {
        let check = |text: &str, name: &str, sign: &str, limit: f64| {
            let gate = Gate::parse(text).unwrap();
            assert_eq!((gate.metric.name, gate.comparison.sign()), (name, sign), "{text}");
            assert!((gate.limit - limit).abs() < 1e-12, "{text}: {}", gate.limit);
        };
        check("ttft.p99 < 2s", "ttft.p99", "<", 2.0);
        check("  ttft.p99<=250ms ", "ttft.p99", "<=", 0.25);
        check("slo.breach < 1%", "slo.breach", "<", 0.01);
        check("slo.breach < 0.01", "slo.breach", "<", 0.01);
        check("cost.total < $60", "cost.total", "<", 60.0);
        check("cost.total < 59.95", "cost.total", "<", 59.95);
        check("utilisation > 40%", "utilisation", ">", 0.4);
        check("coldStarts >= 3", "coldStarts", ">=", 3.0);
        assert_eq!(Gate::parse(" ttft.p99<2s").unwrap().to_string(), "ttft.p99 < 2s");
    }

    #[test]
    fn faults_say_where_and_what_instead() {
        let check = |text: &str, at: Range<usize>, message: &str, help: &str| {
            let error = Gate::parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}");
            assert!(error.message.contains(message), "{text}: {}", error.message);
            assert!(error.help.as_deref().is_some_and(|h| h.contains(help)), "{text}: {:?}", error.help);
        };
        check("", 0..0, "name of a metric", "ttft.p99 < 2s");
        check(" < 2s", 1..1, "name of a metric", "ttft.p99 < 2s");
        check(" slo.braech < 1%", 1..11, "unknown metric `slo.braech`", "did you mean `slo.breach`?");
        check("banana < 1", 0..6, "unknown metric", "metrics are of: ttft, tpot");
        check("ttft.p99", 8..8, "comes one of", "ttft.p99 < 2s");
        check("ttft.p99 == 2s", 9..11, "comes one of", "ttft.p99 < 2s");
        check("ttft.p99 <", 10..10, "limit is missing", "ttft.p99 < 2s");
        check("ttft.p99 < 2", 11..12, "no limit for `ttft.p99`", "a duration");
        check("ttft.p99 < -2s", 11..14, "no limit", "a duration");
        check("slo.breach < 2s", 13..15, "no limit", "a share");
        check("slo.breach < 150%", 13..17, "more than everything", "a share");
        check("slo.breach < NaN", 13..16, "no limit", "a share");
        check("cost.total < 60€", 13..18, "no limit", "US dollars");
        check("coldStarts < 1e400", 13..18, "no limit", "a number");
    }

    #[test]
    fn an_interval_across_the_limit_settles_nothing() {
        let gate = Gate::parse("ttft.p99 < 2s").unwrap();
        let check = |mean: f64, interval: Option<(f64, f64)>, expected: GateStatus| {
            assert_eq!(gate.judge(Some(&Estimate { mean, interval, count: 5 })), expected, "{mean}");
        };
        check(1.0, None, GateStatus::Pass);
        check(2.0, None, GateStatus::Fail);
        check(f64::INFINITY, None, GateStatus::Fail);
        check(1.0, Some((0.9, 1.1)), GateStatus::Pass);
        check(3.0, Some((2.0, 4.0)), GateStatus::Fail);
        check(1.9, Some((1.5, 2.3)), GateStatus::Straddles);
        check(2.1, Some((1.9, 2.3)), GateStatus::Straddles);
        assert_eq!(gate.judge(None), GateStatus::Absent);
        let held = [GateStatus::Pass, GateStatus::Straddles, GateStatus::Fail, GateStatus::Absent];
        assert_eq!(held.map(|s| s.is_held(false)), [true, false, false, false]);
        assert_eq!(held.map(|s| s.is_held(true)), [true, true, false, false]);
    }

    #[test]
    fn a_gate_binds_all_or_those_it_names() {
        let mut gate = Gate::parse("ttft.p99 < 2s").unwrap();
        assert!(gate.binds("hpa"));
        gate.policies = Some(vec!["warm-pool".to_owned()]);
        assert!(gate.binds("warm-pool") && !gate.binds("hpa"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_gate_or_a_fault_within_it(text in ".{0,40}") {
            if let Err(error) = Gate::parse(&text) {
                prop_assert!(text.get(error.at.clone()).is_some(), "{:?}", error.at);
            }
        }

        #[test]
        fn a_gate_reads_what_it_writes(metric in 0..METRICS.len(), sign in 0..4usize) {
            let metric = &METRICS[metric];
            let text = format!("{} {} {}", metric.name, Comparison::ALL[sign].sign(), example_limit(metric.unit));
            prop_assert_eq!(Gate::parse(&text).unwrap().to_string(), text);
        }
    }
}
