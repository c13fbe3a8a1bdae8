//! Seconds that each report takes, and the size of the page: `cargo bench --bench report`. The run is that of
//! `benches/report-week.yaml`, its first day for times and the whole week for the size.

use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;

use divan::Bencher;
use divan::counter::BytesCount;
use thawline::experiment::{ExperimentOutcome, Matrix, PolicyOutcome};
use thawline::report::{self, REPORTS, Summary};
use thawline::scenario;
use thawline::sim;

fn main() {
    let week = bytes(&outcome("168h"), "html");
    println!("report.html of a week, 8 policies, steps of 15 s: {week} bytes");
    divan::main();
}

/// What the run came to, up to `end`.
fn outcome(end: &str) -> Summary {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/report-week.yaml");
    let set = format!("workload.window={{to: {end}}}");
    let scenario = scenario::load(&path, &[set]).expect("it is shipped");
    let resolved = scenario::resolve(&scenario, false).map_err(|_| "a fault").expect("it is shipped");
    let specs: Vec<_> = resolved.policies.values().collect();
    let matrix = Matrix { policies: specs.len(), replications: resolved.header.replications, jobs: 0 };
    let one = |policy: usize, replication: u32| {
        let running = specs[policy].build(&resolved.simulation.setting);
        sim::run(&resolved.simulation, running, replication, None).map(|(outcome, _)| outcome)
    };
    let runs = matrix.run(one, |_| ()).expect("its trace is there");
    let policies = resolved.policies.keys().cloned().zip(runs);
    Summary::new(ExperimentOutcome {
        resolved: resolved.to_value(),
        header: resolved.header,
        gates: resolved.gates,
        lenient: false,
        policies: policies.map(|(name, runs)| PolicyOutcome { name, runs }).collect(),
        foresight: None,
    })
}

/// The day's summary, run once.
fn day() -> &'static Summary {
    static DAY: OnceLock<Summary> = OnceLock::new();
    DAY.get_or_init(|| outcome("24h"))
}

/// Counts what is written, and keeps nothing.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0 += buffer.len() as u64;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes of the report of that name.
fn bytes(summary: &Summary, name: &str) -> u64 {
    let mut count = Count(0);
    report::find(name).expect("there is such a report").write(summary, &mut count).expect("it takes all");
    count.0
}

#[divan::bench(args = REPORTS.iter().map(|report| report.name()))]
fn a_day(bencher: Bencher, name: &str) {
    let summary = day();
    bencher.counter(BytesCount::new(bytes(summary, name))).bench_local(|| bytes(summary, name));
}
