//! Operators between scalars and vectors, and which series of two vectors belong together
//! (promql/engine.go `VectorBinop`, `VectorscalarBinop`, `VectorAnd`, ..; Prometheus v3).

use indexmap::{IndexMap, IndexSet};
use rustc_hash::FxBuildHasher;

use super::aggregate::group;
use super::evaluate::{Element, Value, Vector};
use super::plan::{Many, Matching, Operator, SetOperator};
use super::query::QueryError;
use super::symbol::{Labels, Scope, Symbol};

/// A binary operation of values.
pub(super) fn operation(
    operator: Operator,
    left: Value,
    right: Value,
    matching: &Matching,
    as_bool: bool,
    scope: &mut Scope<'_>,
) -> Result<Value, QueryError> {
    Ok(match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => {
            let (value, holds) = apply(operator, left, right);
            Value::Scalar(if operator.is_comparison() { f64::from(u8::from(holds)) } else { value })
        }
        (Value::Vector(left), Value::Scalar(right)) => {
            Value::Vector(with_scalar(operator, left, as_bool, |value| apply(operator, value, right)))
        }
        // A comparison keeps the vector's value, on whichever side it stands.
        (Value::Scalar(left), Value::Vector(right)) => {
            Value::Vector(with_scalar(operator, right, as_bool, |value| {
                let (result, holds) = apply(operator, left, value);
                (if operator.is_comparison() { value } else { result }, holds)
            }))
        }
        (Value::Vector(left), Value::Vector(right)) => {
            Value::Vector(of_vectors(operator, left, right, matching, as_bool, scope)?)
        }
    })
}

/// (the value, whether a comparison holds); a comparison's value is its left side.
fn apply(operator: Operator, left: f64, right: f64) -> (f64, bool) {
    #[expect(clippy::float_cmp, reason = "`==` and `!=` are exact in PromQL too")]
    let holds = match operator {
        Operator::Equal => left == right,
        Operator::NotEqual => left != right,
        Operator::Greater => left > right,
        Operator::Less => left < right,
        Operator::GreaterOrEqual => left >= right,
        Operator::LessOrEqual => left <= right,
        _ => true,
    };
    let value = match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::Modulo => left % right,
        Operator::Power => libm::pow(left, right),
        _ => left,
    };
    (value, holds)
}

fn with_scalar(
    operator: Operator,
    vector: Vector,
    as_bool: bool,
    apply: impl Fn(f64) -> (f64, bool),
) -> Vector {
    let drop_name = as_bool || !operator.is_comparison();
    let change = |mut element: Element| {
        let (value, holds) = apply(element.value);
        element.value = if as_bool { f64::from(u8::from(holds)) } else { value };
        if drop_name {
            element.labels.remove(Symbol::NAME);
        }
        (as_bool || holds).then_some(element)
    };
    vector.into_iter().filter_map(change).collect()
}

fn of_vectors(
    operator: Operator,
    left: Vector,
    right: Vector,
    matching: &Matching,
    as_bool: bool,
    scope: &mut Scope<'_>,
) -> Result<Vector, QueryError> {
    // Without a partner nothing can be wrong with one either: upstream asks this first.
    if left.is_empty() || right.is_empty() {
        return Ok(Vector::new());
    }
    let swapped = matching.many == Many::Right;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let names: Vec<Symbol> = matching.labels.names.iter().map(|name| scope.intern(name)).collect();
    let include: Vec<Symbol> = matching.include.iter().map(|name| scope.intern(name)).collect();
    let key = |labels: &Labels| group(labels, &names, matching.labels.listed);

    let mut partners: IndexMap<Labels, Element, FxBuildHasher> = IndexMap::default();
    for element in one {
        let (entry, new) = (key(&element.labels), &element);
        if let Some(before) = partners.get(&entry) {
            return Err(QueryError::ManyToMany {
                group: shown(&entry, scope),
                side: if swapped { "left" } else { "right" },
                first: shown(&new.labels, scope),
                second: shown(&before.labels, scope),
            });
        }
        partners.insert(entry, element);
    }

    let mut results = Vector::new();
    let mut matched: IndexSet<Labels, FxBuildHasher> = IndexSet::default();
    for element in many {
        let entry = key(&element.labels);
        let Some(partner) = partners.get(&entry) else { continue };
        let (value, holds) = if swapped {
            apply(operator, partner.value, element.value)
        } else {
            apply(operator, element.value, partner.value)
        };
        if !holds && !as_bool {
            continue;
        }
        let value = if as_bool { f64::from(u8::from(holds)) } else { value };
        let labels = result_labels(operator, &element.labels, &partner.labels, matching, &names, &include);
        if matching.many == Many::Neither {
            if !matched.insert(entry) {
                return Err(QueryError::ManyToOne);
            }
        } else if !matched.insert(labels.clone()) {
            return Err(QueryError::GroupingNotUnique);
        }
        results.push(Element { labels, value });
    }
    if as_bool {
        for element in &mut results {
            element.labels.remove(Symbol::NAME);
        }
    }
    Ok(results)
}

/// The labels of a result (promql/engine.go `resultMetric`): those of the many side, of one-to-one matches the
/// matched ones only.
fn result_labels(
    operator: Operator,
    many: &Labels,
    one: &Labels,
    matching: &Matching,
    names: &[Symbol],
    include: &[Symbol],
) -> Labels {
    let mut labels = many.clone();
    if !operator.is_comparison() {
        labels.remove(Symbol::NAME);
    }
    if matching.many == Many::Neither {
        labels = labels.filtered(|name| names.contains(&name) == matching.labels.listed);
    }
    for name in include {
        labels.set(*name, one.get(*name));
    }
    labels
}

/// Labels as upstream prints them: `{a="b", c="d"}`, the metric's name in front.
fn shown(labels: &Labels, scope: &Scope<'_>) -> String {
    let name = scope.text(labels.get(Symbol::NAME));
    let others = labels.iter().filter(|(label, _)| *label != Symbol::NAME);
    let mut others: Vec<String> =
        others.map(|(label, value)| format!("{}={:?}", scope.text(label), scope.text(value))).collect();
    others.sort_unstable();
    if others.is_empty() && !name.is_empty() {
        name.to_owned()
    } else {
        format!("{name}{{{}}}", others.join(", "))
    }
}

/// `and`, `or`, `unless`: which series stay, by whether the other side has one of the same group.
pub(super) fn set_operation(
    operator: SetOperator,
    mut left: Vector,
    right: Vector,
    names: &[Symbol],
    listed: bool,
) -> Vector {
    let groups = |vector: &Vector| -> IndexSet<Labels, FxBuildHasher> {
        vector.iter().map(|element| group(&element.labels, names, listed)).collect()
    };
    if operator == SetOperator::Or {
        let known = groups(&left);
        left.extend(
            right.into_iter().filter(|element| !known.contains(&group(&element.labels, names, listed))),
        );
        return left;
    }
    let known = groups(&right);
    let wanted = operator == SetOperator::And;
    left.retain(|element| known.contains(&group(&element.labels, names, listed)) == wanted);
    left
}
