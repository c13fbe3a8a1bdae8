//! A piece of work with its buffers on the device, and the launches it consists of.
//!
//! A layer is: norm, QKV, rotation and write to the cache, attention, O, norm, gate and up, SiLU,
//! down; ten or eleven launches. Real engines fuse about as much.

use super::super::backend::Work;
use super::super::shape::BF16;
use super::blas::{Blas, Operands};
use super::launch::{Argument, Kernels};
use super::memory::{DeviceMemory, Gpu};
use super::model::{Layer, Model, NEAR_ONE, padded_vocabulary};
use super::plan::{Decode, Plan, Prefill, Room};
use super::product::Product;
use crate::Result;

use Argument::{Address, Float, Int};

/// log2(e): the kernels' exponentials have base 2.
const LOG2_E: f64 = std::f64::consts::LOG2_E;
/// The epsilon of the norms.
const EPSILON: f32 = 1e-5;

/// Activations, one buffer for each step of a layer.
#[derive(Debug)]
struct Buffers {
    ids: DeviceMemory,
    angles: DeviceMemory,
    slots: DeviceMemory,
    tables: DeviceMemory,
    contexts: DeviceMemory,
    stream: DeviceMemory,
    normed: DeviceMemory,
    qkv: DeviceMemory,
    attended: DeviceMemory,
    delta: DeviceMemory,
    gate_up: DeviceMemory,
    inner: DeviceMemory,
    logits: DeviceMemory,
    sampled: DeviceMemory,
    /// Sums and states of the splits of decode attention.
    parts: [DeviceMemory; 2],
    /// K, V, Q, scores and result of prefill attention.
    prefill: [DeviceMemory; 5],
}

/// Work that is ready to be sent to the stream.
#[derive(Debug)]
pub(super) struct Pass {
    work: Work,
    plan: Plan,
    rows: u32,
    head_rows: u32,
    buffers: Buffers,
}

/// What a pass runs with.
pub(super) struct Engine<'a> {
    /// The kernels.
    pub(super) kernels: &'a Kernels,
    /// The products.
    pub(super) blas: &'a Blas,
    /// The weights and the cache.
    pub(super) model: &'a Model,
}

impl Pass {
    /// Lays out `work` and allocates its buffers, filled with random numbers: parts of a pass read
    /// what others would have written.
    ///
    /// # Errors
    /// Work that does not fit, and what the device reports.
    pub(super) fn new(
        gpu: &Gpu,
        kernels: &Kernels,
        model: &Model,
        work: &Work,
        multiprocessors: u32,
    ) -> Result<Self> {
        let shape = &model.shape;
        let room =
            Room { heads: shape.heads, kv_heads: shape.kv_heads, blocks: model.blocks, multiprocessors };
        let plan = Plan::new(work, &room)?;
        let (rows, head_rows) = (work.rows(), work.head_rows());
        let (wide, head_wide) = (u64::from(rows), u64::from(head_rows));
        let (dim, heads, kv_heads) =
            (u64::from(shape.head_dim), u64::from(shape.heads), u64::from(shape.kv_heads));
        let group = shape.heads / shape.kv_heads;
        let mut seed = 1 << 16;
        let mut random = |elements: u64| {
            let memory = gpu.allocate(elements * BF16)?;
            seed += 1;
            kernels.fill(&memory, seed, NEAR_ONE).map(|()| memory)
        };
        let (hidden, width) = (u64::from(shape.hidden), u64::from(shape.feed_forward));
        let parts = plan.decode.map_or(0, |d| u64::from(d.batch) * heads * u64::from(d.splits));
        let pages = plan.prefill.map_or(0, |p| u64::from(p.pages) * super::super::backend::KV_BLOCK);
        let queries = plan.prefill.map_or(0, |p| u64::from(p.tokens) * heads * dim);
        let scores = plan.prefill.map_or(0, |p| p.scores(group, shape.kv_heads));
        let contexts = plan.decode.map_or(Vec::new(), |d| vec![d.context.cast_signed(); d.batch as usize]);
        let ids: Vec<i32> = (0..rows.cast_signed()).map(|row| token(row, shape.vocabulary)).collect();
        let buffers = Buffers {
            ids: gpu.upload(&ids)?,
            angles: gpu.upload(&plan.angles(shape.head_dim))?,
            slots: gpu.upload(&plan.slots)?,
            tables: gpu.upload(&plan.tables)?,
            contexts: gpu.upload(&contexts)?,
            stream: random(wide * hidden)?,
            normed: random(wide * hidden)?,
            qkv: random(wide * (heads + 2 * kv_heads) * dim)?,
            attended: random(wide * heads * dim)?,
            delta: random(wide * hidden)?,
            gate_up: random(wide * 2 * width)?,
            inner: random(wide * width)?,
            logits: random(head_wide * u64::from(padded_vocabulary(shape)))?,
            sampled: gpu.allocate(head_wide * 4)?,
            parts: [gpu.allocate(parts * dim * 4)?, gpu.allocate(parts * 8)?],
            prefill: [
                random(kv_heads * pages * dim)?,
                random(kv_heads * pages * dim)?,
                random(queries)?,
                random(scores)?,
                random(queries)?,
            ],
        };
        gpu.synchronize()?;
        Ok(Self { work: *work, plan, rows, head_rows, buffers })
    }

