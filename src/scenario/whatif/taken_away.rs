//! The other way round: what a mitigation that the scenario has brings, seen by taking it away.

use super::Edit;
use super::ground::{Ground, of_pool, set};
use crate::policy::PolicySpec;
use crate::sim::cluster::ModelAffinity;
use crate::sim::cluster::config::{PoolSpec, Prefetch};
use crate::yaml::{Path, Step, flow};

/// Without what nodes come with or fetch beforehand.
fn without(
    ground: &Ground<'_>,
    field: &str,
    what: Prefetch,
    comes_with: fn(&PoolSpec) -> bool,
) -> Vec<String> {
    let mut sets = Vec::new();
    for (name, pool) in ground.pools() {
        if comes_with(pool) {
            sets.push(set(&of_pool(name, field), false));
        }
        if pool.prefetch.contains(&what) {
            let other = pool.prefetch.iter().find(|own| **own != what);
            let left = match other {
                Some(Prefetch::Image) => "[image]",
                Some(Prefetch::Weights) => "[weights]",
                None => "[]",
            };
            sets.push(set(&of_pool(name, "prefetch"), left));
        }
    }
    sets
}

pub(super) fn weights_on_node(ground: &Ground<'_>) -> Edit {
    let Some(weights) = &ground.spec().replica.weights else {
        return Err("no `replica.weights` to fetch".to_owned());
    };
    let mut sets = without(ground, "weightsPresent", Prefetch::Weights, |pool| pool.weights_present);
    if weights.kept {
        sets.push("replica.weights.kept=false".to_owned());
    }
    if weights.kept && ground.spec().replica.model_affinity != ModelAffinity::None {
        sets.push("replica.modelAffinity=none".to_owned());
    }
    if sets.is_empty() { Err("they are not kept".to_owned()) } else { Ok(sets) }
}

pub(super) fn image_on_node(ground: &Ground<'_>) -> Edit {
    let sets = without(ground, "imagePresent", Prefetch::Image, |pool| pool.image_present);
    if sets.is_empty() { Err("it is not there beforehand".to_owned()) } else { Ok(sets) }
}

pub(super) fn compile_cache(ground: &Ground<'_>) -> Edit {
    if ground.spec().replica.compile_cache.is_none() {
        return Err("there is none".to_owned());
    }
    Ok(vec!["replica.compileCache=null".to_owned()])
}

pub(super) fn weights_affinity(ground: &Ground<'_>) -> Edit {
    if ground.spec().replica.model_affinity == ModelAffinity::None {
        return Err("they do already".to_owned());
    }
    Ok(vec!["replica.modelAffinity=none".to_owned()])
}

pub(super) fn node_held(ground: &Ground<'_>) -> Edit {
    if ground.spec().cluster.placeholders.replicas == 0 {
        return Err("none is".to_owned());
    }
    Ok(vec!["cluster.placeholders.replicas=0".to_owned()])
}

/// The policy that stands at the path of the settings of one.
pub(super) fn policy_of(settings: &Path) -> Path {
    let steps = settings.steps();
    let all = steps[..steps.len().saturating_sub(1)].iter();
    all.fold(Path::root(), |path, step| match step {
        Step::Key(key) => path.key(key.as_str()),
        Step::Index(index) => path.index(*index),
    })
}

/// The policy below such a one in its place.
fn lifted(ground: &Ground<'_>, is_such: fn(&PolicySpec) -> bool) -> Option<Vec<String>> {
    let policies = ground.policies();
    let (settings, _) = policies.iter().find(|(_, policy)| is_such(policy))?;
    let below = ground.written(&settings.key("over"));
    Some(vec![set(&policy_of(settings), flow(below))])
}

pub(super) fn warm_pool(ground: &Ground<'_>) -> Edit {
    lifted(ground, |policy| matches!(policy, PolicySpec::WarmPool(_))).ok_or("there is none".to_owned())
}

pub(super) fn forecast(ground: &Ground<'_>) -> Edit {
    let over_another =
        |policy: &PolicySpec| matches!(policy, PolicySpec::Predictive(own) if own.over.is_some());
    let why = if ground.policies().iter().any(|(_, policy)| matches!(policy, PolicySpec::Predictive(_))) {
        "there is no policy beside it"
    } else {
        "there is none"
    };
    lifted(ground, over_another).ok_or(why.to_owned())
}

pub(super) fn keep_warm(ground: &Ground<'_>) -> Edit {
    if ground.spec().replica.keep_warm.is_none() {
        return Err("there are none".to_owned());
    }
    Ok(vec!["replica.keepWarm=null".to_owned()])
}
