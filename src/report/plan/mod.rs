//! A plan for a fleet: the arithmetic of its size so that a reader can redo it, what simulating it said, and the policy to paste.

mod figures;
mod json;
mod text;

use std::fmt::Write as _;

use crate::experiment::metric::{Metric, monthly};
use crate::experiment::sizing::{ForStart, Load, Replica, Steady};
use crate::experiment::{Estimate, Header, PolicyOutcome, Warning};
use crate::kernel::SimDuration;
use crate::outcome::Cause;
pub use figures::Figures;
use text::{counted, exact, share, usd};

/// Names of the policies that are tried, in their order.
pub const NAMES: [&str; 3] = ["fixed", "plan", "without-spares"];

/// What arithmetic says of a policy, and what simulating it said.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// Its name, of [`NAMES`].
    pub name: &'static str,
    /// Replicas on average, spares included, as computed.
    pub replicas: f64,
    /// What they cost a month, US dollars, as computed.
    pub expected_usd: f64,
    /// The share of requests that is late, as computed.
    pub expected_late: f64,
    /// The time in which those come, as computed.
    pub expected_late_for: SimDuration,
    /// Share of the requests that breached.
    pub breach: Option<Estimate>,
    /// Time in breach, s.
    pub breach_secs: Option<Estimate>,
    /// The bill of a month, US dollars.
    pub monthly_usd: Option<Estimate>,
    /// Breaching requests of all runs by cause, the most frequent first.
    pub causes: Vec<(Cause, u64)>,
}

impl Tried {
    /// Fills in what simulating a policy said.
    #[must_use]
    pub fn simulated(mut self, outcome: &PolicyOutcome) -> Self {
        let figure = |name: &str| {
            let metric = Metric::find(name)?;
            metric.estimate(outcome.runs.iter().map(|run| metric.value(run)))
        };
        (self.breach, self.breach_secs) = (figure("slo.breach"), figure("slo.breachTime"));
        let bills = outcome.runs.iter().map(|run| monthly(run, run.ledger.cost_total()));
        self.monthly_usd = bills.collect::<Option<Vec<f64>>>().and_then(|bills| Estimate::of(&bills));
        let breaches = || outcome.runs.iter().filter_map(|run| run.breaches.as_ref());
        let count = |cause: &Cause| breaches().map(|breaches| breaches.by_cause[cause.index()]).sum::<u64>();
        self.causes = Cause::ALL.iter().map(|cause| (*cause, count(cause))).filter(|(_, n)| *n > 0).collect();
        self.causes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        self
    }

    /// Whether no more breach than may, on average over the replications.
    pub fn holds(&self, breach_share: f64) -> bool {
        self.breach.is_some_and(|breach| breach.mean <= breach_share)
    }

    /// The cause of most breaches, with its share of them.
    fn leading(&self) -> Option<(Cause, f64)> {
        let all: u64 = self.causes.iter().map(|(_, count)| count).sum();
        self.causes.first().map(|(cause, count)| (*cause, *count as f64 / all as f64))
    }
}

/// A plan with all that it rests on.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Where it comes from.
    pub header: &'a Header,
    /// The load.
    pub load: &'a Load,
    /// The replica.
    pub replica: Replica,
    /// Its GPUs, the pool that they are of, and what a GPU-hour is there, US dollars.
    pub gpus: (u32, &'a str, f64),
    /// The share of requests that may breach.
    pub breach_share: f64,
    /// The cold start on a node that is there: median and 90th percentile.
    pub start: (SimDuration, SimDuration),
    /// The same with the order of its node before it.
    pub start_with_node: (SimDuration, SimDuration),
    /// What the load needs whatever a start takes.
    pub steady: &'a Steady,
    /// What a start asks for that takes the 90th percentile, the median, and half of the former.
    pub starts: [ForStart; 3],
    /// What it comes to.
    pub figures: Figures,
    /// What was tried: all of [`NAMES`], or all but the last where there are no spares.
    pub tried: Vec<Tried>,
    /// The fewest replicas that hold all the time in the simulation, with the share that breaches; `None` where no more than the busiest
    /// minute's are not enough.
    pub fewest: Option<(u32, f64)>,
    /// What the reader must know before believing a figure.
    pub warnings: Vec<Warning>,
}

impl Plan<'_> {
    /// Whether the plan holds the SLO in the simulation.
    pub fn holds(&self) -> bool {
        self.tried.get(1).is_some_and(|plan| plan.holds(self.breach_share))
    }

    /// As text.
    pub fn text(&self) -> String {
        let parts = [self.inputs(), self.loads(), self.rises(), self.sums(), self.trials(), self.verdict()];
        let policy = self.figures.policy();
        parts.join("\n") + "\nThe plan as a policy, to paste into a scenario:\n\npolicies:\n" + &policy
    }

    /// Whether the plan held, in words.
    pub fn verdict(&self) -> String {
        let (Some(fixed), Some(plan)) = (self.tried.first(), self.tried.get(1)) else { return String::new() };
        let mean = |figure: Option<Estimate>| figure.map_or(f64::NAN, |estimate| estimate.mean);
        let (breach, limit) = (mean(plan.breach), self.breach_share);
        let mut text = if self.holds() {
            format!("The plan holds: {} of the requests breach, and {} may.", exact(breach), exact(limit))
        } else {
            let mut text = format!(
                "The plan does not hold: {} of the requests breach, and {} may: {:.2} points too many.",
                exact(breach),
                exact(limit),
                (breach - limit) * 100.0
            );
            if let Some((cause, part)) = plan.leading() {
                let _ =
                    write!(text, " What led is `{}`, with {} of the breaches.", cause.label(), share(part));
            }
            text
        };
        if !fixed.holds(limit) {
            let _ = write!(
                text,
                " With {} all the time {} breach: it is not for the starts alone.",
                counted(self.figures.max_replicas, "replica"),
                exact(mean(fixed.breach))
            );
        }
        let (bill, peak) = (mean(plan.monthly_usd), mean(fixed.monthly_usd));
        if peak > 0.0 && bill.is_finite() {
            let change = bill / peak - 1.0;
            // Half a percent less is no less than nothing.
            let off = ((bill / plan.expected_usd - 1.0) * 100.0).round() + 0.0;
            let compared = match share(change.abs()) {
                _ if change.abs() < 0.0005 => "as much as".to_owned(),
                part if change > 0.0 => format!("{part} more than"),
                part => format!("{part} less than"),
            };
            let _ = write!(
                text,
                " It costs {} a month, {compared} {} all the time, and {:+.0}% on what was computed.",
                usd(bill),
                counted(self.figures.max_replicas, "replica"),
                off
            );
        }
        if let Some(without) = self.tried.get(2) {
            let holds = if without.holds(limit) { "holds as well" } else { "does not hold" };
            let _ = write!(
                text,
                " Without spares it {holds}: {} breach, for {} a month.",
                exact(mean(without.breach)),
                usd(mean(without.monthly_usd))
            );
        }
        text + "\n"
    }
}

#[cfg(test)]
mod tests;
