//! Mitigations of bounds: how few and how many replicas a policy may have.

use super::Edit;
use super::ground::{Ground, set};
use super::nodes::{more_room, room};
use crate::policy::{KedaSpec, PolicySpec};
use crate::yaml::Path;

/// Replicas that nobody means by a maximum: that of a policy which says none.
const MANY: i64 = 1_000;

/// A bound that a policy's settings have: what it is, where it is written, and how its value is.
struct Bound {
    value: i64,
    at: Path,
    is_text: bool,
}

impl Bound {
    fn new(value: impl Into<i64>, at: Path) -> Self {
        Self { value: value.into(), at, is_text: false }
    }

    fn to(&self, value: i64) -> String {
        if self.is_text { set(&self.at, format!("\"{value}\"")) } else { set(&self.at, value) }
    }
}

/// An annotation of Knative's, in the spelling that is written.
pub(super) fn annotation(
    at: &Path,
    written: &std::collections::BTreeMap<String, String>,
    names: [&str; 2],
) -> Path {
    let key = |name: &str| format!("autoscaling.knative.dev/{name}");
    let name = names.into_iter().find(|name| written.contains_key(&key(name))).unwrap_or(names[0]);
    at.key("annotations").key(key(name))
}

fn of_keda(
    keda: &KedaSpec,
    at: &Path,
    field: (&str, &str),
    values: (Option<i32>, Option<i32>),
    default: i32,
) -> Bound {
    let (object, http) = values;
    if keda.http_scaled_object.is_some() {
        let at = at.key("httpScaledObject").key("replicas").key(field.1);
        return Bound::new(http.unwrap_or(default), at);
    }
    Bound::new(object.unwrap_or(default), at.key("scaledObject").key(field.0))
}

/// The fewest replicas of a policy that decides by itself.
fn least(at: &Path, policy: &PolicySpec) -> Option<Bound> {
    Some(match policy {
        PolicySpec::Fixed(own) => Bound::new(own.replicas, at.key("replicas")),
        PolicySpec::Hpa(own) => Bound::new(own.min_replicas.unwrap_or(1), at.key("minReplicas")),
        PolicySpec::Keda(own) => {
            let object = own.scaled_object.as_ref().and_then(|object| object.min_replica_count);
            let http = own.http_scaled_object.as_ref().and_then(|object| object.replicas?.min);
            of_keda(own, at, ("minReplicaCount", "min"), (object, http), 0)
        }
        PolicySpec::Knative(own) => {
            let at = annotation(at, &own.annotations, ["min-scale", "minScale"]);
            Bound { value: own.revision().annotations.min_scale.unwrap_or(0).into(), at, is_text: true }
        }
        PolicySpec::Ray(own) => {
            Bound::new(own.autoscaling_config.min_replicas, at.key("autoscaling_config").key("min_replicas"))
        }
        PolicySpec::Aibrix(own) => Bound::new(own.min_replicas, at.key("minReplicas")),
        PolicySpec::Wva(own) => Bound::new(own.hpa.min_replicas, at.key("hpa").key("minReplicas")),
        PolicySpec::Dynamo(own) => Bound::new(own.min_endpoint, at.key("min_endpoint")),
        PolicySpec::Slo(own) => Bound::new(own.min_replicas, at.key("minReplicas")),
        PolicySpec::Predictive(own) => Bound::new(own.min_replicas, at.key("minReplicas")),
        PolicySpec::Schedule(own) => Bound::new(own.replicas?, at.key("replicas")),
        PolicySpec::Guard(own) => Bound::new(own.floor?, at.key("floor")),
        PolicySpec::WarmPool(_) | PolicySpec::Max(_) | PolicySpec::Min(_) | PolicySpec::Shadow(_) => {
            return None;
        }
    })
}

