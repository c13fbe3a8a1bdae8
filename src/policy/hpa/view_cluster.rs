//! The simulator's view as the cluster an HPA reads.
//!
//! Pods keep the phases and conditions the view shows; a metric name stands for the series
//! of that name. What has not been scraped yet is absent, never zero.

use std::collections::BTreeMap;

use super::cluster::{Cluster, Scale, ScaleReadError, ScaleWriteError};
use super::selector::Selector;
use super::types::{
    Container, MetricError, Milli, Nanos, Pod, PodPhase, ReadyCondition, ReadyStatus, ResourceSample,
    Resources, Sample, Samples,
};
use crate::kernel::SimTime;
use crate::policy::api::{GatewaySeries, PodView, Series, View};

/// Label that all pods of the one workload carry.
const LABEL: (&str, &str) = ("app", "replica");
/// The selector of that label.
const SELECTOR: &str = "app=replica";

/// A view as a cluster.
pub struct ViewCluster<'a> {
    view: &'a View<'a>,
    pods: Vec<Pod>,
    container: &'a str,
}

impl<'a> ViewCluster<'a> {
    /// From a view; `container` is the name of the one container of each pod.
    pub fn new(view: &'a View<'a>, container: &'a str) -> Self {
        let pods = view.pods.iter().map(|pod| translate(pod, container)).collect();
        Self { view, pods, container }
    }

    /// The value of a series for each pod that was scraped.
    fn series_values(&self, series: Series) -> impl Iterator<Item = Milli> + '_ {
        self.view.pods.iter().filter_map(move |pod| Some(milli(pod.sample?.metric(series)?)))
    }

    fn gateway_value(&self, series: GatewaySeries) -> Result<Milli, MetricError> {
        self.view.gateway.map(|sample| milli(series.value(sample))).ok_or_else(|| no_data(series.name()))
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
        if resource != "cpu" {
            return Ok(Vec::new());
        }
        let sample = |pod: &PodView<'_>| {
            let sample = pod.sample?;
            let usage = Resources::from([("cpu".to_owned(), sample.cpu_milli?)]);
            Some(ResourceSample {
                pod: pod.id.to_string(),
                at: instant(sample.at),
                window: duration(sample.window.as_nanos()),
                containers: vec![(self.container.to_owned(), usage)],
            })
        };
        Ok(self.view.pods.iter().filter_map(sample).collect())
    }

    fn pods_samples(&self, metric: &str) -> Result<Samples, MetricError> {
        let series = Series::from_name(metric).ok_or_else(|| no_data(metric))?;
        let sample = |pod: &PodView<'_>| {
            let sample = pod.sample?;
            let value = milli(sample.metric(series)?);
            let (at, window) = (instant(sample.at), duration(sample.window.as_nanos()));
            Some((pod.id.to_string(), Sample { value, at, window }))
        };
        Ok(self.view.pods.iter().filter_map(sample).collect())
    }

    fn object_value(&self, metric: &str) -> Result<Milli, MetricError> {
        if let Some(series) = GatewaySeries::from_name(metric) {
            return self.gateway_value(series);
        }
        let series = Series::from_name(metric).ok_or_else(|| no_data(metric))?;
        self.series_values(series).reduce(i64::saturating_add).ok_or_else(|| no_data(metric))
    }

    fn external_values(&self, metric: &str) -> Result<Vec<Milli>, MetricError> {
        if let Some(series) = GatewaySeries::from_name(metric) {
            return Ok(vec![self.gateway_value(series)?]);
        }
        let series = Series::from_name(metric).ok_or_else(|| no_data(metric))?;
        Ok(self.series_values(series).collect())
    }
}

fn translate(pod: &PodView<'_>, container: &str) -> Pod {
    let requests = pod.cpu_request_milli.map(|milli| ("cpu".to_owned(), milli)).into_iter().collect();
    Pod {
        name: pod.id.to_string(),
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

/// Thousandths, rounded up, of a value exact to a billionth: finer is noise of the double,
/// which must not turn 0.07 into 71 thousandths.
fn milli(value: f64) -> Milli {
    let nano = (value * 1e9).round();
    (nano / 1e6).ceil() as i64
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

#[cfg(test)]
mod tests {
    use super::milli;

    #[test]
    fn values_round_up_to_thousandths() {
        let check = |value: f64, expected: i64| assert_eq!(milli(value), expected, "{value}");
        check(0.0, 0);
        check(7.0, 7_000);
        check(0.07, 70);
        check(0.0001, 1);
        check(1.2345, 1_235);
        check(1e300, i64::MAX);
        check(f64::NAN, 0);
    }
}
