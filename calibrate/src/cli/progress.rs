//! Shows what is being measured: a moving line on a terminal, else a line for each phase. And it
//! watches: a device that hangs cannot be called off, but the program can end and say so.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::console;
use crate::Fault;
use crate::gpu::Progress;

/// Phases such as writing weights have no points to show; they may take this much longer.
const PHASE_FACTOR: u32 = 3;

/// Progress of a measurement.
pub(super) struct Terminal {
    bar: ProgressBar,
    limit: Duration,
    now: Arc<Mutex<Now>>,
}

struct Now {
    what: String,
    until: Instant,
    ended: bool,
}

impl Terminal {
    /// `limit` is the longest time of one point; the raw file is named when it is exceeded.
    pub(super) fn new(limit: Duration, raw: &Path) -> Self {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {prefix} {pos}/{len} {wide_msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(200));
        let now =
            Now { what: "start".to_owned(), until: Instant::now() + PHASE_FACTOR * limit, ended: false };
        let terminal = Self { bar, limit, now: Arc::new(Mutex::new(now)) };
        let (now, raw) = (Arc::clone(&terminal.now), raw.display().to_string());
        std::thread::spawn(move || watch(&now, &raw));
        terminal
    }

    /// Ends the line and the watch.
    pub(super) fn finish(&self) {
        self.with_now(|now| now.ended = true);
        self.bar.finish_and_clear();
    }

    fn begin(&self, what: &str, limit: Duration) {
        self.with_now(|now| {
            what.clone_into(&mut now.what);
            now.until = Instant::now() + limit;
        });
    }

    fn with_now(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Progress for Terminal {
    fn phase(&self, name: &str, points: usize) {
        self.begin(name, self.limit * PHASE_FACTOR);
        if self.bar.is_hidden() {
            let points = if points == 0 { String::new() } else { format!(", {points} to do") };
            console::note(&format!("{name}{points}\n"));
        }
        self.bar.set_prefix(name.to_owned());
        self.bar.set_message("");
        self.bar.set_position(0);
        self.bar.set_length(points as u64);
    }

    fn point(&self, what: &str) {
        self.begin(what, self.limit);
        self.bar.set_message(what.to_owned());
        self.bar.inc(1);
    }

    fn note(&self, text: &str) {
        self.bar.suspend(|| console::note(&format!("{text}\n")));
    }
}

/// Ends the program with 2 if nothing moves for too long.
fn watch(now: &Mutex<Now>, raw: &str) {
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.ended {
            return;
        }
        if Instant::now() > now.until {
            let text = format!("a probe did not end in its time: {}", now.what);
            let help = format!("what was measured is in {raw}; the same command goes on with it");
            console::report(&[Fault::error("E0709", text).helped(help)]);
            std::process::exit(2);
        }
    }
}
