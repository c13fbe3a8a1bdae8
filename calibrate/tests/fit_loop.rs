//! The loop closes: a profile is simulated, a client measures the simulated engine, `fit` makes a
//! profile of what it saw, and that profile is the one it began with.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod common;

use common::{Planned, Server, calibration_run, header, poisson};
use thawline::kernel::SimDuration;
use thawline::profile::Profile;
use thawline_calibrate::fit::{Options, fit};
use thawline_calibrate::raw::{Done, Kind, Load, RawFile, Record, RequestSample, Series};

const TRUTH: &str = "
schemaVersion: 1
name: truth
description: what the simulated engine takes
model: a model
engine: { name: an engine, version: 1 }
gpu: { name: a GPU, count: 1, memory: 80G }
startUp:
  - { stage: weightLoad, time: { value: 5s, provenance: assumed, note: a test } }
stepTime:
  decode:
    fit:
      value: { baseMs: 8, perSequenceUs: 400, perKvTokenNs: 200, hinges: [{ aboveBatch: 8, perSequenceUs: 900 }] }
      provenance: assumed
      note: a test
  prefill:
    maxPlanes:
      value: { planes: [{ baseMs: 8.4, perTokenUs: 20 }, { baseMs: 3, perTokenUs: 90, perWorkNs: 10 }] }
      provenance: assumed
      note: a test
hostOverhead:
  perRequest: { value: 5ms, provenance: assumed, note: a test }
";

fn truth() -> Profile {
    Profile::from_yaml("truth.yaml", TRUTH).unwrap().0
}

fn options() -> Options {
    Options { start_up: Some(SimDuration::from_secs(5)), ..Options::default() }
}

/// Jitter of arrivals at the client, as a loaded host has it.
fn with_jitter(mut file: RawFile, share: f64) -> RawFile {
    let mut draws = common::Draws::new(5);
    for record in &mut file.records {
        let Record::Request(request) = record else { continue };
        let gap = request.events_ns.windows(2).map(|w| w[1] - w[0]).min().unwrap_or(0) as f64;
        for event in &mut request.events_ns {
            *event += (gap * share * draws.next()) as u64;
        }
        request.events_ns.sort_unstable();
    }
    file
}

#[track_caller]
fn assert_within(what: &str, fitted: f64, true_: f64, share: f64) {
    assert!((fitted / true_ - 1.0).abs() <= share, "{what}: {fitted} fitted, {true_} true");
}

#[test]
fn the_profile_behind_a_server_comes_back() {
    let truth = truth();
    let server = Server::new(&truth, 16, 2048);
    let file = with_jitter(calibration_run(&server, &[1, 2, 4, 8, 12, 16], 1), 0.05);
    let fitted = fit(&[file], &options()).unwrap();
    let (was, is) = (truth.step_cost(16).unwrap(), fitted.profile.step_cost(16).unwrap());
    for batch in [1, 2, 4, 8, 12, 16] {
        for context in [100, 500, 1000] {
            let kv = u64::from(batch) * context;
            let at = |cost: &thawline::profile::StepCost| cost.decode_cell(batch, kv).time_fs(kv) as f64;
            assert_within(&format!("decode {batch} x {context}"), at(&is), at(&was), 0.03);
        }
    }
    // TTFT alone: the host's time and prefill together, and each by itself.
    // Lengths that were measured (late by the jitter, up to 2 %), and some between, where a grid cuts the corner.
    for (tokens, share) in [(16, 0.02), (100, 0.05), (256, 0.02), (700, 0.03), (1500, 0.03), (2048_u64, 0.02)]
    {
        let ttft = |profile: &Profile, cost: &thawline::profile::StepCost| {
            profile.per_request().as_secs_f64() * 1e15 + cost.mixed_fs(0, 0, tokens, tokens * tokens).0 as f64
        };
        assert_within(&format!("TTFT of {tokens}"), ttft(&fitted.profile, &is), ttft(&truth, &was), share);
    }
    let per_request = fitted.profile.per_request().as_secs_f64();
    assert_within("time of the host per request", per_request, 5e-3, 0.1);
    let spec = fitted.profile.step_time.as_ref().unwrap().decode.fit.as_ref().unwrap();
    assert!(spec.value.hinges.iter().any(|h| h.above_batch == 8), "{:?}", spec.value.hinges);
    assert!(spec.value.errors.unwrap().mape < 0.03);
}

