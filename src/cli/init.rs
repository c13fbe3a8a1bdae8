//! `thawline init`: writes a commented scenario to start from, one that runs as it is.

use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use super::args::InitArgs;
use super::{Answer, Exit, console};
use crate::profile::{Profile, shipped};
use crate::promql::catalogue::{METRICS, Metric, Quantity};
use crate::scenario::{self, read_profile, workload_diagnostics};
use crate::sim::config::EngineExporter;
use crate::workload;
use crate::yaml::Diagnostic;

/// The profile where none is given: one GPU a replica, and a real cold start.
const PROFILE: &str = "h200-llama3.1-70b-fp8-vllm";

/// The trace where none is given and this one is at hand.
const TRACE: &str = "scenarios/traces/azure_llm_2023_conv.csv";

pub(super) fn run(args: &InitArgs) -> Answer {
    let out = &args.out;
    let shown = out.display().to_string();
    if out.symlink_metadata().is_ok() {
        let fault = Diagnostic::in_file("E0406", &shown, "there is something of that name already");
        return Err(vec![fault.helped("choose another name with `--out FILE`")]);
    }
    let directory = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (named, profile) = profile(args.profile.as_deref(), directory)?;
    let workload = workload(args.trace.as_deref(), directory)?;
    let text = Template { name: name(out), profile: &profile, named, workload }.text();
    // What is written runs, or the reason why it cannot is said now.
    let written = scenario::parse(&shown, &text, &[], directory.to_path_buf())?;
    scenario::resolve(&written, false)?;
    write_new(out, directory, &text)
        .map_err(|error| vec![Diagnostic::in_file("E0402", &shown, format!("cannot write it: {error}"))])?;
    console::print(&format!("wrote {shown}; next: thawline simulate {shown}\n"));
    Ok(Exit::Success)
}

/// Writes all of a file that is not there yet, or nothing.
fn write_new(path: &Path, directory: &Path, text: &str) -> std::io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".thawline-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

/// The profile, and how a scenario in `directory` names it.
fn profile(given: Option<&Path>, directory: &Path) -> Result<(String, Profile), Vec<Diagnostic>> {
    let named = given.map_or(PROFILE.to_owned(), |path| path.display().to_string());
    let (profile, warnings) =
        read_profile(&named, Path::new(""), |message| Diagnostic::error("E0401", message))?;
    console::report(&warnings);
    let written = match given {
        Some(path) if path.exists() => relative(path, directory)?,
        _ => named,
    };
    Ok((written, profile))
}

/// The lines of the `workload` section.
fn workload(given: Option<&Path>, directory: &Path) -> Result<String, Vec<Diagnostic>> {
    let default = Some(Path::new(TRACE)).filter(|trace| trace.is_file());
    let Some(trace) = given.or(default) else {
        return Ok(SYNTHETIC.to_owned());
    };
    let spec = workload::guess(&trace.to_string_lossy(), Path::new(""))
        .map_err(|faults| workload_diagnostics(None, &faults))?;
    let format = if spec.azure.is_some() { "azure" } else { "mooncake" };
    let file = relative(trace, directory)?;
    Ok(format!(
        "# It replays a trace request by request. `thawline trace stats FILE` describes one; for your own log\n\
         # see docs/your-own-trace.md. More of the same traffic: `rateScale: {{ superpose: 2 }}`.\n\
         workload:\n  {format}: {{ file: {file} }}\n"
    ))
}

const SYNTHETIC: &str = "\
# Made traffic: independent users, lognormal lengths. A trace of your own says more: see docs/your-own-trace.md.
workload:
  poisson: { rate: 5 }              # requests/s
  duration: 30m
  lengths:
    lognormal:
      promptTokens: { median: 1000, p95: 4000, max: 16000 }
      outputTokens: { median: 130, p95: 450, max: 1000 }
";

/// A path as a scenario in `directory` writes it, quoted for YAML where it must be.
fn relative(path: &Path, directory: &Path) -> Result<String, Vec<Diagnostic>> {
    let unreadable = |path: &Path, error: &std::io::Error| {
        vec![Diagnostic::in_file("E0401", &path.display().to_string(), error.to_string())]
    };
    let target = path.canonicalize().map_err(|error| unreadable(path, &error))?;
    let base = directory.canonicalize().map_err(|error| unreadable(directory, &error))?;
    let way = way(&target, &base);
    let text = way.to_str().ok_or_else(|| {
        let message = "a scenario is UTF-8 text and cannot hold this path";
        vec![Diagnostic::in_file("E0401", &path.display().to_string(), message)]
    })?;
    Ok(quoted(&if cfg!(windows) { text.replace('\\', "/") } else { text.to_owned() }))
}

/// From the directory `base` to `target`, both absolute.
fn way(target: &Path, base: &Path) -> PathBuf {
    let (to, from): (Vec<Component>, Vec<Component>) =
        (target.components().collect(), base.components().collect());
    let common = to.iter().zip(&from).take_while(|(a, b)| a == b).count();
    if common == 0 {
        // Another drive.
        return target.to_path_buf();
    }
    let up = from[common..].iter().map(|_| Component::ParentDir);
    up.chain(to[common..].iter().copied()).collect()
}

/// A text as a YAML scalar.
fn quoted(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/'));
    if plain && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.' || c == '/') {
        return text.to_owned();
    }
    // A JSON string is a YAML scalar.
    serde_json::to_string(text).expect("text is JSON")
}

