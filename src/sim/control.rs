//! Scrapes, decisions, and what a decision does.

use super::prometheus::GatewayReading;
use super::replica::State;
use super::run::{Event, Run};
use crate::kernel::ReplicaId;
use crate::kernel::queue::Rank;
use crate::outcome::{DecisionRecord, Phase};
use crate::policy::api::{GatewayView, PodView, PrometheusView};
use crate::policy::meter::Meter;
use crate::policy::{Autoscaler, Decision, View};

impl Run<'_> {
    #[inline(never)] // benches/observe.sh counts what it costs.
    pub(super) fn scrape(&mut self) {
        let now = self.now;
        for index in 0..self.live.len() {
            let id = self.live[index];
            if self.prometheus.needs_settled() {
                self.settle(id);
            }
            self.prometheus.scrape_pod(now, &mut self.replicas[id.index()]);
        }
        let in_flight = self.held_count + self.in_replicas;
        let reading = GatewayReading { held: self.held_count, in_flight, arrived: self.arrivals };
        self.prometheus.scrape_gateway(now, reading);
        let next = now + self.sim.telemetry.scrape_interval;
        self.queue.push(next, Rank::Scrape, 0, 0, Event::Scrape);
    }

    #[inline(never)] // benches/observe.sh counts what it costs.
    pub(super) fn read_usage(&mut self) {
        let now = self.now;
        for index in 0..self.live.len() {
            let id = self.live[index];
            self.settle(id);
            self.metrics_server.read(now, &mut self.replicas[id.index()], &self.sim.replica);
        }
        let next = now + self.sim.telemetry.metrics_server_resolution;
        self.queue.push(next, Rank::Scrape, 2, 0, Event::ReadUsage);
    }

    #[inline(never)] // benches/observe.sh counts what it costs.
    pub(super) fn decide(&mut self, index: usize) {
        let now = self.now;
        let next = now + self.loops[index].period;
        self.queue.push(next, Rank::Decide, index as u32, 0, Event::Decide(index));
        let decision = self.ask_policy(|policy, view| policy.decide(index, view));
        if let Some(decision) = decision {
            self.apply(self.loops[index].name, decision);
        }
        self.set_timer();
    }

    #[inline(never)] // benches/observe.sh counts what it costs.
    pub(super) fn timer_over(&mut self, generation: u32) {
        if generation != self.timer.1 {
            return;
        }
        self.timer.0 = None;
        let decision = self.ask_policy(|policy, view| policy.timed(view));
        if let Some((of, decision)) = decision {
            self.apply(of, decision);
        }
        self.set_timer();
    }

    /// Follows the policy's timer; an event of another setting is stale.
    pub(super) fn set_timer(&mut self) {
        let wanted = self.policy.timer();
        if wanted == self.timer.0 {
            return;
        }
        self.timer = (wanted, self.timer.1.wrapping_add(1));
        if let Some(at) = wanted {
            let generation = self.timer.1;
            self.queue.push(at.max(self.now), Rank::Decide, u32::MAX, generation, Event::Timer(generation));
        }
    }

    fn ask_policy<T>(&mut self, ask: impl FnOnce(&mut dyn Autoscaler, &View<'_>) -> Option<T>) -> Option<T> {
        let now = self.now;
        // The list is kept from turn to turn: policies that scrape themselves are asked every second.
        let mut pods = std::mem::take(&mut self.pod_views);
        pods.clear();
        let mut existing = 0;
        let mut gateway = GatewayView {
            held: u64::from(self.held_count),
            arrived: self.arrivals,
            meter: self.proxy_meter.at(now),
            ..GatewayView::default()
        };
        for id in &self.live {
            let replica = &self.replicas[id.index()];
            let mut meter = Meter::default();
            if let State::Ready(serving, _) | State::Draining(serving) = &replica.state {
                let gauges = serving.engine.gauges();
                gateway.running += u64::from(gauges.running);
                gateway.waiting += u64::from(gauges.waiting + serving.queued_count);
                meter = serving.meter.at(now);
            }
            let deleting = match &replica.state {
                State::Gone | State::Ready(_, false) => continue,
                // What is on its way beyond the order will be a spare.
                State::Starting(_) if existing >= self.ordered => continue,
                State::Draining(_) => true,
                State::Starting(_) | State::Ready(_, true) => false,
            };
            existing += u32::from(!deleting);
            pods.push(PodView {
                id: *id,
                created: replica.created,
                running: replica.container_started.is_some(),
                started: replica.bound_at,
                ready: matches!(replica.state, State::Ready(..)),
                ready_changed: replica.ready_at.unwrap_or(replica.created),
                deleting,
                requests: self.sim.replica.requests,
                usage: self.metrics_server.sample(replica),
                meter,
            });
        }
        let view = View {
            now,
            spec_replicas: self.ordered,
            status_replicas: existing,
            pods: &pods,
            workload: self.prometheus.workload(),
            prometheus: PrometheusView {
                store: self.prometheus.store(),
                at: now.saturating_sub(self.sim.telemetry.delay),
            },
            gateway,
        };
        let answer = ask(&mut *self.policy, &view);
        self.pod_views = pods;
        answer
    }

    fn apply(&mut self, of: &'static str, decision: Decision) {
        let Decision { replicas, spare, path, why } = decision;
        let changed = replicas != self.ordered || spare != self.spare;
        let last = self.decisions.iter().rev().find(|d| d.of == of);
        if changed || path != self.path || last.is_none_or(|d| d.why.rule != why.rule) {
            let record = DecisionRecord { at: self.now, of, from: self.ordered, to: replicas, spare, why };
            self.decisions.push(record);
        }
        if path != self.path {
            self.path = path;
            self.release_held();
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
