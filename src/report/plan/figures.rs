//! The figures of a plan, and the policy that they make.

use super::NAMES;
use crate::experiment::sizing::{ForStart, Replica, Steady};
use crate::kernel::{Quantity, SimDuration};

/// The figures that a plan comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Fewest replicas.
    pub min_replicas: u32,
    /// Most replicas, spares left out.
    pub max_replicas: u32,
    /// Spares that are warm.
    pub spare: u32,
    /// Requests/s of a replica.
    pub capacity_per_s: f64,
    /// How long an order outlives its load.
    pub hold: SimDuration,
}

impl Figures {
    /// Of a load and a cold start.
    pub fn new(steady: &Steady, replica: &Replica, found: &ForStart) -> Self {
        Self {
            min_replicas: steady.mean.replicas,
            max_replicas: steady.peak.replicas.max(steady.mean.replicas),
            spare: found.spare,
            capacity_per_s: replica.capacity_per_s,
            hold: found.hold,
        }
    }

    /// The plan as an entry of a scenario's `policies`. A replica's capacity is written in thousandths, rounded down.
    pub fn policy(&self) -> String {
        let hpa = self.hpa();
        if self.spare == 0 {
            return format!("  plan:\n{}", indented(&hpa, 4));
        }
        format!("  plan:\n    warmPool:\n      spare: {}\n      over:\n{}", self.spare, indented(&hpa, 8))
    }

    /// All that are tried as a scenario's `policies`: the busiest minute's count, the plan, and that without spares where it has any.
    pub fn policies(&self) -> String {
        let fixed = format!("  {}: {{ fixed: {{ replicas: {} }} }}\n", NAMES[0], self.max_replicas);
        let plan = self.policy();
        let without = if self.spare == 0 {
            String::new()
        } else {
            format!("  {}:\n{}", NAMES[2], indented(&self.hpa(), 4))
        };
        fixed + &plan + &without
    }

    fn hpa(&self) -> String {
        let target = Quantity::from_milli(((self.capacity_per_s * 1000.0) as i64).max(1));
        format!(
            "hpa:\n  minReplicas: {}\n  maxReplicas: {}\n  metrics:\n    - type: External\n      external:\n        \
             metric: {{ name: gateway_requests_per_second }}\n        \
             target: {{ type: AverageValue, averageValue: {target} }}\n  behavior:\n    scaleUp: {{ tolerance: 0 }}\n    \
             scaleDown: {{ stabilizationWindowSeconds: {} }}\n",
            self.min_replicas,
            self.max_replicas,
            self.hold.as_nanos() / 1_000_000_000
        )
    }
}

fn indented(text: &str, by: usize) -> String {
    text.lines().fold(String::new(), |all, line| all + &" ".repeat(by) + line + "\n")
}
