//! Rules about a ScaledObject's triggers and annotations.

use super::case::{Case, Scaler, Signal};
use super::finding::Finding;
use crate::policy::knative::parse::boolean;

/// Labels that tell the pods of a workload apart, or the series of one pod.
const OF_A_POD: [&str; 13] = [
    "pod",
    "instance",
    "le",
    "gpu",
    "UUID",
    "device",
    "gpu_uuid",
    "finished_reason",
    "response_code",
    "engine",
    "destination_pod",
    "pod_name",
    "Hostname",
];

/// W0301: a query that answers with a value per pod.
pub(super) fn value_per_pod(_: &Case<'_>, scaler: &Scaler<'_>, signal: &Signal) -> Vec<Finding> {
    let differs = match signal.query.labels() {
        Some(labels) => labels.iter().any(|label| OF_A_POD.contains(&label.as_str())),
        None => true,
    };
    let of_pods = signal.metrics().any(|(_, metric)| metric.exporter.is_of_pods());
    if signal.trigger.is_none() || !differs || !of_pods || !scaler.is_plural() {
        return Vec::new();
    }
    vec![Finding::new(
        signal.at.clone(),
        "the query answers with a value for each pod, and KEDA takes one only",
        "with one replica it works; with two the scaler fails (\"returned multiple elements\"), and the HPA has no metric: \
         the replicas stay as they are, or go to the fallback",
        format!("write sum({})", signal.query.text()),
    )]
}

/// W0302: a query that answers with a scalar.
pub(super) fn scalar(_: &Case<'_>, _: &Scaler<'_>, signal: &Signal) -> Vec<Finding> {
    if signal.trigger.is_none() || !signal.query.is_scalar() {
        return Vec::new();
    }
    vec![Finding::new(
        signal.at.clone(),
        "the query answers with a scalar, which KEDA cannot read",
        "KEDA's prometheus scaler decodes vectors only: every read of this trigger fails",
        format!("write vector({}), or aggregate with sum(..)", signal.query.text()),
    )]
}

/// W0317: a setting that is none, and looks like one.
pub(super) fn misspelt(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    // The triggers that the HTTP add-on makes are nobody's slip.
    let Some(keda) = scaler.keda().filter(|keda| keda.http.is_none()) else { return Vec::new() };
    let mut found = Vec::new();
    for (index, trigger) in keda.spec.triggers.iter().enumerate() {
        for key in trigger.metadata.keys() {
            let Some(meant) = trigger.meant(key) else { continue };
            found.push(Finding::new(
                keda.trigger_at(index).key("metadata").key(key),
                format!("the {} trigger has no setting `{key}`", trigger.kind),
                "KEDA passes over names that it does not know, without a word: the default stays in force",
                format!("did you mean `{meant}`?"),
            ));
        }
    }
    found
}

/// W0306: values of the last poll, older than the HPA's reads are apart.
pub(super) fn cached(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some(keda) = scaler.keda() else { return Vec::new() };
    let sync = keda.policy.controller.sync_period;
    if keda.polling_s() <= sync.as_secs_f64() {
        return Vec::new();
    }
    let cached = keda.external().filter(|(_, trigger)| trigger.cached);
    cached
        .map(|(index, _)| {
            Finding::new(
                keda.trigger_at(index).key("useCachedMetrics"),
                format!("the HPA sees a value up to {} s old", keda.polling_s()),
                format!(
                    "it reads every {sync}, and with `useCachedMetrics` gets what the last poll found: the rise of a \
                     load is seen a poll later"
                ),
                "leave it out, or write a pollingInterval of 15 or less",
            )
        })
        .collect()
}

/// W0316: annotations that keep the object from scaling.
pub(super) fn paused(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some(keda) = scaler.keda() else { return Vec::new() };
    let effects = [
        ("paused", "nothing is scaled: KEDA stops its loop and deletes the HPA"),
        ("paused-replicas", "the target is set to that number once, and nothing is scaled from then on"),
        ("paused-scale-in", "replicas are added and never taken away"),
        ("paused-scale-out", "replicas are taken away and never added"),
    ];
    let mut found = Vec::new();
    for (name, effect) in effects {
        let key = format!("autoscaling.keda.sh/{name}");
        let Some(value) = keda.policy.annotations.get(&key) else { continue };
        let is_number = name == "paused-replicas";
        let flag = boolean(value);
        if !is_number && flag == Ok(false) {
            continue;
        }
        let why = if is_number || flag.is_ok() {
            "the annotation is there".to_owned()
        } else {
            format!("`{value}` is no boolean, and KEDA takes whatever is not false for true")
        };
        found.push(Finding::new(
            scaler.at.key("annotations").key(key),
            effect,
            why,
            "remove the annotation, unless the pause is what you want to simulate",
        ));
    }
    found
}
