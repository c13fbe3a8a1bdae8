//! Mitigations by spares: one more, in rotation or aside, asleep or awake.

use super::Edit;
use super::ground::{Ground, set};
use super::taken_away::policy_of;
use crate::policy::warm_pool::SpareLevel;
use crate::policy::{PolicySpec, WarmPoolSpec};
use crate::yaml::{Path, flow};

/// The warm pool of loaded replicas, with the path of its settings.
fn pool<'a>(ground: &Ground<'a>) -> Option<(Path, &'a WarmPoolSpec)> {
    ground.policies().into_iter().find_map(|(at, policy)| match policy {
        PolicySpec::WarmPool(pool) if pool.level == SpareLevel::Loaded => Some((at, &**pool)),
        _ => None,
    })
}

/// The same, or that there are no spares.
fn spares<'a>(ground: &Ground<'a>) -> Result<(Path, &'a WarmPoolSpec), String> {
    pool(ground).ok_or("there are no spares".to_owned())
}

pub(super) fn spare(ground: &Ground<'_>) -> Edit {
    if let Some((at, pool)) = pool(ground) {
        // Beside a fraction or a rise, `spare` is only the least.
        let Some(spare) = pool.spare.filter(|_| pool.fraction.is_none() && pool.worst_rise.is_none()) else {
            return Err("how many spares there are follows from the load".to_owned());
        };
        return Ok(vec![set(&at.key("spare"), spare.saturating_add(1))]);
    }
    let policies = ground.policies();
    let Some((settings, _)) = policies.first() else { return Err("there is no policy".to_owned()) };
    let at = policy_of(settings);
    let over = flow(ground.written(&at));
    Ok(vec![set(&at, format!("{{ warmPool: {{ spare: 1, over: {over} }} }}"))])
}

pub(super) fn in_rotation(ground: &Ground<'_>) -> Edit {
    let (at, pool) = spares(ground)?;
    if pool.in_rotation {
        return Err("they do already".to_owned());
    }
    let mut sets = vec![set(&at.key("inRotation"), true)];
    if pool.sleep.is_some() {
        sets.push(set(&at.key("sleep"), "null"));
    }
    Ok(sets)
}

pub(super) fn aside(ground: &Ground<'_>) -> Edit {
    let (at, pool) = spares(ground)?;
    if !pool.in_rotation {
        return Err("they are already".to_owned());
    }
    Ok(vec![set(&at.key("inRotation"), false)])
}

pub(super) fn asleep(ground: &Ground<'_>) -> Edit {
    let (at, pool) = spares(ground)?;
    if pool.sleep.is_some() {
        return Err("they sleep already".to_owned());
    }
    if pool.in_rotation {
        return Err("they serve, and never sleep".to_owned());
    }
    if ground.profile.sleep.as_ref().and_then(|levels| levels.in_host_ram.as_ref()).is_none() {
        return Err("the profile does not know how long waking up takes".to_owned());
    }
    Ok(vec![set(&at.key("sleep"), "{ level: inHostRam }")])
}

pub(super) fn awake(ground: &Ground<'_>) -> Edit {
    let (at, pool) = spares(ground)?;
    if pool.sleep.is_none() {
        return Err("they are already".to_owned());
    }
    Ok(vec![set(&at.key("sleep"), "null")])
}
