//! Loads a workload: reads its files, checks every setting, applies its transforms, and
//! says in words what came of it.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::kernel::{SimDuration, Streams};

use super::arrivals::ArrivalSpec;
use super::fault::{Fault, FaultKind, FileFaults};
use super::file::{self, PACKED_UP_TO};
use super::lengths::{LengthSampler, Lengths, LengthsSpec, LognormalTokens};
use super::prometheus::Answers;
use super::request::Source;
use super::rows::{TraceFormat, shown};
use super::spec::WorkloadSpec;
use super::synthetic::Synthetic;
use super::transform::Concatenate;
use super::{Kind, SOURCE_KEYS, sources};

/// Longest workload, ns: a hundred years.
const MAX_PERIOD_NS: u128 = 100 * 366 * 86_400 * 1_000_000_000;

/// Requests of a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RequestCount {
    /// Known: the same in every replication.
    Exact(u64),
    /// The expected number; each replication draws its own.
    Expected(f64),
}

/// A workload, ready to be replayed by any number of runs at once.
#[derive(Clone)]
pub struct LoadedWorkload {
    /// Its requests.
    pub source: Arc<dyn Source>,
    /// What it is, for the head of a report: `azure_llm_2023_conv ×8 superposed, CV 1.09 -> 1.02`.
    pub description: String,
    /// How many requests it has.
    pub requests: RequestCount,
    /// How long it lasts; `None` if that is known only once its last request has arrived.
    pub span: Option<SimDuration>,
    /// Whether it is a likely traffic made from aggregates, and not the one that was.
    pub is_reconstruction: bool,
    /// Whether it is the same in every replication: then intervals cover the infrastructure only.
    pub traffic_is_fixed: bool,
    /// What a reader of the results should know.
    pub warnings: Vec<String>,
    /// Settings that read the files without a fault and are most likely not what was meant.
    pub doubts: Vec<Fault>,
    /// SHA-256, in hex, of the requests read from files and of the settings; file names do not enter.
    pub digest: String,
}

impl std::fmt::Debug for LoadedWorkload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedWorkload")
            .field("description", &self.description)
            .field("requests", &self.requests)
            .field("span", &self.span)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Loads `spec`, whose files are relative to `base_dir`. `seed` draws what is the same in all replications of a fixed
/// trace: which requests thinning keeps, and how superposed copies are rotated. All faults are returned at once.
pub fn load(spec: &WorkloadSpec, base_dir: &Path, seed: u64) -> Result<LoadedWorkload, Vec<Fault>> {
    let mut loader = Loader {
        base_dir,
        fixed: Streams::new(seed, 0),
        entity: 0,
        packed_up_to: PACKED_UP_TO,
        faults: Vec::new(),
        warnings: Vec::new(),
        doubts: Vec::new(),
        digest: Sha256::new(),
    };
    loader.load(spec)
}

/// A workload under construction.
pub(super) struct Node {
    pub source: Arc<dyn Source>,
    pub count: RequestCount,
    /// Length of a turn when it is repeated, rotated or followed by another.
    pub period: Option<SimDuration>,
    /// Whether it is the same in every replication.
    pub fixed: bool,
    pub reconstruction: bool,
    pub label: String,
}

impl Node {
    pub fn expected(&self) -> f64 {
        match self.count {
            RequestCount::Exact(count) => count as f64,
            RequestCount::Expected(count) => count,
        }
    }
}

pub(super) struct Loader<'a> {
    base_dir: &'a Path,
    pub fixed: Streams,
    /// The next number for a consumer of random draws.
    entity: u64,
    pub packed_up_to: usize,
    faults: Vec<Fault>,
    pub warnings: Vec<String>,
    doubts: Vec<Fault>,
    digest: Sha256,
}

pub(super) fn field(prefix: &str, name: &str) -> String {
    match (prefix, name) {
        ("", _) => name.to_owned(),
        (_, "") => prefix.to_owned(),
        _ => format!("{prefix}.{name}"),
    }
}

