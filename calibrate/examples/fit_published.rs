//! Fits step coefficients so that simulating a published closed-loop benchmark returns its
//! TTFT and TPOT.
//!
//! `cargo run --release -p thawline-calibrate --example fit_published -- profiles/fit/NAME.csv`
//!
//! A published TPOT contains other requests' prefill, so it is no step time. The benchmark
//! itself is simulated instead, in real numbers and with the steps of vLLM V1: every
//! decoding sequence gets a token, the rest of the budget goes to prefill chunks first come
//! first served, `n` clients submit all at once and then each as its last request ends.
//! Nelder-Mead over the logarithms of the coefficients (all are positive) minimises a high
//! power mean of the relative errors, from several fixed starts: the result is the same on
//! every run. The committed profiles were made with it; tests then drive the real engine.

use std::process::ExitCode;

use thawline::kernel::dist::uniform;
use thawline::kernel::rng::{Purpose, Streams};

/// One published point.
#[derive(Clone, Debug)]
struct Target {
    isl: u32,
    osl: u32,
    clients: u32,
    ttft_ms: f64,
    tpot_ms: f64,
}

/// How the source's client drew its lengths and how its server was started.
#[derive(Clone, Copy, Debug)]
struct Setup {
    /// Token budget of a step.
    budget: f64,
    /// Shortest length over the nominal one; lengths are uniform between.
    range: f64,
    /// Requests of each client.
    rounds: u32,
}

/// Step coefficients, ms.
#[derive(Clone, Debug)]
struct Model {
    base: f64,
    per_seq: f64,
    /// From this batch size on, a sequence costs this much instead.
    hinges: Vec<(f64, f64)>,
    per_kv: f64,
    per_token: f64,
    per_work: f64,
    per_request: f64,
}

impl Model {
    fn from_logs(x: &[f64], knots: &[f64]) -> Self {
        let v: Vec<f64> = x.iter().map(|l| l.exp()).collect();
        Self {
            base: v[0],
            per_seq: v[1],
            per_kv: v[2],
            per_token: v[3],
            per_work: v[4],
            per_request: v[5],
            hinges: knots.iter().copied().zip(v[6..].iter().copied()).collect(),
        }
    }

    fn decode(&self, batch: f64, kv: f64) -> f64 {
        let (mut time, mut before) = (self.base + self.per_seq * batch + self.per_kv * kv, self.per_seq);
        for (knot, slope) in &self.hinges {
            time += (slope - before) * (batch - knot).max(0.0);
            before = *slope;
        }
        time
    }

    fn step(&self, batch: f64, kv: f64, tokens: f64, work: f64) -> f64 {
        let prefill = self.per_token * tokens + self.per_work * work;
        // A step reads every weight once, whatever it computes: prefill has the base of decode.
        if batch > 0.0 { self.decode(batch, kv) + prefill } else { self.base + prefill }
    }
}

struct Sequence {
    prompt: f64,
    output: f64,
    done: f64,
    arrival: f64,
    first: f64,
}

