//! Rules about schedules: capacity that comes after its window has opened, or that nodes have no room for.

use super::case::Case;
use super::figures::{minutes, whole};
use super::finding::Finding;
use crate::policy::schedule::WindowSpec;
use crate::policy::{PolicySpec, ScheduleSpec};
use crate::yaml::Path;

/// A schedule of a scenario.
struct Placed<'a> {
    policy: &'a str,
    spec: &'a ScheduleSpec,
    /// Where its windows stand.
    windows: Path,
    /// Whether spares of a warm pool serve until what it orders is there.
    has_spares: bool,
}

/// The schedules of all policies, but for those that are only watched.
fn schedules<'a>(case: &Case<'a>) -> Vec<Placed<'a>> {
    let root = Path::keys(["policies"]);
    let of = |(name, policy): (&'a String, &'a PolicySpec)| within(name, policy, &root.key(name), false);
    case.spec.policies.iter().flat_map(of).collect()
}

fn within<'a>(policy: &'a str, spec: &'a PolicySpec, at: &Path, has_spares: bool) -> Vec<Placed<'a>> {
    let at = at.key(spec.kind());
    let has_spares = has_spares || matches!(spec, PolicySpec::WarmPool(_));
    let own = if let PolicySpec::Schedule(spec) = spec {
        Some(Placed { policy, spec, windows: at.key("windows"), has_spares })
    } else {
        None
    };
    let keys = |path: &str| path.splitn(2, '.').fold(at.clone(), |at, key| at.key(key));
    let below = spec.below().into_iter().filter(|(path, _)| path != "candidate");
    own.into_iter()
        .chain(below.flat_map(|(path, spec)| within(policy, spec, &keys(&path), has_spares)))
        .collect()
}

/// What a window orders beyond what there is without it.
fn rise(schedule: &ScheduleSpec, window: &WindowSpec) -> Option<(&'static str, u32)> {
    let (key, count) = match (window.exact, window.floor) {
        (Some(count), _) => ("exact", count),
        (None, Some(count)) => ("floor", count),
        (None, None) => return None,
    };
    schedule.replicas.is_none_or(|there| there < count).then_some((key, count))
}

/// W0380: a lead that a start does not fit into.
pub(super) fn short_lead(case: &Case<'_>) -> Vec<Finding> {
    let start = case.figures.cold_start.median;
    let mut found = Vec::new();
    for Placed { policy, spec, windows, .. } in schedules(case).into_iter().filter(|own| !own.has_spares) {
        for (name, window) in &spec.windows {
            if rise(spec, window).is_none() || window.lead_time >= start {
                continue;
            }
            let lead = if window.lead_time.is_zero() {
                format!("window `{name}` of `{policy}` orders what it needs when it opens")
            } else {
                format!("window `{name}` of `{policy}` orders what it needs {} ahead", window.lead_time)
            };
            found.push(Finding::new(
                windows.key(name).key("leadTime"),
                format!("{lead}, and a start takes {}", whole(start)),
                "the traffic that the window is there for comes before the replicas do, as if nobody had known of it",
                format!("write `leadTime: {}` or more", minutes(start)),
            ));
        }
    }
    found
}

/// W0381: a window that orders more than the pool can hold.
pub(super) fn room(case: &Case<'_>) -> Vec<Finding> {
    let room = case.figures.room;
    let mut found = Vec::new();
    for Placed { policy, spec, windows, .. } in schedules(case) {
        for (name, window) in &spec.windows {
            let Some((key, count)) = rise(spec, window).filter(|(_, count)| *count > room) else { continue };
            found.push(Finding::new(
                windows.key(name).key(key),
                format!(
                    "window `{name}` of `{policy}` orders {count} replicas, and the pool has room for {room}"
                ),
                "what is above stays pending for as long as the window is open",
                format!("write {room} or less, or raise maxNodes"),
            ));
        }
    }
    found
}
