//! Several metrics -> one proposal: the highest wins, and a failed metric never lets the
//! workload shrink.
//!
//! After `computeReplicasForMetrics` of Kubernetes' `horizontal.go` (1.33 to 1.37).

use super::cluster::{Cluster, Scale};
use super::conditions::ConditionReason;
use super::metric::{Metric, MetricProposal, ScaleCounts};
use super::reconcile::{Action, ControllerConfig, Spec};
use super::replica_calculator::Calculator;
use super::selector::Selector;
use super::status::MetricStatus;
use super::types::{MetricError, Nanos, Pod, Tolerances};

/// How one metric went.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricResult {
    /// Its place in `spec.metrics`.
    pub index: usize,
    /// Its proposal, or why there is none.
    pub proposal: Result<MetricProposal, MetricError>,
    /// The error lies in the spec, not in the cluster.
    pub is_spec_error: bool,
    /// The proposal against the `currentReplicas` the status had before.
    pub action: Action,
}

/// The proposal that won.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// It.
    pub proposal: MetricProposal,
    /// Some metrics failed, which scaling survives.
    pub partial_error: Option<String>,
}

/// Nothing can be decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The reason for `ScalingActive`.
    pub reason: ConditionReason,
    /// The error.
    pub error: String,
}

/// All metrics of one reconcile.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Each, in order.
    pub results: Vec<MetricResult>,
    /// `status.currentMetrics`.
    pub statuses: Vec<Option<MetricStatus>>,
    /// Reasons of the Events emitted.
    pub events: Vec<&'static str>,
    /// What they come to.
    pub outcome: Result<Best, Failure>,
}

/// Evaluates every metric of the spec. `previous_replicas` is `status.currentReplicas` so far.
pub fn evaluate_metrics(
    spec: &Spec,
    config: &ControllerConfig,
    previous_replicas: i32,
    scale: &Scale,
    cluster: &dyn Cluster,
    now: Nanos,
) -> Metrics {
    let pods = match selected_pods(scale, cluster) {
        Ok(pods) => pods,
        Err((event, failure)) => {
            return Metrics {
                results: Vec::new(),
                statuses: Vec::new(),
                events: vec![event],
                outcome: Err(failure),
            };
        }
    };
    let calculator = Calculator {
        pods: &pods,
        tolerances: tolerances(spec, config),
        readiness: config.readiness,
        pod_level_resources: config.gates.pod_level_resources,
        version: config.version,
        now,
    };
    let counts = ScaleCounts { spec: scale.spec_replicas, status: scale.status_replicas };
    let results: Vec<MetricResult> = spec
        .metrics
        .iter()
        .enumerate()
        .map(|(index, metric)| {
            let proposal = metric.evaluate(&calculator, counts, cluster);
            let action =
                proposal.as_ref().map_or(Action::None, |p| Action::between(previous_replicas, p.replicas));
            MetricResult { index, proposal, is_spec_error: matches!(metric, Metric::Unknown(_)), action }
        })
        .collect();
    let statuses = results.iter().map(|r| r.proposal.as_ref().ok().map(|p| p.status)).collect();
    let failed = results.iter().filter(|r| r.proposal.is_err());
    let events = failed.map(|r| spec.metrics[r.index].failure_reason().as_str()).collect();
    let outcome = choose(spec, &results, scale.spec_replicas);
    Metrics { results, statuses, events, outcome }
}

/// The highest proposal, if the failures allow it.
fn choose(spec: &Spec, results: &[MetricResult], current: i32) -> Result<Best, Failure> {
    let mut best: Option<&MetricProposal> = None;
    let mut invalid = 0;
    let mut first_error: Option<(ConditionReason, &MetricError)> = None;
    for result in results {
        match &result.proposal {
            // Strictly greater: the first of equals gives its name to the messages.
            Ok(proposal) if best.is_none_or(|b| proposal.replicas > b.replicas) => best = Some(proposal),
            Ok(_) => {}
            Err(error) => {
                invalid += 1;
                first_error.get_or_insert((spec.metrics[result.index].failure_reason(), error));
            }
        }
    }
    let error = first_error.map(|(reason, error)| {
        let total = results.len();
        (reason, format!("invalid metrics ({invalid} invalid out of {total}), first error is: {error}"))
    });
    match (best, error) {
        (Some(best), None) => Ok(Best { proposal: best.clone(), partial_error: None }),
        (Some(best), Some((_, error))) if best.replicas >= current => {
            Ok(Best { proposal: best.clone(), partial_error: Some(error) })
        }
        (_, Some((reason, error))) => Err(Failure { reason, error }),
        // Defaulting and validation leave no spec without metrics.
        (None, None) => Err(Failure {
            reason: ConditionReason::InvalidMetricSourceType,
            error: "no metrics in the spec".to_owned(),
        }),
    }
}

/// The flag's tolerance in both directions, or what `behavior` says of each.
fn tolerances(spec: &Spec, config: &ControllerConfig) -> Tolerances {
    let behavior = spec.behavior.as_ref().filter(|_| config.gates.configurable_tolerance);
    Tolerances {
        down: behavior.and_then(|b| b.scale_down.tolerance).unwrap_or(config.tolerance),
        up: behavior.and_then(|b| b.scale_up.tolerance).unwrap_or(config.tolerance),
    }
}

/// The pods of the scale's selector, if it is sound and no other HPA wants one of them.
fn selected_pods<'a>(
    scale: &Scale,
    cluster: &'a dyn Cluster,
) -> Result<Vec<&'a Pod>, (&'static str, Failure)> {
    let invalid =
        |event, error: String| Err((event, Failure { reason: ConditionReason::InvalidSelector, error }));
    if scale.selector.is_empty() {
        return invalid("SelectorRequired", "selector is required".to_owned());
    }
    let selector: Selector = match scale.selector.parse() {
        Ok(selector) => selector,
        Err(error) => return invalid("InvalidSelector", format!("{error}")),
    };
    let pods: Vec<&Pod> = cluster.pods().iter().filter(|pod| selector.matches(&pod.labels)).collect();
    let contested = pods.iter().any(|pod| cluster.rivals().iter().any(|rival| rival.matches(&pod.labels)));
    if contested {
        let failure = Failure {
            reason: ConditionReason::AmbiguousSelector,
            error: "pods by selector are controlled by more than one HPA".to_owned(),
        };
        return Err(("AmbiguousSelector", failure));
    }
    Ok(pods)
}
