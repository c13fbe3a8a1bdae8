//! Weights end to end, from files to the device: the naive way (map the file, copy from pageable
//! memory) and double-buffered (threads read one block while the last one is on its way), with
//! a cold and a warm page cache, at three sizes, so that `fit` can separate a base from a
//! bandwidth. And copies between host and device alone.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::backend::{Backend, Direction, Host};
use super::log::Log;
use super::progress::Progress;
use super::storage::{flag_warm_pages, temperature};
use super::weights::WeightFiles;
use crate::raw::{Cache, Record, TransferSample};
use crate::{Result, disk, fault, page_cache};

/// Bytes of a host buffer of the double-buffered load, and of one copy of the naive one.
const BLOCK: u64 = 16 << 20;
/// Host buffers: one on its way, one being filled, one to spare.
const BUFFERS: u32 = 3;
/// Loads that [`load_weights`] times: three sizes, two ways, cold and warm.
pub const LOADS: usize = 12;
/// Threads that fill a buffer.
const READERS: u32 = 4;

/// A way to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Naive,
    Buffered,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Naive => "weight load, mapped and pageable",
            Self::Buffered => "weight load, double-buffered and pinned",
        }
    }
}

/// Loads the first `bytes_max` bytes of the files, a half and an eighth, each way, cold and warm.
///
/// # Errors
/// Whatever the files, the device or the raw file's disk report.
pub fn load_weights(
    files: &WeightFiles,
    bytes_max: u64,
    backend: &mut dyn Backend,
    limit: Duration,
    log: &mut Log,
    progress: &dyn Progress,
) -> Result<()> {
    let all = files.bytes().min(bytes_max);
    let sizes = [all, all / 2, all / 8].map(|bytes| bytes.max(1));
    progress.phase("weight load", LOADS);
    let began = Instant::now();
    for bytes in sizes {
        for (way, cache) in cross([Way::Naive, Way::Buffered], [Cache::Cold, Cache::Warm]) {
            let done = |r: &Record| matches!(r, Record::Transfer(t) if (t.what.as_str(), t.cache, t.bytes) == (way.name(), Some(cache), bytes));
            if log.has(done) {
                continue;
            }
            if began.elapsed() > limit {
                let text = format!(
                    "weight load: sizes from {bytes} bytes on left out after {:.0} s",
                    limit.as_secs_f64()
                );
                return log.flag("timeLimit", text);
            }
            progress.point(&format!(
                "{}{}, {:.2} GB",
                way.name(),
                temperature(Some(cache)),
                bytes as f64 / 1e9
            ));
            let share = files.prepare(cache)?;
            flag_warm_pages(way.name(), Some(cache), share, log)?;
            let seconds = vec![load(way, files, bytes, backend)?];
            log.push(Record::Transfer(TransferSample {
                what: way.name().to_owned(),
                cache: Some(cache),
                cached_share: share,
                file_system: disk::file_system(&files.files[0].0),
                bytes,
                threads: if way == Way::Naive { 1 } else { READERS },
                block_bytes: BLOCK.min(bytes),
                seconds,
            }))?;
        }
    }
    log.note_elapsed()
}

fn cross<A: Copy, B: Copy>(a: [A; 2], b: [B; 2]) -> [(A, B); 4] {
    [(a[0], b[0]), (a[0], b[1]), (a[1], b[0]), (a[1], b[1])]
}

