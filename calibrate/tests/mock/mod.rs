//! A small OpenAI-compatible server for tests: real HTTP/1.1 with chunks and server-sent events
//! on a real socket. It simulates an engine's timing roughly, and misbehaves on demand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// How the server behaves. Fields are orthogonal: a test sets what it is about.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Paths that answer 404.
    pub missing: Vec<&'static str>,
    /// Fields refused with a 400 that names them, or does not.
    pub refused: Vec<&'static str>,
    /// Whether such a refusal names the field.
    pub names_refused: bool,
    /// Requests of this number (from 0, counted over the server's life) and later get `fault`.
    pub fault_from: usize,
    /// How they fail.
    pub fault: Fault,
    /// Whether the stream ends with token counts.
    pub usage: bool,
    /// Tokens from the prefix cache that it reports.
    pub cached_tokens: u64,
    /// Tokens in one event.
    pub tokens_per_event: usize,
    /// Time of one token.
    pub token: Duration,
    /// Answers end after so many tokens, whatever was asked for.
    pub output_tokens_max: u64,
    /// Recorded answers to GET, beside `/health` and `/v1/models`.
    pub pages: Vec<(&'static str, Value)>,
    /// Connections are dropped at once while this file is missing, as if nobody listened.
    pub gate: Option<PathBuf>,
    /// A recorded stream that every completion gets, sent in pieces of this many bytes.
    pub transcript: Option<(Vec<u8>, usize)>,
}

/// Ways to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    None,
    /// HTTP 500 with a message.
    Status,
    /// The connection closes in the middle of the stream.
    Stop,
    /// Something that is no event stream.
    NoStream,
    /// An event that is not JSON.
    Garbage,
    /// An event that reports an error.
    ErrorEvent,
    /// Nothing more comes after the first token.
    Hang,
    /// The headers never end.
    SlowHeaders,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            missing: Vec::new(),
            refused: Vec::new(),
            names_refused: true,
            fault_from: 0,
            fault: Fault::None,
            usage: true,
            cached_tokens: 0,
            tokens_per_event: 1,
            token: Duration::from_micros(300),
            output_tokens_max: u64::MAX,
            pages: Vec::new(),
            gate: None,
            transcript: None,
        }
    }
}

/// A running mock server; its thread ends with the test's process.
pub struct Mock {
    /// Its address.
    pub url: String,
    /// The bodies of all completion requests so far.
    pub asked: Arc<Mutex<Vec<(String, Value)>>>,
}

struct State {
    behaviour: Behaviour,
    number: AtomicUsize,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Mock {
    pub fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let state = Arc::new(State { behaviour, number: AtomicUsize::new(0), asked: asked.clone() });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if state.is_closed() {
                    continue;
                }
                let state = state.clone();
                // A client that hangs up is no fault of the server.
                std::thread::spawn(move || drop(state.serve(stream)));
            }
        });
        Self { url, asked }
    }
}

impl State {
    fn is_closed(&self) -> bool {
        self.behaviour.gate.as_ref().is_some_and(|gate| !gate.exists())
    }

