//! A model on the CPU, and the list of operations a piece of work becomes. Replaying a list made
//! before is what a captured graph is to a GPU; making it anew for each pass is eager launch.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use super::kernels::{Heads, Kernels, KvCache, gate, normalize, slot};
use crate::gpu::backend::{KV_BLOCK, Work};
use crate::gpu::shape::Shape;
use crate::{Result, fault};

/// Values between -1/16 and 1/16, so that sums over thousands stay small.
pub fn random(count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let value = |bits: u32| (bits >> 8) as f32 / f32::from(1_u16 << 15) / 4096.0 - 1.0 / 16.0;
    (0..count).map(|_| value(rng.next_u32())).collect()
}

struct Layer {
    /// In the order of [`Shape::layer_gemms`].
    weights: [Vec<f32>; 4],
    cache: KvCache,
}

/// Weights of their own for each layer, and a paged KV cache.
pub struct Model {
    shape: Shape,
    heads: Heads,
    layers: Vec<Layer>,
    head: Vec<f32>,
    /// Blocks of the cache, in an order as after hours of serving: shuffled.
    free_blocks: Vec<u32>,
}

impl Model {
    /// Random weights and a cache for so many tokens.
    ///
    /// # Errors
    /// E0709 if they do not fit the memory.
    pub fn new(shape: &Shape, kv_tokens: u64, memory: u64) -> Result<Self> {
        // f32 takes twice the bytes of bf16.
        let bytes = 2 * (shape.weight_bytes() + kv_tokens * shape.kv_bytes_per_token());
        if bytes > memory / 2 {
            let gb = |bytes: u64| bytes as f64 / 1e9;
            let text = format!("{} takes {:.1} GB, over half of {:.1} GB", shape.name, gb(bytes), gb(memory));
            return Err(fault("E0709", text));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let heads = Heads {
            queries: shape.heads as usize,
            keys: shape.kv_heads as usize,
            width: shape.head_dim as usize,
        };
        let blocks = kv_tokens.div_ceil(KV_BLOCK) as u32;
        let cached = blocks as usize * KV_BLOCK as usize * heads.kv();
        let mut layer = || Layer {
            weights: shape.layer_gemms().map(|gemm| random(gemm.elements() as usize, &mut rng)),
            cache: KvCache { keys: random(cached, &mut rng), values: random(cached, &mut rng) },
        };
        let layers = (0..shape.layers).map(|_| layer()).collect();
        let head = random(shape.lm_head().elements() as usize, &mut rng);
        let mut free_blocks: Vec<u32> = (0..blocks).collect();
        for i in (1..free_blocks.len()).rev() {
            free_blocks.swap(i, rng.next_u32() as usize % (i + 1));
        }
        Ok(Self { shape: shape.clone(), heads, layers, head, free_blocks })
    }
}

/// Everything a pass writes to.
struct Scratch {
    x: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    gated: Vec<f32>,
    projected: Vec<f32>,
    logits: Vec<f32>,
}

type Operation = Box<dyn Fn(&mut Model, &mut Scratch)>;

/// A piece of work, ready to run.
pub struct Prepared {
    work: Work,
    scratch: Scratch,
    tables: Vec<Sequence>,
    /// Operations made once; without them they are made for each pass.
    graph: Option<Vec<Operation>>,
    kernels: Kernels,
}

/// Rows of a step that belong to one sequence.
#[derive(Clone, Debug)]
struct Sequence {
    /// First row.
    row: usize,
    /// Rows.
    rows: usize,
    /// Tokens before the first row's own.
    context: usize,
    table: Vec<u32>,
}

impl Prepared {
    /// Allocates what the work needs and deals blocks to its sequences.
    ///
    /// # Errors
    /// E0709 if the cache is too small.
    pub fn new(work: &Work, model: &Model, kernels: Kernels) -> Result<Self> {
        let (rows, shape) = (work.rows() as usize, &model.shape);
        let buffer = |rows: usize, width: usize| vec![0.01_f32; rows * width];
        let [qkv, _, gate_up, down] = shape.layer_gemms().map(|g| (g.outputs as usize, g.inputs as usize));
        let scratch = Scratch {
            x: buffer(rows, shape.hidden as usize),
            normed: buffer(rows, shape.hidden as usize),
            qkv: buffer(rows, qkv.0),
            attended: buffer(rows, model.heads.queries * model.heads.width),
            gate_up: buffer(rows, gate_up.0),
            gated: buffer(rows, down.1),
            projected: buffer(rows, shape.hidden as usize),
            logits: buffer(work.head_rows() as usize, shape.vocabulary as usize),
        };
        let tables = sequences(work, &model.free_blocks)?;
        Ok(Self { work: *work, scratch, tables, graph: None, kernels })
    }

