//! What each single change of a scenario brings and costs: a row each, beside the scenario as it is.
//!
//! The types here are the JSON, and what a page can draw the table from.

mod text;
mod verdict;

use serde::Serialize;

use crate::experiment::metric::{Better, Unit};
use crate::experiment::whatif::{Change, Effect, Figures, judge};
use crate::experiment::{Estimate, Gate, GateStatus, Header, Metric, Warning, slo_limits};
use crate::scenario::whatif::{Mitigation, Untried};
pub use verdict::Verdict;

/// A change that was tried, and what its runs gave.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The change.
    pub mitigation: &'static Mitigation,
    /// What it wrote over the scenario, `path=value` each.
    pub sets: Vec<String>,
    /// Its runs, one for each replication.
    pub runs: Vec<Figures>,
}

/// A scenario's policy with one thing changed at a time.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIf {
    /// Name of the scenario.
    pub scenario: String,
    /// Name of the policy.
    pub policy: String,
    /// The model and what it runs on.
    pub model: String,
    /// The profile.
    pub profile: String,
    /// The limits of a request.
    pub slo: Vec<String>,
    /// The scenario's seed.
    pub seed: u64,
    /// Runs of each row.
    pub replications: u32,
    /// What the intervals cover.
    pub coverage: &'static str,
    /// The columns.
    pub metrics: Vec<Column>,
    /// The gates that bind the policy, as they are written.
    pub gates: Vec<String>,
    /// As it is.
    pub base: Row,
    /// With one thing changed each: those that spare most breaches first, then those that cost least.
    pub rows: Vec<Row>,
    /// What was not tried.
    pub not_tried: Vec<NotTried>,
    /// What it comes to.
    pub verdict: Verdict,
    /// What the reader must know before believing a figure.
    pub warnings: Vec<Warning>,
}

/// A column.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Column {
    /// Name of the metric.
    pub metric: &'static str,
    /// What it counts in: `s`, `share`, `USD`, ..
    pub unit: &'static str,
    #[serde(skip)]
    of: &'static Metric,
}

/// A row.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Name of the change, as `--only` takes it; `as-it-is` of the first row.
    pub name: &'static str,
    /// The change in words.
    pub words: &'static str,
    /// What it writes over the scenario: what to give `--set`.
    pub sets: Vec<String>,
    /// By column.
    pub figures: Vec<Cell>,
    /// By gate.
    pub gates: Vec<GateStatus>,
    /// Whether every gate holds; true where there is none.
    pub holds: bool,
    /// What decides the order and the verdict, shown or not.
    #[serde(skip)]
    weighed: Weighed,
}

/// What a change is weighed by.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Weighed {
    /// Share of requests that breach; without an SLO the first column.
    harm: Change,
    /// The bill of a month.
    cost: Change,
}

/// A figure beside the same as it is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cell {
    /// Mean over the replications and its interval.
    pub value: Option<Figure>,
    /// The difference to the first row, paired by replication; absent in that row.
    pub difference: Option<Figure>,
    /// Which way it went.
    pub effect: Option<Effect>,
    #[serde(skip)]
    change: Change,
}

/// A mean and its 95 % interval; `null` where requests never got there.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figure {
    /// The mean.
    pub mean: Option<f64>,
    /// The lower end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The upper end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

impl From<Estimate> for Figure {
    fn from(own: Estimate) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        let (low, high) = own.interval.unzip();
        Self { mean: finite(own.mean), low: low.and_then(finite), high: high.and_then(finite) }
    }
}

/// What was not tried.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotTried {
    /// Name of the change.
    pub name: &'static str,
    /// The change in words.
    pub words: &'static str,
    /// Why not.
    pub why: String,
    /// Whether it takes back what the scenario does not have.
    #[serde(skip)]
    is_reverse: bool,
}

/// What orders rows where there is an SLO.
const BREACH: &str = "slo.breach";
/// What a change costs.
const COST: &str = "cost.monthly";

