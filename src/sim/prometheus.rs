//! The Prometheus server: what it scrapes of every replica and of the gateway, under real exporters' names.
//!
//! Only series that some query of the policy can read are kept, so that what nobody asks for costs nothing.
//! A replica is one target per exporter: its engine's, which answers once the engine serves, dcgm-exporter's
//! and the queue-proxy's. The gateway is one target, and so is the router.

use std::collections::BTreeMap;

use super::engine::Gauges;
use super::replica::{Replica, State};
use super::telemetry::{
    Exporter, Histograms, ITL_BOUNDS, LENGTH_BOUNDS, PromHistogram, REQUEST_BOUNDS, TTFT_BOUNDS,
};
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::policy::Setting;
use crate::policy::api::pod_name;
use crate::policy::meter::Meter;
use crate::promql::catalogue::{self, Kind, METRICS, Metric, Quantity, Unit};
use crate::promql::{Query, Selector, Settings, Store, TargetId};

/// What the series of one name are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Value,
    /// All buckets of a histogram; the last is `+Inf`.
    Buckets,
    Sum,
    Count,
}

/// The series of one name that every target of its exporter has.
#[derive(Clone, Debug)]
struct Published {
    metric: &'static Metric,
    quantity: Quantity,
    part: Part,
    name: String,
    /// Labels of each series.
    series: Vec<Vec<(String, String)>>,
}

/// What a replica's targets remember between scrapes.
#[derive(Clone, Debug, Default)]
struct PodState {
    /// By exporter, in the order of `Prometheus::of_pods`.
    targets: Vec<TargetId>,
    busy: SimDuration,
    meter: Meter,
    at: SimTime,
}

/// The figures of one scrape of a replica.
struct Reading<'a> {
    gauges: Gauges,
    exporter: Option<&'a Exporter>,
    busy_share: f64,
    concurrency: f64,
    request_rate: f64,
}

/// The gateway's figures at a scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct GatewayReading {
    /// Requests held.
    pub held: u32,
    /// Requests in the system.
    pub in_flight: u32,
    /// Requests that arrived since the start.
    pub arrived: u64,
}

/// The server.
#[derive(Debug)]
pub struct Prometheus {
    store: Store,
    interval: SimDuration,
    labels: BTreeMap<String, String>,
    workload: String,
    /// Exporters of pods that a query reads, each with its series.
    of_pods: Vec<(catalogue::Exporter, Vec<Published>)>,
    of_gateway: Vec<(catalogue::Exporter, Vec<Published>)>,
    pods: Vec<Option<PodState>>,
    gateway: Vec<TargetId>,
    gateway_arrived: u64,
    gateway_at: SimTime,
    /// Targets whose pods are gone, and when they end.
    ending: Vec<(SimTime, TargetId)>,
    /// The values of the scrape at hand; kept to be filled again.
    row: Vec<f64>,
}

impl Prometheus {
    /// A server that scrapes what these queries read.
    pub fn new(queries: &[&Query], setting: &Setting, workload: &str, interval: SimDuration) -> Self {
        let reads: Vec<&Selector> = queries.iter().flat_map(|query| query.reads()).collect();
        let furthest = queries.iter().map(|query| query.reach(setting.lookback)).max();
        let settings = Settings {
            lookback: setting.lookback,
            release: setting.release,
            epoch_ms: setting.start_ms.unwrap_or(0),
        };
        let mut labels = setting.labels.clone();
        labels.extend(setting.adopted(reads.iter().copied()));
        let mut server = Self {
            store: Store::new(settings, furthest.unwrap_or(SimDuration::ZERO) + interval),
            interval,
            labels,
            workload: workload.to_owned(),
            of_pods: Vec::new(),
            of_gateway: Vec::new(),
            pods: Vec::new(),
            gateway: Vec::new(),
            gateway_arrived: 0,
            gateway_at: SimTime::ZERO,
            ending: Vec::new(),
            row: Vec::new(),
        };
        for exporter in &setting.exporters {
            let series: Vec<Published> = METRICS
                .iter()
                .filter(|metric| metric.exporter == *exporter && setting.publishes(metric))
                .flat_map(published)
                .filter(|series| reads.iter().any(|read| read.may_read(&series.name)))
                .collect();
            if series.is_empty() {
                continue;
            }
            let list = if exporter.is_of_pods() { &mut server.of_pods } else { &mut server.of_gateway };
            list.push((*exporter, series));
        }
        // `up` is a series of every target.
        if reads.iter().any(|read| read.may_read("up")) && server.of_pods.is_empty() {
            let engine = setting.exporters.first().copied().unwrap_or(catalogue::Exporter::Vllm);
            server.of_pods.push((engine, Vec::new()));
        }
        server
    }

