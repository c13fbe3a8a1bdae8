//! The command line's grammar and its help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::kernel::SimDuration;
use crate::report::chart::Chart;
use crate::workload::TimeUnit;

/// Will my autoscaler hold the SLO when GPU replicas take minutes to become useful, and what will it cost?
#[derive(Debug, Parser)]
#[command(name = "thawline", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ran and every gate passed, 1 ran and a gate failed or something regressed\n(of `plan`: the plan does not hold), 2 could not run.\n\n\
Examples:\n  thawline simulate scenarios/quickstart.yaml\n  thawline validate my.yaml\n  thawline explain telemetry.scrapeInterval";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented scenario to start from
    Init(InitArgs),
    /// Run a scenario's policies against its traffic and report breaches and cost
    Simulate(SimulateArgs),
    /// Size a fleet for a scenario's traffic, by arithmetic, and try the plan by simulation
    Plan(PlanArgs),
    /// Hold an outcome against another, policy by policy, and say what became worse or better and why
    Compare(CompareArgs),
    /// Change one thing of a scenario at a time: what would each bring, and what would it cost?
    Whatif(WhatifArgs),
    /// Check a scenario without running it
    Validate(ValidateArgs),
    /// Explain a code (E0203) or a field of a scenario (telemetry.scrapeInterval)
    Explain(ExplainArgs),
    /// Print one request's chain of events
    ExplainRequest(ExplainRequestArgs),
    /// Draw where the time of cold starts went
    ExplainStart(ExplainStartArgs),
    /// Draw one chart of a past run
    Plot(PlotArgs),
    /// Write the Kubernetes objects that make a policy of a scenario real
    Export(ExportArgs),
    /// Print the JSON Schema of a scenario, for editors
    Schema,
    /// Look at a trace
    Trace(TraceArgs),
    /// Backtest forecasts of a trace's load
    Forecast(ForecastArgs),
    /// Look at profiles
    Profile(ProfileArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Measure a model on this host's GPU (hands over to thawline-calibrate)
    Calibrate(CalibrateArgs),
}

/// `init`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  thawline init\n  thawline init --profile my-profile.yaml --trace my-trace.csv --out my.yaml"
)]
pub struct InitArgs {
    /// Profile the scenario uses; `thawline profile list` shows what is shipped
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Trace the scenario replays
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// File to write; must not exist yet
    #[arg(long, value_name = "FILE", default_value = "scenario.yaml")]
    pub out: PathBuf,
}

/// How `simulate` prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimulateFormat {
    /// A table and a verdict
    Text,
    /// The outcome as JSON
    Json,
}

/// `simulate`.
// Each is a flag of the command line.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  thawline simulate scenarios/quickstart.yaml\n  thawline simulate my.yaml --set policies.hpa.hpa.maxReplicas=12 --set 'slo={ ttft: 1s }'\n  thawline simulate my.yaml --format json --exit-zero > outcome.json\n  thawline simulate my.yaml --write-baseline base.json\n  thawline simulate my.yaml --baseline base.json --fail-on ttft.p99:5%,100ms --fail-on slo.breach:0.5pp"
)]
pub struct SimulateArgs {
    /// The scenario
    #[arg(value_name = "FILE")]
    pub scenario: PathBuf,
    /// Directory of the results [default: reports/NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What is printed on stdout
    #[arg(long, value_enum, default_value = "text")]
    pub format: SimulateFormat,
    /// Runs at the same time [default: one a core]; the results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// Seed of all random draws, instead of the scenario's
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Write a value, itself YAML, over the scenario; may be given several times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
    /// Write each chart of the report as an SVG, too
    #[arg(long)]
    pub svg: bool,
    /// Write each chart of the report as a PNG, too
    #[arg(long)]
    pub png: bool,
    /// Hold the policies against the best plan that knows the future; the same as `--set foresight={}`
    #[arg(long)]
    pub foresight: bool,
    /// Step the engine one step at a time: slow, and the same result to the bit
    #[arg(long)]
    pub exact_steps: bool,
    /// Let a gate pass whose interval lies on both sides of its limit
    #[arg(long)]
    pub lenient: bool,
    /// Exit with 0 although a gate failed or something regressed
    #[arg(long)]
    pub exit_zero: bool,
    /// Compare with a past run: its outcome.json (or its directory), or what --write-baseline wrote; a regression ends in 1
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// What fails the comparison with the baseline: METRIC, METRIC:MARGIN,.. or drift; may be given several times
    #[arg(long = "fail-on", value_name = "METRIC[:MARGIN,..]|drift", requires = "baseline")]
    pub fail_on: Vec<String>,
    /// The chance of even one false alarm in the comparison
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = level, requires = "baseline")]
    pub level: f64,
    /// Write what a later comparison needs of this run into this file
    #[arg(long, value_name = "FILE")]
    pub write_baseline: Option<PathBuf>,
    /// Write gates and regressions as JUnit XML into this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write failed gates and regressions as a GitLab code quality report into this file
    #[arg(long, value_name = "FILE")]
    pub code_quality: Option<PathBuf>,
}

