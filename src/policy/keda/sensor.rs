//! What a trigger reads at an instant: a query's answer, the clock, a queue, the interceptors.

use super::cron::CronTrigger;
use super::interceptor::Interceptor;
use super::mapping::{Messages, Reads};
use super::prometheus::{Answer, value};
use super::quantity::is_active;
use super::queues::{KafkaRules, RabbitMode, RabbitQueue, RedisCount, SqsQueue, kafka_lag};
use crate::kernel::SimTime;
use crate::policy::api::View;
use crate::promql::Query;

/// What a trigger reads, ready to be read.
#[derive(Clone, Debug)]
pub enum Sensor {
    /// A query's answer.
    Prometheus {
        /// The query.
        query: Query,
        /// `ignoreNullValues`.
        ignore_null_values: bool,
    },
    /// The clock.
    Cron {
        /// The window.
        trigger: CronTrigger,
        /// Unix time at the start, ms.
        start_ms: i64,
    },
    /// A queue.
    Queue {
        /// Which requests are its messages.
        reads: Reads,
        /// What is counted of them.
        count: Count,
    },
    /// The HTTP add-on.
    Interceptor,
}

/// What is counted of a queue's messages.
#[derive(Clone, Debug)]
pub enum Count {
    /// Those that lie in it.
    Visible,
    /// The lag of a consumer group, over so many partitions; `None` where they make no difference.
    Kafka(KafkaRules, Option<u32>),
    /// A RabbitMQ queue, those handed out counted or not.
    Rabbit(RabbitMode, bool, Rates),
    /// An SQS queue: whether those in flight count, and those delayed.
    Sqs(bool, bool),
    /// A Redis list or stream.
    Redis(RedisCount),
}

/// Message rates between two reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    at: SimTime,
    published: u64,
    taken: u64,
    /// (published, taken) per second.
    per_second: (f64, f64),
}

/// What a trigger found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The value.
    pub value: f64,
    /// Whether it is active.
    pub is_active: bool,
}

impl Sensor {
    /// Reads it. `activation` is what the value must be above to count as active.
    ///
    /// # Errors
    /// What upstream's scaler would return.
    pub fn read(
        &mut self,
        view: &View<'_>,
        interceptor: Option<&mut Interceptor>,
        activation: f64,
    ) -> Result<Sample, String> {
        let above = |value: f64| Sample { value, is_active: is_active(value, activation) };
        match self {
            Self::Prometheus { query, ignore_null_values } => {
                let answer = Answer::from(view.prometheus.answer_of_second(query));
                value(answer, *ignore_null_values).map(above).map_err(|refusal| refusal.to_string())
            }
            Self::Cron { trigger, start_ms } => {
                let passed = i64::try_from(view.now.as_nanos() / 1_000_000).unwrap_or(i64::MAX);
                let now = start_ms.saturating_add(passed).div_euclid(1000);
                Ok(Sample { value: trigger.value(now), is_active: trigger.is_active(now) })
            }
            Self::Queue { reads, count } => {
                let messages = reads.messages(&view.gateway);
                Ok(count.read(messages, view.now, activation))
            }
            Self::Interceptor => {
                let interceptor = interceptor.ok_or("there is no interceptor")?;
                // Active as its own scaler says, whatever the trigger's activation.
                let value = interceptor.value(view);
                Ok(Sample { value: value as f64, is_active: value > 0 })
            }
        }
    }

    /// The query it asks.
    pub fn query(&self) -> Option<&Query> {
        match self {
            Self::Prometheus { query, .. } => Some(query),
            _ => None,
        }
    }
}

impl Count {
    fn read(&mut self, messages: Messages, now: SimTime, activation: f64) -> Sample {
        let Messages { visible, handed_out, .. } = messages;
        let above =
            |count: u64| Sample { value: count as f64, is_active: is_active(count as f64, activation) };
        match self {
            Self::Kafka(rules, partitions) => {
                let lags = spread(visible, *partitions);
                // The bound is for the HPA; all of the lag wakes the target.
                Sample { value: kafka_lag(&lags, *rules) as f64, ..above(visible) }
            }
            Self::Rabbit(mode, counts_unacknowledged, rates) => {
                let (publish_rate, deliver_get_rate) = rates.update(messages, now);
                let counted = if *counts_unacknowledged { visible + handed_out } else { visible };
                let queue = RabbitQueue { messages: counted as f64, publish_rate, deliver_get_rate };
                let (value, is_active) = queue.read(*mode, activation);
                Sample { value, is_active }
            }
            Self::Sqs(on_in_flight, on_delayed) => {
                let queue = SqsQueue { visible: whole(visible), in_flight: whole(handed_out), delayed: 0 };
                above(queue.length(*on_in_flight, *on_delayed).unsigned_abs())
            }
            Self::Visible | Self::Redis(RedisCount::List | RedisCount::Lag) => above(visible),
            Self::Redis(RedisCount::Pending) => above(handed_out),
            Self::Redis(RedisCount::Length) => above(visible + handed_out),
        }
    }
}

/// Messages over partitions, as evenly as can be; the first ones have the remainder.
fn spread(messages: u64, partitions: Option<u32>) -> Vec<i64> {
    let Some(partitions) = partitions.map(u64::from).filter(|count| *count > 0) else {
        return vec![whole(messages)];
    };
    let (each, over) = (messages / partitions, messages % partitions);
    (0..partitions).map(|index| whole(each + u64::from(index < over))).collect()
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Rates {
    /// The rates since the read before. Two reads at one instant find the same.
    fn update(&mut self, messages: Messages, now: SimTime) -> (f64, f64) {
        let seconds = now.since(self.at).as_secs_f64();
        if seconds > 0.0 {
            // A message can come back: what a pod had when it was lost lies in the queue again.
            let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
            let per_second = (rate(messages.published, self.published), rate(messages.taken, self.taken));
            *self = Self { at: now, published: messages.published, taken: messages.taken, per_second };
        }
        self.per_second
    }
}
