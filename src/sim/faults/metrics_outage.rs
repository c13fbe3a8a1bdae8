//! Intervals in which metrics are out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FaultSpec;
use crate::kernel::{SimDuration, SimTime};
use crate::sim::run::Run;

/// An interval without metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsOutageSpec {
    /// When it begins, from the start of the run.
    pub from: SimDuration,
    /// How long it lasts.
    pub lasts: SimDuration,
    /// What is out. What Knative and KEDA's HTTP add-on scrape themselves never is.
    pub what: Metrics,
}

/// Where metrics come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Metrics {
    /// Prometheus: an HPA's Pods, Object and External metrics, KEDA's prometheus triggers. Ranges have a hole afterwards.
    Prometheus,
    /// The metrics server: CPU and memory.
    MetricsServer,
    /// Both.
    Both,
}

impl MetricsOutageSpec {
    /// Whether this is out at an instant.
    fn hits(&self, what: Metrics, now: SimTime) -> bool {
        let from = SimTime::ZERO + self.from;
        let is_meant = self.what == what || self.what == Metrics::Both;
        is_meant && (from..from.saturating_add(self.lasts)).contains(&now)
    }
}

impl Run<'_> {
    /// Whether these metrics are out.
    pub(in crate::sim) fn is_out(&self, what: Metrics) -> bool {
        let hits = |fault: &FaultSpec| match fault {
            FaultSpec::MetricsOutage(outage) => outage.hits(what, self.now),
            _ => false,
        };
        self.sim.faults.iter().any(hits)
    }
}