    /// Its layout.
    pub(super) const fn layout(&self) -> &Plan {
        &self.plan
    }

    /// The logits of the last pass: rows of [`padded_vocabulary`].
    pub(super) const fn logits(&self) -> &DeviceMemory {
        &self.buffers.logits
    }

    /// The tokens of the last pass: an i32 for each row of logits.
    pub(super) const fn sampled(&self) -> &DeviceMemory {
        &self.buffers.sampled
    }

    /// Has every product of this work planned.
    ///
    /// # Errors
    /// What cuBLASLt reports.
    pub(super) fn plan_products(&self, blas: &mut Blas, model: &Model) -> Result<()> {
        let shape = &model.shape;
        if matches!(self.work, Work::Linear { .. } | Work::Forward { .. }) {
            for (index, gemm) in shape.layer_gemms().iter().enumerate() {
                let product = Product::linear(self.rows, gemm.outputs, gemm.inputs);
                let operands: Vec<_> = model.layers.iter().map(|layer| self.linear(layer, index)).collect();
                blas.plan(&product, &operands)?;
            }
            blas.plan(&self.head_product(model), &[self.head_operands(model)])?;
        }
        if let Some(prefill) = &self.plan.prefill {
            let (dim, group) = (shape.head_dim, shape.heads / shape.kv_heads);
            for tile in prefill.tiles(group) {
                let [scores, values] = self.tile_operands(&tile, group, dim);
                blas.plan(&prefill.score_product(&tile, shape.kv_heads, group, dim), &[scores])?;
                blas.plan(&prefill.value_product(&tile, shape.kv_heads, group, dim), &[values])?;
            }
        }
        Ok(())
    }

    fn linear(&self, layer: &Layer, index: usize) -> Operands {
        let b = &self.buffers;
        let (left, out) =
            [(&b.normed, &b.qkv), (&b.attended, &b.delta), (&b.normed, &b.gate_up), (&b.inner, &b.delta)]
                [index];
        Operands { left: left.address(), right: layer.gemms[index].address(), out: out.address() }
    }

    fn head_product(&self, model: &Model) -> Product {
        let gemm = model.head_gemm();
        Product::linear(self.head_rows, gemm.outputs, gemm.inputs)
    }

    fn head_operands(&self, model: &Model) -> Operands {
        let (normed, logits) = (self.buffers.normed.address(), self.buffers.logits.address());
        Operands { left: normed, right: model.head.address(), out: logits }
    }

    /// Scores and values of a tile.
    fn tile_operands(&self, tile: &super::plan::Tile, group: u32, dim: u32) -> [Operands; 2] {
        let [k, v, q, scores, out] = &self.buffers.prefill;
        let offset = Prefill::offset(tile, group, dim) * BF16;
        [
            Operands { left: q.address() + offset, right: k.address(), out: scores.address() },
            Operands { left: scores.address(), right: v.address(), out: out.address() + offset },
        ]
    }

