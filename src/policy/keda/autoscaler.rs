//! KEDA as a policy: the operator's polls, its push handler, and the HPA it owns.
//!
//! After kedacore/keda `pkg/scaling/scale_handler.go`, `pkg/scaling/executor/scale_scaledobjects.go` and
//! `controllers/keda/scaledobject_controller.go` (8b4f083c).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::annotations::Annotations;
use super::executor::{Decided, Poll, Rule, decide};
use super::http_scaled_object::HttpScaledObjectSpec;
use super::interceptor::Interceptor;
use super::mapping::{ExternalSpec, QueueSpec};
use super::object::{Object, Pushed};
use super::owned_hpa::OwnedHpa;
use super::scalers::{Polled, Read, Scalers};
use super::spec::{ScaledObjectSpec, TriggerSpec};
use super::triggers::{ResourceTarget, Trigger};
use super::validate::{ScaledObject, hpa_max};
use crate::kernel::{SimDuration, SimTime};
use crate::policy::api::{Autoscaler, DataPath, Decision, Loop, Path, Reason, View};
use crate::policy::hpa::detail::decimal;
use crate::policy::hpa::spec::ControllerSpec;
use crate::policy::hpa::types::Nanos;
use crate::policy::{Fault, ResourceRead, Setting};
use crate::promql::Query;

/// The loop of the operator's polls; it is the first, and the HPA's the second.
const POLL: usize = 0;

/// What the operator is called in the decision log.
const OPERATOR: &str = "keda";

/// KEDA: a ScaledObject, or the HTTP add-on's HTTPScaledObject, and the HPA it owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KedaSpec {
    /// A file with a ScaledObject or an HTTPScaledObject, in the place of what would be written here; what is written here stays. Relative to the
    /// scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Which object of the file, where it holds several: `NAME` or `KIND/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// `metadata.name` of the object. Default: `scaledobject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `metadata.annotations` of the object; those of `autoscaling.keda.sh/` count.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// `spec` of a ScaledObject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaled_object: Option<ScaledObjectSpec>,
    /// `spec` of an HTTPScaledObject, in place of a ScaledObject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_scaled_object: Option<HttpScaledObjectSpec>,
    /// What stands for the queues that triggers name; one that is not here is the gateway's waiting requests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queues: BTreeMap<String, QueueSpec>,
    /// What external scalers answer, by the trigger's `name` or its `scalerAddress`. The HTTP add-on's is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub external: BTreeMap<String, ExternalSpec>,
    /// When the object is created, and so polled for the first time. Default: 0, the start of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<SimDuration>,
    /// Flags of the HPA's controller; they are the cluster's, not the object's.
    #[serde(default)]
    pub controller: ControllerSpec,
}

impl KedaSpec {
    /// Everything that is wrong with it; paths are relative to it.
    pub fn check(&self, setting: &Setting) -> Vec<Fault> {
        Object::read(self, setting).err().unwrap_or_default()
    }

    /// What of a pod's CPU and memory it reads.
    pub fn resources(&self) -> Vec<ResourceRead> {
        let is_paused = Annotations::from_map(&self.annotations).is_ok_and(|own| own.removes_hpa());
        let triggers = self.scaled_object.iter().filter(|_| !is_paused).flat_map(|spec| &spec.triggers);
        let read = |trigger: &TriggerSpec| match trigger.read(0) {
            Ok(Trigger::Resource(own)) => Some(ResourceRead {
                is_memory: own.resource == "memory",
                of_request: matches!(own.target, ResourceTarget::Utilization(_)),
            }),
            _ => None,
        };
        triggers.filter_map(read).collect()
    }
}

/// A running KEDA.
#[derive(Debug)]
pub struct Keda {
    object: ScaledObject,
    paused_replicas: Option<u32>,
    workload: String,
    least: u32,
    most: u32,
    created: SimTime,
    scalers: Scalers,
    interceptor: Option<Interceptor>,
    /// `None` while the object is paused.
    hpa: Option<OwnedHpa>,
    last_active: Option<Nanos>,
    /// The one thing that a paused object still does.
    paused_at: Option<SimTime>,
    data_path: DataPath,
}

