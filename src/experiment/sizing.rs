//! The size of a fleet by arithmetic alone: replicas for the load as it is on average and in its busiest minute, spares for its worst rise
//! within one cold start, and what waiting for that start costs without them.
//!
//! The load is a fluid here, its rate that of the minute gone by, looked at every ten seconds. A replica serves so many requests/s and no more,
//! those that wait are served in their order, and an order is there one cold start later. What the arithmetic leaves out (batches, bursts
//! within a minute, the loops of an autoscaler) is for the simulation to say.

use std::collections::VecDeque;

use super::metric::HOURS_PER_MONTH;
use crate::kernel::{SimDuration, SimTime};

/// The step that requests are counted in.
pub const STEP: SimDuration = SimDuration::from_secs(10);
/// Steps of the window that a rate is taken over: a minute.
pub const WINDOW_STEPS: usize = 6;
/// The shares of all minutes whose rates are shown.
pub const QUANTILES: [f64; 4] = [0.5, 0.9, 0.95, 0.99];
/// An order outlives the load that made it by as long as a start takes, but no less than the HPA's own downscale stabilisation, and no more
/// than `stabilizationWindowSeconds` may be (kubernetes pkg/apis/autoscaling/validation: 3600).
const HOLD: (u64, u64) = (300, 3600);
/// Rates that differ by less than this part of a replica need as many.
const NEGLIGIBLE: f64 = 1e-9;

/// A load to size a fleet for.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Requests by step from the start of the trace.
    counts: Vec<u64>,
    /// Requests/s of each window, by its first step.
    minutes: Vec<f64>,
}

/// A replica to size a fleet of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replica {
    /// Requests/s within the SLO, above 0.
    pub capacity_per_s: f64,
    /// US dollars an hour.
    pub usd_per_hour: f64,
    /// How long a request may wait before it is late.
    pub patience: SimDuration,
}

/// A rate, and the replicas that it needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need {
    /// Requests/s.
    pub per_s: f64,
    /// The rate over the capacity of a replica.
    pub quotient: f64,
    /// The quotient rounded up, 1 at least.
    pub replicas: u32,
}

/// What the load needs whatever a start takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Steady {
    /// On average.
    pub mean: Need,
    /// At the [`QUANTILES`] of all minutes.
    pub quantiles: Vec<(f64, Need)>,
    /// In the busiest minute.
    pub peak: Need,
    /// When that minute is over.
    pub peak_at: SimTime,
}

/// A rise of the load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rise {
    /// When the minute is over that it begins after.
    pub from: SimTime,
    /// When the minute is over that it ends with.
    pub to: SimTime,
    /// The rate it begins at, requests/s.
    pub from_per_s: f64,
    /// The rate it ends at, requests/s.
    pub to_per_s: f64,
}

impl Rise {
    /// By how much, requests/s.
    pub fn per_s(&self) -> f64 {
        self.to_per_s - self.from_per_s
    }
}

/// What piles up where replicas are late: the longest queue of the fluid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pile {
    /// When it begins to grow.
    pub from: SimTime,
    /// When it is longest.
    pub to: SimTime,
    /// Requests that come between the two.
    pub come: u64,
    /// How many wait at the end: those that come, less what the replicas serve meanwhile, which is the integral of the excess.
    pub waiting: f64,
    /// Replicas that serve at the end.
    pub replicas: u32,
    /// The longest that any request of the trace waits.
    pub longest_wait: SimDuration,
    /// Requests of the trace that wait longer than they may, and longer than a [`STEP`].
    pub late: u64,
    /// The time in which they come.
    pub late_for: SimDuration,
}

/// What a cold start asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForStart {
    /// How long it takes.
    pub start: SimDuration,
    /// How long an order outlives its load.
    pub hold: SimDuration,
    /// The worst rise within it; `None` where the load never rises.
    pub rise: Option<Rise>,
    /// The worst rise within it above what the fewest replicas serve; `None` where they serve all.
    pub above: Option<Rise>,
    /// That rise over the capacity of a replica.
    pub quotient: f64,
    /// The quotient rounded up: spares that must be warm.
    pub spare: u32,
    /// Replicas that are ordered on average, spares left out.
    pub ordered: f64,
    /// What those and the spares cost a month, US dollars.
    pub monthly_usd: f64,
    /// What piles up all the same; `None` where nothing does.
    pub with_spares: Option<Pile>,
    /// What piles up without the spares.
    pub without: Option<Pile>,
}