/// A share such as `5%` or `0.05`, above 0 and at most a half.
fn level(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    match number {
        Ok(share) if share > 0.0 && share <= 0.5 => Ok(share),
        _ => Err("a share above 0 and at most 50%, such as 5% or 0.05".to_owned()),
    }
}

/// How `compare` prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompareFormat {
    /// Lines and a verdict
    Text,
    /// Every figure as JSON
    Json,
    /// Tables for a pull request
    Markdown,
}

/// `compare`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Policies are matched by name. Margins: 5% is of the base; 100ms, $2, 3 and 0.5pp (percentage points of a share) are amounts; with\nseveral, each must be exceeded. Without --fail-on: the metrics of the gates that bind the policy, else ttft.p99, slo.breach and\ncost.total, by more than 1% and a trifle. `thawline explain E0902` says more.\n\nExamples:\n  thawline compare --base main.json reports/quickstart\n  thawline compare --base reports/hpa-vs-keda/outcome.json --base-policy hpa --policy keda\n  thawline compare --base main.json new.json --fail-on ttft.p99:5%,100ms --fail-on cost.total:$2 --format markdown"
)]
pub struct CompareArgs {
    /// What it is held against [default: the base itself, with --base-policy and --policy]
    #[arg(value_name = "OUTCOME")]
    pub new: Option<PathBuf>,
    /// The base: the outcome.json of a run (or its directory), or what --write-baseline wrote
    #[arg(long, value_name = "FILE")]
    pub base: PathBuf,
    /// The policy of the base [default: each, by its name]
    #[arg(long, value_name = "NAME")]
    pub base_policy: Option<String>,
    /// The policy that is held against it [default: the one of that name]
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Metrics to show, with commas between, or `all` [default: latencies, breaches, cost, cold starts and what is judged]
    #[arg(long, value_name = "METRICS", value_delimiter = ',')]
    pub metrics: Vec<String>,
    /// What fails the comparison: METRIC, METRIC:MARGIN,.. or drift; may be given several times
    #[arg(long = "fail-on", value_name = "METRIC[:MARGIN,..]|drift")]
    pub fail_on: Vec<String>,
    /// The chance of even one false alarm
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = level)]
    pub level: f64,
    /// What is printed on stdout
    #[arg(long, value_enum, default_value = "text")]
    pub format: CompareFormat,
    /// Exit with 0 although something regressed
    #[arg(long)]
    pub exit_zero: bool,
}

/// `plan`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "The scenario's own policies do not run. Exit code 1: the plan does not hold the SLO.\n\nExamples:\n  thawline plan scenarios/quickstart.yaml\n  thawline plan my.yaml --set 'slo={ ttft: 1s }' --format json > plan.json"
)]
pub struct PlanArgs {
    /// The scenario
    #[arg(value_name = "FILE")]
    pub scenario: PathBuf,
    /// What is printed on stdout
    #[arg(long, value_enum, default_value = "text")]
    pub format: SimulateFormat,
    /// Runs at the same time [default: one a core]; the results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// Write a value, itself YAML, over the scenario; may be given several times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
}

