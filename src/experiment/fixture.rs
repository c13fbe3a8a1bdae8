//! A simulation that takes no time, for the tests of this floor.

use std::sync::Arc;

use crate::kernel::{Distribution, SimDuration, SimTime, Streams, dist, rng::Purpose};
use crate::outcome::Phase;
use crate::policy::Setting;
use crate::policy::api::PodResources;
use crate::sim::cluster::{self, config::PoolSpec};
use crate::sim::config::{
    ControlPlaneSpec, GatewaySpec, InitialSpec, InitialState, ReadinessSpec, TelemetrySpec,
};
use crate::sim::engine::WorkersParams;
use crate::sim::{EngineParams, ReplicaParams, Simulation, storage};
use crate::workload::Request;
use crate::workload::request::Packed;

/// Four slots of five minutes, quiet, busy, quiet, middling; a replica serves a request a second; starts take a minute. And the slot.
pub fn small(seed: u64) -> (Simulation, SimDuration) {
    let secs = SimDuration::from_secs;
    let slot = secs(300);
    let mut rng = Streams::new(seed, 0).stream(Purpose::Arrivals, 0);
    let mut requests = Vec::new();
    let mut at = 0.0;
    while at < 1200.0 {
        let rate = [0.2, 1.6, 0.1, 0.7][(at / 300.0) as usize];
        at += dist::exponential(&mut rng) / rate;
        let arrival = SimTime::ZERO + SimDuration::from_secs_f64(at.min(1199.0)).expect("a short run");
        requests.push(Request { arrival, prompt_tokens: 1, output_tokens: 1 });
    }
    let sim = Simulation {
        seed,
        source: Arc::new(Packed { requests, span: secs(1200) }),
        engine: EngineParams::Workers {
            workers: WorkersParams { workers: 2, queue_limit: None, penalties: Arc::new([]) },
            service: Distribution::Constant(secs(2)),
        },
        replica: ReplicaParams {
            gpus: 1,
            group_size: 1,
            requests: PodResources::default(),
            memory_usage: None,
            cpu: None,
            stages: vec![(Phase::Loading, Distribution::Constant(secs(50)))],
            readiness: ReadinessSpec { period: secs(5), ..ReadinessSpec::default() },
            startup_probe: None,
            liveness_probe: None,
            termination_grace_period: secs(30),
            endpoint_removal_delay: SimDuration::ZERO,
            pre_stop: SimDuration::ZERO,
            per_request: SimDuration::ZERO,
            cooling: None,
            keep_warm: None,
        },
        gateway: GatewaySpec::default(),
        control_plane: ControlPlaneSpec::default(),
        cluster: cluster::Plan::of(
            PoolSpec {
                provision: Distribution::Constant(secs(10)),
                scale_down_unneeded: Some(SimDuration::ZERO),
                ..PoolSpec::plain(1, 3)
            },
            3_600_000,
        ),
        storage: storage::Plan::default(),
        compile_cache: None,
        faults: Vec::new(),
        rollouts: Vec::new(),
        initial: InitialSpec { replicas: None, state: InitialState::Warm },
        telemetry: TelemetrySpec::default(),
        setting: Arc::new(Setting::default()),
        slo: Some(crate::outcome::breach::Slo { e2e: Some(secs(12)), ..Default::default() }),
        capacity_per_s: Some(0.8),
        measure_from: 0,
    };
    (sim, slot)
}
