//! The output directory: found writable before the first run, replaced as a whole after the last.
//!
//! Every file is opened before the run, in a directory beside the output directory, and written after it. Then
//! the two directories change places in one step, so that there is never a moment in which new files lie beside
//! old ones, and a run that is killed leaves the one report or the other. Where that cannot be (somebody else's
//! files lie there, a shell stands there, it is a mount point, the system knows no such step), every file takes
//! its place by itself: each is whole then, old or new. Only files that this program owns are replaced, and a
//! failure leaves nothing behind.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::staging::{self, Staging};
use super::{REPORTS, Summary, files, owned};

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
    /// As it was given.
    dir: PathBuf,
    /// The same without links.
    target: PathBuf,
    /// Directories that were made above it, outermost first; emptied once something is kept.
    made: Vec<PathBuf>,
    staging: Staging,
    /// The files of this run, open in the staging directory; taken as they are written.
    open: Vec<(String, Option<File>)>,
}

impl Outputs {
    /// Makes what is above the directory, if there is nothing, and opens every file, out of sight.
    ///
    /// `extra` names files that are written beside the reports.
    pub fn prepare(dir: &Path, extra: &[&str]) -> Result<Self, OutputsError> {
        let mut made = Made(Vec::new());
        made.above(dir)?;
        let target = real(dir).map_err(|source| OutputsError::Create { path: dir.to_path_buf(), source })?;
        let names: Vec<&str> = files().chain(extra.iter().copied()).collect();
        let unwritable = |source| OutputsError::Unwritable { path: dir.to_path_buf(), source };
        if target.exists() {
            // Where a directory takes no files, its owner did not mean it to be replaced either.
            tempfile::tempfile_in(&target).map_err(unwritable)?;
            in_the_way(dir, &names)?;
            staging::sweep(&target);
        }
        let parent = target.parent().unwrap_or(&target);
        staging::sweep(parent);
        let staging = if !target.exists() {
            Staging::make_in(parent)
                .map_err(|source| OutputsError::Create { path: dir.to_path_buf(), source })?
        } else if is_replaceable(&target, &names) {
            Staging::make_in(parent).or_else(|_| Staging::make_in(&target)).map_err(unwritable)?
        } else {
            Staging::make_in(&target).map_err(unwritable)?
        };
        let mut outputs =
            Self { dir: dir.to_path_buf(), target, made: made.take(), staging, open: Vec::new() };
        for name in names {
            outputs.open(name)?;
        }
        Ok(outputs)
    }

    /// Writes every report that is a file, and the extra files as (name, content). Returns their
    /// paths: the reports in the order of [`REPORTS`], then the extra files.
    pub fn write(mut self, summary: &Summary, extra: &[(&str, &[u8])]) -> Result<Vec<PathBuf>, OutputsError> {
        let mut names = Vec::new();
        for report in REPORTS {
            if let Some(name) = report.file() {
                self.fill(name, |out| report.write(summary, out))?;
                names.push(name);
            }
        }
        for (name, content) in extra {
            self.fill(name, |out| out.write_all(content))?;
            names.push(*name);
        }
        // Announced, and not written after all.
        for (name, unwritten) in &self.open {
            if unwritten.is_some() {
                let path = self.staging.fresh().join(name);
                fs::remove_file(&path).map_err(|source| OutputsError::Write { path, source })?;
            }
        }
        self.put_in_place(&names)?;
        self.made.clear();
        Ok(names.into_iter().map(|name| self.dir.join(name)).collect())
    }

    fn open(&mut self, name: &str) -> Result<(), OutputsError> {
        let file = File::create_new(self.staging.fresh().join(name))
            .map_err(|source| OutputsError::Write { path: self.dir.join(name), source })?;
        self.open.push((name.to_owned(), Some(file)));
        Ok(())
    }

    /// Writes one file, out of sight.
    fn fill(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), OutputsError> {
        if !self.open.iter().any(|(opened, _)| opened == name) {
            self.open(name)?;
        }
        let file = self.open.iter_mut().find_map(|(opened, file)| file.take_if(|_| opened == name));
        let filled = || -> io::Result<()> {
            let mut out = BufWriter::new(file.ok_or(io::ErrorKind::AlreadyExists)?);
            write(&mut out)?;
            out.flush()
        };
        filled().map_err(|source| OutputsError::Write { path: self.dir.join(name), source })
    }

