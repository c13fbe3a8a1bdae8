//! Mitigations of a replica that runs: kept warm while it idles, let go only when its work is done.

use super::Edit;
use super::ground::Ground;
use crate::kernel::SimDuration;
use crate::policy::PolicySpec;

/// The grace of a drain that is tried: an answer of 2,000 tokens at 7 a second.
const GRACE: SimDuration = SimDuration::from_secs(300);

pub(super) fn keep_warm(ground: &Ground<'_>) -> Edit {
    let replica = &ground.spec().replica;
    if replica.keep_warm.is_some() {
        return Err("there are some already".to_owned());
    }
    if replica.cooling.is_none() {
        return Err("nothing goes cold for want of work (`replica.cooling`)".to_owned());
    }
    Ok(vec!["replica.keepWarm={}".to_owned()])
}

pub(super) fn drain_longer(ground: &Ground<'_>) -> Edit {
    let replica = &ground.spec().replica;
    if replica.termination_grace_period >= GRACE {
        return Err(format!("the grace is {} already", replica.termination_grace_period));
    }
    let never_drains = matches!(ground.policy_spec(), PolicySpec::Fixed(_))
        && ground.spec().rollouts.is_empty()
        && ground.spec().faults.is_empty();
    if never_drains {
        return Err("nothing is ever drained".to_owned());
    }
    Ok(vec![format!("replica.terminationGracePeriod={GRACE}")])
}
