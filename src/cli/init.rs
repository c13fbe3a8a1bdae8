//! `thawline init`: writes a commented scenario to start from.

use super::args::InitArgs;
use super::{Answer, Exit};

pub(super) fn run(_: &InitArgs) -> Answer {
    Ok(Exit::CouldNotRun)
}
