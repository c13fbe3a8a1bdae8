//! Instructions under valgrind: `cargo bench --bench instructions`. It needs valgrind and
//! `cargo install gungraun-runner --version 0.20.0`; `benches/instructions.sh` needs valgrind
//! only and counts the whole program, which is what is tracked.

// The macros below write modules and constants without documentation.
#![allow(missing_docs)]

use std::hint::black_box;
use std::path::Path;

use gungraun::prelude::*;
use thawline::outcome::RunOutcome;
use thawline::scenario::{self, Resolved};
use thawline::sim;

fn resolved(requests: u32) -> Resolved {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/azure-8.yaml");
    let scenario = scenario::load(&path, &[format!("workload.requests={requests}")]).expect("it is shipped");
    scenario::resolve(&scenario, false).map_err(|_| "a fault").expect("it is shipped")
}

#[library_benchmark]
#[bench::two_thousand(args = (2_000), setup = resolved)]
#[bench::ten_thousand(args = (10_000), setup = resolved)]
fn run(resolved: Resolved) -> RunOutcome {
    let policy = resolved.policies["fixed"].build(&resolved.simulation.setting);
    black_box(sim::run(&resolved.simulation, policy, 0, None)).expect("its trace is there").0
}

library_benchmark_group!(name = simulation, benchmarks = run);
main!(library_benchmark_groups = simulation);
