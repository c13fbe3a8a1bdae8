//! One metric -> one proposal of replicas.
//!
//! After Kubernetes' `replica_calculator.go` (1.33 to 1.37). Three families: per-pod
//! metrics (utilisation or a plain average), value targets and average-value targets.

use super::group_pods::{PodGroups, group_pods};
use super::requests::{RequestRules, calculate_requests};
use super::types::{
    MetricError, Milli, Nanos, Pod, PodValues, Readiness, ResourceSample, Sample, Samples, Tolerances, int32,
};
use super::utilization::{metric_usage, resource_utilization};
use super::version::KubernetesVersion;

/// What every calculation of one reconcile shares.
#[derive(Clone, Copy, Debug)]
pub struct Calculator<'a> {
    /// Pods that the scale's selector matches.
    pub pods: &'a [&'a Pod],
    /// When nothing needs to be done.
    pub tolerances: Tolerances,
    /// When CPU samples are trusted.
    pub readiness: Readiness,
    /// Whether requests of the pod as a whole count (gate `PodLevelResources`).
    pub pod_level_resources: bool,
    /// The release of Kubernetes.
    pub version: KubernetesVersion,
    /// Now.
    pub now: Nanos,
}

/// A proposal from utilisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UtilizationProposal {
    /// Replicas.
    pub replicas: i32,
    /// Utilisation, percent, as the status reports it.
    pub percent: i32,
    /// Mean usage, milli-units.
    pub average_value: Milli,
}

/// A proposal from a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageProposal {
    /// Replicas.
    pub replicas: i32,
    /// The value the status reports, milli-units.
    pub usage: Milli,
}

/// Picks one resource out of the metrics API's answer: of one container, or the sum over
/// all. A pod that lacks it anywhere has no sample.
pub fn resource_values(
    items: &[ResourceSample],
    resource: &str,
    container: Option<&str>,
) -> Result<Samples, MetricError> {
    if items.is_empty() {
        return Err(MetricError::new(format!(
            "unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
        )));
    }
    let usage_of = |item: &ResourceSample| match container {
        Some(name) => item
            .containers
            .iter()
            .find(|(n, _)| n == name)
            .and_then(|(_, usage)| usage.get(resource))
            .copied(),
        None if item.containers.is_empty() => None,
        None => item
            .containers
            .iter()
            .try_fold(0_i64, |sum, (_, usage)| usage.get(resource).map(|value| sum.wrapping_add(*value))),
    };
    Ok(items
        .iter()
        .filter_map(|item| {
            let value = usage_of(item)?;
            Some((item.pod.clone(), Sample { value, at: item.at, window: item.window }))
        })
        .collect())
}

