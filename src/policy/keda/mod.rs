//! KEDA as pure decisions: ScaledObjects, their triggers, the operator's decision of each poll,
//! fallback, formulas, and the HorizontalPodAutoscaler that a ScaledObject owns.
//!
//! After kedacore/keda at 8b4f083c and kedacore/http-add-on at 59b2f6a1. Nothing here has a clock:
//! every function is given the instant. The HPA's own reconcile is `policy::hpa`.

pub mod annotations;
pub mod autoscaler;
pub mod cron;
pub mod executor;
pub mod fallback;
pub mod formula;
pub mod hpa;
pub mod http_add_on;
pub mod http_scaled_object;
mod interceptor;
pub mod mapping;
mod metadata;
pub mod modifiers;
mod object;
pub(super) mod owned_hpa;
pub mod prometheus;
pub mod quantity;
pub mod queues;
mod scalers;
mod sensor;
pub mod spec;
pub mod triggers;
pub mod validate;

pub use autoscaler::{Keda, KedaSpec};
