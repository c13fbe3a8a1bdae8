//! `thawline simulate`: runs a scenario and reports.

use super::args::SimulateArgs;
use super::{Answer, Exit};

pub(super) fn run(_: &SimulateArgs) -> Answer {
    Ok(Exit::CouldNotRun)
}
