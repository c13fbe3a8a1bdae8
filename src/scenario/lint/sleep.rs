//! Rules about going to zero, or to the idle replicas, and waking up.

use super::case::{Case, Keda, Kind, Scaler, Signal};
use super::figures::whole;
use super::finding::Finding;
use crate::kernel::SimDuration;
use crate::policy::keda::spec::POLLING_INTERVAL_S;
use crate::policy::keda::triggers::Source;
use crate::promql::catalogue::Quantity;

/// What triggers call the value they are active above.
const ACTIVATIONS: [&str; 6] = [
    "activationThreshold",
    "activationLagThreshold",
    "activationValue",
    "activationQueueLength",
    "activationListLength",
    "activationLagCount",
];

/// A ScaledObject that keeps a minimum of replicas, with that minimum.
fn awake<'a, 'b>(scaler: &'b Scaler<'a>) -> Option<(&'b Keda<'a>, u32)> {
    let keda = scaler.keda().filter(|keda| !keda.sleeps() && !keda.only_resources())?;
    Some((keda, scaler.min))
}

/// W0303: settings of going to sleep, in an object that never does.
pub(super) fn settings_of_sleep(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some((keda, min)) = awake(scaler) else { return Vec::new() };
    let mut found = Vec::new();
    let cooldown = keda.http.map_or(keda.spec.cooldown_period, |http| http.scaledown_period);
    let cooldowns = [
        ("cooldownPeriod", cooldown.is_some()),
        ("initialCooldownPeriod", keda.spec.initial_cooldown_period.is_some()),
    ];
    for (field, _) in cooldowns.into_iter().filter(|(_, given)| *given) {
        let at = keda.field_at(field);
        found.push(Finding::new(
            at,
            format!("{field} has no effect: the object keeps {min} replicas"),
            "it only delays the step to zero (or to idleReplicaCount); the HPA scales down in between, with a window of \
             its own",
            "write advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.stabilizationWindowSeconds",
        ));
    }
    for (index, trigger) in keda.external().filter(|(_, trigger)| trigger.activation > 0.0) {
        let metadata = &keda.spec.triggers[index].metadata;
        let Some(field) = ACTIVATIONS.into_iter().find(|field| metadata.contains_key(*field)) else {
            continue;
        };
        found.push(Finding::new(
            keda.trigger_at(index).key("metadata").key(field),
            format!("{field} has no effect: the object keeps {min} replicas"),
            format!(
                "a value above {} wakes the target from zero (or from idleReplicaCount) and decides nothing else",
                trigger.activation
            ),
            "remove it; what the replicas are scaled by is the threshold",
        ));
    }
    found
}

/// W0304: asleep sooner than it takes to wake up.
pub(super) fn cooldown(case: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some(keda) = scaler.keda().filter(|keda| keda.sleeps()) else { return Vec::new() };
    let cooldown = SimDuration::from_nanos(u64::try_from(keda.object.rules.cooldown).unwrap_or(0));
    let start = case.figures.cold_start.median;
    if cooldown >= start {
        return Vec::new();
    }
    vec![Finding::new(
        keda.field_at("cooldownPeriod"),
        format!("it goes to sleep after {cooldown} without load, and waking up takes {}", whole(start)),
        "a pause between two requests that is a little longer than the cooldown costs the next one a whole cold start",
        format!("write a cooldownPeriod of {} or more, or a minReplicaCount of 1", seconds(start)),
    )]
}

fn seconds(duration: SimDuration) -> u64 {
    duration.as_nanos().div_ceil(1_000_000_000)
}

/// W0305: a polling interval that nothing but waking up depends on, in an object that never sleeps.
pub(super) fn polling_interval(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some((keda, min)) = awake(scaler) else { return Vec::new() };
    let polling = keda.spec.polling_interval.filter(|polling| *polling != POLLING_INTERVAL_S);
    // The HTTP add-on chooses its own.
    if polling.is_none() || keda.http.is_some() || keda.external().any(|(_, trigger)| trigger.cached) {
        return Vec::new();
    }
    let sync = keda.policy.controller.sync_period;
    vec![Finding::new(
        keda.field_at("pollingInterval"),
        format!("pollingInterval does not change how soon replicas are added beyond {min}"),
        format!(
            "polls decide between zero and one; from there on the HPA asks for the metrics itself, every {sync}, and each \
             time KEDA runs the query"
        ),
        "leave it out; what is seen late is late by the scrape interval and the range of the query",
    )]
}

