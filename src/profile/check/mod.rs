//! What a well-formed profile may still get wrong: each fault with its path and its mend.
//!
//! Types are checked while the YAML is read; this looks at what the values mean together.

use super::schema::{FitErrors, Profile, SCHEMA_VERSION, SleepLevels};
use super::sourced::{Origin, Provenance, Sourced};

mod steps;

pub(super) use steps::first_step_time_error;

/// How bad a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The profile cannot be used.
    Error,
    /// It can; a reader should know.
    Warning,
}

/// One thing that is wrong with a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How bad.
    pub severity: Severity,
    /// Where, from the root of the profile: `startUp[0].time.source`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: String,
}

/// Collects faults.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, severity: Severity, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.0.push(Fault { severity, path: path.to_owned(), message: message.into(), help: help.into() });
    }

    fn error(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Error, path, message, help);
    }

    fn warn(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Warning, path, message, help);
    }

    fn require(&mut self, holds: bool, path: &str, message: impl Into<String>, help: &str) -> bool {
        if !holds {
            self.error(path, message, help);
        }
        holds
    }

    /// A coefficient: finite, not negative, and small enough for integer femtoseconds.
    fn coefficient(&mut self, path: &str, value: f64, most: f64) {
        self.require(
            value.is_finite() && (0.0..=most).contains(&value),
            path,
            format!("it is {value}, which is not between 0 and {most}"),
            "step times grow with work: fit with coefficients that are not negative",
        );
    }

    fn increasing<T: PartialOrd>(&mut self, path: &str, values: &[T], least: usize) -> bool {
        let enough = self.require(
            values.len() >= least,
            path,
            format!("it has {} entries and needs at least {least}", values.len()),
            "measure more points",
        );
        enough
            && self.require(
                values.windows(2).all(|w| w[0] < w[1]),
                path,
                "its values do not increase",
                "sort them, each once, and order the times alike",
            )
    }

    /// A table of positive times with the shape of its axes.
    fn table(&mut self, path: &str, times: &[Vec<f64>], rows: usize, columns: usize) -> bool {
        let shaped = times.len() == rows && times.iter().all(|row| row.len() == columns);
        let shape = format!("it is not {rows} rows of {columns} values");
        let shaped = self.require(shaped, path, shape, "one row for each entry of the first axis");
        let good = |t: &f64| t.is_finite() && *t > 0.0 && *t <= US_MAX;
        let positive = times.iter().flatten().all(good);
        let positive = self.require(
            positive,
            path,
            "it holds a time that is not positive",
            "a step takes time: drop the point or measure it again",
        );
        shaped && positive
    }

    fn fit_errors(&mut self, path: &str, errors: &FitErrors) {
        let ordered = 0.0 <= errors.mape && errors.mape <= errors.max && errors.p95 <= errors.max;
        self.require(
            ordered && errors.max.is_finite(),
            path,
            "mape and p95 must lie between 0 and max",
            "write them as fractions: 0.05 is 5 %",
        );
    }

    fn sourced<T>(&mut self, path: &str, sourced: &Sourced<T>) {
        self.origin(path, sourced.origin());
    }

    fn origin(&mut self, path: &str, origin: Origin<'_>) {
        let word = origin.provenance.label();
        let named = origin.source.is_some_and(|s| !s.trim().is_empty());
        if origin.provenance.needs_source() {
            self.require(
                named,
                path,
                format!("a {word} value names no source"),
                "add `source:`, or call it `assumed`",
            );
            self.require(
                origin.date.is_some(),
                path,
                format!("a {word} value has no date"),
                "add `date:`, when it was measured, published or retrieved",
            );
        } else if !named && origin.note.is_none() {
            self.warn(
                path,
                format!("a {word} value says nothing of where it comes from"),
                "add `source:` or `note:`",
            );
        }
    }
}

/// Ten minutes; no step takes longer.
const US_MAX: f64 = 6e8;

impl Profile {
    /// Everything that is wrong with it, errors and warnings, in the order of the file.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        faults.require(
            self.schema_version == SCHEMA_VERSION,
            "schemaVersion",
            format!("version {} is not known", self.schema_version),
            "this Thawline reads version 1",
        );
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        faults.require(
            !self.name.is_empty() && self.name.chars().all(plain),
            "name",
            format!("`{}` is not a profile name", self.name),
            "use lower-case letters, digits, dashes and dots",
        );
        faults.require(self.gpu.count > 0, "gpu.count", "a replica holds no GPU", "write 1 or more");
        faults.require(self.gpu.memory.0 > 0, "gpu.memory", "the GPU has no memory", "write e.g. 80G");
        check_start_up(self, &mut faults);
        check_image(self, &mut faults);
        if let Some(spec) = &self.step_time {
            steps::check(spec, &mut faults);
        }
        check_host(self, &mut faults);
        check_memory(self, &mut faults);
        if let Some(price) = &self.price_per_gpu_hour {
            faults.sourced("pricePerGpuHour", price);
            if price.date.is_none() && price.provenance != Provenance::Assumed {
                faults.warn("pricePerGpuHour", "the price has no date", "prices move: add `date:`");
            }
        }
        for (i, validation) in self.validation.iter().enumerate() {
            faults.fit_errors(&format!("validation[{i}].errors"), &validation.errors);
        }
        faults.0
    }
}

