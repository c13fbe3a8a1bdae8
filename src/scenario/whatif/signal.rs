//! Mitigations of the signal and of what is made of it: seen sooner, looked at more often, acted on at once, held on to for longer.

use super::Edit;
use super::bounds::annotation;
use super::ground::{Ground, decimal, set};
use crate::kernel::{Quantity, SimDuration};
use crate::policy::hpa::spec::{BehaviorSpec, ControllerSpec, HpaSpec, RulesSpec, TargetKind, TargetSpec};
use crate::policy::keda::spec::ScaledObjectSpec;
use crate::policy::{KedaSpec, PolicySpec};
use crate::yaml::Path;

/// How often is tried, for scrapes and for loops.
const OFTEN: SimDuration = SimDuration::from_secs(5);
const OFTEN_S: i32 = 5;
/// A target a fifth lower.
const LOWER: f64 = 0.8;
/// Longest stabilization window that Kubernetes takes, s.
const WINDOW_MAX_S: i64 = 3600;
/// Pods in 15 s that are no limit to anybody.
const NO_LIMIT: &str = "[{ type: Pods, value: 1000, periodSeconds: 15 }]";

pub(super) fn scrape(ground: &Ground<'_>) -> Edit {
    let resolved = ground.resolved;
    let policy = resolved.policies[ground.policy].build(&resolved.simulation.setting);
    let (asks, reads_usage) = (!policy.queries().is_empty(), policy.reads_usage());
    if !asks && !reads_usage {
        return Err("the policy reads no metric that is scraped".to_owned());
    }
    let telemetry = &ground.spec().telemetry;
    let at = |field: &str| Path::keys(["telemetry", field]);
    let mut sets = Vec::new();
    if asks && telemetry.scrape_interval > OFTEN {
        sets.push(set(&at("scrapeInterval"), OFTEN));
        if telemetry.scrape_phase.is_some_and(|phase| phase >= OFTEN) {
            sets.push(set(&at("scrapePhase"), "null"));
        }
    }
    // The lag of an adapter's cache goes with it.
    if asks && telemetry.delay > SimDuration::ZERO {
        sets.push(set(&at("delay"), "0s"));
    }
    if reads_usage && telemetry.metrics_server_resolution > OFTEN {
        sets.push(set(&at("metricsServerResolution"), OFTEN));
    }
    if sets.is_empty() { Err("they are scraped as often already".to_owned()) } else { Ok(sets) }
}

fn sync(at: &Path, controller: &ControllerSpec) -> Vec<String> {
    let at = at.key("controller");
    let mut sets = Vec::new();
    if controller.sync_period > OFTEN {
        sets.push(set(&at.key("syncPeriod"), OFTEN));
        if controller.phase.is_some_and(|phase| phase >= OFTEN) {
            sets.push(set(&at.key("phase"), "null"));
        }
    }
    sets
}

pub(super) fn look(ground: &Ground<'_>) -> Edit {
    let sets = ground.of_each(|at, policy| match policy {
        PolicySpec::Hpa(own) => sync(at, &own.controller),
        PolicySpec::Keda(own) => {
            let mut sets = sync(at, &own.controller);
            let polls = own.scaled_object.as_ref().filter(|object| {
                object.polling_interval.unwrap_or(crate::policy::keda::spec::POLLING_INTERVAL_S) > OFTEN_S
            });
            sets.extend(polls.map(|_| set(&at.key("scaledObject").key("pollingInterval"), OFTEN_S)));
            sets
        }
        PolicySpec::Wva(own) => {
            let mut sets = sync(&at.key("hpa"), &own.hpa.controller);
            if own.interval > OFTEN {
                sets.push(set(&at.key("interval"), OFTEN));
            }
            sets
        }
        PolicySpec::Ray(own) if own.autoscaling_config.metrics_interval_s > f64::from(OFTEN_S) => {
            vec![set(&at.key("autoscaling_config").key("metrics_interval_s"), "5.0")]
        }
        PolicySpec::Slo(own) if own.step > OFTEN => vec![set(&at.key("step"), OFTEN)],
        _ => Vec::new(),
    });
    if sets.is_empty() {
        return Err("how often it looks is not a setting, or as often already".to_owned());
    }
    Ok(sets)
}

