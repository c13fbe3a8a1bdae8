//! Two outcomes held against each other, policy by policy: what `compare` and `simulate --baseline` say.
//!
//! This is the comparison itself; `comparison_text` and `comparison_files` lay it out.

use serde_json::Value;

use super::baseline::{Baseline, BaselinePolicy};
use super::difference::{Difference, differences, plain};
use super::drift::{Drift, drifts};
use crate::experiment::compare::{Basis, Finding, Sides, compare};
use crate::experiment::metric::Better;
use crate::experiment::{Gate, METRICS, Metric, Rule, Standing};

/// What is shown and judged, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The chance of even one false alarm that is taken, such as 0.05.
    pub level: f64,
    /// Which metrics are shown beside those that are judged.
    pub shown: Shown,
    /// What fails the comparison; empty leaves it to the gates of the scenario.
    pub rules: Vec<Rule>,
    /// Whether any difference at all fails it.
    pub drift: bool,
    /// The policy of the base and the one it is held against; `None` takes all by their names.
    pub pair: Option<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { level: 0.05, shown: Shown::Usual, rules: Vec::new(), drift: false, pair: None }
    }
}

/// Which metrics are shown beside those that are judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// Those of the gates, latencies, breaches, cost and cold starts.
    Usual,
    /// All.
    All,
    /// These.
    These(Vec<&'static Metric>),
}

/// Metrics that are shown unless others are asked for.
const USUAL: [&str; 5] = ["ttft.p99", "tpot.p99", "slo.breach", "cost.total", "coldStarts"];
/// Metrics that are judged where no gate binds the policy and nothing else is asked for.
const JUDGED: [&str; 3] = ["ttft.p99", "slo.breach", "cost.total"];

/// The comparison.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The base, as the user named it.
    pub base: String,
    /// What is held against it, likewise.
    pub new: String,
    /// Whether runs are compared pair by pair.
    pub paired: bool,
    /// Runs of a policy on either side; of pairs, those that both have.
    pub runs: (usize, usize),
    /// The chance of even one false alarm.
    pub level: f64,
    /// Seeds of both.
    pub seeds: (u64, u64),
    /// Policies that both have, in the order of the new side.
    pub policies: Vec<PolicyComparison>,
    /// Policies that the base lacks.
    pub added: Vec<String>,
    /// Policies that only the base has.
    pub vanished: Vec<String>,
    /// Everything that is not the same, if that was asked for.
    pub drifts: Option<Vec<Drift>>,
}

/// One policy on both sides.
#[derive(Clone, Debug)]
pub struct PolicyComparison {
    /// Its name in the base.
    pub base: String,
    /// Its name in the new side.
    pub new: String,
    /// What became of each metric: what regressed first, then worse, better, different, unchanged.
    pub lines: Vec<Line>,
    /// What the two differ in.
    pub differences: Vec<Difference>,
}

/// One metric of a policy.
#[derive(Clone, Debug)]
pub struct Line {
    /// The metric.
    pub metric: &'static Metric,
    /// The rule that judges it, if one does.
    pub rule: Option<Rule>,
    /// What became of it.
    pub finding: Finding,
}

