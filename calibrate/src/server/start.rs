//! Starts of a server: its page cache set, its lines read, healthy or not in time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::client::Client;
use super::process::{GRACE, Line, Server, describe};
use crate::page_cache::Files;
use crate::raw::{Cache, Flag};
use crate::{Fault, Result, fault};

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The command, for the shell.
    pub command: String,
    /// Starts with the weights dropped from the page cache.
    pub cold: u32,
    /// Starts with the weights in the page cache, after the cold ones.
    pub warm: u32,
    /// Files and directories of the weights.
    pub weights: Vec<PathBuf>,
    /// How long a start may take.
    pub limit: Duration,
}

/// A server that has come up.
#[derive(Debug)]
pub struct Started {
    /// The server.
    pub server: Server,
    /// From the process's start until it said it was healthy.
    pub healthy_after: Duration,
    /// What is odd about this start.
    pub flags: Vec<Flag>,
}

impl Launch {
    /// The state of the page cache each start is to find; none where nothing is known of it.
    pub fn caches(&self) -> Vec<Option<Cache>> {
        let cold = std::iter::repeat_n(Some(Cache::Cold), self.cold as usize);
        // Without the weights' files, only a start after another one is surely warm.
        let unknown = self.cold == 0 && self.weights.is_empty();
        let warm = (0..self.warm).map(|run| if unknown && run == 0 { None } else { Some(Cache::Warm) });
        cold.chain(warm).collect()
    }

    /// The files of the weights.
    ///
    /// # Errors
    /// A path that cannot be read, and cold starts without files.
    pub fn files(&self) -> Result<Files> {
        if self.cold > 0 && self.weights.is_empty() {
            let why = "a cold start needs to know which files to drop from the page cache";
            return Err(vec![Fault::error("E0401", why).helped("name the model's files: `--weights DIR`")]);
        }
        Files::find(&self.weights)
            .map_err(|(path, e)| fault("E0401", format!("cannot read the weights {}: {e}", path.display())))
    }

    /// Starts the server and waits until it is healthy.
    ///
    /// # Errors
    /// It ended, was not healthy in time, or something else answers at the address.
    pub fn start(&self, client: &Client, files: &Files, cache: Option<Cache>) -> Result<Started> {
        if let Ok((status, _)) = client.get("/health", PROBE_LIMIT) {
            let why = format!("something answers at the address already (HTTP {status} at /health)");
            let help = "end it, give `--launch` and `--url` another port, or leave out `--launch`";
            return Err(vec![Fault::error("E0702", why).helped(help)]);
        }
        let flags = prepare(files, cache);
        let mut server = Server::start(&self.command, GRACE)
            .map_err(|e| fault("E0702", format!("cannot start the server: {e}")))?;
        match wait(&mut server, client, self.limit) {
            Ok(()) => {
                let healthy_after = server.began().elapsed();
                Ok(Started { server, healthy_after, flags })
            }
            Err(why) => Err(vec![with_last_lines(Fault::error("E0702", why), &server.stop())]),
        }
    }
}

/// Brings the page cache into the state wanted; where that failed, a flag with the share found.
fn prepare(files: &Files, cache: Option<Cache>) -> Vec<Flag> {
    if files.paths.is_empty() {
        return Vec::new();
    }
    let done = match cache {
        Some(Cache::Cold) => files.drop_cached(),
        Some(Cache::Warm) => files.read_all(),
        None => Ok(()),
    };
    let share = files.cached_share();
    let flag = |word: &str, message: String| vec![Flag { flag: word.to_owned(), message }];
    match (cache, &done, &share) {
        (_, Err(e), _) | (_, Ok(()), Err(e)) => {
            flag("pageCacheUnknown", format!("the page cache of the weights could not be set or read: {e}"))
        }
        (Some(Cache::Cold), _, Ok(share)) if *share > 0.05 => flag(
            "notCold",
            format!("{:.0} % of the weights stayed in the page cache of a cold start", share * 100.0),
        ),
        (Some(Cache::Warm), _, Ok(share)) if *share < 0.95 => flag(
            "notWarm",
            format!("only {:.0} % of the weights were in the page cache of a warm start", share * 100.0),
        ),
        _ => Vec::new(),
    }
}

/// A probe that takes longer tells nothing.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Waits until the server is healthy; else why it is not.
fn wait(server: &mut Server, client: &Client, limit: Duration) -> Result<(), String> {
    loop {
        // Healthy first: a command that puts its server into the background ends early.
        if is_healthy(client) {
            return Ok(());
        }
        if let Some(status) = server.ended() {
            return Err(format!("the server died while it started: {}", describe(status)));
        }
        let elapsed = server.began().elapsed();
        if elapsed > limit {
            return Err(format!("the server was not healthy within {:.0} s", limit.as_secs_f64()));
        }
        // A start of minutes needs no look every 10 ms.
        std::thread::sleep((elapsed / 500).clamp(Duration::from_millis(5), Duration::from_millis(100)));
    }
}

/// Whether `/health` says so, or `/v1/models` where there is no `/health`.
pub fn is_healthy(client: &Client) -> bool {
    match client.get("/health", PROBE_LIMIT) {
        Ok((200, _)) => true,
        Ok((404 | 405 | 501, _)) => {
            client.get("/v1/models", PROBE_LIMIT).is_ok_and(|(status, _)| status == 200)
        }
        _ => false,
    }
}

/// Last lines shown of a server that did not do.
const LINES_SHOWN: usize = 20;

/// The fault, with the last lines of the server's log.
pub fn with_last_lines(fault: Fault, lines: &[Line]) -> Fault {
    if lines.is_empty() {
        return fault.helped("the server wrote nothing");
    }
    let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    let text: String = last.iter().map(|line| format!("\n  {}", line.text)).collect();
    fault.helped(format!("the last lines of its log:{text}"))
}

/// How a server that was healthy has ended meanwhile, if it has: added to each fault.
pub fn explain(mut faults: Vec<Fault>, server: Option<&mut Server>) -> Vec<Fault> {
    let Some(server) = server else { return faults };
    // Its requests fail a moment before it can be waited for.
    let deadline = Instant::now() + Duration::from_millis(300);
    while server.ended().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    if let Some(status) = server.ended() {
        let explained = faults.pop().map(|last| {
            let last = last.helped(format!("the server is gone: {}", describe(status)));
            with_last_lines(last, &server.lines())
        });
        faults.extend(explained);
    }
    faults
}
