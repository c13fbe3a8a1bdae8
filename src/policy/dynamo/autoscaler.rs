//! The planner as a policy: a look at the workers every few seconds, a forecast every few minutes.
//!
//! Upstream's workers send what each step did; here that is made of what their exporter says at each scrape: the KV cache in
//! use, the requests that wait, and, over the last minute, the time between tokens and the prompts. The steps that come of it
//! are taken for busy ones all the time.

use super::load::{Bounds, by_sla, easy};
use super::predictor::Predictor;
use super::regression::{Regression, Worker};
use super::spec::{DynamoSpec, OptimizationTarget};
use super::throughput::{Best, Capabilities, best_rps, samples, workers};
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::policy::api::{Autoscaler, Decision, Loop, Path, Reason, View};
use crate::policy::{Fault, Setting, scraped};
use crate::promql::{Answer, Query};

/// The loop of looks; it is the first, and that of forecasts the second.
const LOAD: usize = 0;
/// How long a mean over the last minute stands before it is asked for anew. Servers are seldom scraped more often.
const REFRESH: SimDuration = SimDuration::from_secs(15);

/// What the planner reads.
#[derive(Clone, Debug)]
pub(super) struct Queries {
    kv: Query,
    waiting: Query,
    running: Query,
    /// Mean prompt of each worker, tokens.
    prompt: Query,
    /// Prompt tokens of each worker, 1/s.
    prefill: Query,
    /// Mean time between tokens of each worker, s.
    step: Query,
    /// Mean prompt and output over the last interval, tokens.
    isl: Query,
    osl: Query,
}

impl Queries {
    /// # Errors
    /// What nobody publishes.
    pub(super) fn new(spec: &DynamoSpec, setting: &Setting) -> Result<Self, Vec<Fault>> {
        let interval = spec.throughput_adjustment_interval.max(1);
        let mean = |of: &str| {
            format!("sum(increase({of}_sum[{interval}s])) / sum(increase({of}_count[{interval}s]))")
        };
        let of_pod =
            |of: &str| format!("sum by (pod) (rate({of}_sum[1m])) / sum by (pod) (rate({of}_count[1m]))");
        let texts = [
            // By pod, so that an answer carries no other label: looks are frequent.
            "sum by (pod) (vllm:kv_cache_usage_perc)".to_owned(),
            "sum by (pod) (vllm:num_requests_waiting)".to_owned(),
            "sum by (pod) (vllm:num_requests_running)".to_owned(),
            of_pod("vllm:request_prompt_tokens"),
            "sum by (pod) (rate(vllm:prompt_tokens_total[1m]))".to_owned(),
            of_pod("vllm:inter_token_latency_seconds"),
            mean("vllm:request_prompt_tokens"),
            mean("vllm:request_generation_tokens"),
        ];
        let mut faults = Vec::new();
        let queries = texts.map(|text| {
            setting.query(&text, "optimization_target").map_err(|found| faults.extend(found)).ok()
        });
        match queries {
            [
                Some(kv),
                Some(waiting),
                Some(running),
                Some(prompt),
                Some(prefill),
                Some(step),
                Some(isl),
                Some(osl),
            ] => Ok(Self { kv, waiting, running, prompt, prefill, step, isl, osl }),
            _ => Err(faults),
        }
    }
}

/// A running planner.
#[derive(Debug)]
pub struct Dynamo {
    name: String,
    spec: DynamoSpec,
    queries: Option<Queries>,
    engine: Option<Capabilities>,
    gpus: u32,
    model: Regression,
    means: Means,
    /// Requests, prompts and outputs of the next interval.
    predictors: [Predictor; 3],
    /// Requests that had arrived at the last forecast, and when that was.
    arrived: (u64, SimTime),
    /// The least that the last forecast asked for.
    lower_bound: u32,
}

/// Means over the last minute, by worker.
#[derive(Clone, Debug, Default)]
struct Means {
    at: Option<SimTime>,
    prompt: Vec<(ReplicaId, f64)>,
    prefill: Vec<(ReplicaId, f64)>,
    step: Vec<(ReplicaId, f64)>,
}

fn read(view: &View<'_>, query: &Query) -> Vec<(ReplicaId, f64)> {
    view.prometheus.answer(query).map(|answer| scraped::by_pod(view, &answer)).unwrap_or_default()
}

/// The one number of an answer; NaN where there is none.
fn number(view: &View<'_>, query: &Query) -> f64 {
    match view.prometheus.answer(query) {
        Ok(Answer::Scalar(value)) => value,
        Ok(Answer::Vector(samples)) => samples.first().map_or(f64::NAN, |sample| sample.value),
        Err(_) => f64::NAN,
    }
}