/// The same requests against the true and the fitted profile: the figures that users ask for agree.
#[test]
fn the_fitted_profile_predicts_another_run() {
    let truth = truth();
    let fitted =
        fit(&[calibration_run(&Server::new(&truth, 16, 2048), &[1, 2, 4, 8, 12, 16], 1)], &options())
            .unwrap();
    let planned: Vec<Planned> = poisson(4.0, 60.0, 9);
    let load = Load::Poisson { per_second: 4.0 };
    let run = |profile: &Profile| Server::new(profile, 16, 2048).serve(0, load, &planned);
    let (was, is) = (run(&truth), run(&fitted.profile));
    assert_within("median ITL", quantile(itls(&is), 0.5), quantile(itls(&was), 0.5), 0.03);
    assert_within("p95 ITL", quantile(itls(&is), 0.95), quantile(itls(&was), 0.95), 0.05);
    assert_within("p95 TTFT", quantile(ttfts(&is), 0.95), quantile(ttfts(&was), 0.95), 0.05);
}

fn itls(requests: &[RequestSample]) -> Vec<f64> {
    requests.iter().flat_map(|r| r.events_ns.windows(2).map(|w| (w[1] - w[0]) as f64)).collect()
}

fn ttfts(requests: &[RequestSample]) -> Vec<f64> {
    requests.iter().map(|r| (r.events_ns[0] - r.sent_ns) as f64).collect()
}

fn quantile(mut values: Vec<f64>, p: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * p) as usize]
}

#[test]
fn the_same_bytes_give_the_same_profile_and_an_open_end_is_flagged() {
    let mut file = calibration_run(&Server::new(&truth(), 16, 2048), &[1, 4, 8], 3);
    let once = fit(&[file.clone()], &options()).unwrap();
    assert_eq!(once, fit(&[file.clone()], &options()).unwrap());
    assert!(once.profile.description.ends_with("Flags: incomplete."), "{}", once.profile.description);
    file.records.push(Record::Done(Done { seconds: 1.0 }));
    let complete = fit(&[file], &options()).unwrap();
    assert!(!complete.profile.description.contains("Flags"), "{}", complete.profile.description);
    let decode = |p: &Profile| p.step_time.clone();
    assert_eq!(decode(&complete.profile), decode(&once.profile));
}

#[test]
fn a_poor_fit_is_refused_unless_allowed() {
    // Steps whose time has nothing to do with their size.
    let mut draws = common::Draws::new(2);
    let mut file = calibration_run(&Server::new(&truth(), 16, 2048), &[1, 4, 8], 3);
    for record in &mut file.records {
        let Record::Request(request) = record else { continue };
        let scale = 0.3 + 3.0 * draws.next();
        let sent = request.sent_ns;
        for event in &mut request.events_ns {
            *event = sent + ((*event - sent) as f64 * scale) as u64;
        }
    }
    let refused = fit(&[file.clone()], &options()).unwrap_err();
    assert!(refused.iter().all(|f| f.code == "E0708"), "{refused:?}");
    let allowed = fit(&[file], &Options { allow_poor_fit: true, ..options() }).unwrap();
    let worst = allowed.report.quality.iter().filter_map(|q| q.errors).map(|e| e.mape).fold(0.0, f64::max);
    assert!(worst > 0.1, "{:?}", allowed.report.quality);
}

#[test]
fn what_cannot_be_determined_is_named_with_what_measures_it() {
    let mut file = RawFile { header: header(Kind::Server), records: vec![], torn_bytes: 7 };
    file.header.gpu = None;
    let faults = fit(&[file.clone()], &Options::default()).unwrap_err();
    let said: Vec<&str> = faults.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(said, ["no raw file names the GPUs of a replica", "nothing tells how long a start takes"]);
    assert!(faults.iter().all(|f| f.code == "E0707" && f.help[0].contains("--")), "{faults:?}");

    file.header.gpu = header(Kind::Server).gpu;
    file.records.push(Record::Series(Series { series: 0, load: Load::Prompts }));
    let bare = fit(&[file], &options()).unwrap();
    assert_eq!((bare.profile.step_time, bare.profile.host_overhead), (None, None));
    assert!(bare.report.flags.iter().any(|f| f.flag == "torn"), "{:?}", bare.report.flags);
}
