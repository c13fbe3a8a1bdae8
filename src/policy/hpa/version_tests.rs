//! Whole reconciles of the same cluster by different releases: each difference, on both of its sides.

use std::collections::BTreeMap;

use super::HpaSpec;
use super::cluster::{Cluster, Scale, ScaleReadError, ScaleWriteError};
use super::conditions::{ConditionReason, ConditionType};
use super::detail::{conditions, detail};
use super::metric::Metric;
use super::reconcile::{Memory, Reconciled, reconcile};
use super::selector::Selector;
use super::status::Status;
use super::types::{
    Container, MetricError, Milli, Nanos, Pod, PodPhase, ReadyCondition, ReadyStatus, ResourceSample,
    Resources, Samples,
};
use super::version::KubernetesVersion::{self, V1_33, V1_34, V1_35, V1_36, V1_37};
use crate::kernel::SimDuration;

const SECOND: Nanos = 1_000_000_000;
/// Long after every pod started.
const NOW: Nanos = 1_000_000 * SECOND;

/// A cluster of ready pods of two containers, `server` and `proxy`, whose only answers are
/// one external series and the same usage of both in every pod.
struct Stub {
    replicas: i32,
    conflicts: u32,
    writes: u32,
    selector: &'static str,
    series: Milli,
    usage: Resources,
    pods: Vec<Pod>,
}

fn resources(cpu: i64, memory: i64) -> Resources {
    Resources::from([("cpu".to_owned(), cpu), ("memory".to_owned(), memory)])
}

impl Stub {
    fn new(replicas: i32) -> Self {
        let container =
            |name: &str| Container { name: name.to_owned(), requests: resources(1_000, 1_000_000_000) };
        let pod = |index: i32| Pod {
            name: format!("pod-{index}"),
            labels: BTreeMap::from([("app".to_owned(), "llm".to_owned())]),
            phase: PodPhase::Running,
            ready: Some(ReadyCondition { status: ReadyStatus::True, changed: 0 }),
            started: Some(0),
            deleting: false,
            containers: vec![container("server"), container("proxy")],
            init_containers: Vec::new(),
            pod_requests: None,
        };
        Self {
            replicas,
            conflicts: 0,
            writes: 0,
            selector: "app=llm",
            series: 0,
            usage: resources(0, 0),
            pods: (0..replicas).map(pod).collect(),
        }
    }
}

impl Cluster for Stub {
    fn scale(&self) -> Result<Scale, ScaleReadError> {
        let selector = self.selector.to_owned();
        Ok(Scale { spec_replicas: self.replicas, status_replicas: self.replicas, selector })
    }
    fn set_replicas(&mut self, replicas: i32) -> Result<(), ScaleWriteError> {
        self.writes += 1;
        if self.writes <= self.conflicts {
            return Err(ScaleWriteError::Conflict);
        }
        self.replicas = replicas;
        Ok(())
    }
    fn pods(&self) -> &[Pod] {
        &self.pods
    }
    fn rivals(&self) -> &[Selector] {
        &[]
    }
    fn resource_samples(&self, _: &str) -> Result<Vec<ResourceSample>, MetricError> {
        let sample = |pod: &Pod| ResourceSample {
            pod: pod.name.clone(),
            at: NOW,
            window: 15 * SECOND,
            containers: pod.containers.iter().map(|c| (c.name.clone(), self.usage.clone())).collect(),
        };
        Ok(self.pods.iter().map(sample).collect())
    }
    fn pods_samples(&self, _: &Metric) -> Result<Samples, MetricError> {
        Err(MetricError::new("no custom metrics"))
    }
    fn object_value(&self, _: &Metric) -> Result<Milli, MetricError> {
        Ok(self.series)
    }
    fn external_values(&self, _: &Metric) -> Result<Vec<Milli>, MetricError> {
        Ok(vec![self.series])
    }
}

/// An HPA under a release, and what it keeps between reconciles.
struct Case {
    spec: HpaSpec,
    memory: Memory,
    status: Status,
    now: Nanos,
}

