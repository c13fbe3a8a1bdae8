//! Rules about the pods, and the room for them.

use super::case::{Case, Kind, Scaler};
use super::figures::{minutes, whole};
use super::finding::Finding;
use crate::sim::config::ReadyAfter;
use crate::yaml::Path;

/// W0360: more replicas than the pool can hold.
pub(super) fn room(case: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let room = case.figures.room;
    let spare = scaler.spare;
    let all = scaler.max.map(|max| u64::from(max) + u64::from(spare));
    if all.is_some_and(|all| all <= u64::from(room)) {
        return Vec::new();
    }
    let spares = if spare > 0 { format!(" and {spare} to spare") } else { String::new() };
    let most = scaler.max.map_or_else(|| "any number of".to_owned(), |max| max.to_string());
    vec![Finding::new(
        scaler.max_at.clone(),
        format!("`{}` may ask for {most} replicas{spares}, and the pool has room for {room}", scaler.name),
        "what is above stays pending: the autoscaler counts those replicas as its own and waits for them, and at its \
         maximum it cannot tell that it is short",
        format!("write a maximum of {} or less, or raise maxNodes", room.saturating_sub(spare).max(1)),
    )]
}

/// W0361: a start outside of the bounds.
pub(super) fn initial(case: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let Some(replicas) = case.spec.initial.replicas else { return Vec::new() };
    let most = scaler.max.unwrap_or(u32::MAX);
    if (scaler.min..=most).contains(&replicas) {
        return Vec::new();
    }
    let (least, bound) = (scaler.min, if replicas < scaler.min { "at least" } else { "at most" });
    let held = if replicas < scaler.min { least } else { most };
    if replicas == 0 && matches!(scaler.kind, Kind::Hpa(_)) {
        return vec![Finding::new(
            Path::keys(["initial", "replicas"]),
            format!("the run starts with 0 replicas, and `{}` is an HPA, which is off at 0", scaler.name),
            "an HPA whose target has no replicas does nothing until somebody scales it up (`ScalingDisabled`): nobody does, and no \
             request is ever served",
            format!("write {held}, or leave it out: each policy then starts at its own minimum"),
        )];
    }
    vec![Finding::new(
        Path::keys(["initial", "replicas"]),
        format!("the run starts with {replicas} replicas, and `{}` wants {bound} {held}", scaler.name),
        "its first decision corrects that, so that the run begins with a scaling that the traffic did not ask for",
        format!("write {held}, or leave it out: each policy then starts at its own minimum"),
    )]
}

/// W0362: requests that are held for a pod and given up before there is one.
pub(super) fn held_requests(case: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    if !scaler.sleeps() {
        return Vec::new();
    }
    let start = case.figures.cold_start.median;
    let gateway = Path::keys(["gateway", "requestTimeout"]);
    let mut limits = vec![("gateway.requestTimeout", gateway, case.spec.gateway.request_timeout)];
    if let Kind::Knative(spec, _) = &scaler.kind {
        limits.push(("timeoutSeconds", scaler.at.key("timeoutSeconds"), spec.timeout()));
    }
    if let Kind::Keda(keda) = &scaler.kind
        && let Some((http, hold)) = keda.http.and_then(|http| Some((http, http.data_path().hold_timeout?)))
    {
        let (field, at) = match http.cold_start_timeout_failover_ref {
            Some(_) => ("the failover", keda.at.key("coldStartTimeoutFailoverRef").key("timeoutSeconds")),
            None => ("conditionWait", keda.at.key("timeouts").key("conditionWait")),
        };
        limits.push((field, at, hold));
    }
    // 0 waits for ever.
    let short = limits.into_iter().filter(|(.., limit)| !limit.is_zero() && *limit < start);
    short
        .map(|(field, at, limit)| {
            Finding::new(
                at,
                format!("{field} gives requests up after {limit}, and the first replica takes {}", whole(start)),
                format!("`{}` goes to zero: whoever wakes it up waits for a whole start and is cut off before the answer", scaler.name),
                format!("write {} or more, or keep one replica", minutes(start + start)),
            )
        })
        .collect()
}

/// W0363: a probe that passes before the warm-up.
pub(super) fn ready_before_warm(case: &Case<'_>) -> Vec<Finding> {
    let unwaited = case.figures.unwaited;
    if unwaited.is_zero() || case.scalers.is_empty() {
        return Vec::new();
    }
    vec![Finding::new(
        Path::keys(["replica", "readiness", "after"]),
        format!("the readiness probe passes before the warm-up, which takes {}", whole(unwaited)),
        "a health endpoint that answers once the weights are loaded makes the first requests of every new replica pay for \
         compilation and graph capture, and whatever comes meanwhile waits behind them",
        "write `after: warmUp`: a probe, or a startup probe, that sends a request and waits for its answer",
    )]
}

