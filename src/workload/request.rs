//! One request, and the trait every source of requests implements.

use crate::kernel::{SimDuration, SimTime, Streams};

/// One request of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it reaches the gateway.
    pub arrival: SimTime,
    /// Prompt length, tokens, at least 1.
    pub prompt_tokens: u32,
    /// Output length, tokens, at least 1.
    pub output_tokens: u32,
}

/// A source of requests in order of arrival.
///
/// A source is read once and shared by every run of a scenario: `requests` starts a new
/// pass over it each time.
pub trait Source: Send + Sync {
    /// The requests of one replication, arrivals never decreasing.
    fn requests<'a>(&'a self, streams: &Streams) -> Box<dyn Iterator<Item = Request> + Send + 'a>;

    /// How long the workload lasts; `None` if that is known only once its last request has arrived.
    fn span(&self) -> Option<SimDuration>;

    /// What stopped the last pass early, if anything did: a streamed file that changed or vanished under a run.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// A workload held in memory, 16 bytes a request.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// Requests in order of arrival.
    pub requests: Vec<Request>,
    /// How long the workload lasts.
    pub span: SimDuration,
}

impl Source for Packed {
    fn requests<'a>(&'a self, _: &Streams) -> Box<dyn Iterator<Item = Request> + Send + 'a> {
        Box::new(self.requests.iter().copied())
    }

    fn span(&self) -> Option<SimDuration> {
        Some(self.span)
    }
}
