//! `server`: measures a running or launched OpenAI-compatible server.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use thawline::kernel::Bytes;
use thawline::profile::schema::{EngineVersion, Gpu};

use super::{Answer, Exit, console};
use crate::server::process::Line;
use crate::server::{Access, Endpoint, Identity, Job, Launch, Lengths, Limits, Part, Plan, Watch, run};
use crate::{Fault, Result};

const EXAMPLES: &str = "\
Examples:
  A vLLM that runs already:
    thawline-calibrate server --url http://localhost:8000 --name h100-llama3-8b-vllm \\
      --gpu 'H100 SXM' --gpu-memory 80Gi

  Start-up as well, twice from a cold page cache and twice from a warm one:
    thawline-calibrate server --url http://localhost:8000 --name h100-llama3-8b-vllm \\
      --launch 'vllm serve /models/llama-3-8b --port 8000' --weights /models/llama-3-8b

  Then:
    thawline-calibrate fit h100-llama3-8b-vllm.raw.jsonl

A run that was interrupted goes on where it stopped when the same command is given again.";

/// What to measure, and on what.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServerArgs {
    /// Address of the server, such as http://localhost:8000.
    #[arg(long)]
    url: String,
    /// Name of the profile to be: lower case with dashes.
    #[arg(long)]
    name: String,
    /// Raw file to write [default: NAME.raw.jsonl].
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    identity: IdentityArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Starting the server")]
struct StartArgs {
    /// Start the server with this shell command, and end it afterwards.
    #[arg(long, value_name = "COMMAND")]
    launch: Option<String>,
    /// Starts with the weights dropped from the page cache [default: 2 with --weights, else 0].
    #[arg(long, value_name = "N", requires = "launch")]
    cold: Option<u32>,
    /// Starts with the weights in the page cache.
    #[arg(long, value_name = "N", default_value_t = 2, requires = "launch")]
    warm: u32,
    /// Files or directories of the weights, to be dropped from the page cache or read into it.
    #[arg(long, value_name = "PATH", requires = "launch")]
    weights: Vec<PathBuf>,
    /// How long a start may take, s.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800.0, value_parser = positive)]
    start_timeout: f64,
    /// Keep what the launched servers write, each start in FILE.0, FILE.1, ..
    #[arg(long, value_name = "FILE", requires = "launch")]
    log: Option<PathBuf>,
}

#[derive(Args)]
#[command(next_help_heading = "Requests")]
struct LoadArgs {
    /// Parts to run [default: all]; `none` only starts the server.
    #[arg(long, value_delimiter = ',', value_name = "PART", value_parser = ["prompts", "closed", "poisson", "none"])]
    only: Vec<String>,
    /// Requests right after each start, one after the other.
    #[arg(long, value_name = "N", default_value_t = Plan::default().first_requests, value_parser = clap::value_parser!(u32).range(1..))]
    first_requests: u32,
    /// Prompt lengths, tokens, one request at a time [default: 16 doubled up to 2048].
    #[arg(long, value_delimiter = ',', value_name = "TOKENS")]
    prompt_tokens: Vec<u32>,
    /// Requests of each prompt length.
    #[arg(long, value_name = "N", default_value_t = Plan::default().repeats)]
    repeats: u32,
    /// Tokens that each of these requests generates.
    #[arg(long, value_name = "TOKENS", default_value_t = Plan::default().prompt_output_tokens, value_parser = clap::value_parser!(u32).range(1..))]
    prompt_output_tokens: u32,
    /// Numbers of clients [default: 1 doubled until the throughput stops growing].
    #[arg(long, value_delimiter = ',', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    clients: Vec<u32>,
    /// Where doubling the clients ends.
    #[arg(long, value_name = "N", default_value_t = Plan::default().max_clients, value_parser = clap::value_parser!(u32).range(1..=2000))]
    max_clients: u32,
    /// Requests of each client.
    #[arg(long, value_name = "N", default_value_t = Plan::default().requests_per_client, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests_per_client: u32,
    /// Prompts under load, tokens: a number or a range, drawn uniformly.
    #[arg(long, value_name = "MIN..MAX", default_value_t = Plan::default().load_prompt_tokens)]
    load_prompt_tokens: Lengths,
    /// Answers under load, tokens: a number or a range, drawn uniformly.
    #[arg(long, value_name = "MIN..MAX", default_value_t = Plan::default().load_output_tokens)]
    load_output_tokens: Lengths,
    /// Poisson rates, requests a second [default: a share of the throughput with the most clients].
    #[arg(long, value_delimiter = ',', value_name = "RATE", value_parser = positive)]
    rate: Vec<f64>,
    /// That share.
    #[arg(long, value_name = "SHARE", default_value_t = Plan::default().rate_share, value_parser = positive)]
    rate_share: f64,
    /// How long each Poisson series sends, s.
    #[arg(long, value_name = "SECONDS", default_value_t = Plan::default().poisson_seconds, value_parser = positive)]
    duration: f64,
    /// Seed of lengths and arrivals.
    #[arg(long, default_value_t = Plan::default().seed)]
    seed: u64,
    /// End after so long, s, with what is there by then.
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    time_budget: Option<f64>,
}

