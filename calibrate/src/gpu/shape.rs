//! Shapes of decoder-only transformers: what is multiplied with what, and how many bytes that is.

use serde::{Deserialize, Serialize};

use crate::{Fault, Result};

/// One GPU's share of a dense decoder-only transformer in bf16: gated feed-forward layers,
/// RMS norms, grouped-query attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shape {
    /// As people call it: `Llama-3-8B`.
    pub name: String,
    /// Layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads on this GPU.
    pub heads: u32,
    /// KV heads on this GPU.
    pub kv_heads: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Width of the feed-forward layer on this GPU.
    pub feed_forward: u32,
    /// Rows of the output embedding on this GPU.
    pub vocabulary: u32,
    /// Whether the input embedding is the output embedding.
    pub tied_embedding: bool,
    /// Whether Q, K and V have a bias: it counts as parameters, and no kernel adds it.
    pub qkv_bias: bool,
    /// GPUs the model is split over; the other fields are one GPU's share.
    pub tensor_parallel: u32,
}

/// A product of activations with a weight matrix of `outputs` x `inputs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gemm {
    /// `qkv`, `o`, `gateUp`, `down`, `lmHead`.
    pub name: &'static str,
    /// Rows of the weight matrix.
    pub outputs: u32,
    /// Columns of the weight matrix.
    pub inputs: u32,
}

impl Gemm {
    /// Elements of the weight matrix.
    pub const fn elements(&self) -> u64 {
        self.outputs as u64 * self.inputs as u64
    }
}

/// Bytes of a bf16.
pub const BF16: u64 = 2;

impl Shape {
    /// The products of one layer, in order.
    pub const fn layer_gemms(&self) -> [Gemm; 4] {
        let attention = self.heads * self.head_dim;
        let qkv = (self.heads + 2 * self.kv_heads) * self.head_dim;
        [
            Gemm { name: "qkv", outputs: qkv, inputs: self.hidden },
            Gemm { name: "o", outputs: self.hidden, inputs: attention },
            Gemm { name: "gateUp", outputs: 2 * self.feed_forward, inputs: self.hidden },
            Gemm { name: "down", outputs: self.hidden, inputs: self.feed_forward },
        ]
    }

    /// The output embedding.
    pub const fn lm_head(&self) -> Gemm {
        Gemm { name: "lmHead", outputs: self.vocabulary, inputs: self.hidden }
    }

    /// Parameters of one layer: products, two norms, biases.
    pub fn layer_parameters(&self) -> u64 {
        let products: u64 = self.layer_gemms().iter().map(Gemm::elements).sum();
        let bias = if self.qkv_bias { self.layer_gemms()[0].outputs } else { 0 };
        products + 2 * u64::from(self.hidden) + u64::from(bias)
    }

    /// Parameters on this GPU that every decode step reads: all but the input embedding.
    pub fn read_parameters(&self) -> u64 {
        u64::from(self.layers) * self.layer_parameters() + u64::from(self.hidden) + self.lm_head().elements()
    }

    /// Parameters on this GPU.
    pub fn parameters(&self) -> u64 {
        self.read_parameters() + if self.tied_embedding { 0 } else { self.lm_head().elements() }
    }

    /// Bytes of the weights on this GPU.
    pub fn weight_bytes(&self) -> u64 {
        self.parameters() * BF16
    }

    /// Bytes of the KV cache of one token on this GPU: K and V of every layer.
    pub const fn kv_bytes_per_token(&self) -> u64 {
        2 * BF16 * self.kv_heads as u64 * self.head_dim as u64 * self.layers as u64
    }
}

/// The shapes that `--shape` names, with what they are.
pub const BUILT_IN: [(&str, &str); 5] = [
    ("llama-3-8b", "Llama-3-8B"),
    ("qwen2.5-7b", "Qwen2.5-7B"),
    ("llama-3-70b-tp4", "one of four tensor-parallel shards of Llama-3-70B"),
    ("qwen2.5-0.5b", "Qwen2.5-0.5B"),
    ("tiny", "2 layers of 64, for a CPU and for tests; no real model"),
];

