//! Floor 3: the discrete-event simulation. It knows no file, environment or wall clock.
//!
//! [`run()`] is the way in: a [`Simulation`] and a policy in, a
//! [`RunOutcome`](crate::outcome::RunOutcome) out. One run is one thread and one loop.

pub mod books;
pub mod capacity;
pub mod cluster;
pub mod compile_cache;
pub mod config;
pub mod deployment;
pub mod engine;
pub mod faults;
pub mod fluid;
pub mod metrics_server;
pub mod prometheus;
pub mod replica;
pub mod replica_set;
pub mod requests;
pub mod rollout;
pub mod router;
pub mod run;
pub mod sleep;
pub mod storage;
pub mod telemetry;
pub mod warmth;

mod attribution;
mod closing;
mod control;
mod digest;
mod facts;
mod fetching;
mod groups;
mod lifecycle;
mod nodes;
mod probes;
mod restarts;
mod rotation;
mod scale;
mod standing;
mod traffic;

#[cfg(test)]
mod chaos_tests;
#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod data_path_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod groups_tests;
#[cfg(test)]
mod knative_tests;
#[cfg(test)]
mod layered_tests;
#[cfg(test)]
mod llm_policies_tests;
#[cfg(test)]
mod probe_tests;
#[cfg(test)]
mod rollout_tests;
#[cfg(test)]
mod scale_tests;
#[cfg(test)]
mod storage_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod warmth_tests;
#[cfg(test)]
mod world_tests;

use std::sync::Arc;

pub use run::run;

use crate::kernel::{Distribution, SimDuration, Streams, rng::Purpose};
use crate::outcome::Phase;
use crate::outcome::breach::Slo;
use crate::policy::Setting;
use crate::policy::api::PodResources;
use crate::workload::Source;
use compile_cache::CachePlan;
use config::{ControlPlaneSpec, GatewaySpec, InitialSpec, ProbeSpec, ReadinessSpec, TelemetrySpec};
use engine::{BatchParams, Continuous, Engine, Stepped, Workers, WorkersParams};
use faults::FaultSpec;
use rollout::RolloutSpec;
use telemetry::CpuModel;
use warmth::{Cooling, KeepWarm};

/// Everything a run needs but its policy and replication: a resolved scenario.
#[derive(Clone)]
pub struct Simulation {
    /// Root of all random streams.
    pub seed: u64,
    /// The traffic.
    pub source: Arc<dyn Source>,
    /// The engine of each replica.
    pub engine: EngineParams,
    /// The pod of each replica.
    pub replica: ReplicaParams,
    /// The gateway.
    pub gateway: GatewaySpec,
    /// What lies between an order and its pods.
    pub control_plane: ControlPlaneSpec,
    /// The nodes.
    pub cluster: cluster::Plan,
    /// Images and weights.
    pub storage: storage::Plan,
    /// The cache of what engines compile; `None`: every start compiles, or what the profile has of it.
    pub compile_cache: Option<CachePlan>,
    /// What goes wrong.
    pub faults: Vec<FaultSpec>,
    /// Rolling updates, in the order of their times.
    pub rollouts: Vec<RolloutSpec>,
    /// Replicas at the start.
    pub initial: InitialSpec,
    /// Metrics.
    pub telemetry: TelemetrySpec,
    /// The world that policies' queries are asked in.
    pub setting: Arc<Setting>,
    /// Limits of a request.
    pub slo: Option<Slo>,
    /// Capacity of a replica, requests/s within the SLO; `None` without an SLO.
    pub capacity_per_s: Option<f64>,
    /// Number of the first request whose latencies and breaches count; those before only warm the system up.
    pub measure_from: u64,
}

/// The engine of each replica.
#[derive(Clone, Debug)]
pub enum EngineParams {
    /// Continuous batching.
    Continuous {
        /// Its settings; penalties apply to replicas that were not warmed.
        batch: BatchParams,
        /// Take every step instead of fast-forwarding.
        exact_steps: bool,
    },
    /// Workers behind a queue.
    Workers {
        /// Their settings.
        workers: WorkersParams,
        /// Service time of a request.
        service: Distribution,
    },
}

