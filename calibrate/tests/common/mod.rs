//! A client of a simulated engine: sends requests as `server` does and keeps what `server` would
//! have seen. The engine is the simulator's own, so a fit of these samples closes the loop.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use thawline::kernel::{SimDuration, SimTime};
use thawline::profile::Profile;
use thawline::sim::engine::{BatchParams, Continuous, DecodeRun, Engine, Job, Sink};
use thawline_calibrate::raw::{Header, Kind, Load, RAW_VERSION, RawFile, Record, RequestSample, Series};

/// A header that lacks nothing.
pub fn header(kind: Kind) -> Header {
    Header {
        raw_version: RAW_VERSION,
        tool_version: "0.1.0".to_owned(),
        kind,
        created: "2026-11-22T23:30:00Z".parse().unwrap(),
        name: "a-test".to_owned(),
        source: "a test".to_owned(),
        model: Some("a model".to_owned()),
        engine: None,
        host: None,
        gpu: Some(thawline::profile::schema::Gpu {
            name: "a GPU".to_owned(),
            count: 1,
            memory: "80G".parse().unwrap(),
        }),
        driver: None,
        settings: serde_json::Map::new(),
    }
}

/// One request to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// When, ns; in a closed series that of the first request of each client.
    pub due_ns: u64,
    pub prompt: u32,
    pub output: u32,
}

/// An engine with one client.
pub struct Server {
    params: Arc<BatchParams>,
    per_request: SimDuration,
}

/// What has arrived.
#[derive(Default)]
struct Seen {
    /// When the engine's turn is, which is when the last step of a run ended.
    now_ns: u64,
    events: BTreeMap<u32, Vec<u64>>,
    decoding: Vec<u32>,
    finished: Vec<u32>,
}

impl Sink for Seen {
    fn scheduled(&mut self, _: u32, _: SimTime) {}
    fn first_token(&mut self, slot: u32, at: SimTime) {
        self.events.entry(slot).or_default().push(at.as_nanos());
        self.decoding.push(slot);
    }
    fn finished(&mut self, slot: u32, _: SimTime, _: u64) {
        self.decoding.retain(|s| *s != slot);
        self.finished.push(slot);
    }
    fn preempted(&mut self, _: u32, _: SimTime) {
        panic!("the cache holds all");
    }
    fn decoded(&mut self, run: DecodeRun) {
        assert_eq!(run.batch as usize, self.decoding.len());
        // From the end backwards: the last step of the run ends now.
        let mut ends = Vec::new();
        let mut end_fs = u128::from(self.now_ns) * 1_000_000;
        for step in (0..run.steps).rev() {
            ends.push((end_fs / 1_000_000) as u64);
            end_fs -= (i128::from(run.first_fs) + i128::from(run.rise_fs) * i128::from(step)) as u128;
        }
        for slot in &self.decoding {
            self.events.entry(*slot).or_default().extend(ends.iter().rev());
        }
    }
    fn gap(&mut self, _: u32, _: SimDuration) {}
    fn prefilled(&mut self, _: u64) {}
    fn stepped(&mut self, _: u64, _: u64) {}
    fn stalled(&mut self, _: SimDuration) {}
}

impl Server {
    /// A warm replica of a profile.
    pub fn new(profile: &Profile, max_num_seqs: u32, max_num_batched_tokens: u32) -> Self {
        let params = BatchParams {
            cost: Arc::new(profile.step_cost(max_num_seqs).unwrap()),
            max_num_batched_tokens,
            max_num_seqs,
            kv_blocks: 1 << 20,
            max_model_len: 1 << 20,
            penalties_fs: Arc::from([]),
            track_gaps: false,
        };
        Self { params: Arc::new(params), per_request: profile.per_request() }
    }

