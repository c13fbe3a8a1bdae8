//! Floor 2: what a replica needs and costs in time: start-up stages, step time, memory.
//!
//! A profile is the only thing that `calibrate` and the simulator share. It knows no
//! clock: whoever shows an age says what day it is.

pub mod check;
pub mod compile;
#[cfg(test)]
mod fixture;
pub mod image;
pub mod load;
pub mod memory;
pub mod page;
pub mod schema;
pub mod shipped;
pub mod show;
pub mod sourced;
pub mod step_time;

pub use check::{Fault, Severity};
pub use compile::{CompileError, MixedRule};
pub use memory::MemoryError;
pub use schema::Profile;
pub use shipped::{SHIPPED, Shipped};
pub use sourced::{Date, Provenance, Sourced};
pub use step_time::StepCost;
