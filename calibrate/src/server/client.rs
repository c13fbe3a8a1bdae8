//! The client: one streaming request, timed event by event, and plain questions about the server.
//!
//! Blocking, a thread for each request in flight: between the socket and the clock there
//! is one `read` and nothing that schedules.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body};

use super::answer::{self, Usage};
use super::sse::{Event, Parser};

/// The two endpoints that stream text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/completions`.
    Completions,
    /// `/v1/chat/completions`.
    Chat,
}

impl Endpoint {
    /// Its path.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Completions => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
        }
    }
}

/// Fields that not every server knows, the least needed first, and what is lost without each.
const EXTRAS: [(&str, &str); 4] = [
    ("cache_prompt", "its prefix cache is defeated by unique prompts alone"),
    ("min_tokens", "answers may end early"),
    ("ignore_eos", "answers may end early"),
    ("stream_options", "it may not count tokens"),
];

/// How this server wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dialect {
    endpoint: Endpoint,
    refused: BTreeSet<&'static str>,
}

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct Access {
    /// `http://host:port`; a `/v1` at the end does no harm.
    pub url: String,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// The endpoint asked for; none tries `/v1/completions` first.
    pub endpoint: Option<Endpoint>,
    /// A request that gets nothing for so long has failed.
    pub stall: Duration,
}

/// A client of one server.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    api_key: Option<String>,
    endpoint_is_fixed: bool,
    model: String,
    dialect: Mutex<Dialect>,
}

/// What one request came to; times are those of the client's clock.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// When its first byte was sent.
    pub sent: Instant,
    /// Arrival of each event that carried text.
    pub events: Vec<Instant>,
    /// Arrival of the last event; none if it failed.
    pub done: Option<Instant>,
    /// Tokens as the server counted them.
    pub usage: Usage,
    /// What went wrong.
    pub error: Option<String>,
}

/// An answer that is no stream: its status and text.
struct Refusal {
    status: u16,
    body: String,
}

impl Client {
    /// A client that asks for no model yet.
    pub fn new(access: &Access) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_per_read(Some(access.stall))
            // A compressed stream comes in blocks and not in tokens.
            .accept_encoding("identity")
            // llama.cpp hangs up after 5 s; a connection found dead would cost a request.
            .max_idle_age(Duration::from_secs(3))
            .max_idle_connections_per_host(1000)
            .max_idle_connections(1000)
            .user_agent(concat!("thawline-calibrate/", env!("CARGO_PKG_VERSION")))
            .build();
        let base = access.url.trim_end_matches('/');
        let base = base.strip_suffix("/v1").unwrap_or(base);
        Self {
            agent: config.into(),
            base: base.to_owned(),
            api_key: access.api_key.clone(),
            endpoint_is_fixed: access.endpoint.is_some(),
            model: String::new(),
            dialect: Mutex::new(Dialect {
                endpoint: access.endpoint.unwrap_or(Endpoint::Completions),
                refused: BTreeSet::new(),
            }),
        }
    }

    /// The same client, asking for this model.
    pub fn for_model(mut self, model: String) -> Self {
        self.model = model;
        self
    }

    /// The endpoint in use, as far as is known.
    pub fn endpoint(&self) -> Endpoint {
        self.dialect().endpoint
    }

    /// What the server refused to take, with what is lost by it.
    pub fn refused(&self) -> Vec<(&'static str, &'static str)> {
        let refused = self.dialect().refused;
        EXTRAS.into_iter().filter(|(field, _)| refused.contains(field)).collect()
    }

    /// GET: the status and the body's text, at most 4 MiB of it.
    ///
    /// # Errors
    /// What kept an answer from coming.
    pub fn get(&self, path: &str, limit: Duration) -> Result<(u16, String), String> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(key) = &self.api_key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let answer = request.config().timeout_global(Some(limit)).build().call();
        let answer = answer.map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        Ok((status, read_text(answer)))
    }

    /// Sends a prompt and reads its stream to the end. Fields that the server refuses are
    /// left out from then on.
    pub fn complete(&self, prompt: &str, output_tokens: u32) -> Exchange {
        let mut dialect = self.dialect();
        loop {
            let body = self.body(&dialect, prompt, output_tokens);
            let sent = Instant::now();
            let mut exchange =
                Exchange { sent, events: Vec::new(), done: None, usage: Usage::default(), error: None };
            match self.post(dialect.endpoint.path(), &body) {
                Err(error) => exchange.error = Some(error),
                Ok(Err(refusal)) => {
                    if let Some(next) = self.concede(&dialect, &refusal) {
                        dialect = next;
                        continue;
                    }
                    exchange.error =
                        Some(format!("HTTP {}: {}", refusal.status, answer::message(&refusal.body)));
                }
                Ok(Ok(stream)) => {
                    // Only what was accepted is what the server wants.
                    *self.dialect.lock().expect("no thread panics with the dialect") = dialect;
                    exchange.error = receive(stream, &mut exchange).err();
                    if exchange.error.is_some() {
                        exchange.done = None;
                    }
                }
            }
            return exchange;
        }
    }

    fn dialect(&self) -> Dialect {
        self.dialect.lock().expect("no thread panics with the dialect").clone()
    }

    fn body(&self, dialect: &Dialect, prompt: &str, output_tokens: u32) -> Vec<u8> {
        let mut body = json!({
            "model": self.model,
            "max_tokens": output_tokens,
            "stream": true,
            "temperature": 0,
            "cache_prompt": false,
            "min_tokens": output_tokens,
            "ignore_eos": true,
            "stream_options": { "include_usage": true },
        });
        let fields = body.as_object_mut().expect("it was just written as an object");
        for field in &dialect.refused {
            fields.remove(*field);
        }
        match dialect.endpoint {
            Endpoint::Completions => fields.insert("prompt".to_owned(), prompt.into()),
            Endpoint::Chat => {
                fields.insert("messages".to_owned(), json!([{ "role": "user", "content": prompt }]))
            }
        };
        body.to_string().into_bytes()
    }

    fn post(&self, path: &str, body: &[u8]) -> Result<Result<Response<Body>, Refusal>, String> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        request = request.header("content-type", "application/json").header("accept", "text/event-stream");
        if let Some(key) = &self.api_key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let answer = request.send(body).map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        if status == 200 {
            return Ok(Ok(answer));
        }
        Ok(Err(Refusal { status, body: read_text(answer) }))
    }

    /// The next dialect to try after a refusal; none if nothing is left to give up.
    fn concede(&self, dialect: &Dialect, refusal: &Refusal) -> Option<Dialect> {
        let mut next = dialect.clone();
        match refusal.status {
            404 | 405 | 501 if dialect.endpoint == Endpoint::Completions && !self.endpoint_is_fixed => {
                next.endpoint = Endpoint::Chat;
            }
            400 | 422 => {
                let left = || EXTRAS.iter().map(|(field, _)| *field).filter(|f| !dialect.refused.contains(f));
                let named: Vec<_> = left().filter(|field| refusal.body.contains(field)).collect();
                if named.is_empty() {
                    next.refused.insert(left().next()?);
                } else {
                    next.refused.extend(named);
                }
            }
            _ => return None,
        }
        Some(next)
    }
}

