//! Results that measure steps rather than requests: one batch at a time, offline, start-up.

use serde_json::Value;
use thawline::profile::schema::Stage;

use super::json::{count, number, numbers, text};
use super::{Options, Piece, Seen};
use crate::raw::{BenchmarkSample, Cache, DecodeSample, PrefillSample, Record, StageSample, Timing};

fn timing(seconds: f64) -> Timing {
    Timing { samples_us: vec![seconds * 1e6], roofline_us: None, launch: None, repeat: false }
}

/// What one batch of `batch` prompts of `input` tokens and `output` generated ones took.
fn batch(
    piece: &mut Piece,
    batch: u64,
    input: f64,
    output: f64,
    prefill_s: Option<f64>,
    step_s: Option<f64>,
) {
    let sound = |s: &f64| s.is_finite() && *s > 0.0;
    if let Some(seconds) = prefill_s.filter(sound) {
        if batch == 1 {
            let tokens = input.round() as u64;
            piece.records.push(Record::Prefill(PrefillSample {
                tokens,
                context: 0,
                timing: timing(seconds),
            }));
        } else {
            // Several prompts have less attention work than one of their length together.
            piece.seen(Seen::Missing(
                "prefill of several prompts at once: only single ones are read".to_owned(),
            ));
        }
    }
    if let Some(seconds) = step_s.filter(sound) {
        let kv_tokens = (batch as f64 * (input + output / 2.0)).round() as u64;
        let sample = DecodeSample { batch: batch as u32, kv_tokens, timing: timing(seconds) };
        piece.records.push(Record::Decode(sample));
    }
}

fn tally(piece: &mut Piece) -> Result<(), String> {
    let of = |is: fn(&Record) -> bool| piece.records.iter().filter(|r| is(r)).count();
    let decode = of(|r| matches!(r, Record::Decode(_)));
    let prefill = of(|r| matches!(r, Record::Prefill(_)));
    if decode + prefill == 0 {
        return Err("no line of it has a time above 0".to_owned());
    }
    piece.seen(Seen::Found(format!("{decode} decode and {prefill} prefill points")));
    Ok(())
}

/// `llama-batched-bench --output-format jsonl`.
pub(super) const LLAMA: &str = "llama.cpp batched-bench";

pub(super) fn is_llama(value: &Value) -> bool {
    ["pp", "tg", "pl", "t_pp", "t_tg"].iter().all(|key| value.get(key).is_some())
}

pub(super) fn llama(lines: &[&Value]) -> Result<Piece, String> {
    let mut piece = Piece::new(LLAMA);
    for value in lines {
        let get = |key: &str| number(value, &format!("/{key}")).filter(|n| *n >= 0.0 && *n < 1e9);
        let (Some(pp), Some(tg), Some(pl)) = (get("pp"), get("tg"), get("pl")) else {
            return Err("a line lacks pp, tg or pl".to_owned());
        };
        // A shared prompt is read once, whatever the number of sequences.
        let shared = get("is_pp_shared").is_some_and(|s| s > 0.0);
        let step = get("t_tg").filter(|_| tg > 0.0).map(|t| t / tg);
        let prefill = get("t_pp").filter(|_| pp > 0.0);
        let (alone, together) = if shared { (prefill, None) } else { (None, prefill) };
        batch(&mut piece, 1, pp, tg, alone, None);
        batch(&mut piece, pl.max(1.0) as u64, pp, tg, together, step);
    }
    tally(&mut piece)?;
    Ok(piece)
}

/// SGLang `bench_one_batch --result-filename`.
pub(super) const ONE_BATCH: &str = "SGLang bench_one_batch";

pub(super) fn is_one_batch(value: &Value) -> bool {
    ["batch_size", "input_len", "output_len", "prefill_latency"].iter().all(|key| value.get(key).is_some())
}

pub(super) fn one_batch(lines: &[&Value]) -> Result<Piece, String> {
    let mut piece = Piece::new(ONE_BATCH);
    for value in lines {
        let get = |key: &str| number(value, &format!("/{key}")).filter(|n| *n >= 0.0 && *n < 1e9);
        let (Some(size), Some(input), Some(output)) =
            (get("batch_size"), get("input_len"), get("output_len"))
        else {
            return Err("a line lacks batch_size, input_len or output_len".to_owned());
        };
        batch(&mut piece, size as u64, input, output, get("prefill_latency"), get("median_decode_latency"));
    }
    tally(&mut piece)?;
    Ok(piece)
}

/// `vllm bench latency --output-json`.
pub(super) const LATENCY: &str = "vLLM bench latency";

pub(super) fn is_latency(value: &Value) -> bool {
    value.get("avg_latency").is_some() && value.get("latencies").is_some()
}