/// How `validate` prints what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ValidateFormat {
    /// For people, on stderr
    Text,
    /// A JSON array on stdout
    Json,
    /// Workflow commands that GitHub shows beside the line, on stdout
    Github,
    /// A GitLab code quality report, on stdout
    Gitlab,
    /// SARIF 2.1.0, for code scanning, on stdout
    Sarif,
}

/// How `whatif` prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhatifFormat {
    /// A table and a verdict
    Text,
    /// All of it as JSON, with the `--set` of each row
    Json,
    /// A table for a pull request or an issue
    Markdown,
}

/// `whatif`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  thawline whatif scenarios/quickstart.yaml --policy hpa\n  thawline whatif my.yaml --only spare,image-on-node --verbose\n  thawline whatif my.yaml --metrics ttft.p99,slo.breach,coldStarts,cost.total --replications 10"
)]
pub struct WhatifArgs {
    /// The scenario
    #[arg(value_name = "FILE")]
    pub scenario: PathBuf,
    /// The policy, by its name in the scenario [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Try only these changes, by their names in `--format json`
    #[arg(long, value_name = "CHANGE,..", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Leave these changes out
    #[arg(long, value_name = "CHANGE,..", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// The columns, of `thawline explain metrics`
    #[arg(
        long,
        value_name = "METRIC,..",
        value_delimiter = ',',
        default_value = "ttft.p99,slo.breach,cost.monthly"
    )]
    pub metrics: Vec<String>,
    /// Runs of each row, instead of the scenario's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub replications: Option<u32>,
    /// Seed of all random draws, instead of the scenario's
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Write a value, itself YAML, over the scenario; may be given several times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
    /// Runs at the same time [default: one a core]; the results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// What is printed on stdout
    #[arg(long, value_enum, default_value = "text")]
    pub format: WhatifFormat,
    /// Also print the `--set` of each row, and why each other change was not tried
    #[arg(long, short)]
    pub verbose: bool,
}

/// `validate`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  thawline validate my.yaml\n  thawline validate my.yaml --strict --format github\n  thawline validate my.yaml --format sarif > thawline.sarif"
)]
pub struct ValidateArgs {
    /// The scenario
    #[arg(value_name = "FILE")]
    pub scenario: PathBuf,
    /// How faults are printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: ValidateFormat,
    /// Exit with 2 on warnings, too; notes on manifests (W02xx) are none
    #[arg(long)]
    pub strict: bool,
    /// Write a value, itself YAML, over the scenario; may be given several times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
}

/// The kinds of objects that `export` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportKind {
    /// HorizontalPodAutoscaler (autoscaling/v2)
    Hpa,
    /// KEDA's ScaledObject, or the HTTP add-on's HTTPScaledObject
    Keda,
    /// Knative Service
    Knative,
}

/// `export`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "The head of the file says what no object holds, and how a scenario reads the objects back. A policy that no object makes real is refused, with what to do instead.\n\nExamples:\n  thawline export scenarios/quickstart.yaml --policy hpa --target vllm | kubectl apply --dry-run=server -f -\n  thawline export my.yaml --policy hpa --as keda --prometheus http://prometheus.monitoring:9090 --out scaledobject.yaml\n  thawline export my.yaml --policy zero --namespace llm --name llama --target statefulset/llama"
)]
pub struct ExportArgs {
    /// The scenario
    #[arg(value_name = "FILE")]
    pub scenario: PathBuf,
    /// The policy, by its name in the scenario [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Kind of the objects [default: the policy's own]
    #[arg(long = "as", value_enum, value_name = "KIND")]
    pub kind: Option<ExportKind>,
    /// Name of the object [default: its own, else the target's]
    #[arg(long)]
    pub name: Option<String>,
    /// Namespace of the object [default: none is written]
    #[arg(long)]
    pub namespace: Option<String>,
    /// What is scaled: NAME of a Deployment, or KIND/NAME [default: the policy's, else that of the scenario's manifests, else the scenario's name]
    #[arg(long)]
    pub target: Option<String>,
    /// Address of Prometheus, for the triggers that `--as keda` makes of an HPA's metrics
    #[arg(long, value_name = "URL", default_value = "http://prometheus:9090")]
    pub prometheus: String,
    /// File to write, instead of stdout; one that is there is replaced
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write a value, itself YAML, over the scenario; may be given several times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
}

