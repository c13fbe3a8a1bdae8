//! The registry API: a manifest, a config, blobs, and the token that opens them.

use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use ureq::config::AutoHeaderValue;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::auth::{Challenge, Credentials};
use super::manifest::{self, Image, Manifest, Platform};
use super::reference::{Reference, Version, is_loopback};
use crate::{Fault, Result, fault};

/// A registry that says nothing for so long has gone away.
const SILENCE: Duration = Duration::from_mins(1);

/// A conversation with the registry of one image. Each pull begins its own, so that
/// connections and tokens are as new as on a node.
pub(super) struct Registry<'a> {
    agent: Agent,
    base: String,
    reference: &'a Reference,
    credentials: Option<&'a Credentials>,
    /// The `Authorization` header that the registry took last.
    authorization: Mutex<Option<String>>,
}

/// An image and what its layers are once they are unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) digest: String,
    pub(super) image: Image,
    pub(super) diff_ids: Vec<String>,
}

impl<'a> Registry<'a> {
    pub(super) fn new(
        reference: &'a Reference,
        plain_http: bool,
        credentials: Option<&'a Credentials>,
    ) -> Self {
        let scheme = if plain_http || reference.is_loopback() { "http" } else { "https" };
        let mut config = Agent::config_builder()
            // An answer is judged here, body included.
            .http_status_as_error(false)
            // A blob is hashed as the registry stores it.
            .accept_encoding(AutoHeaderValue::None)
            .user_agent(concat!("thawline-calibrate/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE));
        if reference.is_loopback() {
            config = config.proxy(None);
        }
        Self {
            agent: config.build().new_agent(),
            base: format!("{scheme}://{}/v2/{}", reference.host(), reference.repository),
            reference,
            credentials,
            authorization: Mutex::new(None),
        }
    }

    /// The image for a platform: its manifest, through an index if there is one, and its config.
    pub(super) fn resolve(&self, platform: &Platform) -> Result<Resolved> {
        let what = self.reference.to_string();
        let (digest, bytes) = self.manifest(&self.reference.version)?;
        let (digest, image) = match manifest::parse(&what, &bytes)? {
            Manifest::Image(image) => (digest, image),
            Manifest::Index(index) => {
                let chosen = manifest::select(&what, &index, platform)?;
                let (digest, bytes) = self.manifest(&Version::Digest(chosen.digest.clone()))?;
                match manifest::parse(&what, &bytes)? {
                    Manifest::Image(image) => (digest, image),
                    Manifest::Index(_) => return Err(fault("E0704", format!("{what}: an index of indexes"))),
                }
            }
        };
        let config = self.small_blob(&image.config.digest)?;
        let diff_ids = manifest::diff_ids(&what, &config, image.layers.len())?;
        Ok(Resolved { digest, image, diff_ids })
    }

    /// A blob as a stream, once its first byte is near: headers have been read.
    pub(super) fn blob(&self, digest: &str) -> Result<impl Read + use<>> {
        Ok(self.get(&format!("/blobs/{digest}"), None)?.into_body().into_reader())
    }

    /// A manifest's digest and bytes, checked where the digest was asked for.
    fn manifest(&self, version: &Version) -> Result<(String, Vec<u8>)> {
        let path = format!("/manifests/{version}");
        let bytes = self.body(&path, self.get(&path, Some(manifest::ACCEPT))?)?;
        let digest = manifest::digest(&bytes);
        match version {
            Version::Digest(asked) if *asked != digest => Err(self.mismatch("a manifest", asked, &digest)),
            _ => Ok((digest, bytes)),
        }
    }

    fn small_blob(&self, digest: &str) -> Result<Vec<u8>> {
        let path = format!("/blobs/{digest}");
        let bytes = self.body(&path, self.get(&path, None)?)?;
        let found = manifest::digest(&bytes);
        if found == digest { Ok(bytes) } else { Err(self.mismatch("the config", digest, &found)) }
    }

    fn body(&self, path: &str, answer: Response<Body>) -> Result<Vec<u8>> {
        let read = answer.into_body().with_config().limit(manifest::BYTES_MAX).read_to_vec();
        read.map_err(|e| self.unreachable(path, &e))
    }

    /// An answer of 200, after authentication if the registry asks for it.
    fn get(&self, path: &str, accept: Option<&str>) -> Result<Response<Body>> {
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = self.send(path, accept, known.as_deref())?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return self.accepted(path, answer);
        }
        // The first request of a pull, or a token that has run out during a long one.
        let Some(authorization) = self.authorize(&answer)? else {
            return self.accepted(path, answer);
        };
        let answer = self.send(path, accept, Some(&authorization))?;
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(authorization);
        self.accepted(path, answer)
    }

    fn send(&self, path: &str, accept: Option<&str>, authorization: Option<&str>) -> Result<Response<Body>> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(accept) = accept {
            request = request.header("Accept", accept);
        }
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        request.call().map_err(|e| self.unreachable(path, &e))
    }

