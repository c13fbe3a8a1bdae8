//! Workloads as a scenario writes them.

use super::*;
use crate::workload::{Request, stats};
use crate::yaml;
use proptest::prelude::*;
use std::path::PathBuf;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

const CONV: &str = "azure: { file: scenarios/traces/azure_llm_2023_conv.csv }";

fn read(text: &str) -> Result<WorkloadSpec, Vec<yaml::Diagnostic>> {
    yaml::read(&yaml::Document::parse("scenario.yaml", text)?)
}

fn spec(yaml: &str) -> WorkloadSpec {
    read(yaml).unwrap()
}

fn loaded(yaml: &str) -> LoadedWorkload {
    load(&spec(yaml), &root(), 7).unwrap()
}

fn pass(workload: &LoadedWorkload, replication: u64) -> Vec<Request> {
    workload.source.requests(&Streams::new(7, replication)).collect()
}

fn faults(yaml: &str) -> Vec<(String, String)> {
    let faults = load(&spec(yaml), &root(), 7).unwrap_err();
    faults.into_iter().map(|f| (f.field, f.message)).collect()
}

#[test]
fn a_trace_is_the_same_in_every_replication() {
    let workload = loaded(CONV);
    assert_eq!(workload.requests, RequestCount::Exact(19_366));
    assert!(workload.traffic_is_fixed && !workload.is_reconstruction);
    assert_eq!(workload.description, "azure_llm_2023_conv");
    assert_eq!(pass(&workload, 0), pass(&workload, 1));
    assert_eq!(workload.warnings, Vec::<String>::new());
}

#[test]
fn rate_scales_do_what_they_say() {
    let check = |scale: &str, count: std::ops::RangeInclusive<u64>, span: f64, description: &str| {
        let workload = loaded(&format!("{CONV}\nrateScale: {scale}"));
        let requests = pass(&workload, 0);
        assert!(count.contains(&(requests.len() as u64)), "{scale}: {}", requests.len());
        assert_eq!(workload.requests, RequestCount::Exact(requests.len() as u64));
        assert!(requests.is_sorted_by_key(|r| r.arrival));
        assert!((workload.span.unwrap().as_secs_f64() - span).abs() < 1.0, "{scale}: {:?}", workload.span);
        assert_eq!(workload.description, description);
        assert_eq!(requests, pass(&workload, 3), "{scale} is fixed");
    };
    check(
        "{ superpose: 8 }",
        154_928..=154_928,
        3502.0,
        "azure_llm_2023_conv ×8 superposed, CV 1.09 -> 1.02",
    );
    check("{ thin: 0.25 }", 4_600..=5_100, 3502.0, "azure_llm_2023_conv thinned to 25%, CV 1.09 -> 1.09");
    check("{ compress: 4 }", 19_366..=19_366, 875.5, "azure_llm_2023_conv ×4 compressed");
}

#[test]
fn windows_and_turns_follow_the_order_of_the_manual() {
    let workload = loaded(&format!("{CONV}\nwindow: {{ from: 5m, to: 20m }}\nrepeat: 2"));
    let all = pass(&loaded(CONV), 0);
    let inside = |r: &&Request| (300.0..1200.0).contains(&r.arrival.as_secs_f64());
    let expected = all.iter().filter(inside).count() as u64;
    assert_eq!(workload.requests, RequestCount::Exact(2 * expected));
    assert_eq!(workload.span, Some(SimDuration::from_secs(1800)));
    let requests = pass(&workload, 0);
    let (first, second) = requests.split_at(expected as usize);
    for (a, b) in first.iter().zip(second) {
        assert_eq!(b.arrival - a.arrival, SimDuration::from_secs(900));
        assert_eq!((a.prompt_tokens, a.output_tokens), (b.prompt_tokens, b.output_tokens));
    }
    // A window without an end keeps the last request too.
    let rest = loaded(&format!("{CONV}\nwindow: {{ from: 5m }}"));
    let late = all.iter().filter(|r| r.arrival.as_secs_f64() >= 300.0).count();
    assert_eq!(pass(&rest, 0).len(), late);
}