    /// Whether there is nothing to scrape.
    pub fn is_idle(&self) -> bool {
        self.of_pods.is_empty() && self.of_gateway.is_empty()
    }

    /// What the pods' names begin with.
    pub fn workload(&self) -> &str {
        &self.workload
    }

    /// What it holds.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The histograms that engines must keep for it.
    pub fn histograms(&self) -> Histograms {
        let reads = |quantity: Quantity| {
            self.of_pods.iter().any(|(_, series)| series.iter().any(|one| one.quantity == quantity))
        };
        Histograms {
            ttft: reads(Quantity::TimeToFirstToken),
            itl: reads(Quantity::InterTokenLatency),
            e2e: reads(Quantity::RequestLatency),
            queue_time: reads(Quantity::QueueTime),
            prompt_length: reads(Quantity::PromptLength),
            output_length: reads(Quantity::OutputLength),
        }
    }

    /// Whether a scrape needs the replicas' engines settled: for all but plain gauges.
    pub fn needs_settled(&self) -> bool {
        !self.of_pods.is_empty()
    }

    /// Scrapes a replica's exporters. Its engine's facts must be settled.
    pub fn scrape_pod(&mut self, now: SimTime, replica: &mut Replica) {
        let index = replica.id.index();
        // Once it is found a pod is scraped until it is gone, whether a container runs in it or not.
        let is_found = self.pods.get(index).is_some_and(Option::is_some);
        if self.of_pods.is_empty() || (replica.container_started.is_none() && !is_found) {
            return;
        }
        if self.pods.len() <= index {
            self.pods.resize_with(index + 1, || None);
        }
        if self.pods[index].is_none() {
            self.pods[index] = Some(self.discover(now, &pod_name(&self.workload, replica.id)));
        }
        let is_lost = matches!(replica.state, State::Lost(_));
        let Some(state) = &mut self.pods[index] else { return };
        let window = now.since(state.at).as_nanos();
        let share = |part: u128| if window > 0 { part as f64 / window as f64 } else { 0.0 };
        let mut reading = Reading {
            gauges: Gauges::default(),
            exporter: None,
            busy_share: 0.0,
            concurrency: 0.0,
            request_rate: 0.0,
        };
        if let Some(serving) = replica.serving() {
            let (busy, meter) = (serving.engine.busy(now), serving.meter.at(now));
            reading.gauges = serving.engine.gauges();
            reading.busy_share = share(u128::from((busy - state.busy).as_nanos()));
            reading.concurrency = share(meter.concurrency_ns - state.meter.concurrency_ns);
            reading.request_rate = share(u128::from(meter.requests - state.meter.requests)) * 1e9;
            reading.exporter = Some(&serving.exporter);
            (state.busy, state.meter) = (busy, meter);
        }
        state.at = now;
        for ((exporter, published), target) in self.of_pods.iter().zip(&state.targets) {
            // dcgm-exporter runs on the node and answers whatever the pod does.
            let of_node = *exporter == catalogue::Exporter::Dcgm && !is_lost;
            let answers = reading.exporter.is_some() || of_node;
            if !answers {
                self.store.scrape_failed(*target, now);
                continue;
            }
            self.row.clear();
            for one in published {
                one.read(&reading, &mut self.row);
            }
            self.store.scrape(*target, now, self.row.iter().copied());
        }
    }

