//! Values of one document written into another, each with the place it was written at.

use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::path::{Path, Step};
use super::scalar::{is_null, parse_bool, parse_float};
use super::tree::{Document, Entry, Node, NodeId, Source, Span, Value};
use super::{DEPTH_MAX, NODES_MAX};

/// What a value is, for those that look before anything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape<'a> {
    /// Written, and empty: `null`, `~`, or nothing behind the key.
    Nothing,
    /// Text that can only be text.
    Text(&'a str),
    /// Text without quotes that YAML takes for a number or a boolean.
    Bare(&'a str),
    /// A list, and its length.
    List(usize),
    /// A mapping.
    Mapping,
}

impl<'a> Shape<'a> {
    /// The text of a scalar.
    pub const fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) | Self::Bare(text) => Some(text),
            Self::Nothing | Self::List(_) | Self::Mapping => None,
        }
    }
}

impl Document {
    /// What stands at a path; `None` if nothing is written there.
    pub fn shape(&self, path: &Path) -> Option<Shape<'_>> {
        let (id, depth) = self.walk(path);
        if depth < path.steps().len() {
            return None;
        }
        Some(match &self.node(id).value {
            Value::Sequence(items) => Shape::List(items.len()),
            Value::Mapping(_) => Shape::Mapping,
            Value::Scalar(scalar) if !scalar.plain => Shape::Text(&scalar.text),
            Value::Scalar(scalar) if is_null(&scalar.text) => Shape::Nothing,
            Value::Scalar(scalar) => {
                let text = scalar.text.as_str();
                let is_bare = parse_bool(text).is_some() || parse_float(text).is_ok();
                if is_bare { Shape::Bare(text) } else { Shape::Text(text) }
            }
        })
    }

    /// The text of the scalar at a path.
    pub fn text_at(&self, path: &Path) -> Option<&str> {
        self.shape(path)?.text()
    }

    /// Takes an entry out of its mapping.
    pub fn remove(&mut self, path: &Path) {
        let (id, depth) = self.walk(path);
        let parent = self.node(id).parent.filter(|_| depth == path.steps().len());
        if let Some(parent) = parent
            && let Value::Mapping(entries) = &mut self.node_mut(parent).value
        {
            entries.retain(|entry| entry.value != id);
        }
    }

    /// From now on, the value at a path is made up when it is read: what is wrong with it was said
    /// already, and what follows from it is not worth saying.
    pub fn spoil(&mut self, path: &Path) {
        let (id, depth) = self.walk(path);
        if depth == path.steps().len() {
            self.spoiled.push(id);
        }
    }

    /// Writes a copy of what stands at `path` of another document at `at`, with the places it has there.
    /// What is written at `at` already stays; of two mappings, that holds entry by entry.
    ///
    /// # Errors
    /// The document would grow too deep or too large.
    pub fn graft(&mut self, at: &Path, from: &Self, path: &Path) -> Result<(), Box<Diagnostic>> {
        let (id, depth) = from.walk(path);
        if depth < path.steps().len() {
            return Ok(());
        }
        self.has_room(at, from, id)?;
        let sources: Vec<usize> = from.sources.iter().map(|source| self.take_in(source.clone())).collect();
        let moved = |span: Span| Span { source: sources[span.source], ..span };
        let key_span = moved(from.head_of(id));
        self.merge(at, from, id, key_span, &moved);
        Ok(())
    }

    /// Writes `value`, a YAML text made of what stands at `origin` of another document, at `at`; each part of it has
    /// that place. See [`Document::graft`].
    ///
    /// # Errors
    /// The document would grow too deep or too large, or `value` is no YAML.
    pub fn graft_made(
        &mut self,
        at: &Path,
        value: &str,
        from: &Self,
        origin: &Path,
    ) -> Result<(), Box<Diagnostic>> {
        let made = Self::parse("made", value).map_err(|mut faults| Box::new(faults.swap_remove(0)))?;
        self.has_room(at, &made, made.root)?;
        let span = from.span_of(origin);
        let source = self.take_in(from.sources[span.source].clone());
        let span = Span { source, ..span };
        let key_span = Span { source, ..from.key_span_of(origin) };
        self.merge(at, &made, made.root, key_span, &|_| span);
        Ok(())
    }

    fn has_room(&self, at: &Path, from: &Self, id: NodeId) -> Result<(), Box<Diagnostic>> {
        let place = || from.place(from.head_of(id));
        if at.steps().len() + from.node(id).height > DEPTH_MAX {
            let message = format!("`{at}` would be nested more than {DEPTH_MAX} levels deep");
            return Err(Box::new(Diagnostic::error("E0104", message).placed(place())));
        }
        if self.nodes.len() + from.nodes.len() + at.steps().len() > NODES_MAX {
            let message = format!("with this, the scenario has more than {NODES_MAX} values");
            return Err(Box::new(Diagnostic::error("E0105", message).placed(place())));
        }
        Ok(())
    }

    /// The number of a text among this document's, which is taken in if it is not there yet.
    pub(super) fn take_in(&mut self, source: Source) -> usize {
        let same = |own: &Source| Arc::ptr_eq(&own.text, &source.text) && own.name == source.name;
        self.sources.iter().position(same).unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len() - 1
        })
    }

    fn merge(&mut self, at: &Path, from: &Self, id: NodeId, key_span: Span, moved: &dyn Fn(Span) -> Span) {
        let (into, depth) = self.walk(at);
        let missing = &at.steps()[depth..];
        let is_nothing = |node: &Node| matches!(&node.value, Value::Scalar(scalar) if scalar.plain && is_null(&scalar.text));
        if missing.is_empty() && is_nothing(self.node(into)) {
            let copy = self.copy(from, id, moved);
            self.replace(into, copy, key_span);
        } else if missing.is_empty() {
            if let (Value::Mapping(_), Value::Mapping(entries)) =
                (&self.node(into).value, &from.node(id).value)
            {
                for entry in entries {
                    self.merge(&at.key(entry.key.as_str()), from, entry.value, moved(entry.key_span), moved);
                }
            }
        } else if self.takes_keys(into) && missing.iter().all(|step| matches!(step, Step::Key(_))) {
            let copy = self.copy(from, id, moved);
            self.insert_below(into, missing, copy, key_span, moved(from.node(id).span));
        }
    }

    pub(super) fn takes_keys(&self, id: NodeId) -> bool {
        match &self.node(id).value {
            Value::Mapping(_) => true,
            Value::Scalar(scalar) => scalar.plain && is_null(&scalar.text),
            Value::Sequence(_) => false,
        }
    }

    /// Writes `new` below `at`, at the end of `missing`; `span` is that of the mappings made on the way.
    pub(super) fn insert_below(
        &mut self,
        at: NodeId,
        missing: &[Step],
        new: NodeId,
        key_span: Span,
        span: Span,
    ) {
        let mut at = at;
        for (offset, step) in missing.iter().enumerate() {
            let Step::Key(key) = step else { continue };
            let child = if offset + 1 == missing.len() {
                new
            } else {
                self.push(Node { span, value: Value::Mapping(Vec::new()), parent: None, height: 1 })
            };
            self.insert(at, Entry { key: key.clone(), key_span, value: child });
            at = child;
        }
    }

    fn insert(&mut self, into: NodeId, entry: Entry) {
        let child = entry.value;
        if let Value::Mapping(entries) = &mut self.node_mut(into).value {
            entries.push(entry);
        } else {
            self.node_mut(into).value = Value::Mapping(vec![entry]);
        }
        self.node_mut(child).parent = Some(into);
    }

    /// Puts `new` where `old` was.
    pub(super) fn replace(&mut self, old: NodeId, new: NodeId, key_span: Span) {
        let parent = self.node(old).parent;
        self.node_mut(new).parent = parent;
        match parent {
            None => self.root = new,
            Some(parent) => match &mut self.node_mut(parent).value {
                Value::Mapping(entries) => {
                    for entry in entries.iter_mut().filter(|entry| entry.value == old) {
                        entry.value = new;
                        entry.key_span = key_span;
                    }
                }
                Value::Sequence(items) => {
                    for item in items.iter_mut().filter(|item| **item == old) {
                        *item = new;
                    }
                }
                Value::Scalar(_) => {}
            },
        }
    }

    /// Copies a subtree of another document; `moved` says which span of this document one of the other is.
    pub(super) fn copy(&mut self, from: &Self, id: NodeId, moved: &dyn Fn(Span) -> Span) -> NodeId {
        let node = from.node(id);
        let value = match &node.value {
            Value::Scalar(scalar) => Value::Scalar(scalar.clone()),
            Value::Sequence(items) => {
                Value::Sequence(items.iter().map(|item| self.copy(from, *item, moved)).collect())
            }
            Value::Mapping(entries) => Value::Mapping(
                entries
                    .iter()
                    .map(|entry| Entry {
                        key: entry.key.clone(),
                        key_span: moved(entry.key_span),
                        value: self.copy(from, entry.value, moved),
                    })
                    .collect(),
            ),
        };
        let id = self.push(Node { span: moved(node.span), value, parent: None, height: node.height });
        self.adopt(id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use serde_json::{Value as Json, json};

    fn document(name: &str, text: &str) -> Document {
        Document::parse(name, text).expect(text)
    }

    fn path(text: &str) -> Path {
        if text.is_empty() { Path::root() } else { Path::parse(text).expect(text) }
    }

    #[test]
    fn what_is_written_stays_and_the_rest_comes_in() {
        let from =
            document("m.yaml", "spec:\n  min: 1\n  list: [1, 2]\n  deep: { a: { b: 1, c: 2 } }\n  new: x\n");
        let check = |own: &str, at: &str, expected: Json| {
            let mut into = document("s.yaml", own);
            into.graft(&path(at), &from, &path("spec")).expect(own);
            assert_eq!(read::<Json>(&into).expect(own), expected, "{own}");
        };
        let all = json!({"min": 1, "list": [1, 2], "deep": {"a": {"b": 1, "c": 2}}, "new": "x"});
        check("p: { q: }", "p.q", json!({"p": {"q": all}}));
        check("p: {}", "p.q.r", json!({"p": {"q": {"r": all}}}));
        check("", "p", json!({"p": all}));
        check(
            "p: { min: 5, list: [], deep: { a: { b: 7 } }, own: 1 }",
            "p",
            json!({"p": {"min": 5, "list": [], "deep": {"a": {"b": 7, "c": 2}}, "own": 1, "new": "x"}}),
        );
        check("p: { min: ~ }", "p", json!({"p": all}));
        check("p: 3", "p", json!({"p": 3}));
        check("p: [1]", "p.q", json!({"p": [1]}));
        let mut into = document("s.yaml", "a: 1");
        into.graft(&path("b"), &from, &path("no.such")).expect("nothing to do");
        assert_eq!(read::<Json>(&into).expect("as it was"), json!({"a": 1}));
    }

    #[test]
    fn places_are_those_of_the_text_it_was_written_in() {
        let from = document("m.yaml", "spec:\n  grace: 600\n  list:\n    - é: x\n");
        let mut into = document("s.yaml", "p: {}\n");
        into.graft(&path("p"), &from, &path("spec")).expect("it fits");
        into.graft_made(&path("p.made"), "600s", &from, &path("spec.grace")).expect("it fits");
        into.graft_made(&path("p.list2"), "[{ a: 1 }]", &from, &path("spec.grace")).expect("it fits");
        assert_eq!(into.sources.len(), 2, "one text is taken in once");
        let check = |at: &str, expected: (&str, usize, usize)| {
            let place = into.fault("E0205", &path(at), "x").place.expect("it has a place");
            assert_eq!((place.file.as_str(), place.line, place.column), expected, "{at}");
        };
        check("p.grace", ("m.yaml", 2, 10));
        check("p.list[0].é", ("m.yaml", 4, 10));
        check("p.made", ("m.yaml", 2, 10));
        check("p.list2[0].a", ("m.yaml", 2, 10));
        check("p", ("s.yaml", 1, 4));
        // A missing value is missed where its parent stands.
        check("p.list[0].b", ("m.yaml", 4, 7));
        let key = into.fault_at_key("E0205", &path("p.made"), "x").place.expect("it has a place");
        assert_eq!((key.line, key.column), (2, 3));
    }

    #[test]
    fn a_document_does_not_grow_without_end() {
        let deep = document("m.yaml", &format!("a: {}1{}", "[".repeat(50), "]".repeat(50)));
        let mut into = document("s.yaml", "p: {}\n");
        let at = Path::keys(["p"; 20]);
        assert_eq!(into.graft(&at, &deep, &path("a")).expect_err("too deep").code, "E0104");
        let large = document("m.yaml", &format!("a: [{}]", "1,".repeat(30_000)));
        into.graft(&path("x"), &large, &path("a")).expect("once it fits");
        assert_eq!(into.graft(&path("y"), &large, &path("a")).expect_err("too large").code, "E0105");
    }

    #[test]
    fn spoiled_values_are_made_up_and_removed_ones_are_gone() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            part: Part,
            number: u32,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)]
        struct Part {
            required: String,
        }
        let mut into = document("s.yaml", "part: { other: 1 }\nnumber: 3\n");
        assert_eq!(read::<Whole>(&into).expect_err("it has faults").len(), 2);
        into.spoil(&path("part"));
        let whole: Whole = read(&into).expect("nothing else is wrong");
        assert_eq!((whole.number, whole.part.required.is_empty()), (3, false));
        let mut into = document("s.yaml", "part: { other: 1, required: x }\nnumber: 3\n");
        into.remove(&path("part.other"));
        into.remove(&path("part.none"));
        read::<Whole>(&into).expect("the unknown field is gone");
    }

    #[test]
    fn shapes() {
        let own = document("s.yaml", "a: 1\nb: \"1\"\nc: x\nd:\ne: [1]\nf: { g: true }\nh: !!str 1\n");
        let check = |at: &str, expected| assert_eq!(own.shape(&path(at)), expected, "{at}");
        check("a", Some(Shape::Bare("1")));
        check("b", Some(Shape::Text("1")));
        check("c", Some(Shape::Text("x")));
        check("d", Some(Shape::Nothing));
        check("e", Some(Shape::List(1)));
        check("f.g", Some(Shape::Bare("true")));
        check("h", Some(Shape::Text("1")));
        check("", Some(Shape::Mapping));
        check("a.b", None);
    }
}
