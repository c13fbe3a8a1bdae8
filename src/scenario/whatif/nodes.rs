//! Mitigations of nodes: there before they are needed, and more of them.

use super::Edit;
use super::ground::{Ground, of_pool, set};
use crate::kernel::SimDuration;
use crate::sim::cluster::PoolPlan;
use crate::sim::cluster::config::ProvisionerSpec;

/// Pools that replicas go to.
fn pools<'a>(ground: &Ground<'a>) -> impl Iterator<Item = &'a PoolPlan> {
    let gpus = ground.resolved.simulation.replica.gpus_per_pod();
    ground.resolved.simulation.cluster.pools.iter().filter(move |pool| pool.per_node(gpus) > 0)
}

/// Replicas that the pools hold at most.
pub(super) fn room(ground: &Ground<'_>) -> u32 {
    let simulation = &ground.resolved.simulation;
    simulation.cluster.room(simulation.replica.gpus_per_pod()) / simulation.replica.group_size.max(1)
}

/// What to write for the pools to hold so many replicas more.
pub(super) fn more_room(ground: &Ground<'_>, replicas: u32) -> Vec<String> {
    let simulation = &ground.resolved.simulation;
    let gpus = simulation.replica.gpus_per_pod();
    let Some(pool) = pools(ground).next() else { return Vec::new() };
    let pods = replicas.saturating_mul(simulation.replica.group_size.max(1));
    let nodes = pods.div_ceil(pool.per_node(gpus).max(1));
    larger(ground, pool, nodes)
}

fn larger(ground: &Ground<'_>, pool: &PoolPlan, nodes: u32) -> Vec<String> {
    let most = set(&of_pool(&pool.name, "maxNodes"), pool.spec.max_nodes.saturating_add(nodes));
    // Where nobody orders nodes, there are those that are always there.
    let least = matches!(ground.spec().cluster.provisioner, ProvisionerSpec::None)
        .then(|| set(&of_pool(&pool.name, "minNodes"), pool.spec.min_nodes.saturating_add(nodes)));
    std::iter::once(most).chain(least).collect()
}

pub(super) fn node_held(ground: &Ground<'_>) -> Edit {
    if matches!(ground.spec().cluster.provisioner, ProvisionerSpec::None) {
        return Err("nobody orders nodes: they are all there".to_owned());
    }
    if pools(ground).all(|pool| pool.spec.min_nodes >= pool.spec.max_nodes) {
        return Err("all nodes are there all the time".to_owned());
    }
    let takes_time = |pool: &PoolPlan| {
        [&pool.spec.provision, &pool.spec.setup].iter().any(|time| time.median() > SimDuration::ZERO)
    };
    if !pools(ground).any(takes_time) {
        return Err("nodes come at once".to_owned());
    }
    let more = ground.spec().cluster.placeholders.replicas + 1;
    Ok(vec![format!("cluster.placeholders.replicas={more}")])
}

pub(super) fn nodes_doubled(ground: &Ground<'_>) -> Edit {
    let resolved = ground.resolved;
    let policy = ground.policy_spec().build(&resolved.simulation.setting);
    let room = room(ground);
    match policy.maximum() {
        None => return Err(format!("the policy never asks for more than it has, and the pools hold {room}")),
        Some(most) if most <= room => {
            return Err(format!("the policy asks for {most} replicas at most, and the pools hold {room}"));
        }
        Some(_) => {}
    }
    Ok(pools(ground).flat_map(|pool| larger(ground, pool, pool.spec.max_nodes)).collect())
}