impl EngineParams {
    /// A factory of engines; warmed ones pay no penalty.
    fn factory(&self) -> Factory {
        match self {
            Self::Continuous { batch, exact_steps } => {
                let warm = BatchParams { penalties_fs: Arc::new([]), ..batch.clone() };
                Factory::Batch {
                    warm: Arc::new(warm),
                    cold: Arc::new(batch.clone()),
                    exact_steps: *exact_steps,
                }
            }
            Self::Workers { workers, .. } => {
                let warm = WorkersParams { penalties: Arc::new([]), ..workers.clone() };
                Factory::Workers { warm: Arc::new(warm), cold: Arc::new(workers.clone()) }
            }
        }
    }

    /// Whether a request of that length can ever run.
    pub fn fits(&self, prompt_tokens: u32, output_tokens: u32) -> bool {
        match self {
            Self::Continuous { batch, .. } => batch.fits(prompt_tokens, output_tokens),
            Self::Workers { .. } => true,
        }
    }

    /// Service time of the request with that number, the same under every policy.
    fn service(&self, streams: &Streams, id: u64) -> SimDuration {
        match self {
            Self::Continuous { .. } => SimDuration::ZERO,
            Self::Workers { service: Distribution::Constant(time), .. } => *time,
            Self::Workers { service, .. } => service.sample(&mut streams.stream(Purpose::Service, id)),
        }
    }
}

impl Simulation {
    /// What a start takes on a fresh node that has links and sources to itself: the sum of the medians.
    pub fn typical_start(&self) -> SimDuration {
        let pools = &self.cluster.pools;
        let first = pools.iter().position(|pool| !pool.takes.is_empty()).unwrap_or(0);
        let node = pools.get(first).map(|pool| &pool.spec).filter(|spec| spec.min_nodes < spec.max_nodes);
        let node: SimDuration = node.iter().map(|s| s.provision.median() + s.setup.median()).sum();
        let waits = self.replica.readiness.after != config::ReadyAfter::Weights;
        let stages = self.first_start().into_iter().filter(|(phase, _)| waits || *phase != Phase::WarmingUp);
        let stages: SimDuration = stages.map(|(_, time)| time.median()).sum();
        let (image, weights) = storage::alone(&self.storage, first);
        node + stages + image + weights + self.replica.readiness.endpoint_delay
    }
}

enum Factory {
    Batch { warm: Arc<BatchParams>, cold: Arc<BatchParams>, exact_steps: bool },
    Workers { warm: Arc<WorkersParams>, cold: Arc<WorkersParams> },
}

impl Factory {
    fn engine(&self, warmed: bool) -> Engine {
        match self {
            Self::Batch { warm, cold, exact_steps } => {
                let params = if warmed { warm.clone() } else { cold.clone() };
                if *exact_steps {
                    Engine::Stepped(Box::new(Stepped::new(params)))
                } else {
                    Engine::Continuous(Box::new(Continuous::new(params)))
                }
            }
            Self::Workers { warm, cold } => {
                let params = if warmed { warm.clone() } else { cold.clone() };
                Engine::Workers(Box::new(Workers::new(params)))
            }
        }
    }
}

/// The pod of each replica.
#[derive(Clone, Debug)]
pub struct ReplicaParams {
    /// GPUs it holds.
    pub gpus: u32,
    /// Its pods, each on a node of its own with as many of the GPUs as any other.
    pub group_size: u32,
    /// What its pod asks for.
    pub requests: PodResources,
    /// Memory of its containers, bytes; `None` where the scenario does not say.
    pub memory_usage: Option<i64>,
    /// CPU use; `None` where the profile does not know it.
    pub cpu: Option<CpuModel>,
    /// Start-up stages after it is bound to a node, in order.
    pub stages: Vec<(Phase, Distribution)>,
    /// When it counts as ready.
    pub readiness: ReadinessSpec,
    /// What its server must pass before it is probed for readiness.
    pub startup_probe: Option<ProbeSpec>,
    /// What it must pass all the time.
    pub liveness_probe: Option<ProbeSpec>,
    /// How long a drain may take.
    pub termination_grace_period: SimDuration,
    /// From its deletion until it leaves the endpoints.
    pub endpoint_removal_delay: SimDuration,
    /// From its deletion until it is told to stop; at most the grace period.
    pub pre_stop: SimDuration,
    /// Host time of each request outside the engine, added to its latencies.
    pub per_request: SimDuration,
    /// When an idle engine goes cold; `None` never.
    pub cooling: Option<Cooling>,
    /// What keeps it warm.
    pub keep_warm: Option<KeepWarm>,
}
