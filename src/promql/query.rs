//! A query: compiled once, evaluated at instants.

use super::answer::Answer;
use super::compile;
use super::evaluate::{self, Value};
use super::plan::{Node, Selector};
use super::shape::Shape;
use super::store::Store;
use super::{Fault, store};
use crate::kernel::{SimDuration, SimTime};

/// Longest text of a query, bytes.
pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// Most operators and open brackets. Compiling and evaluating recurse as deeply as a query nests, which these
/// bound.
pub const NESTING_MAX: usize = 128;

/// A PromQL expression in which everything is simulated.
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
    root: Node,
    reads: Vec<Selector>,
}

/// Why Prometheus would answer an evaluation with an error, in its words (HTTP status 422), or not at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The server is down, in the words of its clients.
    #[error("connect: connection refused")]
    Unavailable,
    /// Dropping the metric's name left two series with the same labels.
    #[error("vector cannot contain metrics with the same labelset")]
    SameLabels,
    /// Two series of the side that may have one in a match group.
    #[error(
        "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
    )]
    ManyToMany {
        /// The labels of the group.
        group: String,
        /// `left` or `right`.
        side: &'static str,
        /// One of the series.
        first: String,
        /// Another one.
        second: String,
    },
    /// Several series of the left side in a match group, without `group_left`.
    #[error("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")]
    ManyToOne,
    /// Two results with the same labels under `group_left` or `group_right`.
    #[error("multiple matches for labels: grouping labels must ensure unique matches")]
    GroupingNotUnique,
    /// The number of `topk` or `bottomk` is no number.
    #[error("Parameter value is NaN")]
    ParameterNan,
    /// The number of `topk` or `bottomk` is too large.
    #[error("Scalar value {0} overflows int64")]
    Overflow(String),
    /// The number of `topk` or `bottomk` is too small.
    #[error("Scalar value {0} underflows int64")]
    Underflow(String),
}

impl Query {
    /// Compiles a query's text, or says everything that is wrong with it or not simulated.
    pub fn compile(text: &str) -> Result<Self, Vec<Fault>> {
        let (root, reads) = compile::compile(text)?;
        Ok(Self { text: text.to_owned(), root, reads })
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Which series it reads, in the order of the text.
    pub fn reads(&self) -> &[Selector] {
        &self.reads
    }

    /// How far back it looks on a server with that lookback, and a second more: KEDA asks for the whole second
    /// before the instant it asks at (pkg/scalers/prometheus_scaler.go `ExecutePromQuery`).
    pub fn reach(&self, lookback: SimDuration) -> SimDuration {
        let back = |read: &Selector| {
            let range = read.range_ms.unwrap_or(store::millis_of(lookback));
            range.saturating_add(read.offset_ms).max(0)
        };
        let furthest = self.reads.iter().map(back).max().unwrap_or(0).min(i64::MAX / 1_000_000 - 1_000);
        SimDuration::from_millis(furthest as u64 + 1_000)
    }

    /// Whether its answer is a scalar. KEDA cannot read one.
    pub fn is_scalar(&self) -> bool {
        self.root.is_scalar()
    }

    /// Whether it answers with one value at most, however many series there are. KEDA refuses several.
    pub fn is_single(&self) -> bool {
        self.is_scalar() || self.root.is_single()
    }

    /// The labels by which its series can differ, where that can be told.
    pub fn labels(&self) -> Option<Vec<String>> {
        if self.is_single() { Some(Vec::new()) } else { self.root.labels() }
    }

    /// What its value stands for.
    pub fn shape(&self) -> Shape {
        self.root.shape()
    }

    /// Whether its value is in the unit of what it reads, and no arithmetic changes it.
    pub fn is_plain(&self) -> bool {
        self.root.is_plain()
    }

    /// The selectors whose samples, and not only their presence, make its value.
    pub fn values(&self) -> Vec<&Selector> {
        let mut found = Vec::new();
        self.root.values(&mut found);
        found
    }

    /// Its answer at an instant.
    pub fn evaluate(&self, store: &Store, at: SimTime) -> Result<Answer, QueryError> {
        let mut evaluation = evaluate::Evaluation::new(store, store::millis(at));
        let value = evaluation.node(&self.root)?;
        Ok(match value {
            Value::Scalar(value) => Answer::Scalar(value),
            Value::Vector(elements) => Answer::Vector(evaluation.samples(elements)),
        })
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
