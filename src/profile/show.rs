//! A profile as rows for people: each figure with its provenance and age. Laying out and
//! printing is for others.

use super::image::{ImageSpec, PullModel};
use super::schema::{Hinge, PlaneSpec, Profile, SleepLevels};
use super::sourced::{Date, Origin, Provenance, Sourced};
use crate::kernel::{Bytes, Distribution, SimDuration};

/// Older figures are worth a second look: prices and engines move.
pub const OLD_DAYS: i32 = 365;

/// One figure of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// What it is.
    pub field: String,
    /// Its value, as people write it.
    pub value: String,
    /// Where it comes from.
    pub origin: Option<Origin<'a>>,
}

impl Row<'_> {
    /// Age of the figure in days, if it has a date.
    pub fn age_days(&self, today: Date) -> Option<i32> {
        self.origin.and_then(|o| o.date).map(|date| date.days_until(today))
    }

    /// The age as a few letters: `12 d`, `14 mo`; empty without a date.
    pub fn age(&self, today: Date) -> String {
        match self.age_days(today) {
            None => String::new(),
            Some(days) if days < 60 => format!("{days} d"),
            Some(days) => format!("{} mo", days / 30),
        }
    }
}

/// How many figures of each provenance a profile has; the measure of how far to trust it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Measured.
    pub measured: u32,
    /// Published.
    pub published: u32,
    /// Derived.
    pub derived: u32,
    /// Assumed.
    pub assumed: u32,
}

impl Trust {
    /// All figures that say where they come from.
    pub fn total(&self) -> u32 {
        self.measured + self.published + self.derived + self.assumed
    }
}

/// A distribution in a few words.
pub fn distribution_text(distribution: &Distribution) -> String {
    match distribution {
        Distribution::Constant(time) => time.to_string(),
        Distribution::LogNormal { median, p95 } => format!("lognormal, median {median}, p95 {p95}"),
        Distribution::Exponential { mean } => format!("exponential, mean {mean}"),
        Distribution::Samples(samples) => {
            let least = samples.iter().min().copied().unwrap_or_default();
            let most = samples.iter().max().copied().unwrap_or_default();
            format!("{} samples, {least} to {most}", samples.len())
        }
        Distribution::Transfer { bytes, bytes_per_second } => {
            format!("{:.1}s ({bytes} at {bytes_per_second}/s)", distribution.median().as_secs_f64())
        }
    }
}

struct Rows<'a>(Vec<Row<'a>>);

impl<'a> Rows<'a> {
    fn plain(&mut self, field: &str, value: impl Into<String>) {
        self.0.push(Row { field: field.to_owned(), value: value.into(), origin: None });
    }

    fn figure<T>(&mut self, field: impl Into<String>, sourced: &'a Sourced<T>, value: impl Into<String>) {
        self.0.push(Row { field: field.into(), value: value.into(), origin: Some(sourced.origin()) });
    }
}

impl Profile {
    /// The sum of the medians of its start-up stages: how long a cold start takes, roughly.
    pub fn cold_start_median(&self) -> SimDuration {
        self.stages().map(|(_, time)| time.median()).sum()
    }

