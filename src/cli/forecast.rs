//! `thawline forecast`: backtests of forecasts on the load of a trace.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::{ForecastArgs, ForecastFormat};
use super::{Answer, Exit, console};
use crate::forecast::{self, Backtest, ForecasterSpec, Plan, Series};
use crate::kernel::{SimDuration, Streams};
use crate::report::fan_chart::FanChart;
use crate::report::forecast::{Backtested, ModelScores, json, text};
use crate::scenario::{self, workload_diagnostics};
use crate::workload::{self, SeriesFormat};
use crate::yaml::{self, Diagnostic, Document};

/// Progress shows up only in backtests longer than this.
const PATIENCE: Duration = Duration::from_secs(1);
/// The step of a trace of requests, where nobody says.
const STEP: SimDuration = SimDuration::from_secs(60);
/// The season that is looked for where nobody says.
const SEASON: SimDuration = SimDuration::from_secs(86_400);
/// Steps ahead, where nobody says: the next, and about what a cold start takes in minutes.
const HORIZONS: [u64; 2] = [1, 10];

pub(super) fn run(args: &ForecastArgs) -> Answer {
    let named = read(args)?;
    let mut faults = Vec::new();
    let plans: Vec<Job> =
        named.into_iter().map(|(name, series)| Job::new(args, name, series, &mut faults)).collect();
    if !faults.is_empty() {
        // Two series of one trace have the same faults.
        let mut said: Vec<Diagnostic> = Vec::new();
        for fault in faults {
            if !said.contains(&fault) {
                said.push(fault);
            }
        }
        return Err(said);
    }
    let total: usize = plans.iter().map(|job| job.series.values.len() * job.models.len()).sum();
    let bar = progress_bar(total as u64);
    let begun = Instant::now();
    let mut done = 0;
    let mut results = Vec::new();
    for job in &plans {
        let found: Vec<Backtest> = job
            .models
            .iter()
            .map(|(_, spec)| {
                let found = job.backtest(spec, &args.quantiles, |values| {
                    if values % 1024 == 0 && begun.elapsed() > PATIENCE {
                        bar.set_position((done + values) as u64);
                    }
                });
                done += job.series.values.len();
                found
            })
            .collect();
        results.push(found);
    }
    bar.finish_and_clear();
    let tested: Vec<Backtested> = plans.iter().zip(&results).map(|(job, found)| job.tested(found)).collect();
    if let (Some(path), Some(job), Some(found)) = (&args.svg, plans.first(), results.first()) {
        std::fs::write(path, job.picture(found, &args.quantiles)).map_err(|error| {
            let shown = path.display().to_string();
            vec![Diagnostic::in_file("E0402", &shown, format!("cannot write it: {error}"))]
        })?;
    }
    let nominal = args.quantiles.last().unwrap_or(&1.0) - args.quantiles.first().unwrap_or(&0.0);
    console::print(&match args.format {
        ForecastFormat::Text => text(&tested, nominal),
        ForecastFormat::Json => {
            serde_json::to_string_pretty(&json(&tested, &args.quantiles)).expect("its keys are text") + "\n"
        }
    });
    Ok(Exit::Success)
}

