//! What fails a comparison: `ttft.p99:5%,100ms`, a metric and how much worse it must have become.

use std::fmt;
use std::ops::Range;

use super::gate::parse_limit;
use super::metric::{Better, METRICS, Metric, Unit};

/// How much worse is still no regression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Margin {
    /// A share of the base's mean.
    Relative(f64),
    /// An amount in the metric's unit.
    Absolute(f64),
}

/// The share of the base's mean within which nothing regresses unless something else is asked for.
pub const RELATIVE_MARGIN: f64 = 0.01;

/// One metric that may fail the comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Which.
    pub metric: &'static Metric,
    /// It fails if it is worse by more than each of them.
    pub margins: Vec<Margin>,
}

/// What one `--fail-on` asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum FailOn {
    /// A metric that is worse by more than its margins.
    Metric(Rule),
    /// Any difference at all between runs that should be the same.
    Drift,
}

/// What is wrong with a `--fail-on`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FailOnError {
    /// The bytes of the text that are wrong; empty at its end where something is missing.
    pub at: Range<usize>,
    /// What is wrong with them.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// The word that asks for no difference at all.
pub const DRIFT: &str = "drift";

impl Rule {
    /// A metric with its default margins: both must be exceeded, so that rounding fails nobody.
    pub fn of(metric: &'static Metric) -> Self {
        let margins = vec![Margin::Relative(RELATIVE_MARGIN), Margin::Absolute(floor(metric))];
        Self { metric, margins }
    }
}

/// What is too little to matter, in the metric's unit.
pub fn floor(metric: &Metric) -> f64 {
    match metric.unit {
        Unit::Seconds | Unit::Share => 0.001,
        // Prices of a request are far below a cent: there only the share of it says anything.
        Unit::Usd if metric.name.starts_with("cost.per") => 0.0,
        Unit::Usd | Unit::GpuHours => 0.01,
        Unit::Count => 0.1,
    }
}

impl FailOn {
    /// Reads `METRIC`, `METRIC:MARGIN,MARGIN` or `drift`; the errors are all there are.
    pub fn parse(text: &str) -> Result<Self, Vec<FailOnError>> {
        if text.trim() == DRIFT {
            return Ok(Self::Drift);
        }
        let (name, margins) = match text.split_once(':') {
            Some((name, margins)) => (name, Some(margins)),
            None => (text, None),
        };
        let start = name.len() - name.trim_start().len();
        let name = name.trim();
        let at = start..start + name.len();
        let metric = match known(name, at) {
            Ok(metric) => metric,
            Err(error) => return Err(vec![error]),
        };
        let Some(list) = margins else { return Ok(Self::Metric(Rule::of(metric))) };
        let mut offset = text.len() - list.len();
        let (mut read, mut errors) = (Vec::new(), Vec::new());
        for part in list.split(',') {
            let begin = offset + part.len() - part.trim_start().len();
            let bare = part.trim();
            match margin(metric, bare) {
                Ok(margin) => read.push(margin),
                Err(_) if another(bare) => errors.push(FailOnError {
                    at: begin..begin + bare.len(),
                    message: format!("`{bare}` is no margin of `{name}`, but another metric"),
                    help: format!("give it its own: --fail-on {bare}"),
                }),
                Err(message) => errors.push(FailOnError {
                    at: begin..begin + bare.len(),
                    message,
                    help: format!("write {}", examples(metric)),
                }),
            }
            offset += part.len() + 1;
        }
        if errors.is_empty() { Ok(Self::Metric(Rule { metric, margins: read })) } else { Err(errors) }
    }
}

fn known(name: &str, at: Range<usize>) -> Result<&'static Metric, FailOnError> {
    if name.is_empty() {
        let help = "write e.g. `ttft.p99`, `ttft.p99:5%` or `drift`".to_owned();
        return Err(FailOnError { at, message: "the name of a metric is missing".to_owned(), help });
    }
    let Some(metric) = Metric::find(name) else {
        if name.contains(',') && name.split(',').any(|part| another(part.trim())) {
            let message = format!("`{name}` is no metric");
            let help = "name one metric, and give each of the others its own `--fail-on`".to_owned();
            return Err(FailOnError { at, message, help });
        }
        let help = Metric::nearest(name).map_or_else(
            || format!("one of {} metrics (`thawline explain metrics`), or `drift`", METRICS.len()),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        return Err(FailOnError { at, message: format!("unknown metric `{name}`"), help });
    };
    if metric.better == Better::Neither {
        let message = format!("`{name}` cannot become worse: neither more nor less of it is better");
        let help = "name a metric that has a better side (`thawline explain metrics`), or `drift`".to_owned();
        return Err(FailOnError { at, message, help });
    }
    Ok(metric)
}

/// Whether this is a metric where a margin belongs, with or without margins of its own.
fn another(text: &str) -> bool {
    text.split(':').next().is_some_and(|name| Metric::find(name.trim_end()).is_some())
}

