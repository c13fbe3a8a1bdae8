//! Every field of an object, held against the table of those there are.

use super::Found;
use super::files::Object;
use super::note_at;
use crate::yaml::{Diagnostic, Path, Shape};

/// What becomes of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    /// It is taken over, or looked at.
    Used,
    /// It changes nothing in a run, whatever is in it.
    NoEffect,
    /// It would change a run and does not: why that matters.
    Unmodelled(&'static str),
    /// A mapping with fields of its own.
    In(Table),
    /// A list of such mappings.
    Each(Table),
    /// A mapping of names and texts, as Kubernetes' annotations and labels are.
    Texts,
}

/// Fields by their names; several parts make a table.
pub(super) type Table = &'static [&'static [(&'static [&'static str], Field)]];

/// Whether a walk warns of what is not modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Warn {
    Yes,
    /// Only a part of the object is of interest.
    No,
}

/// Reports every field below a path that no table knows, and those that are not modelled.
pub(super) fn walk(object: &Object<'_>, path: &Path, table: Table, warn: Warn, found: &mut Found) {
    let document = object.document;
    match document.shape(path) {
        None | Some(Shape::Nothing | Shape::Mapping) => {}
        Some(_) => return found.fault(document.fault("E0204", path, "expected a mapping")),
    }
    for key in document.keys_at(path) {
        let inner = path.key(key);
        let fields = || table.iter().copied().flatten();
        let known = fields().find(|(names, _)| names.contains(&key));
        let shape = document.shape(&inner).unwrap_or(Shape::Nothing);
        match known.map(|(_, field)| *field) {
            None => {
                let names: Vec<&str> = fields().flat_map(|(names, _)| names.iter().copied()).collect();
                let fault = document.fault_at_key("E0201", &inner, format!("unknown field `{key}`"));
                found.fault(unknown(fault, key, &names));
            }
            Some(Field::Used | Field::NoEffect) => {}
            Some(Field::Unmodelled(why)) => {
                let is_empty = match shape {
                    Shape::Nothing | Shape::List(0) => true,
                    Shape::Mapping => document.keys_at(&inner).is_empty(),
                    Shape::Text(_) | Shape::Bare(_) | Shape::List(_) => false,
                };
                if warn == Warn::Yes && !is_empty {
                    found.note(note_at("W0201", object, &inner, format!("`{key}` is not modelled: {why}")));
                }
            }
            Some(Field::In(table)) => walk(object, &inner, table, warn, found),
            Some(Field::Each(table)) => match shape {
                Shape::List(length) => {
                    (0..length).for_each(|index| walk(object, &inner.index(index), table, warn, found));
                }
                Shape::Nothing => {}
                _ => found.fault(document.fault("E0204", &inner, "expected a list")),
            },
            Some(Field::Texts) => texts(object, &inner, found),
        }
    }
}

/// Of what is not known: what may be meant, and what there is, unless that is a page and not needed.
pub(super) fn unknown(fault: Diagnostic, key: &str, names: &[&str]) -> Diagnostic {
    const SHORT: usize = 12;
    let fault = fault.suggesting(key, names.iter().copied());
    if names.len() > SHORT && !fault.label.is_empty() {
        return fault;
    }
    fault.helped(format!("one of {}", names.join(", ")))
}

/// Names and texts. Kubernetes takes nothing else: `min-scale: 1` is refused where `min-scale: "1"` is meant.
pub(super) fn texts(object: &Object<'_>, path: &Path, found: &mut Found) {
    let document = object.document;
    match document.shape(path) {
        None | Some(Shape::Nothing | Shape::Mapping) => {}
        Some(_) => return found.fault(document.fault("E0204", path, "expected a mapping of texts")),
    }
    for key in document.keys_at(path) {
        let inner = path.key(key);
        match document.shape(&inner) {
            Some(Shape::Bare(text)) => {
                let fault = document.fault("E0204", &inner, format!("expected text, found `{text}`"));
                found.fault(fault.helped(format!("Kubernetes refuses it; quote it: \"{text}\"")));
            }
            Some(Shape::List(_) | Shape::Mapping) => {
                found.fault(document.fault("E0204", &inner, "expected text"));
            }
            None | Some(Shape::Nothing | Shape::Text(_)) => {}
        }
    }
}
