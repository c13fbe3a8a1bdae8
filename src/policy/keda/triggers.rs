//! Triggers: their settings, defaults, thresholds and the names of their metrics.
//!
//! After kedacore/keda `pkg/scalers/*_scaler.go` (8b4f083c). What a trigger reads at an instant is
//! `sensor.rs`'s to fetch; `metadata.rs` reads the settings.

use super::cron::CronTrigger;
use super::metadata::{Found, Metadata};
use super::queues::{KafkaRules, RabbitMode, RedisCount};
use super::spec::{MetricType, TriggerSpec};
use crate::kernel::Quantity;
use crate::policy::{Fault, closest};

/// The kinds of triggers that are modelled.
pub const KINDS: [&str; 15] = [
    "prometheus",
    "cron",
    "cpu",
    "memory",
    "kafka",
    "rabbitmq",
    "aws-sqs-queue",
    "redis",
    "redis-cluster",
    "redis-sentinel",
    "redis-streams",
    "redis-cluster-streams",
    "redis-sentinel-streams",
    "external",
    "external-push",
];

/// Every setting of kinds whose settings are few; those that are not modelled stand among them, since they are no slips.
const SETTINGS: [(&str, &[&str]); 4] = [
    (
        "prometheus",
        &[
            "serverAddress",
            "query",
            "queryParameters",
            "threshold",
            "activationThreshold",
            "namespace",
            "customHeaders",
            "ignoreNullValues",
            "unsafeSsl",
            "awsRegion",
            "timeout",
            "identityOwner",
            "authModes",
            // Of older versions, and of authentication, which may stand here in those.
            "metricName",
            "cortexOrgID",
            "username",
            "password",
            "bearerToken",
            "ca",
            "cert",
            "key",
            "customAuthHeader",
            "customAuthValue",
        ],
    ),
    ("cron", &["timezone", "start", "end", "desiredReplicas"]),
    ("cpu", &["value", "type", "containerName", "activationValue"]),
    ("memory", &["value", "type", "containerName", "activationValue"]),
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
        /// `topic`; without one, the group that reads all of its topics.
        queue: String,
        /// How the lag is counted.
        rules: KafkaRules,
    },
    /// A RabbitMQ queue.
    RabbitMq {
        /// `queueName`.
        queue: String,
        /// `mode`.
        mode: RabbitMode,
        /// Messages that are handed out count, too: over HTTP, unless `excludeUnacknowledged`.
        counts_unacknowledged: bool,
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
        /// What of it is counted.
        count: RedisCount,
    },
    /// A scaler of one's own, such as the HTTP add-on's.
    External {
        /// It tells of activity by itself (`external-push`).
        push: bool,
        /// `scalerAddress`.
        address: String,
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
    /// The setting that was meant by a name that is none of this kind's; `None` of one that is, or is like none.
    pub fn meant(&self, name: &str) -> Option<&'static str> {
        let (_, known) = SETTINGS.iter().find(|(kind, _)| *kind == self.kind)?;
        // What ends so is taken from the target's environment.
        if known.contains(&name) || name.ends_with("FromEnv") {
            return None;
        }
        closest(name, known.iter().copied())
    }

    /// Reads the trigger at an index of its object.
    ///
    /// # Errors
    /// Every fault, with its path below the trigger.
    pub fn read(&self, index: usize) -> Result<Trigger, Vec<Fault>> {
        let mut metadata = Metadata { values: &self.metadata, faults: Vec::new() };
        if self.is_resource() {
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
            "redis" | "redis-cluster" | "redis-sentinel" => Some(metadata.redis_list()),
            "redis-streams" | "redis-cluster-streams" | "redis-sentinel-streams" => {
                Some(metadata.redis_stream())
            }
            "external" | "external-push" => Some(Found {
                source: Source::External {
                    push: self.kind == "external-push",
                    address: metadata.required("scalerAddress", "my-scaler.my-namespace:9090"),
                },
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
            ("rabbitmq", json!({"queueName": "q", "queueLength": "7"}), "s2-rabbitmq-q", Some(7.0), 0.0),
            ("rabbitmq", json!({"queueName": "q"}), "s2-rabbitmq-q", Some(20.0), 0.0),
            ("aws-sqs-queue", json!({"queueURL": "https://h/1/q"}), "s2-aws-sqs-q", Some(5.0), 0.0),
            ("redis", json!({"listName": "l", "listLength": "3"}), "s2-redis-l", Some(3.0), 0.0),
            ("redis-streams", json!({"stream": "s"}), "s2-redis-streams-s", Some(5.0), 0.0),
            (
                "redis-cluster-streams",
                json!({"stream": "s", "consumerGroup": "g", "lagCount": "9", "activationLagCount": "2"}),
                "s2-redis-streams-s",
                Some(9.0),
                2.0,
            ),
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
    fn slips_in_names_are_told_from_settings_that_are_not_modelled() {
        let meant = |kind: &str, name: &str| {
            let spec: TriggerSpec = serde_json::from_value(json!({"type": kind})).expect("it is one");
            spec.meant(name)
        };
        assert_eq!(meant("prometheus", "ignoreNulValues"), Some("ignoreNullValues"));
        assert_eq!(meant("prometheus", "activationTreshold"), Some("activationThreshold"));
        assert_eq!(meant("cron", "desiredReplica"), Some("desiredReplicas"));
        assert_eq!(meant("cron", "timeZone"), Some("timezone"));
        for (kind, name) in [
            ("prometheus", "authModes"),
            ("prometheus", "threshold"),
            ("prometheus", "serverAddressFromEnv"),
            ("prometheus", "somethingNew"),
            ("kafka", "bootstrapServer"),
        ] {
            assert_eq!(meant(kind, name), None, "{kind} {name}");
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
            ("rabbitmq", json!({"queueName": "q", "value": "7"}), "metadata.mode"),
            (
                "rabbitmq",
                json!({"queueName": "q", "mode": "QueueLength", "value": "7", "queueLength": "7"}),
                "metadata.queueLength",
            ),
            (
                "rabbitmq",
                json!({"queueName": "q", "mode": "MessageRate", "value": "7", "host": "amqp://h"}),
                "metadata.protocol",
            ),
            ("rabbitmq", json!({"queueName": "q", "protocol": "mqtt"}), "metadata.protocol"),
            ("rabbitmq", json!({"queueName": "q", "useRegex": "true"}), "metadata.useRegex"),
            ("kafka", json!({"topic": "t"}), "metadata.consumerGroup"),
            ("kafka", json!({"consumerGroup": "g", "lagThreshold": "2.5"}), "metadata.lagThreshold"),
            (
                "kafka",
                json!({"consumerGroup": "g", "excludePersistentLag": "1"}),
                "metadata.excludePersistentLag",
            ),
            ("external", json!({}), "metadata.scalerAddress"),
            ("cpu", json!({"value": "60%"}), "metadata.value"),
            ("cpu", json!({}), "metadata.value"),
            ("gcp-pubsub", json!({}), "type"),
        ] {
            assert_eq!(read(kind, &metadata), Err(vec![path.to_owned()]), "{kind} {metadata}");
        }
    }
}
