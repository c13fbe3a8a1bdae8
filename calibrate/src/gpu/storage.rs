//! How fast files are read: past the page cache, through it when it is cold and warm, and mapped.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::log::Log;
use super::progress::Progress;
use crate::raw::{Cache, Record, TransferSample};
use crate::{Result, disk, fault, page_cache};

/// Bytes of one read.
pub const BLOCK: u64 = 4 << 20;
/// What O_DIRECT asks buffers, offsets and lengths to be multiples of.
const ALIGNMENT: usize = 4096;

/// A way to read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct { threads: u32 },
    Buffered,
    Mapped,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Direct { .. } => "storage read, O_DIRECT",
            Self::Buffered => "storage read, buffered",
            Self::Mapped => "storage read, mapped",
        }
    }

    const fn threads(self) -> u32 {
        if let Self::Direct { threads } = self { threads } else { 1 }
    }
}

const PLAN: [(Way, Option<Cache>); 7] = [
    (Way::Direct { threads: 1 }, None),
    (Way::Direct { threads: 4 }, None),
    (Way::Direct { threads: 16 }, None),
    (Way::Buffered, Some(Cache::Cold)),
    (Way::Buffered, Some(Cache::Warm)),
    (Way::Mapped, Some(Cache::Cold)),
    (Way::Mapped, Some(Cache::Warm)),
];

/// Measures every way to read the first `bytes` of a file, `samples` times each.
///
/// # Errors
/// E0401 if it cannot be read; the disk's that holds the raw file.
pub fn run(
    path: &Path,
    bytes: u64,
    samples: usize,
    limit: Duration,
    log: &mut Log,
    progress: &dyn Progress,
) -> Result<()> {
    let open = || File::open(path).map_err(|e| unreadable(path, &e));
    let length = open()?.metadata().map_err(|e| unreadable(path, &e))?.len();
    // Whole blocks of the disk, as O_DIRECT reads no other.
    let bytes = bytes.min(length) / ALIGNMENT as u64 * ALIGNMENT as u64;
    if bytes == 0 {
        return log.flag("storageSkipped", "storage: the file is shorter than one block of 4096 bytes");
    }
    progress.phase("storage", PLAN.len());
    let began = Instant::now();
    for (way, cache) in PLAN {
        let done = |r: &Record| matches!(r, Record::Transfer(t) if t.what == way.name() && t.cache == cache && t.threads == way.threads());
        if log.has(done) {
            continue;
        }
        if began.elapsed() > limit {
            let text = format!(
                "storage: {} and what follows left out after {:.0} s",
                way.name(),
                limit.as_secs_f64()
            );
            return log.flag("timeLimit", text);
        }
        progress.point(&format!("{}, {} threads{}", way.name(), way.threads(), temperature(cache)));
        let (mut seconds, mut shares) = (Vec::new(), Vec::new());
        for _ in 0..samples {
            let file = open()?;
            match cache {
                Some(Cache::Warm) => page_cache::read_through(path),
                Some(Cache::Cold) | None => page_cache::forget(&file),
            }
            .map_err(|e| unreadable(path, &e))?;
            shares.extend(page_cache::cached_share(&file));
            match read(way, path, bytes) {
                Ok(time) => seconds.push(time),
                Err(error) if matches!(way, Way::Direct { .. }) => {
                    let place = disk::file_system(path).unwrap_or_else(|| "this file system".to_owned());
                    log.flag("noDirectRead", format!("storage: {place} refuses O_DIRECT ({error})"))?;
                    break;
                }
                Err(error) => return Err(unreadable(path, &error)),
            }
        }
        if seconds.is_empty() {
            continue;
        }
        let share =
            shares.iter().copied().fold(None, |most: Option<f64>, s| Some(most.map_or(s, |m| m.max(s))));
        flag_warm_pages(way.name(), cache, share, log)?;
        log.push(Record::Transfer(TransferSample {
            what: way.name().to_owned(),
            cache,
            cached_share: share,
            file_system: disk::file_system(path),
            bytes,
            threads: way.threads(),
            block_bytes: BLOCK.min(bytes),
            seconds,
        }))?;
    }
    log.note_elapsed()
}

/// Says so if a cold read was not cold.
///
/// # Errors
/// The disk's.
pub fn flag_warm_pages(what: &str, cache: Option<Cache>, share: Option<f64>, log: &mut Log) -> Result<()> {
    match (cache, share) {
        (Some(Cache::Cold), Some(share)) if share > page_cache::COLD_SHARE_MAX => {
            let text = format!(
                "{what}: {:.0} % of the file stayed in the page cache before a cold read",
                share * 100.0
            );
            log.flag("pageCacheNotCold", text)
        }
        (Some(Cache::Cold), None) => {
            log.flag("pageCacheUnknown", format!("{what}: the system does not say what the page cache holds"))
        }
        _ => Ok(()),
    }
}