/// Mean TTFT and TPOT of the closed loop, ms.
fn closed_loop(model: &Model, target: &Target, setup: Setup) -> (f64, f64) {
    let mut rng = Streams::new(0, 0).stream(Purpose::Lengths, 0);
    let mut draw = |nominal: u32| {
        let low = (f64::from(nominal) * setup.range).floor();
        low + (uniform(&mut rng) * (f64::from(nominal) - low + 1.0)).floor()
    };
    let mut left = target.clients * setup.rounds;
    let mut next = |arrival: f64| {
        left = left.checked_sub(1)?;
        let (prompt, output) = (draw(target.isl), draw(target.osl));
        Some(Sequence { prompt, output, done: 0.0, arrival, first: 0.0 })
    };
    let mut now = 0.0;
    // The order of arrival is the order of completion: the host delays all alike.
    let mut waiting: std::collections::VecDeque<Sequence> =
        (0..target.clients).filter_map(|_| next(0.0)).collect();
    let mut filling: Vec<Sequence> = Vec::new();
    let mut decoding: Vec<Sequence> = Vec::new();
    let (mut ttft, mut tpot, mut ended) = (0.0, 0.0, 0.0);
    while !(waiting.is_empty() && filling.is_empty() && decoding.is_empty()) {
        if filling.is_empty() && decoding.is_empty() {
            let ready = waiting.front().map_or(now, |s| s.arrival + model.per_request);
            now = f64::max(now, ready);
        }
        let batch = decoding.len() as f64;
        let kv: f64 = decoding.iter().map(|s| s.prompt + s.done).sum();
        let mut budget = setup.budget - batch;
        let (mut tokens, mut work) = (0.0, 0.0);
        let mut chunk = |s: &mut Sequence, budget: &mut f64| {
            let n = (s.prompt - s.done).min(*budget);
            work += n * (s.done + n / 2.0);
            tokens += n;
            s.done += n;
            *budget -= n;
        };
        for s in &mut filling {
            chunk(s, &mut budget);
        }
        while budget > 0.0 && waiting.front().is_some_and(|s| s.arrival + model.per_request <= now) {
            let Some(mut s) = waiting.pop_front() else { break };
            chunk(&mut s, &mut budget);
            filling.push(s);
        }
        let mut steps = 1.0;
        if tokens > 0.0 {
            now += model.step(batch, kv, tokens, work);
        } else {
            let one = model.decode(batch, kv);
            let growth = model.per_kv * batch;
            let until_finish = decoding.iter().map(|s| s.output - s.done).fold(f64::INFINITY, f64::min);
            let until_arrival = waiting.front().map_or(f64::INFINITY, |s| {
                let gap = s.arrival + model.per_request - now;
                // k steps take k*one + growth*k(k-1)/2.
                let (a, b) = (growth / 2.0, one - growth / 2.0);
                if a > 0.0 { ((b * b + 4.0 * a * gap).sqrt() - b) / (2.0 * a) } else { gap / b }
                    .ceil()
                    .max(1.0)
            });
            steps = until_finish.min(until_arrival);
            now += steps * one + growth * steps * (steps - 1.0) / 2.0;
        }
        let mut still = Vec::with_capacity(decoding.len() + 1);
        for mut s in decoding.drain(..) {
            s.done += steps;
            still.push(s);
        }
        let (full, rest): (Vec<_>, Vec<_>) = filling.drain(..).partition(|s| s.done >= s.prompt);
        filling = rest;
        for mut s in full {
            s.first = now;
            ttft += now - s.arrival;
            s.done = 1.0;
            still.push(s);
        }
        for s in still {
            if s.done < s.output {
                decoding.push(s);
                continue;
            }
            tpot += (now - s.first) / (s.output - 1.0);
            ended += 1.0;
            waiting.extend(next(now));
        }
    }
    (ttft / ended, tpot / ended)
}

fn errors(model: &Model, targets: &[Target], setup: Setup) -> Vec<(f64, f64)> {
    let relative = |t: &Target| {
        let (ttft, tpot) = closed_loop(model, t, setup);
        (ttft / t.ttft_ms - 1.0, tpot / t.tpot_ms - 1.0)
    };
    targets.iter().map(relative).collect()
}

/// Nelder and Mead's simplex (1965) with the usual coefficients.
fn nelder_mead(start: &[f64], spread: f64, rounds: u32, cost: &dyn Fn(&[f64]) -> f64) -> (Vec<f64>, f64) {
    let n = start.len();
    let scored = |x: Vec<f64>| {
        let c = cost(&x);
        (x, c)
    };
    let mut simplex: Vec<(Vec<f64>, f64)> = (0..=n)
        .map(|i| {
            let mut x = start.to_vec();
            if i > 0 {
                x[i - 1] += spread;
            }
            scored(x)
        })
        .collect();
    for _ in 0..rounds {
        simplex.sort_by(|a, b| a.1.total_cmp(&b.1));
        let centre: Vec<f64> =
            (0..n).map(|d| simplex[..n].iter().map(|s| s.0[d]).sum::<f64>() / n as f64).collect();
        let along =
            |t: f64| -> Vec<f64> { (0..n).map(|d| centre[d] + t * (simplex[n].0[d] - centre[d])).collect() };
        let reflected = scored(along(-1.0));
        if reflected.1 < simplex[0].1 {
            let expanded = scored(along(-2.0));
            simplex[n] = if expanded.1 < reflected.1 { expanded } else { reflected };
        } else if reflected.1 < simplex[n - 1].1 {
            simplex[n] = reflected;
        } else {
            let inside = scored(along(if reflected.1 < simplex[n].1 { -0.5 } else { 0.5 }));
            if inside.1 < simplex[n].1.min(reflected.1) {
                simplex[n] = inside;
            } else {
                let best = simplex[0].0.clone();
                for s in &mut simplex[1..] {
                    let x = (0..n).map(|d| best[d] + 0.5 * (s.0[d] - best[d])).collect();
                    *s = scored(x);
                }
            }
        }
    }
    simplex.sort_by(|a, b| a.1.total_cmp(&b.1));
    simplex.swap_remove(0)
}

