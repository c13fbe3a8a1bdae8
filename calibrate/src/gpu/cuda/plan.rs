//! Sizes, addresses and tables of a piece of work, without a device: what goes into which block
//! of the cache, how a context is split over the GPU, how prefill attention is cut into tiles.

use super::super::backend::{KV_BLOCK, Work};
use super::product::{Product, Right};
use crate::{Result, fault};

/// Blocks of decode attention that run at once on a multiprocessor (its launch bounds).
const RESIDENT: u32 = 3;
/// Bytes that the scores of a prefill tile may take.
const SCORES_MAX: u64 = 1 << 30;

/// Decode of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decode {
    /// Sequences.
    pub(super) batch: u32,
    /// KV tokens of each.
    pub(super) context: u32,
    /// Pages of each.
    pub(super) pages: u32,
    /// Parts that a context is split into.
    pub(super) splits: u32,
}

/// Prefill of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefill {
    /// New tokens.
    pub(super) tokens: u32,
    /// Cached tokens before them.
    pub(super) context: u32,
    /// Pages of both.
    pub(super) pages: u32,
    /// New tokens of a tile.
    pub(super) tile: u32,
}

/// One piece of work: its sizes, and which block of the cache each of its pages is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// The decoding sequences, if any.
    pub(super) decode: Option<Decode>,
    /// The prefill, if any.
    pub(super) prefill: Option<Prefill>,
    /// Blocks of the pages: all of the first decoding sequence, of the next, then the prefill's.
    pub(super) tables: Vec<i32>,
    /// Slot of the cache (block times 16 and place in it) that each row writes to.
    pub(super) slots: Vec<i32>,
    /// Position of each row in its sequence.
    pub(super) positions: Vec<u32>,
}

/// What a plan must know of the model and the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Query heads.
    pub(super) heads: u32,
    /// KV heads.
    pub(super) kv_heads: u32,
    /// Blocks of the KV cache.
    pub(super) blocks: u64,
    /// Streaming multiprocessors.
    pub(super) multiprocessors: u32,
}

impl Plan {
    /// Lays out `work`.
    ///
    /// # Errors
    /// Work that is empty, or does not fit into the cache.
    pub(super) fn new(work: &Work, room: &Room) -> Result<Self> {
        let (batch, context, tokens, prefill_context) = match *work {
            Work::Linear { tokens: 0 } => return Err(fault("E0709", "no tokens")),
            Work::Linear { .. } => (0, 0, 0, 0),
            Work::DecodeAttention { batch, context } => (batch, context, 0, 0),
            Work::PrefillAttention { tokens, context } => (0, 0, tokens, context),
            Work::Forward { batch, context, prefill, prefill_context } => {
                (batch, context, prefill, prefill_context)
            }
        };
        let linear = matches!(work, Work::Linear { .. });
        if !linear && (batch == 0 && tokens == 0 || batch > 0 && context == 0) {
            return Err(fault("E0709", format!("nothing to do: {work:?}")));
        }
        let need = work.cache_tokens(KV_BLOCK) / KV_BLOCK;
        if need > room.blocks {
            let text =
                format!("{work:?} needs {need} blocks of the KV cache, and {} were loaded", room.blocks);
            return Err(fault("E0709", text));
        }
        let decode = (batch > 0).then(|| {
            let pages = context.div_ceil(KV_BLOCK as u32);
            Decode { batch, context, pages, splits: splits(batch, pages, room) }
        });
        let prefill = (tokens > 0).then(|| {
            let total = prefill_context + tokens;
            let tile = tile(tokens, total, room.heads);
            Prefill { tokens, context: prefill_context, pages: total.div_ceil(KV_BLOCK as u32), tile }
        });
        let mut plan =
            Self { decode, prefill, tables: scattered(need, room.blocks), slots: vec![], positions: vec![] };
        for row in 0..batch {
            plan.place(row as usize * plan.decode_pages(), context - 1);
        }
        for position in prefill_context..prefill_context + tokens {
            plan.place(batch as usize * plan.decode_pages(), position);
        }
        Ok(plan)
    }

    fn decode_pages(&self) -> usize {
        self.decode.map_or(0, |decode| decode.pages as usize)
    }

    /// The next row is token `position` of the sequence whose pages begin at `first`.
    fn place(&mut self, first: usize, position: u32) {
        let page = self.tables[first + (position / KV_BLOCK as u32) as usize];
        self.slots.push(page * KV_BLOCK as i32 + (position % KV_BLOCK as u32) as i32);
        self.positions.push(position);
    }

