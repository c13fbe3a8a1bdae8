//! Traffic reconstructed from what Prometheus kept of it.
//!
//! Reads plain `query_range` answers. A sample at t is what `rate(..[step])` says of the step
//! that ends at t: within each step arrivals are drawn as a Poisson process of that rate, and
//! lengths from that step's histogram or mean. It is a likely traffic, not the one that was:
//! it is drawn anew in each replication, and labelled a reconstruction.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::kernel::rng::Purpose;
use crate::kernel::{SimDuration, SimTime, Streams};

use super::arrivals::{Gap, Process};
use super::fault::{Fault, FaultKind, FileFaults, Spot};
use super::input;
use super::rate::{Rate, Stretch};
use super::request::{Request, Source};
use super::synthetic::Arrivals;
use super::token_series::{
    ASSUMED_LENGTH_CV, Grid, Samples, Series, Tokens, bucket_tokens, mean_tokens, total,
};

/// Largest answer read, bytes.
const MAX_ANSWER_BYTES: u64 = 256 << 20;
/// Most steps of a reconstruction.
const MAX_STEPS: i64 = 200_000;
/// Longest reconstruction, ms: a hundred years.
const MAX_SPAN_MS: i64 = 100 * 366 * 86_400_000;

/// Traffic reconstructed from Prometheus `query_range` answers (`docs/your-own-trace.md` gives the commands).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusSpec {
    /// File with the answer for the request rate, requests/s; several series are added up.
    pub request_rate: String,
    /// Prompt tokens.
    pub prompt_tokens: TokenSeriesSpec,
    /// Output tokens.
    pub output_tokens: TokenSeriesSpec,
}

/// What is known of a number of tokens over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TokenSeriesSpec {
    /// File with the answer for the mean, one series; lengths are then assumed lognormal with a CV of 1.
    Mean(String),
    /// File with the answer for the rates of the histogram's buckets, one series for each `le`.
    Buckets(String),
    /// Always this many.
    Constant(u32),
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<serde_json::Value>,
}

/// Reads answers and collects their faults and their digest.
pub(super) struct Answers<'a> {
    pub base_dir: &'a Path,
    pub faults: &'a mut Vec<Fault>,
    pub warnings: &'a mut Vec<String>,
    pub digest: &'a mut Sha256,
}

impl Answers<'_> {
    fn read(&mut self, field: &str, file: &str) -> Option<Vec<Series>> {
        let path = self.base_dir.join(file);
        let mut faults = FileFaults::new(field, &path);
        let series = parse(&path, &mut faults, self.digest);
        self.faults.extend(faults.into_list());
        series
    }

    fn fault(&mut self, field: &str, file: &str, message: impl Into<String>, help: &str) {
        let mut faults = FileFaults::new(field, &self.base_dir.join(file));
        faults.whole(FaultKind::Format, message, Some(help.to_owned()));
        self.faults.extend(faults.into_list());
    }

    /// Reads everything; `None` if anything is at fault.
    pub fn reconstruct(&mut self, field: &str, spec: &PrometheusSpec, entity: u64) -> Option<Reconstruction> {
        let rate_field = format!("{field}.requestRate");
        let rates = self.read(&rate_field, &spec.request_rate).map(|series| total(&series));
        let grid = rates.as_ref().and_then(|rates| self.grid(&rate_field, &spec.request_rate, rates));
        let prompt = self.tokens(&format!("{field}.promptTokens"), &spec.prompt_tokens, grid);
        let output = self.tokens(&format!("{field}.outputTokens"), &spec.output_tokens, grid);
        let (rates, grid) = (rates?, grid?);
        let mut by_step = vec![None; grid.steps];
        for (at, rate) in &rates {
            if let Some(slot) = grid.index(*at).and_then(|index| by_step.get_mut(index)) {
                *slot = Some(*rate);
            }
        }
        let missing = by_step.iter().filter(|r| r.is_none()).count();
        if missing > 0 {
            self.warnings
                .push(format!("{missing} of {} steps have no request rate and count as idle", grid.steps));
        }
        let secs = grid.step_ms as f64 / 1e3;
        let stretches: Vec<Stretch> = by_step.iter().map(|r| Stretch::flat(secs, r.unwrap_or(0.0))).collect();
        if stretches.iter().all(|s| s.from == 0.0) {
            self.fault(
                &rate_field,
                &spec.request_rate,
                "no step has a rate above 0",
                "choose a time with traffic",
            );
            return None;
        }
        let span = SimDuration::from_nanos(grid.step_ms as u64 * 1_000_000) * grid.steps as u64;
        let process = Process { gap: Gap::Exponential, rate: Rate::Stretches { stretches, again: false } };
        Some(Reconstruction {
            process,
            step_nanos: grid.step_ms as u64 * 1_000_000,
            prompt: prompt?,
            output: output?,
            span,
            entity,
        })
    }

    fn grid(&mut self, field: &str, file: &str, rates: &Samples) -> Option<Grid> {
        if let Some((_, rate)) = rates.iter().find(|(_, rate)| !(0.0..=1e8).contains(*rate)) {
            self.fault(
                field,
                file,
                format!("a rate is {rate} requests/s"),
                "use rate(..), which is never negative",
            );
            return None;
        }
        let times: Vec<i64> = rates.keys().copied().collect();
        let step_ms = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min();
        let (Some(step_ms), Some(first), Some(last)) = (step_ms, times.first(), times.last()) else {
            self.fault(
                field,
                file,
                "the answer has less than two samples",
                "ask for a longer time or a shorter step",
            );
            return None;
        };
        let between = last.saturating_sub(*first);
        let steps = between / step_ms + 1;
        if steps > MAX_STEPS || between > MAX_SPAN_MS / 2 {
            self.fault(
                field,
                file,
                format!("the answer covers {steps} steps"),
                "ask for at most 200,000 steps, and times in s",
            );
            return None;
        }
        Some(Grid { first: *first, step_ms, steps: steps as usize })
    }

    fn tokens(&mut self, field: &str, spec: &TokenSeriesSpec, grid: Option<Grid>) -> Option<Tokens> {
        match spec {
            TokenSeriesSpec::Constant(0) => {
                self.faults.push(Fault::spec(field, "a request has at least one token"));
                None
            }
            TokenSeriesSpec::Constant(count) => Some(Tokens::Constant(*count)),
            TokenSeriesSpec::Mean(file) => {
                let series = self.read(field, file)?;
                let grid = grid?;
                // An answer joined of several days holds the same series several times.
                if series.iter().any(|s| s.metric != series[0].metric) {
                    let help = "divide sum(rate(.._sum[..])) by sum(rate(.._count[..]))";
                    self.fault(field, file, format!("a mean is one series, not {}", series.len()), help);
                    return None;
                }
                let means = total(&series);
                let tokens = mean_tokens(&means, grid);
                if tokens.is_none() {
                    self.fault(
                        field,
                        file,
                        "no step of the request rate has a mean of 1 token or more",
                        ALIGN_HELP,
                    );
                }
                self.warnings.push(format!(
                    "{}: only the mean is known; lengths are assumed lognormal with CV {ASSUMED_LENGTH_CV}",
                    field.rsplit('.').next().unwrap_or(field)
                ));
                tokens
            }
            TokenSeriesSpec::Buckets(file) => {
                let series = self.read(field, file)?;
                let tokens = bucket_tokens(&series, grid?);
                match &tokens {
                    None => self.fault(
                        field,
                        file,
                        "no step of the request rate has buckets with counts",
                        ALIGN_HELP,
                    ),
                    Some((_, beyond)) if *beyond > 0.0 => self.warnings.push(format!(
                        "{}: {:.1}% of requests lie beyond the largest bucket and are given its bound",
                        field.rsplit('.').next().unwrap_or(field),
                        beyond * 100.0
                    )),
                    Some(_) => {}
                }
                tokens.map(|(tokens, _)| tokens)
            }
        }
    }
}

