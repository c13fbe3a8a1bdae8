//! Perfect foresight, from both sides: the yardstick that policies are held against.
//!
//! From below, what no schedule can undercut ([`crate::sim::fluid`]). From above, the cheapest plan that was found knowing the future: it has
//! starts to wait for and limits to keep like any policy, and is run in the simulator like one. The best possible lies between.

mod plan;
mod search;

use rayon::prelude::*;

use super::{Estimate, PolicyOutcome};
use crate::outcome::RunOutcome;
use crate::sim::{Simulation, fluid};
pub use plan::{Plan, Planned};
pub use search::Search;

/// What knowing the future would bring, by replication.
#[derive(Clone, Debug, PartialEq)]
pub struct Foresight {
    /// The share of requests that may breach.
    pub breach_share: f64,
    /// Plans that were run in each replication, at most.
    pub plans: u32,
    /// What no schedule undercuts that breaches no more, US dollars, by replication.
    pub lower_usd: Vec<f64>,
    /// What the cheapest schedule costs that is known to breach no more: the best plan found, or a policy that did better. `None` where
    /// none holds.
    pub upper_usd: Vec<Option<f64>>,
    /// The best plan found of each replication.
    pub found: Vec<Option<Plan>>,
}

impl Foresight {
    /// Searches each replication for the cheapest plan, running at most so many; `progress` is told of each run.
    ///
    /// # Errors
    /// As [`crate::sim::run()`], of the first replication that fails; and where there are no threads.
    pub fn find(
        sim: &Simulation,
        policies: &[PolicyOutcome],
        replications: u32,
        breach_share: f64,
        plans: u32,
        jobs: usize,
        progress: &(impl Fn() + Sync),
    ) -> Result<Self, String> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build().map_err(|e| e.to_string())?;
        let one = |replication: u32| {
            let lower = fluid::least_cost_usd(sim, replication, breach_share)?;
            let found = Search::new(sim, replication, breach_share, plans)?.run(progress)?;
            Ok((lower, found))
        };
        let all: Vec<Result<_, String>> =
            pool.install(|| (0..replications).into_par_iter().map(one).collect());
        let all: Vec<_> = all.into_iter().collect::<Result<_, _>>()?;
        let upper_usd = all
            .iter()
            .enumerate()
            .map(|(replication, (_, found))| {
                let runs = policies.iter().filter_map(|policy| policy.runs.get(replication));
                let held = runs.filter(|run| share(run) <= breach_share).map(|run| run.ledger.cost_total());
                held.chain(found.iter().map(|(_, usd)| *usd)).min_by(f64::total_cmp)
            })
            .collect();
        let lower_usd = all.iter().map(|(lower, _)| *lower).collect();
        let found = all.into_iter().map(|(_, found)| found.map(|(plan, _)| plan)).collect();
        Ok(Self { breach_share, plans, lower_usd, upper_usd, found })
    }

    /// The lower bound over the replications.
    pub fn lower(&self) -> Option<Estimate> {
        Estimate::of(&self.lower_usd)
    }

    /// The upper bound over the replications; `None` unless each has one.
    pub fn upper(&self) -> Option<Estimate> {
        Estimate::of(&self.upper_usd.iter().copied().collect::<Option<Vec<f64>>>()?)
    }

    /// How far above the upper bound a policy is, a share, if it holds: over all replications it breaches no more.
    pub fn above(&self, policy: &PolicyOutcome) -> Option<Estimate> {
        let runs = policy.runs.len().max(1) as f64;
        if policy.runs.iter().map(share).sum::<f64>() / runs > self.breach_share {
            return None;
        }
        let over = |(run, upper): (&RunOutcome, &Option<f64>)| {
            upper.filter(|upper| *upper > 0.0).map(|upper| run.ledger.cost_total() / upper - 1.0)
        };
        Estimate::of(&policy.runs.iter().zip(&self.upper_usd).map(over).collect::<Option<Vec<f64>>>()?)
    }
}

/// The share of a run's requests that breach.
pub fn share(run: &RunOutcome) -> f64 {
    let breaches = run.breaches.as_ref().map_or(0, |breaches| breaches.total);
    if run.counts.arrived == 0 { 0.0 } else { breaches as f64 / run.counts.arrived as f64 }
}

#[cfg(test)]
mod tests;
