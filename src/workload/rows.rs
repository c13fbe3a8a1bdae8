//! From records of a file to requests: what every trace format shares.
//!
//! A format says where its records and their cells are ([`Records`]); this module reads
//! the cells, checks them, and turns wall-clock times into arrivals. All formats give
//! the same words for the same mistake.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::kernel::SimTime;

use super::clock::{TimeUnit, decimal};
use super::fault::{FaultKind, FileFaults, Spot};
use super::input::Lines;
use super::request::Request;

/// Longest trace accepted, ns: a hundred years. Beyond it the time unit is wrong.
const MAX_SPAN_NS: i128 = 100 * 366 * 86_400 * 1_000_000_000;
/// Distinct model names that are told apart; the rest only count.
const MODELS_TOLD_APART: usize = 64;

/// What a cell means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Arrival,
    Prompt,
    Output,
    Model,
    Prefix,
}

/// Roles a record can have.
pub(super) const ROLES: usize = 5;

/// A record's cells, as byte ranges of its text, by role.
pub(super) type Cells = [Option<Range<usize>>; ROLES];

/// What became of an attempt to read a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advance {
    /// A record was read.
    Record,
    /// A record was there and was at fault; the fault is noted.
    Bad,
    /// The file has ended, or cannot be read on.
    End,
}

/// The names of the columns or keys that hold the cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub arrival: String,
    pub prompt: String,
    pub output: String,
    pub model: Option<String>,
    pub prefix: Option<String>,
}

impl Names {
    /// The role of a column, if it has one.
    pub fn role(&self, name: &[u8]) -> Option<Role> {
        let is = |own: &str| own.as_bytes() == name;
        let is_some = |own: &Option<String>| own.as_deref().is_some_and(is);
        match () {
            () if is(&self.arrival) => Some(Role::Arrival),
            () if is(&self.prompt) => Some(Role::Prompt),
            () if is(&self.output) => Some(Role::Output),
            () if is_some(&self.model) => Some(Role::Model),
            () if is_some(&self.prefix) => Some(Role::Prefix),
            () => None,
        }
    }

    /// Roles whose column another role has as well, as `columns:` calls them.
    pub fn shared(&self) -> Vec<(&str, &'static str, &'static str)> {
        let named = [
            ("arrival", Some(&self.arrival)),
            ("promptTokens", Some(&self.prompt)),
            ("outputTokens", Some(&self.output)),
            ("model", self.model.as_ref()),
        ];
        let mut shared = Vec::new();
        for (at, (role, name)) in named.iter().enumerate() {
            let Some(name) = name else { continue };
            let before = named[..at].iter().find(|(_, other)| *other == Some(*name));
            shared.extend(before.map(|(first, _)| (name.as_str(), *first, *role)));
        }
        shared
    }

    /// The column of a role.
    pub fn of(&self, role: Role) -> &str {
        match role {
            Role::Arrival => &self.arrival,
            Role::Prompt => &self.prompt,
            Role::Output => &self.output,
            Role::Model => self.model.as_deref().unwrap_or("model"),
            Role::Prefix => self.prefix.as_deref().unwrap_or("hash_ids"),
        }
    }
}

/// Records of a file, one at a time.
pub(super) trait Records: Send {
    /// Reads the next record.
    fn advance(&mut self, faults: &mut FileFaults) -> Advance;
    /// The cells of the record last read.
    fn cells(&self) -> &Cells;
    /// Its raw text.
    fn text(&self) -> &[u8];
    /// The line it began in, from 1.
    fn line(&self) -> u64;
}

/// A trace format: one file of this module and one arm of the registry.
pub(super) trait TraceFormat: Send + Sync {
    /// The file, as the scenario names it.
    fn file(&self) -> &str;
    /// Begins reading; `None` if the head of the file is at fault, which is then noted.
    fn open(&self, lines: Lines, faults: &mut FileFaults) -> Option<TraceReader>;
    /// What the scenario itself says wrong about the columns: each with its field, before any file is read.
    fn complaints(&self) -> Vec<(&'static str, String, &'static str)> {
        Vec::new()
    }
}

