//! The compiled cost of one engine step, in integer femtoseconds.
//!
//! A profile's grids and fitted forms are compiled once, at load, into the tables below.
//! Both engines read only these tables, so that the fast-forward and the step-by-step
//! engine add up the same integers. Femtoseconds, because the KV slope of a small model
//! is a few picoseconds a token.
//!
//! Axes of a step (`calibrate` measures along the same ones):
//! B = sequences that decode, K = KV tokens they read, P = new prefill tokens,
//! A = prefill attention work, the sum over chunks of `n * (context + n/2)`.

pub mod bound;

/// Femtoseconds in a nanosecond.
pub const FS_PER_NS: u64 = 1_000_000;

/// One linear piece of decode time over K, at a fixed batch size.
///
/// `time_fs = at_from_fs + slope_fs * (K - kv_from)` for `kv_from <= K < kv_to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// First K of the piece.
    pub kv_from: u64,
    /// First K past the piece; `u64::MAX` for the last.
    pub kv_to: u64,
    /// Step time at `kv_from`, fs.
    pub at_from_fs: i64,
    /// fs per KV token.
    pub slope_fs: i64,
    /// Whether the piece lies beyond what was measured.
    pub extrapolated: bool,
}

impl Cell {
    /// Step time at `kv` tokens, fs; at least 1 ns, so that time always moves.
    pub fn time_fs(&self, kv: u64) -> u64 {
        let time = self.at_from_fs + self.slope_fs * (kv - self.kv_from) as i64;
        u64::try_from(time).unwrap_or(0).max(FS_PER_NS)
    }
}

/// Prefill time over (P, A).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrefillCost {
    /// The largest of several planes: the max-affine fit.
    MaxPlanes {
        /// At least one plane.
        planes: Vec<Plane>,
        /// Largest measured P; more is an extrapolation. `u64::MAX` where nothing was measured.
        measured_tokens: u64,
    },
    /// A measured grid over P and the mean context of a step's chunks, interpolated bilinearly.
    Grid(PrefillGrid),
}

/// `base + per_token * P + per_work * A`, in fs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// fs.
    pub base_fs: i64,
    /// fs per new token.
    pub per_token_fs: i64,
    /// fs per unit of attention work.
    pub per_work_fs: i64,
}

/// A measured prefill grid: at least two rows, and one column or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefillGrid {
    /// New tokens of each row, increasing.
    pub tokens: Vec<u64>,
    /// Tokens already in the cache of each column, increasing.
    pub contexts: Vec<u64>,
    /// fs, row by row; `tokens.len() * contexts.len()` values.
    pub times_fs: Vec<u64>,
}

/// Time of the linear layers over the tokens of a step, with which mixed steps follow the
/// sum rule `G(B+P) + attention(decode) + attention(prefill)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearLayers {
    /// (tokens, fs), tokens increasing, at least two points; linear between and beyond.
    pub points: Vec<(u64, u64)>,
    /// Prefill attention, fs per unit of attention work.
    pub attention_per_work_fs: i64,
}

/// What every step of an engine costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepCost {
    rows: Vec<Box<[Cell]>>,
    prefill: PrefillCost,
    linear: Option<LinearLayers>,
    per_step_fs: u64,
}

impl StepCost {
    /// From decode rows for B = 1, 2, .. (each covering every K), prefill, and host time per step.
    ///
    /// # Panics
    /// If a row does not cover every K without gaps: the compiler of profiles must not produce one.
    pub fn new(
        mut rows: Vec<Vec<Cell>>,
        prefill: PrefillCost,
        linear: Option<LinearLayers>,
        per_step_fs: u64,
    ) -> Self {
        assert!(!rows.is_empty(), "a step cost has a row for each batch size");
        for row in &mut rows {
            let ends = row.iter().map(|c| c.kv_to).chain([0]);
            let starts = row.iter().map(|c| c.kv_from);
            assert!(row.last().is_some_and(|c| c.kv_to == u64::MAX), "a decode row covers every K");
            assert!(
                std::iter::once(0).chain(ends).zip(starts).all(|(end, start)| end == start),
                "a decode row has no gaps"
            );
            for cell in row {
                cell.at_from_fs += per_step_fs as i64;
                // Below, time would stand still, and the closed sums would not see the floor of `time_fs`.
                assert!(cell.at_from_fs >= FS_PER_NS as i64, "a step takes at least 1 ns");
            }
        }
        let rows = rows.into_iter().map(Vec::into_boxed_slice).collect();
        Self { rows, prefill, linear, per_step_fs }
    }

