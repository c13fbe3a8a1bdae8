//! When the HTTP add-on's scaler reads the interceptors' counts, and when KEDA hears that the route is active.
//!
//! The scaler reads every [`QUEUE_TICK`] and tells KEDA of activity every [`ACTIVITY_PERIOD`], both counted here
//! from the start of the run. Reads that nobody could tell apart from none are left out: those at zero replicas
//! while nothing came, and those of a route whose activity cannot matter because it never sleeps. Messages are
//! not events: the instant of the last one follows from the reads around it.

use super::http_add_on::{ACTIVITY_PERIOD, HttpMetric, QUEUE_TICK, RouteCounts};
use super::mapping::Reads;
use crate::kernel::{SimDuration, SimTime};
use crate::policy::api::View;
use crate::policy::hpa::types::Nanos;

/// The scaler's side of the HTTP add-on.
#[derive(Clone, Debug)]
pub struct Interceptor {
    counts: RouteCounts,
    reads: Reads,
    /// It must be read at every tick while replicas run.
    is_watched: bool,
    next_read: Option<SimTime>,
    /// What the last read found.
    value: u64,
    /// Since which read the route has been active; `None` if the last one found it inactive.
    active_since: Option<SimTime>,
    /// The last message of activity before that.
    last_message: Option<SimTime>,
    /// When the message comes that a sleeping target waits for.
    wake_at: Option<SimTime>,
}

impl Interceptor {
    /// For a route; `reads` says which requests count as in flight, and `sleeps` that its target may, so that its
    /// activity matters.
    pub fn new(metric: HttpMetric, reads: Reads, sleeps: bool) -> Self {
        let is_watched = sleeps || matches!(metric, HttpMetric::RequestRate { .. });
        Self {
            counts: RouteCounts::new(metric),
            reads,
            is_watched,
            next_read: is_watched.then_some(SimTime::ZERO),
            value: 0,
            active_since: None,
            last_message: None,
            wake_at: None,
        }
    }

    /// A request is held: the next tick will see it.
    pub fn held(&mut self, now: SimTime) {
        if self.next_read.is_none() {
            self.next_read = Some(tick_from(now, QUEUE_TICK));
        }
    }

    /// When something is due.
    pub fn timer(&self) -> Option<SimTime> {
        [self.next_read, self.wake_at].into_iter().flatten().min()
    }

    /// Reads the counts if that is due by now. `asleep` says that the target sleeps: an active route will wake it.
    pub fn catch_up(&mut self, view: &View<'_>, asleep: bool) {
        let now = view.now;
        if self.next_read.is_none() && self.is_watched && view.spec_replicas > 0 {
            self.next_read = Some(tick_from(now, QUEUE_TICK));
        }
        if self.next_read.is_none_or(|at| at > now) {
            return;
        }
        self.read(view);
        let goes_on = self.active_since.is_some() || (self.is_watched && view.spec_replicas > 0);
        self.next_read = goes_on.then(|| now + nanos(QUEUE_TICK));
        self.wake_at = match self.active_since {
            Some(_) if asleep => self.wake_at.or(Some(tick_from(now, ACTIVITY_PERIOD))),
            _ => None,
        };
    }

    /// Whether the message comes now that a sleeping target waits for.
    pub fn wakes(&mut self, now: SimTime) -> bool {
        self.wake_at.take_if(|at| *at <= now).is_some()
    }

    /// The metric's value: as of the scaler's last read, or as of now where its reads are left out.
    pub fn value(&mut self, view: &View<'_>) -> u64 {
        if self.next_read.is_none() {
            self.read(view);
        }
        self.value
    }

    /// When KEDA last heard that the route is active.
    pub fn last_message(&self, now: SimTime) -> Option<SimTime> {
        let since = self.active_since.and_then(|since| message_within(since, now));
        since.or(self.last_message)
    }

