//! Scrapes, decisions, and what a decision does.

use super::replica::State;
use super::run::{Event, Run};
use super::telemetry::Scrape;
use crate::kernel::ReplicaId;
use crate::kernel::queue::Rank;
use crate::outcome::{DecisionRecord, Phase};
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
                State::Starting(_) if existing >= self.ordered => continue,
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

    fn apply(&mut self, index: usize, decision: Decision) {
        let Decision { replicas, spare, why } = decision;
        let changed = replicas != self.ordered || spare != self.spare;
        let of = self.loops[index].name;
        let last = self.decisions.iter().rev().find(|d| d.of == of);
        let is_news = |d: &DecisionRecord| (d.why.rule, &d.why.conditions) != (why.rule, &why.conditions);
        if changed || last.is_none_or(is_news) {
            let record = DecisionRecord { at: self.now, of, from: self.ordered, to: replicas, spare, why };
            self.decisions.push(record);
        }
        if changed {
            self.ordered = replicas;
            self.spare = spare;
            self.rebalance();
        }
    }

    /// Makes the replicas that exist follow the order: how many, and how many of them in rotation.
    fn rebalance(&mut self) {
        let staying = |run: &Self| -> Vec<ReplicaId> {
            let stays = |id: &&ReplicaId| !matches!(run.replicas[id.index()].state, State::Draining(_));
            run.live.iter().filter(stays).copied().collect()
        };
        let wanted = (self.ordered + self.spare) as usize;
        let mut there = staying(self);
        if there.len() < wanted {
            self.create((wanted - there.len()) as u32);
        } else if there.len() > wanted {
            there.sort_by_key(|id| self.replicas[id.index()].removal_key());
            for id in &there[..there.len() - wanted] {
                self.remove(*id);
            }
        }
        let ready: Vec<ReplicaId> = staying(self)
            .into_iter()
            .filter(|id| matches!(self.replicas[id.index()].state, State::Ready(..)))
            .collect();
        let in_rotation =
            |run: &Self, id: ReplicaId| run.replicas[id.index()].phase() == Some(Phase::Serving);
        for id in &ready {
            if self.by_phase[Phase::Serving as usize] < self.ordered && !in_rotation(self, *id) {
                self.rotate(*id, true);
            }
        }
        for id in ready.iter().rev() {
            if self.by_phase[Phase::Serving as usize] > self.ordered && in_rotation(self, *id) {
                self.rotate(*id, false);
            }
        }
        self.release_held();
    }
}
