//! A query as it is evaluated: what the parser's tree becomes once everything in it is known to be simulated.

use std::ops::Range;

use regex::Regex;

use super::function::{Aggregation, Calendar, RangeFunction, ValueFunction};

/// One condition on a label.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label's name.
    pub label: String,
    /// What its value is held against.
    pub value: String,
    pub(super) test: Test,
}

/// How a matcher compares.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Equal,
    NotEqual,
    Like(Regex),
    Unlike(Regex),
}

impl Matcher {
    /// Whether a label's value fulfils it; a label that is not there has the empty value.
    pub fn is_match(&self, value: &str) -> bool {
        match &self.test {
            Test::Equal => self.value == value,
            Test::NotEqual => self.value != value,
            Test::Like(pattern) => pattern.is_match(value),
            Test::Unlike(pattern) => !pattern.is_match(value),
        }
    }

    /// Whether it is `=`.
    pub fn is_equality(&self) -> bool {
        matches!(self.test, Test::Equal)
    }
}

/// A selector: which series a query reads, and when.
#[derive(Clone, Debug)]
pub struct Selector {
    /// The metric's name, where it is given by equality.
    pub name: Option<String>,
    /// The other conditions.
    pub matchers: Vec<Matcher>,
    /// Range, ms; `None` for an instant selector, which looks back as far as the server's lookback.
    pub range_ms: Option<i64>,
    /// Offset into the past, ms.
    pub offset_ms: i64,
    /// Samples of a series that its function needs for an answer: 2 for `rate` and its like, else 1.
    pub samples_needed: u32,
    /// Where it stands in the query's text, bytes.
    pub span: Range<usize>,
}

impl Selector {
    /// Whether it can read series of that metric name: what it cannot read need not be stored.
    pub fn may_read(&self, name: &str) -> bool {
        let own = self.name.as_deref().is_none_or(|own| own == name);
        own && self.matchers.iter().filter(|matcher| matcher.label == "__name__").all(|m| m.is_match(name))
    }
}

/// Labels to match or group by.
#[derive(Clone, Debug, Default)]
pub(super) struct LabelList {
    pub(super) names: Vec<String>,
    /// The names are those that count (`by`, `on`), and not those that do not.
    pub(super) listed: bool,
}

/// Which side of a binary operation may have several series for one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Many {
    Neither,
    Left,
    Right,
}

#[derive(Clone, Debug)]
pub(super) struct Matching {
    pub(super) labels: LabelList,
    pub(super) many: Many,
    /// Labels that `group_left` or `group_right` takes from the one side.
    pub(super) include: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
}

impl Operator {
    pub(super) fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Greater
                | Self::Less
                | Self::GreaterOrEqual
                | Self::LessOrEqual
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetOperator {
    And,
    Or,
    Unless,
}

/// A part of a query, with the parts it is made of.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Number(f64),
    Time,
    /// `scalar(..)`
    Scalar(Box<Node>),
    /// `vector(..)`
    Vector(Box<Node>),
    Select(Selector),
    Range {
        function: RangeFunction,
        selector: Selector,
        parameter: Option<Box<Node>>,
    },
    /// `absent(..)` and `absent_over_time(..)`, with the labels that their matchers give.
    Absent {
        over: Box<Node>,
        labels: Vec<(String, String)>,
    },
    /// Whether a range has any sample: what `absent_over_time` asks.
    Present(Selector),
    Timestamp(Box<Node>),
    Negate(Box<Node>),
    Value {
        function: ValueFunction,
        over: Box<Node>,
    },
    Calendar {
        part: Calendar,
        over: Box<Node>,
    },
    Clamp {
        over: Box<Node>,
        low: Box<Node>,
        high: Box<Node>,
    },
    Round {
        over: Box<Node>,
        nearest: Box<Node>,
    },
    Sort {
        over: Box<Node>,
        descending: bool,
    },
    HistogramQuantile {
        quantile: Box<Node>,
        over: Box<Node>,
    },
    LabelReplace {
        over: Box<Node>,
        to: String,
        replacement: String,
        from: String,
        pattern: Regex,
    },
    LabelJoin {
        over: Box<Node>,
        to: String,
        separator: String,
        from: Vec<String>,
    },
    Aggregate {
        how: Aggregation,
        by: LabelList,
        parameter: Option<Box<Node>>,
        over: Box<Node>,
    },
    Binary {
        operator: Operator,
        left: Box<Node>,
        right: Box<Node>,
        matching: Matching,
        as_bool: bool,
    },
    Set {
        operator: SetOperator,
        left: Box<Node>,
        right: Box<Node>,
        labels: LabelList,
    },
}

