//! The arithmetic of the CPU backend, in f32 on one thread. Its speed stands for nothing; that
//! it does the work of a transformer, all of it, is what tests need.

use crate::gpu::backend::KV_BLOCK;

/// Sizes of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub queries: usize,
    /// KV heads.
    pub keys: usize,
    /// Width of each.
    pub width: usize,
}

impl Heads {
    /// Values of Q, K and V of one token.
    pub const fn qkv(&self) -> usize {
        (self.queries + 2 * self.keys) * self.width
    }

    /// Values of K or V of one token.
    pub const fn kv(&self) -> usize {
        self.keys * self.width
    }
}

/// K and V of one layer, in blocks of [`KV_BLOCK`] tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KvCache {
    /// All blocks.
    pub keys: Vec<f32>,
    /// Likewise.
    pub values: Vec<f32>,
}

/// Where the tokens of one sequence lie: its blocks, in order.
pub type BlockTable = [u32];

/// First value of a token's K or V in a cache.
pub fn slot(table: &BlockTable, token: usize, kv: usize) -> usize {
    let block = KV_BLOCK as usize;
    (table[token / block] as usize * block + token % block) * kv
}

/// `out[rows x outputs] = x[rows x inputs] * weight[outputs x inputs]^T`.
pub fn product(rows: usize, inputs: usize, outputs: usize, x: &[f32], weight: &[f32], out: &mut [f32]) {
    assert!(x.len() >= rows * inputs && weight.len() >= outputs * inputs && out.len() >= rows * outputs);
    let (inputs_stride, outputs_stride) = (inputs as isize, outputs as isize);
    #[allow(unsafe_code)]
    // SAFETY: the strides describe row-major matrices of the sizes asserted above, and `out` is
    // borrowed mutably, so it overlaps neither factor.
    unsafe {
        matrixmultiply::sgemm(
            rows,
            inputs,
            outputs,
            1.0,
            x.as_ptr(),
            inputs_stride,
            1,
            weight.as_ptr(),
            1,
            inputs_stride,
            0.0,
            out.as_mut_ptr(),
            outputs_stride,
            1,
        );
    }
}

/// Attention of one query row to the first `tokens` tokens of a sequence, all heads, in one pass
/// over the cache with a running softmax.
pub fn attend(
    heads: Heads,
    query: &[f32],
    cache: &KvCache,
    table: &BlockTable,
    tokens: usize,
    out: &mut [f32],
) {
    let (width, kv) = (heads.width, heads.kv());
    let scale = 1.0 / (width as f32).sqrt();
    for head in 0..heads.queries {
        let q = &query[head * width..(head + 1) * width];
        let shared = head / (heads.queries / heads.keys) * width;
        let out = &mut out[head * width..(head + 1) * width];
        out.fill(0.0);
        let (mut highest, mut sum) = (f32::NEG_INFINITY, 0.0_f32);
        for token in 0..tokens {
            let at = slot(table, token, kv) + shared;
            let key = &cache.keys[at..at + width];
            let score = scale * q.iter().zip(key).map(|(a, b)| a * b).sum::<f32>();
            if score > highest {
                let shrink = (highest - score).exp();
                sum *= shrink;
                for o in out.iter_mut() {
                    *o *= shrink;
                }
                highest = score;
            }
            let weight = (score - highest).exp();
            sum += weight;
            let value = &cache.values[at..at + width];
            out.iter_mut().zip(value).for_each(|(o, v)| *o += weight * v);
        }
        for o in out.iter_mut() {
            *o /= sum;
        }
    }
}

/// Rows divided by their root mean square.
pub fn normalize(width: usize, x: &[f32], out: &mut [f32]) {
    for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mean = row.iter().map(|v| v * v).sum::<f32>() / width as f32;
        let scale = 1.0 / (mean + 1e-6).sqrt();
        out.iter_mut().zip(row).for_each(|(o, v)| *o = v * scale);
    }
}

/// `silu(gate) * up` for rows that hold both, gate first.
pub fn gate(width: usize, gate_up: &[f32], out: &mut [f32]) {
    for (row, out) in gate_up.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
        let (gate, up) = row.split_at(width);
        out.iter_mut().zip(gate.iter().zip(up)).for_each(|(o, (g, u))| *o = g / (1.0 + (-g).exp()) * u);
    }
}

type Product = fn(usize, usize, usize, &[f32], &[f32], &mut [f32]);
type Attend = fn(Heads, &[f32], &KvCache, &BlockTable, usize, &mut [f32]);

/// The kernels that are verified, so that a test can put a wrong one in their place.
#[derive(Clone, Copy)]
pub struct Kernels {
    /// [`product`].
    pub product: Product,
    /// [`attend`].
    pub attend: Attend,
}

impl Default for Kernels {
    fn default() -> Self {
        Self { product, attend }
    }
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kernels")
    }
}
