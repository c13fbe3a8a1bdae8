//! Prompt and output lengths of synthetic requests, and (prompt, output) pairs drawn
//! again from a workload.

use std::sync::Arc;

use rand::Rng;
use rand::rngs::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::Streams;
use crate::kernel::dist::{normal_quantile, uniform};
use crate::kernel::rng::Purpose;

use super::arrivals::Complaints;
use super::request::Source;
use super::spec::WorkloadSpec;

/// Pairs kept of a workload: enough for any percentile of 20,000 draws, and under 1 MB.
const PAIRS_KEPT: usize = 100_000;
/// The 95 % quantile of the standard normal distribution.
const Z95: f64 = 1.644_853_626_951_472_2;

/// Lengths of synthetic requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LengthsSpec {
    /// Every request alike.
    Constant(ConstantLengthsSpec),
    /// Prompt and output lengths from two independent lognormal distributions.
    Lognormal(LognormalLengthsSpec),
    /// Drawn from the requests of a trace, prompt and output together: `{ empirical: { azure: { file: .. } } }`.
    Empirical(Box<WorkloadSpec>),
}

/// Every request alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConstantLengthsSpec {
    /// Prompt tokens.
    pub prompt_tokens: u32,
    /// Output tokens.
    pub output_tokens: u32,
}

/// Prompt and output lengths from two independent lognormal distributions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LognormalLengthsSpec {
    /// Prompt tokens.
    pub prompt_tokens: LognormalTokensSpec,
    /// Output tokens.
    pub output_tokens: LognormalTokensSpec,
}

/// A lognormal distribution of a number of tokens, at least 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LognormalTokensSpec {
    /// Median.
    pub median: f64,
    /// 95th percentile, at least the median.
    pub p95: f64,
    /// The distribution is cut off here (not piled up here). Default: no cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

impl LengthsSpec {
    /// Everything that is out of range; an empirical trace is checked where it is read.
    pub(super) fn complaints(&self) -> Complaints {
        let mut out = Vec::new();
        match self {
            Self::Constant(c) => {
                if c.prompt_tokens == 0 || c.output_tokens == 0 {
                    out.push((
                        "constant",
                        "a request has at least one prompt and one output token".to_owned(),
                    ));
                }
            }
            Self::Lognormal(l) => {
                let sides = [
                    ("lognormal.promptTokens", &l.prompt_tokens),
                    ("lognormal.outputTokens", &l.output_tokens),
                ];
                for (field, t) in sides {
                    if !(t.median >= 1.0 && t.p95 >= t.median && t.p95 <= 1e8) {
                        out.push((field, "needs 1 <= median <= p95 <= 100 million".to_owned()));
                    } else if t.max.is_some_and(|max| f64::from(max) < t.median) {
                        out.push((field, "`max` is below the median".to_owned()));
                    }
                }
            }
            Self::Empirical(_) => {}
        }
        out
    }
}

/// A lognormal number of tokens, ready to draw from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LognormalTokens {
    mu: f64,
    sigma: f64,
    /// The probability below the cut.
    kept: f64,
    max: u32,
}

impl LognormalTokens {
    pub fn new(spec: &LognormalTokensSpec) -> Self {
        let (mu, sigma) = (libm::log(spec.median), libm::log(spec.p95 / spec.median) / Z95);
        let kept = match spec.max {
            Some(max) if sigma > 0.0 => {
                let z = (libm::log(f64::from(max) + 0.5) - mu) / sigma;
                0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
            }
            _ => 1.0,
        };
        Self { mu, sigma, kept, max: spec.max.unwrap_or(u32::MAX) }
    }

    /// With this mean and coefficient of variation.
    pub fn with_mean(mean: f64, cv: f64) -> Self {
        let variance = libm::log(1.0 + cv * cv);
        let mu = libm::log(mean.max(1.0)) - variance / 2.0;
        Self { mu, sigma: libm::sqrt(variance), kept: 1.0, max: u32::MAX }
    }

    /// Draws a number of tokens; takes exactly one value from the stream.
    pub fn sample(&self, rng: &mut impl Rng) -> u32 {
        let z = normal_quantile(uniform(rng) * self.kept);
        (libm::exp(self.mu + self.sigma * z).round().max(1.0) as u32).min(self.max)
    }
}

/// Lengths, ready to draw from.
#[derive(Clone, Debug)]
pub(super) enum Lengths {
    Constant(u32, u32),
    Lognormal(LognormalTokens, LognormalTokens),
    Pairs(Arc<LengthSampler>),
}

impl Lengths {
    /// Draws (prompt, output) tokens.
    pub fn sample(&self, rng: &mut ChaCha8Rng) -> (u32, u32) {
        match self {
            Self::Constant(prompt, output) => (*prompt, *output),
            Self::Lognormal(prompt, output) => (prompt.sample(rng), output.sample(rng)),
            Self::Pairs(pairs) => pairs.sample(rng),
        }
    }
}

