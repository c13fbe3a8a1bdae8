//! The value of a tree. Errors are those that upstream has at run time.

use super::builtins::call;
use super::parser::{Node, NodeKind, Operator};
use super::{FormulaError, Triggers};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer, of a literal.
    Int(i64),
    /// A double, of a trigger or a quotient.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Nothing, of a trigger that failed.
    Nil,
    /// A list.
    List(Vec<Value>),
}

impl Value {
    /// The number it is.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Bool(_) => "a truth value",
            Self::Nil => "nil",
            Self::List(_) => "a list",
        }
    }

    #[expect(clippy::float_cmp, reason = "upstream compares exactly")]
    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => left == right,
            (left, right) => match (left.number(), right.number()) {
                (Some(left), Some(right)) => left == right,
                _ => left == right,
            },
        }
    }
}

/// Where a node is evaluated.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    triggers: &'a Triggers,
    /// What `#` is.
    element: Option<&'a Value>,
}

impl Scope<'_> {
    /// A predicate's value for an element.
    pub fn apply(&self, predicate: &Node, element: &Value) -> Result<Value, FormulaError> {
        Scope { triggers: self.triggers, element: Some(element) }.value(predicate)
    }

    /// A node's value.
    pub fn value(&self, node: &Node) -> Result<Value, FormulaError> {
        match &node.kind {
            NodeKind::Int(value) => Ok(Value::Int(*value)),
            NodeKind::Float(value) => Ok(Value::Float(*value)),
            NodeKind::Bool(value) => Ok(Value::Bool(*value)),
            NodeKind::Nil => Ok(Value::Nil),
            NodeKind::Name(name) => match self.triggers.get(name) {
                Some(value) => Ok(value.map_or(Value::Nil, Value::Float)),
                None => Err(FormulaError::new(node.at, format!("no trigger has the name `{name}`"))),
            },
            NodeKind::Element => {
                let element =
                    self.element.ok_or_else(|| FormulaError::new(node.at, "`#` means nothing here"))?;
                Ok(element.clone())
            }
            NodeKind::Negate(inner) => match self.value(inner)? {
                Value::Int(value) => Ok(Value::Int(value.wrapping_neg())),
                Value::Float(value) => Ok(Value::Float(-value)),
                other => Err(FormulaError::new(node.at, format!("`-` of {}", other.name()))),
            },
            NodeKind::Not(inner) => Ok(Value::Bool(!self.truth(inner)?)),
            NodeKind::Binary(operator, left, right) => self.binary(node.at, *operator, left, right),
            NodeKind::Conditional(condition, yes, no) => {
                if self.truth(condition)? {
                    self.value(yes)
                } else {
                    self.value(no)
                }
            }
            NodeKind::List(items) => {
                Ok(Value::List(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?))
            }
            NodeKind::Call(name, arguments) => call(self, node.at, name, arguments),
        }
    }

    /// A node's truth value; a number is none.
    pub fn truth(&self, node: &Node) -> Result<bool, FormulaError> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            other => {
                let message = format!("{} where true or false is needed", other.name());
                Err(FormulaError::new(node.at, message))
            }
        }
    }

    fn binary(
        &self,
        at: usize,
        operator: Operator,
        left: &Node,
        right: &Node,
    ) -> Result<Value, FormulaError> {
        match operator {
            Operator::Or => return Ok(Value::Bool(self.truth(left)? || self.truth(right)?)),
            Operator::And => return Ok(Value::Bool(self.truth(left)? && self.truth(right)?)),
            Operator::Coalesce => {
                return match self.value(left)? {
                    Value::Nil => self.value(right),
                    value => Ok(value),
                };
            }
            _ => {}
        }
        let (left, right) = (self.value(left)?, self.value(right)?);
        match operator {
            Operator::Equal => Ok(Value::Bool(left.equals(&right))),
            Operator::Unequal => Ok(Value::Bool(!left.equals(&right))),
            Operator::In => match right {
                Value::List(items) => Ok(Value::Bool(items.iter().any(|item| item.equals(&left)))),
                other => Err(FormulaError::new(at, format!("`in` needs a list, not {}", other.name()))),
            },
            _ => arithmetic(at, operator, &left, &right),
        }
    }
}

/// Integers stay integers but in a quotient and a power; of an integer and a double, doubles.
pub(super) fn arithmetic(
    at: usize,
    operator: Operator,
    left: &Value,
    right: &Value,
) -> Result<Value, FormulaError> {
    let mismatch = || {
        let message = format!("this operator takes numbers, not {} and {}", left.name(), right.name());
        FormulaError::new(at, message)
    };
    let (Some(x), Some(y)) = (left.number(), right.number()) else { return Err(mismatch()) };
    let integers = match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some((*left, *right)),
        _ => None,
    };
    let either = |whole: fn(i64, i64) -> i64, double: f64| {
        integers.map_or(Value::Float(double), |(left, right)| Value::Int(whole(left, right)))
    };
    let order = |holds: fn(std::cmp::Ordering) -> bool| {
        let ordering = integers.map_or(x.partial_cmp(&y), |(left, right)| Some(left.cmp(&right)));
        Value::Bool(ordering.is_some_and(holds))
    };
    Ok(match operator {
        Operator::Add => either(i64::wrapping_add, x + y),
        Operator::Subtract => either(i64::wrapping_sub, x - y),
        Operator::Multiply => either(i64::wrapping_mul, x * y),
        Operator::Divide => Value::Float(x / y),
        Operator::Power => Value::Float(libm::pow(x, y)),
        Operator::Remainder => match integers {
            Some((_, 0)) => return Err(FormulaError::new(at, "the remainder of a division by 0")),
            Some((left, right)) => Value::Int(left.wrapping_rem(right)),
            None => {
                let message = "`%` takes integers, and a trigger is none; write int(..) around it";
                return Err(FormulaError::new(at, message));
            }
        },
        Operator::Less => order(std::cmp::Ordering::is_lt),
        Operator::LessOrEqual => order(std::cmp::Ordering::is_le),
        Operator::Greater => order(std::cmp::Ordering::is_gt),
        Operator::GreaterOrEqual => order(std::cmp::Ordering::is_ge),
        _ => return Err(mismatch()),
    })
}

/// The value of a tree.
pub(super) fn evaluate(root: &Node, triggers: &Triggers) -> Result<Value, FormulaError> {
    Scope { triggers, element: None }.value(root)
}
