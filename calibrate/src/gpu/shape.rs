//! Shapes of decoder-only transformers: what is multiplied with what, and how many bytes that is.

/// One GPU's share of a dense decoder-only transformer in bf16: gated feed-forward layers,
/// RMS norms, grouped-query attention.
#[derive(Clone, Debug, PartialEq, Eq)]
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
