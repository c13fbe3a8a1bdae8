//! What stands for the queues and external scalers that triggers name: the run has one gateway, and its
//! requests are the messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::api::GatewayView;

/// Which of the gateway's requests are messages that still lie in a queue; the others are handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reads {
    /// Those that no engine works on yet, at the gateway or in a pod. Those that engines work on are handed out.
    #[default]
    Waiting,
    /// Those held at the gateway: a pod takes its messages at once, and has them until they are done.
    Held,
    /// All: a message lies in the queue until it is done, as where offsets are committed at the end.
    InFlight,
}

/// A queue that a kafka, rabbitmq, aws-sqs-queue or redis trigger names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueueSpec {
    /// Which requests are its messages. Default: `waiting`, those that no engine works on yet.
    #[serde(default)]
    pub reads: Reads,
    /// Partitions of a Kafka topic, over which messages spread evenly; how many replicas a kafka trigger asks for
    /// at most. There is no default: the trigger needs it unless idle consumers are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
}

/// What an external scaler of one's own answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalSpec {
    /// Which requests it counts; it is active while there are any. Default: `inFlight`.
    #[serde(default = "in_flight")]
    pub reads: Reads,
    /// Its target: requests per replica, or of the whole where the trigger's `metricType` is `Value`.
    pub target: f64,
}

fn in_flight() -> Reads {
    Reads::InFlight
}

/// Messages of a queue at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Messages {
    /// Those that lie in it.
    pub visible: u64,
    /// Those handed out and not done.
    pub handed_out: u64,
    /// Those ever taken out of it.
    pub taken: u64,
    /// Those ever put into it.
    pub published: u64,
}

impl Reads {
    /// The gateway's requests as a queue's messages.
    pub fn messages(self, gateway: &GatewayView) -> Messages {
        let visible = match self {
            Self::Waiting => gateway.held + gateway.waiting,
            Self::Held => gateway.held,
            Self::InFlight => gateway.in_flight(),
        };
        Messages {
            visible,
            handed_out: gateway.in_flight().saturating_sub(visible),
            taken: gateway.arrived.saturating_sub(visible),
            published: gateway.arrived,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_messages_that_wait_or_are_handed_out() {
        let gateway = GatewayView { held: 3, waiting: 4, running: 5, arrived: 100, ..GatewayView::default() };
        for (reads, visible, handed_out, taken) in
            [(Reads::Waiting, 7, 5, 93), (Reads::Held, 3, 9, 97), (Reads::InFlight, 12, 0, 88)]
        {
            let expected = Messages { visible, handed_out, taken, published: 100 };
            assert_eq!(reads.messages(&gateway), expected, "{reads:?}");
        }
    }
}
