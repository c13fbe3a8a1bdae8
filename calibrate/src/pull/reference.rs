//! Names of images, read as container tools read them: `[registry/]repository[:tag][@digest]`.

use std::fmt;
use std::str::FromStr;

/// The registry meant where none is named.
const DOCKER_HUB: &str = "docker.io";

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub registry: String,
    /// `library/debian`.
    pub repository: String,
    /// A tag, or the manifest's digest.
    pub version: Version,
}

/// Which of a repository's images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// By a name that may move.
    Tag(String),
    /// By the SHA-256 of its manifest: `sha256:..`.
    Digest(String),
}

impl Reference {
    /// The host that answers for the registry.
    pub fn host(&self) -> &str {
        if self.registry == DOCKER_HUB { "registry-1.docker.io" } else { &self.registry }
    }

    /// Under which name `docker login` keeps its credentials.
    pub fn login(&self) -> &str {
        if self.registry == DOCKER_HUB { "https://index.docker.io/v1/" } else { &self.registry }
    }

    /// Whether the registry is on this machine, where plain HTTP is usual.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.registry)
    }

    /// A name for a profile: `debian-12`.
    pub fn short_name(&self) -> String {
        let last = self.repository.rsplit('/').next().unwrap_or_default();
        let version = match &self.version {
            Version::Tag(tag) => tag.to_ascii_lowercase(),
            Version::Digest(digest) => digest.trim_start_matches("sha256:").chars().take(12).collect(),
        };
        format!("{last}-{version}").replace('_', "-")
    }
}

/// Whether a host, with or without a port, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a text is a digest that can be checked here.
pub(super) fn is_digest(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("`{text}` is not an image name: {why}");
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest)),
            Some(_) => return Err(bad("after `@` comes `sha256:` and 64 hexadecimal digits")),
            None => (text, None),
        };
        let is_host = |part: &str| part == "localhost" || part.contains(['.', ':']);
        let (registry, path) = match rest.split_once('/') {
            Some((first, path)) if is_host(first) => (first, path),
            _ => (DOCKER_HUB, rest),
        };
        let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
        let host = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
        let named = registry.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
        if !named || !registry.bytes().all(host) {
            return Err(bad("the registry is no host name"));
        }
        let (path, tag) = match path.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (path, None),
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let part =
            |part: &str| !part.is_empty() && part.bytes().all(plain) && !part.starts_with(['.', '-', '_']);
        if !path.split('/').all(part) {
            return Err(bad("a repository has lower-case letters, digits and `.`, `_`, `-` between slashes"));
        }
        let in_tag = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if let Some(tag) = tag
            && (tag.is_empty() || tag.len() > 128 || tag.starts_with(['.', '-']) || !tag.bytes().all(in_tag))
        {
            return Err(bad("a tag has up to 128 letters, digits, `.`, `_` and `-`"));
        }
        let official = registry == DOCKER_HUB && !path.contains('/');
        let repository = if official { format!("library/{path}") } else { path.to_owned() };
        let version = match (digest, tag) {
            (Some(digest), _) => Version::Digest(digest.to_owned()),
            (None, tag) => Version::Tag(tag.unwrap_or("latest").to_owned()),
        };
        Ok(Self { registry: registry.to_owned(), repository, version })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Tag(text) | Self::Digest(text)) = self;
        f.write_str(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if matches!(self.version, Version::Tag(_)) { ':' } else { '@' };
        write!(f, "{}/{}{mark}{}", self.registry, self.repository, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_container_tools_read_them() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let check = |text: &str, expected: &str, host: &str| {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.to_string().as_str(), reference.host()), (expected, host), "{text}");
            assert_eq!(reference.to_string().parse(), Ok(reference), "{text}");
        };
        let hub = "registry-1.docker.io";
        check("debian", "docker.io/library/debian:latest", hub);
        check("debian:12", "docker.io/library/debian:12", hub);
        check("vllm/vllm-openai:v0.9.1", "docker.io/vllm/vllm-openai:v0.9.1", hub);
        check("index.docker.io/library/debian", "docker.io/library/debian:latest", hub);
        check("nvcr.io/nvidia/cuda:13.0", "nvcr.io/nvidia/cuda:13.0", "nvcr.io");
        check("localhost/a", "localhost/a:latest", "localhost");
        check("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c", "127.0.0.1:5000");
        check("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000");
        // The digest decides, whatever tag stands before it.
        check(&format!("r.io/a:1@{digest}"), &format!("r.io/a@{digest}"), "r.io");
        check(&format!("a@{digest}"), &format!("docker.io/library/a@{digest}"), hub);
    }

    #[test]
    fn what_is_no_name_says_why() {
        let check = |text: &str, why: &str| {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        };
        check("", "lower-case");
        check("Debian", "lower-case");
        check("a//b", "lower-case");
        check("../b", "no host name"); // `..` has a dot.
        check("r.io/../b", "lower-case");
        check("a:", "a tag has");
        check("a:b c", "a tag has");
        check("a@sha256:12", "64 hexadecimal");
        check("a@md5:12", "64 hexadecimal");
        check("us er.io/a", "no host name");
    }

    #[test]
    fn loopback_and_short_names() {
        for (host, expected) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:80", true),
            ("docker.io", false),
            ("localhost.example.com", false),
            ("10.0.0.1:5000", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
        let short = |text: &str| text.parse::<Reference>().unwrap().short_name();
        assert_eq!(short("vllm/vllm_openai:V0.9"), "vllm-openai-v0.9");
        assert_eq!(short(&format!("a@sha256:{}", "0a".repeat(32))), "a-0a0a0a0a0a0a");
    }
}
