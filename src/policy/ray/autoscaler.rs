//! Ray Serve as a policy: reports, and the ticks of the control loop that matter.
//!
//! Replicas and routers report every `metrics_interval_s`, each for itself upstream and all at once here. The control
//! loop's ticks count from the first report on. Those that cannot change anything are passed over.

use std::collections::VecDeque;

use super::rule::{Counter, Inputs, Rules};
use super::spec::RaySpec;
use crate::kernel::{SimDuration, SimTime};
use crate::policy::api::{Autoscaler, Balancing, DataPath, Decision, Loop, Path, PodLimit, Reason, View};

/// From one tick of the control loop to the next.
const TICK: SimDuration = SimDuration::from_millis(100);

/// A running Ray Serve deployment.
#[derive(Debug)]
pub struct Ray {
    name: String,
    rules: Rules,
    initial: u32,
    interval: SimDuration,
    look_back: SimDuration,
    phase: Option<SimDuration>,
    data_path: DataPath,
    /// Requests in the system times ns, at each report since the look-back period's start.
    reports: VecDeque<(SimTime, u128)>,
    /// The mean that the last report told.
    reported: f64,
    ticks: Option<Ticks>,
}

/// The control loop, from the first report on.
#[derive(Debug)]
struct Ticks {
    /// When tick 0 was.
    first: SimTime,
    /// Ticks that have been.
    done: u64,
    counter: Counter,
    inputs: Inputs,
    /// The tick that acts if nothing changes.
    acts: Option<u64>,
    /// A tick at which pods are counted anew, because some came or went, or a request found none.
    looks: Option<u64>,
}

impl Ticks {
    fn new(first: SimTime) -> Self {
        let (counter, inputs) = (Counter::default(), Inputs::default());
        Self { first, done: 0, counter, inputs, acts: None, looks: None }
    }

    /// The first tick that is not before an instant.
    fn at_or_after(&self, now: SimTime) -> u64 {
        now.since(self.first).as_nanos().div_ceil(TICK.as_nanos())
    }

    fn time(&self, tick: u64) -> SimTime {
        self.first.saturating_add(TICK * tick)
    }

    fn look(&mut self, now: SimTime) {
        let tick = self.at_or_after(now).max(self.done);
        self.looks = Some(self.looks.map_or(tick, |before| before.min(tick)));
    }

    /// Brings the loop up to an instant, from which on these inputs hold; the new target if a tick at this instant acts.
    fn step(&mut self, rules: &Rules, now: SimTime, inputs: Inputs) -> Option<u32> {
        let tick = self.at_or_after(now);
        if tick > self.done {
            self.counter.skip(rules, self.inputs, tick - self.done);
            self.done = tick;
        }
        self.inputs = inputs;
        self.looks = self.looks.filter(|at| *at > tick);
        if self.done == tick && self.time(tick) == now {
            self.inputs.target = self.counter.tick(rules, inputs);
            self.done += 1;
        }
        let acts_in = self.counter.acts_in(rules, self.inputs);
        self.acts = acts_in.map(|ticks| self.done.saturating_add(ticks - 1));
        (self.inputs.target != inputs.target).then_some(self.inputs.target)
    }
}

impl Ray {
    /// From a spec that nothing is wrong with.
    pub fn new(spec: &RaySpec) -> Self {
        let config = &spec.autoscaling_config;
        let seconds = |value: f64| SimDuration::from_secs_f64(value).unwrap_or(SimDuration::MAX);
        let pod_limit = Some(PodLimit { concurrency: spec.max_ongoing_requests, queue: 0 });
        Self {
            name: spec.name.clone().unwrap_or_else(|| "deployment".to_owned()),
            rules: config.rules(),
            initial: config.initial_replicas.unwrap_or(config.min_replicas),
            interval: seconds(config.metrics_interval_s),
            look_back: seconds(config.look_back_period_s),
            phase: spec.phase,
            data_path: DataPath {
                pod_limit,
                hold_limit: u32::try_from(spec.max_queued_requests).ok(),
                // Of two replicas drawn at random the less loaded is asked first.
                balancing: Balancing::RandomChoiceOfTwo,
                begins_proxied: true,
                is_metered: true,
                ..DataPath::default()
            },
            reports: VecDeque::from([(SimTime::ZERO, 0)]),
            reported: 0.0,
            ticks: None,
        }
    }