impl Node {
    /// Whether it is a scalar, and not an instant vector.
    pub(super) fn is_scalar(&self) -> bool {
        match self {
            Self::Number(_) | Self::Time | Self::Scalar(_) => true,
            Self::Negate(over) => over.is_scalar(),
            Self::Binary { left, right, .. } => left.is_scalar() && right.is_scalar(),
            _ => false,
        }
    }

    /// Whether a vector has one series at most, whatever the store holds.
    pub(super) fn is_single(&self) -> bool {
        match self {
            Self::Vector(_) | Self::Absent { .. } => true,
            Self::Timestamp(over)
            | Self::Negate(over)
            | Self::Value { over, .. }
            | Self::Calendar { over, .. }
            | Self::Clamp { over, .. }
            | Self::Round { over, .. }
            | Self::Sort { over, .. }
            | Self::LabelReplace { over, .. }
            | Self::LabelJoin { over, .. } => over.is_single(),
            Self::Set { operator: SetOperator::And | SetOperator::Unless, left, .. } => left.is_single(),
            Self::Binary { left, right, .. } if left.is_scalar() => right.is_single(),
            Self::Binary { left, right, .. } if right.is_scalar() => left.is_single(),
            _ => self.labels().is_some_and(|labels| labels.is_empty()),
        }
    }

    /// The labels that its series can have, where that can be told: with none, there is at most one series.
    pub(super) fn labels(&self) -> Option<Vec<String>> {
        match self {
            Self::Vector(_) => Some(Vec::new()),
            Self::Absent { labels, .. } => Some(labels.iter().map(|(name, _)| name.clone()).collect()),
            Self::Aggregate { how: Aggregation::Topk | Aggregation::Bottomk, over, .. }
            | Self::Timestamp(over)
            | Self::Negate(over)
            | Self::Value { over, .. }
            | Self::Calendar { over, .. }
            | Self::Clamp { over, .. }
            | Self::Round { over, .. }
            | Self::Sort { over, .. } => over.labels(),
            Self::Aggregate { by, over, .. } => match (by.listed, over.labels()) {
                (true, Some(inner)) => Some(without(&inner, &by.names, true)),
                (true, None) => Some(by.names.clone()),
                (false, inner) => inner.map(|inner| without(&inner, &by.names, false)),
            },
            Self::HistogramQuantile { over, .. } => Some(without(&over.labels()?, &["le".to_owned()], false)),
            Self::LabelReplace { over, to, .. } | Self::LabelJoin { over, to, .. } => {
                let mut labels = over.labels()?;
                labels.push(to.clone());
                Some(labels)
            }
            Self::Set { operator: SetOperator::Or, left, right, .. } => {
                let mut labels = left.labels()?;
                labels.extend(right.labels()?);
                Some(labels)
            }
            Self::Set { left, .. } => left.labels(),
            Self::Binary { left, right, .. } if left.is_scalar() => right.labels(),
            Self::Binary { left, right, .. } if right.is_scalar() => left.labels(),
            Self::Binary { left, right, matching, .. } => match matching.many {
                Many::Neither if matching.labels.listed => Some(matching.labels.names.clone()),
                Many::Neither => left.labels().or_else(|| right.labels()),
                Many::Left => with_included(left, matching),
                Many::Right => with_included(right, matching),
            },
            _ => None,
        }
    }
}

fn without(labels: &[String], names: &[String], listed: bool) -> Vec<String> {
    labels.iter().filter(|label| names.contains(label) == listed).cloned().collect()
}

fn with_included(many: &Node, matching: &Matching) -> Option<Vec<String>> {
    let mut labels = many.labels()?;
    labels.extend(matching.include.iter().cloned());
    Some(labels)
}
