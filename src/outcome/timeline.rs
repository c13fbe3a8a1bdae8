//! Replicas, queue and traffic over time, and the log of starts and decisions.

use super::Phase;
use super::sketch::Sketch;
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::policy::Reason;

/// A run over time, in equal steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// Length of a step.
    pub step: SimDuration,
    /// One point for each step, from the start of the trace to its end.
    pub points: Vec<Point>,
    /// Time to first token of the requests that arrived in each step; it may end before the points do.
    pub ttft: Vec<Sketch>,
}

impl Timeline {
    /// A request that arrived at `arrival` got its first token after `ttft`; [`SimDuration::MAX`] is never.
    pub fn note_ttft(&mut self, arrival: SimTime, ttft: SimDuration) {
        let index = (arrival.as_nanos() / self.step.as_nanos().max(1)) as usize;
        if self.ttft.len() <= index {
            self.ttft.resize(index + 1, Sketch::default());
        }
        self.ttft[index].record(ttft);
    }

    /// The last point, at the end of the trace. Where a step ends there, too, it is that step's: none has no length.
    pub fn end(&mut self, at: SimTime, mut point: Point) {
        let steps = self.points.len() as u64;
        let ended = SimTime::ZERO.saturating_add(self.step * steps);
        if ended == at
            && let Some(last) = self.points.pop()
        {
            point.add(&last);
        }
        self.points.push(point);
    }

    /// The run is over: what arrived at the very end belongs to the last step.
    pub fn close(&mut self) {
        let steps = self.points.len().max(1);
        if self.ttft.len() > steps {
            let over = self.ttft.split_off(steps);
            for other in &over {
                self.ttft[steps - 1].merge(other);
            }
        }
    }

    /// Halves the resolution: neighbours merge, counts add up, the later state stands.
    pub fn halve(&mut self) {
        self.step = self.step * 2;
        let merge = |pair: &[Point]| {
            let mut point = pair[pair.len() - 1];
            if let [first, _] = pair {
                point.add(first);
            }
            point
        };
        self.points = self.points.chunks(2).map(merge).collect();
        let both = |pair: &[Sketch]| {
            let mut sketch = pair[0].clone();
            pair[1..].iter().for_each(|other| sketch.merge(other));
            sketch
        };
        self.ttft = self.ttft.chunks(2).map(both).collect();
    }
}

/// One step of the timeline. Counts are over the step, states are at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Requests that arrived.
    pub arrived: u32,
    /// Requests that were answered in full.
    pub finished: u32,
    /// Breaching requests, by the time they ended.
    pub breached: u32,
    /// Requests held at the gateway.
    pub held_requests: u32,
    /// Requests in the replicas.
    pub in_replicas: u32,
    /// Replicas in each [`Phase`].
    pub replicas: [u32; Phase::ALL.len()],
    /// Nodes that are billed.
    pub nodes: u32,
    /// What those cost an hour, millionths of a US dollar.
    pub rate_micro_usd: u64,
    /// `spec.replicas`.
    pub ordered: u32,
}

impl Point {
    /// Adds the counts of the step before it.
    const fn add(&mut self, before: &Self) {
        self.arrived += before.arrived;
        self.finished += before.finished;
        self.breached += before.breached;
    }
}

/// One phase of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseSpan {
    /// Which.
    pub phase: Phase,
    /// When it began.
    pub from: SimTime,
    /// When it ended.
    pub to: SimTime,
    /// How much of it nothing was done for this start: no node was to be had, links or the node were busy with others' pulls,
    /// the kubelet backed off from a container, or a server that was up waited for its probe.
    pub waiting: SimDuration,
}

impl PhaseSpan {
    /// How long it was.
    pub fn length(&self) -> SimDuration {
        self.to.since(self.from)
    }

    /// How much of it something was done: the rest of it is [`PhaseSpan::waiting`].
    pub fn working(&self) -> SimDuration {
        self.length().saturating_sub(self.waiting)
    }
}

