//! A warm pool: loaded replicas to spare, over any other policy.
//!
//! Out of rotation, the spares take no traffic and the policy below does not see them.
//! In rotation, they are over-provisioning: the policy below sees their load shared, and its
//! own count without them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::{Autoscaler, DataPath, Decision, Loop, Path, Reason, SleepTimes, View};
use super::{Fault, PolicySpec, Setting};
use crate::kernel::{Distribution, SimDuration, SimTime};
use crate::promql::Query;

/// Warm replicas to spare, over another policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WarmPoolSpec {
    /// How many spares.
    pub spare: u32,
    /// Whether the spares serve like the others. Default: false, they wait, loaded, until the
    /// policy below asks for more replicas.
    #[serde(default)]
    pub in_rotation: bool,
    /// How the spares sleep while nobody needs them; they are then not in rotation. A spare that is claimed serves when it is awake.
    /// Default: they wait awake, their weights on the GPU, and serve at once.
    #[serde(default)]
    pub sleep: Option<SleepSpec>,
    /// The policy below.
    pub over: PolicySpec,
}

/// How spares sleep. A sleeping spare keeps its pod and its GPUs, and they are billed: sleep frees GPU memory for other models
/// on the same GPU, which are not simulated. What it costs the traffic is the time of waking up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SleepSpec {
    /// Where the weights are meanwhile.
    pub level: SleepLevel,
    /// From the claim of a spare until it serves. Default: the profile's for the level. Published, vLLM 0.11 on A100, level 1: 2.86 s
    /// (30B on one GPU), 5.3 to 5.7 s (235B on four).
    #[serde(default)]
    pub wake: Option<Distribution>,
    /// How long it takes to fall asleep; a spare that is claimed meanwhile wakes up after that. Default: the profile's for the
    /// level, else as long as waking up.
    #[serde(default)]
    pub fall_asleep: Option<Distribution>,
}

/// Where the weights of a sleeping spare are. Its process goes on, and what it has compiled stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SleepLevel {
    /// In the host's memory (vLLM's sleep level 1).
    InHostRam,
    /// Nowhere: they are read again (vLLM's sleep level 2).
    Discarded,
    /// In a snapshot of the whole process, which is restored (CRIU with cuda-checkpoint).
    Snapshot,
}

impl SleepSpec {
    /// What its spares take; nothing where it is not said, which a scenario does not get past its checks with.
    fn times(&self) -> SleepTimes {
        let wake = self.wake.clone().unwrap_or(Distribution::Constant(SimDuration::ZERO));
        SleepTimes { fall_asleep: self.fall_asleep.clone().unwrap_or_else(|| wake.clone()), wake }
    }
}

impl WarmPoolSpec {
    /// What is wrong with how its spares sleep.
    pub(super) fn check_sleep(&self) -> Option<Fault> {
        let below = matches!(&self.over, PolicySpec::WarmPool(below) if below.sleep.is_some());
        let (path, message, help) = if self.sleep.is_some() && self.in_rotation {
            ("sleep", "spares in rotation serve, and never sleep", "leave out `inRotation`, or `sleep`")
        } else if below || (self.sleep.is_some() && matches!(self.over, PolicySpec::WarmPool(_))) {
            let path = if below { "over.warmPool.sleep" } else { "sleep" };
            (
                path,
                "spares over spares, some of them asleep, are not modelled",
                "write one warm pool with all spares",
            )
        } else {
            return None;
        };
        Some((path.to_owned(), message.to_owned(), help.to_owned()))
    }
}

/// A running warm pool.
pub struct WarmPool {
    spare: u32,
    in_rotation: bool,
    sleep: Option<SleepTimes>,
    over: Box<dyn Autoscaler>,
    /// The spares were ordered once; from then on silence below is silence here.
    ordered: bool,
}

impl WarmPool {
    /// From its spec.
    pub fn new(spec: &WarmPoolSpec, setting: &Setting) -> Self {
        let over = spec.over.build(setting);
        let sleep = spec.sleep.as_ref().map(SleepSpec::times);
        Self { spare: spec.spare, in_rotation: spec.in_rotation, sleep, over, ordered: false }
    }

    /// Replicas without the spares, as the policy below knows them. What runs is never shown
    /// as nothing: at zero, a policy may take itself for switched off.
    fn without_spares(&self, replicas: u32) -> u32 {
        replicas.saturating_sub(self.spare).max(replicas.min(1))
    }

    /// What the policy below sees.
    fn seen<'a>(&self, view: &View<'a>) -> View<'a> {
        let mut seen = view.clone();
        if self.in_rotation {
            seen.spec_replicas = self.without_spares(view.spec_replicas);
            seen.status_replicas = self.without_spares(view.status_replicas);
        }
        seen
    }

    fn with_spares(&self, below: Decision) -> Decision {
        let Decision { replicas, spare, path, mut why } = below;
        why.detail.push_str(&format!("; {} warm to spare", self.spare));
        if self.in_rotation {
            Decision { replicas: replicas.saturating_add(self.spare), spare, path, why }
        } else {
            Decision { replicas, spare: spare.saturating_add(self.spare), path, why }
        }
    }
}