#[test]
fn resampling_changes_the_traffic_of_each_replication() {
    let workload = loaded(&format!("{CONV}\nresample: {{ block: 5m }}"));
    assert!(!workload.traffic_is_fixed);
    assert_ne!(pass(&workload, 0), pass(&workload, 1));
    let count = pass(&workload, 0).len() as f64;
    assert!((count / 19_366.0 - 1.0).abs() < 0.2, "{count}");
}

const POISSON: &str = "poisson: { rate: 10 }\nlengths: { constant: { promptTokens: 100, outputTokens: 10 } }";

#[test]
fn synthetic_traffic_is_drawn_anew() {
    let workload = loaded(&format!("{POISSON}\nduration: 10m"));
    assert_eq!(workload.requests, RequestCount::Expected(6000.0));
    assert_eq!(workload.description, "Poisson 10 requests/s");
    assert_ne!(pass(&workload, 0), pass(&workload, 1));
    assert_eq!(pass(&workload, 1), pass(&workload, 1));
    let superposed = loaded(&format!("{POISSON}\nduration: 10m\nrateScale: {{ superpose: 3 }}"));
    assert_eq!(pass(&superposed, 0).len(), 3 * pass(&workload, 0).len());
}

#[test]
fn parts_follow_each_other_with_draws_of_their_own() {
    let part = POISSON.replace('\n', ", ");
    let workload = loaded(&format!(
        "concatenate: [ {{ {part}, duration: 1m }}, {{ {part}, duration: 1m }}, {{ {CONV} }} ]"
    ));
    assert_eq!(workload.description, "Poisson 10 requests/s + Poisson 10 requests/s + azure_llm_2023_conv");
    let requests = pass(&workload, 0);
    assert!(requests.is_sorted_by_key(|r| r.arrival));
    let within = |from: f64| {
        let offset = move |r: &Request| r.arrival.as_secs_f64() - from;
        requests.iter().map(offset).filter(|t| (0.0..60.0).contains(t)).collect::<Vec<f64>>()
    };
    assert_ne!(within(0.0), within(60.0));
    assert_eq!(requests.iter().filter(|r| r.arrival.as_secs_f64() >= 120.0).count(), 19_366);
}

#[test]
fn empirical_lengths_keep_pairs_of_the_trace() {
    let workload =
        loaded(&format!("poisson: {{ rate: 50 }}\nduration: 10m\nlengths: {{ empirical: {{ {CONV} }} }}"));
    let trace = loaded(CONV);
    let known: std::collections::BTreeSet<(u32, u32)> =
        pass(&trace, 0).iter().map(|r| (r.prompt_tokens, r.output_tokens)).collect();
    assert!(pass(&workload, 0).iter().all(|r| known.contains(&(r.prompt_tokens, r.output_tokens))));
    let median = stats(workload.source.as_ref(), &Streams::new(7, 0)).prompt_tokens.p50;
    assert!((900..1100).contains(&median), "{median}");
}

const PROMETHEUS: &str = "prometheus:
  requestRate: tests/fixtures/workload/prometheus_rate.json
  promptTokens: { mean: tests/fixtures/workload/prometheus_prompt_mean.json }
  outputTokens: { buckets: tests/fixtures/workload/prometheus_output_buckets.json }";