/// The margins a metric can have, for messages.
fn examples(metric: &Metric) -> String {
    let absolute = match metric.unit {
        Unit::Seconds => "100ms",
        Unit::Share => "0.5pp (percentage points)",
        Unit::Usd => "$2",
        Unit::Count => "3",
        Unit::GpuHours => "1.5",
    };
    format!("{name}:5% (of the base), {name}:{absolute} or both with a comma", name = metric.name)
}

fn margin(metric: &Metric, text: &str) -> Result<Margin, String> {
    let number = |digits: &str| {
        let digits = digits.trim_end();
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        digits.parse::<f64>().ok().filter(|number| plain && number.is_finite())
    };
    let wrong = || format!("`{text}` is no margin of `{}`", metric.name);
    if text.is_empty() {
        return Err("a margin is missing".to_owned());
    }
    if let Some(percent) = text.strip_suffix('%') {
        return number(percent).map(|percent| Margin::Relative(percent / 100.0)).ok_or_else(wrong);
    }
    if let Some(points) = text.strip_suffix("pp") {
        if metric.unit != Unit::Share {
            return Err(format!("`{text}`: percentage points are for shares, and `{}` is none", metric.name));
        }
        return number(points).map(|points| Margin::Absolute(points / 100.0)).ok_or_else(wrong);
    }
    if metric.unit == Unit::Share {
        // 0.01 of a share could be a hundredth of it or a percentage point.
        return Err(wrong());
    }
    parse_limit(metric.unit, text).map(Margin::Absolute).map_err(|_| wrong())
}

impl fmt::Display for Margin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative(share) => write!(f, "{}%", trimmed(share * 100.0)),
            Self::Absolute(amount) => write!(f, "{}", trimmed(*amount)),
        }
    }
}

/// A number without the noise of binary fractions.
fn trimmed(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rules_are_read() {
        let check = |text: &str, name: &str, margins: &[Margin]| {
            let Ok(FailOn::Metric(rule)) = FailOn::parse(text) else { panic!("{text}") };
            assert_eq!((rule.metric.name, &rule.margins[..]), (name, margins), "{text}");
        };
        check("ttft.p99", "ttft.p99", &[Margin::Relative(0.01), Margin::Absolute(0.001)]);
        check("ttft.p99:5%", "ttft.p99", &[Margin::Relative(0.05)]);
        check(" ttft.p99 : 100ms ", "ttft.p99", &[Margin::Absolute(0.1)]);
        check("ttft.p99:5%,100ms", "ttft.p99", &[Margin::Relative(0.05), Margin::Absolute(0.1)]);
        check("slo.breach:0.5pp", "slo.breach", &[Margin::Absolute(0.005)]);
        check("slo.breach:5%", "slo.breach", &[Margin::Relative(0.05)]);
        check("cost.total:$2", "cost.total", &[Margin::Absolute(2.0)]);
        check("coldStarts:3", "coldStarts", &[Margin::Absolute(3.0)]);
        check("utilisation:0%", "utilisation", &[Margin::Relative(0.0)]);
        check("cost.perRequest", "cost.perRequest", &[Margin::Relative(0.01), Margin::Absolute(0.0)]);
        assert_eq!(FailOn::parse(" drift "), Ok(FailOn::Drift));
    }

    #[test]
    fn every_fault_is_said_where_it_is() {
        let check = |text: &str, expected: &[(Range<usize>, &str, &str)]| {
            let errors = FailOn::parse(text).unwrap_err();
            assert_eq!(errors.len(), expected.len(), "{text}: {errors:?}");
            for (error, (at, message, help)) in errors.iter().zip(expected) {
                assert_eq!(error.at, *at, "{text}");
                assert!(error.message.contains(message), "{text}: {}", error.message);
                assert!(error.help.contains(help), "{text}: {}", error.help);
            }
        };
        check("", &[(0..0, "is missing", "ttft.p99:5%")]);
        check("ttft.p9", &[(0..7, "unknown metric", "did you mean `ttft.p9")]);
        check("banana:5%", &[(0..6, "unknown metric", "explain metrics")]);
        check("requests.arrived", &[(0..16, "cannot become worse", "better side")]);
        check("ttft.p99:", &[(9..9, "margin is missing", "100ms")]);
        check("ttft.p99:5, x%", &[(9..10, "no margin", "100ms"), (12..14, "no margin", "5%")]);
        check("ttft.p99:0.5pp", &[(9..14, "percentage points are for shares", "100ms")]);
        check("slo.breach:0.01", &[(11..15, "no margin", "0.5pp")]);
        check("cost.total:-$2", &[(11..14, "no margin", "$2")]);
        check("cost.total:%", &[(11..12, "no margin", "$2")]);
        check("ttft.p99:5%, cost.total:3%", &[(13..26, "another metric", "--fail-on cost.total:3%")]);
        check("ttft.p99,cost.total", &[(0..19, "is no metric", "its own")]);
    }

    proptest! {
        #[test]
        fn any_text_is_a_rule_or_faults_within_it(text in "(ttft\\.p99:|slo\\.breach:)?.{0,30}") {
            for error in FailOn::parse(&text).err().unwrap_or_default() {
                prop_assert!(text.get(error.at.clone()).is_some(), "{:?}", error.at);
            }
        }
    }
}
