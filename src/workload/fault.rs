//! What is wrong with a workload: where it stands, and how to mend it.
//!
//! Faults are data. The caller renders them; nothing here prints. Every fault of a file
//! is collected, so that a person mends a trace in one go and not row by row.

use std::path::{Path, PathBuf};

/// Faults listed for one file; further ones are counted and summed up in one last fault.
const LISTED_PER_FILE: u64 = 20;
/// Characters of a line shown in an excerpt; longer lines are cut around the fault.
const EXCERPT_CHARS: usize = 120;

/// The kind of a [`Fault`], from which the caller takes its error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The workload section of the scenario contradicts itself or is out of range.
    Spec,
    /// A file is missing or cannot be read.
    File,
    /// A file is not in the format it is said to be in.
    Format,
    /// A column or key is missing.
    Column,
    /// A field holds no valid value.
    Value,
    /// A request arrives before the one above it.
    Order,
    /// No request is left.
    Empty,
    /// The sum of the faults of a file that are not listed.
    More,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub kind: FaultKind,
    /// The field of the workload section it belongs to, e.g. `azure.file` or `concatenate[1].rateScale`.
    pub field: String,
    /// The file it is in; `None` for a fault of the workload section itself.
    pub file: Option<PathBuf>,
    /// Line, from 1.
    pub line: Option<u64>,
    /// Column of the offending field in bytes, from 1.
    pub column: Option<u64>,
    /// The line it stands in.
    pub excerpt: Option<Excerpt>,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

/// A line of a file, or the part of a long line around a fault, safe to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The text; control characters are replaced by spaces.
    pub text: String,
    /// Where the offending field begins in `text`, in characters, from 0.
    pub offset: usize,
    /// Its length in characters, at least 1.
    pub width: usize,
}

impl Excerpt {
    /// Cuts the excerpt around `len` bytes at `from` of a raw line.
    pub(super) fn new(line: &[u8], from: usize, len: usize) -> Self {
        let from = from.min(line.len());
        let end = (from + len).min(line.len());
        let clean = |bytes: &[u8]| -> Vec<char> {
            String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        };
        // Bytes far from the fault are cut before they are decoded: a line may be megabytes long.
        let reach = EXCERPT_CHARS * 4;
        let (before, spot, after) = (
            clean(&line[from.saturating_sub(reach)..from]),
            clean(&line[from..end.min(from + reach)]),
            clean(&line[end..(end + reach).min(line.len())]),
        );
        let spot = &spot[..spot.len().min(EXCERPT_CHARS / 2)];
        let room = EXCERPT_CHARS - spot.len();
        let before_len = before.len().min(room.saturating_sub(after.len().min(room / 2)));
        let after_len = after.len().min(room - before_len);
        let mut text = String::new();
        let mut offset = before_len;
        if before_len < before.len() || from > reach {
            text.push('…');
            offset += 1;
        }
        text.extend(&before[before.len() - before_len..]);
        text.extend(spot);
        text.extend(&after[..after_len]);
        if after_len < after.len() || line.len() > end + reach {
            text.push('…');
        }
        Self { text, offset, width: spot.len().max(1) }
    }
}

impl Fault {
    /// A fault of the workload section.
    pub(super) fn spec(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: FaultKind::Spec,
            field: field.into(),
            file: None,
            line: None,
            column: None,
            excerpt: None,
            message: message.into(),
            help: None,
        }
    }

    /// The same fault with the way to mend it.
    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A place in a file: a line, and a part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'a> {
    /// Line, from 1.
    pub line: u64,
    /// Its raw text.
    pub text: &'a [u8],
    /// First byte of the part.
    pub from: usize,
    /// Bytes of the part.
    pub len: usize,
}

/// Collects the faults of one file.
#[derive(Debug)]
pub(super) struct FileFaults {
    field: String,
    file: PathBuf,
    listed: Vec<Fault>,
    total: u64,
}

impl FileFaults {
    /// For `file`, named by `field` of the workload section.
    pub fn new(field: impl Into<String>, file: &Path) -> Self {
        Self { field: field.into(), file: file.to_owned(), listed: Vec::new(), total: 0 }
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Adds a fault of the file as a whole.
    pub fn whole(&mut self, kind: FaultKind, message: impl Into<String>, help: Option<String>) {
        let mut fault = Fault::spec(self.field.clone(), message);
        fault.kind = kind;
        fault.file = Some(self.file.clone());
        fault.help = help;
        self.add(fault);
    }

    /// Adds a fault at a place in the file.
    pub fn at(&mut self, spot: Spot<'_>, kind: FaultKind, message: impl Into<String>, help: Option<String>) {
        if self.total >= LISTED_PER_FILE {
            self.total += 1;
            return;
        }
        let mut fault = Fault::spec(self.field.clone(), message);
        fault.kind = kind;
        fault.file = Some(self.file.clone());
        fault.line = Some(spot.line);
        fault.column = Some(spot.from as u64 + 1);
        fault.excerpt = Some(Excerpt::new(spot.text, spot.from, spot.len));
        fault.help = help;
        self.add(fault);
    }

    fn add(&mut self, fault: Fault) {
        self.total += 1;
        if self.total <= LISTED_PER_FILE {
            self.listed.push(fault);
        }
    }

    /// The faults, in the order they were found; the last one counts those not listed.
    pub fn into_list(mut self) -> Vec<Fault> {
        let more = self.total.saturating_sub(LISTED_PER_FILE);
        if more > 0 {
            let mut fault = Fault::spec(self.field, format!("{more} more faults in this file"));
            fault.kind = FaultKind::More;
            fault.file = Some(self.file);
            self.listed.push(fault);
        }
        self.listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_excerpt_points_at_its_field() {
        let check = |line: &str, from: usize, len: usize, text: &str, offset: usize| {
            let excerpt = Excerpt::new(line.as_bytes(), from, len);
            assert_eq!((excerpt.text.as_str(), excerpt.offset), (text, offset));
        };
        check("a,b,c", 2, 1, "a,b,c", 2);
        check("a\tb", 2, 1, "a b", 2);
        check("é,b", 3, 1, "é,b", 2);
        check("", 0, 0, "", 0);
    }

    #[test]
    fn faults_beyond_the_cap_are_counted() {
        let mut faults = FileFaults::new("azure.file", Path::new("t.csv"));
        for line in 1..=25 {
            let spot = Spot { line, text: b"x", from: 0, len: 1 };
            faults.at(spot, FaultKind::Value, "bad", None);
        }
        let list = faults.into_list();
        assert_eq!(list.len(), 21);
        assert_eq!(list[20].message, "5 more faults in this file");
        assert_eq!(list[19].line, Some(20));
    }

    proptest! {
        #[test]
        fn an_excerpt_never_panics_and_stays_short(
            line in proptest::collection::vec(any::<u8>(), 0..2000), from in 0usize..2100, len in 0usize..2100,
        ) {
            let excerpt = Excerpt::new(&line, from, len);
            let chars = excerpt.text.chars().count();
            prop_assert!(chars <= EXCERPT_CHARS + 2, "{chars}");
            prop_assert!(excerpt.offset <= chars);
        }
    }
}
