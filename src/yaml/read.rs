//! Tree to typed value, with every fault at once.
//!
//! serde stops at the first fault. So the document is read again and again: a fault is
//! noted, its node is read as a made-up value from then on, and the next pass gets
//! further. It ends when a pass succeeds or finds nothing new.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::FAULTS_MAX;
use super::de::NodeDe;
use super::diagnostic::{Diagnostic, suggest};
use super::fault::{Error, Kind, Spot};
use super::scalar::is_null;
use super::tree::{Document, Entry, NodeId, Span, Value};

/// Reads a value, or reports all that is wrong, in the order of the text.
pub fn read<T: DeserializeOwned>(document: &Document) -> Result<T, Vec<Diagnostic>> {
    let state = State { bad: document.spoiled.iter().copied().collect(), ..State::default() };
    let reader = Reader { document, state: RefCell::new(state) };
    let value = loop {
        match T::deserialize(NodeDe::new(&reader, document.root)) {
            Ok(value) => break Some(value),
            Err(error) => {
                if !reader.note(error) {
                    break None;
                }
            }
        }
    };
    let mut found = reader.state.into_inner().found;
    for fault in &document.faults {
        found.push((usize::MAX, fault.clone()));
    }
    match value {
        Some(value) if found.is_empty() => Ok(value),
        _ => Err(in_order(document, found)),
    }
}

fn in_order(document: &Document, found: Vec<(usize, Diagnostic)>) -> Vec<Diagnostic> {
    let mut faults: Vec<Diagnostic> = found.into_iter().map(|(_, fault)| fault).collect();
    faults.sort_by_key(|fault| {
        fault.place.as_ref().map(|place| {
            // The document's own text first, then what came in from others, `--set` last.
            let source = document.sources.iter().position(|source| *source.name == *place.file);
            (place.file.starts_with("--"), source, place.line, place.column)
        })
    });
    faults.dedup();
    faults.truncate(FAULTS_MAX);
    faults
}

#[derive(Default)]
struct State {
    /// Nodes with a fault; read as made-up values.
    bad: BTreeSet<NodeId>,
    /// Values of unknown keys; not read.
    skipped: BTreeSet<NodeId>,
    /// Fields that are missing from a mapping; made up.
    missing: Vec<(NodeId, &'static str)>,
    /// Fields a misspelt key most likely meant; their absence is no second fault.
    meant: Vec<(NodeId, &'static str)>,
    /// Faults, each with the node it is about.
    found: Vec<(usize, Diagnostic)>,
}

/// A document that is being read, and what is known to be wrong with it.
pub(super) struct Reader<'a> {
    pub document: &'a Document,
    state: RefCell<State>,
}

impl Reader<'_> {
    pub(super) fn is_bad(&self, id: NodeId) -> bool {
        self.state.borrow().bad.contains(&id)
    }

    pub(super) fn is_skipped(&self, id: NodeId) -> bool {
        self.state.borrow().skipped.contains(&id)
    }

