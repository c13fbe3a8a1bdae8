//! `thawline simulate`: runs a scenario and reports.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::{SimulateArgs, SimulateFormat};
use super::baseline::Checks;
use super::{Answer, Exit, console, plot};
use crate::experiment::{ExperimentOutcome, Foresight, Matrix, PolicyOutcome, Warning};
use crate::outcome::RunOutcome;
use crate::report::chart::{Chart, ChartError};
use crate::report::document::PolicyDoc;
use crate::report::{Document, Outputs, OutputsError, Report, Summary, Terminal, json, outputs};
use crate::scenario::{self, Resolved};
use crate::sim;
use crate::yaml::Diagnostic;

/// The file beside the reports that holds the scenario as it was run.
pub(super) const RESOLVED: &str = "resolved.yaml";

/// Progress shows up only in runs longer than this.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn run(args: &SimulateArgs) -> Answer {
    let checks = Checks::prepare(args)?;
    let files = Checks::open(args)?;
    let mut sets = args.sets.clone();
    sets.extend(args.seed.map(|seed| format!("seed={seed}")));
    if args.foresight && !sets.iter().any(|set| set.starts_with("foresight")) {
        sets.push("foresight={}".to_owned());
    }
    let scenario = scenario::load(&args.scenario, &sets)?;
    let mut resolved = scenario::resolve(&scenario, args.exact_steps)?;
    let dir = args.out.clone().unwrap_or_else(|| Path::new("reports").join(&scenario.spec.name));
    checks.suit(&resolved)?;
    let charts = chart_files(args);
    let mut extra = [&[RESOLVED][..], checks.files()].concat();
    extra.extend(charts.iter().map(|(name, ..)| name.as_str()));
    let outputs = Outputs::prepare(&dir, &extra).map_err(|error| unwritable(&error))?;
    console::report(&resolved.notes);
    let started = Instant::now();
    resolved.measure_capacity().map_err(|failure| workload_failed(&args.scenario, &failure))?;
    let policies = simulate(&resolved, args.jobs.unwrap_or(0) as usize)
        .map_err(|failure| workload_failed(&args.scenario, &failure))?;
    let foresight = foresee(&resolved, &policies, args.jobs.unwrap_or(0) as usize)
        .map_err(|failure| workload_failed(&args.scenario, &failure))?;
    let elapsed = started.elapsed();
    let resolved_yaml = resolved.to_yaml(&scenario);
    let as_run = resolved.to_value();
    let mut header = resolved.header;
    header.warnings.extend(warnings(&policies));
    header.command = command(args, header.seed);
    let experiment = ExperimentOutcome {
        header,
        gates: resolved.gates,
        lenient: args.lenient,
        policies,
        foresight,
        resolved: as_run,
    };
    let summary = Summary::new(experiment);
    let checked = checks.check(&scenario, &summary, args.exit_zero);
    let drawn = draw(&charts, &summary)?;
    let mut contents = vec![(RESOLVED, resolved_yaml.as_bytes())];
    contents.extend(checked.contents());
    contents.extend(drawn.iter().map(|(name, bytes)| (*name, bytes.as_slice())));
    let written = outputs.write(&summary, &contents).map_err(|error| unwritable(&error))?;
    files.write(&checked)?;
    print(args.format, &summary, elapsed, &written);
    checked.print(args.format);
    let failed = summary.gates_failed() > 0 || checked.fails();
    Ok(if failed && !args.exit_zero { Exit::Failed } else { Exit::Success })
}

/// The charts that are asked for as files of their own: name, chart, whether as PNG.
fn chart_files(args: &SimulateArgs) -> Vec<(String, Chart, bool)> {
    let kinds =
        [("svg", false, args.svg), ("png", true, args.png)].into_iter().filter(|(.., wanted)| *wanted);
    let all = |(ending, is_png, _): (&'static str, bool, bool)| {
        Chart::ALL.into_iter().map(move |chart| (format!("{}.{ending}", chart.name()), chart, is_png))
    };
    kinds.flat_map(all).collect()
}

/// Those of them that have something to show.
fn draw<'a>(
    charts: &'a [(String, Chart, bool)],
    summary: &Summary,
) -> Result<Vec<(&'a str, Vec<u8>)>, Vec<Diagnostic>> {
    if charts.is_empty() {
        return Ok(Vec::new());
    }
    let document = Document::from(summary);
    let policies: Vec<&PolicyDoc> = document.policies.iter().collect();
    let drawn = charts.iter().filter_map(|(name, chart, is_png)| {
        let canvas = chart.draw(&document, &policies)?;
        Some(plot::bytes(&canvas, *is_png).map(|bytes| (name.as_str(), bytes)))
    });
    drawn.collect::<Result<_, ChartError>>().map_err(plot::undrawable)
}