impl Calculator<'_> {
    fn request_rules(&self) -> RequestRules {
        RequestRules {
            pod_level: self.pod_level_resources && self.version.reads_pod_level_requests(),
            misses_absent_containers: self.version.misses_absent_containers(),
        }
    }

    /// Replicas for a target utilisation (percent of the request) of a resource.
    pub fn utilization(
        &self,
        current: i32,
        target_percent: i32,
        samples: &Samples,
        resource: &str,
        container: Option<&str>,
    ) -> Result<UtilizationProposal, MetricError> {
        let (groups, values) = self.usable_values(samples, resource)?;
        let requests = calculate_requests(self.pods, resource, container, self.request_rules())?;
        let first = resource_utilization(&values, &requests, target_percent)?;
        let fill = |pod: &str| {
            let request = requests.get(pod).copied().unwrap_or(0);
            request.wrapping_mul(i64::from(target_percent.max(100))) / 100
        };
        let ratio = |values: &PodValues| Ok(resource_utilization(values, &requests, target_percent)?.ratio);
        let replicas = self.settle(current, &groups, values, first.ratio, fill, ratio)?;
        Ok(UtilizationProposal { replicas, percent: first.percent, average_value: first.average_value })
    }

    /// Replicas for a target mean value per pod, milli-units. `resource` is empty for a pods metric.
    pub fn average(
        &self,
        current: i32,
        target: Milli,
        samples: &Samples,
        resource: &str,
    ) -> Result<UsageProposal, MetricError> {
        let (groups, values) = self.usable_values(samples, resource)?;
        let first = metric_usage(&values, target);
        let ratio = |values: &PodValues| Ok(metric_usage(values, target).ratio);
        let replicas = self.settle(current, &groups, values, first.ratio, |_| target, ratio)?;
        Ok(UsageProposal { replicas, usage: first.average_value })
    }

    /// Groups the pods and drops the samples that do not count.
    fn usable_values(
        &self,
        samples: &Samples,
        resource: &str,
    ) -> Result<(PodGroups, PodValues), MetricError> {
        if self.pods.is_empty() {
            return Err(no_pods());
        }
        let groups = group_pods(self.pods, samples, resource, self.readiness, self.now);
        let values: PodValues = samples
            .iter()
            .filter(|(pod, _)| !groups.ignored.contains(*pod) && !groups.unready.contains(*pod))
            .map(|(pod, sample)| (pod.clone(), sample.value))
            .collect();
        if values.is_empty() {
            return Err(MetricError::new(
                "did not receive metrics for targeted pods (pods might be unready)",
            ));
        }
        Ok((groups, values))
    }

    /// From the ratio of the first pass to replicas: pods without a usable sample are filled
    /// in against the direction of the change, and a change of direction is no change.
    fn settle(
        &self,
        current: i32,
        groups: &PodGroups,
        mut values: PodValues,
        first: f64,
        fill_below: impl Fn(&str) -> Milli,
        ratio: impl Fn(&PodValues) -> Result<f64, MetricError>,
    ) -> Result<i32, MetricError> {
        let up_with_unready = !groups.unready.is_empty() && first > 1.0;
        if !up_with_unready && groups.missing.is_empty() {
            if self.tolerances.is_within(first) {
                return Ok(current);
            }
            return Ok(int32((first * groups.ready_count as f64).ceil()));
        }
        for pod in &groups.missing {
            if first < 1.0 {
                values.insert(pod.clone(), fill_below(pod));
            } else if first > 1.0 {
                values.insert(pod.clone(), 0);
            }
        }
        if up_with_unready {
            values.extend(groups.unready.iter().map(|pod| (pod.clone(), 0)));
        }
        let second = ratio(&values)?;
        let turned = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
        if self.tolerances.is_within(second) || turned {
            return Ok(current);
        }
        let replicas = int32((second * values.len() as f64).ceil());
        // Filling in must not push the count against the sense of the ratio.
        if (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current) {
            return Ok(current);
        }
        Ok(replicas)
    }

    /// Replicas for an object's value against a target value, milli-units.
    pub fn object_value(
        &self,
        current: i32,
        target: Milli,
        usage: Milli,
    ) -> Result<UsageProposal, MetricError> {
        Ok(UsageProposal { replicas: self.by_value(current, target, usage)?, usage })
    }

    /// Replicas for the sum of external series against a target value, milli-units.
    pub fn external_value(
        &self,
        current: i32,
        target: Milli,
        series: &[Milli],
    ) -> Result<UsageProposal, MetricError> {
        let usage = series.iter().fold(0_i64, |sum, value| match sum.checked_add(*value) {
            Some(sum) => sum,
            None if *value > 0 => i64::MAX,
            None => sum.wrapping_add(*value),
        });
        Ok(UsageProposal { replicas: self.by_value(current, target, usage)?, usage })
    }

    fn by_value(&self, current: i32, target: Milli, usage: Milli) -> Result<i32, MetricError> {
        let ratio = usage as f64 / target as f64;
        if current == 0 {
            return Ok(int32(ratio.ceil()));
        }
        if self.tolerances.is_within(ratio) {
            return Ok(current);
        }
        if self.pods.is_empty() {
            return Err(no_pods());
        }
        let ready = self.pods.iter().filter(|pod| pod.is_running_and_ready()).count();
        Ok(capped((ratio * ready as f64).ceil(), self.version.caps_values()))
    }

    /// Replicas for an object's value against a target per replica, milli-units.
    /// `status_replicas` is `scale.status.replicas`.
    pub fn object_average_value(&self, status_replicas: i32, target: Milli, usage: Milli) -> UsageProposal {
        UsageProposal {
            replicas: self.by_average_value(status_replicas, target, usage, false),
            usage: spread(usage, status_replicas),
        }
    }

    /// Replicas for the sum of external series against a target per replica, milli-units.
    pub fn external_average_value(
        &self,
        status_replicas: i32,
        target: Milli,
        series: &[Milli],
    ) -> UsageProposal {
        let usage = series.iter().fold(0_i64, |sum, value| match sum.wrapping_add(*value) {
            negative if negative < 0 => i64::MAX,
            sum => sum,
        });
        UsageProposal {
            replicas: self.by_average_value(
                status_replicas,
                target,
                usage,
                self.version.caps_external_average(),
            ),
            usage: if usage == i64::MAX { usage } else { spread(usage, status_replicas) },
        }
    }

    fn by_average_value(&self, status_replicas: i32, target: Milli, usage: Milli, caps: bool) -> i32 {
        let ratio = usage as f64 / (target as f64 * f64::from(status_replicas));
        if self.tolerances.is_within(ratio) {
            status_replicas
        } else {
            capped((usage as f64 / target as f64).ceil(), caps)
        }
    }
}

/// Replicas of a double: beyond 32 bits, the most they hold where upstream caps it.
fn capped(replicas: f64, caps: bool) -> i32 {
    // Rust's cast saturates.
    if caps && replicas > f64::from(i32::MAX) { i32::MAX } else { int32(replicas) }
}

fn spread(usage: Milli, replicas: i32) -> Milli {
    (usage as f64 / f64::from(replicas)).ceil() as i64
}

fn no_pods() -> MetricError {
    MetricError::new("no pods returned by selector while calculating replica count")
}
