//! `import` end to end: every format from its fixture, several files together, and what it
//! refuses.

// Figures are read, not computed: they come out as they stand in the file.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

use std::io::Write;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use proptest::prelude::*;
use thawline::profile::schema::Stage;
use thawline_calibrate::import::{Merged, Options, merge, read};
use thawline_calibrate::raw::{self, Cache, Load, Record, RequestSample, StageSample};

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

fn import(files: &[&str], options: &Options) -> Result<Merged, String> {
    let mut pieces = Vec::new();
    for file in files {
        let bytes = std::fs::read(fixture(file)).unwrap();
        pieces.extend(read(file, &bytes, options).map_err(|f| f[0].message.clone())?);
    }
    merge(&pieces, options).map_err(|f| f[0].message.clone())
}

fn stages(merged: &Merged) -> Vec<&StageSample> {
    merged.records.iter().filter_map(|r| if let Record::Stage(s) = r { Some(s) } else { None }).collect()
}

fn requests(merged: &Merged) -> Vec<&RequestSample> {
    merged.records.iter().filter_map(|r| if let Record::Request(s) = r { Some(s) } else { None }).collect()
}

fn loads(merged: &Merged) -> Vec<Load> {
    merged
        .records
        .iter()
        .filter_map(|r| if let Record::Series(s) = r { Some(s.load) } else { None })
        .collect()
}

fn flags(merged: &Merged) -> Vec<&str> {
    merged
        .records
        .iter()
        .filter_map(|r| if let Record::Flag(f) = r { Some(f.flag.as_str()) } else { None })
        .collect()
}

type Row<'a> = (u32, Stage, &'a str, f64);

#[track_caller]
fn check_stages(merged: &Merged, expected: &[Row<'_>]) {
    let found: Vec<Row<'_>> = stages(merged)
        .iter()
        .map(|s| (s.run, s.stage, s.label.as_deref().unwrap_or(""), s.seconds))
        .collect();
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a.0, a.1, a.2) == (b.0, b.1, b.2) && (a.3 - b.3).abs() < 1e-9);
    assert!(same, "found    {found:#?}\nexpected {expected:#?}");
}

const BOOT: &str = "container start to ready, not split";
use Stage::{ContainerStart as Start, ImagePull as Pull, RuntimeInit as Init};

#[test]
fn pods_and_events_of_a_cold_and_a_warm_node() {
    let merged = import(&["kubernetes/events-pods.json"], &Options::default()).unwrap();
    check_stages(
        &merged,
        &[
            (0, Start, "scheduling", 2.0),
            (0, Start, "sandbox and network", 3.0),
            (0, Pull, "", 102.5),
            (0, Pull, "waiting for other pulls", 2.75),
            (0, Start, "create and start", 2.0),
            (0, Init, BOOT, 55.0),
            (1, Start, "sandbox and network", 2.0),
            (1, Start, "create and start", 1.0),
            (1, Init, BOOT, 41.0),
        ],
    );
    let pull = stages(&merged)[2];
    assert_eq!((pull.bytes, pull.cache), (Some(9_876_543_210), Some(Cache::Cold)));
    assert_eq!(flags(&merged), ["probed", "imagePresent"]);
    assert_eq!(merged.gpus, Some(1));
}

#[test]
fn pods_alone_skip_their_sidecars() {
    let merged = import(&["kubernetes/pods.json"], &Options::default()).unwrap();
    check_stages(
        &merged,
        &[
            (0, Start, "scheduling", 1.0),
            (0, Start, "sandbox and network", 3.0),
            (0, Start, "init containers", 4.0),
            (0, Start, "pull and start, not split", 2.0),
            (0, Init, BOOT, 60.0),
        ],
    );
    let proxy = Options { container: Some("proxy".to_owned()), ..Options::default() };
    let merged = import(&["kubernetes/pods.json"], &proxy).unwrap();
    assert_eq!(stages(&merged).last().unwrap().seconds, 61.0);
    let none = Options { container: Some("nginx".to_owned()), ..Options::default() };
    assert!(import(&["kubernetes/pods.json"], &none).unwrap_err().contains("`nginx`"));
}

