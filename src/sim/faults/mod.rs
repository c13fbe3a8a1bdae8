//! What goes wrong in a run because the scenario says so.

mod gpu_error;
mod metrics_outage;
mod no_capacity;
mod node_loss;
mod pod_crash;
mod spot_reclaim;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use gpu_error::GpuErrorSpec;
pub use metrics_outage::{Metrics, MetricsOutageSpec};
pub use no_capacity::{NoCapacitySpec, Shortages};
pub use node_loss::NodeLossSpec;
pub use pod_crash::PodCrashSpec;
pub use spot_reclaim::SpotReclaimSpec;

use super::replica::State;
use super::run::{Event, Run};
use crate::kernel::queue::Rank;
use crate::kernel::rng::Purpose;
use crate::kernel::{ReplicaId, SimDuration, SimTime};

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FaultSpec {
    /// The cloud takes spot nodes back. They take no more pods and their pods are deleted, as a termination handler does;
    /// when the notice is over the machines are gone, and whatever still ran on them.
    SpotReclaim(SpotReclaimSpec),
    /// No node is to be had. Orders meanwhile fail, and after each failure the pool is left alone for 5 minutes, then 10, 20 and 30, as
    /// cluster-autoscaler backs off from a node group (Karpenter: for 3 minutes each time); nodes that were ordered before come.
    NoCapacity(NoCapacitySpec),
    /// Machines vanish without a notice, and what runs on them. Requests go there until the nodes are found NotReady, and their
    /// pods are replaced only once they are evicted.
    NodeLoss(NodeLossSpec),
    /// Containers exit: killed for their memory, or by an error of their own. What is in them is cut, and the kubelet starts them
    /// again, at once the first time, then after 10 s, 20 s and so on up to 5 minutes.
    PodCrash(PodCrashSpec),
    /// GPUs fail beyond repair (an uncorrectable XID error). The containers on them die, and each one that the kubelet starts
    /// again dies where it would use the GPU, until the node is drained and replaced.
    GpuError(GpuErrorSpec),
    /// Metrics are out: nothing is scraped, and who asks gets an error.
    MetricsOutage(MetricsOutageSpec),
}

impl FaultSpec {
    /// When it happens to nodes or pods; `None` if it only lasts.
    fn at(&self) -> Option<SimDuration> {
        match self {
            Self::SpotReclaim(spec) => Some(spec.at),
            Self::NodeLoss(spec) => Some(spec.at),
            Self::PodCrash(spec) => Some(spec.at),
            Self::GpuError(spec) => Some(spec.at),
            Self::NoCapacity(_) | Self::MetricsOutage(_) => None,
        }
    }
}

fn one() -> u32 {
    1
}

/// So many of the candidates, or all if there are fewer.
fn draw<T>(mut candidates: Vec<T>, count: u32, rng: &mut ChaCha8Rng) -> Vec<T> {
    let mut drawn = Vec::new();
    while drawn.len() < count as usize && !candidates.is_empty() {
        drawn.push(candidates.swap_remove(rng.random_range(0..candidates.len())));
    }
    drawn
}

impl Run<'_> {
    /// Puts the faults in place.
    pub(super) fn schedule_faults(&mut self) {
        for (index, fault) in self.sim.faults.iter().enumerate() {
            if let Some(at) = fault.at() {
                let at = SimTime::ZERO + at;
                self.queue.push(at, Rank::Phase, u32::MAX - 2, index as u32, Event::Fault(index));
            }
        }
    }

    /// A fault's time has come.
    pub(super) fn fault(&mut self, index: usize) {
        let sim = self.sim;
        let mut rng = self.streams.stream(Purpose::Faults, index as u64);
        match &sim.faults[index] {
            FaultSpec::SpotReclaim(reclaim) => {
                let nodes = draw(self.cluster.reclaimable(&reclaim.pools), reclaim.nodes, &mut rng);
                self.reclaim(nodes, reclaim);
            }
            FaultSpec::NodeLoss(loss) => {
                let nodes = draw(self.cluster.taking_pods(), loss.nodes, &mut rng);
                self.lose_machines(nodes, loss);
            }
            FaultSpec::PodCrash(crash) => {
                let replicas = draw(self.with_container(), crash.replicas, &mut rng);
                self.crash(replicas);
            }
            FaultSpec::GpuError(error) => {
                let replicas = draw(self.with_container(), error.replicas, &mut rng);
                self.fail_gpus(replicas, error);
            }
            FaultSpec::NoCapacity(_) | FaultSpec::MetricsOutage(_) => {}
        }
        self.replace_pods();
        self.place();
        self.set_timer();
    }

    /// Replicas whose container runs and whose pod is not deleted, in order of creation.
    fn with_container(&self) -> Vec<ReplicaId> {
        let runs = |id: &ReplicaId| {
            let replica = &self.replicas[id.index()];
            match replica.state {
                State::Ready(..) => true,
                State::Starting(_) => replica.container_started.is_some(),
                State::Draining(_) | State::Lost(_) | State::Gone => false,
            }
        };
        self.live.iter().copied().filter(runs).collect()
    }
}
