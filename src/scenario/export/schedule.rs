//! A schedule by itself as KEDA's cron triggers, where these say the same.

use std::collections::BTreeMap;

use super::Refusal;
use crate::policy::ScheduleSpec;
use crate::policy::hpa::spec::{
    BehaviorSpec, ControllerSpec, RulesSpec, ScalingPolicyKind, ScalingPolicySpec,
};
use crate::policy::keda::KedaSpec;
use crate::policy::keda::spec::{AdvancedSpec, HpaConfigSpec, ScaleTarget, ScaledObjectSpec, TriggerSpec};
use crate::policy::schedule::WindowSpec;

/// In what the triggers differ from a schedule that is obeyed at once.
pub(super) const DIFFERS: &str = "the HPA of the ScaledObject looks every 15 s, and so follows a window by up to 15 s late; \
                                  `behavior` lets it go all the way at once";

/// The object whose triggers are the schedule's windows.
pub(super) fn scaled_object(spec: &ScheduleSpec) -> Result<KedaSpec, Refusal> {
    if spec.over.is_some() {
        return Err(Refusal::new(
            "over",
            "windows over another policy: in one ScaledObject, its windows of stabilisation and rate limits would hold \
             for the schedule, too",
            "write a cron trigger beside the others in a keda policy, and simulate that",
        ));
    }
    let least = spec.replicas.unwrap_or(0);
    if least == 0 {
        let why = "0 replicas while no window is open: KEDA puts the workload to sleep only after a cooldown";
        return Err(Refusal::new("replicas", why, "write `replicas: 1`"));
    }
    let has_floor = spec.windows.values().any(|window| window.floor.is_some());
    let mut triggers = Vec::new();
    for (name, window) in &spec.windows {
        let refuse =
            |key: &str, why: &str, help: &str| Err(Refusal::new(format!("windows.{name}.{key}"), why, help));
        if !window.lead_time.is_zero() {
            return refuse(
                "leadTime",
                "a cron trigger has no lead",
                "let `start` be earlier by it, and simulate that",
            );
        }
        if !(window.except_on.is_empty() && window.only_on.is_empty()) {
            let key = if window.except_on.is_empty() { "onlyOn" } else { "exceptOn" };
            return refuse(
                key,
                "a cron trigger knows no dates",
                "leave them out, or scale on those days by hand",
            );
        }
        if window.ceiling.is_some() {
            return refuse(
                "ceiling",
                "KEDA takes the highest of its triggers, and no trigger lowers another",
                "leave it out",
            );
        }
        let count = match (window.floor, window.exact) {
            (Some(floor), None) => floor,
            // The highest of exact counts is what triggers give, too, if nothing else is higher.
            (None, Some(exact)) if !has_floor && exact >= least => exact,
            _ => {
                let why = "an exact count that is lower than what else holds: KEDA takes the highest of its triggers";
                return refuse("exact", why, "write floors, and a lower `replicas`");
            }
        };
        triggers.push(cron(spec, window, count));
    }
    let most = triggers.iter().map(|(count, _)| *count).fold(least, u32::max);
    let triggers = triggers.into_iter().map(|(_, trigger)| trigger).collect();
    Ok(KedaSpec {
        manifest: None,
        object: None,
        name: None,
        annotations: BTreeMap::new(),
        scaled_object: Some(object(least, most, triggers)),
        http_scaled_object: None,
        queues: BTreeMap::new(),
        external: BTreeMap::new(),
        phase: None,
        controller: ControllerSpec::default(),
    })
}

fn cron(spec: &ScheduleSpec, window: &WindowSpec, count: u32) -> (u32, TriggerSpec) {
    let zone = window.timezone.as_deref().unwrap_or(&spec.timezone);
    let count_text = count.to_string();
    let metadata = [
        ("timezone", zone),
        ("start", window.start.as_str()),
        ("end", window.end.as_str()),
        ("desiredReplicas", count_text.as_str()),
    ];
    let trigger = TriggerSpec {
        kind: "cron".to_owned(),
        name: None,
        use_cached_metrics: false,
        metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        authentication_ref: None,
        metric_type: None,
    };
    (count, trigger)
}

fn object(least: u32, most: u32, triggers: Vec<TriggerSpec>) -> ScaledObjectSpec {
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let at_once = RulesSpec { stabilization_window_seconds: Some(0), ..RulesSpec::default() };
    let all = ScalingPolicySpec { kind: ScalingPolicyKind::Pods, value: count(most), period_seconds: 15 };
    let behavior = BehaviorSpec {
        scale_up: Some(RulesSpec { policies: Some(vec![all]), ..at_once.clone() }),
        scale_down: Some(at_once),
    };
    let config = HpaConfigSpec { name: None, behavior: Some(behavior) };
    ScaledObjectSpec {
        // The name is found with all others.
        scale_target_ref: ScaleTarget {
            api_version: None,
            kind: None,
            name: String::new(),
            env_source_container_name: None,
        },
        polling_interval: None,
        cooldown_period: None,
        initial_cooldown_period: None,
        idle_replica_count: None,
        min_replica_count: Some(count(least)),
        max_replica_count: Some(count(most)),
        fallback: None,
        advanced: Some(AdvancedSpec {
            horizontal_pod_autoscaler_config: Some(config),
            ..AdvancedSpec::default()
        }),
        triggers,
    }
}