impl Load {
    /// Of requests by [`STEP`]; `None` where they are less than a minute.
    pub fn new(counts: Vec<u64>) -> Option<Self> {
        let seconds = WINDOW_STEPS as f64 * STEP.as_secs_f64();
        let minutes: Vec<f64> =
            counts.windows(WINDOW_STEPS).map(|window| window.iter().sum::<u64>() as f64 / seconds).collect();
        (!minutes.is_empty()).then_some(Self { counts, minutes })
    }

    /// The rate of each minute, requests/s; each begins a step after the one before.
    pub fn minutes(&self) -> &[f64] {
        &self.minutes
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// When a window is over.
    fn over(window: usize) -> SimTime {
        SimTime::ZERO + STEP * (window + WINDOW_STEPS) as u64
    }

    /// The worst rise between two windows at most `lag` apart, of rates that count as `floor` where they are lower; of several the first,
    /// and that in the shortest time.
    fn worst_rise(&self, lag: usize, floor: f64) -> Option<Rise> {
        // Windows that may still be the lowest: their rates rise.
        let mut lowest: VecDeque<(usize, f64)> = VecDeque::new();
        let mut worst: Option<Rise> = None;
        for (to, rate) in self.minutes.iter().map(|rate| rate.max(floor)).enumerate() {
            while lowest.back().is_some_and(|(_, earlier)| *earlier >= rate) {
                lowest.pop_back();
            }
            lowest.push_back((to, rate));
            while lowest.front().is_some_and(|(from, _)| from + lag < to) {
                lowest.pop_front();
            }
            let Some((from, low)) = lowest.front().copied() else { continue };
            let rise = Rise { from: Self::over(from), to: Self::over(to), from_per_s: low, to_per_s: rate };
            if rise.per_s() > worst.map_or(0.0, |worst| worst.per_s()) {
                worst = Some(rise);
            }
        }
        worst
    }
}

impl Replica {
    /// What a rate needs.
    pub fn need(&self, per_s: f64) -> Need {
        let quotient = per_s / self.capacity_per_s;
        Need { per_s, quotient, replicas: rounded_up(quotient).max(1) }
    }