#[test]
fn prometheus_answers_become_a_likely_traffic() {
    let workload = loaded(PROMETHEUS);
    assert!(workload.is_reconstruction && !workload.traffic_is_fixed);
    // 29 steps of 60 s: 10 at 8.5 requests/s, 19 at 2.5, and one without a sample.
    assert_eq!(workload.requests, RequestCount::Expected(60.0 * (10.0 * 8.5 + 19.0 * 2.5)));
    assert_eq!(workload.span, Some(SimDuration::from_secs(1800)));
    assert_eq!(workload.warnings.len(), 3, "{:?}", workload.warnings);
    let (mut busy, mut total, mut outputs, mut prompts) = (0, 0.0_f64, vec![], 0.0_f64);
    for replication in 0..10 {
        for r in pass(&workload, replication) {
            busy += u32::from((600.0..1200.0).contains(&r.arrival.as_secs_f64()));
            total += 1.0;
            prompts += f64::from(r.prompt_tokens);
            outputs.push(r.output_tokens);
            assert!(
                !(1500.0..1560.0).contains(&r.arrival.as_secs_f64()),
                "the step without a sample is idle"
            );
        }
    }
    assert!((f64::from(busy) / 51_000.0 - 1.0).abs() < 0.02, "{busy}");
    assert!((total / 79_500.0 - 1.0).abs() < 0.02, "{total}");
    assert!((prompts / total / 800.0 - 1.0).abs() < 0.03, "{}", prompts / total);
    outputs.sort_unstable();
    let median = outputs[outputs.len() / 2];
    assert!((98..=102).contains(&median) && outputs[outputs.len() - 1] == 200, "{median}");
}

#[test]
fn the_digest_depends_on_content_and_settings_but_not_on_paths() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("elsewhere.csv");
    std::fs::copy(root().join("scenarios/traces/azure_llm_2023_code.csv"), &path).unwrap();
    let here = loaded("azure: { file: scenarios/traces/azure_llm_2023_code.csv }").digest;
    let there = load(&spec("azure: { file: elsewhere.csv }"), dir.path(), 7).unwrap().digest;
    assert_eq!((here.as_str(), here.len()), (there.as_str(), 64));
    let other = loaded("azure: { file: scenarios/traces/azure_llm_2023_code.csv }\nrepeat: 2").digest;
    assert_ne!(here, other);
    assert_ne!(here, loaded(CONV).digest);
}

#[test]
fn all_faults_of_a_section_are_reported_at_once() {
    let check = |yaml: &str, expected: &[(&str, &str)]| {
        let found = faults(yaml);
        assert_eq!(found.len(), expected.len(), "{yaml}: {found:?}");
        for ((place, message), (at, words)) in found.iter().zip(expected) {
            assert_eq!(place, at, "{yaml}: {message}");
            assert!(message.contains(words), "{yaml}: {message}");
        }
    };
    check("{}", &[("", "no source")]);
    check(&format!("{CONV}\npoisson: {{ rate: 1 }}"), &[("poisson", "2 sources: azure, poisson")]);
    check(&format!("{CONV}\nduration: 5m"), &[("duration", "belongs to synthetic")]);
    check(
        "azure: { file: nowhere.csv }\nrepeat: 0",
        &[("azure.file", "cannot be read"), ("repeat", "1 to 100,000")],
    );
    check("azure: { file: src }", &[("azure.file", "it is a directory")]);
    check(
        "poisson: { rate: -1 }",
        &[("poisson.rate", "-1"), ("poisson", "needs an end"), ("poisson", "`lengths`")],
    );
    check(&format!("{CONV}\nrateScale: {{ thin: 1.5 }}"), &[("rateScale.thin", "between 0 and 1")]);
    check(&format!("{CONV}\nrateScale: {{ superpose: 0 }}"), &[("rateScale.superpose", "1 to 10,000")]);
    check(&format!("{CONV}\nrateScale: {{ compress: 0 }}"), &[("rateScale.compress", "0.001")]);
    check(&format!("{CONV}\nwindow: {{ from: 2h }}"), &[("window", "the workload ends at")]);
    check(&format!("{CONV}\nwindow: {{ from: 2m, to: 1m }}"), &[("window", "ends after it begins")]);
    check(&format!("{CONV}\nresample: {{ block: 3h }}"), &[("resample.block", "at most the workload")]);
    check(&format!("{POISSON}\nduration: 1m\nresample: {{ block: 1s }}"), &[("resample", "drawn anew")]);
    check(&format!("{POISSON}\nrequests: 10\nrepeat: 2"), &[("repeat", "`duration`")]);
    check("concatenate: []", &[("concatenate", "empty list")]);
    check("concatenate: [ {} ]", &[("concatenate[0]", "no source")]);
    let json = "tests/fixtures/workload/gateway_log.jsonl";
    check(
        &format!(
            "prometheus: {{ requestRate: {json}, promptTokens: {{ constant: 0 }}, outputTokens: {{ constant: 9 }} }}"
        ),
        &[
            ("prometheus.requestRate", "no answer of query_range"),
            ("prometheus.promptTokens", "at least one token"),
        ],
    );
}

