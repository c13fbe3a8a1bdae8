//! Limits on what a policy may do: bounds, so many changes in so long, and rest after each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::{Decision, View};
use super::layer::{Demand, Layered, Rule};
use super::{Fault, PolicySpec, Setting};
use crate::kernel::{SimDuration, SimTime};

/// Limits on the replicas that a policy orders. Spares pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GuardSpec {
    /// Never fewer replicas than these. It comes before `up`: replicas that are missing at the start are ordered at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<u32>,
    /// Never more replicas than these. It comes before `down`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<u32>,
    /// Limits on additions. What they hold back is ordered as soon as they let it, if it is still wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<ChangeSpec>,
    /// Limits on removals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<ChangeSpec>,
    /// The policy below. It sees the replicas there are.
    pub over: PolicySpec,
}

/// Limits on changes in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeSpec {
    /// Most replicas within any `period`; 0 forbids the direction. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The length of the sliding window that `replicas` is counted in; what is exactly as old no longer counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<SimDuration>,
    /// No change in this direction for so long after any change. Default: none.
    #[serde(default)]
    pub hold: SimDuration,
}

impl GuardSpec {
    /// What is wrong with it but for the policy below.
    pub(super) fn check_limits(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut add =
            |path: String, message: String, help: &str| faults.push((path, message, help.to_owned()));
        if self.floor.is_none() && self.ceiling.is_none() && self.up.is_none() && self.down.is_none() {
            let message = "a guard without a limit".to_owned();
            add(String::new(), message, "write `ceiling: 8` or `up: { replicas: 2, period: 1m }`");
        }
        if let (Some(floor), Some(ceiling)) = (self.floor, self.ceiling)
            && floor > ceiling
        {
            let message = format!("at least {floor} and at most {ceiling} replicas");
            add("ceiling".to_owned(), message, "write a ceiling that is not below the floor");
        }
        for (key, limit) in [("up", &self.up), ("down", &self.down)] {
            let Some(limit) = limit else { continue };
            match (limit.replicas, limit.period) {
                (Some(_), None) => {
                    let message = "so many replicas in how long?".to_owned();
                    add(format!("{key}.replicas"), message, "write `period: 1m` beside it");
                }
                (None, Some(_)) => {
                    let message = "how many replicas in a period?".to_owned();
                    add(format!("{key}.period"), message, "write `replicas: 2` beside it");
                }
                (None, None) if limit.hold.is_zero() => {
                    let help = "write `replicas: 2` and `period: 1m`, or `hold: 3m`";
                    add(key.to_owned(), "a limit that limits nothing".to_owned(), help);
                }
                (Some(_), Some(period)) if period.is_zero() => {
                    add(format!("{key}.period"), "a period of no time".to_owned(), "write e.g. 1m");
                }
                _ => {}
            }
        }
        faults
    }
}

/// A change: when, and by how many up or down.
type Change = (SimTime, u32);

/// A limit in one direction, and what it counts.
#[derive(Debug)]
struct Limit {
    most: Option<(u32, SimDuration)>,
    hold: SimDuration,
    /// Changes in this direction that still count.
    made: Vec<Change>,
}

impl Limit {
    fn new(spec: Option<ChangeSpec>) -> Self {
        let spec = spec.unwrap_or(ChangeSpec { replicas: None, period: None, hold: SimDuration::ZERO });
        Self { most: spec.replicas.zip(spec.period), hold: spec.hold, made: Vec::new() }
    }

    /// Whether it still rests after the last change of either direction.
    fn is_held(&self, now: SimTime, last: Option<SimTime>) -> bool {
        last.is_some_and(|last| now.since(last) < self.hold)
    }

    /// How many more the period lets through.
    fn room(&mut self, now: SimTime) -> u32 {
        let Some((most, period)) = self.most else { return u32::MAX };
        self.made.retain(|(at, _)| now.since(*at) < period);
        let made: u64 = self.made.iter().map(|(_, by)| u64::from(*by)).sum();
        u32::try_from(u64::from(most).saturating_sub(made)).unwrap_or(u32::MAX)
    }