    /// Makes the operations once, for all passes.
    pub fn capture(&mut self, model: &Model) {
        self.graph = Some(self.operations(model));
    }

    /// Runs one pass.
    pub fn pass(&mut self, model: &mut Model) {
        let eager;
        let operations = if let Some(graph) = &self.graph {
            graph
        } else {
            eager = self.operations(model);
            &eager
        };
        for operation in operations {
            operation(model, &mut self.scratch);
        }
        std::hint::black_box(&self.scratch.logits);
    }

    fn operations(&self, model: &Model) -> Vec<Operation> {
        let mut list: Vec<Operation> = Vec::new();
        let rows = self.work.rows() as usize;
        let linear = matches!(self.work, Work::Linear { .. } | Work::Forward { .. });
        let attention = !matches!(self.work, Work::Linear { .. });
        for layer in 0..model.layers.len() {
            if linear {
                self.before_attention(layer, rows, model, &mut list);
            }
            if attention {
                self.attention(layer, linear, model, &mut list);
            }
            if linear {
                self.after_attention(layer, rows, model, &mut list);
            }
        }
        if self.work.head_rows() > 0 {
            let (rows, hidden) = (self.work.head_rows() as usize, model.shape.hidden as usize);
            let (words, product) = (model.shape.vocabulary as usize, self.kernels.product);
            list.push(Box::new(move |model, s| {
                normalize(hidden, &s.x, &mut s.normed);
                // The rows that yield a token come last: the chunk's end and its neighbours.
                let from = s.normed.len() - rows * hidden;
                product(rows, hidden, words, &s.normed[from..], &model.head, &mut s.logits);
            }));
        }
        list
    }

    fn before_attention(&self, layer: usize, rows: usize, model: &Model, list: &mut Vec<Operation>) {
        let (hidden, product) = (model.shape.hidden as usize, self.kernels.product);
        let outputs = model.heads.qkv();
        list.push(Box::new(move |_, s| normalize(hidden, &s.x, &mut s.normed)));
        list.push(Box::new(move |model, s| {
            product(rows, hidden, outputs, &s.normed, &model.layers[layer].weights[0], &mut s.qkv);
        }));
    }

    fn attention(&self, layer: usize, store: bool, model: &Model, list: &mut Vec<Operation>) {
        let (heads, attend) = (model.heads, self.kernels.attend);
        for sequence in self.tables.clone() {
            list.push(Box::new(move |model, s| {
                let cache = &mut model.layers[layer].cache;
                if store {
                    store_kv(heads, &sequence, &s.qkv, cache);
                }
                let queries = heads.queries * heads.width;
                for i in 0..sequence.rows {
                    let row = sequence.row + i;
                    let query = &s.qkv[row * heads.qkv()..][..queries];
                    let out = &mut s.attended[row * queries..][..queries];
                    attend(heads, query, cache, &sequence.table, sequence.context + i + 1, out);
                }
            }));
        }
    }

