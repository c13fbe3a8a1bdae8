//! `thawline explain-request`: one request's chain of events.

use super::args::ExplainRequestArgs;
use super::{Answer, Exit};

pub(super) fn run(_: &ExplainRequestArgs) -> Answer {
    Ok(Exit::CouldNotRun)
}
