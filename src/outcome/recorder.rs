//! The recorder: facts in, distributions and a digest out. It keeps no request.

use super::breach::{BreachOutcome, Breaches, Cause, RequestRecord, Slo};
use super::latency::{Latencies, Latency};
use super::{Counts, Steps};
use crate::kernel::{SimDuration, SimTime};

/// A running 128-bit digest of the facts in their order; two lanes of multiply and rotate.
///
/// It tells two runs apart, it does not resist anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactDigest([u64; 2]);

impl Default for FactDigest {
    fn default() -> Self {
        Self([0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03])
    }
}

impl FactDigest {
    /// Takes in one fact: what, who, when.
    pub fn add(&mut self, kind: u8, subject: u64, at: SimTime) {
        let [a, b] = &mut self.0;
        *a = (*a ^ at.as_nanos()).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29) ^ u64::from(kind);
        *b = (*b ^ subject.wrapping_add(u64::from(kind) << 56))
            .wrapping_mul(0xc4ce_b9fe_1a85_ec53)
            .rotate_left(31)
            ^ *a;
    }

    /// The state, as bytes.
    pub fn bytes(&self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.0[0].to_le_bytes());
        out[8..].copy_from_slice(&self.0[1].to_le_bytes());
        out
    }
}

/// What a request's end looks like to the recorder.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// When it reached the gateway.
    pub arrival: SimTime,
    /// Output length, tokens.
    pub output_tokens: u32,
    /// Prompt length, tokens.
    pub prompt_tokens: u32,
    /// When the engine first scheduled it.
    pub scheduled: Option<SimTime>,
    /// When its first token left.
    pub first_token: Option<SimTime>,
    /// When it ended.
    pub end: SimTime,
    /// Its largest inter-token latency, if an SLO asks for it.
    pub gap_max: SimDuration,
    /// How it ended, if not in full.
    pub dropped: Option<BreachOutcome>,
}

/// A broken limit: by how much, and from when on it was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// Over the limit by this; [`SimDuration::MAX`] for a request that was dropped.
    pub by: SimDuration,
    /// The time it was in breach.
    pub from: SimTime,
    /// End of that time.
    pub to: SimTime,
    /// End of the wait that broke it: its first token for a limit on that, otherwise its end.
    pub wait_end: SimTime,
    /// The time after `to` in which it broke another limit.
    pub later: Option<(SimTime, SimTime)>,
}

impl Ended {
    /// Time to first token.
    pub fn ttft(&self) -> Option<SimDuration> {
        self.first_token.map(|t| t.since(self.arrival))
    }

    /// Time per output token after the first; none for one token.
    pub fn tpot(&self) -> Option<SimDuration> {
        let first = self.first_token.filter(|_| self.output_tokens > 1)?;
        Some(self.end.since(first) / u64::from(self.output_tokens - 1))
    }

    /// The first limit it broke, if any, and the time in which it broke that one or another.
    pub fn miss(&self, slo: &Slo) -> Option<Miss> {
        let first = self.first_miss(slo)?;
        if self.dropped.is_some() {
            return Some(first);
        }
        // Limits that end with its end: on all of it, and on its tokens after the first.
        let over = |value: Option<SimDuration>, limit: Option<SimDuration>| {
            value.zip(limit).is_some_and(|(value, limit)| value > limit)
        };
        let whole = slo.e2e.filter(|limit| self.end.since(self.arrival) > *limit);
        let is_slow = over(self.tpot(), slo.tpot) || over(Some(self.gap_max), slo.itl);
        let froms = [whole.map(|limit| self.arrival + limit), self.first_token.filter(|_| is_slow)];
        let Some(from) = froms.into_iter().flatten().min() else { return Some(first) };
        let later = Some((from.max(first.to), self.end)).filter(|(from, to)| from < to);
        Some(Miss { from: first.from.min(from), later, ..first })
    }

    fn first_miss(&self, slo: &Slo) -> Option<Miss> {
        let later = None;
        let e2e = self.end.since(self.arrival);
        let to = self.first_token.unwrap_or(self.end);
        let within = |limit: SimDuration| (self.arrival.saturating_add(limit)).min(to);
        if self.dropped.is_some() {
            let limit = slo.ttft.or(slo.e2e).unwrap_or_default();
            return Some(Miss { by: SimDuration::MAX, from: within(limit), to, wait_end: to, later });
        }
        let over = |value: Option<SimDuration>, limit: Option<SimDuration>| {
            let (value, limit) = (value?, limit?);
            (value > limit).then(|| (value.saturating_sub(limit), limit))
        };
        if let Some((by, limit)) = over(self.ttft(), slo.ttft) {
            return Some(Miss { by, from: within(limit), to, wait_end: to, later });
        }
        let wait = self.scheduled.map(|s| s.since(self.arrival));
        if let Some((by, limit)) = over(wait, slo.queue_wait) {
            return Some(Miss { by, from: within(limit), to, wait_end: to, later });
        }
        if let Some((by, limit)) = over(Some(e2e), slo.e2e) {
            let from = self.arrival + limit;
            return Some(Miss { by, from, to: self.end, wait_end: self.end, later });
        }
        let gap = Some(self.gap_max).filter(|g| !g.is_zero());
        let (by, _) = over(self.tpot(), slo.tpot).or_else(|| over(gap, slo.itl))?;
        Some(Miss { by, from: to, to: self.end, wait_end: self.end, later })
    }
}

