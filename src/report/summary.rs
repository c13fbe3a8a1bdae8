//! What all reports say, computed once.
//!
//! A [`Summary`] is made of an [`ExperimentOutcome`] and nothing else; it holds no wall time,
//! path or thread count, so whatever is written from it is the same on every machine.

use crate::experiment::statistics::{apportion, median};
use crate::experiment::{
    Estimate, ExperimentOutcome, Foresight, Gate, GateStatus, METRICS, Metric, PolicyOutcome,
};
use crate::kernel::SimDuration;
use crate::outcome::{BreachOutcome, Cause, Phase, RunOutcome};

use super::money::Money;
use super::verdict::{self, Verdict};

/// Everything the reports lay out.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The runs themselves.
    pub experiment: ExperimentOutcome,
    /// Each gate under each policy.
    pub gates: Vec<GateRow>,
    /// Each policy, in the order of the scenario.
    pub policies: Vec<PolicySummary>,
    /// Which policy to choose.
    pub verdict: Verdict,
    /// The verdict as a sentence, without the word `verdict`.
    pub verdict_text: String,
}

/// One gate under every policy.
#[derive(Clone, Debug, PartialEq)]
pub struct GateRow {
    /// The gate.
    pub gate: Gate,
    /// What became of it, by policy.
    pub cells: Vec<GateCell>,
}

/// One gate under one policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateCell {
    /// The metric over the replications.
    pub estimate: Option<Estimate>,
    /// What became of it, bound or not.
    pub status: GateStatus,
    /// Whether the gate binds the policy: only then can it fail the run.
    pub bound: bool,
}

impl GateCell {
    /// Whether it fails the run.
    pub const fn fails(&self, lenient: bool) -> bool {
        self.bound && !self.status.is_held(lenient)
    }
}

/// One policy over its replications.
#[derive(Clone, Debug)]
pub struct PolicySummary {
    /// Its name.
    pub name: String,
    /// Each metric of each run, in the order of the replications and of [`METRICS`].
    pub of_runs: Vec<Vec<Option<f64>>>,
    /// Each metric over the replications, in the order of [`METRICS`].
    pub metrics: Vec<Option<Estimate>>,
    /// Where the time of a cold start goes; `None` if no replica started and became ready.
    pub cold_start: Option<ColdStart>,
    /// What breached, how and why; `None` without an SLO.
    pub breaches: Option<BreachSummary>,
    /// What it cost.
    pub money: Money,
    /// How far its cost is above perfect foresight, a share; `None` if it does not hold, or nobody asked.
    pub above_foresight: Option<Estimate>,
}

/// Where the time of a cold start goes.
#[derive(Clone, Debug, PartialEq)]
pub struct ColdStart {
    /// Replicas that started and became ready, over all replications.
    pub ready: usize,
    /// Median time in each start-up phase of [`Phase::ALL`], s, averaged over the replications that have any.
    pub phases: Vec<(Phase, f64)>,
    /// Median time from the order to ready, s, likewise. Medians need not add up to it.
    pub median_secs: f64,
}

/// What breached, how and why.
#[derive(Clone, Debug, PartialEq)]
pub struct BreachSummary {
    /// Breaching requests, over all replications.
    pub total: u64,
    /// Each cause that occurred, most frequent first; shares sum to 1,000 tenths of a percent.
    pub causes: Vec<Share<Cause>>,
    /// The time in breach by what was missing at each instant, ns, likewise.
    pub times: Vec<Share<Cause>>,
    /// Each outcome that occurred, likewise.
    pub outcomes: Vec<Share<BreachOutcome>>,
}

/// One of several shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share<T> {
    /// Of what.
    pub of: T,
    /// How many, over all replications.
    pub count: u64,
    /// Tenths of a percent.
    pub share_tenths: u64,
}

