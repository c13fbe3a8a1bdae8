//! Floor 2: autoscaling policies: what each sees, and the one thing it may answer.

pub mod api;
pub mod hpa;

pub use api::{Autoscaler, Decision, Loop, Reason, View};