/// Collects a run's facts.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// How requests ended.
    pub counts: Counts,
    /// Latency distributions.
    pub latency: Latencies,
    /// Engine steps.
    pub steps: Steps,
    /// Breaches; stays empty without an SLO.
    pub breaches: Breaches,
    /// Digest of the facts.
    pub digest: FactDigest,
    /// Breaches since the timeline's last point.
    pub breached_since: u32,
    /// Requests finished since the timeline's last point.
    pub finished_since: u32,
}

impl Recorder {
    /// Records the end of a request.
    pub fn ended(&mut self, id: u64, request: &Ended) {
        let Latencies { ttft, tpot, e2e, queue_wait, .. } = &mut self.latency;
        let counts = &mut self.counts;
        let kind = match request.dropped {
            None => {
                counts.finished += 1;
                counts.prompt_tokens += u64::from(request.prompt_tokens);
                counts.output_tokens += u64::from(request.output_tokens);
                self.finished_since += 1;
                0
            }
            Some(BreachOutcome::Rejected) => {
                counts.rejected += 1;
                1
            }
            Some(BreachOutcome::TimedOut) => {
                counts.timed_out += 1;
                2
            }
            Some(BreachOutcome::Killed | BreachOutcome::Late) => {
                counts.killed += 1;
                3
            }
        };
        self.digest.add(kind, id, request.end);
        if request.dropped.is_some() {
            // Dropping must never look fast.
            for latency in [ttft, tpot, e2e, queue_wait] {
                latency.record_infinite();
            }
            return;
        }
        if let Some(first) = request.first_token {
            self.digest.add(4, id, first);
        }
        let known = |latency: &mut Latency, value: Option<SimDuration>| {
            if let Some(value) = value {
                latency.record(value);
            }
        };
        known(ttft, request.ttft());
        known(tpot, request.tpot());
        known(queue_wait, request.scheduled.map(|s| s.since(request.arrival)));
        e2e.record(request.end.since(request.arrival));
    }

    /// Records a breach; its chain is kept if it is among the first.
    pub fn breached(
        &mut self,
        outcome: BreachOutcome,
        cause: Cause,
        miss: &Miss,
        record: impl FnOnce() -> RequestRecord,
    ) {
        self.breached_since += 1;
        let breaches = &mut self.breaches;
        breaches.total += 1;
        breaches.by_outcome[outcome as usize] += 1;
        breaches.by_cause[cause.index()] += 1;
        insert_interval(&mut breaches.intervals, miss.from, miss.to);
        if let Some((from, to)) = miss.later {
            insert_interval(&mut breaches.intervals, from, to);
        }
        if breaches.first.len() < Breaches::KEPT {
            breaches.first.push(record());
        }
    }
}

