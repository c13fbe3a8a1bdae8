//! Stabilisation: what was recommended lately holds a new recommendation back; and the
//! clamp that stands in for `behavior` where there is none.
//!
//! After Kubernetes' `horizontal.go` (1.33 to 1.37). The strictness of each comparison is
//! upstream's: `<=` in the legacy window, `<` in the windows of `behavior`.

use super::conditions::ConditionReason;
use super::types::Nanos;

/// A logged recommendation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recommendation {
    /// Replicas.
    pub replicas: i32,
    /// When.
    pub at: Nanos,
}

/// Logs a recommendation: the last expired slot is reused, else the log grows.
fn store(log: &mut Vec<Recommendation>, replicas: i32, now: Nanos, expired: impl Fn(Nanos) -> bool) {
    let new = Recommendation { replicas, at: now };
    match log.iter().rposition(|entry| expired(now.saturating_sub(entry.at))) {
        Some(index) => log[index] = new,
        None => log.push(new),
    }
}

/// Without `behavior`: the highest recommendation of the downscale window.
pub fn stabilize_legacy(log: &mut Vec<Recommendation>, desired: i32, window: Nanos, now: Nanos) -> i32 {
    let recent = log.iter().filter(|entry| now.saturating_sub(entry.at) <= window).map(|e| e.replicas);
    let stabilized = recent.fold(desired, i32::max);
    store(log, desired, now, |age| age > window);
    stabilized
}

/// The windows of `behavior`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Upwards.
    pub up: Nanos,
    /// Downwards.
    pub down: Nanos,
}

/// With `behavior`: the lowest recommendation of the window upwards, and the highest of the
/// window downwards, hold the current count. Returns the count, and the reason to give for
/// `AbleToScale` if it is not the desired one.
pub fn stabilize(
    log: &mut Vec<Recommendation>,
    current: i32,
    desired: i32,
    windows: Windows,
    now: Nanos,
) -> (i32, ConditionReason) {
    let (mut up, mut down) = (desired, desired);
    for entry in log.iter() {
        let age = now.saturating_sub(entry.at);
        if age < windows.up {
            up = up.min(entry.replicas);
        }
        if age < windows.down {
            down = down.max(entry.replicas);
        }
    }
    let mut stabilized = current;
    if stabilized < up {
        stabilized = up;
    }
    if stabilized > down {
        stabilized = down;
    }
    store(log, desired, now, |age| age > windows.up && age > windows.down);
    let reason = if desired >= current {
        ConditionReason::ScaleUpStabilized
    } else {
        ConditionReason::ScaleDownStabilized
    };
    (stabilized, reason)
}

/// Without `behavior`: `min`, `max` and the old growth cap, twice the current count but at least 4.
pub fn clamp_legacy(current: i32, desired: i32, min: i32, max: i32) -> (i32, ConditionReason) {
    let cap = current.saturating_mul(2).max(4);
    let (high, reason) = if max > cap {
        (cap, ConditionReason::ScaleUpLimit)
    } else {
        (max, ConditionReason::TooManyReplicas)
    };
    if desired < min {
        (min, ConditionReason::TooFewReplicas)
    } else if desired > high {
        (high, reason)
    } else {
        (desired, ConditionReason::DesiredWithinRange)
    }
}
