//! Compares what the device computes with plain computations on the host: whole forward passes of
//! tiny models, through every kernel and every kind of product, and long decode attention alone.

use half::bf16;

use super::super::backend::{KV_BLOCK, Work};
use super::super::shape::Shape;
use super::blas::Blas;
use super::launch::{Argument, Kernels};
use super::memory::{DeviceMemory, Gpu};
use super::model::{Model, NEAR_ONE, padded_vocabulary};
use super::pass::{Engine, Pass, token};
use super::plan::Plan;
use crate::Result;
use crate::raw::Flag;

/// Deviation that rounding to bf16 at every step may add up to, relative to the root mean square.
/// A wrong address, layout or factor gives one of the order of 1.
const TOLERANCE: f64 = 0.06;
/// Multiprocessors that splits are chosen for: as many splits as there can be.
const MULTIPROCESSORS: u32 = 132;

/// Runs all comparisons; what deviates comes back as flags.
///
/// # Errors
/// What the device reports.
pub(super) fn verify(gpu: &Gpu, kernels: &Kernels, blas: &mut Blas) -> Result<Vec<Flag>> {
    let mut flags = Vec::new();
    let works = [
        Work::Forward { batch: 3, context: 41, prefill: 0, prefill_context: 0 },
        Work::Forward { batch: 0, context: 0, prefill: 37, prefill_context: 0 },
        Work::Forward { batch: 2, context: 80, prefill: 133, prefill_context: 19 },
    ];
    for (dim, kv_heads, group) in [(64, 2, 7), (128, 2, 4)] {
        let shape = tiny(dim, kv_heads, group);
        let model = Model::load(gpu, kernels, &shape, 512)?;
        for work in works {
            flags.extend(compare_forward(gpu, kernels, blas, &model, &work)?);
        }
    }
    for (dim, splits) in [(64, 1), (64, 5), (128, 1), (128, 16)] {
        flags.extend(compare_attention(gpu, kernels, dim, splits)?);
    }
    Ok(flags)
}

fn tiny(head_dim: u32, kv_heads: u32, group: u32) -> Shape {
    Shape {
        name: format!("tiny, heads of {head_dim}"),
        layers: 2,
        hidden: 264,
        heads: kv_heads * group,
        kv_heads,
        head_dim,
        feed_forward: 520,
        vocabulary: 1003,
        tied_embedding: false,
        qkv_bias: false,
        tensor_parallel: 1,
    }
}

/// A flag if `got` is far from `expected`, or is no number.
fn compare(what: &str, got: &[f32], expected: &[f32]) -> Option<Flag> {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let scale = expected.iter().map(|x| square(*x)).sum::<f64>();
    let wrong = got.iter().zip(expected).map(|(g, e)| square(g - e)).sum::<f64>();
    let ratio = (wrong / scale).sqrt();
    if got.len() == expected.len() && ratio <= TOLERANCE {
        return None;
    }
    let message = format!(
        "{what} is off by {:.1} % of its root mean square; times may not be those of real work",
        ratio * 100.0
    );
    Some(Flag { flag: "kernelWrong".to_owned(), message })
}

fn compare_forward(
    gpu: &Gpu,
    kernels: &Kernels,
    blas: &mut Blas,
    model: &Model,
    work: &Work,
) -> Result<Vec<Flag>> {
    let pass = Pass::new(gpu, kernels, model, work, MULTIPROCESSORS)?;
    pass.plan_products(blas, model)?;
    let mut host = HostModel::read(model)?;
    pass.send(&Engine { kernels, blas, model })?;
    gpu.synchronize()?;
    let width = padded_vocabulary(&model.shape) as usize;
    let got = floats(pass.logits(), work.head_rows() as usize * width)?;
    let expected = host.forward(pass.layout(), work);
    let what = format!("the forward pass of {} for {work:?}", model.shape.name);
    let mut flags: Vec<_> = compare(&what, &got, &expected).into_iter().collect();
    let sampled: Vec<i32> = pass.sampled().read(0, work.head_rows() as usize)?;
    for (logits, token) in got.chunks(width).zip(sampled) {
        let logits = &logits[..model.shape.vocabulary as usize];
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let first = logits.iter().position(|x| x.total_cmp(&best).is_eq());
        if usize::try_from(token).ok() != first {
            let message = format!("{what} sampled token {token}; the most likely is {first:?}");
            flags.push(Flag { flag: "kernelWrong".to_owned(), message });
        }
    }
    Ok(flags)
}

