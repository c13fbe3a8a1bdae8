//! A KEDA policy's spec as one object that can run, or everything that is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use super::annotations::Annotations;
use super::autoscaler::KedaSpec;
use super::http_add_on::{DEFAULT_TARGET, HttpMetric};
use super::mapping::{ExternalSpec, QueueSpec, Reads};
use super::scalers::Scaler;
use super::sensor::{Count, Rates, Sensor};
use super::spec::ScaledObjectSpec;
use super::triggers::{ExternalTrigger, Source, Trigger};
use super::validate::ScaledObject;
use crate::policy::hpa::spec::HpaSpec;
use crate::policy::hpa::validate::validate;
use crate::policy::{Fault, Setting, closest};

/// What the services of the HTTP add-on's scaler are called, whoever installed it.
const ADD_ON_NAMES: [&str; 3] = ["keda-add-ons-http", "http-add-on", "http-external-scaler"];

/// An object that nothing is wrong with.
#[derive(Debug)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// The ScaledObject's spec: the one given, or the one that the HTTP add-on makes.
    pub spec: ScaledObjectSpec,
    /// The same, read.
    pub scaled: ScaledObject,
    /// Its annotations.
    pub annotations: Annotations,
    /// Its external triggers.
    pub scalers: Vec<Scaler>,
    /// What is counted for a trigger that tells of activity by itself.
    pub pushed: Option<Pushed>,
}

/// What is counted for a scaler that is asked, as the HTTP add-on's interceptors do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pushed {
    /// The metric.
    pub metric: HttpMetric,
    /// Which requests count as in flight.
    pub reads: Reads,
    /// It tells of activity by itself.
    pub pushes: bool,
}

impl Object {
    /// From its spec.
    ///
    /// # Errors
    /// Every fault; paths are relative to the spec.
    pub fn read(own: &KedaSpec, setting: &Setting) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let annotations = Annotations::from_map(&own.annotations).unwrap_or_else(|wrong| {
            let below = |(key, m, h)| (format!("annotations[\"{key}\"]"), m, h);
            faults.extend(wrong.into_iter().map(below));
            Annotations::default()
        });
        let name = own.name.clone().unwrap_or_else(|| "scaledobject".to_owned());
        let prefix = if own.http_scaled_object.is_some() { "httpScaledObject" } else { "scaledObject" };
        let Some(spec) = effective(own, &name, &mut faults) else { return Err(faults) };
        faults.extend(rules_of_hpa(own, &spec, prefix));
        let scaled = match ScaledObject::new(&spec, &annotations) {
            Ok(scaled) => Some(scaled),
            Err(wrong) => {
                faults.extend(wrong.into_iter().map(|(path, m, h)| (format!("{prefix}.{path}"), m, h)));
                None
            }
        };
        let mut wiring = Wiring::new(own, &spec, setting, prefix);
        let scalers = wiring.scalers();
        wiring.unused();
        faults.append(&mut wiring.faults);
        let pushed = wiring.pushed;
        match scaled {
            Some(mut scaled) if faults.is_empty() => {
                // An external scaler tells its target itself: the HPA is derived from what it tells.
                let mut told = scalers.iter().map(|scaler| scaler.trigger.threshold);
                for trigger in &mut scaled.triggers {
                    if let Trigger::External(trigger) = trigger {
                        trigger.threshold = told.next().flatten();
                    }
                }
                Ok(Self { name, spec, scaled, annotations, scalers, pushed })
            }
            _ => Err(faults),
        }
    }
}

