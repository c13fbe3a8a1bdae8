//! The functions of formulas.

use super::FormulaError;
use super::evaluate::{Scope, Value, arithmetic};
use super::parser::{Node, Operator};

/// Calls a function.
pub(super) fn call(
    scope: &Scope<'_>,
    at: usize,
    name: &str,
    arguments: &[Node],
) -> Result<Value, FormulaError> {
    match name {
        "min" | "max" | "mean" | "median" => {
            let mut numbers = Vec::new();
            for argument in arguments {
                flatten(at, name, scope.value(argument)?, &mut numbers)?;
            }
            statistic(at, name, &numbers)
        }
        "abs" | "ceil" | "floor" | "round" | "int" | "float" => {
            let [argument] = arguments else { return Err(count_error(at, name, "one value")) };
            rounding(at, name, scope.value(argument)?)
        }
        "len" => {
            let [argument] = arguments else { return Err(count_error(at, name, "one list")) };
            Ok(Value::Int(list(at, name, scope.value(argument)?)?.len() as i64))
        }
        "sum" | "count" | "all" | "any" | "none" | "one" | "filter" | "map" => {
            over_list(scope, at, name, arguments)
        }
        other => Err(FormulaError::new(at, format!("there is no function `{other}` here"))),
    }
}

fn count_error(at: usize, name: &str, wanted: &str) -> FormulaError {
    FormulaError::new(at, format!("`{name}` takes {wanted}"))
}

fn list(at: usize, name: &str, value: Value) -> Result<Vec<Value>, FormulaError> {
    match value {
        Value::List(items) => Ok(items),
        other => Err(FormulaError::new(at, format!("`{name}` takes a list, not {}", other.name()))),
    }
}

/// The numbers of arguments that are numbers or lists of them.
fn flatten(at: usize, name: &str, value: Value, numbers: &mut Vec<Value>) -> Result<(), FormulaError> {
    match value {
        Value::Int(_) | Value::Float(_) => numbers.push(value),
        Value::List(items) => {
            for item in items {
                flatten(at, name, item, numbers)?;
            }
        }
        other => return Err(FormulaError::new(at, format!("`{name}` of {}", other.name()))),
    }
    Ok(())
}

fn statistic(at: usize, name: &str, numbers: &[Value]) -> Result<Value, FormulaError> {
    let values: Vec<f64> = numbers.iter().filter_map(Value::number).collect();
    let Some(first) = numbers.first() else { return Err(count_error(at, name, "at least one number")) };
    let pick = |operator: Operator| {
        numbers.iter().skip(1).try_fold(first.clone(), |best, value| {
            let better = arithmetic(at, operator, value, &best)? == Value::Bool(true);
            Ok(if better { value.clone() } else { best })
        })
    };
    match name {
        "min" => pick(Operator::Less),
        "max" => pick(Operator::Greater),
        "mean" => Ok(Value::Float(values.iter().sum::<f64>() / values.len() as f64)),
        _ => {
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            let middle = sorted.len() / 2;
            let median = if sorted.len() % 2 == 1 {
                sorted[middle]
            } else {
                f64::midpoint(sorted[middle - 1], sorted[middle])
            };
            Ok(Value::Float(median))
        }
    }
}

fn rounding(at: usize, name: &str, value: Value) -> Result<Value, FormulaError> {
    let Some(number) = value.number() else {
        return Err(FormulaError::new(at, format!("`{name}` of {}", value.name())));
    };
    Ok(match (name, &value) {
        ("abs", Value::Int(whole)) => Value::Int(whole.wrapping_abs()),
        ("int", Value::Int(_)) => value,
        ("int", _) => Value::Int(number as i64),
        ("abs", _) => Value::Float(number.abs()),
        ("ceil", _) => Value::Float(number.ceil()),
        ("floor", _) => Value::Float(number.floor()),
        // Half away from zero, as Go's.
        ("round", _) => Value::Float(number.round()),
        _ => Value::Float(number),
    })
}

fn over_list(scope: &Scope<'_>, at: usize, name: &str, arguments: &[Node]) -> Result<Value, FormulaError> {
    let (items, predicate) = match arguments {
        [items] => (items, None),
        [items, predicate] => (items, Some(predicate)),
        _ => return Err(count_error(at, name, "a list and a predicate")),
    };
    let items = list(at, name, scope.value(items)?)?;
    let mapped: Vec<Value> = match predicate {
        Some(predicate) => items.iter().map(|item| scope.apply(predicate, item)).collect::<Result<_, _>>()?,
        None if matches!(name, "sum" | "count") => items.clone(),
        None => return Err(count_error(at, name, "a list and a predicate")),
    };
    if name == "sum" {
        return mapped
            .iter()
            .try_fold(Value::Int(0), |sum, value| arithmetic(at, Operator::Add, &sum, value));
    }
    if name == "map" {
        return Ok(Value::List(mapped));
    }
    let holds: Vec<bool> = mapped
        .iter()
        .map(|value| match value {
            Value::Bool(holds) => Ok(*holds),
            other => {
                let message = format!("the predicate of `{name}` gives {}, not true or false", other.name());
                Err(FormulaError::new(at, message))
            }
        })
        .collect::<Result<_, _>>()?;
    let count = holds.iter().filter(|holds| **holds).count();
    Ok(match name {
        "count" => Value::Int(count as i64),
        "all" => Value::Bool(count == holds.len()),
        "any" => Value::Bool(count > 0),
        "none" => Value::Bool(count == 0),
        "one" => Value::Bool(count == 1),
        _ => {
            let kept = items.into_iter().zip(&holds).filter(|(_, holds)| **holds);
            Value::List(kept.map(|(item, _)| item).collect())
        }
    })
}