/// Adds [from, to] to a sorted list of disjoint intervals. New ones are nearly always at the end.
fn insert_interval(intervals: &mut Vec<(SimTime, SimTime)>, from: SimTime, to: SimTime) {
    if from >= to {
        return;
    }
    let first = intervals.partition_point(|&(_, end)| end < from);
    let last = intervals.partition_point(|&(start, _)| start <= to);
    if first == last {
        intervals.insert(first, (from, to));
        return;
    }
    let merged = (from.min(intervals[first].0), to.max(intervals[last - 1].1));
    intervals[first] = merged;
    intervals.drain(first + 1..last);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn intervals_are_the_union_and_what_is_new_adds_up_to_it(
            pairs in prop::collection::vec((0u64..60, 0u64..60), 0..30)
        ) {
            let mut breaches = Breaches::default();
            let mut new = SimDuration::ZERO;
            for (a, b) in &pairs {
                let (from, to) = (SimTime::from_nanos(*a), SimTime::from_nanos(*b));
                let before = breaches.duration();
                let parts = breaches.uncovered(from, to);
                prop_assert!(parts.iter().all(|(a, b)| from <= *a && a < b && *b <= to), "{:?}", parts);
                prop_assert!(parts.windows(2).all(|w| w[0].1 < w[1].0), "{:?}", parts);
                insert_interval(&mut breaches.intervals, from, to);
                let added: SimDuration = parts.iter().map(|(a, b)| b.since(*a)).sum();
                prop_assert_eq!(before + added, breaches.duration());
                new += added;
            }
            prop_assert_eq!(new, breaches.duration());
            let Breaches { intervals, .. } = breaches;
            let at = |list: &[(u64, u64)], x: u64| list.iter().any(|(a, b)| *a <= x && x < *b);
            let merged: Vec<_> = intervals.iter().map(|(a, b)| (a.as_nanos(), b.as_nanos())).collect();
            for x in 0..60 {
                prop_assert_eq!(at(&pairs, x), at(&merged, x), "{} in {:?}", x, merged);
            }
            prop_assert!(merged.windows(2).all(|w| w[0].1 < w[1].0));
        }
    }

    fn s(secs: u64) -> SimTime {
        SimTime::from_secs(secs)
    }

    #[test]
    fn the_first_broken_limit_counts() {
        let slo = Slo {
            ttft: Some(SimDuration::from_secs(2)),
            tpot: Some(SimDuration::from_millis(500)),
            e2e: Some(SimDuration::from_secs(30)),
            ..Slo::default()
        };
        let base = Ended {
            arrival: s(10),
            output_tokens: 11,
            prompt_tokens: 5,
            scheduled: Some(s(10)),
            first_token: Some(s(12)),
            end: s(17),
            gap_max: SimDuration::ZERO,
            dropped: None,
        };
        let check = |ended: Ended, expected: Option<(u64, u64, u64)>| {
            let miss = ended.miss(&slo).map(|m| {
                (
                    m.by.as_nanos() / 1_000_000_000,
                    m.from.as_nanos() / 1_000_000_000,
                    m.to.as_nanos() / 1_000_000_000,
                )
            });
            assert_eq!(miss, expected, "{ended:?}");
        };
        check(base, None);
        check(Ended { first_token: Some(s(15)), ..base }, Some((3, 12, 15)));
        // Its tokens were slow, too: from the first of them on.
        check(Ended { end: s(41), ..base }, Some((1, 12, 41)));
        // 20 s over 10 gaps is 2 s a token: 1.5 s over.
        check(Ended { end: s(32), ..base }, Some((1, 12, 32)));
        let never = u64::MAX / 1_000_000_000;
        let timed_out = Some(BreachOutcome::TimedOut);
        check(Ended { first_token: None, dropped: timed_out, ..base }, Some((never, 12, 17)));
        let rejected = Some(BreachOutcome::Rejected);
        check(Ended { first_token: None, end: s(10), dropped: rejected, ..base }, Some((never, 10, 10)));
    }

    #[test]
    fn time_in_breach_is_that_of_every_limit() {
        let ms = SimDuration::from_millis;
        let (ttft, tpot, e2e) = (ms(2_000), ms(500), ms(20_000));
        let ended = |first_s: u64, end_s: u64| Ended {
            arrival: s(10),
            output_tokens: 11,
            prompt_tokens: 5,
            scheduled: Some(s(10)),
            first_token: Some(s(first_s)),
            end: s(end_s),
            gap_max: SimDuration::ZERO,
            dropped: None,
        };
        let check = |ended: Ended, slo: Slo, expected: &[(u64, u64)]| {
            let miss = ended.miss(&slo).expect("it breaches");
            let spans: Vec<(SimTime, SimTime)> =
                std::iter::once((miss.from, miss.to)).chain(miss.later).filter(|(a, b)| a < b).collect();
            let expected: Vec<_> = expected.iter().map(|(a, b)| (s(*a), s(*b))).collect();
            assert_eq!(spans, expected, "{ended:?} {slo:?}");
        };
        let all = Slo { ttft: Some(ttft), tpot: Some(tpot), e2e: Some(e2e), ..Slo::default() };
        // Late, and then as quick as it should be.
        check(ended(15, 20), all, &[(12, 15)]);
        // Late, within its tokens, and too late as a whole: from 30 s on.
        check(ended(27, 31), all, &[(12, 27), (30, 31)]);
        // Late and slow: all of it from the first limit on.
        check(ended(15, 29), all, &[(12, 15), (15, 29)]);
        check(ended(15, 35), all, &[(12, 15), (15, 35)]);
        // Slow and too late as a whole: from its first token on.
        check(ended(11, 40), all, &[(11, 40)]);
        // The limit on the whole may be the stricter one.
        let odd = Slo { ttft: Some(e2e), e2e: Some(ttft), ..Slo::default() };
        check(ended(33, 35), odd, &[(12, 33), (33, 35)]);
        check(ended(11, 35), Slo { tpot: None, ..all }, &[(30, 35)]);
    }
}
