//! The tree: nodes in an arena, each with the place it was written at.

use std::sync::Arc;

use super::diagnostic::{Diagnostic, Place};
use super::path::{Path, Step};
use super::{DEPTH_MAX, NODES_MAX};

/// Bytes `start..end` of one of a document's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which text: 0 is the document's own, the others came in by [`Document::set`] and [`Document::graft`].
    pub source: usize,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A node of a [`Document`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u32);

#[derive(Clone, Debug)]
pub(super) struct Scalar {
    /// The text, escapes processed.
    pub text: String,
    /// Neither quoted nor a block nor tagged `!!str`, so it may mean a number, a boolean or nothing.
    pub plain: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: NodeId,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    Sequence(Vec<NodeId>),
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub span: Span,
    pub value: Value,
    pub parent: Option<NodeId>,
    /// Levels of collections below and including this one; a scalar has 0.
    pub height: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Source {
    pub name: Arc<str>,
    pub text: Arc<str>,
}

/// A YAML document with the place of every value.
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) sources: Vec<Source>,
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
    pub(super) faults: Vec<Diagnostic>,
    /// Values that a reader makes up: what is wrong with them was said already.
    pub(super) spoiled: Vec<NodeId>,
}

impl Document {
    pub(super) fn empty(name: &Arc<str>, text: &Arc<str>) -> Self {
        let mut document = Self {
            sources: vec![Source { name: Arc::clone(name), text: Arc::clone(text) }],
            nodes: Vec::new(),
            root: NodeId(0),
            faults: Vec::new(),
            spoiled: Vec::new(),
        };
        let nothing = Value::Scalar(Scalar { text: String::new(), plain: true });
        document.push(Node {
            span: Span { source: 0, start: 0, end: 0 },
            value: nothing,
            parent: None,
            height: 0,
        });
        document
    }

    /// The name it was parsed under, usually its file.
    pub fn name(&self) -> &str {
        &self.sources[0].name
    }

    /// The text it was parsed from.
    pub fn text(&self) -> &str {
        &self.sources[0].text
    }

    /// Faults that did not hinder parsing (duplicate keys, tags); [`super::read`] reports them too.
    pub fn faults(&self) -> &[Diagnostic] {
        &self.faults
    }