/// The text of a small answer. What cannot be read is left out: the status says enough.
fn read_text(answer: Response<Body>) -> String {
    let mut text = Vec::new();
    let _ = answer.into_body().into_reader().take(4 << 20).read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads a stream to its end, the clock read right after each piece.
fn receive(answer: Response<Body>, exchange: &mut Exchange) -> Result<(), String> {
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !kind.starts_with("text/event-stream") {
        let kind = if kind.is_empty() { "without a type" } else { kind };
        return Err(format!("the answer is no event stream but {kind}"));
    }
    let mut body = answer.into_body().into_reader();
    let (mut parser, mut ending) = (Parser::default(), Ending::default());
    let mut buffer = vec![0; 64 << 10];
    loop {
        let stopped = |exchange: &Exchange, why: &str| {
            Err(format!("the stream stopped after {} events: {why}", exchange.events.len()))
        };
        let read = match body.read(&mut buffer) {
            Ok(read) => read,
            // Some servers close without ceremony once all is said.
            Err(_) if ending.done => return Ok(()),
            Err(error) => return stopped(exchange, &error.to_string()),
        };
        let now = Instant::now();
        if read == 0 {
            if let Some(event) = parser.finish() {
                ending.take(&event, now, exchange)?;
            }
            return if ending.done || ending.finished {
                Ok(())
            } else {
                stopped(exchange, "the server closed it before its end")
            };
        }
        let mut fault = Ok(());
        parser.feed(&buffer[..read], |event| {
            if fault.is_ok() {
                fault = ending.take(&event, now, exchange);
            }
        })?;
        fault?;
    }
}

/// What is known of the stream's end.
#[derive(Default)]
struct Ending {
    finished: bool,
    done: bool,
}

impl Ending {
    fn take(&mut self, event: &Event, now: Instant, exchange: &mut Exchange) -> Result<(), String> {
        let chunk = answer::read(event)?;
        self.done |= chunk.done;
        self.finished |= chunk.finished;
        if chunk.has_text {
            exchange.events.push(now);
        }
        if let Some(usage) = chunk.usage {
            exchange.usage = usage;
        }
        exchange.done = Some(now);
        Ok(())
    }
}

/// The names under `data` of `/v1/models`, and the whole answer.
pub fn models(client: &Client) -> Result<(Vec<String>, Value), String> {
    let (status, body) = client.get("/v1/models", Duration::from_secs(30))?;
    if status != 200 {
        return Err(format!("/v1/models answers HTTP {status}: {}", answer::message(&body)));
    }
    let value: Value = serde_json::from_str(&body).map_err(|_| "/v1/models answers no JSON".to_owned())?;
    let entries = value["data"].as_array().into_iter().flatten();
    let names = entries.filter_map(|entry| entry["id"].as_str()).map(str::to_owned).collect();
    Ok((names, value))
}
