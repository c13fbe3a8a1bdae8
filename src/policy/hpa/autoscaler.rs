//! The HPA as a policy: one reconcile a turn, its reason as data.

use super::detail::{conditions, detail};
use super::metric::Metric;
use super::reconcile::{ControllerConfig, Memory, Spec, reconcile};
use super::spec::{HpaSpec, MetricSpec};
use super::status::Status;
use super::view_cluster::ViewCluster;
use crate::kernel::SimDuration;
use crate::policy::Setting;
use crate::policy::adapter::{self, Api, Served};
use crate::policy::api::{Autoscaler, Decision, Loop, Path, Reason, View};
use crate::promql::Query;

/// Container name where no metric names one.
pub(in crate::policy) const CONTAINER: &str = "server";

/// A running HPA.
#[derive(Clone, Debug)]
pub struct Hpa {
    spec: Spec,
    config: ControllerConfig,
    memory: Memory,
    status: Status,
    period: SimDuration,
    phase: Option<SimDuration>,
    container: String,
    /// What answers for the metrics that the adapter serves: (position in the spec, API, query).
    served: Vec<(usize, Api, Served)>,
    workload: Option<String>,
}

impl Hpa {
    /// From its spec, which nothing is wrong with in this setting.
    pub fn new(spec: &HpaSpec, setting: &Setting) -> Self {
        let resolved = spec.resolve();
        let container = resolved.metrics.iter().find_map(Metric::container).map(str::to_owned);
        let serve = |(index, metric): (usize, &MetricSpec)| {
            let (api, asked, path) = metric.asks()?;
            let served = adapter::serve(setting, api, &asked.name, &asked.conditions(), path).ok()?;
            Some((index, api, served))
        };
        Self {
            served: spec.metrics.iter().enumerate().filter_map(serve).collect(),
            workload: spec.scale_target_ref.as_ref().map(|target| target.name.clone()),
            spec: resolved,
            config: spec.controller.resolve(),
            memory: Memory::default(),
            status: Status::default(),
            period: spec.controller.period(),
            phase: spec.controller.first_reconcile(),
            container: container.unwrap_or_else(|| CONTAINER.to_owned()),
        }
    }

    /// Its status after the last reconcile.
    pub fn status(&self) -> &Status {
        &self.status
    }
}

impl Autoscaler for Hpa {
    fn loops(&self) -> Vec<Loop> {
        vec![Loop { name: "hpa", period: self.period, phase: self.phase }]
    }

    /// One reconcile. It always answers, if only with the count there is, so that a log shows
    /// why nothing changed.
    fn decide(&mut self, _which: usize, view: &View<'_>) -> Option<Decision> {
        let answers = self.served.iter().map(|(index, api, served)| {
            let metric = &self.spec.metrics[*index];
            (metric, served.answer(*api, metric.name(), view))
        });
        let mut cluster = ViewCluster::new(view, &self.container, answers.collect());
        let now = i64::try_from(view.now.as_nanos()).unwrap_or(i64::MAX);
        let done = reconcile(&self.spec, &self.config, &mut self.memory, &mut self.status, &mut cluster, now);
        let why = Reason {
            rule: done.rule.as_str(),
            detail: detail(&self.spec, self.config.version, &done, view.status_replicas),
            conditions: conditions(&self.status, &done.events),
        };
        let replicas = u32::try_from(done.replicas).unwrap_or(0);
        Some(Decision { replicas, spare: 0, path: Path::Direct, why })
    }

    fn queries(&self) -> Vec<&Query> {
        self.served.iter().map(|(.., served)| &served.query).collect()
    }

    fn reads_usage(&self) -> bool {
        self.spec.metrics.iter().any(|metric| metric.resource().is_some())
    }

    fn workload(&self) -> Option<&str> {
        self.workload.as_deref()
    }

