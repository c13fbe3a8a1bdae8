//! Containers that exit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::{ReplicaId, SimDuration};
use crate::sim::run::Run;

/// Containers that exit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodCrashSpec {
    /// When, from the start of the run.
    pub at: SimDuration,
    /// How many replicas: which ones is drawn among those whose container runs, ready or not.
    #[serde(default = "super::one")]
    pub replicas: u32,
}

impl Run<'_> {
    /// Containers exit, all at once.
    pub(super) fn crash(&mut self, replicas: Vec<ReplicaId>) {
        for id in replicas {
            self.container_exits(id);
        }
    }
}
