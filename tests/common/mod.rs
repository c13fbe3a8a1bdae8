//! What the tests of the program share: running it, and a scenario small enough to run often.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;

/// Runs `thawline` in a directory.
pub fn thawline(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("thawline").expect("the binary is built with its tests");
    // Where these tests themselves run in a workflow, what they run must not write into its summary.
    command.env_remove("GITHUB_ACTIONS").env_remove("GITHUB_STEP_SUMMARY");
    command.current_dir(directory).args(arguments).output().expect("it runs")
}

/// Runs it and expects an exit code; returns (stdout, stderr).
pub fn expect(directory: &Path, arguments: &[&str], code: i32) -> (String, String) {
    let output = thawline(directory, arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is UTF-8");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

/// A minute of traffic on a replica so small that it preempts and splits prompts over steps.
pub const SMALL: &str = "\
name: small
profile: l40s-llama3.1-8b-vllm
workload:
  poisson: { rate: 4 }
  duration: 60s
  lengths:
    lognormal:
      promptTokens: { median: 600, p95: 1500, max: 1900 }
      outputTokens: { median: 100, p95: 300, max: 400 }
engine: { continuous: { maxNumBatchedTokens: 256, maxNumSeqs: 16, kvCacheTokens: 6400 } }
cluster: { pools: { gpu: { gpusPerNode: 1, maxNodes: 4, pricePerGpuHour: $1 } } }
slo: { ttft: 20s, tpot: 200ms }
policies:
  one: { fixed: { replicas: 1 } }
  hpa:
    hpa:
      minReplicas: 2
      maxReplicas: 4
      metrics:
        - type: Pods
          pods: { metric: { name: vllm:num_requests_waiting }, target: { type: AverageValue, averageValue: 2 } }
replications: 2
";

/// Writes the small scenario, with more lines, into a directory.
pub fn write_small(directory: &Path, more: &str) {
    fs::write(directory.join("small.yaml"), format!("{SMALL}{more}")).expect("a fresh directory takes files");
}

/// The names of what lies in a directory, in order.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is there");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("it is there").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
