//! Imported results, and several raw files in one profile: what each determines, and which wins.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod common;

use common::header;
use thawline::kernel::SimDuration;
use thawline::profile::Provenance;
use thawline::profile::schema::{EngineVersion, Stage};
use thawline_calibrate::fit::{Options, fit};
use thawline_calibrate::raw::{BenchmarkSample, Cache, Done, Kind, RawFile, Record, StageSample};

fn file(kind: Kind, source: &str, mut records: Vec<Record>) -> RawFile {
    records.push(Record::Done(Done { seconds: 1.0 }));
    let mut header = header(kind);
    source.clone_into(&mut header.source);
    RawFile { header, records, torn_bytes: 0 }
}

/// A load tool's run on a server whose step takes 8 ms, 0.4 ms a sequence and 200 ns a KV token.
fn benchmark(concurrency: f64, prompt_tokens: f64, output_tokens: f64) -> Record {
    let kv = concurrency * (prompt_tokens + output_tokens / 2.0);
    Record::Benchmark(BenchmarkSample {
        tool: "a tool".to_owned(),
        prompt_tokens,
        output_tokens,
        concurrency,
        // Under load it is mostly queue; that must not be taken for prefill.
        ttft_ms: Some(if concurrency > 1.0 { 5_000.0 } else { 12.0 + 0.09 * prompt_tokens }),
        itl_ms: Some(8.0 + 0.4 * concurrency + 2e-4 * kv),
        latency_ms: None,
        requests: 100,
    })
}

fn stage(stage: Stage, cache: Option<Cache>, seconds: f64) -> Record {
    let source = "a log line".to_owned();
    Record::Stage(StageSample { stage, label: None, cache, run: 0, seconds, bytes: None, source })
}

fn benchmarks() -> Vec<Record> {
    let mut records = Vec::new();
    for concurrency in [1.0, 4.0, 16.0, 64.0] {
        for prompt in [200.0, 1_000.0, 4_000.0] {
            records.push(benchmark(concurrency, prompt, 200.0));
        }
    }
    records
}

#[test]
fn results_of_a_load_tool_give_step_times_and_the_time_of_the_host() {
    let mut records = benchmarks();
    records.push(stage(Stage::WeightLoad, None, 30.0));
    let profile = fit(&[file(Kind::Import, "a tool", records)], &Options::default()).unwrap().profile;
    let spec = profile.step_time.as_ref().unwrap();
    let decode = spec.decode.fit.as_ref().unwrap();
    let close =
        |value: f64, expected: f64| assert!((value / expected - 1.0).abs() < 1e-3, "{value}, not {expected}");
    close(decode.value.base_ms, 8.0);
    close(decode.value.per_sequence_us, 400.0);
    close(decode.value.per_kv_token_ns, 200.0);
    assert!(decode.note.as_ref().unwrap().contains("12 runs of a load tool"), "{:?}", decode.note);
    let plane = spec.prefill.max_planes.as_ref().unwrap().value.planes[0];
    close(plane.per_token_us, 90.0);
    // 12 ms for an empty prompt, of which 8.4 ms are a step with one sequence.
    close(plane.base_ms, 8.4);
    close(profile.per_request().as_secs_f64(), 3.6e-3);
    let range = spec.measured.unwrap();
    assert_eq!((range.batch, range.kv_tokens, range.prefill_tokens), (64, 64 * 4_100, 4_000));
}

#[test]
fn one_run_of_a_load_tool_is_not_enough_for_step_times() {
    let records = vec![benchmark(16.0, 1_000.0, 200.0), stage(Stage::WeightLoad, None, 30.0)];
    let fitted = fit(&[file(Kind::Import, "a tool", records)], &Options::default()).unwrap();
    assert_eq!(fitted.profile.step_time, None);
    let said = fitted.report.notes.join("\n");
    for part in ["two batch sizes", "no request was alone", "nothing determines decode or prefill"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn for_each_part_the_first_file_that_has_it_wins() {
    let logs = file(
        Kind::Import,
        "logs",
        vec![
            stage(Stage::WeightLoad, Some(Cache::Cold), 30.0),
            stage(Stage::WeightLoad, Some(Cache::Warm), 4.0),
        ],
    );
    let mut others = benchmarks();
    others.extend([stage(Stage::WeightLoad, None, 99.0), stage(Stage::ImagePull, None, 60.0)]);
    let mut tool = file(Kind::Server, "a tool", others);
    tool.header.engine = Some(EngineVersion { name: "vLLM".to_owned(), version: "1".to_owned() });
    let options = |cache| Options { cache, name: Some("both".to_owned()), ..Options::default() };
    let fitted = fit(&[logs.clone(), tool.clone()], &options(Cache::Cold)).unwrap();
    let profile = &fitted.profile;
    let stages: Vec<(Stage, SimDuration, Option<&str>)> =
        profile.start_up.iter().map(|s| (s.stage, s.time.value.median(), s.time.source.as_deref())).collect();
    assert_eq!(
        stages,
        [
            (Stage::ImagePull, SimDuration::from_secs(60), Some("a tool: a log line")),
            (Stage::WeightLoad, SimDuration::from_secs(30), Some("logs: a log line")),
        ]
    );
    assert!(profile.step_time.is_some());
    assert_eq!((profile.name.as_str(), profile.engine.name.as_str()), ("both", "vLLM"));
    assert!(profile.description.contains("by `import`, `server` on 2026-11-22"), "{}", profile.description);
    assert!(profile.start_up.iter().all(|s| s.time.provenance == Provenance::Measured));
    let warm = fit(&[logs, tool], &options(Cache::Warm)).unwrap().profile;
    assert_eq!(warm.start_up[1].time.value.median(), SimDuration::from_secs(4));
}
