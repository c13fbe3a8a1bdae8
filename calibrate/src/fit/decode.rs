//! Decode: the summary form `base + perSequence * B + perKvToken * K`, with hinges over B
//! where they predict held-out points better.

use thawline::profile::schema::{DecodeFit, FitErrors, Hinge};

use super::cross;
use super::nnls;
use super::points::{DecodePoint, rounded};

/// Contexts closer together than this (largest over smallest mean) do not tell the cost of a KV
/// token from that of a sequence.
const CONTEXT_SPREAD: f64 = 1.25;

/// A fit and what it is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Decode {
    /// µs before any sequence.
    base_us: f64,
    /// µs for each sequence, up to the first hinge, to the second, and so on.
    slopes_us: Vec<f64>,
    hinges: Vec<u32>,
    /// µs for each KV token.
    per_kv_us: f64,
    /// Signed relative error of each point when it was held out; empty where that was not possible.
    pub held_out: Vec<f64>,
    /// Whether contexts differ enough to tell KV tokens from sequences.
    pub kv_known: bool,
}

/// Fits points, with those of the hinges that pay for themselves. `None` with fewer than three
/// points or a single batch size.
pub fn fit(points: &[DecodePoint], hinges: &[u32]) -> Option<Decode> {
    let batches = distinct_batches(points.iter());
    if points.len() < 3 || batches.len() < 2 {
        return None;
    }
    let contexts = points.iter().map(|p| p.kv_tokens / f64::from(p.batch));
    let (least, most) = contexts.fold((f64::INFINITY, 0.0_f64), |(low, high), c| (low.min(c), high.max(c)));
    let kv_known = most > CONTEXT_SPREAD * least;
    // A slope needs two batch sizes on its own side of a hinge.
    let beyond = |h: u32| batches.iter().filter(|b| **b > h).count();
    let mut left: Vec<u32> = hinges.iter().copied().filter(|h| *h >= batches[0] && beyond(*h) > 0).collect();
    left.dedup();
    let mut best = attempt(points, &[], kv_known)?;
    while !best.held_out.is_empty() {
        let with = |h: &u32| {
            let mut chosen = best.hinges.clone();
            chosen.push(*h);
            chosen.sort_unstable();
            attempt(points, &chosen, kv_known).filter(|d| !d.held_out.is_empty())
        };
        let error = |d: &Decode| cross::mape(&d.held_out);
        let Some(next) = left.iter().filter_map(with).min_by(|a, b| error(a).total_cmp(&error(b))) else {
            break;
        };
        if !cross::pays(&best.held_out, &next.held_out) {
            break;
        }
        left.retain(|h| !next.hinges.contains(h));
        best = next;
    }
    Some(best)
}

fn attempt(points: &[DecodePoint], hinges: &[u32], kv_known: bool) -> Option<Decode> {
    let all: Vec<&DecodePoint> = points.iter().collect();
    let mut decode = solve(&all, hinges, kv_known)?;
    let held_out = cross::held_out(points, |others| solve(others, hinges, kv_known), Decode::error);
    decode.held_out = held_out.unwrap_or_default();
    Some(decode)
}

fn solve(points: &[&DecodePoint], hinges: &[u32], kv_known: bool) -> Option<Decode> {
    if distinct_batches(points.iter().copied()).len() < 2 {
        return None;
    }
    let rows: Vec<Vec<f64>> = points
        .iter()
        .map(|p| {
            let mut row = vec![1.0];
            row.extend(lengths(p.batch, hinges));
            row.push(if kv_known { p.kv_tokens } else { 0.0 });
            row
        })
        .collect();
    let times: Vec<f64> = points.iter().map(|p| p.us).collect();
    let x = nnls::relative(&rows, &times)?;
    let last = x.len() - 1;
    Some(Decode {
        base_us: x[0],
        slopes_us: x[1..last].to_vec(),
        hinges: hinges.to_vec(),
        per_kv_us: x[last],
        held_out: Vec::new(),
        kv_known,
    })
}

/// Sequences on each side of each hinge: they add up to `batch`.
fn lengths(batch: u32, hinges: &[u32]) -> Vec<f64> {
    let mut from = 0;
    let ends = hinges.iter().copied().chain([u32::MAX]);
    ends.map(|end| {
        let length = batch.min(end).saturating_sub(from);
        from = end;
        f64::from(length)
    })
    .collect()
}