impl WhatIf {
    /// From the runs of a policy as it is, and of each change.
    pub fn new(
        policy: &str,
        header: &Header,
        gates: &[Gate],
        metrics: &[&'static Metric],
        base: &[Figures],
        tried: Vec<Tried>,
        untried: Vec<Untried>,
    ) -> Self {
        let named = |name: &str| Metric::find(name).expect("it is in the table of metrics");
        let has_slo = !slo_limits(&header.slo).is_empty();
        let harm =
            if has_slo { named(BREACH) } else { metrics.first().copied().unwrap_or(named("ttft.p99")) };
        let row = |name, words, sets, runs: &[Figures]| {
            let statuses: Vec<GateStatus> = gates.iter().map(|gate| judge(gate, runs)).collect();
            Row {
                name,
                words,
                sets,
                figures: metrics.iter().map(|metric| Cell::of(Change::of(metric, base, runs))).collect(),
                holds: statuses.iter().all(|status| status.is_held(false)),
                gates: statuses,
                weighed: Weighed {
                    harm: Change::of(harm, base, runs),
                    cost: Change::of(named(COST), base, runs),
                },
            }
        };
        let mut first = row("as-it-is", "as it is", Vec::new(), base);
        for cell in &mut first.figures {
            (cell.difference, cell.effect) = (None, None);
        }
        let mut rows: Vec<Row> = tried
            .into_iter()
            .map(|tried| row(tried.mitigation.name, tried.mitigation.words, tried.sets, &tried.runs))
            .collect();
        // A stable sort: those that bring the same stay in the order of the table.
        let worse = |row: &Row| match harm.better {
            Better::Higher => -row.weighed.harm.detected(),
            Better::Lower | Better::Neither => row.weighed.harm.detected(),
        };
        rows.sort_by(|a, b| {
            let cost = |row: &Row| row.weighed.cost.detected();
            let first = |row: &Row| {
                let of = |cell: &Cell| if cell.effect == Some(Effect::Better) { -1 } else { 0 };
                row.figures.first().map_or(0, of)
            };
            let by_harm = worse(a).total_cmp(&worse(b));
            by_harm.then(cost(a).total_cmp(&cost(b))).then(first(a).cmp(&first(b)))
        });
        let verdict = Verdict::new(&first, &rows, gates, harm);
        Self {
            scenario: header.scenario.clone(),
            policy: policy.to_owned(),
            model: header.model.clone(),
            profile: header.profile.clone(),
            slo: slo_limits(&header.slo).iter().map(|(name, limit)| format!("{name} {limit}")).collect(),
            seed: header.seed,
            replications: header.replications,
            coverage: header.coverage.label(),
            metrics: metrics.iter().copied().map(Column::of).collect(),
            gates: gates.iter().map(ToString::to_string).collect(),
            base: first,
            rows,
            not_tried: untried.into_iter().map(NotTried::from).collect(),
            verdict,
            warnings: warnings(header, base),
        }
    }
}

/// Those of the scenario that have no place, which were shown already, and what its runs give cause to say.
fn warnings(header: &Header, base: &[Figures]) -> Vec<Warning> {
    let bare = header.warnings.iter().filter(|warning| warning.place.is_none()).cloned();
    let beyond = Metric::find("steps.extrapolated").and_then(|metric| {
        metric.estimate(base.iter().map(|run| run.value(metric))).filter(|share| share.mean > 0.0)
    });
    let beyond = beyond.map(|share| Warning {
        code: "W0107".to_owned(),
        message: format!(
            "{} of engine steps as it is ran beyond what the profile covers; these are extrapolated",
            super::format::value(Unit::Share, share.mean)
        ),
        place: None,
        help: None,
    });
    bare.chain(beyond).collect()
}

impl Column {
    fn of(metric: &'static Metric) -> Self {
        Self { metric: metric.name, unit: metric.unit.label(), of: metric }
    }
}

impl Cell {
    fn of(change: Change) -> Self {
        Self {
            value: change.estimate.map(Figure::from),
            difference: change.difference.map(Figure::from),
            effect: Some(change.effect),
            change,
        }
    }
}

impl From<Untried> for NotTried {
    fn from(own: Untried) -> Self {
        let Mitigation { name, words, is_reverse, .. } = *own.mitigation;
        Self { name, words, why: own.why, is_reverse }
    }
}
