//! An image in an OCI layout: a folder with `oci-layout`, `index.json` and `blobs/`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::manifest::{self, Manifest, Platform};
use super::registry::Resolved;
use crate::{Result, fault};

/// The annotation that names an image of a layout.
const NAME: &str = "org.opencontainers.image.ref.name";

/// The image for a platform: of that name, or the only one.
pub(super) fn resolve(folder: &Path, name: Option<&str>, platform: &Platform) -> Result<Resolved> {
    #[derive(Deserialize)]
    struct Named {
        digest: String,
        #[serde(default)]
        annotations: std::collections::BTreeMap<String, String>,
    }
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Named>,
    }
    let what = folder.display().to_string();
    let broken = |why: String| fault("E0704", format!("{what}: {why}"));
    let path = folder.join("index.json");
    let bytes = std::fs::read(&path).map_err(|e| {
        let mut faults = broken(format!("is no OCI layout: index.json: {e}"));
        faults[0].help.push("write one with `skopeo copy docker://IMAGE oci:DIR:TAG`".to_owned());
        faults
    })?;
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|e| broken(format!("index.json cannot be read: {e}")))?;
    let Manifest::Index(all) = manifest::parse(&what, &bytes)? else {
        return Err(broken("index.json is no index".to_owned()));
    };
    let chosen = match name {
        Some(name) => {
            let found = index.manifests.iter().find(|m| m.annotations.get(NAME).is_some_and(|n| n == name));
            let known: Vec<&str> =
                index.manifests.iter().filter_map(|m| Some(m.annotations.get(NAME)?.as_str())).collect();
            let found = found
                .ok_or_else(|| broken(format!("there is no image `{name}`, only: {}", known.join(", "))))?;
            found.digest.clone()
        }
        None if all.len() == 1 => all[0].digest.clone(),
        None => manifest::select(&what, &all, platform)?.digest.clone(),
    };
    let mut digest = chosen;
    // An index in an index, as `docker buildx` writes them.
    for _ in 0..2 {
        let bytes = read(folder, &digest)?;
        match manifest::parse(&what, &bytes)? {
            Manifest::Index(index) => digest.clone_from(&manifest::select(&what, &index, platform)?.digest),
            Manifest::Image(image) => {
                let config = read(folder, &image.config.digest)?;
                let diff_ids = manifest::diff_ids(&what, &config, image.layers.len())?;
                return Ok(Resolved { digest, image, diff_ids });
            }
        }
    }
    Err(broken("an index of indexes".to_owned()))
}

/// Where a blob lies; the digest has been checked to be one.
pub(super) fn blob(folder: &Path, digest: &str) -> PathBuf {
    folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

fn read(folder: &Path, digest: &str) -> Result<Vec<u8>> {
    let broken = |why: String| fault("E0704", format!("{}: blob {digest}: {why}", folder.display()));
    if !super::reference::is_digest(digest) {
        return Err(broken("is no SHA-256".to_owned()));
    }
    let path = blob(folder, digest);
    let size = std::fs::metadata(&path).map_err(|e| broken(e.to_string()))?.len();
    if size > manifest::BYTES_MAX {
        return Err(broken(format!("{size} bytes are too many for a manifest or a config")));
    }
    let bytes = std::fs::read(&path).map_err(|e| broken(e.to_string()))?;
    let found = manifest::digest(&bytes);
    if found == digest { Ok(bytes) } else { Err(broken(format!("its bytes have digest {found}"))) }
}
