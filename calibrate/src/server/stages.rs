//! The stages of a start that was watched: the engine's own lines where they are known, and
//! the time the lines leave open. Together they are the time from the process's start to healthy.

use std::time::Duration;

use thawline::profile::schema::{EngineVersion, Stage};

use super::identity::Limits;
use super::process::Line;
use crate::logs::{Found, Reader};
use crate::raw::{Cache, MemorySample, StageSample};

/// What a start and its log told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The stages.
    pub stages: Vec<StageSample>,
    /// What a reader of the stages should know.
    pub notes: Vec<String>,
    /// The engine, where its lines are known.
    pub engine: Option<EngineVersion>,
    /// Limits that it printed.
    pub limits: Limits,
    /// Memory that it printed.
    pub memory: Option<MemorySample>,
}

/// Shorter gaps between the engine's last line and a healthy answer are the poll's own, s.
const GAP_S: f64 = 0.001;

/// Reads the lines of a start that was healthy after so long.
pub fn read(
    run: u32,
    cache: Option<Cache>,
    healthy_after: Duration,
    weight_bytes: u64,
    lines: &[Line],
) -> Told {
    let healthy = healthy_after.as_secs_f64();
    let mut reader = Reader::new();
    for line in lines.iter().filter(|line| line.at <= healthy_after) {
        reader.push(Some(line.at), &line.text);
    }
    let mut told = reader.finish().map(of_log).unwrap_or_default();
    let explained: f64 = told.stages.iter().map(|stage| stage.seconds).sum();
    let rest = healthy - explained;
    if told.stages.is_empty() || rest > GAP_S {
        let what = if told.stages.is_empty() { "process start to healthy" } else { "until healthy" };
        told.stages.push(StageSample {
            stage: Stage::RuntimeInit,
            label: (!told.stages.is_empty()).then(|| what.to_owned()),
            cache: None,
            run,
            seconds: rest,
            bytes: None,
            source: format!("thawline-calibrate server: {what}"),
        });
    } else if -rest > healthy * 0.05 {
        told.notes.push(format!("start {run}: the stages in its log take {explained:.2} s, and it was healthy after {healthy:.2} s"));
    }
    for stage in &mut told.stages {
        stage.run = run;
        stage.cache = cache;
        if stage.stage == Stage::WeightLoad && weight_bytes > 0 {
            stage.bytes.get_or_insert(weight_bytes);
        }
    }
    told
}

fn of_log(found: Found) -> Told {
    let number = |key: &str| found.settings.get(key).and_then(serde_json::Value::as_u64);
    let limits = Limits {
        max_num_seqs: number("maxNumSeqs"),
        max_num_batched_tokens: number("maxNumBatchedTokens"),
        kv_cache_tokens: found.memory.as_ref().and_then(|memory| memory.kv_cache_tokens),
        context_tokens: number("maxModelLen"),
    };
    // A command may have written of other starts before its own: the last one is what answers now.
    let start = found.starts.into_iter().next_back().unwrap_or_default();
    Told {
        stages: start.stages,
        notes: start.notes,
        engine: Some(found.engine),
        limits,
        memory: found.memory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[(u64, &str)]) -> Vec<Line> {
        texts
            .iter()
            .map(|(ms, text)| Line { at: Duration::from_millis(*ms), text: (*text).to_owned() })
            .collect()
    }

    fn check(log: &[(u64, &str)], healthy_ms: u64, expected: &[(Stage, f64, Option<u64>)]) -> Told {
        let told = read(3, Some(Cache::Cold), Duration::from_millis(healthy_ms), 77, &lines(log));
        let found: Vec<_> =
            told.stages.iter().map(|s| (s.stage, (s.seconds * 1e3).round() / 1e3, s.bytes)).collect();
        assert_eq!(found, expected);
        assert!(told.stages.iter().all(|s| s.run == 3 && s.cache == Some(Cache::Cold)));
        told
    }

    const LLAMA_CPP: &[(u64, &str)] = &[
        (40, "0.00.004.596 I srv    load_model: loading model '/tmp/x.gguf'"),
        (100, "0.00.060.000 I llama_context: constructing llama_context"),
        (120, "0.00.080.000 I llama_context: n_batch               = 2048"),
        (160, "0.00.120.000 I cmn  common_init_: warming up the model with an empty run - please wait"),
        (
            200,
            "0.00.160.000 I srv    load_model: initializing, n_slots = 8, n_ctx_slot = 2048, kv_unified = 'false'",
        ),
        (210, "0.00.170.000 I srv  llama_server: listening on http://127.0.0.1:8377"),
    ];

    #[test]
    fn a_known_log_splits_the_start_and_the_rest_is_kept() {
        let (init, load, warm) = (Stage::RuntimeInit, Stage::WeightLoad, Stage::WarmUp);
        let parts = [(init, 0.04, None), (load, 0.06, Some(77)), (warm, 0.06, None), (warm, 0.04, None)];
        let told = check(LLAMA_CPP, 250, &[&parts[..], &[(init, 0.01, None), (init, 0.04, None)]].concat());
        assert_eq!(told.limits.max_num_seqs, Some(8));
        assert_eq!(told.limits.max_num_batched_tokens, Some(2048));
        assert_eq!(told.engine.unwrap().name, "llama.cpp");
    }

    #[test]
    fn a_log_nobody_knows_is_one_stage() {
        let told = check(&[(10, "hello")], 250, &[(Stage::RuntimeInit, 0.25, None)]);
        assert_eq!(told.engine, None);
        // What comes after it was healthy is no part of the start.
        check(
            &LLAMA_CPP.iter().map(|(ms, text)| (ms + 500, *text)).collect::<Vec<_>>(),
            250,
            &[(Stage::RuntimeInit, 0.25, None)],
        );
    }
}