    pub(super) fn push(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(node);
        id
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// Sets parents and height once a collection is complete.
    pub(super) fn adopt(&mut self, id: NodeId) {
        let children: Vec<NodeId> = match &self.node(id).value {
            Value::Scalar(_) => Vec::new(),
            Value::Sequence(items) => items.clone(),
            Value::Mapping(entries) => entries.iter().map(|entry| entry.value).collect(),
        };
        let below = children.iter().map(|child| self.node(*child).height).max().unwrap_or(0);
        for child in children {
            self.node_mut(child).parent = Some(id);
        }
        if !matches!(self.node(id).value, Value::Scalar(_)) {
            self.node_mut(id).height = below + 1;
        }
    }

    /// The entry of a mapping whose value is `id`.
    pub(super) fn entry_of(&self, id: NodeId) -> Option<&Entry> {
        let parent = self.node(id).parent?;
        match &self.node(parent).value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.value == id),
            _ => None,
        }
    }

    pub(super) fn path_of(&self, id: NodeId) -> Path {
        let mut steps = Vec::new();
        let mut at = id;
        while let Some(parent) = self.node(at).parent {
            match &self.node(parent).value {
                Value::Sequence(items) => {
                    steps.push(Step::Index(items.iter().position(|item| *item == at).unwrap_or(0)));
                }
                _ => steps.extend(self.entry_of(at).map(|entry| Step::Key(entry.key.clone()))),
            }
            at = parent;
        }
        steps.reverse();
        Path::from_steps(steps)
    }

    /// Walks down a path; the second value counts the steps that exist.
    pub(super) fn walk(&self, path: &Path) -> (NodeId, usize) {
        let mut at = self.root;
        for (depth, step) in path.steps().iter().enumerate() {
            let next = match (step, &self.node(at).value) {
                (Step::Key(key), Value::Mapping(entries)) => {
                    entries.iter().find(|entry| entry.key == *key).map(|entry| entry.value)
                }
                (Step::Index(index), Value::Sequence(items)) => items.get(*index).copied(),
                _ => None,
            };
            match next {
                Some(next) => at = next,
                None => return (at, depth),
            }
        }
        (at, path.steps().len())
    }

    /// Whether the document itself writes this path.
    pub fn contains(&self, path: &Path) -> bool {
        self.walk(path).1 == path.steps().len()
    }

    /// The keys of the mapping at a path, in their order; empty if there is none.
    pub fn keys_at(&self, path: &Path) -> Vec<&str> {
        let (at, depth) = self.walk(path);
        match &self.node(at).value {
            Value::Mapping(entries) if depth == path.steps().len() => {
                entries.iter().map(|entry| entry.key.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Where the value at `path` is written; its nearest existing ancestor if it is not.
    pub fn span_of(&self, path: &Path) -> Span {
        let (at, depth) = self.walk(path);
        if depth == path.steps().len() { self.node(at).span } else { self.head_of(at) }
    }

    /// Where the key that names the value at `path` is written; see [`Document::span_of`].
    pub fn key_span_of(&self, path: &Path) -> Span {
        self.head_of(self.walk(path).0)
    }

    /// The key of a node, or where it begins if no key names it.
    pub(super) fn head_of(&self, id: NodeId) -> Span {
        let node = self.node(id);
        match self.entry_of(id) {
            Some(entry) => entry.key_span,
            // The root: its first key says "this file" better than an empty span.
            None => match &node.value {
                Value::Mapping(entries) if !entries.is_empty() => {
                    Span { end: entries[0].key_span.end, ..node.span }
                }
                _ => node.span,
            },
        }
    }

    /// Line, column and excerpt of a span; a span of several lines is cut to its first.
    pub fn place(&self, span: Span) -> Place {
        let source = &self.sources[span.source];
        Place::in_text(&source.name, &source.text, span.start, span.end)
    }

    pub(super) fn slice(&self, span: Span) -> &str {
        self.sources[span.source].text.get(span.start..span.end).unwrap_or("")
    }

    /// A fault of the value at `path`.
    pub fn fault(&self, code: &'static str, path: &Path, message: impl Into<String>) -> Diagnostic {
        let (at, _) = self.walk(path);
        let span = self.span_of(path);
        // A mapping over several lines is best pointed at by its key.
        let lines = self.slice(span).trim_end().contains('\n');
        let span = if lines { self.head_of(at) } else { span };
        Diagnostic::error(code, message).placed(self.place(span))
    }

    /// A fault of the key that names the value at `path`.
    pub fn fault_at_key(&self, code: &'static str, path: &Path, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, message).placed(self.place(self.key_span_of(path)))
    }

    /// A fault in bytes `range` of the text of the scalar at `path`; of the whole scalar where the
    /// text is written with escapes or over several lines.
    pub fn fault_within(
        &self,
        code: &'static str,
        path: &Path,
        range: std::ops::Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        let (at, depth) = self.walk(path);
        let span = self.span_of(path);
        if let (Value::Scalar(scalar), true) = (&self.node(at).value, depth == path.steps().len()) {
            let written = self.slice(span);
            let shift = usize::from(written.starts_with(['"', '\'']));
            if written.get(shift..shift + scalar.text.len()) == Some(scalar.text.as_str()) {
                let start = span.start + shift + range.start.min(scalar.text.len());
                let end = span.start + shift + range.end.min(scalar.text.len());
                let span = Span { start, end: end.max(start), ..span };
                return Diagnostic::error(code, message).placed(self.place(span));
            }
        }
        self.fault(code, path, message)
    }

    /// Writes `value`, a YAML text, at `path`: what `--set path=value` does. Mappings on the way are
    /// made where they are missing.
    pub fn set(&mut self, assignment: &str) -> Result<(), Vec<Diagnostic>> {
        let source = Source { name: "--set".into(), text: assignment.into() };
        let whole = |message: String| {
            let place =
                Place::in_text("--set", assignment, 0, assignment.find('=').unwrap_or(assignment.len()));
            vec![Diagnostic::error("E0207", message).placed(place).helped("write --set path.to.field=value")]
        };
        let (left, right) =
            assignment.split_once('=').ok_or_else(|| whole(format!("`{assignment}` has no `=`")))?;
        let path = Path::parse(left).map_err(whole)?;
        if right.trim().is_empty() {
            // An empty shell variable is the usual reason, and would take away what it was to set.
            let mut faults = whole(format!("nothing is given for `{left}`"));
            for fault in &mut faults {
                fault.help = vec![format!(
                    "write its value; `{left}=null` leaves it out, `{left}=[]` is an empty list"
                )];
            }
            return Err(faults);
        }
        let value = Self::parse("--set", right).map_err(|faults| {
            let message = faults.first().map_or_else(String::new, |fault| fault.message.clone());
            whole(format!("the value of `{left}` is not YAML: {message}"))
        })?;
        let (at, depth) = self.walk(&path);
        let missing = &path.steps()[depth..];
        if path.steps().len() + value.node(value.root).height > DEPTH_MAX
            || self.nodes.len() + value.nodes.len() + missing.len() > NODES_MAX
        {
            return Err(whole(format!("`{left}` makes the document too deep or too large")));
        }
        for (offset, step) in missing.iter().enumerate() {
            let fits = matches!(step, Step::Key(_)) && (offset > 0 || self.takes_keys(at));
            if !fits {
                let upto = Path::from_steps(path.steps()[..depth + offset].to_vec());
                return Err(whole(format!("nothing at `{left}`: `{upto}` has no such entry")));
            }
        }
        let index = self.take_in(source);
        let key_span = Span { source: index, start: 0, end: left.len() };
        let moved = |span: Span| Span {
            source: index,
            start: span.start + left.len() + 1,
            end: span.end + left.len() + 1,
        };
        let grafted = self.copy(&value, value.root, &moved);
        if missing.is_empty() {
            self.replace(at, grafted, key_span);
        } else {
            let whole = Span { source: index, start: 0, end: assignment.len() };
            self.insert_below(at, missing, grafted, key_span, whole);
        }
        Ok(())
    }
}
