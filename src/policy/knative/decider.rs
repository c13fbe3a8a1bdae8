//! The decision of each tick: how many pods, and whether there is capacity for a burst.
//!
//! After knative/serving `pkg/autoscaler/scaling/{autoscaler,multiscaler}.go` (98e5ef90). Counts are
//! doubles until they are decided on, as upstream's are.

use super::TICK;
use super::activator::num_activators;
use super::collector::Observed;
use super::config::is_unlimited;
use super::max_window::TimeWindow;
use super::target::ScalingMetric;
use crate::policy::hpa::types::Nanos;

/// The scale before anything is known.
pub const SCALE_UNKNOWN: i32 = -1;

/// What a decider goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct DeciderSpec {
    /// The metric it reads.
    pub scaling_metric: ScalingMetric,
    /// Most pods per ready pod.
    pub max_scale_up_rate: f64,
    /// Most ready pods per pod kept.
    pub max_scale_down_rate: f64,
    /// What a pod is meant to carry.
    pub target_value: f64,
    /// The most a pod carries.
    pub total_value: f64,
    /// Requests to be able to take at once; 0 does not ask for it, -1 keeps the activator in the path.
    pub target_burst_capacity: f64,
    /// Requests in flight in one activator.
    pub activator_capacity: f64,
    /// Panic begins where the panic window asks for this many times the ready pods.
    pub panic_threshold: f64,
    /// Panic lasts this long after the last such tick.
    pub stable_window: Nanos,
    /// How long a lower scale waits; read when the decider is made.
    pub scale_down_delay: Nanos,
    /// The scale to begin with.
    pub initial_scale: i32,
    /// The fewest pods while there is anything to do; 0 or 1 is without.
    pub activation_scale: i32,
    /// Whether a route leads to the revision; without one, pods may go all at once.
    pub reachable: bool,
}

/// What a tick found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleResult {
    /// Pods wanted.
    pub desired: i32,
    /// Capacity beyond the load and the burst asked for; negative puts the activator in the path.
    pub excess_burst_capacity: i32,
    /// Activators before the revision.
    pub num_activators: i32,
}

/// The figures of a tick, for the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Pods the stable window asks for, unlimited.
    pub stable_pods: f64,
    /// Pods the panic window asks for, unlimited.
    pub panic_pods: f64,
    /// Most pods this tick allows.
    pub max_scale_up: f64,
    /// Fewest pods this tick allows.
    pub max_scale_down: f64,
    /// The tick was decided in panic.
    pub panicking: bool,
    /// What settled the wish, in the words of the decision log.
    pub rule: &'static str,
}

/// An autoscaler of one revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Decider {
    /// What it goes by; may be replaced between ticks.
    pub spec: DeciderSpec,
    /// The last tick over the panic threshold; `None` outside of panic.
    pub panic_time: Option<Nanos>,
    /// The most pods wanted in this panic.
    pub max_panic_pods: i32,
    delay: Option<TimeWindow>,
}

impl Decider {
    /// A new decider, or one after a restart: with more than one ready pod it begins in panic, so as
    /// not to scale down on windows that are still empty. `ready` is `None` if it cannot be read.
    pub fn new(spec: DeciderSpec, ready: Option<i32>, now: Nanos) -> Self {
        let ready = ready.unwrap_or(0);
        let delay = (spec.scale_down_delay > 0).then(|| TimeWindow::new(spec.scale_down_delay, TICK));
        Self { spec, panic_time: (ready > 1).then_some(now), max_panic_pods: ready, delay }
    }

    /// The result that stands before the first tick.
    pub fn initial(&self) -> ScaleResult {
        let burst = self.spec.target_burst_capacity;
        let excess = if burst == 0.0 || is_unlimited(burst) {
            burst
        } else {
            f64::from(self.spec.initial_scale) * self.spec.total_value - burst
        };
        ScaleResult {
            desired: SCALE_UNKNOWN,
            excess_burst_capacity: excess as i32,
            num_activators: super::activator::MIN_ACTIVATORS,
        }
    }

