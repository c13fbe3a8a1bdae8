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

    /// Reads `a.b[0].c`. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (key, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
            if key.is_empty() && (rest.is_empty() || !steps.is_empty()) {
                return Err(format!("`{text}` has an empty step"));
            }
            if !key.is_empty() {
                steps.push(Step::Key(key.to_owned()));
            }
            while let Some(inner) = rest.strip_prefix('[') {
                let (digits, after) = inner.split_once(']').ok_or(format!("`{text}` lacks a `]`"))?;
                let index =
                    digits.parse().map_err(|_| format!("`{digits}` in `{text}` is not a list position"))?;
                steps.push(Step::Index(index));
                rest = after;
            }
            if !rest.is_empty() {
                return Err(format!("`{text}` has `{rest}` after a `]`"));
            }
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
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
        for text in ["name", "a.b.c", "gates[0]", "a[1][2].b", "[0].x"] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "a..b", ".a", "a.", "a[", "a[x]", "a[0]b"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }
}
