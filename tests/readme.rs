//! The README's commands run, in their order, as a newcomer types them; and its picture
//! shows what the quickstart prints.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

use std::fs;
use std::path::Path;

use assert_cmd::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The command lines of the README's blocks that run Thawline, without what stands before its arguments.
fn commands(readme: &str) -> Vec<Vec<String>> {
    let blocks = readme.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines = blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap_or(line).trim());
    let ours = lines.filter_map(|line| {
        line.strip_prefix("cargo run --release -- ").or_else(|| line.strip_prefix("thawline "))
    });
    ours.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// A copy of the folders that the commands read, so that what they write leaves no trace here.
fn checkout(into: &Path) {
    for folder in ["scenarios", "profiles"] {
        let mut folders = vec![Path::new(folder).to_path_buf()];
        while let Some(folder) = folders.pop() {
            fs::create_dir_all(into.join(&folder)).unwrap();
            for entry in fs::read_dir(root().join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let path = folder.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                } else {
                    fs::copy(entry.path(), into.join(path)).unwrap();
                }
            }
        }
    }
}

#[test]
fn every_command_runs_and_the_picture_shows_the_quickstart() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let commands = commands(&readme);
    assert!(commands.len() >= 4, "{commands:?}");
    let directory = tempfile::tempdir().unwrap();
    checkout(directory.path());
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
