//! Scrapes and decisions. What a decision does is in `scale.rs`.

use super::faults::Metrics;
use super::prometheus::GatewayReading;
use super::replica::{Lost, State};
use super::run::{Event, Run};
use crate::kernel::queue::Rank;
use crate::outcome::DecisionRecord;
use crate::policy::api::{GatewayView, PodView, PrometheusView, WouldBe};
use crate::policy::meter::Meter;
use crate::policy::{Autoscaler, View};

impl Run<'_> {
    #[inline(never)] // benches/observe.sh counts what it costs.
    pub(super) fn scrape(&mut self) {
        let now = self.now;
        self.queue.push(now + self.sim.telemetry.scrape_interval, Rank::Scrape, 0, 0, Event::Scrape);
        if self.is_out(Metrics::Prometheus) {
            return;
        }
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
    }

    #[inline(never)] // benches/observe.sh counts what it costs.
    pub(super) fn read_usage(&mut self) {
        let now = self.now;
        self.queue.push(
            now + self.sim.telemetry.metrics_server_resolution,
            Rank::Scrape,
            2,
            0,
            Event::ReadUsage,
        );
        if self.is_out(Metrics::MetricsServer) {
            return;
        }
        for index in 0..self.live.len() {
            let id = self.live[index];
            self.settle(id);
            self.metrics_server.read(now, &mut self.replicas[id.index()], &self.sim.replica);
        }
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
        self.turn_over();
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
        self.turn_over();
    }

    /// The policy wants so many nodes held, beside the placeholders of the scenario.
    fn hold_nodes(&mut self, wanted: u32) {
        if wanted == self.held_nodes {
            return;
        }
        self.held_nodes = wanted;
        let wanted = self.sim.cluster.placeholders.saturating_add(wanted);
        let left = self.cluster.set_placeholders(wanted, self.now);
        self.place();
        for id in left {
            self.watch_empty(id);
        }
    }

    /// Takes what a turn leaves beside its decision.
    fn turn_over(&mut self) {
        let at = self.now;
        let record = |WouldBe { of, from, replicas, spare, why }| DecisionRecord {
            at,
            of,
            from,
            to: replicas,
            spare,
            why,
        };
        self.would_be.extend(self.policy.would_be().into_iter().map(record));
        self.hold_nodes(self.policy.placeholders());
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
        let usage_is_out = self.is_out(Metrics::MetricsServer);
        let mut existing = 0;
        let mut gateway = GatewayView {
            held: u64::from(self.held_count),
            arrived: self.arrivals,
            meter: self.proxy_meter.at(now),
            ..GatewayView::default()
        };
        for id in &self.live {
            let replica = &self.replicas[id.index()];
            // A queue-proxy outlives its pod's other container.
            let mut meter = replica.outlived.map_or_else(Meter::default, |(meter, _)| meter);
            if let State::Ready(serving, _) | State::Draining(Some(serving)) = &replica.state {
                let gauges = serving.engine.gauges();
                // No proxy has seen a keep-warm request.
                let unasked = u32::from(serving.warmth.has_synthetic());
                let running = unasked.min(gauges.running);
                gateway.running += u64::from(gauges.running - running);
                gateway.waiting += u64::from(gauges.waiting - (unasked - running) + serving.queued_count);
                meter = serving.meter.at(now);
            }
            let deleting = match &replica.state {
                State::Gone | State::Lost(Lost { spare: true, .. }) => continue,
                // A spare that was claimed is the workload's, and not ready before it is awake.
                State::Ready(serving, false) if !serving.is_waking() => continue,
                // What is on its way beyond the order will be a spare.
                State::Starting(_) if existing >= self.controller.in_rotation() => continue,
                State::Draining(_) => true,
                State::Starting(_) | State::Ready(..) | State::Lost(_) => false,
            };
            existing += u32::from(!deleting);
            pods.push(PodView {
                id: *id,
                created: replica.created,
                running: replica.has_run(),
                started: replica.bound_at,
                ready: replica.is_ready(),
                ready_changed: replica
                    .ready_at
                    .max(replica.exposed)
                    .max(replica.unready_at)
                    .unwrap_or(replica.created),
                deleting,
                requests: self.sim.replica.requests,
                usage: self.metrics_server.sample(replica).filter(|_| !usage_is_out),
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
                is_out: self.is_out(Metrics::Prometheus),
            },
            gateway,
        };
        let answer = ask(&mut *self.policy, &view);
        self.pod_views = pods;
        answer
    }
}
