//! The README's commands run, in their order, as a newcomer types them; and its picture
//! shows what the quickstart prints.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

#[path = "common/markdown.rs"]
mod markdown;

use std::fs;

use assert_cmd::Command;
use markdown::{command_lines, copy, fences, root};

/// The command lines of the README's blocks that run Thawline, without what stands before its arguments.
fn commands(readme: &str) -> Vec<Vec<String>> {
    let blocks = fences(readme).into_iter().filter(|block| block.language == "sh");
    let lines: Vec<_> = blocks.flat_map(|block| command_lines(&block)).collect();
    let ours = lines.iter().filter_map(|line| line.text.strip_prefix("thawline "));
    ours.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn every_command_runs_and_the_picture_shows_the_quickstart() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let commands = commands(&readme);
    assert!(commands.len() >= 4, "{commands:?}");
    let directory = tempfile::tempdir().unwrap();
    copy(&["scenarios", "profiles"], directory.path());
    for (index, arguments) in commands.iter().enumerate() {
        let mut command = Command::cargo_bin("thawline").expect("the binary is built with its tests");
        let output = command.current_dir(directory.path()).args(arguments).output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // A gate that fails (1) is an answer; the quickstart's hold.
        let ran = output.status.code() == Some(0) || (index > 0 && output.status.code() == Some(1));
        assert!(ran, "{arguments:?}: {:?}\n{stdout}\n{stderr}", output.status.code());
        if index == 0 {
            assert_eq!(arguments[..], ["simulate", "scenarios/quickstart.yaml"], "the first command");
            pictured(&stdout);
        }
    }
}

/// Every line that does not depend on the machine stands in the picture.
fn pictured(stdout: &str) {
    let picture = fs::read_to_string(root().join("docs/quickstart.svg")).unwrap();
    let texts: String = picture.split("</text>").filter_map(|text| text.rsplit('>').next()).collect();
    let bare = |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
    let shown = bare(&texts.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"));
    for line in stdout.lines().filter(|line| !line.contains(" runs in ") && !line.starts_with("wrote ")) {
        assert!(
            shown.contains(&bare(line)),
            "docs/quickstart.svg lacks `{line}`: run `just picture` (see justfile)"
        );
    }
}

#[test]
fn commands_are_found() {
    let readme = "```sh\ncargo run --release -- a b   # c\ncargo test\nthawline d\n```\n`thawline e`\n```yaml\nthawline f\n```\n";
    assert_eq!(commands(readme), [vec!["a", "b"], vec!["d"]]);
}
