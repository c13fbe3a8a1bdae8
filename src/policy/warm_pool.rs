//! A warm pool: replicas or nodes to spare, over any other policy.
//!
//! Out of rotation, the spares take no traffic and the policy below does not see them.
//! In rotation, they are over-provisioning: the policy below sees their load shared, and its
//! own count without them. As nodes, they are room that the next replica finds at once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::{Decision, Loop, SleepTimes, View};
use super::layer::{Demand, Layered, Rule, UNCHANGED};
use super::rise::{RiseSpec, Rises};
use super::{Fault, PolicySpec, Setting};
use crate::kernel::{Distribution, SimDuration, SimTime};

/// How often a pool that waits for activity looks whether there is any: as often as Knative's autoscaler, 2 s.
const ACTIVE_PERIOD: SimDuration = SimDuration::from_secs(2);

/// How long spares outlive the requests they are there for (Modal's default).
const SCALEDOWN_WINDOW: SimDuration = SimDuration::from_secs(60);

/// Warm replicas to spare, over another policy. How many: the highest of `spare`, `fraction` and `worstRise`, of those that are given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WarmPoolSpec {
    /// How many spares; beside `fraction` or `worstRise` the fewest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spare: Option<u32>,
    /// Spares as a fraction of the replicas that the policy below orders, rounded up: 0.25 is one for every four. In millionths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// As many spares as the order below rose by, at worst, while a replica would have started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_rise: Option<RiseSpec>,
    /// Whether there are spares only while requests are in flight, waiting ones included (Modal's `buffer_containers`). It is looked
    /// at every 2 s, and when a request is held. Default: false, spares wait day and night.
    #[serde(default)]
    pub while_active: bool,
    /// With `whileActive`: how long the spares stay after requests were last seen (Modal's `scaledown_window`). Default: 60 s, as there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaledown_window: Option<SimDuration>,
    /// What a spare is. Default: `loaded`.
    #[serde(default)]
    pub level: SpareLevel,
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

