//! `thawline explain-request`: one request's chain of events.
//!
//! `outcome.json` keeps the chains of the first breaching requests. Any other one is found by
//! simulating its run again: a run is a function of the scenario, and its digest of facts tells
//! whether the scenario is still the one that was run.

use std::path::{Path, PathBuf};

use super::args::ExplainRequestArgs;
use super::outcome::{self, none};
use super::simulate::RESOLVED;
use super::{Answer, Exit, console};
use crate::report::document::{DecisionDoc, PolicyDoc, RunDoc};
use crate::report::request::{Chain, explain};
use crate::report::{Document, format};
use crate::scenario::{self, Scenario};
use crate::sim;
use crate::yaml::Diagnostic;

pub(super) fn run(args: &ExplainRequestArgs) -> Answer {
    let document = outcome::read(&args.outcome)?;
    let slo: Vec<String> = document.slo.iter().map(|(name, limit)| format!("{name} {limit}")).collect();
    let (policy, run) = wanted(&document, args)?;
    let kept: Vec<String> = document
        .requests(args.request)
        .filter(|found| found.run.replication == run.replication)
        .filter(|found| args.policy.is_none() || found.policy.name == policy.name)
        .map(|found| explain(&found.into(), &slo.join(", ")))
        .collect();
    if kept.is_empty() {
        console::print(&again(&document, policy, run, args, &slo.join(", "))?);
    } else {
        console::print(&kept.join("\n"));
    }
    Ok(Exit::Success)
}

/// The policy and run that the arguments name, and in which there is such a request.
fn wanted<'a>(
    document: &'a Document,
    args: &ExplainRequestArgs,
) -> Result<(&'a PolicyDoc, &'a RunDoc), Vec<Diagnostic>> {
    let policy = match &args.policy {
        Some(name) => outcome::policy(document, name)?,
        None => document.policies.first().ok_or_else(|| none("the outcome has no policy".to_owned()))?,
    };
    let run = outcome::run(policy, args.replication)?;
    let arrived = run.counts.arrived;
    if args.request >= arrived {
        let (given, count) = (args.request, format::whole(arrived));
        let last = arrived.saturating_sub(1);
        return Err(none(format!(
            "the run has no request {given}: it has {count}, numbered from 0 to {last} in order of arrival"
        )));
    }
    Ok((policy, run))
}

/// Simulates the run again with an eye on the request.
fn again(
    document: &Document,
    policy: &PolicyDoc,
    run: &RunDoc,
    args: &ExplainRequestArgs,
    slo: &str,
) -> Result<String, Vec<Diagnostic>> {
    let (file, scenario) = scenario_of(document, args)?;
    let mut resolved = scenario::resolve(&scenario, false)?;
    let failed = |error: String| vec![Diagnostic::in_file("E0401", &file.display().to_string(), error)];
    // Capacity splits the bill, and the bill is among the facts.
    resolved.measure_capacity().map_err(failed)?;
    let Some(spec) = resolved.policies.get(&policy.name) else {
        return Err(changed(&file, &format!("it has no policy `{}` any more", policy.name)));
    };
    let replication = u32::try_from(run.replication).unwrap_or(u32::MAX);
    let (played, record) = sim::run(
        &resolved.simulation,
        spec.build(&resolved.simulation.setting),
        replication,
        Some(args.request),
    )
    .map_err(failed)?;
    if played.facts_digest != run.facts_digest {
        return Err(changed(&file, "simulated again, it gives another digest of facts"));
    }
    let request = record.ok_or_else(|| none(format!("the run has no request {}", args.request)))?;
    let decisions: Vec<DecisionDoc> = played.decisions.iter().map(DecisionDoc::from).collect();
    let chain = Chain {
        policy: &policy.name,
        replication: run.replication,
        starts: &played.starts,
        decisions: &decisions,
        request: &request,
    };
    Ok(explain(&chain, slo))
}

fn changed(file: &Path, how: &str) -> Vec<Diagnostic> {
    let message = format!("this scenario is not the one that the outcome is of: {how}");
    let fault = Diagnostic::in_file("E0405", &file.display().to_string(), message);
    vec![fault.helped(
        "give what was run with `--scenario FILE` and `--set PATH=VALUE`, or run `thawline simulate` again",
    )]
}

/// The scenario that was run, with the outcome's seed. The resolved one beside the outcome tells it
/// exactly, `--set` included; but its paths are relative to the scenario's own directory.
fn scenario_of(
    document: &Document,
    args: &ExplainRequestArgs,
) -> Result<(PathBuf, Scenario), Vec<Diagnostic>> {
    let mut sets = vec![format!("seed={}", document.seed)];
    sets.extend(args.sets.iter().cloned());
    if let Some(file) = &args.scenario {
        return Ok((file.clone(), scenario::load(file, &sets)?));
    }
    let Some(file) = find(&document.scenario, &args.outcome) else {
        let message = format!(
            "outcome.json does not keep the chain of request {}, and the scenario `{}` to simulate again is not here",
            args.request, document.scenario
        );
        return Err(vec![
            Diagnostic::error("E0401", message).helped("say where it is with `--scenario FILE`"),
        ]);
    };
    let beside = args.outcome.with_file_name(RESOLVED);
    let directory = file.parent().map(Path::to_path_buf).unwrap_or_default();
    match std::fs::read_to_string(&beside) {
        Ok(text) => {
            let scenario = scenario::parse(&beside.display().to_string(), &text, &sets, directory)?;
            Ok((beside, scenario))
        }
        Err(_) => scenario::load(&file, &sets).map(|scenario| (file, scenario)),
    }
}

/// `NAME.yaml` in the working directory, beside or above the outcome, or in a `scenarios` there.
fn find(name: &str, outcome: &Path) -> Option<PathBuf> {
    let file = format!("{name}.yaml");
    let full = std::path::absolute(outcome).unwrap_or_else(|_| outcome.to_path_buf());
    let above: Vec<PathBuf> = full.ancestors().skip(1).map(Path::to_path_buf).collect();
    std::iter::once(PathBuf::new())
        .chain(above)
        .flat_map(|directory| [directory.join("scenarios").join(&file), directory.join(&file)])
        .find(|path| path.is_file())
}