impl Case {
    /// `fields` are YAML without the braces.
    fn new(version: KubernetesVersion, gates: &str, fields: &str) -> Self {
        let text = format!(
            "{{controller: {{kubernetesVersion: '{version}', featureGates: {{{gates}}}}}, maxReplicas: 10, {fields}}}"
        );
        let document = crate::yaml::Document::parse("hpa", &text).expect(&text);
        let spec = crate::yaml::read(&document).expect(&text);
        Self { spec, memory: Memory::default(), status: Status::default(), now: NOW }
    }

    fn reconcile(&mut self, cluster: &mut Stub) -> Reconciled {
        self.now += 15 * SECOND;
        let (spec, config) = (self.spec.resolve(), self.spec.controller.resolve());
        reconcile(&spec, &config, &mut self.memory, &mut self.status, cluster, self.now)
    }

    /// What a log shows of a reconcile of this cluster.
    fn detail(&mut self, cluster: &mut Stub) -> String {
        let status_replicas = u32::try_from(cluster.replicas).expect("a count");
        let done = self.reconcile(cluster);
        detail(&self.spec.resolve(), self.spec.controller.kubernetes_version, &done, status_replicas)
    }
}

fn external(target: &str) -> String {
    format!("metrics: [{{type: External, external: {{metric: {{name: queue}}, target: {{{target}}}}}}}]")
}

fn resource(name: &str, target: &str) -> String {
    format!("metrics: [{{type: Resource, resource: {{name: {name}, target: {{{target}}}}}}}]")
}

const ON: &str = "HPAScaleToZero: true";
const AVERAGE: &str = "type: AverageValue, averageValue: 5";

#[test]
fn from_zero_by_min_replicas_or_by_the_condition() {
    let check = |version, min, replicas, active: ConditionReason| {
        let mut case = Case::new(version, ON, &format!("minReplicas: {min}, {}", external(AVERAGE)));
        let mut cluster = Stub { series: 15_000, ..Stub::new(0) };
        assert_eq!(case.reconcile(&mut cluster).replicas, replicas, "{version} from {min}");
        let found = case.status.conditions.get(ConditionType::ScalingActive).map(|c| c.reason);
        assert_eq!(found, Some(active), "{version} from {min}");
        assert!(case.status.conditions.get(ConditionType::ScaledToZero).is_none(), "{version}");
    };
    // Somebody else took it to zero, or it was created there.
    check(V1_33, 0, 3, ConditionReason::ValidMetricFound);
    check(V1_35, 0, 3, ConditionReason::ValidMetricFound);
    check(V1_36, 0, 0, ConditionReason::ScalingDisabled);
    check(V1_37, 0, 0, ConditionReason::ScalingDisabled);
    check(V1_35, 1, 0, ConditionReason::ScalingDisabled);
    check(V1_37, 1, 0, ConditionReason::ScalingDisabled);
}

#[test]
fn to_zero_and_back_and_what_is_remembered_of_it() {
    let instant = "behavior: {scaleDown: {stabilizationWindowSeconds: 0}}";
    let check = |version, remembered: &[Option<bool>; 2]| {
        let mut case = Case::new(version, ON, &format!("minReplicas: 0, {instant}, {}", external(AVERAGE)));
        let mut cluster = Stub::new(2);
        let zero = |case: &Case| {
            case.status.conditions.get(ConditionType::ScaledToZero).map(|condition| condition.is_true)
        };
        assert_eq!(case.reconcile(&mut cluster).replicas, 0, "{version}");
        assert_eq!(zero(&case), remembered[0], "{version}");
        cluster.series = 7_000;
        assert_eq!(case.reconcile(&mut cluster).replicas, 2, "{version}");
        assert_eq!(zero(&case), remembered[1], "{version}");
    };
    check(V1_35, &[None, None]);
    check(V1_36, &[Some(true), Some(false)]);
    check(V1_37, &[Some(true), Some(false)]);
}

#[test]
fn zero_is_not_left_upwards_once_min_replicas_is_raised_before_1_36() {
    let instant = "behavior: {scaleDown: {stabilizationWindowSeconds: 0}}";
    let check = |version, replicas| {
        let mut case = Case::new(version, ON, &format!("minReplicas: 0, {instant}, {}", external(AVERAGE)));
        let mut cluster = Stub::new(2);
        case.reconcile(&mut cluster);
        case.spec.min_replicas = Some(3);
        assert_eq!(case.reconcile(&mut cluster).replicas, replicas, "{version}");
    };
    check(V1_35, 0);
    check(V1_36, 3);
}

