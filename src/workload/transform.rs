//! Transforms of a source: thinning, superposition, compression, time windows,
//! repetition, concatenation and block resampling.
//!
//! Each is itself a [`Source`] that works as the pass goes on, in flat memory, except
//! resampling, which holds the trace to jump about in it. Rotation and repetition treat the
//! workload as a ring of its *period*: the length of a window or of synthetic traffic, and
//! for a trace its span plus one mean gap, so that the last request and the first of the
//! next turn do not fall together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::kernel::dist::uniform;
use crate::kernel::rng::Purpose;
use crate::kernel::{SimDuration, SimTime, Streams};

use super::request::{Packed, Request, Source};

/// Requests of a pass.
type Pass<'a> = Box<dyn Iterator<Item = Request> + Send + 'a>;

fn shifted(request: Request, by: SimDuration) -> Request {
    Request { arrival: request.arrival.saturating_add(by), ..request }
}

/// Fixes the streams of everything inside: the traffic is the same in every replication.
pub(super) struct Pinned {
    pub inner: Arc<dyn Source>,
    pub streams: Streams,
}

impl Source for Pinned {
    fn requests<'a>(&'a self, _: &Streams) -> Pass<'a> {
        self.inner.requests(&self.streams)
    }
    fn span(&self) -> Option<SimDuration> {
        self.inner.span()
    }
    fn failure(&self) -> Option<String> {
        self.inner.failure()
    }
}

/// Keeps each request with probability `keep`.
pub(super) struct Thin {
    pub inner: Arc<dyn Source>,
    pub keep: f64,
    pub entity: u64,
}

impl Source for Thin {
    fn requests<'a>(&'a self, streams: &Streams) -> Pass<'a> {
        let mut rng = streams.stream(Purpose::RateScale, self.entity);
        Box::new(self.inner.requests(streams).filter(move |_| uniform(&mut rng) < self.keep))
    }
    fn span(&self) -> Option<SimDuration> {
        self.inner.span()
    }
    fn failure(&self) -> Option<String> {
        self.inner.failure()
    }
}

/// Divides all times by `factor`: the same requests, faster.
pub(super) struct Compress {
    pub inner: Arc<dyn Source>,
    pub factor: f64,
}

/// `time / factor`, rounded to ns; monotone, so the order is kept.
pub(super) fn compressed(time: SimDuration, factor: f64) -> SimDuration {
    SimDuration::from_nanos((time.as_nanos() as f64 / factor).round() as u64)
}

impl Source for Compress {
    fn requests<'a>(&'a self, streams: &Streams) -> Pass<'a> {
        Box::new(self.inner.requests(streams).map(|request| {
            let since = compressed(request.arrival.since(SimTime::ZERO), self.factor);
            Request { arrival: SimTime::ZERO.saturating_add(since), ..request }
        }))
    }
    fn span(&self) -> Option<SimDuration> {
        self.inner.span().map(|span| compressed(span, self.factor))
    }
    fn failure(&self) -> Option<String> {
        self.inner.failure()
    }
}

/// The requests in [from, from + span), counted from `from`.
pub(super) struct Window {
    pub inner: Arc<dyn Source>,
    pub from: SimDuration,
    pub span: SimDuration,
}

impl Source for Window {
    fn requests<'a>(&'a self, streams: &Streams) -> Pass<'a> {
        let from = SimTime::ZERO.saturating_add(self.from);
        let end = from.saturating_add(self.span);
        let inside = self.inner.requests(streams).skip_while(move |r| r.arrival < from);
        let inside = inside.take_while(move |r| r.arrival < end);
        Box::new(inside.map(move |r| Request { arrival: r.arrival.saturating_sub(self.from), ..r }))
    }
    fn span(&self) -> Option<SimDuration> {
        Some(self.span)
    }
    fn failure(&self) -> Option<String> {
        self.inner.failure()
    }
}

/// Sources one after another; each begins at the end of the period before it.
pub(super) struct Concatenate {
    /// Sources and their periods.
    pub parts: Vec<(Arc<dyn Source>, SimDuration)>,
}

impl Concatenate {
    /// `times` turns of one source.
    pub fn repeat(inner: Arc<dyn Source>, period: SimDuration, times: u32) -> Self {
        Self { parts: vec![(inner, period); times as usize] }
    }
}

impl Source for Concatenate {
    fn requests<'a>(&'a self, streams: &Streams) -> Pass<'a> {
        let streams = *streams;
        let mut start = SimDuration::ZERO;
        Box::new(self.parts.iter().flat_map(move |(source, period)| {
            let by = start;
            start += *period;
            source.requests(&streams).map(move |request| shifted(request, by))
        }))
    }
    fn span(&self) -> Option<SimDuration> {
        let (last, before) = self.parts.split_last()?;
        let start: SimDuration = before.iter().map(|(_, period)| *period).sum();
        Some(start + last.0.span().unwrap_or(last.1))
    }
    fn failure(&self) -> Option<String> {
        self.parts.iter().find_map(|(source, _)| source.failure())
    }
}

