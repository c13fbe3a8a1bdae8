//! The page cache: dropping files from it, reading them into it, and seeing what it holds.
//!
//! No privilege is needed for one's own files. A cold start that was not cold is the commonest
//! wrong figure of all, so the share still cached is always measured, never assumed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use memmap2::Mmap;
use rustix::fs::{Advice, fadvise};

/// More of a file than this in the page cache is not a cold read.
pub const COLD_SHARE_MAX: f64 = 0.01;

/// Maps a file that nobody is expected to cut short meanwhile.
///
/// # Errors
/// The system's reason.
#[allow(unsafe_code)]
pub fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is only read. Whoever shortens a model's file while it is loaded gets
    // SIGBUS here as in every engine that maps its weights.
    unsafe { Mmap::map(file) }
}

/// Pages of a file in the page cache, and all its pages.
///
/// # Errors
/// A file that cannot be mapped, and a system that does not say.
#[allow(unsafe_code)]
fn cached_pages(file: &File) -> io::Result<(u64, u64)> {
    if file.metadata()?.len() == 0 {
        return Ok((0, 0));
    }
    let mapped = map(file)?;
    let mut resident = vec![0_u8; mapped.len().div_ceil(rustix::param::page_size())];
    // SAFETY: the range is the whole mapping, which lives until the end of this function, and
    // `resident` has a byte for each of its pages, as mincore(2) asks for.
    let code =
        unsafe { libc::mincore(mapped.as_ptr().cast_mut().cast(), mapped.len(), resident.as_mut_ptr()) };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    // Only the lowest bit is defined.
    let there = resident.iter().filter(|state| **state & 1 == 1).count();
    Ok((there as u64, resident.len() as u64))
}

/// Share of a file that is in the page cache, 0 to 1; `None` of an empty one, and where the
/// system does not say.
pub fn cached_share(file: &File) -> Option<f64> {
    let (there, all) = cached_pages(file).ok()?;
    (all > 0).then(|| there as f64 / all as f64)
}

/// Asks the system to forget a file's pages; what is not on disk yet is written first.
///
/// # Errors
/// The system's reason.
pub fn forget(file: &File) -> io::Result<()> {
    // A read-only handle may not sync on some file systems; then nothing of it is dirty.
    let _ = file.sync_all();
    fadvise(file, 0, None, Advice::DontNeed).map_err(|e| {
        let system = io::Error::from(e);
        io::Error::new(system.kind(), format!("its page cache cannot be emptied: {system}"))
    })
}

/// Reads a file through the page cache, so that it holds it.
///
/// # Errors
/// The system's reason.
pub fn read_through(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut block = vec![0_u8; 4 << 20];
    while file.read(&mut block)? > 0 {}
    Ok(())
}

/// Files of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The files, in a fixed order.
    pub paths: Vec<PathBuf>,
    /// All their bytes.
    pub bytes: u64,
}

impl Files {
    /// The files named, and all files below the directories named.
    ///
    /// # Errors
    /// The first path that cannot be read.
    pub fn find(paths: &[PathBuf]) -> Result<Self, (PathBuf, io::Error)> {
        let mut found = Self::default();
        for path in paths {
            found.add(path).map_err(|error| (path.clone(), error))?;
        }
        Ok(found)
    }

    fn add(&mut self, path: &Path) -> io::Result<()> {
        let data = std::fs::metadata(path)?;
        if data.is_dir() {
            let entries = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
            let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
            entries.sort();
            return entries.iter().try_for_each(|entry| self.add(entry));
        }
        if data.is_file() {
            self.bytes += data.len();
            self.paths.push(path.to_owned());
        }
        Ok(())
    }

    /// Has the system forget their pages, as far as it will.
    ///
    /// Pages that a process which just ended has mapped may take a moment to come free.
    ///
    /// # Errors
    /// A file that cannot be opened, mapped or written back.
    pub fn drop_cached(&self) -> io::Result<()> {
        for pause_ms in [0, 50, 100, 200, 400, 800] {
            std::thread::sleep(Duration::from_millis(pause_ms));
            self.advise_drop()?;
            if self.cached_share()? <= COLD_SHARE_MAX {
                break;
            }
        }
        Ok(())
    }

    fn advise_drop(&self) -> io::Result<()> {
        for path in &self.paths {
            forget(&File::open(path)?)?;
        }
        Ok(())
    }

    /// Reads them all, so that the system holds what it can.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read_all(&self) -> io::Result<()> {
        self.paths.iter().try_for_each(|path| read_through(path))
    }

    /// Share of their pages in the page cache, 0 to 1.
    ///
    /// # Errors
    /// A file that cannot be mapped.
    pub fn cached_share(&self) -> io::Result<f64> {
        let (mut cached, mut all) = (0_u64, 0_u64);
        for path in &self.paths {
            let (part, pages) = cached_pages(&File::open(path)?)?;
            cached += part;
            all += pages;
        }
        Ok(if all == 0 { 0.0 } else { cached as f64 / all as f64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_and_read_into_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(folder.path().join("b"), vec![1; 10_000]).unwrap();
        std::fs::write(inner.join("a"), vec![1; 100_000]).unwrap();
        std::fs::write(inner.join("empty"), "").unwrap();
        let files = Files::find(&[inner.clone(), folder.path().join("b")]).unwrap();
        assert_eq!((files.paths.len(), files.bytes), (3, 110_000));
        files.read_all().unwrap();
        assert!((files.cached_share().unwrap() - 1.0).abs() < f64::EPSILON);
        // What a file system forgets is its own affair (tmpfs nothing); the share says what it did.
        files.drop_cached().unwrap();
        let share = files.cached_share().unwrap();
        assert!((0.0..=1.0).contains(&share), "{share}");
    }

    #[test]
    fn a_missing_path_is_named() {
        let (path, _) = Files::find(&[PathBuf::from("/nowhere/weights")]).unwrap_err();
        assert_eq!(path, Path::new("/nowhere/weights"));
    }

    #[test]
    fn a_file_just_written_is_cached_and_can_be_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, vec![7_u8; 1 << 20]).unwrap();
        let file = File::open(&path).unwrap();
        assert!(cached_share(&file).unwrap() > 0.9);
        forget(&file).unwrap();
        // Memory file systems have nothing but the cache.
        if crate::disk::file_system(&path).as_deref() != Some("tmpfs") {
            assert!(cached_share(&file).unwrap() < 0.5);
        }
        read_through(&path).unwrap();
        assert!(cached_share(&file).unwrap() > 0.9);
    }

    #[test]
    fn an_empty_file_has_no_share() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(cached_share(&file), None);
    }
}