    /// `a + b*B + c*K` for decode and one plane `p0 + p1*P + p2*A` for prefill, in fs, for B up to `max_batch`.
    pub fn affine(decode: [i64; 3], prefill: [i64; 3], max_batch: u32) -> Self {
        let [a, b, c] = decode;
        let row = |batch: i64| {
            vec![Cell {
                kv_from: 0,
                kv_to: u64::MAX,
                at_from_fs: a + b * batch,
                slope_fs: c,
                extrapolated: false,
            }]
        };
        let [base_fs, per_token_fs, per_work_fs] = prefill;
        let plane = Plane { base_fs, per_token_fs, per_work_fs };
        let prefill = PrefillCost::MaxPlanes { planes: vec![plane], measured_tokens: u64::MAX };
        Self::new((1..=i64::from(max_batch)).map(row).collect(), prefill, None, 0)
    }

    /// The largest batch the table holds.
    pub fn max_batch(&self) -> u32 {
        self.rows.len() as u32
    }

    /// The linear piece of decode time at `batch` sequences reading `kv` tokens; `batch >= 1`.
    pub fn decode_cell(&self, batch: u32, kv: u64) -> &Cell {
        let row = &self.rows[batch as usize - 1];
        let mut index = 0;
        while kv >= row[index].kv_to {
            index += 1;
        }
        &row[index]
    }

    /// Time of a step with prefill in it, fs, and whether any part was extrapolated.
    ///
    /// `work_twice` is 2A: whole, where A itself may end in a half.
    pub fn mixed_fs(&self, batch: u32, kv: u64, tokens: u64, work_twice: u64) -> (u64, bool) {
        let (prefill, beyond) = self.prefill_fs(tokens, work_twice);
        let host = self.per_step_fs as i64;
        if batch == 0 {
            return (at_least_one_ns(prefill + host), beyond);
        }
        let cell = self.decode_cell(batch, kv);
        let decode = cell.time_fs(kv) as i64;
        let beyond = beyond || cell.extrapolated;
        let added = match &self.linear {
            // G(B+P) + attn_dec + attn_pre = decode + (G(B+P) - G(B)) + attn_pre
            Some(linear) => {
                let batch = u64::from(batch);
                let attention = linear.attention_per_work_fs as i128 * i128::from(work_twice) / 2;
                linear.at(batch + tokens) - linear.at(batch) + attention as i64
            }
            None => prefill - self.prefill_fs(0, 0).0,
        };
        (at_least_one_ns(decode + added.max(0)), beyond)
    }

    /// Prefill alone, fs, without host time.
    fn prefill_fs(&self, tokens: u64, work_twice: u64) -> (i64, bool) {
        match &self.prefill {
            PrefillCost::MaxPlanes { planes, measured_tokens } => {
                let at = |p: &Plane| {
                    p.base_fs + p.per_token_fs * tokens as i64 + (p.per_work_fs * work_twice as i64) / 2
                };
                let time = planes.iter().map(at).max().unwrap_or(0);
                (time.max(0), tokens > *measured_tokens)
            }
            PrefillCost::Grid(grid) => grid.at(tokens, work_twice),
        }
    }
}

fn at_least_one_ns(time_fs: i64) -> u64 {
    (time_fs.max(0) as u64).max(FS_PER_NS)
}

impl LinearLayers {
    fn at(&self, tokens: u64) -> i64 {
        let xs = |i: usize| self.points[i].0;
        let i = segment(self.points.len(), xs, tokens);
        let ((x0, y0), (x1, y1)) = (self.points[i], self.points[i + 1]);
        interpolate(x0, y0 as i64, x1, y1 as i64, tokens)
    }
}