/// `explain`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  thawline explain E0203\n  thawline explain cluster.pools.maxNodes\n  thawline explain policies\n  thawline explain metrics\n  thawline explain ttft.p99"
)]
pub struct ExplainArgs {
    /// A code, the path of a field, `metrics`, or the name of a metric
    #[arg(value_name = "CODE|FIELD.PATH|METRIC")]
    pub what: String,
}

/// `explain-request`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Example:\n  thawline explain-request reports/quickstart/outcome.json 4711 --policy hpa"
)]
pub struct ExplainRequestArgs {
    /// The outcome.json of a run, or its directory
    #[arg(value_name = "OUTCOME")]
    pub outcome: PathBuf,
    /// The request's number, from 0 in the order of arrival
    #[arg(value_name = "ID")]
    pub request: u64,
    /// The policy [default: each under which outcome.json keeps this request, else the first]
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// The replication, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub replication: u32,
    /// The scenario that was run [default: NAME.yaml near the outcome, here, or in scenarios/]
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// What was set with --set in that run; may be given several times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
}

/// `explain-start`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Draws the median start and the slowest: █ what was worked on, ░ what was waited for.\n\nExample:\n  thawline explain-start reports/quickstart/outcome.json --policy hpa"
)]
pub struct ExplainStartArgs {
    /// The outcome.json of a run, or its directory
    #[arg(value_name = "OUTCOME")]
    pub outcome: PathBuf,
    /// The policy [default: each]
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// The replication, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub replication: u32,
    /// The start of this replica, instead of the median and the slowest
    #[arg(long, value_name = "N", requires = "policy")]
    pub replica: Option<u32>,
    /// Columns to keep within
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub width: u16,
}

/// A chart of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ChartName {
    /// Each gate under each policy: value, interval, limit
    Gates,
    /// Cost against the 99th percentile of the time to first token
    Frontier,
    /// Arrivals, replicas by stage, queue, time to first token, breaches by cause and cost on one time axis
    Timeline,
    /// Where the time of the median and of the slowest start went
    ColdStarts,
    /// Distributions of latency with the limits of the SLO
    Latency,
    /// The bill by account
    Money,
}

impl From<ChartName> for Chart {
    fn from(name: ChartName) -> Self {
        match name {
            ChartName::Gates => Self::Gates,
            ChartName::Frontier => Self::Frontier,
            ChartName::Timeline => Self::Timeline,
            ChartName::ColdStarts => Self::ColdStarts,
            ChartName::Latency => Self::Latency,
            ChartName::Money => Self::Money,
        }
    }
}

/// `plot`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  thawline plot reports/quickstart/outcome.json timeline --policy hpa --out hpa.png\n  thawline plot reports/quickstart/outcome.json money > money.svg"
)]
pub struct PlotArgs {
    /// The outcome.json of a run, or its directory
    #[arg(value_name = "OUTCOME")]
    pub outcome: PathBuf,
    /// The chart
    #[arg(value_enum, value_name = "CHART")]
    pub chart: ChartName,
    /// The policy; may be given several times [default: each]
    #[arg(long = "policy", value_name = "NAME")]
    pub policies: Vec<String>,
    /// The file, .svg or .png [default: SVG on stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `trace`.
#[derive(Debug, ClapArgs)]
pub struct TraceArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: TraceCommand,
}

/// The commands of `trace`.
#[derive(Debug, Subcommand)]
pub enum TraceCommand {
    /// Print a trace's span, rate, burstiness and lengths
    #[command(after_help = "Example:\n  thawline trace stats scenarios/traces/azure_llm_2023_conv.csv")]
    Stats {
        /// The trace, plain or gzip
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// How `forecast` prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ForecastFormat {
    /// Tables
    Text,
    /// Every score as JSON
    Json,
}

/// The unit of times that are plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NumberUnit {
    /// Seconds
    S,
    /// Milliseconds
    Ms,
    /// Microseconds
    Us,
    /// Nanoseconds
    Ns,
}

impl From<NumberUnit> for TimeUnit {
    fn from(unit: NumberUnit) -> Self {
        match unit {
            NumberUnit::S => Self::S,
            NumberUnit::Ms => Self::Ms,
            NumberUnit::Us => Self::Us,
            NumberUnit::Ns => Self::Ns,
        }
    }
}