impl Dynamo {
    /// From a spec that nothing is wrong with in this setting.
    pub fn new(spec: &DynamoSpec, setting: &Setting) -> Self {
        let buckets = spec.fpm_sample_bucket_size.isqrt() as usize;
        let mut model =
            Regression::new(spec.max_num_fpm_samples as usize, spec.load_min_observations as usize, buckets);
        if let Some(engine) = setting.engine.as_ref().filter(|_| spec.uses_throughput()) {
            model.bootstrap(samples(engine));
        }
        Self {
            name: spec.name.clone().unwrap_or_else(|| "decode".to_owned()),
            queries: Queries::new(spec, setting).ok(),
            engine: setting.engine.as_ref().map(Capabilities::of),
            gpus: spec.gpus(setting),
            model,
            means: Means::default(),
            predictors: [spec.predictor(), spec.predictor(), spec.predictor()],
            arrived: (0, SimTime::ZERO),
            lower_bound: 1,
            spec: spec.clone(),
        }
    }

    fn is_sla(&self) -> bool {
        self.spec.optimization_target == OptimizationTarget::Sla
    }

    /// Most workers within the budget.
    fn most(&self) -> u32 {
        let budget = u32::try_from(self.spec.max_gpu_budget).unwrap_or(u32::MAX);
        if self.spec.max_gpu_budget < 0 { u32::MAX } else { (budget / self.gpus).max(self.spec.min_endpoint) }
    }

    fn within_budget(&self, workers: u32) -> u32 {
        workers.max(self.spec.min_endpoint).min(self.most())
    }

    /// What the workers do, in the order of the answer; their means over the last minute are asked for if that is due.
    fn look(&mut self, view: &View<'_>, is_due: bool) -> Vec<Worker> {
        let (Some(queries), Some(engine)) = (&self.queries, self.engine) else { return Vec::new() };
        if is_due {
            self.means.at = Some(view.now);
            self.means.prompt = read(view, &queries.prompt);
            if self.is_sla() {
                self.means.prefill = read(view, &queries.prefill);
                self.means.step = read(view, &queries.step);
            }
        }
        let waiting = read(view, &queries.waiting);
        // Only what is observed asks how many decode.
        let running = if is_due && self.is_sla() { read(view, &queries.running) } else { Vec::new() };
        let of = |values: &[(ReplicaId, f64)], pod| scraped::of(values, pod).unwrap_or(0.0);
        let worker = |(pod, usage): (ReplicaId, f64)| {
            let (mean_prompt, step_s) = (of(&self.means.prompt, pod), of(&self.means.step, pod));
            Worker {
                prefill_tokens: of(&self.means.prefill, pod) * step_s,
                decode_kv: usage * engine.max_kv_tokens as f64,
                decoding: of(&running, pod),
                queued_prefill: of(&waiting, pod) * mean_prompt,
                queued_kv: 0.0,
                mean_prompt,
                step_s,
            }
        };
        read(view, &queries.kv).into_iter().map(worker).collect()
    }

    /// One look, and a step of one worker if it calls for one.
    fn load(&mut self, view: &View<'_>) -> Option<Decision> {
        let ready = view.ready();
        let is_due = self.means.at.is_none_or(|at| view.now >= at + REFRESH);
        // While workers start or stop it only observes.
        let decides = self.spec.uses_load() && ready == view.spec_replicas;
        if !decides && !is_due {
            return None;
        }
        let seen = self.look(view, is_due);
        if self.is_sla() && is_due {
            self.model.observe(&seen);
        }
        // So it does while some say nothing.
        if !decides || seen.len() as u32 != ready {
            return None;
        }
        let engine = self.engine?;
        let (wished, figures) = if self.is_sla() {
            if !self.model.has_sufficient_data() {
                return None;
            }
            let bounds = Bounds {
                sla: self.spec.sla(),
                engine,
                sensitivity: f64::from(self.spec.load_scaling_down_sensitivity) / 100.0,
                min_endpoint: self.spec.min_endpoint,
            };
            let asked = by_sla(&seen, &self.model, &bounds)?;
            let figures = format!(
                "TTFT up to {:.0} ms against {}, ITL up to {:.1} ms against {}",
                asked.ttft_ms, self.spec.ttft, asked.itl_ms, self.spec.itl
            );
            (asked.workers, figures)
        } else {
            let is_latency = self.spec.optimization_target == OptimizationTarget::Latency;
            let wished = easy(&seen, engine.max_kv_tokens, is_latency, self.spec.min_endpoint)?;
            let usage = |own: &Worker| (own.decode_kv + own.queued_prefill) / engine.max_kv_tokens as f64;
            let usages = seen.iter().map(usage);
            let (low, high) =
                usages.fold((f64::INFINITY, 0.0_f64), |(low, high), u| (low.min(u), high.max(u)));
            (wished, format!("KV caches {:.1}% to {:.1}% full with what waits", low * 100.0, high * 100.0))
        };
        let floor = if self.spec.uses_throughput() { self.lower_bound } else { 0 };
        let replicas = self.within_budget(wished.max(floor));
        let rule = match replicas.cmp(&ready) {
            std::cmp::Ordering::Equal => return None,
            std::cmp::Ordering::Greater => "scale_up",
            std::cmp::Ordering::Less if replicas > wished => "scale_down_capped_by_throughput",
            std::cmp::Ordering::Less => "scale_down",
        };
        let why = Reason::new(rule, format!("{figures}: {wished} workers"));
        Some(Decision { replicas, spare: 0, path: Path::Direct, why })
    }