    pub(super) fn missing_of(&self, id: NodeId) -> Vec<&'static str> {
        let state = self.state.borrow();
        state.missing.iter().filter(|(owner, _)| *owner == id).map(|(_, field)| *field).collect()
    }

    pub(super) fn note_unknown_fields(&self, entries: &[Entry], fields: &'static [&'static str]) {
        for entry in entries {
            if !fields.contains(&entry.key.as_str()) && !self.is_skipped(entry.value) {
                self.note_unknown_field(entry.value, &entry.key, fields);
            }
        }
    }

    fn note_unknown_field(&self, id: NodeId, key: &str, fields: &'static [&'static str]) {
        let document = self.document;
        let mut fault = self.fault("E0201", document.head_of(id), format!("unknown field `{key}`"));
        // A field that is written already is not what was meant.
        let parent = document.node(id).parent;
        let written = |field: &str| match parent.map(|parent| &document.node(parent).value) {
            Some(Value::Mapping(entries)) => entries.iter().any(|entry| entry.key == field),
            _ => false,
        };
        let free = fields.iter().copied().filter(|field| !written(field));
        let meant = suggest(key, free);
        if let Some(field) = meant {
            fault = fault.labelled(format!("did you mean `{field}`?"));
        }
        let help = if fields.is_empty() {
            "nothing can be set here".to_owned()
        } else {
            format!("one of {}", fields.join(", "))
        };
        let mut state = self.state.borrow_mut();
        state.skipped.insert(id);
        if let (Some(field), Some(parent)) = (meant, parent) {
            state.meant.extend(fields.iter().find(|name| **name == field).map(|name| (parent, *name)));
        }
        if state.found.len() < FAULTS_MAX {
            state.found.push((id.0 as usize, fault.helped(help)));
        }
    }

    fn fault(&self, code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, message).placed(self.document.place(span))
    }

    /// Takes a failed pass's fault in. False if another pass would find nothing new.
    fn note(&self, error: Error) -> bool {
        let fault = *error.0;
        let spot = fault.at.unwrap_or(Spot::Value(self.document.root));
        if self.state.borrow().found.len() >= FAULTS_MAX {
            return false;
        }
        let id = match spot {
            Spot::Value(id) | Spot::Key(id) => id,
        };
        match fault.kind {
            Kind::Hole => return self.give_up(id),
            Kind::Missing(field) => return self.note_missing(id, field),
            Kind::UnknownField(key, fields) => {
                if self.is_skipped(id) {
                    return self.give_up(id);
                }
                self.note_unknown_field(id, &key, fields);
                return true;
            }
            _ if self.is_bad(id) => return self.give_up(id),
            Kind::UnknownVariant { what, given, valid } => {
                let message = format!("unknown {} `{given}`", noun(what));
                let fault = self.fault("E0203", self.spot_span(spot), message);
                let fault = fault.suggesting(&given, valid.iter().copied());
                self.push(id, fault.helped(format!("one of {}", valid.join(", "))));
            }
            // What a type says of a whole whose parts are made up may be said of the made-up parts.
            Kind::Expected(_) | Kind::Custom(_) if self.has_fault_below(id) => {}
            Kind::Expected(what) => {
                let message = format!("expected {}, found {}", plainly(&what), self.describe(id));
                let fault = self.fault("E0204", self.spot_span(spot), message);
                self.push(id, self.advise(id, &what, fault));
            }
            Kind::Custom(message) => {
                let (message, help) = match message.split_once("; write ") {
                    Some((message, help)) => (message.to_owned(), Some(format!("write {help}"))),
                    None => (message, None),
                };
                let fault = self.fault("E0205", self.spot_span(spot), message);
                self.push(id, Diagnostic { help: help.into_iter().collect(), ..fault });
            }
        }
        self.state.borrow_mut().bad.insert(id)
    }

    fn push(&self, id: NodeId, fault: Diagnostic) {
        self.state.borrow_mut().found.push((id.0 as usize, fault));
    }

    fn note_missing(&self, id: NodeId, field: &'static str) -> bool {
        let known = self.state.borrow().missing.contains(&(id, field));
        if known {
            return self.give_up(id);
        }
        if !self.state.borrow().meant.contains(&(id, field)) {
            let fault = self.fault("E0202", self.document.head_of(id), format!("missing field `{field}`"));
            let path = self.document.path_of(id);
            let fault = if path.steps().is_empty() {
                fault
            } else {
                fault.labelled(format!("`{path}` has no `{field}`"))
            };
            self.push(id, fault);
        }
        self.state.borrow_mut().missing.push((id, field));
        true
    }

    /// A made-up value was refused: makes up the nearest value around it instead.
    fn give_up(&self, id: NodeId) -> bool {
        let mut at = Some(id);
        while let Some(id) = at {
            if self.state.borrow_mut().bad.insert(id) {
                return true;
            }
            at = self.document.node(id).parent;
        }
        false
    }

    fn has_fault_below(&self, id: NodeId) -> bool {
        let state = self.state.borrow();
        let below = |mut at: NodeId| {
            while let Some(parent) = self.document.node(at).parent {
                if parent == id {
                    return true;
                }
                at = parent;
            }
            false
        };
        state.missing.iter().any(|(owner, _)| *owner == id || below(*owner))
            || state.bad.iter().chain(&state.skipped).any(|bad| below(*bad))
    }

    /// What to mark: a collection over several lines is marked by its key.
    fn spot_span(&self, spot: Spot) -> Span {
        match spot {
            Spot::Key(id) => self.document.head_of(id),
            Spot::Value(id) => {
                let node = self.document.node(id);
                let empty = node.span.start == node.span.end;
                if empty || self.document.slice(node.span).trim_end().contains('\n') {
                    self.document.head_of(id)
                } else {
                    node.span
                }
            }
        }
    }

    fn describe(&self, id: NodeId) -> String {
        match &self.document.node(id).value {
            Value::Sequence(items) => format!("a list of {}", items.len()),
            Value::Mapping(_) => "a mapping".to_owned(),
            Value::Scalar(scalar) if scalar.plain && is_null(&scalar.text) => "nothing".to_owned(),
            Value::Scalar(scalar) => {
                let short: String = scalar.text.chars().take(60).collect();
                let dots = if short.len() < scalar.text.len() { ".." } else { "" };
                if scalar.plain { format!("`{short}{dots}`") } else { format!("the text `{short}{dots}`") }
            }
        }
    }

    fn advise(&self, id: NodeId, what: &str, fault: Diagnostic) -> Diagnostic {
        let Value::Scalar(scalar) = &self.document.node(id).value else { return fault };
        let word = scalar.text.to_lowercase();
        match what {
            "true or false" if matches!(word.as_str(), "yes" | "on" | "y") => fault.helped("write true"),
            "true or false" if matches!(word.as_str(), "no" | "off" | "n") => fault.helped("write false"),
            "a number" | "a whole number" | "true or false" if !scalar.plain => {
                fault.helped("remove the quotes")
            }
            _ => fault,
        }
    }
}

/// `PolicySpec` is a policy to those who write it.
fn noun(type_name: &str) -> String {
    let stem = type_name.strip_suffix("Spec").or_else(|| type_name.strip_suffix("Kind"));
    let Some(stem) = stem.filter(|stem| !stem.is_empty()) else { return "value".to_owned() };
    let mut words = String::new();
    for (index, c) in stem.chars().enumerate() {
        if c.is_uppercase() && index > 0 {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    words
}

/// serde's words for what a type expects, in the words of someone who writes YAML.
fn plainly(what: &str) -> &str {
    match what {
        "a string" | "a borrowed string" | "string or bytes" => "text",
        "a character" => "one character",
        "path string" => "a path",
        "a boolean" => "true or false",
        "a map" => "a mapping",
        "a sequence" => "a list",
        "unit" => "nothing",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        _ if what.starts_with("struct ") => "a mapping",
        _ if what.starts_with("enum ") => "a choice",
        _ => what,
    }
}