    /// One tick. `None`, and nothing changes, if the ready pods cannot be counted or there is no data.
    pub fn scale(
        &mut self,
        ready: Option<i32>,
        observed: Option<Observed>,
        now: Nanos,
    ) -> Option<(ScaleResult, Figures)> {
        let (ready, observed) = (ready?, observed?);
        let spec = &self.spec;
        // As if there were one, so that there is something to multiply.
        let pods = f64::from(ready).max(1.0);
        let max_scale_up = (spec.max_scale_up_rate * pods).ceil();
        let max_scale_down = if spec.reachable { (pods / spec.max_scale_down_rate).floor() } else { 0.0 };
        let stable_pods = (observed.stable / spec.target_value).ceil();
        let panic_pods = (observed.panic / spec.target_value).ceil();
        let limited = |wanted: f64| {
            let within = wanted.max(max_scale_down).min(max_scale_up) as i32;
            // Any demand brings the activation scale, past the limit if need be.
            if spec.activation_scale > within.max(1) && wanted > 0.0 {
                return (spec.activation_scale, Some("ActivationScale"));
            }
            let limit = match f64::from(within) {
                got if got < wanted => Some("ScaleUpRate"),
                got if got > wanted => Some("ScaleDownRate"),
                _ => None,
            };
            (within, limit)
        };
        let ((stable, limit), (panic, panic_limit)) = (limited(stable_pods), limited(panic_pods));

        if panic_pods / pods >= spec.panic_threshold {
            self.panic_time = Some(now);
        } else if self.panic_time.is_some_and(|last| last.saturating_add(spec.stable_window) < now) {
            self.panic_time = None;
            self.max_panic_pods = 0;
        }
        let panicking = self.panic_time.is_some();
        let mut desired = stable;
        if panicking {
            // Never down while panicking; the stable window may ask for more than the panic one.
            self.max_panic_pods = self.max_panic_pods.max(stable).max(panic);
            desired = self.max_panic_pods;
        }
        let mut rule = match panicking {
            true if desired > stable.max(panic) => "PanicHold",
            true => if panic >= stable { panic_limit } else { limit }.unwrap_or("Panic"),
            false => limit.unwrap_or("Stable"),
        };
        if let Some(window) = self.delay.as_mut().filter(|_| self.spec.reachable) {
            window.record(now, desired);
            if window.current() != desired {
                rule = "ScaleDownDelay";
            }
            desired = window.current();
        }

        let result = ScaleResult {
            desired,
            excess_burst_capacity: self.excess_burst_capacity(ready, observed.panic),
            num_activators: num_activators(
                ready,
                self.spec.total_value,
                self.spec.target_burst_capacity,
                self.spec.activator_capacity,
            ),
        };
        let figures = Figures { stable_pods, panic_pods, max_scale_up, max_scale_down, panicking, rule };
        Some((result, figures))
    }

    /// Of the pods that are really ready; by the panic window, so that the activator comes in early.
    fn excess_burst_capacity(&self, ready: i32, panic: f64) -> i32 {
        let burst = self.spec.target_burst_capacity;
        if burst == 0.0 {
            0
        } else if burst > 0.0 {
            (f64::from(ready) * self.spec.total_value - burst - panic).floor() as i32
        } else {
            -1
        }
    }
}

/// Whether a tick's result makes the revision be reconciled: another scale, another number of
/// activators, or the activator's coming into the path or leaving it.
pub fn calls_for_reconcile(before: ScaleResult, after: ScaleResult) -> bool {
    before.desired != after.desired
        || before.num_activators != after.num_activators
        || (before.excess_burst_capacity < 0) != (after.excess_burst_capacity < 0)
}

#[cfg(test)]
mod tests {
    use super::super::SECOND;
    use super::super::annotations::Annotations;
    use super::super::config::AutoscalerConfig;
    use super::super::revision::{Reachability, Revision};
    use super::*;

    #[test]
    fn what_settled_a_wish_is_named() {
        let annotations = Annotations {
            target: Some(10.0),
            target_utilization_percentage: Some(100.0),
            ..Annotations::default()
        };
        let config = AutoscalerConfig { max_scale_up_rate: 5.0, ..AutoscalerConfig::default() };
        let reachability = Reachability::Reachable;
        let revision = Revision { annotations, config, container_concurrency: 0, reachability };
        let ticks = |spec: DeciderSpec, ticks: &[(i32, f64, f64, i32, &str)]| {
            let mut decider = Decider::new(spec, Some(1), 0);
            for (index, &(ready, stable, panic, desired, rule)) in ticks.iter().enumerate() {
                let now = index as i64 * 30 * SECOND;
                let (result, figures) =
                    decider.scale(Some(ready), Some(Observed { stable, panic }), now).expect("there is data");
                assert_eq!((result.desired, figures.rule), (desired, rule), "tick {index}");
            }
        };
        let spec = revision.decider();
        ticks(
            spec.clone(),
            &[
                (1, 10.0, 10.0, 1, "Stable"),
                (1, 40.0, 90.0, 5, "ScaleUpRate"),
                (5, 60.0, 40.0, 6, "Panic"),
                (6, 50.0, 20.0, 6, "PanicHold"),
                (6, 10.0, 10.0, 3, "ScaleDownRate"),
                (3, 20.0, 10.0, 2, "Stable"),
                (2, 0.0, 0.0, 1, "ScaleDownRate"),
                (1, 0.0, 0.0, 0, "Stable"),
            ],
        );
        let activated = DeciderSpec { activation_scale: 3, ..spec.clone() };
        ticks(activated, &[(0, 10.0, 10.0, 3, "ActivationScale"), (3, 0.0, 0.0, 1, "ScaleDownRate")]);
        let delayed = DeciderSpec { scale_down_delay: 60 * SECOND, ..spec };
        ticks(
            delayed,
            &[
                (2, 20.0, 20.0, 2, "Stable"),
                (2, 10.0, 10.0, 2, "ScaleDownDelay"),
                (2, 10.0, 10.0, 1, "Stable"),
            ],
        );
    }
}
