//! Manifests of OCI and Docker (v2, schema 2): what an image is made of.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use thawline::profile::image::Compression;

use super::reference::is_digest;
use crate::{Result, fault};

/// What is accepted for an image or an index, for an `Accept` header.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Manifests are a few kB; more is something else. As containerd limits them.
pub(super) const BYTES_MAX: u64 = 8 << 20;

/// A platform images are built for: `linux/arm64/v8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// `v8`; any, if none.
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on the processor this runs on.
    pub fn of_this_machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }
}

impl std::str::FromStr for Platform {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
                Ok(Self { os, architecture, variant })
            }
            _ => Err(format!("`{text}` is not a platform; write e.g. linux/amd64")),
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let variant = self.variant.as_ref().map(|v| format!("/{v}")).unwrap_or_default();
        write!(f, "{}/{}{variant}", self.os, self.architecture)
    }
}

/// A blob by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    platform: Option<DescribedPlatform>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct DescribedPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

/// Either kind of document, before it is known which; fields that nobody asks for are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

/// An index of images, or an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Manifest {
    Index(Vec<Descriptor>),
    Image(Image),
}

/// What one image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<LayerBlob>,
}

/// A layer as the registry stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LayerBlob {
    pub(super) media_type: String,
    pub(super) compression: Compression,
    pub(super) digest: String,
    pub(super) size: u64,
}

impl Image {
    /// Bytes of all layers as stored.
    pub(super) fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

/// Reads a manifest; `what` names it in faults.
pub(super) fn parse(what: &str, bytes: &[u8]) -> Result<Manifest> {
    let broken = |why: String| fault("E0704", format!("{what}: {why}"));
    let document: Document =
        serde_json::from_slice(bytes).map_err(|e| broken(format!("its manifest cannot be read: {e}")))?;
    if document.schema_version != 2 {
        return Err(broken(format!(
            "its manifest has schema version {}, and only 2 is still in use",
            document.schema_version
        )));
    }
    if let Some(manifests) = document.manifests {
        return Ok(Manifest::Index(manifests));
    }
    let (Some(config), Some(layers)) = (document.config, document.layers) else {
        return Err(broken("its manifest lists neither images nor layers".to_owned()));
    };
    let mut faults = Vec::new();
    let mut blobs = Vec::new();
    for (i, layer) in layers.into_iter().enumerate() {
        match compression(&layer.media_type) {
            Ok(compression) if is_digest(&layer.digest) => blobs.push(LayerBlob {
                media_type: layer.media_type,
                compression,
                digest: layer.digest,
                size: layer.size,
            }),
            Ok(_) => faults.extend(broken(format!("layer {i} has digest `{}`, not a SHA-256", layer.digest))),
            Err(why) => faults.extend(broken(format!("layer {i} {why}"))),
        }
    }
    if !is_digest(&config.digest) {
        faults.extend(broken(format!("its config has digest `{}`, not a SHA-256", config.digest)));
    }
    if blobs.is_empty() && faults.is_empty() {
        faults.extend(broken("it has no layers".to_owned()));
    }
    if faults.is_empty() { Ok(Manifest::Image(Image { config, layers: blobs })) } else { Err(faults) }
}

/// How a layer of that media type is stored.
pub(crate) fn compression(media_type: &str) -> Result<Compression, String> {
    if media_type.contains("foreign") || media_type.contains("nondistributable") {
        return Err(format!(
            "is foreign ({media_type}): registries do not hand such layers out, so they cannot be timed"
        ));
    }
    let oci = media_type.strip_prefix("application/vnd.oci.image.layer.v1.tar");
    let docker = media_type.strip_prefix("application/vnd.docker.image.rootfs.diff.tar");
    match oci.or(docker) {
        Some("") => Ok(Compression::None),
        Some("+gzip" | ".gzip") => Ok(Compression::Gzip),
        Some("+zstd" | ".zstd") => Ok(Compression::Zstd),
        _ => Err(format!("is `{media_type}`, which is not the layer of a container image")),
    }
}

/// The image of an index for a platform.
pub(super) fn select<'a>(what: &str, index: &'a [Descriptor], platform: &Platform) -> Result<&'a Descriptor> {
    let matches = |descriptor: &&Descriptor| {
        descriptor.platform.as_ref().is_some_and(|p| {
            p.os == platform.os
                && p.architecture == platform.architecture
                && (platform.variant.is_none() || platform.variant == p.variant)
        })
    };
    // An index of one image needs no platform.
    let only = if let [only] = index { Some(only).filter(|d| d.platform.is_none()) } else { None };
    let found = index.iter().find(matches).or(only);
    found.filter(|descriptor| is_digest(&descriptor.digest)).ok_or_else(|| {
        let mut known: Vec<String> = index
            .iter()
            .filter_map(|d| d.platform.as_ref())
            .map(|p| {
                let variant = p.variant.clone();
                Platform { os: p.os.clone(), architecture: p.architecture.clone(), variant }.to_string()
            })
            .filter(|platform| platform != "unknown/unknown")
            .collect();
        known.sort();
        known.dedup();
        let mut faults = fault("E0704", format!("{what}: there is no image for {platform}"));
        faults[0].help.push(format!("--platform with one of: {}", known.join(", ")));
        faults
    })
}

/// Digests of the uncompressed layers, from an image's config.
pub(super) fn diff_ids(what: &str, config: &[u8], layers: usize) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Config {
        rootfs: RootFs,
    }
    #[derive(Deserialize)]
    struct RootFs {
        diff_ids: Vec<String>,
    }
    let broken = |why: String| fault("E0704", format!("{what}: its config {why}"));
    let config: Config =
        serde_json::from_slice(config).map_err(|e| broken(format!("cannot be read: {e}")))?;
    let found = config.rootfs.diff_ids;
    if found.len() == layers {
        Ok(found)
    } else {
        Err(broken(format!("describes {} layers and its manifest {layers}", found.len())))
    }
}

