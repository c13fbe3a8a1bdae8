//! What is measured: the points of each phase, as far as the KV cache reaches.
//!
//! Decode is measured on a rectangle of batch sizes and KV tokens, so that a profile's grid
//! holds measured values only. Every column is a multiple of every batch size, and all
//! sequences of a batch are equally long.

use std::time::Duration;

use super::backend::{KV_BLOCK, Work};
use crate::raw::Launch;

/// What a point is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Its time.
    Time,
    /// The cost of capturing its graph.
    Capture,
    /// Its time at the end, to compare with that at the beginning.
    Repeat,
}

/// One point of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// The work.
    pub work: Work,
    /// How it is launched.
    pub launch: Launch,
    /// What it is for.
    pub purpose: Purpose,
}

/// Points that are measured together.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// `decode`, as progress and device readings show it.
    pub name: &'static str,
    /// Points not begun by then are left out, and that is flagged.
    pub limit: Duration,
    /// In the order measured.
    pub points: Vec<Point>,
}

/// How far to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Extent {
    /// Batch sizes; the largest last.
    pub batches: Vec<u32>,
    /// Rising columns of the decode rectangle, as multiples of the least common multiple of
    /// `batches`; cut off at the KV cache, whose end becomes the last column.
    pub columns: Vec<u64>,
    /// Batch sizes of decode attention alone, and of eager decode steps.
    pub attention_batches: Vec<u32>,
    /// Rows of the linear layers.
    pub linear: Vec<u32>,
    /// New tokens of prefill chunks.
    pub prefill: Vec<u32>,
    /// Cached tokens before them.
    pub contexts: Vec<u32>,
    /// Batch sizes and new tokens of mixed steps.
    pub mixed: (Vec<u32>, Vec<u32>),
    /// KV tokens of each sequence of a mixed step.
    pub mixed_context: u32,
    /// Batch sizes whose graph is captured.
    pub captures: Vec<u32>,
    /// Longest time of the phases, in all.
    pub limit: Duration,
}

impl Extent {
    /// For a GPU. The rows are the reference's, the captured sizes vLLM's default.
    pub fn gpu(quick: bool) -> Self {
        let mut captures = vec![1, 2, 4];
        captures.extend((8..256).step_by(8));
        captures.extend((256..=512).step_by(16));
        let whole = Self {
            batches: vec![1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256],
            columns: vec![1, 4, 16, 32, 64, 128, 256, 512, 1024, 2048],
            attention_batches: vec![1, 8, 32, 64, 128, 256],
            linear: vec![
                1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 512, 768, 1024, 1536,
                2048, 4096, 8192,
            ],
            prefill: vec![16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384],
            contexts: vec![0, 4096, 16_384],
            mixed: (vec![8, 64], vec![256, 512, 2048]),
            mixed_context: 1024,
            captures,
            limit: Duration::from_secs(200),
        };
        if !quick {
            return whole;
        }
        Self {
            batches: vec![1, 8, 32, 128, 256],
            columns: vec![1, 16, 128, 512, 2048],
            attention_batches: vec![1, 32, 256],
            linear: vec![1, 8, 16, 32, 64, 128, 256, 512, 2048],
            prefill: vec![16, 128, 512, 2048, 8192],
            contexts: vec![0, 4096],
            limit: Duration::from_secs(40),
            ..whole
        }
    }

    /// For a CPU, which is thousands of times slower.
    pub fn cpu(quick: bool) -> Self {
        let whole = Self {
            batches: vec![1, 2, 4, 8, 16],
            columns: vec![4, 16, 64, 256],
            attention_batches: vec![1, 16],
            linear: vec![1, 2, 4, 8, 16, 32, 64, 128, 256],
            prefill: vec![4, 16, 64, 128, 256, 512],
            contexts: vec![0, 256, 1024],
            mixed: (vec![2, 8], vec![16, 64]),
            mixed_context: 64,
            captures: vec![1, 2, 4, 8, 16],
            limit: Duration::from_secs(200),
        };
        if !quick {
            return whole;
        }
        Self {
            batches: vec![1, 4, 8],
            columns: vec![8, 64, 256],
            attention_batches: vec![1, 8],
            linear: vec![1, 4, 16, 64],
            prefill: vec![8, 32, 128, 256],
            contexts: vec![0, 128],
            mixed: (vec![2, 4], vec![16, 64]),
            captures: vec![1, 2, 4, 8],
            limit: Duration::from_secs(40),
            ..whole
        }
    }

