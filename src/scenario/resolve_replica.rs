//! What policies may know of a replica before the run: its cold start, alone, and what it can serve.

use std::sync::Arc;

use super::resolve::Resolved;
use super::resolve_policies::forecasting;
use crate::kernel::{Distribution, Quantiles, SimDuration};
use crate::outcome::Phase;
use crate::policy::{PolicySpec, ReplicaRead};
use crate::sim::config::ReadyAfter;
use crate::sim::{Simulation, storage};
use crate::yaml::{Diagnostic, Document, Path};

impl Resolved {
    /// How long a replica takes from its order until requests are routed to it, on a node that is there and on one that is ordered for it,
    /// as [`crate::policy::ReplicaModel`] has them.
    pub fn starts(&self) -> (Quantiles, Quantiles) {
        starts(&self.simulation)
    }

    /// Fills in [`crate::policy::ReplicaModel`] as far as policies read it, and answers what keeps them from it.
    pub(super) fn know_replica(&mut self, document: &Document) -> Vec<Diagnostic> {
        let reads: Vec<ReplicaRead> = self.policies.values().map(PolicySpec::reads_replica).collect();
        let mut faults = Vec::new();
        if reads.iter().any(|read| read.start) {
            let (start, start_with_node) = starts(&self.simulation);
            let replica = &mut Arc::make_mut(&mut self.simulation.setting).replica;
            (replica.start, replica.start_with_node) = (start, start_with_node);
            faults.extend(self.late_leads(document));
        }
        if !faults.is_empty() || !reads.iter().any(|read| read.capacity) {
            return faults;
        }
        if let Err(failure) = self.measure_capacity() {
            return vec![Diagnostic::error("E0401", failure)];
        }
        if self.simulation.capacity_per_s.is_some() {
            return faults;
        }
        let without = self.policies.iter().filter(|(_, policy)| policy.reads_replica().capacity);
        let fault = |(name, policy): (&String, &PolicySpec)| {
            let at = Path::keys(["policies"]).key(name).key(policy.kind());
            let (message, help) = if self.simulation.slo.is_none() {
                (
                    "what a replica can serve is searched within the SLO, and there is none",
                    "write an `slo`, or the policy's `capacity: 2.5`, requests/s",
                )
            } else {
                (
                    "not even a trickle of this workload keeps the SLO on one warm replica: it has no capacity",
                    "loosen the SLO, use a faster profile, or write the policy's `capacity: 2.5`, requests/s",
                )
            };
            document.fault("E0316", &at, message).helped(help)
        };
        without.map(fault).collect()
    }

    /// Leads out of the cold start that outlast the traffic.
    fn late_leads(&self, document: &Document) -> Vec<Diagnostic> {
        let span = self.header.span;
        let all = self.policies.iter().flat_map(|(name, policy)| forecasting(name, policy));
        let late = all.filter(|(_, spec)| spec.lead().is_none()).filter_map(|(at, spec)| {
            let lead = spec.lead_in(&self.simulation.setting);
            let message = format!(
                "a cold start of {lead} is longer than the traffic, {span}: no order would be in time"
            );
            let help = "lengthen the workload, or write the `lead` that you mean";
            (lead >= span).then(|| document.fault("E0317", &at, message).helped(help))
        });
        late.collect()
    }
}

