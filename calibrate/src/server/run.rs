//! A whole measurement: starts, series, flags, each on disk as soon as it is known.

use std::time::Instant;

use thawline::profile::schema::EngineVersion;

use super::checks::{self, describe};
use super::client::Client;
use super::identity::{self, Limits};
use super::job::{Job, Summary, Watch};
use super::load::{self, Counting, Ready};
use super::past::{next_series, series_of, starts_in};
use super::plan::{Part, Plan, Planned};
use super::process::{Line, Server};
use super::prompt::{Prompts, TokenCount};
use super::stages::{self, Told};
use super::start::{self, Launch, Started};
use crate::raw::{
    Cache, Done, Flag, Load, MemorySample, RawFile, RawWriter, Record, RequestSample, Series, read,
};
use crate::{Fault, Result, fault};

/// Measures a server. The second value holds what launched servers wrote, a log for each start.
///
/// # Errors
/// No server, a server that dies, too many failed requests, a raw file of another measurement.
/// What was measured until then is in the raw file, and the same job goes on from there.
pub fn run(job: &Job, watch: &mut dyn Watch) -> (Result<Summary>, Vec<Vec<Line>>) {
    let mut run = Run {
        job,
        watch,
        client: Client::new(&job.access),
        plan: job.plan.clone(),
        prompts: Prompts::new(job.salt),
        tokens: TokenCount::default(),
        began: Instant::now(),
        server: None,
        raw: None,
        next_series: 0,
        summary: Summary::default(),
        logs: Vec::new(),
    };
    let outcome = run.measure();
    let outcome = outcome.map_err(|faults| start::explain(faults, run.server.as_mut()));
    run.stop();
    (outcome.map(|()| run.summary), run.logs)
}

struct Run<'a> {
    job: &'a Job,
    watch: &'a mut dyn Watch,
    client: Client,
    plan: Plan,
    prompts: Prompts,
    tokens: TokenCount,
    began: Instant,
    server: Option<Server>,
    raw: Option<RawWriter>,
    next_series: u32,
    summary: Summary,
    logs: Vec<Vec<Line>>,
}

