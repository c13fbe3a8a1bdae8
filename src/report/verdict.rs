//! The last line: which policy to choose.

use crate::experiment::GateStatus;
use crate::experiment::metric::Unit;

use super::format;
use super::summary::{GateRow, PolicySummary};

/// What the gates came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// There are no gates.
    NoGates,
    /// No policy holds all of them.
    NoneHolds {
        /// Index of the policy that misses fewest; of several, the cheapest.
        nearest: Option<usize>,
    },
    /// The cheapest policy that holds every gate that binds it.
    Choose {
        /// Its index.
        policy: usize,
        /// The cheapest policy that misses a gate, bound by it or not.
        against: Option<usize>,
    },
}

/// Decides among the policies.
///
/// A policy that no gate binds is there for comparison: it is chosen only if it would hold every
/// gate, and it is what the choice is compared with if it would not.
pub fn decide(gates: &[GateRow], policies: &[PolicySummary], lenient: bool) -> Verdict {
    if gates.is_empty() {
        return Verdict::NoGates;
    }
    let held = |row: &GateRow, index: usize| row.cells[index].status.is_held(lenient);
    let is_bound = |index: usize| gates.iter().any(|row| row.cells[index].bound);
    let holds_bound = |index: usize| gates.iter().all(|row| !row.cells[index].bound || held(row, index));
    let misses = |index: usize| gates.iter().filter(|row| !held(row, index)).count();
    let bound_misses =
        |index: usize| gates.iter().filter(|row| row.cells[index].bound && !held(row, index)).count();
    let cost = |index: &usize| policies[*index].money.total_usd;
    let cheaper = |a: &usize, b: &usize| cost(a).total_cmp(&cost(b));
    let all = 0..policies.len();
    // Nothing is cheaper than to answer nobody, and gates on cost alone do not mind.
    let answers = |i: usize| policies[i].metric("requests.finished").is_none_or(|share| share.mean > 0.0);
    let candidate = |i: &usize| answers(*i) && if is_bound(*i) { holds_bound(*i) } else { misses(*i) == 0 };
    let against = |chosen: usize| all.clone().filter(|i| *i != chosen && misses(*i) > 0).min_by(cheaper);
    match all.clone().filter(candidate).min_by(cheaper) {
        Some(policy) => Verdict::Choose { policy, against: against(policy) },
        None => Verdict::NoneHolds {
            nearest: all
                .clone()
                .filter(|i| is_bound(*i))
                .min_by(|a, b| bound_misses(*a).cmp(&bound_misses(*b)).then_with(|| cheaper(a, b))),
        },
    }
}

/// The sentence, without the word `verdict`.
pub fn sentence(verdict: &Verdict, gates: &[GateRow], policies: &[PolicySummary], lenient: bool) -> String {
    let priced = |index: usize| {
        format!("{}, {}", policies[index].name, format::cents(policies[index].money.total_cents))
    };
    match *verdict {
        Verdict::NoGates => "no gates: this run cannot fail".to_owned(),
        Verdict::NoneHolds { nearest: None } => "no policy holds every gate".to_owned(),
        Verdict::NoneHolds { nearest: Some(index) } => {
            let bound: Vec<&GateRow> = gates.iter().filter(|row| row.cells[index].bound).collect();
            let missed = bound.iter().filter(|row| !row.cells[index].status.is_held(lenient)).count();
            if missed == 0 {
                return format!("no policy holds every gate and answers anybody; nearest: {}", priced(index));
            }
            let what = shortfall(index, bound.into_iter(), lenient);
            let of = if missed == 1 { "1 gate".to_owned() } else { format!("{missed} gates") };
            format!("no policy holds every gate; nearest: {}, misses {of}: {what}", priced(index))
        }
        Verdict::Choose { policy, against } => {
            let chosen = format!("cheapest policy that holds every gate: {}", priced(policy));
            let Some(other) = against else { return chosen };
            let difference = compared(policies[policy].money.total_usd, policies[other].money.total_usd);
            let what = shortfall(other, gates.iter(), lenient);
            format!("{chosen} ({difference} {}, which {what})", policies[other].name)
        }
    }
}

/// The first thing to say of a policy that misses a gate: its breaches, or else the first gate it misses.
fn shortfall<'a>(index: usize, gates: impl Iterator<Item = &'a GateRow>, lenient: bool) -> String {
    let missed: Vec<&GateRow> = gates.filter(|row| !row.cells[index].status.is_held(lenient)).collect();
    let breach = missed.iter().find(|row| row.gate.metric.name == "slo.breach");
    let Some(row) = breach.or(missed.first()) else { return "holds all".to_owned() };
    let cell = &row.cells[index];
    let mean = cell.estimate.map(|e| e.mean);
    match (cell.status, row.gate.metric.name) {
        (GateStatus::Absent, name) => format!("has no {name}"),
        (GateStatus::Straddles, _) => format!("does not settle `{}`", row.gate),
        (_, "slo.breach") => format!("breaches {}", format::maybe(Unit::Share, mean)),
        (_, name) => format!("has {name} {}", format::maybe(row.gate.metric.unit, mean)),
    }
}

/// `+23% over`, `12% below` or `as much as`.
fn compared(mine: f64, theirs: f64) -> String {
    if theirs <= 0.0 {
        return if mine > 0.0 { "more than".to_owned() } else { "as much as".to_owned() };
    }
    let percent = (mine / theirs - 1.0) * 100.0;
    let digits = usize::from(percent.abs() < 9.95);
    match percent {
        p if p.abs() < 0.05 => "as much as".to_owned(),
        p if p > 0.0 => format!("+{p:.digits$}% over"),
        p => format!("{:.digits$}% below", -p),
    }
}

