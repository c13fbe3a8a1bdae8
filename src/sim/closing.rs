//! A run's timeline, and its end: money stops with the trace, and once every request has ended, facts become an outcome.

use super::cluster::PoolPlan;
use super::replica::Replica;
use super::run::{Event, Run};
use crate::kernel::queue::Rank;
use crate::kernel::{SimDuration, SimTime};
use crate::outcome::breach::RequestRecord;
use crate::outcome::recorder::Recorder;
use crate::outcome::timeline::Point;
use crate::outcome::{Phase, PoolBill, RunOutcome};

/// How long after the end of the trace requests may still be waiting for an answer before they count as never served.
const PATIENCE: SimDuration = SimDuration::from_secs(24 * 3600);

/// The timeline halves its resolution rather than grow past this.
const TIMELINE_POINTS_MAX: usize = 8192;

impl Run<'_> {
    pub(super) fn tick(&mut self) {
        let next = self.now + self.timeline.step;
        if self.trace_end.is_none() {
            let point = self.point();
            self.timeline.points.push(point);
            if self.timeline.points.len() == TIMELINE_POINTS_MAX {
                self.timeline.halve();
            }
            self.queue.push(next, Rank::Scrape, 1, 0, Event::Tick);
        }
    }

    fn point(&mut self) -> Point {
        let point = Point {
            arrived: (self.arrivals - self.arrivals_at_tick) as u32,
            finished: std::mem::take(&mut self.recorder.finished_since),
            breached: std::mem::take(&mut self.recorder.breached_since),
            held_requests: self.held_count,
            in_replicas: self.in_replicas,
            replicas: self.by_phase,
            nodes: self.cluster.billed_count(),
            rate_micro_usd: self.cluster.billed_rate(),
            ordered: self.ordered,
        };
        self.arrivals_at_tick = self.arrivals;
        point
    }

    /// The trace ends: busy time is booked, and neither GPUs nor nodes cost anything from here on.
    pub(super) fn close_books(&mut self) {
        let now = self.now;
        self.trace_end = Some(now);
        // States are those the trace ends with: from here on no node is billed.
        let point = self.point();
        self.timeline.end(now, point);
        for index in 0..self.live.len() {
            self.book_busy(self.live[index]);
            self.book_keep_warm(self.live[index]);
        }
        self.books.close(now);
        self.books.write(&mut self.ledger);
        let held = self.cluster.close_held(now);
        (self.ledger.placeholder_gpu_ns, self.ledger.placeholder_cost) = (held.gpu_ns, held.cost);
        let billed = self.cluster.close_bill(now);
        self.ledger.billed_gpu_ns = billed.iter().sum();
        let bill = |(pool, billed_gpu_ns): (&PoolPlan, u128)| PoolBill {
            name: pool.name.clone(),
            price_micro_usd_per_gpu_hour: pool.price_micro_usd,
            billed_gpu_ns,
        };
        self.ledger.pools = self.sim.cluster.pools.iter().zip(billed).map(bill).collect();
        self.ledger.needed_replica_ns = self.needed.as_mut().map(|n| n.close(now));
        let starts = self.replicas.iter().filter(|r| r.cold);
        self.ledger.cold_starts = starts.clone().count() as u64;
        let with_node = |r: &Replica| {
            let phases =
                r.cold_spans(now).filter(|s| !matches!(s.phase, Phase::Pending | Phase::Provisioning));
            phases.map(|s| u128::from(s.to.since(s.from).as_nanos())).sum::<u128>()
        };
        self.ledger.start_up_ns = starts.map(with_node).sum();
        self.queue.push(now + PATIENCE, Rank::End, 1, 0, Event::GiveUp);
    }

    pub(super) fn outcome(mut self) -> (RunOutcome, Option<RequestRecord>) {
        let run_end = self.now;
        // Keep-warm requests that nobody waits for may still run.
        for index in 0..self.live.len() {
            self.settle(self.live[index]);
        }
        for index in 0..self.starting.len() {
            self.record_start(self.starting[index], crate::outcome::StartResult::Unfinished);
        }
        self.starts.sort_by_key(|s| s.replica);
        self.timeline.close();
        let facts_digest = self.digest();
        let Recorder { counts, latency, steps, breaches, .. } = self.recorder;
        let outcome = RunOutcome {
            trace_end: self.trace_end.unwrap_or(run_end).since(SimTime::ZERO),
            run_end: run_end.since(SimTime::ZERO),
            counts,
            latency,
            breaches: self.sim.slo.map(|_| breaches),
            ledger: self.ledger,
            timeline: self.timeline,
            starts: self.starts,
            decisions: self.decisions,
            would_be: self.would_be,
            steps,
            facts_digest,
        };
        (outcome, self.record)
    }
}
