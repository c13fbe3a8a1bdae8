//! Mitigations of a start: what comes to the node, what is compiled there, and when a replica counts as ready.

use super::Edit;
use super::ground::{Ground, of_pool, set};
use crate::kernel::{Bytes, SimDuration};
use crate::profile::schema::Stage;
use crate::sim::cluster::ModelAffinity;
use crate::sim::cluster::config::{PoolSpec, Prefetch};
use crate::sim::config::ReadyAfter;
use crate::sim::storage::config::WeightsSpec;
use crate::yaml::Path;

/// What stands for a size that nobody knows of something that is never fetched.
const ANY_SIZE: Bytes = Bytes(1_000_000_000);
/// Part of an image that comes before its container runs: eStargz and SOCI prefetch about as much for such images (assumed).
const LAZY_PART: u64 = 10;
/// The probe's period that is tried.
const PROBE: SimDuration = SimDuration::from_secs(1);

/// `field: true` for each pool that does not say so.
fn everywhere(ground: &Ground<'_>, field: &str, has: fn(&PoolSpec) -> bool) -> Vec<String> {
    let pools = ground.pools().filter(|(_, pool)| !has(pool));
    pools.map(|(name, _)| set(&of_pool(name, field), true)).collect()
}

fn weights<'a>(ground: &Ground<'a>) -> Result<&'a WeightsSpec, String> {
    let fetched = ground.spec().replica.weights.as_ref();
    let weights = fetched.ok_or("no `replica.weights` to fetch")?;
    if ground.pools().all(|(_, pool)| pool.weights_present) && weights.kept {
        return Err("nodes come with the weights".to_owned());
    }
    Ok(weights)
}

pub(super) fn weights_on_node(ground: &Ground<'_>) -> Edit {
    if ground.spec().replica.weights.is_some() {
        let weights = weights(ground)?;
        let mut sets = everywhere(ground, "weightsPresent", |pool| pool.weights_present);
        if !weights.kept {
            sets.push("replica.weights.kept=true".to_owned());
        }
        return Ok(sets);
    }
    if !ground.stages(Stage::WeightLoad).any(crate::profile::schema::StartUpStage::is_download) {
        let why = "no part of the profile's weight load is labelled `download`: it is the way from the node's own copy";
        return Err(why.to_owned());
    }
    // What is on the node is not fetched: its size matters to no one.
    let size = ground.profile.memory.as_ref().map_or(ANY_SIZE, |memory| memory.weights.value);
    let mut sets = vec![format!("replica.weights={{ size: {size} }}")];
    sets.extend(everywhere(ground, "weightsPresent", |pool| pool.weights_present));
    Ok(sets)
}

pub(super) fn weights_prefetched(ground: &Ground<'_>) -> Edit {
    if !weights(ground)?.kept {
        return Err("nodes keep no weights (`replica.weights.kept`)".to_owned());
    }
    let without = ground
        .pools()
        .filter(|(_, pool)| !pool.weights_present && !pool.prefetch.contains(&Prefetch::Weights));
    let sets: Vec<String> = without
        .map(|(name, pool)| {
            let what = if pool.prefetch.is_empty() { "[weights]" } else { "[image, weights]" };
            set(&of_pool(name, "prefetch"), what)
        })
        .collect();
    if sets.is_empty() { Err("nodes fetch them beforehand already".to_owned()) } else { Ok(sets) }
}

pub(super) fn weights_streamed(ground: &Ground<'_>) -> Edit {
    if weights(ground)?.streaming {
        return Err("they are streamed already".to_owned());
    }
    Ok(vec!["replica.weights.streaming=true".to_owned()])
}

pub(super) fn weights_from_peers(ground: &Ground<'_>) -> Edit {
    if !weights(ground)?.kept {
        return Err("nodes keep no weights (`replica.weights.kept`)".to_owned());
    }
    if ground.spec().cluster.model_store.peer_to_peer {
        return Err("nodes give them to each other already".to_owned());
    }
    Ok(vec!["cluster.modelStore.peerToPeer=true".to_owned()])
}

pub(super) fn weights_affinity(ground: &Ground<'_>) -> Edit {
    if !weights(ground)?.kept {
        return Err("nodes keep no weights (`replica.weights.kept`)".to_owned());
    }
    if ground.spec().replica.model_affinity != ModelAffinity::None {
        return Err("they do already".to_owned());
    }
    Ok(vec!["replica.modelAffinity=preferred".to_owned()])
}

/// Why the image costs a start nothing, if so.
fn image_costs(ground: &Ground<'_>) -> Result<(), String> {
    if ground.spec().replica.image.is_some() && ground.pools().all(|(_, pool)| pool.image_present) {
        return Err("nodes come with the image".to_owned());
    }
    Ok(())
}

