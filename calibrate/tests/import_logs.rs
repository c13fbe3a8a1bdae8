//! Start-up logs of every engine and version family, from the fixtures in `fixtures/logs`.

// Figures are read, not computed: they come out as they stand in the file.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use thawline::profile::schema::Stage;
use thawline_calibrate::logs::{Found, Reader, Start};

fn text(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/logs").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn read(text: &str) -> Option<Found> {
    let mut reader = Reader::new();
    text.lines().for_each(|line| reader.push(None, line));
    reader.finish()
}

fn stages(start: &Start) -> Vec<(Stage, &str, f64)> {
    start.stages.iter().map(|s| (s.stage, s.label.as_deref().unwrap_or(""), s.seconds)).collect()
}

/// The stages as expected, and no second of the start lost or counted twice beyond what the
/// log's clock can show.
#[track_caller]
fn check(start: &Start, blur: f64, expected: &[(Stage, &str, f64)]) {
    let found = stages(start);
    let same = found.len() == expected.len()
        && found.iter().zip(expected).all(|(a, b)| (a.0, a.1) == (b.0, b.1) && (a.2 - b.2).abs() < 1e-6);
    assert!(same, "found    {found:?}\nexpected {expected:?}\n{:?}", start.notes);
    let sum: f64 = found.iter().map(|(_, _, seconds)| seconds).sum();
    if let Some(total) = start.seconds {
        assert!((sum - total).abs() <= blur, "stages add up to {sum}, and the start took {total}");
    }
}

use Stage::{RuntimeInit as Init, WarmUp as Warm, WeightLoad as Load};

#[test]
fn vllm_v0() {
    let found = read(&text("vllm-v0.log")).unwrap();
    assert_eq!((found.engine.name.as_str(), found.engine.version.as_str()), ("vLLM", "0.7.2"));
    assert_eq!(found.model.as_deref(), Some("llama-3-8b"));
    // Midnight passes in the middle of it.
    assert_eq!(found.starts[0].seconds, Some(53.0));
    check(
        &found.starts[0],
        1e-6,
        &[
            (Init, "engine start", 16.0),
            (Load, "model load", 19.0),
            (Warm, "graph capture", 12.0),
            (Warm, "KV cache and first pass", 3.93),
            (Init, "rest, not split", 2.07),
        ],
    );
    let memory = found.memory.unwrap();
    let gib = |x: f64| Some((x * f64::from(1 << 30)).round() as u64);
    assert_eq!(memory.weights_bytes, gib(14.9595));
    assert_eq!(memory.kv_cache_bytes, gib(54.90));
    assert_eq!(memory.kv_cache_tokens, Some(28_108 * 16));
    assert_eq!(memory.reserve_per_gpu_bytes, gib(0.09 + 1.25 + 0.26));
    assert_eq!(found.settings["maxModelLen"], 8192);
    assert!(found.starts[0].notes[0].contains("when the process began"), "{:?}", found.starts[0].notes);
}

#[test]
fn vllm_v1_of_one_gpu_over_new_year() {
    let found = read(&text("vllm-v1-0.8.log")).unwrap();
    assert_eq!(found.engine.version, "0.8.5");
    check(
        &found.starts[0],
        1e-6,
        &[
            (Init, "engine start", 26.0),
            (Load, "download", 31.402_118),
            (Load, "weights", 6.11),
            (Load, "load overhead", 38.412_277 - 31.402_118 - 6.11),
            (Warm, "compile", 32.89),
            (Warm, "graph capture", 22.0),
            (Warm, "KV cache and first pass", 66.64 - 32.89 - 22.0),
            (Init, "rest, not split", 132.0 - 26.0 - 38.412_277 - 66.64),
        ],
    );
    assert_eq!(found.settings["maxNumBatchedTokens"], 8192);
    assert_eq!(found.settings["prefixCaching"], true);
    assert_eq!(found.memory.unwrap().kv_cache_tokens, Some(428_112));
}

