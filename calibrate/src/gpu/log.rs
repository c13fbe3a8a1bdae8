//! The raw file of a run while it is written: what is in it already, from this run or from one
//! that was killed, is not measured again.

use std::path::Path;
use std::time::Instant;

use crate::Result;
use crate::raw::{Done, Flag, Header, RawWriter, Record};

/// A raw file and all it holds.
#[derive(Debug)]
pub struct Log {
    writer: RawWriter,
    records: Vec<Record>,
    began: Instant,
    /// Time of earlier, killed runs, s.
    earlier_s: f64,
}

impl Log {
    /// Starts a raw file or goes on with an unfinished one.
    ///
    /// # Errors
    /// Those of [`RawWriter::start_or_resume`].
    pub fn open(path: &Path, header: &Header) -> Result<Self> {
        let writer = RawWriter::start_or_resume(path, header)?;
        let records = writer.done().to_vec();
        let elapsed =
            records.iter().filter_map(|r| if let Record::Elapsed(e) = r { Some(e.seconds) } else { None });
        let earlier_s = elapsed.fold(0.0, f64::max);
        Ok(Self { writer, records, began: Instant::now(), earlier_s })
    }

    /// All records, without the header.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether some record is what `wanted` looks for.
    pub fn has(&self, wanted: impl Fn(&Record) -> bool) -> bool {
        self.records.iter().any(wanted)
    }

    /// Appends a record.
    ///
    /// # Errors
    /// The disk's.
    pub fn push(&mut self, record: Record) -> Result<()> {
        self.writer.push(&record)?;
        self.records.push(record);
        Ok(())
    }

    /// Appends a flag, unless a resumed run has it already.
    ///
    /// # Errors
    /// The disk's.
    pub fn flag(&mut self, flag: &str, message: impl Into<String>) -> Result<()> {
        let record = Record::Flag(Flag { flag: flag.to_owned(), message: message.into() });
        if self.records.contains(&record) { Ok(()) } else { self.push(record) }
    }

    /// All flags.
    pub fn flags(&self) -> impl Iterator<Item = &Flag> {
        self.records.iter().filter_map(|r| if let Record::Flag(flag) = r { Some(flag) } else { None })
    }

    /// Time since the measurement began, s, resumed parts added up.
    pub fn elapsed_s(&self) -> f64 {
        self.earlier_s + self.began.elapsed().as_secs_f64()
    }

    /// Notes the time so far, for a run that resumes this one.
    ///
    /// # Errors
    /// The disk's.
    pub fn note_elapsed(&mut self) -> Result<()> {
        self.push(Record::Elapsed(Done { seconds: self.elapsed_s() }))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(&mut self) -> Result<()> {
        self.push(Record::Done(Done { seconds: self.elapsed_s() }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::raw::{Kind, fixture};

    /// A new raw file in a folder.
    pub(crate) fn log(folder: &Path) -> Log {
        Log::open(&folder.join("test.raw.jsonl"), &fixture::header(Kind::Gpu)).unwrap()
    }

    #[test]
    fn time_goes_on_where_a_killed_run_stopped_and_flags_are_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = log(folder.path());
        first.push(Record::Elapsed(Done { seconds: 100.0 })).unwrap();
        first.flag("a", "b").unwrap();
        drop(first);
        let mut second = log(folder.path());
        second.flag("a", "b").unwrap();
        assert_eq!(second.flags().count(), 1);
        assert!(second.elapsed_s() >= 100.0 && second.elapsed_s() < 160.0);
        second.finish().unwrap();
        assert!(matches!(second.records().last(), Some(Record::Done(d)) if d.seconds >= 100.0));
    }
}
