//! The file of a policy's objects: a head that says what they are and what they lack, and the objects.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Exported, LeftOut};
use crate::yaml;

/// The columns that comments keep to.
const WIDTH: usize = 110;

impl Exported {
    /// The whole file.
    pub fn to_yaml(&self) -> String {
        let (scenario, policy) = &self.of;
        let mut out = String::new();
        comment(
            &mut out,
            &format!("Policy `{policy}` of the scenario `{scenario}`, by `thawline export`."),
            "",
        );
        // On one line, to be copied.
        _ = writeln!(out, "# A scenario reads it back with: {}", flow(&self.read_back));
        let left_out = |LeftOut { path, value, why }: &LeftOut| format!("{path}: {}: {why}", flow(value));
        let parts: [(&str, Vec<String>); 4] = [
            ("Added, since an object must say it:", self.added.clone()),
            ("Left out, since no object holds it:", self.left_out.iter().map(left_out).collect()),
            ("Needed:", self.needs.clone()),
            ("Different from the policy as it was simulated:", self.differs.clone()),
        ];
        for (title, lines) in parts.iter().filter(|(_, lines)| !lines.is_empty()) {
            out.push_str("#\n");
            comment(&mut out, title, "");
            for line in lines {
                comment(&mut out, line, "  ");
            }
        }
        for object in &self.objects {
            out.push_str("---\n");
            out.push_str(&with_blocks(&yaml::write(object, None), object));
        }
        out
    }
}

/// A comment, broken between words; further lines are indented by four more.
fn comment(out: &mut String, text: &str, indent: &str) {
    let mut line = format!("#{indent}");
    let mut is_first = true;
    for word in text.split_whitespace() {
        if !is_first && line.chars().count() + 1 + word.chars().count() > WIDTH {
            _ = writeln!(out, "{line}");
            line = format!("#{indent}    ");
        }
        line.push(' ');
        line.push_str(word);
        is_first = false;
    }
    _ = writeln!(out, "{line}");
}

/// A value on one line, as a scenario may have it.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| format!("{}: {}", scalar(key), flow(value));
            format!("{{ {} }}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A text in the midst of a flow, where a few marks more mean something than in a block.
fn scalar(text: &str) -> String {
    let written = yaml::write(&Value::from(text), None);
    let written = written.trim_end();
    if written.contains([',', '{', '}', '[', ']']) && !written.starts_with('"') {
        return Value::from(text).to_string();
    }
    written.to_owned()
}

/// Texts of several lines, which stand in quotes with `\n`, as the blocks that a reader can read. Only those of a `data`,
/// which is where files lie.
fn with_blocks(text: &str, object: &Value) -> String {
    let mut out = text.to_owned();
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let Some(content) = value.as_str().filter(|content| content.contains('\n')) else { continue };
        let quoted = yaml::write(&Value::from(content), None);
        let key = scalar(key);
        let block: String = content.lines().map(|line| format!("    {line}\n")).collect();
        out = out.replace(&format!("  {key}: {quoted}"), &format!("  {key}: |\n{block}"));
    }
    out
}
