//! `scalingModifiers`: one composite metric of all triggers.
//!
//! After kedacore/keda `pkg/scaling/modifiers/formula.go` (8b4f083c).

use super::fallback::{Behavior, Fallback};
use super::formula::{Formula, FormulaError, Triggers, Value};
use super::quantity::{is_active, truncated};
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
        fallback: Option<Fallback>,
    ) -> Result<Milli, CompositeError> {
        match self.formula.evaluate(triggers)? {
            Value::Int(value) => Ok(truncated(value as f64 * 1000.0)),
            Value::Float(value) => Ok(truncated(value * 1000.0)),
            Value::Nil => {
                let stand_in = fallback.filter(|fallback| fallback.behavior == Behavior::ScalingModifiers);
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

    /// Whether a composite metric counts as active; without one, nothing does.
    pub fn is_active(&self, composite: Milli) -> bool {
        is_active(composite as f64 / 1000.0, self.activation_target)
    }
}
