//! Where a value lies in a document: keys and list positions from the root.

use std::fmt;

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list, from 0.
    Index(usize),
}

/// A path from the root of a document; written `cluster.pools.h200.maxNodes` or `gates[2]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(Vec<Step>);

impl Path {
    /// The root.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// This path and then a key.
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.into()));
        Self(steps)
    }

    /// This path and then a list position.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }

    /// A path of several keys.
    pub fn keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(|key| Step::Key(key.to_owned())).collect())
    }

    /// This path and then another.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        Self(self.0.iter().chain(&below.0).cloned().collect())
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(super) fn from_steps(steps: Vec<Step>) -> Self {
        Self(steps)
    }

    /// Reads `a.b[0].c`; a key that holds a dot or a bracket is quoted: `annotations["a.b/c"]`, with `\"` and `\\`
    /// for a quote and a backslash in it. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = text;
        // Whether a key may stand here: at the start, and after a dot.
        let mut key_due = true;
        loop {
            if let Some(inner) = rest.strip_prefix('[').filter(|_| !key_due || steps.is_empty()) {
                let (step, after) = if let Some(quoted) = inner.strip_prefix('"') {
                    quoted_key(quoted).ok_or(format!("`{text}` lacks a `\"]`"))?
                } else {
                    let (digits, after) = inner.split_once(']').ok_or(format!("`{text}` lacks a `]`"))?;
                    let index = digits
                        .parse()
                        .map_err(|_| format!("`{digits}` in `{text}` is not a list position"))?;
                    (Step::Index(index), after)
                };
                steps.push(step);
                (rest, key_due) = (after, false);
            } else if key_due {
                let (key, after) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
                if key.is_empty() {
                    return Err(format!("`{text}` has an empty step"));
                }
                steps.push(Step::Key(key.to_owned()));
                (rest, key_due) = (after, false);
            } else if let Some(after) = rest.strip_prefix('.') {
                (rest, key_due) = (after, true);
            } else if rest.is_empty() {
                return Ok(Self(steps));
            } else {
                return Err(format!("`{text}` has `{rest}` after a `]`"));
            }
        }
    }
}

/// A key from after its opening quote, and what follows its `"]`.
fn quoted_key(text: &str) -> Option<(Step, &str)> {
    let mut key = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => key.push(chars.next()?.1),
            '"' => return Some((Step::Key(key), text[at + 1..].strip_prefix(']')?)),
            _ => key.push(c),
        }
    }
    None
}

/// A key as a quoted step, where it could not be read back without the quotes.
fn quoted(key: &str) -> Option<String> {
    let plain = !key.is_empty() && !key.contains(['.', '[', ']', '"', '\\']);
    (!plain).then(|| format!("[\"{}\"]", key.replace('\\', "\\\\").replace('"', "\\\"")))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) => match quoted(key) {
                    Some(quoted) => f.write_str(&quoted)?,
                    None if position == 0 => f.write_str(key)?,
                    None => write!(f, ".{key}")?,
                },
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_written() {
        for text in [
            "name",
            "a.b.c",
            "gates[0]",
            "a[1][2].b",
            "[0].x",
            r#"annotations["autoscaling.knative.dev/target"]"#,
            r#"a["b.c"][0]["d[0]"].e"#,
            r#"["a.b"].c"#,
            r#"a["say \"x\" \\"].b"#,
            r#"a[""]"#,
        ] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "a..b",
            ".a",
            "a.",
            "a[",
            "a[x]",
            "a[0]b",
            "a.[0]",
            "a[\"b",
            "a[\"b\"",
            "a[\"b]",
            "a[\"b\\",
            "a[\"b\"]c",
        ] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn any_key_can_be_read_back() {
        for key in ["a", "a.b/c", "vllm:x", "", "]", "\"", "\\", "\\\"", "1", "ü.é"] {
            let path = Path::keys(["root", key, "leaf"]).index(3);
            assert_eq!(Path::parse(&path.to_string()), Ok(path), "{key}");
        }
    }
}
