//! From requests against a running engine to its step times and the time of its host.

use thawline::profile::schema::{DecodeSpec, HostOverhead, PrefillSpec};

use super::gpu::{decode_fit, prefill_fit};
use super::grid;
use super::parts::{Origin, Part, secs};
use super::points::{DecodePoint, PrefillPoint, Spread, quantile};
use super::streams::{self, Steps};
use crate::raw::{BenchmarkSample, Header, Load, Record, RequestSample, Series};

/// Penalties below this share of the usual time are noise.
const PENALTY_MIN: f64 = 0.1;
/// Prompt lengths that make a grid.
const GRID_MIN: usize = 6;
/// Failed requests beyond this share are flagged.
const FAILED_MAX: f64 = 0.02;
/// Lag of the load generator behind its own plan that is flagged, s.
const LAG_MAX: f64 = 0.01;

/// What a run against a server, or the results of load tools, contribute.
pub fn fit(header: &Header, records: &[Record], origin: &Origin, part: &mut Part) {
    let series: Vec<&Series> = pick(records, |r| if let Record::Series(s) = r { Some(s) } else { None });
    let requests: Vec<&RequestSample> =
        pick(records, |r| if let Record::Request(s) = r { Some(s) } else { None });
    let benchmarks: Vec<&BenchmarkSample> =
        pick(records, |r| if let Record::Benchmark(s) = r { Some(s) } else { None });
    if requests.is_empty() && benchmarks.is_empty() {
        return;
    }
    let steps = streams::steps(&series, &requests);
    warn(&steps, &series, &requests, part);
    let mut points = steps.decode.clone();
    points.extend(benchmarks.iter().filter_map(|b| decode_point(b)));
    let mut alone = steps.alone.clone();
    alone.extend(benchmarks.iter().filter_map(|b| prefill_point(b)));

    // The cost of a sequence may change at any batch size that was held; the last has nothing beyond.
    let mut hinges = steps.swept.clone();
    hinges.extend(benchmarks.iter().map(|b| b.concurrency.round() as u32));
    hinges.sort_unstable();
    hinges.dedup();
    let decode = decode_fit(&points, &hinges, 0, part);
    if let Some(fit) = &decode {
        let what = match benchmarks.len() {
            0 => format!("{} gaps between tokens while no request waited for its first", steps.gaps),
            n => format!("inter-token latencies of {n} runs of a load tool"),
        };
        let note = format!("From {what}; the host's time of each step is part of it.");
        let spec = DecodeSpec { fit: Some(origin.derived(fit.spec(), note)), grid: None };
        let batch = points.iter().map(|p| p.batch).max().unwrap_or(1);
        let kv = points.iter().map(|p| p.kv_tokens).fold(1.0, f64::max);
        part.decode = Some((spec, batch, kv as u64));
    }
    let usable = within_a_step(header, &alone, part);
    fit_prefill(&usable, decode.as_ref().map(|d| d.at(1, 0.0)), &steps, origin, part);
}

fn pick<'a, T>(records: &'a [Record], of: impl Fn(&'a Record) -> Option<&'a T>) -> Vec<&'a T> {
    records.iter().filter_map(of).collect()
}

fn warn(steps: &Steps, series: &[&Series], requests: &[&RequestSample], part: &mut Part) {
    if steps.failed as f64 > FAILED_MAX * steps.requests as f64 {
        part.flag(
            "failedRequests",
            format!("{} of {} requests failed or came without `usage`", steps.failed, steps.requests),
        );
    }
    // Only open-loop requests are due at a time of their own.
    let open: Vec<u32> =
        series.iter().filter(|s| matches!(s.load, Load::Poisson { .. })).map(|s| s.series).collect();
    let planned = requests.iter().filter(|r| open.contains(&r.series));
    let lags: Vec<f64> = planned.map(|r| r.sent_ns.saturating_sub(r.due_ns) as f64 / 1e9).collect();
    if let Some(lag) = quantile(&lags, 0.95).filter(|lag| *lag > LAG_MAX) {
        part.flag("clientLag", format!("the client sent 5 % of its requests over {:.0} ms late", lag * 1e3));
    }
    if steps.tokens_per_event > streams::MULTI_TOKEN {
        part.flag(
            "severalTokensAnEvent",
            format!("events carry {:.1} tokens; gaps are divided by that", steps.tokens_per_event),
        );
    }
    if steps.held_back > 0 {
        part.note(format!("{} requests had text held back by the server and tell no steps", steps.held_back));
    }
    if steps.requests > 0 {
        part.note(format!(
            "decode: {} gaps are pure decode steps, {} are not and left out",
            steps.gaps, steps.gaps_left_out
        ));
    }
}

/// B is the concurrency, and K what so many sequences hold half way through their output.
fn decode_point(b: &BenchmarkSample) -> Option<DecodePoint> {
    let batch = b.concurrency.round();
    let sound = b.itl_ms.is_some_and(|t| t.is_finite() && t > 0.0) && (1.0..1e6).contains(&batch);
    let kv_tokens = b.concurrency * (b.prompt_tokens + b.output_tokens / 2.0);
    sound.then(|| DecodePoint { batch: batch as u32, kv_tokens, us: b.itl_ms.unwrap_or(0.0) * 1e3 })
}

/// Under load a TTFT is mostly queue: only that of a request alone is a prefill.
fn prefill_point(b: &BenchmarkSample) -> Option<PrefillPoint> {
    let us = b.ttft_ms.filter(|t| t.is_finite() && *t > 0.0)? * 1e3;
    (b.concurrency <= 1.05).then_some(PrefillPoint { tokens: b.prompt_tokens, context: 0.0, us })
}

