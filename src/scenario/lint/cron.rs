//! Rules about cron triggers.

use super::case::{Case, Keda, Scaler};
use super::finding::Finding;
use crate::policy::keda::cron::CronTrigger;
use crate::policy::keda::triggers::Source;
use crate::yaml::Path;

/// Monday, 2024-01-01, 00:00 UTC, s: where the look for holes begins if a scenario knows no clock.
const A_MONDAY: i64 = 1_704_067_200;
/// How far it looks: a week and a day.
const SPAN_S: i64 = 8 * 86_400;
/// Longest hole that nobody means, s.
const HOLE_MAX_S: i64 = 120;
/// Most ends that are looked at.
const ENDS_MAX: usize = 1_000;

fn crons<'a>(keda: &'a Keda<'_>) -> Vec<(Path, &'a CronTrigger)> {
    let cron = |(index, trigger): (usize, &'a crate::policy::keda::triggers::ExternalTrigger)| {
        if let Source::Cron(cron) = &trigger.source {
            Some((keda.trigger_at(index).key("metadata"), cron))
        } else {
            None
        }
    };
    keda.external().filter_map(cron).collect()
}

/// W0307: minutes between two windows that belong together.
pub(super) fn hole(case: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some(keda) = scaler.keda() else { return Vec::new() };
    let crons = crons(keda);
    let from = case.spec.start_time.map_or(A_MONDAY, |start| start.0.as_second());
    let holes = crons.iter().filter_map(|(at, cron)| {
        let seconds = first_hole(cron, &crons, from)?;
        Some(Finding::new(
            at.key("end"),
            format!("the next window begins {seconds} s after this one ends"),
            "the instant of an end is outside of the window, so in between no window asks for replicas; what bridges it is \
             a cooldown or a scale-down window that is longer",
            "end it when the next one begins: `0 0 * * *` and not `59 23 * * *`; windows may overlap, too",
        ))
    });
    holes.collect()
}

/// The length of the first short hole after a window of `cron` in which none of the others is active.
fn first_hole(cron: &CronTrigger, all: &[(Path, &CronTrigger)], from: i64) -> Option<i64> {
    let mut at = from;
    for _ in 0..ENDS_MAX {
        at = cron.next_end(at).filter(|end| *end < from + SPAN_S)?;
        // An end outside of any window ends nothing.
        if !cron.is_active(at - 1) || all.iter().any(|(_, other)| other.is_active(at)) {
            continue;
        }
        let next = all.iter().filter_map(|(_, other)| other.next_start(at)).min();
        if let Some(hole) = next.map(|start| start - at).filter(|hole| *hole <= HOLE_MAX_S) {
            return Some(hole);
        }
    }
    None
}

/// W0308: a window that asks for what is there anyway, or for more than there can be.
pub(super) fn without_effect(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some(keda) = scaler.keda().filter(|keda| keda.object.modifiers.is_none()) else { return Vec::new() };
    let (min, max) = (i64::from(scaler.min), scaler.max.map(i64::from));
    let mut found = Vec::new();
    for (at, cron) in crons(keda) {
        let desired = cron.desired_replicas;
        let at = at.key("desiredReplicas");
        if let Some(max) = max.filter(|max| desired > *max) {
            found.push(Finding::new(
                at,
                format!("the window asks for {desired} replicas, and the maximum is {max}"),
                "the HPA cuts every metric's replicas to maxReplicaCount",
                format!("write at most {max}, or raise maxReplicaCount"),
            ));
        } else if desired <= min {
            found.push(Finding::new(
                at,
                format!("the window asks for {desired} replicas, and {min} are there at any time"),
                "the HPA takes the highest of its metrics and its minimum",
                format!("write more than {min}, or remove the trigger"),
            ));
        }
    }
    found
}