    /// Puts all written files into their places.
    fn put_in_place(&self, names: &[&str]) -> Result<(), OutputsError> {
        let failed = |source| OutputsError::Write { path: self.dir.clone(), source };
        self.staging.complete().map_err(failed)?;
        let whole = self.staging.whole();
        if !self.target.exists() {
            return fs::rename(&whole, &self.target).map_err(failed);
        }
        // Asked again: somebody may have put something there since.
        let beside = self.target.parent().is_some_and(|parent| self.staging.is_in(parent));
        if beside && is_replaceable(&self.target, names) && swap(&whole, &self.target).is_ok() {
            // Nor is lost what came between the question and the step.
            for path in owned::foreign(&whole, names).unwrap_or_default() {
                if let Some(name) = path.file_name() {
                    _ = fs::rename(&path, self.target.join(name));
                }
            }
            return Ok(());
        }
        if self.staging.is_in(&self.target) {
            return self.one_by_one(&self.staging, names);
        }
        // A file can be renamed within its file system only, and the output directory may be another one.
        let within = Staging::make_in(&self.target).map_err(failed)?;
        for name in names {
            fs::copy(whole.join(name), within.fresh().join(name))
                .map_err(|source| OutputsError::Write { path: self.dir.join(name), source })?;
        }
        within.complete().map_err(failed)?;
        self.one_by_one(&within, names)
    }

    /// Puts files into their places one by one, and the old ones back if one fails.
    fn one_by_one(&self, staging: &Staging, names: &[&str]) -> Result<(), OutputsError> {
        in_the_way(&self.dir, names)?;
        let failed = |name: &str, source| OutputsError::Write { path: self.dir.join(name), source };
        let was = staging.make_was().map_err(|source| failed("", source))?;
        for (done, name) in names.iter().enumerate() {
            let place = self.target.join(name);
            // A second name, not a move: the place is never empty. Where there are no hard links, an error after
            // this one cannot be undone, and each file is whole all the same.
            _ = fs::hard_link(&place, was.join(name));
            let Err(source) = fs::rename(staging.whole().join(name), &place) else { continue };
            for name in &names[..done] {
                let place = self.target.join(name);
                if fs::rename(was.join(name), &place).is_err() {
                    _ = fs::remove_file(&place);
                }
            }
            return Err(failed(name, source));
        }
        Ok(())
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        // What was made above it can only go once it is empty.
        self.staging.remove();
        drop(Made(std::mem::take(&mut self.made)));
    }
}

/// Directories that were made, outermost first. Dropped, it removes those that are empty.
struct Made(Vec<PathBuf>);

impl Made {
    /// Makes the directories above one that are missing.
    fn above(&mut self, dir: &Path) -> Result<(), OutputsError> {
        let missing: Vec<&Path> = dir
            .ancestors()
            .skip(1)
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .collect();
        for path in missing.into_iter().rev() {
            fs::create_dir(path)
                .map_err(|source| OutputsError::Create { path: path.to_path_buf(), source })?;
            self.0.push(path.to_path_buf());
        }
        Ok(())
    }

    fn take(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            if fs::remove_dir(path).is_err() {
                break;
            }
        }
    }
}

/// Where a directory really is, or will be: without links. What is above it is there.
fn real(dir: &Path) -> io::Result<PathBuf> {
    let be_directory =
        |path: PathBuf| if path.is_dir() { Ok(path) } else { Err(io::ErrorKind::NotADirectory.into()) };
    // A link that leads nowhere is there, too.
    if dir.symlink_metadata().is_ok() {
        return be_directory(dir.canonicalize()?);
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = dir.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(be_directory(parent.canonicalize()?)?.join(name))
}

/// Says if something that is no file stands where one belongs.
fn in_the_way(dir: &Path, names: &[&str]) -> Result<(), OutputsError> {
    let mut paths = names.iter().map(|name| dir.join(name));
    match paths.find(|path| path.symlink_metadata().is_ok_and(|found| found.is_dir())) {
        Some(path) => Err(OutputsError::InTheWay { path }),
        None => Ok(()),
    }
}

/// Whether another directory may take the place of this one: it holds only our files, and nobody stands in it.
fn is_replaceable(target: &Path, written: &[&str]) -> bool {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    here.is_ok_and(|here| !here.starts_with(target))
        && owned::foreign(target, written).is_ok_and(|foreign| foreign.is_empty())
}

/// Lets two directories change places in one step; `ours` then has the owner and the permissions of the other.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn swap(ours: &Path, other: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    let (mine, its) = (fs::metadata(ours)?, fs::metadata(other)?);
    if (mine.uid(), mine.gid()) != (its.uid(), its.gid()) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    fs::set_permissions(ours, its.permissions())?;
    Ok(renameat_with(CWD, ours, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn swap(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
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
#[path = "outputs_tests.rs"]
mod tests;
