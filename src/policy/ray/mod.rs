//! Ray Serve's autoscaling on ongoing requests.
//!
//! After ray-project/ray `python/ray/serve/autoscaling_policy.py` (00590c45), `config.py` (00239d48) and
//! `_private/autoscaling_state.py` (00215194). [`rule`] is the arithmetic, which has no clock; [`autoscaler`] makes it run.

pub mod autoscaler;
pub mod rule;
pub mod spec;

pub use autoscaler::Ray;
pub use spec::RaySpec;