#[cfg(test)]
mod tests {
    use crate::experiment::{ExperimentOutcome, PolicyOutcome};
    use crate::report::{Summary, fixture};

    /// Policies as (name, cost in cents of an hour, breach share in thousandths).
    fn experiment(policies: &[(&str, u64, u64)]) -> ExperimentOutcome {
        let policy = |(name, cents, breaches): &(&str, u64, u64)| {
            let mut run = fixture::good_run(1);
            run.ledger.gpu_ns = Default::default();
            run.ledger.gpu_ns[0] = u128::from(*cents) * 36_000_000_000;
            run.ledger.billed_gpu_ns = run.ledger.total();
            fixture::price(&mut run.ledger, 1_000_000);
            run.breaches.as_mut().unwrap().total = *breaches;
            PolicyOutcome { name: (*name).to_owned(), runs: vec![run] }
        };
        ExperimentOutcome {
            foresight: None,
            gates: fixture::gates(&["slo.breach < 1%", "cost.total < $60"]),
            policies: policies.iter().map(policy).collect(),
            ..fixture::experiment()
        }
    }

    fn check(experiment: ExperimentOutcome, expected: &str) {
        let summary = Summary::new(experiment);
        assert_eq!(summary.verdict_text, expected);
    }

    #[test]
    fn verdicts() {
        let choose = "cheapest policy that holds every gate: ";
        // The cheapest that holds, and what the cheapest that fails lacks.
        check(
            experiment(&[("hpa", 4608, 34), ("keda", 4932, 12), ("warm", 5688, 0), ("fixed", 5900, 0)]),
            &format!("{choose}warm, $56.88 (+23% over hpa, which breaches 3.4%)"),
        );
        check(
            experiment(&[("hpa", 5800, 34), ("warm", 5000, 0)]),
            &format!("{choose}warm, $50.00 (14% below hpa, which breaches 3.4%)"),
        );
        check(
            experiment(&[("hpa", 5000, 34), ("warm", 5000, 0)]),
            &format!("{choose}warm, $50.00 (as much as hpa, which breaches 3.4%)"),
        );
        check(experiment(&[("a", 5000, 0), ("b", 4000, 0)]), &format!("{choose}b, $40.00"));
        // Equal in everything: the first of the scenario.
        check(experiment(&[("a", 4000, 0), ("b", 4000, 0)]), &format!("{choose}a, $40.00"));
        check(
            experiment(&[("a", 4000, 0), ("b", 7000, 0)]),
            &format!("{choose}a, $40.00 (43% below b, which has cost.total $70.00)"),
        );
        check(
            experiment(&[("a", 8000, 30), ("b", 7000, 0)]),
            "no policy holds every gate; nearest: b, $70.00, misses 1 gate: has cost.total $70.00",
        );
        check(
            experiment(&[("a", 8000, 30)]),
            "no policy holds every gate; nearest: a, $80.00, misses 2 gates: breaches 3.0%",
        );
        check(experiment(&[]), "no policy holds every gate");
    }

    #[test]
    fn who_answers_nobody_is_not_the_cheapest() {
        let silent = |policies: &[(&str, u64, u64)]| {
            let mut experiment = experiment(policies);
            experiment.gates = fixture::gates(&["cost.total < $60"]);
            experiment.policies[0].runs[0].counts.finished = 0;
            experiment
        };
        check(
            silent(&[("zero", 0, 0), ("warm", 4500, 0)]),
            "cheapest policy that holds every gate: warm, $45.00",
        );
        check(
            silent(&[("zero", 0, 0)]),
            "no policy holds every gate and answers anybody; nearest: zero, $0.00",
        );
    }

    #[test]
    fn without_gates_nothing_can_fail() {
        let ungated = ExperimentOutcome { gates: Vec::new(), ..experiment(&[("a", 1, 900)]) };
        check(ungated, "no gates: this run cannot fail");
    }

    #[test]
    fn a_gate_binds_those_it_names() {
        let named = |policies: &[(&str, u64, u64)]| {
            let mut experiment = experiment(policies);
            for gate in &mut experiment.gates {
                gate.policies = Some(vec!["warm".to_owned()]);
            }
            experiment
        };
        // The baseline may fail, is what the choice is compared with, and is never the choice.
        let bad = named(&[("fixed", 3000, 200), ("warm", 4500, 0)]);
        let summary = Summary::new(bad.clone());
        assert_eq!((summary.gates_failed(), summary.gates_total()), (0, 2));
        check(
            bad,
            "cheapest policy that holds every gate: warm, $45.00 (+50% over fixed, which breaches 20%)",
        );
        // One that nothing binds and that would hold everything may be chosen.
        check(
            named(&[("hpa", 3000, 0), ("warm", 4500, 0)]),
            "cheapest policy that holds every gate: hpa, $30.00",
        );
        let fails = named(&[("fixed", 3000, 200), ("warm", 4500, 50)]);
        assert_eq!(Summary::new(fails.clone()).gates_failed(), 1);
        check(fails, "no policy holds every gate; nearest: warm, $45.00, misses 1 gate: breaches 5.0%");
    }

    #[test]
    fn an_unsettled_gate_fails_unless_lenient() {
        let unsettled = |lenient: bool| {
            let mut experiment = experiment(&[("hpa", 4000, 8)]);
            let mut second = experiment.policies[0].runs[0].clone();
            second.breaches.as_mut().unwrap().total = 11;
            experiment.policies[0].runs.push(second);
            ExperimentOutcome { lenient, ..experiment }
        };
        check(
            unsettled(false),
            "no policy holds every gate; nearest: hpa, $40.00, misses 1 gate: does not settle `slo.breach < 1%`",
        );
        check(unsettled(true), "cheapest policy that holds every gate: hpa, $40.00");
    }
}
