//! A PodAutoscaler as a policy: one reconcile every 10 s.

use super::cooldown::Cooldown;
use super::rule::{KpaInputs, apa, kpa, panics};
use super::spec::{AibrixSpec, ScalingStrategy, Tuning};
use super::window::Window;
use crate::kernel::SimDuration;
use crate::policy::api::{Autoscaler, Decision, Loop, Path, Reason, View};
use crate::policy::{Setting, scraped};
use crate::promql::Query;

/// From one reconcile to the next.
const PERIOD: SimDuration = SimDuration::from_secs(10);

/// A running PodAutoscaler.
#[derive(Clone, Debug)]
pub struct Aibrix {
    workload: Option<String>,
    strategy: ScalingStrategy,
    min: u32,
    max: u32,
    tuning: Tuning,
    sources: Vec<Source>,
    cooldown: Cooldown,
    phase: Option<SimDuration>,
}

/// A metric and its windows.
#[derive(Clone, Debug)]
struct Source {
    query: Query,
    target: f64,
    stable: Window,
    panic: Window,
}

impl Source {
    /// Reads it, and takes the mean over the pods into its windows: the means over these. `None` where no pod answers.
    fn observe(&mut self, view: &View<'_>) -> Option<(f64, f64)> {
        let answer = view.prometheus.answer(&self.query).ok()?;
        let values = scraped::by_pod(view, &answer);
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().map(|(_, value)| value).sum::<f64>() / values.len() as f64;
        self.stable.record(view.now, mean);
        self.panic.record(view.now, mean);
        Some((self.stable.mean()?, self.panic.mean()?))
    }
}

impl Aibrix {
    /// From a spec that nothing is wrong with in this setting.
    pub fn new(spec: &AibrixSpec, setting: &Setting) -> Self {
        let tuning = spec.tuning().unwrap_or_default();
        let source = |own: &super::spec::MetricSource| {
            Some(Source {
                query: own.query(setting).ok()?,
                target: own.target_value.as_f64(),
                stable: Window::new(u64::from(spec.observe_window_seconds)),
                panic: Window::new(u64::from(spec.panic_window_seconds)),
            })
        };
        Self {
            workload: spec.scale_target_ref.as_ref().map(|target| target.name.clone()),
            strategy: spec.scaling_strategy,
            min: spec.min_replicas,
            max: spec.max_replicas,
            sources: spec.metrics_sources.iter().filter_map(source).collect(),
            cooldown: Cooldown::new(tuning.up_cooldown, tuning.down_cooldown),
            tuning,
            phase: spec.phase,
        }
    }

    /// The highest recommendation of all metrics that answer, and what it is of.
    fn recommend(&mut self, view: &View<'_>) -> Option<(u32, String)> {
        let current = view.spec_replicas;
        let (limits, threshold) = (self.tuning.limits, self.tuning.panic_threshold);
        let mut best: Option<(u32, String)> = None;
        for source in &mut self.sources {
            let Some((stable, panic)) = source.observe(view) else { continue };
            let (name, target) = (source.query.text(), source.target);
            let (pods, detail) = match self.strategy {
                ScalingStrategy::Apa => (
                    apa(current, stable, target, &limits),
                    format!("{name} {stable:.3} a pod against {target}"),
                ),
                ScalingStrategy::Kpa => {
                    let in_panic = panics(stable, panic, threshold);
                    let inputs = KpaInputs {
                        current,
                        stable,
                        panic,
                        target,
                        activation_scale: 1,
                        in_panic,
                        max_panic_pods: 0,
                    };
                    let mode = if in_panic { "panic" } else { "stable" };
                    let detail = format!(
                        "{name} {stable:.3} a pod ({panic:.3} in panic window) against {target}, {mode}"
                    );
                    (kpa(&inputs, &limits), detail)
                }
            };
            let pods = pods.clamp(self.min, self.max);
            if best.as_ref().is_none_or(|(most, _)| pods > *most) {
                best = Some((pods, detail));
            }
        }
        best
    }
}

impl Autoscaler for Aibrix {
    fn loops(&self) -> Vec<Loop> {
        vec![Loop { name: "aibrix", period: PERIOD, phase: self.phase }]
    }

    fn decide(&mut self, _which: usize, view: &View<'_>) -> Option<Decision> {
        let current = view.spec_replicas;
        // Upstream takes 0 replicas, where it may not go itself, for switched off.
        if current == 0 {
            return None;
        }
        let (replicas, rule, detail) = match self.recommend(view) {
            Some((recommended, detail)) => {
                let settled = self.cooldown.apply(view.now, recommended, current);
                let replicas = settled.clamp(self.min, self.max);
                let rule = if replicas > current { "AboveTarget" } else { "BelowTarget" };
                let detail = if settled == recommended {
                    format!("{detail}: {recommended} replicas")
                } else {
                    format!("{detail}: {recommended} replicas, {settled} in the cooldown window")
                };
                (replicas, rule, detail)
            }
            None => (current.clamp(self.min, self.max), "OutOfBounds", "no metric answers".to_owned()),
        };
        let why = Reason::new(rule, detail);
        (replicas != current).then_some(Decision { replicas, spare: 0, path: Path::Direct, why })
    }