    /// Where the prefill's pages begin in [`Plan::tables`].
    pub(super) fn prefill_first(&self) -> u64 {
        self.decode.map_or(0, |decode| u64::from(decode.batch) * u64::from(decode.pages))
    }

    /// Cosine and sine of each row's angles, as f32 in pairs: the rotary embedding of base 10000,
    /// `position * 10000^(-2i/dim)` for the i-th of `dim / 2` planes.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn angles(&self, dim: u32) -> Vec<f32> {
        let speeds: Vec<f64> =
            (0..dim / 2).map(|i| 1e4_f64.powf(-2.0 * f64::from(i) / f64::from(dim))).collect();
        let mut angles = Vec::with_capacity(self.positions.len() * dim as usize);
        for position in &self.positions {
            for speed in &speeds {
                let (sine, cosine) = (f64::from(*position) * speed).sin_cos();
                angles.extend([cosine as f32, sine as f32]);
            }
        }
        angles
    }
}

/// `need` different blocks out of `blocks`, far from each other: as scattered as after hours of
/// serving, and the same each time.
fn scattered(need: u64, blocks: u64) -> Vec<i32> {
    let common = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    // Near the golden section of the cache, and without a common divisor with it, so that steps
    // of it visit every block once.
    let mut step = (blocks * 618 / 1000).max(1);
    while common(step, blocks) > 1 {
        step += 1;
    }
    (0..need).map(|i| i32::try_from(i * step % blocks).expect("slots are checked to fit 31 bits")).collect()
}

/// Parts to split each context into: enough blocks to keep the GPU busy four times over, so that
/// its last round costs little, and at least a page for each of a block's four warps.
fn splits(batch: u32, pages: u32, room: &Room) -> u32 {
    let slices = (room.heads / room.kv_heads.max(1)).div_ceil(8);
    let whole = u64::from(batch) * u64::from(room.kv_heads * slices);
    let wanted = (u64::from(4 * RESIDENT * room.multiprocessors)).div_ceil(whole.max(1));
    u32::try_from(wanted).unwrap_or(u32::MAX).min(pages / 4).clamp(1, 128)
}

/// New tokens of a tile of prefill attention. Tiles skip what their last token does not see, so
/// small ones waste less on the upper triangle; large ones need fewer, larger products.
fn tile(tokens: u32, total: u32, heads: u32) -> u32 {
    let row = u64::from(total.next_multiple_of(KV_BLOCK as u32)) * u64::from(heads) * 2;
    let fits = u32::try_from(SCORES_MAX / row.max(1)).unwrap_or(u32::MAX) / 64 * 64;
    (tokens / 4).next_multiple_of(64).clamp(128, 1024).min(fits.max(64)).min(tokens)
}

/// A tile of prefill attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Its first new token.
    pub(super) first: u32,
    /// Rows of one KV head: its tokens times the heads of a group.
    pub(super) rows: u32,
    /// Columns of scores: what its last token sees, in whole pages.
    pub(super) columns: u32,
}

impl Prefill {
    /// All tiles.
    pub(super) fn tiles(&self, group: u32) -> Vec<Tile> {
        let firsts = (0..self.tokens).step_by(self.tile as usize);
        let tile = |first: u32| {
            let some = self.tile.min(self.tokens - first);
            let columns = (self.context + first + some).next_multiple_of(KV_BLOCK as u32);
            Tile { first, rows: some * group, columns }
        };
        firsts.map(tile).collect()
    }

    /// Elements of the largest tile's scores over all KV heads.
    pub(super) fn scores(&self, group: u32, kv_heads: u32) -> u64 {
        let sizes = self.tiles(group).into_iter().map(|t| u64::from(t.rows) * u64::from(t.columns));
        sizes.max().unwrap_or(0) * u64::from(kv_heads)
    }

    /// Elements of Q (and of the result) before a tile, in each KV head's part.
    pub(super) fn offset(tile: &Tile, group: u32, dim: u32) -> u64 {
        u64::from(tile.first) * u64::from(group) * u64::from(dim)
    }

    /// Scores of a tile: Q of [KV head][token][group][dim] times K of [KV head][token][dim].
    pub(super) fn score_product(&self, tile: &Tile, kv_heads: u32, group: u32, dim: u32) -> Product {
        Product {
            rows: tile.rows,
            columns: tile.columns,
            inner: dim,
            right: Right::Transposed,
            out_stride: tile.columns,
            batch: kv_heads,
            left_step: u64::from(self.tokens) * u64::from(group) * u64::from(dim),
            right_step: u64::from(self.pages) * KV_BLOCK * u64::from(dim),
            out_step: u64::from(tile.rows) * u64::from(tile.columns),
        }
    }

