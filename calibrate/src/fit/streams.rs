//! From the arrival times of streamed tokens to the steps of the engine behind them.
//!
//! A client sees when each token of each request arrived. So at any time it knows which requests
//! were decoding, and how many tokens each held: the step's B and K. The gap between two tokens
//! of a request during which no request waited for its first token is a step that only decodes.

use std::collections::BTreeMap;

use super::points::{DecodePoint, PrefillPoint, Spread, quantile};
use crate::raw::{Load, RequestSample, Series};

/// Gaps pooled into one point, at least; and points of one batch size, at most.
const POOL_MIN: usize = 20;
const POOLS_MAX: usize = 12;
/// Fewer gaps than this at a batch size are no point.
const GAPS_MIN: usize = 5;
/// Share of a closed series that is trimmed at each end.
const TRIM: f64 = 0.1;
/// Share of a gap that late arrivals of the step before may take.
const JITTER: f64 = 0.1;
/// From this many tokens an event on (a run's median), each event stands for several steps.
pub const MULTI_TOKEN: f64 = 1.5;
/// Where events are single tokens, a request with more tokens an event than this had text held
/// back, as half a letter is: its events are no steps, and its first is not its first token.
const HELD_BACK: f64 = 1.2;

/// A request that went well.
struct Stream<'a> {
    sent: u64,
    events: &'a [u64],
    prompt: f64,
    tokens_per_event: f64,
}

impl<'a> Stream<'a> {
    fn of(request: &'a RequestSample) -> Option<Self> {
        let (prompt, output) = (request.prompt_tokens?, request.output_tokens?);
        let sound = request.error.is_none() && !request.events_ns.is_empty() && request.events_ns.is_sorted();
        let tokens_per_event = output as f64 / request.events_ns.len().max(1) as f64;
        sound.then_some(Self {
            sent: request.sent_ns,
            events: &request.events_ns,
            prompt: prompt as f64,
            tokens_per_event,
        })
    }

    fn first(&self) -> u64 {
        self.events.first().copied().unwrap_or(u64::MAX)
    }

    fn last(&self) -> u64 {
        self.events.last().copied().unwrap_or(0)
    }

    fn is_decoding(&self, at: u64) -> bool {
        self.first() <= at && at < self.last()
    }

    fn kv_tokens(&self, at: u64) -> f64 {
        self.prompt + self.events.partition_point(|e| *e <= at) as f64 * self.tokens_per_event
    }
}

/// What the streams of a file say of its steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps {
    /// Steps that only decode, pooled.
    pub decode: Vec<DecodePoint>,
    /// Gaps behind them.
    pub gaps: usize,
    /// Gaps left out: another request waited for its first token, or too few at a batch size.
    pub gaps_left_out: usize,
    /// TTFT of requests that were alone, µs, by prompt length.
    pub alone: Vec<PrefillPoint>,
    /// Requests, and those of them that failed.
    pub requests: usize,
    /// Requests that failed, or whose server gave no `usage`.
    pub failed: usize,
    /// Batch sizes that were held on purpose.
    pub swept: Vec<u32>,
    /// TTFT of the first requests of each start, µs, with their prompt tokens.
    pub first: Vec<Vec<(f64, f64)>>,
    /// Tokens an event carried, the median over requests.
    pub tokens_per_event: f64,
    /// Requests whose text the server held back for a while.
    pub held_back: usize,
}

/// Reads the steps out of all requests of a file.
pub fn steps(series: &[&Series], requests: &[&RequestSample]) -> Steps {
    let ratios: Vec<f64> =
        requests.iter().filter_map(|r| Stream::of(r)).map(|s| s.tokens_per_event).collect();
    let tokens_per_event = quantile(&ratios, 0.5).unwrap_or(1.0);
    let mut steps = Steps { requests: requests.len(), tokens_per_event, ..Steps::default() };
    steps.held_back = ratios.iter().filter(|r| steps.is_held_back(**r)).count();
    let mut gaps: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    let mut alone: Vec<(f64, f64, f64)> = Vec::new();
    let has_prompts = series.iter().any(|s| s.load == Load::Prompts);
    for one in series {
        let mine: Vec<&RequestSample> = requests.iter().copied().filter(|r| r.series == one.series).collect();
        steps.failed += mine.iter().filter(|r| Stream::of(r).is_none()).count();
        match one.load {
            Load::First { .. } => {
                let streams = mine.iter().filter_map(|r| Stream::of(r));
                steps.first.push(streams.map(|s| (s.prompt, ttft_us(&s))).collect());
                continue;
            }
            Load::Closed { clients } => steps.swept.push(clients),
            Load::Prompts | Load::Poisson { .. } => {}
        }
        pure_gaps(&mine, one.load, &mut gaps, &mut steps);
        let is_alone = one.load == Load::Prompts || (!has_prompts && one.load == Load::Closed { clients: 1 });
        if is_alone {
            alone.extend(mine.iter().filter_map(|r| {
                let stream = Stream::of(r)?;
                if steps.is_held_back(stream.tokens_per_event) {
                    return None;
                }
                let cached = r.cached_tokens.unwrap_or(0) as f64;
                Some((stream.prompt - cached, cached, ttft_us(&stream))).filter(|(new, ..)| *new > 0.0)
            }));
        }
    }
    steps.swept.sort_unstable();
    steps.swept.dedup();
    steps.alone = by_length(&mut alone);
    for (batch, mut found) in gaps {
        if found.len() < GAPS_MIN {
            steps.gaps_left_out += found.len();
            continue;
        }
        steps.gaps += found.len();
        steps.decode.extend(pools(batch, &mut found));
    }
    steps
}

