//! GitLab's code quality report: diagnostics as a JSON array.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::yaml::{Diagnostic, Severity};

#[derive(Serialize)]
struct Issue {
    description: String,
    check_name: &'static str,
    fingerprint: String,
    severity: &'static str,
    location: Location,
}

#[derive(Serialize)]
struct Location {
    path: String,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: usize,
}

/// The report. GitLab shows only what lies in a file: the others are left out.
pub fn write(diagnostics: &[Diagnostic]) -> String {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let issues: Vec<Issue> =
        diagnostics.iter().filter_map(|diagnostic| issue(diagnostic, &mut seen)).collect();
    serde_json::to_string_pretty(&issues).expect("its keys are texts") + "\n"
}

fn issue(diagnostic: &Diagnostic, seen: &mut BTreeMap<String, usize>) -> Option<Issue> {
    let place = diagnostic.place.as_ref()?;
    let mut description = diagnostic.message.clone();
    for help in &diagnostic.help {
        description.push_str("; ");
        description.push_str(help);
    }
    // What a run measured changes with every run, and the issue stays the same one: its label says which it is.
    let measured = diagnostic.code.starts_with("E09") && !diagnostic.label.is_empty();
    let identity = if measured { &diagnostic.label } else { &diagnostic.message };
    let path = relative(&place.file);
    let key = [diagnostic.code, &path, place.line_text.trim(), identity].join("\u{0}");
    let count = seen.entry(key.clone()).or_default();
    *count += 1;
    let digest = Sha256::digest(format!("{key}\u{0}{count}"));
    Some(Issue {
        description,
        check_name: diagnostic.code,
        fingerprint: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        severity: match diagnostic.severity {
            Severity::Error => "critical",
            Severity::Warning => "minor",
        },
        location: Location { path, lines: Lines { begin: place.line.max(1) } },
    })
}

/// As Git names it: no `./` in front, and `/` between.
pub(super) fn relative(path: &str) -> String {
    let path = path.replace('\\', "/");
    path.strip_prefix("./").unwrap_or(&path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn issues_have_what_gitlab_asks_for() {
        let gate = |value: &str| {
            Diagnostic::at("E0901", "./s.yaml", 12, 3, 8, "gates: [..]", format!("hpa: {value}"))
                .labelled("ttft under hpa")
        };
        let diagnostics = [
            gate("4.81s"),
            gate("4.81s"),
            Diagnostic::in_file("E0401", "t.yaml", "it does not exist").helped("write it"),
            Diagnostic::warning("W0107", "nowhere"),
        ];
        let issues: Vec<Value> = serde_json::from_str(&write(&diagnostics)).unwrap();
        assert_eq!(issues.len(), 3);
        assert_eq!(issues[0]["location"], serde_json::json!({ "path": "s.yaml", "lines": { "begin": 12 } }));
        assert_eq!((&issues[0]["check_name"], &issues[0]["severity"]), (&"E0901".into(), &"critical".into()));
        assert_eq!(issues[2]["location"]["lines"]["begin"], 1);
        assert_eq!(issues[2]["description"], "it does not exist; write it");
        let fingerprints: Vec<&str> =
            issues.iter().map(|issue| issue["fingerprint"].as_str().unwrap()).collect();
        assert!(fingerprints[0] != fingerprints[1] && fingerprints[0].len() == 64);
        // The same gate with another figure is the same issue.
        let other: Vec<Value> = serde_json::from_str(&write(&[gate("4.90s")])).unwrap();
        assert_eq!(other[0]["fingerprint"], issues[0]["fingerprint"]);
        assert_eq!(write(&[]), "[]\n");
    }
}