    /// Requests in the system, mean over the look-back period. Where that begins between two reports, requests are taken to
    /// have been as many all the time between them.
    fn report(&mut self, view: &View<'_>) -> f64 {
        let now = view.now;
        let passed = view.gateway.meter.concurrency_ns;
        let from = now.saturating_sub(self.look_back);
        self.reports.push_back((now, passed));
        while self.reports.get(1).is_some_and(|(at, _)| *at <= from) {
            self.reports.pop_front();
        }
        let (first, next) = (self.reports[0], *self.reports.get(1).unwrap_or(&self.reports[0]));
        let (from, before) = if first.0 < from {
            let share = from.since(first.0).as_nanos() as f64 / next.0.since(first.0).as_nanos() as f64;
            (from, first.1 as f64 + share * (next.1 - first.1) as f64)
        } else {
            (first.0, first.1 as f64)
        };
        let time = now.since(from).as_nanos();
        if time == 0 { view.gateway.in_flight() as f64 } else { (passed as f64 - before) / time as f64 }
    }

    /// Brings the loop up to now.
    fn step(&mut self, view: &View<'_>) -> Option<Decision> {
        let ticks = self.ticks.get_or_insert_with(|| Ticks::new(view.now));
        let running = view.ready();
        // Without a replica, a router reports a request as it comes.
        let held = if running == 0 { view.gateway.held as f64 } else { 0.0 };
        let total = self.reported.max(held);
        let inputs = Inputs { running, total, target: view.spec_replicas };
        let replicas = ticks.step(&self.rules, view.now, inputs)?;
        let rule = match replicas.cmp(&inputs.target) {
            _ if running == 0 => "ColdStart",
            std::cmp::Ordering::Greater => "Upscale",
            _ => "Downscale",
        };
        let detail = format!(
            "{total:.2} ongoing requests, {running} running replicas of {} each: target {} to {replicas}",
            self.rules.target_ongoing_requests, inputs.target
        );
        Some(Decision { replicas, spare: 0, path: Path::Proxied, why: Reason::new(rule, detail) })
    }
}

impl Autoscaler for Ray {
    fn loops(&self) -> Vec<Loop> {
        vec![Loop { name: "report", period: self.interval, phase: self.phase }]
    }

    fn decide(&mut self, _which: usize, view: &View<'_>) -> Option<Decision> {
        self.reported = self.report(view);
        self.step(view)
    }

    fn initial(&self) -> (u32, u32) {
        (self.initial, 0)
    }

    fn maximum(&self) -> Option<u32> {
        Some(self.rules.max)
    }

    fn workload(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn data_path(&self) -> DataPath {
        self.data_path.clone()
    }

    fn timer(&self) -> Option<SimTime> {
        let ticks = self.ticks.as_ref()?;
        let next = [ticks.acts, ticks.looks].into_iter().flatten().min()?;
        Some(ticks.time(next))
    }

    fn timed(&mut self, view: &View<'_>) -> Option<(&'static str, Decision)> {
        self.step(view).map(|decision| ("tick", decision))
    }

    fn request_held(&mut self, now: SimTime) {
        let asleep = |ticks: &&mut Ticks| ticks.inputs.running == 0 && self.rules.wakes(ticks.inputs.target);
        if let Some(ticks) = self.ticks.as_mut().filter(asleep) {
            ticks.look(now);
        }
    }

    fn pods_changed(&mut self, now: SimTime) {
        if let Some(ticks) = &mut self.ticks {
            ticks.look(now);
        }
    }
}

#[cfg(test)]
#[path = "autoscaler_tests.rs"]
mod tests;
