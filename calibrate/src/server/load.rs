//! Sends the requests of a series and hands back each sample as soon as it is complete.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use super::client::{Client, Exchange};
use crate::Result;
use crate::raw::{Load, RequestSample};

/// A request ready to be sent.
#[derive(Clone, Debug)]
pub struct Ready {
    /// When, ns since the series began; only an open loop looks at it.
    pub due_ns: u64,
    /// The prompt.
    pub prompt: String,
    /// Its words.
    pub words: u64,
    /// Output tokens asked for.
    pub output_tokens: u32,
}

/// How samples are made of exchanges.
#[derive(Clone, Copy, Debug)]
pub struct Counting {
    /// The series.
    pub series: u32,
    /// Whether events and words may stand in for tokens that the server does not count.
    pub events: bool,
}

/// Open loops have no more requests than this in flight: a thread each.
const IN_FLIGHT_MAX: usize = 2000;

/// Runs a series. `each` gets every sample with its request, in the order they end, and says
/// whether to go on; what is in flight then still ends, and comes to it too. Who sent a request that failed waits for what
/// is said to it before it sends another.
///
/// # Errors
/// Those of `each`.
pub fn run(
    client: &Client,
    load: Load,
    requests: &[Ready],
    counting: Counting,
    mut each: impl FnMut(&Ready, RequestSample) -> Result<bool>,
) -> Result<()> {
    let stop = AtomicBool::new(false);
    let (sender, receiver) = channel();
    let began = Instant::now();
    let series = Series { client, requests, counting, began, stop: &stop };
    std::thread::scope(|scope| {
        match load {
            Load::First { .. } | Load::Prompts => series.closed(scope, 1, &sender),
            Load::Closed { clients } => series.closed(scope, clients as usize, &sender),
            Load::Poisson { .. } => {
                let sender = sender.clone();
                scope.spawn(move || series.open(&sender));
            }
        }
        // The samples end with the last thread that sends any.
        drop(sender);
        let mut outcome = Ok(());
        for (index, sample, waits) in receiver {
            match each(&requests[index], sample) {
                Ok(true) => {}
                Ok(false) => stop.store(true, Ordering::Relaxed),
                Err(faults) => {
                    stop.store(true, Ordering::Relaxed);
                    outcome = Err(faults);
                }
            }
            drop(waits);
        }
        outcome
    })
}

/// A series under way.
#[derive(Clone, Copy)]
struct Series<'a> {
    client: &'a Client,
    requests: &'a [Ready],
    counting: Counting,
    began: Instant,
    stop: &'a AtomicBool,
}

/// Samples, and of failed ones somebody who waits until it has been looked at.
type Samples = Sender<(usize, RequestSample, Option<Sender<()>>)>;

impl<'a> Series<'a> {
    /// `clients` threads that take the next request when their last one has ended.
    fn closed<'s>(self, scope: &'s std::thread::Scope<'s, 'a>, clients: usize, samples: &Samples)
    where
        'a: 's,
    {
        let next = std::sync::Arc::new(AtomicUsize::new(0));
        for _ in 0..clients {
            let (samples, next) = (samples.clone(), next.clone());
            scope.spawn(move || {
                while !self.stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= self.requests.len() {
                        return;
                    }
                    self.send(index, self.nanoseconds(Instant::now()), &samples);
                }
            });
        }
    }

    /// Sends each request when it is due.
    fn open(self, samples: &Samples) {
        let in_flight = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for (index, request) in self.requests.iter().enumerate() {
                let due = self.began + Duration::from_nanos(request.due_ns);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                while in_flight.load(Ordering::Relaxed) >= IN_FLIGHT_MAX {
                    std::thread::sleep(Duration::from_millis(1));
                }
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                in_flight.fetch_add(1, Ordering::Relaxed);
                let (samples, in_flight) = (samples.clone(), &in_flight);
                scope.spawn(move || {
                    self.send(index, request.due_ns, &samples);
                    in_flight.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
    }

    fn send(&self, index: usize, due_ns: u64, samples: &Samples) {
        let request = &self.requests[index];
        let exchange = self.client.complete(&request.prompt, request.output_tokens);
        let sample = self.sample(index, due_ns, request, exchange);
        let failed = sample.error.is_some();
        let (waits, looked_at) = channel();
        // The receiver outlives all senders; were it gone, nobody would want the sample.
        let _ = samples.send((index, sample, failed.then_some(waits)));
        // Ends as soon as the other end is dropped: at once, unless the request failed.
        let _ = looked_at.recv();
    }

    fn sample(&self, index: usize, due_ns: u64, request: &Ready, exchange: Exchange) -> RequestSample {
        let (mut usage, mut error) = (exchange.usage, exchange.error);
        if self.counting.events {
            usage.prompt_tokens.get_or_insert(request.words);
            usage.output_tokens.get_or_insert(exchange.events.len() as u64);
        } else if error.is_none() && (usage.prompt_tokens.is_none() || usage.output_tokens.is_none()) {
            error = Some(NO_USAGE.to_owned());
        }
        RequestSample {
            series: self.counting.series,
            request: index as u32,
            due_ns,
            sent_ns: self.nanoseconds(exchange.sent),
            done_ns: exchange.done.filter(|_| error.is_none()).map(|done| self.nanoseconds(done)),
            events_ns: exchange.events.iter().map(|event| self.nanoseconds(*event)).collect(),
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            output_tokens: usage.output_tokens,
            error,
        }
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.began).as_nanos() as u64
    }
}

/// The error of an answer without token counts.
pub const NO_USAGE: &str = "the server counts no tokens (`usage` is missing)";
