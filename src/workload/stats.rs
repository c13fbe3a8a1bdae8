//! What traffic looks like: rates, burstiness and token percentiles, in one pass and
//! flat memory.
//!
//! The definitions are those the public traces are described by: mean rate = rows / span;
//! peaks = the fullest aligned bin of 1 s and of 60 s; CV = standard deviation over mean of
//! the inter-arrival times (Poisson: 1); P/M = busiest minute over mean rate; IDC =
//! variance over mean of the counts of whole minutes (Poisson: 1).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::kernel::{SimDuration, SimTime, Streams};

use super::request::{Request, Source};

/// A description of a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceStats {
    /// Requests.
    pub rows: u64,
    /// From the first arrival to the last.
    pub span: SimDuration,
    /// Mean rate, requests/s; 0 if all arrive at one instant.
    pub rate_mean: f64,
    /// Requests in the busiest second.
    pub rate_peak_1s: f64,
    /// Rate of the busiest minute, requests/s.
    pub rate_peak_1min: f64,
    /// Coefficient of variation of the inter-arrival times.
    pub arrival_cv: f64,
    /// Rate of the busiest minute over the mean rate.
    pub peak_to_mean: f64,
    /// Index of dispersion of the counts per minute; 0 if there is less than two whole minutes.
    pub minute_idc: f64,
    /// Prompt tokens.
    pub prompt_tokens: TokenStats,
    /// Output tokens.
    pub output_tokens: TokenStats,
}

/// Percentiles of a number of tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenStats {
    /// Mean.
    pub mean: f64,
    /// 1st percentile.
    pub p1: u32,
    /// 25th percentile.
    pub p25: u32,
    /// Median.
    pub p50: u32,
    /// 75th percentile.
    pub p75: u32,
    /// 90th percentile.
    pub p90: u32,
    /// 95th percentile.
    pub p95: u32,
    /// 99th percentile.
    pub p99: u32,
    /// Largest.
    pub max: u32,
}

/// Describes one pass over `source`.
pub fn stats(source: &dyn Source, streams: &Streams) -> TraceStats {
    let mut gaps = Gaps::default();
    let (mut second, mut minute) = (Bins::new(1), Bins::new(60));
    let (mut prompt, mut output) = (Counts::default(), Counts::default());
    for request in source.requests(streams) {
        gaps.add(&request);
        let since = request.arrival.since(gaps.first);
        second.add(since);
        minute.add(since);
        prompt.add(request.prompt_tokens);
        output.add(request.output_tokens);
    }
    let span = gaps.last.since(gaps.first);
    let per_second = |count: f64| if span.is_zero() { 0.0 } else { count / span.as_secs_f64() };
    let rate_mean = per_second(gaps.rows as f64);
    let rate_peak_1min = minute.peak.max(minute.current) as f64 / 60.0;
    TraceStats {
        rows: gaps.rows,
        span,
        rate_mean,
        rate_peak_1s: second.peak.max(second.current) as f64,
        rate_peak_1min,
        arrival_cv: gaps.cv(),
        peak_to_mean: if rate_mean > 0.0 { rate_peak_1min / rate_mean } else { 0.0 },
        minute_idc: minute.dispersion(),
        prompt_tokens: prompt.stats(),
        output_tokens: output.stats(),
    }
}

/// Counts the requests of one pass and measures their inter-arrival times.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    pub rows: u64,
    pub first: SimTime,
    pub last: SimTime,
    mean: f64,
    /// Sum of squared deviations from the mean (Welford's recurrence).
    squares: f64,
}

impl Gaps {
    /// Measures one pass over `source`.
    pub fn of(source: &dyn Source, streams: &Streams) -> Self {
        let mut gaps = Self::default();
        for request in source.requests(streams) {
            gaps.add(&request);
        }
        gaps
    }

    fn add(&mut self, request: &Request) {
        if self.rows == 0 {
            self.first = request.arrival;
        } else {
            let gap = request.arrival.since(self.last).as_secs_f64();
            let delta = gap - self.mean;
            self.mean += delta / self.rows as f64;
            self.squares += delta * (gap - self.mean);
        }
        self.rows += 1;
        self.last = request.arrival;
    }

    /// Coefficient of variation of the inter-arrival times; 0 where there are none.
    pub fn cv(&self) -> f64 {
        if self.rows < 2 || self.mean <= 0.0 {
            return 0.0;
        }
        (self.squares / (self.rows - 1) as f64).sqrt() / self.mean
    }
}

/// Counts per aligned bin of time; only the current one is kept.
#[derive(Debug)]
struct Bins {
    nanos: u64,
    index: u64,
    current: u64,
    peak: u64,
    sum: f64,
    squares: f64,
}

impl Bins {
    fn new(secs: u64) -> Self {
        Self { nanos: secs * 1_000_000_000, index: 0, current: 0, peak: 0, sum: 0.0, squares: 0.0 }
    }

