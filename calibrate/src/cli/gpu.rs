//! `gpu`: measures a model's steps, start-up and weight load on this host's device.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::progress::Terminal;
use super::{Answer, Exit, console};
use crate::gpu::fresh::{self, Launcher};
use crate::gpu::plan::{self, Options};
use crate::gpu::{Kind, Shape, config, shape};
use crate::{Fault, Result, fault};

const EXAMPLES: &str = "Examples:
  thawline-calibrate gpu                                   Llama-3-8B on GPU 0, under 5 minutes
  thawline-calibrate gpu --quick --shape qwen2.5-7b        under a minute
  thawline-calibrate gpu --model-dir ~/models/my-model     its config.json and its weight files
  thawline-calibrate gpu --config config.json --tensor-parallel 4
  thawline-calibrate gpu --backend cpu --shape tiny --quick

What is measured is in the raw file at once. After a kill the same command goes on with it.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GpuArgs {
    /// What to measure on.
    #[arg(long, value_enum, default_value_t = BackendArg::Cuda)]
    backend: BackendArg,
    /// A built-in shape: llama-3-8b, qwen2.5-7b, llama-3-70b-tp4, qwen2.5-0.5b, tiny.
    /// Default: llama-3-8b on a GPU, tiny on a CPU.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["config", "model_dir"])]
    shape: Option<String>,
    /// The `config.json` of a model.
    #[arg(long, value_name = "FILE", conflicts_with = "model_dir")]
    config: Option<PathBuf>,
    /// A model's directory: its `config.json`, and its *.safetensors files for the weight load.
    #[arg(long, value_name = "DIR")]
    model_dir: Option<PathBuf>,
    /// Measure one GPU's share of a model split over so many.
    #[arg(long, value_name = "N", default_value_t = 1)]
    tensor_parallel: u32,
    /// Fewer points and samples: under a minute.
    #[arg(long)]
    quick: bool,
    /// Number of the GPU.
    #[arg(long, value_name = "N", default_value_t = 0)]
    device: u32,
    /// Share of the GPU's memory an engine would use.
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = parse_share)]
    gpu_utilization: f64,
    /// The raw file. Default: the profile's name with `.raw.jsonl`, here.
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    /// Name of the profile. Default: of the model and the device.
    #[arg(long)]
    name: Option<String>,
    /// Where random weights are written, and removed again. Default: the system's folder for
    /// temporary files, which is often not the disk that models lie on.
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Most bytes of weights that are written and loaded. Default: 4 GiB, with --quick 512 MiB.
    #[arg(long, value_name = "BYTES")]
    weight_bytes: Option<thawline::kernel::Bytes>,
    /// Longest time one point may take before the run is given up, s.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    point_limit: u64,
}

