//! What was asked for, and the head of the raw file it leads to.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use thawline::profile::schema::{EngineVersion, Gpu};

use super::client::Access;
use super::identity::{self, Found, Limits};
use super::plan::Plan;
use super::start::Launch;
use crate::raw::{Flag, Header, Kind, RAW_VERSION};

/// What the profile to be is called, and what only its user knows.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Name of the profile.
    pub name: String,
    /// The model, with its precision; else the server's name for it.
    pub model: Option<String>,
    /// The engine; else what the server says.
    pub engine: Option<EngineVersion>,
    /// The kind of machine.
    pub host: Option<String>,
    /// The GPUs.
    pub gpu: Option<Gpu>,
    /// GPU driver version.
    pub driver: Option<String>,
    /// Limits of the engine; else what its command or the server says.
    pub limits: Limits,
    /// Bytes of the weights; else what the server says, or the size of their files.
    pub weights_bytes: Option<u64>,
    /// KV cache of one token.
    pub kv_bytes_per_token: Option<f64>,
}

/// All that was asked for.
#[derive(Clone, Debug)]
pub struct Job {
    /// How to reach the server.
    pub access: Access,
    /// The model to ask for; else the first of `/v1/models`.
    pub served_model: Option<String>,
    /// How to start it; none if it runs already.
    pub launch: Option<Launch>,
    /// What to send.
    pub plan: Plan,
    /// Names and figures.
    pub identity: Identity,
    /// The raw file.
    pub raw: PathBuf,
    /// No series is begun after so long, and one under way is cut.
    pub time_budget: Option<Duration>,
    /// Take events for tokens where the server counts none.
    pub count_events: bool,
    /// Another number in each run: no prompt is sent twice.
    pub salt: u64,
}

/// Sees what happens.
pub trait Watch {
    /// Something begins; `requests` is 0 where it is no series.
    fn begin(&mut self, what: &str, requests: usize);
    /// A request of the series has ended.
    fn step(&mut self);
    /// Something worth a line.
    fn note(&mut self, text: &str);
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Requests sent and measured by this run.
    pub requests: usize,
    /// Flags raised.
    pub flags: Vec<Flag>,
}

impl Job {
    /// The head of the raw file. `limits` are those found in the end.
    pub(super) fn header(&self, found: &Found, limits: Limits) -> Header {
        let identity = &self.identity;
        let mut settings = self.plan.settings();
        let numbers = [
            ("maxNumSeqs", limits.max_num_seqs),
            ("maxNumBatchedTokens", limits.max_num_batched_tokens),
            ("kvCacheTokens", limits.kv_cache_tokens),
            ("contextTokens", limits.context_tokens),
        ];
        settings.extend(numbers.into_iter().filter_map(|(key, n)| Some((key.to_owned(), Value::from(n?)))));
        if let Some(launch) = &self.launch {
            settings.insert("launch".to_owned(), identity::scrubbed(&launch.command).into());
            settings.insert("coldStarts".to_owned(), launch.cold.into());
            settings.insert("warmStarts".to_owned(), launch.warm.into());
        }
        if self.count_events {
            settings.insert("countEvents".to_owned(), true.into());
        }
        Header {
            raw_version: RAW_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            kind: Kind::Server,
            created: jiff::Timestamp::now(),
            name: identity.name.clone(),
            source: "thawline-calibrate server: streaming requests against the running engine".to_owned(),
            model: identity
                .model
                .clone()
                .or_else(|| found.model.as_deref().map(|model| identity::base_name(model).to_owned())),
            engine: identity.engine.clone().or_else(|| found.engine.clone()),
            host: identity.host.clone(),
            gpu: identity.gpu.clone(),
            driver: identity.driver.clone(),
            settings,
        }
    }
}