/// Prompts longer than a step's budget take several steps; they are used only where there are too
/// few shorter ones.
fn within_a_step(header: &Header, alone: &[PrefillPoint], part: &mut Part) -> Vec<PrefillPoint> {
    let budget = header.settings.get("maxNumBatchedTokens").and_then(serde_json::Value::as_f64);
    let Some(budget) = budget else { return alone.to_vec() };
    let short: Vec<PrefillPoint> = alone.iter().copied().filter(|p| p.tokens <= budget).collect();
    match alone.len() - short.len() {
        0 => short,
        n if short.len() >= 4 => {
            part.note(format!(
                "prefill: {n} lengths over the budget of a step ({budget} tokens) are left out"
            ));
            short
        }
        n => {
            part.flag(
                "chunkedPrefill",
                format!("{n} prompt lengths took several steps each; prefill is fitted as if they were one"),
            );
            alone.to_vec()
        }
    }
}

/// `TTFT(n) = perRequest + prefill(n)`. A step with hardly any work in it costs what a decode step
/// with one sequence and no context does; what the intercept has beyond that is the host's.
fn fit_prefill(
    alone: &[PrefillPoint],
    empty_step_us: Option<f64>,
    steps: &Steps,
    origin: &Origin,
    part: &mut Part,
) {
    if alone.is_empty() {
        part.note("prefill: no request was alone on the server; a series over prompt lengths measures it");
        return;
    }
    let mut rough = Part::default();
    let Some(whole) = prefill_fit(alone, 0, &mut rough) else {
        part.notes.extend(rough.notes);
        return;
    };
    let least = alone.iter().map(|p| p.us).fold(f64::INFINITY, f64::min);
    let beyond = empty_step_us.map(|step| (whole.intercept_us() - step).max(0.0).min(0.9 * least));
    let per_request = beyond.map(f64::round);
    let net: Vec<PrefillPoint> =
        alone.iter().map(|p| PrefillPoint { us: p.us - per_request.unwrap_or(0.0), ..*p }).collect();
    let Some(fit) = prefill_fit(&net, 0, part) else { return };
    let note = "From TTFT of requests alone on the server, less the host's time per request.".to_owned();
    let grid = lengths_grid(&net, &fit).map(|table| {
        let how = "Medians over requests alone, less the host's time per request; the column with a context adds \
                   the fitted cost of attention to it.";
        origin.derived(table.prefill(), how.to_owned())
    });
    let spec = PrefillSpec { max_planes: Some(origin.derived(fit.spec(), note)), grid };
    let most = alone.iter().map(|p| p.tokens).fold(1.0, f64::max);
    part.prefill = Some((spec, most as u64));
    match per_request.and_then(|us| secs(us / 1e6)) {
        Some(time) => {
            let note =
                "TTFT of an empty prompt, continued from longer ones, less a decode step of one sequence.";
            part.host = Some(HostOverhead {
                per_request: Some(origin.derived(time, note.to_owned())),
                ..HostOverhead::default()
            });
            part.note("host: the time of each step and token is part of the step times; a server's client cannot tell them apart");
        }
        None => part.note(
            "host: the time of each request is part of prefill; without a decode fit it cannot be told apart",
        ),
    }
    first_requests(&fit, per_request.unwrap_or(0.0), steps, origin, part);
}

/// The measured lengths as a grid, which follows the steps that kernels take over lengths where no
/// plane does. A client measures no context; the fit tells what attention to one costs.
fn lengths_grid(net: &[PrefillPoint], fit: &super::prefill::Prefill) -> Option<grid::Table> {
    let longest = net.iter().map(|p| p.tokens).fold(0.0, f64::max).round();
    let enough = net.len() >= GRID_MIN && net.iter().all(|p| p.context <= 0.0);
    let cells = |p: &PrefillPoint| {
        let cell = |column: f64, us: f64| grid::GridCell {
            row: p.tokens.round() as u64,
            column: column as u64,
            us,
            roofline_us: None,
        };
        [cell(0.0, p.us), cell(longest, p.us + fit.per_work_us() * p.tokens * longest)]
    };
    enough.then(|| grid::table(&net.iter().flat_map(cells).collect::<Vec<_>>(), 2)).flatten()
}

/// What the first requests of a start took beyond what their lengths explain: medians over starts.
fn first_requests(
    fit: &super::prefill::Prefill,
    per_request_us: f64,
    steps: &Steps,
    origin: &Origin,
    part: &mut Part,
) {
    let longest = steps.first.iter().map(Vec::len).max().unwrap_or(0);
    let mut penalties = Vec::new();
    let mut last = 0;
    for i in 0..longest {
        let usual = |tokens: f64| per_request_us + fit.at(&PrefillPoint { tokens, context: 0.0, us: 0.0 });
        let runs: Vec<(f64, f64)> =
            steps.first.iter().filter_map(|run| run.get(i)).map(|(n, us)| (*us, usual(*n))).collect();
        let over: Vec<f64> = runs.iter().map(|(us, usual)| us - usual).collect();
        let usual: Vec<f64> = runs.iter().map(|r| r.1).collect();
        let (Some(over), Some(usual)) = (quantile(&over, 0.5), Spread::of(&usual)) else { break };
        penalties.extend(secs(over.max(0.0) / 1e6));
        if over > PENALTY_MIN * usual.median {
            last = i + 1;
        }
    }
    penalties.truncate(last);
    if !penalties.is_empty() {
        let note = format!(
            "TTFT over what the prompt's length explains; medians over {} starts.",
            steps.first.len()
        );
        part.first_requests = Some(origin.derived(penalties, note));
    }
}
