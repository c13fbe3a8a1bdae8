//! Results of GuideLLM, AIPerf and GenAI-Perf, and inference-perf.

use serde_json::Value;

use super::json::{count, number, numbers, text};
use super::requests::{Request, not_poisson, series, spread_flag};
use super::{Piece, Seen};
use crate::raw::{BenchmarkSample, Load, Record};

/// GuideLLM `benchmarks.json`.
pub(super) const GUIDELLM: &str = "GuideLLM";

pub(super) fn is_guidellm(value: &Value) -> bool {
    value.pointer("/benchmarks/0/metrics").is_some()
}

pub(super) fn guidellm(value: &Value) -> Result<Piece, String> {
    let mut piece = Piece::new(GUIDELLM);
    let benchmarks = value["benchmarks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let model = ["/args/model", "/config/model", "/args/backend_kwargs/model"];
    piece.model = model.iter().find_map(|path| text(value, path)).map(super::base_name);
    let mut faults = Vec::new();
    for (at, benchmark) in benchmarks.iter().enumerate() {
        let of_series = piece.next_series();
        let requests = benchmark.pointer("/requests/successful").and_then(Value::as_array);
        let single: Option<Vec<Request>> =
            requests.filter(|r| !r.is_empty()).and_then(|r| r.iter().map(guidellm_request).collect());
        let records = single.map(|r| series(of_series, guidellm_load(benchmark, r.len()), r));
        match records {
            Some(Ok(records)) => {
                piece.seen(Seen::Found(format!("{} requests", records.len() - 1)));
                piece.records.extend(records);
                piece.records.push(spread_flag(GUIDELLM));
                if guidellm_strategy(benchmark).0 == Some("constant") {
                    piece.records.push(not_poisson(GUIDELLM));
                }
                continue;
            }
            Some(Err(why)) => piece.seen(Seen::Missing(format!("single requests of benchmark {at}: {why}"))),
            None => piece.seen(Seen::Missing(format!("single requests of benchmark {at}"))),
        }
        match guidellm_summary(benchmark) {
            Some(sample) => {
                piece.seen(Seen::Found(format!("means of {} requests", sample.requests)));
                piece.records.push(Record::Benchmark(sample));
            }
            None => faults.push(format!("benchmark {at} has neither requests nor means")),
        }
    }
    if piece.records.is_empty() { Err(faults.join("; ")) } else { Ok(piece) }
}

fn guidellm_request(value: &Value) -> Option<Request> {
    let time = |key: &str| {
        number(value, &format!("/info/timings/{key}")).or_else(|| number(value, &format!("/{key}")))
    };
    let (start, end) = (time("request_start")?, time("request_end")?);
    let (first, last) = (time("first_token_iteration")?, time("last_token_iteration")?);
    let tokens = |direct: &str, metrics: &str| {
        let inside =
            ["total_tokens", "text_tokens"].iter().find_map(|key| count(value, &format!("/{metrics}/{key}")));
        count(value, &format!("/{direct}")).or(inside)
    };
    let output = tokens("output_tokens", "output_metrics")
        .or_else(|| count(value, "/info/timings/token_iterations"))?;
    Some(Request {
        start: Some(start),
        due: None,
        events: Request::spread(first - start, last - start, output),
        latency: Some(end - start),
        prompt_tokens: tokens("prompt_tokens", "input_metrics"),
        output_tokens: Some(output),
        error: None,
    })
}

/// The kind of load and its particulars, wherever a version puts them.
fn guidellm_strategy(benchmark: &Value) -> (Option<&str>, &Value) {
    let strategy = ["/config/strategy", "/args/strategy", "/scheduler/strategy"];
    let strategy = strategy.iter().find_map(|path| benchmark.pointer(path)).unwrap_or(&Value::Null);
    (text(strategy, "/type_").or_else(|| text(strategy, "/type")), strategy)
}

fn guidellm_load(benchmark: &Value, requests: usize) -> Load {
    let (kind, strategy) = guidellm_strategy(benchmark);
    let clients = ["/streams", "/max_concurrency"].iter().find_map(|path| count(strategy, path));
    match (kind, number(strategy, "/rate")) {
        (Some("synchronous"), _) => Load::Prompts,
        (Some("poisson" | "constant"), Some(per_second)) if per_second > 0.0 => Load::Poisson { per_second },
        _ => {
            let mean =
                number(benchmark, "/metrics/request_concurrency/successful/mean").map(|c| c.round() as u64);
            let clients = clients.or(mean).unwrap_or(requests as u64).clamp(1, u64::from(u32::MAX)) as u32;
            if clients == 1 { Load::Prompts } else { Load::Closed { clients } }
        }
    }
}

fn guidellm_summary(benchmark: &Value) -> Option<BenchmarkSample> {
    let stat = |metric: &str, stat: &str| number(benchmark, &format!("/metrics/{metric}/successful/{stat}"));
    let middle = |metric: &str| stat(metric, "median").or_else(|| stat(metric, "mean"));
    Some(BenchmarkSample {
        tool: GUIDELLM.to_owned(),
        prompt_tokens: stat("prompt_token_count", "mean")?,
        output_tokens: stat("output_token_count", "mean")?,
        concurrency: stat("request_concurrency", "mean")?,
        ttft_ms: middle("time_to_first_token_ms"),
        itl_ms: middle("inter_token_latency_ms").or_else(|| middle("time_per_output_token_ms")),
        latency_ms: stat("request_latency", "mean").map(|s| s * 1e3),
        requests: count(benchmark, "/metrics/request_latency/successful/count")?,
    })
}

/// AIPerf `profile_export_aiperf.json` and its retired forerunner's file with the same keys.
pub(super) const AIPERF: &str = "AIPerf";

pub(super) fn is_aiperf(value: &Value) -> bool {
    value.pointer("/request_latency/unit").is_some() && value.pointer("/request_latency/avg").is_some()
}

pub(super) fn aiperf(value: &Value) -> Result<Piece, String> {
    let tool = if value.get("input_config").is_some_and(|c| c.get("perf_analyzer").is_some()) {
        "GenAI-Perf"
    } else {
        AIPERF
    };
    let mut piece = Piece::new(tool);
    let stat = |metric: &str, stat: &str| scaled(value.get(metric)?, &format!("/{stat}"));
    let middle = |metric: &str| stat(metric, "p50").or_else(|| stat(metric, "avg"));
    let plain = |metric: &str| number(value, &format!("/{metric}/avg"));
    let latency = stat("request_latency", "avg");
    let rate = plain("request_throughput");
    let little = rate.zip(latency).map(|(rate, ms)| rate * ms / 1e3);
    let requests = count(value, "/request_count/avg").or_else(|| count(value, "/request_latency/count"));
    let sample = BenchmarkSample {
        tool: tool.to_owned(),
        prompt_tokens: plain("input_sequence_length").ok_or("it has no input_sequence_length")?,
        output_tokens: plain("output_sequence_length").ok_or("it has no output_sequence_length")?,
        concurrency: little.ok_or("it has no request_throughput")?,
        ttft_ms: middle("time_to_first_token"),
        itl_ms: middle("inter_token_latency"),
        latency_ms: latency,
        requests: requests.unwrap_or(1),
    };
    let models =
        ["/input_config/endpoint/model_names/0", "/input_config/model_names/0", "/input_config/model/0"];
    piece.model = models.iter().find_map(|path| text(value, path)).map(super::base_name);
    piece.seen(Seen::Found(format!("means of {} requests", sample.requests)));
    piece.seen(Seen::Missing("single requests: give profile_export.jsonl instead".to_owned()));
    piece.records.push(Record::Benchmark(sample));
    Ok(piece)
}

/// A time in ms, whatever unit stands beside it.
fn scaled(metric: &Value, path: &str) -> Option<f64> {
    let value = number(metric, path)?;
    let scale = match text(metric, "/unit").unwrap_or("ms") {
        "s" | "sec" | "seconds" => 1e3,
        "us" | "µs" | "microseconds" => 1e-3,
        "ns" | "nanoseconds" => 1e-6,
        "ms" | "milliseconds" => 1.0,
        _ => return None,
    };
    Some(value * scale)
}

/// AIPerf `profile_export.jsonl`.
pub(super) fn is_aiperf_line(value: &Value) -> bool {
    value.pointer("/metadata/request_start_ns").is_some() && value.get("metrics").is_some()
}

pub(super) fn aiperf_lines(lines: &[&Value]) -> Result<Piece, String> {
    let mut piece = Piece::new(AIPERF);
    let warm_up =
        |line: &&&Value| text(line, "/metadata/benchmark_phase").is_some_and(|p| p.starts_with("warm"));
    let kept: Vec<&Value> = lines.iter().filter(|line| !warm_up(line)).copied().collect();
    let begin =
        kept.iter().filter_map(|line| number(line, "/metadata/request_start_ns")).fold(f64::MAX, f64::min);
    let mut spread = false;
    let one = |line: &&Value| -> Option<Request> {
        // Absolute times lose their ns in a double: subtract as integers.
        let at = |key: &str| {
            let ns = line.pointer(&format!("/metadata/{key}")).and_then(Value::as_i64)?;
            Some((ns - begin as i64) as f64 / 1e9)
        };
        let metric = |tag: &str| line.pointer(&format!("/metrics/{tag}"));
        let seconds = |tag: &str| scaled(metric(tag)?, "/value").map(|ms| ms / 1e3);
        let tokens = |tag: &str| count(metric(tag)?, "/value");
        let start = at("request_start_ns")?;
        let error = line.get("error").filter(|e| !e.is_null());
        let error = error.map(|e| text(e, "/message").map_or_else(|| e.to_string(), str::to_owned));
        let output = tokens("output_sequence_length");
        let latency = seconds("request_latency").or_else(|| Some(at("request_end_ns")? - start));
        let ttft = seconds("time_to_first_token");
        let gaps =
            metric("inter_chunk_latency").and_then(|m| Some((numbers(m, "/value")?, scaled(m, "/value/0")?)));
        let events = match (ttft, gaps, latency) {
            (Some(ttft), Some((gaps, first_ms)), _) if gaps.first().is_some_and(|g| *g > 0.0) => {
                let scale = first_ms / gaps[0] / 1e3;
                let mut now = ttft;
                std::iter::once(ttft)
                    .chain(gaps.into_iter().map(|g| {
                        now += g * scale;
                        now
                    }))
                    .collect()
            }
            (Some(ttft), _, Some(latency)) => {
                spread = true;
                Request::spread(ttft, latency.max(ttft), output.unwrap_or(1))
            }
            _ => Vec::new(),
        };
        // When it was due, on the clock of the sender.
        let due = at("credit_issued_ns").filter(|due| *due <= start);
        let prompt_tokens = tokens("input_sequence_length");
        Some(Request {
            start: Some(start),
            due,
            events,
            latency,
            prompt_tokens,
            output_tokens: output,
            error,
        })
    };
    let requests: Vec<Request> = kept.iter().filter_map(one).collect();
    if requests.is_empty() {
        return Err("no line of it is a request outside the warm-up".to_owned());
    }
    let earliest = requests.iter().filter_map(|r| r.due).fold(0.0, f64::min);
    let shifted = requests.into_iter().map(|r| Request {
        start: r.start.map(|s| s - earliest),
        due: r.due.map(|d| d - earliest),
        ..r
    });
    let shifted: Vec<Request> = shifted.collect();
    let load = in_flight_load(&shifted);
    piece.seen(Seen::Found(format!("{} requests", shifted.len())));
    piece.seen(Seen::Missing("how they were sent: taken as so many clients as were in flight".to_owned()));
    piece.records = series(0, load, shifted)?;
    if spread {
        piece.records.push(spread_flag(AIPERF));
    }
    Ok(piece)
}

/// As many clients as requests were in flight on average, for files that do not say.
fn in_flight_load(requests: &[Request]) -> Load {
    let busy: f64 = requests.iter().filter_map(|r| r.latency).sum();
    let end = requests.iter().filter_map(|r| Some(r.start? + r.latency?)).fold(0.0, f64::max);
    let begin = requests.iter().filter_map(|r| r.start).fold(f64::MAX, f64::min);
    let mean = if end > begin { (busy / (end - begin)).round() } else { 1.0 };
    match mean.clamp(1.0, requests.len().max(1) as f64) as u32 {
        0 | 1 => Load::Prompts,
        clients => Load::Closed { clients },
    }
}

/// inference-perf `summary_lifecycle_metrics.json`, `stage_N_..`, `per_request_..`.
pub(super) const INFERENCE_PERF: &str = "inference-perf";

pub(super) fn is_inference_perf(value: &Value) -> bool {
    value.get("load_summary").is_some() && value.get("successes").is_some()
}

pub(super) fn inference_perf(value: &Value) -> Result<Piece, String> {
    let mut piece = Piece::new(INFERENCE_PERF);
    let mean = |path: &str| number(value, &format!("/successes/{path}/mean"));
    let middle = |path: &str| {
        number(value, &format!("/successes/latency/{path}/median"))
            .or_else(|| mean(&format!("latency/{path}")))
    };
    let latency = mean("latency/request_latency");
    let rate = number(value, "/successes/throughput/requests_per_sec");
    let tokens = |keys: [&str; 2]| keys.into_iter().find_map(mean);
    let sample = BenchmarkSample {
        tool: INFERENCE_PERF.to_owned(),
        prompt_tokens: tokens(["prompt_tokens", "prompt_len"]).ok_or("it has no prompt_tokens")?,
        output_tokens: tokens(["output_len", "output_tokens"]).ok_or("it has no output_len")?,
        concurrency: rate
            .zip(latency)
            .map(|(r, s)| r * s)
            .ok_or("it has no requests_per_sec or request_latency")?,
        ttft_ms: middle("time_to_first_token").map(|s| s * 1e3),
        itl_ms: middle("inter_token_latency").or_else(|| middle("time_per_output_token")).map(|s| s * 1e3),
        latency_ms: latency.map(|s| s * 1e3),
        requests: count(value, "/successes/count").ok_or("it has no successes")?,
    };
    piece.seen(Seen::Found(format!("means of {} requests", sample.requests)));
    piece.seen(Seen::Missing("single requests: give per_request_lifecycle_metrics.json instead".to_owned()));
    piece.records.push(Record::Benchmark(sample));
    Ok(piece)
}

pub(super) fn is_inference_perf_requests(value: &Value) -> bool {
    let first = value.pointer("/0").unwrap_or(&Value::Null);
    ["start_time", "end_time", "info"].iter().all(|key| first.get(key).is_some())
}

pub(super) fn inference_perf_requests(value: &Value) -> Result<Piece, String> {
    let mut piece = Piece::new(INFERENCE_PERF);
    let lines = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |line: &Value| -> Option<Request> {
        let (start, end) = (number(line, "/start_time")?, number(line, "/end_time")?);
        // Flat in older versions, split in request and response in newer ones.
        let input = ["/info/input_tokens", "/info/request_metrics/text/input_tokens"];
        let output = ["/info/output_tokens", "/info/response_metrics/output_tokens"];
        let times = ["/info/output_token_times", "/info/response_metrics/output_token_times"];
        let first = |paths: [&str; 2]| paths.into_iter().find_map(|path| count(line, path));
        let times = times.into_iter().find_map(|path| numbers(line, path)).unwrap_or_default();
        let error = line.get("error").filter(|e| !e.is_null());
        Some(Request {
            start: Some(start),
            due: number(line, "/scheduled_time").filter(|due| *due > 0.0 && *due <= start),
            events: times.into_iter().map(|t| t - start).collect(),
            latency: Some(end - start),
            prompt_tokens: first(input),
            output_tokens: first(output),
            error: error.map(|e| text(e, "/error_msg").map_or_else(|| e.to_string(), str::to_owned)),
        })
    };
    let requests: Vec<Request> = lines.iter().filter_map(one).collect();
    let without = requests.iter().filter(|r| r.events.is_empty() && r.error.is_none()).count();
    if requests.len() == without {
        return Err("its requests hold no token times: run it with streaming".to_owned());
    }
    piece.seen(Seen::Found(format!("{} requests with their tokens", requests.len())));
    piece.seen(Seen::Missing("how they were sent: taken as so many clients as were in flight".to_owned()));
    piece.records = series(0, in_flight_load(&requests), requests)?;
    Ok(piece)
}