/// The digest of bytes, as manifests write it.
pub(super) fn digest(bytes: &[u8]) -> String {
    digest_text(&Sha256::digest(bytes))
}

/// A finished hash as manifests write it.
pub(super) fn digest_text(hash: &[u8]) -> String {
    hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(byte: &str) -> String {
        format!("sha256:{}", byte.repeat(32))
    }

    fn message<T: std::fmt::Debug>(answer: Result<T>) -> String {
        let faults = answer.unwrap_err();
        faults.iter().map(|f| format!("{} {}\n", f.message, f.help.join(" "))).collect()
    }

    #[test]
    fn media_types_of_layers() {
        let oci = "application/vnd.oci.image.layer";
        let docker = "application/vnd.docker.image.rootfs";
        for (media_type, expected) in [
            (format!("{oci}.v1.tar"), Ok(Compression::None)),
            (format!("{oci}.v1.tar+gzip"), Ok(Compression::Gzip)),
            (format!("{oci}.v1.tar+zstd"), Ok(Compression::Zstd)),
            (format!("{docker}.diff.tar"), Ok(Compression::None)),
            (format!("{docker}.diff.tar.gzip"), Ok(Compression::Gzip)),
            (format!("{docker}.diff.tar.zstd"), Ok(Compression::Zstd)),
            (format!("{docker}.foreign.diff.tar.gzip"), Err("foreign")),
            (format!("{oci}.nondistributable.v1.tar+gzip"), Err("foreign")),
            (format!("{oci}.v1.tar+zstd+encrypted"), Err("not the layer")),
            ("application/vnd.in-toto+json".to_owned(), Err("not the layer")),
        ] {
            match (compression(&media_type), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{media_type}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{media_type}: {found}"),
                (found, expected) => panic!("{media_type}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn the_image_of_the_platform_is_taken() {
        let one = |byte: &str, platform: &str| {
            format!("{{\"mediaType\":\"m\",\"digest\":\"{}\",\"size\":1{platform}}}", hex(byte))
        };
        let of = |os: &str, architecture: &str, variant: &str| {
            format!(",\"platform\":{{\"os\":\"{os}\",\"architecture\":\"{architecture}\"{variant}}}")
        };
        let index = format!(
            "{{\"schemaVersion\":2,\"manifests\":[{},{},{},{}]}}",
            one("00", &of("unknown", "unknown", "")),
            one("01", &of("linux", "amd64", "")),
            one("02", &of("linux", "arm", ",\"variant\":\"v6\"")),
            one("03", &of("linux", "arm", ",\"variant\":\"v7\"")),
        );
        let Manifest::Index(index) = parse("x", index.as_bytes()).unwrap() else { panic!("no index") };
        let select_one = |platform: &str| select("x", &index, &platform.parse().unwrap());
        assert_eq!(select_one("linux/amd64").unwrap().digest, hex("01"));
        assert_eq!(select_one("linux/arm").unwrap().digest, hex("02"));
        assert_eq!(select_one("linux/arm/v7").unwrap().digest, hex("03"));
        let text = message(select_one("linux/s390x"));
        assert!(text.contains("no image for linux/s390x"), "{text}");
        assert!(text.contains("linux/amd64, linux/arm/v6, linux/arm/v7"), "{text}");
        assert!(!text.contains("unknown"), "{text}");
        assert!("linux".parse::<Platform>().is_err() && "a/b/c/d".parse::<Platform>().is_err());
        let single = format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", one("04", ""));
        let Manifest::Index(single) = parse("x", single.as_bytes()).unwrap() else { panic!("no index") };
        assert_eq!(select("x", &single, &"linux/amd64".parse().unwrap()).unwrap().digest, hex("04"));
    }

    #[test]
    fn every_fault_of_a_manifest_is_named() {
        let check = |text: &str, expected: &[&str]| {
            let found = message(parse("r.io/x:1", text.as_bytes()));
            assert_eq!(found.lines().count(), expected.len(), "{found}");
            assert!(expected.iter().all(|part| found.contains(part)), "{found}");
        };
        check("<html>", &["r.io/x:1: its manifest cannot be read"]);
        check("{\"schemaVersion\":1}", &["schema version 1"]);
        check("{\"schemaVersion\":2}", &["neither images nor layers"]);
        let config = format!("{{\"digest\":\"{}\",\"size\":2}}", hex("00"));
        check(&format!("{{\"schemaVersion\":2,\"config\":{config},\"layers\":[]}}"), &["it has no layers"]);
        let foreign = "{\"mediaType\":\"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\",\
                       \"digest\":\"x\",\"size\":1}";
        let md5 =
            "{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"md5:1\",\"size\":1}";
        check(
            &format!("{{\"schemaVersion\":2,\"config\":{config},\"layers\":[{foreign},{md5}]}}"),
            &["layer 0 is foreign", "layer 1 has digest `md5:1`"],
        );
    }

    #[test]
    fn configs_describe_as_many_layers_as_manifests() {
        let config = "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"a\",\"b\"]}}";
        assert_eq!(diff_ids("x", config.as_bytes(), 2).unwrap(), ["a", "b"]);
        assert!(message(diff_ids("x", config.as_bytes(), 3)).contains("describes 2 layers"));
        assert!(message(diff_ids("x", b"{}", 3)).contains("cannot be read"));
        // The SHA-256 of nothing, FIPS 180-4.
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b""), empty);
        assert!(is_digest(empty));
    }
}
