//! One reconcile, in upstream's order: read the scale, choose a branch, evaluate the
//! metrics, normalise, write the scale, report.
//!
//! After Kubernetes' `horizontal.go` (1.33 to 1.37; `version` holds the differences).

use super::behavior::{Behavior, History, ScaleEvent, store_event};
use super::cluster::{Cluster, Scale, ScaleWriteError};
use super::conditions::{ConditionReason, ConditionType};
use super::metric::{Metric, MetricProposal};
use super::proposals::{Failure, MetricResult, Metrics, evaluate_metrics};
use super::stabilize::{Recommendation, Windows, clamp_legacy, stabilize, stabilize_legacy};
use super::status::Status;
use super::types::{Nanos, Readiness};
use super::version::{KubernetesVersion, ZeroRule};

/// Attempts at writing the scale when each meets a conflict: the steps of upstream's
/// default backoff.
const WRITE_ATTEMPTS: u32 = 4;

/// `spec` of an HPA, defaults filled in except where absence has a meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// `minReplicas`; `None` is 1.
    pub min_replicas: Option<i32>,
    /// `maxReplicas`.
    pub max_replicas: i32,
    /// `metrics`.
    pub metrics: Vec<Metric>,
    /// `behavior`; `None` is the older normalisation, not the defaults.
    pub behavior: Option<Behavior>,
}

/// Feature gates of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    /// `HPAScaleToZero`.
    pub scale_to_zero: bool,
    /// `HPAConfigurableTolerance`.
    pub configurable_tolerance: bool,
    /// `PodLevelResources`.
    pub pod_level_resources: bool,
}