/// s from opening the files until the device has all bytes, buffers allocated on the way.
fn load(way: Way, files: &WeightFiles, bytes: u64, backend: &mut dyn Backend) -> Result<f64> {
    let began = Instant::now();
    let open = files.open()?;
    match way {
        Way::Naive => {
            backend.begin_upload(bytes, Host::Pageable, BLOCK, 0)?;
            let mapped: Vec<_> = open
                .iter()
                .map(page_cache::map)
                .collect::<std::io::Result<_>>()
                .map_err(|e| fault("E0401", format!("cannot map the weights: {e}")))?;
            for (file, at, offset, length) in files.pieces(bytes, BLOCK) {
                backend.send_slice(offset, &mapped[file][at as usize..(at + length) as usize])?;
            }
        }
        Way::Buffered => {
            backend.begin_upload(bytes, Host::Pinned, BLOCK, BUFFERS)?;
            for (file, at, offset, length) in files.pieces(bytes, BLOCK) {
                let buffer = backend.upload_buffer()?;
                fill(&open[file], at, &mut buffer[..length as usize])
                    .map_err(|e| fault("E0709", format!("cannot read weights: {e}")))?;
                backend.send(offset, length)?;
            }
        }
    }
    backend.end_upload()?;
    Ok(began.elapsed().as_secs_f64())
}

/// Fills a buffer from a file, several threads a part each.
fn fill(file: &File, at: u64, buffer: &mut [u8]) -> std::io::Result<()> {
    let part = buffer.len().div_ceil(READERS as usize).max(1);
    std::thread::scope(|scope| {
        let parts = buffer.chunks_mut(part).enumerate();
        let readers: Vec<_> = parts
            .map(|(i, chunk)| scope.spawn(move || file.read_exact_at(chunk, at + (i * part) as u64)))
            .collect();
        readers.into_iter().try_for_each(|reader| reader.join().expect("readers do not panic"))
    })
}

/// Copies between host and device alone, over block sizes.
///
/// # Errors
/// Whatever the device or the raw file's disk report.
pub fn copies(
    bytes: u64,
    samples: usize,
    backend: &mut dyn Backend,
    log: &mut Log,
    progress: &dyn Progress,
) -> Result<()> {
    let plan = [
        (Direction::ToDevice, Host::Pageable, bytes),
        (Direction::ToDevice, Host::Pageable, bytes / 16),
        (Direction::ToDevice, Host::Pinned, bytes),
        (Direction::ToDevice, Host::Pinned, bytes / 4),
        (Direction::ToDevice, Host::Pinned, bytes / 16),
        (Direction::ToDevice, Host::Pinned, bytes / 64),
        (Direction::ToHost, Host::Pageable, bytes),
        (Direction::ToHost, Host::Pinned, bytes),
    ];
    progress.phase("copies", plan.len());
    for (direction, host, block) in plan {
        let way = if direction == Direction::ToDevice { "host to device" } else { "device to host" };
        let what = format!("{way}, {}", if host == Host::Pinned { "pinned" } else { "pageable" });
        let done = |r: &Record| matches!(r, Record::Transfer(t) if t.what == what && t.block_bytes == block);
        if log.has(done) {
            continue;
        }
        progress.point(&format!("{what}, blocks of {block} bytes"));
        let seconds: Vec<f64> =
            (0..samples).map(|_| backend.copy(direction, host, bytes, block)).collect::<Result<_>>()?;
        log.push(Record::Transfer(TransferSample {
            what,
            cache: None,
            cached_share: None,
            file_system: None,
            bytes,
            threads: 1,
            block_bytes: block,
            seconds,
        }))?;
    }
    log.note_elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::fake::Fake;

    #[test]
    fn both_ways_bring_every_byte_to_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (mut files, mut expected) = (Vec::new(), Vec::new());
        for (name, length) in [("a", 40_000_000_usize), ("b", 3), ("c", 5_000_001)] {
            let content: Vec<u8> = (0..length).map(|i| (i * 31 + length) as u8).collect();
            let path = folder.path().join(name);
            std::fs::write(&path, &content).unwrap();
            files.push((path, length as u64));
            expected.extend(content);
        }
        let files = WeightFiles { files };
        for bytes in [files.bytes(), 40_000_002, 7] {
            for way in [Way::Naive, Way::Buffered] {
                let mut backend = Fake::default();
                assert!(load(way, &files, bytes, &mut backend).unwrap() > 0.0);
                assert!(backend.uploaded == expected[..bytes as usize], "{way:?}, {bytes} bytes");
            }
        }
    }
}
