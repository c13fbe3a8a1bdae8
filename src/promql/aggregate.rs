//! Aggregations over the series of a vector (promql/engine.go `aggregation`, `aggregationK`; Prometheus v3).

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::evaluate::{Element, Vector, sorted};
use super::float;
use super::function::Aggregation;
use super::query::QueryError;
use super::symbol::{Labels, Symbol};

/// One value for each group, or for `topk` and `bottomk` the group's extreme series. Groups come in the
/// order of their first series.
pub(super) fn aggregate(
    how: Aggregation,
    names: &[Symbol],
    listed: bool,
    parameter: f64,
    vector: &[Element],
) -> Result<Vector, QueryError> {
    if matches!(how, Aggregation::Topk | Aggregation::Bottomk) {
        let (count, descending) = (whole(parameter)?, how == Aggregation::Topk);
        let groups = grouped(vector, names, listed, Element::clone);
        let extremes =
            groups.into_values().flat_map(|members| sorted(members, descending).into_iter().take(count));
        return Ok(extremes.collect());
    }
    let groups = grouped(vector, names, listed, |element| element.value);
    let values =
        groups.into_iter().map(|(labels, values)| Element { labels, value: fold(how, values, parameter) });
    Ok(values.collect())
}

fn grouped<T>(
    vector: &[Element],
    names: &[Symbol],
    listed: bool,
    member: impl Fn(&Element) -> T,
) -> IndexMap<Labels, Vec<T>, FxBuildHasher> {
    let mut groups: IndexMap<Labels, Vec<T>, FxBuildHasher> = IndexMap::default();
    for element in vector {
        let (labels, member) = (group(&element.labels, names, listed), member(element));
        // Most series come to a group that is there already, and an entry costs more than a look.
        match groups.get_mut(&labels) {
            Some(members) => members.push(member),
            None => drop(groups.insert(labels, vec![member])),
        }
    }
    groups
}

/// The labels of a group. `without` never keeps the metric's name.
pub(super) fn group(labels: &Labels, names: &[Symbol], listed: bool) -> Labels {
    labels.filtered(|name| names.contains(&name) == listed && (listed || name != Symbol::NAME))
}

fn fold(how: Aggregation, mut values: Vec<f64>, parameter: f64) -> f64 {
    let count = values.len() as f64;
    if how == Aggregation::Quantile {
        return float::quantile(parameter, &mut values);
    }
    let values = values.into_iter();
    match how {
        Aggregation::Sum => float::sum(values),
        Aggregation::Avg => float::mean(values),
        Aggregation::Min => float::least(values),
        Aggregation::Max => float::greatest(values),
        Aggregation::Count => count,
        Aggregation::Group => 1.0,
        Aggregation::Stdvar => float::variance(values),
        Aggregation::Stddev => float::variance(values).sqrt(),
        Aggregation::Quantile | Aggregation::Topk | Aggregation::Bottomk => {
            unreachable!("`aggregate` and the line above have dealt with these")
        }
    }
}

/// How many series `topk` keeps.
fn whole(parameter: f64) -> Result<usize, QueryError> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if parameter.is_nan() {
        Err(QueryError::ParameterNan)
    } else if parameter >= LIMIT {
        Err(QueryError::Overflow(go_float(parameter)))
    } else if parameter <= -LIMIT {
        Err(QueryError::Underflow(go_float(parameter)))
    } else {
        Ok(parameter.max(0.0) as usize)
    }
}

/// Go's `%v` of a number too large for an integer.
fn go_float(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    format!("{value:e}").replace('e', "e+")
}