#[test]
fn vllm_v1_of_two_gpus_counts_the_slower_one_and_both_their_memories() {
    let found = read(&text("vllm-v1-0.19.log")).unwrap();
    assert_eq!(found.engine.version, "0.19.0");
    check(
        &found.starts[0],
        1e-6,
        &[
            (Init, "engine start", 32.0),
            (Load, "weights", 23.05),
            (Load, "load overhead", 25.480_105 - 23.05),
            (Warm, "compile", 13.62),
            (Warm, "profiling run", 1.31),
            (Warm, "graph capture", 9.0),
            (Warm, "KV cache and first pass", 27.94 - 13.62 - 1.31 - 9.0),
            (Init, "rest, not split", 90.0 - 32.0 - 25.480_105 - 27.94),
        ],
    );
    let memory = found.memory.unwrap();
    let gib = |x: f64| Some((x * f64::from(1 << 30)).round() as u64);
    assert_eq!(memory.weights_bytes, gib(2.0 * 65.71));
    // The line is printed by one of the two.
    assert_eq!(memory.kv_cache_bytes, gib(2.0 * 58.12));
    assert_eq!(memory.kv_cache_tokens, Some(380_880));
    // Graphs without activations are no reserve.
    assert_eq!(memory.reserve_per_gpu_bytes, None);
    assert_eq!((&found.settings["maxNumSeqs"], &found.settings["tensorParallel"]), (&128.into(), &2.into()));
}

#[test]
fn bars_count_where_no_line_says_how_long_the_graphs_took() {
    let bars = text("vllm-v1-0.19.log");
    let without: String =
        bars.split_inclusive('\n').filter(|line| !line.contains("Graph capturing finished")).collect();
    let found = read(&without).unwrap();
    let capture =
        found.starts[0].stages.iter().find(|s| s.label.as_deref() == Some("graph capture")).unwrap();
    assert_eq!(capture.seconds, 8.0, "5 s and 3 s, each printed twice");
}

#[test]
fn sglang_old_and_new() {
    let old = read(&text("sglang-0.4.log")).unwrap();
    assert_eq!((old.engine.name.as_str(), old.engine.version.as_str()), ("SGLang", "unknown"));
    check(
        &old.starts[0],
        1e-6,
        &[
            (Init, "engine start", 13.0),
            (Load, "weights", 6.0),
            (Warm, "KV cache", 1.0),
            (Warm, "graph capture", 6.42),
            (Warm, "first request", 3.0),
            (Init, "rest, not split", 31.0 - 29.42),
        ],
    );
    assert_eq!(old.settings["chunkedPrefillSize"], 8192);
    assert_eq!(old.memory.unwrap().kv_cache_tokens, Some(443_600));

    let new = read(&text("sglang-0.5.log")).unwrap();
    check(
        &new.starts[0],
        1e-6,
        &[
            (Init, "engine start", 18.0),
            (Load, "weights", 22.91),
            (Warm, "KV cache", 1.0),
            (Warm, "graph capture", 11.35 + 3.80),
            (Warm, "first request", 3.0),
            (Init, "rest, not split", 63.0 - 18.0 - 22.91 - 1.0 - 15.15 - 3.0),
        ],
    );
    let memory = new.memory.unwrap();
    let gib = |x: f64| Some((x * f64::from(1 << 30)).round() as u64);
    assert_eq!((memory.weights_bytes, memory.kv_cache_bytes), (gib(2.0 * 66.84), gib(4.0 * 26.09)));
}

#[test]
fn tgi_waits_for_its_slowest_shard() {
    let found = read(&text("tgi.log")).unwrap();
    assert_eq!(found.engine.name, "TGI");
    check(
        &found.starts[0],
        1e-3,
        &[
            (Load, "download", 51.532_562 - 47.007_350),
            (Load, "shard start, imports included", 18.340_118_204),
            (Warm, "warm-up", 16.872_015 - 10.114_201),
            (Init, "rest, not split", 31.013_418 - 4.525_212 - 18.340_118_204 - 6.757_814),
        ],
    );
    assert_eq!(found.memory.unwrap().kv_cache_tokens, Some(441_872));
    assert_eq!(found.settings["maxBatchPrefillTokens"], 4096);
}

