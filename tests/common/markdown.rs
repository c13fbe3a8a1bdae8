//! Markdown as the tests of the documents read it: fenced blocks with the commands in them, headings, links.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// The repository, for tests of the member crate as well.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().filter(|_| package.ends_with("calibrate")).unwrap_or(package)
}

/// A fenced block.
#[derive(Debug)]
pub struct Fence {
    /// What stands behind the opening fence, `sh` for instance.
    pub language: String,
    /// The line of the text in which its content begins, from 0.
    pub first: usize,
    /// Its lines.
    pub lines: Vec<String>,
}

impl Fence {
    /// The line after its closing fence.
    pub fn after(&self) -> usize {
        self.first + self.lines.len() + 1
    }
}

/// The fenced blocks of a text, in their order.
pub fn fences(text: &str) -> Vec<Fence> {
    let mut fences: Vec<Fence> = Vec::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if open => open = false,
            Some(language) => {
                open = true;
                let language = language.trim().to_owned();
                fences.push(Fence { language, first: number + 1, lines: Vec::new() });
            }
            None if open => fences.last_mut().expect("one is open").lines.push(line.to_owned()),
            None => {}
        }
    }
    assert!(!open, "a block is not closed: {:?}", fences.last());
    fences
}

/// The lines of a text that are not within a fence, without what stands in backticks.
fn prose(text: &str) -> Vec<String> {
    let code = Regex::new("`[^`]*`").expect("it is a constant that parses");
    let mut open = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        open ^= fence;
        !open && !fence
    });
    lines.map(|line| code.replace_all(line, "").into_owned()).collect()
}

/// The anchors of a text's headings, as both GitHub and mdBook make them, and those that it sets itself.
pub fn anchors(text: &str) -> Vec<String> {
    let (mut anchors, mut slugs): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut open = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            open = !open;
        }
        let set = line.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
        anchors.extend(set.map(str::to_owned));
        let heading =
            line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#') && !open);
        let Some(heading) = heading else { continue };
        let slug = slug(heading);
        let same = slugs.iter().filter(|known| **known == slug).count();
        anchors.push(if same == 0 { slug.clone() } else { format!("{slug}-{same}") });
        slugs.push(slug);
    }
    anchors
}

/// The anchor of a heading: letters, digits, `-` and `_`, small; spaces become dashes.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c),
        _ => None,
    });
    kept.collect::<String>().to_lowercase()
}

/// Where the relative links of a text lead: the path from the root, and the anchor (empty for none).
pub fn links(path: &str, text: &str) -> Vec<(String, String)> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    for line in prose(text) {
        let targets = line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.to_owned() } else { joined(folder, file) };
            found.push((file, anchor.to_owned()));
        }
    }
    found
}

/// A path within a folder, without `..`.
fn joined(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A command line of a block.
#[derive(Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// As a shell takes it, without its comment; `cargo run --release -- ` is `thawline `.
    pub text: String,
    /// How it ends: 0 unless its comment says `exit 1`.
    pub code: i32,
}

/// The command lines of a block of `sh` or `console`; a backslash at the end of a line goes on in the next.
pub fn command_lines(block: &Fence) -> Vec<CommandLine> {
    let mut lines: Vec<String> = Vec::new();
    let mut going_on = false;
    for line in &block.lines {
        let (text, goes_on) = match line.strip_suffix('\\') {
            Some(text) => (text, true),
            None => (line.as_str(), false),
        };
        match lines.last_mut() {
            Some(last) if going_on => *last = format!("{} {}", last.trim_end(), text.trim()),
            _ => lines.push(text.trim().to_owned()),
        }
        going_on = goes_on;
    }
    lines.iter().map(|line| command_line(line)).collect()
}

fn command_line(line: &str) -> CommandLine {
    let (text, comment) = line.split_once(" #").unwrap_or((line, ""));
    let text = text.trim().trim_start_matches("$ ");
    let text = match text.strip_prefix("cargo run --release -- ") {
        Some(rest) => format!("thawline {rest}"),
        None => text.to_owned(),
    };
    let code = comment.split("exit ").skip(1).find_map(|rest| rest.get(..1)?.parse().ok());
    CommandLine { text, code: code.unwrap_or(0) }
}

/// Copies folders of the repository, so that what commands write leaves no trace in it.
pub fn copy(folders: &[&str], into: &Path) {
    let mut folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(into.join(&folder)).expect("a fresh directory takes folders");
        for entry in fs::read_dir(root().join(&folder)).expect("it is there") {
            let entry = entry.expect("it is there");
            let path = folder.join(entry.file_name());
            if entry.file_type().expect("it has one").is_dir() {
                folders.push(path);
            } else {
                fs::copy(entry.path(), into.join(path)).expect("a fresh directory takes files");
            }
        }
    }
}

/// Every file below a folder of the repository whose name ends like this, as paths from the root, sorted.
pub fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("it is there") {
            let path = entry.expect("it is there").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                let relative = path.strip_prefix(root()).expect("it lies below");
                found.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}
