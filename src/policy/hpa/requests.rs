//! What each pod requests of a resource: the denominator of utilisation.
//!
//! After `calculateRequests` of Kubernetes' `replica_calculator.go` (1.33 to 1.37), and for
//! requests of the pod as a whole `PodRequests` of `component-helpers/resource`.

use super::types::{Container, MetricError, Pod, PodValues, Resources};

/// How requests are counted; releases differ in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRules {
    /// Requests of the pod as a whole count, where there are some.
    pub pod_level: bool,
    /// A pod without the container that is asked for fails the metric; otherwise it requests 0.
    pub misses_absent_containers: bool,
}

/// The request of every pod, milli-units. One pod without a request fails the metric.
pub fn calculate_requests(
    pods: &[&Pod],
    resource: &str,
    container: Option<&str>,
    rules: RequestRules,
) -> Result<PodValues, MetricError> {
    pods.iter()
        .map(|pod| {
            let request = match (container, &pod.pod_requests) {
                (Some(name), _) => container_request(pod, resource, name, rules)?,
                (None, Some(requests)) if rules.pod_level && has_pod_level(requests) => {
                    pod_level_request(pod, requests, resource)?
                }
                (None, _) => sum_of_containers(pod, resource)?,
            };
            Ok((pod.name.clone(), request))
        })
        .collect()
}

fn missing(resource: &str, container: &str, pod: &str) -> MetricError {
    MetricError::new(format!("missing request for {resource} in container {container} of Pod {pod}"))
}

/// Containers that run as long as the pod: its own, then its sidecars.
fn lasting(pod: &Pod) -> impl Iterator<Item = &Container> {
    let sidecars = pod.init_containers.iter().filter(|init| init.restart_always).map(|init| &init.container);
    pod.containers.iter().chain(sidecars)
}

fn container_request(pod: &Pod, resource: &str, name: &str, rules: RequestRules) -> Result<i64, MetricError> {
    match lasting(pod).find(|container| container.name == name) {
        Some(found) => {
            found.requests.get(resource).copied().ok_or_else(|| missing(resource, name, &pod.name))
        }
        None if rules.misses_absent_containers => {
            Err(MetricError::new(format!("container {name} not found in Pod {}", pod.name)))
        }
        None => Ok(0),
    }
}

fn sum_of_containers(pod: &Pod, resource: &str) -> Result<i64, MetricError> {
    lasting(pod).try_fold(0_i64, |sum, container| {
        let request = container.requests.get(resource);
        Ok(sum.wrapping_add(*request.ok_or_else(|| missing(resource, &container.name, &pod.name))?))
    })
}

