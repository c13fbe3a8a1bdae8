//! Rules about gates.

use super::case::Case;
use super::finding::Finding;
use crate::experiment::metric::Unit;
use crate::experiment::{Comparison, Gate};
use crate::yaml::Path;

/// W0390: a gate that can never hold, or never fail.
pub(super) fn settled(case: &Case<'_>) -> Vec<Finding> {
    let gates = case.spec.gates.iter().enumerate();
    let found = gates.filter_map(|(index, written)| {
        let gate = Gate::parse(&written.gate).ok()?;
        let (holds, why) = outcome(&gate)?;
        let always = if holds { "always holds" } else { "never holds" };
        let is_percent =
            gate.metric.unit == Unit::Share && gate.limit >= 1.0 && !gate.limit_text.contains('%');
        let mend = if is_percent {
            let (name, sign) = (gate.metric.name, gate.comparison.sign());
            format!("write `{name} {sign} {}%` if percent are meant", gate.limit_text)
        } else {
            "write a limit that some runs keep and others miss".to_owned()
        };
        let at = Path::keys(["gates"]).index(index);
        let at = if written.policies.is_empty() { at } else { at.key("gate") };
        Some(Finding::new(at, format!("`{gate}` {always}"), why, mend))
    });
    found.collect()
}

/// Whether a gate holds whatever is run, and why; `None` of one that something depends on.
fn outcome(gate: &Gate) -> Option<(bool, &'static str)> {
    let below = "nothing that is measured here is less than 0";
    let whole = "a share of 1 is the whole, 100 %";
    let (is_zero, is_whole) = (gate.limit <= 0.0, gate.metric.unit == Unit::Share && gate.limit >= 1.0);
    match gate.comparison {
        Comparison::Below if is_zero => Some((false, below)),
        Comparison::AtLeast if is_zero => Some((true, below)),
        Comparison::Below | Comparison::AtMost if is_whole => Some((true, whole)),
        Comparison::Above if is_whole => Some((false, whole)),
        _ => None,
    }
}