fn progress_bar(total: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {percent}% of the backtest, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The series of a file, each with its name and unit: of requests those of requests and tokens, else its values.
fn read(args: &ForecastArgs) -> Result<Vec<(String, Series)>, Vec<Diagnostic>> {
    let is_scenario = args.file.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let guessed = || workload::guess(&args.file.to_string_lossy(), Path::new(""));
    let (spec, directory, seed) = if is_scenario {
        let scenario = scenario::load(&args.file, &args.sets)?;
        (scenario.spec.workload.clone(), scenario.directory.clone(), scenario.spec.seed)
    } else {
        match guessed() {
            Ok(spec) => (spec, std::path::PathBuf::new(), 0),
            Err(_) => return read_values(args),
        }
    };
    let loaded =
        workload::load(&spec, &directory, seed).map_err(|faults| workload_diagnostics(None, &faults))?;
    let step = args.step.filter(|step| !step.is_zero()).unwrap_or(STEP);
    let rates = workload::rates(loaded.source.as_ref(), &Streams::new(seed, 0), step);
    if let Some(failure) = loaded.source.failure() {
        return Err(vec![Diagnostic::error("E0401", failure)]);
    }
    let Some(rates) = rates else {
        let fault =
            Diagnostic::error("E0607", format!("the workload has more than ten million steps of {step}"));
        return Err(vec![fault.helped("write a longer `--step`")]);
    };
    let named = |unit: &str| format!("{}, {unit}", loaded.description);
    Ok(vec![(named("requests/s"), rates.requests), (named("tokens/s"), rates.tokens)])
}

fn read_values(args: &ForecastArgs) -> Result<Vec<(String, Series)>, Vec<Diagnostic>> {
    let format = SeriesFormat { unit: args.time_unit.map(Into::into), period: args.period, is_alone: true };
    let read = workload::read_series(&args.file, "file", format);
    let found = read.map_err(|faults| workload_diagnostics(None, &faults))?;
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let series = match args.step.filter(|step| !step.is_zero()) {
        Some(step) => found.series.resampled(step),
        None => found.series,
    };
    Ok(vec![(format!("{}, {}", name.split('.').next().unwrap_or_default(), found.name), series)])
}

/// A series with all that is to be tried on it.
struct Job {
    name: String,
    series: Series,
    season: Option<SimDuration>,
    horizons: Vec<u32>,
    warm_up: usize,
    models: Vec<(String, ForecasterSpec)>,
}

impl Job {
    /// Checks the settings against the series, and notes everything that is wrong.
    fn new(args: &ForecastArgs, name: String, series: Series, faults: &mut Vec<Diagnostic>) -> Self {
        let mut add =
            |message: String, help: &str| faults.push(Diagnostic::error("E0607", message).helped(help));
        let step = series.step;
        if args.step.is_some_and(SimDuration::is_zero) {
            add("a step of 0s".to_owned(), "write `--step 1m`, for one");
        }
        let (span, length) = (series.span(), series.values.len());
        let steps = |duration: SimDuration| duration.as_nanos().div_ceil(step.as_nanos().max(1));
        let season = match args.season {
            // A season of nothing is none.
            Some(season) => Some(season).filter(|season| !season.is_zero()),
            None => Some(SEASON).filter(|season| {
                span >= *season * 3 && *season > step && season.as_nanos() % step.as_nanos().max(1) == 0
            }),
        };
        let season_steps = season.map_or(0, steps) as usize;
        if let Some(season) = season.filter(|_| 2 * season_steps >= length) {
            let message = format!(
                "a season of {season} does not come twice in {span}: there is nothing to learn it from"
            );
            add(message, "write a shorter `--season`, or `--season 0s` for none");
        }
        let horizons: Vec<u32> = if args.horizons.is_empty() {
            HORIZONS.map(|steps| steps as u32).to_vec()
        } else {
            args.horizons.iter().map(|own| u32::try_from(steps(*own)).unwrap_or(u32::MAX)).collect()
        };
        if args.horizons.iter().any(|own| own.is_zero()) {
            add("a horizon of 0s is no forecast".to_owned(), "write `--horizons 1m,10m`, for one");
        }
        let warm_up = match args.warm_up {
            Some(own) => steps(own) as usize,
            None => (2 * season_steps).max(length / 10).max(2),
        };
        let furthest = horizons.iter().copied().max().unwrap_or(1) as usize;
        if warm_up.saturating_add(furthest) > length && 2 * season_steps < length {
            let ahead = step * furthest as u64;
            let message = format!(
                "nothing is left to score: of {span}, the first {} are only learned from, and forecasts reach {ahead} ahead",
                step * warm_up as u64
            );
            add(message, "shorten `--horizons` or `--warm-up`, or give it a longer trace");
        }
        let q = &args.quantiles;
        if q.len() < 2
            || q.iter().any(|p| *p <= 0.0 || *p >= 1.0)
            || q.windows(2).any(|pair| pair[0] >= pair[1])
        {
            let listed: Vec<String> = q.iter().map(ToString::to_string).collect();
            let message = format!("the quantiles {} contradict each other", listed.join(", "));
            add(
                message,
                "write two or more between 0 and 1, from the lowest to the highest: `--quantiles 0.1,0.5,0.9`",
            );
        }
        let (models, found) = models(args, step, season);
        faults.extend(found);
        Self { name, series, season, horizons, warm_up, models }
    }

    fn backtest(&self, spec: &ForecasterSpec, quantiles: &[f64], progress: impl FnMut(usize)) -> Backtest {
        let furthest = self.horizons.iter().copied().max().unwrap_or(1);
        let season = self.season.map_or(1, |season| season.as_nanos() / self.series.step.as_nanos().max(1));
        let plan = Plan {
            horizons: &self.horizons,
            quantiles,
            warm_up: self.warm_up,
            season: season as usize,
            is_load: self.series.values.iter().flatten().all(|value| *value >= 0.0),
            fan: Some(furthest),
        };
        forecast::backtest(&self.series, spec.build(self.series.step, furthest), &plan, progress)
    }

    fn tested(&self, found: &[Backtest]) -> Backtested {
        let naive = if self.season.is_some() { "seasonalNaive" } else { "lastValue" };
        let scores = |((label, spec), backtest): (&(String, ForecasterSpec), &Backtest)| ModelScores {
            label: label.clone(),
            is_naive: spec.kind() == naive,
            is_standard: *spec == ForecasterSpec::standard(self.season),
            scores: backtest.scores.iter().map(|own| own.score.clone()).collect(),
        };
        Backtested {
            name: self.name.clone(),
            step: self.series.step,
            values: self.series.values.len(),
            gaps: self.series.values.iter().filter(|value| value.is_none()).count(),
            warm_up: self.warm_up,
            season: self.season,
            horizons: self.horizons.iter().map(|steps| self.series.step * u64::from(*steps)).collect(),
            models: self.models.iter().zip(found).map(scores).collect(),
        }
    }

    /// The last model's forecasts at the longest horizon.
    fn picture(&self, found: &[Backtest], quantiles: &[f64]) -> String {
        let furthest = self.horizons.iter().copied().max().unwrap_or(1);
        let label = self.models.last().map_or("", |(label, _)| label);
        let bounds = (quantiles.first().unwrap_or(&0.0), quantiles.last().unwrap_or(&1.0));
        let title = format!(
            "{label} {} ahead, and its quantiles {} to {}",
            self.series.step * u64::from(furthest),
            bounds.0,
            bounds.1
        );
        let nothing = Vec::new();
        FanChart {
            title: &title,
            unit: &self.name,
            values: &self.series.values,
            step: self.series.step,
            fan: found.last().map_or(&nothing, |own| &own.fan),
        }
        .svg()
    }
}

/// The models to try with their names, and what is wrong with them.
fn models(
    args: &ForecastArgs,
    step: SimDuration,
    season: Option<SimDuration>,
) -> (Vec<(String, ForecasterSpec)>, Vec<Diagnostic>) {
    let all = lineup(step, season);
    if args.models.is_empty() {
        return (all, Vec::new());
    }
    let (mut models, mut faults) = (Vec::new(), Vec::new());
    for text in &args.models {
        if let Some(known) = all.iter().find(|(label, _)| label == text) {
            models.push(known.clone());
            continue;
        }
        let document = Document::parse("--model", text);
        let spec = document.and_then(|document| Ok((yaml::read::<ForecasterSpec>(&document)?, document)));
        match spec {
            Err(found) => {
                let names: Vec<&str> = all.iter().map(|(label, _)| label.as_str()).collect();
                let help = format!("one of {}, or what a scenario's `forecaster` may be", names.join(", "));
                let helped = |fault: Diagnostic| {
                    // Of what is YAML, it knows better what was meant.
                    if fault.help.is_empty() { fault.helped(help.as_str()) } else { fault }
                };
                faults.extend(found.into_iter().map(helped));
            }
            Ok((spec, document)) => {
                faults.extend(spec.check(step).into_iter().map(|(path, message, help)| {
                    let path = yaml::Path::parse(&path).unwrap_or_default();
                    document.fault("E0607", &path, message).helped(help)
                }));
                models.push((text.clone(), spec));
            }
        }
    }
    (models, faults)
}

/// Every model, as it is tried where nobody chooses; the default of `predictive` comes last.
fn lineup(step: SimDuration, season: Option<SimDuration>) -> Vec<(String, ForecasterSpec)> {
    let read = |label: &str, json: String| {
        let spec = serde_json::from_str(&json).expect("it is written here");
        (label.to_owned(), spec)
    };
    let seasonal = |label: &str, kind: &str, more: &str| {
        season.map(|season| read(label, format!(r#"{{"{kind}": {{"season": "{season}"{more}}}}}"#)))
    };
    let mut all: Vec<(String, ForecasterSpec)> =
        seasonal("seasonalNaive", "seasonalNaive", "").into_iter().collect();
    all.push(("lastValue".to_owned(), ForecasterSpec::LastValue));
    all.push(read("movingAverage", format!(r#"{{"movingAverage": {{"window": "{}"}}}}"#, step * 10)));
    all.push(read("ewma", format!(r#"{{"ewma": {{"halfLife": "{}"}}}}"#, step * 3)));
    all.push(read("kalmanTrend", r#"{"kalmanTrend": {}}"#.to_owned()));
    all.push(read("holt", r#"{"holtWinters": {}}"#.to_owned()));
    all.extend(seasonal("holtWinters", "holtWinters", ""));
    all.extend(seasonal("holtWintersMultiplicative", "holtWinters", r#", "seasonality": "multiplicative""#));
    all.push(read("ar", r#"{"ar": {}}"#.to_owned()));
    all.extend(seasonal("seasonalAr", "ar", ""));
    all.push(("mixture".to_owned(), ForecasterSpec::standard(season)));
    all
}
