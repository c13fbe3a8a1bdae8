//! `scalingModifiers`: one composite metric of all triggers.
//!
//! After kedacore/keda `pkg/scaling/modifiers/formula.go` (8b4f083c).

use super::fallback::Reading;
use super::formula::{Formula, FormulaError, Triggers, Value};
use super::quantity::{is_active, truncated};
use super::spec::{FallbackBehavior, FallbackSpec};
use crate::policy::hpa::types::Milli;

/// Name of the metric that takes the place of all external ones.
pub const COMPOSITE_METRIC: &str = "composite-metric";

/// `scalingModifiers` of a ScaledObject, read.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingModifiers {
    /// `formula`.
    pub formula: Formula,
    /// `target` as it was written; fallback reads it in its own way.
    pub target: String,
    /// `activationTarget`.
    pub activation_target: f64,
    /// `metricType` is `Value` and not `AverageValue`.
    pub of_the_whole: bool,
}

/// Why there is no composite metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompositeError {
    /// The formula cannot be computed.
    #[error("{0}")]
    Formula(#[from] FormulaError),
    /// A trigger could not be read, and nothing stands in for it yet.
    #[error("a trigger could not be read")]
    Unread,
    /// It gives something else than a number.
    #[error("the formula gives {0}, not a number")]
    NotANumber(&'static str),
}

impl ScalingModifiers {
    /// The composite metric. If all that the formula chooses from is nil, the fallback's replicas
    /// stand in, with the behavior that makes failing triggers nil.
    pub fn composite(
        &self,
        triggers: &Triggers,
        fallback: Option<FallbackSpec>,
    ) -> Result<Milli, CompositeError> {
        match self.formula.evaluate(triggers)? {
            Value::Int(value) => Ok(truncated(value as f64 * 1000.0)),
            Value::Float(value) => Ok(truncated(value * 1000.0)),
            Value::Nil => {
                let stand_in =
                    fallback.filter(|fallback| fallback.behavior == FallbackBehavior::ScalingModifiers);
                match (stand_in, self.target.parse::<f64>()) {
                    (Some(fallback), Ok(target)) => {
                        Ok(truncated(target * 1000.0 * f64::from(fallback.replicas)))
                    }
                    _ => Err(CompositeError::NotANumber("nil")),
                }
            }
            Value::Bool(_) => Err(CompositeError::NotANumber("a truth value")),
            Value::List(_) => Err(CompositeError::NotANumber("a list")),
        }
    }

    /// The composite metric of a reading of every external trigger, in their order. What stands in for one
    /// stands in for all, the first of several. Without that, one that failed leaves no metric; it is nil once
    /// the fallback says so.
    pub fn of_readings(
        &self,
        readings: &[(String, Reading)],
        fallback: Option<FallbackSpec>,
    ) -> Result<Milli, CompositeError> {
        let stand_in = readings.iter().find_map(|(_, reading)| match reading {
            Reading::Fallback(value) => Some(*value),
            _ => None,
        });
        if let Some(value) = stand_in {
            return Ok(value);
        }
        if readings.iter().any(|(_, reading)| *reading == Reading::Error) {
            return Err(CompositeError::Unread);
        }
        let value = |reading: &Reading| match reading {
            Reading::Value(milli) => Some(*milli as f64 / 1000.0),
            Reading::Fallback(_) | Reading::Nil | Reading::Error => None,
        };
        let triggers = readings.iter().map(|(name, reading)| (name.clone(), value(reading))).collect();
        self.composite(&triggers, fallback)
    }

    /// Whether a composite metric counts as active; without one, nothing does.
    pub fn is_active(&self, composite: Milli) -> bool {
        is_active(composite as f64 / 1000.0, self.activation_target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_for_one_stands_in_for_all() {
        let own = ScalingModifiers {
            formula: Formula::parse("(a ?? 1) + b").expect("it is one"),
            target: "2".to_owned(),
            activation_target: 0.0,
            of_the_whole: false,
        };
        let of =
            |a: Reading, b: Reading| own.of_readings(&[("a".to_owned(), a), ("b".to_owned(), b)], None).ok();
        assert_eq!(of(Reading::Value(2500), Reading::Value(1000)), Some(3500));
        assert_eq!(of(Reading::Nil, Reading::Value(1000)), Some(2000));
        assert_eq!(of(Reading::Error, Reading::Value(1000)), None);
        assert_eq!(of(Reading::Error, Reading::Fallback(8000)), Some(8000));
        assert_eq!(of(Reading::Value(1000), Reading::Nil), None);
        assert_eq!(of(Reading::Fallback(7000), Reading::Fallback(8000)), Some(7000));
        assert_eq!(of(Reading::Value(1000), Reading::Fallback(8000)), Some(8000));
        assert_eq!(of(Reading::Error, Reading::Error), None);
    }
}
