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
use super::rows::{Advance, Cells, Names, ROLES, Records, Role, TraceFormat, TraceReader, column_help};

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
    let mut found = Vec::new();
    for field in &table.fields {
        let name = table.text[field.clone()].trim_ascii();
        table.roles.push(names.role(name));
        found.push(String::from_utf8_lossy(name).into_owned());
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