    /// When more is let through than at `now`; `None` where that never comes.
    fn opens(&mut self, now: SimTime, last: Option<SimTime>) -> Option<SimTime> {
        let rested = last.map_or(now, |last| last.saturating_add(self.hold));
        let is_full = self.room(now) == 0;
        let counted = match self.most.filter(|_| is_full) {
            Some((_, period)) => self.made.first()?.0.saturating_add(period),
            None => now,
        };
        Some(rested.max(counted))
    }
}

/// The rule of a running guard.
#[derive(Debug)]
pub struct GuardRule {
    floor: u32,
    ceiling: u32,
    up: Limit,
    down: Limit,
    /// What was ordered last.
    ordered: Option<u32>,
    /// When that was a change.
    changed: Option<SimTime>,
    /// When more is let through of what is held back.
    next: Option<SimTime>,
}

/// A running guard.
pub type Guard = Layered<GuardRule>;

/// From a spec.
pub fn build(spec: &GuardSpec, setting: &Setting) -> Guard {
    Layered::new(rule(spec), [("over".to_owned(), spec.over.build(setting))])
}

/// The rule of a guard that has not decided anything yet.
pub fn rule(spec: &GuardSpec) -> GuardRule {
    GuardRule {
        floor: spec.floor.unwrap_or(0),
        ceiling: spec.ceiling.unwrap_or(u32::MAX),
        up: Limit::new(spec.up),
        down: Limit::new(spec.down),
        ordered: None,
        changed: None,
        next: None,
    }
}

impl GuardRule {
    fn bound(&self, replicas: u32) -> u32 {
        replicas.max(self.floor).min(self.ceiling)
    }

    fn note(&mut self, now: SimTime, from: u32, to: u32) {
        if from == to {
            return;
        }
        let limit = if to > from { &mut self.up } else { &mut self.down };
        limit.made.push((now, from.abs_diff(to)));
        self.changed = Some(now);
    }
}

impl Rule for GuardRule {
    fn name(&self) -> &'static str {
        "guard"
    }

    fn settle(&mut self, demands: &[Demand], view: &View<'_>) -> Decision {
        let now = view.now;
        let mut decision = demands[0].decision.clone();
        let wanted = decision.replicas;
        let there = self.ordered.unwrap_or(view.spec_replicas);
        // Only what the run starts with can be out of bounds.
        let from = self.bound(there);
        self.note(now, there, from);
        let target = self.bound(wanted);
        let limit = if target > from { &mut self.up } else { &mut self.down };
        let is_held = limit.is_held(now, self.changed);
        let by = if is_held { 0 } else { target.abs_diff(from).min(limit.room(now)) };
        let to = if target > from { from + by } else { from - by };
        let rule = match (to == target, is_held) {
            (false, true) => Some("GuardHold"),
            (false, false) => Some(if target > from { "GuardUp" } else { "GuardDown" }),
            (true, _) if target > wanted => Some("GuardFloor"),
            (true, _) if target < wanted => Some("GuardCeiling"),
            (true, _) => None,
        };
        if let Some(rule) = rule {
            decision.why.rule = rule;
            decision.why.detail = format!("{to} of {wanted} that are wanted: {}", decision.why.detail);
        }
        self.note(now, from, to);
        self.ordered = Some(to);
        let changed = self.changed;
        let limit = if target > from { &mut self.up } else { &mut self.down };
        self.next = if to == target { None } else { limit.opens(now, changed) };
        decision.replicas = to;
        decision
    }

    fn initial(&self, members: &[(u32, u32)]) -> (u32, u32) {
        let (replicas, spare) = members[0];
        (self.bound(replicas), spare)
    }

    fn maximum(&self, members: &[Option<u32>]) -> Option<u32> {
        let floor = Some(self.floor).filter(|floor| *floor > 0);
        members[0].map(|most| self.bound(most)).max(floor)
    }

    fn timer(&self) -> Option<SimTime> {
        self.next
    }
}
