//! Stands in for the sections that `policy` and `workload` bring.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The workload, unread.
pub type WorkloadSpec = serde_json::Value;

/// The policies that exist so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PolicySpec {
    /// Always the same number of replicas.
    Fixed(FixedSpec),
}

/// Always the same number of replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FixedSpec {
    /// How many.
    pub replicas: u32,
}

/// Faults of a gate: bytes, message, help. Nothing reads gates yet.
pub(super) fn gate_faults(_: &str) -> Vec<(std::ops::Range<usize>, String, Option<String>)> {
    Vec::new()
}
