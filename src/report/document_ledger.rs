//! The ledger of a run in `outcome.json`. Amounts that outgrow the 53 bits that many readers keep of a number are strings.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// What the nodes of a pool cost in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolDoc {
    /// The pool.
    pub name: String,
    /// Price of a GPU-hour, millionths of a US dollar.
    pub price_micro_usd_per_gpu_hour: u64,
    /// Its bill, GPU-nanoseconds.
    pub billed_gpu_ns: String,
}

/// The ledger of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerDoc {
    /// The bill, GPU-nanoseconds.
    pub billed_gpu_ns: String,
    /// GPU-nanoseconds by account; they sum to the bill.
    pub gpu_ns: IndexMap<String, String>,
    /// The bill by pool.
    pub pools: Vec<PoolDoc>,
    /// GPUs of a replica.
    pub gpus_per_replica: u32,
    /// The integral of the need, replica-nanoseconds.
    pub needed_replica_ns: Option<f64>,
    /// The integral of all replicas, replica-nanoseconds.
    pub replica_ns: String,
    /// Cold starts.
    pub cold_starts: u64,
    /// Time those spent in start-up phases with a node, ns.
    pub start_up_ns: String,
    /// Of *serving, busy*: nothing but a keep-warm request, GPU-nanoseconds.
    pub keep_warm_gpu_ns: String,
    /// Of *unallocated*: held by placeholders, GPU-nanoseconds.
    #[serde(default)]
    pub placeholder_gpu_ns: String,
}
