//! What the Prometheus trigger makes of an answer.
//!
//! After kedacore/keda `pkg/scalers/prometheus_scaler.go` (8b4f083c).

use crate::policy::hpa::types::Nanos;

/// How long an answer may take (`KEDA_HTTP_DEFAULT_TIMEOUT`).
pub const HTTP_TIMEOUT: Nanos = 3_000_000_000;

/// The answer to an instant query, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// No series.
    Empty,
    /// One series whose value is an empty list.
    EmptyValue,
    /// One series whose value lacks its number.
    ShortValue,
    /// One series, or a scalar.
    Value(f64),
    /// Several series.
    Several,
    /// No answer within the timeout, or an error.
    Failed,
}

/// Why an answer is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No series, and nulls are not ignored.
    #[error("prometheus metrics target may be lost, the result is empty")]
    Empty,
    /// The value lacks its number.
    #[error("prometheus query didn't return enough values")]
    ShortValue,
    /// Not a number or infinite, and nulls are not ignored.
    #[error("prometheus query returns an infinite value or none")]
    NotFinite,
    /// Several series.
    #[error("prometheus query returned multiple elements")]
    Several,
    /// No answer.
    #[error("prometheus query failed")]
    Failed,
}

/// The trigger's value. With `ignoreNullValues`, what is empty or not finite is 0.
pub fn value(answer: Answer, ignore_null_values: bool) -> Result<f64, Refusal> {
    match answer {
        Answer::Value(value) if value.is_finite() => Ok(value),
        Answer::Empty | Answer::EmptyValue | Answer::Value(_) if ignore_null_values => Ok(0.0),
        Answer::Empty | Answer::EmptyValue => Err(Refusal::Empty),
        Answer::Value(_) => Err(Refusal::NotFinite),
        Answer::ShortValue => Err(Refusal::ShortValue),
        Answer::Several => Err(Refusal::Several),
        Answer::Failed => Err(Refusal::Failed),
    }
}