impl Keda {
    /// From a spec that nothing is wrong with in this setting.
    pub fn new(spec: &KedaSpec, setting: &Setting) -> Self {
        let object = Object::read(spec, setting).expect("`check` found nothing wrong with it");
        let hpa = OwnedHpa::new(&object, &spec.controller);
        let Object { spec: own, scaled, annotations, scalers, pushed, .. } = object;
        let created = SimTime::ZERO + spec.phase.unwrap_or(SimDuration::ZERO);
        let rules = scaled.rules;
        let sleeps = rules.min_replicas.unwrap_or(0) == 0 || rules.idle_replicas.is_some();
        let interceptor =
            |Pushed { metric, reads, pushes }| Interceptor::new(metric, reads, pushes && sleeps);
        Self {
            paused_replicas: annotations.paused_replicas.map(count),
            workload: own.scale_target_ref.name.clone(),
            least: count(rules.min_replicas.unwrap_or(0)),
            most: count(hpa_max(own.max_replica_count)),
            created,
            interceptor: pushed.filter(|_| !rules.pause.all).map(interceptor),
            scalers: Scalers::new(scalers, scaled.fallback, scaled.modifiers.clone()),
            hpa,
            last_active: None,
            paused_at: rules.pause.all.then_some(created),
            data_path: spec
                .http_scaled_object
                .as_ref()
                .map(HttpScaledObjectSpec::data_path)
                .unwrap_or_default(),
            object: scaled,
        }
    }

    /// Whether the target sleeps: an active trigger would wake it.
    fn is_asleep(&self, view: &View<'_>) -> bool {
        view.spec_replicas == 0
            || (self.object.rules.idle_replicas.is_some() && view.spec_replicas < self.least)
    }

    /// The executor's decision, and what it leaves in the status.
    fn request_scale(&mut self, view: &View<'_>, active: bool, error: bool) -> Decided {
        if let Some(interceptor) = &self.interceptor {
            let told = interceptor.last_message(view.now).map(instant);
            self.last_active = self.last_active.max(told);
        }
        let poll = Poll {
            current: i32::try_from(view.spec_replicas).unwrap_or(i32::MAX),
            active,
            error,
            last_active: self.last_active,
            created: instant(self.created),
            now: instant(view.now),
        };
        let decided = decide(&self.object.rules, &poll);
        if decided.updates_last_active {
            self.last_active = Some(poll.now);
        }
        decided
    }

    fn poll(&mut self, view: &View<'_>) -> Decision {
        let polled = self.scalers.poll(view, self.interceptor.as_mut());
        let (active, error) = self.object.activity(&polled.activity(), polled.composite_active);
        let decided = self.request_scale(view, active, error);
        let mut parts = figures(&polled);
        parts.extend(self.cooling(decided.rule, view));
        decision(view, &decided, parts.join("; "))
    }

    fn hpa_turn(&mut self, view: &View<'_>) -> Option<Decision> {
        let hpa = self.hpa.as_mut()?;
        if !hpa.reads_metrics(view.spec_replicas) {
            return Some(hpa.turn(view, Vec::new(), ""));
        }
        let (answers, reads) = self.scalers.answers(view, self.interceptor.as_mut());
        let has_formula = self.scalers.has_formula();
        let note = |read: &Read| if has_formula { Some(read.text()) } else { read.note() };
        let notes: Vec<String> = reads.iter().filter_map(note).collect();
        Some(hpa.turn(view, answers, &notes.join("; ")))
    }

    /// Since when nothing is active, and how long that must last.
    fn cooling(&self, rule: Rule, view: &View<'_>) -> Option<String> {
        if !matches!(rule, Rule::CoolingDown | Rule::Deactivate) {
            return None;
        }
        let rules = &self.object.rules;
        let (since, wait, what, cooldown) = match self.last_active {
            Some(last) => (last, rules.cooldown, "last active", "cooldown"),
            None => {
                (instant(self.created), rules.initial_cooldown, "never active, created", "initial cooldown")
            }
        };
        let passed = instant(view.now).saturating_sub(since);
        let length = |nanos: Nanos| SimDuration::from_nanos(nanos.max(0).unsigned_abs());
        Some(format!("{what} {} ago, {cooldown} {}", length(passed), length(wait)))
    }
}

