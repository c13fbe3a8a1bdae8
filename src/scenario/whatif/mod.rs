//! What if: the single changes of a scenario that save time or money, each written as the assignments of `--set` that make it.
//!
//! A mitigation is a function in one of the files here, and a line in [`MITIGATIONS`]. It reads the scenario as it stands and
//! answers what to write over it, or why there is nothing to gain: what does not apply is named, never left out in silence.

mod bounds;
mod ground;
mod nodes;
mod signal;
mod spares;
mod start;
mod taken_away;
#[cfg(test)]
mod tests;
mod warmth;

use std::path::Path;

use super::known::Known;
use super::load::{Scenario, load};
use super::resolve::{Resolved, resolve, resolve_with};
use crate::experiment::Metric;
use crate::workload;
use crate::yaml::{Diagnostic, suggest};
pub use ground::Ground;

/// What a mitigation writes over a scenario, `path=value` each; or why it is not tried.
pub type Edit = Result<Vec<String>, String>;

/// A single change that might help.
#[derive(Clone, Copy)]
pub struct Mitigation {
    /// Its name for `--only` and `--skip`: lower case with dashes.
    pub name: &'static str,
    /// What is different with it, in a few words.
    pub words: &'static str,
    /// Whether it takes back what another one brings. Where there is nothing to take back, that goes without saying.
    pub is_reverse: bool,
    /// The change.
    edit: fn(&Ground<'_>) -> Edit,
}

impl Mitigation {
    /// What it writes over the scenario, or why there is nothing to try.
    ///
    /// # Errors
    /// The reason, in a few words.
    pub fn edit(&self, ground: &Ground<'_>) -> Edit {
        (self.edit)(ground).and_then(|sets| {
            if sets.is_empty() { Err("nothing in the scenario says it".to_owned()) } else { Ok(sets) }
        })
    }
}

impl std::fmt::Debug for Mitigation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mitigation").field("name", &self.name).finish_non_exhaustive()
    }
}

