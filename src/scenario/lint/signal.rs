//! Rules about what an autoscaler scales on, whichever it is.

use super::case::{Against, Case, Kind, Scaler, Signal, metric_of};
use super::figures::whole;
use super::finding::Finding;
use crate::kernel::SimDuration;
use crate::policy::hpa::spec::MetricSourceType;
use crate::policy::keda::triggers::Trigger;
use crate::promql::Shape;
use crate::promql::catalogue::{Kind as MetricKind, Quantity, Unit};

/// Series that were renamed: (older name, newer name, where). Engines publish the older ones no more.
const RENAMED: &[(&str, &str, &str)] = &[
    ("vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc", "vllm-project/vllm #18354, gone with #29330"),
    (
        "vllm:time_per_output_token_seconds",
        "vllm:inter_token_latency_seconds",
        "vllm-project/vllm #24110, hidden with #29330",
    ),
];

/// W0321: a mean, an extreme or a latency, divided by a target per replica.
pub(super) fn mean_per_replica(_: &Case<'_>, scaler: &Scaler<'_>, signal: &Signal) -> Vec<Finding> {
    let Against::PerReplica(target) = signal.against else { return Vec::new() };
    let of_pods = signal.metrics().any(|(_, metric)| metric.exporter.is_of_pods());
    if signal.query.shape() != Shape::Mean || !of_pods || !scaler.is_plural() {
        return Vec::new();
    }
    let is_time = |unit| matches!(unit, Unit::Seconds | Unit::Milliseconds | Unit::Microseconds);
    let latency = signal.metrics().any(|(_, m)| m.kind == MetricKind::Histogram && is_time(m.unit));
    let what = if latency { "a latency" } else { "a mean or an extreme" };
    vec![Finding::new(
        signal.at.clone(),
        format!("{what} is divided by {target}, a target per replica"),
        format!(
            "replicas = ceil(value / {target}), however many there are: 1 up to {target}, 2 up to {}, and so it settles \
             at a few whatever the load",
            2.0 * target
        ),
        if latency {
            "scale on a total such as sum(vllm:num_requests_waiting); or write the target as `Value`, whose ratio \
             multiplies the replicas there are"
        } else {
            "take the `sum` over the pods, or write the target as `Value`"
        },
    )]
}

/// W0322: a total that more replicas do not lower, against a target of the whole.
pub(super) fn total_as_a_whole(_: &Case<'_>, scaler: &Scaler<'_>, signal: &Signal) -> Vec<Finding> {
    let Against::Whole(target) = signal.against else { return Vec::new() };
    let lasting = matches!(
        signal.quantity(),
        Some(
            Quantity::Running
                | Quantity::InFlight
                | Quantity::Concurrency
                | Quantity::RequestRate
                | Quantity::GatewayRate
                | Quantity::Arrived
                | Quantity::GatewayArrived
                | Quantity::Finished
                | Quantity::PromptTokens
                | Quantity::GenerationTokens
        )
    );
    // An HPA adds up what an external metric has several values of.
    let shape = signal.query.shape();
    let external = matches!(scaler.kind, Kind::Hpa(_)) && shape == Shape::Unclear;
    let total = shape == Shape::Total || external || !signal.metrics().any(|(_, m)| m.exporter.is_of_pods());
    if !lasting || !total || !scaler.is_plural() {
        return Vec::new();
    }
    vec![Finding::new(
        signal.target_at.clone(),
        format!("the load of all replicas is held against {target}, a target of type `Value`"),
        "replicas = ceil(replicas x value / target), and more replicas do not lower the load: above the target they \
         grow to the maximum, below it they shrink to the minimum, and nowhere do they settle",
        "write the target as `AverageValue`: what one replica is meant to carry",
    )]
}

/// W0323: a counter that nothing makes a rate of.
pub(super) fn raw_counter(_: &Case<'_>, _: &Scaler<'_>, signal: &Signal) -> Vec<Finding> {
    // A difference by `offset` is a rate by hand.
    if signal.query.reads().iter().any(|read| read.offset_ms != 0) {
        return Vec::new();
    }
    let values = signal.query.values();
    let raw = values.into_iter().find(|read| {
        read.range_ms.is_none() && metric_of(read).is_some_and(|metric| metric.kind != MetricKind::Gauge)
    });
    let Some(read) = raw else { return Vec::new() };
    let name = read.name.as_deref().unwrap_or_default();
    let finding = Finding::new(
        signal.at.clone(),
        format!("`{name}` counts from each replica's start on, and nothing makes a rate of it"),
        "it only rises, so the replicas do, and when one goes its whole count goes with it",
        format!("write rate({name}[1m]), over at least four scrapes"),
    );
    vec![in_text(finding, signal, read.span.clone())]
}

fn in_text(finding: Finding, signal: &Signal, span: std::ops::Range<usize>) -> Finding {
    if signal.is_text { finding.within(span) } else { finding }
}

