//! JSONL traces: one JSON object a line, with any keys.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::clock::TimeUnit;
use super::csv::{ColumnsSpec, TimeSpec};
use super::fault::{FaultKind, FileFaults, Spot};
use super::input::Lines;
use super::rows::{Advance, Cells, Names, ROLES, Records, TraceFormat, TraceReader};

/// A file of one JSON object a line, plain or gzip, one request each, in order of arrival.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JsonlSpec {
    /// The file, relative to the scenario.
    pub file: String,
    /// Which key holds what; keys of the outermost object.
    pub columns: ColumnsSpec,
    /// How arrival times are written.
    pub time: TimeSpec,
}

impl TraceFormat for JsonlSpec {
    fn file(&self) -> &str {
        &self.file
    }

    fn open(&self, lines: Lines, _: &mut FileFaults) -> Option<TraceReader> {
        Some(open(lines, self.columns.names(None), self.time.unit))
    }

    fn complaints(&self) -> Vec<(&'static str, String, &'static str)> {
        self.columns.complaints()
    }
}

/// Begins on the lines.
pub(super) fn open(lines: Lines, names: Names, unit: TimeUnit) -> TraceReader {
    let objects = Objects { lines, names: names.clone(), text: Vec::new(), cells: [const { None }; ROLES] };
    TraceReader::new(Box::new(objects), names, unit)
}

struct Objects {
    lines: Lines,
    names: Names,
    text: Vec<u8>,
    cells: Cells,
}

impl Records for Objects {
    fn advance(&mut self, faults: &mut FileFaults) -> Advance {
        loop {
            match self.lines.next(&mut self.text) {
                Ok(true) if self.text.trim_ascii().is_empty() => {}
                Ok(true) => break,
                Ok(false) => return Advance::End,
                Err(error) => {
                    faults.whole(FaultKind::File, format!("the trace cannot be read: {error}"), None);
                    return Advance::End;
                }
            }
        }
        self.cells = [const { None }; ROLES];
        let mut bad = |from: usize, message: String| {
            let spot = Spot { line: self.lines.line(), text: &self.text, from, len: 1 };
            faults.at(spot, FaultKind::Format, message, Some("each line is one JSON object".to_owned()));
            Advance::Bad
        };
        let text = match std::str::from_utf8(&self.text) {
            Ok(text) => text,
            Err(error) => return bad(error.valid_up_to(), "this line is not UTF-8 text".to_owned()),
        };
        let mut reader = serde_json::Deserializer::from_str(text);
        let picked = Pick { text, names: &self.names, cells: &mut self.cells };
        match picked.deserialize(&mut reader).and_then(|()| reader.end()) {
            Ok(()) => Advance::Record,
            Err(error) => {
                let message = error.to_string();
                let cause = message.split(" at line ").next().unwrap_or("syntax error");
                bad(error.column().saturating_sub(1), format!("this line is not a JSON object: {cause}"))
            }
        }
    }

    fn cells(&self) -> &Cells {
        &self.cells
    }

    fn text(&self) -> &[u8] {
        &self.text
    }

    fn line(&self) -> u64 {
        self.lines.line()
    }
}

/// Picks the values of the named keys out of one object, as ranges of its text.
struct Pick<'a> {
    text: &'a str,
    names: &'a Names,
    cells: &'a mut Cells,
}

impl<'de> DeserializeSeed<'de> for Pick<'de> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Pick<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let Some(role) = self.names.role(key.0.as_bytes()) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw = map.next_value::<&RawValue>()?.get();
            // The value is borrowed from the line, so its address gives its place there.
            let from = (raw.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
            let string = raw.len() >= 2 && raw.starts_with('"');
            let range = if string { from + 1..from + raw.len() - 1 } else { from..from + raw.len() };
            self.cells[role as usize] = (raw != "null").then_some(range);
        }
        Ok(())
    }
}

/// A key, borrowed where it holds no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