/// What a poll found, trigger by trigger.
fn figures(polled: &Polled) -> Vec<String> {
    let mut parts: Vec<String> = polled.reads.iter().map(Read::text).collect();
    if let Some(composite) = &polled.composite {
        parts.push(match (composite, polled.composite_active) {
            (Ok(value), Some(true)) => format!("composite-metric {}, active", decimal(*value)),
            (Ok(value), _) => format!("composite-metric {}, not active", decimal(*value)),
            (Err(error), _) => format!("composite-metric: {error}"),
        });
    }
    if parts.is_empty() {
        parts.push("cpu and memory keep it awake".to_owned());
    }
    parts
}

fn decision(view: &View<'_>, decided: &Decided, detail: String) -> Decision {
    let replicas = decided.replicas.map_or(view.spec_replicas, count);
    let why = Reason::new(decided.rule.as_str(), detail);
    Decision { replicas, spare: 0, path: Path::Direct, why }
}

fn count(replicas: i32) -> u32 {
    u32::try_from(replicas).unwrap_or(0)
}

fn instant(time: SimTime) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

impl Autoscaler for Keda {
    /// None while the object is paused: KEDA stops its loop and deletes the HPA.
    fn loops(&self) -> Vec<Loop> {
        let Some(hpa) = &self.hpa else { return Vec::new() };
        let period = SimDuration::from_nanos(self.object.polling_interval.unsigned_abs());
        let phase = Some(self.created.since(SimTime::ZERO));
        vec![Loop { name: OPERATOR, period, phase }, hpa.control_loop()]
    }

    fn decide(&mut self, which: usize, view: &View<'_>) -> Option<Decision> {
        // A read of the interceptors that falls on this instant comes first.
        let asleep = self.is_asleep(view);
        if let Some(interceptor) = &mut self.interceptor {
            interceptor.catch_up(view, asleep);
        }
        if which == POLL { Some(self.poll(view)) } else { self.hpa_turn(view) }
    }

    /// As a Deployment comes whose manifest says nothing of replicas, and as many as the minimum. KEDA itself
    /// leaves the replicas there are; without any activity it takes them away at its second poll.
    fn initial(&self) -> (u32, u32) {
        (self.paused_replicas.unwrap_or(self.least.max(1)), 0)
    }

    fn maximum(&self) -> Option<u32> {
        match &self.hpa {
            Some(_) => Some(self.most),
            None => self.paused_replicas,
        }
    }

    fn queries(&self) -> Vec<&Query> {
        self.scalers.queries().collect()
    }

    fn reads_usage(&self) -> bool {
        self.hpa.as_ref().is_some_and(|hpa| !hpa.resources().is_empty())
    }

    fn workload(&self) -> Option<&str> {
        Some(&self.workload)
    }

    fn data_path(&self) -> DataPath {
        self.data_path.clone()
    }

    fn timer(&self) -> Option<SimTime> {
        let interceptor = self.interceptor.as_ref().and_then(Interceptor::timer);
        [self.paused_at, interceptor].into_iter().flatten().min()
    }

    fn timed(&mut self, view: &View<'_>) -> Option<(&'static str, Decision)> {
        if self.paused_at.take().is_some() {
            let replicas = self.paused_replicas.unwrap_or(view.spec_replicas);
            let detail = match self.paused_replicas {
                Some(replicas) => format!("paused at {replicas} replicas; no polls, no HPA"),
                None => "paused; no polls, no HPA".to_owned(),
            };
            let why = Reason::new(Rule::Paused.as_str(), detail);
            return Some((OPERATOR, Decision { replicas, spare: 0, path: Path::Direct, why }));
        }
        let asleep = self.is_asleep(view);
        let interceptor = self.interceptor.as_mut()?;
        interceptor.catch_up(view, asleep);
        if !interceptor.wakes(view.now) || !asleep {
            return None;
        }
        let value = interceptor.value(view);
        let decided = self.request_scale(view, true, false);
        let detail = format!("pushed: {value} at the interceptors, active");
        Some((OPERATOR, decision(view, &decided, detail)))
    }

    fn request_held(&mut self, now: SimTime) {
        if let Some(interceptor) = &mut self.interceptor {
            interceptor.held(now);
        }
    }
}

#[cfg(test)]
#[path = "autoscaler_tests.rs"]
mod tests;
