//! What a query's value stands for: a total over the replicas, or a mean of them.
//!
//! An autoscaler that divides a total by a target per replica finds the replicas that are needed. A mean, an
//! extreme or a quantile says nothing of how many replicas share the load.

use super::function::{Aggregation, RangeFunction, ValueFunction};
use super::plan::{Node, Operator, Selector, SetOperator};

/// What a query's value stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A sum or a number of series: it does not change as replicas share the same load.
    Total,
    /// A mean, an extreme, a quantile or a quotient of two totals: it falls as replicas share the same load.
    Mean,
    /// The series as they are, or something of which neither can be told.
    Unclear,
}

impl Node {
    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Aggregate { how, over, .. } => match how {
                Aggregation::Sum | Aggregation::Count => Shape::Total,
                Aggregation::Avg | Aggregation::Min | Aggregation::Max | Aggregation::Quantile => {
                    // Of one total, it is the total.
                    if over.shape() == Shape::Total { Shape::Total } else { Shape::Mean }
                }
                _ => Shape::Unclear,
            },
            Self::HistogramQuantile { .. } => Shape::Mean,
            Self::Value {
                function: ValueFunction::Ceil | ValueFunction::Floor | ValueFunction::Abs,
                over,
            }
            | Self::Clamp { over, .. }
            | Self::Round { over, .. }
            | Self::Sort { over, .. }
            | Self::LabelReplace { over, .. }
            | Self::LabelJoin { over, .. } => over.shape(),
            Self::Set { operator: SetOperator::Or, left, right, .. } => match (left.shape(), right.shape()) {
                (left, _) if right.is_constant() => left,
                (left, right) if left == right => left,
                _ => Shape::Unclear,
            },
            Self::Set { left, .. } => left.shape(),
            Self::Binary { as_bool: true, .. } => Shape::Unclear,
            Self::Binary { operator, left, right, .. } => binary(*operator, left, right),
            _ => Shape::Unclear,
        }
    }

    /// Whether its value is in the unit of what it reads, and no arithmetic changes it.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Select(_) => true,
            Self::Range { function, .. } => matches!(
                function,
                RangeFunction::AvgOverTime
                    | RangeFunction::MaxOverTime
                    | RangeFunction::MinOverTime
                    | RangeFunction::LastOverTime
                    | RangeFunction::QuantileOverTime
            ),
            Self::Aggregate { how, over, .. } => {
                let same = [
                    Aggregation::Sum,
                    Aggregation::Avg,
                    Aggregation::Min,
                    Aggregation::Max,
                    Aggregation::Quantile,
                ];
                same.contains(how) && over.is_plain()
            }
            Self::Sort { over, .. } | Self::LabelReplace { over, .. } | Self::LabelJoin { over, .. } => {
                over.is_plain()
            }
            Self::Set { operator: SetOperator::Or, left, right, .. } => {
                left.is_plain() && (right.is_constant() || right.is_plain())
            }
            Self::Set { left, .. } => left.is_plain(),
            _ => false,
        }
    }

    /// Whether it is a number that no series changes.
    fn is_constant(&self) -> bool {
        match self {
            Self::Number(_) => true,
            Self::Vector(value) | Self::Negate(value) => value.is_constant(),
            _ => false,
        }
    }

    /// The selectors whose samples, and not only their presence, make the value.
    pub(super) fn values<'a>(&'a self, found: &mut Vec<&'a Selector>) {
        match self {
            Self::Select(selector) | Self::Range { selector, .. } => found.push(selector),
            Self::Aggregate { how: Aggregation::Count | Aggregation::Group, .. }
            | Self::Absent { .. }
            | Self::Present(_)
            | Self::Timestamp(_)
            | Self::Number(_)
            | Self::Time => {}
            Self::Scalar(over)
            | Self::Vector(over)
            | Self::Negate(over)
            | Self::Value { over, .. }
            | Self::Calendar { over, .. }
            | Self::Clamp { over, .. }
            | Self::Round { over, .. }
            | Self::Sort { over, .. }
            | Self::HistogramQuantile { over, .. }
            | Self::LabelReplace { over, .. }
            | Self::LabelJoin { over, .. }
            | Self::Aggregate { over, .. } => over.values(found),
            // The right side of `and` and `unless` only chooses.
            Self::Set { operator: SetOperator::And | SetOperator::Unless, left, .. } => left.values(found),
            Self::Set { left, right, .. } | Self::Binary { left, right, .. } => {
                left.values(found);
                right.values(found);
            }
        }
    }
}

