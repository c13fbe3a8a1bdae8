//! Faults and rolling updates of a scenario that make no sense, or would change nothing.

use super::check::Checker;
use super::resolve::Resolver;
use crate::kernel::SimDuration;
use crate::policy::{PolicySpec, Setting};
use crate::sim::config::GatewaySpec;
use crate::sim::deployment::IntOrPercent;
use crate::sim::faults::{FaultSpec, Metrics};
use crate::sim::rollout::RolloutSpec;
use crate::yaml::Path;

/// The kind of a fault, when it begins and the field that says so, and the count or length that must not be zero.
fn parts(fault: &FaultSpec) -> (&'static str, SimDuration, &'static str, Option<&'static str>) {
    let zero = |is_zero: bool, field: &'static str| is_zero.then_some(field);
    match fault {
        FaultSpec::SpotReclaim(spec) => ("spotReclaim", spec.at, "at", zero(spec.nodes == 0, "nodes")),
        FaultSpec::NodeLoss(spec) => ("nodeLoss", spec.at, "at", zero(spec.nodes == 0, "nodes")),
        FaultSpec::PodCrash(spec) => ("podCrash", spec.at, "at", zero(spec.replicas == 0, "replicas")),
        FaultSpec::GpuError(spec) => ("gpuError", spec.at, "at", zero(spec.replicas == 0, "replicas")),
        FaultSpec::NoCapacity(spec) => ("noCapacity", spec.from, "from", zero(spec.lasts.is_zero(), "lasts")),
        FaultSpec::MetricsOutage(spec) => {
            ("metricsOutage", spec.from, "from", zero(spec.lasts.is_zero(), "lasts"))
        }
    }
}

impl Checker<'_> {
    pub(super) fn faults(&mut self) {
        let spec = &self.scenario.spec;
        for (index, fault) in spec.faults.iter().enumerate() {
            let (kind, _, _, zero) = parts(fault);
            if let Some(field) = zero {
                self.zero(&Path::keys(["faults"]).index(index).key(kind).key(field), field);
            }
            let at = Path::keys(["faults"]).index(index).key(kind);
            match fault {
                FaultSpec::SpotReclaim(reclaim) => {
                    self.pools_exist(&at.key("pools"), &reclaim.pools);
                    self.has_spot(&at, &reclaim.pools);
                }
                FaultSpec::NoCapacity(shortage) => {
                    self.pools_exist(&at.key("pools"), &shortage.pools);
                    self.zones_exist(&at.key("zones"), &shortage.zones);
                }
                _ => {}
            }
        }
        let loses_nodes = spec.faults.iter().any(|fault| matches!(fault, FaultSpec::NodeLoss(_)));
        if !loses_nodes && spec.gateway.connect_timeout != GatewaySpec::default().connect_timeout {
            let message = "`connectTimeout` counts only with a `nodeLoss`, which the scenario does not have";
            let help = "write a `nodeLoss`, or leave it out";
            self.fault("E0317", &Path::keys(["gateway", "connectTimeout"]), message, help);
        }
    }

    pub(super) fn rollouts(&mut self) {
        let mut over: Option<SimDuration> = None;
        for (index, rollout) in self.scenario.spec.rollouts.iter().enumerate() {
            let at = Path::keys(["rollouts"]).index(index);
            if over.is_some_and(|over| rollout.at <= over) {
                let message = format!(
                    "the rollout at {} begins before the one before it, or its rollback, has been written",
                    rollout.at
                );
                let help = "write them in their order, at different times";
                self.fault("E0305", &at.key("at"), message, help);
            }
            over = Some(rollout.at + rollout.rollback_after.unwrap_or(SimDuration::ZERO));
            self.rollout(&at, rollout);
        }
    }

    /// What Kubernetes refuses of a strategy (`ValidateRollingUpdateDeployment`).
    fn rollout(&mut self, at: &Path, rollout: &RolloutSpec) {
        if rollout.max_surge.is_zero() && rollout.max_unavailable.is_zero() {
            let message =
                "`maxSurge` and `maxUnavailable` must not both be zero: no pod could ever be replaced";
            self.fault("E0306", &at.key("maxUnavailable"), message, "");
        }
        if let IntOrPercent::Percent(percent) = rollout.max_unavailable
            && percent > 100
        {
            let message = format!("a maxUnavailable of {percent}% is more than all pods");
            self.fault("E0305", &at.key("maxUnavailable"), message, "write at most 100%");
        }
        if rollout.rollback_after == Some(SimDuration::ZERO) {
            self.zero(&at.key("rollbackAfter"), "rollbackAfter");
        }
    }
}

impl Resolver<'_> {
    /// Faults and rolling updates that would change nothing, in silence; `span` is the length of the traffic, where that is known.
    pub(super) fn idle_faults(&mut self, setting: &Setting, span: Option<SimDuration>) {
        let spec = self.spec().clone();
        for (index, fault) in spec.faults.iter().enumerate() {
            let (kind, begins, field, _) = parts(fault);
            let at = Path::keys(["faults"]).index(index).key(kind);
            self.after_the_end(&at.key(field), begins, span);
            if let FaultSpec::MetricsOutage(outage) = fault {
                self.unread(&at.key("what"), outage.what, setting);
            }
        }
        for (index, rollout) in spec.rollouts.iter().enumerate() {
            let at = Path::keys(["rollouts"]).index(index);
            self.after_the_end(&at.key("at"), rollout.at, span);
            if let Some(after) = rollout.rollback_after {
                self.after_the_end(&at.key("rollbackAfter"), rollout.at + after, span);
            }
        }
        let of_knative = spec.policies.iter().find(|(_, policy)| is_knative(policy));
        if let Some((name, _)) = of_knative.filter(|_| !spec.rollouts.is_empty()) {
            let message =
                format!("`{name}` is Knative's, which makes a new revision and has no rolling update");
            let help = "compare it in a scenario without `rollouts`";
            self.fault_at("E0317", &Path::keys(["rollouts"]), message, help);
        }
    }

    fn after_the_end(&mut self, path: &Path, begins: SimDuration, span: Option<SimDuration>) {
        if let Some(span) = span.filter(|span| begins >= *span) {
            let message =
                format!("{begins} is not before the end of the traffic, {span}: nothing would change");
            self.fault_at("E0317", path, message, "write an earlier time, or lengthen the workload");
        }
    }

    /// An outage of metrics that no policy reads.
    fn unread(&mut self, path: &Path, what: Metrics, setting: &Setting) {
        let policies = self.spec().policies.clone();
        let sound = || policies.values().filter(|policy| policy.check(setting).is_empty());
        if sound().count() < policies.len() {
            return;
        }
        let asks = sound().any(|policy| !policy.build(setting).queries().is_empty());
        let reads = sound().any(|policy| policy.build(setting).reads_usage());
        let (is_read, name) = match what {
            Metrics::Prometheus => (asks, "Prometheus"),
            Metrics::MetricsServer => (reads, "the metrics server"),
            Metrics::Both => (asks || reads, "either"),
        };
        if !is_read {
            let message = format!("no policy of the scenario reads {name}: the outage would change nothing");
            self.fault_at("E0317", path, message, "compare a policy that scales on such metrics");
        }
    }

    fn fault_at(&mut self, code: &'static str, path: &Path, message: String, help: &str) {
        let fault = self.scenario.document.fault(code, path, message).helped(help);
        self.faults.push(fault);
    }
}

pub(super) fn is_knative(policy: &PolicySpec) -> bool {
    policy.any(&|policy| matches!(policy, PolicySpec::Knative(_)))
}
