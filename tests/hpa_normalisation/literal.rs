//! The HPA's normalisation, written down a second time: slowly, rule by rule, in plain numbers and
//! lists. It uses nothing of the library, so that a mistake there is not repeated here.
//!
//! After `horizontal.go` of Kubernetes 1.33 to 1.37, of `reconcileAutoscaler` only what stands
//! around the normalisation: which branch is taken, how zero is left, and what a write of the
//! scale leaves behind.

/// One limit: (counted in percent, value, period in ns).
pub type Policy = (bool, i64, i64);

/// Which limit of several binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    Max,
    Min,
    Disabled,
}

/// One direction of `behavior`. The window upwards is always given, downwards it may be left out.
#[derive(Clone, Debug)]
pub struct Direction {
    pub window: Option<i64>,
    pub select: Select,
    pub policies: Vec<Policy>,
}

#[derive(Clone, Debug)]
pub struct Behavior {
    pub up: Direction,
    pub down: Direction,
}

/// What one reconcile finds.
#[derive(Clone, Debug)]
pub struct Given {
    pub now: i64,
    pub current: i64,
    pub proposal: i64,
    pub min: i64,
    pub max: i64,
    pub behavior: Option<Behavior>,
    /// The controller's own window downwards.
    pub flag: i64,
    /// Zero is left if the condition `ScaledToZero` holds (1.36 on), else if `min` is 0.
    pub zero_by_condition: bool,
    pub write_fails: bool,
}

/// What it does, apart from what it remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub replicas: i64,
    pub wrote: bool,
    /// What the decision log names.
    pub rule: &'static str,
    pub events: Vec<&'static str>,
}

/// What the controller remembers.
#[derive(Clone, Debug, Default)]
pub struct Literal {
    /// (replicas, time), or never seen.
    pub recommendations: Option<Vec<(i64, i64)>>,
    /// (change, time, outdated).
    pub ups: Vec<(i64, i64, bool)>,
    pub downs: Vec<(i64, i64, bool)>,
    /// (type, status, reason).
    pub conditions: Vec<(&'static str, bool, &'static str)>,
}

/// 32-bit arithmetic wraps.
fn wrap(number: i64) -> i64 {
    i64::from(number as u32 as i32)
}

/// A double made an integer of 32 bits; one that does not fit becomes the smallest (amd64).
fn to_int32(number: f64) -> i64 {
    let whole = number.trunc();
    if (-2_147_483_648.0..=2_147_483_647.0).contains(&whole) { whole as i64 } else { -2_147_483_648 }
}

impl Literal {
    fn condition(&mut self, kind: &'static str, status: bool, reason: &'static str) {
        for condition in &mut self.conditions {
            if condition.0 == kind {
                *condition = (kind, status, reason);
                return;
            }
        }
        self.conditions.push((kind, status, reason));
    }

    pub fn reconcile(&mut self, given: &Given) -> Done {
        let mut done = Done { replicas: given.current, ..Done::default() };
        self.condition("AbleToScale", true, "SucceededGetScale");
        if self.recommendations.is_none() {
            self.recommendations = Some(vec![(given.current, given.now)]);
        }
        let took_it_to_zero = self.conditions.iter().any(|c| c.0 == "ScaledToZero" && c.1);
        let may_leave_zero = if given.zero_by_condition { took_it_to_zero } else { given.min == 0 };
        let mut desired;
        if given.current == 0 && !may_leave_zero {
            self.condition("ScalingActive", false, "ScalingDisabled");
            done.rule = "ScalingDisabled";
            return done;
        } else if given.current > given.max {
            done.rule = "TooManyReplicas";
            desired = given.max;
        } else if given.current > 0 && given.current < given.min {
            done.rule = "TooFewReplicas";
            desired = given.min;
        } else {
            self.condition("ScalingActive", true, "ValidMetricFound");
            let (stabilised, held_by) = match &given.behavior {
                None => self.stabilise_without_behavior(given),
                Some(behavior) => self.stabilise_with_behavior(given, behavior),
            };
            let able = if stabilised == given.proposal { "ReadyForNewScale" } else { held_by };
            self.condition("AbleToScale", true, able);
            let (result, reason) = match &given.behavior {
                None => clamp_without_behavior(given, stabilised),
                Some(behavior) => self.clamp_with_behavior(given, behavior, stabilised),
            };
            self.condition("ScalingLimited", result != stabilised, reason);
            done.rule = if result == stabilised && stabilised != given.proposal { able } else { reason };
            desired = result;
            if given.zero_by_condition && given.current == 0 && given.min != 0 && desired < given.min {
                desired = given.min;
            }
        }
        if desired == given.current {
            return done;
        }
        if given.write_fails {
            self.condition("AbleToScale", false, "FailedUpdateScale");
            done.rule = "FailedUpdateScale";
            done.events.push("FailedRescale");
            return done;
        }
        self.condition("AbleToScale", true, "SucceededRescale");
        if given.zero_by_condition {
            // The one metric is External.
            let is_zero = given.current > 0 && desired == 0 && given.min == 0;
            self.condition("ScaledToZero", is_zero, if is_zero { "ScaledToZero" } else { "NotScaledToZero" });
        }
        done.events.push("SuccessfulRescale");
        done.replicas = desired;
        done.wrote = true;
        if let Some(behavior) = &given.behavior {
            if desired > given.current {
                store(&mut self.ups, &behavior.up.policies, desired - given.current, given.now);
            } else {
                store(&mut self.downs, &behavior.down.policies, given.current - desired, given.now);
            }
        }
        done
    }