#[test]
fn events_of_old_and_new_kubernetes() {
    let old = import(&["kubernetes/events-old.json"], &Options::default()).unwrap();
    check_stages(
        &old,
        &[(0, Start, "sandbox and network", 2.0), (0, Pull, "", 40.3), (0, Start, "create and start", 1.0)],
    );
    let new = import(&["kubernetes/events-new.json"], &Options::default()).unwrap();
    check_stages(
        &new,
        &[
            (0, Start, "sandbox and network", 1.375),
            (0, Pull, "", 0.796),
            (0, Pull, "waiting for other pulls", 1.2 - 0.796),
            (0, Start, "create and start", 0.75),
        ],
    );
    assert_eq!(flags(&new), ["pullFailed"]);
    assert_eq!(stages(&new)[1].bytes, Some(123_456));
}

#[test]
fn separate_lists_are_one_cluster() {
    let text = std::fs::read_to_string(fixture("kubernetes/events-pods.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let list = |kind: &str, list: &str| {
        let of_kind = |i: &&serde_json::Value| i["kind"] == kind;
        let items: Vec<_> = all["items"].as_array().unwrap().iter().filter(of_kind).cloned().collect();
        let mut one = serde_json::json!({"kind": list, "items": items});
        // Lists of one kind leave it out of their items.
        one["items"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|i| drop(i.as_object_mut().unwrap().remove("kind")));
        read(list, one.to_string().as_bytes(), &Options::default()).unwrap()
    };
    let pieces = [list("Pod", "PodList"), list("Event", "EventList")].concat();
    let apart = merge(&pieces, &Options::default()).unwrap();
    let together = import(&["kubernetes/events-pods.json"], &Options::default()).unwrap();
    assert_eq!(stages(&apart), stages(&together));
}

#[test]
fn a_log_splits_the_time_to_ready_of_its_pod() {
    let merged = import(&["kubernetes/pods.json", "logs/vllm-v0.log"], &Options::default()).unwrap();
    let found = stages(&merged);
    assert!(found.iter().all(|s| s.run == 0 && s.label.as_deref() != Some(BOOT)), "{found:#?}");
    let of = |label: &str| found.iter().find(|s| s.label.as_deref() == Some(label)).unwrap().seconds;
    assert_eq!(of("container start to first log line"), 60.0 - 53.0);
    // What kubelet saw from the container's start on is what the stages add up to.
    let engine: f64 = found.iter().filter(|s| s.stage >= Stage::RuntimeInit).map(|s| s.seconds).sum();
    assert!((engine - 60.0).abs() < 1e-9, "{engine}");
    assert_eq!(merged.engine.unwrap().version, "0.7.2");
}

#[test]
fn logs_that_cannot_be_told_apart_replace_all_times_to_ready() {
    let merged = import(&["kubernetes/events-pods.json", "logs/vllm-v0.log"], &Options::default()).unwrap();
    assert!(stages(&merged).iter().all(|s| s.label.as_deref() != Some(BOOT)));
    assert!(flags(&merged).contains(&"bootReplaced") && flags(&merged).contains(&"logIncomplete"));
    assert_eq!(stages(&merged).last().unwrap().run, 2);
    let mixed = import(&["logs/tgi.log", "logs/vllm-v0.log"], &Options::default()).unwrap_err();
    assert!(mixed.contains("TGI") && mixed.contains("vLLM"), "{mixed}");
}

#[test]
fn logs_of_docker_and_logs_with_json_in_them_are_logs() {
    let docker: String = std::fs::read_to_string(fixture("logs/sglang-0.4.log"))
        .unwrap()
        .lines()
        .enumerate()
        .map(|(n, line)| {
            let time = format!("2026-01-01T00:00:{n:02}.250000000Z");
            serde_json::json!({"log": format!("{line}\n"), "stream": "stderr", "time": time}).to_string()
                + "\n"
        })
        .collect();
    let pieces = read("docker.json", docker.as_bytes(), &Options::default()).unwrap();
    assert_eq!(pieces[0].format, "SGLang log");
    let found = merge(&pieces, &Options::default()).unwrap();
    // A line a second, from the first to the last.
    let sum: f64 = stages(&found).iter().map(|s| s.seconds).sum();
    assert!((sum - (docker.lines().count() - 1) as f64).abs() < 1e-6, "{sum}");

    let mixed =
        format!("[1] 318\n{{\"a\": 1}}\n{}", std::fs::read_to_string(fixture("logs/tgi.log")).unwrap());
    assert_eq!(read("mixed.log", mixed.as_bytes(), &Options::default()).unwrap()[0].format, "TGI log");
}

#[test]
fn a_log_longer_than_its_pod_took_is_not_its_log() {
    let merged = import(&["kubernetes/pods.json", "logs/vllm-v1-0.19.log"], &Options::default()).unwrap();
    assert!(flags(&merged).contains(&"bootReplaced"));
    assert!(stages(&merged).iter().all(|s| s.label.as_deref() != Some(BOOT)));
}

#[test]
fn vllm_serve() {
    let plain = import(&["benchmarks/vllm-serve.json"], &Options::default()).unwrap();
    let Record::Benchmark(sample) = &plain.records[1] else { panic!("{:?}", plain.records) };
    assert_eq!((sample.prompt_tokens, sample.output_tokens, sample.requests), (128.0, 8.0, 6));
    assert_eq!((sample.ttft_ms, sample.itl_ms), (Some(40.0), Some(9.0)));
    assert!((sample.concurrency - 1.94 * 0.1047).abs() < 1e-9);

    let detailed = import(&["benchmarks/vllm-serve-detailed.json"], &Options::default()).unwrap();
    assert_eq!(loads(&detailed), [Load::Closed { clients: 2 }]);
    let all = requests(&detailed);
    assert_eq!(all.len(), 6);
    assert_eq!((all[2].sent_ns, all[2].events_ns.len()), (103_000_000, 8));
    assert_eq!(all[0].events_ns[..2], [40_000_000, 49_000_000]);
    assert_eq!((all[0].done_ns, all[0].output_tokens), (Some(103_000_000), Some(8)));
    assert_eq!((all[5].done_ns, all[5].error.is_some()), (Some(all[5].sent_ns), true));
    assert_eq!(flags(&detailed), ["failedEnd"]);
    assert_eq!(detailed.model.as_deref(), Some("llama-3-8b"));
    assert_eq!(
        detailed.records[0],
        Record::Source(raw::Source {
            file: "vllm-serve-detailed.json".to_owned(),
            format: "vLLM bench serve".to_owned(),
        })
    );
}

#[test]
fn sglang_serving_has_a_run_a_line() {
    let merged = import(&["benchmarks/sglang-serving.jsonl"], &Options::default()).unwrap();
    let means =
        merged.records.iter().filter(|r| matches!(r, Record::Benchmark(b) if b.concurrency == 3.6)).count();
    assert_eq!((means, requests(&merged).len()), (1, 4));
    // It keeps no sending times, but four clients and four requests all start at once.
    assert!(requests(&merged).iter().all(|r| r.sent_ns == 0));
}

#[test]
fn steps_of_one_batch() {
    let decode = |merged: &Merged| -> Vec<(u32, u64, f64)> {
        let of = |r: &Record| {
            if let Record::Decode(d) = r {
                Some((d.batch, d.kv_tokens, d.timing.samples_us[0]))
            } else {
                None
            }
        };
        merged.records.iter().filter_map(of).collect()
    };
    let prefill = |merged: &Merged| -> Vec<(u64, f64)> {
        let of = |r: &Record| {
            if let Record::Prefill(p) = r { Some((p.tokens, p.timing.samples_us[0])) } else { None }
        };
        merged.records.iter().filter_map(of).collect()
    };
    let sglang = import(&["benchmarks/sglang-one-batch.jsonl"], &Options::default()).unwrap();
    assert_eq!(decode(&sglang), [(1, 520, 6110.0), (8, 4160, 6850.0), (32, 33_024, 9420.0)]);
    assert_eq!(prefill(&sglang), [(512, 31_200.0)]);
    let llama = import(&["benchmarks/llama-batched-bench.jsonl"], &Options::default()).unwrap();
    assert_eq!(
        decode(&llama).iter().map(|d| (d.0, d.1)).collect::<Vec<_>>(),
        [(1, 40), (2, 80), (4, 160), (1, 136), (2, 272), (4, 544)]
    );
    assert_eq!(prefill(&llama).iter().map(|p| p.0).collect::<Vec<_>>(), [32, 128]);
    assert!(decode(&llama).iter().all(|d| d.2 > 100.0 && d.2 < 100_000.0));
}

#[test]
fn offline_results_ask_for_what_they_leave_out() {
    let full =
        Options { batch_size: Some(8), input_len: Some(512), output_len: Some(128), ..Options::default() };
    for (file, flag) in
        [("benchmarks/vllm-latency.json", "--batch-size"), ("benchmarks/vllm-throughput.json", "--input-len")]
    {
        assert!(import(&[file], &Options::default()).unwrap_err().contains(flag));
        let merged = import(&[file], &full).unwrap();
        assert!(
            matches!(&merged.records[1], Record::Benchmark(b) if b.latency_ms.unwrap() > 1000.0 && b.prompt_tokens == 512.0)
        );
    }
    let wrong = Options { output_len: Some(1000), ..full.clone() };
    assert!(import(&["benchmarks/vllm-throughput.json"], &wrong).unwrap_err().contains("640.0 tokens each"));
    let prefill = Options { batch_size: Some(1), output_len: Some(1), ..full };
    let merged = import(&["benchmarks/vllm-latency.json"], &prefill).unwrap();
    assert!(
        matches!(&merged.records[1], Record::Prefill(p) if p.tokens == 512 && p.timing.samples_us.len() == 3)
    );
}

#[test]
fn vllm_startup_is_cold_and_warm() {
    let merged = import(&["benchmarks/vllm-startup.json"], &Options::default()).unwrap();
    let whole = "engine start with weights, not split";
    check_stages(
        &merged,
        &[
            (0, Init, whole, 36.5),
            (0, Stage::WarmUp, "compile", 25.5),
            (1, Init, whole, 35.5),
            (1, Stage::WarmUp, "compile", 24.5),
            (2, Init, whole, 27.0),
            (2, Stage::WarmUp, "compile", 4.0),
        ],
    );
    assert_eq!(stages(&merged)[0].cache, Some(Cache::Cold));
    assert_eq!(stages(&merged)[5].cache, Some(Cache::Warm));
}

#[test]
fn guidellm() {
    let merged = import(&["benchmarks/guidellm.json"], &Options::default()).unwrap();
    assert_eq!(loads(&merged), [Load::Prompts]);
    let all = requests(&merged);
    assert_eq!((all.len(), all[1].sent_ns, all[0].prompt_tokens), (3, 1_000_000_000, Some(128)));
    // Times of day in doubles are good to about 0.2 µs.
    let ms: Vec<u64> = all[0].events_ns.iter().map(|ns| (ns + 500_000) / 1_000_000).collect();
    assert_eq!(ms, [42, 51, 60, 69, 78, 87, 96, 105]);
    assert!(flags(&merged).contains(&"evenTokens"));
    let means =
        merged.records.iter().filter(|r| matches!(r, Record::Benchmark(b) if b.concurrency == 3.9)).count();
    assert_eq!(means, 1);
}

#[test]
fn aiperf_and_its_forerunner() {
    for (file, ttft) in [("benchmarks/aiperf.json", 50.0), ("benchmarks/genai-perf.json", 49.0)] {
        let merged = import(&[file], &Options::default()).unwrap();
        let Record::Benchmark(sample) = &merged.records[1] else { panic!("{:?}", merged.records) };
        assert_eq!(
            (sample.ttft_ms, sample.itl_ms, sample.concurrency),
            (Some(ttft), Some(9.0), 4.0),
            "{file}"
        );
    }
    let merged = import(&["benchmarks/aiperf.jsonl"], &Options::default()).unwrap();
    let all = requests(&merged);
    assert_eq!(all.len(), 4, "the warm-up is left out");
    assert_eq!((all[0].due_ns, all[0].sent_ns), (0, 1_000_000));
    assert_eq!(all[0].events_ns, [51_000_000, 91_000_000, 141_000_000, 201_000_000]);
    assert_eq!(all[1].events_ns, [151_000_000, 201_000_000, 251_000_000, 301_000_000]);
    assert_eq!(all[3].error.as_deref(), Some("out of memory"));
}

#[test]
fn inference_perf() {
    let merged = import(&["benchmarks/inference-perf-summary.json"], &Options::default()).unwrap();
    let Record::Benchmark(sample) = &merged.records[1] else { panic!("{:?}", merged.records) };
    assert_eq!(
        (sample.prompt_tokens, sample.concurrency, sample.ttft_ms, sample.itl_ms),
        (200.0, 1.0, Some(50.0), Some(9.0))
    );
    let merged = import(&["benchmarks/inference-perf-requests.json"], &Options::default()).unwrap();
    let all = requests(&merged);
    assert_eq!((all.len(), all[0].events_ns.clone()), (4, vec![50_000_000, 200_000_000, 500_000_000]));
    assert_eq!((all[2].due_ns, all[2].sent_ns), (2_900_000_000, 3_000_000_000));
    assert_eq!(all[3].error.as_deref(), Some("503"));
}

#[test]
fn runs_and_series_are_numbered_through() {
    let files = [
        "kubernetes/events-pods.json",
        "benchmarks/vllm-startup.json",
        "benchmarks/vllm-serve-detailed.json",
        "benchmarks/guidellm.json",
    ];
    let merged = import(&files, &Options::default()).unwrap();
    let runs: std::collections::BTreeSet<u32> = stages(&merged).iter().map(|s| s.run).collect();
    // Pods tell how long a start takes: the load tool's starts would count twice.
    assert_eq!(runs.into_iter().collect::<Vec<_>>(), [0, 1]);
    assert!(flags(&merged).contains(&"startUpLeftOut"));
    let starts =
        import(&["benchmarks/vllm-startup.json", "benchmarks/vllm-startup.json"], &Options::default())
            .unwrap();
    assert_eq!(stages(&starts).last().unwrap().run, 5);
    assert_eq!(requests(&merged).iter().map(|r| r.series).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 0, 1, 1, 1]);
}

