//! Reading and appending raw files. What was measured is on disk before the next point
//! is: a kill loses at most the line being written, and the reader says so.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use super::record::{Header, RAW_VERSION, Record};
use crate::{Fault, Result, fault};

/// A raw file in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct RawFile {
    /// Its first line.
    pub header: Header,
    /// All other records.
    pub records: Vec<Record>,
    /// Bytes of a last line that was cut off by a kill; 0 in a sound file.
    pub torn_bytes: usize,
}

impl RawFile {
    /// Whether the measurement ran to its end.
    pub fn is_complete(&self) -> bool {
        matches!(self.records.last(), Some(Record::Done(_)))
    }
}

/// Reads a whole file. A torn last line is left out and counted; any other broken line is a fault.
///
/// # Errors
/// Every fault with its line (the first 20), or that the file cannot be read.
pub fn read(path: &Path) -> Result<RawFile> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|e| fault("E0401", format!("cannot read {name}: {e}")))?;
    let mut lines = BufReader::new(file);
    let (mut header, mut records, mut faults, mut torn_bytes) = (None, Vec::new(), Vec::new(), 0);
    let mut line = Vec::new();
    for number in 1_usize.. {
        line.clear();
        let read = lines.read_until(b'\n', &mut line);
        let read = read.map_err(|e| fault("E0401", format!("cannot read {name}: {e}")))?;
        if read == 0 || faults.len() == 20 {
            break;
        }
        let whole = line.last() == Some(&b'\n');
        match serde_json::from_slice::<Record>(&line) {
            Ok(Record::Header(found)) if number == 1 && found.raw_version == RAW_VERSION => {
                header = Some(*found);
            }
            Ok(Record::Header(found)) if number == 1 => faults.push(Fault::error(
                "E0706",
                format!("{name}:1: raw version {}, and this tool reads {RAW_VERSION}", found.raw_version),
            )),
            Ok(Record::Header(_)) => {
                faults.push(Fault::error("E0706", format!("{name}:{number}: a second header")));
            }
            Ok(record) => records.push(record),
            // A kill in the middle of a write leaves a line without its end.
            Err(_) if !whole && number > 1 => torn_bytes = line.len(),
            Err(error) => faults.push(Fault::error("E0706", format!("{name}:{number}: {error}"))),
        }
    }
    if header.is_none() && faults.is_empty() {
        faults.push(Fault::error("E0706", format!("{name}:1: the first line is not a header")));
    }
    match header {
        Some(header) if faults.is_empty() => Ok(RawFile { header, records, torn_bytes }),
        _ => Err(faults),
    }
}

/// Appends records to a raw file, each on disk before [`RawWriter::push`] returns.
#[derive(Debug)]
pub struct RawWriter {
    path: PathBuf,
    file: File,
    done: Vec<Record>,
}

impl RawWriter {
    /// Starts a file, or goes on with one that a kill left behind: then what it holds is
    /// in [`RawWriter::done`], and only the rest need be measured. A complete file, and one
    /// of another plan, is not touched.
    ///
    /// # Errors
    /// A file that is complete, of other settings, broken, or cannot be written.
    pub fn start_or_resume(path: &Path, header: &Header) -> Result<Self> {
        if !path.exists() {
            return Self::start(path, header);
        }
        let name = path.display();
        let found = read(path)?;
        let refuse = |why: &str| {
            let help = "give another --raw, or remove the file";
            Err(vec![Fault::error("E0706", format!("{name}: {why}")).helped(help)])
        };
        if found.is_complete() {
            return refuse("there is a complete measurement already");
        }
        let same = (found.header.kind, &found.header.name, &found.header.settings)
            == (header.kind, &header.name, &header.settings);
        if !same {
            return refuse("there is an unfinished measurement with other settings");
        }
        let mut text = String::new();
        let head = Record::Header(Box::new(found.header));
        for record in std::iter::once(&head).chain(&found.records) {
            text += &line(record);
        }
        // A torn line goes; the rest is written whole, beside the old file, and takes its place.
        let staged = path.with_extension("jsonl.part");
        let write = std::fs::write(&staged, text).and_then(|()| std::fs::rename(&staged, path));
        let file = write.and_then(|()| OpenOptions::new().append(true).open(path));
        let file = file.map_err(|e| fault("E0402", format!("cannot write {name}: {e}")))?;
        Ok(Self { path: path.to_owned(), file, done: found.records })
    }