fn distinct_batches<'a>(points: impl Iterator<Item = &'a DecodePoint>) -> Vec<u32> {
    let mut batches: Vec<u32> = points.map(|p| p.batch).collect();
    batches.sort_unstable();
    batches.dedup();
    batches
}

impl Decode {
    /// Predicted time, µs.
    pub fn at(&self, batch: u32, kv_tokens: f64) -> f64 {
        let sequences: f64 =
            lengths(batch, &self.hinges).iter().zip(&self.slopes_us).map(|(n, s)| n * s).sum();
        self.base_us + sequences + self.per_kv_us * kv_tokens
    }

    /// Signed relative error of the prediction at a point.
    pub fn error(&self, point: &DecodePoint) -> f64 {
        self.at(point.batch, point.kv_tokens) / point.us - 1.0
    }

    /// Cross-validated errors, where points were enough.
    pub fn errors(&self) -> Option<FitErrors> {
        cross::summary(&self.held_out)
    }

    /// As a profile keeps it.
    pub fn spec(&self) -> DecodeFit {
        let hinge =
            |(above, slope): (&u32, &f64)| Hinge { above_batch: *above, per_sequence_us: rounded(*slope) };
        DecodeFit {
            base_ms: rounded(self.base_us / 1e3),
            per_sequence_us: rounded(self.slopes_us[0]),
            per_kv_token_ns: rounded(self.per_kv_us * 1e3),
            hinges: self.hinges.iter().zip(&self.slopes_us[1..]).map(hinge).collect(),
            errors: self.errors(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(batches: &[u32], contexts: &[f64], time: impl Fn(f64, f64) -> f64) -> Vec<DecodePoint> {
        let point = |b: u32, c: f64| {
            let kv_tokens = f64::from(b) * c;
            DecodePoint { batch: b, kv_tokens, us: time(f64::from(b), kv_tokens) }
        };
        batches
            .iter()
            .flat_map(|b| contexts.iter().map(move |c| (*b, *c)))
            .map(|(b, c)| point(b, c))
            .collect()
    }

    fn assert_close(value: f64, expected: f64) {
        assert!((value / expected - 1.0).abs() < 1e-5, "{value} against {expected}");
    }

    #[test]
    fn exact_times_give_back_their_coefficients_and_no_hinge() {
        let points = points(&[1, 4, 16, 32, 64, 128, 256], &[128.0, 1024.0, 8192.0], |b, k| {
            5_000.0 + 20.0 * b + 0.03 * k
        });
        let decode = fit(&points, &[16, 64, 128, 256]).unwrap();
        let spec = decode.spec();
        assert_close(spec.base_ms, 5.0);
        assert_close(spec.per_sequence_us, 20.0);
        assert_close(spec.per_kv_token_ns, 30.0);
        assert_eq!(spec.hinges, []);
        assert!(spec.errors.unwrap().max < 1e-9 && decode.kv_known);
    }

    #[test]
    fn a_change_of_slope_is_found_where_it_is() {
        let time = |b: f64, k: f64| 5_000.0 + 20.0 * b.min(64.0) + 90.0 * (b - 64.0).max(0.0) + 0.03 * k;
        let points = points(&[1, 8, 16, 32, 64, 96, 128, 256], &[128.0, 1024.0, 4096.0], time);
        let spec = fit(&points, &[16, 64, 128, 256]).unwrap().spec();
        assert_eq!(spec.hinges.iter().map(|h| h.above_batch).collect::<Vec<_>>(), [64]);
        assert_close(spec.hinges[0].per_sequence_us, 90.0);
        assert_close(spec.at_batch_us(256), time(256.0, 0.0));
    }

    #[test]
    fn one_context_does_not_tell_a_kv_token_from_a_sequence() {
        let points = points(&[1, 2, 4, 8], &[500.0], |b, k| 5_000.0 + 20.0 * b + 0.04 * k);
        let decode = fit(&points, &[]).unwrap();
        assert!(!decode.kv_known);
        assert_close(decode.spec().per_sequence_us, 40.0);
        assert_eq!(decode.spec().per_kv_token_ns.to_bits(), 0);
    }

    #[test]
    fn too_little_is_none() {
        let time = |b: f64, k: f64| 1_000.0 + b + k;
        assert!(fit(&points(&[4], &[100.0, 200.0, 300.0], time), &[]).is_none());
        assert!(fit(&points(&[1, 2], &[100.0], time), &[]).is_none());
    }
}
