//! The engine of a scenario: what it says of it, with the profile's and vLLM's defaults.

use std::sync::Arc;

use super::resolve::Resolver;
use super::sweep::sweep;
use crate::kernel::SimDuration;
use crate::policy::engine_facts::EngineFacts;
use crate::profile::Profile;
use crate::profile::step_time::FS_PER_NS;
use crate::sim::EngineParams;
use crate::sim::config::{ContinuousSpec, EngineSpec, WorkersSpec};
use crate::sim::engine::{BLOCK_TOKENS, BatchParams, WorkersParams};

/// vLLM's default of `--gpu-memory-utilization` (see `docs/defaults.md`).
const GPU_MEMORY_UTILIZATION: f64 = 0.92;

impl Resolver<'_> {
    /// What a policy can know of the replicas' engine. `None` where it does not batch, and where `continuous_engine` says
    /// what is wrong with it.
    pub(super) fn engine_facts(&self, profile: &Profile) -> Option<EngineFacts> {
        let given = match &self.spec().engine {
            Some(EngineSpec::Workers(_)) => return None,
            Some(EngineSpec::Continuous(given)) => given.clone(),
            None => ContinuousSpec::default(),
        };
        let (default_tokens, default_seqs) = profile.default_budget();
        let max_num_batched_tokens = given.max_num_batched_tokens.unwrap_or(default_tokens);
        let max_num_seqs = given.max_num_seqs.unwrap_or(default_seqs.min(max_num_batched_tokens));
        let utilization = given.gpu_memory_utilization.unwrap_or(GPU_MEMORY_UTILIZATION);
        let kv_cache_tokens = given.kv_cache_tokens.or_else(|| profile.kv_cache_tokens(utilization).ok())?
            / BLOCK_TOKENS
            * BLOCK_TOKENS;
        if max_num_seqs == 0 || max_num_batched_tokens < max_num_seqs || kv_cache_tokens == 0 {
            return None;
        }
        Some(EngineFacts {
            kv_cache_tokens,
            max_num_batched_tokens,
            max_num_seqs,
            gpus: self.spec().replica.gpus.unwrap_or(profile.gpu.count),
            sweep: sweep(
                &profile.step_cost(max_num_seqs).ok()?,
                kv_cache_tokens,
                max_num_batched_tokens,
                max_num_seqs,
            ),
        })
    }

    pub(super) fn continuous_engine(
        &mut self,
        profile: &Profile,
        given: &ContinuousSpec,
        penalties: &[SimDuration],
        exact_steps: bool,
    ) -> Option<(EngineParams, EngineSpec)> {
        let (default_tokens, default_seqs) = profile.default_budget();
        let max_num_batched_tokens = given.max_num_batched_tokens.unwrap_or(default_tokens);
        let max_num_seqs = given.max_num_seqs.unwrap_or(default_seqs.min(max_num_batched_tokens));
        let at = |field: &'static str| ["engine", "continuous", field];
        if max_num_seqs == 0 || max_num_batched_tokens < max_num_seqs {
            let message = format!(
                "maxNumBatchedTokens {max_num_batched_tokens} must be at least maxNumSeqs {max_num_seqs}, and that at least 1"
            );
            self.fault(
                "E0305",
                &at("maxNumBatchedTokens"),
                message,
                "each running sequence takes a token of every step",
            );
            return None;
        }
        let utilization = given.gpu_memory_utilization.unwrap_or(GPU_MEMORY_UTILIZATION);
        let kv_cache_tokens = match given.kv_cache_tokens {
            Some(tokens) => tokens,
            None => match profile.kv_cache_tokens(utilization) {
                Ok(tokens) => tokens,
                Err(error) => {
                    let help =
                        "use more GPUs a replica, a smaller or quantised model, or give `kvCacheTokens`";
                    self.fault("E0501", &at("gpuMemoryUtilization"), error.to_string(), help);
                    return None;
                }
            },
        };
        let kv_blocks = kv_cache_tokens / BLOCK_TOKENS;
        if kv_blocks == 0 {
            self.fault("E0306", &at("kvCacheTokens"), "the KV cache holds not one block of 16 tokens", "");
            return None;
        }
        let cost = match profile.step_cost(max_num_seqs) {
            Ok(cost) => cost,
            Err(error) => {
                let help = "use a profile with step times, or `engine: { workers: .. }`";
                self.fault("E0502", &["profile"], error.to_string(), help);
                return None;
            }
        };
        let max_model_len =
            given.max_model_len.unwrap_or(u32::try_from(kv_blocks * BLOCK_TOKENS).unwrap_or(u32::MAX));
        let batch = BatchParams {
            cost: Arc::new(cost),
            max_num_batched_tokens,
            max_num_seqs,
            kv_blocks,
            max_model_len,
            penalties_fs: penalties.iter().map(|p| p.as_nanos().saturating_mul(FS_PER_NS)).collect(),
            track_gaps: self.spec().slo.as_ref().is_some_and(|slo| slo.itl.is_some()),
        };
        let spec = ContinuousSpec {
            max_num_batched_tokens: Some(max_num_batched_tokens),
            max_num_seqs: Some(max_num_seqs),
            max_model_len: Some(max_model_len),
            kv_cache_tokens: Some(kv_cache_tokens),
            gpu_memory_utilization: Some(utilization).filter(|_| given.kv_cache_tokens.is_none()),
        };
        Some((EngineParams::Continuous { batch, exact_steps }, EngineSpec::Continuous(spec)))
    }
}

pub(super) fn workers_engine(spec: WorkersSpec, penalties: &[SimDuration]) -> (EngineParams, EngineSpec) {
    let workers = WorkersParams {
        workers: spec.workers,
        queue_limit: spec.queue_limit,
        penalties: penalties.iter().copied().collect(),
    };
    (EngineParams::Workers { workers, service: spec.service.clone() }, EngineSpec::Workers(spec))
}
