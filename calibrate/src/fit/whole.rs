//! Parts put together into a profile, and the last look at the whole before anybody gets it.

use thawline::kernel::Distribution;
use thawline::profile::schema::{
    EngineVersion, Gpu, HostOverhead, MeasuredRange, SCHEMA_VERSION, Stage, StartUpStage, StepTimeSpec,
    Validation,
};
use thawline::profile::{Profile, Severity};

use super::cross;
use super::parts::{Origin, Part, assumed};
use super::points::Spread;
use super::report::FitReport;
use super::{Fitted, MAPE_MAX, Options};
use crate::raw::{Kind, MixedSample, RawFile};
use crate::{Fault, Result};

pub(super) fn compose(files: &[RawFile], mut parts: Vec<Part>, options: &Options) -> Result<Fitted> {
    let mut faults = Vec::new();
    let head = &files[0].header;
    let model = options.model.clone().or_else(|| files.iter().find_map(|f| f.header.model.clone()));
    let gpu = options.gpu.clone().or_else(|| files.iter().find_map(|f| f.header.gpu.clone()));
    if model.is_none() {
        faults.push(too_little("no raw file names the model", "give `--model \"NAME PRECISION\"`"));
    }
    if gpu.is_none() {
        let help = "give `--gpu NAME --gpus COUNT --gpu-memory BYTES` of one replica";
        faults.push(too_little("no raw file names the GPUs of a replica", help));
    }
    let mut report = FitReport::default();
    for part in &mut parts {
        report.quality.append(&mut part.quality);
        report.flags.append(&mut part.flags);
        report.notes.append(&mut part.notes);
    }
    let start_up = start_up(&parts, options, &mut report);
    if start_up.is_empty() {
        let help = "measure it (`server --launch`, `import` of start-up logs, `pull`), or assume it: `--assume-start-up 90s`";
        faults.push(too_little("nothing tells how long a start takes", help));
    }
    if !options.allow_poor_fit {
        faults.extend(poor(&report));
    }
    let (Some(model), Some(gpu), true) = (model, gpu, faults.is_empty()) else { return Err(faults) };
    let step_time = step_time(&parts, &mut report);
    let mut profile = Profile {
        schema_version: SCHEMA_VERSION,
        name: options.name.clone().unwrap_or_else(|| head.name.clone()),
        description: String::new(),
        model,
        engine: files.iter().find_map(|f| f.header.engine.clone()).unwrap_or_else(unknown_engine),
        host: files.iter().find_map(|f| f.header.host.clone()),
        gpu,
        driver: files.iter().find_map(|f| f.header.driver.clone()),
        start_up,
        image: parts.iter().find_map(|p| p.image.clone()),
        first_requests: parts.iter().find_map(|p| p.first_requests.clone()),
        sleep: None,
        step_time,
        host_overhead: parts.iter().find_map(|p| p.host.clone()).filter(|h| *h != HostOverhead::default()),
        memory: parts.iter().find_map(|p| p.memory.clone()),
        cpu: None,
        price_per_gpu_hour: None,
        validation: parts.iter().flat_map(|p| p.validation.clone()).collect(),
    };
    sound_grids(&mut profile, &mut report);
    mixed_steps(&parts, files, &mut profile, &mut report);
    profile.description = description(&profile, files, &report);
    let refused: Vec<Fault> = profile
        .check()
        .into_iter()
        .filter(|f| f.severity == Severity::Error)
        .map(|f| too_little(format!("the fitted profile is not sound: {}: {}", f.path, f.message), &f.help))
        .collect();
    if refused.is_empty() { Ok(Fitted { profile, report }) } else { Err(refused) }
}

fn too_little(message: impl Into<String>, help: &str) -> Fault {
    Fault::error("E0707", message).helped(help)
}

fn unknown_engine() -> EngineVersion {
    EngineVersion { name: "unknown".to_owned(), version: "unknown".to_owned() }
}

fn poor(report: &FitReport) -> Vec<Fault> {
    let poor = report.quality.iter().filter_map(|q| Some((q, q.errors.filter(|e| e.mape > MAPE_MAX)?)));
    poor.map(|(quality, errors)| {
        let message = format!(
            "{}: points that were held out are missed by {:.1} % on average (p95 {:.1} %, worst {:.1} %)",
            quality.what,
            errors.mape * 100.0,
            errors.p95 * 100.0,
            errors.max * 100.0
        );
        Fault::error("E0708", message)
            .helped("measure on a quiet host, or write it with its errors: `--allow-poor-fit`")
    })
    .collect()
}

/// For each stage the first file that has it; the order is that of stages.
fn start_up(parts: &[Part], options: &Options, report: &mut FitReport) -> Vec<StartUpStage> {
    let mut stages: Vec<StartUpStage> = Vec::new();
    for part in parts {
        let seen: Vec<Stage> = stages.iter().map(|s| s.stage).collect();
        stages.extend(part.start_up.iter().filter(|s| !seen.contains(&s.stage)).cloned());
    }
    stages.sort_by_key(|s| s.stage);
    if let (true, Some(time)) = (stages.is_empty(), options.start_up) {
        let time = assumed(
            Distribution::Constant(time),
            "Given by whoever fitted the profile; nothing was measured.",
        );
        stages.push(StartUpStage { stage: Stage::RuntimeInit, label: None, time, cached: None });
    }
    let missing: Vec<&str> =
        [Stage::ImagePull, Stage::ContainerStart, Stage::RuntimeInit, Stage::WeightLoad, Stage::WarmUp]
            .into_iter()
            .filter(|stage| stages.iter().all(|s| s.stage != *stage))
            .map(Stage::label)
            .collect();
    if !missing.is_empty() {
        report.notes.push(format!("start-up: nothing known of {}", missing.join(", ")));
    }
    stages
}

