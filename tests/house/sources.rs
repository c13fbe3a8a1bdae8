//! What may not stand in a source, and where.

use std::collections::BTreeSet;

use super::{files, read};

/// A source of the library without its comments and its tests.
pub struct Source {
    pub path: String,
    pub code: String,
}

impl Source {
    /// The module of the library it belongs to; of `src/main.rs`, `main`.
    pub fn module(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split(['/', '.']).next().unwrap_or_default()
    }

    /// How many times `super` leads from its top level to the root of the crate.
    pub fn depth(&self) -> usize {
        let own_file = usize::from(!self.path.ends_with("/mod.rs"));
        self.path.matches('/').count() - 1 + own_file
    }
}

/// Every source of the library that is not a test.
pub fn sources() -> Vec<Source> {
    let paths = files("src", &["rs"]);
    let texts: Vec<String> = paths.iter().map(|path| read(path)).collect();
    let tests: BTreeSet<String> =
        paths.iter().zip(&texts).flat_map(|(path, text)| test_files(path, text)).collect();
    let kept = paths.into_iter().zip(texts).filter(|(path, _)| !tests.contains(path));
    let all: Vec<Source> = kept.map(|(path, text)| Source { path, code: code(&text) }).collect();
    assert!(all.len() > 100 && tests.len() >= 8, "{} sources, {tests:?}", all.len());
    all
}

/// The files of the modules that are declared for tests only.
fn test_files(path: &str, text: &str) -> Vec<String> {
    let folder = path.strip_suffix("/mod.rs").or(path.strip_suffix(".rs")).unwrap();
    let mut found = Vec::new();
    let (mut for_tests, mut file) = (false, None);
    for line in text.lines().map(str::trim) {
        if line == "#[cfg(test)]" {
            for_tests = true;
        } else if let Some(path) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]"))
        {
            file = Some(path.to_owned());
        } else {
            let name = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod ")).map(|(_, name)| name);
            if let Some(name) = name.filter(|_| for_tests) {
                let beside = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let named = file.take().map(|file| format!("{beside}/{file}"));
                found.push(named.unwrap_or_else(|| format!("{folder}/{name}.rs")));
            }
            for_tests = false;
        }
    }
    found
}

/// The text without comments and without what follows `#[cfg(test)] mod tests {`.
fn code(text: &str) -> String {
    let end = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().map(|line| {
        let comment = line.match_indices("//").find(|(at, _)| line[..*at].matches('"').count() % 2 == 0);
        comment.map_or(line, |(at, _)| &line[..at])
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Texts that may not stand in these modules, and why. `!` means every module but these.
const ABSENT: &[(&[&str], &[&str], &str)] = &[
    (
        &["!", "cli", "main"],
        &["println!", "print!(", "eprint!(", "dbg!", "process::exit", "stdout()", "stderr()"],
        "only the command line prints or exits",
    ),
    (&["!", "cli"], &["Instant", "SystemTime", "::now()"], "results depend on no wall clock"),
    (
        &["!", "yaml"],
        &["HashMap", "HashSet"],
        "their order is not that of the data; `yaml` only looks up in them",
    ),
    (
        &["!"],
        &["thread_rng", "rand::rng()", "from_os_rng", "from_entropy", "rand::random"],
        "every draw comes from a named, seeded stream",
    ),
    (
        &["!"],
        &["serde(tag", "serde(untagged", "serde(flatten"],
        "an error inside could not be placed in the file",
    ),
    (
        &["kernel", "sim", "policy", "promql", "outcome", "forecast"],
        &["std::fs", "std::env", "std::net", "std::io", "std::thread"],
        "the simulation knows no file, environment or thread",
    ),
    (
        &["kernel", "sim", "policy", "promql", "outcome", "workload", "profile", "forecast"],
        &["Mutex", "RwLock", "Rc<", "RefCell", "thread_local", "static mut"],
        "one run is one thread with plain data",
    ),
];

#[test]
fn what_must_be_absent_is_absent() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for source in sources() {
        for (modules, texts, why) in ABSENT {
            let listed = modules.contains(&source.module());
            if listed == (modules[0] == "!") {
                continue;
            }
            checked += 1;
            for text in texts.iter().filter(|text| source.code.contains(**text)) {
                wrong.push(format!("{} has `{text}`: {why}", source.path));
            }
        }
    }
    assert!(checked > 500, "{checked}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn time_is_an_integer() {
    let time = read("src/kernel/time.rs");
    assert!(time.contains("pub struct SimTime(u64);") && time.contains("pub struct SimDuration(u64);"));
}

/// Longest source, lines; its tests at the end of the file do not count.
const LINES_MAX: usize = 450;

/// Sources that may be longer, each with its reason.
const LONGER: &[(&str, &str)] = &[
    ("src/sim/engine/continuous.rs", "one state machine; its parts share every field"),
    ("src/yaml/codes/lints.rs", "pages of a manual, one after the other"),
    ("src/yaml/codes.rs", "pages of a manual, one after the other"),
    ("src/cli/args.rs", "the grammar of every command, one after the other"),
];

#[test]
fn sources_are_short_and_say_what_they_are_for() {
    for source in sources() {
        let lines = source.code.lines().count();
        let longer = LONGER.iter().any(|(path, _)| *path == source.path);
        assert!(longer || lines <= LINES_MAX, "{} has {lines} lines: a type is missing", source.path);
        assert!(!longer || lines > LINES_MAX, "{} is short again: strike it from the list", source.path);
        assert!(read(&source.path).starts_with("//! "), "{} does not say what it is for", source.path);
    }
}

#[test]
fn the_scanner_sees_what_it_should() {
    let text =
        "use a; // crate::b\nlet s = \"http://c\";\n/// crate::d\n\n#[cfg(test)]\nmod tests {\n    e\n}\n";
    assert_eq!(code(text), "use a; \nlet s = \"http://c\";\n");
    let declared =
        "mod a;\n#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod tests;\n#[cfg(test)]\npub(crate) mod fixture;\n";
    assert_eq!(test_files("src/x/mod.rs", declared), ["src/x/b_tests.rs", "src/x/fixture.rs"]);
    let depth = |path: &str| Source { path: path.to_owned(), code: String::new() }.depth();
    assert_eq!((depth("src/sim/mod.rs"), depth("src/sim/run.rs"), depth("src/sim/engine/kv.rs")), (1, 2, 3));
}