    /// Sends the requests of a series and returns what the client saw of each.
    pub fn serve(&self, series: u32, load: Load, planned: &[Planned]) -> Vec<RequestSample> {
        let clients = match load {
            Load::First { .. } | Load::Prompts => 1,
            Load::Closed { clients } => clients as usize,
            Load::Poisson { .. } => planned.len(),
        };
        let open = matches!(load, Load::Poisson { .. });
        let mut engine = Engine::Continuous(Box::new(Continuous::new(self.params.clone())));
        let mut seen = Seen::default();
        let mut sent: BTreeMap<u32, u64> = BTreeMap::new();
        // (time of submission, slot), earliest last.
        let mut coming: Vec<(u64, u32)> = Vec::new();
        let mut next = 0_usize;
        let mut send = |at: u64, coming: &mut Vec<(u64, u32)>, sent: &mut BTreeMap<u32, u64>| {
            let Some(request) = planned.get(next) else { return };
            let at = if open || next < clients { request.due_ns } else { at };
            sent.insert(next as u32, at);
            coming.push((at + self.per_request.as_nanos(), next as u32));
            coming.sort_unstable_by(|a, b| b.cmp(a));
            next += 1;
        };
        for _ in 0..clients {
            send(0, &mut coming, &mut sent);
        }
        loop {
            let turn = engine.next_turn().map(SimTime::as_nanos);
            match (coming.last().copied(), turn) {
                (Some((at, slot)), turn) if turn.is_none_or(|t| at < t) => {
                    coming.pop();
                    let request = planned[slot as usize];
                    let job = Job {
                        slot,
                        prompt_tokens: request.prompt,
                        output_tokens: request.output,
                        service: SimDuration::ZERO,
                    };
                    engine.submit(SimTime::from_nanos(at), job).unwrap();
                }
                (_, Some(at)) => {
                    seen.now_ns = at;
                    engine.turn(SimTime::from_nanos(at), &mut seen);
                    for _ in seen.finished.drain(..) {
                        if !open {
                            send(at, &mut coming, &mut sent);
                        }
                    }
                }
                _ => break,
            }
        }
        let sample = |(slot, events): (u32, Vec<u64>)| RequestSample {
            series,
            request: slot,
            due_ns: sent[&slot],
            sent_ns: sent[&slot],
            done_ns: events.last().copied(),
            prompt_tokens: Some(u64::from(planned[slot as usize].prompt)),
            cached_tokens: Some(0),
            output_tokens: Some(events.len() as u64),
            error: None,
            events_ns: events,
        };
        std::mem::take(&mut seen.events).into_iter().map(sample).collect()
    }
}

/// Numbers in [0, 1) that are the same on every run.
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal, mean 0, deviation 1.
    pub fn noise(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }

    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + (self.next() * f64::from(high - low + 1)) as u32
    }
}

/// A run like `server`'s: prompts alone, clients held at several numbers, and random arrivals.
pub fn calibration_run(server: &Server, clients: &[u32], seed: u64) -> RawFile {
    let mut draws = Draws::new(seed);
    let mut records = Vec::new();
    let mut add = |series: u32, load: Load, planned: &[Planned]| {
        records.push(Record::Series(Series { series, load }));
        records.extend(server.serve(series, load, planned).into_iter().map(Record::Request));
    };
    let prompts = [16, 32, 64, 128, 256, 512, 1024, 2048];
    let alone = |prompt: &u32| Planned { due_ns: 0, prompt: *prompt, output: 16 };
    add(0, Load::Prompts, &prompts.iter().chain(&prompts).map(alone).collect::<Vec<_>>());
    for (i, clients) in clients.iter().enumerate() {
        let planned: Vec<Planned> = (0..6 * clients)
            .map(|_| Planned { due_ns: 0, prompt: draws.between(64, 1024), output: draws.between(32, 192) })
            .collect();
        add(1 + i as u32, Load::Closed { clients: *clients }, &planned);
    }
    RawFile { header: header(Kind::Server), records, torn_bytes: 0 }
}

/// Requests at random times.
pub fn poisson(per_second: f64, seconds: f64, seed: u64) -> Vec<Planned> {
    let mut draws = Draws::new(seed);
    let (mut at, mut planned) = (0.0, Vec::new());
    loop {
        at -= (1.0 - draws.next()).ln() / per_second;
        if at > seconds {
            return planned;
        }
        planned.push(Planned {
            due_ns: (at * 1e9) as u64,
            prompt: draws.between(32, 1500),
            output: draws.between(16, 256),
        });
    }
}
