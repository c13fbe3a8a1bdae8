//! The weights and the KV cache of a model on the device, filled with random numbers.

use super::super::backend::KV_BLOCK;
use super::super::shape::{BF16, Gemm, Shape};
use super::launch::Kernels;
use super::memory::{DeviceMemory, Gpu, failed};
use crate::{Fault, Result, fault};

/// Exponents of random numbers (see the kernel `fill`): weights are 0.002 to 0.03, so that
/// products of thousands of them stay near 1; what is near 1 already, 0.125 to 2.
pub(super) const SMALL: u32 = 118;
pub(super) const NEAR_ONE: u32 = 124;

/// The matrices of one layer, as of [`Shape::layer_gemms`], its norms, and its part of the cache.
#[derive(Debug)]
pub(super) struct Layer {
    /// Q, K and V in one; O; gate and up in one; down.
    pub(super) gemms: [DeviceMemory; 4],
    /// Before attention and before the feed-forward layer.
    pub(super) norms: [DeviceMemory; 2],
    /// Keys: [block][KV head][16 tokens][head dimension].
    pub(super) keys: DeviceMemory,
    /// Values, likewise.
    pub(super) values: DeviceMemory,
}

/// A model on the device.
#[derive(Debug)]
pub(super) struct Model {
    /// What it is.
    pub(super) shape: Shape,
    /// Its layers, each with memory of its own.
    pub(super) layers: Vec<Layer>,
    /// The last norm.
    pub(super) norm: DeviceMemory,
    /// The output embedding, its rows padded to [`padded_vocabulary`].
    pub(super) head: DeviceMemory,
    /// The input embedding, unless it is the output embedding.
    pub(super) embedding: Option<DeviceMemory>,
    /// Blocks of the KV cache.
    pub(super) blocks: u64,
}

/// Rows of the output embedding in memory: a multiple of 8, so that rows of logits begin on 16 bytes.
pub(super) fn padded_vocabulary(shape: &Shape) -> u32 {
    shape.vocabulary.next_multiple_of(8)
}

/// What the kernels ask of a shape.
///
/// # Errors
/// Every reason why they cannot run it.
pub(super) fn check(shape: &Shape) -> Result<()> {
    let mut faults = Vec::new();
    let mut refuse = |wrong: bool, why: &str| {
        if wrong {
            faults.push(Fault::error("E0709", format!("{}: the CUDA kernels need {why}", shape.name)));
        }
    };
    refuse(![64, 128].contains(&shape.head_dim), "heads of 64 or 128 dimensions");
    refuse(
        shape.kv_heads == 0 || !shape.heads.is_multiple_of(shape.kv_heads.max(1)),
        "as many query heads for each KV head",
    );
    let widths = [shape.hidden, shape.feed_forward];
    refuse(widths.iter().any(|w| *w == 0 || !w.is_multiple_of(8)), "widths that are multiples of 8");
    refuse(shape.layers == 0 || shape.vocabulary == 0, "a layer and a vocabulary");
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Bytes of the weights and of a KV cache of `blocks` blocks.
pub(super) fn bytes(shape: &Shape, blocks: u64) -> u64 {
    let padding = u64::from(padded_vocabulary(shape) - shape.vocabulary) * u64::from(shape.hidden) * BF16;
    shape.weight_bytes() + 2 * padding + blocks * KV_BLOCK * shape.kv_bytes_per_token()
}

impl Model {
    /// Allocates and fills everything.
    ///
    /// # Errors
    /// A shape the kernels cannot run, or that does not fit.
    pub(super) fn load(gpu: &Gpu, kernels: &Kernels, shape: &Shape, kv_tokens: u64) -> Result<Self> {
        check(shape)?;
        let blocks = kv_tokens.div_ceil(KV_BLOCK).max(1);
        let need = bytes(shape, blocks);
        let (free, _) = gpu.context.mem_get_info().map_err(failed("cannot ask for free memory"))?;
        if i32::try_from(blocks * KV_BLOCK).is_err() {
            return Err(fault(
                "E0709",
                format!("a KV cache of {kv_tokens} tokens; slots are counted in 31 bits"),
            ));
        }
        if need > free as u64 {
            let text = format!(
                "{} with a KV cache of {kv_tokens} tokens takes {:.1} GB, and {:.1} GB of the GPU are free",
                shape.name,
                giga(need),
                giga(free as u64)
            );
            let mut faults = fault("E0709", text);
            faults[0].help.push("take a smaller --shape, or end other programs on this GPU".to_owned());
            return Err(faults);
        }
        let mut seed = 0;
        let mut random = |elements: u64, exponent: u32| {
            let memory = gpu.allocate(elements * BF16)?;
            seed += 1;
            kernels.fill(&memory, seed, exponent).map(|()| memory)
        };
        let hidden = u64::from(shape.hidden);
        let cache = blocks * KV_BLOCK * u64::from(shape.kv_heads) * u64::from(shape.head_dim);
        let mut layers = Vec::new();
        for _ in 0..shape.layers {
            let [qkv, o, gate_up, down] = shape.layer_gemms().map(|gemm| random(gemm.elements(), SMALL));
            layers.push(Layer {
                gemms: [qkv?, o?, gate_up?, down?],
                norms: [random(hidden, NEAR_ONE)?, random(hidden, NEAR_ONE)?],
                keys: random(cache, NEAR_ONE)?,
                values: random(cache, NEAR_ONE)?,
            });
        }
        let embedding = u64::from(padded_vocabulary(shape)) * hidden;
        let model = Self {
            shape: shape.clone(),
            layers,
            norm: random(hidden, NEAR_ONE)?,
            head: random(embedding, SMALL)?,
            embedding: if shape.tied_embedding { None } else { Some(random(embedding, NEAR_ONE)?) },
            blocks,
        };
        gpu.synchronize()?;
        Ok(model)
    }

    /// Where the input embedding is.
    pub(super) fn embedding_address(&self) -> u64 {
        self.embedding.as_ref().unwrap_or(&self.head).address()
    }

    /// The output embedding as a product.
    pub(super) fn head_gemm(&self) -> Gemm {
        Gemm { outputs: padded_vocabulary(&self.shape), ..self.shape.lm_head() }
    }
}

/// Bytes as GB, for people.
#[allow(clippy::cast_precision_loss)]
fn giga(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            name: "Llama-3-8B".to_owned(),
            layers: 32,
            hidden: 4096,
            heads: 32,
            kv_heads: 8,
            head_dim: 128,
            feed_forward: 14336,
            vocabulary: 128_256,
            tied_embedding: false,
            qkv_bias: false,
            tensor_parallel: 1,
        }
    }

    #[test]
    fn the_memory_of_a_model_is_its_weights_and_its_cache() {
        // 8.03 billion parameters, and 128 KiB of cache a token.
        assert_eq!(bytes(&shape(), 0), 16_060_522_496);
        assert_eq!(bytes(&shape(), 1000) - bytes(&shape(), 0), 16_000 * 131_072);
        let odd = Shape { vocabulary: 128_251, ..shape() };
        assert_eq!(bytes(&odd, 0), 16_060_522_496);
    }

    #[test]
    fn every_reason_against_a_shape_is_named() {
        assert!(check(&shape()).is_ok());
        let odd = Shape { head_dim: 96, kv_heads: 5, hidden: 4100, layers: 0, ..shape() };
        assert_eq!(check(&odd).unwrap_err().len(), 4);
    }
}
