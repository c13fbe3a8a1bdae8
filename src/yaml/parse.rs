//! Text to tree, from the parser's events, without recursion: depth is a length here.

use std::borrow::Cow;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Tag};
use rustc_hash::{FxHashMap, FxHashSet};

use super::diagnostic::{Diagnostic, Place};
use super::tree::{Document, Entry, Node, NodeId, Scalar, Span, Value};
use super::{DEPTH_MAX, DOCUMENTS_MAX, FAULTS_MAX, NODES_MAX, TEXT_BYTES_MAX};

/// A collection that is still open.
struct Frame {
    id: NodeId,
    anchor: usize,
    /// `None` in a list.
    keys: Option<Keys>,
}

#[derive(Default)]
struct Keys {
    /// The key that waits for its value.
    pending: Option<(String, Span, bool)>,
    seen: FxHashSet<String>,
    /// Mappings that `<<` names, in their order.
    merges: Vec<NodeId>,
}

struct Builder {
    name: Arc<str>,
    text: Arc<str>,
    document: Document,
    frames: Vec<Frame>,
    anchors: FxHashMap<usize, NodeId>,
    root: Option<NodeId>,
}

type Fatal = Box<Diagnostic>;

impl Document {
    /// Reads one document. What hinders reading comes back as an error; what does not is kept in
    /// [`Document::faults`].
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut documents = Self::parse_all(name, text)?;
        if documents.len() > 1 {
            let root = documents[1].root;
            let place = documents[1].place(documents[1].head_of(root));
            return Err(vec![
                Diagnostic::error("E0108", "a second document begins here; one is expected")
                    .placed(place)
                    .helped("remove the `---` and what follows it"),
            ]);
        }
        Ok(documents.pop().unwrap_or_else(|| Self::empty(&name.into(), &text.into())))
    }

    /// Reads every document of a text, as manifests hold several; see [`Document::parse`].
    pub fn parse_all(name: &str, text: &str) -> Result<Vec<Self>, Vec<Diagnostic>> {
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("the text is longer than {} MiB", TEXT_BYTES_MAX >> 20);
            return Err(vec![Diagnostic::error("E0105", message).placed(Place::in_text(name, text, 0, 0))]);
        }
        let (name, shared): (Arc<str>, Arc<str>) = (name.into(), text.into());
        let mut documents = Vec::new();
        let mut builder = Builder::new(&name, &shared);
        let mut options = granit_parser::options! { emit_unresolved_aliases: true };
        options.set_emit_comments(false);
        for next in Parser::new_from_str_with_options(text, options) {
            let step = match next {
                Ok((Event::DocumentStart(..), _)) => {
                    builder = Builder::new(&name, &shared);
                    continue;
                }
                Ok((Event::DocumentEnd, _)) => {
                    let done = std::mem::replace(&mut builder, Builder::new(&name, &shared));
                    documents.push(done.finish());
                    if documents.len() > DOCUMENTS_MAX {
                        let message = format!("the text holds more than {DOCUMENTS_MAX} documents");
                        let place = Place::in_text(&name, text, 0, 0);
                        return Err(vec![Diagnostic::error("E0105", message).placed(place)]);
                    }
                    continue;
                }
                Ok((event, span)) => {
                    let range = span.byte_range().unwrap_or(0..0);
                    builder.event(event, Span { source: 0, start: range.start, end: range.end })
                }
                Err(error) => Err(Box::new(builder.scan_error(&error))),
            };
            if let Err(fault) = step {
                let mut faults = std::mem::take(&mut builder.document.faults);
                faults.push(*fault);
                return Err(faults);
            }
        }
        Ok(documents)
    }
}

impl Builder {
    fn new(name: &Arc<str>, text: &Arc<str>) -> Self {
        Self {
            name: Arc::clone(name),
            text: Arc::clone(text),
            document: Document::empty(name, text),
            frames: Vec::new(),
            anchors: FxHashMap::default(),
            root: None,
        }
    }

    fn finish(mut self) -> Document {
        if let Some(root) = self.root {
            self.document.root = root;
        }
        self.document
    }

    fn fatal(&self, code: &'static str, span: Span, message: impl Into<String>) -> Fatal {
        let place = Place::in_text(&self.name, &self.text, span.start, span.end);
        Box::new(Diagnostic::error(code, message).placed(place))
    }