/// The file says nothing of its batch: that must come from the command line.
pub(super) fn latency(value: &Value, options: &Options) -> Result<Piece, String> {
    let mut piece = Piece::new(LATENCY);
    let ask = "the file does not say what was run: give --batch-size, --input-len and --output-len";
    let (Some(size), Some(input), Some(output)) = (options.batch_size, options.input_len, options.output_len)
    else {
        return Err(ask.to_owned());
    };
    let mut latencies = numbers(value, "/latencies").unwrap_or_default();
    latencies.retain(|s| s.is_finite() && *s > 0.0);
    if latencies.is_empty() {
        return Err("its `latencies` hold no time above 0".to_owned());
    }
    if output <= 1 && size == 1 {
        let samples_us = latencies.iter().map(|s| s * 1e6).collect();
        let timing = Timing { samples_us, roofline_us: None, launch: None, repeat: false };
        piece.records.push(Record::Prefill(PrefillSample { tokens: input, context: 0, timing }));
        piece.seen(Seen::Found("1 prefill point".to_owned()));
        return Ok(piece);
    }
    piece.records.push(Record::Benchmark(BenchmarkSample {
        tool: LATENCY.to_owned(),
        prompt_tokens: input as f64,
        output_tokens: output as f64,
        concurrency: f64::from(size),
        ttft_ms: None,
        itl_ms: None,
        latency_ms: Some(median(&mut latencies) * 1e3),
        requests: u64::from(size) * latencies.len() as u64,
    }));
    piece.seen(Seen::Found(format!("{} whole latencies", latencies.len())));
    piece.seen(Seen::Missing("first token and steps apart: `vllm bench serve` tells them".to_owned()));
    Ok(piece)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
    f64::midpoint(values[low], values[high])
}

/// `vllm bench throughput --output-json`.
pub(super) const THROUGHPUT: &str = "vLLM bench throughput";

pub(super) fn is_throughput(value: &Value) -> bool {
    ["elapsed_time", "num_requests", "total_num_tokens"].iter().all(|key| value.get(key).is_some())
}

pub(super) fn throughput(value: &Value, options: &Options) -> Result<Piece, String> {
    let mut piece = Piece::new(THROUGHPUT);
    let requests = count(value, "/num_requests").filter(|n| *n > 0).ok_or("it has no requests")?;
    let tokens = number(value, "/total_num_tokens").ok_or("it has no tokens")?;
    let (Some(input), Some(output)) = (options.input_len, options.output_len) else {
        return Err(
            "the file does not say how many tokens were read and written: give --input-len and --output-len"
                .to_owned(),
        );
    };
    let given = (input + output) as f64 * requests as f64;
    if (given - tokens).abs() > 0.05 * tokens {
        let each = tokens / requests as f64;
        return Err(format!(
            "its requests have {each:.1} tokens each, and --input-len plus --output-len is {}",
            input + output
        ));
    }
    let seconds = number(value, "/elapsed_time").filter(|s| *s > 0.0).ok_or("it has no time")?;
    piece.records.push(Record::Benchmark(BenchmarkSample {
        tool: THROUGHPUT.to_owned(),
        prompt_tokens: input as f64,
        output_tokens: output as f64,
        // All are there at once, and the last is done at the end.
        concurrency: requests as f64,
        ttft_ms: None,
        itl_ms: None,
        latency_ms: Some(seconds * 1e3),
        requests,
    }));
    piece.seen(Seen::Found(format!("the time of {requests} requests sent at once")));
    piece.seen(Seen::Missing("single requests: `vllm bench serve --save-detailed` tells them".to_owned()));
    Ok(piece)
}

/// `vllm bench startup --output-json`.
pub(super) const STARTUP: &str = "vLLM bench startup";

pub(super) fn is_startup(value: &Value) -> bool {
    value.get("cold_startup_times").is_some() || value.get("warm_startup_times").is_some()
}

/// Times from the engine's start to its end, the weights included; the compile times are a part.
pub(super) fn startup(value: &Value) -> Result<Piece, String> {
    let mut piece = Piece::new(STARTUP);
    let mut run = 0;
    for (word, cache) in [("cold", Cache::Cold), ("warm", Cache::Warm)] {
        let times = |what: &str| numbers(value, &format!("/{word}_{what}_times")).unwrap_or_default();
        let (whole, compile) = (times("startup"), times("compilation"));
        for (at, seconds) in whole.iter().copied().enumerate().filter(|(_, s)| s.is_finite() && *s > 0.0) {
            let compiled = compile.get(at).copied().filter(|c| *c > 0.0 && *c < seconds);
            let mut push = |stage, label: &str, seconds: f64| {
                piece.records.push(Record::Stage(StageSample {
                    stage,
                    label: Some(label.to_owned()),
                    cache: Some(cache),
                    run,
                    seconds,
                    bytes: None,
                    source: format!("{STARTUP}: {word}"),
                }));
            };
            push(
                Stage::RuntimeInit,
                "engine start with weights, not split",
                seconds - compiled.unwrap_or(0.0),
            );
            if let Some(seconds) = compiled {
                push(Stage::WarmUp, "compile", seconds);
            }
            run += 1;
        }
        if !whole.is_empty() {
            piece.seen(Seen::Found(format!("{} {word} starts", whole.len())));
        }
    }
    if piece.records.is_empty() {
        return Err("it holds no start-up time above 0".to_owned());
    }
    piece.model = text(value, "/model").map(super::base_name);
    piece.seen(Seen::Missing("Python's own imports, which it leaves out".to_owned()));
    Ok(piece)
}
