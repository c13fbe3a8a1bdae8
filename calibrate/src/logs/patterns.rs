//! The table of log lines, read from `patterns.toml` and compiled once.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;
use thawline::profile::schema::Stage;

use super::stamp::Clock;

/// An engine whose start-up log can be read, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFormat {
    /// The engine's name.
    pub engine: &'static str,
    /// The lines it is read by, each with the versions that print it.
    pub lines: Vec<(&'static str, &'static str)>,
}

/// Every engine whose log can be read, in the order they are looked for.
pub fn formats() -> Vec<LogFormat> {
    let lines = |engine: &str| {
        let known = TABLE.patterns.iter().filter(|p| p.engines.iter().any(|e| e == engine));
        known.map(|p| (p.says.as_str(), p.versions.as_str())).collect()
    };
    TABLE.engines.iter().map(|e| LogFormat { engine: &e.name, lines: lines(&e.name) }).collect()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    engines: Vec<Engine>,
    patterns: Vec<Pattern>,
    stages: Vec<StageRow>,
}

/// Where a start begins in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Origin {
    /// At the first line.
    First,
    /// At a line of kind `begin`: the engine loads on demand.
    Begin,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Engine {
    pub(super) name: String,
    pub(super) stamp: Clock,
    pub(super) origin: Origin,
    detect: String,
}

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    Begin,
    Mark,
    Ready,
    Duration,
    Bytes,
    Tokens,
    Setting,
    Version,
    Model,
}

/// How the text of a group becomes a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Unit {
    #[serde(rename = "s")]
    Seconds,
    /// A Go or Rust duration: `1m2.5s`, `796ms`.
    #[serde(rename = "go")]
    Go,
    /// `mm:ss` or `h:mm:ss`, of a progress bar.
    #[serde(rename = "clock")]
    Clock,
    #[serde(rename = "MiB")]
    Mebibytes,
    #[serde(rename = "GiB")]
    Gibibytes,
    /// `64.00 MiB`, its unit written beside it.
    #[serde(rename = "binary")]
    Binary,
    /// A plain number, thousands perhaps set off by commas.
    #[serde(rename = "count")]
    Count,
}

/// What lines of one process that tell the same fact do to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Repeat {
    #[default]
    Default,
    Last,
}

/// Whose figure it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Scope {
    #[default]
    Rank,
    Replica,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Pattern {
    pub(super) engines: Vec<String>,
    #[serde(default = "all")]
    pub(super) versions: String,
    pub(super) fact: String,
    pub(super) kind: Kind,
    pub(super) regex: String,
    #[serde(default = "one")]
    pub(super) group: usize,
    pub(super) unit: Option<Unit>,
    #[serde(default)]
    pub(super) repeat: Repeat,
    #[serde(default)]
    pub(super) scope: Scope,
    pub(super) says: String,
}

fn all() -> String {
    "all".to_owned()
}

fn one() -> usize {
    1
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StageRow {
    pub(super) engines: Vec<String>,
    pub(super) stage: Stage,
    pub(super) label: String,
    #[serde(default)]
    pub(super) seconds: Vec<String>,
    #[serde(default)]
    pub(super) from: Vec<String>,
    #[serde(default)]
    pub(super) to: Vec<String>,
    #[serde(default)]
    pub(super) less: Vec<String>,
    #[serde(default)]
    pub(super) needs: Vec<String>,
    #[serde(default)]
    pub(super) unless: Vec<String>,
    /// Whether its time goes with the bytes of the weights.
    #[serde(default)]
    pub(super) bytes: bool,
}

/// The compiled table.
pub(super) struct Table {
    pub(super) engines: Vec<Engine>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) stages: Vec<StageRow>,
    /// Engines' `detect` first, then the patterns.
    set: RegexSet,
    regexes: Vec<Regex>,
}

/// What a line matched.
pub(super) enum Match<'t> {
    /// A line that only this engine prints; its place in the table.
    Engine(usize),
    /// A pattern, its place in the table, and its regex to capture with.
    Pattern(usize, &'t Pattern, &'t Regex),
}

impl Table {
    /// Everything that matches a line. One pass over it, however many patterns there are.
    pub(super) fn matches<'t>(&'t self, line: &[u8]) -> impl Iterator<Item = Match<'t>> {
        let engines = self.engines.len();
        self.set.matches(line).into_iter().map(move |at| match at.checked_sub(engines) {
            None => Match::Engine(at),
            Some(p) => Match::Pattern(p, &self.patterns[p], &self.regexes[p]),
        })
    }
}

pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let file: File = toml::from_str(include_str!("patterns.toml")).expect("a test reads the table");
    // ASCII classes: small automata, and any bytes will do.
    let compile = |regex: &str| RegexBuilder::new(regex).unicode(false).build();
    let regexes = file.patterns.iter().map(|p| compile(&p.regex).expect("a test compiles the table"));
    let all = file.engines.iter().map(|e| &e.detect).chain(file.patterns.iter().map(|p| &p.regex));
    let set = RegexSetBuilder::new(all).unicode(false).size_limit(64 << 20).build();
    Table {
        regexes: regexes.collect(),
        set: set.expect("a test compiles the table"),
        engines: file.engines,
        patterns: file.patterns,
        stages: file.stages,
    }
});

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_names_only_what_it_defines() {
        let table = &*TABLE;
        for row in &table.stages {
            for engine in &row.engines {
                assert!(table.engines.iter().any(|e| e.name == *engine), "{engine}");
                let of_engine = |p: &&Pattern| p.engines.contains(engine);
                let facts: BTreeSet<&str> =
                    table.patterns.iter().filter(of_engine).map(|p| p.fact.as_str()).collect();
                let known = |name: &str| facts.contains(name) || ["start", "first", "ready"].contains(&name);
                let sums = row.seconds.iter().flat_map(|s| s.split('+'));
                for name in sums
                    .chain([&row.from, &row.to, &row.needs, &row.unless].into_iter().flatten().map(|s| &**s))
                {
                    assert!(known(name), "{engine}: stage `{}` names `{name}`", row.label);
                }
                for less in &row.less {
                    let defined = |r: &&StageRow| r.engines.contains(engine) && r.label == *less;
                    assert!(table.stages.iter().any(|r| defined(&r)), "{engine}: `{less}`");
                }
                assert_eq!(row.from.is_empty(), row.to.is_empty(), "{}", row.label);
                assert!(!row.seconds.is_empty() || !row.from.is_empty(), "{}", row.label);
            }
        }
        for pattern in &table.patterns {
            let number = matches!(pattern.kind, Kind::Duration | Kind::Bytes | Kind::Tokens);
            assert_eq!(number, pattern.unit.is_some(), "{}", pattern.says);
            assert!(pattern.engines.iter().all(|name| table.engines.iter().any(|e| e.name == *name)));
        }
        assert!(formats().iter().all(|f| f.lines.iter().any(|(says, _)| !says.is_empty())));
    }
}