/// How much of a start a spare has behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SpareLevel {
    /// All of it: a replica whose weights are on the GPU, or where `sleep` puts them.
    #[default]
    Loaded,
    /// The node and the image on it: as `node`, where every pool fetches images beforehand (`prefetch: [image]`).
    Image,
    /// The node alone, held by a placeholder that gives way to the next replica and then waits for another node. What its pool fetches
    /// beforehand is there, too.
    Node,
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
    /// What is wrong with it but for the policy below.
    pub(super) fn check_spares(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut add = |path: &str, message: &str, help: &str| {
            faults.push((path.to_owned(), message.to_owned(), help.to_owned()));
        };
        match (self.spare, self.fraction, &self.worst_rise) {
            (None, None, None) => add(
                "",
                "nothing says how many spares a warm pool has",
                "write `spare: 2`, `fraction: 0.25` or `worstRise: {}`",
            ),
            (Some(0), None, None) => {
                add("spare", "a warm pool without a spare", "write at least 1, or use its policy alone");
            }
            _ => {}
        }
        if self.fraction.is_some_and(|fraction| !(fraction > 0.0 && fraction <= MOST_FRACTION)) {
            add(
                "fraction",
                "a fraction of spares is above 0 and at most 100",
                "write e.g. 0.25, one for every four",
            );
        }
        if self.scaledown_window.is_some() && !self.while_active {
            let help = "write `whileActive: true` beside it, or leave it out";
            add("scaledownWindow", "spares that are always there are never scaled down", help);
        }
        if self.level != SpareLevel::Loaded && self.in_rotation {
            add(
                "inRotation",
                "a node without a replica serves nothing",
                "leave out `inRotation`, or `level`",
            );
        }
        if self.level != SpareLevel::Loaded && self.sleep.is_some() {
            add(
                "sleep",
                "a node without a replica has nothing to put to sleep",
                "leave out `sleep`, or `level`",
            );
        }
        if let Some(rise) = &self.worst_rise {
            faults.extend(rise.check().into_iter().map(|(p, m, h)| (format!("worstRise.{p}"), m, h)));
        }
        faults.extend(self.check_sleep());
        faults.extend(self.check_rotation());
        faults
    }

    fn check_sleep(&self) -> Option<Fault> {
        let right_below = matches!(&self.over, PolicySpec::WarmPool(below) if below.sleep.is_some());
        let within = self.over.warm_pools();
        let below = within.iter().any(|pool| pool.sleep.is_some());
        let (path, message, help) = if self.sleep.is_some() && self.in_rotation {
            ("sleep", "spares in rotation serve, and never sleep", "leave out `inRotation`, or `sleep`")
        } else if below || (self.sleep.is_some() && !within.is_empty()) {
            let path = match (right_below, below) {
                (true, _) => "over.warmPool.sleep",
                (false, true) => "over",
                (false, false) => "sleep",
            };
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

    /// Most spares over a policy that orders so many replicas at most.
    pub fn most_spares(&self, most: u32) -> u32 {
        let rise = self.worst_rise.as_ref().map_or(0, |_| most);
        self.spare.unwrap_or(0).max(of_fraction(self.fraction, most)).max(rise)
    }
}

/// The most that `fraction` may be: a hundred spares for every replica.
const MOST_FRACTION: f64 = 100.0;

/// A fraction of replicas, rounded up, in whole millionths: so 0.1 of 30 is 3, whatever 0.1 is in binary.
fn of_fraction(fraction: Option<f64>, replicas: u32) -> u32 {
    let millionths = (fraction.unwrap_or(0.0) * 1e6).round() as u64;
    u32::try_from((millionths * u64::from(replicas)).div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// The rule of a running warm pool.
pub struct WarmPoolRule {
    spec: WarmPoolSpec,
    sleep: Option<SleepTimes>,
    rises: Option<Rises>,
    /// The spares in force.
    spares: u32,
    /// Whether requests were in flight when it looked last, where that matters.
    is_active: bool,
    /// When it saw any last.
    last_busy: Option<SimTime>,
    /// When it wants to look out of turn: a request came.
    wakes: Option<SimTime>,
}

impl WarmPoolSpec {
    /// Policies that hold the pods there are against what they asked for would take spares in rotation for a change under way,
    /// and wait for ever.
    pub(super) fn check_rotation(&self) -> Option<Fault> {
        let waits = self.over.any(&|policy| matches!(policy, PolicySpec::Wva(_) | PolicySpec::Dynamo(_)));
        (self.in_rotation && waits).then(|| {
            let message = "wva and dynamo wait until as many pods run as they asked for, and spares in rotation are more".to_owned();
            ("inRotation".to_owned(), message, "leave it out: the spares then wait beside them".to_owned())
        })
    }
}

/// A running warm pool.
pub type WarmPool = Layered<WarmPoolRule>;

/// From a spec.
pub fn build(spec: &WarmPoolSpec, setting: &Setting) -> WarmPool {
    let over = spec.over.build(setting);
    let mut rule = WarmPoolRule {
        spec: spec.clone(),
        sleep: spec.sleep.as_ref().map(SleepSpec::times),
        rises: spec.worst_rise.map(|rise| Rises::new(rise.lead_in(setting), rise.look_back)),
        spares: 0,
        is_active: false,
        last_busy: None,
        wakes: None,
    };
    rule.spares = rule.wanted(over.initial().0);
    Layered::new(rule, [("over".to_owned(), over)])
}

impl WarmPoolRule {
    /// Spares beside so many replicas.
    fn wanted(&self, replicas: u32) -> u32 {
        if self.spec.while_active && !self.is_active {
            return 0;
        }
        let rise = self.rises.as_ref().map_or(0, Rises::worst);
        self.spec.spare.unwrap_or(0).max(of_fraction(self.spec.fraction, replicas)).max(rise)
    }

    /// Replicas without the spares, as the policy below knows them. What runs is never shown
    /// as nothing: at zero, a policy may take itself for switched off.
    fn without_spares(&self, replicas: u32) -> u32 {
        replicas.saturating_sub(self.spares).max(replicas.min(1))
    }

    /// So many replicas and spares with what the pool adds.
    fn with_spares(&self, replicas: u32, spare: u32) -> (u32, u32) {
        match (self.spec.level, self.spec.in_rotation) {
            (SpareLevel::Image | SpareLevel::Node, _) => (replicas, spare),
            (SpareLevel::Loaded, true) => (replicas.saturating_add(self.spares), spare),
            (SpareLevel::Loaded, false) => (replicas, spare.saturating_add(self.spares)),
        }
    }
}

impl Rule for WarmPoolRule {
    fn name(&self) -> &'static str {
        "warmPool"
    }

    fn settle(&mut self, demands: &[Demand], view: &View<'_>) -> Decision {
        let mut decision = demands[0].decision.clone();
        self.wakes = None;
        let is_busy = view.gateway.in_flight() > 0;
        let window = self.spec.scaledown_window.unwrap_or(SCALEDOWN_WINDOW);
        self.is_active = is_busy || self.last_busy.is_some_and(|last| view.now.since(last) < window);
        self.last_busy = if is_busy { Some(view.now) } else { self.last_busy };
        if let Some(rises) = &mut self.rises {
            rises.note(view.now, decision.replicas);
        }
        self.spares = self.wanted(decision.replicas);
        if decision.why.rule == UNCHANGED {
            decision.why.rule = "WarmPool";
        }
        let what = match self.spec.level {
            SpareLevel::Loaded => "warm to spare",
            SpareLevel::Image | SpareLevel::Node => "nodes held",
        };
        decision.why.detail.push_str(&format!("; {} {what}", self.spares));
        (decision.replicas, decision.spare) = self.with_spares(decision.replicas, decision.spare);
        decision
    }

    fn initial(&self, members: &[(u32, u32)]) -> (u32, u32) {
        let (replicas, spare) = members[0];
        self.with_spares(replicas, spare)
    }

    fn maximum(&self, members: &[Option<u32>]) -> Option<u32> {
        let below = members[0]?;
        let serves = self.spec.in_rotation && self.spec.level == SpareLevel::Loaded;
        Some(if serves { below.saturating_add(self.spec.most_spares(below)) } else { below })
    }

    fn seen<'a>(&self, view: &View<'a>) -> View<'a> {
        let mut seen = view.clone();
        if self.spec.in_rotation {
            seen.spec_replicas = self.without_spares(view.spec_replicas);
            seen.status_replicas = self.without_spares(view.status_replicas);
        }
        seen
    }

    fn speaks_first(&self) -> bool {
        true
    }

    fn own_loop(&self) -> Option<Loop> {
        let phase = Some(SimDuration::ZERO);
        self.spec.while_active.then_some(Loop { name: "warmPool", period: ACTIVE_PERIOD, phase })
    }

    fn timer(&self) -> Option<SimTime> {
        self.wakes
    }

    fn request_held(&mut self, now: SimTime) {
        if self.spec.while_active && !self.is_active {
            self.wakes = self.wakes.or(Some(now));
        }
    }

    fn sleep(&self) -> Option<SleepTimes> {
        self.sleep.clone()
    }

    fn placeholders(&self) -> u32 {
        if self.spec.level == SpareLevel::Loaded { 0 } else { self.spares }
    }
}

#[cfg(test)]
#[path = "warm_pool_tests.rs"]
mod tests;
