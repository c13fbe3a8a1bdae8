//! What the page's script needs: timelines, bands, cold starts, colours. One JSON text, safe inside a `<script>`.

use serde::Serialize;

use crate::kernel::SimDuration;
use crate::outcome::{Cause, Phase, StartRecord, StartResult};
use crate::report::Document;
use crate::report::chart::{Thinned, bands, cause_colour, hex, phase_colour};
use crate::report::document::{PolicyDoc, RunDoc};

/// Points of a line, and bands, at most.
const POINTS_MOST: usize = 900;
/// Cold starts of a policy that can be replayed: the slowest, and others evenly over all.
const STARTS_MOST: usize = 30;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    span_s: f64,
    ttft_limit_s: Option<f64>,
    phases: Vec<(&'static str, String)>,
    causes: Vec<(&'static str, String)>,
    policies: Vec<PolicyData<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyData<'a> {
    name: &'a str,
    line: Option<Thinned>,
    bands: Vec<(f64, f64, &'a str)>,
    starts: Vec<StartData>,
    starts_total: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StartData {
    title: String,
    at_s: f64,
    took_s: f64,
    result: &'static str,
    /// (phase, from in s after the order, to, of that waiting)
    stages: Vec<(&'static str, f64, f64, f64)>,
}

/// The JSON text.
///
/// # Errors
/// Never for a document; serde does not know that.
pub(super) fn text(document: &Document) -> Result<String, serde_json::Error> {
    let limit = document.slo.get("ttft").and_then(|limit| limit.parse::<SimDuration>().ok());
    let data = Data {
        span_s: document.span_ns as f64 / 1e9,
        ttft_limit_s: limit.map(SimDuration::as_secs_f64),
        phases: Phase::ALL.into_iter().map(|phase| (phase.label(), hex(phase_colour(phase)))).collect(),
        causes: Cause::ALL.into_iter().map(|cause| (cause.label(), hex(cause_colour(cause)))).collect(),
        policies: document.policies.iter().map(policy).collect(),
    };
    // A `<` could end the script that holds it; U+2028 and U+2029 end a line of old scripts.
    let text = serde_json::to_string(&data)?;
    Ok(text.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"))
}

fn policy(policy: &PolicyDoc) -> PolicyData<'_> {
    let run = policy.runs.first();
    let line = run.and_then(|run| Some(Thinned::of(run.timeline.as_ref()?, run.trace_end_ns, POINTS_MOST)));
    let all = run.and_then(|run| run.breaches.as_ref()).map_or(&[][..], |breaches| &breaches.bands);
    PolicyData {
        name: &policy.name,
        line,
        bands: bands(all, run.map_or(0, |run| run.trace_end_ns), POINTS_MOST),
        starts: run.map_or_else(Vec::new, starts),
        starts_total: run.map_or(0, |run| run.starts.len()),
    }
}

/// The slowest and the median first, then others in the order of their time.
fn starts(run: &RunDoc) -> Vec<StartData> {
    let mut ready: Vec<(SimDuration, &StartRecord)> =
        run.starts.iter().filter_map(|start| Some((start.duration()?, start))).collect();
    ready.sort_by_key(|(took, start)| (*took, start.replica));
    let mut shown: Vec<(String, &StartRecord)> = Vec::new();
    if let [.., (_, slowest)] = ready.as_slice() {
        shown.push((
            format!("the median, {}", ready[(ready.len() - 1) / 2].1.replica),
            ready[(ready.len() - 1) / 2].1,
        ));
        shown.push((format!("the slowest, {}", slowest.replica), slowest));
    }
    let every = run.starts.len().div_ceil(STARTS_MOST).max(1);
    shown.extend(run.starts.iter().step_by(every).map(|start| (start.replica.to_string(), start)));
    shown.into_iter().map(|(title, start)| start_data(title, start)).collect()
}

fn start_data(title: String, start: &StartRecord) -> StartData {
    let after = |at: crate::kernel::SimTime| at.since(start.ordered).as_secs_f64();
    let stages = start
        .phases
        .iter()
        .map(|span| (span.phase.label(), after(span.from), after(span.to), span.waiting.as_secs_f64()));
    StartData {
        title,
        at_s: start.ordered.as_secs_f64(),
        took_s: start.phases.last().map_or(0.0, |last| after(last.to)),
        result: match start.result {
            StartResult::Ready => "ready",
            StartResult::Cancelled => "cancelled",
            StartResult::NodeLost => "lost with its machine",
            StartResult::Recreated => "given up with its group",
            StartResult::Unfinished => "not ready when the run ended",
        },
        stages: stages.collect(),
    }
}
