//! Scrapes and decisions. What a decision does is in `scale.rs`.

use super::replica::State;
use super::run::{Event, Run};
use super::telemetry::Scrape;
use crate::kernel::queue::Rank;
use crate::policy::api::{GatewaySample, PodView};
use crate::policy::{Decision, View};

impl Run<'_> {
    pub(super) fn scrape(&mut self) {
        let now = self.now;
        let mut pods = Vec::with_capacity(self.live.len());
        for index in 0..self.live.len() {
            let id = self.live[index];
            self.settle(id);
            let replica = &mut self.replicas[id.index()];
            let container_started = replica.container_started;
            let Some(serving) = replica.serving() else {
                // CPU usage is a difference of two readings: the container must have been there at the one before.
                let measured = container_started.is_some_and(|at| at <= self.last_scrape);
                if let Some(cpu) = self.sim.replica.cpu.filter(|_| measured) {
                    pods.push((id, cpu.loading(now, now.since(self.last_scrape))));
                }
                continue;
            };
            let (gauges, busy) = (serving.engine.gauges(), serving.engine.busy(now));
            pods.push((id, serving.exporter.scrape(now, gauges, busy, self.sim.replica.cpu)));
        }
        let window_secs = now.since(self.last_scrape).as_secs_f64();
        let arrived = (self.arrivals - self.arrivals_at_scrape) as f64;
        let gateway = GatewaySample {
            at: now,
            queue_length: f64::from(self.held_count),
            in_flight: f64::from(self.held_count + self.in_replicas),
            requests_per_second: if window_secs > 0.0 { arrived / window_secs } else { 0.0 },
        };
        self.arrivals_at_scrape = self.arrivals;
        self.last_scrape = now;
        self.pipeline.push(Scrape { at: now, pods, gateway });
        let next = now + self.sim.telemetry.scrape_interval;
        self.queue.push(next, Rank::Scrape, 0, 0, Event::Scrape);
    }

    pub(super) fn decide(&mut self, index: usize) {
        let now = self.now;
        let next = now + self.loops[index].period;
        self.queue.push(next, Rank::Decide, index as u32, 0, Event::Decide(index));
        if let Some(decision) = self.ask_policy(index) {
            self.apply(index, decision);
        }
    }

    fn ask_policy(&mut self, index: usize) -> Option<Decision> {
        let scrape = self.pipeline.read(self.now);
        let mut pods = Vec::with_capacity(self.live.len());
        let mut existing = 0;
        for id in &self.live {
            let replica = &self.replicas[id.index()];
            let deleting = match &replica.state {
                State::Gone | State::Ready(_, false) => continue,
                // What is on its way beyond the order will be a spare.
                State::Starting(_) if existing >= self.controller.before_spares() => continue,
                State::Draining(_) => true,
                State::Starting(_) | State::Ready(_, true) => false,
            };
            existing += u32::from(!deleting);
            let ready = matches!(replica.state, State::Ready(..));
            pods.push(PodView {
                id: *id,
                running: replica.container_started.is_some(),
                started: replica.bound_at,
                ready,
                ready_changed: replica.ready_at.unwrap_or(replica.created),
                deleting,
                cpu_request_milli: self.sim.replica.cpu_request_milli,
                sample: scrape.and_then(|s| s.pod(*id)),
            });
        }
        let view = View {
            now: self.now,
            spec_replicas: self.ordered,
            status_replicas: existing,
            pods: &pods,
            gateway: scrape.map(|s| &s.gateway),
        };
        self.policy.decide(index, &view)
    }
}