pub(super) fn image_on_node(ground: &Ground<'_>) -> Edit {
    image_costs(ground)?;
    let mut sets = Vec::new();
    if ground.spec().replica.image.is_none() {
        if ground.stages(Stage::ImagePull).next().is_none() {
            return Err("no image is pulled here".to_owned());
        }
        let known = ground.profile.image.is_some();
        let image = if known { "{}".to_owned() } else { format!("{{ layers: [{ANY_SIZE}] }}") };
        sets.push(format!("replica.image={image}"));
    }
    sets.extend(everywhere(ground, "imagePresent", |pool| pool.image_present));
    Ok(sets)
}

pub(super) fn image_lazy(ground: &Ground<'_>) -> Edit {
    image_costs(ground)?;
    let without = "no `replica.image` to pull layer by layer";
    let image = ground.spec().replica.image.as_ref().ok_or(without)?;
    if image.lazy.is_some() {
        return Err("it is already".to_owned());
    }
    let plan = ground.resolved.simulation.storage.image.as_ref().ok_or(without)?;
    // Whole megabytes, as people write them.
    let first = Bytes((plan.bytes() / LAZY_PART / 1_000_000).max(1) * 1_000_000);
    let mut sets = vec![format!("replica.image.lazy={{ first: {first} }}")];
    if image.unpack_bandwidth.is_some() {
        sets.push("replica.image.unpackBandwidth=null".to_owned());
    }
    Ok(sets)
}

pub(super) fn image_from_peers(ground: &Ground<'_>) -> Edit {
    image_costs(ground)?;
    if ground.spec().replica.image.is_none() {
        return Err("no `replica.image` to pull layer by layer".to_owned());
    }
    if ground.spec().cluster.registry.peer_to_peer {
        return Err("nodes give it to each other already".to_owned());
    }
    Ok(vec!["cluster.registry.peerToPeer=true".to_owned()])
}

/// Whether starts wait for the warm-up.
fn warms_up(ground: &Ground<'_>) -> Result<(), String> {
    if ground.spec().replica.readiness.after == ReadyAfter::Weights {
        return Err("no start waits for the warm-up (`readiness.after: weights`)".to_owned());
    }
    Ok(())
}

pub(super) fn compile_cache(ground: &Ground<'_>) -> Edit {
    warms_up(ground)?;
    match &ground.spec().replica.compile_cache {
        Some(cache) if cache.filled => Err("it is filled already".to_owned()),
        Some(_) => Ok(vec!["replica.compileCache.filled=true".to_owned()]),
        None if ground.profile.start_up.iter().all(|stage| stage.cached.is_none()) => {
            Err("the profile does not know what a start takes with it".to_owned())
        }
        None => Ok(vec!["replica.compileCache={ filled: true }".to_owned()]),
    }
}

pub(super) fn warm_up_halved(ground: &Ground<'_>) -> Edit {
    warms_up(ground)?;
    if ground.spec().replica.compile_cache.is_some() {
        return Err("a compile cache says how long it is".to_owned());
    }
    if ground.profile.start_up.iter().any(|stage| stage.cached.is_some()) {
        return Err("the profile knows what a compile cache brings".to_owned());
    }
    let whole: SimDuration = ground.stages(Stage::WarmUp).map(|stage| stage.time.value.median()).sum();
    if whole.is_zero() {
        return Err("there is no warm-up".to_owned());
    }
    let half = SimDuration::from_millis(whole.as_nanos() / 2_000_000);
    Ok(vec![format!("replica.compileCache={{ filled: true, warmUp: {half} }}")])
}

pub(super) fn ready_before_warm_up(ground: &Ground<'_>) -> Edit {
    match ground.spec().replica.readiness.after {
        ReadyAfter::Weights => Err("ready is before it already".to_owned()),
        ReadyAfter::Process => Err("ready is even before the weights are loaded".to_owned()),
        ReadyAfter::WarmUp => {
            if ground.stages(Stage::WarmUp).next().is_none() {
                return Err("there is no warm-up".to_owned());
            }
            let mut sets = vec!["replica.readiness.after=weights".to_owned()];
            if ground.spec().replica.compile_cache.is_some() {
                sets.push("replica.compileCache=null".to_owned());
            }
            Ok(sets)
        }
    }
}

pub(super) fn ready_after_warm_up(ground: &Ground<'_>) -> Edit {
    match ground.spec().replica.readiness.after {
        ReadyAfter::WarmUp => Err("it is already".to_owned()),
        ReadyAfter::Weights | ReadyAfter::Process => Ok(vec!["replica.readiness.after=warmUp".to_owned()]),
    }
}

pub(super) fn probe_faster(ground: &Ground<'_>) -> Edit {
    let readiness = &ground.spec().replica.readiness;
    if readiness.after == ReadyAfter::Process {
        return Err("no probe asks the server (`readiness.after: process`)".to_owned());
    }
    if readiness.period <= PROBE {
        return Err(format!("it is probed every {}", readiness.period));
    }
    Ok(vec![set(&Path::keys(["replica", "readiness", "period"]), PROBE)])
}
