//! Trace files: scanned and checked once, kept packed while they are small, and streamed
//! again on each pass where they are not.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use crate::kernel::{SimDuration, SimTime, Streams};

use super::fault::{Fault, FaultKind, FileFaults};
use super::input::{self, Lines};
use super::request::{Packed, Request, Source};
use super::rows::{Extras, Step, TraceFormat, TraceReader};
use super::spec::WorkloadSpec;

/// Traces up to this many requests are held in memory, 16 bytes each.
pub(super) const PACKED_UP_TO: usize = 2_000_000;

/// What the first pass over a trace found.
pub(super) struct Scan {
    pub source: Arc<dyn Source>,
    pub count: u64,
    pub span: SimDuration,
    pub extras: Extras,
    /// SHA-256 of the requests as they were understood.
    pub digest: [u8; 32],
}

/// Reads a whole trace; every fault is noted, and any fault gives `None`.
pub(super) fn scan(
    format: &Arc<dyn TraceFormat>,
    path: &Path,
    packed_up_to: usize,
    faults: &mut FileFaults,
) -> Option<Scan> {
    let lines = match input::open(path) {
        Ok(lines) => lines,
        Err(error) => {
            let help = (error.kind() == std::io::ErrorKind::NotFound)
                .then(|| "paths are relative to the scenario".to_owned());
            faults.whole(FaultKind::File, format!("the trace cannot be read: {error}"), help);
            return None;
        }
    };
    let (requests, pass) = read(format.as_ref(), lines, packed_up_to, faults)?;
    let source: Arc<dyn Source> = match requests {
        Some(requests) => Arc::new(Packed { requests, span: pass.span }),
        None => Arc::new(Streamed {
            path: path.to_owned(),
            format: Arc::clone(format),
            count: pass.count,
            span: pass.span,
            failure: OnceLock::new(),
        }),
    };
    Some(Scan { source, count: pass.count, span: pass.span, extras: pass.extras, digest: pass.digest })
}

/// A finished pass.
pub(super) struct Pass {
    pub count: u64,
    pub span: SimDuration,
    pub extras: Extras,
    pub digest: [u8; 32],
}

/// Reads all requests of a text, and keeps them unless there are more than `packed_up_to`.
pub(super) fn read(
    format: &dyn TraceFormat,
    lines: Lines,
    packed_up_to: usize,
    faults: &mut FileFaults,
) -> Option<(Option<Vec<Request>>, Pass)> {
    let mut reader = format.open(lines, faults)?;
    let mut kept = Some(Vec::new());
    let (mut count, mut last) = (0, SimTime::ZERO);
    let mut digest = Sha256::new();
    loop {
        match reader.step(faults) {
            Step::End => break,
            Step::Bad => kept = None,
            Step::Request(request) => {
                count += 1;
                last = request.arrival;
                digest.update(request.arrival.as_nanos().to_le_bytes());
                digest.update(request.prompt_tokens.to_le_bytes());
                digest.update(request.output_tokens.to_le_bytes());
                match &mut kept {
                    Some(requests) if requests.len() < packed_up_to => requests.push(request),
                    _ => kept = None,
                }
            }
        }
    }
    if count == 0 && faults.is_empty() {
        faults.whole(FaultKind::Empty, "the trace is empty: it has no requests", None);
    }
    if !faults.is_empty() {
        return None;
    }
    if let Some(requests) = &mut kept {
        requests.shrink_to_fit();
    }
    let span = last.since(SimTime::ZERO);
    Some((kept, Pass { count, span, extras: reader.extras, digest: digest.finalize().into() }))
}

/// A trace too large for memory, read from its file on each pass.
struct Streamed {
    path: PathBuf,
    format: Arc<dyn TraceFormat>,
    count: u64,
    span: SimDuration,
    failure: OnceLock<String>,
}

impl Streamed {
    fn open(&self) -> Option<TraceReader> {
        let mut faults = FileFaults::new("", &self.path);
        let reader = input::open(&self.path)
            .map_err(|error| self.fail(&error.to_string()))
            .ok()
            .and_then(|lines| self.format.open(lines, &mut faults));
        if !faults.is_empty() {
            self.fail("its header has changed");
        }
        reader
    }

    fn fail(&self, why: &str) {
        // The first reason stands; later passes fail for the same one.
        let _ = self.failure.set(format!("{} changed while it was read: {why}", self.path.display()));
    }
}

impl Source for Streamed {
    fn requests<'a>(&'a self, _: &Streams) -> Box<dyn Iterator<Item = Request> + Send + 'a> {
        let mut reader = self.open();
        let mut faults = FileFaults::new("", &self.path);
        let mut count = 0;
        Box::new(std::iter::from_fn(move || match reader.as_mut()?.step(&mut faults) {
            Step::Request(request) => {
                count += 1;
                Some(request)
            }
            Step::Bad => {
                self.fail("a row is at fault now");
                reader = None;
                None
            }
            Step::End => {
                if count != self.count || !faults.is_empty() {
                    self.fail(&format!("it had {} requests and has {count} now", self.count));
                }
                reader = None;
                None
            }
        }))
    }

    fn span(&self) -> Option<SimDuration> {
        Some(self.span)
    }

    fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }
}

/// Tells the format of a trace file by its first line.
pub fn guess(file: &str, base_dir: &Path) -> Result<WorkloadSpec, Vec<Fault>> {
    let path = base_dir.join(file);
    let mut faults = FileFaults::new("file", &path);
    let mut first = Vec::new();
    match input::open(&path).and_then(|mut lines| lines.next(&mut first)) {
        Ok(true) => {}
        Ok(false) => faults.whole(FaultKind::Empty, "the trace is empty", None),
        Err(error) => faults.whole(FaultKind::File, format!("the trace cannot be read: {error}"), None),
    }
    let has = |needle: &str| first.windows(needle.len()).any(|part| part == needle.as_bytes());
    if has("ContextTokens") && has("GeneratedTokens") {
        return Ok(WorkloadSpec::azure(file));
    }
    if has("\"input_length\"") && has("\"output_length\"") {
        return Ok(WorkloadSpec::mooncake(file));
    }
    if faults.is_empty() {
        let help = "write a scenario with `workload: { csv: { file, columns, time } }`, or `jsonl`";
        faults.whole(FaultKind::Format, "this is no Azure or Mooncake trace", Some(help.to_owned()));
    }
    Err(faults.into_list())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
