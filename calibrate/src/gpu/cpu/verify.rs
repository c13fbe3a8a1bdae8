//! Compares the kernels with the plainest computation of the same thing, in f64.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::kernels::{Heads, Kernels, KvCache, slot};
use super::model::random;
use crate::gpu::backend::KV_BLOCK;
use crate::raw::Flag;

/// Largest error relative to the largest value.
const ERROR_MAX: f64 = 1e-4;

/// A flag for each kernel that computes something else.
pub fn verify(kernels: &Kernels) -> Vec<Flag> {
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let mut flags = Vec::new();
    let mut compare = |what: &str, got: &[f32], expected: &[f64]| {
        let largest = expected.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
        let error = got.iter().zip(expected).map(|(g, e)| (f64::from(*g) - e).abs());
        // A NaN compares as no error with max; it must count as the largest.
        let error = error.fold(0.0, |most, e| if e > most || e.is_nan() { e } else { most }) / largest;
        if error.is_nan() || error > ERROR_MAX {
            let message =
                format!("{what} differs from the plain computation by {error:.1e} of the largest value");
            flags.push(Flag { flag: "kernelWrong".to_owned(), message });
        }
    };
    for (rows, inputs, outputs) in [(1, 48, 80), (5, 64, 33), (70, 31, 17)] {
        let (x, w) = (random(rows * inputs, &mut rng), random(outputs * inputs, &mut rng));
        let mut out = vec![0.0; rows * outputs];
        (kernels.product)(rows, inputs, outputs, &x, &w, &mut out);
        compare("the matrix product", &out, &plain_product(rows, inputs, outputs, &x, &w));
    }
    let heads = Heads { queries: 4, keys: 2, width: 16 };
    let blocks = 8;
    let values = blocks * KV_BLOCK as usize * heads.kv();
    let cache = KvCache { keys: random(values, &mut rng), values: random(values, &mut rng) };
    // Blocks out of order, a last block that is not full, and a single token.
    for (table, tokens) in [(&[5, 0, 3, 7][..], 55), (&[6, 2], 17), (&[1], 1)] {
        let query = random(heads.queries * heads.width, &mut rng);
        let mut out = vec![0.0; query.len()];
        (kernels.attend)(heads, &query, &cache, table, tokens, &mut out);
        compare("attention", &out, &plain_attention(heads, &query, &cache, table, tokens));
    }
    flags.dedup_by(|a, b| a.message.split(" by ").next() == b.message.split(" by ").next());
    flags
}

fn plain_product(rows: usize, inputs: usize, outputs: usize, x: &[f32], w: &[f32]) -> Vec<f64> {
    let cell = |row: usize, output: usize| {
        (0..inputs).map(|i| f64::from(x[row * inputs + i]) * f64::from(w[output * inputs + i])).sum()
    };
    (0..rows).flat_map(|row| (0..outputs).map(move |output| cell(row, output))).collect()
}

fn plain_attention(heads: Heads, query: &[f32], cache: &KvCache, table: &[u32], tokens: usize) -> Vec<f64> {
    let mut out = Vec::new();
    for head in 0..heads.queries {
        let shared = head * heads.keys / heads.queries * heads.width;
        let at = |token: usize, i: usize| slot(table, token, heads.kv()) + shared + i;
        let score = |token: usize| -> f64 {
            let q = |i: usize| f64::from(query[head * heads.width + i]);
            let dot: f64 = (0..heads.width).map(|i| q(i) * f64::from(cache.keys[at(token, i)])).sum();
            (dot / (heads.width as f64).sqrt()).exp()
        };
        let weights: Vec<f64> = (0..tokens).map(score).collect();
        let all: f64 = weights.iter().sum();
        for i in 0..heads.width {
            let value = |token: usize| weights[token] / all * f64::from(cache.values[at(token, i)]);
            out.push((0..tokens).map(value).sum());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::cpu::kernels;

    #[test]
    fn the_kernels_are_right() {
        assert_eq!(verify(&Kernels::default()), []);
    }

    #[test]
    fn a_wrong_kernel_is_found() {
        let check = |kernels: Kernels, expected: &str| {
            let flags = verify(&kernels);
            assert_eq!(flags.len(), 1, "{flags:?}");
            assert!(flags[0].flag == "kernelWrong" && flags[0].message.starts_with(expected), "{flags:?}");
        };
        check(
            Kernels {
                attend: |heads, q, cache, table, tokens, out| {
                    kernels::attend(heads, q, cache, table, tokens.max(2) - 1, out);
                },
                ..Kernels::default()
            },
            "attention differs",
        );
        check(
            Kernels { attend: |_, _, _, _, _, out| out.fill(f32::NAN), ..Kernels::default() },
            "attention differs",
        );
        check(
            Kernels { product: |_, _, _, _, _, out| out.fill(0.0), ..Kernels::default() },
            "the matrix product",
        );
    }
}
