//! A fixed number of replicas: the baseline every autoscaler is measured against.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::{Autoscaler, Decision, Loop, Path, Reason, View};
use crate::kernel::SimDuration;

/// A fixed number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FixedSpec {
    /// How many.
    pub replicas: u32,
}

/// A running fixed policy.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    replicas: u32,
}

impl Fixed {
    /// From its spec.
    pub fn new(spec: FixedSpec) -> Self {
        Self { replicas: spec.replicas }
    }
}

impl Autoscaler for Fixed {
    /// It looks every 15 s, so that a run which starts elsewhere gets there.
    fn loops(&self) -> Vec<Loop> {
        let phase = Some(SimDuration::ZERO);
        vec![Loop { name: "fixed", period: SimDuration::from_secs(15), phase }]
    }

    fn decide(&mut self, _which: usize, view: &View<'_>) -> Option<Decision> {
        (view.spec_replicas != self.replicas).then(|| Decision {
            replicas: self.replicas,
            spare: 0,
            path: Path::Direct,
            why: Reason::new("Fixed", format!("{} replicas", self.replicas)),
        })
    }

    fn initial(&self) -> (u32, u32) {
        (self.replicas, 0)
    }

    fn maximum(&self) -> Option<u32> {
        Some(self.replicas)
    }
}