fn check_start_up(profile: &Profile, faults: &mut Faults) {
    let stages = &profile.start_up;
    faults.require(
        !stages.is_empty(),
        "startUp",
        "it has no stages",
        "list at least one; a replica that needs no time has `time: {value: 0s, ..}`",
    );
    for (i, stage) in stages.iter().enumerate() {
        faults.sourced(&format!("startUp[{i}].time"), &stage.time);
        if let Some(cached) = &stage.cached {
            faults.sourced(&format!("startUp[{i}].cached"), cached);
        }
        if i > 0 && stage.stage < stages[i - 1].stage {
            let (this, before) = (stage.stage.label(), stages[i - 1].stage.label());
            faults.error(
                &format!("startUp[{i}].stage"),
                format!("{this} comes after {before}"),
                "the order is imagePull, containerStart, runtimeInit, weightLoad, warmUp",
            );
        }
    }
    if let Some(penalties) = &profile.first_requests {
        faults.sourced("firstRequests", penalties);
    }
    for (level, times) in profile.sleep.iter().flat_map(SleepLevels::named) {
        let Some(times) = times else { continue };
        faults.sourced(&format!("sleep.{level}.wake"), &times.wake);
        if let Some(fall_asleep) = &times.fall_asleep {
            faults.sourced(&format!("sleep.{level}.fallAsleep"), fall_asleep);
        }
    }
}

fn check_image(profile: &Profile, faults: &mut Faults) {
    let Some(image) = &profile.image else { return };
    faults.sourced("image.layers", &image.layers);
    faults.sourced("image.pull", &image.pull);
    faults.require(
        !image.layers.value.is_empty(),
        "image.layers.value",
        "it has no layers",
        "list each layer",
    );
    let model = &image.pull.value;
    let path = "image.pull.value.connections";
    faults.require(
        model.connections > 0,
        path,
        "nothing is downloaded at a time",
        "containerd's default is 3",
    );
    let rates = [
        ("linkBytesPerSecond", model.link_bytes_per_second),
        ("connectionBytesPerSecond", model.connection_bytes_per_second),
        ("gzipBytesPerSecond", model.gzip_bytes_per_second),
        ("zstdBytesPerSecond", model.zstd_bytes_per_second),
        ("writeBytesPerSecond", model.write_bytes_per_second),
    ];
    for (name, rate) in rates {
        faults.require(
            rate.is_none_or(|bytes| bytes.0 > 0),
            &format!("image.pull.value.{name}"),
            "a rate of 0 never ends",
            "leave it out where it is no limit",
        );
    }
}

fn check_host(profile: &Profile, faults: &mut Faults) {
    if let Some(host) = &profile.host_overhead {
        let parts =
            [("perRequest", &host.per_request), ("perStep", &host.per_step), ("perToken", &host.per_token)];
        for (name, part) in parts {
            if let Some(sourced) = part {
                faults.sourced(&format!("hostOverhead.{name}"), sourced);
            }
        }
    }
    if let Some(cpu) = &profile.cpu {
        faults.sourced("cpu.idleCores", &cpu.idle_cores);
        faults.sourced("cpu.busyCores", &cpu.busy_cores);
        faults.require(
            cpu.idle_cores.value <= cpu.busy_cores.value,
            "cpu.busyCores.value",
            "a busy pod uses fewer cores than an idle one",
            "swap the two",
        );
    }
}

