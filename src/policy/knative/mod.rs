//! Knative's pod autoscaler (KPA) as pure decisions: configuration, targets, metric windows,
//! `Scale()`, and the state machine that puts a revision to sleep and wakes it; and [`autoscaler`], which makes
//! them run.
//!
//! After knative/serving at 98e5ef90. Nothing here has a clock: every function is given the
//! instant. A tick is [`collector::Collector::observe`], then [`decider::Decider::scale`];
//! a reconcile is [`pod_autoscaler::PodAutoscaler::reconcile`].

pub mod activator;
pub mod annotations;
pub mod apply;
pub mod autoscaler;
pub mod buckets;
pub mod collector;
pub mod config;
pub mod decider;
pub mod log;
pub mod max_window;
pub mod parse;
pub mod pod_autoscaler;
pub mod request_stats;
pub mod revision;
pub mod sample;
pub mod spec;
pub mod status;
pub mod target;

use super::hpa::types::Nanos;
pub use autoscaler::Knative;
pub use spec::KnativeSpec;

const SECOND: Nanos = 1_000_000_000;

/// Time between two decisions of a decider (`pkg/autoscaler/scaling/multiscaler.go`).
pub const TICK: Nanos = 2 * SECOND;

/// Time between two scrapes of a revision (`pkg/autoscaler/metrics/collector.go`).
pub const SCRAPE: Nanos = SECOND;

/// Time that one bucket of a metric window stands for (`pkg/autoscaler/config/config.go`).
pub const BUCKET: Nanos = SECOND;

/// Default time for a revision to become ready (`pkg/deployment/config.go`).
pub const PROGRESS_DEADLINE: Nanos = 600 * SECOND;