impl Summary {
    /// Computes it all.
    pub fn new(experiment: ExperimentOutcome) -> Self {
        let policies: Vec<PolicySummary> = experiment
            .policies
            .iter()
            .map(|policy| PolicySummary::new(policy, experiment.foresight.as_ref()))
            .collect();
        let row = |gate: &Gate| {
            let cell = |policy: &PolicySummary| {
                let estimate = policy.metrics[gate.metric.index()];
                let status = gate.judge(estimate.as_ref());
                GateCell { estimate, status, bound: gate.binds(&policy.name) }
            };
            GateRow { gate: gate.clone(), cells: policies.iter().map(cell).collect() }
        };
        let gates: Vec<GateRow> = experiment.gates.iter().map(row).collect();
        let verdict = verdict::decide(&gates, &policies, experiment.lenient);
        let verdict_text = verdict::sentence(&verdict, &gates, &policies, experiment.lenient);
        Self { experiment, gates, policies, verdict, verdict_text }
    }

    fn bound_cells(&self) -> impl Iterator<Item = &GateCell> {
        self.gates.iter().flat_map(|row| &row.cells).filter(|cell| cell.bound)
    }

    /// How many gates there are, counted once for each policy they bind.
    pub fn gates_total(&self) -> usize {
        self.bound_cells().count()
    }

    /// How many of them failed; the run passed if none did.
    pub fn gates_failed(&self) -> usize {
        self.bound_cells().filter(|cell| cell.fails(self.experiment.lenient)).count()
    }

    /// `4 of 9 gates failed`, `all 9 gates hold`, or `no gates`.
    pub fn gates_text(&self) -> String {
        match (self.gates_failed(), self.gates_total()) {
            (_, 0) => "no gates".to_owned(),
            (0, 1) => "the gate holds".to_owned(),
            (0, total) => format!("all {total} gates hold"),
            (failed, total) => format!("{failed} of {total} gates failed"),
        }
    }

    /// Whether there is an SLO.
    pub fn has_slo(&self) -> bool {
        self.policies.iter().any(|policy| policy.breaches.is_some())
    }
}

impl PolicySummary {
    fn new(policy: &PolicyOutcome, foresight: Option<&Foresight>) -> Self {
        let runs = &policy.runs;
        let values = |run: &RunOutcome| METRICS.iter().map(|metric| metric.value(run)).collect();
        let of_runs: Vec<Vec<Option<f64>>> = runs.iter().map(values).collect();
        let estimate =
            |(index, metric): (usize, &Metric)| metric.estimate(of_runs.iter().map(|run| run[index]));
        let metrics = METRICS.iter().enumerate().map(estimate).collect();
        Self {
            name: policy.name.clone(),
            of_runs,
            metrics,
            cold_start: ColdStart::of(runs),
            breaches: BreachSummary::of(runs),
            money: Money::of(runs),
            above_foresight: foresight.and_then(|foresight| foresight.above(policy)),
        }
    }

    /// One of its metrics.
    pub fn metric(&self, name: &str) -> Option<Estimate> {
        Metric::find(name).and_then(|metric| self.metrics[metric.index()])
    }

    /// The mean of one of its metrics.
    pub fn mean(&self, name: &str) -> Option<f64> {
        self.metric(name).map(|estimate| estimate.mean)
    }
}

impl ColdStart {
    fn of(runs: &[RunOutcome]) -> Option<Self> {
        let ready = |run: &RunOutcome| run.starts.iter().filter(|s| s.is_cold()).count();
        let over_runs = |secs_of: &dyn Fn(&crate::outcome::StartRecord) -> f64| {
            let of_run = |run: &RunOutcome| {
                let starts = run.starts.iter().filter(|s| s.is_cold());
                median(&starts.map(secs_of).collect::<Vec<f64>>())
            };
            let medians: Vec<f64> = runs.iter().filter_map(of_run).collect();
            Estimate::of(&medians).map(|e| e.mean)
        };
        let median_secs = over_runs(&|s| s.duration().map_or(0.0, SimDuration::as_secs_f64))?;
        let phases = Phase::ALL
            .into_iter()
            .filter(|phase| phase.is_start_up())
            .filter_map(|phase| over_runs(&|s| s.time_in(phase).as_secs_f64()).map(|secs| (phase, secs)))
            .collect();
        Some(Self { ready: runs.iter().map(ready).sum(), phases, median_secs })
    }
}

