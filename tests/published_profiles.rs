//! Each profile fitted to a published curve returns that curve: the real engine runs the
//! benchmark's closed loop, and its mean TTFT and TPOT are compared with the published
//! means at every published concurrency.
//!
//! The loop is the source's: `n` clients submit all at once and then each as its last
//! request ends, 10 requests a client, lengths uniform in 80 to 100 % of the nominal
//! ones, a budget of 8192 tokens and as many sequences as clients.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use thawline::kernel::dist::uniform;
use thawline::kernel::rng::{Purpose, Streams};
use thawline::kernel::{SimDuration, SimTime};
use thawline::profile::Profile;
use thawline::profile::schema::FitErrors;
use thawline::profile::shipped;
use thawline::sim::engine::{BLOCK_TOKENS, BatchParams, Continuous, DecodeRun, Engine, Job, Sink};

/// The share within which a simulated figure must agree with the published one.
const TOLERANCE: f64 = 0.10;
const ROUNDS: u32 = 10;
const BUDGET_TOKENS: u32 = 8192;
/// vLLM's default when the curves were measured.
const GPU_MEMORY_UTILIZATION: f64 = 0.9;

struct Target {
    isl: u32,
    osl: u32,
    clients: u32,
    ttft_ms: f64,
    tpot_ms: f64,
}

fn targets(csv: &str) -> Vec<Target> {
    let rows = csv.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_digit()));
    rows.map(|row| {
        let v: Vec<f64> = row.split(',').map(|f| f.parse().unwrap()).collect();
        Target { isl: v[0] as u32, osl: v[1] as u32, clients: v[2] as u32, ttft_ms: v[3], tpot_ms: v[4] }
    })
    .collect()
}

#[derive(Default)]
struct Log {
    first: BTreeMap<u32, SimTime>,
    finished: Vec<(u32, SimTime)>,
    preempted: u32,
}

impl Sink for Log {
    fn scheduled(&mut self, _: u32, _: SimTime) {}
    fn first_token(&mut self, slot: u32, at: SimTime) {
        self.first.insert(slot, at);
    }
    fn finished(&mut self, slot: u32, at: SimTime, _: u64) {
        self.finished.push((slot, at));
    }
    fn preempted(&mut self, _: u32, _: SimTime) {
        self.preempted += 1;
    }
    fn decoded(&mut self, _: DecodeRun) {}
    fn gap(&mut self, _: u32, _: SimDuration) {}
    fn prefilled(&mut self, _: u64) {}
    fn stepped(&mut self, _: u64, _: u64) {}
    fn stalled(&mut self, _: SimDuration) {}
}

/// Mean TTFT and TPOT of the closed loop, ms.
fn closed_loop(profile: &Profile, target: &Target) -> (f64, f64) {
    let mut engine = Engine::Continuous(Box::new(Continuous::new(Arc::new(BatchParams {
        cost: Arc::new(profile.step_cost(target.clients).unwrap()),
        max_num_batched_tokens: BUDGET_TOKENS,
        max_num_seqs: target.clients,
        kv_blocks: profile.kv_cache_tokens(GPU_MEMORY_UTILIZATION).unwrap() / BLOCK_TOKENS,
        max_model_len: u32::MAX,
        penalties_fs: Arc::new([]),
        track_gaps: false,
    }))));
    let mut rng = Streams::new(0, 0).stream(Purpose::Lengths, 0);
    let mut length = |nominal: u32| {
        let low = nominal * 4 / 5;
        low + (uniform(&mut rng) * f64::from(nominal - low + 1)) as u32
    };
    let mut jobs: Vec<Job> = Vec::new();
    let mut submitted: Vec<SimTime> = Vec::new();
    // When the host hands each request to the engine; all are delayed alike, so this is sorted.
    let mut arriving: VecDeque<(SimTime, u32)> = VecDeque::new();
    let mut submit = |at: SimTime,
                      arriving: &mut VecDeque<(SimTime, u32)>,
                      submitted: &mut Vec<SimTime>,
                      jobs: &mut Vec<Job>| {
        let slot = jobs.len() as u32;
        if slot < target.clients * ROUNDS {
            let (prompt_tokens, output_tokens) = (length(target.isl), length(target.osl));
            jobs.push(Job { slot, prompt_tokens, output_tokens, service: SimDuration::ZERO });
            submitted.push(at);
            arriving.push_back((at + profile.per_request(), slot));
        }
    };
    for _ in 0..target.clients {
        submit(SimTime::ZERO, &mut arriving, &mut submitted, &mut jobs);
    }
    let mut log = Log::default();
    let mut ended = 0;
    loop {
        let arrival = arriving.front().map(|(at, _)| *at);
        let turn = engine.next_turn();
        let now = match (turn, arrival) {
            (None, None) => break,
            (Some(turn), Some(arrival)) => turn.min(arrival),
            (one, other) => one.or(other).unwrap(),
        };
        // Completions rank before arrivals, and what arrives together is taken up together.
        if turn == Some(now) {
            engine.turn(now, &mut log);
        }
        while let Some((_, slot)) = arriving.pop_front_if(|(at, _)| *at == now) {
            engine.submit(now, jobs[slot as usize]).expect("the queue has no limit");
        }
        for (_, at) in &log.finished[ended..] {
            submit(*at, &mut arriving, &mut submitted, &mut jobs);
        }
        ended = log.finished.len();
    }
    assert_eq!(log.finished.len() as u32, target.clients * ROUNDS);
    let n = f64::from(target.clients * ROUNDS);
    let ttft = |(slot, _): &(u32, SimTime)| (log.first[slot] - submitted[*slot as usize]).as_millis_f64();
    let tpot = |(slot, at): &(u32, SimTime)| {
        (*at - log.first[slot]).as_millis_f64() / f64::from(jobs[*slot as usize].output_tokens - 1)
    };
    (log.finished.iter().map(ttft).sum::<f64>() / n, log.finished.iter().map(tpot).sum::<f64>() / n)
}