/// The ScaledObject's spec, from whichever object is given.
fn effective(own: &KedaSpec, name: &str, faults: &mut Vec<Fault>) -> Option<ScaledObjectSpec> {
    match (&own.scaled_object, &own.http_scaled_object) {
        (Some(spec), None) => Some(spec.clone()),
        (None, Some(http)) => {
            let wrong = http.check();
            let spec = wrong.is_empty().then(|| http.scaled_object(name));
            faults.extend(wrong.into_iter().map(|(path, m, h)| (format!("httpScaledObject.{path}"), m, h)));
            spec
        }
        (Some(_), Some(_)) => {
            let message = "both a scaledObject and an httpScaledObject".to_owned();
            let help = "write one of them: the HTTP add-on makes a ScaledObject of its own".to_owned();
            faults.push(("httpScaledObject".to_owned(), message, help));
            None
        }
        (None, None) => {
            let message = "neither a scaledObject nor an httpScaledObject".to_owned();
            faults.push(("scaledObject".to_owned(), message, "write the `spec` of one of them".to_owned()));
            None
        }
    }
}

/// What is wrong with the behavior and the controller's flags, which are the HPA's.
fn rules_of_hpa(own: &KedaSpec, spec: &ScaledObjectSpec, prefix: &str) -> Vec<Fault> {
    let config = spec.advanced.as_ref().and_then(|own| own.horizontal_pod_autoscaler_config.as_ref());
    let behavior = config.and_then(|own| own.behavior.clone());
    let hpa = HpaSpec::without_metrics(1, 1, behavior, own.controller.clone());
    let placed = |(path, message, help): Fault| {
        if path.starts_with("behavior") {
            let path = format!("{prefix}.advanced.horizontalPodAutoscalerConfig.{path}");
            return Some((path, message, help));
        }
        path.starts_with("controller").then_some((path, message, help))
    };
    validate(&hpa, &Setting::default()).into_iter().filter_map(placed).collect()
}

/// Connects triggers with what they read.
struct Wiring<'a> {
    own: &'a KedaSpec,
    spec: &'a ScaledObjectSpec,
    setting: &'a Setting,
    prefix: &'a str,
    faults: Vec<Fault>,
    queues: BTreeSet<&'a str>,
    externals: BTreeSet<&'a str>,
    pushed: Option<Pushed>,
}

impl<'a> Wiring<'a> {
    fn new(own: &'a KedaSpec, spec: &'a ScaledObjectSpec, setting: &'a Setting, prefix: &'a str) -> Self {
        Self {
            own,
            spec,
            setting,
            prefix,
            faults: Vec::new(),
            queues: BTreeSet::new(),
            externals: BTreeSet::new(),
            pushed: None,
        }
    }

    fn fault(&mut self, path: impl Into<String>, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push((path.into(), message.into(), help.into()));
    }

    /// Every external trigger that can be read; `ScaledObject::new` says what is wrong with the others.
    fn scalers(&mut self) -> Vec<Scaler> {
        let mut scalers = Vec::new();
        for (index, trigger) in self.spec.triggers.iter().enumerate() {
            if let Ok(Trigger::External(trigger)) = trigger.read(index)
                && let Some(scaler) = self.scaler(index, *trigger)
            {
                scalers.push(scaler);
            }
        }
        scalers
    }

    fn scaler(&mut self, index: usize, mut trigger: ExternalTrigger) -> Option<Scaler> {
        let path = format!("{}.triggers[{index}]", self.prefix);
        let sensor = match trigger.source.clone() {
            Source::Prometheus { query, ignore_null_values } => {
                match self.setting.query(&query, &format!("{path}.metadata.query")) {
                    Ok(query) => Sensor::Prometheus { query, ignore_null_values },
                    Err(wrong) => {
                        self.faults.extend(wrong);
                        return None;
                    }
                }
            }
            Source::Cron(cron) => {
                let Some(start_ms) = self.setting.start_ms else {
                    let message = "a cron trigger, and nothing says what time it is at the start";
                    self.fault(path, message, "set `startTime: 2026-03-02T08:00:00Z` in the scenario");
                    return None;
                };
                Sensor::Cron { trigger: cron, start_ms }
            }
            Source::Kafka { queue, rules } => {
                let queue_spec = self.queue(&queue, &[]);
                if rules.reads_partitions() && queue_spec.partitions.is_none() {
                    let message = format!("nothing says how many partitions `{queue}` has");
                    let help =
                        format!("write `queues: {{ {queue}: {{ partitions: 12 }} }}` beside `scaledObject`");
                    self.fault(path, message, help);
                }
                Sensor::Queue { reads: queue_spec.reads, count: Count::Kafka(rules, queue_spec.partitions) }
            }
            Source::RabbitMq { queue, mode, counts_unacknowledged } => {
                let count = Count::Rabbit(mode, counts_unacknowledged, Rates::default());
                Sensor::Queue { reads: self.queue(&queue, &[]).reads, count }
            }
            Source::Sqs { queue, on_in_flight, on_delayed } => {
                let name = queue.rsplit('/').next().unwrap_or_default();
                let reads = self.queue(name, &[&queue]).reads;
                Sensor::Queue { reads, count: Count::Sqs(on_in_flight, on_delayed) }
            }
            Source::Redis { key, count } => {
                Sensor::Queue { reads: self.queue(&key, &[]).reads, count: Count::Redis(count) }
            }
            Source::External { push, address } => {
                let (sensor, target) = self.external(&path, index, push, &address)?;
                trigger.threshold = Some(target);
                sensor
            }
        };
        Some(Scaler::new(trigger, sensor))
    }

