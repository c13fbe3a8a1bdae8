//! What the Prometheus trigger makes of an answer.
//!
//! After kedacore/keda `pkg/scalers/prometheus_scaler.go` `ExecutePromQuery` (8b4f083c). KEDA asks for the
//! whole second: [`PrometheusView::answer_of_second`](crate::policy::api::PrometheusView::answer_of_second).

use crate::policy::hpa::types::Nanos;
use crate::promql;

/// How long an answer may take (`KEDA_HTTP_DEFAULT_TIMEOUT`); a simulated server answers at once.
pub const HTTP_TIMEOUT: Nanos = 3_000_000_000;

/// The answer to an instant query, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// No series.
    Empty,
    /// One series whose value is an empty list.
    EmptyValue,
    /// One series whose value lacks its number.
    ShortValue,
    /// One series.
    Value(f64),
    /// Several series.
    Several,
    /// A scalar, whose JSON is a pair and no list of series; `vector(..)` makes a series of it.
    Scalar,
    /// No answer within the timeout, or an error, its text.
    Failed(String),
}

impl From<Result<promql::Answer, promql::QueryError>> for Answer {
    fn from(answer: Result<promql::Answer, promql::QueryError>) -> Self {
        match answer {
            Err(error) => Self::Failed(error.to_string()),
            Ok(promql::Answer::Scalar(_)) => Self::Scalar,
            Ok(promql::Answer::Vector(samples)) => match &samples[..] {
                [] => Self::Empty,
                [only] => Self::Value(only.value),
                _ => Self::Several,
            },
        }
    }
}

/// Why an answer is of no use.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No series, and nulls are not ignored.
    #[error("prometheus metrics target may be lost, the result is empty")]
    Empty,
    /// The value lacks its number.
    #[error("prometheus query didn't return enough values")]
    ShortValue,
    /// Not a number or infinite, and nulls are not ignored.
    #[error("prometheus query returns {}", go_float(*.0))]
    NotFinite(f64),
    /// Several series. The query must aggregate.
    #[error("prometheus query returned multiple elements")]
    Several,
    /// A scalar.
    #[error("json: cannot unmarshal number into Go struct field .data.result")]
    Scalar,
    /// No answer.
    #[error("prometheus query failed: {0}")]
    Failed(String),
}

/// Go's `%f` of what is not finite.
fn go_float(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

/// The trigger's value. With `ignoreNullValues`, what is empty or not finite is 0.
///
/// # Errors
/// What upstream returns in its place.
pub fn value(answer: Answer, ignore_null_values: bool) -> Result<f64, Refusal> {
    match answer {
        Answer::Value(value) if value.is_finite() => Ok(value),
        Answer::Empty | Answer::EmptyValue | Answer::Value(_) if ignore_null_values => Ok(0.0),
        Answer::Empty | Answer::EmptyValue => Err(Refusal::Empty),
        Answer::Value(value) => Err(Refusal::NotFinite(value)),
        Answer::ShortValue => Err(Refusal::ShortValue),
        Answer::Several => Err(Refusal::Several),
        Answer::Scalar => Err(Refusal::Scalar),
        Answer::Failed(why) => Err(Refusal::Failed(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{QueryError, Sample};

    fn vector(values: &[f64]) -> promql::Answer {
        let sample = |value: &f64| Sample { labels: Vec::new(), value: *value };
        promql::Answer::Vector(values.iter().map(sample).collect())
    }

    #[test]
    fn keda_reads_one_number() {
        let check = |answer: Result<promql::Answer, QueryError>,
                     ignoring: Result<f64, &str>,
                     strict: Result<f64, &str>| {
            let read = |ignore| value(answer.clone().into(), ignore).map_err(|refusal| refusal.to_string());
            assert_eq!(read(true), ignoring.map_err(str::to_owned), "{answer:?}");
            assert_eq!(read(false), strict.map_err(str::to_owned), "{answer:?}");
        };
        let several = "prometheus query returned multiple elements";
        let pair = "json: cannot unmarshal number into Go struct field .data.result";
        let empty = "prometheus metrics target may be lost, the result is empty";
        let failed = "prometheus query failed: vector cannot contain metrics with the same labelset";
        check(Ok(vector(&[2.5])), Ok(2.5), Ok(2.5));
        check(Ok(vector(&[-1.0])), Ok(-1.0), Ok(-1.0));
        check(Ok(vector(&[])), Ok(0.0), Err(empty));
        check(Ok(vector(&[1.0, 2.0])), Err(several), Err(several));
        check(Ok(vector(&[f64::NAN])), Ok(0.0), Err("prometheus query returns NaN"));
        check(Ok(vector(&[f64::INFINITY])), Ok(0.0), Err("prometheus query returns +Inf"));
        check(Ok(promql::Answer::Scalar(1.0)), Err(pair), Err(pair));
        check(Err(QueryError::SameLabels), Err(failed), Err(failed));
    }
}