    /// A pod's engine is no more: the next one counts from nothing.
    pub fn engine_gone(&mut self, id: ReplicaId) {
        if let Some(state) = self.pods.get_mut(id.index()).and_then(Option::as_mut) {
            state.busy = SimDuration::ZERO;
        }
    }

    /// Finds a pod: its targets and their series.
    fn discover(&mut self, now: SimTime, pod: &str) -> PodState {
        let mut targets = Vec::with_capacity(self.of_pods.len());
        for (_, published) in &self.of_pods {
            let mut labels: Vec<(&str, &str)> =
                self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            labels.extend([("pod", pod), ("instance", pod)]);
            targets.push(add_target(&mut self.store, &labels, published));
        }
        PodState { targets, at: now, ..PodState::default() }
    }

    /// Scrapes the gateway and the router, and forgets what no query can reach any more.
    pub fn scrape_gateway(&mut self, now: SimTime, reading: GatewayReading) {
        if self.gateway.len() < self.of_gateway.len() {
            let labels: Vec<(&str, &str)> =
                self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            for (exporter, published) in &self.of_gateway {
                let instance = [("instance", exporter.name())];
                let labels = [&labels[..], &instance].concat();
                self.gateway.push(add_target(&mut self.store, &labels, published));
            }
        }
        let window = now.since(self.gateway_at).as_secs_f64();
        let arrived = (reading.arrived - self.gateway_arrived) as f64;
        let rate = if window > 0.0 { arrived / window } else { 0.0 };
        (self.gateway_arrived, self.gateway_at) = (reading.arrived, now);
        for ((_, published), target) in self.of_gateway.iter().zip(&self.gateway) {
            let values = published.iter().map(|one| match one.quantity {
                Quantity::Held => f64::from(reading.held),
                Quantity::InFlight => f64::from(reading.in_flight),
                Quantity::GatewayRate => rate,
                _ => reading.arrived as f64,
            });
            self.store.scrape(*target, now, values);
        }
        let store = &mut self.store;
        self.ending.retain(|(at, target)| {
            let over = *at <= now;
            if over {
                store.end_target(*target, *at);
            }
            !over
        });
        self.store.forget(now);
    }

    /// A pod is no more. Its series end a scrape and a tenth later, as Prometheus writes its stale markers.
    pub fn pod_gone(&mut self, now: SimTime, replica: &Replica) {
        let Some(state) = self.pods.get_mut(replica.id.index()).and_then(Option::take) else { return };
        let at = now.saturating_add(self.interval + SimDuration::from_nanos(self.interval.as_nanos() / 10));
        self.ending.extend(state.targets.iter().map(|target| (at, *target)));
    }
}

/// A new target with all its series, in the order in which their values come.
fn add_target(store: &mut Store, labels: &[(&str, &str)], published: &[Published]) -> TargetId {
    let id = store.add_target(labels);
    for one in published {
        for labels in &one.series {
            let labels: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            store.add_series(id, &one.name, &labels);
        }
    }
    id
}

/// Divides what is observed, ns or tokens, into a metric's unit.
fn scale(unit: Unit) -> f64 {
    match unit {
        Unit::Seconds => 1e9,
        Unit::Milliseconds => 1e6,
        Unit::Microseconds => 1e3,
        _ => 1.0,
    }
}

fn bounds(quantity: Quantity) -> &'static [u64] {
    match quantity {
        Quantity::TimeToFirstToken => TTFT_BOUNDS,
        Quantity::InterTokenLatency => ITL_BOUNDS,
        Quantity::PromptLength | Quantity::OutputLength => LENGTH_BOUNDS,
        _ => REQUEST_BOUNDS,
    }
}