impl Steps {
    fn is_held_back(&self, tokens_per_event: f64) -> bool {
        self.tokens_per_event <= MULTI_TOKEN && tokens_per_event > HELD_BACK
    }
}

fn ttft_us(stream: &Stream) -> f64 {
    stream.first().saturating_sub(stream.sent) as f64 / 1e3
}

fn pure_gaps(
    requests: &[&RequestSample],
    load: Load,
    gaps: &mut BTreeMap<u32, Vec<(f64, f64)>>,
    steps: &mut Steps,
) {
    let streams: Vec<Stream> = requests.iter().filter_map(|r| Stream::of(r)).collect();
    // A failed request held the server for a time nobody knows: until its end, or for good.
    let failed: Vec<(u64, u64)> = requests
        .iter()
        .filter(|r| Stream::of(r).is_none())
        .map(|r| (r.sent_ns, r.done_ns.unwrap_or(u64::MAX)))
        .collect();
    let begin = streams.iter().map(|s| s.sent).min().unwrap_or(0);
    let end = streams.iter().map(Stream::last).max().unwrap_or(0);
    let trimmed =
        if matches!(load, Load::Closed { .. }) { (TRIM * (end - begin.min(end)) as f64) as u64 } else { 0 };
    let window = begin + trimmed..=end.saturating_sub(trimmed);
    for stream in &streams {
        if steps.is_held_back(stream.tokens_per_event) {
            continue;
        }
        let scale = if steps.tokens_per_event > MULTI_TOKEN { stream.tokens_per_event } else { 1.0 };
        for pair in stream.events.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            if to <= from || !window.contains(&from) || !window.contains(&to) {
                continue;
            }
            let at = from + ((to - from) as f64 * JITTER) as u64;
            let waits = |s: &Stream| s.sent < to && s.first() > at;
            let failing = failed.iter().any(|(sent, done)| *sent < to && *done > at);
            if failing || streams.iter().any(waits) {
                steps.gaps_left_out += 1;
                continue;
            }
            let decoding = streams.iter().filter(|s| s.is_decoding(at));
            let (batch, kv) = decoding.fold((0, 0.0), |(b, k), s| (b + 1, k + s.kv_tokens(at)));
            gaps.entry(batch).or_default().push((kv, (to - from) as f64 / 1e3 / scale));
        }
    }
}

/// Gaps at one batch size, cut by KV tokens into groups of equal number; the medians of each.
fn pools(batch: u32, gaps: &mut [(f64, f64)]) -> Vec<DecodePoint> {
    gaps.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let groups = (gaps.len() / POOL_MIN).clamp(1, POOLS_MAX);
    let group = |i: usize| &gaps[i * gaps.len() / groups..(i + 1) * gaps.len() / groups];
    let point = |group: &[(f64, f64)]| {
        let kv: Vec<f64> = group.iter().map(|g| g.0).collect();
        let us: Vec<f64> = group.iter().map(|g| g.1).collect();
        let (kv_tokens, us) = (quantile(&kv, 0.5)?, quantile(&us, 0.5)?);
        (us > 0.0).then_some(DecodePoint { batch, kv_tokens, us })
    };
    (0..groups).filter_map(|i| point(group(i))).collect()
}

