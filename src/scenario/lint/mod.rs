//! Lints: what of a scenario is valid, accepted by every controller, and still not what its author means.
//!
//! A rule is one function and one line in [`RULES`]; its code is explained in `yaml/codes/lints.rs`. A rule warns
//! only of what the controllers' own rules or the scenario's figures make certain or likely: no warning may be
//! something that a careful author has to live with.

mod case;
mod cron;
mod fallback;
mod figures;
mod finding;
mod gates;
mod hpa;
mod keda;
mod knative;
mod load;
mod nodes;
mod replica;
mod schedule;
mod signal;
mod sleep;
#[cfg(test)]
mod tests;
mod warmth;

use std::collections::BTreeSet;

pub(super) use case::World;
use case::{Case, Scaler, Signal};
use finding::Finding;

use crate::yaml::{Diagnostic, Document, Path, Severity, Step};

/// What a rule is asked about.
enum Check {
    /// The scenario as a whole.
    Whole(fn(&Case<'_>) -> Vec<Finding>),
    /// Each autoscaler.
    Scaler(fn(&Case<'_>, &Scaler<'_>) -> Vec<Finding>),
    /// Each query that an autoscaler scales on.
    Signal(fn(&Case<'_>, &Scaler<'_>, &Signal) -> Vec<Finding>),
}

use Check::{Scaler as OfScaler, Signal as OfSignal, Whole};

/// Every rule with its code.
const RULES: &[(&str, Check)] = &[
    ("W0301", OfSignal(keda::value_per_pod)),
    ("W0302", OfSignal(keda::scalar)),
    ("W0303", OfScaler(sleep::settings_of_sleep)),
    ("W0304", OfScaler(sleep::cooldown)),
    ("W0305", OfScaler(sleep::polling_interval)),
    ("W0306", OfScaler(keda::cached)),
    ("W0307", OfScaler(cron::hole)),
    ("W0308", OfScaler(cron::without_effect)),
    ("W0309", OfScaler(fallback::off)),
    ("W0310", OfScaler(fallback::out_of_bounds)),
    ("W0311", OfScaler(fallback::takes_away)),
    ("W0312", OfScaler(fallback::never_sees_nothing)),
    ("W0313", OfScaler(sleep::resources_alone)),
    ("W0314", OfScaler(sleep::activation)),
    ("W0315", OfScaler(sleep::idle)),
    ("W0316", OfScaler(keda::paused)),
    ("W0317", OfScaler(keda::misspelt)),
    ("W0320", OfScaler(sleep::nothing_wakes)),
    ("W0321", OfSignal(signal::mean_per_replica)),
    ("W0322", OfSignal(signal::total_as_a_whole)),
    ("W0323", OfSignal(signal::raw_counter)),
    ("W0324", OfSignal(signal::out_of_reach)),
    ("W0325", OfSignal(signal::gpu_utilisation)),
    ("W0326", OfScaler(signal::resources)),
    ("W0327", OfSignal(signal::empty_queue)),
    ("W0328", OfSignal(signal::renamed)),
    ("W0329", OfSignal(signal::short_range)),
    ("W0330", Whole(signal::stale)),
    ("W0331", Whole(signal::lookback)),
    ("W0332", OfScaler(load::target)),
    ("W0340", OfScaler(hpa::short_window)),
    ("W0341", OfScaler(hpa::slow_rise)),
    ("W0342", OfScaler(hpa::dropped_tolerance)),
    ("W0351", OfScaler(knative::short_sleep)),
    ("W0352", OfScaler(knative::panic)),
    ("W0353", OfScaler(knative::no_burst_capacity)),
    ("W0354", OfScaler(knative::progress_deadline)),
    ("W0360", OfScaler(replica::room)),
    ("W0361", OfScaler(replica::initial)),
    ("W0362", OfScaler(replica::held_requests)),
    ("W0363", Whole(replica::ready_before_warm)),
    ("W0364", Whole(replica::grace)),
    ("W0365", Whole(replica::late_probe)),
    ("W0366", Whole(replica::short_pre_stop)),
    ("W0367", Whole(replica::killed_starts)),
    ("W0368", Whole(warmth::too_late_to_keep_warm)),
    ("W0369", OfSignal(warmth::kept_awake)),
    ("W0370", Whole(nodes::moved_replicas)),
    ("W0371", Whole(replica::ready_before_up)),
    ("W0380", Whole(schedule::short_lead)),
    ("W0381", Whole(schedule::room)),
    ("W0390", Whole(gates::settled)),
];

/// What every rule finds, with the rule's code, in the order of the rules.
fn findings(case: &Case<'_>) -> Vec<(&'static str, Finding)> {
    let mut found = Vec::new();
    for (code, check) in RULES {
        let of_one = match check {
            Whole(rule) => rule(case),
            OfScaler(rule) => case.scalers.iter().flat_map(|scaler| rule(case, scaler)).collect(),
            OfSignal(rule) => {
                let signals =
                    case.scalers.iter().flat_map(|scaler| scaler.signals.iter().map(move |s| (scaler, s)));
                signals.flat_map(|(scaler, signal)| rule(case, scaler, signal)).collect()
            }
        };
        found.extend(of_one.into_iter().map(|finding| (*code, finding)));
    }
    found
}

/// Warnings about a scenario that nothing is wrong with. What two policies share, as aliases do, is said once.
pub(super) fn lint(world: &World<'_>) -> Vec<Diagnostic> {
    let document = &world.scenario.document;
    let mut said = BTreeSet::new();
    let mut warnings: Vec<Diagnostic> = Vec::new();
    for (code, finding) in findings(&Case::new(world)) {
        let path = finding.path.to_string();
        let warning = placed(document, code, finding);
        // Aliases give several paths one place; a whole file is the place of many.
        let is_line = warning.place.as_ref().is_some_and(|place| place.line > 0);
        if said.insert((code, warning.place.clone(), Some(path).filter(|_| !is_line))) {
            warnings.push(warning);
        }
    }
    warnings
}

fn placed(document: &Document, code: &'static str, finding: Finding) -> Diagnostic {
    let Finding { path, within, message, why, mend } = finding;
    let written =
        matches!(path.steps().first(), Some(Step::Key(key)) if document.contains(&Path::root().key(key)));
    let fault = match within {
        Some(range) => document.fault_within(code, &path, range, message),
        None if written => document.fault(code, &path, message),
        // A default of a section that is not there: no line of the text is at fault.
        None => Diagnostic::in_file(code, document.name(), message),
    };
    Diagnostic { severity: Severity::Warning, help: vec![why, mend], ..fault }
}