    /// What to send after a 401; `None` if there is nothing to send.
    fn authorize(&self, refused: &Response<Body>) -> Result<Option<String>> {
        let headers = refused.headers().get_all("www-authenticate");
        let challenge = headers.iter().filter_map(|h| h.to_str().ok()).find_map(Challenge::parse);
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(self.credentials.map(Credentials::basic)),
            Some(Challenge::Bearer { realm, service, scope }) => {
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.reference.repository));
                self.token(&realm, service.as_deref(), &scope).map(|token| Some(format!("Bearer {token}")))
            }
        }
    }

    fn token(&self, realm: &str, service: Option<&str>, scope: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let mut request = self.agent.get(realm).query("scope", scope);
        if let Some(service) = service {
            request = request.query("service", service);
        }
        if let Some(credentials) = self.credentials {
            // A registry names where passwords go: never in the clear over a network.
            let local = realm
                .strip_prefix("http://")
                .and_then(|rest| rest.split('/').next())
                .is_some_and(is_loopback);
            if !realm.starts_with("https://") && !local {
                let why = format!("{}: wants the password sent in the clear to {realm}", self.reference);
                return Err(fault("E0704", why));
            }
            request = request.header("Authorization", credentials.basic());
        }
        let answer = request.call().map_err(|e| self.unreachable(realm, &e))?;
        let answer = self.accepted(realm, answer)?;
        let bytes = self.body(realm, answer)?;
        let broken = |why: &str| fault("E0704", format!("{}: {realm} gave no token: {why}", self.reference));
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|e| broken(&e.to_string()))?;
        answer.token.or(answer.access_token).ok_or_else(|| broken("there is none in its answer"))
    }

    fn accepted(&self, path: &str, answer: Response<Body>) -> Result<Response<Body>> {
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let wait = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let text = answer.into_body().with_config().limit(64 << 10).read_to_string().unwrap_or_default();
        let mut fault = Fault::error(
            "E0704",
            format!("{}: {path} was answered with {status}{}", self.reference, reason(&text)),
        );
        fault.help.push(match status.as_u16() {
            401 | 403 if self.credentials.is_some() => {
                "this user may not pull it: check the name, the user and THAWLINE_REGISTRY_PASSWORD"
                    .to_owned()
            }
            401 | 403 => {
                "it is private or does not exist: log in with `docker login`, or give --username and \
                          THAWLINE_REGISTRY_PASSWORD (credential helpers are not asked)"
                    .to_owned()
            }
            404 => "check registry, repository and tag".to_owned(),
            429 => {
                let when = wait.map_or_else(String::new, |wait| format!(", after {wait} s"));
                format!("the registry limits pulls: log in, use a mirror, or try again later{when}")
            }
            _ => "try again, or ask whoever runs the registry".to_owned(),
        });
        Err(vec![fault])
    }

    fn unreachable(&self, path: &str, error: &ureq::Error) -> Vec<Fault> {
        let mut faults = fault("E0704", format!("{}: {path}: {error}", self.reference));
        faults[0].help.push(if self.base.starts_with("https") {
            "check the registry's name and the network; --plain-http if it speaks no TLS".to_owned()
        } else {
            "check that the registry runs there".to_owned()
        });
        faults
    }

    fn mismatch(&self, what: &str, asked: &str, found: &str) -> Vec<Fault> {
        fault("E0704", format!("{}: {what} should have digest {asked} and has {found}", self.reference))
    }
}

/// The registry's own words, from its JSON errors; else the first line of what it sent.
fn reason(body: &str) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_str::<Errors>(body) {
        Ok(Errors { errors }) => {
            let of = |e: &One| format!("{} {}", e.code, e.message).trim().to_owned();
            errors.iter().map(of).collect::<Vec<_>>().join("; ")
        }
        Err(_) => body.lines().next().unwrap_or_default().chars().take(200).collect(),
    };
    if text.is_empty() { text } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        let check = |body: &str, expected: &str| assert_eq!(reason(body), expected, "{body}");
        check("", "");
        check("nope\nmore", ": nope");
        check(
            "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\",\"detail\":null},{\"code\":\"X\"}]}",
            ": DENIED no; X",
        );
        assert_eq!(reason(&"x".repeat(999)).len(), 202);
    }
}