/// What the program asks itself in a fresh process; not for people.
#[derive(Args)]
pub(super) struct FirstUseArgs {
    #[arg(long, value_enum)]
    backend: BackendArg,
    #[arg(long)]
    device: u32,
    probe: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BackendArg {
    /// An NVIDIA GPU; its driver and libraries are looked for at run time.
    Cuda,
    /// This CPU: the same plan with real work, for hosts without a GPU.
    Cpu,
}

impl BackendArg {
    const fn kind(self) -> Kind {
        match self {
            Self::Cuda => Kind::Cuda,
            Self::Cpu => Kind::Cpu,
        }
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if share > 0.0 && share <= 1.0 { Ok(share) } else { Err("a share is above 0 and at most 1".to_owned()) }
}

pub(super) fn run(args: &GpuArgs) -> Answer {
    let options = args.options()?;
    // The device's name is the file's; without a device this says what is missing.
    let device = plan::identify(&options)?;
    let raw = match &args.raw {
        Some(path) => path.clone(),
        None => PathBuf::from(format!("{}.raw.jsonl", plan::header(&options, &device).name)),
    };
    let progress = Terminal::new(Duration::from_secs(args.point_limit), &raw);
    let measured = plan::measure(&options, &device, &raw, &progress);
    progress.finish();
    let log = measured.map_err(|faults| not_lost(faults, &raw))?;
    let flags = log.flags().map(|f| Fault::warning("W0701", format!("{}: {}", f.flag, f.message)));
    console::report(&flags.collect::<Vec<_>>());
    console::print(&format!(
        "measured {} in {:.0} s: {} records in {}\nroofline: {:.1} GB/s, {:.3} TFLOP/s ({})\n",
        options.shape.name,
        log.elapsed_s(),
        log.records().len(),
        raw.display(),
        device.bandwidth / 1e9,
        device.flops / 1e12,
        device.roofline_source,
    ));
    console::print(&format!("next: thawline-calibrate fit {} --out PROFILE.yaml\n", raw.display()));
    Ok(Exit::Success)
}

/// Answers a question of the parent process with one line.
pub(super) fn first_use(args: &FirstUseArgs) -> Answer {
    let answer = fresh::answer(args.backend.kind(), args.device, &fresh::parse(&args.probe)?)?;
    let line = serde_json::to_string(&answer).map_err(|e| fault("E0709", format!("no answer: {e}")))?;
    console::print(&format!("{line}\n"));
    Ok(Exit::Success)
}

/// Tells the reader of a failure what is left of the measurement.
fn not_lost(mut faults: Vec<Fault>, raw: &Path) -> Vec<Fault> {
    let kept = faults.iter().any(|f| f.code == "E0709") && raw.exists();
    if let (true, Some(last)) = (kept, faults.last_mut()) {
        last.help
            .push(format!("what was measured is in {}; the same command goes on with it", raw.display()));
    }
    faults
}

impl GpuArgs {
    fn options(&self) -> Result<Options> {
        let program = std::env::current_exe()
            .map_err(|e| fault("E0709", format!("cannot find this program to start it again: {e}")))?;
        let backend = self.backend.kind().name();
        let device = self.device.to_string();
        let arguments = ["gpu-first-use", "--backend", backend, "--device", &device];
        let largest = if self.quick { 512 << 20 } else { 4 << 30 };
        Ok(Options {
            kind: self.backend.kind(),
            device: self.device,
            shape: self.shape()?.split(self.tensor_parallel)?,
            quick: self.quick,
            utilization: self.gpu_utilization,
            model_dir: self.model_dir.clone(),
            work_dir: self.work_dir.clone().unwrap_or_else(std::env::temp_dir),
            weight_bytes: self.weight_bytes.map_or(largest, |bytes| bytes.0).max(1),
            name: self.name.clone(),
            launcher: Launcher {
                program,
                arguments: arguments.map(Into::into).to_vec(),
                limit: Duration::from_secs(if self.quick { 60 } else { 120 }),
            },
        })
    }

    fn shape(&self) -> Result<Shape> {
        let (file, named) = match (&self.config, &self.model_dir) {
            (Some(file), _) => (file.clone(), file.parent().unwrap_or(Path::new(""))),
            (None, Some(folder)) => (folder.join("config.json"), folder.as_path()),
            (None, None) => return self.built_in(),
        };
        let folder_name = named.file_name().map(|name| name.to_string_lossy().into_owned());
        config::read_config(&file, &folder_name.unwrap_or_else(|| "model".to_owned()))
    }

    fn built_in(&self) -> Result<Shape> {
        let default = if self.backend == BackendArg::Cpu { "tiny" } else { "llama-3-8b" };
        let name = self.shape.as_deref().unwrap_or(default);
        shape::built_in(name).ok_or_else(|| {
            let names = shape::BUILT_IN.map(|(name, _)| name);
            let text = format!("there is no shape `{name}`; there are {}", names.join(", "));
            let help = "any other model: --config its config.json";
            vec![Fault::error("E0710", text).helped(help)]
        })
    }
}
