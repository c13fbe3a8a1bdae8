//! Results of `vllm bench serve` and SGLang's `bench_serving`: the same fields in both.

use serde_json::Value;

use super::json::{count, number, numbers, text};
use super::requests::{Request, failed_flag, not_poisson, series};
use super::{Piece, Seen};
use crate::raw::{BenchmarkSample, Load, Record};

/// Whether a document is one of these results; then whose.
pub(super) fn detect(value: &Value) -> Option<&'static str> {
    let any = |keys: &[&str]| keys.iter().any(|key| value.get(key).is_some());
    let served = any(&["completed"]) && any(&["mean_ttft_ms", "median_ttft_ms", "ttfts"]);
    if !served {
        return None;
    }
    let sglang = any(&["server_info", "concurrency", "sharegpt_output_len", "random_input_len"]);
    Some(if sglang { "SGLang bench_serving" } else { "vLLM bench serve" })
}

/// Reads one result.
///
/// # Errors
/// What contradicts itself.
pub(super) fn read(tool: &'static str, value: &Value) -> Result<Piece, String> {
    let mut piece = Piece::new(tool);
    piece.model = text(value, "/model_id").or_else(|| text(value, "/model")).map(super::base_name);
    for key in ["request_rate", "burstiness", "max_concurrency", "num_prompts", "dataset_name", "backend"] {
        if let Some(found) = value.get(key).filter(|v| !v.is_null()) {
            piece.settings.insert(key.to_owned(), found.clone());
        }
    }
    let completed = count(value, "/completed").unwrap_or(0);
    if completed == 0 {
        return Err("no request of it was completed".to_owned());
    }
    if value.get("ttfts").is_some() && value.get("itls").is_some() {
        match details(value).and_then(|requests| series(0, load(value, requests.len()), requests)) {
            Ok(records) => {
                piece.seen(Seen::Found(format!("{} requests with their tokens", records.len() - 1)));
                piece.records = records;
                let ended_at_once =
                    |r: &&Record| matches!(r, Record::Request(r) if r.done_ns == Some(r.sent_ns));
                let failed = piece.records.iter().filter(ended_at_once).count();
                if failed > 0 {
                    piece.records.push(failed_flag(tool, failed));
                }
                if number(value, "/burstiness").is_some_and(|b| (b - 1.0).abs() > 1e-9) {
                    piece.records.push(not_poisson(tool));
                }
                return Ok(piece);
            }
            Err(why) => piece.seen(Seen::Missing(format!("single requests: {why}"))),
        }
    } else {
        let flag = if tool.starts_with("vLLM") { "--save-detailed" } else { "--output-details" };
        piece.seen(Seen::Missing(format!("single requests: run with {flag}")));
    }
    piece.records.push(Record::Benchmark(summary(tool, value, completed)?));
    piece.seen(Seen::Found(format!("means of {completed} requests")));
    Ok(piece)
}

fn load(value: &Value, requests: usize) -> Load {
    let clients = number(value, "/max_concurrency").filter(|c| *c >= 1.0).map(|c| c as u32);
    // `inf` is a text in one tool's files and Infinity in the other's.
    let rate = number(value, "/request_rate").filter(|r| *r > 0.0);
    match (clients, rate) {
        (Some(1), _) => Load::Prompts,
        (_, Some(per_second)) => Load::Poisson { per_second },
        (Some(clients), None) => Load::Closed { clients },
        (None, None) => Load::Closed { clients: requests.max(1) as u32 },
    }
}

fn details(value: &Value) -> Result<Vec<Request>, String> {
    let list = |key: &str| numbers(value, &format!("/{key}"));
    let ttfts = list("ttfts").ok_or("`ttfts` is not a list")?;
    let itls = value["itls"].as_array().ok_or("`itls` is not a list")?;
    let (inputs, outputs) = (list("input_lens"), list("output_lens"));
    let (starts, latencies) = (list("start_times"), list("latencies"));
    let errors = value.get("errors").and_then(Value::as_array);
    let lengths = [Some(itls.len()), inputs.as_ref().map(Vec::len), outputs.as_ref().map(Vec::len)];
    let lengths = lengths.into_iter().chain([starts.as_ref().map(Vec::len), errors.map(Vec::len)]);
    if lengths.flatten().any(|len| len != ttfts.len()) {
        return Err("its lists have different lengths".to_owned());
    }
    let tokens = |list: &Option<Vec<f64>>, at: usize| {
        list.as_ref().map(|l| l[at]).filter(|n| *n >= 0.0 && *n < 1e9).map(|n| n as u64)
    };
    let one = |(at, (&ttft, itl)): (usize, (&f64, &Value))| {
        let gaps = itl.as_array().map(Vec::as_slice).unwrap_or_default();
        let output = tokens(&outputs, at);
        let error = errors.and_then(|e| e[at].as_str()).filter(|e| !e.is_empty()).map(str::to_owned);
        // A request that failed without a word has no first token and no output.
        let failed = error.is_some() || (ttft == 0.0 && output.unwrap_or(0) == 0);
        let mut events = if failed && ttft == 0.0 { Vec::new() } else { vec![ttft] };
        let latency = latencies.as_ref().and_then(|l| l.get(at)).copied().filter(|l| *l > 0.0);
        let mut at_s = ttft;
        for gap in gaps {
            at_s += gap.as_f64().unwrap_or(f64::NAN);
            events.push(at_s);
        }
        Request {
            start: starts.as_ref().map(|s| s[at]),
            due: None,
            // A failed one has neither events nor, in most versions, a latency.
            latency: events.last().copied().or(latency).or(Some(0.0)),
            events,
            prompt_tokens: tokens(&inputs, at),
            output_tokens: output,
            error: if failed { error.or(Some("failed".to_owned())) } else { None },
        }
    };
    Ok(ttfts.iter().zip(itls).enumerate().map(one).collect())
}

fn summary(tool: &str, value: &Value, completed: u64) -> Result<BenchmarkSample, String> {
    let n = completed as f64;
    let first = |keys: &[&str]| keys.iter().find_map(|key| number(value, &format!("/{key}")));
    let prompts = first(&["total_input_tokens", "total_input"]).ok_or("it has no total_input_tokens")?;
    let outputs = first(&["total_output_tokens", "total_output"]).ok_or("it has no total_output_tokens")?;
    let ttft = first(&["median_ttft_ms", "mean_ttft_ms"]);
    let itl = first(&["median_itl_ms", "mean_itl_ms", "median_tpot_ms", "mean_tpot_ms"]);
    // Little's law: requests in flight = requests a second times the time of one.
    let latency = first(&["mean_e2el_ms", "mean_e2e_latency_ms"]).or_else(|| {
        Some(
            first(&["mean_ttft_ms"])?
                + first(&["mean_tpot_ms", "mean_itl_ms"])? * (outputs / n - 1.0).max(0.0),
        )
    });
    let rate = first(&["request_throughput"]).or_else(|| first(&["duration"]).map(|d| n / d));
    let little = rate.zip(latency).map(|(rate, ms)| rate * ms / 1e3);
    let concurrency = first(&["concurrency"]).or(little).or_else(|| first(&["max_concurrency"]));
    Ok(BenchmarkSample {
        tool: tool.to_owned(),
        prompt_tokens: prompts / n,
        output_tokens: outputs / n,
        concurrency: concurrency.ok_or("nothing in it says how many requests were in flight")?,
        ttft_ms: ttft,
        itl_ms: itl,
        latency_ms: latency,
        requests: completed,
    })
}