/// Medians of (new tokens, cached tokens, µs), prompts within 5 % and a token of each other taken together.
fn by_length(alone: &mut [(f64, f64, f64)]) -> Vec<PrefillPoint> {
    alone.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2)));
    let mut points = Vec::new();
    let mut rest = &alone[..];
    while let Some(first) = rest.first() {
        let same =
            rest.iter().take_while(|a| a.0 <= 1.05 * first.0 + 1.0 && (a.1 - first.1).abs() <= 1.0).count();
        let (group, after) = rest.split_at(same);
        rest = after;
        let of =
            |value: fn(&(f64, f64, f64)) -> f64| Spread::of(&group.iter().map(value).collect::<Vec<_>>());
        if let (Some(tokens), Some(us)) = (of(|a| a.0), of(|a| a.2)) {
            points.push(PrefillPoint { tokens: tokens.median, context: first.1, us: us.median });
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn request(series: u32, sent: u64, prompt: u64, events_ms: &[u64]) -> RequestSample {
        RequestSample {
            series,
            request: 0,
            due_ns: sent * MS,
            sent_ns: sent * MS,
            done_ns: events_ms.last().map(|e| e * MS),
            events_ns: events_ms.iter().map(|e| e * MS).collect(),
            prompt_tokens: Some(prompt),
            cached_tokens: None,
            output_tokens: Some(events_ms.len() as u64),
            error: None,
        }
    }

    fn steps_of(load: Load, requests: &[RequestSample]) -> Steps {
        steps(&[&Series { series: 0, load }], &requests.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_gap_counts_where_nobody_waits_for_a_first_token() {
        let poisson = Load::Poisson { per_second: 1.0 };
        // One request decodes at 10 ms a token; a second is sent at 95 and has its first token at 130.
        let a: Vec<u64> = (1..=20).map(|i| 10 * i).collect();
        let b: Vec<u64> = (13..=30).map(|i| 10 * i).collect();
        let steps = steps_of(poisson, &[request(0, 0, 100, &a), request(0, 95, 50, &b)]);
        // a: 10..90 alone (8 gaps), 90..130 with b waiting (4), 130..200 with b decoding (7).
        // b: 130..200 with a (7), 200..300 alone (10).
        assert_eq!((steps.gaps, steps.gaps_left_out), (8 + 7 + 7 + 10, 4));
        let batch = |b: u32| steps.decode.iter().filter(|p| p.batch == b).count();
        assert_eq!((batch(1), batch(2)), (1, 1));
        assert!(steps.decode.iter().all(|p| (p.us - 10_000.0).abs() < 1e-9));
        // Two at once: prompts 150, tokens so far 13 + 1 in the first gap, 19 + 7 in the last.
        let two = steps.decode.iter().find(|p| p.batch == 2).unwrap();
        assert!((two.kv_tokens - (150.0 + 20.0)).abs() < 1.01, "{two:?}");
    }

    #[test]
    fn a_failed_request_spoils_the_gaps_it_may_have_touched() {
        let a: Vec<u64> = (1..=20).map(|i| 10 * i).collect();
        let failed =
            RequestSample { error: Some("reset".to_owned()), done_ns: None, ..request(0, 95, 50, &[]) };
        let steps = steps_of(Load::Prompts, &[request(0, 0, 100, &a), failed]);
        assert_eq!((steps.gaps, steps.gaps_left_out, steps.failed), (8, 11, 1));
    }

    #[test]
    fn ttft_is_taken_from_requests_that_are_alone() {
        let requests =
            [request(0, 0, 100, &[30, 40]), request(0, 50, 101, &[90, 100]), request(0, 200, 400, &[300])];
        let steps = steps_of(Load::Prompts, &requests);
        let points: Vec<(f64, f64)> = steps.alone.iter().map(|p| (p.tokens, p.us)).collect();
        assert_eq!(points, [(100.5, 35_000.0), (400.0, 100_000.0)]);
        assert_eq!(steps_of(Load::Closed { clients: 2 }, &requests).alone, []);
        assert_eq!(
            steps_of(Load::First { run: 0 }, &requests).first,
            [[(100.0, 30_000.0), (101.0, 40_000.0), (400.0, 100_000.0)]]
        );
    }

    #[test]
    fn events_of_several_tokens_are_several_steps() {
        let events: Vec<u64> = (1..=20).map(|i| 40 * i).collect();
        let mut one = request(0, 0, 100, &events);
        one.output_tokens = Some(80);
        let steps = steps_of(Load::Prompts, &[one]);
        assert!((steps.tokens_per_event - 4.0).abs() < 1e-9);
        assert!(steps.decode.iter().all(|p| (p.us - 10_000.0).abs() < 1e-9));
    }
}
