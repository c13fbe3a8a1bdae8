//! What each pod requests of a resource: the denominator of utilisation.
//!
//! After `calculateRequests` of Kubernetes' `replica_calculator.go` (1.34 and later).

use super::types::{MetricError, Pod, PodValues};

/// The request of every pod, milli-units. One pod without a request fails the metric.
pub fn calculate_requests(
    pods: &[&Pod],
    resource: &str,
    container: Option<&str>,
    pod_level_resources: bool,
) -> Result<PodValues, MetricError> {
    pods.iter()
        .map(|pod| {
            let request = match container {
                Some(name) => container_request(pod, resource, name)?,
                None => pod_request(pod, resource, pod_level_resources)?,
            };
            Ok((pod.name.clone(), request))
        })
        .collect()
}

fn missing(resource: &str, container: &str, pod: &str) -> MetricError {
    MetricError::new(format!("missing request for {resource} in container {container} of Pod {pod}"))
}

fn container_request(pod: &Pod, resource: &str, name: &str) -> Result<i64, MetricError> {
    let sidecars = pod.init_containers.iter().filter(|init| init.restart_always).map(|init| &init.container);
    let Some(container) = pod.containers.iter().chain(sidecars).find(|c| c.name == name) else {
        return Err(MetricError::new(format!("container {name} not found in Pod {}", pod.name)));
    };
    container.requests.get(resource).copied().ok_or_else(|| missing(resource, name, &pod.name))
}

fn pod_request(pod: &Pod, resource: &str, pod_level_resources: bool) -> Result<i64, MetricError> {
    if pod_level_resources
        && let Some(request) = pod.pod_requests.as_ref().and_then(|requests| requests.get(resource))
    {
        return Ok(*request);
    }
    let sidecars = pod.init_containers.iter().filter(|init| init.restart_always).map(|init| &init.container);
    let mut total: i64 = 0;
    for container in pod.containers.iter().chain(sidecars) {
        let request =
            container.requests.get(resource).ok_or_else(|| missing(resource, &container.name, &pod.name))?;
        total = total.wrapping_add(*request);
    }
    Ok(total)
}