    /// Serves a connection until the client closes it or the behaviour does.
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut out = stream;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut words = line.split_whitespace().map(str::to_owned);
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let mut length = 0;
            loop {
                let mut header = String::new();
                reader.read_line(&mut header)?;
                let header = header.trim().to_ascii_lowercase();
                if header.is_empty() {
                    break;
                }
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            if self.is_closed() {
                return Ok(());
            }
            if method == "GET" {
                self.page(&mut out, &path)?;
            } else if !self.complete(&mut out, &path, &body)? {
                return Ok(());
            }
        }
    }

    fn page(&self, out: &mut TcpStream, path: &str) -> std::io::Result<()> {
        let page =
            self.behaviour.pages.iter().find(|(page, _)| *page == path).map(|(_, value)| value.clone());
        match (path, page) {
            _ if self.behaviour.missing.contains(&path) => plain(out, 404, "no such page"),
            (_, Some(value)) => plain(out, 200, &value.to_string()),
            ("/health", None) => plain(out, 200, "{}"),
            ("/v1/models", None) => {
                plain(out, 200, &json!({"data": [{"id": "/models/mock-1b", "owned_by": "mock"}]}).to_string())
            }
            _ => plain(out, 404, "no such page"),
        }
    }

    /// Answers a completion; whether the connection goes on.
    fn complete(&self, out: &mut TcpStream, path: &str, body: &[u8]) -> std::io::Result<bool> {
        let asked: Value = serde_json::from_slice(body).unwrap();
        self.asked.lock().unwrap().push((path.to_owned(), asked.clone()));
        let behaviour = &self.behaviour;
        if behaviour.missing.contains(&path) {
            plain(out, 404, r#"{"error":{"message":"no such endpoint"}}"#)?;
            return Ok(true);
        }
        if let Some(field) = behaviour.refused.iter().find(|field| asked.get(**field).is_some()) {
            let message =
                if behaviour.names_refused { format!("unknown field `{field}`") } else { "bad".to_owned() };
            plain(out, 400, &json!({"error": {"message": message}}).to_string())?;
            return Ok(true);
        }
        let number = self.number.fetch_add(1, Ordering::SeqCst);
        let fault = if number >= behaviour.fault_from { behaviour.fault } else { Fault::None };
        match fault {
            Fault::Status => {
                plain(out, 500, r#"{"error":{"message":"out of memory"}}"#)?;
                return Ok(true);
            }
            Fault::NoStream => {
                plain(out, 200, "{}")?;
                return Ok(true);
            }
            Fault::SlowHeaders => {
                out.write_all(b"HTTP/1.1 200 OK\r\nServer: ")?;
                std::thread::sleep(Duration::from_mins(1));
                return Ok(false);
            }
            _ => {}
        }
        out.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        if let Some((transcript, piece)) = &behaviour.transcript {
            for piece in transcript.chunks(*piece) {
                chunk(out, piece)?;
            }
            out.write_all(b"0\r\n\r\n")?;
            return Ok(true);
        }
        self.stream(out, path, &asked, fault)
    }

    fn stream(&self, out: &mut TcpStream, path: &str, asked: &Value, fault: Fault) -> std::io::Result<bool> {
        let behaviour = &self.behaviour;
        let is_chat = path.ends_with("/chat/completions");
        let prompt = if is_chat { &asked["messages"][0]["content"] } else { &asked["prompt"] };
        // Two tokens a word, and three for the template of a chat.
        let prompt_tokens =
            2 * prompt.as_str().unwrap().split(' ').count() as u64 + if is_chat { 3 } else { 0 };
        std::thread::sleep(Duration::from_micros(20) * prompt_tokens as u32);
        let tokens = asked["max_tokens"].as_u64().unwrap().min(behaviour.output_tokens_max);
        let mut left = tokens;
        while left > 0 {
            std::thread::sleep(behaviour.token);
            let now = left.min(behaviour.tokens_per_event as u64);
            left -= now;
            let text = "x ".repeat(now as usize);
            let choice = if is_chat { json!({"delta": {"content": text}}) } else { json!({"text": text}) };
            event(out, &json!({"choices": [choice]}).to_string())?;
            match fault {
                Fault::Stop => return Ok(false),
                Fault::Garbage => event(out, "<html>")?,
                Fault::ErrorEvent => event(out, r#"{"error":{"message":"the engine has died"}}"#)?,
                Fault::Hang => {
                    std::thread::sleep(Duration::from_mins(1));
                    return Ok(false);
                }
                _ => {}
            }
        }
        event(out, &json!({"choices": [{"text": "", "delta": {}, "finish_reason": "length"}]}).to_string())?;
        if behaviour.usage && asked["stream_options"]["include_usage"] == true {
            let usage = json!({
                "prompt_tokens": prompt_tokens,
                "completion_tokens": tokens,
                "prompt_tokens_details": {"cached_tokens": behaviour.cached_tokens},
            });
            event(out, &json!({"choices": [], "usage": usage}).to_string())?;
        }
        event(out, "[DONE]")?;
        out.write_all(b"0\r\n\r\n")?;
        Ok(true)
    }
}

fn event(out: &mut TcpStream, data: &str) -> std::io::Result<()> {
    chunk(out, format!("data: {data}\n\n").as_bytes())
}

fn chunk(out: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    out.write_all(&framed)
}

fn plain(out: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    out.write_all(format!("{head}{body}").as_bytes())
}
