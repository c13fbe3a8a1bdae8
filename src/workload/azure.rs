//! Azure LLM inference traces (AzurePublicDataset), of 2023 and later.
//!
//! `TIMESTAMP,ContextTokens,GeneratedTokens`: wall-clock times with up to seven or more
//! fraction digits, without a zone in 2023 and with one later, CRLF line ends, and
//! sometimes no end of the last line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clock::TimeUnit;
use super::csv;
use super::fault::FileFaults;
use super::input::Lines;
use super::rows::{Names, TraceFormat, TraceReader};

/// An Azure LLM inference trace: CSV with the columns `TIMESTAMP`, `ContextTokens` and `GeneratedTokens`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AzureSpec {
    /// The file, plain or gzip, relative to the scenario.
    pub file: String,
}

impl TraceFormat for AzureSpec {
    fn file(&self) -> &str {
        &self.file
    }

    fn open(&self, lines: Lines, faults: &mut FileFaults) -> Option<TraceReader> {
        let names = Names {
            arrival: "TIMESTAMP".to_owned(),
            prompt: "ContextTokens".to_owned(),
            output: "GeneratedTokens".to_owned(),
            model: None,
            prefix: None,
        };
        csv::open(lines, names, TimeUnit::Rfc3339, faults)
    }
}
