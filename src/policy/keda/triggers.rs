//! Triggers: their settings, defaults, thresholds and the names of their metrics.
//!
//! After kedacore/keda `pkg/scalers/*_scaler.go` (8b4f083c). What a trigger reads at an instant is
//! the simulation's to fetch; `prometheus.rs`, `cron.rs` and `queues.rs` say what it makes of it.

use std::collections::BTreeMap;

use super::cron::CronTrigger;
use super::queues::{KafkaRules, RabbitMode};
use super::spec::{MetricType, TriggerSpec};
use crate::kernel::Quantity;
use crate::policy::knative::parse::{boolean, number};
use crate::policy::{Fault, closest};

/// The kinds of triggers that are modelled.
pub const KINDS: [&str; 11] = [
    "prometheus",
    "cron",
    "cpu",
    "memory",
    "kafka",
    "rabbitmq",
    "aws-sqs-queue",
    "redis",
    "redis-streams",
    "external",
    "external-push",
];

/// What a trigger reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// An instant query.
    Prometheus {
        /// `query`.
        query: String,
        /// `ignoreNullValues`.
        ignore_null_values: bool,
    },
    /// The clock.
    Cron(CronTrigger),
    /// The lag of a consumer group.
    Kafka {
        /// `topic`.
        topic: String,
        /// How the lag is counted.
        rules: KafkaRules,
    },
    /// A RabbitMQ queue.
    RabbitMq {
        /// `queueName`.
        queue: String,
        /// `mode`.
        mode: RabbitMode,
    },
    /// An SQS queue.
    Sqs {
        /// `queueURL`.
        queue: String,
        /// `scaleOnInFlight`.
        on_in_flight: bool,
        /// `scaleOnDelayed`.
        on_delayed: bool,
    },
    /// A Redis list or stream.
    Redis {
        /// `listName` or `stream`.
        key: String,
    },
    /// A scaler of one's own, such as the HTTP add-on's.
    External {
        /// It tells of activity by itself (`external-push`).
        push: bool,
    },
}

/// A trigger that KEDA's metrics server answers for.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalTrigger {
    /// What it reads.
    pub source: Source,
    /// Name of its metric in the HPA, `s<index>-...`.
    pub metric_name: String,
    /// Its target; `None` of an external scaler, which tells it itself.
    pub threshold: Option<f64>,
    /// What its value must be above to count as active.
    pub activation: f64,
    /// The target is of the whole (`Value`) and not per replica.
    pub of_the_whole: bool,
    /// The HPA reads the value of the last poll.
    pub cached: bool,
    /// Its name in the formula.
    pub name: Option<String>,
}

/// A trigger that becomes a resource metric of the HPA.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceTrigger {
    /// `cpu` or `memory`.
    pub resource: String,
    /// `containerName`.
    pub container: Option<String>,
    /// Its target.
    pub target: ResourceTarget,
}

/// The target of a resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ResourceTarget {
    /// Percent of the request.
    Utilization(i32),
    /// A quantity per replica.
    AverageValue(Quantity),
}

/// A trigger, read.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// Of KEDA's metrics server.
    External(Box<ExternalTrigger>),
    /// Of the resource metrics.
    Resource(ResourceTrigger),
}

/// A name as KEDA writes it into a metric's name.
pub fn normalized(name: &str) -> String {
    name.replace(['/', '.', ':', '%', '(', ')'], "-")
}

