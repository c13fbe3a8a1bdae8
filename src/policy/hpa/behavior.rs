//! `spec.behavior`: its defaults, the rate limits of its policies, and the log of rescales
//! they are counted over.
//!
//! After Kubernetes' `v2/defaults.go` and `horizontal.go` (1.33 to 1.37).

use super::conditions::ConditionReason;
use super::types::{Nanos, int32};

/// Which of several policies binds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelectPolicy {
    /// The one that allows the biggest change.
    #[default]
    Max,
    /// The one that allows the smallest change.
    Min,
    /// No change in this direction.
    Disabled,
}

/// What a policy's value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyType {
    /// Pods.
    Pods,
    /// Percent of the replicas at the start of the period.
    Percent,
}

/// One rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalingPolicy {
    /// What the value counts.
    pub kind: PolicyType,
    /// How much may change within a period.
    pub value: i32,
    /// The period.
    pub period: Nanos,
}

/// Rules of one direction as the user wrote them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RulesInput {
    /// `stabilizationWindowSeconds`.
    pub stabilization_window: Option<Nanos>,
    /// `selectPolicy`.
    pub select_policy: Option<SelectPolicy>,
    /// `policies`; a given list replaces the default one whole.
    pub policies: Option<Vec<ScalingPolicy>>,
    /// `tolerance`, a fraction.
    pub tolerance: Option<f64>,
}

/// Rules of one direction with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The stabilisation window; `None` leaves it to the controller's flag.
    pub stabilization_window: Option<Nanos>,
    /// Which policy binds.
    pub select_policy: SelectPolicy,
    /// The rate limits.
    pub policies: Vec<ScalingPolicy>,
    /// Tolerance, a fraction; `None` leaves it to the controller's flag.
    pub tolerance: Option<f64>,
}

/// Rules of both directions.
#[derive(Clone, Debug, PartialEq)]
pub struct Behavior {
    /// Upwards.
    pub scale_up: Rules,
    /// Downwards.
    pub scale_down: Rules,
}

const SECOND: Nanos = 1_000_000_000;

impl Rules {
    /// The rules upwards: no window; 4 pods or 100 % in 15 s, whichever is more.
    pub fn scale_up(input: Option<&RulesInput>) -> Self {
        Self::filled(
            input,
            Some(0),
            &[
                ScalingPolicy { kind: PolicyType::Pods, value: 4, period: 15 * SECOND },
                ScalingPolicy { kind: PolicyType::Percent, value: 100, period: 15 * SECOND },
            ],
        )
    }

    /// The rules downwards: the controller's window; 100 % in 15 s.
    pub fn scale_down(input: Option<&RulesInput>) -> Self {
        let whole = ScalingPolicy { kind: PolicyType::Percent, value: 100, period: 15 * SECOND };
        Self::filled(input, None, &[whole])
    }

    fn filled(input: Option<&RulesInput>, window: Option<Nanos>, policies: &[ScalingPolicy]) -> Self {
        let input = input.cloned().unwrap_or_default();
        Self {
            stabilization_window: input.stabilization_window.or(window),
            select_policy: input.select_policy.unwrap_or_default(),
            policies: input.policies.unwrap_or_else(|| policies.to_vec()),
            tolerance: input.tolerance,
        }
    }

    /// The longest period of its policies; 0 without any.
    pub fn longest_period(&self) -> Nanos {
        self.policies.iter().map(|policy| policy.period).max().unwrap_or(0)
    }
}

/// A rescale that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleEvent {
    /// Replicas added or removed, positive.
    pub change: i32,
    /// When.
    pub at: Nanos,
    /// It may be overwritten. The mark stays even if the policies change.
    pub outdated: bool,
}

/// Replicas changed by events younger than the period.
pub fn replica_change(events: &[ScaleEvent], period: Nanos, now: Nanos) -> i32 {
    events
        .iter()
        .filter(|event| now.saturating_sub(event.at) < period)
        .fold(0, |sum: i32, event| sum.wrapping_add(event.change))
}