#[test]
fn conflicts_are_met_again_from_1_34_on() {
    let check = |version, conflicts, replicas, writes, event| {
        let mut case = Case::new(version, "", &external(AVERAGE));
        let mut cluster = Stub { series: 20_000, conflicts, ..Stub::new(2) };
        let done = case.reconcile(&mut cluster);
        assert_eq!((cluster.replicas, cluster.writes), (replicas, writes), "{version}");
        assert_eq!(done.events, [event], "{version}");
    };
    check(V1_33, 1, 2, 1, "FailedRescale");
    check(V1_34, 1, 4, 2, "SuccessfulRescale");
    check(V1_37, 3, 4, 4, "SuccessfulRescale");
    check(V1_37, 4, 2, 4, "FailedRescale");
}

#[test]
fn tolerances_of_the_object_hold_where_the_gate_is_on() {
    let check = |version, gates: &str, replicas, dropped: &[&str]| {
        let fields = format!("behavior: {{scaleUp: {{tolerance: 0.01}}}}, {}", external(AVERAGE));
        let mut case = Case::new(version, gates, &fields);
        assert_eq!(case.spec.dropped_tolerances(), dropped, "{version} {gates}");
        // 21 over four replicas is 5 % above the target.
        let mut cluster = Stub { series: 21_000, ..Stub::new(4) };
        assert_eq!(case.reconcile(&mut cluster).replicas, replicas, "{version} {gates}");
    };
    let up = ["behavior.scaleUp.tolerance"];
    check(V1_33, "", 4, &up);
    check(V1_34, "", 4, &up);
    check(V1_34, "HPAConfigurableTolerance: true", 5, &[]);
    check(V1_35, "", 5, &[]);
    check(V1_36, "HPAConfigurableTolerance: false", 4, &up);
    check(V1_37, "", 5, &[]);
}

#[test]
fn the_first_reconcile_of_a_new_object() {
    let check = |version, expected: SimDuration| {
        let mut case = Case::new(version, "", &external(AVERAGE));
        assert_eq!(case.spec.controller.first_reconcile(), None, "{version}");
        case.spec.controller.created_at_start = true;
        assert_eq!(case.spec.controller.first_reconcile(), Some(expected), "{version}");
    };
    check(V1_33, SimDuration::from_secs(15));
    check(V1_36, SimDuration::from_secs(15));
    check(V1_37, SimDuration::ZERO);
}

#[test]
fn memory_scales_like_any_resource_and_its_mean_is_written_by_release() {
    // 1.5 Gi in each of two containers, against 2 Gi a pod: 1.5 times two pods.
    let usage = resources(0, (3 << 29) * 1_000);
    let check = |version, target: &str, expected: &str| {
        let mut case = Case::new(version, "", &resource("memory", target));
        let mut cluster = Stub { usage: usage.clone(), ..Stub::new(2) };
        assert_eq!(case.detail(&mut cluster), expected, "{version}");
    };
    let average = "type: AverageValue, averageValue: 2Gi";
    check(V1_33, average, "memory 3221225472 against 2147483648 a replica: 3 replicas");
    check(V1_34, average, "memory 3Gi against 2Gi a replica: 3 replicas");
    check(V1_37, average, "memory 3Gi against 2Gi a replica: 3 replicas");
    // The two containers request 2 * 10^6 bytes, which is far less.
    check(V1_37, "type: Utilization, averageUtilization: 50", "memory 161061% against 50%: 6443 replicas");
}

#[test]
fn requests_of_the_pod_as_a_whole_count_from_1_34_on() {
    let check = |version, gates: &str, percent| {
        let fields = resource("cpu", "type: Utilization, averageUtilization: 50");
        let mut case = Case::new(version, gates, &fields);
        let mut cluster = Stub { usage: resources(500, 0), ..Stub::new(2) };
        cluster.pods.iter_mut().for_each(|pod| pod.pod_requests = Some(resources(4_000, 0)));
        let shown = case.detail(&mut cluster);
        assert!(shown.starts_with(&format!("cpu {percent}% against 50%")), "{version} {gates}: {shown}");
    };
    check(V1_33, "", 50);
    check(V1_33, "PodLevelResources: true", 50);
    check(V1_34, "", 25);
    check(V1_36, "PodLevelResources: false", 50);
    check(V1_37, "", 25);
}

