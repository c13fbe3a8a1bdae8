//! The workloads in the manifests of a scenario: what an exported autoscaler would scale.

use std::path::Path as FilePath;

use super::Found;
use super::files::objects;
use crate::yaml::Document;

/// The kinds that an autoscaler scales, and their API groups.
const SCALED: [(&str, &str); 4] = [
    ("Deployment", "apps"),
    ("StatefulSet", "apps"),
    ("ReplicaSet", "apps"),
    ("LeaderWorkerSet", "leaderworkerset.x-k8s.io"),
];

/// Kind, API and name of every one; the files were read before and found sound.
pub(in crate::scenario) fn workloads(
    directory: &FilePath,
    names: &[String],
) -> Vec<(String, String, String)> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    for name in names {
        let Ok(text) = std::fs::read_to_string(directory.join(name)) else { continue };
        let Ok(documents) = Document::parse_all(name, &text) else { continue };
        // The adapter's configuration, and other files without objects, hold no workload.
        for object in objects(&documents, &mut Found::default()).unwrap_or_default() {
            let is_scaled = SCALED.iter().any(|scaled| *scaled == (object.kind.as_str(), object.group()));
            let workload = (object.kind.clone(), object.api.clone(), object.name.clone());
            if is_scaled && !object.name.is_empty() && !found.contains(&workload) {
                found.push(workload);
            }
        }
    }
    found
}