/// The first `len` bf16 of a buffer.
fn floats(memory: &DeviceMemory, len: usize) -> Result<Vec<f32>> {
    let bits: Vec<u16> = memory.read(0, len)?;
    Ok(bits.into_iter().map(|b| bf16::from_bits(b).to_f32()).collect())
}

fn all(memory: &DeviceMemory) -> Result<Vec<f32>> {
    floats(memory, usize::try_from(memory.bytes() / 2).unwrap_or(0))
}

fn round(x: f32) -> f32 {
    bf16::from_f32(x).to_f32()
}

/// `x[rows][inner]` times the transpose of `weights[outputs][inner]`.
fn multiply(x: &[f32], weights: &[f32], inner: usize, outputs: usize) -> Vec<f32> {
    let dot = |row: &[f32], weight: &[f32]| round(row.iter().zip(weight).map(|(a, b)| a * b).sum());
    x.chunks(inner).flat_map(|row| weights.chunks(inner).take(outputs).map(move |w| dot(row, w))).collect()
}

fn norm(x: &[f32], weight: &[f32], hidden: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks(hidden) {
        #[allow(clippy::cast_precision_loss)]
        let mean = row.iter().map(|v| v * v).sum::<f32>() / hidden as f32;
        let factor = (mean + 1e-5).sqrt().recip();
        out.extend(row.iter().zip(weight).map(|(v, w)| round(v * factor * w)));
    }
    out
}

fn add(x: &mut [f32], delta: &[f32]) {
    x.iter_mut().zip(delta).for_each(|(a, b)| *a = round(*a + b));
}

/// Softmax-weighted sum of `values` by the products of `query` and `keys`.
fn attend(query: &[f32], keys: &[&[f32]], values: &[&[f32]]) -> Vec<f32> {
    #[allow(clippy::cast_precision_loss)]
    let scale = (query.len() as f32).sqrt().recip();
    let scores: Vec<f32> =
        keys.iter().map(|k| scale * query.iter().zip(*k).map(|(a, b)| a * b).sum::<f32>()).collect();
    let peak = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = scores.iter().map(|s| (s - peak).exp()).collect();
    let total: f32 = weights.iter().sum();
    let at = |d: usize| round(weights.iter().zip(values).map(|(w, v)| w * v[d]).sum::<f32>() / total);
    (0..query.len()).map(at).collect()
}

/// A model's numbers on the host.
struct HostModel {
    shape: Shape,
    /// Four matrices, two norms, keys, values of each layer.
    layers: Vec<[Vec<f32>; 8]>,
    norm: Vec<f32>,
    head: Vec<f32>,
    embedding: Vec<f32>,
}

impl HostModel {
    fn read(model: &Model) -> Result<Self> {
        let mut layers = Vec::new();
        for layer in &model.layers {
            let [qkv, o, gate_up, down] = &layer.gemms;
            let [first, second] = &layer.norms;
            layers.push([
                all(qkv)?,
                all(o)?,
                all(gate_up)?,
                all(down)?,
                all(first)?,
                all(second)?,
                all(&layer.keys)?,
                all(&layer.values)?,
            ]);
        }
        let embedding = all(model.embedding.as_ref().unwrap_or(&model.head))?;
        Ok(Self {
            shape: model.shape.clone(),
            layers,
            norm: all(&model.norm)?,
            head: all(&model.head)?,
            embedding,
        })
    }