impl PrefillGrid {
    fn at(&self, tokens: u64, work_twice: u64) -> (i64, bool) {
        // One chunk with the same P and A has context A/P - P/2.
        let context = work_twice.checked_div(tokens).map_or(0, |reach| reach.saturating_sub(tokens) / 2);
        let row = segment(self.tokens.len(), |i| self.tokens[i], tokens);
        let along_context = |row: usize| {
            let at = |column: usize| self.times_fs[row * self.contexts.len() + column] as i64;
            if self.contexts.len() == 1 {
                return at(0);
            }
            let column = segment(self.contexts.len(), |i| self.contexts[i], context);
            interpolate(self.contexts[column], at(column), self.contexts[column + 1], at(column + 1), context)
        };
        let (low, high) = (along_context(row), along_context(row + 1));
        let time = interpolate(self.tokens[row], low, self.tokens[row + 1], high, tokens);
        let beyond = self.tokens.last().is_some_and(|t| tokens > *t)
            || self.contexts.last().is_some_and(|c| context > *c);
        (time.max(0), beyond)
    }
}

/// The index of the segment of sorted knots that `x` lies in, or the end segment nearest to it.
fn segment(len: usize, knot: impl Fn(usize) -> u64, x: u64) -> usize {
    (1..len - 1).take_while(|&i| knot(i) <= x).count()
}

fn interpolate(x0: u64, y0: i64, x1: u64, y1: i64, x: u64) -> i64 {
    let rise = i128::from(y1 - y0) * (i128::from(x) - i128::from(x0));
    y0 + (rise / i128::from(x1 - x0)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affine_cost_is_affine() {
        let cost =
            StepCost::affine([5_000, 100, 3].map(|x| x * 1_000_000), [1_000_000_000, 2_000_000, 500_000], 8);
        assert_eq!(cost.decode_cell(2, 10).time_fs(10), (5_000 + 200 + 30) * 1_000_000);
        // One chunk of 4 tokens with no context: A = 4 * 4/2 = 8.
        assert_eq!(cost.mixed_fs(0, 0, 4, 16), (1_000_000_000 + 8_000_000 + 4_000_000, false));
        // Mixed: decode plus what the chunk adds over an empty prefill.
        assert_eq!(cost.mixed_fs(2, 10, 4, 16), ((5_230 + 8 + 4) * 1_000_000, false));
    }

    #[test]
    fn grid_interpolates_and_flags_what_it_extrapolates() {
        let grid = PrefillGrid {
            tokens: vec![100, 200],
            contexts: vec![0, 1000],
            times_fs: vec![10, 20, 30, 40].into_iter().map(|t| t * 1_000_000_000).collect(),
        };
        let work_twice = |n: u64, context: u64| n * (2 * context + n);
        let check = |n, context, ms_1000: i64, beyond| {
            let expected = (ms_1000 * 1_000_000, beyond);
            assert_eq!(grid.at(n, work_twice(n, context)), expected, "{n} {context}");
        };
        check(100, 0, 10_000, false);
        check(150, 500, 25_000, false);
        check(300, 0, 50_000, true);
        check(200, 2000, 50_000, true);
    }

    #[test]
    fn the_sum_rule_replaces_the_difference_rule_where_linear_layers_are_known() {
        let row = |b: u64| {
            vec![Cell {
                kv_from: 0,
                kv_to: u64::MAX,
                at_from_fs: (1_000 + b as i64) * 1_000_000,
                slope_fs: 0,
                extrapolated: false,
            }]
        };
        let plane = Plane { base_fs: 0, per_token_fs: 9_000_000, per_work_fs: 0 };
        let linear = LinearLayers {
            points: vec![(0, 1_000_000_000), (10, 1_010_000_000), (20, 1_030_000_000)],
            attention_per_work_fs: 2_000_000,
        };
        let prefill = PrefillCost::MaxPlanes { planes: vec![plane], measured_tokens: 5 };
        let cost = StepCost::new((1..=4).map(row).collect(), prefill, Some(linear), 0);
        // decode(4) = 1004; G(14) - G(4) = (1010 + 8) - 1004 = 14; attention 2 * 50 = 100.
        assert_eq!(cost.mixed_fs(4, 0, 10, 100), ((1_004 + 14 + 100) * 1_000_000, true));
    }
}
