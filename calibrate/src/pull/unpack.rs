//! Unpacking layers one upon the other, as a container runtime does, but into a folder that
//! nothing gets out of: paths and links are followed as if the folder were the root.
//!
//! Ownership is not set and devices are not made, since neither is allowed to a user.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tar::EntryType;
use thawline::profile::image::Compression;

use super::manifest::digest_text;

/// Links followed in one path before it is called a circle; as Linux does.
const LINKS_MAX: u32 = 40;
/// Bytes read at once.
const BLOCK: usize = 1 << 20;

/// What was found in a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// Bytes of the tar.
    pub(super) bytes: u64,
    /// Its entries.
    pub(super) files: u64,
    /// Of these, devices and pipes that were not made.
    pub(super) skipped: u64,
    /// Digest of the tar.
    pub(super) diff_id: String,
}

/// The tar inside a blob.
fn open(blob: &Path, compression: Compression) -> io::Result<Box<dyn Read>> {
    let file = File::open(blob)?;
    Ok(match compression {
        Compression::None => Box::new(BufReader::with_capacity(BLOCK, file)),
        // One stream may hold several members or frames, as parallel compressors write them.
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BLOCK, file))),
        Compression::Zstd => Box::new(zstd::Decoder::new(file)?),
    })
}

/// Decompresses a blob to nowhere; answers the bytes of its tar.
pub(super) fn decompress(blob: &Path, compression: Compression) -> io::Result<u64> {
    let mut tar = open(blob, compression)?;
    let mut buffer = vec![0; BLOCK];
    let mut bytes = 0;
    loop {
        match tar.read(&mut buffer)? {
            0 => return Ok(bytes),
            n => bytes += n as u64,
        }
    }
}

/// Unpacks a blob upon what is in `root` already.
pub(super) fn unpack(blob: &Path, compression: Compression, root: &Path) -> io::Result<Unpacked> {
    let tar = Tallied { inner: open(blob, compression)?, bytes: 0, hash: Sha256::new() };
    let mut archive = tar::Archive::new(tar);
    let mut layer = Layer { root, made: BTreeSet::new() };
    let mut found = Unpacked::default();
    for entry in archive.entries()? {
        let mut entry = entry?;
        found.files += 1;
        let path = entry.path()?.into_owned();
        let made = layer.apply(&mut entry, &path);
        let made = made.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        found.skipped += u64::from(!made);
    }
    // Runtimes read to the end as well: the digest is over all of it.
    let mut tar = archive.into_inner();
    io::copy(&mut tar, &mut io::sink())?;
    found.bytes = tar.bytes;
    found.diff_id = digest_text(&tar.hash.finalize());
    Ok(found)
}

/// A stream that is counted and hashed, as runtimes do to check the layer's digest.
struct Tallied {
    inner: Box<dyn Read>,
    bytes: u64,
    hash: Sha256,
}

impl Read for Tallied {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

/// One layer on its way to disk.
struct Layer<'a> {
    root: &'a Path,
    /// What this layer has made: an opaque whiteout hides only what lies below.
    made: BTreeSet<PathBuf>,
}

impl Layer<'_> {
    /// Makes one entry; false if it was left out.
    fn apply(&mut self, entry: &mut tar::Entry<'_, impl Read>, path: &Path) -> io::Result<bool> {
        let kind = entry.header().entry_type();
        let Some((folder, name)) = self.place(path)? else {
            // The root itself, which is there.
            return Ok(true);
        };
        if let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") {
            self.whiteout(&folder, hidden)?;
            return Ok(true);
        }
        let target = folder.join(&name);
        let mode = entry.header().mode()?;
        match kind {
            EntryType::Directory => {
                if !fs::symlink_metadata(&target).is_ok_and(|m| m.is_dir()) {
                    remove(&target)?;
                    fs::create_dir(&target)?;
                }
                // What comes next must fit in, and all of it be removed in the end.
                fs::set_permissions(&target, Permissions::from_mode(mode & 0o777 | 0o700))?;
            }
            EntryType::Symlink | EntryType::Link => {
                let link = entry.link_name()?.ok_or_else(|| invalid("a link to nothing"))?;
                if kind == EntryType::Symlink {
                    remove(&target)?;
                    std::os::unix::fs::symlink(link, &target)?;
                } else {
                    let (folder, name) =
                        self.place(&link)?.ok_or_else(|| invalid("a hard link to the root"))?;
                    let existing = folder.join(name);
                    if existing != target {
                        remove(&target)?;
                        let failed = |e: io::Error| {
                            io::Error::new(e.kind(), format!("cannot link to {}: {e}", link.display()))
                        };
                        fs::hard_link(&existing, &target).map_err(failed)?;
                    }
                }
            }
            EntryType::Block | EntryType::Char | EntryType::Fifo => return Ok(false),
            EntryType::XGlobalHeader => return Ok(true),
            _ => {
                remove(&target)?;
                entry.unpack(&target)?;
            }
        }
        self.made.insert(target);
        Ok(true)
    }

    /// The folder that a path of the layer leads to, made if need be, and the last part of
    /// the path, which is not followed. `None` for the root.
    fn place(&self, path: &Path) -> io::Result<Option<(PathBuf, std::ffi::OsString)>> {
        // `a/../../b` is `b`: there is nothing above the root.
        let mut parts: Vec<&OsStr> = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(part) => parts.push(part),
                Component::ParentDir => drop(parts.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        let Some(name) = parts.pop() else { return Ok(None) };
        let mut ahead: Vec<std::ffi::OsString> = parts.into_iter().rev().map(OsStr::to_owned).collect();
        let mut at = self.root.to_owned();
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == ".." {
                if at != self.root {
                    at.pop();
                }
                continue;
            }
            let next = at.join(&part);
            match fs::symlink_metadata(&next) {
                Ok(found) if found.is_symlink() => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(invalid("its links go in a circle"));
                    }
                    let link = fs::read_link(&next)?;
                    if link.is_absolute() {
                        self.root.clone_into(&mut at);
                    }
                    let parts: Vec<Component<'_>> = link.components().collect();
                    ahead.extend(parts.into_iter().rev().filter_map(|part| match part {
                        Component::Normal(part) => Some(part.to_owned()),
                        Component::ParentDir => Some("..".into()),
                        _ => None,
                    }));
                }
                Ok(found) if found.is_dir() => at = next,
                Ok(_) => return Err(invalid("a file lies where it needs a folder")),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    fs::create_dir(&next)?;
                    at = next;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some((at, name.to_owned())))
    }

    /// Takes away what a lower layer holds: `.wh.NAME` one entry, `.wh..wh..opq` a folder's all.
    fn whiteout(&self, folder: &Path, hidden: &[u8]) -> io::Result<()> {
        if hidden == b".wh..opq" {
            return self.hide_below(folder);
        }
        match hidden {
            b"" | b"." | b".." => Err(invalid("a whiteout of nothing")),
            // Bookkeeping of AUFS.
            name if name.starts_with(b".wh.") => Ok(()),
            name => remove(&folder.join(OsStr::from_bytes(name))),
        }
    }

    fn hide_below(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            // A folder stays if this layer made it or anything in it.
            if !self.made.range(path.clone()..).next().is_some_and(|made| made.starts_with(&path)) {
                remove(&path)?;
            } else if fs::symlink_metadata(&path)?.is_dir() {
                self.hide_below(&path)?;
            }
        }
        Ok(())
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

/// Removes whatever is there, links not followed; nothing is fine.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
