//! The least GPU time that tokens can take, whatever steps they are put into.
//!
//! A step of B decoding sequences that read K tokens, with P new prefill tokens and attention work A, takes at least
//! `a B + b K + c P + d A` for the coefficients below. Summed over all steps of all engines, each request adds its own tokens, however
//! the steps were composed: so the sum of its parts is a lower bound of the busy time of any schedule.
//!
//! Decode: (a, b) is a plane under every row at every knot, and so under the piecewise linear table; of these planes the one that is
//! highest for the tokens at hand. Prefill: what it adds to a step is a convex or gridded function of P and A, and (c, d) lies under it. Part of
//! what a decode step costs at the least may be counted for its prefill tokens instead: `share` of it for decode, the rest for
//! prefill.

use super::{PrefillCost, StepCost};

/// Shares of a step's least time that are tried for its decoding sequences.
const SHARES: [f64; 11] = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0];
/// Times are whole femtoseconds, rounded; a bound must not be above them.
const ROUNDING: f64 = 1.0 - 1e-9;

/// Tokens of some requests, as a step counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tokens {
    /// Decode steps taken: B, summed.
    pub decoded: f64,
    /// Tokens that they read: K, summed.
    pub read: f64,
    /// New prefill tokens: P, summed.
    pub prefilled: f64,
    /// Prefill attention work: A, summed.
    pub work: f64,
}

impl Tokens {
    /// Those of a request whose every token is computed once. The prompt's last chunk gives the first output token.
    pub fn of_request(prompt: u32, output: u32) -> Self {
        let (prompt, steps) = (f64::from(prompt), f64::from(output.saturating_sub(1)));
        Self {
            decoded: steps,
            read: steps * prompt + steps * (steps + 1.0) / 2.0,
            prefilled: prompt,
            work: prompt * prompt / 2.0,
        }
    }

    /// Without the decode steps.
    pub fn prefill_only(self) -> Self {
        Self { decoded: 0.0, read: 0.0, ..self }
    }
}

impl std::ops::Add for Tokens {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            decoded: self.decoded + other.decoded,
            read: self.read + other.read,
            prefilled: self.prefilled + other.prefilled,
            work: self.work + other.work,
        }
    }
}

/// What a step takes at least, fs a token: `a B + b K + c P + d A`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bound {
    /// For a decoding sequence.
    pub per_sequence: f64,
    /// For a token that it reads.
    pub per_read: f64,
    /// For a prefill token.
    pub per_prefill: f64,
    /// For a unit of prefill attention work.
    pub per_work: f64,
}

impl Bound {
    /// The least time of some tokens, fs.
    pub fn of(&self, tokens: Tokens) -> f64 {
        self.per_sequence * tokens.decoded
            + self.per_read * tokens.read
            + self.per_prefill * tokens.prefilled
            + self.per_work * tokens.work
    }
}

impl StepCost {
    /// The bound that is highest for some tokens, of steps of at most `max_batch` sequences that read at most `max_kv` tokens and
    /// prefill at most `budget`.
    pub fn bound(&self, tokens: Tokens, max_batch: u32, max_kv: u64, budget: u64) -> Bound {
        let batch = max_batch.clamp(1, self.max_batch());
        let (a, b) = self.decode_bound(tokens, batch, max_kv);
        let least = self.least_step(batch, max_kv);
        let d = self.work_bound();
        let (added, alone) = self.prefill_tables(batch, budget.max(1));
        let best = SHARES.map(|share| {
            // With decoding sequences beside it a chunk takes what it adds, and may have the rest of the step's least.
            let per_token = |(p, added, alone): &(u64, f64, f64)| {
                (((1.0 - share) * least + added).min(*alone)) / *p as f64
            };
            let rows = added.iter().zip(&alone).zip(1u64..).map(|((added, alone), p)| (p, *added, *alone));
            let c = rows.map(|row| per_token(&row)).fold(f64::INFINITY, f64::min).max(0.0);
            Bound {
                per_sequence: share * a * ROUNDING,
                per_read: share * b * ROUNDING,
                per_prefill: c * ROUNDING,
                per_work: d * ROUNDING,
            }
        });
        best.into_iter().max_by(|x, y| x.of(tokens).total_cmp(&y.of(tokens))).unwrap_or_default()
    }

    /// (B, K, time) at every knot of every row, K up to `max_kv`.
    fn knots(&self, max_batch: u32, max_kv: u64) -> Vec<(f64, f64, f64)> {
        let mut knots = Vec::new();
        for batch in 1..=max_batch {
            for cell in &self.rows[batch as usize - 1] {
                // A piece is linear: its ends are enough.
                let ends = [cell.kv_from, cell.kv_to.saturating_sub(1).min(max_kv)];
                for kv in
                    ends.into_iter().filter(|kv| (cell.kv_from..cell.kv_to).contains(kv) && *kv <= max_kv)
                {
                    knots.push((f64::from(batch), kv as f64, cell.time_fs(kv) as f64));
                }
            }
        }
        knots
    }

