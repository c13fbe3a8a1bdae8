//! Floor 2: what a replica needs and costs in time: start-up stages, step time, memory.

pub mod step_time;

pub use step_time::StepCost;
