//! `pull`: times the pull of a real image without a container daemon.
//!
//! Each pull does what a runtime does: manifest and config, a few layers downloaded at a time
//! and checked, each unpacked upon the one below it as soon as both are there. Pulls with one
//! connection alternate with pulls over several, since only both together tell a limit of the
//! connection from one of the link. What is timed goes to a raw file; `fit` concludes.

mod auth;
mod layout;
pub mod manifest;
mod once;
pub mod reference;
mod registry;
mod unpack;

use std::path::{Path, PathBuf};
use std::time::Instant;

pub use auth::{Credentials, docker_login};
pub use manifest::Platform;
pub use reference::Reference;

use crate::disk::free_bytes;
use crate::raw::{Done, Header, Kind, RAW_VERSION, RawWriter, Record};
use crate::{Fault, Result, fault};
use registry::{Registry, Resolved};

/// Where the image comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A registry.
    Registry {
        /// The image.
        image: Reference,
        /// Whether to speak HTTP without TLS; loopback always does.
        plain_http: bool,
        /// Who asks.
        credentials: Option<Credentials>,
    },
    /// A folder with an OCI layout: unpacking alone.
    Layout {
        /// The folder.
        folder: PathBuf,
        /// Which of its images, by name.
        name: Option<String>,
    },
}

/// What to measure and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the image comes from.
    pub source: Source,
    /// Which of its platforms.
    pub platform: Platform,
    /// Parallel downloads of the pulls with several.
    pub connections: u32,
    /// How often each kind of pull is made.
    pub repeat: u32,
    /// Where blobs and files go for the time being.
    pub scratch: PathBuf,
    /// Whether each layer is flushed to disk before the next begins.
    pub sync: bool,
    /// Name of the profile to be; one made of the image's otherwise.
    pub name: Option<String>,
    /// The kind of machine, in words.
    pub host: Option<String>,
}

/// What is going on, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// A pull begins: its number from 0, of how many, parallel downloads, bytes to come, layers.
    Begin {
        /// From 0.
        pull: u32,
        /// All pulls.
        of: u32,
        /// Parallel downloads; 0 from a layout.
        connections: u32,
        /// Bytes of all layers as stored.
        bytes: u64,
        /// Layers.
        layers: usize,
    },
    /// So many bytes more have come.
    Downloaded(u64),
    /// Another layer is unpacked.
    Unpacked,
    /// The pull has ended, after so many seconds.
    End(f64),
}

/// A measurement about to begin: the image is known.
#[derive(Debug)]
pub struct Pull {
    plan: Plan,
    resolved: Resolved,
}

impl Pull {
    /// Asks for the image, and checks that there is room for it.
    ///
    /// # Errors
    /// A registry or layout that does not hand the image out; too little disk.
    pub fn prepare(plan: Plan) -> Result<Self> {
        let resolved = resolve(&plan)?;
        check_room(&plan.scratch, &resolved)?;
        Ok(Self { plan, resolved })
    }

    /// The first line of its raw file.
    pub fn header(&self, created: jiff::Timestamp) -> Header {
        let plan = &self.plan;
        let digest = &self.resolved.digest;
        let (source, name) = match &plan.source {
            Source::Registry { image, .. } => {
                (format!("thawline-calibrate pull {image} ({})", &digest[..19]), image.short_name())
            }
            Source::Layout { .. } => (
                format!("thawline-calibrate pull --layout ({}): unpacking only", &digest[..19]),
                "image".to_owned(),
            ),
        };
        let mut settings = serde_json::Map::new();
        settings.insert("manifest".to_owned(), digest.as_str().into());
        settings.insert("connections".to_owned(), plan.connections.into());
        settings.insert("repeat".to_owned(), plan.repeat.into());
        settings.insert("sync".to_owned(), plan.sync.into());
        Header {
            raw_version: RAW_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            kind: Kind::Pull,
            created,
            name: plan.name.clone().unwrap_or(name),
            source,
            model: None,
            engine: None,
            host: plan.host.clone(),
            gpu: None,
            driver: None,
            settings,
        }
    }

    /// Makes every pull that the file does not hold yet.
    ///
    /// # Errors
    /// The first pull that fails; those before it are in the file.
    pub fn run(&self, writer: &mut RawWriter, progress: &(dyn Fn(Progress) + Sync)) -> Result<()> {
        let done = |number: u32| {
            let is_it = |record: &Record| matches!(record, Record::Pull(pull) if pull.pull == number);
            writer.done().iter().any(is_it)
        };
        let all = self.pulls();
        let missing: Vec<(u32, u32)> =
            (0..).zip(all.iter().copied()).filter(|(number, _)| !done(*number)).collect();
        let earlier_ns: u64 = writer
            .done()
            .iter()
            .map(|record| if let Record::Pull(pull) = record { pull.total_ns } else { 0 })
            .sum();
        let began = Instant::now();
        for (number, connections) in missing {
            progress(Progress::Begin {
                pull: number,
                of: all.len() as u32,
                connections,
                bytes: self.resolved.image.bytes(),
                layers: self.resolved.image.layers.len(),
            });
            for record in once::pull(&self.plan, &self.resolved, number, connections, progress)? {
                writer.push(&record)?;
                if let Record::Pull(pull) = &record {
                    progress(Progress::End(pull.total_ns as f64 / 1e9));
                }
            }
        }
        let seconds = began.elapsed().as_secs_f64() + earlier_ns as f64 / 1e9;
        writer.push(&Record::Done(Done { seconds }))
    }

    /// Parallel downloads of each pull, in order.
    fn pulls(&self) -> Vec<u32> {
        let kinds = match &self.plan.source {
            Source::Layout { .. } => vec![0],
            Source::Registry { .. } if self.plan.connections == 1 => vec![1],
            Source::Registry { .. } => vec![1, self.plan.connections],
        };
        kinds.repeat(self.plan.repeat.max(1) as usize)
    }
}

fn resolve(plan: &Plan) -> Result<Resolved> {
    match &plan.source {
        Source::Registry { image, plain_http, credentials } => {
            Registry::new(image, *plain_http, credentials.as_ref()).resolve(&plan.platform)
        }
        Source::Layout { folder, name } => layout::resolve(folder, name.as_deref(), &plan.platform),
    }
}

/// Unpacked layers are about this much larger than stored ones: container images of all kinds
/// are seldom compressed to less than a third.
const GROWTH: u64 = 3;

fn check_room(scratch: &Path, resolved: &Resolved) -> Result<()> {
    let failed =
        |e: std::io::Error| fault("E0402", format!("cannot use {} for scratch: {e}", scratch.display()));
    let free = free_bytes(scratch).map_err(failed)?;
    let bytes = resolved.image.bytes();
    let needed = bytes.saturating_mul(1 + GROWTH);
    if free >= needed {
        return Ok(());
    }
    let gb = |bytes: u64| bytes as f64 / 1e9;
    let why = format!(
        "the image has {:.1} GB and may need {:.1} GB unpacked; {} has {:.1} GB free",
        gb(bytes),
        gb(needed),
        scratch.display(),
        gb(free)
    );
    Err(vec![Fault::error("E0709", why).helped("give --scratch on a larger disk")])
}
