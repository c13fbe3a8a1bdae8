//! Where files are written before they take their place: a directory of one run, which no other run takes away
//! while this one lives, and which the next one clears away once it is dead.
//!
//! It holds `lock`, locked for as long as the run lives, and one of `new` (files that are being written) or
//! `whole` (complete ones: the new report before it is swapped with the old one, and the old one after); `was`
//! holds the old files while new ones take their places one by one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::owned;

const PREFIX: &str = ".thawline-";
const LOCK: &str = "lock";

/// Another run may take a staging directory for dead before it is locked, but not time and again.
const TRIES: u32 = 16;

/// The staging directory of a run. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Staging {
    root: PathBuf,
    /// Closed with the run, however it ends, and that unlocks it.
    _lock: File,
}

impl Staging {
    /// A staging directory in this one.
    pub fn make_in(parent: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            // By our own hand: errors then do not name a directory that nobody knows.
            let made =
                tempfile::Builder::new().prefix(PREFIX).make_in(parent, |path| fs::create_dir(path))?;
            let root = made.into_temp_path().keep()?;
            match claim(&root) {
                Ok(Some(lock)) => {
                    let staging = Self { root, _lock: lock };
                    fs::create_dir(staging.fresh())?;
                    return Ok(staging);
                }
                Ok(None) => {}
                Err(error) => {
                    dismantle(&root);
                    return Err(error);
                }
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Whether it stands in this directory.
    pub fn is_in(&self, parent: &Path) -> bool {
        self.root.parent() == Some(parent)
    }

    /// Where files are written.
    pub fn fresh(&self) -> PathBuf {
        self.root.join("new")
    }

    /// Where files are complete.
    pub fn whole(&self) -> PathBuf {
        self.root.join("whole")
    }

    /// Says that all files are complete; they are then in [`Staging::whole`].
    pub fn complete(&self) -> io::Result<()> {
        fs::rename(self.fresh(), self.whole())
    }

    /// Makes the place for what is put aside.
    pub fn make_was(&self) -> io::Result<PathBuf> {
        let was = self.root.join("was");
        fs::create_dir(&was)?;
        Ok(was)
    }

    /// Takes it away, best effort: what is left is swept by the next run.
    pub fn remove(&self) {
        dismantle(&self.root);
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Makes and takes the lock of a new staging directory; `None` if a sweeping run was faster and took it away.
fn claim(root: &Path) -> io::Result<Option<File>> {
    let path = root.join(LOCK);
    let lock = match File::create_new(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        // Where a file system knows no locks, nobody can lock it, and so nobody takes it for dead.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    Ok(path.exists().then_some(lock))
}

/// Clears away what dead runs left in a directory. Nothing here fails: what cannot be removed stays.
pub(super) fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // Not what a link of that name leads to.
        if ours && entry.file_type().is_ok_and(|found| found.is_dir()) {
            bury(&entry.path());
        }
    }
}

/// Removes a staging directory, if it is one and its run is dead.
fn bury(root: &Path) {
    match File::open(root.join(LOCK)) {
        Ok(lock) => {
            if lock.try_lock().is_ok() {
                dismantle(root);
            }
        }
        // Killed before it had a lock, or after it had removed it: empty then. Or not ours at all, and full.
        Err(error) if error.kind() == io::ErrorKind::NotFound => _ = fs::remove_dir(root),
        Err(_) => {}
    }
}

/// The lock goes last, so that what is left of a run that is killed in here is still known.
fn dismantle(root: &Path) {
    _ = fs::remove_dir_all(root.join("new"));
    _ = fs::remove_dir_all(root.join("was"));
    // The old report; should somebody have put a file of his own there as it was swapped, that one stays.
    let whole = root.join("whole");
    for entry in fs::read_dir(&whole).into_iter().flatten().flatten() {
        if owned::could_be(&entry, &[]) {
            _ = fs::remove_file(entry.path());
        }
    }
    if fs::remove_dir(&whole).is_ok() || !whole.exists() {
        _ = fs::remove_file(root.join(LOCK));
        _ = fs::remove_dir(root);
    }
}