fn lower_text(text: &str) -> Option<String> {
    let value: f64 = text.trim().parse().ok()?;
    Some(format!("\"{}\"", decimal(value * LOWER)))
}

fn lower_quantity(quantity: Quantity) -> String {
    format!("\"{}\"", decimal(quantity.as_f64() * LOWER))
}

fn lower_whole(value: i32) -> i32 {
    ((f64::from(value) * LOWER).round() as i32).max(1)
}

/// A metric's target.
fn of_target(at: &Path, target: &TargetSpec) -> Option<String> {
    match target.kind {
        TargetKind::Utilization => {
            target.average_utilization.map(|own| set(&at.key("averageUtilization"), lower_whole(own)))
        }
        TargetKind::Value => target.value.map(|own| set(&at.key("value"), lower_quantity(own))),
        TargetKind::AverageValue => {
            target.average_value.map(|own| set(&at.key("averageValue"), lower_quantity(own)))
        }
    }
}

fn of_hpa(at: &Path, hpa: &HpaSpec) -> Vec<String> {
    if hpa.metrics.is_empty() {
        // What it scales on where it says nothing: 80 % of the CPU request.
        let metric = "[{ type: Resource, resource: { name: cpu, target: { type: Utilization, averageUtilization: 64 } } }]";
        return vec![set(&at.key("metrics"), metric)];
    }
    let each = hpa.metrics.iter().enumerate().filter_map(|(index, metric)| {
        let at = at.key("metrics").index(index).key(metric.kind.field()).key("target");
        let target = [
            metric.resource.as_ref().map(|own| &own.target),
            metric.container_resource.as_ref().map(|own| &own.target),
            metric.pods.as_ref().map(|own| &own.target),
            metric.object.as_ref().map(|own| &own.target),
            metric.external.as_ref().map(|own| &own.target),
        ];
        of_target(&at, target.into_iter().flatten().next()?)
    });
    each.collect()
}

/// What triggers call their target.
const THRESHOLDS: [&str; 6] =
    ["threshold", "value", "queueLength", "lagThreshold", "listLength", "streamLength"];

fn of_scaled_object(at: &Path, object: &ScaledObjectSpec) -> Vec<String> {
    let formula = object.advanced.as_ref().and_then(|own| own.scaling_modifiers.as_ref());
    if let Some(formula) = formula {
        let at = at.key("advanced").key("scalingModifiers").key("target");
        return lower_text(&formula.target).map(|target| set(&at, target)).into_iter().collect();
    }
    let each = object.triggers.iter().enumerate().filter(|(_, trigger)| trigger.kind != "cron");
    each.filter_map(|(index, trigger)| {
        let (key, text) = trigger.metadata.iter().find(|(key, _)| THRESHOLDS.contains(&key.as_str()))?;
        let at = at.key("triggers").index(index).key("metadata").key(key.as_str());
        Some(set(&at, lower_text(text)?))
    })
    .collect()
}

fn of_keda(at: &Path, keda: &KedaSpec) -> Vec<String> {
    if let Some(object) = &keda.scaled_object {
        return of_scaled_object(&at.key("scaledObject"), object);
    }
    let Some(http) = &keda.http_scaled_object else { return Vec::new() };
    let at = at.key("httpScaledObject");
    let metric = http.scaling_metric.unwrap_or_default();
    let (at, value) = match (metric.concurrency, metric.request_rate) {
        (_, Some(rate)) => (at.key("scalingMetric").key("requestRate").key("targetValue"), rate.target_value),
        (Some(own), None) => {
            (at.key("scalingMetric").key("concurrency").key("targetValue"), own.target_value)
        }
        (None, None) => (at.key("targetPendingRequests"), http.target_pending_requests),
    };
    vec![set(&at, lower_whole(value.unwrap_or(100)))]
}

