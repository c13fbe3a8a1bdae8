//! Requests a second: `cargo bench --bench engine`. Of one continuous engine by itself, and of
//! the whole simulation (8 replicas of `benches/azure-8.yaml`, fewer requests).

use std::path::Path;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use thawline::kernel::{SimDuration, SimTime};
use thawline::profile::StepCost;
use thawline::scenario;
use thawline::sim;
use thawline::sim::engine::{BatchParams, Continuous, DecodeRun, Job, Sink};

/// Requests of one measurement.
const REQUESTS: u32 = 20_000;

fn main() {
    divan::main();
}

/// Counts requests that end, and listens to nothing else.
#[derive(Default)]
struct Ends(u32);

impl Sink for Ends {
    fn scheduled(&mut self, _: u32, _: SimTime) {}
    fn first_token(&mut self, _: u32, _: SimTime) {}
    fn finished(&mut self, _: u32, _: SimTime, _: u64) {
        self.0 += 1;
    }
    fn preempted(&mut self, _: u32, _: SimTime) {}
    fn decoded(&mut self, _: DecodeRun) {}
    fn gap(&mut self, _: u32, _: SimDuration) {}
    fn prefilled(&mut self, _: u64) {}
    fn stepped(&mut self, _: u64, _: u64) {}
    fn stalled(&mut self, _: SimDuration) {}
}

/// An engine like that of `benches/8b.yaml`: decode 5.64 ms + 30 us a sequence + 46 ns a KV token.
fn engine() -> Continuous {
    const FS_PER_NS: i64 = 1_000_000;
    let cost = StepCost::affine(
        [5_640_000 * FS_PER_NS, 30_000 * FS_PER_NS, 46 * FS_PER_NS],
        [5_640_000 * FS_PER_NS, 32_500 * FS_PER_NS, FS_PER_NS],
        256,
    );
    Continuous::new(Arc::new(BatchParams {
        cost: Arc::new(cost),
        max_num_batched_tokens: 2048,
        max_num_seqs: 256,
        kv_blocks: 25_000,
        max_model_len: 400_000,
        penalties_fs: Arc::new([]),
        track_gaps: false,
    }))
}

/// Requests of 1,000 prompt and 200 output tokens, 12 a second.
#[divan::bench]
fn continuous_engine(bencher: Bencher) {
    bencher.counter(ItemsCount::new(REQUESTS)).with_inputs(engine).bench_local_values(|mut engine| {
        let mut ends = Ends::default();
        let mut slot = 0;
        let gap = SimDuration::from_secs(1) / 12;
        let mut arrival = SimTime::ZERO;
        while ends.0 < REQUESTS {
            let turn = engine.next_turn();
            if slot < REQUESTS && turn.is_none_or(|at| arrival < at) {
                let job = Job { slot, prompt_tokens: 1000, output_tokens: 200, service: SimDuration::ZERO };
                engine.submit(arrival, job).expect("a continuous engine has no queue limit");
                slot += 1;
                arrival += gap;
            } else {
                engine.turn(turn.expect("requests are left in it"), &mut ends);
            }
        }
        engine
    });
}

/// Workload, gateway, engines, telemetry, ledger, causes and digest together.
#[divan::bench]
fn whole_simulation(bencher: Bencher) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/azure-8.yaml");
    let scenario = scenario::load(&path, &[format!("workload.requests={REQUESTS}")]).expect("it is shipped");
    let resolved = scenario::resolve(&scenario, false).map_err(|_| "a fault").expect("it is shipped");
    bencher.counter(ItemsCount::new(REQUESTS)).bench_local(|| {
        sim::run(
            &resolved.simulation,
            resolved.policies["fixed"].build(&resolved.simulation.setting),
            0,
            None,
        )
        .expect("its trace is there")
    });
}
