//! The commands of `README.md` and `docs/calibration.md` that measure and fit run as they stand
//! there, in their order, against a server that answers at their address.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

#[allow(dead_code)] // Other tests use more of it.
mod mock;

use std::fs;
use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;
use mock::{Behaviour, Mock};

/// The address that the documents name.
const ADDRESS: &str = "http://localhost:8000";

/// The arguments of each command line of `thawline-calibrate` in the blocks of a document.
fn commands(document: &str) -> Vec<Vec<String>> {
    let blocks = document.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines = blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap_or(line).trim());
    let ours = lines
        .filter_map(|line| line.trim_start_matches("target/release/").strip_prefix("thawline-calibrate "));
    ours.map(words).collect()
}

/// The words of a line, as a shell takes them; quotes are single and whole words.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate().flat_map(|(index, part)| {
        let quoted = index % 2 == 1;
        let words: Vec<String> =
            if quoted { vec![part.to_owned()] } else { part.split_whitespace().map(str::to_owned).collect() };
        words
    });
    parts.collect()
}

#[test]
fn the_commands_of_the_documents_run_in_their_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (document, least) in [("README.md", 2), ("docs/calibration.md", 4)] {
        let commands = commands(&fs::read_to_string(root.join(document)).unwrap());
        assert!(commands.len() >= least, "{document}: {commands:?}");
        let directory = tempfile::tempdir().unwrap();
        let server = Mock::start(Behaviour { token: Duration::from_millis(2), ..Behaviour::default() });
        for mut arguments in commands {
            // A shorter measurement, at the address of a server that is there.
            if arguments[0] == "server" {
                let asked = arguments.iter_mut().find(|argument| *argument == ADDRESS);
                asked
                    .unwrap_or_else(|| panic!("{document}: a server at another address"))
                    .clone_from(&server.url);
                arguments.extend(["--duration", "2", "--max-clients", "4"].map(str::to_owned));
            }
            // The mock is no engine: what its steps cost follows from nothing.
            if arguments[0] == "fit" {
                arguments.push("--allow-poor-fit".to_owned());
            }
            let mut command = Command::cargo_bin("thawline-calibrate").unwrap();
            let output = command.current_dir(directory.path()).args(&arguments).output().unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(0), "{document}: {arguments:?}\n{stdout}\n{stderr}");
        }
        assert!(directory.path().join("mine.yaml").exists(), "{document}");
    }
}

#[test]
fn lines_are_cut_as_a_shell_cuts_them() {
    let document = "```sh\ncargo build\ntarget/release/thawline-calibrate server --gpu 'H100 SXM' --name m  # c\nthawline-calibrate fit a\n```\n";
    assert_eq!(commands(document), [vec!["server", "--gpu", "H100 SXM", "--name", "m"], vec!["fit", "a"]]);
}