/// The series of a metric.
fn published(metric: &'static Metric) -> Vec<Published> {
    let Some(quantity) = metric.quantity else { return Vec::new() };
    let fixed: Vec<(String, String)> = metric
        .labels
        .iter()
        .filter_map(|label| Some(((*label).to_owned(), fixed_label(label)?.to_owned())))
        .collect();
    let of = |part, name: String, series| Published { metric, quantity, part, name, series };
    if metric.kind != Kind::Histogram {
        return vec![of(Part::Value, metric.name.to_owned(), vec![fixed])];
    }
    let bounds = bounds(quantity);
    let buckets = (0..=bounds.len()).map(|index| {
        let mut labels = fixed.clone();
        labels.push(("le".to_owned(), bound_label(bounds.get(index).copied(), scale(metric.unit))));
        labels
    });
    vec![
        of(Part::Buckets, format!("{}_bucket", metric.name), buckets.collect()),
        of(Part::Sum, format!("{}_sum", metric.name), vec![fixed.clone()]),
        of(Part::Count, format!("{}_count", metric.name), vec![fixed]),
    ]
}

/// A label that every simulated series of a metric has, beside those of its target.
fn fixed_label(label: &str) -> Option<&'static str> {
    match label {
        "engine" | "gpu" => Some("0"),
        "finished_reason" => Some("stop"),
        "response_code" => Some("200"),
        _ => None,
    }
}

/// A bucket's `le`, in the form that Prometheus 3 stores.
fn bound_label(bound: Option<u64>, scale: f64) -> String {
    bound.map_or_else(|| "+Inf".to_owned(), |bound| format!("{:?}", bound as f64 / scale))
}

impl Published {
    /// Appends the value of each series.
    fn read(&self, reading: &Reading<'_>, row: &mut Vec<f64>) {
        let gauges = &reading.gauges;
        let counter = |of: fn(&Exporter) -> u64| reading.exporter.map_or(0.0, |exporter| of(exporter) as f64);
        row.push(match self.quantity {
            Quantity::Running => f64::from(gauges.running),
            Quantity::Waiting => f64::from(gauges.waiting),
            Quantity::KvUsage => gauges.blocks_used as f64 / gauges.blocks_total.max(1) as f64,
            Quantity::Busy if self.metric.unit == Unit::Percent => reading.busy_share * 100.0,
            Quantity::Busy => reading.busy_share,
            Quantity::PromptTokens => counter(|e| e.prompt_tokens),
            Quantity::GenerationTokens => counter(|e| e.generation_tokens),
            Quantity::Arrived => counter(|e| e.arrived),
            Quantity::Finished => counter(|e| e.finished),
            Quantity::Preemptions => counter(|e| e.preemptions),
            Quantity::TimeToFirstToken => return self.read_histogram(reading, |e| &e.ttft, row),
            Quantity::InterTokenLatency => return self.read_histogram(reading, |e| &e.itl, row),
            Quantity::RequestLatency => return self.read_histogram(reading, |e| &e.e2e, row),
            Quantity::QueueTime => return self.read_histogram(reading, |e| &e.queue_time, row),
            Quantity::PromptLength => return self.read_histogram(reading, |e| &e.prompt_length, row),
            Quantity::OutputLength => return self.read_histogram(reading, |e| &e.output_length, row),
            Quantity::Concurrency => reading.concurrency,
            Quantity::RequestRate => reading.request_rate,
            Quantity::Up => 1.0,
            // The gateway's; no exporter of a pod has them.
            Quantity::Held | Quantity::InFlight | Quantity::GatewayArrived | Quantity::GatewayRate => {
                f64::NAN
            }
        });
    }

    fn read_histogram(
        &self,
        reading: &Reading<'_>,
        of: fn(&Exporter) -> &Option<PromHistogram>,
        row: &mut Vec<f64>,
    ) {
        let Some(histogram) = reading.exporter.and_then(|exporter| of(exporter).as_ref()) else {
            row.extend(self.series.iter().map(|_| 0.0));
            return;
        };
        match self.part {
            Part::Buckets => row.extend(histogram.cumulative().map(|count| count as f64)),
            Part::Sum => row.push(histogram.sum() / scale(self.metric.unit)),
            Part::Count | Part::Value => row.push(histogram.count() as f64),
        }
    }
}