    fn start(path: &Path, header: &Header) -> Result<Self> {
        let failed = |e: std::io::Error| fault("E0402", format!("cannot write {}: {e}", path.display()));
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = OpenOptions::new().create_new(true).append(true).open(path).map_err(failed)?;
        let mut writer = Self { path: path.to_owned(), file, done: Vec::new() };
        writer.push(&Record::Header(Box::new(header.clone())))?;
        Ok(writer)
    }

    /// What an earlier, killed run has measured already.
    pub fn done(&self) -> &[Record] {
        &self.done
    }

    /// Writes one record and has the system take it.
    ///
    /// # Errors
    /// The disk's.
    pub fn push(&mut self, record: &Record) -> Result<()> {
        let written = self.file.write_all(line(record).as_bytes()).and_then(|()| self.file.flush());
        written.map_err(|e| fault("E0402", format!("cannot write {}: {e}", self.path.display())))
    }
}

fn line(record: &Record) -> String {
    let mut text = serde_json::to_string(record).expect("records hold nothing that JSON cannot");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{Done, Flag, Kind, fixture};

    fn header() -> Header {
        fixture::header(Kind::Pull)
    }

    fn flag(word: &str) -> Record {
        Record::Flag(Flag { flag: word.to_owned(), message: "m".to_owned() })
    }

    #[test]
    fn a_kill_loses_only_the_line_being_written_and_the_next_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.raw.jsonl");
        let mut writer = RawWriter::start_or_resume(&path, &header()).unwrap();
        writer.push(&flag("a")).unwrap();
        writer.push(&flag("b")).unwrap();
        drop(writer);
        let mut bytes = std::fs::read(&path).unwrap();
        let whole = bytes.len();
        bytes.truncate(whole - 5);
        std::fs::write(&path, &bytes).unwrap();

        let torn = read(&path).unwrap();
        assert_eq!((torn.records.len(), torn.is_complete()), (1, false));
        assert!(torn.torn_bytes > 0);

        let mut writer = RawWriter::start_or_resume(&path, &header()).unwrap();
        assert_eq!(writer.done(), [flag("a")]);
        writer.push(&flag("b")).unwrap();
        writer.push(&Record::Done(Done { seconds: 1.0 })).unwrap();
        let whole = read(&path).unwrap();
        assert_eq!(whole.records[..2], [flag("a"), flag("b")]);
        assert!(whole.is_complete() && whole.torn_bytes == 0);

        let before = std::fs::read(&path).unwrap();
        let refused = RawWriter::start_or_resume(&path, &header()).unwrap_err();
        assert!(refused[0].message.contains("complete measurement already"), "{refused:?}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn other_settings_do_not_continue_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.raw.jsonl");
        drop(RawWriter::start_or_resume(&path, &header()).unwrap());
        let mut other = header();
        other.settings.insert("quick".to_owned(), true.into());
        let refused = RawWriter::start_or_resume(&path, &other).unwrap_err();
        assert!(refused[0].message.contains("other settings"), "{refused:?}");
    }

    #[test]
    fn every_broken_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.raw.jsonl");
        drop(RawWriter::start_or_resume(&path, &header()).unwrap());
        let mut text = std::fs::read_to_string(&path).unwrap();
        text += "{\"flag\":{}}\nnonsense\n";
        std::fs::write(&path, text).unwrap();
        let faults = read(&path).unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].message.contains(":2: missing field `flag`"), "{faults:?}");
        assert!(faults[1].message.contains(":3: "), "{faults:?}");
        std::fs::write(&path, "").unwrap();
        assert!(read(&path).unwrap_err()[0].message.contains("first line is not a header"));
    }
}