#[derive(Args)]
#[command(next_help_heading = "How to ask")]
struct AskArgs {
    /// Use /v1/chat/completions [default: /v1/completions, where there is one].
    #[arg(long)]
    chat: bool,
    /// The model to ask for [default: the first of /v1/models].
    #[arg(long, value_name = "ID")]
    served_model: Option<String>,
    /// Environment variable that holds the API key, if the server wants one.
    #[arg(long, value_name = "VARIABLE", default_value = "OPENAI_API_KEY")]
    api_key_env: String,
    /// A request that gets nothing for so long has failed, s.
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0, value_parser = positive)]
    stall_timeout: f64,
    /// Take each event with text for a token if the server counts none; the raw file is flagged.
    #[arg(long)]
    count_events: bool,
}

#[derive(Args)]
#[command(next_help_heading = "What it runs on")]
struct IdentityArgs {
    /// The model, with its precision [default: the server's name for it].
    #[arg(long)]
    model: Option<String>,
    /// Engine and version [default: what the server says].
    #[arg(long, num_args = 2, value_names = ["NAME", "VERSION"])]
    engine: Vec<String>,
    /// GPU model, such as `H100 SXM`.
    #[arg(long, value_name = "NAME", requires = "gpu_memory")]
    gpu: Option<String>,
    /// GPUs of a replica.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    gpu_count: u32,
    /// Memory of each, such as 80Gi.
    #[arg(long, value_name = "BYTES", requires = "gpu")]
    gpu_memory: Option<Bytes>,
    /// GPU driver version.
    #[arg(long, value_name = "VERSION")]
    driver: Option<String>,
    /// The kind of machine: instance type, CPU, storage. Not its name.
    #[arg(long)]
    host: Option<String>,
    /// Bytes of the weights on all GPUs, such as 15Gi.
    #[arg(long, value_name = "BYTES")]
    weights_bytes: Option<Bytes>,
    /// KV cache of one token, bytes.
    #[arg(long, value_name = "BYTES", value_parser = positive)]
    kv_bytes_per_token: Option<f64>,
    /// KV cache, tokens.
    #[arg(long, value_name = "TOKENS")]
    kv_cache_tokens: Option<u64>,
    /// Sequences the engine runs at a time.
    #[arg(long, value_name = "N")]
    max_num_seqs: Option<u64>,
    /// Tokens of one engine step.
    #[arg(long, value_name = "TOKENS")]
    max_num_batched_tokens: Option<u64>,
    /// Longest prompt and answer together, tokens.
    #[arg(long, value_name = "TOKENS")]
    context: Option<u64>,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| *n > 0.0 && *n <= 1e12);
    number.ok_or_else(|| "write a number above 0".to_owned())
}

