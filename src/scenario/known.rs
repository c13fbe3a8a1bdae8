//! What needs not be found out twice of two scenarios that differ in a few settings: reading a trace and searching a capacity take longer
//! than all else of resolving.

use super::ScenarioSpec;
use super::resolve::Resolved;
use crate::workload::LoadedWorkload;

/// What is known already of a scenario that differs from another one in a few settings.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// The other one.
    pub(super) resolved: &'a Resolved,
    /// Its workload.
    pub(super) workload: &'a LoadedWorkload,
}

impl Known<'_> {
    /// Whether both have the same requests.
    pub(super) fn is_same_traffic(&self, spec: &ScenarioSpec) -> bool {
        let other = &self.resolved.spec;
        other.workload == spec.workload && other.seed == spec.seed
    }

    /// Whether a warm replica serves the same in both.
    pub(super) fn is_same_service(&self, spec: &ScenarioSpec) -> bool {
        let other = &self.resolved.spec;
        self.is_same_traffic(spec)
            && (&other.profile, &other.engine, &other.slo) == (&spec.profile, &spec.engine, &spec.slo)
    }
}
