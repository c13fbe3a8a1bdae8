//! Floors only point down, and modules of one floor make no circle.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Source, sources};

/// Each module of the library with its floor.
const FLOORS: [(&str, u8); 13] = [
    ("kernel", 1),
    ("yaml", 1),
    ("forecast", 2),
    ("workload", 2),
    ("profile", 2),
    ("policy", 2),
    ("promql", 2),
    ("outcome", 2),
    ("sim", 3),
    ("scenario", 4),
    ("experiment", 4),
    ("report", 5),
    ("cli", 6),
];

fn floor(module: &str) -> u8 {
    let found = FLOORS.iter().find(|(name, _)| *name == module);
    found
        .unwrap_or_else(|| panic!("module `{module}` has no floor: give it one here and in ARCHITECTURE.md"))
        .1
}

/// The modules a source names: `crate::x`, or `super::` often enough to get to the root.
fn named(source: &Source) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    let identifier = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    for (at, _) in source.code.match_indices("crate::") {
        let name = identifier(&source.code[at + "crate::".len()..]);
        assert!(!name.is_empty(), "{}: write one `use` for each module, not `crate::{{..}}`", source.path);
        modules.insert(name);
    }
    let climb = "super::".repeat(source.depth());
    for (at, _) in source.code.match_indices(&climb) {
        modules.insert(identifier(&source.code[at + climb.len()..]));
    }
    modules
}

#[test]
fn floors_only_point_down() {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.path.matches('/').count() > 1) {
        let own = source.module();
        for module in named(source).into_iter().filter(|module| *module != own) {
            if floor(&module) > floor(own) {
                wrong.push(format!("{} (floor {}) uses {module}", source.path, floor(own)));
            }
            uses.entry(own.to_owned()).or_default().insert(module);
        }
    }
    assert!(uses.len() >= 9, "hardly any uses were found: {uses:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Taking away, again and again, what uses nothing that is left must take everything away.
    let mut left: BTreeSet<&str> = FLOORS.iter().map(|(name, _)| *name).collect();
    while !left.is_empty() {
        let free: Vec<&str> = left
            .iter()
            .copied()
            .filter(|name| uses.get(*name).is_none_or(|used| used.iter().all(|u| !left.contains(u.as_str()))))
            .collect();
        assert!(!free.is_empty(), "these modules use each other in a circle: {left:?}");
        left.retain(|name| !free.contains(name));
    }
}

#[test]
fn calibrate_shares_only_the_profile() {
    let mut seen = BTreeSet::new();
    for path in super::files("calibrate/src", &["rs"]) {
        let text = super::read(&path);
        for (at, _) in text.match_indices("thawline::") {
            let rest = &text[at + "thawline::".len()..];
            let module: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
            assert!(
                ["profile", "kernel", "yaml"].contains(&module.as_str()),
                "{path} uses thawline::{module}"
            );
            seen.insert(module);
        }
    }
    assert!(seen.contains("profile"), "{seen:?}");
}
