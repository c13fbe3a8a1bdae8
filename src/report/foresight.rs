//! What knowing the future would bring, beside what the policies cost.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::document::MeanDoc;
use super::format;
use super::table::Line;
use super::{PolicySummary, Summary};
use crate::experiment::Foresight;
use crate::experiment::metric::Unit;

/// How far a policy is above perfect foresight, as the results show it.
pub(super) fn above(policy: &PolicySummary) -> String {
    let share = |share: f64| format!("{}{:.0}%", if share < 0.0 { "" } else { "+" }, share * 100.0);
    policy.above_foresight.map_or_else(|| "does not hold".to_owned(), |above| share(above.mean))
}

/// The bounds.
pub(super) fn lines(summary: &Summary) -> Vec<Line> {
    let Some(foresight) = &summary.experiment.foresight else { return Vec::new() };
    let share = format::value(Unit::Share, foresight.breach_share);
    let (lower, upper) = (foresight.lower(), foresight.upper());
    let usd = |amount: f64| format::value(Unit::Usd, amount);
    let found = upper.map_or_else(
        || format!("no plan was found that breaches at most {share} in every replication"),
        |upper| {
            format!(
                "{} the cheapest schedule known that breaches at most {share} (up to {} plans run a replication)",
                usd(upper.mean),
                format::whole(u64::from(foresight.plans))
            )
        },
    );
    let least = lower.map(|lower| format!("{} no schedule can cost less", usd(lower.mean)));
    let ratio = lower.zip(upper).filter(|(lower, _)| lower.mean > 0.0);
    let ratio = ratio.map(|(lower, upper)| {
        format!("the best possible is within a factor of {:.1}", upper.mean / lower.mean)
    });
    let parts = [Some(found), least, ratio].into_iter().flatten().collect();
    vec![Line { label: "PERFECT FORESIGHT".to_owned(), parts }]
}

/// Perfect foresight in `outcome.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForesightDoc {
    /// The share of requests that may breach.
    pub breach_share: f64,
    /// Plans that were run in each replication, at most.
    pub plans: u32,
    /// What no schedule undercuts, US dollars.
    pub lower_usd: MeanDoc,
    /// What the cheapest schedule costs that is known to hold, US dollars.
    pub upper_usd: MeanDoc,
    /// How far each policy is above it, a share; without a mean for one that does not hold.
    pub above: IndexMap<String, MeanDoc>,
    /// The best plan found of each replication.
    pub found: Vec<Option<Vec<PlannedDoc>>>,
}

/// An order of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedDoc {
    /// When, ns from the start of the run.
    pub at_ns: u64,
    /// Replicas from then on.
    pub replicas: u32,
}

impl ForesightDoc {
    /// Of what was found, beside the policies.
    pub fn new(foresight: &Foresight, policies: &[PolicySummary]) -> Self {
        let order =
            |(at, replicas): (crate::kernel::SimTime, u32)| PlannedDoc { at_ns: at.as_nanos(), replicas };
        let plan = |plan: &crate::experiment::foresight::Plan| plan.orders().into_iter().map(order).collect();
        Self {
            breach_share: foresight.breach_share,
            plans: foresight.plans,
            lower_usd: MeanDoc::from(foresight.lower()),
            upper_usd: MeanDoc::from(foresight.upper()),
            above: policies.iter().map(|p| (p.name.clone(), MeanDoc::from(p.above_foresight))).collect(),
            found: foresight.found.iter().map(|found| found.as_ref().map(plan)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::foresight::Plan;
    use crate::kernel::SimDuration;
    use crate::report::fixture;

    fn summary(upper: Option<f64>) -> Summary {
        let mut experiment = fixture::experiment();
        let plan = Plan {
            slot: SimDuration::from_secs(1800),
            replicas: vec![1, 2],
            ahead: SimDuration::from_secs(60),
        };
        experiment.foresight = Some(Foresight {
            breach_share: 0.01,
            plans: 200,
            lower_usd: vec![4.0; 3],
            upper_usd: vec![upper; 3],
            found: vec![upper.map(|_| plan); 3],
        });
        Summary::new(experiment)
    }

    #[test]
    fn policies_that_hold_are_held_against_the_plan() {
        let summary = summary(Some(12.0));
        let line = &lines(&summary)[0];
        assert_eq!(
            line.parts,
            [
                "$12.00 the cheapest schedule known that breaches at most 1.0% (up to 200 plans run a replication)",
                "$4.00 no schedule can cost less",
                "the best possible is within a factor of 3.0"
            ]
        );
        let shown: Vec<String> = summary.policies.iter().map(above).collect();
        assert_eq!(shown, ["does not hold", "+50%"]);
        let doc = ForesightDoc::new(summary.experiment.foresight.as_ref().unwrap(), &summary.policies);
        assert!(doc.above[0].mean.0.is_none() && doc.above[1].mean.0.is_some());
        let orders = doc.found[0].as_ref().unwrap();
        assert_eq!(
            orders.iter().map(|o| (o.at_ns / 1_000_000_000, o.replicas)).collect::<Vec<_>>(),
            [(0, 1), (1740, 2)]
        );
        let text = serde_json::to_string(&doc).unwrap();
        assert_eq!(serde_json::from_str::<ForesightDoc>(&text).unwrap(), doc);
    }

    #[test]
    fn without_a_plan_it_says_so() {
        let summary = summary(None);
        let parts = &lines(&summary)[0].parts;
        assert_eq!(parts[0], "no plan was found that breaches at most 1.0% in every replication");
        assert_eq!(parts.len(), 2);
        assert!(summary.policies.iter().all(|policy| policy.above_foresight.is_none()));
    }
}
