//! The invariants of `ARCHITECTURE.md` that can be checked by reading: sources, documents
//! and defaults. Nothing here simulates.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

#[path = "house/defaults.rs"]
mod defaults;
#[path = "house/documents.rs"]
mod documents;
#[path = "house/floors.rs"]
mod floors;
#[path = "house/sources.rs"]
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a folder of the repository with one of these extensions, sorted.
fn files(folder: &str, extensions: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted)) {
                let relative = path.strip_prefix(root()).unwrap();
                let parts: Vec<&str> = relative.iter().map(|part| part.to_str().unwrap()).collect();
                found.push(parts.join("/"));
            }
        }
    }
    found.sort();
    found
}