    fn initial(&self) -> (u32, u32) {
        (self.min, 0)
    }

    fn maximum(&self) -> Option<u32> {
        Some(self.max)
    }

    fn queries(&self) -> Vec<&Query> {
        self.sources.iter().map(|source| &source.query).collect()
    }

    fn workload(&self) -> Option<&str> {
        self.workload.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::World;

    const SERIES: &str = "vllm:kv_cache_usage_perc";

    fn aibrix(strategy: &str, more: &str) -> Aibrix {
        let json = format!(
            r#"{{"scalingStrategy": "{strategy}", "maxReplicas": 10, "metricsSources":
                [{{"targetMetric": "kv_cache_usage_perc", "targetValue": "0.5"}}]{more}}}"#
        );
        let spec: AibrixSpec = serde_json::from_str(&json).expect(&json);
        assert_eq!(spec.check(&Setting::default()), vec![], "{json}");
        Aibrix::new(&spec, &Setting::default())
    }

    fn world(now_s: u64, usages: &[f64]) -> World {
        let world = World::ready(now_s, usages.len() as u32);
        (0..).zip(usages).fold(world, |world, (pod, usage)| world.with_sample(pod, SERIES, now_s, *usage))
    }

    fn turn(policy: &mut Aibrix, world: &World) -> Option<(u32, &'static str, String)> {
        policy.decide(0, &world.view()).map(|d| (d.replicas, d.why.rule, d.why.detail))
    }

    #[test]
    fn apa_follows_the_mean_over_pods_and_time() {
        let mut policy = aibrix("APA", "");
        let detail = "vllm:kv_cache_usage_perc 0.700 a pod against 0.5: 3 replicas".to_owned();
        assert_eq!(turn(&mut policy, &world(10, &[0.6, 0.8])), Some((3, "AboveTarget", detail)));
        // The mean of 0.7 and 0.4 is within the tolerance of 0.5.
        assert_eq!(turn(&mut policy, &world(20, &[0.4, 0.4])), None);
        assert_eq!(turn(&mut policy, &World::ready(30, 2)), None);
    }

    #[test]
    fn a_cooldown_down_repeats_the_lowest_of_five_minutes() {
        let mut policy = aibrix("APA", r#", "observeWindowSeconds": 1, "panicWindowSeconds": 1"#);
        assert_eq!(turn(&mut policy, &world(10, &[0.1; 8])).map(|d| d.0), Some(4));
        let (replicas, _, detail) = turn(&mut policy, &world(20, &[0.4; 8])).expect("it goes down");
        assert_eq!(replicas, 4);
        assert!(detail.ends_with(": 7 replicas, 4 in the cooldown window"), "{detail}");
    }

    #[test]
    fn kpa_panics_without_memory() {
        let mut policy = aibrix("KPA", r#", "observeWindowSeconds": 100, "panicWindowSeconds": 10"#);
        for now_s in (10..100).step_by(10) {
            assert_eq!(turn(&mut policy, &world(now_s, &[0.5; 2])), None, "{now_s}");
        }
        // Nine means of 0.5 and one of 9: the stable mean is 1.35, the panic mean more than twice that.
        let (replicas, _, detail) = turn(&mut policy, &world(100, &[9.0; 2])).expect("it panics");
        assert_eq!(replicas, 4);
        assert!(detail.contains("1.350 a pod (9.000 in panic window) against 0.5, panic"), "{detail}");
        // The panic is forgotten, half of the eight are recommended, and of the cooldown window the lowest, 2.
        let (replicas, _, detail) = turn(&mut policy, &world(110, &[0.5; 8])).expect("it goes down");
        assert_eq!(replicas, 2);
        assert!(detail.ends_with("against 0.5, stable: 4 replicas, 2 in the cooldown window"), "{detail}");
    }

    #[test]
    fn without_metrics_bounds_hold_and_zero_is_left_alone() {
        let mut policy = aibrix("APA", r#", "minReplicas": 2"#);
        let out = |replicas| Some((replicas, "OutOfBounds", "no metric answers".to_owned()));
        assert_eq!(turn(&mut policy, &World::ready(10, 1)), out(2));
        assert_eq!(turn(&mut policy, &World::ready(10, 12)), out(10));
        assert_eq!(turn(&mut policy, &World::ready(10, 5)), None);
        assert_eq!(turn(&mut policy, &World::ready(10, 0)), None);
        assert_eq!((policy.initial(), policy.maximum()), ((2, 0), Some(10)));
    }
}
