//! Synthetic traffic: arrivals and lengths drawn as a pass goes on, in flat memory.

use rand::rngs::ChaCha8Rng;

use crate::kernel::rng::Purpose;
use crate::kernel::{SimDuration, SimTime, Streams};

use super::arrivals::{Gap, Process};
use super::lengths::Lengths;
use super::rate::Follow;
use super::request::{Request, Source};

/// Arrivals of a process, as instants below `end`.
pub(super) struct Arrivals<'a> {
    gap: Gap,
    follow: Follow<'a>,
    rng: ChaCha8Rng,
    mass: f64,
    started: bool,
    end: SimTime,
}

impl<'a> Arrivals<'a> {
    /// Begins at time 0.
    pub fn new(process: &'a Process, rng: ChaCha8Rng, end: SimTime) -> Self {
        Self { gap: process.gap, follow: process.rate.follow(), rng, mass: 0.0, started: false, end }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = SimTime;

    fn next(&mut self) -> Option<SimTime> {
        if self.started || self.gap != Gap::Even {
            self.mass += self.gap.draw(&mut self.rng);
        }
        self.started = true;
        let secs = self.follow.locate(self.mass, &mut self.rng)?;
        let since = SimDuration::from_secs_f64(secs)?;
        let arrival = SimTime::from_nanos(since.as_nanos());
        (arrival < self.end).then_some(arrival)
    }
}

/// Traffic of one process and one distribution of lengths.
#[derive(Debug)]
pub(super) struct Synthetic {
    pub process: Process,
    pub lengths: Lengths,
    pub duration: Option<SimDuration>,
    pub requests: Option<u64>,
    /// Tells this source's streams from those of its neighbours.
    pub entity: u64,
}

impl Synthetic {
    /// Expected requests.
    pub fn expected(&self) -> f64 {
        let by_time = self.duration.map_or(f64::INFINITY, |d| self.process.rate.mass(d.as_secs_f64()));
        by_time.min(self.requests.map_or(f64::INFINITY, |n| n as f64))
    }
}

impl Source for Synthetic {
    fn requests<'a>(&'a self, streams: &Streams) -> Box<dyn Iterator<Item = Request> + Send + 'a> {
        let end = self.duration.map_or(SimTime::MAX, |d| SimTime::ZERO.saturating_add(d));
        let arrivals = Arrivals::new(&self.process, streams.stream(Purpose::Arrivals, self.entity), end);
        let mut rng = streams.stream(Purpose::Lengths, self.entity);
        let count = usize::try_from(self.requests.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        Box::new(arrivals.take(count).map(move |arrival| {
            let (prompt_tokens, output_tokens) = self.lengths.sample(&mut rng);
            Request { arrival, prompt_tokens, output_tokens }
        }))
    }

    fn span(&self) -> Option<SimDuration> {
        self.duration
    }
}

#[cfg(test)]
mod tests {
    use super::super::arrivals::{
        ArrivalSpec, ConstantRateSpec, DiurnalSpec, Gamma, OnOffSpec, PiecewiseSpec, PoissonSpec,
        RateStepSpec, RenewalSpec, Spacing, SpikeSpec, Weibull,
    };
    use super::*;
    use crate::workload::stats::{TraceStats, stats};

    fn traffic(spec: &dyn ArrivalSpec, secs: u64) -> Synthetic {
        Synthetic {
            process: spec.process(),
            lengths: Lengths::Constant(100, 10),
            duration: Some(SimDuration::from_secs(secs)),
            requests: None,
            entity: 0,
        }
    }

    fn measured(spec: &dyn ArrivalSpec, secs: u64) -> (Synthetic, TraceStats) {
        let source = traffic(spec, secs);
        let stats = stats(&source, &Streams::new(7, 0));
        (source, stats)
    }