    /// The result of a tile: probabilities times V of [KV head][token][dim].
    pub(super) fn value_product(&self, tile: &Tile, kv_heads: u32, group: u32, dim: u32) -> Product {
        let scores = self.score_product(tile, kv_heads, group, dim);
        Product {
            columns: dim,
            inner: tile.columns,
            right: Right::Plain,
            out_stride: dim,
            left_step: scores.out_step,
            out_step: scores.left_step,
            ..scores
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const H200: Room = Room { heads: 32, kv_heads: 8, blocks: 30_000, multiprocessors: 132 };

    #[test]
    fn contexts_are_split_until_the_gpu_is_busy() {
        let check = |batch, context: u32, expected| {
            assert_eq!(splits(batch, context.div_ceil(16), &H200), expected, "{batch} x {context}");
        };
        check(1, 16, 1);
        check(1, 1024, 16);
        check(1, 16384, 128);
        check(32, 2048, 7);
        check(64, 2048, 4);
        check(256, 8192, 1);
    }

    #[test]
    fn tiles_cover_the_chunk_and_their_scores_fit() {
        for (tokens, context) in
            [(1, 0), (100, 7), (128, 0), (2048, 0), (2048, 16384), (16384, 0), (16384, 16384)]
        {
            let plan = Plan::new(&Work::PrefillAttention { tokens, context }, &H200).unwrap();
            let prefill = plan.prefill.unwrap();
            let tiles = prefill.tiles(4);
            assert_eq!(tiles.iter().map(|t| t.rows).sum::<u32>(), 4 * tokens);
            assert!(
                tiles
                    .iter()
                    .all(|t| t.columns <= prefill.pages * 16 && t.columns >= context + t.first + t.rows / 4)
            );
            assert!(2 * prefill.scores(4, 8) <= SCORES_MAX, "{prefill:?}");
        }
    }

    #[test]
    fn empty_or_too_large_work_is_refused() {
        let check = |work: Work, expected: &str| {
            let faults = Plan::new(&work, &H200).unwrap_err();
            assert!(faults[0].message.contains(expected), "{faults:?}");
        };
        check(Work::Linear { tokens: 0 }, "no tokens");
        check(Work::DecodeAttention { batch: 1, context: 0 }, "nothing to do");
        check(Work::Forward { batch: 0, context: 9, prefill: 0, prefill_context: 9 }, "nothing to do");
        check(Work::DecodeAttention { batch: 30_001, context: 1 }, "needs 30001 blocks");
    }

    #[test]
    fn angles_turn_by_the_position() {
        let work = Work::PrefillAttention { tokens: 1, context: 3 };
        let angles = Plan::new(&work, &H200).unwrap().angles(64);
        assert_eq!(angles.len(), 64);
        assert!(
            (f64::from(angles[0]) - 3_f64.cos()).abs() < 1e-7
                && (f64::from(angles[1]) - 3_f64.sin()).abs() < 1e-7
        );
        assert!((f64::from(angles[3]) - (3.0 * 1e4_f64.powf(-2.0 / 64.0)).sin()).abs() < 1e-7);
    }

    proptest! {
        #[test]
        fn every_row_writes_its_own_slot_in_its_own_sequence(
            batch in 0_u32..9, context in 1_u32..70, tokens in 0_u32..50, prefill_context in 0_u32..70, spare in 0_u64..40,
        ) {
            prop_assume!(batch + tokens > 0);
            let work = Work::Forward { batch, context, prefill: tokens, prefill_context };
            let blocks = work.cache_tokens(KV_BLOCK) / KV_BLOCK + spare;
            let plan = Plan::new(&work, &Room { blocks, ..H200 }).unwrap();
            let different: BTreeSet<_> = plan.tables.iter().collect();
            prop_assert_eq!(different.len(), plan.tables.len());
            prop_assert!(plan.tables.iter().all(|b| (0..blocks).contains(&u64::try_from(*b).unwrap())));
            prop_assert_eq!(plan.slots.len(), (batch + tokens) as usize);
            let slots: BTreeSet<_> = plan.slots.iter().collect();
            prop_assert_eq!(slots.len(), plan.slots.len());
            for (row, (slot, position)) in plan.slots.iter().zip(&plan.positions).enumerate() {
                let first = row.min(batch as usize) * context.div_ceil(16) as usize;
                prop_assert_eq!(*slot / 16, plan.tables[first + *position as usize / 16]);
                prop_assert_eq!(*slot % 16, i32::try_from(position % 16).unwrap());
                let expected = if row < batch as usize { context - 1 } else { prefill_context + u32::try_from(row).unwrap() - batch };
                prop_assert_eq!(*position, expected);
            }
        }
    }
}
