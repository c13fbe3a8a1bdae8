//! `thawline-calibrate gpu` from outside: the whole plan on the CPU backend, a run that was
//! killed and resumed, and what is said where there is no GPU.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

use std::collections::BTreeSet;
use std::path::Path;

use assert_cmd::Command;
use thawline::profile::schema::Stage;
use thawline_calibrate::raw::{self, Cache, Launch, RawFile, Record};

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn calibrate(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::cargo_bin("thawline-calibrate").unwrap();
    let output = command.current_dir(folder).arg("gpu").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

const TINY: [&str; 8] =
    ["--backend", "cpu", "--shape", "tiny", "--quick", "--raw", "tiny.raw.jsonl", "--work-dir"];

fn measure(folder: &Path) -> Ran {
    let mut arguments = TINY.to_vec();
    let work = folder.to_str().unwrap();
    arguments.push(work);
    calibrate(folder, &arguments)
}

fn flags(file: &RawFile) -> BTreeSet<&str> {
    let flags = file.records.iter().filter_map(|r| if let Record::Flag(f) = r { Some(f) } else { None });
    flags.map(|f| f.flag.as_str()).collect()
}

/// Kinds of records, to count them.
fn kind(record: &Record) -> String {
    let value = serde_json::to_value(record).unwrap();
    value.as_object().unwrap().keys().next().unwrap().clone()
}

#[test]
fn the_whole_plan_runs_on_a_cpu_and_goes_on_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let ran = measure(folder.path());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("measured tiny in"), "{}", ran.stdout);
    assert!(ran.stderr.contains("cpuBackend"), "{}", ran.stderr);
    let path = folder.path().join("tiny.raw.jsonl");
    let file = raw::read(&path).unwrap();
    is_complete(&file);
    // The random weights are gone.
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["tiny.raw.jsonl"]);

    // A complete file is not measured again.
    let again = measure(folder.path());
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("complete measurement already"), "{}", again.stderr);

    // A kill in the middle of a line: what is whole is kept, the rest measured.
    let bytes = std::fs::read(&path).unwrap();
    let cut = bytes.len() * 2 / 3;
    std::fs::write(&path, &bytes[..cut]).unwrap();
    let torn = raw::read(&path).unwrap();
    assert!(torn.torn_bytes > 0 && torn.records.len() > 20);
    let resumed = measure(folder.path());
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert!(resumed.stderr.contains("going on after"), "{}", resumed.stderr);
    let whole = raw::read(&path).unwrap();
    assert_eq!(whole.records[..torn.records.len()], torn.records);
    assert_eq!(whole.header, file.header);
    is_complete(&whole);
    // Nothing was measured twice.
    let points = |file: &RawFile| {
        let timed =
            ["decode", "prefill", "linear", "decodeAttention", "prefillAttention", "mixed", "transfer"];
        file.records.iter().map(kind).filter(|k| timed.contains(&k.as_str())).count()
    };
    assert_eq!(points(&whole), points(&file));
}

/// A file of `--quick` on the tiny shape holds every kind of sample, the decode rectangle in full.
fn is_complete(file: &RawFile) {
    assert!(file.is_complete() && file.torn_bytes == 0);
    assert_eq!(file.header.model.as_deref(), Some("tiny F32"));
    assert_eq!(file.header.settings["quick"], true);
    let kinds: BTreeSet<String> = file.records.iter().map(kind).collect();
    for expected in [
        "stage",
        "decode",
        "prefill",
        "linear",
        "decodeAttention",
        "prefillAttention",
        "mixed",
        "graphCapture",
        "warmUp",
        "transfer",
        "memory",
        "device",
        "flag",
        "elapsed",
        "done",
    ] {
        assert!(kinds.contains(expected), "no {expected} among {kinds:?}");
    }
    assert!(!flags(file).contains("kernelWrong") && flags(file).contains("cpuBackend"));
    for failed in ["pointFailed", "firstUseFailed", "probeFailed", "timeLimit"] {
        assert!(!flags(file).contains(failed), "{:?}", file.records);
    }
    let mut cells = BTreeSet::new();
    for record in &file.records {
        match record {
            Record::Decode(d) if d.timing.launch == Some(Launch::Graph) && !d.timing.repeat => {
                assert!(d.timing.samples_us.len() >= 3 && d.timing.roofline_us.unwrap() > 0.0);
                cells.insert((d.batch, d.kv_tokens));
            }
            Record::WarmUp(w) => assert_eq!(w.samples_us.len(), 30, "{}", w.pass),
            Record::Stage(s) => assert!(s.stage == Stage::RuntimeInit && s.seconds > 0.0, "{s:?}"),
            _ => {}
        }
    }
    let batches: BTreeSet<u32> = cells.iter().map(|c| c.0).collect();
    let columns: BTreeSet<u64> = cells.iter().map(|c| c.1).collect();
    assert!(batches.len() >= 3 && columns.len() >= 3, "{cells:?}");
    assert_eq!(cells.len(), batches.len() * columns.len(), "not a rectangle: {cells:?}");
    let loads = |wanted: Cache| {
        let load = |r: &&Record| matches!(r, Record::Transfer(t) if t.what.starts_with("weight load") && t.cache == Some(wanted));
        file.records.iter().filter(load).count()
    };
    // Two ways at three sizes.
    assert_eq!((loads(Cache::Cold), loads(Cache::Warm)), (6, 6));
}

#[test]
fn without_a_gpu_it_says_what_is_missing() {
    // A host with a GPU would begin to measure here.
    if Path::new("/dev/nvidiactl").exists() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let ran = calibrate(folder.path(), &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    for expected in ["E0701", "libcuda", "--backend cpu"] {
        assert!(ran.stderr.contains(expected), "`{expected}` is missing from:\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("moe.json"), r#"{"model_type": "mixtral", "num_local_experts": 8}"#)
        .unwrap();
    let check = |arguments: &[&str], expected: &[&str]| {
        let ran = calibrate(folder.path(), arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}");
        for text in expected {
            assert!(ran.stderr.contains(text), "{arguments:?}: `{text}` is missing from:\n{}", ran.stderr);
        }
    };
    check(&["--shape", "llama-3-8"], &["E0710", "there are llama-3-8b, "]);
    check(
        &["--config", "moe.json"],
        &["mixture of experts", "`mixtral` is not known", "`hidden_size` is missing"],
    );
    check(&["--config", "none.json"], &["E0401"]);
    check(&["--model-dir", "none"], &["E0401"]);
    check(&["--shape", "tiny", "--tensor-parallel", "3"], &["4 query heads cannot be split over 3 GPUs"]);
    check(&["--gpu-utilization", "1.5"], &["a share is above 0 and at most 1"]);
    check(&["--shape", "tiny", "--config", "x"], &["cannot be used with"]);
    let moved = ["--backend", "cpu", "--quick", "--raw", "r.jsonl", "--work-dir", "/no/such/folder"];
    let ran = calibrate(folder.path(), &moved);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot write to the work directory"), "{}", ran.stderr);
}
