//! CSV traces with any columns.
//!
//! Records are split here and not by a CSV crate, because a fault must name the exact
//! line and column of its field in the raw text, also after CRLF, quotes and blank lines.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clock::TimeUnit;
use super::fault::{FaultKind, FileFaults, Spot};
use super::input::Lines;
use super::rows::{
    Advance, Cells, Names, ROLES, Records, Role, TraceFormat, TraceReader, column_help, shown,
};

/// A CSV file whose first line names its columns, plain or gzip, one request a row, in order of arrival.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CsvSpec {
    /// The file, relative to the scenario.
    pub file: String,
    /// Which column holds what.
    pub columns: ColumnsSpec,
    /// How arrival times are written.
    pub time: TimeSpec,
}

/// The names of the columns (CSV) or keys (JSONL) of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ColumnsSpec {
    /// Arrival time. Arrivals count from the first row, whatever origin the times have.
    pub arrival: String,
    /// Prompt tokens.
    pub prompt_tokens: String,
    /// Output tokens.
    pub output_tokens: String,
    /// Name of the model asked for. It is counted, and not routed on yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// How a trace writes its arrival times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeSpec {
    /// The unit of numbers, or `rfc3339` for dates.
    pub unit: TimeUnit,
}

impl ColumnsSpec {
    /// One column cannot be two things: a slip of the hand that would run, and give prompts the length of their answers.
    pub(super) fn complaints(&self) -> Vec<(&'static str, String, &'static str)> {
        let names = self.names(None);
        let shared = names.shared().into_iter().map(|(name, first, second)| {
            let field = match second {
                "promptTokens" => "columns.promptTokens",
                "outputTokens" => "columns.outputTokens",
                _ => "columns.model",
            };
            let message = format!("the column `{name}` is named for {first} and {second}");
            (field, message, "each has a column of its own: name the one that holds it")
        });
        shared.collect()
    }

    pub(super) fn names(&self, prefix: Option<&str>) -> Names {
        Names {
            arrival: self.arrival.clone(),
            prompt: self.prompt_tokens.clone(),
            output: self.output_tokens.clone(),
            model: self.model.clone(),
            prefix: prefix.map(str::to_owned),
        }
    }
}

impl TraceFormat for CsvSpec {
    fn file(&self) -> &str {
        &self.file
    }

    fn open(&self, lines: Lines, faults: &mut FileFaults) -> Option<TraceReader> {
        open(lines, self.columns.names(None), self.time.unit, faults)
    }

    fn complaints(&self) -> Vec<(&'static str, String, &'static str)> {
        self.columns.complaints()
    }
}

/// Reads the header and begins on the rows.
pub(super) fn open(
    lines: Lines,
    names: Names,
    unit: TimeUnit,
    faults: &mut FileFaults,
) -> Option<TraceReader> {
    let mut table =
        Table { lines, text: Vec::new(), line: 0, fields: Vec::new(), roles: Vec::new(), cells: none() };
    if !table.read(faults)? {
        faults.whole(FaultKind::Empty, "the trace is empty", None);
        return None;
    }
    if let Some((separator, shown)) = table.separator() {
        let spot = Spot { line: table.line, text: &table.text, from: separator, len: 1 };
        let message = format!("the separator of this file is {shown}");
        let help = "columns are separated by commas: write the file anew with them".to_owned();
        faults.at(spot, FaultKind::Format, message, Some(help));
        return None;
    }
    let mut found = Vec::new();
    let mut twice = false;
    for field in &table.fields {
        let name = table.text[field.clone()].trim_ascii();
        let role = names.role(name);
        if role.is_some() && table.roles.contains(&role) {
            twice = true;
            let spot = Spot { line: table.line, text: &table.text, from: field.start, len: field.len() };
            let message = format!("the column `{}` stands twice in the header", shown(name));
            let help = "nothing tells which of the two is meant: rename or remove one".to_owned();
            faults.at(spot, FaultKind::Column, message, Some(help));
        }
        table.roles.push(role);
        found.push(String::from_utf8_lossy(name).into_owned());
    }
    if twice {
        return None;
    }
    let mut wanted = vec![Role::Arrival, Role::Prompt, Role::Output];
    wanted.extend(names.model.is_some().then_some(Role::Model));
    let mut complete = true;
    for role in wanted {
        if !table.roles.contains(&Some(role)) {
            complete = false;
            let name = names.of(role);
            let spot = Spot { line: table.line, text: &table.text, from: 0, len: table.text.len() };
            let help = Some(column_help(name, &found));
            faults.at(spot, FaultKind::Column, format!("the column `{name}` is missing"), help);
        }
    }
    complete.then(|| TraceReader::new(Box::new(table), names, unit))
}

fn none() -> Cells {
    [const { None }; ROLES]
}