#[test]
fn triton_over_new_year() {
    let found = read(&text("triton.log")).unwrap();
    assert_eq!((found.engine.name.as_str(), found.engine.version.as_str()), ("Triton", "2.64.0"));
    check(
        &found.starts[0],
        1e-3,
        &[
            (Init, "server start", 0.191_493),
            (Load, "model load", 43.484_75),
            (Init, "rest, not split", 43.770_339 - 0.191_493 - 43.484_75),
        ],
    );
    let memory = found.memory.unwrap();
    assert_eq!((memory.weights_bytes, memory.kv_cache_tokens), (Some(15_323 << 20), Some(428_512)));
}

#[test]
fn tensorrt_llm() {
    let found = read(&text("tensorrt-llm.log")).unwrap();
    assert_eq!((found.engine.name.as_str(), found.engine.version.as_str()), ("TensorRT-LLM", "1.0.0"));
    check(
        &found.starts[0],
        1e-6,
        &[
            (Load, "weights", 22.0),
            (Load, "load overhead", 35.02 - 22.0),
            (Init, "rest, not split", 104.0 - 35.02),
        ],
    );
    let memory = found.memory.unwrap();
    let gib = |x: f64| Some((x * f64::from(1 << 30)).round() as u64);
    assert_eq!(memory.weights_bytes, gib(2.0 * 65.72));
    // The cache is allocated twice; the second time it stays.
    assert_eq!((memory.kv_cache_bytes, memory.kv_cache_tokens), (gib(2.0 * 51.20), Some(335_552)));
}

#[test]
fn llama_cpp_counts_from_the_process_start() {
    let found = read(&text("llama-cpp.log")).unwrap();
    assert_eq!(
        (found.engine.name.as_str(), found.model.as_deref()),
        ("llama.cpp", Some("random-llama.gguf"))
    );
    check(
        &found.starts[0],
        1e-6,
        &[
            (Init, "process start", 0.004_761),
            (Load, "weights and KV cache", 0.094_799 - 0.004_761),
            (Warm, "first pass", 0.128_962 - 0.094_799),
            (Init, "rest, not split", 0.135_451 - 0.128_962),
        ],
    );
    assert_eq!(found.memory, None);
    assert!(found.starts[0].notes.is_empty(), "{:?}", found.starts[0].notes);

    let verbose = read(&text("llama-cpp-lv4.log")).unwrap();
    check(
        &verbose.starts[0],
        1e-6,
        &[
            (Init, "process start", 0.005_131),
            (Load, "weights", 0.037_272 - 0.005_131),
            (Warm, "KV cache", 0.065_495 - 0.037_272),
            (Warm, "first pass", 0.096_779 - 0.065_495),
            (Init, "rest, not split", 0.099_541 - 0.096_779),
        ],
    );
    let memory = verbose.memory.unwrap();
    // 8 layers, keys and values, 4 heads of 64, 2 bytes; 4 slots of 2048 tokens.
    assert_eq!((memory.kv_bytes_per_token, memory.kv_cache_tokens), (Some(8192.0), Some(8192)));
    assert_eq!(memory.weights_bytes, Some((49.91 * f64::from(1 << 20)).round() as u64));
    assert_eq!(
        (&verbose.settings["maxNumSeqs"], &verbose.settings["maxModelLen"]),
        (&4.into(), &2048.into())
    );
    assert_eq!(verbose.engine.version, "1");
}

#[test]
fn ollama_loads_a_model_twice() {
    let found = read(&text("ollama.log")).unwrap();
    assert_eq!((found.engine.name.as_str(), found.engine.version.as_str()), ("Ollama", "0.6.2"));
    assert_eq!(found.starts.len(), 2);
    check(
        &found.starts[0],
        1e-3,
        &[(Load, "runner start and weights", 3.02), (Init, "rest, not split", 3.024 - 3.02)],
    );
    check(
        &found.starts[1],
        1e-3,
        &[(Load, "runner start and weights", 1.51), (Init, "rest, not split", 1.531 - 1.51)],
    );
    assert_eq!(found.starts[1].stages[0].run, 1);
}