    /// Logits of all rows that yield a token, as the device computes them: rounded to bf16 at the
    /// same places.
    fn forward(&mut self, plan: &Plan, work: &Work) -> Vec<f32> {
        let hidden = self.shape.hidden as usize;
        let width = self.shape.feed_forward as usize;
        let rows = work.rows() as usize;
        let mut stream = Vec::new();
        for row in 0..work.rows() {
            let id = usize::try_from(token(row.cast_signed(), self.shape.vocabulary)).unwrap_or(0);
            stream.extend_from_slice(&self.embedding[id * hidden..][..hidden]);
        }
        for index in 0..self.layers.len() {
            let [qkv, o, gate_up, down] =
                self.shape.layer_gemms().map(|g| (g.inputs as usize, g.outputs as usize));
            let layer = &self.layers[index];
            let rotated = multiply(&norm(&stream, &layer[4], hidden), &layer[0], qkv.0, qkv.1);
            let attended = self.attention(index, plan, rotated);
            let layer = &self.layers[index];
            add(&mut stream, &multiply(&attended, &layer[1], o.0, o.1));
            let both = multiply(&norm(&stream, &layer[5], hidden), &layer[2], gate_up.0, gate_up.1);
            let mut inner = Vec::with_capacity(rows * width);
            for row in both.chunks(2 * width) {
                inner.extend((0..width).map(|i| round(row[i] / (1.0 + (-row[i]).exp()) * row[width + i])));
            }
            add(&mut stream, &multiply(&inner, &layer[3], down.0, down.1));
        }
        // Rows that decode come first, and of a prefill only its last yields a token.
        let mut kept: Vec<usize> = (0..plan.decode.map_or(0, |d| d.batch as usize)).collect();
        kept.extend(plan.prefill.map(|_| rows - 1));
        let last: Vec<f32> = kept.iter().flat_map(|row| &stream[row * hidden..][..hidden]).copied().collect();
        let outputs = padded_vocabulary(&self.shape) as usize;
        multiply(&norm(&last, &self.norm, hidden), &self.head, hidden, outputs)
    }

    /// Rotation, write to the cache and causal attention of all rows of a layer.
    fn attention(&mut self, index: usize, plan: &Plan, mut qkv: Vec<f32>) -> Vec<f32> {
        let (heads, kv_heads) = (self.shape.heads as usize, self.shape.kv_heads as usize);
        let (dim, block) = (self.shape.head_dim as usize, usize::try_from(KV_BLOCK).unwrap_or(16));
        let width = (heads + 2 * kv_heads) * dim;
        let angles = plan.angles(self.shape.head_dim);
        let place = |page: i32, head: usize, at: usize| {
            ((page.unsigned_abs() as usize * kv_heads + head) * block + at) * dim
        };
        for (row, slot) in plan.slots.iter().enumerate() {
            let mine = &mut qkv[row * width..][..width];
            for head in mine.chunks_mut(dim).take(heads + kv_heads) {
                let (low, high) = head.split_at_mut(dim / 2);
                for (plane, (a, b)) in low.iter_mut().zip(high).enumerate() {
                    let turn = &angles[(row * dim / 2 + plane) * 2..];
                    (*a, *b) = (round(*a * turn[0] - *b * turn[1]), round(*b * turn[0] + *a * turn[1]));
                }
            }
            for head in 0..kv_heads {
                let to = place(slot / 16, head, (slot % 16).unsigned_abs() as usize);
                for (part, first) in [(6, heads), (7, heads + kv_heads)] {
                    let from = &mine[(first + head) * dim..][..dim];
                    self.layers[index][part][to..to + dim].copy_from_slice(from);
                }
            }
        }
        let (keys, values) = (&self.layers[index][6], &self.layers[index][7]);
        let mut out = Vec::new();
        for (row, position) in plan.positions.iter().enumerate() {
            let decodes = plan.decode.map_or((0, 0), |d| (d.batch as usize, d.pages as usize));
            let table = &plan.tables[row.min(decodes.0) * decodes.1..];
            for head in 0..heads {
                let cached = |cache| -> Vec<&[f32]> {
                    let cache: &Vec<f32> = cache;
                    let at =
                        |token: usize| place(table[token / block], head * kv_heads / heads, token % block);
                    (0..=*position as usize).map(|token| &cache[at(token)..][..dim]).collect()
                };
                let query = &qkv[row * width + head * dim..][..dim];
                out.extend(attend(query, &cached(keys), &cached(values)));
            }
        }
        out
    }
}

