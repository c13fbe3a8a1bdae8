//! A small profile for unit tests, all round numbers.

use super::memory::MemorySpec;
use super::schema::{
    DecodeFit, DecodeGrid, DecodeSpec, EngineVersion, Gpu, HostOverhead, MeasuredRange, PlaneSpec,
    PrefillFit, PrefillSpec, Profile, Stage, StartUpStage, StepTimeSpec,
};
use super::sourced::{Provenance, Sourced};
use crate::kernel::{Bytes, Distribution, SimDuration};

pub fn assumed<T>(value: T) -> Sourced<T> {
    Sourced { value, provenance: Provenance::Assumed, source: None, date: None, note: None }
}

pub fn profile() -> Profile {
    let stage = |stage, secs| StartUpStage {
        stage,
        label: None,
        time: assumed(Distribution::Constant(SimDuration::from_secs(secs))),
        cached: None,
    };
    let fit = DecodeFit {
        base_ms: 10.0,
        per_sequence_us: 50.0,
        per_kv_token_ns: 30.0,
        hinges: vec![],
        errors: None,
    };
    let planes = vec![
        PlaneSpec { base_ms: 10.0, per_token_us: 1.0, per_work_ns: 0.0 },
        PlaneSpec { base_ms: 8.0, per_token_us: 40.0, per_work_ns: 2.0 },
    ];
    Profile {
        schema_version: 1,
        name: "a-profile".into(),
        description: "For tests.".into(),
        model: "a model".into(),
        engine: EngineVersion { name: "an engine".into(), version: "1".into() },
        host: None,
        gpu: Gpu { name: "H100 SXM".into(), count: 2, memory: Bytes(80_000_000_000) },
        driver: None,
        start_up: vec![stage(Stage::ImagePull, 40), stage(Stage::WeightLoad, 25), stage(Stage::WarmUp, 6)],
        image: None,
        first_requests: None,
        sleep: None,
        step_time: Some(StepTimeSpec {
            decode: DecodeSpec { fit: Some(assumed(fit)), grid: None },
            prefill: PrefillSpec {
                max_planes: Some(assumed(PrefillFit { planes, errors: None })),
                grid: None,
            },
            linear_layers: None,
            measured: Some(MeasuredRange { batch: 6, kv_tokens: 100_000, prefill_tokens: 8_192 }),
        }),
        host_overhead: Some(HostOverhead {
            per_request: Some(assumed(SimDuration::from_millis(10))),
            per_step: Some(assumed(SimDuration::from_nanos(20_000))),
            per_token: Some(assumed(SimDuration::from_nanos(5_000))),
        }),
        memory: Some(MemorySpec {
            weights: assumed(Bytes(100_000_000_000)),
            kv_bytes_per_token: assumed(Bytes(200_000)),
            reserve_per_gpu: assumed(Bytes(3_000_000_000)),
        }),
        cpu: None,
        price_per_gpu_hour: None,
        validation: vec![],
    }
}

pub fn with_grid(batches: &[u32], kv_tokens: &[u64], times_us: &[Vec<f64>]) -> Profile {
    let mut profile = profile();
    let grid = DecodeGrid {
        batches: batches.to_vec(),
        kv_tokens: kv_tokens.to_vec(),
        times_us: times_us.to_vec(),
        roofline_ratios: vec![],
    };
    profile.step_time.as_mut().expect("the fixture has step times").decode.grid = Some(assumed(grid));
    profile
}