const ALIGN_HELP: &str =
    "ask all queries with the same start, end and step; buckets need `sum by (le) (rate(.._bucket[..]))`";

fn parse(path: &Path, faults: &mut FileFaults, digest: &mut Sha256) -> Option<Vec<Series>> {
    let text = match input::open(path).and_then(|mut lines| lines.read_all(MAX_ANSWER_BYTES)) {
        Ok(text) => text,
        Err(error) => {
            faults.whole(FaultKind::File, format!("the file cannot be read: {error}"), None);
            return None;
        }
    };
    digest.update(Sha256::digest(&text));
    let help = || Some("save the plain answer of /api/v1/query_range".to_owned());
    let answer: Answer = match serde_json::from_slice(&text) {
        Ok(answer) => answer,
        Err(error) => {
            let line = text.split(|b| *b == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
            let from = error.column().saturating_sub(1);
            let spot = Spot { line: error.line().max(1) as u64, text: line, from, len: 1 };
            let message = error.to_string();
            let cause = message.split(" at line ").next().unwrap_or("syntax error");
            faults.at(spot, FaultKind::Format, format!("this is no answer of query_range: {cause}"), help());
            return None;
        }
    };
    let Some(data) = answer.data.filter(|_| answer.status == "success") else {
        let error = answer.error.unwrap_or_else(|| "without a reason".to_owned());
        faults.whole(FaultKind::Format, format!("Prometheus answered with an error: {error}"), help());
        return None;
    };
    if data.result_type != "matrix" {
        let message =
            format!("the answer is a {} and not a matrix", super::rows::shown(data.result_type.as_bytes()));
        faults.whole(FaultKind::Format, message, help());
        return None;
    }
    let mut all = Vec::new();
    for value in data.result {
        match serde_json::from_value::<Series>(value) {
            Ok(series) => all.push(series),
            Err(error) => faults.whole(FaultKind::Format, format!("a series is malformed: {error}"), help()),
        }
    }
    if all.iter().all(|s| s.values.is_empty()) && faults.is_empty() {
        let help = "the metric has no samples in this time; check its name and the time range";
        faults.whole(FaultKind::Empty, "the answer has no samples", Some(help.to_owned()));
    }
    faults.is_empty().then_some(all)
}

/// A likely traffic.
#[derive(Debug)]
pub(super) struct Reconstruction {
    process: Process,
    step_nanos: u64,
    prompt: Tokens,
    output: Tokens,
    pub span: SimDuration,
    entity: u64,
}

impl Reconstruction {
    /// Expected requests.
    pub fn expected(&self) -> f64 {
        self.process.rate.mass(self.span.as_secs_f64())
    }
}

impl Source for Reconstruction {
    fn requests<'a>(&'a self, streams: &Streams) -> Box<dyn Iterator<Item = Request> + Send + 'a> {
        let end = SimTime::ZERO.saturating_add(self.span);
        let arrivals = Arrivals::new(&self.process, streams.stream(Purpose::Arrivals, self.entity), end);
        let mut rng = streams.stream(Purpose::Lengths, self.entity);
        Box::new(arrivals.map(move |arrival| {
            let step = (arrival.as_nanos() / self.step_nanos) as usize;
            let prompt_tokens = self.prompt.sample(step, &mut rng);
            Request { arrival, prompt_tokens, output_tokens: self.output.sample(step, &mut rng) }
        }))
    }

    fn span(&self) -> Option<SimDuration> {
        Some(self.span)
    }
}
