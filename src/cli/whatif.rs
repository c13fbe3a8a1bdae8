//! `thawline whatif`: a policy as it is, and with one thing of the scenario changed at a time.

use std::time::Instant;

use super::args::{WhatifArgs, WhatifFormat};
use super::simulate::{PATIENCE, progress_bar, workload_failed};
use super::{Answer, Exit, console};
use crate::experiment::whatif::Figures;
use crate::experiment::{Matrix, Metric};
use crate::report::whatif::{Tried, WhatIf};
use crate::scenario::Resolved;
use crate::scenario::whatif::{self, Trials};
use crate::sim;
use crate::yaml::Diagnostic;

/// Columns of the printed tables.
const WIDTH: usize = 120;

pub(super) fn run(args: &WhatifArgs) -> Answer {
    let mut sets = args.sets.clone();
    sets.extend(args.seed.map(|seed| format!("seed={seed}")));
    sets.extend(args.replications.map(|replications| format!("replications={replications}")));
    let chosen = whatif::named(&args.only, &args.skip);
    let metrics = metrics(&args.metrics);
    let (chosen, metrics) = match (chosen, metrics) {
        (Ok(chosen), Ok(metrics)) => (chosen, metrics),
        (chosen, metrics) => {
            return Err([chosen.err(), metrics.err()].into_iter().flatten().flatten().collect());
        }
    };
    let policy = policy(args, &sets)?;
    let trials = Trials::prepare(&args.scenario, &sets, &policy, &chosen, &metrics)?;
    console::report(&trials.base.notes);
    let runs = simulate(&trials, &policy, args.jobs.unwrap_or(0) as usize)
        .map_err(|failure| workload_failed(&args.scenario, &failure))?;
    let mut runs = runs.into_iter();
    let base = runs.next().unwrap_or_default();
    let Trials { base: resolved, variants, untried } = trials;
    let tried = variants.into_iter().zip(runs).map(|(variant, runs)| Tried {
        mitigation: variant.mitigation,
        sets: variant.sets,
        runs,
    });
    let table =
        WhatIf::new(&policy, &resolved.header, &resolved.gates, &metrics, &base, tried.collect(), untried);
    console::print(&match args.format {
        WhatifFormat::Text => table.text(WIDTH, args.verbose),
        WhatifFormat::Markdown => table.markdown(args.verbose),
        WhatifFormat::Json => serde_json::to_string_pretty(&table).expect("its keys are text") + "\n",
    });
    Ok(Exit::Success)
}

/// The metrics of those names.
fn metrics(names: &[String]) -> Result<Vec<&'static Metric>, Vec<Diagnostic>> {
    let mut unknown = Vec::new();
    let mut found: Vec<&Metric> = Vec::with_capacity(names.len());
    for name in names {
        match Metric::find(name) {
            Some(metric) if found.contains(&metric) => {}
            Some(metric) => found.push(metric),
            None => {
                let help = Metric::nearest(name).map_or_else(
                    || "`thawline explain metrics` lists them".to_owned(),
                    |nearest| format!("did you mean `{nearest}`?"),
                );
                unknown.push(Diagnostic::error("E0203", format!("unknown metric `{name}`")).helped(help));
            }
        }
    }
    if unknown.is_empty() { Ok(found) } else { Err(unknown) }
}

/// The policy that is meant: the one that is named, or the only one.
fn policy(args: &WhatifArgs, sets: &[String]) -> Result<String, Vec<Diagnostic>> {
    if let Some(name) = &args.policy {
        return Ok(name.clone());
    }
    let names = whatif::policies(&args.scenario, sets)?;
    match &names[..] {
        [only] => Ok(only.clone()),
        [] => Err(vec![Diagnostic::error("E0308", "there is no policy to run")]),
        several => {
            let message = format!("the scenario has {} policies, and none is named", several.len());
            let help = format!("write `--policy NAME`, one of {}", several.join(", "));
            Err(vec![Diagnostic::error("E0203", message).helped(help)])
        }
    }
}

/// Runs the scenario as it is and every changed one, in every replication; what is kept of each run, as it is first.
fn simulate(trials: &Trials, policy: &str, jobs: usize) -> Result<Vec<Vec<Figures>>, String> {
    let all: Vec<&Resolved> = std::iter::once(&trials.base)
        .chain(trials.variants.iter().map(|variant| &variant.resolved))
        .collect();
    let matrix = Matrix { policies: all.len(), replications: trials.base.header.replications, jobs };
    let bar = progress_bar(matrix.runs() as u64);
    let begun = Instant::now();
    let one = |which: usize, replication: u32| {
        let resolved = all[which];
        let running = resolved.policies[policy].build(&resolved.simulation.setting);
        sim::run(&resolved.simulation, running, replication, None).map(|(outcome, _)| Figures::of(&outcome))
    };
    let runs = matrix.run(one, |done| {
        if begun.elapsed() > PATIENCE {
            bar.set_position(done as u64);
        }
    });
    bar.finish_and_clear();
    runs.map_err(|error| error.to_string())
}
