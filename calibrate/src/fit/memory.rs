//! Memory of a replica, from what engines' logs and models' shapes tell.

use thawline::kernel::Bytes;
use thawline::profile::memory::MemorySpec;

use super::parts::{Origin, Part, assumed};
use crate::raw::{Header, MemorySample};

/// Reserve of a GPU where no log tells it: this share of its memory.
const RESERVE_SHARE: f64 = 0.05;

/// The memory section, if weights and KV bytes are known.
pub fn memory(header: &Header, samples: &[&MemorySample], origin: &Origin, part: &mut Part) {
    if samples.is_empty() {
        return;
    }
    let first = |of: &dyn Fn(&MemorySample) -> Option<f64>| {
        samples.iter().find_map(|s| of(s).filter(|v| *v > 0.0).map(|value| (value, origin.with(&s.source))))
    };
    if let Some((tokens, _)) = first(&|s| s.kv_cache_tokens.map(|t| t as f64)) {
        part.note(format!(
            "memory: the server's KV cache held {tokens} tokens; a scenario sets it as `kvCacheTokens`"
        ));
    }
    let weights = first(&|s| s.weights_bytes.map(|b| b as f64));
    let per_token = first(&|s| s.kv_bytes_per_token).or_else(|| {
        first(&|s| Some(s.kv_cache_bytes? as f64 / s.kv_cache_tokens.filter(|t| *t > 0)? as f64))
    });
    let (Some(weights), Some(per_token)) = (weights, per_token) else {
        part.note("memory: left out; it takes the bytes of the weights and of a KV token");
        return;
    };
    let bytes = |(value, origin): (f64, Origin)| origin.measured(Bytes(value.round() as u64), None);
    let reserve = match (first(&|s| s.reserve_per_gpu_bytes.map(|b| b as f64)), &header.gpu) {
        (Some(reserve), _) => bytes(reserve),
        (None, Some(gpu)) => {
            let share = Bytes((gpu.memory.0 as f64 * RESERVE_SHARE) as u64);
            assumed(share, "No log tells it: 5 % of the memory for activations, graphs and context.")
        }
        (None, None) => return,
    };
    part.memory = Some(MemorySpec {
        weights: bytes(weights),
        kv_bytes_per_token: bytes(per_token),
        reserve_per_gpu: reserve,
    });
}