impl Comparison {
    /// Compares them.
    pub fn new(names: (&str, &str), base: &Baseline, new: &Baseline, options: &Options) -> Self {
        let paired = base.shares_luck(new);
        let pairs = matched(base, new, options);
        let plans: Vec<(usize, Option<Rule>, &'static Metric)> = (pairs.iter().enumerate())
            .flat_map(|(index, (_, policy))| {
                let planned = plan(options, new, &policy.name);
                planned.into_iter().map(move |(metric, rule)| (index, rule, metric))
            })
            .collect();
        let sides: Vec<Sides<'_>> = plans
            .iter()
            .map(|(index, rule, metric)| {
                let margins = rule.as_ref().map(|rule| &rule.margins[..]);
                sides(metric, pairs[*index].0, pairs[*index].1, paired, margins)
            })
            .collect();
        let findings = compare(&sides, options.level);
        let mut policies: Vec<PolicyComparison> = pairs
            .iter()
            .map(|(from, to)| PolicyComparison {
                base: from.name.clone(),
                new: to.name.clone(),
                lines: Vec::new(),
                differences: differences(base, &from.name, new, &to.name),
            })
            .collect();
        for ((index, rule, metric), finding) in plans.into_iter().zip(findings) {
            // A figure that neither side has is none.
            if finding.base.is_some() || finding.new.is_some() {
                policies[index].lines.push(Line { metric, rule, finding });
            }
        }
        for policy in &mut policies {
            policy.lines.sort_by_key(|line| (!line.finding.regressed, line.finding.standing));
        }
        let lacking = |of: &Baseline, names: &Baseline| -> Vec<String> {
            let missing = names.policies.iter().filter(|policy| of.policy(&policy.name).is_none());
            missing.map(|policy| policy.name.clone()).collect()
        };
        let all = options.pair.is_none();
        Self {
            base: names.0.to_owned(),
            new: names.1.to_owned(),
            paired,
            runs: pairs.first().map_or((0, 0), |(from, to)| counts(from, to, paired)),
            level: options.level,
            seeds: (base.seed, new.seed),
            policies,
            added: if all { lacking(base, new) } else { Vec::new() },
            vanished: if all { lacking(new, base) } else { Vec::new() },
            drifts: options.drift.then(|| drifts(base, new)),
        }
    }

    /// Everything that regressed, with its policy.
    pub fn regressions(&self) -> impl Iterator<Item = (&PolicyComparison, &Line)> {
        let lines = |policy| {
            let of: &PolicyComparison = policy;
            of.lines.iter().map(move |line| (of, line))
        };
        self.policies.iter().flat_map(lines).filter(|(_, line)| line.finding.regressed)
    }

    /// Whether it fails: something regressed or drifted.
    pub fn fails(&self) -> bool {
        self.regressions().next().is_some() || self.drifts.as_ref().is_some_and(|drifts| !drifts.is_empty())
    }

    /// Whether each policy has one run on a side: then nothing can be said of noise.
    pub fn is_single(&self) -> bool {
        self.runs.0 < 2 || self.runs.1 < 2
    }

    /// How many figures are judged.
    pub fn judged(&self) -> usize {
        self.lines().filter(|line| line.finding.judged).count()
    }

    /// Lines of every policy.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.policies.iter().flat_map(|policy| &policy.lines)
    }

    /// What the comparison rests on, in words: `paired on 20 common seeds, 95 % interval`.
    pub fn basis(&self) -> String {
        let percent = (100.0 * (1.0 - self.level) * 1e6).round() / 1e6;
        let common = if self.runs.0 == 1 { "seed" } else { "seeds" };
        match (self.paired, self.is_single()) {
            (true, true) => {
                "one run with the same seed: nothing can be said of noise, no interval".to_owned()
            }
            (true, false) => format!("paired on {} common {common}, {percent} % interval", self.runs.0),
            (false, true) => {
                "not paired, and one run on a side: nothing can be said of noise, no interval".to_owned()
            }
            (false, false) => format!(
                "not paired: {}; {} against {} runs, Welch's t, {percent} % interval",
                self.unpaired_reason(),
                self.runs.0,
                self.runs.1
            ),
        }
    }

    fn unpaired_reason(&self) -> String {
        match self.seeds {
            (base, new) if base != new => format!("seeds {base} and {new}"),
            _ => "the traffic is not the same".to_owned(),
        }
    }
}

/// The policies that are held against each other, in the order of the new side.
fn matched<'a>(
    base: &'a Baseline,
    new: &'a Baseline,
    options: &Options,
) -> Vec<(&'a BaselinePolicy, &'a BaselinePolicy)> {
    match &options.pair {
        Some((from, to)) => base.policy(from).zip(new.policy(to)).into_iter().collect(),
        None => new.policies.iter().filter_map(|to| Some((base.policy(&to.name)?, to))).collect(),
    }
}

/// What is looked at under a policy of the new side, in the order of [`METRICS`], and by which rule it is judged.
fn plan(options: &Options, new: &Baseline, policy: &str) -> Vec<(&'static Metric, Option<Rule>)> {
    let gated = gates(new, policy);
    let rules: Vec<Rule> = if !options.rules.is_empty() {
        options.rules.clone()
    } else if options.drift {
        Vec::new()
    } else {
        let bound: Vec<Rule> =
            gated.iter().filter(|m| m.better != Better::Neither).map(|m| Rule::of(m)).collect();
        let usual = || JUDGED.iter().filter_map(|name| Metric::find(name)).map(Rule::of).collect();
        if bound.is_empty() { usual() } else { bound }
    };
    let is_shown = |metric: &Metric| match &options.shown {
        Shown::Usual => USUAL.contains(&metric.name) || gated.iter().any(|gated| gated.name == metric.name),
        Shown::All => true,
        Shown::These(these) => these.iter().any(|wanted| wanted.name == metric.name),
    };
    let one = |metric: &'static Metric| {
        let rule = rules.iter().find(|rule| rule.metric == metric).cloned();
        (rule.is_some() || is_shown(metric)).then_some((metric, rule))
    };
    METRICS.iter().filter_map(one).collect()
}