    /// Sends one pass to the stream.
    ///
    /// # Errors
    /// What the device reports.
    pub(super) fn send(&self, engine: &Engine<'_>) -> Result<()> {
        match self.work {
            Work::Linear { .. } => {
                for layer in &engine.model.layers {
                    (0..4).try_for_each(|index| self.multiply(engine, layer, index))?;
                }
                engine.blas.multiply(&self.head_product(engine.model), &self.head_operands(engine.model))
            }
            Work::DecodeAttention { .. } | Work::PrefillAttention { .. } => {
                engine.model.layers.iter().try_for_each(|layer| self.attend(engine, layer))
            }
            Work::Forward { .. } => self.forward(engine),
        }
    }

    fn forward(&self, engine: &Engine<'_>) -> Result<()> {
        let (b, shape) = (&self.buffers, &engine.model.shape);
        let hidden = shape.hidden.cast_signed();
        let arguments = [
            Address(b.ids.address()),
            Address(engine.model.embedding_address()),
            Address(b.stream.address()),
            Int(hidden),
        ];
        engine.kernels.launch("embed", [self.rows, 1, 1], 256, &arguments)?;
        for (index, layer) in engine.model.layers.iter().enumerate() {
            // The first norm adds nothing to the stream: there is no layer before it.
            let delta = if index == 0 { 0 } else { b.delta.address() };
            self.norm(engine, delta, layer.norms[0].address(), self.rows, -1)?;
            self.multiply(engine, layer, 0)?;
            self.rotate(engine, layer)?;
            self.attend(engine, layer)?;
            self.multiply(engine, layer, 1)?;
            self.norm(engine, b.delta.address(), layer.norms[1].address(), self.rows, -1)?;
            self.multiply(engine, layer, 2)?;
            let width = shape.feed_forward;
            let arguments =
                [Address(b.gate_up.address()), Address(b.inner.address()), Int(width.cast_signed())];
            engine.kernels.launch(
                "silu_multiply",
                [self.rows, (width / 8).div_ceil(256), 1],
                256,
                &arguments,
            )?;
            self.multiply(engine, layer, 3)?;
        }
        let tail = if self.plan.prefill.is_some() { self.rows.cast_signed() - 1 } else { -1 };
        self.norm(engine, b.delta.address(), engine.model.norm.address(), self.head_rows, tail)?;
        engine.blas.multiply(&self.head_product(engine.model), &self.head_operands(engine.model))?;
        let arguments = [
            Address(b.logits.address()),
            Address(b.sampled.address()),
            Int(shape.vocabulary.cast_signed()),
            Int(padded_vocabulary(shape).cast_signed()),
        ];
        engine.kernels.launch("sample", [self.head_rows, 1, 1], 1024, &arguments)
    }

    fn multiply(&self, engine: &Engine<'_>, layer: &Layer, index: usize) -> Result<()> {
        let gemm = engine.model.shape.layer_gemms()[index];
        engine
            .blas
            .multiply(&Product::linear(self.rows, gemm.outputs, gemm.inputs), &self.linear(layer, index))
    }

    fn norm(&self, engine: &Engine<'_>, delta: u64, weight: u64, rows: u32, tail: i32) -> Result<()> {
        let b = &self.buffers;
        let arguments = [
            Address(b.stream.address()),
            Address(delta),
            Address(weight),
            Address(b.normed.address()),
            Int(engine.model.shape.hidden.cast_signed()),
            Float(EPSILON),
            Int(tail),
        ];
        engine.kernels.launch("add_rms_norm", [rows, 1, 1], 256, &arguments)
    }

    fn rotate(&self, engine: &Engine<'_>, layer: &Layer) -> Result<()> {
        let (b, shape) = (&self.buffers, &engine.model.shape);
        let arguments = [
            Address(b.qkv.address()),
            Address(b.angles.address()),
            Address(b.slots.address()),
            Address(layer.keys.address()),
            Address(layer.values.address()),
            Address(b.prefill[2].address()),
            Int(shape.kv_heads.cast_signed()),
            Int((shape.heads / shape.kv_heads).cast_signed()),
            Int(shape.head_dim.cast_signed()),
            Int(self.plan.decode.map_or(0, |decode| decode.batch).cast_signed()),
        ];
        engine.kernels.launch("rotate_and_store", [self.rows, 1, 1], 256, &arguments)
    }

