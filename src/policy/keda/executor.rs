//! The decision of each poll: wake the target, put it to sleep, or leave it to the HPA.
//!
//! After kedacore/keda `pkg/scaling/executor/scale_scaledobjects.go` (8b4f083c).

use crate::policy::hpa::types::Nanos;

/// What decides besides the triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleRules {
    /// `minReplicaCount`.
    pub min_replicas: Option<i32>,
    /// `idleReplicaCount`: what the target sleeps at instead of 0.
    pub idle_replicas: Option<i32>,
    /// `fallback.replicas`; `None` without a fallback.
    pub fallback_replicas: Option<i32>,
    /// `cooldownPeriod`.
    pub cooldown: Nanos,
    /// `initialCooldownPeriod`.
    pub initial_cooldown: Nanos,
    /// What the annotations hold back.
    pub pause: Pause,
    /// `force-activation`: as if a trigger were active.
    pub force_activation: bool,
}

/// What the annotations hold back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// Everything.
    pub all: bool,
    /// Ways down.
    pub scale_in: bool,
    /// Ways up.
    pub scale_out: bool,
}

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// `spec.replicas` of the target.
    pub current: i32,
    /// A trigger is active.
    pub active: bool,
    /// A trigger could not be read.
    pub error: bool,
    /// When a trigger was last active; `None` if never. It is a field of the object's status.
    pub last_active: Option<Nanos>,
    /// When the object was created.
    pub created: Nanos,
    /// Now.
    pub now: Nanos,
}

/// The `Ready` condition after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// All is well.
    True,
    /// No trigger can be read.
    False,
    /// Some can and some cannot.
    Unknown,
}

/// Which rule settled a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The object is paused.
    Paused,
    /// A trigger is active and the target sleeps.
    Activate,
    /// As before, but scaling out is paused.
    ScaleOutPaused,
    /// A trigger is active, another cannot be read.
    PartialError,
    /// A trigger is active; the HPA sees to the rest.
    Active,
    /// No trigger can be read; the fallback sees to it.
    Fallback,
    /// No trigger can be read.
    Error,
    /// Nothing is active, and the target may not sleep yet.
    CoolingDown,
    /// Nothing is active, and the cooldown is over.
    Deactivate,
    /// Nothing is active, but scaling in is paused.
    ScaleInPaused,
    /// Fewer replicas than the minimum.
    BelowMinimum,
    /// Nothing is to be done.
    Idle,
}

impl Rule {
    /// Its name, for the decision log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "Paused",
            Self::Activate => "ScaleFromZero",
            Self::ScaleOutPaused => "ScaleOutPaused",
            Self::PartialError => "PartialTriggerError",
            Self::Active => "ScalerActive",
            Self::Fallback => "Fallback",
            Self::Error => "TriggerError",
            Self::CoolingDown => "ScalerCooldown",
            Self::Deactivate => "ScalerNotActive",
            Self::ScaleInPaused => "ScaleInPaused",
            Self::BelowMinimum => "ScaleToMinReplicas",
            Self::Idle => "NoChange",
        }
    }
}

/// What a poll decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The replicas to write; `None` leaves them.
    pub replicas: Option<i32>,
    /// This instant is the last active one.
    pub updates_last_active: bool,
    /// The `Active` condition; `None` leaves it.
    pub active: Option<bool>,
    /// The `Ready` condition.
    pub ready: Ready,
    /// Which rule settled it.
    pub rule: Rule,
}

/// Decides a poll.
pub fn decide(rules: &ScaleRules, poll: &Poll) -> Decided {
    let active = poll.active || rules.force_activation;
    let base = Decided {
        replicas: None,
        updates_last_active: false,
        active: Some(active),
        ready: Ready::True,
        rule: Rule::Idle,
    };
    if rules.pause.all {
        return Decided { active: None, rule: Rule::Paused, ..base };
    }
    if active { decide_active(rules, poll, base) } else { decide_inactive(rules, poll, base) }
}

fn decide_active(rules: &ScaleRules, poll: &Poll, base: Decided) -> Decided {
    let min = rules.min_replicas.unwrap_or(0);
    let idling = rules.idle_replicas.is_some() && poll.current < min;
    if idling || poll.current == 0 {
        if rules.pause.scale_out {
            return Decided { rule: Rule::ScaleOutPaused, ..base };
        }
        let replicas = Some(if min > 0 { min } else { 1 });
        return Decided { replicas, updates_last_active: true, rule: Rule::Activate, ..base };
    }
    if poll.error {
        // The last active instant stays, so that an error does not keep the target awake for ever.
        return Decided { ready: Ready::Unknown, rule: Rule::PartialError, ..base };
    }
    Decided { updates_last_active: true, rule: Rule::Active, ..base }
}

fn decide_inactive(rules: &ScaleRules, poll: &Poll, base: Decided) -> Decided {
    let min = rules.min_replicas.unwrap_or(0);
    if poll.error {
        match rules.fallback_replicas {
            Some(0) => {}
            Some(_) => return Decided { rule: Rule::Fallback, ..base },
            None => return Decided { ready: Ready::False, rule: Rule::Error, ..base },
        }
    }
    let above_idle = rules.idle_replicas.is_some_and(|idle| poll.current > idle);
    if above_idle || (poll.current > 0 && min == 0) {
        if rules.pause.scale_in {
            return Decided { rule: Rule::ScaleInPaused, ..base };
        }
        let over = match poll.last_active {
            None => poll.now.saturating_sub(poll.created) > rules.initial_cooldown,
            Some(last) => last.saturating_add(rules.cooldown) < poll.now,
        };
        if !over {
            return Decided { rule: Rule::CoolingDown, ..base };
        }
        let replicas = Some(rules.idle_replicas.unwrap_or(0));
        return Decided { replicas, rule: Rule::Deactivate, ..base };
    }
    if rules.idle_replicas.is_none() && poll.current < min {
        return Decided { replicas: Some(min), rule: Rule::BelowMinimum, ..base };
    }
    base
}
