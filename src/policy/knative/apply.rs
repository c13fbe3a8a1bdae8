//! From a decider's wish to a written scale: bounds, the initial scale, and the way down to zero.
//!
//! After knative/serving `pkg/reconciler/autoscaling/kpa/scaler.go` (98e5ef90).

use super::SECOND;
use super::decider::SCALE_UNKNOWN;
use super::status::{Active, SksMode};
use crate::policy::hpa::types::Nanos;

/// What the progress deadline is extended by, so that the reason of a failure is written first.
pub const ACTIVATION_TIMEOUT_BUFFER: Nanos = 30 * SECOND;
/// Time between two probes for whether the activator is in the path.
pub const PROBE_PERIOD: Nanos = SECOND;
/// How long these probes go on.
pub const PROBE_TIMEOUT: Nanos = 45 * SECOND;
/// From the end of the probes, either way, to the next reconcile.
pub const REENQUEUE_PERIOD: Nanos = SECOND;
/// From marking a revision inactive whose service is in proxy mode already to the next reconcile.
pub const INACTIVE_PERIOD: Nanos = 3 * SECOND;

/// Between which scales a revision is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleBounds {
    /// Fewest pods; 0 for a revision without a route.
    pub min: i32,
    /// Most pods; 0 is without limit.
    pub max: i32,
    /// Fewest pods until so many were ready once.
    pub initial: i32,
}

/// How a revision is put to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleToZero {
    /// Whether at all.
    pub enabled: bool,
    /// How long it stays active at least.
    pub stable_window: Nanos,
    /// How long the activator must have stood in the path.
    pub grace_period: Nanos,
    /// How long the last pod stays at least once the revision is inactive.
    pub pod_retention_period: Nanos,
    /// How long pods may take to become ready.
    pub progress_deadline: Nanos,
    /// The burst capacity is -1: the activator is in the path and need not be probed.
    pub always_proxied: bool,
}

/// Where a revision stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// `spec.replicas` of its deployment.
    pub current: i32,
    /// Its condition.
    pub active: Active,
    /// Since when.
    pub active_since: Nanos,
    /// The initial scale was reached once.
    pub initialized: bool,
    /// The mode of its service.
    pub mode: SksMode,
    /// Since when the activator serves it; `None` if it does not.
    pub proxied_since: Option<Nanos>,
    /// The activator answers a probe of the service.
    pub activator_answers: bool,
}

/// What settled a scale, in the words of the decision log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is the decider's wish.
    Wish,
    /// The decider does not know yet.
    Unknown,
    /// The minimum.
    MinScale,
    /// The maximum.
    MaxScale,
    /// The initial scale, which was not reached yet.
    InitialScale,
    /// Scaling to zero is disabled.
    ScaleToZeroDisabled,
    /// Pods are on their way; nothing is given up yet.
    Activating,
    /// Pods did not become ready in time.
    ActivationTimeout,
    /// The revision has not been active for a stable window yet.
    StableWindow,
    /// The revision becomes inactive; the activator is to take over.
    Inactive,
    /// The activator does not answer yet.
    ActivatorProbe,
    /// The last pod is kept.
    PodRetention,
    /// The activator has not stood in the path for long enough.
    ScaleToZeroGrace,
    /// The last pod goes.
    ScaledToZero,
}

impl Settled {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Wish => "Stable",
            Self::Unknown => "NoData",
            Self::MinScale => "MinScale",
            Self::MaxScale => "MaxScale",
            Self::InitialScale => "InitialScale",
            Self::ScaleToZeroDisabled => "ScaleToZeroDisabled",
            Self::Activating => "Activating",
            Self::ActivationTimeout => "ActivationTimeout",
            Self::StableWindow => "StableWindow",
            Self::Inactive => "Inactive",
            Self::ActivatorProbe => "ActivatorProbe",
            Self::PodRetention => "PodRetention",
            Self::ScaleToZeroGrace => "ScaleToZeroGrace",
            Self::ScaledToZero => "ScaledToZero",
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The scale wanted; -1 is unknown.
    pub want: i32,
    /// The scale is to be written to the deployment.
    pub write: bool,
    /// Reconcile again after this time.
    pub requeue_after: Option<Nanos>,
    /// Begin to probe whether the activator is in the path, unless that is going on.
    pub probe: bool,
    /// Why.
    pub settled: Settled,
}

