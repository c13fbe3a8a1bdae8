//! The output directory: found writable before the first run, written all at once after the last.
//!
//! Every file goes to a temporary file first, and takes its place only after all were written.
//! Only files that this program owns are replaced, and a failure leaves nothing behind.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{REPORTS, Summary, files};

/// Why the results cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputsError {
    /// The directory cannot be made.
    #[error("cannot create the output directory {}: {source}", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No file can be written in it.
    #[error("cannot write to the output directory {}: {source}", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something stands where a file belongs.
    #[error("cannot replace {}: it is no file", path.display())]
    InTheWay {
        /// What.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// An output directory that is ready. Dropped without [`Outputs::write`], it removes what it made.
#[derive(Debug)]
pub struct Outputs {
    dir: PathBuf,
    /// Directories that were made for it, outermost first; emptied once something is kept.
    made: Vec<PathBuf>,
}

impl Outputs {
    /// Makes the directory, if there is none, and makes sure that every file can be written in it.
    ///
    /// `extra` names files that are written beside the reports.
    pub fn prepare(dir: &Path, extra: &[&str]) -> Result<Self, OutputsError> {
        let missing: Vec<PathBuf> = dir
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .map(Path::to_path_buf)
            .collect();
        let mut outputs = Self { dir: dir.to_path_buf(), made: Vec::new() };
        for path in missing.into_iter().rev() {
            fs::create_dir(&path).map_err(|source| OutputsError::Create { path: path.clone(), source })?;
            outputs.made.push(path);
        }
        if !dir.is_dir() {
            let source = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(OutputsError::Create { path: dir.to_path_buf(), source });
        }
        temporary(dir).map_err(|source| OutputsError::Unwritable { path: dir.to_path_buf(), source })?;
        for name in files().chain(extra.iter().copied()) {
            let path = dir.join(name);
            if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                return Err(OutputsError::InTheWay { path });
            }
        }
        Ok(outputs)
    }

    /// Writes every report that is a file, and the extra files as (name, content). Returns their
    /// paths: the reports in the order of [`REPORTS`], then the extra files.
    pub fn write(mut self, summary: &Summary, extra: &[(&str, &[u8])]) -> Result<Vec<PathBuf>, OutputsError> {
        let mut pending = Vec::new();
        for report in REPORTS {
            if let Some(name) = report.file() {
                pending.push(self.stage(name, |out| report.write(summary, out))?);
            }
        }
        for (name, content) in extra {
            pending.push(self.stage(name, |out| out.write_all(content))?);
        }
        let mut written = Vec::with_capacity(pending.len());
        let mut new: Vec<PathBuf> = Vec::new();
        for (file, path) in pending {
            let was_there = path.exists();
            if let Err(error) = file.persist(&path) {
                // Best effort: what could not be removed is named by the error that follows anyway.
                for path in &new {
                    _ = fs::remove_file(path);
                }
                return Err(OutputsError::Write { path, source: error.error });
            }
            if !was_there {
                new.push(path.clone());
            }
            written.push(path);
        }
        self.made.clear();
        Ok(written)
    }

    /// Writes one file under a temporary name.
    fn stage(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(NamedTempFile, PathBuf), OutputsError> {
        let path = self.dir.join(name);
        let staged = || -> io::Result<NamedTempFile> {
            let mut out = BufWriter::new(temporary(&self.dir)?);
            write(&mut out)?;
            out.into_inner().map_err(io::IntoInnerError::into_error)
        };
        match staged() {
            Ok(file) => Ok((file, path)),
            Err(source) => Err(OutputsError::Write { path, source }),
        }
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        // Only directories made here, and only while empty: innermost first.
        for path in self.made.iter().rev() {
            if fs::remove_dir(path).is_err() {
                break;
            }
        }
    }
}

/// A temporary file that, once kept, has the permissions of any new file.
fn temporary(dir: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".thawline-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(dir)
}

/// `DIR/outcome.json and 8 more`, for the line that says what was written.
pub fn listed(paths: &[PathBuf]) -> String {
    match paths {
        [] => "nothing".to_owned(),
        [only] => only.display().to_string(),
        [first, rest @ ..] => format!("{} and {} more", first.display(), rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn summary() -> Summary {
        Summary::new(fixture::experiment())
    }

    #[test]
    fn all_files_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("reports/evening-spike");
        let outputs = Outputs::prepare(&dir, &["resolved.yaml"]).unwrap();
        assert!(names(&dir).is_empty());
        let written = outputs.write(&summary(), &[("resolved.yaml", b"name: x\n")]).unwrap();
        let expected = [
            "decisions.csv",
            "decisions.txt",
            "facts.digest",
            "outcome.json",
            "resolved.yaml",
            "runs.csv",
            "starts.csv",
            "summary.md",
            "timeline.csv",
        ];
        assert_eq!(names(&dir), expected);
        assert_eq!(listed(&written), format!("{} and 8 more", dir.join("outcome.json").display()));
        assert_eq!(fs::read(dir.join("resolved.yaml")).unwrap(), b"name: x\n");
    }

    #[test]
    fn the_same_bytes_again_and_other_files_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("notes.txt"), "mine").unwrap();
        fs::write(root.path().join("outcome.json"), "old").unwrap();
        let write = || {
            Outputs::prepare(root.path(), &[]).unwrap().write(&summary(), &[]).unwrap();
            fs::read(root.path().join("outcome.json")).unwrap()
        };
        let first = write();
        assert_ne!(first, b"old");
        assert_eq!(first, write());
        assert_eq!(fs::read(root.path().join("notes.txt")).unwrap(), b"mine");
    }

    #[cfg(unix)]
    #[test]
    fn files_have_ordinary_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("plain"), "").unwrap();
        Outputs::prepare(root.path(), &[]).unwrap().write(&summary(), &[]).unwrap();
        let mode = |name: &str| fs::metadata(root.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("outcome.json"), mode("plain"));
    }

    #[test]
    fn what_was_made_goes_if_nothing_is_written() {
        let root = tempfile::tempdir().unwrap();
        drop(Outputs::prepare(&root.path().join("a/b"), &[]).unwrap());
        assert!(names(root.path()).is_empty());
        // A directory that was there stays.
        drop(Outputs::prepare(root.path(), &[]).unwrap());
        assert!(root.path().is_dir());
    }

    #[test]
    fn a_file_cannot_be_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for dir in [file.clone(), file.join("below")] {
            let error = Outputs::prepare(&dir, &[]).unwrap_err();
            assert!(matches!(error, OutputsError::Create { .. }), "{error}");
        }
        assert_eq!(names(root.path()), ["file"]);
    }

    #[test]
    fn a_directory_where_a_file_belongs_is_found_first() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("runs.csv")).unwrap();
        let error = Outputs::prepare(root.path(), &[]).unwrap_err();
        assert!(matches!(error, OutputsError::InTheWay { .. }), "{error}");
        assert_eq!(names(root.path()), ["runs.csv"]);
    }

    #[test]
    fn a_late_failure_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("out");
        let outputs = Outputs::prepare(&dir, &[]).unwrap();
        // The last file cannot take its place: a directory with something in it stands there.
        fs::create_dir_all(root.path().join("out/facts.digest/full")).unwrap();
        let error = outputs.write(&summary(), &[]).unwrap_err();
        assert!(matches!(error, OutputsError::Write { .. }), "{error}");
        assert_eq!(names(&dir), ["facts.digest"]);
    }
}
