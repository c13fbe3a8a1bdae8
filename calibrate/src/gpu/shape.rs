//! Shapes of decoder-only transformers: what is multiplied with what, and how many bytes that is.

/// One GPU's share of a dense decoder-only transformer in bf16.
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
    /// GPUs the model is split over; the other fields are one GPU's share.
    pub tensor_parallel: u32,
}