    /// The plane `a B + b K` under the decode rows that is highest for some tokens.
    fn decode_bound(&self, tokens: Tokens, max_batch: u32, max_kv: u64) -> (f64, f64) {
        let knots = self.knots(max_batch, max_kv);
        let under =
            |b: f64| knots.iter().map(|(n, kv, time)| (time - b * kv) / n).fold(f64::INFINITY, f64::min);
        let value = |b: f64| under(b) * tokens.decoded + b * tokens.read;
        // The largest b at which a is not negative bounds the search; the value is concave in b.
        let most = knots.iter().filter(|(_, kv, _)| *kv > 0.0).map(|(_, kv, time)| time / kv);
        let (mut low, mut high) = (0.0, most.fold(f64::INFINITY, f64::min));
        if !high.is_finite() {
            return (under(0.0).max(0.0), 0.0);
        }
        for _ in 0..200 {
            let (left, right) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if value(left) < value(right) { low = left } else { high = right }
        }
        // Whatever b is, a is under every knot.
        (under(low).max(0.0), if under(low) < 0.0 { 0.0 } else { low })
    }

    /// The shortest decode step.
    fn least_step(&self, max_batch: u32, max_kv: u64) -> f64 {
        self.knots(max_batch, max_kv).into_iter().map(|(.., time)| time).fold(f64::INFINITY, f64::min)
    }

    /// What a unit of attention work takes at least, beyond what is counted without it.
    fn work_bound(&self) -> f64 {
        let alone = match &self.prefill {
            PrefillCost::MaxPlanes { planes, .. } => {
                planes.iter().map(|plane| plane.per_work_fs).min().unwrap_or(0)
            }
            // Of a grid the least over all contexts is taken, so that nothing is left for work.
            PrefillCost::Grid(_) => 0,
        };
        let beside = self.linear.as_ref().map_or(alone, |linear| linear.attention_per_work_fs.min(alone));
        beside.max(0) as f64
    }

    /// For P = 1, 2, .. `budget`: what P tokens without attention work add at least to a step that decodes, and what a step of them alone takes.
    fn prefill_tables(&self, max_batch: u32, budget: u64) -> (Vec<f64>, Vec<f64>) {
        let alone: Vec<f64> = (1..=budget).map(|p| self.least_prefill(p).max(0.0)).collect();
        let nothing = self.prefill_fs(0, 0).0 as f64;
        let added = match &self.linear {
            None => alone.iter().map(|time| (time - nothing).max(0.0)).collect(),
            Some(linear) => {
                // The linear layers may have knees: the least over all batches.
                let over = |p: u64| {
                    let at = |batch: u64| linear.at(batch + p) - linear.at(batch);
                    (1..=u64::from(max_batch)).map(at).min().unwrap_or(0).max(0) as f64
                };
                (1..=budget).map(over).collect()
            }
        };
        (added, alone)
    }

