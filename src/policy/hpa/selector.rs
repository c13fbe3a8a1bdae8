//! Label selectors in their string form, as the scale subresource carries them.

use std::collections::BTreeMap;

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// A label selector: all of its requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

/// A selector that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse the selector string `{0}`")]
pub struct SelectorError(String);

impl Selector {
    /// From `matchLabels`.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        Self(labels.iter().map(|(k, v)| Requirement::In(k.clone(), vec![v.clone()])).collect())
    }

    /// Whether the labels meet every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        split_outside_parentheses(text)
            .map(|part| requirement(part.trim()).ok_or_else(|| SelectorError(text.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn split_outside_parentheses(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
}

fn requirement(part: &str) -> Option<Requirement> {
    if let Some(key) = part.strip_prefix('!') {
        return Some(Requirement::Absent(word(key)?));
    }
    for (operator, negative) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = part.split_once(operator) {
            let (key, values) = (word(key)?, vec![word_or_empty(value)?]);
            return Some(if negative {
                Requirement::NotIn(key, values)
            } else {
                Requirement::In(key, values)
            });
        }
    }
    if let Some(list) = part.strip_suffix(')') {
        let (head, list) = list.split_once('(')?;
        let (key, operator) = head.trim().split_once(char::is_whitespace)?;
        let values = list.split(',').map(word_or_empty).collect::<Option<Vec<_>>>()?;
        return match operator.trim() {
            "in" => Some(Requirement::In(word(key)?, values)),
            "notin" => Some(Requirement::NotIn(word(key)?, values)),
            _ => None,
        };
    }
    Some(Requirement::Exists(word(part)?))
}

fn word(text: &str) -> Option<String> {
    word_or_empty(text).filter(|word| !word.is_empty())
}

fn word_or_empty(text: &str) -> Option<String> {
    let text = text.trim();
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
        .then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_read_and_matched() {
        let labels: BTreeMap<String, String> =
            [("app", "llm"), ("env", "prod")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let check = |text: &str, expected: Option<bool>| {
            assert_eq!(text.parse::<Selector>().ok().map(|s| s.matches(&labels)), expected, "{text}");
        };
        check("app=llm", Some(true));
        check("app==llm,env=prod", Some(true));
        check("app=llm,env=test", Some(false));
        check("env!=prod", Some(false));
        check("tier!=gold", Some(true));
        check("env in (test, prod),app", Some(true));
        check("env notin (test,prod)", Some(false));
        check("!tier", Some(true));
        check("!app", Some(false));
        check("tier", Some(false));
        check("cheddar cheese", None);
        check("env in prod", None);
        check("env near (prod)", None);
        check("=x", None);
        check("", None);
    }
}
