//! Layers upon layers, and layers that want to get out.

use std::io::Write;
use std::os::unix::fs::MetadataExt as _;

use super::*;

/// One entry of a tar: name, kind, link, contents.
type Entry<'a> = (&'a str, EntryType, &'a str, &'a str);

/// A tar of these entries, names as they are: the writers of libraries refuse bad ones.
fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, link, contents) in entries {
        let mut header = tar::Header::new_gnu();
        let put = |field: &mut [u8], text: &str| field[..text.len()].copy_from_slice(text.as_bytes());
        put(&mut header.as_old_mut().name, name);
        put(&mut header.as_old_mut().linkname, link);
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_mtime(1_000_000);
        header.set_size(contents.len() as u64);
        header.set_cksum();
        builder.append(&header, contents.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn stored(tar: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => tar.to_vec(),
        Compression::Gzip => {
            // Two members, as parallel compressors write them.
            let (a, b) = tar.split_at(tar.len() / 2);
            let gzip = |part: &[u8]| {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(part).unwrap();
                encoder.finish().unwrap()
            };
            [gzip(a), gzip(b)].concat()
        }
        Compression::Zstd => zstd::encode_all(tar, 1).unwrap(),
    }
}

/// A scratch folder with a root to unpack to and something beside it that must stay as it is.
struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/secret"), "untouched").unwrap();
        Self { folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn apply(&self, entries: &[Entry<'_>]) -> io::Result<Unpacked> {
        let blob = self.folder.path().join("blob");
        fs::write(&blob, tar_of(entries)).unwrap();
        unpack(&blob, Compression::None, &self.root())
    }

    /// Everything below the root, sorted: `a/`, `a/b=contents`, `a/c->target`.
    fn list(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.root()).unwrap().display().to_string();
                let kind = fs::symlink_metadata(&path).unwrap();
                if kind.is_symlink() {
                    found.push(format!("{name}->{}", fs::read_link(&path).unwrap().display()));
                } else if kind.is_dir() {
                    found.push(format!("{name}/"));
                    folders.push(path);
                } else {
                    found.push(format!("{name}={}", fs::read_to_string(&path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }

    fn assert_outside_is_untouched(&self, what: &str) {
        let outside = self.folder.path().join("outside");
        let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"], "{what}");
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "untouched", "{what}");
        let beside = fs::read_dir(self.folder.path()).unwrap().count();
        assert_eq!(beside, 3, "{what}: blob, root and outside, and nothing else");
    }
}

use EntryType::{Char, Directory as Dir, Fifo, Link as Hard, Regular as File_, Symlink as Soft};

#[test]
fn every_compression_gives_the_same_files_bytes_and_digest() {
    let entries: [Entry<'_>; 3] = [("d/", Dir, "", ""), ("d/a", File_, "", "hello"), ("dev", Char, "", "")];
    let tar = tar_of(&entries);
    let mut all = Vec::new();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let scratch = Scratch::new();
        let blob = scratch.folder.path().join("blob");
        fs::write(&blob, stored(&tar, compression)).unwrap();
        assert_eq!(decompress(&blob, compression).unwrap(), tar.len() as u64, "{compression:?}");
        all.push(unpack(&blob, compression, &scratch.root()).unwrap());
        assert_eq!(scratch.list(), ["d/", "d/a=hello"], "{compression:?}");
    }
    let expected = Unpacked {
        bytes: tar.len() as u64,
        files: 3,
        skipped: 1,
        diff_id: super::super::manifest::digest(&tar),
    };
    assert_eq!(all, [expected.clone(), expected.clone(), expected]);
}

#[test]
fn layers_change_what_lies_below() {
    let check = |upper: &[Entry<'_>], expected: &[&str]| {
        let scratch = Scratch::new();
        let lower: [Entry<'_>; 6] = [
            ("a/", Dir, "", ""),
            ("a/1", File_, "", "one"),
            ("a/2", File_, "", "two"),
            ("b", File_, "", "bee"),
            ("c", Soft, "a", ""),
            ("e/f/g", File_, "", "deep"),
        ];
        scratch.apply(&lower).unwrap();
        let found = scratch.apply(upper).unwrap();
        assert_eq!(found.files, upper.len() as u64);
        assert_eq!(scratch.list(), expected, "{upper:?}");
        scratch.assert_outside_is_untouched("a sound layer");
    };
    let rest = ["a/", "a/1=one", "a/2=two", "b=bee", "c->a", "e/", "e/f/", "e/f/g=deep"];
    check(&[], &rest);
    check(
        &[(".wh.b", File_, "", ""), ("a/.wh.1", File_, "", "")],
        &["a/", "a/2=two", "c->a", "e/", "e/f/", "e/f/g=deep"],
    );
    // Opaque: what lies below goes, what this layer brings stays, in whichever order.
    check(
        &[("a/3", File_, "", "new"), ("a/.wh..wh..opq", File_, "", "")],
        &["a/", "a/3=new", "b=bee", "c->a", "e/", "e/f/", "e/f/g=deep"],
    );
    check(
        &[("e/.wh..wh..opq", File_, "", ""), ("e/f/h", File_, "", "new")],
        &["a/", "a/1=one", "a/2=two", "b=bee", "c->a", "e/", "e/f/", "e/f/h=new"],
    );
    check(
        &[("e/f/h", File_, "", "new"), ("e/.wh..wh..opq", File_, "", "")],
        &["a/", "a/1=one", "a/2=two", "b=bee", "c->a", "e/", "e/f/", "e/f/h=new"],
    );
    // A file takes the place of a folder, and the other way round.
    check(
        &[("a", File_, "", "flat"), ("b/x", File_, "", "no")][..1],
        &["a=flat", "b=bee", "c->a", "e/", "e/f/", "e/f/g=deep"],
    );
    check(
        &[("b/", Dir, "", ""), ("b/x", File_, "", "in")],
        &["a/", "a/1=one", "a/2=two", "b/", "b/x=in", "c->a", "e/", "e/f/", "e/f/g=deep"],
    );
    // Through a link of a lower layer; a path with dots; bookkeeping of AUFS.
    check(
        &[("c/4", File_, "", "four"), ("./e/../b", File_, "", "B"), (".wh..wh.plnk", File_, "", "")],
        &["a/", "a/1=one", "a/2=two", "a/4=four", "b=B", "c->a", "e/", "e/f/", "e/f/g=deep"],
    );
}

#[test]
fn hard_links_share_the_file_and_long_names_are_whole() {
    let scratch = Scratch::new();
    scratch.apply(&[("a", File_, "", "one"), ("b", Hard, "a", ""), ("d/c", Hard, "/b", "")]).unwrap();
    assert_eq!(scratch.list(), ["a=one", "b=one", "d/", "d/c=one"]);
    assert_eq!(fs::metadata(scratch.root().join("d/c")).unwrap().nlink(), 3);
    // A link to a file of the layer below, and to itself.
    scratch.apply(&[("e", Hard, "a", ""), ("a", Hard, "a", "")]).unwrap();
    assert_eq!(fs::metadata(scratch.root().join("e")).unwrap().nlink(), 4);

    let long = format!("{}/{}", "d".repeat(150), "f".repeat(150));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o600);
    builder.append_data(&mut header, &long, &b"ok"[..]).unwrap();
    let blob = scratch.folder.path().join("blob");
    fs::write(&blob, builder.into_inner().unwrap()).unwrap();
    unpack(&blob, Compression::None, &scratch.root()).unwrap();
    assert_eq!(fs::read_to_string(scratch.root().join(&long)).unwrap(), "ok");
}

#[test]
fn nothing_gets_out() {
    let check = |name: &str, layers: &[&[Entry<'_>]]| {
        let scratch = Scratch::new();
        let outside = scratch.folder.path().join("outside").display().to_string();
        for layer in layers {
            let entries: Vec<(String, EntryType, String, &str)> = layer
                .iter()
                .map(|(n, k, l, c)| (n.replace("OUT", &outside), *k, l.replace("OUT", &outside), *c))
                .collect();
            let entries: Vec<Entry<'_>> =
                entries.iter().map(|(n, k, l, c)| (n.as_str(), *k, l.as_str(), *c)).collect();
            // Some are refused, some end up inside: either is fine.
            let _ = scratch.apply(&entries);
        }
        scratch.assert_outside_is_untouched(name);
        for path in scratch.list() {
            assert!(!path.contains("=untouched"), "{name}: {path} was brought in");
        }
    };
    check("dots", &[&[("../outside/secret", File_, "", "x"), ("a/../../outside/new", File_, "", "x")]]);
    check("absolute", &[&[("OUT/new", File_, "", "x"), ("OUT/secret", File_, "", "x")]]);
    check("link to outside, then through it", &[&[("l", Soft, "OUT", ""), ("l/new", File_, "", "x")]]);
    check("the same in two layers", &[&[("l", Soft, "OUT", "")], &[("l/secret", File_, "", "x")]]);
    check("relative link up", &[&[("l", Soft, "../outside", ""), ("l/new", File_, "", "x")]]);
    check("link over the file", &[&[("l", Soft, "OUT/secret", ""), ("l", File_, "", "x")]]);
    check("folder over a link", &[&[("l", Soft, "OUT", ""), ("l", Dir, "", ""), ("l/new", File_, "", "x")]]);
    check("hard link to outside", &[&[("h", Hard, "OUT/secret", "")], &[("h", File_, "", "x")]]);
    check("hard link with dots", &[&[("h", Hard, "../outside/secret", "")]]);
    check("hard link through a link", &[&[("l", Soft, "OUT", ""), ("h", Hard, "l/secret", "")]]);
    check("whiteout with dots", &[&[("../outside/.wh.secret", File_, "", "")]]);
    check("whiteout through a link", &[&[("l", Soft, "OUT", ""), ("l/.wh.secret", File_, "", "")]]);
    check("opaque through a link", &[&[("l", Soft, "OUT", ""), ("l/.wh..wh..opq", File_, "", "")]]);
    check("whiteout of a link to a folder", &[&[("l", Soft, "OUT", "")], &[(".wh.l", File_, "", "")]]);
    check("whiteout of the parent", &[&[("a/.wh...", File_, "", "")]]);
}

#[test]
fn what_cannot_be_unpacked_says_why() {
    let check = |entries: &[Entry<'_>], expected: &str| {
        let error = Scratch::new().apply(entries).unwrap_err().to_string();
        assert!(error.contains(expected), "{entries:?}: {error}");
    };
    check(&[("h", Hard, "missing", "")], "h: cannot link to missing");
    check(&[("h", Hard, "/", "")], "h: a hard link to the root");
    check(&[("a", File_, "", "x"), ("a/b", File_, "", "x")], "a/b: a file lies where it needs a folder");
    check(&[("x", Soft, "y", ""), ("y", Soft, "x", ""), ("x/z", File_, "", "")], "links go in a circle");
    check(&[("a/.wh..", File_, "", "")], "a whiteout of nothing");
    let scratch = Scratch::new();
    let blob = scratch.folder.path().join("blob");
    fs::write(&blob, b"no gzip at all").unwrap();
    assert!(unpack(&blob, Compression::Gzip, &scratch.root()).is_err());
    assert!(unpack(&blob, Compression::Zstd, &scratch.root()).is_err());
    let whole = stored(&tar_of(&[("a", File_, "", &"x".repeat(5_000))]), Compression::Gzip);
    fs::write(&blob, &whole[..whole.len() / 2]).unwrap();
    assert!(unpack(&blob, Compression::Gzip, &scratch.root()).is_err());
    assert!(decompress(&blob, Compression::Gzip).is_err());
    // Pipes and devices are left out and counted.
    let found = Scratch::new().apply(&[("p", Fifo, "", ""), ("c", Char, "", "")]).unwrap();
    assert_eq!((found.files, found.skipped), (2, 2));
}