    /// Observes the traffic of the last interval, and forecasts the next one's: (requests/s, prompt, output).
    fn forecast(&mut self, view: &View<'_>) -> Option<[f64; 3]> {
        let queries = self.queries.as_ref()?;
        let (before, at) = std::mem::replace(&mut self.arrived, (view.gateway.arrived, view.now));
        let seconds = view.now.since(at).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let requests = view.gateway.arrived.saturating_sub(before) as f64;
        // The first interval may be a short one.
        let interval = f64::from(self.spec.throughput_adjustment_interval);
        let observed =
            [requests / seconds * interval, number(view, &queries.isl), number(view, &queries.osl)];
        let mut next = [0.0; 3];
        for ((predictor, value), next) in self.predictors.iter_mut().zip(observed).zip(&mut next) {
            predictor.add(value);
            *next = predictor.predict();
        }
        Some([next[0] / interval, next[1], next[2]])
    }

    fn throughput(&mut self, view: &View<'_>) -> Option<Decision> {
        let [demand, isl, osl] = self.forecast(view)?;
        let best: Best = best_rps(&self.model, isl, osl, &self.engine?, self.spec.sla())?;
        let wished = workers(demand, best, self.spec.min_endpoint);
        let detail = format!(
            "{demand:.3} requests/s of {isl:.0}+{osl:.0} tokens forecast, {:.3} a worker at TTFT {:.0} ms, ITL {:.1} ms: {wished} workers",
            best.per_s, best.ttft_ms, best.itl_ms
        );
        if self.spec.enable_load_scaling {
            if wished == self.lower_bound {
                return None;
            }
            self.lower_bound = wished;
            let why = Reason::new("set_lower_bound", detail);
            return Some(Decision { replicas: view.spec_replicas, spare: 0, path: Path::Direct, why });
        }
        let replicas = self.within_budget(wished);
        let why = Reason::new("scale", detail);
        (replicas != view.spec_replicas).then_some(Decision { replicas, spare: 0, path: Path::Direct, why })
    }
}

impl Autoscaler for Dynamo {
    fn loops(&self) -> Vec<Loop> {
        let phase = |period: SimDuration| {
            self.spec.phase.map(|phase| SimDuration::from_nanos(phase.as_nanos() % period.as_nanos().max(1)))
        };
        let of = |name, seconds: u32| {
            let period = SimDuration::from_secs(u64::from(seconds));
            Loop { name, period, phase: phase(period) }
        };
        let mut loops = vec![of("load", self.spec.load_adjustment_interval)];
        if self.spec.uses_throughput() {
            loops.push(of("throughput", self.spec.throughput_adjustment_interval));
        }
        loops
    }

    fn decide(&mut self, which: usize, view: &View<'_>) -> Option<Decision> {
        if which == LOAD { self.load(view) } else { self.throughput(view) }
    }

    fn initial(&self) -> (u32, u32) {
        (self.spec.min_endpoint, 0)
    }

    fn maximum(&self) -> Option<u32> {
        Some(self.most())
    }

    fn queries(&self) -> Vec<&Query> {
        let Some(own) = &self.queries else { return Vec::new() };
        let mut all = vec![&own.kv, &own.waiting, &own.prompt];
        if self.is_sla() {
            all.extend([&own.running, &own.prefill, &own.step]);
        }
        if self.spec.uses_throughput() {
            all.extend([&own.isl, &own.osl]);
        }
        all
    }

    fn workload(&self) -> Option<&str> {
        Some(&self.name)
    }
}

#[cfg(test)]
#[path = "autoscaler_tests.rs"]
pub(super) mod tests;
