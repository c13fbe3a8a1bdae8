//! Floor 4: what a user writes: YAML in, a checked [`Scenario`] out.
//!
//! This is the floor that knows files. It prints nothing: what is wrong comes back as
//! diagnostics, all at once.

mod check;
mod check_cluster;
mod check_faults;
mod check_groups;
mod explain;
pub mod export;
mod fault;
mod known;
mod lint;
mod load;
mod manifest;
mod notes;
mod provenance;
mod resolve;
mod resolve_cluster;
mod resolve_engine;
mod resolve_policies;
mod resolve_replica;
mod resolve_storage;
mod resolve_warmth;
mod spec;
mod sweep;
pub mod whatif;

pub use explain::{editor_schema, explain_field, schema};
pub use fault::workload_diagnostics;
pub use load::{Scenario, load, parse, read_profile};
pub use resolve::{Resolved, resolve};
pub use spec::{ClusterSpec, GateSpec, ScenarioSpec, SloSpec};
