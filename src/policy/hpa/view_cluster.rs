//! The simulator's view as the cluster an HPA reads.
//!
//! Pods keep the phases and conditions the view shows; the metrics APIs' answers are made before the
//! reconcile. What has not been scraped yet is absent, never zero.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::{Cluster, Scale, ScaleReadError, ScaleWriteError};
use super::metric::Metric;
use super::selector::Selector;
use super::types::{
    Container, MetricError, Milli, Nanos, Pod, PodPhase, ReadyCondition, ReadyStatus, ResourceSample,
    Resources, Sample, Samples,
};
use crate::kernel::SimTime;
use crate::policy::adapter::{Api, Served};
use crate::policy::api::{PodView, View, pod_name};
use crate::promql::Answer;

/// Label that all pods of the one workload carry.
const LABEL: (&str, &str) = ("app", "replica");
/// The selector of that label.
const SELECTOR: &str = "app=replica";

/// What the metrics APIs answer of a metric that is no resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// `custom.metrics.k8s.io`, for each pod.
    Pods(Result<Samples, MetricError>),
    /// `custom.metrics.k8s.io`, for another object.
    Object(Result<Milli, MetricError>),
    /// `external.metrics.k8s.io`.
    External(Result<Vec<Milli>, MetricError>),
}

/// A view as a cluster.
pub struct ViewCluster<'a> {
    view: &'a View<'a>,
    pods: Vec<Pod>,
    container: &'a str,
    answers: Vec<(&'a Metric, Answered)>,
}

impl<'a> ViewCluster<'a> {
    /// From a view and what the metrics APIs answer; `container` is the name of the one container of each pod.
    pub fn new(view: &'a View<'a>, container: &'a str, answers: Vec<(&'a Metric, Answered)>) -> Self {
        let pods = view.pods.iter().map(|pod| translate(view.workload, pod, container)).collect();
        Self { view, pods, container, answers }
    }

    fn answer(&self, metric: &Metric) -> Option<&Answered> {
        self.answers.iter().find(|(of, _)| *of == metric).map(|(_, answer)| answer)
    }
}

impl Served {
    /// What the metrics API answers of its metric in a view.
    pub fn answer(&self, api: Api, metric: &str, view: &View<'_>) -> Answered {
        let answer = view.prometheus.answer(&self.query);
        let answer =
            answer.map_err(|error| MetricError::new(format!("unable to get metric {metric}: {error}")));
        match api {
            Api::Pods => Answered::Pods(answer.map(|answer| self.samples(&answer, view))),
            Api::Object => Answered::Object(answer.and_then(|answer| {
                let values = answer.external_milli();
                values.into_iter().reduce(i64::saturating_add).ok_or_else(|| no_data(metric))
            })),
            Api::External => Answered::External(answer.map(|answer| answer.external_milli())),
        }
    }

    /// Of the pods that the scale's selector selects, as the adapter asks for them by name: spares of a
    /// warm pool are not among them.
    fn samples(&self, answer: &Answer, view: &View<'_>) -> Samples {
        let at = instant(view.prometheus.at);
        let selected: BTreeSet<String> =
            view.pods.iter().map(|pod| pod_name(view.workload, pod.id)).collect();
        let values = answer.by_object(&self.pod_label).into_iter();
        let own = values.filter(|(pod, _)| selected.contains(*pod));
        own.map(|(pod, value)| (pod.to_owned(), Sample { value, at, window: 0 })).collect()
    }
}

impl Cluster for ViewCluster<'_> {
    fn scale(&self) -> Result<Scale, ScaleReadError> {
        Ok(Scale {
            spec_replicas: count(self.view.spec_replicas),
            status_replicas: count(self.view.status_replicas),
            selector: SELECTOR.to_owned(),
        })
    }

    /// The order leaves as the policy's decision; nothing else writes the scale meanwhile.
    fn set_replicas(&mut self, _: i32) -> Result<(), ScaleWriteError> {
        Ok(())
    }

    fn pods(&self) -> &[Pod] {
        &self.pods
    }

    fn rivals(&self) -> &[Selector] {
        &[]
    }

    fn resource_samples(&self, resource: &str) -> Result<Vec<ResourceSample>, MetricError> {
        let sample = |pod: &PodView| {
            let sample = pod.usage?;
            let value = match resource {
                "cpu" => sample.used.cpu_milli?,
                "memory" => sample.used.memory_bytes?.saturating_mul(1000),
                _ => return None,
            };
            Some(ResourceSample {
                pod: pod_name(self.view.workload, pod.id),
                at: instant(sample.at),
                window: duration(sample.window.as_nanos()),
                containers: vec![(
                    self.container.to_owned(),
                    Resources::from([(resource.to_owned(), value)]),
                )],
            })
        };
        Ok(self.view.pods.iter().filter_map(sample).collect())
    }

    fn pods_samples(&self, metric: &Metric) -> Result<Samples, MetricError> {
        match self.answer(metric) {
            Some(Answered::Pods(samples)) => samples.clone(),
            _ => Err(no_data(metric.name())),
        }
    }

    fn object_value(&self, metric: &Metric) -> Result<Milli, MetricError> {
        match self.answer(metric) {
            Some(Answered::Object(value)) => value.clone(),
            _ => Err(no_data(metric.name())),
        }
    }

    fn external_values(&self, metric: &Metric) -> Result<Vec<Milli>, MetricError> {
        match self.answer(metric) {
            Some(Answered::External(values)) => values.clone(),
            _ => Err(no_data(metric.name())),
        }
    }
}

fn translate(workload: &str, pod: &PodView, container: &str) -> Pod {
    let cpu = pod.requests.cpu_milli.map(|milli| ("cpu".to_owned(), milli));
    let memory = pod.requests.memory_bytes.map(|bytes| ("memory".to_owned(), bytes.saturating_mul(1000)));
    let requests = cpu.into_iter().chain(memory).collect();
    Pod {
        name: pod_name(workload, pod.id),
        labels: BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())]),
        phase: if pod.running { PodPhase::Running } else { PodPhase::Pending },
        ready: Some(ReadyCondition {
            status: if pod.ready { ReadyStatus::True } else { ReadyStatus::False },
            changed: instant(pod.ready_changed),
        }),
        started: pod.started.map(instant),
        deleting: pod.deleting,
        containers: vec![Container { name: container.to_owned(), requests }],
        init_containers: Vec::new(),
        pod_requests: None,
    }
}

fn instant(time: SimTime) -> Nanos {
    duration(time.as_nanos())
}

fn duration(nanos: u64) -> Nanos {
    Nanos::try_from(nanos).unwrap_or(Nanos::MAX)
}

fn count(replicas: u32) -> i32 {
    i32::try_from(replicas).unwrap_or(i32::MAX)
}

fn no_data(metric: &str) -> MetricError {
    MetricError::new(format!("unable to get metric {metric}: nothing was scraped yet"))
}