impl TriggerSpec {
    /// Reads the trigger at an index of its object.
    ///
    /// # Errors
    /// Every fault, with its path below the trigger.
    pub fn read(&self, index: usize) -> Result<Trigger, Vec<Fault>> {
        let mut metadata = Metadata { values: &self.metadata, faults: Vec::new() };
        if matches!(self.kind.as_str(), "cpu" | "memory") {
            let trigger = metadata.resource(&self.kind, self.metric_type);
            return finish(trigger.map(Trigger::Resource), metadata.faults);
        }
        if self.metric_type == Some(MetricType::Utilization) {
            let message = "Utilization is for cpu and memory".to_owned();
            metadata.faults.push((
                "metricType".to_owned(),
                message,
                "write AverageValue or Value".to_owned(),
            ));
        }
        let found = match self.kind.as_str() {
            "prometheus" => Some(metadata.prometheus()),
            "cron" => metadata.cron(),
            "kafka" => Some(metadata.kafka()),
            "rabbitmq" => Some(metadata.rabbitmq()),
            "aws-sqs-queue" => Some(metadata.sqs()),
            "redis" | "redis-streams" => Some(metadata.redis(self.kind == "redis-streams")),
            "external" | "external-push" => Some(Found {
                source: Source::External { push: self.kind == "external-push" },
                metric: self.kind.clone(),
                threshold: None,
                activation: 0.0,
            }),
            other => {
                let near = closest(other, KINDS.into_iter());
                let help =
                    near.map_or(format!("write one of {}", KINDS.join(", ")), |k| format!("write {k}?"));
                metadata.faults.push((
                    "type".to_owned(),
                    format!("the trigger `{other}` is not modelled"),
                    help,
                ));
                None
            }
        };
        let trigger = found.map(|found| {
            Trigger::External(Box::new(ExternalTrigger {
                source: found.source,
                metric_name: format!("s{index}-{}", found.metric),
                threshold: found.threshold,
                activation: found.activation,
                of_the_whole: self.metric_type == Some(MetricType::Value),
                cached: self.use_cached_metrics,
                name: self.name.clone(),
            }))
        });
        finish(trigger, metadata.faults)
    }
}

fn finish(trigger: Option<Trigger>, faults: Vec<Fault>) -> Result<Trigger, Vec<Fault>> {
    match trigger {
        Some(trigger) if faults.is_empty() => Ok(trigger),
        _ => Err(faults),
    }
}

/// What an external trigger's settings say.
struct Found {
    source: Source,
    metric: String,
    threshold: Option<f64>,
    activation: f64,
}

/// A trigger's settings and what is wrong with them.
struct Metadata<'a> {
    values: &'a BTreeMap<String, String>,
    faults: Vec<Fault>,
}