    fn after_attention(&self, layer: usize, rows: usize, model: &Model, list: &mut Vec<Operation>) {
        let (hidden, product) = (model.shape.hidden as usize, self.kernels.product);
        let [_, o, gate_up, down] =
            model.shape.layer_gemms().map(|g| (g.outputs as usize, g.inputs as usize));
        list.push(Box::new(move |model, s| {
            product(rows, o.1, o.0, &s.attended, &model.layers[layer].weights[1], &mut s.projected);
            s.x.iter_mut().zip(&s.projected).for_each(|(x, p)| *x += p);
        }));
        list.push(Box::new(move |model, s| {
            normalize(hidden, &s.x, &mut s.normed);
            product(rows, gate_up.1, gate_up.0, &s.normed, &model.layers[layer].weights[2], &mut s.gate_up);
            gate(down.1, &s.gate_up, &mut s.gated);
        }));
        list.push(Box::new(move |model, s| {
            product(rows, down.1, down.0, &s.gated, &model.layers[layer].weights[3], &mut s.projected);
            // Passes follow one another on the same rows: without a bound they would grow for ever.
            s.x.iter_mut().zip(&s.projected).for_each(|(x, p)| *x = (*x + p).clamp(-8.0, 8.0));
        }));
    }
}

/// Writes K and V of a sequence's new rows to their places.
fn store_kv(heads: Heads, sequence: &Sequence, qkv: &[f32], cache: &mut KvCache) {
    let (kv, queries) = (heads.kv(), heads.queries * heads.width);
    for i in 0..sequence.rows {
        let row = &qkv[(sequence.row + i) * heads.qkv()..][..heads.qkv()];
        let at = slot(&sequence.table, sequence.context + i, kv);
        cache.keys[at..at + kv].copy_from_slice(&row[queries..queries + kv]);
        cache.values[at..at + kv].copy_from_slice(&row[queries + kv..]);
    }
}

/// The sequences of a step, each with blocks of its own. A decoding sequence of a context of
/// `n` tokens counts its new token among them.
fn sequences(work: &Work, free_blocks: &[u32]) -> Result<Vec<Sequence>> {
    let (batch, context, prefill, before) = match *work {
        Work::Linear { .. } => (0, 0, 0, 0),
        Work::DecodeAttention { batch, context } => (batch, context, 0, 0),
        Work::PrefillAttention { tokens, context } => (0, 0, tokens, context),
        Work::Forward { batch, context, prefill, prefill_context } => {
            (batch, context, prefill, prefill_context)
        }
    };
    let mut blocks = free_blocks.iter().copied();
    let mut deal = |tokens: u32| -> Result<Vec<u32>> {
        let wanted = (tokens as usize).div_ceil(KV_BLOCK as usize);
        let dealt: Vec<u32> = blocks.by_ref().take(wanted).collect();
        if dealt.len() < wanted {
            Err(fault("E0709", "the KV cache is too small for this work"))
        } else {
            Ok(dealt)
        }
    };
    let mut all = Vec::new();
    for row in 0..batch {
        let table = deal(context.max(1))?;
        all.push(Sequence { row: row as usize, rows: 1, context: context.saturating_sub(1) as usize, table });
    }
    if prefill > 0 {
        let table = deal(prefill + before)?;
        all.push(Sequence { row: batch as usize, rows: prefill as usize, context: before as usize, table });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::shape::built_in;

    fn logits(work: &Work, captured: bool) -> Vec<f32> {
        let shape = built_in("tiny").unwrap();
        let mut model = Model::new(&shape, 256, 1 << 30).unwrap();
        let mut prepared = Prepared::new(work, &model, Kernels::default()).unwrap();
        for (i, x) in prepared.scratch.x.iter_mut().enumerate() {
            *x = ((i * 37) % 101) as f32 / 101.0 - 0.5;
        }
        if captured {
            prepared.capture(&model);
        }
        prepared.pass(&mut model);
        prepared.scratch.logits
    }

    #[test]
    fn a_graph_computes_what_eager_launch_does() {
        let work = Work::Forward { batch: 3, context: 40, prefill: 20, prefill_context: 10 };
        let eager = logits(&work, false);
        assert_eq!(eager.len(), 4 * 512);
        assert!(eager.iter().all(|v| v.is_finite()) && eager.iter().any(|v| v.abs() > 1e-3));
        assert_eq!(logits(&work, true), eager);
    }

    #[test]
    fn work_beyond_the_cache_and_models_beyond_the_memory_are_refused() {
        let shape = built_in("tiny").unwrap();
        let model = Model::new(&shape, 64, 1 << 30).unwrap();
        let work = Work::DecodeAttention { batch: 3, context: 33 };
        assert!(Prepared::new(&work, &model, Kernels::default()).is_err());
        let big = Model::new(&built_in("llama-3-8b").unwrap(), 64, 16 << 30);
        assert!(big.err().unwrap()[0].message.contains("takes 32.1 GB"));
    }
}
