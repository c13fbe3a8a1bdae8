//! Mooncake traces (FAST '25): JSONL with `timestamp` in ms, `input_length`,
//! `output_length` and `hash_ids` of 512-token prefix blocks.
//!
//! Their timestamps are quantised: hundreds of requests share one instant, so the CV of
//! their inter-arrival times says nothing about burstiness.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clock::TimeUnit;
use super::fault::FileFaults;
use super::input::Lines;
use super::jsonl;
use super::rows::{Names, TraceFormat, TraceReader};

/// A Mooncake trace: one JSON object a line with `timestamp` (ms), `input_length`, `output_length`, `hash_ids`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MooncakeSpec {
    /// The file, plain or gzip, relative to the scenario.
    pub file: String,
}

impl TraceFormat for MooncakeSpec {
    fn file(&self) -> &str {
        &self.file
    }

    fn open(&self, lines: Lines, _: &mut FileFaults) -> Option<TraceReader> {
        let names = Names {
            arrival: "timestamp".to_owned(),
            prompt: "input_length".to_owned(),
            output: "output_length".to_owned(),
            model: None,
            prefix: Some("hash_ids".to_owned()),
        };
        Some(jsonl::open(lines, names, TimeUnit::Ms))
    }
}