impl Run<'_> {
    fn measure(&mut self) -> Result<()> {
        let past = if self.job.raw.exists() { Some(read(&self.job.raw)?) } else { None };
        if past.as_ref().is_some_and(RawFile::is_complete) {
            let why = format!("{}: there is a complete measurement already", self.job.raw.display());
            return Err(vec![Fault::error("E0706", why).helped("give another --raw, or remove the file")]);
        }
        if let Some(launch) = &self.job.launch {
            self.starts(launch, past.as_ref())?;
        } else if start::is_healthy(&self.client) {
            self.open(None, &Told::default())?;
        } else {
            let why = format!("no healthy server at {}", self.job.access.url);
            let help = "start it first, or have it started: `--launch \"COMMAND\"`";
            return Err(vec![Fault::error("E0702", why).helped(help)]);
        }
        self.learn()?;
        for part in self.plan.parts.clone() {
            if self.out_of_time() {
                break;
            }
            match part {
                Part::Prompts => drop(self.series(Load::Prompts)?),
                Part::Closed => self.closed()?,
                Part::Poisson => self.poisson()?,
            }
        }
        if self.out_of_time() {
            let message = "the time budget ran out before the end of the plan".to_owned();
            self.flag(Flag { flag: "timeBudget".to_owned(), message })?;
        }
        self.push(&Record::Done(Done { seconds: self.began.elapsed().as_secs_f64() }))
    }

    fn out_of_time(&self) -> bool {
        self.job.time_budget.is_some_and(|budget| self.began.elapsed() > budget)
    }

    /// All starts that are still to be measured; the last server stays up.
    fn starts(&mut self, launch: &Launch, past: Option<&RawFile>) -> Result<()> {
        let files = launch.files()?;
        let caches = launch.caches();
        let measured = past.map_or(0, |past| starts_in(&past.records));
        let pending = caches.get(measured..).unwrap_or_default();
        if pending.is_empty() {
            // All were measured before a kill: this one is only to be talked to.
            self.watch.begin("start of the server", 0);
            let Started { server, healthy_after, .. } = launch.start(&self.client, &files, None)?;
            let told = stages::read(0, None, healthy_after, files.bytes, &server.lines());
            self.server = Some(server);
            return self.open(Some(files.bytes), &told);
        }
        for (run, cache) in (measured..).zip(pending) {
            self.stop();
            let state = cache.map_or("", |cache| match cache {
                Cache::Cold => ", cold page cache",
                Cache::Warm => ", warm page cache",
            });
            self.watch.begin(&format!("start {run} of the server{state}"), 0);
            let started = launch.start(&self.client, &files, *cache)?;
            let Started { server, healthy_after, flags } = started;
            let told = stages::read(run as u32, *cache, healthy_after, files.bytes, &server.lines());
            self.server = Some(server);
            self.watch.note(&format!("healthy after {:.2} s", healthy_after.as_secs_f64()));
            if self.raw.is_none() {
                self.open(Some(files.bytes), &told)?;
            }
            let notes = told.notes.into_iter().map(|message| Flag { flag: "startUpLog".to_owned(), message });
            for flag in flags.into_iter().chain(notes) {
                self.flag(flag)?;
            }
            for stage in told.stages {
                self.push(&Record::Stage(stage))?;
            }
            self.series(Load::First { run: run as u32 })?;
        }
        Ok(())
    }

    /// Ends the server, if this run started one.
    fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            self.logs.push(server.stop());
        }
    }

    /// Asks the server who it is and opens the raw file.
    fn open(&mut self, weight_files_bytes: Option<u64>, told: &Told) -> Result<()> {
        let mut found = identity::ask(&self.client).map_err(|why| fault("E0702", why))?;
        found.engine = best(found.engine, told.engine.clone());
        let served = self.job.served_model.clone().or_else(|| found.model.clone()).unwrap_or_default();
        self.client = Client::new(&self.job.access).for_model(served);
        let identity = &self.job.identity;
        let command = self.job.launch.as_ref().map(|launch| launch.command.as_str()).unwrap_or_default();
        let limits = identity.limits.or(Limits::of_command(command)).or(found.limits).or(told.limits);
        let header = self.job.header(&found, limits);
        let raw = RawWriter::start_or_resume(&self.job.raw, &header)?;
        self.next_series = next_series(raw.done());
        let is_new = raw.done().is_empty();
        self.raw = Some(raw);
        if is_new {
            let files = weight_files_bytes.filter(|bytes| *bytes > 0);
            let memory = MemorySample {
                weights_bytes: identity.weights_bytes.or(found.weights_bytes).or(files),
                kv_bytes_per_token: identity.kv_bytes_per_token,
                kv_cache_tokens: limits.kv_cache_tokens,
                source: "flags, or what the server says of itself".to_owned(),
                ..MemorySample::default()
            };
            self.push(&Record::Memory(memory))?;
            if let Some(memory) = &told.memory {
                self.push(&Record::Memory(memory.clone()))?;
            }
        }
        for message in self.plan.keep_to(limits.context_tokens) {
            self.watch.note(&message);
            if is_new {
                self.flag(Flag { flag: "contextTooShort".to_owned(), message })?;
            }
        }
        Ok(())
    }

    /// Learns how many tokens a word makes, what the server takes, and whether it counts tokens.
    fn learn(&mut self) -> Result<()> {
        self.watch.begin("how the server counts tokens", 0);
        for words in [10, 40, 160] {
            let exchange = self.client.complete(&self.prompts.write(words), 4);
            let counts = exchange.usage.prompt_tokens.zip(exchange.usage.output_tokens);
            let why = match (exchange.error, counts) {
                (Some(error), _) => error,
                (None, None) if !self.job.count_events => load::NO_USAGE.to_owned(),
                (None, counts) => {
                    self.tokens.learn(words, counts.map_or(words, |(prompt, _)| prompt));
                    continue;
                }
            };
            let mut found = Fault::error("E0703", format!("a first request failed: {why}"));
            if why == load::NO_USAGE {
                found = found
                    .helped("`--count-events` takes each event with text for a token, and flags the profile");
            }
            return Err(vec![found]);
        }
        if self.job.count_events {
            let message = "tokens were counted by events and words where the server gave no usage".to_owned();
            self.flag(Flag { flag: "countedEvents".to_owned(), message })?;
        }
        for (field, loss) in self.client.refused() {
            let message = format!("the server refuses the field `{field}`: {loss}");
            self.flag(Flag { flag: "fieldRefused".to_owned(), message })?;
        }
        Ok(())
    }

    fn closed(&mut self) -> Result<()> {
        let mut done: Vec<(u32, f64)> = Vec::new();
        while let Some(clients) = self.plan.next_clients(&done) {
            if self.out_of_time() {
                return Ok(());
            }
            let samples = self.series(Load::Closed { clients })?;
            let (requests, tokens) = checks::throughput(&samples).unwrap_or_default();
            self.watch.note(&format!("{tokens:.1} tokens/s, {requests:.3} requests/s"));
            done.push((clients, tokens));
        }
        Ok(())
    }

    fn poisson(&mut self) -> Result<()> {
        let rates = match (self.plan.rates.as_slice(), self.busy_requests_per_second()) {
            ([], Some(best)) => {
                // Rounded, so that the rate printed is the rate sent.
                let rate = best * self.plan.rate_share;
                let digit = 10_f64.powf(2.0 - rate.log10().floor());
                vec![(rate * digit).round() / digit]
            }
            ([], None) => {
                let why =
                    "a Poisson series needs a rate, and no series with several clients has measured one";
                return Err(vec![
                    Fault::error("E0707", why).helped("give `--rate`, or do not leave out `closed`"),
                ]);
            }
            (rates, _) => rates.to_vec(),
        };
        for per_second in rates {
            if self.out_of_time() {
                return Ok(());
            }
            self.series(Load::Poisson { per_second })?;
        }
        Ok(())
    }

    /// Throughput of the closed series with the most clients in the raw file, requests a second:
    /// what the server does when it is busy. A smaller batch may do more, and no queue forms there.
    fn busy_requests_per_second(&self) -> Option<f64> {
        let file = read(&self.job.raw).ok()?;
        let closed = series_of(&file.records).into_iter().filter_map(|(series, samples)| match series.load {
            Load::Closed { clients } => Some((clients, checks::throughput(&samples)?.0)),
            _ => None,
        });
        closed.max_by_key(|(clients, _)| *clients).map(|(_, rate)| rate)
    }

    /// Runs a series, unless the raw file has all of it; its samples.
    fn series(&mut self, load: Load) -> Result<Vec<RequestSample>> {
        let planned = self.plan.requests(load);
        if let Some(samples) = self.earlier(load, planned.len()) {
            return Ok(samples);
        }
        let series = self.next_series;
        self.next_series += 1;
        let requests: Vec<Ready> = planned.iter().map(|planned| self.ready(load, planned)).collect();
        self.watch.begin(&describe(load), requests.len());
        self.push(&Record::Series(Series { series, load }))?;
        let deadline = self.job.time_budget.map(|budget| self.began + budget);
        let (mut samples, mut failure) = (Vec::new(), None);
        let Self { client, raw, watch, tokens, summary, .. } = self;
        let raw = raw.as_mut().expect("the raw file is opened before the first series");
        let counting = Counting { series, events: self.job.count_events };
        load::run(client, load, &requests, counting, |request, sample| {
            raw.push(&Record::Request(sample.clone()))?;
            watch.step();
            if let (Some(found), None) = (sample.prompt_tokens, &sample.error) {
                tokens.learn(request.words, found);
            }
            samples.push(sample);
            summary.requests += 1;
            failure = checks::too_many_failures(load, &samples, requests.len());
            Ok(failure.is_none() && deadline.is_none_or(|deadline| Instant::now() < deadline))
        })?;
        if let Some(failure) = failure {
            return Err(vec![failure.helped(format!(
                "all samples so far are in {}; the same command goes on from there",
                self.job.raw.display()
            ))]);
        }
        for flag in checks::flags(load, &requests, &samples) {
            self.flag(flag)?;
        }
        Ok(samples)
    }

    /// The samples of a series that an earlier run has finished.
    fn earlier(&self, load: Load, planned: usize) -> Option<Vec<RequestSample>> {
        let done = series_of(self.raw.as_ref()?.done());
        let all = done.into_iter().filter(|(series, samples)| {
            series.load == load
                && samples.len() >= planned
                && checks::too_many_failures(load, samples, planned).is_none()
        });
        all.map(|(_, samples)| samples).next_back()
    }

    fn ready(&mut self, load: Load, planned: &Planned) -> Ready {
        let words = match load {
            // All starts get prompts of the same words, before anything could be learned too.
            Load::First { .. } => TokenCount::default().words_for(u64::from(planned.prompt_tokens)),
            _ => self.tokens.words_for(u64::from(planned.prompt_tokens)),
        };
        let prompt = self.prompts.write(words);
        Ready { due_ns: planned.due_ns, prompt, words, output_tokens: planned.output_tokens }
    }

    fn push(&mut self, record: &Record) -> Result<()> {
        self.raw.as_mut().expect("the raw file is opened before anything is measured").push(record)
    }

    fn flag(&mut self, flag: Flag) -> Result<()> {
        self.watch.note(&flag.message);
        self.push(&Record::Flag(flag.clone()))?;
        self.summary.flags.push(flag);
        Ok(())
    }
}

/// The engine as the server names it, or as its log does if the server tells no version.
fn best(asked: Option<EngineVersion>, log: Option<EngineVersion>) -> Option<EngineVersion> {
    let is_known = |engine: &EngineVersion| engine.version != "unknown";
    asked.clone().filter(is_known).or_else(|| log.clone().filter(is_known)).or(asked).or(log)
}
