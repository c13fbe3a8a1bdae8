//! Who may pull: the challenge of a registry, and the credentials that answer it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::{Result, fault};

/// A user and a password, or a token in its place.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password or access token.
    pub password: String,
}

impl Credentials {
    /// The value of an `Authorization` header.
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password)))
    }
}

/// Shows the user only.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({}, ..)", self.username)
    }
}

/// What a registry wants, from `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token, from `realm`.
    Bearer {
        /// Where tokens are given out.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header; `None` if it asks for something else.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest.trim();
        while let Some((key, value)) = rest.split_once('=') {
            let (value, after) = match value.strip_prefix('"') {
                // A quoted value may hold commas: `scope="repository:a:pull,push"`.
                Some(quoted) => quoted.split_once('"')?,
                None => value.split_once(',').unwrap_or((value, "")),
            };
            let slot = match key.trim().to_ascii_lowercase().as_str() {
                "realm" => &mut realm,
                "service" => &mut service,
                "scope" => &mut scope,
                _ => &mut None,
            };
            *slot = Some(value.trim().to_owned());
            rest = after.trim_start_matches([',', ' ']);
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }
}

/// The part of `config.json` that `docker login` writes without a credential helper.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, DockerLogin>,
}

#[derive(Deserialize)]
struct DockerLogin {
    auth: Option<String>,
}

/// The login of a registry in a `config.json`, if there is one.
///
/// # Errors
/// A file that cannot be read or understood; a file that is not there is none.
pub fn docker_login(config: &Path, login: &str) -> Result<Option<Credentials>> {
    let broken = |why: &dyn std::fmt::Display| {
        let mut faults = fault("E0704", format!("cannot read the logins of {}: {why}", config.display()));
        faults[0].help.push("mend or move the file, or give --username".to_owned());
        faults
    };
    let text = match std::fs::read_to_string(config) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(broken(&error)),
    };
    let parsed: DockerConfig = serde_json::from_str(&text).map_err(|e| broken(&e))?;
    // Older tools wrote the host with a scheme and a path.
    let host = |name: &str| {
        let name = name.trim_start_matches("https://").trim_start_matches("http://");
        name.split('/').next().unwrap_or_default().to_owned()
    };
    let found = parsed.auths.iter().find(|(name, _)| *name == login || host(name) == host(login));
    let Some(auth) = found.and_then(|(_, entry)| entry.auth.as_deref()).filter(|auth| !auth.is_empty())
    else {
        return Ok(None);
    };
    let bytes = STANDARD.decode(auth).map_err(|e| broken(&e))?;
    let pair = String::from_utf8(bytes).map_err(|e| broken(&e))?;
    let (username, password) = pair.split_once(':').ok_or_else(|| broken(&"a login without a colon"))?;
    Ok(Some(Credentials { username: username.to_owned(), password: password.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Some(Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) })
        };
        let check = |header: &str, expected: Option<Challenge>| {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        };
        check("Basic realm=\"x\"", Some(Challenge::Basic));
        check("basic", Some(Challenge::Basic));
        check(
            "Bearer realm=\"https://a/token\",service=\"a\",scope=\"repository:x:pull,push\"",
            bearer("https://a/token", Some("a"), Some("repository:x:pull,push")),
        );
        check(
            "bearer service=a, realm=\"https://a/t?x=1\", error=\"invalid_token\"",
            bearer("https://a/t?x=1", Some("a"), None),
        );
        check("Bearer service=\"a\"", None);
        check("Bearer realm=\"open", None);
        check("Negotiate", None);
        check("", None);
    }

    #[test]
    fn logins_of_docker() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        assert_eq!(docker_login(&path, "a.io").unwrap(), None);
        let auth = STANDARD.encode("ann:se:cret");
        let text = format!(
            "{{\"auths\":{{\"https://index.docker.io/v1/\":{{\"auth\":\"{auth}\"}},\"b.io\":{{}}}},\"x\":1}}"
        );
        std::fs::write(&path, text).unwrap();
        let ann = Credentials { username: "ann".to_owned(), password: "se:cret".to_owned() };
        assert_eq!(docker_login(&path, "https://index.docker.io/v1/").unwrap(), Some(ann.clone()));
        assert_eq!(docker_login(&path, "b.io").unwrap(), None);
        assert_eq!(docker_login(&path, "c.io").unwrap(), None);
        assert_eq!(ann.basic(), format!("Basic {auth}"));
        assert_eq!(format!("{ann:?}"), "Credentials(ann, ..)");
        for broken in
            ["{", "{\"auths\":{\"a.io\":{\"auth\":\"%\"}}}", "{\"auths\":{\"a.io\":{\"auth\":\"YQ==\"}}}"]
        {
            std::fs::write(&path, broken).unwrap();
            let faults = docker_login(&path, "a.io").unwrap_err();
            assert!(faults[0].message.contains("cannot read the logins"), "{broken}: {faults:?}");
        }
    }
}
