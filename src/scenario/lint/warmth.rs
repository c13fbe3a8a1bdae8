//! Rules about keep-warm requests.

use super::case::{Case, Scaler, Signal};
use super::finding::Finding;
use crate::promql::catalogue::{Exporter, Kind, Metric, Quantity};
use crate::yaml::Path;

/// W0368: keep-warm requests that keep nothing warm.
pub(super) fn too_late_to_keep_warm(case: &Case<'_>) -> Vec<Finding> {
    let replica = &case.spec.replica;
    let Some(keep_warm) = &replica.keep_warm else { return Vec::new() };
    let at = Path::keys(["replica", "keepWarm"]);
    let Some(cooling) = &replica.cooling else {
        return vec![Finding::new(
            at,
            "keep-warm requests buy nothing: no replica goes cold",
            "without `replica.cooling` an idle replica answers as fast as a busy one, and what the requests cost is all that shows",
            "write e.g. `cooling: { after: 5m, penalty: 1s }` as you measured it, or leave keepWarm out",
        )];
    };
    let late = [("idleThreshold", keep_warm.idle_threshold), ("period", keep_warm.period)];
    let late = late.into_iter().filter(|(_, time)| *time >= cooling.after);
    let found = late.map(|(field, time)| {
        Finding::new(
            at.key(field),
            format!("keep-warm requests come after {time}, and a replica is cold after {}", cooling.after),
            "each of them finds the replica cold and pays for it itself, and so does a user who comes before it",
            format!("write less than {}, with time to spare", cooling.after),
        )
    });
    found.collect()
}

/// Whether every keep-warm request leaves its mark on a metric. A gauge shows one only if it is scraped just then.
fn is_fed(metric: &Metric) -> bool {
    let of_engine = metric.exporter.is_of_pods()
        && !matches!(metric.exporter, Exporter::QueueProxy | Exporter::Prometheus);
    let counts = matches!(metric.kind, Kind::Counter | Kind::Histogram)
        && !matches!(metric.quantity, None | Some(Quantity::Preemptions));
    of_engine && (counts || metric.quantity == Some(Quantity::Busy))
}

/// W0369: an autoscaler that would go to zero, and takes keep-warm requests for traffic.
pub(super) fn kept_awake(case: &Case<'_>, scaler: &Scaler<'_>, signal: &Signal) -> Vec<Finding> {
    if case.spec.replica.keep_warm.is_none() || !scaler.sleeps() {
        return Vec::new();
    }
    let Some((_, metric)) = signal.metrics().find(|(_, metric)| is_fed(metric)) else { return Vec::new() };
    // An activation is there to tell a trickle from traffic.
    let trigger = signal.trigger.zip(scaler.keda());
    let activation = trigger.and_then(|(index, keda)| keda.external().find(|(own, _)| *own == index));
    if activation.is_some_and(|(_, trigger)| trigger.activation > 0.0) {
        return Vec::new();
    }
    vec![Finding::new(
        signal.at.clone(),
        format!("`{}` never goes to zero: keep-warm requests feed {}", scaler.name, metric.name),
        "they go straight into the engine, whose own metrics count them like any other request",
        "scale on what is in front of the pods, such as gateway_requests_in_flight, or write an activationThreshold above them",
    )]
}