impl Autoscaler for WarmPool {
    fn loops(&self) -> Vec<Loop> {
        self.over.loops()
    }

    fn decide(&mut self, which: usize, view: &View<'_>) -> Option<Decision> {
        let seen = self.seen(view);
        let below = match self.over.decide(which, &seen) {
            Some(decision) => decision,
            None if self.ordered => return None,
            None => Decision {
                replicas: seen.spec_replicas,
                spare: self.over.initial().1,
                path: if self.over.data_path().begins_proxied { Path::Proxied } else { Path::Direct },
                why: Reason::new("WarmPool", "the policy below leaves the scale alone"),
            },
        };
        self.ordered = true;
        Some(self.with_spares(below))
    }

    fn initial(&self) -> (u32, u32) {
        let (replicas, spare) = self.over.initial();
        if self.in_rotation {
            (replicas.saturating_add(self.spare), spare)
        } else {
            (replicas, spare.saturating_add(self.spare))
        }
    }

    fn queries(&self) -> Vec<&Query> {
        self.over.queries()
    }

    fn reads_usage(&self) -> bool {
        self.over.reads_usage()
    }

    fn workload(&self) -> Option<&str> {
        self.over.workload()
    }

    fn data_path(&self) -> DataPath {
        self.over.data_path()
    }

    fn sleep(&self) -> Option<SleepTimes> {
        self.sleep.clone().or_else(|| self.over.sleep())
    }

    fn timer(&self) -> Option<SimTime> {
        self.over.timer()
    }

    fn timed(&mut self, view: &View<'_>) -> Option<(&'static str, Decision)> {
        let seen = self.seen(view);
        let (of, below) = self.over.timed(&seen)?;
        self.ordered = true;
        Some((of, self.with_spares(below)))
    }

    fn request_held(&mut self, now: SimTime) {
        self.over.request_held(now);
    }

    fn proxy_entered(&mut self, now: SimTime) {
        self.over.proxy_entered(now);
    }

    fn pods_changed(&mut self, now: SimTime) {
        self.over.pods_changed(now);
    }

    fn maximum(&self) -> Option<u32> {
        let below = self.over.maximum()?;
        Some(if self.in_rotation { below.saturating_add(self.spare) } else { below })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixed::FixedSpec;
    use crate::policy::fixture::World;

    fn pool(in_rotation: bool) -> WarmPool {
        let over = PolicySpec::Fixed(FixedSpec { replicas: 3 });
        WarmPool::new(&WarmPoolSpec { spare: 2, in_rotation, sleep: None, over }, &Setting::default())
    }

    /// What it orders beside so many replicas: (replicas, spare).
    fn counts(pool: &mut WarmPool, replicas: u32) -> Option<(u32, u32)> {
        pool.decide(0, &World::ready(0, replicas).view()).map(|d| (d.replicas, d.spare))
    }

    #[test]
    fn spares_wait_beside_the_replicas() {
        let mut pool = pool(false);
        assert_eq!((pool.initial(), pool.maximum()), ((3, 2), Some(3)));
        assert_eq!(counts(&mut pool, 1), Some((3, 2)));
        assert_eq!(counts(&mut pool, 3), None);
        assert_eq!(counts(&mut pool, 4), Some((3, 2)));
    }

    #[test]
    fn spares_in_rotation_are_replicas() {
        let mut pool = pool(true);
        assert_eq!((pool.initial(), pool.maximum()), ((5, 0), Some(5)));
        assert_eq!(counts(&mut pool, 3), Some((5, 0)));
        assert_eq!(counts(&mut pool, 5), None);
    }

    #[test]
    fn spares_are_ordered_even_if_the_policy_below_is_content() {
        assert_eq!(counts(&mut pool(false), 3), Some((3, 2)));
        assert_eq!(counts(&mut pool(true), 5), Some((5, 0)));
    }

    #[test]
    fn loops_and_reasons_are_those_below() {
        let mut pool = pool(false);
        assert_eq!(pool.loops().iter().map(|l| l.name).collect::<Vec<_>>(), ["fixed"]);
        let why = pool.decide(0, &World::ready(0, 1).view()).expect("too few").why;
        assert_eq!((why.rule, why.detail.as_str()), ("Fixed", "3 replicas; 2 warm to spare"));
        let why =
            Reason { conditions: "AbleToScale=True/ReadyForNewScale".to_owned(), ..Reason::new("R", "d") };
        let passed =
            pool.with_spares(Decision { replicas: 1, spare: 0, path: Path::Direct, why: why.clone() }).why;
        assert_eq!((passed.rule, passed.conditions), (why.rule, why.conditions));
    }

    #[test]
    fn something_is_never_shown_as_nothing() {
        let pool = pool(true);
        let shown: Vec<u32> = [0, 1, 2, 3].into_iter().map(|n| pool.without_spares(n)).collect();
        assert_eq!(shown, [0, 1, 1, 1]);
    }
}
