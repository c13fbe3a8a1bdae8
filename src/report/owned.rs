//! Which files in an output directory are this program's: those that every run writes, those that a run writes
//! if asked, and pictures that say so themselves. All others are somebody's, and are never touched.

use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::files;

/// Files that lie beside the reports, or only some runs write. One that a run does not write is not left beside
/// its report as if it were of that run.
pub const BESIDE: &[&str] = &["report.html", "requests.csv", "resolved.yaml", "run.json", "junit.xml"];

/// A picture that holds these words within its first bytes (a comment of an SVG, a `tEXt` of a PNG) is ours.
pub const MARK: &str = "written by thawline";

/// How much of a picture is searched for the mark.
const HEAD: u64 = 4096;

/// The file without which the others of [`BESIDE`] are taken for another program's: a `junit.xml`, say.
const SIGN: &str = "outcome.json";

/// What of a directory is not ours; `written` are the files that this run writes.
pub(super) fn foreign(dir: &Path, written: &[&str]) -> io::Result<Vec<PathBuf>> {
    let ours = dir.join(SIGN).exists();
    let mut foreign = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let always = entry.file_name().to_str().is_some_and(|name| is_written(name, written));
        if !(could_be(&entry, written) && (ours || always)) {
            foreign.push(entry.path());
        }
    }
    Ok(foreign)
}

/// Whether it can be a file of ours, in a directory that is.
pub(super) fn could_be(entry: &DirEntry, written: &[&str]) -> bool {
    // Links and directories are not.
    if !entry.file_type().is_ok_and(|found| found.is_file()) {
        return false;
    }
    let name = entry.file_name();
    name.to_str().is_some_and(|name| is_written(name, written) || BESIDE.contains(&name))
        || is_marked(&entry.path())
}

fn is_written(name: &str, written: &[&str]) -> bool {
    written.contains(&name) || files().any(|file| file == name)
}

/// Whether it is a picture with our mark.
fn is_marked(path: &Path) -> bool {
    let picture = path.extension().is_some_and(|extension| extension == "svg" || extension == "png");
    let head = || -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        File::open(path)?.take(HEAD).read_to_end(&mut head)?;
        Ok(head)
    };
    picture && head().is_ok_and(|head| head.windows(MARK.len()).any(|bytes| bytes == MARK.as_bytes()))
}