    /// The highest recommendation whose age is at most the window.
    fn stabilise_without_behavior(&mut self, given: &Given) -> (i64, &'static str) {
        let log = self.recommendations.as_mut().expect("it was seen");
        let mut highest = given.proposal;
        let mut free = None;
        for (index, (replicas, at)) in log.iter().enumerate() {
            let age = given.now - at;
            if age > given.flag {
                free = Some(index);
            } else if *replicas > highest {
                highest = *replicas;
            }
        }
        remember(log, free, given);
        (highest, "ScaleDownStabilized")
    }

    /// The current count, raised to the lowest recommendation younger than the window upwards and
    /// lowered to the highest one younger than the window downwards.
    fn stabilise_with_behavior(&mut self, given: &Given, behavior: &Behavior) -> (i64, &'static str) {
        let up_window = behavior.up.window.expect("the window upwards has a default");
        let down_window = behavior.down.window.unwrap_or(given.flag);
        let log = self.recommendations.as_mut().expect("it was seen");
        let (mut lowest, mut highest) = (given.proposal, given.proposal);
        let mut free = None;
        for (index, (replicas, at)) in log.iter().enumerate() {
            let age = given.now - at;
            if age < up_window && *replicas < lowest {
                lowest = *replicas;
            }
            if age < down_window && *replicas > highest {
                highest = *replicas;
            }
            if age > up_window && age > down_window {
                free = Some(index);
            }
        }
        remember(log, free, given);
        let mut result = given.current;
        if result < lowest {
            result = lowest;
        }
        if result > highest {
            result = highest;
        }
        let is_up = given.proposal >= given.current;
        (result, if is_up { "ScaleUpStabilized" } else { "ScaleDownStabilized" })
    }

    /// What of the current count was there when a policy's period began.
    fn start_of(&self, current: i64, period: i64, now: i64) -> i64 {
        let mut start = current;
        for (change, at, _) in &self.ups {
            if now - at < period {
                start = wrap(start - change);
            }
        }
        for (change, at, _) in &self.downs {
            if now - at < period {
                start = wrap(start + change);
            }
        }
        start
    }

    fn clamp_with_behavior(&self, given: &Given, behavior: &Behavior, wanted: i64) -> (i64, &'static str) {
        let current = given.current;
        if wanted > current {
            let mut limits = Vec::new();
            for (is_percent, value, period) in &behavior.up.policies {
                let start = self.start_of(current, *period, given.now);
                limits.push(if *is_percent {
                    to_int32((start as f64 * (1.0 + *value as f64 / 100.0)).ceil())
                } else {
                    wrap(start + value)
                });
            }
            limits.sort_unstable();
            let chosen = match behavior.up.select {
                Select::Max => *limits.last().expect("there is a policy"),
                Select::Min => limits[0],
                Select::Disabled => current,
            };
            let limit = chosen.max(current);
            let (highest, reason) =
                if given.max > limit { (limit, "ScaleUpLimit") } else { (given.max, "TooManyReplicas") };
            if wanted > highest {
                return (highest, reason);
            }
        }
        if wanted < current {
            let mut limits = Vec::new();
            for (is_percent, value, period) in &behavior.down.policies {
                let start = self.start_of(current, *period, given.now);
                limits.push(if *is_percent {
                    to_int32(start as f64 * (1.0 - *value as f64 / 100.0))
                } else {
                    wrap(start - value)
                });
            }
            limits.sort_unstable();
            let chosen = match behavior.down.select {
                Select::Max => limits[0],
                Select::Min => *limits.last().expect("there is a policy"),
                Select::Disabled => current,
            };
            let limit = chosen.min(current);
            let (lowest, reason) =
                if given.min < limit { (limit, "ScaleDownLimit") } else { (given.min, "TooFewReplicas") };
            if wanted < lowest {
                return (lowest, reason);
            }
        }
        (wanted, "DesiredWithinRange")
    }
}

/// Logs the proposal in the free slot, or at the end.
fn remember(log: &mut Vec<(i64, i64)>, free: Option<usize>, given: &Given) {
    match free {
        Some(index) => log[index] = (given.proposal, given.now),
        None => log.push((given.proposal, given.now)),
    }
}

/// Bounds, and at most twice the current count but 4 in any case.
fn clamp_without_behavior(given: &Given, wanted: i64) -> (i64, &'static str) {
    let cap = (2 * given.current).max(4);
    let (highest, reason) =
        if given.max > cap { (cap, "ScaleUpLimit") } else { (given.max, "TooManyReplicas") };
    if wanted < given.min {
        (given.min, "TooFewReplicas")
    } else if wanted > highest {
        (highest, reason)
    } else {
        (wanted, "DesiredWithinRange")
    }
}

/// Logs a rescale: what is older than the longest period is outdated from then on, and the last
/// such slot is used again.
fn store(events: &mut Vec<(i64, i64, bool)>, policies: &[Policy], change: i64, now: i64) {
    let mut longest = 0;
    for (_, _, period) in policies {
        if *period > longest {
            longest = *period;
        }
    }
    let mut free = None;
    for (index, event) in events.iter_mut().enumerate() {
        if now - event.1 > longest {
            event.2 = true;
        }
        if event.2 {
            free = Some(index);
        }
    }
    match free {
        Some(index) => events[index] = (change, now, false),
        None => events.push((change, now, false)),
    }
}