/// What a pass over a trace came upon besides its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extras {
    /// Requests by model name.
    pub models: BTreeMap<Vec<u8>, u64>,
    /// Whether any request carried prefix hash ids.
    pub prefix_ids: bool,
    /// The first time as it was read, ns, and the unit that it was read in.
    pub first: Option<(i128, TimeUnit)>,
}

/// Reads the requests of a trace, arrivals relative to the first row.
pub(super) struct TraceReader {
    records: Box<dyn Records>,
    names: Names,
    unit: TimeUnit,
    origin: Option<i128>,
    last: i128,
    pub extras: Extras,
}

/// What became of an attempt to read a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A request.
    Request(Request),
    /// A row at fault; noted.
    Bad,
    /// The end.
    End,
}

impl TraceReader {
    /// Reads `records`, whose cells are called `names` and whose times are in `unit`.
    pub fn new(records: Box<dyn Records>, names: Names, unit: TimeUnit) -> Self {
        Self { records, names, unit, origin: None, last: i128::MIN, extras: Extras::default() }
    }

    /// Reads the next request; every fault of its row is noted.
    pub fn step(&mut self, faults: &mut FileFaults) -> Step {
        match self.records.advance(faults) {
            Advance::End => return Step::End,
            Advance::Bad => return Step::Bad,
            Advance::Record => {}
        }
        let time = self.time(faults);
        let prompt = self.tokens(Role::Prompt, faults);
        let output = self.tokens(Role::Output, faults);
        self.note_extras();
        // The order is checked even where another cell of the row is at fault.
        let arrival = time.and_then(|time| self.arrival(time, faults));
        match (arrival, prompt, output) {
            (Some(arrival), Some(prompt_tokens), Some(output_tokens)) => {
                Step::Request(Request { arrival, prompt_tokens, output_tokens })
            }
            _ => Step::Bad,
        }
    }

    fn cell(&self, role: Role) -> Option<&[u8]> {
        let range = self.records.cells()[role as usize].clone()?;
        let text = self.records.text().get(range)?;
        Some(text.trim_ascii())
    }

    fn fault(
        &self,
        role: Role,
        kind: FaultKind,
        message: String,
        help: Option<String>,
        faults: &mut FileFaults,
    ) {
        let text = self.records.text();
        let range = self.records.cells()[role as usize].clone().unwrap_or(0..text.len());
        let spot = Spot { line: self.records.line(), text, from: range.start, len: range.len() };
        faults.at(spot, kind, message, help);
    }

    fn missing(&self, role: Role, faults: &mut FileFaults) {
        let message = format!("`{}` is missing in this row", self.names.of(role));
        self.fault(role, FaultKind::Column, message, None, faults);
    }

    fn time(&self, faults: &mut FileFaults) -> Option<i128> {
        let Some(text) = self.cell(Role::Arrival) else {
            self.missing(Role::Arrival, faults);
            return None;
        };
        let time = self.unit.parse(text);
        if time.is_none() {
            let message = format!("`{}` is not a time: `{}`", self.names.arrival, shown(text));
            let help = format!("write it like {}", self.unit.example());
            self.fault(Role::Arrival, FaultKind::Value, message, Some(help), faults);
        }
        time
    }

    fn tokens(&self, role: Role, faults: &mut FileFaults) -> Option<u32> {
        let Some(text) = self.cell(role) else {
            self.missing(role, faults);
            return None;
        };
        match token_count(text) {
            Some(count) if count > 0 => Some(count),
            Some(_) => {
                let message = format!("`{}` is 0: a request has at least one token", self.names.of(role));
                let help = "drop requests that never ran (failed, or answered from a cache)".to_owned();
                self.fault(role, FaultKind::Value, message, Some(help), faults);
                None
            }
            None => {
                let message =
                    format!("`{}` is not a number of tokens: `{}`", self.names.of(role), shown(text));
                let help = format!("write a whole number from 1 to {}", u32::MAX);
                self.fault(role, FaultKind::Value, message, Some(help), faults);
                None
            }
        }
    }