/// (prompt, output) pairs of a workload, each as likely as any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LengthSampler {
    pairs: Vec<(u32, u32)>,
}

impl LengthSampler {
    /// The pairs of one pass over `source`: all of them up to 100,000, else that many chosen evenly
    /// (reservoir sampling), the same ones for the same streams. `None` if the source has no requests.
    pub fn new(source: &dyn Source, streams: &Streams) -> Option<Self> {
        // The capacity search draws with entity 0; the choice of pairs must not share its draws.
        let mut rng = streams.stream(Purpose::Capacity, u64::MAX);
        let mut pairs = Vec::new();
        for (index, request) in source.requests(streams).enumerate() {
            let pair = (request.prompt_tokens, request.output_tokens);
            if index < PAIRS_KEPT {
                pairs.push(pair);
            } else {
                let slot = (uniform(&mut rng) * (index + 1) as f64) as usize;
                if let Some(kept) = pairs.get_mut(slot) {
                    *kept = pair;
                }
            }
        }
        (!pairs.is_empty()).then_some(Self { pairs })
    }

    /// Draws a pair; takes exactly one value from the stream.
    pub fn sample(&self, rng: &mut impl Rng) -> (u32, u32) {
        let index = (uniform(rng) * self.pairs.len() as f64) as usize;
        self.pairs[index.min(self.pairs.len() - 1)]
    }

    /// The pairs.
    pub fn pairs(&self) -> &[(u32, u32)] {
        &self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{SimDuration, SimTime};
    use crate::workload::{Packed, Request};

    fn quantile(draws: &mut [u32], p: f64) -> f64 {
        draws.sort_unstable();
        f64::from(draws[(p * draws.len() as f64) as usize])
    }

    #[test]
    fn lognormal_lengths_have_the_percentiles_asked_for() {
        let check = |max: Option<u32>, p: f64, expected: f64| {
            let spec = LognormalTokensSpec { median: 1000.0, p95: 4000.0, max };
            let tokens = LognormalTokens::new(&spec);
            let mut rng = Streams::new(3, 0).stream(Purpose::Lengths, 0);
            let mut draws: Vec<u32> = (0..100_000).map(|_| tokens.sample(&mut rng)).collect();
            let value = quantile(&mut draws, p);
            assert!((value / expected - 1.0).abs() < 0.02, "{max:?} {p}: {value}");
            assert!(draws[draws.len() - 1] <= max.unwrap_or(u32::MAX));
        };
        check(None, 0.5, 1000.0);
        check(None, 0.95, 4000.0);
        // Cut at the p95, the median becomes the 47.5 % quantile of the uncut distribution.
        let sigma = 4.0_f64.ln() / Z95;
        check(Some(4000), 0.5, 1000.0 * (sigma * normal_quantile(0.475)).exp());
    }

    #[test]
    fn a_mean_is_kept() {
        let tokens = LognormalTokens::with_mean(500.0, 1.0);
        let mut rng = Streams::new(3, 0).stream(Purpose::Lengths, 0);
        let mean = (0..200_000).map(|_| f64::from(tokens.sample(&mut rng))).sum::<f64>() / 200_000.0;
        assert!((mean / 500.0 - 1.0).abs() < 0.02, "{mean}");
    }

    fn numbered(count: u32) -> Packed {
        let requests = (1..=count)
            .map(|n| Request {
                arrival: SimTime::from_nanos(u64::from(n)),
                prompt_tokens: n,
                output_tokens: n + 1,
            })
            .collect();
        Packed { requests, span: SimDuration::from_nanos(u64::from(count)) }
    }

    #[test]
    fn pairs_stay_together_and_the_reservoir_is_even() {
        let streams = Streams::new(1, 0);
        assert_eq!(LengthSampler::new(&numbered(0), &streams), None);
        let few = LengthSampler::new(&numbered(10), &streams).unwrap();
        let mut rng = streams.stream(Purpose::Lengths, 0);
        let mut seen = [0; 11];
        for _ in 0..1000 {
            let (prompt, output) = few.sample(&mut rng);
            assert_eq!(output, prompt + 1);
            seen[prompt as usize] += 1;
        }
        assert!(seen[1..].iter().all(|n| (60..140).contains(n)), "{seen:?}");
        let many = LengthSampler::new(&numbered(400_000), &streams).unwrap();
        assert_eq!(many, LengthSampler::new(&numbered(400_000), &streams).unwrap());
        assert_eq!(many.pairs().len(), PAIRS_KEPT);
        let late = many.pairs().iter().filter(|p| p.0 > 200_000).count();
        assert!((49_000..51_000).contains(&late), "{late}");
    }
}