/// A built-in shape; sizes from the `config.json` their authors publish.
pub fn built_in(name: &str) -> Option<Shape> {
    let whole =
        |name: &str, layers, hidden, [heads, kv_heads, head_dim]: [u32; 3], feed_forward, vocabulary| Shape {
            name: name.to_owned(),
            layers,
            hidden,
            heads,
            kv_heads,
            head_dim,
            feed_forward,
            vocabulary,
            tied_embedding: false,
            qkv_bias: false,
            tensor_parallel: 1,
        };
    let shape = match name.to_ascii_lowercase().as_str() {
        "llama-3-8b" => whole("Llama-3-8B", 32, 4096, [32, 8, 128], 14_336, 128_256),
        "qwen2.5-7b" => {
            Shape { qkv_bias: true, ..whole("Qwen2.5-7B", 28, 3584, [28, 4, 128], 18_944, 152_064) }
        }
        // A quarter of 64 heads, 8 KV heads, a feed-forward width of 28672 and 128256 words.
        "llama-3-70b-tp4" => {
            Shape { tensor_parallel: 4, ..whole("Llama-3-70B", 80, 8192, [16, 2, 128], 7168, 32_064) }
        }
        "qwen2.5-0.5b" => Shape {
            qkv_bias: true,
            tied_embedding: true,
            ..whole("Qwen2.5-0.5B", 24, 896, [14, 2, 64], 4864, 151_936)
        },
        "tiny" => whole("tiny", 2, 64, [4, 2, 16], 128, 512),
        _ => return None,
    };
    Some(shape)
}

impl Shape {
    /// One GPU's share of a whole model. KV heads fewer than GPUs are repeated, and the
    /// vocabulary is rounded up, as serving engines do.
    ///
    /// # Errors
    /// E0710, all reasons why it cannot be split so.
    pub fn split(mut self, gpus: u32) -> Result<Self> {
        let mut faults = Vec::new();
        let mut refuse = |what: &str, count: u32| {
            let message = format!("{}: {count} {what} cannot be split over {gpus} GPUs", self.name);
            faults.push(Fault::error("E0710", message));
        };
        if !self.heads.is_multiple_of(gpus) {
            refuse("query heads", self.heads);
        }
        if !self.kv_heads.is_multiple_of(gpus) && (gpus == 0 || !gpus.is_multiple_of(self.kv_heads)) {
            refuse("KV heads", self.kv_heads);
        }
        if !self.feed_forward.is_multiple_of(gpus) {
            refuse("columns of the feed-forward layer", self.feed_forward);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        self.heads /= gpus;
        self.kv_heads = (self.kv_heads / gpus).max(1);
        self.feed_forward /= gpus;
        self.vocabulary = self.vocabulary.div_ceil(gpus);
        self.tensor_parallel *= gpus;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_the_authors_count() {
        // Model cards: 8.03 B; 7.62 B; 0.49 B.
        for (name, expected) in
            [("llama-3-8b", 8_030_261_248), ("qwen2.5-7b", 7_615_616_512), ("qwen2.5-0.5b", 494_032_768)]
        {
            assert_eq!(built_in(name).unwrap().parameters(), expected, "{name}");
        }
        for (name, _) in BUILT_IN {
            assert!(built_in(name).is_some(), "{name}");
        }
        assert_eq!(built_in("llama-4"), None);
    }

    #[test]
    fn a_token_takes_k_and_v_of_every_layer() {
        for (name, expected) in [
            ("llama-3-8b", 131_072),
            ("qwen2.5-7b", 57_344),
            ("llama-3-70b-tp4", 81_920),
            ("qwen2.5-0.5b", 12_288),
        ] {
            assert_eq!(built_in(name).unwrap().kv_bytes_per_token(), expected, "{name}");
        }
    }

    #[test]
    fn products_are_merged_as_engines_merge_them() {
        let sizes = |name| built_in(name).unwrap().layer_gemms().map(|g| (g.name, g.outputs, g.inputs));
        assert_eq!(
            sizes("llama-3-8b"),
            [("qkv", 6144, 4096), ("o", 4096, 4096), ("gateUp", 28_672, 4096), ("down", 4096, 14_336)]
        );
        assert_eq!(built_in("llama-3-8b").unwrap().lm_head().elements(), 128_256 * 4096);
    }

    #[test]
    fn a_split_divides_heads_and_says_what_it_cannot() {
        let whole = Shape { heads: 64, kv_heads: 8, ..built_in("llama-3-8b").unwrap() };
        let share = whole.clone().split(16).unwrap();
        assert_eq!((share.heads, share.kv_heads, share.feed_forward, share.vocabulary), (4, 1, 896, 8016));
        assert_eq!(share.tensor_parallel, 16);
        let refused = whole.clone().split(3).unwrap_err();
        assert_eq!(refused.len(), 3, "{refused:?}");
        assert!(refused[0].message.contains("64 query heads cannot be split over 3 GPUs"), "{refused:?}");
        assert_eq!(whole.split(0).unwrap_err().len(), 3);
    }
}