impl ServerArgs {
    fn job(&self) -> Job {
        let (start, ask) = (&self.start, &self.ask);
        let seconds = Duration::from_secs_f64;
        let launch = start.launch.clone().map(|command| Launch {
            command,
            cold: start.cold.unwrap_or(if start.weights.is_empty() { 0 } else { 2 }),
            warm: start.warm,
            weights: start.weights.clone(),
            limit: seconds(start.start_timeout),
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Job {
            access: Access {
                url: self.url.clone(),
                api_key: std::env::var(&ask.api_key_env).ok().filter(|key| !key.is_empty()),
                endpoint: ask.chat.then_some(Endpoint::Chat),
                stall: seconds(ask.stall_timeout),
            },
            served_model: ask.served_model.clone(),
            launch,
            plan: self.load.plan(),
            identity: self.identity.identity(self.name.clone()),
            raw: self.raw.clone().unwrap_or_else(|| format!("{}.raw.jsonl", self.name).into()),
            time_budget: self.load.time_budget.map(seconds),
            count_events: ask.count_events,
            salt: now.as_nanos() as u64,
        }
    }
}

impl LoadArgs {
    fn plan(&self) -> Plan {
        let chosen = |part: &Part| self.only.is_empty() || self.only.iter().any(|word| word == part.word());
        let default = Plan::default();
        Plan {
            parts: Part::ALL.into_iter().filter(chosen).collect(),
            first_requests: self.first_requests,
            prompt_tokens: if self.prompt_tokens.is_empty() {
                default.prompt_tokens
            } else {
                self.prompt_tokens.clone()
            },
            prompt_output_tokens: self.prompt_output_tokens,
            repeats: self.repeats,
            clients: self.clients.clone(),
            max_clients: self.max_clients,
            requests_per_client: self.requests_per_client,
            load_prompt_tokens: self.load_prompt_tokens,
            load_output_tokens: self.load_output_tokens,
            rates: self.rate.clone(),
            rate_share: self.rate_share,
            poisson_seconds: self.duration,
            seed: self.seed,
        }
    }
}

impl IdentityArgs {
    fn identity(&self, name: String) -> Identity {
        let gpu = self.gpu.clone().zip(self.gpu_memory);
        Identity {
            name,
            model: self.model.clone(),
            engine: match self.engine.as_slice() {
                [name, version] => Some(EngineVersion { name: name.clone(), version: version.clone() }),
                _ => None,
            },
            host: self.host.clone(),
            gpu: gpu.map(|(name, memory)| Gpu { name, count: self.gpu_count, memory }),
            driver: self.driver.clone(),
            limits: Limits {
                max_num_seqs: self.max_num_seqs,
                max_num_batched_tokens: self.max_num_batched_tokens,
                kv_cache_tokens: self.kv_cache_tokens,
                context_tokens: self.context,
            },
            weights_bytes: self.weights_bytes.map(|bytes| bytes.0),
            kv_bytes_per_token: self.kv_bytes_per_token,
        }
    }
}

pub(super) fn run_server(arguments: &ServerArgs) -> Answer {
    let job = arguments.job();
    let mut watch = Progress::new();
    let (summary, logs) = run(&job, &mut watch);
    watch.end();
    let kept = arguments.start.log.as_ref().map_or(Ok(()), |path| keep(path, &logs));
    let summary = summary.map_err(|mut faults| {
        faults.extend(kept.clone().err().into_iter().flatten());
        faults
    })?;
    kept?;
    let raw = job.raw.display();
    console::print(&format!("{raw}: {} requests measured\n", summary.requests));
    for flag in &summary.flags {
        console::print(&format!("  {}: {}\n", flag.flag, flag.message));
    }
    console::print(&format!("fit them: thawline-calibrate fit {raw}\n"));
    Ok(Exit::Success)
}

/// Writes each start's log beside the others.
fn keep(path: &std::path::Path, logs: &[Vec<Line>]) -> Result<()> {
    for (run, log) in logs.iter().enumerate() {
        let path = format!("{}.{run}", path.display());
        let text: String = log.iter().map(|line| format!("{}\n", line.text)).collect();
        std::fs::write(&path, text)
            .map_err(|e| vec![Fault::error("E0402", format!("cannot write {path}: {e}"))])?;
    }
    Ok(())
}

/// Progress on stderr: a bar where somebody looks, else a line for each series.
struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Progress {
    fn begin(&mut self, what: &str, requests: usize) {
        let Some(bar) = &self.bar else { return console::remark(what) };
        let template =
            if requests == 0 { "{spinner} {msg} {elapsed}" } else { "{msg} {wide_bar} {pos}/{len} {eta}" };
        bar.set_style(
            ProgressStyle::with_template(template).expect("the template is a constant that parses"),
        );
        bar.set_length(requests as u64);
        bar.reset();
        bar.set_message(what.to_owned());
    }

    fn step(&mut self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(format!("  {text}")),
            None => console::remark(&format!("  {text}")),
        }
    }
}