/// Decode attention of contexts that end anywhere in a page, also of none, over shuffled pages.
fn compare_attention(gpu: &Gpu, kernels: &Kernels, dim: u32, splits: u32) -> Result<Option<Flag>> {
    let (kv_heads, group, pages) = (2_u32, 5_u32, 80_u32);
    let contexts = [0_i32, 1, 17, 250, 1272];
    let (batch, heads) = (u32::try_from(contexts.len()).unwrap_or(0), kv_heads * group);
    let random = |elements: u32, seed| {
        let memory = gpu.allocate(2 * u64::from(elements))?;
        kernels.fill(&memory, seed, NEAR_ONE).map(|()| memory)
    };
    let stride = (heads + 2 * kv_heads) * dim;
    let (queries, cache) = (random(batch * stride, 1)?, batch * pages * kv_heads * 16 * dim);
    let (keys, values, out) = (random(cache, 2)?, random(cache, 3)?, random(batch * heads * dim, 4)?);
    let blocks = (batch * pages).cast_signed();
    let tables: Vec<i32> = (0..blocks).map(|i| i * 147 % blocks).collect();
    let (device_tables, device_contexts) = (gpu.upload(&tables)?, gpu.upload(&contexts)?);
    let parts = u64::from(batch * heads * splits);
    let (sums, states) = (gpu.allocate(parts * u64::from(dim) * 4)?, gpu.allocate(parts * 8)?);
    let name = if dim == 64 { "decode_attention_64" } else { "decode_attention_128" };
    let int = |value: u32| Argument::Int(value.cast_signed());
    let scale = std::f32::consts::LOG2_E / f32::from(u16::try_from(dim).unwrap_or(0)).sqrt();
    let memories = [&queries, &keys, &values, &device_tables, &device_contexts, &out, &sums, &states];
    let mut arguments: Vec<_> = memories.iter().map(|m| Argument::Address(m.address())).collect();
    arguments.extend([int(stride), int(pages), int(kv_heads), int(group), Argument::Float(scale)]);
    kernels.launch(name, [splits, kv_heads, batch], 128, &arguments)?;
    if splits > 1 {
        let mut arguments: Vec<_> =
            [&sums, &states, &out].iter().map(|m| Argument::Address(m.address())).collect();
        arguments.push(int(splits));
        kernels.launch("combine", [heads, batch, 1], dim, &arguments)?;
    }
    let (queries, keys, values) = (all(&queries)?, all(&keys)?, all(&values)?);
    let (size, per_sequence) = (dim as usize, pages as usize);
    let mut expected = Vec::new();
    for (sequence, context) in contexts.iter().enumerate() {
        for head in 0..heads as usize {
            let cached = |cache| -> Vec<&[f32]> {
                let cache: &Vec<f32> = cache;
                let at = |token: usize| {
                    let page = tables[sequence * per_sequence + token / 16].unsigned_abs() as usize;
                    ((page * kv_heads as usize + head / group as usize) * 16 + token % 16) * size
                };
                (0..context.unsigned_abs() as usize).map(|token| &cache[at(token)..][..size]).collect()
            };
            if *context == 0 {
                expected.extend(vec![0.0; size]);
                continue;
            }
            let query = &queries[sequence * stride as usize + head * size..][..size];
            expected.extend(attend(query, &cached(&keys), &cached(&values)));
        }
    }
    let got = floats(&out, expected.len())?;
    Ok(compare(&format!("decode attention of heads of {dim} in {splits} parts"), &got, &expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deviation_is_a_flag_and_rounding_is_not() {
        let expected = [1.0, -2.0, 3.0];
        assert_eq!(compare("x", &[1.004, -2.004, 3.01], &expected), None);
        assert!(compare("x", &[1.0, 2.0, 3.0], &expected).is_some());
        assert!(compare("x", &[1.0, f32::NAN, 3.0], &expected).is_some());
        assert!(compare("x", &[1.0, -2.0], &expected).is_some());
    }

    #[test]
    fn host_attention_weighs_by_the_softmax() {
        let (near, far) = ([2.0, 0.0, 0.0, 0.0], [-2.0, 0.0, 0.0, 0.0]);
        let (one, two) = ([1.0; 4], [2.0; 4]);
        let out = attend(&[1.0, 0.0, 0.0, 0.0], &[&near, &far], &[&one, &two]);
        // Scores 1 and -1: weights 0.881 and 0.119.
        assert!((out[0] - 1.119).abs() < 0.005, "{out:?}");
        assert_eq!(multiply(&[1.0, 2.0], &[3.0, 4.0, 5.0, 6.0], 2, 2), [11.0, 17.0]);
        assert!((norm(&[3.0, 4.0], &[1.0, 2.0], 2)[1] - 8.0 / 12.5_f32.sqrt()).abs() < 0.01);
    }
}
