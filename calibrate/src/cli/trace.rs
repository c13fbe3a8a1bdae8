//! `trace`: a measured series as a trace for the simulator.

use std::path::PathBuf;

use clap::Args;

use super::{Answer, Exit, console};
use crate::raw;
use crate::server::trace;

const EXAMPLES: &str = "\
Examples:
  thawline-calibrate trace x.raw.jsonl > x.csv
  thawline simulate scenario.yaml   # with `workload: { azure: { file: x.csv } }`";

/// Which series to write.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TraceArgs {
    /// The raw file of `server`.
    raw: PathBuf,
    /// Number of the series [default: the last one with Poisson arrivals].
    #[arg(long, value_name = "N")]
    series: Option<u32>,
}

pub(super) fn run(arguments: &TraceArgs) -> Answer {
    let file = raw::read(&arguments.raw)?;
    console::print(&trace::write(&file, arguments.series)?);
    Ok(Exit::Success)
}