    /// `minReplicas`, but one at least: a workload created at zero stays there for ever.
    fn initial(&self) -> (u32, u32) {
        let min = u32::try_from(self.spec.min_replicas.unwrap_or(1)).unwrap_or(0);
        (min.max(1), 0)
    }

    fn maximum(&self) -> Option<u32> {
        Some(u32::try_from(self.spec.max_replicas).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::{World, usage};

    const SERIES: &str = "vllm:num_requests_waiting";

    fn hpa(json: &str) -> Hpa {
        let (spec, setting): (HpaSpec, _) = (serde_json::from_str(json).expect("a spec"), Setting::default());
        assert_eq!(crate::policy::hpa::validate::validate(&spec, &setting), vec![]);
        Hpa::new(&spec, &setting)
    }

    /// (replicas, rule, detail) of a turn, which always answers.
    fn turn(hpa: &mut Hpa, world: &World) -> (u32, &'static str, String) {
        let decision = hpa.decide(0, &world.view()).expect("it always answers");
        (decision.replicas, decision.why.rule, decision.why.detail)
    }

    const WAITING: &str = r#"{"type": "Pods", "pods": {"metric": {"name": "vllm:num_requests_waiting"},
        "target": {"type": "AverageValue", "averageValue": "5"}}}"#;