fn read(path: &str) -> Result<Vec<Target>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let row = |line: &str| -> Option<Target> {
        let v: Vec<f64> = line.split(',').map(|f| f.trim().parse().ok()).collect::<Option<_>>()?;
        let [isl, osl, clients, ttft_ms, tpot_ms] = v[..] else { return None };
        Some(Target { isl: isl as u32, osl: osl as u32, clients: clients as u32, ttft_ms, tpot_ms })
    };
    let rows = text.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_digit()));
    rows.map(|l| row(l).ok_or_else(|| format!("{path}: cannot read `{l}`"))).collect()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(path) = arguments.get(1) else {
        eprintln!("usage: fit_published TARGETS.csv [budget [range [rounds [knot,knot,..]]]]");
        return ExitCode::from(2);
    };
    let number = |i: usize, default: f64| arguments.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let setup = Setup { budget: number(2, 8192.0), range: number(3, 0.8), rounds: number(4, 10.0) as u32 };
    let knots: Vec<f64> =
        arguments.get(5).map(|k| k.split(',').filter_map(|v| v.parse().ok()).collect()).unwrap_or_default();
    let targets = match read(path) {
        Ok(targets) => targets,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let cost = |x: &[f64]| {
        let all = errors(&Model::from_logs(x, &knots), &targets, setup);
        all.iter().map(|(a, b)| (a * 10.0).powi(8) + (b * 10.0).powi(8)).sum::<f64>()
    };
    let tpot_low = targets.iter().map(|t| t.tpot_ms).fold(f64::INFINITY, f64::min);
    let ttft_low = targets.iter().map(|t| t.ttft_ms / f64::from(t.isl)).fold(f64::INFINITY, f64::min);
    let mut best: Option<(Vec<f64>, f64)> = None;
    for (share, host) in [(0.5, 5.0), (0.3, 20.0), (0.8, 1.0), (0.6, 40.0)] {
        let mut x: Vec<f64> =
            [tpot_low * 0.9, 0.05, 2e-5, ttft_low * share, 1e-7, host].map(f64::ln).to_vec();
        x.extend(knots.iter().map(|_| 0.05_f64.ln()));
        let mut found = (x, f64::INFINITY);
        for spread in [1.0, 0.5, 0.3, 0.2, 0.1] {
            found = nelder_mead(&found.0, spread, 300, &cost);
        }
        eprintln!("start {share}/{host}: {:.4}", found.1);
        if best.as_ref().is_none_or(|b| found.1 < b.1) {
            best = Some(found);
        }
    }
    let Some((x, _)) = best else { return ExitCode::from(2) };
    let model = Model::from_logs(&x, &knots);
    println!("{model:#?}");
    for (t, (ttft, tpot)) in targets.iter().zip(errors(&model, &targets, setup)) {
        println!(
            "{:5}/{:5} n={:3}: TTFT {:8.1} {:+6.1} %   TPOT {:7.2} {:+6.1} %",
            t.isl,
            t.osl,
            t.clients,
            t.ttft_ms,
            ttft * 100.0,
            t.tpot_ms,
            tpot * 100.0
        );
    }
    ExitCode::SUCCESS
}