/// Logs a rescale: the last outdated slot is reused, else the log grows. Without
/// `behavior` (`rules` is `None`) nothing is logged.
pub fn store_event(events: &mut Vec<ScaleEvent>, rules: Option<&Rules>, change: i32, now: Nanos) {
    let Some(rules) = rules else { return };
    let longest = rules.longest_period();
    let mut slot = None;
    for (index, event) in events.iter_mut().enumerate() {
        if now.saturating_sub(event.at) > longest {
            event.outdated = true;
        }
        if event.outdated {
            slot = Some(index);
        }
    }
    let new = ScaleEvent { change: change.wrapping_abs(), at: now, outdated: false };
    match slot {
        Some(index) => events[index] = new,
        None => events.push(new),
    }
}

/// What the rate limits are counted over.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// Rescales upwards.
    pub ups: &'a [ScaleEvent],
    /// Rescales downwards.
    pub downs: &'a [ScaleEvent],
    /// Now.
    pub now: Nanos,
}

impl History<'_> {
    /// Replicas at the start of a policy's period.
    fn period_start(&self, current: i32, policy: &ScalingPolicy) -> i32 {
        current.wrapping_sub(replica_change(self.ups, policy.period, self.now)).wrapping_add(replica_change(
            self.downs,
            policy.period,
            self.now,
        ))
    }

    /// Most replicas the rules allow now.
    pub fn scale_up_limit(&self, current: i32, rules: &Rules) -> i32 {
        let limits = rules.policies.iter().map(|policy| {
            let start = self.period_start(current, policy);
            match policy.kind {
                PolicyType::Pods => start.wrapping_add(policy.value),
                PolicyType::Percent => {
                    int32((f64::from(start) * (1.0 + f64::from(policy.value) / 100.0)).ceil())
                }
            }
        });
        match rules.select_policy {
            SelectPolicy::Max => limits.max().unwrap_or(i32::MIN),
            SelectPolicy::Min => limits.min().unwrap_or(i32::MAX),
            SelectPolicy::Disabled => current,
        }
    }

    /// Fewest replicas the rules allow now.
    pub fn scale_down_limit(&self, current: i32, rules: &Rules) -> i32 {
        let limits = rules.policies.iter().map(|policy| {
            let start = self.period_start(current, policy);
            match policy.kind {
                PolicyType::Pods => start.wrapping_sub(policy.value),
                PolicyType::Percent => int32(f64::from(start) * (1.0 - f64::from(policy.value) / 100.0)),
            }
        });
        match rules.select_policy {
            SelectPolicy::Max => limits.min().unwrap_or(i32::MAX),
            SelectPolicy::Min => limits.max().unwrap_or(i32::MIN),
            SelectPolicy::Disabled => current,
        }
    }

    /// Holds a stabilised recommendation to the rate limits, then to the bound of its
    /// direction: `min` does not bind upwards, nor `max` downwards.
    pub fn clamp(
        &self,
        behavior: &Behavior,
        current: i32,
        desired: i32,
        min: i32,
        max: i32,
    ) -> (i32, ConditionReason) {
        if desired > current {
            let limit = self.scale_up_limit(current, &behavior.scale_up).max(current);
            let (high, reason) = if max > limit {
                (limit, ConditionReason::ScaleUpLimit)
            } else {
                (max, ConditionReason::TooManyReplicas)
            };
            if desired > high {
                return (high, reason);
            }
        } else if desired < current {
            let limit = self.scale_down_limit(current, &behavior.scale_down).min(current);
            let (low, reason) = if min < limit {
                (limit, ConditionReason::ScaleDownLimit)
            } else {
                (min, ConditionReason::TooFewReplicas)
            };
            if desired < low {
                return (low, reason);
            }
        }
        (desired, ConditionReason::DesiredWithinRange)
    }
}
