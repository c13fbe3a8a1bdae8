//! Rules about a ScaledObject's fallback.

use super::case::{Case, Keda, Scaler};
use super::finding::Finding;
use crate::policy::keda::fallback::ModifiersTarget;
use crate::policy::keda::spec::{FallbackBehavior, FallbackSpec};
use crate::policy::keda::triggers::Source;

/// The fallback of a ScaledObject, and whether it ever stands in.
fn fallback<'a, 'b>(scaler: &'b Scaler<'a>) -> Option<(&'b Keda<'a>, FallbackSpec, bool)> {
    let keda = scaler.keda()?;
    let fallback = keda.spec.fallback?;
    let modifiers = keda.object.modifiers.as_ref();
    let target = modifiers.map(|own| ModifiersTarget { target: &own.target, of_the_whole: own.of_the_whole });
    Some((keda, fallback, fallback.is_valid(target)))
}

/// W0309: a fallback that KEDA leaves off.
pub(super) fn off(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some((keda, _, false)) = fallback(scaler) else { return Vec::new() };
    let target = keda.object.modifiers.as_ref().map_or("", |own| own.target.as_str());
    vec![Finding::new(
        keda.field_at("advanced").key("scalingModifiers").key("target"),
        format!("a target of {target} turns the fallback off"),
        "KEDA computes the fallback's value from a target that is a whole number above 0; with any other it says nothing \
         and passes the failure on to the HPA",
        "scale formula and target up together: `formula * 2` with a target of 5 for 2.5",
    )]
}

/// W0310: a fallback that asks for what the HPA does not allow.
pub(super) fn out_of_bounds(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some((keda, fallback, true)) = fallback(scaler) else { return Vec::new() };
    let replicas = i64::from(fallback.replicas);
    let min = i64::from(scaler.min.max(1));
    let (bound, held) = match scaler.max.map(i64::from) {
        Some(max) if replicas > max => ("maxReplicaCount", max),
        _ if replicas < min && fallback.behavior == FallbackBehavior::Static => ("minReplicaCount", min),
        _ => return Vec::new(),
    };
    vec![Finding::new(
        keda.field_at("fallback").key("replicas"),
        format!("the fallback asks for {replicas} replicas and gets {held}"),
        format!("its value goes through the HPA as any other, and the HPA holds it to {bound}"),
        format!("write {held}, or change {bound}"),
    )]
}

/// W0311: a fallback that shrinks a busy fleet.
pub(super) fn takes_away(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some((keda, fallback, true)) = fallback(scaler) else { return Vec::new() };
    let lowers =
        matches!(fallback.behavior, FallbackBehavior::Static | FallbackBehavior::CurrentReplicasIfLower);
    let below = scaler.max.is_some_and(|max| i64::from(fallback.replicas) < i64::from(max));
    let scales_down = !scaler.controller().is_some_and(|own| {
        let select = own.down().and_then(|rules| rules.select_policy);
        select == Some(crate::policy::hpa::spec::SelectPolicySpec::Disabled)
    });
    if !lowers || !below || !scales_down {
        return Vec::new();
    }
    let sync = keda.policy.controller.sync_period.as_secs_f64();
    let per_second = 1.0 / keda.polling_s() + 1.0 / sync;
    let reads = f64::from(fallback.failure_threshold) + 1.0;
    vec![Finding::new(
        keda.field_at("fallback").key("replicas"),
        format!("when metrics cannot be read, a larger fleet goes down to {} replicas", fallback.replicas),
        format!(
            "polls (every {} s) and the HPA's reads (every {sync} s) both count, so that {reads} failures in a row take about \
             {:.0} s; then the HPA scales to the fallback, at the peak of a day as at night",
            keda.polling_s(),
            (reads / per_second).ceil()
        ),
        "write behavior: currentReplicasIfHigher, which keeps what is there",
    )]
}

/// W0312: a fallback that missing series do not reach.
pub(super) fn never_sees_nothing(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some((keda, _, true)) = fallback(scaler) else { return Vec::new() };
    if keda.sleeps() {
        // At zero the series of pods are missing as they should be.
        return Vec::new();
    }
    let ignoring = keda.external().filter(|(index, trigger)| {
        let of_pods = scaler.signals.iter().any(|s| s.trigger == Some(*index) && s.is_of_pods());
        of_pods && matches!(trigger.source, Source::Prometheus { ignore_null_values: true, .. })
    });
    ignoring
        .map(|(index, _)| {
            Finding::new(
                keda.trigger_at(index).key("metadata").key("ignoreNullValues"),
                "an answer without a value counts as no load, and not as a failure",
                "when scrapes fail or a label changes, Prometheus answers with nothing: KEDA makes 0 of it \
                 (`ignoreNullValues` is \"true\" by default), the fallback does not stand in, and the HPA scales down",
                "write ignoreNullValues: \"false\"",
            )
        })
        .collect()
}