/// W0371: a pod that counts as ready before its server answers.
pub(super) fn ready_before_up(case: &Case<'_>) -> Vec<Finding> {
    let replica = &case.spec.replica;
    let asks = replica.readiness.after != ReadyAfter::Process || replica.startup_probe.is_some();
    let early = case.figures.container.saturating_sub(replica.readiness.initial_delay);
    if asks || early.is_zero() || case.scalers.is_empty() {
        return Vec::new();
    }
    vec![Finding::new(
        Path::keys(["replica", "readiness", "after"]),
        format!("a new replica counts as ready {} before its server answers", whole(early)),
        "requests are routed to it and refused; a router that looks for the replica with the fewest requests sends it nearly all, for it never has any",
        "write a readinessProbe that asks the server (`after: warmUp`)",
    )]
}

/// W0364: less time to finish than answers take.
pub(super) fn grace(case: &Case<'_>) -> Vec<Finding> {
    let Some(fewest) = case.scalers.iter().map(|scaler| scaler.min.max(1)).min() else { return Vec::new() };
    let replica = &case.spec.replica;
    // The sleep is part of the grace period; answers go on during it.
    let grace = replica.termination_grace_period;
    let Some((long, how)) = case.figures.long_answer(fewest).filter(|(long, _)| *long > grace) else {
        return Vec::new();
    };
    vec![Finding::new(
        Path::keys(["replica", "terminationGracePeriod"]),
        format!(
            "a replica that goes has {grace} to finish, and 1 answer in 100 takes {} or more",
            whole(long)
        ),
        format!(
            "estimated: {how}, as the busiest minute makes it on {fewest} replicas; what is not done by then is cut off"
        ),
        format!(
            "write terminationGracePeriodSeconds: {}",
            (long.as_nanos() * 2).div_ceil(30_000_000_000) * 30
        ),
    )]
}

/// W0365: a probe that begins long after the server is ready.
pub(super) fn late_probe(case: &Case<'_>) -> Vec<Finding> {
    let readiness = &case.spec.replica.readiness;
    let late = readiness.initial_delay.saturating_sub(case.figures.container);
    let asks_the_server = readiness.after != ReadyAfter::Process;
    if late <= readiness.period || case.scalers.is_empty() || !asks_the_server {
        return Vec::new();
    }
    vec![Finding::new(
        Path::keys(["replica", "readiness", "initialDelay"]),
        format!("the first probe comes {} after the server is ready", whole(late)),
        format!(
            "half of the starts are done {} into the container, and nobody asks before {}",
            whole(case.figures.container),
            readiness.initial_delay
        ),
        "leave initialDelaySeconds out: a probe that fails meanwhile does no harm; what a slow start needs is a startup probe",
    )]
}

/// W0367: a probe that kills the container before its server can be up.
pub(super) fn killed_starts(case: &Case<'_>) -> Vec<Finding> {
    let replica = &case.spec.replica;
    let (name, probe) = match (&replica.startup_probe, &replica.liveness_probe) {
        (Some(probe), _) => ("startupProbe", probe),
        (None, Some(probe)) => ("livenessProbe", probe),
        (None, None) => return Vec::new(),
    };
    let (start, patience) = (case.figures.container, probe.patience());
    if start <= patience {
        return Vec::new();
    }
    let periods = (2 * start.as_nanos()).div_ceil(probe.period.as_nanos().max(1));
    vec![Finding::new(
        Path::keys(["replica", name]),
        format!(
            "the {name} has a container killed after {patience}, and half of the starts take {} or more",
            whole(start)
        ),
        "it starts again, with a back-off that doubles, and never serves; with a liveness probe alone that happens on the day a start is slow",
        format!(
            "write a startupProbe with failureThreshold: {periods} at this period: twice what a start takes"
        ),
    )]
}

/// W0366: told to stop while requests still come.
pub(super) fn short_pre_stop(case: &Case<'_>) -> Vec<Finding> {
    let replica = &case.spec.replica;
    let (sleep, removal) = (replica.pre_stop, replica.endpoint_removal_delay);
    if sleep >= removal || case.scalers.is_empty() {
        return Vec::new();
    }
    vec![Finding::new(
        Path::keys(["replica", "preStop"]),
        format!("a replica that goes is told to stop after {sleep}, and is routed to for {removal}"),
        "a server that was told to stop takes no new request: what comes in between is refused, at every scale-down",
        format!("write preStop: {} or more, and as much more terminationGracePeriod", whole(removal)),
    )]
}
