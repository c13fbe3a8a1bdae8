//! A device's timings with known coefficients and noise: grid, fit, stages and flags come out right.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod common;

use common::{Draws, header};
use thawline::kernel::{Distribution, SimDuration};
use thawline::profile::schema::Stage;
use thawline_calibrate::fit::{Fitted, Options, fit};
use thawline_calibrate::raw::{
    Cache, DecodeSample, DeviceReading, Done, GraphCaptureSample, Kind, Launch, LinearSample, MemorySample,
    MixedSample, PrefillSample, RawFile, Record, Timing, TransferSample, WarmUpSample,
};

/// µs of a step: the linear layers over all tokens, and attention.
fn linear_us(tokens: f64) -> f64 {
    f64::max(4_000.0 + 2.0 * tokens, 25.0 * tokens)
}

fn decode_us(batch: f64, kv: f64) -> f64 {
    linear_us(batch) + 0.03 * kv
}

fn prefill_us(tokens: f64, context: f64) -> f64 {
    linear_us(tokens) + 1e-3 * tokens * (context + tokens / 2.0)
}

struct Bench {
    draws: Draws,
    records: Vec<Record>,
}

impl Bench {
    fn timing(&mut self, us: f64, launch: Launch) -> Timing {
        let samples_us = (0..20).map(|_| us * (1.0 + 0.01 * self.draws.noise())).collect();
        Timing { samples_us, roofline_us: Some(us / 1.5), launch: Some(launch), repeat: false }
    }

    fn decode(&mut self, batch: u32, kv_tokens: u64, scale: f64, launch: Launch, repeat: bool) {
        let us = decode_us(f64::from(batch), kv_tokens as f64) * scale;
        let timing = Timing { repeat, ..self.timing(us, launch) };
        self.records.push(Record::Decode(DecodeSample { batch, kv_tokens, timing }));
    }
}

fn measured(drift: f64) -> RawFile {
    let mut bench = Bench { draws: Draws::new(11), records: Vec::new() };
    for batch in [1, 4, 16, 32, 64, 128, 256] {
        for kv_tokens in [1_024, 16_384, 65_536, 262_144] {
            bench.decode(batch, kv_tokens, 1.0, Launch::Graph, false);
            bench.decode(batch, kv_tokens, 1.8, Launch::Eager, false);
        }
    }
    bench.decode(64, 65_536, drift, Launch::Graph, true);
    for tokens in [16, 64, 256, 512, 1024, 2048, 4096, 8192] {
        let timing = bench.timing(linear_us(tokens as f64), Launch::Eager);
        bench.records.push(Record::Linear(LinearSample { tokens, timing }));
        for context in [0, 4096] {
            let (n, c) = (tokens as f64, context as f64);
            let timing = bench.timing(prefill_us(n, c), Launch::Eager);
            bench.records.push(Record::Prefill(PrefillSample { tokens, context, timing }));
            let timing = bench.timing(prefill_us(n, c) - linear_us(n) + 20.0, Launch::Eager);
            bench.records.push(Record::PrefillAttention(PrefillSample { tokens, context, timing }));
        }
    }
    for (batch, tokens) in [(16, 512), (64, 1024), (128, 2048)] {
        let kv_tokens = u64::from(batch) * 1024;
        let us = linear_us(f64::from(batch) + tokens as f64)
            + 0.03 * kv_tokens as f64
            + 1e-3 * tokens as f64 * (tokens as f64 / 2.0);
        let timing = bench.timing(us, Launch::Eager);
        bench.records.push(Record::Mixed(MixedSample { batch, kv_tokens, tokens, context: 0, timing }));
    }
    let mut records = bench.records;
    for (what, bandwidth) in [("weight load, naive", 2e9), ("weight load, double-buffered", 8e9)] {
        for (cache, slower) in [(Cache::Cold, 4.0), (Cache::Warm, 1.0)] {
            for bytes in [1_u64 << 30, 4 << 30, 8 << 30] {
                let seconds = vec![0.5 + bytes as f64 * slower / bandwidth; 3];
                records.push(Record::Transfer(TransferSample {
                    what: what.to_owned(),
                    cache: Some(cache),
                    cached_share: None,
                    file_system: None,
                    bytes,
                    threads: 4,
                    block_bytes: 1 << 22,
                    seconds,
                }));
            }
        }
    }
    for batch in [1, 8, 64] {
        records.push(Record::GraphCapture(GraphCaptureSample {
            batch,
            capture_us: 300_000.0,
            first_launch_us: 20_000.0,
        }));
    }
    let mut samples_us = vec![5_000.0; 30];
    (samples_us[0], samples_us[1]) = (805_000.0, 25_000.0);
    records.push(Record::WarmUp(WarmUpSample { pass: "prefill 512".to_owned(), samples_us }));
    records.push(Record::Memory(MemorySample {
        weights_bytes: Some(16_000_000_000),
        kv_bytes_per_token: Some(131_072.0),
        source: "the shape".to_owned(),
        ..MemorySample::default()
    }));
    records.push(Record::Done(Done { seconds: 60.0 }));
    RawFile { header: header(Kind::Gpu), records, torn_bytes: 0 }
}