/// W0324: a target that no replica can be above.
pub(super) fn out_of_reach(case: &Case<'_>, scaler: &Scaler<'_>, signal: &Signal) -> Vec<Finding> {
    let Some(target) = signal.against.target().filter(|_| signal.query.is_plain()) else { return Vec::new() };
    let units: Vec<Unit> = signal.metrics().map(|(_, metric)| metric.unit).collect();
    let Some(unit) = units.first().copied().filter(|unit| units.iter().all(|u| u == unit)) else {
        return Vec::new();
    };
    let shape = signal.query.shape();
    let each = match signal.against {
        // A sum over the pods, divided among them.
        Against::PerReplica(_) => shape == Shape::Total,
        Against::Whole(_) => shape == Shape::Mean,
        Against::EachPod(_) => true,
        Against::Formula => false,
    };
    let (most, what) = match (unit, signal.quantity()) {
        (Unit::Ratio, _) => (1.0, "the metric goes from 0 to 1".to_owned()),
        (Unit::Percent, _) => (100.0, "the metric goes from 0 to 100".to_owned()),
        (_, Some(Quantity::Running)) => {
            let most = case.figures.at_work();
            (f64::from(most), format!("a replica runs {most} requests at a time"))
        }
        _ => return Vec::new(),
    };
    let tolerance = scaler.controller().map_or(0.0, |controller| controller.tolerance_up());
    if !each || target * (1.0 + tolerance) < most {
        return Vec::new();
    }
    vec![Finding::new(
        signal.target_at.clone(),
        format!("no replica gets beyond a target of {target}"),
        format!(
            "{what}, and an HPA acts beyond {:.4} (its tolerance on top): it never scales up on this",
            target * (1.0 + tolerance)
        ),
        format!("write a target well below {most}, such as {:.4}", most * 0.8),
    )]
}

/// W0325: how busy the GPU is.
pub(super) fn gpu_utilisation(_: &Case<'_>, _: &Scaler<'_>, signal: &Signal) -> Vec<Finding> {
    if signal.quantity() != Some(Quantity::Busy) {
        return Vec::new();
    }
    vec![Finding::new(
        signal.at.clone(),
        "GPU utilisation says that something runs, not how much",
        "it is the share of time in which any kernel ran: one request in the batch makes it nearly full, and a hundred \
         make it no fuller",
        "scale on requests: waiting ones (vllm:num_requests_waiting) for throughput, running ones for latency",
    )]
}

/// W0326: CPU or memory of a server whose work is on the GPU.
pub(super) fn resources(_: &Case<'_>, scaler: &Scaler<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |at, name: &str| {
        let why = if name == "memory" {
            "the engine takes its memory when it starts and keeps it, so the figure says nothing of the load"
        } else {
            "the process that feeds the GPU uses about the same CPU for a batch of one and of many, so the figure tells \
             busy from idle and no more"
        };
        let mend = "scale on requests: vllm:num_requests_waiting or vllm:num_requests_running";
        found.push(Finding::new(at, format!("{name} does not measure the load of a GPU server"), why, mend));
    };
    match &scaler.kind {
        Kind::Hpa(spec) => {
            if spec.metrics.is_empty() {
                add(scaler.at.clone(), "CPU, an HPA's default metric,");
            }
            for (index, metric) in spec.metrics.iter().enumerate() {
                let name = match metric.kind {
                    MetricSourceType::Resource => metric.resource.as_ref().map(|source| &source.name),
                    MetricSourceType::ContainerResource => {
                        metric.container_resource.as_ref().map(|source| &source.name)
                    }
                    _ => None,
                };
                if let Some(name) = name {
                    let at = scaler.at.key("metrics").index(index);
                    add(at.key(metric.kind.field()).key("name"), if name == "cpu" { "CPU" } else { name });
                }
            }
        }
        Kind::Keda(keda) => {
            for (index, trigger) in keda.object.triggers.iter().enumerate() {
                if let Trigger::Resource(own) = trigger {
                    let name = if own.resource == "cpu" { "CPU" } else { &own.resource };
                    add(keda.trigger_at(index).key("type"), name);
                }
            }
        }
        Kind::Knative(..) => {}
    }
    found
}