/// The most replicas of a policy that decides by itself.
fn most(ground: &Ground<'_>, at: &Path, policy: &PolicySpec) -> Option<Bound> {
    Some(match policy {
        PolicySpec::Hpa(own) => Bound::new(own.max_replicas, at.key("maxReplicas")),
        PolicySpec::Keda(own) => {
            let object = own.scaled_object.as_ref().and_then(|object| object.max_replica_count);
            let http = own.http_scaled_object.as_ref().and_then(|object| object.replicas?.max);
            of_keda(own, at, ("maxReplicaCount", "max"), (object, http), 100)
        }
        PolicySpec::Knative(own) => {
            // 0 is without limit.
            let value = own.revision().annotations.max_scale.filter(|most| *most > 0)?;
            let at = annotation(at, &own.annotations, ["max-scale", "maxScale"]);
            Bound { value: value.into(), at, is_text: true }
        }
        PolicySpec::Ray(own) => {
            Bound::new(own.autoscaling_config.max_replicas, at.key("autoscaling_config").key("max_replicas"))
        }
        PolicySpec::Aibrix(own) => Bound::new(own.max_replicas, at.key("maxReplicas")),
        PolicySpec::Wva(own) => Bound::new(own.hpa.max_replicas, at.key("hpa").key("maxReplicas")),
        // It counts GPUs.
        PolicySpec::Dynamo(own) => {
            let gpus = own.decode_engine_num_gpu.unwrap_or(ground.resolved.simulation.replica.gpus).max(1);
            if own.max_gpu_budget < 0 {
                return None;
            }
            Bound::new(own.max_gpu_budget / i64::from(gpus), at.key("max_gpu_budget"))
        }
        PolicySpec::Slo(own) => Bound::new(own.max_replicas, at.key("maxReplicas")),
        PolicySpec::Predictive(own) => Bound::new(own.max_replicas, at.key("maxReplicas")),
        PolicySpec::Guard(own) => Bound::new(own.ceiling?, at.key("ceiling")),
        PolicySpec::Fixed(_)
        | PolicySpec::Schedule(_)
        | PolicySpec::WarmPool(_)
        | PolicySpec::Max(_)
        | PolicySpec::Min(_)
        | PolicySpec::Shadow(_) => return None,
    })
}

pub(super) fn minimum_raised(ground: &Ground<'_>) -> Edit {
    let sets = ground.of_each(|at, policy| {
        least(at, policy).map(|bound| bound.to(bound.value.saturating_add(1))).into_iter().collect()
    });
    if sets.is_empty() { Err("the policy has no minimum".to_owned()) } else { Ok(sets) }
}

pub(super) fn minimum_lowered(ground: &Ground<'_>) -> Edit {
    let sets = ground.of_each(|at, policy| {
        let bound = least(at, policy).filter(|bound| bound.value > 1);
        bound.map(|bound| bound.to(bound.value - 1)).into_iter().collect()
    });
    if sets.is_empty() { Err("the minimum is 1 or none".to_owned()) } else { Ok(sets) }
}

/// A higher maximum, and nodes for it where the pools do not hold as many.
fn higher(ground: &Ground<'_>, raised: fn(i64) -> i64) -> Edit {
    let room = i64::from(room(ground));
    let bounds: Vec<(Bound, bool)> = ground
        .policies()
        .iter()
        .filter_map(|(at, policy)| Some((most(ground, at, policy)?, matches!(policy, PolicySpec::Dynamo(_)))))
        .collect();
    let Some(highest) = bounds.iter().map(|(bound, _)| bound.value).max() else {
        return Err("the policy has no maximum".to_owned());
    };
    if highest >= MANY || highest > room {
        return Err(format!("the pools hold {room} replicas, fewer than the maximum"));
    }
    let gpus = i64::from(ground.resolved.simulation.replica.gpus);
    let each = bounds.iter().map(|(bound, counts_gpus)| {
        let replicas = raised(bound.value);
        bound.to(if *counts_gpus { replicas * gpus } else { replicas })
    });
    let mut sets: Vec<String> = each.collect();
    let missing = raised(highest) - room;
    if missing > 0 {
        sets.extend(more_room(ground, u32::try_from(missing).unwrap_or(u32::MAX)));
    }
    Ok(sets)
}

pub(super) fn maximum_raised(ground: &Ground<'_>) -> Edit {
    higher(ground, |most| most.saturating_add(1))
}

pub(super) fn maximum_doubled(ground: &Ground<'_>) -> Edit {
    higher(ground, |most| most.saturating_mul(2))
}