    fn waiting_hpa(more: &str) -> Hpa {
        hpa(&format!(r#"{{"minReplicas": 2, "maxReplicas": 10, "metrics": [{WAITING}]{more}}}"#))
    }

    #[test]
    fn behavior_takes_two_to_six_and_its_absence_to_four() {
        let check = |more: &str, expected: u32, rule: &str| {
            let world = World::ready(5, 2).with_sample(0, SERIES, 0, 40.0).with_sample(1, SERIES, 0, 40.5);
            let detail = "vllm:num_requests_waiting 40.25 against 5 a replica: 17 replicas".to_owned();
            assert_eq!(turn(&mut waiting_hpa(more), &world), (expected, rule, detail), "{more}");
        };
        check("", 4, "ScaleUpLimit");
        check(r#", "behavior": {}"#, 6, "ScaleUpLimit");
    }

    #[test]
    fn a_pending_pod_damps_and_a_missing_metric_changes_nothing() {
        let mut hpa = waiting_hpa("");
        let mut world = World::ready(60, 3).with_sample(0, SERIES, 60, 9.0).with_sample(1, SERIES, 60, 9.0);
        world.pods[2].running = false;
        world.pods[2].ready = false;
        // 18 waiting over three pods is 6 each, ratio 1.2: four, not the ceil(1.8 * 2) of two pods.
        assert_eq!(turn(&mut hpa, &world).0, 4);
        let (replicas, rule, detail) = turn(&mut hpa, &World::ready(75, 2));
        assert_eq!((replicas, rule), (2, "FailedGetPodsMetric"));
        assert!(detail.contains("no metrics returned"), "{detail}");
    }

    #[test]
    fn scale_down_waits_for_the_window_to_pass() {
        let mut hpa = waiting_hpa("");
        let mut at = |now_s, waiting| {
            let world = World::ready(now_s, 4);
            let world = (0..4).fold(world, |world, pod| world.with_sample(pod, SERIES, now_s, waiting));
            let (replicas, rule, _) = turn(&mut hpa, &world);
            (replicas, rule)
        };
        assert_eq!(at(0, 5.0), (4, "DesiredWithinRange"));
        assert_eq!(at(300, 0.0), (4, "ScaleDownStabilized"));
        assert_eq!(at(301, 0.0), (2, "TooFewReplicas"));
    }

    #[test]
    fn resources_are_measured_against_requests_and_values() {
        let check = |metric: &str, replicas: u32, detail: &str| {
            let mut hpa = hpa(&format!(
                r#"{{"maxReplicas": 10, "metrics": [{{"type": "Resource", "resource": {metric}}}]}}"#
            ));
            let mut world = World::ready(605, 2);
            for pod in &mut world.pods {
                pod.usage = Some(usage(600, 3_000, 48 << 30));
            }
            let (found, _, text) = turn(&mut hpa, &world);
            assert_eq!((found, text.as_str()), (replicas, detail), "{metric}");
        };
        let utilization = |name: &str| {
            format!(r#"{{"name": "{name}", "target": {{"type": "Utilization", "averageUtilization": 50}}}}"#)
        };
        check(&utilization("cpu"), 3, "cpu 75% against 50%: 3 replicas");
        check(&utilization("memory"), 3, "memory 75% against 50%: 3 replicas");
        let value = r#"{"name": "memory", "target": {"type": "AverageValue", "averageValue": "16Gi"}}"#;
        // Six are proposed; without a behavior two become four at most.
        check(value, 4, "memory 48Gi against 16Gi a replica: 6 replicas");
    }

    #[test]
    fn external_series_are_the_gateways_or_one_value_a_replica() {
        let check = |name: &str, expected: u32| {
            let mut hpa = hpa(&format!(
                r#"{{"maxReplicas": 50, "metrics": [{{"type": "External", "external":
                    {{"metric": {{"name": "{name}"}}, "target": {{"type": "AverageValue", "averageValue": "10"}}}}}}],
                    "behavior": {{"scaleUp": {{"policies": [{{"type": "Pods", "value": 50, "periodSeconds": 15}}]}}}}}}"#
            ));
            let world = World::ready(5, 2)
                .with_gateway("gateway_queue_length", 31.0)
                .with_gateway("gateway_requests_in_flight", 95.0)
                .with_sample(0, SERIES, 5, 12.0)
                .with_sample(1, SERIES, 5, 40.0);
            assert_eq!(turn(&mut hpa, &world).0, expected, "{name}");
        };
        check("gateway_queue_length", 4);
        check("gateway_requests_in_flight", 10);
        check(SERIES, 6);
    }

    #[test]
    fn selectors_choose_series() {
        let mut hpa = hpa(r#"{"maxReplicas": 50, "metrics": [{"type": "External", "external": {"metric":
                {"name": "vllm:num_requests_waiting", "selector": {"matchExpressions":
                [{"key": "pod", "operator": "In", "values": ["vllm-1", "other"]}]}},
                "target": {"type": "AverageValue", "averageValue": "10"}}}]}"#);
        let world = World::ready(5, 4).with_sample(0, SERIES, 5, 900.0).with_sample(1, SERIES, 5, 60.0);
        assert_eq!(turn(&mut hpa, &world).0, 6);
    }

    #[test]
    fn zero_is_left_only_if_this_autoscaler_went_there() {
        let mut hpa =
            hpa(r#"{"minReplicas": 0, "maxReplicas": 5, "metrics": [{"type": "External", "external":
                {"metric": {"name": "gateway_queue_length"}, "target": {"type": "Value", "value": "2"}}}],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}"#);
        assert_eq!(hpa.initial(), (1, 0));
        let mut at = |now_s, replicas, queue| {
            let world = World::ready(now_s, replicas).with_gateway("gateway_queue_length", queue);
            let (replicas, rule, _) = turn(&mut hpa, &world);
            (replicas, rule)
        };
        assert_eq!(at(10, 0, 6.0), (0, "ScalingDisabled"));
        assert_eq!(at(25, 1, 0.0), (0, "DesiredWithinRange"));
        assert_eq!(at(40, 0, 6.0), (3, "DesiredWithinRange"));
    }

    #[test]
    fn the_loop_is_a_little_longer_than_the_sync_period() {
        let hpa = waiting_hpa(r#", "controller": {"phase": "5s"}"#);
        let expected = SimDuration::from_millis(15_010);
        let phase = Some(SimDuration::from_secs(5));
        assert_eq!(hpa.loops(), vec![Loop { name: "hpa", period: expected, phase }]);
        assert_eq!((hpa.initial(), hpa.maximum()), ((2, 0), Some(10)));
    }
}