fn summary(errors: &[f64]) -> FitErrors {
    let mut errors: Vec<f64> = errors.iter().map(|e| e.abs()).collect();
    errors.sort_by(f64::total_cmp);
    let n = errors.len();
    // A tenth of a percent is as fine as a reader needs.
    let round = |x: f64| (x * 1e3).round() / 1e3;
    FitErrors {
        mape: round(errors.iter().sum::<f64>() / n as f64),
        p95: round(errors[(n * 95).div_ceil(100) - 1]),
        max: round(errors[n - 1]),
        points: n as u32,
    }
}

/// The profile meets every point within the tolerance, and its `validation` section says how well.
fn check(name: &str, csv: &str) {
    let profile = shipped::find(name).unwrap().profile();
    let targets = targets(csv);
    assert_eq!(targets.len(), 15, "{name}: three workloads at five concurrencies");
    let (mut ttft_errors, mut tpot_errors) = (Vec::new(), Vec::new());
    let mut report = vec![name.to_owned()];
    for t in &targets {
        let (ttft_ms, tpot_ms) = closed_loop(&profile, t);
        let (a, b) = (ttft_ms / t.ttft_ms - 1.0, tpot_ms / t.tpot_ms - 1.0);
        report.push(format!(
            "  {}/{} at {}: TTFT {ttft_ms:.1} ms, published {:.1} ({:+.1} %); TPOT {tpot_ms:.2} ms, published {:.2} ({:+.1} %)",
            t.isl,
            t.osl,
            t.clients,
            t.ttft_ms,
            a * 100.0,
            t.tpot_ms,
            b * 100.0
        ));
        ttft_errors.push(a);
        tpot_errors.push(b);
    }
    let report = report.join("\n");
    let worst = ttft_errors.iter().chain(&tpot_errors).fold(0.0, |m: f64, e| m.max(e.abs()));
    assert!(worst <= TOLERANCE, "{report}");
    for (quantity, errors) in [("mean TTFT", ttft_errors), ("mean TPOT", tpot_errors)] {
        let stated = profile.validation.iter().find(|v| v.quantity == quantity).unwrap().errors;
        assert_eq!(stated, summary(&errors), "{quantity} of {report}");
    }
}

macro_rules! published {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                check($name, include_str!(concat!("../profiles/fit/", $name, ".csv")));
            }
        )*
    };
}

published! {
    llama_70b_on_4_h100: "h100x4-llama3.1-70b-fp8-vllm",
    llama_70b_on_8_h100: "h100x8-llama3.1-70b-fp8-vllm",
    llama_70b_on_an_h200: "h200-llama3.1-70b-fp8-vllm",
    gpt_oss_120b_on_2_h100: "h100x2-gpt-oss-120b-vllm",
}