    /// What stands for a queue, by its name or another that it goes by.
    fn queue(&mut self, name: &str, others: &[&str]) -> QueueSpec {
        let mut names = std::iter::once(&name).chain(others);
        let found = names.find_map(|name| self.own.queues.get_key_value(*name));
        if let Some((key, queue)) = found {
            self.queues.insert(key);
            return *queue;
        }
        QueueSpec::default()
    }

    /// What answers for an external scaler, and its target.
    fn external(&mut self, path: &str, index: usize, push: bool, address: &str) -> Option<(Sensor, f64)> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let name = self.spec.triggers[index].name.as_deref().unwrap_or(address);
        let mapped = [name, address, host].into_iter().find_map(|key| self.own.external.get_key_value(key));
        let mapped = mapped.map(|(key, spec)| {
            self.externals.insert(key);
            *spec
        });
        let is_add_on = ADD_ON_NAMES.iter().any(|name| host.contains(name));
        let metric = match (&self.own.http_scaled_object, mapped) {
            (Some(http), _) => http.metric(),
            (None, Some(ExternalSpec { target, .. })) => HttpMetric::Concurrency { target },
            (None, None) if is_add_on && !self.names_route(index) => HttpMetric::default(),
            (None, None) => {
                let message = if is_add_on {
                    "the target stands in the InterceptorRoute, which is not given".to_owned()
                } else {
                    format!("nothing says what the external scaler at `{address}` answers")
                };
                let help = format!(
                    "write `external: {{ \"{name}\": {{ reads: inFlight, target: {DEFAULT_TARGET} }} }}` beside \
                     `scaledObject`"
                );
                self.fault(path, message, help);
                return None;
            }
        };
        let reads = mapped.map_or(Reads::InFlight, |spec| spec.reads);
        if is_add_on && reads != Reads::InFlight {
            let message = "the HTTP add-on counts requests in flight and no others";
            self.fault(format!("external[\"{name}\"].reads"), message, "write inFlight");
        }
        let pushed = Pushed { metric, reads, pushes: push };
        if !push && !is_add_on {
            return Some((Sensor::Queue { reads, count: Count::Visible }, metric.target()));
        }
        if self.pushed.is_some_and(|first| first != pushed) {
            let message = "a second scaler that tells of activity by itself, with another metric";
            self.fault(path, message, "keep one of them");
        }
        self.pushed = Some(pushed);
        Some((Sensor::Interceptor, metric.target()))
    }

    fn names_route(&self, index: usize) -> bool {
        self.spec.triggers[index].metadata.contains_key("interceptorRoute")
    }

    /// Queues and external scalers that no trigger names, and numbers that are none.
    fn unused(&mut self) {
        let mut wrong: Vec<Fault> = Vec::new();
        let own = self.own;
        unread("queues", &own.queues, &self.queues, "queue", &mut wrong);
        unread("external", &own.external, &self.externals, "external scaler", &mut wrong);
        for (name, queue) in &own.queues {
            if queue.partitions == Some(0) {
                let path = format!("queues[\"{name}\"].partitions");
                wrong.push((path, "no partition".to_owned(), "write at least 1".to_owned()));
            }
        }
        for (name, external) in &own.external {
            if !(external.target > 0.0 && external.target.is_finite()) {
                let path = format!("external[\"{name}\"].target");
                wrong.push((
                    path,
                    format!("a target of {}", external.target),
                    "write more than 0".to_owned(),
                ));
            }
        }
        self.faults.append(&mut wrong);
    }
}