impl BreachSummary {
    fn of(runs: &[RunOutcome]) -> Option<Self> {
        let breaches: Vec<_> = runs.iter().map(|run| run.breaches.as_ref()).collect::<Option<_>>()?;
        if breaches.is_empty() {
            return None;
        }
        let count =
            |of: &dyn Fn(&crate::outcome::Breaches) -> u64| breaches.iter().map(|b| of(b)).sum::<u64>();
        Some(Self {
            total: count(&|b| b.total),
            causes: shares(Cause::ALL.into_iter().map(|c| (c, count(&|b| b.by_cause[c.index()])))),
            times: shares(
                Cause::ALL.into_iter().map(|c| (c, count(&|b| b.time_by_cause[c.index()].as_nanos()))),
            ),
            outcomes: shares(
                BreachOutcome::ALL.into_iter().enumerate().map(|(i, o)| (o, count(&|b| b.by_outcome[i]))),
            ),
        })
    }
}

/// Those that occurred, most frequent first.
fn shares<T: Copy>(counts: impl Iterator<Item = (T, u64)>) -> Vec<Share<T>> {
    let counts: Vec<(T, u64)> = counts.filter(|(_, count)| *count > 0).collect();
    let weights: Vec<f64> = counts.iter().map(|(_, count)| *count as f64).collect();
    let tenths = apportion(&weights, 1000);
    let mut shares: Vec<Share<T>> = counts
        .into_iter()
        .zip(tenths)
        .map(|((of, count), share_tenths)| Share { of, count, share_tenths })
        .collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.count));
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use proptest::prelude::*;

    #[test]
    fn percentiles_are_averaged_over_runs() {
        let summary = Summary::new(fixture::experiment());
        // 4.81, 4.91 and 5.01 s; pooled, the 99th percentile would be one of them.
        let p99 = summary.policies[0].metric("ttft.p99").unwrap();
        assert!((p99.mean - 4.91).abs() < 0.01, "{p99:?}");
        assert_eq!(p99.count, 3);
        let (low, high) = p99.interval.unwrap();
        assert!((high - low - 2.0 * 4.3027 * 0.1 / 3f64.sqrt()).abs() < 0.02, "{low} {high}");
    }

    #[test]
    fn causes_come_most_frequent_first() {
        let summary = Summary::new(fixture::experiment());
        let causes = &summary.policies[0].breaches.as_ref().unwrap().causes;
        let shown: Vec<(&str, u64)> = causes.iter().map(|s| (s.of.label(), s.share_tenths)).collect();
        let expected = [
            ("weights loading", 600),
            ("warming up", 240),
            ("not ordered yet", 120),
            ("at max replicas", 40),
        ];
        assert_eq!(shown, expected);
        assert!(summary.policies[1].breaches.as_ref().unwrap().causes.is_empty());
    }

    #[test]
    fn cold_starts_count_those_that_became_ready() {
        let summary = Summary::new(fixture::experiment());
        let cold = summary.policies[0].cold_start.as_ref().unwrap();
        assert_eq!(cold.ready, 6);
        assert!((cold.median_secs - 39.0).abs() < 1e-9);
        assert!(cold.phases.contains(&(Phase::Loading, 21.7)));
        assert_eq!(summary.policies[1].cold_start, None);
    }

    #[test]
    fn gates_are_counted_by_policy() {
        let summary = Summary::new(fixture::experiment());
        assert_eq!((summary.gates_failed(), summary.gates_total()), (2, 6));
        assert_eq!(summary.gates_text(), "2 of 6 gates failed");
    }

    proptest! {
        #[test]
        fn shares_sum_to_a_hundred_percent(counts in proptest::collection::vec(0u64..100_000, Cause::ALL.len())) {
            let shares = shares(Cause::ALL.into_iter().zip(counts.iter().copied()));
            let expected = if counts.iter().all(|c| *c == 0) { 0 } else { 1000 };
            prop_assert_eq!(shares.iter().map(|s| s.share_tenths).sum::<u64>(), expected);
            prop_assert!(shares.windows(2).all(|w| w[0].count >= w[1].count));
        }
    }
}