/// `forecast`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Each model is told the load value by value, forecasts after each, and is scored when the time has come.\nA step without requests has none; a row that a file of values lacks is a gap, which is not scored.\n\nExamples:\n  thawline forecast scenarios/traces/azure_llm_2023_conv.csv\n  thawline forecast requests-per-minute.csv --season 24h --horizons 1m,10m --svg forecast.svg\n  thawline forecast my.yaml --step 30s --model mixture --model '{ ar: { lags: 5 } }'"
)]
pub struct ForecastArgs {
    /// A trace, a CSV file of times and values, or a scenario (.yaml), of which it is the workload; plain or gzip
    #[arg(value_name = "TRACE")]
    pub file: PathBuf,
    /// From one value to the next [default: 1m for requests, as its rows for values]
    #[arg(long, value_name = "DURATION")]
    pub step: Option<SimDuration>,
    /// The season, 0s for none [default: 24h where three of them fit]
    #[arg(long, value_name = "DURATION")]
    pub season: Option<SimDuration>,
    /// How far ahead, several with commas between [default: 1 step and 10 steps]
    #[arg(long, value_name = "DURATIONS", value_delimiter = ',')]
    pub horizons: Vec<SimDuration>,
    /// Quantiles, ascending; coverage is that of the first to the last
    #[arg(long, value_name = "P", value_delimiter = ',', default_values_t = [0.1, 0.5, 0.9])]
    pub quantiles: Vec<f64>,
    /// A model to try, by its name or as a scenario's `forecaster`; may be given several times [default: all]
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Vec<String>,
    /// What is only learned from [default: two seasons, a tenth of the trace at least]
    #[arg(long, value_name = "DURATION")]
    pub warm_up: Option<SimDuration>,
    /// From one value to the next in a file of values without times
    #[arg(long, value_name = "DURATION")]
    pub period: Option<SimDuration>,
    /// The unit of times that are plain numbers [default: s]
    #[arg(long, value_enum)]
    pub time_unit: Option<NumberUnit>,
    /// Draw the first series, and the last model's forecasts at the longest horizon, into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// What is printed on stdout
    #[arg(long, value_enum, default_value = "text")]
    pub format: ForecastFormat,
    /// Write a value, itself YAML, over the scenario; may be given several times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
}

/// `profile`.
#[derive(Debug, ClapArgs)]
pub struct ProfileArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ProfileCommand,
}

/// The commands of `profile`.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// List the profiles that are shipped
    List,
    /// Show a profile with the provenance of each figure
    Show {
        /// A file, or the name of a shipped profile
        #[arg(value_name = "PROFILE")]
        profile: String,
    },
    /// Check a profile file
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// `completions`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Example:\n  thawline completions bash > ~/.local/share/bash-completion/completions/thawline"
)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `calibrate`.
#[derive(Debug, ClapArgs)]
#[command(disable_help_flag = true)]
pub struct CalibrateArgs {
    /// Handed over as they are; `thawline calibrate --help` asks thawline-calibrate itself
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn simulate_takes_its_options() {
        let args = Args::try_parse_from([
            "thawline",
            "simulate",
            "s.yaml",
            "--jobs",
            "8",
            "--seed",
            "7",
            "--set",
            "a.b=1",
            "--set",
            "c=2",
            "--lenient",
        ]);
        let Command::Simulate(args) = args.unwrap().command else { panic!("simulate") };
        assert_eq!((args.jobs, args.seed, args.sets.len()), (Some(8), Some(7), 2));
        assert!(args.lenient && !args.exit_zero);
        assert!(Args::try_parse_from(["thawline", "simulate", "s.yaml", "--jobs", "0"]).is_err());
    }

    #[test]
    fn calibrate_hands_everything_over() {
        let args = Args::try_parse_from(["thawline", "calibrate", "--help", "-x", "profile"]).unwrap();
        let Command::Calibrate(args) = args.command else { panic!("calibrate") };
        assert_eq!(args.arguments, ["--help", "-x", "profile"]);
    }
}