impl Applied {
    const fn wait(want: i32, settled: Settled) -> Self {
        Self { want, write: false, requeue_after: None, probe: false, settled }
    }

    const fn write(want: i32, settled: Settled) -> Self {
        Self { want, write: true, requeue_after: None, probe: false, settled }
    }

    const fn again_after(mut self, time: Nanos) -> Self {
        self.requeue_after = Some(time);
        self
    }
}

/// Applies a decider's wish.
pub fn apply(
    desired: i32,
    bounds: ScaleBounds,
    rules: &ScaleToZero,
    situation: &Situation,
    now: Nanos,
) -> Applied {
    if desired < 0 && situation.active != Active::Activating {
        return Applied::wait(desired, Settled::Unknown);
    }
    let (mut min, mut of_min) = (bounds.min, Settled::MinScale);
    if bounds.initial > min && bounds.initial > 1 && !situation.initialized {
        (min, of_min) = (bounds.initial, Settled::InitialScale);
    }
    let (bounded, settled) = if desired < min {
        (min, of_min)
    } else if bounds.max != 0 && desired > bounds.max {
        (bounds.max, Settled::MaxScale)
    } else {
        (desired, Settled::Wish)
    };
    let mut applied =
        if bounded == 0 { to_zero(rules, situation, now) } else { Applied::write(bounded, settled) };
    applied.write &= applied.want != situation.current;
    applied
}

/// The way down to zero, one step of it.
fn to_zero(rules: &ScaleToZero, situation: &Situation, now: Nanos) -> Applied {
    if !rules.enabled {
        return Applied::write(1, Settled::ScaleToZeroDisabled);
    }
    let passed = now.saturating_sub(situation.active_since);
    match situation.active {
        Active::Activating => {
            let timeout = rules.progress_deadline.saturating_add(ACTIVATION_TIMEOUT_BUFFER);
            if passed > timeout {
                Applied::write(0, Settled::ActivationTimeout)
            } else {
                // Past the timeout and not at it: no clock of upstream's is punctual to the nanosecond.
                Applied::wait(SCALE_UNKNOWN, Settled::Activating).again_after(timeout.saturating_add(1))
            }
        }
        // Wanting 0 without writing it makes the revision inactive and its service proxied.
        Active::Active if passed >= rules.stable_window => match situation.mode {
            SksMode::Proxy => Applied::wait(0, Settled::Inactive).again_after(INACTIVE_PERIOD),
            SksMode::Serve => Applied::wait(0, Settled::Inactive),
        },
        Active::Active => Applied::write(1, Settled::StableWindow).again_after(rules.stable_window - passed),
        Active::Inactive => inactive_to_zero(rules, situation, passed, now),
    }
}

fn inactive_to_zero(rules: &ScaleToZero, situation: &Situation, inactive: Nanos, now: Nanos) -> Applied {
    if !rules.always_proxied && !situation.activator_answers {
        return Applied { probe: true, ..Applied::wait(0, Settled::ActivatorProbe) };
    }
    if inactive >= rules.grace_period.max(rules.pod_retention_period) {
        return Applied::write(0, Settled::ScaledToZero);
    }
    if inactive < rules.pod_retention_period {
        let left = rules.pod_retention_period - inactive;
        return Applied::wait(0, Settled::PodRetention).again_after(left);
    }
    // The activator may have been there for long: then the grace period is over already.
    let proxied = situation.proxied_since.map_or(0, |since| now.saturating_sub(since));
    let left = rules.grace_period - proxied;
    if left <= 0 {
        Applied::write(0, Settled::ScaledToZero)
    } else {
        Applied::wait(0, Settled::ScaleToZeroGrace).again_after(left)
    }
}