pub(super) fn target(ground: &Ground<'_>) -> Edit {
    let sets = ground.of_each(|at, policy| match policy {
        PolicySpec::Hpa(own) => of_hpa(at, own),
        PolicySpec::Keda(own) => of_keda(at, own),
        PolicySpec::Knative(own) => {
            let revision = own.revision();
            let percent = revision.annotations.target_utilization_percentage;
            let percent = percent.unwrap_or(revision.config.target_utilization * 100.0) * LOWER;
            let names = ["target-utilization-percentage", "targetUtilizationPercentage"];
            vec![set(&annotation(at, &own.annotations, names), format!("\"{}\"", decimal(percent)))]
        }
        PolicySpec::Ray(own) => {
            let target = decimal(own.autoscaling_config.target_ongoing_requests * LOWER);
            vec![set(&at.key("autoscaling_config").key("target_ongoing_requests"), target)]
        }
        PolicySpec::Aibrix(own) => {
            let each = own.metrics_sources.iter().enumerate().map(|(index, source)| {
                let at = at.key("metricsSources").index(index).key("targetValue");
                set(&at, lower_quantity(source.target_value))
            });
            each.collect()
        }
        PolicySpec::Wva(own) if own.is_v2() => {
            vec![
                set(&at.key("scaleUpThreshold"), decimal(own.scale_up_threshold * LOWER)),
                set(&at.key("scaleDownBoundary"), decimal(own.scale_down_boundary * LOWER)),
            ]
        }
        PolicySpec::Wva(own) => vec![
            set(&at.key("kvCacheThreshold"), decimal(own.kv_cache_threshold * LOWER)),
            set(&at.key("queueLengthThreshold"), decimal(own.queue_length_threshold * LOWER)),
        ],
        _ => Vec::new(),
    });
    if sets.is_empty() { Err("the policy has no target".to_owned()) } else { Ok(sets) }
}

/// Where a policy's HPA has its behavior, and what it is.
fn behavior<'a>(at: &Path, policy: &'a PolicySpec) -> Option<(Path, Option<&'a BehaviorSpec>)> {
    match policy {
        PolicySpec::Hpa(own) => Some((at.key("behavior"), own.behavior.as_ref())),
        PolicySpec::Keda(own) => {
            let object = own.scaled_object.as_ref()?;
            let config =
                object.advanced.as_ref().and_then(|own| own.horizontal_pod_autoscaler_config.as_ref());
            let at =
                at.key("scaledObject").key("advanced").key("horizontalPodAutoscalerConfig").key("behavior");
            Some((at, config.and_then(|own| own.behavior.as_ref())))
        }
        PolicySpec::Wva(own) => Some((at.key("hpa").key("behavior"), own.hpa.behavior.as_ref())),
        _ => None,
    }
}

/// WVA's chart writes a behavior of its own, which one that is written stands in place of.
fn is_charts(policy: &PolicySpec) -> bool {
    matches!(policy, PolicySpec::Wva(own) if own.hpa.behavior.is_none())
}

/// The chart's, with other windows, s.
fn chart(at: &Path, up: i64, down: i64) -> String {
    let rules = |window: i64| {
        format!(
            "{{ stabilizationWindowSeconds: {window}, policies: [{{ type: Pods, value: 10, periodSeconds: 150 }}] }}"
        )
    };
    set(at, format!("{{ scaleUp: {}, scaleDown: {} }}", rules(up), rules(down)))
}

pub(super) fn up_at_once(ground: &Ground<'_>) -> Edit {
    let sets = ground.of_each(|at, policy| {
        if let Some((at, own)) = behavior(at, policy) {
            if is_charts(policy) {
                return vec![chart(&at, 0, 240)];
            }
            let up = at.key("scaleUp");
            let has = |of: fn(&RulesSpec) -> bool| own.and_then(|own| own.scale_up.as_ref()).is_some_and(of);
            let mut sets = vec![set(&up.key("policies"), NO_LIMIT)];
            if has(|rules| rules.stabilization_window_seconds.is_some_and(|window| window > 0)) {
                sets.push(set(&up.key("stabilizationWindowSeconds"), 0));
            }
            if has(|rules| rules.select_policy.is_some()) {
                sets.push(set(&up.key("selectPolicy"), "Max"));
            }
            return sets;
        }
        match policy {
            PolicySpec::Ray(own) if own.autoscaling_config.upscale_delay_s > 0.0 => {
                vec![set(&at.key("autoscaling_config").key("upscale_delay_s"), "0.0")]
            }
            PolicySpec::Guard(own) if own.up.is_some() => vec![set(&at.key("up"), "null")],
            _ => Vec::new(),
        }
    });
    if sets.is_empty() { Err("nothing limits it".to_owned()) } else { Ok(sets) }
}

