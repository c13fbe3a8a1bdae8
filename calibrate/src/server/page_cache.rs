//! The page cache: dropping files from it, reading them into it, and seeing what it holds.
//!
//! No privilege is needed for one's own files. A cold start that was not cold is the commonest
//! wrong figure of all, so the share still cached is always measured, never assumed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise, fsync};

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
    /// # Errors
    /// A file that cannot be opened or written back.
    pub fn drop_cached(&self) -> io::Result<()> {
        for path in &self.paths {
            let file = File::open(path)?;
            // Pages not yet written to disk stay whatever is advised.
            fsync(&file)?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
        Ok(())
    }

    /// Reads them all, so that the system holds what it can.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read_all(&self) -> io::Result<()> {
        let mut buffer = vec![0; 4 << 20];
        for path in &self.paths {
            let mut file = File::open(path)?;
            while file.read(&mut buffer)? > 0 {}
        }
        Ok(())
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

/// Pages in the page cache, and all pages.
#[allow(unsafe_code)]
fn cached_pages(file: &File) -> io::Result<(u64, u64)> {
    unsafe extern "C" {
        /// mincore(2); neither std nor rustix has it.
        fn mincore(address: *mut u8, length: usize, residency: *mut u8) -> i32;
    }
    if file.metadata()?.len() == 0 {
        return Ok((0, 0));
    }
    // SAFETY: the map is never read, so a file that changes meanwhile is no matter.
    let map = unsafe { memmap2::Mmap::map(file)? };
    let mut residency = vec![0_u8; map.len().div_ceil(rustix::param::page_size())];
    // SAFETY: address and length are those of a live map, and there is a byte for each of its pages.
    let status = unsafe { mincore(map.as_ptr().cast_mut(), map.len(), residency.as_mut_ptr()) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // Only the lowest bit is defined.
    let cached = residency.iter().filter(|page| **page & 1 == 1).count();
    Ok((cached as u64, residency.len() as u64))
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
}
