//! WVA as a policy: the optimisation of each minute, and the HPA that follows what it emits.
//!
//! What is emitted reaches the HPA at once; upstream it is scraped and served by prometheus-adapter first.

use super::spec::{METRIC, WvaSpec};
use super::{v1, v2};
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::policy::api::{Autoscaler, Decision, Loop, Path, Reason, View};
use crate::policy::engine_facts::EngineFacts;
use crate::policy::keda::owned_hpa::OwnedHpa;
use crate::policy::{Fault, Setting, scraped};
use crate::promql::Query;

/// The loop of the optimisation; it is the first, and the HPA's the second.
const OPTIMISE: usize = 0;
/// From one look at the queue before the replicas to the next, while there is none.
const POLL: SimDuration = SimDuration::from_millis(100);
/// Cost of a replica; with one variant it decides nothing.
const COST: f64 = 1.0;

/// The queries of `internal/collector`.
#[derive(Clone, Debug)]
pub(super) struct Queries {
    kv: Query,
    queue: Query,
    /// Mean prompt and output, for V2.
    lengths: Option<(Query, Query)>,
}

impl Queries {
    /// # Errors
    /// What nobody publishes.
    pub(super) fn new(spec: &WvaSpec, setting: &Setting) -> Result<Self, Vec<Fault>> {
        let ask = |text: &str| setting.query(text, "analyzerName");
        let peak = |series: &str| ask(&format!("max by (pod) (max_over_time({series}[1m]))"));
        let mean = |of: &str| ask(&format!("max by (pod) (rate({of}_sum[5m]) / rate({of}_count[5m]))"));
        let all = [
            Some(peak("vllm:kv_cache_usage_perc")),
            Some(peak("vllm:num_requests_waiting")),
            spec.is_v2().then(|| mean("vllm:request_prompt_tokens")),
            spec.is_v2().then(|| mean("vllm:request_generation_tokens")),
        ];
        let mut faults = Vec::new();
        let [kv, queue, input, output] =
            all.map(|query| query.and_then(|query| query.map_err(|found| faults.extend(found)).ok()));
        match (kv, queue) {
            (Some(kv), Some(queue)) if faults.is_empty() => {
                Ok(Self { kv, queue, lengths: input.zip(output) })
            }
            _ => Err(faults),
        }
    }
}

/// A running WVA.
#[derive(Debug)]
pub struct Wva {
    name: String,
    spec: WvaSpec,
    queries: Option<Queries>,
    engine: Option<EngineFacts>,
    hpa: OwnedHpa,
    /// What was emitted last.
    desired: Option<u32>,
    history: v2::History,
    /// What a replica held when one was last seen, tokens.
    per_replica: f64,
    /// Requests that had come at the last optimisation, and when the last one was seen in the system.
    last_request: (u64, SimTime),
    asleep: bool,
    /// When the queue of a model without replicas is looked at.
    poll: Option<SimTime>,
}

