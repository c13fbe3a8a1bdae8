//! What a controller reads of each pod: a query's answer, by the pods of the workload.

use super::api::View;
use super::{Fault, Setting};
use crate::kernel::ReplicaId;
use crate::promql::Answer;
use crate::promql::catalogue::Exporter;

/// The finite values of an answer by the pod that their label `pod` names, in the answer's order. Pods that the view does
/// not show (spares of a warm pool) are left out.
pub(super) fn by_pod(view: &View<'_>, answer: &Answer) -> Vec<(ReplicaId, f64)> {
    let Answer::Vector(samples) = answer else { return Vec::new() };
    let value = |sample: &crate::promql::Sample| {
        let number = sample.label("pod")?.strip_prefix(view.workload)?.strip_prefix('-')?;
        let id = ReplicaId(number.parse().ok()?);
        // Pods are in order of creation, and so of their numbers.
        let known = sample.value.is_finite() && view.pods.binary_search_by_key(&id, |pod| pod.id).is_ok();
        known.then_some((id, sample.value))
    };
    samples.iter().filter_map(value).collect()
}

/// What is wrong, at a path, where a controller reads vLLM's metrics and the replicas run another engine.
pub(super) fn reads_vllm(setting: &Setting, path: &str) -> Option<Fault> {
    let message = "it reads vLLM's metrics, and this scenario's engine is another".to_owned();
    let help =
        "use a profile of vLLM, or say that its metrics are alike: telemetry: { exporter: vllm }".to_owned();
    (!setting.exporters.contains(&Exporter::Vllm)).then(|| (path.to_owned(), message, help))
}

/// The value of a pod in such a list.
pub(super) fn of(values: &[(ReplicaId, f64)], pod: ReplicaId) -> Option<f64> {
    values.iter().find(|(id, _)| *id == pod).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::World;
    use crate::promql::Query;

    #[test]
    fn another_engine_is_no_vllm() {
        let other =
            Setting { exporters: Setting::exporters_of(Some(Exporter::Sglang)), ..Setting::default() };
        assert_eq!(reads_vllm(&Setting::default(), "a"), None);
        assert_eq!(reads_vllm(&other, "a").map(|(path, ..)| path).as_deref(), Some("a"));
    }

    #[test]
    fn values_are_of_the_pods_in_view() {
        let world = World::ready(60, 2)
            .with_sample(1, "vllm:num_requests_waiting", 60, 4.0)
            .with_sample(0, "vllm:num_requests_waiting", 60, 3.0)
            .with_sample(7, "vllm:num_requests_waiting", 60, 9.0);
        let query = Query::compile("vllm:num_requests_waiting").expect("it is simulated");
        let view = world.view();
        let mut values = by_pod(&view, &view.prometheus.answer(&query).expect("it is there"));
        values.sort_by_key(|(pod, _)| *pod);
        assert_eq!(values, [(ReplicaId(0), 3.0), (ReplicaId(1), 4.0)]);
        assert_eq!((of(&values, ReplicaId(1)), of(&values, ReplicaId(7))), (Some(4.0), None));
        assert_eq!(by_pod(&view, &Answer::Scalar(1.0)), []);
    }
}