impl Metadata<'_> {
    fn fault(&mut self, key: &str, message: String, help: &str) {
        self.faults.push((format!("metadata.{key}"), message, help.to_owned()));
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn required(&mut self, key: &str, example: &str) -> String {
        if let Some(text) = self.text(key) {
            return text.to_owned();
        }
        self.fault(key, format!("`{key}` is missing"), &format!("write e.g. {example}"));
        String::new()
    }

    fn flag(&mut self, key: &str, default: bool) -> bool {
        match self.text(key).map(boolean) {
            Some(Ok(value)) => value,
            None => default,
            Some(Err(message)) => {
                self.fault(key, message, "write \"true\" or \"false\"");
                default
            }
        }
    }

    /// A number; without a default it is required.
    fn number(&mut self, key: &str, default: Option<f64>) -> f64 {
        match (self.text(key).map(number), default) {
            (Some(Ok(value)), _) => value,
            (Some(Err(message)), _) => {
                self.fault(key, message, "write a number in quotes, e.g. \"5\"");
                default.unwrap_or(1.0)
            }
            (None, Some(default)) => default,
            (None, None) => {
                self.required(key, "\"5\"");
                1.0
            }
        }
    }

    /// A threshold, which divides: it must be above 0.
    fn threshold(&mut self, key: &str, default: Option<f64>) -> f64 {
        let value = self.number(key, default);
        if value <= 0.0 {
            self.fault(key, format!("a threshold of {value}"), "write more than 0");
        }
        value
    }

    fn prometheus(&mut self) -> Found {
        self.required("serverAddress", "http://prometheus:9090");
        let query = self.required("query", "sum(vllm:num_requests_waiting)");
        let ignore_null_values = self.flag("ignoreNullValues", true);
        Found {
            source: Source::Prometheus { query, ignore_null_values },
            metric: "prometheus".to_owned(),
            threshold: Some(self.threshold("threshold", None)),
            activation: self.number("activationThreshold", Some(0.0)),
        }
    }

    fn cron(&mut self) -> Option<Found> {
        match CronTrigger::from_metadata(self.values) {
            Ok(cron) => {
                let metric = cron.metric_name.clone();
                Some(Found { source: Source::Cron(cron), metric, threshold: Some(1.0), activation: 0.0 })
            }
            Err(faults) => {
                let below = faults.into_iter().map(|(path, m, h)| (format!("metadata.{path}"), m, h));
                self.faults.extend(below);
                None
            }
        }
    }

    fn kafka(&mut self) -> Found {
        let topic = self.text("topic").unwrap_or_default().to_owned();
        let threshold = self.threshold("lagThreshold", Some(10.0));
        let rules = KafkaRules {
            lag_threshold: threshold as i64,
            allow_idle_consumers: self.flag("allowIdleConsumers", false),
            limit_to_partitions_with_lag: self.flag("limitToPartitionsWithLag", false),
        };
        if rules.allow_idle_consumers && rules.limit_to_partitions_with_lag {
            let message = "it contradicts `limitToPartitionsWithLag`".to_owned();
            self.fault("allowIdleConsumers", message, "leave one of both out");
        }
        let group = self.required("consumerGroup", "my-group");
        let metric =
            if topic.is_empty() { format!("kafka-{group}-topics") } else { format!("kafka-{topic}") };
        Found {
            source: Source::Kafka { topic, rules },
            metric: normalized(&metric),
            threshold: Some(threshold),
            activation: self.number("activationLagThreshold", Some(0.0)),
        }
    }

    fn rabbitmq(&mut self) -> Found {
        let queue = self.required("queueName", "requests");
        // `queueLength` is the older way to say mode and value at once.
        let (name, threshold) = match (self.text("mode"), self.text("queueLength").is_some()) {
            (Some(mode), _) => (mode.to_owned(), self.threshold("value", None)),
            (None, true) => ("QueueLength".to_owned(), self.threshold("queueLength", None)),
            (None, false) => (self.required("mode", "QueueLength"), 1.0),
        };
        let mode = RabbitMode::from_name(&name).unwrap_or_else(|| {
            self.fault("mode", format!("the mode `{name}` is not known"), "write e.g. QueueLength");
            RabbitMode::default()
        });
        let metric = normalized(&format!("rabbitmq-{queue}"));
        Found {
            source: Source::RabbitMq { queue, mode },
            metric,
            threshold: Some(threshold),
            activation: self.number("activationValue", Some(0.0)),
        }
    }

    fn sqs(&mut self) -> Found {
        let queue = self.required("queueURL", "https://sqs.eu-west-1.amazonaws.com/0123/requests");
        let name = queue.rsplit('/').next().unwrap_or_default();
        let metric = normalized(&format!("aws-sqs-{name}"));
        Found {
            source: Source::Sqs {
                queue,
                on_in_flight: self.flag("scaleOnInFlight", true),
                on_delayed: self.flag("scaleOnDelayed", false),
            },
            metric,
            threshold: Some(self.threshold("queueLength", Some(5.0))),
            activation: self.number("activationQueueLength", Some(0.0)),
        }
    }

    fn redis(&mut self, stream: bool) -> Found {
        let (name, length, activation, default) = if stream {
            ("stream", "pendingEntriesCount", "activationLagCount", 5.0)
        } else {
            ("listName", "listLength", "activationListLength", 5.0)
        };
        let key = self.required(name, "requests");
        let metric = normalized(&format!("redis-{}{key}", if stream { "streams-" } else { "" }));
        Found {
            source: Source::Redis { key },
            metric,
            threshold: Some(self.threshold(length, Some(default))),
            activation: self.number(activation, Some(0.0)),
        }
    }

    fn resource(&mut self, kind: &str, metric_type: Option<MetricType>) -> Option<ResourceTrigger> {
        let value = self.required("value", "\"60\"");
        if value.is_empty() {
            return None;
        }
        let target = match metric_type.unwrap_or(MetricType::Utilization) {
            MetricType::Utilization => match value.parse::<i32>() {
                Ok(percent) if percent > 0 => ResourceTarget::Utilization(percent),
                _ => {
                    self.fault("value", format!("`{value}` is not a percentage"), "write e.g. \"60\"");
                    return None;
                }
            },
            MetricType::AverageValue => match value.parse::<Quantity>() {
                Ok(quantity) => ResourceTarget::AverageValue(quantity),
                Err(error) => {
                    self.fault("value", error.to_string(), "write e.g. \"500m\"");
                    return None;
                }
            },
            MetricType::Value => {
                let message = "Value is not for cpu and memory".to_owned();
                let help = "write Utilization or AverageValue".to_owned();
                self.faults.push(("metricType".to_owned(), message, help));
                return None;
            }
        };
        let container = self.text("containerName").map(str::to_owned);
        Some(ResourceTrigger { resource: kind.to_owned(), container, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(kind: &str, metadata: &Value) -> Result<Trigger, Vec<String>> {
        let spec = json!({"type": kind, "metadata": metadata});
        let spec: TriggerSpec = serde_json::from_value(spec).expect("the types are right");
        spec.read(2).map_err(|faults| faults.into_iter().map(|(path, ..)| path).collect())
    }

    #[test]
    fn triggers_have_upstreams_names_and_defaults() {
        for (kind, metadata, name, threshold, activation) in [
            (
                "prometheus",
                json!({"serverAddress": "s", "query": "q", "threshold": "2.5", "activationThreshold": "1"}),
                "s2-prometheus",
                Some(2.5),
                1.0,
            ),
            (
                "cron",
                json!({"timezone": "Etc/UTC", "start": "0 */2 * * *", "end": "0 1-23/2 * * *", "desiredReplicas": "10"}),
                "s2-cron-Etc-UTC-0xSl2xxx-01-23Sl2xxx",
                Some(1.0),
                0.0,
            ),
            ("kafka", json!({"topic": "a.b", "consumerGroup": "g"}), "s2-kafka-a-b", Some(10.0), 0.0),
            (
                "rabbitmq",
                json!({"queueName": "q", "mode": "MessageRate", "value": "7"}),
                "s2-rabbitmq-q",
                Some(7.0),
                0.0,
            ),
            ("rabbitmq", json!({"queueName": "q", "queueLength": "20"}), "s2-rabbitmq-q", Some(20.0), 0.0),
            ("aws-sqs-queue", json!({"queueURL": "https://h/1/q"}), "s2-aws-sqs-q", Some(5.0), 0.0),
            ("redis", json!({"listName": "l", "listLength": "3"}), "s2-redis-l", Some(3.0), 0.0),
            ("external-push", json!({"scalerAddress": "a:1"}), "s2-external-push", None, 0.0),
        ] {
            let Ok(Trigger::External(own)) = read(kind, &metadata) else { panic!("{kind}") };
            assert_eq!(
                (own.metric_name.as_str(), own.threshold, own.activation),
                (name, threshold, activation)
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (kind, metadata, path) in [
            ("prometheus", json!({"serverAddress": "s", "query": "q"}), "metadata.threshold"),
            (
                "prometheus",
                json!({"serverAddress": "s", "query": "q", "threshold": "0"}),
                "metadata.threshold",
            ),
            ("prometheus", json!({"serverAddress": "s", "threshold": "1"}), "metadata.query"),
            (
                "prometheus",
                json!({"serverAddress": "s", "query": "q", "threshold": "1", "ignoreNullValues": "maybe"}),
                "metadata.ignoreNullValues",
            ),
            (
                "cron",
                json!({"timezone": "Etc/UTC", "start": "0 8 * * *", "end": "0 9 * * *"}),
                "metadata.desiredReplicas",
            ),
            ("rabbitmq", json!({"queueName": "q", "mode": "Length", "value": "7"}), "metadata.mode"),
            ("cpu", json!({"value": "60%"}), "metadata.value"),
            ("cpu", json!({}), "metadata.value"),
            ("gcp-pubsub", json!({}), "type"),
        ] {
            assert_eq!(read(kind, &metadata), Err(vec![path.to_owned()]), "{kind} {metadata}");
        }
    }
}
