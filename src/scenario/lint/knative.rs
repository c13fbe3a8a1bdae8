//! Rules about a Knative revision.

use super::case::{Case, Kind, Scaler, annotation};
use super::figures::{minutes, whole};
use super::finding::Finding;
use crate::kernel::SimDuration;
use crate::policy::hpa::types::Nanos;
use crate::policy::knative::KnativeSpec;
use crate::policy::knative::revision::Revision;

fn revision<'a, 'b>(scaler: &'b Scaler<'a>) -> Option<(&'a KnativeSpec, &'b Revision)> {
    if let Kind::Knative(spec, revision) = &scaler.kind { Some((spec, revision)) } else { None }
}

fn duration(nanos: Nanos) -> SimDuration {
    SimDuration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// W0351: asleep sooner than it takes to wake up.
pub(super) fn short_sleep(case: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some((spec, revision)) = revision(scaler).filter(|_| scaler.sleeps()) else { return Vec::new() };
    let sleep = revision.scale_to_zero();
    let idle = duration(sleep.stable_window + sleep.grace_period.max(sleep.pod_retention_period));
    let start = case.figures.cold_start.median;
    if idle >= start {
        return Vec::new();
    }
    let names = ["scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod"];
    vec![Finding::new(
        annotation(&scaler.at, spec, &names),
        format!("the last pod goes {idle} after the last request, and waking up takes {}", whole(start)),
        "that is the stable window and the grace or retention period; a pause that is a little longer costs the next request \
         a whole cold start",
        "write a scale-to-zero-pod-retention-period of several starts (up to 1h), or min-scale: \"1\"",
    )]
}

/// W0352: a stable window that a start does not fit into.
pub(super) fn panic(case: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some((spec, revision)) = revision(scaler).filter(|_| scaler.is_plural()) else { return Vec::new() };
    let window = duration(revision.stable_window());
    let start = case.figures.cold_start.median;
    if window >= start {
        return Vec::new();
    }
    vec![Finding::new(
        annotation(&scaler.at, spec, &["window"]),
        format!("a stable window of {window} is shorter than a start, which takes {}", whole(start)),
        "concurrency counts the requests that wait for a pod, so while pods start the wanted number goes on rising with the \
         queue; in panic mode it may not fall again until a window has passed since the last excess",
        format!("write autoscaling.knative.dev/window: \"{}s\" or more, and a max-scale", window_s(start)),
    )]
}

/// Whole minutes, s, within what Knative allows.
fn window_s(start: SimDuration) -> u64 {
    (minutes(start).as_nanos() / 1_000_000_000).min(3600)
}

/// W0353: a hard limit of concurrency, and nothing that holds what is above.
pub(super) fn no_burst_capacity(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some((spec, revision)) = revision(scaler) else { return Vec::new() };
    let limit = revision.container_concurrency;
    if revision.target_burst_capacity() != 0.0 || limit == 0 {
        return Vec::new();
    }
    vec![Finding::new(
        annotation(&scaler.at, spec, &["target-burst-capacity", "targetBurstCapacity"]),
        "a burst capacity of 0 takes the activator out of the path as soon as there is a pod",
        format!(
            "requests then go to the pods without regard to their load, and each pod's queue-proxy lets {limit} through, holds {} and refuses the \
             rest with 503; the activator would have held them for any pod",
            limit.saturating_mul(10)
        ),
        "leave it at 211, or write \"-1\" to keep the activator in the path",
    )]
}

/// W0354: given up before it is ready.
pub(super) fn progress_deadline(case: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some((_, revision)) = revision(scaler) else { return Vec::new() };
    let deadline = duration(revision.annotations.progress_deadline());
    let (pod, node) = (case.figures.cold_start.p95, case.figures.node.p95);
    if deadline >= pod + node {
        return Vec::new();
    }
    let key = "serving.knative.dev/progress-deadline";
    let with_node = if node.is_zero() { "" } else { ", its node included" };
    vec![Finding::new(
        scaler.at.key("annotations").key(key),
        format!(
            "a pod that is not ready after {deadline} is given up, and 1 start in 20 takes {}{with_node}",
            whole(pod + node)
        ),
        "the Deployment makes no progress, the revision is marked as failed, and an activation from zero is taken back",
        format!("write {key}: \"{}s\"", window_s((pod + node) * 2)),
    )]
}
