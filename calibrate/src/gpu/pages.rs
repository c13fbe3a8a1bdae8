//! The page cache: what it holds of a file, emptying it for one file, and what file system
//! the file lies on. No root rights are needed.

use std::fs::File;
use std::io::{Error, Read};
use std::path::Path;

use memmap2::Mmap;
use rustix::fs::{Advice, fadvise};

use crate::{Result, fault};

/// More of a file than this in the page cache is not a cold read.
pub const COLD_SHARE_MAX: f64 = 0.01;

/// Maps a file that nobody is expected to cut short meanwhile.
#[allow(unsafe_code)]
pub fn map(file: &File) -> Result<Mmap> {
    // SAFETY: the mapping is only read. Whoever shortens a model's file while it is loaded gets
    // SIGBUS here as in every engine that maps its weights.
    unsafe { Mmap::map(file) }.map_err(|e| fault("E0401", format!("cannot map the file: {e}")))
}

/// Share of a file that is in the page cache, 0 to 1; `None` where the system does not say.
#[allow(unsafe_code)]
pub fn cached_share(file: &File) -> Option<f64> {
    let mapped = map(file).ok().filter(|m| !m.is_empty())?;
    let page = rustix::param::page_size();
    let mut resident = vec![0_u8; mapped.len().div_ceil(page)];
    // SAFETY: the range is the whole mapping, which lives until the end of this function, and
    // `resident` has a byte for each of its pages, as mincore(2) asks for.
    let code =
        unsafe { libc::mincore(mapped.as_ptr().cast_mut().cast(), mapped.len(), resident.as_mut_ptr()) };
    let there = resident.iter().filter(|state| *state & 1 == 1).count();
    (code == 0).then(|| there as f64 / resident.len() as f64)
}

/// Asks the system to forget a file's pages; what is not on disk yet is written first.
///
/// # Errors
/// E0709 with the system's reason.
pub fn forget(file: &File) -> Result<()> {
    let failed = |e: Error| fault("E0709", format!("cannot empty the page cache of the file: {e}"));
    // A read-only handle may not sync on some file systems; then nothing of it is dirty.
    let _ = file.sync_all();
    fadvise(file, 0, None, Advice::DontNeed).map_err(|e| failed(e.into()))
}

/// Reads a file through the page cache, so that it holds it.
///
/// # Errors
/// E0401 with the system's reason.
pub fn read_through(file: &Path) -> Result<u64> {
    let failed = |e: Error| fault("E0401", format!("cannot read {}: {e}", file.display()));
    let mut open = File::open(file).map_err(failed)?;
    let (mut block, mut all) = (vec![0_u8; 4 << 20], 0);
    loop {
        match open.read(&mut block).map_err(failed)? {
            0 => return Ok(all),
            read => all += read as u64,
        }
    }
}

/// Magic numbers of statfs(2), from `linux/magic.h`.
const FILE_SYSTEMS: [(u64, &str); 12] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x794c_7630, "overlay"),
    (0x0102_1994, "tmpfs"),
    (0x6969, "nfs"),
    (0x6573_5546, "fuse"),
    (0x0bd0_0bd0, "lustre"),
    (0x2fc1_2fc1, "zfs"),
    (0xff53_4d42, "cifs"),
    (0x00c3_6400, "ceph"),
    (0x0102_1997, "9p"),
];

/// Name of the file system a path lies on, its number where the name is not known.
pub fn file_system(path: &Path) -> Option<String> {
    let magic = rustix::fs::statfs(path).ok()?.f_type as u64 & 0xffff_ffff;
    let known = FILE_SYSTEMS.iter().find(|(number, _)| *number == magic);
    Some(known.map_or_else(|| format!("{magic:#x}"), |(_, name)| (*name).to_owned()))
}

/// Bytes free for us on the file system of a path.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_just_written_is_cached_and_can_be_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, vec![7_u8; 1 << 20]).unwrap();
        let file = File::open(&path).unwrap();
        assert!(cached_share(&file).unwrap() > 0.9);
        forget(&file).unwrap();
        // Memory file systems have nothing but the cache.
        if file_system(&path).as_deref() != Some("tmpfs") {
            assert!(cached_share(&file).unwrap() < 0.5);
        }
        assert_eq!(read_through(&path).unwrap(), 1 << 20);
        assert!(cached_share(&file).unwrap() > 0.9);
    }

    #[test]
    fn an_empty_file_has_no_share() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(cached_share(&file), None);
    }

    #[test]
    fn the_file_system_is_named() {
        assert!(file_system(Path::new("/proc")).is_some());
        assert_eq!(file_system(Path::new("/no/such/path")), None);
        assert!(free_bytes(Path::new(".")).unwrap() > 0);
    }
}