    fn arrival(&mut self, time: i128, faults: &mut FileFaults) -> Option<SimTime> {
        let origin = *self.origin.get_or_insert_with(|| {
            self.extras.first = Some((time, self.unit));
            time
        });
        if time < self.last {
            let back =
                crate::kernel::SimDuration::from_nanos(u64::try_from(self.last - time).unwrap_or(u64::MAX));
            let message = format!("this request arrives {back} before the one above it");
            let help = format!("sort the file by `{}`", self.names.arrival);
            self.fault(Role::Arrival, FaultKind::Order, message, Some(help), faults);
            return None;
        }
        let since = time - origin;
        if since > MAX_SPAN_NS {
            let years = since / (365 * 86_400 * 1_000_000_000);
            let message = format!("this request arrives {years} years after the first");
            let help = "check the time unit of the arrival column".to_owned();
            self.fault(Role::Arrival, FaultKind::Value, message, Some(help), faults);
            return None;
        }
        self.last = time;
        u64::try_from(since).ok().map(SimTime::from_nanos)
    }

    fn note_extras(&mut self) {
        if !self.extras.prefix_ids {
            self.extras.prefix_ids =
                self.cell(Role::Prefix).is_some_and(|ids| !ids.is_empty() && ids != b"[]");
        }
        let cells = self.records.cells();
        let Some(range) = cells[Role::Model as usize].clone() else { return };
        let Some(name) = self.records.text().get(range) else { return };
        let name = name.trim_ascii();
        let models = &mut self.extras.models;
        if let Some(count) = models.get_mut(name) {
            *count += 1;
        } else if models.len() < MODELS_TOLD_APART {
            models.insert(name.to_vec(), 1);
        }
    }
}

/// Reads a count of tokens: a whole number, also as `128.0`, the way dataframes write columns that had gaps.
fn token_count(text: &[u8]) -> Option<u32> {
    if let Some(count) = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()) {
        return Some(count);
    }
    let thousandths = decimal(text, 3)?;
    (thousandths % 1000 == 0).then(|| u32::try_from(thousandths / 1000).ok()).flatten()
}

/// A cell as a message shows it: short, and safe to print.
pub(super) fn shown(cell: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(&cell[..cell.len().min(200)])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(41)
        .collect();
    match text.char_indices().nth(40) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

/// The help of a missing column: the columns that are there, and the likeliest among them.
pub(super) fn column_help(wanted: &str, found: &[String]) -> String {
    let list = found.iter().take(20).map(|name| format!("`{}`", shown(name.as_bytes()))).collect::<Vec<_>>();
    let near = found
        .iter()
        .map(|name| (strsim::jaro_winkler(&name.to_lowercase(), &wanted.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let near =
        near.map(|(_, name)| format!("did you mean `{}`? ", shown(name.as_bytes()))).unwrap_or_default();
    format!("{near}the file has {}", if list.is_empty() { "no columns".to_owned() } else { list.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_counts_are_whole_numbers() {
        let check =
            |text: &str, expected: Option<u32>| assert_eq!(token_count(text.as_bytes()), expected, "{text}");
        check("128", Some(128));
        check("128.0", Some(128));
        check("0", Some(0));
        check("1e3", Some(1000));
        check("4294967295", Some(u32::MAX));
        for bad in ["4294967296", "-1", "1.5", "", "x", "NaN"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_missing_column_is_looked_for_among_the_others() {
        let found = ["timestamp".to_owned(), "prompt_tokens".to_owned()];
        assert_eq!(
            column_help("promptTokens", &found),
            "did you mean `prompt_tokens`? the file has `timestamp`, `prompt_tokens`"
        );
        assert_eq!(column_help("arrival", &[]), "the file has no columns");
    }
}