const fn line(name: &'static str, words: &'static str, edit: fn(&Ground<'_>) -> Edit) -> Mitigation {
    Mitigation { name, words, is_reverse: false, edit }
}

const fn back(name: &'static str, words: &'static str, edit: fn(&Ground<'_>) -> Edit) -> Mitigation {
    Mitigation { name, words, is_reverse: true, edit }
}

/// All that are tried, in the order in which they are named.
pub const MITIGATIONS: &[Mitigation] = &[
    line("weights-on-node", "weights cached on the node", start::weights_on_node),
    line("weights-prefetched", "weights fetched as a node comes up", start::weights_prefetched),
    line("weights-streamed", "weights streamed into the GPUs", start::weights_streamed),
    line("weights-from-peers", "weights from other nodes", start::weights_from_peers),
    line("weights-affinity", "pods go where the weights are", start::weights_affinity),
    line("image-on-node", "image already on the node", start::image_on_node),
    line("image-lazy", "image pulled while it runs, a tenth first", start::image_lazy),
    line("image-from-peers", "image from other nodes", start::image_from_peers),
    line("compile-cache", "compile cache filled before", start::compile_cache),
    line("warm-up-halved", "warm-up half as long", start::warm_up_halved),
    line("ready-before-warm-up", "no warm-up before ready", start::ready_before_warm_up),
    back("ready-after-warm-up", "ready only after the warm-up", start::ready_after_warm_up),
    line("probe-faster", "readiness probed every second", start::probe_faster),
    line("node-held", "one more node held ready", nodes::node_held),
    line("nodes-doubled", "twice as many nodes to be had", nodes::nodes_doubled),
    line("spare", "one more spare warm replica", spares::spare),
    line("spares-in-rotation", "spares serve, in rotation", spares::in_rotation),
    back("spares-aside", "spares aside, out of rotation", spares::aside),
    line("spares-asleep", "spares asleep in host memory", spares::asleep),
    back("spares-awake", "spares awake", spares::awake),
    line("minimum-raised", "minimum replicas +1", bounds::minimum_raised),
    line("minimum-lowered", "minimum replicas -1", bounds::minimum_lowered),
    line("maximum-raised", "maximum replicas +1", bounds::maximum_raised),
    line("maximum-doubled", "maximum replicas doubled", bounds::maximum_doubled),
    line("scrape-5s", "metrics scraped every 5 s", signal::scrape),
    line("loop-5s", "autoscaler looks every 5 s", signal::look),
    line("target-lower", "target 20 % lower", signal::target),
    line("up-at-once", "scaling up without limits", signal::up_at_once),
    line("down-later", "scaling down later", signal::down_later),
    line("keep-warm", "keep-warm requests", warmth::keep_warm),
    line("drain-longer", "5 min of grace for a drain", warmth::drain_longer),
    back("no-weights-on-node", "weights not kept on nodes", taken_away::weights_on_node),
    back("no-image-on-node", "image not on nodes beforehand", taken_away::image_on_node),
    back("no-compile-cache", "no compile cache", taken_away::compile_cache),
    back("no-weights-affinity", "pods go wherever there is room", taken_away::weights_affinity),
    back("no-node-held", "no node held ready", taken_away::node_held),
    back("no-warm-pool", "no warm pool", taken_away::warm_pool),
    back("no-forecast", "no forecast", taken_away::forecast),
    back("no-keep-warm", "no keep-warm requests", taken_away::keep_warm),
];

/// A scenario with one thing changed.
pub struct Variant {
    /// The change.
    pub mitigation: &'static Mitigation,
    /// What it wrote over the scenario.
    pub sets: Vec<String>,
    /// What came of it.
    pub resolved: Resolved,
}

/// A mitigation that there was no way to try.
#[derive(Clone, Debug)]
pub struct Untried {
    /// The change.
    pub mitigation: &'static Mitigation,
    /// Why not.
    pub why: String,
}

/// A policy of a scenario as it is, and with each thing changed in turn.
pub struct Trials {
    /// As it is.
    pub base: Resolved,
    /// With one thing changed each, in the order of [`MITIGATIONS`].
    pub variants: Vec<Variant>,
    /// What was not tried, in the same order.
    pub untried: Vec<Untried>,
}

/// Figures that take the capacity of a replica to split the bill. Without them nobody has to search it.
const OF_CAPACITY: [&str; 3] = ["utilisation", "cost.steady", "cost.buffer"];

/// The names of a scenario's policies; for whoever has to choose one.
///
/// # Errors
/// Every fault of the scenario.
pub fn policies(file: &Path, sets: &[String]) -> Result<Vec<String>, Vec<Diagnostic>> {
    Ok(load(file, sets)?.spec.policies.into_keys().collect())
}

/// Finds mitigations by their names; none names all.
///
/// # Errors
/// Every name that there is not.
pub fn named(only: &[String], skip: &[String]) -> Result<Vec<&'static Mitigation>, Vec<Diagnostic>> {
    let find = |name: &String| MITIGATIONS.iter().find(|mitigation| mitigation.name == *name);
    let unknown: Vec<Diagnostic> = only
        .iter()
        .chain(skip)
        .filter(|name| find(name).is_none())
        .map(|name| {
            let names = || MITIGATIONS.iter().map(|mitigation| mitigation.name);
            Diagnostic::error("E0203", format!("there is no change `{name}`")).helped(one_of(name, names()))
        })
        .collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let has = |names: &[String], mitigation: &Mitigation| names.iter().any(|name| name == mitigation.name);
    Ok(MITIGATIONS.iter().filter(|own| (only.is_empty() || has(only, own)) && !has(skip, own)).collect())
}

/// What was meant, or what there is.
fn one_of<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match suggest(typed, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of {}", names.join(", ")),
    }
}