#[test]
fn receive_times_win_over_stamps_and_show_what_came_before_the_first_line() {
    let mut reader = Reader::new();
    // Line n is received n seconds, and a process start of 7 s, later.
    let log = text("vllm-v1-0.19.log");
    for (n, line) in log.lines().enumerate() {
        assert!(!reader.is_ready());
        reader.push(Some(Duration::from_secs(7 + n as u64)), line);
    }
    assert!(reader.is_ready());
    let found = reader.finish().unwrap();
    let lines = log.lines().count() as f64;
    assert_eq!(found.starts[0].seconds, Some(7.0 + lines - 1.0));
    assert_eq!(stages(&found.starts[0])[0], (Init, "process start to first line", 7.0));
    let sum: f64 = found.starts[0].stages.iter().map(|s| s.seconds).sum();
    assert!(sum >= 7.0 + lines - 1.0 - 1e-9, "{sum}");
    assert!(
        found.starts[0].notes.iter().all(|n| !n.contains("process began")),
        "{:?}",
        found.starts[0].notes
    );
}

#[test]
fn collectors_that_stamp_or_name_every_line_change_nothing_but_the_clock() {
    let plain = read(&text("vllm-v1-0.8.log")).unwrap();
    let named: String =
        text("vllm-v1-0.8.log").lines().map(|line| format!("vllm-1  | \x1b[36m{line}\x1b[0m\n")).collect();
    assert_eq!(read(&named).unwrap(), plain);
    let log = text("llama-cpp.log");
    let stamped =
        log.lines().enumerate().map(|(n, line)| format!("2026-01-01T00:00:{n:02}.500000000Z {line}\n"));
    let found = read(&stamped.collect::<String>()).unwrap();
    assert_eq!(found.starts[0].seconds, Some(10.0), "from the first line to `listening`");
}

#[test]
fn a_log_that_ends_early_has_the_stages_it_told_and_says_so() {
    let log = text("vllm-v1-0.8.log");
    let cut = log.lines().take_while(|line| !line.contains("Dynamo")).collect::<Vec<_>>().join("\n");
    let found = read(&cut).unwrap();
    let start = &found.starts[0];
    assert!(!start.ready && start.seconds.is_none());
    assert!(start.notes.iter().any(|n| n.contains("before the engine is ready")), "{:?}", start.notes);
    let labels: Vec<&str> = stages(start).iter().map(|(_, label, _)| *label).collect();
    assert_eq!(labels, ["engine start", "download", "weights", "load overhead"]);
}

#[test]
fn the_log_of_nobody_is_none() {
    for text in ["", "hello\nworld", "INFO:     Application startup complete.", "{\"a\": 1}"] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn huge_lines_are_cut() {
    let mut reader = Reader::new();
    reader.push(None, &format!("INFO 01-01 00:00:00 [x.py:1] {}", "é".repeat(3_000_000)));
    reader.push(None, "INFO 01-01 00:00:01 [x.py:1] Model loading took 1.00 GiB and 2.00 seconds");
    assert_eq!(reader.finish().unwrap().starts[0].stages[0].seconds, 2.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_line_panics_and_no_stage_is_nothing(
        lines in proptest::collection::vec(any::<String>(), 0..8),
        cuts in proptest::collection::vec((0_usize..40, 0_usize..200), 0..12),
    ) {
        // Real lines, cut anywhere and in any order, among arbitrary ones.
        let files = ["vllm-v1-0.19.log", "sglang-0.5.log", "tgi.log", "llama-cpp-lv4.log", "ollama.log", "triton.log"];
        let log: Vec<String> = files.iter().flat_map(|f| text(f).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let mut reader = Reader::new();
        for line in lines {
            reader.push(None, &line);
        }
        for (at, len) in cuts {
            let line: String = log[(at * 7) % log.len()].chars().take(len).collect();
            reader.push((len % 2 == 0).then(|| Duration::from_millis(at as u64)), &line);
        }
        if let Some(found) = reader.finish() {
            for stage in found.starts.iter().flat_map(|s| &s.stages) {
                prop_assert!(stage.seconds > 0.0 && stage.seconds.is_finite(), "{stage:?}");
            }
        }
    }
}
