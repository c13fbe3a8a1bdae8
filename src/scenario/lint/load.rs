//! The rule about what a replica is meant to carry.

use super::case::{Against, Case, Kind, Scaler, Signal, annotation};
use super::finding::Finding;
use crate::policy::keda::http_add_on::HttpMetric;
use crate::policy::knative::target::ScalingMetric;
use crate::promql::catalogue::Quantity;
use crate::yaml::Path;

/// What a replica can carry.
struct Carries {
    /// Requests at a time.
    requests: u32,
    /// Whether it is the SLO that allows no more.
    by_slo: bool,
}

impl Carries {
    fn new(case: &Case<'_>) -> Self {
        let figures = &case.figures;
        let limit = case.spec.slo.as_ref().and_then(|slo| slo.tpot);
        let within = limit.and_then(|limit| figures.batch_within(limit));
        let most = figures.batch_max().unwrap_or_else(|| figures.at_work());
        match within.filter(|within| *within < most) {
            Some(within) => Self { requests: within, by_slo: true },
            None => Self { requests: most, by_slo: false },
        }
    }

    fn finding(&self, at: Path, target: f64, mend: String) -> Finding {
        let requests = self.requests;
        let what = if self.by_slo {
            format!("keeps the SLO's time per token in a batch of up to {requests}")
        } else {
            format!("works on {requests} at a time")
        };
        Finding::new(
            at,
            format!("a replica is meant to carry {target:.4} requests, and {what}"),
            "replicas are added once the mean is above that target: until then the answers slow down or requests wait inside \
             of the replica, where no other can take them",
            mend,
        )
    }
}

/// W0332: a replica that is meant to carry more than its engine works on.
pub(super) fn target(case: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let carries = Carries::new(case);
    let most = f64::from(carries.requests);
    match &scaler.kind {
        Kind::Knative(spec, revision) => {
            let decider = revision.decider();
            if decider.scaling_metric != ScalingMetric::Concurrency || decider.target_value <= most {
                return Vec::new();
            }
            let at = if revision.annotations.target.is_some() {
                annotation(&scaler.at, spec, &["target"])
            } else if spec.container_concurrency.is_some() {
                scaler.at.key("containerConcurrency")
            } else {
                scaler.at.clone()
            };
            let own = "autoscaling.knative.dev/target";
            let mend = format!(
                "write {own}: \"{most}\" (without one it is 70 % of containerConcurrency, or of 100), and a \
                 containerConcurrency of about that"
            );
            vec![carries.finding(at, decider.target_value, mend)]
        }
        Kind::Keda(keda) if let Some(http) = keda.http => match http.metric() {
            HttpMetric::Concurrency { target } if target > most => {
                let at = match http.scaling_metric.and_then(|metric| metric.concurrency) {
                    Some(_) => keda.at.key("scalingMetric").key("concurrency").key("targetValue"),
                    None => keda.at.key("targetPendingRequests"),
                };
                let mend = format!(
                    "write scalingMetric.concurrency.targetValue: {most} or less (it is 100 by default)"
                );
                vec![carries.finding(at, target, mend)]
            }
            _ => Vec::new(),
        },
        _ => scaler.signals.iter().filter_map(|signal| of_signal(&carries, signal)).collect(),
    }
}

fn of_signal(carries: &Carries, signal: &Signal) -> Option<Finding> {
    let counts = match signal.quantity()? {
        Quantity::InFlight | Quantity::Concurrency => true,
        // Never more than the engine works on: only the SLO says less.
        Quantity::Running => carries.by_slo,
        _ => false,
    };
    let (Against::PerReplica(target) | Against::EachPod(target)) = signal.against else { return None };
    if !counts || !signal.query.is_plain() || target <= f64::from(carries.requests) {
        return None;
    }
    let mend = format!("write a target of {} or less", carries.requests);
    Some(carries.finding(signal.target_at.clone(), target, mend))
}