/// A scenario's name, after its file.
fn name(out: &Path) -> String {
    let stem = out.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mapped: String = stem.chars().map(|c| if allowed(c) { c } else { '-' }).take(64).collect();
    let name = mapped.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "scenario".to_owned() } else { quoted(name) }
}

struct Template<'a> {
    name: String,
    named: String,
    profile: &'a Profile,
    workload: String,
}

impl Template<'_> {
    fn text(&self) -> String {
        let gpus = self.profile.gpu.count;
        let price = match &self.profile.price_per_gpu_hour {
            Some(price) => format!("pricePerGpuHour: {}        # the profile's; write yours", price.value),
            None => "pricePerGpuHour: $3.60        # an example; write yours".to_owned(),
        };
        format!(
            "# A scenario: traffic, a cluster, and the policies to compare on it.\n\
             # `thawline explain FIELD.PATH` documents each field (`thawline explain cluster.pools`),\n\
             # `thawline validate FILE` checks, `thawline simulate FILE` runs.\n\
             name: {name}\n\
             \n\
             # How quickly a replica starts and how long its steps take. {whence}\n\
             profile: {named}\n\
             \n\
             {workload}\
             {engine}\
             {telemetry}\
             \n\
             # The machines. Nodes are ordered when replicas find no room, and take `provision` to boot.\n\
             cluster:\n  pools:\n    gpu:\n      \
             gpusPerNode: {gpus}\n      \
             minNodes: 0\n      \
             maxNodes: 10\n      \
             {price}\n      \
             provision: {{ median: 90s, p95: 150s }}\n\
             \n\
             # What a breach is, per request: slower than any of these limits.\n\
             slo: {{ ttft: 2s, tpot: 60ms }}\n\
             \n\
             # Left a name of your own, right the kind of policy (`thawline explain policies`).\n\
             {policies}\
             \n\
             # What must hold for exit code 0; `thawline explain metrics` lists what a gate can bind.\n\
             # For some policies only: {{ gate: ttft.p99 < 2s, for: [warm-pool] }}.\n\
             gates: [ ttft.p99 < 2s, slo.breach < 5% ]\n\
             \n\
             # Each replication draws other boot times and start-up times, the same for every policy.\n\
             replications: 5\n\
             seed: 7\n",
            name = self.name,
            whence = if shipped::find(&self.named).is_some() {
                "A shipped one: `thawline profile show` tells more."
            } else {
                "The path is relative to this file."
            },
            named = self.named,
            workload = self.workload,
            engine = self.engine(),
            telemetry = self.telemetry(),
            policies = POLICIES.replace("QUEUE", &self.queue()),
        )
    }

    /// Whose metrics the engine publishes; a server that is none of those known is taken to publish vLLM's.
    fn exporter(&self) -> Option<EngineExporter> {
        EngineExporter::of_engine(&self.profile.engine.name)
    }

    fn telemetry(&self) -> &'static str {
        match self.exporter() {
            Some(_) => "",
            None => {
                "\n# Whose metrics the server publishes: the profile names no engine whose metrics are known.\n\
                 telemetry: { exporter: vllm }\n"
            }
        }
    }

    /// The series of requests that wait in the engine.
    fn queue(&self) -> String {
        let exporter = self.exporter().unwrap_or(EngineExporter::Vllm).exporter();
        let waits =
            |metric: &&Metric| metric.exporter == exporter && metric.quantity == Some(Quantity::Waiting);
        METRICS.iter().find(waits).map_or(String::new(), |metric| metric.name.to_owned())
    }

    /// Continuous batching needs step times; a profile without them gets workers.
    fn engine(&self) -> &'static str {
        if self.profile.step_time.is_some() {
            return "";
        }
        "\n# The profile has no step times: each replica serves as many requests at once as it has workers.\n\
         engine:\n  workers: { workers: 8, service: 2s }\n"
    }
}

const POLICIES: &str = "\
policies:
  fixed: { fixed: { replicas: 4 } }           # always on
  hpa:
    hpa:                                      # fields of a Kubernetes HorizontalPodAutoscaler (autoscaling/v2)
      minReplicas: 1
      maxReplicas: 8
      metrics:
        - type: Pods
          pods: { metric: { name: QUEUE }, target: { type: AverageValue, averageValue: 2 } }
  warm-pool:
    warmPool:                                 # loaded replicas to spare, over another policy
      spare: 1
      over:
        hpa:
          minReplicas: 1
          maxReplicas: 8
          metrics:
            - type: Pods
              pods: { metric: { name: QUEUE }, target: { type: AverageValue, averageValue: 2 } }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways() {
        let check = |target: &str, base: &str, expected: &str| {
            assert_eq!(way(Path::new(target), Path::new(base)), Path::new(expected), "{target} from {base}");
        };
        check("/a/b/c.csv", "/a/b", "c.csv");
        check("/a/b/c.csv", "/a/x/y", "../../b/c.csv");
        check("/c.csv", "/a", "../c.csv");
    }

    #[test]
    fn names_and_quotes() {
        assert_eq!(name(Path::new("x/my scenario!.yaml")), "my-scenario-");
        assert_eq!(name(Path::new("--.yaml")), "scenario");
        assert_eq!(name(Path::new("7.yaml")), "\"7\"");
        assert_eq!(quoted("../a-b/c_1.csv"), "../a-b/c_1.csv");
        assert_eq!(quoted("a: b#.csv"), "\"a: b#.csv\"");
    }
}