#[test]
fn a_container_that_is_not_there_fails_its_metric_from_1_35_on() {
    let check = |version, reason: ConditionReason, said: &str| {
        let fields = "metrics: [{type: ContainerResource, containerResource: {name: cpu, container: proxy, \
            target: {type: Utilization, averageUtilization: 50}}}]";
        let mut case = Case::new(version, "", fields);
        let mut cluster = Stub { usage: resources(500, 0), ..Stub::new(2) };
        cluster.pods[1].containers.truncate(1);
        let shown = case.detail(&mut cluster);
        assert!(shown.contains(said), "{version}: {shown}");
        let active = case.status.conditions.get(ConditionType::ScalingActive).map(|c| c.reason);
        assert_eq!(active, Some(reason), "{version}");
    };
    check(V1_34, ConditionReason::ValidMetricFound, "cpu 50% against 50%: 2 replicas");
    let failed = "container proxy not found in Pod pod-1";
    check(V1_35, ConditionReason::FailedGetContainerResourceMetric, failed);
}

#[test]
fn more_replicas_than_32_bits_hold_are_the_least_or_the_most() {
    let check = |version, target: &str, replicas| {
        let mut case = Case::new(version, "", &external(target));
        case.memory.recommendations = Some(Vec::new());
        let mut cluster = Stub { series: i64::MAX / 2, ..Stub::new(4) };
        assert_eq!(case.reconcile(&mut cluster).replicas, replicas, "{version} {target}");
    };
    let (average, value) = ("type: AverageValue, averageValue: 100m", "type: Value, value: 100m");
    // Beyond 32 bits a double becomes the smallest integer on amd64: to minReplicas in full overload.
    check(V1_33, average, 1);
    check(V1_34, average, 8);
    check(V1_34, value, 1);
    check(V1_35, value, 8);
    check(V1_37, value, 8);
}

#[test]
fn conditions_and_events_are_what_the_log_shows() {
    let mut case = Case::new(V1_37, "", &external(AVERAGE));
    let mut cluster = Stub { series: 20_000, ..Stub::new(2) };
    let mut log = |cluster: &mut Stub| {
        let events = case.reconcile(cluster).events;
        conditions(&case.status, &events)
    };
    assert_eq!(
        log(&mut cluster),
        "AbleToScale=True/SucceededRescale ScalingActive=True/ValidMetricFound \
         ScalingLimited=False/DesiredWithinRange ScaledToZero=False/NotScaledToZero events=SuccessfulRescale"
    );
    assert_eq!(
        log(&mut cluster),
        "AbleToScale=True/ReadyForNewScale ScalingActive=True/ValidMetricFound \
         ScalingLimited=False/DesiredWithinRange ScaledToZero=False/NotScaledToZero"
    );
    cluster.selector = "";
    assert_eq!(
        log(&mut cluster),
        "AbleToScale=True/SucceededGetScale ScalingActive=False/InvalidSelector \
         ScalingLimited=False/DesiredWithinRange ScaledToZero=False/NotScaledToZero \
         events=SelectorRequired,FailedComputeMetricsReplicas"
    );
}

#[test]
fn the_log_says_why_without_a_metric() {
    let mut case = Case::new(V1_37, ON, &format!("minReplicas: 0, {}", external(AVERAGE)));
    let mut cluster = Stub { selector: "not a selector", ..Stub::new(2) };
    assert_eq!(case.detail(&mut cluster), "couldn't parse the selector string `not a selector`");
    assert_eq!(case.detail(&mut Stub::new(11)), "Current number of replicas above Spec.MaxReplicas");
    assert_eq!(case.detail(&mut Stub::new(0)), "at zero, and not by this autoscaler's order");
    let mut case = Case::new(V1_35, "", &external(AVERAGE));
    assert_eq!(case.detail(&mut Stub::new(0)), "at zero, which minReplicas does not allow");
    let mut case = Case::new(V1_35, ON, &format!("minReplicas: 0, {}", external(AVERAGE)));
    let mut cluster = Stub { series: 7_000, ..Stub::new(0) };
    let shown = "queue without a mean (0 replicas) against 5 a replica: 2 replicas";
    assert_eq!(case.detail(&mut cluster), shown);
}