fn fitted(file: RawFile, cache: Cache) -> Fitted {
    fit(&[file], &Options { cache, ..Options::default() }).unwrap_or_else(|faults| panic!("{faults:?}"))
}

#[track_caller]
fn assert_within(value: f64, expected: f64, share: f64) {
    assert!((value / expected - 1.0).abs() <= share, "{value} against {expected}");
}

#[test]
fn coefficients_and_grids_come_back() {
    let Fitted { profile, report } = fitted(measured(1.0), Cache::Cold);
    let spec = profile.step_time.as_ref().unwrap();
    let decode = &spec.decode.fit.as_ref().unwrap().value;
    assert_within(decode.base_ms, 4.0, 0.03);
    assert_within(decode.per_kv_token_ns, 30.0, 0.03);
    assert_within(decode.at_batch_us(256), 25.0 * 256.0, 0.03);
    assert!(decode.errors.unwrap().mape < 0.02);

    // Graph launches, not the eager ones beside them.
    let grid = &spec.decode.grid.as_ref().unwrap().value;
    assert_eq!((grid.batches.len(), grid.kv_tokens.len()), (7, 4));
    for (row, batch) in grid.times_us.iter().zip(&grid.batches) {
        for (us, kv) in row.iter().zip(&grid.kv_tokens) {
            assert_within(*us, decode_us(f64::from(*batch), *kv as f64), 0.02);
        }
    }
    assert_within(grid.roofline_ratios[0][0], 1.5, 0.02);

    let prefill = &spec.prefill.max_planes.as_ref().unwrap().value;
    assert_eq!(prefill.planes.len(), 2);
    assert_within(prefill.planes[1].per_token_us, 25.0, 0.05);
    assert_within(prefill.planes[1].per_work_ns, 1.0, 0.05);
    assert_eq!(spec.prefill.grid.as_ref().unwrap().value.contexts, [0, 4096]);

    let linear = &spec.linear_layers.as_ref().unwrap().value;
    assert_within(linear.attention_per_work_ns, 1.0, 0.03);
    assert_within(linear.times_us[7], linear_us(8192.0), 0.02);
    let range = spec.measured.unwrap();
    assert_eq!((range.batch, range.kv_tokens, range.prefill_tokens), (256, 262_144, 8192));

    // Mixed steps follow the sum rule here, so the profile predicts them.
    let [mixed] = profile.validation.as_slice() else { panic!("{:?}", profile.validation) };
    assert!(mixed.errors.max < 0.03 && mixed.errors.points == 3, "{mixed:?}");
    assert_eq!(report.flags, []);
    assert_eq!(profile.host_overhead, None);
}

#[test]
fn stages_memory_and_first_requests_come_from_the_probes() {
    let weight_load = |cache| {
        let profile = fitted(measured(1.0), cache).profile;
        profile
            .start_up
            .iter()
            .find(|s| s.stage == Stage::WeightLoad)
            .unwrap()
            .time
            .value
            .median()
            .as_secs_f64()
    };
    // The double-buffered way: 0.5 s, and 16 GB at 2 or 8 GB/s.
    assert_within(weight_load(Cache::Cold), 8.5, 1e-3);
    assert_within(weight_load(Cache::Warm), 2.5, 1e-3);
    let profile = fitted(measured(1.0), Cache::Cold).profile;
    let graphs = profile.start_up.iter().find(|s| s.label.as_deref() == Some("graph capture")).unwrap();
    assert_eq!(graphs.time.value, Distribution::Constant(SimDuration::from_millis(960)));
    assert_eq!(profile.penalties(), [SimDuration::from_millis(800), SimDuration::from_millis(20)]);
    let memory = profile.memory.unwrap();
    assert_eq!((memory.weights.value.0, memory.kv_bytes_per_token.value.0), (16_000_000_000, 131_072));
}

#[test]
fn drift_and_throttling_are_in_the_description() {
    let mut file = measured(1.2);
    let done = file.records.pop().unwrap();
    file.records.push(Record::Device(DeviceReading {
        when: "at the end".to_owned(),
        sm_clock_mhz: None,
        memory_clock_mhz: None,
        temperature_c: None,
        power_w: None,
        throttle: vec!["power cap".to_owned()],
    }));
    file.records.push(done);
    let Fitted { profile, report } = fitted(file, Cache::Cold);
    assert!(profile.description.ends_with("Flags: throttled, drift."), "{}", profile.description);
    let drift = report.flags.iter().find(|f| f.flag == "drift").unwrap();
    assert!(drift.message.contains("differ by +"), "{drift:?}");
}

#[test]
fn a_hole_in_the_rectangle_leaves_the_fit() {
    let mut file = measured(1.0);
    // Each batch size at KV tokens of its own: no column is full.
    for record in &mut file.records {
        if let Record::Decode(sample) = record {
            sample.kv_tokens += u64::from(sample.batch);
        }
    }
    let Fitted { profile, report } = fitted(file, Cache::Cold);
    let decode = profile.step_time.unwrap().decode;
    assert!(decode.grid.is_none() && decode.fit.is_some());
    assert!(report.notes.iter().any(|n| n.contains("no full rectangle")), "{:?}", report.notes);
}
