//! The HorizontalPodAutoscaler (autoscaling/v2), as Kubernetes 1.37's controller decides.

pub mod behavior;
pub mod cluster;
pub mod conditions;
pub mod enqueue;
pub mod group_pods;
pub mod metric;
pub mod proposals;
pub mod reconcile;
pub mod replica_calculator;
pub mod requests;
pub mod selector;
pub mod stabilize;
pub mod status;
pub mod types;
pub mod utilization;