/// Whether a pod requests anything as a whole that may be requested so.
fn has_pod_level(requests: &Resources) -> bool {
    requests.keys().any(|name| matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-"))
}

/// What the scheduler would reserve: the pod's own figure; for a resource it leaves out, the
/// larger of what its containers need together and what an init container needs at its turn.
fn pod_level_request(pod: &Pod, requests: &Resources, resource: &str) -> Result<i64, MetricError> {
    if let Some(request) = requests.get(resource) {
        return Ok(*request);
    }
    let of = |container: &Container| container.requests.get(resource).copied();
    let sum = |so_far: Option<i64>, more: Option<i64>| match (so_far, more) {
        (Some(a), Some(b)) => Some(a.wrapping_add(b)),
        (one, other) => one.or(other),
    };
    let together = lasting(pod).map(of).fold(None, sum);
    let (mut sidecars, mut at_most) = (None, together);
    for init in &pod.init_containers {
        let with_earlier_sidecars = sum(sidecars, of(&init.container));
        if init.restart_always {
            sidecars = with_earlier_sidecars;
        }
        at_most = at_most.max(with_earlier_sidecars);
    }
    at_most.ok_or_else(|| {
        MetricError::new(format!("missing pod-level request for {resource} in Pod {}", pod.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::hpa::types::{InitContainer, PodPhase};

    fn container(name: &str, cpu: Option<i64>) -> Container {
        let requests = cpu.map(|milli| ("cpu".to_owned(), milli)).into_iter().collect();
        Container { name: name.to_owned(), requests }
    }

    fn pod(containers: &[Option<i64>], inits: &[(Option<i64>, bool)], pod_level: &[(&str, i64)]) -> Pod {
        let named = |(index, cpu): (usize, &Option<i64>)| container(&format!("c{index}"), *cpu);
        let init = |(index, (cpu, restart_always)): (usize, &(Option<i64>, bool))| InitContainer {
            container: container(&format!("i{index}"), *cpu),
            restart_always: *restart_always,
        };
        Pod {
            name: "p".to_owned(),
            labels: std::collections::BTreeMap::new(),
            phase: PodPhase::Running,
            ready: None,
            started: None,
            deleting: false,
            containers: containers.iter().enumerate().map(named).collect(),
            init_containers: inits.iter().enumerate().map(init).collect(),
            pod_requests: (!pod_level.is_empty())
                .then(|| pod_level.iter().map(|(name, milli)| ((*name).to_owned(), *milli)).collect()),
        }
    }

    const ALL: RequestRules = RequestRules { pod_level: true, misses_absent_containers: true };

    fn request(pod: &Pod, container: Option<&str>, rules: RequestRules) -> Result<i64, String> {
        let all = calculate_requests(&[pod], "cpu", container, rules).map_err(|error| error.0)?;
        Ok(all["p"])
    }

    #[test]
    fn requests_of_the_pod_as_a_whole_fill_in_what_containers_lack() {
        let check = |pod: Pod, expected: Result<i64, &str>| {
            assert_eq!(request(&pod, None, ALL), expected.map_err(str::to_owned), "{pod:?}");
        };
        check(pod(&[Some(100), None], &[], &[("cpu", 700)]), Ok(700));
        // Memory alone: the CPU of the containers, those without a request passed over.
        check(pod(&[Some(100), None], &[], &[("memory", 700)]), Ok(100));
        check(pod(&[None], &[], &[("memory", 700)]), Err("missing pod-level request for cpu in Pod p"));
        // A resource that pods cannot request as a whole changes nothing.
        let gpu = pod(&[Some(100), None], &[], &[("nvidia.com/gpu", 1000)]);
        check(gpu, Err("missing request for cpu in container c1 of Pod p"));
        // Init containers run one after the other, beside the sidecars started before them.
        let inits = [(Some(50), true), (Some(400), false), (Some(30), true)];
        check(pod(&[Some(100), Some(100)], &inits, &[("memory", 1)]), Ok(450));
        check(pod(&[Some(300), Some(100)], &inits, &[("memory", 1)]), Ok(480));
    }

    #[test]
    fn without_them_every_lasting_container_needs_a_request() {
        let rules = RequestRules { pod_level: false, ..ALL };
        let inits = [(Some(50), true), (Some(4000), false)];
        assert_eq!(request(&pod(&[Some(100)], &inits, &[("cpu", 700)]), None, rules), Ok(150));
        let error = "missing request for cpu in container c0 of Pod p".to_owned();
        assert_eq!(request(&pod(&[None], &[], &[("cpu", 700)]), None, rules), Err(error));
    }

    #[test]
    fn a_named_container_goes_before_the_pod_and_its_absence_counts_by_release() {
        let pod = pod(&[Some(100)], &[(Some(50), true), (Some(70), false)], &[("cpu", 700)]);
        assert_eq!(request(&pod, Some("c0"), ALL), Ok(100));
        assert_eq!(request(&pod, Some("i0"), ALL), Ok(50));
        let error = "container i1 not found in Pod p".to_owned();
        assert_eq!(request(&pod, Some("i1"), ALL), Err(error));
        let before = RequestRules { misses_absent_containers: false, ..ALL };
        assert_eq!(request(&pod, Some("i1"), before), Ok(0));
    }
}