/// What one optimisation finds: the replicas to ask for, the rule, the figures.
type Found = (u32, &'static str, String);

impl Wva {
    /// From a spec that nothing is wrong with in this setting.
    pub fn new(spec: &WvaSpec, setting: &Setting) -> Self {
        Self {
            name: spec.name.clone().unwrap_or_else(|| "decode".to_owned()),
            queries: Queries::new(spec, setting).ok(),
            engine: setting.engine.clone(),
            hpa: OwnedHpa::of(spec.hpa.resolve(), &spec.hpa.controller),
            spec: spec.clone(),
            desired: None,
            history: v2::History::default(),
            per_replica: 0.0,
            last_request: (0, SimTime::ZERO),
            asleep: false,
            poll: None,
        }
    }

    /// (pod, share of KV cache in use, requests waiting) of each replica whose metrics there are.
    fn replicas(&self, view: &View<'_>) -> Vec<(ReplicaId, f64, f64)> {
        let Some(queries) = &self.queries else { return Vec::new() };
        let answers = |query| view.prometheus.answer(query).map(|answer| scraped::by_pod(view, &answer));
        let (Ok(kv), Ok(queue)) = (answers(&queries.kv), answers(&queries.queue)) else { return Vec::new() };
        kv.into_iter().map(|(pod, kv)| (pod, kv, scraped::of(&queue, pod).unwrap_or(0.0))).collect()
    }

    fn by_percentages(&self, view: &View<'_>) -> Found {
        let replicas = self.replicas(view);
        let loads: Vec<v1::Replica> =
            replicas.iter().map(|(_, kv, queue)| v1::Replica { kv: *kv, queue: *queue }).collect();
        let found = v1::analyze(&loads, &self.spec.v1());
        let current = view.status_replicas;
        let variant = v1::Variant {
            name: self.name.clone(),
            cost: COST,
            current,
            desired: self.desired.unwrap_or(0),
            reporting: loads.len() as u32,
            pending: current.saturating_sub(view.ready()),
        };
        let frozen = variant.is_in_transition();
        let target = v1::targets(found.scale_up, found.scale_down_safe, std::slice::from_ref(&variant))[0];
        let rule = match () {
            () if loads.is_empty() => "NoMetrics",
            () if frozen => "InTransition",
            () if target > current => "ScaleUp",
            () if target < current => "ScaleDown",
            () => "Steady",
        };
        let detail = format!(
            "{} of {current} replicas report, {} not saturated, spare {:.3} of the KV cache and {:.1} in the queue",
            loads.len(),
            found.non_saturated,
            found.spare_kv,
            found.spare_queue
        );
        (target, rule, detail)
    }

    fn by_tokens(&mut self, view: &View<'_>) -> Found {
        let current = view.status_replicas;
        let replicas = self.replicas(view);
        let Some(engine) = self.engine.clone() else { return (current, "NoMetrics", String::new()) };
        let lengths = self.queries.as_ref().and_then(|queries| queries.lengths.as_ref());
        let means = |query: &Query| {
            view.prometheus.answer(query).map(|answer| scraped::by_pod(view, &answer)).unwrap_or_default()
        };
        let (inputs, outputs) =
            lengths.map(|(input, output)| (means(input), means(output))).unwrap_or_default();
        let (thresholds, kv_tokens) = (self.spec.v2(), engine.kv_cache_tokens as f64);
        let arguments = Some(v2::Arguments {
            max_num_batched_tokens: engine.max_num_batched_tokens,
            max_num_seqs: engine.max_num_seqs,
        });
        let (mut capacities, mut demand) = (Vec::with_capacity(replicas.len()), 0);
        for (pod, kv, queue) in &replicas {
            let replica = v2::Replica {
                kv_tokens: kv_tokens as i64,
                in_use: (kv * kv_tokens) as i64,
                queue: *queue as i64,
                avg_input: scraped::of(&inputs, *pod).unwrap_or(0.0),
                avg_output: scraped::of(&outputs, *pod).unwrap_or(0.0),
            };
            capacities.push(self.history.capacity(&replica, &thresholds, arguments));
            demand += v2::demand(&replica);
        }
        if let Some(median) = v2::median(capacities) {
            self.per_replica = median as f64;
        }
        let mean = |values: &[(ReplicaId, f64)]| {
            if values.is_empty() {
                0.0
            } else {
                values.iter().map(|(_, v)| v).sum::<f64>() / values.len() as f64
            }
        };
        let queued = view.gateway.held as f64 * (mean(&inputs) + mean(&outputs));
        let variant = v2::Variant {
            name: self.name.clone(),
            cost: COST,
            current,
            pending: current.saturating_sub(view.ready()),
            per_replica: self.per_replica,
            demand: demand as f64,
        };
        let signals = v2::analyze(std::slice::from_ref(&variant), queued, &thresholds);
        let target = v2::targets(signals, std::slice::from_ref(&variant))[0];
        let rule = match target.cmp(&current) {
            std::cmp::Ordering::Greater => "ScaleUp",
            std::cmp::Ordering::Less => "ScaleDown",
            std::cmp::Ordering::Equal => "Steady",
        };
        let detail = format!(
            "{demand} tokens in replicas and {queued:.0} before them, {:.0} a replica, {} ready and {} pending",
            self.per_replica,
            current.saturating_sub(variant.pending),
            variant.pending
        );
        (target, rule, detail)
    }

    /// Whether no request has come for the retention period, and none is in the system.
    fn is_idle(&mut self, view: &View<'_>) -> bool {
        let (arrived, since) = &mut self.last_request;
        if *arrived != view.gateway.arrived || view.gateway.in_flight() > 0 {
            (*arrived, *since) = (view.gateway.arrived, view.now);
        }
        view.now >= *since + self.spec.retention_period
    }

    /// One optimisation. It scales nothing itself; what it emits is told when it changes.
    fn optimise(&mut self, view: &View<'_>) -> Option<Decision> {
        let (mut target, mut rule, detail) =
            if self.spec.is_v2() { self.by_tokens(view) } else { self.by_percentages(view) };
        let is_idle = self.is_idle(view);
        if self.spec.enable_scale_to_zero && is_idle {
            (target, rule) = (0, "ScaleToZero");
        } else if !self.spec.enable_scale_to_zero {
            target = target.max(1);
        }
        let before = self.desired.replace(target);
        if before == Some(target) {
            return None;
        }
        let from = before.map_or("nothing".to_owned(), |before| before.to_string());
        let why = Reason::new(rule, format!("{METRIC} {from} to {target}: {detail}"));
        Some(Decision { replicas: view.spec_replicas, spare: 0, path: Path::Direct, why })
    }
}

impl Autoscaler for Wva {
    fn loops(&self) -> Vec<Loop> {
        vec![
            Loop { name: "wva", period: self.spec.interval, phase: self.spec.phase },
            self.hpa.control_loop(),
        ]
    }

    fn decide(&mut self, which: usize, view: &View<'_>) -> Option<Decision> {
        self.asleep = view.spec_replicas == 0;
        if which == OPTIMISE {
            return self.optimise(view);
        }
        let value = self.desired.map(|desired| i64::from(desired) * 1000);
        let answer = value.ok_or_else(|| "nothing was emitted yet".to_owned());
        let decision = self.hpa.turn(view, vec![(METRIC.to_owned(), answer)], "");
        self.asleep = decision.replicas == 0;
        Some(decision)
    }

    fn initial(&self) -> (u32, u32) {
        (self.spec.hpa.min_replicas.max(1), 0)
    }

    fn maximum(&self) -> Option<u32> {
        Some(self.spec.hpa.max_replicas)
    }

    fn queries(&self) -> Vec<&Query> {
        let Some(own) = &self.queries else { return Vec::new() };
        let lengths = own.lengths.iter().flat_map(|(input, output)| [input, output]);
        [&own.kv, &own.queue].into_iter().chain(lengths).collect()
    }

    fn workload(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn timer(&self) -> Option<SimTime> {
        self.poll
    }

    fn timed(&mut self, view: &View<'_>) -> Option<(&'static str, Decision)> {
        self.poll = None;
        self.asleep = view.spec_replicas == 0;
        if !self.asleep || view.gateway.held == 0 {
            return None;
        }
        self.asleep = false;
        self.desired = Some(1);
        let why =
            Reason::new("ScaleFromZero", format!("{} requests wait before no replica", view.gateway.held));
        Some(("from-zero", Decision { replicas: 1, spare: 0, path: Path::Direct, why }))
    }

    /// The queue before a model without replicas is looked at every 100 ms.
    fn request_held(&mut self, now: SimTime) {
        if self.asleep && self.spec.enable_scale_to_zero && self.poll.is_none() {
            let polls = now.as_nanos() / POLL.as_nanos() + 1;
            self.poll = Some(SimTime::ZERO + POLL * polls);
        }
    }
}

#[cfg(test)]
#[path = "autoscaler_tests.rs"]
mod tests;
