//! The HPA as a policy: one reconcile a turn, its reason as data.

use super::detail::{conditions, detail};
use super::metric::Metric;
use super::reconcile::{ControllerConfig, Memory, Spec, reconcile};
use super::spec::HpaSpec;
use super::status::Status;
use super::view_cluster::ViewCluster;
use crate::kernel::SimDuration;
use crate::policy::api::{Autoscaler, Decision, Loop, Reason, View};

/// Container name where no metric names one.
const CONTAINER: &str = "server";

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
}

impl Hpa {
    /// From its spec.
    pub fn new(spec: &HpaSpec) -> Self {
        let resolved = spec.resolve();
        let container = resolved.metrics.iter().find_map(|metric| match metric {
            Metric::ContainerResource { container, .. } => Some(container.clone()),
            _ => None,
        });
        Self {
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
        let mut cluster = ViewCluster::new(view, &self.container);
        let now = i64::try_from(view.now.as_nanos()).unwrap_or(i64::MAX);
        let done = reconcile(&self.spec, &self.config, &mut self.memory, &mut self.status, &mut cluster, now);
        let why = Reason {
            rule: done.rule.as_str(),
            detail: detail(&self.spec, self.config.version, &done, view.status_replicas),
            conditions: conditions(&self.status, &done.events),
        };
        Some(Decision { replicas: u32::try_from(done.replicas).unwrap_or(0), spare: 0, why })
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
    use crate::kernel::{ReplicaId, SimTime};
    use crate::policy::api::{GatewaySample, PodSample, PodView, Series};

    fn hpa(json: &str) -> Hpa {
        let spec: HpaSpec = serde_json::from_str(json).expect("a spec");
        assert_eq!(crate::policy::hpa::validate::validate(&spec), vec![]);
        Hpa::new(&spec)
    }

    fn sample(at_s: u64, waiting: f64, cpu_milli: Option<i64>) -> PodSample {
        let mut values = [0.0; Series::COUNT];
        values[Series::RequestsWaiting as usize] = waiting;
        let window = SimDuration::from_secs(15);
        PodSample { at: SimTime::from_secs(at_s), window, values, rates: values, cpu_milli, engine_up: true }
    }

    fn pod(id: u32, sample: Option<&PodSample>) -> PodView<'_> {
        PodView {
            id: ReplicaId(id),
            running: true,
            started: Some(SimTime::ZERO),
            ready: true,
            ready_changed: SimTime::ZERO,
            deleting: false,
            cpu_request_milli: Some(4_000),
            sample,
        }
    }

    fn view<'a>(
        now_s: u64,
        replicas: u32,
        pods: &'a [PodView<'a>],
        gateway: Option<&'a GatewaySample>,
    ) -> View<'a> {
        let now = SimTime::from_secs(now_s);
        View { now, spec_replicas: replicas, status_replicas: replicas, pods, gateway }
    }

    const WAITING: &str = r#"{"type": "Pods", "pods": {"metric": {"name": "vllm:num_requests_waiting"},
        "target": {"type": "AverageValue", "averageValue": "5"}}}"#;

    fn waiting_hpa(more: &str) -> Hpa {
        hpa(&format!(r#"{{"minReplicas": 2, "maxReplicas": 10, "metrics": [{WAITING}]{more}}}"#))
    }

    #[test]
    fn behavior_takes_two_to_six_and_its_absence_to_four() {
        let check = |more: &str, expected: u32, rule: &str| {
            let mut hpa = waiting_hpa(more);
            let samples = [sample(0, 40.0, None), sample(0, 40.5, None)];
            let pods = [pod(0, Some(&samples[0])), pod(1, Some(&samples[1]))];
            let decision = hpa.decide(0, &view(5, 2, &pods, None)).expect("it always answers");
            assert_eq!((decision.replicas, decision.why.rule), (expected, rule), "{more}");
            assert_eq!(
                decision.why.detail,
                "vllm:num_requests_waiting 40.25 against 5 a replica: 17 replicas"
            );
        };
        check("", 4, "ScaleUpLimit");
        check(r#", "behavior": {}"#, 6, "ScaleUpLimit");
    }

    #[test]
    fn a_pending_pod_damps_and_a_missing_metric_changes_nothing() {
        let mut hpa = waiting_hpa("");
        let one = sample(0, 9.0, None);
        let mut pods = [pod(0, Some(&one)), pod(1, Some(&one)), pod(2, None)];
        pods[2].running = false;
        pods[2].ready = false;
        // 18 waiting over three pods is 6 each, ratio 1.2: four, not the ceil(1.8 * 2) of two pods.
        let decision = hpa.decide(0, &view(60, 3, &pods, None)).expect("it always answers");
        assert_eq!(decision.replicas, 4);
        let pods = [pod(0, None), pod(1, None)];
        let decision = hpa.decide(0, &view(75, 2, &pods, None)).expect("it always answers");
        assert_eq!((decision.replicas, decision.why.rule), (2, "FailedGetPodsMetric"));
        assert!(decision.why.detail.contains("no metrics returned"), "{}", decision.why.detail);
    }

    #[test]
    fn scale_down_waits_for_the_window_to_pass() {
        let mut hpa = waiting_hpa("");
        let busy = sample(0, 5.0, None);
        let idle = sample(15, 0.0, None);
        let busy_pods: Vec<_> = (0..4).map(|id| pod(id, Some(&busy))).collect();
        let idle_pods: Vec<_> = (0..4).map(|id| pod(id, Some(&idle))).collect();
        let mut at = |now_s, pods: &[PodView<'_>]| {
            let decision = hpa.decide(0, &view(now_s, 4, pods, None)).expect("it always answers");
            (decision.replicas, decision.why.rule)
        };
        assert_eq!(at(0, &busy_pods), (4, "DesiredWithinRange"));
        assert_eq!(at(300, &idle_pods), (4, "ScaleDownStabilized"));
        assert_eq!(at(301, &idle_pods), (2, "TooFewReplicas"));
    }

    #[test]
    fn cpu_is_measured_against_the_request() {
        let mut hpa =
            hpa(r#"{"maxReplicas": 10, "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 50}}}]}"#);
        let used = sample(600, 0.0, Some(3_000));
        let pods = [pod(0, Some(&used)), pod(1, Some(&used))];
        let decision = hpa.decide(0, &view(605, 2, &pods, None)).expect("it always answers");
        assert_eq!(decision.replicas, 3);
        assert_eq!(decision.why.detail, "cpu 75% against 50%: 3 replicas");
    }

    #[test]
    fn external_series_are_the_gateways_or_one_value_a_replica() {
        let check = |name: &str, expected: u32| {
            let mut hpa = hpa(&format!(
                r#"{{"maxReplicas": 50, "metrics": [{{"type": "External", "external":
                    {{"metric": {{"name": "{name}"}}, "target": {{"type": "AverageValue", "averageValue": "10"}}}}}}],
                    "behavior": {{"scaleUp": {{"policies": [{{"type": "Pods", "value": 50, "periodSeconds": 15}}]}}}}}}"#
            ));
            let gateway = GatewaySample {
                at: SimTime::ZERO,
                queue_length: 31.0,
                in_flight: 95.0,
                requests_per_second: 2.5,
            };
            let samples = [sample(0, 12.0, None), sample(0, 40.0, None)];
            let pods = [pod(0, Some(&samples[0])), pod(1, Some(&samples[1]))];
            let decision = hpa.decide(0, &view(5, 2, &pods, Some(&gateway))).expect("it always answers");
            assert_eq!(decision.replicas, expected, "{name}");
        };
        check("gateway_queue_length", 4);
        check("gateway_requests_in_flight", 10);
        check("vllm:num_requests_waiting", 6);
    }

    #[test]
    fn zero_is_left_only_if_this_autoscaler_went_there() {
        let mut hpa =
            hpa(r#"{"minReplicas": 0, "maxReplicas": 5, "metrics": [{"type": "External", "external":
                {"metric": {"name": "gateway_queue_length"}, "target": {"type": "Value", "value": "2"}}}],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}"#);
        assert_eq!(hpa.initial(), (1, 0));
        let queue = |queue_length| GatewaySample {
            at: SimTime::ZERO,
            queue_length,
            in_flight: queue_length,
            requests_per_second: 0.0,
        };
        let (empty, full) = (queue(0.0), queue(6.0));
        let pods = [pod(0, None)];
        let mut at = |now_s, replicas, pods: &[PodView<'_>], gateway| {
            let decision = hpa.decide(0, &view(now_s, replicas, pods, Some(gateway))).expect("an answer");
            (decision.replicas, decision.why.rule)
        };
        assert_eq!(at(10, 0, &[], &full), (0, "ScalingDisabled"));
        assert_eq!(at(25, 1, &pods, &empty), (0, "DesiredWithinRange"));
        assert_eq!(at(40, 0, &[], &full), (3, "DesiredWithinRange"));
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