fn check_memory(profile: &Profile, faults: &mut Faults) {
    let Some(memory) = &profile.memory else { return };
    let parts = [
        ("weights", &memory.weights),
        ("kvBytesPerToken", &memory.kv_bytes_per_token),
        ("reservePerGpu", &memory.reserve_per_gpu),
    ];
    for (name, part) in parts {
        faults.sourced(&format!("memory.{name}"), part);
    }
    for (name, part) in &parts[..2] {
        faults.require(part.value.0 > 0, &format!("memory.{name}.value"), "it is 0 bytes", "write e.g. 16Gi");
    }
    let sound = profile.gpu.count > 0 && profile.gpu.memory.0 > 0 && memory.kv_bytes_per_token.value.0 > 0;
    if sound && let Err(error) = profile.kv_cache_tokens(1.0) {
        faults.error("memory", error.to_string(), "use more GPUs, larger ones, or a smaller precision");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Bytes, Quantity};
    use crate::profile::fixture::{self, assumed};
    use crate::profile::schema::CpuUse;

    fn errors(profile: &Profile) -> Vec<String> {
        let of = profile.check().into_iter().filter(|f| f.severity == Severity::Error);
        of.map(|f| format!("{}: {}", f.path, f.message)).collect()
    }

    #[test]
    fn a_sound_profile_has_no_errors_and_each_fault_is_found_where_it_is() {
        assert_eq!(errors(&fixture::profile()), Vec::<String>::new());
        let check = |change: &dyn Fn(&mut Profile), expected: &str| {
            let mut profile = fixture::profile();
            change(&mut profile);
            assert_eq!(errors(&profile), [expected]);
        };
        check(&|p| p.schema_version = 2, "schemaVersion: version 2 is not known");
        check(&|p| p.name = "My Profile".into(), "name: `My Profile` is not a profile name");
        check(&|p| p.gpu.count = 0, "gpu.count: a replica holds no GPU");
        check(&|p| p.gpu.memory = Bytes(0), "gpu.memory: the GPU has no memory");
        check(&|p| p.start_up.clear(), "startUp: it has no stages");
        check(&|p| p.start_up.swap(0, 1), "startUp[1].stage: image pull comes after weight load");
        check(
            &|p| {
                p.start_up[1].time.provenance = Provenance::Measured;
                p.start_up[1].time.source = Some("here".into());
            },
            "startUp[1].time: a measured value has no date",
        );
        check(
            &|p| {
                let price = &mut p.memory.as_mut().unwrap().weights;
                price.provenance = Provenance::Published;
                price.date = Some("2026-11-22".parse().unwrap());
            },
            "memory.weights: a published value names no source",
        );
        check(
            &|p| p.memory.as_mut().unwrap().kv_bytes_per_token.value = Bytes(0),
            "memory.kvBytesPerToken.value: it is 0 bytes",
        );
        check(
            &|p| {
                let cores = |text: &str| assumed(text.parse::<Quantity>().unwrap());
                p.cpu = Some(CpuUse { idle_cores: cores("2"), busy_cores: cores("500m") });
            },
            "cpu.busyCores.value: a busy pod uses fewer cores than an idle one",
        );
    }

    #[test]
    fn an_image_that_never_comes_is_refused() {
        let image = || {
            let text = "{layers: {value: [{compression: gzip, compressed: 1G, uncompressed: 2G, files: 9}], \
                        provenance: assumed}, pull: {value: {connections: 3, manifest: 1s, perRequest: 0s, \
                        linkBytesPerSecond: 100M, perFile: 20us, perLayer: 0s}, provenance: assumed}}";
            let document = crate::yaml::Document::parse("image", text).unwrap();
            crate::yaml::read::<crate::profile::image::ImageSpec>(&document).unwrap()
        };
        let check = |change: &dyn Fn(&mut crate::profile::image::ImageSpec), expected: &[&str]| {
            let mut profile = fixture::profile();
            let image = profile.image.insert(image());
            change(image);
            assert_eq!(errors(&profile), expected);
        };
        check(&|_| (), &[]);
        check(&|i| i.layers.value.clear(), &["image.layers.value: it has no layers"]);
        check(
            &|i| i.pull.value.connections = 0,
            &["image.pull.value.connections: nothing is downloaded at a time"],
        );
        check(
            &|i| i.pull.value.link_bytes_per_second = Some(Bytes(0)),
            &["image.pull.value.linkBytesPerSecond: a rate of 0 never ends"],
        );
        check(
            &|i| i.pull.provenance = Provenance::Measured,
            &["image.pull: a measured value names no source", "image.pull: a measured value has no date"],
        );
    }

    #[test]
    fn a_model_too_large_for_its_gpus_is_refused_with_the_sum() {
        let mut profile = fixture::profile();
        profile.gpu.count = 1;
        let found = errors(&profile);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("memory: a model does not fit 1 x H100 SXM: usable"), "{found:?}");
    }

    #[test]
    fn unexplained_assumptions_are_warnings() {
        let warnings = |p: &Profile| p.check().iter().filter(|f| f.severity == Severity::Warning).count();
        let mut profile = fixture::profile();
        let before = warnings(&profile);
        profile.start_up[0].time.note = Some("because".into());
        assert_eq!(warnings(&profile), before - 1);
    }
}