    fn attend(&self, engine: &Engine<'_>, layer: &Layer) -> Result<()> {
        if let Some(decode) = &self.plan.decode {
            self.attend_decode(engine, layer, decode)?;
        }
        if let Some(prefill) = &self.plan.prefill {
            self.attend_prefill(engine, layer, prefill)?;
        }
        Ok(())
    }

    fn attend_decode(&self, engine: &Engine<'_>, layer: &Layer, decode: &Decode) -> Result<()> {
        let (b, shape) = (&self.buffers, &engine.model.shape);
        let group = shape.heads / shape.kv_heads;
        let name = if shape.head_dim == 64 { "decode_attention_64" } else { "decode_attention_128" };
        let stride = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
        let arguments = [
            Address(b.qkv.address()),
            Address(layer.keys.address()),
            Address(layer.values.address()),
            Address(b.tables.address()),
            Address(b.contexts.address()),
            Address(b.attended.address()),
            Address(b.parts[0].address()),
            Address(b.parts[1].address()),
            Int(stride.cast_signed()),
            Int(decode.pages.cast_signed()),
            Int(shape.kv_heads.cast_signed()),
            Int(group.cast_signed()),
            Float(scale_log2e(shape.head_dim)),
        ];
        let grid = [decode.splits, shape.kv_heads * group.div_ceil(8), decode.batch];
        engine.kernels.launch(name, grid, 128, &arguments)?;
        if decode.splits == 1 {
            return Ok(());
        }
        let arguments = [
            Address(b.parts[0].address()),
            Address(b.parts[1].address()),
            Address(b.attended.address()),
            Int(decode.splits.cast_signed()),
        ];
        engine.kernels.launch("combine", [shape.heads, decode.batch, 1], shape.head_dim, &arguments)
    }

    fn attend_prefill(&self, engine: &Engine<'_>, layer: &Layer, prefill: &Prefill) -> Result<()> {
        let (b, shape) = (&self.buffers, &engine.model.shape);
        let (dim, kv_heads, group) = (shape.head_dim, shape.kv_heads, shape.heads / shape.kv_heads);
        let [k, v, _, scores, out] = &b.prefill;
        let arguments = [
            Address(layer.keys.address()),
            Address(layer.values.address()),
            Address(b.tables.address() + 4 * self.plan.prefill_first()),
            Address(k.address()),
            Address(v.address()),
            Int(dim.cast_signed()),
        ];
        engine.kernels.launch("gather", [prefill.pages, kv_heads, 1], 128, &arguments)?;
        for tile in prefill.tiles(group) {
            let [score, value] = self.tile_operands(&tile, group, dim);
            engine.blas.multiply(&prefill.score_product(&tile, kv_heads, group, dim), &score)?;
            let arguments = [
                Address(scores.address()),
                Int(tile.columns.cast_signed()),
                Int(group.cast_signed()),
                Int(prefill.context.cast_signed()),
                Int(tile.first.cast_signed()),
                Float(scale_log2e(dim)),
            ];
            engine.kernels.launch("causal_softmax", [tile.rows, kv_heads, 1], 256, &arguments)?;
            engine.blas.multiply(&prefill.value_product(&tile, kv_heads, group, dim), &value)?;
        }
        // Rows of the prefill lie behind those that decode.
        let before = u64::from(self.rows - prefill.tokens) * u64::from(shape.heads * dim) * BF16;
        let arguments = [
            Address(out.address()),
            Address(b.attended.address() + before),
            Int(kv_heads.cast_signed()),
            Int(group.cast_signed()),
            Int(dim.cast_signed()),
        ];
        engine.kernels.launch("scatter", [prefill.tokens, 1, 1], 128, &arguments)
    }
}

/// The token of a row: a prime apart from row to row, all over the embedding.
pub(super) fn token(row: i32, vocabulary: u32) -> i32 {
    row.wrapping_mul(7919).rem_euclid(vocabulary.cast_signed())
}

/// The scale of attention scores, `1 / sqrt(dim)`, for exponentials of base 2.
#[allow(clippy::cast_possible_truncation)]
fn scale_log2e(dim: u32) -> f32 {
    (LOG2_E / f64::from(dim).sqrt()) as f32
}
