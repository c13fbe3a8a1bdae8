//! Values back to YAML: block style, keys in their order, text quoted where YAML needs it.

use std::fmt::Write as _;

use serde_json::Value;

use super::path::Path;
use super::scalar::{NotANumber, is_null, parse_bool, parse_float, parse_integer};
use super::tree::Document;

/// Writes a value. With the document it came from, each line whose value that document does not
/// write itself ends in `# default`.
pub fn write(value: &Value, user: Option<&Document>) -> String {
    let mut writer = Writer { out: String::new(), user };
    match value {
        Value::Object(map) if !map.is_empty() => writer.mapping(value, 0, &Path::root(), false),
        Value::Array(list) if !list.is_empty() => writer.list(list, 0, &Path::root()),
        leaf => {
            let text = leaf_text(leaf);
            writer.line(&text, &Path::root());
        }
    }
    writer.out
}

/// Writes a value in flow style on one line, as it goes behind a `--set path=`.
pub fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", text(key), flow(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(list) if !list.is_empty() => {
            let items: Vec<String> = list.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        leaf => leaf_text(leaf),
    }
}

struct Writer<'a> {
    out: String,
    user: Option<&'a Document>,
}

impl Writer<'_> {
    /// Ends the line that says what is at `path`.
    fn line(&mut self, text: &str, path: &Path) {
        self.out.push_str(text);
        if self.user.is_some_and(|user| !user.contains(path)) {
            self.out.push_str(" # default");
        }
        self.out.push('\n');
    }

    fn indent(&mut self, depth: usize) {
        self.out.extend(std::iter::repeat_n("  ", depth));
    }

    /// `follows` says that the first key goes behind a `- ` that is written already.
    fn mapping(&mut self, value: &Value, depth: usize, path: &Path, follows: bool) {
        let Value::Object(map) = value else { return };
        for (index, (key, value)) in map.iter().enumerate() {
            if index > 0 || !follows {
                self.indent(depth);
            }
            let inner = path.key(key.as_str());
            let key = text(key);
            match value {
                Value::Object(map) if !map.is_empty() => {
                    self.line(&format!("{key}:"), &inner);
                    self.mapping(value, depth + 1, &inner, false);
                }
                Value::Array(list) if !list.is_empty() => {
                    self.line(&format!("{key}:"), &inner);
                    self.list(list, depth + 1, &inner);
                }
                leaf => self.line(&format!("{key}: {}", leaf_text(leaf)), &inner),
            }
        }
    }

    fn list(&mut self, list: &[Value], depth: usize, path: &Path) {
        for (index, value) in list.iter().enumerate() {
            self.indent(depth);
            let inner = path.index(index);
            match value {
                Value::Object(map) if !map.is_empty() => {
                    self.out.push_str("- ");
                    self.mapping(value, depth + 1, &inner, true);
                }
                Value::Array(list) if !list.is_empty() => {
                    self.line("-", &inner);
                    self.list(list, depth + 1, &inner);
                }
                leaf => self.line(&format!("- {}", leaf_text(leaf)), &inner),
            }
        }
    }
}

fn leaf_text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(value) => text(value),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
    }
}

/// Text as a scalar: plain if it then reads back as the same text, else in double quotes.
fn text(value: &str) -> String {
    let reads_as_text = !is_null(value)
        && parse_bool(value).is_none()
        && parse_integer(value) == Err(NotANumber::Other)
        && parse_float(value) == Err(NotANumber::Other);
    // `yes` is text in YAML 1.2 and a boolean in the 1.1 that other tools speak.
    let is_old_bool = matches!(
        value.to_lowercase().as_str(),
        "yes" | "no" | "on" | "off" | "y" | "n" | ".inf" | "-.inf" | "+.inf" | ".nan"
    );
    let first_ok =
        value.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '$' | '/' | '.' | '_' | '('));
    let inside_ok = value.chars().all(|c| {
        c.is_alphanumeric()
            || matches!(
                c,
                ' ' | '-' | '_' | '.' | '/' | '$' | '%' | '+' | '<' | '>' | '=' | '(' | ')' | ':' | '#'
            )
    });
    let ends_ok = !value.ends_with([' ', ':']);
    let no_marks =
        !value.contains(": ") && !value.contains(" #") && value != "<<" && !value.starts_with("...");
    if reads_as_text && !is_old_bool && first_ok && inside_ok && ends_ok && no_marks {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control()
                || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}') =>
            {
                _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn defaults_are_marked() {
        let user =
            Document::parse("s.yaml", "name: x\ngateway: { router: roundRobin }\ngates: [a < 1]\n").unwrap();
        let value = json!({
            "name": "x",
            "gateway": { "router": "roundRobin", "requestTimeout": "300s" },
            "replica": { "readiness": { "period": "10s" }, "gpus": null },
            "gates": ["a < 1"],
            "seed": 7,
            "price": "3.60",
            "empty": {},
            "list": [{ "a": 1, "b": [2] }],
        });
        insta::assert_snapshot!(write(&value, Some(&user)), @r##"
          name: x
          gateway:
            router: roundRobin
            requestTimeout: 300s # default
          replica: # default
            readiness: # default
              period: 10s # default
            gpus: null # default
          gates:
            - a < 1
          seed: 7 # default
          price: "3.60" # default
          empty: {} # default
          list: # default
            - a: 1 # default
              b: # default
                - 2 # default
        "##);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "[a-z0-9:# .'\"{}<\\[\\]*&!|>%@`,?~\\-\\n\\t]{0,8}".prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-zA-Z0-9 :#<]{0,6}", inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any_value()) {
            let text = write(&value, None);
            let document = Document::parse("x.yaml", &text).map_err(|e| TestCaseError::fail(format!("{e:?}\n{text}")))?;
            let back: Value = read(&document).map_err(|e| TestCaseError::fail(format!("{e:?}\n{text}")))?;
            prop_assert_eq!(back, value, "{}", text);
        }
    }
}
