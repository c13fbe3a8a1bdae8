//! What stands in for a metric that cannot be read.
//!
//! After kedacore/keda `pkg/fallback/fallback.go` (8b4f083c).

use super::quantity::truncated;
use super::spec::{FallbackBehavior, FallbackSpec};
use crate::policy::hpa::types::Milli;

/// What a metric's value is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricTarget {
    /// The target is of the whole (`Value`) and not per replica (`AverageValue`).
    pub of_the_whole: bool,
    /// The target.
    pub value: f64,
}

/// `target` of the scaling modifiers as the user wrote it, and the kind of target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModifiersTarget<'a> {
    /// `target`.
    pub target: &'a str,
    /// `metricType` is `Value`.
    pub of_the_whole: bool,
}

/// A reading of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The metric itself.
    Value(Milli),
    /// It stands in for the metric; with scaling modifiers, for the whole composite metric.
    Fallback(Milli),
    /// The trigger is nil in the formula.
    Nil,
    /// There is none.
    Error,
}

impl FallbackSpec {
    /// Whether it works at all: upstream silently leaves it off if a number is negative, or if the
    /// target of the scaling modifiers is not a positive whole number.
    pub fn is_valid(&self, modifiers: Option<ModifiersTarget<'_>>) -> bool {
        let whole = |target: &str| target.parse::<i64>().is_ok_and(|value| value > 0);
        self.failure_threshold >= 0 && self.replicas >= 0 && modifiers.is_none_or(|m| whole(m.target))
    }

    /// The stand-in's value; `None` where there is none. `ready` counts ready replicas.
    pub fn value(
        &self,
        target: MetricTarget,
        modifiers: Option<ModifiersTarget<'_>>,
        current: i32,
        ready: i32,
    ) -> Option<Milli> {
        let mut replicas = f64::from(match self.behavior {
            FallbackBehavior::Static => self.replicas,
            FallbackBehavior::CurrentReplicas => current,
            FallbackBehavior::CurrentReplicasIfHigher => current.max(self.replicas),
            FallbackBehavior::CurrentReplicasIfLower => current.min(self.replicas),
            FallbackBehavior::ScalingModifiers => return None,
        });
        let (target, of_the_whole) = match modifiers {
            Some(own) => (own.target.parse().ok()?, own.of_the_whole),
            None => (target.value, target.of_the_whole),
        };
        if of_the_whole {
            // The HPA will multiply it by the ready replicas.
            if ready == 0 {
                return None;
            }
            replicas /= f64::from(ready);
        }
        Some(truncated(target * 1000.0 * replicas))
    }
}

/// What a reading is taken for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Context<'a> {
    /// The fallback, if the object has one.
    pub fallback: Option<FallbackSpec>,
    /// The target of the scaling modifiers, if the object has them.
    pub modifiers: Option<ModifiersTarget<'a>>,
    /// The metric's own target.
    pub target: MetricTarget,
    /// `spec.replicas` of the scale target.
    pub current: i32,
    /// Its ready replicas.
    pub ready: i32,
}

/// Takes one reading: `metric` is `None` if the trigger failed. `failures` counts those in a row; it
/// moves with every reading, the operator's and the HPA's, and only where a fallback works.
pub fn read_with_fallback(context: &Context<'_>, metric: Option<Milli>, failures: &mut i32) -> Reading {
    let valid = context.fallback.filter(|fallback| fallback.is_valid(context.modifiers));
    if let Some(value) = metric {
        if valid.is_some() {
            *failures = 0;
        }
        return Reading::Value(value);
    }
    let Some(fallback) = valid else { return Reading::Error };
    *failures = failures.saturating_add(1);
    if *failures <= fallback.failure_threshold {
        return Reading::Error;
    }
    if fallback.behavior == FallbackBehavior::ScalingModifiers {
        return Reading::Nil;
    }
    let value = fallback.value(context.target, context.modifiers, context.current, context.ready);
    value.map_or(Reading::Error, Reading::Fallback)
}
