//! Replicas of several pods that make no sense, or meet what is not simulated of them.

use super::check::Checker;
use super::check_faults::is_knative;
use super::resolve::Resolver;
use crate::sim::cluster::PoolPlan;
use crate::sim::faults::FaultSpec;
use crate::yaml::Path;

impl Checker<'_> {
    pub(super) fn groups(&mut self) {
        let spec = &self.scenario.spec;
        let size = spec.replica.group_size;
        let at = Path::keys(["replica", "groupSize"]);
        if size == 0 {
            return self.zero(&at, "groupSize");
        }
        if size == 1 {
            return;
        }
        for (index, fault) in spec.faults.iter().enumerate() {
            let kind = match fault {
                FaultSpec::NodeLoss(_) => "nodeLoss",
                FaultSpec::GpuError(_) => "gpuError",
                _ => continue,
            };
            let message = format!(
                "what a group of {size} pods does when one of them is lost without a notice is not simulated"
            );
            let help =
                "leave the fault out, or take `podCrash` or `spotReclaim`, after which a group is made anew";
            self.fault("E0318", &Path::keys(["faults"]).index(index).key(kind), message, help);
        }
        if !spec.rollouts.is_empty() {
            let message = "a LeaderWorkerSet's rolling update goes by other rules than a Deployment's, and is not simulated";
            self.fault(
                "E0318",
                &Path::keys(["rollouts"]),
                message,
                "leave `rollouts` or `replica.groupSize` out",
            );
        }
        for (name, _) in spec.policies.iter().filter(|(_, policy)| is_knative(policy)) {
            let message = format!("`{name}` is Knative's, whose revisions have one pod a replica");
            let help = "compare it in a scenario without `replica.groupSize`";
            self.fault("E0318", &Path::keys(["policies"]).key(name), message, help);
        }
    }
}

impl Resolver<'_> {
    /// GPUs must divide among pods, and each pod must have a node for itself.
    pub(super) fn group_of_pods(&mut self, pools: &[PoolPlan], gpus: u32) {
        let size = self.spec().replica.group_size;
        if size <= 1 {
            return;
        }
        let at = ["replica", "groupSize"];
        if !gpus.is_multiple_of(size) {
            let message = format!("{gpus} GPUs cannot be divided among {size} pods");
            self.fault("E0305", &at, message, "write a divisor of the replica's GPUs");
            return;
        }
        let pod = gpus / size;
        let shared = |pool: &&PoolPlan| pool.per_node(pod) > 1;
        if let Some(pool) = pools.iter().find(shared) {
            let message = format!(
                "a node of pool `{}` has room for {} of its pods of {pod} GPUs: only pods that fill a node are simulated in groups",
                pool.name,
                pool.per_node(pod)
            );
            let fits = gpus.div_ceil(pool.spec.gpus_per_node.max(1));
            let help = if fits <= 1 {
                "leave `groupSize` out: the replica fits one node".to_owned()
            } else {
                format!("write `groupSize: {fits}`")
            };
            self.fault("E0304", &at, message, &help);
        }
    }
}
