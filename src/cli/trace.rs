//! `thawline trace`: what a trace holds.

use std::path::Path;

use super::args::{TraceArgs, TraceCommand};
use super::{Answer, Exit, console};
use crate::kernel::Streams;
use crate::profile::page::table;
use crate::report::format;
use crate::scenario::workload_diagnostics;
use crate::workload::{self, FaultKind, TokenStats, TraceStats};
use crate::yaml::Diagnostic;

pub(super) fn run(args: &TraceArgs) -> Answer {
    let TraceCommand::Stats { file } = &args.command;
    let spec = workload::guess(&file.to_string_lossy(), Path::new("")).map_err(|faults| {
        let strange = faults.iter().any(|fault| fault.kind == FaultKind::Format);
        let mut found = workload_diagnostics(None, &faults);
        if strange {
            found = found.into_iter().map(with_the_way).collect();
        }
        found
    })?;
    // A trace has nothing to draw: any seed gives the same figures.
    let streams = Streams::new(0, 0);
    let loaded =
        workload::load(&spec, Path::new(""), 0).map_err(|faults| workload_diagnostics(None, &faults))?;
    let stats = workload::stats(loaded.source.as_ref(), &streams);
    if let Some(failure) = loaded.source.failure() {
        return Err(vec![Diagnostic::error("E0401", failure)]);
    }
    console::print(&page(&loaded.description, &stats));
    Ok(Exit::Success)
}

fn with_the_way(fault: Diagnostic) -> Diagnostic {
    fault.helped("docs/your-own-trace.md shows both; `thawline validate` then checks every row")
}

fn page(description: &str, stats: &TraceStats) -> String {
    let figure = |label: &str, value: String, what: &str| vec![label.to_owned(), value, what.to_owned()];
    let rows = [
        figure("requests", format::whole(stats.rows), ""),
        figure("span", format::span(stats.span), "first arrival to last"),
        figure("mean rate", format!("{:.2}/s", stats.rate_mean), ""),
        figure("peak, 1 s", format!("{:.0}/s", stats.rate_peak_1s), "the busiest second"),
        figure("peak, 1 min", format!("{:.2}/s", stats.rate_peak_1min), "the busiest minute"),
        figure("P/M", format!("{:.2}", stats.peak_to_mean), "busiest minute over mean rate"),
        figure("CV", format!("{:.2}", stats.arrival_cv), "of the times between arrivals; Poisson has 1"),
        figure(
            "IDC",
            format!("{:.2}", stats.minute_idc),
            "variance over mean of counts a minute; Poisson has 1",
        ),
    ];
    let tokens = |label: &str, t: &TokenStats| {
        let counts = [t.p1, t.p25, t.p50, t.p75, t.p90, t.p95, t.p99, t.max];
        let mut row = vec![label.to_owned(), format!("{:.0}", t.mean)];
        row.extend(counts.map(|count| format::whole(u64::from(count))));
        row
    };
    let header = ["TOKENS", "mean", "p1", "p25", "p50", "p75", "p90", "p95", "p99", "max"];
    let lengths = [tokens("prompt", &stats.prompt_tokens), tokens("output", &stats.output_tokens)];
    format!(
        "{description}\n\n{}\n{}",
        table(&["", "", ""], rows, &[1]),
        table(&header, lengths, &[1, 2, 3, 4, 5, 6, 7, 8, 9])
    )
}
