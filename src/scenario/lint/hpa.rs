//! Rules about the behavior of an HPA, an HPA's own or a ScaledObject's.

use super::case::{Case, Scaler};
use super::figures::{minutes, whole};
use super::finding::Finding;
use crate::kernel::SimDuration;
use crate::policy::hpa::spec::{RulesSpec, ScalingPolicyKind, ScalingPolicySpec, SelectPolicySpec};

/// Slower rises than this are a choice that matters, s.
const RISE_MIN_S: u64 = 120;
/// Replicas that a rise is counted to at most.
const REPLICAS_MAX: u32 = 10_000;

/// W0340: a downscale window that a start does not fit into.
pub(super) fn short_window(case: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some(controller) = scaler.controller() else { return Vec::new() };
    let down = controller.down();
    let fixed = scaler.max.is_some_and(|max| max <= scaler.min.max(1));
    if fixed || down.and_then(|rules| rules.select_policy) == Some(SelectPolicySpec::Disabled) {
        return Vec::new();
    }
    let written = down.and_then(|rules| rules.stabilization_window_seconds);
    let window = written.map_or(controller.flags.downscale_stabilization, |seconds| {
        SimDuration::from_secs(u64::try_from(seconds).unwrap_or(0))
    });
    let start = case.figures.cold_start.median;
    if window >= start {
        return Vec::new();
    }
    let default = if written.is_none() { " (the controller's default)" } else { "" };
    vec![Finding::new(
        controller.behavior_at.key("scaleDown").key("stabilizationWindowSeconds"),
        format!(
            "a scale-down window of {window}{default} is shorter than a start, which takes {}",
            whole(start)
        ),
        "once a rise is forgotten the HPA takes away what it ordered, and a ReplicaSet deletes pods that are not ready \
         first: starts are paid for and never serve",
        format!(
            "write {} or more: a start, and time to see that it helped",
            (minutes(start + start).as_nanos() / 1_000_000_000).min(3600)
        ),
    )]
}

/// W0341: rate limits upwards that take longer than a start.
pub(super) fn slow_rise(case: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some(controller) = scaler.controller() else { return Vec::new() };
    let (Some(up), Some(max)) = (controller.up(), scaler.max) else { return Vec::new() };
    let from = scaler.min.max(1);
    let Some(rise) = rise(up, from, max.min(REPLICAS_MAX)) else { return Vec::new() };
    let start = case.figures.cold_start.median;
    if rise <= start || rise <= SimDuration::from_secs(RISE_MIN_S) {
        return Vec::new();
    }
    vec![Finding::new(
        controller.behavior_at.key("scaleUp"),
        format!("from {from} to {max} replicas takes {rise} by these limits, and a start {}", whole(start)),
        "starts run side by side: ordered at once, all would be ready after one start; ordered one after another, the last \
         is later by the whole of the limits",
        "allow more pods in a period, or a period of 15 s; to be careful with cost, lower maxReplicas instead",
    )]
}

/// How long the limits of `rules` make a rise last, from the first order to the last, their window included; `None`
/// where they forbid it or do not limit it.
fn rise(rules: &RulesSpec, from: u32, to: u32) -> Option<SimDuration> {
    let select = rules.select_policy.unwrap_or(SelectPolicySpec::Max);
    let policies = rules.policies.as_deref().unwrap_or_default();
    let times = policies.iter().map(|policy| rise_by(policy, from, to));
    let limits = match select {
        SelectPolicySpec::Disabled => return None,
        _ if policies.is_empty() => 0,
        SelectPolicySpec::Max => times.min()?,
        SelectPolicySpec::Min => times.max()?,
    };
    let window = rules.stabilization_window_seconds.and_then(|window| u64::try_from(window).ok());
    Some(SimDuration::from_secs(limits + window.unwrap_or(0)))
}

/// The same by one limit, s.
fn rise_by(policy: &ScalingPolicySpec, from: u32, to: u32) -> u64 {
    let value = u32::try_from(policy.value).unwrap_or(0).max(1);
    let (mut replicas, mut steps) = (from, 0_u64);
    while replicas < to {
        let more = match policy.kind {
            ScalingPolicyKind::Pods => value,
            // As upstream rounds: up.
            ScalingPolicyKind::Percent => replicas.saturating_mul(value).div_ceil(100).max(1),
        };
        replicas = replicas.saturating_add(more);
        steps += 1;
    }
    steps.saturating_sub(1) * u64::try_from(policy.period_seconds).unwrap_or(0)
}

/// W0342: a tolerance of its own, where Kubernetes has none.
pub(super) fn dropped_tolerance(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some(controller) = scaler.controller() else { return Vec::new() };
    if controller.flags.gates().configurable_tolerance {
        return Vec::new();
    }
    let written = [("scaleUp", controller.up()), ("scaleDown", controller.down())]
        .into_iter()
        .filter(|(_, rules)| rules.is_some_and(|rules| rules.tolerance.is_some()));
    written
        .map(|(direction, _)| {
            Finding::new(
                controller.behavior_at.key(direction).key("tolerance"),
                format!("Kubernetes {} drops this tolerance", controller.flags.kubernetes_version),
                format!(
                    "the feature gate HPAConfigurableTolerance is off there, so that the API server takes the field away \
                     without a word, and the controller's {} holds",
                    controller.flags.tolerance
                ),
                "switch it on (controller: { featureGates: { HPAConfigurableTolerance: true } }), or use 1.35 or later",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_lasts_as_long_as_its_limits() {
        let pods = |value, period_seconds| ScalingPolicySpec {
            kind: ScalingPolicyKind::Pods,
            value,
            period_seconds,
        };
        let percent = |value, period_seconds| ScalingPolicySpec {
            kind: ScalingPolicyKind::Percent,
            value,
            period_seconds,
        };
        let check = |policies: Vec<ScalingPolicySpec>, select, window, expected: Option<u64>| {
            let rules = RulesSpec {
                stabilization_window_seconds: window,
                select_policy: select,
                policies: Some(policies.clone()),
                tolerance: None,
            };
            assert_eq!(rise(&rules, 1, 9), expected.map(SimDuration::from_secs), "{policies:?}");
        };
        // 3, 5, 7, 9: three periods after the first step.
        check(vec![pods(2, 60)], None, None, Some(180));
        check(vec![pods(8, 60)], None, Some(30), Some(30));
        // 2, 4, 8, 16.
        check(vec![percent(100, 15)], None, None, Some(45));
        check(vec![pods(2, 60), percent(100, 15)], None, None, Some(45));
        check(vec![pods(2, 60), percent(100, 15)], Some(SelectPolicySpec::Min), None, Some(180));
        check(vec![pods(2, 60)], Some(SelectPolicySpec::Disabled), None, None);
    }
}