/// W0313: CPU or memory alone, and a minimum of zero.
pub(super) fn resources_alone(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some(keda) = scaler.keda().filter(|keda| keda.only_resources()) else { return Vec::new() };
    let field = match (keda.spec.idle_replica_count, keda.spec.min_replica_count) {
        (Some(_), _) => "idleReplicaCount",
        (None, Some(0)) => "minReplicaCount",
        _ => return Vec::new(),
    };
    vec![Finding::new(
        keda.field_at(field),
        "it never goes to sleep: its triggers are CPU and memory alone",
        "without pods there is neither, so KEDA takes such an object for always active, and its HPA keeps one replica",
        "add a trigger that sees requests without pods, such as a gateway's queue; or write minReplicaCount: 1",
    )]
}

/// W0314: an activation that leaves requests waiting.
pub(super) fn activation(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some(keda) = scaler.keda().filter(|keda| keda.sleeps() && keda.object.modifiers.is_none()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (index, trigger) in keda.external().filter(|(_, trigger)| trigger.activation > 0.0) {
        let signal = scaler.signals.iter().find(|signal| signal.trigger == Some(index));
        let held = |signal: &Signal| matches!(signal.quantity(), Some(Quantity::Held | Quantity::InFlight));
        let queue = matches!(
            trigger.source,
            Source::Kafka { .. } | Source::RabbitMq { .. } | Source::Sqs { .. } | Source::Redis { .. }
        );
        let waits = (queue || signal.is_some_and(held)) && trigger.activation >= 1.0;
        let above = trigger.threshold.is_some_and(|threshold| trigger.activation >= threshold);
        if !waits && !above {
            continue;
        }
        let metadata = &keda.spec.triggers[index].metadata;
        let field =
            ACTIVATIONS.into_iter().find(|field| metadata.contains_key(*field)).unwrap_or(ACTIVATIONS[0]);
        let why = if waits {
            format!(
                "nothing wakes up until there are more than {}: fewer wait until they time out",
                trigger.activation
            )
        } else {
            "activation decides before the HPA does: below it the target sleeps, whatever the threshold asks for".to_owned()
        };
        found.push(Finding::new(
            keda.trigger_at(index).key("metadata").key(field),
            format!("a load of up to {} is served by no replica at all", trigger.activation),
            why,
            format!("leave {field} out: 0 wakes up for the first request"),
        ));
    }
    found
}

/// W0315: idle replicas that KEDA does not support.
pub(super) fn idle(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some(keda) = scaler.keda() else { return Vec::new() };
    let Some(idle) = keda.spec.idle_replica_count.filter(|idle| *idle != 0) else { return Vec::new() };
    vec![Finding::new(
        keda.field_at("idleReplicaCount"),
        format!("KEDA supports no idleReplicaCount but 0, and this is {idle}"),
        "the HPA is off at zero only: at any other number it brings the replicas back to its minimum, and KEDA takes them \
         away again",
        "write 0, or leave it out and lower minReplicaCount",
    )]
}

/// W0320: at zero, nothing that is scaled on can be above zero.
pub(super) fn nothing_wakes(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    if !scaler.sleeps() {
        return Vec::new();
    }
    let able = match &scaler.kind {
        Kind::Keda(keda) => keda.external().any(|(_, t)| !matches!(t.source, Source::Prometheus { .. })),
        Kind::Hpa(_) => false,
        Kind::Knative(..) => true,
    };
    // What tells of absence has a value where nothing else has.
    let made = |signal: &Signal| ["absent", "vector"].iter().any(|word| signal.query.text().contains(word));
    if able || scaler.signals.is_empty() || scaler.signals.iter().any(|s| !s.is_of_pods() || made(s)) {
        return Vec::new();
    }
    let at = scaler.signals[0].at.clone();
    vec![Finding::new(
        at,
        "at zero replicas nothing wakes it up: only running pods publish what it scales on",
        "without pods there is no series, which is no load; requests wait at the gateway until they time out",
        "add a metric of what is in front of the pods, such as gateway_queue_length, or keep one replica",
    )]
}