    /// KV tokens of the columns: none if not even one token a sequence fits.
    pub fn kv_columns(&self, cache_tokens: u64) -> Vec<u64> {
        let unit = self.batches.iter().fold(1, |unit, batch| lcm(unit, u64::from(*batch)));
        let largest = u64::from(self.batches.last().copied().unwrap_or(1));
        // The last block of each sequence may be almost empty.
        let top = cache_tokens.saturating_sub(largest * (KV_BLOCK - 1)) / unit * unit;
        let last = self.columns.last().map_or(0, |most| (most * unit).min(top));
        let mut columns: Vec<u64> = self.columns.iter().map(|c| c * unit).collect();
        // A column just below the last one would tell nothing.
        columns.retain(|c| c * 4 <= last * 3);
        columns.extend((last > 0).then_some(last));
        columns
    }

    /// The same without the largest batches, if the cache is too small for three columns of them.
    pub fn fitting(mut self, cache_tokens: u64) -> Self {
        while self.batches.len() > 2 && self.kv_columns(cache_tokens).len() < 3 {
            self.batches.pop();
        }
        self
    }

    /// All phases in order, for a cache of so many tokens.
    pub fn phases(&self, cache_tokens: u64) -> Vec<Phase> {
        let columns = self.kv_columns(cache_tokens);
        let share = |percent: u32| self.limit * percent / 100;
        let mut phases = vec![
            Phase { name: "decode", limit: share(35), points: self.decode(&columns) },
            Phase { name: "prefill", limit: share(20), points: self.prefill() },
            Phase { name: "linear layers", limit: share(10), points: self.linear() },
            Phase { name: "decode attention", limit: share(8), points: self.decode_attention(&columns) },
            Phase { name: "prefill attention", limit: share(8), points: self.prefill_attention() },
            Phase { name: "mixed steps", limit: share(5), points: self.mixed() },
            Phase { name: "eager steps", limit: share(4), points: self.eager(&columns) },
            Phase { name: "graph capture", limit: share(10), points: self.captures() },
        ];
        for phase in &mut phases {
            phase.points.retain(|point| point.work.cache_tokens(KV_BLOCK) <= cache_tokens);
        }
        let repeats = Phase { name: "repeats", limit: share(10), points: repeats(&phases) };
        phases.push(repeats);
        phases
    }

    /// Column by column, first and last before those between: what is left out when time runs
    /// out is whole columns between.
    fn decode(&self, columns: &[u64]) -> Vec<Point> {
        let mut order: Vec<u64> = columns.iter().copied().take(1).collect();
        order.extend(columns.iter().skip(1).rev().take(1));
        order.extend(columns.iter().skip(1).rev().skip(1).rev());
        cross(&order, &self.batches).map(|(kv, batch)| graph(decode_step(batch, kv))).collect()
    }

    fn prefill(&self) -> Vec<Point> {
        cross(&self.contexts, &self.prefill)
            .map(|(context, tokens)| graph(prefill_step(tokens, context)))
            .collect()
    }

    fn linear(&self) -> Vec<Point> {
        self.linear.iter().map(|&tokens| graph(Work::Linear { tokens })).collect()
    }

    fn decode_attention(&self, columns: &[u64]) -> Vec<Point> {
        // Attention over few tokens is launch overhead.
        let long = &columns[columns.len() / 3..];
        let point = |(kv, batch): (u64, u32)| {
            graph(Work::DecodeAttention { batch, context: (kv / u64::from(batch)) as u32 })
        };
        cross(long, &self.attention_batches).map(point).collect()
    }

    fn prefill_attention(&self) -> Vec<Point> {
        let rows: Vec<u32> = self.prefill.iter().rev().step_by(2).rev().copied().collect();
        cross(&self.contexts, &rows)
            .map(|(context, tokens)| graph(Work::PrefillAttention { tokens, context }))
            .collect()
    }

    fn mixed(&self) -> Vec<Point> {
        let (batches, tokens) = &self.mixed;
        let context = self.mixed_context;
        cross(batches, tokens)
            .map(|(batch, prefill)| graph(Work::Forward { batch, context, prefill, prefill_context: 0 }))
            .collect()
    }

    fn eager(&self, columns: &[u64]) -> Vec<Point> {
        let middle = columns.get(columns.len() / 2).copied();
        let decode = self.attention_batches.iter().filter_map(|b| Some(decode_step(*b, middle?)));
        let prefill = self.prefill.iter().step_by(2).map(|tokens| prefill_step(*tokens, 0));
        let eager = |work| Point { work, launch: Launch::Eager, purpose: Purpose::Time };
        decode.chain(prefill).map(eager).collect()
    }

