//! What a reconcile reads and writes: the scale, the pods and the three metrics APIs.
//!
//! The controller's logic sees the cluster only through this trait, so the simulator's
//! view and a test vector drive the same code.

use super::metric::Metric;
use super::selector::Selector;
use super::types::{MetricError, Milli, Pod, ResourceSample, Samples};

/// The scale subresource of the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`.
    pub spec_replicas: i32,
    /// `status.replicas`.
    pub status_replicas: i32,
    /// `status.selector`, in string form.
    pub selector: String,
}

/// The scale could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleReadError;

/// Why the scale could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleWriteError {
    /// Somebody else wrote it in between.
    Conflict,
    /// Anything else.
    Other,
}

/// The cluster as one reconcile sees it.
pub trait Cluster {
    /// Reads the scale.
    fn scale(&self) -> Result<Scale, ScaleReadError>;

    /// Writes `spec.replicas`.
    fn set_replicas(&mut self, replicas: i32) -> Result<(), ScaleWriteError>;

    /// Pods of the namespace.
    fn pods(&self) -> &[Pod];

    /// Pod selectors of the other HPAs in the namespace.
    fn rivals(&self) -> &[Selector];

    /// The resource metrics API's answer.
    fn resource_samples(&self, resource: &str) -> Result<Vec<ResourceSample>, MetricError>;

    /// The custom metrics API's answer for each pod.
    fn pods_samples(&self, metric: &Metric) -> Result<Samples, MetricError>;

    /// The custom metrics API's answer for the object a metric names, milli-units.
    fn object_value(&self, metric: &Metric) -> Result<Milli, MetricError>;

    /// The external metrics API's answer, milli-units; one value per matching series.
    fn external_values(&self, metric: &Metric) -> Result<Vec<Milli>, MetricError>;
}