fn binary(operator: Operator, left: &Node, right: &Node) -> Shape {
    if right.is_constant() {
        return match operator {
            Operator::Modulo | Operator::Power => Shape::Unclear,
            _ => left.shape(),
        };
    }
    if left.is_constant() {
        return match operator {
            Operator::Multiply | Operator::Add => right.shape(),
            _ => Shape::Unclear,
        };
    }
    match (operator, left.shape(), right.shape()) {
        (Operator::Divide, Shape::Total, Shape::Total) => Shape::Mean,
        (Operator::Add | Operator::Subtract, left, right) if left == right => left,
        _ => Shape::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::Query;

    #[test]
    fn totals_are_told_from_means() {
        let check = |text: &str, expected: Shape| {
            let query = Query::compile(text).expect(text);
            assert_eq!(query.shape(), expected, "{text}");
        };
        check("sum(a)", Shape::Total);
        check("ceil(sum by (b) (rate(a[1m]))) * 2 > 0 or vector(0)", Shape::Total);
        check("max(sum(a))", Shape::Total);
        check("sum(a) + sum(b)", Shape::Total);
        check("count(up)", Shape::Total);
        check("avg(a)", Shape::Mean);
        check("100 * max(a)", Shape::Mean);
        check("quantile(0.9, a)", Shape::Mean);
        check("histogram_quantile(0.95, sum by (le) (rate(a_bucket[1m])))", Shape::Mean);
        check("sum(rate(a_sum[1m])) / sum(rate(a_count[1m]))", Shape::Mean);
        check("avg(a) * count(up)", Shape::Unclear);
        check("sum(a) / scalar(sum(b))", Shape::Unclear);
        check("sum(a) > bool 5", Shape::Unclear);
        check("1 / sum(a)", Shape::Unclear);
        check("a", Shape::Unclear);
        check("avg(a) or sum(b)", Shape::Unclear);
        check("topk(1, a)", Shape::Unclear);
    }

    #[test]
    fn arithmetic_changes_the_unit() {
        for (text, plain) in [
            ("sum(a)", true),
            ("avg(max_over_time(a[5m])) or vector(0)", true),
            ("100 * avg(a)", false),
            ("sum(rate(a[1m]))", false),
            ("count(a)", false),
        ] {
            assert_eq!(Query::compile(text).expect(text).is_plain(), plain, "{text}");
        }
    }

    #[test]
    fn functions_of_change_need_two_samples() {
        let query = Query::compile("predict_linear(a[5m], 60) + rate(b[1m]) + c + max_over_time(d[1m])")
            .expect("PromQL");
        let needed: Vec<_> = query.reads().iter().map(|read| read.samples_needed).collect();
        assert_eq!(needed, [2, 2, 1, 1]);
    }

    #[test]
    fn selectors_that_only_choose_give_no_value() {
        let check = |text: &str, expected: &[&str]| {
            let query = Query::compile(text).expect(text);
            let found: Vec<_> = query.values().iter().filter_map(|read| read.name.as_deref()).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("sum(a) / sum(rate(b[1m]))", &["a", "b"]);
        check("count(a) + sum(b and c) + absent(d) + timestamp(e)", &["b"]);
        check("histogram_quantile(0.9, a_bucket) or vector(scalar(b))", &["a_bucket", "b"]);
    }
}