    #[test]
    fn renewal_processes_have_their_rate_and_cv() {
        let check = |spec: &dyn ArrivalSpec, rate: f64, cv: f64| {
            let (source, stats) = measured(spec, 20_000);
            assert!((stats.rate_mean / rate - 1.0).abs() < 0.03, "{}: {}", spec.label(), stats.rate_mean);
            assert!(
                (stats.arrival_cv - cv).abs() < 0.03 * (0.1 + cv),
                "{}: {}",
                spec.label(),
                stats.arrival_cv
            );
            assert!((source.expected() / (rate * 20_000.0) - 1.0).abs() < 1e-9);
        };
        check(&PoissonSpec { rate: 10.0 }, 10.0, 1.0);
        check(&ConstantRateSpec { rate: 4.0 }, 4.0, 0.0);
        for cv in [0.5, 1.0, 2.5] {
            check(&Gamma(&RenewalSpec { rate: 10.0, cv }), 10.0, cv);
            check(&Weibull(&RenewalSpec { rate: 10.0, cv }), 10.0, cv);
        }
    }

    #[test]
    fn changing_rates_have_their_mean() {
        let minute = SimDuration::from_secs(60);
        let check = |spec: &dyn ArrivalSpec, secs: u64, expected: f64, burstier: bool| {
            let (source, stats) = measured(spec, secs);
            assert!(
                (source.expected() / expected - 1.0).abs() < 1e-9,
                "{}: {}",
                spec.label(),
                source.expected()
            );
            let share = stats.rows as f64 / expected;
            assert!((share - 1.0).abs() < 0.05, "{}: {} of {expected}", spec.label(), stats.rows);
            assert_eq!(stats.minute_idc > 2.0, burstier, "{}: IDC {}", spec.label(), stats.minute_idc);
        };
        let on_off = OnOffSpec { on_rate: 20.0, off_rate: 2.0, on: minute, off: minute };
        check(&on_off, 200_000, 11.0 * 200_000.0, true);
        let diurnal = DiurnalSpec {
            rate: 10.0,
            swing: 0.8,
            period: SimDuration::from_secs(3600),
            peak_at: minute,
            spacing: Spacing::Poisson,
        };
        check(&diurnal, 7200, 72_000.0, true);
        let step = |rate, to_rate| RateStepSpec { r#for: minute, rate, to_rate };
        let ramps =
            PiecewiseSpec { steps: vec![step(0.0, Some(10.0)), step(5.0, None)], spacing: Spacing::Poisson };
        check(&ramps, 12_000, 5.0 * 12_000.0, false);
        let spike = SpikeSpec {
            base_rate: 1.0,
            peak_rate: 50.0,
            from: minute,
            r#for: minute,
            spacing: Spacing::Even,
        };
        check(&spike, 180, 3120.0, true);
    }

    #[test]
    fn even_requests_come_at_exact_instants() {
        let source = traffic(&ConstantRateSpec { rate: 4.0 }, 3);
        let arrivals: Vec<u64> =
            source.requests(&Streams::new(1, 0)).map(|r| r.arrival.as_nanos() / 1_000_000).collect();
        assert_eq!(arrivals, [0, 250, 500, 750, 1000, 1250, 1500, 1750, 2000, 2250, 2500, 2750]);
    }

    #[test]
    fn replications_differ_and_repeat() {
        let source = traffic(&PoissonSpec { rate: 5.0 }, 100);
        let pass = |seed, replication| source.requests(&Streams::new(seed, replication)).collect::<Vec<_>>();
        assert_eq!(pass(7, 0), pass(7, 0));
        assert_ne!(pass(7, 0), pass(7, 1));
        assert_ne!(pass(7, 0), pass(8, 0));
    }

    #[test]
    fn a_count_ends_the_traffic() {
        let mut source = traffic(&PoissonSpec { rate: 5.0 }, 1_000);
        source.requests = Some(123);
        assert_eq!(source.requests(&Streams::new(1, 0)).count(), 123);
        source.duration = None;
        assert_eq!(source.requests(&Streams::new(1, 0)).count(), 123);
    }
}
