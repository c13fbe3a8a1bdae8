//! The command lines of `thawline-calibrate` in `README.md` and the book run as they stand there, page by page and in their order,
//! against a server that answers at the address that the pages name; `tests/book.rs` runs all others. A block of `text` after
//! them is held against what they print (`THAWLINE_BLESS=1` writes it anew).

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

#[path = "../../tests/common/markdown.rs"]
mod markdown;
#[allow(dead_code)] // Other tests use more of it.
mod mock;
#[path = "../../tests/common/page.rs"]
mod page;
#[path = "../../tests/common/shown.rs"]
mod shown;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use markdown::{CommandLine, command_lines, copy, fences, files};
use mock::{Behaviour, Mock};
use page::{follow, lines_of, read};

/// The address that the documents name.
const ADDRESS: &str = "http://localhost:8000";

const PROGRAM: &str = "thawline-calibrate";

/// The README names the program where it was built.
const BUILT: &str = "target/release/thawline-calibrate";

fn documents() -> Vec<String> {
    std::iter::once("README.md".to_owned()).chain(files("docs", ".md")).collect()
}

fn commands(document: &str) -> Vec<CommandLine> {
    fences(&read(document)).iter().flat_map(|block| lines_of(block, &[PROGRAM, BUILT])).collect()
}

fn shell(line: &str, directory: &Path) -> Output {
    page::shell(line, directory, Path::new(env!("CARGO_BIN_EXE_thawline-calibrate")).parent().unwrap())
}

/// Runs a document's lines; a shorter measurement, at the address of a server that is there.
fn run(document: &str) -> Vec<String> {
    let measures = commands(document).iter().any(|line| line.text.contains(" server "));
    let server = Mock::start(Behaviour { token: Duration::from_millis(2), ..Behaviour::default() });
    let directory = tempfile::tempdir().unwrap();
    copy(&["profiles", "calibrate/tests/fixtures"], directory.path());
    follow(document, &[PROGRAM, BUILT], directory.path(), |line| {
        let mut text = line.text.replace(BUILT, PROGRAM);
        if text.contains(" server ") {
            assert!(text.contains(ADDRESS), "{document}: a server at another address: {text}");
            text = format!("{} --duration 2 --max-clients 4", text.replace(ADDRESS, &server.url));
        }
        // The mock is no engine: what its steps cost follows from nothing.
        if measures && text.contains(" fit ") {
            text += " --allow-poor-fit";
        }
        shell(&text, directory.path())
    })
}

#[test]
fn the_commands_of_the_documents_run_in_their_order() {
    let least = [
        ("README.md", 2),
        ("docs/calibration.md", 4),
        ("docs/calibrate-vllm.md", 5),
        ("docs/validation.md", 1),
    ];
    for (document, least) in least {
        let found = commands(document).len();
        assert!(found >= least, "{document} has {found} commands");
    }
    let documents: Vec<String> = documents().into_iter().filter(|d| !commands(d).is_empty()).collect();
    // Each has a server of its own, and waits for it most of the time.
    let faults: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = documents.iter().map(|document| scope.spawn(move || run(document))).collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

const HELP: &str = "# Command line of thawline-calibrate

What `thawline-calibrate COMMAND --help` prints; what the commands are for is on the page about [calibration](../calibration.md).
Exit codes: 0 it did what was asked, 1 what `fit --check` or `profile diff` compares is not the same, 2 it could not run.
This page is written from the program; a test keeps it so.
";

/// A command's help, and that of the commands below it.
fn help(path: &str, directory: &Path) -> String {
    let help = page::text(&shell(&format!("{path} --help"), directory));
    let below = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let names = below.lines().take_while(|line| !line.is_empty());
    // What is wrapped stands further to the right than a name.
    let names =
        names.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    let below: String = names
        .filter(|name| *name != "help")
        .map(|name| self::help(&format!("{path} {name}"), directory))
        .collect();
    let level = if path.split(' ').count() > 2 { "###" } else { "##" };
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    format!("\n{level} {path}\n\n```text\n{}\n```\n{below}", lines.join("\n").trim_end())
}

#[test]
fn the_command_line_is_current() {
    let directory = tempfile::tempdir().unwrap();
    let found = format!("{HELP}{}", help(PROGRAM, directory.path()));
    assert!(
        found.contains("## thawline-calibrate server")
            && found.contains("### thawline-calibrate profile show")
    );
    let path = markdown::root().join("docs/reference/cli-calibrate.md");
    if std::env::var_os("THAWLINE_BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == found, "run the tests with THAWLINE_BLESS=1 to write docs/reference/cli-calibrate.md");
}

/// Flags of lines that are not run, for want of what they measure.
#[test]
fn what_cannot_run_here_has_flags_that_exist() {
    let directory = tempfile::tempdir().unwrap();
    for document in documents() {
        for block in fences(&read(&document)).iter().filter(|block| block.language == "console") {
            for line in command_lines(block).iter().filter(|line| line.text.starts_with(PROGRAM)) {
                let command = line.text.split_whitespace().nth(1).unwrap();
                let help = shell(&format!("{PROGRAM} {command} --help"), directory.path());
                assert!(help.status.success(), "{document}: {}", line.text);
                let invented = page::invented(&line.text, &page::text(&help));
                assert!(invented.is_empty(), "{document}: `{}`: no such flags: {invented:?}", line.text);
            }
        }
    }
}