    fn read(&mut self, view: &View<'_>) {
        let now = view.now;
        if now > SimTime::ZERO {
            self.last_message = self.last_message(SimTime::from_nanos(now.as_nanos() - 1));
        }
        let at = Nanos::try_from(now.as_nanos()).unwrap_or(Nanos::MAX);
        let requests = self.reads.messages(&view.gateway);
        self.counts.read(at, requests.visible, requests.published);
        self.value = self.counts.value(at);
        self.active_since = self.counts.is_active(at).then(|| self.active_since.unwrap_or(now));
    }
}

fn nanos(length: Nanos) -> SimDuration {
    SimDuration::from_nanos(length.unsigned_abs())
}

/// The first tick of a period at or after an instant.
fn tick_from(now: SimTime, period: Nanos) -> SimTime {
    let period = period.unsigned_abs();
    SimTime::from_nanos(now.as_nanos().div_ceil(period) * period)
}

/// The last message from one instant to another, both included.
fn message_within(from: SimTime, to: SimTime) -> Option<SimTime> {
    let period = ACTIVITY_PERIOD.unsigned_abs();
    let last = SimTime::from_nanos(to.as_nanos() / period * period);
    (last >= from).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::World;

    fn ms(millis: u64) -> SimTime {
        SimTime::ZERO + SimDuration::from_millis(millis)
    }

    fn world(millis: u64, replicas: u32, in_flight: u64, arrived: u64) -> World {
        let mut world = World::ready(0, replicas);
        world.now = ms(millis);
        world.gateway.running = in_flight;
        world.gateway.arrived = arrived;
        world
    }

    #[test]
    fn a_held_request_wakes_the_target_within_the_second() {
        for (held_ms, read_ms, woken_ms) in
            [(1, 500, 600), (500, 500, 600), (501, 1000, 1000), (1700, 2000, 2000)]
        {
            let mut own = Interceptor::new(HttpMetric::default(), Reads::InFlight, true);
            let turn = |own: &mut Interceptor, millis, in_flight| {
                let world = world(millis, 0, in_flight, in_flight);
                own.catch_up(&world.view(), true);
                own.wakes(world.now)
            };
            assert!(!turn(&mut own, 0, 0));
            assert_eq!(own.timer(), None, "at zero it sleeps");
            own.held(ms(held_ms));
            own.held(ms(held_ms + 1));
            assert_eq!(own.timer(), Some(ms(read_ms)));
            let mut woken = turn(&mut own, read_ms, 1);
            if woken_ms > read_ms {
                assert_eq!((woken, own.timer()), (false, Some(ms(woken_ms))));
                woken = turn(&mut own, woken_ms, 1);
            }
            assert!(woken, "{held_ms}");
            // And it is read on while the target runs.
            assert_eq!(own.timer(), Some(ms(read_ms + 500)));
        }
    }

    #[test]
    fn the_last_message_is_the_one_before_the_read_that_finds_nothing() {
        let mut own = Interceptor::new(HttpMetric::default(), Reads::InFlight, true);
        for (millis, in_flight) in [(0, 0), (500, 2), (1000, 1), (1500, 0), (2000, 0)] {
            own.catch_up(&world(millis, 1, in_flight, 2).view(), false);
        }
        assert_eq!(own.last_message(ms(9000)), Some(ms(1400)));
        // What comes and goes between two reads is not seen.
        own.catch_up(&world(2500, 1, 0, 3).view(), false);
        assert_eq!(own.last_message(ms(9000)), Some(ms(1400)));
        own.catch_up(&world(3000, 1, 1, 4).view(), false);
        assert_eq!(own.last_message(ms(3100)), Some(ms(3000)));
        assert_eq!(own.value(&world(3100, 1, 7, 9).view()), 1, "as of the last read");
    }

    #[test]
    fn a_route_that_never_sleeps_is_read_when_asked() {
        let mut own = Interceptor::new(HttpMetric::default(), Reads::InFlight, false);
        assert_eq!(own.timer(), None);
        own.catch_up(&world(700, 2, 3, 3).view(), false);
        assert_eq!((own.timer(), own.value(&world(700, 2, 3, 3).view())), (None, 3));
        let own = Interceptor::new(HttpMetric::request_rate(5.0), Reads::InFlight, false);
        assert_eq!(own.timer(), Some(SimTime::ZERO), "a rate needs every read");
    }
}