    /// Every figure, in the order of the file.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = Rows(Vec::new());
        rows.plain("model", &self.model);
        rows.plain("engine", format!("{} {}", self.engine.name, self.engine.version));
        rows.plain(
            "GPUs of a replica",
            format!("{} x {}, {} each", self.gpu.count, self.gpu.name, self.gpu.memory),
        );
        if let Some(host) = &self.host {
            rows.plain("host", host);
        }
        if let Some(driver) = &self.driver {
            rows.plain("driver", driver);
        }
        for stage in &self.start_up {
            let label = stage.label.as_ref().map(|l| format!(" ({l})")).unwrap_or_default();
            let text = distribution_text(&stage.time.value);
            rows.figure(format!("{}{label}", stage.stage.label()), &stage.time, text);
            if let Some(cached) = &stage.cached {
                let name = stage.label.as_deref().unwrap_or(stage.stage.label());
                rows.figure(format!("{name}, cached"), cached, distribution_text(&cached.value));
            }
        }
        if let Some(image) = &self.image {
            image_rows(image, &mut rows);
        }
        if let Some(penalties) = &self.first_requests {
            let times: Vec<String> = penalties.value.iter().map(|t| format!("+{t}")).collect();
            rows.figure("first requests, not warmed", penalties, times.join(", "));
        }
        for (level, times) in self.sleep.iter().flat_map(SleepLevels::named) {
            let Some(times) = times else { continue };
            rows.figure(format!("wake up, {level}"), &times.wake, distribution_text(&times.wake.value));
            if let Some(asleep) = &times.fall_asleep {
                rows.figure(format!("fall asleep, {level}"), asleep, distribution_text(&asleep.value));
            }
        }
        self.step_rows(&mut rows);
        self.host_rows(&mut rows);
        if let Some(cpu) = &self.cpu {
            rows.figure("CPU, idle", &cpu.idle_cores, format!("{} cores", cpu.idle_cores.value));
            rows.figure("CPU, busy", &cpu.busy_cores, format!("{} cores", cpu.busy_cores.value));
        }
        if let Some(memory) = &self.memory {
            rows.figure("weights", &memory.weights, memory.weights.value.to_string());
            let per_token = memory.kv_bytes_per_token.value.to_string();
            rows.figure("KV cache per token", &memory.kv_bytes_per_token, per_token);
            rows.figure("reserve per GPU", &memory.reserve_per_gpu, memory.reserve_per_gpu.value.to_string());
        }
        if let Some(price) = &self.price_per_gpu_hour {
            rows.figure("price per GPU-hour", price, price.value.to_string());
        }
        for validation in &self.validation {
            let e = validation.errors;
            let text = format!(
                "mean error {:.1} %, p95 {:.1} %, worst {:.1} % over {} points: {}",
                e.mape * 100.0,
                e.p95 * 100.0,
                e.max * 100.0,
                e.points,
                validation.against
            );
            rows.plain(&format!("{}, simulated", validation.quantity), text);
        }
        rows.0
    }

    fn step_rows<'a>(&'a self, rows: &mut Rows<'a>) {
        let Some(spec) = &self.step_time else {
            rows.plain("step time", "none: only the `workers` engine can use this profile");
            return;
        };
        if let Some(grid) = &spec.decode.grid {
            let size =
                format!("{} batch sizes x {} KV sizes", grid.value.batches.len(), grid.value.kv_tokens.len());
            rows.figure("decode step, grid", grid, size);
        }
        if let Some(fit) = &spec.decode.fit {
            let f = &fit.value;
            let line = format!(
                "{:.3} ms + {:.1} us x sequences + {:.2} ns x KV tokens",
                f.base_ms, f.per_sequence_us, f.per_kv_token_ns
            );
            let hinge = |h: &Hinge| format!("{:.1} us above {}", h.per_sequence_us, h.above_batch);
            let parts: Vec<String> = std::iter::once(line).chain(f.hinges.iter().map(hinge)).collect();
            rows.figure("decode step", fit, parts.join("; "));
        }
        if let Some(grid) = &spec.prefill.grid {
            let size =
                format!("{} lengths x {} contexts", grid.value.tokens.len(), grid.value.contexts.len());
            rows.figure("prefill, grid", grid, size);
        }
        if let Some(fit) = &spec.prefill.max_planes {
            let plane = |p: &PlaneSpec| {
                format!(
                    "{:.3} ms + {:.2} us x tokens + {:.4} ns x work",
                    p.base_ms, p.per_token_us, p.per_work_ns
                )
            };
            let planes: Vec<String> = fit.value.planes.iter().map(plane).collect();
            rows.figure("prefill", fit, planes.join("; or, if larger, "));
        }
        if let Some(curve) = &spec.linear_layers {
            rows.figure("linear layers", curve, format!("{} points", curve.value.tokens.len()));
        }
        if let Some(rule) = self.mixed_rule() {
            rows.plain("mixed steps", rule.label());
        }
        if let Some(range) = spec.measured {
            let text = format!(
                "up to {} sequences, {} KV tokens, {} new tokens a step",
                range.batch, range.kv_tokens, range.prefill_tokens
            );
            rows.plain("fitted over", text);
        }
    }

    fn host_rows<'a>(&'a self, rows: &mut Rows<'a>) {
        let Some(host) = &self.host_overhead else {
            rows.plain("host overhead", "not known, taken as none");
            return;
        };
        let parts = [
            ("host time per request", &host.per_request),
            ("host time per step", &host.per_step),
            ("host time per token", &host.per_token),
        ];
        for (field, part) in parts {
            if let Some(sourced) = part {
                rows.figure(field, sourced, sourced.value.to_string());
            }
        }
    }

    /// How its figures came to be, counted.
    pub fn trust(&self) -> Trust {
        let mut trust = Trust::default();
        for origin in self.rows().iter().filter_map(|row| row.origin) {
            match origin.provenance {
                Provenance::Measured => trust.measured += 1,
                Provenance::Published => trust.published += 1,
                Provenance::Derived => trust.derived += 1,
                Provenance::Assumed => trust.assumed += 1,
            }
        }
        trust
    }
}