/// Why a pod had no node, and none was on its way for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unscheduled {
    /// Nodes had room, and none of them the weights that it must find there.
    NoModel,
    /// Nobody orders nodes.
    NoProvisioner,
    /// Its pools had as many nodes as they may have.
    MaxNodes,
    /// A quota was used up.
    Quota,
    /// The cloud had no node, and nobody asked again yet.
    NoCapacity,
    /// The provisioner had not looked yet.
    NotSeen,
}

impl Unscheduled {
    /// The words reports use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoModel => "no node with room holds the weights",
            Self::NoProvisioner => "nobody orders nodes",
            Self::MaxNodes => "pools at maxNodes",
            Self::Quota => "quota used up",
            Self::NoCapacity => "no capacity in the cloud",
            Self::NotSeen => "not yet seen by the provisioner",
        }
    }
}

/// How a start ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StartResult {
    /// It became ready.
    Ready,
    /// It was cancelled before.
    Cancelled,
    /// Its machine vanished before.
    NodeLost,
    /// A container of its group exited before, and the whole group was made anew.
    Recreated,
    /// The run ended first.
    Unfinished,
}

/// One start of a replica.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartRecord {
    /// The replica.
    pub replica: ReplicaId,
    /// When its pod was created, or its container exited.
    pub ordered: SimTime,
    /// When the policy wrote the order that it was created for; `None` for one that stands in for a pod that went, or was there from
    /// the start of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<SimTime>,
    /// Why it was pending, if it was; the last reason of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unscheduled: Option<Unscheduled>,
    /// Its start-up phases, in order, those of no length left out.
    pub phases: Vec<PhaseSpan>,
    /// No cold start: the container of a replica that had been ready started again, from when it exited.
    #[serde(default, skip_serializing_if = "is_false")]
    pub again: bool,
    /// How often its container started again: killed by a startup or liveness probe, crashed, or without its GPU.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
    /// How it ended.
    pub result: StartResult,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(is: &bool) -> bool {
    !*is
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl StartRecord {
    /// From creation to ready; `None` if it never was.
    pub fn duration(&self) -> Option<SimDuration> {
        let end = self.phases.last().map_or(self.ordered, |p| p.to);
        (self.result == StartResult::Ready).then(|| end.since(self.ordered))
    }

    /// Whether it is a cold start that became ready.
    pub fn is_cold(&self) -> bool {
        self.result == StartResult::Ready && !self.again
    }

    /// Time spent in a phase.
    pub fn time_in(&self, phase: Phase) -> SimDuration {
        self.phases.iter().filter(|p| p.phase == phase).map(PhaseSpan::length).sum()
    }

    /// How much of it was waiting.
    pub fn waiting(&self) -> SimDuration {
        self.phases.iter().map(|p| p.waiting).sum()
    }
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// When.
    pub at: SimTime,
    /// Name of the loop.
    pub of: &'static str,
    /// `spec.replicas` before.
    pub from: u32,
    /// `spec.replicas` after.
    pub to: u32,
    /// Spares after.
    pub spare: u32,
    /// Why.
    pub why: Reason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_of_whole_steps_ends_with_its_last_step() {
        let ended = |end_s: u64| {
            let mut timeline = Timeline { step: SimDuration::from_secs(5), ..Timeline::default() };
            let point = |arrived: u32| Point { arrived, ordered: arrived, ..Point::default() };
            timeline.points = vec![point(3), point(4)];
            timeline.note_ttft(SimTime::from_secs(4), SimDuration::from_secs(1));
            timeline.note_ttft(SimTime::from_secs(end_s), SimDuration::from_secs(2));
            timeline.end(SimTime::from_secs(end_s), point(1));
            timeline.close();
            let counts: Vec<u32> = timeline.points.iter().map(|point| point.arrived).collect();
            assert!(
                timeline.points.last().is_some_and(|last| last.ordered == 1),
                "states are those at the end"
            );
            (counts, timeline.ttft.len())
        };
        assert_eq!(ended(10), (vec![3, 5], 2));
        assert_eq!(ended(12), (vec![3, 4, 1], 3));
    }
}
