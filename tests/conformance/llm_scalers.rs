//! Vectors of the schema `llm-scaler-vectors/1`: the order in which a ReplicaSet deletes pods, and the kinds of
//! `llm_policies`.

use serde::Deserialize;
use serde_json::Value;
use thawline::kernel::{NodeId, SimTime};
use thawline::sim::replica_set::{Gates, Pod, PodPhase, deletion_order};

use crate::cases::{read, same};
use crate::llm_policies;

/// Checks one case of a kind.
pub fn check(kind: &str, case: Value) -> Result<(), String> {
    match kind {
        "pod_deletion_order" => pod_deletion_order(read(case)?),
        other => {
            llm_policies::check(other, case).unwrap_or_else(|| Err(format!("kind {other} is not known")))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeletionCase {
    input: DeletionInput,
    expect_deletion_order: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeletionInput {
    now_s: u64,
    pods: Vec<PodVector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PodVector {
    uid: String,
    node: String,
    phase: String,
    ready: bool,
    deletion_cost: i32,
    ready_at_s: Option<u64>,
    restarts: u32,
    created_at_s: u64,
}

fn pod_deletion_order(case: DeletionCase) -> Result<(), String> {
    let mut nodes: Vec<String> = case.input.pods.iter().map(|pod| pod.node.clone()).collect();
    nodes.sort();
    let node = |name: &str| {
        (!name.is_empty()).then(|| NodeId(nodes.partition_point(|known| known.as_str() < name) as u32))
    };
    let pods: Vec<Pod<String>> = case
        .input
        .pods
        .into_iter()
        .map(|pod| {
            Ok(Pod {
                node: node(&pod.node),
                phase: phase(&pod.phase)?,
                ready: pod.ready,
                ready_at: pod.ready_at_s.map(SimTime::from_secs),
                deletion_cost: pod.deletion_cost,
                restarts: pod.restarts,
                created_at: Some(SimTime::from_secs(pod.created_at_s)),
                uid: pod.uid,
            })
        })
        .collect::<Result<_, String>>()?;
    let order = deletion_order(&pods, SimTime::from_secs(case.input.now_s), Gates::default());
    let got: Vec<String> = order.into_iter().map(|index| pods[index].uid.clone()).collect();
    same("deletion order", &case.expect_deletion_order, &got)
}

fn phase(name: &str) -> Result<PodPhase, String> {
    match name {
        "Pending" => Ok(PodPhase::Pending),
        "Unknown" => Ok(PodPhase::Unknown),
        "Running" => Ok(PodPhase::Running),
        other => Err(format!("an active pod is in no phase {other}")),
    }
}
