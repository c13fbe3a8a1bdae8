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
    /// `ensureEvenDistributionOfPartitions`: as many replicas as divide the partitions evenly.
    pub even_distribution: bool,
}

impl KafkaRules {
    /// Whether the number of partitions makes a difference.
    pub fn reads_partitions(&self) -> bool {
        !self.allow_idle_consumers || self.limit_to_partitions_with_lag || self.even_distribution
    }
}

/// The lag of a consumer group over the partitions of a topic, messages. Unless idle consumers are
/// allowed, it asks for no more replicas than there are partitions to read. Upstream's test divides
/// whole numbers: less than one threshold beyond the bound passes it.
pub fn kafka_lag(lags: &[i64], rules: KafkaRules) -> i64 {
    let mut total = lags.iter().fold(0i64, |sum, lag| sum.saturating_add(*lag));
    if !rules.reads_partitions() {
        return total;
    }
    let (threshold, partitions) = (rules.lag_threshold.max(1), lags.len() as i64);
    if rules.even_distribution {
        let divides = |count: &i64| partitions % count == 0 && count.saturating_mul(threshold) >= total;
        let consumers = (1..=partitions).find(divides).unwrap_or(partitions);
        total = consumers.saturating_mul(threshold);
    }
    let bound = if rules.limit_to_partitions_with_lag {
        lags.iter().filter(|lag| **lag > 0).count() as i64
    } else {
        partitions
    };
    if total / threshold > bound { bound.saturating_mul(threshold) } else { total }
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
    /// Messages, those handed out included where the trigger counts them.
    pub messages: f64,
    /// Messages published per second.
    pub publish_rate: f64,
    /// Messages taken per second.
    pub deliver_get_rate: f64,
}

impl RabbitQueue {
    /// The trigger's value in a mode, and whether it is active. Where nothing is taken, the modes that divide by
    /// that rate have the activation value itself, and are active.
    pub fn read(self, mode: RabbitMode, activation: f64) -> (f64, bool) {
        let Self { messages, publish_rate, deliver_get_rate } = self;
        let is_stuck = deliver_get_rate <= 0.0;
        match mode {
            RabbitMode::QueueLength => (messages, messages > activation),
            RabbitMode::MessageRate => (publish_rate, publish_rate > activation || messages > activation),
            RabbitMode::DeliverGetRate => (deliver_get_rate, deliver_get_rate > activation),
            RabbitMode::PublishedToDeliveredRatio if publish_rate <= 0.0 => (0.0, 0.0 > activation),
            RabbitMode::PublishedToDeliveredRatio | RabbitMode::ExpectedQueueConsumptionTime if is_stuck => {
                (activation, true)
            }
            RabbitMode::PublishedToDeliveredRatio => {
                let ratio = publish_rate / deliver_get_rate;
                (ratio, ratio > activation)
            }
            RabbitMode::ExpectedQueueConsumptionTime => {
                let time = (publish_rate - deliver_get_rate + messages) / deliver_get_rate;
                (time, time > activation)
            }
        }
    }
}

/// What the redis triggers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisCount {
    /// Elements of a list (`LLEN`).
    List,
    /// Entries of a stream that the group was given and has not acknowledged (`XPENDING`).
    Pending,
    /// Entries of a stream, whoever has read them (`XLEN`).
    Length,
    /// Entries of a stream that the group was not given yet (`XINFO GROUPS`).
    Lag,
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
            even_distribution: false,
        };
        let idle = KafkaRules { allow_idle_consumers: true, ..rules };
        let with_lag = KafkaRules { limit_to_partitions_with_lag: true, ..rules };
        let even = KafkaRules { even_distribution: true, ..rules };
        for (lags, rules, expected) in [
            (&[100, 0, 5][..], rules, 30),
            (&[7, 0, 5], rules, 12),
            // Not yet 40, which is the first that 10 divides more than 3 times.
            (&[30, 4, 5], rules, 39),
            (&[30, 5, 5], rules, 30),
            (&[100, 0, 5], idle, 105),
            (&[100, 0, 5], with_lag, 20),
            (&[], rules, 0),
            (&[11, 0, 0, 0, 0, 0], even, 20),
            (&[31, 0, 0, 0, 0, 0], even, 60),
            (&[999, 0, 0, 0, 0, 0], even, 60),
            (&[0, 0, 0, 0, 0, 0], even, 10),
        ] {
            assert_eq!(kafka_lag(lags, rules), expected, "{lags:?} {rules:?}");
        }
    }

    #[test]
    fn sqs_counts_what_its_flags_say() {
        let queue = SqsQueue { visible: 3, in_flight: 4, delayed: 5 };
        let counted = [(true, false), (false, false), (true, true)].map(|(i, d)| queue.length(i, d));
        assert_eq!(counted, [7, 3, 12]);
    }

    #[test]
    fn rabbitmq_reads_a_length_a_rate_or_a_ratio() {
        let moving = RabbitQueue { messages: 12.0, publish_rate: 6.0, deliver_get_rate: 3.0 };
        let stuck = RabbitQueue { deliver_get_rate: 0.0, ..moving };
        let quiet = RabbitQueue { messages: 12.0, ..RabbitQueue::default() };
        for (name, queue, activation, expected) in [
            ("QueueLength", moving, 0.0, (12.0, true)),
            ("QueueLength", moving, 12.0, (12.0, false)),
            ("MessageRate", moving, 0.0, (6.0, true)),
            ("MessageRate", quiet, 5.0, (0.0, true)),
            ("DeliverGetRate", moving, 5.0, (3.0, false)),
            ("PublishedToDeliveredRatio", moving, 0.0, (2.0, true)),
            ("PublishedToDeliveredRatio", stuck, 1.5, (1.5, true)),
            ("PublishedToDeliveredRatio", quiet, 0.0, (0.0, false)),
            ("ExpectedQueueConsumptionTime", moving, 9.0, (5.0, false)),
            ("ExpectedQueueConsumptionTime", quiet, 2.0, (2.0, true)),
        ] {
            let read = queue.read(RabbitMode::from_name(name).expect(name), activation);
            assert_eq!(read, expected, "{name} {queue:?}");
        }
        assert_eq!(RabbitMode::from_name("queueLength"), None);
    }
}
