//! The HPA that KEDA makes, reconciled by its own controller.

use super::hpa::derive;
use super::object::Object;
use super::scalers::Answers;
use crate::kernel::SimDuration;
use crate::policy::ResourceRead;
use crate::policy::api::{Decision, Loop, Path, Reason, View};
use crate::policy::hpa::autoscaler::CONTAINER;
use crate::policy::hpa::detail::{conditions, detail};
use crate::policy::hpa::metric::Metric;
use crate::policy::hpa::reconcile::{ControllerConfig, Memory, Spec, reconcile};
use crate::policy::hpa::spec::ControllerSpec;
use crate::policy::hpa::status::Status;
use crate::policy::hpa::types::MetricError;
use crate::policy::hpa::view_cluster::{Answered, ViewCluster};

/// The HPA of a ScaledObject.
#[derive(Clone, Debug)]
pub struct OwnedHpa {
    spec: Spec,
    config: ControllerConfig,
    memory: Memory,
    status: Status,
    period: SimDuration,
    phase: Option<SimDuration>,
    container: String,
}

impl OwnedHpa {
    /// The one of an object; `None` while that is paused.
    pub fn new(object: &Object, controller: &ControllerSpec) -> Option<Self> {
        Some(Self::of(derive(&object.name, &object.spec, &object.scaled)?, controller))
    }

    /// One that somebody else has made.
    pub fn of(spec: Spec, controller: &ControllerSpec) -> Self {
        let container = spec.metrics.iter().find_map(Metric::container).unwrap_or(CONTAINER).to_owned();
        Self {
            spec,
            config: controller.resolve(),
            memory: Memory::default(),
            status: Status::default(),
            period: controller.period(),
            phase: controller.first_reconcile(),
            container,
        }
    }

    /// Its loop.
    pub fn control_loop(&self) -> Loop {
        Loop { name: "hpa", period: self.period, phase: self.phase }
    }

    /// What of a pod's CPU and memory it reads.
    pub fn resources(&self) -> Vec<ResourceRead> {
        self.spec.metrics.iter().filter_map(Metric::resource).collect()
    }

    /// Whether a reconcile at this count reads metrics: at zero it is disabled, since the least KEDA gives it is
    /// one, and what is out of bounds it mends without.
    pub fn reads_metrics(&self, current: u32) -> bool {
        let current = i32::try_from(current).unwrap_or(i32::MAX);
        (self.spec.min_replicas.unwrap_or(1).max(1)..=self.spec.max_replicas).contains(&current)
    }

    /// One reconcile. `answers` are those of KEDA's metrics server, by the metric's name; `notes` go into the
    /// log behind the HPA's own figures.
    pub fn turn(&mut self, view: &View<'_>, mut answers: Answers, notes: &str) -> Decision {
        let served = self.spec.metrics.iter().filter_map(|metric| {
            let Metric::External { name, .. } = metric else { return None };
            let at = answers.iter().position(|(of, _)| of == name)?;
            let (_, answer) = answers.swap_remove(at);
            let refused =
                |why: String| MetricError::new(format!("unable to get external metric {name}: {why}"));
            Some((metric, Answered::External(answer.map(|value| vec![value]).map_err(refused))))
        });
        let mut cluster = ViewCluster::new(view, &self.container, served.collect());
        let now = i64::try_from(view.now.as_nanos()).unwrap_or(i64::MAX);
        let done = reconcile(&self.spec, &self.config, &mut self.memory, &mut self.status, &mut cluster, now);
        let mut text = detail(&self.spec, self.config.version, &done, view.status_replicas);
        if !notes.is_empty() {
            text = format!("{text}; {notes}");
        }
        let conditions = conditions(&self.status, &done.events);
        let why = Reason { conditions, ..Reason::new(done.rule.as_str(), text) };
        let replicas = u32::try_from(done.replicas).unwrap_or(0);
        Decision { replicas, spare: 0, path: Path::Direct, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Setting;
    use crate::policy::fixture::World;
    use crate::policy::keda::KedaSpec;

    #[test]
    fn metrics_are_read_exactly_where_a_reconcile_asks_for_them() {
        let spec = r#"{"scaledObject": {"scaleTargetRef": {"name": "vllm"}, "minReplicaCount": 2, "maxReplicaCount": 4,
            "triggers": [{"type": "redis", "metadata": {"listName": "l"}}]}}"#;
        let spec: KedaSpec = serde_json::from_str(spec).expect("the types are right");
        let object = Object::read(&spec, &Setting::default()).expect("nothing is wrong");
        for (current, expected) in [(0, false), (1, false), (2, true), (4, true), (5, false)] {
            let mut own = OwnedHpa::new(&object, &ControllerSpec::default()).expect("it is not paused");
            assert_eq!(own.reads_metrics(current), expected, "{current}");
            // Without an answer, a reconcile that asks for one fails.
            let decision = own.turn(&World::ready(60, current).view(), Vec::new(), "");
            assert_eq!(
                decision.why.rule == "FailedGetExternalMetric",
                expected,
                "{current}: {:?}",
                decision.why
            );
        }
    }
}
