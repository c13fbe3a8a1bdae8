//! llm-d's workload-variant-autoscaler (WVA): saturation analysis of a model's variants, whose result an HPA follows.
//!
//! After llm-d/llm-d-workload-variant-autoscaler (b08b1c77). [`v1`] and [`v2`] are the two analyzers, for any number of
//! variants; [`autoscaler`] makes them run for the one workload of a simulation.

pub mod autoscaler;
pub mod spec;
pub mod v1;
pub mod v2;

pub use autoscaler::Wva;
pub use spec::WvaSpec;