/// Twice as many seconds, as far as the HPA takes them.
fn twice(seconds: impl Into<i64>) -> i64 {
    seconds.into().saturating_mul(2).clamp(OFTEN_S.into(), WINDOW_MAX_S)
}

fn twice_as_long(time: SimDuration) -> SimDuration {
    SimDuration::from_nanos(time.as_nanos().saturating_mul(2)).max(OFTEN)
}

/// How long an HPA holds on to replicas.
fn hold(at: &Path, behavior: &Path, own: Option<&BehaviorSpec>, controller: &ControllerSpec) -> String {
    let window = own.and_then(|own| own.scale_down.as_ref()?.stabilization_window_seconds);
    match window {
        Some(window) => set(&behavior.key("scaleDown").key("stabilizationWindowSeconds"), twice(window)),
        None => set(
            &at.key("controller").key("downscaleStabilization"),
            twice_as_long(controller.downscale_stabilization),
        ),
    }
}

pub(super) fn down_later(ground: &Ground<'_>) -> Edit {
    let sets = ground.of_each(|at, policy| {
        let own = behavior(at, policy);
        match (policy, own) {
            (PolicySpec::Hpa(hpa), Some((place, own))) => vec![hold(at, &place, own, &hpa.controller)],
            (PolicySpec::Wva(wva), Some((place, own))) => {
                if is_charts(policy) {
                    return vec![chart(&place, 240, 480)];
                }
                vec![hold(&at.key("hpa"), &place, own, &wva.hpa.controller)]
            }
            (PolicySpec::Keda(keda), own) => of_keda_down(at, keda, own),
            (PolicySpec::Ray(ray), _) => {
                let delay = ray.autoscaling_config.downscale_delay_s.max(1.0) * 2.0;
                vec![set(&at.key("autoscaling_config").key("downscale_delay_s"), format!("{delay:?}"))]
            }
            (PolicySpec::Knative(knative), _) => {
                let delay = knative.revision().annotations.scale_down_delay;
                if delay.is_some() {
                    return Vec::new();
                }
                let names = ["scale-down-delay", "scaleDownDelay"];
                vec![set(&annotation(at, &knative.annotations, names), "\"5m\"")]
            }
            _ => Vec::new(),
        }
    });
    if sets.is_empty() {
        return Err("how long it holds on to replicas is not a setting, or set already".to_owned());
    }
    Ok(sets)
}

/// How long KEDA holds on to replicas, and to the last one.
#[expect(clippy::needless_pass_by_value, reason = "a pair of borrows and a path, made for this call")]
fn of_keda_down(at: &Path, keda: &KedaSpec, own: Option<(Path, Option<&BehaviorSpec>)>) -> Vec<String> {
    let mut sets: Vec<String> =
        own.iter().map(|(place, own)| hold(at, place, *own, &keda.controller)).collect();
    if let Some(object) = &keda.scaled_object
        && object.min_replica_count.unwrap_or(0) == 0
    {
        let cooldown = object.cooldown_period.unwrap_or(crate::policy::keda::spec::COOLDOWN_PERIOD_S);
        sets.push(set(&at.key("scaledObject").key("cooldownPeriod"), i64::from(cooldown).saturating_mul(2)));
    }
    if let Some(http) = &keda.http_scaled_object {
        let cooldown =
            i64::from(http.scaledown_period.unwrap_or(crate::policy::keda::spec::COOLDOWN_PERIOD_S));
        sets.push(set(&at.key("httpScaledObject").key("scaledownPeriod"), cooldown.saturating_mul(2)));
    }
    sets
}
