//! The `metadata` of a trigger: its settings and their defaults, and everything that is wrong with them.
//!
//! After kedacore/keda `pkg/scalers/*_scaler.go` (8b4f083c).

use std::collections::BTreeMap;

use super::cron::CronTrigger;
use super::queues::{KafkaRules, RabbitMode, RedisCount};
use super::spec::MetricType;
use super::triggers::{ResourceTarget, ResourceTrigger, Source, normalized};
use crate::kernel::Quantity;
use crate::policy::Fault;
use crate::policy::knative::parse::{boolean, number};

/// `queueLength` of a rabbitmq trigger that says nothing of it.
pub const RABBITMQ_QUEUE_LENGTH: f64 = 20.0;

/// What an external trigger's settings say.
pub(super) struct Found {
    pub(super) source: Source,
    pub(super) metric: String,
    pub(super) threshold: Option<f64>,
    pub(super) activation: f64,
}

/// A trigger's settings and what is wrong with them.
pub(super) struct Metadata<'a> {
    pub(super) values: &'a BTreeMap<String, String>,
    pub(super) faults: Vec<Fault>,
}

impl Metadata<'_> {
    fn fault(&mut self, key: &str, message: String, help: &str) {
        self.faults.push((format!("metadata.{key}"), message, help.to_owned()));
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn required(&mut self, key: &str, example: &str) -> String {
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
            self.fault(key, format!("`{key}` is {value}"), "write more than 0: it divides");
        }
        value
    }

    pub(super) fn prometheus(&mut self) -> Found {
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

    pub(super) fn cron(&mut self) -> Option<Found> {
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

    pub(super) fn kafka(&mut self) -> Found {
        let topic = self.text("topic").unwrap_or_default().to_owned();
        let threshold = self.threshold("lagThreshold", Some(10.0));
        let rules = KafkaRules {
            lag_threshold: threshold as i64,
            allow_idle_consumers: self.flag("allowIdleConsumers", false),
            limit_to_partitions_with_lag: self.flag("limitToPartitionsWithLag", false),
            even_distribution: self.flag("ensureEvenDistributionOfPartitions", false),
        };
        if rules.allow_idle_consumers && rules.limit_to_partitions_with_lag {
            let message = "it contradicts `limitToPartitionsWithLag`".to_owned();
            self.fault("allowIdleConsumers", message, "leave one of both out");
        }
        if threshold.fract() != 0.0 {
            self.fault("lagThreshold", format!("`lagThreshold` is {threshold}"), "write a whole number");
        }
        if self.flag("excludePersistentLag", false) {
            let message = "which partitions lag for good is not modelled".to_owned();
            self.fault("excludePersistentLag", message, "leave it out: no simulated message stays behind");
        }
        let group = self.required("consumerGroup", "my-group");
        let (queue, metric) = if topic.is_empty() {
            (group.clone(), format!("kafka-{group}-topics"))
        } else {
            (topic.clone(), format!("kafka-{topic}"))
        };
        Found {
            source: Source::Kafka { queue, rules },
            metric: normalized(&metric),
            threshold: Some(threshold),
            activation: self.number("activationLagThreshold", Some(0.0)),
        }
    }

    pub(super) fn rabbitmq(&mut self) -> Found {
        let queue = self.required("queueName", "requests");
        let (mode, threshold) = self.rabbitmq_mode();
        let without_unacknowledged = self.flag("excludeUnacknowledged", false);
        let over_http = self.rabbitmq_over_http();
        if over_http == Some(false) && (mode != RabbitMode::QueueLength || without_unacknowledged) {
            let message = "over AMQP a queue tells its ready messages and nothing else".to_owned();
            self.fault("protocol", message, "write http, and the management API's host");
        }
        if self.flag("useRegex", false) {
            let message = "a pattern over several queues is not modelled".to_owned();
            self.fault("useRegex", message, "name one queue");
        }
        let metric = normalized(&format!("rabbitmq-{queue}"));
        Found {
            // Where the host is a secret, nothing tells the protocol: AMQP, as in upstream's examples.
            source: Source::RabbitMq {
                queue,
                mode,
                counts_unacknowledged: !without_unacknowledged
                    && over_http.unwrap_or(mode != RabbitMode::QueueLength),
            },
            metric,
            threshold: Some(threshold),
            activation: self.number("activationValue", Some(0.0)),
        }
    }

    /// The mode and its target. `queueLength` is the older way to say both at once; where neither is
    /// written, it is 20 messages.
    fn rabbitmq_mode(&mut self) -> (RabbitMode, f64) {
        if self.text("mode").is_none() && self.text("value").is_none() {
            return (RabbitMode::QueueLength, self.threshold("queueLength", Some(RABBITMQ_QUEUE_LENGTH)));
        }
        if self.text("queueLength").is_some() {
            let message = "it says again what `mode` and `value` say".to_owned();
            self.fault("queueLength", message, "leave it out");
        }
        let name = self.required("mode", "QueueLength");
        let threshold = self.threshold("value", None);
        let mode = RabbitMode::from_name(&name);
        if mode.is_none() && !name.is_empty() {
            self.fault("mode", format!("the mode `{name}` is not known"), "write e.g. QueueLength");
        }
        (mode.unwrap_or_default(), threshold)
    }

    /// Whether the queue is asked for over HTTP; `None` where a secret holds the host that tells it.
    fn rabbitmq_over_http(&mut self) -> Option<bool> {
        let scheme = self.text("host").and_then(|host| host.split_once("://")).map(|(scheme, _)| scheme);
        match self.text("protocol") {
            Some("http") => Some(true),
            Some("amqp") => Some(false),
            None | Some("auto") => scheme.map(|scheme| scheme.starts_with("http")),
            Some(other) => {
                let message = format!("the protocol `{other}` is not known");
                self.fault("protocol", message, "write amqp, http or auto");
                None
            }
        }
    }

    pub(super) fn sqs(&mut self) -> Found {
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

    pub(super) fn redis_list(&mut self) -> Found {
        let key = self.required("listName", "requests");
        let metric = normalized(&format!("redis-{key}"));
        Found {
            source: Source::Redis { key, count: RedisCount::List },
            metric,
            threshold: Some(self.threshold("listLength", Some(5.0))),
            activation: self.number("activationListLength", Some(0.0)),
        }
    }

    /// Without a group the whole stream counts; with one, its lag where a target for that is given.
    pub(super) fn redis_stream(&mut self) -> Found {
        let key = self.required("stream", "requests");
        let metric = normalized(&format!("redis-streams-{key}"));
        let (count, target, default) = match (self.text("consumerGroup"), self.text("lagCount")) {
            (None, _) => (RedisCount::Length, "streamLength", Some(5.0)),
            (Some(_), Some(_)) => (RedisCount::Lag, "lagCount", None),
            (Some(_), None) => (RedisCount::Pending, "pendingEntriesCount", Some(5.0)),
        };
        Found {
            source: Source::Redis { key, count },
            metric,
            threshold: Some(self.threshold(target, default)),
            activation: self.number("activationLagCount", Some(0.0)),
        }
    }

    pub(super) fn resource(
        &mut self,
        kind: &str,
        metric_type: Option<MetricType>,
    ) -> Option<ResourceTrigger> {
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
