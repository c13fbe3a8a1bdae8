//! What `docs/ci` hands out: the YAML can be read, each command of thawline in it is one, and inputs are declared and used.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

use std::collections::BTreeSet;
use std::fs;

use clap::Parser;
use serde_json::Value;
use thawline::cli::args::Args;
use thawline::yaml::{Document, read};

fn text(name: &str) -> String {
    fs::read_to_string(format!("{}/docs/ci/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn parsed(name: &str) -> Value {
    read(&Document::parse(name, &text(name)).unwrap()).unwrap()
}

/// Every text in it.
fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(map) => map.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}

/// The words of a command up to where its output goes, without quotes and with a word for each variable.
fn words(line: &str) -> Vec<String> {
    let line = line.split(" > ").next().unwrap();
    let words = line.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
    words.filter(|word| *word != "$@").map(|word| word.replace('$', "of-")).collect()
}

/// The commands of thawline in a file.
fn commands(file: &Value) -> Vec<String> {
    let mut found = Vec::new();
    texts(file, &mut found);
    let lines = found.into_iter().flat_map(str::lines).map(str::trim);
    lines.filter(|line| line.starts_with("thawline ")).map(str::to_owned).collect()
}

fn parse(command: &str) {
    let words = words(command);
    Args::try_parse_from(&words).unwrap_or_else(|error| panic!("{command}: {error}"));
}

#[test]
fn every_command_is_one() {
    for (name, expected) in [("action.yml", 1), ("github-workflow.yml", 1), ("gitlab-ci.yml", 3)] {
        let commands = commands(&parsed(name));
        assert_eq!(commands.len(), expected, "{name}: {commands:?}");
        for command in &commands {
            parse(command);
        }
    }
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ci.md")).unwrap();
    let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("thawline ")).collect();
    assert!(lines.len() >= 4);
    for line in &lines {
        parse(line.split(" #").next().unwrap());
    }
}

#[test]
fn the_action_uses_what_it_declares_and_the_workflow_gives_nothing_else() {
    let action = parsed("action.yml");
    let declared: BTreeSet<String> = action["inputs"].as_object().unwrap().keys().cloned().collect();
    let text = text("action.yml");
    let used: BTreeSet<String> = text
        .match_indices("inputs.")
        .map(|(at, _)| {
            text[at + "inputs.".len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect()
        })
        .collect();
    assert_eq!(used, declared);
    let steps = action["runs"]["steps"].as_array().unwrap();
    for step in steps {
        let run = step["run"].as_str().unwrap_or_default();
        // An input within a script would be run as one.
        assert!(!run.contains("${{"), "{run}");
        assert!(step["shell"].as_str().is_some() == step.get("run").is_some());
    }
    let workflow = parsed("github-workflow.yml");
    let uses = |step: &Value| step["uses"].as_str().is_some_and(|uses| uses.contains("/thawline/docs/ci@"));
    let steps = workflow["jobs"]["gate"]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| uses(step)).unwrap();
    let given: BTreeSet<String> = step["with"].as_object().unwrap().keys().cloned().collect();
    assert!(given.is_subset(&declared), "{given:?}");
    let required =
        action["inputs"].as_object().unwrap().iter().filter(|(_, input)| input["required"] == true);
    assert!(required.map(|(name, _)| name).all(|name| given.contains(name)));
    // What it gives as rules and arguments are some.
    let words = |key: &str| -> Vec<String> {
        step["with"][key].as_str().unwrap().split_whitespace().map(str::to_owned).collect()
    };
    let mut command: Vec<String> =
        ["thawline", "simulate", "s.yaml", "--baseline", "b"].map(str::to_owned).to_vec();
    command.extend(words("args"));
    for rule in words("fail-on") {
        assert!(thawline::experiment::FailOn::parse(&rule).is_ok(), "{rule}");
        command.extend(["--fail-on".to_owned(), rule]);
    }
    Args::try_parse_from(&command).unwrap();
}

#[test]
fn gitlab_collects_what_the_job_writes() {
    let job = parsed("gitlab-ci.yml");
    let script = job["thawline"]["script"].to_string();
    let reports = &job["thawline"]["artifacts"]["reports"];
    let mut collected = Vec::new();
    texts(reports, &mut collected);
    assert_eq!(collected.len(), 3);
    assert!(collected.iter().all(|file| script.contains(file)), "{collected:?}\n{script}");
}
