//! A plan for a fleet: the arithmetic of its size so that a reader can redo it, what simulating it said, and the policy to paste.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::format;
use crate::experiment::metric::{HOURS_PER_MONTH, Metric, Unit, monthly};
use crate::experiment::sizing::{ForStart, Load, Need, Pile, Replica, Rise, Steady};
use crate::experiment::{Estimate, Header, PolicyOutcome, Warning, slo_limits};
use crate::kernel::{Quantity, SimDuration};
use crate::outcome::Cause;
use crate::profile::page::table;

/// Names of the policies that are tried, in their order.
pub const NAMES: [&str; 3] = ["fixed", "plan", "without-spares"];

/// The figures that a plan comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Fewest replicas.
    pub min_replicas: u32,
    /// Most replicas, spares left out.
    pub max_replicas: u32,
    /// Spares that are warm.
    pub spare: u32,
    /// Requests/s of a replica.
    pub capacity_per_s: f64,
    /// How long an order outlives its load.
    pub hold: SimDuration,
}

impl Figures {
    /// Of a load and a cold start.
    pub fn new(steady: &Steady, replica: &Replica, found: &ForStart) -> Self {
        Self {
            min_replicas: steady.mean.replicas,
            max_replicas: steady.peak.replicas.max(steady.mean.replicas),
            spare: found.spare,
            capacity_per_s: replica.capacity_per_s,
            hold: found.hold,
        }
    }

    /// The plan as an entry of a scenario's `policies`. A replica's capacity is written in thousandths, rounded down.
    pub fn policy(&self) -> String {
        let hpa = self.hpa();
        if self.spare == 0 {
            return format!("  plan:\n{}", indented(&hpa, 4));
        }
        format!("  plan:\n    warmPool:\n      spare: {}\n      over:\n{}", self.spare, indented(&hpa, 8))
    }

    /// All that are tried as a scenario's `policies`: the busiest minute's count, the plan, and that without spares where it has any.
    pub fn policies(&self) -> String {
        let fixed = format!("  {}: {{ fixed: {{ replicas: {} }} }}\n", NAMES[0], self.max_replicas);
        let plan = self.policy();
        let without = if self.spare == 0 {
            String::new()
        } else {
            format!("  {}:\n{}", NAMES[2], indented(&self.hpa(), 4))
        };
        fixed + &plan + &without
    }

    fn hpa(&self) -> String {
        let target = Quantity::from_milli(((self.capacity_per_s * 1000.0) as i64).max(1));
        format!(
            "hpa:\n  minReplicas: {}\n  maxReplicas: {}\n  metrics:\n    - type: External\n      external:\n        \
             metric: {{ name: gateway_requests_per_second }}\n        \
             target: {{ type: AverageValue, averageValue: {target} }}\n  behavior:\n    \
             scaleDown: {{ stabilizationWindowSeconds: {} }}\n",
            self.min_replicas,
            self.max_replicas,
            self.hold.as_nanos() / 1_000_000_000
        )
    }
}

fn indented(text: &str, by: usize) -> String {
    text.lines().fold(String::new(), |all, line| all + &" ".repeat(by) + line + "\n")
}

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
    /// What the reader must know before believing a figure.
    pub warnings: Vec<Warning>,
}

/// Width of the labels.
const WIDTH: usize = 17;
/// What each of [`Plan::starts`] is.
const STARTS: [&str; 3] = ["90th percentile", "median", "half of the first"];

fn usd(amount: f64) -> String {
    format::month((amount * 100.0).round().max(0.0) as u64)
}