impl Loader<'_> {
    fn load(&mut self, spec: &WorkloadSpec) -> Result<LoadedWorkload, Vec<Fault>> {
        let node = self.node(spec, "");
        let Some(node) = node.filter(|_| self.faults.is_empty()) else {
            return Err(std::mem::take(&mut self.faults));
        };
        let mut settings = serde_json::to_value(spec).unwrap_or_default();
        blank_files(&mut settings);
        self.digest.update(settings.to_string());
        let digest = self.digest.finalize_reset();
        Ok(LoadedWorkload {
            span: node.source.span(),
            source: node.source,
            description: node.label,
            requests: node.count,
            is_reconstruction: node.reconstruction,
            traffic_is_fixed: node.fixed,
            warnings: std::mem::take(&mut self.warnings),
            doubts: std::mem::take(&mut self.doubts),
            digest: hex(&digest),
        })
    }

    pub fn entity(&mut self) -> u64 {
        self.entity += 1;
        self.entity - 1
    }

    pub fn fault(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault::spec(place, message));
    }

    /// Builds a workload; `None` if it is at fault, which is then noted.
    fn node(&mut self, spec: &WorkloadSpec, at: &str) -> Option<Node> {
        let mut found = sources(spec);
        let keys: Vec<&str> = found.iter().map(|(key, _)| *key).collect();
        if keys.len() != 1 {
            let message = match keys.as_slice() {
                [] => "this workload has no source of requests".to_owned(),
                [..] => format!("this workload has {} sources: {}", keys.len(), keys.join(", ")),
            };
            let help = format!("give exactly one of {SOURCE_KEYS}; `concatenate` joins several");
            self.faults.push(Fault::spec(field(at, keys.get(1).unwrap_or(&"")), message).with_help(help));
            return None;
        }
        let (key, kind) = found.pop()?;
        let place = field(at, key);
        if !matches!(kind, Kind::Synthetic(_)) {
            let given = [
                ("lengths", spec.lengths.is_some()),
                ("duration", spec.duration.is_some()),
                ("requests", spec.requests.is_some()),
            ];
            for (name, _) in given.iter().filter(|(_, given)| *given) {
                let message = format!("`{name}` belongs to synthetic sources; `{key}` has its own");
                self.fault(field(at, name), message);
            }
        }
        if let Kind::Trace(format) = &kind {
            let wrong = format.complaints().into_iter();
            let wrong: Vec<Fault> = wrong
                .map(|(name, message, help)| Fault::spec(field(&place, name), message).with_help(help))
                .collect();
            if !wrong.is_empty() {
                self.faults.extend(wrong);
                return None;
            }
        }
        let node = match kind {
            Kind::Trace(format) => self.trace(&format, &field(&place, "file")),
            Kind::Prometheus(answers) => {
                let entity = self.entity();
                let mut reader = Answers {
                    base_dir: self.base_dir,
                    faults: &mut self.faults,
                    warnings: &mut self.warnings,
                    digest: &mut self.digest,
                };
                reader.reconstruct(&place, answers, entity).map(|source| Node {
                    count: RequestCount::Expected(source.expected()),
                    period: Some(source.span),
                    source: Arc::new(source),
                    fixed: false,
                    reconstruction: true,
                    label: "reconstruction from Prometheus".to_owned(),
                })
            }
            Kind::Synthetic(process) => self.synthetic(process.as_ref(), spec, at, &place),
            Kind::Concatenate(parts) => self.concatenate(parts, &place),
        };
        let node = self.reshape(node, spec, at)?;
        if node.expected() < 0.5 && self.faults.is_empty() {
            let mut fault = Fault::spec(at, "no request is left in this workload");
            fault.kind = FaultKind::Empty;
            self.faults.push(fault);
        }
        Some(node)
    }

    fn trace(&mut self, format: &Arc<dyn TraceFormat>, place: &str) -> Option<Node> {
        let path = self.base_dir.join(format.file());
        let mut faults = FileFaults::new(place, &path);
        let scan = file::scan(format, &path, self.packed_up_to, &mut faults);
        self.faults.extend(faults.into_list());
        let scan = scan?;
        self.digest.update(scan.digest);
        let name = Path::new(format.file()).file_name().unwrap_or_default().to_string_lossy();
        let label = name.split('.').next().unwrap_or_default().to_owned();
        if scan.extras.prefix_ids {
            self.warnings
                .push(format!("{label}: prefix hash ids are read; prefix caching is not modelled yet"));
        }
        if scan.extras.models.len() > 1 {
            let names =
                scan.extras.models.keys().take(4).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
            let count = scan.extras.models.len();
            self.warnings.push(format!(
                "{label}: {count} models ({names}{}) are served by the same replicas; requests are not routed by model yet",
                if count > 4 { ", .." } else { "" }
            ));
        }
        self.doubt(&scan, &label, place);
        let gap = scan.span.as_nanos() / (scan.count - 1).max(1);
        Some(Node {
            source: scan.source,
            count: RequestCount::Exact(scan.count),
            period: Some(scan.span + SimDuration::from_nanos(gap.max(1))),
            fixed: true,
            reconstruction: false,
            label,
        })
    }

    /// Whether the times of a trace can be meant as they are read.
    fn doubt(&mut self, scan: &file::Scan, label: &str, place: &str) {
        if scan.span.is_zero() {
            let (requests, come) = if scan.count == 1 {
                ("its one request".to_owned(), "is")
            } else {
                (format!("all of its {} requests", scan.count), "are")
            };
            let message = format!("{label}: {requests} {come} of one instant");
            let mut doubt = Fault::spec(place, message)
                .with_help("the trace lasts no time, and shows no rate to scale on: give it more of the log");
            doubt.kind = FaultKind::Empty;
            self.doubts.push(doubt);
        }
        let span = scan.span.as_secs_f64();
        let rate = if span > 0.0 { scan.count as f64 / span } else { 0.0 };
        let Some((first, unit)) = scan.extras.first else { return };
        let Some(likelier) = unit.likelier(first, rate) else { return };
        let at = place.strip_suffix("file").map_or_else(|| place.to_owned(), |own| format!("{own}time.unit"));
        let (written, meant) = (unit.name(), likelier.name());
        let message = format!(
            "{label}: read in {written}, the first arrival is no date of our days; in {meant} it is one"
        );
        let help = format!(
            "if the file counts {meant}, write `time: {{ unit: {meant} }}`: as it is, the trace lasts {} for {} requests",
            scan.span, scan.count
        );
        self.doubts.push(Fault::spec(at, message).with_help(help));
    }

    fn synthetic(
        &mut self,
        process: &dyn ArrivalSpec,
        spec: &WorkloadSpec,
        at: &str,
        place: &str,
    ) -> Option<Node> {
        let before = self.faults.len();
        for (name, message) in process.complaints() {
            self.fault(field(place, name), message);
        }
        if spec.duration.is_none() && spec.requests.is_none() {
            self.fault(place, "synthetic traffic needs an end: `duration`, `requests` or both");
        }
        if spec.duration.is_some_and(|d| d.is_zero() || u128::from(d.as_nanos()) > MAX_PERIOD_NS) {
            self.fault(field(at, "duration"), "a duration is more than 0s and at most 100 years");
        }
        if spec.requests == Some(0) {
            self.fault(field(at, "requests"), "at least one request is needed");
        }
        let lengths = if let Some(lengths) = &spec.lengths {
            self.lengths(lengths, &field(at, "lengths"))
        } else {
            let fault = Fault::spec(place, "synthetic requests need `lengths`");
            self.faults.push(
                fault.with_help("e.g. lengths: { constant: { promptTokens: 512, outputTokens: 128 } }"),
            );
            None
        };
        let lengths = lengths.filter(|_| self.faults.len() == before)?;
        let source = Synthetic {
            process: process.process(),
            lengths,
            duration: spec.duration,
            requests: spec.requests,
            entity: self.entity(),
        };
        let count = match (spec.duration, spec.requests) {
            (None, Some(count)) => RequestCount::Exact(count),
            _ => RequestCount::Expected(source.expected()),
        };
        Some(Node {
            source: Arc::new(source),
            count,
            period: spec.duration,
            fixed: false,
            reconstruction: false,
            label: process.label(),
        })
    }

    fn lengths(&mut self, spec: &LengthsSpec, place: &str) -> Option<Lengths> {
        let complaints = spec.complaints();
        if !complaints.is_empty() {
            for (name, message) in complaints {
                self.fault(field(place, name), message);
            }
            return None;
        }
        match spec {
            LengthsSpec::Constant(c) => Some(Lengths::Constant(c.prompt_tokens, c.output_tokens)),
            LengthsSpec::Lognormal(l) => {
                let (prompt, output) =
                    (LognormalTokens::new(&l.prompt_tokens), LognormalTokens::new(&l.output_tokens));
                Some(Lengths::Lognormal(prompt, output))
            }
            LengthsSpec::Empirical(trace) => {
                let place = field(place, "empirical");
                let node = self.node(trace, &place)?;
                let sampler = LengthSampler::new(node.source.as_ref(), &self.fixed);
                if let Some(failure) = node.source.failure() {
                    self.fault(place, failure);
                    return None;
                }
                sampler.map(|pairs| Lengths::Pairs(Arc::new(pairs)))
            }
        }
    }

    fn concatenate(&mut self, parts: &[WorkloadSpec], place: &str) -> Option<Node> {
        if parts.is_empty() {
            self.fault(place, "an empty list has no requests");
        }
        let mut nodes = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let at = format!("{place}[{index}]");
            let Some(node) = self.node(part, &at) else { continue };
            match node.period {
                Some(period) => nodes.push((node, period)),
                None => self
                    .fault(at, "a part of `concatenate` needs a `duration`: the next one begins at its end"),
            }
        }
        let period: u128 = nodes.iter().map(|(_, period)| u128::from(period.as_nanos())).sum();
        if nodes.len() < parts.len() || nodes.is_empty() || !self.period_fits(period, place) {
            return None;
        }
        let exact = nodes.iter().try_fold(0, |sum, (node, _)| match node.count {
            RequestCount::Exact(count) => Some(sum + count),
            RequestCount::Expected(_) => None,
        });
        let expected = RequestCount::Expected(nodes.iter().map(|(node, _)| node.expected()).sum());
        Some(Node {
            count: exact.map_or(expected, RequestCount::Exact),
            period: Some(SimDuration::from_nanos(period as u64)),
            fixed: nodes.iter().all(|(node, _)| node.fixed),
            reconstruction: nodes.iter().any(|(node, _)| node.reconstruction),
            label: nodes.iter().map(|(node, _)| node.label.as_str()).collect::<Vec<_>>().join(" + "),
            source: Arc::new(Concatenate {
                parts: nodes.into_iter().map(|(node, period)| (node.source, period)).collect(),
            }),
        })
    }

    pub fn period_fits(&mut self, nanos: u128, place: &str) -> bool {
        let fits = nanos <= MAX_PERIOD_NS;
        if !fits {
            self.fault(place, "the workload would last more than 100 years");
        }
        fits
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Blanks the names of files in a workload section: the digest must not depend on where files lie.
fn blank_files(settings: &mut Value) {
    match settings {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                let names_file = matches!(key.as_str(), "file" | "requestRate" | "mean" | "buckets");
                if names_file && value.is_string() {
                    *value = Value::Null;
                } else {
                    blank_files(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blank_files),
        _ => {}
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
