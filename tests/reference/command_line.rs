//! `docs/reference/cli.md`.

use clap::{Command, CommandFactory};
use thawline::cli::args::Args;

const HEAD: &str = "# Command line

What `thawline COMMAND --help` prints. Where a command ends with 1 and with 2 is on the page of [exit codes](exit-codes.md).
This page is written from the program's grammar (`src/cli/args.rs`); a test keeps it so.

`thawline-calibrate` is a program of its own with [a page of its own](cli-calibrate.md); `thawline calibrate ..` hands over to it.
";

/// Columns of the help; a terminal's own are not asked for.
const WIDTH: usize = 100;

pub fn page() -> String {
    let mut root = Args::command().term_width(WIDTH);
    root.build();
    let mut out = HEAD.to_owned();
    section(&mut out, &root, &["thawline"]);
    out
}

fn section(out: &mut String, command: &Command, path: &[&str]) {
    let level = if path.len() > 2 { "###" } else { "##" };
    // What is handed over has no help of its own here.
    let help = if command.is_disable_help_flag_set() {
        command.clone().render_help()
    } else {
        command.clone().term_width(WIDTH).render_long_help()
    };
    let help: Vec<String> = help.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    *out += &format!("\n{level} {}\n\n```text\n{}\n```\n", path.join(" "), help.join("\n").trim_end());
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        let path: Vec<&str> = path.iter().copied().chain([below.get_name()]).collect();
        section(out, below, &path);
    }
}
