//! Documents point at what exists, everything in `docs/` is found, and diagnostics are explained.

use std::collections::BTreeSet;

use thawline::yaml::CODES;

use super::sources::sources;
use super::{files, read, root};

/// Documents that readers start from.
const ENTRANCES: [&str; 2] = ["README.md", "ARCHITECTURE.md"];

fn documents() -> Vec<String> {
    let mut documents: Vec<String> = ENTRANCES.map(str::to_owned).to_vec();
    for folder in ["docs", "profiles", "scenarios", "tests"] {
        documents.extend(files(folder, &["md"]));
    }
    documents
}

/// Where the relative links of a Markdown text lead, seen from the root; anchors are cut off.
fn links(path: &str, text: &str) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let ends = text.match_indices("](").map(|(at, _)| &text[at + 2..]);
    let targets = ends.filter_map(|rest| rest.split(')').next()?.split('#').next());
    let relative = targets.filter(|target| !target.is_empty() && !target.contains("://"));
    relative
        .map(|target| {
            let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
            for part in target.split('/') {
                match part {
                    ".." => drop(parts.pop()),
                    "." | "" => {}
                    part => parts.push(part),
                }
            }
            parts.join("/")
        })
        .collect()
}

#[test]
fn links_lead_somewhere_and_everything_in_docs_is_linked() {
    let mut linked = BTreeSet::new();
    for document in documents() {
        for link in links(&document, &read(&document)) {
            assert!(root().join(&link).exists(), "{document} links to {link}, which does not exist");
            linked.insert(link);
        }
    }
    // The summary is where mdBook begins; tests/book.rs holds it against the pages.
    for file in files("docs", &["md", "svg", "json"]).iter().filter(|file| *file != "docs/SUMMARY.md") {
        assert!(linked.contains(file), "no document links to {file}");
    }
    assert_eq!(
        links("docs/a.md", "[b](b.md#c) [d](../d/e.f) [g](https://h) [i](#j)"),
        ["docs/b.md", "d/e.f"]
    );
}

/// Codes in a source: `"E0203"`.
fn codes(code: &str) -> impl Iterator<Item = &str> {
    code.split('"').filter(|text| {
        text.len() == 5
            && text.starts_with(['E', 'W'])
            && text[1..].bytes().all(|digit| digit.is_ascii_digit())
    })
}

#[test]
fn every_code_is_explained_and_every_explained_code_is_used() {
    let (errors, lints) = (read("docs/errors.md"), read("docs/lints.md"));
    let mut used = BTreeSet::new();
    let library = sources().into_iter().map(|source| (source.path, source.code));
    let calibrate = files("calibrate/src", &["rs"]).into_iter().map(|path| {
        let text = read(&path);
        (path, text)
    });
    for (path, text) in library.chain(calibrate).filter(|(path, _)| !path.starts_with("src/yaml/codes")) {
        for code in codes(&text) {
            assert!(CODES.iter().any(|known| known.code == code), "{path}: {code} is not in CODES");
            used.insert(code.to_owned());
        }
    }
    for code in CODES {
        assert!(used.contains(code.code), "{} is explained and never used", code.code);
        let page = if code.is_lint() { &lints } else { &errors };
        assert!(page.contains(&format!("\n## {}: ", code.code)), "no page of docs/ has {}", code.code);
    }
}

#[test]
fn nothing_names_a_machine() {
    let mut checked = 0;
    let mut paths = documents();
    for (folder, extensions) in [
        ("src", ["rs", "snap"]),
        ("calibrate", ["rs", "toml"]),
        ("scenarios", ["yaml", "md"]),
        ("profiles", ["yaml", "csv"]),
        ("profiles", ["jsonl", "md"]),
        ("calibrate", ["log", "json"]),
        ("calibrate", ["jsonl", "md"]),
    ] {
        paths.extend(files(folder, &extensions));
    }
    for path in paths {
        let text = read(&path);
        for private in ["/home/", "/root/", "/Users/", "/work/", "C:\\"] {
            assert!(!text.contains(private), "{path} holds a path of somebody's machine: {private}");
        }
        checked += 1;
    }
    assert!(checked > 100, "{checked}");
}
