//! The rows that text reports share: gates by policy and results by policy, as words.

use super::Summary;
use super::format;
use super::summary::{GateCell, PolicySummary, Share};
use crate::experiment::metric::Unit;
use crate::experiment::{GateStatus, slo_limits};
use crate::outcome::{Cause, Phase};

/// A row of a table with one cell a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it shows.
    pub label: String,
    /// By policy.
    pub cells: Vec<Cell>,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The mark in front, if the row has marks.
    pub mark: Option<Mark>,
    /// The words.
    pub text: String,
}

/// A mark of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It holds.
    Good,
    /// It does not.
    Bad,
    /// It is not settled.
    Unsettled,
    /// It does not bind the policy.
    Unbound,
}

impl Mark {
    const fn of(cell: &GateCell) -> Self {
        match cell.status {
            _ if !cell.bound => Self::Unbound,
            GateStatus::Pass => Self::Good,
            GateStatus::Fail | GateStatus::Absent => Self::Bad,
            GateStatus::Straddles => Self::Unsettled,
        }
    }

    /// The sign.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Good => GateStatus::Pass.mark(),
            Self::Bad => GateStatus::Fail.mark(),
            Self::Unsettled => GateStatus::Straddles.mark(),
            Self::Unbound => "·",
        }
    }
}

/// Gates by policy.
pub fn gates(summary: &Summary) -> Vec<Row> {
    let longest = summary.gates.iter().map(|row| row.gate.metric.name.len()).max().unwrap_or(0);
    let row = |row: &super::summary::GateRow| {
        let gate = &row.gate;
        let cell = |cell: &GateCell| Cell {
            mark: Some(Mark::of(cell)),
            text: format::gate_value(gate, cell.estimate.as_ref()),
        };
        Row {
            label: format!("{:longest$}  {} {}", gate.metric.name, gate.comparison.sign(), gate.limit_text),
            cells: row.cells.iter().map(cell).collect(),
        }
    };
    summary.gates.iter().map(row).collect()
}

/// Results by policy: what there is to say of this experiment, and nothing empty.
pub fn results(summary: &Summary) -> Vec<Row> {
    let policies = &summary.policies;
    let row = |label: &str, text: &dyn Fn(&PolicySummary) -> String| Row {
        label: label.to_owned(),
        cells: policies.iter().map(|policy| Cell { mark: None, text: text(policy) }).collect(),
    };
    let show = |policy: &PolicySummary, unit: Unit, name: &str| format::maybe(unit, policy.mean(name));
    let seconds = |policy: &PolicySummary, name: &str| show(policy, Unit::Seconds, name);
    let mut rows =
        vec![row("ttft  p50 / p99", &|p| format!("{} / {}", seconds(p, "ttft.p50"), seconds(p, "ttft.p99")))];
    if policies.iter().any(|p| p.mean("tpot.p99").is_some()) {
        rows.push(row("tpot  p99", &|p| seconds(p, "tpot.p99")));
    }
    // The other latencies appear where something depends on them.
    let limits = slo_limits(&summary.experiment.header.slo);
    for (name, label) in
        [("itl", "itl   p50 / p99"), ("e2e", "e2e   p50 / p99"), ("queueWait", "queue wait  p50 / p99")]
    {
        let gated = summary.gates.iter().any(|g| g.gate.metric.name.split('.').next() == Some(name));
        if gated || limits.iter().any(|(limit, _)| *limit == name) {
            let text = |p: &PolicySummary| {
                format!("{} / {}", seconds(p, &format!("{name}.p50")), seconds(p, &format!("{name}.p99")))
            };
            rows.push(row(label, &text));
        }
    }
    if summary.has_slo() {
        let text = |p: &PolicySummary| {
            format!("{}, {}", show(p, Unit::Share, "slo.breach"), seconds(p, "slo.breachTime"))
        };
        rows.push(row("breaching, time in breach", &text));
    }
    let lost = ["requests.rejected", "requests.timedOut", "requests.killed"];
    if policies.iter().any(|p| lost.iter().any(|name| p.mean(name).is_some_and(|share| share > 0.0))) {
        let text = |p: &PolicySummary| lost.map(|name| show(p, Unit::Share, name)).join(" / ");
        rows.push(row("rejected / timed out / killed", &text));
    }
    rows.push(row("cold starts (median)", &|p| {
        let count = show(p, Unit::Count, "coldStarts");
        p.cold_start.as_ref().map_or(count.clone(), |cold| {
            format!("{count} ({})", format::value(Unit::Seconds, cold.median_secs))
        })
    }));
    rows.push(row("replicas  mean / max", &|p| {
        format!("{} / {}", show(p, Unit::Count, "replicas.mean"), show(p, Unit::Count, "replicas.max"))
    }));
    rows.push(row("GPU-hours, utilisation", &|p| {
        format!("{}, {}", show(p, Unit::GpuHours, "gpuHours"), show(p, Unit::Share, "utilisation"))
    }));
    rows.push(row("cost", &|p| format::cents(p.money.total_cents)));
    if summary.experiment.foresight.is_some() {
        rows.push(row("above perfect foresight", &super::foresight::above));
    }
    rows.push(row("cost per request / M tokens", &|p| {
        format!("{} / {}", show(p, Unit::Usd, "cost.perRequest"), show(p, Unit::Usd, "cost.perMillionTokens"))
    }));
    rows
}

/// A line about one policy: a label and its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is about.
    pub label: String,
    /// What it says, to be joined by dots.
    pub parts: Vec<String>,
}

const fn stage(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "schedule",
        Phase::Provisioning => "node",
        Phase::Pulling => "pull",
        Phase::Starting => "start",
        Phase::Loading => "load",
        Phase::WarmingUp => "warm up",
        Phase::Probing => "probe",
        Phase::Serving | Phase::Held | Phase::Draining => phase.label(),
    }
}

