//! The book in `docs/` is true: its commands run, page by page and in their order, and print what the pages show;
//! its summary lists every page; its links lead somewhere.
//!
//! - A block of `sh` runs. Lines of `thawline` and of a few small tools are executed by a shell in a fresh copy of
//!   `scenarios/` and `profiles/`, and end with 0, or with what the line's comment says (`# exit 1`). Lines of `thawline-calibrate`
//!   are run by `calibrate/tests/documents.rs`, where there is a server to measure.
//! - A block of `text` right after it, or further down after `<!-- the same output -->`, shows what it printed. A line `…`
//!   stands for lines that are left out. `THAWLINE_BLESS=1` writes these blocks anew.
//! - A block after `<!-- file: NAME -->` is written to that file first.
//! - A block of `console` is not run: what it needs is not here. Its flags must exist.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

#[path = "common/markdown.rs"]
mod markdown;
#[path = "common/page.rs"]
mod page;
#[path = "common/shown.rs"]
mod shown;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use markdown::{Fence, anchors, command_lines, copy, fences, files, links, root};
use page::{follow, lines_of, read, text};

/// What runs here; any other line is for another place.
const RUN: [&str; 9] = ["thawline", "cat", "head", "tail", "sed", "grep", "cp", "diff", "cut"];

const SUMMARY: &str = "docs/SUMMARY.md";

fn pages() -> Vec<String> {
    files("docs", ".md").into_iter().filter(|path| path != SUMMARY).collect()
}

/// A line as a shell runs it, with the program that was built with these tests.
fn shell(line: &str, directory: &Path) -> Output {
    page::shell(line, directory, Path::new(env!("CARGO_BIN_EXE_thawline")).parent().unwrap())
}

#[test]
fn commands_run_and_print_what_the_pages_show() {
    let pages = pages();
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let run = || {
        while let Some(page) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
            let directory = tempfile::tempdir().unwrap();
            if fences(&read(page)).iter().any(|block| !lines_of(block, &RUN).is_empty()) {
                copy(&["scenarios", "profiles"], directory.path());
            }
            let found = follow(page, &RUN, directory.path(), |line| shell(&line.text, directory.path()));
            faults.lock().unwrap().extend(found);
        }
    };
    // A few at a time: most of a page is waiting for a process to start and end.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(run);
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}\n\nTHAWLINE_BLESS=1 writes what is shown anew", faults.join("\n\n"));
}

#[test]
fn most_of_the_book_runs() {
    let blocks: Vec<Fence> = pages().iter().flat_map(|page| fences(&read(page))).collect();
    let run: usize = blocks.iter().map(|block| lines_of(block, &RUN).len()).sum();
    // A line that names the program runs somewhere, or is no line of `sh`.
    let elsewhere = ["thawline-calibrate", "target/release/thawline-calibrate", "cargo"];
    for line in blocks.iter().filter(|block| block.language == "sh").flat_map(command_lines) {
        let program = line.text.split(' ').next().unwrap();
        let runs = RUN.contains(&program) || elsewhere.contains(&program);
        assert!(runs || !line.text.contains("thawline"), "no test runs `{}`", line.text);
    }
    let not_run = blocks.iter().filter(|b| b.language == "console").map(|b| b.lines.len()).sum::<usize>();
    assert!(run >= 20, "{run} command lines");
    assert!(not_run < run, "{not_run} lines are not run, {run} are");
}

/// Flags of a line that its program's help does not have. The program is asked for the help of the first words that are
/// no flags: those are its command.
fn invented(line: &str, directory: &Path) -> Vec<String> {
    let plain = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let mut path: Vec<&str> = line.split_whitespace().skip(1).take(2).take_while(plain).collect();
    loop {
        let output = shell(&format!("thawline {} --help", path.join(" ")), directory);
        if output.status.success() || path.pop().is_none() {
            return page::invented(line, &text(&output));
        }
    }
}

#[test]
fn what_cannot_run_here_has_flags_that_exist() {
    let directory = tempfile::tempdir().unwrap();
    for page in pages() {
        for block in fences(&read(&page)).iter().filter(|block| block.language == "console") {
            for line in command_lines(block).iter().filter(|line| line.text.starts_with("thawline ")) {
                let invented = invented(&line.text, directory.path());
                assert!(invented.is_empty(), "{page}: `{}`: no such flags: {invented:?}", line.text);
            }
        }
    }
    assert_eq!(invented("thawline trace stats --frob x.csv", directory.path()), ["--frob"]);
    assert!(invented("thawline simulate a.yaml --set 'b=--c' --jobs=2", directory.path()).is_empty());
}

#[test]
fn the_summary_lists_every_page_once() {
    let mut listed: BTreeMap<String, usize> = BTreeMap::new();
    for (page, _) in links(SUMMARY, &read(SUMMARY)) {
        *listed.entry(page).or_default() += 1;
    }
    for page in pages() {
        assert_eq!(listed.remove(&page), Some(1), "{SUMMARY} must list {page}, once");
    }
    assert!(listed.is_empty(), "{SUMMARY} lists what is no page: {listed:?}");
}

#[test]
fn links_and_anchors_lead_somewhere() {
    let mut faults = Vec::new();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let documents = pages().into_iter().chain([SUMMARY, "README.md", "ARCHITECTURE.md"].map(str::to_owned));
    for document in documents {
        for (path, anchor) in links(&document, &read(&document)) {
            // mdBook takes every `.md` for a page and links to its `.html`.
            let inside = path.starts_with("docs/") || !document.starts_with("docs/");
            if Path::new(&path).extension().is_some_and(|extension| extension == "md") && !inside {
                faults.push(format!("{document} links to {path}, which is no page: link to its folder"));
            } else if !root().join(&path).exists() {
                faults.push(format!("{document} links to {path}, which does not exist"));
            } else if !anchor.is_empty() {
                let known = texts.entry(path.clone()).or_insert_with(|| anchors(&read(&path)));
                if !known.contains(&anchor) {
                    faults.push(format!("{document} links to {path}#{anchor}: it has no such heading"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn markdown_is_read_as_it_is_meant() {
    let text = "# A b: `c`\n[x](y.md#z) `[no](no.md)`\n```sh\nthawline a \\\n  b   # as is, exit 1\n# c\n$ cargo run --release -- d\n```\n\n\
                ## A b c\n## A b c\n<a id=\"own\"></a>[self](#own) [up](../src/) [web](https://a.b/c)\n";
    assert_eq!(anchors(text), ["a-b-c", "a-b-c-1", "a-b-c-2", "own"]);
    let found = links("docs/p/q.md", text);
    let expected = [("docs/p/y.md", "z"), ("docs/p/q.md", "own"), ("docs/src", "")];
    assert_eq!(found, expected.map(|(path, anchor)| (path.to_owned(), anchor.to_owned())));
    let blocks = fences(text);
    assert_eq!((blocks.len(), blocks[0].language.as_str(), blocks[0].after()), (1, "sh", 8));
    let lines: Vec<(String, i32)> =
        lines_of(&blocks[0], &RUN).into_iter().map(|line| (line.text, line.code)).collect();
    assert_eq!(lines, [("thawline a b".to_owned(), 1), ("thawline d".to_owned(), 0)]);
}
