//! A single file beside the output directory, such as a baseline: found writable before the run, and replaced all at once after it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::OutputsError;

/// A file that can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    path: PathBuf,
}

impl Replacement {
    /// Makes sure that the file can be written; its directory must exist. It is not touched.
    pub fn prepare(path: &Path) -> Result<Self, OutputsError> {
        // What a link leads to is replaced, and not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(OutputsError::InTheWay { path });
        }
        match temporary(&path) {
            Ok(_) => Ok(Self { path }),
            Err(source) => Err(OutputsError::Write { path, source }),
        }
    }

    /// Writes it: a reader finds the old content or the new one, and never a part.
    pub fn write(&self, content: &[u8]) -> Result<(), OutputsError> {
        let staged = || -> io::Result<()> {
            let mut file = temporary(&self.path)?;
            file.write_all(content)?;
            file.persist(&self.path).map_err(|error| error.error)?;
            Ok(())
        };
        staged().map_err(|source| OutputsError::Write { path: self.path.clone(), source })
    }
}

/// A temporary file beside it, with the permissions of any new file.
fn temporary(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // By our own hand: errors then do not name a file that nobody knows.
    let make = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
    tempfile::Builder::new().prefix(".thawline-").make_in(parent.unwrap_or(Path::new(".")), make)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_left() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("base.json");
        let replacement = Replacement::prepare(&path).unwrap();
        assert!(!path.exists(), "it is not touched before it is written");
        replacement.write(b"one").unwrap();
        replacement.write(b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_found_first() {
        let root = tempfile::tempdir().unwrap();
        let check = |path: &Path, expected: fn(&OutputsError) -> bool| {
            let error = Replacement::prepare(path).unwrap_err();
            assert!(expected(&error), "{error}");
        };
        check(root.path(), |error| matches!(error, OutputsError::InTheWay { .. }));
        check(&root.path().join("missing/base.json"), |error| matches!(error, OutputsError::Write { .. }));
        let error = Replacement::prepare(&root.path().join("missing/base.json")).unwrap_err();
        assert!(!error.to_string().contains(".thawline-"), "no name that nobody knows: {error}");
        #[cfg(unix)]
        check(Path::new("/dev/null"), |error| matches!(error, OutputsError::InTheWay { .. }));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one() {
        let root = tempfile::tempdir().unwrap();
        let (file, link) = (root.path().join("file"), root.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        Replacement::prepare(&link).unwrap().write(b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }
}
