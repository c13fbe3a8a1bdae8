//! YAML within YAML: the text of a scalar, such as a ConfigMap's `config.yaml`, as a document whose places are
//! those of the file around it.

use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::path::Path;
use super::tree::{Document, Span, Value};

impl Document {
    /// Reads the text of the scalar at a path as YAML.
    ///
    /// Where it is written as a block, each of its values is placed at its own line and column; otherwise,
    /// in quotes for instance, all of them at the scalar.
    ///
    /// # Errors
    /// There is no scalar, or its text is no YAML.
    pub fn parse_within(&self, path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let (id, depth) = self.walk(path);
        let node = self.node(id);
        let Value::Scalar(scalar) = &node.value else {
            return Err(vec![self.fault("E0204", path, "expected a text that is YAML")]);
        };
        if depth < path.steps().len() {
            return Err(vec![self.fault("E0204", path, "expected a text that is YAML")]);
        }
        let source = &self.sources[node.span.source];
        let name: &str = &source.name;
        if let Some(masked) = masked(&source.text, node.span, &scalar.text) {
            let mut inner = Self::parse(name, &masked)?;
            inner.sources[0].text = Arc::clone(&source.text);
            return Ok(inner);
        }
        let place = self.place(node.span);
        let mut inner = Self::parse(name, &scalar.text).map_err(|faults| {
            let placed = |fault: Diagnostic| {
                let line = fault.place.as_ref().map_or(1, |place| place.line);
                let message = format!("{}, in line {line} of this text", fault.message);
                Diagnostic { message, ..fault }.placed(place.clone())
            };
            faults.into_iter().map(placed).collect::<Vec<_>>()
        })?;
        inner.sources[0].text = Arc::clone(&source.text);
        let span = Span { source: 0, ..node.span };
        for node in &mut inner.nodes {
            node.span = span;
            if let Value::Mapping(entries) = &mut node.value {
                for entry in entries {
                    entry.key_span = span;
                }
            }
        }
        for fault in &mut inner.faults {
            fault.place = Some(place.clone());
        }
        Ok(inner)
    }
}

/// The outer text, up to the end of a literal block, with blanks for all that is outside of the block: whatever is read in it
/// then stands where it stands in the outer text. `None` if the block's lines are not the scalar's.
fn masked(text: &str, span: Span, scalar: &str) -> Option<String> {
    let block = text.get(span.start..span.end)?;
    let line_start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let indent = span.start - line_start;
    let is_blank = text[line_start..span.start].bytes().all(|byte| byte == b' ');
    if !is_blank || indent == 0 {
        return None;
    }
    let mut lines = block.lines();
    let first = lines.next()?;
    let stripped = std::iter::once(first).chain(lines.map(|line| {
        let blank = line.len() - line.trim_start_matches(' ').len();
        &line[indent.min(blank)..]
    }));
    let same = stripped.map(str::trim_end).eq(scalar.lines().map(str::trim_end).chain(
        // The block may end in empty lines that the scalar leaves out.
        std::iter::repeat_n("", block.lines().count().saturating_sub(scalar.lines().count())),
    ));
    if !same {
        return None;
    }
    let before = text[..line_start].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' });
    let mut masked: String = before.collect();
    masked.push_str(&text[line_start..span.end]);
    Some(masked)
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use serde_json::{Value as Json, json};

    const OUTER: &str = "kind: ConfigMap # é
data:
  config.yaml: |
    rules:
      # a comment

      - a: 1
        b: 'x # y'
  broken.yaml: |-
      a: 1
       b: [
  quoted.yaml: \"rules:\\n- a: 1\\n\"
  folded.yaml: >
    a:
     b
  empty.yaml: \"\"
  number: 3
";

    fn key(name: &str) -> Path {
        Path::keys(["data", name])
    }

    #[test]
    fn a_block_keeps_its_places() {
        let outer = Document::parse("m.yaml", OUTER).expect("it is YAML");
        let inner = outer.parse_within(&key("config.yaml")).expect("it is YAML");
        assert_eq!(read::<Json>(&inner).expect("any"), json!({"rules": [{"a": 1, "b": "x # y"}]}));
        let place =
            inner.fault("E0205", &Path::parse("rules[0].b").expect("a path"), "x").place.expect("placed");
        assert_eq!((place.line, place.column, place.line_text.trim()), (8, 12, "b: 'x # y'"));
        let faults = outer.parse_within(&key("broken.yaml")).expect_err("it is none");
        assert_eq!(faults[0].place.as_ref().expect("placed").line_text.trim(), "b: [", "{faults:?}");
    }

    #[test]
    fn other_forms_are_placed_at_the_scalar() {
        let outer = Document::parse("m.yaml", OUTER).expect("it is YAML");
        let inner = outer.parse_within(&key("quoted.yaml")).expect("it is YAML");
        assert_eq!(read::<Json>(&inner).expect("any"), json!({"rules": [{"a": 1}]}));
        let place =
            inner.fault("E0205", &Path::parse("rules[0].a").expect("a path"), "x").place.expect("placed");
        assert_eq!((place.line, place.column), (12, 16));
        assert!(outer.parse_within(&key("folded.yaml")).is_ok());
        assert_eq!(
            read::<Json>(&outer.parse_within(&key("empty.yaml")).expect("any")).expect("any"),
            Json::Null
        );
        assert!(
            outer.parse_within(&key("none.yaml")).is_err()
                && outer.parse_within(&Path::keys(["data"])).is_err()
        );
        let bad = Document::parse("m.yaml", r#"{"data": {"c": "a: [\n"}}"#).expect("it is YAML");
        let faults = bad.parse_within(&key("c")).expect_err("it is none");
        assert_eq!(faults[0].place.as_ref().map(|place| (place.line, place.column)), Some((1, 16)));
    }
}
