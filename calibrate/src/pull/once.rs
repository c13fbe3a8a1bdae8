//! One pull, timed: downloads in parallel, unpacking in order behind them, and afterwards
//! each layer decompressed alone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::manifest::{LayerBlob, digest_text};
use super::registry::{Registry, Resolved};
use super::unpack::{self, Unpacked};
use super::{Plan, Progress, Source, layout};
use crate::raw::{Flag, LayerSample, PullSample, Record};
use crate::{Fault, Result, fault};

/// Bytes read from a connection at once.
const BLOCK: usize = 256 << 10;

/// A layer that has been downloaded or hashed; times in ns since the pull began.
struct Fetched {
    download_ns: Option<[u64; 3]>,
    verify_ns: u64,
}

/// What one pull works with.
struct Once<'a> {
    plan: &'a Plan,
    resolved: &'a Resolved,
    root: PathBuf,
    began: Instant,
    progress: &'a (dyn Fn(Progress) + Sync),
}

/// Pulls once, and answers its records: each layer, flags, then the pull itself.
///
/// # Errors
/// What the registry, the layers or the disk did wrong. Nothing stays on disk.
pub(super) fn pull(
    plan: &Plan,
    resolved: &Resolved,
    number: u32,
    connections: u32,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<Record>> {
    let scratch = tempfile::Builder::new().prefix("thawline-pull-").tempdir_in(&plan.scratch);
    let scratch =
        scratch.map_err(|e| fault("E0402", format!("cannot write below {}: {e}", plan.scratch.display())))?;
    let root = scratch.path().join("root");
    std::fs::create_dir(&root).map_err(|e| disk(&root, &e))?;
    let mut once = Once { plan, resolved, root, began: Instant::now(), progress };
    let (pull, layers, blobs) = match &plan.source {
        Source::Registry { image, plain_http, credentials } => {
            let registry = Registry::new(image, *plain_http, credentials.as_ref());
            once.pull(&registry, connections, scratch.path())?
        }
        Source::Layout { folder, .. } => once.unpack_layout(folder)?,
    };
    let mut records = Vec::new();
    let mut skipped = 0;
    for (i, (fetched, unpacked, unpack_ns)) in layers.into_iter().enumerate() {
        let layer = &resolved.image.layers[i];
        let began = Instant::now();
        unpack::decompress(&blobs[i], layer.compression).map_err(|e| once.unreadable(i, &e))?;
        skipped += unpacked.skipped;
        records.push(Record::Layer(LayerSample {
            pull: number,
            layer: i as u32,
            media_type: layer.media_type.clone(),
            compressed_bytes: layer.size,
            raw_bytes: unpacked.bytes,
            files: unpacked.files,
            download_ns: fetched.download_ns,
            verify_ns: fetched.verify_ns,
            decompress_ns: began.elapsed().as_nanos() as u64,
            unpack_ns,
        }));
    }
    if skipped > 0 && number == 0 {
        records.push(Record::Flag(Flag {
            flag: "entriesSkipped".to_owned(),
            message: format!("{skipped} devices and pipes of the image were not made"),
        }));
    }
    let (manifest_ns, total_ns) = pull;
    records.push(Record::Pull(PullSample { pull: number, connections, manifest_ns, total_ns }));
    scratch.close().map_err(|e| fault("E0402", format!("cannot remove the scratch folder: {e}")))?;
    Ok(records)
}

/// Manifest and whole time in ns; each layer; where the blobs lie.
type Measured = ((u64, u64), Vec<(Fetched, Unpacked, [u64; 2])>, Vec<PathBuf>);

impl Once<'_> {
    fn pull(&mut self, registry: &Registry<'_>, connections: u32, scratch: &Path) -> Result<Measured> {
        self.began = Instant::now();
        let resolved = registry.resolve(&self.plan.platform)?;
        let manifest_ns = self.ns();
        if resolved != *self.resolved {
            let why = "the tag names another image than when the measurement began";
            return Err(vec![Fault::error("E0704", why).helped("name the image by its digest")]);
        }
        let layers = &self.resolved.image.layers;
        let blobs: Vec<PathBuf> = (0..layers.len()).map(|i| scratch.join(format!("blob-{i}"))).collect();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        let this = &*self;
        let unpacked = std::thread::scope(|scope| {
            for _ in 0..connections {
                let (sender, next, stop, blobs) = (sender.clone(), &next, &stop, &blobs);
                scope.spawn(move || {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= blobs.len() || stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let fetched = this.download(registry, i, &blobs[i], stop);
                        // Nobody listens any more once a layer has failed.
                        let _ = sender.send((i, fetched));
                    }
                });
            }
            drop(sender);
            let unpacked = this.unpack_behind(&receiver, &blobs);
            stop.store(true, Ordering::Relaxed);
            unpacked
        })?;
        Ok(((manifest_ns, self.ns()), unpacked, blobs))
    }

    fn unpack_layout(&mut self, folder: &Path) -> Result<Measured> {
        let layers = &self.resolved.image.layers;
        let blobs: Vec<PathBuf> = layers.iter().map(|layer| layout::blob(folder, &layer.digest)).collect();
        // Hashing also brings the blobs to the page cache, where a download leaves them.
        let mut fetched = Vec::new();
        for (i, blob) in blobs.iter().enumerate() {
            let file = File::open(blob).map_err(|e| self.unreadable(i, &e))?;
            let began = Instant::now();
            let found = copy_hashed(file, &mut io::sink(), layers[i].size, &mut |n| {
                (self.progress)(Progress::Downloaded(n));
                true
            });
            let (bytes, hash, _) = found.map_err(|e| self.unreadable(i, &e))?;
            self.check(i, bytes, &hash)?;
            fetched.push(Fetched { download_ns: None, verify_ns: began.elapsed().as_nanos() as u64 });
        }
        self.began = Instant::now();
        let mut unpacked = Vec::new();
        for (i, fetched) in fetched.into_iter().enumerate() {
            let (found, unpack_ns) = self.unpack(i, &blobs[i])?;
            unpacked.push((fetched, found, unpack_ns));
        }
        Ok(((0, self.ns()), unpacked, blobs))
    }

    /// Unpacks each layer once it and all below it are there.
    fn unpack_behind(
        &self,
        downloads: &mpsc::Receiver<(usize, Result<Fetched>)>,
        blobs: &[PathBuf],
    ) -> Result<Vec<(Fetched, Unpacked, [u64; 2])>> {
        let mut waiting: Vec<Option<Fetched>> = blobs.iter().map(|_| None).collect();
        let mut unpacked = Vec::new();
        while unpacked.len() < blobs.len() {
            let i = unpacked.len();
            let Some(fetched) = waiting[i].take() else {
                let (i, fetched) = downloads
                    .recv()
                    .map_err(|_| fault("E0709", "the downloads ended before every layer was there"))?;
                waiting[i] = Some(fetched?);
                continue;
            };
            let (found, unpack_ns) = self.unpack(i, &blobs[i])?;
            unpacked.push((fetched, found, unpack_ns));
        }
        Ok(unpacked)
    }

    fn unpack(&self, i: usize, blob: &Path) -> Result<(Unpacked, [u64; 2])> {
        let begin = self.ns();
        let layer = &self.resolved.image.layers[i];
        let found =
            unpack::unpack(blob, layer.compression, &self.root).map_err(|e| self.unreadable(i, &e))?;
        if self.plan.sync {
            let flushed = File::open(&self.root).and_then(|root| Ok(rustix::fs::syncfs(root)?));
            flushed.map_err(|e| disk(&self.root, &e))?;
        }
        let expected = &self.resolved.diff_ids[i];
        if found.diff_id != *expected {
            let why =
                format!("layer {i}: its tar has digest {}, and the config says {expected}", found.diff_id);
            return Err(fault("E0704", why));
        }
        (self.progress)(Progress::Unpacked);
        Ok((found, [begin, self.ns()]))
    }

    fn download(&self, registry: &Registry<'_>, i: usize, blob: &Path, stop: &AtomicBool) -> Result<Fetched> {
        let layer = &self.resolved.image.layers[i];
        let asked = self.ns();
        let mut body = registry.blob(&layer.digest)?;
        let first = self.ns();
        let mut file = File::create_new(blob).map_err(|e| disk(blob, &e))?;
        let copied = copy_hashed(&mut body, &mut file, layer.size, &mut |n| {
            (self.progress)(Progress::Downloaded(n));
            !stop.load(Ordering::Relaxed)
        });
        let (bytes, hash, verify_ns) = copied.map_err(|e| {
            let out_of_disk = matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            let why = format!("{}: the download stopped: {e}", self.named(i, layer));
            if out_of_disk { disk(blob, &e) } else { fault("E0704", why) }
        })?;
        let last = self.ns();
        self.check(i, bytes, &hash)?;
        Ok(Fetched { download_ns: Some([asked, first, last]), verify_ns })
    }

    fn check(&self, i: usize, bytes: u64, hash: &str) -> Result<()> {
        let layer = &self.resolved.image.layers[i];
        let why = if bytes != layer.size {
            let much = if bytes < layer.size { "only " } else { "more than " };
            format!("{much}{} bytes of {} came", bytes.min(layer.size), layer.size)
        } else if hash != layer.digest {
            format!("what came has digest {hash}")
        } else {
            return Ok(());
        };
        Err(fault("E0704", format!("{}: {why}", self.named(i, layer))))
    }

    fn unreadable(&self, i: usize, error: &io::Error) -> Vec<Fault> {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => disk(&self.root, error),
            _ => fault("E0704", format!("{}: {error}", self.named(i, &self.resolved.image.layers[i]))),
        }
    }

    fn named(&self, i: usize, layer: &LayerBlob) -> String {
        format!("layer {i} of {} ({})", self.resolved.image.layers.len(), layer.digest)
    }

    fn ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }
}

fn disk(path: &Path, error: &io::Error) -> Vec<Fault> {
    let why = format!("cannot write {}: {error}", path.display());
    vec![Fault::error("E0709", why).helped("give --scratch on a disk with more room")]
}

/// Copies to the end, or one byte past `most`; answers bytes, digest, and ns of hashing alone.
fn copy_hashed(
    mut from: impl Read,
    to: &mut impl Write,
    most: u64,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> io::Result<(u64, String, u64)> {
    let mut buffer = vec![0; BLOCK];
    let (mut bytes, mut hash, mut hash_ns) = (0_u64, Sha256::new(), 0);
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        bytes += n as u64;
        if !go_on(n as u64) || bytes > most {
            break;
        }
        let began = Instant::now();
        hash.update(&buffer[..n]);
        hash_ns += began.elapsed().as_nanos() as u64;
        to.write_all(&buffer[..n])?;
    }
    Ok((bytes, digest_text(&hash.finalize()), hash_ns))
}