    /// What so many replicas cost a month, US dollars.
    pub fn monthly_usd(&self, replicas: f64) -> f64 {
        replicas * self.usd_per_hour * HOURS_PER_MONTH
    }
}

fn rounded_up(quotient: f64) -> u32 {
    (quotient - NEGLIGIBLE).ceil().max(0.0) as u32
}

/// Steps of a duration, one at least; a part counts as a whole one.
fn steps(duration: SimDuration) -> usize {
    (duration.as_nanos().div_ceil(STEP.as_nanos()) as usize).max(1)
}

/// How long an order should outlive its load where a start takes so long: so long, in whole minutes, within what an HPA has and allows.
pub fn hold(start: SimDuration) -> SimDuration {
    let minutes = start.as_nanos().div_ceil(SimDuration::from_secs(60).as_nanos());
    SimDuration::from_secs((minutes * 60).clamp(HOLD.0, HOLD.1))
}

/// What a load needs whatever a start takes.
pub fn steady(load: &Load, replica: &Replica) -> Steady {
    let mut sorted = load.minutes.clone();
    sorted.sort_by(f64::total_cmp);
    // The lowest rate that so large a share of the minutes does not exceed.
    let at = |share: f64| sorted[((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len()) - 1];
    let highest = sorted[sorted.len() - 1];
    let busiest = load.minutes.iter().position(|rate| *rate >= highest).unwrap_or(0);
    let mean = load.requests() as f64 / (load.counts.len() as f64 * STEP.as_secs_f64());
    Steady {
        mean: replica.need(mean),
        quantiles: QUANTILES.iter().map(|share| (*share, replica.need(at(*share)))).collect(),
        peak: replica.need(highest),
        peak_at: Load::over(busiest),
    }
}

/// What a start of that length asks for, where no fewer than the replicas for the average are there and no more are ordered than the busiest
/// minute needs.
pub fn for_start(load: &Load, replica: &Replica, steady: &Steady, start: SimDuration) -> ForStart {
    let (least, most) = (steady.mean.replicas, steady.peak.replicas);
    let (lag, hold) = (steps(start), hold(start));
    let above = load.worst_rise(lag, f64::from(least) * replica.capacity_per_s);
    let quotient = above.map_or(0.0, |rise| rise.per_s() / replica.capacity_per_s);
    let spare = rounded_up(quotient);
    let orders = orders(load, replica, (least, most), steps(hold));
    let ordered = orders.iter().map(|replicas| f64::from(*replicas)).sum::<f64>() / orders.len() as f64;
    ForStart {
        start,
        hold,
        rise: load.worst_rise(lag, 0.0),
        above,
        quotient,
        spare,
        ordered,
        monthly_usd: replica.monthly_usd(ordered + f64::from(spare)),
        with_spares: pile(load, replica, &serving(&orders, lag, spare)),
        without: pile(load, replica, &serving(&orders, lag, 0)),
    }
}

/// What piles up behind a fixed number of replicas.
pub fn behind(load: &Load, replica: &Replica, replicas: u32) -> Option<Pile> {
    pile(load, replica, &vec![replicas; load.counts.len()])
}

/// For each value the extreme one of those at most `width` before it: the one that `beats` all others.
fn extremes(values: &[u32], width: usize, beats: fn(u32, u32) -> bool) -> Vec<u32> {
    let mut best: VecDeque<(usize, u32)> = VecDeque::new();
    let one = |(at, value): (usize, &u32)| {
        while best.back().is_some_and(|(_, earlier)| !beats(*earlier, *value)) {
            best.pop_back();
        }
        best.push_back((at, *value));
        while best.front().is_some_and(|(from, _)| from + width < at) {
            best.pop_front();
        }
        best.front().map_or(*value, |(_, extreme)| *extreme)
    };
    values.iter().enumerate().map(one).collect()
}

/// Replicas that are ordered in each step: what any minute within the hold before it needed, between the fewest and the most. Before the
/// first minute is over they are the fewest.
fn orders(load: &Load, replica: &Replica, (least, most): (u32, u32), hold: usize) -> Vec<u32> {
    let needs: Vec<u32> = load.minutes.iter().map(|rate| replica.need(*rate).replicas).collect();
    let held = extremes(&needs, hold, |earlier, value| earlier > value);
    let known = held.into_iter().map(|needed| needed.min(most).max(least));
    std::iter::repeat_n(least, WINDOW_STEPS).chain(known).take(load.counts.len()).collect()
}

/// Replicas that serve in each step: of those that are ordered as many as were ordered a start ago and since, and the spares. A spare
/// that is taken has a successor ordered at once.
fn serving(orders: &[u32], lag: usize, spare: u32) -> Vec<u32> {
    let there = extremes(orders, lag, |earlier, value| earlier < value);
    orders.iter().zip(there).map(|(ordered, there)| (*ordered).min(there.saturating_add(spare))).collect()
}

/// The queue of the fluid behind so many replicas in each step, at its longest; `None` where nothing ever waits.
fn pile(load: &Load, replica: &Replica, serving: &[u32]) -> Option<Pile> {
    let step = STEP.as_secs_f64();
    let patience = replica.patience.max(STEP).as_secs_f64();
    // Requests that have come by the end of each step, and that could have been served.
    let (mut come, mut could) = (Vec::with_capacity(serving.len()), Vec::with_capacity(serving.len()));
    let (mut all, mut done, mut sum) = (0.0_f64, 0.0_f64, 0_u64);
    let (mut longest, mut from, mut found): (f64, usize, Option<(usize, usize)>) = (0.0, 0, None);
    for (index, (count, replicas)) in load.counts.iter().zip(serving).enumerate() {
        if all - done <= NEGLIGIBLE {
            from = index;
        }
        sum += count;
        all = sum as f64;
        come.push(sum);
        could.push(done + f64::from(*replicas) * replica.capacity_per_s * step);
        done = all.min(could[index]);
        if all - done > longest + NEGLIGIBLE {
            (longest, found) = (all - done, Some((from, index)));
        }
    }
    let (from, to) = found?;
    let (mut longest_wait, mut late, mut late_steps, mut until) = (0.0_f64, 0, 0, 0);
    for (index, (count, last)) in load.counts.iter().zip(&come).enumerate() {
        // Who comes last in the step is served in the first one by whose end so many could be; after the trace the last step goes on.
        until = until.max(index);
        while until + 1 < could.len() && could[until] < *last as f64 - NEGLIGIBLE {
            until += 1;
        }
        let early = (could[until] - *last as f64) / (f64::from(serving[until]) * replica.capacity_per_s);
        let is_served_at_once = until == index && early >= 0.0;
        let wait = if is_served_at_once { 0.0 } else { ((until - index) as f64 * step - early).max(0.0) };
        longest_wait = longest_wait.max(wait);
        if wait > patience + NEGLIGIBLE {
            late += count;
            late_steps += 1;
        }
    }
    let instant = |index: usize| SimTime::ZERO + STEP * index as u64;
    Some(Pile {
        from: instant(from),
        to: instant(to + 1),
        come: come[to] - from.checked_sub(1).map_or(0, |before| come[before]),
        waiting: longest,
        replicas: serving[to],
        longest_wait: SimDuration::from_secs_f64(longest_wait).unwrap_or(SimDuration::MAX),
        late,
        late_for: STEP * late_steps,
    })
}

#[cfg(test)]
#[path = "sizing_tests.rs"]
mod tests;
