//! A plan as JSON.

use serde_json::{Value, json};

use super::{Plan, Tried};
use crate::experiment::Estimate;
use crate::experiment::sizing::{ForStart, Need, Pile, Rise};
use crate::kernel::SimDuration;

impl Plan<'_> {
    /// As JSON: durations and times in s, rates in requests/s, money in US dollars.
    pub fn json(&self) -> Value {
        let need =
            |need: &Need| json!({ "perS": need.per_s, "quotient": need.quotient, "replicas": need.replicas });
        let rise = |rise: &Rise| {
            json!({
                "fromS": rise.from.as_secs_f64(), "toS": rise.to.as_secs_f64(),
                "fromPerS": rise.from_per_s, "toPerS": rise.to_per_s,
            })
        };
        let pile = |pile: &Pile| {
            json!({
                "fromS": pile.from.as_secs_f64(), "toS": pile.to.as_secs_f64(), "come": pile.come, "waiting": pile.waiting,
                "replicas": pile.replicas, "longestWaitS": pile.longest_wait.as_secs_f64(), "late": pile.late,
                "lateForS": pile.late_for.as_secs_f64(),
            })
        };
        let start = |found: &ForStart| {
            json!({
                "startS": found.start.as_secs_f64(), "holdS": found.hold.as_secs_f64(),
                "rise": found.rise.as_ref().map(rise), "carried": found.above.as_ref().map(rise),
                "quotient": found.quotient, "spare": found.spare, "ordered": found.ordered,
                "monthlyUsd": found.monthly_usd,
                "withSpares": found.with_spares.as_ref().map(pile), "withoutSpares": found.without.as_ref().map(pile),
            })
        };
        let mean = |figure: Option<Estimate>| figure.map(|estimate| estimate.mean);
        let tried = |tried: &Tried| {
            json!({
                "name": tried.name,
                "computed": {
                    "replicas": tried.replicas, "monthlyUsd": tried.expected_usd, "late": tried.expected_late,
                    "lateForS": tried.expected_late_for.as_secs_f64(),
                },
                "simulated": {
                    "breach": mean(tried.breach), "breachTimeS": mean(tried.breach_secs),
                    "monthlyUsd": mean(tried.monthly_usd), "holds": tried.holds(self.breach_share),
                },
                "causes": tried.causes.iter().map(|(cause, count)| json!([cause.label(), count])).collect::<Vec<_>>(),
            })
        };
        let pair = |(median, p90): (SimDuration, SimDuration)| json!({ "medianS": median.as_secs_f64(), "p90S": p90.as_secs_f64() });
        json!({
            "scenario": self.header.scenario,
            "capacityPerS": self.replica.capacity_per_s,
            "usdPerReplicaHour": self.replica.usd_per_hour,
            "breachShare": self.breach_share,
            "start": pair(self.start),
            "startWithNode": pair(self.start_with_node),
            "load": {
                "requests": self.load.requests(),
                "mean": need(&self.steady.mean),
                "quantiles": self.steady.quantiles.iter()
                    .map(|(share, own)| json!({ "share": share, "need": need(own) })).collect::<Vec<_>>(),
                "peak": need(&self.steady.peak),
                "peakAtS": self.steady.peak_at.as_secs_f64(),
            },
            "starts": { "p90": start(&self.starts[0]), "median": start(&self.starts[1]), "halved": start(&self.starts[2]) },
            "plan": {
                "minReplicas": self.figures.min_replicas, "spare": self.figures.spare,
                "maxReplicas": self.figures.max_replicas, "holds": self.holds(), "verdict": self.verdict().trim_end(),
                "policies": format!("policies:\n{}", self.figures.policy()),
            },
            "fewestFixed": self.fewest.map(|(replicas, breach)| json!({ "replicas": replicas, "breach": breach })),
            "warnings": self.warnings,
            "tried": self.tried.iter().map(tried).collect::<Vec<_>>(),
        })
    }
}