/// From the order of a replica until requests are routed to it, on a node that is there and on one that is ordered for it, with
/// nothing beside it that starts. Stages follow each other as in `sim/lifecycle.rs`; the probe that finds it ready is anywhere in
/// its period.
fn starts(simulation: &Simulation) -> (Quantiles, Quantiles) {
    let readiness = &simulation.replica.readiness;
    // Behind a probe of the process alone a replica is ready sooner, and serves nothing until it is warm.
    let waited = |phase| readiness.after != ReadyAfter::Weights || phase != Phase::WarmingUp;
    let pool = simulation.cluster.pools.iter().position(|pool| !pool.takes.is_empty()).unwrap_or(0);
    let (image, weights) = storage::alone(&simulation.storage, pool);
    let drawn = simulation.first_start();
    let sum = |pulls: bool| {
        let own = drawn.iter().filter(|(phase, _)| waited(*phase) && (*phase == Phase::Pulling) == pulls);
        own.fold(Quantiles::default(), |sum, (_, time)| sum.then(&Quantiles::of(time)))
    };
    let constant = |time: SimDuration| Quantiles::of(&Distribution::Constant(time));
    let control = &simulation.control_plane;
    let order = constant(control.watch_delay + control.api_call);
    let pull = order.then(&sum(true)).then(&constant(image));
    let server = sum(false).then(&constant(weights)).at_least(readiness.initial_delay);
    let more_probes = readiness.period * u64::from(readiness.success_threshold.saturating_sub(1));
    let probe = Quantiles::within(readiness.period).then(&constant(more_probes + readiness.endpoint_delay));
    let start = pull.then(&server).then(&probe);
    let own = &simulation.cluster.pools[pool].spec;
    if own.min_nodes >= own.max_nodes {
        return (start.clone(), start);
    }
    let node = Quantiles::of(&own.provision).then(&Quantiles::of(&own.setup));
    let with_node = node.then(&start);
    (start, with_node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    const TEXT: &str = "
name: p
profile: small-7b-worked-example
workload: { poisson: { rate: 1 }, duration: 1h, lengths: { constant: { promptTokens: 10, outputTokens: 10 } } }
engine: { workers: { workers: 4, service: 2s } }
replica: { readiness: { period: 1s } }
cluster:
  controlPlane: { watchDelay: 0s, apiCall: 0s }
  pools: { gpus: { gpusPerNode: 1, maxNodes: 9, provision: 100s } }
policies: { p: { predictive: { maxReplicas: 9, capacity: 2 } } }
";

    fn resolved(sets: &[&str]) -> Result<Resolved, Vec<Diagnostic>> {
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        let scenario = scenario::parse("p.yaml", TEXT, &sets, std::path::PathBuf::new())?;
        scenario::resolve(&scenario, false)
    }

    /// 40 s of pulling, 25 s of loading, 6 s of warm-up, and half a probe's period in the median.
    #[test]
    fn a_start_is_the_sum_of_its_stages() {
        let check = |sets: &[&str], start_ms: u64, with_node_ms: u64| {
            let own = resolved(sets).unwrap_or_else(|faults| panic!("{faults:?}"));
            let replica = &own.simulation.setting.replica;
            let near = |found: SimDuration, expected_ms: u64| {
                let expected = SimDuration::from_millis(expected_ms);
                assert!(
                    found.saturating_sub(expected).max(expected.saturating_sub(found))
                        <= SimDuration::from_millis(20),
                    "{sets:?}: {found}"
                );
            };
            near(replica.start.at(0.5), start_ms);
            near(replica.start_with_node.at(0.5), with_node_ms);
        };
        check(&[], 71_500, 171_500);
        check(&["replica.readiness.after=weights"], 65_500, 165_500);
        check(&["replica.readiness.after=process"], 71_500, 171_500);
        check(&["replica.readiness.initialDelay=60s"], 100_500, 200_500);
        check(&["replica.readiness.successThreshold=3"], 73_500, 173_500);
        check(&["cluster.pools.gpus.minNodes=9"], 71_500, 71_500);
    }

    #[test]
    fn the_capacity_is_searched_where_it_is_read_and_missed_where_it_cannot_be() {
        let with_slo =
            resolved(&["policies.p.predictive.capacity=null", "slo={ e2e: 10s }"]).expect("it has one");
        let capacity = with_slo.simulation.setting.replica.capacity_per_s.expect("it was searched");
        // Four at a time, 2 s each, are two a second at most.
        assert!((1.5..2.0).contains(&capacity), "{capacity}");
        assert_eq!(with_slo.simulation.capacity_per_s, Some(capacity));
        let not_read = resolved(&["slo={ e2e: 10s }"]).expect("nothing is wrong");
        assert_eq!(not_read.simulation.setting.replica.capacity_per_s, None);
        let codes = |sets: &[&str]| -> Vec<&str> {
            resolved(sets).err().unwrap_or_default().iter().map(|fault| fault.code).collect()
        };
        assert_eq!(codes(&["policies.p.predictive.capacity=null"]), ["E0316"]);
        assert_eq!(codes(&["policies.p.predictive.capacity=null", "slo={ e2e: 1s }"]), ["E0316"]);
        assert_eq!(codes(&["workload.duration=2m"]), ["E0317"]);
        assert_eq!(
            codes(&["policies.p.predictive.lead=2h", "policies.p.predictive.season=2h"]),
            ["E0317", "E0317"]
        );
        let slo = "policies={ p: { slo: { maxReplicas: 9, capacity: 2 } } }";
        assert_eq!(codes(&[slo, "slo={ e2e: 10s }", "workload.duration=2m"]), ["E0317"]);
        let given = ["policies.p.slo.lead=2h", "policies.p.slo.season=2h"];
        assert_eq!(codes(&[&[slo, "slo={ e2e: 10s }"], &given[..]].concat()), ["E0317", "E0317"]);
    }
}