/// The metrics of the gates that bind a policy.
fn gates(of: &Baseline, policy: &str) -> Vec<&'static Metric> {
    let list = of.resolved.get("gates").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let gate = |gate: &Value| {
        let text = gate.as_str().or_else(|| gate.get("gate")?.as_str())?;
        let names = gate.get("for").and_then(Value::as_array);
        let binds = names.is_none_or(|names| names.iter().any(|name| name == policy));
        binds.then(|| Gate::parse(text).ok()).flatten().map(|gate| gate.metric)
    };
    list.iter().filter_map(gate).collect()
}

/// How many runs either side has; of pairs, those that both have.
fn counts(base: &BaselinePolicy, new: &BaselinePolicy, paired: bool) -> (usize, usize) {
    if !paired {
        return (base.runs.len(), new.runs.len());
    }
    let common = common(base, new).count();
    (common, common)
}

/// Runs of the same number.
fn common<'a>(
    base: &'a BaselinePolicy,
    new: &'a BaselinePolicy,
) -> impl Iterator<Item = (&'a super::baseline::BaselineRun, &'a super::baseline::BaselineRun)> {
    base.runs.iter().filter_map(|run| {
        let other = new.runs.iter().find(|other| other.replication == run.replication)?;
        Some((run, other))
    })
}

fn sides<'a>(
    metric: &'static Metric,
    base: &BaselinePolicy,
    new: &BaselinePolicy,
    paired: bool,
    margins: Option<&'a [crate::experiment::Margin]>,
) -> Sides<'a> {
    let name = metric.name;
    let (base, new) = if paired {
        common(base, new).map(|(base, new)| (base.metric(name), new.metric(name))).unzip()
    } else {
        (
            base.runs.iter().map(|run| run.metric(name)).collect(),
            new.runs.iter().map(|run| run.metric(name)).collect(),
        )
    };
    Sides { metric, base, new, paired, margins }
}

impl PolicyComparison {
    /// How it is named: `hpa`, or `hpa -> keda`.
    pub fn name(&self) -> String {
        if self.base == self.new {
            return plain(&self.new);
        }
        format!("{} -> {}", plain(&self.base), plain(&self.new))
    }

    /// Whether a metric of it changed beyond chance.
    pub fn is_changed(&self) -> bool {
        self.lines.iter().any(|line| line.finding.standing != Standing::Unchanged)
    }

    /// What the two differ in, a sentence: the first few of them.
    pub fn reasons(&self, most: usize) -> String {
        let shown: Vec<String> = self.differences.iter().take(most).map(Difference::text).collect();
        let more = self.differences.len().saturating_sub(most);
        match self.differences.len() {
            0 if self.is_changed() => {
                "nothing differs between the two resolved scenarios: the program itself has changed"
                    .to_owned()
            }
            0 => "nothing differs between the two resolved scenarios".to_owned(),
            1 => format!("{}      (the only difference between the two resolved scenarios)", shown[0]),
            _ if more > 0 => format!("{} · and {more} more", shown.join(" · ")),
            _ => shown.join(" · "),
        }
    }
}

impl Line {
    /// What must be known of the figures: where they are infinite, absent, or cannot be tested.
    pub fn note(&self) -> String {
        let Finding { base_runs, new_runs, .. } = self.finding;
        let counted = |what: &str, base: usize, new: usize| {
            let shown = |count: usize, of: usize| {
                if count == of { "all".to_owned() } else { format!("{count} of {of}") }
            };
            (base + new > 0).then(|| {
                format!("{what} in {} -> {} runs", shown(base, base_runs.runs), shown(new, new_runs.runs))
            })
        };
        let notes = [
            counted("infinite", base_runs.infinite, new_runs.infinite),
            counted("absent", base_runs.absent, new_runs.absent),
            (self.finding.basis == Basis::Welch && base_runs.absent + new_runs.absent > 0)
                .then(|| "not paired".to_owned()),
        ];
        notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}