    fn add(&mut self, since: SimDuration) {
        let index = since.as_nanos() / self.nanos;
        if index != self.index {
            self.peak = self.peak.max(self.current);
            self.sum += self.current as f64;
            self.squares += (self.current as f64) * (self.current as f64);
            self.current = 0;
            self.index = index;
        }
        self.current += 1;
    }

    /// Variance over mean of the whole bins: the last one, cut short by the end, is left out.
    fn dispersion(&self) -> f64 {
        if self.index < 2 || self.sum == 0.0 {
            return 0.0;
        }
        let bins = self.index as f64;
        let mean = self.sum / bins;
        (self.squares / bins - mean * mean) / mean
    }
}

/// How often each number of tokens occurs: exact percentiles in memory bounded by the distinct values.
#[derive(Debug, Default)]
struct Counts {
    small: Vec<u64>,
    large: BTreeMap<u32, u64>,
    sum: f64,
    count: u64,
}

/// Numbers of tokens below this are counted in a plain vector.
const SMALL: u32 = 1 << 17;

impl Counts {
    fn add(&mut self, tokens: u32) {
        self.sum += f64::from(tokens);
        self.count += 1;
        if tokens < SMALL {
            let index = tokens as usize;
            if index >= self.small.len() {
                self.small.resize(index + 1, 0);
            }
            self.small[index] += 1;
        } else {
            *self.large.entry(tokens).or_default() += 1;
        }
    }

    /// The value at rank `p (n - 1)`, counted from 0; between two values in a straight line, rounded down.
    fn quantile(&self, p: f64) -> u32 {
        let position = p * self.count.saturating_sub(1) as f64;
        let low = f64::from(self.at_rank(position as u64));
        let high = f64::from(self.at_rank(position.ceil() as u64));
        (low + (high - low) * position.fract()) as u32
    }

    fn at_rank(&self, rank: u64) -> u32 {
        let small = self.small.iter().enumerate().map(|(tokens, n)| (tokens as u32, *n));
        let mut seen = 0;
        for (tokens, n) in small.chain(self.large.iter().map(|(t, n)| (*t, *n))) {
            seen += n;
            if seen > rank {
                return tokens;
            }
        }
        0
    }

    fn stats(&self) -> TokenStats {
        if self.count == 0 {
            return TokenStats::default();
        }
        TokenStats {
            mean: self.sum / self.count as f64,
            p1: self.quantile(0.01),
            p25: self.quantile(0.25),
            p50: self.quantile(0.5),
            p75: self.quantile(0.75),
            p90: self.quantile(0.9),
            p95: self.quantile(0.95),
            p99: self.quantile(0.99),
            max: self.quantile(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{WorkloadSpec, load};
    use std::path::Path;

    fn shipped(file: &str) -> TraceStats {
        let spec = WorkloadSpec::azure(file);
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/traces");
        let workload = load(&spec, &base, 7).unwrap();
        stats(workload.source.as_ref(), &Streams::new(7, 0))
    }

    fn figures(s: &TraceStats) -> [f64; 7] {
        let rounded = |v: f64| (v * 100.0).round() / 100.0;
        [
            s.span.as_secs_f64().round(),
            rounded(s.rate_mean),
            s.rate_peak_1s,
            rounded(s.rate_peak_1min),
            rounded(s.arrival_cv),
            rounded(s.peak_to_mean),
            rounded(s.minute_idc),
        ]
    }

    fn percentiles(t: &TokenStats) -> [u32; 8] {
        [t.p1, t.p25, t.p50, t.p75, t.p90, t.p95, t.p99, t.max]
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "both sides are rounded to the same decimals")]
    fn the_shipped_traces_have_the_figures_of_their_table() {
        let conv = shipped("azure_llm_2023_conv.csv");
        assert_eq!(conv.rows, 19_366);
        assert_eq!(figures(&conv), [3502.0, 5.53, 16.0, 8.45, 1.09, 1.53, 16.13]);
        assert_eq!(percentiles(&conv.prompt_tokens), [29, 396, 1020, 1189, 2734, 4083, 4142, 14050]);
        assert_eq!(percentiles(&conv.output_tokens), [16, 85, 129, 395, 424, 451, 601, 1000]);
        let code = shipped("azure_llm_2023_code.csv");
        assert_eq!(code.rows, 8_819);
        assert_eq!(figures(&code), [3436.0, 2.57, 67.0, 10.53, 13.15, 4.1, 163.96]);
        assert_eq!(percentiles(&code.prompt_tokens), [17, 578, 1469, 2744, 5187, 7303, 7436, 7437]);
        assert_eq!(percentiles(&code.output_tokens), [6, 9, 13, 24, 55, 90, 251, 1899]);
    }
}