fn image_rows<'a>(image: &'a ImageSpec, rows: &mut Rows<'a>) {
    let (layers, model) = (&image.layers.value, &image.pull.value);
    let gb = |bytes: u64| format!("{:.2} GB", bytes as f64 / 1e9);
    let text = format!(
        "{} layers, {} as stored, {} unpacked, {} files",
        layers.len(),
        gb(layers.iter().map(|l| l.compressed.0).sum()),
        gb(layers.iter().map(|l| l.uncompressed.0).sum()),
        layers.iter().map(|l| l.files).sum::<u64>()
    );
    rows.figure("image", &image.layers, text);
    rows.figure("image pull, model", &image.pull, pull_text(model));
    if let Some(last) = model.predict(layers).last() {
        rows.plain("image pull, by that model", format!("{:.1}s", last.unpacked_s));
    }
}

/// A pull model in a few words.
pub fn pull_text(model: &PullModel) -> String {
    let rate = |what: &str, rate: Option<Bytes>| rate.map(|r| format!("{what} {:.1} MB/s", r.0 as f64 / 1e6));
    let rates = [
        rate("link", model.link_bytes_per_second),
        rate("connection", model.connection_bytes_per_second),
        rate("gunzip", model.gzip_bytes_per_second),
        rate("unzstd", model.zstd_bytes_per_second),
        rate("write", model.write_bytes_per_second),
    ];
    let rates: Vec<String> = rates.into_iter().flatten().collect();
    format!(
        "{} at a time; {}; manifest {}, {} a request, {} a layer, {} a file",
        model.connections,
        rates.join(", "),
        model.manifest,
        model.per_request,
        model.per_layer,
        model.per_file
    )
}

impl std::fmt::Display for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            (self.measured, "measured"),
            (self.published, "published"),
            (self.derived, "derived"),
            (self.assumed, "assumed"),
        ];
        let shown = parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}"));
        f.write_str(&shown.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use crate::kernel::SimDuration;
    use crate::profile::fixture;

    #[test]
    fn rows_show_every_figure_with_its_age() {
        let mut profile = fixture::profile();
        profile.start_up[0].time.date = Some("2026-09-01".parse().unwrap());
        let rows = profile.rows();
        let find = |field: &str| rows.iter().find(|r| r.field == field).unwrap();
        let today = "2026-11-22".parse().unwrap();
        let pull = find("image pull");
        assert_eq!((pull.value.as_str(), pull.age(today).as_str()), ("40s", "2 mo"));
        assert_eq!(find("weight load").age(today), "");
        assert_eq!(find("decode step").value, "10.000 ms + 50.0 us x sequences + 30.00 ns x KV tokens");
        assert_eq!(profile.cold_start_median(), SimDuration::from_secs(71));
        assert_eq!(profile.trust().to_string(), "11 assumed");
    }
}