struct Table {
    lines: Lines,
    text: Vec<u8>,
    line: u64,
    fields: Vec<Range<usize>>,
    roles: Vec<Option<Role>>,
    cells: Cells,
}

impl Table {
    /// What separates the columns of a header that has a single one by commas: its place, and how to call it.
    fn separator(&self) -> Option<(usize, &'static str)> {
        if self.fields.len() > 1 {
            return None;
        }
        let at = |byte: u8| self.text.iter().position(|own| *own == byte);
        at(b';').map(|at| (at, "`;`")).or_else(|| at(b'\t').map(|at| (at, "a tab")))
    }

    /// Notes the fields that no column is for: a comma that is not quoted moves all that is behind it.
    fn is_too_long(&self, faults: &mut FileFaults) -> bool {
        let Some(extra) = self.fields.get(self.roles.len()) else { return false };
        // The comma itself is shown where nothing follows it.
        let from = extra.start.min(self.text.len().saturating_sub(1));
        let spot = Spot { line: self.line, text: &self.text, from, len: extra.len().max(1) };
        let (fields, columns) = (self.fields.len(), self.roles.len());
        let message = format!("this row has {fields} fields, and the header names {columns} columns");
        let help = "a field that holds a comma is written in quotes, `\"1,024\"`, and none ends a row";
        faults.at(spot, FaultKind::Value, message, Some(help.to_owned()));
        true
    }

    /// Reads the next record that is not blank; `None` if the file cannot be read on.
    fn read(&mut self, faults: &mut FileFaults) -> Option<bool> {
        loop {
            match self.lines.next(&mut self.text) {
                Ok(true) if self.text.trim_ascii().is_empty() => {}
                Ok(true) => break,
                Ok(false) => return Some(false),
                Err(error) => {
                    faults.whole(FaultKind::File, format!("the trace cannot be read: {error}"), None);
                    return None;
                }
            }
        }
        self.line = self.lines.line();
        while !split(&self.text, &mut self.fields) {
            // A quoted field goes on in the next line.
            self.text.push(b'\n');
            match self.lines.append(&mut self.text) {
                Ok(true) if self.text.len() < 16 << 20 => {}
                _ => {
                    let spot = Spot { line: self.line, text: &self.text, from: 0, len: 1 };
                    faults.at(spot, FaultKind::Format, "a quoted field of this row never ends", None);
                    return None;
                }
            }
        }
        Some(true)
    }
}

impl Records for Table {
    fn advance(&mut self, faults: &mut FileFaults) -> Advance {
        match self.read(faults) {
            None | Some(false) => return Advance::End,
            Some(true) => {}
        }
        if self.is_too_long(faults) {
            return Advance::Bad;
        }
        self.cells = none();
        for (field, role) in self.fields.iter().zip(&self.roles) {
            if let Some(role) = role {
                self.cells[*role as usize] = Some(field.clone());
            }
        }
        Advance::Record
    }

    fn cells(&self) -> &Cells {
        &self.cells
    }

    fn text(&self) -> &[u8] {
        &self.text
    }

    fn line(&self) -> u64 {
        self.line
    }
}

/// Splits a record at its commas, quotes left out; `false` if a quote is still open at the end.
/// Doubled quotes inside a field are not undoubled: no time, number or model name holds one.
pub(super) fn split(text: &[u8], fields: &mut Vec<Range<usize>>) -> bool {
    fields.clear();
    let mut start = 0;
    let mut quoted = false;
    let mut push = |from: usize, to: usize| {
        let cell = &text[from..to];
        let inner = cell.len() >= 2 && cell[0] == b'"' && cell[cell.len() - 1] == b'"';
        fields.push(if inner { from + 1..to - 1 } else { from..to });
    };
    for (at, byte) in text.iter().enumerate() {
        match byte {
            // A quote opens at the beginning of a field only; in a quoted field it closes, and one right after it reopens.
            b'"' if quoted || at == start || (text[start] == b'"' && text[at - 1] == b'"') => {
                quoted = !quoted;
            }
            b',' if !quoted => {
                push(start, at);
                start = at + 1;
            }
            _ => {}
        }
    }
    push(start, text.len());
    !quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_split_at_commas_outside_quotes() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let mut fields = Vec::new();
            let whole = split(text.as_bytes(), &mut fields);
            let cells: Vec<&str> = fields.iter().map(|f| &text[f.clone()]).collect();
            assert_eq!(whole.then_some(cells.as_slice()), expected, "{text}");
        };
        check("a,b,c", Some(&["a", "b", "c"]));
        check("a,,", Some(&["a", "", ""]));
        check("\"a,b\",c", Some(&["a,b", "c"]));
        check("\"say \"\"hi\"\", you\",2", Some(&["say \"\"hi\"\", you", "2"]));
        check("5\" disk,2", Some(&["5\" disk", "2"]));
        check("\"open,2", None);
        check("", Some(&[""]));
    }
}