fn calibrate() -> Command {
    Command::cargo_bin("thawline-calibrate").unwrap()
}

#[test]
fn the_command_writes_one_raw_file() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("sub/x.raw.jsonl");
    let zipped = folder.path().join("engine.log.gz");
    let mut packer =
        flate2::write::GzEncoder::new(std::fs::File::create(&zipped).unwrap(), flate2::Compression::fast());
    packer.write_all(&std::fs::read(fixture("logs/vllm-v1-0.19.log")).unwrap()).unwrap();
    packer.finish().unwrap();
    let mut command = calibrate();
    command
        .arg("import")
        .arg(&zipped)
        .arg(fixture("benchmarks/vllm-serve-detailed.json"))
        .arg("--raw")
        .arg(&raw);
    let done =
        command.args(["--gpu", "H200 SXM", "--gpu-count", "2", "--gpu-memory", "141Gi"]).assert().success();
    let out = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    for word in
        ["engine.log.gz", "vLLM log", "when the process began", "6 requests", "thawline-calibrate fit"]
    {
        assert!(out.contains(word), "no `{word}` in\n{out}");
    }
    let file = raw::read(&raw).unwrap();
    assert!(file.is_complete());
    let (gpu, engine) = (file.header.gpu.unwrap(), file.header.engine.unwrap());
    assert_eq!((gpu.count, engine.version.as_str()), (2, "0.19.0"));
    assert_eq!(file.header.model.as_deref(), Some("llama-3-70b"));
    assert!(
        file.records.iter().any(|r| matches!(r, Record::Memory(m) if m.kv_cache_tokens == Some(380_880)))
    );
    assert_eq!(std::fs::read_dir(raw.parent().unwrap()).unwrap().count(), 1, "nothing else is left behind");
    // A second time it stays as it is.
    let mut again = calibrate();
    again.arg("import").arg(&zipped).arg("--raw").arg(&raw);
    let refused = again.assert().code(2);
    assert!(String::from_utf8_lossy(&refused.get_output().stderr).contains("E0706"));
}