fn share(share: f64) -> String {
    format::value(Unit::Share, share)
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

    fn inputs(&self) -> String {
        let header = self.header;
        let limits = slo_limits(&header.slo);
        let limits: Vec<String> = limits.iter().map(|(name, limit)| format!("{name} {limit}")).collect();
        let (gpus, pool, price) = self.gpus;
        let lines = [
            ("plan", format!("{} · {}", header.scenario, header.workload)),
            ("model", header.model.clone()),
            (
                "SLO",
                format!(
                    "{}, kept by {} of the requests at least",
                    limits.join(", "),
                    share(1.0 - self.breach_share)
                ),
            ),
            (
                "a replica, c",
                format!(
                    "{:.3} requests/s within the SLO, searched by simulation",
                    self.replica.capacity_per_s
                ),
            ),
            (
                "its price",
                format!(
                    "{gpus} × ${price} a GPU-hour in pool `{pool}` × {HOURS_PER_MONTH} h = {} a month",
                    usd(self.replica.monthly_usd(1.0))
                ),
            ),
            (
                "its start, L",
                format!(
                    "{} in the median, {} at the 90th percentile with its node; {} and {} on one that is there",
                    self.start_with_node.0, self.start_with_node.1, self.start.0, self.start.1
                ),
            ),
        ];
        lines.iter().fold(String::new(), |all, (label, text)| format!("{all}{label:<WIDTH$}{text}\n"))
    }

    fn loads(&self) -> String {
        let steady = self.steady;
        let row = |label: String, need: &Need| {
            vec![
                label,
                format!("{:.3}", need.per_s),
                format!("{:.2}", need.quotient),
                need.replicas.to_string(),
                usd(self.replica.monthly_usd(f64::from(need.replicas))),
            ]
        };
        let mut rows = vec![row("mean".to_owned(), &steady.mean)];
        let quantiles = steady.quantiles.iter();
        rows.extend(quantiles.map(|(part, need)| row(format!("{} of all minutes", share(*part)), need)));
        rows.push(row(format!("busiest minute, until {}", steady.peak_at), &steady.peak));
        let shown = table(&["LOAD", "requests/s", "÷ c", "replicas", "a month"], rows, &[1, 2, 3, 4]);
        format!("{shown}Minutes begin every 10 s; of so many minutes, none has more.\n")
    }

    fn rise(label: &str, rise: Option<&Rise>) -> String {
        rise.map_or_else(
            || format!("{label:<WIDTH$}none\n"),
            |rise| {
                format!(
                    "{label:<WIDTH$}{:.3} requests/s at {} to {:.3} at {}: {:.3}\n",
                    rise.from_per_s,
                    rise.from,
                    rise.to_per_s,
                    rise.to,
                    rise.per_s()
                )
            },
        )
    }

    fn piled(&self, label: &str, pile: Option<&Pile>) -> String {
        let Some(pile) = pile else { return format!("{label:<WIDTH$}no request waits\n") };
        format!(
            "{label:<WIDTH$}{} requests come from {} to {}, {} are served meanwhile, {} wait behind {} replicas;\n\
             {:<WIDTH$}the longest wait of the trace is {}, and {} of all requests wait too long\n",
            format::whole(pile.come),
            pile.from,
            pile.to,
            format::whole((pile.come as f64 - pile.waiting).round().max(0.0) as u64),
            format::whole(pile.waiting.round() as u64),
            pile.replicas,
            "",
            format::value(Unit::Seconds, pile.longest_wait.as_secs_f64()),
            share(pile.late as f64 / self.load.requests() as f64),
        )
    }

    fn rises(&self) -> String {
        let found = &self.starts[0];
        let mut text = format!("WORST RISE within one cold start of {}\n", found.start);
        text += &Self::rise("of the load", found.rise.as_ref());
        text += &Self::rise("to be carried", found.above.as_ref());
        let least = self.steady.mean.replicas;
        let _ = writeln!(
            text,
            "{:<WIDTH$}{} replicas serve {:.3} requests/s without any rise",
            "",
            least,
            f64::from(least) * self.replica.capacity_per_s
        );
        text += &self.piled("without spares", found.without.as_ref());
        if found.spare > 0 {
            text += &self.piled("with them", found.with_spares.as_ref());
        }
        let row = |(label, found): (&str, &ForStart)| {
            let rise =
                |rise: Option<&Rise>| rise.map_or("0".to_owned(), |rise| format!("{:.3}", rise.per_s()));
            let pile = found.without.as_ref();
            vec![
                format!("{label}, {}", found.start),
                rise(found.rise.as_ref()),
                rise(found.above.as_ref()),
                format!("{:.2}", found.quotient),
                found.spare.to_string(),
                format!("{:.2}", found.ordered),
                usd(found.monthly_usd),
                pile.map_or("0".to_owned(), |pile| format::whole(pile.waiting.round() as u64)),
                pile.map_or("0s".to_owned(), |pile| {
                    format::value(Unit::Seconds, pile.longest_wait.as_secs_f64())
                }),
            ]
        };
        let header =
            ["L", "rise", "carried", "÷ c", "spares", "ordered", "a month", "else queue", "and wait"];
        text.push('\n');
        text + &table(&header, STARTS.into_iter().zip(&self.starts).map(row), &[1, 2, 3, 4, 5, 6, 7, 8])
    }

    fn sums(&self) -> String {
        let (figures, steady, found) = (&self.figures, self.steady, &self.starts[0]);
        let mut text = format!(
            "minReplicas = {}   the mean, {:.2}, rounded up\nspare = {}         the rise to be carried, {:.2}, rounded up\n\
             maxReplicas = {}   the busiest minute, {:.2}, rounded up\n",
            figures.min_replicas,
            steady.mean.quotient,
            figures.spare,
            found.quotient,
            figures.max_replicas,
            steady.peak.quotient
        );
        let _ = writeln!(
            text,
            "({:.2} replicas ordered on average, each held for {}, + {} spares) × {} = {} a month",
            found.ordered,
            found.hold,
            found.spare,
            usd(self.replica.monthly_usd(1.0)),
            usd(found.monthly_usd)
        );
        let always = self.replica.monthly_usd(f64::from(figures.max_replicas));
        if found.monthly_usd >= always {
            let _ = writeln!(
                text,
                "That is no less than {} replicas all the time, {}: with such a start a fleet that never scales is cheaper.",
                figures.max_replicas,
                usd(always)
            );
        }
        let halved = &self.starts[2];
        let _ = writeln!(
            text,
            "A start of {} would need {} and cost {}: {} a month {}.",
            halved.start,
            if halved.spare == 1 { "1 spare".to_owned() } else { format!("{} spares", halved.spare) },
            usd(halved.monthly_usd),
            usd((found.monthly_usd - halved.monthly_usd).abs()),
            if halved.monthly_usd > found.monthly_usd { "more" } else { "less" }
        );
        text
    }

    fn trials(&self) -> String {
        let row = |tried: &Tried| {
            let late = share(tried.expected_late);
            let time = tried.expected_late_for;
            vec![
                tried.name.to_owned(),
                if time.is_zero() { late } else { format!("{late} in {time}") },
                tried.breach.map_or(format::NONE.to_owned(), |breach| share(breach.mean)),
                format::maybe(Unit::Seconds, tried.breach_secs.map(|time| time.mean)),
                usd(tried.expected_usd),
                tried.monthly_usd.map_or(format::NONE.to_owned(), |bill| usd(bill.mean)),
            ]
        };
        let replications = self.header.replications;
        let header =
            ["SIMULATED", "late, computed", "breach", "time in breach", "a month, computed", "billed"];
        let mut text = table(&header, self.tried.iter().map(row), &[1, 2, 3, 4, 5]);
        for tried in self.tried.iter().filter(|tried| !tried.causes.is_empty()) {
            let all: u64 = tried.causes.iter().map(|(_, count)| count).sum();
            let part = |(cause, count): &(Cause, u64)| {
                format!("{} {}", cause.label(), share(*count as f64 / all as f64))
            };
            let parts: Vec<String> = tried.causes.iter().map(part).collect();
            let _ = writeln!(text, "breaches of {}: {}", tried.name, parts.join(" · "));
        }
        let runs = if replications == 1 { "once".to_owned() } else { format!("{replications} times") };
        for warning in &self.warnings {
            let _ = writeln!(text, "warning[{}]: {}", warning.code, warning.message);
        }
        let _ = writeln!(
            text,
            "Each ran {runs}, from its own first replicas and spares on; what the traffic did before is not known."
        );
        text
    }

    /// Whether the plan held, in words.
    pub fn verdict(&self) -> String {
        let (Some(fixed), Some(plan)) = (self.tried.first(), self.tried.get(1)) else { return String::new() };
        let mean = |figure: Option<Estimate>| figure.map_or(f64::NAN, |estimate| estimate.mean);
        let (breach, limit) = (mean(plan.breach), self.breach_share);
        let mut text = if self.holds() {
            format!("The plan holds: {} of the requests breach, and {} may.", share(breach), share(limit))
        } else {
            let mut text = format!(
                "The plan does not hold: {} of the requests breach, {:.1} times the {} that may.",
                share(breach),
                breach / limit,
                share(limit)
            );
            if let Some((cause, part)) = plan.leading() {
                let _ = write!(text, " Most of them, {}, by: {}.", share(part), cause.label());
            }
            text
        };
        if !fixed.holds(limit) {
            let _ = write!(
                text,
                " Not even {} replicas all the time hold: {} breach. Bursts within a minute need more than its rate.",
                self.figures.max_replicas,
                share(mean(fixed.breach))
            );
        }
        let (bill, peak) = (mean(plan.monthly_usd), mean(fixed.monthly_usd));
        if peak > 0.0 && bill.is_finite() {
            let change = bill / peak - 1.0;
            let word = if change > 0.0 { "more" } else { "less" };
            let _ = write!(
                text,
                " It costs {} {word} than the busiest minute's replicas all the time, and {:+.0}% on what was computed.",
                share(change.abs()),
                (bill / plan.expected_usd - 1.0) * 100.0
            );
        }
        if let Some(without) = self.tried.get(2) {
            let holds = if without.holds(limit) { "holds as well" } else { "does not hold" };
            let _ = write!(text, " Without spares it {holds}: {} breach.", share(mean(without.breach)));
        }
        text + "\n"
    }

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
            "warnings": self.warnings,
            "tried": self.tried.iter().map(tried).collect::<Vec<_>>(),
        })
    }
}
