//! The HorizontalPodAutoscaler (autoscaling/v2), as the controllers of Kubernetes 1.33 to 1.37 decide.
//!
//! Reading order: `spec` (what a scenario writes), `resolve` and `validate`, then the
//! decision: `reconcile` calls `proposals` (several metrics), which call `metric` (one) and
//! `replica_calculator` (its arithmetic, with `group_pods`, `requests`, `utilization`), and
//! normalises with `stabilize` and `behavior`; where releases differ, `version` says how. None of these knows the simulator: they see
//! a [`cluster::Cluster`], which `view_cluster` makes of a view and the conformance
//! vectors of their data. `autoscaler` is the policy.

pub mod autoscaler;
pub mod behavior;
pub mod cluster;
pub mod conditions;
pub mod detail;
pub mod enqueue;
pub mod group_pods;
pub mod label_selector;
pub mod metric;
pub mod proposals;
pub mod reconcile;
pub mod replica_calculator;
pub mod requests;
pub mod resolve;
pub mod selector;
pub mod spec;
pub mod stabilize;
pub mod status;
pub mod types;
pub mod utilization;
pub mod validate;
pub mod version;
pub mod view_cluster;

#[cfg(test)]
mod version_tests;

pub use autoscaler::Hpa;
pub use spec::HpaSpec;