    /// The least that P prefill tokens take, whatever their contexts; of planes without what their attention work takes.
    fn least_prefill(&self, tokens: u64) -> f64 {
        match &self.prefill {
            PrefillCost::MaxPlanes { .. } => self.prefill_fs(tokens, 0).0 as f64,
            PrefillCost::Grid(grid) => {
                // Along the context it is piecewise linear: the ends and the knots are enough. Beyond the last it goes on along the last
                // piece, which must not fall.
                let work = |context: u64| tokens * (2 * context + tokens);
                let contexts = grid.contexts.iter().copied().chain([0, 1 << 24]);
                contexts.map(|context| grid.at(tokens, work(context)).0).min().unwrap_or(0) as f64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cell, LinearLayers, Plane, PrefillGrid};
    use super::*;
    use proptest::prelude::*;

    /// A table with knees in both directions.
    fn table(base: i64, per_seq: i64, slopes: [i64; 2], knee: u64, rows: u32) -> Vec<Vec<Cell>> {
        let cell = |kv_from: u64, kv_to: u64, at_from_fs: i64, slope_fs: i64| Cell {
            kv_from,
            kv_to,
            at_from_fs,
            slope_fs,
            extrapolated: false,
        };
        (1..=i64::from(rows))
            .map(|b| {
                let first = base + per_seq * b * b / i64::from(rows);
                let at_knee = first + slopes[0] * knee as i64;
                vec![cell(0, knee, first, slopes[0]), cell(knee, u64::MAX, at_knee, slopes[1])]
            })
            .collect()
    }

    proptest! {
        #[test]
        fn no_step_is_below_the_bound(
            base in 1_000_000i64..50_000_000_000,
            per_seq in 0i64..3_000_000_000,
            slopes in [0i64..300_000, 0i64..300_000],
            knee in 1u64..20_000,
            rows in 1u32..40,
            planes in prop::collection::vec((0i64..20_000_000_000, 0i64..90_000_000, 0i64..90_000), 1..4),
            kind in 0u8..3,
            budget in 1u64..600,
            tokens in [0.0f64..1e6, 0.0..1e9, 0.0..1e6, 0.0..1e9],
            steps in prop::collection::vec((0u32..40, 0u64..40_000, 0u64..600, 0u64..2_000), 1..60),
        ) {
            let planes: Vec<Plane> = planes
                .into_iter()
                .map(|(base_fs, per_token_fs, per_work_fs)| Plane { base_fs, per_token_fs, per_work_fs })
                .collect();
            let knots = [0u64, 64, 128, 700];
            let prefill = if kind == 1 {
                let at = |n: u64, c: u64| planes.iter().map(|p| p.base_fs + p.per_token_fs * n as i64 + p.per_work_fs * (n * (c + n / 2)) as i64).max().unwrap() as u64;
                let (tokens, contexts) = (vec![16, 100, 400], vec![0, 300, 2_000]);
                let times_fs = tokens.iter().flat_map(|n| contexts.iter().map(|c| at(*n, *c)).collect::<Vec<_>>()).collect();
                PrefillCost::Grid(PrefillGrid { tokens, contexts, times_fs })
            } else {
                PrefillCost::MaxPlanes { planes: planes.clone(), measured_tokens: u64::MAX }
            };
            let linear = (kind == 2).then(|| LinearLayers {
                points: knots.iter().map(|t| (*t, (base + planes[0].per_token_fs * (*t).min(128) as i64) as u64)).collect(),
                attention_per_work_fs: planes[0].per_work_fs,
            });
            let cost = StepCost::new(table(base, per_seq, slopes, knee, rows), prefill, linear, 5_000_000);
            let [decoded, read, prefilled, work] = tokens;
            let bound = cost.bound(Tokens { decoded, read, prefilled, work }, rows, 40_000, budget);
            for (batch, kv, p, context) in steps {
                let (batch, p) = (batch.min(rows), p.min(budget));
                if batch == 0 && p == 0 {
                    continue;
                }
                let kv = if batch == 0 { 0 } else { kv };
                let work_twice = p * (2 * context + p);
                let time = if p == 0 {
                    cost.decode_cell(batch, kv).time_fs(kv)
                } else {
                    cost.mixed_fs(batch, kv, p, work_twice).0
                };
                let tokens = Tokens {
                    decoded: f64::from(batch),
                    read: kv as f64,
                    prefilled: p as f64,
                    work: work_twice as f64 / 2.0,
                };
                prop_assert!(bound.of(tokens) <= time as f64, "{} {batch} {kv} {p}: {} {time}", kind, bound.of(tokens));
            }
        }
    }

    #[test]
    fn the_bound_of_an_affine_cost_is_that_of_the_fullest_step() {
        // 8 ms and 90 us a sequence, 61 ps a token read; a prefill of 4 ms and 18 us a token.
        let cost = StepCost::affine(
            [8_000_000_000_000, 90_000_000_000, 61_000],
            [4_000_000_000_000, 18_000_000_000, 0],
            16,
        );
        let decode = Tokens { decoded: 1e6, read: 1e6, ..Tokens::default() };
        let bound = cost.bound(decode, 16, 100_000, 256);
        assert!((bound.per_sequence - (8e12 / 16.0 + 90e9)).abs() < 1e4, "{bound:?}");
        assert!((bound.per_read - 61_000.0).abs() < 1.0, "{bound:?}");
        // Alone, a full step of prefill: its own base is not counted beside decode, the least decode step is longer.
        let prefill = Tokens { prefilled: 1e6, ..Tokens::default() };
        let bound = cost.bound(prefill, 16, 100_000, 256);
        assert!((bound.per_prefill - (4e12 / 256.0 + 18e9)).abs() < 1e4, "{bound:?}");
        assert!((bound.per_sequence, bound.per_read) == (0.0, 0.0));
    }

    #[test]
    fn a_request_counts_each_token_once() {
        let tokens = Tokens::of_request(100, 4);
        // 101, 102 and 103 tokens read.
        assert_eq!(tokens, Tokens { decoded: 3.0, read: 306.0, prefilled: 100.0, work: 5000.0 });
        assert_eq!(Tokens::of_request(7, 1), Tokens { prefilled: 7.0, work: 24.5, ..Tokens::default() });
    }
}