    fn captures(&self) -> Vec<Point> {
        let point = |&batch: &u32| {
            let work = Work::Forward { batch, context: KV_BLOCK as u32, prefill: 0, prefill_context: 0 };
            Point { work, launch: Launch::Graph, purpose: Purpose::Capture }
        };
        // Engines capture the largest first, so that the smaller ones share its memory.
        self.captures.iter().rev().map(point).collect()
    }
}

/// One point of the middle of decode, prefill and the linear layers.
fn repeats(phases: &[Phase]) -> Vec<Point> {
    let middle = |phase: &Phase| phase.points.get(phase.points.len() / 2).copied();
    let again = |point| Point { purpose: Purpose::Repeat, ..point };
    phases.iter().take(3).filter_map(middle).map(again).collect()
}

fn graph(work: Work) -> Point {
    Point { work, launch: Launch::Graph, purpose: Purpose::Time }
}

fn decode_step(batch: u32, kv_tokens: u64) -> Work {
    let context = (kv_tokens / u64::from(batch)) as u32;
    Work::Forward { batch, context, prefill: 0, prefill_context: 0 }
}

fn prefill_step(tokens: u32, context: u32) -> Work {
    Work::Forward { batch: 0, context: 0, prefill: tokens, prefill_context: context }
}

fn cross<'a, A: Copy, B: Copy>(outer: &'a [A], inner: &'a [B]) -> impl Iterator<Item = (A, B)> + 'a {
    outer.iter().flat_map(move |a| inner.iter().map(move |b| (*a, *b)))
}

fn lcm(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_measured_at_every_batch_with_whole_contexts() {
        // The KV cache of an 8B on 141 GB, of one on 24 GB, and a small one.
        for (extent, cache) in [
            (Extent::gpu(false), 830_000),
            (Extent::gpu(true), 830_000),
            (Extent::gpu(false), 30_011),
            (Extent::cpu(true), 4096),
            (Extent::cpu(false), 4096),
        ] {
            let columns = extent.kv_columns(cache);
            assert!(columns.len() >= 3 && columns.is_sorted(), "{columns:?}");
            let decode = &extent.phases(cache)[0];
            assert_eq!(decode.points.len(), columns.len() * extent.batches.len());
            for point in &decode.points {
                let Work::Forward { batch, context, .. } = point.work else { panic!("{point:?}") };
                assert!(columns.contains(&(u64::from(batch) * u64::from(context))), "{point:?}");
                assert!(point.work.cache_tokens(KV_BLOCK) <= cache, "{point:?}");
            }
        }
    }

    #[test]
    fn columns_reach_from_short_contexts_to_the_end_of_the_cache() {
        let columns = Extent::gpu(false).kv_columns(830_000);
        assert_eq!(columns[0], 768);
        let last = *columns.last().unwrap();
        assert!(last > 820_000 && last <= 830_000, "{columns:?}");
        // 256 sequences of 128 tokens and 32 of 16k lie inside.
        assert!(columns[0] < 256 * 128 && last > 32 * 16_384);
        assert_eq!(Extent::gpu(false).kv_columns(100), [0_u64; 0]);
    }

    #[test]
    fn a_small_cache_leaves_out_what_does_not_fit() {
        let phases = Extent::gpu(false).phases(8192);
        let prefill = phases.iter().find(|p| p.name == "prefill").unwrap();
        assert!(prefill.points.len() > 10);
        for phase in &phases {
            assert!(phase.points.iter().all(|p| p.work.cache_tokens(KV_BLOCK) <= 8192), "{}", phase.name);
        }
    }

    #[test]
    fn batches_too_large_for_the_cache_are_left_out() {
        let check = |cache: u64, expected: Option<&u32>| {
            let extent = Extent::gpu(false).fitting(cache);
            assert_eq!(extent.batches.last(), expected, "{cache}");
            assert!(extent.kv_columns(cache).len() >= 3, "{cache}");
        };
        check(830_000, Some(&256));
        check(16_000, Some(&256));
        check(8192, Some(&192));
        check(4096, Some(&96));
    }

    #[test]
    fn three_points_are_measured_again_at_the_end() {
        let phases = Extent::gpu(true).phases(800_000);
        let again = phases.last().unwrap();
        assert_eq!((again.name, again.points.len()), ("repeats", 3));
        for point in &again.points {
            let first = Point { purpose: Purpose::Time, ..*point };
            assert!(phases.iter().any(|p| p.points.contains(&first)), "{point:?}");
        }
    }

    #[test]
    fn graphs_are_captured_at_the_sizes_of_vllm() {
        let sizes = Extent::gpu(true).captures;
        assert_eq!((sizes.len(), sizes[..5].to_vec(), sizes.last()), (51, vec![1, 2, 4, 8, 16], Some(&512)));
    }
}
