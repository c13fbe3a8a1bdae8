//! A predictive policy: it forecasts the load of when a replica ordered now would serve, and orders that many.
//!
//! A turn comes once a step. Each looks at what arrived since the last, tells its forecaster, and asks for the highest load
//! from `now + lead` to `now + lead + step`: replicas that this needs are ordered now, and not later. What is needed until then
//! is kept: replicas go only when no step from now to the end of that window needs them, and the policy beside it does not.

mod autoscaler;
mod spec;

pub use autoscaler::Predictive;
pub use spec::{HistorySpec, HistoryValues, PredictiveSpec};