#[test]
fn a_log_becomes_a_profile_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, out) = (folder.path().join("x.raw.jsonl"), folder.path().join("x.yaml"));
    let mut command = calibrate();
    command.arg("import").arg(fixture("logs/vllm-v1-0.19.log")).arg("--raw").arg(&raw).arg("--out").arg(&out);
    command.args(["--gpu", "H200 SXM", "--gpu-count", "2", "--gpu-memory", "141Gi"]).assert().success();
    let text = std::fs::read_to_string(&out).unwrap();
    let (profile, _) = thawline::profile::Profile::from_yaml("x.yaml", &text).unwrap();
    assert_eq!((profile.engine.version.as_str(), profile.gpu.count), ("0.19.0", 2));
    // What the log tells of the weights: 23.05 s and 2.43 s around it.
    let weights = profile.start_up.iter().filter(|s| s.stage == thawline::profile::schema::Stage::WeightLoad);
    let seconds: f64 = weights.map(|s| s.time.value.median().as_secs_f64()).sum();
    assert!((seconds - 25.48).abs() < 0.01, "{seconds}");
    assert!(profile.step_time.is_none(), "a start tells no step times");
}

#[test]
fn all_faults_are_told_at_once_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("x.raw.jsonl");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut command = calibrate();
    command.arg("import").arg(file("notes.txt", "buy milk\n"));
    command.arg(file(
        "broken.jsonl",
        "{\"pp\": 1, \"tg\": 1, \"pl\": 1, \"t_pp\": 1, \"t_tg\": 1}\n{\"pp\": \n",
    ));
    command
        .arg(file("other.json", "{\"a\": 1}"))
        .arg(file("empty.log", ""))
        .arg(folder.path().join("nowhere.log"));
    command.arg(fixture("benchmarks/vllm-latency.json")).arg("--raw").arg(&raw);
    let refused = command.assert().code(2);
    let text = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    for word in [
        "notes.txt",
        "broken.jsonl",
        "line 2",
        "other.json",
        "empty.log",
        "nowhere.log",
        "--batch-size",
        "E0705",
        "SGLang log",
        "import --list",
    ] {
        assert!(text.contains(word), "no `{word}` in\n{text}");
    }
    assert!(!raw.exists());
}

