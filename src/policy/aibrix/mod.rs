//! AIBrix's PodAutoscaler with the strategies APA and KPA.
//!
//! After vllm-project/aibrix `pkg/controller/podautoscaler` (e3e10f9e). [`rule`], [`window`] and [`cooldown`] have no
//! clock; [`autoscaler`] makes them run.

pub mod autoscaler;
pub mod cooldown;
pub mod rule;
pub mod spec;
pub mod window;

pub use autoscaler::Aibrix;
pub use spec::AibrixSpec;