/// Flags of the controller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControllerConfig {
    /// The release of Kubernetes.
    pub version: KubernetesVersion,
    /// `--horizontal-pod-autoscaler-tolerance`, a fraction.
    pub tolerance: f64,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`.
    pub downscale_stabilization: Nanos,
    /// The readiness periods.
    pub readiness: Readiness,
    /// Feature gates.
    pub gates: Gates,
}

/// What the controller remembers of an HPA; lost when it restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Recommendations; `None` before the first reconcile.
    pub recommendations: Option<Vec<Recommendation>>,
    /// Rescales upwards.
    pub ups: Vec<ScaleEvent>,
    /// Rescales downwards.
    pub downs: Vec<ScaleEvent>,
}

/// Which way a count went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Up.
    ScaleUp,
    /// Down.
    ScaleDown,
    /// Neither.
    None,
}

impl Action {
    /// From one count to another.
    pub fn between(from: i32, to: i32) -> Self {
        match to.cmp(&from) {
            std::cmp::Ordering::Greater => Self::ScaleUp,
            std::cmp::Ordering::Less => Self::ScaleDown,
            std::cmp::Ordering::Equal => Self::None,
        }
    }
}

/// What a reconcile did.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconciled {
    /// Replicas the scale holds afterwards, as far as this reconcile knows.
    pub replicas: i32,
    /// The scale was written.
    pub rescaled: bool,
    /// Which way.
    pub action: Action,
    /// What settled it, for a log: a limit before a stabilisation before "within range".
    pub rule: ConditionReason,
    /// Why it rescaled, upstream's words; empty if it did not want to.
    pub reason: String,
    /// The metrics, in order, as far as they were evaluated.
    pub metrics: Vec<MetricResult>,
    /// Upstream returned an error, its text.
    pub error: Option<String>,
    /// Reasons of the Kubernetes Events it emitted, in order.
    pub events: Vec<&'static str>,
    /// The status differs from before, so it was written.
    pub status_written: bool,
}

/// A reconcile under way.
struct Run<'a> {
    spec: &'a Spec,
    config: &'a ControllerConfig,
    memory: &'a mut Memory,
    status: &'a mut Status,
    now: Nanos,
    out: Reconciled,
}

/// Reconciles an HPA once.
pub fn reconcile(
    spec: &Spec,
    config: &ControllerConfig,
    memory: &mut Memory,
    status: &mut Status,
    cluster: &mut dyn Cluster,
    now: Nanos,
) -> Reconciled {
    let before = status.clone();
    let out = Reconciled {
        replicas: status.current_replicas,
        rescaled: false,
        action: Action::None,
        rule: ConditionReason::DesiredWithinRange,
        reason: String::new(),
        metrics: Vec::new(),
        error: None,
        events: Vec::new(),
        status_written: false,
    };
    let mut run = Run { spec, config, memory, status, now, out };
    run.reconcile(cluster);
    let mut out = run.out;
    out.status_written = *status != before;
    out
}

impl Run<'_> {
    fn reconcile(&mut self, cluster: &mut dyn Cluster) {
        let Ok(scale) = cluster.scale() else {
            self.out.events.push("FailedGetScale");
            self.set(ConditionType::AbleToScale, false, ConditionReason::FailedGetScale);
            self.fail(ConditionReason::FailedGetScale, "failed to query scale subresource");
            return;
        };
        self.set(ConditionType::AbleToScale, true, ConditionReason::SucceededGetScale);
        let current = scale.spec_replicas;
        self.out.replicas = current;
        self.memory
            .recommendations
            .get_or_insert_with(|| vec![Recommendation { replicas: current, at: self.now }]);
        let min = self.spec.min_replicas.unwrap_or(1);

        let desired = if current == 0 && !self.may_leave_zero(min) {
            self.set(ConditionType::ScalingActive, false, ConditionReason::ScalingDisabled);
            self.out.rule = ConditionReason::ScalingDisabled;
            self.status.current_metrics.clear();
            current
        } else if current > self.spec.max_replicas {
            "Current number of replicas above Spec.MaxReplicas".clone_into(&mut self.out.reason);
            self.out.rule = ConditionReason::TooManyReplicas;
            self.status.current_metrics.clear();
            self.spec.max_replicas
        } else if current > 0 && current < min {
            "Current number of replicas below Spec.MinReplicas".clone_into(&mut self.out.reason);
            self.out.rule = ConditionReason::TooFewReplicas;
            self.status.current_metrics.clear();
            min
        } else {
            match self.desired_by_metrics(&scale, min, cluster) {
                Some(desired) => desired,
                None => return,
            }
        };

        if desired != current && !self.rescale(current, desired, min, cluster) {
            return;
        }
        self.drop_scaled_to_zero_without_gate();
        self.status.current_replicas = current;
        self.status.desired_replicas = desired;
        if self.out.rescaled {
            self.status.last_scale_time = Some(self.now);
        }
    }

    /// Whether the condition `ScaledToZero` is kept at all.
    fn remembers_zero(&self) -> bool {
        self.config.version.zero_rule() == ZeroRule::Condition
    }

    /// Whether this HPA itself took the workload to zero and may bring it back.
    fn took_it_to_zero(&self) -> bool {
        self.remembers_zero()
            && self.config.gates.scale_to_zero
            && self.status.conditions.get(ConditionType::ScaledToZero).is_some_and(|c| c.is_true)
    }

    fn may_leave_zero(&self, min: i32) -> bool {
        match self.config.version.zero_rule() {
            // The gate is asked for when the object is validated, and not here.
            ZeroRule::MinReplicas => min == 0,
            ZeroRule::Condition => self.took_it_to_zero() && (min != 0 || self.has_object_or_external()),
        }
    }

    fn has_object_or_external(&self) -> bool {
        self.spec.metrics.iter().any(Metric::is_object_or_external)
    }

    /// Evaluates the metrics and normalises. `None` ends the reconcile.
    fn desired_by_metrics(&mut self, scale: &Scale, min: i32, cluster: &dyn Cluster) -> Option<i32> {
        let current = scale.spec_replicas;
        let Metrics { results, statuses, events, outcome } =
            evaluate_metrics(self.spec, self.config, self.status.current_replicas, scale, cluster, self.now);
        self.out.metrics = results;
        self.out.events.extend(events);
        let best = match outcome {
            Err(Failure { reason, error }) => {
                self.set(ConditionType::ScalingActive, false, reason);
                self.status.current_replicas = current;
                self.status.current_metrics = statuses;
                self.out.events.push("FailedComputeMetricsReplicas");
                self.drop_scaled_to_zero_without_gate();
                self.fail(reason, error);
                return None;
            }
            Ok(best) => best,
        };
        self.set(ConditionType::ScalingActive, true, ConditionReason::ValidMetricFound);
        self.status.current_metrics = statuses;
        self.out.error = best.partial_error;
        let MetricProposal { replicas, name, .. } = best.proposal;
        let proposal = replicas.max(0);
        if proposal > current {
            self.out.reason = format!("{name} above target");
        } else if proposal < current {
            "All metrics below target".clone_into(&mut self.out.reason);
        }
        let desired = self.normalise(current, proposal, min);
        let wakes_below_min = current == 0 && min != 0 && self.took_it_to_zero() && desired < min;
        Some(if wakes_below_min { min } else { desired })
    }

    /// Stabilises a proposal and holds it to every limit.
    fn normalise(&mut self, current: i32, proposal: i32, min: i32) -> i32 {
        let max = self.spec.max_replicas;
        let log = self.memory.recommendations.get_or_insert_default();
        let window = self.config.downscale_stabilization;
        let (stabilized, held, (desired, limit)) = if let Some(behavior) = &self.spec.behavior {
            let windows = Windows {
                up: behavior.scale_up.stabilization_window.unwrap_or(0),
                down: behavior.scale_down.stabilization_window.unwrap_or(window),
            };
            let (stabilized, held) = stabilize(log, current, proposal, windows, self.now);
            let history = History { ups: &self.memory.ups, downs: &self.memory.downs, now: self.now };
            (stabilized, held, history.clamp(behavior, current, stabilized, min, max))
        } else {
            let stabilized = stabilize_legacy(log, proposal, window, self.now);
            (stabilized, ConditionReason::ScaleDownStabilized, clamp_legacy(current, stabilized, min, max))
        };
        let able = if stabilized == proposal { ConditionReason::ReadyForNewScale } else { held };
        self.set(ConditionType::AbleToScale, true, able);
        let limited = desired != stabilized;
        self.set(ConditionType::ScalingLimited, limited, limit);
        self.out.rule = if limited || able == ConditionReason::ReadyForNewScale { limit } else { able };
        desired
    }

    /// Writes the scale; false if that failed, which ends the reconcile.
    fn rescale(&mut self, current: i32, desired: i32, min: i32, cluster: &mut dyn Cluster) -> bool {
        let attempts = if self.config.version.retries_conflicts() { WRITE_ATTEMPTS } else { 1 };
        if !write_scale(cluster, desired, attempts) {
            self.out.events.push("FailedRescale");
            self.set(ConditionType::AbleToScale, false, ConditionReason::FailedUpdateScale);
            self.status.current_replicas = current;
            self.drop_scaled_to_zero_without_gate();
            self.fail(ConditionReason::FailedUpdateScale, "failed to rescale");
            return false;
        }
        self.set(ConditionType::AbleToScale, true, ConditionReason::SucceededRescale);
        if self.remembers_zero() && self.config.gates.scale_to_zero {
            let to_zero = current > 0 && desired == 0 && min == 0 && self.has_object_or_external();
            let reason =
                if to_zero { ConditionReason::ScaledToZero } else { ConditionReason::NotScaledToZero };
            self.set(ConditionType::ScaledToZero, to_zero, reason);
        }
        self.out.events.push("SuccessfulRescale");
        let behavior = self.spec.behavior.as_ref();
        let (log, rules) = if desired > current {
            (&mut self.memory.ups, behavior.map(|b| &b.scale_up))
        } else {
            (&mut self.memory.downs, behavior.map(|b| &b.scale_down))
        };
        store_event(log, rules, desired.wrapping_sub(current), self.now);
        self.out.replicas = desired;
        self.out.rescaled = true;
        self.out.action = Action::between(current, desired);
        true
    }

    fn drop_scaled_to_zero_without_gate(&mut self) {
        if self.remembers_zero() && !self.config.gates.scale_to_zero {
            self.status.conditions.remove(ConditionType::ScaledToZero);
        }
    }

    fn set(&mut self, kind: ConditionType, is_true: bool, reason: ConditionReason) {
        self.status.conditions.set(kind, is_true, reason);
    }

    fn fail(&mut self, rule: ConditionReason, error: impl Into<String>) {
        self.out.rule = rule;
        self.out.error = Some(error.into());
    }
}

/// Writes the scale, reading it again after a conflict.
fn write_scale(cluster: &mut dyn Cluster, desired: i32, attempts: u32) -> bool {
    for _ in 0..attempts {
        match cluster.set_replicas(desired) {
            Ok(()) => return true,
            Err(ScaleWriteError::Other) => return false,
            Err(ScaleWriteError::Conflict) => {
                if cluster.scale().is_err() {
                    return false;
                }
            }
        }
    }
    false
}
