//! Floor 5: lays out what a [`Summary`] holds. Nothing here computes a figure twice, and
//! nothing here prints: a report writes to what it is given.
//!
//! One new report is one file here and one line in [`REPORTS`].

pub mod baseline;
pub mod chart;
pub mod code_quality;
pub mod comparison;
pub mod comparison_files;
pub mod comparison_text;
pub mod csv;
pub mod decisions;
pub mod difference;
pub mod digest;
pub mod document;
pub mod document_ledger;
pub mod document_timeline;
pub mod drift;
pub mod fan_chart;
pub mod forecast;
pub mod foresight;
pub mod format;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod money;
pub mod outputs;
pub mod owned;
pub mod plan;
pub mod replace;
pub mod request;
pub mod sarif;
mod staging;
pub mod start;
pub mod summary;
pub mod table;
pub mod terminal;
pub mod verdict;
pub mod whatif;

#[cfg(test)]
pub(crate) mod fixture;

use std::io::{self, Write};

pub use baseline::Baseline;
pub use comparison::Comparison;
pub use document::Document;
pub use outputs::{Outputs, OutputsError};
pub use summary::{PolicySummary, Summary};
pub use terminal::Terminal;

/// One way to write a summary.
pub trait Report: Sync {
    /// Its name, as `--format` knows it.
    fn name(&self) -> &'static str;

    /// The file it becomes in the output directory; `None` if it is only ever printed.
    fn file(&self) -> Option<&'static str>;

    /// Writes it.
    fn write(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()>;
}

/// Every report.
pub const REPORTS: &[&dyn Report] = &[
    &Terminal::PLAIN,
    &html::Html,
    &json::Json,
    &markdown::Markdown,
    &csv::Runs,
    &csv::TimelineTable,
    &csv::Starts,
    &csv::DecisionTable,
    &decisions::Decisions,
    &digest::Digest,
];

/// The report of that name.
pub fn find(name: &str) -> Option<&'static dyn Report> {
    REPORTS.iter().copied().find(|report| report.name() == name)
}

/// The files that reports become, in the order they are listed.
pub fn files<'a>() -> impl Iterator<Item = &'a str> {
    REPORTS.iter().filter_map(|report| report.file())
}