/// The scenario with its other policies left out, and the gates that bind them alone.
fn alone(file: &Path, sets: &[String], policy: &str) -> Result<Scenario, Vec<Diagnostic>> {
    let mut scenario = load(file, sets)?;
    let spec = &mut scenario.spec;
    if !spec.policies.contains_key(policy) {
        let names = || spec.policies.keys().map(String::as_str);
        let fault = Diagnostic::error("E0203", format!("the scenario has no policy `{policy}`"));
        return Err(vec![fault.helped(one_of(policy, names()))]);
    }
    spec.policies.retain(|name, _| name == policy);
    spec.gates.retain(|gate| gate.policies.is_empty() || gate.policies.iter().any(|name| name == policy));
    spec.gates.iter_mut().for_each(|gate| gate.policies.clear());
    // The search for what knowing the future would bring is another command's.
    spec.foresight = None;
    scenario.gates.retain(|gate| gate.binds(policy));
    scenario.gates.iter_mut().for_each(|gate| gate.policies = None);
    Ok(scenario)
}

impl Trials {
    /// Reads a scenario, and once more for each mitigation with what that writes over it; `metrics` will be shown.
    ///
    /// # Errors
    /// Every fault of the scenario as it is. What is wrong with a changed one is why it is not tried.
    pub fn prepare(
        file: &Path,
        sets: &[String],
        policy: &str,
        mitigations: &[&'static Mitigation],
        metrics: &[&'static Metric],
    ) -> Result<Self, Vec<Diagnostic>> {
        let scenario = alone(file, sets, policy)?;
        let mut base = resolve(&scenario, false)?;
        let shown = metrics.iter().copied().chain(base.gates.iter().map(|gate| gate.metric));
        if shown.into_iter().any(|metric| OF_CAPACITY.contains(&metric.name)) {
            let failed = |failure| vec![Diagnostic::in_file("E0401", &file.display().to_string(), failure)];
            base.measure_capacity().map_err(failed)?;
        }
        let (profile, _) = scenario.read_profile()?;
        let traffic = workload::load(&scenario.spec.workload, &scenario.directory, scenario.spec.seed);
        let traffic =
            traffic.map_err(|faults| super::workload_diagnostics(Some(&scenario.document), &faults))?;
        let ground = Ground::new(&scenario, sets, &base, &profile, policy);
        let (mut variants, mut untried) = (Vec::new(), Vec::new());
        for mitigation in mitigations.iter().copied() {
            let known = Known { resolved: &base, workload: &traffic };
            let tried = mitigation.edit(&ground).and_then(|own| {
                let resolved = changed(file, sets, &own, policy, known)?;
                if resolved.spec == base.spec {
                    return Err("it changes nothing".to_owned());
                }
                Ok(Variant { mitigation, sets: own, resolved })
            });
            match tried {
                Ok(variant) => variants.push(variant),
                Err(why) => untried.push(Untried { mitigation, why }),
            }
        }
        Ok(Self { base, variants, untried })
    }
}

/// The scenario with a change; where it then makes no sense, the first thing that is wrong with it.
fn changed(
    file: &Path,
    sets: &[String],
    own: &[String],
    policy: &str,
    known: Known<'_>,
) -> Result<Resolved, String> {
    // What was set within a policy stands in the policy that is written anew.
    let whole = format!("policies.{policy}=");
    let within = format!("policies.{policy}.");
    let is_rewritten = own.iter().any(|set| set.starts_with(&whole));
    let kept = sets.iter().filter(|set| !is_rewritten || !set.starts_with(&within));
    let all: Vec<String> = kept.chain(own).cloned().collect();
    let refused = |faults: Vec<Diagnostic>| {
        faults.first().map_or_else(String::new, |fault| format!("{} ({})", fault.message, fault.code))
    };
    let scenario = alone(file, &all, policy).map_err(refused)?;
    resolve_with(&scenario, false, Some(known)).map_err(refused)
}