/// Where the time of cold starts went, and how often containers started again, for each policy that had any.
pub fn cold_starts(summary: &Summary) -> Vec<Line> {
    let line = |policy: &PolicySummary| {
        let restarts = policy.mean("restarts").filter(|restarts| *restarts > 0.0);
        let restarts = restarts.map(|restarts| format!("{restarts:.0} restarts of containers"));
        let Some(cold) = &policy.cold_start else {
            let is_ordered = policy.mean("coldStarts").is_some_and(|starts| starts > 0.0);
            let none = if is_ordered { "none became ready" } else { "none" };
            let parts = vec![none.to_owned(), restarts?];
            return Some(Line { label: format!("COLD START, {}", policy.name), parts });
        };
        let part = |(phase, secs): &(Phase, f64)| {
            let decimals = usize::from(*secs > 0.0 && *secs < 99.95);
            format!("{} {secs:.decimals$}s", stage(*phase))
        };
        let waiting = policy.mean("coldStarts.waiting").filter(|secs| *secs > 0.0);
        let waiting = waiting.map(|secs| format!("{} of it waiting", format::value(Unit::Seconds, secs)));
        let parts = cold.phases.iter().map(part).chain(waiting).chain(restarts).collect();
        Some(Line { label: format!("COLD START, {}, median", policy.name), parts })
    };
    summary.policies.iter().filter_map(line).collect()
}

/// Why requests breached, and of how much of the time in breach, for each policy under which any did.
pub fn breaches(summary: &Summary) -> Vec<Line> {
    let mut lines = Vec::new();
    for policy in &summary.policies {
        let Some(breaches) = policy.breaches.as_ref().filter(|b| b.total > 0) else { continue };
        let share = |s: &Share<Cause>| format!("{} {}", s.of.label(), format::tenths(s.share_tenths));
        let parts = breaches.causes.iter().map(share).collect();
        lines.push(Line { label: format!("BREACHES, {}, by cause", policy.name), parts });
        let runs = policy.of_runs.len() as f64;
        let timed = |s: &Share<Cause>| {
            let secs = s.count as f64 / 1e9 / runs;
            format!("{} ({})", share(s), format::value(Unit::Seconds, secs))
        };
        let parts: Vec<String> = breaches.times.iter().map(timed).collect();
        if !parts.is_empty() {
            lines.push(Line { label: "  of the time in breach".to_owned(), parts });
        }
    }
    lines
}

/// What each policy cost: by term, by month, and by the equation as people write it.
pub fn costs(summary: &Summary) -> Vec<Line> {
    let mut lines = Vec::new();
    for policy in &summary.policies {
        let money = &policy.money;
        let mut parts: Vec<String> =
            money.terms.iter().map(|t| format!("{} {}", t.label, format::tenths(t.share_tenths))).collect();
        if let Some(last) = parts.last_mut() {
            *last = format!("{last}  = {}", format::cents(money.total_cents));
        }
        lines.push(Line { label: format!("COST, {}", policy.name), parts });
        if let Some(usd) = policy.mean("cost.heldNodes").filter(|usd| *usd > 0.0) {
            let parts = vec!["of unallocated".to_owned(), format::value(Unit::Usd, usd)];
            lines.push(Line { label: "  of it held nodes".to_owned(), parts });
        }
        if let Some(usd) = policy.mean("cost.keepWarm").filter(|usd| *usd > 0.0) {
            let share = format::maybe(Unit::Share, policy.mean("keepWarm.share"));
            let parts = vec![format!("{share} of busy GPU time"), format::value(Unit::Usd, usd)];
            lines.push(Line { label: "  of it keep-warm requests".to_owned(), parts });
        }
        if let Some(monthly) = money.monthly_cents {
            let term =
                |t: &super::money::Part| format!("{} {}", t.label, month_part(t.monthly_cents, monthly));
            let mut parts: Vec<String> = money.terms.iter().map(term).collect();
            if let Some(first) = parts.first_mut() {
                *first = format!("{} a month: {first}", format::month(monthly));
            }
            lines.push(Line { label: "  if this period repeated".to_owned(), parts });
        }
        if let Some(equation) = &money.equation {
            lines.push(Line { label: "  roughly, by the equation".to_owned(), parts: written_out(equation) });
        }
    }
    lines
}

/// A term of a monthly sum, with cents only where the sum shows them.
fn month_part(part_cents: u64, sum_cents: u64) -> String {
    if sum_cents < 1_000_000 {
        format::cents(part_cents)
    } else {
        format!("${}", format::whole((part_cents + 50) / 100))
    }
}

/// The equation term by term, each with what it comes to.
fn written_out(equation: &super::money::Equation) -> Vec<String> {
    let usd = |amount: f64| month_part((amount * 100.0).round() as u64, 1_000_000);
    let price = format::value(Unit::Usd, equation.price_usd_per_hour);
    let replicas = format!(
        "{} a month: {:.2} replicas {} × {price} × 730 h = {}",
        usd(equation.total_usd()),
        equation.replicas,
        if equation.buffer_replicas.is_some() { "needed" } else { "ready" },
        usd(equation.replicas_usd())
    );
    let starts = (equation.starts_per_month > 0.0).then(|| {
        let starts = format::whole(equation.starts_per_month.round() as u64);
        let load = format::value(Unit::Seconds, equation.load_secs);
        format!("{starts} starts × {load} × {price}/h = {}", usd(equation.starts_usd()))
    });
    let buffer = equation
        .buffer_replicas
        .map(|buffer| format!("buffer {buffer:.2} × {price} × 730 h = {}", usd(equation.buffer_usd())));
    [Some(replicas), starts, buffer].into_iter().flatten().collect()
}