/// Copies of a source laid over each other; the first as it is, the others rotated on the ring of its period by
/// offsets drawn from the streams.
pub(super) struct Superpose {
    pub inner: Arc<dyn Source>,
    pub period: SimDuration,
    pub copies: u32,
    pub entity: u64,
}

impl Superpose {
    fn rotated(&self, streams: Streams, offset: SimDuration) -> Pass<'_> {
        let cut = SimTime::ZERO.saturating_add(self.period.saturating_sub(offset));
        let behind = self.period.saturating_sub(offset);
        let end = self.inner.requests(&streams).skip_while(move |r| r.arrival < cut);
        let end = end.map(move |r| Request { arrival: r.arrival.saturating_sub(behind), ..r });
        let mut begun = None;
        // The second pass over the source starts only when the first has ended.
        let start =
            std::iter::from_fn(move || begun.get_or_insert_with(|| self.inner.requests(&streams)).next());
        let start = start.take_while(move |r| r.arrival < cut).map(move |r| shifted(r, offset));
        Box::new(end.chain(start))
    }
}

impl Source for Superpose {
    fn requests<'a>(&'a self, streams: &Streams) -> Pass<'a> {
        let mut rng = streams.stream(Purpose::RateScale, self.entity);
        let passes: Vec<Pass<'a>> = (0..self.copies)
            .map(|copy| {
                let drawn = (uniform(&mut rng) * self.period.as_nanos() as f64) as u64;
                if copy == 0 {
                    self.inner.requests(streams)
                } else {
                    self.rotated(*streams, SimDuration::from_nanos(drawn))
                }
            })
            .collect();
        Box::new(Merge::new(passes))
    }
    fn span(&self) -> Option<SimDuration> {
        Some(self.period)
    }
    fn failure(&self) -> Option<String> {
        self.inner.failure()
    }
}

/// Merges sorted passes; ties go to the earlier pass.
struct Merge<'a> {
    passes: Vec<Pass<'a>>,
    heads: Vec<Option<Request>>,
    heap: BinaryHeap<Reverse<(SimTime, usize)>>,
}

impl<'a> Merge<'a> {
    fn new(mut passes: Vec<Pass<'a>>) -> Self {
        let heads: Vec<Option<Request>> = passes.iter_mut().map(Iterator::next).collect();
        let heap = heads.iter().enumerate().filter_map(|(i, h)| h.map(|h| Reverse((h.arrival, i)))).collect();
        Self { passes, heads, heap }
    }
}

impl Iterator for Merge<'_> {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let Reverse((_, index)) = self.heap.pop()?;
        let next = self.passes[index].next();
        if let Some(next) = next {
            self.heap.push(Reverse((next.arrival, index)));
        }
        std::mem::replace(&mut self.heads[index], next)
    }
}

/// A moving-block bootstrap on a ring (Politis and Romano, 1992): each replication is made of blocks of the trace that
/// begin at random instants, so every request is as likely as any other. The span is kept, the count is not.
pub(super) struct Resample {
    pub trace: Packed,
    pub period: SimDuration,
    pub block: SimDuration,
}

impl Source for Resample {
    fn requests<'a>(&'a self, streams: &Streams) -> Pass<'a> {
        let mut rng = streams.stream(Purpose::Resample, 0);
        let (period, block) = (self.period.as_nanos(), self.block.as_nanos());
        let starts = (0..period.div_ceil(block)).map(move |index| {
            let from = (uniform(&mut rng) * period as f64) as u64;
            (index * block, from.min(period - 1), block.min(period - index * block))
        });
        Box::new(starts.flat_map(move |(at, from, length)| self.block_at(at, from, length)))
    }
    fn span(&self) -> Option<SimDuration> {
        Some(self.period)
    }
}

impl Resample {
    /// The requests of [from, from + length) on the ring, moved to begin at `at`; all in ns.
    fn block_at(&self, at: u64, from: u64, length: u64) -> impl Iterator<Item = Request> + Send + '_ {
        let period = self.period.as_nanos();
        let index = |time: u64| self.trace.requests.partition_point(|r| r.arrival.as_nanos() < time);
        let end = from + length;
        let first = &self.trace.requests[index(from)..index(end.min(period))];
        let wrapped = &self.trace.requests[..index(end.saturating_sub(period))];
        let first = first.iter().map(move |r| (r, r.arrival.as_nanos() - from));
        let wrapped = wrapped.iter().map(move |r| (r, r.arrival.as_nanos() + period - from));
        first.chain(wrapped).map(move |(r, since)| Request { arrival: SimTime::from_nanos(at + since), ..*r })
    }
}

#[cfg(test)]
#[path = "transform_tests.rs"]
mod tests;
