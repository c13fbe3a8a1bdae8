//! SLO breaches: how each ended, why it happened, and when.

use smallvec::SmallVec;

use super::Phase;
use crate::kernel::{ReplicaId, SimDuration, SimTime};

/// The limits a request must keep, each optional; one above its limit is a breach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slo {
    /// Time to first token.
    pub ttft: Option<SimDuration>,
    /// Time per output token.
    pub tpot: Option<SimDuration>,
    /// Largest inter-token latency of the request.
    pub itl: Option<SimDuration>,
    /// End to end.
    pub e2e: Option<SimDuration>,
    /// Wait before it is first scheduled.
    pub queue_wait: Option<SimDuration>,
}

/// How a breaching request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BreachOutcome {
    /// Answered, over a limit.
    Late,
    /// Refused.
    Rejected,
    /// Given up at the timeout.
    TimedOut,
    /// Cut by a drain or a fault.
    Killed,
}

impl BreachOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Late, Self::Rejected, Self::TimedOut, Self::Killed];

    /// The words reports use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Rejected => "rejected",
            Self::TimedOut => "timed out",
            Self::Killed => "killed",
        }
    }
}

/// Why a request breached: the first of these that matches, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// Longer than the context or the KV cache of a replica: none would have taken it.
    TooLong,
    /// Cut by a drain or a fault, or routed to a replica that was told to stop or is no more.
    Drain,
    /// A replica that nothing had warmed, or that had gone cold: its penalty was at least the miss.
    NotWarmed,
    /// It waited while a replica was on its way, mostly in this start-up phase.
    StartUp(Phase),
    /// None was on its way but pods that no node was to be had for.
    NoNode,
    /// None was on its way, and the policy was at its maximum.
    AtMaximum,
    /// None was on its way, and the policy could have ordered one.
    NotOrdered,
    /// The replicas there were saturated: queue, batch, prefill interference, preemption.
    Saturation,
}

impl Cause {
    /// All causes, in the order they are tested.
    pub const ALL: [Self; 14] = [
        Self::TooLong,
        Self::Drain,
        Self::NotWarmed,
        Self::StartUp(Phase::Pending),
        Self::StartUp(Phase::Provisioning),
        Self::StartUp(Phase::Pulling),
        Self::StartUp(Phase::Starting),
        Self::StartUp(Phase::Loading),
        Self::StartUp(Phase::WarmingUp),
        Self::StartUp(Phase::Probing),
        Self::NoNode,
        Self::AtMaximum,
        Self::NotOrdered,
        Self::Saturation,
    ];

    /// Index into [`Breaches::by_cause`].
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|c| *c == self).expect("only start-up phases are causes")
    }

    /// The words reports use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLong => "longer than the context",
            Self::Drain => "cut by a drain or a fault",
            Self::NotWarmed => "not warmed",
            Self::StartUp(phase) => phase.label(),
            Self::NoNode => "no node to be had",
            Self::AtMaximum => "at max replicas",
            Self::NotOrdered => "not ordered yet",
            Self::Saturation => "saturation",
        }
    }
}

/// The chain of one request, printed by `explain-request`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// Its number in order of arrival, from 0.
    pub id: u64,
    /// When it reached the gateway.
    pub arrival: SimTime,
    /// Prompt length, tokens.
    pub prompt_tokens: u32,
    /// Output length, tokens.
    pub output_tokens: u32,
    /// The replica that took it, and when the gateway forwarded it.
    pub routed: Option<(ReplicaId, SimTime)>,
    /// When the engine first scheduled it.
    pub scheduled: Option<SimTime>,
    /// When its first token left.
    pub first_token: Option<SimTime>,
    /// When its last token left, or it was given up.
    pub end: SimTime,
    /// How often it was preempted.
    pub preemptions: u32,
    /// Penalty of a replica that was not warmed, suffered while it was there.
    pub penalty: SimDuration,
    /// `None` if it kept the SLO.
    pub breach: Option<(BreachOutcome, Cause)>,
    /// The replica on its way whose start explains the wait, with the phase that covers most of it.
    pub waited_for: Option<ReplicaId>,
    /// What capacity there was when it came.
    pub on_arrival: Capacity,
    /// What capacity there was as it ended.
    pub capacity: Capacity,
}

/// What capacity there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Replicas in rotation.
    pub serving: u32,
    /// Warm replicas out of rotation.
    pub held: u32,
    /// Replicas on their way.
    pub starting: u32,
    /// `spec.replicas`.
    pub ordered: u32,
    /// The most the policy can order.
    pub maximum: Option<u32>,
}

/// All breaches of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Breaches {
    /// Requests that breached.
    pub total: u64,
    /// By outcome, in the order of [`BreachOutcome::ALL`].
    pub by_outcome: [u64; BreachOutcome::ALL.len()],
    /// By cause, in the order of [`Cause::ALL`].
    pub by_cause: [u64; Cause::ALL.len()],
    /// The union over breaching requests, and over the limits they broke, of the time over the limit: see
    /// [`Miss`](super::recorder::Miss). Sorted, disjoint.
    pub intervals: Vec<(SimTime, SimTime)>,
    /// That time as stretches in which one thing was missing: (from, to, what), sorted, disjoint.
    pub bands: Vec<(SimTime, SimTime, Cause)>,
    /// That time by what was missing at each instant of it, in the order of [`Cause::ALL`]; sums to [`Breaches::duration`].
    pub time_by_cause: [SimDuration; Cause::ALL.len()],
    /// Chains of the first breaching requests, at most [`Breaches::KEPT`].
    pub first: Vec<RequestRecord>,
}

impl Breaches {
    /// How many chains are kept.
    pub const KEPT: usize = 100;

    /// Total time in breach.
    pub fn duration(&self) -> SimDuration {
        self.intervals.iter().map(|(from, to)| to.since(*from)).sum()
    }

    /// Adds a stretch that no band covers yet; with its neighbours it becomes one where they touch and lack the same. New ones are
    /// nearly always at the end.
    pub fn add_band(&mut self, from: SimTime, to: SimTime, cause: Cause) {
        if from >= to {
            return;
        }
        self.time_by_cause[cause.index()] += to.since(from);
        let at = self.bands.partition_point(|&(start, ..)| start < from);
        let joins =
            |other: Option<&(SimTime, SimTime, Cause)>,
             touch: fn(&(SimTime, SimTime, Cause)) -> SimTime,
             edge| { other.is_some_and(|other| touch(other) == edge && other.2 == cause) };
        let before = joins(at.checked_sub(1).and_then(|i| self.bands.get(i)), |band| band.1, from);
        let after = joins(self.bands.get(at), |band| band.0, to);
        match (before, after) {
            (true, true) => {
                self.bands[at - 1].1 = self.bands[at].1;
                self.bands.remove(at);
            }
            (true, false) => self.bands[at - 1].1 = to,
            (false, true) => self.bands[at].0 = from,
            (false, false) => self.bands.insert(at, (from, to, cause)),
        }
    }

    /// The parts of [from, to] that were in no breach so far, in order.
    pub fn uncovered(&self, from: SimTime, to: SimTime) -> SmallVec<[(SimTime, SimTime); 2]> {
        let mut new = SmallVec::new();
        let mut at = from;
        let first = self.intervals.partition_point(|&(_, end)| end <= from);
        for &(start, end) in self.intervals[first..].iter().take_while(|(start, _)| *start < to) {
            if at < start {
                new.push((at, start));
            }
            at = at.max(end);
        }
        if at < to {
            new.push((at, to));
        }
        new
    }
}
