//! A running `slo` policy.

use std::collections::VecDeque;

use super::spec::{STEPS_AHEAD_MAX, SloPolicySpec};
use crate::forecast::Intervals;
use crate::kernel::{SimDuration, SimTime};
use crate::policy::api::{Autoscaler, Decision, Loop, Path, PodView, Reason, View};
use crate::policy::{ReplicaModel, Setting};

/// How far observation may take the capacity below what it is said to be. Not above: that nobody waits does not say that the SLO holds.
const CORRECTION_LEAST: f64 = 0.5;
/// Weight of a new observation of the capacity.
const WEIGHT: f64 = 0.1;
/// A replica is full once this many requests wait for each that runs in it.
const FULL: f64 = 0.1;
/// The quantile of a start that is expected of what is on its way.
const TYPICAL: f64 = 0.5;

/// A running `slo` policy.
pub struct SloPolicy {
    step: SimDuration,
    quantile: f64,
    /// Steps until what is ordered now serves.
    ahead: u32,
    work_off: SimDuration,
    capacity: f64,
    corrects: bool,
    correction: f64,
    bounds: (u32, u32),
    replica: ReplicaModel,
    intervals: Intervals,
    /// What had arrived, and what was in flight, at the last turn.
    last: Option<(u64, u64)>,
    path: Vec<f64>,
    /// What was to be kept at the last turns, one for each step of a lead and the newest last.
    kept: VecDeque<u32>,
}

/// What is played forward.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Outlook {
    /// Requests that wait beyond what runs when an order of now would serve.
    queue: f64,
    /// Replicas that serve by then, of those there are.
    there: u32,
}

impl SloPolicy {
    /// From a spec that nothing is wrong with in this setting.
    pub fn new(spec: &SloPolicySpec, setting: &Setting) -> Self {
        let lead = spec.lead_in(setting);
        let steps = lead.as_nanos().div_ceil(spec.step.as_nanos().max(1)).min(STEPS_AHEAD_MAX) as u32;
        let horizons: Vec<u32> = [1, steps.max(1), steps + 1, 2 * steps + 1].into();
        let model = spec.forecaster().build(spec.step, 2 * steps + 1);
        Self {
            step: spec.step,
            quantile: spec.quantile,
            ahead: steps,
            work_off: spec.work_off,
            // Without a figure no load needs more than the least; a scenario does not get here without.
            capacity: spec.capacity.or(setting.replica.capacity_per_s).unwrap_or(f64::INFINITY),
            corrects: spec.correct,
            correction: 1.0,
            bounds: (spec.min_replicas, spec.max_replicas),
            replica: setting.replica.clone(),
            intervals: Intervals::new(model, &horizons, true),
            last: None,
            path: Vec::new(),
            kept: VecDeque::new(),
        }
    }

    /// What a replica serves, requests/s, as observed.
    fn per_replica(&self) -> f64 {
        self.capacity * self.correction
    }

    /// Replicas for a load, requests/s.
    fn replicas(&self, load: f64) -> u32 {
        // A load that is a hair above what they serve is what they serve.
        let count = (load / self.per_replica() - 1e-9).ceil().clamp(0.0, f64::from(u32::MAX));
        (count as u32).clamp(self.bounds.0, self.bounds.1)
    }

    /// The time until a pod serves that does not yet: what a typical start takes, less what it has behind it. One that has begun to run has
    /// its node; one that takes longer than most may come any moment.
    fn until_ready(&self, now: SimTime, pod: &PodView) -> SimDuration {
        match pod.started {
            Some(started) => self.replica.start.at(TYPICAL).saturating_sub(now.since(started)),
            None => self.replica.start_with_node.at(TYPICAL).saturating_sub(now.since(pod.created)),
        }
    }

    /// Learns from what was served since the last turn: full replicas show what they can do, and those that are not show what they can at
    /// least.
    fn correct(&mut self, view: &View<'_>, arrived: u64) {
        let flight = view.gateway.in_flight();
        let before = self.last.replace((view.gateway.arrived, flight));
        let (Some((_, flight_before)), ready) = (before, view.ready()) else { return };
        if !self.corrects || ready == 0 || !self.capacity.is_finite() {
            return;
        }
        let ended = (arrived + flight_before).saturating_sub(flight);
        let served = ended as f64 / self.step.as_secs_f64() / f64::from(ready) / self.capacity;
        let waits = (view.gateway.held + view.gateway.waiting) as f64;
        let is_full = waits > FULL * view.gateway.running.max(1) as f64 + 1.0;
        let next = if is_full {
            self.correction + WEIGHT * (served - self.correction)
        } else {
            // Nobody waits: it serves that much within the SLO, and perhaps more.
            self.correction.max(served.min(self.correction + WEIGHT))
        };
        self.correction = next.clamp(CORRECTION_LEAST, 1.0);
    }