/// What runs it again, with the bare name of the file: results do not depend on where that lies.
fn command(args: &SimulateArgs, seed: u64) -> String {
    let quoted = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/=@:%+,".contains(c);
        if !text.is_empty() && text.chars().all(plain) {
            text.to_owned()
        } else {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
    };
    let file = args.scenario.file_name().map_or_else(String::new, |name| quoted(&name.to_string_lossy()));
    let mut command = format!("thawline simulate {file}");
    for set in &args.sets {
        command.push_str(&format!(" --set {}", quoted(set)));
    }
    command.push_str(&format!(" --seed {seed}"));
    for (flag, given) in [("--foresight", args.foresight), ("--lenient", args.lenient)] {
        if given {
            command.push_str(&format!(" {flag}"));
        }
    }
    command
}

/// Runs every policy in every replication.
pub(super) fn simulate(resolved: &Resolved, jobs: usize) -> Result<Vec<PolicyOutcome>, String> {
    let specs: Vec<_> = resolved.policies.values().collect();
    let matrix = Matrix { policies: specs.len(), replications: resolved.header.replications, jobs };
    let bar = progress_bar(matrix.runs() as u64);
    let begun = Instant::now();
    let one = |policy: usize, replication: u32| {
        let running = specs[policy].build(&resolved.simulation.setting);
        sim::run(&resolved.simulation, running, replication, None).map(|(outcome, _)| outcome)
    };
    let runs = matrix.run(one, |done| {
        if begun.elapsed() > PATIENCE {
            bar.set_position(done as u64);
        }
    });
    bar.finish_and_clear();
    let runs = runs.map_err(|error| error.to_string())?;
    let named = resolved.policies.keys().cloned().zip(runs);
    Ok(named.map(|(name, runs)| PolicyOutcome { name, runs }).collect())
}

/// Looks for what knowing the future would bring, if the scenario asks.
fn foresee(
    resolved: &Resolved,
    policies: &[PolicyOutcome],
    jobs: usize,
) -> Result<Option<Foresight>, String> {
    let Some(spec) = resolved.spec.foresight else { return Ok(None) };
    let replications = resolved.header.replications;
    let bar = progress_bar(u64::from(replications) * u64::from(spec.plans));
    let step = || {
        bar.inc(1);
    };
    let share = resolved.breach_share();
    // Its replications run side by side: more threads than those would have nothing to do.
    let jobs = jobs.min(replications as usize);
    let found = Foresight::find(&resolved.simulation, policies, replications, share, spec.plans, jobs, &step);
    bar.finish_and_clear();
    found.map(Some)
}

pub(super) fn progress_bar(runs: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} runs, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(runs), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What the runs themselves give cause to say.
pub(super) fn warnings(policies: &[PolicyOutcome]) -> Vec<Warning> {
    let runs = || policies.iter().flat_map(|p| &p.runs);
    let sum = |of: fn(&RunOutcome) -> u64| runs().map(of).sum::<u64>();
    let mut warnings = Vec::new();
    let (steps, beyond) = (sum(|r| r.steps.total), sum(|r| r.steps.extrapolated));
    if beyond > 0 {
        let share = 100.0 * beyond as f64 / steps as f64;
        warnings.push(Warning {
            code: "W0107".to_owned(),
            message: format!(
                "{} of engine steps ran beyond what the profile covers; these are extrapolated",
                if share < 0.1 { "under 0.1%".to_owned() } else { format!("{share:.1}%") }
            ),
            place: None,
            help: Some(
                "calibrate at larger batches and contexts, or cap engine.continuous.maxNumSeqs".to_owned(),
            ),
        });
    }
    let too_long: BTreeMap<&str, u64> = policies
        .iter()
        .filter_map(|p| Some((p.name.as_str(), p.runs.first()?.counts.too_long)))
        .filter(|(_, count)| *count > 0)
        .collect();
    if let Some(most) = too_long.values().max() {
        warnings.push(Warning {
            code: "W0111".to_owned(),
            message: format!(
                "{most} requests a run exceed the context or the KV cache of a replica and are rejected"
            ),
            place: None,
            help: Some("raise engine.continuous.maxModelLen or the KV cache, or filter the trace".to_owned()),
        });
    }
    warnings
}

fn print(format: SimulateFormat, summary: &Summary, elapsed: Duration, written: &[PathBuf]) {
    let mut text = Vec::new();
    let terminal = Terminal {
        colour: true,
        elapsed: Some(elapsed),
        wrote: Some(outputs::listed(written)),
        ..Terminal::PLAIN
    };
    let report: &dyn Report = match format {
        SimulateFormat::Text => &terminal,
        SimulateFormat::Json => &json::Json,
    };
    report.write(summary, &mut text).expect("memory takes what is written to it");
    console::print(&String::from_utf8_lossy(&text));
}

pub(super) fn unwritable(error: &OutputsError) -> Vec<Diagnostic> {
    vec![Diagnostic::error("E0402", error.to_string()).helped("choose another directory with `--out DIR`")]
}

pub(super) fn workload_failed(scenario: &Path, failure: &str) -> Vec<Diagnostic> {
    vec![Diagnostic::in_file("E0401", &scenario.display().to_string(), failure)]
}
