//! GPU memory: what the weights leave for the KV cache, and what does not fit.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{Gpu, Profile};
use super::sourced::Sourced;
use crate::kernel::Bytes;

/// GPU memory of one replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemorySpec {
    /// Weights of the whole model, over all GPUs of the replica.
    pub weights: Sourced<Bytes>,
    /// KV cache of one token, over all GPUs of the replica.
    pub kv_bytes_per_token: Sourced<Bytes>,
    /// Activations, CUDA graphs and context on each GPU, inside the engine's share.
    pub reserve_per_gpu: Sourced<Bytes>,
}

/// Why no KV cache fits: the sum, written out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The profile says nothing about memory.
    #[error("profile `{name}` has no `memory` section, so the KV cache cannot be computed")]
    Unknown {
        /// The profile.
        name: String,
    },
    /// The share is not in (0, 1].
    #[error("gpuMemoryUtilization is {0}; it must be above 0 and at most 1")]
    Share(String),
    /// Weights and reserve leave no room for a single token.
    #[error("{0}")]
    DoesNotFit(Box<Sum>),
}

/// The arithmetic of a replica's memory, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The model.
    pub model: String,
    /// The GPUs.
    pub gpu: String,
    /// How many GPUs.
    pub gpus: u32,
    /// Memory of each.
    pub memory: u64,
    /// The engine's share as it was written.
    pub utilization: String,
    /// `gpus * memory * utilization`.
    pub usable: u64,
    /// Weights over all GPUs.
    pub weights: u64,
    /// Reserve over all GPUs.
    pub reserve: u64,
    /// KV cache of one token.
    pub kv_bytes_per_token: u64,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gb = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
        write!(
            f,
            "{} does not fit {} x {}: usable {} x {} x {} = {}; weights {} + reserve {} = {}; short by {}",
            self.model,
            self.gpus,
            self.gpu,
            self.gpus,
            gb(self.memory),
            self.utilization,
            gb(self.usable),
            gb(self.weights),
            gb(self.reserve),
            gb(self.weights + self.reserve),
            gb((self.weights + self.reserve + self.kv_bytes_per_token).saturating_sub(self.usable)),
        )
    }
}

impl Profile {
    /// Tokens that the KV cache of a replica holds at vLLM's `--gpu-memory-utilization`:
    /// `floor((gpus * (memory * utilization - reserve) - weights) / KV bytes per token)`.
    ///
    /// # Errors
    /// Without a memory section, with a share outside (0, 1], and when not one token fits.
    pub fn kv_cache_tokens(&self, gpu_memory_utilization: f64) -> Result<u64, MemoryError> {
        let Some(spec) = &self.memory else {
            return Err(MemoryError::Unknown { name: self.name.clone() });
        };
        if !(gpu_memory_utilization > 0.0 && gpu_memory_utilization <= 1.0) {
            return Err(MemoryError::Share(gpu_memory_utilization.to_string()));
        }
        let gpus = u64::from(self.gpu.count);
        let total = gpus.saturating_mul(self.gpu.memory.0);
        // Below 2^53 bytes (9 PB) the product is exact to a byte; above, to a few.
        let usable = (total as f64 * gpu_memory_utilization) as u64;
        let reserve = gpus.saturating_mul(spec.reserve_per_gpu.value.0);
        let weights = spec.weights.value.0;
        let per_token = spec.kv_bytes_per_token.value.0.max(1);
        let left = usable.saturating_sub(weights.saturating_add(reserve));
        match left / per_token {
            0 => Err(MemoryError::DoesNotFit(Box::new(Sum {
                model: self.model.clone(),
                gpu: self.gpu.name.clone(),
                gpus: self.gpu.count,
                memory: self.gpu.memory.0,
                utilization: gpu_memory_utilization.to_string(),
                usable,
                weights,
                reserve,
                kv_bytes_per_token: per_token,
            }))),
            tokens => Ok(tokens),
        }
    }

    /// vLLM's default (`--max-num-batched-tokens`, `--max-num-seqs`) on this GPU.
    pub fn default_budget(&self) -> (u32, u32) {
        default_budget(&self.gpu)
    }
}

/// vLLM's defaults for its API server: 8192 tokens and 1024 sequences from 70 GiB of GPU memory
/// on, A100 excepted; else 2048 and 256 (`EngineArgs.get_batch_defaults`, vllm/engine/arg_utils.py).
pub fn default_budget(gpu: &Gpu) -> (u32, u32) {
    let a100 = gpu.name.to_ascii_lowercase().contains("a100");
    if gpu.memory.0 >= 70 << 30 && !a100 { (8192, 1024) } else { (2048, 256) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    #[test]
    fn the_kv_cache_is_what_weights_and_reserve_leave() {
        let mut profile = fixture::profile();
        // 2 x (80 GB x 0.9 - 3 GB) - 100 GB = 38 GB; at 200,000 B a token: 190,000.
        assert_eq!(profile.kv_cache_tokens(0.9), Ok(190_000));
        profile.gpu.count = 1;
        let error = profile.kv_cache_tokens(0.9).unwrap_err().to_string();
        assert_eq!(
            error,
            "a model does not fit 1 x H100 SXM: usable 1 x 80.0 GB x 0.9 = 72.0 GB; \
             weights 100.0 GB + reserve 3.0 GB = 103.0 GB; short by 31.0 GB"
        );
        for share in [0.0, -1.0, 1.1, f64::NAN] {
            assert!(matches!(profile.kv_cache_tokens(share), Err(MemoryError::Share(_))), "{share}");
        }
        profile.memory = None;
        assert!(profile.kv_cache_tokens(0.9).unwrap_err().to_string().contains("no `memory` section"));
    }

    #[test]
    fn budgets_depend_on_the_gpu() {
        let check = |name: &str, memory: &str, expected: (u32, u32)| {
            let gpu = Gpu { name: name.into(), count: 1, memory: memory.parse().unwrap() };
            assert_eq!(default_budget(&gpu), expected, "{name}");
        };
        check("H100 SXM", "80G", (8192, 1024));
        check("H200 SXM", "141G", (8192, 1024));
        check("NVIDIA A100-SXM4-80GB", "80G", (2048, 256));
        check("L4", "24G", (2048, 256));
        check("70 GiB less a byte", "75161927679", (2048, 256));
        check("70 GiB", "70Gi", (8192, 1024));
    }
}