fn step_time(parts: &[Part], report: &mut FitReport) -> Option<StepTimeSpec> {
    let decode = parts.iter().find_map(|p| p.decode.clone());
    let prefill = parts.iter().find_map(|p| p.prefill.clone());
    match (decode, prefill) {
        (Some((decode, batch, kv_tokens)), Some((prefill, prefill_tokens))) => Some(StepTimeSpec {
            decode,
            prefill,
            linear_layers: parts.iter().find_map(|p| p.linear_layers.clone()),
            measured: Some(MeasuredRange { batch, kv_tokens, prefill_tokens: prefill_tokens.max(1) }),
        }),
        (decode, prefill) => {
            let known = [(decode.is_some(), "decode"), (prefill.is_some(), "prefill")];
            let lacking: Vec<&str> =
                known.iter().filter(|(known, _)| !known).map(|(_, what)| *what).collect();
            report.notes.push(format!(
                "step times: left out, nothing determines {}; the `continuous` engine needs them",
                lacking.join(" or ")
            ));
            None
        }
    }
}

/// Takes out a grid that the profile's own check refuses, if a fit can stand in for it.
fn sound_grids(profile: &mut Profile, report: &mut FitReport) {
    let errors = |profile: &Profile, path: &str| -> Option<String> {
        let fault =
            profile.check().into_iter().find(|f| f.severity == Severity::Error && f.path.starts_with(path));
        fault.map(|f| f.message)
    };
    let mut flag = |what: &str, why: &str| {
        let message = format!("{what}: the measured grid is left out, {why}");
        report.flags.push(crate::raw::Flag { flag: "grid".to_owned(), message });
    };
    if let Some(why) = errors(profile, "stepTime.decode.grid")
        && let Some(spec) = profile.step_time.as_mut().filter(|s| s.decode.fit.is_some())
    {
        spec.decode.grid = None;
        flag("decode", &why);
    }
    if let Some(why) = errors(profile, "stepTime.prefill.grid")
        && let Some(spec) = profile.step_time.as_mut().filter(|s| s.prefill.max_planes.is_some())
    {
        spec.prefill.grid = None;
        flag("prefill", &why);
    }
}

/// Compares measured mixed steps with what the profile makes of them.
fn mixed_steps(parts: &[Part], files: &[RawFile], profile: &mut Profile, report: &mut FitReport) {
    let Some((part, file)) = parts.iter().zip(files).find(|(p, _)| !p.mixed.is_empty()) else { return };
    let most = part.mixed.iter().map(|m| m.batch).max().unwrap_or(1);
    let (Ok(cost), Some(rule)) = (profile.step_cost(most), profile.mixed_rule()) else { return };
    let error = |m: &MixedSample| {
        let measured = Spread::of_timing(&m.timing)?.median;
        let work_twice = m.tokens * (2 * m.context + m.tokens);
        let (predicted, _) = cost.mixed_fs(m.batch, m.kv_tokens, m.tokens, work_twice);
        Some(predicted as f64 / 1e9 / measured - 1.0)
    };
    let errors: Vec<f64> = part.mixed.iter().filter_map(error).collect();
    if let Some(summary) = cross::summary(&errors) {
        let bias = errors.iter().sum::<f64>() / errors.len() as f64;
        report.notes.push(format!(
            "mixed steps: predicted {:+.1} % off on average, {}",
            bias * 100.0,
            rule.label()
        ));
        profile.validation.push(Validation {
            quantity: "step that decodes and prefills".to_owned(),
            against: format!("{} measured mixed steps; {}", errors.len(), rule.label()),
            date: Origin::of(&file.header).date,
            errors: summary,
        });
    }
}

/// One or two sentences: what it is, how it was measured, how far to trust it.
fn description(profile: &Profile, files: &[RawFile], report: &FitReport) -> String {
    let Gpu { name, count, .. } = &profile.gpu;
    let mut ways: Vec<&str> = Vec::new();
    for file in files {
        let way = match file.header.kind {
            Kind::Gpu => "gpu",
            Kind::Server => "server",
            Kind::Pull => "pull",
            Kind::Import => "import",
        };
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    let date = Origin::of(&files[0].header).date;
    let engine = match &profile.engine {
        engine if *engine == unknown_engine() => String::new(),
        engine => format!(" with {} {}", engine.name, engine.version),
    };
    let ways = ways.join("`, `");
    let mut text = format!("{} on {count} x {name}{engine}: calibrated by `{ways}` on {date}", profile.model);
    let errors = report.quality.iter().filter_map(|q| Some((q.what, q.errors?)));
    let errors: Vec<String> =
        errors.map(|(what, e)| format!("{what} within {:.1} %", e.mape * 100.0)).collect();
    if !errors.is_empty() {
        text += &format!("; {} (mean error, cross-validated)", errors.join(", "));
    }
    text.push('.');
    let mut words: Vec<&str> = Vec::new();
    for flag in &report.flags {
        if !words.contains(&flag.flag.as_str()) {
            words.push(&flag.flag);
        }
    }
    if !words.is_empty() {
        text += &format!(" Flags: {}.", words.join(", "));
    }
    text
}
