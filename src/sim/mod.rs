//! Floor 3: the discrete-event simulation. It knows no file, environment or wall clock.

pub mod config;
pub mod engine;