/// `, cold`.
pub fn temperature(cache: Option<Cache>) -> &'static str {
    match cache {
        Some(Cache::Cold) => ", cold",
        Some(Cache::Warm) => ", warm",
        None => "",
    }
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Vec<crate::Fault> {
    fault("E0401", format!("cannot read {}: {error}", path.display()))
}

/// s of one read.
fn read(way: Way, path: &Path, bytes: u64) -> std::io::Result<f64> {
    let began = Instant::now();
    match way {
        Way::Direct { threads } => {
            let flags = rustix::fs::OFlags::DIRECT.bits() as i32;
            let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
            read_blocks(&file, bytes, threads)?;
        }
        Way::Buffered => read_blocks(&File::open(path)?, bytes, 1)?,
        Way::Mapped => touch(&File::open(path)?, bytes)?,
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Reads a file in blocks, each thread taking the next one.
fn read_blocks(file: &File, bytes: u64, threads: u32) -> std::io::Result<()> {
    let next = Mutex::new((0..bytes).step_by(BLOCK as usize));
    let work = || {
        let mut memory = vec![0_u8; BLOCK as usize + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        let block = &mut memory[start..start + BLOCK as usize];
        loop {
            let Some(offset) = next.lock().expect("no thread panics while it holds the lock").next() else {
                return Ok(());
            };
            let wanted = BLOCK.min(bytes - offset) as usize;
            // With O_DIRECT a read that is cut short goes on at an aligned offset.
            file.read_exact_at(&mut block[..wanted], offset)?;
        }
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        readers.into_iter().try_for_each(|reader| reader.join().expect("readers do not panic"))
    })
}

/// Reads a byte of every page of a mapped file, in order.
fn touch(file: &File, bytes: u64) -> std::io::Result<()> {
    let mapped = page_cache::map(file)?;
    // Advice: where it is refused, the read is only slower.
    let _ = mapped.advise(memmap2::Advice::Sequential);
    let sum: u64 = mapped[..bytes as usize].iter().step_by(ALIGNMENT).map(|byte| u64::from(*byte)).sum();
    std::hint::black_box(sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::log::tests::log;
    use crate::gpu::progress::Silent;

    #[test]
    fn every_way_of_reading_is_recorded_once_with_what_was_cached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, vec![5_u8; (6 << 20) + 17]).unwrap();
        let mut log = log(folder.path());
        let limit = Duration::from_mins(1);
        run(&path, u64::MAX, 2, limit, &mut log, &Silent).unwrap();
        let transfers: Vec<TransferSample> = log
            .records()
            .iter()
            .filter_map(|r| if let Record::Transfer(t) = r { Some(t.clone()) } else { None })
            .collect();
        let refused = log.flags().any(|f| f.flag == "noDirectRead");
        assert_eq!(transfers.len(), if refused { 4 } else { 7 }, "{transfers:#?}");
        for transfer in &transfers {
            assert_eq!((transfer.bytes, transfer.seconds.len()), (6 << 20, 2), "{transfer:?}");
            assert!(transfer.seconds.iter().all(|s| *s > 0.0) && transfer.file_system.is_some());
            if transfer.cache == Some(Cache::Warm) {
                assert!(transfer.cached_share.unwrap() > 0.9, "{transfer:?}");
            }
        }
        let before = log.records().len();
        run(&path, u64::MAX, 2, limit, &mut log, &Silent).unwrap();
        // Only the note of the time is new.
        assert_eq!(log.records().len(), before + 1);
    }

    #[test]
    fn threads_read_every_block_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, vec![1_u8; 9 << 20]).unwrap();
        for threads in [1, 3] {
            read_blocks(&File::open(&path).unwrap(), 9 << 20, threads).unwrap();
        }
        // A file shorter than it should be is an error, not a fast read.
        assert!(read_blocks(&File::open(&path).unwrap(), 10 << 20, 2).is_err());
    }

    #[test]
    fn pages_that_stay_cached_and_time_that_runs_out_are_flagged() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path());
        flag_warm_pages("x", Some(Cache::Cold), Some(0.4), &mut log).unwrap();
        flag_warm_pages("x", Some(Cache::Cold), Some(0.0), &mut log).unwrap();
        flag_warm_pages("x", Some(Cache::Warm), Some(1.0), &mut log).unwrap();
        flag_warm_pages("y", Some(Cache::Cold), None, &mut log).unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, vec![1_u8; 1 << 20]).unwrap();
        run(&path, u64::MAX, 1, Duration::ZERO, &mut log, &Silent).unwrap();
        let flags: Vec<_> = log.flags().map(|f| f.flag.as_str()).collect();
        assert_eq!(flags, ["pageCacheNotCold", "pageCacheUnknown", "timeLimit"]);
    }
}
