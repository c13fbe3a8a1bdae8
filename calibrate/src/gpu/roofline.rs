//! The time below which no kernel can be: bytes over bandwidth, or operations over peak.
//!
//! Decode reads all weights but the input embedding, and the KV cache of every token; prefill
//! multiplies every new token with every weight. Nothing else is counted, so the floor is a
//! little low: measured steps of good kernels lie at 1.1 to 1.8 times it.

use super::backend::{Device, Work};
use super::shape::{BF16, Gemm, Shape};

/// What a device can do at best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofline {
    /// bytes/s.
    pub bandwidth: f64,
    /// FLOP/s.
    pub flops: f64,
}

impl Roofline {
    /// The roofline of a device.
    pub fn of(device: &Device) -> Self {
        Self { bandwidth: device.bandwidth, flops: device.flops }
    }

    /// The least time of `work`, µs.
    pub fn floor_us(&self, shape: &Shape, work: &Work) -> f64 {
        (bytes(shape, work) / self.bandwidth).max(operations(shape, work) / self.flops) * 1e6
    }
}

/// Bytes that must come from memory: weights once, K and V of every token attended to.
pub fn bytes(shape: &Shape, work: &Work) -> f64 {
    let cached = match *work {
        Work::Linear { .. } => 0,
        Work::DecodeAttention { batch, context } => product(batch, context),
        Work::PrefillAttention { tokens, context } => u64::from(tokens) + u64::from(context),
        Work::Forward { batch, context, prefill, prefill_context } => {
            let chunk = if prefill > 0 { u64::from(prefill) + u64::from(prefill_context) } else { 0 };
            product(batch, context) + chunk
        }
    };
    let mut weights = 0;
    if matches!(work, Work::Linear { .. } | Work::Forward { .. }) {
        weights += u64::from(shape.layers) * layer_elements(shape);
        weights += if work.head_rows() > 0 { shape.lm_head().elements() } else { 0 };
    }
    weights as f64 * BF16 as f64 + cached as f64 * shape.kv_bytes_per_token() as f64
}

/// Multiplications and additions of the products and of causal attention.
pub fn operations(shape: &Shape, work: &Work) -> f64 {
    let layers = f64::from(shape.layers);
    // Q times K and the weights times V: two products of `head_dim` for each pair of tokens.
    let pair = 4.0 * f64::from(shape.heads) * f64::from(shape.head_dim) * layers;
    let chunk =
        |tokens: u32, context: u32| f64::from(tokens) * (f64::from(context) + f64::from(tokens) / 2.0);
    let pairs = match *work {
        Work::Linear { .. } => 0.0,
        Work::DecodeAttention { batch, context } => product(batch, context) as f64,
        Work::PrefillAttention { tokens, context } => chunk(tokens, context),
        Work::Forward { batch, context, prefill, prefill_context } => {
            product(batch, context) as f64 + chunk(prefill, prefill_context)
        }
    };
    let rows = match work {
        Work::Linear { .. } | Work::Forward { .. } => f64::from(work.rows()),
        Work::DecodeAttention { .. } | Work::PrefillAttention { .. } => 0.0,
    };
    let products = 2.0 * rows * layers * layer_elements(shape) as f64;
    let head = 2.0 * f64::from(work.head_rows()) * shape.lm_head().elements() as f64;
    products + head + pair * pairs
}

fn layer_elements(shape: &Shape) -> u64 {
    shape.layer_gemms().iter().map(Gemm::elements).sum()
}

fn product(a: u32, b: u32) -> u64 {
    u64::from(a) * u64::from(b)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;
    use crate::gpu::shape::built_in;

    /// The bandwidth and the sustained bf16 rate the reference table divides by.
    const TABLE: Roofline = Roofline { bandwidth: 4.8e12, flops: 790e12 };

    fn decode(batch: u32, context: u32) -> Work {
        Work::Forward { batch, context, prefill: 0, prefill_context: 0 }
    }

    #[test]
    fn decode_floors_are_those_of_the_table() {
        for (name, batch, context, expected_ms) in [
            ("llama-3-8b", 1, 1024, 3.1),
            ("llama-3-8b", 32, 2048, 4.9),
            ("llama-3-8b", 64, 2048, 6.7),
            ("llama-3-8b", 128, 2048, 10.3),
            ("qwen2.5-7b", 1, 1024, 2.95),
            ("llama-3-70b-tp4", 1, 1024, 7.2),
            ("llama-3-70b-tp4", 32, 2048, 8.4),
            ("llama-3-70b-tp4", 64, 2048, 9.5),
            ("llama-3-70b-tp4", 128, 2048, 11.7),
            ("qwen2.5-0.5b", 1, 128, 0.2),
        ] {
            let floor_ms = TABLE.floor_us(&built_in(name).unwrap(), &decode(batch, context)) / 1e3;
            assert!((floor_ms - expected_ms).abs() < 0.06, "{name} {batch}x{context}: {floor_ms} ms");
        }
    }

    #[test]
    fn prefill_floors_are_those_of_the_table() {
        let shape = built_in("llama-3-8b").unwrap();
        for (tokens, expected_ms) in [(512, 9.8), (2048, 40.0), (8192, 178.0)] {
            let work = Work::Forward { batch: 0, context: 0, prefill: tokens, prefill_context: 0 };
            // The table multiplies every token with the output embedding; engines and we only the last.
            let head = 2.0 * f64::from(tokens - 1) * shape.lm_head().elements() as f64 / TABLE.flops * 1e3;
            let floor_ms = TABLE.floor_us(&shape, &work) / 1e3 + head;
            assert!((floor_ms / expected_ms - 1.0).abs() < 0.015, "{tokens}: {floor_ms} ms");
        }
    }

    #[test]
    fn a_step_is_its_parts() {
        let shape = built_in("qwen2.5-7b").unwrap();
        let (linear, attention) =
            (Work::Linear { tokens: 64 }, Work::DecodeAttention { batch: 64, context: 2048 });
        let whole = decode(64, 2048);
        assert_eq!(bytes(&shape, &whole), bytes(&shape, &linear) + bytes(&shape, &attention));
        assert_eq!(operations(&shape, &whole), operations(&shape, &linear) + operations(&shape, &attention));
        // Cached tokens are read, not multiplied with weights.
        let short = Work::PrefillAttention { tokens: 256, context: 0 };
        let long = Work::PrefillAttention { tokens: 256, context: 256 };
        assert_eq!(operations(&shape, &long), 3.0 * operations(&shape, &short));
        assert_eq!(bytes(&shape, &long), 2.0 * bytes(&shape, &short));
    }

    #[test]
    fn large_batches_are_bound_by_operations() {
        let shape = built_in("llama-3-8b").unwrap();
        let doubled = Roofline { flops: 2.0 * TABLE.flops, ..TABLE };
        let linear = |tokens| Work::Linear { tokens };
        assert_eq!(TABLE.floor_us(&shape, &linear(8)), doubled.floor_us(&shape, &linear(8)));
        let ratio = TABLE.floor_us(&shape, &linear(4096)) / doubled.floor_us(&shape, &linear(4096));
        assert!((ratio - 2.0).abs() < 1e-9, "{ratio}");
    }
}
