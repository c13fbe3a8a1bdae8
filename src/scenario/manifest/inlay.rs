//! From an object of a manifest into the scenario.

use super::files::Object;
use super::walk::unknown;
use super::{Found, note_at};
use crate::yaml::{Document, Path, Shape};

/// An object, and where in the scenario what it says belongs.
pub(super) struct Inlay<'a> {
    pub scenario: &'a mut Document,
    pub found: &'a mut Found,
    pub object: Object<'a>,
    /// The mapping of the scenario that named the manifest.
    pub at: Path,
}

impl<'a> Inlay<'a> {
    /// A path of the object, such as `spec.template`.
    pub fn path(&self, below: &str) -> Path {
        self.object.path(below)
    }

    /// What stands at a path of the manifest.
    pub fn shape(&self, path: &Path) -> Option<Shape<'a>> {
        self.object.document.shape(path)
    }

    /// Whether anything stands there.
    pub fn has(&self, path: &Path) -> bool {
        !matches!(self.shape(path), None | Some(Shape::Nothing))
    }

    /// The text of the scalar at a path of the manifest.
    pub fn text(&self, path: &Path) -> Option<&'a str> {
        self.object.document.text_at(path)
    }

    /// The keys of the mapping at a path of the manifest.
    pub fn keys(&self, path: &Path) -> Vec<&'a str> {
        self.object.document.keys_at(path)
    }

    /// The items of the list at a path of the manifest.
    pub fn items(&self, path: &Path) -> Vec<Path> {
        match self.shape(path) {
            Some(Shape::List(length)) => (0..length).map(|index| path.index(index)).collect(),
            _ => Vec::new(),
        }
    }

    /// Writes what stands at a path of the manifest into the scenario, unless that writes it itself.
    pub fn take(&mut self, from: &Path, at: &Path) {
        if !self.has(from) {
            return;
        }
        if let Err(fault) = self.scenario.graft(at, self.object.document, from) {
            self.found.fault(*fault);
        }
    }

    /// Writes a YAML text that was made of what stands at a path of the manifest.
    pub fn make(&mut self, origin: &Path, at: &Path, value: &str) {
        if let Err(fault) = self.scenario.graft_made(at, value, self.object.document, origin) {
            self.found.fault(*fault);
        }
    }

    /// A fault of the value at a path of the manifest.
    pub fn fault(&mut self, code: &'static str, path: &Path, message: impl Into<String>, help: &str) {
        let fault = self.object.document.fault(code, path, message);
        self.found.fault(if help.is_empty() { fault } else { fault.helped(help) });
    }

    /// A fault of the key at a path of the manifest.
    pub fn fault_at_key(&mut self, code: &'static str, path: &Path, message: impl Into<String>, help: &str) {
        let fault = self.object.document.fault_at_key(code, path, message);
        self.found.fault(if help.is_empty() { fault } else { fault.helped(help) });
    }

    /// A warning about the key at a path of the manifest.
    pub fn note(&mut self, code: &'static str, path: &Path, message: impl Into<String>, help: &str) {
        let note = note_at(code, &self.object, path, message);
        self.found.note(if help.is_empty() { note } else { note.helped(help) });
    }

    /// Warns of a field that changes what a cluster does and is not modelled.
    pub fn unmodelled(&mut self, path: &Path, what: &str, why: &str) {
        self.note("W0201", path, format!("{what} is not modelled: {why}"), "");
    }

    /// Demands that a field is there.
    pub fn require(&mut self, parent: &Path, field: &str) {
        if !self.has(&parent.key(field)) {
            let document = self.object.document;
            let fault = document.fault_at_key("E0202", parent, format!("missing field `{field}`"));
            self.found.fault(fault);
        }
    }

    /// Refuses every version of the object's API but one.
    pub fn demand_version(&mut self, version: &str, help: &str) -> bool {
        if self.object.version() == version {
            return true;
        }
        let message = format!("{} of version {} is not read", self.object.kind, self.object.version());
        let path = self.path("apiVersion");
        let path = if self.has(&path) { path } else { self.object.path.clone() };
        self.fault("E0408", &path, message, help);
        false
    }

    /// Takes the annotations over whose names begin with `prefix`. Others are none of this object's scaling; one of
    /// the prefix that is not `known` is refused.
    pub fn take_annotations(&mut self, from: &Path, prefix: &str, known: &[&str]) {
        let at = self.at.key("annotations");
        for key in self.keys(from) {
            if !key.starts_with(prefix) {
                continue;
            }
            let path = from.key(key);
            if known.contains(&key) {
                self.take(&path, &at.key(key));
                continue;
            }
            let document = self.object.document;
            let fault = document.fault_at_key("E0201", &path, format!("unknown annotation `{key}`"));
            self.found.fault(unknown(fault, key, known));
        }
    }
}
