//! What is known of the engine of every replica before it runs: what vLLM says of itself (`vllm:cache_config_info` and its
//! arguments), and what a profiling sweep measures.

use std::sync::Arc;

/// A batching engine.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineFacts {
    /// KV cache, tokens.
    pub kv_cache_tokens: u64,
    /// Token budget of a step.
    pub max_num_batched_tokens: u32,
    /// Most sequences in a batch.
    pub max_num_seqs: u32,
    /// GPUs of a replica.
    pub gpus: u32,
    /// Steps that a sweep over what prefills and what decodes has timed.
    pub sweep: Arc<[SweptStep]>,
}

/// One step of a sweep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SweptStep {
    /// Prompt tokens that it prefills.
    pub prefill_tokens: u64,
    /// KV tokens that its decoding sequences read.
    pub decode_kv: u64,
    /// Its time, s.
    pub time_s: f64,
}