    fn scan_error(&self, error: &granit_parser::ScanError) -> Diagnostic {
        let at = error.marker().byte_offset().unwrap_or(0).min(self.text.len());
        let place = Place::in_text(&self.name, &self.text, at, at + 1);
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return too_deep().placed(place);
        }
        if let Some(tab) = self.indenting_tab(at) {
            let place = Place::in_text(&self.name, &self.text, tab, tab + 1);
            let fault = Diagnostic::error("E0102", "this is not YAML: a tab indents this line").placed(place);
            return fault.helped("YAML is indented by spaces");
        }
        Diagnostic::error("E0102", format!("this is not YAML: {}", error.kind())).placed(place)
    }

    /// The tab that indents the line at a byte, or one beside it: scanners stumble over it before or after.
    fn indenting_tab(&self, at: usize) -> Option<usize> {
        let text = self.text.as_bytes();
        let start =
            |at: usize| text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let tab = |line: usize| {
            let mut indent = text[line..].iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
            indent.position(|byte| *byte == b'\t').map(|tab| line + tab)
        };
        let line = start(at);
        let below = text[at..].iter().position(|byte| *byte == b'\n').map(|newline| at + newline + 1);
        tab(line).or_else(|| tab(below?)).or_else(|| tab(start(line.checked_sub(1)?)))
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fatal> {
        match event {
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag, span),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::UnresolvedAlias(name) => {
                Err(self.fatal("E0106", span, format!("no anchor `&{name}` stands before this alias")))
            }
            Event::SequenceStart(_, anchor, tag) => self.open(Value::Sequence(Vec::new()), anchor, tag, span),
            Event::MappingStart(_, anchor, tag) => self.open(Value::Mapping(Vec::new()), anchor, tag, span),
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            _ => Ok(()),
        }
    }

    /// Keeps a fault that does not hinder reading on; nobody reads more than a hundred.
    fn note(&mut self, fault: Diagnostic) {
        if self.document.faults.len() < FAULTS_MAX {
            self.document.faults.push(fault);
        }
    }

    fn tag(&mut self, tag: Option<&Tag>, span: Span) -> bool {
        let Some(tag) = tag else { return false };
        match tag.core_suffix() {
            Some("str") => return true,
            Some("int" | "float" | "bool" | "null" | "map" | "seq") => {}
            _ => {
                let fault = self.fatal("E0107", span, format!("the tag `{tag}` means nothing here"));
                self.note(fault.helped("remove the tag"));
            }
        }
        false
    }

    // The parser hands over what it read.
    #[allow(clippy::needless_pass_by_value)]
    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        span: Span,
    ) -> Result<(), Fatal> {
        let is_text = self.tag(tag.as_deref(), span);
        let scalar = Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain && !is_text };
        if self.wants_key() {
            if anchor != 0 {
                // An alias may stand for a key's text later, so the key is a node as well.
                let id = self.add(Value::Scalar(scalar.clone()), span)?;
                self.anchors.insert(anchor, id);
            }
            self.key(scalar, span);
            return Ok(());
        }
        let id = self.add(Value::Scalar(scalar), span)?;
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        self.put(id)
    }

    fn wants_key(&self) -> bool {
        self.frames.last().and_then(|frame| frame.keys.as_ref()).is_some_and(|keys| keys.pending.is_none())
    }

    fn key(&mut self, scalar: Scalar, span: Span) {
        if let Some(keys) = self.frames.last_mut().and_then(|frame| frame.keys.as_mut()) {
            keys.pending = Some((scalar.text, span, scalar.plain));
        }
    }

    fn add(&mut self, value: Value, span: Span) -> Result<NodeId, Fatal> {
        if self.document.nodes.len() >= NODES_MAX {
            let fault = self.fatal("E0105", span, format!("the document has more than {NODES_MAX} values"));
            return Err(Box::new(fault.helped("copies that aliases make are counted")));
        }
        Ok(self.document.push(Node { span, value, parent: None, height: 0 }))
    }

    // The parser hands over what it read.
    #[allow(clippy::needless_pass_by_value)]
    fn open(
        &mut self,
        value: Value,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        span: Span,
    ) -> Result<(), Fatal> {
        self.tag(tag.as_deref(), span);
        if self.wants_key() {
            return Err(self.fatal("E0109", span, "a key must be plain text"));
        }
        if self.frames.len() >= DEPTH_MAX {
            let place = Place::in_text(&self.name, &self.text, span.start, span.end);
            return Err(Box::new(too_deep().placed(place)));
        }
        let keys = matches!(value, Value::Mapping(_)).then(Keys::default);
        let id = self.add(value, span)?;
        self.frames.push(Frame { id, anchor, keys });
        Ok(())
    }

    fn close(&mut self, span: Span) -> Result<(), Fatal> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let id = frame.id;
        // A block collection ends where the next token begins; what it holds ends before.
        let end = if span.end > span.start { span.end } else { self.end_of_children(id).unwrap_or(span.end) };
        let node = self.document.node_mut(id);
        node.span.end = end.max(node.span.start);
        if let Some(keys) = frame.keys {
            self.merge(id, &keys.merges, keys.seen)?;
        }
        self.document.adopt(id);
        if frame.anchor != 0 {
            self.anchors.insert(frame.anchor, id);
        }
        self.put(id)
    }

    fn end_of_children(&self, id: NodeId) -> Option<usize> {
        let last = match &self.document.node(id).value {
            Value::Sequence(items) => items.last().copied(),
            Value::Mapping(entries) => entries.last().map(|entry| entry.value),
            Value::Scalar(_) => None,
        };
        last.map(|last| self.document.node(last).span.end)
    }

    /// Hands a finished node to the collection that is open, or makes it the root.
    fn put(&mut self, id: NodeId) -> Result<(), Fatal> {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(id);
            return Ok(());
        };
        let parent = frame.id;
        let Some(keys) = &mut frame.keys else {
            if let Value::Sequence(items) = &mut self.document.node_mut(parent).value {
                items.push(id);
            }
            return Ok(());
        };
        let Some((key, key_span, plain)) = keys.pending.take() else {
            let span = self.document.node(id).span;
            return Err(self.fatal("E0109", span, "a key must be plain text"));
        };
        if key == "<<" && plain {
            keys.merges.push(id);
            return Ok(());
        }
        if !keys.seen.insert(key.clone()) {
            self.duplicate(parent, &key, key_span);
            return Ok(());
        }
        if let Value::Mapping(entries) = &mut self.document.node_mut(parent).value {
            entries.push(Entry { key, key_span, value: id });
        }
        Ok(())
    }

    fn duplicate(&mut self, parent: NodeId, key: &str, span: Span) {
        if self.document.faults.len() >= FAULTS_MAX {
            return;
        }
        let first = match &self.document.node(parent).value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        };
        let line = first.map_or(0, |entry| self.document.place(entry.key_span).line);
        let fault = self.fatal("E0103", span, format!("the key `{key}` is written twice"));
        self.note(fault.labelled(format!("first written on line {line}")));
    }

    /// `<<`: what a mapping has not written itself comes from the ones it names, the first one first.
    fn merge(&mut self, into: NodeId, merges: &[NodeId], mut seen: FxHashSet<String>) -> Result<(), Fatal> {
        let mut sources = Vec::new();
        for id in merges {
            match &self.document.node(*id).value {
                Value::Sequence(items) => sources.extend(items.iter().copied()),
                _ => sources.push(*id),
            }
        }
        for id in sources {
            let node = self.document.node(id);
            let Value::Mapping(entries) = &node.value else {
                return Err(self.fatal("E0106", node.span, "`<<` takes a mapping or a list of mappings"));
            };
            let fresh: Vec<Entry> =
                entries.iter().filter(|entry| seen.insert(entry.key.clone())).cloned().collect();
            if let Value::Mapping(entries) = &mut self.document.node_mut(into).value {
                entries.extend(fresh);
            }
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Fatal> {
        let Some(&target) = self.anchors.get(&anchor) else {
            return Err(self.fatal("E0106", span, "this alias lies within what it stands for"));
        };
        if self.wants_key() {
            return match self.document.node(target).value.clone() {
                Value::Scalar(scalar) => {
                    self.key(scalar, span);
                    Ok(())
                }
                _ => Err(self.fatal("E0109", span, "a key must be plain text")),
            };
        }
        if self.frames.len() + self.document.node(target).height > DEPTH_MAX {
            let place = Place::in_text(&self.name, &self.text, span.start, span.end);
            return Err(Box::new(too_deep().placed(place)));
        }
        let copy = self.copy(target, span)?;
        self.put(copy)
    }

    /// Copies a subtree; it keeps the places it was written at. At most [`DEPTH_MAX`] calls deep.
    fn copy(&mut self, id: NodeId, alias: Span) -> Result<NodeId, Fatal> {
        let node = self.document.node(id).clone();
        let value = match node.value {
            Value::Scalar(scalar) => Value::Scalar(scalar),
            Value::Sequence(items) => Value::Sequence(
                items.into_iter().map(|item| self.copy(item, alias)).collect::<Result<_, _>>()?,
            ),
            Value::Mapping(entries) => {
                let copies = entries.into_iter().map(|entry| {
                    Ok(Entry {
                        value: self.copy(entry.value, alias)?,
                        key: entry.key,
                        key_span: entry.key_span,
                    })
                });
                Value::Mapping(copies.collect::<Result<_, Fatal>>()?)
            }
        };
        let copy = self.add(value, alias)?;
        self.document.node_mut(copy).span = node.span;
        self.document.adopt(copy);
        Ok(copy)
    }
}

fn too_deep() -> Diagnostic {
    Diagnostic::error("E0104", format!("the document is nested more than {DEPTH_MAX} levels deep"))
}
