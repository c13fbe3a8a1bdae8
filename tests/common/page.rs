//! A page of the documentation, followed: its commands run in their order, and what they print is held against what it shows.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::markdown::{CommandLine, Fence, command_lines, fences, root};
use super::shown::{bless, difference};

/// Marks a block that shows more of what the last commands printed.
const MORE: &str = "<!-- the same output -->";

/// The text of a file of the repository.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a line in a shell, with a folder of programs first on the path. Both streams are one, as in a terminal.
pub fn shell(line: &str, directory: &Path, programs: &Path) -> Output {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> =
        std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path)).collect();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{{ {line}\n}} 2>&1")]).current_dir(directory);
    command.env("PATH", std::env::join_paths(places).expect("they were split from one"));
    // What a user's terminal or a pipeline sets changes what is printed.
    for name in ["COLUMNS", "CLICOLOR_FORCE", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"] {
        command.env_remove(name);
    }
    command.output().expect("there is a shell")
}

/// What a command printed.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The lines of a block of `sh` that begin with one of these programs.
pub fn lines_of(block: &Fence, programs: &[&str]) -> Vec<CommandLine> {
    let ours = |line: &CommandLine| line.text.split(' ').next().is_some_and(|word| programs.contains(&word));
    let lines = if block.language == "sh" { command_lines(block) } else { Vec::new() };
    lines.into_iter().filter(ours).collect()
}

/// The flags of a command line, without those in quotes, which are another program's.
pub fn flags(line: &str) -> Vec<&str> {
    let words = line.split(['\'', '"']).step_by(2).flat_map(str::split_whitespace);
    let flags = words.filter(|word| word.starts_with("--") && word.len() > 2);
    flags.map(|flag| flag.split('=').next().unwrap_or(flag)).collect()
}

/// Those that a help does not have.
pub fn invented(line: &str, help: &str) -> Vec<String> {
    let known: Vec<&str> = help.split(|c: char| c.is_whitespace() || c == ',').collect();
    flags(line).into_iter().filter(|flag| !known.contains(flag)).map(str::to_owned).collect()
}

/// Runs what a page has for these programs, in a directory; returns what is wrong with it. With `THAWLINE_BLESS` the page is
/// written anew.
pub fn follow(
    page: &str,
    programs: &[&str],
    directory: &Path,
    mut run: impl FnMut(&CommandLine) -> Output,
) -> Vec<String> {
    let written = read(page);
    let blocks = fences(&written);
    let mut lines: Vec<String> = written.lines().map(str::to_owned).collect();
    let mut faults = Vec::new();
    let mut later: Vec<(usize, usize, Vec<String>)> = Vec::new();
    let (mut printed, mut ran): (String, Option<&Fence>) = (String::new(), None);
    for block in &blocks {
        let before = block.first.checked_sub(2).map_or("", |line| lines[line].as_str());
        if let Some(name) = before.strip_prefix("<!-- file: ").and_then(|rest| rest.strip_suffix(" -->")) {
            let text = format!("{}\n", block.lines.join("\n"));
            fs::write(directory.join(name), text).expect("a fresh directory takes files");
        }
        let here = lines_of(block, programs);
        if block.language == "sh" {
            printed.clear();
            ran = (!here.is_empty()).then_some(block);
        }
        for line in here {
            let output = run(&line);
            if output.status.code() != Some(line.code) {
                let (code, said) = (output.status.code(), text(&output));
                faults.push(format!("{page}: `{}` ends with {code:?}, not {}\n{said}", line.text, line.code));
            }
            printed += &text(&output);
        }
        let Some(ran) = ran.filter(|_| block.language == "text") else { continue };
        let between = lines.get(ran.after()..block.first - 1).unwrap_or_default();
        if before != MORE && !between.iter().all(|line| line.trim().is_empty()) {
            continue;
        }
        let printed: Vec<&str> = printed.lines().collect();
        if let Some(difference) = difference(&block.lines, &printed) {
            let first = &ran.lines[0];
            faults.push(format!("{page}, line {}: not what `{first}` prints: {difference}", block.first));
            later.push((block.first, block.lines.len(), bless(&block.lines, &printed)));
        }
    }
    if std::env::var_os("THAWLINE_BLESS").is_some() && !later.is_empty() {
        for (first, count, shown) in later.into_iter().rev() {
            lines.splice(first..first + count, shown);
        }
        fs::write(root().join(page), format!("{}\n", lines.join("\n"))).expect("the page can be written");
    }
    faults
}
