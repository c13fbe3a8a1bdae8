//! NVIDIA Dynamo's planner, for aggregated serving (each worker prefills and decodes).
//!
//! After ai-dynamo/dynamo `components/src/dynamo/planner` (load_scaling 0c6da1ec, throughput_scaling 0c9050c9, predictors
//! 260b6ae9, defaults 1ca60155). [`predictor`], [`regression`], [`throughput`] and [`load`] have no clock; [`autoscaler`] makes
//! them run.

pub mod arima;
pub mod autoscaler;
pub mod load;
pub mod predictor;
pub mod regression;
pub mod spec;
pub mod throughput;

pub use autoscaler::Dynamo;
pub use spec::DynamoSpec;