    /// Plays the queue forward until an order of now would serve.
    fn outlook(&self, view: &View<'_>) -> Outlook {
        let step = self.step.as_secs_f64();
        let waits = view.pods.iter().filter(|pod| !pod.ready && !pod.deleting);
        let mut coming: Vec<u32> = waits
            .map(|pod| self.until_ready(view.now, pod).as_nanos().div_ceil(self.step.as_nanos().max(1)))
            .map(|steps| steps.min(STEPS_AHEAD_MAX) as u32)
            .collect();
        coming.sort_unstable();
        let ready = view.ready();
        let mut queue = (view.gateway.held + view.gateway.waiting) as f64;
        let mut there = ready;
        for steps in 1..=self.ahead {
            let load = self.path.get(steps as usize - 1).copied().unwrap_or(0.0);
            // What comes within a step serves from its end.
            there = ready + coming.partition_point(|own| *own < steps) as u32;
            queue = (queue + (load - f64::from(there) * self.per_replica()) * step).max(0.0);
        }
        there = there.max(ready + coming.partition_point(|own| *own <= self.ahead) as u32);
        Outlook { queue, there }
    }

    /// The highest load of some steps ahead, at the quantile.
    fn peak(&self, steps: std::ops::RangeInclusive<u32>) -> f64 {
        let at = |step: u32| {
            let expected = self.path.get(step as usize - 1).copied().unwrap_or(0.0);
            self.intervals.quantile_of(step, expected, self.quantile)
        };
        steps.map(at).fold(0.0, f64::max)
    }

    fn decision(&mut self, view: &View<'_>) -> Decision {
        let far = 2 * self.ahead + 1;
        let mut path = std::mem::take(&mut self.path);
        self.intervals.path(far, &mut path);
        self.path = path;
        let outlook = self.outlook(view);
        let first = self.ahead + 1;
        let load = self.peak(first..=first);
        let backlog = outlook.queue / self.work_off.as_secs_f64();
        let order = self.replicas(load + backlog);
        // What goes now is missing until it could be back: nothing goes that is needed within two starts, or was thought to be within the
        // last. And who does not know yet how wrong forecasts are takes nothing away.
        let keep = self.replicas(self.peak(1..=far) + backlog).max(order);
        if self.kept.len() > self.ahead as usize {
            self.kept.pop_front();
        }
        self.kept.push_back(keep);
        let is_new = self.intervals.errors(far) == 0;
        let keep = self.kept.iter().copied().fold(keep, u32::max);
        let keep = if is_new { keep.max(view.spec_replicas) } else { keep };
        let replicas = view.spec_replicas.clamp(order, keep);
        let rule = match replicas.cmp(&view.spec_replicas) {
            std::cmp::Ordering::Greater => "ScaleUp",
            std::cmp::Ordering::Less => "ScaleDown",
            std::cmp::Ordering::Equal => "Kept",
        };
        let detail = format!(
            "in {} {load:.3} requests/s at {} ({}), {:.0} queued then with {} replicas; {:.3} a replica ({:.2} of the model's): {order} to {keep}",
            self.step * u64::from(first),
            self.quantile,
            self.intervals.model(first),
            outlook.queue,
            outlook.there,
            self.per_replica(),
            self.correction,
        );
        Decision { replicas, spare: 0, path: Path::Direct, why: Reason::new(rule, detail) }
    }
}

impl Autoscaler for SloPolicy {
    fn loops(&self) -> Vec<Loop> {
        vec![Loop { name: "slo", period: self.step, phase: Some(self.step) }]
    }

    fn decide(&mut self, _: usize, view: &View<'_>) -> Option<Decision> {
        let before = self.last.map_or(0, |(arrived, _)| arrived);
        let arrived = view.gateway.arrived.saturating_sub(before);
        self.correct(view, arrived);
        self.intervals.observe(Some(arrived as f64 / self.step.as_secs_f64()));
        Some(self.decision(view))
    }

    fn initial(&self) -> (u32, u32) {
        (self.bounds.0, 0)
    }

    fn maximum(&self) -> Option<u32> {
        Some(self.bounds.1)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
