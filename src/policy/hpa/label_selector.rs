//! Label selectors of metrics: how messages print them, and what makes one unreadable.
//!
//! After Kubernetes' `labels.NewRequirement` and `validation.IsQualifiedName` (apimachinery):
//! a selector that cannot be read would fail its metric at every reconcile.

use super::spec::{LabelOperator, LabelRequirement, LabelSelector};
use crate::policy::Fault;

/// Longest name of a label, and longest value.
const LONGEST_NAME: usize = 63;
/// Longest prefix of a label: a DNS name.
const LONGEST_PREFIX: usize = 253;

impl LabelSelector {
    /// Its requirements in the string form of selectors.
    pub fn text(&self) -> String {
        let pairs = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let expressions = self.match_expressions.iter().map(|LabelRequirement { key, operator, values }| {
            let values = values.join(",");
            match operator {
                LabelOperator::In => format!("{key} in ({values})"),
                LabelOperator::NotIn => format!("{key} notin ({values})"),
                LabelOperator::Exists => key.clone(),
                LabelOperator::DoesNotExist => format!("!{key}"),
            }
        });
        pairs.chain(expressions).collect::<Vec<_>>().join(",")
    }

    /// Everything that is wrong with it; paths are relative to it.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (key, value) in &self.match_labels {
            faults.extend(key_fault("matchLabels", key));
            faults.extend(value_fault("matchLabels", value));
        }
        for (index, requirement) in self.match_expressions.iter().enumerate() {
            let path = format!("matchExpressions[{index}]");
            faults.extend(key_fault(&format!("{path}.key"), &requirement.key));
            let wants_values = matches!(requirement.operator, LabelOperator::In | LabelOperator::NotIn);
            let path = format!("{path}.values");
            if wants_values == requirement.values.is_empty() {
                let (message, help) = if wants_values {
                    ("without values", "list at least one value")
                } else {
                    ("with values", "remove the values: only In and NotIn compare with some")
                };
                faults.push((path, format!("{:?} {message}", requirement.operator), help.to_owned()));
            } else {
                faults.extend(requirement.values.iter().filter_map(|value| value_fault(&path, value)));
            }
        }
        faults
    }
}

/// Letters, digits, `-`, `_` and `.`; a letter or digit at both ends.
fn is_name(text: &str) -> bool {
    let ends = [text.bytes().next(), text.bytes().last()];
    text.len() <= LONGEST_NAME
        && ends.into_iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Parts between dots of small letters, digits and `-`, each with a letter or digit at both ends.
fn is_dns_name(text: &str) -> bool {
    text.len() <= LONGEST_PREFIX
        && text.split('.').all(|part| {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let ends = [part.bytes().next(), part.bytes().last()];
            ends.into_iter().all(|end| end.is_some_and(is_plain))
                && part.bytes().all(|byte| is_plain(byte) || byte == b'-')
        })
}

fn key_fault(path: &str, key: &str) -> Option<Fault> {
    let is_sound = match key.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_name(name),
        None => is_name(key),
    };
    (!is_sound).then(|| {
        let help = "write letters, digits, `-`, `_` and `.`, at most 63, beginning and ending with a letter or digit";
        (path.to_owned(), format!("`{key}` is no label"), help.to_owned())
    })
}

fn value_fault(path: &str, value: &str) -> Option<Fault> {
    (!value.is_empty() && !is_name(value)).then(|| {
        let help =
            "write nothing, or at most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends";
        (path.to_owned(), format!("`{value}` is no value of a label"), help.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(json: &str) -> LabelSelector {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn selectors_are_printed_in_string_form() {
        let json = r#"{"matchLabels": {"app": "llm", "env": ""}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "NotIn", "values": ["c"]},
            {"key": "y", "operator": "Exists"}, {"key": "z", "operator": "DoesNotExist"}]}"#;
        assert_eq!(selector(json).text(), "app=llm,env=,tier in (a,b),x notin (c),y,!z");
        assert_eq!(selector(json).check(), vec![]);
        assert_eq!(selector("{}").text(), "");
    }

    #[test]
    fn what_cannot_be_read_is_found() {
        let check = |json: &str, expected: &[&str]| {
            let faults = selector(json).check();
            assert_eq!(faults.iter().map(|(path, ..)| path.as_str()).collect::<Vec<_>>(), expected, "{json}");
        };
        check(r#"{"matchLabels": {"app.kubernetes.io/name": "vllm_0.9"}}"#, &[]);
        check(r#"{"matchLabels": {"-app": "llm"}}"#, &["matchLabels"]);
        check(r#"{"matchLabels": {"app/": "llm", "App.io/x": "y", "a/b/c": "d"}}"#, &["matchLabels"; 3]);
        check(r#"{"matchLabels": {"app": "two words"}}"#, &["matchLabels"]);
        let long = "x".repeat(64);
        check(&format!(r#"{{"matchLabels": {{"{long}": "{long}"}}}}"#), &["matchLabels"; 2]);
        check(
            r#"{"matchExpressions": [{"key": "a", "operator": "In"}, {"key": "b", "operator": "Exists", "values": ["c"]},
                {"key": "", "operator": "NotIn", "values": ["ok", "?"]}]}"#,
            &[
                "matchExpressions[0].values",
                "matchExpressions[1].values",
                "matchExpressions[2].key",
                "matchExpressions[2].values",
            ],
        );
    }
}
