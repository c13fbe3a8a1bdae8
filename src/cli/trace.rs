//! `thawline trace`: what a trace holds.

use super::args::TraceArgs;
use super::{Answer, Exit};

pub(super) fn run(_: &TraceArgs) -> Answer {
    Ok(Exit::CouldNotRun)
}
