//! A profile fitted to one run of a real server predicts another run of it: other arrival times,
//! lengths and concurrency. `docs/validation.md` holds the figures.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod common;

use std::path::{Path, PathBuf};

use common::{Planned, Server};
use thawline::outcome::RunOutcome;
use thawline::profile::Profile;
use thawline::{scenario, sim};
use thawline_calibrate::fit::{Fitted, Options, differences, fit};
use thawline_calibrate::raw::{self, Load, RawFile, Record, RequestSample, Series};

/// The run that is fitted, and those that are predicted.
const FITTED: &str = "llama-cpp-cpu";
const PREDICTED: [&str; 2] = ["llama-cpp-cpu-b", "llama-cpp-cpu-c"];

/// The bar: relative errors of the median ITL and of the 95th percentile of TTFT.
const ITL_P50: f64 = 0.10;
const TTFT_P95: f64 = 0.20;

fn profiles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles")
}

fn read(name: &str) -> RawFile {
    raw::read(&profiles().join(format!("{name}.raw.jsonl"))).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn fitted() -> Fitted {
    fit(&[read(FITTED)], &Options::default()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

#[test]
fn the_committed_profile_is_what_its_raw_samples_give() {
    let name = format!("{FITTED}.yaml");
    let text = std::fs::read_to_string(profiles().join(&name)).unwrap();
    let (written, _) = Profile::from_yaml(&name, &text).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(differences(&written, &fitted().profile), Vec::<String>::new());
}

/// The figures of a series, s; throughput in output tokens/s.
#[derive(Clone, Copy, Debug)]
struct Figures {
    itl_p50: f64,
    itl_p95: f64,
    ttft_p50: f64,
    ttft_p95: f64,
    tokens_per_s: f64,
}

fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (q * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

/// A server that holds back half a letter sends the first token of such a text late, and fewer events
/// than tokens: these requests load the server, and tell no latencies.
fn is_held_back(request: &RequestSample) -> bool {
    request.output_tokens.unwrap() as f64 > 1.2 * request.events_ns.len() as f64
}

/// Without the first request of each client of a closed series, in the order sent: which of these share
/// a step is a matter of microseconds, and of a few dozen requests they would be the tail.
fn after_the_rush(load: Load, mut requests: Vec<&RequestSample>) -> Vec<&RequestSample> {
    requests.sort_by_key(|r| r.sent_ns);
    match load {
        Load::Closed { clients } => requests.split_off(clients as usize),
        _ => requests,
    }
}

fn seen_by_the_client(requests: &[&RequestSample]) -> Figures {
    let secs = |ns: u64| ns as f64 / 1e9;
    let itl = || -> Vec<f64> {
        let plain = requests.iter().filter(|r| !is_held_back(r));
        let gaps = plain.flat_map(|r| r.events_ns.windows(2).map(|w| secs(w[1] - w[0])));
        gaps.collect()
    };
    let ttft = || -> Vec<f64> {
        requests.iter().filter(|r| !is_held_back(r)).map(|r| secs(r.events_ns[0] - r.sent_ns)).collect()
    };
    let begin = requests.iter().map(|r| r.sent_ns).min().unwrap();
    let end = requests.iter().filter_map(|r| r.events_ns.last().copied()).max().unwrap();
    let tokens: u64 = requests.iter().filter_map(|r| r.output_tokens).sum();
    Figures {
        itl_p50: quantile(itl(), 0.5),
        itl_p95: quantile(itl(), 0.95),
        ttft_p50: quantile(ttft(), 0.5),
        ttft_p95: quantile(ttft(), 0.95),
        tokens_per_s: tokens as f64 / secs(end - begin),
    }
}

/// The same requests at the same times through `thawline simulate`: one replica, the server's limits.
fn simulated(profile: &Profile, requests: &[&RequestSample], server: &RawFile) -> Figures {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("profile.yaml", &thawline::yaml::write(&serde_json::to_value(profile).unwrap(), None));
    let mut sorted = requests.to_vec();
    sorted.sort_by_key(|r| r.sent_ns);
    let row = |r: &&RequestSample| {
        format!("{},{},{}\n", r.sent_ns, r.prompt_tokens.unwrap(), r.output_tokens.unwrap())
    };
    write("trace.csv", &("arrival,prompt,output\n".to_owned() + &sorted.iter().map(row).collect::<String>()));
    let setting = |name: &str| server.header.settings.get(name).and_then(serde_json::Value::as_u64);
    let limit = |key: &str| setting(key).map(|n| format!(", {key}: {n}")).unwrap_or_default();
    write(
        "scenario.yaml",
        &format!(
            "name: replay\nprofile: profile.yaml\nworkload:\n  csv:\n    file: trace.csv\n    \
             columns: {{ arrival: arrival, promptTokens: prompt, outputTokens: output }}\n    time: {{ unit: ns }}\n\
             engine: {{ continuous: {{ maxNumSeqs: {}, maxNumBatchedTokens: {}{} }} }}\n\
             gateway: {{ requestTimeout: 0s }}\ncluster: {{ pools: {{ hosts: {{ gpusPerNode: 1, maxNodes: 1, pricePerGpuHour: $1 }} }} }}\n\
             policies: {{ one: {{ fixed: {{ replicas: 1 }} }} }}\nreplications: 1\n",
            setting("maxNumSeqs").unwrap(),
            setting("maxNumBatchedTokens").unwrap(),
            limit("kvCacheTokens"),
        ),
    );
    let scenario =
        scenario::load(&folder.path().join("scenario.yaml"), &[]).unwrap_or_else(|f| panic!("{f:?}"));
    let resolved = scenario::resolve(&scenario, false).unwrap_or_else(|f| panic!("{f:?}"));
    let outcome: RunOutcome =
        sim::run(&resolved.simulation, resolved.policies["one"].build(&resolved.simulation.setting), 0, None)
            .unwrap()
            .0;
    assert_eq!(outcome.latency.ttft.count() as usize, requests.len());
    let of = |latency: &thawline::outcome::latency::Latency, q| latency.quantile(q).unwrap().as_secs_f64();
    let tokens: u64 = requests.iter().filter_map(|r| r.output_tokens).sum();
    Figures {
        itl_p50: of(&outcome.latency.itl, 0.5),
        itl_p95: of(&outcome.latency.itl, 0.95),
        ttft_p50: of(&outcome.latency.ttft, 0.5),
        ttft_p95: of(&outcome.latency.ttft, 0.95),
        tokens_per_s: tokens as f64 / outcome.run_end.as_secs_f64(),
    }
}

/// The same clients in a closed loop on the simulator's engine: a client sends when its last request
/// ends, as it did. Replayed at the times they were sent, requests would overlap less on an engine
/// that is a little faster, and steps of fewer sequences are faster again.
fn closed_loop(profile: &Profile, load: Load, requests: &[&RequestSample], server: &RawFile) -> Figures {
    let setting = |name: &str| server.header.settings[name].as_u64().unwrap() as u32;
    let engine = Server::new(profile, setting("maxNumSeqs"), setting("maxNumBatchedTokens"));
    let mut sorted = requests.to_vec();
    sorted.sort_by_key(|r| r.sent_ns);
    let planned = |r: &&RequestSample| Planned {
        due_ns: r.sent_ns,
        prompt: r.prompt_tokens.unwrap() as u32,
        output: r.output_tokens.unwrap() as u32,
    };
    let seen = engine.serve(0, load, &sorted.iter().map(planned).collect::<Vec<_>>());
    seen_by_the_client(&after_the_rush(load, seen.iter().collect()))
}

fn name(load: Load) -> String {
    match load {
        Load::Closed { clients } => format!("{clients} clients"),
        Load::Poisson { per_second } => format!("Poisson, {per_second:.3}/s"),
        Load::Prompts => "prompts alone".to_owned(),
        Load::First { run } => format!("first requests of start {run}"),
    }
}

fn row(what: &str, requests: usize, real: Figures, simulated: Figures) -> String {
    let cell = |unit: &str, scale: f64, real: f64, simulated: f64| {
        format!(
            " {:.1} / {:.1} {unit} ({:+.1} %) |",
            real * scale,
            simulated * scale,
            (simulated / real - 1.0) * 100.0
        )
    };
    format!(
        "| {what} | {requests} |{}{}{}{}{}",
        cell("ms", 1e3, real.itl_p50, simulated.itl_p50),
        cell("ms", 1e3, real.itl_p95, simulated.itl_p95),
        cell("ms", 1e3, real.ttft_p50, simulated.ttft_p50),
        cell("ms", 1e3, real.ttft_p95, simulated.ttft_p95),
        cell("tokens/s", 1.0, real.tokens_per_s, simulated.tokens_per_s),
    )
}

#[test]
fn a_profile_of_one_run_predicts_others() {
    let profile = fitted().profile;
    let page = std::fs::read_to_string(profiles().join("../docs/validation.md")).unwrap_or_default();
    let (mut short, mut lacking): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for run in PREDICTED {
        let server = read(run);
        let series =
            server.records.iter().filter_map(|r| if let Record::Series(s) = r { Some(s) } else { None });
        let series: Vec<&Series> = series.filter(|s| !matches!(s.load, Load::First { .. })).collect();
        assert_eq!(series.len(), 3, "{run}: two closed series and an open one");
        for one in series {
            let requests = requests_of(&server, one.series);
            assert!(requests.iter().all(|r| r.error.is_none() && !r.events_ns.is_empty()), "{one:?}");
            let real = seen_by_the_client(&after_the_rush(one.load, requests.clone()));
            let predicted = match one.load {
                Load::Poisson { .. } => simulated(&profile, &requests, &server),
                load => closed_loop(&profile, load, &requests, &server),
            };
            let what = format!("{run}, {}", name(one.load));
            let row = row(&what, requests.len(), real, predicted);
            println!("{row}");
            if !page.contains(&row) {
                lacking.push(row);
            }
            let misses = |real: f64, predicted: f64, bar: f64| (predicted / real - 1.0).abs() > bar;
            if misses(real.itl_p50, predicted.itl_p50, ITL_P50) {
                short.push(format!("{what}: median ITL"));
            }
            if misses(real.ttft_p95, predicted.ttft_p95, TTFT_P95) {
                short.push(format!("{what}: p95 TTFT"));
            }
        }
    }
    assert_eq!(lacking, Vec::<String>::new(), "docs/validation.md lacks rows");
    assert_eq!(short, Vec::<String>::new(), "short of the bar");
}

fn requests_of(file: &RawFile, series: u32) -> Vec<&RequestSample> {
    let requests =
        file.records.iter().filter_map(|r| if let Record::Request(r) = r { Some(r) } else { None });
    requests.filter(|r| r.series == series).collect()
}
