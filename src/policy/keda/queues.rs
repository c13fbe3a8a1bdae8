//! Queue-length triggers: what each counts.
//!
//! After kedacore/keda `pkg/scalers/{kafka,aws_sqs_queue,rabbitmq,redis}_scaler.go` (8b4f083c).

/// Settings of the kafka trigger that change what it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KafkaRules {
    /// `lagThreshold`, messages per replica.
    pub lag_threshold: i64,
    /// `allowIdleConsumers`: more replicas than partitions may be wanted.
    pub allow_idle_consumers: bool,
    /// `limitToPartitionsWithLag`: no more replicas than partitions with any lag.
    pub limit_to_partitions_with_lag: bool,
}

/// The lag of a consumer group over the partitions of a topic, messages. Unless idle consumers are
/// allowed, it asks for no more replicas than there are partitions to read.
pub fn kafka_lag(lags: &[i64], rules: KafkaRules) -> i64 {
    let total = lags.iter().fold(0i64, |sum, lag| sum.saturating_add(*lag));
    let partitions = if rules.limit_to_partitions_with_lag {
        lags.iter().filter(|lag| **lag > 0).count()
    } else {
        lags.len()
    };
    if rules.allow_idle_consumers && !rules.limit_to_partitions_with_lag {
        return total;
    }
    total.min(rules.lag_threshold.saturating_mul(partitions as i64))
}

/// An SQS queue's attributes, messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SqsQueue {
    /// `ApproximateNumberOfMessages`.
    pub visible: i64,
    /// `ApproximateNumberOfMessagesNotVisible`: handed out and not deleted.
    pub in_flight: i64,
    /// `ApproximateNumberOfMessagesDelayed`.
    pub delayed: i64,
}

impl SqsQueue {
    /// What the aws-sqs-queue trigger counts; by default `in_flight` and not `delayed`.
    pub fn length(self, scale_on_in_flight: bool, scale_on_delayed: bool) -> i64 {
        let in_flight = if scale_on_in_flight { self.in_flight } else { 0 };
        let delayed = if scale_on_delayed { self.delayed } else { 0 };
        self.visible.saturating_add(in_flight).saturating_add(delayed)
    }
}

/// What the rabbitmq trigger reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RabbitMode {
    /// `QueueLength`: messages.
    #[default]
    QueueLength,
    /// `MessageRate`: messages published per second.
    MessageRate,
    /// `DeliverGetRate`: messages taken per second.
    DeliverGetRate,
    /// `PublishedToDeliveredRatio`: of both rates.
    PublishedToDeliveredRatio,
    /// `ExpectedQueueConsumptionTime`: seconds to drain at the rate of taking.
    ExpectedQueueConsumptionTime,
}

impl RabbitMode {
    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "QueueLength" => Self::QueueLength,
            "MessageRate" => Self::MessageRate,
            "DeliverGetRate" => Self::DeliverGetRate,
            "PublishedToDeliveredRatio" => Self::PublishedToDeliveredRatio,
            "ExpectedQueueConsumptionTime" => Self::ExpectedQueueConsumptionTime,
            _ => return None,
        })
    }
}

/// A RabbitMQ queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RabbitQueue {
    /// Messages, those handed out included unless `excludeUnacknowledged`.
    pub messages: f64,
    /// Messages published per second.
    pub publish_rate: f64,
    /// Messages taken per second.
    pub deliver_get_rate: f64,
}

impl RabbitQueue {
    /// What the trigger reads in a mode; ratios to a rate of 0 are 0 where nothing is to be done.
    pub fn value(self, mode: RabbitMode) -> f64 {
        let ratio = |over: f64| {
            if self.deliver_get_rate > 0.0 { over / self.deliver_get_rate } else { over }
        };
        match mode {
            RabbitMode::QueueLength => self.messages,
            RabbitMode::MessageRate => self.publish_rate,
            RabbitMode::DeliverGetRate => self.deliver_get_rate,
            RabbitMode::PublishedToDeliveredRatio => ratio(self.publish_rate),
            RabbitMode::ExpectedQueueConsumptionTime => ratio(self.messages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_asks_for_no_more_replicas_than_partitions() {
        let rules = KafkaRules {
            lag_threshold: 10,
            allow_idle_consumers: false,
            limit_to_partitions_with_lag: false,
        };
        assert_eq!(kafka_lag(&[100, 0, 5], rules), 30);
        assert_eq!(kafka_lag(&[7, 0, 5], rules), 12);
        assert_eq!(kafka_lag(&[100, 0, 5], KafkaRules { allow_idle_consumers: true, ..rules }), 105);
        assert_eq!(kafka_lag(&[100, 0, 5], KafkaRules { limit_to_partitions_with_lag: true, ..rules }), 20);
        assert_eq!(kafka_lag(&[], rules), 0);
    }

    #[test]
    fn queues_count_what_their_flags_say() {
        let queue = SqsQueue { visible: 3, in_flight: 4, delayed: 5 };
        let counted = [(true, false), (false, false), (true, true)].map(|(i, d)| queue.length(i, d));
        assert_eq!(counted, [7, 3, 12]);
        let queue = RabbitQueue { messages: 12.0, publish_rate: 6.0, deliver_get_rate: 3.0 };
        let modes = [
            ("QueueLength", 12.0),
            ("MessageRate", 6.0),
            ("DeliverGetRate", 3.0),
            ("PublishedToDeliveredRatio", 2.0),
            ("ExpectedQueueConsumptionTime", 4.0),
        ];
        for (name, value) in modes {
            assert!((queue.value(RabbitMode::from_name(name).expect(name)) - value).abs() < 1e-12, "{name}");
        }
        assert_eq!(RabbitMode::from_name("queueLength"), None);
    }
}