#[test]
fn a_streamed_trace_goes_through_transforms_unchanged() {
    let with_room = |room: usize| {
        let section = spec(&format!("{CONV}\nwindow: {{ from: 1m }}\nrateScale: {{ superpose: 3 }}"));
        let mut loader = Loader {
            base_dir: &root(),
            fixed: Streams::new(7, 0),
            entity: 0,
            packed_up_to: room,
            faults: Vec::new(),
            warnings: Vec::new(),
            doubts: Vec::new(),
            digest: Sha256::new(),
        };
        loader.load(&section).unwrap()
    };
    let (packed, streamed) = (with_room(PACKED_UP_TO), with_room(1000));
    assert_eq!(pass(&packed, 0), pass(&streamed, 5));
    assert_eq!(packed.digest, streamed.digest);
    assert_eq!(packed.requests, streamed.requests);
}

#[test]
fn specs_are_written_as_they_are_read() {
    let check = |yaml: &str| {
        let section = spec(yaml);
        let written = yaml::write(&serde_json::to_value(&section).unwrap(), None);
        assert_eq!(spec(&written), section, "{written}");
    };
    check(&format!(
        "{CONV}\nwindow: {{ from: 5m, to: 20m }}\nrateScale: {{ superpose: 8 }}\nrepeat: 2\nresample: {{ block: 5m }}"
    ));
    check(PROMETHEUS);
    check(
        "spike: { baseRate: 1, peakRate: 9, from: 1m, for: 30s, spacing: even }\nduration: 5m\nlengths: { lognormal: { promptTokens: { median: 100, p95: 300 }, outputTokens: { median: 10, p95: 30, max: 99 } } }",
    );
    check("piecewise: { steps: [ { for: 1m, rate: 2, toRate: 4 } ] }");
    check("onOff: { onRate: 9, on: 10s, off: 1m }");
    for bad in
        ["azur: {}", "azure: { file: x, files: y }", "poisson: { rate: 1, cv: 2 }", "rateScale: { grow: 2 }"]
    {
        assert!(read(bad).is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn no_answer_of_prometheus_makes_the_reader_panic(
        times in proptest::collection::vec((-1e3f64..1e19, "(NaN|[+-]?Inf|-?[0-9]{1,4}(\\.[0-9])?|x)"), 0..5),
        le in "(\\+Inf|NaN|[0-9]{1,3}|)", mangled in 0usize..400,
    ) {
        let values = serde_json::to_string(&times).unwrap();
        let mut text = format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"le":"{le}"}},"values":{values}}}]}}}}"#);
        if mangled < 200 && text.is_char_boundary(mangled) {
            text.truncate(mangled);
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.json"), text).unwrap();
        let section = spec("prometheus: { requestRate: a.json, promptTokens: { mean: a.json }, outputTokens: { buckets: a.json } }");
        if let Ok(workload) = load(&section, dir.path(), 1) {
            let few: Vec<Request> = workload.source.requests(&Streams::new(1, 0)).take(100).collect();
            prop_assert!(few.is_sorted_by_key(|r| r.arrival));
        }
    }
}