/// Entries of a map that no trigger reads.
fn unread<T>(
    field: &str,
    given: &BTreeMap<String, T>,
    read: &BTreeSet<&str>,
    what: &str,
    faults: &mut Vec<Fault>,
) {
    for name in given.keys().filter(|name| !read.contains(name.as_str())) {
        let near = closest(name, read.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        let help = near.unwrap_or_else(|| format!("remove it, or name it as the trigger names its {what}"));
        faults.push((format!("{field}[\"{name}\"]"), format!("no trigger reads the {what} `{name}`"), help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(json: Value) -> KedaSpec {
        serde_json::from_value(json).expect("the types are right")
    }

    /// A ScaledObject of these triggers, and what else is written beside it.
    fn with(triggers: &Value, beside: &Value) -> KedaSpec {
        let mut own = json!({"scaledObject": {"scaleTargetRef": {"name": "vllm"}, "triggers": triggers}});
        own.as_object_mut().expect("it is one").extend(beside.as_object().expect("it is one").clone());
        spec(own)
    }

    fn trigger(kind: &str, metadata: &Value) -> Value {
        json!([{"type": kind, "metadata": metadata}])
    }

    fn query(text: &str) -> Value {
        trigger("prometheus", &json!({"serverAddress": "p", "query": text, "threshold": "5"}))
    }

    #[test]
    fn everything_wrong_is_said_at_once_and_in_its_place() {
        let wrong = spec(json!({
            "annotations": {"autoscaling.keda.sh/paused-replicas": "two"},
            "scaledObject": {
                "scaleTargetRef": {"name": "vllm"}, "pollingInterval": 0, "minReplicaCount": 9, "maxReplicaCount": 8,
                "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": -1}}}},
                "triggers": [
                    {"type": "prometheus", "metadata": {"serverAddress": "p", "query": "sum(vllm:num_request_waiting)",
                        "threshold": "5"}},
                    {"type": "cron", "metadata": {"timezone": "Etc/UTC", "start": "0 8 * * *", "end": "0 9 * * *",
                        "desiredReplicas": "3"}},
                    {"type": "kafka", "metadata": {"topic": "jobs", "consumerGroup": "g", "lagThreshold": "0"}},
                    {"type": "external", "metadata": {"scalerAddress": "mine.prod:9090"}},
                    {"type": "prometeus"},
                ],
            },
            "queues": {"job": {"partitions": 3}},
            "external": {"other": {"target": 0}},
            "controller": {"syncPeriod": "0s"},
        }));
        let faults = wrong.check(&Setting::default());
        let paths: Vec<&str> = faults.iter().map(|(path, ..)| path.as_str()).collect();
        let expected = [
            "annotations[\"autoscaling.keda.sh/paused-replicas\"]",
            "scaledObject.advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.stabilizationWindowSeconds",
            "controller.syncPeriod",
            "scaledObject.minReplicaCount",
            "scaledObject.pollingInterval",
            "scaledObject.triggers[2].metadata.lagThreshold",
            "scaledObject.triggers[4].type",
            "scaledObject.triggers[0].metadata.query",
            "scaledObject.triggers[1]",
            "scaledObject.triggers[3]",
            "queues[\"job\"]",
            "external[\"other\"]",
            "external[\"other\"].target",
        ];
        assert_eq!(paths, expected);
        assert!(
            faults.iter().all(|(_, message, help)| !message.is_empty() && !help.is_empty()),
            "{faults:?}"
        );
    }

    #[test]
    fn helps_say_what_to_write() {
        let cron =
            json!({"timezone": "Etc/UTC", "start": "0 8 * * *", "end": "0 9 * * *", "desiredReplicas": "3"});
        let add_on = "keda-add-ons-http-external-scaler.keda:9090";
        for (spec, path, message, help) in [
            (spec(json!({})), "scaledObject", "neither a scaledObject", "`spec` of one"),
            (
                spec(json!({"scaledObject": {"scaleTargetRef": {"name": "a"}, "triggers": []},
                    "httpScaledObject": {"scaleTargetRef": {"name": "a", "service": "a", "port": 1}}})),
                "httpScaledObject",
                "both",
                "one of them",
            ),
            (
                spec(json!({"httpScaledObject": {"scaleTargetRef": {"name": "a", "service": "a"}}})),
                "httpScaledObject.scaleTargetRef",
                "neither `port`",
                "one of them",
            ),
            (
                with(&trigger("cron", &cron), &json!({})),
                "scaledObject.triggers[0]",
                "what time it is",
                "`startTime:",
            ),
            (
                with(&query("sum(rate(vllm:num_requests_waiting))"), &json!({})),
                "scaledObject.triggers[0].metadata.query",
                "column",
                "",
            ),
            (
                with(&trigger("kafka", &json!({"topic": "jobs", "consumerGroup": "g"})), &json!({})),
                "scaledObject.triggers[0]",
                "how many partitions `jobs` has",
                "`queues: { jobs: { partitions: 12 } }`",
            ),
            (
                with(&trigger("redis", &json!({"listName": "jobs"})), &json!({"queues": {"jbos": {}}})),
                "queues[\"jbos\"]",
                "no trigger reads the queue `jbos`",
                "name it as the trigger",
            ),
            (
                with(&trigger("external", &json!({"scalerAddress": "mine.prod:9090"})), &json!({})),
                "scaledObject.triggers[0]",
                "the external scaler at `mine.prod:9090`",
                "`external: { \"mine.prod:9090\": { reads: inFlight, target: 100 } }`",
            ),
            (
                with(
                    &trigger("external-push", &json!({"scalerAddress": add_on, "interceptorRoute": "r"})),
                    &json!({}),
                ),
                "scaledObject.triggers[0]",
                "InterceptorRoute",
                "`external:",
            ),
            (
                with(
                    &trigger("external-push", &json!({"scalerAddress": add_on})),
                    &json!({"external": {add_on: {"reads": "held", "target": 7}}}),
                ),
                "external[\"keda-add-ons-http-external-scaler.keda:9090\"].reads",
                "requests in flight",
                "write inFlight",
            ),
        ] {
            let faults = spec.check(&Setting::default());
            let [(at, found, mend)] = &faults[..] else { panic!("{path}: {faults:?}") };
            assert_eq!(at, path);
            assert!(found.contains(message) && mend.contains(help), "{faults:?}");
        }
    }

    #[test]
    fn external_scalers_are_known_by_name_address_or_host() {
        let address = "mine.prod:9090";
        for key in ["jobs", "mine.prod:9090", "mine.prod"] {
            let mut triggers = trigger("external-push", &json!({"scalerAddress": address}));
            if key == "jobs" {
                triggers[0]["name"] = json!("jobs");
            }
            let own = with(&triggers, &json!({"external": {key: {"reads": "waiting", "target": 7.5}}}));
            let object = Object::read(&own, &Setting::default()).expect(key);
            let metric = HttpMetric::Concurrency { target: 7.5 };
            assert_eq!(object.pushed, Some(Pushed { metric, reads: Reads::Waiting, pushes: true }), "{key}");
            let Trigger::External(trigger) = &object.scaled.triggers[0] else { panic!("it is external") };
            assert_eq!(trigger.threshold, Some(7.5), "the HPA has its target");
        }
    }
}