#[test]
fn the_list_names_every_format() {
    let done = calibrate().args(["import", "--list"]).assert().success();
    let text = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    for word in [
        "vLLM log",
        "Ollama log",
        "Kubernetes",
        "GuideLLM",
        "AIPerf",
        "inference-perf",
        "batched-bench",
        "bench_one_batch",
    ] {
        assert!(text.contains(word), "no `{word}` in\n{text}");
    }
    calibrate().arg("import").assert().code(2);
}

/// Fixtures as text, to be damaged.
fn all_fixtures() -> Vec<String> {
    let of = |folder: &str| std::fs::read_dir(fixture(folder)).unwrap().map(|e| e.unwrap().path());
    let mut paths: Vec<PathBuf> = ["kubernetes", "benchmarks"].into_iter().flat_map(of).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_files_are_refused_or_read_but_never_a_panic(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..6), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let fixtures = all_fixtures();
        let mut bytes = which.get(&fixtures).clone().into_bytes();
        for (at, edit) in edits {
            let at = at.index(bytes.len());
            let into: &[u8] = [&b"-1"[..], b"1e999", b"null", b"[]", b"\"\xff\"", b"0"][edit];
            // Numbers and words alike are replaced by something else of JSON.
            let end = (at + 1..bytes.len()).find(|&i| b",}] \n".contains(&bytes[i])).unwrap_or(bytes.len());
            bytes.splice(at..end, into.iter().copied());
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let options = Options { batch_size: Some(1), input_len: Some(1), output_len: Some(2), container: None };
        if let Ok(merged) = read("f", &bytes, &options).and_then(|pieces| merge(&pieces, &options)) {
            for record in &merged.records {
                let line = serde_json::to_string(record).unwrap();
                prop_assert!(serde_json::from_str::<Record>(&line).is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let read = read("f", &bytes, &Options::default());
        prop_assert!(read.is_err() || !read.unwrap().is_empty());
    }
}
