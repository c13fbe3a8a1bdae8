//! `thawline profile`: what profiles hold.

use super::args::ProfileArgs;
use super::{Answer, Exit};

pub(super) fn run(_: &ProfileArgs) -> Answer {
    Ok(Exit::CouldNotRun)
}