/// W0327: a queue in an engine that takes everything into its batch.
pub(super) fn empty_queue(case: &Case<'_>, scaler: &Scaler<'_>, signal: &Signal) -> Vec<Finding> {
    let waits = |signal: &Signal| signal.quantity() == Some(Quantity::Waiting);
    // Beside another metric, the higher proposal wins.
    if !waits(signal) || !scaler.signals.iter().all(waits) || !resources(case, scaler).is_empty() {
        return Vec::new();
    }
    let Some(limit) = case.spec.slo.as_ref().and_then(|slo| slo.tpot) else { return Vec::new() };
    let figures = &case.figures;
    let replicas = scaler.min.max(1);
    let (Some(most), Some(within), Some(peak)) =
        (figures.batch_max(), figures.batch_within(limit), figures.batch_at_peak(replicas))
    else {
        return Vec::new();
    };
    if within >= peak || within >= most {
        return Vec::new();
    }
    let at_peak = figures.token_time(peak).unwrap_or(SimDuration::ZERO);
    vec![Finding::new(
        signal.at.clone(),
        format!(
            "requests wait only once a batch of {most} is full, and the SLO breaks from {} on",
            within + 1
        ),
        format!(
            "on {replicas} replicas the busiest minute settles at a batch of {peak}, where decoding alone takes {:.0} ms a \
             token and the SLO allows {:.0} ms: until the batch is full the queue that this scales on is empty",
            at_peak.as_millis_f64(),
            limit.as_millis_f64()
        ),
        format!("write engine.continuous.maxNumSeqs: {within}, or scale on running requests"),
    )]
}

/// W0328: a name that engines no longer publish.
pub(super) fn renamed(_: &Case<'_>, _: &Scaler<'_>, signal: &Signal) -> Vec<Finding> {
    let old = |(read, metric): (_, &crate::promql::catalogue::Metric)| {
        RENAMED.iter().find(|(older, ..)| *older == metric.name).map(|renamed| (read, renamed))
    };
    let of_read = |(read, (older, newer, source)): (&crate::promql::Selector, &(&str, &str, &str))| {
        let finding = Finding::new(
            signal.at.clone(),
            format!("`{older}` is now `{newer}`"),
            format!(
                "({source}) with a newer vLLM the series is not there; KEDA takes that for no load, an HPA for no metric"
            ),
            format!("write `{newer}`; while both versions run, `{newer} or {older}`"),
        );
        in_text(finding, signal, read.span.clone())
    };
    signal.metrics().filter_map(old).map(of_read).collect()
}

/// W0329: a range that does not always hold the samples its function needs.
pub(super) fn short_range(case: &Case<'_>, _: &Scaler<'_>, signal: &Signal) -> Vec<Finding> {
    let interval = case.spec.telemetry.scrape_interval;
    let short = signal.query.reads().iter().filter_map(|read| {
        let range = SimDuration::from_millis(u64::try_from(read.range_ms?).ok()?);
        let needed = interval * u64::from(read.samples_needed);
        (range < needed).then_some((read, range, needed))
    });
    let of_read = |(read, range, needed): (&crate::promql::Selector, SimDuration, SimDuration)| {
        let finding = Finding::new(
            signal.at.clone(),
            format!(
                "a range of {range} does not always hold {} of the samples taken every {interval}",
                read.samples_needed
            ),
            format!("without them the query answers nothing: its function needs a range of {needed} or more"),
            format!("write [{}] or more: four scrapes, so that one may fail", interval * 4),
        );
        in_text(finding, signal, read.span.clone())
    };
    short.map(of_read).collect()
}

/// W0330: samples that are older than the autoscaler's period.
pub(super) fn stale(case: &Case<'_>) -> Vec<Finding> {
    let telemetry = &case.spec.telemetry;
    let periods = case.scalers.iter().filter(|scaler| !scaler.signals.is_empty());
    let Some((name, period)) = periods
        .filter_map(|s| Some((s.name, s.controller()?.flags.sync_period)))
        .min_by_key(|(_, period)| *period)
    else {
        return Vec::new();
    };
    let checks = [
        ("scrapeInterval", "scrape interval", telemetry.scrape_interval),
        ("delay", "delay of metrics", telemetry.delay),
    ];
    let late = checks.into_iter().filter(|(.., time)| *time > period);
    late.map(|(field, words, time)| {
        let age = whole(telemetry.scrape_interval + telemetry.delay);
        Finding::new(
            crate::yaml::Path::keys(["telemetry", field]),
            format!("a {words} of {time} is longer than the {period} between two decisions of `{name}`"),
            format!("several decisions in a row see the same sample, up to {age} old: a rise is seen that much later"),
            "scrape what autoscalers read every 15 s or less",
        )
    })
    .collect()
}

/// W0331: a lookback that does not reach from one scrape to the next.
pub(super) fn lookback(case: &Case<'_>) -> Vec<Finding> {
    let telemetry = &case.spec.telemetry;
    let asked = case.scalers.iter().any(|scaler| !scaler.signals.is_empty());
    if !asked || telemetry.lookback >= telemetry.scrape_interval {
        return Vec::new();
    }
    vec![Finding::new(
        crate::yaml::Path::keys(["telemetry", "lookback"]),
        format!(
            "a lookback of {} is shorter than the {} between scrapes",
            telemetry.lookback, telemetry.scrape_interval
        ),
        "between the end of the one and the next scrape every series is gone, and queries answer nothing",
        "leave it at Prometheus's 5m",
    )]
}
